//! File handles: `name_to_handle_at` and `open_by_handle_at`, on the tmpfs that cases work in.

use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    a_handle_opens_its_file,
    it_is_the_same_each_time,
    a_renamed_file_is_found,
    a_file_is_found_by_another_name,
    an_open_file_is_found_without_a_name,
    a_removed_file_is_stale,
    directories_and_what_is_in_them,
    symlinks_are_followed_if_asked,
    the_empty_path_is_the_descriptor,
    the_mount_is_told,
    room_that_is_too_small_is_told,
    more_room_is_fine,
    errors_of_naming,
    errors_of_opening,
    modes_count_and_flags_too,
    opening_needs_a_capability,
    naming_needs_none,
    handles_of_nothing_are_stale,
    another_file_system_does_not_know_it,
    proc_has_no_handles,
    identities_without_handles,
];

const EMPTY: i32 = libc::AT_EMPTY_PATH;
const FOLLOW: i32 = libc::AT_SYMLINK_FOLLOW;
const HANDLE_FID: i32 = 0x200;
const MAX: usize = 128;

/// Linux's `struct file_handle`, with the most room that it may have and some more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    content: [u8; MAX + 4],
}

fn room_of(bytes: u32) -> Handle {
    Handle {
        bytes,
        kind: -7,
        content: [0xaa; MAX + 4],
    }
}

/// The handle of a name, and the mount's number.
fn name(dirfd: i32, path: &CStr, flags: i32) -> Sys<(Handle, i32)> {
    let mut handle = room_of(MAX as u32);
    let mut mount = -1;
    sys!(
        SYS_name_to_handle_at,
        dirfd,
        path,
        &mut handle,
        &mut mount,
        flags
    )?;
    Ok(std::hint::black_box((handle, mount)))
}

fn handle_of(path: &CStr) -> Sys<Handle> {
    name(libc::AT_FDCWD, path, 0).map(|(handle, _)| handle)
}

fn open_handle(handle: &Handle, flags: i32) -> Sys<i32> {
    sys!(SYS_open_by_handle_at, libc::AT_FDCWD, handle, flags).map(|fd| fd as i32)
}

fn ino(fd: i32) -> Sys<u64> {
    Ok(fstat(fd)?.st_ino)
}

fn a_handle_opens_its_file() -> Outcome {
    let fd = file_with(c"f", b"content")?;
    let handle = handle_of(c"f")?;
    let other = open_handle(&handle, libc::O_RDWR | libc::O_CLOEXEC)?;
    equal(read_some(other)?, b"content")?;
    equal(ino(fd)?, ino(other)?)?;
    write(other, b"more")?;
    equal(std::fs::read("f")?, b"contentmore")?;
    equal(sys!(SYS_fcntl, other, libc::F_GETFD)?, 1)?;
    let link = std::fs::read_link(format!("/proc/self/fd/{other}"))?;
    equal(link, std::env::current_dir()?.join("f"))
}

fn it_is_the_same_each_time() -> Outcome {
    let fd = file_with(c"f", b"")?;
    file_with(c"g", b"")?;
    let first = handle_of(c"f")?;
    equal(first, handle_of(c"f")?)?;
    equal(first, name(fd, c"", EMPTY)?.0)?;
    equal((first.bytes, first.kind), (12, 1))?;
    check(first != handle_of(c"g")?, "two files have one handle")
}

fn a_renamed_file_is_found() -> Outcome {
    close(file_with(c"f", b"x")?)?;
    let handle = handle_of(c"f")?;
    std::fs::create_dir("d")?;
    std::fs::rename("f", "d/g")?;
    equal(read_some(open_handle(&handle, 0)?)?, b"x")
}

fn a_file_is_found_by_another_name() -> Outcome {
    close(file_with(c"f", b"x")?)?;
    std::fs::create_dir_all("d/e")?;
    std::fs::hard_link("f", "d/e/g")?;
    let handle = handle_of(c"f")?;
    std::fs::remove_file("f")?;
    let fd = open_handle(&handle, 0)?;
    equal(read_some(fd)?, b"x")?;
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    check(link.ends_with("d/e/g"), "it has another name")
}

fn an_open_file_is_found_without_a_name() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    let handle = handle_of(c"f")?;
    std::fs::remove_file("f")?;
    equal(read_some(open_handle(&handle, 0)?)?, b"x")?;
    close(fd)?;
    Ok(())
}

fn a_removed_file_is_stale() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    let handle = handle_of(c"f")?;
    close(fd)?;
    std::fs::remove_file("f")?;
    fails(open_handle(&handle, 0), libc::ESTALE)?;
    // A new one of that name is another file.
    close(file_with(c"f", b"y")?)?;
    fails(open_handle(&handle, 0), libc::ESTALE)
}

