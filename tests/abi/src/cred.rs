//! Credentials: user and group numbers, supplementary groups, capabilities, and what they allow.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    root_starts_with_all_numbers_zero,
    setuid_of_root_sets_all_three,
    setuid_of_a_user_switches_the_effective_one,
    setuid_of_a_user_to_a_stranger_is_eperm,
    setreuid_changes_the_saved_one_with_the_real_one,
    setreuid_leaves_what_is_minus_one,
    setresuid_of_a_user_moves_among_its_three,
    setgid_of_root_sets_all_three,
    setregid_and_setresgid_follow_the_same_rules,
    setfsuid_answers_the_old_one_and_decides_access,
    setfsgid_answers_the_old_one,
    groups_are_sorted_and_counted,
    setgroups_of_a_user_is_eperm,
    setgroups_of_too_many_is_einval,
    groups_open_files,
    numbers_are_inherited_by_fork,
    dropping_root_drops_effective_capabilities,
    returning_to_root_regains_effective_capabilities,
    keepcaps_keeps_permitted_capabilities,
    capget_answers_its_version,
    capset_cannot_add_to_permitted,
    capset_without_a_capability_takes_its_power,
    bounding_set_is_read_and_dropped,
    ambient_set_needs_both_others,
    securebits_are_kept_and_checked,
    no_new_privs_is_for_good,
    kill_of_another_user_is_eperm,
    kill_of_the_same_user_is_allowed,
    chown_needs_power,
    chown_clears_set_id_bits,
    chmod_by_an_owner_outside_the_group_drops_setgid,
    set_uid_programs_run_as_their_owner,
    set_uid_means_nothing_on_nosuid,
    dumpable_is_off_after_a_change_of_numbers,
    sticky_folders_protect_their_files,
    umask_is_inherited_and_applied,
    a_user_may_not_mount_or_chroot,
    a_user_may_not_make_devices,
    a_user_may_lower_hard_limits_only,
    access_asks_the_real_numbers,
    zombies_count_for_the_limit_of_processes,
];

const SELF: &std::ffi::CStr = c"/proc/self/exe";

fn uids() -> Outcome<[u32; 3]> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = &mut ids;
    sys!(SYS_getresuid, real, effective, saved)?;
    Ok(ids)
}

fn gids() -> Outcome<[u32; 3]> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = &mut ids;
    sys!(SYS_getresgid, real, effective, saved)?;
    Ok(ids)
}

fn groups() -> Outcome<Vec<u32>> {
    let mut list = vec![0_u32; 64];
    let count = sys!(SYS_getgroups, 64, list.as_mut_ptr())?;
    list.truncate(count);
    Ok(list)
}

/// The kernel's header and data of capget and capset, version 3.
#[repr(C)]
#[derive(Clone, Copy)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;
const CAP_CHOWN: u32 = 0;
const CAP_KILL: u32 = 5;
const CAP_NET_RAW: u32 = 13;

fn caps() -> Outcome<[CapData; 2]> {
    let mut header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    sys!(SYS_capget, &mut header, data.as_mut_ptr())?;
    Ok(data)
}

fn set_caps(data: &[CapData; 2]) -> Sys {
    let mut header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    sys!(SYS_capset, &mut header, data.as_ptr())
}

fn root_starts_with_all_numbers_zero() -> Outcome {
    equal(uids()?, [0; 3])?;
    equal(gids()?, [0; 3])?;
    equal(sys!(SYS_getuid)?, 0)?;
    equal(sys!(SYS_geteuid)?, 0)?;
    equal(sys!(SYS_getgid)?, 0)?;
    equal(sys!(SYS_getegid)?, 0)
}

fn setuid_of_root_sets_all_three() -> Outcome {
    sys!(SYS_setuid, 1234)?;
    equal(uids()?, [1234; 3])?;
    fails(sys!(SYS_setuid, 0), libc::EPERM)
}

fn setuid_of_a_user_switches_the_effective_one() -> Outcome {
    sys!(SYS_setresuid, 10, 20, 30)?;
    sys!(SYS_setuid, 30)?;
    equal(uids()?, [10, 30, 30])?;
    sys!(SYS_setuid, 10)?;
    equal(uids()?, [10, 10, 30])
}

