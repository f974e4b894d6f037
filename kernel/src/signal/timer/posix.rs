//! POSIX timers (timer_create(2)): on a clock or on CPU time, with a signal to the process or to a thread, or none.
//!
//! A timer's signal is queued at most once, in a place set aside when the timer was made; expiries that come while it
//! waits are counted when it is delivered, and only then the next one is armed.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use ::signal::{Entry, Storage};
use abi::signal::{SigInfo, Signo};
use abi::time::ClockId;
use abi::{Errno, Result};

use super::retire;
use crate::signal::account::Charge;
use crate::signal::send::deliver_queued;
use crate::signal::state::{Queue, Tag};
use crate::sync::census::{self, Live};
use crate::sync::{IrqSpinLock, current};
use crate::task::process::Life;
use crate::task::rlimit::Resource;
use crate::task::{Cap, Process, Task};
use crate::time::timer::{self, TimerCallback, TimerId};
use crate::time::{self, monotonic_ns};

/// The timers of a process, by their ids.
#[derive(Default)]
pub struct Table {
    timers: BTreeMap<i32, Arc<PosixTimer>>,
    next_id: i32,
}

/// Timers of other processes on this one's CPU time: its ticks look at them too.
///
/// Each is in its owner's table as well, and goes from here before it is freed.
#[derive(Default)]
pub struct Guests(Vec<Arc<PosixTimer>>);

/// How an expiry is told.
#[derive(Clone)]
pub enum Notify {
    /// SIGEV_NONE.
    Nothing,
    /// SIGEV_SIGNAL.
    Process(Signo),
    /// SIGEV_THREAD_ID.
    Thread(Signo, Weak<Task>),
}

impl Notify {
    fn signo(&self) -> Option<Signo> {
        match self {
            Self::Nothing => None,
            Self::Process(signo) | Self::Thread(signo, _) => Some(*signo),
        }
    }
}

/// What a timer counts.
#[derive(Clone)]
pub enum TimerClock {
    /// Monotonic time; also boot time, since there is no suspend.
    Monotonic,
    /// Real time: absolute deadlines are converted when they are set.
    Realtime,
    /// CPU time of a process.
    Process(Weak<Process>),
    /// CPU time of a thread.
    Thread(Weak<Task>),
}

impl TimerClock {
    fn now(&self) -> u64 {
        match self {
            Self::Monotonic | Self::Realtime => monotonic_ns(),
            Self::Process(process) => process.upgrade().map_or(0, |p| process_cpu_ns(&p)),
            Self::Thread(task) => task.upgrade().map_or(0, |task| task.cpu_time_ns()),
        }
    }

    fn is_cpu(&self) -> bool {
        matches!(self, Self::Process(_) | Self::Thread(_))
    }

    /// The process whose time it counts, unless that is `owner`.
    fn host(&self, owner: &Arc<Process>) -> Option<Arc<Process>> {
        match self {
            Self::Process(process) => process.upgrade().filter(|p| !Arc::ptr_eq(p, owner)),
            _ => None,
        }
    }

    /// Whether what it counts is no more.
    fn is_gone(&self) -> bool {
        match self {
            Self::Process(process) => process
                .upgrade()
                .is_none_or(|process| matches!(process.life(), Life::Reaped)),
            Self::Thread(task) => task
                .upgrade()
                .is_none_or(|task| crate::task::find_task(task.tid()).is_none()),
            Self::Monotonic | Self::Realtime => false,
        }
    }
}

/// CPU time of all threads of a process, in nanoseconds. Callable from interrupts, where the part of threads that have
/// exited may be missing for a moment.
pub fn process_cpu_ns(process: &Process) -> u64 {
    let exited = process
        .usage
        .exited
        .try_lock()
        .map_or(0, |used| used.user_ns + used.system_ns);
    let shared = process.signal.shared.lock();
    shared
        .threads
        .iter()
        .fold(exited, |sum, task| sum.saturating_add(task.cpu_time_ns()))
}

