//! Names that programs give to anonymous memory, where the kernel was built with them.

use super::{ANON, RW, map_file, maps_line};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    name_shows_in_maps,
    name_of_shared_memory,
    name_is_taken_away,
    name_keeps_areas_apart,
    name_refuses,
    name_is_inherited,
];

const PR_SET_VMA: i32 = 0x5356_4d41;

fn name(addr: usize, len: usize, name: &std::ffi::CStr) -> Sys {
    sys!(SYS_prctl, PR_SET_VMA, 0, addr, len, name)
}

/// Some private memory; skips where there are no names.
fn memory(pages: usize) -> Outcome<usize> {
    let addr = map((pages + 2) * PAGE)?;
    match name(addr, PAGE, c"probe") {
        Err(Errno(libc::EINVAL)) => skip("built without names of memory"),
        answer => {
            answer?;
            Ok(addr + PAGE)
        }
    }
}

fn line(addr: usize) -> Outcome<String> {
    some(maps_line(addr)?, "not in maps")
}

fn name_shows_in_maps() -> Outcome {
    let addr = memory(2)?;
    name(addr, PAGE, c"a name, with spaces")?;
    check(
        line(addr)?.ends_with(" [anon:a name, with spaces]"),
        &line(addr)?,
    )?;
    check(!line(addr + PAGE)?.contains("[anon"), &line(addr + PAGE)?)?;
    let smaps = text_of("/proc/self/smaps")?;
    check(smaps.contains("[anon:a name, with spaces]"), "not in smaps")
}

fn name_of_shared_memory() -> Outcome {
    memory(1)?;
    let addr = map_shared(PAGE)?;
    if name(addr, PAGE, c"s") == Err(Errno(libc::EBADF)) {
        return skip("no names of shared memory before Linux 6.2");
    }
    check(line(addr)?.ends_with(" [anon_shmem:s]"), &line(addr)?)
}

fn name_is_taken_away() -> Outcome {
    let addr = memory(1)?;
    name(addr, PAGE, c"x")?;
    sys!(SYS_prctl, PR_SET_VMA, 0, addr, PAGE, 0)?;
    check(!line(addr)?.contains("[anon"), &line(addr)?)
}

fn name_keeps_areas_apart() -> Outcome {
    let addr = memory(2)?;
    name(addr, PAGE, c"one")?;
    name(addr + PAGE, PAGE, c"two")?;
    check(line(addr)? != line(addr + PAGE)?, "joined")?;
    name(addr + PAGE, PAGE, c"one")?;
    equal(line(addr)?, line(addr + PAGE)?)
}

fn name_refuses() -> Outcome {
    let addr = memory(3)?;
    fails(name(addr + 1, PAGE, c"x"), libc::EINVAL)?;
    for bad in [c"[", c"]", c"\\", c"`", c"$", c"\x01", c"\x7f"] {
        fails(name(addr, PAGE, bad), libc::EINVAL)?;
    }
    let long = c_string(&"x".repeat(80));
    fails(name(addr, PAGE, &long), libc::EINVAL)?;
    name(addr, PAGE, &c_string(&"x".repeat(79)))?;
    fails(sys!(SYS_prctl, PR_SET_VMA, 0, addr, PAGE, 8), libc::EFAULT)?;
    fails(
        sys!(SYS_prctl, PR_SET_VMA, 1, addr, PAGE, c"x"),
        libc::EINVAL,
    )?;
    equal(name(addr, 0, c"x")?, 0)?;
    let fd = file_with(c"f", &[1; PAGE])?;
    let file = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    fails(name(file, PAGE, c"x"), libc::EBADF)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(name(addr, 3 * PAGE, c"y"), libc::ENOMEM)?;
    check(
        line(addr + 2 * PAGE)?.ends_with("[anon:y]"),
        "stopped at the hole",
    )
}

fn name_is_inherited() -> Outcome {
    let addr = memory(1)?;
    name(addr, PAGE, c"kept")?;
    within(|| check(line(addr)?.ends_with("[anon:kept]"), &line(addr)?))?;
    sys!(SYS_mmap, addr, PAGE, RW, ANON | super::FIXED, -1, 0)?;
    check(
        !line(addr)?.contains("kept"),
        "the name outlives its memory",
    )
}
