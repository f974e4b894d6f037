//! What kernel this is, what Ctrl-Alt-Del does, and what a number is that `/proc/sys` sets.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::{Errno, Result};

/// What `uname -s` prints: programs take other systems' paths on any other word.
pub const SYSNAME: &str = "Linux";
/// The Linux release whose ABI this is; libraries compare it with what they need.
pub const RELEASE: &str = concat!("6.12.0-ironbark-", env!("CARGO_PKG_VERSION"));
/// The build, as `uname -v` shows it.
pub const VERSION: &str = concat!("#1 SMP ", env!("BUILD_ID"));

/// The release for programs that know no kernel newer than 2.6.x (personality UNAME26): 6.y becomes 2.6.(60 + y), and
/// what follows the numbers stays.
pub fn release_as_26() -> String {
    let end = RELEASE
        .char_indices()
        .find(|&(at, c)| {
            let dots = RELEASE.get(..=at).unwrap_or_default().matches('.').count();
            dots >= 3 || !(c.is_ascii_digit() || c == '.')
        })
        .map_or(RELEASE.len(), |(at, _)| at);
    let minor = RELEASE
        .split('.')
        .nth(1)
        .and_then(|digits| digits.parse().ok());
    let rest = RELEASE.get(end..).unwrap_or_default();
    format!("2.6.{}{rest}", 60 + minor.unwrap_or(0u32))
}

static CTRL_ALT_DEL_REBOOTS: AtomicBool = AtomicBool::new(true);

/// A number that `/proc/sys` shows and sets.
pub struct Setting {
    value: AtomicUsize,
    least: usize,
    most: usize,
}

impl Setting {
    /// One that begins as `value`, and may be set from `least` to `most`.
    pub const fn new(value: usize, (least, most): (usize, usize)) -> Self {
        Self {
            value: AtomicUsize::new(value),
            least,
            most,
        }
    }

    /// What it is now.
    #[inline]
    pub fn get(&self) -> usize {
        self.value.load(Ordering::Relaxed)
    }

    /// Sets it.
    ///
    /// # Errors
    /// `EINVAL` beyond what it may be.
    pub fn set(&self, value: i64) -> Result<()> {
        let value = usize::try_from(value).map_err(|_| Errno::EINVAL)?;
        if !(self.least..=self.most).contains(&value) {
            return Err(Errno::EINVAL);
        }
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether Ctrl-Alt-Del restarts at once; otherwise init gets SIGINT.
pub fn ctrl_alt_del_reboots() -> bool {
    CTRL_ALT_DEL_REBOOTS.load(Ordering::Relaxed)
}

/// Sets what Ctrl-Alt-Del does.
pub fn set_ctrl_alt_del_reboots(reboots: bool) {
    CTRL_ALT_DEL_REBOOTS.store(reboots, Ordering::Relaxed);
}
