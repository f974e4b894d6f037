//! [`PacketSocket`]: what it takes, what has arrived, receiving.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use abi::packet::{
    ETH_HLEN, ETH_P_ALL, SOL_PACKET, SockAddrLl, TP_STATUS_CSUMNOTREADY, TP_STATUS_USER,
    TpacketAuxdata, TpacketStats, option,
};
use abi::poll::PollEvents;
use abi::socket::{AF_PACKET, MsgFlags, SOCK_RAW, so};
use abi::{Errno, Result};
use bitflags::bitflags;
use smallvec::SmallVec;
use zerocopy::{FromBytes, IntoBytes};

use super::filter::Filter;
use super::frame::Frame;
use super::options::Members;
use crate::fs::fasync::{Band, FasyncList};
use crate::net::inet::common::Owner;
use crate::net::interface;
use crate::net::message::{Control, Incoming, Patience, Sender};
use crate::net::options::{DEFAULT_BUFFER, Options};
use crate::net::socket::NameBytes;
use crate::sync::census::{self, Live};
use crate::sync::{SpinLock, WaitQueue};

/// What a packet counts for beside its bytes: its bookkeeping on Linux.
const OVERHEAD: usize = 768;

bitflags! {
    /// Options that are on or off.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Switches: u32 {
        const AUXDATA = 1;
        const ORIGDEV = 2;
        const IGNORE_OUTGOING = 4;
    }
}

/// What a socket takes, and sends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    /// 0 for none.
    pub protocol: u16,
    /// 0 for all interfaces.
    pub ifindex: u32,
}

/// A frame in the queue of one socket.
#[derive(Clone)]
struct Arrived {
    frame: Arc<Frame>,
    /// `PACKET_HOST` and its kin.
    kind: u8,
    protocol: u16,
    /// How much of it the filter left.
    len: usize,
}

impl Arrived {
    fn charge(&self) -> usize {
        self.frame.bytes().len() + OVERHEAD
    }
}

/// What waits to be received.
#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Arrived>,
    closed: bool,
}

/// # Invariants
/// - `count` and `charge` change under `inbox` and agree with it.
/// - `bound` changes only under the table's lock for writing.
pub struct PacketSocket {
    _live: Live<{ census::SOCKETS }>,
    pub(super) kind: u32,
    pub(super) options: Options,
    pub(super) send_buffer: AtomicI32,
    pub(super) owner: Owner,
    pub(super) filter: SpinLock<Filter>,
    pub(super) members: SpinLock<Members>,
    bound: SpinLock<Bound>,
    switches: AtomicU32,
    inbox: SpinLock<Inbox>,
    count: AtomicUsize,
    charge: AtomicUsize,
    packets: AtomicU32,
    drops: AtomicU32,
    /// `SO_ERROR`.
    error: AtomicI32,
    pub(super) readers: WaitQueue,
    pub(super) fasync: FasyncList,
}

/// An address of the family.
///
/// # Errors
/// `EINVAL` for one too short.
pub(super) fn parse(address: &[u8]) -> Result<SockAddrLl> {
    let parsed = SockAddrLl::read_from_prefix(address);
    parsed.map(|(parsed, _)| parsed).map_err(|_| Errno::EINVAL)
}

impl PacketSocket {
    pub(super) fn new(kind: u32, protocol: u16) -> Arc<PacketSocket> {
        Arc::new(PacketSocket {
            _live: Live::new(),
            kind,
            options: Options::new(),
            send_buffer: AtomicI32::new(DEFAULT_BUFFER as i32),
            owner: Owner::default(),
            filter: SpinLock::new(Filter::default()),
            members: SpinLock::new(Members::default()),
            bound: SpinLock::new(Bound {
                protocol,
                ifindex: 0,
            }),
            switches: AtomicU32::new(0),
            inbox: SpinLock::new(Inbox::default()),
            count: AtomicUsize::new(0),
            charge: AtomicUsize::new(0),
            packets: AtomicU32::new(0),
            drops: AtomicU32::new(0),
            error: AtomicI32::new(0),
            readers: WaitQueue::new(),
            fasync: FasyncList::default(),
        })
    }

