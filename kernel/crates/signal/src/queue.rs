//! What is pending for a thread or a process.
//!
//! A standard signal is pending once, with the information of its first instance; a real-time signal queues each
//! instance. A few standard signals fit into the queue itself, so that sending one allocates nothing. All else lives in
//! a [`Storage`], which the sender allocates before it takes the queue's lock. The senders that cannot allocate (timers,
//! in interrupt context) reserve their place when they are created.

use alloc::vec::Vec;

use abi::signal::{SigInfo, SigSet, Signo, si};
use arrayvec::ArrayVec;

/// One pending instance. `T` is what the kernel keeps with it (who is charged for it, which timer sent it).
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<T> {
    pub info: SigInfo,
    pub tag: T,
}

/// Signals kept without a [`Storage`].
const INLINE: usize = 3;
const SIGNALS: usize = Signo::MAX as usize;
/// The end of a list.
const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<T> {
    entry: Option<Entry<T>>,
    next: u32,
}

/// Room for instances beyond the inline ones: a slab with one list for each signal.
#[derive(Debug)]
pub struct Storage<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    used: usize,
    lists: [(u32, u32); SIGNALS],
}

impl<T> Storage<T> {
    /// Room for at least `capacity` instances, or `None` without memory.
    pub fn allocate(capacity: usize) -> Option<Self> {
        let mut slots = Vec::new();
        slots
            .try_reserve_exact(capacity.clamp(4, NIL as usize - 1))
            .ok()?;
        Some(Self {
            slots,
            free: NIL,
            used: 0,
            lists: [(NIL, NIL); SIGNALS],
        })
    }

    fn room(&self) -> usize {
        self.slots.capacity() - self.used
    }

    fn push(&mut self, signo: Signo, entry: Entry<T>) -> Result<(), Entry<T>> {
        let index = if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let index = self.free;
            self.free = slot.next;
            *slot = Slot {
                entry: Some(entry),
                next: NIL,
            };
            index
        } else if self.slots.len() < self.slots.capacity() {
            self.slots.push(Slot {
                entry: Some(entry),
                next: NIL,
            });
            (self.slots.len() - 1) as u32
        } else {
            return Err(entry);
        };
        self.used += 1;
        let tail = self.lists[signo.index()].1;
        match self.slots.get_mut(tail as usize) {
            Some(slot) => slot.next = index,
            None => self.lists[signo.index()].0 = index,
        }
        self.lists[signo.index()].1 = index;
        Ok(())
    }

    fn pop(&mut self, signo: Signo) -> Option<Entry<T>> {
        let head = self.lists[signo.index()].0;
        let slot = self.slots.get_mut(head as usize)?;
        let entry = slot.entry.take();
        let next = slot.next;
        slot.next = self.free;
        self.free = head;
        self.used -= 1;
        self.lists[signo.index()].0 = next;
        if next == NIL {
            self.lists[signo.index()].1 = NIL;
        }
        entry
    }

    fn has(&self, signo: Signo) -> bool {
        self.lists[signo.index()].0 != NIL
    }
}

/// The pending signals of one thread, or those sent to a process as a whole.
///
/// # Invariants
/// A signal with an entry is in `set`; one in `set` without an entry lost its information to a lack of memory.
#[derive(Debug)]
pub struct PendingQueue<T> {
    set: SigSet,
    inline: ArrayVec<Entry<T>, INLINE>,
    storage: Option<alloc::boxed::Box<Storage<T>>>,
    /// Places in `storage` that only [`PendingQueue::push_reserved`] may use.
    reserved: usize,
}

impl<T> Default for PendingQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PendingQueue<T> {
    pub const fn new() -> Self {
        Self {
            set: SigSet::EMPTY,
            inline: ArrayVec::new_const(),
            storage: None,
            reserved: 0,
        }
    }

    pub const fn set(&self) -> SigSet {
        self.set
    }

    /// Whether a new instance of `signo` would be dropped because a standard signal is pending already.
    pub const fn coalesces(&self, signo: Signo) -> bool {
        !signo.is_realtime() && self.set.contains(signo)
    }

