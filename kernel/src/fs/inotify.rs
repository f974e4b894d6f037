//! inotify: a queue of events of watched files.
//!
//! An [`Inotify`] has watches by number; each inode that is watched has a [`Marks`], the [`Watcher`] that hears its
//! events and passes them to the watches of all queues. A watch keeps its inode, so that a file system cannot forget
//! it, until the file is removed, its file system unmounted, or the queue closed.
//!
//! # Lock order
//! ```text
//! Inotify::watches (sleeping)
//!   InodeExtra::watches, Marks::watches -> Inotify::queue (spin locks)
//! ```
//! An event that ends a watch takes `Inotify::watches`, with no spin lock held.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::fs::{AT_FDCWD, FIONREAD, OpenFlags, R_OK};
use abi::inotify::{
    IN_ALL_EVENTS, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD,
    IN_MASK_CREATE, IN_ONESHOT, IN_ONLYDIR, IN_Q_OVERFLOW, IN_UNMOUNT, InotifyEvent,
};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::fasync::{Band, FasyncList};
use super::file::{File, FileOps};
use super::inode::Inode;
use super::notify::{self, Event, Watcher};
use super::path::{self, LookupFlags};
use super::perm;
use crate::mm::user::{IoSink, UserPtr};
use crate::sync::{Mutex, PollTable, SpinLock, WaitQueue};
use crate::system::Setting;
use crate::task;

/// `fs.inotify.max_queued_events`, of queues to come.
pub static MAX_QUEUED: Setting = Setting::new(16384, (0, i32::MAX as usize));
/// `fs.inotify.max_user_instances`.
pub static MAX_INSTANCES: Setting = Setting::new(128, (0, i32::MAX as usize));
/// `fs.inotify.max_user_watches`; at first the least that Linux sets by the size of memory.
pub static MAX_WATCHES: Setting = Setting::new(8192, (0, i32::MAX as usize));

/// Queues and watches of each user.
static USERS: Mutex<BTreeMap<u32, Usage>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Default)]
struct Usage {
    instances: usize,
    watches: usize,
}

/// Changes what a user has, unless that is more than the limits allow.
fn charge(user: u32, change: impl FnOnce(&mut Usage)) -> Option<()> {
    let mut users = USERS.lock();
    let before = users.get(&user).copied().unwrap_or_default();
    let mut usage = before;
    change(&mut usage);
    let exceeds = |now: usize, before: usize, most: &Setting| now > before && now > most.get();
    if exceeds(usage.instances, before.instances, &MAX_INSTANCES)
        || exceeds(usage.watches, before.watches, &MAX_WATCHES)
    {
        return None;
    }
    if usage.instances == 0 && usage.watches == 0 {
        users.remove(&user);
    } else {
        users.insert(user, usage);
    }
    Some(())
}

/// An event in the queue.
struct Queued {
    wd: i32,
    mask: u32,
    cookie: u32,
    /// Empty for an event of the watched file itself.
    name: Box<[u8]>,
}

impl Queued {
    /// The name's bytes with a NUL, padded to whole headers.
    fn padded(&self) -> usize {
        match self.name.len() {
            0 => 0,
            len => (len + 1).next_multiple_of(size_of::<InotifyEvent>()),
        }
    }
    fn size(&self) -> usize {
        size_of::<InotifyEvent>() + self.padded()
    }
    fn repeats(&self, other: &Queued) -> bool {
        self.mask & IN_IGNORED == 0
            && self.mask == other.mask
            && self.wd == other.wd
            && self.name == other.name
    }
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Queued>,
    /// What all of them take in a reader's buffer.
    bytes: usize,
}

/// Watches by number.
struct Watches {
    by_wd: BTreeMap<i32, Arc<Watch>>,
    next: i32,
}

/// A queue of events, and what it watches.
pub struct Inotify {
    watches: Mutex<Watches>,
    queue: SpinLock<Queue>,
    readers: WaitQueue,
    fasync: FasyncList,
    user: u32,
    max_queued: usize,
    this: Weak<Inotify>,
}

