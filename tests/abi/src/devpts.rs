//! Instances of devpts, and how `ptmx` finds one.

use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    instances_count_on_their_own,
    terminals_of_instances_are_apart,
    ptmx_finds_its_sibling,
    ptmx_without_a_sibling,
    options_are_obeyed_and_told,
    bad_options,
    no_more_than_max,
    a_remount_changes_modes,
    slaves_are_found_in_their_instance_only,
    a_bound_ptmx,
    a_master_outlives_its_mount,
    the_peer_is_seen_in_its_mount,
    all_instances_count_together,
];

fn mkdir(path: &CStr) -> Sys {
    sys!(SYS_mkdirat, libc::AT_FDCWD, path, 0o755)
}

fn mount(target: &CStr, options: &CStr) -> Sys {
    sys!(SYS_mount, c"devpts", target, c"devpts", 0, options)
}

/// A new folder with an instance on it.
fn instance(target: &CStr, options: &CStr) -> Sys {
    mkdir(target)?;
    mount(target, options)
}

fn make_ptmx(path: &CStr) -> Sys {
    let dev = libc::makedev(5, 2);
    sys!(
        SYS_mknodat,
        libc::AT_FDCWD,
        path,
        libc::S_IFCHR | 0o666,
        dev
    )
}

const FLAGS: i32 = libc::O_RDWR | libc::O_NOCTTY;

/// Opens a master; its number comes along.
fn master(ptmx: &CStr) -> Sys<(i32, u32)> {
    let fd = open(ptmx, FLAGS)?;
    let mut number = u32::MAX;
    sys!(SYS_ioctl, fd, libc::TIOCGPTN, &mut number)?;
    let unlock = 0_i32;
    sys!(SYS_ioctl, fd, libc::TIOCSPTLCK, &unlock)?;
    Ok((fd, number))
}

fn peer(master: i32) -> Sys<i32> {
    sys!(SYS_ioctl, master, libc::TIOCGPTPEER, FLAGS).map(|fd| fd as i32)
}

/// The permission bits of a path.
fn mode(path: &CStr) -> Sys<u32> {
    Ok(stat(path)?.st_mode & 0o7777)
}

fn instances_count_on_their_own() -> Outcome {
    instance(c"a", c"")?;
    instance(c"b", c"newinstance")?;
    check(stat(c"a")?.st_dev != stat(c"b")?.st_dev, "the same device")?;
    equal((stat(c"a")?.st_ino, stat(c"a/ptmx")?.st_ino), (1, 2))?;
    let (first, number) = master(c"a/ptmx")?;
    equal(number, 0)?;
    equal(master(c"a/ptmx")?.1, 1)?;
    equal(master(c"b/ptmx")?.1, 0)?;
    let node = stat(c"a/1")?;
    equal((node.st_rdev, node.st_ino), (libc::makedev(136, 1), 4))?;
    equal(stat(c"b/0")?.st_rdev, libc::makedev(136, 0))?;
    fails(stat(c"b/1"), libc::ENOENT)?;
    close(first)?;
    fails(stat(c"a/0"), libc::ENOENT)?;
    stat(c"b/0")?;
    equal(master(c"a/ptmx")?.1, 0)
}

fn terminals_of_instances_are_apart() -> Outcome {
    instance(c"a", c"")?;
    instance(c"b", c"")?;
    let (a, _) = master(c"a/ptmx")?;
    let (b, _) = master(c"b/ptmx")?;
    let nonblock = FLAGS | libc::O_NONBLOCK;
    let (slave_a, slave_b) = (open(c"a/0", FLAGS)?, open(c"b/0", nonblock)?);
    write(a, b"for a\n")?;
    equal(read_some(slave_a)?, b"for a\n")?;
    fails(read_some(slave_b), libc::EAGAIN)?;
    write(b, b"for b\n")?;
    poll_one(slave_b, libc::POLLIN, -1)?;
    equal(read_some(slave_b)?, b"for b\n")
}

