//! The deadline class: earliest deadline first (Liu and Layland, 1973), each task in a constant bandwidth server (Abeni
//! and Buttazzo, 1998), so that one that asks for more than its budget waits for its next period instead of taking the
//! time of others. As of SCHED_DEADLINE in `sched(7)`.

use alloc::vec::Vec;

use crate::heap::{Heap, Ranked};

/// What a task reserves: a budget of `runtime_ns` in each period, to be had within `deadline_ns` of the period's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reservation {
    /// Nanoseconds of CPU time.
    pub runtime_ns: u64,
    /// Nanoseconds from the start of a period.
    pub deadline_ns: u64,
    /// Nanoseconds from the start of one period to that of the next.
    pub period_ns: u64,
    /// SIGXCPU tells the task that it has used up its budget.
    pub tells_overruns: bool,
}

/// The smallest budget.
const LEAST_RUNTIME_NS: u64 = 1 << 10;
/// The bounds of a period: Linux's defaults, 100 microseconds and some four seconds.
const PERIODS_NS: core::ops::RangeInclusive<u64> = 100_000..=(1 << 22) * 1_000;
/// Fixed point of [`Reservation::bandwidth`].
const BANDWIDTH_SHIFT: u32 = 20;

impl Reservation {
    /// No reservation, of a task of another class.
    pub const NONE: Reservation = Reservation {
        runtime_ns: 0,
        deadline_ns: 0,
        period_ns: 0,
        tells_overruns: false,
    };

    /// The whole of one CPU, in units of [`Reservation::bandwidth`].
    pub const ONE_CPU: u64 = 1 << BANDWIDTH_SHIFT;

    /// Whether `sched_setattr(2)` may take it.
    pub fn is_valid(&self) -> bool {
        self.runtime_ns >= LEAST_RUNTIME_NS
            && self.runtime_ns <= self.deadline_ns
            && self.deadline_ns <= self.period_ns
            && PERIODS_NS.contains(&self.period_ns)
    }

    /// The share of a CPU, [`Reservation::ONE_CPU`] for all of it. 0 for no reservation.
    pub fn bandwidth(&self) -> u64 {
        match self.period_ns {
            0 => 0,
            period => {
                ((u128::from(self.runtime_ns) << BANDWIDTH_SHIFT) / u128::from(period)) as u64
            }
        }
    }

    fn is_implicit(&self) -> bool {
        self.deadline_ns == self.period_ns
    }
}

/// A task's standing in the deadline class. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Server {
    /// What is left of the budget; below 0 when the task ran for longer.
    pub(crate) left_ns: i64,
    /// The present absolute deadline.
    pub(crate) until_ns: u64,
    /// When the task may run again; 0 while it may.
    pub(crate) resumes_ns: u64,
}

impl Server {
    /// Starts a period now.
    pub(crate) fn start(&mut self, reservation: &Reservation, now: u64) {
        self.left_ns = reservation.runtime_ns as i64;
        self.until_ns = now + reservation.deadline_ns;
        self.resumes_ns = 0;
    }

    /// Charges time; says whether the budget is used up.
    pub(crate) fn charge(&mut self, ran_ns: u64) -> bool {
        self.left_ns = self.left_ns.saturating_sub_unsigned(ran_ns);
        self.left_ns <= 0
    }

    /// When the budget is used up if the task runs from now on.
    pub(crate) fn ends_ns(&self, now: u64) -> u64 {
        now + self.left_ns.max(0) as u64
    }

    fn next_period(&self, reservation: &Reservation) -> u64 {
        self.until_ns - reservation.deadline_ns + reservation.period_ns
    }

    /// The task has run and would go on. Without budget, or with `yields`, it waits for its next period.
    pub(crate) fn pause(&mut self, reservation: &Reservation, now: u64, yields: bool) {
        if self.left_ns > 0 && !yields {
            return;
        }
        // What is left is not saved up.
        self.left_ns = self.left_ns.min(0);
        self.wait_or_refill(reservation, now);
    }

