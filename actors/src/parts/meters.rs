//! What is counted of the pool, read without asking any of its actors.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{
    post::{Gauge, GaugeReport},
    storage::s3::retry::RetryReport,
};

/// The pool at one moment.
#[derive(Debug, Clone)]
pub struct PartsReport {
    /// The parts that were handed over and have not begun.
    pub waiting: GaugeReport,
    /// Parts that wait for room among those, in the hands of their askers.
    pub without_room: usize,
    /// Parts in the hands of an uploader.
    pub under_way: usize,
    /// Parts stored so far.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Parts that failed for good.
    pub failed: u64,
    /// Tries after a first one, by what was wrong before.
    pub retries: RetryReport,
    /// Uploaders that died and were replaced.
    pub deaths: u64,
    /// The dispatcher's mailbox.
    pub dispatcher: GaugeReport,
    /// The mailboxes of the uploaders, those that are leaving included.
    pub uploaders: Vec<GaugeReport>,
}

/// The counters that the pool's actors write to.
pub(super) struct Meters {
    pub(super) waiting: Arc<Gauge>,
    pub(super) without_room: Arc<AtomicUsize>,
    pub(super) under_way: Arc<AtomicUsize>,
    pub(super) stored: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) deaths: AtomicU64,
    /// How many uploaders there ought to be.
    pub(super) wanted: AtomicUsize,
}

impl Meters {
    /// All at zero. `room` is how many parts may wait.
    pub(super) fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Gauge::new("part", "part", room),
            without_room: Arc::default(),
            under_way: Arc::default(),
            stored: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
            wanted: AtomicUsize::new(0),
        })
    }
}

/// One more, until it is dropped.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn into(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
