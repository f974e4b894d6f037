//! Interrupts of devices: messages with one handler, and lines that several devices share.
//!
//! A line is level-triggered and stays active until every device on it is quiet, so all its handlers run each time. A
//! line on which nobody answers for long is masked, or it would hold the CPU for ever.
//!
//! Lock order: `ENTRIES`, then one line's `handlers`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use abi::{Errno, Result};
use ksync::IrqSpinLock;
use spin::Once;

use crate::arch::irq::{self, Polarity, Trigger, Vector};
use crate::device::random;
use crate::sync::Mutex;

/// What runs at an interrupt: with interrupts off, so it may wake and mark but not wait.
pub trait Handler: Send + Sync {
    /// Whether the interrupt was this device's.
    fn interrupt(&self) -> bool;
}

/// First number of messages in `/proc/interrupts`; below are the lines.
const FIRST_MESSAGE: u32 = 64;
const MOST: usize = 192;
/// Interrupts in a row that nobody answered, after which a line is masked.
const NOBODY_CARED: u32 = 100_000;

struct Line {
    gsi: u32,
    handlers: IrqSpinLock<Arc<[Arc<dyn Handler>]>>,
    unanswered: AtomicU32,
}

/// One interrupt as `/proc/interrupts` shows it.
pub struct Description {
    pub number: u32,
    pub vector: u8,
    /// `IO-APIC`, `PCI-MSI`, `PCI-MSIX`.
    pub controller: &'static str,
    pub trigger: &'static str,
    /// The devices, separated by commas.
    pub names: String,
}

struct Entry {
    description: Description,
    line: Option<Arc<Line>>,
}

static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// What runs for each argument given to `irq::register`; set before the interrupt can come.
static SLOTS: [Once<Arc<dyn Handler>>; MOST] = [const { Once::new() }; MOST];
static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0);

fn dispatch(slot: usize) {
    random::add_interrupt(slot as u32);
    if let Some(handler) = SLOTS.get(slot).and_then(Once::get) {
        handler.interrupt();
    }
}

fn take_vector(handler: Arc<dyn Handler>) -> Result<Vector> {
    let slot = NEXT_SLOT.fetch_add(1, Ordering::Relaxed);
    SLOTS.get(slot).ok_or(Errno::ENOSPC)?.call_once(|| handler);
    irq::register(dispatch, slot).ok_or(Errno::ENOSPC)
}

/// Takes a message for `handler`: its number, and the address and data that a device writes to raise it.
pub fn request_message(
    controller: &'static str,
    name: &str,
    handler: Arc<dyn Handler>,
) -> Result<(u32, u64, u32)> {
    let vector = take_vector(handler)?;
    let (address, data) = irq::msi_message(vector);
    let mut entries = ENTRIES.lock();
    let messages = entries.iter().filter(|entry| entry.line.is_none()).count() as u32;
    let number = FIRST_MESSAGE + messages;
    entries.push(Entry {
        description: Description {
            number,
            vector: vector.number(),
            controller,
            trigger: "edge",
            names: String::from(name),
        },
        line: None,
    });
    Ok((number, address, data))
}

/// Adds `handler` to the line that arrives at input `gsi`.
pub fn request_line(
    gsi: u32,
    trigger: Trigger,
    polarity: Polarity,
    name: &str,
    handler: Arc<dyn Handler>,
) -> Result<u32> {
    let mut entries = ENTRIES.lock();
    let known = entries
        .iter_mut()
        .find(|entry| entry.line.as_ref().is_some_and(|l| l.gsi == gsi));
    if let Some(Entry {
        description,
        line: Some(line),
    }) = known
    {
        line.add(handler);
        description.names.push_str(", ");
        description.names.push_str(name);
        return Ok(gsi);
    }
    let line = Arc::new(Line {
        gsi,
        handlers: IrqSpinLock::new(Arc::new([handler])),
        unanswered: AtomicU32::new(0),
    });
    let vector = take_vector(line.clone())?;
    if !irq::route_gsi(gsi, vector, trigger, polarity) {
        return Err(Errno::ENODEV);
    }
    entries.push(Entry {
        description: Description {
            number: gsi,
            vector: vector.number(),
            controller: "IO-APIC",
            trigger: if trigger == Trigger::Level {
                "fasteoi"
            } else {
                "edge"
            },
            names: String::from(name),
        },
        line: Some(line),
    });
    Ok(gsi)
}

impl Line {
    fn add(&self, handler: Arc<dyn Handler>) {
        let old = self.handlers.lock().clone();
        let more: Arc<[_]> = old.iter().cloned().chain([handler]).collect();
        // Lines change under `ENTRIES` only, so `old` is still what is there.
        let before = core::mem::replace(&mut *self.handlers.lock(), more);
        drop(before);
    }
}

impl Handler for Line {
    fn interrupt(&self) -> bool {
        let handlers = self.handlers.lock().clone();
        let mut answered = false;
        for handler in handlers.iter() {
            answered |= handler.interrupt();
        }
        if answered {
            self.unanswered.store(0, Ordering::Relaxed);
        } else if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 == NOBODY_CARED {
            irq::mask_gsi(self.gsi, true);
            log::warn!("irq {}: nobody cared, disabled", self.gsi);
        }
        answered
    }
}

/// Calls `visit` with each interrupt, by number.
pub fn for_each(mut visit: impl FnMut(&Description)) {
    let entries = ENTRIES.lock();
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|entry| entry.description.number);
    order
        .into_iter()
        .for_each(|entry| visit(&entry.description));
}
