//! Pseudo-terminals: a terminal whose other end is a file, the master.
//!
//! What is written to the master goes through the slave's line discipline as if it had been typed; what the slave
//! puts out is queued for the master. The terminal proper is the slave: attributes and job control asked of the
//! master are the slave's.
//!
//! # Lock order
//! ```text
//! the slave's state
//!   Pair::queue
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering};

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::signal::Signo;
use abi::termios as t;
use abi::termios::{B38400, CREAD, CS8, CSIZE, EXTPROC, IXON, PARENB, Termios, VSTART, VSTOP};
use abi::{Errno, Result};
use spin::Once;

use super::core::{Driver, Tty};
use super::file::TtyFile;
use super::ioctl::{self, put, put_of};
use super::ptmx::{self, Number};
use super::turn::Turn;
use crate::fs::fasync::{Band, FasyncList, Owner};
use crate::fs::{File, FileOps, FileOpsRef, Path};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::sched;
use crate::sync::{PollTable, SpinLock, WaitQueue};

/// Bytes kept for the master.
const QUEUE_BYTES: usize = 16 * 1024;
/// As many of them count as delivered: on Linux they are in the master's own line discipline.
const DELIVERED_BYTES: usize = 4095;
/// Writers are woken when a queue that had less room than this gets more.
const NEARLY_FULL: usize = 256;
/// Bytes moved at a time.
const CHUNK: usize = 1024;
/// Major number of the first 2^20 slaves.
pub const PTS_MAJOR: u32 = 136;
/// ^Q and ^S: what `TIOCPKT_DOSTOP` speaks of.
const USUAL_FLOW: (u8, u8) = (0o21, 0o23);

struct Queue {
    bytes: VecDeque<u8>,
    /// Packet mode, and what the master has not been told yet (`TIOCPKT_*`).
    packet: bool,
    status: u8,
}

/// What both ends of a pseudo-terminal share.
///
/// # Invariants
/// `queue.bytes` never grows beyond [`QUEUE_BYTES`].
pub struct Pair {
    pub index: u32,
    slave: Once<Weak<Tty>>,
    queue: SpinLock<Queue>,
    /// Woken when the master can read, and when it can write.
    master_read: WaitQueue,
    master_write: WaitQueue,
    /// The master's files that are signalled (`O_ASYNC`).
    fasync: FasyncList,
    /// A write of the master found too little room since its files were last told that there is some.
    wants_room: AtomicBool,
    readers: Turn,
    writers: Turn,
    /// `TIOCSPTLCK`: the slave cannot be opened.
    locked: AtomicBool,
    /// Every open slave was closed; the next open ends that.
    slave_closed: AtomicBool,
    master_closed: AtomicBool,
    /// `TCOOFF` on the master: its writes wait.
    stopped: AtomicBool,
}

impl Pair {
    fn wake_master(&self) {
        self.master_read
            .wake_events(PollEvents::READABLE | PollEvents::PRI);
    }

    /// Notes a change for packet mode; `clear` are the bits it takes back.
    fn note(&self, set: u8, clear: u8) {
        let mut queue = self.queue.lock();
        if queue.packet {
            queue.status = (queue.status & !clear) | set;
            drop(queue);
            self.wake_master();
        }
    }
}

/// The slave's driver.
struct SlaveDriver(Arc<Pair>);

