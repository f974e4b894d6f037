//! The clock with its alarm: setting them, the interrupt, and what happened since the last read.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, Result};
use devapi::{CalendarTime, DeviceError, RealTimeClock};
use drivers::hal::Ports;
use drivers::rtc::{CmosClock, RtcEvents, Setup, TimeOfDay};

use super::periodic::Periodic;
use crate::device::irq;
use crate::fs::fasync::{Band, FasyncList};
use crate::sync::{IrqSpinLock, Mutex, WaitQueue};

/// Set in what is read when anything happened.
const HAPPENED: u64 = 0x80;
const DAY: i64 = 86_400;

pub(super) fn errno(error: DeviceError) -> Errno {
    match error {
        DeviceError::Invalid => Errno::EINVAL,
        DeviceError::Timeout => Errno::ETIMEDOUT,
        _ => Errno::EIO,
    }
}

/// What interrupts change.
pub(super) struct State {
    /// What a read gives: the kinds of events, and from bit 8 on how many there were.
    events: u64,
    /// Seconds since 1970 of the alarm that was set last.
    alarm: i64,
    pub alarm_on: bool,
    pub updates: bool,
    pub periodic: Periodic,
}

impl State {
    pub fn happened(&mut self, kind: RtcEvents, count: u64) {
        let counted = self.events.wrapping_add(count << 8);
        self.events = counted | HAPPENED | u64::from(kind.bits());
    }
}

/// The clock.
pub(super) struct Rtc {
    clock: CmosClock<Ports>,
    /// One change of the clock or its alarm at a time.
    setting: Mutex<()>,
    state: IrqSpinLock<State>,
    /// Only one may have the device file open.
    pub busy: AtomicBool,
    /// The alarm may switch the machine on.
    pub may_wake: AtomicBool,
    pub readers: WaitQueue,
    pub fasync: FasyncList,
    /// Something happened of which files are to be told by signal.
    untold: AtomicBool,
    teller: WaitQueue,
    pub this: Weak<Rtc>,
}

impl Rtc {
    /// Takes over a clock that holds a date, with all its interrupts off.
    pub fn new(clock: CmosClock<Ports>) -> core::result::Result<Arc<Self>, DeviceError> {
        let now = clock.read()?.to_unix()?;
        clock.enable(RtcEvents::all(), false);
        clock.take_events();
        let state = State {
            events: 0,
            alarm: clock.alarm().map_or(0, |at| next(now, at)),
            alarm_on: false,
            updates: false,
            periodic: Periodic::default(),
        };
        Ok(Arc::new_cyclic(|this| Self {
            clock,
            setting: Mutex::new(()),
            state: IrqSpinLock::new(state),
            busy: AtomicBool::new(false),
            may_wake: AtomicBool::new(true),
            readers: WaitQueue::new(),
            fasync: FasyncList::default(),
            untold: AtomicBool::new(false),
            teller: WaitQueue::new(),
            this: this.clone(),
        }))
    }

    pub fn setup(&self) -> Setup {
        self.clock.setup()
    }

    pub fn read(&self) -> Result<CalendarTime> {
        self.clock.read().map_err(errno)
    }

    fn now(&self) -> Result<i64> {
        self.read()?.to_unix().map_err(errno)
    }

