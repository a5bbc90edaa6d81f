//! A pace that bytes must not exceed. Whoever wants to read some is told from when on; nothing is refused, and nothing that
//! was not used can be saved up.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const NANOS: u128 = 1_000_000_000;

/// When the next bytes may be read, in nanoseconds since some beginning.
#[derive(Debug, Default)]
pub(super) struct Pace {
    free_nanos: AtomicU64,
}

/// How long so many bytes take.
fn nanos(bytes: u64, per_sec: u64) -> u64 {
    u64::try_from(u128::from(bytes) * NANOS / u128::from(per_sec.max(1))).unwrap_or(u64::MAX)
}

impl Pace {
    /// Takes the next free time for so many bytes: when it begins.
    pub(super) fn reserve(&self, bytes: u64, per_sec: u64, now: Duration) -> Duration {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let long = nanos(bytes, per_sec);
        let next = |free: u64| free.max(now).saturating_add(long);
        let free = self.free_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| Some(next(free)));
        Duration::from_nanos(free.unwrap_or_else(|free| free).max(now))
    }

    /// Gives back the time of bytes that were not read; so others come sooner.
    pub(super) fn give_back(&self, bytes: u64, per_sec: u64) {
        let long = nanos(bytes, per_sec);
        let earlier = |free: u64| Some(free.saturating_sub(long));
        // It never refuses.
        let _ = self.free_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
    }

    /// Whether all reserved time is over.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        u128::from(self.free_nanos.load(Ordering::Relaxed)) <= now.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_after_the_one_before() {
        let (pace, now) = (Pace::default(), Duration::from_secs(5));
        let at = |pace: &Pace, now| pace.reserve(500, 1000, now);
        assert_eq!(at(&pace, now), now);
        assert_eq!(at(&pace, now), now + Duration::from_millis(500));
        assert_eq!(at(&pace, now), now + Duration::from_millis(1000));
        pace.give_back(250, 1000);
        assert_eq!(at(&pace, now), now + Duration::from_millis(1250));
        assert!(!pace.is_over(now + Duration::from_millis(1749)) && pace.is_over(now + Duration::from_millis(1750)));
        // What was not used in time is gone.
        let later = now + Duration::from_secs(60);
        assert_eq!((at(&pace, later), at(&pace, later)), (later, later + Duration::from_millis(500)));
    }

    #[test]
    fn extremes_neither_overflow_nor_divide_by_zero() {
        let pace = Pace::default();
        assert_eq!(pace.reserve(u64::MAX, 0, Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.reserve(1, u64::MAX, Duration::MAX), Duration::from_nanos(u64::MAX));
        pace.give_back(u64::MAX, 1);
        assert!(pace.is_over(Duration::ZERO));
    }

    proptest::proptest! {
        /// Readers that begin when they may, and read less than they asked for at times, stay within the pace.
        #[test]
        fn bytes_stay_within_the_pace(reads in proptest::collection::vec((1_u64..5_000, 0_u64..5_000, 0_u64..300), 1..200)) {
            let (pace, per_sec) = (Pace::default(), 10_000_u64);
            let (mut now, mut read, mut largest, mut last) = (Duration::ZERO, 0, 0, Duration::ZERO);
            for (wanted, used, pause_ms) in reads {
                now += Duration::from_millis(pause_ms);
                let at = pace.reserve(wanted, per_sec, now);
                let used = used.min(wanted);
                pace.give_back(wanted - used, per_sec);
                (read, largest, last) = (read + used, wanted.max(largest), last.max(at));
                let allowed = u128::from(per_sec) * last.as_nanos() / NANOS + u128::from(largest) + 1;
                proptest::prop_assert!(u128::from(read) <= allowed, "{read} by {last:?}, {allowed} allowed");
            }
        }
    }
}
