//! Sockets within the machine (`AF_UNIX`): streams, datagrams, sequenced packets.
//!
//! | module | what |
//! |---|---|
//! | this | [`UnixSocket`] and [`End`]: making, shutting down, closing, readiness |
//! | [`name`] | addresses: paths, abstract names, autobind |
//! | [`connect`] | listening, connecting, accepting |
//! | [`stream`] | bytes |
//! | [`packet`] | datagrams and packets |
//! | [`gc`] | descriptors in flight: their limit, and sockets that only keep each other alive |
//! | [`ops`], `socket` | the file operations; what the calls on sockets ask for |
//!
//! # The shape
//! An [`End`] is what others see of a socket: what has arrived at it, its state, who waits. A [`UnixSocket`] is its
//! owner's view: the end, and the end of its partner. Ends do not refer to ends, so that nothing keeps itself alive;
//! a connected stream finds its partner without a lock, for it never gets another.
//!
//! # Invariants
//! - `End::bytes` and `End::charge` change only under `End::stream`, `End::count` under `End::packets`, and then agree
//!   with the queue: they are what conditions of waits look at.
//! - Nothing is queued at an end whose `shut` holds `RECEIVE`: senders look again under the queue's lock.
//! - `UnixSocket::partner` is set for datagrams only, `connected` for the other kinds only.

pub mod connect;
pub mod gc;
pub mod name;
mod ops;
mod packet;
mod socket;
mod stream;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use abi::poll::PollEvents;
use abi::socket::{SHUT_RDWR, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, Ucred};
use abi::{Errno, Result};
use spin::Once;
use unixsock::StreamQueue;

use self::connect::Embryo;
use self::name::Name;
use self::packet::Packet;
use super::message::{Incoming, Outgoing};
use super::options::{DEFAULT_BUFFER, Options};
use super::scm::Scm;
use crate::fs::fasync::{Band, FasyncList};
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, SpinLock, WaitQueue};
use crate::task;

/// The types there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Stream,
    Dgram,
    Seqpacket,
}

impl Kind {
    pub fn number(self) -> u32 {
        match self {
            Kind::Stream => SOCK_STREAM,
            Kind::Dgram => SOCK_DGRAM,
            Kind::Seqpacket => SOCK_SEQPACKET,
        }
    }
    pub fn connects(self) -> bool {
        self != Kind::Dgram
    }
}

/// Directions that are shut down.
pub const RECEIVE: u8 = 1;
pub const SEND: u8 = 2;
const BOTH: u8 = RECEIVE | SEND;

/// Datagrams that wait for a receiver, and connections before `listen` says otherwise (`net.unix.max_dgram_qlen`).
pub const MAX_QUEUE: u32 = 10;

const CLOSED: u8 = 0;
const LISTENING: u8 = 1;
const ESTABLISHED: u8 = 2;

/// What others see of a socket.
pub struct End {
    pub kind: Kind,
    pub stream: Mutex<StreamQueue<Scm>>,
    pub bytes: AtomicUsize,
    pub charge: AtomicUsize,
    pub packets: SpinLock<VecDeque<Arc<Packet>>>,
    pub count: AtomicUsize,
    pub backlog: SpinLock<VecDeque<Embryo>>,
    /// How many packets or connections may wait before others have to.
    pub max_queue: AtomicU32,
    state: AtomicU8,
    shut: AtomicU8,
    dead: AtomicBool,
    /// `SO_ERROR`.
    pub error: AtomicI32,
    /// Somebody waits for more than the next byte: every send wakes, not only one into an empty queue.
    pub eager: AtomicBool,
    pub readers: WaitQueue,
    /// Those who wait for room for what this end sends.
    pub writers: WaitQueue,
    /// Those who wait for room at this end.
    pub room: WaitQueue,
    /// The files of its owner that are signalled (`O_ASYNC`).
    pub fasync: FasyncList,
    /// A send found no room since it was last told that there is some.
    pub wants_room: AtomicBool,
    /// What packets sent by this end and not yet received count for.
    pub sent: AtomicUsize,
    pub send_limit: AtomicUsize,
    /// Its owner wants credentials with messages.
    pub passcred: AtomicBool,
    pub name: Once<Arc<Name>>,
    /// Who listens here.
    pub listener: SpinLock<Option<PeerCred>>,
    /// The address of the partner's end, to compare with; 0 for none.
    pub partner_id: AtomicUsize,
}

