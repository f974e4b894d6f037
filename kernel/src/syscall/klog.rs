//! The kernel's log for programs: syslog(2).

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};

use crate::log::{self, Cursor};
use crate::mm::user::{IoSink, copy_in};
use crate::sync::{Mutex, WaitQueue};
use crate::task::{Cap, current};

/// What `SYSLOG_ACTION_READ` has given out: one reader's place for the whole system, as on Linux.
static READ_TO: Mutex<u64> = Mutex::new(0);
/// `SYSLOG_ACTION_CLEAR` hides what came before this.
static CLEARED_AT: AtomicU64 = AtomicU64::new(0);
/// The console level that `SYSLOG_ACTION_CONSOLE_ON` brings back; 0 while it is on.
static SAVED_LEVEL: AtomicU64 = AtomicU64::new(0);
/// Readers wait here for news.
static NEWS: WaitQueue = WaitQueue::new();

const CLOSE: i32 = 0;
const OPEN: i32 = 1;
const READ: i32 = 2;
const READ_ALL: i32 = 3;
const READ_CLEAR: i32 = 4;
const CLEAR: i32 = 5;
const CONSOLE_OFF: i32 = 6;
const CONSOLE_ON: i32 = 7;
const CONSOLE_LEVEL: i32 = 8;
const SIZE_UNREAD: i32 = 9;
const SIZE_BUFFER: i32 = 10;

pub fn sys_syslog(action: i32, buffer: usize, len: i32) -> Result<usize> {
    if !matches!(action, READ_ALL | SIZE_BUFFER) && !current().my_cred().capable(Cap::SYSLOG) {
        return Err(Errno::EPERM);
    }
    match action {
        CLOSE | OPEN => Ok(0),
        READ | READ_ALL | READ_CLEAR => {
            let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
            if buffer == 0 {
                return Err(Errno::EINVAL);
            }
            if len == 0 {
                return Ok(0);
            }
            // A bad address fails before anything is waited for or cleared.
            copy_in(buffer, &mut [0])?;
            if action == READ {
                read_next(buffer, len)
            } else {
                read_all(buffer, len, action)
            }
        }
        CLEAR => {
            CLEARED_AT.store(log::bounds().1, Ordering::Relaxed);
            Ok(0)
        }
        CONSOLE_OFF => {
            let level = u64::from(log::console_level());
            let _ = SAVED_LEVEL.compare_exchange(0, level, Ordering::Relaxed, Ordering::Relaxed);
            log::set_console_level(1);
            Ok(0)
        }
        CONSOLE_ON => {
            let saved = SAVED_LEVEL.swap(0, Ordering::Relaxed);
            if saved != 0 {
                log::set_console_level(saved as u8);
            }
            Ok(0)
        }
        CONSOLE_LEVEL if (1..=8).contains(&len) => {
            SAVED_LEVEL.store(0, Ordering::Relaxed);
            log::set_console_level(len as u8);
            Ok(0)
        }
        SIZE_UNREAD => {
            let mut cursor = Cursor::at(*READ_TO.lock());
            Ok(core::iter::from_fn(|| cursor.next())
                .map(|record| line_len(&record))
                .sum())
        }
        SIZE_BUFFER => Ok(log::size()),
        _ => Err(Errno::EINVAL),
    }
}

/// As `dmesg` shows a record: `<6>[    1.234567] text`.
fn line(record: &log::Record) -> alloc::string::String {
    let micros = record.time_ns / 1_000;
    alloc::format!(
        "<{}>[{:5}.{:06}] {}\n",
        record.priority,
        micros / 1_000_000,
        micros % 1_000_000,
        record.text
    )
}

fn line_len(record: &log::Record) -> usize {
    line(record).len()
}

/// Waits for records that were not given out yet and gives out whole ones.
fn read_next(buffer: usize, len: usize) -> Result<usize> {
    let mut read_to = READ_TO.lock_killable()?;
    NEWS.wait_until(|| (log::bounds().1 > *read_to).then_some(()))?;
    let mut sink = IoSink::user(buffer, len)?;
    let mut cursor = Cursor::at(*read_to);
    while let Some(record) = cursor.next() {
        let line = line(&record);
        if line.len() > sink.remaining() {
            break;
        }
        sink.put(line.as_bytes())?;
        *read_to = cursor.sequence();
    }
    Ok(sink.done())
}

/// Gives out the newest records that fit, oldest first.
fn read_all(buffer: usize, len: usize, action: i32) -> Result<usize> {
    let from = CLEARED_AT.load(Ordering::Relaxed);
    let mut cursor = Cursor::at(from);
    let mut lines: alloc::collections::VecDeque<_> = core::iter::from_fn(|| cursor.next())
        .map(|record| line(&record))
        .collect();
    let mut total: usize = lines.iter().map(|line| line.len()).sum();
    while total > len {
        total -= lines.pop_front().map_or(0, |line| line.len());
    }
    let mut sink = IoSink::user(buffer, len)?;
    for line in &lines {
        sink.put(line.as_bytes())?;
    }
    if action == READ_CLEAR {
        CLEARED_AT.store(cursor.sequence(), Ordering::Relaxed);
    }
    Ok(sink.done())
}
