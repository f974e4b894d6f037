//! Capabilities: what exec makes of them, what files give, and that each guards its own calls.
//!
//! A program's capabilities are read from `/proc` while it is stuck writing to a full pipe.

use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    files_give_permitted_capabilities,
    files_make_them_effective,
    files_hand_inherited_ones_on,
    the_bounding_set_limits_files,
    empty_attributes_count_as_some,
    the_third_version_is_for_a_root,
    attributes_are_checked_when_set,
    attributes_need_their_own_capability,
    writing_takes_capabilities_off,
    giving_away_takes_capabilities_off,
    nosuid_mounts_give_none,
    no_new_privs_gives_none,
    set_uid_root_with_capabilities_gives_these,
    root_has_all_after_exec,
    noroot_makes_root_a_user,
    a_real_root_alone_has_nothing_effective,
    ambient_capabilities_survive,
    set_uid_and_files_end_ambient_ones,
    keepcaps_can_be_locked,
    users_lose_permitted_ones,
    gaining_makes_undumpable,
    unreadable_programs_are_undumpable,
    set_uid_forgets_dangerous_personality,
    the_death_signal_goes_with_the_identity,
    versions_of_the_calls,
    others_are_asked_but_not_changed,
    inheritable_ones_are_bounded,
    each_guards_its_own_calls,
];

const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_FOWNER: u32 = 3;
const CAP_KILL: u32 = 5;
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_SETPCAP: u32 = 8;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_CHROOT: u32 = 18;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_BOOT: u32 = 22;
const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_MKNOD: u32 = 27;
const CAP_SETFCAP: u32 = 31;
const CAP_SYSLOG: u32 = 34;
const ALL: u64 = (1 << 41) - 1;

const fn bit(cap: u32) -> u64 {
    1 << cap
}

/// What `/proc` tells of a program.
#[derive(Clone, Copy, Debug)]
struct Program {
    permitted: u64,
    effective: u64,
    ambient: u64,
    secure: u64,
    /// Who owns its files in `/proc`: root's are those of programs that must not be looked into.
    owner: u32,
    personality: u32,
}

fn capset_with(version: u32, pid: i32, sets: [u64; 3]) -> Sys {
    let header = [version, pid as u32];
    let [effective, permitted, inheritable] = sets;
    let half = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data = [half(0), half(32)];
    sys!(SYS_capset, &header, &data)
}

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

fn capset(effective: u64, permitted: u64, inheritable: u64) -> Sys {
    capset_with(VERSION_3, 0, [effective, permitted, inheritable])
}

/// Becomes user 1000 with these permitted and effective capabilities, and as many inheritable ones.
fn user_with(caps: u64, inheritable: u64) -> Sys<()> {
    sys!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0)?;
    sys!(SYS_setgroups, 0, 0)?;
    sys!(SYS_setresgid, 1000, 1000, 1000)?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    capset(caps, caps, inheritable)?;
    Ok(())
}

/// Puts a copy of this program somewhere.
fn copy(path: &CStr) -> Outcome {
    std::fs::copy("/proc/self/exe", path.to_string_lossy().as_ref())?;
    sys!(SYS_chmod, path, 0o755)?;
    Ok(())
}

fn attribute(effective: bool, permitted: u64, inheritable: u64) -> [u32; 5] {
    let magic = 0x0200_0000 | u32::from(effective);
    let halves = |set: u64| (set as u32, (set >> 32) as u32);
    let ((p0, p1), (i0, i1)) = (halves(permitted), halves(inheritable));
    [magic, p0, i0, p1, i1]
}

fn set_attribute<const N: usize>(path: &CStr, value: [u32; N]) -> Sys {
    let name = c"security.capability";
    sys!(SYS_setxattr, path, name, &value, N * 4, 0)
}

