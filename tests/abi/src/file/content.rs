//! What is in files: reading and writing, offsets, holes, sizes and devices.

use super::mkdir;
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    read_and_write_move_the_offset,
    pread_and_pwrite_do_not,
    append_writes_at_the_end,
    write_past_the_end_makes_a_hole,
    lseek_whence_and_errors,
    lseek_data_and_hole,
    read_of_a_directory_is_eisdir,
    read_write_permissions_of_descriptors,
    preadv2_flags,
    truncate_grows_and_shrinks,
    truncate_errors,
    fallocate_modes,
    rlimit_fsize_is_efbig_and_sigxfsz,
    fsync_of_what_can_and_cannot,
    fadvise_and_readahead_errors,
    sparse_blocks_are_counted,
    full_device_and_null,
    statfs_of_tmpfs,
    deleted_file_lives_until_closed,
];

fn read_and_write_move_the_offset() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    let mut four = [0; 4];
    equal(read(fd, &mut four)?, 4)?;
    write(fd, b"XY")?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 6)?;
    equal(text_of("f")?, "0123XY6789")?;
    equal(read_some(fd)?, b"6789".to_vec())?;
    equal(read_some(fd)?.len(), 0)
}

fn pread_and_pwrite_do_not() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    let mut two = [0; 2];
    equal(sys!(SYS_pread64, fd, two.as_mut_ptr(), 2, 8)?, 2)?;
    equal(sys!(SYS_pwrite64, fd, c"ab", 2, 4)?, 2)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 0)?;
    equal(text_of("f")?, "0123ab6789")?;
    fails(sys!(SYS_pread64, fd, two.as_mut_ptr(), 2, -1), libc::EINVAL)?;
    equal(sys!(SYS_pread64, fd, two.as_mut_ptr(), 2, 100)?, 0)
}

fn append_writes_at_the_end() -> Outcome {
    file_with(c"f", b"start")?;
    let fd = open(c"f", libc::O_RDWR | libc::O_APPEND)?;
    sys!(SYS_lseek, fd, 0, 0)?;
    write(fd, b"end")?;
    // Linux appends here too.
    sys!(SYS_pwrite64, fd, c"!", 1, 0)?;
    equal(text_of("f")?, "startend!")?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 8)
}

fn write_past_the_end_makes_a_hole() -> Outcome {
    let fd = file_with(c"f", b"a")?;
    sys!(SYS_lseek, fd, 10_000, 0)?;
    write(fd, b"b")?;
    equal(fstat(fd)?.st_size, 10_001)?;
    let bytes = std::fs::read("f")?;
    check(
        bytes.iter().skip(1).take(9999).all(|&byte| byte == 0),
        "the hole is not zero",
    )
}

fn lseek_whence_and_errors() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    equal(sys!(SYS_lseek, fd, -3, libc::SEEK_END)?, 7)?;
    equal(sys!(SYS_lseek, fd, 2, libc::SEEK_CUR)?, 9)?;
    fails(sys!(SYS_lseek, fd, -1, libc::SEEK_SET), libc::EINVAL)?;
    fails(sys!(SYS_lseek, fd, -11, libc::SEEK_END), libc::EINVAL)?;
    fails(sys!(SYS_lseek, fd, 0, 9), libc::EINVAL)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 9)?;
    equal(sys!(SYS_lseek, fd, 1_i64 << 40, libc::SEEK_SET)?, 1 << 40)?;
    equal(read_some(fd)?.len(), 0)?;
    fails(sys!(SYS_lseek, 99, 0, 0), libc::EBADF)
}

fn lseek_data_and_hole() -> Outcome {
    let fd = file_with(c"f", b"")?;
    sys!(SYS_ftruncate, fd, 16 * PAGE)?;
    sys!(SYS_pwrite64, fd, c"x", 1, 8 * PAGE)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_DATA)?, 8 * PAGE)?;
    equal(sys!(SYS_lseek, fd, 8 * PAGE, libc::SEEK_HOLE)?, 9 * PAGE)?;
    equal(sys!(SYS_lseek, fd, 3, libc::SEEK_HOLE)?, 3)?;
    fails(sys!(SYS_lseek, fd, 10 * PAGE, libc::SEEK_DATA), libc::ENXIO)?;
    fails(sys!(SYS_lseek, fd, 16 * PAGE, libc::SEEK_HOLE), libc::ENXIO)
}

