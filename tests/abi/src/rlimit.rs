//! Resource limits: a case for each of the sixteen, and the rules for setting them.

use std::sync::atomic::Ordering;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    processor_time_ends_in_sigxcpu_and_sigkill,
    file_sizes_end_in_sigxfsz,
    data_counts_private_memory,
    stacks_grow_to_their_limit,
    arguments_take_a_quarter_of_the_stack,
    cores_are_cut,
    resident_memory_is_not_limited,
    processes_of_a_user_are_counted,
    descriptors_end_at_the_limit,
    locked_memory_of_users_is_limited,
    address_space_is_limited,
    file_locks_are_not_limited,
    pending_signals_are_limited,
    message_queues_are_limited,
    nice_values_are_allowed_by_limit,
    realtime_priorities_are_allowed_by_limit,
    realtime_without_sleep_ends_in_sigxcpu_and_sigkill,
    limits_are_pairs_with_rules,
    limits_are_inherited,
    limits_of_others_need_the_same_user,
    limits_are_shown,
];

fn limit(resource: impl Arg, soft: u64, hard: u64) -> Sys {
    sys!(SYS_setrlimit, resource.arg(), &[soft, hard])
}

fn limits(resource: impl Arg) -> Sys<[u64; 2]> {
    let mut pair = [0; 2];
    sys!(SYS_getrlimit, resource.arg(), &mut pair)?;
    Ok(pair)
}

/// Spins until a signal ends the process; counts SIGXCPU in a word that is shared.
fn spin(count: usize) {
    loop {
        word(count).store(hits(libc::SIGXCPU), Ordering::SeqCst);
    }
}

fn processor_time_ends_in_sigxcpu_and_sigkill() -> Outcome {
    let count = map_shared(PAGE)?;
    let signal = death_of(|| {
        let ready = catch(libc::SIGXCPU, 0).is_ok();
        if ready && limit(libc::RLIMIT_CPU, 1, 2).is_ok() {
            spin(count);
        }
    })?;
    equal(signal, libc::SIGKILL)?;
    check(word(count).load(Ordering::SeqCst) > 0, "no SIGXCPU came")?;
    let signal = death_of(|| {
        if limit(libc::RLIMIT_CPU, 1, 3).is_ok() {
            spin(count);
        }
    })?;
    equal(signal, libc::SIGXCPU)
}

fn file_sizes_end_in_sigxfsz() -> Outcome {
    let fd = file_with(c"file", b"")?;
    let signal = death_of(|| {
        let _ = limit(libc::RLIMIT_FSIZE, 10, 10);
        let _ = write(fd, b"0123456789");
        let _ = write(fd, b"x");
    })?;
    equal(signal, libc::SIGXFSZ)?;
    within(|| {
        catch(libc::SIGXFSZ, 0)?;
        limit(libc::RLIMIT_FSIZE, 10, 10)?;
        sys!(SYS_lseek, fd, 8, libc::SEEK_SET)?;
        // What fits is written.
        equal(write(fd, b"xyz")?, 2)?;
        equal(hits(libc::SIGXFSZ), 0)?;
        fails(write(fd, b"z"), libc::EFBIG)?;
        fails(sys!(SYS_ftruncate, fd, 11), libc::EFBIG)?;
        fails(sys!(SYS_fallocate, fd, 0, 0, 11), libc::EFBIG)?;
        equal(hits(libc::SIGXFSZ), 3)?;
        // Making a file shorter is always allowed.
        sys!(SYS_ftruncate, fd, 5)?;
        Ok(())
    })
}

const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn data_counts_private_memory() -> Outcome {
    let before = sys!(SYS_brk, 0)?;
    within(|| {
        limit(libc::RLIMIT_DATA, 0, 0)?;
        fails(map_with(PAGE, READ_WRITE, PRIVATE), libc::ENOMEM)?;
        equal(sys!(SYS_brk, before + PAGE)?, before)?;
        // What is shared or read-only is no data.
        map_shared(PAGE)?;
        let read_only = map_with(PAGE, libc::PROT_READ, PRIVATE)?;
        fails(
            sys!(SYS_mprotect, read_only, PAGE, READ_WRITE),
            libc::ENOMEM,
        )
    })
}

