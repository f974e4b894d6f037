//! `/dev/kmsg`: the kernel log, one record a read; what is written becomes a record.

use alloc::format;
use alloc::sync::Arc;
use core::fmt::Write;

use abi::fs::{OpenFlags, SEEK_END, SEEK_SET};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use ksync::SpinLock;

use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::log::{self as klog, Cursor};
use crate::mm::user::{IoSink, IoSource};
use crate::sync::{PollTable, WaitQueue};

/// The longest line that may be written.
const MAX_LINE: usize = 992;

static NEW_RECORDS: WaitQueue = WaitQueue::new();

/// One open of the log.
struct Kmsg {
    cursor: SpinLock<Cursor>,
}

/// Lets the log wake those who wait for records.
pub fn init() {
    klog::add_waker(|| NEW_RECORDS.wake_all());
}

/// Opens the log at its oldest record.
pub fn open(_flags: OpenFlags) -> Result<FileOpsRef> {
    Ok(Arc::new(Kmsg {
        cursor: SpinLock::new(Cursor::oldest()),
    })
    .into())
}

impl Kmsg {
    fn has_more(&self) -> bool {
        self.cursor.lock().sequence() < klog::bounds().1
    }
}

impl FileOps for Kmsg {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if !self.has_more() {
            if file.nonblocking() {
                return Err(Errno::EAGAIN);
            }
            NEW_RECORDS.wait_until(|| self.has_more().then_some(()))?;
        }
        let mut cursor = self.cursor.lock();
        if cursor.lost() {
            *cursor = Cursor::oldest();
            return Err(Errno::EPIPE);
        }
        let Some(record) = cursor.next() else {
            return Err(Errno::EAGAIN);
        };
        drop(cursor);
        let mut line = format!(
            "{},{},{},-;",
            record.priority,
            record.sequence,
            record.time_ns / 1000
        );
        for c in record.text.chars() {
            // Control characters are escaped, as readers split at newlines.
            let written = if c < ' ' {
                write!(line, "\\x{:02x}", c as u32)
            } else {
                write!(line, "{c}")
            };
            written.map_err(|_| Errno::ENOMEM)?;
        }
        line.push('\n');
        if sink.remaining() < line.len() {
            return Err(Errno::EINVAL);
        }
        sink.put(line.as_bytes())?;
        Ok(line.len())
    }

    fn write(&self, _file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        let len = source.remaining();
        if len > MAX_LINE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0u8; MAX_LINE];
        let line = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
        source.take(line)?;
        let text = alloc::string::String::from_utf8_lossy(line);
        let mut text = text.trim_end_matches('\n');
        // LOG_USER, default level warning; "<n>" sets it, but never the kernel's facility.
        let mut priority = 8 | 4;
        if let Some((number, rest)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>'))
            && let Ok(given) = number.parse::<u16>()
        {
            priority = if given >> 3 == 0 { given | 8 } else { given };
            text = rest;
        }
        klog::write_record(priority, text);
        Ok(len)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&NEW_RECORDS);
        }
        let mut events = PollEvents::WRITABLE;
        if self.has_more() {
            events |= PollEvents::READABLE;
            if self.cursor.lock().lost() {
                events |= PollEvents::ERR | PollEvents::PRI;
            }
        }
        events
    }

    fn seekable(&self) -> bool {
        true
    }

    fn llseek(&self, _file: &File, offset: i64, whence: u32) -> Result<u64> {
        const SEEK_DATA: u32 = abi::fs::SEEK_DATA;
        if offset != 0 {
            return Err(Errno::ESPIPE);
        }
        *self.cursor.lock() = match whence {
            SEEK_SET | SEEK_DATA => Cursor::oldest(),
            SEEK_END => Cursor::newest(),
            _ => return Err(Errno::EINVAL),
        };
        Ok(0)
    }
}
