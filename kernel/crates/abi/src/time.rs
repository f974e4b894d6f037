//! Time: clocks, timers, and the structures that carry them.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const NSEC_PER_SEC: u64 = 1_000_000_000;
pub const NSEC_PER_USEC: u64 = 1_000;
/// `USER_HZ`: ticks of `times` and `siginfo_t` in a second.
pub const USER_HZ: u64 = 100;
/// Seconds beyond which Linux's 64-bit nanoseconds overflow; longer times count as this long.
const KTIME_SEC_MAX: i64 = i64::MAX / NSEC_PER_SEC as i64;

/// `struct timespec`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timespec {
    pub tv_sec: i64,
    pub tv_nsec: i64,
}

impl Timespec {
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            tv_sec: (ns / NSEC_PER_SEC) as i64,
            tv_nsec: (ns % NSEC_PER_SEC) as i64,
        }
    }

    /// Nanoseconds, saturating; `None` (EINVAL) for negative seconds or nanoseconds outside a second.
    pub const fn to_ns(self) -> Option<u64> {
        if self.tv_sec < 0 || self.tv_nsec < 0 || self.tv_nsec >= NSEC_PER_SEC as i64 {
            return None;
        }
        if self.tv_sec >= KTIME_SEC_MAX {
            return Some(i64::MAX as u64);
        }
        Some(self.tv_sec as u64 * NSEC_PER_SEC + self.tv_nsec as u64)
    }

    pub const fn is_zero(self) -> bool {
        self.tv_sec == 0 && self.tv_nsec == 0
    }
}

/// `struct timeval`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timeval {
    pub tv_sec: i64,
    pub tv_usec: i64,
}

impl Timeval {
    pub const fn from_ns(ns: u64) -> Self {
        let usec = ns % NSEC_PER_SEC / NSEC_PER_USEC;
        Self {
            tv_sec: (ns / NSEC_PER_SEC) as i64,
            tv_usec: usec as i64,
        }
    }

    /// As `from_ns`, but anything above zero shows as one microsecond at least.
    pub const fn from_ns_not_zero(ns: u64) -> Self {
        if ns > 0 && ns < NSEC_PER_USEC {
            Self::from_ns(NSEC_PER_USEC)
        } else {
            Self::from_ns(ns)
        }
    }

    /// Nanoseconds, saturating; `None` (EINVAL) for negative seconds or microseconds outside a second.
    pub const fn to_ns(self) -> Option<u64> {
        if self.tv_usec < 0 || self.tv_usec >= 1_000_000 {
            return None;
        }
        Timespec {
            tv_sec: self.tv_sec,
            tv_nsec: self.tv_usec * NSEC_PER_USEC as i64,
        }
        .to_ns()
    }
}

/// `struct timezone`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timezone {
    pub tz_minuteswest: i32,
    pub tz_dsttime: i32,
}

/// `struct itimerspec`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Itimerspec {
    pub it_interval: Timespec,
    pub it_value: Timespec,
}

/// `struct itimerval`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Itimerval {
    pub it_interval: Timeval,
    pub it_value: Timeval,
}

/// `struct tms`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tms {
    pub tms_utime: i64,
    pub tms_stime: i64,
    pub tms_cutime: i64,
    pub tms_cstime: i64,
}

/// `struct timex` (adjtimex).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timex {
    pub modes: u32,
    pub pad1: u32,
    pub offset: i64,
    pub freq: i64,
    pub maxerror: i64,
    pub esterror: i64,
    pub status: i32,
    pub pad2: u32,
    pub constant: i64,
    pub precision: i64,
    pub tolerance: i64,
    pub time: Timeval,
    pub tick: i64,
    pub ppsfreq: i64,
    pub jitter: i64,
    pub shift: i32,
    pub pad3: u32,
    pub stabil: i64,
    pub jitcnt: i64,
    pub calcnt: i64,
    pub errcnt: i64,
    pub stbcnt: i64,
    pub tai: i32,
    pub reserved: [i32; 11],
}

/// `ADJ_OFFSET_SS_READ` of `Timex::modes`: reads the old adjtime offset, changes nothing.
pub const ADJ_OFFSET_SS_READ: u32 = 0xa001;
pub const STA_UNSYNC: i32 = 0x0040;
/// adjtimex's answer while the clock is not synchronised.
pub const TIME_ERROR: usize = 5;

pub const ITIMER_REAL: i32 = 0;
pub const ITIMER_VIRTUAL: i32 = 1;
pub const ITIMER_PROF: i32 = 2;

pub const TIMER_ABSTIME: i32 = 1;

bitflags! {
    /// Flags of `timerfd_settime`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TfdTimer: u32 {
        const ABSTIME = 1;
        const CANCEL_ON_SET = 2;
    }
}

