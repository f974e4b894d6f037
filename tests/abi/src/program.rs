//! What programs of a usual distribution ask a kernel for beside system calls: `/proc/locks`, the processors' topology,
//! the names that a personality changes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    locks_are_listed,
    topology_has_masks_and_lists,
    personality_changes_uname,
    rootfs_counts_what_it_holds,
    tmpfs_counts_pages_that_mappings_bring,
    directories_of_the_archive_keep_their_times,
];

/// The lines of `/proc/locks` about a file, without their numbers.
fn locks_of(path: &str) -> Outcome<Vec<String>> {
    let number = format!(":{} ", fs::metadata(path)?.ino());
    let text = text_of("/proc/locks")?;
    let lines = text.lines().filter(|line| line.contains(&number));
    let rest = lines.filter_map(|line| Some(line.split_once(": ")?.1.to_owned()));
    Ok(rest.collect())
}

fn lock(fd: i32, command: i32, kind: i32, start: i64, length: i64) -> Sys {
    let mut lock = zeroed::<libc::flock>();
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = length;
    sys!(SYS_fcntl, fd, command, &lock)
}

fn locks_are_listed() -> Outcome {
    let fd = file_with(c"locked", b"some bytes")?;
    equal(locks_of("locked")?.len(), 0)?;
    sys!(SYS_flock, fd, libc::LOCK_EX)?;
    let meta = fs::metadata("locked")?;
    let (major, minor) = (libc::major(meta.dev()), libc::minor(meta.dev()));
    let place = format!("{} {major:02x}:{minor:02x}:{}", getpid(), meta.ino());
    let whole = format!("FLOCK  ADVISORY  WRITE {place} 0 EOF");
    equal(locks_of("locked")?, [whole.clone()])?;
    lock(fd, libc::F_SETLK, libc::F_RDLCK, 2, 3)?;
    lock(fd, libc::F_OFD_SETLK, libc::F_RDLCK, 1, 0)?;
    let mut seen = locks_of("locked")?;
    seen.sort();
    let description = place.replacen(&getpid().to_string(), "-1", 1);
    equal(
        seen,
        [
            whole,
            format!("OFDLCK ADVISORY  READ {description} 1 EOF"),
            format!("POSIX  ADVISORY  READ {place} 2 4"),
        ],
    )?;
    close(fd)?;
    equal(locks_of("locked")?.len(), 0)
}

fn topology_has_masks_and_lists() -> Outcome {
    let cpus = text_of("/sys/devices/system/cpu/possible")?;
    let count = match cpus.trim().split_once('-') {
        Some((_, last)) => last.parse::<usize>().unwrap_or(0) + 1,
        None => 1,
    };
    let file = |name: &str| text_of(&format!("/sys/devices/system/cpu/cpu0/topology/{name}"));
    let digits = count.min(32).div_ceil(4);
    for name in [
        "core_cpus",
        "thread_siblings",
        "package_cpus",
        "core_siblings",
        "die_cpus",
    ] {
        let mask = file(name)?;
        let last = mask.trim().rsplit(',').next().unwrap_or_default();
        if count <= 32 {
            equal(last.len(), digits)?;
        }
        let value = u32::from_str_radix(last, 16).unwrap_or(0);
        check(value & 1 == 1, "a processor is not in its own set")?;
        let list = file(&format!("{name}_list"))?;
        check(list.starts_with('0'), "nor in its list")?;
        equal(value == 1, list.trim() == "0")?;
    }
    for name in ["core_id", "physical_package_id", "die_id"] {
        equal(file(name)?.trim(), "0")?;
    }
    Ok(())
}

fn uname() -> Outcome<(String, String)> {
    let mut out = [0_u8; 6 * 65];
    sys!(SYS_uname, out.as_mut_ptr())?;
    let field = |index: usize| {
        let bytes = out.get(index * 65..(index + 1) * 65).unwrap_or_default();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    Ok((field(2), field(4)))
}

fn personality_changes_uname() -> Outcome {
    const PER_LINUX32: u32 = 8;
    const UNAME26: u32 = 0x2_0000;
    let (release, machine) = uname()?;
    equal(machine.as_str(), "x86_64")?;
    sys!(SYS_personality, PER_LINUX32)?;
    equal(uname()?, (release.clone(), "i686".to_owned()))?;
    sys!(SYS_personality, UNAME26)?;
    let minor = release
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u32>().ok());
    let minor = some(minor, "the release has no second number")?;
    let rest = release.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    equal(
        uname()?,
        (format!("2.6.{}{rest}", minor + 60), machine.clone()),
    )?;
    sys!(SYS_personality, 0)?;
    equal(uname()?, (release, machine))
}

fn rootfs_counts_what_it_holds() -> Outcome {
    let mut statfs = zeroed::<libc::statfs>();
    sys!(SYS_statfs, c"/", &mut statfs)?;
    // This program is in it, if it came as a boot module.
    let program = fs::metadata("/proc/self/exe")?;
    if program.dev() != fs::metadata("/")?.dev() || statfs.f_blocks == 0 {
        return skip("the program is not on a tmpfs with limits");
    }
    let used = (statfs.f_blocks - statfs.f_bfree) * statfs.f_bsize as u64;
    check(used >= program.size(), "less is used than one file holds")
}

/// Pages in use of the file system that a descriptor is on.
fn used(fd: i32) -> Sys<u64> {
    let mut statfs = zeroed::<libc::statfs>();
    sys!(SYS_fstatfs, fd, &mut statfs)?;
    let statfs = std::hint::black_box(statfs);
    Ok(statfs.f_blocks - statfs.f_bfree)
}

fn tmpfs_counts_pages_that_mappings_bring() -> Outcome {
    sys!(SYS_mkdir, c"small", 0o755)?;
    sys!(SYS_mount, c"none", c"small", c"tmpfs", 0, c"size=64k")?;
    let fd = file_with(c"small/file", b"")?;
    let before = used(fd)?;
    sys!(SYS_ftruncate, fd, 32 * 4096)?;
    equal(used(fd)?, before)?;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let at = sys!(SYS_mmap, 0, 32 * 4096, rights, libc::MAP_SHARED, fd, 0)?;
    for page in 0..10 {
        poke(at + page * 4096, 1);
    }
    equal(used(fd)?, before + 10)?;
    // Past the limit: SIGBUS at the first page that does not fit.
    let died = death_of(|| {
        for page in 0..32 {
            poke(at + page * 4096, 1);
        }
    })?;
    equal(died, libc::SIGBUS)?;
    fails(
        sys!(SYS_pwrite64, fd, b"x".as_ptr(), 1, 31 * 4096),
        libc::ENOSPC,
    )?;
    sys!(SYS_unlink, c"small/file")?;
    close(fd)?;
    let root = open(c"small", libc::O_RDONLY)?;
    check(used(root)? > before, "a mapping does not keep the pages")?;
    sys!(SYS_munmap, at, 32 * 4096)?;
    equal(used(root)?, before)?;
    close(root)?;
    sys!(SYS_umount2, c"small", 0).map(drop).map_err(Into::into)
}

fn directories_of_the_archive_keep_their_times() -> Outcome {
    // The tool puts this program into folders whose time is the beginning of 1970.
    let program = fs::metadata("/usr/lib/ironbark/abi-tests");
    if !program.is_ok_and(|meta| meta.mtime() == 0) {
        return skip("the program did not come in the boot module");
    }
    equal(fs::metadata("/usr/lib/ironbark")?.mtime(), 0)
}
