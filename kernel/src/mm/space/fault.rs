//! Bringing a page in: the body of a page fault, and of everything that does by hand what a fault would.

use core::sync::atomic::Ordering;

use abi::mman::si_code;
use abi::{Errno, Result};
use frames::Kind;
use vm::VmFlags;

use super::content::{Area, ObjectPlace, Shown, object_index};
use super::tables::{self, Tally, put_page};
use super::uffd::{Answer, WatchedFault};
use super::{AddressSpace, Map};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE, page_down};
use crate::mm::fault::{FaultAccess, FaultError};
use crate::mm::frame::{self, FrameRef};
use crate::mm::object::ObjectKind;
use crate::mm::page_table::{ENTRIES, Table, tlb};
use crate::mm::{oom, stats};

const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
/// Pages mapped at most by one fault: file pages that are resident anyway (Linux's `fault_around_bytes`), and anonymous
/// pages of an area that is being walked through.
const AROUND: usize = 16;

/// Why a page could not be brought in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// No area, or not with that right.
    Segv(i32),
    /// Past the end of the file, or its storage failed.
    Bus,
    NoMemory,
    /// Somebody is to be asked first: for a page that is not there, or (true) before it is written.
    Watched(bool),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        match errno {
            Errno::ENOMEM => Failure::NoMemory,
            _ => Failure::Bus,
        }
    }
}

/// The bits that an area's rights give to each of its entries, but for the write bit.
#[inline]
pub(super) fn entry_bits(flags: VmFlags) -> u64 {
    let key = u64::from(flags.pkey()) << Pte::PKEY.trailing_zeros();
    match flags.contains(VmFlags::EXEC) {
        true => Pte::PRESENT | Pte::USER | Pte::ACCESSED | key,
        false => Pte::PRESENT | Pte::USER | Pte::ACCESSED | Pte::NO_EXEC | key,
    }
}

pub(super) const WRITABLE: u64 = Pte::WRITE | Pte::DIRTY | Pte::SOFT_DIRTY;

