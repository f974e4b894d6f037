//! What the checks of locking must know: which CPU and which task this is, and how to show what is wrong.

use core::fmt;

use ksync::check::{self, Context, Held, Trace, Violation};

use super::{PerCpu, try_current};
use crate::arch::{backtrace, cpu};
use crate::ksyms;

static HELD: PerCpu<Held> = crate::per_cpu!(Held::new());

struct Kernel;

/// From here on locks are checked. Once the boot CPU knows itself.
pub fn start() {
    check::install(&Kernel);
}

impl Context for Kernel {
    fn cpu(&self) -> &'static Held {
        HELD.here()
    }

    fn task(&self) -> *const Held {
        try_current().map_or(core::ptr::null(), |task| &raw const task.held)
    }

    fn in_interrupt(&self) -> bool {
        cpu::in_interrupt()
    }

    fn backtrace(&self, trace: &mut Trace) {
        let mut slots = trace.iter_mut();
        backtrace::walk(trace_len(), |address| {
            if let Some(slot) = slots.next() {
                *slot = address;
            }
        });
    }

    fn violation(&self, violation: &Violation) -> ! {
        check::disable();
        panic!("{violation}{}", Before(&violation.before))
    }
}

fn trace_len() -> usize {
    Trace::default().len()
}

/// The stack of an earlier moment, if there is one.
struct Before<'a>(&'a Trace);

impl fmt::Display for Before<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses = self
            .0
            .iter()
            .take_while(|address| **address != 0)
            .peekable();
        if addresses.peek().is_some() {
            write!(f, "\nThe contrary was first seen at:")?;
        }
        for address in addresses {
            match ksyms::find(*address) {
                Some((name, offset)) => write!(f, "\n  {address:016x} {name}+{offset:#x}")?,
                None => write!(f, "\n  {address:016x}")?,
            }
        }
        Ok(())
    }
}
