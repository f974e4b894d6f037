//! Names: links, renames, directories, extended attributes, locks and mounts.

use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    hard_links_share_the_file,
    link_errors,
    symlink_chains_end_at_forty,
    readlink_cuts_and_fails,
    rename_replaces,
    rename_of_directories,
    rename_of_the_same_file_does_nothing,
    renameat2_flags,
    unlink_and_rmdir_errors,
    mkdir_and_its_link_counts,
    mknod_kinds_and_rights,
    getdents_lists_all,
    getdents_records_fit_names_of_any_length,
    getdents_survives_removal,
    getcwd_forms,
    chdir_and_fchdir_errors,
    chroot_shuts_in,
    xattrs_set_get_list_remove,
    xattr_namespaces,
    flock_excludes_and_converts,
    posix_locks_conflict_and_split,
    posix_locks_go_with_any_close,
    ofd_locks_belong_to_the_open_file,
    posix_deadlock_is_edeadlk,
    mount_and_umount_a_tmpfs,
    mount_read_only,
    mount_bind_and_move,
    mount_errors,
    mountinfo_tells_mounts,
];

const HERE: i32 = libc::AT_FDCWD;

fn mkdir(path: &CStr) -> Sys {
    sys!(SYS_mkdirat, HERE, path, 0o755)
}

fn symlink(target: &CStr, path: &CStr) -> Sys {
    sys!(SYS_symlinkat, target, HERE, path)
}

fn rename(from: &CStr, to: &CStr) -> Sys {
    sys!(SYS_renameat2, HERE, from, HERE, to, 0)
}

fn names(path: &str) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn hard_links_share_the_file() -> Outcome {
    file_with(c"a", b"data")?;
    sys!(SYS_link, c"a", c"b")?;
    let (a, b) = (stat(c"a")?, stat(c"b")?);
    equal((a.st_ino, a.st_nlink), (b.st_ino, 2))?;
    sys!(SYS_unlink, c"a")?;
    equal(stat(c"b")?.st_nlink, 1)?;
    equal(text_of("b")?, "data")
}

fn link_errors() -> Outcome {
    file_with(c"a", b"")?;
    mkdir(c"d")?;
    symlink(c"a", c"s")?;
    fails(sys!(SYS_link, c"d", c"e"), libc::EPERM)?;
    fails(sys!(SYS_link, c"a", c"d"), libc::EEXIST)?;
    fails(sys!(SYS_link, c"none", c"e"), libc::ENOENT)?;
    fails(sys!(SYS_link, c"/proc/version", c"e"), libc::EXDEV)?;
    sys!(SYS_link, c"s", c"t")?;
    equal(lstat(c"t")?.st_mode & libc::S_IFMT, libc::S_IFLNK)?;
    sys!(SYS_linkat, HERE, c"s", HERE, c"u", libc::AT_SYMLINK_FOLLOW)?;
    equal(lstat(c"u")?.st_mode & libc::S_IFMT, libc::S_IFREG)?;
    fails(sys!(SYS_linkat, HERE, c"s", HERE, c"v", 8), libc::EINVAL)
}

fn symlink_chains_end_at_forty() -> Outcome {
    file_with(c"l0", b"end")?;
    for number in 1..=41 {
        symlink(
            &c_string(&format!("l{}", number - 1)),
            &c_string(&format!("l{number}")),
        )?;
    }
    stat(c"l40")?;
    fails(stat(c"l41").map(|_| ()), libc::ELOOP)
}

fn readlink_cuts_and_fails() -> Outcome {
    symlink(c"0123456789", c"s")?;
    let mut bytes = [b'.'; 12];
    equal(sys!(SYS_readlinkat, HERE, c"s", bytes.as_mut_ptr(), 4)?, 4)?;
    equal(std::hint::black_box(bytes), *b"0123........")?;
    equal(
        sys!(SYS_readlinkat, HERE, c"s", bytes.as_mut_ptr(), 12)?,
        10,
    )?;
    fails(
        sys!(SYS_readlinkat, HERE, c"s", bytes.as_mut_ptr(), 0),
        libc::EINVAL,
    )?;
    file_with(c"f", b"")?;
    fails(
        sys!(SYS_readlinkat, HERE, c"f", bytes.as_mut_ptr(), 12),
        libc::EINVAL,
    )?;
    fails(symlink(c"", c"t"), libc::ENOENT)?;
    fails(symlink(c"x", c"s"), libc::EEXIST)
}

