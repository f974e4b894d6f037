//! Calls that ask: the stat family, access, readlink, getcwd, statfs.

use abi::fs::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
    DevNum, MountFlags, PATH_MAX, R_OK, ST_MANDLOCK, ST_NOATIME, ST_NODEV, ST_NODIRATIME,
    ST_NOEXEC, ST_NOSUID, ST_NOSYMFOLLOW, ST_RDONLY, ST_RELATIME, ST_SYNCHRONOUS, ST_VALID,
    STATX_ATTR_APPEND, STATX_ATTR_IMMUTABLE, STATX_ATTR_MOUNT_ROOT, STATX_ATTR_NODUMP,
    STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID, STATX_MNT_ID_UNIQUE, STATX_RESERVED, Stat,
    Statfs, Statx, Ustat, W_OK, X_OK,
};
use abi::{Errno, Result};

use crate::fs::inode::{Attr, Inode, InodeFlags};
use crate::fs::mount::{Mount, Path};
use crate::fs::{FileKind, LookupFlags, SuperBlock, path, perm};
use crate::mm::user::{UserCStr, UserPtr, copy_out};
use crate::task::{CapSet, Cred, current};

fn to_stat(attr: &Attr) -> Stat {
    Stat {
        st_dev: attr.dev.to_user(),
        st_ino: attr.ino,
        st_nlink: u64::from(attr.nlink),
        st_mode: attr.mode,
        st_uid: attr.uid,
        st_gid: attr.gid,
        st_rdev: attr.rdev.to_user(),
        st_size: attr.size as i64,
        st_blksize: i64::from(attr.blksize),
        st_blocks: attr.blocks as i64,
        st_atime: attr.times.atime,
        st_mtime: attr.times.mtime,
        st_ctime: attr.times.ctime,
        ..Stat::default()
    }
}

fn stat_path(dirfd: i32, path: UserCStr, flags: LookupFlags, out: UserPtr<Stat>) -> Result<usize> {
    let place = path::lookup(dirfd, &path.read_path()?, flags)?;
    out.write(&to_stat(&place.inode().attr()?)).map(|()| 0)
}

pub fn sys_stat(path: UserCStr, out: UserPtr<Stat>) -> Result<usize> {
    stat_path(AT_FDCWD, path, LookupFlags::FOLLOW, out)
}

pub fn sys_lstat(path: UserCStr, out: UserPtr<Stat>) -> Result<usize> {
    stat_path(AT_FDCWD, path, LookupFlags::empty(), out)
}

pub fn sys_fstat(fd: i32, out: UserPtr<Stat>) -> Result<usize> {
    let file = current().my_files().get_any(fd)?;
    out.write(&to_stat(&file.inode().attr()?)).map(|()| 0)
}

/// The walk that `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH` ask for.
pub(super) fn lookup_flags(flags: u32) -> LookupFlags {
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    lookup
}

/// Whether the path is absent or empty, as `AT_EMPTY_PATH` allows: the call is then about the descriptor.
fn is_empty_path(path: UserCStr, flags: u32) -> Result<bool> {
    if flags & AT_EMPTY_PATH == 0 {
        return Ok(false);
    }
    Ok(path.is_null() || UserPtr::<u8>::from(path.addr()).read()? == 0)
}

/// The place that a descriptor (or `AT_FDCWD`) is.
pub(super) fn place_of(dirfd: i32) -> Result<Path> {
    if dirfd == AT_FDCWD {
        return Ok(current().my_fs().cwd());
    }
    Ok(current().my_files().get_any(dirfd)?.path().clone())
}

/// As [`place_of`], of a descriptor that is open: EBADF for one of `O_PATH`.
pub(super) fn place_of_open(fd: i32) -> Result<Path> {
    if fd == AT_FDCWD {
        return Ok(current().my_fs().cwd());
    }
    Ok(current().my_files().get(fd)?.path().clone())
}

/// The place that `dirfd`, `path` and `AT_*` flags name.
pub(super) fn lookup_at(dirfd: i32, path: UserCStr, flags: u32) -> Result<Path> {
    if is_empty_path(path, flags)? {
        return place_of(dirfd);
    }
    path::lookup(dirfd, &path.read_path()?, lookup_flags(flags))
}

