//! [`TcpSocket`]: binding, listening, connecting, accepting, closing.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::socket::{AF_UNSPEC, MsgFlags, SHUT_RDWR, SOMAXCONN, so};
use abi::{Errno, Result};

use super::connection::Connection;
use super::end::{BOTH, End, state};
use super::listener::Listener;
use super::settings::Settings;
use super::table;
use crate::net::inet::address::{self, Family};
use crate::net::inet::common::{Common, Switches};
use crate::net::inet::ports::{self, Lease, Wish};
use crate::net::message::Patience;
use crate::net::unix::{RECEIVE, SEND};
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, SpinLock};

/// What the options say of the buffers: twice the bytes that there is room for, as Linux counts.
const BUFFER: i32 = 131_072;

/// What a socket is.
#[derive(Clone)]
pub enum Role {
    Idle,
    Connection(Arc<Connection>),
    Listener(Arc<Listener>),
}

/// A TCP socket as its owner has it.
pub struct TcpSocket {
    _live: Live<{ census::SOCKETS }>,
    pub common: Common,
    pub end: Arc<End>,
    pub settings: Settings,
    role: SpinLock<Role>,
    /// The port that it is bound to and does not use yet. Held while binding, listening and connecting.
    bound: Mutex<Option<Lease>>,
    /// `connect` told that the connection is made.
    told: AtomicBool,
}

impl TcpSocket {
    pub fn new(family: Family) -> Arc<TcpSocket> {
        Arc::new(TcpSocket {
            _live: Live::new(),
            common: Common::new(family, BUFFER, BUFFER),
            end: Arc::new(End::new()),
            settings: Settings::new(),
            role: SpinLock::new(Role::Idle),
            bound: Mutex::new(None),
            told: AtomicBool::new(false),
        })
    }

    /// The socket of an accepted connection.
    fn accepted(&self, connection: Arc<Connection>) -> Arc<TcpSocket> {
        let common = Common::new(self.common.family, BUFFER, BUFFER);
        for option in [so::REUSEADDR, so::REUSEPORT, so::KEEPALIVE, so::OOBINLINE] {
            // They are switches that anybody may set.
            let _ = common
                .options
                .set(option, i32::from(self.common.is_on(option)));
        }
        connection
            .end
            .urgent
            .set_inline(self.common.is_on(so::OOBINLINE));
        common.options.set_linger(&self.common.options.linger());
        for is_send in [false, true] {
            let timeout = self.common.options.timeout(is_send);
            // It was in range before.
            let _ = common.options.set_timeout(is_send, &timeout);
        }
        Arc::new(TcpSocket {
            _live: Live::new(),
            common,
            end: connection.end.clone(),
            settings: self.settings.copy(),
            role: SpinLock::new(Role::Connection(connection)),
            bound: Mutex::new(None),
            told: AtomicBool::new(true),
        })
    }

    pub fn role(&self) -> Role {
        self.role.lock().clone()
    }
    pub fn connection(&self) -> Option<Arc<Connection>> {
        match self.role() {
            Role::Connection(connection) => Some(connection),
            _ => None,
        }
    }
    fn set_role(&self, role: Role) {
        let old = core::mem::replace(&mut *self.role.lock(), role);
        drop(old);
    }

    fn wish(&self, ip: core::net::IpAddr) -> Wish {
        Wish {
            address: ip,
            v6only: self.common.has(Switches::V6ONLY),
            reuse: self.common.is_on(so::REUSEADDR),
            reuseport: self.common.is_on(so::REUSEPORT),
        }
    }

    /// # Errors
    /// `EINVAL` for a bad address or a socket that has one, `EADDRNOTAVAIL`, `EADDRINUSE`, `EACCES`.
    pub fn bind(&self, address: &[u8]) -> Result<()> {
        let address = address::parse_for_bind(self.common.family, address)?;
        if !self.common.has(Switches::FREEBIND) {
            address::check_own(address.ip())?;
        }
        let mut bound = self.bound.lock();
        if bound.is_some() || !matches!(self.role(), Role::Idle) {
            return Err(Errno::EINVAL);
        }
        *bound = Some(ports::TCP.bind(address.port(), self.wish(address.ip()))?);
        Ok(())
    }

