//! The end of a process whose threads are in all sorts of calls.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    exit_group_with_a_thread_in_futex,
    exit_group_with_a_thread_in_a_pi_futex,
    exit_group_with_a_thread_in_read,
    exit_group_with_a_thread_in_write,
    exit_group_with_a_thread_in_poll,
    exit_group_with_a_thread_in_select,
    exit_group_with_a_thread_in_epoll,
    exit_group_with_a_thread_in_sleep,
    exit_group_with_a_thread_in_wait,
    exit_group_with_a_thread_in_sigtimedwait,
    exit_group_with_a_thread_in_sigsuspend,
    exit_group_with_a_thread_in_accept,
    exit_group_with_a_thread_in_flock,
    exit_group_with_a_thread_in_a_record_lock,
    exit_group_with_a_thread_in_a_fifo_open,
    exit_group_with_a_thread_in_eventfd,
    exit_group_with_a_thread_in_vfork,
    exit_group_with_a_thread_in_user_space,
    exit_group_with_all_signals_blocked,
    exit_group_of_two_threads_at_once,
    exit_group_while_threads_start,
    kill_with_threads_in_calls,
    kill_of_a_stopped_process_with_threads,
    sigterm_with_threads_in_calls,
    leader_gone_is_seen_by_who_opened_its_files_before,
    leader_gone_and_killed,
    leader_gone_and_signalled,
    last_thread_decides_the_status,
];

/// A process in which a thread is in `call`, and which ends with a status.
fn ends_with(call: impl FnOnce() + Send + 'static) -> Outcome {
    let board = Board::new()?;
    let addr = board.addr();
    let pid = fork(|| {
        std::thread::spawn(move || {
            word(addr).store(gettid() as u32, Ordering::SeqCst);
            call();
            exit(99)
        });
        while word(addr).load(Ordering::SeqCst) == 0 {
            nap();
        }
        let tid = word(addr).load(Ordering::SeqCst) as i32;
        let _ = await_thread(getpid(), tid, "SDR");
        let _ = sleep_ms(5);
        exit(37)
    })?;
    equal(wait(pid)?, 37 << 8)
}

fn exit_group_with_a_thread_in_futex() -> Outcome {
    let area = map(PAGE)?;
    ends_with(move || {
        let _ = sys!(SYS_futex, area, libc::FUTEX_WAIT, 0, 0, 0, 0);
    })
}

fn exit_group_with_a_thread_in_a_pi_futex() -> Outcome {
    let area = map_shared(PAGE)?;
    word(area).store(getpid() as u32, Ordering::SeqCst);
    ends_with(move || {
        let _ = sys!(SYS_futex, area, libc::FUTEX_LOCK_PI, 0, 0, 0, 0);
    })?;
    // Nobody waits any more.
    sys!(SYS_futex, area, libc::FUTEX_UNLOCK_PI, 0, 0, 0, 0)?;
    equal(word(area).load(Ordering::SeqCst), 0)
}

fn exit_group_with_a_thread_in_read() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    ends_with(move || {
        let _ = read_some(read_end);
    })
}

fn exit_group_with_a_thread_in_write() -> Outcome {
    let (_read_end, write_end) = pipe()?;
    ends_with(move || {
        let _ = write(write_end, &vec![0; 1 << 20]);
    })
}

fn exit_group_with_a_thread_in_poll() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    ends_with(move || {
        let _ = poll_one(read_end, libc::POLLIN, -1);
    })
}

fn exit_group_with_a_thread_in_select() -> Outcome {
    ends_with(|| {
        let _ = sys!(SYS_select, 0, 0, 0, 0, 0);
    })
}

fn exit_group_with_a_thread_in_epoll() -> Outcome {
    ends_with(|| {
        let fd = sys!(SYS_epoll_create1, 0).unwrap_or(0);
        let mut event = zeroed::<libc::epoll_event>();
        let _ = sys!(SYS_epoll_wait, fd, &mut event, 1, -1);
    })
}

fn exit_group_with_a_thread_in_sleep() -> Outcome {
    ends_with(|| {
        let _ = sleep_ms(1_000_000);
    })
}

fn exit_group_with_a_thread_in_wait() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    let board = Board::new()?;
    ends_with(move || {
        let child = fork(|| sleep_on()).unwrap_or(0);
        board.set(0, child as u32);
        let _ = wait(child);
    })
}

fn exit_group_with_a_thread_in_sigtimedwait() -> Outcome {
    ends_with(|| {
        let _ = block(&[libc::SIGUSR1]);
        let _ = take(&[libc::SIGUSR1]);
    })
}

fn exit_group_with_a_thread_in_sigsuspend() -> Outcome {
    ends_with(|| {
        let _ = sys!(SYS_rt_sigsuspend, &u64::MAX, 8);
    })
}

fn exit_group_with_a_thread_in_accept() -> Outcome {
    let fd = sys!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0)?;
    let mut name = zeroed::<libc::sockaddr_un>();
    name.sun_family = libc::AF_UNIX as u16;
    sys!(SYS_bind, fd, &name, 2)?;
    sys!(SYS_listen, fd, 1)?;
    ends_with(move || {
        let _ = sys!(SYS_accept4, fd, 0, 0, 0);
    })
}

fn exit_group_with_a_thread_in_flock() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    sys!(SYS_flock, fd, libc::LOCK_EX)?;
    let other = open(c"f", libc::O_RDWR)?;
    ends_with(move || {
        let _ = sys!(SYS_flock, other, libc::LOCK_EX);
    })
}

