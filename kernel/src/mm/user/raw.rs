//! The step from checked user addresses to the architecture's raw copy routines.
#![allow(unsafe_code)]

use core::mem::{MaybeUninit, size_of};

use abi::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::mm::addr::user_range_ok;

/// Copies `out.len()` bytes in from `addr`. EFAULT when any cannot be read; `out` is then partly written.
#[inline]
pub fn copy_in(addr: usize, out: &mut [u8]) -> Result<()> {
    match copy_in_some(addr, out) {
        n if n == out.len() => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Copies `bytes` out to `addr`. EFAULT when any cannot be written.
#[inline]
pub fn copy_out(addr: usize, bytes: &[u8]) -> Result<()> {
    match copy_out_some(addr, bytes) {
        n if n == bytes.len() => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Writes `len` zero bytes at `addr`.
pub fn zero_out(addr: usize, len: usize) -> Result<()> {
    match zero_some(addr, len) {
        n if n == len => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// As [`copy_in`], but answers how many bytes were copied before the first that could not be.
#[inline]
pub(super) fn copy_in_some(addr: usize, out: &mut [u8]) -> usize {
    if !user_range_ok(addr, out.len()) {
        return 0;
    }
    0
}

/// As [`copy_out`], but answers how many bytes were copied.
#[inline]
pub(super) fn copy_out_some(addr: usize, bytes: &[u8]) -> usize {
    if !user_range_ok(addr, bytes.len()) {
        return 0;
    }
    0
}

/// As [`zero_out`], but answers how many bytes were written.
pub(super) fn zero_some(addr: usize, len: usize) -> usize {
    if !user_range_ok(addr, len) {
        return 0;
    }
    0
}

/// Copies one value in.
#[inline]
pub(super) fn read_value<T: FromBytes>(addr: usize) -> Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the bytes of `value` are zeroed, hence initialised, and borrowed only here.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    copy_in(addr, bytes)?;
    // SAFETY: `T: FromBytes` accepts any initialised bytes.
    Ok(unsafe { value.assume_init() })
}

/// Copies one value out.
#[inline]
pub(super) fn write_value<T: IntoBytes + Immutable>(addr: usize, value: &T) -> Result<()> {
    copy_out(addr, value.as_bytes())
}

/// One atomic load of an aligned word that was checked to be in the user half.
pub(super) fn load_u32(_addr: usize) -> Result<u32> {
    Err(Errno::EFAULT)
}

/// One atomic compare-exchange of an aligned word that was checked to be in the user half.
pub(super) fn cmpxchg_u32(_addr: usize, _old: u32, _new: u32) -> Result<u32> {
    Err(Errno::EFAULT)
}

/// Runs `access` with page faults of this CPU answered by failure at once instead of being handled.
pub(super) fn nofault<R>(access: impl FnOnce() -> R) -> R {
    access()
}

/// Up to `out.len()` bytes from `addr`, ending after the first NUL. Answers `(copied, found NUL)`; the NUL counts.
/// EFAULT when a byte before the NUL cannot be read.
pub(super) fn copy_string(addr: usize, out: &mut [u8]) -> Result<(usize, bool)> {
    for (i, slot) in out.iter_mut().enumerate() {
        let byte: u8 = read_value(addr.wrapping_add(i))?;
        *slot = byte;
        if byte == 0 {
            return Ok((i + 1, true));
        }
    }
    Ok((out.len(), false))
}
