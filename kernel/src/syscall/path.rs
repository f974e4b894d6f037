//! Calls that change names and attributes, open files, and move in the tree.

use abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, DevNum,
    FileTime, OpenFlags, OpenHow, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFMT,
    S_ISVTX, UTIME_NOW, UTIME_OMIT, X_OK,
};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::stat::{lookup_at, place_of};
use crate::fs::attr::{self, NewTime};
use crate::fs::namei::{self, Make};
use crate::fs::{FileKind, LookupFlags, OpenRequest, open, path, perm};
use crate::mm::user::{UserCStr, UserPtr, UserSlice, copy_in};
use crate::task::{Cap, current};

/// Opens and gives the file a descriptor, which is taken first, as on Linux.
fn open_fd(dirfd: i32, path: UserCStr, request: &OpenRequest) -> Result<usize> {
    let path = path.read_path()?;
    let cloexec = request.flags.contains(OpenFlags::CLOEXEC);
    let reserved = current().my_files().reserve(cloexec)?;
    let file = open::open(dirfd, &path, request)?;
    Ok(reserved.fill(file).to_ret())
}

pub fn sys_open(path: UserCStr, flags: u32, mode: u32) -> Result<usize> {
    open_fd(AT_FDCWD, path, &OpenRequest::lenient(flags, mode)?)
}

pub fn sys_openat(dirfd: i32, path: UserCStr, flags: u32, mode: u32) -> Result<usize> {
    open_fd(dirfd, path, &OpenRequest::lenient(flags, mode)?)
}

pub fn sys_creat(path: UserCStr, mode: u32) -> Result<usize> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open_fd(AT_FDCWD, path, &OpenRequest::lenient(flags.bits(), mode)?)
}

/// Reads a structure that may grow: what the kernel does not know must be zero (E2BIG).
fn read_how(how: usize, size: usize) -> Result<OpenHow> {
    const KNOWN: usize = size_of::<OpenHow>();
    const PAGE: usize = 4096;
    if size < KNOWN {
        return Err(Errno::EINVAL);
    }
    if size > PAGE {
        return Err(Errno::E2BIG);
    }
    let mut value = OpenHow::default();
    let mut rest = how.wrapping_add(KNOWN);
    let end = how.wrapping_add(size);
    while rest < end {
        let mut chunk = [0u8; 64];
        let len = chunk.len().min(end - rest);
        let piece = chunk.get_mut(..len).ok_or(Errno::EFAULT)?;
        copy_in(rest, piece)?;
        if piece.iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
        rest += len;
    }
    copy_in(how, value.as_mut_bytes())?;
    Ok(value)
}

pub fn sys_openat2(dirfd: i32, path: UserCStr, how: usize, size: usize) -> Result<usize> {
    let how = read_how(how, size)?;
    open_fd(
        dirfd,
        path,
        &OpenRequest::strict(how.flags, how.mode, how.resolve)?,
    )
}

pub fn sys_mkdir(path: UserCStr, mode: u32) -> Result<usize> {
    sys_mkdirat(AT_FDCWD, path, mode)
}

pub fn sys_mkdirat(dirfd: i32, path: UserCStr, mode: u32) -> Result<usize> {
    let parent = path::lookup_parent(dirfd, &path.read_path()?)?;
    let task = current();
    let mode = mode & (0o777 | S_ISVTX) & !task.my_fs().umask();
    let node = Make::Node {
        kind: FileKind::Dir,
        mode,
        rdev: DevNum(0),
    };
    namei::make(&parent, &node, &task.my_cred()).map(|_| 0)
}

pub fn sys_mknod(path: UserCStr, mode: u32, dev: u32) -> Result<usize> {
    sys_mknodat(AT_FDCWD, path, mode, dev)
}

pub fn sys_mknodat(dirfd: i32, path: UserCStr, mode: u32, dev: u32) -> Result<usize> {
    let kind = match mode & S_IFMT {
        0 => FileKind::Regular,
        _ => match FileKind::from_mode(mode) {
            Some(FileKind::Dir) => return Err(Errno::EPERM),
            Some(FileKind::Symlink) | None => return Err(Errno::EINVAL),
            Some(kind) => kind,
        },
    };
    let parent = path::lookup_parent(dirfd, &path.read_path()?)?;
    let task = current();
    let device = matches!(kind, FileKind::Char | FileKind::Block);
    let node = Make::Node {
        kind,
        mode: mode & 0o7777 & !task.my_fs().umask(),
        rdev: if device {
            DevNum::from_user(dev)
        } else {
            DevNum(0)
        },
    };
    namei::make(&parent, &node, &task.my_cred()).map(|_| 0)
}

pub fn sys_symlink(target: UserCStr, path: UserCStr) -> Result<usize> {
    sys_symlinkat(target, AT_FDCWD, path)
}