/// A copy of this program with capabilities.
fn copy_with(path: &CStr, effective: bool, permitted: u64, inheritable: u64) -> Outcome {
    copy(path)?;
    set_attribute(path, attribute(effective, permitted, inheritable))?;
    Ok(())
}

/// Executes a program in a child that did `before`; answers what became of it, or execve's error.
fn run(path: &CStr, before: impl FnOnce() -> Sys<()>) -> Outcome<Sys<Program>> {
    let (read_end, write_end) = pipe()?;
    sys!(SYS_fcntl, write_end, libc::F_SETPIPE_SZ, 4096)?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let _ = close(read_end);
        if before().is_err() {
            return 255;
        }
        let arguments = [path.as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        match sys!(SYS_execve, path, &arguments, 0) {
            Err(errno) => errno.0,
            Ok(_) => 254,
        }
    })?;
    close(write_end)?;
    if read_some(read_end)?.is_empty() {
        let status = wait(pid)?;
        check(libc::WIFEXITED(status), "the program dies")?;
        return Ok(Err(Errno(libc::WEXITSTATUS(status))));
    }
    let program = look(pid);
    close(read_end)?;
    wait(pid)?;
    Ok(Ok(program?))
}

fn look(pid: i32) -> Outcome<Program> {
    let status = text_of(&format!("/proc/{pid}/status"))?;
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let set = line.and_then(|value| u64::from_str_radix(value.trim(), 16).ok());
        some(set, "a set is missing")
    };
    let auxv = std::fs::read(format!("/proc/{pid}/auxv"))?;
    let secure = auxv.chunks_exact(16).find_map(|pair| {
        let word = |at: usize| Some(u64::from_le_bytes(pair.get(at..at + 8)?.try_into().ok()?));
        (word(0)? == libc::AT_SECURE).then(|| word(8))?
    });
    let personality = text_of(&format!("/proc/{pid}/personality"))?;
    Ok(Program {
        permitted: set("CapPrm:")?,
        effective: set("CapEff:")?,
        ambient: set("CapAmb:")?,
        secure: some(secure, "there is no AT_SECURE")?,
        owner: stat(&c_string(&format!("/proc/{pid}/status")))?.st_uid,
        personality: u32::from_str_radix(personality.trim(), 16).unwrap_or(u32::MAX),
    })
}

/// The same for programs that must begin.
fn start(path: &CStr, before: impl FnOnce() -> Sys<()>) -> Outcome<Program> {
    match run(path, before)? {
        Ok(program) => Ok(program),
        Err(errno) => fail(&format!("the program does not begin: {errno:?}")),
    }
}

fn sets(program: Program) -> (u64, u64) {
    (program.permitted, program.effective)
}

const NET_RAW: u64 = bit(CAP_NET_RAW);
const CHOWN: u64 = bit(CAP_CHOWN);

fn files_give_permitted_capabilities() -> Outcome {
    copy_with(c"prog", false, NET_RAW, 0)?;
    let program = start(c"prog", become_user)?;
    equal(sets(program), (NET_RAW, 0))?;
    equal(program.secure, 1)
}

fn files_make_them_effective() -> Outcome {
    copy_with(c"prog", true, NET_RAW | bit(40), 0)?;
    let program = start(c"prog", become_user)?;
    equal(sets(program), (NET_RAW | bit(40), NET_RAW | bit(40)))?;
    equal(program.secure, 1)
}

fn files_hand_inherited_ones_on() -> Outcome {
    copy_with(c"prog", true, 0, CHOWN | NET_RAW)?;
    let program = start(c"prog", || user_with(CHOWN, CHOWN))?;
    equal(sets(program), (CHOWN, CHOWN))?;
    let program = start(c"prog", become_user)?;
    equal(sets(program), (0, 0))
}

fn drop_bounding(cap: u32) -> Sys<()> {
    sys!(SYS_prctl, libc::PR_CAPBSET_DROP, cap, 0, 0, 0)?;
    Ok(())
}

