//! Mappings and faults. Pages are of the base size, except in `huge_touch`.

use super::{Case, Test, each};
use crate::fixture::{Faults, Fd, Folder, open};
use crate::mapping::{Mapping, PAGE};
use crate::problem::{Outcome, ensure, expect, good};
use crate::suite::process::reap;
use crate::sys;

/// More than any pool of ready pages: 64 MiB.
const MANY: u64 = 16_384;
/// 16 MiB.
const SOME: u64 = 4096;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

pub static TESTS: &[Test] = &[
    Test::new(
        "mmap_fault",
        2 * MANY,
        "the first write to a page of fresh private memory; mapping and unmapping 64 MiB at a time is timed with it",
        || Faulting::case(MANY, mmap_fault),
    )
    .granule(MANY)
    .quick(),
    Test::new(
        "mmap_munmap",
        5_000,
        "mmap() of 64 KiB of fresh memory and munmap(), untouched",
        mmap_munmap,
    ),
    Test::new(
        "mprotect",
        5_000,
        "mprotect() of 16 pages in use: read-only, writable again, and a write",
        mprotect,
    ),
    Test::new(
        "brk",
        5_000,
        "brk() up by a page, a write there, and brk() back",
        brk,
    ),
    Test::new(
        "mremap",
        2_000,
        "mremap() of 64 pages in use to 128 and back",
        mremap,
    ),
    Test::new(
        "madvise_free",
        500,
        "madvise(MADV_DONTNEED) of 64 pages in use, and a write to each",
        madvise_free,
    ),
    Test::new(
        "file_fault",
        2 * SOME,
        "the first read of a page of a file in memory, mapped privately; mapping and unmapping 16 MiB at a time is timed with it",
        file_fault,
    )
    .granule(SOME),
    Test::new(
        "shared_fault",
        2 * SOME,
        "the first write to a page of fresh shared memory; mapping and unmapping 16 MiB at a time is timed with it",
        || Faulting::case(SOME, shared_fault),
    )
    .granule(SOME),
    Test::new(
        "cow_fault",
        2 * SOME,
        "a child's first write to a page that its parent has written; fork() and exit for each 16 MiB are timed with it",
        cow_fault,
    )
    .granule(SOME),
    Test::new(
        "huge_touch",
        1,
        "mmap() of 256 MiB as the kernel likes it (with huge pages, where it has them), a write to each 4 KiB, and munmap()",
        huge_touch,
    ),
];

/// A test whose iteration is a fault.
struct Faulting {
    pages: u64,
    /// Takes so many faults; answers how many of the pages were not zero.
    round: fn(usize) -> Outcome<u64>,
    before: Faults,
    dirty: u64,
}

impl Faulting {
    fn case(pages: u64, round: fn(usize) -> Outcome<u64>) -> Outcome<Box<dyn Case>> {
        Ok(Box::new(Self {
            pages,
            round,
            before: Faults::now(),
            dirty: 0,
        }))
    }
}

impl Case for Faulting {
    fn run(&mut self, iterations: u64) -> Outcome {
        self.before = Faults::now();
        self.dirty = 0;
        for _ in 0..iterations / self.pages {
            self.dirty += (self.round)(self.pages as usize)?;
        }
        Ok(())
    }

    fn verify(&mut self, iterations: u64) -> Outcome {
        ensure(self.dirty == 0, || "fresh memory is not zero".to_owned())?;
        // A kernel may make several pages present with one fault, but not hundreds of small ones.
        self.before.at_least(iterations / 64)
    }
}

fn mmap_fault(pages: usize) -> Outcome<u64> {
    let memory = Mapping::fresh(pages * PAGE)?;
    Ok((0..pages)
        .map(|page| u64::from(memory.bump(page * PAGE)))
        .sum())
}

fn shared_fault(pages: usize) -> Outcome<u64> {
    let memory = Mapping::shared(pages * PAGE)?;
    memory.advise(libc::MADV_NOHUGEPAGE);
    Ok((0..pages)
        .map(|page| u64::from(memory.bump(page * PAGE)))
        .sum())
}

fn mmap_munmap() -> Outcome<Box<dyn Case>> {
    each(|| Mapping::fresh_untold(16 * PAGE).map(drop))
}

