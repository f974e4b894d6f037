//! `/proc/<pid>/pagemap`, `clear_refs` and `numa_maps`: a process's memory page by page.

use alloc::sync::{Arc, Weak};

use abi::{Errno, Result};
use vm::VmFlags;

use super::memory;
use super::subject::Target;
use super::text::{Text, number};
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::mm::policy::Policy;
use crate::mm::space::{PageState, Referenced};
use crate::mm::user::IoSink;
use crate::mm::{AddressSpace, PAGE_SIZE, USER_END};
use crate::sched;
use crate::task::{Cap, current};

/// Bytes for a page.
const ENTRY: usize = 8;
/// Pages looked at under one hold of the map.
const BATCH: usize = 64;

const SOFT_DIRTY: u64 = 1 << 55;
const EXCLUSIVE: u64 = 1 << 56;
const UFFD_WP: u64 = 1 << 57;
const OF_FILE: u64 = 1 << 61;
const PRESENT: u64 = 1 << 63;

/// An open `pagemap`.
struct Pagemap {
    /// Not held: an open file must not keep memory.
    space: Option<Weak<AddressSpace>>,
    /// Whether frames' numbers are shown: only to CAP_SYS_ADMIN.
    shows_frames: bool,
}

/// Opens `pagemap` of a process.
pub fn open(target: &Target) -> Result<FileOpsRef> {
    Ok(Arc::new(Pagemap {
        space: target.mm().map(|mm| Arc::downgrade(&mm)),
        shows_frames: current().my_cred().capable(Cap::SYS_ADMIN),
    })
    .into())
}

impl Pagemap {
    fn entry(&self, state: &PageState) -> u64 {
        let mut entry = 0;
        if let Some(frame) = state.frame {
            entry |= PRESENT;
            if self.shows_frames {
                entry |= u64::from(frame);
            }
            for (holds, bit) in [(state.of_object, OF_FILE), (state.exclusive, EXCLUSIVE)] {
                entry |= if holds { bit } else { 0 };
            }
        }
        for (holds, bit) in [(state.soft_dirty, SOFT_DIRTY), (state.uffd_wp, UFFD_WP)] {
            entry |= if holds { bit } else { 0 };
        }
        entry
    }
}

impl FileOps for Pagemap {
    fn read(&self, _file: &File, sink: &mut IoSink<'_>, pos: &mut u64) -> Result<usize> {
        let aligned = |bytes: u64| bytes.is_multiple_of(ENTRY as u64);
        if !aligned(*pos) || !aligned(sink.remaining() as u64) {
            return Err(Errno::EINVAL);
        }
        let Some(space) = self.space.as_ref().and_then(Weak::upgrade) else {
            return Ok(0);
        };
        let before = sink.done();
        let mut page = usize::try_from(*pos / ENTRY as u64).unwrap_or(usize::MAX);
        while sink.remaining() != 0 && page < USER_END / PAGE_SIZE {
            let count = (sink.remaining() / ENTRY)
                .min(BATCH)
                .min(USER_END / PAGE_SIZE - page);
            let mut states = [PageState::default(); BATCH];
            let Some(states) = states.get_mut(..count) else {
                break;
            };
            space.page_states(page * PAGE_SIZE, states);
            for state in states.iter() {
                sink.put(&self.entry(state).to_ne_bytes())?;
            }
            page += count;
            sched::cond_resched();
        }
        let done = sink.done() - before;
        *pos += done as u64;
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        file.generic_llseek(offset, whence, 0, i64::MAX as u64)
    }
}

/// `clear_refs` cannot be read.
pub fn unreadable(_target: &Target, _out: &mut Text) -> Result<()> {
    Err(Errno::EINVAL)
}

/// `clear_refs`: 1 to 3 forget who was referenced, 4 who was written, 5 the peak.
pub fn clear_refs(target: &Target, bytes: &[u8]) -> Result<()> {
    let what: i32 = number(bytes)?;
    if !(1..=5).contains(&what) {
        return Err(Errno::EINVAL);
    }
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    match what {
        1 => mm.forget_referenced(Referenced::All),
        2 => mm.forget_referenced(Referenced::Anonymous),
        3 => mm.forget_referenced(Referenced::Mapped),
        4 => return mm.forget_soft_dirty(),
        _ => mm.forget_peak(),
    }
    Ok(())
}

/// `numa_maps`: policy and pages of each mapping; all pages are on node 0.
pub fn numa_maps(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    let own = target.task.as_ref().map_or(0, |task| {
        task.mempolicy.load(core::sync::atomic::Ordering::Relaxed)
    });
    let mut result = Ok(());
    mm.for_each_vma_smaps(&mut |vma, smaps| {
        let mut line = || -> Result<()> {
            let policy = match vma.flags.policy() {
                0 => Policy::from_bits(own),
                bits => Policy::from_bits(bits),
            };
            write!(out, "{:08x} {}", vma.start, policy.text())?;
            memory::numa_name(vma, out)?;
            let page = PAGE_SIZE as u64;
            let (pages, anon) = (smaps.rss / page, smaps.anonymous / page);
            let dirty = (smaps.shared_dirty + smaps.private_dirty) / page;
            if pages != 0 {
                for (name, count) in [("anon", anon), ("dirty", dirty)] {
                    if count != 0 {
                        write!(out, " {name}={count}")?;
                    }
                }
                if pages != anon && pages != dirty {
                    write!(out, " mapped={pages}")?;
                }
                if smaps.mapped_most > 1 {
                    write!(out, " mapmax={}", smaps.mapped_most)?;
                }
                write!(out, " N0={pages} kernelpagesize_kB=4")?;
            }
            out.bytes(b"\n")
        };
        if result.is_ok() {
            result = line();
        }
    });
    result
}

/// Whether huge pages may come into a mapping: what `THPeligible` says.
pub fn may_be_huge(flags: VmFlags, start: usize, end: usize, anonymous: bool) -> bool {
    const HUGE: usize = 2 << 20;
    anonymous
        && !flags.intersects(VmFlags::NO_HUGE_PAGE | VmFlags::SPECIAL)
        && end.saturating_sub(HUGE) & !(HUGE - 1) >= start
}
