//! Opening files: flags, modes, rights and the errors of paths.

use super::{mkdir, symlink};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    open_flags_and_their_errors,
    open_directory_for_writing_is_eisdir,
    open_creat_excl_does_not_follow,
    open_nofollow_is_eloop,
    open_trailing_slash,
    open_path_only_names,
    open_tmpfile_has_no_name,
    open_takes_the_lowest_descriptor,
    open_mode_obeys_the_umask,
    open_created_without_rights_is_writable_once,
    open_beyond_the_limit_is_emfile,
    open_truncates,
    open_at_a_directory,
    open_at_ignores_dirfd_for_absolute,
    openat2_resolve_flags,
    openat2_refuses_bad_arguments,
    errno_precedence_of_paths,
    name_too_long,
];

fn open_flags_and_their_errors() -> Outcome {
    fails(open(c"none", libc::O_RDONLY), libc::ENOENT)?;
    fails(open(c"none/f", libc::O_CREAT), libc::ENOENT)?;
    let fd = file_with(c"f", b"x")?;
    fails(open(c"f", libc::O_CREAT | libc::O_EXCL), libc::EEXIST)?;
    fails(open(c"f", libc::O_DIRECTORY), libc::ENOTDIR)?;
    fails(open(c"f/g", libc::O_RDONLY), libc::ENOTDIR)?;
    fails(sys!(SYS_openat, 99, c"f", 0, 0), libc::EBADF)?;
    fails(sys!(SYS_openat, fd, c"f", 0, 0), libc::ENOTDIR)?;
    fails(sys!(SYS_openat, libc::AT_FDCWD, 8, 0, 0), libc::EFAULT)?;
    fails(open(c"", libc::O_RDONLY), libc::ENOENT)
}

fn open_directory_for_writing_is_eisdir() -> Outcome {
    fails(open(c".", libc::O_WRONLY), libc::EISDIR)?;
    fails(open(c".", libc::O_RDWR), libc::EISDIR)?;
    fails(open(c".", libc::O_CREAT), libc::EISDIR)?;
    open(c".", libc::O_RDONLY)?;
    Ok(())
}

fn open_creat_excl_does_not_follow() -> Outcome {
    symlink(c"target", c"link")?;
    fails(
        open(c"link", libc::O_CREAT | libc::O_EXCL | libc::O_RDWR),
        libc::EEXIST,
    )?;
    fails(stat(c"target").map(|_| ()), libc::ENOENT)?;
    open(c"link", libc::O_CREAT | libc::O_RDWR)?;
    stat(c"target")?;
    Ok(())
}

fn open_nofollow_is_eloop() -> Outcome {
    file_with(c"f", b"")?;
    symlink(c"f", c"link")?;
    fails(open(c"link", libc::O_NOFOLLOW), libc::ELOOP)?;
    let fd = open(c"link", libc::O_NOFOLLOW | libc::O_PATH)?;
    equal(fstat(fd)?.st_mode & libc::S_IFMT, libc::S_IFLNK)?;
    fails(
        open(c"link", libc::O_NOFOLLOW | libc::O_DIRECTORY),
        libc::ENOTDIR,
    )
}

fn open_trailing_slash() -> Outcome {
    file_with(c"f", b"")?;
    mkdir(c"d")?;
    fails(open(c"f/", libc::O_RDONLY), libc::ENOTDIR)?;
    fails(open(c"new/", libc::O_CREAT | libc::O_RDWR), libc::EISDIR)?;
    open(c"d//", libc::O_RDONLY)?;
    fails(open(c"none/", libc::O_RDONLY), libc::ENOENT)
}

fn open_path_only_names() -> Outcome {
    file_with(c"f", b"data")?;
    let fd = open(c"f", libc::O_PATH)?;
    fails(read_some(fd), libc::EBADF)?;
    fails(write(fd, b"x"), libc::EBADF)?;
    fails(sys!(SYS_fchmod, fd, 0o600), libc::EBADF)?;
    fails(sys!(SYS_ioctl, fd, libc::FIONREAD, 0), libc::EBADF)?;
    equal(fstat(fd)?.st_size, 4)?;
    let flags = sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32;
    check(flags & libc::O_PATH != 0, "F_GETFL does not tell O_PATH")?;
    let again = open(&c_string(&format!("/proc/self/fd/{fd}")), libc::O_RDONLY)?;
    equal(read_some(again)?, b"data".to_vec())
}

