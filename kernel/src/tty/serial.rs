//! The serial ports of a PC: `ttyS0` and `ttyS1`.

use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use drivers::hal::Ports;
use drivers::uart::{PORT_COUNT, Uart};
use spin::Once;

use super::consoles::{self, SERIAL_MINOR, TTY_MAJOR};
use super::line;
use crate::arch::irq;
use crate::sched;
use crate::time;

/// Base port and legacy interrupt line of each.
const PORTS: [(u16, u8); 2] = [(0x3f8, 4), (0x2f8, 3)];
/// How often a port without interrupts is looked at.
const POLL_NS: u64 = 10_000_000;
/// How long the first interrupt may take to come.
const TEST_NS: u64 = 50_000_000;

type Port = Arc<Uart<Ports>>;
static FOUND: [Once<Port>; PORTS.len()] = [const { Once::new() }; PORTS.len()];
static INTERRUPTS: [AtomicU32; PORTS.len()] = [const { AtomicU32::new(0) }; PORTS.len()];
static POLLED: [AtomicBool; PORTS.len()] = [const { AtomicBool::new(false) }; PORTS.len()];

fn on_interrupt(index: usize) {
    INTERRUPTS[index].fetch_add(1, Ordering::Relaxed);
    if let Some(uart) = FOUND[index].get() {
        uart.interrupt();
    }
}

/// Base port and legacy interrupt line of a port.
pub fn place(index: usize) -> Option<(u16, u8)> {
    PORTS.get(index).copied()
}

/// Finds the ports and makes terminals of them.
pub fn init() {
    for (index, (base, line)) in PORTS.into_iter().enumerate() {
        let name = format!("ttyS{index}");
        let Some(uart) = Uart::probe(name.clone(), Ports::new(base, PORT_COUNT)) else {
            continue;
        };
        let uart = Arc::new(uart);
        FOUND[index].call_once(|| uart.clone());
        let dev = (TTY_MAJOR, SERIAL_MINOR + index as u32);
        let (tty, made) = match line::make(uart.clone(), Some(uart.clone()), dev) {
            Ok(made) => made,
            Err(error) => {
                ::log::warn!("{name}: {error:?}");
                continue;
            }
        };
        let connected = connect(index, line);
        uart.set_interrupts(true);
        if !connected || !interrupts_come(index, &uart) {
            ::log::warn!("{name}: no interrupts on line {line}, polling");
            uart.set_interrupts(false);
            poll(index);
        }
        ::log::info!("{name} at I/O {base:#x} (irq = {line}) is a 16550");
        consoles::add_line(tty, made);
    }
}

/// Leads the interrupt line to the handler.
fn connect(index: usize, line: u8) -> bool {
    let Some(vector) = irq::register(on_interrupt, index) else {
        return false;
    };
    let (gsi, trigger, polarity) = irq::isa_to_gsi(line);
    irq::route_gsi(gsi, vector, trigger, polarity)
}

/// Whether the port's interrupts arrive: makes it tell that it is ready to send.
fn interrupts_come(index: usize, uart: &Port) -> bool {
    let before = INTERRUPTS[index].load(Ordering::Relaxed);
    uart.request_room_event();
    let deadline = time::monotonic_ns() + TEST_NS;
    while INTERRUPTS[index].load(Ordering::Relaxed) == before {
        if time::monotonic_ns() > deadline {
            return false;
        }
        crate::arch::cpu::relax();
    }
    true
}

/// Looks at a port from time to time.
fn poll(index: usize) {
    if POLLED[index].swap(true, Ordering::Relaxed) {
        return;
    }
    let started = sched::spawn_kernel_thread("kserialpoll", move || {
        loop {
            if let Some(uart) = FOUND[index].get() {
                uart.interrupt();
            }
            // Signals do not reach kernel threads, so the sleep is whole.
            let _ = sched::sleep_until(time::monotonic_ns() + POLL_NS);
        }
    });
    if let Err(error) = started {
        ::log::warn!("ttyS{index}: no thread to poll it: {error:?}");
    }
}