impl Driver for SlaveDriver {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut queue = self.0.queue.lock();
        let count = bytes.len().min(QUEUE_BYTES - queue.bytes.len());
        queue.bytes.extend(&bytes[..count]);
        count
    }

    fn room(&self) -> usize {
        QUEUE_BYTES - self.0.queue.lock().bytes.len()
    }

    fn written(&self) {
        self.0.master_read.wake_events(PollEvents::READABLE);
        self.0.fasync.tell(Band::In);
    }

    fn flush(&self) {
        // What a master that reads in time would have already is not taken back from it.
        self.0.queue.lock().bytes.truncate(DELIVERED_BYTES);
    }

    fn input_room(&self) {
        self.0.master_write.wake_events(PollEvents::WRITABLE);
        let fasync = &self.0.fasync;
        if fasync.is_used() && self.0.wants_room.swap(false, Ordering::Relaxed) {
            fasync.tell(Band::Out);
        }
    }

    fn set_termios(&self, old: &Termios, new: &mut Termios) {
        let flow = |t: &Termios| t.input(IXON) && (t.cc(VSTART), t.cc(VSTOP)) == USUAL_FLOW;
        let (was, is) = (flow(old), flow(new));
        let mut set = 0;
        if was != is {
            set |= if is {
                t::TIOCPKT_DOSTOP
            } else {
                t::TIOCPKT_NOSTOP
            };
        }
        if old.local(EXTPROC) || new.local(EXTPROC) {
            set |= t::TIOCPKT_IOCTL;
        }
        if set != 0 {
            let clear = if was != is {
                t::TIOCPKT_DOSTOP | t::TIOCPKT_NOSTOP
            } else {
                0
            };
            self.0.note(set as u8, clear as u8);
        }
        new.c_cflag = (new.c_cflag & !(CSIZE | PARENB)) | CS8 | CREAD;
    }

    fn check_open(&self) -> Result<()> {
        let closed = self.0.master_closed.load(Ordering::Acquire);
        if closed || self.0.locked.load(Ordering::Acquire) {
            Err(Errno::EIO)
        } else {
            Ok(())
        }
    }

    fn first_open(&self) -> Result<()> {
        self.0.slave_closed.store(false, Ordering::Release);
        Ok(())
    }

    fn last_close(&self) {
        self.0.slave_closed.store(true, Ordering::Release);
        self.0.master_read.wake_all();
        self.0.master_write.wake_all();
    }

    fn packet(&self, bits: u8) {
        let opposite = match u32::from(bits) {
            t::TIOCPKT_STOP => t::TIOCPKT_START,
            t::TIOCPKT_START => t::TIOCPKT_STOP,
            _ => 0,
        };
        self.0.note(bits, opposite as u8);
    }

    fn other_end_closed(&self) -> bool {
        self.0.master_closed.load(Ordering::Acquire)
    }

    fn is_pty(&self) -> bool {
        true
    }
}

/// The master's end.
pub struct Master {
    pair: Arc<Pair>,
    slave: Arc<Tty>,
    /// Given back once the slave is hung up.
    number: Number,
}

/// Opens a new pseudo-terminal's master.
///
/// # Errors
/// `ENOSPC` when there are too many, `ENOMEM`; `ENOENT` and `ENODEV` where the node has no devpts.
pub fn open_ptmx(node: &Path) -> Result<FileOpsRef> {
    let number = ptmx::find(node)?.allocate()?;
    Ok(Arc::new(make(number)?).into())
}

fn make(number: Number) -> Result<Master> {
    let index = number.index();
    let mut bytes = VecDeque::new();
    bytes
        .try_reserve_exact(QUEUE_BYTES)
        .map_err(|_| Errno::ENOMEM)?;
    let pair = Arc::new(Pair {
        index,
        slave: Once::new(),
        queue: SpinLock::new(Queue {
            bytes,
            packet: false,
            status: 0,
        }),
        master_read: WaitQueue::new(),
        master_write: WaitQueue::new(),
        fasync: FasyncList::default(),
        wants_room: AtomicBool::new(false),
        readers: Turn::new(),
        writers: Turn::new(),
        locked: AtomicBool::new(true),
        slave_closed: AtomicBool::new(false),
        master_closed: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
    });
    let initial = Termios {
        c_cflag: B38400 | CS8 | CREAD,
        ..Termios::STD
    };
    let name = format!("pts/{index}");
    let driver = Box::new(SlaveDriver(pair.clone()));
    let slave = Tty::new(
        &name,
        (PTS_MAJOR + (index >> 20), index & 0xf_ffff),
        initial,
        driver,
    )?;
    pair.slave.call_once(|| Arc::downgrade(&slave));
    number.publish(&slave)?;
    Ok(Master {
        pair,
        slave,
        number,
    })
}

