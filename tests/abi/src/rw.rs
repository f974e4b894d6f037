//! Reading and writing by position and in pieces, many messages at once, and the calls that set file times.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    preadv_and_pwritev_leave_the_offset,
    preadv_refuses_nonsense,
    preadv2_at_minus_one_uses_the_offset,
    preadv2_refuses_unknown_flags,
    pwritev2_append_goes_to_the_end,
    preadv2_nowait_never_waits,
    pread_of_a_pipe_is_espipe,
    readv_of_too_many_pieces_is_einval,
    readv_skips_empty_pieces,
    readv_stops_at_a_bad_piece,
    sendmmsg_and_recvmmsg_count_messages,
    recvmmsg_waits_for_one,
    utime_and_utimes_set_both_times,
    futimesat_is_relative_to_a_folder,
    utimensat_now_and_omit,
    utimensat_of_a_user_needs_its_rights,
    creat_truncates_and_opens_for_writing,
    getdents_old_form_lists_all,
    ustat_answers_for_a_device,
    old_path_calls_work,
];

fn piece(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

fn contents(path: &str) -> Outcome<Vec<u8>> {
    Ok(std::fs::read(path)?)
}

fn preadv_and_pwritev_leave_the_offset() -> Outcome {
    let fd = file_with(c"file", b"0123456789")?;
    let (mut a, mut b) = ([0_u8; 3], [0_u8; 4]);
    let pieces = [piece(&mut a), piece(&mut b)];
    equal(sys!(SYS_preadv, fd, pieces.as_ptr(), 2, 2, 0)?, 7)?;
    equal((&a, &b), (b"234", b"5678"))?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 0)?;
    let (mut a, mut b) = (*b"ab", *b"cde");
    let pieces = [piece(&mut a), piece(&mut b)];
    equal(sys!(SYS_pwritev, fd, pieces.as_ptr(), 2, 8, 0)?, 5)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 0)?;
    equal(contents("file")?, b"01234567abcde".to_vec())
}

fn preadv_refuses_nonsense() -> Outcome {
    let fd = file_with(c"file", b"x")?;
    let mut a = [0_u8; 3];
    let pieces = [piece(&mut a)];
    fails(
        sys!(SYS_preadv, fd, pieces.as_ptr(), 1, -1, 0),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_preadv, 999, pieces.as_ptr(), 1, 0, 0), libc::EBADF)?;
    fails(sys!(SYS_preadv, fd, 8, 1, 0, 0), libc::EFAULT)?;
    equal(sys!(SYS_preadv, fd, pieces.as_ptr(), 0, 0, 0)?, 0)
}

fn preadv2_at_minus_one_uses_the_offset() -> Outcome {
    let fd = file_with(c"file", b"0123456789")?;
    let mut a = [0_u8; 3];
    let pieces = [piece(&mut a)];
    equal(sys!(SYS_preadv2, fd, pieces.as_ptr(), 1, -1, -1, 0)?, 3)?;
    equal(sys!(SYS_preadv2, fd, pieces.as_ptr(), 1, -1, -1, 0)?, 3)?;
    equal(&a, b"345")?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 6)
}

fn preadv2_refuses_unknown_flags() -> Outcome {
    let fd = file_with(c"file", b"x")?;
    let mut a = [0_u8; 1];
    let pieces = [piece(&mut a)];
    fails(
        sys!(SYS_preadv2, fd, pieces.as_ptr(), 1, 0, 0, 0x4000_0000),
        libc::EOPNOTSUPP,
    )?;
    equal(
        sys!(
            SYS_pwritev2,
            fd,
            pieces.as_ptr(),
            1,
            0,
            0,
            libc::RWF_DSYNC | libc::RWF_HIPRI
        )?,
        1,
    )
}

fn pwritev2_append_goes_to_the_end() -> Outcome {
    let fd = file_with(c"file", b"0123")?;
    let mut a = *b"xy";
    let pieces = [piece(&mut a)];
    equal(
        sys!(SYS_pwritev2, fd, pieces.as_ptr(), 1, 0, 0, libc::RWF_APPEND)?,
        2,
    )?;
    equal(contents("file")?, b"0123xy".to_vec())
}

