//! Resource limits.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::sync::IrqSpinLock;

/// No limit.
pub const INFINITY: u64 = u64::MAX;
const COUNT: usize = 16;

/// A resource of `getrlimit(2)`; the values are the ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum Resource {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

impl Resource {
    /// The resource with this number.
    pub fn from_raw(value: u32) -> Option<Resource> {
        use Resource::*;
        [
            Cpu, Fsize, Data, Stack, Core, Rss, Nproc, Nofile, Memlock, As, Locks, Sigpending,
            Msgqueue, Nice, Rtprio, Rttime,
        ]
        .get(value as usize)
        .copied()
    }
}

/// A soft and a hard limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: u64,
    /// How far the soft one may be raised.
    pub hard: u64,
}

/// The limits of one process. Soft limits are read without a lock, on hot paths.
pub struct Rlimits {
    soft: [AtomicU64; COUNT],
    /// Read by the tick too, for RLIMIT_CPU.
    hard: IrqSpinLock<[u64; COUNT]>,
}

/// How many threads a machine with so much memory is to have.
pub fn threads_max(ram_bytes: u64) -> u64 {
    // One costs its stack and structures; Linux lets them take an eighth of memory.
    (ram_bytes / (8 * 32 * 1024)).clamp(20, 1 << 22)
}

impl Rlimits {
    /// What init starts with, given the machine's memory: Linux's defaults.
    pub fn initial(ram_bytes: u64) -> Rlimits {
        let tasks = threads_max(ram_bytes) / 2;
        let mut limits = [Rlimit {
            soft: INFINITY,
            hard: INFINITY,
        }; COUNT];
        let mut set = |resource: Resource, soft, hard| {
            limits[resource as usize] = Rlimit { soft, hard };
        };
        set(Resource::Stack, 8 << 20, INFINITY);
        set(Resource::Core, 0, INFINITY);
        set(Resource::Nproc, tasks, tasks);
        set(Resource::Nofile, 1024, 4096);
        set(Resource::Memlock, 8 << 20, 8 << 20);
        set(Resource::Sigpending, tasks, tasks);
        set(Resource::Msgqueue, 819_200, 819_200);
        set(Resource::Nice, 0, 0);
        set(Resource::Rtprio, 0, 0);
        Rlimits::from_array(&limits)
    }

    fn from_array(limits: &[Rlimit; COUNT]) -> Rlimits {
        Rlimits {
            soft: core::array::from_fn(|i| AtomicU64::new(limits[i].soft)),
            hard: IrqSpinLock::new(core::array::from_fn(|i| limits[i].hard)),
        }
    }

    /// A copy, for a child.
    pub fn fork(&self) -> Rlimits {
        let hard = *self.hard.lock();
        Rlimits {
            soft: core::array::from_fn(|i| AtomicU64::new(self.soft[i].load(Ordering::Relaxed))),
            hard: IrqSpinLock::new(hard),
        }
    }

    /// The soft limit.
    #[inline]
    pub fn soft(&self, resource: Resource) -> u64 {
        self.soft[resource as usize].load(Ordering::Relaxed)
    }

    /// Both limits.
    pub fn get(&self, resource: Resource) -> Rlimit {
        let hard = self.hard.lock();
        Rlimit {
            soft: self.soft(resource),
            hard: hard[resource as usize],
        }
    }

    /// Moves the soft limit up, past the hard one if need be: the kernel's own doing.
    pub fn raise_soft(&self, resource: Resource, by: u64) {
        let soft = &self.soft[resource as usize];
        soft.store(
            soft.load(Ordering::Relaxed).saturating_add(by),
            Ordering::Relaxed,
        );
    }

    /// Replaces both limits if `check` agrees to going from the old to the new ones.
    ///
    /// # Errors
    /// What `check` answers.
    pub fn set(
        &self,
        resource: Resource,
        new: Rlimit,
        check: impl FnOnce(Rlimit) -> abi::Result<()>,
    ) -> abi::Result<()> {
        let mut hard = self.hard.lock();
        check(Rlimit {
            soft: self.soft(resource),
            hard: hard[resource as usize],
        })?;
        hard[resource as usize] = new.hard;
        self.soft[resource as usize].store(new.soft, Ordering::Relaxed);
        Ok(())
    }
}
