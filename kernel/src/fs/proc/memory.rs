//! What a process's memory is: `maps`, `smaps`, and the strings that exec left on the stack.

use abi::mman::Prot;
use abi::{Errno, Result};
use vm::VmFlags;

use super::pagemap;
use super::subject::Target;
use super::text::Text;
use crate::mm::space::{SmapsInfo, VmaInfo};
use crate::mm::{AddressSpace, PAGE_SIZE};

/// The column in which names begin.
const NAME_COLUMN: usize = 73;
/// The most of arguments or environment that is shown at once.
const MAX_STRINGS: usize = 8 << 20;

/// Copies a range of the process's memory, up to the first byte that cannot be read.
fn copy(mm: &AddressSpace, start: usize, end: usize, out: &mut Text) -> Result<()> {
    let mut at = start;
    let end = end.min(start.saturating_add(MAX_STRINGS));
    while at < end {
        let len = (end - at).min(PAGE_SIZE);
        let before = out.len();
        let read = mm.read_remote(at, out.grow(len)?);
        out.truncate(before + read);
        if read < len {
            return Ok(());
        }
        at += len;
    }
    Ok(())
}

/// `cmdline`: the arguments, each with its NUL. A program that wrote over their end shows one string instead.
pub fn cmdline(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    let exec = mm.exec_info();
    if exec.arg_start >= exec.arg_end {
        return Ok(());
    }
    copy(&mm, exec.arg_start, exec.arg_end, out)?;
    if out.as_bytes().last() == Some(&0) {
        return Ok(());
    }
    let end = match exec.env_start == exec.arg_end {
        true => exec.env_end,
        false => exec.arg_end,
    };
    out.truncate(0);
    copy(
        &mm,
        exec.arg_start,
        end.min(exec.arg_start.saturating_add(PAGE_SIZE)),
        out,
    )?;
    if let Some(nul) = out.as_bytes().iter().position(|byte| *byte == 0) {
        out.truncate(nul);
    }
    Ok(())
}

/// `environ`.
pub fn environ(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    let exec = mm.exec_info();
    copy(&mm, exec.env_start, exec.env_end, out)
}

/// `auxv`.
pub fn auxv(target: &Target, out: &mut Text) -> Result<()> {
    if let Some(mm) = target.mm() {
        for word in mm.auxv() {
            out.bytes(&word.to_ne_bytes())?;
        }
    }
    Ok(())
}

fn letter(on: bool, letter: char) -> char {
    if on { letter } else { '-' }
}

fn line(vma: &VmaInfo<'_>, out: &mut Text) -> Result<()> {
    let start = out.len();
    // The kernel's form of a device number: of the encoding for users nothing is lost.
    let (dev, ino) = vma.file.map_or((0, 0), |file| file.dev_ino());
    let (major, minor) = (dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xf_ff00));
    write!(
        out,
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {ino} ",
        vma.start,
        vma.end,
        letter(vma.prot.contains(Prot::READ), 'r'),
        letter(vma.prot.contains(Prot::WRITE), 'w'),
        letter(vma.prot.contains(Prot::EXEC), 'x'),
        if vma.shared { 's' } else { 'p' },
        vma.offset,
    )?;
    if let Some(file) = vma.file {
        out.pad(start, NAME_COLUMN)?;
        out.escaped(&file.maps_path(), b"\n")?;
    } else if let (true, Some(name)) = (vma.name.is_empty(), vma.own_name) {
        out.pad(start, NAME_COLUMN)?;
        let kind: &[u8] = if vma.shared_anonymous {
            b"[anon_shmem:"
        } else {
            b"[anon:"
        };
        out.bytes(kind)?;
        out.bytes(name)?;
        out.bytes(b"]")?;
    } else if vma.shared_anonymous {
        out.pad(start, NAME_COLUMN)?;
        out.bytes(b"/dev/zero (deleted)")?;
    } else if !vma.name.is_empty() {
        out.pad(start, NAME_COLUMN)?;
        out.bytes(vma.name.as_bytes())?;
    }
    out.bytes(b"\n")
}

/// `maps`.
pub fn maps(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    let mut result = Ok(());
    mm.for_each_vma(&mut |vma| {
        if result.is_ok() {
            result = line(vma, out);
        }
    });
    result
}

/// The rows of what is resident; a sum over all mappings also tells the kinds.
fn smaps_rows(smaps: &SmapsInfo, locked: u64, is_sum: bool, out: &mut Text) -> Result<()> {
    row("Rss", smaps.rss, out)?;
    row("Pss", smaps.pss.bytes(), out)?;
    row("Pss_Dirty", smaps.pss_dirty.bytes(), out)?;
    if is_sum {
        row("Pss_Anon", smaps.pss_anon.bytes(), out)?;
        row("Pss_File", smaps.pss_file.bytes(), out)?;
        row("Pss_Shmem", smaps.pss_shmem.bytes(), out)?;
    }
    let rows = [
        ("Shared_Clean", smaps.shared_clean),
        ("Shared_Dirty", smaps.shared_dirty),
        ("Private_Clean", smaps.private_clean),
        ("Private_Dirty", smaps.private_dirty),
        ("Referenced", smaps.referenced),
        ("Anonymous", smaps.anonymous),
        // What is given free goes at once, huge pages are anonymous only, and none are set aside.
        ("LazyFree", 0),
        ("AnonHugePages", smaps.anon_huge),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        // There is no swap.
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", locked),
    ];
    for (name, bytes) in rows {
        row(name, bytes, out)?;
    }
    Ok(())
}

