//! What register values become.

use crate::mm::user::{UserCStr, UserPtr};
use crate::task::Pid;

/// A type that a system call takes in a register. Narrow integers take the low half, as C callers leave garbage above.
pub trait FromArg {
    /// The argument that `raw` holds.
    fn from_arg(raw: u64) -> Self;
}

macro_rules! integers {
    ($($ty:ty)*) => {
        $(impl FromArg for $ty {
            #[inline(always)]
            fn from_arg(raw: u64) -> $ty {
                raw as $ty
            }
        })*
    };
}

integers!(usize u64 i64 isize u32 i32 u16 u8);

impl FromArg for Pid {
    #[inline(always)]
    fn from_arg(raw: u64) -> Pid {
        Pid(raw as i32)
    }
}

impl<T> FromArg for UserPtr<T> {
    #[inline(always)]
    fn from_arg(raw: u64) -> UserPtr<T> {
        UserPtr::from(raw as usize)
    }
}

impl FromArg for UserCStr {
    #[inline(always)]
    fn from_arg(raw: u64) -> UserCStr {
        UserCStr::from(raw as usize)
    }
}
