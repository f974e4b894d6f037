//! `syslog(2)`: the log for programs that do not know `/dev/kmsg`.

use core::fmt::Write;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use abi::poll::PollEvents;
use abi::{Errno, Result};
use arrayvec::ArrayString;

use super::{Cursor, MAX_TEXT, Record, bounds, console_level, set_console_level, size};
use crate::arch::uaccess;
use crate::mm::user::IoSink;
use crate::sync::{PollTable, SpinLock, WaitQueue};
use crate::task::{self, Cap};

/// Where `SYSLOG_ACTION_READ` goes on, for all its callers together.
static READ: SpinLock<Option<Cursor>> = SpinLock::new(None);
/// The first record that `SYSLOG_ACTION_READ_ALL` shows.
static CLEARED: AtomicU64 = AtomicU64::new(0);
/// The level that `SYSLOG_ACTION_CONSOLE_ON` brings back; 0 when the console is on.
static SAVED_LEVEL: AtomicU8 = AtomicU8::new(0);
static READERS: WaitQueue = WaitQueue::new();

/// The level that `SYSLOG_ACTION_CONSOLE_OFF` leaves: emergencies only.
const MINIMUM_LEVEL: u8 = 1;

/// Lets new records wake those who wait in `SYSLOG_ACTION_READ`.
pub fn init() {
    super::add_waker(|| READERS.wake_all());
}

/// A record as the call shows it.
type Line = ArrayString<{ MAX_TEXT + 48 }>;

fn line_of(record: &Record) -> Line {
    let mut line = Line::new();
    let (s, us) = (
        record.time_ns / 1_000_000_000,
        record.time_ns / 1000 % 1_000_000,
    );
    // The line is as long as a record can get.
    let _ = writeln!(line, "<{}>[{s:5}.{us:06}] {}", record.priority, record.text);
    line
}

/// The call.
///
/// # Errors
/// As `syslog(2)`.
pub fn syslog(action: i32, buffer: usize, len: i32) -> Result<usize> {
    const READ_ALL: i32 = 3;
    const SIZE_BUFFER: i32 = 10;
    let cred = task::current().cred();
    let open_to_all = matches!(action, READ_ALL | SIZE_BUFFER);
    if !open_to_all && !cred.capable(Cap::SYSLOG) && !cred.capable(Cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    match action {
        0 | 1 => Ok(0),
        2 => {
            let len = checked_len(buffer, len)?;
            match len {
                0 => Ok(0),
                _ => read(len, |done, bytes| {
                    uaccess::write_bytes(buffer + done, bytes)
                }),
            }
        }
        READ_ALL | 4 => {
            let count = read_all(buffer, checked_len(buffer, len)?)?;
            if action == 4 {
                CLEARED.store(bounds().1, Ordering::Relaxed);
            }
            Ok(count)
        }
        5 => {
            CLEARED.store(bounds().1, Ordering::Relaxed);
            Ok(0)
        }
        6 => {
            if SAVED_LEVEL.load(Ordering::Relaxed) == 0 {
                SAVED_LEVEL.store(console_level(), Ordering::Relaxed);
            }
            set_console_level(MINIMUM_LEVEL);
            Ok(0)
        }
        7 => {
            let saved = SAVED_LEVEL.swap(0, Ordering::Relaxed);
            if saved != 0 {
                set_console_level(saved);
            }
            Ok(0)
        }
        8 => {
            if !(1..=8).contains(&len) {
                return Err(Errno::EINVAL);
            }
            set_console_level((len as u8).max(MINIMUM_LEVEL));
            SAVED_LEVEL.store(0, Ordering::Relaxed);
            Ok(0)
        }
        9 => Ok(unread()),
        SIZE_BUFFER => Ok(size()),
        _ => Err(Errno::EINVAL),
    }
}

fn checked_len(buffer: usize, len: i32) -> Result<usize> {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if buffer == 0 {
        return Err(Errno::EINVAL);
    }
    if !uaccess::range_ok(buffer, len) {
        return Err(Errno::EFAULT);
    }
    Ok(len)
}

/// As `SYSLOG_ACTION_READ`, for `/proc/kmsg`.
///
/// # Errors
/// `ERESTARTSYS` when a signal ends the wait, `EFAULT`.
pub fn read_into(sink: &mut IoSink<'_>) -> Result<usize> {
    match sink.remaining() {
        0 => Ok(0),
        len => read(len, |_, bytes| sink.put(bytes)),
    }
}

/// Whether a read would not wait.
pub fn has_unread() -> bool {
    READ.lock().unwrap_or_else(Cursor::oldest).sequence() < bounds().1
}

/// What `/proc/kmsg` is ready for.
pub fn poll(table: Option<&mut PollTable>) -> PollEvents {
    if let Some(table) = table {
        table.register(&READERS);
    }
    match has_unread() {
        true => PollEvents::READABLE,
        false => PollEvents::empty(),
    }
}

/// Whole records from where the last reader stopped, given to `put` with their offset; waits for one.
fn read(len: usize, mut put: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<usize> {
    let mut done = 0;
    loop {
        let mut cursor = READ.lock().unwrap_or_else(Cursor::oldest);
        let before = cursor;
        let Some(record) = cursor.next() else {
            if done > 0 {
                return Ok(done);
            }
            READERS.wait_until(|| (before.sequence() < bounds().1).then_some(()))?;
            continue;
        };
        let line = line_of(&record);
        let room = len - done;
        if line.len() > room && done > 0 {
            return Ok(done);
        }
        // A first record that does not fit is cut: nothing else would ever be read.
        let bytes = &line.as_bytes()[..line.len().min(room)];
        put(done, bytes)?;
        *READ.lock() = Some(cursor);
        done += bytes.len();
    }
}

/// The newest records that fit, oldest first.
fn read_all(buffer: usize, len: usize) -> Result<usize> {
    let start = CLEARED.load(Ordering::Relaxed);
    let mut total = 0;
    let mut cursor = Cursor::at(start);
    while let Some(record) = cursor.next() {
        total += line_of(&record).len();
    }
    let end = cursor.sequence();
    let mut cursor = Cursor::at(start);
    let mut done = 0;
    while cursor.sequence() < end
        && let Some(record) = cursor.next()
    {
        let line = line_of(&record);
        if total > len {
            total = total.saturating_sub(line.len());
            continue;
        }
        if done + line.len() > len {
            break;
        }
        uaccess::write_bytes(buffer + done, line.as_bytes())?;
        done += line.len();
    }
    Ok(done)
}

/// Bytes that `SYSLOG_ACTION_READ` would give.
fn unread() -> usize {
    let mut cursor = READ.lock().unwrap_or_else(Cursor::oldest);
    let mut total = 0;
    while let Some(record) = cursor.next() {
        total += line_of(&record).len();
    }
    total
}
