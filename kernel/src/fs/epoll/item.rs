//! One watched file.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::epoll::{EpollEvent, EpollFlags};
use abi::poll::PollEvents;

use super::super::file::File;
use super::Epoll;
use crate::sync::{CallbackList, IrqSpinLock, PollTable, SpinLock, WakeCallback};

/// A file that a set watches by one descriptor.
pub(super) struct Item {
    epoll: Weak<Epoll>,
    file: Weak<File>,
    fd: i32,
    event: IrqSpinLock<EpollEvent>,
    /// Stands in the set's list of ready items.
    queued: AtomicBool,
    /// The lists of callbacks it stands in.
    lists: SpinLock<Vec<Arc<CallbackList>>>,
    this: Weak<Item>,
}

impl WakeCallback for Item {
    fn wake(&self, events: PollEvents) {
        let (Some(epoll), Some(item)) = (self.epoll.upgrade(), self.this.upgrade()) else {
            return;
        };
        let event = *self.event.lock();
        if event.is_disabled() || !events.intersects(event.wanted()) {
            return;
        }
        epoll.enqueue(&item);
    }
}

impl Item {
    pub(super) fn new(
        epoll: Weak<Epoll>,
        file: &Arc<File>,
        fd: i32,
        event: EpollEvent,
    ) -> Arc<Item> {
        Arc::new_cyclic(|this| Item {
            epoll,
            file: Arc::downgrade(file),
            fd,
            event: IrqSpinLock::new(event),
            queued: AtomicBool::new(false),
            lists: SpinLock::new(Vec::new()),
            this: this.clone(),
        })
    }

    /// Has the file's queues call it.
    pub(super) fn register(self: &Arc<Self>, file: &File) {
        let mut table = PollTable::new(self.clone() as Arc<dyn WakeCallback>);
        file.poll(Some(&mut table));
        *self.lists.lock() = table.into_registrations();
    }

    /// Takes it out of all queues.
    pub(super) fn unregister(&self) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let this: Arc<dyn WakeCallback> = this;
        let lists = core::mem::take(&mut *self.lists.lock());
        for list in &lists {
            list.remove(&this);
        }
    }

    /// The file, unless it was closed.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.upgrade()
    }

    pub(super) fn flags(&self) -> EpollFlags {
        self.event.lock().flags()
    }

    pub(super) fn set_event(&self, event: EpollEvent) {
        *self.event.lock() = event;
    }

    /// What is wanted and there.
    pub(super) fn found(&self, file: &File) -> PollEvents {
        let event = *self.event.lock();
        if event.is_disabled() {
            return PollEvents::empty();
        }
        file.poll(None) & event.wanted()
    }

    /// The event to tell, if there is one, and whether the next look should ask again though no wake-up came. A
    /// one-shot item is disabled by it.
    pub(super) fn tell(&self, file: &File) -> Option<(EpollEvent, bool)> {
        let event = *self.event.lock();
        if event.is_disabled() {
            return None;
        }
        let found = file.poll(None) & event.wanted();
        if found.is_empty() {
            return None;
        }
        if event.flags().contains(EpollFlags::ONESHOT) {
            self.event.lock().disable();
        }
        let stays = !event
            .flags()
            .intersects(EpollFlags::ET | EpollFlags::ONESHOT);
        Some((event.with_found(found), stays))
    }

    /// True if it was not queued.
    pub(super) fn mark_queued(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unmark_queued(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// A line of `/proc/<pid>/fdinfo`.
    pub(super) fn describe(&self, out: &mut dyn Write) {
        let Some(file) = self.file() else { return };
        let event = *self.event.lock();
        // Writing into the reader's buffer cannot fail.
        let _ = writeln!(
            out,
            "tfd: {:8} events: {:8x} data: {:16x}  pos:{} ino:{:x} sdev:{:x}",
            self.fd,
            event.bits(),
            event.data(),
            file.pos(),
            file.inode().ino,
            0
        );
    }
}
