//! The strings of argv and envp.

use alloc::vec::Vec;

use abi::{Errno, Result};

use crate::mm::user::{UserCStr, UserPtr};
use crate::sync::CurrentTask;
use crate::task::rlimit::Resource;

/// One string may have as many bytes, with its NUL (MAX_ARG_STRLEN).
const MAX_STRING: usize = 32 * 4096;
/// All may take three quarters of the default stack limit at most (_STK_LIM / 4 * 3).
const MAX_TOTAL: usize = (8 << 20) / 4 * 3;
/// What is always allowed (ARG_MAX).
const MIN_TOTAL: usize = 32 * 4096;

/// Strings one after the other, each with its NUL.
#[derive(Default)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

/// How many bytes arguments, environment and the pointers to them may take.
pub(super) fn budget(me: &CurrentTask) -> usize {
    let quarter = me.process.rlimits.soft(Resource::Stack) / 4;
    usize::try_from(quarter)
        .unwrap_or(usize::MAX)
        .clamp(MIN_TOTAL, MAX_TOTAL)
}

impl Strings {
    /// Reads a NULL-terminated array of pointers to strings; a null array is an empty one, as on Linux.
    ///
    /// # Errors
    /// `EFAULT` for bad addresses, `E2BIG` beyond `budget`.
    pub(super) fn read(array: usize, budget: usize) -> Result<Strings> {
        let mut strings = Strings::default();
        if array == 0 {
            return Ok(strings);
        }
        let pointers = UserPtr::<usize>::from(array);
        loop {
            let pointer = pointers.add(strings.count).read()?;
            if pointer == 0 {
                return Ok(strings);
            }
            let left = budget.checked_sub(strings.cost() + size_of::<usize>());
            let max = left.ok_or(Errno::E2BIG)?.min(MAX_STRING);
            let string = UserCStr::from(pointer)
                .read_bytes(max)?
                .ok_or(Errno::E2BIG)?;
            strings.push(&string)?;
        }
    }

    /// Copies strings of the kernel.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn from_kernel(list: &[&[u8]]) -> Result<Strings> {
        let mut strings = Strings::default();
        list.iter().try_for_each(|string| strings.push(string))?;
        Ok(strings)
    }

    fn push(&mut self, string: &[u8]) -> Result<()> {
        self.bytes
            .try_reserve(string.len() + 1)
            .map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// Replaces the first string (if any) by others: what a script does to its arguments.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn replace_first(&mut self, by: &[&[u8]]) -> Result<()> {
        let mut replaced = Strings::from_kernel(by)?;
        let rest: &[u8] = match self.bytes.iter().position(|byte| *byte == 0) {
            Some(nul) => &self.bytes[nul + 1..],
            None => &[],
        };
        replaced
            .bytes
            .try_reserve(rest.len())
            .map_err(|_| Errno::ENOMEM)?;
        replaced.bytes.extend_from_slice(rest);
        replaced.count += self.count.saturating_sub(1);
        *self = replaced;
        Ok(())
    }

    /// How many strings there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The strings with their NULs.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes they take with a pointer each.
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + self.count * size_of::<usize>()
    }

    /// Where each string begins.
    pub fn offsets(&self) -> impl Iterator<Item = usize> + '_ {
        let ends = self
            .bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == 0);
        core::iter::once(0)
            .chain(ends.map(|(nul, _)| nul + 1))
            .take(self.count)
    }
}
