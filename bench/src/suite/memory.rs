//! Mappings and faults.

use super::{Case, Test};
use crate::fixture::Faults;
use crate::mapping::{Mapping, PAGE};
use crate::problem::{Outcome, ensure};

/// More than any pool of ready pages: 64 MiB.
const PAGES: u64 = 16_384;

pub static TESTS: &[Test] = &[Test::new(
    "mmap_fault",
    2 * PAGES,
    "the first write to a page of fresh private memory; mapping and unmapping 64 MiB at a time is timed with it",
    mmap_fault,
)
.granule(PAGES)
.quick()];

struct MmapFault {
    faults: Faults,
    /// Pages that were not zero.
    dirty: u64,
}

fn mmap_fault() -> Outcome<Box<dyn Case>> {
    Ok(Box::new(MmapFault {
        faults: Faults::now(),
        dirty: 0,
    }))
}

impl Case for MmapFault {
    fn run(&mut self, iterations: u64) -> Outcome {
        self.faults = Faults::now();
        self.dirty = 0;
        for _ in 0..iterations / PAGES {
            let memory = Mapping::fresh(PAGES as usize * PAGE)?;
            for page in 0..PAGES as usize {
                self.dirty += u64::from(memory.bump(page * PAGE));
            }
        }
        Ok(())
    }

    fn verify(&mut self, iterations: u64) -> Outcome {
        ensure(self.dirty == 0, || "fresh memory is not zero".to_owned())?;
        // A kernel may make several pages present with one fault, but not hundreds of small ones.
        self.faults.at_least(iterations / 64)
    }
}
