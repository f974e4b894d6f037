//! Medians, spread, and the interval of a ratio.

/// How many times the bootstrap draws.
const DRAWS: usize = 4000;
/// From where on a figure counts as unstable: standard deviation by mean.
const UNSTABLE: f64 = 0.10;

/// The middle value; of an even number of values, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Whether values vary by more than a tenth.
pub fn unstable(values: &[f64]) -> bool {
    if values.len() < 2 {
        return false;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (count - 1.0);
    variance.sqrt() > UNSTABLE * mean
}

/// The 95 % interval of `median(above) / median(below)`: both are drawn again and again from what
/// was measured (percentile bootstrap). The same values give the same interval.
pub fn ratio_interval(above: &[f64], below: &[f64]) -> (f64, f64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| median(&random.draw(above)) / median(&random.draw(below)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: f64| ratios[((ratios.len() - 1) as f64 * part).round() as usize];
    (at(0.025), at(0.975))
}

/// The geometric mean, the one that suits ratios.
pub fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| {
        (sum + value.ln(), count + 1)
    });
    (count != 0).then(|| (sum / f64::from(count)).exp())
}

/// Marsaglia's xorshift: drawing needs no better.
struct Random(u64);

impl Random {
    fn draw(&mut self, values: &[f64]) -> Vec<f64> {
        (0..values.len())
            .map(|_| values[self.below(values.len())])
            .collect()
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_interval_holds_the_ratio() {
        let (low, high) = ratio_interval(
            &[20.0, 21.0, 19.0, 20.5, 20.0],
            &[10.0, 10.1, 9.9, 10.0, 10.0],
        );
        assert!(
            low <= 2.0 && 2.0 <= high && low > 1.8 && high < 2.2,
            "{low} {high}"
        );
        assert_eq!(ratio_interval(&[20.0], &[10.0]), (2.0, 2.0));
    }

    #[test]
    fn spread_and_means() {
        assert!(unstable(&[10.0, 15.0, 10.0]));
        assert!(!unstable(&[10.0, 10.2, 9.9]));
        let mean = geometric_mean([2.0, 8.0].into_iter()).unwrap();
        assert!((mean - 4.0).abs() < 1e-9);
        assert_eq!(geometric_mean(std::iter::empty()), None);
    }
}
