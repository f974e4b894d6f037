//! Unmapping whole kinds of areas: `shmdt`, and what a dying process gives back early.

use alloc::vec::Vec;

use abi::{Errno, Result};

use vm::VmFlags;

use super::AddressSpace;
use super::content::{Area, Shown, same_file};
use crate::mm::addr::{USER_END, page_up};
use crate::mm::object::MappedFile;

impl AddressSpace {
    /// Unmaps the attachment that begins at `addr`, or what partial unmapping and `mprotect` have left of it: the first
    /// area that is still where it was attached says which one is meant. `size_of` gives the size of files that are
    /// attachments.
    ///
    /// # Errors
    /// `EINVAL` if there is none, `ENOMEM`.
    pub fn unmap_attachment(
        &self,
        addr: usize,
        size_of: impl Fn(&dyn MappedFile) -> Option<usize>,
    ) -> Result<()> {
        let mut map = self.map.write();
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let mut wanted: Option<(&Area, usize)> = None;
        for area in map.areas.range(addr, USER_END) {
            if let Some((_, end)) = wanted
                && area.end > end
            {
                break;
            }
            let Some(size) = attached_at(area, addr).and_then(&size_of) else {
                continue;
            };
            match wanted {
                Some((first, _)) if !is_same(first, area) => continue,
                Some(_) => {}
                None => {
                    let size = page_up(size).ok_or(Errno::EINVAL)?;
                    wanted = Some((area, addr.saturating_add(size)));
                }
            }
            parts.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            parts.push((area.start, area.end));
        }
        if parts.is_empty() {
            return Err(Errno::EINVAL);
        }
        parts
            .into_iter()
            .try_for_each(|(start, end)| self.remove_areas(&mut map, start, end))
    }

    /// Unmaps all memory that is the space's own, of a process that is to die. What its threads still do in the kernel
    /// finds nothing there, and never zeros in the place of what was.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn reap(&self) -> Result<()> {
        let mut map = self.map.write();
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let kept = VmFlags::SHARED | VmFlags::SPECIAL;
        for area in map.areas.iter().filter(|area| !area.flags.intersects(kept)) {
            parts.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            parts.push((area.start, area.end));
        }
        parts
            .into_iter()
            .try_for_each(|(start, end)| self.remove_areas(&mut map, start, end))
    }
}

/// The file of an area that lies where it would if the whole file was mapped at `addr`.
fn attached_at(area: &Area, addr: usize) -> Option<&dyn MappedFile> {
    let Shown::Object(place) = &area.content else {
        return None;
    };
    let from_start = area.start.checked_sub(addr)? as u64;
    if from_start != place.offset {
        return None;
    }
    place.file.as_ref().map(|file| &**file.get())
}

fn is_same(a: &Area, b: &Area) -> bool {
    match (&a.content, &b.content) {
        (Shown::Object(a), Shown::Object(b)) => same_file(&a.file, &b.file),
        _ => false,
    }
}
