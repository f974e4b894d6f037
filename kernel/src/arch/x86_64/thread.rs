//! A thread's processor state, and the switch from one thread to another.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::Result;

use super::debug::{self, DebugState};
use super::entry::{enter_user_asm, kernel_thread_start, switch_stacks, user_thread_start};
use super::features::{self, Feature};
use super::fpu::{self, FpuState};
use super::ioperm::{self, PortRights};
use super::msr::{self, cr4};
use super::pkru;
use super::{cpu, descriptors, irq};

/// Another task should have the CPU.
pub const WORK_RESCHED: u32 = 1;
/// A signal may have to be delivered.
pub const WORK_SIGNAL: u32 = 2;
/// Something else is to be done before returning to user space.
pub const WORK_NOTIFY: u32 = 4;
/// The kernel took from the memory reserve for this task.
pub const WORK_MEMORY: u32 = 8;
/// The thread was switched away from, and has registered a restartable sequence.
pub const WORK_RSEQ: u32 = 16;
/// The bits for which `task::exit_to_user_work` is called.
pub(super) const WORK_EXIT: u32 =
    WORK_RESCHED | WORK_SIGNAL | WORK_NOTIFY | WORK_MEMORY | WORK_RSEQ;

/// System-call work: a tracer stops the thread at the call's entry and exit (`PTRACE_SYSCALL`).
pub const SYSCALL_TRACE: u32 = 1;
/// System-call work: a tracer stops the thread at the entry and the call is not made (`PTRACE_SYSEMU`).
pub const SYSCALL_EMULATE: u32 = 2;
/// System-call work: seccomp decides about the call.
pub const SYSCALL_SECCOMP: u32 = 4;
/// System-call work: calls from outside a range of code become signals (`PR_SET_SYSCALL_USER_DISPATCH`).
pub const SYSCALL_DISPATCH: u32 = 8;
/// System-call work: the thread is single-stepped, and the call is a step.
pub const SYSCALL_STEP: u32 = 16;
/// In `local`: the FPU registers are not this thread's; its state is in memory.
pub(super) const LOCAL_FPU: u32 = 1;

/// A thread's registers in user space, as Linux's `struct pt_regs`. At the top of the kernel stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct UserRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The number of the system call; negative if the entry was none.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl UserRegs {
    /// The registers of a program about to start: all zero but where it runs.
    pub fn for_start(rip: u64, rsp: u64) -> UserRegs {
        UserRegs {
            orig_rax: u64::MAX,
            rip,
            cs: u64::from(descriptors::USER_CS),
            rflags: 0x202,
            rsp,
            ss: u64::from(descriptors::USER_SS),
            ..UserRegs::default()
        }
    }

    /// Whether they are of user space.
    pub fn user_mode(&self) -> bool {
        self.cs & 3 == 3
    }
}

/// What the entry code and the switch keep of a thread: the first field of `Task`.
///
/// # Invariants
/// - The first 8 bytes are the work words: the assembly tests them as one.
/// - `kernel_sp`, `fs_base`, `gs_base` and the FPU are touched by the CPU that runs the thread or switches to it, or by
///   who prepares the thread before it first runs.
#[repr(C)]
pub struct ThreadArch {
    pub(super) work: AtomicU32,
    pub(super) local: AtomicU32,
    syscall_work: AtomicU32,
    kernel_sp: UnsafeCell<u64>,
    kernel_stack_top: u64,
    fs_base: AtomicU64,
    /// Its rights by protection key while it does not run.
    pkru: AtomicU32,
    gs_base: AtomicU64,
    pub(super) fpu: FpuState,
    /// Reading the time stamp counter faults in user space (`PR_SET_TSC`).
    no_tsc: AtomicBool,
    /// `HAS_*` bits. Changed by the thread, by who prepares it, and by a tracer while it does not run.
    has: AtomicU8,
    pub(super) debug: DebugState,
    pub(super) ports: PortRights,
}

