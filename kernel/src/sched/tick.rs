//! The timer tick, which comes only while a CPU does not idle, and what is counted by it.

use core::sync::atomic::{AtomicU64, Ordering};

use ::sched::Class;

use super::core::{Cpu, lock, nr_running};
use super::{balance, deadline};
use crate::arch::{self, cpu::CpuId};
use crate::sync::{PerCpu, SpinLock, current};
use crate::task::Task;
use crate::{signal, time};

/// Ticks a second; what `/proc/stat` and `times(2)` count in is USER_HZ, 100.
pub const HZ: u64 = 250;
/// The length of a tick.
pub const TICK_NS: u64 = 1_000_000_000 / HZ;

/// Where a CPU's ticks went.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuTimes {
    /// In user space at nice 0 or below.
    pub user_ns: u64,
    /// In user space, nicer.
    pub nice_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Halted.
    pub idle_ns: u64,
}

struct Ticks {
    user: AtomicU64,
    nice: AtomicU64,
    system: AtomicU64,
}

static TICKS: PerCpu<Ticks> = crate::per_cpu!(Ticks {
    user: AtomicU64::new(0),
    nice: AtomicU64::new(0),
    system: AtomicU64::new(0)
});

/// The times of one CPU since boot.
pub fn cpu_times(cpu: CpuId) -> CpuTimes {
    let ticks = TICKS.of(cpu);
    CpuTimes {
        user_ns: ticks.user.load(Ordering::Relaxed) * TICK_NS,
        nice_ns: ticks.nice.load(Ordering::Relaxed) * TICK_NS,
        system_ns: ticks.system.load(Ordering::Relaxed) * TICK_NS,
        idle_ns: super::idle_ns(cpu),
    }
}

/// Charges the running task for its time since the last accounting.
pub(super) fn charge(cpu: &mut Cpu, task: &Task, now: u64) -> bool {
    let since = task.sched.since_ns.swap(now, Ordering::Relaxed);
    if cpu.is_idle() {
        return false;
    }
    let ran = now.saturating_sub(since);
    cpu.sums.ran_ns += ran;
    task.usage.ran_ns.store(
        task.usage.ran_ns.load(Ordering::Relaxed) + ran,
        Ordering::Relaxed,
    );
    let mut entity = task.sched.entity.lock();
    let over = entity.charge(ran);
    cpu.queue.account(&entity, ran, now);
    cpu.queue.advance(&entity);
    over
}

/// Called by the timer interrupt of a CPU that does not idle, every [`TICK_NS`].
pub fn tick(from_user: bool) {
    let task = current();
    let here = arch::cpu::current_id();
    let mut cpu = lock(here);
    if cpu.is_idle() {
        return;
    }
    let now = time::monotonic_ns();
    let over = charge(&mut cpu, &task, now);
    let is_deadline = task.sched.is_deadline();
    let mut entity = task.sched.entity.lock();
    if (over && (is_deadline || !cpu.queue.is_empty()))
        || cpu.queue.should_preempt(&entity)
        || (entity.class() == Class::Fair && balance::wait_elsewhere(here))
    {
        task.arch.mark(arch::WORK_RESCHED);
    }
    let nice = entity.params().nice;
    let is_realtime = matches!(entity.class(), Class::Realtime(_));
    let overran = entity.take_overrun();
    drop(entity);
    if is_deadline {
        deadline::set_look(&cpu, &task, now);
    }
    drop(cpu);
    let ticks = TICKS.of(here);
    let (mine, cpus) = if from_user {
        let cpus = if nice > 0 { &ticks.nice } else { &ticks.user };
        (&task.usage.user_ticks, cpus)
    } else {
        (&task.usage.system_ticks, &ticks.system)
    };
    let rt_ticks = match is_realtime {
        true => task.sched.rt_ticks.fetch_add(1, Ordering::Relaxed) + 1,
        false => 0,
    };
    mine.fetch_add(1, Ordering::Relaxed);
    cpus.fetch_add(1, Ordering::Relaxed);
    signal::cpu_timers_tick(&task, from_user, TICK_NS);
    if rt_ticks > 0 {
        signal::realtime_tick(&task, u64::from(rt_ticks) * TICK_NS);
    }
    if overran {
        signal::deadline_overrun(&task);
    }
    update_load();
}

/// A CPU came to idle, or left it: the tick stops and starts with that.
pub(super) fn idle_changed(idles: bool) {
    time::tick::set_enabled(!idles);
}

/// Once more waiting tasks than before want this CPU.
struct Load {
    averages: [u64; 3],
    next_ns: u64,
}

static LOAD: SpinLock<Load> = SpinLock::new(Load {
    averages: [0; 3],
    next_ns: 0,
});

/// Fixed point of the averages.
const LOAD_SHIFT: u32 = 11;
/// Every five seconds, as on Linux.
const LOAD_PERIOD_NS: u64 = 5_000_000_000;
/// 2^11 / e^(5/60), e^(5/300), e^(5/900).
const LOAD_DECAY: [u64; 3] = [1884, 2014, 2037];

/// Decays the averages by the periods that have passed. An idle machine has no ticks; its periods are made up when
/// somebody looks or works again.
fn update_load() {
    let now = time::monotonic_ns();
    let Some(mut load) = LOAD.try_lock() else {
        return;
    };
    if now < load.next_ns {
        return;
    }
    let active = (nr_running() as u64) << LOAD_SHIFT;
    let missed = (now - load.next_ns) / LOAD_PERIOD_NS;
    load.next_ns = now + LOAD_PERIOD_NS;
    for period in 0..=missed.min(1_000) {
        let active = if period == missed { active } else { 0 };
        for (average, decay) in load.averages.iter_mut().zip(LOAD_DECAY) {
            *average = (*average * decay + active * ((1 << LOAD_SHIFT) - decay)) >> LOAD_SHIFT;
        }
    }
}

/// The load averages over 1, 5 and 15 minutes, in hundredths.
pub fn load_averages() -> [u64; 3] {
    let irq = crate::sync::IrqGuard::new();
    update_load();
    let averages = LOAD.lock().averages;
    drop(irq);
    averages.map(|average| (average * 100) >> LOAD_SHIFT)
}
