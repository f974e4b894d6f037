//! Talking between processes beside files and signals.
//!
//! | module | what |
//! |---|---|
//! | `futex` | sleeping on a word of user memory |
//! | [`ids`] | System V objects of one kind, by id and by key |
//! | [`access`] | whether the running task may do something with such an object |
//! | [`limits`] | how much of them there may be: `/proc/sys/kernel` |
//! | [`shm`] | shared memory: segments, attaching and detaching |
//! | [`sem`] | sets of semaphores, and what an exit takes back |
//! | [`msg`] | message queues |
//! | [`mqueue`] | POSIX message queues, and the file system of them |
//!
//! The logic of ids, permissions, semaphore operations and the choice of messages is the crate `sysvipc`, tested on the
//! host. There is one IPC namespace.
//!
//! # Lock order
//! ```text
//! the map of an address space (its areas detach a segment when they go)
//!   Ids::admin of segments (sleeping)
//! Ids::admin of sets or queues (sleeping)
//! UndoList::entries (sleeping)
//! a POSIX queue's state (sleeping; a signal may be sent under it)
//!   the state of one object (spinning)
//!   Ids::slots (spinning)
//!     a sleeper's wait queue
//! ```
//! The states of two objects are never locked together.
//!
//! # Invariants
//! - Objects are found by id without `admin`; whoever then locks one looks whether it was removed meanwhile (EIDRM).
//! - Under a state nothing is allocated or freed: nodes and room for them are made before, and whoever is to be woken
//!   leaves in a chain and is woken after the unlock.
//! - A sleeper ends when its result is there. One that gives up takes itself out of the queue first; if it is not there
//!   any more, somebody has finished its call, and it waits for the result, which comes at once.
//! - A segment has as many attachments as areas show it, and as calls that are about to make one.
//!
//! References: svipc(7), shmop(2), semop(2), msgop(2), proc_sysvipc(5), mq_overview(7); POSIX.1-2024 XSI IPC.

pub mod access;
pub mod futex;
pub mod ids;
pub mod limits;
pub mod mqueue;
pub mod msg;
pub mod sem;
pub mod shm;

use crate::time;

/// Seconds since 1970, as the objects' times have it.
fn now_seconds() -> i64 {
    (time::realtime_ns() / 1_000_000_000) as i64
}
