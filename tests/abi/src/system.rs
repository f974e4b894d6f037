//! The system as a whole: names, memory, random numbers, the log, sharing undone, and the calls that are not there.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    uname_agrees_with_proc,
    sethostname_shows_everywhere,
    setdomainname_shows_everywhere,
    sethostname_refuses_nonsense,
    sysinfo_agrees_with_meminfo,
    getrandom_fills_and_differs,
    getrandom_refuses_unknown_flags,
    dev_random_and_urandom_give_bytes,
    syslog_reads_and_sizes,
    kmsg_takes_and_gives_records,
    syslog_reader_wakes_for_a_record,
    unshare_of_files_and_fs,
    unshare_refuses_nonsense,
    personality_is_kept,
    set_tid_address_answers_the_tid,
    prctl_names_the_thread,
    prctl_refuses_unknown_options,
    pdeathsig_is_sent,
    pdeathsig_is_cleared_by_fork,
    timerslack_is_kept,
    arch_prctl_reads_and_writes_fs_and_gs,
    arch_prctl_refuses_kernel_addresses,
    reboot_needs_its_magic_and_power,
    sync_calls_answer,
    unknown_calls_are_enosys,
    call_numbers_out_of_range_are_enosys,
    getcwd_of_an_unlinked_folder_is_enoent,
    robust_list_of_another_is_read,
    vfork_runs_the_child_first,
    vfork_child_shares_memory,
    vfork_holds_the_parents_signals,
    vfork_parent_goes_on_at_exec,
    execveat_by_descriptor,
    execveat_refuses_nonsense,
    pivot_root_refuses_nonsense,
    statfs_names_the_file_systems,
];

fn uname() -> Outcome<[String; 6]> {
    let mut out = [0_u8; 6 * 65];
    sys!(SYS_uname, out.as_mut_ptr())?;
    let field = |index: usize| {
        let bytes = out.get(index * 65..(index + 1) * 65).unwrap_or_default();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    Ok(std::array::from_fn(field))
}

fn uname_agrees_with_proc() -> Outcome {
    let [system, node, release, version, machine, domain] = uname()?;
    equal(system.as_str(), "Linux")?;
    equal(machine.as_str(), "x86_64")?;
    let sysctl = |name: &str| -> Outcome<String> {
        Ok(text_of(&format!("/proc/sys/kernel/{name}"))?
            .trim_end()
            .to_owned())
    };
    equal(sysctl("ostype")?, system)?;
    equal(sysctl("hostname")?, node)?;
    equal(sysctl("osrelease")?, release.clone())?;
    equal(sysctl("version")?, version.clone())?;
    equal(sysctl("domainname")?, domain)?;
    let whole = text_of("/proc/version")?;
    check(
        whole.starts_with(&format!("Linux version {release} "))
            && whole.trim_end().ends_with(&version),
        "/proc/version says something else",
    )?;
    fails(sys!(SYS_uname, 8), libc::EFAULT)
}

fn sethostname_shows_everywhere() -> Outcome {
    let old = uname()?[1].clone();
    sys!(SYS_sethostname, c"a-new-name", 10)?;
    let seen = (uname()?[1].clone(), text_of("/proc/sys/kernel/hostname")?);
    std::fs::write("/proc/sys/kernel/hostname", "other\n")?;
    let written = uname()?[1].clone();
    let name = c_string(&old);
    sys!(SYS_sethostname, name.as_c_str(), old.len())?;
    equal(seen, ("a-new-name".to_owned(), "a-new-name\n".to_owned()))?;
    equal(written.as_str(), "other")?;
    equal(uname()?[1].clone(), old)
}

fn setdomainname_shows_everywhere() -> Outcome {
    let old = uname()?[5].clone();
    sys!(SYS_setdomainname, c"example", 7)?;
    let seen = (uname()?[5].clone(), text_of("/proc/sys/kernel/domainname")?);
    let name = c_string(&old);
    sys!(SYS_setdomainname, name.as_c_str(), old.len())?;
    equal(seen, ("example".to_owned(), "example\n".to_owned()))
}

fn sethostname_refuses_nonsense() -> Outcome {
    fails(sys!(SYS_sethostname, c"x", -1), libc::EINVAL)?;
    fails(sys!(SYS_sethostname, c"x", 65), libc::EINVAL)?;
    fails(sys!(SYS_sethostname, 8, 5), libc::EFAULT)?;
    fails(sys!(SYS_setdomainname, c"x", 65), libc::EINVAL)?;
    become_user()?;
    fails(sys!(SYS_setdomainname, c"x", 1), libc::EPERM)
}

fn sysinfo_agrees_with_meminfo() -> Outcome {
    let mut info = zeroed::<libc::sysinfo>();
    sys!(SYS_sysinfo, &mut info)?;
    let text = text_of("/proc/meminfo")?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().split(' ').next())
        .and_then(|word| word.parse::<u64>().ok());
    equal(Some(info.totalram * u64::from(info.mem_unit) / 1024), total)?;
    check(info.freeram < info.totalram, "all memory is free")?;
    check(info.procs >= 2, "fewer than two tasks")?;
    equal(info.totalswap, 0)?;
    fails(sys!(SYS_sysinfo, 8), libc::EFAULT)
}

