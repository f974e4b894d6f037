//! Ending a sleep by the clock.

use alloc::sync::Arc;

use abi::Result;

use super::wake::wake;
use crate::sync::WaitQueue;
use crate::task::Task;
use crate::time::timer::{self, TimerCallback, TimerId};

struct WakeTask(Arc<Task>);

impl TimerCallback for WakeTask {
    fn expired(self: Arc<Self>, _now_ns: u64) {
        wake(&self.0);
    }
}

/// Wakes a task at a time; dropping it calls that off.
pub struct WakeTimer(TimerId);

impl WakeTimer {
    /// Arms it for `deadline_ns` of the monotonic clock.
    pub fn arm(task: Arc<Task>, deadline_ns: u64) -> WakeTimer {
        WakeTimer(timer::arm(deadline_ns, Arc::new(WakeTask(task))))
    }
}

impl Drop for WakeTimer {
    fn drop(&mut self) {
        timer::cancel(self.0);
    }
}

/// Sleeps until `deadline_ns` of the monotonic clock.
///
/// # Errors
/// `ERESTARTSYS` when a signal came first.
pub fn sleep_until(deadline_ns: u64) -> Result<()> {
    let nobody_wakes = WaitQueue::new();
    nobody_wakes
        .wait_until_deadline(Some(deadline_ns), || None::<()>)
        .map(|_| ())
}
