//! The alternate signal stack: `sigaltstack`'s rules, and where a frame goes.

use abi::signal::{SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, StackT};
use abi::{Errno, Result};

/// The alternate stack of a thread; off when its size is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    sp: u64,
    size: u64,
    flags: i32,
}

/// Where a handler's frame starts to grow down from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackChoice {
    /// The interrupted stack, below its red zone.
    Current,
    /// The top of the alternate stack.
    Alternate(u64),
}

impl AltStack {
    /// Of a program that has set none.
    pub const NONE: Self = Self {
        sp: 0,
        size: 0,
        flags: 0,
    };
    /// Of a thread whose stack was taken away; frames tell the difference.
    pub const DISARMED: Self = Self {
        sp: 0,
        size: 0,
        flags: SS_DISABLE,
    };

    /// Whether `sp` lies on this stack; never with SS_AUTODISARM, which takes the stack away while it is in use.
    pub const fn contains(&self, sp: u64) -> bool {
        if self.flags & SS_AUTODISARM != 0 {
            return false;
        }
        self.spans(sp)
    }

    /// Whether `sp` lies within it, whatever its flags. A stack grows down: its top address belongs to it, its base not.
    pub const fn spans(&self, sp: u64) -> bool {
        sp > self.sp && sp - self.sp <= self.size
    }

    const fn state(&self, sp: u64) -> i32 {
        if self.size == 0 {
            SS_DISABLE
        } else if self.contains(sp) {
            SS_ONSTACK
        } else {
            0
        }
    }

    /// What `sigaltstack` and a frame's `uc_stack` report to a thread whose stack pointer is `sp`.
    pub const fn report(&self, sp: u64) -> StackT {
        StackT::new(
            self.sp,
            self.state(sp) | (self.flags & SS_AUTODISARM),
            self.size,
        )
    }

    /// What a frame's `uc_stack` says: the flags as they were set.
    pub const fn frame_report(&self) -> StackT {
        StackT::new(self.sp, self.flags, self.size)
    }

    /// Takes a new stack as `sigaltstack` does: EPERM while running on the old one, EINVAL for unknown flags, ENOMEM
    /// when it is smaller than `minimum`.
    pub fn set(&mut self, new: StackT, sp: u64, minimum: u64) -> Result<()> {
        if self.contains(sp) {
            return Err(Errno::EPERM);
        }
        let mode = new.ss_flags & !SS_AUTODISARM;
        if mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0 {
            return Err(Errno::EINVAL);
        }
        let unchanged =
            self.sp == new.ss_sp && self.size == new.ss_size && self.flags == new.ss_flags;
        if unchanged {
            return Ok(());
        }
        if mode == SS_DISABLE {
            *self = Self {
                sp: 0,
                size: 0,
                flags: new.ss_flags,
            };
            return Ok(());
        }
        if new.ss_size < minimum {
            return Err(Errno::ENOMEM);
        }
        *self = Self {
            sp: new.ss_sp,
            size: new.ss_size,
            flags: new.ss_flags,
        };
        Ok(())
    }

    /// Where a handler with SA_ONSTACK runs when it interrupts code at `sp`.
    pub const fn choose(&self, sp: u64) -> StackChoice {
        if self.state(sp) == 0 {
            StackChoice::Alternate(self.sp.wrapping_add(self.size))
        } else {
            StackChoice::Current
        }
    }

    /// After a frame was built: SS_AUTODISARM takes the stack away until sigreturn sets it again.
    pub fn disarm_if_asked(&mut self) {
        if self.flags & SS_AUTODISARM != 0 {
            *self = Self::DISARMED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: u64 = 2048;

    fn stack(sp: u64, size: u64, flags: i32) -> AltStack {
        let mut stack = AltStack::NONE;
        stack.set(StackT::new(sp, flags, size), 0, MIN).unwrap();
        stack
    }

    #[test]
    fn a_fresh_thread_reports_a_disabled_stack() {
        assert_eq!(
            AltStack::NONE.report(0x7fff_0000),
            StackT::new(0, SS_DISABLE, 0)
        );
    }

    #[test]
    fn set_rejects_in_linux_order() {
        let mut s = stack(0x1000, 0x2000, 0);
        assert_eq!(s.set(StackT::new(0, 99, 0), 0x2000, MIN), Err(Errno::EPERM));
        assert_eq!(
            s.set(StackT::new(0, 99, 0), 0x9000, MIN),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            s.set(StackT::new(0x5000, 0, MIN - 1), 0x9000, MIN),
            Err(Errno::ENOMEM)
        );
        assert_eq!(
            s.set(StackT::new(0x5000, SS_ONSTACK, MIN), 0x9000, MIN),
            Ok(())
        );
    }

    #[test]
    fn the_top_belongs_to_the_stack_and_the_base_does_not() {
        let s = stack(0x1000, 0x2000, 0);
        assert!(!s.contains(0x1000) && s.contains(0x1001) && s.contains(0x3000));
        assert!(!s.contains(0x3001));
    }

    #[test]
    fn a_nested_handler_stays_on_the_alternate_stack() {
        let s = stack(0x1000, 0x2000, 0);
        assert_eq!(s.choose(0x7000), StackChoice::Alternate(0x3000));
        assert_eq!(s.choose(0x2800), StackChoice::Current);
        assert_eq!(AltStack::NONE.choose(0x7000), StackChoice::Current);
    }

    #[test]
    fn autodisarm_hides_the_stack_while_it_is_used() {
        let mut s = stack(0x1000, 0x2000, SS_AUTODISARM);
        assert_eq!(s.report(0x2000).ss_flags, SS_AUTODISARM);
        assert_eq!(s.choose(0x2000), StackChoice::Alternate(0x3000));
        s.disarm_if_asked();
        assert_eq!(s, AltStack::DISARMED);
        assert_eq!(s.frame_report().ss_flags, SS_DISABLE);
        assert_eq!(AltStack::NONE.frame_report().ss_flags, 0);
    }

    #[test]
    fn disabling_forgets_the_address() {
        let mut s = stack(0x1000, 0x2000, 0);
        s.set(StackT::new(0x77, SS_DISABLE, 5), 0x9000, MIN)
            .unwrap();
        assert_eq!(s.report(0), StackT::new(0, SS_DISABLE, 0));
    }
}
