//! Streams: bytes from one end to the other, with what was sent along.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::poll::PollEvents;
use abi::socket::MsgFlags;
use abi::{Errno, Result};
use unixsock::{AppendError, StreamQueue};

use super::gc::InFlight;
use super::{End, RECEIVE, SEND, UnixSocket};
use crate::fs::fasync::Band;
use crate::fs::limits;
use crate::net::message::{Incoming, Outgoing, Patience};
use crate::net::scm::{self, Scm};

/// Why a look at the queue ended.
enum Ended {
    /// Everything there was is taken.
    Drained,
    /// What follows is not to be mixed with what was taken, or there is no room for it.
    Complete,
}

impl End {
    /// Publishes what conditions look at; the queue's lock is held.
    fn publish(&self, stream: &StreamQueue<Scm>) {
        self.bytes.store(stream.len(), Ordering::SeqCst);
        self.charge.store(stream.charge(), Ordering::SeqCst);
    }
}

impl UnixSocket {
    pub(super) fn send_stream(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let connected = self.connected.get();
        if message.address.is_some() {
            return Err(match connected {
                Some(_) => Errno::EISCONN,
                None => Errno::EOPNOTSUPP,
            });
        }
        let peer = connected.ok_or(Errno::ENOTCONN)?;
        let mut fds = InFlight::launch(core::mem::take(&mut message.files))?;
        let mut patience = Patience::new(message.flags, self.options.send_timeout_ns());
        let mut sent = 0;
        let mut result = Ok(());
        if self.end.is_shut(SEND) {
            result = Err(Errno::EPIPE);
        }
        while result.is_ok() && message.data.remaining() != 0 {
            let limit = self.end.send_limit.load(Ordering::Relaxed);
            result = match self.send_piece(peer, message, &mut fds, limit) {
                Ok(0) => {
                    self.end.wants_room.store(true, Ordering::SeqCst);
                    let room = || {
                        peer.charge.load(Ordering::SeqCst) < limit
                            || self.end.is_shut(SEND)
                            || peer.is_shut(RECEIVE)
                    };
                    patience.wait(&self.end.writers, room)
                }
                Ok(n) => {
                    sent += n;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if result.is_ok() && self.end.is_shut(SEND) && message.data.remaining() != 0 {
                result = Err(Errno::EPIPE);
            }
        }
        match result {
            Err(error) if sent == 0 => {
                if error == Errno::EPIPE && !message.flags.contains(MsgFlags::NOSIGNAL) {
                    limits::send_sigpipe();
                }
                Err(error)
            }
            _ => Ok(sent),
        }
    }

    /// Queues as much as there is room for; 0 if there is none.
    fn send_piece(
        &self,
        peer: &Arc<End>,
        message: &mut Outgoing<'_, '_>,
        fds: &mut Option<InFlight>,
        limit: usize,
    ) -> Result<usize> {
        let mut stream = peer.stream.lock();
        if peer.is_shut(RECEIVE) {
            return Err(Errno::EPIPE);
        }
        let room = limit.saturating_sub(stream.charge());
        let len = message.data.remaining().min(room);
        if len == 0 {
            return Ok(0);
        }
        let was_empty = stream.is_empty();
        match stream.append(len, |out| message.data.take(out)) {
            Ok(()) => {}
            Err(AppendError::Copy(error)) => return Err(error),
            Err(AppendError::NoMemory) => return Err(Errno::ENOBUFS),
        }
        let passes =
            self.end.passcred.load(Ordering::Relaxed) || peer.passcred.load(Ordering::Relaxed);
        let cred = match message.cred {
            None if passes => Some(scm::own_credentials()),
            cred => cred,
        };
        if cred.is_some() || fds.is_some() {
            let carried = Scm {
                cred,
                fds: fds.take(),
            };
            if let Err(carried) = stream.mark(len, carried, Scm::joins) {
                stream.retract(len);
                drop(stream);
                drop(carried);
                return Err(Errno::ENOBUFS);
            }
        }
        peer.publish(&stream);
        drop(stream);
        if was_empty || peer.eager.load(Ordering::Relaxed) {
            peer.readers.wake_events(PollEvents::READABLE);
        }
        peer.fasync.tell(Band::In);
        Ok(len)
    }

    pub(super) fn receive_stream(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if !self.end.is_established() {
            return Err(Errno::EINVAL);
        }
        if message.flags.contains(MsgFlags::OOB) {
            // There is no urgent data: it cannot be sent.
            return Err(Errno::EINVAL);
        }
        let wanted = message.data.remaining();
        let target = if message.flags.contains(MsgFlags::WAITALL) {
            wanted
        } else {
            wanted.min(self.options.receive_low_water())
        };
        let target = target.max(1);
        let peeks = message.flags.contains(MsgFlags::PEEK);
        let mut patience = Patience::new(message.flags, self.options.receive_timeout_ns());
        let mut peeked = 0;
        loop {
            match self.take_runs(message, &mut peeked) {
                Ok(Ended::Complete) => return Ok(message.data.done()),
                Ok(Ended::Drained) => {}
                Err(error) if message.data.done() == 0 => return Err(error),
                Err(_) => return Ok(message.data.done()),
            }
            let done = message.data.done();
            if done >= target {
                return Ok(done);
            }
            if done == 0 {
                self.end.take_error()?;
            } else if self.end.error.load(Ordering::SeqCst) != 0 {
                return Ok(done);
            }
            if self.end.is_shut(RECEIVE) && self.end.bytes.load(Ordering::SeqCst) <= peeked {
                return Ok(done);
            }
            if peeks && peeked != 0 {
                self.end.eager.store(true, Ordering::SeqCst);
            }
            let more = || {
                self.end.bytes.load(Ordering::SeqCst) > peeked
                    || self.end.is_shut(RECEIVE)
                    || self.end.error.load(Ordering::SeqCst) != 0
            };
            match patience.wait(&self.end.readers, more) {
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
                Ok(()) => {}
            }
        }
    }

    /// Takes what has arrived, as far as it belongs together, and wakes those who wait for the room.
    fn take_runs(&self, message: &mut Incoming<'_, '_>, peeked: &mut usize) -> Result<Ended> {
        let mut landed = None;
        let mut stream = self.end.stream.lock();
        let before = stream.charge();
        let result = self.take_runs_locked(&mut stream, message, peeked, &mut landed);
        let after = stream.charge();
        self.end.publish(&stream);
        drop(stream);
        drop(landed);
        if before != after
            && let Some(peer) = self.connected.get()
        {
            // Writers sleep until three quarters of their room are free.
            let mark = peer.send_limit.load(Ordering::Relaxed) / 4;
            if before > mark && after <= mark {
                peer.tell_room();
            }
        }
        if before != 0 && message.sender.is_none() {
            message.sender = self
                .connected
                .get()
                .and_then(|peer| peer.name.get().cloned())
                .into();
        }
        result
    }

    fn take_runs_locked(
        &self,
        stream: &mut StreamQueue<Scm>,
        message: &mut Incoming<'_, '_>,
        peeked: &mut usize,
        landed: &mut Option<InFlight>,
    ) -> Result<Ended> {
        let peeks = message.flags.contains(MsgFlags::PEEK);
        let passes = self.end.passcred.load(Ordering::Relaxed);
        loop {
            let Some(run) = stream.run_at(*peeked) else {
                return Ok(Ended::Drained);
            };
            if passes {
                let cred = scm::shown(run.carried.and_then(|carried| carried.cred));
                match message.cred {
                    Some(other) if other != cred => return Ok(Ended::Complete),
                    _ => message.cred = Some(cred),
                }
            }
            let n = run.len.min(message.data.remaining());
            let is_whole = n == run.len;
            let fds = run.carried.and_then(|carried| carried.fds.as_ref());
            let brings_fds = fds.is_some();
            if peeks && let Some(fds) = fds {
                message.files = fds.files().to_vec();
            }
            let copied = stream.show(*peeked, n, |bytes| message.data.put(bytes));
            if peeks {
                *peeked += n;
            } else if copied.is_ok() {
                if brings_fds
                    && let Some(carried) = stream.first_carried_mut()
                    && let Some(fds) = carried.fds.take()
                {
                    message.files = fds.files().to_vec();
                    *landed = Some(fds);
                }
                stream.consume(n);
            }
            copied?;
            if brings_fds || !is_whole {
                return Ok(Ended::Complete);
            }
        }
    }
}
