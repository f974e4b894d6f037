//! The flags of files: `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`, and what they forbid, on the tmpfs that cases work in.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    flags_are_kept,
    unknown_flags_are_refused,
    an_immutable_file_does_not_change,
    an_immutable_directory_keeps_its_names,
    an_appendable_file_only_grows,
    an_appendable_directory_loses_no_names,
    an_open_file_stays_writable,
    two_flags_need_a_capability,
    flags_are_the_owners,
    no_access_times,
    some_flags_are_inherited,
    statx_tells_them,
    the_extended_form,
    files_without_flags,
];

const GETFLAGS: u32 = 0x8008_6601;
const SETFLAGS: u32 = 0x4008_6602;
const FSGETXATTR: u32 = 0x801c_581f;
const FSSETXATTR: u32 = 0x401c_5820;

const SYNC: u32 = 0x8;
const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;
const NODUMP: u32 = 0x40;
const NOATIME: u32 = 0x80;

fn get(fd: i32) -> Sys<u32> {
    let mut flags = 0xffff_ffff_u32;
    sys!(SYS_ioctl, fd, GETFLAGS, &mut flags)?;
    Ok(std::hint::black_box(flags))
}

fn set(fd: i32, flags: u32) -> Sys {
    sys!(SYS_ioctl, fd, SETFLAGS, &flags)
}

/// A new file, where files have flags.
fn file(path: &std::ffi::CStr) -> Outcome<i32> {
    let fd = file_with(path, b"content")?;
    match get(fd) {
        Err(Errno(libc::ENOTTY)) => skip("no flags of files on tmpfs (before Linux 6.1)"),
        flags => {
            equal(flags?, 0)?;
            Ok(fd)
        }
    }
}

/// Runs the body while the file has the flags, which are gone after it.
fn with_flags(fd: i32, flags: u32, body: impl FnOnce() -> Outcome) -> Outcome {
    set(fd, flags)?;
    let outcome = body();
    set(fd, 0)?;
    outcome
}

fn flags_are_kept() -> Outcome {
    let fd = file(c"f")?;
    for flags in [IMMUTABLE, APPEND, NODUMP, NOATIME, APPEND | NODUMP, 0] {
        set(fd, flags)?;
        equal(get(fd)?, flags)?;
        equal(get(open(c"f", 0)?)?, flags)?;
    }
    fails(sys!(SYS_ioctl, fd, GETFLAGS, 8), libc::EFAULT)?;
    fails(sys!(SYS_ioctl, fd, SETFLAGS, 8), libc::EFAULT)?;
    // They are of 32 bits, whatever the request's number says.
    let mut wide = u64::MAX;
    sys!(SYS_ioctl, fd, GETFLAGS, &mut wide)?;
    equal(std::hint::black_box(wide), 0xffff_ffff_0000_0000)
}

fn unknown_flags_are_refused() -> Outcome {
    let fd = file(c"f")?;
    set(fd, NODUMP)?;
    for flags in [SYNC, SYNC | NODUMP, 0x4000, 0x8_0000, 1 << 31] {
        fails(set(fd, flags), libc::EOPNOTSUPP)?;
        equal(get(fd)?, NODUMP)?;
    }
    Ok(())
}

fn an_immutable_file_does_not_change() -> Outcome {
    let fd = file(c"f")?;
    let at = libc::AT_FDCWD;
    with_flags(fd, IMMUTABLE, || {
        fails(open(c"f", libc::O_WRONLY), libc::EPERM)?;
        fails(open(c"f", libc::O_RDWR | libc::O_APPEND), libc::EPERM)?;
        fails(open(c"f", libc::O_TRUNC), libc::EPERM)?;
        close(open(c"f", libc::O_RDONLY)?)?;
        fails(sys!(SYS_unlinkat, at, c"f", 0), libc::EPERM)?;
        fails(sys!(SYS_renameat, at, c"f", at, c"g"), libc::EPERM)?;
        fails(sys!(SYS_linkat, at, c"f", at, c"g", 0), libc::EPERM)?;
        fails(sys!(SYS_fchmod, fd, 0o600), libc::EPERM)?;
        fails(sys!(SYS_fchown, fd, 0, 0), libc::EPERM)?;
        fails(sys!(SYS_utimensat, at, c"f", 0, 0), libc::EPERM)?;
        fails(sys!(SYS_truncate, c"f", 0), libc::EPERM)?;
        fails(sys!(SYS_fallocate, fd, 0, 0, 100), libc::EPERM)?;
        fails(
            sys!(SYS_setxattr, c"f", c"trusted.x", c"y", 1, 0),
            libc::EPERM,
        )?;
        fails(sys!(SYS_faccessat, at, c"f", libc::W_OK), libc::EPERM)?;
        equal(std::fs::read("f")?, b"content")
    })?;
    sys!(SYS_unlinkat, at, c"f", 0)?;
    Ok(())
}

