//! Reading and writing through open files: the checks that come before a file's own operations.

use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::{Errno, Result};

use crate::fs::file::File;
use crate::fs::inode::Inode;
use crate::fs::limits;
use crate::fs::notify::{self, Event};
use crate::mm::user::{IoSink, IoSource};
use crate::task;

/// Counts a call that read, in `/proc/<pid>/io`.
#[inline]
fn count_read(result: &Result<usize>) {
    let bytes = result.as_ref().map_or(0, |bytes| *bytes);
    task::current().usage.count_read(bytes);
}

/// Counts a call that wrote.
#[inline]
fn count_write(result: &Result<usize>) {
    let bytes = result.as_ref().map_or(0, |bytes| *bytes);
    task::current().usage.count_write(bytes);
}

/// Counts a call that copied from file to file: it reads and writes.
pub fn count_copy(result: &Result<usize>) {
    count_read(result);
    count_write(result);
}

/// Reads at the file's position.
#[inline]
pub fn read(file: &Arc<File>, sink: &mut IoSink<'_>) -> Result<usize> {
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    let result = read_uncounted(file, sink);
    count_read(&result);
    result
}

/// As [`read`] of a file that is open for it; for `splice` and its kin, which do not count as reads.
#[inline]
pub fn read_uncounted(file: &Arc<File>, sink: &mut IoSink<'_>) -> Result<usize> {
    let n = file.with_pos(|pos| file.ops().read(file, sink, pos))?;
    if n != 0 {
        notify::file_event(file, Event::ACCESS);
    }
    Ok(n)
}

/// Writes at the file's position.
#[inline]
pub fn write(file: &Arc<File>, source: &mut IoSource<'_>) -> Result<usize> {
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    let result = write_uncounted(file, source);
    count_write(&result);
    result
}

/// As [`read_uncounted`].
#[inline]
pub fn write_uncounted(file: &Arc<File>, source: &mut IoSource<'_>) -> Result<usize> {
    let n = file.with_pos(|pos| file.ops().write(file, source, pos))?;
    if n != 0 {
        notify::file_event(file, Event::MODIFY);
    }
    Ok(n)
}

/// Reads at a position of the caller's.
pub fn pread(file: &Arc<File>, sink: &mut IoSink<'_>, pos: i64) -> Result<usize> {
    let mut pos = u64::try_from(pos).map_err(|_| Errno::EINVAL)?;
    if !file.seekable() {
        return Err(Errno::ESPIPE);
    }
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    let result = file.ops().read(file, sink, &mut pos);
    count_read(&result);
    if matches!(result, Ok(1..)) {
        notify::file_event(file, Event::ACCESS);
    }
    result
}

/// Writes at a position of the caller's (which `O_APPEND` overrides, as on Linux).
pub fn pwrite(file: &Arc<File>, source: &mut IoSource<'_>, pos: i64) -> Result<usize> {
    let mut pos = u64::try_from(pos).map_err(|_| Errno::EINVAL)?;
    if !file.seekable() {
        return Err(Errno::ESPIPE);
    }
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    let result = file.ops().write(file, source, &mut pos);
    count_write(&result);
    if matches!(result, Ok(1..)) {
        notify::file_event(file, Event::MODIFY);
    }
    result
}

/// A write with `RWF_APPEND` (`append`) or `RWF_NOAPPEND` to a regular file: at its end, or at the position although the
/// file is open for appending. `pos` is -1 for the file's own position.
pub fn write_flagged(
    file: &Arc<File>,
    source: &mut IoSource<'_>,
    pos: i64,
    append: bool,
) -> Result<usize> {
    let was = file.flags().contains(OpenFlags::APPEND);
    if was == append {
        return if pos == -1 {
            write(file, source)
        } else {
            pwrite(file, source, pos)
        };
    }
    // Another writer of the same description sees the flag too; Linux keeps it to the one call.
    file.change_flags(OpenFlags::APPEND, append);
    let result = if pos == -1 {
        write(file, source)
    } else {
        pwrite(file, source, pos)
    };
    file.change_flags(OpenFlags::APPEND, was);
    result
}

/// Cuts a write at `pos` to what the limits on file sizes allow; EFBIG (and SIGXFSZ) if that is nothing.
pub fn limit_write(inode: &Arc<Inode>, source: &mut IoSource<'_>, pos: u64) -> Result<()> {
    let len = source.remaining() as u64;
    if len == 0 {
        return Ok(());
    }
    let limit = limits::file_size();
    let end = pos.saturating_add(len);
    if end > limit {
        if pos >= limit {
            limits::send_sigxfsz();
            return Err(Errno::EFBIG);
        }
        source.limit((limit - pos) as usize);
    }
    let max = inode.sb.max_bytes;
    if end > max {
        if pos >= max {
            return Err(Errno::EFBIG);
        }
        source.limit(((max - pos) as usize).min(source.remaining()));
    }
    Ok(())
}
