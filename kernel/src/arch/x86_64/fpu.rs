//! Floating-point and vector state. Saved at every switch away from a user thread whose state is in the registers;
//! loaded when that thread next returns to user space, unless its state is still there.
//!
//! # Invariants
//! A thread's state is in the registers of the CPU that runs it exactly while its `LOCAL_FPU` bit is clear; else it is
//! in the area. The kernel itself is compiled without use of these registers.
//!
//! References: Intel SDM volume 1, chapter 13; Linux `arch/x86/include/uapi/asm/sigcontext.h`.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::asm;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::{Errno, Result};

use super::cpu::{self, CpuLocal};
use super::thread::{self, LOCAL_FPU, ThreadArch};
use super::{irq, pkru, uaccess};

/// Bytes of the legacy area.
pub(super) const FXSAVE_SIZE: usize = 512;
pub(super) const HEADER_SIZE: usize = 64;
/// Where Linux keeps its own words in the legacy area of a signal frame.
pub(super) const SW_RESERVED: usize = 464;
/// The control word and MXCSR that a program starts with.
pub(super) const INITIAL_CONTROL: u16 = 0x37f;
pub(super) const INITIAL_MXCSR: u32 = 0x1f80;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const NO_CPU: u32 = u32::MAX;

const KIND_FXSAVE: u8 = 0;
const KIND_XSAVE: u8 = 1;
const KIND_XSAVEOPT: u8 = 2;

// What the boot CPU found, set once before any thread exists.
static KIND: AtomicU8 = AtomicU8::new(KIND_FXSAVE);
static AREA_SIZE: AtomicU32 = AtomicU32::new(FXSAVE_SIZE as u32);
static FEATURES: AtomicU64 = AtomicU64::new(3);
/// Bytes of a signal frame's area: that of a thread, and what only frames have.
static FRAME_SIZE: AtomicU32 = AtomicU32::new(FXSAVE_SIZE as u32);
/// Where the rights by protection key are in a frame, if there are any.
static PKRU_OFFSET: AtomicU32 = AtomicU32::new(0);
/// Components that a thread's area has not, and a frame has.
const FRAME_ONLY: u64 = 1 << pkru::COMPONENT;
/// The lower half of the mask for a thread's area.
const AREA_MASK: i32 = !(FRAME_ONLY as i32);
static MXCSR_MASK: AtomicU32 = AtomicU32::new(0xffbf);

/// One thread's area: allocated for all its life, also for kernel threads, which may become user ones.
#[derive(Debug)]
pub struct FpuState {
    area: NonNull<u8>,
    /// The CPU whose registers last held this state.
    last_cpu: AtomicU32,
}

fn layout() -> Layout {
    let size = AREA_SIZE.load(Ordering::Relaxed) as usize;
    Layout::from_size_align(size, 64).expect("a size that the processor reports")
}

impl FpuState {
    /// The state that a program starts with.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new() -> Result<FpuState> {
        // SAFETY: the size is never zero.
        let area = NonNull::new(unsafe { alloc_zeroed(layout()) }).ok_or(Errno::ENOMEM)?;
        let state = FpuState {
            area,
            last_cpu: AtomicU32::new(NO_CPU),
        };
        state.set_initial();
        Ok(state)
    }

    fn bytes(&self) -> *mut u8 {
        self.area.as_ptr()
    }

    fn set_initial(&self) {
        // SAFETY: the area is ours, its state is not in any registers, and it is at least 576 bytes or 512.
        unsafe {
            ptr::write_bytes(self.bytes(), 0, layout().size());
            self.bytes().cast::<u16>().write(INITIAL_CONTROL);
            self.bytes().add(24).cast::<u32>().write(INITIAL_MXCSR);
        }
        self.last_cpu.store(NO_CPU, Ordering::Relaxed);
    }

    /// The area of a thread that does not run.
    pub(super) fn contents(&self) -> &[u8] {
        // SAFETY: of this size; written by the thread's CPU only when the thread is switched away from.
        unsafe { core::slice::from_raw_parts(self.bytes(), layout().size()) }
    }

    /// Changes the area of a thread that does not run; no CPU's registers hold the state any more.
    pub(super) fn replace(&self, change: impl FnOnce(&mut [u8])) {
        // SAFETY: as above; a tracer changes one thread at a time, and only while it is frozen.
        change(unsafe { core::slice::from_raw_parts_mut(self.bytes(), layout().size()) });
        self.last_cpu.store(NO_CPU, Ordering::Relaxed);
    }
}

