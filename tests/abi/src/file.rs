//! Files: opening, reading and writing, sizes, holes, attributes and descriptors.

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
    stat_fields,
    statx_fields_and_masks,
    stat_of_links,
    fstat_empty_path,
    times_are_set,
    utimensat_now_and_omit,
    utimensat_permissions,
    write_changes_mtime_and_clears_setuid,
    chmod_and_its_rights,
    fchmodat2_nofollow,
    chown_and_its_rights,
    access_uses_the_real_ids,
    sticky_directory_keeps_others_files,
    setgid_directory_gives_its_group,
    dup_shares_the_offset,
    dup2_and_dup3_rules,
    fcntl_dupfd,
    fcntl_flags,
    cloexec_closes_at_exec,
    close_range_closes_and_marks,
    close_of_a_closed_is_ebadf,
    ioctl_of_unknown_is_enotty,
    fsync_of_what_can_and_cannot,
    fadvise_and_readahead_errors,
    sparse_blocks_are_counted,
    full_device_and_null,
    statfs_of_tmpfs,
    deleted_file_lives_until_closed,
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

fn symlink(target: &std::ffi::CStr, path: &std::ffi::CStr) -> Sys {
    sys!(SYS_symlinkat, target, libc::AT_FDCWD, path)
}

fn mkdir(path: &std::ffi::CStr) -> Sys {
    sys!(SYS_mkdirat, libc::AT_FDCWD, path, 0o755)
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

fn stat_fields() -> Outcome {
    file_with(c"f", &[1; 5000])?;
    let one = stat(c"f")?;
    equal(
        (one.st_mode, one.st_nlink, one.st_size),
        (libc::S_IFREG | 0o644, 1, 5000),
    )?;
    equal(
        (one.st_uid, one.st_gid, one.st_blksize, one.st_blocks),
        (0, 0, 4096, 16),
    )?;
    let dir = stat(c".")?;
    equal(
        (dir.st_mode & libc::S_IFMT, dir.st_dev),
        (libc::S_IFDIR, one.st_dev),
    )?;
    let null = stat(c"/dev/null")?;
    equal(
        (null.st_mode & libc::S_IFMT, null.st_rdev),
        (libc::S_IFCHR, libc::makedev(1, 3)),
    )?;
    fails(
        sys!(SYS_newfstatat, libc::AT_FDCWD, c"f", 8, 0),
        libc::EFAULT,
    )?;
    fails(
        sys!(SYS_newfstatat, libc::AT_FDCWD, c"f", 8, 0x8000),
        libc::EINVAL,
    )
}

fn statx(path: &std::ffi::CStr, flags: i32, mask: u32) -> Sys<libc::statx> {
    let mut out = zeroed::<libc::statx>();
    sys!(SYS_statx, libc::AT_FDCWD, path, flags, mask, &mut out)?;
    Ok(std::hint::black_box(out))
}

fn statx_fields_and_masks() -> Outcome {
    file_with(c"f", b"12345")?;
    let old = stat(c"f")?;
    let new = statx(c"f", 0, libc::STATX_BASIC_STATS | libc::STATX_BTIME)?;
    equal(
        new.stx_mask & libc::STATX_BASIC_STATS,
        libc::STATX_BASIC_STATS,
    )?;
    equal(
        (u32::from(new.stx_mode), new.stx_size, new.stx_ino),
        (old.st_mode, 5, old.st_ino),
    )?;
    equal(
        (new.stx_mtime.tv_sec, i64::from(new.stx_mtime.tv_nsec)),
        (old.st_mtime, old.st_mtime_nsec),
    )?;
    equal(
        libc::makedev(new.stx_dev_major, new.stx_dev_minor),
        old.st_dev,
    )?;
    fails(statx(c"f", 0x8000, 0).map(|_| ()), libc::EINVAL)?;
    fails(statx(c"f", 0, 0x8000_0000).map(|_| ()), libc::EINVAL)?;
    fails(statx(c"f", 0x6000, 0).map(|_| ()), libc::EINVAL)
}

fn stat_of_links() -> Outcome {
    file_with(c"f", b"12345")?;
    symlink(c"f", c"link")?;
    let link = lstat(c"link")?;
    equal((link.st_mode, link.st_size), (libc::S_IFLNK | 0o777, 1))?;
    equal(stat(c"link")?.st_size, 5)
}

fn fstat_empty_path() -> Outcome {
    let fd = file_with(c"f", b"123")?;
    let mut out = zeroed::<libc::stat>();
    sys!(SYS_newfstatat, fd, c"", &mut out, libc::AT_EMPTY_PATH)?;
    equal(out.st_size, 3)?;
    fails(sys!(SYS_newfstatat, fd, c"", &mut out, 0), libc::ENOENT)
}

const OMIT: i64 = libc::UTIME_OMIT;

fn set_times(path: &std::ffi::CStr, access: (i64, i64), change: (i64, i64)) -> Sys {
    let times = [access, change].map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    sys!(
        SYS_utimensat,
        libc::AT_FDCWD,
        path,
        &times,
        libc::AT_SYMLINK_NOFOLLOW
    )
}

fn times_are_set() -> Outcome {
    file_with(c"f", b"")?;
    symlink(c"f", c"link")?;
    set_times(c"f", (1000, 123_456_789), (2_000_000_000, 5))?;
    let got = stat(c"f")?;
    equal((got.st_atime, got.st_atime_nsec), (1000, 123_456_789))?;
    equal((got.st_mtime, got.st_mtime_nsec), (2_000_000_000, 5))?;
    set_times(c"link", (7, 0), (8, 0))?;
    equal(
        (lstat(c"link")?.st_mtime, stat(c"f")?.st_mtime),
        (8, 2_000_000_000),
    )?;
    fails(set_times(c"f", (0, 1_000_000_000), (0, 0)), libc::EINVAL)
}

fn utimensat_now_and_omit() -> Outcome {
    file_with(c"f", b"")?;
    set_times(c"f", (1000, 0), (1000, 0))?;
    set_times(c"f", (0, OMIT), (0, libc::UTIME_NOW))?;
    let got = stat(c"f")?;
    equal(got.st_atime, 1000)?;
    check(got.st_mtime > 1000, "not now")
}

fn utimensat_permissions() -> Outcome {
    file_with(c"f", b"")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o666)?;
    within(|| {
        become_user()?;
        // Who may write may say "now", but nothing else.
        sys!(SYS_utimensat, libc::AT_FDCWD, c"f", 0, 0)?;
        fails(set_times(c"f", (1, 0), (1, 0)), libc::EPERM)
    })?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o644)?;
    within(|| {
        become_user()?;
        fails(
            sys!(SYS_utimensat, libc::AT_FDCWD, c"f", 0, 0),
            libc::EACCES,
        )
    })
}

