//! Memory: mappings, protection, growth, advice, residency, sharing and copies on write.
//!
//! | module | cases of |
//! |---|---|
//! | [`map`] | mmap, munmap and mprotect |
//! | [`size`] | What grows, shrinks and moves: mremap, brk, stacks and their limits |
//! | [`advice`] | madvise, mincore, mlock and msync |
//! | [`share`] | Memory shared and copied on write, with files and between processes |

pub mod advice;
pub mod map;
pub mod share;
pub mod size;

use crate::check::*;
use crate::sys::*;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const FIXED: i32 = libc::MAP_FIXED;

fn map_file(fd: i32, len: usize, prot: i32, flags: i32) -> Sys {
    sys!(SYS_mmap, 0, len, prot, flags, fd, 0)
}

/// The line of the mapping at an address.
fn maps_line(addr: usize) -> Outcome<Option<String>> {
    let text = text_of("/proc/self/maps")?;
    let holds = |line: &&str| {
        let range = line.split(' ').next().unwrap_or_default();
        let mut ends = range
            .split('-')
            .map(|end| usize::from_str_radix(end, 16).unwrap_or(0));
        let (start, end) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
        (start..end).contains(&addr)
    };
    Ok(text.lines().find(holds).map(str::to_owned))
}

fn mincore(addr: usize, len: usize, out: &mut [u8]) -> Sys {
    sys!(SYS_mincore, addr, len, out.as_mut_ptr())
}