fn setuid_of_a_user_to_a_stranger_is_eperm() -> Outcome {
    sys!(SYS_setresuid, 10, 20, 30)?;
    fails(sys!(SYS_setuid, 20), libc::EPERM)?;
    fails(sys!(SYS_setuid, 11), libc::EPERM)?;
    fails(sys!(SYS_setuid, u32::MAX), libc::EINVAL)
}

fn setreuid_changes_the_saved_one_with_the_real_one() -> Outcome {
    within(|| {
        sys!(SYS_setreuid, 5, u32::MAX)?;
        equal(uids()?, [5, 0, 0])
    })?;
    within(|| {
        sys!(SYS_setreuid, u32::MAX, 7)?;
        equal(uids()?, [0, 7, 7])?;
        // The saved one is 7 as well now, the real one is still root's.
        sys!(SYS_setreuid, 7, 0)?;
        equal(uids()?, [7, 0, 0])
    })
}

fn setreuid_leaves_what_is_minus_one() -> Outcome {
    sys!(SYS_setresuid, 10, 20, 30)?;
    sys!(SYS_setreuid, u32::MAX, u32::MAX)?;
    equal(uids()?, [10, 20, 30])?;
    fails(sys!(SYS_setreuid, 30, u32::MAX), libc::EPERM)?;
    sys!(SYS_setreuid, u32::MAX, 30)?;
    equal(uids()?, [10, 30, 30])
}

fn setresuid_of_a_user_moves_among_its_three() -> Outcome {
    sys!(SYS_setresuid, 10, 20, 30)?;
    fails(sys!(SYS_setresuid, 10, 20, 31), libc::EPERM)?;
    sys!(SYS_setresuid, 30, 10, 20)?;
    equal(uids()?, [30, 10, 20])?;
    sys!(SYS_setresuid, u32::MAX, u32::MAX, 10)?;
    equal(uids()?, [30, 10, 10])
}

fn setgid_of_root_sets_all_three() -> Outcome {
    sys!(SYS_setgid, 77)?;
    equal(gids()?, [77; 3])?;
    // It is the user's number that gives power.
    sys!(SYS_setgid, 0)?;
    equal(gids()?, [0; 3])
}

fn setregid_and_setresgid_follow_the_same_rules() -> Outcome {
    sys!(SYS_setresgid, 10, 20, 30)?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    fails(sys!(SYS_setgid, 20), libc::EPERM)?;
    fails(sys!(SYS_setregid, 30, u32::MAX), libc::EPERM)?;
    fails(sys!(SYS_setresgid, 10, 20, 31), libc::EPERM)?;
    sys!(SYS_setregid, 20, 10)?;
    equal(gids()?, [20, 10, 10])?;
    sys!(SYS_setgid, 20)?;
    equal(gids()?, [20, 20, 10])
}

fn setfsuid_answers_the_old_one_and_decides_access() -> Outcome {
    std::fs::write("secret", "x")?;
    sys!(SYS_chmod, c"secret", 0o600)?;
    equal(sys!(SYS_setfsuid, 1000)?, 0)?;
    equal(sys!(SYS_setfsuid, u32::MAX)?, 1000)?;
    fails(open(c"secret", libc::O_RDONLY), libc::EACCES)?;
    equal(sys!(SYS_setfsuid, 0)?, 1000)?;
    close(open(c"secret", libc::O_RDONLY)?)?;
    // A change of the effective number takes it along.
    sys!(SYS_setresuid, 0, 12, 0)?;
    equal(sys!(SYS_setfsuid, u32::MAX)?, 12)?;
    // A user gets only its own numbers.
    sys!(SYS_setresuid, 12, 12, 12)?;
    equal(sys!(SYS_setfsuid, 13)?, 12)?;
    equal(sys!(SYS_setfsuid, u32::MAX)?, 12)?;
    Ok(())
}

