//! epoll: a set of files, and those of them that may be ready.
//!
//! | module | what |
//! |---|---|
//! | this | [`Epoll`]: the set, its changes, waiting |
//! | `item` | one watched file; what wake-ups call |
//!
//! # Lock order
//! ```text
//! Epoll::items (sleeping)
//!   a queue's list of callbacks (interrupts off: wake-ups come from anywhere)
//!     Epoll::ready (interrupts off)
//!       run queues
//! ```
//!
//! # Invariants
//! - An item stands in `ready` at most once (`Item::queued`), and `ready` has room for every item, so that a wake-up
//!   never allocates.
//! - An item holds its file weakly: the last close of the file ends the watch, and the next look forgets the item.
//!   The weak reference keeps the file's address from being used again, so address and descriptor name an item.
//! - No epoll watches itself, by whatever detour: [`Epoll::add`] looks.
//!
//! References: epoll(7), epoll_ctl(2), epoll_wait(2).

mod item;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::epoll::{EpollEvent, EpollFlags};
use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::{Errno, Result};
use smallvec::SmallVec;

use self::item::Item;
use super::file::{File, FileOps};
use super::inode::FileKind;
use super::poll::Patience;
use crate::sync::{IrqSpinLock, Mutex, PollTable, SpinLock, WaitQueue};

/// How deep sets of sets may be.
const MAX_DEPTH: usize = 5;

/// Serialises adding sets to sets, so that two additions cannot close a circle together.
static NESTING: Mutex<()> = Mutex::new(());

/// What one look tells; a loop asks for a few events at a time.
type Told = SmallVec<[EpollEvent; 8]>;

/// What names an item: the file and the descriptor it was added by.
type Key = (usize, i32);

/// A set of watched files.
pub struct Epoll {
    items: Mutex<BTreeMap<Key, Arc<Item>>>,
    ready: IrqSpinLock<VecDeque<Arc<Item>>>,
    /// Those in `epoll_wait`, and sets that watch this one.
    queue: WaitQueue,
    this: Weak<Epoll>,
    /// Sweeping out items of closed files is due when there are so many.
    sweep_at: SpinLock<usize>,
}

fn key(file: &Arc<File>, fd: i32) -> Key {
    (Arc::as_ptr(file) as usize, fd)
}