fn stacks_grow_to_their_limit() -> Outcome {
    #[inline(never)]
    fn deeper(left: usize) -> usize {
        let space = [left; 512];
        let at = (&raw const space) as usize;
        if left == 0 {
            usize::from(peek(at))
        } else {
            deeper(left - 1) + usize::from(peek(at))
        }
    }
    let with = |bytes: u64, depth: usize| {
        death_of(|| {
            let _ = limit(libc::RLIMIT_STACK, bytes, bytes);
            peek((&raw const *deeper(depth).to_le_bytes().first().unwrap_or(&0)) as usize);
        })
    };
    equal(with(256 << 10, 100)?, libc::SIGSEGV)?;
    equal(with(4 << 20, 100)?, 0)
}

fn arguments_take_a_quarter_of_the_stack() -> Outcome {
    let long = c_string(&"x".repeat(100_000));
    let argv: Vec<*const libc::c_char> = std::iter::once(c"true".as_ptr())
        .chain(std::iter::repeat_n(long.as_ptr(), 4))
        .chain([std::ptr::null()])
        .collect();
    let exec = |bytes: u64| {
        let pid = fork(|| {
            let _ = limit(libc::RLIMIT_STACK, bytes, u64::MAX);
            match sys!(SYS_execve, c"/bin/true", argv.as_ptr(), 0) {
                Err(errno) => errno.0,
                Ok(_) => 254,
            }
        })?;
        wait(pid)
    };
    equal(exec(1 << 20)?, libc::E2BIG << 8)?;
    equal(exec(4 << 20)?, 0)
}

fn cores_are_cut() -> Outcome {
    use crate::core::{die_with, exists, status_of};
    equal(
        status_of(|| {
            let _ = limit(libc::RLIMIT_CORE, 0, 0);
            die_with(0)
        })?,
        libc::SIGILL,
    )?;
    check(!exists("core"), "there is a file")?;
    let status = status_of(|| {
        let _ = limit(libc::RLIMIT_CORE, 8192, 8192);
        die_with(0)
    })?;
    check(libc::WCOREDUMP(status), "there is no dump")?;
    check(stat(c"core")?.st_size <= 8192, "the file is too long")
}

fn resident_memory_is_not_limited() -> Outcome {
    within(|| {
        limit(libc::RLIMIT_RSS, 0, 0)?;
        let at = map(64 * PAGE)?;
        (0..64).for_each(|page| poke(at + page * PAGE, 1));
        equal(peek(at + 63 * PAGE), 1)
    })
}

fn processes_of_a_user_are_counted() -> Outcome {
    within(|| {
        limit(libc::RLIMIT_NPROC, 0, 0)?;
        // Root is not counted.
        within(|| Ok(()))?;
        sys!(SYS_setgroups, 0, 0)?;
        sys!(SYS_setresgid, 2345, 2345, 2345)?;
        sys!(SYS_setresuid, 2345, 2345, 2345)?;
        fails(sys!(SYS_fork), libc::EAGAIN)?;
        extern "C" fn nothing(_: *mut libc::c_void) -> i32 {
            0
        }
        fails(thread(nothing, 0).map(drop), libc::EAGAIN)
    })
}

fn descriptors_end_at_the_limit() -> Outcome {
    within(|| {
        limit(libc::RLIMIT_NOFILE, 50, 50)?;
        let mut highest = 0;
        let refused = loop {
            match sys!(SYS_dup, 1) {
                Ok(fd) => highest = fd,
                Err(errno) => break errno,
            }
        };
        equal((refused.0, highest), (libc::EMFILE, 49))?;
        fails(sys!(SYS_dup2, 1, 50), libc::EBADF)?;
        sys!(SYS_dup2, 1, 49)?;
        fails(sys!(SYS_fcntl, 1, libc::F_DUPFD, 50), libc::EINVAL)?;
        fails(sys!(SYS_fcntl, 1, libc::F_DUPFD, 49), libc::EMFILE)?;
        fails(pipe().map(|_| ()), libc::EMFILE)?;
        fails(sys!(SYS_poll, 0, 51, 0), libc::EINVAL)
    })
}

