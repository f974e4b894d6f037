//! Descriptors: duplicates, flags and closing.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    dup_shares_the_offset,
    dup2_and_dup3_rules,
    fcntl_dupfd,
    fcntl_flags,
    cloexec_closes_at_exec,
    close_range_closes_and_marks,
    close_of_a_closed_is_ebadf,
    ioctl_of_unknown_is_enotty,
];

fn dup_shares_the_offset() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    let copy = sys!(SYS_dup, fd)? as i32;
    sys!(SYS_lseek, copy, 5, 0)?;
    equal(read_some(fd)?, b"56789".to_vec())?;
    sys!(SYS_fcntl, copy, libc::F_SETFL, libc::O_APPEND)?;
    check(
        sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32 & libc::O_APPEND != 0,
        "flags are not shared",
    )?;
    sys!(SYS_fcntl, copy, libc::F_SETFD, libc::FD_CLOEXEC)?;
    equal(sys!(SYS_fcntl, fd, libc::F_GETFD)?, 0)
}

fn dup2_and_dup3_rules() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    equal(sys!(SYS_dup2, fd, fd)?, fd as usize)?;
    equal(sys!(SYS_dup2, fd, 50)?, 50)?;
    fails(sys!(SYS_dup2, 99, 51), libc::EBADF)?;
    fails(sys!(SYS_dup2, fd, -1), libc::EBADF)?;
    fails(sys!(SYS_dup3, fd, fd, 0), libc::EINVAL)?;
    fails(sys!(SYS_dup3, fd, 52, 1), libc::EINVAL)?;
    sys!(SYS_dup3, fd, 52, libc::O_CLOEXEC)?;
    equal(sys!(SYS_fcntl, 52, libc::F_GETFD)?, 1)
}

fn fcntl_dupfd() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    equal(sys!(SYS_fcntl, fd, libc::F_DUPFD, 100)?, 100)?;
    equal(sys!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, 100)?, 101)?;
    equal(sys!(SYS_fcntl, 101, libc::F_GETFD)?, 1)?;
    fails(sys!(SYS_fcntl, fd, libc::F_DUPFD, -1), libc::EINVAL)?;
    fails(sys!(SYS_fcntl, fd, 9999, 0), libc::EINVAL)
}

fn fcntl_flags() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    let flags = sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32;
    equal(flags & libc::O_ACCMODE, libc::O_RDWR)?;
    equal(flags & (libc::O_CREAT | libc::O_TRUNC), 0)?;
    sys!(
        SYS_fcntl,
        fd,
        libc::F_SETFL,
        libc::O_NONBLOCK | libc::O_WRONLY | libc::O_CREAT
    )?;
    let flags = sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32;
    equal(
        flags & (libc::O_ACCMODE | libc::O_NONBLOCK),
        libc::O_RDWR | libc::O_NONBLOCK,
    )
}

fn cloexec_closes_at_exec() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let kept = open(c"/dev/null", 0)?;
    let closed = open(c"/dev/null", libc::O_CLOEXEC)?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup2, write_end, 1);
        let script = c_string(&format!(
            "[ -e /proc/self/fd/{kept} ] && echo kept; [ -e /proc/self/fd/{closed} ] || echo closed"
        ));
        let arguments = [
            c"sh".as_ptr(),
            c"-c".as_ptr(),
            script.as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/sh", &arguments, 0);
        127
    })?;
    close(write_end)?;
    equal(wait(pid)?, 0)?;
    equal(
        String::from_utf8_lossy(&read_some(read_end)?).into_owned(),
        "kept\nclosed\n".to_owned(),
    )
}

fn close_range_closes_and_marks() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    for copy in 60..65 {
        sys!(SYS_dup2, fd, copy)?;
    }
    sys!(SYS_close_range, 61, 62, 0)?;
    fails(fstat(61).map(|_| ()), libc::EBADF)?;
    sys!(SYS_close_range, 63, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)?;
    equal(
        (
            sys!(SYS_fcntl, 63, libc::F_GETFD)?,
            sys!(SYS_fcntl, 60, libc::F_GETFD)?,
        ),
        (1, 0),
    )?;
    fails(sys!(SYS_close_range, 5, 4, 0), libc::EINVAL)?;
    fails(sys!(SYS_close_range, 90, 91, 8), libc::EINVAL)
}

fn close_of_a_closed_is_ebadf() -> Outcome {
    let fd = open(c"/dev/null", 0)?;
    close(fd)?;
    fails(close(fd), libc::EBADF)?;
    fails(close(-1), libc::EBADF)
}

fn ioctl_of_unknown_is_enotty() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    fails(sys!(SYS_ioctl, fd, 0x1234_5678, 0), libc::ENOTTY)?;
    fails(sys!(SYS_ioctl, fd, libc::TCGETS, 0), libc::ENOTTY)?;
    sys!(SYS_ioctl, fd, libc::FIOCLEX, 0)?;
    equal(sys!(SYS_fcntl, fd, libc::F_GETFD)?, 1)?;
    sys!(SYS_ioctl, fd, libc::FIONCLEX, 0)?;
    equal(sys!(SYS_fcntl, fd, libc::F_GETFD)?, 0)?;
    let on = 1_i32;
    sys!(SYS_ioctl, fd, libc::FIONBIO, &on)?;
    check(
        sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32 & libc::O_NONBLOCK != 0,
        "not nonblocking",
    )
}