fn rename_replaces() -> Outcome {
    file_with(c"a", b"new")?;
    let old = file_with(c"b", b"old")?;
    rename(c"a", c"b")?;
    equal(text_of("b")?, "new")?;
    fails(stat(c"a").map(|_| ()), libc::ENOENT)?;
    equal(
        (fstat(old)?.st_nlink, read_some(old)?),
        (0, b"old".to_vec()),
    )
}

fn rename_of_directories() -> Outcome {
    mkdir(c"d")?;
    mkdir(c"d/sub")?;
    mkdir(c"empty")?;
    file_with(c"f", b"")?;
    fails(rename(c"d", c"d/sub/x"), libc::EINVAL)?;
    fails(rename(c"empty", c"d"), libc::ENOTEMPTY)?;
    fails(rename(c"f", c"d"), libc::EISDIR)?;
    fails(rename(c"d", c"f"), libc::ENOTDIR)?;
    fails(rename(c".", c"x"), libc::EBUSY)?;
    rename(c"d", c"empty")?;
    equal(names("empty")?, vec!["sub".to_owned()])?;
    equal(stat(c"empty")?.st_nlink, 3)
}

fn rename_of_the_same_file_does_nothing() -> Outcome {
    file_with(c"a", b"x")?;
    sys!(SYS_link, c"a", c"b")?;
    rename(c"a", c"b")?;
    equal(names(".")?, vec!["a".to_owned(), "b".to_owned()])
}

fn renameat2_flags() -> Outcome {
    file_with(c"a", b"a")?;
    file_with(c"b", b"b")?;
    let with =
        |from: &CStr, to: &CStr, flags: u32| sys!(SYS_renameat2, HERE, from, HERE, to, flags);
    fails(with(c"a", c"b", libc::RENAME_NOREPLACE), libc::EEXIST)?;
    with(c"a", c"b", libc::RENAME_EXCHANGE)?;
    equal(
        (text_of("a")?, text_of("b")?),
        ("b".to_owned(), "a".to_owned()),
    )?;
    fails(with(c"a", c"none", libc::RENAME_EXCHANGE), libc::ENOENT)?;
    fails(
        with(c"a", c"b", libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE),
        libc::EINVAL,
    )?;
    fails(with(c"a", c"b", 0x100), libc::EINVAL)
}

fn unlink_and_rmdir_errors() -> Outcome {
    mkdir(c"d")?;
    file_with(c"d/f", b"")?;
    fails(sys!(SYS_unlink, c"d"), libc::EISDIR)?;
    fails(sys!(SYS_rmdir, c"d"), libc::ENOTEMPTY)?;
    fails(sys!(SYS_rmdir, c"d/f"), libc::ENOTDIR)?;
    fails(sys!(SYS_rmdir, c"d/."), libc::EINVAL)?;
    fails(sys!(SYS_rmdir, c"d/.."), libc::ENOTEMPTY)?;
    fails(sys!(SYS_unlink, c"none"), libc::ENOENT)?;
    fails(sys!(SYS_unlink, c"d/f/"), libc::ENOTDIR)?;
    fails(sys!(SYS_unlinkat, HERE, c"d", 1), libc::EINVAL)
}

fn mkdir_and_its_link_counts() -> Outcome {
    mkdir(c"d")?;
    equal(stat(c"d")?.st_nlink, 2)?;
    mkdir(c"d/one")?;
    mkdir(c"d/two/")?;
    equal(stat(c"d")?.st_nlink, 4)?;
    sys!(SYS_rmdir, c"d/one")?;
    equal(stat(c"d")?.st_nlink, 3)?;
    fails(mkdir(c"d"), libc::EEXIST)?;
    fails(mkdir(c"d/."), libc::EEXIST)?;
    fails(mkdir(c"none/x"), libc::ENOENT)
}

fn mknod_kinds_and_rights() -> Outcome {
    let make = |path: &CStr, mode: u32, dev: u64| sys!(SYS_mknodat, HERE, path, mode, dev);
    make(c"file", libc::S_IFREG | 0o640, 0)?;
    make(c"zero", libc::S_IFCHR | 0o600, libc::makedev(1, 5))?;
    make(c"sock", libc::S_IFSOCK | 0o600, 0)?;
    equal(stat(c"file")?.st_mode, libc::S_IFREG | 0o640)?;
    equal(stat(c"zero")?.st_rdev, libc::makedev(1, 5))?;
    equal(read_some(open(c"zero", 0)?)?, vec![0; 4096])?;
    fails(open(c"sock", 0), libc::ENXIO)?;
    fails(make(c"d", libc::S_IFDIR | 0o700, 0), libc::EPERM)?;
    sys!(SYS_fchmodat, HERE, c".", 0o777)?;
    within(|| {
        become_user()?;
        fails(
            make(c"n", libc::S_IFCHR | 0o600, libc::makedev(1, 3)),
            libc::EPERM,
        )?;
        make(c"fifo", libc::S_IFIFO | 0o600, 0)?;
        Ok(())
    })
}

