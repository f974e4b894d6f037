//! `/proc/<pid>/mem`: a process's memory as a file, positions being addresses; for who may trace it.

use alloc::sync::{Arc, Weak};

use abi::fs::{OpenFlags, SEEK_CUR, SEEK_SET};
use abi::{Errno, Result};

use super::pid::{refresh, set_attr};
use super::subject::Subject;
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::inode::{Attr, Inode, InodeOps, SetAttr};
use crate::mm::user::{IoSink, IoSource};
use crate::mm::{AddressSpace, PAGE_SIZE};
use crate::task::try_zeroed;

/// The file of a process.
pub struct Memory(pub Subject);

impl InodeOps for Memory {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let target = self.0.get()?;
        target.check_read()?;
        let space = target.mm().map_or_else(Weak::new, |mm| Arc::downgrade(&mm));
        Ok(Arc::new(OpenMemory(space)).into())
    }

    fn truncate(&self, _inode: &Arc<Inode>, _size: u64) -> Result<()> {
        Ok(())
    }

    fn getattr(&self, inode: &Arc<Inode>, attr: &mut Attr) -> Result<()> {
        refresh(&self.0, inode, attr);
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        set_attr(inode, set)
    }
}

/// The address space that was there at the open; once it is gone the file is empty.
struct OpenMemory(Weak<AddressSpace>);

impl FileOps for OpenMemory {
    fn read(&self, _file: &File, sink: &mut IoSink<'_>, pos: &mut u64) -> Result<usize> {
        let Some(mm) = self.0.upgrade() else {
            return Ok(0);
        };
        let mut page = try_zeroed(PAGE_SIZE)?;
        let mut result = Ok(());
        let start = sink.done();
        while sink.remaining() > 0 && result.is_ok() {
            let len = sink.remaining().min(PAGE_SIZE);
            let addr = usize::try_from(*pos).map_err(|_| Errno::EIO)?;
            let read = mm.read_forced(addr, page.get_mut(..len).unwrap_or_default());
            if read == 0 {
                result = Err(Errno::EIO);
                break;
            }
            let before = sink.done();
            result = sink.put(page.get(..read).unwrap_or_default());
            *pos = pos.wrapping_add((sink.done() - before) as u64);
        }
        match sink.done() - start {
            0 => result.map(|()| 0),
            moved => Ok(moved),
        }
    }

    fn write(&self, _file: &File, source: &mut IoSource<'_>, pos: &mut u64) -> Result<usize> {
        let Some(mm) = self.0.upgrade() else {
            return Ok(0);
        };
        let mut page = try_zeroed(PAGE_SIZE)?;
        let mut written = 0;
        while source.remaining() > 0 {
            let len = source.remaining().min(PAGE_SIZE);
            let part = page.get_mut(..len).unwrap_or_default();
            let addr = usize::try_from(*pos).map_err(|_| Errno::EIO)?;
            let moved = source.take(part).map(|()| mm.write_forced(addr, part));
            match moved {
                Ok(0) if written == 0 => return Err(Errno::EIO),
                Err(errno) if written == 0 => return Err(errno),
                Ok(moved) => {
                    written += moved;
                    *pos = pos.wrapping_add(moved as u64);
                    if moved < len {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        Ok(written)
    }

    fn seekable(&self) -> bool {
        true
    }

    /// To any address.
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        match whence {
            SEEK_SET | SEEK_CUR => file.generic_llseek(offset, whence, 0, i64::MAX as u64),
            _ => Err(Errno::EINVAL),
        }
    }
}
