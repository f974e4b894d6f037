//! Who holds and who waits for priority-inheriting futexes.
//!
//! Only futexes with waiters are here: of one that is merely held the user's word tells all. A task inherits the best
//! priority among those who wait first for what it holds, and passes it on to whom it waits for itself: chains are
//! followed up to [`MAX_DEPTH`] tasks, and one that leads back to its start is refused.
//!
//! Priorities are Linux's, the lower the sooner: -1 for deadline tasks, 0..=99 for real-time ones, 100..=139 for the
//! others. Among waiters all that are not real-time count alike.

use alloc::collections::BTreeMap;

use smallvec::SmallVec;

/// A priority.
pub type Prio = i16;

/// How many tasks a chain of waiting may have.
pub const MAX_DEPTH: usize = 1024;
/// No priority inherited: worse than any.
pub const NOTHING: Prio = 140;
/// The first that is not a real-time priority.
const FIRST_ORDINARY: Prio = 100;

/// A task as the graph knows it.
pub trait Member: Clone {
    /// Different for different tasks.
    fn id(&self) -> usize;
}

/// The wait would close a circle, or make a chain longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlock;

/// What tasks inherit from now on: to be applied in order.
pub type Changes<T> = SmallVec<[(T, Prio); 4]>;

/// A waiter's place: rank, then order of arrival.
type Place = (Prio, u64);

#[derive(Debug)]
struct Lock<T> {
    owner: T,
    waiters: BTreeMap<Place, T>,
    /// The owner got it by another's death and has yet to write its number into the word.
    unsettled: bool,
}

#[derive(Debug)]
struct Node<K, T> {
    task: T,
    own: Prio,
    inherited: Prio,
    waits: Option<(K, Place)>,
    owns: SmallVec<[K; 2]>,
}

impl<K, T> Node<K, T> {
    fn effective(&self) -> Prio {
        self.own.min(self.inherited)
    }
}

/// All contended priority-inheriting futexes.
///
/// # Invariants
/// - A node exists exactly for tasks that wait or own a lock that is here.
/// - A lock has waiters or is unsettled; its owner's node names it.
/// - `inherited` is the best effective priority among the first waiters of the locks a node owns.
#[derive(Debug)]
pub struct Graph<K, T> {
    locks: BTreeMap<K, Lock<T>>,
    nodes: BTreeMap<usize, Node<K, T>>,
    arrivals: u64,
}

impl<K, T> Graph<K, T> {
    pub const fn new() -> Self {
        Self {
            locks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            arrivals: 0,
        }
    }

    /// How many futexes are here.
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }
}

impl<K, T> Default for Graph<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

fn rank_of(priority: Prio) -> Prio {
    priority.min(FIRST_ORDINARY)
}

impl<K: Ord + Copy, T: Member> Graph<K, T> {
    /// Who holds the futex, if it is contended, and whether the word says so already.
    pub fn owner(&self, key: K) -> Option<(&T, bool)> {
        self.locks
            .get(&key)
            .map(|lock| (&lock.owner, !lock.unsettled))
    }

    /// Who would get the futex next.
    pub fn first(&self, key: K) -> Option<&T> {
        self.locks.get(&key)?.waiters.values().next()
    }

    /// Whether the task waits here.
    pub fn waits(&self, task: &T) -> bool {
        self.nodes
            .get(&task.id())
            .is_some_and(|node| node.waits.is_some())
    }

    fn holder<'a>(&'a self, key: K, owner: &'a T) -> &'a T {
        self.locks.get(&key).map_or(owner, |lock| &lock.owner)
    }

    /// Whether [`Graph::wait`] would refuse.
    pub fn would_deadlock(&self, key: K, owner: &T, task: &T) -> bool {
        self.check_chain(self.holder(key, owner), task).is_err()
    }

    /// Lets `task`, of priority `own`, wait for the futex; `owner`, of priority `owner_own`, holds it unless somebody is
    /// known here to.
    ///
    /// # Errors
    /// When `owner` waits, over any number of others, for `task`; nothing has changed.
    pub fn wait(
        &mut self,
        key: K,
        owner: (&T, Prio),
        (task, own): (&T, Prio),
        changes: &mut Changes<T>,
    ) -> Result<(), Deadlock> {
        let holder = self.holder(key, owner.0).clone();
        self.check_chain(&holder, task)?;
        let place = self.arrive(rank_of(self.effective_of(task, own)));
        let lock = self.locks.entry(key).or_insert_with(|| Lock {
            owner: holder.clone(),
            waiters: BTreeMap::new(),
            unsettled: false,
        });
        lock.waiters.insert(place, task.clone());
        self.node(task, own).waits = Some((key, place));
        let holders = self.node(&holder, owner.1);
        if !holders.owns.contains(&key) {
            holders.owns.push(key);
        }
        self.propagate(holder.id(), changes);
        Ok(())
    }

