//! Who may do what with a file: mode bits, ownership, capabilities, sticky directories.

use alloc::sync::Arc;

use abi::capability::XATTR_NAME_CAPS;
use abi::fs::{R_OK, S_ISGID, S_ISUID, S_ISVTX, S_IXGRP, W_OK, X_OK};
use abi::{Errno, Result};

use crate::fs::inode::{Inode, InodeFlags};
use crate::task::{Cap, Cred};

/// Checks access with the file-system ids; `mask` is made of `R_OK`, `W_OK` and `X_OK`.
pub fn check(inode: &Arc<Inode>, mask: u32, cred: &Cred) -> Result<()> {
    let flags = inode.flags();
    if mask & W_OK != 0 && flags.contains(InodeFlags::IMMUTABLE) {
        return Err(Errno::EPERM);
    }
    if flags.contains(InodeFlags::OWN_PERMISSION) {
        inode.ops.permission(inode, mask)?;
    }
    let mode = inode.mode();
    let granted = if cred.fsuid == inode.uid() {
        mode >> 6
    } else if (mode >> 3 ^ mode) & 7 != 0 && in_group(cred, inode.gid()) {
        mode >> 3
    } else {
        mode
    };
    if mask & !granted & 7 == 0 {
        return Ok(());
    }
    let override_all = if inode.is_dir() || mask & X_OK == 0 || mode & 0o111 != 0 {
        cred.capable(Cap::DAC_OVERRIDE)
    } else {
        false
    };
    let read_only = mask == R_OK || (inode.is_dir() && mask & W_OK == 0);
    if override_all || (read_only && cred.capable(Cap::DAC_READ_SEARCH)) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// Checks that a directory may be searched: the hot path of every walk.
#[inline]
pub fn check_search(dir: &Arc<Inode>, cred: &Cred) -> Result<()> {
    if dir.mode() & 0o111 == 0o111 && !dir.flags().contains(InodeFlags::OWN_PERMISSION) {
        return Ok(());
    }
    check(dir, X_OK, cred)
}

/// Whether the file-system group or a supplementary group is `gid`.
pub fn in_group(cred: &Cred, gid: u32) -> bool {
    cred.fsgid == gid || cred.groups.binary_search(&gid).is_ok()
}

/// Whether the caller owns the file or may act as if.
pub fn is_owner(inode: &Inode, cred: &Cred) -> bool {
    cred.fsuid == inode.uid() || cred.capable(Cap::FOWNER)
}

/// Checks that an entry may be made in `dir`.
pub fn check_create(dir: &Arc<Inode>, cred: &Cred) -> Result<()> {
    if dir.flags().contains(InodeFlags::DEAD) {
        return Err(Errno::ENOENT);
    }
    check(dir, W_OK | X_OK, cred)
}

/// Checks that `inode` may be taken out of `dir`: the sticky bit reserves that to owners.
pub fn check_delete(dir: &Arc<Inode>, inode: &Inode, cred: &Cred) -> Result<()> {
    check(dir, W_OK | X_OK, cred)?;
    if dir.flags().contains(InodeFlags::APPEND) {
        return Err(Errno::EPERM);
    }
    inode.check_changeable()?;
    let sticky = dir.mode() & S_ISVTX != 0
        && cred.fsuid != inode.uid()
        && cred.fsuid != dir.uid()
        && !cred.capable(Cap::FOWNER);
    if sticky { Err(Errno::EPERM) } else { Ok(()) }
}

/// The mode after its file was written to or given away: set-user-id goes, set-group-id goes if it means one.
pub fn without_privileges(mode: u32) -> u32 {
    let mut kept = mode & !S_ISUID;
    if mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
        kept &= !S_ISGID;
    }
    kept
}

/// Takes the capabilities off a file that is written to or given away, whoever does that.
#[inline]
pub fn drop_file_caps(inode: &Inode) {
    if inode.flags().contains(InodeFlags::HAS_XATTR)
        && let Some(store) = inode.ops.xattrs(inode)
    {
        // Most files with attributes have none of these.
        let _ = store.remove(XATTR_NAME_CAPS);
    }
}

/// Takes set-id bits off a regular file that is written to, unless the writer may keep them; capabilities go always.
#[inline]
pub fn drop_privileges_on_write(inode: &Inode, cred: &Cred) {
    if !inode.is_regular() {
        return;
    }
    drop_file_caps(inode);
    let mode = inode.mode();
    if mode & (S_ISUID | S_ISGID) == 0 {
        return;
    }
    let kept = without_privileges(mode);
    if kept != mode && !cred.capable(Cap::FSETID) {
        inode.set_mode(kept);
        inode.touch_changed();
    }
}