/// # Invariants
/// `deadline` is on the timer's own scale: monotonic time for both wall clocks, else CPU time.
#[derive(Default)]
struct State {
    /// The next expiry; `None` when it does not run, or waits for its signal to be delivered.
    deadline: Option<u64>,
    /// The expiry that the queued signal tells of.
    fired: u64,
    interval: u64,
    /// Counts settings, so that signals of earlier ones are dropped.
    setting: u32,
    queued: bool,
    overrun: i32,
    armed: Option<TimerId>,
}

/// One timer.
pub struct PosixTimer {
    _live: Live<{ census::TIMERS }>,
    id: i32,
    process: Arc<Process>,
    clock: TimerClock,
    clock_id: i32,
    /// It counts the time of another process, whose [`Guests`] it is among.
    is_guest: bool,
    notify: Notify,
    value: u64,
    state: IrqSpinLock<State>,
    /// One signal of the user's limit is this timer's as long as it exists.
    _charge: Charge,
}

impl TimerCallback for PosixTimer {
    fn expired(self: Arc<Self>, now_ns: u64) {
        self.fire_if_due(now_ns);
    }
}

impl PosixTimer {
    /// Sends the signal if the time has come. In interrupt context.
    fn fire_if_due(&self, now: u64) {
        let mut state = self.state.lock();
        let due = match state.deadline {
            Some(deadline) if deadline <= now => deadline,
            _ => return,
        };
        state.armed = None;
        state.fired = due;
        let Some(signo) = self.notify.signo() else {
            return;
        };
        state.deadline = None;
        state.queued = true;
        let tag = Tag {
            charge: None,
            timer: Some((self.id, state.setting)),
        };
        drop(state);
        let info = SigInfo::timer(signo, self.id, 0, self.value);
        let entry = Entry { info, tag };
        let thread = match &self.notify {
            Notify::Thread(_, task) => Some(task.as_ptr()),
            _ => None,
        };
        if !deliver_queued(&self.process, thread, signo, entry) {
            // Ignored now: the timer keeps its pace, as if each signal were taken at once.
            let mut state = self.state.lock();
            state.queued = false;
            if state.interval > 0 && state.deadline.is_none() {
                // Not faster than a tick, since nobody's taking slows it down.
                let next = state.fired.saturating_add(state.interval);
                state.deadline = Some(next.max(now.saturating_add(IGNORED_PACE_NS)));
            }
        }
    }

    fn arm(self: &Arc<Self>, state: &mut State, deadline: u64) {
        state.deadline = Some(deadline);
        if self.clock.is_cpu() {
            self.process
                .signal
                .timers
                .cpu
                .has_posix
                .store(true, Ordering::Relaxed);
        } else if self.notify.signo().is_some() {
            state.armed = Some(timer::arm(deadline, self.clone()));
        }
    }

    /// Time left (0: does not run) and interval. SIGEV_NONE timers have no signal to move them on: that happens here.
    fn value(&self, state: &mut State) -> (u64, u64) {
        let now = self.clock.now();
        let silent = self.notify.signo().is_none();
        let pending = if state.queued && state.interval > 0 {
            Some(state.fired)
        } else {
            None
        };
        let left = match state.deadline.or(pending) {
            None => 0,
            Some(at) if at > now => at - now,
            Some(at) if state.interval > 0 => {
                let next = next_on_grid(at, state.interval, now).0;
                if silent {
                    state.deadline = Some(next);
                }
                next - now
            }
            Some(_) if silent => 0,
            Some(_) => 1,
        };
        (left, state.interval)
    }

    fn stop(&self, state: &mut State) {
        state.setting = state.setting.wrapping_add(1);
        state.deadline = None;
        state.queued = false;
        state.overrun = 0;
        if let Some(id) = state.armed.take() {
            timer::cancel(id);
        }
    }
}

/// An ignored periodic timer does not fire more often than this.
const IGNORED_PACE_NS: u64 = 1_000_000;

/// The first point after `now` on the grid of `at` and `interval`, and how many points after `at` were passed.
fn next_on_grid(at: u64, interval: u64, now: u64) -> (u64, u64) {
    let passed = now.saturating_sub(at) / interval;
    let next = interval
        .saturating_mul(passed.saturating_add(1))
        .saturating_add(at);
    (next, passed)
}

