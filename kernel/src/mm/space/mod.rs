//! Address spaces: the map of areas, the page tables, and the calls that change them.
//!
//! | module | what |
//! |---|---|
//! | this | [`AddressSpace`], its counters and its end |
//! | `content` | what an area shows |
//! | `layout` | where things go: mmap base, break, exec's ranges |
//! | `map` | `mmap`, `munmap`, `brk`, stack growth |
//! | `protect` | `mprotect` |
//! | `remap` | `mremap` |
//! | `advise` | `madvise`, `mincore`, `msync` |
//! | `lock` | `mlock` and its family |
//! | `fault` | bringing a page in |
//! | `tables` | zapping, unsharing, splitting: what happens to page tables |
//! | `fork` | copying a space, with shared last-level tables |
//! | `dump` | pages for a core dump |
//! | `remote` | access by other processes, futex keys |
//! | `mappers` | which spaces map an object |
//! | `info` | what `/proc` shows |
//!
//! # Lock order
//! ```text
//! an inode's lock (VFS)
//!   the map of a space (sleeping; a fault takes it shared)
//!     a directory's frame lock
//!       a last-level table's frame lock
//!         a page cache's index
//!         a huge block's frame lock
//!     an object's list of mappers
//! ```
//! A fault never takes an inode's lock.

mod advise;
mod content;
mod dump;
mod fault;
mod fork;
mod info;
mod layout;
mod lock;
mod map;
mod mappers;
mod protect;
mod remap;
mod remote;
mod tables;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use abi::mman::{MapFlags, Prot};
use abi::{Errno, Result};
use vm::{VmFlags, VmaMap};

pub use content::{Area, Shown};
pub use info::{SmapsInfo, VmaInfo};
pub use layout::{ExecInfo, MDWE_NO_INHERIT, MDWE_REFUSE_EXEC_GAIN};
pub use mappers::Mappers;
pub use remote::FutexKey;

use super::object::{MappedFile, MemoryObject};
use super::page_table::tlb::{self, SpaceCpus};
use super::page_table::{Root, Table};
use crate::sync::RwLock;

/// `vm.max_map_count`.
pub const MAX_AREAS: usize = 65530;

/// What a new mapping shows.
#[derive(Clone)]
pub enum Backing {
    /// Zeros until written. `MAP_SHARED` of it is turned into an object by [`AddressSpace::map`].
    Anon,
    /// Pages of an object from byte `offset` (page-aligned) on.
    File {
        object: Arc<dyn MemoryObject>,
        offset: u64,
        file: Option<Arc<dyn MappedFile>>,
    },
}

/// A call of `mmap`, or exec's equivalent.
pub struct MapRequest {
    /// Hint, or with `FIXED` the place.
    pub addr: usize,
    pub len: usize,
    pub prot: Prot,
    /// What `mprotect` may add later: less than all for a shared mapping of a file opened read-only.
    pub max_prot: Prot,
    pub flags: MapFlags,
    pub backing: Backing,
}

/// Resident pages by kind, and page tables. Relaxed counters: only sums are looked at.
#[derive(Default)]
struct Counts {
    anon: AtomicI64,
    file: AtomicI64,
    shmem: AtomicI64,
    tables: AtomicI64,
    peak_rss: AtomicU64,
}

/// The areas and what goes with them.
pub(crate) struct Map {
    areas: VmaMap<Shown>,
    layout: layout::Layout,
    /// Pages mapped.
    total: u64,
    peak_total: u64,
    /// Pages that count towards RLIMIT_DATA: private, writable, not a stack.
    data: u64,
    /// Pages of locked areas.
    locked: u64,
    /// Pages promised.
    promised: u64,
    /// What `mlockall(MCL_FUTURE)` adds to new areas.
    lock_future: VmFlags,
    auxv: Vec<u64>,
}

/// A user address space.
///
/// # Invariants
/// - Every page that a table maps lies in an area of `map`, with rights that the area allows.
/// - `cpus` holds every CPU that has `root` loaded.
pub struct AddressSpace {
    id: u64,
    me: Weak<AddressSpace>,
    root: Root,
    cpus: SpaceCpus,
    map: RwLock<Map>,
    counts: Counts,
    /// No huge pages from now on.
    no_huge: AtomicBool,
    /// `PR_SET_MDWE`: `MDWE_*` bits.
    mdwe: AtomicU32,
    /// The chain of this space's upper tables (by `link`), so that its end need not search for them.
    upper: AtomicU32,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl AddressSpace {
    /// An empty one.
    pub fn new() -> Result<Arc<AddressSpace>> {
        Self::with_map(Map {
            areas: VmaMap::new(),
            layout: layout::Layout::default(),
            total: 0,
            peak_total: 0,
            data: 0,
            locked: 0,
            promised: 0,
            lock_future: VmFlags::empty(),
            auxv: Vec::new(),
        })
    }

    fn with_map(map: Map) -> Result<Arc<AddressSpace>> {
        let root = Root::new()?;
        Ok(Arc::new_cyclic(|me| AddressSpace {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            me: me.clone(),
            root,
            cpus: SpaceCpus::default(),
            map: RwLock::new(map),
            counts: Counts::default(),
            no_huge: AtomicBool::new(false),
            mdwe: AtomicU32::new(0),
            upper: AtomicU32::new(0),
        }))
    }

    /// A number that no other space since boot has had.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The CPUs that have it loaded.
    #[inline(always)]
    pub(super) fn cpus(&self) -> &SpaceCpus {
        &self.cpus
    }

    /// The page tables.
    #[inline(always)]
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    fn weak(&self) -> Weak<AddressSpace> {
        self.me.clone()
    }

    /// The directory (table of 2 MiB entries) for an address, made if need be.
    #[inline(always)]
    fn make_directory(&self, address: usize) -> Result<Table> {
        match self.root.directory(address) {
            Some(directory) => Ok(directory),
            None => self.new_directory(address),
        }
    }

    #[cold]
    fn new_directory(&self, address: usize) -> Result<Table> {
        self.root
            .make_directory(address, &mut |table| self.adopt_upper(table))
            .ok_or(Errno::ENOMEM)
    }

    /// Notes a new upper table.
    fn adopt_upper(&self, table: Table) {
        self.counts.tables.fetch_add(1, Ordering::Relaxed);
        let mut first = self.upper.load(Ordering::Relaxed);
        loop {
            table.meta().link.store(first, Ordering::Relaxed);
            match self.upper.compare_exchange_weak(
                first,
                table.pfn(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Resident pages.
    fn rss(&self) -> u64 {
        let sum = self.counts.anon.load(Ordering::Relaxed)
            + self.counts.file.load(Ordering::Relaxed)
            + self.counts.shmem.load(Ordering::Relaxed);
        sum.max(0) as u64
    }

    /// Keeps the high-water mark; before pages go, and when asked.
    fn note_peak(&self) -> u64 {
        let rss = self.rss();
        let peak = self.counts.peak_rss.load(Ordering::Relaxed);
        if rss > peak {
            self.counts.peak_rss.store(rss, Ordering::Relaxed);
        }
        rss.max(peak)
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        tlb::evict(self);
        self.release_all();
    }
}
