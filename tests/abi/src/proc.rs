//! procfs: files of processes and of the system, links that jump, and who may look.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    self_names_the_reader,
    thread_self_names_the_thread,
    numbers_are_written_one_way,
    absent_process_is_enoent,
    nothing_can_be_made,
    stat_has_52_fields,
    stat_of_a_zombie_keeps_its_name,
    status_tells_ids_and_threads,
    statm_has_7_fields,
    cmdline_ends_in_nul,
    environ_is_what_exec_got,
    maps_show_this_code,
    maps_line_has_its_columns,
    exe_is_the_program,
    cwd_follows_chdir,
    fd_links_show_their_modes,
    fd_of_a_deleted_file_opens,
    fdinfo_tells_position_and_flags,
    comm_is_written_and_cut,
    task_lists_threads,
    limits_match_getrlimit,
    oom_score_adj_has_bounds,
    reads_at_offsets_agree,
    gone_process_is_esrch,
    environ_of_others_is_eacces,
    mode_of_a_process_file_stays,
    meminfo_adds_up,
    uptime_and_stat_parse,
    mounts_and_mountinfo_agree,
    io_counts_calls_and_bytes,
    io_of_children_and_threads,
    io_is_private,
    status_tells_numbers_in_the_namespace,
    sysctls_that_programs_read,
    hostname_is_written,
    truncation_is_no_error,
    size_is_zero,
    proc_lists_this_process,
    the_node_of_memory_is_told,
];

fn own(name: &str) -> Outcome<String> {
    text_of(&format!("/proc/self/{name}"))
}

/// The rest of the line of `status` that begins with `name` and a colon.
fn field(text: &str, name: &str) -> Outcome<String> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    some(line.map(|line| line.trim().to_owned()), name)
}

/// A child that waits to be killed.
fn with_child(body: impl FnOnce(i32) -> Outcome) -> Outcome {
    let pid = fork(|| {
        loop {
            let _ = call(libc::SYS_pause, &[]);
        }
    })?;
    let outcome = body(pid);
    call(libc::SYS_kill, &[pid.arg(), libc::SIGKILL.arg()])?;
    wait(pid)?;
    outcome
}

fn self_names_the_reader() -> Outcome {
    let target = fs::read_link("/proc/self")?;
    equal(target.to_string_lossy().into_owned(), getpid().to_string())
}

fn thread_self_names_the_thread() -> Outcome {
    let target = fs::read_link("/proc/thread-self")?;
    let pid = getpid();
    equal(
        target.to_string_lossy().into_owned(),
        format!("{pid}/task/{pid}"),
    )
}

fn numbers_are_written_one_way() -> Outcome {
    let pid = getpid();
    fails(
        stat(&c_string(&format!("/proc/0{pid}"))).map(drop),
        libc::ENOENT,
    )?;
    fails(
        stat(&c_string(&format!("/proc/+{pid}"))).map(drop),
        libc::ENOENT,
    )
}

fn absent_process_is_enoent() -> Outcome {
    fails(stat(c"/proc/4194304").map(drop), libc::ENOENT)?;
    fails(stat(c"/proc/0").map(drop), libc::ENOENT)
}

fn nothing_can_be_made() -> Outcome {
    let flags = libc::O_CREAT | libc::O_WRONLY;
    fails(open_mode(c"/proc/no-such-file", flags, 0o644), libc::ENOENT)
}

fn stat_has_52_fields() -> Outcome {
    let line = own("stat")?;
    let (start, rest) = some(line.rsplit_once(") "), "no name in stat")?;
    check(
        start.starts_with(&format!("{} (", getpid())),
        "pid and name",
    )?;
    let fields: Vec<&str> = rest.trim_end().split(' ').collect();
    equal(fields.len(), 50)?;
    equal(fields.first().copied(), Some("R"))?;
    equal(
        fields
            .iter()
            .skip(1)
            .all(|field| field.parse::<i128>().is_ok()),
        true,
    )
}