fn exit_group_with_a_thread_in_a_record_lock() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    let mut lock = zeroed::<libc::flock>();
    lock.l_type = libc::F_WRLCK as i16;
    sys!(SYS_fcntl, fd, libc::F_SETLK, &lock)?;
    // The child is another owner.
    ends_with(move || {
        let _ = sys!(SYS_fcntl, fd, libc::F_SETLKW, &lock);
    })
}

fn exit_group_with_a_thread_in_a_fifo_open() -> Outcome {
    sys!(
        SYS_mknodat,
        libc::AT_FDCWD,
        c"fifo",
        libc::S_IFIFO | 0o644,
        0
    )?;
    ends_with(|| {
        let _ = open(c"fifo", libc::O_RDONLY);
    })
}

fn exit_group_with_a_thread_in_eventfd() -> Outcome {
    let fd = sys!(SYS_eventfd2, 0, 0)? as i32;
    ends_with(move || {
        let _ = read(fd, &mut [0; 8]);
    })
}

extern "C" fn sleep_in_child(_argument: *mut libc::c_void) -> i32 {
    let _ = sleep_ms(1_000_000);
    0
}

fn exit_group_with_a_thread_in_vfork() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
    ends_with(|| {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let _ = clone_run(flags, sleep_in_child, 0, (0, 0));
    })
}

fn exit_group_with_a_thread_in_user_space() -> Outcome {
    ends_with(|| {
        loop {
            std::hint::spin_loop();
        }
    })
}

fn exit_group_with_all_signals_blocked() -> Outcome {
    ends_with(|| {
        let _ = sys!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &u64::MAX, 0, 8);
        let _ = sleep_ms(1_000_000);
    })
}

fn exit_group_of_two_threads_at_once() -> Outcome {
    for _ in 0..10 {
        let pid = fork(|| {
            std::thread::spawn(|| exit(5));
            exit(5)
        })?;
        equal(wait(pid)?, 5 << 8)?;
    }
    Ok(())
}

fn exit_group_while_threads_start() -> Outcome {
    for _ in 0..10 {
        let pid = fork(|| {
            std::thread::spawn(|| {
                loop {
                    let _ = std::thread::Builder::new().spawn(nap);
                }
            });
            let _ = sleep_ms(2);
            exit(8)
        })?;
        equal(wait(pid)?, 8 << 8)?;
    }
    Ok(())
}

/// A process with threads in several calls; answers once they are.
fn busy_process() -> Outcome<i32> {
    let (read_end, _write_end) = pipe()?;
    let board = Board::new()?;
    let addr = board.addr();
    let pid = fork(|| {
        std::thread::spawn(move || read_some(read_end));
        std::thread::spawn(move || poll_one(read_end, libc::POLLIN, -1));
        std::thread::spawn(move || sys!(SYS_futex, addr + 64, libc::FUTEX_WAIT, 0, 0, 0, 0));
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
        let _ = sleep_ms(10);
        word(addr).store(1, Ordering::SeqCst);
        sleep_on()
    })?;
    board.await_set(0);
    Ok(pid)
}

fn kill_with_threads_in_calls() -> Outcome {
    let pid = busy_process()?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn kill_of_a_stopped_process_with_threads() -> Outcome {
    let pid = busy_process()?;
    kill(pid, libc::SIGSTOP)?;
    check(
        libc::WIFSTOPPED(wait_with(pid, libc::WUNTRACED)?),
        "no stop",
    )?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn sigterm_with_threads_in_calls() -> Outcome {
    let pid = busy_process()?;
    kill(pid, libc::SIGTERM)?;
    dies_of(pid, libc::SIGTERM)
}

/// A process whose leader has ended while another thread goes on.
fn leaderless() -> Outcome<i32> {
    let pid = fork(|| {
        std::thread::spawn(|| sleep_on());
        let _ = sys!(SYS_exit, 1);
        0
    })?;
    await_thread(pid, pid, "Z")?;
    Ok(pid)
}

fn leader_gone_is_seen_by_who_opened_its_files_before() -> Outcome {
    let (hold, release) = pipe()?;
    let pid = fork(|| {
        let _ = close(release);
        std::thread::spawn(|| sleep_on());
        let _ = read_some(hold);
        let _ = sys!(SYS_exit, 1);
        0
    })?;
    let file = open(
        &c_string(&format!("/proc/{pid}/task/{pid}/stat")),
        libc::O_RDONLY,
    )?;
    close(release)?;
    loop {
        let mut bytes = [0; 512];
        let len = sys!(SYS_pread64, file, bytes.as_mut_ptr(), bytes.len(), 0)?;
        if String::from_utf8_lossy(&bytes[..len]).contains(") Z ") {
            break;
        }
        nap();
    }
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)?;
    let mut byte = 0_u8;
    fails(sys!(SYS_pread64, file, &mut byte, 1, 0), libc::ESRCH)
}

fn leader_gone_and_killed() -> Outcome {
    let pid = leaderless()?;
    kill(pid, libc::SIGKILL)?;
    dies_of(pid, libc::SIGKILL)
}

fn leader_gone_and_signalled() -> Outcome {
    let pid = leaderless()?;
    // Signals of the process find the thread that is left.
    kill(pid, libc::SIGUSR1)?;
    dies_of(pid, libc::SIGUSR1)
}

fn last_thread_decides_the_status() -> Outcome {
    let pid = fork(|| {
        std::thread::spawn(|| {
            let _ = sleep_ms(10);
            let _ = sys!(SYS_exit, 9);
        });
        let _ = sys!(SYS_exit, 4);
        0
    })?;
    // By exit(2) of each thread: the status is that of the one who ended last.
    equal(wait(pid)?, 9 << 8)
}
