//! Calls that do next to nothing: the way into the kernel and back.

use super::{Case, Test, each};
use crate::problem::{Outcome, ensure, expect, good};
use crate::sys;

pub static TESTS: &[Test] = &[
    Test::new("getpid", 20_000, "getpid()", getpid).quick(),
    Test::new("gettid", 20_000, "gettid()", gettid),
    Test::new("getuid", 20_000, "getuid()", getuid),
    Test::new("getsid", 20_000, "getsid() of the caller", getsid),
    Test::new("uname", 20_000, "uname()", uname),
    Test::new(
        "sched_yield",
        20_000,
        "sched_yield() with nobody to yield to",
        sched_yield,
    ),
    Test::new(
        "getpriority",
        20_000,
        "getpriority() of the caller",
        getpriority,
    ),
    Test::new(
        "getrlimit",
        20_000,
        "getrlimit() of the descriptors' limit",
        getrlimit,
    ),
    Test::new(
        "setrlimit",
        20_000,
        "setrlimit() of the descriptors' limit to what it is",
        setrlimit,
    ),
    Test::new(
        "prlimit64",
        20_000,
        "prlimit64() that reads the descriptors' limit",
        prlimit64,
    ),
    Test::new(
        "clock_gettime",
        50_000,
        "clock_gettime() of the monotonic clock, by the vDSO",
        clock_gettime,
    ),
    Test::new(
        "clock_gettime_sys",
        20_000,
        "clock_gettime() of the monotonic clock, by the system call",
        clock_gettime_sys,
    ),
];

fn getpid() -> Outcome<Box<dyn Case>> {
    let pid = sys::getpid();
    each(move || expect("getpid", sys::getpid(), pid))
}

fn gettid() -> Outcome<Box<dyn Case>> {
    let tid = sys::getpid();
    each(move || expect("gettid", sys::gettid(), tid))
}

fn getuid() -> Outcome<Box<dyn Case>> {
    let uid = sys::getuid();
    each(move || expect("getuid", sys::getuid(), uid))
}

fn getsid() -> Outcome<Box<dyn Case>> {
    let session = good("getsid", sys::getsid(0))?;
    each(move || expect("getsid", sys::getsid(0), session))
}

fn uname() -> Outcome<Box<dyn Case>> {
    each(|| {
        let mut name: libc::utsname = sys::blank();
        expect("uname", sys::uname(&mut name), 0)?;
        ensure(name.release[0] != 0, || "no release".to_owned())
    })
}

fn sched_yield() -> Outcome<Box<dyn Case>> {
    each(|| expect("sched_yield", sys::sched_yield(), 0))
}

fn getpriority() -> Outcome<Box<dyn Case>> {
    let priority = good("getpriority", sys::getpriority(libc::PRIO_PROCESS, 0))?;
    each(move || {
        let now = sys::getpriority(libc::PRIO_PROCESS, 0);
        expect("getpriority", now, priority)
    })
}

fn limit() -> Outcome<libc::rlimit> {
    let mut limit: libc::rlimit = sys::blank();
    expect(
        "getrlimit",
        sys::getrlimit(libc::RLIMIT_NOFILE, &mut limit),
        0,
    )?;
    Ok(limit)
}

fn getrlimit() -> Outcome<Box<dyn Case>> {
    let first = limit()?;
    each(move || {
        let now = limit()?;
        ensure(now.rlim_cur == first.rlim_cur, || {
            "another limit".to_owned()
        })
    })
}

fn setrlimit() -> Outcome<Box<dyn Case>> {
    let limit = limit()?;
    each(move || expect("setrlimit", sys::setrlimit(libc::RLIMIT_NOFILE, &limit), 0))
}

fn prlimit64() -> Outcome<Box<dyn Case>> {
    let first = limit()?;
    each(move || {
        let mut now: libc::rlimit = sys::blank();
        let answer = sys::prlimit64(0, libc::RLIMIT_NOFILE, 0, &mut now);
        expect("prlimit64", answer, 0)?;
        ensure(now.rlim_cur == first.rlim_cur, || {
            "another limit".to_owned()
        })
    })
}

/// Reads the clock with `read` and checks that it does not go back.
fn clock(read: fn(i32, &mut libc::timespec) -> isize) -> Outcome<Box<dyn Case>> {
    let mut last = (0, 0);
    each(move || {
        let mut now: libc::timespec = sys::blank();
        expect("clock_gettime", read(libc::CLOCK_MONOTONIC, &mut now), 0)?;
        let now = (now.tv_sec, now.tv_nsec);
        ensure(now >= last, || "the clock went back".to_owned())?;
        last = now;
        Ok(())
    })
}

fn clock_gettime() -> Outcome<Box<dyn Case>> {
    clock(sys::clock_gettime_libc)
}

fn clock_gettime_sys() -> Outcome<Box<dyn Case>> {
    clock(sys::clock_gettime)
}
