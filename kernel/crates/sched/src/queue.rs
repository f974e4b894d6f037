//! The runnable tasks of one CPU, over all classes.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::deadline::{self, Server, TimeQueue};
use crate::fair::{self, FairKey, FairQueue, before};
use crate::params::{DEADLINE_PRIO, FIRST_ORDINARY, NOT_INHERITED, Params, Policy, Prio};
use crate::rt::{self, RtQueue};

/// In each period of so long ...
const REALTIME_PERIOD_NS: u64 = 1_000_000_000;
/// ... real-time tasks, deadline tasks among them, may run for so long before the others get the rest, if there are any:
/// one that never sleeps does not take the machine with it. Linux's defaults.
const REALTIME_RUNTIME_NS: u64 = 950_000_000;

/// A round-robin task's turn.
const RR_SLICE_NS: u64 = 100_000_000;

/// The real-time priority of one who holds what a deadline task waits for: over all deadline tasks, as long as that lasts.
const LIFTED: u8 = 100;

/// In which class a task stands now, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// By absolute deadline, in nanoseconds.
    Deadline(u64),
    /// By priority: 1..=99, and above these the one that deadline tasks wait for.
    Realtime(u8),
    /// By virtual deadline.
    Fair,
}

/// How urgent a task is that is not of the fair class: who is less than another goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// A deadline task waits for what it holds.
    Lifted,
    /// The absolute deadline.
    Deadline(u64),
    /// What is missing to the highest priority.
    Realtime(u8),
}

impl Urgency {
    fn realtime(priority: u8) -> Urgency {
        match priority {
            LIFTED => Urgency::Lifted,
            _ => Urgency::Realtime(LIFTED - priority),
        }
    }
}

/// A class, without the place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rank {
    Deadline,
    Realtime(u8),
    Fair,
}

impl Rank {
    const fn of(params: &Params, inherited: Prio) -> Rank {
        let own = params.prio();
        match if own < inherited { own } else { inherited } {
            FIRST_ORDINARY.. => Rank::Fair,
            _ if inherited < 0 => Rank::Realtime(LIFTED),
            DEADLINE_PRIO => Rank::Deadline,
            prio => Rank::Realtime((99 - prio) as u8),
        }
    }
}

/// A task's scheduling state: its parameters and its standing. The kernel keeps it with the task, under the lock of
/// the run queue the task belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Entity {
    /// What user space set.
    params: Params,
    /// The best priority among those who wait for what the task holds, on the scale of [`Params::prio`].
    inherited: Prio,
    /// What follows from these two.
    rank: Rank,
    /// The standing in the fair class.
    pub key: FairKey,
    /// The standing in the deadline class.
    server: Server,
    /// The budget was used up, and the task wants to know.
    overran: bool,
    /// What is left of a round-robin turn.
    rr_left_ns: u64,
    /// The turn is used up: the next place is behind the equals.
    turn_is_over: bool,
}

impl Entity {
    /// A task that never ran.
    pub const fn new(params: Params) -> Entity {
        Entity {
            params,
            inherited: NOT_INHERITED,
            rank: Rank::of(&params, NOT_INHERITED),
            key: FairKey {
                vruntime: 0,
                deadline: 0,
            },
            server: Server {
                left_ns: 0,
                until_ns: 0,
                resumes_ns: 0,
            },
            overran: false,
            rr_left_ns: RR_SLICE_NS,
            turn_is_over: false,
        }
    }

    /// What user space set.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The priority that counts: the task's own, or a better one that it inherits.
    pub fn prio(&self) -> Prio {
        self.params.prio().min(self.inherited)
    }

    /// The class, own or by what it inherits.
    #[inline]
    pub fn class(&self) -> Class {
        match self.rank {
            Rank::Fair => Class::Fair,
            Rank::Realtime(priority) => Class::Realtime(priority),
            Rank::Deadline => Class::Deadline(self.server.until_ns),
        }
    }

