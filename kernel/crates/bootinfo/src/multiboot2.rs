//! The Multiboot2 information structure: a list of tags, each a type, a size and a body on 8 bytes.
//! Reference: Multiboot2 specification 2.0, section 3.6.

use crate::bytes::{c_string_at, u8_at, u16_at, u32_at, u64_at};
use crate::{ColorField, Framebuffer, MemoryKind};

/// What a loader leaves in EAX.
pub const MAGIC: u32 = 0x36d7_6289;
/// No sane information structure is longer than this.
pub const MAX_SIZE: u32 = 1 << 20;

/// The tags that matter to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tag<'a> {
    CommandLine(&'a [u8]),
    Module {
        start: u64,
        end: u64,
        cmdline: &'a [u8],
    },
    Memory(MemoryEntries<'a>),
    Framebuffer(Framebuffer),
    /// A copy of the RSDP.
    Rsdp(&'a [u8]),
}

/// The memory-map tag's entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryEntries<'a> {
    bytes: &'a [u8],
    entry_size: usize,
}

impl MemoryEntries<'_> {
    /// Start, length and kind of each range.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, MemoryKind)> {
        self.bytes
            .chunks_exact(self.entry_size)
            .filter_map(|entry| {
                let kind = match u32_at(entry, 16)? {
                    1 => MemoryKind::Usable,
                    3 => MemoryKind::AcpiReclaimable,
                    4 => MemoryKind::AcpiNvs,
                    5 => MemoryKind::Bad,
                    _ => MemoryKind::Reserved,
                };
                Some((u64_at(entry, 0)?, u64_at(entry, 8)?, kind))
            })
    }
}

/// The tags of `info`, which starts at the structure's first byte. Ends at the end tag, at the end of the bytes, or at
/// the first tag that does not fit; tags of no interest or with a broken body are left out.
pub fn tags(info: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = info.get(8..).unwrap_or_default();
    core::iter::from_fn(move || {
        loop {
            let kind = u32_at(rest, 0)?;
            let size = usize::try_from(u32_at(rest, 4)?).ok()?;
            if kind == 0 || size < 8 {
                return None;
            }
            let tag = rest.get(..size)?;
            rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
            if let Some(tag) = decode(kind, tag) {
                return Some(tag);
            }
        }
    })
}

fn decode(kind: u32, tag: &[u8]) -> Option<Tag<'_>> {
    match kind {
        1 => Some(Tag::CommandLine(c_string_at(tag, 8))),
        3 => {
            let (start, end) = (u32_at(tag, 8)?, u32_at(tag, 12)?);
            Some(Tag::Module {
                start: start.into(),
                end: end.into(),
                cmdline: c_string_at(tag, 16),
            })
        }
        6 => {
            let entry_size = usize::try_from(u32_at(tag, 8)?).ok()?;
            (entry_size >= 20).then_some(())?;
            Some(Tag::Memory(MemoryEntries {
                bytes: tag.get(16..)?,
                entry_size,
            }))
        }
        8 => framebuffer(tag).map(Tag::Framebuffer),
        14 | 15 => Some(Tag::Rsdp(tag.get(8..)?)),
        _ => None,
    }
}

/// Only direct-colour framebuffers: type 1.
fn framebuffer(tag: &[u8]) -> Option<Framebuffer> {
    (u8_at(tag, 29)? == 1).then_some(())?;
    let field = |at| {
        Some(ColorField {
            shift: u8_at(tag, at)?,
            size: u8_at(tag, at + 1)?,
        })
    };
    let framebuffer = Framebuffer {
        phys: u64_at(tag, 8)?,
        pitch: u32_at(tag, 16)?,
        width: u32_at(tag, 20)?,
        height: u32_at(tag, 24)?,
        bits_per_pixel: u8_at(tag, 28)?,
        red: field(32)?,
        green: field(34)?,
        blue: field(36)?,
    };
    let _reserved = u16_at(tag, 30)?;
    framebuffer.is_sane().then_some(framebuffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(tags: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut out = vec![0; 8];
        for (kind, body) in tags {
            out.extend(kind.to_le_bytes());
            out.extend((8 + body.len() as u32).to_le_bytes());
            out.extend(body);
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out.extend([0, 0, 0, 0, 8, 0, 0, 0]);
        out
    }

    #[test]
    fn finds_command_line_modules_and_memory() {
        let mut module = vec![0, 0, 0x10, 0, 0, 0, 0x20, 0];
        module.extend(b"initramfs\0");
        let mut memory = vec![24, 0, 0, 0, 0, 0, 0, 0];
        memory.extend(0x1000u64.to_le_bytes());
        memory.extend(0x2000u64.to_le_bytes());
        memory.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        let info = info(&[
            (1, b"quiet\0".to_vec()),
            (99, vec![1, 2, 3]),
            (3, module),
            (6, memory),
        ]);
        let found: Vec<_> = tags(&info).collect();
        assert_eq!(found[0], Tag::CommandLine(b"quiet"));
        assert_eq!(
            found[1],
            Tag::Module {
                start: 0x10_0000,
                end: 0x20_0000,
                cmdline: b"initramfs"
            }
        );
        let Tag::Memory(entries) = found[2] else {
            panic!("no memory map")
        };
        assert_eq!(
            entries.iter().collect::<Vec<_>>(),
            [(0x1000, 0x2000, MemoryKind::Usable)]
        );
    }

    #[test]
    fn every_truncation_ends_quietly() {
        let whole = info(&[
            (1, b"quiet\0".to_vec()),
            (3, vec![0; 20]),
            (6, vec![0; 40]),
            (8, vec![1; 40]),
        ]);
        for len in 0..whole.len() {
            let _ = tags(&whole[..len]).count();
        }
        let _ = tags(&[0xff; 64]).count();
    }
}
