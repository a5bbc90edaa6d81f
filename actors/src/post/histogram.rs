//! A histogram of durations that any thread may add to and any thread may read, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Four buckets for each power of two of nanoseconds: a quantile is at most a fifth too high.
const STEPS: usize = 4;
/// Up to 2^40 ns, about 18 minutes; what is longer counts in the last bucket.
const BUCKETS: usize = 40 * STEPS;

/// Counts durations in logarithmic buckets. About 1.3 KiB; kept per kind of actor, not per actor.
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    max_nanos: AtomicU64,
}

/// What a histogram says at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many durations have been counted.
    pub count: u64,
    /// Half of them were no longer than this.
    pub p50: Duration,
    /// All but one in a hundred were no longer than this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), max_nanos: AtomicU64::new(0) }
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.max(STEPS as u64);
    let power = nanos.ilog2() as usize;
    let step = ((nanos >> (power - 2)) & 3) as usize;
    (power * STEPS + step).min(BUCKETS - 1)
}

/// The largest duration that falls into a bucket.
fn top_of(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    if power < 2 { STEPS as u64 } else { ((STEPS as u64 + step + 1) << (power - 2)) - 1 }
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.max_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    /// The quantiles of all that has been counted so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let max = self.max_nanos.load(Ordering::Relaxed);
        let quantile = |part: f64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank"
            )]
            let rank = (count as f64 * part).ceil() as u64;
            let mut seen = 0;
            for (bucket, in_bucket) in counts.iter().enumerate() {
                seen += in_bucket;
                if seen >= rank && *in_bucket > 0 {
                    return Duration::from_nanos(top_of(bucket).min(max));
                }
            }
            Duration::ZERO
        };
        Distribution { count, p50: quantile(0.5), p99: quantile(0.99), max: Duration::from_nanos(max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket() {
        for nanos in (0..200_u64).chain((7..40).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let bucket = bucket_of(nanos);
            assert!(nanos <= top_of(bucket), "{nanos} in {bucket}");
            if nanos > STEPS as u64 {
                assert!(nanos > top_of(bucket - 1), "{nanos} in {bucket}");
            }
        }
    }

    #[test]
    fn quantiles_are_at_most_a_quarter_too_high() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let seen = histogram.distribution();
        assert_eq!((seen.count, seen.max), (1000, Duration::from_micros(1000)));
        assert!((500..=625).contains(&seen.p50.as_micros()), "{seen:?}");
        assert!((990..=1000).contains(&seen.p99.as_micros()), "{seen:?}");
    }
}
