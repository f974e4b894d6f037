//! Calls on open files: read, write, seek, directories, sizes, syncing.

use abi::fs::{
    FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_ZERO_RANGE, RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOAPPEND,
    RWF_NOWAIT, RWF_SYNC, W_OK,
};
use abi::{Errno, Result};

use crate::fs::file::{DirSink, File};
use crate::fs::inode::{FileKind, InodeFlags};
use crate::fs::notify::{self, Event};
use crate::fs::{LookupFlags, lease, open, path, perm, rw};
use crate::mm::user::{IoSink, IoSource, UserCStr, copy_out};
use crate::task::current;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::word_of;
use zerocopy::IntoBytes;

/// Counts above this are negative for the kernel.
fn check_count(count: usize) -> Result<()> {
    if isize::try_from(count).is_err() {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// The file for reading: the access mode is looked at before the buffer.
#[inline]
fn readable(fd: i32) -> Result<Arc<File>> {
    let file = current().my_files().get(fd)?;
    if file.readable() {
        Ok(file)
    } else {
        Err(Errno::EBADF)
    }
}

#[inline]
fn writable(fd: i32) -> Result<Arc<File>> {
    let file = current().my_files().get(fd)?;
    if file.writable() {
        Ok(file)
    } else {
        Err(Errno::EBADF)
    }
}

pub fn sys_read(fd: i32, buf: usize, count: usize) -> Result<usize> {
    let file = readable(fd)?;
    check_count(count)?;
    rw::read(&file, &mut IoSink::user(buf, count)?)
}

pub fn sys_write(fd: i32, buf: usize, count: usize) -> Result<usize> {
    let file = writable(fd)?;
    check_count(count)?;
    rw::write(&file, &mut IoSource::user(buf, count)?)
}

/// The file for a call with a position: ESPIPE comes before the access mode.
fn positioned(fd: i32, pos: i64) -> Result<Arc<File>> {
    if pos < 0 {
        return Err(Errno::EINVAL);
    }
    let file = current().my_files().get(fd)?;
    if file.seekable() {
        Ok(file)
    } else {
        Err(Errno::ESPIPE)
    }
}

pub fn sys_pread64(fd: i32, buf: usize, count: usize, pos: i64) -> Result<usize> {
    let file = positioned(fd, pos)?;
    check_count(count)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    rw::pread(&file, &mut IoSink::user(buf, count)?, pos)
}

pub fn sys_pwrite64(fd: i32, buf: usize, count: usize, pos: i64) -> Result<usize> {
    let file = positioned(fd, pos)?;
    check_count(count)?;
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    rw::pwrite(&file, &mut IoSource::user(buf, count)?, pos)
}

pub fn sys_readv(fd: i32, iov: usize, count: usize) -> Result<usize> {
    let file = readable(fd)?;
    rw::read(&file, &mut IoSink::vector(iov, count)?)
}

pub fn sys_writev(fd: i32, iov: usize, count: usize) -> Result<usize> {
    let file = writable(fd)?;
    rw::write(&file, &mut IoSource::vector(iov, count)?)
}

pub fn sys_preadv(fd: i32, iov: usize, count: usize, pos: i64, _high: usize) -> Result<usize> {
    let file = positioned(fd, pos)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    rw::pread(&file, &mut IoSink::vector(iov, count)?, pos)
}

pub fn sys_pwritev(fd: i32, iov: usize, count: usize, pos: i64, _high: usize) -> Result<usize> {
    let file = positioned(fd, pos)?;
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    rw::pwrite(&file, &mut IoSource::vector(iov, count)?, pos)
}

const RWF_READ: u32 = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT;

/// Whether `RWF_NOWAIT` is asked of a file that may wait: what is in memory never does, the others are not asked.
fn cannot_promise(file: &File, flags: u32) -> bool {
    flags & RWF_NOWAIT != 0 && !file.inode().is_regular()
}

pub fn sys_preadv2(
    fd: i32,
    iov: usize,
    count: usize,
    pos: i64,
    _high: usize,
    flags: u32,
) -> Result<usize> {
    let file = if pos == -1 {
        current().my_files().get(fd)?
    } else {
        positioned(fd, pos)?
    };
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    let mut sink = IoSink::vector(iov, count)?;
    if flags & !RWF_READ != 0 || cannot_promise(&file, flags) {
        return Err(Errno::EOPNOTSUPP);
    }
    if pos == -1 {
        rw::read(&file, &mut sink)
    } else {
        rw::pread(&file, &mut sink, pos)
    }
}

pub fn sys_pwritev2(
    fd: i32,
    iov: usize,
    count: usize,
    pos: i64,
    _high: usize,
    flags: u32,
) -> Result<usize> {
    let file = if pos == -1 {
        current().my_files().get(fd)?
    } else {
        positioned(fd, pos)?
    };
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    let mut source = IoSource::vector(iov, count)?;
    if flags & !(RWF_READ | RWF_APPEND | RWF_NOAPPEND) != 0 || cannot_promise(&file, flags) {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & RWF_APPEND != 0 && flags & RWF_NOAPPEND != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & (RWF_APPEND | RWF_NOAPPEND) != 0 && file.inode().is_regular() {
        // Where the end is may change until the write has the file's lock: the flag goes with this one write.
        let appended = flags & RWF_APPEND != 0;
        return rw::write_flagged(&file, &mut source, pos, appended);
    }
    if pos == -1 {
        rw::write(&file, &mut source)
    } else {
        rw::pwrite(&file, &mut source, pos)
    }
}

pub fn sys_lseek(fd: i32, offset: i64, whence: u32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    if whence > 4 {
        return Err(Errno::EINVAL);
    }
    if !file.seekable() {
        return Err(Errno::ESPIPE);
    }
    file.seek(offset, whence).map(|pos| pos as usize)
}

/// Directory entries on their way to user space, in the form of either call. Records are multiples of a word, so words
/// are what is kept.
struct Entries {
    out: Vec<u64>,
    /// Words that the user has room for.
    room: usize,
    modern: bool,
    /// Why the last entry was refused, if one was.
    refused: Option<Refused>,
}

enum Refused {
    /// `out` is full: it is for the caller to grow it, outside of the locks that the sink is used under.
    ByBuffer,
    ByUser,
}

impl Entries {
    fn new(count: usize, modern: bool) -> Self {
        Self {
            out: Vec::new(),
            room: count.min(DIR_CHUNK) / size_of::<u64>(),
            modern,
            refused: None,
        }
    }

    /// After a directory has been read as far as it went: whether there is room for more of it now. Where nothing is
    /// left to be read, nothing is allocated.
    fn grown(&mut self) -> Result<bool> {
        if !matches!(self.refused.take(), Some(Refused::ByBuffer)) {
            return Ok(false);
        }
        let words = (4 * self.out.capacity()).max(FIRST_CHUNK / size_of::<u64>());
        let more = words.min(self.room).saturating_sub(self.out.len());
        self.out
            .try_reserve_exact(more)
            .map_err(|_| Errno::ENOMEM)?;
        Ok(true)
    }
}

impl DirSink for Entries {
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileKind, next: u64) -> bool {
        // struct linux_dirent64: ino, position after it, length, type, name. struct linux_dirent: the type is the last
        // byte. The name begins within the third word, and ends in a NUL.
        let (head, end) = if self.modern { (3, 1) } else { (2, 2) };
        let words = (16 + head + name.len() + end).div_ceil(8);
        let after = self.out.len() + words;
        if after > self.room.min(self.out.capacity()) {
            self.refused = Some(if after > self.room {
                Refused::ByUser
            } else {
                Refused::ByBuffer
            });
            return false;
        }
        let (first, rest) = name.split_at(name.len().min(8 - head));
        let mut third = (8 * words as u64) | (word_of(first) << (8 * head));
        if self.modern {
            third |= (kind as u64) << 16;
        }
        self.out.extend_from_slice(&[ino, next, third]);
        for chunk in rest.chunks(8) {
            self.out.push(word_of(chunk));
        }
        // The NUL and the type may need a word of their own.
        if self.out.len() < after {
            self.out.push(0);
        }
        if !self.modern
            && let Some(last) = self.out.last_mut()
        {
            *last |= (kind as u64) << 56;
        }
        true
    }
}

/// How much of the user's buffer is filled at a time, and how much is tried at first.
const DIR_CHUNK: usize = 32 * 1024;
const FIRST_CHUNK: usize = 4096;

fn read_entries(fd: i32, buf: usize, count: u32, modern: bool) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    let inode = file.inode();
    if !inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let mut entries = Entries::new(count as usize, modern);
    let guard = inode.lock.lock();
    if inode.flags().contains(crate::fs::InodeFlags::DEAD) {
        return Err(Errno::ENOENT);
    }
    let mut pos = file.pos();
    let too_small = loop {
        file.ops().readdir(&file, &mut pos, &mut entries)?;
        let too_small = matches!(entries.refused, Some(Refused::ByUser)) && entries.out.is_empty();
        if !entries.grown()? {
            break too_small;
        }
    };
    drop(guard);
    file.accessed();
    notify::file_event(&file, Event::ACCESS);
    if too_small {
        return Err(Errno::EINVAL);
    }
    let bytes = entries.out.as_bytes();
    copy_out(buf, bytes)?;
    file.set_pos(pos);
    Ok(bytes.len())
}

pub fn sys_getdents(fd: i32, buf: usize, count: u32) -> Result<usize> {
    read_entries(fd, buf, count, false)
}

pub fn sys_getdents64(fd: i32, buf: usize, count: u32) -> Result<usize> {
    read_entries(fd, buf, count, true)
}

pub fn sys_truncate(path: UserCStr, length: i64) -> Result<usize> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let place = path::lookup(abi::fs::AT_FDCWD, &path.read_path()?, LookupFlags::FOLLOW)?;
    let inode = place.inode();
    match inode.kind {
        FileKind::Dir => return Err(Errno::EISDIR),
        FileKind::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    place.check_writable()?;
    let task = current();
    let cred = task.my_cred();
    perm::check(inode, W_OK, &cred)?;
    if inode.writers() < 0 {
        return Err(Errno::ETXTBSY);
    }
    lease::break_for(inode, true, false)?;
    open::truncate(inode, length, &cred)?;
    notify::dentry_event(&place.dentry, Event::MODIFY);
    Ok(0)
}

pub fn sys_ftruncate(fd: i32, length: i64) -> Result<usize> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = current().my_files().get(fd)?;
    if !file.inode().is_regular() || !file.writable() {
        return Err(Errno::EINVAL);
    }
    open::truncate(file.inode(), length, &file.cred)?;
    notify::file_event(&file, Event::MODIFY);
    Ok(0)
}

