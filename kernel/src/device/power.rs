//! The end of the machine's run: power off, restart, halt. What `reboot(2)` and the panic handler call.

use super::acpi::sleep;
use crate::arch;

/// Switches the machine off. Returns only if no way to do so works. Waits; for tasks only.
pub fn poweroff() {
    sleep::enter_s5(true);
    log::warn!("reboot: the machine does not switch off");
}

/// Restarts the machine.
pub fn restart() -> ! {
    arch::power::reset()
}

/// Stops the machine with its power on.
pub fn halt() -> ! {
    arch::irq::disable();
    arch::cpu::halt_forever()
}
