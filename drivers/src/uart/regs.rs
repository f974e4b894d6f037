//! Registers of the 16550: offsets and bits.
//!
//! Reference: PC16550D data sheet.

use bitflags::bitflags;

/// Receive buffer (read), transmit holding register (write); divisor low byte while DLAB is set.
pub const DATA: u16 = 0;
/// Interrupt enable; divisor high byte while DLAB is set.
pub const IER: u16 = 1;
/// Interrupt identification (read).
pub const IIR: u16 = 2;
/// FIFO control (write).
pub const FCR: u16 = 2;
/// Line control.
pub const LCR: u16 = 3;
/// Modem control.
pub const MCR: u16 = 4;
/// Line status.
pub const LSR: u16 = 5;
/// Modem status.
pub const MSR: u16 = 6;
/// Ports in all.
pub const COUNT: u16 = 8;

/// IIR: nothing pending while set.
pub const IIR_NONE: u8 = 1;
/// IIR: both bits set where FIFOs work.
pub const IIR_FIFO: u8 = 0xc0;

/// FCR: FIFOs on and emptied, interrupt at 8 received bytes.
pub const FCR_ON: u8 = 0x01 | 0x02 | 0x04 | 0x80;
/// FCR: FIFOs on, interrupt at 8 received bytes.
pub const FCR_KEEP: u8 = 0x01 | 0x80;
/// FCR: also empties the transmit FIFO.
pub const FCR_CLEAR_TX: u8 = 0x04;

/// LCR: 8 data bits.
pub const LCR_8_BITS: u8 = 3;
/// LCR: two stop bits.
pub const LCR_STOP: u8 = 4;
/// LCR: parity on.
pub const LCR_PARITY: u8 = 8;
/// LCR: even parity.
pub const LCR_EVEN: u8 = 16;
/// LCR: parity is stuck.
pub const LCR_STICK: u8 = 32;
/// LCR: hold the line low.
pub const LCR_BREAK: u8 = 64;
/// LCR: the divisor shows at DATA and IER.
pub const LCR_DLAB: u8 = 128;

/// MCR: outputs looped to inputs.
pub const MCR_LOOP: u8 = 0x10;

/// The divisor counts this many bits a second.
pub const BASE_BAUD: u32 = 115_200;

bitflags! {
    /// Interrupt causes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ier: u8 {
        const RECEIVED = 1;
        const TRANSMIT_EMPTY = 2;
        const LINE = 4;
        const MODEM = 8;
    }

    /// Line status.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Lsr: u8 {
        const DATA_READY = 1;
        const OVERRUN = 2;
        const PARITY = 4;
        const FRAMING = 8;
        const BREAK = 16;
        const HOLDING_EMPTY = 32;
        const ALL_SENT = 64;
        const FIFO_ERROR = 128;
    }

    /// Modem control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Mcr: u8 {
        const DTR = 1;
        const RTS = 2;
        const OUT1 = 4;
        /// Lets interrupts through on a PC.
        const OUT2 = 8;
    }

    /// Modem status (the levels).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Msr: u8 {
        const CTS = 16;
        const DSR = 32;
        const RING = 64;
        const CARRIER = 128;
    }
}
