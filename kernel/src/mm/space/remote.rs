//! Access to a space from outside, with its owner's rights: `process_vm_readv`, `/proc`; and what a futex word is.

use alloc::sync::Arc;

use abi::{Errno, Result};
use vm::VmFlags;

use super::AddressSpace;
use super::content::Shown;
use super::fault::Failure;
use crate::arch::pte;
use crate::mm::addr::{PAGE_SIZE, user_range_ok};
use crate::mm::fault::FaultAccess;
use crate::mm::frame::{self, FrameRef};
use crate::mm::oom;
use crate::mm::page_table::Table;

/// What a futex word is, whoever maps it where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FutexKey {
    /// In private memory: space and address.
    Private { space: u64, addr: usize },
    /// In shared memory: the object's address in the kernel and the byte offset in it.
    Shared { object: usize, offset: u64 },
}

impl AddressSpace {
    /// Reads another process's memory. Answers the bytes read before the first that cannot be.
    pub fn read_remote(&self, addr: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() {
            let at = addr.wrapping_add(done);
            let offset = at % PAGE_SIZE;
            let len = (PAGE_SIZE - offset).min(out.len() - done);
            let Some(page) = self.pin(at, false) else {
                break;
            };
            page.read(offset, &mut out[done..done + len]);
            done += len;
        }
        done
    }

    /// Writes another process's memory. Answers the bytes written before the first that cannot be.
    pub fn write_remote(&self, addr: usize, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.wrapping_add(done);
            let offset = at % PAGE_SIZE;
            let len = (PAGE_SIZE - offset).min(bytes.len() - done);
            let Some(page) = self.pin(at, true) else {
                break;
            };
            page.write(offset, &bytes[done..done + len]);
            done += len;
        }
        done
    }

    /// A reference to the page at an address, brought in for reading or writing, as its owner may.
    fn pin(&self, addr: usize, write: bool) -> Option<FrameRef> {
        if !user_range_ok(addr, 1) {
            return None;
        }
        for _ in 0..8 {
            let map = self.map.read();
            let area = map.areas.find(addr)?;
            let right = if write { VmFlags::WRITE } else { VmFlags::READ };
            if !area.flags.contains(right) {
                return None;
            }
            let there = self.lookup_get(addr, write);
            if there.is_some() {
                return there;
            }
            let access = FaultAccess {
                write,
                ..FaultAccess::default()
            };
            match self.bring_in(area, addr, access) {
                Ok(()) => {}
                Err(Failure::NoMemory) => {
                    drop(map);
                    if !oom::wait_for_memory() {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
        None
    }

    /// A reference to the page that is mapped, and writable if need be. A huge page is split first: its frames have no
    /// owners of their own.
    fn lookup_get(&self, addr: usize, write: bool) -> Option<FrameRef> {
        let directory = self.root.directory(addr)?;
        let index = pte::index(addr, 2);
        if directory.get(index).is_large() {
            self.split_huge(directory, index).ok()?;
        }
        let _upper = directory.lock();
        let entry = directory.get(index);
        if entry.is_none() || entry.is_large() || (write && !entry.is_writable()) {
            return None;
        }
        let table = Table::of(entry);
        let _guard = table.lock();
        let page = table.get(pte::index(addr, 1));
        if page.is_none() || (write && !page.is_writable()) {
            return None;
        }
        frame::try_get(page.pfn())
    }

    /// The identity of the futex word at `addr`. EFAULT when nothing is mapped there.
    pub fn futex_key(&self, addr: usize, private: bool) -> Result<FutexKey> {
        let key = FutexKey::Private {
            space: self.id(),
            addr,
        };
        if private {
            return match user_range_ok(addr, 4) {
                true => Ok(key),
                false => Err(Errno::EFAULT),
            };
        }
        let map = self.map.read();
        let area = map.areas.find(addr).ok_or(Errno::EFAULT)?;
        match &area.content {
            Shown::Object(place) if area.flags.contains(VmFlags::SHARED) => Ok(FutexKey::Shared {
                object: Arc::as_ptr(&place.object).cast::<()>() as usize,
                offset: place.offset + (addr - area.start) as u64,
            }),
            _ => Ok(key),
        }
    }
}
