//! `/proc/<pid>/fd` and `fdinfo`: the open descriptors of a process.

use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::{Errno, Result};

use super::links::{self, Place};
use super::pid::{self, List, Listing};
use super::root::{itoa, parse_number};
use super::subject::{Subject, Target};
use super::text::{Source, Text, TextFile};
use crate::fs::FdTable;
use crate::fs::file::{DirSink, File, FileMode, FileOpsRef};
use crate::fs::inode::{
    Attr, ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, InodeOpsRef, SetAttr,
};
use crate::task;

/// Which of the two directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdKind {
    Link,
    Info,
}

struct FdDir {
    subject: Subject,
    kind: FdKind,
}

/// The operations of the directory.
pub fn directory(subject: Subject, kind: FdKind) -> InodeOpsRef {
    Arc::new(FdDir { subject, kind }).into()
}

/// A process may always list its own descriptors, whoever owns the directory: what `/dev/stdin` needs after a change
/// of identity.
pub fn own(inode: Arc<Inode>, target: &Target) -> Arc<Inode> {
    if target.is_mine() {
        let uid = task::current().my_cred().fsuid;
        inode.apply(&SetAttr {
            uid: Some(uid),
            ..SetAttr::default()
        });
    } else if inode.mode() & 0o7777 == 0o555 {
        inode.set_flag(InodeFlags::OWN_PERMISSION);
    }
    inode
}

fn table(target: &Target) -> Option<Arc<FdTable>> {
    target.task.as_ref()?.files()
}

impl InodeOps for FdDir {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let fd = parse_number(name).ok_or(Errno::ENOENT)?;
        let target = self.subject.get().map_err(|_| Errno::ENOENT)?;
        let file = table(&target)
            .ok_or(Errno::ENOENT)?
            .get_any(fd)
            .map_err(|_| Errno::ENOENT)?;
        let ino = pid::fd_ino(target.id, self.kind, fd);
        let subject = self.subject.clone();
        Ok(match self.kind {
            FdKind::Link => {
                let ops = links::ops(subject, Place::Fd(fd));
                let mode = link_mode(&file);
                let inode = pid::new_inode(&dir.sb, ino, FileKind::Symlink, mode, &target, ops);
                inode.set_size(64);
                inode
            }
            FdKind::Info => {
                let ops = Arc::new(Info { subject, fd });
                pid::new_inode(&dir.sb, ino, FileKind::Regular, 0o444, &target, ops)
            }
        })
    }

    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Uncached
    }

    fn permission(&self, _inode: &Arc<Inode>, _mask: u32) -> Result<()> {
        self.subject.get().map_err(|_| Errno::ENOENT)?.check_read()
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let subject = self.subject.clone();
        Ok(Arc::new(Listing(FdDir {
            subject,
            kind: self.kind,
        }))
        .into())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        pid::refresh(&self.subject, inode, attr);
        let target = self.subject.get().ok();
        if let (FdKind::Link, Some(table)) = (self.kind, target.as_ref().and_then(table)) {
            attr.size = open_count(&table);
        }
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        pid::set_attr(inode, set)
    }
}

fn open_count(table: &FdTable) -> u64 {
    let mut count = 0;
    let mut from = 0;
    while let Some((fd, _)) = table.next(from) {
        count += 1;
        from = fd.0 + 1;
    }
    count
}

/// What the file is open for shows as the link's mode.
fn link_mode(file: &File) -> u32 {
    let mut mode = 0;
    if file.mode().contains(FileMode::READ) {
        mode |= 0o500;
    }
    if file.mode().contains(FileMode::WRITE) {
        mode |= 0o300;
    }
    mode
}

impl List for FdDir {
    fn list(&self, _dir: &Inode, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        let target = self.subject.get().map_err(|_| Errno::ENOENT)?;
        let Some(table) = table(&target) else {
            return Ok(());
        };
        let kind = match self.kind {
            FdKind::Link => FileKind::Symlink,
            FdKind::Info => FileKind::Regular,
        };
        while let Some((fd, _)) = i32::try_from(*pos - 2)
            .ok()
            .and_then(|from| table.next(from))
        {
            let at = 2 + fd.0 as u64;
            let ino = pid::fd_ino(target.id, self.kind, fd.0);
            if !sink.entry(itoa(fd.0 as u64).text(), ino, kind, at + 1) {
                *pos = at;
                return Ok(());
            }
            *pos = at + 1;
        }
        Ok(())
    }
}

/// `fdinfo/<n>`.
struct Info {
    subject: Subject,
    fd: i32,
}

impl InodeOps for Info {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        self.subject.get()?.check_read()?;
        let subject = self.subject.clone();
        Ok(Arc::new(TextFile::new(Info {
            subject,
            fd: self.fd,
        }))
        .into())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        pid::refresh(&self.subject, inode, attr);
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        pid::set_attr(inode, set)
    }
}

impl Source for Info {
    fn show(&self, out: &mut Text) -> Result<()> {
        let target = self.subject.get()?;
        target.check_read()?;
        let table = table(&target).ok_or(Errno::ENOENT)?;
        let file = table.get_any(self.fd).map_err(|_| Errno::ENOENT)?;
        let mut flags = file.flags() - OpenFlags::CLOEXEC;
        if table.cloexec(self.fd).unwrap_or(false) {
            flags |= OpenFlags::CLOEXEC;
        }
        let place = file.path();
        write!(out, "pos:\t{}\nflags:\t0{:o}\n", file.pos(), flags.bits())?;
        write!(
            out,
            "mnt_id:\t{}\nino:\t{}\n",
            place.mount.id,
            file.inode().ino
        )?;
        file.ops().fdinfo(&file, out);
        Ok(())
    }
}
