//! Restartable sequences: a thread that is interrupted in a short sequence of instructions goes on at its abort address
//! instead, and finds in its memory which CPU it runs on.
//!
//! A thread that registered nothing pays one test a switch. One that did pays on its way to user space after a switch:
//! [`went_off`] sets a work bit, and [`resume`] brings the user's `struct rseq` up to date.
//!
//! # Invariants
//! - `cid` is a bit of the address space's set exactly while the thread runs; it is taken in `resume` and given back in
//!   `went_off`, both by the thread itself.
//!
//! References: rseq(2) of librseq, `include/uapi/linux/rseq.h`.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use abi::rseq::{CPU_ID_UNINITIALIZED, ORIG_SIZE, RseqCs, offset};
use abi::{Errno, Result};

use crate::arch::{self, UserRegs};
use crate::mm::USER_END;
use crate::mm::user::UserPtr;
use crate::mm::user_range_ok;
use crate::sync::CurrentTask;
use crate::task::Task;

/// No concurrency id.
const NO_CID: u32 = u32::MAX;

/// What a thread has registered.
#[derive(Debug)]
pub struct Rseq {
    /// Where its `struct rseq` is; 0 for none. Changed by the thread itself.
    addr: AtomicUsize,
    len: AtomicU32,
    /// What stands before each abort address.
    signature: AtomicU32,
    /// Its number among the threads of the address space that run now.
    cid: AtomicU32,
}

impl Default for Rseq {
    fn default() -> Self {
        Rseq {
            addr: AtomicUsize::new(0),
            len: AtomicU32::new(0),
            signature: AtomicU32::new(0),
            cid: AtomicU32::new(NO_CID),
        }
    }
}

impl Rseq {
    #[inline(always)]
    fn is_registered(&self) -> bool {
        self.addr.load(Ordering::Relaxed) != 0
    }

    fn addr(&self) -> usize {
        self.addr.load(Ordering::Relaxed)
    }

    /// Address (0: none), length and signature, for a thread that does not run or the running one.
    pub fn registration(&self) -> (usize, u32, u32) {
        let len = self.len.load(Ordering::Relaxed);
        (self.addr(), len, self.signature.load(Ordering::Relaxed))
    }

