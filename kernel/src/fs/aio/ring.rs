//! The ring of events: memory that user space maps, reads, and may write nonsense into.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use abi::aio::{AIO_RING_MAGIC, AioRing, IoEvent};
use abi::mman::{MapFlags, Prot, advice};
use abi::{Errno, Result};
use spin::Once;
use zerocopy::{FromZeros, IntoBytes};

use super::poll;
use crate::fs::memfd;
use crate::mm::pagecache::PageCache;
use crate::mm::{Backing, FrameRef, MapRequest, MappedFile, MemoryObject, PAGE_SIZE};
use crate::sync::current;

const EVENT_SIZE: usize = size_of::<IoEvent>();
/// Places of events in a page; the head takes the first of the first.
const IN_PAGE: usize = PAGE_SIZE / EVENT_SIZE;
const HEAD_AT: usize = 8;
const TAIL_AT: usize = 12;

/// A ring.
///
/// # Invariants
/// `tail` is the kernel's own: what user space writes there is never read.
pub struct Ring {
    pages: Vec<FrameRef>,
    places: u32,
    tail: AtomicU32,
    len: usize,
}

/// What the areas of a ring have as their file: without the last of them the context ends.
struct RingFile {
    areas: AtomicUsize,
    place: Once<(u64, usize)>,
}

impl MappedFile for RingFile {
    fn dev_ino(&self) -> (u64, u64) {
        (memfd::device().unwrap_or(0), 0)
    }

    fn maps_path(&self) -> Vec<u8> {
        b"/[aio] (deleted)".to_vec()
    }

    fn area_added(&self) {
        self.areas.fetch_add(1, Ordering::Relaxed);
    }

    fn area_removed(&self) {
        if self.areas.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(place) = self.place.get()
        {
            poll::note_unmapped(*place);
        }
    }
}

impl Ring {
    /// A ring for so many events, mapped into the running task's memory; answers where.
    pub fn map(places: u32) -> Result<(usize, Arc<Ring>)> {
        let bytes = (places as usize + 1) * EVENT_SIZE;
        let count = bytes.div_ceil(PAGE_SIZE);
        let len = count * PAGE_SIZE;
        let cache = PageCache::new_anonymous(len as u64)?;
        let mut pages = Vec::new();
        pages.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        for index in 0..count {
            pages.push(cache.get_page(index as u64, true)?);
        }
        let places = (count * IN_PAGE - 1) as u32;
        let head = AioRing {
            id: u32::MAX,
            nr: places,
            magic: AIO_RING_MAGIC,
            compat_features: 1,
            header_length: size_of::<AioRing>() as u32,
            ..AioRing::default()
        };
        if let Some(first) = pages.first() {
            first.write(0, head.as_bytes());
        }
        let file = Arc::new(RingFile {
            areas: AtomicUsize::new(0),
            place: Once::new(),
        });
        let mm = current().my_mm().clone();
        let both = Prot::READ | Prot::WRITE;
        let addr = mm.map(MapRequest {
            addr: 0,
            len,
            prot: both,
            max_prot: both,
            flags: MapFlags::SHARED,
            pkey: 0,
            backing: Backing::File {
                object: cache,
                offset: 0,
                file: Some(file.clone()),
            },
        })?;
        // A child has no contexts.
        mm.advise(addr, len, advice::DONTFORK)?;
        file.place.call_once(|| (mm.id(), addr));
        let ring = Ring {
            pages,
            places,
            tail: AtomicU32::new(0),
            len,
        };
        Ok((addr, Arc::new(ring)))
    }

    /// Bytes that are mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Events that it has places for; one is never used.
    pub fn places(&self) -> usize {
        self.places as usize
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        if let Some(first) = self.pages.first() {
            first.read(at, &mut bytes);
        }
        u32::from_ne_bytes(bytes)
    }

    fn set_word(&self, at: usize, value: u32) {
        if let Some(first) = self.pages.first() {
            first.write(at, &value.to_ne_bytes());
        }
    }

    /// The place of the next event to be taken, whatever user space has written.
    fn head(&self) -> u32 {
        self.word(HEAD_AT) % self.places
    }

    /// Events in it.
    pub fn held(&self) -> usize {
        let tail = self.tail.load(Ordering::SeqCst);
        ((tail + self.places - self.head()) % self.places) as usize
    }

    fn page_of(&self, place: u32) -> Option<(&FrameRef, usize)> {
        let slot = place as usize + 1;
        let page = self.pages.get(slot / IN_PAGE)?;
        Some((page, slot % IN_PAGE * EVENT_SIZE))
    }

    /// Adds an event; there is a place for it, and the context's state is locked.
    pub fn push(&self, event: &IoEvent) {
        let tail = self.tail.load(Ordering::Relaxed);
        if let Some((page, at)) = self.page_of(tail) {
            page.write(at, event.as_bytes());
        }
        let next = (tail + 1) % self.places;
        // The event is there before it is told; pairs with the load in `held`.
        self.tail.store(next, Ordering::SeqCst);
        self.set_word(TAIL_AT, next);
    }

    /// The next event, which stays; the context's reader lock is held.
    pub fn first(&self) -> Option<IoEvent> {
        if self.held() == 0 {
            return None;
        }
        let mut event = IoEvent::new_zeroed();
        let (page, at) = self.page_of(self.head())?;
        page.read(at, event.as_mut_bytes());
        Some(event)
    }

    /// The next event was taken.
    pub fn advance(&self) {
        self.set_word(HEAD_AT, (self.head() + 1) % self.places);
    }
}
