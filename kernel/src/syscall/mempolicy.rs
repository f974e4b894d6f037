//! Memory policies: `set_mempolicy`, `mbind` and their relatives, of a machine with one node.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};

use crate::mm::policy::{self, MAX_NODES, Policy};
use crate::mm::user::{UserPtr, copy_out};
use crate::mm::{AddressSpace, PAGE_SIZE};
use crate::task::cred::Cap;
use crate::task::{self, Pid, Task, current};
use crate::{sched, sync};

const MPOL_F_NODE: u32 = 1;
const MPOL_F_ADDR: u32 = 2;
const MPOL_F_MEMS_ALLOWED: u32 = 4;
const MPOL_MF_STRICT: u32 = 1;
const MPOL_MF_MOVE: u32 = 2;
const MPOL_MF_MOVE_ALL: u32 = 4;
const MPOL_INTERLEAVE: u32 = 3;

/// Words of a mask of nodes: the first, and whether later ones have bits.
struct Nodes {
    low: u64,
    more: bool,
}

/// Reads a mask of `max - 1` nodes, as Linux counts them. EINVAL for nodes that there can never be.
fn nodes(mask: usize, max: usize) -> Result<Nodes> {
    let bits = max.wrapping_sub(1);
    let mut nodes = Nodes {
        low: 0,
        more: false,
    };
    if bits == 0 || mask == 0 {
        return Ok(nodes);
    }
    if bits > PAGE_SIZE * 8 {
        return Err(Errno::EINVAL);
    }
    for word in 0..bits.div_ceil(64) {
        let mut value = UserPtr::<u64>::from(mask.wrapping_add(word * 8)).read()?;
        let valid = bits - word * 64;
        if valid < 64 {
            value &= (1 << valid) - 1;
        }
        match word {
            0 => nodes.low = value,
            _ if value != 0 && word * 64 >= MAX_NODES => return Err(Errno::EINVAL),
            _ => nodes.more |= value != 0,
        }
    }
    Ok(nodes)
}

/// A policy of a call's arguments.
fn policy_of(mode: u32, mask: usize, max: usize) -> Result<Policy> {
    // A bad mode is told before a bad mask.
    if Policy::new(mode, policy::ONLINE).is_err() && Policy::new(mode, 0).is_err() {
        return Err(Errno::EINVAL);
    }
    let nodes = nodes(mask, max)?;
    // Nodes beyond the first word are none that could serve, but they make the mask one that is not empty.
    let low = match nodes.low {
        0 if nodes.more => 1 << 63,
        low => low,
    };
    Policy::new(mode, low)
}

pub fn sys_set_mempolicy(mode: u32, mask: usize, max: usize) -> Result<usize> {
    let policy = policy_of(mode, mask, max)?;
    current().mempolicy.store(policy.bits(), Ordering::Relaxed);
    Ok(0)
}

