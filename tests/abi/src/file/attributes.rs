//! What is known of files: stat, times, modes, owners and rights.

use super::{mkdir, symlink};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
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
];

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
