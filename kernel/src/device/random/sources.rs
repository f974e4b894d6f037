//! Where entropy comes from.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, Result};
use devapi::EntropySource;
use entropy::{JitterMeter, Pool};
use ksync::IrqSpinLock;

use super::{add, is_ready};
use crate::arch;
use crate::sync::{PerCpu, WaitQueue};
use crate::{boot, sched, time};

/// A time stamp as fine as the processor has.
pub(super) fn stamp() -> u64 {
    arch::random::stamp()
}

/// Fills `out` from the processor's generator; how many bytes it gave.
pub(super) fn hardware_bytes(out: &mut [u8]) -> usize {
    let mut filled = 0;
    for chunk in out.chunks_mut(8) {
        let Some(word) = arch::random::hardware_word() else {
            break;
        };
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        filled += chunk.len();
    }
    filled
}

/// What is known at the start: the processor's generator, trusted as Linux trusts it by default, and what differs
/// between machines and boots, which is worth nothing by itself.
pub(super) fn mix_start(pool: &mut Pool) {
    pool.mix(&stamp().to_le_bytes(), 0);
    pool.mix(boot::info().cmdline.as_str().as_bytes(), 0);
    let mut bytes = [0; 64];
    let filled = hardware_bytes(&mut bytes);
    pool.mix(&bytes[..filled], filled as u32 * 8);
    pool.mix(&stamp().to_le_bytes(), 0);
}

/// Interrupts collected on a CPU before they are mixed in.
struct Collected {
    words: [u64; 4],
    count: u32,
    bits: u32,
    meter: JitterMeter,
}

impl Collected {
    const fn new() -> Self {
        Self {
            words: [0; 4],
            count: 0,
            bits: 0,
            meter: JitterMeter::new(),
        }
    }
}

static COLLECTED: PerCpu<IrqSpinLock<Collected>> =
    crate::per_cpu!(IrqSpinLock::new(Collected::new()));

const INTERRUPTS_A_BATCH: u32 = 64;
/// Once the generator is ready, there is no hurry.
const INTERRUPTS_A_LATE_BATCH: u32 = 1024;

/// Notes when interrupt `number` came. Called by the interrupt dispatcher, with interrupts off.
pub fn add_interrupt(number: u32) {
    let mut collected = COLLECTED.here().lock();
    let now = stamp();
    let at = collected.count as usize % 4;
    collected.words[at] = collected.words[at].rotate_left(19) ^ now ^ u64::from(number) << 56;
    collected.count += 1;
    if !is_ready() {
        // One bit for an interrupt that was not foreseen, whatever the estimate.
        collected.bits += collected.meter.judge(now).min(1);
    }
    let batch = if is_ready() {
        INTERRUPTS_A_LATE_BATCH
    } else {
        INTERRUPTS_A_BATCH
    };
    if collected.count < batch {
        return;
    }
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(collected.words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let bits = core::mem::take(&mut collected.bits);
    collected.count = 0;
    drop(collected);
    // A batch is worth far less than its interrupts together, as they depend on each other.
    add(&bytes, bits / 8);
}

static SOURCES: IrqSpinLock<Vec<Arc<dyn EntropySource>>> = IrqSpinLock::new(Vec::new());
static SOURCE_WAIT: WaitQueue = WaitQueue::new();
static SOURCE_HAS_BYTES: AtomicBool = AtomicBool::new(false);

/// Adds a hardware generator. It feeds the pool from now on.
pub fn register_source(source: Arc<dyn EntropySource>) {
    let mut grown = Vec::with_capacity(SOURCES.lock().len() + 1);
    let old = {
        let mut sources = SOURCES.lock();
        grown.extend(sources.iter().cloned());
        grown.push(source);
        core::mem::replace(&mut *sources, grown)
    };
    let is_first = old.is_empty();
    drop(old);
    if is_first && let Err(error) = sched::spawn_kernel_thread("hwrng", feed) {
        log::warn!("random: no thread to feed the pool from hardware: {error:?}");
    }
    source_has_bytes();
}

/// The generator that `/dev/hwrng` reads.
pub(super) fn current_source() -> Option<Arc<dyn EntropySource>> {
    SOURCES.lock().first().cloned()
}

/// A hardware generator has bytes. Called at its interrupt.
pub fn source_has_bytes() {
    SOURCE_HAS_BYTES.store(true, Ordering::Release);
    SOURCE_WAIT.wake_all();
}

/// Bytes of the hardware generator, at least one.
///
/// # Errors
/// `ENODEV` when there is none, `EAGAIN` when it has none now and `wait` is false, `ERESTARTSYS` for a signal.
pub(super) fn read_source(buffer: &mut [u8], wait: bool) -> Result<usize> {
    loop {
        let source = current_source().ok_or(Errno::ENODEV)?;
        // Cleared before the look, so that bytes that come after it are noticed.
        SOURCE_HAS_BYTES.store(false, Ordering::Release);
        let count = source.read(buffer);
        if count > 0 {
            // There may be more for others.
            source_has_bytes();
            return Ok(count);
        }
        if !wait {
            return Err(Errno::EAGAIN);
        }
        SOURCE_WAIT.wait_until(|| SOURCE_HAS_BYTES.load(Ordering::Acquire).then_some(()))?;
    }
}

/// Feeds the pool: at once while it is not ready, then now and then.
fn feed() {
    const PAUSE_NS: u64 = 60_000_000_000;
    static PAUSE: WaitQueue = WaitQueue::new();
    let mut bytes = [0; 64];
    loop {
        // A kernel thread has no signals, and a source is never taken away.
        let count = read_source(&mut bytes, true).unwrap_or(0);
        // A good generator is trusted almost fully: 1000 of 1024 bits, as Linux trusts virtio's.
        add(&bytes[..count], count as u32 * 8 * 1000 / 1024);
        if is_ready() {
            let deadline_ns = time::monotonic_ns() + PAUSE_NS;
            // Nobody wakes this queue: only time ends the pause.
            let _timed_out = PAUSE.wait_until_deadline(Some(deadline_ns), || None::<()>);
        }
    }
}
