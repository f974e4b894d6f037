//! User memory: typed pointers, slices, strings and cursors. The only way the rest of the kernel touches it.
//!
//! | module | what |
//! |---|---|
//! | this | [`UserPtr`], [`UserSlice`] |
//! | `cstr` | [`UserCStr`], [`UserPath`] |
//! | `io` | [`IoSink`], [`IoSource`]: cursors over kernel slices, user ranges and iovecs |
//!
//! Everything here copies: no reference into user memory exists. A copy may fault and sleep, so no spin lock and
//! nothing that the page-fault path takes may be held across one.

mod cstr;
mod io;
mod raw;

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::size_of;

use abi::{Errno, Result};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

pub use cstr::UserCStr;
pub use io::{IoSink, IoSource, IoVec};
pub use raw::{copy_in, copy_out, zero_out};

use super::addr::user_range_ok;

/// A user address at which a `T` is meant to be. Holding one proves nothing: every access checks.
pub struct UserPtr<T> {
    addr: usize,
    _type: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> From<usize> for UserPtr<T> {
    #[inline(always)]
    fn from(addr: usize) -> Self {
        UserPtr {
            addr,
            _type: PhantomData,
        }
    }
}

impl<T> UserPtr<T> {
    /// The address itself.
    #[inline(always)]
    pub const fn addr(self) -> usize {
        self.addr
    }

    /// Whether the user passed NULL.
    #[inline(always)]
    pub const fn is_null(self) -> bool {
        self.addr == 0
    }

    /// The pointer, unless NULL.
    #[inline(always)]
    pub fn non_null(self) -> Option<Self> {
        (self.addr != 0).then_some(self)
    }

    /// The `index`th element after this one. Wraps; the access checks.
    #[inline(always)]
    pub fn add(self, index: usize) -> Self {
        Self::from(self.addr.wrapping_add(index.wrapping_mul(size_of::<T>())))
    }

    /// The same address plus `bytes`, as another type.
    #[inline(always)]
    pub fn field<U>(self, bytes: usize) -> UserPtr<U> {
        UserPtr::from(self.addr.wrapping_add(bytes))
    }

    /// The same address as another type.
    #[inline(always)]
    pub fn cast<U>(self) -> UserPtr<U> {
        UserPtr::from(self.addr)
    }
}

impl<T: FromBytes> UserPtr<T> {
    /// Copies the value in. EFAULT when any byte of it cannot be read.
    #[inline]
    pub fn read(self) -> Result<T> {
        raw::read_value(self.addr)
    }

    /// The value, or `None` for NULL.
    #[inline]
    pub fn read_opt(self) -> Result<Option<T>> {
        if self.is_null() {
            return Ok(None);
        }
        self.read().map(Some)
    }
}

impl<T: IntoBytes + Immutable> UserPtr<T> {
    /// Copies the value out. EFAULT when any byte of it cannot be written.
    #[inline]
    pub fn write(self, value: &T) -> Result<()> {
        raw::write_value(self.addr, value)
    }

    /// Copies the value out unless the pointer is NULL.
    #[inline]
    pub fn write_opt(self, value: &T) -> Result<()> {
        if self.is_null() {
            return Ok(());
        }
        self.write(value)
    }
}

impl UserPtr<u32> {
    /// One atomic load. EINVAL when misaligned.
    pub fn load(self) -> Result<u32> {
        self.check_atomic()?;
        raw::load_u32(self.addr)
    }

    /// One atomic load that never sleeps: EAGAIN when the page is not there now. For use under a spin lock; the
    /// caller drops its lock, calls [`UserPtr::load`] to bring the page in, and tries again.
    pub fn load_nofault(self) -> Result<u32> {
        self.check_atomic()?;
        raw::nofault(|| raw::load_u32(self.addr)).map_err(|_| Errno::EAGAIN)
    }

    /// Stores `new` if the word is `old`, in one atomic step; answers what the word was.
    pub fn compare_exchange(self, old: u32, new: u32) -> Result<u32> {
        self.check_atomic()?;
        raw::cmpxchg_u32(self.addr, old, new)
    }

    /// As [`UserPtr::compare_exchange`], but EAGAIN instead of a page fault.
    pub fn compare_exchange_nofault(self, old: u32, new: u32) -> Result<u32> {
        self.check_atomic()?;
        raw::nofault(|| raw::cmpxchg_u32(self.addr, old, new)).map_err(|_| Errno::EAGAIN)
    }

    fn check_atomic(self) -> Result<()> {
        if !self.addr.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if !user_range_ok(self.addr, 4) {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }
}

/// `len` elements at a user address.
pub struct UserSlice<T> {
    ptr: UserPtr<T>,
    len: usize,
}

impl<T> Clone for UserSlice<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserSlice<T> {}

impl<T> UserSlice<T> {
    /// `len` elements at `addr`. EFAULT when they do not fit in the user half.
    pub fn new(addr: usize, len: usize) -> Result<Self> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
        if !user_range_ok(addr, bytes) {
            return Err(Errno::EFAULT);
        }
        Ok(UserSlice {
            ptr: UserPtr::from(addr),
            len,
        })
    }

    /// The `index`th element, if it is inside.
    pub fn get(&self, index: usize) -> Option<UserPtr<T>> {
        (index < self.len).then(|| self.ptr.add(index))
    }
}

impl<T: FromBytes + IntoBytes> UserSlice<T> {
    /// Copies in as many elements as `out` has. EINVAL when that is more than there are.
    pub fn read_into(&self, out: &mut [T]) -> Result<()> {
        if out.len() > self.len {
            return Err(Errno::EINVAL);
        }
        copy_in(self.ptr.addr, out.as_mut_bytes())
    }

    /// All elements, in memory of the kernel. ENOMEM when there is none.
    pub fn to_vec(self) -> Result<Vec<T>>
    where
        T: FromZeros + Clone,
    {
        let mut out = Vec::new();
        out.try_reserve_exact(self.len).map_err(|_| Errno::ENOMEM)?;
        out.resize(self.len, T::new_zeroed());
        self.read_into(&mut out)?;
        Ok(out)
    }
}

impl<T: IntoBytes + Immutable> UserSlice<T> {
    /// Copies `values` out from the start. EINVAL when they do not fit.
    pub fn write_from(&self, values: &[T]) -> Result<()> {
        if values.len() > self.len {
            return Err(Errno::EINVAL);
        }
        copy_out(self.ptr.addr, values.as_bytes())
    }
}
