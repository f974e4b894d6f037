//! The protocol of futex waiters and wakers, with the real [`Bucket`], under every order of steps that the memory model
//! allows (loom). A sleeper that nobody wakes is a deadlock, which loom reports.
//!
//! Loom takes sequentially consistent accesses for acquire and release ones, so the models have the full barriers, which
//! the kernel gets from such accesses, written out.

use futex::{Bucket, ORDINARY, Waiter, Woken};
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A task: what the scheduler and the futex code keep of it.
struct Task {
    sleeps: AtomicBool,
    woken: AtomicBool,
    bucket: AtomicUsize,
    /// Stands for the run queue: a sleeping task is taken off its CPU under it.
    queue: Mutex<()>,
    runs: Condvar,
}

impl Task {
    fn new() -> Arc<Task> {
        Arc::new(Task {
            sleeps: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            bucket: AtomicUsize::new(0),
            queue: Mutex::new(()),
            runs: Condvar::new(),
        })
    }

    /// `sched::set_sleeping`.
    fn set_sleeping(&self, sleeps: bool) {
        self.sleeps.store(sleeps, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// `sched::block_current`.
    fn block(&self) {
        let mut queue = self.queue.lock().unwrap();
        while self.sleeps.load(Ordering::Acquire) {
            queue = self.runs.wait(queue).unwrap();
        }
    }

    /// `sched::wake`.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if !self.sleeps.load(Ordering::Acquire) {
            return;
        }
        let _queue = self.queue.lock().unwrap();
        self.sleeps.store(false, Ordering::Release);
        self.runs.notify_one();
    }
}

struct HashBucket {
    waiters: AtomicU32,
    queue: Mutex<Bucket<u32, Arc<Task>>>,
}

/// Two words in buckets of their own; the key of a word is its index.
struct World {
    words: [AtomicU32; 2],
    buckets: [HashBucket; 2],
}

impl World {
    fn new() -> Arc<World> {
        let bucket = || HashBucket {
            waiters: AtomicU32::new(0),
            queue: Mutex::new(Bucket::with_capacity(4).unwrap()),
        };
        Arc::new(World {
            words: [AtomicU32::new(0), AtomicU32::new(0)],
            buckets: [bucket(), bucket()],
        })
    }

    /// Compares and joins; false when the word is not 0.
    fn join(&self, key: usize, task: &Arc<Task>) -> bool {
        let bucket = &self.buckets[key];
        task.bucket.store(key, Ordering::Relaxed);
        bucket.waiters.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        let mut queue = bucket.queue.lock().unwrap();
        if self.words[key].load(Ordering::Acquire) != 0 {
            drop(queue);
            bucket.waiters.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let waiter = Waiter {
            key: key as u32,
            bitset: !0,
            rank: ORDINARY,
            target: None,
            who: task.clone(),
        };
        assert!(queue.push(waiter).is_ok());
        true
    }

    fn sleep(&self, task: &Task) {
        loop {
            task.set_sleeping(true);
            if task.woken.load(Ordering::Acquire) {
                break;
            }
            task.block();
        }
        task.set_sleeping(false);
    }

    fn wait(&self, key: usize, task: &Arc<Task>) {
        if self.join(key, task) {
            self.sleep(task);
        }
    }

    /// Leaves as one whose time is over; false when a waker was faster.
    fn give_up(&self, task: &Arc<Task>) -> bool {
        loop {
            if task.woken.load(Ordering::Acquire) {
                return false;
            }
            let index = task.bucket.load(Ordering::Acquire);
            let mut queue = self.buckets[index].queue.lock().unwrap();
            if task.bucket.load(Ordering::Acquire) != index {
                continue;
            }
            let removed = queue.remove(|other| Arc::ptr_eq(other, task));
            drop(queue);
            if removed.is_some() {
                self.buckets[index].waiters.fetch_sub(1, Ordering::Relaxed);
                return true;
            }
        }
    }

    fn wake(&self, key: usize, limit: usize) -> usize {
        let bucket = &self.buckets[key];
        fence(Ordering::SeqCst);
        if bucket.waiters.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut woken = Woken::new();
        let taken = |task: &Arc<Task>| task.woken.store(true, Ordering::Release);
        let mut queue = bucket.queue.lock().unwrap();
        let count = queue.wake(key as u32, !0, limit, &mut woken, taken);
        drop(queue);
        bucket
            .waiters
            .fetch_sub(woken.len() as u32, Ordering::Relaxed);
        woken.iter().for_each(|task| task.wake());
        count.unwrap()
    }

    fn requeue(&self, from: usize, to: usize) -> usize {
        let mut source = self.buckets[from].queue.lock().unwrap();
        let mut target = self.buckets[to].queue.lock().unwrap();
        let moving = source.count(from as u32, 4);
        let waiters = &self.buckets[to].waiters;
        waiters.fetch_add(moving as u32, Ordering::AcqRel);
        let moved = source.requeue(from as u32, Some(&mut target), to as u32, 4, |task| {
            task.bucket.store(to, Ordering::Release);
        });
        drop((source, target));
        let moved = moved.unwrap();
        self.buckets[from]
            .waiters
            .fetch_sub(moved as u32, Ordering::Relaxed);
        moved
    }
}

/// Explores a model with at most so many preemptions: all that two or three steps in a wrong order can do, in bounded time.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_change_of_the_word_is_never_missed() {
    explore(4, || {
        let world = World::new();
        let waiter = {
            let world = world.clone();
            thread::spawn(move || world.wait(0, &Task::new()))
        };
        world.words[0].store(1, Ordering::Release);
        world.wake(0, 1);
        waiter.join().unwrap();
    });
}

#[test]
fn two_waiters_are_woken_by_two_wake_ups() {
    explore(2, || {
        let world = World::new();
        let waiters = [0, 1].map(|_| {
            let world = world.clone();
            thread::spawn(move || world.wait(0, &Task::new()))
        });
        world.words[0].store(1, Ordering::Release);
        world.wake(0, 1);
        world.wake(0, 1);
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_wake_up_counts_who_did_not_give_up() {
    explore(4, || {
        let world = World::new();
        let task = Task::new();
        assert!(world.join(0, &task));
        let waker = {
            let world = world.clone();
            thread::spawn(move || world.wake(0, 1))
        };
        let gave_up = world.give_up(&task);
        let woken = waker.join().unwrap();
        assert_eq!(woken, usize::from(!gave_up));
        assert_eq!(world.buckets[0].waiters.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn who_is_moved_is_woken_at_the_new_word() {
    explore(3, || {
        let world = World::new();
        let task = Task::new();
        assert!(world.join(0, &task));
        let mover = {
            let world = world.clone();
            thread::spawn(move || {
                assert_eq!(world.requeue(0, 1), 1);
                // In this order by one thread: the waiter is there.
                assert_eq!(world.wake(1, 1), 1);
            })
        };
        world.sleep(&task);
        mover.join().unwrap();
    });
}

#[test]
fn who_gives_up_while_being_moved_leaves_nothing_behind() {
    explore(3, || {
        let world = World::new();
        let task = Task::new();
        assert!(world.join(0, &task));
        let mover = {
            let world = world.clone();
            thread::spawn(move || world.requeue(0, 1))
        };
        assert!(world.give_up(&task));
        mover.join().unwrap();
        for bucket in &world.buckets {
            assert!(bucket.queue.lock().unwrap().is_empty());
            assert_eq!(bucket.waiters.load(Ordering::Relaxed), 0);
        }
    });
}
