//! Memory policies on a machine with one node.

use super::{ANON, RW};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    policy_default_reads_back,
    policy_of_task_reads_back,
    policy_refuses_contradictions,
    policy_refuses_absent_nodes,
    policy_masks_are_checked,
    policy_static_mask_reads_back,
    policy_is_inherited,
    policy_of_a_range,
    policy_mbind_refuses,
    policy_get_refuses,
    policy_allowed_nodes,
    policy_home_node,
    policy_move_pages_tells_nodes,
    policy_move_pages_refuses,
    policy_migrate_pages,
    policy_in_numa_maps,
];

const DEFAULT: i32 = 0;
const PREFERRED: i32 = 1;
const BIND: i32 = 2;
const INTERLEAVE: i32 = 3;
const LOCAL: i32 = 4;
const STATIC: i32 = 1 << 15;
const RELATIVE: i32 = 1 << 14;
const F_NODE: i32 = 1;
const F_ADDR: i32 = 2;
const F_ALLOWED: i32 = 4;

fn set(mode: i32, nodes: u64) -> Sys {
    sys!(SYS_set_mempolicy, mode, &nodes, 64)
}

fn get(addr: usize, flags: i32) -> Sys<(i32, u64)> {
    let (mut mode, mut nodes) = (-1, [0_u64; 16]);
    sys!(
        SYS_get_mempolicy,
        &mut mode,
        nodes.as_mut_ptr(),
        1024,
        addr,
        flags
    )?;
    Ok((mode, nodes[0]))
}

/// Skips where the kernel was built for machines without nodes.
fn built_in() -> Outcome {
    match sys!(SYS_get_mempolicy, 0, 0, 0, 0, 0) {
        Err(Errno(libc::ENOSYS)) => skip("built without NUMA"),
        _ => Ok(()),
    }
}

fn policy_default_reads_back() -> Outcome {
    built_in()?;
    equal(get(0, 0)?, (DEFAULT, 0))?;
    equal(get(map(PAGE)?, F_ADDR)?, (DEFAULT, 0))
}

fn policy_of_task_reads_back() -> Outcome {
    built_in()?;
    for mode in [BIND, INTERLEAVE, PREFERRED] {
        set(mode, 1)?;
        equal(get(0, 0)?, (mode, 1))?;
    }
    sys!(SYS_set_mempolicy, LOCAL, 0, 0)?;
    equal(get(0, 0)?, (LOCAL, 0))?;
    // A preference for none is for the nearest.
    set(PREFERRED, 0)?;
    equal(get(0, 0)?, (LOCAL, 0))?;
    set(DEFAULT, 0)?;
    equal(get(0, 0)?, (DEFAULT, 0))
}

fn policy_refuses_contradictions() -> Outcome {
    built_in()?;
    fails(set(DEFAULT, 1), libc::EINVAL)?;
    fails(set(LOCAL, 1), libc::EINVAL)?;
    fails(set(BIND, 0), libc::EINVAL)?;
    fails(set(INTERLEAVE, 0), libc::EINVAL)?;
    fails(set(BIND | STATIC | RELATIVE, 1), libc::EINVAL)?;
    fails(set(PREFERRED | STATIC, 0), libc::EINVAL)?;
    fails(set(LOCAL | STATIC, 0), libc::EINVAL)?;
    fails(set(99, 1), libc::EINVAL)?;
    fails(set(-1, 1), libc::EINVAL)?;
    equal(get(0, 0)?, (DEFAULT, 0))
}

fn policy_refuses_absent_nodes() -> Outcome {
    built_in()?;
    fails(set(BIND, 2), libc::EINVAL)?;
    fails(set(PREFERRED, 1 << 40), libc::EINVAL)?;
    set(BIND, 3)?;
    equal(get(0, 0)?, (BIND, 1))
}

fn policy_masks_are_checked() -> Outcome {
    built_in()?;
    let one = 1_u64;
    fails(sys!(SYS_set_mempolicy, BIND, 8, 64), libc::EFAULT)?;
    fails(
        sys!(SYS_set_mempolicy, BIND, &one, PAGE * 8 + 2),
        libc::EINVAL,
    )?;
    // A mask of no bits is an empty one, wherever it lies.
    fails(sys!(SYS_set_mempolicy, BIND, 8, 1), libc::EINVAL)?;
    equal(sys!(SYS_set_mempolicy, DEFAULT, 8, 1)?, 0)?;
    // The last bit that is counted is the one before the last.
    fails(sys!(SYS_set_mempolicy, BIND, &2_u64, 2), libc::EINVAL)?;
    equal(sys!(SYS_set_mempolicy, BIND, &3_u64, 2)?, 0)?;
    let mut far = [0_u64; 64];
    far[20] = 1;
    fails(
        sys!(SYS_set_mempolicy, BIND, far.as_ptr(), 64 * 64),
        libc::EINVAL,
    )
}

