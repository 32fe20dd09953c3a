//! Many figures of one thing.

use serde::Serialize;

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    /// Half of them took no longer.
    pub p50: f64,
    /// All but one of a hundred took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

// === impl Spread ===

impl Spread {
    /// Of times in microseconds.
    pub fn of(mut all_us: Vec<u64>) -> Self {
        all_us.sort_unstable();
        let at = |percent: usize| {
            let place = (all_us.len() * percent).div_ceil(100).saturating_sub(1);
            all_us.get(place).map_or(0.0, |us| *us as f64 / 1000.0)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// The one in the middle.
pub fn median(all: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_that_were_measured() {
        let spread = Spread::of((1..=1000).rev().map(|ms| ms * 1000).collect());
        assert_eq!((spread.p50, spread.p99, spread.max), (500.0, 990.0, 1000.0));
        let one = Spread::of(vec![7000]);
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of(Vec::new()).max, 0.0);
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(median([]), 0.0);
    }
}
