//! A dump, in the order of its file: headers, notes, contents.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::signal::SigInfo;
use abi::{Errno, Result};
use corefile::notes::{self, MappedPlace, Notes, PrPsInfo};
use corefile::{NoMemory, elf};

use super::image::{self, Piece, Source};
use super::output::Output;
use super::threads::{self, Gathering, Snapshot};
use crate::arch;
use crate::fs::File;
use crate::mm::user::copy_in;
use crate::mm::{AddressSpace, PAGE_SIZE};
use crate::sched;
use crate::sync::CurrentTask;
use crate::task::try_zeroed;

/// Bytes of the legacy area in the floating-point state.
const FXSAVE_SIZE: usize = 512;

/// Writes the dump; false if there is not even a beginning. What keeps it from its end (a limit, SIGKILL, a reader that
/// goes) leaves a shorter one.
pub(super) fn write(
    me: &CurrentTask,
    info: &SigInfo,
    gathering: &Gathering,
    file: &Arc<File>,
    limit: u64,
) -> bool {
    let filter = me.process.coredump_filter.load(Ordering::Relaxed);
    let mm = me.my_mm().clone();
    let Ok(pieces) = image::pieces(&mm, filter) else {
        return false;
    };
    let Ok(notes) = make_notes(me, info, &gathering.take(), &mm, &pieces) else {
        return false;
    };
    let mut output = Output::new(file, limit);
    // That it ends early is no failure: see above.
    let _ = write_all(&mut output, &mm, notes.as_bytes(), &pieces);
    true
}

fn no_memory(_: NoMemory) -> Errno {
    Errno::ENOMEM
}

fn write_all(
    output: &mut Output<'_>,
    mm: &AddressSpace,
    notes: &[u8],
    pieces: &[Piece],
) -> Result<()> {
    let mut segments = Vec::new();
    segments
        .try_reserve_exact(pieces.len())
        .map_err(|_| Errno::ENOMEM)?;
    segments.extend(pieces.iter().map(|piece| piece.segment));
    output.put(&elf::headers(&segments, notes.len()).map_err(no_memory)?)?;
    output.put(notes)?;
    let start = elf::contents_offset(segments.len(), notes.len());
    output.skip(start.saturating_sub(output.position()))?;
    let mut page = try_zeroed(PAGE_SIZE)?;
    for piece in pieces {
        write_piece(output, mm, piece, &mut page)?;
    }
    output.finish()
}

/// Writes what there is of a piece; `page` is room for one.
fn write_piece(
    output: &mut Output<'_>,
    mm: &AddressSpace,
    piece: &Piece,
    page: &mut [u8],
) -> Result<()> {
    let mut at = piece.segment.addr as usize;
    let end = at.saturating_add(piece.segment.file_len as usize);
    while at < end {
        sched::cond_resched();
        let there = match piece.source {
            Source::Kernel => copy_in(at, page).is_ok(),
            Source::Object => mm.dump_page(at, page),
            Source::Nowhere => {
                let touched = mm.next_touched(at, end);
                output.skip((touched - at) as u64)?;
                at = touched;
                at < end && mm.dump_page(at, page)
            }
        };
        match there {
            true => output.put(page)?,
            false if at < end => output.skip(PAGE_SIZE as u64)?,
            false => {}
        }
        at = at.saturating_add(PAGE_SIZE);
    }
    Ok(())
}
/// The dumping thread's notes first, with what is the process's among them, as debuggers expect.
fn make_notes(
    me: &CurrentTask,
    info: &SigInfo,
    others: &[Snapshot],
    mm: &AddressSpace,
    pieces: &[Piece],
) -> core::result::Result<Notes, NoMemory> {
    let mut all = Notes::default();
    let signal = [info.si_signo, info.si_code, info.si_errno];
    let own = threads::snapshot(me);
    add_status(&mut all, &own, signal)?;
    all.add("CORE", notes::NT_PRPSINFO, &psinfo(me, mm).to_bytes())?;
    all.add("CORE", notes::NT_SIGINFO, &info.to_user())?;
    let mut auxv = Vec::new();
    for word in mm.auxv() {
        auxv.extend_from_slice(&word.to_le_bytes());
    }
    all.add("CORE", notes::NT_AUXV, &auxv)?;
    if let Some(files) = files(pieces)? {
        all.add("CORE", notes::NT_FILE, &files)?;
    }
    add_fpu(&mut all, &own)?;
    for other in others {
        add_status(&mut all, other, signal)?;
        add_fpu(&mut all, other)?;
    }
    Ok(all)
}

fn add_status(
    all: &mut Notes,
    thread: &Snapshot,
    signal: [i32; 3],
) -> core::result::Result<(), NoMemory> {
    let mut status = thread.status;
    status.signal = signal;
    all.add("CORE", notes::NT_PRSTATUS, &status.to_bytes())
}

fn add_fpu(all: &mut Notes, thread: &Snapshot) -> core::result::Result<(), NoMemory> {
    let Some(fpu) = &thread.fpu else {
        return Ok(());
    };
    let legacy = fpu.get(..FXSAVE_SIZE).unwrap_or_default();
    all.add("CORE", notes::NT_PRFPREG, legacy)?;
    match arch::fpu::has_xsave() {
        true => all.add("LINUX", notes::NT_X86_XSTATE, fpu),
        false => Ok(()),
    }
}

fn files(pieces: &[Piece]) -> core::result::Result<Option<Vec<u8>>, NoMemory> {
    let mut places = Vec::new();
    places.try_reserve(pieces.len()).map_err(|_| NoMemory)?;
    for piece in pieces {
        if let Some((path, offset)) = &piece.file {
            places.push(MappedPlace {
                start: piece.segment.addr,
                end: piece.segment.addr + piece.segment.memory_len,
                offset: *offset,
                path,
            });
        }
    }
    notes::files(&places)
}

fn psinfo(me: &CurrentTask, mm: &AddressSpace) -> PrPsInfo {
    let cred = me.my_cred();
    let mut arguments = [0; 80];
    let exec = mm.exec_info();
    // The last byte stays the string's end.
    let len = exec.arg_end.saturating_sub(exec.arg_start).min(79);
    if let Some(head) = arguments.get_mut(..len)
        && copy_in(exec.arg_start, head).is_ok()
    {
        for byte in head.iter_mut().filter(|byte| **byte == 0) {
            *byte = b' ';
        }
    }
    let mut ids = threads::ids_of(me);
    ids.pid = me.process.pid.0;
    PrPsInfo {
        // It runs: what else could it do.
        state: 0,
        letter: b'R',
        nice: sched::params_of(me).nice,
        flags: 0,
        uid: cred.uid,
        gid: cred.gid,
        ids,
        name: me.comm(),
        arguments,
    }
}