impl Drop for Master {
    fn drop(&mut self) {
        self.pair.master_closed.store(true, Ordering::Release);
        self.number.withdraw();
        self.slave.hang_up(false);
    }
}

/// What a look at the queue gave the master.
enum Look {
    Bytes(usize),
    Status(u8),
    Closed,
}

impl Master {
    fn look(&self, out: &mut [u8]) -> Option<Look> {
        let mut queue = self.pair.queue.lock();
        if queue.packet && queue.status != 0 {
            return Some(Look::Status(core::mem::take(&mut queue.status)));
        }
        if queue.bytes.is_empty() {
            return self
                .pair
                .slave_closed
                .load(Ordering::Acquire)
                .then_some(Look::Closed);
        }
        let count = out.len().min(queue.bytes.len());
        let was_full = QUEUE_BYTES - queue.bytes.len() < NEARLY_FULL;
        let (first, second) = queue.bytes.as_slices();
        let split = count.min(first.len());
        out[..split].copy_from_slice(&first[..split]);
        out[split..count].copy_from_slice(&second[..count - split]);
        queue.bytes.drain(..count);
        drop(queue);
        if was_full {
            self.slave.output_room();
        }
        Some(Look::Bytes(count))
    }

    fn set_packet(&self, arg: usize) -> Result<usize> {
        let on = UserPtr::<i32>::from(arg).read()? != 0;
        let mut queue = self.pair.queue.lock();
        if on && !queue.packet {
            queue.status = 0;
        }
        queue.packet = on;
        Ok(0)
    }

    fn signal(&self, number: usize) -> Result<usize> {
        let signo = i32::try_from(number)
            .ok()
            .and_then(Signo::new)
            .ok_or(Errno::EINVAL)?;
        if ![Signo::INT, Signo::QUIT, Signo::TSTP].contains(&signo) {
            return Err(Errno::EINVAL);
        }
        self.slave.signal_foreground(signo);
        Ok(0)
    }

