//! Memory: mappings, protection, growth, advice, residency, sharing and copies on write.
//!
//! | module | cases of |
//! |---|---|
//! | [`map`] | mmap, munmap and mprotect |
//! | [`size`] | What grows, shrinks and moves: mremap, brk, stacks and their limits |
//! | [`advice`] | madvise, mincore, mlock and msync |
//! | [`share`] | Memory shared and copied on write, with files and between processes |
//! | [`edges`] | the ends of the address space, wrapping lengths, MAP_FIXED, guard gaps |
//! | [`flags`] | what flags of mmap do besides placing |
//! | [`remap`] | mremap and remap_file_pages |
//! | [`hints`] | every advice of madvise |
//! | [`lock`] | mlock and its family |
//! | [`sealed`] | mseal |
//! | [`seal`] | seals of memfds against mappings |
//! | [`commit`] | overcommit, limits, the number of mappings |
//! | [`hostile`] | programs that take all they can |
//! | [`pkey`] | protection keys |
//! | [`names`] | names of anonymous memory |
//! | [`policy`] | memory policies on one node |
//! | [`pages`] | pagemap, clear_refs, smaps, meminfo |
//! | [`uffd`] | userfaultfd |
//! | [`races`] | threads that share the address space |
//! | [`sleeper`] | a thread that sleeps while its mappings change |

pub mod advice;
pub mod commit;
pub mod edges;
pub mod flags;
pub mod hints;
pub mod hostile;
pub mod lock;
pub mod map;
pub mod names;
pub mod pages;
pub mod pkey;
pub mod policy;
pub mod races;
pub mod remap;
pub mod seal;
pub mod sealed;
pub mod share;
pub mod size;
pub mod sleeper;
pub mod uffd;

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

/// A row of the entry in smaps of the mapping that starts at an address.
fn smaps_kb(addr: usize, name: &str) -> Outcome<u64> {
    let text = text_of("/proc/self/smaps")?;
    let entry = some(text.split_once(&format!("{addr:x}-")), "not in smaps")?.1;
    let row = entry
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = some(row, name)?
        .split_whitespace()
        .next()
        .unwrap_or_default();
    some(word.parse().ok(), name)
}
