//! The periodic interrupt: a timer of the kernel, which unlike the clock knows every rate.

use alloc::sync::Arc;

use abi::{Errno, Result};
use drivers::rtc::RtcEvents;

use super::alarm::Rtc;
use crate::task::{self, Cap};
use crate::time::monotonic_ns;
use crate::time::timer::{self, TimerCallback, TimerId};

const MAX_HZ: i32 = 8192;
const NS_A_SECOND: u64 = 1_000_000_000;

/// The periodic interrupt's state.
pub(super) struct Periodic {
    pub hz: u32,
    /// The highest rate for those without `CAP_SYS_RESOURCE`.
    pub max_user_hz: u32,
    /// While it runs: when it is due.
    due: Option<(u64, TimerId)>,
}

impl Default for Periodic {
    /// The clock's own rate after power-on, and Linux's limit.
    fn default() -> Self {
        Self {
            hz: 1024,
            max_user_hz: 64,
            due: None,
        }
    }
}

impl Periodic {
    pub fn runs(&self) -> bool {
        self.due.is_some()
    }

    fn period_ns(&self) -> u64 {
        NS_A_SECOND / u64::from(self.hz.max(1))
    }

    fn start(&mut self, rtc: Arc<Rtc>) {
        self.stop();
        let at = monotonic_ns().saturating_add(self.period_ns());
        self.due = Some((at, timer::arm(at, rtc)));
    }

    fn stop(&mut self) {
        if let Some((_, id)) = self.due.take() {
            timer::cancel(id);
        }
    }

    /// How often it was due up to now; arms the next.
    fn expired(&mut self, rtc: Arc<Rtc>, now_ns: u64) -> u64 {
        let Some((at, _)) = self.due.filter(|(at, _)| *at <= now_ns) else {
            return 0;
        };
        let period = self.period_ns();
        let count = 1 + (now_ns - at) / period;
        let next = at.saturating_add(count.saturating_mul(period));
        self.due = Some((next, timer::arm(next, rtc)));
        count
    }
}

impl TimerCallback for Rtc {
    fn expired(self: Arc<Self>, now_ns: u64) {
        let rtc = self.clone();
        self.with_state(|state| {
            let count = state.periodic.expired(rtc, now_ns);
            if count > 0 {
                state.happened(RtcEvents::PERIODIC, count);
            }
        });
    }
}

impl Rtc {
    /// Lets the periodic interrupt be told, or not.
    pub fn switch_periodic(&self, on: bool) -> Result<()> {
        let rtc = self.this.upgrade().ok_or(Errno::ENODEV)?;
        let may_be_fast = task::current().cred().capable(Cap::SYS_RESOURCE);
        self.with_state(|state| {
            let periodic = &mut state.periodic;
            match on {
                false => periodic.stop(),
                true if periodic.hz > periodic.max_user_hz && !may_be_fast => {
                    return Err(Errno::EACCES);
                }
                true => periodic.start(rtc),
            }
            Ok(())
        })
    }

    /// Sets its rate, from now on if it runs.
    ///
    /// # Errors
    /// `EACCES` above what the caller may have, `EINVAL` outside of 1 to 8192 a second.
    pub fn set_rate(&self, wanted: usize) -> Result<()> {
        let rtc = self.this.upgrade().ok_or(Errno::ENODEV)?;
        let may_be_fast = task::current().cred().capable(Cap::SYS_RESOURCE);
        self.with_state(|state| {
            let periodic = &mut state.periodic;
            if wanted > periodic.max_user_hz as usize && !may_be_fast {
                return Err(Errno::EACCES);
            }
            // Linux takes the low half, too.
            let hz = wanted as i32;
            if !(1..=MAX_HZ).contains(&hz) {
                return Err(Errno::EINVAL);
            }
            periodic.hz = hz.unsigned_abs();
            if periodic.runs() {
                periodic.start(rtc);
            }
            Ok(())
        })
    }
}
