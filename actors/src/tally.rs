//! Counters over all uploads, since the start.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{events::Interruption, post::METERED};

/// The counters. Each only grows, but for the open leases.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_received: Count,
    pub(crate) created: Count,
    pub(crate) finished: Count,
    pub(crate) terminated: Count,
    pub(crate) expired: Count,
    pub(crate) take_overs: Count,
    interruptions: [Count; Interruption::ALL.len()],
    leases_open: AtomicU64,
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// What the counters say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyReport {
    /// Bytes that clients sent under a lease and the store has taken.
    pub bytes_received: u64,
    /// Uploads that were created.
    pub created: u64,
    /// Uploads that were finished.
    pub finished: u64,
    /// Uploads that were deleted because somebody asked for it.
    pub terminated: u64,
    /// Uploads that were deleted because their time had run out.
    pub expired: u64,
    /// Leases that were granted after another had been ended for them.
    pub take_overs: u64,
    /// Leases that ended before their time, by cause; all causes, in the order of [`Interruption::ALL`].
    pub interruptions: Vec<(Interruption, u64)>,
    /// Leases that are open now.
    pub leases_open: u64,
    /// Owners that live now.
    pub owners_live: u64,
    /// Owners that died of a panic.
    pub owners_died: u64,
}

/// A lease that is open.
pub(crate) struct OpenLease(Arc<Tally>);

impl Drop for OpenLease {
    fn drop(&mut self) {
        self.0.leases_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Count {
    pub(crate) fn add(&self, more: u64) {
        if METERED {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    pub(crate) fn interrupted(&self, cause: Interruption) {
        self.interruptions[cause as usize].add(1);
    }

    /// Counts a lease as open until the drop of what is returned.
    pub(crate) fn lease_opened(self: &Arc<Self>) -> OpenLease {
        self.leases_open.fetch_add(1, Ordering::Relaxed);
        OpenLease(Arc::clone(self))
    }

    /// The counters, joined with what is counted elsewhere of the owners.
    pub(crate) fn report(&self, owners_live: u64, owners_died: u64) -> TallyReport {
        let interruptions = Interruption::ALL.iter().zip(&self.interruptions);
        TallyReport {
            bytes_received: self.bytes_received.get(),
            created: self.created.get(),
            finished: self.finished.get(),
            terminated: self.terminated.get(),
            expired: self.expired.get(),
            take_overs: self.take_overs.get(),
            interruptions: interruptions.map(|(cause, count)| (*cause, count.get())).collect(),
            leases_open: self.leases_open.load(Ordering::Relaxed),
            owners_live,
            owners_died,
        }
    }
}