    /// Queues an instance. `Err` gives it back when a bigger [`Storage`] is needed ([`PendingQueue::grow`]).
    pub fn push(&mut self, signo: Signo, entry: Entry<T>) -> Result<(), Entry<T>> {
        let inline = !signo.is_realtime() && !self.set.contains(signo);
        if inline && !self.inline.is_full() {
            self.inline.push(entry);
        } else {
            match &mut self.storage {
                Some(storage) if storage.room() > self.reserved => storage.push(signo, entry)?,
                _ => return Err(entry),
            }
        }
        self.set.insert(signo);
        Ok(())
    }

    /// Queues an instance in a place that [`PendingQueue::reserve`] set aside.
    pub fn push_reserved(&mut self, signo: Signo, entry: Entry<T>) -> Result<(), Entry<T>> {
        match &mut self.storage {
            Some(storage) => storage.push(signo, entry)?,
            None => return Err(entry),
        }
        self.set.insert(signo);
        Ok(())
    }

    /// Marks the signal as pending without its information.
    pub const fn mark(&mut self, signo: Signo) {
        self.set.insert(signo);
    }

    /// The capacity of a [`Storage`] that lets the next push succeed.
    pub fn wanted_capacity(&self) -> usize {
        let used = self.storage.as_ref().map_or(0, |s| s.used);
        used.saturating_add(self.reserved)
            .saturating_add(1)
            .next_power_of_two()
            .max(8)
    }

    /// Moves to a bigger storage and gives the old one back, to be freed outside the lock. One that is not bigger is
    /// given back unused.
    pub fn grow(
        &mut self,
        mut new: alloc::boxed::Box<Storage<T>>,
    ) -> Option<alloc::boxed::Box<Storage<T>>> {
        let Some(old) = &mut self.storage else {
            self.storage = Some(new);
            return None;
        };
        if new.slots.capacity() <= old.slots.capacity() || new.used != 0 {
            return Some(new);
        }
        let queued = self.set;
        for signo in queued.iter() {
            while let Some(entry) = old.pop(signo) {
                // Cannot fail: `new` is empty and bigger than `old`.
                let _ = new.push(signo, entry);
            }
        }
        self.storage.replace(new)
    }

    /// Sets one place aside; `false` when a bigger storage is needed first.
    pub fn reserve(&mut self) -> bool {
        let room = self.storage.as_ref().map_or(0, |s| s.room());
        if room <= self.reserved {
            return false;
        }
        self.reserved += 1;
        true
    }