fn preadv2_nowait_never_waits() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    let mut a = [0_u8; 4];
    let pieces = [piece(&mut a)];
    let flags = libc::RWF_NOWAIT;
    // Files of which a kernel cannot promise it are refused; which, differs among Linux's versions.
    match sys!(SYS_preadv2, read_end, pieces.as_ptr(), 1, -1, -1, flags) {
        Err(Errno(libc::EAGAIN | libc::EOPNOTSUPP)) => Ok(()),
        other => fail(&format!("answers {other:?}")),
    }
}

fn pread_of_a_pipe_is_espipe() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let mut a = [0_u8; 1];
    let pieces = [piece(&mut a)];
    fails(
        sys!(SYS_preadv, read_end, pieces.as_ptr(), 1, 0, 0),
        libc::ESPIPE,
    )?;
    fails(
        sys!(SYS_pwritev, write_end, pieces.as_ptr(), 1, 0, 0),
        libc::ESPIPE,
    )?;
    fails(
        sys!(SYS_pread64, read_end, a.as_mut_ptr(), 1, 0),
        libc::ESPIPE,
    )
}

fn readv_of_too_many_pieces_is_einval() -> Outcome {
    let fd = file_with(c"file", b"x")?;
    let mut a = [0_u8; 1];
    let pieces = vec![piece(&mut a); 1025];
    fails(sys!(SYS_readv, fd, pieces.as_ptr(), 1025), libc::EINVAL)?;
    fails(sys!(SYS_readv, fd, pieces.as_ptr(), -1), libc::EINVAL)?;
    let huge = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: usize::MAX,
    };
    fails(sys!(SYS_readv, fd, &huge, 1), libc::EINVAL)
}

fn readv_skips_empty_pieces() -> Outcome {
    let fd = file_with(c"file", b"abc")?;
    let (mut a, mut b) = ([0_u8; 1], [0_u8; 2]);
    let empty = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let pieces = [empty, piece(&mut a), empty, piece(&mut b), empty];
    equal(sys!(SYS_readv, fd, pieces.as_ptr(), 5)?, 3)?;
    equal((&a, &b), (b"a", b"bc"))
}

fn readv_stops_at_a_bad_piece() -> Outcome {
    let fd = file_with(c"file", b"abcdef")?;
    let mut a = [0_u8; 2];
    let bad = libc::iovec {
        iov_base: 8 as *mut libc::c_void,
        iov_len: 2,
    };
    let pieces = [piece(&mut a), bad];
    equal(sys!(SYS_readv, fd, pieces.as_ptr(), 2)?, 2)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 2)
}

/// Two datagram sockets that are connected.
fn datagrams() -> Sys<(i32, i32)> {
    let mut fds = [0_i32; 2];
    sys!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_DGRAM, 0, &mut fds)?;
    Ok((fds[0], fds[1]))
}

fn message(piece: &mut libc::iovec) -> libc::mmsghdr {
    let mut message = zeroed::<libc::mmsghdr>();
    message.msg_hdr.msg_iov = piece;
    message.msg_hdr.msg_iovlen = 1;
    message
}

fn sendmmsg_and_recvmmsg_count_messages() -> Outcome {
    let (a, b) = datagrams()?;
    let (mut one, mut three) = (*b"1", *b"333");
    let (mut first, mut second) = (piece(&mut one), piece(&mut three));
    let mut out = [message(&mut first), message(&mut second)];
    equal(sys!(SYS_sendmmsg, a, out.as_mut_ptr(), 2, 0)?, 2)?;
    equal((out[0].msg_len, out[1].msg_len), (1, 3))?;
    let (mut x, mut y, mut z) = ([0_u8; 8], [0_u8; 8], [0_u8; 8]);
    let mut pieces = [piece(&mut x), piece(&mut y), piece(&mut z)];
    let mut into: Vec<_> = pieces.iter_mut().map(message).collect();
    let flags = libc::MSG_DONTWAIT;
    equal(sys!(SYS_recvmmsg, b, into.as_mut_ptr(), 3, flags, 0)?, 2)?;
    equal((into[0].msg_len, into[1].msg_len), (1, 3))?;
    equal(&y[..3], b"333".as_slice())?;
    fails(
        sys!(SYS_recvmmsg, b, into.as_mut_ptr(), 3, flags, 0),
        libc::EAGAIN,
    )
}

