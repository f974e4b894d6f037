//! The scheduler: which task runs where, sleeping and waking, and the time each used.
//!
//! | module | what |
//! |---|---|
//! | `state` | [`SchedState`]: what the scheduler keeps with a task |
//! | `core` | run queues, the switch, `block_current`, preemption marks |
//! | `wake` | waking, and the choice of a CPU |
//! | `balance` | stealing by idle CPUs; CPUs for the most urgent tasks |
//! | `deadline` | SCHED_DEADLINE: reservations, and budgets kept on time |
//! | `idle` | what a CPU does with nothing to run |
//! | `tick` | the timer tick, time accounting, load averages |
//! | `params` | policy, nice and affinity, changed while a task may stand in a queue |
//! | `timer` | [`WakeTimer`]: ends a sleep |
//! | `kthread` | tasks without a user space |
//!
//! The policy itself (who is next) is the crate `sched`, tested on the host.
//!
//! # Lock order
//! ```text
//! a CPU's run queue (interrupts off); never two, but for `try_lock` by a thief
//! ```
//!
//! # Invariants
//! - A task that is not running has its registers saved whenever its CPU's run queue can be locked: the lock is held
//!   across the switch and released by the task that comes in.
//! - `SchedState::cpu` changes only under the run queue of the old CPU, by whoever took the task out of it.
//! - A task is in a queue exactly while it is runnable and not running; a deadline task without budget counts as runnable.

mod balance;
mod core;
mod deadline;
mod idle;
mod kthread;
mod params;
mod state;
mod tick;
mod timer;
mod wake;

pub use self::core::{
    block_current, cond_resched, cpu_sums, exit_current, finish_first_switch, idles_here,
    nr_running, nr_spawned, nr_switches, on_reschedule_ipi, running_ns, schedule, set_running,
    set_sleeping, spawn, start_on_this_cpu, yield_now,
};
pub use deadline::interrupt as deadline_interrupt;
pub use idle::{idle_ns, run_idle};
pub use kthread::spawn_kernel_thread;
pub use params::{
    affinity, budget_of, params_of, prio_of, set_affinity, set_inherited, set_params, standing_of,
};
pub use state::{SchedState, SleepKind, TaskState};
pub use tick::{CpuTimes, TICK_NS, cpu_times, load_averages, tick};
pub use timer::{WakeTimer, sleep_until};
pub use wake::{wait_until_off_cpu, wake, wake_signal, wake_state};
