//! The kernel's own symbols, for backtraces: a table in the section `.ksyms`, empty until the host tool fills it after
//! linking. Its format, little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `IBKSYM01` |
//! | 8 | 4 | number of symbols `n` |
//! | 12 | 4 | bytes of names |
//! | 16 | 8 `n` | entries in order of address: address less the image's base (4), offset of the name (4) |
//! | 16 + 8 `n` | | names, each a length byte and that many bytes of UTF-8, demangled |
//!
//! The writer is `distro/src/ksyms.rs`.

use crate::arch::layout;

/// What the section starts with once it is filled.
const MAGIC: &[u8; 8] = b"IBKSYM01";

core::arch::global_asm!(".section .ksyms, \"a\", @progbits", ".skip 786432");

/// The symbol that contains `address`, and how far into it the address is.
pub fn find(address: u64) -> Option<(&'static str, u64)> {
    find_sized(address).map(|(name, offset, _)| (name, offset))
}

/// The same with the symbol's size: up to the next one.
pub fn find_sized(address: u64) -> Option<(&'static str, u64, u64)> {
    let table = layout::ksyms();
    if table.get(..8)? != MAGIC {
        return None;
    }
    let count = word(table, 8)? as usize;
    let entries = table.get(16..16 + count.checked_mul(8)?)?;
    let wanted = u32::try_from(address.checked_sub(layout::image_start())?).ok()?;
    let mut low = 0;
    let mut high = count;
    while low < high {
        let middle = low + (high - low) / 2;
        if word(entries, middle * 8)? <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let entry = low.checked_sub(1)? * 8;
    let start = word(entries, entry)?;
    let names = table.get(16 + count * 8..)?;
    let at = word(entries, entry + 4)? as usize;
    let len = usize::from(*names.get(at)?);
    let name = core::str::from_utf8(names.get(at + 1..at + 1 + len)?).ok()?;
    let end = word(entries, entry + 8).unwrap_or(wanted);
    Some((name, u64::from(wanted - start), u64::from(end - start)))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}