fn recvmmsg_waits_for_one() -> Outcome {
    let (a, b) = datagrams()?;
    let me = getpid();
    let child = fork(|| {
        let _ = await_state(me, "S");
        let _ = write(a, b"late");
        0
    })?;
    let (mut x, mut y) = ([0_u8; 8], [0_u8; 8]);
    let mut pieces = [piece(&mut x), piece(&mut y)];
    let mut into: Vec<_> = pieces.iter_mut().map(message).collect();
    let flags = libc::MSG_WAITFORONE;
    equal(sys!(SYS_recvmmsg, b, into.as_mut_ptr(), 2, flags, 0)?, 1)?;
    equal(into[0].msg_len, 4)?;
    equal(wait(child)?, 0)
}

fn utime_and_utimes_set_both_times() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_utime, c"file", &[11_i64, 22])?;
    let now = stat(c"file")?;
    equal((now.st_atime, now.st_mtime), (11, 22))?;
    sys!(SYS_utimes, c"file", &[33_i64, 44, 55, 66])?;
    let now = stat(c"file")?;
    equal((now.st_atime, now.st_atime_nsec), (33, 44_000))?;
    equal((now.st_mtime, now.st_mtime_nsec), (55, 66_000))?;
    fails(
        sys!(SYS_utimes, c"file", &[0_i64, 1_000_000, 0, 0]),
        libc::EINVAL,
    )?;
    sys!(SYS_utimes, c"file", 0)?;
    check(stat(c"file")?.st_mtime > 1_000_000, "not the present")?;
    fails(sys!(SYS_utime, c"missing", 0), libc::ENOENT)
}

fn futimesat_is_relative_to_a_folder() -> Outcome {
    std::fs::create_dir("folder")?;
    std::fs::write("folder/file", "")?;
    let dir = open(c"folder", libc::O_RDONLY | libc::O_DIRECTORY)?;
    sys!(SYS_futimesat, dir, c"file", &[1_i64, 0, 2, 0])?;
    let now = stat(c"folder/file")?;
    equal((now.st_atime, now.st_mtime), (1, 2))?;
    fails(sys!(SYS_futimesat, 999, c"file", 0), libc::EBADF)
}

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

fn utimensat_now_and_omit() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_utime, c"file", &[11_i64, 22])?;
    let set = |times: &[i64; 4]| sys!(SYS_utimensat, libc::AT_FDCWD, c"file", times, 0);
    set(&[0, UTIME_OMIT, 5, 6])?;
    let now = stat(c"file")?;
    equal((now.st_atime, now.st_mtime, now.st_mtime_nsec), (11, 5, 6))?;
    set(&[0, UTIME_NOW, 0, UTIME_OMIT])?;
    let now = stat(c"file")?;
    check(now.st_atime > 1_000_000, "not the present")?;
    equal(now.st_mtime, 5)?;
    fails(set(&[0, 1_000_000_000, 0, 0]), libc::EINVAL)?;
    std::os::unix::fs::symlink("file", "link")?;
    sys!(
        SYS_utimensat,
        libc::AT_FDCWD,
        c"link",
        &[7_i64, 0, 8, 0],
        libc::AT_SYMLINK_NOFOLLOW
    )?;
    equal((lstat(c"link")?.st_mtime, stat(c"file")?.st_mtime), (8, 5))
}

