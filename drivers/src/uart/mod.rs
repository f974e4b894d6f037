//! The 16550 serial port of PCs, driven by interrupts, or by polling where none come.
//!
//! | module | what |
//! |---|---|
//! | `regs` | registers and their bits |
//! | this | probing, line settings, sending and receiving |

mod regs;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;

use devapi::{ConsoleDevice, ConsoleEvents, InputFlaw};
use ksync::IrqSpinLock;

use crate::hal::PortIo;
pub use regs::{COUNT as PORT_COUNT, Mcr, Msr};
use regs::{Ier, Lsr};

/// Depth of the FIFOs.
const FIFO_BYTES: usize = 16;
/// Rounds of one interrupt, so that a stuck port cannot hold a CPU.
const MOST_ROUNDS: usize = 64;
/// Polls for room in an emergency: about 10 ms of port reads.
const MOST_POLLS: usize = 20_000;

/// How bytes go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits a second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    pub two_stop_bits: bool,
    pub parity: Parity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    None,
    Odd,
    Even,
    /// The parity bit is always 1.
    Mark,
    /// The parity bit is always 0.
    Space,
}

impl LineSettings {
    /// What firmware and loaders use.
    pub const DEFAULT: LineSettings = LineSettings {
        baud: regs::BASE_BAUD,
        data_bits: 8,
        two_stop_bits: false,
        parity: Parity::None,
    };

    fn divisor(&self) -> u16 {
        let divisor = (regs::BASE_BAUD + self.baud / 2)
            .checked_div(self.baud)
            .unwrap_or(1);
        divisor.clamp(1, 0xffff) as u16
    }

    /// The speed that the divisor really gives.
    pub fn real_baud(&self) -> u32 {
        regs::BASE_BAUD / u32::from(self.divisor())
    }

    fn lcr(&self) -> u8 {
        let parity = match self.parity {
            Parity::None => 0,
            Parity::Odd => regs::LCR_PARITY,
            Parity::Even => regs::LCR_PARITY | regs::LCR_EVEN,
            Parity::Mark => regs::LCR_PARITY | regs::LCR_STICK,
            Parity::Space => regs::LCR_PARITY | regs::LCR_EVEN | regs::LCR_STICK,
        };
        let stop = if self.two_stop_bits {
            regs::LCR_STOP
        } else {
            0
        };
        (self.data_bits.clamp(5, 8) - 5) | stop | parity
    }
}

/// Counters of `TIOCGICOUNT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u32,
    pub sent: u32,
    pub overruns: u32,
    pub parity_errors: u32,
    pub framing_errors: u32,
    pub breaks: u32,
}

struct Inner {
    ier: Ier,
    lcr: u8,
    mcr: Mcr,
    /// Bytes the transmitter takes at once: 16 with FIFOs, else 1.
    depth: usize,
    counters: Counters,
    events: Option<Arc<dyn ConsoleEvents>>,
    carrier: bool,
}

/// A serial port.
pub struct Uart<P> {
    name: String,
    ports: P,
    inner: IrqSpinLock<Inner>,
}

/// What one round of reading the port gave.
#[derive(Default)]
struct Received {
    bytes: [u8; FIFO_BYTES],
    count: usize,
    flaw: Option<(u8, InputFlaw)>,
}

impl<P: PortIo> Uart<P> {
    /// Looks for a 16550 (or what came before and after it) at `ports`, and sets it up; `None` if nothing sound
    /// answers there.
    pub fn probe(name: String, ports: P) -> Option<Self> {
        if !answers(&ports) {
            return None;
        }
        let line = LineSettings::DEFAULT;
        ports.write8(regs::IER, 0);
        ports.write8(regs::FCR, regs::FCR_ON);
        let fifo = ports.read8(regs::IIR) & regs::IIR_FIFO == regs::IIR_FIFO;
        let mcr = Mcr::DTR | Mcr::RTS | Mcr::OUT2;
        let uart = Self {
            name,
            ports,
            inner: IrqSpinLock::new(Inner {
                ier: Ier::empty(),
                lcr: regs::LCR_8_BITS,
                mcr,
                depth: if fifo { FIFO_BYTES } else { 1 },
                counters: Counters::default(),
                events: None,
                carrier: true,
            }),
        };
        uart.set_line(&line);
        uart.ports.write8(regs::MCR, mcr.bits());
        uart.ports.read8(regs::LSR);
        uart.ports.read8(regs::DATA);
        uart.ports.read8(regs::MSR);
        Some(uart)
    }

