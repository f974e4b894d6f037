//! Sets of semaphores.
//!
//! A call's operations happen all at once or not at all. Who cannot go on waits in one queue, in the order of coming, and
//! is done by whoever changes the set: the sleeper finds its call finished. Calls that only wait for zeros change nothing
//! and are done before those that change values.
//!
//! What an exit takes back (`SEM_UNDO`) is kept in the set, a record for each process that asked for it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::sysv::{IPC_NOWAIT, SEM_UNDO, SEMVMX, Sembuf};
use abi::{Errno, Result};
use smallvec::SmallVec;

use crate::list::{Chain, Fifo, Node};

/// The operations of one call: few in practice.
pub type Ops = SmallVec<[Sembuf; 4]>;

/// One semaphore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sem {
    /// 0 to [`SEMVMX`].
    pub value: i32,
    /// Who changed it last.
    pub pid: i32,
}

/// What became of an attempt that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Done,
    /// This operation has to wait; nothing was changed.
    Blocked(usize),
}

/// A call that waits.
#[derive(Debug)]
pub struct Waiting<W> {
    pub ops: Ops,
    pub pid: i32,
    /// Its process's record of adjustments.
    pub undo: Option<usize>,
    /// The operation that waits.
    pub blocking: usize,
    /// How it ended, once it has left the queue.
    pub result: Result<()>,
    pub who: W,
}

impl<W> Waiting<W> {
    /// Whether it changes values.
    fn alters(&self) -> bool {
        alters(&self.ops)
    }
}

/// Calls that were done, with their results.
pub type Woken<W> = Chain<Waiting<W>>;

/// Whether the operations change values.
#[inline]
pub fn alters(ops: &[Sembuf]) -> bool {
    ops.iter().any(|op| op.op != 0)
}

/// What one process's exit adds to each semaphore.
pub type Adjustments = Box<[i16]>;

/// The state of a set.
///
/// # Invariants
/// - Values are within `0..=SEMVMX`.
/// - Each record of `undos` has as many entries as there are semaphores.
/// - No call in `queue` could go on.
#[derive(Debug)]
pub struct Set<W> {
    sems: Box<[Sem]>,
    undos: Vec<Option<Adjustments>>,
    queue: Fifo<Waiting<W>>,
    /// Calls in the queue with more than one operation.
    complex: usize,
}

/// Does the operations, or none of them.
#[inline]
fn perform(
    sems: &mut [Sem],
    mut undo: Option<&mut [i16]>,
    ops: &[Sembuf],
    pid: i32,
) -> Result<Attempt> {
    for (index, op) in ops.iter().enumerate() {
        let step = step(sems, undo.as_deref_mut(), op);
        if step != Ok(Attempt::Done) {
            take_back(sems, undo, ops.get(..index).unwrap_or_default());
            return match step {
                Ok(_) if u32::from(op.flags) & IPC_NOWAIT != 0 => Err(Errno::EAGAIN),
                Ok(_) => Ok(Attempt::Blocked(index)),
                Err(errno) => Err(errno),
            };
        }
    }
    for op in ops {
        if let Some(sem) = sems.get_mut(usize::from(op.num)) {
            sem.pid = pid;
        }
    }
    Ok(Attempt::Done)
}

/// One operation; `Blocked(0)` if it has to wait.
#[inline]
fn step(sems: &mut [Sem], undo: Option<&mut [i16]>, op: &Sembuf) -> Result<Attempt> {
    let number = usize::from(op.num);
    let sem = sems.get_mut(number).ok_or(Errno::EFBIG)?;
    let by = i32::from(op.op);
    let result = sem.value + by;
    if result < 0 || (by == 0 && sem.value != 0) {
        return Ok(Attempt::Blocked(0));
    }
    if result > SEMVMX {
        return Err(Errno::ERANGE);
    }
    if op.flags & SEM_UNDO != 0
        && let Some(adjustment) = undo.and_then(|undo| undo.get_mut(number))
    {
        *adjustment = i16::try_from(i32::from(*adjustment) - by).map_err(|_| Errno::ERANGE)?;
    }
    sem.value = result;
    Ok(Attempt::Done)
}

