//! `/dev/rtc0`: the calendar clock, its alarm, and its interrupts once a second and periodically.
//!
//! | module | what |
//! |---|---|
//! | `calendar` | Linux's `struct rtc_time` |
//! | `alarm` | [`Rtc`]: setting the clock and its alarm, what happened, the interrupt |
//! | `periodic` | the periodic interrupt, which a timer of the kernel makes, as on Linux |
//! | `file` | the device file |
//! | `show` | `/proc/driver/rtc` and sysfs |
//!
//! # Lock order
//! ```text
//! Rtc::setting (sleeping)
//!   Rtc::state (interrupts off)
//!     the clock's ports, the CPU's queue of deadlines
//! ```
//!
//! # Invariants
//! - The clock may interrupt for an alarm exactly while `State::alarm_on`, for updates while `State::updates`. Both
//!   change together under `state`, and whoever reads the clock's events there hands on all of them.
//! - An alarm that is on lies ahead by less than a day: the clock knows its time of day alone.
//! - Readers are woken after `state` is released.
//!
//! Reference: rtc(4); Linux `Documentation/admin-guide/rtc.rst`.

mod alarm;
mod calendar;
mod file;
mod periodic;
mod show;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use drivers::hal::Ports;
use drivers::rtc::{CmosClock, PORT_BASE, PORT_COUNT};
use spin::Once;

use super::acpi::tables;
use super::irq;
use crate::arch::irq::isa_to_gsi;
use crate::fs::{chrdev, devtmpfs};
use crate::sched;

use alarm::Rtc;
pub use show::proc_text;

/// What Linux gives the first class that asks for a number at run time, which is this one on a PC.
const MAJOR: u32 = 254;
/// Its line of the legacy controllers.
const LINE: u8 = 8;

static RTC: Once<Arc<Rtc>> = Once::new();

/// Whether an alarm is to switch the machine on.
pub fn is_to_wake() -> bool {
    RTC.get()
        .is_some_and(|rtc| rtc.may_wake.load(Ordering::Relaxed) && rtc.alarm().1)
}

/// Makes the node, if there is such a clock and it holds a date.
pub fn init() {
    let fadt = tables::get().fadt.unwrap_or_default();
    if fadt.no_cmos_rtc {
        return;
    }
    let clock = CmosClock::new(Ports::new(PORT_BASE, PORT_COUNT), fadt.century);
    let rtc = match Rtc::new(clock) {
        Ok(rtc) => RTC.call_once(|| rtc),
        Err(error) => return log::warn!("rtc_cmos: {error:?}"),
    };
    let (gsi, trigger, polarity) = isa_to_gsi(LINE);
    if let Err(error) = irq::request_line(gsi, trigger, polarity, "rtc0", rtc.clone()) {
        return log::warn!("rtc_cmos: no interrupt: {error:?}");
    }
    let teller = rtc.clone();
    if let Err(error) = sched::spawn_kernel_thread("rtc", move || teller.tell_forever()) {
        return log::warn!("rtc_cmos: no thread: {error:?}");
    }
    chrdev::register(MAJOR, 0..1, "rtc", file::open);
    devtmpfs::create_char("rtc0", MAJOR, 0, 0o600);
    if let Err(error) = devtmpfs::create_symlink("rtc", "rtc0").and_then(|()| show::init(rtc)) {
        log::warn!("rtc_cmos: not shown in sysfs: {error:?}");
    }
}