fn open_tmpfile_has_no_name() -> Outcome {
    let fd = open(c".", libc::O_TMPFILE | libc::O_RDWR)?;
    equal(fstat(fd)?.st_nlink, 0)?;
    write(fd, b"hidden")?;
    equal(std::fs::read_dir(".")?.count(), 0)?;
    let source = c_string(&format!("/proc/self/fd/{fd}"));
    sys!(
        SYS_linkat,
        libc::AT_FDCWD,
        source.as_c_str(),
        libc::AT_FDCWD,
        c"named",
        libc::AT_SYMLINK_FOLLOW
    )?;
    equal(text_of("named")?, "hidden")?;
    fails(open(c".", libc::O_TMPFILE | libc::O_RDONLY), libc::EINVAL)
}

fn open_takes_the_lowest_descriptor() -> Outcome {
    let fds = [
        open(c"/dev/null", 0)?,
        open(c"/dev/null", 0)?,
        open(c"/dev/null", 0)?,
    ];
    check(fds.is_sorted(), "not in order")?;
    close(fds[0])?;
    close(fds[1])?;
    equal(open(c"/dev/null", 0)?, fds[0])?;
    equal(open(c"/dev/null", 0)?, fds[1])?;
    check(open(c"/dev/null", 0)? > fds[2], "not the next")
}

fn open_mode_obeys_the_umask() -> Outcome {
    sys!(SYS_umask, 0o027)?;
    open_mode(c"f", libc::O_CREAT | libc::O_RDWR, 0o6777)?;
    equal(stat(c"f")?.st_mode, libc::S_IFREG | 0o6750)?;
    equal(sys!(SYS_umask, 0o7777)?, 0o027)?;
    equal(sys!(SYS_umask, 0)?, 0o777)
}

fn open_created_without_rights_is_writable_once() -> Outcome {
    sys!(SYS_fchmodat, libc::AT_FDCWD, c".", 0o777)?;
    within(|| {
        become_user()?;
        let fd = open_mode(c"f", libc::O_CREAT | libc::O_RDWR, 0)?;
        write(fd, b"x")?;
        fails(open(c"f", libc::O_RDONLY), libc::EACCES)?;
        fails(open(c"f", libc::O_CREAT | libc::O_RDWR), libc::EACCES)
    })
}

fn open_beyond_the_limit_is_emfile() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 10,
        rlim_max: 10,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE as i32, &limit, 0)?;
    let mut last = Ok(0);
    for _ in 0..20 {
        last = open(c"/dev/null", 0);
    }
    fails(last, libc::EMFILE)?;
    fails(sys!(SYS_dup, 0), libc::EMFILE)?;
    fails(sys!(SYS_dup2, 0, 10), libc::EBADF)?;
    fails(sys!(SYS_fcntl, 0, libc::F_DUPFD, 10), libc::EINVAL)?;
    fails(pipe().map(|_| ()), libc::EMFILE)
}

fn open_truncates() -> Outcome {
    file_with(c"f", b"data")?;
    open(c"f", libc::O_RDWR)?;
    equal(stat(c"f")?.st_size, 4)?;
    open(c"f", libc::O_WRONLY | libc::O_TRUNC)?;
    equal(stat(c"f")?.st_size, 0)
}

fn open_at_a_directory() -> Outcome {
    mkdir(c"d")?;
    let dir = open(c"d", libc::O_RDONLY | libc::O_DIRECTORY)?;
    let fd = sys!(SYS_openat, dir, c"f", libc::O_CREAT | libc::O_RDWR, 0o600)? as i32;
    write(fd, b"inside")?;
    equal(text_of("d/f")?, "inside")?;
    sys!(SYS_unlinkat, dir, c"f", 0)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"d", libc::AT_REMOVEDIR)?;
    fails(
        sys!(SYS_openat, dir, c"g", libc::O_CREAT | libc::O_RDWR, 0o600),
        libc::ENOENT,
    )
}