/// One watched inode of one queue.
struct Watch {
    owner: Weak<Inotify>,
    wd: i32,
    /// The events asked for, and `IN_ONESHOT` and `IN_EXCL_UNLINK`.
    mask: AtomicU32,
    inode: Arc<Inode>,
}

/// The watches of one inode.
#[derive(Default)]
struct Marks {
    watches: SpinLock<Vec<Arc<Watch>>>,
}

impl Watcher for Marks {
    fn notify(&self, event: Event, name: Option<&[u8]>, cookie: u32) {
        let wanted = |watch: &&Arc<Watch>| watch.wants(event, name);
        let told: Vec<Arc<Watch>> = self.watches.lock().iter().filter(wanted).cloned().collect();
        for watch in &told {
            watch.tell(event, name, cookie);
        }
    }

    fn removed(&self) {
        self.end_all(Event::DELETE_SELF);
    }

    fn unmounted(&self) {
        self.end_all(Event::UNMOUNT);
    }
}

impl Marks {
    /// Tells every watch of its last event and ends it.
    fn end_all(&self, last: Event) {
        let watches = core::mem::take(&mut *self.watches.lock());
        for watch in &watches {
            if last == Event::UNMOUNT || watch.wants(last, None) {
                watch.tell(last, None, 0);
            }
            if let Some(owner) = watch.owner.upgrade() {
                owner.forget(watch.wd);
            }
        }
    }
}

impl Watch {
    fn wants(&self, event: Event, name: Option<&[u8]>) -> bool {
        let mask = self.mask.load(Ordering::Relaxed);
        let gone = event.contains(Event::UNLINKED) && name.is_some() && mask & IN_EXCL_UNLINK != 0;
        mask & IN_ALL_EVENTS & event.bits() != 0 && !gone
    }

    fn tell(&self, event: Event, name: Option<&[u8]>, cookie: u32) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let mut mask = event.bits() & (IN_ALL_EVENTS | IN_UNMOUNT | IN_ISDIR);
        if event.intersects(Event::DELETE_SELF | Event::MOVE_SELF) {
            mask &= !IN_ISDIR;
        }
        owner.push(self.wd, mask, cookie, name.unwrap_or_default());
        if self.mask.load(Ordering::Relaxed) & IN_ONESHOT != 0 {
            // Nobody may have been faster: then there is nothing left to remove.
            let _ = owner.remove(self.wd);
        }
    }

    /// Takes it out of its inode's list.
    fn detach(&self) {
        let Some(extra) = self.inode.extra() else {
            return;
        };
        let Some(watcher) = extra.watches.lock().clone() else {
            return;
        };
        let any: &dyn Any = &*watcher;
        let Some(marks) = any.downcast_ref::<Marks>() else {
            return;
        };
        let mut watches = marks.watches.lock();
        let at = watches
            .iter()
            .position(|other| core::ptr::eq(Arc::as_ptr(other), self));
        let taken = at.map(|at| watches.swap_remove(at));
        drop(watches);
        drop(taken);
    }
}

impl Inotify {
    /// Queues an event, unless it repeats the last one; the one that finds the queue full says so.
    fn push(&self, wd: i32, mask: u32, cookie: u32, name: &[u8]) {
        let mut event = Queued {
            wd,
            mask,
            cookie,
            name: Box::from(name),
        };
        let mut room = VecDeque::new();
        let mut queue = self.queue.lock();
        if queue.events.len() == queue.events.capacity() {
            // Memory is got with the lock open; what another one queues meanwhile fits too.
            let wanted = (queue.events.len() * 2).max(16);
            drop(queue);
            if room.try_reserve(wanted).is_err() {
                return;
            }
            queue = self.queue.lock();
            if room.capacity() > queue.events.len() {
                room.extend(queue.events.drain(..));
                core::mem::swap(&mut room, &mut queue.events);
            }
        }
        if queue.events.len() > self.max_queued {
            return;
        }
        if queue.events.len() == self.max_queued {
            event = Queued {
                wd: -1,
                mask: IN_Q_OVERFLOW,
                cookie: 0,
                name: Box::default(),
            };
        } else if queue.events.back().is_some_and(|last| last.repeats(&event)) {
            return;
        }
        queue.bytes += event.size();
        queue.events.push_back(event);
        drop(queue);
        self.readers.wake_events(PollEvents::READABLE);
        self.fasync.tell(Band::In);
    }

