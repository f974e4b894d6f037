//! Where a dump goes: files by `core_pattern`, programs at the end of a pipe, and what forbids it.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_limit_of_zero_forbids_files,
    a_limit_below_a_page_forbids_files,
    a_limit_cuts_the_file,
    the_file_is_private,
    an_existing_file_is_replaced,
    links_are_not_followed,
    folders_are_in_the_way,
    the_umask_counts,
    the_pattern_names_the_file,
    unknown_letters_are_dropped,
    names_with_slashes_stay_names,
    the_number_is_added_on_request,
    a_missing_folder_means_no_dump,
    the_pattern_is_kept_as_written,
    long_patterns_are_cut,
    programs_may_read_the_dump,
    programs_are_told_by_arguments,
    programs_run_as_root_without_environment,
    programs_have_no_filters,
    a_limit_of_zero_allows_programs,
    a_limit_of_one_forbids_programs,
    missing_programs_mean_no_dump,
    programs_that_do_not_read_do_no_harm,
    programs_may_look_at_the_process,
    too_many_programs_mean_no_dump,
    undumpable_processes_leave_nothing,
    a_change_of_user_forbids_dumps,
    mode_two_dumps_as_root_to_paths_alone,
    suid_dumpable_has_three_values,
];

const PATTERN: &str = "kernel/core_pattern";

fn a_limit_of_zero_forbids_files() -> Outcome {
    let pid = fork(|| {
        let _ = limit_core(0);
        die_with(0)
    })?;
    let status = wait(pid)?;
    equal(status, libc::SIGILL)?;
    check(!exists("core"), "there is a file")
}

fn a_limit_below_a_page_forbids_files() -> Outcome {
    let status = status_of(|| {
        let _ = limit_core(4095);
        die_with(0)
    })?;
    equal(status, libc::SIGILL)?;
    check(!exists("core"), "there is a file")
}

fn a_limit_cuts_the_file() -> Outcome {
    let core = dump_of(|| {
        let _ = limit_core(16384);
        die_with(0)
    })?;
    // What was never touched is a hole, and a hole costs nothing.
    let written = stat(c"core")?.st_blocks * 512;
    check(written <= 16384, "too much is written")?;
    // What is told at the beginning is all there.
    check(core.loads().len() > 3, "few pieces")
}

fn the_file_is_private() -> Outcome {
    dump_of(|| die_with(0))?;
    let stat = stat(c"core")?;
    equal(stat.st_mode, libc::S_IFREG | 0o600)?;
    equal((stat.st_uid, stat.st_gid), (0, 0))
}

fn an_existing_file_is_replaced() -> Outcome {
    std::fs::write("core", "old")?;
    sys!(SYS_link, c"core", c"kept")?;
    sys!(SYS_chmod, c"core", 0o777)?;
    dump_of(|| die_with(0))?;
    equal(text_of("kept")?.as_str(), "old")?;
    equal(stat(c"core")?.st_mode & 0o777, 0o600)
}

fn links_are_not_followed() -> Outcome {
    std::fs::write("victim", "old")?;
    sys!(SYS_symlink, c"victim", c"core")?;
    dump_of(|| die_with(0))?;
    equal(text_of("victim")?.as_str(), "old")?;
    equal(lstat(c"core")?.st_mode & libc::S_IFMT, libc::S_IFREG)
}

fn folders_are_in_the_way() -> Outcome {
    sys!(SYS_mkdir, c"core", 0o777)?;
    equal(status_of(|| die_with(0))?, libc::SIGILL)
}

fn the_umask_counts() -> Outcome {
    let status = status_of(|| {
        let _ = sys!(SYS_umask, 0o777);
        die_with(0)
    })?;
    equal(status, libc::SIGILL)?;
    // A file whose owner may not write is not written.
    check(
        !exists("core") || stat(c"core")?.st_size == 0,
        "it is written",
    )
}