    /// How urgent it is; `None` in the fair class.
    #[inline]
    pub fn urgency(&self) -> Option<Urgency> {
        match self.class() {
            Class::Deadline(until) => Some(Urgency::Deadline(until)),
            Class::Realtime(priority) => Some(Urgency::realtime(priority)),
            Class::Fair => None,
        }
    }

    /// Gives the task other parameters at `now_ns`. A reservation starts with a whole budget, but what is used of one stays
    /// so under the next.
    pub fn set_params(&mut self, params: Params, now_ns: u64) {
        let had_reservation = self.params.policy == Policy::Deadline;
        self.params = params;
        self.rank = Rank::of(&params, self.inherited);
        self.key.open_slice(&params);
        if params.policy == Policy::Deadline && !had_reservation {
            self.server.start(&params.reservation, now_ns);
        }
    }

    /// The task inherits a priority from now on, or another one.
    pub fn inherit(&mut self, prio: Prio, now_ns: u64) {
        self.inherited = prio;
        self.rank = Rank::of(&self.params, prio);
        // Who is waited for does not wait for its next period.
        if self.inherited < 0 && self.params.policy == Policy::Deadline {
            self.server.refill(&self.params.reservation, now_ns);
        }
    }

    /// A deadline task wakes up.
    pub fn wake(&mut self, now_ns: u64) {
        if let Class::Deadline(_) = self.class() {
            self.server.wake(&self.params.reservation, now_ns);
        }
    }

    /// A deadline task that ran and would go on waits for its next period if its budget is used up, or if it yields.
    pub fn pause(&mut self, now_ns: u64, yields: bool) {
        if let Class::Deadline(_) = self.class() {
            self.server.pause(&self.params.reservation, now_ns, yields);
        }
    }

    /// A deadline task's next period has begun.
    pub fn resume(&mut self, now_ns: u64) {
        self.server.refill(&self.params.reservation, now_ns);
    }

    /// When a deadline task that waits for its next period may run again.
    pub fn resumes_ns(&self) -> Option<u64> {
        match (self.class(), self.server.resumes_ns) {
            (Class::Deadline(_), 1..) => Some(self.server.resumes_ns),
            _ => None,
        }
    }

    /// When a deadline task's budget ends if it runs from now on.
    pub fn ends_ns(&self, now_ns: u64) -> Option<u64> {
        match self.class() {
            Class::Deadline(_) => Some(self.server.ends_ns(now_ns)),
            _ => None,
        }
    }

    /// What is left of a deadline task's budget, and its absolute deadline, in nanoseconds.
    pub fn budget(&self) -> (i64, u64) {
        (self.server.left_ns, self.server.until_ns)
    }

    /// Whether a budget was used up since the last call, of a task that wants to know.
    pub fn take_overrun(&mut self) -> bool {
        core::mem::take(&mut self.overran)
    }

    /// Whether a round-robin turn has ended since the last call.
    pub fn take_turn_over(&mut self) -> bool {
        core::mem::take(&mut self.turn_is_over)
    }

    /// Charges time; says whether others should get a turn.
    pub fn charge(&mut self, ran_ns: u64) -> bool {
        match (self.rank, self.params.policy) {
            (Rank::Fair, _) => self.key.charge(ran_ns, &self.params),
            (Rank::Deadline, _) => {
                let used_up = self.server.charge(ran_ns);
                self.overran |= used_up && self.params.reservation.tells_overruns;
                used_up
            }
            (Rank::Realtime(_), Policy::RoundRobin) => {
                self.rr_left_ns = self.rr_left_ns.saturating_sub(ran_ns);
                let used_up = self.rr_left_ns == 0;
                if used_up {
                    self.rr_left_ns = RR_SLICE_NS;
                    self.turn_is_over = true;
                }
                used_up
            }
            // Who is lifted into the real-time class keeps the CPU like SCHED_FIFO, unless it takes turns by its own policy,
            // and has no budget meanwhile.
            (Rank::Realtime(_), _) => false,
        }
    }
}

