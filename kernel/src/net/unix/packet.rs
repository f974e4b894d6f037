//! Datagrams and sequenced packets: whole messages, each with its sender.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::poll::PollEvents;
use abi::socket::MsgFlags;
use abi::{Errno, Result};
use smallvec::SmallVec;

use super::gc::InFlight;
use super::{End, Kind, RECEIVE, SEND, UnixSocket, name};
use crate::fs::fasync::Band;
use crate::net::message::{Incoming, Outgoing, Patience};
use crate::net::scm::{self, Scm};

/// What is kept without an allocation of its own.
const INLINE: usize = 128;
/// What Linux subtracts from the send buffer for the largest message.
const MAX_OVERHEAD: usize = 32;

/// A message on its way.
pub struct Packet {
    data: SmallVec<[u8; INLINE]>,
    pub carried: Scm,
    sender: Arc<End>,
    charge: usize,
}

/// What a message counts for: its memory on Linux, so that as many fit.
fn charge_of(len: usize) -> usize {
    const HEADER: usize = 256;
    const SHARED_INFO: usize = 320;
    const LARGEST: usize = 16384;
    let linear = (len + SHARED_INFO).min(LARGEST);
    let paged = (len + SHARED_INFO - linear).next_multiple_of(4096);
    HEADER + linear.next_power_of_two().max(512) + paged
}

impl Drop for Packet {
    fn drop(&mut self) {
        let before = self.sender.sent.fetch_sub(self.charge, Ordering::SeqCst);
        let mark = self.sender.send_limit.load(Ordering::Relaxed) / 4;
        if before > mark && before - self.charge <= mark {
            self.sender.tell_room();
        }
    }
}

/// Where a message goes.
enum Target<'a> {
    /// To this end, whoever is there.
    Partner(Arc<End>),
    /// To whom the address leads.
    Address(&'a [u8]),
}

/// What became of one attempt.
enum Attempt {
    Sent,
    /// The receiver's queue is full.
    Full(Arc<End>),
    /// The receiver is gone: another look at the address may find its successor.
    Gone,
}

impl UnixSocket {
    pub(super) fn send_packet(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        let target = if self.kind() == Kind::Seqpacket {
            self.end.take_error()?;
            Target::Partner(self.connected.get().cloned().ok_or(Errno::ENOTCONN)?)
        } else {
            match message.address {
                Some(address) => {
                    name::check(address)?;
                    Target::Address(address)
                }
                None => Target::Partner(self.partner.lock().clone().ok_or(Errno::ENOTCONN)?),
            }
        };
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.autobind_if_passing()?;
        let limit = self.end.send_limit.load(Ordering::Relaxed);
        let len = message.data.remaining();
        if len > limit.saturating_sub(MAX_OVERHEAD) {
            return Err(Errno::EMSGSIZE);
        }
        let fds = InFlight::launch(core::mem::take(&mut message.files))?;
        let mut patience = Patience::new(message.flags, self.options.send_timeout_ns());
        loop {
            self.end.take_error()?;
            if self.end.is_shut(SEND) {
                return Err(Errno::EPIPE);
            }
            if self.end.sent.load(Ordering::SeqCst) < limit {
                break;
            }
            self.end.wants_room.store(true, Ordering::SeqCst);
            patience.wait(&self.end.writers, || {
                self.end.sent.load(Ordering::SeqCst) < limit
                    || self.end.is_shut(SEND)
                    || self.end.error.load(Ordering::SeqCst) != 0
            })?;
        }
        let packet = self.make_packet(message, len, fds)?;
        self.deliver(&target, packet, &mut patience)?;
        Ok(len)
    }

    fn make_packet(
        &self,
        message: &mut Outgoing<'_, '_>,
        len: usize,
        fds: Option<InFlight>,
    ) -> Result<Packet> {
        let mut data = SmallVec::new();
        data.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
        data.resize(len, 0);
        message.data.take(&mut data)?;
        let charge = charge_of(len);
        self.end.sent.fetch_add(charge, Ordering::SeqCst);
        Ok(Packet {
            data,
            carried: Scm {
                cred: message.cred,
                fds,
            },
            sender: self.end.clone(),
            charge,
        })
    }

