//! What is counted over all mailboxes of one kind of actor, or over one queue of a pool.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    METERED,
    histogram::{Histogram, LastMinute, Merged, Spread},
    now_nanos,
};

/// The sum over all mailboxes of one kind of actor, the ended ones included. It holds their limit too, which so counts
/// for all of them from the moment in which it is changed.
pub struct KindMeter {
    name: &'static str,
    limit: AtomicUsize,
    live: AtomicU64,
    restarts: AtomicU64,
    pub(super) depth: AtomicUsize,
    pub(super) depth_peak: AtomicUsize,
    pub(super) received: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) refused: AtomicU64,
    messages: Box<[MessageMeter]>,
}

/// How long messages of one kind waited, and how long the actor was busy with them.
struct MessageMeter {
    name: &'static str,
    dwell: Histogram,
    processing: Histogram,
}

/// What a [`KindMeter`] says at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindReport {
    /// The kind of actor, or the name of a pool's queue.
    pub kind: &'static str,
    /// Mailboxes of this kind that exist.
    pub live: u64,
    /// Actors of this kind that died and were (or will be, when somebody asks) replaced.
    pub restarts: u64,
    /// How many messages may wait in one of them.
    pub capacity: usize,
    /// Messages that wait now, in all of them.
    pub depth: usize,
    /// The most messages that ever waited at once in one of them.
    pub depth_peak: usize,
    /// Messages taken in.
    pub received: u64,
    /// Messages opened by their actor.
    pub processed: u64,
    /// Messages that ended unread with their actor.
    pub dropped: u64,
    /// Messages refused because the mailbox was full.
    pub refused: u64,
    /// How long the opened messages had waited.
    pub dwell: Spread,
    /// How long the actor (or the worker) was busy with them.
    pub processing: Spread,
    /// The same for each kind of message that came at least once.
    pub messages: Vec<MessageReport>,
}

/// What is known of one kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageReport {
    /// Its name.
    pub message: &'static str,
    /// How long the opened ones had waited.
    pub dwell: Spread,
    /// How long the actor was busy with them.
    pub processing: Spread,
}

impl KindMeter {
    /// A meter for the kind of that name, whose mailboxes have room for `limit` messages, which are of these kinds.
    #[must_use]
    pub fn new(name: &'static str, limit: usize, messages: &[&'static str]) -> Arc<Self> {
        let meter =
            |name: &&'static str| MessageMeter { name, dwell: Histogram::default(), processing: Histogram::default() };
        Arc::new(Self {
            name,
            limit: AtomicUsize::new(limit),
            live: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            depth: AtomicUsize::new(0),
            depth_peak: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            messages: messages.iter().map(meter).collect(),
        })
    }

    /// The name of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many messages may wait in one mailbox.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes that, for mailboxes that exist as well. What waits already stays.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// An actor of this kind has died.
    pub fn note_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Mailboxes of this kind that exist.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// How many messages wait in all of them.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn note_dwell(&self, message: u16, nanos: u64, now_nanos: u64) {
        if let Some(meter) = self.messages.get(usize::from(message)) {
            meter.dwell.add(nanos, now_nanos);
        }
    }

    pub(super) fn note_processing(&self, message: u16, nanos: u64, now_nanos: u64) {
        if let Some(meter) = self.messages.get(usize::from(message)) {
            meter.processing.add(nanos, now_nanos);
        }
    }

    /// How long all but one in a hundred messages of the last minute waited at most, without the rest of the report.
    #[must_use]
    pub fn dwell_p99(&self) -> Duration {
        let (mut dwell, now) = (LastMinute::default(), now_nanos());
        self.messages.iter().for_each(|meter| dwell.add(&meter.dwell, now));
        dwell.p99()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn report(&self) -> KindReport {
        let now = now_nanos();
        let (mut dwell, mut processing) = (Merged::default(), Merged::default());
        for meter in &self.messages {
            dwell.add(&meter.dwell, now);
            processing.add(&meter.processing, now);
        }
        let messages = self.messages.iter().map(|meter| MessageReport {
            message: meter.name,
            dwell: meter.dwell.spread(now),
            processing: meter.processing.spread(now),
        });
        let dwell = dwell.spread();
        KindReport {
            kind: self.name,
            live: self.live(),
            restarts: self.restarts.load(Ordering::Relaxed),
            capacity: self.limit(),
            depth: self.depth(),
            depth_peak: self.depth_peak.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            // Each opened message has told how long it had waited.
            processed: dwell.since_start.count,
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dwell,
            processing: processing.spread(),
            messages: messages.filter(|report| METERED && report.dwell.since_start.count > 0).collect(),
        }
    }
}