fn policy_static_mask_reads_back() -> Outcome {
    built_in()?;
    set(BIND | STATIC, 5)?;
    equal(get(0, 0)?, (BIND | STATIC, 5))?;
    set(INTERLEAVE | RELATIVE, 4)?;
    equal(get(0, 0)?, (INTERLEAVE | RELATIVE, 4))?;
    fails(set(BIND | STATIC, 4), libc::EINVAL)
}

fn policy_is_inherited() -> Outcome {
    built_in()?;
    set(INTERLEAVE, 1)?;
    within(|| {
        equal(get(0, 0)?, (INTERLEAVE, 1))?;
        set(DEFAULT, 0)?;
        Ok(())
    })?;
    equal(get(0, 0)?, (INTERLEAVE, 1))
}

fn mbind(addr: usize, len: usize, mode: i32, nodes: u64, flags: i32) -> Sys {
    sys!(SYS_mbind, addr, len, mode, &nodes, 64, flags)
}

fn policy_of_a_range() -> Outcome {
    built_in()?;
    let addr = map(4 * PAGE)?;
    mbind(addr + PAGE, 2 * PAGE, BIND, 1, 0)?;
    equal(get(addr, F_ADDR)?, (DEFAULT, 0))?;
    equal(get(addr + PAGE + 7, F_ADDR)?, (BIND, 1))?;
    equal(get(addr + 3 * PAGE, F_ADDR)?, (DEFAULT, 0))?;
    poke(addr + PAGE, 1);
    equal(get(addr + PAGE, F_ADDR | F_NODE)?.0, 0)?;
    within(|| equal(get(addr + PAGE, F_ADDR)?, (BIND, 1)))?;
    mbind(addr, 4 * PAGE, DEFAULT, 0, 0)?;
    equal(get(addr + PAGE, F_ADDR)?, (DEFAULT, 0))
}

fn policy_mbind_refuses() -> Outcome {
    built_in()?;
    let addr = map(3 * PAGE)?;
    fails(mbind(addr + 1, PAGE, BIND, 1, 0), libc::EINVAL)?;
    fails(mbind(addr, PAGE, BIND, 1, 0x100), libc::EINVAL)?;
    fails(mbind(addr, PAGE, BIND, 2, 0), libc::EINVAL)?;
    fails(mbind(addr, PAGE, 77, 1, 0), libc::EINVAL)?;
    fails(mbind(addr, usize::MAX & !0xfff, BIND, 1, 0), libc::EINVAL)?;
    equal(mbind(addr, 0, BIND, 1, 0)?, 0)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    fails(mbind(addr, 3 * PAGE, BIND, 1, 0), libc::EFAULT)?;
    within(|| {
        become_user()?;
        fails(mbind(addr, PAGE, BIND, 1, 4), libc::EPERM)
    })
}

fn policy_get_refuses() -> Outcome {
    built_in()?;
    let mut nodes = [0_u64; 16];
    let mut ask =
        |addr: usize, flags: i32| sys!(SYS_get_mempolicy, 0, nodes.as_mut_ptr(), 1024, addr, flags);
    fails(ask(0, 8), libc::EINVAL)?;
    fails(ask(PAGE, 0), libc::EINVAL)?;
    fails(ask(0, F_ADDR), libc::EFAULT)?;
    fails(ask(0, F_ALLOWED | F_ADDR), libc::EINVAL)?;
    fails(ask(0, F_NODE), libc::EINVAL)?;
    fails(
        sys!(SYS_get_mempolicy, 0, nodes.as_mut_ptr(), 0, 0, 0),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_get_mempolicy, 8, 0, 0, 0, 0), libc::EFAULT)
}

fn policy_allowed_nodes() -> Outcome {
    built_in()?;
    let mut nodes = [!0_u64; 16];
    sys!(SYS_get_mempolicy, 0, nodes.as_mut_ptr(), 1024, 0, F_ALLOWED)?;
    equal(nodes, std::array::from_fn(|word| u64::from(word == 0)))
}