fn the_bounding_set_limits_files() -> Outcome {
    let before = || {
        drop_bounding(CAP_NET_RAW)?;
        become_user()
    };
    copy_with(c"prog", false, NET_RAW | CHOWN, 0)?;
    equal(sets(start(c"prog", before)?), (CHOWN, 0))?;
    // A program that expects them to be effective must not run without.
    copy_with(c"prog2", true, NET_RAW | CHOWN, 0)?;
    fails(run(c"prog2", before)?, libc::EPERM)
}

fn empty_attributes_count_as_some() -> Outcome {
    copy_with(c"prog", false, 0, 0)?;
    let before = || {
        user_with(CHOWN, CHOWN)?;
        raise_ambient(CAP_CHOWN)
    };
    equal(sets(start(c"prog", before)?), (0, 0))?;
    copy(c"plain")?;
    equal(sets(start(c"plain", before)?), (CHOWN, CHOWN))
}

fn raise_ambient(cap: u32) -> Sys<()> {
    const PR_CAP_AMBIENT: i32 = 47;
    sys!(SYS_prctl, PR_CAP_AMBIENT, 2, cap, 0, 0)?;
    Ok(())
}

fn the_third_version_is_for_a_root() -> Outcome {
    let three = |root: u32| [0x0300_0001, NET_RAW as u32, 0, 0, 0, root];
    let get = |value: &mut [u32; 8]| {
        let name = c"security.capability";
        sys!(SYS_getxattr, c"prog", name, value.as_mut_ptr(), 32)
    };
    copy(c"prog")?;
    set_attribute(c"prog", three(0))?;
    let mut value = [0; 8];
    equal(get(&mut value)?, 20)?;
    equal(&value[..5], [0x0200_0001, NET_RAW as u32, 0, 0, 0])?;
    equal(sets(start(c"prog", become_user)?), (NET_RAW, NET_RAW))?;
    // Another namespace's root is nobody here.
    set_attribute(c"prog", three(1000))?;
    equal(get(&mut value)?, 24)?;
    equal(&value[..6], three(1000))?;
    equal(sets(start(c"prog", become_user)?), (0, 0))
}

fn attributes_are_checked_when_set() -> Outcome {
    copy(c"prog")?;
    fails(set_attribute(c"prog", [0x0100_0000, 1, 0]), libc::EINVAL)?;
    fails(set_attribute(c"prog", [0x0200_0000, 1, 0]), libc::EINVAL)?;
    fails(
        set_attribute(c"prog", [0x0200_0000, 1, 0, 0, 0, 0]),
        libc::EINVAL,
    )?;
    fails(
        set_attribute(c"prog", [0x0300_0000, 1, 0, 0, 0]),
        libc::EINVAL,
    )?;
    fails(
        set_attribute(c"prog", [0x0400_0000, 1, 0, 0, 0]),
        libc::EINVAL,
    )?;
    fails(
        set_attribute(c"prog", [0x0200_0002, 1, 0, 0, 0]),
        libc::EINVAL,
    )?;
    become_user()?;
    fails(set_attribute(c"prog", [1]), libc::EINVAL)
}

fn attributes_need_their_own_capability() -> Outcome {
    copy(c"prog")?;
    let value = attribute(false, NET_RAW, 0);
    within(|| {
        user_with(ALL & !bit(CAP_SETFCAP), 0)?;
        fails(set_attribute(c"prog", value), libc::EPERM)
    })?;
    user_with(bit(CAP_SETFCAP), 0)?;
    set_attribute(c"prog", value)?;
    sys!(SYS_removexattr, c"prog", c"security.capability")?;
    Ok(())
}

fn has_attribute(path: &CStr) -> bool {
    sys!(SYS_getxattr, path, c"security.capability", 0, 0).is_ok()
}

