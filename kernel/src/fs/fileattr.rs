//! The flags of files that `chattr` sets: no changes at all, appending only, no dump, no access times.
//!
//! The flags are bits of [`InodeFlags`]; who changes names, content or attributes looks at them there. Which files have
//! them is their file system's to say ([`InodeOps::has_file_flags`](super::InodeOps::has_file_flags)).
//!
//! Reference: ioctl_iflags(2).

use abi::fs::{FS_APPEND_FL, FS_IMMUTABLE_FL, FS_NOATIME_FL, FS_NODUMP_FL, FsXattr};
use abi::{Errno, Result};

use super::file::File;
use super::inode::{Inode, InodeFlags};
use super::perm;
use crate::task::{Cap, Cred};

/// Each flag as users give it, in [`FsXattr`], and as the inode keeps it.
const FLAGS: [(u32, u32, InodeFlags); 4] = [
    (FS_IMMUTABLE_FL, 1 << 3, InodeFlags::IMMUTABLE),
    (FS_APPEND_FL, 1 << 4, InodeFlags::APPEND),
    (FS_NODUMP_FL, 1 << 7, InodeFlags::NODUMP),
    (FS_NOATIME_FL, 1 << 6, InodeFlags::NOATIME),
];

const FIXED: InodeFlags = InodeFlags::IMMUTABLE.union(InodeFlags::APPEND);
/// What a new file takes over from its directory.
const INHERITED: InodeFlags = InodeFlags::NODUMP.union(InodeFlags::NOATIME);

/// ENOTTY for files without flags.
fn check_has_flags(inode: &Inode) -> Result<()> {
    match inode.ops.has_file_flags(inode) {
        true => Ok(()),
        false => Err(Errno::ENOTTY),
    }
}

/// The flags of `FS_IOC_GETFLAGS`.
pub fn flags(file: &File) -> Result<u32> {
    let inode = file.inode();
    check_has_flags(inode)?;
    let has = inode.flags();
    let set = FLAGS.iter().filter(|(_, _, flag)| has.contains(*flag));
    Ok(set.fold(0, |all, (flag, ..)| all | flag))
}

/// The same as `FS_IOC_FSGETXATTR` gives them.
pub fn extended(file: &File) -> Result<FsXattr> {
    let inode = file.inode();
    check_has_flags(inode)?;
    let has = inode.flags();
    let set = FLAGS.iter().filter(|(_, _, flag)| has.contains(*flag));
    Ok(FsXattr {
        xflags: set.fold(0, |all, (_, flag, _)| all | flag),
        ..FsXattr::default()
    })
}

/// Puts `new` in the place of the file's flags. What else was asked for is `known` to be nothing.
fn change(file: &File, new: InodeFlags, known: bool, cred: &Cred) -> Result<()> {
    let inode = file.inode();
    check_has_flags(inode)?;
    file.path().check_writable()?;
    if !perm::is_owner(inode, cred) {
        return Err(Errno::EPERM);
    }
    let _guard = inode.lock.lock();
    if (new ^ inode.flags()).intersects(FIXED) && !cred.capable(Cap::LINUX_IMMUTABLE) {
        return Err(Errno::EPERM);
    }
    if !known {
        return Err(Errno::EOPNOTSUPP);
    }
    let all = FLAGS
        .iter()
        .fold(InodeFlags::empty(), |all, (_, _, flag)| all | *flag);
    inode.replace_flags(all, new);
    inode.touch_changed();
    Ok(())
}

/// Sets the flags.
///
/// # Errors
/// `EPERM` for those who do not own the file or may not change the first two; `EOPNOTSUPP` for flags that are not here.
pub fn set_flags(file: &File, wanted: u32, cred: &Cred) -> Result<()> {
    let set = FLAGS.iter().filter(|(flag, ..)| wanted & flag != 0);
    let (new, found) = set.fold((InodeFlags::empty(), 0), |(all, found), (bit, _, flag)| {
        (all | *flag, found | bit)
    });
    change(file, new, found == wanted, cred)
}

/// Sets them by `FS_IOC_FSSETXATTR`, whose other fields no file here has.
pub fn set_extended(file: &File, wanted: &FsXattr, cred: &Cred) -> Result<()> {
    let set = FLAGS.iter().filter(|(_, bit, _)| wanted.xflags & bit != 0);
    let (new, found) = set.fold((InodeFlags::empty(), 0), |(all, found), (_, bit, flag)| {
        (all | *flag, found | bit)
    });
    let others = wanted.extsize | wanted.projid | wanted.cowextsize;
    change(file, new, found == wanted.xflags && others == 0, cred)
}

/// Gives a new inode what it takes over from its directory.
pub fn inherit(dir: &Inode, new: &Inode) {
    let flags = dir.flags() & INHERITED;
    if !flags.is_empty() {
        new.set_flag(flags);
    }
}