/// Whether a file can tell when it becomes ready.
fn can_poll(file: &File) -> bool {
    let inode = file.inode();
    match inode.kind {
        // The inode behind anonymous files has no type bits.
        FileKind::Regular => inode.mode() & abi::fs::S_IFMT == 0,
        FileKind::Dir => false,
        // null, zero and full are always ready and say nothing.
        FileKind::Char => !super::memdev::is_always_ready(inode.rdev),
        _ => true,
    }
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Arc<Epoll> {
        Arc::new_cyclic(|this| Epoll {
            items: Mutex::new(BTreeMap::new()),
            ready: IrqSpinLock::new(VecDeque::new()),
            queue: WaitQueue::new(),
            this: this.clone(),
            sweep_at: SpinLock::new(64),
        })
    }

    /// Starts to watch a file.
    ///
    /// # Errors
    /// `EPERM` for files without readiness, `EEXIST`, `ELOOP` for a set that would watch itself, `ENOMEM`.
    pub fn add(&self, file: &Arc<File>, fd: i32, event: EpollEvent) -> Result<()> {
        if !can_poll(file) {
            return Err(Errno::EPERM);
        }
        let _nesting = match file.ops_as::<Epoll>() {
            Some(inner) => {
                let guard = NESTING.lock();
                if core::ptr::eq(inner, self) {
                    return Err(Errno::EINVAL);
                }
                if inner.depth_without(self, 1)? > MAX_DEPTH {
                    return Err(Errno::ELOOP);
                }
                Some(guard)
            }
            None => None,
        };
        let mut items = self.items.lock();
        self.sweep(&mut items);
        if items.contains_key(&key(file, fd)) {
            return Err(Errno::EEXIST);
        }
        let room = items.len() + 1;
        self.reserve_ready(room)?;
        let item = Item::new(self.this.clone(), file, fd, event);
        items.insert(key(file, fd), item.clone());
        item.register(file);
        self.look_at(&item, file);
        Ok(())
    }

    /// Changes what is asked of a watched file.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` for one added with EPOLLEXCLUSIVE.
    pub fn modify(&self, file: &Arc<File>, fd: i32, event: EpollEvent) -> Result<()> {
        let items = self.items.lock();
        let item = items.get(&key(file, fd)).ok_or(Errno::ENOENT)?;
        if item.flags().contains(EpollFlags::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        item.set_event(event);
        self.look_at(item, file);
        Ok(())
    }

    /// Stops watching a file.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(&self, file: &Arc<File>, fd: i32) -> Result<()> {
        let item = self
            .items
            .lock()
            .remove(&key(file, fd))
            .ok_or(Errno::ENOENT)?;
        self.forget(&item);
        Ok(())
    }

    /// The file watched by the descriptor number `fd`: of several, since a number may be used again while the file it
    /// stood for lives on, the one that `skip` others come before.
    pub fn target(&self, fd: i32, skip: u32) -> Option<Arc<File>> {
        let items = self.items.lock();
        let mut files = items
            .iter()
            .filter(|((_, number), _)| *number == fd)
            .filter_map(|(_, item)| item.file());
        files.nth(skip as usize)
    }

    fn forget(&self, item: &Arc<Item>) {
        item.unregister();
        let mut ready = self.ready.lock();
        let at = ready.iter().position(|other| Arc::ptr_eq(other, item));
        let removed = at.and_then(|at| ready.remove(at));
        drop(ready);
        drop(removed);
    }

    /// Forgets the items of closed files when there are twice as many as after the last sweep.
    fn sweep(&self, items: &mut BTreeMap<Key, Arc<Item>>) {
        let mut sweep_at = self.sweep_at.lock();
        if items.len() < *sweep_at {
            return;
        }
        let dead: Vec<Key> = items
            .iter()
            .filter(|(_, item)| item.file().is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in dead {
            if let Some(item) = items.remove(&key) {
                self.forget(&item);
            }
        }
        *sweep_at = (items.len() * 2).max(64);
    }

    fn reserve_ready(&self, room: usize) -> Result<()> {
        let mut ready = self.ready.lock();
        let missing = room.saturating_sub(ready.len());
        if ready.capacity() >= room {
            return Ok(());
        }
        drop(ready);
        // The bigger memory is made and the smaller one freed outside of the lock.
        let mut bigger = VecDeque::new();
        bigger
            .try_reserve(room.max(missing).next_power_of_two())
            .map_err(|_| Errno::ENOMEM)?;
        ready = self.ready.lock();
        bigger.extend(ready.drain(..));
        core::mem::swap(&mut *ready, &mut bigger);
        drop(ready);
        Ok(())
    }

    /// Puts an item among the ready ones if its file is ready now.
    fn look_at(&self, item: &Arc<Item>, file: &File) {
        if !item.found(file).is_empty() {
            self.enqueue(item);
        }
    }

    /// Puts an item among those that may be ready, and wakes. From any context.
    fn enqueue(&self, item: &Arc<Item>) {
        if item.mark_queued() {
            self.ready.lock().push_back(item.clone());
        }
        self.queue.wake_one();
    }

    /// How deep this set is, counting from `depth`.
    ///
    /// # Errors
    /// `ELOOP` when it holds `forbidden`.
    fn depth_without(&self, forbidden: &Epoll, depth: usize) -> Result<usize> {
        if core::ptr::eq(self, forbidden) || depth > MAX_DEPTH {
            return Err(Errno::ELOOP);
        }
        let files: Vec<Arc<File>> = self
            .items
            .lock()
            .values()
            .filter_map(|item| item.file())
            .collect();
        files
            .iter()
            .filter_map(|file| file.ops_as::<Epoll>())
            .try_fold(depth, |deepest, inner| {
                Ok(deepest.max(inner.depth_without(forbidden, depth + 1)?))
            })
    }

    /// Takes what is ready, up to `max` events. Level-triggered items go back to the end of the list.
    fn take(&self, max: usize) -> Told {
        let mut events = Told::new();
        let looks = self.ready.lock().len();
        for _ in 0..looks {
            if events.len() == max {
                break;
            }
            let Some(item) = self.ready.lock().pop_front() else {
                break;
            };
            // From here on a wake-up puts it back.
            item.unmark_queued();
            let Some(file) = item.file() else { continue };
            let Some((event, stays)) = item.tell(&file) else {
                continue;
            };
            events.push(event);
            if stays && item.mark_queued() {
                self.ready.lock().push_back(item);
            }
        }
        events
    }

    /// `epoll_wait`: events of files that are ready, at most `max`; none after the time has passed.
    ///
    /// # Errors
    /// `EINTR` when a signal came first.
    pub fn wait(&self, max: usize, patience: Patience) -> Result<Told> {
        loop {
            let events = self.take(max);
            if !events.is_empty() || patience == Patience::None {
                return Ok(events);
            }
            let deadline = match patience {
                Patience::Until(deadline) => Some(deadline),
                _ => None,
            };
            let some_ready = || (!self.ready.lock().is_empty()).then_some(());
            let woken = self.queue.wait_until_deadline(deadline, some_ready);
            match woken.map_err(|_| Errno::EINTR)? {
                Some(()) => {}
                None => return Ok(self.take(max)),
            }
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for item in self.items.get_mut().values() {
            item.unregister();
        }
    }
}

impl FileOps for Epoll {
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.queue);
        }
        let candidates: Vec<Arc<Item>> = self.ready.lock().iter().cloned().collect();
        let is_ready = |item: &Arc<Item>| {
            item.file()
                .is_some_and(|file| !item.found(&file).is_empty())
        };
        if candidates.iter().any(is_ready) {
            PollEvents::READABLE
        } else {
            PollEvents::empty()
        }
    }

    fn fdinfo(&self, _file: &File, out: &mut dyn core::fmt::Write) {
        for item in self.items.lock().values() {
            item.describe(out);
        }
    }
}

/// A descriptor's file for a new set.
///
/// # Errors
/// `ENOMEM`.
pub fn create() -> Result<Arc<File>> {
    super::anon_file(
        "[eventpoll]",
        Epoll::new() as Arc<dyn FileOps>,
        OpenFlags::RDWR,
    )
}
