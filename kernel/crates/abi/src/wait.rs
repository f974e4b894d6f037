//! What waitid(2) fills in.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The part of `siginfo_t` that `waitid` writes; the rest of the caller's structure stays as it is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigchldInfo {
    signo: i32,
    errno: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    status: i32,
}

impl SigchldInfo {
    /// SIGCHLD of this child.
    pub fn new(code: i32, pid: i32, uid: u32, status: i32) -> SigchldInfo {
        SigchldInfo {
            signo: 17,
            errno: 0,
            code,
            padding: 0,
            pid,
            uid,
            status,
        }
    }
}

const _: () = assert!(size_of::<SigchldInfo>() == 28);
