//! How a pool of workers, or a single mailbox, stands: what their meters say, by name.

use super::{Gauge, GaugeReport};

/// A pool at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolReport {
    /// Its name.
    pub pool: &'static str,
    /// Workers that there are, those that are leaving included.
    pub workers: usize,
    /// Workers that there ought to be.
    pub workers_wanted: usize,
    /// Workers that have something in hand.
    pub busy: usize,
    /// What waits for a worker.
    pub queue: GaugeReport,
    /// Askers that wait for room in the queue.
    pub without_room: usize,
    /// Workers that died and were replaced.
    pub restarts: u64,
}

/// One mailbox at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxReport {
    /// Its kind.
    pub kind: &'static str,
    /// Whose it is: the number of a worker, the id of an upload; empty where there is one only.
    pub name: String,
    /// What its gauge says.
    pub gauge: GaugeReport,
}

impl MailboxReport {
    /// What that gauge says; the mailbox, or queue, is called so among those of its kind.
    #[must_use]
    pub fn of(gauge: &Gauge, name: String) -> Self {
        Self { kind: gauge.kind().name(), name, gauge: gauge.report() }
    }
}