fn directories_and_what_is_in_them() -> Outcome {
    std::fs::create_dir("d")?;
    close(file_with(c"d/f", b"x")?)?;
    let handle = handle_of(c"d")?;
    let dir = open_handle(&handle, libc::O_DIRECTORY)?;
    let fd = sys!(SYS_openat, dir, c"f", 0)? as i32;
    equal(read_some(fd)?, b"x")?;
    fails(open_handle(&handle, libc::O_RDWR), libc::EISDIR)?;
    let place = open_handle(&handle, libc::O_PATH)?;
    fails(read(place, &mut [0; 1]), libc::EBADF)?;
    std::fs::remove_file("d/f")?;
    std::fs::remove_dir("d")?;
    // Open as it is, it is still a directory.
    let again = open_handle(&handle, 0)?;
    equal(ino(again)?, ino(dir)?)?;
    for fd in [fd, dir, place, again] {
        close(fd)?;
    }
    fails(open_handle(&handle, 0), libc::ESTALE)
}

fn symlinks_are_followed_if_asked() -> Outcome {
    close(file_with(c"f", b"x")?)?;
    std::os::unix::fs::symlink("f", "l")?;
    equal(name(libc::AT_FDCWD, c"l", FOLLOW)?.0, handle_of(c"f")?)?;
    let link = handle_of(c"l")?;
    check(link != handle_of(c"f")?, "the link has its file's handle")?;
    fails(open_handle(&link, 0), libc::ELOOP)?;
    let place = open_handle(&link, libc::O_PATH)?;
    equal(fstat(place)?.st_mode & libc::S_IFMT, libc::S_IFLNK)
}

fn the_empty_path_is_the_descriptor() -> Outcome {
    let fd = file_with(c"f", b"")?;
    let handle = handle_of(c"f")?;
    equal(name(fd, c"", EMPTY)?.0, handle)?;
    equal(name(open(c"f", libc::O_PATH)?, c"", EMPTY)?.0, handle)?;
    equal(name(libc::AT_FDCWD, c"", EMPTY)?.0, handle_of(c".")?)?;
    fails(name(fd, c"", 0), libc::ENOENT)?;
    fails(name(99, c"", EMPTY), libc::EBADF)
}

fn the_mount_is_told() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let (_, mount) = name(libc::AT_FDCWD, c"f", 0)?;
    let text = text_of("/proc/self/mountinfo")?;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{mount} ")));
    let point = some(
        line.and_then(|line| line.split(' ').nth(4)),
        "no such mount",
    )?;
    check(std::env::current_dir()?.starts_with(point), "another mount")
}

fn room_that_is_too_small_is_told() -> Outcome {
    close(file_with(c"f", b"")?)?;
    for room in [0, 4, 11] {
        let mut handle = room_of(room);
        let mut mount = -1;
        let named = sys!(
            SYS_name_to_handle_at,
            libc::AT_FDCWD,
            c"f",
            &mut handle,
            &mut mount,
            0
        );
        fails(named, libc::EOVERFLOW)?;
        let (handle, mount) = std::hint::black_box((handle, mount));
        equal((handle.bytes, handle.content), (12, room_of(0).content))?;
        check(mount >= 0, "the mount is not told")?;
    }
    Ok(())
}

fn more_room_is_fine() -> Outcome {
    close(file_with(c"f", b"x")?)?;
    for room in [12, 13, 128] {
        let mut handle = room_of(room);
        let mut mount = -1;
        sys!(
            SYS_name_to_handle_at,
            libc::AT_FDCWD,
            c"f",
            &mut handle,
            &mut mount,
            0
        )?;
        let handle = std::hint::black_box(handle);
        equal((handle.bytes, handle.content[12]), (12, 0xaa))?;
        // What follows a handle does not count.
        let longer = Handle {
            bytes: 128,
            ..handle
        };
        close(open_handle(&longer, 0)?)?;
    }
    Ok(())
}

fn errors_of_naming() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let mut handle = room_of(129);
    let mut mount = -1;
    let at = libc::AT_FDCWD;
    fails(
        sys!(SYS_name_to_handle_at, at, c"f", &mut handle, &mut mount, 0),
        libc::EINVAL,
    )?;
    fails(
        sys!(SYS_name_to_handle_at, at, c"f", 8, &mut mount, 0),
        libc::EFAULT,
    )?;
    handle.bytes = 128;
    fails(
        sys!(SYS_name_to_handle_at, at, c"f", &mut handle, 8, 0),
        libc::EFAULT,
    )?;
    fails(
        sys!(SYS_name_to_handle_at, at, 8, &mut handle, &mut mount, 0),
        libc::EFAULT,
    )?;
    fails(name(at, c"f", 0x100), libc::EINVAL)?;
    fails(name(at, c"f", 0x8000), libc::EINVAL)?;
    fails(name(at, c"g", 0), libc::ENOENT)?;
    fails(name(at, c"f/g", 0), libc::ENOTDIR)?;
    fails(name(99, c"f", 0), libc::EBADF)
}