    /// Speed and format from now on.
    pub fn set_line(&self, line: &LineSettings) {
        let mut inner = self.inner.lock();
        let divisor = line.divisor().to_le_bytes();
        inner.lcr = line.lcr();
        self.ports.write8(regs::LCR, inner.lcr | regs::LCR_DLAB);
        self.ports.write8(regs::DATA, divisor[0]);
        self.ports.write8(regs::IER, divisor[1]);
        self.ports.write8(regs::LCR, inner.lcr);
        self.ports.write8(regs::IER, inner.ier.bits());
    }

    /// Lets interrupts come, or not: then [`Uart::interrupt`] is to be called from a timer.
    pub fn set_interrupts(&self, on: bool) {
        let mut inner = self.inner.lock();
        let causes = Ier::RECEIVED | Ier::LINE | Ier::MODEM;
        inner.ier.set(causes, on);
        self.ports.write8(regs::IER, inner.ier.bits());
    }

    /// Makes the port tell of room as soon as it has some, by an interrupt.
    pub fn request_room_event(&self) {
        let mut inner = self.inner.lock();
        inner.ier.insert(Ier::TRANSMIT_EMPTY);
        self.ports.write8(regs::IER, inner.ier.bits());
    }

    /// Holds the line low (`true`), or ends that.
    pub fn set_break(&self, on: bool) {
        let inner = self.inner.lock();
        let bit = if on { regs::LCR_BREAK } else { 0 };
        self.ports.write8(regs::LCR, inner.lcr | bit);
    }

    /// The outputs and inputs of the modem.
    pub fn modem(&self) -> (Mcr, Msr) {
        let inner = self.inner.lock();
        (
            inner.mcr,
            Msr::from_bits_truncate(self.ports.read8(regs::MSR)),
        )
    }

    /// Sets and clears modem outputs. Interrupts stay let through.
    pub fn set_modem(&self, set: Mcr, clear: Mcr) {
        let mut inner = self.inner.lock();
        inner.mcr = inner.mcr.difference(clear).union(set) | Mcr::OUT2;
        self.ports.write8(regs::MCR, inner.mcr.bits());
    }

    /// Drops what the transmit FIFO holds.
    pub fn flush(&self) {
        let inner = self.inner.lock();
        if inner.depth > 1 {
            self.ports
                .write8(regs::FCR, regs::FCR_KEEP | regs::FCR_CLEAR_TX);
        }
    }

    pub fn counters(&self) -> Counters {
        self.inner.lock().counters
    }

    fn status(&self) -> Lsr {
        Lsr::from_bits_truncate(self.ports.read8(regs::LSR))
    }

    /// Sends now, waiting for the port itself and for no lock. For panics and a full log.
    pub fn write_polled(&self, bytes: &[u8]) {
        for &byte in bytes {
            let mut polls = 0;
            while !self.status().contains(Lsr::HOLDING_EMPTY) && polls < MOST_POLLS {
                polls += 1;
            }
            self.ports.write8(regs::DATA, byte);
        }
    }

    /// Serves the port: takes what was received, tells of room. Returns whether there was anything.
    pub fn interrupt(&self) -> bool {
        let mut any = false;
        for _ in 0..MOST_ROUNDS {
            let mut inner = self.inner.lock();
            let received = self.receive(&mut inner);
            let writable = inner.ier.contains(Ier::TRANSMIT_EMPTY)
                && self.status().contains(Lsr::HOLDING_EMPTY);
            if writable {
                inner.ier.remove(Ier::TRANSMIT_EMPTY);
                self.ports.write8(regs::IER, inner.ier.bits());
            }
            let carrier = self.check_carrier(&mut inner);
            let events = inner.events.clone();
            drop(inner);
            if let Some(events) = &events {
                if received.count > 0 {
                    events.input(&received.bytes[..received.count]);
                }
                if let Some((byte, flaw)) = received.flaw {
                    events.flaw(byte, flaw);
                }
                if writable {
                    events.writable();
                }
                if let Some(up) = carrier {
                    events.carrier(up);
                }
            }
            let idle = received.count == 0 && received.flaw.is_none() && !writable;
            any |= !idle || carrier.is_some();
            if idle && self.ports.read8(regs::IIR) & regs::IIR_NONE != 0 {
                break;
            }
        }
        any
    }