/// Memory for a queue, made outside of its lock.
pub struct Room<T> {
    deadline: Vec<deadline::Item<T>>,
    paused: Vec<deadline::Item<T>>,
    rt: Vec<rt::Item<T>>,
    fair: Vec<fair::Item<T>>,
}

impl<T> Room<T> {
    /// For `total` tasks of whatever class but the deadline class, and `deadlines` of that.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(total: usize, deadlines: usize) -> Result<Room<T>, TryReserveError> {
        let mut room = Room {
            deadline: Vec::new(),
            paused: Vec::new(),
            rt: Vec::new(),
            fair: Vec::new(),
        };
        room.deadline.try_reserve_exact(deadlines)?;
        room.paused.try_reserve_exact(deadlines)?;
        room.rt.try_reserve_exact(total)?;
        room.fair.try_reserve_exact(total)?;
        Ok(room)
    }
}

/// The runnable tasks of one CPU but the one that runs, and the deadline tasks that wait there for their next period.
pub struct RunQueue<T> {
    deadline: TimeQueue<T>,
    paused: TimeQueue<T>,
    rt: RtQueue<T>,
    fair: FairQueue<T>,
    /// When the present period began, and how long real-time tasks have run in it.
    period: (u64, u64),
}

impl<T> RunQueue<T> {
    /// An empty queue; allocates nothing.
    pub const fn new() -> RunQueue<T> {
        RunQueue {
            deadline: TimeQueue::new(),
            paused: TimeQueue::new(),
            rt: RtQueue::new(),
            fair: FairQueue::new(),
            period: (0, 0),
        }
    }

    /// How many wait for the CPU.
    pub fn len(&self) -> usize {
        self.deadline.len() + self.rt.len() + self.fair.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.deadline.len() == 0 && self.rt.highest().is_none() && self.fair.len() == 0
    }

    /// How many urgent tasks wait for the CPU.
    #[inline]
    pub fn urgents(&self) -> usize {
        self.deadline.len() + self.rt.len()
    }

    /// The most urgent task that waits for the CPU.
    pub fn first_urgent(&self) -> Option<(Urgency, &T)> {
        let deadline = self.deadline.first();
        let deadline = deadline.map(|(until, task)| (Urgency::Deadline(until), task));
        let rt = self.rt.first();
        let rt = rt.map(|(priority, task)| (Urgency::realtime(priority), task));
        match (deadline, rt) {
            (Some(one), Some(other)) if other.0 < one.0 => Some(other),
            (Some(one), _) => Some(one),
            (None, other) => other,
        }
    }

    /// How urgent the most urgent of those is that `wanted` accepts.
    pub fn most_urgent(&self, wanted: impl Fn(&T) -> bool) -> Option<Urgency> {
        let deadline = self.deadline.best(&wanted).map(Urgency::Deadline);
        let rt = self.rt.best(wanted).map(Urgency::realtime);
        [deadline, rt].into_iter().flatten().min()
    }

    /// Takes that one out.
    pub fn take_most_urgent(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        match self.most_urgent(&wanted)? {
            Urgency::Deadline(_) => self.deadline.take_best(wanted),
            _ => self.rt.take_best(wanted),
        }
    }

    /// Whether a task so urgent would run here at all: real-time tasks may have used up their share.
    pub fn would_run(&self, urgency: Urgency) -> bool {
        !matches!(urgency, Urgency::Realtime(_)) || !self.realtime_is_out()
    }

    /// When the next of those that wait for their next period may run.
    pub fn next_resumption(&self) -> Option<u64> {
        self.paused.first_ns()
    }

    /// Takes over memory for more tasks. What is given back is not needed any more, to be dropped after unlock.
    #[must_use = "memory is given back outside of the lock"]
    pub fn grow(&mut self, room: Room<T>) -> Room<T> {
        Room {
            deadline: self.deadline.grow(room.deadline),
            paused: self.paused.grow(room.paused),
            rt: self.rt.grow(room.rt),
            fair: self.fair.grow(room.fair),
        }
    }

