//! Calls on descriptors: dup, close, fcntl, flock, the generic part of ioctl, memfd_create.

use alloc::sync::Arc;

use abi::fs::{
    CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE, F_ADD_SEALS, F_CREATED_QUERY, F_DUPFD,
    F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETLK, F_GETOWN,
    F_GETOWN_EX, F_GETPIPE_SZ, F_GETSIG, F_NOTIFY, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK,
    F_SETFD, F_SETFL, F_SETLEASE, F_SETLK, F_SETLKW, F_SETOWN, F_SETOWN_EX, F_SETPIPE_SZ, F_SETSIG,
    F_UNLCK, F_WRLCK, FD_CLOEXEC, FIGETBSZ, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD,
    FIOQSIZE, FOwnerEx, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS,
    Flock, FsXattr, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC,
    MFD_HUGETLB, MFD_NOEXEC_SEAL, OpenFlags, SEEK_CUR, SEEK_END, SEEK_SET,
};
use abi::{Errno, Result};
use vfs::{LockKind, Range, RangeLock};

use crate::fs::{
    File, FileKind, FileMode, InodeFlags, dnotify, fasync, fileattr, lease, locks, memfd, perm,
    pipe,
};
use crate::mm::user::{UserCStr, UserPtr};
use crate::task::current;

pub fn sys_close(fd: i32) -> Result<usize> {
    // A close is never restarted: the descriptor is gone.
    match current().my_files().close(fd) {
        Err(error) if error.is_restart() => Err(Errno::EINTR),
        result => result.map(|()| 0),
    }
}

pub fn sys_close_range(first: u32, last: u32, flags: u32) -> Result<usize> {
    if flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    let task = current();
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        let shared = Arc::strong_count(&task.my_files()) > 1;
        if shared {
            // What would only be closed again is not copied, if it is the table's end.
            let table = task.my_files().clone();
            let own = if last as usize + 1 >= table.size() && flags & CLOSE_RANGE_CLOEXEC == 0 {
                table.copy_below(first as usize)?
            } else {
                table.fork()?
            };
            drop(table);
            task.replace_files(Some(own));
        }
    }
    let files = task.my_files();
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        files.set_cloexec_range(first, last);
    } else {
        files.close_range(first, last);
    }
    Ok(0)
}

pub fn sys_dup(fd: i32) -> Result<usize> {
    let task = current();
    let files = task.my_files();
    let file = files.get_any(fd)?;
    Ok(files.install(file, false)?.to_ret())
}

pub fn sys_dup2(old: i32, new: i32) -> Result<usize> {
    let task = current();
    let files = task.my_files();
    let file = files.get_any(old)?;
    if old == new {
        return Ok(new as usize);
    }
    Ok(files.replace(file, new, false)?.to_ret())
}

pub fn sys_dup3(old: i32, new: i32, flags: u32) -> Result<usize> {
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let files = task.my_files();
    let file = files.get_any(old)?;
    Ok(files.replace(file, new, flags != 0)?.to_ret())
}