    fn flush(&self, which: usize) -> Result<usize> {
        match u32::try_from(which).unwrap_or(u32::MAX) {
            // What was written to the slave is at its reader's side already.
            t::TCOFLUSH => {}
            t::TCIFLUSH | t::TCIOFLUSH => {
                self.pair.queue.lock().bytes.clear();
                self.slave.output_room();
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    fn flow(&self, what: usize) -> Result<usize> {
        let termios = self.slave.termios();
        match u32::try_from(what).unwrap_or(u32::MAX) {
            t::TCOOFF => self.pair.stopped.store(true, Ordering::Release),
            t::TCOON => {
                self.pair.stopped.store(false, Ordering::Release);
                self.pair.master_write.wake_all();
            }
            t::TCIOFF => drop(self.slave.receive(&[termios.cc(VSTOP)])),
            t::TCION => drop(self.slave.receive(&[termios.cc(VSTART)])),
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    /// Gives the slave what it has room for; `None` if that is nothing.
    fn feed(&self, bytes: &[u8]) -> Option<usize> {
        if self.pair.stopped.load(Ordering::Acquire) {
            return None;
        }
        Some(self.slave.receive(bytes)).filter(|&used| used > 0)
    }
}

impl FileOps for Master {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        let nonblocking = file.nonblocking();
        let _turn = self.pair.readers.take(nonblocking)?;
        let mut total = 0;
        while sink.remaining() > 0 {
            let packet = self.pair.queue.lock().packet && total == 0;
            let mut chunk = [0; CHUNK];
            let first = usize::from(packet);
            let want = sink.remaining().min(CHUNK);
            let mut look = || self.look(&mut chunk[first..want.max(first)]);
            let found = match look() {
                Some(found) => found,
                None if total > 0 => break,
                None if nonblocking => return Err(Errno::EAGAIN),
                None => self.pair.master_read.wait_until(look)?,
            };
            match found {
                Look::Bytes(count) => {
                    let put = sink.put(&chunk[..first + count]);
                    total += first + count;
                    if put.is_err() {
                        return sink.outcome(put);
                    }
                    if first + count < want {
                        break;
                    }
                }
                Look::Status(status) if total == 0 => {
                    let put = sink.put(&[status]);
                    return sink.outcome(put);
                }
                Look::Status(status) => {
                    self.pair.queue.lock().status |= status;
                    break;
                }
                Look::Closed if total > 0 => break,
                Look::Closed => return Err(Errno::EIO),
            }
        }
        Ok(total)
    }

    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        let nonblocking = file.nonblocking();
        let _turn = self.pair.writers.take(nonblocking)?;
        let mut total = 0;
        while source.remaining() > 0 {
            let mut chunk = [0; CHUNK];
            let count = source.remaining().min(CHUNK);
            if source.take(&mut chunk[..count]).is_err() {
                return if total > 0 {
                    Ok(total)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            let mut done = 0;
            while done < count {
                let step = || self.feed(&chunk[done..count]);
                let used = match step() {
                    Some(used) => Ok(used),
                    None if nonblocking => {
                        self.pair.wants_room.store(true, Ordering::Relaxed);
                        Err(Errno::EAGAIN)
                    }
                    None => self.pair.master_write.wait_until(step),
                };
                match used {
                    Ok(used) => done += used,
                    Err(_) if total + done > 0 => return Ok(total + done),
                    Err(error) => return Err(error),
                }
            }
            total += count;
            sched::cond_resched();
        }
        Ok(total)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.pair.master_read);
            table.register(&self.pair.master_write);
        }
        let mut events = PollEvents::empty();
        let queue = self.pair.queue.lock();
        if !queue.bytes.is_empty() {
            events |= PollEvents::READABLE;
        }
        if queue.packet && queue.status != 0 {
            events |= PollEvents::READABLE | PollEvents::PRI;
        }
        drop(queue);
        if self.pair.slave_closed.load(Ordering::Acquire) {
            events |= PollEvents::HUP;
        }
        let stopped = self.pair.stopped.load(Ordering::Acquire);
        if !stopped && self.slave.state.lock().ldisc.has_room() {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.pair.fasync), None])
    }

    fn default_owner(&self) -> Option<Owner> {
        Some(Owner::current())
    }

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<usize> {
        match cmd {
            t::TIOCGPTN => put(arg, &self.pair.index),
            t::TIOCSPTLCK => {
                let lock = UserPtr::<i32>::from(arg).read()? != 0;
                self.pair.locked.store(lock, Ordering::Release);
                Ok(0)
            }
            t::TIOCGPTLCK => put(arg, &i32::from(self.pair.locked.load(Ordering::Acquire))),
            t::TIOCPKT => self.set_packet(arg),
            t::TIOCGPKT => put_of(arg, || i32::from(self.pair.queue.lock().packet)),
            t::TIOCSIG => self.signal(arg),
            t::TIOCGPTPEER => {
                let flags = u32::try_from(arg).map_err(|_| Errno::EINVAL)?;
                self.number
                    .open_peer(file.path(), OpenFlags::from_bits_retain(flags))
            }
            t::TIOCINQ => put_of(arg, || self.pair.queue.lock().bytes.len() as i32),
            t::TIOCOUTQ => put(arg, &0i32),
            t::TCFLSH => self.flush(arg),
            t::TCXONC => self.flow(arg),
            t::TIOCNOTTY => Err(Errno::ENOTTY),
            _ => ioctl::common(&self.slave, file, false, cmd, arg).unwrap_or(Err(Errno::ENOTTY)),
        }
    }
}

/// Opens a slave by its number.
///
/// # Errors
/// `EIO` while it is locked or its master gone.
pub fn open_slave(tty: Arc<Tty>, flags: OpenFlags) -> Result<Arc<TtyFile>> {
    super::file::open_node(tty, super::file::Node::Own, flags)
}
