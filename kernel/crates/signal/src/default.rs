//! What a signal does to a process that has not said otherwise.

use abi::signal::{SigSet, Signo};

/// The effect of `SIG_DFL` (signal(7), "Standard signals").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    Terminate,
    /// Terminate with a core dump where the limits let one be written.
    Core,
    Ignore,
    Stop,
    /// SIGCONT: continuing happens when it is sent; taking it does nothing.
    Continue,
}

const CORE: SigSet = SigSet::EMPTY
    .with(Signo::QUIT)
    .with(Signo::ILL)
    .with(Signo::TRAP)
    .with(Signo::ABRT)
    .with(Signo::FPE)
    .with(Signo::SEGV)
    .with(Signo::BUS)
    .with(Signo::SYS)
    .with(Signo::XCPU)
    .with(Signo::XFSZ);

impl DefaultAction {
    pub const fn of(signo: Signo) -> Self {
        if SigSet::STOPS.contains(signo) {
            Self::Stop
        } else if signo.get() == Signo::CONT.get() {
            Self::Continue
        } else if SigSet::IGNORED_BY_DEFAULT.contains(signo) {
            Self::Ignore
        } else if CORE.contains(signo) {
            Self::Core
        } else {
            Self::Terminate
        }
    }

    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::Terminate | Self::Core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_the_action_of_signal_7() {
        use DefaultAction::*;
        let table = [
            (1, Terminate),
            (2, Terminate),
            (3, Core),
            (4, Core),
            (5, Core),
            (6, Core),
            (7, Core),
            (8, Core),
            (9, Terminate),
            (10, Terminate),
            (11, Core),
            (12, Terminate),
            (13, Terminate),
            (14, Terminate),
            (15, Terminate),
            (16, Terminate),
            (17, Ignore),
            (18, Continue),
            (19, Stop),
            (20, Stop),
            (21, Stop),
            (22, Stop),
            (23, Ignore),
            (24, Core),
            (25, Core),
            (26, Terminate),
            (27, Terminate),
            (28, Ignore),
            (29, Terminate),
            (30, Terminate),
            (31, Core),
            (32, Terminate),
            (64, Terminate),
        ];
        for (n, action) in table {
            assert_eq!(
                DefaultAction::of(Signo::new(n).unwrap()),
                action,
                "signal {n}"
            );
        }
    }
}
