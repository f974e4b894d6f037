//! A hash table whose readers take no lock and write nothing that they share.
//!
//! Entries hang in chains and never change: another value comes in an entry of its own, in the old one's place. What was
//! taken out is freed when no reader can have it any more; until then its link stays, so that a reader that stands on it
//! finds on. Growing re-links entries, and a reader may miss one meanwhile: what is not found without the lock must be
//! looked for with it.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::section::{Domain, Section, wait_for_sections};
use crate::spin::{SpinGuard, SpinLock};

/// Chains that a table begins with.
const FIRST_CHAINS: usize = 8;

/// Memory is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

struct Entry<T> {
    hash: u64,
    next: AtomicPtr<Entry<T>>,
    /// The next of those that were taken out together. Not `next`, which readers still follow.
    removed: *mut Entry<T>,
    value: T,
}

/// The heads of the chains, behind their number.
#[repr(C)]
struct Chains<T> {
    mask: usize,
    first: [AtomicPtr<Entry<T>>; 0],
}

impl<T> Chains<T> {
    fn layout(count: usize) -> Option<Layout> {
        let heads = Layout::array::<AtomicPtr<Entry<T>>>(count).ok()?;
        let (layout, _) = Layout::new::<Self>().extend(heads).ok()?;
        Some(layout)
    }

    /// Empty chains, a power of two of them.
    fn alloc(count: usize) -> Result<NonNull<Self>, NoMemory> {
        let layout = Self::layout(count).ok_or(NoMemory)?;
        // SAFETY: the layout is not empty.
        let chains = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(NoMemory)?;
        let chains = chains.cast::<Self>();
        // SAFETY: memory of this layout, and null heads are valid.
        unsafe { (&raw mut (*chains.as_ptr()).mask).write(count - 1) };
        Ok(chains)
    }

    /// # Safety
    /// Made by `alloc`, and reached by nobody any more.
    unsafe fn free(chains: *mut Self) {
        // SAFETY: the caller's promise.
        let count = unsafe { (*chains).mask } + 1;
        if let Some(layout) = Self::layout(count) {
            // SAFETY: made with this layout.
            unsafe { dealloc(chains.cast(), layout) };
        }
    }

    #[inline(always)]
    fn head(&self, hash: u64) -> &AtomicPtr<Entry<T>> {
        let index = hash as usize & self.mask;
        // SAFETY: behind the number there are `mask + 1` heads, all initialised.
        unsafe { &*self.first.as_ptr().add(index) }
    }
}

/// What the lock protects besides the entries.
#[derive(Debug)]
struct Owned<W> {
    len: usize,
    with: W,
}

/// Values by hash, and a `W` that goes with them under the lock.
///
/// # Invariants
/// Chains are changed with the lock held. Every entry in a chain is initialised before it is linked, and is in the chain
/// of its hash.
pub struct ReadTable<T, W, D: Domain> {
    chains: AtomicPtr<Chains<T>>,
    owned: SpinLock<Owned<W>>,
    _entries: PhantomData<(T, fn(D))>,
}

// SAFETY: values are shared with readers of other threads and freed by whoever took them out.
unsafe impl<T: Send + Sync, W: Send, D: Domain> Send for ReadTable<T, W, D> {}
// SAFETY: as above; `W` is reached only under the lock.
unsafe impl<T: Send + Sync, W: Send, D: Domain> Sync for ReadTable<T, W, D> {}

impl<T, W, D: Domain> ReadTable<T, W, D> {
    /// An empty table, without memory of its own.
    #[track_caller]
    pub const fn new(with: W) -> Self {
        ReadTable {
            chains: AtomicPtr::new(null_mut()),
            owned: SpinLock::new(Owned { len: 0, with }),
            _entries: PhantomData,
        }
    }