    pub(super) fn is_raw(&self) -> bool {
        self.kind == SOCK_RAW
    }
    pub(super) fn bound(&self) -> Bound {
        *self.bound.lock()
    }
    pub(super) fn has(&self, switch: Switches) -> bool {
        self.switches.load(Ordering::Relaxed) & switch.bits() != 0
    }
    pub(super) fn switch(&self, switch: Switches, on: bool) {
        match on {
            true => self.switches.fetch_or(switch.bits(), Ordering::Relaxed),
            false => self.switches.fetch_and(!switch.bits(), Ordering::Relaxed),
        };
    }
    pub(super) fn charge(&self) -> usize {
        self.charge.load(Ordering::SeqCst)
    }

    /// Whether packets are shown to it now: an interface that is down has none.
    pub(super) fn is_running(&self) -> bool {
        let bound = self.bound();
        let is_up = |index| interface::by_index(index).is_some_and(interface::Interface::is_up);
        bound.protocol != 0 && (bound.ifindex == 0 || is_up(bound.ifindex))
    }
    pub(super) fn sees_outgoing(&self) -> bool {
        self.bound().protocol == ETH_P_ALL && !self.has(Switches::IGNORE_OUTGOING)
    }

    /// # Errors
    /// `EINVAL` for a short address or one of another family, `ENODEV`.
    pub(super) fn bind(&self, address: &[u8]) -> Result<()> {
        let wanted = parse(address)?;
        if wanted.family != AF_PACKET {
            return Err(Errno::EINVAL);
        }
        let ifindex = u32::try_from(wanted.ifindex).map_err(|_| Errno::ENODEV)?;
        if ifindex != 0 && interface::by_index(ifindex).is_none() {
            return Err(Errno::ENODEV);
        }
        super::change(|_| {
            let mut bound = self.bound.lock();
            bound.ifindex = ifindex;
            match u16::from_be_bytes(wanted.protocol) {
                0 => {}
                protocol => bound.protocol = protocol,
            }
        });
        if self.bound().protocol != 0 && !self.is_running() {
            self.set_error(Errno::ENETDOWN);
        }
        Ok(())
    }

    /// What `getsockname` gives: as long as the interface's address.
    pub(super) fn own_name(&self) -> NameBytes {
        let bound = self.bound();
        let mut name = SockAddrLl {
            family: AF_PACKET,
            protocol: bound.protocol.to_be_bytes(),
            ifindex: bound.ifindex as i32,
            hatype: 0,
            pkttype: 0,
            halen: 0,
            address: [0; 8],
        };
        if let Some(interface) = interface::by_index(bound.ifindex) {
            name.hatype = interface.hardware;
            name.set_address(interface.hardware_address);
        }
        let len = SockAddrLl::HEAD + usize::from(name.halen);
        NameBytes::from_slice(name.as_bytes().get(..len).unwrap_or_default())
    }

