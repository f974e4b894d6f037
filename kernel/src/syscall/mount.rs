//! Mounting: mount, umount2, pivot_root.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{AT_FDCWD, MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MountFlags, PATH_MAX, UMOUNT_NOFOLLOW};
use abi::{Errno, Result};

use crate::fs::mount::{self, ATIME, Mount, PER_MOUNT, UnmountFlags};
use crate::fs::{LookupFlags, Path, path, superblock};
use crate::mm::user::{UserCStr, UserPtr};
use crate::task::{Cap, current};

/// The top half that old programs put into the flags.
const MS_MGC_VAL: u64 = 0xC0ED_0000;
const MS_MGC_MASK: u64 = 0xFFFF_0000;

fn check_privilege() -> Result<()> {
    if current().my_cred().capable(Cap::SYS_ADMIN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// A string of the user's, empty for NULL.
fn text(at: UserCStr) -> Result<Vec<u8>> {
    if at.is_null() {
        return Ok(Vec::new());
    }
    at.read_bytes(PATH_MAX)?.ok_or(Errno::EINVAL)
}

/// The options page: a string, cut at a page, that may end in unmapped memory.
fn options(at: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if at == 0 {
        return Ok(out);
    }
    while out.len() < PATH_MAX - 1 {
        match UserPtr::<u8>::from(at.wrapping_add(out.len())).read() {
            Ok(0) => break,
            Ok(byte) => out.push(byte),
            Err(error) if out.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(out)
}

pub fn sys_mount(
    source: UserCStr,
    target: UserCStr,
    kind: UserCStr,
    flags: u64,
    data: usize,
) -> Result<usize> {
    let kind = text(kind)?;
    let source_text = text(source)?;
    let data = options(data)?;
    let target = target.read_path()?;
    let place = path::lookup(AT_FDCWD, &target, LookupFlags::FOLLOW)?;
    check_privilege()?;
    let flags = if flags & MS_MGC_MASK == MS_MGC_VAL {
        flags & !MS_MGC_MASK
    } else {
        flags
    };
    let flags = MountFlags::from_bits_truncate(flags) - MountFlags::KERNMOUNT;
    let mut own = flags & PER_MOUNT;
    if !flags.intersects(MountFlags::NOATIME | MountFlags::STRICTATIME) {
        own |= MountFlags::RELATIME;
    }
    if flags.contains(MountFlags::STRICTATIME) {
        own -= MountFlags::RELATIME | MountFlags::NOATIME;
    }
    let propagation =
        MountFlags::SHARED | MountFlags::PRIVATE | MountFlags::SLAVE | MountFlags::UNBINDABLE;
    if flags.contains(MountFlags::REMOUNT) {
        return remount(&place, flags, own, &data);
    }
    if flags.contains(MountFlags::BIND) {
        let from = other_place(&source_text)?;
        mount::bind(&from, &place, flags.contains(MountFlags::REC))?;
        return Ok(0);
    }
    if flags.intersects(propagation) {
        return set_propagation(&place, flags, propagation);
    }
    if flags.contains(MountFlags::MOVE) {
        let from = other_place(&source_text)?;
        mount::move_mount(&from, &place)?;
        return Ok(0);
    }
    new_mount(&place, &kind, &source_text, flags, own, &data)
}

/// The place that the source of a bind or a move names.
fn other_place(source: &[u8]) -> Result<Path> {
    if source.is_empty() {
        return Err(Errno::EINVAL);
    }
    path::lookup(AT_FDCWD, source, LookupFlags::FOLLOW)
}

fn new_mount(
    place: &Path,
    kind: &[u8],
    source: &[u8],
    flags: MountFlags,
    own: MountFlags,
    data: &[u8],
) -> Result<usize> {
    if kind.is_empty() {
        return Err(Errno::EINVAL);
    }
    let fs = superblock::find(kind).ok_or(Errno::ENODEV)?;
    let sb = fs.mount(source, flags & MountFlags::RDONLY, data)?;
    let source = if source.is_empty() {
        &b"none"[..]
    } else {
        source
    };
    let new = Mount::new(&sb, sb.root()?, own, source);
    mount::attach(&new, place)?;
    Ok(0)
}

fn remount(place: &Path, flags: MountFlags, own: MountFlags, data: &[u8]) -> Result<usize> {
    if !place.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let mount = &place.mount;
    // Unless the call says when reading changes times, that stays.
    let own = if flags.intersects(ATIME | MountFlags::STRICTATIME) {
        own
    } else {
        (own - ATIME) | (mount.flags() & ATIME)
    };
    if !flags.contains(MountFlags::BIND) {
        let sb = &mount.sb;
        sb.ops.remount(sb, data)?;
        if !flags.contains(MountFlags::RDONLY) {
            sb.set_flags(sb.flags() - MountFlags::RDONLY);
        } else if !sb.is_read_only() {
            current().my_fs().namespace().make_read_only(sb)?;
        }
    }
    mount::remount(mount, own)?;
    Ok(0)
}

fn set_propagation(place: &Path, flags: MountFlags, all: MountFlags) -> Result<usize> {
    let kind = flags & all;
    let allowed = all | MountFlags::REC | MountFlags::SILENT;
    if !allowed.contains(flags) || kind.bits().count_ones() != 1 {
        return Err(Errno::EINVAL);
    }
    mount::set_propagation(place, kind, flags.contains(MountFlags::REC))?;
    Ok(0)
}

pub fn sys_umount2(target: UserCStr, flags: u32) -> Result<usize> {
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut lookup = LookupFlags::UNSEEN;
    lookup.set(LookupFlags::FOLLOW, flags & UMOUNT_NOFOLLOW == 0);
    let place = path::lookup(AT_FDCWD, &target.read_path()?, lookup)?;
    check_privilege()?;
    if flags & MNT_EXPIRE != 0 && flags & (MNT_FORCE | MNT_DETACH) != 0 {
        return Err(Errno::EINVAL);
    }
    let root = current().my_fs().root();
    let is_root = place.is_mount_root() && Arc::ptr_eq(&place.mount, &root.mount);
    if is_root && flags & (MNT_DETACH | MNT_EXPIRE) == 0 {
        // Nobody can do without a root: its file system is made as safe as if it were gone.
        let sb = &place.mount.sb;
        if !sb.is_read_only() {
            current().my_fs().namespace().make_read_only(sb)?;
        }
        return Ok(0);
    }
    let mut how = UnmountFlags::empty();
    how.set(UnmountFlags::LAZY, flags & MNT_DETACH != 0);
    how.set(UnmountFlags::EXPIRE, flags & MNT_EXPIRE != 0);
    mount::unmount(place, how, &root)?;
    Ok(0)
}

pub fn sys_pivot_root(new_root: UserCStr, put_old: UserCStr) -> Result<usize> {
    check_privilege()?;
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let new_root = path::lookup(AT_FDCWD, &new_root.read_path()?, flags)?;
    let put_old = path::lookup(AT_FDCWD, &put_old.read_path()?, flags)?;
    let old_root = current().my_fs().root();
    mount::pivot(&old_root, &new_root, &put_old)?;
    crate::task::for_each_task(|task| {
        if let Some(context) = task.fs() {
            context.replace(&old_root, &new_root);
        }
    });
    Ok(0)
}
