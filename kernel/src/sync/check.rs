//! What the checks of locking must know: which CPU and which task this is, and how to show what is wrong.

use core::fmt::{self, Write};
use core::panic::Location;
use core::sync::atomic::{AtomicU64, Ordering};

use ksync::check::{self, Context, Held, Trace, Violation};

use super::{PerCpu, try_current};
use crate::arch::{backtrace, cpu, early};
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

    /// A panic, unless the command line says `lockcheck=warn`: then each is told once on the serial port, which takes no
    /// lock, and it goes on.
    fn violation(&self, violation: &Violation) {
        if crate::boot::info().cmdline.value("lockcheck") != Some("warn") {
            check::disable();
            panic!("{violation}{}", Before(&violation.before));
        }
        if !is_first(violation) {
            return;
        }
        let mut here = Trace::default();
        self.backtrace(&mut here);
        let _ = writeln!(
            Serial,
            "lockcheck: {violation}, at:{}{}",
            Stack(&here),
            Before(&violation.before)
        );
    }
}

struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        early::serial_write(text.as_bytes());
        Ok(())
    }
}

/// Whether such a violation has not been told yet: sums of what it is and which locks it is of.
fn is_first(violation: &Violation) -> bool {
    static TOLD: [AtomicU64; 128] = [const { AtomicU64::new(0) }; 128];
    let of = |site: Option<&Location<'_>>| {
        site.map_or(0, |site| {
            u64::from(site.line()) << 10 ^ site.file().len() as u64
        })
    };
    let sum =
        1 | (violation.what as u64) << 1 | of(violation.lock) << 4 | of(violation.other) << 30;
    for slot in &TOLD {
        match slot.compare_exchange(0, sum, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(known) if known == sum => return false,
            Err(_) => {}
        }
    }
    false
}

fn trace_len() -> usize {
    Trace::default().len()
}

/// The stack of an earlier moment, if there is one.
struct Before<'a>(&'a Trace);

impl fmt::Display for Before<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0[0] == 0 {
            return Ok(());
        }
        write!(f, "\nThe contrary was first seen at:{}", Stack(self.0))
    }
}

/// A line for each address.
struct Stack<'a>(&'a Trace);

impl fmt::Display for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for address in self.0.iter().take_while(|address| **address != 0) {
            match ksyms::find(*address) {
                Some((name, offset)) => write!(f, "\n  {address:016x} {name}+{offset:#x}")?,
                None => write!(f, "\n  {address:016x}")?,
            }
        }
        Ok(())
    }
}