/// Which components an image in the XSAVE format holds.
pub(super) fn present_in(image: &[u8]) -> u64 {
    let word = image.get(FXSAVE_SIZE..FXSAVE_SIZE + 8).unwrap_or_default();
    word.iter()
        .rev()
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// Bits of MXCSR that the processor has.
pub(super) fn mxcsr_mask() -> u32 {
    MXCSR_MASK.load(Ordering::Relaxed)
}

/// Bytes of a state.
pub(super) fn area_size() -> usize {
    AREA_SIZE.load(Ordering::Relaxed) as usize
}

impl Drop for FpuState {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, which does not change.
        unsafe { dealloc(self.bytes(), layout()) };
    }
}

/// Finds out how state is saved, and switches the processor's features on. Each CPU runs this.
pub(super) fn init_cpu(has_xsave: bool) {
    if !has_xsave {
        return;
    }
    /// x87, SSE, AVX and the three parts of AVX-512: states that need no permission and no other control bit.
    const WANTED: u64 = 0b1110_0111;
    let supported = core::arch::x86_64::__cpuid_count(0xd, 0);
    let mut features = (u64::from(supported.edx) << 32 | u64::from(supported.eax)) & WANTED;
    if features & 0b1110_0000 != 0b1110_0000 || features & 4 == 0 {
        features &= 0b111; // AVX-512 comes whole or not at all
    }
    // SAFETY: CR4.OSXSAVE is on (features.rs); the bits are ones that the processor reports.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") features as u32, in("edx") (features >> 32) as u32,
            options(nomem, nostack));
    }
    let size = core::arch::x86_64::__cpuid_count(0xd, 0).ebx;
    let mut frame_size = size;
    if pkru::exists() && supported.eax & FRAME_ONLY as u32 != 0 {
        let all = features | FRAME_ONLY;
        // SAFETY: as above.
        unsafe {
            asm!("xsetbv", in("ecx") 0, in("eax") all as u32, in("edx") (all >> 32) as u32,
                options(nomem, nostack));
        }
        frame_size = core::arch::x86_64::__cpuid_count(0xd, 0).ebx;
    }
    let optimised = core::arch::x86_64::__cpuid_count(0xd, 1).eax & 1 != 0;
    if cpu::current_id().0 == 0 {
        FEATURES.store(features, Ordering::Relaxed);
        AREA_SIZE.store(
            size.max((FXSAVE_SIZE + HEADER_SIZE) as u32),
            Ordering::Relaxed,
        );
        FRAME_SIZE.store(
            frame_size.max(AREA_SIZE.load(Ordering::Relaxed)),
            Ordering::Relaxed,
        );
        if frame_size != size {
            let component = core::arch::x86_64::__cpuid_count(0xd, pkru::COMPONENT);
            PKRU_OFFSET.store(component.ebx, Ordering::Relaxed);
        }
        KIND.store(
            if optimised { KIND_XSAVEOPT } else { KIND_XSAVE },
            Ordering::Relaxed,
        );
    }
}

/// Reads which MXCSR bits the processor has. Once, on the boot CPU.
pub(super) fn init_mask() {
    #[repr(align(16))]
    struct Area([u8; FXSAVE_SIZE]);
    let mut area = Area([0; FXSAVE_SIZE]);
    // SAFETY: 512 bytes, aligned.
    unsafe { asm!("fninit", "fxsave64 [{}]", in(reg) &mut area, options(nostack)) };
    let mask = u32::from_le_bytes([area.0[28], area.0[29], area.0[30], area.0[31]]);
    if mask != 0 {
        MXCSR_MASK.store(mask, Ordering::Relaxed);
    }
}

/// Saves the registers to an area.
///
/// # Safety
/// The area is 64-byte aligned, of the right size, and has a header that is clean or from an earlier save.
#[inline]
unsafe fn save_to(area: *mut u8) {
    // SAFETY: the caller's duty; all features are asked for.
    unsafe {
        match KIND.load(Ordering::Relaxed) {
            KIND_XSAVEOPT => {
                asm!("xsaveopt64 [{}]", in(reg) area, in("eax") AREA_MASK, in("edx") -1, options(nostack));
            }
            KIND_XSAVE => {
                asm!("xsave64 [{}]", in(reg) area, in("eax") AREA_MASK, in("edx") -1, options(nostack))
            }
            _ => asm!("fxsave64 [{}]", in(reg) area, options(nostack)),
        }
    }
}

