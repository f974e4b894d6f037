//! Multiboot2 and PVH: the loader leaves structures in physical memory, reached through the early direct map.

use bootinfo::multiboot2::{self, Tag};
use bootinfo::pvh;

use super::BootInfo;
use crate::arch::{early, layout};

/// Both protocols load the image at the addresses that it asks for.
const KERNEL_PHYS: u64 = 0x20_0000;

/// Called by `entry32.s` with EAX and EBX as the loader left them.
#[unsafe(no_mangle)]
extern "C" fn handover_main(magic: u32, info: u32) -> ! {
    let info = u64::from(info);
    if magic == multiboot2::MAGIC {
        super::fill(|boot| from_multiboot2(boot, info));
    } else {
        let start = physical(info, pvh::START_INFO_SIZE as u64);
        match start.and_then(pvh::StartInfo::parse) {
            Some(start) => super::fill(|boot| from_pvh(boot, &start)),
            None => early::halt("started by neither Multiboot2, PVH nor Limine"),
        }
    }
    crate::start()
}

fn from_multiboot2(boot: &mut BootInfo, address: u64) {
    boot.protocol = "multiboot2";
    boot.kernel_phys = KERNEL_PHYS;
    let size = physical(address, 8)
        .and_then(|b| b.first_chunk::<4>())
        .map(|b| u32::from_le_bytes(*b));
    let Some(size @ 8..=multiboot2::MAX_SIZE) = size else {
        early::halt("the Multiboot2 information is corrupt");
    };
    for tag in multiboot2::tags(physical(address, size.into()).unwrap_or_default()) {
        match tag {
            Tag::CommandLine(text) => boot.cmdline.set(text),
            Tag::Module {
                start,
                end,
                cmdline,
            } => {
                boot.add_module(start, end.saturating_sub(start), cmdline);
            }
            Tag::Memory(entries) => {
                entries
                    .iter()
                    .for_each(|(start, len, kind)| boot.memory_map.add(start, len, kind));
            }
            Tag::Framebuffer(fb) => boot.framebuffer = Some(fb),
            // The copy of a newer root pointer is the longer one.
            Tag::Rsdp(bytes) if boot.rsdp.is_none() || bytes.len() >= 36 => {
                boot.rsdp = super::keep_rsdp(bytes, KERNEL_PHYS);
            }
            Tag::Rsdp(_) => {}
        }
    }
    if boot.memory_map.ranges().is_empty() {
        early::halt("the boot loader gave no memory map");
    }
}

fn from_pvh(boot: &mut BootInfo, start: &pvh::StartInfo) {
    boot.protocol = "pvh";
    boot.kernel_phys = KERNEL_PHYS;
    boot.rsdp = (start.rsdp != 0).then_some(start.rsdp);
    boot.cmdline.set(c_string(
        start.cmdline,
        bootinfo::cmdline::MAX_LEN as u64 + 1,
    ));
    let entries = u64::from(start.memory_map_entries) * pvh::MEMORY_ENTRY_SIZE as u64;
    for (start, len, kind) in
        pvh::memory_map(physical(start.memory_map, entries).unwrap_or_default())
    {
        boot.memory_map.add(start, len, kind);
    }
    if boot.memory_map.ranges().is_empty() {
        early::halt("the boot loader gave no memory map");
    }
    let modules = u64::from(start.module_count) * pvh::MODULE_SIZE as u64;
    for module in pvh::modules(physical(start.modules, modules).unwrap_or_default()) {
        boot.add_module(module.start, module.len, c_string(module.cmdline, 128));
    }
}

/// Bytes of physical memory, if they lie where the entry mapped memory for sure.
fn physical(address: u64, len: u64) -> Option<&'static [u8]> {
    let end = address.checked_add(len)?;
    if address == 0 || end > 4 << 30 {
        return None;
    }
    let pointer = (layout::DIRECT_MAP + address) as *const u8;
    // SAFETY: the first 4 GiB are in the direct map (entry32.s); nothing writes there before `mm` starts, by when all
    // that is needed has been copied. Where there is no RAM the bytes read as anything, which the parsers bear.
    Some(unsafe { core::slice::from_raw_parts(pointer, len as usize) })
}

/// A NUL-terminated string in physical memory, at most `max` bytes of it.
fn c_string(address: u64, max: u64) -> &'static [u8] {
    let bytes = physical(address, max).unwrap_or_default();
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}