fn locked_memory_of_users_is_limited() -> Outcome {
    let at = map(8 * PAGE)?;
    within(|| {
        limit(libc::RLIMIT_MEMLOCK, 4 * PAGE as u64, 4 * PAGE as u64)?;
        // Root's is not.
        sys!(SYS_mlock, at, 8 * PAGE)?;
        sys!(SYS_munlock, at, 8 * PAGE)?;
        become_user()?;
        sys!(SYS_mlock, at, 4 * PAGE)?;
        fails(sys!(SYS_mlock, at + 4 * PAGE, PAGE), libc::ENOMEM)?;
        fails(
            map_with(PAGE, READ_WRITE, PRIVATE | libc::MAP_LOCKED),
            libc::EAGAIN,
        )?;
        sys!(SYS_munlock, at, 4 * PAGE)?;
        limit(libc::RLIMIT_MEMLOCK, 0, 0)?;
        fails(sys!(SYS_mlock, at, PAGE), libc::EPERM)
    })
}

fn address_space_is_limited() -> Outcome {
    within(|| {
        let size = text_of("/proc/self/statm")?;
        let pages: u64 = size
            .split(' ')
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let bytes = (pages + 16) * PAGE as u64;
        limit(libc::RLIMIT_AS, bytes, bytes)?;
        map_with(8 * PAGE, libc::PROT_NONE, PRIVATE)?;
        fails(map_with(64 * PAGE, libc::PROT_NONE, PRIVATE), libc::ENOMEM)?;
        fails(
            sys!(
                SYS_mmap,
                0,
                64 * PAGE,
                READ_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0
            ),
            libc::ENOMEM,
        )
    })
}

fn file_locks_are_not_limited() -> Outcome {
    let fd = file_with(c"file", b"text")?;
    within(|| {
        limit(libc::RLIMIT_LOCKS, 0, 0)?;
        sys!(SYS_flock, fd, libc::LOCK_EX)?;
        Ok(())
    })
}

fn pending_signals_are_limited() -> Outcome {
    within(|| {
        sys!(SYS_setresuid, 2346, 2346, 2346)?;
        limit(libc::RLIMIT_SIGPENDING, 3, 3)?;
        block(&[40, libc::SIGUSR1])?;
        let mut info = [0i32; 32];
        info[2] = -1;
        let queue = || sys!(SYS_rt_sigqueueinfo, getpid(), 40, &info);
        for _ in 0..3 {
            queue()?;
        }
        fails(queue(), libc::EAGAIN)?;
        // Those of kill get through.
        raise(libc::SIGUSR1)?;
        take(&[40])?;
        Ok(())
    })
}

fn message_queues_are_limited() -> Outcome {
    within(|| {
        become_user()?;
        limit(libc::RLIMIT_MSGQUEUE, 1, 1)?;
        let flags = libc::O_CREAT | libc::O_RDWR;
        match sys!(SYS_mq_open, c"queue", flags, 0o600, 0) {
            Err(Errno(libc::ENOSYS)) => skip("there are no message queues"),
            other => fails(other, libc::EMFILE),
        }
    })
}

fn nice_values_are_allowed_by_limit() -> Outcome {
    within(|| {
        // 20 - 25: down to -5.
        limit(libc::RLIMIT_NICE, 25, 25)?;
        become_user()?;
        let set = |nice: i32| sys!(SYS_setpriority, libc::PRIO_PROCESS, 0, nice);
        set(-5)?;
        set(10)?;
        set(-5)?;
        fails(set(-6), libc::EACCES)?;
        limit(libc::RLIMIT_NICE, 0, 0)?;
        set(10)?;
        fails(set(9), libc::EACCES)
    })
}

fn realtime_priorities_are_allowed_by_limit() -> Outcome {
    within(|| {
        limit(libc::RLIMIT_RTPRIO, 10, 10)?;
        become_user()?;
        let set = |priority: i32| sys!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &priority);
        set(10)?;
        fails(set(11), libc::EPERM)?;
        sys!(SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &0)?;
        limit(libc::RLIMIT_RTPRIO, 0, 0)?;
        fails(set(1), libc::EPERM)
    })
}