/// In `has`: a user space, so that FPU state and segment bases are switched.
const HAS_USER: u8 = 1;
/// In `has`: breakpoints.
const HAS_DEBUG: u8 = 2;
/// In `has`: ports that user space may use.
const HAS_PORTS: u8 = 4;

// SAFETY: see the invariants; a thread runs on one CPU at a time and the run queue orders the hand-over.
unsafe impl Sync for ThreadArch {}
// SAFETY: as above.
unsafe impl Send for ThreadArch {}

impl ThreadArch {
    /// A thread on a kernel stack that ends at `kernel_stack_top`.
    ///
    /// # Errors
    /// `ENOMEM` when there is no memory for the FPU state.
    pub fn new(kernel_stack_top: usize) -> Result<ThreadArch> {
        Ok(ThreadArch {
            work: AtomicU32::new(0),
            local: AtomicU32::new(LOCAL_FPU),
            syscall_work: AtomicU32::new(0),
            kernel_sp: UnsafeCell::new(0),
            kernel_stack_top: kernel_stack_top as u64,
            fs_base: AtomicU64::new(0),
            pkru: AtomicU32::new(pkru::INITIAL),
            gs_base: AtomicU64::new(0),
            fpu: FpuState::new()?,
            no_tsc: AtomicBool::new(false),
            has: AtomicU8::new(0),
            debug: DebugState::default(),
            ports: PortRights::default(),
        })
    }

    /// The work bits.
    #[inline(always)]
    pub fn work(&self) -> u32 {
        self.work.load(Ordering::Acquire)
    }

    /// Sets work bits. Whoever set up the work did so before.
    #[inline]
    pub fn mark(&self, bits: u32) {
        self.work.fetch_or(bits, Ordering::AcqRel);
    }

    /// Clears work bits; does not write when they are clear already.
    #[inline]
    pub fn unmark(&self, bits: u32) {
        if self.work.load(Ordering::Relaxed) & bits != 0 {
            self.work.fetch_and(!bits, Ordering::AcqRel);
        }
    }

    /// Who wants to see the thread's system calls: `SYSCALL_*` bits.
    #[inline(always)]
    pub fn syscall_work(&self) -> u32 {
        self.syscall_work.load(Ordering::Acquire)
    }

    /// Sets `SYSCALL_*` bits: they hold from the thread's next system call on. Whoever set up the work did so before.
    pub fn watch_syscalls(&self, bits: u32) {
        self.syscall_work.fetch_or(bits, Ordering::AcqRel);
    }

    /// Clears `SYSCALL_*` bits.
    pub fn unwatch_syscalls(&self, bits: u32) {
        self.syscall_work.fetch_and(!bits, Ordering::AcqRel);
    }

    /// The address past the thread's kernel stack.
    pub fn stack_top(&self) -> usize {
        self.kernel_stack_top as usize
    }

    /// Where the thread's user registers are.
    pub fn regs_address(&self) -> u64 {
        self.kernel_stack_top - size_of::<UserRegs>() as u64
    }

    /// Where a thread that does not run will go on: its saved return address and frame pointer, for `wchan`.
    pub fn saved_frame(&self) -> (u64, u64) {
        // SAFETY: volatile reads of a live stack; stale values are only shown.
        unsafe {
            let sp = self.kernel_sp.get().read_volatile();
            if sp < self.kernel_stack_top - 32768 || sp > self.kernel_stack_top - 64 {
                return (0, 0);
            }
            (
                (sp as *const u64).add(6).read_volatile(),
                (sp as *const u64).add(5).read_volatile(),
            )
        }
    }

    /// The FS base: of the running thread as the register has it, else as saved.
    pub fn fs_base(&self) -> u64 {
        if core::ptr::eq(self, current()) && features::has(Feature::FSGSBASE) {
            return read_fs_base();
        }
        self.fs_base.load(Ordering::Relaxed)
    }

