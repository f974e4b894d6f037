//! Dispositions, masks and queues.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{SEEN, queue, value_of};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    handler_runs_and_returns,
    kill_and_stop_cannot_be_caught,
    sigaction_answers_the_old_action,
    sigaction_refuses_bad_numbers_and_sizes,
    default_actions_end_processes,
    default_ignored_signals_are_ignored,
    ignoring_discards_pending,
    blocked_signal_waits,
    kill_and_stop_cannot_be_blocked,
    procmask_refuses_unknown_how,
    procmask_reads_before_it_writes,
    standard_signals_merge,
    realtime_signals_queue_in_order,
    lowest_signal_first,
    handler_blocks_its_own_signal,
    nodefer_lets_it_nest,
    handler_mask_is_added,
    resethand_works_once,
];

fn handler_runs_and_returns() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    for count in 1..=100 {
        raise(libc::SIGUSR1)?;
        equal(hits(libc::SIGUSR1), count)?;
    }
    Ok(())
}

fn kill_and_stop_cannot_be_caught() -> Outcome {
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        fails(catch(signal, 0), libc::EINVAL)?;
        fails(handle(signal, libc::SIG_IGN, 0, &[]), libc::EINVAL)?;
    }
    Ok(())
}

/// The kernel's own structure.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

fn sigaction_answers_the_old_action() -> Outcome {
    let new = KernelAction {
        handler: 0x1234,
        flags: 0x1400_0004,
        restorer: 0x5678,
        mask: 0xffff,
    };
    let mut old = KernelAction {
        handler: 99,
        ..KernelAction::default()
    };
    sys!(SYS_rt_sigaction, libc::SIGUSR1, &new, &mut old, 8)?;
    equal(std::hint::black_box(old), KernelAction::default())?;
    sys!(SYS_rt_sigaction, libc::SIGUSR1, 0, &mut old, 8)?;
    equal(
        std::hint::black_box(old),
        KernelAction {
            mask: 0xffff & !set_of(&[9]),
            ..new
        },
    )
}

fn sigaction_refuses_bad_numbers_and_sizes() -> Outcome {
    let mut action = KernelAction::default();
    for signal in [0, -1, 65] {
        fails(
            sys!(SYS_rt_sigaction, signal, 0, &mut action, 8),
            libc::EINVAL,
        )?;
    }
    fails(
        sys!(SYS_rt_sigaction, libc::SIGUSR1, 0, &mut action, 16),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_rt_sigaction, libc::SIGUSR1, 8, 0, 8), libc::EFAULT)?;
    fails(sys!(SYS_rt_sigaction, libc::SIGUSR1, 0, 8, 8), libc::EFAULT)
}

fn default_actions_end_processes() -> Outcome {
    let ending = [
        1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 64,
    ];
    for signal in ending {
        let death = death_of(|| {
            let limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE as i32, &limit, 0);
            // A shell starts background jobs with SIGINT and SIGQUIT ignored, and that is inherited.
            // SAFETY: the default action needs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            let _ = raise(signal);
        })?;
        equal(death, signal)?;
    }
    Ok(())
}

fn default_ignored_signals_are_ignored() -> Outcome {
    for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT] {
        raise(signal)?;
    }
    Ok(())
}

fn ignoring_discards_pending() -> Outcome {
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    handle(libc::SIGUSR1, libc::SIG_IGN, 0, &[])?;
    equal(pending()?, 0)?;
    raise(libc::SIGUSR1)?;
    equal(
        pending()? & set_of(&[libc::SIGUSR1]),
        set_of(&[libc::SIGUSR1]),
    )?;
    unblock(&[libc::SIGUSR1])?;
    equal(pending()?, 0)
}

fn blocked_signal_waits() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    equal(
        (hits(libc::SIGUSR1), pending()?),
        (0, set_of(&[libc::SIGUSR1])),
    )?;
    unblock(&[libc::SIGUSR1])?;
    equal((hits(libc::SIGUSR1), pending()?), (1, 0))
}

