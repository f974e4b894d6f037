//! Tasks without a user space.

use alloc::boxed::Box;
use alloc::sync::Arc;

use abi::Result;
use sched::Params;

use super::core::{exit_current, spawn};
use super::state::SchedState;
use crate::arch;
use crate::signal::TaskSignal;
use crate::task::{self, Cred, Task};

type Body = Box<dyn FnOnce() + Send>;

/// Starts a kernel thread that runs `body` and ends with it.
///
/// # Errors
/// `ENOMEM` or `EAGAIN` when there is no stack or number for it.
pub fn spawn_kernel_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Arc<Task>> {
    let process = task::process::kernel_process();
    let task = Task::new(task::NewTask {
        tid: task::pid::allocate()?,
        process,
        mm: None,
        files: None,
        fs: None,
        cred: Arc::new(Cred::root()),
        undo: None,
        signal: TaskSignal::for_kernel_thread(),
        comm: task::comm_of(name.as_bytes()),
        sched: SchedState::new(Params::DEFAULT, u64::MAX, arch::cpu::current_id()),
        flags: task::TaskFlags::KERNEL_THREAD,
    })?;
    let body: Box<Body> = Box::new(Box::new(body));
    arch::prepare_kernel_thread(&task.arch, run_body, Box::into_raw(body) as usize);
    spawn(task.clone());
    Ok(task)
}

extern "C" fn run_body(body: usize) -> ! {
    crate::sync::take_boxed::<Body>(body)();
    exit_current()
}