fn read_of_a_directory_is_eisdir() -> Outcome {
    let fd = open(c".", 0)?;
    fails(read_some(fd), libc::EISDIR)?;
    fails(write(fd, b"x"), libc::EBADF)
}

fn read_write_permissions_of_descriptors() -> Outcome {
    file_with(c"f", b"data")?;
    let reader = open(c"f", libc::O_RDONLY)?;
    let writer = open(c"f", libc::O_WRONLY)?;
    fails(write(reader, b"x"), libc::EBADF)?;
    fails(read_some(writer), libc::EBADF)?;
    fails(sys!(SYS_ftruncate, reader, 0), libc::EINVAL)?;
    fails(sys!(SYS_read, 99, 0, 0), libc::EBADF)?;
    equal(sys!(SYS_read, reader, 0, 0)?, 0)
}

fn preadv2_flags() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    let mut bytes = [0_u8; 4];
    let vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: 4,
    };
    equal(sys!(SYS_preadv2, fd, &vector, 1, -1, -1, 0)?, 4)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 4)?;
    equal(sys!(SYS_preadv2, fd, &vector, 1, 8, 0, 0)?, 2)?;
    fails(
        sys!(SYS_preadv2, fd, &vector, 1, 0, 0, 0x4000_0000),
        libc::EOPNOTSUPP,
    )?;
    const APPEND: i32 = 0x10;
    equal(sys!(SYS_pwritev2, fd, &vector, 1, 0, 0, APPEND)?, 4)?;
    equal(fstat(fd)?.st_size, 14)
}

fn truncate_grows_and_shrinks() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    sys!(SYS_truncate, c"f", 4)?;
    equal(text_of("f")?, "0123")?;
    sys!(SYS_ftruncate, fd, 6)?;
    equal(text_of("f")?, "0123\0\0")
}

fn truncate_errors() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    mkdir(c"d")?;
    fails(sys!(SYS_truncate, c"d", 0), libc::EISDIR)?;
    fails(sys!(SYS_truncate, c"none", 0), libc::ENOENT)?;
    fails(sys!(SYS_truncate, c"f", -1), libc::EINVAL)?;
    fails(sys!(SYS_ftruncate, fd, -1), libc::EINVAL)?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o444)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_truncate, c"f", 0), libc::EACCES)
    })
}

fn fallocate_modes() -> Outcome {
    let fd = file_with(c"f", &[1; 3 * PAGE])?;
    sys!(SYS_fallocate, fd, 0, 0, 4 * PAGE)?;
    equal(fstat(fd)?.st_size, 4 * PAGE as i64)?;
    sys!(SYS_fallocate, fd, libc::FALLOC_FL_KEEP_SIZE, 0, 8 * PAGE)?;
    equal(fstat(fd)?.st_size, 4 * PAGE as i64)?;
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    sys!(SYS_fallocate, fd, punch, 10, PAGE + 10)?;
    let bytes = std::fs::read("f")?;
    let at = |index: usize| bytes.get(index).copied();
    equal(
        (at(9), at(10), at(PAGE + 19), at(PAGE + 20)),
        (Some(1), Some(0), Some(0), Some(1)),
    )?;
    fails(
        sys!(SYS_fallocate, fd, libc::FALLOC_FL_PUNCH_HOLE, 0, 1),
        libc::EOPNOTSUPP,
    )?;
    fails(sys!(SYS_fallocate, fd, 0, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_fallocate, fd, 0, -1, 5), libc::EINVAL)?;
    let (_read_end, write_end) = pipe()?;
    fails(sys!(SYS_fallocate, write_end, 0, 0, 5), libc::ESPIPE)
}

