//! The frame allocator: per-CPU caches of single frames before the buddy allocator.

use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering, compiler_fence,
};

use ksync::IrqSpinLock;

use crate::MAX_CPUS;
use crate::buddy::{Buddy, MAX_ORDER};
use crate::meta::{FrameMeta, KINDS, Kind};

/// Frames a CPU keeps at most.
const CACHE: usize = 128;
/// Frames moved at once between a CPU's cache and the buddy allocator.
const BATCH: usize = 48;

/// Who asks, when little is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// Memory of processes and caches: leaves the reserve alone.
    User,
    /// The kernel's own needs, which would else fail in places that cannot wait: may use the reserve.
    Kernel,
}

/// One CPU's stack of frames.
///
/// # Invariants
/// `inner` is touched only by its CPU between `enter` and `leave`; `busy` tells interrupt handlers to keep out.
#[repr(align(64))]
struct CpuCache {
    busy: AtomicBool,
    /// Mirrors `inner.len`, for counting by other CPUs.
    len: AtomicUsize,
    /// Single frames handed out here less those taken back here, by kind. Only sums over CPUs mean anything.
    kinds: [AtomicI64; KINDS],
    inner: UnsafeCell<Stack>,
}

struct Stack {
    len: usize,
    frames: [u32; CACHE],
}

// SAFETY: the invariant keeps `inner` on one CPU; the rest is atomic.
unsafe impl Sync for CpuCache {}

impl CpuCache {
    const fn new() -> CpuCache {
        CpuCache {
            busy: AtomicBool::new(false),
            len: AtomicUsize::new(0),
            kinds: [const { AtomicI64::new(0) }; KINDS],
            inner: UnsafeCell::new(Stack {
                len: 0,
                frames: [0; CACHE],
            }),
        }
    }

    /// Runs `f` on the stack unless an interrupted user of it is below us.
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut Stack) -> R) -> Option<R> {
        if self.busy.load(Ordering::Relaxed) {
            return None;
        }
        self.busy.store(true, Ordering::Relaxed);
        // The partner is an interrupt handler on this CPU: program order is all that is needed.
        compiler_fence(Ordering::Acquire);
        // SAFETY: `busy` was false, so nobody else on this CPU is between here and the store below.
        let stack = unsafe { &mut *self.inner.get() };
        let result = f(stack);
        self.len.store(stack.len, Ordering::Relaxed);
        compiler_fence(Ordering::Release);
        self.busy.store(false, Ordering::Relaxed);
        Some(result)
    }

    /// Counts frames of a kind; inside `with`, so that nobody else on this CPU does.
    #[inline(always)]
    fn note(&self, kind: Kind, change: i64) {
        let count = &self.kinds[kind as usize];
        count.store(count.load(Ordering::Relaxed) + change, Ordering::Relaxed);
    }
}

/// Hands out frames.
///
/// # Invariants
/// `meta` and `frames` are set once, by [`FrameAllocator::init`], before any frame exists.
pub struct FrameAllocator {
    meta: AtomicPtr<FrameMeta>,
    frames: AtomicUsize,
    buddy: IrqSpinLock<Buddy>,
    /// Mirrors the buddy allocator's count.
    free: AtomicU64,
    /// All frames ever added.
    total: AtomicU64,
    /// What [`Priority::User`] leaves free.
    reserve: AtomicU64,
    /// Called when [`Priority::Kernel`] takes from the reserve, with interrupts as they are and perhaps off.
    on_dip: IrqSpinLock<Option<fn()>>,
    /// Frames handed out past the per-CPU caches, by kind.
    kinds: [AtomicI64; KINDS],
    cpus: [CpuCache; MAX_CPUS],
}

impl Default for FrameAllocator {
    fn default() -> Self {
        FrameAllocator::new()
    }
}

impl FrameAllocator {
    /// An allocator without frames.
    pub const fn new() -> FrameAllocator {
        FrameAllocator {
            meta: AtomicPtr::new(core::ptr::null_mut()),
            frames: AtomicUsize::new(0),
            buddy: IrqSpinLock::new(Buddy::new()),
            free: AtomicU64::new(0),
            total: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
            on_dip: IrqSpinLock::new(None),
            kinds: [const { AtomicI64::new(0) }; KINDS],
            cpus: [const { CpuCache::new() }; MAX_CPUS],
        }
    }

