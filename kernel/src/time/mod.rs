//! Time: clocks, deadlines, the tick.
//!
//! | module | what |
//! |---|---|
//! | `clock` | monotonic, boot and real time from the TSC |
//! | `calibrate` | how fast the TSC runs: CPUID, kvmclock, ACPI timer, HPET, PIT |
//! | `rtc` | the date at boot, from the CMOS clock |
//! | `timer` | one queue of deadlines per CPU |
//! | `tick` | the periodic tick of CPUs that do not idle |
//! | `profile` | the sampling profiler |
//!
//! All times are nanoseconds. Monotonic time starts at boot and does not stop: there is no suspend, so boot time is the
//! same clock.
//!
//! # Lock order
//! ```text
//! clock::WALL        (leaf)
//! timer's queues     (leaves, interrupts off; callbacks run after unlock)
//! profile::READER     (sleeping)
//!   profile's tables (leaves, interrupts off; a sample only tries)
//! ```

mod calibrate;
mod clock;
pub mod profile;
mod rtc;
pub mod tick;
pub mod timer;

pub use clock::{boottime_ns, monotonic_ns, realtime_ns, set_realtime, tsc_hz};

/// Finds the TSC's rate and the date. After the ACPI tables.
pub fn init() {
    calibrate::calibrate();
    clock::set_realtime(rtc::read_ns().unwrap_or(0));
}

/// A CPU's timer, on that CPU.
pub fn init_cpu() {
    crate::arch::apic::init_timer();
    timer::init_cpu();
    profile::init_cpu();
}
