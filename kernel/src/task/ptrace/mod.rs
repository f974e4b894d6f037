//! ptrace(2): a thread watches and changes another, which stops at what the watcher wants to see.
//!
//! | module | what |
//! |---|---|
//! | `state` | [`TraceState`]: what a thread keeps as tracee and as tracer; options and events |
//! | `access` | [`may_access`]: who may look into whom, for this call, `/proc`, `process_vm_*` and `kcmp` |
//! | `attach` | links: TRACEME, ATTACH, SEIZE, DETACH, the children of tracees, the end of tracers |
//! | `stop` | the tracee's side: how it stops, what the stop shows, how it goes on |
//! | `control` | the tracer's side: freezing a stopped tracee, resuming, INTERRUPT, LISTEN |
//! | `request` | the call: from a request's number to one of the others |
//! | `memory` | PEEK and POKE |
//! | `regs` | registers: the user area, register sets, FPU, debug registers |
//! | `siginfo` | the signal of the stop, the pending ones, the mask |
//! | `calls` | what a system-call stop was for |
//! | `step` | single steps |
//! | `wait` | what wait(2) learns of tracees |
//!
//! A tracer is a thread, not a process: another thread of its process can wait for its tracees but makes no request of
//! them. A tracee is a thread too. Who traces whom is written twice: the tracee's link names the tracer weakly, the
//! tracer's list owns the tracees, so that a tracee that has ended stays there until the tracer has waited for it.
//!
//! # States of a tracee
//! The bits are in `TaskSignal::jobctl`, which only changes under the signal lock of the tracee's process (but for bits
//! that a thread clears for itself alone):
//! ```text
//! running --(stop)--> TRACED --(CONT etc., DETACH, tracer's end, SIGKILL)--> running
//!                     TRACED + FROZEN: a request is being served; SIGKILL takes effect when it is done
//!                     TRACED + LISTENING: no requests; news of job control trap it again
//! TRAP_STOP: to stop for INTERRUPT, a group stop, or as a seized tracee's new child
//! TRAP_NOTIFY: a seized tracee is to stop because a group stop began or ended
//! TRAPPING: attached while stopped by job control; the attacher waits until it is TRACED
//! ```
//! Job control (`signal::stop`): a tracee takes part in a group stop by a TRAP_STOP, so that it sleeps as TRACED; SIGCONT
//! does not wake it. When it is let go for good while the group stop lasts, it becomes stopped as the others are.
//!
//! # Wait
//! A tracee's stops, and its end, are the tracer's to wait for first. A process whose main thread is traced by another
//! process is no zombie to its parent before the tracer has waited for it or let it go.
//!
//! # Lock order
//! ```text
//! Process::exec_lock of the target (sleeping): ATTACH and SEIZE, against changes of identity by exec
//!   tree lock: every link and unlink, and every thread's end
//!     TraceState::link, TraceState::tracees
//!     the signal lock of the tracee's process: `jobctl`, `flags`
//!       TraceState::stop
//!         run queues
//! ```
//!
//! # Invariants
//! - `flags` is not empty exactly while `link` is `Some`; both change under the tree lock and the signal lock.
//! - Registers of a tracee are touched by its tracer only while it is FROZEN and off its CPU.
//! - A thread that is not traced pays for none of this but a test of bits that it tests anyway.
//!
//! References: ptrace(2), Linux `kernel/ptrace.c` and `kernel/signal.c`.

mod access;
mod attach;
mod calls;
mod control;
mod memory;
mod regs;
mod request;
mod siginfo;
mod state;
mod step;
mod stop;
mod wait;

pub use access::{AccessMode, may_access, may_access_as};
pub use attach::{exit_tracer, forget_leader, init_child, parent_thread, tracer_allows_gain};
pub use request::ptrace;
pub use state::{Event, TraceState};
pub use stop::{
    event_stop, exec_stop, exit_stop, mark_ended, notice, notify, syscall_entry, syscall_exit,
    tell_tracer, tracer_is_parent,
};
pub use wait::{end_of, leader_has_ended, take_end, take_stop, traced_leader};