fn stat_of_a_zombie_keeps_its_name() -> Outcome {
    let pid = fork(|| 3)?;
    await_state(pid, "Z")?;
    let name = own("comm")?;
    equal(text_of(&format!("/proc/{pid}/comm"))?, name)?;
    equal(text_of(&format!("/proc/{pid}/cmdline"))?, String::new())?;
    equal(text_of(&format!("/proc/{pid}/maps"))?, String::new())?;
    let status = text_of(&format!("/proc/{pid}/status"))?;
    equal(field(&status, "State")?, "Z (zombie)".to_owned())?;
    check(!status.contains("VmSize"), "a zombie has no memory")?;
    let link = fs::read_link(format!("/proc/{pid}/exe"));
    equal(
        link.err().and_then(|error| error.raw_os_error()),
        Some(libc::ENOENT),
    )?;
    equal(wait(pid)?, 3 << 8)
}

fn status_tells_ids_and_threads() -> Outcome {
    let status = own("status")?;
    equal(field(&status, "Pid")?, getpid().to_string())?;
    equal(field(&status, "Tgid")?, getpid().to_string())?;
    equal(field(&status, "Threads")?, "1".to_owned())?;
    equal(field(&status, "Uid")?, "0\t0\t0\t0".to_owned())?;
    equal(field(&status, "State")?, "R (running)".to_owned())?;
    call(libc::SYS_umask, &[0o027.arg()])?;
    equal(field(&own("status")?, "Umask")?, "0027".to_owned())?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let status = own("status")?;
    let bit = format!("{:016x}", 1_u64 << (libc::SIGUSR1 - 1));
    equal(field(&status, "ShdPnd")?, bit)?;
    check(
        field(&status, "SigBlk")?.ends_with("200"),
        "SIGUSR1 is blocked",
    )
}

fn statm_has_7_fields() -> Outcome {
    let line = own("statm")?;
    let sizes: Vec<u64> = line
        .split_whitespace()
        .filter_map(|size| size.parse().ok())
        .collect();
    equal(sizes.len(), 7)?;
    check(
        sizes.first() >= sizes.get(1),
        "more is resident than mapped",
    )
}

fn cmdline_ends_in_nul() -> Outcome {
    let text = own("cmdline")?;
    check(text.ends_with('\0'), "no NUL at the end")?;
    let words: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let want: Vec<String> = std::env::args().collect();
    equal(words, want)
}

fn environ_is_what_exec_got() -> Outcome {
    let bytes = fs::read("/proc/self/environ")?;
    let count = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .count();
    equal(count, std::env::vars_os().count())
}

fn maps_show_this_code() -> Outcome {
    let here = maps_show_this_code as fn() -> Outcome as usize;
    let maps = own("maps")?;
    let line = maps.lines().find(|line| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let parse = |text| usize::from_str_radix(text, 16).unwrap_or(0);
        range.is_some_and(|(start, end)| (parse(start)..parse(end)).contains(&here))
    });
    let line = some(line, "this code is not in maps")?;
    check(line.contains(" r-xp "), "code is readable and executable")?;
    let exe = fs::read_link("/proc/self/exe")?;
    check(
        line.ends_with(&*exe.to_string_lossy()),
        "code is of the program",
    )
}

fn maps_line_has_its_columns() -> Outcome {
    let maps = own("maps")?;
    let named = some(
        maps.lines().find(|line| line.ends_with("[stack]")),
        "no stack",
    )?;
    equal(named.find('['), Some(73))?;
    let file = some(maps.lines().find(|line| line.contains('/')), "no file")?;
    equal(file.find('/'), Some(73))?;
    let page = map(4096)?;
    let maps = own("maps")?;
    let plain = maps.lines().find(|line| line.ends_with("00:00 0 "));
    check(
        plain.is_some() && page != 0,
        "anonymous memory ends in a space",
    )
}

fn exe_is_the_program() -> Outcome {
    let by_link = stat(c"/proc/self/exe")?;
    let link = fs::read_link("/proc/self/exe")?;
    let by_name = stat(&c_string(&link.to_string_lossy()))?;
    equal(
        (by_link.st_dev, by_link.st_ino),
        (by_name.st_dev, by_name.st_ino),
    )
}

