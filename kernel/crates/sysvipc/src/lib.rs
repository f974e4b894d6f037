//! System V IPC and POSIX message queues as pure logic: what the kernel keeps under its locks, without tasks, memory of
//! users or sleeping.
//!
//! | module | what |
//! |---|---|
//! | [`ids`] | which id comes next: an index and a sequence number |
//! | [`perm`] | who may do what with an object |
//! | [`list`] | queues that are changed under spin locks: nothing in them allocates |
//! | [`sem`] | sets of semaphores: operations, adjustments, who waits and who goes next |
//! | [`msg`] | message queues: choice by type, and messages handed to who waits for them |
//! | [`posix`] | the messages of a POSIX queue, by priority |
//!
//! The kernel wakes what these modules answer; `W` is whatever it knows a sleeper by.
//!
//! References: semop(2), msgop(2), svipc(7), POSIX.1-2024 XSI IPC.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod ids;
pub mod list;
pub mod msg;
pub mod perm;
pub mod posix;
pub mod sem;