    /// Reads until the FIFO is empty, the buffer full, or a byte is flawed.
    fn receive(&self, inner: &mut Inner) -> Received {
        let mut received = Received::default();
        while received.count < FIFO_BYTES {
            let status = self.status();
            if status == Lsr::all() || !status.intersects(Lsr::DATA_READY | Lsr::BREAK) {
                break;
            }
            let byte = self.ports.read8(regs::DATA);
            let counters = &mut inner.counters;
            counters.received = counters.received.wrapping_add(1);
            counters.overruns += u32::from(status.contains(Lsr::OVERRUN));
            let flaw = if status.contains(Lsr::BREAK) {
                counters.breaks += 1;
                InputFlaw::Break
            } else if status.contains(Lsr::PARITY) {
                counters.parity_errors += 1;
                InputFlaw::Parity
            } else if status.contains(Lsr::FRAMING) {
                counters.framing_errors += 1;
                InputFlaw::Framing
            } else {
                received.bytes[received.count] = byte;
                received.count += 1;
                continue;
            };
            received.flaw = Some((byte, flaw));
            break;
        }
        received
    }

    /// The new state of the carrier, if it changed.
    fn check_carrier(&self, inner: &mut Inner) -> Option<bool> {
        let msr = Msr::from_bits_truncate(self.ports.read8(regs::MSR));
        let up = msr.contains(Msr::CARRIER);
        (core::mem::replace(&mut inner.carrier, up) != up).then_some(up)
    }
}

/// Whether the ports behave as a UART: interrupt enable bits hold, and outputs come back looped.
fn answers(ports: &impl PortIo) -> bool {
    let old_mcr = ports.read8(regs::MCR);
    if ports.read8(regs::LSR) == 0xff {
        return false;
    }
    ports.write8(regs::LCR, regs::LCR_8_BITS);
    ports.write8(regs::IER, 0);
    let cleared = ports.read8(regs::IER) & 0x0f;
    ports.write8(regs::IER, 0x0f);
    let set = ports.read8(regs::IER) & 0x0f;
    ports.write8(regs::IER, 0);
    if cleared != 0 || set != 0x0f {
        return false;
    }
    // RTS and OUT2 come back as CTS and carrier.
    ports.write8(regs::MCR, regs::MCR_LOOP | (Mcr::RTS | Mcr::OUT2).bits());
    let looped = ports.read8(regs::MSR) & 0xf0;
    ports.write8(regs::MCR, old_mcr);
    looped == (Msr::CTS | Msr::CARRIER).bits()
}

impl<P: PortIo> ConsoleDevice for Uart<P> {
    fn name(&self) -> &str {
        &self.name
    }

    fn write(&self, bytes: &[u8]) -> usize {
        let mut inner = self.inner.lock();
        let mut sent = 0;
        while sent < bytes.len() && self.status().contains(Lsr::HOLDING_EMPTY) {
            for &byte in bytes[sent..].iter().take(inner.depth) {
                self.ports.write8(regs::DATA, byte);
                sent += 1;
            }
        }
        inner.counters.sent = inner.counters.sent.wrapping_add(sent as u32);
        if sent < bytes.len() && !inner.ier.contains(Ier::TRANSMIT_EMPTY) {
            inner.ier.insert(Ier::TRANSMIT_EMPTY);
            self.ports.write8(regs::IER, inner.ier.bits());
        }
        sent
    }

    fn pending(&self) -> usize {
        // How many bytes the FIFO holds cannot be read; that it holds some can.
        usize::from(!self.status().contains(Lsr::ALL_SENT))
    }

    fn carrier(&self) -> bool {
        Msr::from_bits_truncate(self.ports.read8(regs::MSR)).contains(Msr::CARRIER)
    }

    fn set_events(&self, events: Arc<dyn ConsoleEvents>) {
        let old = self.inner.lock().events.replace(events);
        drop(old);
        self.interrupt();
    }
}