fn cwd_follows_chdir() -> Outcome {
    call(libc::SYS_chdir, &[c"/proc".arg()])?;
    equal(
        fs::read_link("/proc/self/cwd")?
            .to_string_lossy()
            .into_owned(),
        "/proc".to_owned(),
    )?;
    equal(
        fs::read_link("/proc/self/root")?
            .to_string_lossy()
            .into_owned(),
        "/".to_owned(),
    )
}

fn fd_links_show_their_modes() -> Outcome {
    for (flags, mode) in [
        (libc::O_RDONLY, 0o120_500),
        (libc::O_WRONLY, 0o120_300),
        (libc::O_RDWR, 0o120_700),
    ] {
        let fd = open(c"/dev/null", flags)?;
        let link = lstat(&c_string(&format!("/proc/self/fd/{fd}")))?;
        equal((link.st_mode, link.st_size), (mode, 64))?;
        let target = fs::read_link(format!("/proc/self/fd/{fd}"))?;
        equal(
            target.to_string_lossy().into_owned(),
            "/dev/null".to_owned(),
        )?;
    }
    let (read_end, _) = pipe()?;
    let target = fs::read_link(format!("/proc/self/fd/{read_end}"))?;
    let ino = fstat(read_end)?.st_ino;
    equal(
        target.to_string_lossy().into_owned(),
        format!("pipe:[{ino}]"),
    )
}

fn fd_of_a_deleted_file_opens() -> Outcome {
    let fd = file_with(c"gone", b"still here")?;
    fs::remove_file("gone")?;
    let path = format!("/proc/self/fd/{fd}");
    let target = fs::read_link(&path)?;
    check(
        target.to_string_lossy().ends_with("/gone (deleted)"),
        "not told as deleted",
    )?;
    equal(text_of(&path)?, "still here".to_owned())
}

fn fdinfo_tells_position_and_flags() -> Outcome {
    let fd = file_with(c"f", b"0123456789")?;
    call(libc::SYS_lseek, &[fd.arg(), 7.arg(), libc::SEEK_SET.arg()])?;
    call(
        libc::SYS_fcntl,
        &[fd.arg(), libc::F_SETFD.arg(), libc::FD_CLOEXEC.arg()],
    )?;
    let info = text_of(&format!("/proc/self/fdinfo/{fd}"))?;
    equal(field(&info, "pos")?, "7".to_owned())?;
    let flags = u32::from_str_radix(&field(&info, "flags")?, 8).unwrap_or(0);
    equal(
        flags & libc::O_CLOEXEC.cast_unsigned(),
        libc::O_CLOEXEC.cast_unsigned(),
    )?;
    equal(field(&info, "ino")?, fstat(fd)?.st_ino.to_string())
}

fn comm_is_written_and_cut() -> Outcome {
    fs::write("/proc/self/comm", "a name that is too long")?;
    equal(own("comm")?, "a name that is \n".to_owned())?;
    let line = own("stat")?;
    check(line.contains("(a name that is ) R"), "stat shows it")?;
    with_child(|pid| {
        let error = fs::write(format!("/proc/{pid}/comm"), "x").err();
        equal(
            error.and_then(|error| error.raw_os_error()),
            Some(libc::EINVAL),
        )
    })
}

fn task_lists_threads() -> Outcome {
    let names: Vec<String> = fs::read_dir("/proc/self/task")?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    equal(names, vec![getpid().to_string()])?;
    equal(fs::metadata("/proc/self/task")?.nlink(), 3)?;
    equal(
        text_of(&format!("/proc/self/task/{}/comm", getpid()))?,
        own("comm")?,
    )
}

fn limits_match_getrlimit() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 123,
        rlim_max: 456,
    };
    let resource = libc::RLIMIT_NOFILE;
    let null = std::ptr::null_mut::<libc::rlimit>();
    call(
        libc::SYS_prlimit64,
        &[0.arg(), resource.arg(), (&limit).arg(), null.arg()],
    )?;
    let limits = own("limits")?;
    let line = some(
        limits
            .lines()
            .find(|line| line.starts_with("Max open files")),
        "no line",
    )?;
    equal(
        line,
        "Max open files            123                  456                  files     ",
    )
}

