//! Whose a packet is: connections by their two addresses, those that wait out their end, and listeners.

use alloc::collections::BTreeMap;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU8, Ordering};

use super::connection::Connection;
use super::end::state;
use super::listener::Listener;
use super::segment::{Segment, Summary};
use super::stack::Stack;
use super::timer;
use crate::net::inet::address;
use crate::net::inet::ports::Lease;
use crate::net::inet::raw;
use crate::net::{interface, packet};
use crate::sync::RwLock;
use crate::time;

/// How long a connection is remembered after its end (`TCP_TIMEWAIT_LEN`), or waits for the other side's.
pub const TIME_WAIT_NS: u64 = 60_000_000_000;
/// After so long a connection that waits out its end gives way to a new one, as Linux has it for the loopback interface.
const REUSE_NS: u64 = 1_000_000_000;
/// The most that are remembered (`net.ipv4.tcp_max_tw_buckets`).
const MAX_TIME_WAIT: usize = 16384;

/// The own address, then the other's.
pub type Key = (SocketAddr, SocketAddr);

/// What is left of a connection whose end is near: it has no owner and no buffers.
pub struct TimeWait {
    pub key: Key,
    /// `TIME_WAIT`, or `FIN_WAIT2` while the other side has not closed.
    pub state: AtomicU8,
    pub began_ns: u64,
    _lease: Option<Lease>,
}

#[derive(Clone)]
pub enum Entry {
    Live(Arc<Connection>),
    Waiting(Arc<TimeWait>),
}

struct Table {
    entries: BTreeMap<Key, Entry>,
    waiting: usize,
}

static CONNECTIONS: RwLock<Table> = RwLock::new(Table {
    entries: BTreeMap::new(),
    waiting: 0,
});
static LISTENERS: RwLock<BTreeMap<u16, Vec<Arc<Listener>>>> = RwLock::new(BTreeMap::new());

/// Connections that something came in for, to be run once the caller holds no lock of theirs.
#[derive(Default)]
pub struct Kicks(VecDeque<Arc<Connection>>);

impl Kicks {
    fn add(&mut self, connection: &Arc<Connection>) {
        let is_last = self
            .0
            .back()
            .is_some_and(|last| Arc::ptr_eq(last, connection));
        if !is_last {
            self.0.push_back(connection.clone());
        }
    }

    /// Lets each take in what came, and those that answer to it, until there is no more.
    pub fn run(mut self) {
        while let Some(connection) = self.0.pop_front() {
            connection.run(&mut self);
        }
    }
}

fn find(key: &Key) -> Option<Entry> {
    CONNECTIONS.read().entries.get(key).cloned()
}

/// Enters a new connection, in place of one that waits out its end; `false` if there is a live one.
pub fn insert(connection: &Arc<Connection>) -> bool {
    let key = connection.key();
    let mut table = CONNECTIONS.write();
    if let Some(Entry::Live(_)) = table.entries.get(&key) {
        return false;
    }
    let old = table.entries.insert(key, Entry::Live(connection.clone()));
    if old.is_some() {
        table.waiting -= 1;
    }
    // Its lease goes back to the ports, whose lock is taken before this table's.
    drop(table);
    drop(old);
    true
}

/// Whether a connection with these addresses can be made.
pub fn is_free(key: &Key) -> bool {
    match find(key) {
        None => true,
        Some(Entry::Live(_)) => false,
        Some(Entry::Waiting(waiting)) => {
            time::monotonic_ns().saturating_sub(waiting.began_ns) >= REUSE_NS
        }
    }
}

/// The connection is over and forgotten, or left to wait in that state.
pub fn retire(connection: &Arc<Connection>, waits_in: Option<u8>) {
    let key = connection.key();
    let lease = connection.take_lease();
    let mut table = CONNECTIONS.write();
    let is_mine = matches!(table.entries.get(&key),
        Some(Entry::Live(live)) if Arc::ptr_eq(live, connection));
    if !is_mine {
        return;
    }
    let Some(state) = waits_in.filter(|_| table.waiting < MAX_TIME_WAIT) else {
        let old = table.entries.remove(&key);
        drop(table);
        drop(old);
        return;
    };
    let now = time::monotonic_ns();
    let waiting = Arc::new(TimeWait {
        key,
        state: AtomicU8::new(state),
        began_ns: now,
        _lease: lease,
    });
    table.waiting += 1;
    let old = table.entries.insert(key, Entry::Waiting(waiting));
    drop(table);
    drop(old);
    timer::forget_at(now + TIME_WAIT_NS, key);
}

