//! Directory entries: a name in a directory and the inode it leads to, in one tree per file system. The tree is
//! the cache that path walks run on, and, for tmpfs, the directories themselves.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::{Errno, Result};
use ksync::{NewEntry, ReadTable, Removed, Section, SpinLock};
use vfs::{Name, Slots, hash_component, same_name};

use crate::fs::DirSink;
use crate::fs::inode::{FileKind, Inode};
use crate::fs::notify;
use crate::sync::Walks;
use crate::sync::census::{self, Live};

/// The first position of a directory's own entries; 0 and 1 are `.` and `..`.
const FIRST_POSITION: u64 = 2;
/// The most absent names that one directory remembers.
const MAX_NEGATIVE: usize = 256;

struct Child {
    name: Name,
    /// `None`: known to be absent.
    dentry: Option<Arc<Dentry>>,
}

impl Child {
    fn bears_name_of(&self, other: &Child) -> bool {
        same_name(&self.name, &other.name)
    }

    fn is(&self, dentry: &Arc<Dentry>) -> bool {
        self.dentry
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, dentry))
    }
}

/// What goes with the children of a directory that the cache knows.
struct Listing {
    /// The order for `readdir`, where the tree is the directory.
    order: Slots<Arc<Dentry>>,
    negative: usize,
}

/// The children of a directory that the cache knows, by their names' hashes.
type Children = ReadTable<Child, Listing, Walks>;

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Name,
    /// In the parent's `order`.
    position: u64,
}

/// A name in a directory.
///
/// # Invariants
/// - `inode` never changes; a name that gets another inode gets another dentry.
/// - A dentry stands in its parent's table under its `name`, unless `deleted` is set or it was never cached.
/// - `children` exists exactly for directories.
pub struct Dentry {
    _live: Live<{ census::DENTRIES }>,
    inode: Arc<Inode>,
    place: SpinLock<Place>,
    children: Option<Box<Children>>,
    /// How many mounts are on top of it.
    mounted: AtomicU32,
    deleted: AtomicBool,
}

/// What the cache knows of a name.
pub enum Cached {
    Present(Arc<Dentry>),
    Absent,
    Unknown,
}

impl Dentry {
    fn build(inode: Arc<Inode>, parent: Option<Arc<Dentry>>, name: Name) -> Arc<Self> {
        let children = inode.is_dir().then(|| {
            Box::new(ReadTable::new(Listing {
                order: Slots::new(FIRST_POSITION),
                negative: 0,
            }))
        });
        Arc::new(Self {
            _live: Live::new(),
            inode,
            place: SpinLock::new(Place {
                parent,
                name,
                position: 0,
            }),
            children,
            mounted: AtomicU32::new(0),
            deleted: AtomicBool::new(false),
        })
    }

    /// The root of a file system, or a dentry of its own (pipes, sockets) whose name is how it shows.
    pub fn new_root(inode: Arc<Inode>, name: &[u8]) -> Arc<Self> {
        Self::build(inode, None, Name::from_slice(name))
    }

    /// A dentry in no directory yet ([`Self::insert`] puts it there), or one that is never cached.
    pub fn new_child(parent: &Arc<Dentry>, name: &[u8], inode: Arc<Inode>) -> Arc<Self> {
        Self::build(inode, Some(parent.clone()), Name::from_slice(name))
    }

