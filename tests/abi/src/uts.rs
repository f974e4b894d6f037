//! UTS namespaces: who sees which name of the host, and the files that name a namespace. Every case changes names only in a
//! namespace of its own.

use libc::{
    CLONE_NEWNET, CLONE_NEWUTS, EACCES, EBADF, EINVAL, ENOENT, ENOTTY, EPERM, ESPIPE, ESRCH,
};

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::probe::after_exec;
use crate::sys::*;
use crate::sysv::sleeper;

pub const CASES: &[Case] = cases![
    unshare_copies_the_names,
    changes_stay_in_their_namespace,
    clone_gives_the_child_a_copy,
    clone3_gives_the_child_a_copy,
    children_and_programs_stay_in_the_namespace,
    threads_are_in_namespaces_of_their_own,
    proc_sys_shows_the_readers_names,
    privilege_is_needed,
    unshare_that_fails_unshares_nothing,
    links_tell_namespaces_apart,
    links_of_strangers_are_eacces,
    links_of_ended_tasks_lead_nowhere,
    ns_directory_is_listed,
    setns_goes_back_by_a_file,
    setns_follows_a_process_by_its_pidfd,
    setns_of_bad_arguments,
    setns_of_ended_processes_is_esrch,
    file_of_a_namespace_has_its_attributes,
    file_of_a_namespace_is_not_content,
    file_of_a_namespace_answers_its_kind,
    file_keeps_the_namespace,
    mount_keeps_the_namespace,
];

fn unshare() -> Sys {
    sys!(SYS_unshare, CLONE_NEWUTS)
}

fn setns(fd: i32, kinds: i32) -> Sys {
    sys!(SYS_setns, fd, kinds)
}

fn set_hostname(name: &str) -> Sys {
    sys!(SYS_sethostname, name.as_ptr(), name.len())
}

fn set_domainname(name: &str) -> Sys {
    sys!(SYS_setdomainname, name.as_ptr(), name.len())
}

fn text(field: &[libc::c_char]) -> String {
    let bytes = field.iter().map(|byte| *byte as u8);
    let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&name).into_owned()
}

/// The host's and the domain's name.
fn names() -> Sys<(String, String)> {
    let mut names = zeroed::<libc::utsname>();
    sys!(SYS_uname, &mut names)?;
    let names = std::hint::black_box(names);
    Ok((text(&names.nodename), text(&names.domainname)))
}

fn hostname() -> Sys<String> {
    names().map(|(host, _)| host)
}

fn link_of(who: &str) -> Outcome<String> {
    let path = std::fs::read_link(format!("/proc/{who}/ns/uts"))?;
    Ok(path.to_string_lossy().into_owned())
}

fn open_link(who: &str) -> Sys<i32> {
    open(&c_string(&format!("/proc/{who}/ns/uts")), libc::O_RDONLY)
}

fn unshare_copies_the_names() -> Outcome {
    unshare()?;
    set_hostname("first")?;
    set_domainname("domain")?;
    let before = link_of("self")?;
    unshare()?;
    check(link_of("self")? != before, "the namespace is the same")?;
    equal(names()?, ("first".to_owned(), "domain".to_owned()))
}

fn changes_stay_in_their_namespace() -> Outcome {
    let outside = names()?;
    within(|| {
        unshare()?;
        set_hostname("inner")?;
        set_domainname("inner-domain")?;
        equal(names()?, ("inner".to_owned(), "inner-domain".to_owned()))
    })?;
    equal(names()?, outside)
}

/// What a child must find that has a namespace of its own, in which it changes the name.
fn child_with_a_copy(own: &str) -> i32 {
    let test = || -> Outcome {
        equal(hostname()?, "parents")?;
        check(link_of("self")? != own, "the namespace is the same")?;
        set_hostname("childs")?;
        Ok(())
    };
    i32::from(test().is_err())
}

fn clone_gives_the_child_a_copy() -> Outcome {
    unshare()?;
    set_hostname("parents")?;
    let own = link_of("self")?;
    let pid = match sys!(SYS_clone, CLONE_NEWUTS | libc::SIGCHLD, 0, 0, 0, 0)? {
        0 => exit(child_with_a_copy(&own)),
        pid => pid as i32,
    };
    equal(wait(pid)?, 0)?;
    equal(hostname()?, "parents")?;
    equal(link_of("self")?, own)
}

