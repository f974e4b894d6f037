//! ITIMER_REAL: SIGALRM by the clock. The next interval starts when the signal is taken, so that a blocked signal does
//! not keep the machine busy.

use alloc::sync::Arc;

use abi::signal::{SigInfo, Signo};

use super::retire;
use crate::signal::send_to_process;
use crate::sync::IrqSpinLock;
use crate::task::Process;
use crate::time::monotonic_ns;
use crate::time::timer::{self, TimerCallback, TimerId};

#[derive(Default)]
struct State {
    /// Monotonic time of the next expiry; `None` when it does not run.
    deadline_ns: Option<u64>,
    /// The last expiry, from which intervals count.
    last_ns: u64,
    interval_ns: u64,
    armed: Option<TimerId>,
}

/// The real-time interval timer of a process, made when it is first set.
pub struct RealTimer {
    process: Arc<Process>,
    state: IrqSpinLock<State>,
}

impl TimerCallback for RealTimer {
    fn expired(self: Arc<Self>, now_ns: u64) {
        let mut state = self.state.lock();
        // It may have been set anew since this expiry was on its way.
        match state.deadline_ns {
            Some(deadline) if deadline <= now_ns => state.last_ns = deadline,
            _ => return,
        }
        state.deadline_ns = None;
        state.armed = None;
        drop(state);
        // A standard signal of the kernel exceeds no limit.
        let _ = send_to_process(&self.process, SigInfo::kernel(Signo::ALRM));
    }
}

impl RealTimer {
    fn arm(self: &Arc<Self>, state: &mut State, deadline_ns: u64) {
        state.deadline_ns = Some(deadline_ns);
        state.armed = Some(timer::arm(deadline_ns, self.clone()));
    }
}

impl State {
    /// Time to the next expiry and interval. One that is due but has not fired yet has a microsecond to go.
    fn value(&self) -> (u64, u64) {
        let left = self
            .deadline_ns
            .map_or(0, |at| at.saturating_sub(monotonic_ns()).max(1000));
        (left, self.interval_ns)
    }

    fn disarm(&mut self) {
        self.deadline_ns = None;
        if let Some(id) = self.armed.take() {
            timer::cancel(id);
        }
    }
}

/// Time to the next expiry (0: does not run) and interval, in nanoseconds.
pub fn get(process: &Process) -> (u64, u64) {
    let timer = process.signal.timers.real.lock().clone();
    timer.map_or((0, 0), |timer| timer.state.lock().value())
}

/// Sets the timer to fire in `value_ns` (0: stops it) and every `interval_ns` after; returns what [`get`] would have.
pub fn set(process: &Arc<Process>, value_ns: u64, interval_ns: u64) -> (u64, u64) {
    let existing = process.signal.timers.real.lock().clone();
    let timer = match existing {
        Some(timer) => timer,
        None if value_ns == 0 => return (0, 0),
        None => {
            let state = IrqSpinLock::new(State::default());
            let fresh = Arc::new(RealTimer {
                process: process.clone(),
                state,
            });
            process
                .signal
                .timers
                .real
                .lock()
                .get_or_insert(fresh)
                .clone()
        }
    };
    let mut state = timer.state.lock();
    let old = state.value();
    state.disarm();
    if value_ns == 0 {
        state.interval_ns = 0;
    } else {
        state.interval_ns = interval_ns;
        timer.arm(&mut state, monotonic_ns().saturating_add(value_ns));
    }
    old
}

/// SIGALRM was taken: starts the next interval, on the grid of the first.
pub(in crate::signal) fn alarm_taken(process: &Process) {
    let Some(timer) = process.signal.timers.real.lock().clone() else {
        return;
    };
    let mut state = timer.state.lock();
    if state.deadline_ns.is_none() && state.interval_ns > 0 {
        let passed = monotonic_ns().saturating_sub(state.last_ns) / state.interval_ns;
        let next = state
            .interval_ns
            .saturating_mul(passed.saturating_add(1))
            .saturating_add(state.last_ns);
        timer.arm(&mut state, next);
    }
}

/// Stops it for good.
pub(super) fn disarm(process: &Process) {
    let timer = process.signal.timers.real.lock().take();
    if let Some(timer) = timer {
        timer.state.lock().disarm();
        retire(timer);
    }
}
