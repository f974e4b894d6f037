//! timerfd: a timer whose expiries are read as a number.
//!
//! # Lock order
//! ```text
//! REALTIME (task context only)
//!   TimerFd::state (interrupts off)
//!     the CPU's queue of deadlines
//! ```

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::time::TfdTimer;
use abi::{Errno, Result};

use crate::fs::file::{File, FileOps};
use crate::mm::user::IoSink;
use crate::sync::census::{self, Live};
use crate::sync::{IrqSpinLock, PollTable, SpinLock, WaitQueue};
use crate::time::timer::{self, TimerCallback, TimerId};
use crate::time::{monotonic_ns, realtime_ns};

/// Timers on real time, which move when the clock is set.
static REALTIME: SpinLock<Vec<Weak<TimerFd>>> = SpinLock::new(Vec::new());

#[derive(Default)]
struct State {
    /// Monotonic time of the next expiry; `None` when it does not run, or waits for a read to move on.
    deadline: Option<u64>,
    /// The absolute real time that `deadline` stands for.
    absolute: Option<u64>,
    interval: u64,
    /// The last expiry, from which intervals count.
    fired: u64,
    /// An interval timer has expired and its further expiries are counted at the next look.
    expired: bool,
    ticks: u64,
    cancel_on_set: bool,
    cancelled: bool,
    armed: Option<TimerId>,
}

/// The timer behind a descriptor.
pub struct TimerFd {
    _live: Live<{ census::TIMERS }>,
    is_realtime: bool,
    state: IrqSpinLock<State>,
    queue: WaitQueue,
    this: Weak<TimerFd>,
}

impl TimerCallback for TimerFd {
    fn expired(self: Arc<Self>, now_ns: u64) {
        let mut state = self.state.lock();
        match state.deadline {
            Some(deadline) if deadline <= now_ns => state.fired = deadline,
            _ => return,
        }
        state.deadline = None;
        state.armed = None;
        state.expired = true;
        state.ticks += 1;
        drop(state);
        self.queue.wake_all();
    }
}

impl State {
    fn disarm(&mut self) {
        self.deadline = None;
        if let Some(id) = self.armed.take() {
            timer::cancel(id);
        }
    }

    fn arm(&mut self, timer: &TimerFd, deadline: u64) {
        let Some(callback) = timer.this.upgrade() else {
            return;
        };
        self.deadline = Some(deadline);
        self.armed = Some(timer::arm(deadline, callback));
    }

    /// Counts the expiries that have passed since the last one that fired, and arms the next.
    fn move_on(&mut self, timer: &TimerFd) {
        if !self.expired || self.interval == 0 {
            return;
        }
        self.expired = false;
        let passed = monotonic_ns().saturating_sub(self.fired) / self.interval;
        self.ticks = self.ticks.saturating_add(passed);
        let next = self.interval.saturating_mul(passed.saturating_add(1));
        self.arm(timer, self.fired.saturating_add(next));
    }

    fn value(&self) -> (u64, u64) {
        let left = self
            .deadline
            .map_or(0, |at| at.saturating_sub(monotonic_ns()).max(1));
        (left, self.interval)
    }
}

/// The monotonic time of a real one.
fn from_realtime(ns: u64) -> u64 {
    monotonic_ns().saturating_add(ns.saturating_sub(realtime_ns()))
}

impl TimerFd {
    /// A timer that does not run, on real or on monotonic time.
    pub fn new(is_realtime: bool) -> Arc<TimerFd> {
        Arc::new_cyclic(|this| TimerFd {
            _live: Live::new(),
            is_realtime,
            state: IrqSpinLock::new(State::default()),
            queue: WaitQueue::new(),
            this: this.clone(),
        })
    }

    /// The timer behind an open file.
    ///
    /// # Errors
    /// `EINVAL` for another kind of file.
    pub fn of(file: &File) -> Result<Arc<TimerFd>> {
        let timer = file.ops_as::<TimerFd>().ok_or(Errno::EINVAL)?;
        timer.this.upgrade().ok_or(Errno::EINVAL)
    }