    /// The task gives up waiting; false when it does not wait (any more).
    pub fn cancel(&mut self, task: &T, changes: &mut Changes<T>) -> bool {
        let Some(node) = self.nodes.get_mut(&task.id()) else {
            return false;
        };
        let Some((key, place)) = node.waits.take() else {
            return false;
        };
        self.tidy(task.id());
        let Some(lock) = self.locks.get_mut(&key) else {
            return true;
        };
        lock.waiters.remove(&place);
        let owner = lock.owner.id();
        self.tidy_lock(key);
        self.propagate(owner, changes);
        self.tidy(owner);
        true
    }

    /// The futex goes from its owner to the first waiter, which is answered. With `unsettled` the word does not say so yet,
    /// and [`Graph::settle`] must follow.
    pub fn hand_over(&mut self, key: K, unsettled: bool, changes: &mut Changes<T>) -> Option<T> {
        let lock = self.locks.get_mut(&key)?;
        let (_, heir) = lock.waiters.pop_first()?;
        let old = core::mem::replace(&mut lock.owner, heir.clone());
        lock.unsettled = unsettled;
        if let Some(node) = self.nodes.get_mut(&old.id()) {
            node.owns.retain(|owned| *owned != key);
        }
        if let Some(node) = self.nodes.get_mut(&heir.id()) {
            node.waits = None;
            node.owns.push(key);
        }
        self.tidy_lock(key);
        for id in [old.id(), heir.id()] {
            self.propagate(id, changes);
            self.tidy(id);
        }
        Some(heir)
    }

    /// The word now names the owner that a death made.
    pub fn settle(&mut self, key: K) {
        let Some(lock) = self.locks.get_mut(&key) else {
            return;
        };
        lock.unsettled = false;
        let owner = lock.owner.id();
        self.tidy_lock(key);
        self.tidy(owner);
    }

    /// A futex that the task holds and others wait for.
    pub fn owned_by(&self, task: &T) -> Option<K> {
        self.nodes.get(&task.id())?.owns.first().copied()
    }

    /// The task's own priority changed.
    pub fn set_own(&mut self, task: &T, own: Prio, changes: &mut Changes<T>) {
        let Some(node) = self.nodes.get_mut(&task.id()) else {
            return;
        };
        let before = node.effective();
        node.own = own;
        if node.effective() != before
            && let Some(owner) = self.move_in_line(task.id())
        {
            self.propagate(owner, changes);
        }
    }

    fn arrive(&mut self, rank: Prio) -> Place {
        self.arrivals = self.arrivals.wrapping_add(1);
        (rank, self.arrivals)
    }

    fn effective_of(&self, task: &T, own: Prio) -> Prio {
        self.nodes
            .get(&task.id())
            .map_or(own, |node| own.min(node.inherited))
    }

    fn node(&mut self, task: &T, own: Prio) -> &mut Node<K, T> {
        let node = self.nodes.entry(task.id()).or_insert_with(|| Node {
            task: task.clone(),
            own,
            inherited: NOTHING,
            waits: None,
            owns: SmallVec::new(),
        });
        node.own = own;
        node
    }

    /// Follows who waits for whom from `from`; it must not lead to `task`.
    fn check_chain(&self, from: &T, task: &T) -> Result<(), Deadlock> {
        let mut id = from.id();
        for _ in 0..MAX_DEPTH {
            if id == task.id() {
                return Err(Deadlock);
            }
            let waits = self.nodes.get(&id).and_then(|node| node.waits);
            let Some(lock) = waits.and_then(|(key, _)| self.locks.get(&key)) else {
                return Ok(());
            };
            id = lock.owner.id();
        }
        Err(Deadlock)
    }

    /// Works out anew what the task inherits, and those that it waits for in turn, until nothing changes.
    fn propagate(&mut self, start: usize, changes: &mut Changes<T>) {
        let mut next = Some(start);
        // The bound is that of the chain, which `wait` keeps.
        for _ in 0..=MAX_DEPTH {
            let Some(id) = next else { return };
            let inherited = self.best_waiter(id);
            let Some(node) = self.nodes.get_mut(&id) else {
                return;
            };
            if node.inherited == inherited {
                return;
            }
            let before = node.effective();
            node.inherited = inherited;
            changes.push((node.task.clone(), inherited));
            if node.effective() == before {
                return;
            }
            next = self.move_in_line(id);
        }
    }

