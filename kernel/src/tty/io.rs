//! Reading and writing a terminal: the loops that wait around the line discipline.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::poll::PollEvents;
use abi::signal::Signo;
use abi::termios::TOSTOP;
use abi::{Errno, Result};

use super::core::Tty;
use crate::mm::user::{IoSink, IoSource};
use crate::sync::PollTable;
use crate::{sched, time};

/// Bytes moved at a time between user space and the line discipline.
const CHUNK: usize = 1024;
/// Output waits to be polled writable until less than this is pending, as on Linux.
const WAKEUP_BELOW: usize = 256;

/// What one look at the input gave.
enum Look {
    Bytes(usize, bool),
    Nothing,
    HungUp,
}

impl Tty {
    /// Reads as `read(2)` does; `epoch` is the open file's.
    ///
    /// # Errors
    /// `EAGAIN`, `EIO` (background, orphaned), `ERESTARTSYS`, `EFAULT`.
    pub fn read(
        self: &Arc<Tty>,
        epoch: u32,
        nonblocking: bool,
        sink: &mut IoSink<'_>,
    ) -> Result<usize> {
        if self.epoch() != epoch || sink.remaining() == 0 {
            return Ok(0);
        }
        self.check_foreground(Signo::TTIN)?;
        let _turn = self.readers.take(nonblocking)?;
        let demand = self.state.lock().ldisc.demand();
        let mut total = 0;
        let mut limit = demand.first;
        while sink.remaining() > 0 {
            let mut chunk = [0; CHUNK];
            let want = sink.remaining().min(CHUNK);
            let deadline = limit.map(|t| time::monotonic_ns() + u64::from(t) * 100_000_000);
            let look = self.wait_input(epoch, nonblocking, deadline, &mut chunk[..want]);
            let (count, ended) = match look {
                Ok(Look::Bytes(count, ended)) => (count, ended),
                Ok(Look::HungUp) if total == 0 && self.driver.other_end_closed() => {
                    return Err(Errno::EIO);
                }
                Ok(Look::Nothing | Look::HungUp) => break,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            };
            let put = sink.put(&chunk[..count]);
            total += count;
            if put.is_err() {
                return sink.outcome(put);
            }
            if ended || (total >= demand.minimum && count < want) {
                break;
            }
            if total >= demand.minimum && !self.state.lock().ldisc.readable() {
                break;
            }
            limit = demand.between;
        }
        if total > 0 && sink.remaining() == 0 {
            self.state.lock().ldisc.skip_eof();
        }
        Ok(total)
    }

    /// Waits for input and takes it.
    fn wait_input(
        &self,
        epoch: u32,
        nonblocking: bool,
        deadline: Option<u64>,
        out: &mut [u8],
    ) -> Result<Look> {
        let mut look = || self.take_input(epoch, out);
        if let Some(found) = look() {
            return Ok(found);
        }
        // VMIN and VTIME of 0 ask for what is there; that comes before O_NONBLOCK.
        if deadline.is_some_and(|deadline| time::monotonic_ns() >= deadline) {
            return Ok(Look::Nothing);
        }
        if nonblocking {
            return Err(Errno::EAGAIN);
        }
        Ok(self
            .read_wait
            .wait_until_deadline(deadline, look)?
            .unwrap_or(Look::Nothing))
    }

    fn take_input(&self, epoch: u32, out: &mut [u8]) -> Option<Look> {
        let mut state = self.state.lock();
        if self.epoch() != epoch {
            return Some(Look::HungUp);
        }
        if !state.ldisc.readable() {
            return None;
        }
        let (count, ended) = state.ldisc.read(out);
        let unthrottle = state
            .ldisc
            .check_unthrottle()
            .then(|| *state.ldisc.termios());
        drop(state);
        self.unthrottled(unthrottle);
        Some(Look::Bytes(count, ended))
    }

    /// Writes as `write(2)` does.
    ///
    /// # Errors
    /// `EAGAIN`, `EIO` (hung up, or orphaned in the background), `ERESTARTSYS`, `EFAULT`.
    pub fn write(
        self: &Arc<Tty>,
        epoch: u32,
        nonblocking: bool,
        source: &mut IoSource<'_>,
    ) -> Result<usize> {
        if self.epoch() != epoch {
            return Err(Errno::EIO);
        }
        if self.state.lock().ldisc.termios().local(TOSTOP) {
            self.check_foreground(Signo::TTOU)?;
        }
        let _turn = self.writers.take(nonblocking)?;
        let mut total = 0;
        while source.remaining() > 0 {
            let mut chunk = [0; CHUNK];
            let count = source.remaining().min(CHUNK);
            let taken = source.take(&mut chunk[..count]);
            if taken.is_err() {
                return if total > 0 {
                    Ok(total)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            let (written, result) = self.write_chunk(epoch, nonblocking, &chunk[..count]);
            total += written;
            if let Err(error) = result {
                return if total > 0 { Ok(total) } else { Err(error) };
            }
            if source.remaining() > 0 {
                sched::cond_resched();
            }
        }
        Ok(total)
    }

    /// Writes all of `bytes`, or answers how far it came and why no further.
    fn write_chunk(&self, epoch: u32, nonblocking: bool, bytes: &[u8]) -> (usize, Result<()>) {
        let mut done = 0;
        while done < bytes.len() {
            let step = || {
                if self.epoch() != epoch {
                    return Some(Err(Errno::EIO));
                }
                let used = self.output(&bytes[done..]);
                (used > 0).then_some(Ok(used))
            };
            let used = match step() {
                Some(result) => result,
                None if nonblocking => {
                    self.wants_room.store(true, Ordering::Relaxed);
                    Err(Errno::EAGAIN)
                }
                None => self.write_wait.wait_until(step).and_then(|result| result),
            };
            match used {
                Ok(used) => done += used,
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// What the terminal is ready for.
    pub fn poll(&self, epoch: u32, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.read_wait);
            table.register(&self.write_wait);
        }
        let state = self.state.lock();
        if self.epoch() != epoch {
            return PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::ERR | PollEvents::HUP;
        }
        let mut events = PollEvents::empty();
        if state.ldisc.poll_readable() {
            events |= PollEvents::READABLE;
        }
        if !state.stopped && self.driver.room() > 0 && self.driver.pending() < WAKEUP_BELOW {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    /// Waits until everything written has gone out.
    ///
    /// # Errors
    /// `ERESTARTSYS` by a signal.
    pub fn drain(&self) -> Result<()> {
        let epoch = self.epoch();
        self.write_wait.wait_until(|| {
            let done = self.driver.pending() == 0 && self.state.lock().echo.is_empty();
            (done || self.epoch() != epoch).then_some(())
        })
    }
}
