//! A histogram of durations, since the start and over the last minute, that any thread may add to and any thread may
//! read, without a lock.
//!
//! The last minute lies in a ring of slices. Whoever finds that a slice's time is over claims it and empties it; nobody
//! waits for that. A duration that is added meanwhile may count in a neighbouring slice, and one whose thread was held up
//! in a later one: the window is a few samples off at its edges, what is counted since the start never.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
    time::Duration,
};

/// Four buckets for each power of two of nanoseconds: a quantile is at most a fifth too high.
const STEPS: usize = 4;
/// Up to 2^40 ns, about 18 minutes; what is longer counts in the last bucket.
const BUCKETS: usize = 40 * STEPS;

/// The last minute is the present slice and the five before it.
const SLICES: usize = 6;
const SLICE_NANOS: u64 = 10_000_000_000;

/// A slice that is being emptied.
const TURNING: u64 = u64::MAX;

/// Counts durations in logarithmic buckets. About 5 KiB; kept per kind of actor and message, not per actor.
pub(super) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
    max_nanos: AtomicU64,
    slices: [Slice; SLICES],
}

/// Some seconds of the last minute.
struct Slice {
    /// Which seconds; 0 before its first use.
    tick: AtomicU64,
    counts: [AtomicU32; BUCKETS],
    sum_nanos: AtomicU64,
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
    /// All of them together.
    pub sum: Duration,
}

/// The same durations over two spans of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// All that have been counted.
    pub since_start: Distribution,
    /// Those of the last minute, to some seconds.
    pub last_minute: Distribution,
}

/// Counts that were read, to be added to others.
#[derive(Clone)]
struct Sums {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
    max_nanos: u64,
}

/// Several histograms as one.
#[derive(Default)]
pub(super) struct Merged {
    since_start: Sums,
    last_minute: Sums,
}

/// The last minute of several histograms, for who looks often.
#[derive(Default)]
pub(super) struct LastMinute(Sums);

impl LastMinute {
    pub(super) fn add(&mut self, histogram: &Histogram, now_nanos: u64) {
        let tick = tick_of(now_nanos);
        histogram.slices.iter().for_each(|slice| slice.add_to(&mut self.0, tick));
    }

    pub(super) fn p99(&self) -> Duration {
        self.0.quantile(self.0.counts.iter().sum(), 0.99)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_nanos: AtomicU64::new(0),
            max_nanos: AtomicU64::new(0),
            slices: std::array::from_fn(|_| Slice::default()),
        }
    }
}

impl Default for Slice {
    fn default() -> Self {
        Self {
            tick: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU32::new(0)),
            sum_nanos: AtomicU64::new(0),
            max_nanos: AtomicU64::new(0),
        }
    }
}

impl Default for Sums {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_nanos: 0, max_nanos: 0 }
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

/// The number of the slice of time that a moment lies in; never 0.
fn tick_of(now_nanos: u64) -> u64 {
    now_nanos / SLICE_NANOS + 1
}

/// Raises a maximum; the common case only reads.
pub(super) fn raise(max: &AtomicU64, value: u64) {
    if max.load(Ordering::Relaxed) < value {
        max.fetch_max(value, Ordering::Relaxed);
    }
}

impl Slice {
    fn empty(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.sum_nanos.store(0, Ordering::Relaxed);
        self.max_nanos.store(0, Ordering::Relaxed);
    }

    /// Adds what it holds, if that is of the minute before `tick`, and is not thrown away while it is read.
    fn add_to(&self, sums: &mut Sums, tick: u64) {
        let found = self.tick.load(Ordering::Acquire);
        if found == 0 || found == TURNING || found + SLICES as u64 <= tick {
            return;
        }
        let mut read = Sums::default();
        read.counts.iter_mut().zip(&self.counts).for_each(|(sum, count)| *sum = count.load(Ordering::Relaxed).into());
        read.sum_nanos = self.sum_nanos.load(Ordering::Relaxed);
        read.max_nanos = self.max_nanos.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.tick.load(Ordering::Relaxed) == found {
            sums.add(&read);
        }
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
        self.max_nanos = self.max_nanos.max(other.max_nanos);
    }

    /// What so large a part of all, which are `count`, did not exceed.
    fn quantile(&self, count: u64, part: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = (count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, in_bucket) in self.counts.iter().enumerate() {
            seen += in_bucket;
            if seen >= rank && *in_bucket > 0 {
                return Duration::from_nanos(top_of(bucket).min(self.max_nanos));
            }
        }
        Duration::ZERO
    }

    fn distribution(&self) -> Distribution {
        let count: u64 = self.counts.iter().sum();
        Distribution {
            count,
            p50: self.quantile(count, 0.5),
            p99: self.quantile(count, 0.99),
            max: Duration::from_nanos(self.max_nanos),
            sum: Duration::from_nanos(self.sum_nanos),
        }
    }
}