fn clone3_gives_the_child_a_copy() -> Outcome {
    unshare()?;
    set_hostname("parents")?;
    let own = link_of("self")?;
    let mut args = [0_u64; 11];
    (args[0], args[4]) = (CLONE_NEWUTS as u64, libc::SIGCHLD as u64);
    let pid = match sys!(SYS_clone3, &args, size_of_val(&args))? {
        0 => exit(child_with_a_copy(&own)),
        pid => pid as i32,
    };
    equal(wait(pid)?, 0)?;
    equal(hostname()?, "parents")
}

fn children_and_programs_stay_in_the_namespace() -> Outcome {
    unshare()?;
    let own = link_of("self")?;
    within(|| {
        set_hostname("by-the-child")?;
        equal(link_of("self")?, own.clone())
    })?;
    equal(hostname()?, "by-the-child")?;
    let values = after_exec(&["hostname"], || {
        unshare()?;
        set_hostname("before-exec")?;
        Ok(())
    })?;
    equal(values, ["before-exec"])
}

fn threads_are_in_namespaces_of_their_own() -> Outcome {
    let outside = hostname()?;
    let own = link_of("thread-self")?;
    let other = std::thread::spawn(move || -> Outcome {
        unshare()?;
        set_hostname("threads")?;
        let mine = link_of("thread-self")?;
        check(mine != own, "the namespace is the other thread's")?;
        // The process's is that of its first thread.
        equal(link_of("self")?, own)?;
        let tid = sys!(SYS_gettid)?;
        equal(link_of(&format!("self/task/{tid}"))?, mine)?;
        equal(hostname()?, "threads")
    });
    other.join().map_err(|_| failure("a panic"))??;
    equal(hostname()?, outside)?;
    // A new thread is where its maker is; with CLONE_NEWUTS it is not.
    unshare()?;
    set_hostname("makers")?;
    extern "C" fn renames(_: *mut libc::c_void) -> i32 {
        let _ = set_hostname("another");
        0
    }
    await_word(thread(renames, 0)?, 0);
    equal(hostname()?, "another")?;
    set_hostname("makers")?;
    let ended = map(PAGE)?;
    word(ended).store(1, std::sync::atomic::Ordering::SeqCst);
    let flags = THREAD | CLONE_NEWUTS | libc::CLONE_CHILD_CLEARTID;
    clone_run(flags, renames, 0, (0, ended))?;
    await_word(word(ended), 0);
    equal(hostname()?, "makers")
}

fn proc_sys_shows_the_readers_names() -> Outcome {
    const HOST: &str = "/proc/sys/kernel/hostname";
    let outside = text_of(HOST)?;
    let shared = std::fs::File::open(HOST)?;
    within(|| {
        unshare()?;
        std::fs::write(HOST, "written\n")?;
        std::fs::write("/proc/sys/kernel/domainname", "domain")?;
        equal(names()?, ("written".to_owned(), "domain".to_owned()))?;
        equal(text_of(HOST)?, "written\n")?;
        // Who reads counts, not who opened.
        equal(std::io::read_to_string(&shared)?, "written\n")
    })?;
    equal(text_of(HOST)?, outside)
}

fn privilege_is_needed() -> Outcome {
    let own = open_link("self")?;
    within(|| {
        become_user()?;
        let before = link_of("self")?;
        fails(unshare(), EPERM)?;
        fails(
            sys!(SYS_clone, CLONE_NEWUTS | libc::SIGCHLD, 0, 0, 0, 0),
            EPERM,
        )?;
        let mut args = [0_u64; 11];
        (args[0], args[4]) = (CLONE_NEWUTS as u64, libc::SIGCHLD as u64);
        fails(sys!(SYS_clone3, &args, size_of_val(&args)), EPERM)?;
        fails(setns(own, 0), EPERM)?;
        fails(setns(own, CLONE_NEWUTS), EPERM)?;
        fails(setns(own, CLONE_NEWNET), EINVAL)?;
        let pidfd = sys!(SYS_pidfd_open, getpid(), 0)? as i32;
        fails(setns(pidfd, CLONE_NEWUTS), EPERM)?;
        equal(link_of("self")?, before)
    })
}

