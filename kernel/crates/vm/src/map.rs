//! Areas in order of address.
//!
//! A two-level sorted array: chunks of at most [`CHUNK`] areas. A program's few dozen areas are one chunk, found by a
//! short binary search without pointer chasing; with the 65,530 that Linux allows an insertion still moves only
//! one chunk. A balanced tree has better bounds and is slower at every size that occurs.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::area::{Content, VmFlags, Vma};

/// Areas in a chunk at most.
const CHUNK: usize = if cfg!(test) { 8 } else { 64 };
/// Chunks in a group, of which the largest gap is kept: a search looks into a group only if something may fit there, so
/// that its cost grows with the groups and not with the chunks.
pub(crate) const GROUP: usize = if cfg!(test) { 4 } else { 64 };
/// The largest gap of a chunk or group is not known.
pub(crate) const UNKNOWN: usize = usize::MAX;

/// An allocation failed; the map is as it was before the step that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// A chunk of areas.
#[derive(Debug)]
pub(crate) struct Chunk<C> {
    pub(crate) areas: Vec<Vma<C>>,
    /// The largest gap before one of its areas, or [`UNKNOWN`].
    pub(crate) gap: usize,
}

/// Where an area is: chunk, and index in it.
type Pos = (usize, usize);

/// The areas of a space.
///
/// # Invariants
/// Areas are sorted and disjoint; no chunk is empty; no two neighbours could be joined, unless joining failed for
/// want of equal content at the time.
#[derive(Debug)]
pub struct VmaMap<C> {
    pub(crate) chunks: Vec<Chunk<C>>,
    /// The largest gap of each group, or [`UNKNOWN`]; groups past its end are not known either.
    pub(crate) groups: Vec<usize>,
    count: usize,
    /// Where the last lookup ended: chunk << 8 | index. Only a hint.
    hint: AtomicUsize,
}

impl<C> Default for VmaMap<C> {
    fn default() -> Self {
        VmaMap {
            chunks: Vec::new(),
            groups: Vec::new(),
            count: 0,
            hint: AtomicUsize::new(0),
        }
    }
}

impl<C: Content> VmaMap<C> {
    /// A map without areas.
    pub fn new() -> Self {
        VmaMap::default()
    }

