//! What a CPU or a task holds.

use core::cell::UnsafeCell;

/// So many locks are held at once at most.
const DEEPEST: usize = 24;

/// A lock that is held.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub class: u16,
    pub lock: usize,
    /// When it was taken.
    pub since: u64,
}

struct Entries {
    len: usize,
    entries: [Entry; DEEPEST],
}

/// The locks that a CPU (spinning ones) or a task (sleeping ones) holds.
///
/// # Invariants
/// Only the CPU, or the CPU that the task runs on, looks at it, with interrupts off.
pub struct Held(UnsafeCell<Entries>);

// SAFETY: see the invariant.
unsafe impl Sync for Held {}
// SAFETY: plain data.
unsafe impl Send for Held {}

impl Held {
    /// An empty record.
    pub const fn new() -> Held {
        let none = Entry {
            class: 0,
            lock: 0,
            since: 0,
        };
        Held(UnsafeCell::new(Entries {
            len: 0,
            entries: [none; DEEPEST],
        }))
    }

    pub(super) fn push(&self, entry: Entry) {
        // SAFETY: by the invariant nobody else looks.
        let entries = unsafe { &mut *self.0.get() };
        assert!(entries.len < DEEPEST, "too many locks are held");
        entries.entries[entries.len] = entry;
        entries.len += 1;
    }

    /// Takes out the entry of a lock, which is mostly the last.
    pub(super) fn remove(&self, lock: usize) -> Option<Entry> {
        // SAFETY: by the invariant nobody else looks.
        let entries = unsafe { &mut *self.0.get() };
        let held = &entries.entries[..entries.len];
        let at = held.iter().rposition(|entry| entry.lock == lock)?;
        let entry = entries.entries[at];
        entries.entries.copy_within(at + 1..entries.len, at);
        entries.len -= 1;
        Some(entry)
    }

    /// Calls `visit` with each, the first taken first.
    pub(super) fn for_each(&self, mut visit: impl FnMut(Entry)) {
        // SAFETY: by the invariant nobody else looks; `visit` takes no lock.
        let entries = unsafe { &*self.0.get() };
        entries.entries[..entries.len]
            .iter()
            .for_each(|entry| visit(*entry));
    }

    /// The one taken last.
    pub(super) fn last(&self) -> Option<Entry> {
        // SAFETY: by the invariant nobody else looks.
        let entries = unsafe { &*self.0.get() };
        entries.entries[..entries.len].last().copied()
    }
}

impl Default for Held {
    fn default() -> Self {
        Held::new()
    }
}
