//! Terminals on a [`ConsoleDevice`]: serial ports and virtio consoles.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering};

use abi::termios::{
    CBAUD, CLOCAL, CMSPAR, CS7, CSIZE, CSTOPB, IXOFF, PARENB, PARODD, PORT_16550A, SerialIcounter,
    SerialStruct, TIOCGICOUNT, TIOCGSERIAL, TIOCM_CAR, TIOCM_CTS, TIOCM_DSR, TIOCM_DTR, TIOCM_RNG,
    TIOCM_RTS, Termios, VSTART, VSTOP, Winsize,
};
use abi::{Errno, Result};
use arrayvec::ArrayVec;
use devapi::{ConsoleDevice, ConsoleEvents, InputFlaw, WindowSize};
use drivers::hal::Ports;
use drivers::uart::{LineSettings, Mcr, Msr, Parity, Uart};
use ldisc::Flaw;
use spin::Once;

use super::consoles::{self, SERIAL_MINOR};
use super::core::{Driver, Tty};
use super::worker::{self, Source};
use super::{ioctl, serial};
use crate::fs::File;
use crate::sched;
use crate::sync::IrqSpinLock;

/// In bits per second, where the command line names no other: Linux's.
const DEFAULT_SPEED: u32 = 9600;
/// Bytes kept for the device, and from it.
const RING_BYTES: usize = 4096;
/// Bytes given to the line discipline at a time.
const CHUNK: usize = 256;

struct Out {
    ring: VecDeque<u8>,
    stopped: bool,
}

struct In {
    ring: VecDeque<u8>,
    /// Damaged bytes since the worker looked.
    flaws: ArrayVec<(u8, InputFlaw), 16>,
    resized: Option<WindowSize>,
    hangup: bool,
}

/// A device with what is on its way to and from it.
///
/// # Invariants
/// Neither ring grows beyond its first capacity: interrupts allocate nothing.
pub struct Line {
    device: Arc<dyn ConsoleDevice>,
    /// The same device where it is a UART.
    uart: Option<Arc<Uart<Ports>>>,
    out: IrqSpinLock<Out>,
    input: IrqSpinLock<In>,
    /// The line discipline refused input; it is offered again after a read.
    held: AtomicBool,
    room: AtomicBool,
    tty: Once<Weak<Tty>>,
}

impl Line {
    fn new(device: Arc<dyn ConsoleDevice>, uart: Option<Arc<Uart<Ports>>>) -> Result<Arc<Line>> {
        let ring = || {
            let mut ring = VecDeque::new();
            ring.try_reserve_exact(RING_BYTES)
                .map(|()| ring)
                .map_err(|_| Errno::ENOMEM)
        };
        Ok(Arc::new(Line {
            device,
            uart,
            out: IrqSpinLock::new(Out {
                ring: ring()?,
                stopped: false,
            }),
            input: IrqSpinLock::new(In {
                ring: ring()?,
                flaws: ArrayVec::new(),
                resized: None,
                hangup: false,
            }),
            held: AtomicBool::new(false),
            room: AtomicBool::new(false),
            tty: Once::new(),
        }))
    }

    /// Sends what the device takes.
    fn pump(&self, out: &mut Out) {
        while !out.stopped && !out.ring.is_empty() {
            let (first, _) = out.ring.as_slices();
            let sent = self.device.write(first);
            if sent == 0 {
                break;
            }
            out.ring.drain(..sent);
        }
    }

    /// Queues bytes; returns how many fitted.
    fn queue(&self, bytes: &[u8]) -> usize {
        let mut out = self.out.lock();
        let count = bytes.len().min(RING_BYTES - out.ring.len());
        out.ring.extend(&bytes[..count]);
        self.pump(&mut out);
        count
    }

    /// Shows kernel messages: after what is queued if there is room, else at once.
    pub fn log(&self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, end): (&[u8], &[u8]) = match part.strip_suffix(b"\n") {
                Some(text) => (text, b"\r\n"),
                None => (part, b""),
            };
            for piece in [text, end] {
                let queued = self.queue(piece);
                if let Some(uart) = &self.uart {
                    uart.write_polled(&piece[queued..]);
                }
            }
        }
    }

    /// Shows bytes in a panic.
    pub fn log_emergency(&self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, end): (&[u8], &[u8]) = match part.strip_suffix(b"\n") {
                Some(text) => (text, b"\r\n"),
                None => (part, b""),
            };
            for piece in [text, end] {
                match &self.uart {
                    Some(uart) => uart.write_polled(piece),
                    None => {
                        self.device.write(piece);
                    }
                }
            }
        }
    }

    /// Whether this is `ttyS0`, on which the log is shown before there are terminals.
    pub fn is_first_port(&self) -> bool {
        self.uart.is_some() && self.device.name() == "ttyS0"
    }

    fn tty(&self) -> Option<Arc<Tty>> {
        self.tty.get()?.upgrade()
    }
}

