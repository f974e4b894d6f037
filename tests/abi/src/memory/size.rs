//! What grows, shrinks and moves: mremap, brk, stacks and their limits.

use super::{ANON, FIXED, RW, mincore};
use crate::cases;
use crate::check::*;
use crate::core::with_settings;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    mremap_grows_and_moves,
    mremap_shrinks,
    mremap_without_maymove_is_enomem,
    mremap_fixed_moves_over,
    mremap_dontunmap_leaves_the_place,
    mremap_refuses_bad_arguments,
    brk_moves_and_stays,
    brk_memory_is_new_after_shrinking,
    growsdown_grows,
    brk_of_a_program_without_interpreter_has_room,
    vdso_lies_above_the_stack,
    layout_is_as_random_as_the_system_says,
    stack_grows_to_its_limit,
    populate_makes_resident,
    rlimit_as_is_enomem,
    rlimit_data_bounds_brk,
];

fn mremap(addr: usize, old: usize, new: usize, flags: i32, place: usize) -> Sys {
    sys!(SYS_mremap, addr, old, new, flags, place)
}

fn mremap_grows_and_moves() -> Outcome {
    let addr = map(4 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    poke(addr, 7);
    // What lies behind stands in the way of growing far.
    let moved = mremap(addr, PAGE, 64 * PAGE, libc::MREMAP_MAYMOVE, 0)?;
    equal((peek(moved), peek(moved + 63 * PAGE)), (7, 0))?;
    check(moved != addr, "not moved")?;
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)
}

fn mremap_shrinks() -> Outcome {
    let addr = map(4 * PAGE)?;
    equal(mremap(addr, 4 * PAGE, PAGE, 0, 0)?, addr)?;
    equal(death_of(|| touch(addr + PAGE))?, libc::SIGSEGV)
}

fn mremap_without_maymove_is_enomem() -> Outcome {
    let addr = map(2 * PAGE)?;
    sys!(SYS_mprotect, addr + PAGE, PAGE, libc::PROT_NONE)?;
    fails(mremap(addr, PAGE, 2 * PAGE, 0, 0), libc::ENOMEM)
}

fn mremap_fixed_moves_over() -> Outcome {
    let from = map(2 * PAGE)?;
    let to = map(2 * PAGE)?;
    poke(from + PAGE, 3);
    poke(to + PAGE, 4);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    equal(mremap(from, 2 * PAGE, 2 * PAGE, flags, to)?, to)?;
    equal(peek(to + PAGE), 3)?;
    equal(death_of(|| touch(from))?, libc::SIGSEGV)
}

fn mremap_dontunmap_leaves_the_place() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 8);
    let moved = mremap(
        addr,
        PAGE,
        PAGE,
        libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP,
        0,
    )?;
    equal((peek(moved), peek(addr)), (8, 0))
}

fn mremap_refuses_bad_arguments() -> Outcome {
    let addr = map(2 * PAGE)?;
    fails(mremap(addr + 1, PAGE, PAGE, 0, 0), libc::EINVAL)?;
    fails(mremap(addr, PAGE, 0, 0, 0), libc::EINVAL)?;
    fails(mremap(addr, PAGE, PAGE, 0x10, 0), libc::EINVAL)?;
    fails(
        mremap(addr, PAGE, PAGE, libc::MREMAP_FIXED, addr),
        libc::EINVAL,
    )?;
    let overlap = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    fails(
        mremap(addr, 2 * PAGE, 2 * PAGE, overlap, addr + PAGE),
        libc::EINVAL,
    )?;
    let wrapping = usize::MAX - PAGE + 1;
    fails(mremap(addr, PAGE, PAGE, overlap, wrapping), libc::EINVAL)?;
    sys!(SYS_munmap, addr, 2 * PAGE)?;
    fails(
        mremap(addr, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE, 0),
        libc::EFAULT,
    )
}

fn brk(addr: usize) -> Sys {
    sys!(SYS_brk, addr)
}

fn brk_moves_and_stays() -> Outcome {
    let start = brk(0)?;
    let end = start + 3 * PAGE + 5;
    equal(brk(end)?, end)?;
    poke(start.next_multiple_of(PAGE), 1);
    poke(end - 1, 1);
    equal(brk(1)?, end)?;
    equal(brk(usize::MAX)?, end)?;
    equal(brk(start)?, start)
}

