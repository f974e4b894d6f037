//! The options of one TCP socket: those of `IPPROTO_TCP`, and what of `SOL_SOCKET` the protocol must know. What the
//! protocol cannot do (`TCP_QUICKACK`, `TCP_DEFER_ACCEPT`, ...) answers ENOPROTOOPT.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use abi::net::tcp;
use abi::{Errno, Result};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::Duration;

/// `net.ipv4.tcp_keepalive_time`, `_intvl`, `_probes`.
const KEEP_IDLE_S: i32 = 7200;
const KEEP_INTERVAL_S: i32 = 75;
const KEEP_COUNT: i32 = 9;
/// The most of each that may be asked for.
const MAX_KEEP_S: i32 = 32767;
const MAX_KEEP_COUNT: i32 = 127;
/// `net.ipv4.tcp_syn_retries`.
const SYN_RETRIES: i32 = 6;
const MAX_SYN_RETRIES: i32 = 127;
/// From so many on the doubled waits have reached what Linux lets one wait be at most.
const LONG_RETRIES: u32 = 10;
/// How long something may stay unacknowledged (`net.ipv4.tcp_retries2` of 15).
const UNACKNOWLEDGED_MS: u64 = 924_600;

pub struct Settings {
    nodelay: AtomicI32,
    cork: AtomicI32,
    keep_alive: AtomicI32,
    keep_idle_s: AtomicI32,
    keep_interval_s: AtomicI32,
    keep_count: AtomicI32,
    user_timeout_ms: AtomicI32,
    syn_retries: AtomicI32,
    hop_limit: AtomicI32,
}

impl Settings {
    pub fn new() -> Settings {
        Settings {
            nodelay: AtomicI32::new(0),
            cork: AtomicI32::new(0),
            keep_alive: AtomicI32::new(0),
            keep_idle_s: AtomicI32::new(KEEP_IDLE_S),
            keep_interval_s: AtomicI32::new(KEEP_INTERVAL_S),
            keep_count: AtomicI32::new(KEEP_COUNT),
            user_timeout_ms: AtomicI32::new(0),
            syn_retries: AtomicI32::new(SYN_RETRIES),
            hop_limit: AtomicI32::new(64),
        }
    }

    fn slot(&self, option: i32) -> Option<&AtomicI32> {
        Some(match option {
            tcp::NODELAY => &self.nodelay,
            tcp::CORK => &self.cork,
            tcp::KEEPIDLE => &self.keep_idle_s,
            tcp::KEEPINTVL => &self.keep_interval_s,
            tcp::KEEPCNT => &self.keep_count,
            tcp::USER_TIMEOUT => &self.user_timeout_ms,
            tcp::SYNCNT => &self.syn_retries,
            _ => return None,
        })
    }

    /// # Errors
    /// `ENOPROTOOPT`.
    pub fn get(&self, option: i32) -> Result<i32> {
        let slot = self.slot(option).ok_or(Errno::ENOPROTOOPT)?;
        Ok(slot.load(Ordering::Relaxed))
    }

    /// # Errors
    /// `ENOPROTOOPT`, `EINVAL` for a value out of range.
    pub fn set(&self, option: i32, value: i32) -> Result<()> {
        let range = match option {
            tcp::KEEPIDLE | tcp::KEEPINTVL => 1..=MAX_KEEP_S,
            tcp::KEEPCNT => 1..=MAX_KEEP_COUNT,
            tcp::SYNCNT => 1..=MAX_SYN_RETRIES,
            tcp::USER_TIMEOUT => 0..=i32::MAX,
            _ => i32::MIN..=i32::MAX,
        };
        let slot = self.slot(option).ok_or(Errno::ENOPROTOOPT)?;
        if !range.contains(&value) {
            return Err(Errno::EINVAL);
        }
        let value = match option {
            tcp::NODELAY | tcp::CORK => i32::from(value != 0),
            _ => value,
        };
        slot.store(value, Ordering::Relaxed);
        Ok(())
    }

