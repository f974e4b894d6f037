//! Which memory goes into a dump: the choice is the filter's and that of each area (core(5), madvise(2)).

use alloc::vec::Vec;
use core::any::Any;

use abi::mman::Prot;
use abi::{Errno, Result};
use corefile::elf::{PF_R, PF_W, PF_X, Segment};
use vm::VmFlags;

use crate::fs::File;
use crate::mm::space::{SmapsInfo, VmaInfo};
use crate::mm::user::copy_in;
use crate::mm::{AddressSpace, MappedFile, PAGE_SIZE};

const ANON_PRIVATE: u32 = 1;
const ANON_SHARED: u32 = 1 << 1;
const MAPPED_PRIVATE: u32 = 1 << 2;
const MAPPED_SHARED: u32 = 1 << 3;
const ELF_HEADERS: u32 = 1 << 4;

/// How much of an area is dumped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Nothing,
    Whole,
    FirstPage,
    /// The first page, if an ELF file begins there.
    ElfHeader,
}

/// Where an area's pages come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Zeros until they are written.
    Nowhere,
    /// A file, or memory that is shared.
    Object,
    /// The kernel's own code: these are no pages of the process.
    Kernel,
}

/// An area as it was when the dump began.
pub(super) struct Piece {
    pub(super) segment: Segment,
    /// Its file's path and the place in it, in pages.
    pub(super) file: Option<(Vec<u8>, u64)>,
    pub(super) source: Source,
}

/// All areas, in order of address.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn pieces(mm: &AddressSpace, filter: u32) -> Result<Vec<Piece>> {
    let mut all: Vec<(Piece, Share)> = Vec::new();
    let mut enough = true;
    mm.for_each_vma_smaps(&mut |vma, smaps| {
        enough &= all.try_reserve(1).is_ok();
        if enough {
            all.push((piece_of(vma), share_of(vma, smaps, filter)));
        }
    });
    if !enough {
        return Err(Errno::ENOMEM);
    }
    // Looked at only now: the map's lock is not held any more.
    let whole = all.into_iter().map(|(mut piece, share)| {
        let len = piece.segment.memory_len;
        piece.segment.file_len = match share {
            Share::Nothing => 0,
            Share::Whole => len,
            Share::ElfHeader if !begins_as_elf(piece.segment.addr) => 0,
            Share::FirstPage | Share::ElfHeader => len.min(PAGE_SIZE as u64),
        };
        piece
    });
    Ok(whole.collect())
}

fn file_of<'a>(vma: &VmaInfo<'a>) -> Option<&'a File> {
    let any: &dyn Any = &**vma.file?;
    any.downcast_ref()
}

/// Pages that the kernel gives every program: no file of a file system.
fn is_special(vma: &VmaInfo<'_>) -> bool {
    vma.file.is_some() && file_of(vma).is_none()
}

fn piece_of(vma: &VmaInfo<'_>) -> Piece {
    let mut flags = 0;
    for (right, flag) in [(Prot::READ, PF_R), (Prot::WRITE, PF_W), (Prot::EXEC, PF_X)] {
        if vma.prot.contains(right) {
            flags |= flag;
        }
    }
    Piece {
        segment: Segment {
            addr: vma.start as u64,
            memory_len: (vma.end - vma.start) as u64,
            file_len: 0,
            flags,
        },
        file: file_of(vma).map(|file| (file.maps_path(), vma.offset / PAGE_SIZE as u64)),
        source: match is_special(vma) {
            true => Source::Kernel,
            false if vma.file.is_some() || vma.shared => Source::Object,
            false => Source::Nowhere,
        },
    }
}

/// Linux's `vma_dump_size`.
fn share_of(vma: &VmaInfo<'_>, smaps: &SmapsInfo, filter: u32) -> Share {
    let chosen = |bit: u32, otherwise: Share| match filter & bit != 0 {
        true => Share::Whole,
        false => otherwise,
    };
    let file = file_of(vma);
    if is_special(vma) {
        // Debuggers unwind through the vDSO, and can have it from nowhere else.
        let is_vdso = vma.file.is_some_and(|file| file.maps_path() == b"[vdso]");
        return if is_vdso {
            Share::Whole
        } else {
            Share::Nothing
        };
    }
    if file.is_some_and(|file| !file.inode().is_regular()) {
        // Memory of a device: reading it may do something.
        return Share::Nothing;
    }
    if vma.flags.contains(VmFlags::DONT_DUMP) {
        return Share::Nothing;
    }
    if vma.shared {
        let is_anonymous = file.is_none_or(|file| file.inode().nlink() == 0);
        let bit = if is_anonymous {
            ANON_SHARED
        } else {
            MAPPED_SHARED
        };
        return chosen(bit, Share::Nothing);
    }
    if smaps.anonymous > 0 && filter & ANON_PRIVATE != 0 {
        return Share::Whole;
    }
    let Some(file) = file else {
        return Share::Nothing;
    };
    let header = match vma.offset == 0 && vma.prot.contains(Prot::READ) {
        true if filter & ELF_HEADERS == 0 => Share::Nothing,
        true if file.inode().mode() & 0o111 != 0 => Share::FirstPage,
        true => Share::ElfHeader,
        false => Share::Nothing,
    };
    chosen(MAPPED_PRIVATE, header)
}

fn begins_as_elf(addr: u64) -> bool {
    let mut magic = [0; 4];
    copy_in(addr as usize, &mut magic).is_ok() && magic == *b"\x7fELF"
}