/// Saves the outgoing thread's state if it is in the registers. They keep it: until another state is loaded, it can be
/// used again.
#[inline]
pub(super) fn save(prev: &ThreadArch, local: &CpuLocal) {
    if prev.local.load(Ordering::Relaxed) & LOCAL_FPU == 0 {
        // SAFETY: the thread's own area.
        unsafe { save_to(prev.fpu.bytes()) };
        local.fpu_owner.store(prev.fpu.bytes(), Ordering::Relaxed);
    }
}

/// Decides whether the incoming thread must load its state before it returns to user space.
#[inline]
pub(super) fn mark_for_load(next: &ThreadArch, local: &CpuLocal) {
    let here = local.fpu_owner.load(Ordering::Relaxed) == next.fpu.bytes()
        && next.fpu.last_cpu.load(Ordering::Relaxed) == local.id().0;
    next.local
        .store(if here { 0 } else { LOCAL_FPU }, Ordering::Relaxed);
}

/// Loads the running thread's state. With interrupts off.
pub(super) fn load(thread: &ThreadArch) {
    // SAFETY: the thread's own area, filled by a save or by `sanitise`.
    unsafe {
        match KIND.load(Ordering::Relaxed) {
            KIND_FXSAVE => asm!("fxrstor64 [{}]", in(reg) thread.fpu.bytes(), options(nostack)),
            _ => {
                asm!("xrstor64 [{}]", in(reg) thread.fpu.bytes(), in("eax") AREA_MASK, in("edx") -1, options(nostack));
            }
        }
    }
    claim(thread);
}

/// Notes that the registers hold the running thread's state.
fn claim(thread: &ThreadArch) {
    let local = cpu::local();
    local.fpu_owner.store(thread.fpu.bytes(), Ordering::Relaxed);
    thread.fpu.last_cpu.store(local.id().0, Ordering::Relaxed);
    thread.local.store(0, Ordering::Relaxed);
}

/// Brings the running thread's area up to date.
fn sync_area(thread: &ThreadArch) {
    let _irq = irq::IrqGuard::new();
    save(thread, cpu::local());
}

/// The states there are, as XCR0 counts them.
pub fn features() -> u64 {
    FEATURES.load(Ordering::Relaxed)
}

/// Whether states are saved in the extended format, with a header.
pub fn has_xsave() -> bool {
    KIND.load(Ordering::Relaxed) != KIND_FXSAVE
}

/// The largest signal frame: AT_MINSIGSTKSZ.
pub fn min_signal_stack() -> usize {
    /// The frame without the FPU state, and what aligning the two can cost.
    const FRAME: usize = 440 + 15 + 63;
    (FRAME + signal_frame_size()).next_multiple_of(16)
}

/// Gives a new thread the running thread's state, as fork does. `child` must not have run yet.
pub fn clone_from_current(child: &ThreadArch) {
    let parent = thread::current();
    if !parent.is_user() {
        return;
    }
    sync_area(parent);
    // SAFETY: two areas of the same size; the child's is not in use, the parent's changes only by the parent itself.
    unsafe { ptr::copy_nonoverlapping(parent.fpu.bytes(), child.fpu.bytes(), layout().size()) };
}

/// Gives the running thread the state that a program starts with, as exec does.
pub fn reset() {
    let thread = thread::current();
    let _irq = irq::IrqGuard::new();
    thread.local.store(LOCAL_FPU, Ordering::Relaxed);
    thread.fpu.set_initial();
    pkru::set(pkru::INITIAL);
}

/// The offset of the rights by protection key in a frame.
fn pkru_offset() -> Option<usize> {
    match PKRU_OFFSET.load(Ordering::Relaxed) {
        0 => None,
        offset => Some(offset as usize),
    }
}

/// The FPU part of a signal frame: bytes, and it goes on 64 bytes.
pub fn signal_frame_size() -> usize {
    let extra = if KIND.load(Ordering::Relaxed) == KIND_FXSAVE {
        0
    } else {
        4
    };
    FRAME_SIZE.load(Ordering::Relaxed) as usize + extra
}

