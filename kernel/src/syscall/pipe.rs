//! Pipes, and calls that move bytes between files.

use alloc::sync::Arc;

use abi::fs::{
    MAX_RW_COUNT, OpenFlags, SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK,
};
use abi::{Errno, Result};

use crate::fs::{File, pipe, rw, splice};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::task::current;

pub fn sys_pipe(fds: UserPtr<[i32; 2]>) -> Result<usize> {
    sys_pipe2(fds, 0)
}

pub fn sys_pipe2(fds: UserPtr<[i32; 2]>, flags: u32) -> Result<usize> {
    const KNOWN: OpenFlags = OpenFlags::CLOEXEC
        .union(OpenFlags::NONBLOCK)
        .union(OpenFlags::DIRECT);
    let flags = OpenFlags::from_bits_retain(flags);
    if !KNOWN.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let task = current();
    let files = task.my_files();
    let read_fd = files.reserve(cloexec)?;
    let write_fd = files.reserve(cloexec)?;
    let (reader, writer) = pipe::create(flags)?;
    fds.write(&[read_fd.fd().0, write_fd.fd().0])?;
    read_fd.fill(reader);
    write_fd.fill(writer);
    Ok(0)
}

/// An offset that the user keeps: read before the call, written after it.
struct UserOffset {
    at: UserPtr<i64>,
    value: u64,
}

impl UserOffset {
    fn read(at: UserPtr<i64>) -> Result<Option<Self>> {
        match at.read_opt()? {
            None => Ok(None),
            Some(value) => {
                let value = u64::try_from(value).map_err(|_| Errno::EINVAL)?;
                Ok(Some(Self { at, value }))
            }
        }
    }
    fn write_back(&self) -> Result<()> {
        self.at.write(&(self.value as i64))
    }
}

pub fn sys_sendfile(out_fd: i32, in_fd: i32, offset: UserPtr<i64>, count: usize) -> Result<usize> {
    let mut offset = UserOffset::read(offset)?;
    let task = current();
    let input = task.my_files().get(in_fd)?;
    if !input.readable() {
        return Err(Errno::EBADF);
    }
    if offset.is_some() && !input.seekable() {
        return Err(Errno::ESPIPE);
    }
    let output = task.my_files().get(out_fd)?;
    if !output.writable() {
        return Err(Errno::EBADF);
    }
    if output.flags().contains(OpenFlags::APPEND) && output.inode().is_regular() {
        return Err(Errno::EINVAL);
    }
    // What is read from anything else and not taken would be lost.
    if input.inode().is_dir() || !input.seekable() {
        return Err(Errno::EINVAL);
    }
    let count = count.min(MAX_RW_COUNT);
    if count == 0 {
        return Ok(0);
    }
    let mut in_pos = offset
        .as_ref()
        .map_or_else(|| input.pos(), |offset| offset.value);
    let result =
        output.with_pos(|out_pos| splice::copy(&input, &mut in_pos, &output, out_pos, count));
    rw::count_copy(&result);
    match &mut offset {
        Some(offset) => {
            offset.value = in_pos;
            offset.write_back()?;
        }
        None if input.seekable() => input.set_pos(in_pos),
        None => {}
    }
    result
}