    /// The GS base of user space.
    pub fn gs_base(&self) -> u64 {
        if core::ptr::eq(self, current()) && features::has(Feature::FSGSBASE) {
            // SAFETY: every 64-bit processor has it.
            return unsafe { msr::read(msr::KERNEL_GS_BASE) };
        }
        self.gs_base.load(Ordering::Relaxed)
    }

    /// Sets the FS base; the caller has checked that it is a user address.
    pub fn set_fs_base(&self, base: u64) {
        let _irq = irq::IrqGuard::new();
        self.fs_base.store(base, Ordering::Relaxed);
        if core::ptr::eq(self, current()) {
            write_fs_base(base);
        }
    }

    /// Sets the GS base of user space; the caller has checked that it is a user address.
    pub fn set_gs_base(&self, base: u64) {
        let _irq = irq::IrqGuard::new();
        self.gs_base.store(base, Ordering::Relaxed);
        if core::ptr::eq(self, current()) {
            // SAFETY: a canonical user address, brought in by the next swapgs.
            unsafe { msr::write(msr::KERNEL_GS_BASE, base) };
        }
    }

    /// Makes a new thread's FPU state and segment bases those of `parent`, which is the running thread.
    ///
    /// # Errors
    /// `ENOMEM` when there is no memory for the map of ports.
    pub fn copy_user_state(&self, parent: &ThreadArch) -> Result<()> {
        fpu::clone_from_current(self);
        self.pkru.store(pkru::get(), Ordering::Relaxed);
        self.fs_base.store(parent.fs_base(), Ordering::Relaxed);
        self.gs_base.store(parent.gs_base(), Ordering::Relaxed);
        self.no_tsc.store(parent.forbids_tsc(), Ordering::Relaxed);
        self.ports.copy_from(&parent.ports)?;
        self.set_port_use(parent.uses_ports());
        Ok(())
    }

    /// Whether user space may not read the time stamp counter.
    pub fn forbids_tsc(&self) -> bool {
        self.no_tsc.load(Ordering::Relaxed)
    }

    /// Whether the thread has a user space to return to.
    pub fn is_user(&self) -> bool {
        self.has.load(Ordering::Relaxed) & HAS_USER != 0
    }

    pub(super) fn uses_debug(&self) -> bool {
        self.has.load(Ordering::Relaxed) & HAS_DEBUG != 0
    }

    pub(super) fn uses_ports(&self) -> bool {
        self.has.load(Ordering::Relaxed) & HAS_PORTS != 0
    }

    pub(super) fn set_port_use(&self, on: bool) {
        match on {
            true => self.has.fetch_or(HAS_PORTS, Ordering::Relaxed),
            false => self.has.fetch_and(!HAS_PORTS, Ordering::Relaxed),
        };
    }

    pub(super) fn set_debug_use(&self, on: bool) {
        match on {
            true => self.has.fetch_or(HAS_DEBUG, Ordering::Relaxed),
            false => self.has.fetch_and(!HAS_DEBUG, Ordering::Relaxed),
        };
    }

    /// The user registers of a thread that does not run, or of the running one.
    pub fn user_regs(&self) -> UserRegs {
        // SAFETY: the top of a live stack. The thread does not touch them while it does not run.
        unsafe { (self.regs_address() as *const UserRegs).read_volatile() }
    }

    /// Sets the user registers of a thread that does not run.
    pub fn set_user_regs(&self, regs: &UserRegs) {
        // SAFETY: as above; plain integers, which the way out checks where it matters.
        unsafe { (self.regs_address() as *mut UserRegs).write_volatile(*regs) }
    }
}

/// Forbids or allows the running thread to read the time stamp counter in user space.
pub fn forbid_tsc(forbid: bool) {
    let _irq = irq::IrqGuard::new();
    current().no_tsc.store(forbid, Ordering::Relaxed);
    load_tsc_right(forbid);
}

