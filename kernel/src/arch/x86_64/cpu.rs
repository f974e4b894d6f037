//! Processors: which one this is, how many there are, and each one's own data, found by GS in the kernel.

use core::arch::asm;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::descriptors::{Gdt, Tss};
use super::thread::ThreadArch;

/// Processors that the kernel can use.
pub const MAX_CPUS: usize = 64;
/// Interrupt vectors.
pub const VECTORS: usize = 256;

/// A processor's number: 0 is the one that booted, no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u32);

impl CpuId {
    /// As an index of per-CPU arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// As a bit of a mask.
    #[inline]
    pub fn bit(self) -> u64 {
        1 << (self.0 & 63)
    }
}

/// One processor's data. The assembly knows the offsets of the first fields.
///
/// # Invariants
/// From `install` on, GS points to this CPU's own instance whenever the kernel runs, so that cells are only touched by
/// their CPU; the atomics are also read by others.
#[repr(C)]
pub struct CpuLocal {
    /// Its own address: `gs:[0]` turns the segment into a pointer.
    this: Cell<*const CpuLocal>,
    /// The thread that runs here.
    pub(super) current: Cell<*const ThreadArch>,
    /// Where `syscall` parks the user's stack pointer for an instant.
    user_rsp: Cell<u64>,
    id: u32,
    /// Its `rsp0` is the kernel stack of the current thread: for interrupts by the processor, for `syscall` by us.
    pub(super) tss: Tss,
    pub(super) gdt: Gdt,
    apic_id: AtomicU32,
    /// Whose FPU registers these are: a thread's state area, or null.
    pub(super) fpu_owner: AtomicPtr<u8>,
    /// Interrupts taken, by vector, for `/proc/interrupts`.
    pub(super) interrupts: [AtomicU64; VECTORS],
    /// Depth of interrupt handlers (0 or 1, as they do not nest).
    pub(super) in_interrupt: AtomicU32,
}

pub(super) const CURRENT: usize = offset_of!(CpuLocal, current);
pub(super) const USER_RSP: usize = offset_of!(CpuLocal, user_rsp);
pub(super) const RSP0: usize = offset_of!(CpuLocal, tss) + Tss::RSP0;
pub(super) const ID: usize = offset_of!(CpuLocal, id);

// SAFETY: see the invariants: other CPUs touch only the atomics.
unsafe impl Sync for CpuLocal {}
// SAFETY: as above; a CPU's data is built by the CPU that starts it and then handed over.
unsafe impl Send for CpuLocal {}

impl CpuLocal {
    pub(super) const fn new(id: u32, apic_id: u32) -> CpuLocal {
        CpuLocal {
            this: Cell::new(ptr::null()),
            current: Cell::new(ptr::null()),
            user_rsp: Cell::new(0),
            id,
            tss: Tss::new(),
            gdt: Gdt::new(),
            apic_id: AtomicU32::new(apic_id),
            fpu_owner: AtomicPtr::new(ptr::null_mut()),
            interrupts: [const { AtomicU64::new(0) }; VECTORS],
            in_interrupt: AtomicU32::new(0),
        }
    }

    /// Makes this the data of the CPU that runs it.
    pub(super) fn install(&'static self) {
        self.this.set(self);
        // SAFETY: nothing relied on GS before; from here on the invariant above holds.
        unsafe { super::msr::write(super::msr::GS_BASE, ptr::from_ref(self) as u64) };
        CPUS[self.id as usize].store(ptr::from_ref(self).cast_mut(), Ordering::Release);
    }

    /// Its number.
    pub fn id(&self) -> CpuId {
        CpuId(self.id)
    }

    /// Its local APIC's id.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    pub(super) fn set_apic_id(&self, id: u32) {
        self.apic_id.store(id, Ordering::Relaxed);
    }
}

/// The boot processor's data: needed before there is memory to allocate.
pub(super) static BOOT_CPU: CpuLocal = CpuLocal::new(0, 0);
static CPUS: [AtomicPtr<CpuLocal>; MAX_CPUS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];
/// CPUs that run; they are numbered from 0 without gaps. Release by the starter, Acquire by readers of per-CPU data.
static ONLINE: AtomicUsize = AtomicUsize::new(1);

/// This CPU's data.
#[inline(always)]
pub fn local() -> &'static CpuLocal {
    let this: *const CpuLocal;
    // SAFETY: GS points to this CPU's data, whose first field is its address.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) this, options(nostack, pure, readonly, preserves_flags))
    };
    // SAFETY: per-CPU data lives for ever.
    unsafe { &*this }
}

/// Which CPU this is. May be stale at once unless interrupts are off or the caller cannot be moved.
#[inline(always)]
pub fn current_id() -> CpuId {
    let id: u32;
    // SAFETY: GS points to this CPU's data.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) id, const ID, options(nostack, readonly, preserves_flags));
    }
    CpuId(id)
}

/// Completes all instructions before it fetches the next: what was written as code is executed as written from here on.
pub fn serialize() {
    let _ = core::arch::x86_64::__cpuid(0);
}

/// CPUs that run.
#[inline]
pub fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// The CPUs that run, a bit each.
#[inline]
pub fn online_mask() -> u64 {
    u64::MAX >> (64 - online().min(64))
}

pub(super) fn set_online(count: usize) {
    ONLINE.store(count, Ordering::Release);
}

/// All CPUs that run.
pub fn all() -> impl Iterator<Item = CpuId> {
    (0..online() as u32).map(CpuId)
}

/// The data of a CPU that has been started.
pub fn by_id(id: CpuId) -> Option<&'static CpuLocal> {
    let pointer = CPUS.get(id.index())?.load(Ordering::Acquire);
    // SAFETY: either null or stored by `install`, and per-CPU data lives for ever.
    unsafe { pointer.as_ref() }
}

/// Whether this CPU is inside an interrupt handler.
pub fn in_interrupt() -> bool {
    local().in_interrupt.load(Ordering::Relaxed) != 0
}

/// Waits for the next interrupt. To be called with interrupts off, so that a wake-up between the caller's last check and
/// here is not lost; they are on afterwards.
#[inline]
pub fn halt_until_interrupt() {
    // SAFETY: `sti` takes effect after the next instruction, so nothing can come in between.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops this CPU.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: nothing is left to do on this CPU.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// The time-stamp counter.
#[inline(always)]
pub fn tsc() -> u64 {
    // SAFETY: reads a counter, which every 64-bit processor has.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A breath inside a spin loop.
#[inline(always)]
pub fn relax() {
    core::hint::spin_loop();
}

/// A set of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuMask(pub u64);

impl CpuMask {
    /// All CPUs that run.
    pub fn online() -> CpuMask {
        CpuMask(online_mask())
    }

    /// Just `cpu`.
    pub fn of(cpu: CpuId) -> CpuMask {
        CpuMask(cpu.bit())
    }

    pub fn contains(self, cpu: CpuId) -> bool {
        self.0 & CpuMask::of(cpu).0 != 0
    }

    #[must_use]
    pub fn without(self, cpu: CpuId) -> CpuMask {
        CpuMask(self.0 & !CpuMask::of(cpu).0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The CPUs in it, in order.
    pub fn iter(self) -> impl Iterator<Item = CpuId> {
        (0..64).map(CpuId).filter(move |&cpu| self.contains(cpu))
    }
}