    fn deliver(&self, target: &Target<'_>, packet: Packet, patience: &mut Patience) -> Result<()> {
        let mut packet = Some(packet);
        loop {
            let end = match target {
                Target::Partner(end) => end.clone(),
                Target::Address(address) => name::find(address, self.kind())?,
            };
            match self.try_deliver(end.clone(), &mut packet)? {
                Attempt::Sent => return Ok(()),
                Attempt::Full(end) => patience.wait(&end.room, || {
                    !end.is_full() || end.is_dead() || end.is_shut(RECEIVE)
                })?,
                Attempt::Gone if self.kind() == Kind::Seqpacket => return Err(Errno::EPIPE),
                Attempt::Gone => {
                    let was_partner = self.lose_partner(&end);
                    if was_partner || matches!(target, Target::Partner(_)) {
                        return Err(Errno::ECONNREFUSED);
                    }
                }
            }
        }
    }

    fn try_deliver(&self, end: Arc<End>, packet: &mut Option<Packet>) -> Result<Attempt> {
        if !end.takes_from(self.end.id()) {
            return Err(Errno::EPERM);
        }
        if end.is_dead() {
            return Ok(Attempt::Gone);
        }
        if end.is_shut(RECEIVE) {
            return Err(Errno::EPIPE);
        }
        let mutual = end.partner_id.load(Ordering::SeqCst) == self.end.id();
        let is_self = Arc::ptr_eq(&end, &self.end);
        if !mutual && !is_self && end.is_full() {
            return Ok(Attempt::Full(end));
        }
        let Some(mut ready) = packet.take() else {
            return Ok(Attempt::Sent);
        };
        let passes =
            self.end.passcred.load(Ordering::Relaxed) || end.passcred.load(Ordering::Relaxed);
        if ready.carried.cred.is_none() && passes {
            ready.carried.cred = Some(scm::own_credentials());
        }
        let ready = Arc::new(ready);
        let mut packets = end.packets.lock();
        let refused = if end.is_dead() || end.is_shut(RECEIVE) {
            Some(Errno::EPIPE)
        } else if packets.try_reserve(1).is_err() {
            Some(Errno::ENOBUFS)
        } else {
            None
        };
        if let Some(error) = refused {
            drop(packets);
            drop(ready);
            return Err(error);
        }
        packets.push_back(ready);
        end.count.store(packets.len(), Ordering::SeqCst);
        drop(packets);
        end.readers.wake_events(PollEvents::READABLE);
        end.fasync.tell(Band::In);
        Ok(Attempt::Sent)
    }

    pub(super) fn receive_packet(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if self.kind() == Kind::Seqpacket && !self.end.is_established() {
            return Err(Errno::ENOTCONN);
        }
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut patience = Patience::new(message.flags, self.options.receive_timeout_ns());
        let peeks = message.flags.contains(MsgFlags::PEEK);
        let packet = loop {
            self.end.take_error()?;
            if let Some(packet) = self.next_packet(peeks) {
                break packet;
            }
            let is_shut = self.end.is_shut(RECEIVE);
            if is_shut && (self.kind() == Kind::Seqpacket || !matches!(patience, Patience::None)) {
                return Ok(0);
            }
            patience.wait(&self.end.readers, || {
                self.end.count.load(Ordering::SeqCst) != 0
                    || self.end.is_shut(RECEIVE)
                    || self.end.error.load(Ordering::SeqCst) != 0
            })?;
        };
        let len = packet.data.len();
        let n = len.min(message.data.remaining());
        if n < len {
            message.told |= MsgFlags::TRUNC;
        }
        message.data.put(packet.data.get(..n).unwrap_or_default())?;
        message.sender = packet.sender.name.get().cloned().into();
        if self.end.passcred.load(Ordering::Relaxed) {
            message.cred = Some(scm::shown(packet.carried.cred));
        }
        if let Some(fds) = &packet.carried.fds {
            message.files = fds.files().to_vec();
        }
        Ok(if message.flags.contains(MsgFlags::TRUNC) {
            len
        } else {
            n
        })
    }

    fn next_packet(&self, peeks: bool) -> Option<Arc<Packet>> {
        let end = &self.end;
        let mut packets = end.packets.lock();
        if peeks {
            return packets.front().cloned();
        }
        let packet = packets.pop_front()?;
        let was_full = end.is_full();
        end.count.store(packets.len(), Ordering::SeqCst);
        drop(packets);
        if was_full {
            end.room.wake_events(PollEvents::WRITABLE);
        }
        Some(packet)
    }

    /// Bytes of the next message, or of all messages of a connection (`SIOCINQ`).
    pub(super) fn packet_bytes(&self) -> usize {
        let packets = self.end.packets.lock();
        if self.kind() == Kind::Dgram {
            return packets.front().map_or(0, |packet| packet.data.len());
        }
        packets.iter().map(|packet| packet.data.len()).sum()
    }
}