    /// The value with this hash that `is` accepts. One that is there may be missed: see the head of the file.
    #[inline]
    pub fn find<'s>(
        &'s self,
        _section: &'s Section<D>,
        hash: u64,
        is: impl FnMut(&T) -> bool,
    ) -> Option<&'s T> {
        // SAFETY: nothing that is reached is freed before the section ends, nor the table before `self` does.
        unsafe { self.search(hash, is) }
    }

    /// # Safety
    /// In a section or with the lock, for as long as the answer is used.
    #[inline(always)]
    unsafe fn search<'s>(&self, hash: u64, mut is: impl FnMut(&T) -> bool) -> Option<&'s T>
    where
        T: 's,
    {
        // SAFETY: null or chains that were published whole, and the caller keeps them.
        let chains = unsafe { self.chains.load(Ordering::Acquire).as_ref() }?;
        let mut at = chains.head(hash).load(Ordering::Acquire);
        // SAFETY: an entry was initialised before it was linked, and the caller keeps it.
        while let Some(entry) = unsafe { at.as_ref() } {
            if entry.hash == hash && is(&entry.value) {
                return Some(&entry.value);
            }
            at = entry.next.load(Ordering::Acquire);
        }
        None
    }

    /// Locks the table, with room for one more value. Not under a spin lock: it may take memory.
    #[inline]
    pub fn lock_for_one(&self) -> Result<TableGuard<'_, T, W, D>, NoMemory> {
        let guard = self.lock();
        match guard.chains() {
            Some((chains, len)) if len <= chains.mask => Ok(guard),
            Some((chains, _)) => {
                let wanted = (chains.mask + 1) * 2;
                drop(guard);
                self.grow(wanted)
            }
            None => {
                drop(guard);
                self.grow(FIRST_CHAINS)
            }
        }
    }

    #[cold]
    fn grow(&self, wanted: usize) -> Result<TableGuard<'_, T, W, D>, NoMemory> {
        let new = Chains::alloc(wanted)?;
        let unused = self.lock().rehang(new);
        if let Some(unused) = unused {
            wait_for_sections::<D>();
            // SAFETY: no table leads there, and who had it from one has ended its section.
            unsafe { Chains::free(unused.as_ptr()) };
        }
        Ok(self.lock())
    }

    /// Locks the table.
    #[inline]
    pub fn lock(&self) -> TableGuard<'_, T, W, D> {
        TableGuard {
            table: self,
            owned: self.owned.lock(),
        }
    }
}

impl<T, W, D: Domain> Drop for ReadTable<T, W, D> {
    fn drop(&mut self) {
        let chains = *self.chains.get_mut();
        if chains.is_null() {
            return;
        }
        if let Some(all) = self.lock().take_all() {
            // SAFETY: the table is borrowed exclusively: nobody reads it.
            unsafe { free_entries(all.first.as_ptr()) };
            core::mem::forget(all);
        }
        // SAFETY: as above.
        unsafe { Chains::free(chains) };
    }
}

/// An entry to be put into a table: memory is taken before the lock.
pub struct NewEntry<T>(Box<Entry<T>>);

impl<T> NewEntry<T> {
    pub fn new(hash: u64, value: T) -> Self {
        NewEntry(Box::new(Entry {
            hash,
            next: AtomicPtr::new(null_mut()),
            removed: null_mut(),
            value,
        }))
    }

    pub fn value(&self) -> &T {
        &self.0.value
    }
}

/// The right to change a table.
pub struct TableGuard<'a, T, W, D: Domain> {
    table: &'a ReadTable<T, W, D>,
    owned: SpinGuard<'a, Owned<W>>,
}

impl<T, W, D: Domain> Deref for TableGuard<'_, T, W, D> {
    type Target = W;
    #[inline(always)]
    fn deref(&self) -> &W {
        &self.owned.with
    }
}

impl<T, W, D: Domain> DerefMut for TableGuard<'_, T, W, D> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut W {
        &mut self.owned.with
    }
}

