//! `PR_SET_MM`: what `/proc` tells of a process's memory, set anew by who brings a process back (prctl(2)).

use abi::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::fs::{File, perm};
use crate::mm::tunables::mmap_min_addr;
use crate::mm::user::{UserPtr, UserSlice};
use crate::mm::{ExecInfo, USER_END};
use crate::task::rlimit::Resource;
use crate::task::{Cap, current};

const PR_SET_MM_START_CODE: usize = 1;
const PR_SET_MM_END_CODE: usize = 2;
const PR_SET_MM_START_DATA: usize = 3;
const PR_SET_MM_END_DATA: usize = 4;
const PR_SET_MM_START_STACK: usize = 5;
const PR_SET_MM_START_BRK: usize = 6;
const PR_SET_MM_BRK: usize = 7;
const PR_SET_MM_ARG_START: usize = 8;
const PR_SET_MM_ARG_END: usize = 9;
const PR_SET_MM_ENV_START: usize = 10;
const PR_SET_MM_ENV_END: usize = 11;
const PR_SET_MM_AUXV: usize = 12;
const PR_SET_MM_EXE_FILE: usize = 13;
const PR_SET_MM_MAP: usize = 14;
const PR_SET_MM_MAP_SIZE: usize = 15;

/// The most words of an auxiliary vector (Linux's AT_VECTOR_SIZE).
const MAX_AUXV: usize = 52;
/// No new executable in [`PrctlMmMap`].
const NO_EXE: u32 = u32::MAX;

/// `struct prctl_mm_map`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PrctlMmMap {
    /// start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end.
    places: [u64; 11],
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

const _: () = assert!(size_of::<PrctlMmMap>() == 104);

/// The call.
///
/// # Errors
/// Those of prctl(2).
pub(super) fn set(option: usize, addr: usize, c: usize, d: usize) -> Result<usize> {
    let takes_more = [PR_SET_MM_AUXV, PR_SET_MM_MAP, PR_SET_MM_MAP_SIZE].contains(&option);
    if d != 0 || c != 0 && !takes_more {
        return Err(Errno::EINVAL);
    }
    match option {
        PR_SET_MM_MAP_SIZE => {
            let size = size_of::<PrctlMmMap>() as u32;
            UserPtr::<u32>::from(addr).write(&size).map(|()| 0)
        }
        PR_SET_MM_MAP => set_map(addr, c),
        _ if !current().my_cred().capable(Cap::SYS_RESOURCE) => Err(Errno::EPERM),
        PR_SET_MM_EXE_FILE => set_exe(addr as i32),
        PR_SET_MM_AUXV => set_auxv(addr, c),
        _ => set_place(option, addr),
    }
}

/// Sets one place.
fn set_place(option: usize, addr: usize) -> Result<usize> {
    if !(mmap_min_addr()..USER_END).contains(&addr) {
        return Err(Errno::EINVAL);
    }
    let mm = current().my_mm().clone();
    let mut places = mm.exec_info();
    let mut brk = mm.current_brk();
    let is_string = option == PR_SET_MM_START_STACK
        || (PR_SET_MM_ARG_START..=PR_SET_MM_ENV_END).contains(&option);
    let place = match option {
        PR_SET_MM_START_CODE => &mut places.start_code,
        PR_SET_MM_END_CODE => &mut places.end_code,
        PR_SET_MM_START_DATA => &mut places.start_data,
        PR_SET_MM_END_DATA => &mut places.end_data,
        PR_SET_MM_START_STACK => &mut places.start_stack,
        PR_SET_MM_START_BRK => &mut places.start_brk,
        PR_SET_MM_BRK => &mut brk,
        PR_SET_MM_ARG_START => &mut places.arg_start,
        PR_SET_MM_ARG_END => &mut places.arg_end,
        PR_SET_MM_ENV_START => &mut places.env_start,
        PR_SET_MM_ENV_END => &mut places.env_end,
        _ => return Err(Errno::EINVAL),
    };
    *place = addr;
    check(&places, brk)?;
    // Strings lie in memory; what follows the address decides as well, as on Linux.
    if is_string && !mm.has_area_above(addr) {
        return Err(Errno::EFAULT);
    }
    mm.replace_places(places, brk);
    Ok(0)
}

