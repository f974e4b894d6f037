//! A sleeper and its waker, as `WaitQueue::wait` and `WaitQueue::wake` do it.

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::explore;
use super::real::sleep::{AWAKE, SleepWord};

const ASLEEP: u32 = 1;

/// The order of a sleeper's steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// Declare, enqueue, look, block.
    Right,
    /// The condition is looked at before the sleep is declared.
    LookFirst,
    /// The task is in no queue when it looks.
    EnqueueLast,
}

/// One task that waits for one flag.
struct World {
    word: SleepWord,
    /// Stands for a condition of any kind: nothing of its own orders it.
    condition: AtomicBool,
    queue: Mutex<VecDeque<()>>,
    /// Whether the task runs: what its run queue's lock guards.
    runs: Mutex<bool>,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            word: SleepWord::new(AWAKE),
            condition: AtomicBool::new(false),
            queue: Mutex::new(VecDeque::new()),
            runs: Mutex::new(true),
        })
    }

    fn look(&self) -> bool {
        self.condition.load(Ordering::Relaxed)
    }

    fn enqueue(&self) {
        let mut queue = self.queue.lock().unwrap();
        if queue.is_empty() {
            queue.push_back(());
        }
    }

    /// One turn of the loop: a task that is blocked here and resumed would take the next.
    fn wait(&self, steps: Steps) {
        let early = steps == Steps::LookFirst && self.look();
        self.word.sleep(ASLEEP);
        if steps != Steps::EnqueueLast {
            self.enqueue();
        }
        let met = match steps {
            Steps::LookFirst => early,
            _ => self.look(),
        };
        if met {
            self.word.set(AWAKE);
            self.queue.lock().unwrap().pop_front();
            return;
        }
        if steps == Steps::EnqueueLast {
            self.enqueue();
        }
        self.block();
    }

    /// `schedule`: a task that is awake keeps its CPU.
    fn block(&self) {
        let mut runs = self.runs.lock().unwrap();
        if self.word.bits() != AWAKE {
            *runs = false;
        }
    }

    /// What a waker does with a task that it found asleep.
    fn resume(&self) {
        let mut runs = self.runs.lock().unwrap();
        if self.word.end_sleep(ASLEEP) {
            *runs = true;
        }
    }

    fn wake(&self) {
        self.condition.store(true, Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap();
        if queue.pop_front().is_some() && self.word.is_asleep(ASLEEP) {
            self.resume();
        }
    }

    /// Once both are done the task runs: nobody else will wake it.
    fn check(&self) {
        assert!(*self.runs.lock().unwrap(), "a lost wake-up");
    }
}

fn sleeper_and_waker(steps: Steps) {
    explore(move || {
        let world = World::new();
        let sleeper = {
            let world = world.clone();
            thread::spawn(move || world.wait(steps))
        };
        world.wake();
        sleeper.join().unwrap();
        world.check();
    });
}

#[test]
fn no_wake_up_is_lost() {
    sleeper_and_waker(Steps::Right);
}

#[test]
#[should_panic(expected = "a lost wake-up")]
fn one_is_lost_if_the_condition_is_looked_at_first() {
    sleeper_and_waker(Steps::LookFirst);
}

#[test]
#[should_panic(expected = "a lost wake-up")]
fn one_is_lost_if_the_task_is_in_no_queue_when_it_looks() {
    sleeper_and_waker(Steps::EnqueueLast);
}

/// A waker without a queue, as a signal's: only the word and the condition, with nothing else to order them.
fn signal(fenced: bool) {
    explore(move || {
        let world = World::new();
        let sleeper = {
            let world = world.clone();
            thread::spawn(move || {
                world.word.sleep(ASLEEP);
                if !world.look() {
                    world.block();
                }
            })
        };
        world.condition.store(true, Ordering::Relaxed);
        // Without the fence the look at the word may come before the condition is seen.
        let asleep = match fenced {
            true => world.word.is_asleep(ASLEEP),
            false => world.word.bits() & ASLEEP != 0,
        };
        if asleep {
            world.resume();
        }
        sleeper.join().unwrap();
        world.check();
    });
}

#[test]
fn a_signal_reaches_who_is_about_to_sleep() {
    signal(true);
}

#[test]
#[should_panic(expected = "a lost wake-up")]
fn it_may_not_without_the_wakers_fence() {
    signal(false);
}
