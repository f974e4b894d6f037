//! The start of memory management: metadata for every frame, the kernel's own page tables, and the free memory handed to
//! the allocator. Runs once on the boot CPU, before anything allocates.
use frames::FrameMeta;

use super::addr::{HHDM_BASE, PAGE_SIZE, VMAP_BASE};
use super::frame::{self, FRAMES};
use super::hooks;
use super::page_table::{KernelTables, load_kernel_root};
use crate::arch::layout;
use crate::arch::pte::{self, Pte};
use crate::boot::{self, BootInfo, MemoryKind, MemoryRange};

const DATA: u64 =
    Pte::PRESENT | Pte::WRITE | Pte::ACCESSED | Pte::DIRTY | Pte::GLOBAL | Pte::NO_EXEC;
const HUGE: u64 = 2 << 20;

/// Hands out memory from one usable range, before there is an allocator.
struct Early {
    next: u64,
    end: u64,
}

impl Early {
    /// `bytes` zeroed bytes, page-aligned.
    fn take(&mut self, bytes: u64) -> u64 {
        let at = self.next;
        self.next += bytes.next_multiple_of(PAGE_SIZE as u64);
        assert!(
            self.next <= self.end,
            "too little memory in one piece to start"
        );
        // SAFETY: usable memory inside the early direct map, which nobody else has been given.
        unsafe { core::ptr::write_bytes((HHDM_BASE + at as usize) as *mut u8, 0, bytes as usize) };
        at
    }
}

/// Sets up frames, kernel tables and heap.
///
/// # Panics
/// With less memory than a few MiB in one piece.
pub fn init() {
    let info = boot::info();
    pte::init_cpu();
    let ranges = info.memory_map.ranges();
    let frames = metadata_frames(ranges);
    let meta_bytes = frames * size_of::<FrameMeta>() as u64;
    let early = pick(info, ranges, meta_bytes);
    let mut memory = Early {
        next: early.start,
        end: early.end.min(info.early_mapped),
    };
    let meta = memory.take(meta_bytes);
    // SAFETY: zeroed memory in the direct map, kept for ever; this runs once and first.
    unsafe {
        FRAMES.init(
            (HHDM_BASE + meta as usize) as *mut FrameMeta,
            frames as usize,
        )
    };
    build_tables(info, ranges, &mut memory);
    let taken = early.start..memory.next;
    let mut free = 0;
    for range in ranges {
        let usable = matches!(range.kind, MemoryKind::Usable | MemoryKind::BootReclaimable);
        if usable {
            free += add(range.start, range.end, &taken, frames);
        }
    }
    // What the kernel may need at moments when it cannot wait: a sixty-fourth, 1 to 64 MiB.
    FRAMES.set_reserve((free / 64).clamp(256, 16384));
    FRAMES.set_on_dip(|| hooks::get().took_from_reserve());
    frame::init_zero_page();
    log::info!(
        "memory: {} MiB free, {} KiB of metadata and tables",
        free >> 8,
        (memory.next - early.start) >> 10
    );
}

/// Any other CPU's part: the memory types, and the kernel's tables instead of those it was started with.
pub fn init_other_cpu() {
    pte::init_cpu();
    load_kernel_root();
}

/// Adds what of `[start, end)` is not taken; answers how many frames that is.
fn add(start: u64, end: u64, taken: &core::ops::Range<u64>, frames: u64) -> u64 {
    let page = PAGE_SIZE as u64;
    let below = (start, end.min(taken.start));
    let above = (start.max(taken.end), end);
    let mut added = 0;
    for (from, to) in [below, above] {
        let (from, to) = (from / page, (to / page).min(frames));
        if from < to {
            FRAMES.add_range(from as u32, to as u32);
            added += to - from;
        }
    }
    added
}

/// How many frames get metadata: up to the last usable one, unless a hole would make the array cost more than an eighth
/// of the memory that it describes.
fn metadata_frames(ranges: &[MemoryRange]) -> u64 {
    let mut usable = 0;
    let mut frames = 0;
    for range in ranges.iter().filter(|r| r.kind.is_ram()) {
        let end = range.end / PAGE_SIZE as u64;
        let cost = end * size_of::<FrameMeta>() as u64;
        if (usable + range.len()) / 8 < cost || end > u64::from(u32::MAX) / 2 {
            log::warn!(
                "memory above {:#x} lies too far out to be used",
                range.start
            );
            break;
        }
        usable += range.len();
        frames = end;
    }
    frames
}

/// The usable range for metadata and the first tables: the largest within the early direct map.
fn pick(info: &BootInfo, ranges: &[MemoryRange], meta_bytes: u64) -> MemoryRange {
    let reachable = |r: &MemoryRange| r.end.min(info.early_mapped).saturating_sub(r.start);
    let best = ranges
        .iter()
        .filter(|r| r.kind == MemoryKind::Usable && r.start >= 1 << 20)
        .max_by_key(|r| reachable(r));
    match best {
        Some(range) if reachable(range) > meta_bytes + HUGE => *range,
        _ => panic!("no usable memory for {} KiB of metadata", meta_bytes >> 10),
    }
}

/// The kernel's tables: all RAM at the direct map, the image with the rights of its segments, room for vmap.
fn build_tables(info: &BootInfo, ranges: &[MemoryRange], memory: &mut Early) {
    let mut alloc = || (memory.take(PAGE_SIZE as u64) >> 12) as u32;
    let mut tables = KernelTables::new(&mut alloc);
    // Firmware's tables lie in the first MiB, whatever the map says of it.
    let mut done = 1 << 20;
    tables.map(HHDM_BASE, 0, done as usize, DATA, false);
    for range in ranges.iter().filter(|r| r.kind.is_ram()) {
        let start = range.start.max(done);
        if start < range.end {
            map_direct(&mut tables, start, range.end);
            done = range.end;
        }
    }
    for segment in layout::segments() {
        let offset = segment.start - layout::image_start();
        let mut bits = DATA;
        if !segment.writable {
            bits &= !(Pte::WRITE | Pte::DIRTY);
        }
        if segment.executable {
            bits &= !Pte::NO_EXEC;
        }
        let len = (segment.end - segment.start) as usize;
        let phys = info.kernel_phys + offset;
        tables.map(segment.start as usize, phys, len, bits, false);
        // The same memory seen through the direct map has no more rights.
        let alias = HHDM_BASE + phys as usize;
        tables.remap_small(alias, len, bits | Pte::NO_EXEC);
    }
    tables.reserve(VMAP_BASE);
    // SAFETY: all RAM, the image and the boot CPU's stack inside it are mapped as before.
    unsafe { tables.install() };
}

/// Maps RAM at the direct map, in large pages where it can.
fn map_direct(tables: &mut KernelTables<'_>, start: u64, end: u64) {
    let virt = HHDM_BASE + start as usize;
    tables.map(virt, start, (end - start) as usize, DATA, true);
}
