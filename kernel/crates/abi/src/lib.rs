//! The Linux x86-64 ABI: errno, system call numbers, flags and structures.
//!
//! Constants come from `linux-raw-sys`, which is generated from the kernel's own headers; structures that user
//! space passes by memory are declared here with `zerocopy` derives, so that copying them needs no unsafe code,
//! and their sizes are asserted against the generated ones where those exist.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod aio;
pub mod capability;
pub mod epoll;
pub mod errno;
pub mod fs;
pub mod futex;
pub mod inotify;
pub mod mman;
pub mod mqueue;
pub mod netlink;
pub mod poll;
pub mod rseq;
pub mod signal;
pub mod sysv;
pub mod termios;
pub mod time;
pub mod vt;

pub mod net;
pub mod packet;
pub mod resource;
pub mod seccomp;
pub mod socket;
pub mod system;
pub mod wait;
pub use errno::{Errno, Result};
pub use linux_raw_sys as raw;
