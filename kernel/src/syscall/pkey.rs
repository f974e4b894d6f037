//! Protection keys: `pkey_alloc`, `pkey_free`, `pkey_mprotect`.

use abi::{Errno, Result};

use super::mm;
use crate::arch::pkru;
use crate::task::current;

/// `PKEY_DISABLE_ACCESS` and `PKEY_DISABLE_WRITE`.
const RIGHTS: usize = 3;

pub fn sys_pkey_mprotect(addr: usize, len: usize, prot: u32, key: i32) -> Result<usize> {
    let key = match key {
        -1 => None,
        // A key out of range is none that was allocated; that is told last.
        key => Some(u8::try_from(key).unwrap_or(u8::MAX)),
    };
    mm::mprotect(addr, len, prot, key)
}

pub fn sys_pkey_alloc(flags: usize, rights: usize) -> Result<usize> {
    if flags != 0 || rights & !RIGHTS != 0 {
        return Err(Errno::EINVAL);
    }
    let key = current().my_mm().alloc_key()?;
    pkru::set_rights(key, rights as u32);
    Ok(key.into())
}

pub fn sys_pkey_free(key: i32) -> Result<usize> {
    let key = u8::try_from(key).map_err(|_| Errno::EINVAL)?;
    current().my_mm().free_key(key).map(|()| 0)
}