fn errors_of_opening() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let handle = handle_of(c"f")?;
    let with = |bytes: u32| {
        let mut other = handle;
        other.bytes = bytes;
        other
    };
    fails(open_handle(&with(0), 0), libc::EINVAL)?;
    fails(open_handle(&with(129), 0), libc::EINVAL)?;
    fails(open_handle(&with(u32::MAX), 0), libc::EINVAL)?;
    fails(open_handle(&with(11), 0), libc::ESTALE)?;
    let open_at = |fd: i32, handle: usize| sys!(SYS_open_by_handle_at, fd, handle, 0);
    fails(open_at(libc::AT_FDCWD, 8), libc::EFAULT)?;
    fails(open_at(99, (&handle).arg()), libc::EBADF)?;
    let place = open(c".", libc::O_PATH)?;
    fails(open_at(place, (&handle).arg()), libc::EBADF)?;
    let dir = open(c".", 0)?;
    open_at(dir, (&handle).arg())?;
    Ok(())
}

fn modes_count_and_flags_too() -> Outcome {
    close(file_with(c"f", b"content")?)?;
    let handle = handle_of(c"f")?;
    fails(open_handle(&handle, libc::O_DIRECTORY), libc::ENOTDIR)?;
    fails(
        open_handle(&handle, libc::O_CREAT | libc::O_EXCL),
        libc::EEXIST,
    )?;
    close(open_handle(&handle, libc::O_CREAT)?)?;
    close(open_handle(&handle, libc::O_RDWR | libc::O_TRUNC)?)?;
    equal(stat(c"f")?.st_size, 0)?;
    let unnamed = open_handle(&handle_of(c".")?, libc::O_TMPFILE | libc::O_RDWR)?;
    equal(fstat(unnamed)?.st_nlink, 0)
}

fn opening_needs_a_capability() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let handle = handle_of(c"f")?;
    within(|| {
        become_user()?;
        fails(open_handle(&handle, 0), libc::EPERM)?;
        fails(sys!(SYS_open_by_handle_at, 99, 8, 0), libc::EPERM)
    })
}

fn naming_needs_none() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let handle = handle_of(c"f")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0)?;
    within(|| {
        become_user()?;
        equal(handle_of(c"f")?, handle)
    })
}

fn handles_of_nothing_are_stale() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let handle = handle_of(c"f")?;
    for at in [0, 4, 8] {
        let mut wrong = handle;
        wrong.content[at] ^= 0x55;
        fails(open_handle(&wrong, 0), libc::ESTALE)?;
    }
    Ok(())
}

fn another_file_system_does_not_know_it() -> Outcome {
    std::fs::create_dir("m")?;
    sys!(SYS_mount, c"none", c"m", c"tmpfs", 0, 0)?;
    close(file_with(c"m/f", b"x")?)?;
    let handle = handle_of(c"m/f")?;
    let inside = open(c"m", 0)?;
    fails(open_handle(&handle, 0), libc::ESTALE)?;
    let fd = sys!(SYS_open_by_handle_at, inside, &handle, 0)? as i32;
    equal(read_some(fd)?, b"x")?;
    close(fd)?;
    close(inside)?;
    sys!(SYS_umount2, c"m", 0)?;
    // A new file system in its place, with a file of the same number.
    sys!(SYS_mount, c"none", c"m", c"tmpfs", 0, 0)?;
    close(file_with(c"m/f", b"y")?)?;
    handle_of(c"m/f")?;
    let inside = open(c"m", 0)?;
    fails(
        sys!(SYS_open_by_handle_at, inside, &handle, 0),
        libc::ESTALE,
    )?;
    close(inside)?;
    sys!(SYS_umount2, c"m", 0)?;
    Ok(())
}

fn proc_has_no_handles() -> Outcome {
    fails(name(libc::AT_FDCWD, c"/proc/version", 0), libc::EOPNOTSUPP)?;
    let (read_end, _) = pipe()?;
    fails(name(read_end, c"", EMPTY), libc::EOPNOTSUPP)?;
    close(file_with(c"f", b"")?)?;
    let handle = handle_of(c"f")?;
    let proc_dir = open(c"/proc", 0)?;
    fails(
        sys!(SYS_open_by_handle_at, proc_dir, &handle, 0),
        libc::ESTALE,
    )
}

fn identities_without_handles() -> Outcome {
    close(file_with(c"f", b"")?)?;
    let at = libc::AT_FDCWD;
    let (own, _) = match name(at, c"f", HANDLE_FID) {
        Err(Errno(libc::EINVAL)) => return skip("no AT_HANDLE_FID (before Linux 6.5)"),
        own => own?,
    };
    equal(own, handle_of(c"f")?)?;
    let (version, _) = match name(at, c"/proc/version", HANDLE_FID) {
        Err(Errno(libc::EOPNOTSUPP)) => return skip("no identity of procfs (before Linux 6.7)"),
        version => version?,
    };
    equal((version.bytes, version.kind), (12, 0x81))?;
    let ino = stat(c"/proc/version")?.st_ino;
    equal(version.content[..8].to_vec(), ino.to_ne_bytes().to_vec())?;
    let proc_dir = open(c"/proc", 0)?;
    fails(
        sys!(SYS_open_by_handle_at, proc_dir, &version, 0),
        libc::ESTALE,
    )
}