/// The names that a directory's descriptor still has to tell, in calls of so many bytes.
fn listed(fd: i32, size: usize) -> Outcome<Vec<String>> {
    let mut out = Vec::new();
    let mut bytes = vec![0_u8; size];
    loop {
        let count = sys!(SYS_getdents64, fd, bytes.as_mut_ptr(), size)?;
        if count == 0 {
            return Ok(out);
        }
        let mut at = 0;
        while at < count {
            let length = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
            let name = bytes.get(at + 19..at + length).unwrap_or_default();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            out.push(String::from_utf8_lossy(name).into_owned());
            at += length;
        }
    }
}

fn getdents_lists_all() -> Outcome {
    mkdir(c"d")?;
    let mut want = vec![".".to_owned(), "..".to_owned()];
    for number in 0..150 {
        let name = format!("d/file-{number:03}");
        file_with(&c_string(&name), b"").and_then(close)?;
        want.push(name.trim_start_matches("d/").to_owned());
    }
    let fd = open(c"d", libc::O_RDONLY)?;
    for size in [80, 4096] {
        sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
        let mut got = listed(fd, size)?;
        got.sort();
        equal(&got, &want)?;
    }
    sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
    let mut small = [0_u8; 8];
    fails(sys!(SYS_getdents64, fd, &mut small, 8), libc::EINVAL)?;
    let file = file_with(c"f", b"")?;
    fails(sys!(SYS_getdents64, file, &mut small, 8), libc::ENOTDIR)
}

/// A directory's records by either call: length, name and type of each.
fn records(fd: i32, modern: bool) -> Outcome<Vec<(usize, String, u8)>> {
    let mut bytes = vec![0x55_u8; 64 * 1024];
    let number = if modern {
        libc::SYS_getdents64
    } else {
        libc::SYS_getdents
    };
    let start = bytes.as_mut_ptr() as usize;
    let count = call(number, &[fd as usize, start, bytes.len()])?;
    let mut out = Vec::new();
    let mut rest = some(bytes.get(..count), "too long")?;
    while let [low, high] = rest.get(16..18).unwrap_or_default() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (record, after) = some(rest.split_at_checked(length), "a record is too long")?;
        let (kind, name) = if modern {
            (record[18], &record[19..])
        } else {
            (record[length - 1], &record[18..])
        };
        let end = some(name.iter().position(|&byte| byte == 0), "no end of a name")?;
        out.push((
            length,
            String::from_utf8_lossy(&name[..end]).into_owned(),
            kind,
        ));
        rest = after;
    }
    Ok(out)
}

fn getdents_records_fit_names_of_any_length() -> Outcome {
    mkdir(c"d")?;
    let name = |length: usize| -> String { ('a'..='z').cycle().take(length).collect() };
    for length in (1..=40).chain([255]) {
        file_with(&c_string(&format!("d/{}", name(length))), b"").and_then(close)?;
    }
    let fd = open(c"d", libc::O_RDONLY)?;
    for modern in [true, false] {
        sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
        let mut got = records(fd, modern)?;
        got.sort_by_key(|(_, name, _)| (name.len(), name.clone()));
        // What stands before and after the name is 20 bytes in both.
        let record = |name: String, kind| ((20 + name.len()).next_multiple_of(8), name, kind);
        let mut want = vec![
            record(".".to_owned(), libc::DT_DIR),
            record(name(1), libc::DT_REG),
            record("..".to_owned(), libc::DT_DIR),
        ];
        want.extend(
            (2..=40)
                .chain([255])
                .map(|length| record(name(length), libc::DT_REG)),
        );
        equal(got, want)?;
    }
    Ok(())
}

