//! Links, descriptors, files and folders without end.

use crate::sys::{self, call, path_call};
use crate::{Outcome, Place, ensure, expect, shell_answers};

const ELOOP: isize = -(libc::ELOOP as isize);
const EMFILE: isize = -(libc::EMFILE as isize);
const ENOSPC: isize = -(libc::ENOSPC as isize);
const ENAMETOOLONG: isize = -(libc::ENAMETOOLONG as isize);
const RDONLY: usize = libc::O_RDONLY as usize;
const CREATE: usize = (libc::O_CREAT | libc::O_WRONLY) as usize;

fn open(path: &str, flags: usize) -> isize {
    path_call(libc::SYS_open, path, &[flags, 0o644])
}

fn close(fd: isize) {
    call(libc::SYS_close, &[fd as usize]);
}

/// Forty symlinks one after the other are followed, one more is ELOOP; so are links to themselves and to each other.
pub fn links() -> Outcome {
    let place = Place::new("size=4m,nr_inodes=1000")?;
    let link = |to: &str, name: &str| {
        let made = std::os::unix::fs::symlink(to, place.path(name));
        made.map_err(|error| format!("symlink: {error}"))
    };
    std::fs::write(place.path("l0"), "x").map_err(|error| error.to_string())?;
    for number in 1..=60 {
        link(&format!("l{}", number - 1), &format!("l{number}"))?;
    }
    link("self", "self")?;
    link("pong", "ping")?;
    link("ping", "pong")?;
    link("tree/x", "tree")?;
    let fd = open(&place.path("l40"), RDONLY);
    ensure(fd >= 0, || format!("forty links: {fd}"))?;
    close(fd);
    for name in ["l41", "l60", "self", "ping", "tree/x/x/x", "self/../l0"] {
        expect(name, open(&place.path(name), RDONLY), ELOOP)?;
    }
    // Forty times through a link to the folder itself, in one path.
    link(".", "here")?;
    let through = |count: usize| format!("{}l0", "here/".repeat(count));
    let fd = open(&place.path(&through(40)), RDONLY);
    ensure(fd >= 0, || format!("forty times here: {fd}"))?;
    close(fd);
    expect("once more", open(&place.path(&through(41)), RDONLY), ELOOP)
}

/// Descriptors up to the limit, of several kinds, then EMFILE; one closed makes room for one.
pub fn descriptors() -> Outcome {
    let status = sys::in_child(|| {
        sys::limit(libc::RLIMIT_NOFILE as i32, 1000, 1000);
        let mut last = 0;
        let mut ends = [0_i32; 2];
        for turn in 0..3000 {
            let answer = match turn % 4 {
                0 => open("/dev/null", RDONLY),
                1 => call(libc::SYS_dup, &[0]),
                2 => call(libc::SYS_eventfd2, &[0, 0]),
                _ => match call(libc::SYS_pipe2, &[ends.as_mut_ptr() as usize, 0]) {
                    0 => 0,
                    error => error,
                },
            };
            if answer < 0 && answer != EMFILE {
                return 1;
            }
            last = last.max(answer);
        }
        // Pipes need two: one number may be left.
        let again = call(libc::SYS_dup, &[0]).max(call(libc::SYS_dup, &[0]));
        if last > 999 || again != EMFILE {
            return 2;
        }
        close(500);
        let room = call(libc::SYS_dup, &[0]);
        let full = call(libc::SYS_dup, &[0]);
        i32::from(room != 500 || full != EMFILE) * 3
    });
    expect("a child with a thousand", status as isize, 0)?;
    // As root, many more, and all at once away.
    let status = sys::in_child(|| {
        sys::limit(libc::RLIMIT_NOFILE as i32, 100_000, 100_000);
        for expected in 0..90_000 {
            let fd = call(libc::SYS_dup, &[0]);
            if fd < 0 || fd < expected {
                return 1;
            }
        }
        0
    });
    expect("a child with ninety thousand", status as isize, 0)?;
    shell_answers()
}

/// Small files until the file system is full (ENOSPC); removed, all the room is there again. Then a hundred thousand more.
pub fn many() -> Outcome {
    let fill = |place: &Place| {
        let mut count = 0;
        loop {
            match open(&place.path(&format!("f{count}")), CREATE) {
                fd if fd >= 0 => close(fd),
                error => return (count, error),
            }
            count += 1;
        }
    };
    {
        let place = Place::new("size=64m,nr_inodes=20000")?;
        let (count, error) = fill(&place);
        expect("the last file", error, ENOSPC)?;
        ensure((19_000..20_000).contains(&count), || {
            format!("{count} files")
        })?;
        shell_answers()?;
        for number in 0..count {
            let name = place.path(&format!("f{number}"));
            expect("unlink", path_call(libc::SYS_unlink, &name, &[]), 0)?;
        }
        let (again, _) = fill(&place);
        expect("as many again", again as isize, count as isize)?;
    }
    let place = Place::new("size=64m,nr_inodes=0")?;
    for number in 0..100_000 {
        let fd = open(&place.path(&format!("g{number}")), CREATE);
        ensure(fd >= 0, || format!("file {number}: {fd}"))?;
        close(fd);
    }
    shell_answers()
}

/// Goes down into folder after folder; how many.
fn descend(levels: usize) -> Outcome {
    let name = c"d".as_ptr() as usize;
    for level in 0..levels {
        let made = call(libc::SYS_mkdir, &[name, 0o755]);
        let gone = call(libc::SYS_chdir, &[name]);
        ensure(made == 0 && gone == 0, || {
            format!("level {level}: {made}, {gone}")
        })?;
    }
    Ok(())
}

/// Folders in folders, five thousand deep: paths that long are refused, and the way up is as long as the way down.
pub fn deep() -> Outcome {
    const LEVELS: usize = 5000;
    let place = Place::new("size=64m,nr_inodes=0")?;
    std::env::set_current_dir(&place.0).map_err(|error| error.to_string())?;
    descend(LEVELS)?;
    let mut buffer = [0_u8; 8192];
    let size = buffer.len();
    let answer = call(libc::SYS_getcwd, &[buffer.as_mut_ptr() as usize, size]);
    expect("getcwd", answer, ENAMETOOLONG)?;
    let long = format!("{}/{}", place.0, "d/".repeat(2100));
    expect("a long path", open(&long, RDONLY), ENAMETOOLONG)?;
    expect("a long name", open(&"n".repeat(256), CREATE), ENAMETOOLONG)?;
    shell_answers()?;
    for level in 0..LEVELS {
        let up = call(libc::SYS_chdir, &[c"..".as_ptr() as usize]);
        let gone = call(libc::SYS_rmdir, &[c"d".as_ptr() as usize]);
        ensure(up == 0 && gone == 0, || {
            format!("up, level {level}: {up}, {gone}")
        })?;
    }
    Ok(())
}

/// A tree twenty thousand deep goes as a whole, with its file system.
pub fn deep_unmount() -> Outcome {
    let place = Place::new("size=64m,nr_inodes=0")?;
    std::env::set_current_dir(&place.0).map_err(|error| error.to_string())?;
    descend(20_000)?;
    std::env::set_current_dir("/").map_err(|error| error.to_string())?;
    let answer = path_call(libc::SYS_umount2, &place.0, &[0]);
    expect("umount", answer, 0)?;
    shell_answers()
}
