//! How long requests take: in fixed buckets since the start, for Prometheus, and finer over the last minute, for people.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use wharf_actors::post::now_nanos;

/// The upper bounds of the buckets. Requests take as long as their clients send, so they go far.
pub(crate) const BOUNDS: [Duration; 16] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1800),
];

/// The last minute in so many pieces: what is told of it is right to five seconds.
const SLICES: usize = 12;
const SLICE_NANOS: u64 = 5_000_000_000;

/// Four steps to each doubling from 64 microseconds on: what is told is at most a fifth too long.
const STEPS: usize = 4 * 28;
const FIRST_MICROS: u64 = 64;

const BOUNDS_MICROS: [u64; BOUNDS.len()] = {
    let (mut micros, mut place) = ([0; BOUNDS.len()], 0);
    while place < BOUNDS.len() {
        micros[place] = BOUNDS[place].as_secs() * 1_000_000 + BOUNDS[place].subsec_micros() as u64;
        place += 1;
    }
    micros
};

/// How long the requests of one method took.
#[derive(Default)]
pub(crate) struct Latency {
    /// How many fell between a bound and the one before; the last: what took longer than all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
    slices: [Slice; SLICES],
}

struct Slice {
    /// Which five seconds of the clock, plus one; 0 before the first use.
    tick: AtomicU64,
    counts: [AtomicU32; STEPS],
    max_micros: AtomicU64,
}

impl Default for Slice {
    fn default() -> Self {
        Self {
            tick: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU32::new(0)),
            max_micros: AtomicU64::new(0),
        }
    }
}

/// What a [`Latency`] says of all since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LatencyReport {
    /// How many took no longer than each of [`BOUNDS`].
    pub(crate) buckets: [u64; BOUNDS.len()],
    pub(crate) count: u64,
    pub(crate) sum: Duration,
}

/// What it says of the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) count: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

/// The step of a duration: where the quarter of its doubling ends.
fn step_of(micros: u64) -> usize {
    let scaled = micros / FIRST_MICROS;
    if scaled == 0 {
        return 0;
    }
    let doubling = scaled.ilog2();
    // The two bits behind the leading one.
    let quarter = (micros >> (doubling + FIRST_MICROS.ilog2() - 2)) & 3;
    usize::try_from(u64::from(doubling) * 4 + quarter + 1).unwrap_or(STEPS).min(STEPS - 1)
}

/// The longest duration of a step.
fn end_of(step: usize) -> u64 {
    let (doubling, quarter) = ((step / 4) as u32, (step % 4) as u64);
    (FIRST_MICROS << doubling) / 4 * (4 + quarter)
}

impl Latency {
    /// A request took so long, and ended at that moment.
    pub(crate) fn add(&self, took_nanos: u64, now_nanos: u64) {
        let micros = took_nanos / 1000;
        // A bucket has what took no longer than its bound: a bound and a part of a microsecond are in the next.
        let least = took_nanos.div_ceil(1000);
        self.buckets[BOUNDS_MICROS.partition_point(|bound| *bound < least)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        let tick = now_nanos / SLICE_NANOS + 1;
        let slice = &self.slices[usize::try_from(tick % SLICES as u64).unwrap_or(0)];
        if slice.tick.load(Ordering::Acquire) != tick && slice.tick.swap(tick, Ordering::AcqRel) != tick {
            // Whoever comes at the same moment may be lost from the last minute, never from the sums.
            slice.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
            slice.max_micros.store(0, Ordering::Relaxed);
        }
        slice.counts[step_of(micros)].fetch_add(1, Ordering::Relaxed);
        if slice.max_micros.load(Ordering::Relaxed) < micros {
            slice.max_micros.fetch_max(micros, Ordering::Relaxed);
        }
    }

    pub(crate) fn report(&self) -> LatencyReport {
        let mut count = 0;
        let mut buckets = [0; BOUNDS.len()];
        for (place, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(cumulative) = buckets.get_mut(place) {
                *cumulative = count;
            }
        }
        LatencyReport { buckets, count, sum: Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)) }
    }

    pub(crate) fn last_minute(&self) -> Recent {
        self.last_minute_at(now_nanos())
    }

    fn last_minute_at(&self, now_nanos: u64) -> Recent {
        let now = now_nanos / SLICE_NANOS + 1;
        let is_recent = |slice: &&Slice| {
            let tick = slice.tick.load(Ordering::Acquire);
            tick != 0 && now.saturating_sub(tick) < SLICES as u64
        };
        let (mut counts, mut max) = ([0_u64; STEPS], 0);
        for slice in self.slices.iter().filter(is_recent) {
            let read = counts.iter_mut().zip(&slice.counts);
            read.for_each(|(sum, count)| *sum += u64::from(count.load(Ordering::Relaxed)));
            max = max.max(slice.max_micros.load(Ordering::Relaxed));
        }
        let count: u64 = counts.iter().sum();
        let quantile = |percent: u64| {
            let (wanted, mut seen) = ((count * percent).div_ceil(100), 0_u64);
            let step = counts.iter().position(|here| {
                seen += here;
                seen >= wanted
            });
            Duration::from_micros(step.map_or(0, end_of).min(max))
        };
        if count == 0 {
            return Recent::default();
        }
        Recent { count, p50: quantile(50), p99: quantile(99), max: Duration::from_micros(max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_one_another_and_hold_what_falls_into_them() {
        for step in 1..STEPS - 1 {
            let (end, before) = (end_of(step), end_of(step - 1));
            assert!(before < end && (end - before) * 5 <= end + 4, "{step}: {before} to {end}");
            assert_eq!((step_of(end - 1), step_of(before)), (step, step), "{before} to {end}");
        }
        assert_eq!((step_of(0), step_of(63), step_of(64), step_of(u64::MAX)), (0, 0, 1, STEPS - 1));
    }

    #[test]
    fn the_last_minute_forgets_and_the_sums_do_not() {
        const MS: u64 = 1_000_000;
        const SEC: u64 = 1_000 * MS;
        let latency = Latency::default();
        for millis in 1..=100 {
            latency.add(millis * MS, 2 * SEC);
        }
        let recent = latency.last_minute_at(58 * SEC);
        assert_eq!((recent.count, recent.max), (100, Duration::from_millis(100)));
        for (told, millis) in [(recent.p50, 50), (recent.p99, 99)] {
            let told = told.as_micros() as u64;
            assert!((millis * 1000..=millis * 1250).contains(&told), "{told} for {millis} ms");
        }
        assert_eq!(latency.last_minute_at(60 * SEC), Recent::default());
        latency.add(4000 * SEC, 62 * SEC);
        assert_eq!(latency.last_minute_at(62 * SEC).count, 1);
        let report = latency.report();
        assert_eq!((report.count, report.buckets[1], report.buckets[15]), (101, 1, 100));
        assert_eq!(report.sum, Duration::from_millis(5050) + Duration::from_secs(4000));
        latency.add(MS + 1, 62 * SEC);
        assert_eq!((latency.report().buckets[1], latency.report().buckets[2]), (1, 3));
    }
}
