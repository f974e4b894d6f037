//! The memory devices: `null`, `zero`, `full`, `random`, `urandom`, `kmsg`.

use alloc::sync::Arc;

use abi::fs::{DevNum, OpenFlags};
use abi::poll::PollEvents;
use abi::{Errno, Result};

use crate::device::random;
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::mount::Path;
use crate::fs::{chrdev, devtmpfs};
use crate::mm::MemoryObject;
use crate::mm::pagecache::PageCache;
use crate::mm::user::{IoSink, IoSource};
use crate::sync::PollTable;

/// The major number of memory devices.
const MEM: u32 = 1;

struct Null;
struct Zero;
struct Full;

/// Positions of these files mean nothing: every seek ends at 0.
fn null_seek(file: &File) -> Result<u64> {
    file.set_pos(0);
    Ok(0)
}

impl FileOps for Null {
    #[inline]
    fn read(&self, _file: &File, _sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        Ok(0)
    }
    #[inline]
    fn write(&self, _file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        Ok(source.remaining())
    }
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_seek(file)
    }
}

fn read_zeros(sink: &mut IoSink<'_>) -> Result<usize> {
    let result = sink.put_zeros(sink.remaining());
    sink.outcome(result)
}

impl FileOps for Zero {
    fn read(&self, _file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        read_zeros(sink)
    }
    fn write(&self, _file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        Ok(source.remaining())
    }
    fn mmap(&self, _file: &File) -> Result<Arc<dyn MemoryObject>> {
        let object = PageCache::new_shmem()?;
        object.truncate(1 << 46)?;
        Ok(object)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_seek(file)
    }
}

impl FileOps for Full {
    fn read(&self, _file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        read_zeros(sink)
    }
    fn write(&self, _file: &File, _source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        Err(Errno::ENOSPC)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_seek(file)
    }
}

/// Both: `random` waits until the generator is ready, `urandom` does not.
struct Random {
    waits: bool,
}

impl FileOps for Random {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if self.waits && !random::is_ready() {
            if file.nonblocking() {
                return Err(Errno::EAGAIN);
            }
            random::wait_ready()?;
        }
        random::read(sink)
    }
    fn write(&self, _file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        random::write(source)
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if !self.waits {
            return PollEvents::READABLE | PollEvents::WRITABLE;
        }
        random::poll(table)
    }
    fn ioctl(&self, _file: &File, request: u32, argument: usize) -> Result<usize> {
        random::ioctl(request, argument)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_seek(file)
    }
}

fn open(dev: DevNum, _node: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let ops: &'static dyn FileOps = match dev.minor() {
        3 => &Null,
        5 => &Zero,
        7 => &Full,
        8 => &Random { waits: true },
        9 => &Random { waits: false },
        11 => return crate::fs::kmsg::open(flags),
        _ => return Err(Errno::ENXIO),
    };
    Ok(ops.into())
}

/// Registers the devices and makes their nodes.
pub fn init() {
    chrdev::register(MEM, 0..256, "mem", open);
    for (name, minor, mode) in [
        ("null", 3, 0o666),
        ("zero", 5, 0o666),
        ("full", 7, 0o666),
        ("random", 8, 0o666),
        ("urandom", 9, 0o666),
        ("kmsg", 11, 0o644),
    ] {
        devtmpfs::create_char(name, MEM, minor, mode);
    }
}

/// Whether a device is ready at all times, so that nobody can wait for it: null, zero and full.
pub fn is_always_ready(dev: DevNum) -> bool {
    dev.major() == 1 && matches!(dev.minor(), 3 | 5 | 7)
}
