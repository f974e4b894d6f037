//! Clocks, sleeping, and timers.

use abi::signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID, SigEvent, Signo};
use abi::time::{
    ADJ_OFFSET_SS_READ, ClockId, ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, Itimerspec, Itimerval,
    NSEC_PER_SEC, STA_UNSYNC, TIME_ERROR, TIMER_ABSTIME, Timespec, Timeval, Timex, Timezone, Tms,
    USER_HZ,
};
use abi::{Errno, Result};
use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::mm::user::UserPtr;
use crate::signal::mask;
use crate::signal::timer::cpu::{self, CpuKind};
use crate::signal::timer::itimer;
use crate::signal::timer::posix::{self, NewTimer, Notify};
use crate::sync::{SpinLock, current};
use crate::task::{self, Cap, Pid};
use crate::{sched, signal, time};

/// The time zone that `settimeofday` stores; nothing in the kernel looks at it.
static TIME_ZONE: SpinLock<Timezone> = SpinLock::new(Timezone {
    tz_minuteswest: 0,
    tz_dsttime: 0,
});

fn clock(id: i32) -> Result<ClockId> {
    ClockId::from_user(id).ok_or(Errno::EINVAL)
}

/// The clock's value in nanoseconds.
fn read_clock(clock: ClockId) -> Result<u64> {
    Ok(match clock {
        ClockId::Realtime | ClockId::RealtimeCoarse | ClockId::RealtimeAlarm | ClockId::Tai => {
            time::realtime_ns()
        }
        ClockId::Monotonic | ClockId::MonotonicRaw | ClockId::MonotonicCoarse => {
            time::monotonic_ns()
        }
        ClockId::Boottime | ClockId::BoottimeAlarm => time::boottime_ns(),
        ClockId::Cpu {
            id,
            is_thread: false,
            ..
        } => posix::process_cpu_ns(&*posix::process_of(id)?),
        ClockId::Cpu {
            id: 0,
            is_thread: true,
            ..
        } => current().cpu_time_ns(),
        ClockId::Cpu {
            id,
            is_thread: true,
            ..
        } => {
            let task = task::find_task(Pid(id)).ok_or(Errno::EINVAL)?;
            if !Arc::ptr_eq(&task.process, &current().process) {
                return Err(Errno::EINVAL);
            }
            task.cpu_time_ns()
        }
        ClockId::Fd(_) => return Err(Errno::EINVAL),
    })
}

pub fn sys_clock_gettime(id: i32, tp: UserPtr<Timespec>) -> Result<usize> {
    tp.write(&Timespec::from_ns(read_clock(clock(id)?)?))?;
    Ok(0)
}

pub fn sys_clock_getres(id: i32, tp: UserPtr<Timespec>) -> Result<usize> {
    let clock = clock(id)?;
    let ns = match clock {
        ClockId::RealtimeCoarse | ClockId::MonotonicCoarse => sched::TICK_NS,
        _ => {
            // A CPU clock of nobody has no resolution either.
            read_clock(clock)?;
            1
        }
    };
    tp.write_opt(&Timespec::from_ns(ns))?;
    Ok(0)
}

fn set_realtime(ns: u64) {
    time::set_realtime(ns);
    crate::fs::timerfd::clock_was_set();
}