fn writing_takes_capabilities_off() -> Outcome {
    let with = |action: &dyn Fn() -> Sys| -> Outcome<bool> {
        std::fs::write("file", "text")?;
        set_attribute(c"file", attribute(false, NET_RAW, 0))?;
        action()?;
        Ok(has_attribute(c"file"))
    };
    let fd = || open(c"file", libc::O_WRONLY);
    // Root's writing does it as well.
    check(!with(&|| write(fd()?, b"x"))?, "a write leaves it")?;
    check(
        !with(&|| sys!(SYS_truncate, c"file", 1))?,
        "a truncation leaves it",
    )?;
    check(
        with(&|| sys!(SYS_chmod, c"file", 0o700))?,
        "a new mode takes it",
    )?;
    check(with(&|| close(fd()?))?, "an open takes it")
}

fn giving_away_takes_capabilities_off() -> Outcome {
    std::fs::write("file", "text")?;
    set_attribute(c"file", attribute(false, NET_RAW, 0))?;
    sys!(SYS_chown, c"file", 0, 0)?;
    check(!has_attribute(c"file"), "chown leaves it")
}

fn nosuid_mounts_give_none() -> Outcome {
    std::fs::create_dir("mnt")?;
    sys!(SYS_mount, c"none", c"mnt", c"tmpfs", libc::MS_NOSUID, 0)?;
    let outcome =
        copy_with(c"mnt/prog", true, NET_RAW, 0).and_then(|()| start(c"mnt/prog", become_user));
    sys!(SYS_umount2, c"mnt", libc::MNT_DETACH)?;
    let program = outcome?;
    equal(sets(program), (0, 0))?;
    equal(program.secure, 0)
}

fn no_new_privs_gives_none() -> Outcome {
    copy_with(c"prog", true, NET_RAW | CHOWN, 0)?;
    let no_more = |before: fn() -> Sys<()>| {
        move || {
            before()?;
            sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
            Ok(())
        }
    };
    equal(sets(start(c"prog", no_more(become_user))?), (0, 0))?;
    // What the caller has it keeps.
    let program = start(c"prog", no_more(|| user_with(CHOWN, 0)))?;
    equal(sets(program), (CHOWN, CHOWN))
}

fn set_uid_root_with_capabilities_gives_these() -> Outcome {
    copy(c"prog")?;
    sys!(SYS_chmod, c"prog", 0o4755)?;
    let program = start(c"prog", become_user)?;
    equal(sets(program), (ALL, ALL))?;
    equal(program.secure, 1)?;
    set_attribute(c"prog", attribute(true, NET_RAW, 0))?;
    let program = start(c"prog", become_user)?;
    equal(sets(program), (NET_RAW, NET_RAW))?;
    // Root itself has all as before.
    equal(sets(start(c"prog", || Ok(()))?), (ALL, ALL))
}

fn root_has_all_after_exec() -> Outcome {
    copy(c"prog")?;
    let program = start(c"prog", || capset(0, 0, 0).map(drop))?;
    equal(sets(program), (ALL, ALL))?;
    equal(program.secure, 0)?;
    let program = start(c"prog", || drop_bounding(CAP_NET_RAW))?;
    equal(sets(program), (ALL & !NET_RAW, ALL & !NET_RAW))
}

const SECBIT_NOROOT: u32 = 1;

fn noroot_makes_root_a_user() -> Outcome {
    copy(c"prog")?;
    let noroot = || {
        sys!(SYS_prctl, libc::PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0)?;
        Ok(())
    };
    equal(sets(start(c"prog", noroot)?), (0, 0))?;
    set_attribute(c"prog", attribute(true, NET_RAW, 0))?;
    equal(sets(start(c"prog", noroot)?), (NET_RAW, NET_RAW))
}

fn a_real_root_alone_has_nothing_effective() -> Outcome {
    copy(c"prog")?;
    let program = start(c"prog", || sys!(SYS_setresuid, 0, 1000, 1000).map(drop))?;
    equal(sets(program), (ALL, 0))?;
    // Its real and its effective user differ.
    equal(program.secure, 1)
}