pub fn sys_symlinkat(target: UserCStr, dirfd: i32, path: UserCStr) -> Result<usize> {
    let target = target.read_path()?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let parent = path::lookup_parent(dirfd, &path.read_path()?)?;
    namei::make(
        &parent,
        &Make::Symlink { target: &target },
        &current().my_cred(),
    )
    .map(|_| 0)
}

pub fn sys_link(old: UserCStr, new: UserCStr) -> Result<usize> {
    sys_linkat(AT_FDCWD, old, AT_FDCWD, new, 0)
}

pub fn sys_linkat(
    old_dir: i32,
    old: UserCStr,
    new_dir: i32,
    new: UserCStr,
    flags: u32,
) -> Result<usize> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let cred = task.my_cred();
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_FOLLOW != 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    let old_path = old.read_path()?;
    if old_path.is_empty() && flags & AT_EMPTY_PATH != 0 && !cred.capable(Cap::DAC_READ_SEARCH) {
        // Whoever opened the file may name it again, with the same identity.
        let file = task.my_files().get_any(old_dir)?;
        if *file.cred != **cred {
            return Err(Errno::ENOENT);
        }
    }
    let place = path::lookup(old_dir, &old_path, lookup)?;
    let parent = path::lookup_parent(new_dir, &new.read_path()?)?;
    namei::link(&place, &parent, &cred).map(|()| 0)
}

pub fn sys_unlink(path: UserCStr) -> Result<usize> {
    let parent = path::lookup_parent(AT_FDCWD, &path.read_path()?)?;
    namei::unlink(&parent, &current().my_cred()).map(|()| 0)
}

pub fn sys_rmdir(path: UserCStr) -> Result<usize> {
    let parent = path::lookup_parent(AT_FDCWD, &path.read_path()?)?;
    namei::rmdir(&parent, &current().my_cred()).map(|()| 0)
}

pub fn sys_unlinkat(dirfd: i32, path: UserCStr, flags: u32) -> Result<usize> {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let parent = path::lookup_parent(dirfd, &path.read_path()?)?;
    let task = current();
    let cred = task.my_cred();
    if flags & AT_REMOVEDIR != 0 {
        namei::rmdir(&parent, &cred)?;
    } else {
        namei::unlink(&parent, &cred)?;
    }
    Ok(0)
}

pub fn sys_rename(old: UserCStr, new: UserCStr) -> Result<usize> {
    sys_renameat2(AT_FDCWD, old, AT_FDCWD, new, 0)
}

pub fn sys_renameat(old_dir: i32, old: UserCStr, new_dir: i32, new: UserCStr) -> Result<usize> {
    sys_renameat2(old_dir, old, new_dir, new, 0)
}

pub fn sys_renameat2(
    old_dir: i32,
    old: UserCStr,
    new_dir: i32,
    new: UserCStr,
    flags: u32,
) -> Result<usize> {
    if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0 {
        return Err(Errno::EINVAL);
    }
    let exchange = flags & RENAME_EXCHANGE != 0;
    if exchange && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & RENAME_WHITEOUT != 0 {
        // Only overlay file systems have a use for it; a file system without it answers so.
        return Err(Errno::EINVAL);
    }
    let old_parent = path::lookup_parent(old_dir, &old.read_path()?)?;
    let new_parent = path::lookup_parent(new_dir, &new.read_path()?)?;
    namei::rename(&old_parent, &new_parent, flags, &current().my_cred()).map(|()| 0)
}

pub fn sys_chmod(path: UserCStr, mode: u32) -> Result<usize> {
    sys_fchmodat(AT_FDCWD, path, mode)
}

pub fn sys_fchmod(fd: i32, mode: u32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    attr::chmod(file.path(), mode, &current().my_cred()).map(|()| 0)
}

pub fn sys_fchmodat(dirfd: i32, path: UserCStr, mode: u32) -> Result<usize> {
    let place = path::lookup(dirfd, &path.read_path()?, LookupFlags::FOLLOW)?;
    attr::chmod(&place, mode, &current().my_cred()).map(|()| 0)
}

pub fn sys_fchmodat2(dirfd: i32, path: UserCStr, mode: u32, flags: u32) -> Result<usize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = lookup_at(dirfd, path, flags)?;
    attr::chmod(&place, mode, &current().my_cred()).map(|()| 0)
}

/// -1 leaves an id as it is.
fn id(value: u32) -> Option<u32> {
    (value != u32::MAX).then_some(value)
}

fn chown_path(path: UserCStr, uid: u32, gid: u32, flags: LookupFlags) -> Result<usize> {
    let place = path::lookup(AT_FDCWD, &path.read_path()?, flags)?;
    attr::chown(&place, id(uid), id(gid), &current().my_cred()).map(|()| 0)
}

pub fn sys_chown(path: UserCStr, uid: u32, gid: u32) -> Result<usize> {
    chown_path(path, uid, gid, LookupFlags::FOLLOW)
}

pub fn sys_lchown(path: UserCStr, uid: u32, gid: u32) -> Result<usize> {
    chown_path(path, uid, gid, LookupFlags::empty())
}

