//! The ELF header and the program headers of a core file, and where its contents lie.

use alloc::vec::Vec;

use crate::{NoMemory, put};

const EHDR_SIZE: u64 = 64;
const PHDR_SIZE: u64 = 56;
/// The contents of memory begin at a page.
const PAGE: u64 = 4096;

const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Rights of a segment.
pub const PF_X: u32 = 1;
/// See [`PF_X`].
pub const PF_W: u32 = 2;
/// See [`PF_X`].
pub const PF_R: u32 = 4;

/// A piece of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    pub addr: u64,
    pub memory_len: u64,
    /// How much of it, from its start, is in the file.
    pub file_len: u64,
    /// `PF_*`.
    pub flags: u32,
}

/// Bytes from the file's start to the first piece's contents.
pub fn contents_offset(segments: usize, notes_len: usize) -> u64 {
    let headers = EHDR_SIZE + PHDR_SIZE * (segments as u64 + 1);
    (headers + notes_len as u64).next_multiple_of(PAGE)
}

/// The headers; notes follow them at once, and the contents of each piece from [`contents_offset`] on.
///
/// # Errors
/// When there is no memory for them.
pub fn headers(segments: &[Segment], notes_len: usize) -> Result<Vec<u8>, NoMemory> {
    let mut out = Vec::new();
    let count = segments.len() as u64 + 1;
    put(&mut out, &ehdr(count as u16))?;
    let notes_offset = EHDR_SIZE + PHDR_SIZE * count;
    let notes = Segment {
        addr: 0,
        memory_len: 0,
        file_len: notes_len as u64,
        flags: 0,
    };
    put(&mut out, &phdr(PT_NOTE, notes_offset, &notes, 4))?;
    let mut offset = contents_offset(segments.len(), notes_len);
    for segment in segments {
        put(&mut out, &phdr(PT_LOAD, offset, segment, PAGE))?;
        offset = offset.saturating_add(segment.file_len);
    }
    Ok(out)
}

fn ehdr(phdrs: u16) -> [u8; EHDR_SIZE as usize] {
    let mut out = [0; EHDR_SIZE as usize];
    // 64 bits, little-endian, version 1.
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    out[16..18].copy_from_slice(&ET_CORE.to_le_bytes());
    out[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
    out[20] = 1;
    out[32..40].copy_from_slice(&EHDR_SIZE.to_le_bytes());
    out[52..54].copy_from_slice(&(EHDR_SIZE as u16).to_le_bytes());
    out[54..56].copy_from_slice(&(PHDR_SIZE as u16).to_le_bytes());
    out[56..58].copy_from_slice(&phdrs.to_le_bytes());
    out
}

fn phdr(kind: u32, offset: u64, segment: &Segment, align: u64) -> [u8; PHDR_SIZE as usize] {
    let mut out = [0; PHDR_SIZE as usize];
    out[..4].copy_from_slice(&kind.to_le_bytes());
    out[4..8].copy_from_slice(&segment.flags.to_le_bytes());
    let words = [
        offset,
        segment.addr,
        0,
        segment.file_len,
        segment.memory_len,
        align,
    ];
    for (slot, word) in out[8..].chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn contents_follow_each_other_from_a_page_on() {
        let piece = |addr, file_len| Segment {
            addr,
            memory_len: 0x3000,
            file_len,
            flags: PF_R | PF_W,
        };
        let segments = [
            piece(0x1000, 0x3000),
            piece(0x9000, 0),
            piece(0xf000, 0x1000),
        ];
        let out = headers(&segments, 1000).unwrap();
        assert_eq!(out.len(), 64 + 56 * 4);
        assert_eq!(out[56], 4);
        assert_eq!(contents_offset(3, 1000), 0x1000);
        // The notes lie right behind the headers.
        assert_eq!(word(&out, 64 + 8), out.len() as u64);
        assert_eq!(word(&out, 64 + 32), 1000);
        let offsets: std::vec::Vec<u64> = (1..4)
            .map(|index| word(&out, 64 + 56 * index + 8))
            .collect();
        assert_eq!(offsets, [0x1000, 0x4000, 0x4000]);
        assert_eq!(word(&out, 64 + 56 + 16), 0x1000);
        assert_eq!(out[64 + 56 + 4], 6);
        assert_eq!(contents_offset(3, 4096), 0x2000);
    }
}