fn rlimit_fsize_is_efbig_and_sigxfsz() -> Outcome {
    catch(libc::SIGXFSZ, 0)?;
    let fd = file_with(c"f", b"")?;
    let limit = libc::rlimit {
        rlim_cur: 100,
        rlim_max: 100,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_FSIZE as i32, &limit, 0)?;
    equal(write(fd, &[0; 150])?, 100)?;
    equal(hits(libc::SIGXFSZ), 0)?;
    fails(write(fd, b"x"), libc::EFBIG)?;
    equal(hits(libc::SIGXFSZ), 1)?;
    fails(sys!(SYS_ftruncate, fd, 101), libc::EFBIG)?;
    equal(hits(libc::SIGXFSZ), 2)
}

fn fsync_of_what_can_and_cannot() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    sys!(SYS_fsync, fd)?;
    sys!(SYS_fdatasync, fd)?;
    sys!(SYS_syncfs, fd)?;
    sys!(SYS_sync_file_range, fd, 0, 0, 0)?;
    fails(sys!(SYS_sync_file_range, fd, 0, 0, 8), libc::EINVAL)?;
    fails(sys!(SYS_fsync, 99), libc::EBADF)
}

fn fadvise_and_readahead_errors() -> Outcome {
    let fd = file_with(c"f", b"x")?;
    equal(
        sys!(SYS_fadvise64, fd, 0, 0, libc::POSIX_FADV_SEQUENTIAL)?,
        0,
    )?;
    fails(sys!(SYS_fadvise64, fd, 0, 0, 77), libc::EINVAL)?;
    fails(sys!(SYS_fadvise64, fd, 0, -1, 0), libc::EINVAL)?;
    let (read_end, _write_end) = pipe()?;
    fails(sys!(SYS_fadvise64, read_end, 0, 0, 0), libc::ESPIPE)?;
    fails(sys!(SYS_readahead, read_end, 0, 1), libc::EINVAL)
}

fn sparse_blocks_are_counted() -> Outcome {
    let fd = file_with(c"f", b"")?;
    sys!(SYS_ftruncate, fd, 1 << 30)?;
    equal(fstat(fd)?.st_blocks, 0)?;
    sys!(SYS_pwrite64, fd, c"x", 1, 1 << 29)?;
    equal(fstat(fd)?.st_blocks, 8)
}

fn full_device_and_null() -> Outcome {
    let full = open(c"/dev/full", libc::O_RDWR)?;
    fails(write(full, b"x"), libc::ENOSPC)?;
    let mut four = [1; 4];
    equal((read(full, &mut four)?, four), (4, [0; 4]))?;
    let null = open(c"/dev/null", libc::O_RDWR)?;
    equal((write(null, b"abc")?, read(null, &mut four)?), (3, 0))?;
    let random = open(c"/dev/urandom", 0)?;
    let (mut one, mut two) = ([0; 32], [0; 32]);
    equal((read(random, &mut one)?, read(random, &mut two)?), (32, 32))?;
    check(one != two, "random bytes repeat")
}

fn statfs_of_tmpfs() -> Outcome {
    let mut out = zeroed::<libc::statfs>();
    sys!(SYS_statfs, c".", &mut out)?;
    equal(
        (out.f_type, out.f_bsize, out.f_namelen),
        (0x0102_1994, 4096, 255),
    )?;
    check(
        out.f_bfree <= out.f_blocks && out.f_bavail <= out.f_bfree,
        "more free than there is",
    )?;
    let before = out.f_bfree;
    file_with(c"f", &[1; 16 * PAGE])?;
    sys!(SYS_statfs, c".", &mut out)?;
    check(out.f_bfree < before, "a file takes no space")
}

fn deleted_file_lives_until_closed() -> Outcome {
    let fd = file_with(c"f", b"alive")?;
    sys!(SYS_unlink, c"f")?;
    equal(fstat(fd)?.st_nlink, 0)?;
    equal(read_some(fd)?, b"alive".to_vec())?;
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    check(
        link.to_string_lossy().ends_with("/f (deleted)"),
        "the link does not say so",
    )
}
