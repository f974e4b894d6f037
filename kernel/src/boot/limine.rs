//! The Limine boot protocol: requests in a section of their own, which the loader answers in place.

use ::limine::BaseRevision;
use ::limine::memory_map::EntryType;
use ::limine::request::{
    ExecutableAddressRequest, ExecutableCmdlineRequest, ExecutableFileRequest, FramebufferRequest,
    HhdmRequest, MemoryMapRequest, ModuleRequest, RequestsEndMarker, RequestsStartMarker,
    RsdpRequest,
};
use bootinfo::{ColorField, Framebuffer, MemoryKind};

use super::BootInfo;
use crate::arch::{early, layout};

// SAFETY (all link sections below): the linker script keeps these sections, in this order, in writable data.
#[used]
#[unsafe(link_section = ".limine_requests_start")]
static START: RequestsStartMarker = RequestsStartMarker::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static BASE_REVISION: BaseRevision = BaseRevision::with_revision(2);
#[used]
#[unsafe(link_section = ".limine_requests")]
static HHDM: HhdmRequest = HhdmRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static ADDRESS: ExecutableAddressRequest = ExecutableAddressRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static MEMORY_MAP: MemoryMapRequest = MemoryMapRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static CMDLINE: ExecutableCmdlineRequest = ExecutableCmdlineRequest::new();
/// Older loaders tell the command line only with the kernel's file.
#[used]
#[unsafe(link_section = ".limine_requests")]
static FILE: ExecutableFileRequest = ExecutableFileRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static MODULES: ModuleRequest = ModuleRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static FRAMEBUFFER: FramebufferRequest = FramebufferRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests")]
static RSDP: RsdpRequest = RsdpRequest::new();
#[used]
#[unsafe(link_section = ".limine_requests_end")]
static END: RequestsEndMarker = RequestsEndMarker::new();

/// Called by `limine_entry` on the kernel's own boot stack.
#[unsafe(no_mangle)]
extern "C" fn limine_main() -> ! {
    if !BASE_REVISION.is_supported() {
        early::halt("boot loader too old: Limine with base revision 2 is needed");
    }
    let Some(hhdm) = HHDM.get_response() else {
        early::halt("boot loader gave no direct map");
    };
    if hhdm.offset() != layout::DIRECT_MAP {
        early::halt("boot loader put the direct map at an unexpected address");
    }
    super::fill(collect);
    crate::start()
}

fn collect(info: &mut BootInfo) {
    info.protocol = "limine";
    match ADDRESS.get_response() {
        Some(address) => info.kernel_phys = address.physical_base(),
        None => early::halt("boot loader did not say where the kernel is"),
    }
    match MEMORY_MAP.get_response() {
        Some(map) => map.entries().iter().for_each(|entry| {
            info.memory_map
                .add(entry.base, entry.length, kind_of(entry.entry_type));
        }),
        None => early::halt("boot loader gave no memory map"),
    }
    info.early_mapped = info.memory_map.ram_end();
    if let Some(response) = CMDLINE.get_response() {
        info.cmdline.set(response.cmdline().to_bytes());
    } else if let Some(response) = FILE.get_response() {
        info.cmdline.set(response.file().string().to_bytes());
    }
    for module in MODULES
        .get_response()
        .map(|r| r.modules())
        .unwrap_or_default()
    {
        let phys = (module.addr() as u64).wrapping_sub(layout::DIRECT_MAP);
        let name = match module.string().to_bytes() {
            [] => module.path().to_bytes(),
            text => text,
        };
        info.add_module(phys, module.size(), name);
    }
    info.framebuffer = FRAMEBUFFER
        .get_response()
        .and_then(|r| r.framebuffers().find_map(convert));
    // Base revisions 1 and 2 answer with an address in the direct map.
    info.rsdp = RSDP.get_response().map(|r| match r.address() as u64 {
        address if address >= layout::DIRECT_MAP => address - layout::DIRECT_MAP,
        address => address,
    });
}

fn kind_of(entry: EntryType) -> MemoryKind {
    match entry {
        EntryType::USABLE => MemoryKind::Usable,
        EntryType::BOOTLOADER_RECLAIMABLE => MemoryKind::BootReclaimable,
        EntryType::ACPI_RECLAIMABLE => MemoryKind::AcpiReclaimable,
        EntryType::ACPI_NVS => MemoryKind::AcpiNvs,
        EntryType::BAD_MEMORY => MemoryKind::Bad,
        EntryType::FRAMEBUFFER => MemoryKind::Framebuffer,
        EntryType::EXECUTABLE_AND_MODULES => MemoryKind::Modules,
        _ => MemoryKind::Reserved,
    }
}

fn convert(fb: ::limine::framebuffer::Framebuffer<'_>) -> Option<Framebuffer> {
    let field = |shift, size| ColorField { shift, size };
    let framebuffer = Framebuffer {
        phys: (fb.addr() as u64).wrapping_sub(layout::DIRECT_MAP),
        width: fb.width().try_into().ok()?,
        height: fb.height().try_into().ok()?,
        pitch: fb.pitch().try_into().ok()?,
        bits_per_pixel: fb.bpp().try_into().ok()?,
        red: field(fb.red_mask_shift(), fb.red_mask_size()),
        green: field(fb.green_mask_shift(), fb.green_mask_size()),
        blue: field(fb.blue_mask_shift(), fb.blue_mask_size()),
    };
    framebuffer.is_sane().then_some(framebuffer)
}