pub fn sys_newfstatat(dirfd: i32, path: UserCStr, out: UserPtr<Stat>, flags: u32) -> Result<usize> {
    const KNOWN: u32 = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if is_empty_path(path, flags)? && dirfd >= 0 {
        return sys_fstat(dirfd, out);
    }
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let place = lookup_at(dirfd, path, flags)?;
    out.write(&to_stat(&place.inode().attr()?)).map(|()| 0)
}

/// The flags of a file, and which it can have.
fn statx_flags(inode: &Inode) -> (u64, u64) {
    const ALL: [(InodeFlags, u64); 3] = [
        (InodeFlags::IMMUTABLE, STATX_ATTR_IMMUTABLE),
        (InodeFlags::APPEND, STATX_ATTR_APPEND),
        (InodeFlags::NODUMP, STATX_ATTR_NODUMP),
    ];
    if !inode.ops.has_file_flags(inode) {
        return (0, 0);
    }
    let has = inode.flags();
    ALL.iter().fold((0, 0), |(set, known), (flag, bit)| {
        (
            set | if has.contains(*flag) { *bit } else { 0 },
            known | bit,
        )
    })
}

fn to_statx(attr: &Attr, place: &Path, mask: u32) -> Statx {
    let (flags, known) = statx_flags(place.inode());
    let root = if place.is_mount_root() {
        STATX_ATTR_MOUNT_ROOT
    } else {
        0
    };
    let mut out = Statx {
        stx_mask: STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
        stx_blksize: attr.blksize,
        stx_attributes: root | flags,
        stx_nlink: attr.nlink,
        stx_uid: attr.uid,
        stx_gid: attr.gid,
        stx_mode: attr.mode as u16,
        stx_ino: attr.ino,
        stx_size: attr.size,
        stx_blocks: attr.blocks,
        stx_attributes_mask: STATX_ATTR_MOUNT_ROOT | known,
        stx_atime: attr.times.atime.into(),
        stx_btime: attr.times.btime.into(),
        stx_ctime: attr.times.ctime.into(),
        stx_mtime: attr.times.mtime.into(),
        stx_rdev_major: attr.rdev.major(),
        stx_rdev_minor: attr.rdev.minor(),
        stx_dev_major: attr.dev.major(),
        stx_dev_minor: attr.dev.minor(),
        stx_mnt_id: place.mount.id,
        ..Statx::default()
    };
    if mask & STATX_MNT_ID_UNIQUE != 0 {
        out.stx_mask = (out.stx_mask & !STATX_MNT_ID) | STATX_MNT_ID_UNIQUE;
    }
    out
}

pub fn sys_statx(
    dirfd: i32,
    path: UserCStr,
    flags: u32,
    mask: u32,
    out: UserPtr<Statx>,
) -> Result<usize> {
    const KNOWN: u32 = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if mask & STATX_RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let place = lookup_at(dirfd, path, flags)?;
    let attr = place.inode().attr()?;
    out.write(&to_statx(&attr, &place, mask)).map(|()| 0)
}

/// The identity that `access` asks with: real ids, and the capabilities that go with them.
fn real_identity(cred: &Cred) -> Cred {
    let mut real = cred.clone();
    real.fsuid = cred.uid;
    real.fsgid = cred.gid;
    real.effective = if cred.uid == 0 {
        cred.permitted
    } else {
        CapSet::EMPTY
    };
    real
}

fn access(dirfd: i32, path: UserCStr, mode: u32, flags: u32) -> Result<usize> {
    if mode & !(R_OK | W_OK | X_OK) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let own = task.my_cred();
    let real;
    let same = own.fsuid == own.uid
        && own.fsgid == own.gid
        && (own.uid != 0 || own.effective == own.permitted)
        && (own.uid == 0 || own.effective == CapSet::EMPTY);
    let cred: &Cred = if flags & AT_EACCESS != 0 || same {
        &own
    } else {
        real = real_identity(&own);
        &real
    };
    let place = if is_empty_path(path, flags)? {
        place_of(dirfd)?
    } else {
        path::lookup_as(dirfd, &path.read_path()?, lookup_flags(flags), cred)?
    };
    let inode = place.inode();
    if mode & X_OK != 0
        && inode.kind == FileKind::Regular
        && place.mount.flags().contains(MountFlags::NOEXEC)
    {
        return Err(Errno::EACCES);
    }
    if mode != 0 {
        let on_disk = matches!(
            inode.kind,
            FileKind::Regular | FileKind::Dir | FileKind::Symlink
        );
        if mode & W_OK != 0 && on_disk && inode.sb.is_read_only() {
            return Err(Errno::EROFS);
        }
        perm::check(inode, mode, cred)?;
        if mode & W_OK != 0 && on_disk && place.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
    }
    Ok(0)
}

