//! The checks, as the locks call them.

use core::cell::UnsafeCell;
use core::fmt;
use core::panic::Location;
use core::sync::atomic::{AtomicBool, Ordering};

use super::Kind;
use super::class::{self, LockClass};
use super::held::{Entry, Held};
use super::order::{self, DEPTH, Fact, Trace};
use crate::irq::{self, IrqGuard};

/// What the checks must know of the place they run at. Called with interrupts off.
pub trait Context: Sync {
    /// The record of this CPU's spinning locks.
    fn cpu(&self) -> &'static Held;
    /// The record of the running task's sleeping locks; null where there is none.
    fn task(&self) -> *const Held;
    fn in_interrupt(&self) -> bool;
    /// The caller's stack, innermost first; what is not filled in stays 0.
    fn backtrace(&self, trace: &mut Trace);
    /// Says what is wrong. It may return, for a survey of all that is.
    fn violation(&self, violation: &Violation);
}

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Taken under the other, under which it is taken elsewhere.
    Order,
    /// Taken by who holds it.
    Twice,
    /// An interrupt takes it, and it or one taken under it is held with interrupts on.
    Interrupts,
    /// A sleep, or what may become one, under it.
    Sleep,
    /// A sleep, or what may become one, in an interrupt.
    SleepInInterrupt,
}

/// What is wrong, and when the contrary was first seen.
pub struct Violation {
    pub what: What,
    /// Where the lock at fault was made.
    pub lock: Option<&'static Location<'static>>,
    pub other: Option<&'static Location<'static>>,
    /// The stack of an earlier moment that contradicts this one.
    pub before: Trace,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.what {
            What::Order => "lock order turned round",
            What::Twice => "lock taken by who holds it",
            What::Interrupts => "lock taken by interrupts and held with interrupts on",
            What::Sleep => "sleep under a spinning lock",
            What::SleepInInterrupt => "sleep in an interrupt",
        };
        f.write_str(text)?;
        let sites = [("lock", self.lock), ("other", self.other)];
        for (name, site) in sites {
            if let Some(site) = site {
                write!(f, ", {name} made at {}:{}", site.file(), site.line())?;
            }
        }
        Ok(())
    }
}

struct Slot(UnsafeCell<Option<&'static dyn Context>>);
// SAFETY: written once, before `ON` says so.
unsafe impl Sync for Slot {}

static CONTEXT: Slot = Slot(UnsafeCell::new(None));
static ON: AtomicBool = AtomicBool::new(false);

/// From here on locks are checked. Once.
pub fn install(context: &'static dyn Context) {
    // SAFETY: nobody reads it before `ON`, and nobody else writes.
    unsafe { *CONTEXT.0.get() = Some(context) };
    ON.store(true, Ordering::Release);
}

/// Ends all checks: for a kernel that is panicking.
pub fn disable() {
    ON.store(false, Ordering::Release);
}

fn context() -> Option<&'static dyn Context> {
    // SAFETY: written before `ON`, whose store pairs with this load, and never again.
    ON.load(Ordering::Acquire)
        .then(|| unsafe { *CONTEXT.0.get() })
        .flatten()
}

/// A lock being taken: when it began.
#[derive(Clone, Copy)]
pub struct Attempt(u64);

impl LockClass {
    /// Before a lock is waited for.
    pub fn before(&self, lock: *const (), kind: Kind) -> Attempt {
        if let Some(context) = context() {
            let interruptible = irq::enabled();
            let _irq = IrqGuard::new();
            check(context, self.index(), lock as usize, kind, interruptible);
        }
        Attempt(ticks())
    }

    /// Before a lock is tried: no order is kept by who does not wait.
    pub fn trying(&self) -> Attempt {
        Attempt(ticks())
    }

    /// Once it is held.
    pub fn acquired(&self, lock: *const (), kind: Kind, attempt: Attempt, waited: bool) {
        let Some(context) = context() else { return };
        let _irq = IrqGuard::new();
        let class = self.index();
        let now = ticks();
        let stats = class::stats_of(class);
        stats.acquired.fetch_add(1, Ordering::Relaxed);
        if waited {
            stats.waited(now.saturating_sub(attempt.0));
        }
        if let Some(held) = held(context, kind) {
            held.push(Entry {
                class: class as u16,
                lock: lock as usize,
                since: now,
            });
        }
    }

