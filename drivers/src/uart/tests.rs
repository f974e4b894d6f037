//! A 16550 of software plays the device.
use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;
use std::sync::Mutex;

use devapi::WindowSize;

use super::*;

#[derive(Default)]
struct Chip {
    ier: u8,
    lcr: u8,
    mcr: u8,
    divisor: [u8; 2],
    input: VecDeque<(u8, u8)>,
    output: Vec<u8>,
    /// Bytes the transmitter takes before it is full.
    room: usize,
    absent: bool,
}

struct Fake(Mutex<Chip>);

impl PortIo for Fake {
    fn read8(&self, offset: u16) -> u8 {
        let mut chip = self.0.lock().unwrap();
        if chip.absent {
            return 0xff;
        }
        match offset {
            regs::DATA => chip.input.pop_front().map_or(0, |(byte, _)| byte),
            regs::IER => chip.ier,
            regs::IIR => regs::IIR_FIFO | regs::IIR_NONE,
            regs::LCR => chip.lcr,
            regs::MCR => chip.mcr,
            regs::LSR => {
                let ready = chip.input.front().map_or(0, |(_, flags)| 1 | flags);
                ready | if chip.room > 0 { 0x60 } else { 0 }
            }
            regs::MSR if chip.mcr & regs::MCR_LOOP != 0 => {
                let m = chip.mcr;
                (m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4
            }
            regs::MSR => 0xb0,
            _ => 0,
        }
    }
    fn write8(&self, offset: u16, value: u8) {
        let mut chip = self.0.lock().unwrap();
        let dlab = chip.lcr & regs::LCR_DLAB != 0;
        match offset {
            regs::DATA if dlab => chip.divisor[0] = value,
            regs::IER if dlab => chip.divisor[1] = value,
            regs::DATA => {
                chip.room = chip.room.saturating_sub(1);
                chip.output.push(value);
            }
            regs::IER => chip.ier = value & 0x0f,
            regs::LCR => chip.lcr = value,
            regs::MCR => chip.mcr = value & 0x1f,
            _ => {}
        }
    }
    fn read16(&self, _: u16) -> u16 {
        unreachable!("the registers are bytes")
    }
    fn write16(&self, _: u16, _: u16) {}
    fn read32(&self, _: u16) -> u32 {
        unreachable!("the registers are bytes")
    }
    fn write32(&self, _: u16, _: u32) {}
}

#[derive(Default)]
struct Heard(Mutex<Vec<u8>>);

impl ConsoleEvents for Heard {
    fn input(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend(bytes);
    }
    fn flaw(&self, _: u8, flaw: InputFlaw) {
        self.0.lock().unwrap().extend(match flaw {
            InputFlaw::Break => b"<break>".as_slice(),
            _ => b"<error>",
        });
    }
    fn writable(&self) {
        self.0.lock().unwrap().extend(b"<room>");
    }
    fn resized(&self, _: WindowSize) {}
    fn carrier(&self, _: bool) {}
}

fn uart(room: usize) -> Uart<Fake> {
    let chip = Chip {
        room,
        ..Chip::default()
    };
    Uart::probe("ttyS0".to_string(), Fake(Mutex::new(chip))).unwrap()
}

#[test]
fn an_empty_bus_is_no_port() {
    let chip = Chip {
        absent: true,
        ..Chip::default()
    };
    assert!(Uart::probe("ttyS1".to_string(), Fake(Mutex::new(chip))).is_none());
}

#[test]
fn line_settings_reach_the_registers() {
    let uart = uart(99);
    for (baud, data_bits, two, parity, divisor, lcr) in [
        (115_200, 8, false, Parity::None, 1, 0x03),
        (9600, 7, false, Parity::Even, 12, 0x1a),
        (300, 5, true, Parity::Odd, 384, 0x0c),
        (0, 8, false, Parity::Mark, 1, 0x2b),
        (4_000_000, 8, false, Parity::Space, 1, 0x3b),
    ] {
        uart.set_line(&LineSettings {
            baud,
            data_bits,
            two_stop_bits: two,
            parity,
        });
        let chip = uart.ports.0.lock().unwrap();
        assert_eq!(u16::from_le_bytes(chip.divisor), divisor);
        assert_eq!(chip.lcr, lcr);
    }
}

#[test]
fn a_full_transmitter_tells_of_room_once() {
    let uart = uart(5);
    let heard = Arc::new(Heard::default());
    uart.set_interrupts(true);
    uart.set_events(heard.clone());
    uart.ports.0.lock().unwrap().room = 16;
    assert_eq!(uart.write(&[b'x'; 40]), 16);
    assert!(!uart.interrupt());
    uart.ports.0.lock().unwrap().room = 16;
    assert!(uart.interrupt());
    assert!(!uart.interrupt());
    assert_eq!(*heard.0.lock().unwrap(), b"<room>");
    assert_eq!(uart.counters().sent, 16);
}

#[test]
fn input_errors_and_breaks_keep_their_place() {
    let uart = uart(99);
    let heard = Arc::new(Heard::default());
    uart.set_events(heard.clone());
    let line = (0..20).map(|i| (b'a' + i, 0));
    let mut chip = uart.ports.0.lock().unwrap();
    chip.input.extend(line);
    chip.input.extend([(0, 16), (b'x', 4), (b'y', 0)]);
    drop(chip);
    uart.interrupt();
    assert_eq!(
        *heard.0.lock().unwrap(),
        b"abcdefghijklmnopqrst<break><error>y"
    );
    assert_eq!(
        (uart.counters().breaks, uart.counters().parity_errors),
        (1, 1)
    );
}
