//! Paths walked while others change the directories on the way.

use std::ffi::CStr;
use std::sync::atomic::Ordering;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    walks_find_what_stays_while_others_come_and_go,
    walks_find_one_of_two_names,
    walks_find_either_of_two_that_are_exchanged,
    walks_through_a_directory_that_is_renamed,
    walks_in_a_directory_that_is_removed,
];

const HERE: i32 = libc::AT_FDCWD;
const WALKS: u32 = 3000;

fn mkdir(path: &CStr) -> Sys {
    sys!(SYS_mkdirat, HERE, path, 0o755)
}

fn rename(from: &CStr, to: &CStr, flags: u32) -> Sys {
    sys!(SYS_renameat2, HERE, from, HERE, to, flags)
}

fn unlink(path: &CStr) -> Sys {
    sys!(SYS_unlinkat, HERE, path, 0)
}

/// Renames the one to the other, and back.
fn to_and_fro(round: u32) -> Sys {
    match round % 2 {
        0 => rename(c"d/one", c"d/two", 0),
        _ => rename(c"d/two", c"d/one", 0),
    }
}

/// Runs `change` with 0, 1, 2 and so on in a child until `walks` is done here, and for some rounds at least.
fn beside(change: impl Fn(u32) -> Sys, walks: impl FnOnce() -> Outcome) -> Outcome {
    let stop = map_shared(PAGE)?;
    let pid = fork(|| {
        let mut round = 0;
        while word(stop).load(Ordering::SeqCst) == 0 || round < 20 {
            if change(round).is_err() {
                return 1;
            }
            word(stop + 64).store(round, Ordering::SeqCst);
            round += 1;
        }
        0
    })?;
    while word(stop + 64).load(Ordering::SeqCst) == 0 {
        nap();
    }
    let done = walks();
    word(stop).store(1, Ordering::SeqCst);
    equal(wait(pid)?, 0)?;
    done
}

/// Files come until their directory's tables have grown, and go.
fn walks_find_what_stays_while_others_come_and_go() -> Outcome {
    mkdir(c"d")?;
    mkdir(c"d/e")?;
    file_with(c"d/e/stays", b"here")?;
    let churn = |round: u32| {
        for (dir, count) in [("d", 20), ("d/e", 150)] {
            let name = |file| c_string(&format!("{dir}/{round}.{file}"));
            for file in 0..count {
                close(open(&name(file), libc::O_CREAT)?)?;
            }
            for file in 0..count {
                unlink(&name(file))?;
            }
        }
        Ok(0)
    };
    beside(churn, || {
        for _ in 0..WALKS {
            equal(stat(c"d/e/stays")?.st_size, 4)?;
            fails(stat(c"d/e/never"), libc::ENOENT)?;
        }
        Ok(())
    })
}

fn walks_find_one_of_two_names() -> Outcome {
    mkdir(c"d")?;
    file_with(c"d/one", b"here")?;
    beside(to_and_fro, || {
        let (mut found, mut both, mut walks) = ([0; 2], 0, 0);
        // The child may have no CPU for a while.
        while walks < WALKS || found.contains(&0) {
            walks += 1;
            let there = [c"d/one", c"d/two"].map(|name| stat(name).is_ok());
            (0..2).for_each(|at| found[at] += u32::from(there[at]));
            both += u32::from(there == [true, true]);
        }
        check(both < walks, "both names were always there")
    })
}

fn walks_find_either_of_two_that_are_exchanged() -> Outcome {
    mkdir(c"d")?;
    file_with(c"d/one", b"1")?;
    file_with(c"d/two", b"22")?;
    let swap = |_| rename(c"d/one", c"d/two", libc::RENAME_EXCHANGE);
    beside(swap, || {
        for _ in 0..WALKS {
            check((1..=2).contains(&stat(c"d/one")?.st_size), "another file")?;
            check((1..=2).contains(&stat(c"d/two")?.st_size), "another file")?;
        }
        Ok(())
    })
}

fn walks_through_a_directory_that_is_renamed() -> Outcome {
    mkdir(c"d")?;
    mkdir(c"d/one")?;
    mkdir(c"d/one/e")?;
    file_with(c"d/one/e/file", b"here")?;
    beside(to_and_fro, || {
        let (mut found, mut walks) = (0, 0);
        while walks < WALKS || found == 0 {
            walks += 1;
            match stat(c"d/one/e/file") {
                Ok(stat) => {
                    equal(stat.st_size, 4)?;
                    found += 1;
                }
                error => fails(error, libc::ENOENT)?,
            }
        }
        Ok(())
    })
}

fn walks_in_a_directory_that_is_removed() -> Outcome {
    mkdir(c"d")?;
    let come_and_go = |_| {
        mkdir(c"d/e")?;
        close(open(c"d/e/file", libc::O_CREAT)?)?;
        unlink(c"d/e/file")?;
        sys!(SYS_unlinkat, HERE, c"d/e", libc::AT_REMOVEDIR)
    };
    beside(come_and_go, || {
        for _ in 0..WALKS {
            match open(c"d/e/file", libc::O_RDONLY) {
                Ok(fd) => {
                    equal(read(fd, &mut [0])?, 0)?;
                    close(fd)?;
                }
                error => fails(error, libc::ENOENT)?,
            }
        }
        Ok(())
    })
}