fn getrandom_fills_and_differs() -> Outcome {
    let (mut first, mut second) = ([0_u8; 256], [0_u8; 256]);
    equal(sys!(SYS_getrandom, first.as_mut_ptr(), 256, 0)?, 256)?;
    equal(
        sys!(
            SYS_getrandom,
            second.as_mut_ptr(),
            256,
            libc::GRND_RANDOM | libc::GRND_NONBLOCK
        )?,
        256,
    )?;
    check(first != second, "twice the same")?;
    check(
        first
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 64,
        "hardly random",
    )?;
    equal(sys!(SYS_getrandom, 0, 0, 0)?, 0)
}

fn getrandom_refuses_unknown_flags() -> Outcome {
    let mut bytes = [0_u8; 4];
    fails(sys!(SYS_getrandom, bytes.as_mut_ptr(), 4, 8), libc::EINVAL)?;
    // GRND_RANDOM | GRND_INSECURE contradict each other.
    fails(sys!(SYS_getrandom, bytes.as_mut_ptr(), 4, 6), libc::EINVAL)?;
    fails(sys!(SYS_getrandom, 8, 4, 0), libc::EFAULT)
}

fn dev_random_and_urandom_give_bytes() -> Outcome {
    // The one waits for entropy, the other has no notion of being ready.
    let both = libc::POLLIN | libc::POLLOUT;
    for (path, events) in [(c"/dev/random", libc::POLLIN), (c"/dev/urandom", both)] {
        let fd = open(path, libc::O_RDWR)?;
        let (mut first, mut second) = ([0_u8; 64], [0_u8; 64]);
        equal(read(fd, &mut first)?, 64)?;
        equal(read(fd, &mut second)?, 64)?;
        check(first != second, "twice the same")?;
        equal(write(fd, b"stir")?, 4)?;
        equal(ready(fd, both)?, events)?;
        close(fd)?;
    }
    Ok(())
}

fn syslog_reads_and_sizes() -> Outcome {
    const READ_ALL: i32 = 3;
    const SIZE_BUFFER: i32 = 10;
    let size = sys!(SYS_syslog, SIZE_BUFFER, 0, 0)?;
    check(size >= 4096, "no buffer to speak of")?;
    let mut text = vec![0_u8; size];
    let count = sys!(SYS_syslog, READ_ALL, text.as_mut_ptr(), size)?;
    check(count > 0 && text.first() == Some(&b'<'), "no records")?;
    fails(sys!(SYS_syslog, READ_ALL, 0, 10), libc::EINVAL)?;
    fails(
        sys!(SYS_syslog, READ_ALL, text.as_mut_ptr(), -1),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_syslog, 99, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_syslog, 8, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_syslog, 8, 0, 9), libc::EINVAL)
}

fn kmsg_takes_and_gives_records() -> Outcome {
    let fd = open(c"/dev/kmsg", libc::O_RDWR | libc::O_NONBLOCK)?;
    sys!(SYS_lseek, fd, 0, libc::SEEK_END)?;
    write(fd, b"<5>abi test: a record\n")?;
    let record = loop {
        let text = String::from_utf8_lossy(&read_some(fd)?).into_owned();
        if text.contains("abi test: a record") {
            break text;
        }
    };
    let mut head = record.split(';').next().unwrap_or_default().split(',');
    // The facility is made "user", the level stays.
    equal(head.next(), Some("13"))?;
    check(
        head.next().is_some_and(|word| word.parse::<u64>().is_ok()),
        "no sequence number",
    )?;
    loop {
        match read_some(fd) {
            Err(errno) => return fails::<()>(Err(errno), libc::EAGAIN),
            Ok(more) => check(!more.is_empty(), "an end of the log")?,
        }
    }
}