    /// Runs `f` on the state, and wakes and tells those who wait if it made something happen.
    pub fn with_state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let before = state.events;
        let result = f(&mut state);
        let changed = state.events != before && state.events != 0;
        drop(state);
        if changed {
            self.readers.wake_all();
            if self.fasync.is_used() {
                self.untold.store(true, Ordering::Release);
                self.teller.wake_all();
            }
        }
        result
    }

    /// What happened since the last take; 0 for nothing.
    pub fn take(&self) -> u64 {
        core::mem::take(&mut self.state.lock().events)
    }

    pub fn has_events(&self) -> bool {
        self.state.lock().events != 0
    }

    /// Hands on what the clock says has happened. Whether it was anything.
    fn hand_on(&self, state: &mut State) -> bool {
        let events = self.clock.take_events();
        if events.contains(RtcEvents::ALARM) && state.alarm_on {
            self.ring(state);
        }
        if events.contains(RtcEvents::UPDATE) && state.updates {
            state.happened(RtcEvents::UPDATE, 1);
        }
        !events.is_empty()
    }

    /// The alarm goes off, once.
    fn ring(&self, state: &mut State) {
        self.silence(state);
        state.happened(RtcEvents::ALARM, 1);
    }

    fn silence(&self, state: &mut State) {
        self.clock.enable(RtcEvents::ALARM, false);
        state.alarm_on = false;
    }

    /// The time of the alarm, in seconds since 1970, and whether it will go off.
    pub fn alarm(&self) -> (i64, bool) {
        let state = self.state.lock();
        (state.alarm, state.alarm_on)
    }

    /// Sets the alarm; one that has passed goes off at once.
    ///
    /// # Errors
    /// `EINVAL` for one that is on and more than a day ahead.
    pub fn set_alarm(&self, at: i64, on: bool) -> Result<()> {
        let _setting = self.setting.lock();
        self.with_state(|state| {
            self.silence(state);
            state.alarm = at;
        });
        if on { self.arm(at) } else { Ok(()) }
    }

    /// Lets the alarm go off, or not.
    pub fn switch_alarm(&self, on: bool) -> Result<()> {
        let _setting = self.setting.lock();
        let (at, is_on) = self.alarm();
        match on {
            true if !is_on => self.arm(at),
            true => Ok(()),
            false => {
                self.with_state(|state| self.silence(state));
                Ok(())
            }
        }
    }

    /// Programs the clock. Under `setting`.
    fn arm(&self, at: i64) -> Result<()> {
        let now = self.now()?;
        if at > now.saturating_add(DAY - 1) {
            return Err(Errno::EINVAL);
        }
        if at <= now {
            self.with_state(|state| self.ring(state));
            return Ok(());
        }
        self.with_state(|state| {
            self.clock.set_alarm(time_of_day(at));
            // What the clock has seen of the alarm before is not this one.
            self.hand_on(state);
            state.alarm_on = true;
            self.clock.enable(RtcEvents::ALARM, true);
        });
        // The second may have come before the clock knew that it matters; the next one like it is a day away.
        let now = self.now()?;
        self.with_state(|state| {
            if state.alarm_on && at <= now {
                self.ring(state);
            }
        });
        Ok(())
    }

    /// Sets the clock. An alarm that is passed by goes off; one that is now too far ahead is off, as on Linux.
    pub fn set(&self, time: CalendarTime) -> Result<()> {
        let _setting = self.setting.lock();
        self.clock.set(time).map_err(errno)?;
        let (at, is_on) = self.alarm();
        if is_on && self.arm(at).is_err() {
            self.with_state(|state| self.silence(state));
            log::warn!(
                "rtc_cmos: the clock was set back, and the alarm is more than a day ahead: it is off"
            );
        }
        Ok(())
    }

    /// Lets each second be told, or not.
    pub fn switch_updates(&self, on: bool) {
        let _setting = self.setting.lock();
        self.with_state(|state| {
            if state.updates != on {
                self.hand_on(state);
                state.updates = on;
                self.clock.enable(RtcEvents::UPDATE, on);
            }
        });
    }

    /// Tells files by signal of what interrupts have seen: only a task may.
    pub fn tell_forever(&self) {
        loop {
            self.teller
                .wait_uninterruptible(|| self.untold.swap(false, Ordering::AcqRel).then_some(()));
            self.fasync.tell(Band::In);
        }
    }
}

impl irq::Handler for Rtc {
    fn interrupt(&self) -> bool {
        self.with_state(|state| self.hand_on(state))
    }
}

fn time_of_day(at: i64) -> TimeOfDay {
    let second = at.rem_euclid(DAY);
    TimeOfDay {
        hour: (second / 3600) as u8,
        minute: (second / 60 % 60) as u8,
        second: (second % 60) as u8,
    }
}

/// When it is that time of day next.
fn next(now: i64, at: TimeOfDay) -> i64 {
    let second = i64::from(at.hour) * 3600 + i64::from(at.minute) * 60 + i64::from(at.second);
    let today = now - now.rem_euclid(DAY) + second;
    if today < now { today + DAY } else { today }
}
