//! Ports that a thread may use in user space: the permission map of the task-state segment.
//!
//! Each CPU's segment has room for a map; it is filled, and the processor told that it is there, only while a thread with
//! ports runs. `iopl` is the same with every port: the privilege level itself, which would let a program turn interrupts
//! off, is never raised.
//!
//! References: Intel SDM volume 1, chapter 19.5; ioperm(2), iopl(2).

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use abi::{Errno, Result};
use spin::Once;

use super::cpu::{self, CpuLocal};
use super::irq;
use super::thread::{self, ThreadArch, UserRegs};
use super::uaccess;

/// Ports that there are.
pub const PORTS: usize = 65536;
const WORDS: usize = PORTS / 64;
/// The level of `iopl` that opens every port.
const ALL: u8 = 3;

/// A thread's ports. Changed by the thread alone; read by it, and at switches to it.
#[derive(Default)]
pub struct PortRights {
    /// A bit for each port that is closed, as the processor wants it.
    closed: Once<Vec<AtomicU64>>,
    level: AtomicU8,
}

impl PortRights {
    /// The map, made with every port closed when first wanted.
    fn map(&self) -> Result<&[AtomicU64]> {
        let map = self.closed.try_call_once(|| {
            let mut map = Vec::new();
            map.try_reserve_exact(WORDS).map_err(|_| Errno::ENOMEM)?;
            map.resize_with(WORDS, || AtomicU64::new(u64::MAX));
            Ok::<_, Errno>(map)
        })?;
        Ok(map)
    }

    fn has_any(&self) -> bool {
        let closed = |word: &AtomicU64| word.load(Ordering::Relaxed) == u64::MAX;
        let opened = self.closed.get().is_some_and(|map| !map.iter().all(closed));
        opened || self.has_all()
    }

    fn has_all(&self) -> bool {
        self.level.load(Ordering::Relaxed) == ALL
    }

    /// Takes over those of the running thread.
    pub(super) fn copy_from(&self, parent: &PortRights) -> Result<()> {
        let level = parent.level.load(Ordering::Relaxed);
        self.level.store(level, Ordering::Relaxed);
        if let Some(theirs) = parent.closed.get() {
            for (mine, theirs) in self.map()?.iter().zip(theirs) {
                mine.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The words of the map that the processor is to see.
    fn words(&self) -> impl Iterator<Item = u64> {
        let map = self.closed.get().filter(|_| !self.has_all());
        let all_open = if self.has_all() { WORDS } else { 0 };
        let words = map.into_iter().flatten();
        words
            .map(|word| word.load(Ordering::Relaxed))
            .chain(core::iter::repeat_n(0, all_open))
    }
}

/// Shows this CPU the ports of the thread that comes to run; with interrupts off.
pub(super) fn switch(local: &CpuLocal, next: &ThreadArch) {
    match next.uses_ports() {
        true => local.tss.set_ports(next.ports.words()),
        false => local.tss.close_ports(),
    }
}

/// The running thread's rights changed.
fn changed(thread: &ThreadArch) {
    thread.set_port_use(thread.ports.has_any());
    let _irq = irq::IrqGuard::new();
    switch(cpu::local(), thread);
}

/// Opens or closes ports for the running thread.
///
/// # Errors
/// `ENOMEM` when there is no memory for the map.
pub fn set(ports: Range<usize>, open: bool) -> Result<()> {
    let thread = thread::current();
    if !open && thread.ports.closed.get().is_none() {
        return Ok(());
    }
    let map = thread.ports.map()?;
    for port in ports {
        let Some(word) = map.get(port / 64) else {
            break;
        };
        let bit = 1 << (port % 64);
        match open {
            true => word.fetch_and(!bit, Ordering::Relaxed),
            false => word.fetch_or(bit, Ordering::Relaxed),
        };
    }
    changed(thread);
    Ok(())
}

/// The running thread's level of `iopl`.
pub fn level() -> u8 {
    thread::current().ports.level.load(Ordering::Relaxed)
}

/// Passes over an instruction that turns interrupts off or on, for a program that believes its third level to be the
/// processor's. Whether it was one.
#[cold]
pub(super) fn pass_over_cli(regs: &mut UserRegs) -> bool {
    const CLI: u8 = 0xfa;
    const STI: u8 = 0xfb;
    if !thread::current().ports.has_all() {
        return false;
    }
    let mut code = [0];
    let read = uaccess::read_bytes(&mut code, regs.rip as usize);
    let passes = read.is_ok() && matches!(code, [CLI | STI]);
    if passes {
        regs.rip = regs.rip.wrapping_add(1);
    }
    passes
}

/// Sets it; the third opens every port.
pub fn set_level(level: u8) {
    let thread = thread::current();
    thread.ports.level.store(level, Ordering::Relaxed);
    changed(thread);
}
