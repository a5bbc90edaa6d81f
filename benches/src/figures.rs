//! Durations and what is said of many of them.

use std::time::Duration;

use serde::Serialize;

/// What is said of many durations, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Quantiles {
    /// The quantiles of durations that are all known: exact ones, not those of buckets.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let nearest = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100).max(1);
            durations.get(rank - 1).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
        };
        Self { count: durations.len(), p50_ms: nearest(50), p99_ms: nearest(99), max_ms: nearest(100) }
    }
}

/// The value in the middle: one that was measured. Of an even number it is the upper of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_a_value_that_was_measured() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([7.0, 9.0].into_iter()), Some(9.0));
        assert_eq!(median(std::iter::empty()), None);
    }

    fn of(millis: impl Iterator<Item = u64>) -> Quantiles {
        Quantiles::of(millis.map(Duration::from_millis).collect())
    }

    #[test]
    fn a_quantile_is_the_duration_of_the_nearest_rank() {
        let quantiles = Quantiles { count: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(of((1..=200).rev()), quantiles);
        assert_eq!(of([3].into_iter()), Quantiles { count: 1, p50_ms: 3.0, p99_ms: 3.0, max_ms: 3.0 });
        assert_eq!(of([1, 2, 3].into_iter()).p50_ms, 2.0);
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(of([].into_iter()), Quantiles::default());
    }
}
