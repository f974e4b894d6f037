//! Small objects: per-CPU lists before slabs of one frame each.
//!
//! A free object's first word links it to the next, so that lists need no memory of their own. Freeing needs no
//! search: the caller knows the size, and the frame's metadata is found by the address.

use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use ksync::IrqSpinLock;

use crate::buddy::NO_FRAME;
use crate::cache::{FrameAllocator, Priority};
use crate::meta::{FrameMeta, Kind};
use crate::{FRAME_SIZE, MAX_CPUS};

/// The largest object that comes from a slab.
pub const SLAB_MAX: usize = 2048;
/// Object sizes. Multiples of 16; the last frames of each waste under an eighth.
const SIZES: [u16; 22] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 672, 816, 1024,
    1360, 2048,
];
const CLASSES: usize = SIZES.len();
/// Ends a slab's list of free objects.
const NO_OBJECT: u32 = 0xffff;

/// Size in units of 16 bytes, rounded up -> class.
static CLASS_OF: [u8; SLAB_MAX / 16 + 1] = {
    let mut table = [0; SLAB_MAX / 16 + 1];
    let mut unit = 0;
    while unit < table.len() {
        let mut class = 0;
        while (SIZES[class] as usize) < unit * 16 {
            class += 1;
        }
        table[unit] = class as u8;
        unit += 1;
    }
    table
};

/// The class of an object size; powers of two up to a frame are aligned to their size.
#[inline(always)]
fn class_of(size: usize) -> usize {
    usize::from(CLASS_OF[size.div_ceil(16)])
}

/// How many objects move at once between a CPU and the slabs.
fn batch(class: usize) -> usize {
    (4096 / usize::from(SIZES[class])).clamp(4, 32)
}

/// Free objects of one class on one CPU.
#[derive(Clone, Copy)]
struct List {
    head: *mut u8,
    len: usize,
}

/// One CPU's lists.
///
/// # Invariants
/// `lists` is touched only by its CPU while `busy` is set by the same call.
#[repr(align(64))]
struct CpuLists {
    busy: AtomicBool,
    lists: UnsafeCell<[List; CLASSES]>,
}

// SAFETY: the invariant keeps `lists` on one CPU.
unsafe impl Sync for CpuLists {}

impl CpuLists {
    const fn new() -> CpuLists {
        CpuLists {
            busy: AtomicBool::new(false),
            lists: UnsafeCell::new(
                [List {
                    head: null_mut(),
                    len: 0,
                }; CLASSES],
            ),
        }
    }

    #[inline(always)]
    fn with<R>(&self, class: usize, f: impl FnOnce(&mut List) -> R) -> Option<R> {
        if self.busy.load(Ordering::Relaxed) {
            return None;
        }
        self.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::Acquire);
        // SAFETY: `busy` was false: no other use of this CPU's lists is under way.
        let result = f(unsafe { &mut (*self.lists.get())[class] });
        compiler_fence(Ordering::Release);
        self.busy.store(false, Ordering::Relaxed);
        Some(result)
    }
}

/// Slabs of one class that have free objects.
///
/// # Invariants
/// Of a slab, `refs` is the previous and `link` the next in the list; `count` is `in use << 16 | first free`, in units
/// of 8 bytes. Slabs without a free object are in no list.
struct Central {
    partial: u32,
    /// Objects that CPUs have, used or free.
    used: u32,
    slabs: u32,
}

/// One class of objects.
#[derive(Clone, Copy, Debug)]
pub struct ClassStats {
    /// Bytes of an object.
    pub size: usize,
    /// Objects handed out; those that a CPU keeps for the next who asks count as well.
    pub used: u64,
    pub slabs: u64,
    /// Objects of a slab.
    pub per_slab: u64,
}

/// The heap of small objects over a frame allocator.
pub struct SlabHeap {
    central: [IrqSpinLock<Central>; CLASSES],
    cpus: [CpuLists; MAX_CPUS],
    slabs: AtomicU64,
    /// Where frame 0 is mapped.
    base: AtomicUsize,
}

