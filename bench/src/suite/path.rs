//! Paths: walking them, and what changes folders. The files lie three folders deep.

use super::{Case, Test, each};
use crate::fixture::{Folder, open};
use crate::problem::{Outcome, Problem, ensure, expect};
use crate::sys;

pub static TESTS: &[Test] = &[
    Test::new(
        "open_close",
        5_000,
        "open() of a file, and close()",
        open_close,
    )
    .quick(),
    Test::new("stat", 10_000, "stat() of a file", stat).quick(),
    Test::new("statx", 10_000, "statx() of a file", statx),
    Test::new("getcwd", 10_000, "getcwd(), two folders deep", getcwd),
    Test::new("readlink", 10_000, "readlink()", readlink),
    Test::new("access", 10_000, "access() of a file for reading", access),
    Test::new(
        "create_unlink",
        2_000,
        "open() that creates a file, close(), and unlink()",
        create_unlink,
    ),
    Test::new(
        "rename",
        5_000,
        "rename() of a file within its folder",
        rename,
    ),
    Test::new(
        "path_deep",
        5_000,
        "stat() of a file that lies eight folders deeper",
        path_deep,
    ),
];

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

/// `stat()` of a file in the folder.
fn stat_of(name: &str, folder: Folder) -> Outcome<Box<dyn Case>> {
    let path = folder.file(name, b"content")?;
    each(move || {
        let _folder = &folder;
        let mut out: libc::stat = sys::blank();
        expect("stat", sys::stat(&path, &mut out), 0)?;
        ensure(out.st_size == 7, || format!("stat: size {}", out.st_size))
    })
}

fn stat() -> Outcome<Box<dyn Case>> {
    stat_of("file", Folder::new()?)
}

fn path_deep() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    folder.folders("one/two/three/four/five/six/seven")?;
    stat_of("one/two/three/four/five/six/seven/file", folder)
}

fn statx() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.file("file", b"content")?;
    each(move || {
        let _folder = &folder;
        let mut out: libc::statx = sys::blank();
        let mask = libc::STATX_BASIC_STATS;
        expect(
            "statx",
            sys::statx(libc::AT_FDCWD, &path, 0, mask, &mut out),
            0,
        )?;
        ensure(out.stx_size == 7, || {
            format!("statx: size {}", out.stx_size)
        })
    })
}

fn getcwd() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let here = folder.name("");
    expect("chdir", sys::chdir(&here), 0)?;
    // The name ends with a slash, the answer with a zero byte.
    let len = here.as_bytes().len() as isize;
    let mut buffer = [0; 4096];
    each(move || {
        let _folder = &folder;
        expect("getcwd", sys::getcwd(&mut buffer), len)
    })
}

fn readlink() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.name("link");
    let place = path.to_str().unwrap_or_default();
    std::os::unix::fs::symlink("target", place)
        .map_err(|error| Problem::new(format!("symlink: {error}")))?;
    let mut buffer = [0; 4096];
    each(move || {
        let _folder = &folder;
        expect("readlink", sys::readlink(&path, &mut buffer), 6)
    })
}

fn access() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.file("file", b"content")?;
    each(move || {
        let _folder = &folder;
        expect("access", sys::access(&path, libc::R_OK), 0)
    })
}

fn create_unlink() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.name("file");
    let number = open(c"/", libc::O_RDONLY, 0)?.number();
    each(move || {
        let _folder = &folder;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        let fd = sys::open(&path, flags, 0o644);
        expect("open", fd, number as isize)?;
        expect("close", sys::close(fd as i32), 0)?;
        expect("unlink", sys::unlink(&path), 0)
    })
}

fn rename() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let mut names = (folder.file("file", b"content")?, folder.name("other"));
    each(move || {
        let _folder = &folder;
        expect("rename", sys::rename(&names.0, &names.1), 0)?;
        std::mem::swap(&mut names.0, &mut names.1);
        Ok(())
    })
}
