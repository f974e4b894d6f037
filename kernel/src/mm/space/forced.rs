//! What a debugger does to memory: reads whatever its rights, and writes to private memory that its owner may only read.
//!
//! Nothing becomes accessible to the owner by it: a read maps nothing, and a write to memory without the right leaves a
//! copy of the page behind that is the space's own and has the area's rights (Linux's FOLL_FORCE).

use core::sync::atomic::Ordering;

use frames::Kind;
use vm::VmFlags;

use super::AddressSpace;
use super::content::{Area, Shown, object_index};
use super::fault::{Failure, entry_bits};
use super::tables::{Tally, put_page};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{PAGE_SIZE, page_down, user_range_ok};
use crate::mm::frame::{self, FrameRef};
use crate::mm::object::ObjectKind;
use crate::mm::oom;
use crate::mm::page_table::{Table, tlb};

/// What a page shows.
enum Source {
    Page(FrameRef),
    /// A page of the kernel's image, of the vDSO.
    Image(u32),
    Zeros,
}

impl Source {
    fn read(&self, offset: usize, out: &mut [u8]) {
        match self {
            Source::Page(page) => page.read(offset, out),
            Source::Image(pfn) => frame::read_raw(*pfn, offset, out),
            Source::Zeros => out.fill(0),
        }
    }
}

/// The part of a page at `addr` that a transfer with `left` bytes to go has in it.
fn part_of_page(addr: usize, left: usize) -> usize {
    (PAGE_SIZE - addr % PAGE_SIZE).min(left)
}

impl AddressSpace {
    /// Reads memory that its owner might not be allowed to. Answers the bytes before the first that is not there.
    pub fn read_forced(&self, addr: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() {
            let at = addr.wrapping_add(done);
            let len = part_of_page(at, out.len() - done);
            let Some(page) = self.look(at) else {
                break;
            };
            page.read(at % PAGE_SIZE, &mut out[done..done + len]);
            done += len;
        }
        done
    }

    /// What is at an address, mapped or not.
    fn look(&self, at: usize) -> Option<Source> {
        if !user_range_ok(at, 1) {
            return None;
        }
        loop {
            let map = self.map.read();
            let area = map.areas.find(at)?;
            if !area.flags.intersects(VmFlags::READ | VmFlags::MAY_READ) {
                return None;
            }
            match self.source(area, at) {
                Ok(source) => return Some(source),
                Err(Failure::NoMemory) => {}
                Err(_) => return None,
            }
            drop(map);
            if !oom::wait_for_memory() {
                return None;
            }
        }
    }

    fn source(&self, area: &Area, at: usize) -> Result<Source, Failure> {
        if let Some(source) = self.shown_page(area, at)? {
            return Ok(source);
        }
        let Shown::Object(place) = &area.content else {
            return Ok(Source::Zeros);
        };
        let index = object_index(area, place, page_down(at));
        if place.object.kind() == ObjectKind::Device {
            let phys = place.object.device_page(index)?;
            return image_page(area, (phys.0 >> 12) as u32);
        }
        Ok(Source::Page(place.object.get_page(index, false)?))
    }

    /// The page that a table shows, hidden ones included.
    fn shown_page(&self, area: &Area, at: usize) -> Result<Option<Source>, Failure> {
        let Some(directory) = self.root.directory(at) else {
            return Ok(None);
        };
        let index = pte::index(at, 2);
        if directory.get(index).is_large() {
            self.split_huge(directory, index)?;
        }
        let _upper = directory.lock();
        let entry = directory.get(index);
        if entry.is_none() || entry.is_large() {
            return Ok(None);
        }
        let table = Table::of(entry);
        let _guard = table.lock();
        let page = table.get(pte::index(at, 1));
        if page.is_none() {
            return Ok(None);
        }
        match frame::try_get(page.pfn()) {
            Some(frame) => Ok(Some(Source::Page(frame))),
            None => image_page(area, page.pfn()).map(Some),
        }
    }