fn getdents_survives_removal() -> Outcome {
    mkdir(c"d")?;
    for number in 0..40 {
        file_with(&c_string(&format!("d/{number}")), b"").and_then(close)?;
    }
    let fd = open(c"d", libc::O_RDONLY)?;
    let mut bytes = [0_u8; 240];
    sys!(SYS_getdents64, fd, &mut bytes, 240)?;
    for number in 0..40 {
        sys!(SYS_unlink, c_string(&format!("d/{number}")).as_c_str())?;
    }
    equal(listed(fd, 4096)?.len(), 0)?;
    equal(names("d")?.len(), 0)?;
    sys!(SYS_rmdir, c"d")?;
    sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
    fails(sys!(SYS_getdents64, fd, &mut bytes, 240), libc::ENOENT)
}

fn getcwd_forms() -> Outcome {
    mkdir(c"d")?;
    sys!(SYS_chdir, c"d")?;
    let mut bytes = [0_u8; 200];
    let length = sys!(SYS_getcwd, &mut bytes, 200)?;
    let bytes = std::hint::black_box(bytes);
    check(
        bytes
            .get(..length)
            .is_some_and(|path| path.ends_with(b"/d\0")),
        "another path",
    )?;
    fails(sys!(SYS_getcwd, &bytes, length - 1), libc::ERANGE)?;
    sys!(SYS_rmdir, c"../d")?;
    fails(sys!(SYS_getcwd, &bytes, 200), libc::ENOENT)
}

fn chdir_and_fchdir_errors() -> Outcome {
    let fd = file_with(c"f", b"")?;
    fails(sys!(SYS_chdir, c"f"), libc::ENOTDIR)?;
    fails(sys!(SYS_chdir, c"none"), libc::ENOENT)?;
    fails(sys!(SYS_fchdir, fd), libc::ENOTDIR)?;
    fails(sys!(SYS_fchdir, 99), libc::EBADF)?;
    sys!(SYS_mkdirat, HERE, c"d", 0o600)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_chdir, c"d"), libc::EACCES)
    })
}

fn chroot_shuts_in() -> Outcome {
    mkdir(c"d")?;
    file_with(c"d/inside", b"")?;
    within(|| {
        sys!(SYS_chroot, c"d")?;
        sys!(SYS_chdir, c"/")?;
        stat(c"/inside")?;
        stat(c"/../../inside")?;
        equal(std::env::current_dir()?.to_string_lossy(), "/")
    })?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_chroot, c"d"), libc::EPERM)
    })
}

fn set_attribute(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Sys {
    sys!(SYS_setxattr, path, name, value.as_ptr(), value.len(), flags)
}

fn xattrs_set_get_list_remove() -> Outcome {
    file_with(c"f", b"")?;
    set_attribute(c"f", c"trusted.one", b"value", 0)?;
    let mut bytes = [0_u8; 32];
    equal(sys!(SYS_getxattr, c"f", c"trusted.one", &mut bytes, 32)?, 5)?;
    equal(
        std::hint::black_box(bytes).get(..5),
        Some(b"value".as_slice()),
    )?;
    equal(sys!(SYS_getxattr, c"f", c"trusted.one", 0, 0)?, 5)?;
    fails(
        sys!(SYS_getxattr, c"f", c"trusted.one", &mut bytes, 3),
        libc::ERANGE,
    )?;
    fails(
        set_attribute(c"f", c"trusted.one", b"x", libc::XATTR_CREATE),
        libc::EEXIST,
    )?;
    fails(
        set_attribute(c"f", c"trusted.two", b"x", libc::XATTR_REPLACE),
        libc::ENODATA,
    )?;
    equal(sys!(SYS_listxattr, c"f", &mut bytes, 32)?, 12)?;
    equal(
        std::hint::black_box(bytes).get(..12),
        Some(b"trusted.one\0".as_slice()),
    )?;
    sys!(SYS_removexattr, c"f", c"trusted.one")?;
    fails(sys!(SYS_removexattr, c"f", c"trusted.one"), libc::ENODATA)?;
    fails(
        sys!(SYS_getxattr, c"f", c"trusted.one", 0, 0),
        libc::ENODATA,
    )
}

fn xattr_namespaces() -> Outcome {
    file_with(c"f", b"")?;
    fails(
        set_attribute(c"f", c"unknown.name", b"x", 0),
        libc::EOPNOTSUPP,
    )?;
    fails(set_attribute(c"f", c"", b"x", 0), libc::ERANGE)?;
    fails(set_attribute(c"f", c"trusted.x", b"x", 9), libc::EINVAL)?;
    set_attribute(c"f", c"trusted.x", b"x", 0)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_getxattr, c"f", c"trusted.x", 0, 0), libc::ENODATA)?;
        fails(set_attribute(c"f", c"trusted.x", b"x", 0), libc::EPERM)
    })
}