pub fn sys_access(path: UserCStr, mode: u32) -> Result<usize> {
    access(AT_FDCWD, path, mode, 0)
}

pub fn sys_faccessat(dirfd: i32, path: UserCStr, mode: u32) -> Result<usize> {
    access(dirfd, path, mode, 0)
}

pub fn sys_faccessat2(dirfd: i32, path: UserCStr, mode: u32, flags: u32) -> Result<usize> {
    access(dirfd, path, mode, flags)
}

pub fn sys_readlink(path: UserCStr, buf: usize, size: i32) -> Result<usize> {
    sys_readlinkat(AT_FDCWD, path, buf, size)
}

pub fn sys_readlinkat(dirfd: i32, path: UserCStr, buf: usize, size: i32) -> Result<usize> {
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size == 0 {
        return Err(Errno::EINVAL);
    }
    let path = path.read_path()?;
    let place = path::lookup(dirfd, &path, LookupFlags::EMPTY)?;
    let inode = place.inode();
    if !inode.is_symlink() {
        return Err(if path.is_empty() {
            Errno::ENOENT
        } else {
            Errno::EINVAL
        });
    }
    let target = inode.ops.read_link(inode)?;
    inode.touch_accessed();
    let len = target.len().min(size);
    copy_out(buf, target.get(..len).unwrap_or_default())?;
    Ok(len)
}

pub fn sys_getcwd(buf: usize, size: usize) -> Result<usize> {
    let task = current();
    let context = task.my_fs();
    let cwd = context.cwd();
    if cwd.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let (mut text, reached) = cwd.to_bytes(&context.root());
    if !reached {
        let mut shown = alloc::vec::Vec::from(&b"(unreachable)"[..]);
        shown.append(&mut text);
        text = shown;
    }
    text.push(0);
    if text.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if text.len() > size {
        return Err(Errno::ERANGE);
    }
    copy_out(buf, &text)?;
    Ok(text.len())
}

fn statfs_of(sb: &SuperBlock, mount: &Mount) -> Result<Statfs> {
    let mut out = sb.statfs()?;
    out.f_flags = ST_VALID;
    let flags = mount.flags() | (sb.flags() & MountFlags::RDONLY);
    for (flag, bit) in [
        (MountFlags::RDONLY, ST_RDONLY),
        (MountFlags::NOSUID, ST_NOSUID),
        (MountFlags::NODEV, ST_NODEV),
        (MountFlags::NOEXEC, ST_NOEXEC),
        (MountFlags::SYNCHRONOUS, ST_SYNCHRONOUS),
        (MountFlags::MANDLOCK, ST_MANDLOCK),
        (MountFlags::NOATIME, ST_NOATIME),
        (MountFlags::NODIRATIME, ST_NODIRATIME),
        (MountFlags::RELATIME, ST_RELATIME),
        (MountFlags::NOSYMFOLLOW, ST_NOSYMFOLLOW),
    ] {
        if flags.contains(flag) {
            out.f_flags |= bit;
        }
    }
    Ok(out)
}

pub fn sys_statfs(path: UserCStr, out: UserPtr<Statfs>) -> Result<usize> {
    let place = path::lookup(AT_FDCWD, &path.read_path()?, LookupFlags::FOLLOW)?;
    out.write(&statfs_of(&place.mount.sb, &place.mount)?)
        .map(|()| 0)
}

pub fn sys_fstatfs(fd: i32, out: UserPtr<Statfs>) -> Result<usize> {
    let file = current().my_files().get_any(fd)?;
    let mount = &file.path().mount;
    out.write(&statfs_of(&mount.sb, mount)?).map(|()| 0)
}

pub fn sys_ustat(dev: u32, out: UserPtr<Ustat>) -> Result<usize> {
    let dev = DevNum::from_user(dev);
    let mounted = current().my_fs().namespace().super_blocks();
    let sb = mounted
        .iter()
        .find(|sb| sb.dev == dev)
        .ok_or(Errno::EINVAL)?;
    let stat = sb.statfs()?;
    let answer = Ustat {
        f_tfree: i32::try_from(stat.f_bfree).unwrap_or(i32::MAX),
        f_tinode: stat.f_ffree,
        ..Ustat::default()
    };
    out.write(&answer).map(|()| 0)
}
