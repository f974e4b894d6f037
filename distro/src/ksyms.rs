//! The kernel's symbol table for its backtraces: written into the section `.ksyms` of the linked image, which the
//! kernel reserves. The format is told in `kernel/src/ksyms.rs`, which reads it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use goblin::elf::Elf;
use goblin::elf::section_header::SHF_EXECINSTR;
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE, Sym};

const MAGIC: &[u8; 8] = b"IBKSYM01";
/// Names longer than this are cut: a length byte, and lines that can be read.
const MAX_NAME: usize = 120;

/// Fills the section `.ksyms` of the kernel at `elf_path` with the functions of its symbol table. Running it again
/// gives the same bytes.
pub fn embed(elf_path: &Path) -> Result<()> {
    let mut image =
        std::fs::read(elf_path).with_context(|| format!("reading {}", elf_path.display()))?;
    let (range, base, functions) = {
        let elf =
            Elf::parse(&image).with_context(|| format!("{} is no ELF file", elf_path.display()))?;
        (section(&elf)?, base(&elf)?, functions(&elf))
    };
    let table = encode(base, &functions, range.len())?;
    let slot = image
        .get_mut(range)
        .context("the section .ksyms lies outside of the file")?;
    slot.fill(0);
    slot[..table.len()].copy_from_slice(&table);
    std::fs::write(elf_path, image).with_context(|| format!("writing {}", elf_path.display()))
}

/// The kernel's functions by address.
pub fn names(elf_path: &Path) -> Result<BTreeMap<u64, String>> {
    let image =
        std::fs::read(elf_path).with_context(|| format!("reading {}", elf_path.display()))?;
    let elf =
        Elf::parse(&image).with_context(|| format!("{} is no ELF file", elf_path.display()))?;
    Ok(functions(&elf))
}

/// Where the section lies in the file.
fn section(elf: &Elf<'_>) -> Result<std::ops::Range<usize>> {
    let found = elf
        .section_headers
        .iter()
        .find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(".ksyms"));
    let range = found.and_then(goblin::elf::SectionHeader::file_range);
    range.context("the kernel has no section .ksyms")
}

/// The lowest address of the image, from which the kernel counts.
fn base(elf: &Elf<'_>) -> Result<u64> {
    let loads = elf
        .program_headers
        .iter()
        .filter(|p| p.p_type == goblin::elf::program_header::PT_LOAD);
    loads
        .map(|p| p.p_vaddr)
        .min()
        .context("the kernel has no segments")
}

/// Whether a symbol names code. Those of assembly have no type unless it gives them one.
fn is_code(elf: &Elf<'_>, symbol: &Sym) -> bool {
    let executable = || {
        let section = elf.section_headers.get(symbol.st_shndx);
        section.is_some_and(|s| s.sh_flags & u64::from(SHF_EXECINSTR) != 0)
    };
    match symbol.st_type() {
        STT_FUNC => true,
        STT_NOTYPE => executable(),
        _ => false,
    }
}

/// Address and demangled name of each function; the shortest name where several share an address.
fn functions(elf: &Elf<'_>) -> BTreeMap<u64, String> {
    let mut found: BTreeMap<u64, String> = BTreeMap::new();
    for symbol in elf
        .syms
        .iter()
        .filter(|s| s.st_value != 0 && is_code(elf, s))
    {
        let Some(name) = elf.strtab.get_at(symbol.st_name) else {
            continue;
        };
        let name = cut(format!("{:#}", rustc_demangle::demangle(name)));
        let known = found.entry(symbol.st_value).or_insert_with(|| name.clone());
        if name.len() < known.len() {
            *known = name;
        }
    }
    found
}

fn cut(mut name: String) -> String {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

/// The table's bytes; an error if they do not fit into `room`.
fn encode(base: u64, functions: &BTreeMap<u64, String>, room: usize) -> Result<Vec<u8>> {
    let mut entries = Vec::new();
    let mut names = Vec::new();
    for (&address, name) in functions {
        let Some(offset) = address
            .checked_sub(base)
            .and_then(|o| u32::try_from(o).ok())
        else {
            continue;
        };
        entries.extend(offset.to_le_bytes());
        entries.extend(u32::try_from(names.len())?.to_le_bytes());
        names.push(u8::try_from(name.len())?);
        names.extend(name.as_bytes());
    }
    let mut table = MAGIC.to_vec();
    table.extend(u32::try_from(entries.len() / 8)?.to_le_bytes());
    table.extend(u32::try_from(names.len())?.to_le_bytes());
    table.extend(entries);
    table.extend(names);
    if table.len() > room {
        bail!(
            "the kernel's symbols take {} bytes, and .ksyms has {room}: enlarge it in kernel/src/ksyms.rs",
            table.len()
        );
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_in_order_and_names_have_their_length_before_them() {
        let functions = BTreeMap::from([(0x1020, "b".to_owned()), (0x1010, "aa".to_owned())]);
        let table = encode(0x1000, &functions, 100).unwrap();
        assert_eq!(&table[..8], MAGIC);
        assert_eq!(table[8..16], [2, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(
            table[16..32],
            [0x10, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 3, 0, 0, 0]
        );
        assert_eq!(&table[32..], b"\x02aa\x01b");
        assert!(encode(0x1000, &functions, 10).is_err());
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("é".repeat(200)).len(), MAX_NAME);
        assert_eq!(cut(format!("x{}", "é".repeat(200))).len(), MAX_NAME - 1);
    }
}
