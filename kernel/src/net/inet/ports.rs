//! Ports: who has which, and who may share one.
//!
//! A [`Lease`] is a socket's hold on a port; dropping it gives the port back. Connections that were accepted, and those
//! that wait out their end, hold the port of their listener by leases of their own.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::{Errno, Result};

use crate::net;
use crate::sync::Mutex;
use crate::task::{self, Cap};

/// The first port that needs no privilege (`net.ipv4.ip_unprivileged_port_start`).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// `net.ipv4.ip_local_port_range`, both ends included: the low one in the low half.
static RANGE: AtomicU32 = AtomicU32::new(32768 | 60999 << 16);

/// The ports that are given to who names none.
pub fn range() -> (u16, u16) {
    let range = RANGE.load(Ordering::Relaxed);
    (range as u16, (range >> 16) as u16)
}

/// # Errors
/// `EINVAL` for an empty range or port 0.
pub fn set_range(low: u16, high: u16) -> Result<()> {
    if low == 0 || high < low {
        return Err(Errno::EINVAL);
    }
    RANGE.store(u32::from(low) | u32::from(high) << 16, Ordering::Relaxed);
    Ok(())
}

/// How a socket wants to be bound.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// In the family's own form: the unspecified IPv6 address stands for IPv4 too unless `v6only`.
    pub address: IpAddr,
    pub v6only: bool,
    pub reuse: bool,
    pub reuseport: bool,
}

/// One hold on a port.
pub struct Holder {
    wish: Wish,
    reuse: AtomicBool,
    uid: u32,
    listening: AtomicBool,
    /// Got by connecting: others may connect elsewhere from the same port.
    connected: bool,
}

impl Holder {
    fn overlaps(&self, wish: &Wish) -> bool {
        let (a, b) = (&self.wish, wish);
        match (a.address, b.address) {
            (IpAddr::V4(x), IpAddr::V4(y)) => x.is_unspecified() || y.is_unspecified() || x == y,
            (IpAddr::V6(x), IpAddr::V6(y)) => x.is_unspecified() || y.is_unspecified() || x == y,
            (IpAddr::V6(x), IpAddr::V4(_)) => x.is_unspecified() && !a.v6only,
            (IpAddr::V4(_), IpAddr::V6(y)) => y.is_unspecified() && !b.v6only,
        }
    }

    fn conflicts(&self, wish: &Wish, uid: u32) -> bool {
        if !self.overlaps(wish) {
            return false;
        }
        let both_reuse = wish.reuse && self.reuse.load(Ordering::Relaxed);
        if both_reuse && !self.listening.load(Ordering::SeqCst) {
            return false;
        }
        !(wish.reuseport && self.wish.reuseport && uid == self.uid)
    }
}

type Table = BTreeMap<u16, Vec<Arc<Holder>>>;

/// The ports of one protocol.
pub struct Ports {
    table: Mutex<Table>,
}

pub static TCP: Ports = Ports::new();
pub static UDP: Ports = Ports::new();
/// The identifiers of echo requests.
pub static PING: Ports = Ports::new();

/// A hold on a port.
pub struct Lease {
    ports: &'static Ports,
    pub port: u16,
    holder: Arc<Holder>,
}

