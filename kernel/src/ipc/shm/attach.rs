//! `shmat`, `shmdt`, and the areas that show a segment.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use abi::mman::{MapFlags, Prot};
use abi::sysv::{IPC_EXECUTE, IPC_READ, IPC_WRITE, SHM_EXEC, SHM_RDONLY, SHM_REMAP, SHM_RND};
use abi::{Errno, Result};

use super::super::{access, now_seconds};
use super::{SEGMENTS, Segment};
use crate::fs::memfd;
use crate::mm::{Backing, MapRequest, MappedFile, PAGE_SIZE};
use crate::sync::current;

/// What the areas of one `shmat` have as their file: it hears of each that comes and goes.
struct Attachment(Arc<Segment>);

impl MappedFile for Attachment {
    fn dev_ino(&self) -> (u64, u64) {
        (memfd::device().unwrap_or(0), self.0.id as u64)
    }

    fn maps_path(&self) -> Vec<u8> {
        format!("/SYSV{:08x} (deleted)", self.0.name).into_bytes()
    }

    fn area_added(&self) {
        let mut state = self.0.state.lock();
        state.attached += 1;
        state.atime = now_seconds();
        state.lpid = current().process.pid.0;
    }

    fn area_removed(&self) {
        self.0.let_go(true);
    }
}

/// Keeps a segment from going while a call attaches it.
struct Held<'a>(&'a Segment);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.let_go(false);
    }
}

/// Where the segment is to be, and with which of mmap's flags.
fn place(addr: usize, flags: u32) -> Result<(usize, MapFlags)> {
    let replaces = flags & SHM_REMAP != 0;
    if addr == 0 {
        return match replaces {
            true => Err(Errno::EINVAL),
            false => Ok((0, MapFlags::SHARED)),
        };
    }
    let down = addr & !(PAGE_SIZE - 1);
    if down != addr && (flags & SHM_RND == 0 || (down == 0 && replaces)) {
        return Err(Errno::EINVAL);
    }
    let fixed = match replaces {
        true => MapFlags::FIXED,
        false => MapFlags::FIXED_NOREPLACE,
    };
    Ok((down, MapFlags::SHARED | fixed))
}

/// `shmat`: the address of the new area.
///
/// # Errors
/// Those of shmat(2).
pub fn attach(id: i32, addr: usize, flags: u32) -> Result<usize> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let (addr, map_flags) = place(addr, flags)?;
    let (mut prot, mut wanted) = (Prot::READ, IPC_READ);
    let mut max_prot = Prot::READ | Prot::EXEC;
    if flags & SHM_RDONLY == 0 {
        prot |= Prot::WRITE;
        max_prot |= Prot::WRITE;
        wanted |= IPC_WRITE;
    }
    if flags & SHM_EXEC != 0 {
        prot |= Prot::EXEC;
        wanted |= IPC_EXECUTE;
    }
    let segment = SEGMENTS.get(id)?;
    {
        let mut state = segment.state.lock();
        access::check(&state.perm, wanted)?;
        if state.removed {
            return Err(Errno::EIDRM);
        }
        state.attached += 1;
    }
    let _held = Held(&segment);
    if map_flags.contains(MapFlags::FIXED_NOREPLACE) && addr.checked_add(segment.size).is_none() {
        return Err(Errno::EINVAL);
    }
    let request = MapRequest {
        addr,
        len: segment.size,
        prot,
        max_prot,
        flags: map_flags,
        pkey: 0,
        backing: Backing::File {
            object: segment.memory.clone(),
            offset: 0,
            file: Some(Arc::new(Attachment(segment.clone()))),
        },
    };
    let mapped = current().my_mm().map(request);
    mapped.map_err(|errno| match errno {
        // Something is there.
        Errno::EEXIST => Errno::EINVAL,
        other => other,
    })
}

/// `shmdt`.
///
/// # Errors
/// `EINVAL` if no segment begins at the address.
pub fn detach(addr: usize) -> Result<()> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let size_of = |file: &dyn MappedFile| {
        let any: &dyn Any = file;
        any.downcast_ref::<Attachment>().map(|shown| shown.0.size)
    };
    current().my_mm().unmap_attachment(addr, size_of)
}
