//! The kernel log: records in a ring, read by `/dev/kmsg` and `syslog(2)`, and shown on the console sinks.
//!
//! Written to by the `log` crate's macros from anywhere, interrupt handlers included. Ring and sinks have a lock each;
//! neither is held while taking another lock of the kernel, except that a sink may take locks of its own.
//!
//! # Invariants
//! Records in the ring are whole and have consecutive sequence numbers; the oldest give way.

pub mod syslog;

use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use arrayvec::{ArrayString, ArrayVec};
use ksync::IrqSpinLock;

pub use syslog::syslog;

use crate::arch::early;

/// Bytes of the ring, as Linux's default.
const RING_SIZE: usize = 1 << 17;
/// Longest text of a record.
pub const MAX_TEXT: usize = 1000;
const MAX_SINKS: usize = 8;

/// Somewhere that log lines are shown.
pub trait ConsoleSink: Send + Sync {
    /// Shows bytes; lines end in `\n` alone. Must not log.
    fn write(&self, bytes: &[u8]);

    /// The same in a panic: takes no lock that the panicking CPU might hold.
    fn write_emergency(&self, bytes: &[u8]) {
        self.write(bytes);
    }

    /// Whether this is the serial port that has shown the log so far, and need not show it again.
    fn is_first_serial(&self) -> bool {
        false
    }
}

/// A record as read back.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub sequence: u64,
    pub time_ns: u64,
    /// Syslog priority: facility * 8 + level.
    pub priority: u16,
    pub text: ArrayString<MAX_TEXT>,
}

/// Header of a record in the ring, followed by its text.
#[derive(Clone, Copy)]
struct Header {
    time_ns: u64,
    priority: u16,
    len: u16,
}

const HEADER_SIZE: usize = 12;

impl Header {
    fn encode(self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        out[..8].copy_from_slice(&self.time_ns.to_le_bytes());
        out[8..10].copy_from_slice(&self.priority.to_le_bytes());
        out[10..].copy_from_slice(&self.len.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; HEADER_SIZE]) -> Header {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut time = [0; 8];
        time.copy_from_slice(&bytes[..8]);
        Header {
            time_ns: u64::from_le_bytes(time),
            priority: half(8),
            len: half(10),
        }
    }
}

struct Ring {
    bytes: [u8; RING_SIZE],
    /// Positions that only grow; the index is the remainder.
    head: usize,
    tail: usize,
    first_sequence: u64,
    next_sequence: u64,
}

impl Ring {
    fn put(&mut self, at: usize, data: &[u8]) {
        for (i, &byte) in data.iter().enumerate() {
            self.bytes[(at + i) % RING_SIZE] = byte;
        }
    }

    fn get(&self, at: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.bytes[(at + i) % RING_SIZE];
        }
    }

    fn header_at(&self, at: usize) -> Header {
        let mut bytes = [0; HEADER_SIZE];
        self.get(at, &mut bytes);
        Header::decode(&bytes)
    }

    fn push(&mut self, header: Header, text: &[u8]) -> u64 {
        let need = HEADER_SIZE + text.len();
        while self.head - self.tail + need > RING_SIZE {
            self.tail += HEADER_SIZE + usize::from(self.header_at(self.tail).len);
            self.first_sequence += 1;
        }
        self.put(self.head, &header.encode());
        self.put(self.head + HEADER_SIZE, text);
        self.head += need;
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// The position of a record. Linear in the records between, so readers that go on keep a [`Cursor`].
    fn find(&self, sequence: u64) -> usize {
        let mut at = self.tail;
        for _ in self.first_sequence..sequence {
            at += HEADER_SIZE + usize::from(self.header_at(at).len);
        }
        at
    }
}

static RING: IrqSpinLock<Ring> = IrqSpinLock::new(Ring {
    bytes: [0; RING_SIZE],
    head: 0,
    tail: 0,
    first_sequence: 0,
    next_sequence: 0,
});
static SINKS: IrqSpinLock<ArrayVec<&'static dyn ConsoleSink, MAX_SINKS>> =
    IrqSpinLock::new(ArrayVec::new_const());
