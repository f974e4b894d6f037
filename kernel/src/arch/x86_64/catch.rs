//! Running code whose panic is survived: the registers that a function must keep are saved before, and put back by the
//! panic handler. One at a time, on the CPU and in the task that began; no unwinding.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::current_task_ptr;

/// The stack pointer to go back to. Guarded by `BUSY`.
static STACK: AtomicU64 = AtomicU64::new(0);
static BUSY: AtomicBool = AtomicBool::new(false);
/// The task inside, as an address plus one (the boot code has none, which is null).
static OWNER: AtomicUsize = AtomicUsize::new(0);

core::arch::global_asm!(
    ".section .entry.text, \"ax\"",
    ".global catch_call",
    // catch_call(rdi: *mut stack pointer, rsi: function, rdx: argument) -> 0 if the function returned, 1 if it panicked
    "catch_call:",
    "push rbp",
    "mov rbp, rsp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "mov [rdi], rsp",
    "mov rdi, rdx",
    "call rsi",
    "xor eax, eax",
    "2: add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".global catch_abandon",
    // catch_abandon(rdi: *const stack pointer): goes on in catch_call as if the function had returned, but with 1
    "catch_abandon:",
    "mov rsp, [rdi]",
    "lea rbp, [rsp + 48]",
    "mov eax, 1",
    "jmp 2b",
);

unsafe extern "C" {
    fn catch_call(
        stack: *mut u64,
        function: unsafe extern "C" fn(*mut u8),
        argument: *mut u8,
    ) -> u64;
    fn catch_abandon(stack: *const u64) -> !;
}

fn me() -> usize {
    current_task_ptr() as usize + 1
}

/// Whether a panic here and now can be survived.
pub fn is_active() -> bool {
    OWNER.load(Ordering::Relaxed) == me() && !super::cpu::in_interrupt()
}

/// Runs `body`; `None` if it panicked. Waits while another task is inside.
pub fn run<R, F: FnOnce() -> R>(body: F) -> Option<R> {
    struct Job<F, R> {
        body: ManuallyDrop<F>,
        result: Option<R>,
    }

    unsafe extern "C" fn trampoline<R, F: FnOnce() -> R>(job: *mut u8) {
        // SAFETY: `run` passes its own job, and calls this once.
        let job = unsafe { &mut *job.cast::<Job<F, R>>() };
        // SAFETY: taken once.
        let body = unsafe { ManuallyDrop::take(&mut job.body) };
        job.result = Some(body());
    }

    while BUSY
        .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        if current_task_ptr().is_null() {
            super::cpu::relax();
        } else {
            crate::sched::yield_now();
        }
    }
    let mut job = Job {
        body: ManuallyDrop::new(body),
        result: None,
    };
    OWNER.store(me(), Ordering::Relaxed);
    // SAFETY: the trampoline matches the job's type. If the body panics, its frames are abandoned without running
    // destructors, which leaks what they own but breaks no memory: nothing outside keeps pointers into them by
    // `contain`'s contract.
    unsafe {
        catch_call(STACK.as_ptr(), trampoline::<R, F>, (&raw mut job).cast());
    }
    OWNER.store(0, Ordering::Relaxed);
    BUSY.store(false, Ordering::Release);
    job.result
}

/// Leaves the code that [`run`] started. Only when [`is_active`].
pub fn abandon() -> ! {
    // SAFETY: `catch_call` of this task is below on this stack, and wrote the pointer.
    unsafe { catch_abandon(STACK.as_ptr()) }
}