/// The time of one that waits is over, unless another took its place.
pub fn forget(key: &Key, now: u64) {
    let mut table = CONNECTIONS.write();
    let is_due = matches!(table.entries.get(key),
        Some(Entry::Waiting(waiting)) if now.saturating_sub(waiting.began_ns) >= TIME_WAIT_NS);
    if is_due {
        let old = table.entries.remove(key);
        table.waiting -= 1;
        drop(table);
        drop(old);
    }
}

/// Every connection, in no order.
pub fn all() -> Vec<Entry> {
    CONNECTIONS.read().entries.values().cloned().collect()
}

/// Every listener, by port.
pub fn all_listeners() -> Vec<Arc<Listener>> {
    LISTENERS.read().values().flatten().cloned().collect()
}

pub fn add_listener(listener: &Arc<Listener>) {
    let mut listeners = LISTENERS.write();
    let list = listeners.entry(listener.port).or_default();
    list.push(listener.clone());
}

pub fn remove_listener(listener: &Arc<Listener>) {
    let mut listeners = LISTENERS.write();
    if let Some(list) = listeners.get_mut(&listener.port) {
        list.retain(|other| !Arc::ptr_eq(other, listener));
        if list.is_empty() {
            listeners.remove(&listener.port);
        }
    }
}

/// The listener that a SYN is for: the closest address; among those that share it, one by who asks.
fn find_listener(summary: &Summary) -> Option<Arc<Listener>> {
    let listeners = LISTENERS.read();
    let list = listeners.get(&summary.destination.port())?;
    let score = |listener: &Arc<Listener>| listener.score(summary.destination.ip());
    let best = list.iter().filter_map(score).max()?;
    let matching: Vec<_> = list
        .iter()
        .filter(|listener| score(listener) == Some(best))
        .collect();
    let turn = usize::from(summary.source.port()) % matching.len().max(1);
    matching.get(turn).map(|listener| Arc::clone(listener))
}

/// Brings a packet to whom it is for. The sender's stack may be locked: nobody else's is taken here.
pub fn deliver(segment: Segment, kicks: &mut Kicks) {
    let loopback = interface::loopback();
    if !loopback.is_up() {
        return;
    }
    let Some(summary) = segment.summary() else {
        return;
    };
    loopback.sent.count(segment.bytes().len());
    loopback.received.count(segment.bytes().len());
    if packet::is_tapped() {
        packet::show(segment.bytes());
    }
    raw::tap_tcp(&summary, segment.bytes());
    bring(segment, &summary, kicks);
}

/// As [`deliver`], for a packet that was counted and shown.
pub fn accept(segment: Segment, kicks: &mut Kicks) {
    if let Some(summary) = segment.summary() {
        bring(segment, &summary, kicks);
    }
}

fn bring(segment: Segment, summary: &Summary, kicks: &mut Kicks) {
    let key = (summary.destination, summary.source);
    match find(&key) {
        Some(Entry::Live(connection)) => {
            connection.push(segment);
            kicks.add(&connection);
            return;
        }
        Some(Entry::Waiting(waiting)) if !summary.syn => {
            answer_waiting(&waiting, summary, segment, kicks);
            return;
        }
        _ => {}
    }
    // A raw socket may name any addresses; what is not for this machine is lost.
    if !address::owns(summary.destination.ip()) {
        return;
    }
    if summary.syn
        && !summary.ack
        && !summary.rst
        && let Some(listener) = find_listener(summary)
    {
        if let Some(connection) = listener.incoming(summary) {
            connection.push(segment);
            kicks.add(&connection);
        }
        return;
    }
    refuse(summary.destination.ip(), segment, kicks);
}

fn answer_waiting(waiting: &TimeWait, summary: &Summary, segment: Segment, kicks: &mut Kicks) {
    if summary.rst {
        return;
    }
    let data = summary.length - usize::from(summary.fin);
    if data != 0 && waiting.state.load(Ordering::SeqCst) == state::FIN_WAIT2 {
        // Nobody is there to read it.
        refuse(summary.destination.ip(), segment, kicks);
        return;
    }
    if summary.fin {
        waiting.state.store(state::TIME_WAIT, Ordering::SeqCst);
    }
    if summary.length != 0 {
        deliver(Segment::acknowledging(summary), kicks);
    }
}

/// Answers a packet that nobody wants with a reset.
fn refuse(address: IpAddr, segment: Segment, kicks: &mut Kicks) {
    let mut stack = Stack::new(address);
    stack.take_in(segment);
    for answer in stack.take_out() {
        deliver(answer, kicks);
    }
}