fn syslog_reader_wakes_for_a_record() -> Outcome {
    const READ: i32 = 2;
    const SIZE_UNREAD: i32 = 9;
    let mut text = [0_u8; 2048];
    while sys!(SYS_syslog, SIZE_UNREAD, 0, 0)? > 0 {
        sys!(SYS_syslog, READ, text.as_mut_ptr(), 2048)?;
    }
    let me = getpid();
    let child = fork(|| {
        let _ = await_state(me, "S");
        let _ = std::fs::write("/dev/kmsg", "<5>abi test: news\n");
        0
    })?;
    let count = sys!(SYS_syslog, READ, text.as_mut_ptr(), 2048)?;
    let said = String::from_utf8_lossy(text.get(..count).unwrap_or_default()).into_owned();
    check(said.starts_with("<13>["), &said)?;
    check(said.ends_with("abi test: news\n"), &said)?;
    equal(wait(child)?, 0)
}

fn unshare_of_files_and_fs() -> Outcome {
    extern "C" fn body(argument: *mut libc::c_void) -> i32 {
        let _ = sys!(SYS_unshare, libc::CLONE_FILES | libc::CLONE_FS);
        let _ = close(argument as usize as i32);
        let _ = sys!(SYS_chdir, c"/");
        0
    }
    let fd = open(c".", libc::O_RDONLY)?;
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_FS | libc::SIGCHLD;
    let pid = clone_run(flags, body, fd as usize, (0, 0))?;
    equal(wait(pid)?, 0)?;
    // What it closed and where it went is its own.
    fstat(fd)?;
    check(
        std::env::current_dir()? != std::path::Path::new("/"),
        "the folder changed",
    )
}

fn unshare_refuses_nonsense() -> Outcome {
    sys!(SYS_unshare, 0)?;
    fails(sys!(SYS_unshare, libc::CLONE_PARENT), libc::EINVAL)?;
    fails(sys!(SYS_unshare, 1), libc::EINVAL)?;
    // A process of one thread may unshare what it shares with nobody.
    sys!(
        SYS_unshare,
        libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD
    )?;
    Ok(())
}

fn personality_is_kept() -> Outcome {
    let query = || sys!(SYS_personality, u32::MAX);
    equal(query()?, 0)?;
    equal(sys!(SYS_personality, libc::ADDR_NO_RANDOMIZE)?, 0)?;
    equal(query()?, libc::ADDR_NO_RANDOMIZE as usize)?;
    within(|| equal(query()?, libc::ADDR_NO_RANDOMIZE as usize))
}

fn set_tid_address_answers_the_tid() -> Outcome {
    let place = 0_u32;
    equal(sys!(SYS_set_tid_address, &place)?, sys!(SYS_gettid)?)
}

fn prctl_names_the_thread() -> Outcome {
    sys!(
        SYS_prctl,
        libc::PR_SET_NAME,
        c"a name too long for it",
        0,
        0,
        0
    )?;
    let mut name = [1_u8; 17];
    sys!(SYS_prctl, libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0)?;
    equal(&name[..16], b"a name too long\0".as_slice())?;
    equal(name[16], 1)?;
    equal(text_of("/proc/self/comm")?.as_str(), "a name too long\n")?;
    std::fs::write("/proc/self/comm", "other")?;
    sys!(SYS_prctl, libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0)?;
    equal(&name[..6], b"other\0".as_slice())
}

fn prctl_refuses_unknown_options() -> Outcome {
    fails(sys!(SYS_prctl, 12345, 0, 0, 0, 0), libc::EINVAL)?;
    fails(
        sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, 65, 0, 0, 0),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_prctl, libc::PR_SET_NAME, 8, 0, 0, 0), libc::EFAULT)
}

