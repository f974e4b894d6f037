//! Signals on their way to a tracee.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_signal_stops_before_it_is_delivered,
    a_signal_may_be_suppressed,
    a_signal_may_be_changed,
    the_stop_tells_who_sent_it,
    the_information_may_be_changed,
    sigkill_makes_no_stop,
    ignored_signals_stop_too,
    blocked_signals_do_not_stop,
    a_fatal_signal_may_be_held_back,
    a_signal_blocked_in_the_stop_is_queued_again,
    faults_stop,
    the_mask_can_be_read_and_set,
    the_mask_before_sigsuspend_is_shown,
    pending_signals_can_be_peeked_at,
    a_stop_is_told_once,
    waitid_tells_of_a_trap,
    the_tracer_gets_sigchld,
    nocldstop_keeps_sigchld_away,
    a_pending_call_goes_on_without_the_signal,
    sigkill_ends_a_stop,
];

fn raiser(signal: i32) -> Outcome<i32> {
    let pid = traced(move || {
        let _ = catch(signal, 0);
        let _ = raise(signal);
        hits(signal) as i32
    })?;
    resume(pid, 0)?;
    expect_stop(pid, signal)?;
    Ok(pid)
}

fn a_signal_stops_before_it_is_delivered() -> Outcome {
    for signal in [libc::SIGUSR1, libc::SIGCONT, libc::SIGTRAP, 40] {
        let pid = raiser(signal)?;
        resume(pid, signal)?;
        expect_exit(pid, 1)?;
    }
    Ok(())
}

fn a_signal_may_be_suppressed() -> Outcome {
    let pid = raiser(libc::SIGUSR1)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn a_signal_may_be_changed() -> Outcome {
    let me = getpid();
    let pid = traced(move || {
        let _ = catch(libc::SIGUSR2, 0);
        let _ = raise(libc::SIGUSR1);
        let info = last_info();
        // SAFETY: a signal by kill.
        let sender = unsafe { info.si_pid() };
        i32::from(hits(libc::SIGUSR2) != 1 || info.si_code != 0 || sender != me)
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    resume(pid, libc::SIGUSR2)?;
    expect_exit(pid, 0)
}

fn the_stop_tells_who_sent_it() -> Outcome {
    let pid = raiser(libc::SIGUSR1)?;
    let info = siginfo(pid)?;
    // SAFETY: a signal by kill.
    let sender = unsafe { info.si_pid() };
    equal(
        (info.si_signo, info.si_code, sender),
        (libc::SIGUSR1, 0, pid),
    )?;
    kill_now(pid)
}

fn the_information_may_be_changed() -> Outcome {
    let pid = traced(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let _ = raise(libc::SIGUSR1);
        // SAFETY: a signal by kill.
        unsafe { last_info().si_pid() & 0x7f }
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    let mut info = siginfo(pid)?;
    // SAFETY: si_pid is the fourth word.
    unsafe { (&raw mut info).cast::<i32>().add(4).write(55) };
    sys!(SYS_ptrace, req::SETSIGINFO, pid, 0, &info)?;
    resume(pid, libc::SIGUSR1)?;
    expect_exit(pid, 55)
}

fn sigkill_makes_no_stop() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGKILL);
        0
    })?;
    resume(pid, 0)?;
    expect_status(pid, libc::SIGKILL)
}

