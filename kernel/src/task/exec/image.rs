//! A new address space with a program in it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering};

use abi::mman::{MapFlags, Prot};
use abi::{Errno, Result};
use elf::{Plan, Segment};

use super::program::Program;
use crate::device::random;
use crate::fs::File;
use crate::mm::user::zero_out;
use crate::mm::{AddressSpace, Backing, ExecInfo, MapRequest, PAGE_SIZE, USER_END};
use crate::sync::CurrentTask;
use crate::task::process::ADDR_NO_RANDOMIZE;
use crate::task::rlimit::Resource;

/// Where position-independent programs with an interpreter go: two thirds up, out of the way of brk and mmap.
const PIE_BASE: usize = USER_END / 3 * 2;
/// What the stack starts with; it grows by faults.
const STACK_START: usize = 132 * 1024;
/// Random bits of the program's place, in pages (Linux's mmap_rnd_bits).
const IMAGE_RANDOM_BITS: u32 = 28;
/// Random bits of the stack's place, in pages.
const STACK_RANDOM_BITS: u32 = 22;
/// Random bits of how far brk begins from what is before it, in pages.
const BRK_RANDOM_BITS: u32 = 13;

/// See [`randomization`].
static RANDOMIZATION: AtomicI32 = AtomicI32::new(2);

/// `kernel.randomize_va_space`: with 0 programs, mappings and stack always lie at the same places, with more than 1
/// brk begins a random way off, too.
pub fn randomization() -> i32 {
    RANDOMIZATION.load(Ordering::Relaxed)
}

/// Sets `kernel.randomize_va_space`, for programs to come.
pub fn set_randomization(value: i32) {
    RANDOMIZATION.store(value, Ordering::Relaxed);
}

/// A built address space that nobody runs in yet.
pub(super) struct Image {
    pub(super) space: Arc<AddressSpace>,
    /// Where to start: the interpreter's entry, or the program's.
    pub(super) start: usize,
    /// The program's own entry (AT_ENTRY).
    pub(super) entry: usize,
    /// Its program headers in memory (AT_PHDR).
    pub(super) phdrs: usize,
    /// The interpreter's load address (AT_BASE).
    pub(super) interpreter_base: usize,
    pub(super) stack_top: usize,
    pub(super) vdso: usize,
    /// Ranges at the end of file data in writable pages, to be zeroed from within.
    tails: arrayvec::ArrayVec<(usize, usize), 8>,
}

impl Image {
    /// Does what needs the address space to be the current one.
    ///
    /// # Errors
    /// `EFAULT` when there is no memory for the pages.
    pub(super) fn finish(&self) -> Result<()> {
        self.tails
            .iter()
            .try_for_each(|(start, len)| zero_out(*start, *len))
    }
}

/// Builds the space.
///
/// # Errors
/// `ENOMEM`, and those of mapping the file.
pub(super) fn build(me: &CurrentTask, program: &Program, personality: u32) -> Result<Image> {
    let space = AddressSpace::new()?;
    if let Some(old) = me.mm() {
        space.inherit_wishes(&old);
    }
    let randomization = match personality & ADDR_NO_RANDOMIZE {
        0 => RANDOMIZATION.load(Ordering::Relaxed),
        _ => 0,
    };
    let randomize = randomization != 0;
    let random_pages = |bits: u32| match randomize {
        true => (random::next_u64() & ((1 << bits) - 1)) as usize * PAGE_SIZE,
        false => 0,
    };
    let stack_top = USER_END - random_pages(STACK_RANDOM_BITS);
    space.set_layout(
        me.process.rlimits.soft(Resource::Stack),
        random_pages(IMAGE_RANDOM_BITS),
    );
    let plan = &program.plan;
    let bias = match (plan.header.position_independent, &program.interpreter) {
        (false, _) => 0,
        (true, Some(_)) => align_down(PIE_BASE + random_pages(IMAGE_RANDOM_BITS), plan.align),
        (true, None) => find_room(&space, plan)?,
    };
    let bias = bias.wrapping_sub(if bias == 0 { 0 } else { plan.start as usize });
    let mut image = Image {
        start: bias.wrapping_add(plan.header.entry as usize),
        entry: bias.wrapping_add(plan.header.entry as usize),
        phdrs: match plan.phdrs_addr {
            0 => 0,
            addr => bias.wrapping_add(addr as usize),
        },
        interpreter_base: 0,
        stack_top,
        vdso: 0,
        tails: arrayvec::ArrayVec::new(),
        space,
    };
    image.load(&program.file, plan, bias)?;
    if let Some((file, plan)) = &program.interpreter {
        let base = find_room(&image.space, plan)?.wrapping_sub(plan.start as usize);
        image.load(file, plan, base)?;
        image.interpreter_base = base;
        image.start = base.wrapping_add(plan.header.entry as usize);
    }
    image.map_stack(plan)?;
    image.vdso = super::vdso::map(&image.space, stack_top, random_pages(16) / PAGE_SIZE)?;
    // A program without an interpreter lies among the mappings, where brk could not grow far.
    let randomize_brk = randomization > 1;
    let data_end = match (plan.header.position_independent, &program.interpreter) {
        (true, None) if randomize_brk => PIE_BASE,
        _ => bias.wrapping_add(plan.end as usize),
    };
    let brk_offset = match randomize_brk {
        true => random_pages(BRK_RANDOM_BITS),
        false => 0,
    };
    image.describe(plan, bias, data_end + brk_offset);
    Ok(image)
}