fn setfsgid_answers_the_old_one() -> Outcome {
    equal(sys!(SYS_setfsgid, 44)?, 0)?;
    equal(sys!(SYS_setfsgid, u32::MAX)?, 44)?;
    std::fs::write("made", "")?;
    equal(stat(c"made")?.st_gid, 44)
}

fn groups_are_sorted_and_counted() -> Outcome {
    let list = [30_u32, 10, 20];
    sys!(SYS_setgroups, 3, list.as_ptr())?;
    equal(groups()?, vec![10, 20, 30])?;
    equal(sys!(SYS_getgroups, 0, 0)?, 3)?;
    let mut few = [0_u32; 2];
    fails(sys!(SYS_getgroups, 2, few.as_mut_ptr()), libc::EINVAL)?;
    fails(sys!(SYS_getgroups, -1, few.as_mut_ptr()), libc::EINVAL)?;
    fails(sys!(SYS_getgroups, 3, 8), libc::EFAULT)?;
    sys!(SYS_setgroups, 0, 0)?;
    equal(groups()?, Vec::new())
}

fn setgroups_of_a_user_is_eperm() -> Outcome {
    become_user()?;
    fails(sys!(SYS_setgroups, 0, 0), libc::EPERM)
}

fn setgroups_of_too_many_is_einval() -> Outcome {
    let list = vec![1_u32; 65537];
    fails(sys!(SYS_setgroups, 65537, list.as_ptr()), libc::EINVAL)?;
    fails(sys!(SYS_setgroups, 1, 8), libc::EFAULT)
}

fn groups_open_files() -> Outcome {
    std::fs::write("shared", "x")?;
    sys!(SYS_chown, c"shared", 0, 500)?;
    sys!(SYS_chmod, c"shared", 0o640)?;
    within(|| {
        let list = [500_u32];
        sys!(SYS_setgroups, 1, list.as_ptr())?;
        sys!(SYS_setresgid, 1000, 1000, 1000)?;
        sys!(SYS_setresuid, 1000, 1000, 1000)?;
        close(open(c"shared", libc::O_RDONLY)?)?;
        fails(open(c"shared", libc::O_RDWR), libc::EACCES)
    })?;
    within(|| {
        become_user()?;
        fails(open(c"shared", libc::O_RDONLY), libc::EACCES)
    })
}

fn numbers_are_inherited_by_fork() -> Outcome {
    let list = [1_u32, 2];
    sys!(SYS_setgroups, 2, list.as_ptr())?;
    sys!(SYS_setresgid, 4, 5, 6)?;
    sys!(SYS_setresuid, 7, 8, 9)?;
    within(|| {
        equal(uids()?, [7, 8, 9])?;
        equal(gids()?, [4, 5, 6])?;
        equal(groups()?, vec![1, 2])
    })
}

fn dropping_root_drops_effective_capabilities() -> Outcome {
    check(caps()?[0].effective != 0, "root has no capabilities")?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    let [low, high] = caps()?;
    equal((low.effective, low.permitted), (0, 0))?;
    equal((high.effective, high.permitted), (0, 0))
}

fn returning_to_root_regains_effective_capabilities() -> Outcome {
    let before = caps()?;
    sys!(SYS_setresuid, u32::MAX, 1000, u32::MAX)?;
    let away = caps()?;
    equal(away[0].effective, 0)?;
    equal(away[0].permitted, before[0].permitted)?;
    sys!(SYS_setresuid, u32::MAX, 0, u32::MAX)?;
    equal(caps()?, before)
}

fn keepcaps_keeps_permitted_capabilities() -> Outcome {
    let before = caps()?;
    sys!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0)?;
    equal(sys!(SYS_prctl, libc::PR_GET_KEEPCAPS, 0, 0, 0, 0)?, 1)?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    let mut after = caps()?;
    equal(after[0].effective, 0)?;
    equal(after[0].permitted, before[0].permitted)?;
    after[0].effective = 1 << CAP_KILL;
    set_caps(&after)?;
    equal(caps()?[0].effective, 1 << CAP_KILL)?;
    fails(
        sys!(SYS_prctl, libc::PR_SET_KEEPCAPS, 2, 0, 0, 0),
        libc::EINVAL,
    )
}

