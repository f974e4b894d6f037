//! `/proc/<pid>/ns`: links to the namespaces that a task is in.

use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::{Errno, Result};

use super::links::{self, Place};
use super::pid::{self, List, Listing};
use super::subject::Subject;
use crate::fs::file::{DirSink, FileOpsRef};
use crate::fs::inode::{Attr, ChildPolicy, FileKind, Inode, InodeOps, InodeOpsRef, SetAttr};

/// The kinds there are, in the order of the directory.
const LINKS: [(&str, Place); 1] = [("uts", Place::Uts)];

struct NsDir(Subject);

/// The operations of the directory.
pub fn directory(subject: Subject) -> InodeOpsRef {
    Arc::new(NsDir(subject)).into()
}

impl InodeOps for NsDir {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let target = self.0.get().map_err(|_| Errno::ENOENT)?;
        let (index, (_, place)) = (0..)
            .zip(LINKS)
            .find(|(_, (link, _))| link.as_bytes() == name)
            .ok_or(Errno::ENOENT)?;
        let ino = pid::namespace_ino(target.id, index);
        let ops = links::ops(self.0.clone(), place);
        Ok(pid::new_inode(
            &dir.sb,
            ino,
            FileKind::Symlink,
            0o777,
            &target,
            ops,
        ))
    }

    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Uncached
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Ok(Arc::new(Listing(NsDir(self.0.clone()))).into())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        pid::refresh(&self.0, inode, attr);
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        pid::set_attr(inode, set)
    }
}

impl List for NsDir {
    fn list(&self, _dir: &Inode, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        let target = self.0.get().map_err(|_| Errno::ENOENT)?;
        for (index, (name, _)) in (0..).zip(LINKS) {
            let at = 2 + index;
            if at < *pos {
                continue;
            }
            let ino = pid::namespace_ino(target.id, index);
            if !sink.entry(name.as_bytes(), ino, FileKind::Symlink, at + 1) {
                *pos = at;
                return Ok(());
            }
            *pos = at + 1;
        }
        Ok(())
    }
}