fn ignored_signals_stop_too() -> Outcome {
    let pid = traced(|| {
        let _ = handle(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
        let _ = raise(libc::SIGUSR1);
        let _ = raise(libc::SIGURG);
        4
    })?;
    for signal in [libc::SIGUSR1, libc::SIGURG] {
        resume(pid, 0)?;
        expect_stop(pid, signal)?;
    }
    resume(pid, libc::SIGURG)?;
    expect_exit(pid, 4)
}

fn blocked_signals_do_not_stop() -> Outcome {
    let pid = traced(|| {
        let _ = block(&[libc::SIGUSR1]);
        let _ = raise(libc::SIGUSR1);
        let _ = raise(libc::SIGUSR2);
        let _ = unblock(&[libc::SIGUSR1]);
        4
    })?;
    for signal in [libc::SIGUSR2, libc::SIGUSR1] {
        resume(pid, 0)?;
        expect_stop(pid, signal)?;
    }
    resume(pid, 0)?;
    expect_exit(pid, 4)
}

fn a_fatal_signal_may_be_held_back() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGTERM);
        let _ = raise(libc::SIGTERM);
        5
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTERM)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTERM)?;
    resume(pid, libc::SIGTERM)?;
    expect_status(pid, libc::SIGTERM)
}

fn a_signal_blocked_in_the_stop_is_queued_again() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGUSR1);
        i32::from(pending() != Ok(set_of(&[libc::SIGUSR1])))
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    let mask = set_of(&[libc::SIGUSR1]);
    sys!(SYS_ptrace, req::SETSIGMASK, pid, 8, &mask)?;
    resume(pid, libc::SIGUSR1)?;
    expect_exit(pid, 0)
}