impl Histogram {
    /// Counts one duration that ended at this moment.
    pub(super) fn add(&self, nanos: u64, now_nanos: u64) {
        let bucket = bucket_of(nanos);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        raise(&self.max_nanos, nanos);
        let slice = self.slice(tick_of(now_nanos));
        slice.counts[bucket].fetch_add(1, Ordering::Relaxed);
        slice.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        raise(&slice.max_nanos, nanos);
    }

    /// The slice of that time, emptied of what it held a minute ago.
    fn slice(&self, tick: u64) -> &Slice {
        let place = |tick: u64| usize::try_from(tick % SLICES as u64).unwrap_or_default();
        let slice = &self.slices[place(tick)];
        let found = slice.tick.load(Ordering::Acquire);
        if found == tick {
            return slice;
        }
        if found != TURNING {
            // One that is ahead already belongs to a thread that was not held up: what is added there is late.
            if found > tick {
                return slice;
            }
            if slice.tick.compare_exchange(found, TURNING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                fence(Ordering::Release);
                slice.empty();
                slice.tick.store(tick, Ordering::Release);
                return slice;
            }
        }
        &self.slices[place(tick + SLICES as u64 - 1)]
    }

    /// What has been counted so far.
    #[must_use]
    pub(super) fn spread(&self, now_nanos: u64) -> Spread {
        let mut merged = Merged::default();
        merged.add(self, now_nanos);
        merged.spread()
    }
}

impl Merged {
    pub(super) fn add(&mut self, histogram: &Histogram, now_nanos: u64) {
        let mut all = Sums::default();
        all.counts.iter_mut().zip(&histogram.counts).for_each(|(sum, count)| *sum = count.load(Ordering::Relaxed));
        all.sum_nanos = histogram.sum_nanos.load(Ordering::Relaxed);
        all.max_nanos = histogram.max_nanos.load(Ordering::Relaxed);
        self.since_start.add(&all);
        let tick = tick_of(now_nanos);
        histogram.slices.iter().for_each(|slice| slice.add_to(&mut self.last_minute, tick));
    }

    pub(super) fn spread(&self) -> Spread {
        Spread { since_start: self.since_start.distribution(), last_minute: self.last_minute.distribution() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: u64 = 1_000;

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
        (1..=1000).for_each(|micros| histogram.add(micros * MICRO, 1));
        let seen = histogram.spread(1);
        assert_eq!(seen.since_start, seen.last_minute);
        let seen = seen.since_start;
        assert_eq!((seen.count, seen.max), (1000, Duration::from_micros(1000)));
        assert_eq!(seen.sum, Duration::from_micros(500_500));
        assert!((500..=625).contains(&seen.p50.as_micros()), "{seen:?}");
        assert!((990..=1000).contains(&seen.p99.as_micros()), "{seen:?}");
    }

    #[test]
    fn the_last_minute_forgets_and_the_whole_does_not() {
        let histogram = Histogram::default();
        for second in 0..300_u64 {
            let now = second * 1_000_000_000;
            histogram.add(MICRO, now);
            let seen = histogram.spread(now);
            assert_eq!(seen.since_start.count, second + 1);
            let in_window = seen.last_minute.count;
            assert!(in_window == second + 1 || (51..=60).contains(&in_window), "{in_window} at {second}");
        }
        let seen = histogram.spread(400 * 1_000_000_000);
        assert_eq!((seen.since_start.count, seen.last_minute), (300, Distribution::default()));
    }

    #[test]
    fn a_long_silence_leaves_nothing_old_in_the_window() {
        let histogram = Histogram::default();
        histogram.add(9_000 * MICRO, 5 * SLICE_NANOS);
        histogram.add(MICRO, 905 * SLICE_NANOS);
        let seen = histogram.spread(905 * SLICE_NANOS).last_minute;
        assert_eq!((seen.count, seen.max), (1, Duration::from_micros(1)));
        // One that comes late counts in the slice that has taken its place.
        histogram.add(MICRO, 899 * SLICE_NANOS);
        assert_eq!(histogram.spread(905 * SLICE_NANOS).last_minute.count, 2);
    }

    #[test]
    fn threads_that_add_while_slices_turn_lose_nothing() {
        const EACH: u64 = 20_000;
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..EACH).for_each(|at| histogram.add(MICRO, at * SLICE_NANOS / 50)));
            }
            for _ in 0..200 {
                let seen = histogram.spread(EACH * SLICE_NANOS / 50);
                assert!(seen.since_start.count <= 4 * EACH);
                // All durations are the same, so whatever is torn would show in their sum.
                let seen = seen.last_minute;
                assert!(seen.max.is_zero() || seen.max == Duration::from_micros(1), "{seen:?}");
            }
        });
        // A thread that was held up counts late, so of the window only its least is known.
        let seen = histogram.spread(EACH * SLICE_NANOS / 50);
        assert_eq!((seen.since_start.count, seen.since_start.sum), (4 * EACH, Duration::from_micros(4 * EACH)));
        assert!((200..=4 * EACH).contains(&seen.last_minute.count), "{seen:?}");
    }
}
