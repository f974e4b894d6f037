//! Scheduling parameters as user space sets them.

use crate::deadline::Reservation;

/// The scheduling policies of `sched(7)`; the values are the ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Policy {
    /// SCHED_OTHER.
    Normal = 0,
    /// SCHED_FIFO.
    Fifo = 1,
    /// SCHED_RR.
    RoundRobin = 2,
    /// SCHED_BATCH.
    Batch = 3,
    /// SCHED_IDLE.
    Idle = 5,
    /// SCHED_DEADLINE.
    Deadline = 6,
}

impl Policy {
    /// The policy with this number.
    pub fn from_raw(value: u32) -> Option<Policy> {
        Some(match value {
            0 => Policy::Normal,
            1 => Policy::Fifo,
            2 => Policy::RoundRobin,
            3 => Policy::Batch,
            5 => Policy::Idle,
            6 => Policy::Deadline,
            _ => return None,
        })
    }

    /// Whether it is one of the two with priorities, which run before all fair ones.
    pub fn is_realtime(self) -> bool {
        matches!(self, Policy::Fifo | Policy::RoundRobin)
    }

    /// Whether tasks of this policy share what others leave, by nice values.
    pub fn is_fair(self) -> bool {
        matches!(self, Policy::Normal | Policy::Batch | Policy::Idle)
    }
}

/// What decides how a task is scheduled.
///
/// # Invariants
/// `nice` lies in -20..=19; `priority` in 1..=99 for real-time policies and is 0 for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    /// The policy.
    pub policy: Policy,
    /// The nice value; kept, without effect, under a real-time policy.
    pub nice: i8,
    /// The real-time priority, higher first.
    pub priority: u8,
    /// Children start with SCHED_OTHER and nice 0.
    pub reset_on_fork: bool,
    /// What a deadline task reserves; [`Reservation::NONE`] for the others.
    pub reservation: Reservation,
}

impl Params {
    /// SCHED_OTHER at nice 0.
    pub const DEFAULT: Params = Params {
        policy: Policy::Normal,
        nice: 0,
        priority: 0,
        reset_on_fork: false,
        reservation: Reservation::NONE,
    };

    /// Linux's one scale of priorities, the lower the sooner: -1 for deadline tasks, 0..=99 for real-time policies,
    /// 100..=139 for the others.
    pub const fn prio(&self) -> Prio {
        match self.policy {
            Policy::Deadline => DEADLINE_PRIO,
            Policy::Fifo | Policy::RoundRobin => 99 - self.priority as Prio,
            _ => 120 + self.nice as Prio,
        }
    }

    /// The share of the CPU, [`NICE_0_WEIGHT`] at nice 0.
    pub fn weight(&self) -> u64 {
        if self.policy == Policy::Idle {
            3
        } else {
            weight_of(self.nice)
        }
    }
}

/// A priority on the scale of [`Params::prio`].
pub type Prio = i16;
/// The priority of all deadline tasks.
pub const DEADLINE_PRIO: Prio = -1;
/// No priority inherited: worse than any of [`Params::prio`].
pub const NOT_INHERITED: Prio = 140;
/// Priorities below, down to 0, are real-time ones.
pub(crate) const FIRST_ORDINARY: Prio = 100;

/// The weight of nice 0.
pub const NICE_0_WEIGHT: u64 = 1024;

/// The weight of a nice value: each step is a factor of 1.25, so that one step moves about 10 % of a CPU between two
/// tasks, as `sched(7)` promises.
pub fn weight_of(nice: i8) -> u64 {
    const WEIGHTS: [u32; 40] = {
        let mut weights = [0u32; 40];
        let mut i = 0;
        while i < 40 {
            // 1024 * 1.25^-(i - 20) in integers, rounded.
            let step = i as i32 - 20;
            let mut value: u128 = 1024 << 64;
            let mut n = 0;
            while n < step.unsigned_abs() {
                value = if step < 0 {
                    value * 5 / 4
                } else {
                    value * 4 / 5
                };
                n += 1;
            }
            weights[i] = ((value + (1 << 63)) >> 64) as u32;
            i += 1;
        }
        weights
    };
    u64::from(WEIGHTS[usize::from((nice.clamp(-20, 19) + 20) as u8)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_on_linuxs_scale() {
        let params = |policy, nice, priority| Params {
            policy,
            nice,
            priority,
            ..Params::DEFAULT
        };
        assert_eq!(params(Policy::Deadline, 0, 0).prio(), -1);
        assert_eq!(params(Policy::Fifo, 0, 99).prio(), 0);
        assert_eq!(params(Policy::RoundRobin, 0, 1).prio(), 98);
        assert_eq!(params(Policy::Normal, -20, 0).prio(), 100);
        assert_eq!(params(Policy::Idle, 19, 0).prio(), 139);
    }

    #[test]
    fn weights_follow_the_nice_value() {
        assert_eq!(weight_of(0), 1024);
        assert_eq!(weight_of(1), 819);
        assert_eq!(weight_of(-1), 1280);
        assert_eq!(weight_of(19), 15);
        assert!(
            (weight_of(-20) as i64 - 88761).abs() < 200,
            "{}",
            weight_of(-20)
        );
        assert!((-20..19).all(|n| weight_of(n) > weight_of(n + 1)));
    }
}