impl SlabHeap {
    /// A heap over frames that are mapped at `base + pfn * 4096`.
    pub const fn new(base: usize) -> SlabHeap {
        SlabHeap {
            central: [const {
                IrqSpinLock::new(Central {
                    partial: NO_FRAME,
                    used: 0,
                    slabs: 0,
                })
            }; CLASSES],
            cpus: [const { CpuLists::new() }; MAX_CPUS],
            slabs: AtomicU64::new(0),
            base: AtomicUsize::new(base),
        }
    }

    /// Frames in slabs.
    pub fn slab_frames(&self) -> u64 {
        self.slabs.load(Ordering::Relaxed)
    }

    /// Every class, smallest objects first.
    pub fn classes(&self) -> impl Iterator<Item = ClassStats> {
        SIZES.iter().zip(&self.central).map(|(&size, central)| {
            let central = central.lock();
            ClassStats {
                size: size.into(),
                used: central.used.into(),
                slabs: central.slabs.into(),
                per_slab: (FRAME_SIZE / usize::from(size)) as u64,
            }
        })
    }

    /// Whether two sizes live in the same class, so that a resize is nothing.
    pub fn same_class(a: usize, b: usize) -> bool {
        a <= SLAB_MAX && b <= SLAB_MAX && class_of(a) == class_of(b)
    }

    /// The slab size for a layout, or `None` when it needs whole frames.
    #[inline(always)]
    pub fn slab_size(size: usize, align: usize) -> Option<usize> {
        if align <= 16 {
            return (size <= SLAB_MAX).then_some(size);
        }
        // Powers of two are laid out from the frame's start, hence aligned to themselves.
        let size = size.max(align).checked_next_power_of_two()?;
        matches!(size, 32 | 64 | 128 | 256 | 512 | 1024 | 2048).then_some(size)
    }

    /// An object of at least `size` bytes, at most [`SLAB_MAX`]. `cpu` is the CPU that this runs on.
    #[inline]
    pub fn alloc(&self, frames: &FrameAllocator, cpu: usize, size: usize) -> *mut u8 {
        let class = class_of(size);
        let popped = self.cpus[cpu].with(class, |list| {
            if list.head.is_null() {
                *list = self.take(frames, cpu, class, batch(class));
                if list.head.is_null() {
                    return null_mut();
                }
            }
            let object = list.head;
            // SAFETY: a listed object is free memory of this heap whose first word is the next one's address.
            list.head = unsafe { object.cast::<*mut u8>().read() };
            list.len -= 1;
            object
        });
        match popped {
            Some(object) => object,
            None => self.take(frames, cpu, class, 1).head,
        }
    }

    /// Frees an object of [`SlabHeap::alloc`] with the same `size`.
    ///
    /// # Safety
    /// `object` came from this heap for a size of the same class and is not used any more.
    #[inline]
    pub unsafe fn free(&self, frames: &FrameAllocator, cpu: usize, object: *mut u8, size: usize) {
        let class = class_of(size);
        let pushed = self.cpus[cpu].with(class, |list| {
            // SAFETY: the caller gave the object up, and every object has room for a word.
            unsafe { object.cast::<*mut u8>().write(list.head) };
            list.head = object;
            list.len += 1;
            if list.len > 2 * batch(class) {
                self.give(frames, cpu, class, list, batch(class));
            }
        });
        if pushed.is_none() {
            // SAFETY: as above.
            unsafe { object.cast::<*mut u8>().write(null_mut()) };
            let mut one = List {
                head: object,
                len: 1,
            };
            self.give(frames, cpu, class, &mut one, 1);
        }
    }

    fn base(&self) -> usize {
        self.base.load(Ordering::Relaxed)
    }