/// Records with a level below this are shown on the consoles; `loglevel=`, `quiet`, `syslog(2)` set it.
/// The console's level at boot.
pub const DEFAULT_CONSOLE_LEVEL: u8 = 7;
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(DEFAULT_CONSOLE_LEVEL);
/// The first record that the early serial output has not shown.
static EARLY_SHOWN: AtomicU64 = AtomicU64::new(0);
/// Readers wait to be told of a record that was written where nobody may be woken.
static WAKE_DUE: AtomicBool = AtomicBool::new(false);
static WAKERS: IrqSpinLock<ArrayVec<fn(), 4>> = IrqSpinLock::new(ArrayVec::new_const());

/// A reader's place in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    sequence: u64,
    position: usize,
}

impl Cursor {
    /// At the oldest record.
    pub fn oldest() -> Cursor {
        let ring = RING.lock();
        Cursor {
            sequence: ring.first_sequence,
            position: ring.tail,
        }
    }

    /// Behind the newest record.
    pub fn newest() -> Cursor {
        let ring = RING.lock();
        Cursor {
            sequence: ring.next_sequence,
            position: ring.head,
        }
    }

    /// At a record, or at the oldest one left if that one is gone.
    pub fn at(sequence: u64) -> Cursor {
        let ring = RING.lock();
        let sequence = sequence.clamp(ring.first_sequence, ring.next_sequence);
        Cursor {
            sequence,
            position: ring.find(sequence),
        }
    }

    /// The number of the record that is next.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether records that the reader has not seen were overwritten.
    pub fn lost(&self) -> bool {
        self.sequence < RING.lock().first_sequence
    }

    /// The next record, or `None` at the end. Skips what was overwritten.
    pub fn next(&mut self) -> Option<Record> {
        let ring = RING.lock();
        if self.sequence < ring.first_sequence {
            (self.sequence, self.position) = (ring.first_sequence, ring.tail);
        }
        if self.sequence >= ring.next_sequence {
            return None;
        }
        let header = ring.header_at(self.position);
        let mut bytes = [0; MAX_TEXT];
        let text = &mut bytes[..usize::from(header.len).min(MAX_TEXT)];
        ring.get(self.position + HEADER_SIZE, text);
        let record = Record {
            sequence: self.sequence,
            time_ns: header.time_ns,
            priority: header.priority,
            text: lossy(text),
        };
        self.sequence += 1;
        self.position += HEADER_SIZE + usize::from(header.len);
        Some(record)
    }
}

fn lossy(bytes: &[u8]) -> ArrayString<MAX_TEXT> {
    let mut text = ArrayString::new();
    for chunk in bytes.utf8_chunks() {
        let _ = text.try_push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            let _ = text.try_push('?');
        }
    }
    text
}

/// The oldest record's number and the next one's.
pub fn bounds() -> (u64, u64) {
    let ring = RING.lock();
    (ring.first_sequence, ring.next_sequence)
}

/// Bytes of the ring.
pub fn size() -> usize {
    RING_SIZE
}

/// Adds a record: the kernel's own, or one that user space wrote to `/dev/kmsg`.
pub fn write_record(priority: u16, text: &str) -> u64 {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text[..end].trim_end_matches('\n');
    let header = Header {
        time_ns: crate::time::monotonic_ns(),
        priority,
        len: text.len() as u16,
    };
    let sequence = RING.lock().push(header, text.as_bytes());
    if priority & 7 < u16::from(CONSOLE_LEVEL.load(Ordering::Relaxed)) {
        let sinks = SINKS.lock();
        for_each_line(header.time_ns, text, |line| {
            if sinks.is_empty() {
                early::serial_write(line);
                EARLY_SHOWN.store(sequence + 1, Ordering::Relaxed);
            }
            sinks.iter().for_each(|sink| sink.write(line));
        });
    }
    // With interrupts off the writer may hold locks that waking takes.
    WAKE_DUE.store(true, Ordering::Release);
    if crate::arch::irq::enabled() {
        wake_readers();
    }
    sequence
}