fn pdeathsig_is_sent() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let middle = fork(|| {
        let _ = fork(|| {
            let _ = sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR2, 0, 0, 0);
            let _ = block(&[libc::SIGUSR2]);
            let _ = write(write_end, b"r");
            let code = take(&[libc::SIGUSR2]).map_or(99, |info| info.si_signo);
            let _ = write(write_end, &[code as u8]);
            0
        });
        // Until the child is ready.
        let _ = read_some(read_end);
        0
    })?;
    wait(middle)?;
    equal(read_some(read_end)?, vec![libc::SIGUSR2 as u8])
}

fn pdeathsig_is_cleared_by_fork() -> Outcome {
    sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR2, 0, 0, 0)?;
    let get = || -> Sys<i32> {
        let mut signal = -1;
        sys!(SYS_prctl, libc::PR_GET_PDEATHSIG, &mut signal, 0, 0, 0)?;
        Ok(signal)
    };
    equal(get()?, libc::SIGUSR2)?;
    within(|| equal(get()?, 0))
}

fn timerslack_is_kept() -> Outcome {
    let get = || sys!(SYS_prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0);
    equal(get()?, 50_000)?;
    sys!(SYS_prctl, libc::PR_SET_TIMERSLACK, 7, 0, 0, 0)?;
    equal(get()?, 7)?;
    // The default of a child is its parent's current value.
    within(|| {
        equal(get()?, 7)?;
        sys!(SYS_prctl, libc::PR_SET_TIMERSLACK, 9, 0, 0, 0)?;
        sys!(SYS_prctl, libc::PR_SET_TIMERSLACK, 0, 0, 0, 0)?;
        equal(get()?, 7)
    })
}

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_SET_FS: i32 = 0x1002;
const ARCH_GET_FS: i32 = 0x1003;
const ARCH_GET_GS: i32 = 0x1004;

fn arch_prctl_reads_and_writes_fs_and_gs() -> Outcome {
    let mut fs = 0_usize;
    sys!(SYS_arch_prctl, ARCH_GET_FS, &mut fs)?;
    check(fs != 0, "no thread pointer")?;
    sys!(SYS_arch_prctl, ARCH_SET_FS, fs)?;
    let place = 0x1234_5678_9abc_usize;
    sys!(SYS_arch_prctl, ARCH_SET_GS, &place)?;
    let mut gs = 0_usize;
    sys!(SYS_arch_prctl, ARCH_GET_GS, &mut gs)?;
    equal(gs, std::ptr::from_ref(&place) as usize)?;
    let read: usize;
    // SAFETY: GS points to the word that was just set.
    unsafe { std::arch::asm!("mov {}, gs:[0]", out(reg) read) };
    equal(read, place)?;
    // Both are inherited, and stay across being descheduled.
    within(|| {
        nap();
        let mut gs = 0_usize;
        sys!(SYS_arch_prctl, ARCH_GET_GS, &mut gs)?;
        equal(gs, std::ptr::from_ref(&place) as usize)
    })
}

fn arch_prctl_refuses_kernel_addresses() -> Outcome {
    // Beyond user space with four and with five levels of page tables.
    for address in [0xff00_0000_0000_0000_usize, usize::MAX] {
        fails(sys!(SYS_arch_prctl, ARCH_SET_GS, address), libc::EPERM)?;
        fails(sys!(SYS_arch_prctl, ARCH_SET_FS, address), libc::EPERM)?;
    }
    fails(sys!(SYS_arch_prctl, 0x9999, 0), libc::EINVAL)?;
    fails(sys!(SYS_arch_prctl, ARCH_GET_FS, 8), libc::EFAULT)
}

fn reboot_needs_its_magic_and_power() -> Outcome {
    let (first, second) = (0xfee1_dead_u32, 0x2812_1969_u32);
    fails(sys!(SYS_reboot, 1, second, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_reboot, first, 2, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_reboot, first, second, 77, 0), libc::EINVAL)?;
    become_user()?;
    fails(
        sys!(SYS_reboot, first, second, 0x4321_fedc_u32, 0),
        libc::EPERM,
    )
}

fn sync_calls_answer() -> Outcome {
    sys!(SYS_sync)?;
    let fd = file_with(c"file", b"x")?;
    sys!(SYS_fsync, fd)?;
    sys!(SYS_fdatasync, fd)?;
    sys!(SYS_syncfs, fd)?;
    fails(sys!(SYS_syncfs, 999), libc::EBADF)?;
    let (read_end, _) = pipe()?;
    fails(sys!(SYS_fsync, read_end), libc::EINVAL)
}