    /// The best priority among the first waiters of all that the task owns.
    fn best_waiter(&self, id: usize) -> Prio {
        let Some(node) = self.nodes.get(&id) else {
            return NOTHING;
        };
        node.owns
            .iter()
            .filter_map(|key| self.first(*key))
            .filter_map(|first| self.nodes.get(&first.id()))
            .map(Node::effective)
            .min()
            .unwrap_or(NOTHING)
    }

    /// A waiter's priority changed: it takes its new place. Answers the owner of what it waits for.
    fn move_in_line(&mut self, id: usize) -> Option<usize> {
        let node = self.nodes.get(&id)?;
        let (key, place) = node.waits?;
        let rank = rank_of(node.effective());
        if rank != place.0 {
            let new = self.arrive(rank);
            let lock = self.locks.get_mut(&key)?;
            let task = lock.waiters.remove(&place)?;
            lock.waiters.insert(new, task);
            self.nodes.get_mut(&id)?.waits = Some((key, new));
        }
        self.locks.get(&key).map(|lock| lock.owner.id())
    }

    /// Forgets a lock that nobody waits for.
    fn tidy_lock(&mut self, key: K) {
        let Some(lock) = self.locks.get(&key) else {
            return;
        };
        if !lock.waiters.is_empty() || lock.unsettled {
            return;
        }
        let owner = lock.owner.id();
        self.locks.remove(&key);
        if let Some(node) = self.nodes.get_mut(&owner) {
            node.owns.retain(|owned| *owned != key);
        }
    }