fn faults_stop() -> Outcome {
    let pid = traced(|| {
        touch(16);
        0
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGSEGV)?;
    let info = siginfo(pid)?;
    // SAFETY: a fault.
    equal((info.si_code, unsafe { info.si_addr() } as usize), (1, 16))?;
    resume(pid, libc::SIGSEGV)?;
    let status = next(pid)?;
    equal(libc::WTERMSIG(status), libc::SIGSEGV)
}

fn the_mask_can_be_read_and_set() -> Outcome {
    let pid = traced(|| {
        let _ = block(&[libc::SIGHUP]);
        let _ = raise(libc::SIGUSR1);
        i32::from(block(&[]) != Ok(set_of(&[libc::SIGINT])))
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    let mut mask = 0_u64;
    sys!(SYS_ptrace, req::GETSIGMASK, pid, 8, &mut mask)?;
    equal(std::hint::black_box(mask), set_of(&[libc::SIGHUP]))?;
    fails(
        sys!(SYS_ptrace, req::GETSIGMASK, pid, 16, &mut mask),
        libc::EINVAL,
    )?;
    mask = set_of(&[libc::SIGINT, libc::SIGKILL, libc::SIGSTOP]);
    sys!(SYS_ptrace, req::SETSIGMASK, pid, 8, &mask)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn the_mask_before_sigsuspend_is_shown() -> Outcome {
    let pid = traced(|| {
        let _ = block(&[libc::SIGHUP]);
        let none = 0_u64;
        let _ = sys!(SYS_rt_sigsuspend, &none, 8);
        0
    })?;
    resume(pid, 0)?;
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGHUP)?;
    expect_stop(pid, libc::SIGHUP)?;
    let mut mask = 0_u64;
    sys!(SYS_ptrace, req::GETSIGMASK, pid, 8, &mut mask)?;
    equal(std::hint::black_box(mask), set_of(&[libc::SIGHUP]))?;
    kill_now(pid)
}

/// `struct ptrace_peeksiginfo_args`.
#[repr(C)]
struct Peek {
    offset: u64,
    flags: u32,
    count: i32,
}

fn peek_infos(pid: i32, offset: u64, flags: u32, count: i32) -> Sys<Vec<(i32, usize)>> {
    let mut infos = [zeroed::<libc::siginfo_t>(); 8];
    let args = Peek {
        offset,
        flags,
        count,
    };
    let found = sys!(SYS_ptrace, req::PEEKSIGINFO, pid, &args, infos.as_mut_ptr())?;
    let infos = infos.iter().take(found);
    // SAFETY: signals with a value.
    Ok(infos
        .map(|info| (info.si_signo, unsafe { info.si_value() }.sival_ptr as usize))
        .collect())
}

fn pending_signals_can_be_peeked_at() -> Outcome {
    let pid = traced(|| {
        let _ = block(&[40, 41]);
        for (signal, value) in [(40, 1_usize), (40, 2), (40, 3)] {
            let mut info = [0_i32; 32];
            info[2] = -1;
            info[6] = value as i32;
            let _ = sys!(SYS_rt_sigqueueinfo, getpid(), signal, info.as_ptr());
        }
        let mut info = [0_i32; 32];
        info[2] = -1;
        info[6] = 9;
        let tid = sys!(SYS_gettid).unwrap_or(0);
        let _ = sys!(SYS_rt_tgsigqueueinfo, getpid(), tid, 41, info.as_ptr());
        let _ = raise(libc::SIGUSR1);
        0
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    equal(peek_infos(pid, 0, 1, 8)?, vec![(40, 1), (40, 2), (40, 3)])?;
    equal(peek_infos(pid, 1, 1, 1)?, vec![(40, 2)])?;
    equal(peek_infos(pid, 0, 0, 8)?, vec![(41, 9)])?;
    equal(peek_infos(pid, 3, 1, 8)?, vec![])?;
    fails(peek_infos(pid, 0, 2, 8), libc::EINVAL)?;
    fails(peek_infos(pid, 0, 0, -1), libc::EINVAL)?;
    kill_now(pid)
}

fn a_stop_is_told_once() -> Outcome {
    let pid = traced(|| 0)?;
    nothing(pid)?;
    equal(sys!(SYS_wait4, -1, 0, libc::__WALL | libc::WNOHANG, 0)?, 0)?;
    kill_now(pid)
}

fn waitid_tells_of_a_trap() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGUSR1);
        0
    })?;
    resume(pid, 0)?;
    for options in [libc::WSTOPPED | libc::WNOWAIT, libc::WEXITED] {
        let mut info = zeroed::<libc::siginfo_t>();
        sys!(SYS_waitid, libc::P_PID, pid, &mut info, options, 0)?;
        // SAFETY: the signal tells of a child.
        let told = unsafe { (info.si_pid(), info.si_status()) };
        equal(
            (info.si_signo, info.si_code, told),
            (libc::SIGCHLD, libc::CLD_TRAPPED, (pid, libc::SIGUSR1)),
        )?;
    }
    nothing(pid)?;
    kill_now(pid)
}

fn the_tracer_gets_sigchld() -> Outcome {
    let pid = traced(|| {
        let _ = raise(libc::SIGUSR1);
        0
    })?;
    catch(libc::SIGCHLD, 0)?;
    resume(pid, 0)?;
    while hits(libc::SIGCHLD) == 0 {
        nap();
    }
    let info = last_info();
    // SAFETY: the signal tells of a child.
    let told = unsafe { (info.si_pid(), info.si_status()) };
    equal(
        (info.si_code, told),
        (libc::CLD_TRAPPED, (pid, libc::SIGUSR1)),
    )?;
    expect_stop(pid, libc::SIGUSR1)?;
    kill_now(pid)
}

fn nocldstop_keeps_sigchld_away() -> Outcome {
    catch(libc::SIGCHLD, libc::SA_NOCLDSTOP)?;
    let pid = raiser(libc::SIGUSR1)?;
    equal(hits(libc::SIGCHLD), 0)?;
    kill_now(pid)
}

fn a_pending_call_goes_on_without_the_signal() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = traced(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let mut byte = [0];
        match read(read_end, &mut byte) {
            Ok(1) => i32::from(byte[0]),
            _ => 99,
        }
    })?;
    resume(pid, 0)?;
    await_state(pid, "S")?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    expect_stop(pid, libc::SIGUSR1)?;
    resume(pid, 0)?;
    write(write_end, &[6])?;
    expect_exit(pid, 6)
}

fn sigkill_ends_a_stop() -> Outcome {
    let pid = traced(|| 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    expect_status(pid, libc::SIGKILL)?;
    let pid = traced(|| 0)?;
    ptrace(req::KILL, pid, 0, 0)?;
    expect_status(pid, libc::SIGKILL)
}
