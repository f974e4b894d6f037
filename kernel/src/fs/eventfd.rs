//! eventfd: a counter that is read and added to through a descriptor.

use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::file::{File, FileOps};
use crate::mm::user::{IoSink, IoSource};
use crate::sync::{IrqSpinLock, PollTable, WaitQueue};

/// The counter's highest value: one more would be an error's.
const MAX: u64 = u64::MAX - 1;

/// The counter behind a descriptor.
pub struct EventFd {
    /// A read takes one, not all.
    is_semaphore: bool,
    count: IrqSpinLock<u64>,
    readers: WaitQueue,
    writers: WaitQueue,
}

impl EventFd {
    fn take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        let taken = match *count {
            0 => return None,
            _ if self.is_semaphore => 1,
            all => all,
        };
        *count -= taken;
        Some(taken)
    }

    fn add(&self, value: u64) -> Option<()> {
        let mut count = self.count.lock();
        let sum = count.checked_add(value).filter(|sum| *sum <= MAX)?;
        *count = sum;
        Some(())
    }
}

impl EventFd {
    /// The kernel adds one; nothing at the highest value.
    pub fn signal(&self) {
        if self.add(1).is_some() {
            self.readers.wake_events(PollEvents::READABLE);
        }
    }
}

impl FileOps for EventFd {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if sink.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let taken = match self.take() {
            Some(taken) => taken,
            None if file.nonblocking() => return Err(Errno::EAGAIN),
            None => self.readers.wait_until(|| self.take())?,
        };
        self.writers.wake_events(PollEvents::WRITABLE);
        sink.put(&taken.to_le_bytes())?;
        Ok(size_of::<u64>())
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        let mut bytes = [0; size_of::<u64>()];
        if source.remaining() < bytes.len() {
            return Err(Errno::EINVAL);
        }
        source.take(&mut bytes)?;
        let value = u64::from_le_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        match self.add(value) {
            Some(()) => {}
            None if file.nonblocking() => return Err(Errno::EAGAIN),
            None => self.writers.wait_until(|| self.add(value))?,
        }
        self.readers.wake_events(PollEvents::READABLE);
        Ok(bytes.len())
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.readers);
            table.register(&self.writers);
        }
        let count = *self.count.lock();
        let mut found = PollEvents::empty();
        if count > 0 {
            found |= PollEvents::IN;
        }
        if count < MAX {
            found |= PollEvents::OUT;
        }
        found
    }

    fn seekable(&self) -> bool {
        false
    }

    fn fdinfo(&self, _file: &File, out: &mut dyn core::fmt::Write) {
        // Writing into the reader's buffer cannot fail.
        let _ = writeln!(out, "eventfd-count: {:16x}", *self.count.lock());
    }
}

/// A descriptor's file for a new counter.
///
/// # Errors
/// `ENOMEM`.
pub fn create(count: u32, is_semaphore: bool, flags: OpenFlags) -> Result<Arc<File>> {
    let counter = Arc::new(EventFd {
        is_semaphore,
        count: IrqSpinLock::new(u64::from(count)),
        readers: WaitQueue::new(),
        writers: WaitQueue::new(),
    });
    super::anon_file(
        "[eventfd]",
        counter as Arc<dyn FileOps>,
        OpenFlags::RDWR | flags,
    )
}
