//! Switching the machine off: sleep state S5.
//!
//! The values to write come from the byte code; where it has no answer, from a look at the tables' bytes; where that
//! finds nothing, from what is known of the machine.

use spin::Once;

use super::{aml, tables};
use crate::arch;
use crate::device::rtc;

/// What S5 is on this machine, found once.
fn types(may_ask: bool) -> (u8, u8) {
    static FOUND: Once<(u8, u8)> = Once::new();
    if let Some(&known) = FOUND.get() {
        return known;
    }
    let asked = if may_ask { aml::sleep_types(5) } else { None };
    match asked.or_else(|| aml::scanned_sleep_types(5)) {
        Some(found) => *FOUND.call_once(|| found),
        // QEMU's machines and most others use 0 where they do not say; VirtualBox says 5.
        None => (0, 0),
    }
}

/// Switches off. Returns if the machine does not obey. `may_ask` is false where no task may wait, as in a panic.
pub fn enter_s5(may_ask: bool) {
    let Some(fadt) = tables::try_get().and_then(|tables| tables.fadt.as_ref()) else {
        return;
    };
    if fadt.pm1a_control == 0 {
        return;
    }
    let (a, b) = types(may_ask);
    super::events::enable_acpi();
    if may_ask && rtc::is_to_wake() {
        super::events::let_clock_wake();
    }
    arch::power::enter_sleep(fadt.pm1a_control, a, fadt.pm1b_control, b);
}