pub fn sys_mbind(
    start: usize,
    len: usize,
    mode: u32,
    mask: usize,
    max: usize,
    flags: u32,
) -> Result<usize> {
    let known = MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL;
    let policy = policy_of(mode, mask, max);
    // The mask is read first, but its policy is made last.
    if let Err(Errno::EFAULT) = policy {
        return Err(Errno::EFAULT);
    }
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MPOL_MF_MOVE_ALL != 0 && !current().cred().capable(Cap::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let policy = match (policy, len) {
        // Nothing to bind: a policy that is none is not looked at.
        (Err(_), 0) if start.is_multiple_of(PAGE_SIZE) && Policy::new(mode, 1).is_ok() => {
            return Ok(0);
        }
        (policy, _) => policy?,
    };
    current().my_mm().set_policy(start, len, policy)?;
    Ok(0)
}

/// Writes a mask of nodes of which the user has room for `max - 1`.
fn put_nodes(mask: usize, max: usize, nodes: u64) -> Result<()> {
    let bytes = max.saturating_sub(1).div_ceil(64).saturating_mul(8);
    if bytes > PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    for word in 0..bytes / 8 {
        let value = if word == 0 { nodes } else { 0 };
        copy_out(mask.wrapping_add(word * 8), &value.to_ne_bytes())?;
    }
    Ok(())
}

pub fn sys_get_mempolicy(
    mode: usize,
    mask: usize,
    max: usize,
    addr: usize,
    flags: u32,
) -> Result<usize> {
    if mask != 0 && max < 1 {
        return Err(Errno::EINVAL);
    }
    if flags & !(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) != 0 {
        return Err(Errno::EINVAL);
    }
    let me = current();
    let (shown, nodes) = if flags & MPOL_F_MEMS_ALLOWED != 0 {
        if flags & (MPOL_F_NODE | MPOL_F_ADDR) != 0 {
            return Err(Errno::EINVAL);
        }
        (0, policy::ONLINE)
    } else {
        let of_address = flags & MPOL_F_ADDR != 0;
        let own = Policy::from_bits(me.mempolicy.load(Ordering::Relaxed));
        let policy = match of_address {
            true => me.my_mm().policy_at(addr)?,
            false if addr != 0 => return Err(Errno::EINVAL),
            false => own,
        };
        let shown = match flags & MPOL_F_NODE != 0 {
            // The page is brought in to see where it is.
            true if of_address => {
                UserPtr::<u8>::from(addr).read()?;
                0
            }
            true if policy.shown_mode() & 7 == MPOL_INTERLEAVE => 0,
            true => return Err(Errno::EINVAL),
            false => policy.shown_mode(),
        };
        (shown, policy.shown_nodes())
    };
    if mode != 0 {
        UserPtr::<u32>::from(mode).write(&shown)?;
    }
    if mask != 0 {
        put_nodes(mask, max, nodes)?;
    }
    Ok(0)
}

pub fn sys_set_mempolicy_home_node(
    start: usize,
    len: usize,
    node: usize,
    flags: usize,
) -> Result<usize> {
    if !start.is_multiple_of(PAGE_SIZE) || flags != 0 || node != 0 {
        return Err(Errno::EINVAL);
    }
    current().my_mm().set_home_node(start, len)?;
    Ok(0)
}

/// The task whose pages are to be looked at, if the caller may (`PTRACE_MODE_READ_REALCREDS`). ESRCH, EPERM.
fn target(pid: Pid) -> Result<Arc<Task>> {
    let me = current();
    if pid.0 == 0 {
        return Ok(sync::current_arc());
    }
    let task = task::find_task(pid).ok_or(Errno::ESRCH)?;
    let (mine, its) = (me.cred(), task.cred());
    let same = [its.uid, its.euid, its.suid]
        .iter()
        .all(|id| *id == mine.uid)
        && [its.gid, its.egid, its.sgid]
            .iter()
            .all(|id| *id == mine.gid);
    match same || mine.capable(Cap::SYS_PTRACE) || Arc::ptr_eq(&task.process, &me.process) {
        true => Ok(task),
        false => Err(Errno::EPERM),
    }
}

pub fn sys_migrate_pages(pid: Pid, max: usize, old: usize, new: usize) -> Result<usize> {
    nodes(old, max)?;
    let new = nodes(new, max)?;
    let task = target(pid)?;
    let foreign = new.more || new.low & !policy::ONLINE != 0;
    if foreign && !current().cred().capable(Cap::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    if new.low & policy::ONLINE == 0 {
        return Err(Errno::EINVAL);
    }
    task.mm().ok_or(Errno::EINVAL)?;
    // All pages are on the one node: none is left behind.
    Ok(0)
}

/// What becomes of one page: its node, or the error for its status.
fn page_status(mm: &AddressSpace, page: usize, node: Option<i32>) -> Result<i32> {
    if node.is_some_and(|node| node != 0) {
        return Err(Errno::ENODEV);
    }
    mm.node_of_page(page).map(|node| node as i32)
}

pub fn sys_move_pages(
    pid: Pid,
    count: usize,
    pages: usize,
    nodes: usize,
    status: usize,
    flags: u32,
) -> Result<usize> {
    if flags & !(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MPOL_MF_MOVE_ALL != 0 && !current().cred().capable(Cap::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let mm = target(pid)?.mm().ok_or(Errno::EINVAL)?;
    for index in 0..count {
        let page = UserPtr::<usize>::from(pages.wrapping_add(index.wrapping_mul(8))).read()?;
        let place = index.wrapping_mul(4);
        let node = match nodes {
            0 => None,
            nodes => Some(UserPtr::<i32>::from(nodes.wrapping_add(place)).read()?),
        };
        let answer = match page_status(&mm, page, node) {
            Ok(node) => node,
            // A node that is none ends the call, a page that is none does not.
            Err(Errno::ENODEV) => return Err(Errno::ENODEV),
            Err(errno) => -errno.get(),
        };
        UserPtr::<i32>::from(status.wrapping_add(place)).write(&answer)?;
        sched::cond_resched();
    }
    Ok(0)
}