fn write_changes_mtime_and_clears_setuid() -> Outcome {
    file_with(c"f", b"")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o6777)?;
    set_times(c"f", (1, 0), (1, 0))?;
    within(|| {
        let fd = open(c"f", libc::O_WRONLY)?;
        become_user()?;
        write(fd, b"x")?;
        Ok(())
    })?;
    let got = stat(c"f")?;
    check(got.st_mtime > 1, "the time is old")?;
    equal(got.st_mode & 0o7777, 0o777)
}

fn chmod_and_its_rights() -> Outcome {
    let fd = file_with(c"f", b"")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o107_421)?;
    equal(stat(c"f")?.st_mode, libc::S_IFREG | 0o7421)?;
    sys!(SYS_fchmod, fd, 0o600)?;
    equal(stat(c"f")?.st_mode, libc::S_IFREG | 0o600)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o777), libc::EPERM)
    })
}

fn fchmodat2_nofollow() -> Outcome {
    file_with(c"f", b"")?;
    symlink(c"f", c"link")?;
    match sys!(
        SYS_fchmodat2,
        libc::AT_FDCWD,
        c"link",
        0o600,
        libc::AT_SYMLINK_NOFOLLOW
    ) {
        Err(Errno(libc::ENOSYS)) => return skip("no fchmodat2 (before Linux 6.6)"),
        refused => fails(refused, libc::EOPNOTSUPP)?,
    }
    sys!(SYS_fchmodat2, libc::AT_FDCWD, c"link", 0o600, 0)?;
    equal(stat(c"f")?.st_mode & 0o777, 0o600)
}