fn flock_excludes_and_converts() -> Outcome {
    file_with(c"f", b"")?;
    let (one, two) = (open(c"f", libc::O_RDWR)?, open(c"f", libc::O_RDWR)?);
    let try_lock = |fd: i32, kind: i32| sys!(SYS_flock, fd, kind | libc::LOCK_NB);
    try_lock(one, libc::LOCK_SH)?;
    try_lock(two, libc::LOCK_SH)?;
    fails(try_lock(one, libc::LOCK_EX), libc::EAGAIN)?;
    try_lock(two, libc::LOCK_UN)?;
    try_lock(one, libc::LOCK_EX)?;
    fails(try_lock(two, libc::LOCK_SH), libc::EAGAIN)?;
    let copy = sys!(SYS_dup, one)? as i32;
    close(one)?;
    fails(try_lock(two, libc::LOCK_SH), libc::EAGAIN)?;
    close(copy)?;
    try_lock(two, libc::LOCK_EX)?;
    fails(try_lock(two, 0x40), libc::EINVAL)
}

fn lock(fd: i32, command: i32, kind: i32, start: i64, length: i64) -> Sys<libc::flock> {
    let mut lock = zeroed::<libc::flock>();
    lock.l_type = kind as i16;
    (lock.l_start, lock.l_len) = (start, length);
    sys!(SYS_fcntl, fd, command, &mut lock)?;
    Ok(std::hint::black_box(lock))
}

fn posix_locks_conflict_and_split() -> Outcome {
    let fd = file_with(c"f", b"")?;
    lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 100)?;
    lock(fd, libc::F_SETLK, libc::F_UNLCK, 40, 20)?;
    let me = getpid();
    within(|| {
        let fd = open(c"f", libc::O_RDWR)?;
        lock(fd, libc::F_SETLK, libc::F_WRLCK, 40, 20)?;
        fails(
            lock(fd, libc::F_SETLK, libc::F_RDLCK, 39, 1).map(|_| ()),
            libc::EAGAIN,
        )?;
        let found = lock(fd, libc::F_GETLK, libc::F_RDLCK, 0, 0)?;
        equal(
            (
                i32::from(found.l_type),
                found.l_start,
                found.l_len,
                found.l_pid,
            ),
            (libc::F_WRLCK, 0, 40, me),
        )
    })?;
    let found = lock(fd, libc::F_GETLK, libc::F_WRLCK, 0, 0)?;
    equal(i32::from(found.l_type), libc::F_UNLCK)
}

fn posix_locks_go_with_any_close() -> Outcome {
    let fd = file_with(c"f", b"")?;
    lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0)?;
    let other = open(c"f", libc::O_RDONLY)?;
    close(other)?;
    within(|| {
        let fd = open(c"f", libc::O_RDWR)?;
        lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0)?;
        Ok(())
    })?;
    let reader = open(c"f", libc::O_RDONLY)?;
    fails(
        lock(reader, libc::F_SETLK, libc::F_WRLCK, 0, 0).map(|_| ()),
        libc::EBADF,
    )
}

fn ofd_locks_belong_to_the_open_file() -> Outcome {
    file_with(c"f", b"")?;
    let (one, two) = (open(c"f", libc::O_RDWR)?, open(c"f", libc::O_RDWR)?);
    lock(one, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 10)?;
    fails(
        lock(two, libc::F_OFD_SETLK, libc::F_RDLCK, 5, 1).map(|_| ()),
        libc::EAGAIN,
    )?;
    lock(one, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 1)?;
    equal(lock(two, libc::F_OFD_GETLK, libc::F_WRLCK, 0, 0)?.l_pid, -1)?;
    close(one)?;
    lock(two, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 0)?;
    Ok(())
}

fn posix_deadlock_is_edeadlk() -> Outcome {
    let fd = file_with(c"f", b"")?;
    lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 1)?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let held = lock(fd, libc::F_SETLK, libc::F_WRLCK, 1, 1).is_ok();
        let _ = write(write_end, &[u8::from(held)]);
        i32::from(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 1).is_err())
    })?;
    equal(read_some(read_end)?, vec![1])?;
    await_state(pid, "S")?;
    fails(
        lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1, 1).map(|_| ()),
        libc::EDEADLK,
    )?;
    lock(fd, libc::F_SETLK, libc::F_UNLCK, 0, 1)?;
    equal(wait(pid)?, 0)
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64) -> Sys {
    sys!(SYS_mount, source, target, kind, flags, 0)
}