/// Reverts operations that were done.
fn take_back(sems: &mut [Sem], mut undo: Option<&mut [i16]>, ops: &[Sembuf]) {
    for op in ops.iter().rev() {
        let number = usize::from(op.num);
        if let Some(sem) = sems.get_mut(number) {
            sem.value -= i32::from(op.op);
        }
        if op.flags & SEM_UNDO != 0
            && let Some(adjustment) = undo.as_deref_mut().and_then(|undo| undo.get_mut(number))
        {
            *adjustment = adjustment.wrapping_add(op.op);
        }
    }
}

impl<W> Set<W> {
    /// A set of semaphores with the value 0.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(count: usize) -> Result<Self> {
        let mut sems = Vec::new();
        sems.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        sems.resize(count, Sem::default());
        Ok(Self {
            sems: sems.into_boxed_slice(),
            undos: Vec::new(),
            queue: Fifo::new(),
            complex: 0,
        })
    }

    /// The semaphores.
    pub fn sems(&self) -> &[Sem] {
        &self.sems
    }

    /// Tries the operations; `undo` is where adjustments go.
    ///
    /// # Errors
    /// `EAGAIN` when one with `IPC_NOWAIT` has to wait, `ERANGE`, `EFBIG`.
    #[inline]
    pub fn attempt(&mut self, ops: &[Sembuf], pid: i32, undo: Option<usize>) -> Result<Attempt> {
        let adjustments = undo.and_then(|slot| self.undos.get_mut(slot)?.as_deref_mut());
        perform(&mut self.sems, adjustments, ops, pid)
    }

    /// Whether another call can wait without an allocation.
    pub fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    /// How many calls a roomier queue should have room for.
    pub fn wanted_capacity(&self) -> usize {
        self.queue.wanted_capacity()
    }

    /// See [`Fifo::swap_room`].
    pub fn swap_room(&mut self, roomier: &mut Fifo<Waiting<W>>) {
        self.queue.swap_room(roomier);
    }

    /// Puts a call at the end of the queue; gives it back when there is no room.
    pub fn wait(
        &mut self,
        waiting: Box<Node<Waiting<W>>>,
    ) -> core::result::Result<(), Box<Node<Waiting<W>>>> {
        let complex = usize::from(waiting.value.ops.len() > 1);
        self.queue.push(waiting)?;
        self.complex += complex;
        Ok(())
    }

    /// Takes a call out that gave up; `None` when it was done before.
    pub fn cancel(&mut self, is_it: impl Fn(&W) -> bool) -> Option<Box<Node<Waiting<W>>>> {
        let node = self.queue.remove_first(|waiting| is_it(&waiting.who))?;
        self.left(&node.value);
        Some(node)
    }

    fn left(&mut self, waiting: &Waiting<W>) {
        self.complex -= usize::from(waiting.ops.len() > 1);
    }

    /// Whether anybody waits: nothing need be done after a change otherwise.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Values have changed: does what waits and can go on.
    pub fn update(&mut self, woken: &mut Woken<W>) {
        self.update_some(woken, false);
        let mut index = 0;
        while let Some(waiting) = self.queue.get(index) {
            if !waiting.alters() || !self.try_waiting(index, woken) {
                index += 1;
                continue;
            }
            self.update_some(woken, false);
            // What was lowered lets nobody go on that stood before, unless for several reasons at once.
            if self.complex > 0 || self.raised(woken) {
                index = 0;
            }
        }
    }

    /// Whether the call done last may have let others go on.
    fn raised(&self, woken: &Woken<W>) -> bool {
        woken
            .newest()
            .is_none_or(|done| done.ops.len() > 1 || done.ops.iter().any(|op| op.op >= 0))
    }

    /// Does all that can go on among those that change values, or those that do not.
    fn update_some(&mut self, woken: &mut Woken<W>, altering: bool) {
        let mut index = 0;
        while let Some(waiting) = self.queue.get(index) {
            if waiting.alters() != altering || !self.try_waiting(index, woken) {
                index += 1;
            }
        }
    }

    /// Tries the call at `index`; true if it has left the queue.
    fn try_waiting(&mut self, index: usize, woken: &mut Woken<W>) -> bool {
        let Some(waiting) = self.queue.get_mut(index) else {
            return false;
        };
        let adjustments = waiting
            .undo
            .and_then(|slot| self.undos.get_mut(slot)?.as_deref_mut());
        let result = match perform(&mut self.sems, adjustments, &waiting.ops, waiting.pid) {
            Ok(Attempt::Blocked(at)) => {
                waiting.blocking = at;
                return false;
            }
            Ok(Attempt::Done) => Ok(()),
            Err(errno) => Err(errno),
        };
        waiting.result = result;
        if let Some(node) = self.queue.remove(index) {
            self.left(&node.value);
            woken.push(node);
        }
        true
    }

    /// How many calls wait for the semaphore to be zero, or to become larger.
    pub fn waiting_for(&self, number: usize, zero: bool) -> usize {
        let waits = |waiting: &&Waiting<W>| {
            waiting
                .ops
                .get(waiting.blocking)
                .is_some_and(|op| usize::from(op.num) == number && (op.op == 0) == zero)
        };
        self.queue.iter().filter(waits).count()
    }

    /// `SETVAL`: nobody's exit changes the semaphore any more. The number and the value are good.
    pub fn set_value(&mut self, number: usize, value: i32, pid: i32) {
        for record in self.undos.iter_mut().flatten() {
            if let Some(adjustment) = record.get_mut(number) {
                *adjustment = 0;
            }
        }
        if let Some(sem) = self.sems.get_mut(number) {
            *sem = Sem { value, pid };
        }
    }

    /// `SETALL`, with good values.
    pub fn set_all(&mut self, values: &[u16], pid: i32) {
        for record in self.undos.iter_mut().flatten() {
            record.fill(0);
        }
        for (sem, value) in self.sems.iter_mut().zip(values) {
            *sem = Sem {
                value: i32::from(*value),
                pid,
            };
        }
    }

    /// Adds a record of adjustments, all zero; gives it back when there is no room.
    pub fn add_undo(&mut self, record: Adjustments) -> core::result::Result<usize, Adjustments> {
        if let Some(slot) = self.undos.iter().position(Option::is_none) {
            if let Some(place) = self.undos.get_mut(slot) {
                *place = Some(record);
            }
            return Ok(slot);
        }
        if self.undos.len() == self.undos.capacity() {
            return Err(record);
        }
        self.undos.push(Some(record));
        Ok(self.undos.len() - 1)
    }

    /// How many records a roomier table should have room for.
    pub fn wanted_undos(&self) -> usize {
        (self.undos.len() + 1).next_power_of_two().max(4)
    }

    /// Moves the records into the memory of `roomier`, which is empty; the old memory is left there.
    pub fn swap_undo_room(&mut self, roomier: &mut Vec<Option<Adjustments>>) {
        if roomier.is_empty() && roomier.capacity() > self.undos.capacity() {
            roomier.append(&mut self.undos);
            core::mem::swap(&mut self.undos, roomier);
        }
    }

    /// A process exits: its adjustments happen, cut to what a semaphore can have. Answers the record, to be freed.
    pub fn apply_undo(&mut self, slot: usize, pid: i32) -> Option<Adjustments> {
        let record = self.undos.get_mut(slot)?.take()?;
        for (sem, adjustment) in self.sems.iter_mut().zip(&record) {
            if *adjustment != 0 {
                sem.value = (sem.value + i32::from(*adjustment)).clamp(0, SEMVMX);
                sem.pid = pid;
            }
        }
        Some(record)
    }

    /// The set is removed: everybody leaves.
    pub fn drain(&mut self) -> Woken<W> {
        self.complex = 0;
        self.queue.drain()
    }
}

#[cfg(test)]
#[path = "sem_tests.rs"]
mod tests;