    fn wait_or_refill(&mut self, reservation: &Reservation, now: u64) {
        match self.next_period(reservation) {
            next if next > now => self.resumes_ns = next,
            _ => self.refill(reservation, now),
        }
    }

    /// A new period begins: as many budgets as it takes to have some left, each with a deadline one period later.
    pub(crate) fn refill(&mut self, reservation: &Reservation, now: u64) {
        let runtime = reservation.runtime_ns.max(1);
        let periods = match self.left_ns {
            1.. => 0,
            debt => debt.unsigned_abs() / runtime + 1,
        };
        self.left_ns = self.left_ns.saturating_add_unsigned(periods * runtime);
        self.until_ns = self
            .until_ns
            .saturating_add(periods.saturating_mul(reservation.period_ns));
        self.resumes_ns = 0;
        if self.until_ns < now {
            self.start(reservation, now);
        }
    }

    /// The task wakes up: what is left of its budget goes with its deadline only where that asks for no more than the
    /// reserved share of the time until then.
    pub(crate) fn wake(&mut self, reservation: &Reservation, now: u64) {
        if self.resumes_ns > now {
            return;
        }
        if self.resumes_ns != 0 {
            self.refill(reservation, now);
        }
        if self.left_ns <= 0 {
            return self.wait_or_refill(reservation, now);
        }
        if self.until_ns < now {
            // Behind its deadline, but with its next period still to come: that is when it gets more.
            if !reservation.is_implicit() && now < self.next_period(reservation) {
                self.left_ns = 0;
                return self.wait_or_refill(reservation, now);
            }
            return self.start(reservation, now);
        }
        let (runtime, deadline) = (
            u128::from(reservation.runtime_ns),
            u128::from(reservation.deadline_ns.max(1)),
        );
        let laxity = u128::from(self.until_ns - now);
        if self.left_ns as u128 * deadline <= runtime * laxity {
            return;
        }
        match reservation.is_implicit() {
            true => self.start(reservation, now),
            // The deadline stays, with so much budget as its share of the time left is.
            false => self.left_ns = (runtime * laxity / deadline) as i64,
        }
    }
}

pub(crate) struct Item<T> {
    /// When: a deadline, or a period's start.
    at_ns: u64,
    /// Order of arrival among equals.
    sequence: u64,
    value: T,
}

impl<T> Ranked for Item<T> {
    fn comes_before(&self, other: &Item<T>) -> bool {
        (self.at_ns, self.sequence) < (other.at_ns, other.sequence)
    }
}

/// A heap by time.
pub(crate) struct TimeQueue<T> {
    heap: Heap<Item<T>>,
    sequence: u64,
}

