//! The runnable tasks of one CPU, over all classes.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::fair::{self, FairKey, FairQueue, before};
use crate::params::{NOT_INHERITED, Params, Policy, realtime_of};
use crate::rt::{self, RtQueue};

/// In each period of so long ...
const REALTIME_PERIOD_NS: u64 = 1_000_000_000;
/// ... real-time tasks may run for so long before the others get the rest, if there are any: one that never sleeps does
/// not take the machine with it. Linux's defaults.
const REALTIME_RUNTIME_NS: u64 = 950_000_000;

/// A round-robin task's turn.
const RR_SLICE_NS: u64 = 100_000_000;

/// A task's scheduling state: its parameters and its standing. The kernel keeps it with the task, under the lock of
/// the run queue the task belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Entity {
    /// What user space set.
    pub params: Params,
    /// The best priority among those who wait for what the task holds, on the scale of [`Params::prio`].
    pub inherited: u8,
    /// The standing in the fair class.
    pub key: FairKey,
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
            key: FairKey {
                vruntime: 0,
                deadline: 0,
            },
            rr_left_ns: RR_SLICE_NS,
            turn_is_over: false,
        }
    }

    /// The priority that counts: the task's own, or a better one that it inherits.
    pub fn prio(&self) -> u8 {
        self.params.prio().min(self.inherited)
    }

    /// The real-time priority, own or inherited; `None` for one of the fair class.
    #[inline]
    pub fn realtime(&self) -> Option<u8> {
        if self.inherited == NOT_INHERITED {
            let own = self.params.policy.is_realtime();
            return own.then_some(self.params.priority);
        }
        realtime_of(self.prio())
    }

    /// Whether a round-robin turn has ended since the last call.
    pub fn take_turn_over(&mut self) -> bool {
        core::mem::take(&mut self.turn_is_over)
    }

    /// Charges time; says whether others should get a turn.
    pub fn charge(&mut self, ran_ns: u64) -> bool {
        match self.params.policy {
            Policy::Fifo => false,
            // Who is lifted into the real-time class keeps the CPU like SCHED_FIFO, unless it takes turns by its own policy.
            Policy::Normal | Policy::Batch | Policy::Idle if self.realtime().is_some() => false,
            Policy::RoundRobin => {
                self.rr_left_ns = self.rr_left_ns.saturating_sub(ran_ns);
                let used_up = self.rr_left_ns == 0;
                if used_up {
                    self.rr_left_ns = RR_SLICE_NS;
                    self.turn_is_over = true;
                }
                used_up
            }
            _ => self.key.charge(ran_ns, &self.params),
        }
    }
}

/// Memory for a queue, made outside of its lock.
pub struct Room<T> {
    rt: Vec<rt::Item<T>>,
    fair: Vec<fair::Item<T>>,
}

impl<T> Room<T> {
    /// For `total` tasks of whatever class.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(total: usize) -> Result<Room<T>, TryReserveError> {
        let mut room = Room {
            rt: Vec::new(),
            fair: Vec::new(),
        };
        room.rt.try_reserve_exact(total)?;
        room.fair.try_reserve_exact(total)?;
        Ok(room)
    }
}

/// The runnable tasks of one CPU but the one that runs.
pub struct RunQueue<T> {
    rt: RtQueue<T>,
    fair: FairQueue<T>,
    /// When the present period began, and how long real-time tasks have run in it.
    period: (u64, u64),
}

impl<T> RunQueue<T> {
    /// An empty queue; allocates nothing.
    pub const fn new() -> RunQueue<T> {
        RunQueue {
            rt: RtQueue::new(),
            fair: FairQueue::new(),
            period: (0, 0),
        }
    }

    /// How many wait for the CPU.
    pub fn len(&self) -> usize {
        self.rt.len() + self.fair.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.rt.highest().is_none() && self.fair.len() == 0
    }

    /// Takes over memory for more tasks. What is given back is not needed any more, to be dropped after unlock.
    #[must_use = "memory is given back outside of the lock"]
    pub fn grow(&mut self, room: Room<T>) -> Room<T> {
        Room {
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

    /// Adds a runnable task. `preempted`: it was running and has not used up its turn.
    pub fn enqueue(&mut self, entity: &Entity, value: T, preempted: bool) {
        match entity.realtime() {
            Some(priority) => self.rt.push(priority, value, preempted),
            None => self.fair.push(entity.key, value),
        }
    }

    /// Takes the task that should run next.
    pub fn pick(&mut self) -> Option<T> {
        if self.realtime_is_out() {
            return self.fair.pop().map(|(_, value)| value);
        }
        self.rt
            .pop()
            .or_else(|| self.fair.pop().map(|(_, value)| value))
    }

    /// The task that runs did so for `ran_ns` until `now_ns`: what real-time tasks use of their share.
    pub fn account(&mut self, running: &Entity, ran_ns: u64, now_ns: u64) {
        if now_ns.saturating_sub(self.period.0) >= REALTIME_PERIOD_NS {
            self.period = (now_ns, 0);
        }
        if running.realtime().is_some() {
            self.period.1 += ran_ns;
        }
    }

    /// Real-time tasks have used up their share, and others wait.
    fn realtime_is_out(&self) -> bool {
        self.period.1 >= REALTIME_RUNTIME_NS && self.fair.len() > 0
    }

    /// Takes out a queued task.
    pub fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.fair
            .remove(&wanted)
            .map(|(_, value)| value)
            .or_else(|| self.rt.remove(wanted))
    }

    /// Whether a queued task should run instead of `running`.
    pub fn should_preempt(&self, running: &Entity) -> bool {
        match (self.rt.highest(), running.realtime()) {
            (_, Some(_)) if self.realtime_is_out() => true,
            (Some(highest), Some(mine)) => highest > mine,
            // What runs has it because the real-time tasks have had their share; only the next period is theirs again.
            (Some(_), None) => self.period.1 < REALTIME_RUNTIME_NS,
            (None, Some(_)) => false,
            (None, None) => self.fair.peek().is_some_and(|key| {
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

    fn entity(policy: Policy, nice: i8, priority: u8) -> Entity {
        Entity::new(Params {
            policy,
            nice,
            priority,
            reset_on_fork: false,
        })
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
        holder.inherited = 99 - 20;
        assert_eq!((holder.prio(), holder.realtime()), (79, Some(20)));
        queue.enqueue(&rival, "rival", false);
        queue.enqueue(&holder, "holder", false);
        assert!(!queue.should_preempt(&holder) && queue.should_preempt(&rival));
        assert_eq!(queue.pick(), Some("holder"));
        assert!(!holder.charge(1_000_000_000));
        // An ordinary priority lifts nobody into the real-time class.
        holder.inherited = 110;
        assert_eq!((holder.prio(), holder.realtime()), (110, None));
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
        drop(queue.grow(Room::new(64).expect("memory")));
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
