//! Descriptors in flight: sent, not yet received.
//!
//! A user may have as many in flight as it may have open. A socket in flight may sit in its own queue, or in that of
//! another one in flight: nobody can reach such sockets, but they keep each other alive. [`collect`] finds them when a
//! socket is closed while others are in flight: among the sockets that only queues refer to, those that no other
//! queue leads to. Nobody can receive from one of these, so nothing about them changes while it looks; what is sent
//! meanwhile waits for the lock before it counts.
//!
//! A closed socket drops what it had received, which may be sockets that do the same. [`bury`] makes a loop of that,
//! for a chain of them would be deeper than the kernel's stack.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::{Errno, Result};

use super::packet::Packet;
use super::{End, UnixSocket};
use crate::fs::File;
use crate::sync::Mutex;
use crate::task::rlimit::Resource;
use crate::task::{self, Cap};

struct Flight {
    file: Weak<File>,
    /// How often it is in a queue.
    count: usize,
}

/// Sockets in flight, by the address of their file.
static IN_FLIGHT: Mutex<BTreeMap<usize, Flight>> = Mutex::new(BTreeMap::new());
/// How many entries [`IN_FLIGHT`] has.
static SOCKETS: AtomicUsize = AtomicUsize::new(0);
/// Descriptors in flight of each user.
static BY_USER: Mutex<BTreeMap<u32, usize>> = Mutex::new(BTreeMap::new());

fn end_of(file: &File) -> Option<&Arc<End>> {
    file.ops_as::<UnixSocket>().map(|socket| &socket.end)
}

fn key(file: &Arc<File>) -> usize {
    Arc::as_ptr(file) as usize
}

/// Descriptors in a queue; dropping it takes them out of the counts.
pub struct InFlight {
    files: Vec<Arc<File>>,
    user: u32,
}

impl InFlight {
    /// Counts descriptors in; `None` for no descriptors.
    ///
    /// # Errors
    /// `ETOOMANYREFS` when the user has too many in flight.
    pub fn launch(files: Vec<Arc<File>>) -> Result<Option<InFlight>> {
        if files.is_empty() {
            return Ok(None);
        }
        let task = task::current();
        let cred = task.my_cred();
        let user = cred.uid;
        let limit = task.process.rlimits.soft(Resource::Nofile);
        let privileged = cred.capable(Cap::SYS_RESOURCE) || cred.capable(Cap::SYS_ADMIN);
        let mut by_user = BY_USER.lock();
        let count = by_user.entry(user).or_insert(0);
        if *count as u64 > limit && !privileged {
            return Err(Errno::ETOOMANYREFS);
        }
        *count += files.len();
        drop(by_user);
        if files.iter().any(|file| end_of(file).is_some()) {
            let mut flights = IN_FLIGHT.lock();
            for file in files.iter().filter(|file| end_of(file).is_some()) {
                let flight = flights.entry(key(file)).or_insert_with(|| Flight {
                    file: Arc::downgrade(file),
                    count: 0,
                });
                flight.count += 1;
            }
            SOCKETS.store(flights.len(), Ordering::SeqCst);
        }
        Ok(Some(InFlight { files, user }))
    }

    pub fn files(&self) -> &[Arc<File>] {
        &self.files
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut by_user = BY_USER.lock();
        if let Some(count) = by_user.get_mut(&self.user) {
            *count = count.saturating_sub(self.files.len());
            if *count == 0 {
                by_user.remove(&self.user);
            }
        }
        drop(by_user);
        let files = core::mem::take(&mut self.files);
        if !files.iter().any(|file| end_of(file).is_some()) {
            return;
        }
        let mut flights = IN_FLIGHT.lock();
        for file in files.iter().filter(|file| end_of(file).is_some()) {
            let key = key(file);
            if let Some(flight) = flights.get_mut(&key) {
                flight.count -= 1;
                if flight.count == 0 {
                    flights.remove(&key);
                }
            }
        }
        SOCKETS.store(flights.len(), Ordering::SeqCst);
        drop(flights);
        bury(files);
    }
}

#[derive(Default)]
struct Graveyard {
    files: Vec<Arc<File>>,
    someone_digs: bool,
}