fn an_immutable_directory_keeps_its_names() -> Outcome {
    std::fs::create_dir("d")?;
    let inner = file(c"d/f")?;
    let dir = open(c"d", libc::O_DIRECTORY)?;
    let at = libc::AT_FDCWD;
    with_flags(dir, IMMUTABLE, || {
        fails(open(c"d/g", libc::O_CREAT | libc::O_RDWR), libc::EPERM)?;
        fails(sys!(SYS_mkdirat, at, c"d/g", 0o700), libc::EPERM)?;
        fails(sys!(SYS_unlinkat, at, c"d/f", 0), libc::EPERM)?;
        fails(sys!(SYS_renameat, at, c"d/f", at, c"f"), libc::EPERM)?;
        fails(
            sys!(SYS_unlinkat, at, c"d", libc::AT_REMOVEDIR),
            libc::EPERM,
        )?;
        // What is in it is not its own.
        write(inner, b"more")?;
        close(open(c"d/f", libc::O_RDWR)?)?;
        Ok(())
    })
}

fn an_appendable_file_only_grows() -> Outcome {
    let fd = file(c"f")?;
    let at = libc::AT_FDCWD;
    with_flags(fd, APPEND, || {
        fails(open(c"f", libc::O_WRONLY), libc::EPERM)?;
        let mut trunc = libc::O_WRONLY | libc::O_APPEND | libc::O_TRUNC;
        fails(open(c"f", trunc), libc::EPERM)?;
        trunc = libc::O_TRUNC;
        fails(open(c"f", trunc), libc::EPERM)?;
        let more = open(c"f", libc::O_RDWR | libc::O_APPEND)?;
        write(more, b"more")?;
        equal(std::fs::read("f")?, b"contentmore")?;
        fails(sys!(SYS_fcntl, more, libc::F_SETFL, 0), libc::EPERM)?;
        fails(sys!(SYS_ftruncate, more, 0), libc::EPERM)?;
        fails(sys!(SYS_truncate, c"f", 0), libc::EPERM)?;
        fails(sys!(SYS_fallocate, more, 3, 0, 1), libc::EPERM)?;
        sys!(SYS_fallocate, more, 0, 0, 1)?;
        let shared = libc::MAP_SHARED;
        fails(
            sys!(SYS_mmap, 0, PAGE, libc::PROT_READ, shared, more, 0),
            libc::EACCES,
        )?;
        fails(sys!(SYS_unlinkat, at, c"f", 0), libc::EPERM)?;
        fails(sys!(SYS_linkat, at, c"f", at, c"g", 0), libc::EPERM)?;
        fails(sys!(SYS_fchmod, fd, 0o600), libc::EPERM)?;
        // The times of now are for writers.
        sys!(SYS_utimensat, at, c"f", 0, 0)?;
        let times = [0_i64; 4];
        fails(sys!(SYS_utimensat, at, c"f", &times, 0), libc::EPERM)
    })
}

fn an_appendable_directory_loses_no_names() -> Outcome {
    std::fs::create_dir("d")?;
    file(c"d/f")?;
    let dir = open(c"d", libc::O_DIRECTORY)?;
    let at = libc::AT_FDCWD;
    with_flags(dir, APPEND, || {
        close(file_with(c"d/g", b"")?)?;
        fails(sys!(SYS_unlinkat, at, c"d/g", 0), libc::EPERM)?;
        fails(sys!(SYS_renameat, at, c"d/g", at, c"d/h"), libc::EPERM)
    })
}

fn an_open_file_stays_writable() -> Outcome {
    let fd = file(c"f")?;
    with_flags(fd, IMMUTABLE, || {
        equal(sys!(SYS_pwrite64, fd, c"CON".as_ptr(), 3, 0)?, 3)?;
        equal(std::fs::read("f")?, b"CONtent")
    })
}

