//! Free blocks of `2^order` frames, naturally aligned, in one list per order.

use core::sync::atomic::Ordering::Relaxed;

use crate::meta::{FrameMeta, Kind};

/// The largest order: 4 MiB.
pub const MAX_ORDER: u8 = 10;
/// No frame: ends lists.
pub const NO_FRAME: u32 = u32::MAX;

/// The lists.
///
/// # Invariants
/// A frame of kind `Free` heads exactly one block, listed under its `order`; the block's other frames are `Idle`.
/// Two buddies of one order below the largest are never both free.
pub(crate) struct Buddy {
    heads: [u32; MAX_ORDER as usize + 1],
    free: u64,
}

impl Buddy {
    pub(crate) const fn new() -> Buddy {
        Buddy {
            heads: [NO_FRAME; MAX_ORDER as usize + 1],
            free: 0,
        }
    }

    /// Free frames.
    pub(crate) fn free_frames(&self) -> u64 {
        self.free
    }

    fn push(&mut self, meta: &[FrameMeta], pfn: u32, order: u8) {
        let head = self.heads[usize::from(order)];
        let frame = &meta[pfn as usize];
        frame.order.store(order, Relaxed);
        frame.link.store(head, Relaxed);
        frame.refs.store(NO_FRAME, Relaxed);
        frame.set_kind(Kind::Free);
        if head != NO_FRAME {
            meta[head as usize].refs.store(pfn, Relaxed);
        }
        self.heads[usize::from(order)] = pfn;
    }

    fn unlink(&mut self, meta: &[FrameMeta], pfn: u32, order: u8) {
        let frame = &meta[pfn as usize];
        let (next, prev) = (frame.link.load(Relaxed), frame.refs.load(Relaxed));
        if prev == NO_FRAME {
            self.heads[usize::from(order)] = next;
        } else {
            meta[prev as usize].link.store(next, Relaxed);
        }
        if next != NO_FRAME {
            meta[next as usize].refs.store(prev, Relaxed);
        }
        frame.set_kind(Kind::Idle);
    }

    /// A block; its frames are `Idle`.
    pub(crate) fn alloc(&mut self, meta: &[FrameMeta], order: u8) -> Option<u32> {
        let from = (order..=MAX_ORDER).find(|&o| self.heads[usize::from(o)] != NO_FRAME)?;
        let pfn = self.heads[usize::from(from)];
        self.unlink(meta, pfn, from);
        for half in (order..from).rev() {
            self.push(meta, pfn + (1 << half), half);
        }
        self.free -= 1 << order;
        Some(pfn)
    }

    /// Takes a block back and joins it with its free buddies.
    pub(crate) fn free(&mut self, meta: &[FrameMeta], pfn: u32, order: u8) {
        self.free += 1 << order;
        let (mut pfn, mut order) = (pfn, order);
        meta[pfn as usize].set_kind(Kind::Idle);
        while order < MAX_ORDER {
            let buddy = pfn ^ (1 << order);
            let joins = meta
                .get(buddy as usize)
                .is_some_and(|b| b.kind() == Kind::Free && b.order.load(Relaxed) == order);
            if !joins {
                break;
            }
            self.unlink(meta, buddy, order);
            pfn &= !(1 << order);
            order += 1;
        }
        self.push(meta, pfn, order);
    }

    /// Takes back `[start, end)`, in the largest blocks that are aligned.
    pub(crate) fn free_range(&mut self, meta: &[FrameMeta], start: u32, end: u32) {
        let mut at = start;
        while at < end {
            let order = (at.trailing_zeros() as u8)
                .min((end - at).ilog2() as u8)
                .min(MAX_ORDER);
            for pfn in at..at + (1 << order) {
                meta[pfn as usize].set_kind(Kind::Idle);
            }
            self.free(meta, at, order);
            at += 1 << order;
        }
    }

    /// Free blocks per order, for `/proc/buddyinfo`.
    pub(crate) fn block_counts(&self, meta: &[FrameMeta]) -> [u64; MAX_ORDER as usize + 1] {
        let mut counts = [0; MAX_ORDER as usize + 1];
        for (order, count) in counts.iter_mut().enumerate() {
            let mut at = self.heads[order];
            while at != NO_FRAME {
                *count += 1;
                at = meta[at as usize].link.load(Relaxed);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metas(n: usize) -> Vec<FrameMeta> {
        (0..n).map(|_| FrameMeta::default()).collect()
    }

    fn check(buddy: &Buddy, meta: &[FrameMeta]) {
        let mut free = 0u64;
        for order in 0..=MAX_ORDER {
            let mut at = buddy.heads[usize::from(order)];
            let mut prev = NO_FRAME;
            while at != NO_FRAME {
                let f = &meta[at as usize];
                assert_eq!(f.kind(), Kind::Free);
                assert_eq!(f.order.load(Relaxed), order);
                assert_eq!(f.refs.load(Relaxed), prev);
                assert_eq!(at % (1 << order), 0);
                free += 1 << order;
                prev = at;
                at = f.link.load(Relaxed);
            }
        }
        assert_eq!(free, buddy.free);
    }

    #[test]
    fn a_range_with_odd_ends_is_all_usable() {
        let meta = metas(5000);
        let mut buddy = Buddy::new();
        buddy.free_range(&meta, 3, 4099);
        check(&buddy, &meta);
        let mut n = 0;
        while buddy.alloc(&meta, 0).is_some() {
            n += 1;
        }
        assert_eq!(n, 4096);
    }

    #[test]
    fn freed_buddies_join_up_to_the_largest_order() {
        let meta = metas(1024);
        let mut buddy = Buddy::new();
        buddy.free_range(&meta, 0, 1024);
        let all: Vec<u32> = (0..1024)
            .map(|_| buddy.alloc(&meta, 0).expect("frame"))
            .collect();
        assert!(buddy.alloc(&meta, 0).is_none());
        all.into_iter().for_each(|p| buddy.free(&meta, p, 0));
        assert_eq!(buddy.alloc(&meta, MAX_ORDER), Some(0));
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_nothing_is_lost(ops in prop::collection::vec((0u8..=MAX_ORDER, any::<bool>(), any::<usize>()), 1..300)) {
            let meta = metas(3000);
            let mut buddy = Buddy::new();
            buddy.free_range(&meta, 1, 2999);
            let mut held: Vec<(u32, u8)> = Vec::new();
            let mut used = vec![false; 3000];
            for (order, free, pick) in ops {
                if free && !held.is_empty() {
                    let (pfn, order) = held.swap_remove(pick % held.len());
                    used[pfn as usize..(pfn + (1 << order)) as usize].fill(false);
                    buddy.free(&meta, pfn, order);
                } else if let Some(pfn) = buddy.alloc(&meta, order) {
                    prop_assert_eq!(pfn % (1 << order), 0);
                    for u in &mut used[pfn as usize..(pfn + (1 << order)) as usize] {
                        prop_assert!(!*u);
                        *u = true;
                    }
                    held.push((pfn, order));
                }
                check(&buddy, &meta);
            }
            let in_use: u64 = held.iter().map(|&(_, o)| 1u64 << o).sum();
            prop_assert_eq!(in_use + buddy.free_frames(), 2998);
        }
    }
}
