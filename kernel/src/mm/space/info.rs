//! What `/proc/<pid>/{stat,statm,status,maps,smaps}` show.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::mman::Prot;
use frames::Kind;
use vm::VmFlags;

use super::content::{Area, AreaFile, Shown};
use super::map::pages_of;
use super::{AddressSpace, Map};
use crate::arch::pte::{self, Pte};
use crate::mm::addr::{HUGE_SIZE, PAGE_SIZE};
use crate::mm::frame;
use crate::mm::object::MappedFile;
use crate::mm::page_table::Table;

/// Sizes, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub total: u64,
    pub peak: u64,
    pub rss_anon: u64,
    pub rss_file: u64,
    pub rss_shmem: u64,
    pub rss_peak: u64,
    /// Private, writable, not a stack: `VmData`.
    pub data: u64,
    pub stack: u64,
    /// Private, executable, not writable: `VmExe` and `VmLib` together.
    pub exec: u64,
    pub locked: u64,
    pub tables: u64,
}

impl Totals {
    /// Resident pages.
    pub fn rss(&self) -> u64 {
        self.rss_anon + self.rss_file + self.rss_shmem
    }
}

/// One line of `/proc/<pid>/maps`.
pub struct VmaInfo<'a> {
    pub start: usize,
    pub end: usize,
    pub prot: Prot,
    pub shared: bool,
    /// Byte offset in the object.
    pub offset: u64,
    pub file: Option<&'a Arc<dyn MappedFile>>,
    /// Shared anonymous memory, which Linux shows as `/dev/zero (deleted)`.
    pub shared_anonymous: bool,
    /// `[heap]`, `[stack]`, or empty.
    pub name: &'static str,
    /// What the program calls anonymous memory.
    pub own_name: Option<&'a [u8]>,
    pub flags: VmFlags,
}

/// Pages of an area as `/proc/<pid>/smaps` counts them, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmapsInfo {
    pub rss: u64,
    pub pss: Share,
    pub pss_dirty: Share,
    pub pss_anon: Share,
    pub pss_file: Share,
    pub pss_shmem: Share,
    /// How often the page is mapped that is mapped most often.
    pub mapped_most: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub referenced: u64,
    pub anonymous: u64,
    pub anon_huge: u64,
}

/// Bytes of pages, each divided by how often it is mapped; kept to a 4096th of a byte, as on Linux.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share(u64);

impl Share {
    /// Whole bytes.
    pub fn bytes(self) -> u64 {
        self.0 >> 12
    }

    fn add(&mut self, size: u64, mappings: u64) {
        self.0 += (size << 12) / mappings;
    }
}

fn positive(value: i64) -> u64 {
    value.max(0) as u64
}

impl Map {
    /// `[heap]` or `[stack]`, by what overlaps the break or the stack's start, as on Linux.
    fn name_of(&self, area: &Area) -> &'static str {
        let exec = &self.layout.exec;
        let anon = matches!(area.content, Shown::Anon);
        if anon && area.start < self.layout.brk && area.end > exec.start_brk {
            return "[heap]";
        }
        match area.contains(exec.start_stack) {
            true => "[stack]",
            false => "",
        }
    }

    fn info<'a>(&'a self, area: &'a Area) -> VmaInfo<'a> {
        let mut prot = Prot::empty();
        prot.set(Prot::READ, area.flags.contains(VmFlags::READ));
        prot.set(Prot::WRITE, area.flags.contains(VmFlags::WRITE));
        prot.set(Prot::EXEC, area.flags.contains(VmFlags::EXEC));
        let (offset, file) = match &area.content {
            Shown::Object(place) => (place.offset, place.file.as_ref().map(AreaFile::get)),
            Shown::Anon => (0, None),
        };
        VmaInfo {
            start: area.start,
            end: area.end,
            prot,
            shared: area.flags.contains(VmFlags::SHARED),
            offset,
            file,
            shared_anonymous: matches!(&area.content, Shown::Object(p) if p.file.is_none()),
            name: self.name_of(area),
            own_name: self.names.of(area.flags),
            flags: area.flags,
        }
    }
}

impl AddressSpace {
    /// Sizes now.
    pub fn totals(&self) -> Totals {
        let map = self.map.read();
        let sum = |wanted: &dyn Fn(VmFlags) -> bool| -> u64 {
            let areas = map.areas.iter().filter(|a| wanted(a.flags));
            areas.map(|a| pages_of(a.len())).sum()
        };
        let counts = &self.counts;
        Totals {
            total: map.total,
            peak: map.peak_total,
            rss_anon: positive(counts.anon.load(Ordering::Relaxed)),
            rss_file: positive(counts.file.load(Ordering::Relaxed)),
            rss_shmem: positive(counts.shmem.load(Ordering::Relaxed)),
            rss_peak: self.note_peak(),
            data: map.data,
            stack: sum(&|f| f.contains(VmFlags::GROWS_DOWN)),
            exec: sum(&|f| {
                f.contains(VmFlags::EXEC) && !f.intersects(VmFlags::WRITE | VmFlags::GROWS_DOWN)
            }),
            locked: map.locked,
            // The top-level table is the space's as well.
            tables: positive(counts.tables.load(Ordering::Relaxed)) + 1,
        }
    }