    /// A frame passes; with no room it is lost.
    pub(super) fn deliver(&self, frame: &Arc<Frame>, kind: u8, protocol: u16) {
        let data = self.shown(frame);
        let program = self.filter.lock().program();
        let wanted = program.map_or(data.len(), |program| {
            super::filter::run(&program, frame, data, (kind, protocol))
        });
        // By this a packet without bytes is not taken either, as on Linux.
        if wanted == 0 {
            return;
        }
        let arrived = Arrived {
            len: data.len().min(wanted),
            frame: frame.clone(),
            kind,
            protocol,
        };
        let limit = self.options.get(so::RCVBUF).unwrap_or(0) as usize;
        let mut inbox = self.inbox.lock();
        let has_room = self.charge() < limit && inbox.arrived.try_reserve(1).is_ok();
        if !has_room || inbox.closed {
            drop(inbox);
            drop(arrived);
            self.drops.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.charge.fetch_add(arrived.charge(), Ordering::SeqCst);
        inbox.arrived.push_back(arrived);
        self.count.store(inbox.arrived.len(), Ordering::SeqCst);
        drop(inbox);
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.readers.wake_events(PollEvents::READABLE);
        self.fasync.tell(Band::In);
    }

    /// What of a frame the socket's type shows.
    fn shown<'a>(&self, frame: &'a Frame) -> &'a [u8] {
        if self.is_raw() {
            frame.bytes()
        } else {
            frame.payload()
        }
    }

    pub(super) fn set_error(&self, error: Errno) {
        self.error.store(error.get(), Ordering::SeqCst);
        self.readers.wake_all();
    }
    /// The pending error, taken.
    pub(super) fn take_error(&self) -> Result<()> {
        match self.error.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(Errno::new(number).unwrap_or(Errno::EIO)),
        }
    }
    fn has_error(&self) -> bool {
        self.error.load(Ordering::SeqCst) != 0
    }

    /// `PACKET_STATISTICS`: they begin anew when they are told.
    pub(super) fn take_statistics(&self) -> TpacketStats {
        let drops = self.drops.swap(0, Ordering::Relaxed);
        TpacketStats {
            packets: self.packets.swap(0, Ordering::Relaxed).wrapping_add(drops),
            drops,
        }
    }

    /// Bytes of the next packet.
    pub(super) fn next_len(&self) -> usize {
        let inbox = self.inbox.lock();
        inbox.arrived.front().map_or(0, |arrived| arrived.len)
    }

    pub(super) fn events(&self) -> PollEvents {
        let mut events = PollEvents::WRITABLE | PollEvents::WRBAND;
        if self.has_error() {
            events |= PollEvents::ERR;
        }
        if self.count.load(Ordering::SeqCst) != 0 {
            events |= PollEvents::READABLE;
        }
        events
    }

    fn next(&self, peeks: bool) -> Option<Arrived> {
        let mut inbox = self.inbox.lock();
        if peeks {
            return inbox.arrived.front().cloned();
        }
        let arrived = inbox.arrived.pop_front()?;
        self.charge.fetch_sub(arrived.charge(), Ordering::SeqCst);
        self.count.store(inbox.arrived.len(), Ordering::SeqCst);
        Some(arrived)
    }

    /// # Errors
    /// `EINVAL` for a flag that means nothing here, the pending error, `EAGAIN`, `EFAULT`.
    pub(super) fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        const KNOWN: MsgFlags = MsgFlags::PEEK
            .union(MsgFlags::DONTWAIT)
            .union(MsgFlags::TRUNC)
            .union(MsgFlags::ERRQUEUE);
        if !KNOWN.contains(message.flags) {
            return Err(Errno::EINVAL);
        }
        if message.flags.contains(MsgFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        let mut patience = Patience::new(message.flags, self.options.receive_timeout_ns());
        let arrived = loop {
            self.take_error()?;
            if let Some(arrived) = self.next(message.flags.contains(MsgFlags::PEEK)) {
                break arrived;
            }
            patience.wait(&self.readers, || {
                self.count.load(Ordering::SeqCst) != 0 || self.has_error()
            })?;
        };
        let count = arrived.len.min(message.data.remaining());
        if count < arrived.len {
            message.told |= MsgFlags::TRUNC;
        }
        let data = self.shown(&arrived.frame);
        message.data.put(data.get(..count).unwrap_or_default())?;
        self.describe(&arrived, message);
        Ok(if message.flags.contains(MsgFlags::TRUNC) {
            arrived.len
        } else {
            count
        })
    }

    /// What is told beside the bytes.
    fn describe(&self, arrived: &Arrived, message: &mut Incoming<'_, '_>) {
        let from = interface::loopback();
        let mut sender = SockAddrLl {
            family: AF_PACKET,
            protocol: arrived.protocol.to_be_bytes(),
            ifindex: from.index as i32,
            hatype: from.hardware,
            pkttype: arrived.kind,
            halen: 0,
            address: [0; 8],
        };
        sender.set_address(arrived.frame.source());
        message.sender = Sender::Address(NameBytes::from_slice(sender.as_bytes()));
        if !self.has(Switches::AUXDATA) {
            return;
        }
        let lacks_sums = arrived.frame.lacks_sums();
        let told = TpacketAuxdata {
            status: TP_STATUS_USER
                | if lacks_sums {
                    TP_STATUS_CSUMNOTREADY
                } else {
                    0
                },
            len: self.shown(&arrived.frame).len() as u32,
            snaplen: arrived.len as u32,
            net: if self.is_raw() { ETH_HLEN as u16 } else { 0 },
            ..TpacketAuxdata::default()
        };
        message.control.push(Control {
            level: SOL_PACKET,
            kind: option::AUXDATA,
            data: SmallVec::from_slice(told.as_bytes()),
        });
    }

    /// The last reference is gone: nothing arrives any more.
    pub(super) fn close(&self) {
        super::remove(self);
        self.leave_all();
        let mut inbox = self.inbox.lock();
        inbox.closed = true;
        let arrived = core::mem::take(&mut inbox.arrived);
        drop(inbox);
        drop(arrived);
        let program = self.filter.lock().take();
        drop(program);
        self.owner.clear();
    }
}
