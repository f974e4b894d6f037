//! What the kernel lends to drivers.

use core::ptr::NonNull;

use devapi::{DeviceError, Result};
use spin::Once;

/// The machine as drivers see it.
///
/// # Safety
/// - `map_mmio` answers an address where `bytes` bytes of device registers at `phys` are mapped, uncached, for good;
///   it refuses anything that is memory of the kernel.
/// - `map_framebuffer` answers the same, write-combining instead of uncached.
/// - `dma_alloc` answers zeroed, page-aligned, physically contiguous memory that nobody else uses until `dma_free`.
/// - `phys_of` answers the address a device uses for memory made by `dma_alloc`.
pub unsafe trait Platform: Sync {
    fn map_mmio(&self, phys: u64, bytes: usize) -> Option<NonNull<u8>>;

    /// As `map_mmio`, for memory that shows on a screen: writes may be combined and delayed.
    fn map_framebuffer(&self, phys: u64, bytes: usize) -> Option<NonNull<u8>> {
        self.map_mmio(phys, bytes)
    }

    /// Physical and virtual address of `pages` pages.
    fn dma_alloc(&self, pages: usize) -> Option<(u64, NonNull<u8>)>;

    /// # Safety
    /// The memory came from `dma_alloc` with the same `pages`, and neither device nor driver uses it any more.
    unsafe fn dma_free(&self, phys: u64, virt: NonNull<u8>, pages: usize);

    fn phys_of(&self, virt: NonNull<u8>) -> u64;

    /// Nanoseconds from an unknown start.
    fn now_ns(&self) -> u64;

    /// Passes a short time while a device is being waited for.
    fn relax(&self);
}

static PLATFORM: Once<&'static dyn Platform> = Once::new();

/// Makes the machine known; only the first call counts.
pub fn set_platform(platform: &'static dyn Platform) {
    PLATFORM.call_once(|| platform);
}

/// # Panics
/// Where a driver is started before the kernel called [`set_platform`].
pub(super) fn platform() -> &'static dyn Platform {
    *PLATFORM
        .get()
        .expect("the kernel sets the platform before it starts drivers")
}

pub fn now_ns() -> u64 {
    platform().now_ns()
}

/// Counts down the time limit of a wait.
pub struct Waiter {
    start_ns: u64,
    limit_ns: u64,
    polls: u32,
}

impl Waiter {
    pub fn new(limit_ns: u64) -> Self {
        Self {
            start_ns: now_ns(),
            limit_ns,
            polls: 0,
        }
    }

    /// `Timeout` when the limit is over. It is over only after some polls, however long the machine stood still
    /// meanwhile (a paused virtual machine's clock jumps).
    pub fn pause(&mut self) -> Result<()> {
        const LEAST_POLLS: u32 = 1000;
        self.polls = self.polls.saturating_add(1);
        let over = now_ns().wrapping_sub(self.start_ns) > self.limit_ns;
        if over && self.polls > LEAST_POLLS {
            return Err(DeviceError::Timeout);
        }
        platform().relax();
        Ok(())
    }
}

/// Polls `ready` until it holds or `limit_ns` is over.
pub fn wait_for(limit_ns: u64, mut ready: impl FnMut() -> bool) -> Result<()> {
    let mut waiter = Waiter::new(limit_ns);
    while !ready() {
        waiter.pause()?;
    }
    Ok(())
}