fn may_set_time() -> Result<()> {
    if current().my_cred().capable(Cap::SYS_TIME) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

pub fn sys_clock_settime(id: i32, tp: UserPtr<Timespec>) -> Result<usize> {
    match clock(id)? {
        ClockId::Realtime => {
            let ns = tp.read()?.to_ns().ok_or(Errno::EINVAL)?;
            may_set_time()?;
            set_realtime(ns);
            Ok(0)
        }
        ClockId::Cpu { .. } if id < 0 => {
            tp.read()?;
            Err(Errno::EPERM)
        }
        _ => Err(Errno::EINVAL),
    }
}

pub fn sys_gettimeofday(tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) -> Result<usize> {
    tv.write_opt(&Timeval::from_ns(time::realtime_ns()))?;
    let zone = *TIME_ZONE.lock();
    tz.write_opt(&zone)?;
    Ok(0)
}

pub fn sys_settimeofday(tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) -> Result<usize> {
    let new = match tv.read_opt()? {
        Some(tv) => Some(tv.to_ns().ok_or(Errno::EINVAL)?),
        None => None,
    };
    let zone = tz.read_opt()?;
    may_set_time()?;
    if let Some(zone) = zone {
        if !(-15 * 60..=15 * 60).contains(&zone.tz_minuteswest) {
            return Err(Errno::EINVAL);
        }
        *TIME_ZONE.lock() = zone;
    }
    if let Some(ns) = new {
        set_realtime(ns);
    }
    Ok(0)
}

pub fn sys_time(tloc: UserPtr<i64>) -> Result<usize> {
    let seconds = time::realtime_ns() / NSEC_PER_SEC;
    tloc.write_opt(&(seconds as i64))?;
    Ok(seconds as usize)
}

fn ticks(ns: u64) -> i64 {
    (ns / (NSEC_PER_SEC / USER_HZ)) as i64
}

pub fn sys_times(buf: UserPtr<Tms>) -> Result<usize> {
    if let Some(buf) = buf.non_null() {
        let process = current().process.clone();
        let own = process.rusage();
        let children = *process.usage.children.lock();
        buf.write(&Tms {
            tms_utime: ticks(own.user_ns),
            tms_stime: ticks(own.system_ns),
            tms_cutime: ticks(children.user_ns),
            tms_cstime: ticks(children.system_ns),
        })?;
    }
    Ok(ticks(time::monotonic_ns()) as usize)
}

/// Reads the state of a clock that nobody disciplines; changing it is not permitted, to anybody.
fn read_timex(buf: UserPtr<Timex>) -> Result<usize> {
    let modes = buf.read()?.modes;
    if modes != 0 && modes != ADJ_OFFSET_SS_READ {
        return Err(Errno::EPERM);
    }
    buf.write(&Timex {
        modes,
        maxerror: 16_000_000,
        esterror: 16_000_000,
        status: STA_UNSYNC,
        constant: 2,
        precision: 1,
        tolerance: 500 << 16,
        time: Timeval::from_ns(time::realtime_ns()),
        tick: (1_000_000 / USER_HZ) as i64,
        ..Timex::default()
    })?;
    Ok(TIME_ERROR)
}

pub fn sys_adjtimex(buf: UserPtr<Timex>) -> Result<usize> {
    read_timex(buf)
}

pub fn sys_clock_adjtime(id: i32, buf: UserPtr<Timex>) -> Result<usize> {
    match clock(id)? {
        ClockId::Realtime => read_timex(buf),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Sleeps until `deadline` of the monotonic clock; an interrupted sleep says what was left and can be gone on with.
fn sleep_relative(deadline: u64, rem: UserPtr<Timespec>) -> Result<usize> {
    if !mask::sleep(Some(deadline)) {
        return Ok(0);
    }
    let left = deadline.saturating_sub(time::monotonic_ns());
    if left == 0 {
        return Ok(0);
    }
    rem.write_opt(&Timespec::from_ns(left))?;
    Err(signal::restart_with(Box::new(move || {
        sleep_relative(deadline, rem)
    })))
}

pub fn sys_nanosleep(req: UserPtr<Timespec>, rem: UserPtr<Timespec>) -> Result<usize> {
    let ns = req.read()?.to_ns().ok_or(Errno::EINVAL)?;
    sleep_relative(time::monotonic_ns().saturating_add(ns), rem)
}

pub fn sys_clock_nanosleep(
    id: i32,
    flags: i32,
    req: UserPtr<Timespec>,
    rem: UserPtr<Timespec>,
) -> Result<usize> {
    let clock = clock(id)?;
    let is_realtime = match clock {
        ClockId::Realtime | ClockId::Tai => true,
        ClockId::Monotonic | ClockId::Boottime => false,
        ClockId::RealtimeAlarm | ClockId::BoottimeAlarm
            if !current().my_cred().capable(Cap::WAKE_ALARM) =>
        {
            return Err(Errno::EPERM);
        }
        ClockId::RealtimeAlarm => true,
        ClockId::BoottimeAlarm => false,
        ClockId::Cpu {
            is_thread: false, ..
        } => return sleep_cpu(clock, flags, req, rem),
        ClockId::Cpu { id: 0, .. } => {
            return Err(if id < 0 {
                Errno::EINVAL
            } else {
                Errno::EOPNOTSUPP
            });
        }
        ClockId::Cpu { .. } => return sleep_cpu(clock, flags, req, rem),
        ClockId::Fd(_) => return Err(Errno::EINVAL),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let ns = req.read()?.to_ns().ok_or(Errno::EINVAL)?;
    let now = time::monotonic_ns();
    if flags & TIMER_ABSTIME == 0 {
        return sleep_relative(now.saturating_add(ns), rem);
    }
    let deadline = match is_realtime {
        true => now.saturating_add(ns.saturating_sub(time::realtime_ns())),
        false => ns,
    };
    match mask::sleep(Some(deadline)) && time::monotonic_ns() < deadline {
        true => Err(Errno::ERESTARTNOHAND),
        false => Ok(0),
    }
}

/// Sleeps until a CPU clock reaches a value. It advances with others' work, at most as fast as all CPUs together do, so
/// the sleep looks again when that could have been enough, and not more often than the tick.
fn sleep_cpu(
    clock: ClockId,
    flags: i32,
    req: UserPtr<Timespec>,
    rem: UserPtr<Timespec>,
) -> Result<usize> {
    let ns = req.read()?.to_ns().ok_or(Errno::EINVAL)?;
    let start = read_clock(clock)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    let target = if absolute {
        ns
    } else {
        start.saturating_add(ns)
    };
    sleep_cpu_until(clock, target, if absolute { None } else { Some(rem) })
}

fn sleep_cpu_until(clock: ClockId, target: u64, rem: Option<UserPtr<Timespec>>) -> Result<usize> {
    loop {
        let left = target.saturating_sub(read_clock(clock).unwrap_or(u64::MAX));
        if left == 0 {
            return Ok(0);
        }
        let pause = (left / crate::arch::cpu::online() as u64).max(sched::TICK_NS);
        if mask::sleep(Some(time::monotonic_ns().saturating_add(pause))) {
            let Some(rem) = rem else {
                return Err(Errno::ERESTARTNOHAND);
            };
            rem.write_opt(&Timespec::from_ns(left))?;
            let resume = move || sleep_cpu_until(clock, target, Some(rem));
            return Err(signal::restart_with(Box::new(resume)));
        }
    }
}

fn to_itimerval((value, interval): (u64, u64)) -> Itimerval {
    Itimerval {
        it_interval: Timeval::from_ns(interval),
        it_value: Timeval::from_ns_not_zero(value),
    }
}

pub fn sys_getitimer(which: i32, value: UserPtr<Itimerval>) -> Result<usize> {
    let process = current().process.clone();
    let now = match which {
        ITIMER_REAL => itimer::get(&process),
        ITIMER_VIRTUAL => cpu::get(&process, CpuKind::Virtual),
        ITIMER_PROF => cpu::get(&process, CpuKind::Prof),
        _ => return Err(Errno::EINVAL),
    };
    value.write(&to_itimerval(now))?;
    Ok(0)
}

pub fn sys_setitimer(
    which: i32,
    value: UserPtr<Itimerval>,
    old: UserPtr<Itimerval>,
) -> Result<usize> {
    // NULL stops the timer, as ever on Linux.
    let new = value.read_opt()?.unwrap_or_default();
    let value = new.it_value.to_ns().ok_or(Errno::EINVAL)?;
    let interval = new.it_interval.to_ns().ok_or(Errno::EINVAL)?;
    let process = current().process.clone();
    let before = match which {
        ITIMER_REAL => itimer::set(&process, value, interval),
        ITIMER_VIRTUAL => cpu::set(&process, CpuKind::Virtual, value, interval),
        ITIMER_PROF => cpu::set(&process, CpuKind::Prof, value, interval),
        _ => return Err(Errno::EINVAL),
    };
    old.write_opt(&to_itimerval(before))?;
    Ok(0)
}

pub fn sys_alarm(seconds: u32) -> Result<usize> {
    let seconds = u64::from(seconds.min(i32::MAX as u32));
    let (left, _) = itimer::set(&current().process, seconds * NSEC_PER_SEC, 0);
    // Rounded, but never to zero while it runs.
    let rounded = (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
    Ok(if left > 0 { rounded.max(1) as usize } else { 0 })
}

/// How a timer tells of its expiry, as `sigevent` says.
fn notify_of(event: &SigEvent) -> Result<Notify> {
    let signo = || Signo::new(event.sigev_signo).ok_or(Errno::EINVAL);
    match event.sigev_notify {
        SIGEV_NONE => Ok(Notify::Nothing),
        SIGEV_SIGNAL | SIGEV_THREAD => Ok(Notify::Process(signo()?)),
        SIGEV_THREAD_ID => {
            let task = task::find_task(Pid(event.tid)).ok_or(Errno::EINVAL)?;
            if !Arc::ptr_eq(&task.process, &current().process) {
                return Err(Errno::EINVAL);
            }
            Ok(Notify::Thread(signo()?, Arc::downgrade(&task)))
        }
        _ => Err(Errno::EINVAL),
    }
}

pub fn sys_timer_create(
    id: i32,
    event: UserPtr<SigEvent>,
    timer_id: UserPtr<i32>,
) -> Result<usize> {
    let event = event.read_opt()?;
    let clock_id = id;
    let clock = posix::clock_for(clock(id)?)?;
    let (notify, value) = match &event {
        Some(event) => (notify_of(event)?, Some(event.sigev_value)),
        None => (Notify::Process(Signo::ALRM), None),
    };
    let id = posix::create(NewTimer {
        clock,
        clock_id,
        notify,
        value,
    })?;
    if let Err(errno) = timer_id.write(&id) {
        posix::delete(id)?;
        return Err(errno);
    }
    Ok(0)
}

fn to_itimerspec((value, interval): (u64, u64)) -> Itimerspec {
    Itimerspec {
        it_interval: Timespec::from_ns(interval),
        it_value: Timespec::from_ns(value),
    }
}

pub fn sys_timer_settime(
    id: i32,
    flags: i32,
    new: UserPtr<Itimerspec>,
    old: UserPtr<Itimerspec>,
) -> Result<usize> {
    let new = new.read_opt()?.ok_or(Errno::EINVAL)?;
    let interval = new.it_interval.to_ns().ok_or(Errno::EINVAL)?;
    let value = new.it_value.to_ns().ok_or(Errno::EINVAL)?;
    let before = posix::set(id, value, interval, flags & TIMER_ABSTIME != 0)?;
    old.write_opt(&to_itimerspec(before))?;
    Ok(0)
}

pub fn sys_timer_gettime(id: i32, setting: UserPtr<Itimerspec>) -> Result<usize> {
    let now = posix::get(id)?;
    setting.write(&to_itimerspec(now))?;
    Ok(0)
}

pub fn sys_timer_getoverrun(id: i32) -> Result<usize> {
    Ok(posix::overrun(id)? as usize)
}

pub fn sys_timer_delete(id: i32) -> Result<usize> {
    posix::delete(id)?;
    Ok(0)
}
