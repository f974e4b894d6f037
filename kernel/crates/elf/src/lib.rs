//! From an ELF file's headers to a load plan: which parts of the file go where, and where to start.
//!
//! Reads nothing by itself: the caller brings the header and the program headers, and maps what the plan says. Every
//! value in them may be hostile; what cannot be mapped as the kernel's loader would is refused with the errno that
//! Linux answers (`fs/binfmt_elf.c`).
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod script;

pub use script::{Script, parse_script};

use alloc::vec::Vec;

use abi::{Errno, Result};
use goblin::elf::header::{self, EM_X86_64, ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Size of the file header.
pub const EHDR_SIZE: usize = 64;
/// Size of one program header.
pub const PHDR_SIZE: usize = 56;
/// What Linux allows a table of program headers to take.
pub const MAX_PHDRS_BYTES: usize = 65536;
/// More loadable segments than any linker makes.
pub const MAX_SEGMENTS: usize = 64;
const PAGE: u64 = 4096;

#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    phoff: u64,
    shoff: u64,
    flags: u32,
    ehsize: u16,
    phentsize: u16,
    phnum: u16,
    shentsize: u16,
    shnum: u16,
    shstrndx: u16,
}

#[derive(FromBytes, KnownLayout, Immutable, Clone, Copy)]
#[repr(C)]
struct RawPhdr {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
    align: u64,
}

const _: () = assert!(size_of::<RawHeader>() == EHDR_SIZE && size_of::<RawPhdr>() == PHDR_SIZE);

/// A file header that passed: a 64-bit x86 executable or shared object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether it may be loaded anywhere (ET_DYN).
    pub position_independent: bool,
    /// Where to start, relative to the load bias.
    pub entry: u64,
    /// Where the program headers lie in the file.
    pub phdrs_offset: u64,
    /// How many there are.
    pub phdrs_count: u16,
}

impl Header {
    /// Bytes that the program headers take.
    pub fn phdrs_len(&self) -> usize {
        usize::from(self.phdrs_count) * PHDR_SIZE
    }
}

/// Reads the file header.
///
/// # Errors
/// `ENOEXEC` for anything that Linux would not load here.
pub fn parse_header(bytes: &[u8]) -> Result<Header> {
    let (raw, _) = RawHeader::read_from_prefix(bytes).map_err(|_| Errno::ENOEXEC)?;
    let fits = raw.ident.starts_with(header::ELFMAG)
        && matches!(raw.kind, ET_EXEC | ET_DYN)
        && raw.machine == EM_X86_64
        && usize::from(raw.phentsize) == PHDR_SIZE
        && raw.phnum >= 1
        && usize::from(raw.phnum) * PHDR_SIZE <= MAX_PHDRS_BYTES;
    if !fits {
        return Err(Errno::ENOEXEC);
    }
    Ok(Header {
        position_independent: raw.kind == ET_DYN,
        entry: raw.entry,
        phdrs_offset: raw.phoff,
        phdrs_count: raw.phnum,
    })
}

/// A part of the file to map. Page-aligned throughout but for `data_end` and `memory_end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it goes, relative to the load bias.
    pub addr: u64,
    /// Bytes to map from the file, a multiple of the page size; 0 for none.
    pub map_len: u64,
    /// Where they lie in the file.
    pub offset: u64,
    /// Where the file's bytes end in memory: the rest of the last page is zeroed if the segment is writable.
    pub data_end: u64,
    /// Where the segment's memory ends; pages above the mapped ones are anonymous.
    pub memory_end: u64,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub exec: bool,
}

/// What loading a file takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The header.
    pub header: Header,
    /// The segments in the order of their addresses. On the heap: a plan is passed about on kernel stacks.
    pub segments: Vec<Segment>,
    /// The lowest address, page-aligned.
    pub start: u64,
    /// The highest address, page-aligned up.
    pub end: u64,
    /// The largest alignment a segment asks for, at least a page.
    pub align: u64,
    /// Where the program headers are in memory; 0 if no segment holds them.
    pub phdrs_addr: u64,
    /// The interpreter's name in the file, as offset and length with its NUL.
    pub interp: Option<(u64, usize)>,
    /// Whether the stack must be executable; `None` if the file does not say.
    pub exec_stack: Option<bool>,
    /// Lowest code address, end of code, lowest data address, end of data: what `/proc/<pid>/stat` shows.
    pub code: (u64, u64),
    /// See `code`.
    pub data: (u64, u64),
}