/// What `SO_PEERCRED` and `SO_PEERGROUPS` tell.
#[derive(Clone)]
pub struct PeerCred {
    pub ucred: Ucred,
    pub groups: Arc<Vec<u32>>,
}

impl PeerCred {
    pub fn current() -> PeerCred {
        let task = task::current();
        let cred = task.my_cred();
        PeerCred {
            ucred: Ucred {
                pid: task.process.pid.0,
                uid: cred.euid,
                gid: cred.egid,
            },
            groups: cred.groups.clone(),
        }
    }
}

impl End {
    fn new(kind: Kind) -> Arc<End> {
        Arc::new(End {
            kind,
            stream: Mutex::new(StreamQueue::new()),
            bytes: AtomicUsize::new(0),
            charge: AtomicUsize::new(0),
            packets: SpinLock::new(VecDeque::new()),
            count: AtomicUsize::new(0),
            backlog: SpinLock::new(VecDeque::new()),
            max_queue: AtomicU32::new(MAX_QUEUE),
            state: AtomicU8::new(CLOSED),
            shut: AtomicU8::new(0),
            dead: AtomicBool::new(false),
            error: AtomicI32::new(0),
            eager: AtomicBool::new(false),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            room: WaitQueue::new(),
            fasync: FasyncList::default(),
            wants_room: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            send_limit: AtomicUsize::new(DEFAULT_BUFFER),
            passcred: AtomicBool::new(false),
            name: Once::new(),
            listener: SpinLock::new(None),
            partner_id: AtomicUsize::new(0),
        })
    }

    pub fn is_shut(&self, direction: u8) -> bool {
        self.shut.load(Ordering::SeqCst) & direction != 0
    }
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
    pub fn is_established(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ESTABLISHED
    }
    pub fn is_listening(&self) -> bool {
        self.state.load(Ordering::SeqCst) == LISTENING
    }
    fn set_established(&self) {
        self.state.store(ESTABLISHED, Ordering::SeqCst);
    }
    fn id(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// The pending error, taken.
    pub fn take_error(&self) -> Result<()> {
        // Nearly always there is none, and a load is cheaper than a swap.
        if self.error.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        match self.error.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(Errno::new(number).unwrap_or(Errno::EIO)),
        }
    }
    fn set_error(&self, error: Errno) {
        self.error.store(error.get(), Ordering::SeqCst);
    }

    /// Shuts directions down and tells everybody who waits here.
    fn shut_down(&self, directions: u8) {
        self.shut.fetch_or(directions, Ordering::SeqCst);
        self.readers.wake_all();
        self.writers.wake_all();
    }

    /// There is room for what this end sends.
    pub fn tell_room(&self) {
        self.writers.wake_events(PollEvents::WRITABLE);
        if self.fasync.is_used() && self.wants_room.swap(false, Ordering::SeqCst) {
            self.fasync.tell(Band::Out);
        }
    }

    /// Whether a packet's sender, or somebody who connects, has to wait.
    pub fn is_full(&self) -> bool {
        self.count.load(Ordering::SeqCst) > self.max_queue.load(Ordering::SeqCst) as usize
    }

    /// Takes out all that has arrived. The caller drops it with no lock held.
    pub fn purge(&self) -> Purged {
        let stream = {
            let mut stream = self.stream.lock();
            self.bytes.store(0, Ordering::SeqCst);
            self.charge.store(0, Ordering::SeqCst);
            core::mem::take(&mut *stream)
        };
        let packets = {
            let mut packets = self.packets.lock();
            self.count.store(0, Ordering::SeqCst);
            core::mem::take(&mut *packets)
        };
        let embryos = core::mem::take(&mut *self.backlog.lock());
        Purged {
            stream,
            packets,
            embryos,
        }
    }
}

/// What was at an end.
pub struct Purged {
    stream: StreamQueue<Scm>,
    packets: VecDeque<Arc<Packet>>,
    embryos: VecDeque<Embryo>,
}

