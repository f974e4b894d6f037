//! Waiting for signals, and calls that they interrupt.

use super::{queue, value_of};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    sigsuspend_swaps_the_mask,
    sigtimedwait_takes_the_signal,
    sigtimedwait_times_out_with_eagain,
    sigtimedwait_takes_in_order,
    sigtimedwait_is_interrupted_by_others,
    restart_of_read,
    no_restart_without_the_flag,
    nanosleep_is_interrupted_and_tells_the_rest,
    poll_never_restarts,
    pause_ends_after_a_handler,
];

fn sigsuspend_swaps_the_mask() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    raise(libc::SIGUSR1)?;
    let mask = set_of(&[libc::SIGUSR2]);
    fails(sys!(SYS_rt_sigsuspend, &mask, 8), libc::EINTR)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(block(&[])?, set_of(&[libc::SIGUSR1, libc::SIGUSR2]))
}

fn sigtimedwait_takes_the_signal() -> Outcome {
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let info = take(&[libc::SIGUSR1])?;
    equal(
        (info.si_signo, info.si_code),
        (libc::SIGUSR1, libc::SI_USER),
    )?;
    equal(pending()?, 0)
}

fn sigtimedwait_times_out_with_eagain() -> Outcome {
    let (set, time) = (
        set_of(&[libc::SIGUSR1]),
        libc::timespec {
            tv_sec: 0,
            tv_nsec: 1000,
        },
    );
    fails(sys!(SYS_rt_sigtimedwait, &set, 0, &time, 8), libc::EAGAIN)?;
    let wrong = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    fails(sys!(SYS_rt_sigtimedwait, &set, 0, &wrong, 8), libc::EINVAL)
}

fn sigtimedwait_takes_in_order() -> Outcome {
    block(&[50, 45, libc::SIGTERM])?;
    for (signal, value) in [(50, 1), (45, 2), (45, 3), (libc::SIGTERM, 4)] {
        queue(getpid(), signal, value)?;
    }
    let mut values = Vec::new();
    for _ in 0..4 {
        values.push(value_of(&take(&[45, 50, libc::SIGTERM])?));
    }
    equal(values, vec![4, 2, 3, 1])
}

/// Sends the signal to the caller once it sleeps.
fn signal_when_asleep(signal: i32) -> Sys<i32> {
    let me = getpid();
    fork(|| {
        let asleep = await_state(me, "S");
        i32::from(asleep.is_err() || sys!(SYS_kill, me, signal).is_err())
    })
}

fn sigtimedwait_is_interrupted_by_others() -> Outcome {
    catch(libc::SIGUSR2, libc::SA_RESTART)?;
    block(&[libc::SIGUSR1])?;
    let pid = signal_when_asleep(libc::SIGUSR2)?;
    fails(take(&[libc::SIGUSR1]).map(|_| ()), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn restart_of_read() -> Outcome {
    let (read_end, write_end) = pipe()?;
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let me = getpid();
    let pid = fork(|| {
        let _ = await_state(me, "S");
        let _ = sys!(SYS_kill, me, libc::SIGUSR1);
        nap();
        let _ = await_state(me, "S");
        i32::from(write(write_end, b"late").is_err())
    })?;
    equal(read_some(read_end)?, b"late".to_vec())?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(wait(pid)?, 0)
}

fn no_restart_without_the_flag() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    catch(libc::SIGUSR1, 0)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(read_some(read_end), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn nanosleep_is_interrupted_and_tells_the_rest() -> Outcome {
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    let time = libc::timespec {
        tv_sec: 1000,
        tv_nsec: 0,
    };
    let mut rest = zeroed::<libc::timespec>();
    fails(sys!(SYS_nanosleep, &time, &mut rest), libc::EINTR)?;
    let rest = std::hint::black_box(rest);
    check(rest.tv_sec > 900 && rest.tv_sec < 1000, "the rest is wrong")?;
    equal(wait(pid)?, 0)
}

fn poll_never_restarts() -> Outcome {
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(sys!(SYS_poll, 0, 0, -1), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn pause_ends_after_a_handler() -> Outcome {
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(sys!(SYS_pause), libc::EINTR)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(wait(pid)?, 0)
}