/// Plans the load of a file with this header and these program headers.
///
/// # Errors
/// `ENOEXEC` without a loadable segment or with a bad interpreter name, `EINVAL` or `ENOMEM` for segments that cannot be
/// mapped, and `ENOMEM` when there is no memory for the plan.
pub fn plan(header: Header, phdrs: &[u8]) -> Result<Plan> {
    let mut plan = Plan {
        header,
        segments: Vec::new(),
        start: u64::MAX,
        end: 0,
        align: PAGE,
        phdrs_addr: 0,
        interp: None,
        exec_stack: None,
        code: (u64::MAX, 0),
        data: (0, 0),
    };
    for bytes in phdrs
        .chunks_exact(PHDR_SIZE)
        .take(usize::from(header.phdrs_count))
    {
        let phdr = RawPhdr::read_from_bytes(bytes).map_err(|_| Errno::ENOEXEC)?;
        match phdr.kind {
            PT_LOAD => plan.add_segment(&phdr)?,
            PT_INTERP if plan.interp.is_none() => {
                // A path of one byte to PATH_MAX with its NUL.
                if !(2..=4096).contains(&phdr.filesz) {
                    return Err(Errno::ENOEXEC);
                }
                plan.interp = Some((phdr.offset, phdr.filesz as usize));
            }
            PT_GNU_STACK => plan.exec_stack = Some(phdr.flags & PF_X != 0),
            PT_PHDR => plan.phdrs_addr = phdr.vaddr,
            _ => {}
        }
    }
    if plan.segments.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    if plan.phdrs_addr == 0 {
        plan.phdrs_addr = plan.find_phdrs();
    }
    Ok(plan)
}

impl Plan {
    fn add_segment(&mut self, phdr: &RawPhdr) -> Result<()> {
        if phdr.filesz > phdr.memsz || phdr.memsz == 0 && phdr.filesz != 0 {
            return Err(Errno::ENOEXEC);
        }
        if phdr.memsz == 0 {
            return Ok(());
        }
        let skew = phdr.vaddr % PAGE;
        if phdr.offset % PAGE != skew && phdr.filesz != 0 {
            return Err(Errno::EINVAL);
        }
        let data_end = phdr.vaddr.checked_add(phdr.filesz).ok_or(Errno::ENOMEM)?;
        let memory_end = phdr.vaddr.checked_add(phdr.memsz).ok_or(Errno::ENOMEM)?;
        let page_end = memory_end
            .checked_next_multiple_of(PAGE)
            .ok_or(Errno::ENOMEM)?;
        // Above the user's half nothing can be mapped.
        if page_end > 1 << 47 {
            return Err(Errno::ENOMEM);
        }
        let addr = phdr.vaddr - skew;
        let map_len = match phdr.filesz {
            0 => 0,
            len => (len + skew).next_multiple_of(PAGE),
        };
        let offset = phdr.offset.saturating_sub(skew);
        offset.checked_add(map_len).ok_or(Errno::EINVAL)?;
        let segment = Segment {
            addr,
            map_len,
            offset,
            data_end,
            memory_end,
            read: phdr.flags & PF_R != 0,
            write: phdr.flags & PF_W != 0,
            exec: phdr.flags & PF_X != 0,
        };
        self.note_ranges(&segment, phdr);
        if self.segments.len() == MAX_SEGMENTS {
            return Err(Errno::ENOEXEC);
        }
        self.segments.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.segments.push(segment);
        self.start = self.start.min(addr);
        self.end = self.end.max(page_end);
        if phdr.align.is_power_of_two() {
            self.align = self.align.max(phdr.align);
        }
        Ok(())
    }

    fn note_ranges(&mut self, segment: &Segment, phdr: &RawPhdr) {
        if segment.exec {
            self.code.1 = self.code.1.max(segment.data_end);
        }
        self.code.0 = self.code.0.min(phdr.vaddr);
        if phdr.vaddr >= self.data.0 {
            self.data.0 = phdr.vaddr;
        }
        self.data.1 = self.data.1.max(segment.data_end);
    }

    /// The segment that maps the file's program headers says where they are.
    fn find_phdrs(&self) -> u64 {
        let offset = self.header.phdrs_offset;
        self.segments
            .iter()
            .find(|segment| offset >= segment.offset && offset < segment.offset + segment.map_len)
            .map_or(0, |segment| segment.addr + (offset - segment.offset))
    }
}

#[cfg(test)]
mod tests;
