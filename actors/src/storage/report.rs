//! What a store tells of itself: its operations and how long they take, and the threads and workers below it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::post::{Gauge, KindReport, METERED, MailboxReport, PoolReport};

/// The upper bounds of the buckets of an operation's times. What takes longer counts in none of them.
pub const BOUNDS: [Duration; 14] = [
    Duration::from_micros(100),
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
];

const BOUNDS_NANOS: [u64; BOUNDS.len()] = {
    let (mut nanos, mut place) = ([0; BOUNDS.len()], 0);
    while place < BOUNDS.len() {
        nanos[place] = BOUNDS[place].as_secs() * 1_000_000_000 + BOUNDS[place].subsec_nanos() as u64;
        place += 1;
    }
    nanos
};

/// The store and all below it at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Sums over all mailboxes of a kind, and over the queues of pools.
    pub kinds: Vec<KindReport>,
    /// The mailboxes of actors below the store, and the queues of its pools.
    pub mailboxes: Vec<MailboxReport>,
    /// The pools.
    pub pools: Vec<PoolReport>,
    /// The operations that were asked for.
    pub operations: Vec<OperationReport>,
    /// Calls that were tried again, by what had become of the try before.
    pub retries: Vec<(&'static str, u64)>,
}

impl StoreReport {
    /// Adds what another part of the store tells.
    pub fn extend(&mut self, other: Self) {
        self.kinds.extend(other.kinds);
        self.mailboxes.extend(other.mailboxes);
        self.pools.extend(other.pools);
        self.operations.extend(other.operations);
        self.retries.extend(other.retries);
    }
}

/// How long the messages of a kind wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The kind of mailbox, or the queue.
    pub kind: &'static str,
    /// What all but one in a hundred did not exceed in the last minute.
    pub dwell_p99: Duration,
    /// How long the oldest that still waits has done so.
    pub oldest_age: Option<Duration>,
}

impl Wait {
    /// Of a queue that is the only one of its kind.
    pub(crate) fn of(gauge: &Gauge) -> Self {
        let kind = gauge.kind();
        Self { kind: kind.name(), dwell_p99: kind.dwell_p99(), oldest_age: gauge.oldest_age() }
    }

    pub(crate) fn in_report(report: &StoreReport) -> Vec<Self> {
        let oldest = |kind: &str| {
            let mailboxes = report.mailboxes.iter().filter(|mailbox| mailbox.kind == kind);
            mailboxes.filter_map(|mailbox| mailbox.gauge.oldest_age).max()
        };
        let of = |report: &KindReport| Self {
            kind: report.kind,
            dwell_p99: report.dwell.last_minute.p99,
            oldest_age: oldest(report.kind),
        };
        report.kinds.iter().map(of).collect()
    }
}

/// One kind of operation: of a store, or a call to what lies behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationReport {
    /// Who carries it out: `disk`, `s3` (what owners ask of that store) or `s3_api` (single calls, by S3's names).
    pub store: &'static str,
    /// Its name.
    pub operation: &'static str,
    /// How often it has come to its end.
    pub count: u64,
    /// How often it failed, by what was wrong; each at least once.
    pub failures: Vec<(&'static str, u64)>,
    /// How many took no longer than each of [`BOUNDS`].
    pub buckets: [u64; BOUNDS.len()],
    /// The times of all.
    pub sum: Duration,
    /// How many are under way.
    pub under_way: u64,
}

/// The meter of one kind of operation, with counters for this many kinds of failure.
pub(crate) struct OperationMeter<const FAILURES: usize> {
    operation: &'static str,
    /// How many fell between a bound and the one before; the last: what took longer.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    failures: [AtomicU64; FAILURES],
    sum_nanos: AtomicU64,
    under_way: AtomicU64,
}

impl<const FAILURES: usize> OperationMeter<FAILURES> {
    pub(crate) fn new(operation: &'static str) -> Self {
        Self {
            operation,
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            failures: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_nanos: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// It is under way no more, and nothing is known of its end.
    pub(crate) fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// It has taken so many nanoseconds, and failed in this way.
    pub(crate) fn end(&self, took_nanos: u64, failure: Option<usize>) {
        if !METERED {
            return;
        }
        let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < took_nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(took_nanos, Ordering::Relaxed);
        if let Some(count) = failure.and_then(|failure| self.failures.get(failure)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted so far; `names` are those of the failures.
    pub(crate) fn report(&self, store: &'static str, names: &[&'static str; FAILURES]) -> OperationReport {
        let mut count = 0;
        let mut buckets = [0; BOUNDS.len()];
        for (place, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(cumulative) = buckets.get_mut(place) {
                *cumulative = count;
            }
        }
        let failures = names.iter().zip(&self.failures).map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        OperationReport {
            store,
            operation: self.operation,
            count,
            failures: failures.filter(|(_, count)| *count > 0).collect(),
            buckets,
            sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
            under_way: self.under_way.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_in_the_bucket_whose_bound_they_do_not_exceed() {
        assert!(BOUNDS.is_sorted());
        let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap();
        let meter = OperationMeter::<2>::new("write");
        meter.begin();
        for took in
            [Duration::ZERO, BOUNDS[1], BOUNDS[1] + Duration::from_nanos(1), BOUNDS[13], Duration::from_secs(60)]
        {
            meter.end(nanos(took), None);
        }
        meter.end(nanos(BOUNDS[0]), Some(1));
        let report = meter.report("disk", &["full", "failed"]);
        assert_eq!((report.count, report.under_way, report.failures), (6, 1, vec![("failed", 1)]));
        assert_eq!((report.buckets[0], report.buckets[1], report.buckets[2], report.buckets[13]), (2, 3, 4, 5));
        assert!(report.buckets.is_sorted());
        assert!(report.sum > Duration::from_secs(70));
    }
}
