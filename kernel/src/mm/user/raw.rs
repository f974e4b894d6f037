//! The step from checked user addresses to the architecture's raw copy routines.

use core::mem::{MaybeUninit, align_of, size_of};

use abi::{Errno, Result};
use ksync::check::may_fault;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::arch::uaccess;

/// Copies `out.len()` bytes in from `addr`. EFAULT when any cannot be read; `out` is then partly written.
#[inline]
pub fn copy_in(addr: usize, out: &mut [u8]) -> Result<()> {
    may_fault();
    uaccess::read_bytes(out, addr)
}

/// Copies `bytes` out to `addr`. EFAULT when any cannot be written.
#[inline]
pub fn copy_out(addr: usize, bytes: &[u8]) -> Result<()> {
    may_fault();
    uaccess::write_bytes(addr, bytes)
}

/// Writes `len` zero bytes at `addr`.
pub fn zero_out(addr: usize, len: usize) -> Result<()> {
    may_fault();
    match uaccess::clear_user(addr, len) {
        0 => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// As [`copy_in`], but answers how many bytes were copied before the first that could not be.
#[inline]
pub(super) fn copy_in_some(addr: usize, out: &mut [u8]) -> usize {
    may_fault();
    // SAFETY: a mutable slice is valid for writing its length.
    out.len() - unsafe { uaccess::copy_from_user(out.as_mut_ptr(), addr, out.len()) }
}

/// As [`copy_out`], but answers how many bytes were copied.
#[inline]
pub(super) fn copy_out_some(addr: usize, bytes: &[u8]) -> usize {
    may_fault();
    // SAFETY: a slice is valid for reading its length.
    bytes.len() - unsafe { uaccess::copy_to_user(addr, bytes.as_ptr(), bytes.len()) }
}

/// As [`zero_out`], but answers how many bytes were written.
pub(super) fn zero_some(addr: usize, len: usize) -> usize {
    may_fault();
    len - uaccess::clear_user(addr, len)
}

/// Copies one value in: words by one instruction, the rest by the copy routine.
#[inline]
pub(super) fn read_value<T: FromBytes>(addr: usize) -> Result<T> {
    may_fault();
    let mut value = MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr();
    match (size_of::<T>(), align_of::<T>()) {
        // SAFETY: the word is as large as `T` and `to` is aligned for it.
        (4, 4) => unsafe { to.cast::<u32>().write(uaccess::load_u32(addr)?) },
        // SAFETY: as above.
        (8, 8) => unsafe { to.cast::<u64>().write(uaccess::load_u64(addr)?) },
        // SAFETY: `to` is valid for writing `T`.
        (size, _) => unsafe { uaccess::load_value(to.cast(), addr, size)? },
    }
    // SAFETY: every byte was written, and `T: FromBytes` accepts any bytes.
    Ok(unsafe { value.assume_init() })
}

/// Copies one value out.
#[inline]
pub(super) fn write_value<T: IntoBytes + Immutable>(addr: usize, value: &T) -> Result<()> {
    may_fault();
    let from = core::ptr::from_ref(value);
    match (size_of::<T>(), align_of::<T>()) {
        // SAFETY: the word is as large as `T`, has no padding by `IntoBytes`, and `from` is aligned for it.
        (4, 4) => uaccess::store_u32(addr, unsafe { from.cast::<u32>().read() }),
        // SAFETY: as above.
        (8, 8) => uaccess::store_u64(addr, unsafe { from.cast::<u64>().read() }),
        // SAFETY: `from` is valid for reading `T`, which has no padding.
        (size, _) => unsafe { uaccess::store_value(addr, from.cast(), size) },
    }
}

/// One atomic load of an aligned word.
pub(super) fn load_u32(addr: usize) -> Result<u32> {
    may_fault();
    uaccess::load_u32(addr)
}

/// One atomic compare-exchange of an aligned word.
pub(super) fn cmpxchg_u32(addr: usize, old: u32, new: u32) -> Result<u32> {
    may_fault();
    uaccess::cmpxchg_u32(addr, old, new)
}

/// Runs `access` with page faults of this CPU answered by failure at once instead of being handled: that is what an
/// access with interrupts off gets.
pub(super) fn nofault<R>(access: impl FnOnce() -> R) -> R {
    let _irq = crate::arch::irq::IrqGuard::new();
    access()
}

/// Up to `out.len()` bytes from `addr`, ending after the first NUL. Answers `(copied, found NUL)`; the NUL counts.
/// EFAULT when a byte before the NUL cannot be read.
pub(super) fn copy_string(addr: usize, out: &mut [u8]) -> Result<(usize, bool)> {
    may_fault();
    match uaccess::strncpy_from_user(out, addr)? {
        Some(len) => Ok((len + 1, true)),
        None => Ok((out.len(), false)),
    }
}