fn find(id: i32) -> Result<Arc<PosixTimer>> {
    let current = current();
    let table = current.process.signal.timers.posix.lock();
    table.timers.get(&id).cloned().ok_or(Errno::EINVAL)
}

/// What `timer_create` asks for.
pub struct NewTimer {
    pub clock: TimerClock,
    /// The clock's number as the caller gave it.
    pub clock_id: i32,
    pub notify: Notify,
    /// `sigev_value`; `None` stands for the timer's id.
    pub value: Option<u64>,
}

/// The clock of a timer, for the caller.
///
/// # Errors
/// `EINVAL` for a clock or a process that does not exist, `EOPNOTSUPP` for a clock without timers.
pub fn clock_for(clock: ClockId) -> Result<TimerClock> {
    let current = current();
    match clock {
        ClockId::Realtime | ClockId::Tai => Ok(TimerClock::Realtime),
        ClockId::Monotonic | ClockId::Boottime => Ok(TimerClock::Monotonic),
        // There is no suspend to wake from: alarm clocks are the plain ones, for those who may use them.
        ClockId::RealtimeAlarm | ClockId::BoottimeAlarm
            if !current.my_cred().capable(Cap::WAKE_ALARM) =>
        {
            Err(Errno::EPERM)
        }
        ClockId::RealtimeAlarm => Ok(TimerClock::Realtime),
        ClockId::BoottimeAlarm => Ok(TimerClock::Monotonic),
        ClockId::Cpu {
            id,
            is_thread: false,
            ..
        } => {
            let process = process_of(id)?;
            Ok(TimerClock::Process(Arc::downgrade(&process)))
        }
        ClockId::Cpu {
            id: 0,
            is_thread: true,
            ..
        } => Ok(TimerClock::Thread(Arc::downgrade(
            &crate::sync::current_arc(),
        ))),
        ClockId::Cpu {
            id,
            is_thread: true,
            ..
        } => {
            let task = crate::task::find_task(crate::task::Pid(id)).ok_or(Errno::EINVAL)?;
            if !Arc::ptr_eq(&task.process, &current.process) {
                return Err(Errno::EINVAL);
            }
            Ok(TimerClock::Thread(Arc::downgrade(&task)))
        }
        ClockId::Fd(_) => Err(Errno::EINVAL),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// The process of a CPU clock id; 0 is the caller's.
pub fn process_of(id: i32) -> Result<Arc<Process>> {
    match id {
        0 => Ok(current().process.clone()),
        id => crate::task::find_process(crate::task::Pid(id)).ok_or(Errno::EINVAL),
    }
}

/// Makes a timer that does not run yet; returns its id.
///
/// # Errors
/// `EAGAIN` beyond RLIMIT_SIGPENDING or without memory.
pub fn create(new: NewTimer) -> Result<i32> {
    let current = current();
    let process = current.process.clone();
    let limit = process.rlimits.soft(Resource::Sigpending);
    let charge = process
        .signal
        .account
        .lock()
        .clone()
        .charge(Some(limit))
        .ok_or(Errno::EAGAIN)?;
    reserve_place(&process, &new.notify)?;
    let host = new.clock.host(&process);
    let mut table = process.signal.timers.posix.lock();
    let id = free_id(&mut table);
    let timer = Arc::new(PosixTimer {
        _live: Live::new(),
        id,
        process: process.clone(),
        clock: new.clock,
        clock_id: new.clock_id,
        is_guest: host.is_some(),
        notify: new.notify,
        value: new.value.unwrap_or(id as u64),
        state: IrqSpinLock::new(State::default()),
        _charge: charge,
    });
    table.timers.insert(id, timer.clone());
    drop(table);
    if let Some(host) = host
        && let Err(error) = Guests::add(&host, timer)
    {
        let _ = delete(id);
        return Err(error);
    }
    Ok(id)
}

/// What `/proc/<pid>/timers` tells of a timer.
pub struct Described {
    pub id: i32,
    pub clock_id: i32,
    pub notify: Notify,
    pub value: u64,
}

/// The timers of a process, the newest first, as Linux has them.
///
/// # Errors
/// `ENOMEM`.
pub fn describe(process: &Process) -> Result<Vec<Described>> {
    let table = process.signal.timers.posix.lock();
    let count = table.timers.len();
    drop(table);
    let mut list = Vec::new();
    // A few more may come meanwhile; what does not fit is not shown this time.
    list.try_reserve_exact(count + 8)
        .map_err(|_| Errno::ENOMEM)?;
    let table = process.signal.timers.posix.lock();
    for timer in table.timers.values().rev().take(count + 8) {
        list.push(Described {
            id: timer.id,
            clock_id: timer.clock_id,
            notify: timer.notify.clone(),
            value: timer.value,
        });
    }
    Ok(list)
}

impl Guests {
    /// `timer` counts the time of `host`, which is not its owner.
    fn add(host: &Process, timer: Arc<PosixTimer>) -> Result<()> {
        let timers = &host.signal.timers;
        loop {
            let wanted = timers.guests.lock().0.len() + 1;
            let mut roomier = Vec::new();
            roomier
                .try_reserve_exact(wanted)
                .map_err(|_| Errno::EAGAIN)?;
            let mut guests = timers.guests.lock();
            if guests.0.len() < roomier.capacity() {
                roomier.append(&mut guests.0);
                roomier.push(timer);
                // What was there is empty, and freed after the lock.
                core::mem::swap(&mut guests.0, &mut roomier);
                drop(guests);
                timers.cpu.has_posix.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
    }

    fn remove(host: &Process, timer: &Arc<PosixTimer>) {
        let mut guests = host.signal.timers.guests.lock();
        let at = guests.0.iter().position(|guest| Arc::ptr_eq(guest, timer));
        let removed = at.map(|at| guests.0.swap_remove(at));
        drop(guests);
        drop(removed);
    }
}

fn free_id(table: &mut Table) -> i32 {
    while table.timers.contains_key(&table.next_id) {
        table.next_id = next_id(table.next_id);
    }
    let id = table.next_id;
    table.next_id = next_id(id);
    id
}

fn next_id(id: i32) -> i32 {
    id.checked_add(1).unwrap_or(0)
}

/// Runs `f` on the queue that the timer's signal goes to.
fn with_queue<R>(process: &Process, notify: &Notify, f: impl FnOnce(&mut Queue) -> R) -> Option<R> {
    match notify {
        Notify::Nothing => None,
        Notify::Process(_) => {
            let mut shared = process.signal.shared.lock();
            let result = f(&mut shared.queue);
            shared.publish(&process.signal.pending);
            Some(result)
        }
        Notify::Thread(_, task) => {
            let task = task.upgrade()?;
            let mut queue = task.signal.queue.lock();
            let result = f(&mut queue);
            task.signal.publish(&queue);
            drop(queue);
            Some(result)
        }
    }
}

/// Sets a place in the queue aside, so that the interrupt need not allocate.
fn reserve_place(process: &Process, notify: &Notify) -> Result<()> {
    loop {
        let wanted = with_queue(process, notify, |queue| match queue.reserve() {
            true => None,
            false => Some(queue.wanted_capacity() + 1),
        });
        let Some(Some(capacity)) = wanted else {
            return Ok(());
        };
        let storage = Box::new(Storage::allocate(capacity).ok_or(Errno::EAGAIN)?);
        let old = with_queue(process, notify, |queue| queue.grow(storage));
        drop(old);
    }
}

/// Sets a timer: `value_ns` (0 stops it) on its clock, absolute or from now; returns time left and interval from before.
///
/// # Errors
/// `EINVAL` for an id that names no timer, `ESRCH` when what its clock counts is gone.
pub fn set(id: i32, value_ns: u64, interval_ns: u64, absolute: bool) -> Result<(u64, u64)> {
    let timer = find(id)?;
    if timer.clock.is_gone() {
        return Err(Errno::ESRCH);
    }
    let mut state = timer.state.lock();
    let old = timer.value(&mut state);
    timer.stop(&mut state);
    if value_ns == 0 {
        state.interval = 0;
        return Ok(old);
    }
    state.interval = interval_ns;
    let deadline = match (&timer.clock, absolute) {
        (TimerClock::Realtime, true) => {
            let ahead = value_ns.saturating_sub(time::realtime_ns());
            monotonic_ns().saturating_add(ahead)
        }
        (_, true) => value_ns,
        (clock, false) => clock.now().saturating_add(value_ns),
    };
    timer.arm(&mut state, deadline);
    Ok(old)
}

/// Time left (0: does not run) and interval; zeros when what the clock counts is gone.
///
/// # Errors
/// `EINVAL` for an id that names no timer.
pub fn get(id: i32) -> Result<(u64, u64)> {
    let timer = find(id)?;
    if timer.clock.is_gone() {
        return Ok((0, 0));
    }
    let mut state = timer.state.lock();
    Ok(timer.value(&mut state))
}

/// The expiries that the last delivered signal stands for, less one.
///
/// # Errors
/// `EINVAL` for an id that names no timer.
pub fn overrun(id: i32) -> Result<i32> {
    let timer = find(id)?;
    let overrun = timer.state.lock().overrun;
    Ok(overrun)
}

/// Deletes a timer; a signal of it that is pending goes too.
///
/// # Errors
/// `EINVAL` for an id that names no timer.
pub fn delete(id: i32) -> Result<()> {
    let current = current();
    let removed = current
        .process
        .signal
        .timers
        .posix
        .lock()
        .timers
        .remove(&id);
    dispose(removed.ok_or(Errno::EINVAL)?);
    Ok(())
}

fn dispose(timer: Arc<PosixTimer>) {
    if let Some(host) = timer.clock.host(&timer.process) {
        Guests::remove(&host, &timer);
    }
    let mut state = timer.state.lock();
    timer.stop(&mut state);
    drop(state);
    if let Some(signo) = timer.notify.signo() {
        with_queue(&timer.process, &timer.notify, |queue| {
            queue.discard_if(signo, |tag| tag.timer.is_some_and(|(id, _)| id == timer.id));
            queue.unreserve();
        });
    }
    retire(timer);
}

/// The timers of a process, and those of others on its time: it is ending.
pub(super) fn end_all(process: &Process) {
    let guests = core::mem::take(&mut *process.signal.timers.guests.lock());
    // Their owners hold them still.
    drop(guests);
    delete_all(process);
}

pub(super) fn delete_all(process: &Process) {
    let table = core::mem::take(&mut *process.signal.timers.posix.lock());
    for timer in table.timers.into_values() {
        dispose(timer);
    }
}

/// The signal of a timer is about to be delivered: fills in how many expiries it stands for and arms the next one. False
/// when the timer was set anew or deleted since: the signal is dropped.
pub(in crate::signal) fn delivered(
    process: &Process,
    id: i32,
    setting: u32,
    info: &mut SigInfo,
) -> bool {
    let Some(timer) = process.signal.timers.posix.lock().timers.get(&id).cloned() else {
        return false;
    };
    let mut state = timer.state.lock();
    if state.setting != setting || !state.queued {
        return false;
    }
    state.queued = false;
    if state.interval > 0 {
        let (next, passed) = next_on_grid(state.fired, state.interval, timer.clock.now());
        state.overrun = i32::try_from(passed).unwrap_or(i32::MAX);
        timer.arm(&mut state, next);
    } else {
        state.overrun = 0;
    }
    info.set_overrun(state.overrun);
    true
}

/// The tick: timers on CPU clocks of the running process, its own and its guests. In interrupt context.
pub(super) fn tick(process: &Process) {
    let timers = &process.signal.timers;
    if let Some(table) = timers.posix.try_lock() {
        let own = |timer: &&Arc<PosixTimer>| timer.clock.is_cpu() && !timer.is_guest;
        for timer in table.timers.values().filter(own) {
            timer.fire_if_due(timer.clock.now());
        }
    }
    if let Some(guests) = timers.guests.try_lock() {
        for timer in &guests.0 {
            timer.fire_if_due(timer.clock.now());
        }
    }
}