fn capget_answers_its_version() -> Outcome {
    let mut header = CapHeader { version: 1, pid: 0 };
    sys!(SYS_capget, &mut header, 0)?;
    equal(header.version, CAP_VERSION_3)?;
    let mut data = [CapData::default(); 2];
    header.version = 1;
    fails(
        sys!(SYS_capget, &mut header, data.as_mut_ptr()),
        libc::EINVAL,
    )?;
    header.pid = -1;
    fails(
        sys!(SYS_capget, &mut header, data.as_mut_ptr()),
        libc::EINVAL,
    )?;
    header.pid = 0x3fff_ffff;
    fails(
        sys!(SYS_capget, &mut header, data.as_mut_ptr()),
        libc::ESRCH,
    )?;
    // Another process's can be read, not set.
    header.pid = 1;
    sys!(SYS_capget, &mut header, data.as_mut_ptr())?;
    fails(sys!(SYS_capset, &mut header, data.as_ptr()), libc::EPERM)
}

fn capset_cannot_add_to_permitted() -> Outcome {
    let whole = caps()?;
    let mut less = whole;
    less[0].effective &= !(1 << CAP_CHOWN);
    less[0].permitted &= !(1 << CAP_CHOWN);
    set_caps(&less)?;
    equal(caps()?, less)?;
    fails(set_caps(&whole), libc::EPERM)?;
    let mut odd = less;
    odd[0].effective |= 1 << CAP_CHOWN;
    fails(set_caps(&odd), libc::EPERM)
}

fn capset_without_a_capability_takes_its_power() -> Outcome {
    std::fs::write("file", "")?;
    let mut less = caps()?;
    less[0].effective &= !(1 << CAP_CHOWN);
    set_caps(&less)?;
    fails(sys!(SYS_chown, c"file", 5, 5), libc::EPERM)?;
    less[0].effective |= 1 << CAP_CHOWN;
    set_caps(&less)?;
    sys!(SYS_chown, c"file", 5, 5)?;
    equal(stat(c"file")?.st_uid, 5)
}

fn bounding_set_is_read_and_dropped() -> Outcome {
    equal(
        sys!(SYS_prctl, libc::PR_CAPBSET_READ, CAP_NET_RAW, 0, 0, 0)?,
        1,
    )?;
    sys!(SYS_prctl, libc::PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)?;
    equal(
        sys!(SYS_prctl, libc::PR_CAPBSET_READ, CAP_NET_RAW, 0, 0, 0)?,
        0,
    )?;
    fails(
        sys!(SYS_prctl, libc::PR_CAPBSET_READ, 200, 0, 0, 0),
        libc::EINVAL,
    )?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    fails(
        sys!(SYS_prctl, libc::PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0),
        libc::EPERM,
    )
}

const AMBIENT: i32 = libc::PR_CAP_AMBIENT;

fn ambient_set_needs_both_others() -> Outcome {
    let raise = libc::PR_CAP_AMBIENT_RAISE;
    let is_set = libc::PR_CAP_AMBIENT_IS_SET;
    fails(
        sys!(SYS_prctl, AMBIENT, raise, CAP_NET_RAW, 0, 0),
        libc::EPERM,
    )?;
    let mut data = caps()?;
    data[0].inheritable |= 1 << CAP_NET_RAW;
    set_caps(&data)?;
    sys!(SYS_prctl, AMBIENT, raise, CAP_NET_RAW, 0, 0)?;
    equal(sys!(SYS_prctl, AMBIENT, is_set, CAP_NET_RAW, 0, 0)?, 1)?;
    data[0].inheritable = 0;
    set_caps(&data)?;
    equal(sys!(SYS_prctl, AMBIENT, is_set, CAP_NET_RAW, 0, 0)?, 0)?;
    sys!(SYS_prctl, AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)?;
    fails(sys!(SYS_prctl, AMBIENT, 9, 0, 0, 0), libc::EINVAL)
}