    fn set(&self, addr: usize, len: u32, signature: u32) {
        self.addr.store(addr, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.signature.store(signature, Ordering::Relaxed);
    }
}

/// `rseq(2)` without flags: registers the running thread's structure.
///
/// # Errors
/// `EINVAL` for a wrong size or alignment or another structure than the registered one, `EPERM` for another signature,
/// `EBUSY` when it is registered already, `EFAULT`.
pub fn register(me: &CurrentTask, addr: usize, len: u32, signature: u32) -> Result<()> {
    let rseq = &me.rseq;
    if rseq.is_registered() {
        return Err(refusal(rseq, addr, len, signature).unwrap_or(Errno::EBUSY));
    }
    let fits = len >= ORIG_SIZE && addr.is_multiple_of(ORIG_SIZE as usize);
    if !fits {
        return Err(Errno::EINVAL);
    }
    if !user_range_ok(addr, len as usize) {
        return Err(Errno::EFAULT);
    }
    rseq.set(addr, len, signature);
    me.arch.mark(arch::WORK_RSEQ);
    Ok(())
}

/// `rseq(2)` with RSEQ_FLAG_UNREGISTER.
///
/// # Errors
/// `EINVAL` when this is not what is registered, `EPERM` for another signature, `EFAULT`.
pub fn unregister(me: &CurrentTask, addr: usize, len: u32, signature: u32) -> Result<()> {
    let rseq = &me.rseq;
    if !rseq.is_registered() {
        return Err(Errno::EINVAL);
    }
    if let Some(errno) = refusal(rseq, addr, len, signature) {
        return Err(errno);
    }
    store(addr, [0, CPU_ID_UNINITIALIZED, 0, 0])?;
    forget(me);
    Ok(())
}

fn refusal(rseq: &Rseq, addr: usize, len: u32, signature: u32) -> Option<Errno> {
    if rseq.addr() != addr || rseq.len.load(Ordering::Relaxed) != len {
        return Some(Errno::EINVAL);
    }
    let same = rseq.signature.load(Ordering::Relaxed) == signature;
    (!same).then_some(Errno::EPERM)
}

/// The running thread has no structure any more: it executes a program, exits, or said so.
pub fn forget(me: &CurrentTask) {
    if me.rseq.is_registered() {
        give_back_cid(me);
        me.rseq.set(0, 0, 0);
        me.arch.unmark(arch::WORK_RSEQ);
    }
}

/// A forked process has its own copy of the structure.
pub fn inherit(me: &CurrentTask, child: &Task) {
    let rseq = &me.rseq;
    if rseq.is_registered() {
        let len = rseq.len.load(Ordering::Relaxed);
        let signature = rseq.signature.load(Ordering::Relaxed);
        child.rseq.set(rseq.addr(), len, signature);
        child.arch.mark(arch::WORK_RSEQ);
    }
}

/// The running thread is about to leave its CPU.
#[inline(always)]
pub fn went_off(me: &CurrentTask) {
    if me.rseq.is_registered() {
        give_back_cid(me);
        me.arch.mark(arch::WORK_RSEQ);
    }
}

/// membarrier(2) interrupts the sequences of `task`, which runs on this CPU. From an interrupt.
pub fn interrupt(task: &Task) {
    if task.rseq.is_registered() {
        task.arch.mark(arch::WORK_RSEQ);
    }
}

fn give_back_cid(me: &CurrentTask) {
    let cid = me.rseq.cid.swap(NO_CID, Ordering::Relaxed);
    if cid != NO_CID {
        me.my_mm().concurrency().give_back(cid);
    }
}

/// On the way to user space after a switch. False when the structure cannot be used: the thread gets a SIGSEGV.
pub fn resume(me: &CurrentTask, regs: &mut UserRegs) -> bool {
    if !me.rseq.is_registered() {
        return true;
    }
    if leave_sequence(me, regs).is_err() {
        return false;
    }
    // Between taking the number and storing it nothing switches: the kernel is not preemptible.
    let mut cid = me.rseq.cid.load(Ordering::Relaxed);
    if cid == NO_CID {
        cid = me.my_mm().concurrency().take();
        me.rseq.cid.store(cid, Ordering::Relaxed);
    }
    let cpu = arch::cpu::current_id().0;
    // The store may sleep for a page: then the work bit is set again, and another round follows.
    store(me.rseq.addr(), [cpu, cpu, 0, cid]).is_ok()
}

/// Before a signal's frame is built: the handler interrupts a sequence. False as for [`resume`].
#[inline]
pub fn before_handler(me: &CurrentTask, regs: &mut UserRegs) -> bool {
    !me.rseq.is_registered() || leave_sequence(me, regs).is_ok()
}

/// Stores start CPU, CPU, node and concurrency id.
fn store(addr: usize, [start, cpu, node, cid]: [u32; 4]) -> Result<()> {
    let field = |offset: usize| UserPtr::<u32>::from(addr.wrapping_add(offset));
    field(offset::CPU_ID_START).write(&start)?;
    field(offset::CPU_ID).write(&cpu)?;
    field(offset::NODE_ID).write(&node)?;
    field(offset::MM_CID).write(&cid)
}

/// If the thread is in the sequence that its structure names, it goes on at the abort address. Names none afterwards.
fn leave_sequence(me: &CurrentTask, regs: &mut UserRegs) -> Result<()> {
    let addr = me.rseq.addr();
    let pointer = UserPtr::<u64>::from(addr.wrapping_add(offset::RSEQ_CS));
    let at = pointer.read()?;
    if at == 0 {
        return Ok(());
    }
    let sequence = read_sequence(me, at)?;
    if regs.rip.wrapping_sub(sequence.start_ip) >= sequence.post_commit_offset {
        return pointer.write(&0);
    }
    let flags = UserPtr::<u32>::from(addr.wrapping_add(offset::FLAGS)).read()?;
    // Once they said when not to restart; Linux takes them no more.
    if flags != 0 || sequence.flags != 0 {
        return Err(Errno::EINVAL);
    }
    pointer.write(&0)?;
    regs.rip = sequence.abort_ip;
    Ok(())
}

/// The description of a sequence, with all that Linux asks of it.
fn read_sequence(me: &CurrentTask, at: u64) -> Result<RseqCs> {
    let user_end = USER_END as u64;
    if at >= user_end {
        return Err(Errno::EINVAL);
    }
    let sequence: RseqCs = UserPtr::from(at as usize).read()?;
    let (start, len) = (sequence.start_ip, sequence.post_commit_offset);
    let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
    let outside = start >= user_end || end >= user_end || sequence.abort_ip >= user_end;
    if outside || sequence.version > 0 || sequence.abort_ip.wrapping_sub(start) < len {
        return Err(Errno::EINVAL);
    }
    let before = sequence.abort_ip.wrapping_sub(size_of::<u32>() as u64);
    let found: u32 = UserPtr::from(before as usize).read()?;
    if found != me.rseq.signature.load(Ordering::Relaxed) {
        return Err(Errno::EINVAL);
    }
    Ok(sequence)
}
