//! Address spaces: the map of areas, the page tables, and the calls that change them.
//!
//! | module | what |
//! |---|---|
//! | this | [`AddressSpace`], its counters and its end |
//! | `concurrency` | numbers of threads that run at the same time |
//! | `content` | what an area shows |
//! | `layout` | where things go: mmap base, break, exec's ranges |
//! | `map` | `mmap`, `munmap`, `brk`, stack growth |
//! | `detach` | `shmdt`, `process_mrelease` |
//! | `protect` | `mprotect` |
//! | `remap` | `mremap` |
//! | `advise` | `madvise`, `mincore`, `msync` |
//! | `lock` | `mlock` and its family |
//! | `collapse` | `MADV_COLLAPSE` |
//! | `refs` | `clear_refs` and `pagemap` |
//! | `fault` | bringing a page in |
//! | `tables` | zapping, unsharing, splitting: what happens to page tables |
//! | `fork` | copying a space, with shared last-level tables |
//! | `dump` | pages for a core dump |
//! | `remote` | access by other processes, futex keys |
//! | `names` | names of anonymous areas |
//! | `pkeys` | protection keys |
//! | `policy` | `mbind` |
//! | `forced` | access by debuggers |
//! | `mappers` | which spaces map an object |
//! | `uffd` | ranges of which a userfaultfd is asked for pages |
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
mod collapse;
mod concurrency;
mod content;
mod detach;
mod dump;
mod fault;
mod forced;
mod fork;
mod info;
mod layout;
mod lock;
mod map;
mod mappers;
mod names;
mod pkeys;
mod policy;
mod protect;
mod refs;
mod remap;
mod remote;
mod tables;
mod uffd;

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
pub use refs::{PageState, Referenced};
pub use remote::FutexKey;
pub use uffd::{Answer, WatchedFault, Watcher, check_range};

use super::object::{MappedFile, MemoryObject};
use super::page_table::tlb::{self, SpaceTlb};
use super::page_table::{Root, Table};
use crate::sync::RwLock;
use crate::sync::census::{self, Live};

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
    /// The protection key of the new area.
    pub pkey: u8,
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
    /// Some area was sealed: only then is it looked for.
    any_sealed: bool,
    /// What `mlockall(MCL_FUTURE)` adds to new areas.
    lock_future: VmFlags,
    auxv: Vec<u64>,
    keys: pkeys::Keys,
    watchers: uffd::Watchers,
    names: names::Names,
}

/// A user address space.
///
/// # Invariants
/// - Every page that a table maps lies in an area of `map`, with rights that the area allows.
/// - `tlb` holds every CPU that has `root` loaded.
pub struct AddressSpace {
    id: u64,
    _live: Live<{ census::SPACES }>,
    me: Weak<AddressSpace>,
    root: Root,
    tlb: SpaceTlb,
    map: RwLock<Map>,
    counts: Counts,
    /// No huge pages from now on.
    no_huge: AtomicBool,
    /// `PR_SET_MDWE`: `MDWE_*` bits.
    mdwe: AtomicU32,
    /// The chain of this space's upper tables (by `link`), so that its end need not search for them.
    upper: AtomicU32,
    concurrency: concurrency::Concurrency,
    /// What `membarrier(2)` was told to expect: its REGISTER commands.
    barriers: AtomicU32,
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
            any_sealed: false,
            lock_future: VmFlags::empty(),
            auxv: Vec::new(),
            keys: pkeys::Keys::default(),
            watchers: uffd::Watchers::default(),
            names: names::Names::default(),
        })
    }

    fn with_map(map: Map) -> Result<Arc<AddressSpace>> {
        let root = Root::new()?;
        Ok(Arc::new_cyclic(|me| AddressSpace {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            _live: Live::new(),
            me: me.clone(),
            root,
            tlb: SpaceTlb::default(),
            map: RwLock::new(map),
            counts: Counts::default(),
            no_huge: AtomicBool::new(false),
            mdwe: AtomicU32::new(0),
            upper: AtomicU32::new(0),
            concurrency: concurrency::Concurrency::default(),
            barriers: AtomicU32::new(0),
        }))
    }

    /// A number that no other space since boot has had.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The numbers of its threads that run.
    pub fn concurrency(&self) -> &concurrency::Concurrency {
        &self.concurrency
    }

    /// The registrations of `membarrier(2)`. They concern the memory: a fork copies them, exec's new space has none.
    pub fn barriers(&self) -> &AtomicU32 {
        &self.barriers
    }

    /// Where its translations may be.
    #[inline(always)]
    pub(super) fn tlb(&self) -> &SpaceTlb {
        &self.tlb
    }

    /// Whether one task alone runs in it, or none any more: then nobody else can come to run in it either.
    #[inline]
    fn has_one_user(&self) -> bool {
        self.me.strong_count() <= 1
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
