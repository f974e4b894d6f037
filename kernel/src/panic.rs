//! The end: a panic shows why on every console and stops the machine, or resets it after `panic=` seconds.
//!
//! Some foreign code panics on bad input (the ACPI interpreter). [`contain`] runs such code so that its panic becomes an
//! error: the panic handler abandons the code's stack frames. What it held is leaked; it must hold no locks of others.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arrayvec::ArrayString;

use crate::arch::{self, backtrace, catch, cpu, early};
use crate::{boot, ksyms, log};

const NOBODY: u32 = u32::MAX;
/// The CPU that panicked first; others stop.
static OWNER: AtomicU32 = AtomicU32::new(NOBODY);
/// How deep this CPU's panic is in itself.
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// Log lines shown with a panic.
const LAST_LINES: u64 = 12;
/// So many that the reason and the registers above them are still on a screen of 25 lines.
const MAX_FRAMES: usize = 16;

/// Whether some CPU is panicking.
pub fn is_panicking() -> bool {
    OWNER.load(Ordering::Relaxed) != NOBODY
}

/// Runs `body`; `None` if it panicked.
pub fn contain<R>(body: impl FnOnce() -> R) -> Option<R> {
    catch::run(body)
}

/// Every console, now.
struct Consoles;

impl Write for Consoles {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        log::emergency_write(text.as_bytes());
        Ok(())
    }
}

/// The serial port alone, for a panic inside the panic.
struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        early::serial_write(text.as_bytes());
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if catch::is_active() {
        ::log::error!("contained: {}", info.message());
        catch::abandon();
    }
    arch::irq::disable();
    #[cfg(debug_assertions)]
    ksync::check::disable();
    let here = cpu::current_id().0;
    match OWNER.compare_exchange(NOBODY, here, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        Err(owner) if owner == here => {}
        Err(_) => cpu::halt_forever(),
    }
    match DEPTH.fetch_add(1, Ordering::Relaxed) {
        0 => report(info),
        1 => {
            let _ = writeln!(Serial, "\npanic while panicking: {info}");
        }
        _ => {}
    }
    finish()
}

/// Ends the boot for a reason that lies outside of the kernel: one line on every console, without the backtrace that
/// would push it off the screen. Then as after a panic.
pub fn give_up(reason: fmt::Arguments<'_>) -> ! {
    arch::irq::disable();
    #[cfg(debug_assertions)]
    ksync::check::disable();
    let here = cpu::current_id().0;
    if OWNER
        .compare_exchange(NOBODY, here, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        cpu::halt_forever();
    }
    DEPTH.fetch_add(1, Ordering::Relaxed);
    arch::ipi::stop_others();
    let _ = writeln!(Consoles, "\nKernel panic - not syncing: {reason}");
    finish()
}

fn report(info: &PanicInfo<'_>) {
    arch::ipi::stop_others();
    let mut out = Consoles;
    let ns = crate::time::monotonic_ns();
    let _ = writeln!(out, "\nLast log lines:");
    log::try_last_lines(LAST_LINES, |time, text| {
        let _ = writeln!(
            out,
            "[{:5}.{:06}] {text}",
            time / 1_000_000_000,
            time / 1000 % 1_000_000
        );
    });
    let _ = writeln!(
        out,
        "\nKernel panic on CPU {} at {}.{:06} s",
        cpu::current_id().0,
        ns / 1_000_000_000,
        ns / 1000 % 1_000_000
    );
    let _ = writeln!(out, "Reason: {}", info.message());
    if let Some(at) = info.location() {
        let _ = writeln!(out, "Where: {}:{}", at.file(), at.line());
    }
    let _ = writeln!(
        out,
        "Ironbark {} build {}",
        env!("CARGO_PKG_VERSION"),
        crate::BUILD_ID
    );
    let _ = writeln!(out, "Backtrace:");
    backtrace::walk(MAX_FRAMES, |address| {
        let _ = match ksyms::find(address) {
            Some((name, offset)) => writeln!(out, "  {address:016x} {name}+{offset:#x}"),
            None => writeln!(out, "  {address:016x}"),
        };
    });
}

/// Halts, or resets as `panic=` says: after so many seconds, at once if negative, never if 0.
fn finish() -> ! {
    let mut note: ArrayString<64> = ArrayString::new();
    let wait = boot::try_info()
        .and_then(|info| info.cmdline.value("panic"))
        .and_then(|v| v.parse::<i64>().ok());
    match wait {
        Some(seconds) if seconds != 0 => {
            let seconds = seconds.max(0) as u64;
            let _ = write!(note, "Reset in {seconds} s.");
            let _ = writeln!(Consoles, "{note}");
            let end =
                crate::time::monotonic_ns().saturating_add(seconds.saturating_mul(1_000_000_000));
            while crate::time::monotonic_ns() < end {
                cpu::relax();
            }
            arch::power::reset()
        }
        _ => {
            let _ = writeln!(Consoles, "Halted.");
            cpu::halt_forever()
        }
    }
}
