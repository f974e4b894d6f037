//! How much of a series of time stamps is unforeseen.

/// Judges time stamps of events (interrupts, wake-ups) by how their differences change.
///
/// The estimate is that of Linux: of the first, second and third differences the smallest magnitude counts, and its
/// logarithm, halved by prudence, is the number of bits, at most [`JitterMeter::MOST_BITS`]. A regular series is worth 0.
#[derive(Clone, Copy, Default)]
pub struct JitterMeter {
    stamp: u64,
    first: u64,
    second: u64,
}

impl JitterMeter {
    pub const MOST_BITS: u32 = 11;

    pub const fn new() -> Self {
        Self {
            stamp: 0,
            first: 0,
            second: 0,
        }
    }

    /// Bits that `stamp` is worth after the earlier ones.
    pub fn judge(&mut self, stamp: u64) -> u32 {
        let first = stamp.wrapping_sub(self.stamp);
        let second = first.wrapping_sub(self.first);
        let third = second.wrapping_sub(self.second);
        (self.stamp, self.first, self.second) = (stamp, first, second);
        let least = [first, second, third]
            .map(|d| (d as i64).unsigned_abs())
            .into_iter()
            .min();
        let least = least.unwrap_or(0) >> 1;
        (u64::BITS - least.leading_zeros()).min(Self::MOST_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_series_is_worth_nothing() {
        let mut meter = JitterMeter::new();
        let bits: u32 = (0..100u64)
            .map(|i| meter.judge(1_000_000 + i * 1000))
            .skip(3)
            .sum();
        assert_eq!(bits, 0);
        let mut meter = JitterMeter::new();
        let bits: u32 = (0..100u64).map(|i| meter.judge(i * i * 17)).skip(3).sum();
        assert_eq!(bits, 0, "a steady acceleration is foreseen too");
    }

    #[test]
    fn an_irregular_series_is_worth_something_but_never_much() {
        let mut meter = JitterMeter::new();
        let (mut stamp, mut state, mut sum) = (0u64, 1u64, 0);
        for _ in 0..100 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            stamp += 100_000 + (state >> 50);
            let bits = meter.judge(stamp);
            assert!(bits <= JitterMeter::MOST_BITS);
            sum += bits;
        }
        assert!(sum > 300, "{sum}");
    }
}