    /// Sets the metadata array.
    ///
    /// # Safety
    /// `meta` points to `frames` zeroed entries that live as long as the allocator; called once, before all else.
    pub unsafe fn init(&self, meta: *mut FrameMeta, frames: usize) {
        self.meta.store(meta, Ordering::Relaxed);
        self.frames.store(frames, Ordering::Release);
    }

    fn metas(&self) -> &[FrameMeta] {
        let frames = self.frames.load(Ordering::Acquire);
        if frames == 0 {
            return &[];
        }
        // SAFETY: `init`'s caller promised as many valid entries.
        unsafe { core::slice::from_raw_parts(self.meta.load(Ordering::Relaxed), frames) }
    }

    /// The metadata of a frame; `pfn` is one that this allocator knows.
    #[inline(always)]
    pub fn meta(&self, pfn: u32) -> &FrameMeta {
        debug_assert!((pfn as usize) < self.frames.load(Ordering::Relaxed));
        // SAFETY: frame numbers come from this allocator or were checked by `knows`, so they are inside the array.
        unsafe { &*self.meta.load(Ordering::Relaxed).add(pfn as usize) }
    }

    /// Whether there is metadata for `pfn`.
    #[inline(always)]
    pub fn knows(&self, pfn: u64) -> bool {
        pfn < self.frames.load(Ordering::Relaxed) as u64
    }

    /// Adds the frames `[start, end)`, which were reserved until now.
    pub fn add_range(&self, start: u32, end: u32) {
        if start >= end {
            return;
        }
        let mut buddy = self.buddy.lock();
        buddy.free_range(self.metas(), start, end);
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
        self.total
            .fetch_add(u64::from(end - start), Ordering::Relaxed);
    }

    /// Sets how many frames are kept for [`Priority::Kernel`].
    pub fn set_reserve(&self, frames: u64) {
        self.reserve.store(frames, Ordering::Relaxed);
    }

    /// Frames kept for [`Priority::Kernel`].
    pub fn reserve(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
    }

    /// All frames.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Frames that nobody uses.
    pub fn free_count(&self) -> u64 {
        let cached: usize = self
            .cpus
            .iter()
            .map(|c| c.len.load(Ordering::Relaxed))
            .sum();
        self.free.load(Ordering::Relaxed) + cached as u64
    }

    /// Free blocks per order.
    pub fn block_counts(&self) -> [u64; MAX_ORDER as usize + 1] {
        self.buddy.lock().block_counts(self.metas())
    }

    /// Has `told` called whenever the kernel's own needs are met from the reserve, so that whoever caused them can be
    /// made to wait where that is possible. It must neither allocate nor wait.
    pub fn set_on_dip(&self, told: fn()) {
        *self.on_dip.lock() = Some(told);
    }

    fn above_reserve(&self, wanted: u64) -> bool {
        self.free.load(Ordering::Relaxed)
            >= self.reserve.load(Ordering::Relaxed).saturating_add(wanted)
    }

    /// Whether frames may be taken: users' above the reserve, the kernel's always.
    fn may_take(&self, wanted: u64, priority: Priority) -> bool {
        if self.above_reserve(wanted) {
            return true;
        }
        if priority == Priority::Kernel {
            let told = *self.on_dip.lock();
            if let Some(told) = told {
                told();
            }
        }
        priority == Priority::Kernel
    }

    /// Whether a refill for [`Priority::User`] would be granted.
    pub fn has_user_frames(&self) -> bool {
        self.above_reserve(BATCH as u64)
    }

    /// One frame with one owner. `cpu` is the CPU that this runs on, and it stays there.
    #[inline]
    pub fn alloc(&self, cpu: usize, kind: Kind, priority: Priority) -> Option<u32> {
        let cache = &self.cpus[cpu];
        let popped = cache.with(|stack| {
            if stack.len == 0 && !self.refill(stack, priority) {
                return None;
            }
            cache.note(kind, 1);
            stack.len -= 1;
            Some(stack.frames[stack.len])
        });
        let pfn = match popped {
            Some(pfn) => pfn?,
            None => {
                let pfn = self.alloc_shared(0, priority)?;
                self.note(kind, 1);
                pfn
            }
        };
        self.meta(pfn).start(kind);
        Some(pfn)
    }

