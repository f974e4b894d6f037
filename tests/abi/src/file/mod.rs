//! Files: opening, reading and writing, sizes, holes, attributes and descriptors.
//!
//! | module | cases of |
//! |---|---|
//! | [`open`] | Opening files: flags, modes, rights and the errors of paths |
//! | [`content`] | What is in files: reading and writing, offsets, holes, sizes and devices |
//! | [`attributes`] | What is known of files: stat, times, modes, owners and rights |
//! | [`descriptors`] | Descriptors: duplicates, flags and closing |

pub mod attributes;
pub mod content;
pub mod descriptors;
pub mod open;

use crate::sys::*;

fn symlink(target: &std::ffi::CStr, path: &std::ffi::CStr) -> Sys {
    sys!(SYS_symlinkat, target, libc::AT_FDCWD, path)
}

fn mkdir(path: &std::ffi::CStr) -> Sys {
    sys!(SYS_mkdirat, libc::AT_FDCWD, path, 0o755)
}