fn policy_home_node() -> Outcome {
    built_in()?;
    let addr = map(PAGE)?;
    let home =
        |node: usize, flags: usize| sys!(SYS_set_mempolicy_home_node, addr, PAGE, node, flags);
    if home(0, 1) == Err(Errno(libc::ENOSYS)) {
        return skip("no set_mempolicy_home_node before Linux 5.17");
    }
    fails(home(0, 1), libc::EINVAL)?;
    fails(home(5, 0), libc::EINVAL)?;
    fails(home(5000, 0), libc::EINVAL)?;
    mbind(addr, PAGE, INTERLEAVE, 1, 0)?;
    fails(home(0, 0), libc::EOPNOTSUPP)?;
    mbind(addr, PAGE, BIND, 1, 0)?;
    equal(home(0, 0)?, 0)
}

fn policy_move_pages_tells_nodes() -> Outcome {
    built_in()?;
    let addr = map(3 * PAGE)?;
    poke(addr, 1);
    touch(addr + PAGE);
    let shared = map_shared(PAGE)?;
    let hole = map(PAGE)?;
    sys!(SYS_munmap, hole, PAGE)?;
    let pages = [addr, addr + 2 * PAGE, hole, shared];
    let mut status = [99_i32; 4];
    equal(
        sys!(
            SYS_move_pages,
            0,
            4,
            pages.as_ptr(),
            0,
            status.as_mut_ptr(),
            0
        )?,
        0,
    )?;
    // Of private memory that was not touched, there is not even a place.
    equal(status, [0, -libc::EFAULT, -libc::EFAULT, -libc::ENOENT])?;
    let nodes = [0_i32; 3];
    equal(
        sys!(
            SYS_move_pages,
            0,
            1,
            pages.as_ptr(),
            nodes.as_ptr(),
            status.as_mut_ptr(),
            2
        )?,
        0,
    )?;
    equal(status[0], 0)
}

fn policy_move_pages_refuses() -> Outcome {
    built_in()?;
    let addr = map(PAGE)?;
    poke(addr, 1);
    let (pages, mut status) = ([addr], [0_i32]);
    let mut run = |pid: i32, flags: i32| {
        sys!(
            SYS_move_pages,
            pid,
            1,
            pages.as_ptr(),
            0,
            status.as_mut_ptr(),
            flags
        )
    };
    fails(run(0, 1), libc::EINVAL)?;
    fails(run(4_000_000, 0), libc::ESRCH)?;
    let nodes = [7_i32];
    let moved = sys!(
        SYS_move_pages,
        0,
        1,
        pages.as_ptr(),
        nodes.as_ptr(),
        status.as_mut_ptr(),
        2
    );
    fails(moved, libc::ENODEV)?;
    within(|| {
        become_user()?;
        let mut status = [0_i32];
        fails(
            sys!(
                SYS_move_pages,
                1,
                1,
                pages.as_ptr(),
                0,
                status.as_mut_ptr(),
                0
            ),
            libc::EPERM,
        )?;
        fails(
            sys!(
                SYS_move_pages,
                0,
                1,
                pages.as_ptr(),
                0,
                status.as_mut_ptr(),
                4
            ),
            libc::EPERM,
        )
    })
}

fn policy_migrate_pages() -> Outcome {
    built_in()?;
    let run = |pid: i32, old: u64, new: u64| sys!(SYS_migrate_pages, pid, 64, &old, &new);
    equal(run(0, 1, 1)?, 0)?;
    fails(run(0, 1, 0), libc::EINVAL)?;
    fails(run(0, 1, 2), libc::EINVAL)?;
    fails(run(4_000_000, 1, 1), libc::ESRCH)?;
    fails(sys!(SYS_migrate_pages, 0, 64, 8, 8), libc::EFAULT)?;
    within(|| {
        become_user()?;
        fails(run(0, 1, 2), libc::EPERM)?;
        fails(run(1, 1, 1), libc::EPERM)
    })
}

fn policy_in_numa_maps() -> Outcome {
    built_in()?;
    let addr = map_with(3 * PAGE, RW, ANON)?;
    mbind(addr + PAGE, PAGE, BIND, 1, 0)?;
    poke(addr + PAGE, 1);
    let text = text_of("/proc/self/numa_maps")?;
    let start = format!("{:x} ", addr + PAGE);
    let line = some(
        text.lines().find(|line| line.contains(&start)),
        "not in numa_maps",
    )?;
    check(
        line.ends_with("bind:0 anon=1 dirty=1 N0=1 kernelpagesize_kB=4")
            || line.ends_with("bind:0 anon=1 dirty=1 active=0 N0=1 kernelpagesize_kB=4"),
        line,
    )
}
