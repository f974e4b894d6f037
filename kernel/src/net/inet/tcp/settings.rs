//! The options of one TCP socket: those of `IPPROTO_TCP`, and what of `SOL_SOCKET` the protocol must know.

use core::sync::atomic::{AtomicI32, Ordering};

use abi::net::tcp;
use abi::{Errno, Result};
use smoltcp::socket::tcp::Socket;
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
/// `net.ipv4.tcp_fin_timeout`.
const FIN_TIMEOUT_S: i32 = 60;

pub struct Settings {
    nodelay: AtomicI32,
    cork: AtomicI32,
    keep_alive: AtomicI32,
    keep_idle_s: AtomicI32,
    keep_interval_s: AtomicI32,
    keep_count: AtomicI32,
    user_timeout_ms: AtomicI32,
    quick_ack: AtomicI32,
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
            quick_ack: AtomicI32::new(1),
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
            tcp::QUICKACK => &self.quick_ack,
            _ => return None,
        })
    }

    /// # Errors
    /// `ENOPROTOOPT`.
    pub fn get(&self, option: i32) -> Result<i32> {
        if let Some(slot) = self.slot(option) {
            return Ok(slot.load(Ordering::Relaxed));
        }
        Ok(match option {
            tcp::SYNCNT => SYN_RETRIES,
            tcp::LINGER2 => FIN_TIMEOUT_S,
            tcp::DEFER_ACCEPT | tcp::WINDOW_CLAMP => 0,
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    /// # Errors
    /// `ENOPROTOOPT`, `EINVAL` for a value out of range.
    pub fn set(&self, option: i32, value: i32) -> Result<()> {
        let range = match option {
            tcp::KEEPIDLE | tcp::KEEPINTVL => 1..=MAX_KEEP_S,
            tcp::KEEPCNT => 1..=MAX_KEEP_COUNT,
            tcp::USER_TIMEOUT => 0..=i32::MAX,
            _ => i32::MIN..=i32::MAX,
        };
        let slot = self.slot(option).ok_or(Errno::ENOPROTOOPT)?;
        if !range.contains(&value) {
            return Err(Errno::EINVAL);
        }
        let is_switch = matches!(option, tcp::NODELAY | tcp::CORK | tcp::QUICKACK);
        let value = if is_switch {
            i32::from(value != 0)
        } else {
            value
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
            quick_ack: copy(&self.quick_ack),
            hop_limit: copy(&self.hop_limit),
        }
    }

    /// Makes the protocol do what is set.
    pub fn apply(&self, socket: &mut Socket<'static>) {
        let value = |slot: &AtomicI32| slot.load(Ordering::Relaxed);
        let is_corked = value(&self.cork) != 0;
        socket.set_nagle_enabled(value(&self.nodelay) == 0 || is_corked);
        let alive = value(&self.keep_alive) != 0;
        let seconds = |slot| Duration::from_secs(u64::try_from(value(slot)).unwrap_or(1));
        socket.set_keep_alive(alive.then(|| seconds(&self.keep_idle_s)));
        let user_ms = u64::try_from(value(&self.user_timeout_ms)).unwrap_or(0);
        let timeout = if user_ms != 0 {
            Some(Duration::from_millis(user_ms))
        } else if alive {
            let probes = u64::try_from(value(&self.keep_count)).unwrap_or(1);
            let all = seconds(&self.keep_interval_s).total_millis() * probes;
            Some(seconds(&self.keep_idle_s) + Duration::from_millis(all))
        } else {
            None
        };
        socket.set_timeout(timeout);
        if let Ok(limit) = u8::try_from(value(&self.hop_limit))
            && limit != 0
        {
            socket.set_hop_limit(Some(limit));
        }
    }
}