pub fn sys_fchown(fd: i32, uid: u32, gid: u32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    attr::chown(file.path(), id(uid), id(gid), &current().my_cred()).map(|()| 0)
}

pub fn sys_fchownat(dirfd: i32, path: UserCStr, uid: u32, gid: u32, flags: u32) -> Result<usize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = lookup_at(dirfd, path, flags)?;
    attr::chown(&place, id(uid), id(gid), &current().my_cred()).map(|()| 0)
}

/// A `struct timespec` of `utimensat`.
fn new_time(time: FileTime) -> Result<NewTime> {
    match time.nsec {
        UTIME_NOW => Ok(NewTime::Now),
        UTIME_OMIT => Ok(NewTime::Omit),
        0..=999_999_999 => Ok(NewTime::At(time)),
        _ => Err(Errno::EINVAL),
    }
}

/// A `struct timeval`, held in the same shape.
fn from_timeval(time: FileTime) -> Result<NewTime> {
    match time.nsec {
        0..=999_999 => Ok(NewTime::At(FileTime {
            sec: time.sec,
            nsec: time.nsec * 1000,
        })),
        _ => Err(Errno::EINVAL),
    }
}

/// A pair of times in user memory, or now for NULL.
fn read_times(
    times: usize,
    convert: fn(FileTime) -> Result<NewTime>,
) -> Result<(NewTime, NewTime)> {
    if times == 0 {
        return Ok((NewTime::Now, NewTime::Now));
    }
    let mut pair = [FileTime::default(); 2];
    UserSlice::<FileTime>::new(times, 2)?.read_into(&mut pair)?;
    let [atime, mtime] = pair;
    Ok((convert(atime)?, convert(mtime)?))
}

pub fn sys_utimensat(dirfd: i32, path: UserCStr, times: usize, flags: u32) -> Result<usize> {
    let (atime, mtime) = read_times(times, new_time)?;
    if (atime, mtime) == (NewTime::Omit, NewTime::Omit) {
        return Ok(0);
    }
    let task = current();
    let cred = task.my_cred();
    if path.is_null() && dirfd != AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let file = task.my_files().get(dirfd)?;
        return attr::utimes(file.path(), atime, mtime, &cred).map(|()| 0);
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = lookup_at(dirfd, path, flags)?;
    attr::utimes(&place, atime, mtime, &cred).map(|()| 0)
}

pub fn sys_utimes(path: UserCStr, times: usize) -> Result<usize> {
    sys_futimesat(AT_FDCWD, path, times)
}

pub fn sys_futimesat(dirfd: i32, path: UserCStr, times: usize) -> Result<usize> {
    let (atime, mtime) = read_times(times, from_timeval)?;
    let place = if path.is_null() && dirfd != AT_FDCWD {
        place_of(dirfd)?
    } else {
        path::lookup(dirfd, &path.read_path()?, LookupFlags::FOLLOW)?
    };
    attr::utimes(&place, atime, mtime, &current().my_cred()).map(|()| 0)
}

pub fn sys_utime(path: UserCStr, times: UserPtr<[i64; 2]>) -> Result<usize> {
    let (atime, mtime) = match times.read_opt()? {
        None => (NewTime::Now, NewTime::Now),
        Some([atime, mtime]) => (
            NewTime::At(FileTime {
                sec: atime,
                nsec: 0,
            }),
            NewTime::At(FileTime {
                sec: mtime,
                nsec: 0,
            }),
        ),
    };
    let place = path::lookup(AT_FDCWD, &path.read_path()?, LookupFlags::FOLLOW)?;
    attr::utimes(&place, atime, mtime, &current().my_cred()).map(|()| 0)
}

pub fn sys_chdir(path: UserCStr) -> Result<usize> {
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let place = path::lookup(AT_FDCWD, &path.read_path()?, flags)?;
    let task = current();
    perm::check(place.inode(), X_OK, &task.my_cred())?;
    task.my_fs().set_cwd(place);
    Ok(0)
}

pub fn sys_fchdir(fd: i32) -> Result<usize> {
    let task = current();
    let file = task.my_files().get_any(fd)?;
    if !file.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    perm::check(file.inode(), X_OK, &task.my_cred())?;
    task.my_fs().set_cwd(file.path().clone());
    Ok(0)
}

pub fn sys_chroot(path: UserCStr) -> Result<usize> {
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let place = path::lookup(AT_FDCWD, &path.read_path()?, flags)?;
    let task = current();
    let cred = task.my_cred();
    perm::check(place.inode(), X_OK, &cred)?;
    if !cred.capable(Cap::SYS_CHROOT) {
        return Err(Errno::EPERM);
    }
    task.my_fs().set_root(place);
    Ok(0)
}

pub fn sys_umask(mask: u32) -> Result<usize> {
    Ok(current().my_fs().set_umask(mask) as usize)
}
