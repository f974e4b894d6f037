//! inotify: which events come, in which order.

use libc::{
    EAGAIN, EBADF, EEXIST, EINVAL, ENOTDIR, IN_ALL_EVENTS, IN_ATTRIB, IN_CLOSE_NOWRITE,
    IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR,
    IN_MASK_ADD, IN_MASK_CREATE, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_ONESHOT,
    IN_ONLYDIR, IN_OPEN, IN_Q_OVERFLOW, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
};
use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    arguments_are_checked,
    a_directory_hears_of_its_entries,
    repeated_events_are_one,
    a_truncating_open_is_a_change,
    an_unlinked_file_ends_its_watch,
    an_unlinked_open_file_ends_its_watch_at_the_close,
    a_move_pairs_its_halves,
    a_replaced_file_ends_its_watch,
    a_removed_directory_ends_its_watch,
    masks_are_replaced_added_and_refused,
    one_shot_watches_tell_once,
    unlinked_entries_can_be_excluded,
    a_short_buffer_is_einval,
    a_full_queue_tells_of_its_overflow,
    a_change_of_mode_leaves_it_a_queue,
];

/// Watch, mask, whether there is a cookie, name.
type Event = (i32, u32, bool, String);

fn queue() -> Sys<i32> {
    sys!(SYS_inotify_init1, libc::IN_NONBLOCK).map(|fd| fd as i32)
}

fn watch(fd: i32, path: &CStr, mask: u32) -> Sys<i32> {
    sys!(SYS_inotify_add_watch, fd, path, mask).map(|wd| wd as i32)
}

/// All events that are there.
fn drain(fd: i32) -> Outcome<Vec<Event>> {
    let mut events = Vec::new();
    loop {
        let bytes = match read_some(fd) {
            Err(Errno(EAGAIN)) => return Ok(events),
            bytes => bytes?,
        };
        let mut rest = &bytes[..];
        while let Some((header, tail)) = rest.split_at_checked(16) {
            let word = |at: usize| {
                let word = header[at..at + 4].try_into();
                word.map(u32::from_ne_bytes).unwrap_or_default()
            };
            let (name, later) = tail.split_at(word(12) as usize);
            let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
            let name = String::from_utf8_lossy(&name).into_owned();
            events.push((word(0) as i32, word(4), word(8) != 0, name));
            rest = later;
        }
    }
}

/// The events must be these.
#[track_caller]
fn heard(fd: i32, want: &[(i32, u32, &str)]) -> Outcome {
    let got = drain(fd)?;
    let got: Vec<(i32, u32, &str)> = got
        .iter()
        .map(|event| (event.0, event.1, event.3.as_str()))
        .collect();
    equal(got, want)
}

fn touch(path: &CStr) -> Sys {
    close(open(path, O_WRONLY | libc::O_CREAT)?)
}

fn unlink(path: &CStr, flags: i32) -> Sys {
    sys!(SYS_unlinkat, libc::AT_FDCWD, path, flags)
}

fn rename(old: &CStr, new: &CStr) -> Sys {
    sys!(SYS_renameat, libc::AT_FDCWD, old, libc::AT_FDCWD, new)
}

fn arguments_are_checked() -> Outcome {
    fails(sys!(SYS_inotify_init1, 1), EINVAL)?;
    let fd = queue()?;
    let (pipe_end, _other) = pipe()?;
    touch(c"f")?;
    fails(watch(fd, c".", 0), EINVAL)?;
    fails(watch(pipe_end, c".", IN_OPEN), EINVAL)?;
    fails(watch(999, c".", IN_OPEN), EBADF)?;
    fails(watch(fd, c"f", IN_OPEN | IN_ONLYDIR), ENOTDIR)?;
    fails(
        watch(fd, c"f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE),
        EINVAL,
    )?;
    fails(sys!(SYS_inotify_rm_watch, fd, 7), EINVAL)?;
    fails(write(fd, b"x"), EBADF)
}

fn a_directory_hears_of_its_entries() -> Outcome {
    let fd = queue()?;
    let dir = watch(fd, c".", IN_ALL_EVENTS)?;
    touch(c"f")?;
    let made = [
        (dir, IN_CREATE, "f"),
        (dir, IN_OPEN, "f"),
        (dir, IN_CLOSE_WRITE, "f"),
    ];
    heard(fd, &made)?;
    let file = watch(fd, c"f", IN_ALL_EVENTS)?;
    close(open(c"f", O_RDONLY)?)?;
    let (opened, closed) = (IN_OPEN, IN_CLOSE_NOWRITE);
    heard(
        fd,
        &[
            (dir, opened, "f"),
            (file, opened, ""),
            (dir, closed, "f"),
            (file, closed, ""),
        ],
    )?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o600)?;
    heard(fd, &[(dir, IN_ATTRIB, "f"), (file, IN_ATTRIB, "")])?;
    sys!(SYS_mkdirat, libc::AT_FDCWD, c"d", 0o755)?;
    heard(fd, &[(dir, IN_CREATE | IN_ISDIR, "d")])
}

