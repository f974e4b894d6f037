//! Directory notification (`F_NOTIFY`): a signal for what happens to the entries of a directory that is open.
//!
//! Reference: fcntl(2), "File and directory change notification (dnotify)".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::fs::{DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME};
use abi::{Errno, Result};

use super::File;
use super::fasync::{Async, Band, Owner};
use super::inode::Inode;
use super::locks::description_owner;
use super::notify::{self, Event};
use crate::sync::Mutex;

/// `fs.dir-notify-enable`.
static ENABLED: AtomicBool = AtomicBool::new(true);

pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}
pub fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// One open directory as one descriptor table asked for it.
struct Entry {
    table: u64,
    /// As in [`description_owner`].
    holder: u64,
    fd: i32,
    events: Event,
    /// Stays after the first event.
    multishot: bool,
    tell: Arc<Async>,
}

/// Who asked about one directory.
///
/// # Invariants
/// `used` says whether `entries` has any; each counts as a watcher at [`notify`].
#[derive(Default)]
pub struct DirNotify {
    used: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

impl DirNotify {
    fn change<R>(&self, f: impl FnOnce(&mut Vec<Entry>) -> R) -> R {
        let mut entries = self.entries.lock();
        let before = entries.len();
        let result = f(&mut entries);
        self.used.store(!entries.is_empty(), Ordering::Relaxed);
        notify::count_watchers(entries.len() as isize - before as isize);
        result
    }

    #[cold]
    fn tell(&self, event: Event) {
        let told: Vec<(Arc<Async>, i32)> = self.change(|entries| {
            let asked = entries
                .iter()
                .filter(|entry| entry.events.intersects(event));
            let told = asked.map(|entry| (entry.tell.clone(), entry.fd)).collect();
            entries.retain(|entry| entry.multishot || !entry.events.intersects(event));
            told
        });
        for (holder, fd) in told {
            holder.tell_of(Band::Msg, fd);
        }
    }
}

/// Whether anybody asked about this directory.
#[inline]
pub fn watches(dir: &Inode) -> bool {
    dir.extra()
        .is_some_and(|extra| extra.dnotify.used.load(Ordering::Relaxed))
}

/// Something happened to an entry of the directory, or to itself.
#[inline]
pub fn tell(dir: &Inode, event: Event) {
    if let Some(extra) = dir.extra()
        && extra.dnotify.used.load(Ordering::Relaxed)
    {
        extra.dnotify.tell(event);
    }
}

/// The events that `DN_*` stand for.
fn events_of(mask: u32) -> Event {
    let mut events = Event::empty();
    for (bit, event) in [
        (DN_ACCESS, Event::ACCESS),
        (DN_MODIFY, Event::MODIFY),
        (DN_CREATE, Event::CREATE | Event::MOVED_TO),
        (DN_DELETE, Event::DELETE | Event::MOVED_FROM),
        (DN_RENAME, Event::RENAMED),
        (DN_ATTRIB, Event::ATTRIB),
    ] {
        if mask & bit != 0 {
            events |= event;
        }
    }
    events
}

/// `F_NOTIFY` by the descriptor `fd` of a table: asks for more, or without events for nothing any more.
///
/// # Errors
/// `EINVAL` where it is forbidden, `ENOTDIR`, `ENOMEM`.
pub fn ask(file: &File, table: u64, fd: i32, mask: u32) -> Result<()> {
    if !enabled() {
        return Err(Errno::EINVAL);
    }
    if mask & !DN_MULTISHOT == 0 {
        forget(file, Some(table));
        return Ok(());
    }
    let inode = file.inode();
    if !inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let holder = description_owner(file);
    let state = file.fasync_or_new();
    let (events, multishot) = (events_of(mask), mask & DN_MULTISHOT != 0);
    inode.extra_or_new().dnotify.change(|entries| {
        let own = |entry: &&mut Entry| (entry.table, entry.holder) == (table, holder);
        if let Some(entry) = entries.iter_mut().find(own) {
            entry.fd = fd;
            entry.events |= events;
            entry.multishot |= multishot;
            return Ok(());
        }
        entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        entries.push(Entry {
            table,
            holder,
            fd,
            events,
            multishot,
            tell: state.clone(),
        });
        Ok(())
    })?;
    if state.owner().is_none() {
        state.set_owner(Some(Owner::current()));
    }
    Ok(())
}

/// A descriptor of the file was closed in that table, or with `None` the last one anywhere.
pub fn forget(file: &File, table: Option<u64>) {
    let inode = file.inode();
    if !inode.is_dir() || !watches(inode) {
        return;
    }
    let holder = description_owner(file);
    inode.extra_or_new().dnotify.change(|entries| {
        entries.retain(|entry| {
            entry.holder != holder || table.is_some_and(|table| table != entry.table)
        });
    });
}