impl AddressSpace {
    /// A page fault of the running task.
    #[inline]
    pub(in crate::mm) fn fault(
        &self,
        address: usize,
        access: FaultAccess,
    ) -> core::result::Result<(), FaultError> {
        let mut tries = 0;
        loop {
            let result = {
                let map = self.map.read();
                match map.areas.find(address) {
                    Some(area) => self.bring_in(area, address, access),
                    None => Err(Failure::Segv(si_code::SEGV_MAPERR)),
                }
            };
            let failure = match result {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match failure {
                Failure::Segv(si_code::SEGV_MAPERR) if tries == 0 && self.grow_stack(address) => {
                    tries += 1;
                }
                Failure::Segv(code) => {
                    return Err(FaultError {
                        signal: SIGSEGV,
                        code,
                    });
                }
                Failure::Bus => {
                    let code = si_code::BUS_ADRERR;
                    return Err(FaultError {
                        signal: SIGBUS,
                        code,
                    });
                }
                Failure::Watched(protected) => {
                    let fault = WatchedFault {
                        address,
                        write: access.write,
                        protected,
                        from_user: access.user,
                    };
                    match self.ask_watcher(&fault) {
                        Answer::Again => {}
                        Answer::Interrupted if access.user => return Ok(()),
                        Answer::Interrupted | Answer::Refused => {
                            return Err(FaultError {
                                signal: SIGBUS,
                                code: si_code::BUS_ADRERR,
                            });
                        }
                    }
                }
                // Either memory was found, or the task is to die and need not come back to this instruction.
                Failure::NoMemory => {
                    if !oom::wait_for_memory() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Makes one page of an area accessible. The map is held shared.
    #[inline]
    pub(super) fn bring_in(
        &self,
        area: &Area,
        address: usize,
        access: FaultAccess,
    ) -> core::result::Result<(), Failure> {
        let flags = area.flags;
        let allowed = match (access.write, access.exec) {
            (true, _) => flags.contains(VmFlags::WRITE),
            (_, true) => flags.contains(VmFlags::EXEC),
            _ => flags.accessible(),
        };
        if !allowed {
            return Err(Failure::Segv(si_code::SEGV_ACCERR));
        }
        let directory = self.make_directory(address)?;
        let index = pte::index(address, 2);
        let entry = directory.get(index);
        if entry.is_none() && self.bring_in_huge(area, address, directory, access.write) {
            return Ok(());
        }
        if entry.is_large() && self.huge_is_fine(directory, index, access.write) {
            return Ok(());
        }
        let table = match !entry.is_none() && !entry.is_large() && entry.is_writable() {
            true => Table::of(entry),
            false => self.own_table(directory, index)?,
        };
        let slot = pte::index(address, 1);
        let now = table.get(slot);
        if now.is_none() {
            if flags.contains(VmFlags::UFFD_MISSING) && self.asks_for(area, address) {
                return Err(Failure::Watched(false));
            }
            return self.fill(area, address, table, slot, access.write);
        }
        if access.write && !now.is_writable() {
            if flags.contains(VmFlags::UFFD_WP) && now.0 & Pte::UFFD_WP != 0 {
                return Err(Failure::Watched(true));
            }
            return self.write_protected(area, address, table, slot);
        }
        // Another CPU was faster, or this one remembers less than the tables allow.
        pte::flush_page(address);
        Ok(())
    }

    /// Fills an empty entry.
    #[inline]
    fn fill(
        &self,
        area: &Area,
        address: usize,
        table: Table,
        slot: usize,
        write: bool,
    ) -> core::result::Result<(), Failure> {
        match &area.content {
            Shown::Anon if write => self.fill_anon(area, address, table, slot),
            Shown::Anon => {
                let zero = u64::from(frame::zero_page()) << 12;
                let bits = entry_bits(area.flags) | Pte::UNCOUNTED;
                set_if_none(table, slot, Pte::new(zero, bits));
                Ok(())
            }
            Shown::Object(place) => self.fill_object(area, place, address, table, write),
        }
    }

    /// New zeroed pages: one, or as many as the run of pages just before suggests that the program will want next.
    fn fill_anon(
        &self,
        area: &Area,
        address: usize,
        table: Table,
        slot: usize,
    ) -> core::result::Result<(), Failure> {
        let first = frame::alloc_raw_zeroed(Kind::Anon).ok_or(Failure::NoMemory)?;
        let bits = entry_bits(area.flags) | WRITABLE;
        let guard = table.lock();
        if !table.get(slot).is_none() {
            drop(guard);
            frame::free_raw(first);
            return Ok(());
        }
        table.set(slot, Pte::new(u64::from(first) << 12, bits));
        let mut added = 1;
        let room = (area.end - page_down(address)) / PAGE_SIZE;
        let wanted = sequential_run(table, slot).min(room).min(ENTRIES - slot);
        while added < wanted && table.get(slot + added).is_none() {
            let Some(next) = frame::alloc_raw_zeroed(Kind::Anon) else {
                break;
            };
            table.set(slot + added, Pte::new(u64::from(next) << 12, bits));
            added += 1;
        }
        table.add_count(added as i32);
        drop(guard);
        self.counts.anon.fetch_add(added as i64, Ordering::Relaxed);
        Ok(())
    }

    /// A page of an object: mapped, or for a private write copied at once.
    fn fill_object(
        &self,
        area: &Area,
        place: &ObjectPlace,
        address: usize,
        table: Table,
        write: bool,
    ) -> core::result::Result<(), Failure> {
        let slot = pte::index(address, 1);
        let index = object_index(area, place, page_down(address));
        let shared = area.flags.contains(VmFlags::SHARED);
        let kind = place.object.kind();
        if kind == ObjectKind::Device {
            let phys = place.object.device_page(index)?;
            let mut bits = entry_bits(area.flags) | Pte::UNCOUNTED;
            if !frame::is_ram(phys) {
                bits |= place.object.device_policy().bits();
            }
            if area.flags.contains(VmFlags::WRITE) && shared {
                bits |= WRITABLE;
            }
            set_if_none(table, slot, Pte::new(phys.0, bits));
            return Ok(());
        }
        let page = place.object.get_page(index, write && shared)?;
        if write && !shared {
            return self.fill_copy(area, page, table, slot);
        }
        let bits = entry_bits(area.flags) | shared_write_bits(area, kind, write);
        self.map_page(page, table, slot, bits);
        if !write {
            self.map_around(area, place, address, table);
        }
        Ok(())
    }

    /// A private copy of an object's page.
    fn fill_copy(
        &self,
        area: &Area,
        page: FrameRef,
        table: Table,
        slot: usize,
    ) -> core::result::Result<(), Failure> {
        let copy = frame::alloc_raw(Kind::Anon).ok_or(Failure::NoMemory)?;
        frame::copy_raw(copy, page.pfn());
        let bits = entry_bits(area.flags) | WRITABLE;
        if set_if_none(table, slot, Pte::new(u64::from(copy) << 12, bits)) {
            self.counts.anon.fetch_add(1, Ordering::Relaxed);
        } else {
            frame::free_raw(copy);
        }
        Ok(())
    }

    /// Puts an object's page into an empty entry; the entry takes over the reference.
    fn map_page(&self, page: FrameRef, table: Table, slot: usize, bits: u64) {
        let _guard = table.lock();
        if !table.get(slot).is_none() {
            return;
        }
        let pfn = page.into_raw();
        table.set(slot, Pte::new(u64::from(pfn) << 12, bits));
        table.add_count(1);
        tables::mapped(pfn);
        self.count_object_pages(pfn, 1);
    }

    #[inline]
    fn count_object_pages(&self, pfn: u32, pages: i64) {
        let counter = match frame::meta(pfn).kind() {
            Kind::Shmem => &self.counts.shmem,
            _ => &self.counts.file,
        };
        counter.fetch_add(pages, Ordering::Relaxed);
    }

    /// Maps the pages around `address` that are resident anyway.
    fn map_around(&self, area: &Area, place: &ObjectPlace, address: usize, table: Table) {
        let window = AROUND * PAGE_SIZE;
        let start = (address & !(window - 1)).max(area.start);
        let end = ((address & !(window - 1)) + window).min(area.end);
        let first = object_index(area, place, start);
        let slot = pte::index(start, 1);
        let bits = entry_bits(area.flags) | shared_write_bits(area, place.object.kind(), false);
        let mut tally = Tally::default();
        let mut added = 0;
        let _guard = table.lock();
        place
            .object
            .resident_pages(first, (end - start) / PAGE_SIZE, &mut |index, page| {
                let slot = slot + (index - first) as usize;
                if slot >= ENTRIES || !table.get(slot).is_none() {
                    return;
                }
                let pfn = page.clone().into_raw();
                let entry = Pte::new(u64::from(pfn) << 12, bits);
                table.set(slot, entry);
                tables::mapped(pfn);
                tally.add(entry);
                added += 1;
            });
        table.add_count(added);
        if tally.file != 0 {
            self.counts.file.fetch_add(tally.file, Ordering::Relaxed);
        }
        if tally.shmem != 0 {
            self.counts.shmem.fetch_add(tally.shmem, Ordering::Relaxed);
        }
    }

    /// A write to a page that is mapped without the right.
    fn write_protected(
        &self,
        area: &Area,
        address: usize,
        table: Table,
        slot: usize,
    ) -> core::result::Result<(), Failure> {
        if area.flags.contains(VmFlags::SHARED) {
            return self.make_shared_writable(area, address, table, slot);
        }
        if self.reuse(table, slot) {
            pte::flush_page(address);
            return Ok(());
        }
        // A copy of the page of zeros is a page of zeros.
        let of_zeros = table.get(slot).pfn() == frame::zero_page();
        let copy = match of_zeros {
            true => frame::alloc_raw_zeroed(Kind::Anon),
            false => frame::alloc_raw(Kind::Anon),
        };
        let copy = copy.ok_or(Failure::NoMemory)?;
        let guard = table.lock();
        let old = table.get(slot);
        if old.is_none() || old.is_writable() || (of_zeros && old.pfn() != frame::zero_page()) {
            drop(guard);
            frame::free_raw(copy);
            return Ok(());
        }
        if !of_zeros {
            frame::copy_raw(copy, old.pfn());
        }
        let bits = entry_bits(area.flags) | WRITABLE;
        table.set(slot, Pte::new(u64::from(copy) << 12, bits));
        drop(guard);
        let page = page_down(address);
        tlb::flush(self, page, page + PAGE_SIZE);
        self.counts.anon.fetch_add(1, Ordering::Relaxed);
        if !old.is_uncounted() {
            let mut gone = Tally::default();
            gone.add(old);
            put_page(old.pfn());
            self.uncount(gone);
        }
        Ok(())
    }

    /// Makes a write-protected private page writable where it is, if nobody else has it.
    #[inline]
    fn reuse(&self, table: Table, slot: usize) -> bool {
        let _guard = table.lock();
        let entry = table.get(slot);
        if entry.is_none() || entry.is_uncounted() {
            return false;
        }
        let meta = frame::meta(entry.pfn());
        if meta.kind() != Kind::Anon || meta.owners() != 1 {
            return entry.is_writable();
        }
        table.set(slot, entry.with(WRITABLE).without(Pte::UFFD_WP));
        true
    }

    /// The first write to a page of a shared mapping: the object is asked, then the entry gets the right.
    fn make_shared_writable(
        &self,
        area: &Area,
        address: usize,
        table: Table,
        slot: usize,
    ) -> core::result::Result<(), Failure> {
        let Shown::Object(place) = &area.content else {
            return Err(Failure::Segv(si_code::SEGV_ACCERR));
        };
        if place.object.kind() == ObjectKind::Device {
            // Rights were taken and given back: the device's page is what it was.
            let _guard = table.lock();
            let old = table.get(slot);
            if !old.is_none() {
                table.set(slot, old.with(WRITABLE));
            }
            return Ok(());
        }
        let page = place
            .object
            .get_page(object_index(area, place, page_down(address)), true)?;
        let guard = table.lock();
        let old = table.get(slot);
        let same = !old.is_none() && old.pfn() == page.pfn();
        if same {
            table.set(slot, old.with(WRITABLE));
        } else if !old.is_none() {
            table.set(slot, Pte::EMPTY);
            table.add_count(-1);
        }
        drop(guard);
        if same {
            pte::flush_page(address);
        } else if !old.is_none() && !old.is_uncounted() {
            // The object gave another page than is mapped (a hole was punched meanwhile): fault again.
            let at = page_down(address);
            tlb::flush(self, at, at + PAGE_SIZE);
            let mut gone = Tally::default();
            gone.add(old);
            put_page(old.pfn());
            self.uncount(gone);
        }
        Ok(())
    }

    /// Maps a huge page if the area wants it, it fits, and there is one.
    #[inline]
    fn bring_in_huge(&self, area: &Area, address: usize, directory: Table, write: bool) -> bool {
        let start = address & !(HUGE_SIZE - 1);
        let wanted = write
            && matches!(area.content, Shown::Anon)
            && start >= area.start
            && area.end - start >= HUGE_SIZE
            && !area
                .flags
                .intersects(VmFlags::NO_HUGE_PAGE | VmFlags::UFFD_MISSING | VmFlags::UFFD_WP)
            && !self.refuses_huge();
        wanted && self.map_huge(area, address, directory)
    }

    #[cold]
    fn map_huge(&self, area: &Area, address: usize, directory: Table) -> bool {
        if !stats::plenty_for_huge() {
            return false;
        }
        let Some(block) = frame::alloc_raw_block_zeroed(tables::HUGE_ORDER, Kind::Anon) else {
            return false;
        };
        let index = pte::index(address, 2);
        let bits = entry_bits(area.flags) | WRITABLE | Pte::LARGE;
        let guard = directory.lock();
        if !directory.get(index).is_none() {
            drop(guard);
            frame::free_block(block, tables::HUGE_ORDER);
            return false;
        }
        directory.set(index, Pte::new(u64::from(block) << 12, bits));
        directory.add_count(1);
        drop(guard);
        stats::add_huge(1);
        self.counts
            .anon
            .fetch_add(ENTRIES as i64, Ordering::Relaxed);
        true
    }

    /// Whether a huge page serves the access as it is, or after its last owner was given the right to write.
    fn huge_is_fine(&self, directory: Table, index: usize, write: bool) -> bool {
        let guard = directory.lock();
        let entry = directory.get(index);
        if !entry.is_large() {
            return false;
        }
        if write && !entry.is_writable() {
            let head = frame::meta(entry.pfn());
            head.lock();
            let alone = !head.is_broken() && head.owners() == 1;
            head.unlock();
            if !alone {
                return false;
            }
            directory.set(index, entry.with(WRITABLE));
        }
        drop(guard);
        pte::flush_page(0);
        true
    }

    /// Does for each page of the range what a touch would: `mlock`, `MAP_POPULATE`. Stops at the first failure.
    pub(super) fn populate(
        &self,
        map: &Map,
        start: usize,
        end: usize,
        write: Option<bool>,
    ) -> Result<()> {
        for area in map.areas.range(start, end) {
            let write = write.unwrap_or(
                area.flags.contains(VmFlags::WRITE) && !area.flags.contains(VmFlags::SHARED),
            );
            let access = FaultAccess {
                write,
                ..FaultAccess::default()
            };
            let mut at = start.max(area.start);
            while at < end.min(area.end) {
                let there = self.lookup(at);
                if there.is_some_and(|e| !write || e.is_writable()) {
                    at += PAGE_SIZE;
                    continue;
                }
                match self.bring_in(area, at, access) {
                    Ok(()) => {}
                    Err(Failure::NoMemory) => return Err(Errno::ENOMEM),
                    Err(Failure::Segv(_) | Failure::Bus | Failure::Watched(_)) => {
                        return Err(Errno::EFAULT);
                    }
                }
            }
        }
        Ok(())
    }

    /// The entry that maps `address` now, if any does; of a huge page, as if it were small. Its write bit is what the
    /// tables allow.
    pub(super) fn lookup(&self, address: usize) -> Option<Pte> {
        let entry = self.root.directory(address)?.get(pte::index(address, 2));
        if entry.is_none() {
            return None;
        }
        let slot = pte::index(address, 1);
        if entry.is_large() {
            let phys = entry.phys() + (slot * PAGE_SIZE) as u64;
            return Some(Pte::new(
                phys,
                entry.0 & (0xfff | Pte::NO_EXEC | Pte::PKEY) & !Pte::LARGE,
            ));
        }
        let page = Table::of(entry).get(slot);
        match entry.is_writable() {
            _ if page.is_none() => None,
            true => Some(page),
            false => Some(page.without(Pte::WRITE)),
        }
    }
}

/// Sets an entry unless somebody did already.
#[inline]
fn set_if_none(table: Table, slot: usize, entry: Pte) -> bool {
    let _guard = table.lock();
    if !table.get(slot).is_none() {
        return false;
    }
    table.set(slot, entry);
    table.add_count(1);
    true
}

/// Whether a page of a shared mapping may be written at once: always where nothing is to be noted on the first write.
#[inline]
fn shared_write_bits(area: &Area, kind: ObjectKind, write: bool) -> u64 {
    let may = area.flags.contains(VmFlags::SHARED | VmFlags::WRITE);
    // Without the flag the first write is to be noticed.
    let unnoticed = kind == ObjectKind::Shmem
        && area.flags.contains(VmFlags::SOFT_DIRTY)
        && !area.flags.contains(VmFlags::UFFD_WP);
    match may && (write || unnoticed) {
        true => WRITABLE,
        false => 0,
    }
}

/// How many pages to bring in for a fault at `slot`: as many as are there just before it, in powers of two from four
/// on, so that at most half of what is mapped was never asked for.
#[inline]
fn sequential_run(table: Table, slot: usize) -> usize {
    let mut run = 0;
    while run < AROUND && run < slot && !table.get(slot - run - 1).is_none() {
        run += 1;
    }
    match run {
        0..4 => 1,
        4..8 => 4,
        8..16 => 8,
        _ => AROUND,
    }
}