    /// Takes a watch out of the table, and tells the reader.
    fn forget(&self, wd: i32) -> Option<Arc<Watch>> {
        let watch = self.watches.lock().by_wd.remove(&wd)?;
        let _ = charge(self.user, |usage| usage.watches -= 1);
        notify::count_watchers(-1);
        self.push(wd, IN_IGNORED, 0, b"");
        Some(watch)
    }

    /// `inotify_rm_watch`.
    ///
    /// # Errors
    /// `EINVAL` for a number that is no watch's.
    pub fn remove(&self, wd: i32) -> Result<()> {
        let watch = self.forget(wd).ok_or(Errno::EINVAL)?;
        watch.detach();
        Ok(())
    }

    /// Watches an inode, or changes what is asked of one that is watched; `mask` is as the user gave it.
    ///
    /// # Errors
    /// `EEXIST` with `IN_MASK_CREATE` for one that is watched, `ENOSPC` at the limit.
    fn add(&self, inode: &Arc<Inode>, mask: u32) -> Result<i32> {
        let kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
        let marks = marks_of(inode);
        let any: &dyn Any = &*marks;
        let marks = any.downcast_ref::<Marks>().ok_or(Errno::EINVAL)?;
        let mut watches = self.watches.lock();
        let mine = |watch: &&Arc<Watch>| watch.owner.ptr_eq(&self.this);
        let known = marks.watches.lock().iter().find(mine).cloned();
        if let Some(watch) = known {
            if mask & IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            if mask & IN_MASK_ADD != 0 {
                watch.mask.fetch_or(kept, Ordering::Relaxed);
            } else {
                watch.mask.store(kept, Ordering::Relaxed);
            }
            return Ok(watch.wd);
        }
        charge(self.user, |usage| usage.watches += 1).ok_or(Errno::ENOSPC)?;
        let wd = watches.next;
        watches.next = wd.checked_add(1).unwrap_or(1);
        let watch = Arc::new(Watch {
            owner: self.this.clone(),
            wd,
            mask: AtomicU32::new(kept),
            inode: inode.clone(),
        });
        watches.by_wd.insert(wd, watch.clone());
        notify::count_watchers(1);
        marks.watches.lock().push(watch);
        Ok(wd)
    }

    /// `inotify_add_watch`.
    ///
    /// # Errors
    /// `EINVAL` for a mask without events or with contrary flags, those of the walk, `EACCES`, those of adding.
    pub fn watch(&self, path: &[u8], mask: u32) -> Result<i32> {
        let mut flags = LookupFlags::empty();
        flags.set(LookupFlags::FOLLOW, mask & IN_DONT_FOLLOW == 0);
        flags.set(LookupFlags::DIRECTORY, mask & IN_ONLYDIR != 0);
        let place = path::lookup(AT_FDCWD, path, flags)?;
        perm::check(place.inode(), R_OK, &task::current().my_cred())?;
        self.add(place.inode(), mask)
    }
}

