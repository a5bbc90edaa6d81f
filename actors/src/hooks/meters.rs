//! What is counted of hooks, read without asking any of their actors.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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