#[cold]
fn load_tsc_right(forbid: bool) {
    let others = msr::cr4() & !cr4::TSD;
    // SAFETY: the bit concerns user space alone; interrupts are off, so that this CPU keeps the rest.
    unsafe { msr::set_cr4(if forbid { others | cr4::TSD } else { others }) };
}

fn read_fs_base() -> u64 {
    let base: u64;
    // SAFETY: only called where the processor has FSGSBASE, which `features::enable` turns on.
    unsafe {
        core::arch::asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags))
    };
    base
}

#[inline]
fn write_fs_base(base: u64) {
    if features::has(Feature::FSGSBASE) {
        // SAFETY: enabled; the kernel does not use FS.
        unsafe {
            core::arch::asm!("wrfsbase {}", in(reg) base, options(nomem, nostack, preserves_flags))
        };
    } else {
        // SAFETY: the kernel does not use FS; the base is canonical.
        unsafe { msr::write(msr::FS_BASE, base) };
    }
}

/// The GS base of user space while in the kernel with interrupts off.
fn read_user_gs_base() -> u64 {
    let base: u64;
    // SAFETY: FSGSBASE is on; interrupts are off, so that nothing runs between the two swaps.
    unsafe {
        core::arch::asm!("swapgs", "rdgsbase {}", "swapgs", out(reg) base, options(nomem, nostack, preserves_flags));
    }
    base
}

/// The thread that runs here; null before the scheduler has started.
#[inline(always)]
pub fn current_task_ptr() -> *const ThreadArch {
    let pointer: *const ThreadArch;
    // SAFETY: GS points to this CPU's data. The value belongs to the thread that reads it, wherever it runs, so the
    // compiler may keep it.
    unsafe {
        core::arch::asm!("mov {}, gs:[{}]", out(reg) pointer, const cpu::CURRENT,
            options(nostack, pure, readonly, preserves_flags));
    }
    pointer
}

/// The running thread. Only for code that runs in a thread.
pub(super) fn current() -> &'static ThreadArch {
    // SAFETY: set before any thread code runs; the running thread is alive. The reference stays in `arch`.
    unsafe { &*current_task_ptr() }
}

/// Makes `thread` the one that runs here: for the idle task, which goes on from the boot code.
pub fn adopt_boot_thread(thread: &ThreadArch) {
    let _irq = irq::IrqGuard::new();
    let local = cpu::local();
    local.tss.set_rsp0(thread.kernel_stack_top);
    local.current.set(thread);
}

/// The registers that the running thread entered the kernel with, and will leave with.
pub fn current_regs() -> &'static mut UserRegs {
    // SAFETY: the top of the running thread's stack; only the thread itself takes this, and drops it before leaving
    // the kernel.
    unsafe { &mut *(current().regs_address() as *mut UserRegs) }
}

/// Switches from `prev`, which runs here, to `next`. With interrupts off; the address space is the caller's business.
/// Returns when somebody switches back.
#[inline]
pub fn switch_to(prev: &ThreadArch, next: &ThreadArch) {
    let local = cpu::local();
    let (was, will) = (
        prev.has.load(Ordering::Relaxed),
        next.has.load(Ordering::Relaxed),
    );
    if was & HAS_USER != 0 {
        fpu::save(prev, local);
        if pkru::exists() {
            prev.pkru.store(pkru::get(), Ordering::Relaxed);
        }
        if features::has(Feature::FSGSBASE) {
            prev.fs_base.store(read_fs_base(), Ordering::Relaxed);
            prev.gs_base.store(read_user_gs_base(), Ordering::Relaxed);
        }
    }
    if (was | will) & (HAS_DEBUG | HAS_PORTS) != 0 {
        switch_rare(was | will, local, next);
    }
    if will & HAS_USER != 0 {
        fpu::mark_for_load(next, local);
        pkru::set(next.pkru.load(Ordering::Relaxed));
        write_fs_base(next.fs_base.load(Ordering::Relaxed));
        write_user_gs_base(next.gs_base.load(Ordering::Relaxed));
    }
    if prev.forbids_tsc() != next.forbids_tsc() {
        load_tsc_right(next.forbids_tsc());
    }
    local.tss.set_rsp0(next.kernel_stack_top);
    local.current.set(next);
    // SAFETY: `next` was prepared or switched away from, so its saved stack pointer leads to a frame of the switch; both
    // threads are kept alive by the scheduler across it.
    unsafe { switch_stacks(prev.kernel_sp.get(), *next.kernel_sp.get()) };
}