fn ambient_capabilities_survive() -> Outcome {
    copy(c"prog")?;
    let program = start(c"prog", || {
        user_with(CHOWN | NET_RAW, CHOWN)?;
        raise_ambient(CAP_CHOWN)
    })?;
    equal(sets(program), (CHOWN, CHOWN))?;
    equal(program.ambient, CHOWN)?;
    equal(program.secure, 0)
}

fn set_uid_and_files_end_ambient_ones() -> Outcome {
    let before = || {
        user_with(CHOWN, CHOWN)?;
        raise_ambient(CAP_CHOWN)
    };
    copy(c"suid")?;
    sys!(SYS_chown, c"suid", 2000, 2000)?;
    sys!(SYS_chmod, c"suid", 0o4755)?;
    let program = start(c"suid", before)?;
    equal((sets(program), program.ambient), ((0, 0), 0))?;
    copy_with(c"prog", false, NET_RAW, 0)?;
    let program = start(c"prog", before)?;
    equal((sets(program), program.ambient), ((NET_RAW, 0), 0))
}

fn keepcaps_can_be_locked() -> Outcome {
    const KEEP: u32 = 1 << 4;
    let keeps = || sys!(SYS_prctl, libc::PR_GET_KEEPCAPS, 0, 0, 0, 0);
    sys!(SYS_prctl, libc::PR_SET_SECUREBITS, KEEP, 0, 0, 0)?;
    equal(keeps()?, 1)?;
    sys!(SYS_prctl, libc::PR_SET_SECUREBITS, KEEP << 1, 0, 0, 0)?;
    equal(keeps()?, 0)?;
    for wish in [0, 1] {
        let set = sys!(SYS_prctl, libc::PR_SET_KEEPCAPS, wish, 0, 0, 0);
        fails(set, libc::EPERM)?;
    }
    fails(
        sys!(SYS_prctl, libc::PR_SET_KEEPCAPS, 2, 0, 0, 0),
        libc::EINVAL,
    )
}

fn users_lose_permitted_ones() -> Outcome {
    copy(c"prog")?;
    let program = start(c"prog", || user_with(CHOWN | NET_RAW, CHOWN))?;
    equal(sets(program), (0, 0))?;
    equal((program.secure, program.owner), (0, 1000))
}

fn gaining_makes_undumpable() -> Outcome {
    copy_with(c"prog", false, NET_RAW, 0)?;
    equal(start(c"prog", become_user)?.owner, 0)?;
    // Who had them gains nothing.
    equal(start(c"prog", || user_with(NET_RAW, 0))?.owner, 1000)?;
    copy(c"suid")?;
    sys!(SYS_chown, c"suid", 2000, 2000)?;
    sys!(SYS_chmod, c"suid", 0o4755)?;
    equal(start(c"suid", become_user)?.owner, 0)
}

fn unreadable_programs_are_undumpable() -> Outcome {
    copy(c"prog")?;
    equal(start(c"prog", become_user)?.owner, 1000)?;
    sys!(SYS_chmod, c"prog", 0o711)?;
    equal(start(c"prog", become_user)?.owner, 0)
}

const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

fn set_uid_forgets_dangerous_personality() -> Outcome {
    let before = || {
        sys!(SYS_personality, ADDR_NO_RANDOMIZE)?;
        become_user()
    };
    copy(c"prog")?;
    equal(start(c"prog", before)?.personality, ADDR_NO_RANDOMIZE)?;
    sys!(SYS_chmod, c"prog", 0o4755)?;
    equal(start(c"prog", before)?.personality, 0)?;
    copy_with(c"caps", false, NET_RAW, 0)?;
    equal(start(c"caps", before)?.personality, 0)
}