fn ptmx_finds_its_sibling() -> Outcome {
    mkdir(c"d")?;
    make_ptmx(c"d/ptmx")?;
    instance(c"d/pts", c"")?;
    let (fd, number) = master(c"d/ptmx")?;
    equal(number, 0)?;
    stat(c"d/pts/0")?;
    // What is mounted last is what is seen.
    mount(c"d/pts", c"")?;
    equal(master(c"d/ptmx")?.1, 0)?;
    fails(peer(fd), libc::ENODEV)?;
    close(fd)?;
    // A symlink to a node leads to its instance.
    instance(c"e", c"")?;
    sys!(SYS_symlinkat, c"e/ptmx", libc::AT_FDCWD, c"link")?;
    master(c"link")?;
    stat(c"e/0").map(drop).map_err(Trouble::from)
}

fn ptmx_without_a_sibling() -> Outcome {
    mkdir(c"d")?;
    make_ptmx(c"d/ptmx")?;
    fails(open(c"d/ptmx", FLAGS), libc::ENOENT)?;
    mkdir(c"d/pts")?;
    fails(open(c"d/ptmx", FLAGS), libc::ENODEV)?;
    sys!(SYS_mount, c"t", c"d/pts", c"tmpfs", 0, 0)?;
    fails(open(c"d/ptmx", FLAGS), libc::ENODEV)?;
    // A part of an instance is not one.
    instance(c"a", c"")?;
    let (_fd, _) = master(c"a/ptmx")?;
    sys!(SYS_umount2, c"d/pts", 0)?;
    sys!(SYS_mount, c"a", c"d/pts", 0, libc::MS_BIND, 0)?;
    equal(master(c"d/ptmx")?.1, 1)
}

/// The line of this folder's mount.
fn told(folder: &str) -> Outcome<String> {
    let place = std::env::current_dir()?.join(folder);
    let place = format!(" {} ", place.to_string_lossy());
    let text = text_of("/proc/self/mounts")?;
    let line = text.lines().find(|line| line.contains(&place));
    Ok(some(line, "not mounted")?.to_owned())
}

fn options_are_obeyed_and_told() -> Outcome {
    instance(c"a", c"uid=7,gid=5,mode=620,ptmxmode=666,max=100")?;
    let (_fd, _) = master(c"a/ptmx")?;
    let node = stat(c"a/0")?;
    equal((node.st_uid, node.st_gid), (7, 5))?;
    equal(
        (mode(c"a/0")?, mode(c"a/ptmx")?, mode(c"a")?),
        (0o620, 0o666, 0o755),
    )?;
    let line = told("a")?;
    check(
        line.contains(",uid=7,gid=5,mode=620,ptmxmode=666,max=100 "),
        &line,
    )?;
    instance(c"b", c"")?;
    let (_fd, _) = master(c"b/ptmx")?;
    equal((mode(c"b/0")?, mode(c"b/ptmx")?), (0o600, 0))?;
    let line = told("b")?;
    check(line.contains(",mode=600,ptmxmode=000 "), &line)?;
    // One instance's options are not another's.
    equal((mode(c"a/0")?, mode(c"a/ptmx")?), (0o620, 0o666))?;
    within(|| {
        become_user()?;
        fails(open(c"b/ptmx", FLAGS), libc::EACCES)?;
        let (fd, number) = master(c"a/ptmx")?;
        equal(number, 1)?;
        close(fd)?;
        Ok(())
    })
}

fn bad_options() -> Outcome {
    mkdir(c"a")?;
    for options in [
        c"foo",
        c"mode=9",
        c"max=-1",
        c"max=1048577",
        c"gid=x",
        c"ptmxmode=",
    ] {
        fails(mount(c"a", options), libc::EINVAL)?;
    }
    mount(c"a", c"max=1048576,,mode=0600")?;
    Ok(())
}

fn no_more_than_max() -> Outcome {
    instance(c"a", c"max=2")?;
    let (first, _) = master(c"a/ptmx")?;
    let (_second, _) = master(c"a/ptmx")?;
    fails(open(c"a/ptmx", FLAGS), libc::ENOSPC)?;
    close(first)?;
    equal(master(c"a/ptmx")?.1, 0)
}

