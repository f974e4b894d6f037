//! What the exit of a process takes back of its operations (`SEM_UNDO`).
//!
//! The adjustments are in the sets, since `SETVAL` clears them there; a process, or threads with `CLONE_SYSVSEM`, has the
//! list of sets where it has some. The last thread to let go of the list applies them.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::{Errno, Result};

use super::{SemSet, op};
use crate::sync::{Mutex, current};

/// The sets where a process has adjustments, and which of their records is its.
#[derive(Default)]
pub struct UndoList {
    entries: Mutex<Vec<(Weak<SemSet>, usize)>>,
}

/// The running thread's record in a set, made if need be.
///
/// # Errors
/// `ENOMEM`, `EIDRM`.
pub(super) fn slot_for(set: &Arc<SemSet>) -> Result<usize> {
    let list = current().undo_list();
    let mut entries = list.entries.lock();
    let mine = entries
        .iter()
        .find(|(there, _)| core::ptr::eq(there.as_ptr(), Arc::as_ptr(set)));
    if let Some((_, slot)) = mine {
        return Ok(*slot);
    }
    if entries.len() == entries.capacity() {
        // Sets that were removed would keep their places for ever otherwise.
        entries.retain(|(there, _)| there.strong_count() > 0);
    }
    entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let slot = add_record(set)?;
    entries.push((Arc::downgrade(set), slot));
    Ok(slot)
}

fn add_record(set: &SemSet) -> Result<usize> {
    let mut record = Vec::new();
    record
        .try_reserve_exact(set.count)
        .map_err(|_| Errno::ENOMEM)?;
    record.resize(set.count, 0);
    let mut record = record.into_boxed_slice();
    loop {
        let capacity = {
            let mut state = set.state.lock();
            if state.removed {
                return Err(Errno::EIDRM);
            }
            match state.set.add_undo(record) {
                Ok(slot) => return Ok(slot),
                Err(back) => record = back,
            }
            state.set.wanted_undos()
        };
        let mut roomier = Vec::new();
        roomier
            .try_reserve_exact(capacity)
            .map_err(|_| Errno::ENOMEM)?;
        set.state.lock().set.swap_undo_room(&mut roomier);
    }
}

/// A thread lets go of its list, by exit or `unshare`: the last one applies the adjustments.
pub fn leave(list: Option<Arc<UndoList>>) {
    let Some(list) = list.and_then(Arc::into_inner) else {
        return;
    };
    let mut list = list;
    let pid = current().process.pid.0;
    for (set, slot) in core::mem::take(list.entries.get_mut()) {
        let Some(set) = set.upgrade() else { continue };
        let mut state = set.state.lock();
        if state.removed {
            continue;
        }
        let record = state.set.apply_undo(slot, pid);
        let woken = state.update(true);
        drop(state);
        drop(record);
        op::wake(woken);
    }
}