fn utimensat_of_a_user_needs_its_rights() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_chmod, c"file", 0o666)?;
    become_user()?;
    let set = |times: &[i64; 4]| sys!(SYS_utimensat, libc::AT_FDCWD, c"file", times, 0).map(drop);
    // Who may write may set the present, and nothing else.
    set(&[0, UTIME_NOW, 0, UTIME_NOW])?;
    fails(set(&[1, 0, 2, 0]), libc::EPERM)?;
    fails(set(&[0, UTIME_NOW, 0, UTIME_OMIT]), libc::EPERM)
}

fn creat_truncates_and_opens_for_writing() -> Outcome {
    std::fs::write("file", "old")?;
    let fd = sys!(SYS_creat, c"file", 0o600)? as i32;
    write(fd, b"n")?;
    fails(read(fd, &mut [0]), libc::EBADF)?;
    equal(contents("file")?, b"n".to_vec())
}

fn getdents_old_form_lists_all() -> Outcome {
    std::fs::create_dir("folder")?;
    for name in ["a", "bb", "ccc"] {
        std::fs::write(format!("folder/{name}"), "")?;
    }
    let fd = open(c"folder", libc::O_RDONLY)?;
    let mut bytes = vec![0_u8; 4096];
    let len = sys!(SYS_getdents, fd, bytes.as_mut_ptr(), 4096)?;
    let mut names = Vec::new();
    let mut at = 0;
    while at < len {
        let record = bytes.get(at..len).unwrap_or_default();
        let size = usize::from(u16::from_le_bytes([record[16], record[17]]));
        let name = record.get(18..size - 1).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        // The type stands in the record's last byte.
        names.push((String::from_utf8_lossy(name).into_owned(), record[size - 1]));
        at += size;
    }
    names.sort();
    let (dir, file) = (libc::DT_DIR, libc::DT_REG);
    let wanted = [
        (".", dir),
        ("..", dir),
        ("a", file),
        ("bb", file),
        ("ccc", file),
    ];
    equal(
        names,
        wanted.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
    )?;
    equal(sys!(SYS_getdents, fd, bytes.as_mut_ptr(), 4096)?, 0)?;
    let fd = open(c"folder", libc::O_RDONLY)?;
    fails(sys!(SYS_getdents, fd, bytes.as_mut_ptr(), 10), libc::EINVAL)
}

fn ustat_answers_for_a_device() -> Outcome {
    let mut out = [0_u8; 64];
    let device = stat(c".")?.st_dev;
    sys!(SYS_ustat, device, out.as_mut_ptr())?;
    fails(sys!(SYS_ustat, 0xffff_u32, out.as_mut_ptr()), libc::EINVAL)
}

/// The calls from before the `*at` forms.
fn old_path_calls_work() -> Outcome {
    let fd = sys!(SYS_open, c"file", libc::O_CREAT | libc::O_RDWR, 0o644)? as i32;
    write(fd, b"abc")?;
    let mut out = zeroed::<libc::stat>();
    sys!(SYS_stat, c"file", &mut out)?;
    equal(out.st_size, 3)?;
    sys!(SYS_symlink, c"file", c"link")?;
    sys!(SYS_lstat, c"link", &mut out)?;
    equal(out.st_mode & libc::S_IFMT, libc::S_IFLNK)?;
    let mut text = [0_u8; 16];
    equal(sys!(SYS_readlink, c"link", text.as_mut_ptr(), 16)?, 4)?;
    sys!(SYS_link, c"file", c"second")?;
    sys!(SYS_truncate, c"second", 1)?;
    sys!(SYS_stat, c"file", &mut out)?;
    equal((out.st_size, out.st_nlink), (1, 2))?;
    sys!(SYS_unlink, c"second")?;
    sys!(SYS_mkdir, c"folder", 0o700)?;
    sys!(SYS_rename, c"folder", c"moved")?;
    sys!(SYS_rmdir, c"moved")?;
    let mut ends = [0_i32; 2];
    sys!(SYS_pipe, &mut ends)?;
    equal(write(ends[1], b"x")?, 1)?;
    equal(sys!(SYS_getpgrp)?, sys!(SYS_getpgid, 0)?)
}