    /// Forgets a task that neither waits nor owns. What it inherited must be gone by then.
    fn tidy(&mut self, id: usize) {
        let idle = self
            .nodes
            .get(&id)
            .is_some_and(|node| node.waits.is_none() && node.owns.is_empty());
        if idle {
            self.nodes.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Member for usize {
        fn id(&self) -> usize {
            *self
        }
    }

    type G = Graph<char, usize>;

    /// Tasks 0..10 with what they inherit, as a kernel keeps it.
    struct World {
        graph: G,
        own: [Prio; 10],
        inherited: [Prio; 10],
    }

    impl World {
        fn new() -> World {
            World {
                graph: G::new(),
                own: [120; 10],
                inherited: [NOTHING; 10],
            }
        }

        fn with(&mut self, act: impl FnOnce(&mut G, &mut Changes<usize>)) {
            let mut changes = Changes::new();
            act(&mut self.graph, &mut changes);
            for (task, inherited) in changes {
                self.inherited[task] = inherited;
            }
        }

        fn wait(&mut self, key: char, owner: usize, task: usize) -> Result<(), Deadlock> {
            let (own, owner_own) = (self.own[task], self.own[owner]);
            let mut result = Ok(());
            self.with(|graph, changes| {
                result = graph.wait(key, (&owner, owner_own), (&task, own), changes);
            });
            result
        }

        fn hand_over(&mut self, key: char) -> Option<usize> {
            let mut heir = None;
            self.with(|graph, changes| heir = graph.hand_over(key, false, changes));
            heir
        }

        fn cancel(&mut self, task: usize) -> bool {
            let mut was = false;
            self.with(|graph, changes| was = graph.cancel(&task, changes));
            was
        }

        fn clean(&self) {
            assert!(self.graph.is_empty() && self.graph.nodes.is_empty());
            assert_eq!(self.inherited, [NOTHING; 10]);
        }
    }

    #[test]
    fn the_owner_inherits_the_best_waiter_and_gives_it_back() {
        let mut w = World::new();
        w.own[1] = 89;
        w.own[2] = 49;
        w.wait('a', 0, 1).unwrap();
        assert_eq!(w.inherited[0], 89);
        w.wait('a', 0, 2).unwrap();
        assert_eq!(w.inherited[0], 49);
        assert_eq!(w.hand_over('a'), Some(2));
        assert_eq!((w.inherited[0], w.inherited[2]), (NOTHING, 89));
        assert_eq!(w.hand_over('a'), Some(1));
        assert_eq!(w.hand_over('a'), None);
        w.clean();
    }

    #[test]
    fn inheritance_follows_a_chain_and_ends_with_it() {
        let mut w = World::new();
        w.own[3] = 9;
        w.wait('a', 0, 1).unwrap();
        w.wait('b', 1, 2).unwrap();
        assert_eq!(w.inherited[0], 120);
        w.wait('c', 2, 3).unwrap();
        assert_eq!(w.inherited[..3], [9, 9, 9]);
        assert!(w.cancel(3));
        assert_eq!(w.inherited[..3], [120, 120, NOTHING]);
        assert!(w.cancel(2) && w.cancel(1) && !w.cancel(1));
        w.clean();
    }

    #[test]
    fn a_circle_is_refused_and_changes_nothing() {
        let mut w = World::new();
        w.wait('a', 0, 1).unwrap();
        w.wait('b', 1, 2).unwrap();
        assert_eq!(w.wait('c', 2, 0), Err(Deadlock));
        assert_eq!(w.wait('d', 0, 0), Err(Deadlock));
        assert_eq!(w.graph.len(), 2);
    }

    #[test]
    fn a_chain_has_a_bound() {
        let mut graph: Graph<usize, usize> = Graph::new();
        let mut changes = Changes::new();
        for task in 0..MAX_DEPTH - 1 {
            graph
                .wait(task, (&task, 120), (&(task + 1), 120), &mut changes)
                .unwrap();
        }
        let last = MAX_DEPTH - 1;
        let one_more = graph.wait(last, (&last, 120), (&5000, 120), &mut changes);
        assert_eq!(one_more, Ok(()));
        let too_much = graph.wait(5000, (&5000, 120), (&6000, 120), &mut changes);
        assert_eq!(too_much, Err(Deadlock));
    }

    #[test]
    fn ordinary_waiters_are_served_as_they_come() {
        let mut w = World::new();
        w.own[2] = 100;
        w.wait('a', 0, 1).unwrap();
        w.wait('a', 0, 2).unwrap();
        w.own[3] = 98;
        w.wait('a', 0, 3).unwrap();
        assert_eq!(w.hand_over('a'), Some(3));
        assert_eq!(w.hand_over('a'), Some(1));
        assert_eq!(w.inherited[1], 100);
        assert_eq!(w.hand_over('a'), Some(2));
        w.clean();
    }

    #[test]
    fn a_change_of_priority_moves_the_waiter_and_reaches_the_owner() {
        let mut w = World::new();
        w.wait('a', 0, 1).unwrap();
        w.wait('a', 0, 2).unwrap();
        w.own[2] = 30;
        w.with(|graph, changes| graph.set_own(&2, 30, changes));
        assert_eq!(w.inherited[0], 30);
        assert_eq!(w.graph.first('a'), Some(&2));
        w.own[2] = 120;
        w.with(|graph, changes| graph.set_own(&2, 120, changes));
        assert_eq!(w.inherited[0], 120);
        assert_eq!(w.graph.first('a'), Some(&1));
    }

    #[test]
    fn a_lock_left_by_the_dead_stays_until_it_is_settled() {
        let mut w = World::new();
        w.wait('a', 0, 1).unwrap();
        assert_eq!(w.graph.owned_by(&0), Some('a'));
        w.with(|graph, changes| {
            graph.hand_over('a', true, changes);
        });
        assert_eq!(w.graph.owned_by(&0), None);
        assert_eq!(w.graph.owner('a'), Some((&1, false)));
        w.graph.settle('a');
        assert_eq!(w.graph.owner('a'), None);
        w.clean();
    }

    /// Random acts on few locks and tasks: what is inherited is always what a plain recomputation says.
    #[test]
    fn inheritance_is_what_a_recomputation_says() {
        let mut state = 1u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut w = World::new();
        for _ in 0..20_000 {
            let (task, owner) = (random(10), random(10));
            let key = char::from(b'a' + random(5) as u8);
            match random(4) {
                0 => drop(w.hand_over(key)),
                1 => drop(w.cancel(task)),
                2 => {
                    let own = 80 + random(40) as Prio;
                    w.own[task] = own;
                    w.with(|graph, changes| graph.set_own(&task, own, changes));
                }
                _ if w.graph.waits(&task) => {}
                _ => {
                    let owner = w.graph.owner(key).map_or(owner, |(owner, _)| *owner);
                    let _ = w.wait(key, owner, task);
                }
            }
            check(&w);
        }
    }

    fn check(w: &World) {
        // Effective priorities by repeated relaxation over all locks.
        let mut effective = w.own;
        for _ in 0..10 {
            for lock in w.graph.locks.values() {
                let best = lock.waiters.values().map(|task| effective[*task]).min();
                let owner = &mut effective[lock.owner];
                *owner = (*owner).min(best.unwrap_or(NOTHING));
            }
        }
        for (task, wanted) in effective.into_iter().enumerate() {
            let ours = w.own[task].min(w.inherited[task]);
            // Ordinary waiters stand in the order of their coming: the first need not be the best of them.
            if wanted < FIRST_ORDINARY || ours < FIRST_ORDINARY {
                assert_eq!(ours, wanted, "task {task}: {:?}", w.graph);
            }
        }
    }
}