fn kill_and_stop_cannot_be_blocked() -> Outcome {
    let all = u64::MAX;
    sys!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, 0, 8)?;
    equal(block(&[])?, all & !set_of(&[libc::SIGKILL, libc::SIGSTOP]))
}

fn procmask_refuses_unknown_how() -> Outcome {
    let mut set = 0_u64;
    fails(sys!(SYS_rt_sigprocmask, 3, &set, 0, 8), libc::EINVAL)?;
    sys!(SYS_rt_sigprocmask, 3, 0, &mut set, 8)?;
    fails(sys!(SYS_rt_sigprocmask, 0, &set, 0, 4), libc::EINVAL)?;
    fails(sys!(SYS_rt_sigprocmask, 0, 8, 0, 8), libc::EFAULT)
}

fn procmask_reads_before_it_writes() -> Outcome {
    // The new set holds although the old one cannot be told.
    let set = set_of(&[libc::SIGUSR1]);
    fails(
        sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &set, 8, 8),
        libc::EFAULT,
    )?;
    equal(block(&[])?, set)
}

fn standard_signals_merge() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    (0..5).try_for_each(|_| raise(libc::SIGUSR1).map(|_| ()))?;
    unblock(&[libc::SIGUSR1])?;
    equal(hits(libc::SIGUSR1), 1)
}

fn realtime_signals_queue_in_order() -> Outcome {
    block(&[40])?;
    (1..=5).try_for_each(|value| queue(getpid(), 40, value).map(|_| ()))?;
    for value in 1..=5 {
        equal(value_of(&take(&[40])?), value)?;
    }
    equal(pending()?, 0)
}

fn lowest_signal_first() -> Outcome {
    let signals = [libc::SIGUSR2, 41, libc::SIGUSR1, 40, libc::SIGHUP];
    block(&signals)?;
    for signal in signals {
        raise(signal)?;
    }
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, 40, 41] {
        equal(take(&signals)?.si_signo, signal)?;
    }
    Ok(())
}

static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);

extern "C" fn raise_again(signal: i32) {
    let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
    DEEPEST.fetch_max(depth, Ordering::SeqCst);
    if SEEN.fetch_add(1, Ordering::SeqCst) < 2 {
        let _ = raise(signal);
    }
    DEPTH.fetch_sub(1, Ordering::SeqCst);
}

fn again() -> usize {
    raise_again as extern "C" fn(i32) as usize
}

fn handler_blocks_its_own_signal() -> Outcome {
    handle(libc::SIGUSR1, again(), 0, &[])?;
    raise(libc::SIGUSR1)?;
    equal(
        (SEEN.load(Ordering::SeqCst), DEEPEST.load(Ordering::SeqCst)),
        (3, 1),
    )
}

fn nodefer_lets_it_nest() -> Outcome {
    handle(libc::SIGUSR1, again(), libc::SA_NODEFER, &[])?;
    raise(libc::SIGUSR1)?;
    equal(
        (SEEN.load(Ordering::SeqCst), DEEPEST.load(Ordering::SeqCst)),
        (3, 3),
    )
}

extern "C" fn note_mask(_signal: i32) {
    SEEN.store(block(&[]).unwrap_or(0) as usize, Ordering::SeqCst);
}

fn handler_mask_is_added() -> Outcome {
    block(&[libc::SIGHUP])?;
    let handler = note_mask as extern "C" fn(i32) as usize;
    handle(libc::SIGUSR1, handler, 0, &[libc::SIGUSR2])?;
    raise(libc::SIGUSR1)?;
    let want = set_of(&[libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2]) as usize;
    equal(SEEN.load(Ordering::SeqCst), want)?;
    equal(block(&[])?, set_of(&[libc::SIGHUP]))
}

fn resethand_works_once() -> Outcome {
    let death = death_of(|| {
        let _ = catch(libc::SIGUSR1, libc::SA_RESETHAND);
        let _ = raise(libc::SIGUSR1);
        if hits(libc::SIGUSR1) == 1 {
            let _ = raise(libc::SIGUSR1);
        }
    })?;
    equal(death, libc::SIGUSR1)
}
