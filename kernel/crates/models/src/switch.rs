//! A run queue handed over: `schedule` on one CPU against `wake_state` and the pick on another.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::explore;
use super::real::sleep::{AWAKE, SleepWord};

const ASLEEP: u32 = 1;

/// What a run queue's lock guards of one task.
#[derive(Default)]
struct Queue {
    /// It is the queue's `running`.
    runs: bool,
    /// It waits for a CPU.
    waits: bool,
}

struct World {
    word: SleepWord,
    condition: AtomicBool,
    queue: Mutex<Queue>,
    /// The task's stack and saved registers: whoever runs it writes there, and so does the switch away from it.
    stack: UnsafeCell<u32>,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            word: SleepWord::new(AWAKE),
            condition: AtomicBool::new(false),
            queue: Mutex::new(Queue {
                runs: true,
                waits: false,
            }),
            stack: UnsafeCell::new(0),
        })
    }

    fn use_stack(&self) {
        // SAFETY: loom fails the model where two threads do this at once; nobody keeps the pointer.
        self.stack.with_mut(|stack| unsafe { *stack += 1 });
    }

    /// The task, on the first CPU: sleeps unless the condition holds. Whether it gave up the CPU.
    fn sleep(&self, handed_over: bool) -> bool {
        self.use_stack();
        self.word.sleep(ASLEEP);
        if self.condition.load(Ordering::Relaxed) {
            self.word.set(AWAKE);
            return false;
        }
        let mut queue = self.queue.lock().unwrap();
        if self.word.bits() == AWAKE {
            return false;
        }
        queue.runs = false;
        if handed_over {
            // `switch_to` saves the registers; the next task's `finish_switch` releases the queue.
            self.use_stack();
            drop(queue);
        } else {
            drop(queue);
            self.use_stack();
        }
        true
    }

    /// The second CPU: wakes the task, and runs it if it waits for a CPU. Whether it ran.
    fn wake_and_run(&self) -> bool {
        self.condition.store(true, Ordering::Relaxed);
        if self.word.is_asleep(ASLEEP) {
            let mut queue = self.queue.lock().unwrap();
            if self.word.end_sleep(ASLEEP) && !queue.runs {
                queue.waits = true;
            }
        }
        let mut queue = self.queue.lock().unwrap();
        let picked = core::mem::take(&mut queue.waits);
        if picked {
            queue.runs = true;
            drop(queue);
            self.use_stack();
        }
        picked
    }
}

fn two_cpus(handed_over: bool) {
    explore(move || {
        let world = World::new();
        let first = {
            let world = world.clone();
            thread::spawn(move || world.sleep(handed_over))
        };
        let resumed = world.wake_and_run();
        let blocked = first.join().unwrap();
        assert_eq!(
            blocked, resumed,
            "a task that blocked runs again, and no other"
        );
        assert_eq!(world.word.bits(), AWAKE);
    });
}

#[test]
fn a_task_runs_again_only_once_it_has_left_its_stack() {
    two_cpus(true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn it_runs_on_two_cpus_if_the_queue_is_released_before_the_switch() {
    two_cpus(false);
}