fn repeated_events_are_one() -> Outcome {
    let fd = queue()?;
    let file = file_with(c"f", b"")?;
    let wd = watch(fd, c"f", IN_MODIFY)?;
    write(file, b"a")?;
    write(file, b"b")?;
    let mut pending = 0_i32;
    sys!(SYS_ioctl, fd, libc::FIONREAD, &mut pending)?;
    equal(pending, 16)?;
    heard(fd, &[(wd, IN_MODIFY, "")])
}

/// Whether the open or the change comes first differs between kernels, so the open is not asked for.
fn a_truncating_open_is_a_change() -> Outcome {
    touch(c"f")?;
    let fd = queue()?;
    let wd = watch(fd, c"f", IN_MODIFY | IN_CLOSE_WRITE)?;
    close(open(c"f", O_WRONLY | O_TRUNC)?)?;
    heard(fd, &[(wd, IN_MODIFY, ""), (wd, IN_CLOSE_WRITE, "")])
}

fn an_unlinked_file_ends_its_watch() -> Outcome {
    touch(c"f")?;
    let fd = queue()?;
    let dir = watch(fd, c".", IN_ALL_EVENTS)?;
    let file = watch(fd, c"f", IN_ALL_EVENTS)?;
    unlink(c"f", 0)?;
    let ended = [
        (file, IN_ATTRIB, ""),
        (file, IN_DELETE_SELF, ""),
        (file, IN_IGNORED, ""),
    ];
    heard(fd, &[ended[0], ended[1], ended[2], (dir, IN_DELETE, "f")])?;
    fails(sys!(SYS_inotify_rm_watch, fd, file), EINVAL)
}

fn an_unlinked_open_file_ends_its_watch_at_the_close() -> Outcome {
    touch(c"f")?;
    let fd = queue()?;
    let wd = watch(fd, c"f", IN_ALL_EVENTS)?;
    let file = open(c"f", O_RDWR)?;
    unlink(c"f", 0)?;
    heard(fd, &[(wd, IN_OPEN, ""), (wd, IN_ATTRIB, "")])?;
    close(file)?;
    heard(
        fd,
        &[
            (wd, IN_CLOSE_WRITE, ""),
            (wd, IN_DELETE_SELF, ""),
            (wd, IN_IGNORED, ""),
        ],
    )
}

fn a_move_pairs_its_halves() -> Outcome {
    touch(c"old")?;
    let fd = queue()?;
    let dir = watch(fd, c".", IN_ALL_EVENTS)?;
    let file = watch(fd, c"old", IN_ALL_EVENTS)?;
    rename(c"old", c"new")?;
    let events = drain(fd)?;
    let cookies: Vec<bool> = events.iter().map(|event| event.2).collect();
    equal(cookies, [true, true, false])?;
    let told: Vec<(i32, u32, &str)> = events
        .iter()
        .map(|event| (event.0, event.1, event.3.as_str()))
        .collect();
    equal(
        told,
        [
            (dir, IN_MOVED_FROM, "old"),
            (dir, IN_MOVED_TO, "new"),
            (file, IN_MOVE_SELF, ""),
        ],
    )
}

fn a_replaced_file_ends_its_watch() -> Outcome {
    touch(c"a")?;
    touch(c"b")?;
    let fd = queue()?;
    let moved = watch(fd, c"a", IN_ALL_EVENTS)?;
    let replaced = watch(fd, c"b", IN_ALL_EVENTS)?;
    rename(c"a", c"b")?;
    let ended = [(replaced, IN_DELETE_SELF, ""), (replaced, IN_IGNORED, "")];
    heard(
        fd,
        &[
            (replaced, IN_ATTRIB, ""),
            (moved, IN_MOVE_SELF, ""),
            ended[0],
            ended[1],
        ],
    )
}

