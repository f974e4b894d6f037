//! Extended attributes.

use alloc::vec::Vec;

use abi::fs::{
    AT_FDCWD, XATTR_CREATE, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX,
};
use abi::{Errno, Result};

use crate::fs::{LookupFlags, Path, path, xattr};
use crate::mm::user::{UserCStr, copy_in, copy_out};
use crate::task::current;

fn read_name(name: UserCStr) -> Result<Vec<u8>> {
    let name = name.read_bytes(XATTR_NAME_MAX + 1)?.ok_or(Errno::ERANGE)?;
    xattr::check_name(&name)?;
    Ok(name)
}

fn place(path: UserCStr, follow: bool) -> Result<Path> {
    let flags = if follow {
        LookupFlags::FOLLOW
    } else {
        LookupFlags::empty()
    };
    path::lookup(AT_FDCWD, &path.read_path()?, flags)
}

fn place_of(fd: i32) -> Result<Path> {
    Ok(current().my_files().get(fd)?.path().clone())
}

/// A value in user memory, after the checks that come before the path is looked at.
fn read_value(name: UserCStr, value: usize, size: usize, flags: u32) -> Result<(Vec<u8>, Vec<u8>)> {
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_name(name)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(size, 0);
    copy_in(value, &mut bytes)?;
    Ok((name, bytes))
}

/// Sets an attribute where `place` says.
fn set(
    place: impl FnOnce() -> Result<Path>,
    name: UserCStr,
    value: usize,
    size: usize,
    flags: u32,
) -> Result<usize> {
    let (name, value) = read_value(name, value, size, flags)?;
    xattr::set(&place()?, &name, value, flags, &current().my_cred()).map(|()| 0)
}

pub fn sys_setxattr(
    path: UserCStr,
    name: UserCStr,
    value: usize,
    size: usize,
    flags: u32,
) -> Result<usize> {
    set(|| place(path, true), name, value, size, flags)
}

pub fn sys_lsetxattr(
    path: UserCStr,
    name: UserCStr,
    value: usize,
    size: usize,
    flags: u32,
) -> Result<usize> {
    set(|| place(path, false), name, value, size, flags)
}

pub fn sys_fsetxattr(
    fd: i32,
    name: UserCStr,
    value: usize,
    size: usize,
    flags: u32,
) -> Result<usize> {
    set(|| place_of(fd), name, value, size, flags)
}

/// Gives bytes to the user; size 0 asks for the length only, ERANGE if they do not fit.
fn give(bytes: &[u8], buf: usize, size: usize) -> Result<usize> {
    if size != 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE);
        }
        copy_out(buf, bytes)?;
    }
    Ok(bytes.len())
}

fn get(
    place: impl FnOnce() -> Result<Path>,
    name: UserCStr,
    buf: usize,
    size: usize,
) -> Result<usize> {
    let name = read_name(name)?;
    let value = xattr::get(&place()?, &name, &current().my_cred())?;
    give(&value, buf, size.min(XATTR_SIZE_MAX))
}

pub fn sys_getxattr(path: UserCStr, name: UserCStr, buf: usize, size: usize) -> Result<usize> {
    get(|| place(path, true), name, buf, size)
}

pub fn sys_lgetxattr(path: UserCStr, name: UserCStr, buf: usize, size: usize) -> Result<usize> {
    get(|| place(path, false), name, buf, size)
}

pub fn sys_fgetxattr(fd: i32, name: UserCStr, buf: usize, size: usize) -> Result<usize> {
    get(|| place_of(fd), name, buf, size)
}

fn list(place: &Path, buf: usize, size: usize) -> Result<usize> {
    let names = xattr::list(place, &current().my_cred())?;
    give(&names, buf, size.min(XATTR_LIST_MAX))
}

pub fn sys_listxattr(path: UserCStr, buf: usize, size: usize) -> Result<usize> {
    list(&place(path, true)?, buf, size)
}

pub fn sys_llistxattr(path: UserCStr, buf: usize, size: usize) -> Result<usize> {
    list(&place(path, false)?, buf, size)
}

pub fn sys_flistxattr(fd: i32, buf: usize, size: usize) -> Result<usize> {
    list(&place_of(fd)?, buf, size)
}

fn remove(place: impl FnOnce() -> Result<Path>, name: UserCStr) -> Result<usize> {
    let name = read_name(name)?;
    xattr::remove(&place()?, &name, &current().my_cred()).map(|()| 0)
}

pub fn sys_removexattr(path: UserCStr, name: UserCStr) -> Result<usize> {
    remove(|| place(path, true), name)
}

pub fn sys_lremovexattr(path: UserCStr, name: UserCStr) -> Result<usize> {
    remove(|| place(path, false), name)
}

pub fn sys_fremovexattr(fd: i32, name: UserCStr) -> Result<usize> {
    remove(|| place_of(fd), name)
}