fn securebits_are_kept_and_checked() -> Outcome {
    // SECBIT_NO_SETUID_FIXUP: a change of numbers leaves capabilities alone.
    const NO_FIXUP: usize = 4;
    equal(sys!(SYS_prctl, libc::PR_GET_SECUREBITS, 0, 0, 0, 0)?, 0)?;
    let before = caps()?;
    sys!(SYS_prctl, libc::PR_SET_SECUREBITS, NO_FIXUP, 0, 0, 0)?;
    equal(
        sys!(SYS_prctl, libc::PR_GET_SECUREBITS, 0, 0, 0, 0)?,
        NO_FIXUP,
    )?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    equal(caps()?, before)?;
    fails(
        sys!(SYS_prctl, libc::PR_SET_SECUREBITS, 1 << 12, 0, 0, 0),
        libc::EPERM,
    )
}

fn no_new_privs_is_for_good() -> Outcome {
    let get = || sys!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    equal(get()?, 0)?;
    fails(
        sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0),
        libc::EINVAL,
    )?;
    sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
    equal(get()?, 1)?;
    within(|| equal(get()?, 1))
}

/// A child that waits to be killed, as another user.
fn sleeper(uid: u32) -> Outcome<i32> {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_setresuid, uid, uid, uid);
        let _ = write(write_end, b"x");
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    read_some(read_end)?;
    Ok(pid)
}

fn kill_of_another_user_is_eperm() -> Outcome {
    let other = sleeper(2000)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_kill, other, 0), libc::EPERM)?;
        fails(sys!(SYS_kill, other, libc::SIGTERM), libc::EPERM)?;
        fails(sys!(SYS_tgkill, other, other, 0), libc::EPERM)?;
        fails(sys!(SYS_kill, 0x3fff_ffff, 0), libc::ESRCH)
    })?;
    sys!(SYS_kill, other, libc::SIGKILL)?;
    equal(wait(other)?, libc::SIGKILL)
}

fn kill_of_the_same_user_is_allowed() -> Outcome {
    let other = sleeper(1000)?;
    within(|| {
        // The sender's effective number counts, against the target's real and saved ones.
        sys!(SYS_setresuid, 55, 1000, 55)?;
        sys!(SYS_kill, other, libc::SIGTERM)?;
        Ok(())
    })?;
    equal(wait(other)?, libc::SIGTERM)
}

fn chown_needs_power() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_chown, c"file", 1000, 1000)?;
    within(|| {
        let list = [1000_u32, 70];
        sys!(SYS_setgroups, 2, list.as_ptr())?;
        sys!(SYS_setresgid, 1000, 1000, 1000)?;
        sys!(SYS_setresuid, 1000, 1000, 1000)?;
        fails(sys!(SYS_chown, c"file", 1001, u32::MAX), libc::EPERM)?;
        fails(sys!(SYS_chown, c"file", u32::MAX, 71), libc::EPERM)?;
        sys!(SYS_chown, c"file", 1000, 70)?;
        Ok(())
    })?;
    equal(stat(c"file")?.st_gid, 70)
}

fn chown_clears_set_id_bits() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_chmod, c"file", 0o6755)?;
    sys!(SYS_chown, c"file", 5, 5)?;
    equal(stat(c"file")?.st_mode & 0o7777, 0o755)?;
    sys!(SYS_chmod, c"file", 0o2745)?;
    let fd = open(c"file", libc::O_RDONLY)?;
    sys!(SYS_fchown, fd, 6, 6)?;
    // Without the group's execute bit, set-gid means mandatory locking and stays.
    equal(stat(c"file")?.st_mode & 0o7777, 0o2745)?;
    std::os::unix::fs::symlink("file", "link")?;
    sys!(SYS_lchown, c"link", 7, 7)?;
    equal((stat(c"file")?.st_uid, lstat(c"link")?.st_uid), (6, 7))
}

fn chmod_by_an_owner_outside_the_group_drops_setgid() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_chown, c"file", 1000, 70)?;
    within(|| {
        become_user()?;
        sys!(SYS_chmod, c"file", 0o2755)?;
        equal(stat(c"file")?.st_mode & 0o7777, 0o755)
    })?;
    within(|| {
        sys!(SYS_setresuid, 2000, 2000, 2000)?;
        fails(sys!(SYS_chmod, c"file", 0o777), libc::EPERM)
    })
}

