//! Which class was taken under which, and how classes meet interrupts.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::class::MAX_CLASSES;

const WORDS: usize = MAX_CLASSES / 64;
/// Return addresses kept of the moment that something was first seen.
pub(super) const DEPTH: usize = 16;
/// So many orders are kept with their stacks; more are known without.
const MAX_TRACES: usize = 4096;

/// A stack, innermost first, zeros at its end.
pub type Trace = [u64; DEPTH];

type Row = [AtomicU64; WORDS];
/// A set of classes.
type Set = [u64; WORDS];

const fn no_row() -> Row {
    [const { AtomicU64::new(0) }; WORDS]
}

/// Bit `b` of row `a`: a lock of class `b` was taken under one of `a`.
static UNDER: [Row; MAX_CLASSES] = [const { no_row() }; MAX_CLASSES];
/// Taken by an interrupt.
static IN_INTERRUPT: Row = no_row();
/// Held with interrupts on.
static INTERRUPTED: Row = no_row();

struct Seen {
    key: AtomicU64,
    trace: [AtomicU64; DEPTH],
}

static TRACES: [Seen; MAX_TRACES] = [const {
    Seen {
        key: AtomicU64::new(0),
        trace: [const { AtomicU64::new(0) }; DEPTH],
    }
}; MAX_TRACES];
static NEXT_TRACE: AtomicUsize = AtomicUsize::new(0);
/// Held by who adds something: rare.
static ADDING: AtomicBool = AtomicBool::new(false);

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The second class was taken under the first.
    Under(usize, usize),
    /// An interrupt took the class.
    InInterrupt(usize),
    /// The class was held with interrupts on.
    Interrupted(usize),
}

impl Fact {
    /// Never 0.
    fn key(self) -> u64 {
        match self {
            Fact::Under(first, second) => 1 << 60 | (first as u64) << 20 | second as u64,
            Fact::InInterrupt(class) => 2 << 60 | class as u64,
            Fact::Interrupted(class) => 3 << 60 | class as u64,
        }
    }

    fn bit(self) -> (&'static Row, usize) {
        match self {
            Fact::Under(first, second) => (&UNDER[first], second),
            Fact::InInterrupt(class) => (&IN_INTERRUPT, class),
            Fact::Interrupted(class) => (&INTERRUPTED, class),
        }
    }
}

/// Whether it was seen before.
pub(super) fn known(fact: Fact) -> bool {
    let (row, class) = fact.bit();
    row[class / 64].load(Ordering::Relaxed) & 1 << (class % 64) != 0
}

/// Notes something seen for the first time. Answers what of the known contradicts it: the fact that was there.
pub(super) fn add(fact: Fact, trace: &Trace) -> Option<Fact> {
    while ADDING.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    let mut against = None;
    if !known(fact) {
        if let Fact::Under(first, second) = fact {
            against = path(second, first);
        }
        let (row, class) = fact.bit();
        row[class / 64].fetch_or(1 << (class % 64), Ordering::Relaxed);
        against = against.or_else(interrupt_meets_interrupted);
        match against {
            None => keep(fact, trace),
            // What is known stays free of contradictions.
            Some(_) => drop(row[class / 64].fetch_and(!(1 << (class % 64)), Ordering::Relaxed)),
        }
    }
    ADDING.store(false, Ordering::Release);
    against
}

fn keep(fact: Fact, trace: &Trace) {
    let slot = NEXT_TRACE.fetch_add(1, Ordering::Relaxed);
    if let Some(seen) = TRACES.get(slot) {
        for (to, from) in seen.trace.iter().zip(trace) {
            to.store(*from, Ordering::Relaxed);
        }
        seen.key.store(fact.key(), Ordering::Release);
    }
}

/// The stack of the moment that it was first seen.
pub(super) fn trace_of(fact: Fact) -> Trace {
    let key = fact.key();
    let seen = TRACES
        .iter()
        .find(|seen| seen.key.load(Ordering::Acquire) == key);
    seen.map_or([0; DEPTH], |seen| {
        core::array::from_fn(|i| seen.trace[i].load(Ordering::Relaxed))
    })
}

/// All that is reached from `start` by going on to what was taken under it, `start` included.
fn reach(mut set: Set) -> Set {
    let mut todo = set;
    while let Some(class) = first(&todo) {
        todo[class / 64] &= !(1 << (class % 64));
        for word in 0..WORDS {
            let fresh = UNDER[class][word].load(Ordering::Relaxed) & !set[word];
            set[word] |= fresh;
            todo[word] |= fresh;
        }
    }
    set
}

fn first(set: &Set) -> Option<usize> {
    let word = set.iter().position(|word| *word != 0)?;
    Some(word * 64 + set[word].trailing_zeros() as usize)
}

fn single(class: usize) -> Set {
    let mut set = [0; WORDS];
    set[class / 64] = 1 << (class % 64);
    set
}

fn contains(set: &Set, class: usize) -> bool {
    set[class / 64] & 1 << (class % 64) != 0
}

/// Whether `to` has been taken, over however many steps, under `from`: the first step of the way.
fn path(from: usize, to: usize) -> Option<Fact> {
    let next = (0..MAX_CLASSES).find(|&next| {
        next != from
            && known(Fact::Under(from, next))
            && (next == to || contains(&reach(single(next)), to))
    })?;
    Some(Fact::Under(from, next))
}

/// A lock that an interrupt takes leads to one that is held with interrupts on: the latter.
fn interrupt_meets_interrupted() -> Option<Fact> {
    let start: Set = core::array::from_fn(|i| IN_INTERRUPT[i].load(Ordering::Relaxed));
    let reached = reach(start);
    let both: Set = core::array::from_fn(|i| reached[i] & INTERRUPTED[i].load(Ordering::Relaxed));
    first(&both).map(Fact::Interrupted)
}