    /// Gives a newcomer (new, or from another CPU) a place at the queue's present time, and one that slept at most
    /// half a slice of credit, so that sleeping does not save up time.
    pub fn place(&self, entity: &mut Entity, slept: bool) {
        let credit = if slept { crate::BASE_SLICE_NS / 2 } else { 0 };
        let floor = self.fair.now.wrapping_sub(credit);
        let far_ahead = self.fair.now.wrapping_add(crate::BASE_SLICE_NS * 100);
        if !slept || before(entity.key.vruntime, floor) || before(far_ahead, entity.key.vruntime) {
            entity.key.vruntime = floor;
        }
        entity.key.open_slice(&entity.params);
    }

    /// Adds a task. `preempted`: it was running and has not used up its turn.
    pub fn enqueue(&mut self, entity: &Entity, value: T, preempted: bool) {
        match entity.class() {
            Class::Deadline(until) => match entity.resumes_ns() {
                Some(at) => self.paused.push(at, value),
                None => self.deadline.push(until, value),
            },
            Class::Realtime(priority) => self.rt.push(priority, value, preempted),
            Class::Fair => self.fair.push(entity.key, value),
        }
    }

    /// Takes the task that should run next.
    pub fn pick(&mut self) -> Option<T> {
        if self.deadline.len() > 0 && !self.holds_lifted() {
            return self.deadline.pop();
        }
        if self.realtime_is_out() {
            return self.fair.pop().map(|(_, value)| value);
        }
        self.rt
            .pop()
            .or_else(|| self.fair.pop().map(|(_, value)| value))
    }

    /// Takes a task whose next period has begun by `now_ns`: it is to be resumed and enqueued again.
    pub fn pick_resumed(&mut self, now_ns: u64) -> Option<T> {
        self.paused.first_ns().filter(|at| *at <= now_ns)?;
        self.paused.pop()
    }

    /// The task that runs did so for `ran_ns` until `now_ns`: what real-time tasks use of their share.
    pub fn account(&mut self, running: &Entity, ran_ns: u64, now_ns: u64) {
        if now_ns.saturating_sub(self.period.0) >= REALTIME_PERIOD_NS {
            self.period = (now_ns, 0);
        }
        if running.class() != Class::Fair {
            self.period.1 += ran_ns;
        }
    }

    /// Real-time tasks have used up their share, and others wait.
    fn realtime_is_out(&self) -> bool {
        self.period.1 >= REALTIME_RUNTIME_NS && self.fair.len() > 0 && !self.holds_lifted()
    }

    /// Whether somebody waits here for the CPU for whom a deadline task waits.
    fn holds_lifted(&self) -> bool {
        self.rt.highest() == Some(LIFTED)
    }

    /// Takes out a task that waits for the CPU.
    pub fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.fair
            .remove(&wanted)
            .map(|(_, value)| value)
            .or_else(|| self.rt.remove(&wanted))
            .or_else(|| self.deadline.remove(wanted))
    }

    /// Takes out a task that waits for the CPU or for its next period.
    pub fn take_out(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.remove(&wanted).or_else(|| self.paused.remove(wanted))
    }

    /// Whether a queued task should run instead of `running`.
    pub fn should_preempt(&self, running: &Entity) -> bool {
        match (self.deadline.first_ns(), running.class()) {
            (_, Class::Realtime(LIFTED)) => return false,
            (_, Class::Deadline(_)) if self.holds_lifted() => return true,
            (first, Class::Deadline(mine)) => return first.is_some_and(|first| first < mine),
            (Some(_), _) => return true,
            (None, _) => {}
        }
        match (self.rt.highest(), running.class()) {
            (_, Class::Realtime(_)) if self.realtime_is_out() => true,
            (Some(highest), Class::Realtime(mine)) => highest > mine,
            // What runs has it because the real-time tasks have had their share; only the next period is theirs again.
            (Some(_), _) => self.period.1 < REALTIME_RUNTIME_NS || self.holds_lifted(),
            (None, Class::Realtime(_)) => false,
            (None, _) => self.fair.peek().is_some_and(|key| {
                running.params.policy == Policy::Idle || before(key.deadline, running.key.deadline)
            }),
        }
    }

    /// The queue's virtual time moves on with what runs.
    pub fn advance(&mut self, running: &Entity) {
        let floor = match self.fair.peek() {
            Some(key) if before(key.vruntime, running.key.vruntime) => key.vruntime,
            _ => running.key.vruntime,
        };
        if before(self.fair.now, floor) {
            self.fair.now = floor;
        }
    }
}