/// A copy of this program, made set-uid to user 1000, that lists its cases.
fn set_uid_copy(path: &std::ffi::CStr) -> Outcome {
    std::fs::copy("/proc/self/exe", path.to_string_lossy().as_ref())?;
    sys!(SYS_chown, path, 1000, 1000)?;
    sys!(SYS_chmod, path, 0o4755)?;
    Ok(())
}

/// The effective user of a program after exec, and AT_SECURE: from the auxiliary vector that the
/// kernel gives it, read while it is stuck writing to a full pipe.
fn run_and_read_auxv(path: &std::ffi::CStr) -> Outcome<(u64, u64)> {
    let (read_end, write_end) = pipe()?;
    sys!(SYS_fcntl, write_end, libc::F_SETPIPE_SZ, 4096)?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let _ = close(read_end);
        let arguments: [*const libc::c_char; 3] =
            [path.as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, path, &arguments, 0);
        127
    })?;
    // Its first words tell that it runs.
    let some = read_some(read_end)?;
    check(!some.is_empty(), "the program says nothing")?;
    let auxv = std::fs::read(format!("/proc/{pid}/auxv"))?;
    let value = |key: u64| {
        auxv.chunks_exact(16).find_map(|pair| {
            let half = |at: usize| {
                let bytes = pair.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
                u64::from_le_bytes(bytes.unwrap_or_default())
            };
            (half(0) == key).then(|| half(8))
        })
    };
    let answer = (
        some_value(value(libc::AT_EUID))?,
        some_value(value(libc::AT_SECURE))?,
    );
    close(write_end)?;
    close(read_end)?;
    wait(pid)?;
    Ok(answer)
}

#[track_caller]
fn some_value(value: Option<u64>) -> Outcome<u64> {
    some(value, "the auxiliary vector lacks an entry")
}

fn set_uid_programs_run_as_their_owner() -> Outcome {
    set_uid_copy(c"suid")?;
    equal(run_and_read_auxv(c"suid")?, (1000, 1))?;
    equal(run_and_read_auxv(SELF)?, (0, 0))
}

fn set_uid_means_nothing_on_nosuid() -> Outcome {
    std::fs::create_dir("mnt")?;
    let options = libc::MS_NOSUID;
    sys!(SYS_mount, c"none", c"mnt", c"tmpfs", options, 0)?;
    let outcome = set_uid_copy(c"mnt/suid").and_then(|()| run_and_read_auxv(c"mnt/suid"));
    sys!(SYS_umount2, c"mnt", libc::MNT_DETACH)?;
    equal(outcome?, (0, 0))
}

fn dumpable_is_off_after_a_change_of_numbers() -> Outcome {
    let get = || sys!(SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0);
    equal(get()?, 1)?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    equal(get()?, 0)?;
    sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)?;
    equal(get()?, 1)?;
    fails(
        sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 2, 0, 0, 0),
        libc::EINVAL,
    )
}

fn sticky_folders_protect_their_files() -> Outcome {
    std::fs::create_dir("shared")?;
    sys!(SYS_chmod, c"shared", 0o1777)?;
    std::fs::write("shared/of-root", "")?;
    std::fs::write("shared/own", "")?;
    sys!(SYS_chown, c"shared/own", 1000, 1000)?;
    within(|| {
        become_user()?;
        fails(
            sys!(SYS_unlinkat, libc::AT_FDCWD, c"shared/of-root", 0),
            libc::EPERM,
        )?;
        fails(
            sys!(SYS_rename, c"shared/of-root", c"shared/other"),
            libc::EPERM,
        )?;
        sys!(SYS_rename, c"shared/own", c"shared/mine")?;
        sys!(SYS_unlink, c"shared/mine")?;
        Ok(())
    })
}