    /// A list of up to `want` objects from the slabs; makes a slab when there is none.
    #[cold]
    fn take(&self, frames: &FrameAllocator, cpu: usize, class: usize, want: usize) -> List {
        let mut list = List {
            head: null_mut(),
            len: 0,
        };
        let mut central = self.central[class].lock();
        while list.len < want {
            if central.partial == NO_FRAME {
                if list.len != 0 {
                    break;
                }
                let Some(pfn) = frames.alloc(cpu, Kind::Slab, Priority::Kernel) else {
                    break;
                };
                self.slabs.fetch_add(1, Ordering::Relaxed);
                self.carve(frames.meta(pfn), pfn, class);
                central.partial = pfn;
                central.slabs += 1;
            }
            let pfn = central.partial;
            let meta = frames.meta(pfn);
            let slab = self.base() + pfn as usize * FRAME_SIZE;
            let mut count = meta.count.load(Ordering::Relaxed);
            while list.len < want && count & 0xffff != NO_OBJECT {
                let object = (slab + (count & 0xffff) as usize * 8) as *mut u8;
                // SAFETY: the offset is that of a free object of this slab; its first word is the next one's offset.
                let next = unsafe { object.cast::<u64>().read() } as u32;
                // SAFETY: the object is now ours.
                unsafe { object.cast::<*mut u8>().write(list.head) };
                list.head = object;
                list.len += 1;
                count = ((count & 0xffff_0000) + 0x1_0000) | next;
            }
            meta.count.store(count, Ordering::Relaxed);
            if count & 0xffff == NO_OBJECT {
                unlink(&mut central, frames, pfn);
            }
        }
        central.used += list.len as u32;
        list
    }

    /// Makes a new frame a slab of free objects, alone in a list.
    fn carve(&self, meta: &FrameMeta, pfn: u32, class: usize) {
        let slab = self.base() + pfn as usize * FRAME_SIZE;
        let size = usize::from(SIZES[class]);
        let objects = FRAME_SIZE / size;
        for i in 0..objects {
            let next = match i + 1 < objects {
                true => ((i + 1) * size / 8) as u64,
                false => u64::from(NO_OBJECT),
            };
            // SAFETY: the frame is ours and mapped at `slab`; the object lies inside it.
            unsafe { ((slab + i * size) as *mut u64).write(next) };
        }
        meta.refs.store(NO_FRAME, Ordering::Relaxed);
        meta.link.store(NO_FRAME, Ordering::Relaxed);
        meta.count.store(0, Ordering::Relaxed);
    }

    /// Moves `want` objects from `list` back to their slabs; frees slabs that are empty, but not the last one.
    #[cold]
    fn give(
        &self,
        frames: &FrameAllocator,
        cpu: usize,
        class: usize,
        list: &mut List,
        want: usize,
    ) {
        for _ in 0..want {
            let object = list.head;
            if object.is_null() {
                break;
            }
            // SAFETY: a listed object's first word is the next one's address.
            list.head = unsafe { object.cast::<*mut u8>().read() };
            list.len -= 1;
            let offset = object as usize - self.base();
            let pfn = (offset / FRAME_SIZE) as u32;
            let meta = frames.meta(pfn);
            let mut central = self.central[class].lock();
            let count = meta.count.load(Ordering::Relaxed);
            // SAFETY: the object is free and belongs to this slab.
            unsafe { object.cast::<u64>().write(u64::from(count & 0xffff)) };
            let now = ((count & 0xffff_0000) - 0x1_0000) | ((offset % FRAME_SIZE) / 8) as u32;
            meta.count.store(now, Ordering::Relaxed);
            central.used -= 1;
            if count & 0xffff == NO_OBJECT {
                link(&mut central, frames, pfn);
            }
            let alone = central.partial == pfn && meta.link.load(Ordering::Relaxed) == NO_FRAME;
            if now >> 16 == 0 && !alone {
                unlink(&mut central, frames, pfn);
                central.slabs -= 1;
                drop(central);
                self.slabs.fetch_sub(1, Ordering::Relaxed);
                frames.free(cpu, pfn);
            }
        }
    }
}