/// What few threads use.
#[cold]
fn switch_rare(used: u8, local: &cpu::CpuLocal, next: &ThreadArch) {
    if used & HAS_DEBUG != 0 {
        debug::switch(next);
    }
    if used & HAS_PORTS != 0 {
        ioperm::switch(local, next);
    }
}

fn write_user_gs_base(base: u64) {
    if features::has(Feature::FSGSBASE) {
        // SAFETY: as in `read_user_gs_base`; the base is canonical.
        unsafe {
            core::arch::asm!("swapgs", "wrgsbase {}", "swapgs", in(reg) base, options(nomem, nostack, preserves_flags));
        }
    } else {
        // SAFETY: a canonical user address, brought in by the next swapgs.
        unsafe { msr::write(msr::KERNEL_GS_BASE, base) };
    }
}

/// Prepares a new thread to return to user space with `regs` when it is first switched to.
pub fn prepare_user_thread(thread: &ThreadArch, regs: &UserRegs) {
    thread.has.fetch_or(HAS_USER, Ordering::Relaxed);
    let at = thread.regs_address();
    // SAFETY: the top of the new thread's own stack, which nobody uses yet.
    unsafe {
        (at as *mut UserRegs).write(*regs);
        prepare_stack(thread, at - 8, user_thread_start as *const () as u64, 0, 0);
    }
}

/// Prepares a new thread to run `entry(arg)` in the kernel when it is first switched to.
pub fn prepare_kernel_thread(thread: &ThreadArch, entry: extern "C" fn(usize) -> !, arg: usize) {
    let at = thread.regs_address();
    let start = kernel_thread_start as *const () as u64;
    // SAFETY: the top of the new thread's own stack, which nobody uses yet.
    unsafe {
        (at as *mut UserRegs).write(UserRegs::default());
        prepare_stack(thread, at - 8, start, entry as usize as u64, arg as u64);
    }
}

/// Lays the frame that `switch_stacks` pops: r15, r14, r13, r12, rbx, rbp, return address.
///
/// # Safety
/// `sp` is in the thread's stack, 16-byte aligned, and nobody uses the memory below it.
unsafe fn prepare_stack(thread: &ThreadArch, sp: u64, start: u64, r12: u64, r13: u64) {
    let frame: [u64; 7] = [0, 0, r13, r12, 0, 0, start];
    let at = sp - size_of_val(&frame) as u64;
    // SAFETY: the caller's duty.
    unsafe {
        (at as *mut [u64; 7]).write(frame);
        *thread.kernel_sp.get() = at;
    }
}

/// Leaves a kernel thread, which has got an address space and [`current_regs`] by exec, for user space.
pub fn enter_user() -> ! {
    let thread = current();
    irq::disable();
    thread.has.fetch_or(HAS_USER, Ordering::Relaxed);
    thread.local.fetch_or(LOCAL_FPU, Ordering::Relaxed);
    pkru::set(pkru::INITIAL);
    write_fs_base(thread.fs_base.load(Ordering::Relaxed));
    write_user_gs_base(thread.gs_base.load(Ordering::Relaxed));
    // SAFETY: the registers at the top of this thread's stack, above the stack in use, which is abandoned.
    unsafe { enter_user_asm(thread.regs_address() as *mut UserRegs) }
}
