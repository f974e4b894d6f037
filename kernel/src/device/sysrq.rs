//! The magic commands of `/proc/sysrq-trigger`, for a system of which nothing else can be had: those of Linux's that
//! need neither disks nor the tasks' co-operation.

use super::power;
use crate::log;

/// Carries out one command; an unknown one shows which there are.
///
/// # Panics
/// On `c`: that is what it is for. Kept out of its callers, so that a backtrace names it.
#[inline(never)]
pub fn handle(key: u8) {
    match key {
        b'0'..=b'9' => {
            ::log::info!("sysrq: Changing Loglevel");
            log::set_console_level(key - b'0');
            ::log::info!("sysrq: Loglevel set to {}", key - b'0');
        }
        b'b' => {
            ::log::info!("sysrq: Resetting");
            power::restart()
        }
        b'c' => {
            ::log::info!("sysrq: Trigger a crash");
            panic!("sysrq triggered crash")
        }
        b'o' => {
            ::log::info!("sysrq: Power Off");
            power::poweroff();
        }
        _ => ::log::info!("sysrq: HELP : loglevel(0-9) reboot(b) crash(c) poweroff(o)"),
    }
}
