//! `/proc/ironbark/locks`: what the checks of a debug kernel have counted of each class of locks.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::Result;
use ksync::check;

use super::text::Text;
use crate::time;

/// A line for each place in the source that makes locks, those that were waited for longest first. Times are
/// microseconds.
pub fn show(out: &mut Text) -> Result<()> {
    out.bytes(b"acquired contended wait_us wait_max_us hold_us hold_max_us allocations made_at\n")?;
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut classes: Vec<_> = check::classes().collect();
    classes
        .sort_by_key(|(_, stats)| core::cmp::Reverse((of(&stats.wait_total), of(&stats.acquired))));
    for (site, stats) in classes {
        write!(out, "{} {} ", of(&stats.acquired), of(&stats.contended))?;
        for ticks in [
            &stats.wait_total,
            &stats.wait_max,
            &stats.hold_total,
            &stats.hold_max,
        ] {
            write!(out, "{} ", microseconds(of(ticks)))?;
        }
        writeln!(
            out,
            "{} {}:{}",
            of(&stats.allocations),
            site.file(),
            site.line()
        )?;
    }
    Ok(())
}

fn microseconds(ticks: u64) -> u64 {
    let hz = u128::from(time::tsc_hz().max(1));
    (u128::from(ticks) * 1_000_000 / hz) as u64
}
