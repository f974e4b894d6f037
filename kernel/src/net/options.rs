//! The options of `SOL_SOCKET` that every socket has, whatever its family. Those that mean nothing to local sockets
//! are kept and told, as on Linux.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use abi::socket::{Linger, so};
use abi::time::Timeval;
use abi::{Errno, Result};
use bitflags::bitflags;

use crate::task::{self, Cap};

/// The buffer sizes of a new socket (`net.core.wmem_default`, `rmem_default`).
pub const DEFAULT_BUFFER: usize = 212_992;
/// The most that `SO_SNDBUF` and `SO_RCVBUF` ask for without privilege, before doubling (`net.core.wmem_max`).
pub const MAX_BUFFER: i32 = 4 << 20;
const MIN_SEND_BUFFER: i32 = 4608;
const MIN_RECEIVE_BUFFER: i32 = 2304;
/// The highest priority without CAP_NET_ADMIN.
const MAX_PRIORITY: i32 = 6;

bitflags! {
    /// Options that are on or off.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Switches: u32 {
        const DEBUG = 1;
        const REUSEADDR = 2;
        const DONTROUTE = 4;
        const BROADCAST = 8;
        const KEEPALIVE = 16;
        const OOBINLINE = 32;
        const REUSEPORT = 64;
        const LINGER = 128;
    }
}

/// The options of one socket.
pub struct Options {
    switches: AtomicU32,
    priority: AtomicI32,
    linger_s: AtomicI32,
    receive_buffer: AtomicI32,
    receive_low_water: AtomicI32,
    receive_timeout_ns: AtomicU64,
    send_timeout_ns: AtomicU64,
}

fn switch_of(option: i32) -> Option<Switches> {
    Some(match option {
        so::DEBUG => Switches::DEBUG,
        so::REUSEADDR => Switches::REUSEADDR,
        so::DONTROUTE => Switches::DONTROUTE,
        so::BROADCAST => Switches::BROADCAST,
        so::KEEPALIVE => Switches::KEEPALIVE,
        so::OOBINLINE => Switches::OOBINLINE,
        so::REUSEPORT => Switches::REUSEPORT,
        _ => return None,
    })
}

/// The size that a request for a buffer gives: doubled, for the bookkeeping, within the limits.
pub fn buffer_size(asked: i32, forced: bool, is_send: bool) -> Result<i32> {
    if forced && !task::current().my_cred().capable(Cap::NET_ADMIN) {
        return Err(Errno::EPERM);
    }
    let capped = if forced {
        asked.clamp(0, i32::MAX / 2)
    } else {
        // Linux compares as unsigned: a negative request is the largest.
        (asked as u32).min(MAX_BUFFER as u32) as i32
    };
    let least = if is_send {
        MIN_SEND_BUFFER
    } else {
        MIN_RECEIVE_BUFFER
    };
    Ok((capped * 2).max(least))
}

/// The nanoseconds of a timeout; 0 is for ever.
fn timeout_ns(time: &Timeval) -> Result<u64> {
    if !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EDOM);
    }
    let Ok(seconds) = u64::try_from(time.tv_sec) else {
        // Negative: one tick, which is to say at once.
        return Ok(1);
    };
    Ok(seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_usec as u64 * 1000))
}

impl Options {
    pub fn new() -> Options {
        Options {
            switches: AtomicU32::new(0),
            priority: AtomicI32::new(0),
            linger_s: AtomicI32::new(0),
            receive_buffer: AtomicI32::new(DEFAULT_BUFFER as i32),
            receive_low_water: AtomicI32::new(1),
            receive_timeout_ns: AtomicU64::new(0),
            send_timeout_ns: AtomicU64::new(0),
        }
    }

    pub fn receive_timeout_ns(&self) -> u64 {
        self.receive_timeout_ns.load(Ordering::Relaxed)
    }
    pub fn send_timeout_ns(&self) -> u64 {
        self.send_timeout_ns.load(Ordering::Relaxed)
    }
    pub fn receive_low_water(&self) -> usize {
        self.receive_low_water.load(Ordering::Relaxed).max(1) as usize
    }

    fn has(&self, switch: Switches) -> bool {
        self.switches.load(Ordering::Relaxed) & switch.bits() != 0
    }
    fn switch(&self, switch: Switches, on: bool) {
        if on {
            self.switches.fetch_or(switch.bits(), Ordering::Relaxed);
        } else {
            self.switches.fetch_and(!switch.bits(), Ordering::Relaxed);
        }
    }

    /// The value of an option that is a number; `None` if it is none of these.
    pub fn get(&self, option: i32) -> Option<i32> {
        if let Some(switch) = switch_of(option) {
            return Some(i32::from(self.has(switch)));
        }
        match option {
            so::RCVBUF => Some(self.receive_buffer.load(Ordering::Relaxed)),
            so::PRIORITY => Some(self.priority.load(Ordering::Relaxed)),
            so::RCVLOWAT => Some(self.receive_low_water.load(Ordering::Relaxed)),
            so::SNDLOWAT => Some(1),
            _ => None,
        }
    }

    /// Sets an option that is a number.
    ///
    /// # Errors
    /// `ENOPROTOOPT` if it is none of these, `EPERM`, `EINVAL`, `EACCES` as the option has it.
    pub fn set(&self, option: i32, value: i32) -> Result<()> {
        let admin = || task::current().my_cred().capable(Cap::NET_ADMIN);
        match option {
            so::DEBUG if value != 0 && !admin() => return Err(Errno::EACCES),
            so::RCVBUF | so::RCVBUFFORCE => {
                let size = buffer_size(value, option == so::RCVBUFFORCE, false)?;
                self.receive_buffer.store(size, Ordering::Relaxed);
            }
            so::PRIORITY => {
                if !(0..=MAX_PRIORITY).contains(&value) && !admin() {
                    return Err(Errno::EPERM);
                }
                self.priority.store(value, Ordering::Relaxed);
            }
            so::RCVLOWAT => {
                let value = if value < 0 { i32::MAX } else { value.max(1) };
                self.receive_low_water.store(value, Ordering::Relaxed);
            }
            _ => {
                let switch = switch_of(option).ok_or(Errno::ENOPROTOOPT)?;
                self.switch(switch, value != 0);
            }
        }
        Ok(())
    }

    /// `SO_RCVTIMEO`, `SO_SNDTIMEO`.
    pub fn timeout(&self, is_send: bool) -> Timeval {
        Timeval::from_ns(if is_send {
            self.send_timeout_ns()
        } else {
            self.receive_timeout_ns()
        })
    }

    /// # Errors
    /// `EDOM` for microseconds out of range.
    pub fn set_timeout(&self, is_send: bool, time: &Timeval) -> Result<()> {
        let ns = timeout_ns(time)?;
        let slot = if is_send {
            &self.send_timeout_ns
        } else {
            &self.receive_timeout_ns
        };
        slot.store(ns, Ordering::Relaxed);
        Ok(())
    }

    pub fn linger(&self) -> Linger {
        Linger {
            on: i32::from(self.has(Switches::LINGER)),
            seconds: self.linger_s.load(Ordering::Relaxed),
        }
    }
    pub fn set_linger(&self, linger: &Linger) {
        self.switch(Switches::LINGER, linger.on != 0);
        if linger.on != 0 {
            self.linger_s.store(linger.seconds, Ordering::Relaxed);
        }
    }
}