    /// # Errors
    /// `EINVAL` for a connected socket, `EADDRINUSE` if somebody else listens there.
    pub fn listen(&self, backlog: i32) -> Result<()> {
        let backlog = (backlog as u32).min(SOMAXCONN);
        let mut bound = self.bound.lock();
        match self.role() {
            Role::Idle => {}
            Role::Listener(listener) => {
                listener.set_backlog(backlog);
                return Ok(());
            }
            Role::Connection(_) => return Err(Errno::EINVAL),
        }
        let lease = match bound.take() {
            Some(lease) => lease,
            None => ports::TCP.bind(0, self.wish(self.common.family.any()))?,
        };
        if let Err(error) = lease.listen() {
            *bound = Some(lease);
            return Err(error);
        }
        let v6only = self.common.has(Switches::V6ONLY);
        self.end.reopen();
        self.end.set_state(state::LISTEN);
        let end = self.end.clone();
        let listener = Listener::new(end, lease, v6only, backlog, self.settings.copy());
        self.set_role(Role::Listener(listener.clone()));
        table::add_listener(&listener);
        Ok(())
    }

    /// # Errors
    /// `EINVAL`, `EISCONN`, `EALREADY`, `EINPROGRESS` for a socket that does not block, `ECONNREFUSED`, `ETIMEDOUT`,
    /// `ENETUNREACH`, `EADDRNOTAVAIL`.
    pub fn connect(&self, address: &[u8], flags: MsgFlags) -> Result<()> {
        if address::family_of(address)? == AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        let bound = self.bound.lock();
        let begun = match self.role() {
            Role::Listener(_) => return Err(Errno::EISCONN),
            Role::Connection(connection) => {
                if self.told.load(Ordering::SeqCst) {
                    return Err(Errno::EISCONN);
                }
                (connection, Errno::EALREADY)
            }
            Role::Idle => (self.begin(address, bound)?, Errno::EINPROGRESS),
        };
        let (connection, unfinished) = begun;
        let is_new = unfinished == Errno::EINPROGRESS;
        if flags.contains(MsgFlags::DONTWAIT) && (is_new || self.is_connecting()) {
            return Err(unfinished);
        }
        let mut patience = Patience::new(flags, self.common.options.send_timeout_ns());
        while self.is_connecting() {
            let waited = patience.wait(&self.end.writers, || !self.is_connecting());
            waited.map_err(|error| match error {
                Errno::EAGAIN => unfinished,
                other => other,
            })?;
        }
        self.conclude(&connection)
    }

    fn is_connecting(&self) -> bool {
        matches!(self.end.state(), state::SYN_SENT | state::SYN_RECV)
    }