/// The places must be places, in order, and within the limit on data.
fn check(places: &ExecInfo, brk: usize) -> Result<()> {
    let p = places;
    let all = [
        p.start_code,
        p.end_code,
        p.start_data,
        p.end_data,
        p.start_brk,
        brk,
        p.start_stack,
        p.arg_start,
        p.arg_end,
        p.env_start,
        p.env_end,
    ];
    let are_places = all
        .iter()
        .all(|at| (mmap_min_addr()..USER_END).contains(at));
    let in_order = p.start_code < p.end_code
        && p.start_data <= p.end_data
        && p.start_brk <= brk
        && p.arg_start <= p.arg_end
        && p.env_start <= p.env_end;
    if !are_places || !in_order {
        return Err(Errno::EINVAL);
    }
    let limit = current().process.rlimits.soft(Resource::Data);
    let data = (brk - p.start_brk).saturating_add(p.end_data - p.start_data);
    match data as u64 <= limit {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

/// Sets everything at once; this takes no capability but for the executable.
fn set_map(from: usize, size: usize) -> Result<usize> {
    if size != size_of::<PrctlMmMap>() {
        return Err(Errno::EINVAL);
    }
    let map = UserPtr::<PrctlMmMap>::from(from).read()?;
    let at = |index: usize| map.places.get(index).map_or(0, |place| *place as usize);
    let places = ExecInfo {
        start_code: at(0),
        end_code: at(1),
        start_data: at(2),
        end_data: at(3),
        start_brk: at(4),
        start_stack: at(6),
        arg_start: at(7),
        arg_end: at(8),
        env_start: at(9),
        env_end: at(10),
    };
    check(&places, at(5))?;
    if map.auxv_size != 0 && map.auxv == 0 {
        return Err(Errno::EINVAL);
    }
    let auxv = read_auxv(map.auxv as usize, map.auxv_size as usize)?;
    if map.exe_fd != NO_EXE {
        let cred = current().cred();
        if !cred.capable(Cap::CHECKPOINT_RESTORE) && !cred.capable(Cap::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        set_exe(map.exe_fd as i32)?;
    }
    let mm = current().my_mm().clone();
    mm.replace_places(places, at(5));
    if map.auxv_size != 0 {
        mm.set_auxv(&auxv);
    }
    Ok(0)
}

fn set_auxv(from: usize, bytes: usize) -> Result<usize> {
    let auxv = read_auxv(from, bytes)?;
    current().my_mm().set_auxv(&auxv);
    Ok(0)
}

/// Reads a vector; its end is one whatever it says.
fn read_auxv(from: usize, bytes: usize) -> Result<alloc::vec::Vec<u64>> {
    if bytes > MAX_AUXV * size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    let mut auxv = UserSlice::<u64>::new(from, bytes / size_of::<u64>())?.to_vec()?;
    auxv.truncate(MAX_AUXV - 2);
    auxv.extend([0, 0]);
    Ok(auxv)
}

/// Another file is the process's executable, if nothing of the old one is mapped any more.
fn set_exe(fd: i32) -> Result<usize> {
    let me = current();
    let file = me.my_files().get(fd)?;
    let place = file.path();
    let inode = place.inode();
    let no_exec = place.mount.flags().contains(abi::fs::MountFlags::NOEXEC);
    if !inode.is_regular() || no_exec {
        return Err(Errno::EACCES);
    }
    perm::check(inode, abi::fs::X_OK, &me.my_cred())?;
    let old = me.process.exe.lock().clone();
    if let Some(old) = old {
        let mut is_mapped = false;
        me.my_mm().for_each_vma(&mut |vma| {
            let any = vma.file.map(|file| &**file as &dyn core::any::Any);
            let mapped = any.and_then(|any| any.downcast_ref::<File>());
            is_mapped |= mapped.is_some_and(|file| {
                alloc::sync::Arc::ptr_eq(&file.path().dentry, &old.path().dentry)
            });
        });
        if is_mapped {
            return Err(Errno::EBUSY);
        }
    }
    let old = me.process.exe.lock().replace(file);
    drop(old);
    Ok(0)
}