fn unshare_that_fails_unshares_nothing() -> Outcome {
    extern "C" fn body(_: *mut libc::c_void) -> i32 {
        if become_user().is_err() {
            return 1;
        }
        let flags = libc::CLONE_FS | libc::CLONE_FILES | CLONE_NEWUTS;
        let refused = sys!(SYS_unshare, flags) == Err(Errno(EPERM));
        let moved = sys!(SYS_chdir, c"/").is_ok();
        i32::from(!refused || !moved)
    }
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_FS | libc::SIGCHLD;
    let pid = clone_run(flags, body, 0, (0, 0))?;
    equal(wait(pid)?, 0)?;
    // The folder is still one for both.
    equal(std::env::current_dir()?, std::path::PathBuf::from("/"))
}

fn links_tell_namespaces_apart() -> Outcome {
    let own = link_of("self")?;
    let number = own
        .strip_prefix("uts:[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|number| number.parse::<u32>().ok());
    let number = some(number, "the link has another form")?;
    // Cases start in the first namespace.
    equal(number, 0xefff_fffe)?;
    equal(link_of("1")?, own.clone())?;
    equal(link_of(&format!("{}", getpid()))?, own.clone())?;
    let child = sleeper(|| sys!(SYS_pause))?;
    equal(link_of(&child.to_string())?, own.clone())?;
    let apart = sleeper(|| {
        unshare()?;
        sys!(SYS_pause)
    })?;
    let theirs = link_of(&apart.to_string())?;
    check(theirs != own, "the namespaces are one")?;
    check(
        theirs.starts_with("uts:[40265"),
        "the number is no dynamic one",
    )?;
    unshare()?;
    check(link_of("self")? != theirs, "the namespaces are one")?;
    for pid in [child, apart] {
        sys!(SYS_kill, pid, libc::SIGKILL)?;
        wait(pid)?;
    }
    Ok(())
}

fn links_of_strangers_are_eacces() -> Outcome {
    let child = sleeper(|| sys!(SYS_pause))?;
    let path = c_string(&format!("/proc/{child}/ns/uts"));
    within(|| {
        become_user()?;
        let mut bytes = [0_u8; 64];
        fails(
            sys!(SYS_readlink, path.as_c_str(), &mut bytes, bytes.len()),
            EACCES,
        )?;
        fails(open(&path, libc::O_RDONLY), EACCES)?;
        // The link itself may be seen, the names of the others not.
        equal(lstat(&path)?.st_mode, libc::S_IFLNK | 0o777)?;
        let folder = c_string(&format!("/proc/{child}/ns"));
        fails(open(&folder, libc::O_RDONLY), EACCES)
    })?;
    sys!(SYS_kill, child, libc::SIGKILL)?;
    wait(child)?;
    Ok(())
}

fn links_of_ended_tasks_lead_nowhere() -> Outcome {
    let child = fork(|| 0)?;
    let folder = c_string(&format!("/proc/{child}/ns"));
    let folder = open(&folder, libc::O_RDONLY)?;
    await_state(child, "Z")?;
    let mut bytes = [0_u8; 64];
    let mut link =
        |dir: i32, name: &std::ffi::CStr| sys!(SYS_readlinkat, dir, name, &mut bytes, bytes.len());
    fails(link(folder, c"uts"), ENOENT)?;
    fails(open_link(&child.to_string()), ENOENT)?;
    wait(child)?;
    fails(link(folder, c"uts"), ENOENT)
}

fn ns_directory_is_listed() -> Outcome {
    let entries: Vec<_> = std::fs::read_dir("/proc/self/ns")?.flatten().collect();
    let uts = entries.iter().find(|entry| entry.file_name() == "uts");
    let uts = some(uts, "there is no uts")?;
    check(uts.file_type()?.is_symlink(), "it is no link")?;
    equal(stat(c"/proc/self/ns")?.st_mode, libc::S_IFDIR | 0o511)?;
    equal(
        stat(c"/proc/thread-self/ns")?.st_mode,
        libc::S_IFDIR | 0o511,
    )?;
    equal(lstat(c"/proc/self/ns/uts")?.st_size, 0)?;
    fails(lstat(c"/proc/self/ns/nothing"), ENOENT)
}

fn setns_goes_back_by_a_file() -> Outcome {
    let (outside, own) = (names()?, link_of("self")?);
    let fd = open_link("self")?;
    for kinds in [0, CLONE_NEWUTS] {
        unshare()?;
        set_hostname("inner")?;
        check(link_of("self")? != own, "the namespace is the same")?;
        setns(fd, kinds)?;
        equal(link_of("self")?, own.clone())?;
        equal(names()?, outside.clone())?;
    }
    // To where it is, too.
    setns(fd, 0)?;
    equal(link_of("self")?, own)
}

fn setns_follows_a_process_by_its_pidfd() -> Outcome {
    let child = sleeper(|| {
        unshare()?;
        set_hostname("childs")?;
        sys!(SYS_pause)
    })?;
    let theirs = link_of(&child.to_string())?;
    let fd = sys!(SYS_pidfd_open, child, 0)? as i32;
    fails(setns(fd, 0), EINVAL)?;
    fails(setns(fd, libc::CLONE_FS), EINVAL)?;
    fails(setns(fd, CLONE_NEWUTS | libc::CLONE_FS), EINVAL)?;
    setns(fd, CLONE_NEWUTS)?;
    equal(link_of("self")?, theirs)?;
    equal(hostname()?, "childs")?;
    sys!(SYS_kill, child, libc::SIGKILL)?;
    wait(child)?;
    Ok(())
}

fn setns_of_bad_arguments() -> Outcome {
    let own = open_link("self")?;
    fails(setns(-1, 0), EBADF)?;
    fails(setns(99, CLONE_NEWUTS), EBADF)?;
    fails(setns(own, CLONE_NEWNET), EINVAL)?;
    fails(setns(own, libc::CLONE_FS), EINVAL)?;
    fails(setns(own, CLONE_NEWUTS | CLONE_NEWNET), EINVAL)?;
    let file = file_with(c"file", b"")?;
    fails(setns(file, 0), EINVAL)?;
    fails(setns(file, CLONE_NEWUTS), EINVAL)?;
    let folder = open(&c_string("/proc/self"), libc::O_RDONLY)?;
    fails(setns(folder, CLONE_NEWUTS), EINVAL)?;
    let place = open(c"/proc/self/ns/uts", libc::O_PATH)?;
    fails(setns(place, CLONE_NEWUTS), EBADF)
}

fn setns_of_ended_processes_is_esrch() -> Outcome {
    let child = fork(|| 0)?;
    let fd = sys!(SYS_pidfd_open, child, 0)? as i32;
    await_state(child, "Z")?;
    fails(setns(fd, CLONE_NEWUTS), ESRCH)?;
    within(|| {
        become_user()?;
        fails(setns(fd, CLONE_NEWUTS), EPERM)
    })?;
    wait(child)?;
    fails(setns(fd, CLONE_NEWUTS), ESRCH)?;
    fails(setns(fd, 0), EINVAL)
}

fn file_of_a_namespace_has_its_attributes() -> Outcome {
    unshare()?;
    let link = link_of("self")?;
    let fd = open_link("self")?;
    let seen = fstat(fd)?;
    equal(link.clone(), format!("uts:[{}]", seen.st_ino))?;
    equal(seen.st_mode, libc::S_IFREG | 0o444)?;
    equal((seen.st_uid, seen.st_gid, seen.st_size), (0, 0, 0))?;
    equal((seen.st_nlink, seen.st_blksize), (1, 4096))?;
    let other = stat(c"/proc/thread-self/ns/uts")?;
    equal((other.st_dev, other.st_ino), (seen.st_dev, seen.st_ino))?;
    // One file while it is open: as old as then.
    equal(
        (other.st_ctime, other.st_ctime_nsec),
        (seen.st_ctime, seen.st_ctime_nsec),
    )?;
    let mut system = zeroed::<libc::statfs>();
    sys!(SYS_fstatfs, fd, &mut system)?;
    let system = std::hint::black_box(system);
    equal(system.f_type, 0x6e73_6673)?;
    equal((system.f_bsize, system.f_namelen), (4096, 255))?;
    let shown = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    equal(shown.to_string_lossy().into_owned(), link)
}

fn file_of_a_namespace_is_not_content() -> Outcome {
    let path = c"/proc/self/ns/uts";
    let fd = open(path, libc::O_RDONLY)?;
    fails(read(fd, &mut [0; 8]), EINVAL)?;
    fails(sys!(SYS_lseek, fd, 0, 0), ESPIPE)?;
    fails(open(path, libc::O_RDWR), EPERM)?;
    fails(open(path, libc::O_WRONLY | libc::O_TRUNC), EPERM)?;
    fails(sys!(SYS_fchmod, fd, 0o600), EPERM)?;
    fails(open(path, libc::O_RDONLY | libc::O_NOFOLLOW), libc::ELOOP)?;
    // By the descriptor's own link it opens again.
    let again = open(&c_string(&format!("/proc/self/fd/{fd}")), libc::O_RDONLY)?;
    equal(fstat(again)?.st_ino, fstat(fd)?.st_ino)
}

fn file_of_a_namespace_answers_its_kind() -> Outcome {
    let fd = open_link("self")?;
    equal(sys!(SYS_ioctl, fd, 0xb703, 0)?, CLONE_NEWUTS as usize)?;
    fails(sys!(SYS_ioctl, fd, 0xb702, 0), EINVAL)?;
    fails(sys!(SYS_ioctl, fd, 0xb704, 0), EINVAL)?;
    fails(sys!(SYS_ioctl, fd, 0xb7ff, 0), ENOTTY)
}

fn file_keeps_the_namespace() -> Outcome {
    let (hold, release) = pipe()?;
    let child = sleeper(|| {
        unshare()?;
        set_hostname("kept")?;
        close(release)?;
        read_some(hold).map(|_| 0)
    })?;
    let theirs = link_of(&child.to_string())?;
    let fd = open_link(&child.to_string())?;
    close(release)?;
    equal(wait(child)?, 0)?;
    let copy = sys!(SYS_dup, fd)? as i32;
    close(fd)?;
    setns(copy, CLONE_NEWUTS)?;
    close(copy)?;
    equal(hostname()?, "kept")?;
    equal(link_of("self")?, theirs)
}

fn mount_keeps_the_namespace() -> Outcome {
    let bind =
        |from: &std::ffi::CStr, to: &std::ffi::CStr| sys!(SYS_mount, from, to, 0, libc::MS_BIND, 0);
    file_with(c"uts", b"")?;
    let before = open_link("self")?;
    unshare()?;
    set_hostname("mounted")?;
    let theirs = link_of("self")?;
    bind(c"/proc/self/ns/uts", c"uts")?;
    setns(before, 0)?;
    let test = || -> Outcome {
        let fd = open(c"uts", libc::O_RDONLY)?;
        equal(format!("uts:[{}]", fstat(fd)?.st_ino), theirs.clone())?;
        let shown = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
        check(shown.ends_with("uts"), "the file shows no path")?;
        let mounts = text_of("/proc/self/mountinfo")?;
        let line = mounts.lines().find(|line| line.contains(&theirs));
        let line = some(line, "mountinfo does not name the namespace")?;
        check(line.contains("/uts rw"), "mountinfo shows another place")?;
        check(
            line.ends_with(" - nsfs nsfs rw"),
            "mountinfo shows another kind",
        )?;
        setns(fd, CLONE_NEWUTS)?;
        close(fd)?;
        equal(hostname()?, "mounted")?;
        setns(before, 0)?;
        Ok(())
    };
    let outcome = test();
    sys!(SYS_umount2, c"uts", 0)?;
    outcome?;
    // No other file without a place can be bound.
    let (read_end, _) = pipe()?;
    let pipe = c_string(&format!("/proc/self/fd/{read_end}"));
    fails(bind(&pipe, c"uts"), EINVAL)
}