pub const CLOCK_REALTIME: i32 = 0;
pub const CLOCK_MONOTONIC: i32 = 1;
pub const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
pub const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
pub const CLOCK_MONOTONIC_RAW: i32 = 4;
pub const CLOCK_REALTIME_COARSE: i32 = 5;
pub const CLOCK_MONOTONIC_COARSE: i32 = 6;
pub const CLOCK_BOOTTIME: i32 = 7;
pub const CLOCK_REALTIME_ALARM: i32 = 8;
pub const CLOCK_BOOTTIME_ALARM: i32 = 9;
pub const CLOCK_TAI: i32 = 11;

/// Which CPU time a negative clock id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuClockKind {
    /// User and system time, sampled (CPUCLOCK_PROF).
    Prof,
    /// User time (CPUCLOCK_VIRT).
    Virt,
    /// What the scheduler measures (CPUCLOCK_SCHED).
    Sched,
}

/// A clock id as the calls take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockId {
    Realtime,
    Monotonic,
    MonotonicRaw,
    RealtimeCoarse,
    MonotonicCoarse,
    Boottime,
    RealtimeAlarm,
    BoottimeAlarm,
    Tai,
    /// The CPU time of a process or of a thread; 0 stands for the caller.
    Cpu {
        id: i32,
        is_thread: bool,
        kind: CpuClockKind,
    },
    /// A clock behind a descriptor (a PTP clock).
    Fd(i32),
}

impl ClockId {
    /// `None` (EINVAL) for ids that name nothing.
    pub const fn from_user(id: i32) -> Option<Self> {
        Some(match id {
            CLOCK_REALTIME => Self::Realtime,
            CLOCK_MONOTONIC => Self::Monotonic,
            CLOCK_PROCESS_CPUTIME_ID => Self::Cpu {
                id: 0,
                is_thread: false,
                kind: CpuClockKind::Sched,
            },
            CLOCK_THREAD_CPUTIME_ID => Self::Cpu {
                id: 0,
                is_thread: true,
                kind: CpuClockKind::Sched,
            },
            CLOCK_MONOTONIC_RAW => Self::MonotonicRaw,
            CLOCK_REALTIME_COARSE => Self::RealtimeCoarse,
            CLOCK_MONOTONIC_COARSE => Self::MonotonicCoarse,
            CLOCK_BOOTTIME => Self::Boottime,
            CLOCK_REALTIME_ALARM => Self::RealtimeAlarm,
            CLOCK_BOOTTIME_ALARM => Self::BoottimeAlarm,
            CLOCK_TAI => Self::Tai,
            _ if id >= 0 => return None,
            _ => {
                let is_thread = id & 4 != 0;
                let kind = match id & 3 {
                    0 => CpuClockKind::Prof,
                    1 => CpuClockKind::Virt,
                    2 => CpuClockKind::Sched,
                    _ if is_thread => return None,
                    _ => return Some(Self::Fd(!(id >> 3))),
                };
                Self::Cpu {
                    id: !(id >> 3),
                    is_thread,
                    kind,
                }
            }
        })
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Timespec>() == 16);
    assert!(size_of::<Timeval>() == 16);
    assert!(size_of::<Itimerspec>() == 32);
    assert!(size_of::<Tms>() == 32);
    assert!(size_of::<Timex>() == 208);
    assert!(offset_of!(Timex, time) == 72);
    assert!(offset_of!(Timex, tai) == 160);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timespecs_out_of_range_are_refused_and_long_ones_saturate() {
        let ts = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        assert_eq!(ts(1, 5).to_ns(), Some(1_000_000_005));
        assert_eq!(ts(-1, 0).to_ns(), None);
        assert_eq!(ts(0, -1).to_ns(), None);
        assert_eq!(ts(0, 1_000_000_000).to_ns(), None);
        assert_eq!(ts(i64::MAX, 0).to_ns(), Some(i64::MAX as u64));
        assert_eq!(Timespec::from_ns(1_000_000_005), ts(1, 5));
    }

    #[test]
    fn timevals_round_a_rest_up_to_a_microsecond() {
        assert_eq!(
            Timeval::from_ns_not_zero(1),
            Timeval {
                tv_sec: 0,
                tv_usec: 1
            }
        );
        assert_eq!(Timeval::from_ns_not_zero(0), Timeval::default());
        assert_eq!(
            Timeval {
                tv_sec: 0,
                tv_usec: 1_000_000
            }
            .to_ns(),
            None
        );
    }

    #[test]
    fn negative_ids_name_cpu_clocks() {
        let kind = CpuClockKind::Sched;
        let process = ClockId::Cpu {
            id: 1234,
            is_thread: false,
            kind,
        };
        assert_eq!(ClockId::from_user((!1234) << 3 | 2), Some(process));
        let thread = ClockId::Cpu {
            id: 1234,
            is_thread: true,
            kind,
        };
        assert_eq!(ClockId::from_user((!1234) << 3 | 6), Some(thread));
        assert_eq!(ClockId::from_user((!3) << 3 | 3), Some(ClockId::Fd(3)));
        assert_eq!(ClockId::from_user(10), None);
        assert_eq!(ClockId::from_user(12), None);
    }
}