pub fn sys_fallocate(fd: i32, mode: u32, offset: i64, len: i64) -> Result<usize> {
    const KNOWN: u32 = FALLOC_FL_KEEP_SIZE
        | FALLOC_FL_PUNCH_HOLE
        | FALLOC_FL_COLLAPSE_RANGE
        | FALLOC_FL_ZERO_RANGE
        | FALLOC_FL_INSERT_RANGE
        | FALLOC_FL_UNSHARE_RANGE;
    let file = current().my_files().get(fd)?;
    if offset < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    if mode & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if mode & FALLOC_FL_PUNCH_HOLE != 0 && mode & FALLOC_FL_KEEP_SIZE == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    let flags = file.inode().flags();
    let shrinks = mode & !FALLOC_FL_KEEP_SIZE != 0;
    if flags.contains(InodeFlags::IMMUTABLE) || (shrinks && flags.contains(InodeFlags::APPEND)) {
        return Err(Errno::EPERM);
    }
    match file.inode().kind {
        FileKind::Fifo => return Err(Errno::ESPIPE),
        FileKind::Dir => return Err(Errno::EISDIR),
        FileKind::Regular | FileKind::Block => {}
        _ => return Err(Errno::ENODEV),
    }
    let (offset, len) = (offset as u64, len as u64);
    if offset + len > file.inode().sb.max_bytes {
        return Err(Errno::EFBIG);
    }
    file.ops().fallocate(&file, mode, offset, len)?;
    notify::file_event(&file, Event::MODIFY);
    Ok(0)
}