fn brk_memory_is_new_after_shrinking() -> Outcome {
    let start = brk(0)?.next_multiple_of(PAGE);
    brk(start + 2 * PAGE)?;
    poke(start + PAGE, 5);
    brk(start)?;
    brk(start + 2 * PAGE)?;
    equal(peek(start + PAGE), 0)
}

fn growsdown_grows() -> Outcome {
    // With room below: 256 pages under it stay free of others.
    let base = map(1024 * PAGE)?;
    sys!(SYS_munmap, base, 1024 * PAGE)?;
    let top = base + 512 * PAGE;
    let flags = ANON | FIXED | libc::MAP_GROWSDOWN;
    sys!(SYS_mmap, top, PAGE, RW, flags, -1, 0)?;
    poke(top, 1);
    poke(top - 1, 1);
    poke(top - PAGE - 1, 1);
    equal(peek(top - PAGE - 1), 1)
}

fn brk_of_a_program_without_interpreter_has_room() -> Outcome {
    let brk = sys!(SYS_brk, 0)?;
    check(
        brk < growsdown_grows as *const () as usize,
        "brk lies above the program, among the mappings",
    )?;
    equal(sys!(SYS_brk, brk + (64 << 20))?, brk + (64 << 20))
}

fn vdso_lies_above_the_stack() -> Outcome {
    let local = 0_u8;
    // SAFETY: reads the auxiliary vector.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    let stack = std::ptr::from_ref(&local) as usize;
    check(
        vdso > stack && vdso - stack < 16 << 20,
        "the vDSO is elsewhere",
    )
}

/// A new program's areas: begin and end, and the name.
fn layout() -> Outcome<Vec<(String, String)>> {
    let output = std::process::Command::new("/bin/cat")
        .args(["/proc/self/maps"])
        .output();
    let text = output.map_err(|_| failure("cat does not run"))?.stdout;
    let text = String::from_utf8_lossy(&text);
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let range = words.next()?.to_owned();
        Some((range, words.nth(4).unwrap_or("").to_owned()))
    });
    Ok(rows.collect())
}

/// Whether brk begins where the program's data end.
fn brk_is_next(layout: &[(String, String)]) -> bool {
    layout.windows(2).any(|rows| {
        let (before, heap) = (&rows[0].0, &rows[1].0);
        rows[0].1 != "[heap]"
            && rows[1].1 == "[heap]"
            && before.split('-').nth(1) == heap.split('-').next()
    })
}

fn layout_is_as_random_as_the_system_says() -> Outcome {
    for (value, same, next) in [("0", true, true), ("1", false, true), ("2", false, false)] {
        with_settings(&[("kernel/randomize_va_space", value)], || {
            let (one, other) = (layout()?, layout()?);
            equal((value, one == other), (value, same))?;
            equal(
                (value, brk_is_next(&one) && brk_is_next(&other)),
                (value, next),
            )
        })?;
    }
    Ok(())
}

fn stack_grows_to_its_limit() -> Outcome {
    let touch = |bytes: usize| {
        let local = 0_u8;
        let here = std::ptr::from_ref(&local) as usize;
        (0..bytes)
            .step_by(PAGE)
            .for_each(|down| poke(here - down - 16384, 1));
    };
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    let run = |bytes: usize| {
        death_of(|| {
            let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_STACK as i32, &limit, 0);
            touch(bytes);
        })
    };
    equal(run(700 << 10)?, 0)?;
    equal(run(1100 << 10)?, libc::SIGSEGV)
}

fn populate_makes_resident() -> Outcome {
    let addr = map_with(4 * PAGE, RW, ANON | libc::MAP_POPULATE)?;
    let mut out = [0; 4];
    mincore(addr, 4 * PAGE, &mut out)?;
    equal(out.map(|byte| byte & 1), [1; 4])
}

fn rlimit_as_is_enomem() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 64 << 20,
        rlim_max: 64 << 20,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_AS as i32, &limit, 0)?;
    fails(map(65 << 20), libc::ENOMEM)?;
    map(1 << 20)?;
    Ok(())
}

fn rlimit_data_bounds_brk() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 8 << 20,
        rlim_max: 8 << 20,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_DATA as i32, &limit, 0)?;
    let start = brk(0)?;
    equal(brk(start + (16 << 20))?, start)?;
    fails(map(16 << 20), libc::ENOMEM)
}