    /// Before it is given up. One taken before the checks began is not known.
    pub fn released(&self, lock: *const (), kind: Kind) {
        let Some(context) = context() else { return };
        let interruptible = irq::enabled();
        let _irq = IrqGuard::new();
        let Some(entry) = held(context, kind).and_then(|held| held.remove(lock as usize)) else {
            return;
        };
        let class = usize::from(entry.class);
        class::stats_of(class).held(ticks().saturating_sub(entry.since));
        if kind == Kind::Spinning && interruptible && !context.in_interrupt() {
            note(context, Fact::Interrupted(class));
        }
    }
}

fn held(context: &dyn Context, kind: Kind) -> Option<&Held> {
    match kind {
        Kind::Spinning => Some(context.cpu()),
        // SAFETY: the running task's record, which lives as long as the task runs.
        Kind::Sleeping => unsafe { context.task().as_ref() },
    }
}

fn check(context: &dyn Context, class: usize, lock: usize, kind: Kind, interruptible: bool) {
    let in_interrupt = context.in_interrupt();
    if kind == Kind::Sleeping {
        check_sleep(context);
    }
    if let Some(held) = held(context, kind) {
        held.for_each(|entry| {
            let under = usize::from(entry.class);
            if entry.lock == lock {
                fail(context, What::Twice, Some(class), None, [0; DEPTH]);
            }
            if under != class {
                note(context, Fact::Under(under, class));
            }
        });
    }
    if kind == Kind::Spinning && in_interrupt {
        note(context, Fact::InInterrupt(class));
    } else if kind == Kind::Spinning && interruptible {
        note(context, Fact::Interrupted(class));
    }
}

/// Notes a fact, and fails if the known facts contradict it.
fn note(context: &dyn Context, fact: Fact) {
    if order::known(fact) {
        return;
    }
    let mut trace = [0; DEPTH];
    context.backtrace(&mut trace);
    let Some(against) = order::add(fact, &trace) else {
        return;
    };
    let before = order::trace_of(against);
    let (what, lock, other) = match (fact, against) {
        (Fact::Under(first, second), Fact::Under(..)) => (What::Order, second, Some(first)),
        (Fact::Under(_, class) | Fact::InInterrupt(class) | Fact::Interrupted(class), other) => {
            let (Fact::Under(_, other) | Fact::InInterrupt(other) | Fact::Interrupted(other)) =
                other;
            (What::Interrupts, class, Some(other))
        }
    };
    fail(context, what, Some(lock), other, before)
}

fn fail(
    context: &dyn Context,
    what: What,
    lock: Option<usize>,
    other: Option<usize>,
    before: Trace,
) {
    context.violation(&Violation {
        what,
        lock: lock.and_then(class::site_of),
        other: other.and_then(class::site_of),
        before,
    })
}

fn check_sleep(context: &dyn Context) {
    if let Some(entry) = context.cpu().last() {
        let class = Some(usize::from(entry.class));
        fail(context, What::Sleep, class, None, [0; DEPTH]);
    }
    if context.in_interrupt() {
        fail(context, What::SleepInInterrupt, None, None, [0; DEPTH]);
    }
}

/// Where the caller may go to sleep.
pub fn may_sleep() {
    if let Some(context) = context() {
        let _irq = IrqGuard::new();
        check_sleep(context);
    }
}

/// Where the caller touches user memory: with interrupts off that never sleeps.
pub fn may_fault() {
    if irq::enabled() {
        may_sleep();
    }
}

/// Where the caller takes memory: under a spinning lock this is counted, for the lock's class.
pub fn may_allocate() {
    if let Some(context) = context() {
        let _irq = IrqGuard::new();
        if let Some(entry) = context.cpu().last() {
            let stats = class::stats_of(usize::from(entry.class));
            stats.allocations.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The time-stamp counter.
fn ticks() -> u64 {
    // SAFETY: every 64-bit processor has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
