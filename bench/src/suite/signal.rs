//! Signals: dispositions, masks, delivery, timers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{Case, Test, each};
use crate::fixture::Partner;
use crate::mapping::{Mapping, PAGE};
use crate::problem::{Outcome, ensure, expect};
use crate::sys::{self, Action};

/// The kernel's sets of signals are one word.
const SET_BYTES: usize = 8;
const SIGUSR1_SET: u64 = 1 << (libc::SIGUSR1 - 1);

pub static TESTS: &[Test] = &[
    Test::new(
        "sigaction",
        20_000,
        "rt_sigaction() that ignores a signal or stops to",
        sigaction,
    ),
    Test::new(
        "sigprocmask",
        10_000,
        "rt_sigprocmask() that blocks a signal, and one that unblocks it",
        sigprocmask,
    ),
    Test::new(
        "signal_delivery",
        5_000,
        "kill() of the caller, the handler, and the return from it",
        signal_delivery,
    ),
    Test::new(
        "signal_pingpong",
        500,
        "a signal to another process, which wakes, handles it and answers with one",
        signal_pingpong,
    ),
    Test::new(
        "segv_handler",
        2_000,
        "a write to a protected page; the SIGSEGV handler allows it; mprotect() forbids it again",
        segv_handler,
    ),
    Test::new(
        "itimer",
        5_000,
        "setitimer(ITIMER_REAL) that arms the timer, and one that disarms it",
        itimer,
    ),
];

fn sigaction() -> Outcome<Box<dyn Case>> {
    let mut last = libc::SIG_DFL;
    each(move || {
        let new = Action {
            handler: last ^ libc::SIG_IGN,
            flags: 0,
            restorer: 0,
            mask: 0,
        };
        let mut old: Action = sys::blank();
        let answer = sys::rt_sigaction(libc::SIGUSR2, &new, &mut old, SET_BYTES);
        expect("rt_sigaction", answer, 0)?;
        ensure(old.handler == last, || "another disposition".to_owned())?;
        last = new.handler;
        Ok(())
    })
}

fn sigprocmask() -> Outcome<Box<dyn Case>> {
    each(|| {
        let mut old = 0;
        let answer = sys::rt_sigprocmask(libc::SIG_BLOCK, &SIGUSR1_SET, &mut old, SET_BYTES);
        expect("rt_sigprocmask", answer, 0)?;
        ensure(old & SIGUSR1_SET == 0, || "blocked already".to_owned())?;
        let answer = sys::rt_sigprocmask(libc::SIG_UNBLOCK, &SIGUSR1_SET, &mut old, SET_BYTES);
        expect("rt_sigprocmask", answer, 0)?;
        ensure(old & SIGUSR1_SET != 0, || "not blocked".to_owned())
    })
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Counts how often the handler runs, in each iteration once.
struct Delivery<F> {
    iteration: F,
    before: u64,
}

impl<F: FnMut() -> Outcome> Case for Delivery<F> {
    fn run(&mut self, iterations: u64) -> Outcome {
        self.before = HANDLED.load(Ordering::Relaxed);
        for _ in 0..iterations {
            (self.iteration)()?;
        }
        Ok(())
    }

    fn verify(&mut self, iterations: u64) -> Outcome {
        let handled = HANDLED.load(Ordering::Relaxed) - self.before;
        ensure(handled == iterations, || {
            format!("{handled} signals of {iterations}")
        })
    }
}

fn delivery<F: FnMut() -> Outcome + 'static>(iteration: F) -> Outcome<Box<dyn Case>> {
    Ok(Box::new(Delivery {
        iteration,
        before: 0,
    }))
}

fn signal_delivery() -> Outcome<Box<dyn Case>> {
    expect("sigaction", sys::handle(libc::SIGUSR1, count), 0)?;
    let pid = sys::getpid() as i32;
    delivery(move || expect("kill", sys::kill(pid, libc::SIGUSR1), 0))
}

fn signal_pingpong() -> Outcome<Box<dyn Case>> {
    expect("sigaction", sys::handle(libc::SIGUSR1, count), 0)?;
    // Blocked except while waiting: no signal can come between the look and the wait.
    let mut open = 0;
    let answer = sys::rt_sigprocmask(libc::SIG_BLOCK, &SIGUSR1_SET, &mut open, SET_BYTES);
    expect("rt_sigprocmask", answer, 0)?;
    let interrupted = -(libc::EINTR as isize);
    let wait = move || {
        expect(
            "rt_sigsuspend",
            sys::rt_sigsuspend(&open, SET_BYTES),
            interrupted,
        )
    };
    let parent = sys::getpid() as i32;
    let partner = Partner::start(move || {
        loop {
            wait()?;
            expect("kill", sys::kill(parent, libc::SIGUSR1), 0)?;
        }
    })?;
    delivery(move || {
        expect("kill", sys::kill(partner.pid(), libc::SIGUSR1), 0)?;
        wait()
    })
}

/// The page that the handler of SIGSEGV allows.
static PROTECTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn allow(_signal: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    if sys::allow_page(PROTECTED.load(Ordering::Relaxed)) != 0 {
        sys::exit(1);
    }
}

fn segv_handler() -> Outcome<Box<dyn Case>> {
    let page = Mapping::fresh(PAGE)?;
    PROTECTED.store(page.address(), Ordering::Relaxed);
    expect("sigaction", sys::handle(libc::SIGSEGV, allow), 0)?;
    page.bump(0);
    expect("mprotect", page.protect(libc::PROT_READ), 0)?;
    delivery(move || {
        page.bump(0);
        expect("mprotect", page.protect(libc::PROT_READ), 0)
    })
}

fn itimer() -> Outcome<Box<dyn Case>> {
    let mut armed: libc::itimerval = sys::blank();
    armed.it_value.tv_sec = 1000;
    let disarmed: libc::itimerval = sys::blank();
    each(move || {
        let mut old: libc::itimerval = sys::blank();
        let answer = sys::setitimer(libc::ITIMER_REAL, &armed, &mut old);
        expect("setitimer", answer, 0)?;
        ensure(old.it_value.tv_sec == 0, || "armed already".to_owned())?;
        let answer = sys::setitimer(libc::ITIMER_REAL, &disarmed, &mut old);
        expect("setitimer", answer, 0)?;
        ensure(old.it_value.tv_sec >= 990, || "not armed".to_owned())
    })
}