/// Puts a slab at the front of its class's list.
fn link(central: &mut Central, frames: &FrameAllocator, pfn: u32) {
    let meta = frames.meta(pfn);
    meta.refs.store(NO_FRAME, Ordering::Relaxed);
    meta.link.store(central.partial, Ordering::Relaxed);
    if central.partial != NO_FRAME {
        frames
            .meta(central.partial)
            .refs
            .store(pfn, Ordering::Relaxed);
    }
    central.partial = pfn;
}

/// Takes a slab out of its class's list.
fn unlink(central: &mut Central, frames: &FrameAllocator, pfn: u32) {
    let meta = frames.meta(pfn);
    let (next, prev) = (
        meta.link.load(Ordering::Relaxed),
        meta.refs.load(Ordering::Relaxed),
    );
    if prev == NO_FRAME {
        central.partial = next;
    } else {
        frames.meta(prev).link.store(next, Ordering::Relaxed);
    }
    if next != NO_FRAME {
        frames.meta(next).refs.store(prev, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::alloc::Layout;

    /// Frames backed by real memory, aligned to a frame.
    fn arena(frames: usize) -> (&'static FrameAllocator, SlabHeap) {
        let layout = Layout::from_size_align(frames * FRAME_SIZE, FRAME_SIZE).expect("layout");
        // SAFETY: the layout is not empty.
        let base = unsafe { std::alloc::alloc(layout) } as usize;
        let meta: Vec<FrameMeta> = (0..frames).map(|_| FrameMeta::default()).collect();
        let allocator = Box::leak(Box::new(FrameAllocator::new()));
        // SAFETY: leaked, zeroed, called once.
        unsafe { allocator.init(Box::leak(meta.into_boxed_slice()).as_mut_ptr(), frames) };
        allocator.add_range(0, frames as u32);
        (allocator, SlabHeap::new(base))
    }

    #[test]
    fn sizes_ascend_and_every_size_has_a_class_that_holds_it() {
        assert!(SIZES.windows(2).all(|w| w[0] < w[1] && w[0] % 16 == 0));
        for size in 0..=SLAB_MAX {
            assert!(usize::from(SIZES[class_of(size)]) >= size);
        }
    }

    #[test]
    fn power_of_two_alignment_holds() {
        let (frames, heap) = arena(64);
        for align in [16usize, 32, 64, 128, 256, 512, 2048] {
            let size = SlabHeap::slab_size(24, align).expect("small");
            for _ in 0..5 {
                assert_eq!(heap.alloc(frames, 0, size) as usize % align, 0);
            }
        }
    }

    #[test]
    fn memory_comes_back_when_objects_are_freed() {
        let (frames, heap) = arena(256);
        for size in [16usize, 100, 1000, 2048] {
            let all: Vec<_> = (0..300)
                .map(|_| heap.alloc(frames, 0, size))
                .filter(|p| !p.is_null())
                .collect();
            for p in all {
                // SAFETY: allocated above with this size.
                unsafe { heap.free(frames, 0, p, size) };
            }
            assert!(heap.slab_frames() < 80, "{}", heap.slab_frames());
        }
    }

    proptest! {
        #[test]
        fn objects_never_overlap(ops in prop::collection::vec((1usize..=SLAB_MAX, any::<bool>(), any::<usize>(), 0usize..2), 1..400)) {
            let (frames, heap) = arena(512);
            let mut held: Vec<(*mut u8, usize, u8)> = Vec::new();
            for (n, (size, free, pick, cpu)) in ops.into_iter().enumerate() {
                if free && !held.is_empty() {
                    let (p, size, tag) = held.swap_remove(pick % held.len());
                    // SAFETY: allocated below with this size and still held.
                    unsafe {
                        prop_assert!((0..size).all(|i| p.add(i).read() == tag));
                        heap.free(frames, cpu, p, size);
                    }
                } else {
                    let p = heap.alloc(frames, cpu, size);
                    prop_assert!(!p.is_null());
                    let tag = n as u8;
                    // SAFETY: `size` bytes were just allocated.
                    unsafe { core::ptr::write_bytes(p, tag, size) };
                    held.push((p, size, tag));
                }
            }
        }
    }
}
