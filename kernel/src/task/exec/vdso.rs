//! The vDSO in an address space: the clock page, and the image right above it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::mman::{MapFlags, Prot};
use abi::{Errno, Result};

use crate::arch;
use crate::mm::space::Mappers;
use crate::mm::{
    AddressSpace, Backing, FrameRef, MapRequest, MappedFile, MemoryObject, ObjectKind, PAGE_SIZE,
    PhysAddr, USER_END,
};

/// Pages of the kernel's image that user space may see.
struct KernelPages {
    name: &'static str,
    start: PhysAddr,
    len: usize,
    mappers: Mappers,
}

impl MemoryObject for KernelPages {
    fn kind(&self) -> ObjectKind {
        ObjectKind::Device
    }

    fn get_page(&self, _index: u64, _for_write: bool) -> Result<FrameRef> {
        Err(Errno::EFAULT)
    }

    fn resident_pages(&self, _: u64, _: usize, _: &mut dyn FnMut(u64, &FrameRef)) {}

    fn device_page(&self, index: u64) -> Result<PhysAddr> {
        let offset = index
            .checked_mul(PAGE_SIZE as u64)
            .filter(|at| *at < self.len as u64);
        offset
            .map(|at| PhysAddr(self.start.0 + at))
            .ok_or(Errno::EFAULT)
    }

    fn mappers(&self) -> &Mappers {
        &self.mappers
    }
}

impl MappedFile for KernelPages {
    fn dev_ino(&self) -> (u64, u64) {
        (0, 0)
    }

    fn maps_path(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }
}

struct Vdso {
    clock: Arc<KernelPages>,
    image: Arc<KernelPages>,
}

static VDSO: spin::Once<Vdso> = spin::Once::new();

fn pages(name: &'static str, start: PhysAddr, len: usize) -> Arc<KernelPages> {
    Arc::new(KernelPages {
        name,
        start,
        len,
        mappers: Mappers::default(),
    })
}

/// What a page table maps: the vDSO lies within the same as the stack's end, which has one anyway.
const NEAR: usize = 2 << 20;

/// Maps the vDSO above the stack as Linux does, or somewhere else if there is no room, and returns the address of its ELF
/// header. `random` is any number, for where above.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn map(space: &AddressSpace, stack_top: usize, random: usize) -> Result<usize> {
    let vdso = VDSO.call_once(|| {
        let (start, len) = arch::vdso::image();
        Vdso {
            clock: pages("[vvar]", arch::vdso::clock_page(), PAGE_SIZE),
            image: pages("[vdso]", start, len),
        }
    });
    let len = PAGE_SIZE + vdso.image.len;
    let last = (stack_top + len).next_multiple_of(NEAR).min(USER_END) - len;
    let pages = last.saturating_sub(stack_top) / PAGE_SIZE + 1;
    let base = space.find_room_at(stack_top + random % pages * PAGE_SIZE, len)?;
    map_pages(space, base, &vdso.clock, Prot::READ)?;
    map_pages(
        space,
        base + PAGE_SIZE,
        &vdso.image,
        Prot::READ | Prot::EXEC,
    )?;
    Ok(base + PAGE_SIZE)
}

fn map_pages(
    space: &AddressSpace,
    addr: usize,
    pages: &Arc<KernelPages>,
    prot: Prot,
) -> Result<()> {
    space.map(MapRequest {
        addr,
        len: pages.len,
        prot,
        max_prot: prot,
        flags: MapFlags::PRIVATE | MapFlags::FIXED,
        pkey: 0,
        backing: Backing::File {
            object: pages.clone(),
            offset: 0,
            file: Some(pages.clone()),
        },
    })?;
    Ok(())
}