pub fn sys_copy_file_range(
    in_fd: i32,
    in_offset: UserPtr<i64>,
    out_fd: i32,
    out_offset: UserPtr<i64>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let input = task.my_files().get(in_fd)?;
    let output = task.my_files().get(out_fd)?;
    let mut in_user = UserOffset::read(in_offset)?;
    let mut out_user = UserOffset::read(out_offset)?;
    if input.inode().is_dir() || output.inode().is_dir() {
        return Err(Errno::EISDIR);
    }
    if !input.inode().is_regular() || !output.inode().is_regular() {
        return Err(Errno::EINVAL);
    }
    if !input.readable() || !output.writable() || output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let mut in_pos = in_user
        .as_ref()
        .map_or_else(|| input.pos(), |user| user.value);
    let mut out_pos = out_user
        .as_ref()
        .map_or_else(|| output.pos(), |user| user.value);
    let in_end = in_pos.checked_add(len as u64).ok_or(Errno::EOVERFLOW)?;
    let out_end = out_pos.checked_add(len as u64).ok_or(Errno::EOVERFLOW)?;
    let len = len
        .min(MAX_RW_COUNT)
        .min(input.inode().size().saturating_sub(in_pos) as usize);
    let same = Arc::ptr_eq(input.inode(), output.inode());
    if same && in_end.min(in_pos + len as u64) > out_pos && out_end > in_pos {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let result = splice::copy(&input, &mut in_pos, &output, &mut out_pos, len);
    rw::count_copy(&result);
    store_offset(&mut in_user, &input, in_pos)?;
    store_offset(&mut out_user, &output, out_pos)?;
    result
}

/// The new position goes where the old one came from.
fn store_offset(user: &mut Option<UserOffset>, file: &Arc<File>, pos: u64) -> Result<()> {
    match user {
        Some(user) => {
            user.value = pos;
            user.write_back()
        }
        None => {
            file.set_pos(pos);
            Ok(())
        }
    }
}

const SPLICE_KNOWN: u32 = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

pub fn sys_splice(
    in_fd: i32,
    in_offset: UserPtr<i64>,
    out_fd: i32,
    out_offset: UserPtr<i64>,
    len: usize,
    flags: u32,
) -> Result<usize> {
    if len == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let input = task.my_files().get(in_fd)?;
    let output = task.my_files().get(out_fd)?;
    if !input.readable() || !output.writable() {
        return Err(Errno::EBADF);
    }
    let len = len.min(MAX_RW_COUNT);
    match (input.ops().pipe(), output.ops().pipe()) {
        (Some(from), Some(to)) => {
            if !in_offset.is_null() || !out_offset.is_null() {
                return Err(Errno::ESPIPE);
            }
            splice::pipe_to_pipe(&input, from, &output, to, len, flags)
        }
        (Some(from), None) => {
            if !in_offset.is_null() {
                return Err(Errno::ESPIPE);
            }
            if !out_offset.is_null() && !output.seekable() {
                return Err(Errno::EINVAL);
            }
            if output.flags().contains(OpenFlags::APPEND) {
                return Err(Errno::EINVAL);
            }
            let mut offset = UserOffset::read(out_offset)?;
            let pos = offset.as_mut().map(|offset| &mut offset.value);
            let result = splice::pipe_to_file(&input, from, &output, pos, len, flags);
            if let Some(offset) = offset {
                offset.write_back()?;
            }
            result
        }
        (None, Some(to)) => {
            if !out_offset.is_null() {
                return Err(Errno::ESPIPE);
            }
            if !in_offset.is_null() && !input.seekable() {
                return Err(Errno::EINVAL);
            }
            if input.inode().is_dir() {
                return Err(Errno::EINVAL);
            }
            let mut offset = UserOffset::read(in_offset)?;
            let pos = offset.as_mut().map(|offset| &mut offset.value);
            let result = splice::file_to_pipe(&input, pos, &output, to, len, flags);
            if let Some(offset) = offset {
                offset.write_back()?;
            }
            result
        }
        (None, None) => Err(Errno::EINVAL),
    }
}

pub fn sys_tee(in_fd: i32, out_fd: i32, len: usize, flags: u32) -> Result<usize> {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let task = current();
    let input = task.my_files().get(in_fd)?;
    let output = task.my_files().get(out_fd)?;
    if !input.readable() || !output.writable() {
        return Err(Errno::EBADF);
    }
    let (Some(from), Some(to)) = (input.ops().pipe(), output.ops().pipe()) else {
        return Err(Errno::EINVAL);
    };
    splice::tee(&input, from, &output, to, len.min(MAX_RW_COUNT), flags)
}

pub fn sys_vmsplice(fd: i32, iov: usize, count: usize, flags: u32) -> Result<usize> {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let file = current().my_files().get(fd)?;
    if file.ops().pipe().is_none() {
        return Err(Errno::EBADF);
    }
    // Pages are copied, not lent: what the user does to them later does not show, as with any pipe.
    if file.writable() {
        rw::write_uncounted(&file, &mut IoSource::vector(iov, count)?)
    } else {
        rw::read_uncounted(&file, &mut IoSink::vector(iov, count)?)
    }
}
