//! Calls about file handles.

use abi::fs::{
    AT_EMPTY_PATH, AT_HANDLE_FID, AT_SYMLINK_FOLLOW, FILEID_INVALID, FileHandle, MAX_HANDLE_SZ,
    OpenFlags,
};
use abi::{Errno, Result};

use super::stat::place_of_open;
use crate::fs::handle::{self, HANDLE_BYTES};
use crate::fs::{LookupFlags, OpenRequest, Path, open, path};
use crate::mm::user::{UserCStr, UserPtr, copy_in, copy_out};
use crate::task::{Cap, current};

/// Bytes before a handle's content.
const HEAD: usize = size_of::<FileHandle>();

pub fn sys_name_to_handle_at(
    dirfd: i32,
    path: UserCStr,
    out: usize,
    mount_id: UserPtr<i32>,
    flags: u32,
) -> Result<usize> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | AT_HANDLE_FID) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_FOLLOW != 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    let place = path::lookup(dirfd, &path.read_path()?, lookup)?;
    let handle = handle::of(&place.dentry, flags & AT_HANDLE_FID != 0)?;
    let room: FileHandle = UserPtr::from(out).read()?;
    let room = room.handle_bytes as usize;
    if room > MAX_HANDLE_SZ {
        return Err(Errno::EINVAL);
    }
    let fits = room >= HANDLE_BYTES;
    let head = FileHandle {
        handle_bytes: HANDLE_BYTES as u32,
        handle_type: if fits { handle.kind } else { FILEID_INVALID },
    };
    mount_id.write(&(place.mount.id as i32))?;
    UserPtr::from(out).write(&head)?;
    if !fits {
        return Err(Errno::EOVERFLOW);
    }
    copy_out(out.wrapping_add(HEAD), &handle.bytes).map(|()| 0)
}

pub fn sys_open_by_handle_at(mount_fd: i32, handle: usize, flags: u32) -> Result<usize> {
    if !current().my_cred().capable(Cap::DAC_READ_SEARCH) {
        return Err(Errno::EPERM);
    }
    let head: FileHandle = UserPtr::from(handle).read()?;
    let len = head.handle_bytes as usize;
    let mut bytes = [0; MAX_HANDLE_SZ];
    let bytes = match bytes.get_mut(..len) {
        Some(bytes) if len > 0 => bytes,
        _ => return Err(Errno::EINVAL),
    };
    copy_in(handle.wrapping_add(HEAD), bytes)?;
    let mount = place_of_open(mount_fd)?.mount;
    let place = Path {
        dentry: handle::resolve(&mount.sb, bytes)?,
        mount,
    };
    let request = OpenRequest::lenient(flags, 0)?;
    let reserved = current()
        .my_files()
        .reserve(request.flags.contains(OpenFlags::CLOEXEC))?;
    let file = open::open_found_place(place, &request)?;
    Ok(reserved.fill(file).to_ret())
}