fn oom_score_adj_has_bounds() -> Outcome {
    fs::write("/proc/self/oom_score_adj", "17\n")?;
    equal(own("oom_score_adj")?, "17\n".to_owned())?;
    for bad in ["1001", "-1001", "x"] {
        let error = fs::write("/proc/self/oom_score_adj", bad).err();
        equal(
            error.and_then(|error| error.raw_os_error()),
            Some(libc::EINVAL),
        )?;
    }
    let score: i64 = own("oom_score")?.trim().parse().unwrap_or(-1);
    check((0..=2000).contains(&score), "the score is out of range")
}

fn reads_at_offsets_agree() -> Outcome {
    let fd = open(c"/proc/self/limits", libc::O_RDONLY)?;
    let mut pieces = Vec::new();
    loop {
        let mut bytes = [0; 7];
        match read(fd, &mut bytes)? {
            0 => break,
            len => pieces.extend_from_slice(bytes.get(..len).unwrap_or_default()),
        }
    }
    equal(
        String::from_utf8_lossy(&pieces).into_owned(),
        own("limits")?,
    )
}

fn gone_process_is_esrch() -> Outcome {
    let pid = fork(|| {
        let _ = call(libc::SYS_pause, &[]);
        0
    })?;
    let file = open(&c_string(&format!("/proc/{pid}/status")), libc::O_RDONLY)?;
    let dir = open(&c_string(&format!("/proc/{pid}")), libc::O_RDONLY)?;
    call(libc::SYS_kill, &[pid.arg(), libc::SIGKILL.arg()])?;
    wait(pid)?;
    fails(read_some(file), libc::ESRCH)?;
    let path = c"stat";
    let flags = libc::O_RDONLY;
    fails(
        call(libc::SYS_openat, &[dir.arg(), path.arg(), flags.arg()]),
        libc::ESRCH,
    )
}

fn environ_of_others_is_eacces() -> Outcome {
    let pid = getpid();
    let child = fork(|| {
        if become_user().is_err() {
            return 1;
        }
        let refused = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read(path).err().and_then(|error| error.raw_os_error()) == Some(libc::EACCES)
        };
        let link = fs::read_link(format!("/proc/{pid}/cwd"));
        let linked = link.err().and_then(|error| error.raw_os_error()) == Some(libc::EACCES);
        i32::from(!(refused("environ") && refused("maps") && linked)) * 2
    })?;
    equal(wait(child)?, 0)
}

fn mode_of_a_process_file_stays() -> Outcome {
    let permissions = fs::Permissions::from_mode(0o777);
    let error = fs::set_permissions("/proc/self/status", permissions).err();
    equal(
        error.and_then(|error| error.raw_os_error()),
        Some(libc::EPERM),
    )
}

fn meminfo_adds_up() -> Outcome {
    let text = text_of("/proc/meminfo")?;
    let kib = |name: &str| -> Outcome<u64> {
        let value = field(&text, name)?;
        let number = value
            .strip_suffix(" kB")
            .and_then(|number| number.parse().ok());
        some(number, name)
    };
    let (total, free) = (kib("MemTotal")?, kib("MemFree")?);
    check(
        free < total && kib("MemAvailable")? <= total,
        "more than there is",
    )?;
    check(
        kib("Cached")? < total && kib("SwapTotal")? >= kib("SwapFree")?,
        "more than there is",
    )
}

fn uptime_and_stat_parse() -> Outcome {
    let uptime = text_of("/proc/uptime")?;
    let words: Vec<f64> = uptime
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    equal(words.len(), 2)?;
    let stat = text_of("/proc/stat")?;
    let first = some(stat.lines().next(), "empty")?;
    check(
        first.starts_with("cpu  "),
        "the sum of all CPUs comes first",
    )?;
    equal(first.split_whitespace().count(), 11)?;
    for name in [
        "cpu0 ",
        "intr ",
        "ctxt ",
        "btime ",
        "processes ",
        "procs_running ",
    ] {
        check(stat.lines().any(|line| line.starts_with(name)), name)?;
    }
    Ok(())
}

