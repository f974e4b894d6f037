//! Numbers of `/proc/sys` that bound what a user or a process has.

use libc::{EINVAL, EMFILE, ENOSPC, EPERM, IN_Q_OVERFLOW};

use crate::cases;
use crate::check::*;
use crate::core::with_settings;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    inotify_instances_of_a_user_are_bounded,
    inotify_watches_of_a_user_are_bounded,
    inotify_events_of_a_queue_are_bounded,
    inotify_bounds_below_what_there_is_let_it_go,
    pipe_size_of_a_user_is_bounded,
    pipe_size_is_a_power_of_two,
    descriptors_of_a_process_are_bounded,
    threads_are_bounded,
    numbers_out_of_range_are_einval,
];

fn queue() -> Sys<i32> {
    sys!(SYS_inotify_init1, libc::IN_NONBLOCK).map(|fd| fd as i32)
}

fn watch(fd: i32, path: &std::ffi::CStr) -> Sys<i32> {
    sys!(SYS_inotify_add_watch, fd, path, libc::IN_ALL_EVENTS).map(|wd| wd as i32)
}

fn set(name: &str, value: &str) -> Sys {
    let file = open(&c_string(&format!("/proc/sys/{name}")), libc::O_WRONLY)?;
    let answer = write(file, value.as_bytes());
    close(file)?;
    answer
}

fn inotify_instances_of_a_user_are_bounded() -> Outcome {
    with_settings(&[("fs/inotify/max_user_instances", "3")], || {
        become_user()?;
        for _ in 0..3 {
            queue()?;
        }
        fails(queue(), EMFILE)
    })
}

fn inotify_watches_of_a_user_are_bounded() -> Outcome {
    with_settings(&[("fs/inotify/max_user_watches", "2")], || {
        become_user()?;
        let fd = queue()?;
        let first = watch(fd, c"/")?;
        watch(fd, c"/proc")?;
        fails(watch(fd, c"/dev"), ENOSPC)?;
        sys!(SYS_inotify_rm_watch, fd, first)?;
        watch(fd, c"/dev")?;
        Ok(())
    })
}

fn inotify_events_of_a_queue_are_bounded() -> Outcome {
    std::fs::create_dir("d")?;
    with_settings(&[("fs/inotify/max_queued_events", "3")], || {
        let fd = queue()?;
        watch(fd, c"d")?;
        for name in ["a", "b", "c", "d", "e"] {
            std::fs::create_dir(format!("d/{name}"))?;
        }
        // Each with a name of sixteen bytes, but for the last.
        let events = read_some(fd)?;
        equal(events.len(), 3 * 32 + 16)?;
        let mask = events.get(3 * 32 + 4..3 * 32 + 8).unwrap_or_default();
        equal(mask, &IN_Q_OVERFLOW.to_ne_bytes()[..])
    })
}

fn inotify_bounds_below_what_there_is_let_it_go() -> Outcome {
    let fd = queue()?;
    let wd = watch(fd, c"/")?;
    watch(fd, c"/dev")?;
    with_settings(&[("fs/inotify/max_user_watches", "0")], || {
        sys!(SYS_inotify_rm_watch, fd, wd)?;
        fails(watch(fd, c"/"), ENOSPC)
    })?;
    watch(fd, c"/")?;
    Ok(())
}

fn pipe_size_of_a_user_is_bounded() -> Outcome {
    with_settings(&[("fs/pipe-max-size", "16384")], || {
        become_user()?;
        let (read_end, _) = pipe()?;
        let resize = |size: usize| sys!(SYS_fcntl, read_end, libc::F_SETPIPE_SZ, size);
        equal(resize(8192)?, 8192)?;
        equal(resize(16384)?, 16384)?;
        fails(resize(32768), EPERM)
    })
}

fn pipe_size_is_a_power_of_two() -> Outcome {
    const NAME: &str = "fs/pipe-max-size";
    with_settings(&[(NAME, "5000")], || {
        equal(text_of("/proc/sys/fs/pipe-max-size")?.as_str(), "8192\n")?;
        set(NAME, "1")?;
        equal(text_of("/proc/sys/fs/pipe-max-size")?.as_str(), "4096\n")?;
        fails(set(NAME, "4294967295"), EINVAL)
    })
}

fn descriptors_of_a_process_are_bounded() -> Outcome {
    with_settings(&[("fs/nr_open", "128")], || {
        let limit = |most: u64| {
            let limit = [most, most];
            sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE as i32, &limit, 0)
        };
        // Not even root may have more.
        fails(limit(129), EPERM)?;
        limit(128)?;
        fails(sys!(SYS_fcntl, 0, libc::F_DUPFD, 128), EINVAL)?;
        equal(sys!(SYS_fcntl, 0, libc::F_DUPFD, 127)?, 127)
    })
}

fn threads_are_bounded() -> Outcome {
    const NAME: &str = "kernel/threads-max";
    let before = text_of("/proc/sys/kernel/threads-max")?;
    let most: i64 = some(before.trim().parse().ok(), "no number")?;
    check(most >= 20, "room for hardly a thread")?;
    set(NAME, "1")?;
    // Not even root may have more; those that there are stay.
    let answer = fork(|| 0);
    set(NAME, before.trim())?;
    fails(answer, libc::EAGAIN)?;
    let pid = fork(|| 0)?;
    equal(wait(pid)?, 0)?;
    fails(set(NAME, "0"), EINVAL)?;
    fails(set(NAME, "1073741824"), EINVAL)
}

fn numbers_out_of_range_are_einval() -> Outcome {
    fails(set("fs/nr_open", "63"), EINVAL)?;
    fails(set("fs/nr_open", "2147483647"), EINVAL)?;
    fails(set("fs/inotify/max_queued_events", "-1"), EINVAL)?;
    fails(set("fs/inotify/max_user_watches", "4294967296"), EINVAL)?;
    fails(set("fs/inotify/max_user_instances", "many"), EINVAL)
}