impl ConsoleEvents for Line {
    fn input(&self, bytes: &[u8]) {
        let mut input = self.input.lock();
        let count = bytes.len().min(RING_BYTES - input.ring.len());
        input.ring.extend(&bytes[..count]);
        drop(input);
        worker::kick();
    }

    fn flaw(&self, byte: u8, flaw: InputFlaw) {
        // When sixteen wait already, another one tells nothing new.
        let _ = self.input.lock().flaws.try_push((byte, flaw));
        worker::kick();
    }

    fn writable(&self) {
        self.pump(&mut self.out.lock());
        self.room.store(true, Ordering::Release);
        worker::kick();
    }

    fn resized(&self, size: WindowSize) {
        self.input.lock().resized = Some(size);
        worker::kick();
    }

    fn carrier(&self, up: bool) {
        if !up {
            self.input.lock().hangup = true;
            worker::kick();
        }
    }
}

impl Source for Line {
    fn work(&self) {
        let Some(tty) = self.tty() else { return };
        if self.room.swap(false, Ordering::AcqRel) {
            tty.output_room();
        }
        self.deliver(&tty);
        let (flaws, resized, hangup) = {
            let mut input = self.input.lock();
            let flaws = core::mem::take(&mut input.flaws);
            (
                flaws,
                input.resized.take(),
                core::mem::take(&mut input.hangup),
            )
        };
        for (byte, flaw) in flaws {
            let flaw = if flaw == InputFlaw::Break {
                Flaw::Break
            } else {
                Flaw::Parity
            };
            tty.receive_flawed(byte, flaw);
        }
        if let Some(size) = resized {
            let size = Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ..Winsize::default()
            };
            ioctl::resize(&tty, size);
        }
        if hangup && tty.termios().c_cflag & CLOCAL == 0 {
            tty.hang_up(false);
        }
    }
}

impl Line {
    /// Gives received bytes to the line discipline until there are none or it has no room.
    fn deliver(&self, tty: &Arc<Tty>) {
        loop {
            let mut chunk = [0; CHUNK];
            let count = {
                let input = self.input.lock();
                let count = input.ring.len().min(CHUNK);
                chunk
                    .iter_mut()
                    .zip(&input.ring)
                    .for_each(|(to, &from)| *to = from);
                count
            };
            if count == 0 {
                return;
            }
            // Before the try, so that a reader who makes room meanwhile is not missed.
            self.held.store(true, Ordering::SeqCst);
            let used = tty.receive(&chunk[..count]);
            self.input.lock().ring.drain(..used);
            if used < count {
                return;
            }
            self.held.store(false, Ordering::SeqCst);
            sched::cond_resched();
        }
    }
}

/// The driver side of a [`Line`].
struct LineDriver(Arc<Line>);

impl Driver for LineDriver {
    fn write(&self, bytes: &[u8]) -> usize {
        self.0.queue(bytes)
    }

    fn room(&self) -> usize {
        RING_BYTES - self.0.out.lock().ring.len()
    }

    fn pending(&self) -> usize {
        self.0.out.lock().ring.len() + self.0.device.pending()
    }

    fn flush(&self) {
        self.0.out.lock().ring.clear();
        if let Some(uart) = &self.0.uart {
            uart.flush();
        }
    }

    fn set_stopped(&self, stopped: bool) {
        let mut out = self.0.out.lock();
        out.stopped = stopped;
        self.0.pump(&mut out);
    }

    fn throttle(&self, on: bool, termios: &Termios) {
        if termios.input(IXOFF) {
            let byte = termios.cc(if on { VSTOP } else { VSTART });
            self.0.device.write(&[byte]);
        }
    }

    fn input_room(&self) {
        if self.0.held.swap(false, Ordering::SeqCst) {
            worker::kick();
        }
    }

    fn set_termios(&self, _old: &Termios, new: &mut Termios) {
        let Some(uart) = &self.0.uart else { return };
        let flag = |bit: u32| new.c_cflag & bit != 0;
        let parity = match (flag(PARENB), flag(CMSPAR), flag(PARODD)) {
            (false, ..) => Parity::None,
            (true, false, true) => Parity::Odd,
            (true, false, false) => Parity::Even,
            (true, true, true) => Parity::Mark,
            (true, true, false) => Parity::Space,
        };
        let line = LineSettings {
            baud: new.c_ospeed,
            data_bits: 5 + ((new.c_cflag & CSIZE) >> 4) as u8,
            two_stop_bits: flag(CSTOPB),
            parity,
        };
        uart.set_line(&line);
        let lines = Mcr::DTR | Mcr::RTS;
        if new.c_cflag & CBAUD == 0 {
            uart.set_modem(Mcr::empty(), lines);
        } else {
            uart.set_modem(lines, Mcr::empty());
        }
    }

