//! Strings that the user passes: NUL-terminated, bounded.

use alloc::vec::Vec;
use core::ops::Deref;

use abi::{Errno, Result};
use smallvec::SmallVec;

use super::raw;

/// Linux's `PATH_MAX`, with the NUL.
const PATH_MAX: usize = 4096;
/// What is kept without an allocation: nearly every path.
const INLINE: usize = 128;

/// The address of a NUL-terminated string.
#[derive(Clone, Copy)]
pub struct UserCStr(usize);

/// A path, copied in, without its NUL.
pub struct UserPath(SmallVec<[u8; INLINE]>);

impl Deref for UserPath {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<usize> for UserCStr {
    #[inline(always)]
    fn from(addr: usize) -> Self {
        UserCStr(addr)
    }
}

impl UserCStr {
    /// The address itself.
    pub const fn addr(self) -> usize {
        self.0
    }

    /// Whether the user passed NULL.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// A path. EFAULT, or ENAMETOOLONG when no NUL comes within PATH_MAX bytes. The empty path is not an error here.
    pub fn read_path(self) -> Result<UserPath> {
        let mut inline = [0u8; INLINE];
        let (n, ended) = raw::copy_string(self.0, &mut inline)?;
        if ended {
            return Ok(UserPath(SmallVec::from_slice(&inline[..n - 1])));
        }
        self.read_bytes(PATH_MAX)?
            .map(|v| UserPath(SmallVec::from_vec(v)))
            .ok_or(Errno::ENAMETOOLONG)
    }

    /// A string of at most `max` bytes with its NUL, without it; `None` when it is longer.
    pub fn read_bytes(self, max: usize) -> Result<Option<Vec<u8>>> {
        let mut out: Vec<u8> = Vec::new();
        let mut chunk = [0u8; 256];
        while out.len() < max {
            let want = chunk.len().min(max - out.len());
            let (n, ended) = raw::copy_string(self.0.wrapping_add(out.len()), &mut chunk[..want])?;
            out.try_reserve(n).map_err(|_| Errno::ENOMEM)?;
            out.extend_from_slice(&chunk[..n]);
            if ended {
                out.pop();
                return Ok(Some(out));
            }
        }
        Ok(None)
    }
}