fn realtime_without_sleep_ends_in_sigxcpu_and_sigkill() -> Outcome {
    let count = map_shared(PAGE)?;
    let signal = death_of(|| {
        let ready = catch(libc::SIGXCPU, 0).is_ok();
        let limited = limit(libc::RLIMIT_RTTIME, 100_000, 300_000).is_ok();
        let is_realtime = sys!(SYS_sched_setscheduler, 0, libc::SCHED_RR, &1).is_ok();
        if ready && limited && is_realtime {
            spin(count);
        }
    })?;
    equal(signal, libc::SIGKILL)?;
    check(word(count).load(Ordering::SeqCst) > 0, "no SIGXCPU came")?;
    // Who sleeps begins anew.
    within(|| {
        limit(libc::RLIMIT_RTTIME, 200_000, 400_000)?;
        sys!(SYS_sched_setscheduler, 0, libc::SCHED_RR, &1)?;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut now = || {
            let _ = sys!(SYS_clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
            time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        };
        for _ in 0..12 {
            let start = now();
            while now() < start + 60 {}
            nap();
        }
        Ok(())
    })
}

fn limits_are_pairs_with_rules() -> Outcome {
    fails(limit(libc::RLIMIT_NOFILE, 11, 10), libc::EINVAL)?;
    fails(limit(16, 0, 0), libc::EINVAL)?;
    fails(limit(u32::MAX, 0, 0), libc::EINVAL)?;
    fails(limits(16), libc::EINVAL)?;
    fails(sys!(SYS_setrlimit, libc::RLIMIT_CORE, 0), libc::EFAULT)?;
    fails(limit(libc::RLIMIT_NOFILE, 0, 1 << 40), libc::EPERM)?;
    limit(libc::RLIMIT_CORE, 5, 10)?;
    equal(limits(libc::RLIMIT_CORE)?, [5, 10])?;
    become_user()?;
    limit(libc::RLIMIT_CORE, 10, 10)?;
    fails(limit(libc::RLIMIT_CORE, 10, 11), libc::EPERM)?;
    limit(libc::RLIMIT_CORE, 0, 9)?;
    fails(limit(libc::RLIMIT_CORE, 0, 10), libc::EPERM)
}

fn limits_are_inherited() -> Outcome {
    limit(libc::RLIMIT_CORE, 4096, 8192)?;
    within(|| {
        equal(limits(libc::RLIMIT_CORE)?, [4096, 8192])?;
        limit(libc::RLIMIT_CORE, 0, 0)?;
        Ok(())
    })?;
    equal(limits(libc::RLIMIT_CORE)?, [4096, 8192])?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup2, write_end, 1);
        let argv = [
            c"grep".as_ptr(),
            c"core".as_ptr(),
            c"/proc/self/limits".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/grep", argv.as_ptr(), 0);
        3
    })?;
    equal(wait(pid)?, 0)?;
    let text = read_some(read_end)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    equal(
        words,
        ["Max", "core", "file", "size", "4096", "8192", "bytes"],
    )
}

fn limits_of_others_need_the_same_user() -> Outcome {
    let other = fork(|| {
        let _ = sys!(SYS_pause);
        0
    })?;
    let prlimit = |new: usize| {
        let mut old = [0u64; 2];
        sys!(SYS_prlimit64, other, libc::RLIMIT_CORE, new, &mut old)?;
        Ok::<[u64; 2], Errno>(old)
    };
    let pair = [100u64, 200];
    prlimit(&raw const pair as usize)?;
    equal(prlimit(0)?, pair)?;
    within(|| {
        become_user()?;
        fails(prlimit(0), libc::EPERM)
    })?;
    sys!(SYS_kill, other, libc::SIGKILL)?;
    wait(other)?;
    fails(prlimit(0), libc::ESRCH)
}

fn limits_are_shown() -> Outcome {
    let text = text_of("/proc/self/limits")?;
    equal(text.lines().count(), 17)?;
    limit(libc::RLIMIT_NOFILE, 77, 88)?;
    let text = text_of("/proc/self/limits")?;
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let line = some(line, "the line is missing")?;
    equal(
        line,
        "Max open files            77                   88                   files     ",
    )
}
