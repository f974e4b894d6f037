//! The protection keys of a space: which are taken, and the one for memory that may only be executed.

use abi::{Errno, Result};
use vm::VmFlags;

use super::AddressSpace;
use crate::arch::pkru;

/// Keys that there are.
const KEYS: u8 = 16;
/// What is denied for memory that may only be executed: `PKEY_DISABLE_ACCESS`.
const NO_ACCESS: u32 = 1;

/// A space's keys.
#[derive(Clone, Copy)]
pub struct Keys {
    /// A bit for each that is taken. Key 0 is everybody's.
    taken: u16,
    /// The kernel's own, which users cannot name.
    execute_only: Option<u8>,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            taken: u16::from(pkru::exists()),
            execute_only: None,
        }
    }
}

impl Keys {
    /// Whether a user may name the key.
    pub(super) fn is_allocated(&self, key: u8) -> bool {
        key < KEYS && self.taken & 1 << key != 0 && !self.is_execute_only(key)
    }

    pub(super) fn is_execute_only(&self, key: u8) -> bool {
        self.execute_only == Some(key)
    }

    /// ENOSPC when all are taken, EINVAL without keys.
    fn alloc(&mut self) -> Result<u8> {
        if !pkru::exists() {
            return Err(Errno::EINVAL);
        }
        let free = self.taken.trailing_ones() as u8;
        if free >= KEYS {
            return Err(Errno::ENOSPC);
        }
        self.taken |= 1 << free;
        Ok(free)
    }

    /// The key for memory with these rights, where it is to be one of its own.
    pub(super) fn for_rights(&mut self, rights: VmFlags) -> Option<u8> {
        if rights != VmFlags::EXEC || !pkru::exists() {
            return None;
        }
        let key = match self.execute_only {
            Some(key) => key,
            // Without a key left, what may be executed can be read.
            None => {
                let new = self.alloc().ok()?;
                *self.execute_only.insert(new)
            }
        };
        pkru::set_rights(key, NO_ACCESS);
        Some(key)
    }
}

impl AddressSpace {
    /// `pkey_alloc`.
    pub fn alloc_key(&self) -> Result<u8> {
        self.map.write().keys.alloc()
    }

    /// `pkey_free`: the key may be given to others, whatever still has it.
    pub fn free_key(&self, key: u8) -> Result<()> {
        let mut map = self.map.write();
        if !map.keys.is_allocated(key) {
            return Err(Errno::EINVAL);
        }
        map.keys.taken &= !(1 << key);
        Ok(())
    }

    /// The key of the area at an address; 0 without one.
    pub(in crate::mm) fn key_at(&self, address: usize) -> u8 {
        let map = self.map.read();
        map.areas.find(address).map_or(0, |area| area.flags.pkey())
    }
}