/// Formats a record as the console shows it.
fn for_each_line(time_ns: u64, text: &str, mut show: impl FnMut(&[u8])) {
    let mut line: ArrayString<{ MAX_TEXT + 32 }> = ArrayString::new();
    for part in text.split('\n') {
        line.clear();
        let (s, us) = (time_ns / 1_000_000_000, time_ns / 1000 % 1_000_000);
        let _ = writeln!(line, "[{s:5}.{us:06}] {part}");
        show(line.as_bytes());
    }
}

/// Shows the log on `sink` from now on, and what it holds already. Until the first sink registers, lines go to the first
/// serial port.
pub fn register_sink(sink: &'static dyn ConsoleSink) {
    let level = u16::from(CONSOLE_LEVEL.load(Ordering::Relaxed));
    let shown = if sink.is_first_serial() {
        EARLY_SHOWN.load(Ordering::Relaxed)
    } else {
        0
    };
    let mut cursor = Cursor::at(shown);
    while let Some(record) = cursor.next() {
        if record.priority & 7 < level {
            for_each_line(record.time_ns, &record.text, |line| sink.write(line));
        }
    }
    if SINKS.lock().try_push(sink).is_err() {
        ::log::warn!("log: too many console sinks");
    }
}

/// Shows bytes on every console, now, taking no lock that can be held for long. For panics.
pub fn emergency_write(bytes: &[u8]) {
    // A panic inside a sink holds the list; the sinks cannot be used then, the serial port can.
    match SINKS.try_lock() {
        Some(sinks) if !sinks.is_empty() => {
            sinks.iter().for_each(|sink| sink.write_emergency(bytes))
        }
        _ => early::serial_write(bytes),
    }
}

/// Runs `show` on the text of the newest `count` records, oldest first, unless the ring is locked. For panics.
pub fn try_last_lines(count: u64, mut show: impl FnMut(u64, &str)) {
    if RING.try_lock().is_none() {
        return;
    }
    let mut cursor = Cursor::at(bounds().1.saturating_sub(count));
    while let Some(record) = cursor.next() {
        show(record.time_ns, &record.text);
    }
}

/// The level below which records are shown on consoles.
pub fn console_level() -> u8 {
    CONSOLE_LEVEL.load(Ordering::Relaxed)
}

/// Sets that level: 1 shows emergencies only, 8 everything.
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Ordering::Relaxed);
}

/// Wakes the readers if there is something new. Called by interrupts too, where they may wake.
#[inline]
pub fn wake_readers() {
    if WAKE_DUE.load(Ordering::Relaxed) && WAKE_DUE.swap(false, Ordering::Acquire) {
        let wakers = WAKERS.lock().clone();
        wakers.iter().for_each(|wake| wake());
    }
}

/// Adds to what is called when there are new records, from tasks and interrupt handlers.
pub fn add_waker(wake: fn()) {
    let added = WAKERS.lock().try_push(wake);
    debug_assert!(added.is_ok(), "a handful of kinds of readers");
}

struct Logger;

impl ::log::Log for Logger {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        let level = match record.level() {
            ::log::Level::Error => 3,
            ::log::Level::Warn => 4,
            ::log::Level::Info => 6,
            ::log::Level::Debug | ::log::Level::Trace => 7,
        };
        let mut text = ArrayString::<MAX_TEXT>::new();
        // What does not fit is cut.
        let _ = text.write_fmt(*record.args());
        write_record(level, &text);
    }

    fn flush(&self) {}
}

/// Takes the log macros over, and the levels from the command line.
pub fn init() {
    syslog::init();
    if ::log::set_logger(&Logger).is_ok() {
        ::log::set_max_level(::log::LevelFilter::Debug);
    }
    let cmdline = &crate::boot::info().cmdline;
    if cmdline.has("quiet") {
        set_console_level(4);
    }
    if cmdline.has("debug") {
        set_console_level(10);
    }
    if let Some(level @ 1..=15) = cmdline.number("loglevel") {
        set_console_level(level as u8);
    }
}
