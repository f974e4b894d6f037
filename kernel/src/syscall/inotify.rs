//! inotify.

use abi::fs::OpenFlags;
use abi::{Errno, Result};

use crate::fs::inotify::{self, Inotify};
use crate::mm::user::UserCStr;
use crate::task::current;

pub fn sys_inotify_init() -> Result<usize> {
    sys_inotify_init1(0)
}

pub fn sys_inotify_init1(flags: u32) -> Result<usize> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    let file = inotify::create(flags)?;
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    current()
        .my_files()
        .install(file, cloexec)
        .map(|fd| fd.to_ret())
}

pub fn sys_inotify_add_watch(fd: i32, path: UserCStr, mask: u32) -> Result<usize> {
    inotify::check_mask(mask)?;
    let file = current().my_files().get(fd)?;
    inotify::check_flags(mask)?;
    let queue = file.ops_as::<Inotify>().ok_or(Errno::EINVAL)?;
    let wd = queue.watch(&path.read_path()?, mask)?;
    Ok(wd as usize)
}

pub fn sys_inotify_rm_watch(fd: i32, wd: i32) -> Result<usize> {
    let file = current().my_files().get(fd)?;
    let queue = file.ops_as::<Inotify>().ok_or(Errno::EINVAL)?;
    queue.remove(wd).map(|()| 0)
}