fn a_remount_changes_modes() -> Outcome {
    instance(c"a", c"mode=640,ptmxmode=600")?;
    let (_first, _) = master(c"a/ptmx")?;
    let flags = libc::MS_REMOUNT;
    sys!(SYS_mount, 0, c"a", 0, flags, c"mode=622,ptmxmode=644")?;
    let (_second, _) = master(c"a/ptmx")?;
    equal(
        (mode(c"a/0")?, mode(c"a/1")?, mode(c"a/ptmx")?),
        (0o640, 0o622, 0o644),
    )
}

fn slaves_are_found_in_their_instance_only() -> Outcome {
    instance(c"a", c"")?;
    let (_fd, _) = master(c"a/ptmx")?;
    let dev = libc::makedev(136, 0);
    let kind = libc::S_IFCHR | 0o666;
    sys!(SYS_mknodat, libc::AT_FDCWD, c"node", kind, dev)?;
    fails(open(c"node", FLAGS), libc::EIO)?;
    open(c"a/0", FLAGS).and_then(close)?;
    Ok(())
}

fn a_bound_ptmx() -> Outcome {
    instance(c"a", c"")?;
    touch_file(c"p")?;
    sys!(SYS_mount, c"a/ptmx", c"p", 0, libc::MS_BIND, 0)?;
    let (fd, number) = master(c"p")?;
    equal(number, 0)?;
    stat(c"a/0")?;
    // Nothing beside the place it is bound to leads to the instance.
    fails(peer(fd), libc::ENOENT)?;
    mkdir(c"pts")?;
    fails(peer(fd), libc::ENODEV)?;
    sys!(SYS_mount, c"a", c"pts", 0, libc::MS_BIND, 0)?;
    peer(fd)?;
    // A node of another file system, bound, has no neighbours.
    mkdir(c"d")?;
    make_ptmx(c"d/ptmx")?;
    instance(c"d/pts", c"")?;
    touch_file(c"q")?;
    sys!(SYS_mount, c"d/ptmx", c"q", 0, libc::MS_BIND, 0)?;
    fails(open(c"q", FLAGS), libc::ENOENT)
}

fn touch_file(path: &CStr) -> Sys {
    file_with(path, b"").and_then(close)
}

fn a_master_outlives_its_mount() -> Outcome {
    instance(c"a", c"")?;
    let (fd, _) = master(c"a/ptmx")?;
    fails(sys!(SYS_umount2, c"a", 0), libc::EBUSY)?;
    sys!(SYS_umount2, c"a", libc::MNT_DETACH)?;
    fails(stat(c"a/0"), libc::ENOENT)?;
    let slave = peer(fd)?;
    write(fd, b"line\n")?;
    equal(read_some(slave)?, b"line\n")?;
    close(fd)?;
    equal(read_some(slave)?, b"")?;
    // A new instance has nothing of the old one.
    mount(c"a", c"")?;
    equal(master(c"a/ptmx")?.1, 0)
}

fn the_peer_is_seen_in_its_mount() -> Outcome {
    instance(c"a", c"")?;
    let (fd, _) = master(c"a/ptmx")?;
    let slave = peer(fd)?;
    let link = std::fs::read_link(format!("/proc/self/fd/{slave}"))?;
    equal(link, std::env::current_dir()?.join("a/0"))?;
    equal(fstat(slave)?.st_ino, stat(c"a/0")?.st_ino)
}

fn all_instances_count_together() -> Outcome {
    let count = || -> Outcome<u32> {
        let text = text_of("/proc/sys/kernel/pty/nr")?;
        some(text.trim().parse().ok(), &text)
    };
    let before = count()?;
    instance(c"a", c"")?;
    instance(c"b", c"")?;
    let (a, _) = master(c"a/ptmx")?;
    let (b, _) = master(c"b/ptmx")?;
    equal(count()?, before + 2)?;
    close(a)?;
    close(b)?;
    equal(count()?, before)
}
