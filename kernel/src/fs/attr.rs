//! Changes of attributes: `chmod`, `chown`, `utimes`, and the limits on sizes.

use alloc::sync::Arc;

use abi::fs::{FileTime, S_IALLUGO, S_ISGID, W_OK};
use abi::{Errno, Result};

use crate::fs::inode::{Inode, InodeFlags, SetAttr};
use crate::fs::mount::Path;
use crate::fs::{limits, memfd, open, perm};
use crate::task::{Cap, Cred};

/// Sets the permission bits.
pub fn chmod(place: &Path, mode: u32, cred: &Cred) -> Result<()> {
    place.check_writable()?;
    let inode = place.inode();
    let _guard = inode.lock.lock();
    if inode.is_symlink() {
        return Err(Errno::EOPNOTSUPP);
    }
    inode.check_changeable()?;
    if !perm::is_owner(inode, cred) {
        return Err(Errno::EPERM);
    }
    let mut mode = mode & S_IALLUGO;
    if !perm::in_group(cred, inode.gid()) && !cred.capable(Cap::FSETID) {
        mode &= !S_ISGID;
    }
    memfd::check_chmod(inode, mode)?;
    open::set_attr(
        place,
        &SetAttr {
            mode: Some(mode),
            ..SetAttr::default()
        },
    )
}

/// Sets owner and group; `None` leaves one alone.
pub fn chown(place: &Path, uid: Option<u32>, gid: Option<u32>, cred: &Cred) -> Result<()> {
    place.check_writable()?;
    let inode = place.inode();
    let _guard = inode.lock.lock();
    if uid.is_some() || gid.is_some() {
        inode.check_changeable()?;
    }
    if let Some(uid) = uid {
        let own = cred.fsuid == inode.uid() && uid == inode.uid();
        if !own && !cred.capable(Cap::CHOWN) {
            return Err(Errno::EPERM);
        }
    }
    if let Some(gid) = gid {
        let own = cred.fsuid == inode.uid() && (gid == inode.gid() || perm::in_group(cred, gid));
        if !own && !cred.capable(Cap::CHOWN) {
            return Err(Errno::EPERM);
        }
    }
    let mode = inode.mode();
    // Whoever changes the owner, set-id bits do not outlive it, on anything but directories.
    let kept = if inode.is_dir() {
        mode
    } else {
        perm::without_privileges(mode)
    };
    let mode = (kept != mode).then_some(kept & S_IALLUGO);
    if !inode.is_dir() {
        perm::drop_file_caps(inode);
    }
    open::set_attr(
        place,
        &SetAttr {
            mode,
            uid,
            gid,
            ..SetAttr::default()
        },
    )
}

/// A time to be set by `utimensat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    Now,
    Omit,
    At(FileTime),
}

/// Sets access and modification time.
pub fn utimes(place: &Path, atime: NewTime, mtime: NewTime, cred: &Cred) -> Result<()> {
    if (atime, mtime) == (NewTime::Omit, NewTime::Omit) {
        return Ok(());
    }
    place.check_writable()?;
    let inode = place.inode();
    let _guard = inode.lock.lock();
    if (atime, mtime) != (NewTime::Now, NewTime::Now) {
        inode.check_changeable()?;
    } else if inode.flags().contains(InodeFlags::IMMUTABLE) {
        return Err(Errno::EPERM);
    }
    if !perm::is_owner(inode, cred) {
        if (atime, mtime) != (NewTime::Now, NewTime::Now) {
            return Err(Errno::EPERM);
        }
        perm::check(inode, W_OK, cred)?;
    }
    let now = crate::fs::inode::now();
    let resolve = |time| match time {
        NewTime::Now => Some(now),
        NewTime::Omit => None,
        NewTime::At(time) => Some(time),
    };
    let set = SetAttr {
        atime: resolve(atime),
        mtime: resolve(mtime),
        ..SetAttr::default()
    };
    open::set_attr(place, &set)
}

/// EFBIG, with SIGXFSZ where the process's limit is the reason, if the file may not grow to `size`.
pub fn check_size_limit(inode: &Arc<Inode>, size: u64) -> Result<()> {
    if size <= inode.size() {
        return Ok(());
    }
    if size > limits::file_size() {
        limits::send_sigxfsz();
        return Err(Errno::EFBIG);
    }
    if size > inode.sb.max_bytes {
        return Err(Errno::EFBIG);
    }
    Ok(())
}