    /// Areas.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All areas, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma<C>> {
        self.chunks.iter().flat_map(|c| c.areas.iter())
    }

    /// The area that contains `address`. Fast when it is the one found last.
    #[inline]
    pub fn find(&self, address: usize) -> Option<&Vma<C>> {
        let hint = self.hint.load(Ordering::Relaxed);
        if let Some(chunk) = self.chunks.get(hint >> 8)
            && let Some(area) = chunk.areas.get(hint & 0xff)
            && area.contains(address)
        {
            return Some(area);
        }
        let (c, i) = self.position(address)?;
        let area = &self.chunks[c].areas[i];
        if !area.contains(address) {
            return None;
        }
        self.hint.store(c << 8 | i, Ordering::Relaxed);
        Some(area)
    }

    /// The first area that ends after `address`: contains it or comes next.
    pub fn find_from(&self, address: usize) -> Option<&Vma<C>> {
        self.position(address)
            .map(|(c, i)| &self.chunks[c].areas[i])
    }

    /// The last area that ends at or before `address`.
    pub fn find_before(&self, address: usize) -> Option<&Vma<C>> {
        let pos = match self.position(address) {
            Some(pos) => self.before(pos)?,
            None => (
                self.chunks.len().checked_sub(1)?,
                self.chunks.last()?.areas.len() - 1,
            ),
        };
        Some(&self.chunks[pos.0].areas[pos.1])
    }

    /// Areas that overlap `[start, end)`, in order.
    pub fn range(&self, start: usize, end: usize) -> impl Iterator<Item = &Vma<C>> {
        let (c, i) = self.position(start).unwrap_or((self.chunks.len(), 0));
        self.chunks
            .iter()
            .skip(c)
            .enumerate()
            .flat_map(move |(n, chunk)| chunk.areas[if n == 0 { i } else { 0 }..].iter())
            .take_while(move |area| area.start < end)
    }

    /// Whether nothing overlaps `[start, end)`.
    pub fn is_free(&self, start: usize, end: usize) -> bool {
        self.find_from(start).is_none_or(|a| a.start >= end)
    }

    /// Whether areas cover `[start, end)` without a hole.
    pub fn covers(&self, start: usize, end: usize) -> bool {
        let mut at = start;
        for area in self.range(start, end) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// The first area that ends after `address`.
    fn position(&self, address: usize) -> Option<Pos> {
        let c = self
            .chunks
            .partition_point(|c| c.areas.last().is_some_and(|a| a.end <= address));
        let chunk = self.chunks.get(c)?;
        let i = chunk.areas.partition_point(|a| a.end <= address);
        Some((c, i))
    }

    fn before(&self, (c, i): Pos) -> Option<Pos> {
        match i {
            0 => {
                let c = c.checked_sub(1)?;
                Some((c, self.chunks[c].areas.len() - 1))
            }
            _ => Some((c, i - 1)),
        }
    }

    fn after(&self, (c, i): Pos) -> Option<Pos> {
        if i + 1 < self.chunks[c].areas.len() {
            return Some((c, i + 1));
        }
        (c + 1 < self.chunks.len()).then_some((c + 1, 0))
    }

    /// The gaps before areas of this chunk and the next are to be measured again.
    fn touch(&mut self, c: usize) {
        for c in c..(c + 2).min(self.chunks.len()) {
            self.chunks[c].gap = UNKNOWN;
            if let Some(group) = self.groups.get_mut(c / GROUP) {
                *group = UNKNOWN;
            }
        }
    }

    /// A chunk came or went at `c`: later ones belong to other groups now.
    fn regroup(&mut self, c: usize) {
        self.groups.truncate(c / GROUP);
    }

    /// Puts an area in before position `pos`.
    fn insert_at(&mut self, pos: Option<Pos>, area: Vma<C>) -> Result<(), NoMemory> {
        let (mut c, mut i) = match pos {
            Some(pos) => pos,
            None if self.chunks.is_empty() => {
                self.chunks.try_reserve(1).map_err(|_| NoMemory)?;
                self.chunks.push(Chunk {
                    areas: Vec::new(),
                    gap: UNKNOWN,
                });
                (0, 0)
            }
            None => (
                self.chunks.len() - 1,
                self.chunks.last().map_or(0, |c| c.areas.len()),
            ),
        };
        if self.chunks[c].areas.len() >= CHUNK {
            self.split_chunk(c)?;
            if i > CHUNK / 2 {
                (c, i) = (c + 1, i - CHUNK / 2);
            }
        }
        let areas = &mut self.chunks[c].areas;
        if areas.len() == areas.capacity() {
            let grow = areas.len().clamp(4, CHUNK);
            if areas.try_reserve(grow).is_err() {
                self.drop_empty(c);
                return Err(NoMemory);
            }
        }
        self.chunks[c].areas.insert(i, area);
        self.count += 1;
        self.touch(c);
        Ok(())
    }

    fn split_chunk(&mut self, c: usize) -> Result<(), NoMemory> {
        self.chunks.try_reserve(1).map_err(|_| NoMemory)?;
        let mut upper = Vec::new();
        upper.try_reserve(CHUNK).map_err(|_| NoMemory)?;
        upper.extend(self.chunks[c].areas.drain(CHUNK / 2..));
        self.chunks.insert(
            c + 1,
            Chunk {
                areas: upper,
                gap: UNKNOWN,
            },
        );
        self.regroup(c);
        self.touch(c);
        Ok(())
    }

    fn drop_empty(&mut self, c: usize) {
        if self.chunks[c].areas.is_empty() {
            self.chunks.remove(c);
            self.regroup(c);
            // The gap that the chunk leaves is before the next.
            self.touch(c);
        }
    }

    /// Takes out the area at `pos`.
    fn remove_at(&mut self, (c, i): Pos) -> Vma<C> {
        let area = self.chunks[c].areas.remove(i);
        self.count -= 1;
        self.touch(c);
        self.drop_empty(c);
        area
    }

    /// Adds an area where nothing is, joined to its neighbours where they continue each other.
    pub fn insert(&mut self, area: Vma<C>) -> Result<(), NoMemory> {
        debug_assert!(self.is_free(area.start, area.end));
        let next = self.position(area.start);
        let prev = match next {
            Some(pos) => self.before(pos),
            None => self
                .chunks
                .len()
                .checked_sub(1)
                .map(|c| (c, self.chunks[c].areas.len() - 1)),
        };
        if let Some((c, i)) = prev
            && self.chunks[c].areas[i].joins(&area)
        {
            self.chunks[c].areas[i].end = area.end;
            self.touch(c);
            self.join_next((c, i));
            return Ok(());
        }
        if let Some((c, i)) = next
            && area.joins(&self.chunks[c].areas[i])
        {
            let following = &mut self.chunks[c].areas[i];
            following.start = area.start;
            following.content = area.content;
            self.touch(c);
            return Ok(());
        }
        self.insert_at(next, area)
    }

    /// Joins the area at `pos` with the one after it, if they continue each other.
    fn join_next(&mut self, pos: Pos) -> bool {
        let Some(next) = self.after(pos) else {
            return false;
        };
        if !self.chunks[pos.0].areas[pos.1].joins(&self.chunks[next.0].areas[next.1]) {
            return false;
        }
        let gone = self.remove_at(next);
        self.chunks[pos.0].areas[pos.1].end = gone.end;
        true
    }

    /// Makes `at` a boundary between areas, if it lies inside one.
    pub fn split(&mut self, at: usize) -> Result<(), NoMemory> {
        let Some((c, i)) = self.position(at) else {
            return Ok(());
        };
        let area = &self.chunks[c].areas[i];
        if area.start >= at {
            return Ok(());
        }
        let lower = area.part(area.start, at);
        let upper_content = area.content.advanced(at - area.start);
        self.insert_at(Some((c, i)), lower)?;
        let (c, i) = self.position(at).unwrap_or((c, i));
        let upper = &mut self.chunks[c].areas[i];
        upper.start = at;
        upper.content = upper_content;
        self.touch(c);
        Ok(())
    }

    /// How many more areas splitting at both ends of `[start, end)` makes.
    pub fn splits_needed(&self, start: usize, end: usize) -> usize {
        let inside = |at: usize| self.find_from(at).is_some_and(|a| a.start < at);
        usize::from(inside(start)) + usize::from(inside(end))
    }

    /// Removes all of `[start, end)`, splitting areas at the ends; `removed` gets each piece in order. When splitting
    /// fails nothing has been removed.
    pub fn remove(
        &mut self,
        start: usize,
        end: usize,
        mut removed: impl FnMut(Vma<C>),
    ) -> Result<(), NoMemory> {
        self.split(start)?;
        self.split(end)?;
        while let Some((c, i)) = self.position(start) {
            let chunk = &self.chunks[c].areas;
            let last = i + chunk[i..].partition_point(|a| a.start < end);
            if last == i {
                break;
            }
            self.count -= last - i;
            self.chunks[c].areas.drain(i..last).for_each(&mut removed);
            self.touch(c);
            self.drop_empty(c);
        }
        Ok(())
    }

    /// Gives all areas in `[start, end)` the flags that `change` answers for theirs, splitting at the ends and joining
    /// what has become alike. `changed` is told each piece with its former flags.
    pub fn change_flags(
        &mut self,
        start: usize,
        end: usize,
        change: impl Fn(VmFlags) -> VmFlags,
        mut changed: impl FnMut(&Vma<C>, VmFlags),
    ) -> Result<(), NoMemory> {
        self.split(start)?;
        self.split(end)?;
        let mut at = start;
        while let Some((c, i)) = self.position(at) {
            let area = &mut self.chunks[c].areas[i];
            if area.start >= end {
                break;
            }
            let before = area.flags;
            area.flags = change(before);
            at = area.end;
            if area.flags != before {
                changed(area, before);
            }
        }
        self.join_all(start, end);
        Ok(())
    }

    /// Joins what can be joined at the boundaries within `[start, end]`.
    pub fn join_all(&mut self, start: usize, end: usize) {
        let first = self.position(start.saturating_sub(1));
        let Some(mut pos) = first else { return };
        while self.chunks[pos.0].areas[pos.1].end <= end {
            if !self.join_next(pos) {
                match self.after(pos) {
                    Some(next) => pos = next,
                    None => return,
                }
            } else if self
                .chunks
                .get(pos.0)
                .is_none_or(|c| pos.1 >= c.areas.len())
            {
                return;
            }
        }
    }

    /// Extends the area that contains `address` upwards to `end`, where nothing is.
    pub fn grow_up(&mut self, address: usize, end: usize) {
        if let Some((c, i)) = self.position(address) {
            self.chunks[c].areas[i].end = end;
            self.touch(c);
        }
    }

    /// Extends the area that starts at `start` downwards to `new_start`, where nothing is.
    pub fn grow_down(&mut self, start: usize, new_start: usize) {
        if let Some((c, i)) = self.position(start) {
            let area = &mut self.chunks[c].areas[i];
            let by = area.start - new_start;
            area.content = area.content.retreated(by);
            area.start = new_start;
            self.touch(c);
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self, mut removed: impl FnMut(Vma<C>)) {
        for chunk in self.chunks.drain(..) {
            chunk.areas.into_iter().for_each(&mut removed);
        }
        self.groups.clear();
        self.count = 0;
    }

    /// A copy made of what `keep` answers for each area.
    pub fn try_clone_with(
        &self,
        mut keep: impl FnMut(&Vma<C>) -> Option<Vma<C>>,
    ) -> Result<Self, NoMemory> {
        let mut copy = VmaMap::new();
        copy.chunks
            .try_reserve_exact(self.chunks.len())
            .map_err(|_| NoMemory)?;
        for chunk in &self.chunks {
            let mut areas = Vec::new();
            areas.try_reserve(chunk.areas.len()).map_err(|_| NoMemory)?;
            areas.extend(chunk.areas.iter().filter_map(&mut keep));
            if !areas.is_empty() {
                copy.count += areas.len();
                copy.chunks.push(Chunk {
                    areas,
                    gap: UNKNOWN,
                });
            }
        }
        Ok(copy)
    }
}