fn the_death_signal_goes_with_the_identity() -> Outcome {
    let get = || {
        let mut signal = 0;
        sys!(SYS_prctl, libc::PR_GET_PDEATHSIG, &mut signal, 0, 0, 0)?;
        Ok::<i32, Errno>(signal)
    };
    let set = || sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0);
    set()?;
    equal(get()?, libc::SIGUSR1)?;
    within(|| equal(get()?, 0))?;
    sys!(SYS_setresuid, 1000, 1000, 0)?;
    equal(get()?, 0)?;
    set()?;
    sys!(SYS_setresuid, 0, 1000, 1000).err();
    equal(get()?, libc::SIGUSR1)?;
    sys!(SYS_setfsuid, 0)?;
    equal(get()?, 0)
}

fn capget(version: u32, pid: i32, words: &mut [u32; 6]) -> Sys {
    let header = [version, pid as u32];
    sys!(SYS_capget, &header, words.as_mut_ptr())
}

fn versions_of_the_calls() -> Outcome {
    let mut words = [7; 6];
    capget(VERSION_1, 0, &mut words)?;
    equal(words, [u32::MAX, u32::MAX, 0, 7, 7, 7])?;
    for version in [VERSION_2, VERSION_3] {
        words = [7; 6];
        capget(version, 0, &mut words)?;
        equal(words, [u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0])?;
    }
    let mut header = [1u32, 0];
    fails(sys!(SYS_capget, &mut header, &mut words), libc::EINVAL)?;
    equal(header[0], VERSION_3)?;
    header[0] = 1;
    equal(sys!(SYS_capget, &mut header, 0)?, 0)?;
    equal(header[0], VERSION_3)?;
    header[0] = 1;
    fails(sys!(SYS_capset, &mut header, &words), libc::EINVAL)?;
    equal(header[0], VERSION_3)?;
    fails(sys!(SYS_capget, 0, 0), libc::EFAULT)?;
    fails(capget(VERSION_3, -1, &mut words), libc::EINVAL)?;
    equal(sys!(SYS_capget, &[VERSION_3, u32::MAX], 0)?, 0)?;
    fails(capget(VERSION_3, 0x3f_fff0, &mut words), libc::ESRCH)?;
    // The first version knows 32 capabilities: the others go.
    capset_with(VERSION_1, 0, [ALL; 3])?;
    capget(VERSION_3, 0, &mut words)?;
    equal(words, [u32::MAX, u32::MAX, u32::MAX, 0, 0, 0])
}

fn others_are_asked_but_not_changed() -> Outcome {
    let pid = fork(|| {
        let _ = user_with(CHOWN, 0);
        let _ = sys!(SYS_pause);
        0
    })?;
    await_state(pid, "S")?;
    let mut words = [0; 6];
    capget(VERSION_3, pid, &mut words)?;
    equal(&words[..3], [CHOWN as u32, CHOWN as u32, 0])?;
    fails(capset_with(VERSION_3, pid, [0; 3]), libc::EPERM)?;
    fails(capset_with(VERSION_3, -1, [0; 3]), libc::EPERM)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    wait(pid)?;
    capset_with(VERSION_3, getpid(), [0; 3])?;
    Ok(())
}

fn inheritable_ones_are_bounded() -> Outcome {
    within(|| {
        drop_bounding(CAP_NET_RAW)?;
        fails(capset(ALL, ALL, NET_RAW), libc::EPERM)?;
        capset(ALL, ALL, CHOWN)?;
        Ok(())
    })?;
    within(|| {
        // Without CAP_SETPCAP only what is permitted can be made inheritable.
        let some = ALL & !bit(CAP_SETPCAP) & !NET_RAW;
        capset(some, some, 0)?;
        fails(capset(some, some, NET_RAW), libc::EPERM)?;
        capset(some, some, CHOWN)?;
        Ok(())
    })?;
    fails(capset(ALL, NET_RAW, 0), libc::EPERM)?;
    capset(0, NET_RAW, 0)?;
    fails(capset(0, NET_RAW | CHOWN, 0), libc::EPERM)
}

