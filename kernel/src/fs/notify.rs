//! The one place that hears of what happens to files. Watchers (inotify) attach to inodes here.

use alloc::sync::Arc;
use core::any::Any;

use bitflags::bitflags;

use crate::fs::dentry::Dentry;
use crate::fs::dnotify;
use crate::fs::file::File;
use crate::fs::inode::Inode;

bitflags! {
    /// Events in the values of inotify.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Event: u32 {
        const ACCESS = 0x1;
        const MODIFY = 0x2;
        const ATTRIB = 0x4;
        const CLOSE_WRITE = 0x8;
        const CLOSE_NOWRITE = 0x10;
        const OPEN = 0x20;
        const MOVED_FROM = 0x40;
        const MOVED_TO = 0x80;
        const CREATE = 0x100;
        const DELETE = 0x200;
        const DELETE_SELF = 0x400;
        const MOVE_SELF = 0x800;
        const UNMOUNT = 0x2000;
        const ISDIR = 0x4000_0000;
        /// An entry got another name in the same directory. For dnotify alone.
        const RENAMED = 0x0040_0000;
        /// The name no longer leads to the file. For watchers alone, never told.
        const UNLINKED = 0x0080_0000;
    }
}

/// Hears the events of one inode and, for a directory, of its entries.
pub trait Watcher: Send + Sync + Any {
    /// `name` is set for events of an entry of the watched directory; `cookie` pairs the halves of a move.
    fn notify(&self, event: Event, name: Option<&[u8]>, cookie: u32);
    /// The last name and the last user are gone.
    fn removed(&self);
    /// The file system is.
    fn unmounted(&self);
}

#[inline]
fn watcher(inode: &Inode) -> Option<Arc<dyn Watcher>> {
    inode.extra()?.watches.lock().clone()
}

/// Something happened to the inode itself.
#[inline]
pub fn event(inode: &Inode, event: Event) {
    if let Some(watcher) = watcher(inode) {
        watcher.notify(event, None, 0);
    }
    if event.contains(Event::ISDIR) {
        dnotify::tell(inode, event);
    }
}

/// Something happened to an entry of the directory.
#[inline]
pub fn entry_event(dir: &Inode, event: Event, name: &[u8], cookie: u32) {
    if let Some(watcher) = watcher(dir) {
        watcher.notify(event, Some(name), cookie);
    }
    dnotify::tell(dir, event);
}

/// Something happened to the file at a dentry: tells its watcher and that of its directory.
#[inline]
pub fn dentry_event(dentry: &Arc<Dentry>, what: Event) {
    if !active() {
        return;
    }
    let dir = if dentry.inode().is_dir() {
        Event::ISDIR
    } else {
        Event::empty()
    };
    if let Some(parent) = dentry.parent()
        && (watcher(parent.inode()).is_some() || dnotify::watches(parent.inode()))
    {
        let unlinked = if dentry.is_deleted() {
            Event::UNLINKED
        } else {
            Event::empty()
        };
        entry_event(parent.inode(), what | dir | unlinked, &dentry.name(), 0);
    }
    event(dentry.inode(), what | dir);
}

/// A dentry whose name was removed is let go: with the last name that is the file's end, as far as watchers go.
#[inline]
pub fn dentry_dropped(inode: &Inode) {
    if inode.nlink() == 0
        && let Some(watcher) = watcher(inode)
    {
        watcher.removed();
    }
}

/// The file system of the inode was unmounted.
pub fn unmounted(inode: &Inode) {
    if let Some(watcher) = watcher(inode) {
        watcher.unmounted();
    }
}

/// Something was done through an open file.
#[inline]
pub fn file_event(file: &File, what: Event) {
    if active() {
        dentry_event(&file.path().dentry, what);
    }
}

static WATCHERS: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// Whether anybody watches anything: keeps the cost off everybody else.
#[inline]
fn active() -> bool {
    WATCHERS.load(core::sync::atomic::Ordering::Relaxed) != 0
}

/// Counts watchers in (`+1`) and out (`-1`); the owner of watches calls it.
pub fn count_watchers(change: isize) {
    WATCHERS.fetch_add(change as usize, core::sync::atomic::Ordering::Relaxed);
}