fn unknown_calls_are_enosys() -> Outcome {
    // Calls that no x86-64 Linux has any more, and the hole before 424.
    for number in [174, 177, 180, 181, 184, 185, 211, 214, 236, 400, 423] {
        fails(call(number, &[0; 6]), libc::ENOSYS)?;
    }
    Ok(())
}

fn call_numbers_out_of_range_are_enosys() -> Outcome {
    for number in [600, 100_000, i64::from(i32::MAX), -1] {
        fails(call(number, &[0; 6]), libc::ENOSYS)?;
    }
    // The number is the register's lower half alone, as since Linux 5.
    equal(call((1 << 32) | libc::SYS_getpid, &[])?, getpid() as usize)
}

fn getcwd_of_an_unlinked_folder_is_enoent() -> Outcome {
    std::fs::create_dir("gone")?;
    within(|| {
        sys!(SYS_chdir, c"gone")?;
        sys!(SYS_rmdir, c"../gone")?;
        let mut out = [0_u8; 256];
        fails(sys!(SYS_getcwd, out.as_mut_ptr(), 256), libc::ENOENT)?;
        fails(open(c"new", libc::O_CREAT | libc::O_WRONLY), libc::ENOENT)?;
        fails(sys!(SYS_mkdir, c"new", 0o755), libc::ENOENT)
    })?;
    let mut out = [0_u8; 256];
    fails(sys!(SYS_getcwd, out.as_mut_ptr(), 2), libc::ERANGE)
}

fn robust_list_of_another_is_read() -> Outcome {
    let (mut head, mut len) = (0_usize, 0_usize);
    let place = [0_usize; 3];
    sys!(SYS_set_robust_list, &place, 24)?;
    sys!(SYS_get_robust_list, 0, &mut head, &mut len)?;
    equal((head, len), (place.as_ptr() as usize, 24))?;
    fails(sys!(SYS_set_robust_list, &place, 23), libc::EINVAL)?;
    fails(
        sys!(SYS_get_robust_list, 0x3fff_ffff, &mut head, &mut len),
        libc::ESRCH,
    )
}

/// Runs a body by vfork's call; it must only make system calls and end or exec.
///
/// The child runs on the caller's stack, below this frame: what it leaves there the parent does
/// not look at.
#[inline(never)]
fn vfork_run(body: extern "C" fn(usize) -> i32, argument: usize) -> Sys<i32> {
    clone_vm(
        libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
        body,
        argument,
    )
}

/// Like [`clone_run`], with a body that takes a number.
fn clone_vm(flags: i32, body: extern "C" fn(usize) -> i32, argument: usize) -> Sys<i32> {
    // SAFETY: the two types of functions differ in an argument that is passed in the same way.
    let body: Body = unsafe { std::mem::transmute(body) };
    clone_run(flags, body, argument, (0, 0))
}

fn vfork_runs_the_child_first() -> Outcome {
    extern "C" fn body(argument: usize) -> i32 {
        for _ in 0..20 {
            nap();
        }
        word(argument).store(7, std::sync::atomic::Ordering::SeqCst);
        3
    }
    let shared = map(PAGE)?;
    let pid = vfork_run(body, shared)?;
    // The parent goes on only now.
    equal(word(shared).load(std::sync::atomic::Ordering::SeqCst), 7)?;
    equal(libc::WEXITSTATUS(wait(pid)?), 3)
}

fn vfork_child_shares_memory() -> Outcome {
    extern "C" fn body(argument: usize) -> i32 {
        poke(argument, 42);
        0
    }
    let place = map(PAGE)?;
    let pid = vfork_run(body, place)?;
    equal(peek(place), 42)?;
    equal(wait(pid)?, 0)
}