impl Ports {
    const fn new() -> Ports {
        Ports {
            table: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes the port, or any if it is 0.
    ///
    /// # Errors
    /// `EACCES` for one that needs privilege, `EADDRINUSE`.
    pub fn bind(&'static self, port: u16, wish: Wish) -> Result<Lease> {
        let task = task::current();
        let cred = task.my_cred();
        if port != 0 && port < FIRST_UNPRIVILEGED && !cred.capable(Cap::NET_BIND_SERVICE) {
            return Err(Errno::EACCES);
        }
        let uid = cred.euid;
        let mut table = self.table.lock();
        if port != 0 {
            let taken = table.get(&port).is_some_and(|holders| {
                let mut holders = holders.iter();
                holders.any(|holder| holder.conflicts(&wish, uid))
            });
            if taken {
                return Err(Errno::EADDRINUSE);
            }
            return self.take(&mut table, port, wish, uid, false);
        }
        let free = Candidates::new().find(|port| !table.contains_key(port));
        let port = free.ok_or(Errno::EADDRINUSE)?;
        self.take(&mut table, port, wish, uid, false)
    }

    /// Takes a port to connect from: one that nobody has, or that others only connect from if `fits` says that the
    /// connection would be a new one.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL`.
    pub fn connect(&'static self, wish: Wish, fits: impl Fn(u16) -> bool) -> Result<Lease> {
        let task = task::current();
        let uid = task.my_cred().euid;
        let mut table = self.table.lock();
        let shares = |port: &u16| {
            let holders = table.get(port).into_iter().flatten();
            let mut holders = holders.map(|holder| holder.connected);
            holders.all(|connected| connected) && fits(*port)
        };
        let free = Candidates::new().find(|port| !table.contains_key(port));
        let port = free.or_else(|| Candidates::new().find(shares));
        let port = port.ok_or(Errno::EADDRNOTAVAIL)?;
        self.take(&mut table, port, wish, uid, true)
    }

    fn take(
        &'static self,
        table: &mut Table,
        port: u16,
        wish: Wish,
        uid: u32,
        connected: bool,
    ) -> Result<Lease> {
        let holder = Arc::new(Holder {
            wish,
            reuse: AtomicBool::new(wish.reuse),
            uid,
            listening: AtomicBool::new(false),
            connected,
        });
        let holders = table.entry(port).or_default();
        holders.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
        holders.push(holder.clone());
        Ok(Lease {
            ports: self,
            port,
            holder,
        })
    }
}

impl Lease {
    /// The address that the hold was taken with.
    pub fn address(&self) -> IpAddr {
        self.holder.wish.address
    }

    pub fn set_reuse(&self, on: bool) {
        self.holder.reuse.store(on, Ordering::Relaxed);
    }

    /// The holder begins to listen.
    ///
    /// # Errors
    /// `EADDRINUSE` if somebody else does who does not share.
    pub fn listen(&self) -> Result<()> {
        let table = self.ports.table.lock();
        let mut wish = self.holder.wish;
        wish.reuse = self.holder.reuse.load(Ordering::Relaxed);
        let mut others = table.get(&self.port).into_iter().flatten();
        let taken = others.any(|other| {
            !Arc::ptr_eq(other, &self.holder) && other.conflicts(&wish, self.holder.uid)
        });
        if taken {
            return Err(Errno::EADDRINUSE);
        }
        self.holder.listening.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub fn stop_listening(&self) {
        self.holder.listening.store(false, Ordering::SeqCst);
    }

    /// Another hold on the same port, for a connection that was accepted there.
    ///
    /// # Errors
    /// `ENOBUFS`.
    pub fn share(&self, address: IpAddr) -> Result<Lease> {
        let mut wish = self.holder.wish;
        wish.address = address;
        wish.reuse = self.holder.reuse.load(Ordering::Relaxed);
        let mut table = self.ports.table.lock();
        let uid = self.holder.uid;
        self.ports.take(&mut table, self.port, wish, uid, false)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.ports.table.lock();
        let Some(holders) = table.get_mut(&self.port) else {
            return;
        };
        holders.retain(|holder| !Arc::ptr_eq(holder, &self.holder));
        if holders.is_empty() {
            table.remove(&self.port);
        }
    }
}

/// The ports of the range, from a random one on.
struct Candidates {
    low: u32,
    count: u32,
    at: u32,
    left: u32,
}

impl Candidates {
    fn new() -> Candidates {
        let (low, high) = range();
        let count = u32::from(high) - u32::from(low) + 1;
        let mut seed = [0; 4];
        net::random(&mut seed);
        Candidates {
            low: u32::from(low),
            count,
            at: u32::from_ne_bytes(seed) % count,
            left: count,
        }
    }
}

impl Iterator for Candidates {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        let port = self.low + self.at;
        self.at = (self.at + 1) % self.count;
        u16::try_from(port).ok()
    }
}
