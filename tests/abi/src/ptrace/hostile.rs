//! Everybody traces everybody: nobody else is harmed, and everybody can be killed.

use std::sync::atomic::Ordering;

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    everybody_traces_everybody,
    two_trace_each_other_and_die,
    a_tracer_dies_while_its_tracee_runs,
    threads_are_traced_while_they_come_and_go,
];

/// Processes that trace each other.
const CROWD: usize = 6;
/// What each of them tries.
const TRIES: u32 = 300;

/// A number below `bound`.
fn random(state: &mut u64, bound: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % bound
}

/// Makes random requests of the crowd, whose numbers are at `list`, and of init, which is seized and interrupted but
/// never given a signal.
fn molest(list: usize, me: usize) {
    let scratch = map(PAGE).unwrap_or(0);
    let mut state = me as u64 * 77 + 5;
    for _ in 0..TRIES {
        let who = random(&mut state, CROWD + 1);
        let init = who == CROWD;
        let pid = match init {
            true => 1,
            false => word(list + 4 * who).load(Ordering::SeqCst) as i32,
        };
        let request = match random(&mut state, 12) {
            0 if !init => req::ATTACH,
            0..=2 => req::SEIZE,
            3 => req::INTERRUPT,
            4 | 5 => req::CONT,
            6 => req::DETACH,
            7 if !init => req::SYSCALL,
            8 if !init => req::SINGLESTEP,
            9 => req::LISTEN,
            10 => req::GETREGS,
            _ => req::PEEKUSER,
        };
        let data = match request {
            req::GETREGS | req::PEEKUSER => scratch,
            _ => 0,
        };
        let _ = ptrace(request, pid, 0, data);
        if random(&mut state, 3) == 0 {
            let _ = sys!(SYS_wait4, -1, 0, libc::__WALL | libc::WNOHANG, 0);
        }
        if random(&mut state, 5) == 0 {
            let _ = sys!(SYS_sched_yield);
        }
    }
}

fn everybody_traces_everybody() -> Outcome {
    let list = map_shared(PAGE)?;
    let mut crowd = Vec::new();
    for me in 0..CROWD {
        let pid = fork(|| {
            while word(list + 4 * CROWD).load(Ordering::SeqCst) == 0 {
                nap();
            }
            molest(list, me);
            0
        })?;
        word(list + 4 * me).store(pid as u32, Ordering::SeqCst);
        crowd.push(pid);
    }
    word(list + 4 * CROWD).store(1, Ordering::SeqCst);
    // Some are done, others are stopped by each other for ever: nobody is left after this.
    for _ in 0..100 {
        nap();
    }
    for pid in &crowd {
        sys!(SYS_kill, *pid, libc::SIGKILL)?;
    }
    for pid in crowd {
        let status = wait(pid)?;
        // A stop for a call or a step may be left behind as a SIGTRAP.
        let ends = [0, libc::SIGKILL, libc::SIGTRAP];
        check(ends.contains(&status), "an odd end")?;
    }
    equal(status_of(1, "TracerPid")?, 0)?;
    await_state(1, "SRD")?;
    equal(wait(fork(|| 3)?)?, 3 << 8)
}

fn two_trace_each_other_and_die() -> Outcome {
    for _ in 0..5 {
        let list = map_shared(PAGE)?;
        let body = |me: usize| {
            while word(list + 8).load(Ordering::SeqCst) == 0 {
                let _ = sys!(SYS_sched_yield);
            }
            let other = word(list + 4 * (1 - me)).load(Ordering::SeqCst) as i32;
            let _ = ptrace(req::SEIZE, other, 0, opt::EXITKILL);
            loop {
                let _ = ptrace(req::INTERRUPT, other, 0, 0);
                let _ = sys!(SYS_sched_yield);
            }
        };
        let pids = [fork(|| body(0))?, fork(|| body(1))?];
        for (me, pid) in pids.into_iter().enumerate() {
            word(list + 4 * me).store(pid as u32, Ordering::SeqCst);
        }
        word(list + 8).store(1, Ordering::SeqCst);
        nap();
        // A tracer that does not wait keeps the other a zombie, so that both go first.
        for pid in pids {
            sys!(SYS_kill, pid, libc::SIGKILL)?;
        }
        for pid in pids {
            equal(wait(pid)?, libc::SIGKILL)?;
        }
    }
    Ok(())
}

fn a_tracer_dies_while_its_tracee_runs() -> Outcome {
    let pid = fork(|| {
        loop {
            let _ = sys!(SYS_getppid);
        }
    })?;
    // Not in the middle of a step, whose trap would be the end of one that nobody traces; and a stop that nobody has
    // waited for is a signal then, if its code is one: that of a call is none by TRACESYSGOOD.
    for round in 0..30 {
        let tracer = fork(|| {
            let _ = ptrace(req::SEIZE, pid, 0, opt::SYSGOOD);
            loop {
                let _ = ptrace(req::INTERRUPT, pid, 0, 0);
                let _ = sys!(SYS_wait4, pid, 0, libc::__WALL, 0);
                let _ = ptrace(req::SYSCALL, pid, 0, 0);
                let _ = sys!(SYS_wait4, pid, 0, libc::__WALL, 0);
                let _ = ptrace(req::CONT, pid, 0, 0);
            }
        })?;
        for _ in 0..round % 4 {
            nap();
        }
        sys!(SYS_kill, tracer, libc::SIGKILL)?;
        equal(wait(tracer)?, libc::SIGKILL)?;
    }
    equal(status_of(pid, "TracerPid")?, 0)?;
    check(!"tT".contains(state_of(pid)?), "left stopped")?;
    kill_now(pid)
}

extern "C" fn end_at_once(_argument: *mut libc::c_void) -> i32 {
    0
}

fn threads_are_traced_while_they_come_and_go() -> Outcome {
    let pid = traced(|| {
        for _ in 0..40 {
            match thread(end_at_once, 0) {
                Ok(word) => await_word(word, 0),
                Err(_) => return 1,
            }
        }
        2
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::CLONE | opt::EXIT)?;
    resume(pid, 0)?;
    let mut ended = 0;
    loop {
        let mut status = 0;
        let who = sys!(SYS_wait4, -1, &mut status, libc::__WALL, 0)? as i32;
        let status = std::hint::black_box(status);
        match (who == pid, libc::WIFSTOPPED(status)) {
            (true, false) => {
                equal(status, 2 << 8)?;
                return equal(ended, 40);
            }
            (false, false) => ended += 1,
            (_, true) => {
                resume(who, 0)?;
            }
        }
    }
}