fn open_at_ignores_dirfd_for_absolute() -> Outcome {
    sys!(SYS_openat, -77, c"/dev/null", 0, 0)?;
    Ok(())
}

#[repr(C)]
#[derive(Default)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

fn openat2(path: &std::ffi::CStr, flags: i32, resolve: u64) -> Sys {
    let how = OpenHow {
        flags: flags as u64,
        mode: 0,
        resolve,
    };
    sys!(SYS_openat2, libc::AT_FDCWD, path, &how, 24)
}

fn openat2_resolve_flags() -> Outcome {
    mkdir(c"d")?;
    file_with(c"d/f", b"")?;
    symlink(c"d/f", c"link")?;
    symlink(c"/dev/null", c"absolute")?;
    const NO_XDEV: u64 = 1;
    const NO_SYMLINKS: u64 = 4;
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 16;
    openat2(c"link", 0, BENEATH)?;
    fails(openat2(c"link", 0, NO_SYMLINKS), libc::ELOOP)?;
    fails(openat2(c"absolute", 0, BENEATH), libc::EXDEV)?;
    fails(openat2(c"..", 0, BENEATH), libc::EXDEV)?;
    fails(openat2(c"/dev/null", 0, NO_XDEV), libc::EXDEV)?;
    fails(openat2(c"absolute", 0, IN_ROOT), libc::ENOENT)?;
    openat2(c"/d/../../../d/f", 0, IN_ROOT)?;
    Ok(())
}

fn openat2_refuses_bad_arguments() -> Outcome {
    file_with(c"f", b"")?;
    let how = OpenHow {
        flags: 0,
        mode: 0o600,
        resolve: 0,
    };
    fails(
        sys!(SYS_openat2, libc::AT_FDCWD, c"f", &how, 24),
        libc::EINVAL,
    )?;
    let how = OpenHow {
        flags: 1 << 40,
        ..OpenHow::default()
    };
    fails(
        sys!(SYS_openat2, libc::AT_FDCWD, c"f", &how, 24),
        libc::EINVAL,
    )?;
    let how = OpenHow {
        resolve: 1 << 20,
        ..OpenHow::default()
    };
    fails(
        sys!(SYS_openat2, libc::AT_FDCWD, c"f", &how, 24),
        libc::EINVAL,
    )?;
    fails(
        sys!(SYS_openat2, libc::AT_FDCWD, c"f", &how, 23),
        libc::EINVAL,
    )?;
    let long = [0_u64, 0, 0, 1];
    fails(
        sys!(SYS_openat2, libc::AT_FDCWD, c"f", &long, 32),
        libc::E2BIG,
    )?;
    let long = [0_u64; 4];
    sys!(SYS_openat2, libc::AT_FDCWD, c"f", &long, 32)?;
    Ok(())
}

fn errno_precedence_of_paths() -> Outcome {
    mkdir(c"d")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"d", 0o000)?;
    symlink(c"loop", c"loop")?;
    fails(open(c"loop", 0), libc::ELOOP)?;
    fails(open(c"loop/x", 0), libc::ELOOP)?;
    within(|| {
        become_user()?;
        fails(open(c"d/none", 0), libc::EACCES)?;
        fails(open(c"d/none/more", 0), libc::EACCES)?;
        fails(open(c"none/more", 0), libc::ENOENT)
    })?;
    // A path that cannot be read is told before a descriptor that is not there is.
    fails(sys!(SYS_openat, 99, 8, 0, 0), libc::EFAULT)
}

fn name_too_long() -> Outcome {
    let name = |length: usize| c_string(&"n".repeat(length));
    open(&name(255), libc::O_CREAT | libc::O_RDWR)?;
    fails(
        open(&name(256), libc::O_CREAT | libc::O_RDWR),
        libc::ENAMETOOLONG,
    )?;
    fails(stat(&name(256)).map(|_| ()), libc::ENAMETOOLONG)?;
    let path = |length: usize| c_string(&"./".repeat(length / 2)[..length - 1]);
    stat(&path(4095))?;
    fails(
        stat(&c_string(&"./".repeat(2048))).map(|_| ()),
        libc::ENAMETOOLONG,
    )
}