fn each_guards_its_own_calls() -> Outcome {
    std::fs::write("file", "text")?;
    sys!(SYS_chmod, c"file", 0o600)?;
    sys!(SYS_chmod, c".", 0o777)?;
    let other = fork(|| {
        let _ = sys!(SYS_pause);
        0
    })?;
    let target = other;
    let raise_limit = || sys!(SYS_setrlimit, libc::RLIMIT_NOFILE, &[100u64, 1 << 19]);
    let mut hostname = [0u8; 390];
    sys!(SYS_uname, hostname.as_mut_ptr())?;
    let name = &hostname[65..130];
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    type Call<'a> = &'a dyn Fn() -> Sys;
    let calls: [(u32, Call<'_>, i32); 14] = [
        (CAP_CHOWN, &|| sys!(SYS_chown, c"file", 0, 5), libc::EPERM),
        (
            CAP_DAC_OVERRIDE,
            &|| open(c"file", libc::O_RDWR).map(|_| 0),
            libc::EACCES,
        ),
        (CAP_FOWNER, &|| sys!(SYS_chmod, c"file", 0o600), libc::EPERM),
        (CAP_KILL, &|| sys!(SYS_kill, target, 0), libc::EPERM),
        (CAP_SETGID, &|| sys!(SYS_setgroups, 0, 0), libc::EPERM),
        (
            CAP_SETUID,
            &|| sys!(SYS_setresuid, u32::MAX, u32::MAX, 5),
            libc::EPERM,
        ),
        (
            CAP_SETPCAP,
            &|| sys!(SYS_prctl, libc::PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0),
            libc::EPERM,
        ),
        (CAP_SYS_CHROOT, &|| sys!(SYS_chroot, c"."), libc::EPERM),
        (
            CAP_SYS_ADMIN,
            &|| sys!(SYS_sethostname, name.as_ptr(), len),
            libc::EPERM,
        ),
        // The numbers that switch the machine off are not given.
        (
            CAP_SYS_BOOT,
            &|| match sys!(SYS_reboot, 1, 2, 3, 0) {
                Err(Errno(libc::EINVAL)) => Ok(0),
                other => other,
            },
            libc::EPERM,
        ),
        (
            CAP_SYS_NICE,
            &|| sys!(SYS_setpriority, libc::PRIO_PROCESS, 0, -5),
            libc::EACCES,
        ),
        (CAP_SYS_RESOURCE, &raise_limit, libc::EPERM),
        (
            CAP_MKNOD,
            &|| sys!(SYS_mknod, c"null", libc::S_IFCHR | 0o600, 0x103),
            libc::EPERM,
        ),
        (CAP_SYSLOG, &|| sys!(SYS_syslog, 5, 0, 0), libc::EPERM),
    ];
    sys!(SYS_setrlimit, libc::RLIMIT_NOFILE, &[100u64, 1 << 18])?;
    for (cap, call, refused) in calls {
        let named = |outcome: Outcome| match outcome {
            Err(Trouble::Fail(why)) => Err(Trouble::Fail(format!("capability {cap}: {why}"))),
            other => other,
        };
        // Old kernels let CAP_SYS_ADMIN read the log.
        let without = ALL
            & !bit(cap)
            & if cap == CAP_SYSLOG {
                !bit(CAP_SYS_ADMIN)
            } else {
                ALL
            };
        named(within(|| {
            user_with(without, 0)?;
            fails(call(), refused)
        }))?;
        named(within(|| {
            user_with(bit(cap), 0)?;
            call()?;
            Ok(())
        }))?;
        let _ = sys!(SYS_unlink, c"null");
    }
    sys!(SYS_kill, other, libc::SIGKILL)?;
    wait(other)?;
    Ok(())
}
