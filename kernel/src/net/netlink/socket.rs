//! A netlink socket: what has arrived, how much of it there may be, receiving.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use abi::netlink::{SOL_NETLINK, option};
use abi::poll::PollEvents;
use abi::socket::{MsgFlags, so};
use abi::{Errno, Result};
use bitflags::bitflags;
use smallvec::SmallVec;
use zerocopy::IntoBytes;

use super::Protocol;
use super::packet::{Packet, charge_of, group_mask};
use crate::fs::fasync::{Band, FasyncList};
use crate::net::message::{Control, Incoming, Patience, Sender};
use crate::net::options::{DEFAULT_BUFFER, Options};
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, SpinLock, WaitQueue};
use crate::task::{self, Cred};

bitflags! {
    /// Options that are on or off.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Switches: u32 {
        const PKTINFO = 1;
        const BROADCAST_ERROR = 2;
        const NO_ENOBUFS = 4;
        const CAP_ACK = 8;
        const EXT_ACK = 16;
        const ALL_NSID = 64;
        /// Hears of processes.
        const PROC_EVENTS = 256;
        /// Groups were asked for once: memberships can be listed.
        const HAS_GROUPS = 128;
    }
}

/// Whom sends without an address go to.
#[derive(Clone, Copy, Default)]
pub(super) struct Peer {
    pub port: u32,
    pub group: u32,
    /// By `connect`: only this one may send here.
    pub connected: bool,
}

/// What waits to be received.
#[derive(Default)]
struct Inbox {
    packets: VecDeque<Arc<Packet>>,
    /// The rest of a running dump, which follows as it is read.
    dump: VecDeque<Vec<u8>>,
    closed: bool,
}

/// What became of a delivery.
pub(super) enum Delivery {
    Done,
    /// There is no room; the packet comes back.
    Full(Arc<Packet>),
    /// The socket is closed.
    Gone,
}

/// A netlink socket.
pub struct NetlinkSocket {
    _live: Live<{ census::SOCKETS }>,
    me: Weak<NetlinkSocket>,
    pub(super) protocol: &'static Protocol,
    pub(super) kind: u32,
    pub(super) options: Options,
    pub(super) send_buffer: AtomicI32,
    pub(super) passcred: AtomicBool,
    /// `SO_ERROR`.
    pub(super) error: AtomicI32,
    switches: AtomicU32,
    /// Who made it: requests need the rights of both maker and sender.
    pub(super) opener: Arc<Cred>,
    /// The number; valid once `bound`.
    pub(super) port: AtomicU32,
    pub(super) bound: AtomicBool,
    /// Bit n: the socket is in group n + 1.
    pub(super) groups: AtomicU64,
    pub(super) peer: SpinLock<Peer>,
    inbox: Mutex<Inbox>,
    count: AtomicUsize,
    charge: AtomicUsize,
    dumping: AtomicBool,
    /// Something was lost, and what came before it is not read yet.
    congested: AtomicBool,
    drops: AtomicU32,
    /// The most that a receive asked for: how large a part of a dump may be.
    largest_receive: AtomicUsize,
    pub(super) readers: WaitQueue,
    /// Those who wait for room here.
    room: WaitQueue,
    pub(super) fasync: FasyncList,
    pub(super) ino: AtomicU64,
}

/// The least and the most bytes of one part of a dump.
const DUMP_PART: (usize, usize) = (3776, 32448);

impl NetlinkSocket {
    pub(super) fn new(protocol: &'static Protocol, kind: u32) -> Arc<NetlinkSocket> {
        Arc::new_cyclic(|me| NetlinkSocket {
            _live: Live::new(),
            me: me.clone(),
            protocol,
            kind,
            options: Options::new(),
            send_buffer: AtomicI32::new(DEFAULT_BUFFER as i32),
            passcred: AtomicBool::new(false),
            error: AtomicI32::new(0),
            switches: AtomicU32::new(0),
            opener: task::current().cred(),
            port: AtomicU32::new(0),
            bound: AtomicBool::new(false),
            groups: AtomicU64::new(0),
            peer: SpinLock::new(Peer::default()),
            inbox: Mutex::new(Inbox::default()),
            count: AtomicUsize::new(0),
            charge: AtomicUsize::new(0),
            dumping: AtomicBool::new(false),
            congested: AtomicBool::new(false),
            drops: AtomicU32::new(0),
            largest_receive: AtomicUsize::new(0),
            readers: WaitQueue::new(),
            room: WaitQueue::new(),
            fasync: FasyncList::default(),
            ino: AtomicU64::new(0),
        })
    }