impl Purged {
    fn had_data(&self) -> bool {
        !self.stream.is_empty() || !self.packets.is_empty()
    }
}

/// A socket as its owner has it.
pub struct UnixSocket {
    _live: Live<{ census::SOCKETS }>,
    pub end: Arc<End>,
    connected: Once<Arc<End>>,
    partner: SpinLock<Option<Arc<End>>>,
    peer_cred: SpinLock<Option<PeerCred>>,
    pub options: Options,
    /// Serialises binding, listening and connecting.
    naming: Mutex<()>,
}

impl UnixSocket {
    fn with_end(end: Arc<End>) -> UnixSocket {
        UnixSocket {
            _live: Live::new(),
            end,
            connected: Once::new(),
            partner: SpinLock::new(None),
            peer_cred: SpinLock::new(None),
            options: Options::new(),
            naming: Mutex::new(()),
        }
    }

    /// A socket without name and partner.
    pub fn new(kind: Kind) -> Arc<UnixSocket> {
        Arc::new(Self::with_end(End::new(kind)))
    }

    /// Two sockets connected to each other.
    pub fn pair(kind: Kind) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
        let (a, b) = (Self::new(kind), Self::new(kind));
        let cred = PeerCred::current();
        for (this, other) in [(&a, &b), (&b, &a)] {
            if kind.connects() {
                this.connected.call_once(|| other.end.clone());
            } else {
                *this.partner.lock() = Some(other.end.clone());
            }
            this.end.partner_id.store(other.end.id(), Ordering::SeqCst);
            *this.peer_cred.lock() = Some(cred.clone());
            this.end.set_established();
        }
        (a, b)
    }

    pub fn kind(&self) -> Kind {
        self.end.kind
    }

    /// The end that is sent to.
    pub fn peer(&self) -> Option<Arc<End>> {
        match self.kind() {
            Kind::Dgram => self.partner.lock().clone(),
            _ => self.connected.get().cloned(),
        }
    }

    pub fn peer_cred(&self) -> Option<PeerCred> {
        self.peer_cred.lock().clone()
    }

    /// `send` and its kin.
    #[inline]
    pub fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        match self.kind() {
            Kind::Stream => self.send_stream(message),
            _ => self.send_packet(message),
        }
    }

    /// `recv` and its kin.
    #[inline]
    pub fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        match self.kind() {
            Kind::Stream => self.receive_stream(message),
            _ => self.receive_packet(message),
        }
    }

    /// `shutdown`.
    ///
    /// # Errors
    /// `EINVAL` for what is no direction.
    pub fn shut_down(&self, how: u32) -> Result<()> {
        if how > SHUT_RDWR {
            return Err(Errno::EINVAL);
        }
        let directions = (how + 1) as u8;
        self.end.shut_down(directions);
        self.end.room.wake_all();
        if let Some(peer) = self.connected.get() {
            let mirrored = match directions {
                RECEIVE => SEND,
                SEND => RECEIVE,
                both => both,
            };
            peer.shut_down(mirrored);
            if mirrored == BOTH {
                peer.fasync.tell(Band::Hup);
            } else if mirrored == RECEIVE {
                peer.fasync.tell(Band::In);
            }
        }
        Ok(())
    }

    /// Closes the socket: its name is free, its partner hears of it, what has arrived is lost.
    fn close(&self) {
        self.end.dead.store(true, Ordering::SeqCst);
        name::release(&self.end);
        self.end.state.store(CLOSED, Ordering::SeqCst);
        self.end.shut_down(BOTH);
        self.end.room.wake_all();
        let purged = self.end.purge();
        if let Some(peer) = self.connected.get() {
            if purged.had_data() {
                peer.set_error(Errno::ECONNRESET);
            }
            peer.shut_down(BOTH);
            peer.fasync.tell(Band::Hup);
        }
        let partner = self.partner.lock().take();
        self.end.partner_id.store(0, Ordering::SeqCst);
        if let Some(partner) = partner {
            // Somebody may wait to be written to by this one alone.
            partner.writers.wake_events(PollEvents::WRITABLE);
        }
        for embryo in &purged.embryos {
            embryo.abandon();
        }
        drop(purged);
        gc::collect_if_due();
    }
}