    /// Tells how an attempt to connect went.
    fn conclude(&self, connection: &Arc<Connection>) -> Result<()> {
        if self.end.state() == state::CLOSE && self.end.readable() == 0 {
            let error = self.end.take_error().err().unwrap_or(Errno::ECONNABORTED);
            connection.abort();
            self.set_role(Role::Idle);
            return Err(error);
        }
        self.told.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Sends the SYN.
    fn begin(
        &self,
        address: &[u8],
        mut bound: crate::sync::MutexGuard<'_, Option<Lease>>,
    ) -> Result<Arc<Connection>> {
        let remote = address::parse(self.common.family, address)?;
        let route = address::route(remote.ip())?;
        let remote = SocketAddr::new(route.destination, remote.port());
        if remote.port() == 0 {
            return Err(Errno::ECONNREFUSED);
        }
        let own = bound.as_ref().map(Lease::address);
        let source = own
            .filter(|own| !own.is_unspecified())
            .unwrap_or(route.source);
        if source.is_ipv4() != remote.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        // It may be bound to an address that is not here (`IP_FREEBIND`), or no longer.
        if source != route.source && !address::owns(source) {
            return Err(Errno::ENETUNREACH);
        }
        let lease = match bound.take() {
            Some(lease) => lease,
            None => ports::TCP.connect(self.wish(source), |port| {
                table::is_free(&(SocketAddr::new(source, port), remote))
            })?,
        };
        let local = SocketAddr::new(source, lease.port);
        let end = self.end.clone();
        let connection = Connection::connecting(local, remote, end, &self.settings)?;
        connection.set_lease(lease);
        if !table::insert(&connection) {
            *bound = connection.take_lease();
            self.end.set_state(state::CLOSE);
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.told.store(false, Ordering::SeqCst);
        self.set_role(Role::Connection(connection.clone()));
        drop(bound);
        // Nothing to do but what is due: the SYN.
        connection.with(|_| ());
        Ok(connection)
    }

    /// Ends what the socket is; it may be used anew.
    fn disconnect(&self) {
        let _bound = self.bound.lock();
        match self.role() {
            Role::Connection(connection) => connection.abort(),
            Role::Listener(listener) => drop(listener.close()),
            Role::Idle => {}
        }
        self.set_role(Role::Idle);
        self.end.urgent.clear();
        self.end.error.store(0, Ordering::SeqCst);
    }

    /// # Errors
    /// `EINVAL` for a socket that does not listen, `EAGAIN`.
    pub fn accept(&self, flags: MsgFlags) -> Result<Arc<TcpSocket>> {
        let mut patience = Patience::new(flags, self.common.options.receive_timeout_ns());
        loop {
            let Role::Listener(listener) = self.role() else {
                return Err(Errno::EINVAL);
            };
            if self.end.state() != state::LISTEN {
                return Err(Errno::EINVAL);
            }
            if let Some(connection) = listener.take() {
                return Ok(self.accepted(connection));
            }
            patience.wait(&self.end.readers, || {
                self.end.readable() != 0 || self.end.state() != state::LISTEN
            })?;
        }
    }

    /// The own address; the family's unspecified one before there is any.
    pub fn own_address(&self) -> SocketAddr {
        match self.role() {
            Role::Connection(connection) => connection.local,
            Role::Listener(listener) => SocketAddr::new(listener.address, listener.port),
            Role::Idle => {
                let bound = self.bound.lock();
                bound.as_ref().map_or_else(
                    || SocketAddr::new(self.common.family.any(), 0),
                    |lease| SocketAddr::new(lease.address(), lease.port),
                )
            }
        }
    }

    /// # Errors
    /// `ENOTCONN`.
    pub fn peer_address(&self) -> Result<SocketAddr> {
        let connection = self.connection().ok_or(Errno::ENOTCONN)?;
        match self.end.state() {
            state::CLOSE | state::SYN_SENT => Err(Errno::ENOTCONN),
            _ => Ok(connection.remote),
        }
    }

    /// # Errors
    /// `EINVAL` for what is no direction, `ENOTCONN`.
    pub fn shut_down(&self, how: u32) -> Result<()> {
        if how > SHUT_RDWR {
            return Err(Errno::EINVAL);
        }
        let directions = (how + 1) as u8;
        match self.role() {
            Role::Idle => {
                // As on Linux, who polls it hears of it all the same.
                self.end.shut_down(directions);
                self.end.wake_all();
                Err(Errno::ENOTCONN)
            }
            Role::Listener(listener) => {
                if directions & RECEIVE != 0 {
                    let lease = listener.close();
                    *self.bound.lock() = lease;
                    self.set_role(Role::Idle);
                }
                Ok(())
            }
            Role::Connection(connection) => {
                if self.end.state() == state::CLOSE {
                    return Err(Errno::ENOTCONN);
                }
                if directions & RECEIVE != 0 {
                    self.end.shut_down(RECEIVE);
                }
                if directions & SEND != 0 {
                    connection.finish();
                }
                self.end.wake_all();
                Ok(())
            }
        }
    }

    /// The last reference is gone. Where `SO_LINGER` says so, waits until the other side has everything.
    pub fn close(&self) {
        self.end.owner.clear();
        let role = core::mem::replace(&mut *self.role.lock(), Role::Idle);
        match role {
            Role::Idle => {}
            Role::Listener(listener) => drop(listener.close()),
            Role::Connection(connection) => {
                let linger = self.common.options.linger();
                if linger.on != 0 && linger.seconds == 0 {
                    connection.abandon_now();
                    return;
                }
                connection.close();
                if linger.on != 0 {
                    self.linger(linger.seconds);
                }
            }
        }
        self.end.shut_down(BOTH);
        let lease = self.bound.lock().take();
        drop(lease);
    }

    fn linger(&self, seconds: i32) {
        let is_done = || {
            !matches!(
                self.end.state(),
                state::FIN_WAIT1 | state::CLOSING | state::LAST_ACK
            )
        };
        let ns = u64::try_from(seconds)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000);
        let mut patience = Patience::new(MsgFlags::empty(), ns);
        // However it ends, the socket is closed.
        let _ = patience.wait(&self.end.writers, is_done);
    }

    /// Whether the address may be shared from now on.
    pub fn set_reuse(&self, on: bool) -> Result<()> {
        if let Some(lease) = self.bound.lock().as_ref() {
            lease.set_reuse(on);
        }
        match self.role() {
            Role::Listener(listener) => listener.set_reuse(on),
            _ => Ok(()),
        }
    }
}
