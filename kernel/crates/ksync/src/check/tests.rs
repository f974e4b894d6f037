//! The rules, on threads that stand for CPUs. What a violation says is the panic's message.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::{Context, Held, Kind, LockClass, Sort, Trace, Violation, classes, install, may_sleep};
use crate::{IrqSpinLock, SpinLock};

thread_local! {
    static CPU: &'static Held = Box::leak(Box::new(Held::new()));
    static TASK: &'static Held = Box::leak(Box::new(Held::new()));
    static IN_INTERRUPT: Cell<bool> = const { Cell::new(false) };
}

struct Threads;

impl Context for Threads {
    fn cpu(&self) -> &'static Held {
        CPU.with(|held| *held)
    }
    fn task(&self) -> *const Held {
        TASK.with(|held| *held)
    }
    fn in_interrupt(&self) -> bool {
        IN_INTERRUPT.get()
    }
    fn backtrace(&self, trace: &mut Trace) {
        trace[0] = 0x1234;
    }
    fn violation(&self, violation: &Violation) {
        panic!("{violation}; {:x}", violation.before[0]);
    }
}

/// What is said of `work` on a fresh CPU; nothing if it breaks no rule.
fn complaint(work: impl FnOnce() + Send) -> Option<String> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| install(&Threads));
    std::thread::scope(|scope| {
        let run = || catch_unwind(AssertUnwindSafe(work));
        let ended = scope.spawn(run).join().expect("caught");
        ended
            .err()
            .map(|panic| *panic.downcast::<String>().expect("a message"))
    })
}

/// A sleeping lock, as far as the rules go.
struct Sleeper(LockClass);

impl Sleeper {
    fn lock(&self) {
        let lock = core::ptr::from_ref(self).cast();
        let attempt = self.0.before(lock, Kind::Sleeping);
        self.0.acquired(lock, Kind::Sleeping, attempt, false);
    }
}

#[test]
fn the_same_order_twice_is_right_and_the_contrary_is_not() {
    let (a, b) = (IrqSpinLock::new(()), IrqSpinLock::new(()));
    for _ in 0..2 {
        let nested = || {
            let _a = a.lock();
            let _b = b.lock();
        };
        assert_eq!(complaint(nested), None);
    }
    let turned = || {
        let _b = b.lock();
        let _a = a.lock();
    };
    let said = complaint(turned).expect("a complaint");
    assert!(said.starts_with("lock order turned round"), "{said}");
    assert!(said.ends_with("; 1234"), "the first order's stack: {said}");
}

#[test]
fn a_circle_of_three_is_found() {
    let (a, b, c) = (SpinLock::new(()), SpinLock::new(()), SpinLock::new(()));
    let pair = |first: &SpinLock<()>, second: &SpinLock<()>| {
        let _first = first.lock();
        let _second = second.lock();
    };
    assert_eq!(complaint(|| pair(&a, &b)), None);
    assert_eq!(complaint(|| pair(&b, &c)), None);
    assert_eq!(complaint(|| pair(&a, &c)), None);
    assert!(complaint(|| pair(&c, &a)).is_some());
}

#[test]
fn who_only_tries_keeps_no_order() {
    let (a, b) = (SpinLock::new(()), SpinLock::new(()));
    let nested = || {
        let _a = a.lock();
        let _b = b.lock();
    };
    assert_eq!(complaint(nested), None);
    let tried = || {
        let _b = b.lock();
        drop(a.try_lock());
    };
    assert_eq!(complaint(tried), None);
}

#[test]
fn taking_what_one_holds_is_found_before_it_hangs() {
    let a = SpinLock::new(());
    let twice = || {
        let _a = a.lock();
        let _again = a.lock();
    };
    let said = complaint(twice).expect("a complaint");
    assert!(said.starts_with("lock taken by who holds it"), "{said}");
}

#[test]
fn sorts_of_locks_made_at_one_place_are_told_apart() {
    #[derive(Default)]
    struct Both {
        plain: SpinLock<()>,
        irq: IrqSpinLock<()>,
    }
    let both = Both::default();
    let nested = || {
        let _plain = both.plain.lock();
        let _irq = both.irq.lock();
    };
    assert_eq!(complaint(nested), None);
    let turned = || {
        let _irq = both.irq.lock();
        let _plain = both.plain.lock();
    };
    assert!(complaint(turned).is_some(), "two classes have an order");
}

#[test]
fn sleeping_under_a_spinning_lock_is_found() {
    let a = SpinLock::new(());
    assert_eq!(complaint(may_sleep), None);
    let sleeps = || {
        let _a = a.lock();
        may_sleep();
    };
    let said = complaint(sleeps).expect("a complaint");
    assert!(said.starts_with("sleep under a spinning lock"), "{said}");
    let sleeper = Sleeper(LockClass::here(Sort::Sleeping));
    let locks = || {
        let _a = a.lock();
        sleeper.lock();
    };
    assert!(complaint(locks).is_some());
    assert_eq!(complaint(|| sleeper.lock()), None);
}

#[test]
fn sleeping_locks_have_an_order_too() {
    let (a, b) = (
        Sleeper(LockClass::here(Sort::Sleeping)),
        Sleeper(LockClass::here(Sort::Sleeping)),
    );
    let pair = |first: &Sleeper, second: &Sleeper| {
        first.lock();
        second.lock();
    };
    assert_eq!(complaint(|| pair(&a, &b)), None);
    assert!(complaint(|| pair(&b, &a)).is_some());
}

/// Runs `work` as an interrupt of this CPU.
fn interrupt(work: impl FnOnce()) {
    IN_INTERRUPT.set(true);
    work();
    IN_INTERRUPT.set(false);
}

#[test]
fn a_lock_of_interrupts_is_not_held_with_interrupts_on() {
    let a = SpinLock::new(());
    assert_eq!(complaint(|| drop(a.lock())), None);
    let said = complaint(|| interrupt(|| drop(a.lock()))).expect("a complaint");
    assert!(said.starts_with("lock taken by interrupts"), "{said}");
}

#[test]
fn nor_is_one_that_is_taken_under_it() {
    let (a, b) = (SpinLock::new(()), SpinLock::new(()));
    assert_eq!(complaint(|| interrupt(|| drop(a.lock()))), None);
    assert_eq!(complaint(|| drop(b.lock())), None);
    let under = || {
        interrupt(|| {
            let _a = a.lock();
            let _b = b.lock();
        })
    };
    assert!(complaint(under).is_some());
}

#[test]
fn statistics_count_by_the_place_that_makes_the_lock() {
    let locks: Vec<_> = (0..3).map(|_| SpinLock::new(())).collect();
    let line = line!() - 1;
    assert_eq!(
        complaint(|| locks.iter().for_each(|lock| drop(lock.lock()))),
        None
    );
    let (_, stats) = classes()
        .find(|(site, _)| site.line() == line && site.file().ends_with("tests.rs"))
        .expect("a class");
    let count = stats.acquired.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(count, 3);
}