fn mounts_and_mountinfo_agree() -> Outcome {
    let (mounts, info) = (own("mounts")?, own("mountinfo")?);
    let places: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    let same: Vec<_> = info
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    equal(&places, &same)?;
    check(places.contains(&"/proc"), "proc is mounted")?;
    check(
        info.lines().all(|line| line.contains(" - ")),
        "no separator",
    )
}

fn hostname_is_written() -> Outcome {
    let path = "/proc/sys/kernel/hostname";
    let before = text_of(path)?;
    fs::write(path, "an-oracle\n")?;
    let told = text_of(path);
    fs::write(path, &before)?;
    equal(told?, "an-oracle\n".to_owned())?;
    equal(text_of(path)?, before)
}

fn truncation_is_no_error() -> Outcome {
    let path = c"/proc/self/comm";
    let flags = libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY;
    let fd = open_mode(path, flags, 0o644)?;
    equal(write(fd, b"cut")?, 3)?;
    equal(own("comm")?, "cut\n".to_owned())
}

fn size_is_zero() -> Outcome {
    let status = stat(c"/proc/self/status")?;
    equal((status.st_mode, status.st_size), (libc::S_IFREG | 0o444, 0))?;
    equal(stat(c"/proc/meminfo")?.st_size, 0)
}

fn proc_lists_this_process() -> Outcome {
    let names: Vec<String> = fs::read_dir("/proc")?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    for name in [&getpid().to_string(), "self", "meminfo", "sys"] {
        check(names.iter().any(|other| other == name), name)?;
    }
    let numbers: Vec<i32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    check(numbers.is_sorted(), "processes are not in order")
}

/// The counts of `io`: rchar, wchar, syscr, syscw.
fn io_counts(path: &str) -> Outcome<[u64; 4]> {
    let text = text_of(path)?;
    let mut counts = [0; 4];
    for (slot, name) in counts.iter_mut().zip(["rchar", "wchar", "syscr", "syscw"]) {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        *slot = some(line.and_then(|line| line.parse().ok()), &text)?;
    }
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    equal(
        names.get(4..).unwrap_or_default(),
        ["read_bytes", "write_bytes", "cancelled_write_bytes"],
    )?;
    Ok(counts)
}

/// What `body` adds to the counts of its process; reading them adds too, and that is taken off.
fn io_of(body: impl FnOnce() -> Outcome) -> Outcome<[u64; 4]> {
    let path = "/proc/self/io";
    let first = io_counts(path)?;
    let second = io_counts(path)?;
    body()?;
    let third = io_counts(path)?;
    let mut added = [0; 4];
    for (index, slot) in added.iter_mut().enumerate() {
        let look = second[index] - first[index];
        *slot = third[index] - second[index] - look;
    }
    // The texts that are read may grow by some digits.
    Ok(added)
}

fn io_counts_calls_and_bytes() -> Outcome {
    let fd = file_with(c"f", &[7; 5000])?;
    let (r, w) = pipe()?;
    let mut bytes = [0; 3000];
    let added = io_of(|| {
        equal(read(fd, &mut bytes)?, 3000)?;
        equal(sys!(SYS_pread64, fd, bytes.as_mut_ptr(), 1000, 0)?, 1000)?;
        write(w, &bytes[..2000])?;
        equal(read(r, &mut bytes)?, 2000)?;
        // An end of file and an error are calls, too; a descriptor that cannot read is none.
        sys!(SYS_pread64, fd, bytes.as_mut_ptr(), 10, 9000)?;
        fails(sys!(SYS_read, fd, 8, 10), libc::EFAULT)?;
        fails(read(w, &mut bytes), libc::EBADF)
    })?;
    check((6000..6010).contains(&added[0]), &format!("{added:?}"))?;
    equal(added[1..].to_vec(), vec![2000, 5, 1])?;
    let (a, b) = {
        let mut fds = [0_i32; 2];
        sys!(
            SYS_socketpair,
            libc::AF_UNIX,
            libc::SOCK_STREAM,
            0,
            &mut fds
        )?;
        (fds[0], fds[1])
    };
    // Messages and splices are no reads and writes, sendfile is both.
    let added = io_of(|| {
        sys!(SYS_sendto, a, bytes.as_ptr(), 500, 0, 0, 0)?;
        sys!(SYS_recvfrom, b, bytes.as_mut_ptr(), 500, 0, 0, 0)?;
        sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
        equal(sys!(SYS_splice, fd, 0, w, 0, 700, 0)?, 700)?;
        equal(sys!(SYS_sendfile, a, fd, 0, 900)?, 900)
    })?;
    check((900..910).contains(&added[0]), &format!("{added:?}"))?;
    equal(added[1..].to_vec(), vec![900, 1, 1])
}