pub fn sys_fsync(fd: i32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    file.ops().fsync(&file, false).map(|()| 0)
}

pub fn sys_fdatasync(fd: i32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    file.ops().fsync(&file, true).map(|()| 0)
}

pub fn sys_sync() -> Result<usize> {
    for sb in current().my_fs().namespace().super_blocks() {
        if let Err(error) = sb.ops.sync(&sb) {
            log::warn!("sync: {}: {error:?}", sb.fs_name);
        }
    }
    Ok(0)
}

pub fn sys_syncfs(fd: i32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    let sb = &file.path().mount.sb;
    sb.ops.sync(sb).map(|()| 0)
}

pub fn sys_sync_file_range(fd: i32, offset: i64, len: i64, flags: u32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    if flags & !7 != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    match file.inode().kind {
        FileKind::Regular => file.ops().fsync(&file, true).map(|()| 0),
        FileKind::Block | FileKind::Dir | FileKind::Symlink => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}

/// Advice changes no answer; what cannot be advised is still refused.
pub fn sys_fadvise64(fd: i32, _offset: i64, len: i64, advice: u32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    if file.inode().kind == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    if len < 0 || advice > 5 {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

pub fn sys_readahead(fd: i32, _offset: i64, _count: usize) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    match file.inode().kind {
        FileKind::Regular | FileKind::Block => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
