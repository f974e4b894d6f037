//! Listening, connecting, accepting; the partners of datagram sockets.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::poll::PollEvents;
use abi::socket::{AF_UNSPEC, MsgFlags, SOMAXCONN};
use abi::{Errno, Result};

use super::{ESTABLISHED, End, Kind, LISTENING, PeerCred, UnixSocket, name};
use crate::fs::fasync::Band;
use crate::net::message::Patience;

/// A connection that waits to be accepted: the server's end is made, but nobody owns it yet.
pub struct Embryo {
    end: Arc<End>,
    client: Arc<End>,
    cred: PeerCred,
}

impl Embryo {
    /// The listener was closed: the client is refused after all.
    pub fn abandon(&self) {
        self.end.dead.store(true, Ordering::SeqCst);
        self.end.shut_down(super::BOTH);
        self.client.set_error(Errno::ECONNRESET);
        self.client.shut_down(super::BOTH);
        drop(self.end.purge());
    }

    /// The end that already receives.
    pub fn end(&self) -> &Arc<End> {
        &self.end
    }
}

impl UnixSocket {
    /// `listen`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for datagrams, `EINVAL` without a name or when connected.
    pub fn listen(&self, backlog: i32) -> Result<()> {
        if !self.kind().connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        let _naming = self.naming.lock();
        if !self.end.name.is_completed() || self.end.is_established() {
            return Err(Errno::EINVAL);
        }
        let backlog = (backlog as u32).min(SOMAXCONN);
        *self.end.listener.lock() = Some(PeerCred::current());
        *self.peer_cred.lock() = Some(PeerCred::current());
        self.end.max_queue.store(backlog, Ordering::SeqCst);
        self.end.state.store(LISTENING, Ordering::SeqCst);
        self.end.room.wake_all();
        Ok(())
    }

    /// `connect`.
    ///
    /// # Errors
    /// Those of [`name::find`]; `EISCONN`, `EINVAL` for a listener, `EAGAIN` for a full backlog, `EPERM` for a datagram
    /// socket that has another partner.
    pub fn connect(&self, address: &[u8], flags: MsgFlags) -> Result<()> {
        if self.kind() == Kind::Dgram {
            return self.set_partner(address);
        }
        // The address is judged before the name that it may lead to making.
        name::check(address)?;
        self.autobind_if_passing()?;
        let mut patience = Patience::new(flags, self.options.send_timeout_ns());
        loop {
            let target = name::find(address, self.kind())?;
            if !target.is_listening() || target.is_shut(super::RECEIVE) {
                return Err(Errno::ECONNREFUSED);
            }
            if self.try_connect(&target)? {
                return Ok(());
            }
            patience.wait(&target.room, || {
                !target.is_full() || !target.is_listening() || target.is_shut(super::RECEIVE)
            })?;
        }
    }

    /// Queues a connection at a listener; `false` if it has no room.
    fn try_connect(&self, target: &Arc<End>) -> Result<bool> {
        let _naming = self.naming.lock();
        match self.end.state.load(Ordering::SeqCst) {
            super::CLOSED if target.is_full() => return Ok(false),
            super::CLOSED => {}
            ESTABLISHED if target.is_full() => return Ok(false),
            ESTABLISHED => return Err(Errno::EISCONN),
            _ => return Err(Errno::EINVAL),
        }
        let end = End::new(self.kind());
        if let Some(name) = target.name.get() {
            end.name.call_once(|| name.clone());
        }
        end.partner_id.store(self.end.id(), Ordering::SeqCst);
        end.set_established();
        let embryo = Embryo {
            end: end.clone(),
            client: self.end.clone(),
            cred: PeerCred::current(),
        };
        let listener = target.listener.lock().clone();
        let mut backlog = target.backlog.lock();
        if target.is_dead() || !target.is_listening() {
            drop(backlog);
            return Err(Errno::ECONNREFUSED);
        }
        if target.is_full() {
            drop(backlog);
            return Ok(false);
        }
        if backlog.try_reserve(1).is_err() {
            drop(backlog);
            return Err(Errno::ENOMEM);
        }
        *self.peer_cred.lock() = listener;
        self.connected.call_once(|| end.clone());
        self.end.partner_id.store(end.id(), Ordering::SeqCst);
        self.end.set_established();
        backlog.push_back(embryo);
        target.count.store(backlog.len(), Ordering::SeqCst);
        drop(backlog);
        target.readers.wake_events(PollEvents::READABLE);
        target.fasync.tell(Band::In);
        // Whoever polls the socket saw it hung up until now.
        self.end.writers.wake_events(PollEvents::WRITABLE);
        Ok(true)
    }