    #[inline]
    pub fn inode(&self) -> &Arc<Inode> {
        &self.inode
    }
    /// The directory it is in (or was, once deleted); `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }
    pub fn name(&self) -> Name {
        // `clone` would go byte by byte.
        Name::from_slice(&self.place.lock().name)
    }
    pub fn is_root(&self) -> bool {
        self.place.lock().parent.is_none()
    }
    /// Whether the name was removed while the dentry was in use.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Relaxed)
    }
    pub fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Relaxed);
    }
    #[inline]
    pub fn is_mountpoint(&self) -> bool {
        self.mounted.load(Ordering::Relaxed) != 0
    }
    pub(super) fn add_mount(&self) {
        self.mounted.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn remove_mount(&self) {
        self.mounted.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether `self` is `other` or an ancestor of it.
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = other.clone();
        loop {
            if Arc::ptr_eq(&at, self) {
                return true;
            }
            let Some(parent) = at.parent() else {
                return false;
            };
            at = parent;
        }
    }

    /// The child of this name, if the cache has it, without a lock and for as long as the section. One that is just being
    /// put there, or moved by a table that grows, may be missed.
    #[inline]
    pub fn glance<'s>(
        &'s self,
        section: &'s Section<Walks>,
        name: &[u8],
        hash: u64,
    ) -> Option<&'s Arc<Dentry>> {
        let children = self.children.as_ref()?;
        let child = children.find(section, hash, |child| same_name(&child.name, name))?;
        child.dentry.as_ref()
    }

    /// Asks the cache for a child.
    #[inline]
    pub fn find(&self, name: &[u8], hash: u64) -> Cached {
        let there = {
            let section = Section::enter();
            self.glance(&section, name, hash).cloned()
        };
        match there {
            Some(dentry) => Cached::Present(dentry),
            None => self.find_locked(name, hash),
        }
    }

    fn find_locked(&self, name: &[u8], hash: u64) -> Cached {
        let Some(children) = &self.children else {
            return Cached::Absent;
        };
        let children = children.lock();
        match children.find(hash, |child| same_name(&child.name, name)) {
            Some(Child {
                dentry: Some(dentry),
                ..
            }) => Cached::Present(dentry.clone()),
            Some(_) => Cached::Absent,
            None => Cached::Unknown,
        }
    }

    /// Puts `child` into the directory under its own name, in the place of what was there; ENOMEM.
    /// With `ordered` the tree is the directory, and `readdir` finds the child.
    pub fn insert(self: &Arc<Self>, child: &Arc<Dentry>, ordered: bool) -> Result<()> {
        let name = child.name();
        let (_, hash) = hash_component(&name);
        let Some(children) = &self.children else {
            return Err(Errno::ENOTDIR);
        };
        let dentry = Some(child.clone());
        let entry = NewEntry::new(hash, Child { name, dentry });
        let mut guard = children.lock_for_one().map_err(|_| Errno::ENOMEM)?;
        // `Some(None)`: known to be absent until now.
        let there = guard
            .find(hash, |child| child.bears_name_of(entry.value()))
            .map(|child| child.dentry.as_ref().map(|old| old.place.lock().position));
        // The order first: it alone can fail.
        let mut position = 0;
        let mut listed = None;
        if ordered {
            position = there.flatten().unwrap_or(0);
            if position == 0 {
                position = guard.order.push(child.clone()).ok_or(Errno::ENOMEM)?;
            } else {
                listed = guard.order.replace(position, child.clone());
            }
        }
        if there == Some(None) {
            guard.negative -= 1;
        }
        let old = match there {
            None => {
                guard.insert(entry);
                None
            }
            Some(_) => guard.replace(entry, Child::bears_name_of).ok(),
        };
        child.place.lock().position = position;
        drop(guard);
        drop((old, listed));
        Ok(())
    }

    /// Remembers that a name is absent; forgotten when there are too many.
    pub fn insert_absent(&self, name: &[u8], hash: u64) {
        let Some(children) = &self.children else {
            return;
        };
        let name = Name::from_slice(name);
        let entry = NewEntry::new(hash, Child { name, dentry: None });
        let Ok(mut guard) = children.lock_for_one() else {
            return;
        };
        let mut forgotten = None;
        if guard.negative >= MAX_NEGATIVE {
            forgotten = guard.retain(|child| child.dentry.is_some());
            guard.negative = 0;
        }
        if guard
            .find(hash, |child| child.bears_name_of(entry.value()))
            .is_none()
        {
            guard.insert(entry);
            guard.negative += 1;
        }
        drop(guard);
        drop(forgotten);
    }

    /// Takes `child` out of the directory under its present name.
    pub fn remove(&self, child: &Arc<Dentry>) {
        let (name, position) = {
            let place = child.place.lock();
            (place.name.clone(), place.position)
        };
        self.remove_at(child, &name, position);
    }

    fn remove_at(&self, child: &Arc<Dentry>, name: &[u8], position: u64) {
        let (_, hash) = hash_component(name);
        let Some(children) = &self.children else {
            return;
        };
        let mut guard = children.lock();
        let removed = guard.remove(hash, |entry| entry.name[..] == *name && entry.is(child));
        let ordered = if position != 0 {
            guard.order.remove(position)
        } else {
            None
        };
        drop(guard);
        drop((removed, ordered));
    }

    /// Moves `child` from `self` to `new_parent` under `new_name`, replacing what is there. The new name appears
    /// before the old one goes, so that a walk that runs beside finds at least one.
    pub fn move_child(
        self: &Arc<Self>,
        child: &Arc<Dentry>,
        new_parent: &Arc<Dentry>,
        new_name: &[u8],
        ordered: bool,
    ) -> Result<()> {
        let (old_name, old_position) = {
            let mut place = child.place.lock();
            let position = core::mem::take(&mut place.position);
            let name = core::mem::replace(&mut place.name, Name::from_slice(new_name));
            (name, position)
        };
        if let Err(error) = new_parent.insert(child, ordered) {
            let mut place = child.place.lock();
            place.name = old_name;
            place.position = old_position;
            return Err(error);
        }
        let old_parent = child.place.lock().parent.replace(new_parent.clone());
        self.remove_at(child, &old_name, old_position);
        drop(old_parent);
        Ok(())
    }

    /// Swaps the places of two children.
    pub fn exchange(
        self: &Arc<Self>,
        child: &Arc<Dentry>,
        other_parent: &Arc<Dentry>,
        other: &Arc<Dentry>,
        ordered: bool,
    ) -> Result<()> {
        let (name, position) = (child.name(), child.place.lock().position);
        let (other_name, other_position) = (other.name(), other.place.lock().position);
        child.place.lock().name = other_name;
        other.place.lock().name = name;
        let old = child.place.lock().parent.replace(other_parent.clone());
        drop(old);
        let old = other.place.lock().parent.replace(self.clone());
        drop(old);
        // Each `insert` finds the other's entry and takes its place and position over.
        child.place.lock().position = position;
        other.place.lock().position = other_position;
        self.put_over(child, other, position, ordered);
        other_parent.put_over(other, child, other_position, ordered);
        Ok(())
    }

    /// In the entry of `old`, whose name `new` bears now, puts `new`.
    fn put_over(&self, old: &Arc<Dentry>, new: &Arc<Dentry>, position: u64, ordered: bool) {
        let name = new.name();
        let (_, hash) = hash_component(&name);
        let Some(children) = &self.children else {
            return;
        };
        let dentry = Some(new.clone());
        let entry = NewEntry::new(hash, Child { name, dentry });
        let mut guard = children.lock();
        let replaced = guard.replace(entry, Child::bears_name_of).ok();
        debug_assert!(
            replaced
                .as_ref()
                .is_some_and(|gone| gone.iter().all(|child| child.is(old)))
        );
        let mut listed = None;
        if ordered {
            listed = guard.order.replace(position, new.clone());
            new.place.lock().position = position;
        }
        drop(guard);
        drop((replaced, listed));
    }

    /// Whether the directory, if the tree holds it whole, has no entries.
    pub fn is_empty_dir(&self) -> bool {
        self.children
            .as_ref()
            .is_none_or(|children| children.lock().order.is_empty())
    }

    /// The first child at a position or after it, in a directory that the tree holds whole, and the position to go on.
    pub fn child_from(&self, position: u64) -> Option<(u64, Arc<Dentry>)> {
        let children = self.children.as_ref()?.lock();
        let (at, child) = children.order.iter_from(position).next()?;
        Some((at + 1, child.clone()))
    }

    /// Feeds the entries of a directory that the tree holds whole.
    pub fn read_children(self: &Arc<Self>, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        // How long the lock is held at most.
        const BATCH: usize = 64;
        if !emit_dots(self, pos, sink) {
            return Ok(());
        }
        let Some(children) = &self.children else {
            return Ok(());
        };
        loop {
            let mut count = 0;
            let guard = children.lock();
            for (at, dentry) in guard.order.iter_from(*pos).take(BATCH) {
                let inode = dentry.inode();
                if !sink.entry(&dentry.place.lock().name, inode.ino, inode.kind, at + 1) {
                    *pos = at;
                    return Ok(());
                }
                *pos = at + 1;
                count += 1;
            }
            if count < BATCH {
                return Ok(());
            }
        }
    }

    /// Takes the whole tree below apart, when the file system is unmounted for good.
    pub fn tear_down(self: &Arc<Self>) {
        let mut pending = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(dentry) = pending.get(next).cloned() {
            next += 1;
            let Some(children) = &dentry.children else {
                continue;
            };
            let mut guard = children.lock();
            let all = guard.take_all();
            let order = core::mem::replace(&mut guard.order, Slots::new(FIRST_POSITION));
            drop(guard);
            let entries = all.iter().flat_map(Removed::iter);
            pending.extend(entries.filter_map(|child| child.dentry.clone()));
            drop((all, order));
        }
        // Deepest last: dropped from the back, no dentry's drop reaches further than itself.
        while let Some(dentry) = pending.pop() {
            notify::unmounted(&dentry.inode);
        }
    }
}

/// Feeds `.` and `..`; true if both are done.
pub fn emit_dots(dir: &Arc<Dentry>, pos: &mut u64, sink: &mut dyn DirSink) -> bool {
    if *pos == 0 {
        if !sink.entry(b".", dir.inode().ino, FileKind::Dir, 1) {
            return false;
        }
        *pos = 1;
    }
    if *pos == 1 {
        let ino = dir
            .parent()
            .map_or(dir.inode().ino, |parent| parent.inode().ino);
        if !sink.entry(b"..", ino, FileKind::Dir, FIRST_POSITION) {
            return false;
        }
        *pos = FIRST_POSITION;
    }
    true
}

impl Drop for Dentry {
    /// A chain of removed directories, each held by the one below, is let go without recursion.
    fn drop(&mut self) {
        if *self.deleted.get_mut() {
            notify::dentry_dropped(&self.inode);
        }
        let mut next = self.place.get_mut().parent.take();
        while let Some(parent) = next {
            match Arc::into_inner(parent) {
                Some(mut dentry) => next = dentry.place.get_mut().parent.take(),
                None => break,
            }
        }
    }
}