fn align_down(addr: usize, align: u64) -> usize {
    addr & !(align as usize - 1)
}

/// An unused range that holds all of a plan's segments.
fn find_room(space: &AddressSpace, plan: &Plan) -> Result<usize> {
    let len = (plan.end - plan.start) as usize;
    let slack = if plan.align as usize > PAGE_SIZE {
        plan.align as usize
    } else {
        0
    };
    let addr = space.find_room(len + slack)?;
    Ok(addr.next_multiple_of(plan.align as usize))
}

impl Image {
    fn load(&mut self, file: &Arc<File>, plan: &Plan, bias: usize) -> Result<()> {
        let object = file.ops().mmap(file)?;
        for segment in &plan.segments {
            let prot = prot_of(segment);
            let addr = bias.wrapping_add(segment.addr as usize);
            let mapped_end = addr.wrapping_add(segment.map_len as usize);
            if segment.map_len > 0 {
                self.space.map(MapRequest {
                    addr,
                    len: segment.map_len as usize,
                    prot,
                    max_prot: Prot::READ | Prot::WRITE | Prot::EXEC,
                    flags: MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::DENYWRITE,
                    pkey: 0,
                    backing: Backing::File {
                        object: object.clone(),
                        offset: segment.offset,
                        file: Some(file.clone()),
                    },
                })?;
            }
            let memory_end = bias.wrapping_add(segment.memory_end as usize);
            self.map_bss(mapped_end, memory_end.next_multiple_of(PAGE_SIZE), prot)?;
            let data_end = bias.wrapping_add(segment.data_end as usize);
            if segment.map_len > 0 && segment.write && data_end < mapped_end.min(memory_end) {
                let tail = (data_end, mapped_end - data_end);
                self.tails.try_push(tail).map_err(|_| Errno::ENOEXEC)?;
            }
        }
        Ok(())
    }

    /// Anonymous memory from the end of the mapped pages to that of the segment.
    fn map_bss(&self, start: usize, end: usize, prot: Prot) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        self.space.map(MapRequest {
            addr: start,
            len: end - start,
            prot,
            max_prot: Prot::READ | Prot::WRITE | Prot::EXEC,
            flags: MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::ANONYMOUS,
            pkey: 0,
            backing: Backing::Anon,
        })?;
        Ok(())
    }

    fn map_stack(&self, plan: &Plan) -> Result<()> {
        // Without a word from the file, x86-64's default is a stack that is not executable.
        let exec = if plan.exec_stack == Some(true) {
            Prot::EXEC
        } else {
            Prot::empty()
        };
        self.space.map(MapRequest {
            addr: self.stack_top - STACK_START,
            len: STACK_START,
            prot: Prot::READ | Prot::WRITE | exec,
            max_prot: Prot::READ | Prot::WRITE | Prot::EXEC,
            flags: MapFlags::PRIVATE
                | MapFlags::FIXED
                | MapFlags::ANONYMOUS
                | MapFlags::GROWSDOWN
                | MapFlags::STACK,
            pkey: 0,
            backing: Backing::Anon,
        })?;
        Ok(())
    }

    /// Tells the space what lies where, and where brk begins.
    fn describe(&self, plan: &Plan, bias: usize, brk: usize) {
        let at = |addr: u64| bias.wrapping_add(addr as usize);
        self.space.set_exec_info(ExecInfo {
            start_code: at(plan.code.0),
            end_code: at(plan.code.1),
            start_data: at(plan.data.0),
            end_data: at(plan.data.1),
            start_brk: brk.next_multiple_of(PAGE_SIZE),
            start_stack: self.stack_top,
            ..ExecInfo::default()
        });
    }
}

fn prot_of(segment: &Segment) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, segment.read);
    prot.set(Prot::WRITE, segment.write);
    prot.set(Prot::EXEC, segment.exec);
    prot
}