pub fn sys_fcntl(fd: i32, cmd: u32, arg: usize) -> Result<usize> {
    let task = current();
    let files = task.my_files();
    match cmd {
        F_GETFD => {
            return Ok(if files.cloexec(fd)? {
                FD_CLOEXEC as usize
            } else {
                0
            });
        }
        F_SETFD => {
            files.set_cloexec(fd, arg as u32 & FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        _ => {}
    }
    let file = files.get_any(fd)?;
    match cmd {
        F_GETFL => return Ok(file.flags().bits() as usize),
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let from = i32::try_from(arg).map_err(|_| Errno::EINVAL)?;
            return Ok(files
                .install_from(file, cmd == F_DUPFD_CLOEXEC, from)?
                .to_ret());
        }
        F_DUPFD_QUERY => {
            let other = files.get_any(arg as i32)?;
            return Ok(usize::from(Arc::ptr_eq(&file, &other)));
        }
        _ if file.is_path_only() => return Err(Errno::EBADF),
        _ => {}
    }
    fcntl_open(&file, fd, files.id, cmd, arg)
}

/// The commands that need a file, not only a place.
fn fcntl_open(file: &Arc<File>, fd: i32, table: u64, cmd: u32, arg: usize) -> Result<usize> {
    match cmd {
        F_SETFL => set_flags(file, fd, arg as u32),
        F_GETLK | F_OFD_GETLK => get_lock(file, table, cmd == F_OFD_GETLK, UserPtr::from(arg)),
        F_SETLK | F_SETLKW => set_lock(file, table, false, cmd == F_SETLKW, UserPtr::from(arg)),
        F_OFD_SETLK | F_OFD_SETLKW => {
            set_lock(file, table, true, cmd == F_OFD_SETLKW, UserPtr::from(arg))
        }
        F_SETOWN | F_GETOWN | F_SETOWN_EX | F_GETOWN_EX | F_SETSIG | F_GETSIG => {
            owner(file, cmd, arg)
        }
        F_SETPIPE_SZ | F_GETPIPE_SZ => pipe::fcntl(file, cmd, arg),
        F_ADD_SEALS => memfd::add(file, arg as u32),
        F_GET_SEALS => memfd::get(file),
        F_GETLEASE => Ok(lease::get(file) as usize),
        F_SETLEASE => lease::set(file, fd, arg as i32).map(|()| 0),
        F_NOTIFY => dnotify::ask(file, table, fd, arg as u32).map(|()| 0),
        F_CREATED_QUERY => Ok(usize::from(file.mode().contains(FileMode::CREATED))),
        _ => Err(Errno::EINVAL),
    }
}

fn set_flags(file: &Arc<File>, fd: i32, arg: u32) -> Result<usize> {
    let wanted = OpenFlags::from_bits_retain(arg) & OpenFlags::SETFL;
    let old = file.flags();
    let task = current();
    if (wanted ^ old).contains(OpenFlags::APPEND)
        && file.inode().flags().contains(InodeFlags::APPEND)
    {
        return Err(Errno::EPERM);
    }
    if (wanted & !old).contains(OpenFlags::NOATIME)
        && !perm::is_owner(file.inode(), &task.my_cred())
    {
        return Err(Errno::EPERM);
    }
    // Only files that can signal take `O_ASYNC`; others pass over it.
    if (wanted ^ old).contains(OpenFlags::ASYNC) {
        fasync::set(file, fd, wanted.contains(OpenFlags::ASYNC));
    }
    let kept = file.flags() & OpenFlags::ASYNC;
    let new = (old & !OpenFlags::SETFL) | (wanted - OpenFlags::ASYNC) | kept;
    file.ops().set_flags(file, new)?;
    file.set_flags(new);
    Ok(0)
}

/// The bytes that a `struct flock` means; EINVAL below 0, EOVERFLOW beyond what offsets reach.
fn range_of(file: &Arc<File>, lock: &Flock) -> Result<Range> {
    let base = match lock.l_whence as u32 {
        SEEK_SET => 0,
        SEEK_CUR => file.pos() as i64,
        SEEK_END => file.inode().attr()?.size as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.l_start).ok_or(Errno::EOVERFLOW)?;
    if start < 0 {
        return Err(Errno::EINVAL);
    }
    let (start, end) = match lock.l_len {
        0 => (start, i64::MAX),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => {
            let first = start
                .checked_add(len)
                .filter(|first| *first >= 0)
                .ok_or(Errno::EINVAL)?;
            (first, start - 1)
        }
    };
    Ok(Range {
        start: start as u64,
        end: end as u64,
    })
}

fn kind_of(lock: &Flock) -> Result<Option<LockKind>> {
    match lock.l_type {
        F_RDLCK => Ok(Some(LockKind::Shared)),
        F_WRLCK => Ok(Some(LockKind::Exclusive)),
        F_UNLCK => Ok(None),
        _ => Err(Errno::EINVAL),
    }
}

fn lock_owner(file: &File, table: u64, by_description: bool) -> u64 {
    if by_description {
        locks::description_owner(file)
    } else {
        locks::process_owner(table)
    }
}

fn get_lock(file: &Arc<File>, table: u64, ofd: bool, user: UserPtr<Flock>) -> Result<usize> {
    let mut lock = user.read()?;
    let kind = kind_of(&lock)?;
    // Asking for "unlocked" has a meaning only for the newer kind: nothing conflicts with it.
    let Some(kind) = kind else {
        return if ofd {
            write_unlocked(user, lock)
        } else {
            Err(Errno::EINVAL)
        };
    };
    let range = range_of(file, &lock)?;
    if ofd && lock.l_pid != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = lock_owner(file, table, ofd);
    let found = file
        .inode()
        .extra()
        .and_then(|extra| extra.locks.conflict(owner, kind, range));
    let Some(held) = found else {
        return write_unlocked(user, lock);
    };
    lock.l_type = if held.kind == LockKind::Shared {
        F_RDLCK
    } else {
        F_WRLCK
    };
    lock.l_whence = SEEK_SET as i16;
    lock.l_start = held.range.start as i64;
    let to_end = held.range.end == Range::EOF;
    lock.l_len = if to_end {
        0
    } else {
        (held.range.end - held.range.start + 1) as i64
    };
    lock.l_pid = held.pid;
    user.write(&lock).map(|()| 0)
}

fn write_unlocked(user: UserPtr<Flock>, mut lock: Flock) -> Result<usize> {
    lock.l_type = F_UNLCK;
    user.write(&lock).map(|()| 0)
}

fn set_lock(
    file: &Arc<File>,
    table: u64,
    ofd: bool,
    wait: bool,
    user: UserPtr<Flock>,
) -> Result<usize> {
    let lock = user.read()?;
    let range = range_of(file, &lock)?;
    let kind = kind_of(&lock)?;
    match kind {
        Some(LockKind::Shared) if !file.readable() => return Err(Errno::EBADF),
        Some(LockKind::Exclusive) if !file.writable() => return Err(Errno::EBADF),
        _ => {}
    }
    if ofd && lock.l_pid != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = lock_owner(file, table, ofd);
    let Some(kind) = kind else {
        if let Some(extra) = file.inode().extra() {
            extra.locks.unlock_range(owner, range)?;
        }
        return Ok(0);
    };
    let pid = if ofd { -1 } else { current().process.pid.0 };
    let context = locks::context(file);
    context.lock_range(
        RangeLock {
            owner,
            pid,
            kind,
            range,
        },
        wait,
        !ofd,
    )?;
    Ok(0)
}

fn owner(file: &Arc<File>, cmd: u32, arg: usize) -> Result<usize> {
    let state = file.fasync();
    match cmd {
        F_SETOWN => {
            let owner = fasync::owner_from_number(arg as i32)?;
            fasync::set_owner(file, owner);
        }
        F_SETOWN_EX => {
            let given = UserPtr::<FOwnerEx>::from(arg).read()?;
            let owner = fasync::owner_from_struct(&given)?;
            fasync::set_owner(file, owner);
        }
        F_GETOWN => {
            return Ok(fasync::owner_number(file) as isize as usize);
        }
        F_GETOWN_EX => {
            let owner = state.and_then(|state| state.owner()?.name());
            let answer = owner.map_or(FOwnerEx::default(), |(kind, pid)| FOwnerEx { kind, pid });
            UserPtr::from(arg).write(&answer)?;
        }
        F_SETSIG => {
            if arg > 64 {
                return Err(Errno::EINVAL);
            }
            file.fasync_or_new().set_signal(arg as i32);
        }
        _ => return Ok(state.map_or(0, |state| state.signal()) as usize),
    }
    Ok(0)
}

pub fn sys_flock(fd: i32, operation: u32) -> Result<usize> {
    let kind = match operation & !LOCK_NB {
        LOCK_SH => Some(LockKind::Shared),
        LOCK_EX => Some(LockKind::Exclusive),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let file = current().my_files().get(fd)?;
    if kind.is_some() && !file.readable() && !file.writable() {
        return Err(Errno::EBADF);
    }
    let wait = operation & LOCK_NB == 0;
    locks::context(&file).flock(&file, kind, wait).map(|()| 0)
}

pub fn sys_ioctl(fd: i32, cmd: u32, arg: usize) -> Result<usize> {
    let task = current();
    let file = task.my_files().get(fd)?;
    match cmd {
        FIOCLEX => task.my_files().set_cloexec(fd, true).map(|()| 0),
        FIONCLEX => task.my_files().set_cloexec(fd, false).map(|()| 0),
        FIONBIO => {
            let on = UserPtr::<i32>::from(arg).read()? != 0;
            file.change_flags(OpenFlags::NONBLOCK, on);
            Ok(0)
        }
        FIOASYNC => {
            let on = UserPtr::<i32>::from(arg).read()? != 0;
            let same = file.flags().contains(OpenFlags::ASYNC) == on;
            if same || fasync::set(&file, fd, on) {
                Ok(0)
            } else {
                Err(Errno::ENOTTY)
            }
        }
        // The inode behind anonymous files has no type bits: theirs is their own to answer.
        FIONREAD if file.inode().mode() & abi::fs::S_IFMT == abi::fs::S_IFREG => {
            let left = file.inode().size().saturating_sub(file.pos());
            UserPtr::from(arg).write(&(left as i32)).map(|()| 0)
        }
        FIOQSIZE => match file.inode().kind {
            FileKind::Regular | FileKind::Dir | FileKind::Symlink => {
                let size = file.inode().attr()?.blocks * 512;
                UserPtr::from(arg).write(&(size as i64)).map(|()| 0)
            }
            _ => Err(Errno::ENOTTY),
        },
        FIGETBSZ => UserPtr::from(arg)
            .write(&(file.inode().sb.block_size as i32))
            .map(|()| 0),
        FS_IOC_GETFLAGS => UserPtr::from(arg)
            .write(&fileattr::flags(&file)?)
            .map(|()| 0),
        FS_IOC_SETFLAGS => {
            let wanted = UserPtr::<u32>::from(arg).read()?;
            fileattr::set_flags(&file, wanted, &task.my_cred()).map(|()| 0)
        }
        FS_IOC_FSGETXATTR => UserPtr::from(arg)
            .write(&fileattr::extended(&file)?)
            .map(|()| 0),
        FS_IOC_FSSETXATTR => {
            let wanted: FsXattr = UserPtr::from(arg).read()?;
            fileattr::set_extended(&file, &wanted, &task.my_cred()).map(|()| 0)
        }
        _ => file.ops().ioctl(&file, cmd, arg),
    }
}

pub fn sys_memfd_create(name: UserCStr, flags: u32) -> Result<usize> {
    /// With the prefix `memfd:` a name fits in a file name.
    const MAX_NAME: usize = 250;
    const KNOWN: u32 = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC;
    // Huge pages would need a pool of them: without one, as if not built in.
    if flags & !KNOWN != 0 || flags & MFD_HUGETLB != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MFD_EXEC != 0 && flags & MFD_NOEXEC_SEAL != 0 {
        return Err(Errno::EINVAL);
    }
    let name = name.read_bytes(MAX_NAME)?.ok_or(Errno::EINVAL)?;
    let file = memfd::create(&name, flags)?;
    Ok(current()
        .my_files()
        .install(file, flags & MFD_CLOEXEC != 0)?
        .to_ret())
}