impl<T, W, D: Domain> TableGuard<'_, T, W, D> {
    fn chains(&self) -> Option<(&Chains<T>, usize)> {
        // SAFETY: with the lock nobody replaces them.
        let chains = unsafe { self.table.chains.load(Ordering::Relaxed).as_ref() }?;
        Some((chains, self.owned.len))
    }

    /// The value with this hash that `is` accepts, or nothing if there is none.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<&T> {
        // SAFETY: with the lock, and the answer borrows it.
        unsafe { self.table.search(hash, is) }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.owned.len
    }

    pub fn is_empty(&self) -> bool {
        self.owned.len == 0
    }

    /// The values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let heads = self.chains().map(|(chains, _)| chains);
        let heads = heads
            .into_iter()
            .flat_map(|chains| (0..=chains.mask).map(|index| chains.head(index as u64)));
        heads.flat_map(|head| {
            let mut at = head.load(Ordering::Relaxed).cast_const();
            core::iter::from_fn(move || {
                // SAFETY: with the lock, what hangs in a chain stays.
                let entry = unsafe { at.as_ref() }?;
                at = entry.next.load(Ordering::Relaxed);
                Some(&entry.value)
            })
        })
    }

    /// The link to the first entry that `is` accepts.
    fn link(&self, hash: u64, mut is: impl FnMut(&T) -> bool) -> Option<&AtomicPtr<Entry<T>>> {
        let mut link = self.chains()?.0.head(hash);
        loop {
            // SAFETY: with the lock, what hangs in a chain stays.
            let entry = unsafe { link.load(Ordering::Relaxed).as_ref() }?;
            if entry.hash == hash && is(&entry.value) {
                return Some(link);
            }
            link = &entry.next;
        }
    }

    /// Puts an entry in the place of the one of which `is(old, new)` holds. It comes back if there is none.
    pub fn replace(
        &mut self,
        new: NewEntry<T>,
        mut is: impl FnMut(&T, &T) -> bool,
    ) -> Result<Removed<T, D>, NewEntry<T>> {
        let link = self.link(new.0.hash, |old| is(old, new.value()));
        let found = link.and_then(|link| Some((link, NonNull::new(link.load(Ordering::Relaxed))?)));
        let Some((link, first)) = found else {
            return Err(new);
        };
        // SAFETY: it hangs in the chain.
        let next = unsafe { first.as_ref() }.next.load(Ordering::Relaxed);
        new.0.next.store(next, Ordering::Relaxed);
        link.store(Box::into_raw(new.0), Ordering::Release);
        Ok(Removed {
            first,
            _domain: PhantomData,
        })
    }

    /// Puts an entry in. The table was locked for it.
    pub fn insert(&mut self, new: NewEntry<T>) {
        let Some((chains, _)) = self.chains() else {
            return;
        };
        let head = chains.head(new.0.hash);
        new.0
            .next
            .store(head.load(Ordering::Relaxed), Ordering::Relaxed);
        head.store(Box::into_raw(new.0), Ordering::Release);
        self.owned.len += 1;
    }

    /// Takes out the entry that `is` accepts.
    pub fn remove(&mut self, hash: u64, is: impl FnMut(&T) -> bool) -> Option<Removed<T, D>> {
        let link = self.link(hash, is)?;
        let old = link.load(Ordering::Relaxed);
        // SAFETY: it hangs in the chain.
        let next = unsafe { (*old).next.load(Ordering::Relaxed) };
        link.store(next, Ordering::Release);
        self.owned.len -= 1;
        Removed::of(old)
    }

    /// Takes out what `keep` does not accept.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) -> Option<Removed<T, D>> {
        let (mut removed, mut count) = (null_mut(), 0);
        let (chains, _) = self.chains()?;
        for index in 0..=chains.mask {
            let mut link = chains.head(index as u64);
            loop {
                let at = link.load(Ordering::Relaxed);
                // SAFETY: with the lock, what hangs in a chain stays.
                let Some(entry) = (unsafe { at.as_ref() }) else {
                    break;
                };
                if keep(&entry.value) {
                    link = &entry.next;
                    continue;
                }
                link.store(entry.next.load(Ordering::Relaxed), Ordering::Release);
                // SAFETY: readers do not look at `removed`; whoever took the entry out alone may.
                unsafe { (&raw mut (*at).removed).write(removed) };
                removed = at;
                count += 1;
            }
        }
        self.owned.len -= count;
        Removed::of(removed)
    }

    /// Takes everything out.
    pub fn take_all(&mut self) -> Option<Removed<T, D>> {
        self.retain(|_| false)
    }

    /// Hangs every entry into `new`, unless it has no more chains than there are; what is unused then.
    fn rehang(&mut self, new: NonNull<Chains<T>>) -> Option<NonNull<Chains<T>>> {
        // SAFETY: the caller's own, not published yet.
        let chains = unsafe { new.as_ref() };
        let old = NonNull::new(self.table.chains.load(Ordering::Relaxed));
        if let Some((now, _)) = self.chains() {
            if now.mask >= chains.mask {
                return Some(new);
            }
            for index in 0..=now.mask {
                let mut at = now.head(index as u64).load(Ordering::Relaxed);
                // SAFETY: with the lock, what hangs in a chain stays.
                while let Some(entry) = unsafe { at.as_ref() } {
                    let next = entry.next.load(Ordering::Relaxed);
                    let head = chains.head(entry.hash);
                    // Release: a reader may come over from the old chain.
                    let behind = head.load(Ordering::Relaxed);
                    entry.next.store(behind, Ordering::Release);
                    head.store(at, Ordering::Release);
                    at = next;
                }
            }
        }
        self.table.chains.store(new.as_ptr(), Ordering::Release);
        old
    }
}

/// Values that were taken out of a table. Dropped, they are freed when nobody reads them any more: not under a lock that
/// a reader may want.
pub struct Removed<T, D: Domain> {
    first: NonNull<Entry<T>>,
    _domain: PhantomData<(T, fn(D))>,
}

impl<T, D: Domain> Removed<T, D> {
    fn of(first: *mut Entry<T>) -> Option<Self> {
        Some(Removed {
            first: NonNull::new(first)?,
            _domain: PhantomData,
        })
    }

    /// The values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut at = self.first.as_ptr().cast_const();
        core::iter::from_fn(move || {
            // SAFETY: null, or an entry that `self` owns.
            let entry = unsafe { at.as_ref() }?;
            at = entry.removed;
            Some(&entry.value)
        })
    }
}

impl<T, D: Domain> Drop for Removed<T, D> {
    fn drop(&mut self) {
        wait_for_sections::<D>();
        // SAFETY: owned by `self`, and no reader that could have found one is in its section still.
        unsafe { free_entries(self.first.as_ptr()) };
    }
}

/// # Safety
/// The entries were taken out together, and nobody has them.
unsafe fn free_entries<T>(mut at: *mut Entry<T>) {
    while !at.is_null() {
        // SAFETY: the caller's promise; every entry was made by `Box`.
        let entry = unsafe { Box::from_raw(at) };
        at = entry.removed;
    }
}

#[cfg(test)]
mod tests;