#[cfg(test)]
impl<T> RunQueue<T> {
    fn rt_room(&self) -> *const u8 {
        self.rt.memory()
    }
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        RunQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Reservation;

    fn entity(policy: Policy, nice: i8, priority: u8) -> Entity {
        Entity::new(Params {
            policy,
            nice,
            priority,
            ..Params::DEFAULT
        })
    }

    fn deadline_entity(runtime_ms: u64, period_ms: u64, now: u64) -> Entity {
        let mut entity = entity(Policy::Normal, 0, 0);
        let reservation = Reservation {
            runtime_ns: runtime_ms * 1_000_000,
            deadline_ns: period_ms * 1_000_000,
            period_ns: period_ms * 1_000_000,
            tells_overruns: true,
        };
        let params = Params {
            policy: Policy::Deadline,
            reservation,
            ..entity.params
        };
        entity.set_params(params, now);
        entity
    }

    #[test]
    fn deadlines_come_first_and_keep_to_their_budgets() {
        const MS: u64 = 1_000_000;
        let mut queue = RunQueue::new();
        let mut tasks = [
            deadline_entity(2, 10, 0),
            deadline_entity(10, 40, 0),
            entity(Policy::Fifo, 0, 99),
            entity(Policy::Normal, 0, 0),
        ];
        let mut got = [0; 4];
        for (index, task) in tasks.iter_mut().enumerate() {
            queue.place(task, false);
            queue.enqueue(task, index, false);
        }
        let mut running = queue.pick().expect("a task");
        assert_eq!(running, 0);
        for now in (1..=400).map(|ms| ms * MS) {
            got[running] += 1;
            let over = tasks[running].charge(MS);
            queue.account(&tasks[running], MS, now);
            while let Some(index) = queue.pick_resumed(now) {
                tasks[index].resume(now);
                queue.enqueue(&tasks[index], index, false);
            }
            if over || queue.should_preempt(&tasks[running]) {
                tasks[running].pause(now, false);
                queue.enqueue(&tasks[running], running, true);
                running = queue.pick().expect("a task");
            }
        }
        assert!((79..=81).contains(&got[0]), "{got:?}");
        assert!((99..=101).contains(&got[1]), "{got:?}");
        assert_eq!(got[3], 0);
        assert!(tasks[0].take_overrun() && !tasks[0].take_overrun());
    }

    #[test]
    fn the_most_urgent_is_found_among_those_wanted() {
        let mut queue = RunQueue::new();
        queue.enqueue(&entity(Policy::Normal, -20, 0), 0, false);
        assert!(queue.first_urgent().is_none() && queue.urgents() == 0);
        queue.enqueue(&entity(Policy::Fifo, 0, 50), 1, false);
        queue.enqueue(&entity(Policy::RoundRobin, 0, 60), 2, false);
        queue.enqueue(&deadline_entity(1, 20, 0), 3, false);
        queue.enqueue(&deadline_entity(1, 10, 0), 4, false);
        let first = |queue: &RunQueue<i32>| queue.first_urgent().map(|(_, value)| *value);
        assert_eq!((queue.urgents(), first(&queue)), (4, Some(4)));
        assert_eq!(
            queue.most_urgent(|value| *value != 4),
            Some(Urgency::Deadline(20_000_000))
        );
        assert_eq!(queue.take_most_urgent(|value| *value < 3), Some(2));
        assert_eq!(queue.take_most_urgent(|value| *value == 0), None);
        let order: Vec<_> = core::iter::from_fn(|| queue.take_most_urgent(|_| true)).collect();
        assert_eq!(order, [4, 3, 1]);
        assert!(Urgency::Lifted < Urgency::Deadline(0));
        assert!(entity(Policy::Fifo, 0, 99).urgency() < entity(Policy::Fifo, 0, 98).urgency());
    }