fn row(name: &str, bytes: u64, out: &mut Text) -> Result<()> {
    let start = out.len();
    write!(out, "{name}:")?;
    out.pad(start, 16)?;
    writeln!(out, "{:8} kB", bytes / 1024)
}

/// The letters of `VmFlags:`, in Linux's order.
const FLAG_NAMES: &[(VmFlags, &str)] = &[
    (VmFlags::READ, "rd"),
    (VmFlags::WRITE, "wr"),
    (VmFlags::EXEC, "ex"),
    (VmFlags::SHARED, "sh"),
    (VmFlags::MAY_READ, "mr"),
    (VmFlags::MAY_WRITE, "mw"),
    (VmFlags::MAY_EXEC, "me"),
    (VmFlags::GROWS_DOWN, "gd"),
    (VmFlags::LOCKED, "lo"),
    (VmFlags::SEQUENTIAL, "sr"),
    (VmFlags::RANDOM, "rr"),
    (VmFlags::DONT_FORK, "dc"),
    (VmFlags::ACCOUNT, "ac"),
    (VmFlags::NO_RESERVE, "nr"),
    (VmFlags::WIPE_ON_FORK, "wf"),
    (VmFlags::DONT_DUMP, "dd"),
    (VmFlags::HUGE_PAGE, "hg"),
    (VmFlags::NO_HUGE_PAGE, "nh"),
    (VmFlags::SOFT_DIRTY, "sd"),
    (VmFlags::MERGEABLE, "mg"),
    (VmFlags::UFFD_MISSING, "um"),
    (VmFlags::UFFD_WP, "uw"),
    (VmFlags::SEALED, "sl"),
];

fn smaps_entry(vma: &VmaInfo<'_>, smaps: &SmapsInfo, out: &mut Text) -> Result<()> {
    line(vma, out)?;
    row("Size", (vma.end - vma.start) as u64, out)?;
    row("KernelPageSize", PAGE_SIZE as u64, out)?;
    row("MMUPageSize", PAGE_SIZE as u64, out)?;
    smaps_rows(smaps, locked_of(vma, smaps), false, out)?;
    let anonymous = vma.file.is_none() && !vma.shared_anonymous;
    let huge = pagemap::may_be_huge(vma.flags, vma.start, vma.end, anonymous);
    writeln!(out, "THPeligible:    {:8}", u32::from(huge))?;
    if crate::arch::features::has_protection_keys() {
        writeln!(out, "ProtectionKey:  {:8}", vma.flags.pkey())?;
    }
    out.bytes(b"VmFlags: ")?;
    for (flag, name) in FLAG_NAMES {
        if vma.flags.contains(*flag) {
            write!(out, "{name} ")?;
        }
    }
    out.bytes(b"\n")
}

fn locked_of(vma: &VmaInfo<'_>, smaps: &SmapsInfo) -> u64 {
    match vma.flags.contains(VmFlags::LOCKED) {
        true => smaps.pss.bytes(),
        false => 0,
    }
}

/// What a mapping is called in `numa_maps`.
pub fn numa_name(vma: &VmaInfo<'_>, out: &mut Text) -> Result<()> {
    match (vma.file, vma.name) {
        (Some(file), _) => {
            out.bytes(b" file=")?;
            out.escaped(&file.maps_path(), b"\n\t= ")
        }
        (None, "[heap]") => out.bytes(b" heap"),
        (None, "[stack]") => out.bytes(b" stack"),
        _ if vma.shared_anonymous => out.bytes(b" file=/dev/zero\\040(deleted)"),
        _ => Ok(()),
    }
}

/// `smaps`.
pub fn smaps(target: &Target, out: &mut Text) -> Result<()> {
    let Some(mm) = target.mm() else {
        return Ok(());
    };
    let mut result = Ok(());
    mm.for_each_vma_smaps(&mut |vma, smaps| {
        if result.is_ok() {
            result = smaps_entry(vma, smaps, out);
        }
    });
    result
}

/// `smaps_rollup`: the sum of `smaps`.
pub fn smaps_rollup(target: &Target, out: &mut Text) -> Result<()> {
    let mm = target.mm().ok_or(Errno::ESRCH)?;
    let (mut sum, mut locked) = (SmapsInfo::default(), 0);
    let (mut first, mut last) = (None, 0);
    mm.for_each_vma_smaps(&mut |vma, smaps| {
        first.get_or_insert(vma.start);
        last = vma.end;
        locked += locked_of(vma, smaps);
        sum.rss += smaps.rss;
        sum.add_shares(smaps);
        sum.shared_clean += smaps.shared_clean;
        sum.shared_dirty += smaps.shared_dirty;
        sum.private_clean += smaps.private_clean;
        sum.private_dirty += smaps.private_dirty;
        sum.referenced += smaps.referenced;
        sum.anonymous += smaps.anonymous;
        sum.anon_huge += smaps.anon_huge;
    });
    let start = out.len();
    write!(
        out,
        "{:08x}-{last:08x} ---p 00000000 00:00 0 ",
        first.unwrap_or(0)
    )?;
    out.pad(start, NAME_COLUMN)?;
    out.bytes(b"[rollup]\n")?;
    smaps_rows(&sum, locked, true, out)
}