/// Checks a mask before anything else is looked at.
///
/// # Errors
/// `EINVAL`.
pub fn check_mask(mask: u32) -> Result<()> {
    const KNOWN: u32 = IN_ALL_EVENTS
        | IN_UNMOUNT
        | IN_Q_OVERFLOW
        | IN_IGNORED
        | IN_ONLYDIR
        | IN_DONT_FOLLOW
        | IN_EXCL_UNLINK
        | IN_MASK_ADD
        | IN_MASK_CREATE
        | IN_ISDIR
        | IN_ONESHOT;
    if mask & KNOWN == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Contrary flags, which Linux finds after the descriptor.
///
/// # Errors
/// `EINVAL`.
pub fn check_flags(mask: u32) -> Result<()> {
    if mask & IN_MASK_ADD != 0 && mask & IN_MASK_CREATE != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The inode's list of watches, made at first use.
fn marks_of(inode: &Inode) -> Arc<dyn Watcher> {
    let fresh: Arc<dyn Watcher> = Arc::new(Marks::default());
    inode
        .extra_or_new()
        .watches
        .lock()
        .get_or_insert(fresh)
        .clone()
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = core::mem::take(&mut self.watches.get_mut().by_wd);
        let count = watches.len();
        for watch in watches.values() {
            watch.detach();
        }
        notify::count_watchers(-(count as isize));
        let _ = charge(self.user, |usage| {
            usage.watches -= count;
            usage.instances -= 1;
        });
    }
}

impl FileOps for Inotify {
    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.fasync), None])
    }

    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        loop {
            while let Some(event) = self.take(sink.remaining(), sink.done() == 0)? {
                let put = put_event(&event, sink);
                if put.is_err() {
                    return sink.outcome(put);
                }
            }
            if sink.done() != 0 {
                return Ok(sink.done());
            }
            if file.nonblocking() {
                return Err(Errno::EAGAIN);
            }
            self.readers
                .wait_until(|| (!self.queue.lock().events.is_empty()).then_some(()))?;
        }
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.readers);
        }
        if self.queue.lock().events.is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::READABLE
        }
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> Result<usize> {
        if cmd != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes = self.queue.lock().bytes;
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        UserPtr::from(arg).write(&bytes).map(|()| 0)
    }

    fn fdinfo(&self, _file: &File, out: &mut dyn core::fmt::Write) {
        for watch in self.watches.lock().by_wd.values() {
            let mask = watch.mask.load(Ordering::Relaxed);
            // Writing into the reader's buffer cannot fail.
            let _ = writeln!(
                out,
                "inotify wd:{:x} ino:{:x} sdev:{:x} mask:{:x} ignored_mask:0 ",
                watch.wd,
                watch.inode.ino,
                watch.inode.sb.dev.to_user(),
                mask
            );
        }
    }
}

impl Inotify {
    /// The next event if it fits in `room`.
    ///
    /// # Errors
    /// `EINVAL` if it does not and `is_first`.
    fn take(&self, room: usize, is_first: bool) -> Result<Option<Queued>> {
        let mut queue = self.queue.lock();
        let Some(size) = queue.events.front().map(Queued::size) else {
            return Ok(None);
        };
        if size > room {
            return if is_first {
                Err(Errno::EINVAL)
            } else {
                Ok(None)
            };
        }
        queue.bytes -= size;
        Ok(queue.events.pop_front())
    }
}

fn put_event(event: &Queued, sink: &mut IoSink<'_>) -> Result<()> {
    let padded = event.padded();
    let header = InotifyEvent {
        wd: event.wd,
        mask: event.mask,
        cookie: event.cookie,
        len: padded as u32,
    };
    sink.put(header.as_bytes())?;
    sink.put(&event.name)?;
    sink.put_zeros(padded - event.name.len())
}

/// A descriptor's file for a new queue.
///
/// # Errors
/// `EMFILE` for more queues than a user may have.
pub fn create(flags: OpenFlags) -> Result<Arc<File>> {
    let user = task::current().my_cred().uid;
    charge(user, |usage| usage.instances += 1).ok_or(Errno::EMFILE)?;
    let inotify = Arc::new_cyclic(|this: &Weak<Inotify>| Inotify {
        watches: Mutex::new(Watches {
            by_wd: BTreeMap::new(),
            next: 1,
        }),
        queue: SpinLock::new(Queue::default()),
        readers: WaitQueue::new(),
        fasync: FasyncList::default(),
        user,
        max_queued: MAX_QUEUED.get(),
        this: this.clone(),
    });
    super::anon_file("inotify", inotify, flags & OpenFlags::NONBLOCK)
}