    /// Writes memory that its owner might not be allowed to. Answers the bytes before the first that may not be.
    pub fn write_forced(&self, addr: usize, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.wrapping_add(done);
            let len = part_of_page(at, bytes.len() - done);
            if self.write_page(at, &bytes[done..done + len]).is_none() {
                break;
            }
            done += len;
        }
        done
    }

    fn write_page(&self, at: usize, bytes: &[u8]) -> Option<()> {
        if !user_range_ok(at, 1) {
            return None;
        }
        loop {
            let map = self.map.read();
            let area = map.areas.find(at)?;
            if area.flags.contains(VmFlags::WRITE) {
                drop(map);
                return (self.write_remote(at, bytes) == bytes.len()).then_some(());
            }
            let may =
                !area.flags.contains(VmFlags::SHARED) && area.flags.contains(VmFlags::MAY_WRITE);
            if !may {
                return None;
            }
            match self.write_private(area, at, bytes) {
                Ok(true) => return Some(()),
                Ok(false) => continue,
                Err(Failure::NoMemory) => {}
                Err(_) => return None,
            }
            drop(map);
            if !oom::wait_for_memory() {
                return None;
            }
        }
    }

    /// Writes to a page of private memory without the right to write, which becomes the space's own. False when another
    /// was faster and it is to be tried again. The map is held shared, so that no fork shares the page meanwhile.
    fn write_private(&self, area: &Area, at: usize, bytes: &[u8]) -> Result<bool, Failure> {
        let directory = self.make_directory(at)?;
        let table = self.own_table(directory, pte::index(at, 2))?;
        let slot = pte::index(at, 1);
        let old = table.get(slot);
        if let Some(own) = own_page(table, slot) {
            own.write(at % PAGE_SIZE, bytes);
            return Ok(true);
        }
        let source = self.source(area, at)?;
        if matches!(source, Source::Image(_)) {
            return Err(Failure::Bus);
        }
        let copy = frame::alloc_raw(Kind::Anon).ok_or(Failure::NoMemory)?;
        let page = FrameRef::from_raw(copy);
        match &source {
            Source::Page(from) => page.copy_from(from, 0, PAGE_SIZE),
            _ => page.zero(0, PAGE_SIZE),
        }
        page.write(at % PAGE_SIZE, bytes);
        let bits = match area.flags.accessible() {
            true => entry_bits(area.flags) | Pte::DIRTY,
            false => Pte::HIDDEN | Pte::DIRTY,
        };
        let guard = table.lock();
        if table.get(slot).0 != old.0 {
            return Ok(false);
        }
        table.set(slot, Pte::new(u64::from(page.into_raw()) << 12, bits));
        if old.is_none() {
            table.add_count(1);
        }
        drop(guard);
        self.counts.anon.fetch_add(1, Ordering::Relaxed);
        if !old.is_none() {
            let start = page_down(at);
            tlb::flush(self, start, start + PAGE_SIZE);
        }
        if !old.is_none() && !old.is_uncounted() {
            let mut gone = Tally::default();
            gone.add(old);
            put_page(old.pfn());
            self.uncount(gone);
        }
        Ok(true)
    }
}

/// The page at an entry if it is private and nobody else has it.
fn own_page(table: Table, slot: usize) -> Option<FrameRef> {
    let _guard = table.lock();
    let entry = table.get(slot);
    if entry.is_none() || entry.is_uncounted() {
        return None;
    }
    let meta = frame::meta(entry.pfn());
    match meta.kind() == Kind::Anon && meta.owners() == 1 {
        true => frame::try_get(entry.pfn()),
        false => None,
    }
}

/// Of the kernel's own pages only the vDSO's code may be read: the clock page beside it may not, as on Linux.
fn image_page(area: &Area, pfn: u32) -> Result<Source, Failure> {
    match area.flags.contains(VmFlags::EXEC) {
        true => Ok(Source::Image(pfn)),
        false => Err(Failure::Bus),
    }
}
