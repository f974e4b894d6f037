//! The end of the machine's run: power off, restart, halt. What `reboot(2)` and the panic handler call.

/// Switches the machine off. Returns only if no way to do so works.
pub fn poweroff() {}

/// Restarts the machine. Returns only if no way to do so works.
pub fn restart() {}

/// Stops the machine with its power on.
pub fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