fn chown_and_its_rights() -> Outcome {
    file_with(c"f", b"")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o6755)?;
    sys!(SYS_fchownat, libc::AT_FDCWD, c"f", 1000, -1, 0)?;
    let got = stat(c"f")?;
    equal(
        (got.st_uid, got.st_gid, got.st_mode & 0o7777),
        (1000, 0, 0o755),
    )?;
    within(|| {
        become_user()?;
        fails(
            sys!(SYS_fchownat, libc::AT_FDCWD, c"f", 0, -1, 0),
            libc::EPERM,
        )?;
        fails(
            sys!(SYS_fchownat, libc::AT_FDCWD, c"f", -1, 55, 0),
            libc::EPERM,
        )?;
        sys!(SYS_fchownat, libc::AT_FDCWD, c"f", -1, 1000, 0)?;
        sys!(SYS_fchownat, libc::AT_FDCWD, c"f", 1000, 1000, 0)?;
        Ok(())
    })?;
    symlink(c"f", c"link")?;
    sys!(
        SYS_fchownat,
        libc::AT_FDCWD,
        c"link",
        7,
        7,
        libc::AT_SYMLINK_NOFOLLOW
    )?;
    equal((lstat(c"link")?.st_uid, stat(c"f")?.st_uid), (7, 1000))
}

fn access_uses_the_real_ids() -> Outcome {
    file_with(c"f", b"")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"f", 0o600)?;
    sys!(SYS_faccessat, libc::AT_FDCWD, c"f", libc::R_OK | libc::W_OK)?;
    fails(
        sys!(SYS_faccessat, libc::AT_FDCWD, c"f", libc::X_OK),
        libc::EACCES,
    )?;
    fails(sys!(SYS_faccessat, libc::AT_FDCWD, c"f", 8), libc::EINVAL)?;
    within(|| {
        sys!(SYS_setresuid, 1000, 0, 0)?;
        fails(
            sys!(SYS_faccessat, libc::AT_FDCWD, c"f", libc::R_OK),
            libc::EACCES,
        )?;
        sys!(
            SYS_faccessat2,
            libc::AT_FDCWD,
            c"f",
            libc::R_OK,
            libc::AT_EACCESS
        )?;
        Ok(())
    })
}

fn sticky_directory_keeps_others_files() -> Outcome {
    mkdir(c"d")?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"d", 0o1777)?;
    file_with(c"d/f", b"")?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_unlink, c"d/f"), libc::EPERM)?;
        fails(sys!(SYS_rename, c"d/f", c"d/g"), libc::EPERM)?;
        open(c"d/own", libc::O_CREAT | libc::O_RDWR)?;
        sys!(SYS_unlink, c"d/own")?;
        Ok(())
    })
}

fn setgid_directory_gives_its_group() -> Outcome {
    mkdir(c"d")?;
    sys!(SYS_fchownat, libc::AT_FDCWD, c"d", 0, 55, 0)?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"d", 0o2755)?;
    file_with(c"d/f", b"")?;
    mkdir(c"d/sub")?;
    equal(stat(c"d/f")?.st_gid, 55)?;
    let sub = stat(c"d/sub")?;
    equal((sub.st_gid, sub.st_mode & 0o7777), (55, 0o2755))
}

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