fn mprotect() -> Outcome<Box<dyn Case>> {
    let memory = Mapping::fresh(16 * PAGE)?;
    memory.touch();
    let mut right = 1_u8;
    each(move || {
        expect("mprotect", memory.protect(libc::PROT_READ), 0)?;
        expect("mprotect", memory.protect(READ_WRITE), 0)?;
        ensure(memory.bump(0) == right, || "memory has changed".to_owned())?;
        right = right.wrapping_add(1);
        Ok(())
    })
}

fn brk() -> Outcome<Box<dyn Case>> {
    // The heap may use what is there; the pages above are this test's.
    let end = sys::brk(0) as usize;
    let up = end + 16 * PAGE;
    expect("brk", sys::brk(up), up as isize)?;
    each(move || {
        expect("brk", sys::brk(up + PAGE), (up + PAGE) as isize)?;
        let old = sys::bump_at(up.next_multiple_of(PAGE));
        ensure(old == 0, || "fresh memory is not zero".to_owned())?;
        expect("brk", sys::brk(up), up as isize)
    })
}

fn mremap() -> Outcome<Box<dyn Case>> {
    let mut memory = Mapping::fresh(64 * PAGE)?;
    memory.touch();
    each(move || {
        memory.resize(128 * PAGE)?;
        memory.resize(64 * PAGE)?;
        ensure(memory.peek(63 * PAGE) == 1, || {
            "memory has changed".to_owned()
        })
    })
}

fn madvise_free() -> Outcome<Box<dyn Case>> {
    let memory = Mapping::fresh(64 * PAGE)?;
    memory.touch();
    each(move || {
        expect("madvise", memory.advise(libc::MADV_DONTNEED), 0)?;
        let dirty: u64 = (0..64)
            .map(|page| u64::from(memory.bump(page * PAGE)))
            .sum();
        ensure(dirty == 0, || "fresh memory is not zero".to_owned())
    })
}

struct FileFault {
    file: Fd,
    _folder: Folder,
}

fn file_fault() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    let path = folder.file("file", &vec![3; SOME as usize * PAGE])?;
    Ok(Box::new(FileFault {
        file: open(&path, libc::O_RDONLY, 0)?,
        _folder: folder,
    }))
}

impl Case for FileFault {
    fn run(&mut self, iterations: u64) -> Outcome {
        let pages = SOME as usize;
        for _ in 0..iterations / SOME {
            let fd = self.file.number();
            let memory = Mapping::new(pages * PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd)?;
            let sum: usize = (0..pages)
                .map(|page| usize::from(memory.peek(page * PAGE)))
                .sum();
            ensure(sum == 3 * pages, || "wrong content".to_owned())?;
        }
        Ok(())
    }
}

struct CowFault {
    memory: Mapping,
}

fn cow_fault() -> Outcome<Box<dyn Case>> {
    let memory = Mapping::fresh(SOME as usize * PAGE)?;
    memory.touch();
    Ok(Box::new(CowFault { memory }))
}

impl Case for CowFault {
    fn run(&mut self, iterations: u64) -> Outcome {
        for _ in 0..iterations / SOME {
            let pid = good("fork", sys::fork())?;
            if pid == 0 {
                self.memory.touch();
                let right = self.memory.peek(0) == 2 && self.memory.peek(PAGE) == 2;
                sys::exit(if right { 7 } else { 1 });
            }
            reap(pid, 7)?;
        }
        Ok(())
    }

    fn verify(&mut self, _iterations: u64) -> Outcome {
        let ones = (0..SOME as usize).filter(|page| self.memory.peek(page * PAGE) == 1);
        ensure(ones.count() as u64 == SOME, || {
            "the child changed its parent".to_owned()
        })
    }
}

fn huge_touch() -> Outcome<Box<dyn Case>> {
    each(|| {
        let pages = (256 << 20) / PAGE;
        let memory = Mapping::fresh_untold(pages * PAGE)?;
        let dirty: u64 = (0..pages)
            .map(|page| u64::from(memory.bump(page * PAGE)))
            .sum();
        ensure(dirty == 0, || "fresh memory is not zero".to_owned())
    })
}