    #[test]
    fn who_holds_what_a_deadline_task_waits_for_goes_before_all() {
        let mut queue = RunQueue::new();
        let mut holder = entity(Policy::Normal, 0, 0);
        queue.enqueue(&deadline_entity(1, 10, 0), "deadline", false);
        holder.inherit(DEADLINE_PRIO, 0);
        queue.enqueue(&holder, "holder", false);
        assert!(queue.should_preempt(&deadline_entity(1, 5, 0)));
        assert!(!queue.should_preempt(&holder));
        assert_eq!(queue.pick(), Some("holder"));
        holder.inherit(NOT_INHERITED, 0);
        assert!(queue.should_preempt(&holder));
        // One that waits for its next period does so no more.
        let mut paused = deadline_entity(1, 10, 0);
        paused.charge(1_000_000);
        paused.pause(1_000_000, false);
        assert_eq!(paused.resumes_ns(), Some(10_000_000));
        paused.inherit(DEADLINE_PRIO, 2_000_000);
        assert_eq!(
            (paused.resumes_ns(), paused.charge(50_000_000)),
            (None, false)
        );
    }

    /// Runs the queue for `total` turns of one millisecond; says how many each task got.
    fn simulate(entities: &mut [Entity], turns: usize) -> Vec<usize> {
        let mut queue = RunQueue::new();
        let mut got = vec![0; entities.len()];
        for (index, entity) in entities.iter_mut().enumerate() {
            queue.place(entity, false);
            queue.enqueue(entity, index, false);
        }
        let mut running = queue.pick().expect("a task");
        for _ in 0..turns {
            got[running] += 1;
            let over = entities[running].charge(1_000_000);
            queue.advance(&entities[running]);
            if over || queue.should_preempt(&entities[running]) {
                let ended = entities[running].take_turn_over();
                queue.enqueue(&entities[running], running, !ended);
                running = queue.pick().expect("a task");
            }
        }
        got
    }

    #[test]
    fn equals_share_equally() {
        let got = simulate(&mut [entity(Policy::Normal, 0, 0); 4], 4_000);
        assert!(got.iter().all(|&n| (950..=1_050).contains(&n)), "{got:?}");
    }

    #[test]
    fn five_nice_steps_are_a_factor_of_three() {
        let got = simulate(
            &mut [entity(Policy::Normal, 0, 0), entity(Policy::Normal, 5, 0)],
            10_000,
        );
        let ratio = got[0] as f64 / got[1] as f64;
        assert!((2.8..3.3).contains(&ratio), "{got:?}");
    }

    #[test]
    fn realtime_runs_first_and_fifo_keeps_the_cpu() {
        let got = simulate(
            &mut [
                entity(Policy::Normal, -20, 0),
                entity(Policy::Fifo, 0, 10),
                entity(Policy::Fifo, 0, 10),
                entity(Policy::Fifo, 0, 9),
            ],
            100,
        );
        assert_eq!(got, [0, 100, 0, 0]);
    }

    #[test]
    fn realtime_leaves_the_others_a_share() {
        const MS: u64 = 1_000_000;
        let mut queue = RunQueue::new();
        let mut tasks = [entity(Policy::Fifo, 0, 50), entity(Policy::Normal, 0, 0)];
        let mut got = [0, 0];
        queue.place(&mut tasks[1], false);
        queue.enqueue(&tasks[1], 1, false);
        let mut running = 0;
        for now in 1..=10_000 {
            got[running] += 1;
            let over = tasks[running].charge(MS);
            queue.account(&tasks[running], MS, now * MS);
            if over || queue.should_preempt(&tasks[running]) {
                queue.enqueue(&tasks[running], running, true);
                running = queue.pick().expect("a task");
            }
        }
        assert!((400..=600).contains(&got[1]), "{got:?}");
        // Alone it has all of the time.
        let mut queue: RunQueue<usize> = RunQueue::new();
        for now in 1..=3_000 {
            queue.account(&tasks[0], MS, now * MS);
            assert!(!queue.should_preempt(&tasks[0]));
        }
    }

