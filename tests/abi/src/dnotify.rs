//! Directory notification: `F_NOTIFY`.

use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    each_event_is_told,
    one_event_unless_multishot,
    events_add_up_and_end,
    renames_within_and_across,
    the_directory_itself,
    close_ends_it,
    tables_ask_apart,
    dnotify_errors,
];

const F_SETSIG: i32 = 10;
const F_NOTIFY: i32 = 1026;
const ACCESS: u32 = 1;
const MODIFY: u32 = 2;
const CREATE: u32 = 4;
const DELETE: u32 = 8;
const RENAME: u32 = 16;
const ATTRIB: u32 = 32;
const MULTISHOT: u32 = 0x8000_0000;
const POLL_MSG: i32 = 3;
const BAND_MSG: i64 = 0x441;
const RT: i32 = 40;

fn ask(dir: i32, events: u32) -> Sys {
    sys!(SYS_fcntl, dir, F_NOTIFY, events)
}

/// A new folder, open, whose events come as `RT`.
fn folder(path: &CStr) -> Sys<i32> {
    block(&[RT, libc::SIGIO])?;
    sys!(SYS_mkdirat, libc::AT_FDCWD, path, 0o755)?;
    let dir = open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    sys!(SYS_fcntl, dir, F_SETSIG, RT)?;
    Ok(dir)
}

fn rename(from: &CStr, to: &CStr) -> Sys {
    let here = libc::AT_FDCWD;
    sys!(SYS_renameat2, here, from, here, to, 0)
}

/// How many signals came, each of this descriptor.
fn told(dir: i32) -> Outcome<u32> {
    let mut count = 0;
    while pending()? & set_of(&[RT]) != 0 {
        let info = take(&[RT])?;
        let base = std::ptr::from_ref(&info).cast::<u8>();
        // SAFETY: the structure has 128 bytes; the fields of SIGPOLL begin at 16.
        let (band, fd) = unsafe {
            (
                base.add(16).cast::<i64>().read(),
                base.add(24).cast::<i32>().read(),
            )
        };
        equal((info.si_code, band, fd), (POLL_MSG, BAND_MSG, dir))?;
        count += 1;
    }
    Ok(count)
}

fn each_event_is_told() -> Outcome {
    let dir = folder(c"d")?;
    ask(dir, CREATE | MULTISHOT)?;
    let fd = file_with(c"d/f", b"")?;
    equal(told(dir)?, 1)?;
    sys!(SYS_mkdirat, libc::AT_FDCWD, c"d/sub", 0o755)?;
    equal(told(dir)?, 1)?;
    ask(dir, 0)?;
    ask(dir, MODIFY | MULTISHOT)?;
    write(fd, b"text")?;
    equal(told(dir)?, 1)?;
    ask(dir, 0)?;
    ask(dir, ACCESS | MULTISHOT)?;
    sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
    equal(read_some(fd)?, b"text")?;
    equal(told(dir)?, 1)?;
    ask(dir, 0)?;
    ask(dir, ATTRIB | MULTISHOT)?;
    sys!(SYS_fchmod, fd, 0o600)?;
    equal(told(dir)?, 1)?;
    ask(dir, 0)?;
    ask(dir, DELETE | MULTISHOT)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"d/f", 0)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"d/sub", libc::AT_REMOVEDIR)?;
    equal(told(dir)?, 2)
}

fn one_event_unless_multishot() -> Outcome {
    let dir = folder(c"d")?;
    ask(dir, CREATE)?;
    equal(sys!(SYS_fcntl, dir, libc::F_GETOWN, 0)?, getpid() as usize)?;
    close(file_with(c"d/a", b"")?)?;
    close(file_with(c"d/b", b"")?)?;
    equal(told(dir)?, 1)
}

fn events_add_up_and_end() -> Outcome {
    let dir = folder(c"d")?;
    ask(dir, CREATE | MULTISHOT)?;
    ask(dir, DELETE)?;
    close(file_with(c"d/a", b"")?)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"d/a", 0)?;
    equal(told(dir)?, 2)?;
    ask(dir, MULTISHOT)?;
    close(file_with(c"d/a", b"")?)?;
    equal(told(dir)?, 0)
}

fn renames_within_and_across() -> Outcome {
    let dir = folder(c"d")?;
    close(file_with(c"d/a", b"")?)?;
    ask(dir, RENAME | MULTISHOT)?;
    rename(c"d/a", c"d/b")?;
    equal(told(dir)?, 1)?;
    rename(c"d/b", c"out")?;
    rename(c"out", c"d/b")?;
    equal(told(dir)?, 0)?;
    ask(dir, 0)?;
    // Across, it is a deletion and a creation.
    ask(dir, DELETE | MULTISHOT)?;
    rename(c"d/b", c"out")?;
    equal(told(dir)?, 1)?;
    ask(dir, 0)?;
    ask(dir, CREATE | MULTISHOT)?;
    rename(c"out", c"d/b")?;
    equal(told(dir)?, 1)
}

fn the_directory_itself() -> Outcome {
    let dir = folder(c"d")?;
    ask(dir, ATTRIB | MULTISHOT)?;
    sys!(SYS_fchmod, dir, 0o700)?;
    equal(told(dir)?, 1)
}

fn close_ends_it() -> Outcome {
    let dir = folder(c"d")?;
    let copy = sys!(SYS_dup, dir)? as i32;
    ask(dir, CREATE | MULTISHOT)?;
    // Any descriptor of the open file will do.
    close(copy)?;
    close(file_with(c"d/a", b"")?)?;
    equal(told(dir)?, 0)?;
    ask(dir, CREATE | MULTISHOT)?;
    close(dir)?;
    close(file_with(c"d/b", b"")?)?;
    equal(told(dir)?, 0)
}

fn tables_ask_apart() -> Outcome {
    let dir = folder(c"d")?;
    ask(dir, CREATE | MULTISHOT)?;
    // A child's copy is closed at its end, and what it asked for ends too.
    let child = fork(|| i32::from(ask(dir, DELETE | MULTISHOT).is_err()))?;
    equal(wait(child)?, 0)?;
    close(file_with(c"d/a", b"")?)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"d/a", 0)?;
    equal(told(dir)?, 1)
}

fn dnotify_errors() -> Outcome {
    let fd = file_with(c"f", b"")?;
    fails(ask(fd, CREATE), libc::ENOTDIR)?;
    ask(fd, 0)?;
    let place = open(c".", libc::O_PATH)?;
    fails(ask(place, CREATE), libc::EBADF)?;
    let dir = open(c".", libc::O_RDONLY)?;
    let setting = "/proc/sys/fs/dir-notify-enable";
    std::fs::write(setting, "0")?;
    let refused = ask(dir, CREATE);
    std::fs::write(setting, "1")?;
    fails(refused, libc::EINVAL)?;
    ask(dir, CREATE)?;
    Ok(())
}