    /// The socket itself, counted; `None` only while it is being dropped.
    pub fn counted(&self) -> Option<Arc<NetlinkSocket>> {
        self.me.upgrade()
    }

    pub(super) fn has(&self, switch: Switches) -> bool {
        self.switches.load(Ordering::Relaxed) & switch.bits() != 0
    }
    /// True if that changed anything.
    pub(super) fn switch(&self, switch: Switches, on: bool) -> bool {
        let bits = switch.bits();
        let before = match on {
            true => self.switches.fetch_or(bits, Ordering::Relaxed),
            false => self.switches.fetch_and(!bits, Ordering::Relaxed),
        };
        (before & bits != 0) != on
    }

    /// The port number, 0 before there is one.
    pub(super) fn port(&self) -> u32 {
        self.port.load(Ordering::SeqCst)
    }

    pub(super) fn has_input(&self) -> bool {
        self.count.load(Ordering::SeqCst) != 0
    }
    pub(super) fn charge(&self) -> usize {
        self.charge.load(Ordering::SeqCst)
    }
    pub(super) fn is_dumping(&self) -> bool {
        self.dumping.load(Ordering::SeqCst)
    }
    pub(super) fn drops(&self) -> u32 {
        self.drops.load(Ordering::Relaxed)
    }

    fn receive_buffer(&self) -> usize {
        self.options.get(so::RCVBUF).unwrap_or(0) as usize
    }

    /// Whether something that counts for so much fits; into an empty queue everything does.
    fn has_room(&self, charge: usize) -> bool {
        let used = self.charge();
        let fits = used == 0 || used + charge <= self.receive_buffer();
        fits && !self.congested.load(Ordering::SeqCst)
    }

    /// How large one part of a dump may be.
    pub(super) fn dump_part(&self) -> usize {
        let (least, most) = DUMP_PART;
        let largest = self.largest_receive.load(Ordering::Relaxed);
        largest.clamp(least, most)
    }

    pub(super) fn set_error(&self, error: Errno) {
        self.error.store(error.get(), Ordering::SeqCst);
        self.readers.wake_all();
        self.fasync.tell(Band::In);
    }

