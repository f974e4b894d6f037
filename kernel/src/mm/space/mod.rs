//! Address spaces.

use alloc::sync::Arc;

use abi::mman::{MapFlags, Prot, RemapFlags};
use abi::{Errno, Result};

use super::object::{MappedFile, MemoryObject, SpecialMapping};

/// What a mapping shows.
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
    /// Pages of the kernel.
    Special(Arc<SpecialMapping>),
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

/// Ranges that exec lays down and `/proc/<pid>/{stat,cmdline,environ,auxv}` and `prctl(PR_SET_MM)` show.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecInfo {
    pub start_code: usize,
    pub end_code: usize,
    pub start_data: usize,
    pub end_data: usize,
    pub start_brk: usize,
    pub start_stack: usize,
    pub arg_start: usize,
    pub arg_end: usize,
    pub env_start: usize,
    pub env_end: usize,
    pub vdso: usize,
}

/// Sizes for `/proc/<pid>/{stat,statm,status}`, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub total: u64,
    pub peak: u64,
    pub rss_anon: u64,
    pub rss_file: u64,
    pub rss_shmem: u64,
    pub rss_peak: u64,
    pub data: u64,
    pub stack: u64,
    pub exec: u64,
    pub locked: u64,
    pub tables: u64,
}

/// One line of `/proc/<pid>/maps`.
pub struct VmaInfo<'a> {
    pub start: usize,
    pub end: usize,
    pub prot: Prot,
    pub shared: bool,
    /// Byte offset in the object.
    pub offset: u64,
    pub file: Option<&'a Arc<dyn MappedFile>>,
    /// `[heap]`, `[stack]`, `[vdso]`, or empty.
    pub name: &'static str,
}

/// What a futex word is, whoever maps it where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FutexKey {
    /// In private memory: space and address.
    Private { space: u64, addr: usize },
    /// In shared memory: the object's address in the kernel and the byte offset in it.
    Shared { object: usize, offset: u64 },
}

/// The spaces that map an object.
#[derive(Default)]
pub struct Mappers {}

/// A user address space.
pub struct AddressSpace {}

impl AddressSpace {
    /// An empty one.
    pub fn new() -> Result<Arc<AddressSpace>> {
        Err(Errno::ENOMEM)
    }

    /// A copy for `fork`: shares pages and last-level tables copy-on-write.
    pub fn fork(&self) -> Result<Arc<AddressSpace>> {
        Err(Errno::ENOMEM)
    }

    /// Makes it the space of this CPU. The caller keeps it alive until another is activated here.
    pub fn activate(self: &Arc<Self>) {}

    /// A number that no other space since boot has had.
    pub fn id(&self) -> u64 {
        0
    }

    /// `mmap`.
    pub fn map(&self, request: MapRequest) -> Result<usize> {
        let _ = request;
        Err(Errno::ENOMEM)
    }

    /// `munmap`.
    pub fn unmap(&self, addr: usize, len: usize) -> Result<()> {
        let _ = (addr, len);
        Err(Errno::EINVAL)
    }

    /// `mprotect`.
    pub fn protect(&self, addr: usize, len: usize, prot: Prot) -> Result<()> {
        let _ = (addr, len, prot);
        Err(Errno::ENOMEM)
    }

    /// `mremap`.
    pub fn remap(
        &self,
        addr: usize,
        old_len: usize,
        new_len: usize,
        flags: RemapFlags,
        new_addr: usize,
    ) -> Result<usize> {
        let _ = (addr, old_len, new_len, flags, new_addr);
        Err(Errno::EFAULT)
    }

    /// `madvise`.
    pub fn advise(&self, addr: usize, len: usize, advice: u32) -> Result<()> {
        let _ = (addr, len, advice);
        Err(Errno::EINVAL)
    }

    /// `brk`: the break after the call.
    pub fn brk(&self, new: usize) -> usize {
        new
    }

    /// Chooses where mappings go: below a stack of at most `stack_limit` bytes, `random` bytes lower.
    pub fn set_layout(&self, stack_limit: u64, random: usize) {
        let _ = (stack_limit, random);
    }

    /// What exec laid down.
    pub fn exec_info(&self) -> ExecInfo {
        ExecInfo::default()
    }

    /// Exec's last word; `start_brk` becomes the break.
    pub fn set_exec_info(&self, info: ExecInfo) {
        let _ = info;
    }

    /// Sizes now.
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// Calls `f` for each mapping in order of address. `f` must not touch user memory of this space.
    pub fn for_each_vma(&self, f: &mut dyn FnMut(&VmaInfo<'_>)) {
        let _ = f;
    }

    /// Reads another process's memory, as ptrace, `/proc/<pid>/{mem,cmdline,environ}` do. Answers the bytes read
    /// before the first that cannot be.
    pub fn read_remote(&self, addr: usize, out: &mut [u8]) -> usize {
        let _ = (addr, out);
        0
    }

    /// Writes another process's memory; `force` also where it may only read (a debugger's breakpoint).
    pub fn write_remote(&self, addr: usize, bytes: &[u8], force: bool) -> usize {
        let _ = (addr, bytes, force);
        0
    }

    /// The identity of the futex word at `addr`. EFAULT when nothing is mapped there.
    pub fn futex_key(&self, addr: usize, private: bool) -> Result<FutexKey> {
        let _ = (addr, private);
        Err(Errno::EFAULT)
    }
}

impl AddressSpace {
    /// The start of an unused range of `len` bytes, where `mmap` would put one.
    pub fn find_room(&self, len: usize) -> Result<usize> {
        let _ = len;
        Err(Errno::ENOMEM)
    }

    /// Keeps the auxiliary vector for `/proc/<pid>/auxv`: pairs of words, AT_NULL last.
    pub fn set_auxv(&self, words: &[u64]) {
        let _ = words;
    }

    /// The largest resident set so far.
    pub fn max_rss_kib(&self) -> u64 {
        0
    }
}

/// Makes a space this CPU's, or with `None` leaves the present one in place for a kernel thread. With interrupts off or
/// by the task that replaces its own space.
pub fn switch_to(space: Option<&Arc<AddressSpace>>) {
    if let Some(space) = space {
        space.activate();
    }
}