    /// Gives a place back that [`PendingQueue::reserve`] set aside.
    pub const fn unreserve(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// The next signal outside `blocked`: synchronous faults first, then by number.
    pub const fn next(&self, blocked: SigSet) -> Option<Signo> {
        let ready = self.set.difference(blocked);
        let faults = ready.intersection(SigSet::SYNCHRONOUS);
        if faults.is_empty() {
            ready.first()
        } else {
            faults.first()
        }
    }

    /// Takes the oldest instance of a pending signal. Without stored information it looks as if process 0 sent it, as
    /// Linux has it.
    pub fn take(&mut self, signo: Signo) -> Option<(SigInfo, Option<T>)> {
        if !self.set.contains(signo) {
            return None;
        }
        let at = self
            .inline
            .iter()
            .position(|e| e.info.si_signo == signo.as_i32());
        let entry = match at {
            Some(at) => Some(self.inline.remove(at)),
            None => self.storage.as_mut().and_then(|s| s.pop(signo)),
        };
        if !self.storage.as_ref().is_some_and(|s| s.has(signo)) {
            self.set.remove(signo);
        }
        Some(match entry {
            Some(entry) => (entry.info, Some(entry.tag)),
            None => (SigInfo::user(signo, si::USER, 0, 0), None),
        })
    }

    /// Shows every instance that has its information: the inline ones, then the others by signal, each in their order.
    pub fn for_each(&self, show: &mut dyn FnMut(&SigInfo)) {
        for entry in &self.inline {
            show(&entry.info);
        }
        let Some(storage) = &self.storage else { return };
        for signo in self.set.iter() {
            let mut index = storage.lists[signo.index()].0;
            while let Some(slot) = storage.slots.get(index as usize) {
                if let Some(entry) = &slot.entry {
                    show(&entry.info);
                }
                index = slot.next;
            }
        }
    }

    /// Discards every instance of the signals in `which`.
    pub fn discard(&mut self, which: SigSet) {
        let which = which.intersection(self.set);
        for signo in which.iter() {
            while self.take(signo).is_some() {}
        }
    }

    /// Discards the instances that `gone` names, as the signals of a deleted timer.
    pub fn discard_if(&mut self, signo: Signo, gone: impl Fn(&T) -> bool) {
        if !self.set.contains(signo) {
            return;
        }
        self.inline
            .retain(|e| e.info.si_signo != signo.as_i32() || !gone(&e.tag));
        if let Some(storage) = &mut self.storage {
            let mut left = 0;
            let mut index = storage.lists[signo.index()].0;
            while let Some(slot) = storage.slots.get(index as usize) {
                left += 1;
                index = slot.next;
            }
            for _ in 0..left {
                match storage.pop(signo) {
                    Some(entry) if !gone(&entry.tag) => {
                        // Cannot fail: its own place was just freed.
                        let _ = storage.push(signo, entry);
                    }
                    _ => {}
                }
            }
        }
        let stored = self.storage.as_ref().is_some_and(|s| s.has(signo));
        if !stored
            && !self
                .inline
                .iter()
                .any(|e| e.info.si_signo == signo.as_i32())
        {
            self.set.remove(signo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: i32, value: u64) -> Entry<u64> {
        let signo = Signo::new(n).unwrap();
        Entry {
            info: SigInfo::queued(signo, si::QUEUE, 1, 0, value),
            tag: value,
        }
    }

    /// Sends as the kernel does: coalesce, push, grow when asked.
    fn send(queue: &mut PendingQueue<u64>, n: i32, value: u64) {
        let signo = Signo::new(n).unwrap();
        if queue.coalesces(signo) {
            return;
        }
        let mut entry = entry(n, value);
        while let Err(back) = queue.push(signo, entry) {
            entry = back;
            let bigger = Storage::allocate(queue.wanted_capacity()).unwrap();
            queue.grow(alloc::boxed::Box::new(bigger));
        }
    }

    fn drain(queue: &mut PendingQueue<u64>) -> Vec<(i32, u64)> {
        let mut out = Vec::new();
        while let Some(signo) = queue.next(SigSet::EMPTY) {
            let (info, tag) = queue.take(signo).unwrap();
            assert_eq!(info.value(), tag.unwrap());
            out.push((info.si_signo, info.value()));
        }
        out
    }

    #[test]
    fn standard_signals_coalesce_and_keep_the_first_information() {
        let mut queue = PendingQueue::new();
        send(&mut queue, 10, 1);
        send(&mut queue, 10, 2);
        assert_eq!(drain(&mut queue), [(10, 1)]);
        assert!(queue.set().is_empty());
    }

    #[test]
    fn real_time_signals_queue_in_order() {
        let mut queue = PendingQueue::new();
        for value in 0..100 {
            send(&mut queue, 34, value);
            send(&mut queue, 33, value);
        }
        let got = drain(&mut queue);
        let want: Vec<_> = (0..100)
            .map(|v| (33, v))
            .chain((0..100).map(|v| (34, v)))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn faults_come_first_then_the_lowest_number() {
        let mut queue = PendingQueue::new();
        for n in [2, 40, 1, 11, 17, 8, 31] {
            send(&mut queue, n, n as u64);
        }
        let order: Vec<_> = drain(&mut queue).iter().map(|e| e.0).collect();
        assert_eq!(order, [8, 11, 31, 1, 2, 17, 40]);
    }

    #[test]
    fn blocked_signals_are_passed_over() {
        let mut queue = PendingQueue::new();
        send(&mut queue, 1, 0);
        send(&mut queue, 15, 0);
        assert_eq!(queue.next(SigSet::of(Signo::HUP)), Some(Signo::TERM));
        assert_eq!(queue.next(SigSet::FULL), None);
    }

    #[test]
    fn no_allocation_for_a_few_standard_signals() {
        let mut queue = PendingQueue::new();
        for n in [1, 2, 15] {
            assert!(queue.push(Signo::new(n).unwrap(), entry(n, 0)).is_ok());
        }
        assert!(queue.storage.is_none());
        assert!(queue.push(Signo::new(3).unwrap(), entry(3, 0)).is_err());
    }

    #[test]
    fn a_mark_without_information_reads_as_sent_by_nobody() {
        let mut queue = PendingQueue::<u64>::new();
        queue.mark(Signo::INT);
        let (info, tag) = queue.take(Signo::INT).unwrap();
        assert_eq!(
            (info.si_code, info.pid(), info.uid(), tag),
            (si::USER, 0, 0, None)
        );
        assert_eq!(queue.take(Signo::INT), None);
    }

    #[test]
    fn reserved_places_are_kept_for_their_owner() {
        let mut queue = PendingQueue::new();
        assert!(!queue.reserve());
        queue.grow(alloc::boxed::Box::new(Storage::allocate(8).unwrap()));
        assert!(queue.reserve());
        let signo = Signo::RTMIN;
        let fits = (0..100)
            .take_while(|v| queue.push(signo, entry(32, *v)).is_ok())
            .count();
        assert!(fits >= 7);
        assert!(queue.push_reserved(signo, entry(32, 999)).is_ok());
        assert_eq!(drain(&mut queue).last(), Some(&(32, 999)));
    }

    #[test]
    fn a_timers_standard_signal_queues_behind_a_pending_one() {
        let mut queue = PendingQueue::new();
        queue.grow(alloc::boxed::Box::new(Storage::allocate(8).unwrap()));
        assert!(queue.reserve());
        send(&mut queue, 14, 1);
        queue.push_reserved(Signo::ALRM, entry(14, 2)).unwrap();
        assert_eq!(drain(&mut queue), [(14, 1), (14, 2)]);
    }

    #[test]
    fn discarding_some_keeps_the_order_of_the_rest() {
        let mut queue = PendingQueue::new();
        for value in 0..10 {
            send(&mut queue, 40, value);
        }
        queue.discard_if(Signo::new(40).unwrap(), |tag| tag % 3 == 0);
        let rest: Vec<_> = drain(&mut queue).iter().map(|e| e.1).collect();
        assert_eq!(rest, [1, 2, 4, 5, 7, 8]);
        send(&mut queue, 2, 5);
        queue.discard_if(Signo::INT, |tag| *tag == 5);
        assert!(queue.set().is_empty());
    }

    #[test]
    fn discard_empties_the_named_signals_only() {
        let mut queue = PendingQueue::new();
        for n in [19, 20, 21, 22, 18, 50, 50] {
            send(&mut queue, n, 0);
        }
        queue.discard(SigSet::STOPS);
        let left: Vec<_> = drain(&mut queue).iter().map(|e| e.0).collect();
        assert_eq!(left, [18, 50, 50]);
    }

    /// A seeded random walk against the obvious model.
    #[test]
    fn agrees_with_a_list_of_entries() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut queue = PendingQueue::new();
        let mut model: Vec<(i32, u64)> = Vec::new();
        for step in 0..20_000 {
            let n = random(64) as i32 + 1;
            let signo = Signo::new(n).unwrap();
            match random(5) {
                0..3 => {
                    if signo.is_realtime() || !model.iter().any(|e| e.0 == n) {
                        model.push((n, step));
                    }
                    send(&mut queue, n, step);
                }
                3 => {
                    let at = model.iter().position(|e| e.0 == n);
                    let want = at.map(|at| model.remove(at).1);
                    assert_eq!(queue.take(signo).and_then(|e| e.1), want);
                }
                _ if random(50) == 0 => {
                    queue.discard(SigSet::of(signo));
                    model.retain(|e| e.0 != n);
                }
                _ => {}
            }
            let set = model
                .iter()
                .fold(SigSet::EMPTY, |set, e| set.with(Signo::new(e.0).unwrap()));
            assert_eq!(queue.set(), set);
        }
    }
}
