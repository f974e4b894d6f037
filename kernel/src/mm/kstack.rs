//! Kernel stacks: 32 KiB in the vmap region with an unmapped guard page below. A stack that is given up keeps its
//! memory and goes to its CPU's cache, or to a shared one, until memory is short.
//!
//! A debug kernel fills new stacks with zeros, so that [`note_depth`] can tell how much of them was ever used.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::Result;
use ksync::IrqSpinLock;

use super::addr::PAGE_SIZE;
use super::kmap;
use crate::arch::uaccess;
use crate::per_cpu;
use crate::sync::PerCpu;

/// Bytes of a kernel stack.
pub const KSTACK_SIZE: usize = 32 << 10;
const PAGES: usize = KSTACK_SIZE / PAGE_SIZE;
/// Stacks a CPU keeps.
const KEPT: usize = 8;

/// A few stacks, by their tops.
struct Cache {
    tops: [usize; KEPT],
    len: usize,
}

static CACHES: PerCpu<IrqSpinLock<Cache>> = per_cpu!(IrqSpinLock::new(Cache {
    tops: [0; KEPT],
    len: 0
}));
/// Stacks that no CPU keeps.
static SHARED: IrqSpinLock<Vec<usize>> = IrqSpinLock::new(Vec::new());
/// Stacks that exist.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Pages of all stacks.
pub fn stack_pages() -> u64 {
    COUNT.load(Ordering::Relaxed) * PAGES as u64
}

/// A kernel stack. Dropping it gives it to a cache; it must not be the one in use.
pub struct KernelStack {
    top: usize,
}

impl KernelStack {
    /// A stack with any content. ENOMEM.
    pub fn new() -> Result<KernelStack> {
        let mut cache = CACHES.here().lock();
        if cache.len > 0 {
            cache.len -= 1;
            return Ok(KernelStack {
                top: cache.tops[cache.len],
            });
        }
        drop(cache);
        if let Some(top) = SHARED.lock().pop() {
            return Ok(KernelStack { top });
        }
        // The guard is the first page of the block; the block's own unmapped page follows the stack.
        let block = kmap::reserve(PAGES + 1)?;
        kmap::populate(block + PAGE_SIZE, PAGES)?;
        if cfg!(debug_assertions) {
            kmap::clear(block + PAGE_SIZE, PAGES);
        }
        COUNT.fetch_add(1, Ordering::Relaxed);
        Ok(KernelStack {
            top: block + PAGE_SIZE + KSTACK_SIZE,
        })
    }

    /// The address past its highest byte, page-aligned.
    #[inline]
    pub fn top(&self) -> usize {
        self.top
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut cache = CACHES.here().lock();
        let len = cache.len;
        if len < KEPT {
            cache.tops[len] = self.top;
            cache.len += 1;
            return;
        }
        drop(cache);
        let mut shared = SHARED.lock();
        if shared.try_reserve(1).is_ok() {
            shared.push(self.top);
        }
    }
}

/// The deepest use of any stack that was looked at, in bytes.
static DEEPEST: AtomicU64 = AtomicU64::new(0);

/// Looks how deep the stack that ends at `top` has been in use, and logs it if none was deeper, as Linux does with
/// `CONFIG_DEBUG_STACK_USAGE`. For debug kernels: others do not clear their stacks.
pub fn note_depth(top: usize, name: &str) {
    let bottom = top - KSTACK_SIZE;
    let untouched = (bottom..top)
        .step_by(size_of::<u64>())
        .take_while(|&at| uaccess::peek(at as u64) == Some(0))
        .count();
    let used = (KSTACK_SIZE - untouched * size_of::<u64>()) as u64;
    if used > DEEPEST.fetch_max(used, Ordering::Relaxed) {
        log::debug!("{name} used the deepest kernel stack so far: {used} bytes of {KSTACK_SIZE}");
    }
}