fn io_of_children_and_threads() -> Outcome {
    let (_, w) = pipe()?;
    let added = io_of(|| {
        let child = fork(|| {
            let _ = write(w, &[0; 1234]);
            0
        })?;
        equal(wait(child)?, 0)
    })?;
    equal((added[1], added[3]), (1234, 1))?;
    let before = io_counts("/proc/self/io")?;
    let own = io_counts("/proc/thread-self/io")?;
    extern "C" fn body(fd: *mut libc::c_void) -> i32 {
        let _ = sys!(SYS_write, fd as usize, c"text", 4);
        0
    }
    let word = thread(body, w as usize)?;
    await_word(word, 0);
    let after = io_counts("/proc/self/io")?;
    equal(after[1] - before[1], 4)?;
    equal(io_counts("/proc/thread-self/io")?[1], own[1])
}

fn io_is_private() -> Outcome {
    equal(stat(c"/proc/self/io")?.st_mode & 0o777, 0o400)?;
    let parent = getpid();
    within(|| {
        become_user()?;
        fails(
            open(&c_string(&format!("/proc/{parent}/io")), libc::O_RDONLY),
            libc::EACCES,
        )
    })
}

fn status_tells_numbers_in_the_namespace() -> Outcome {
    let status = text_of("/proc/self/status")?;
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        Ok::<_, Trouble>(some(line, name)?.trim().to_owned())
    };
    let pid = getpid().to_string();
    equal((value("NStgid:")?, value("NSpid:")?), (pid.clone(), pid))?;
    let group = sys!(SYS_getpgid, 0)?.to_string();
    let session = sys!(SYS_getsid, 0)?.to_string();
    equal((value("NSpgid:")?, value("NSsid:")?), (group, session))
}

fn sysctls_that_programs_read() -> Outcome {
    for (name, value) in [
        ("fs/overflowuid", "65534"),
        ("fs/overflowgid", "65534"),
        ("kernel/overflowuid", "65534"),
        ("kernel/overflowgid", "65534"),
        ("kernel/randomize_va_space", "2"),
        ("fs/lease-break-time", "45"),
        ("fs/leases-enable", "1"),
    ] {
        equal(text_of(&format!("/proc/sys/{name}"))?.trim(), value)?;
    }
    Ok(())
}

fn the_node_of_memory_is_told() -> Outcome {
    let status = text_of("/proc/self/status")?;
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.map(|line| line[name.len()..].to_owned())
    };
    equal(some(value("Mems_allowed_list:\t"), "no list")?, "0")?;
    let mask = some(value("Mems_allowed:\t"), "no mask")?;
    check(mask.ends_with(",00000001"), "another mask")?;
    let node = "/sys/devices/system/node";
    for name in ["online", "has_cpu", "has_memory"] {
        equal(text_of(&format!("{node}/{name}"))?, "0\n")?;
    }
    equal(text_of(&format!("{node}/node0/distance"))?, "10\n")?;
    let cpus = text_of("/sys/devices/system/cpu/online")?;
    equal(text_of(&format!("{node}/node0/cpulist"))?, cpus)?;
    let memory = text_of(&format!("{node}/node0/meminfo"))?;
    let total = memory.lines().next().unwrap_or_default().to_owned();
    check(total.starts_with("Node 0 MemTotal: "), "another first line")?;
    check(total.ends_with(" kB"), "another unit")
}