fn umask_is_inherited_and_applied() -> Outcome {
    sys!(SYS_umask, 0o027)?;
    within(|| {
        close(open_mode(c"file", libc::O_CREAT | libc::O_WRONLY, 0o6777)?)?;
        sys!(SYS_mkdir, c"folder", 0o777)?;
        sys!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o666, 0)?;
        equal(sys!(SYS_umask, 0o7777)?, 0o027)?;
        // Only the nine permission bits are kept.
        equal(sys!(SYS_umask, 0)?, 0o777)
    })?;
    equal(stat(c"file")?.st_mode & 0o7777, 0o6750)?;
    equal(stat(c"folder")?.st_mode & 0o7777, 0o750)?;
    equal(stat(c"fifo")?.st_mode & 0o7777, 0o640)
}

fn a_user_may_not_mount_or_chroot() -> Outcome {
    std::fs::create_dir("mnt")?;
    sys!(SYS_chmod, c"mnt", 0o777)?;
    become_user()?;
    fails(
        sys!(SYS_mount, c"none", c"mnt", c"tmpfs", 0, 0),
        libc::EPERM,
    )?;
    fails(sys!(SYS_umount2, c"/proc", 0), libc::EPERM)?;
    fails(sys!(SYS_chroot, c"mnt"), libc::EPERM)?;
    fails(sys!(SYS_sethostname, c"x", 1), libc::EPERM)?;
    let time = libc::timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    fails(
        sys!(SYS_clock_settime, libc::CLOCK_REALTIME, &time),
        libc::EPERM,
    )
}

fn a_user_may_not_make_devices() -> Outcome {
    sys!(SYS_chmod, c".", 0o777)?;
    become_user()?;
    fails(
        sys!(SYS_mknod, c"null", libc::S_IFCHR | 0o666, 0x103),
        libc::EPERM,
    )?;
    sys!(SYS_mknod, c"plain", libc::S_IFREG | 0o600, 0)?;
    sys!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o600, 0)?;
    Ok(())
}

fn a_user_may_lower_hard_limits_only() -> Outcome {
    become_user()?;
    let limit = |soft: u64, hard: u64| libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let set =
        |new: libc::rlimit| sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE as i32, &new, 0).map(drop);
    set(limit(100, 200))?;
    set(limit(200, 200))?;
    fails(set(limit(100, 201)), libc::EPERM)?;
    fails(set(limit(201, 200)), libc::EINVAL)?;
    let mut now = limit(0, 0);
    sys!(SYS_getrlimit, libc::RLIMIT_NOFILE as i32, &mut now)?;
    equal((now.rlim_cur, now.rlim_max), (200, 200))?;
    fails(
        sys!(SYS_prlimit64, 1, libc::RLIMIT_NOFILE as i32, 0, &mut now),
        libc::EPERM,
    )
}

fn access_asks_the_real_numbers() -> Outcome {
    std::fs::write("file", "")?;
    sys!(SYS_chmod, c"file", 0o600)?;
    sys!(SYS_setresuid, 1000, 0, 0)?;
    close(open(c"file", libc::O_RDONLY)?)?;
    fails(sys!(SYS_access, c"file", libc::R_OK), libc::EACCES)?;
    sys!(
        SYS_faccessat2,
        libc::AT_FDCWD,
        c"file",
        libc::R_OK,
        libc::AT_EACCESS
    )?;
    sys!(SYS_access, c"file", libc::F_OK)?;
    fails(sys!(SYS_access, c"file", 8), libc::EINVAL)?;
    // Root may execute only what somebody may.
    sys!(SYS_setresuid, 0, 0, 0)?;
    fails(sys!(SYS_access, c"file", libc::X_OK), libc::EACCES)
}

fn zombies_count_for_the_limit_of_processes() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 4,
        rlim_max: 4,
    };
    sys!(SYS_setrlimit, libc::RLIMIT_NPROC as i32, &limit)?;
    // A user of whom nothing else runs.
    sys!(SYS_setresuid, 54321, 54321, 54321)?;
    let mut children = Vec::new();
    for _ in 0..3 {
        let child = fork(|| 0)?;
        await_state(child, "Z")?;
        children.push(child);
    }
    fails(fork(|| 0), libc::EAGAIN)?;
    wait(children.pop().unwrap_or(-1))?;
    children.push(fork(|| 0)?);
    for child in children {
        wait(child)?;
    }
    Ok(())
}
