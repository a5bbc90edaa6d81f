//! What is counted of hooks, read without asking any of their actors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{EventKind, HookFailure};
use crate::{
    post::Gauge,
    storage::{OperationMeter, OperationReport},
};

const FAILURES: [&str; HookFailure::ALL.len()] = {
    let mut names = [""; HookFailure::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = HookFailure::ALL[at].name();
        at += 1;
    }
    names
};

/// The counters that the pool's actors write to.
pub(super) struct Meters {
    /// The calls that wait for a runner.
    pub(super) waiting: Arc<Gauge>,
    /// How many calls are under way.
    pub(super) under_way: AtomicUsize,
    /// How many runners there ought to be, and how many there are.
    pub(super) wanted: AtomicUsize,
    pub(super) runners: AtomicUsize,
    /// Runners that died and were replaced.
    pub(super) deaths: AtomicU64,
    /// Events in the outbox: noted, and owed.
    pub(super) noted: AtomicUsize,
    pub(super) owed: AtomicUsize,
    /// When the oldest that is owed happened, in milliseconds since the Unix epoch; 0 when none is.
    oldest_ms: AtomicU64,
    /// Events that were dropped because there was no room for them.
    pub(super) dropped: AtomicU64,
    /// Whether events are being dropped, as far as the log knows.
    pub(super) is_dropping: AtomicBool,
    calls: [OperationMeter<{ FAILURES.len() }>; EventKind::ALL.len()],
}

impl Meters {
    /// All at zero. `queue` is how many calls may wait.
    pub(super) fn new(queue: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Gauge::new("hook", "hook", queue),
            under_way: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            runners: AtomicUsize::new(0),
            deaths: AtomicU64::new(0),
            noted: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
            oldest_ms: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_dropping: AtomicBool::new(false),
            calls: EventKind::ALL.map(|kind| OperationMeter::new(kind.name())),
        })
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>, kind: EventKind) -> Run {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.calls[kind as usize].begin();
        Run { meters: Arc::clone(self), kind }
    }

    /// A call that could not even begin.
    pub(super) fn refused(&self, kind: EventKind, failure: HookFailure) {
        self.calls[kind as usize].end(0, Some(failure as usize));
    }

    /// When the oldest event that is owed happened.
    pub(super) fn note_oldest(&self, happened: Option<SystemTime>) {
        let since = happened.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        self.oldest_ms.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago the oldest event that is owed happened.
    pub(super) fn oldest_age(&self, now: SystemTime) -> Option<Duration> {
        let happened = Some(self.oldest_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0)?;
        // A clock that was set back since then makes it as new as can be.
        Some(now.duration_since(UNIX_EPOCH + Duration::from_millis(happened)).unwrap_or_default())
    }

    /// The calls of each kind, with their times and failures.
    pub(super) fn calls(&self) -> Vec<OperationReport> {
        self.calls.iter().map(|meter| meter.report("hooks", &FAILURES)).collect()
    }
}

/// A call under way, until this is dropped.
pub(super) struct Run {
    meters: Arc<Meters>,
    kind: EventKind,
}

impl Run {
    /// It has come to its end.
    pub(super) fn end(self, took_nanos: u64, failure: Option<HookFailure>) {
        self.meters.calls[self.kind as usize].end(took_nanos, failure.map(|failure| failure as usize));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.meters.under_way.fetch_sub(1, Ordering::Relaxed);
        self.meters.calls[self.kind as usize].leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_calls_and_failures() {
        let meters = Meters::new(1);
        let run = meters.begin(EventKind::PostFinish);
        meters.refused(EventKind::PreCreate, HookFailure::Overloaded);
        let of = |kind: EventKind| meters.calls().into_iter().find(|of| of.operation == kind.name()).unwrap();
        assert_eq!((of(EventKind::PostFinish).count, of(EventKind::PostFinish).under_way), (0, 1));
        run.end(1_000_000, Some(HookFailure::TimedOut));
        let ended = of(EventKind::PostFinish);
        assert_eq!((ended.count, ended.under_way, ended.sum), (1, 0, Duration::from_millis(1)));
        assert_eq!(ended.failures, [("timed_out", 1)]);
        assert_eq!(of(EventKind::PreCreate).failures, [("overloaded", 1)]);
        assert_eq!((meters.calls().len(), of(EventKind::PostCreate).count), (EventKind::ALL.len(), 0));
    }

    #[test]
    fn the_oldest_that_is_owed_grows_older() {
        let meters = Meters::new(1);
        let now = UNIX_EPOCH + Duration::from_millis(1_795_800_000_123);
        assert_eq!(meters.oldest_age(now), None);
        meters.note_oldest(Some(now));
        let ages = [now + Duration::from_secs(5), now - Duration::from_secs(5)].map(|at| meters.oldest_age(at));
        assert_eq!(ages, [Some(Duration::from_secs(5)), Some(Duration::ZERO)]);
        meters.note_oldest(None);
        assert_eq!(meters.oldest_age(now), None);
    }
}
