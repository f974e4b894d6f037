//! The kernel's random generator: what `getrandom(2)`, `/dev/random` and address randomisation draw from.
//!
//! | module | what |
//! |---|---|
//! | this | the pool, the generators, drawing from them |
//! | `sources` | where entropy comes from: the processor, hardware generators, interrupts, waiting |
//! | `file` | `/dev/random`, `/dev/urandom` and `/dev/hwrng` as their files need it |
//!
//! Entropy goes into one pool. Keys drawn from it key a base generator, and the base generator keys one generator a
//! CPU, anew whenever `GENERATION` moved on. A draw therefore costs one lock of this CPU's and no shared write.
//!
//! # Lock order
//! ```text
//! a CPU's LOCAL
//!   POOL
//!     BASE
//! ```
//!
//! # Invariants
//! - `READY` is set once the pool has been credited [`entropy::READY_BITS`], and never unset.
//! - What is drawn is never drawn again, nor can it be computed from the state that is left (see `entropy`).

mod file;
mod sources;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::Result;
use entropy::{Generator, JitterMeter, Pool};
use ksync::IrqSpinLock;

use crate::mm::user::IoSink;
use crate::sync::{PerCpu, WaitQueue};
use crate::{sched, signal, time};

pub use file::{Hwrng, ioctl, poll, write};
pub use sources::{add_interrupt, register_source, source_has_bytes};

static POOL: IrqSpinLock<Option<Pool>> = IrqSpinLock::new(None);
static BASE: IrqSpinLock<Generator> = IrqSpinLock::new(Generator::unkeyed());
/// How often the base generator was keyed; 0 before the first time. Pairs with the loads in `with_local`.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static READY: AtomicBool = AtomicBool::new(false);
static READY_WAIT: WaitQueue = WaitQueue::new();
static KEYED_AT_NS: AtomicU64 = AtomicU64::new(0);

/// Fresh keys come from the pool at least this often, while anyone draws.
const REKEY_NS: u64 = 60_000_000_000;
/// Draws up to this size come from the CPU's generator; longer ones from a generator of their own, keyed by it, so
/// that interrupts are not off for long.
const SMALL_BYTES: usize = 256;

struct Local {
    generation: u64,
    generator: Generator,
}

static LOCAL: PerCpu<IrqSpinLock<Local>> = crate::per_cpu!(IrqSpinLock::new(Local {
    generation: 0,
    generator: Generator::unkeyed()
}));

/// Runs `f` on this CPU's generator, keyed by the latest base key.
fn with_local<T>(f: impl FnOnce(&mut Generator) -> T) -> T {
    let mut local = LOCAL.here().lock();
    let mut generation = GENERATION.load(Ordering::Acquire);
    if generation == 0 {
        rekey_base();
        generation = GENERATION.load(Ordering::Acquire);
    }
    if local.generation != generation {
        let key = BASE.lock().draw_key();
        local.generator.rekey(key);
        local.generation = generation;
    }
    f(&mut local.generator)
}

/// Runs `f` on the pool, which starts with what the processor gives.
fn with_pool<T>(f: impl FnOnce(&mut Pool) -> T) -> T {
    let mut pool = POOL.lock();
    let pool = pool.get_or_insert_with(|| {
        let mut pool = Pool::new();
        sources::mix_start(&mut pool);
        pool
    });
    f(pool)
}

/// Keys the base generator from the pool.
fn rekey_base() {
    let mut extra = [0; 32];
    sources::hardware_bytes(&mut extra);
    let ready = with_pool(|pool| {
        BASE.lock().rekey(pool.extract(&extra));
        pool.is_ready()
    });
    GENERATION.fetch_add(1, Ordering::Release);
    if ready && !READY.swap(true, Ordering::AcqRel) {
        READY_WAIT.wake_all();
        log::info!("random: crng init done");
    }
}

/// Mixes `bytes` into the pool; `bits` of them are believed unknown to anyone else.
pub fn add(bytes: &[u8], bits: u32) {
    let enough = with_pool(|pool| {
        pool.mix(bytes, bits);
        pool.is_ready()
    });
    // While the generator is not ready, every bit that counts is used at once.
    if !is_ready() && (enough || bits > 0) {
        rekey_base();
    }
}

/// Mixes in bytes that are worth nothing by themselves.
pub fn mix(bytes: &[u8]) {
    add(bytes, 0);
}

/// Whether enough entropy has come in since boot.
pub fn is_ready() -> bool {
    READY.load(Ordering::Acquire)
}

/// Trusted bits in the pool; 256 from the time it is ready.
pub fn entropy_bits() -> u32 {
    with_pool(|pool| pool.bits())
}

/// Fills `out`, from a generator that may not be ready yet: for the kernel's own use, which cannot wait.
pub fn fill(out: &mut [u8]) {
    if out.len() <= SMALL_BYTES {
        with_local(|generator| generator.fill(out));
    } else {
        Generator::new(with_local(Generator::draw_key)).fill(out);
    }
}

/// A random number.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A version 4 UUID.
pub fn uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    fill(&mut uuid);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

static BOOT_ID: spin::Once<[u8; 16]> = spin::Once::new();

/// The UUID of this boot, as in `/proc/sys/kernel/random/boot_id`.
pub fn boot_id() -> [u8; 16] {
    *BOOT_ID.call_once(uuid)
}

/// Waits until the generator is ready.
///
/// How long each of its short sleeps really took is entropy too, so that this ends on a machine without any source.
///
/// # Errors
/// `ERESTARTSYS` when a signal is pending.
pub fn wait_ready() -> Result<()> {
    const NAP_NS: u64 = 1_000_000;
    let mut meter = JitterMeter::new();
    while !is_ready() {
        let deadline_ns = time::monotonic_ns() + NAP_NS;
        READY_WAIT.wait_until_deadline(Some(deadline_ns), || is_ready().then_some(()))?;
        let stamp = sources::stamp();
        add(&stamp.to_le_bytes(), meter.judge(stamp).min(1));
    }
    Ok(())
}

fn rekey_if_old() {
    let now_ns = time::monotonic_ns();
    let keyed_ns = KEYED_AT_NS.load(Ordering::Relaxed);
    let old = now_ns.saturating_sub(keyed_ns) > REKEY_NS;
    let mine = || {
        KEYED_AT_NS
            .compare_exchange(keyed_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    };
    if old && mine() {
        rekey_base();
    }
}

/// Random bytes for a user, as many as `sink` has room for; fewer when a signal comes during a long draw.
///
/// # Errors
/// `EFAULT` when none could be written.
pub fn read(sink: &mut IoSink<'_>) -> Result<usize> {
    rekey_if_old();
    let mut block = [0; SMALL_BYTES];
    let total = sink.remaining();
    let result = if total <= SMALL_BYTES {
        with_local(|generator| generator.fill(&mut block[..total]));
        sink.put(&block[..total])
    } else {
        read_long(sink, &mut block)
    };
    block.fill(0);
    sink.outcome(result)
}

fn read_long(sink: &mut IoSink<'_>, block: &mut [u8; SMALL_BYTES]) -> Result<()> {
    let mut generator = Generator::new(with_local(Generator::draw_key));
    loop {
        let count = sink.remaining().min(block.len());
        generator.fill(&mut block[..count]);
        sink.put(&block[..count])?;
        if sink.remaining() == 0 {
            return Ok(());
        }
        if sink.done().is_multiple_of(4096) {
            if signal::pending(&crate::task::current()) {
                return Ok(());
            }
            sched::cond_resched();
        }
    }
}