fn a_removed_directory_ends_its_watch() -> Outcome {
    sys!(SYS_mkdirat, libc::AT_FDCWD, c"d", 0o755)?;
    let fd = queue()?;
    let parent = watch(fd, c".", IN_ALL_EVENTS)?;
    let dir = watch(fd, c"d", IN_ALL_EVENTS)?;
    unlink(c"d", libc::AT_REMOVEDIR)?;
    let ended = [(dir, IN_DELETE_SELF, ""), (dir, IN_IGNORED, "")];
    heard(
        fd,
        &[ended[0], ended[1], (parent, IN_DELETE | IN_ISDIR, "d")],
    )
}

fn masks_are_replaced_added_and_refused() -> Outcome {
    touch(c"f")?;
    let fd = queue()?;
    let wd = watch(fd, c"f", IN_OPEN)?;
    equal(watch(fd, c"f", IN_CLOSE_NOWRITE)?, wd)?;
    close(open(c"f", O_RDONLY)?)?;
    heard(fd, &[(wd, IN_CLOSE_NOWRITE, "")])?;
    equal(watch(fd, c"f", IN_OPEN | IN_MASK_ADD)?, wd)?;
    close(open(c"f", O_RDONLY)?)?;
    heard(fd, &[(wd, IN_OPEN, ""), (wd, IN_CLOSE_NOWRITE, "")])?;
    fails(watch(fd, c"f", IN_OPEN | IN_MASK_CREATE), EEXIST)?;
    sys!(SYS_inotify_rm_watch, fd, wd)?;
    heard(fd, &[(wd, IN_IGNORED, "")])
}

fn one_shot_watches_tell_once() -> Outcome {
    touch(c"f")?;
    let fd = queue()?;
    let wd = watch(fd, c"f", IN_OPEN | IN_ONESHOT)?;
    close(open(c"f", O_RDONLY)?)?;
    close(open(c"f", O_RDONLY)?)?;
    heard(fd, &[(wd, IN_OPEN, ""), (wd, IN_IGNORED, "")])
}

fn unlinked_entries_can_be_excluded() -> Outcome {
    for (flag, want) in [(0, 1), (IN_EXCL_UNLINK, 0)] {
        let file = file_with(c"f", b"")?;
        let fd = queue()?;
        watch(fd, c".", IN_MODIFY | flag)?;
        unlink(c"f", 0)?;
        write(file, b"x")?;
        equal(drain(fd)?.len(), want)?;
        close(file)?;
        close(fd)?;
    }
    Ok(())
}

fn a_short_buffer_is_einval() -> Outcome {
    let fd = queue()?;
    watch(fd, c".", IN_CREATE)?;
    touch(c"f")?;
    let mut short = [0_u8; 31];
    fails(read(fd, &mut short), EINVAL)?;
    equal(ready(fd, libc::POLLIN)?, libc::POLLIN)?;
    equal(drain(fd)?.len(), 1)
}

fn a_full_queue_tells_of_its_overflow() -> Outcome {
    let max = text_of("/proc/sys/fs/inotify/max_queued_events")?;
    let Ok(max) = max.trim().parse::<usize>() else {
        return fail("the limit is a number");
    };
    touch(c"f")?;
    let fd = queue()?;
    watch(fd, c"f", IN_OPEN | IN_CLOSE_NOWRITE)?;
    for _ in 0..max / 2 + 2 {
        close(open(c"f", O_RDONLY)?)?;
    }
    let events = drain(fd)?;
    equal(events.len(), max + 1)?;
    let last = some(events.last(), "an event")?;
    equal((last.0, last.1), (-1, IN_Q_OVERFLOW))
}

fn a_change_of_mode_leaves_it_a_queue() -> Outcome {
    let fd = queue()?;
    watch(fd, c".", IN_CREATE)?;
    close(file_with(c"new", b"")?)?;
    sys!(SYS_fchmod, fd, 0o600)?;
    // The inode of such files has no type, before and after.
    equal(fstat(fd)?.st_mode, 0o600)?;
    let mut pending = 0_i32;
    sys!(SYS_ioctl, fd, libc::FIONREAD, &mut pending)?;
    equal(std::hint::black_box(pending), 32)
}