/// The names of the case's folder after a process died with this pattern.
fn names_after(settings: &[(&str, &str)], body: fn()) -> Outcome<Vec<String>> {
    with_settings(settings, || {
        status_of(body)?;
        Ok(())
    })?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(".")? {
        let entry = entry?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn die_named() {
    let _ = sys!(SYS_setresgid, 7, 7, 7);
    let _ = sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    let _ = sys!(SYS_prctl, libc::PR_SET_NAME, c"the name", 0, 0, 0);
    let _ = std::fs::write("pid", format!("{}", getpid()));
    die_with(0)
}

fn the_pattern_names_the_file() -> Outcome {
    sys!(SYS_chmod, c".", 0o777)?;
    let names = names_after(&[(PATTERN, "c-%p-%P-%i-%I-%u-%g-%s-%d-%e-%c%%")], die_named)?;
    let pid = text_of("pid")?;
    let limit = u64::MAX;
    let want = format!("c-{pid}-{pid}-{pid}-{pid}-0-7-4-1-the name-{limit}%");
    equal(names, [want, "pid".to_owned()])
}

fn unknown_letters_are_dropped() -> Outcome {
    let names = names_after(&[(PATTERN, "c%Zo%xre%")], || die_with(0))?;
    equal(names, ["core"])
}

fn names_with_slashes_stay_names() -> Outcome {
    fn body() {
        let _ = sys!(SYS_prctl, libc::PR_SET_NAME, c"../../x", 0, 0, 0);
        die_with(0)
    }
    equal(names_after(&[(PATTERN, "%e")], body)?, ["..!..!x"])?;
    fn dots() {
        let _ = sys!(SYS_prctl, libc::PR_SET_NAME, c"..", 0, 0, 0);
        die_with(0)
    }
    equal(names_after(&[(PATTERN, "%e")], dots)?, ["!.", "..!..!x"])?;
    let exe = std::fs::read_link("/proc/self/exe")?;
    let exe = exe.to_string_lossy().replace('/', "!");
    let names = names_after(&[(PATTERN, "E%E")], || die_with(0))?;
    check(
        names.contains(&format!("E{exe}")),
        "no file by the program's path",
    )
}

fn the_number_is_added_on_request() -> Outcome {
    let settings = [(PATTERN, "x"), ("kernel/core_uses_pid", "1")];
    let names = names_after(&settings, die_named)?;
    let pid = text_of("pid")?;
    equal(names, ["pid".to_owned(), format!("x.{pid}")])?;
    sys!(SYS_unlink, &*c_string(&format!("x.{pid}")))?;
    let settings = [(PATTERN, "y%p"), ("kernel/core_uses_pid", "1")];
    let names = names_after(&settings, die_named)?;
    let pid = text_of("pid")?;
    equal(names, ["pid".to_owned(), format!("y{pid}")])
}

fn a_missing_folder_means_no_dump() -> Outcome {
    with_settings(&[(PATTERN, "/nowhere/core")], || {
        equal(status_of(|| die_with(0))?, libc::SIGILL)
    })?;
    with_settings(&[(PATTERN, "\n")], || {
        equal(status_of(|| die_with(0))?, libc::SIGILL)
    })
}

fn the_pattern_is_kept_as_written() -> Outcome {
    with_settings(&[(PATTERN, "a b%%\nmore\n")], || {
        equal(
            text_of("/proc/sys/kernel/core_pattern")?.as_str(),
            "a b%%\n",
        )
    })
}

fn long_patterns_are_cut() -> Outcome {
    with_settings(&[(PATTERN, &"x".repeat(200))], || {
        let text = text_of("/proc/sys/kernel/core_pattern")?;
        equal(text.trim_end(), "x".repeat(127))
    })
}

/// A script in the case's folder, and settings that pipe dumps into it and wait for its end.
fn script(text: &str) -> Outcome<String> {
    std::fs::write(
        "script",
        format!("#!/bin/sh\ncd \"${{0%/*}}\" || exit\n{text}\n"),
    )?;
    sys!(SYS_chmod, c"script", 0o755)?;
    Ok(format!("|{}/script", cwd()?))
}

const WAITED: (&str, &str) = ("kernel/core_pipe_limit", "4");

fn programs_may_read_the_dump() -> Outcome {
    let script = script("/bin/cat > copy")?;
    with_settings(&[(PATTERN, &script), WAITED], || {
        let status = status_of(|| die_with(0x77))?;
        check(libc::WCOREDUMP(status), "no dump is told of")
    })?;
    check(!exists("core"), "there is a file as well")?;
    let core = Core::read("copy")?;
    equal(core.register(R12)?, 0x77)?;
    // A pipe has no holes: the file is as long as it says.
    let end = core
        .loads()
        .iter()
        .map(|load| load.offset + load.file_len)
        .max();
    equal(stat(c"copy")?.st_size as usize, end.unwrap_or(0))
}

fn programs_are_told_by_arguments() -> Outcome {
    let script = script("echo \"$#:$1:$2:$3\" > told; /bin/cat > copy")?;
    let pattern = format!("{script}  %e   p%p %%s");
    with_settings(&[(PATTERN, &pattern), WAITED], || {
        status_of(die_named)?;
        Ok(())
    })?;
    let pid = text_of("pid")?;
    equal(text_of("told")?, format!("3:the name:p{pid}:%s\n"))
}

fn programs_run_as_root_without_environment() -> Outcome {
    sys!(SYS_chmod, c".", 0o777)?;
    let script =
        script("id -u > told; /bin/pwd >> told; echo \"[$HOME]\" >> told; /bin/cat > copy")?;
    // Before the script changes its folder it is the root; what it says here is the case's.
    with_settings(&[(PATTERN, &script), WAITED], || {
        status_of(|| {
            let _ = become_user();
            let _ = sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
            die_with(0)
        })?;
        Ok(())
    })?;
    equal(text_of("told")?, format!("0\n{}\n[]\n", cwd()?))?;
    equal(stat(c"copy")?.st_uid, 0)
}

fn programs_have_no_filters() -> Outcome {
    use crate::seccomp::{KILL_PROCESS, install, no_new_privs, only};
    let script =
        script("/bin/grep -E 'Seccomp:|NoNewPrivs' /proc/self/status > told; /bin/cat > copy")?;
    with_settings(&[(PATTERN, &script), WAITED], || {
        let status = status_of(|| {
            let kept =
                no_new_privs().and_then(|_| install(&only(libc::SYS_execve as u32, KILL_PROCESS)));
            if kept.is_ok() {
                die_with(0)
            }
        })?;
        check(libc::WCOREDUMP(status), "no dump is told of")
    })?;
    equal(text_of("told")?.as_str(), "NoNewPrivs:\t0\nSeccomp:\t0\n")
}

fn a_limit_of_zero_allows_programs() -> Outcome {
    let script = script("/bin/cat > copy")?;
    with_settings(&[(PATTERN, &script), WAITED], || {
        let status = status_of(|| {
            let _ = limit_core(0);
            die_with(0)
        })?;
        check(libc::WCOREDUMP(status), "no dump is told of")
    })?;
    Core::read("copy")?;
    Ok(())
}

fn a_limit_of_one_forbids_programs() -> Outcome {
    let script = script("/bin/cat > copy")?;
    with_settings(&[(PATTERN, &script), WAITED], || {
        let status = status_of(|| {
            let _ = limit_core(1);
            die_with(0)
        })?;
        equal(status, libc::SIGILL)
    })?;
    check(!exists("copy"), "it runs")
}

fn missing_programs_mean_no_dump() -> Outcome {
    for pattern in ["|/nowhere/program", "|", "|/proc/version"] {
        with_settings(&[(PATTERN, pattern)], || {
            equal(status_of(|| die_with(0))?, libc::SIGILL)
        })?;
    }
    Ok(())
}

fn programs_that_do_not_read_do_no_harm() -> Outcome {
    for pattern in ["|/bin/true", "|/bin/false", "|/bin/head -c 10"] {
        with_settings(&[(PATTERN, pattern), WAITED], || {
            let status = status_of(|| {
                // More than a pipe holds.
                if let Ok(at) = map(1 << 20) {
                    (0..256).for_each(|page| poke(at + page * PAGE, 1));
                }
                die_with(0)
            })?;
            equal(libc::WTERMSIG(status), libc::SIGILL)
        })?;
    }
    Ok(())
}

fn programs_may_look_at_the_process() -> Outcome {
    let script =
        script("/bin/grep -E 'State|CoreDumping|Threads' /proc/$1/status > told; /bin/cat > copy")?;
    let pattern = format!("{script} %p");
    with_settings(&[(PATTERN, &pattern), WAITED], || {
        status_of(|| die_with(0))?;
        Ok(())
    })?;
    let told = text_of("told")?;
    check(told.contains("CoreDumping:\t1"), &told)?;
    check(told.contains("Threads:\t1"), &told)
}

fn too_many_programs_mean_no_dump() -> Outcome {
    // The first one's program dumps another process while it is counted.
    let script =
        script("/bin/sh -c 'kill -ILL $$' 2> /dev/null; echo $? > told; /bin/cat > copy.$1")?;
    let pattern = format!("{script} %p");
    with_settings(
        &[(PATTERN, &pattern), ("kernel/core_pipe_limit", "1")],
        || {
            let status = status_of(die_named)?;
            check(libc::WCOREDUMP(status), "no dump is told of")
        },
    )?;
    let copies = std::fs::read_dir(".")?;
    let copies = copies.filter(|entry| {
        let name = entry.as_ref().map(std::fs::DirEntry::file_name);
        name.is_ok_and(|name| name.to_string_lossy().starts_with("copy"))
    });
    equal(copies.count(), 1)
}

fn undumpable_processes_leave_nothing() -> Outcome {
    let status = status_of(|| {
        let _ = sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        die_with(0)
    })?;
    equal(status, libc::SIGILL)?;
    check(!exists("core"), "there is a file")
}

fn a_change_of_user_forbids_dumps() -> Outcome {
    sys!(SYS_chmod, c".", 0o777)?;
    let status = status_of(|| {
        let _ = become_user();
        die_with(0)
    })?;
    equal(status, libc::SIGILL)?;
    let status = status_of(|| {
        let _ = become_user();
        let _ = sys!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        die_with(0)
    })?;
    check(libc::WCOREDUMP(status), "no dump is told of")?;
    equal(stat(c"core")?.st_uid, 1000)
}

fn mode_two_dumps_as_root_to_paths_alone() -> Outcome {
    let path = format!("{}/suid", cwd()?);
    let body = || {
        let _ = become_user();
        die_with(0)
    };
    with_settings(&[("fs/suid_dumpable", "2")], || {
        equal(status_of(body)?, libc::SIGILL)
    })?;
    check(!exists("core"), "there is a file")?;
    with_settings(&[("fs/suid_dumpable", "2"), (PATTERN, &path)], || {
        let status = status_of(body)?;
        check(libc::WCOREDUMP(status), "no dump is told of")?;
        // A file that is there already is not replaced.
        equal(status_of(body)?, libc::SIGILL)
    })?;
    let stat = stat(c"suid")?;
    equal((stat.st_uid, stat.st_mode & 0o777), (0, 0o600))
}

fn suid_dumpable_has_three_values() -> Outcome {
    let path = "/proc/sys/fs/suid_dumpable";
    with_settings(&[("fs/suid_dumpable", "1")], || {
        equal(text_of(path)?.as_str(), "1\n")?;
        check(std::fs::write(path, "3").is_err(), "3 is taken")?;
        check(std::fs::write(path, "-1").is_err(), "-1 is taken")?;
        become_user()?;
        equal(sys!(SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0)?, 1)
    })
}