impl<T> TimeQueue<T> {
    pub(crate) const fn new() -> TimeQueue<T> {
        TimeQueue {
            heap: Heap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn grow(&mut self, room: Vec<Item<T>>) -> Vec<Item<T>> {
        self.heap.grow(room)
    }

    pub(crate) fn push(&mut self, at_ns: u64, value: T) {
        self.sequence += 1;
        self.heap.push(Item {
            at_ns,
            sequence: self.sequence,
            value,
        });
    }

    /// The earliest time.
    pub(crate) fn first_ns(&self) -> Option<u64> {
        self.heap.first().map(|item| item.at_ns)
    }

    pub(crate) fn first(&self) -> Option<(u64, &T)> {
        self.heap.first().map(|item| (item.at_ns, &item.value))
    }

    /// The earliest time of those that `wanted` accepts.
    pub(crate) fn best(&self, wanted: impl Fn(&T) -> bool) -> Option<u64> {
        self.heap
            .best(|item| wanted(&item.value))
            .map(|item| item.at_ns)
    }

    pub(crate) fn take_best(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.heap
            .take_best(|item| wanted(&item.value))
            .map(|item| item.value)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|item| item.value)
    }

    pub(crate) fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let item = self.heap.remove(|item| wanted(&item.value))?;
        Some(item.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn reservation(runtime: u64, deadline: u64, period: u64) -> Reservation {
        Reservation {
            runtime_ns: runtime * MS,
            deadline_ns: deadline * MS,
            period_ns: period * MS,
            tells_overruns: false,
        }
    }

    fn started(reservation: &Reservation, now_ms: u64) -> Server {
        let mut server = Server::default();
        server.start(reservation, now_ms * MS);
        server
    }

    #[test]
    fn a_budget_lies_within_its_deadline_and_that_within_the_period() {
        assert!(reservation(1, 10, 10).is_valid());
        assert!(reservation(10, 10, 10).is_valid());
        for (runtime, deadline, period) in [(11, 10, 20), (1, 30, 20), (0, 10, 10), (1, 10, 5_000)]
        {
            assert!(!reservation(runtime, deadline, period).is_valid());
        }
        let short = |ns| Reservation {
            runtime_ns: 2_000,
            deadline_ns: ns,
            period_ns: ns,
            tells_overruns: false,
        };
        assert!(short(100_000).is_valid() && !short(99_999).is_valid());
    }

    #[test]
    fn bandwidth_is_budget_by_period() {
        assert_eq!(
            reservation(5, 8, 10).bandwidth(),
            Reservation::ONE_CPU * 5 / 10
        );
        assert_eq!(Reservation::NONE.bandwidth(), 0);
    }

    #[test]
    fn without_budget_it_waits_for_its_next_period() {
        let mine = reservation(3, 10, 20);
        let mut server = started(&mine, 100);
        assert!(!server.charge(2 * MS));
        server.pause(&mine, 102 * MS, false);
        assert_eq!((server.resumes_ns, server.ends_ns(0)), (0, MS));
        assert!(server.charge(2 * MS));
        server.pause(&mine, 104 * MS, false);
        assert_eq!(server.resumes_ns, 120 * MS);
        // A wake-up before then changes nothing.
        server.wake(&mine, 110 * MS);
        assert_eq!(server.resumes_ns, 120 * MS);
        server.refill(&mine, 120 * MS);
        // It pays back what it ran for too long.
        assert_eq!((server.resumes_ns, server.left_ns), (0, 2 * MS as i64));
        assert_eq!(server.until_ns, 130 * MS);
    }

    #[test]
    fn who_yields_waits_with_budget_left() {
        let mine = reservation(3, 10, 10);
        let mut server = started(&mine, 0);
        server.charge(MS);
        server.pause(&mine, MS, true);
        assert_eq!(server.resumes_ns, 10 * MS);
        server.refill(&mine, 10 * MS);
        assert_eq!((server.left_ns, server.until_ns), (3 * MS as i64, 20 * MS));
    }

    #[test]
    fn a_great_debt_takes_more_than_one_period() {
        let mine = reservation(3, 10, 10);
        let mut server = started(&mine, 0);
        server.charge(10 * MS);
        server.refill(&mine, 10 * MS);
        assert_eq!((server.left_ns, server.until_ns), (2 * MS as i64, 40 * MS));
    }

    #[test]
    fn a_sleeper_keeps_only_what_fits_its_share() {
        let mine = reservation(5, 10, 10);
        // Three of five milliseconds used by 4: two are left for six, less than the half.
        let mut server = started(&mine, 0);
        server.charge(3 * MS);
        server.wake(&mine, 4 * MS);
        assert_eq!((server.left_ns, server.until_ns), (2 * MS as i64, 10 * MS));
        // By 8 two for two would be more.
        server.wake(&mine, 8 * MS);
        assert_eq!((server.left_ns, server.until_ns), (5 * MS as i64, 18 * MS));
        // Of a deadline before the period's end the deadline stays.
        let mine = reservation(5, 10, 20);
        let mut server = started(&mine, 0);
        server.wake(&mine, 8 * MS);
        assert_eq!((server.left_ns, server.until_ns), (MS as i64, 10 * MS));
        // And behind it there is nothing until the next period.
        server.wake(&mine, 12 * MS);
        assert_eq!(server.resumes_ns, 20 * MS);
        // That has begun by 25, and half of what is left of it is the task's.
        server.wake(&mine, 25 * MS);
        assert_eq!((server.left_ns, server.until_ns), (2_500_000, 30 * MS));
    }
}