static GRAVEYARD: Mutex<Graveyard> = Mutex::new(Graveyard {
    files: Vec::new(),
    someone_digs: false,
});

/// Drops files, and what dropping them leads to, one after the other.
fn bury(files: Vec<Arc<File>>) {
    let mut graveyard = GRAVEYARD.lock();
    graveyard.files.extend(files);
    if core::mem::replace(&mut graveyard.someone_digs, true) {
        return;
    }
    while let Some(file) = graveyard.files.pop() {
        drop(graveyard);
        drop(file);
        graveyard = GRAVEYARD.lock();
    }
    graveyard.someone_digs = false;
}

/// References taken while looking: they may become the last ones, and are dropped after the lock.
#[derive(Default)]
struct Kept {
    packets: Vec<Arc<Packet>>,
    ends: Vec<Arc<End>>,
}

fn add_sockets(fds: Option<&InFlight>, found: &mut Vec<usize>) {
    let files = fds.map(InFlight::files).unwrap_or_default();
    found.extend(files.iter().filter(|file| end_of(file).is_some()).map(key));
}

/// Adds the key of every socket in the end's queues, and in those of connections it has not accepted.
fn add_queued(end: &End, found: &mut Vec<usize>, kept: &mut Kept) {
    for carried in end.stream.lock().carried() {
        add_sockets(carried.fds.as_ref(), found);
    }
    let packets: Vec<_> = end.packets.lock().iter().cloned().collect();
    for packet in &packets {
        add_sockets(packet.carried.fds.as_ref(), found);
    }
    kept.packets.extend(packets);
    let embryos: Vec<_> = end
        .backlog
        .lock()
        .iter()
        .map(|embryo| embryo.end().clone())
        .collect();
    for embryo in embryos {
        // What is not accepted is no listener: this goes one level deep.
        add_queued(&embryo, found, kept);
        kept.ends.push(embryo);
    }
}

/// How many closed sockets make it worth looking at all those in flight: one in so many of these.
const PATIENCE: usize = 8;
/// Sockets closed since the last look.
static CLOSED: AtomicUsize = AtomicUsize::new(0);

/// Collects if there is anything to collect. A look costs as much as there are sockets in flight, so that many of
/// them are looked at less often: the cost of a close stays bounded.
pub fn collect_if_due() {
    let sockets = SOCKETS.load(Ordering::SeqCst);
    if sockets != 0 && CLOSED.fetch_add(1, Ordering::Relaxed) >= sockets / PATIENCE {
        CLOSED.store(0, Ordering::Relaxed);
        collect();
    }
}

/// Empties the queues of sockets that nobody can reach.
fn collect() {
    let mut kept = Kept::default();
    let flights = IN_FLIGHT.lock();
    // Those that only queues refer to, and how often queues not looked at yet do.
    let mut files = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (key, flight) in flights.iter() {
        if flight.file.strong_count() == flight.count
            && let Some(file) = flight.file.upgrade()
        {
            files.insert(*key, file);
            counts.insert(*key, flight.count);
        }
    }
    for file in files.values() {
        for queued in queued_at(file, &mut kept) {
            if let Some(count) = counts.get_mut(&queued) {
                *count = count.saturating_sub(1);
            }
        }
    }
    let outside = counts.iter().filter(|(_, count)| **count != 0);
    let mut reached: Vec<usize> = outside.map(|(key, _)| *key).collect();
    let mut live: BTreeSet<usize> = reached.iter().copied().collect();
    while let Some(file) = reached.pop().and_then(|key| files.get(&key)) {
        for queued in queued_at(file, &mut kept) {
            if files.contains_key(&queued) && live.insert(queued) {
                reached.push(queued);
            }
        }
    }
    let garbage = files.iter().filter(|(key, _)| !live.contains(key));
    let ends = garbage.filter_map(|(_, file)| end_of(file));
    let purged: Vec<_> = ends.map(|end| end.purge()).collect();
    drop(flights);
    drop(kept);
    drop(purged);
    bury(files.into_values().collect());
}

fn queued_at(file: &File, kept: &mut Kept) -> Vec<usize> {
    let mut queued = Vec::new();
    if let Some(end) = end_of(file) {
        add_queued(end, &mut queued, kept);
    }
    queued
}