    /// `accept`: the socket of the connection that waits longest.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for datagrams, `EINVAL` for a socket that does not listen or was shut down, `EAGAIN`.
    pub fn accept(&self, flags: MsgFlags) -> Result<Arc<UnixSocket>> {
        if !self.kind().connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        if !self.end.is_listening() {
            return Err(Errno::EINVAL);
        }
        let mut patience = Patience::new(flags, self.options.receive_timeout_ns());
        loop {
            if let Some(embryo) = self.take_embryo() {
                let socket = UnixSocket::with_end(embryo.end);
                socket.connected.call_once(|| embryo.client);
                *socket.peer_cred.lock() = Some(embryo.cred);
                let passes = self.end.passcred.load(Ordering::Relaxed);
                socket.end.passcred.store(passes, Ordering::Relaxed);
                return Ok(Arc::new(socket));
            }
            self.end.take_error()?;
            if self.end.is_shut(super::RECEIVE) {
                return Err(Errno::EINVAL);
            }
            patience.wait(&self.end.readers, || {
                self.end.count.load(Ordering::SeqCst) != 0 || self.end.is_shut(super::RECEIVE)
            })?;
        }
    }

    fn take_embryo(&self) -> Option<Embryo> {
        let mut backlog = self.end.backlog.lock();
        let was_full = self.end.is_full();
        let embryo = backlog.pop_front();
        self.end.count.store(backlog.len(), Ordering::SeqCst);
        drop(backlog);
        if was_full {
            self.end.room.wake_events(PollEvents::WRITABLE);
        }
        embryo
    }

    /// `connect` of a datagram socket: a partner, another one, or none.
    fn set_partner(&self, address: &[u8]) -> Result<()> {
        let (family, _) = address
            .split_at_checked(name::FAMILY_LEN)
            .ok_or(Errno::EINVAL)?;
        let partner = if family == AF_UNSPEC.to_ne_bytes() {
            None
        } else {
            name::check(address)?;
            self.autobind_if_passing()?;
            let end = name::find(address, Kind::Dgram)?;
            if !end.takes_from(self.end.id()) {
                return Err(Errno::EPERM);
            }
            Some(end)
        };
        match &partner {
            Some(end) => {
                self.end.set_established();
                end.set_established();
            }
            None => self.end.state.store(super::CLOSED, Ordering::SeqCst),
        }
        let same = {
            let old = self.partner.lock().clone();
            old.as_ref().map(Arc::as_ptr) == partner.as_ref().map(Arc::as_ptr)
        };
        let id = partner.as_ref().map_or(0, |end| end.id());
        self.end.partner_id.store(id, Ordering::SeqCst);
        let old = core::mem::replace(&mut *self.partner.lock(), partner);
        if let Some(old) = old.filter(|_| !same) {
            self.part_from(&old);
        }
        self.end.writers.wake_events(PollEvents::WRITABLE);
        Ok(())
    }

    /// What has come from a partner that is one no longer is lost; it hears of that if it still thinks otherwise.
    pub(super) fn part_from(&self, old: &Arc<End>) {
        let purged = self.end.purge();
        if !purged.had_data() {
            return;
        }
        drop(purged);
        self.end.room.wake_events(PollEvents::WRITABLE);
        if !old.is_dead() && old.partner_id.load(Ordering::SeqCst) == self.end.id() {
            old.set_error(Errno::ECONNRESET);
            old.readers.wake_all();
            old.writers.wake_all();
        }
    }

    /// Ends the partnership with `end` if it still is.
    pub(super) fn lose_partner(&self, end: &Arc<End>) -> bool {
        let mut partner = self.partner.lock();
        let is_partner = partner
            .as_ref()
            .is_some_and(|other| Arc::ptr_eq(other, end));
        let old = if is_partner { partner.take() } else { None };
        drop(partner);
        if let Some(old) = old {
            self.end.partner_id.store(0, Ordering::SeqCst);
            self.end.state.store(super::CLOSED, Ordering::SeqCst);
            self.part_from(&old);
        }
        is_partner
    }
}

impl End {
    /// Whether datagrams of the end `id` are taken: one with a partner hears that one only.
    pub fn takes_from(&self, id: usize) -> bool {
        let partner = self.partner_id.load(Ordering::SeqCst);
        partner == 0 || partner == id
    }
}