    fn set_break(&self, on: bool) -> bool {
        self.0
            .uart
            .as_ref()
            .inspect(|uart| uart.set_break(on))
            .is_some()
    }

    fn ioctl(&self, tty: &Arc<Tty>, _file: &File, cmd: u32, arg: usize) -> Option<Result<usize>> {
        let uart = self.0.uart.as_ref()?;
        match cmd {
            TIOCGSERIAL => Some(ioctl::put(arg, &self.describe(tty))),
            TIOCGICOUNT => {
                let counters = uart.counters();
                let told = SerialIcounter {
                    rx: counters.received as i32,
                    tx: counters.sent as i32,
                    frame: counters.framing_errors as i32,
                    overrun: counters.overruns as i32,
                    parity: counters.parity_errors as i32,
                    brk: counters.breaks as i32,
                    ..SerialIcounter::default()
                };
                Some(ioctl::put(arg, &told))
            }
            _ => None,
        }
    }

    fn modem(&self) -> Result<u32> {
        let (mcr, msr) = self.0.uart.as_ref().ok_or(Errno::ENOTTY)?.modem();
        let pairs = [
            (mcr.contains(Mcr::DTR), TIOCM_DTR),
            (mcr.contains(Mcr::RTS), TIOCM_RTS),
            (msr.contains(Msr::CTS), TIOCM_CTS),
            (msr.contains(Msr::DSR), TIOCM_DSR),
            (msr.contains(Msr::RING), TIOCM_RNG),
            (msr.contains(Msr::CARRIER), TIOCM_CAR),
        ];
        Ok(pairs
            .iter()
            .filter(|(on, _)| *on)
            .fold(0, |bits, (_, bit)| bits | bit))
    }

    fn set_modem(&self, set: u32, clear: u32) -> Result<()> {
        let uart = self.0.uart.as_ref().ok_or(Errno::ENOTTY)?;
        let bits = |lines: u32| {
            let mut mcr = Mcr::empty();
            mcr.set(Mcr::DTR, lines & TIOCM_DTR != 0);
            mcr.set(Mcr::RTS, lines & TIOCM_RTS != 0);
            mcr
        };
        uart.set_modem(bits(set), bits(clear));
        Ok(())
    }
}

impl LineDriver {
    /// What `TIOCGSERIAL` answers.
    fn describe(&self, tty: &Tty) -> SerialStruct {
        let index = tty.dev.1.saturating_sub(SERIAL_MINOR);
        let (port, irq) = serial::place(index as usize).unwrap_or_default();
        SerialStruct {
            kind: PORT_16550A,
            line: index as i32,
            port: port.into(),
            irq: irq.into(),
            xmit_fifo_size: 16,
            baud_base: 115_200,
            close_delay: 50,
            closing_wait: 3000,
            ..SerialStruct::default()
        }
    }
}

/// Applies a serial console's options: the speed, then a letter for the parity (`n`, `e`, `o`) and the bits.
fn apply_options(termios: &mut Termios, options: &str) {
    let digits = options
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(options.len());
    let (speed, frame) = options.split_at(digits);
    if let Ok(speed @ 1..) = speed.parse() {
        termios.set_speed(speed);
    }
    let mut frame = frame.bytes();
    match frame.next() {
        Some(b'o') => termios.c_cflag |= PARENB | PARODD,
        Some(b'e') => termios.c_cflag |= PARENB,
        _ => {}
    }
    if frame.next() == Some(b'7') {
        termios.c_cflag = (termios.c_cflag & !CSIZE) | CS7;
    }
}

/// Makes a terminal of a device.
///
/// # Errors
/// `ENOMEM`.
pub fn make(
    device: Arc<dyn ConsoleDevice>,
    uart: Option<Arc<Uart<Ports>>>,
    dev: (u32, u32),
) -> Result<(Arc<Tty>, Arc<Line>)> {
    let mut initial = Termios::STD;
    if uart.is_some() {
        initial.c_cflag |= CLOCAL;
        initial.set_speed(DEFAULT_SPEED);
        apply_options(
            &mut initial,
            consoles::options(device.name()).unwrap_or_default(),
        );
    }
    let line = Line::new(device.clone(), uart)?;
    let driver = Box::new(LineDriver(line.clone()));
    let tty = Tty::new(device.name(), dev, initial, driver)?;
    if let Some(size) = device.window_size() {
        tty.state.lock().winsize = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ..Winsize::default()
        };
    }
    tty.set_termios(&initial);
    line.tty.call_once(|| Arc::downgrade(&tty));
    worker::add(line.clone());
    device.set_events(line.clone());
    Ok((tty, line))
}
