//! Descriptors, paths, reading and writing.

use super::{Case, Test, each};
use crate::fixture::{Folder, device, open};
use crate::problem::{Outcome, ensure, expect};
use crate::sys;

pub static TESTS: &[Test] = &[
    Test::new(
        "read_null",
        20_000,
        "read() of one byte from /dev/null, which has none",
        read_null,
    )
    .quick(),
    Test::new(
        "write_null",
        20_000,
        "write() of one byte to /dev/null",
        write_null,
    )
    .quick(),
    Test::new(
        "open_close",
        5_000,
        "open() of a file three folders deep, and close()",
        open_close,
    )
    .quick(),
    Test::new("stat", 10_000, "stat() of a file three folders deep", stat).quick(),
];

fn read_null() -> Outcome<Box<dyn Case>> {
    let null = device(c"/dev/null", libc::O_RDONLY)?;
    let mut byte = [0];
    each(move || expect("read", sys::read(null.number(), &mut byte), 0))
}

fn write_null() -> Outcome<Box<dyn Case>> {
    let null = device(c"/dev/null", libc::O_WRONLY)?;
    each(move || expect("write", sys::write(null.number(), b"x"), 1))
}

fn open_close() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.file("file", b"content")?;
    // The lowest free number: each open must answer it again.
    let number = open(&path, libc::O_RDONLY, 0)?.number();
    each(move || {
        let _folder = &folder;
        let fd = sys::open(&path, libc::O_RDONLY | libc::O_CLOEXEC, 0);
        expect("open", fd, number as isize)?;
        expect("close", sys::close(fd as i32), 0)
    })
}

fn stat() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.file("file", b"content")?;
    each(move || {
        let _folder = &folder;
        let mut out: libc::stat = sys::blank();
        expect("stat", sys::stat(&path, &mut out), 0)?;
        ensure(out.st_size == 7, || format!("stat: size {}", out.st_size))
    })
}
