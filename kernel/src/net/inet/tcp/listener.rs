//! Listening: what a SYN makes, and what waits to be accepted.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::Errno;
use abi::poll::PollEvents;

use super::connection::Connection;
use super::end::{End, state};
use super::segment::Summary;
use super::settings::Settings;
use super::table::{self, Kicks};
use crate::fs::fasync::Band;
use crate::net::inet::ports::Lease;
use crate::sync::{Mutex, SpinLock};

/// A socket that listens.
pub struct Listener {
    pub end: Arc<End>,
    /// In the family's own form, the unspecified address for any.
    pub address: IpAddr,
    pub port: u16,
    /// Not for IPv4, though the address is the unspecified one.
    v6only: bool,
    /// How many connections may wait to be accepted, less one.
    backlog: AtomicU32,
    settings: Settings,
    /// `None` once it is closed.
    lease: Mutex<Option<Lease>>,
    /// Connections that are made and wait to be accepted.
    ready: SpinLock<VecDeque<Arc<Connection>>>,
    closed: AtomicBool,
}

impl Listener {
    pub fn new(
        end: Arc<End>,
        lease: Lease,
        v6only: bool,
        backlog: u32,
        settings: Settings,
    ) -> Arc<Listener> {
        Arc::new(Listener {
            end,
            address: lease.address(),
            port: lease.port,
            v6only,
            backlog: AtomicU32::new(backlog),
            settings,
            lease: Mutex::new(Some(lease)),
            ready: SpinLock::new(VecDeque::new()),
            closed: AtomicBool::new(false),
        })
    }

    pub fn set_backlog(&self, backlog: u32) {
        self.backlog.store(backlog, Ordering::SeqCst);
    }
    pub fn backlog(&self) -> u32 {
        self.backlog.load(Ordering::SeqCst)
    }
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How well the listener fits a destination; `None` if it does not.
    pub fn score(&self, destination: IpAddr) -> Option<u32> {
        match (self.address, destination) {
            (own, other) if own == other => Some(3),
            (IpAddr::V4(own), IpAddr::V4(_)) if own.is_unspecified() => Some(2),
            (IpAddr::V6(own), IpAddr::V6(_)) if own.is_unspecified() => Some(2),
            (IpAddr::V6(own), IpAddr::V4(_)) if own.is_unspecified() && !self.v6only => Some(1),
            _ => None,
        }
    }

    fn is_full(&self) -> bool {
        self.end.readable() > self.backlog() as usize
    }

    /// A connection for a SYN; `None` if the SYN is to be lost, so that the other side tries again.
    pub fn incoming(self: &Arc<Self>, summary: &Summary) -> Option<Arc<Connection>> {
        if self.is_full() || self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let local: SocketAddr = summary.destination;
        let lease = self.lease.lock();
        let lease = lease.as_ref()?.share(local.ip()).ok()?;
        let connection = Connection::listening(local, summary.source, lease, self).ok()?;
        table::insert(&connection).then_some(connection)
    }

    /// A connection is made. With the listener closed meanwhile it is for the caller to end it.
    pub fn established(&self, connection: &Arc<Connection>) -> bool {
        let mut ready = self.ready.lock();
        if self.closed.load(Ordering::SeqCst) || ready.try_reserve(1).is_err() {
            return false;
        }
        ready.push_back(connection.clone());
        self.end.readable.store(ready.len(), Ordering::SeqCst);
        drop(ready);
        self.end.readers.wake_events(PollEvents::READABLE);
        self.end.fasync.tell(Band::In);
        true
    }

    /// The connection that waits longest.
    pub fn take(&self) -> Option<Arc<Connection>> {
        let mut ready = self.ready.lock();
        let connection = ready.pop_front();
        self.end.readable.store(ready.len(), Ordering::SeqCst);
        connection
    }

    /// Stops listening: nobody finds it, and those that wait to be accepted are reset.
    pub fn close(self: &Arc<Self>) -> Option<Lease> {
        table::remove_listener(self);
        let waiting: Vec<_> = {
            let mut ready = self.ready.lock();
            self.closed.store(true, Ordering::SeqCst);
            self.end.readable.store(0, Ordering::SeqCst);
            ready.drain(..).collect()
        };
        self.end.set_state(state::CLOSE);
        for connection in waiting {
            let mut kicks = Kicks::default();
            connection.abandon(&mut kicks);
            kicks.run();
        }
        let lease = self.lease.lock().take();
        if let Some(lease) = &lease {
            lease.stop_listening();
        }
        self.end.wake_all();
        lease
    }

    /// Passes on whether the address may be shared.
    pub fn set_reuse(&self, on: bool) -> Result<(), Errno> {
        if let Some(lease) = self.lease.lock().as_ref() {
            lease.set_reuse(on);
        }
        Ok(())
    }
}