fn two_flags_need_a_capability() -> Outcome {
    let fd = file(c"f")?;
    sys!(SYS_fchown, fd, 1000, 1000)?;
    set(fd, APPEND)?;
    within(|| {
        become_user()?;
        fails(set(fd, IMMUTABLE), libc::EPERM)?;
        fails(set(fd, 0), libc::EPERM)?;
        fails(set(fd, IMMUTABLE | SYNC), libc::EPERM)?;
        set(fd, APPEND | NODUMP)?;
        equal(get(fd)?, APPEND | NODUMP)
    })?;
    set(fd, 0)?;
    Ok(())
}

fn flags_are_the_owners() -> Outcome {
    let fd = file(c"f")?;
    within(|| {
        become_user()?;
        equal(get(fd)?, 0)?;
        fails(set(fd, NODUMP), libc::EPERM)?;
        fails(set(fd, 0), libc::EPERM)
    })
}

fn no_access_times() -> Outcome {
    let fd = file(c"f")?;
    let old = [1_i64, 0, 2, 0];
    sys!(SYS_utimensat, libc::AT_FDCWD, c"f", &old, 0)?;
    set(fd, NOATIME)?;
    equal(read_some(fd)?, b"content")?;
    equal(fstat(fd)?.st_atime, 1)?;
    set(fd, 0)?;
    sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
    read_some(fd)?;
    check(fstat(fd)?.st_atime > 1, "no access time without the flag")
}

fn some_flags_are_inherited() -> Outcome {
    file(c"f")?;
    std::fs::create_dir("d")?;
    let dir = open(c"d", libc::O_DIRECTORY)?;
    with_flags(dir, APPEND | NODUMP | NOATIME, || {
        equal(get(file_with(c"d/f", b"")?)?, NODUMP | NOATIME)?;
        std::fs::create_dir("d/e")?;
        equal(get(open(c"d/e", 0)?)?, NODUMP | NOATIME)
    })
}

fn statx_tells_them() -> Outcome {
    let fd = file(c"f")?;
    let told = || {
        let mut out = zeroed::<libc::statx>();
        sys!(SYS_statx, fd, c"", libc::AT_EMPTY_PATH, 0x7ff, &mut out)?;
        let out = std::hint::black_box(out);
        Sys::Ok((out.stx_attributes & 0x70, out.stx_attributes_mask & 0x70))
    };
    equal(told()?, (0, 0x70))?;
    set(fd, NODUMP)?;
    equal(told()?, (0x40, 0x70))?;
    with_flags(fd, APPEND | IMMUTABLE, || equal(told()?, (0x30, 0x70)))
}

fn the_extended_form() -> Outcome {
    let fd = file(c"f")?;
    let mut form = [7_u32; 7];
    sys!(SYS_ioctl, fd, FSGETXATTR, &mut form)?;
    equal(std::hint::black_box(form), [0; 7])?;
    set(fd, NODUMP | NOATIME)?;
    sys!(SYS_ioctl, fd, FSGETXATTR, &mut form)?;
    equal(std::hint::black_box(form), [0xc0, 0, 0, 0, 0, 0, 0])?;
    sys!(SYS_ioctl, fd, FSSETXATTR, &[0x10_u32, 0, 5, 0, 0, 0, 0])?;
    equal(get(fd)?, APPEND)?;
    sys!(SYS_ioctl, fd, FSSETXATTR, &[0_u32; 7])?;
    equal(get(fd)?, 0)?;
    for wrong in [[0x20_u32, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]] {
        let [flags, extent, _, project, _] = wrong;
        let form = [flags, extent, 0, project, 0, 0, 0];
        fails(sys!(SYS_ioctl, fd, FSSETXATTR, &form), libc::EOPNOTSUPP)?;
    }
    fails(sys!(SYS_ioctl, fd, FSSETXATTR, 8), libc::EFAULT)?;
    fails(sys!(SYS_ioctl, fd, FSGETXATTR, 8), libc::EFAULT)
}

fn files_without_flags() -> Outcome {
    let (read_end, _) = pipe()?;
    fails(get(read_end), libc::ENOTTY)?;
    fails(set(read_end, 0), libc::ENOTTY)?;
    let version = open(c"/proc/version", 0)?;
    fails(get(version), libc::ENOTTY)?;
    fails(set(version, 0), libc::ENOTTY)?;
    fails(
        get(open(c"f", libc::O_PATH | libc::O_CREAT).or(open(c".", libc::O_PATH))?),
        libc::EBADF,
    )
}