/// A copy of the running thread's state for debuggers: parts that the processor did not save, since they are as at the
/// start, are filled in, and Linux's word says which features there are. `None` without memory for it.
pub fn copy_current() -> Option<Box<[u8]>> {
    let thread = thread::current();
    let size = layout().size();
    let mut copy = Vec::new();
    copy.try_reserve_exact(size).ok()?;
    sync_area(thread);
    // SAFETY: the thread's own area; nobody writes it while its thread is here.
    copy.extend_from_slice(unsafe { core::slice::from_raw_parts(thread.fpu.bytes(), size) });
    let features = FEATURES.load(Ordering::Relaxed).to_le_bytes();
    if let Some(header) = copy.get(FXSAVE_SIZE..FXSAVE_SIZE + HEADER_SIZE) {
        let present = header.first().copied().unwrap_or(0);
        if present & 1 == 0 {
            copy[..24].fill(0);
            copy[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
            copy[32..160].fill(0);
        }
        if present & 2 == 0 {
            copy[160..416].fill(0);
        }
        copy[SW_RESERVED..SW_RESERVED + 8].copy_from_slice(&features);
    }
    Some(copy.into_boxed_slice())
}

/// Writes the running thread's state to a signal frame, with Linux's magic words.
///
/// # Errors
/// `EFAULT`.
pub fn save_to_user(frame: usize) -> Result<()> {
    let size = FRAME_SIZE.load(Ordering::Relaxed) as usize;
    let area_size = AREA_SIZE.load(Ordering::Relaxed) as usize;
    let thread = thread::current();
    if !frame.is_multiple_of(64) || !uaccess::range_ok(frame, signal_frame_size()) {
        return Err(Errno::EFAULT);
    }
    if !save_live_to_user(thread, frame) {
        sync_area(thread);
        // SAFETY: the thread's own area; nobody writes it while its thread is here.
        let area = unsafe { core::slice::from_raw_parts(thread.fpu.bytes(), area_size) };
        uaccess::write_bytes(frame, area)?;
        write_pkru(frame, area)?;
    }
    let extended = KIND.load(Ordering::Relaxed) != KIND_FXSAVE;
    let mut words = [0u8; 48];
    if extended {
        words[..4].copy_from_slice(&MAGIC1.to_le_bytes());
        words[4..8].copy_from_slice(&(size as u32 + 4).to_le_bytes());
        words[8..16].copy_from_slice(&frame_features().to_le_bytes());
        words[16..20].copy_from_slice(&(size as u32).to_le_bytes());
        uaccess::write_bytes(frame + size, &MAGIC2.to_le_bytes())?;
    }
    uaccess::write_bytes(frame + SW_RESERVED, &words)
}

/// The components of a frame.
fn frame_features() -> u64 {
    let extra = if pkru_offset().is_some() {
        FRAME_ONLY
    } else {
        0
    };
    FEATURES.load(Ordering::Relaxed) | extra
}

/// Adds the rights by protection key to a frame into which an area was written.
fn write_pkru(frame: usize, area: &[u8]) -> Result<()> {
    let Some(offset) = pkru_offset() else {
        return Ok(());
    };
    let mut present = [0; 8];
    present.copy_from_slice(&area[FXSAVE_SIZE..FXSAVE_SIZE + 8]);
    let present = u64::from_le_bytes(present) | FRAME_ONLY;
    uaccess::write_bytes(frame + FXSAVE_SIZE, &present.to_le_bytes())?;
    uaccess::write_bytes(frame + offset, &pkru::get().to_le_bytes())
}

/// The rights by protection key in a frame; none denied where it leaves them out.
fn read_pkru(frame: usize) -> Result<u32> {
    let Some(offset) = pkru_offset() else {
        return Ok(0);
    };
    let (mut present, mut value) = ([0; 8], [0; 4]);
    uaccess::read_bytes(&mut present, frame + FXSAVE_SIZE)?;
    if u64::from_le_bytes(present) & FRAME_ONLY == 0 {
        return Ok(0);
    }
    uaccess::read_bytes(&mut value, frame + offset)?;
    Ok(u32::from_le_bytes(value))
}

/// Saves the registers straight to user memory, if they hold the thread's state and the memory is there.
fn save_live_to_user(thread: &ThreadArch, frame: usize) -> bool {
    if KIND.load(Ordering::Relaxed) == KIND_FXSAVE {
        return false;
    }
    if uaccess::write_bytes(frame + FXSAVE_SIZE, &[0; HEADER_SIZE]).is_err() {
        return false;
    }
    // With interrupts off a fault is not resolved but ends the instruction, so that no other thread's registers can
    // come in half way.
    let _irq = irq::IrqGuard::new();
    thread.local.load(Ordering::Relaxed) & LOCAL_FPU == 0 && uaccess::xsave(frame)
}

/// Reads the running thread's state back from a signal frame. A frame without the magic words counts as one with the
/// legacy part alone, as on Linux.
///
/// # Errors
/// `EFAULT` for memory that is not there, `EINVAL` for a state that the processor would refuse.
pub fn restore_from_user(frame: usize) -> Result<()> {
    if frame == 0 {
        reset();
        return Ok(());
    }
    let size = FRAME_SIZE.load(Ordering::Relaxed) as usize;
    let area_size = AREA_SIZE.load(Ordering::Relaxed) as usize;
    if !uaccess::range_ok(frame, signal_frame_size()) {
        return Err(Errno::EFAULT);
    }
    let thread = thread::current();
    let extended = has_magic(frame, size)?;
    if extended && frame.is_multiple_of(64) {
        let _irq = irq::IrqGuard::new();
        // Whatever happens, what the registers held is not wanted any more.
        if uaccess::xrstor(frame) {
            claim(thread);
            return Ok(());
        }
    }
    let take = if extended { area_size } else { FXSAVE_SIZE };
    let rights = if extended {
        read_pkru(frame)?
    } else {
        pkru::INITIAL
    };
    reset();
    // SAFETY: the thread's own area; the thread's state is in memory after `reset`, so nobody saves over it.
    let area = unsafe { core::slice::from_raw_parts_mut(thread.fpu.bytes(), area_size) };
    uaccess::read_bytes(&mut area[..take], frame)?;
    sanitise(area, extended)?;
    pkru::set(rights);
    Ok(())
}

/// Whether a frame has the words that say it is extended, and of our size.
fn has_magic(frame: usize, size: usize) -> Result<bool> {
    if KIND.load(Ordering::Relaxed) == KIND_FXSAVE {
        return Ok(false);
    }
    let mut words = [0u8; 20];
    uaccess::read_bytes(&mut words, frame + SW_RESERVED)?;
    let word =
        |at: usize| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
    if word(0) != MAGIC1 || word(16) as usize != size {
        return Ok(false);
    }
    let mut end = [0u8; 4];
    uaccess::read_bytes(&mut end, frame + size)?;
    Ok(u32::from_le_bytes(end) == MAGIC2)
}

/// Makes an area that user space wrote one that the processor accepts.
fn sanitise(area: &mut [u8], extended: bool) -> Result<()> {
    let mxcsr = u32::from_le_bytes([area[24], area[25], area[26], area[27]]);
    let clean = mxcsr & MXCSR_MASK.load(Ordering::Relaxed);
    area[24..28].copy_from_slice(&clean.to_le_bytes());
    let Some(header) = area.get_mut(FXSAVE_SIZE..FXSAVE_SIZE + HEADER_SIZE) else {
        return Ok(());
    };
    let mut present = [0; 8];
    present.copy_from_slice(&header[..8]);
    let present = if extended {
        u64::from_le_bytes(present)
    } else {
        3
    };
    let reserved = extended && header[8..].iter().any(|&b| b != 0);
    header.fill(0);
    header[..8].copy_from_slice(&(present & FEATURES.load(Ordering::Relaxed)).to_le_bytes());
    if reserved || present & !frame_features() != 0 {
        reset();
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// What caused a floating-point exception: unmasked flags of the x87 (`simd` false) or of SSE.
pub(super) fn exception_flags(simd: bool) -> u32 {
    let thread = thread::current();
    sync_area(thread);
    // SAFETY: the legacy area of the thread's own state.
    unsafe {
        let area = thread.fpu.bytes();
        if simd {
            let mxcsr = area.add(24).cast::<u32>().read();
            mxcsr & !(mxcsr >> 7) & 0x3f
        } else {
            let (control, status) = (area.cast::<u16>().read(), area.add(2).cast::<u16>().read());
            u32::from(status & !control & 0x3f) | u32::from(status & 0x240)
        }
    }
}