fn vfork_holds_the_parents_signals() -> Outcome {
    extern "C" fn body(argument: usize) -> i32 {
        let parent = sys!(SYS_getppid).unwrap_or(0);
        let _ = sys!(SYS_kill, parent, libc::SIGUSR1);
        for _ in 0..20 {
            nap();
        }
        // Not yet delivered: the handler would have counted.
        word(argument).store(hits(libc::SIGUSR1) + 1, std::sync::atomic::Ordering::SeqCst);
        0
    }
    catch(libc::SIGUSR1, 0)?;
    let shared = map(PAGE)?;
    let pid = vfork_run(body, shared)?;
    equal(word(shared).load(std::sync::atomic::Ordering::SeqCst), 1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(wait(pid)?, 0)
}

fn vfork_parent_goes_on_at_exec() -> Outcome {
    extern "C" fn body(argument: usize) -> i32 {
        let _ = sys!(SYS_dup3, argument, 1, 0);
        let program = c"/proc/self/exe";
        let arguments: [*const libc::c_char; 3] =
            [program.as_ptr(), c"--list".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, program, &arguments, 0);
        127
    }
    // The program is stuck writing to a full pipe: the parent goes on all the same.
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    sys!(SYS_fcntl, write_end, libc::F_SETPIPE_SZ, 4096)?;
    let pid = vfork_run(body, write_end as usize)?;
    equal(wait_with(pid, libc::WNOHANG)?, 0)?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)?;
    close(read_end)?;
    Ok(())
}

fn execveat_by_descriptor() -> Outcome {
    let fd = open(c"/proc/self/exe", libc::O_RDONLY | libc::O_PATH)?;
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let arguments: [*const libc::c_char; 4] = [
            c"name".as_ptr(),
            c"no-such-case".as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execveat, fd, c"", &arguments, 0, libc::AT_EMPTY_PATH);
        127
    })?;
    close(write_end)?;
    let said = String::from_utf8_lossy(&read_some(read_end)?).into_owned();
    equal(said.as_str(), "0 passed, 0 failed\n")?;
    equal(wait(pid)?, 0)
}

fn execveat_refuses_nonsense() -> Outcome {
    let exec =
        |dir: i32, path: &std::ffi::CStr, flags: i32| sys!(SYS_execveat, dir, path, 0, 0, flags);
    fails(exec(999, c"x", 0), libc::EBADF)?;
    fails(exec(libc::AT_FDCWD, c"", 0), libc::ENOENT)?;
    fails(exec(libc::AT_FDCWD, c"missing", 0), libc::ENOENT)?;
    fails(
        exec(libc::AT_FDCWD, c"/proc/self/exe", 1 << 20),
        libc::EINVAL,
    )?;
    fails(
        exec(libc::AT_FDCWD, c"/proc/self/exe", libc::AT_SYMLINK_NOFOLLOW),
        libc::ELOOP,
    )?;
    std::fs::write("text", "no program\n")?;
    fails(exec(libc::AT_FDCWD, c"text", 0), libc::EACCES)?;
    sys!(SYS_chmod, c"text", 0o755)?;
    fails(exec(libc::AT_FDCWD, c"text", 0), libc::ENOEXEC)?;
    fails(exec(libc::AT_FDCWD, c"/", 0), libc::EACCES)
}

fn pivot_root_refuses_nonsense() -> Outcome {
    fails(sys!(SYS_pivot_root, c"missing", c"missing"), libc::ENOENT)?;
    std::fs::create_dir("new")?;
    std::fs::write("file", "")?;
    fails(sys!(SYS_pivot_root, c"file", c"file"), libc::ENOTDIR)?;
    // Not a mount point.
    fails(sys!(SYS_pivot_root, c"new", c"new"), libc::EINVAL)?;
    become_user()?;
    fails(sys!(SYS_pivot_root, c"new", c"new"), libc::EPERM)
}

fn statfs_names_the_file_systems() -> Outcome {
    // The two C libraries do not agree on the type of these numbers.
    let magic = |path: &std::ffi::CStr| -> Sys<(u64, u64)> {
        let (mut by_path, mut by_fd) = (zeroed::<libc::statfs>(), zeroed::<libc::statfs>());
        sys!(SYS_statfs, path, &mut by_path)?;
        let fd = open(path, libc::O_RDONLY)?;
        sys!(SYS_fstatfs, fd, &mut by_fd)?;
        close(fd)?;
        Ok((by_path.f_type as u64, by_fd.f_type as u64))
    };
    equal(magic(c"/proc")?, (0x9fa0, 0x9fa0))?;
    equal(magic(c"/sys")?, (0x6265_6572, 0x6265_6572))?;
    equal(magic(c"/dev/pts")?, (0x1cd1, 0x1cd1))?;
    equal(magic(c".")?, (0x0102_1994, 0x0102_1994))?;
    fails(magic(c"missing"), libc::ENOENT)
}
