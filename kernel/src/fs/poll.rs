//! Waiting until one of many files is ready: the common part of poll and select.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::file::File;
use crate::sched::{self, SleepKind, WakeTimer};
use crate::sync::{PollTable, PollWaiter, current, current_arc};
use crate::{signal, time};

/// A file and what is asked of it.
pub struct Polled {
    /// The file; `None` for one that is not asked, or not open.
    pub file: Option<Arc<File>>,
    /// What the caller wants to know.
    pub wanted: PollEvents,
    /// What there is.
    pub found: PollEvents,
}

impl Polled {
    /// Asks a file for events. Errors and hang-ups are always told.
    pub fn new(file: Arc<File>, wanted: PollEvents) -> Polled {
        let wanted = wanted | PollEvents::ERR | PollEvents::HUP;
        Polled {
            file: Some(file),
            wanted,
            found: PollEvents::empty(),
        }
    }

    /// An entry whose answer is known.
    pub fn answered(found: PollEvents) -> Polled {
        Polled {
            file: None,
            wanted: PollEvents::empty(),
            found,
        }
    }
}

/// How long a wait may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// One look.
    None,
    /// Until this time of the monotonic clock.
    Until(u64),
    /// For ever.
    Endless,
}

impl Patience {
    /// From a number of nanoseconds; a time too far off is for ever.
    pub fn of_ns(ns: u64) -> Patience {
        match ns {
            0 => Patience::None,
            ns => time::monotonic_ns()
                .checked_add(ns)
                .map_or(Patience::Endless, Patience::Until),
        }
    }

    /// Nanoseconds left.
    pub fn left_ns(self) -> u64 {
        match self {
            Patience::Until(deadline) => deadline.saturating_sub(time::monotonic_ns()),
            _ => 0,
        }
    }
}

/// Waits until an entry has something to tell; answers how many have, 0 after the time has passed.
///
/// # Errors
/// `EINTR` when a signal came first.
pub fn wait(entries: &mut [Polled], patience: Patience) -> Result<usize> {
    let ready = look(entries, None);
    if ready > 0 || patience == Patience::None {
        return Ok(ready);
    }
    let waiter = PollWaiter::new();
    let mut table = PollTable::new(waiter.clone());
    let ready = look(entries, Some(&mut table));
    if ready > 0 {
        return Ok(ready);
    }
    let deadline = match patience {
        Patience::Until(deadline) => Some(deadline),
        _ => None,
    };
    let _timer = deadline.map(|deadline| WakeTimer::arm(current_arc(), deadline));
    let result = sleep(entries, &waiter, deadline);
    sched::set_running();
    result
}

fn sleep(entries: &mut [Polled], waiter: &PollWaiter, deadline: Option<u64>) -> Result<usize> {
    loop {
        sched::set_sleeping(SleepKind::Interruptible);
        if waiter.take_triggered() {
            sched::set_running();
            let ready = look(entries, None);
            if ready > 0 {
                return Ok(ready);
            }
            continue;
        }
        if signal::pending(&current()) {
            return Err(Errno::EINTR);
        }
        if deadline.is_some_and(|deadline| time::monotonic_ns() >= deadline) {
            return Ok(0);
        }
        sched::block_current();
    }
}

/// Asks every file once. The table is registered with as long as nothing was found.
fn look(entries: &mut [Polled], mut table: Option<&mut PollTable>) -> usize {
    let mut ready = 0;
    for entry in entries {
        if let Some(file) = &entry.file {
            entry.found = file.poll(table.as_deref_mut()) & entry.wanted;
        }
        if !entry.found.is_empty() {
            ready += 1;
            if let Some(table) = &mut table {
                table.stop_registering();
            }
        }
    }
    ready
}

/// Room for so many entries.
///
/// # Errors
/// `ENOMEM`.
pub fn entries(count: usize) -> Result<Vec<Polled>> {
    let mut entries = Vec::new();
    entries
        .try_reserve_exact(count)
        .map_err(|_| Errno::ENOMEM)?;
    Ok(entries)
}
