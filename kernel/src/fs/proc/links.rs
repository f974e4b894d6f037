//! Magic links: `exe`, `cwd` and `root` of a process, and those to its files and namespaces, which lead to a place and not
//! along a path.

use alloc::sync::Arc;

use abi::{Errno, Result};

use super::pid;
use super::subject::{Subject, Target};
use crate::fs::inode::{Attr, Inode, InodeOps, InodeOpsRef, LinkTarget, SetAttr};
use crate::fs::mount::Path;
use crate::fs::{nsfs, pipe};
use crate::task;

/// Where a link of a process leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Exe,
    Cwd,
    Root,
    Fd(i32),
    Uts,
}

struct Link {
    subject: Subject,
    place: Place,
}

/// The operations of such a link.
pub fn ops(subject: Subject, place: Place) -> InodeOpsRef {
    Arc::new(Link { subject, place }).into()
}

fn find(target: &Target, place: Place) -> Option<Path> {
    let task = target.task.as_ref()?;
    match place {
        Place::Exe => {
            task.mm()?;
            let exe = target.process.exe.lock().clone()?;
            Some(exe.path().clone())
        }
        Place::Cwd => Some(task.fs()?.cwd()),
        Place::Root => Some(task.fs()?.root()),
        Place::Fd(fd) => {
            let file = task.files()?.get_any(fd).ok()?;
            pipe::make_openable(&file);
            Some(file.path().clone())
        }
        Place::Uts => Some(nsfs::place_of(&task.uts()?)),
    }
}

impl Link {
    fn resolve(&self) -> Result<Path> {
        let gone = match self.place {
            Place::Uts => Errno::EACCES,
            _ => Errno::ENOENT,
        };
        let target = self.subject.get().map_err(|_| gone)?;
        target.check_read()?;
        find(&target, self.place).ok_or(Errno::ENOENT)
    }
}

impl InodeOps for Link {
    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Arc<[u8]>> {
        let place = self.resolve()?;
        let root = task::current().my_fs().root();
        Ok(place.display(&root).into())
    }

    fn follow_link(&self, _inode: &Arc<Inode>) -> Result<LinkTarget> {
        self.resolve().map(LinkTarget::Place)
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        pid::refresh(&self.subject, inode, attr);
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        pid::set_attr(inode, set)
    }
}
