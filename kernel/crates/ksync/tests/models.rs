//! The protocol of the kernel's wait queue (`kernel/src/sync/wait.rs`) and of its sleeping lock, under every order of steps
//! that the memory model allows (loom). A sleeper that nobody wakes is a deadlock, which loom reports.
//!
//! Loom takes sequentially consistent accesses for acquire and release ones, so the models have the full barriers, which
//! the kernel gets from such accesses, written out.

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What the scheduler keeps of a task.
struct Task {
    sleeps: AtomicBool,
    queue: Mutex<()>,
    runs: Condvar,
}

impl Task {
    fn new() -> Arc<Task> {
        Arc::new(Task {
            sleeps: AtomicBool::new(false),
            queue: Mutex::new(()),
            runs: Condvar::new(),
        })
    }

    fn set_sleeping(&self, sleeps: bool) {
        self.sleeps.store(sleeps, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    fn block(&self) {
        let mut queue = self.queue.lock().unwrap();
        while self.sleeps.load(Ordering::Acquire) {
            queue = self.runs.wait(queue).unwrap();
        }
    }

    /// True when it slept.
    fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.sleeps.load(Ordering::Acquire) {
            return false;
        }
        let _queue = self.queue.lock().unwrap();
        let slept = self.sleeps.swap(false, Ordering::AcqRel);
        self.runs.notify_one();
        slept
    }
}

/// `WaitQueue`.
struct WaitQueue(Mutex<VecDeque<Arc<Task>>>);

impl WaitQueue {
    fn new() -> WaitQueue {
        WaitQueue(Mutex::new(VecDeque::new()))
    }

    fn enqueue(&self, task: &Arc<Task>) {
        let mut tasks = self.0.lock().unwrap();
        if !tasks.iter().any(|other| Arc::ptr_eq(other, task)) {
            tasks.push_back(task.clone());
        }
    }

    /// False when a waker took it out.
    fn dequeue(&self, task: &Arc<Task>) -> bool {
        let mut tasks = self.0.lock().unwrap();
        let at = tasks.iter().position(|other| Arc::ptr_eq(other, task));
        at.and_then(|at| tasks.remove(at)).is_some()
    }

    /// `wait_slow`; `ends` is a signal or a deadline.
    fn wait<R>(
        &self,
        task: &Arc<Task>,
        mut condition: impl FnMut() -> Option<R>,
        ends: impl Fn() -> bool,
    ) -> Option<R> {
        if let Some(value) = condition() {
            return Some(value);
        }
        let result = loop {
            task.set_sleeping(true);
            self.enqueue(task);
            if let Some(value) = condition() {
                break Some(value);
            }
            if ends() {
                break None;
            }
            task.block();
        };
        task.set_sleeping(false);
        if !self.dequeue(task) {
            self.wake_one();
        }
        result
    }

    fn wake_one(&self) {
        let mut tasks = self.0.lock().unwrap();
        while let Some(task) = tasks.pop_front() {
            if task.wake() {
                return;
            }
        }
    }
}

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn never() -> bool {
    false
}

#[test]
fn a_condition_made_true_is_never_missed() {
    explore(3, || {
        let shared = Arc::new((WaitQueue::new(), AtomicBool::new(false)));
        let waker = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(true, Ordering::Release);
                fence(Ordering::SeqCst);
                shared.0.wake_one();
            })
        };
        let condition = || shared.1.load(Ordering::Acquire).then_some(());
        assert!(shared.0.wait(&Task::new(), condition, never).is_some());
        waker.join().unwrap();
    });
}

/// Takes one of the tokens there are.
fn take(tokens: &AtomicU32) -> Option<()> {
    let one_less = |count: u32| count.checked_sub(1);
    tokens
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
        .ok()
        .map(|_| ())
}

#[test]
fn each_of_two_waiters_gets_one_of_two_tokens() {
    explore(2, || {
        let shared = Arc::new((WaitQueue::new(), AtomicU32::new(0)));
        let waiters = [0, 1].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || shared.0.wait(&Task::new(), || take(&shared.1), never))
        });
        for _ in 0..2 {
            shared.1.fetch_add(1, Ordering::AcqRel);
            fence(Ordering::SeqCst);
            shared.0.wake_one();
        }
        for waiter in waiters {
            assert!(waiter.join().unwrap().is_some());
        }
    });
}

#[test]
fn a_wake_up_of_one_who_gives_up_goes_to_the_next() {
    explore(2, || {
        // One token, two waiters, of which the first is interrupted at some time: the other must not sleep for ever once
        // the first has gone without the token.
        let shared = Arc::new((WaitQueue::new(), AtomicU32::new(0), AtomicBool::new(false)));
        let task = Task::new();
        let first = {
            let (shared, task) = (shared.clone(), task.clone());
            thread::spawn(move || {
                let ends = || shared.2.load(Ordering::Acquire);
                let got = shared.0.wait(&task, || take(&shared.1), ends);
                if got.is_some() {
                    // It has no use for it after all.
                    shared.1.fetch_add(1, Ordering::AcqRel);
                    fence(Ordering::SeqCst);
                    shared.0.wake_one();
                }
            })
        };
        let second = {
            let shared = shared.clone();
            thread::spawn(move || shared.0.wait(&Task::new(), || take(&shared.1), never))
        };
        shared.1.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        shared.0.wake_one();
        shared.2.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        task.wake();
        first.join().unwrap();
        assert!(second.join().unwrap().is_some());
    });
}

/// `sync::Mutex`: free, held, held with sleepers.
#[test]
fn a_sleeping_lock_excludes_and_wakes() {
    explore(2, || {
        let shared = Arc::new((
            AtomicU32::new(0),
            WaitQueue::new(),
            loom::cell::UnsafeCell::new(0u32),
        ));
        let work = |shared: &(AtomicU32, WaitQueue, loom::cell::UnsafeCell<u32>)| {
            let (state, queue, value) = shared;
            let free = state.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
            if free.is_err() {
                let take = || (state.swap(2, Ordering::AcqRel) == 0).then_some(());
                queue.wait(&Task::new(), take, never);
            }
            // SAFETY: the lock is held; loom checks that no other access overlaps.
            value.with_mut(|value| unsafe { *value += 1 });
            if state.swap(0, Ordering::AcqRel) == 2 {
                fence(Ordering::SeqCst);
                queue.wake_one();
            }
        };
        let others = [0].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || work(&shared))
        });
        work(&shared);
        for other in others {
            other.join().unwrap();
        }
        // SAFETY: nobody else is left.
        shared.2.with(|value| assert_eq!(unsafe { *value }, 2));
    });
}