    #[test]
    fn who_inherits_a_priority_runs_by_it() {
        let mut queue = RunQueue::new();
        let mut holder = entity(Policy::Idle, 19, 0);
        let rival = entity(Policy::Fifo, 0, 10);
        holder.inherit(99 - 20, 0);
        assert_eq!((holder.prio(), holder.class()), (79, Class::Realtime(20)));
        queue.enqueue(&rival, "rival", false);
        queue.enqueue(&holder, "holder", false);
        assert!(!queue.should_preempt(&holder) && queue.should_preempt(&rival));
        assert_eq!(queue.pick(), Some("holder"));
        assert!(!holder.charge(1_000_000_000));
        // An ordinary priority lifts nobody into the real-time class.
        holder.inherit(110, 0);
        assert_eq!((holder.prio(), holder.class()), (110, Class::Fair));
    }

    #[test]
    fn round_robin_takes_turns() {
        let got = simulate(
            &mut [
                entity(Policy::RoundRobin, 0, 5),
                entity(Policy::RoundRobin, 0, 5),
            ],
            1_000,
        );
        assert_eq!(got, [500, 500]);
    }

    #[test]
    fn a_sleeper_does_not_save_up_time() {
        let mut queue: RunQueue<u32> = RunQueue::new();
        let mut runner = entity(Policy::Normal, 0, 0);
        queue.place(&mut runner, false);
        for _ in 0..1_000 {
            runner.charge(1_000_000);
            queue.advance(&runner);
        }
        let mut sleeper = entity(Policy::Normal, 0, 0);
        queue.place(&mut sleeper, true);
        let lead = runner.key.vruntime - sleeper.key.vruntime;
        assert!(lead <= crate::BASE_SLICE_NS, "{lead}");
    }

    #[test]
    fn a_queue_with_room_does_not_allocate() {
        let mut queue = RunQueue::new();
        queue.enqueue(&entity(Policy::Fifo, 0, 5), 0, false);
        drop(queue.grow(Room::new(64, 0).expect("memory")));
        let place = |queue: &RunQueue<u32>| format!("{:p}", queue.rt_room());
        let before = place(&queue);
        for n in 1..64 {
            queue.enqueue(&entity(Policy::Fifo, 0, 5), n, false);
        }
        assert_eq!(place(&queue), before);
        let order: Vec<_> = core::iter::from_fn(|| queue.pick()).collect();
        assert!(order.iter().copied().eq(0..64), "{order:?}");
    }

    #[test]
    fn a_preempted_realtime_task_goes_before_its_equals() {
        let mut queue = RunQueue::new();
        let fifo = |priority| entity(Policy::Fifo, 0, priority);
        queue.enqueue(&fifo(5), "a", false);
        queue.enqueue(&fifo(5), "b", false);
        queue.enqueue(&fifo(5), "preempted", true);
        queue.enqueue(&fifo(7), "higher", false);
        queue.enqueue(&fifo(5), "c", false);
        let order: Vec<_> = core::iter::from_fn(|| queue.pick()).collect();
        assert_eq!(order, ["higher", "preempted", "a", "b", "c"]);
    }

    #[test]
    fn a_queued_task_can_be_taken_out() {
        let mut queue = RunQueue::new();
        for n in 0..10 {
            let mut e = entity(Policy::Normal, 0, 0);
            e.key.deadline = 100 - n;
            queue.enqueue(&e, n, false);
        }
        assert_eq!(queue.remove(|&n| n == 5), Some(5));
        assert_eq!(queue.remove(|&n| n == 5), None);
        let order: Vec<_> = core::iter::from_fn(|| queue.pick()).collect();
        assert_eq!(order, [9, 8, 7, 6, 4, 3, 2, 1, 0]);
    }
}