    /// The pending error, taken.
    pub(super) fn take_error(&self) -> Result<()> {
        if self.error.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        match self.error.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(Errno::new(number).unwrap_or(Errno::EIO)),
        }
    }

    /// Something for this socket was lost.
    pub(super) fn overrun(&self) {
        if !self.has(Switches::NO_ENOBUFS) && !self.congested.swap(true, Ordering::SeqCst) {
            self.set_error(Errno::ENOBUFS);
        }
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    /// `NETLINK_NO_ENOBUFS` was set.
    pub(super) fn forget_congestion(&self) {
        self.congested.store(false, Ordering::SeqCst);
        self.room.wake_all();
    }

    /// Puts a packet into the queue if there is room.
    pub(super) fn try_deliver(&self, packet: Arc<Packet>) -> Delivery {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return Delivery::Gone;
        }
        if !self.has_room(packet.charge()) {
            return Delivery::Full(packet);
        }
        self.enqueue(&mut inbox, packet);
        drop(inbox);
        self.tell_input();
        Delivery::Done
    }

    /// Waits until so many bytes would find room: [`Self::deliver_promised`] will bring them in any case.
    ///
    /// # Errors
    /// `ERESTARTSYS` for a signal.
    pub fn await_room_for(&self, len: usize) -> Result<()> {
        let charge = charge_of(len);
        self.room.wait_until(|| {
            let is_open = self.has_room(charge) || !self.bound.load(Ordering::SeqCst);
            is_open.then_some(())
        })
    }

    /// Puts a datagram of the kernel into the queue, whose room was looked at before.
    pub fn deliver_promised(&self, data: Vec<u8>) {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return;
        }
        self.enqueue(&mut inbox, Arc::new(Packet::from_kernel(data, 0)));
        drop(inbox);
        self.tell_input();
    }

    fn enqueue(&self, inbox: &mut Inbox, packet: Arc<Packet>) {
        self.charge.fetch_add(packet.charge(), Ordering::SeqCst);
        inbox.packets.push_back(packet);
        self.count.store(inbox.packets.len(), Ordering::SeqCst);
    }

    fn tell_input(&self) {
        self.readers.wake_events(PollEvents::READABLE);
        self.fasync.tell(Band::In);
    }

    /// Sleeps until there may be room for the packet here.
    pub(super) fn await_room(&self, packet: &Packet, patience: &mut Patience) -> Result<()> {
        patience.wait(&self.room, || {
            self.has_room(packet.charge()) || !self.bound.load(Ordering::SeqCst)
        })
    }

    /// Begins a dump of these datagrams: the first is there at once, the others follow as they are read.
    ///
    /// # Errors
    /// `EBUSY` while another one runs.
    pub(super) fn start_dump(&self, parts: VecDeque<Vec<u8>>) -> Result<()> {
        let mut inbox = self.inbox.lock();
        if !inbox.dump.is_empty() {
            return Err(Errno::EBUSY);
        }
        inbox.dump = parts;
        self.continue_dump(&mut inbox);
        drop(inbox);
        self.tell_input();
        Ok(())
    }

    fn continue_dump(&self, inbox: &mut Inbox) -> bool {
        let Some(data) = inbox.dump.pop_front() else {
            return false;
        };
        self.enqueue(inbox, Arc::new(Packet::from_kernel(data, 0)));
        self.dumping.store(!inbox.dump.is_empty(), Ordering::SeqCst);
        true
    }

    /// Takes the next packet, or with `peeks` looks at it.
    fn next_packet(&self, peeks: bool) -> Option<Arc<Packet>> {
        let mut inbox = self.inbox.lock();
        if peeks {
            return inbox.packets.front().cloned();
        }
        let packet = inbox.packets.pop_front()?;
        self.charge.fetch_sub(packet.charge(), Ordering::SeqCst);
        self.count.store(inbox.packets.len(), Ordering::SeqCst);
        Some(packet)
    }

    /// After a receive: a dump goes on, and senders may find room.
    fn after_receive(&self) {
        if self.is_dumping() && self.charge() <= self.receive_buffer() / 2 {
            let mut inbox = self.inbox.lock();
            let went_on = self.continue_dump(&mut inbox);
            drop(inbox);
            if went_on {
                self.tell_input();
            }
        }
        if !self.has_input() {
            self.congested.store(false, Ordering::SeqCst);
        }
        if !self.congested.load(Ordering::SeqCst) {
            self.room.wake_all();
        }
    }

    pub(super) fn receive_packet(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let peeks = message.flags.contains(MsgFlags::PEEK);
        let mut patience = Patience::new(message.flags, self.options.receive_timeout_ns());
        let packet = loop {
            self.take_error()?;
            if let Some(packet) = self.next_packet(peeks) {
                break packet;
            }
            patience.wait(&self.readers, || {
                self.has_input() || self.error.load(Ordering::SeqCst) != 0
            })?;
        };
        let len = packet.data.len();
        let room = message.data.remaining();
        self.largest_receive.fetch_max(room, Ordering::Relaxed);
        let n = len.min(room);
        if n < len {
            message.told |= MsgFlags::TRUNC;
        }
        let copied = message.data.put(packet.data.get(..n).unwrap_or_default());
        self.describe(&packet, message);
        self.after_receive();
        copied?;
        Ok(if message.flags.contains(MsgFlags::TRUNC) {
            len
        } else {
            n
        })
    }

    /// What is told beside the bytes.
    fn describe(&self, packet: &Packet, message: &mut Incoming<'_, '_>) {
        message.sender =
            Sender::Address(super::ops::address(packet.port, group_mask(packet.group)));
        if self.has(Switches::PKTINFO) {
            message.control.push(Control {
                level: SOL_NETLINK,
                kind: option::PKTINFO,
                data: SmallVec::from_slice(packet.group.as_bytes()),
            });
        }
        if self.passcred.load(Ordering::Relaxed) {
            message.cred = Some(packet.cred);
        }
    }

    /// The last file is closed: nothing arrives any more.
    pub(super) fn close(&self) {
        if let Some(close) = self.protocol.close {
            close(self);
        }
        super::table::leave(self);
        let mut inbox = self.inbox.lock();
        inbox.closed = true;
        let packets = core::mem::take(&mut inbox.packets);
        let dump = core::mem::take(&mut inbox.dump);
        drop(inbox);
        self.count.store(0, Ordering::SeqCst);
        self.room.wake_all();
        drop((packets, dump));
    }
}