    pub fn set_keep_alive(&self, on: bool) {
        self.keep_alive.store(i32::from(on), Ordering::Relaxed);
    }
    pub fn set_hop_limit(&self, limit: u8) {
        self.hop_limit.store(i32::from(limit), Ordering::Relaxed);
    }

    /// `TCP_CORK`.
    pub fn is_corked(&self) -> bool {
        self.cork.load(Ordering::Relaxed) != 0
    }

    /// A copy, for a connection that is accepted.
    pub fn copy(&self) -> Settings {
        let copy = |slot: &AtomicI32| AtomicI32::new(slot.load(Ordering::Relaxed));
        Settings {
            nodelay: copy(&self.nodelay),
            cork: copy(&self.cork),
            keep_alive: copy(&self.keep_alive),
            keep_idle_s: copy(&self.keep_idle_s),
            keep_interval_s: copy(&self.keep_interval_s),
            keep_count: copy(&self.keep_count),
            user_timeout_ms: copy(&self.user_timeout_ms),
            syn_retries: copy(&self.syn_retries),
            hop_limit: copy(&self.hop_limit),
        }
    }

    /// Makes the protocol do what is set.
    pub fn apply(&self, socket: &mut Socket<'static>) {
        let value = |slot: &AtomicI32| slot.load(Ordering::Relaxed);
        socket.set_nagle_enabled(value(&self.nodelay) == 0);
        let alive = value(&self.keep_alive) != 0;
        let seconds = |slot| Duration::from_secs(u64::try_from(value(slot)).unwrap_or(1));
        socket.set_keep_alive(alive.then(|| seconds(&self.keep_idle_s)));
        if let Ok(limit) = u8::try_from(value(&self.hop_limit))
            && limit != 0
        {
            socket.set_hop_limit(Some(limit));
        }
    }
}

/// How long a connection's other side may be silent, in milliseconds. `smoltcp` has one limit whatever is waited for:
/// it is set anew each time that the connection is looked at.
pub struct Limits {
    handshake: AtomicU64,
    unacknowledged: AtomicU64,
    /// 0 where nobody asked for signs of life.
    alive: AtomicU64,
}

impl Limits {
    pub fn new(settings: &Settings) -> Limits {
        let limits = Limits {
            handshake: AtomicU64::new(0),
            unacknowledged: AtomicU64::new(0),
            alive: AtomicU64::new(0),
        };
        limits.set(settings);
        limits
    }

    pub fn set(&self, settings: &Settings) {
        let value =
            |slot: &AtomicI32| u64::try_from(slot.load(Ordering::Relaxed)).unwrap_or_default();
        let retries = u32::try_from(value(&settings.syn_retries)).unwrap_or(0);
        // A second, then twice as long each time.
        let handshake_ms = ((2_u64 << retries.min(LONG_RETRIES)) - 1) * 1000;
        let user_ms = value(&settings.user_timeout_ms);
        let probes_s = value(&settings.keep_interval_s) * value(&settings.keep_count);
        let alive_ms = match (value(&settings.keep_alive), user_ms) {
            (0, _) => 0,
            (_, 0) => (value(&settings.keep_idle_s) + probes_s) * 1000,
            (_, user_ms) => user_ms,
        };
        let unacknowledged_ms = if user_ms == 0 {
            UNACKNOWLEDGED_MS
        } else {
            user_ms
        };
        self.handshake.store(handshake_ms, Ordering::Relaxed);
        self.unacknowledged
            .store(unacknowledged_ms, Ordering::Relaxed);
        self.alive.store(alive_ms, Ordering::Relaxed);
    }

    /// Limits what the socket waits for now.
    pub fn apply(&self, socket: &mut Socket<'static>) {
        let slot = match socket.state() {
            State::SynSent | State::SynReceived => &self.handshake,
            _ if socket.send_queue() != 0 => &self.unacknowledged,
            _ => &self.alive,
        };
        let ms = slot.load(Ordering::Relaxed);
        socket.set_timeout((ms != 0).then(|| Duration::from_millis(ms)));
    }
}
