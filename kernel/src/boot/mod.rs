//! How the kernel was started, whoever started it.
//!
//! | module | what |
//! |---|---|
//! | `entry32.s` | the Multiboot2 and PVH headers, the 32-bit entry, the ELF's entry |
//! | `limine` | the Limine boot protocol: requests and their answers |
//! | `handover` | Multiboot2 and PVH: structures in physical memory |
//!
//! Each way in fills the one [`BootInfo`], copying all it needs: afterwards nothing points into the loader's
//! memory, and nothing knows who booted. The decoding proper is in the crate `bootinfo`, tested on the host.
//!
//! # Invariants
//! [`info`] is filled before [`crate::start`] runs and never changes after.
//!
//! References: Limine boot protocol (base revision 2); Multiboot2 specification 2.0; Xen `start_info.h`.

mod handover;
mod limine;

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, Ordering};

use arrayvec::{ArrayString, ArrayVec};
pub use bootinfo::{CommandLine, Framebuffer, InitWord, MemoryKind, MemoryMap, MemoryRange};
use ksync::SpinLock;
use spin::Once;

use crate::arch::layout;
use crate::mm::{PAGE_SIZE, PhysAddr, frame};

core::arch::global_asm!(include_str!("entry32.s"), options(att_syntax));

/// Modules that are kept; more are left out with a warning.
pub const MAX_MODULES: usize = 16;
/// Pages taken below 1 MiB for starting other CPUs.
pub const TRAMPOLINE_PAGES: u64 = 4;

/// What the loader handed over.
#[derive(Debug)]
pub struct BootInfo {
    /// The loader's protocol: `limine`, `multiboot2` or `pvh`.
    pub protocol: &'static str,
    /// Physical memory: sorted, disjoint, page-aligned; what the kernel, modules and loader occupy is marked.
    pub memory_map: MemoryMap,
    pub cmdline: CommandLine,
    pub modules: ArrayVec<Module, MAX_MODULES>,
    /// Modules that were passed but could not be kept.
    pub modules_dropped: usize,
    pub framebuffer: Option<Framebuffer>,
    /// Physical address of the ACPI root pointer.
    pub rsdp: Option<u64>,
    /// Where the kernel image lies in physical memory.
    pub kernel_phys: u64,
    /// Physical memory below this can be reached through the direct map already, before `mm` builds its own tables.
    pub early_mapped: u64,
    /// Four low pages for starting other CPUs, if there are any.
    pub trampoline: Option<u64>,
}

/// A boot module: bytes in physical memory.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    pub phys: u64,
    pub len: u64,
    /// Its own command line, or its path if it has none.
    pub cmdline: ArrayString<128>,
}

impl BootInfo {
    const fn new() -> BootInfo {
        BootInfo {
            protocol: "none",
            memory_map: MemoryMap::new(),
            cmdline: CommandLine::new(),
            modules: ArrayVec::new_const(),
            modules_dropped: 0,
            framebuffer: None,
            rsdp: None,
            kernel_phys: 0,
            early_mapped: 4 << 30,
            trampoline: None,
        }
    }

    /// Bytes of the kernel image in memory, `.bss` and symbols included.
    pub fn kernel_len(&self) -> u64 {
        layout::image_len()
    }

    fn add_module(&mut self, phys: u64, len: u64, cmdline: &[u8]) {
        let mut name = ArrayString::new();
        for c in cmdline
            .utf8_chunks()
            .flat_map(|chunk| chunk.valid().chars())
        {
            if name.try_push(c).is_err() {
                break;
            }
        }
        let sane = phys != 0 && len != 0 && phys.checked_add(len).is_some_and(|end| end <= 1 << 46);
        if !sane
            || self
                .modules
                .try_push(Module {
                    phys,
                    len,
                    cmdline: name,
                })
                .is_err()
        {
            self.modules_dropped += 1;
        }
    }

    /// Marks what is in use and makes the map: the last step of each way in.
    fn finish(&mut self) {
        let (kernel_phys, kernel_len) = (self.kernel_phys, self.kernel_len());
        // The first 64 KiB belong to firmware in practice, whatever it says.
        self.memory_map.add(0, 0x1_0000, MemoryKind::Reserved);
        self.memory_map
            .add(kernel_phys, kernel_len, MemoryKind::Kernel);
        for module in &self.modules {
            self.memory_map
                .add(module.phys, module.len, MemoryKind::Modules);
        }
        if let Some(fb) = self.framebuffer {
            self.memory_map
                .add(fb.phys, fb.len(), MemoryKind::Framebuffer);
        }
        self.memory_map.finish();
        self.trampoline =
            self.memory_map
                .take_below(0xa_0000, TRAMPOLINE_PAGES, MemoryKind::Trampoline);
    }
}

static INFO: Once<BootInfo> = Once::new();
/// A copy of the RSDP where the loader passes one by value.
static RSDP_COPY: SpinLock<[u8; 36]> = SpinLock::new([0; 36]);

/// What the loader handed over.
pub fn info() -> &'static BootInfo {
    INFO.get()
        .expect("each way in fills it before the kernel starts")
}

/// The same, for code that may run before.
pub fn try_info() -> Option<&'static BootInfo> {
    INFO.get()
}

/// Modules that have been consumed, a bit each in their order.
static CONSUMED: AtomicU32 = AtomicU32::new(0);

/// Consumes the module with this index, once: runs `f` on what is left of it until it breaks, which gives the answer;
/// `None` if there is no such module any more. A step that goes on says how many bytes it is done with, and their memory
/// goes to the allocator at once, so that a large archive and what is unpacked from it need not both fit.
pub fn consume_module<R>(
    index: usize,
    mut f: impl FnMut(&[u8]) -> ControlFlow<R, usize>,
) -> Option<R> {
    let module = info().modules.get(index)?;
    let bit = 1 << index;
    if CONSUMED.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return None;
    }
    let (mut start, end) = (module.phys, module.phys + module.len);
    // Where the memory begins that is still the module's: `start`, less its part of a page that is in use.
    let mut kept = start;
    loop {
        let address = layout::DIRECT_MAP as usize + start as usize;
        // SAFETY: the memory map marks modules as such, so their memory has not been given out, and the direct map covers
        // all of RAM from the start. The bit makes this the only call, and what it has released lies before `start`.
        let left =
            unsafe { core::slice::from_raw_parts(address as *const u8, (end - start) as usize) };
        let (next, result) = match f(left) {
            ControlFlow::Continue(done) => (start.saturating_add(done as u64).min(end), None),
            ControlFlow::Break(result) => (end, Some(result)),
        };
        // SAFETY: the borrow above is over, later ones begin at `next`, and `kept` is where the last release ended.
        unsafe { frame::release_range(PhysAddr(kept), PhysAddr(next)) };
        (start, kept) = (next, kept.max(next & !(PAGE_SIZE as u64 - 1)));
        if result.is_some() {
            return result;
        }
    }
}

/// Runs `fill` on the empty information and completes it.
fn fill(fill: impl FnOnce(&mut BootInfo)) {
    INFO.call_once(|| {
        let mut info = BootInfo::new();
        fill(&mut info);
        info.finish();
        info
    });
}

/// Keeps a copy of the RSDP and answers its physical address.
fn keep_rsdp(bytes: &[u8], kernel_phys: u64) -> Option<u64> {
    let mut copy = RSDP_COPY.lock();
    let len = bytes.len().min(copy.len());
    if len < 20 {
        return None;
    }
    copy[..len].copy_from_slice(&bytes[..len]);
    let virt = copy.as_ptr() as u64;
    Some(virt - layout::image_start() + kernel_phys)
}
