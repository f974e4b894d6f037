//! Fixed ACPI events: the power button, and waking by the clock's alarm.
//!
//! On Linux the button is an input event, and without a daemon that listens nothing happens. Here nobody listens
//! either unless a program opens the button's input device, so until one does, the button asks init to power off in
//! the way of BusyBox: SIGUSR2 to process 1. An init that ignores the signal keeps the machine running.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::signal::{SigInfo, Signo};
use drivers::hal::{PortIo, Ports};
use spin::Once;

use super::tables::{self, Fadt};
use crate::arch::irq::{Polarity, Trigger};
use crate::device::irq;
use crate::sync::WaitQueue;
use crate::{sched, signal, task};

const POWER_BUTTON: u16 = 1 << 8;
const CLOCK_ALARM: u16 = 1 << 10;
const SCI_ENABLED: u16 = 1;

/// The event registers: status and enable halves of one or two blocks.
struct Events {
    blocks: [Option<Ports>; 2],
    half: u16,
}

impl Events {
    fn new(fadt: &Fadt) -> Self {
        let bytes = u16::from(fadt.pm1_event_len);
        let block = |port: u16| (port != 0 && bytes >= 4).then(|| Ports::new(port, bytes));
        Self {
            blocks: [block(fadt.pm1a_event), block(fadt.pm1b_event)],
            half: bytes / 2,
        }
    }

    /// The events that happened and are enabled; clears them.
    fn take(&self) -> u16 {
        let mut happened = 0;
        for ports in self.blocks.iter().flatten() {
            let now = ports.read16(0) & ports.read16(self.half);
            ports.write16(0, now);
            happened |= now;
        }
        happened
    }

    /// Enables `events` and no others, forgetting what happened before.
    fn enable(&self, events: u16) {
        for ports in self.blocks.iter().flatten() {
            ports.write16(0, u16::MAX);
            ports.write16(self.half, events);
        }
    }
}

impl irq::Handler for Events {
    fn interrupt(&self) -> bool {
        let happened = self.take();
        if happened & POWER_BUTTON != 0 {
            PRESSED.store(true, Ordering::Release);
            PRESSED_WAIT.wake_all();
        }
        happened != 0
    }
}

/// Who else hears of the button; true when they took care of it.
static LISTENER: Once<fn() -> bool> = Once::new();

static PRESSED: AtomicBool = AtomicBool::new(false);
static PRESSED_WAIT: WaitQueue = WaitQueue::new();

/// Acts on the button, outside of interrupts.
fn watch() {
    loop {
        PRESSED_WAIT.wait_uninterruptible(|| PRESSED.swap(false, Ordering::AcqRel).then_some(()));
        log::info!("power button pressed");
        if LISTENER.get().is_some_and(|listener| listener()) {
            continue;
        }
        let init = task::find_process(task::Pid(1));
        let sent = init.map(|init| signal::send_to_process(&init, SigInfo::kernel(Signo::USR2)));
        if !matches!(sent, Some(Ok(()))) {
            log::warn!("no init to power off");
        }
    }
}

/// Takes the fixed registers over from the firmware. Whether they are the kernel's now.
pub fn enable_acpi() -> bool {
    let Some(fadt) = tables::try_get().and_then(|tables| tables.fadt.as_ref()) else {
        return false;
    };
    if fadt.pm1a_control == 0 {
        return false;
    }
    let control = Ports::new(fadt.pm1a_control, 2);
    let enabled = || control.read16(0) & SCI_ENABLED != 0;
    if enabled() {
        return true;
    }
    let Ok(command) = u16::try_from(fadt.smi_command) else {
        return false;
    };
    if command == 0 || fadt.acpi_enable == 0 {
        return false;
    }
    Ports::new(command, 1).write8(0, fadt.acpi_enable);
    const LIMIT_NS: u64 = 300_000_000;
    drivers::hal::wait_for(LIMIT_NS, enabled).is_ok()
}

/// Lets the alarm of the calendar clock switch the machine on once it is off.
pub fn let_clock_wake() {
    let Some(fadt) = tables::try_get().and_then(|tables| tables.fadt.as_ref()) else {
        return;
    };
    let events = Events::new(fadt);
    for ports in events.blocks.iter().flatten() {
        ports.write16(0, CLOCK_ALARM);
        let enabled = ports.read16(events.half);
        ports.write16(events.half, enabled | CLOCK_ALARM);
    }
}

/// Starts to listen to the power button.
pub fn init() {
    let Some(fadt) = tables::get().fadt.as_ref() else {
        return;
    };
    let events = Events::new(fadt);
    if fadt.hardware_reduced || events.blocks.iter().flatten().count() == 0 {
        return;
    }
    if !enable_acpi() {
        log::warn!("ACPI: the firmware keeps its registers; no power button");
        return;
    }
    if !fadt.power_button {
        // A button that is a device of its own speaks through byte code, which is not run for events.
        events.enable(0);
        return;
    }
    if let Err(error) = sched::spawn_kernel_thread("power-button", watch) {
        log::warn!("ACPI: no thread for the power button: {error:?}");
        return;
    }
    events.enable(POWER_BUTTON);
    // The SCI is level-triggered and active low unless the firmware says otherwise of its legacy line.
    let line = fadt.sci_interrupt;
    let overridden = tables::get()
        .overrides
        .iter()
        .any(|o| u16::from(o.source) == line);
    let (gsi, trigger, polarity) = match u8::try_from(line) {
        Ok(line) if overridden => crate::arch::irq::isa_to_gsi(line),
        _ => (u32::from(line), Trigger::Level, Polarity::Low),
    };
    if let Err(error) = irq::request_line(gsi, trigger, polarity, "acpi", Arc::new(events)) {
        log::warn!("ACPI: no interrupt for events: {error:?}");
    }
}