fn umount(target: &CStr) -> Sys {
    sys!(SYS_umount2, target, 0)
}

fn mount_and_umount_a_tmpfs() -> Outcome {
    mkdir(c"m")?;
    file_with(c"m/below", b"")?;
    mount(c"none", c"m", c"tmpfs", 0)?;
    equal(names("m")?.len(), 0)?;
    check(stat(c"m")?.st_dev != stat(c".")?.st_dev, "the same device")?;
    let fd = file_with(c"m/f", b"")?;
    fails(umount(c"m"), libc::EBUSY)?;
    close(fd)?;
    umount(c"m")?;
    equal(names("m")?, vec!["below".to_owned()])?;
    fails(umount(c"m"), libc::EINVAL)
}

fn mount_read_only() -> Outcome {
    mkdir(c"m")?;
    mount(c"none", c"m", c"tmpfs", 0)?;
    file_with(c"m/f", b"").and_then(close)?;
    mount(c"none", c"m", c"", libc::MS_REMOUNT | libc::MS_RDONLY)?;
    fails(open(c"m/g", libc::O_CREAT | libc::O_RDWR), libc::EROFS)?;
    fails(open(c"m/f", libc::O_RDWR), libc::EROFS)?;
    fails(sys!(SYS_unlink, c"m/f"), libc::EROFS)?;
    open(c"m/f", libc::O_RDONLY).and_then(close)?;
    fails(sys!(SYS_faccessat, HERE, c"m/f", libc::W_OK), libc::EROFS)?;
    umount(c"m")?;
    Ok(())
}

fn mount_bind_and_move() -> Outcome {
    mkdir(c"from")?;
    mkdir(c"to")?;
    mkdir(c"third")?;
    file_with(c"from/f", b"seen").and_then(close)?;
    mount(c"from", c"to", c"", libc::MS_BIND)?;
    equal(text_of("to/f")?, "seen")?;
    fails(rename(c"to/f", c"from/g"), libc::EXDEV)?;
    mount(c"none", c"to", c"", libc::MS_PRIVATE)?;
    // A mount whose parent is shared cannot be moved; the parent here may be.
    match mount(c"to", c"third", c"", libc::MS_MOVE) {
        Ok(_) => {
            equal(names("to")?.len(), 0)?;
            equal(text_of("third/f")?, "seen")?;
            umount(c"third")?;
        }
        Err(Errno(libc::EINVAL)) => {
            umount(c"to")?;
        }
        other => return fails(other, 0),
    }
    Ok(())
}

fn mount_errors() -> Outcome {
    mkdir(c"m")?;
    file_with(c"f", b"")?;
    fails(mount(c"none", c"m", c"no-such-fs", 0), libc::ENODEV)?;
    fails(mount(c"none", c"f", c"tmpfs", 0), libc::ENOTDIR)?;
    fails(mount(c"none", c"none", c"tmpfs", 0), libc::ENOENT)?;
    fails(mount(c"f", c"m", c"", libc::MS_BIND), libc::ENOTDIR)?;
    fails(mount(c"none", c"m", c"", libc::MS_REMOUNT), libc::EINVAL)?;
    within(|| {
        become_user()?;
        fails(mount(c"none", c"m", c"tmpfs", 0), libc::EPERM)?;
        fails(umount(c"m"), libc::EPERM)
    })
}

fn mountinfo_tells_mounts() -> Outcome {
    mkdir(c"m")?;
    mount(c"source", c"m", c"tmpfs", libc::MS_NOSUID | libc::MS_NOEXEC)?;
    let place = std::env::current_dir()?
        .join("m")
        .to_string_lossy()
        .into_owned();
    let mounts = text_of("/proc/self/mounts")?;
    let line = mounts
        .lines()
        .find(|line| line.starts_with(&format!("source {place} tmpfs ")));
    check(
        some(line, "not in mounts")?.contains("rw,nosuid,noexec"),
        "no flags",
    )?;
    let info = text_of("/proc/self/mountinfo")?;
    let line = some(
        info.lines()
            .find(|line| line.contains(&format!(" / {place} "))),
        "not in mountinfo",
    )?;
    let dev = stat(c"m")?.st_dev;
    let number = format!(" {}:{} ", libc::major(dev), libc::minor(dev));
    check(
        line.contains(&number) && line.contains(" - tmpfs source "),
        line,
    )?;
    umount(c"m")?;
    check(
        !text_of("/proc/self/mounts")?.contains(&place),
        "still in mounts",
    )
}