    /// Sets it to expire in (or, absolute, at) `value_ns` and every `interval_ns` after; 0 stops it. Returns what
    /// [`TimerFd::get`] would have.
    pub fn set(&self, flags: TfdTimer, value_ns: u64, interval_ns: u64) -> (u64, u64) {
        let absolute = flags.contains(TfdTimer::ABSTIME);
        let follows_clock = self.is_realtime && absolute && value_ns != 0;
        if follows_clock {
            self.follow_clock();
        }
        let mut state = self.state.lock();
        state.move_on(self);
        let old = state.value();
        state.disarm();
        state.ticks = 0;
        state.expired = false;
        state.cancelled = false;
        state.interval = interval_ns;
        state.absolute = follows_clock.then_some(value_ns);
        state.cancel_on_set = follows_clock && flags.contains(TfdTimer::CANCEL_ON_SET);
        if value_ns != 0 {
            let deadline = match (absolute, self.is_realtime) {
                (false, _) => monotonic_ns().saturating_add(value_ns),
                (true, true) => from_realtime(value_ns),
                (true, false) => value_ns,
            };
            state.arm(self, deadline);
        }
        old
    }

    fn follow_clock(&self) {
        let mut followers = REALTIME.lock();
        followers.retain(|other| other.strong_count() > 0);
        if !followers.iter().any(|other| other.ptr_eq(&self.this)) {
            followers.push(self.this.clone());
        }
    }

    /// Time to the next expiry (0: does not run) and interval, in nanoseconds.
    pub fn get(&self) -> (u64, u64) {
        let mut state = self.state.lock();
        state.move_on(self);
        state.value()
    }

    /// What a read takes; `None` when nothing has expired yet.
    fn take(&self) -> Option<Result<u64>> {
        let mut state = self.state.lock();
        if core::mem::take(&mut state.cancelled) {
            state.ticks = 0;
            state.expired = false;
            return Some(Err(Errno::ECANCELED));
        }
        if state.ticks == 0 {
            return None;
        }
        state.move_on(self);
        Some(Ok(core::mem::take(&mut state.ticks)))
    }
}

/// The wall clock was set: absolute timers on it expire by the new time, and those that asked are cancelled.
pub fn clock_was_set() {
    let followers: Vec<Arc<TimerFd>> = REALTIME.lock().iter().filter_map(Weak::upgrade).collect();
    for timer in followers {
        let mut state = timer.state.lock();
        let Some(absolute) = state.absolute else {
            continue;
        };
        if state.deadline.is_some() {
            state.disarm();
            state.arm(&timer, from_realtime(absolute));
        }
        if state.cancel_on_set {
            state.cancelled = true;
            drop(state);
            timer.queue.wake_all();
        }
    }
}

impl FileOps for TimerFd {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if sink.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let ticks = match self.take() {
            Some(taken) => taken?,
            None if file.flags().contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => self.queue.wait_until(|| self.take())??,
        };
        sink.put(&ticks.to_ne_bytes())?;
        Ok(size_of::<u64>())
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.queue);
        }
        let state = self.state.lock();
        match state.ticks > 0 || state.cancelled {
            true => PollEvents::READABLE,
            false => PollEvents::empty(),
        }
    }

    fn release(&self, _file: &File) {
        self.state.lock().disarm();
    }

    fn fdinfo(&self, _file: &File, out: &mut dyn core::fmt::Write) {
        let (value, interval) = self.get();
        let state = self.state.lock();
        let clock = if self.is_realtime { 0 } else { 1 };
        let flags = u32::from(state.absolute.is_some()) | u32::from(state.cancel_on_set) << 1;
        let parts = |ns: u64| (ns / 1_000_000_000, ns % 1_000_000_000);
        let ((vs, vn), (is, ins)) = (parts(value), parts(interval));
        let _ = write!(
            out,
            "clockid: {clock}\nticks: {}\nsettime flags: 0{flags:o}\nit_value: ({vs}, {vn})\nit_interval: ({is}, {ins})\n",
            state.ticks,
        );
    }
}