    #[cold]
    fn refill(&self, stack: &mut Stack, priority: Priority) -> bool {
        if !self.may_take(BATCH as u64, priority) {
            return false;
        }
        let mut buddy = self.buddy.lock();
        while stack.len < BATCH {
            let Some(pfn) = buddy.alloc(self.metas(), 0) else {
                break;
            };
            stack.frames[stack.len] = pfn;
            stack.len += 1;
        }
        // Popped from the end: hand out ascending addresses.
        stack.frames[..stack.len].reverse();
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
        stack.len != 0
    }

    fn alloc_shared(&self, order: u8, priority: Priority) -> Option<u32> {
        if !self.may_take(1 << order, priority) {
            return None;
        }
        let mut buddy = self.buddy.lock();
        let pfn = buddy.alloc(self.metas(), order)?;
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
        Some(pfn)
    }

    /// A block of `2^order` frames; the first one's metadata has one owner, the others are idle.
    pub fn alloc_block(&self, order: u8, kind: Kind, priority: Priority) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        let pfn = self.alloc_shared(order, priority)?;
        self.note(kind, 1 << order);
        self.meta(pfn).start(kind);
        Some(pfn)
    }

    fn note(&self, kind: Kind, change: i64) {
        self.kinds[kind as usize].fetch_add(change, Ordering::Relaxed);
    }

    /// Frames in use for `kind`.
    pub fn count_of(&self, kind: Kind) -> u64 {
        let cpus = self.cpus.iter().map(|c| &c.kinds);
        let sum: i64 = cpus
            .chain([&self.kinds])
            .map(|k| k[kind as usize].load(Ordering::Relaxed))
            .sum();
        sum.max(0) as u64
    }

    /// Exactly `frames` contiguous frames, without rounding up to a power of two.
    pub fn alloc_exact(&self, frames: usize, kind: Kind, priority: Priority) -> Option<u32> {
        let order = frames.next_power_of_two().trailing_zeros() as u8;
        let pfn = self.alloc_block(order, kind, priority)?;
        let used = u32::try_from(frames).ok()?;
        if used < 1 << order {
            self.note(kind, -((1 << order) - i64::from(used)));
            let mut buddy = self.buddy.lock();
            buddy.free_range(self.metas(), pfn + used, pfn + (1 << order));
            self.free.store(buddy.free_frames(), Ordering::Relaxed);
        }
        Some(pfn)
    }

    /// Frees a frame whose last owner is gone.
    #[inline]
    pub fn free(&self, cpu: usize, pfn: u32) {
        let cache = &self.cpus[cpu];
        let meta = self.meta(pfn);
        let cached = cache.with(|stack| {
            if stack.len == CACHE {
                self.drain(stack, BATCH);
            }
            cache.note(meta.kind(), -1);
            meta.set_kind(Kind::Idle);
            stack.frames[stack.len] = pfn;
            stack.len += 1;
        });
        if cached.is_none() {
            self.free_block(pfn, 0);
        }
    }

    #[cold]
    fn drain(&self, stack: &mut Stack, count: usize) {
        let count = count.min(stack.len);
        let mut buddy = self.buddy.lock();
        // The bottom of the stack is the coldest.
        for &pfn in &stack.frames[..count] {
            buddy.free(self.metas(), pfn, 0);
        }
        stack.frames.copy_within(count..stack.len, 0);
        stack.len -= count;
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
    }

    /// Gives this CPU's cached frames back, so that they can join into blocks.
    pub fn drain_cpu(&self, cpu: usize) {
        self.cpus[cpu].with(|stack| self.drain(stack, CACHE));
    }

    /// Frees a block from [`FrameAllocator::alloc_block`] whose last owner is gone.
    pub fn free_block(&self, pfn: u32, order: u8) {
        self.note(self.meta(pfn).kind(), -(1 << order));
        let mut buddy = self.buddy.lock();
        buddy.free(self.metas(), pfn, order);
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
    }

    /// Frees `frames` contiguous frames from [`FrameAllocator::alloc_exact`].
    pub fn free_exact(&self, pfn: u32, frames: u32) {
        self.note(self.meta(pfn).kind(), -i64::from(frames));
        let mut buddy = self.buddy.lock();
        buddy.free_range(self.metas(), pfn, pfn + frames);
        self.free.store(buddy.free_frames(), Ordering::Relaxed);
    }

    /// Makes the frames of a block, whose head has `owners` owners, single frames with as many each.
    pub fn split_block(&self, pfn: u32, order: u8, owners: u32) {
        let kind = self.meta(pfn).kind();
        for part in pfn + 1..pfn + (1 << order) {
            self.meta(part).start(kind);
            self.meta(part).refs.store(owners, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn allocator(frames: usize) -> Arc<FrameAllocator> {
        let meta: Vec<FrameMeta> = (0..frames).map(|_| FrameMeta::default()).collect();
        let allocator = Arc::new(FrameAllocator::new());
        let meta = Box::leak(meta.into_boxed_slice());
        // SAFETY: leaked, zeroed, called once.
        unsafe { allocator.init(meta.as_mut_ptr(), frames) };
        allocator.add_range(1, frames as u32);
        allocator
    }

    #[test]
    fn every_frame_is_handed_out_once() {
        let a = allocator(1000);
        let mut seen = HashSet::new();
        while let Some(p) = a.alloc(0, Kind::Anon, Priority::Kernel) {
            assert!(seen.insert(p));
        }
        assert_eq!(seen.len(), 999);
        assert_eq!(a.free_count(), 0);
        seen.iter().for_each(|&p| a.free(0, p));
        assert_eq!(a.free_count(), 999);
    }

    #[test]
    fn users_leave_the_reserve_to_the_kernel() {
        let a = allocator(1000);
        a.set_reserve(300);
        let mut n = 0;
        while a.alloc(0, Kind::Anon, Priority::User).is_some() {
            n += 1;
        }
        assert!((600..=700).contains(&n), "{n}");
        assert!(a.alloc(0, Kind::Kernel, Priority::Kernel).is_some());
    }

    #[test]
    fn an_exact_block_gives_its_tail_back() {
        let a = allocator(1025);
        let before = a.free_count();
        let p = a
            .alloc_exact(9, Kind::Kernel, Priority::Kernel)
            .expect("block");
        assert_eq!(a.free_count(), before - 9);
        a.free_exact(p, 9);
        assert_eq!(a.free_count(), before);
        assert!(a.alloc_block(9, Kind::Kernel, Priority::Kernel).is_some());
    }

    #[test]
    fn frames_are_counted_by_kind() {
        let a = allocator(2000);
        let one = a.alloc(0, Kind::Anon, Priority::User).expect("frame");
        let huge = a.alloc_block(9, Kind::Anon, Priority::User).expect("block");
        let odd = a
            .alloc_exact(5, Kind::Kernel, Priority::User)
            .expect("block");
        assert_eq!(a.count_of(Kind::Anon), 513);
        assert_eq!(a.count_of(Kind::Kernel), 5);
        a.free(1, one);
        a.free_exact(odd, 5);
        a.split_block(huge, 9, 1);
        (huge..huge + 512).for_each(|p| a.free(0, p));
        assert_eq!(a.count_of(Kind::Anon) + a.count_of(Kind::Kernel), 0);
        a.drain_cpu(0);
        a.drain_cpu(1);
        assert_eq!(a.free_count(), 1999);
    }

    #[test]
    fn references_are_counted() {
        let a = allocator(100);
        let p = a.alloc(0, Kind::Anon, Priority::User).expect("frame");
        a.meta(p).get();
        assert!(!a.meta(p).put());
        assert!(a.meta(p).put());
    }

    #[test]
    fn cpus_in_parallel_lose_nothing() {
        let a = allocator(20_000);
        let threads: Vec<_> = (0..4)
            .map(|cpu| {
                let a = a.clone();
                std::thread::spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..20_000usize {
                        if round % 7 < 4 {
                            held.extend(a.alloc(cpu, Kind::Anon, Priority::User));
                        } else if let Some(p) = held.pop() {
                            a.free(cpu, p);
                        }
                    }
                    held.into_iter().for_each(|p| a.free(cpu, p));
                    a.drain_cpu(cpu);
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().expect("thread"));
        assert_eq!(a.free_count(), 19_999);
    }
}
