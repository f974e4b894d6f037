//! What an exiting thread leaves to others: the word of CLONE_CHILD_CLEARTID, and robust mutexes.

use core::sync::atomic::Ordering;

use abi::futex::{
    FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT,
    RobustListHead,
};
use abi::{Errno, Result};

use super::{Futex, wake};
use crate::mm::user::UserPtr;
use crate::sched;
use crate::sync::CurrentTask;

/// CLONE_CHILD_CLEARTID: zeroes the word at an exiting thread's `clear_child_tid` and wakes one waiter. A bad address is
/// nobody's fault any more.
pub fn clear_and_wake(addr: usize) {
    let word: UserPtr<u32> = UserPtr::from(addr);
    if word.write(&0).is_ok() {
        let _ = wake(
            Futex {
                word,
                is_private: false,
            },
            1,
            FUTEX_BITSET_MATCH_ANY,
        );
    }
}

/// Marks every robust mutex that the exiting thread holds as left by a dead owner, and wakes one waiter of each.
pub fn exit_robust_list(me: &CurrentTask) {
    let head_addr = me.robust_list.swap(0, Ordering::Relaxed);
    if head_addr != 0 {
        // The list is the program's; where it is broken, the walk ends.
        let _ = walk_robust_list(me.tid().0 as u32, head_addr as u64);
    }
}

fn walk_robust_list(tid: u32, head_addr: u64) -> Result<()> {
    let head: RobustListHead = UserPtr::from(head_addr as usize).read()?;
    let word_of = |entry: u64| (entry & !1).wrapping_add_signed(head.futex_offset) as usize;
    let (pending, pending_pi) = (head.list_op_pending & !1, head.list_op_pending & 1 != 0);
    let mut entry = head.list;
    for _ in 0..ROBUST_LIST_LIMIT {
        let at = entry & !1;
        if at == head_addr {
            break;
        }
        // Read before the mutex is released: its memory may be gone after.
        let next: Result<u64> = UserPtr::from(at as usize).read();
        if at != pending {
            release_dead(tid, word_of(entry), entry & 1 != 0, false)?;
        }
        entry = next?;
        sched::cond_resched();
    }
    if pending != 0 {
        release_dead(tid, word_of(pending), pending_pi, true)?;
    }
    Ok(())
}

/// `pending`: the thread died between taking the mutex off its list and unlocking it, or the other way round.
fn release_dead(tid: u32, addr: usize, is_pi: bool, pending: bool) -> Result<()> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let word: UserPtr<u32> = UserPtr::from(addr);
    let futex = Futex {
        word,
        is_private: false,
    };
    let mut value = word.load()?;
    loop {
        let owner = value & FUTEX_TID_MASK;
        if pending && !is_pi && owner == 0 {
            wake(futex, 1, FUTEX_BITSET_MATCH_ANY)?;
            return Ok(());
        }
        if owner != tid {
            return Ok(());
        }
        let seen = word.compare_exchange(value, value & FUTEX_WAITERS | FUTEX_OWNER_DIED)?;
        if seen == value {
            break;
        }
        value = seen;
    }
    if !is_pi && value & FUTEX_WAITERS != 0 {
        wake(futex, 1, FUTEX_BITSET_MATCH_ANY)?;
    }
    Ok(())
}