    /// Areas now.
    pub fn area_count(&self) -> usize {
        self.map.read().areas.len()
    }

    /// Resident pages and tables: what the OOM killer rates. Takes no lock.
    pub fn badness_pages(&self) -> u64 {
        self.rss() + positive(self.counts.tables.load(Ordering::Relaxed))
    }

    /// The most that was ever resident, in KiB (`ru_maxrss`).
    pub fn max_rss_kib(&self) -> u64 {
        self.note_peak() * (PAGE_SIZE as u64 / 1024)
    }

    /// Calls `f` for each mapping in order of address. `f` must not touch user memory of this space.
    pub fn for_each_vma(&self, f: &mut dyn FnMut(&VmaInfo<'_>)) {
        let map = self.map.read();
        for area in map.areas.iter() {
            f(&map.info(area));
        }
    }

    /// The same with what is resident of each.
    pub fn for_each_vma_smaps(&self, f: &mut dyn FnMut(&VmaInfo<'_>, &SmapsInfo)) {
        let map = self.map.read();
        for area in map.areas.iter() {
            let mut smaps = SmapsInfo::default();
            self.for_each_span(area.start, area.end, |directory, index, at, end| {
                let entry = directory.get(index);
                if entry.is_large() {
                    smaps.huge(entry);
                    return;
                }
                let table = Table::of(entry);
                let sharers = table.meta().owners();
                let first = pte::index(at, 1);
                for slot in first..first + (end - at) / PAGE_SIZE {
                    let page = table.get(slot);
                    if !page.is_none() && !page.is_uncounted() {
                        smaps.page(page, sharers);
                    }
                }
            });
            f(&map.info(area), &smaps);
        }
    }
}

impl SmapsInfo {
    /// Counts a page that `sharers` spaces reach through the same table.
    fn page(&mut self, entry: Pte, sharers: u32) {
        let meta = frame::meta(entry.pfn());
        let mappings = match meta.kind() {
            Kind::Anon => meta.owners(),
            _ => meta.count.load(Ordering::Relaxed),
        };
        let mappings = u64::from(mappings.max(1)) + u64::from(sharers.saturating_sub(1));
        let size = PAGE_SIZE as u64;
        self.rss += size;
        let dirty = entry.0 & Pte::DIRTY != 0;
        self.share(size, mappings, meta.kind(), dirty);
        match (mappings > 1, dirty) {
            (true, true) => self.shared_dirty += size,
            (true, false) => self.shared_clean += size,
            (false, true) => self.private_dirty += size,
            (false, false) => self.private_clean += size,
        }
        if entry.0 & Pte::ACCESSED != 0 {
            self.referenced += size;
        }
        if meta.kind() == Kind::Anon {
            self.anonymous += size;
        }
    }

    fn share(&mut self, size: u64, mappings: u64, kind: Kind, dirty: bool) {
        self.pss.add(size, mappings);
        if dirty {
            self.pss_dirty.add(size, mappings);
        }
        let of_kind = match kind {
            Kind::Anon => &mut self.pss_anon,
            Kind::Shmem => &mut self.pss_shmem,
            _ => &mut self.pss_file,
        };
        of_kind.add(size, mappings);
        self.mapped_most = self.mapped_most.max(mappings);
    }

    /// Adds another's shares, for a sum.
    pub fn add_shares(&mut self, other: &SmapsInfo) {
        self.pss.0 += other.pss.0;
        self.pss_dirty.0 += other.pss_dirty.0;
        self.pss_anon.0 += other.pss_anon.0;
        self.pss_file.0 += other.pss_file.0;
        self.pss_shmem.0 += other.pss_shmem.0;
    }

    fn huge(&mut self, entry: Pte) {
        let meta = frame::meta(entry.pfn());
        let mappings = u64::from(meta.owners().max(1));
        let size = HUGE_SIZE as u64;
        self.rss += size;
        self.share(size, mappings, Kind::Anon, true);
        if entry.0 & Pte::ACCESSED != 0 {
            self.referenced += size;
        }
        self.anonymous += size;
        self.anon_huge += size;
        match mappings > 1 {
            true => self.shared_dirty += size,
            false => self.private_dirty += size,
        }
    }
}
