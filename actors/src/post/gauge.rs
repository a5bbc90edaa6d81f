//! What is counted of one mailbox, or of one queue of a pool, and of all mailboxes of a kind.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Distribution, Histogram};

/// All times in gauges are nanoseconds since this moment, so that they fit an atomic.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Never 0, which stands for "nothing waits here".
fn now_nanos() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The sum over all mailboxes of one kind of actor, the ended ones included.
#[derive(Default)]
pub struct KindMeter {
    name: &'static str,
    live: AtomicU64,
    depth: AtomicUsize,
    depth_peak: AtomicUsize,
    received: AtomicU64,
    processed: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    dwell: Histogram,
}

/// What a [`KindMeter`] says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindReport {
    /// The kind of actor, or the name of a pool's queue.
    pub kind: &'static str,
    /// Mailboxes of this kind that exist.
    pub live: u64,
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
    pub dwell: Distribution,
}

impl KindMeter {
    /// A meter for the kind of that name.
    #[must_use]
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, ..Self::default() })
    }

    /// What has been counted so far.
    #[must_use]
    pub fn report(&self) -> KindReport {
        KindReport {
            kind: self.name,
            live: self.live.load(Ordering::Relaxed),
            depth: self.depth.load(Ordering::Relaxed),
            depth_peak: self.depth_peak.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            processed: self.processed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dwell: self.dwell.distribution(),
        }
    }
}

/// The meter of one mailbox. It also bounds it: [`Gauge::admit`] refuses at the limit.
pub struct Gauge {
    kind: Arc<KindMeter>,
    limit: usize,
    depth: AtomicUsize,
    depth_peak: AtomicUsize,
    received: AtomicU64,
    processed: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    dwell_max_nanos: AtomicU64,
    retired: AtomicBool,
    /// When the waiting messages came in; 0 where none waits. A message takes the slot of its number modulo the length,
    /// so the slots suffice as long as the depth does not exceed them.
    waiting: Box<[AtomicU64]>,
}

/// What a [`Gauge`] says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaugeReport {
    /// Messages that wait now.
    pub depth: usize,
    /// How many may wait.
    pub limit: usize,
    /// The most that ever waited at once.
    pub depth_peak: usize,
    /// Messages taken in.
    pub received: u64,
    /// Messages opened.
    pub processed: u64,
    /// Messages that ended unread.
    pub dropped: u64,
    /// Messages refused at the limit.
    pub refused: u64,
    /// The longest that an opened message had waited.
    pub dwell_max: Duration,
    /// How long the oldest waiting message has waited; `None` when none waits.
    pub oldest_age: Option<Duration>,
}

/// More slots than this are not kept for one mailbox; deeper ones show the age of the oldest message among the newest
/// so many.
const SLOTS_MAX: usize = 1024;

impl Gauge {
    /// A gauge of its own kind, for a queue of which there is one only.
    #[must_use]
    pub fn new(kind: &'static str, limit: usize) -> Arc<Self> {
        Self::of(&KindMeter::new(kind), limit)
    }

    /// A gauge that also counts into its kind.
    #[must_use]
    pub fn of(kind: &Arc<KindMeter>, limit: usize) -> Arc<Self> {
        kind.live.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            kind: Arc::clone(kind),
            limit,
            depth: AtomicUsize::new(0),
            depth_peak: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dwell_max_nanos: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            waiting: (0..limit.clamp(1, SLOTS_MAX)).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// The meter of this gauge's kind.
    #[must_use]
    pub fn kind(&self) -> &Arc<KindMeter> {
        &self.kind
    }

    /// Takes a message in, or refuses it at the limit.
    pub fn admit(self: &Arc<Self>) -> Option<Stamp> {
        let admitted = self
            .depth
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |depth| (depth < self.limit).then_some(depth + 1));
        match admitted {
            Ok(depth) => Some(self.stamp(depth + 1)),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.kind.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Takes a message in whatever the depth.
    pub fn admit_unbounded(self: &Arc<Self>) -> Stamp {
        let depth = self.depth.fetch_add(1, Ordering::AcqRel) + 1;
        self.stamp(depth)
    }

    fn stamp(self: &Arc<Self>, depth: usize) -> Stamp {
        self.depth_peak.fetch_max(depth, Ordering::Relaxed);
        self.kind.depth.fetch_add(1, Ordering::Relaxed);
        self.kind.depth_peak.fetch_max(depth, Ordering::Relaxed);
        self.kind.received.fetch_add(1, Ordering::Relaxed);
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize")]
        let slot = (number % self.waiting.len() as u64) as usize;
        let since_nanos = now_nanos();
        self.waiting[slot].store(since_nanos, Ordering::Relaxed);
        Stamp { gauge: Arc::clone(self), slot, since_nanos, opened: false }
    }

    /// The actor comes to its orderly end: a message that it did not answer may be sent to its successor.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether the actor has come to its orderly end. A closed mailbox without it belongs to an actor that died.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// What has been counted so far.
    #[must_use]
    pub fn report(&self) -> GaugeReport {
        let depth = self.depth.load(Ordering::Acquire);
        let oldest = self.waiting.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|since| *since > 0).min();
        GaugeReport {
            depth,
            limit: self.limit,
            depth_peak: self.depth_peak.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            processed: self.processed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dwell_max: Duration::from_nanos(self.dwell_max_nanos.load(Ordering::Relaxed)),
            oldest_age: oldest.map(|since| Duration::from_nanos(now_nanos().saturating_sub(since))),
        }
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.kind.name, self.report())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.kind.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Marks one message as waiting. Its drop takes the message off the gauge: as processed when it was opened, as dropped
/// when not.
#[derive(Debug)]
pub struct Stamp {
    gauge: Arc<Gauge>,
    slot: usize,
    since_nanos: u64,
    opened: bool,
}

impl Stamp {
    /// The actor has begun with the message: it waits no more.
    pub fn open(&mut self) {
        if std::mem::replace(&mut self.opened, true) {
            return;
        }
        let dwell_nanos = now_nanos().saturating_sub(self.since_nanos);
        self.leave();
        self.gauge.processed.fetch_add(1, Ordering::Relaxed);
        self.gauge.dwell_max_nanos.fetch_max(dwell_nanos, Ordering::Relaxed);
        self.gauge.kind.processed.fetch_add(1, Ordering::Relaxed);
        self.gauge.kind.dwell.add(Duration::from_nanos(dwell_nanos));
    }

    fn leave(&self) {
        self.gauge.depth.fetch_sub(1, Ordering::AcqRel);
        self.gauge.kind.depth.fetch_sub(1, Ordering::Relaxed);
        // Another message may have taken the slot in a mailbox deeper than its slots; then it is that one's now.
        let _ =
            self.gauge.waiting[self.slot].compare_exchange(self.since_nanos, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        if !self.opened {
            self.leave();
            self.gauge.dropped.fetch_add(1, Ordering::Relaxed);
            self.gauge.kind.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_refuses_at_its_limit_and_takes_again_when_one_left() {
        let gauge = Gauge::new("test", 2);
        let (first, second) = (gauge.admit(), gauge.admit());
        assert!(first.is_some() && second.is_some() && gauge.admit().is_none());
        drop(first);
        assert!(gauge.admit().is_some());
        let report = gauge.report();
        assert_eq!((report.depth, report.depth_peak, report.refused, report.dropped), (1, 2, 1, 2));
    }

    #[test]
    fn the_limit_holds_among_threads() {
        let gauge = Gauge::new("test", 10);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let held: Vec<_> = (0..1000).filter_map(|_| gauge.admit()).collect();
                        let count = held.len();
                        std::mem::forget(held);
                        count
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((admitted, gauge.report().depth, gauge.report().refused), (10, 10, 3990));
    }

    #[test]
    fn the_oldest_message_is_seen_without_asking() {
        let gauge = Gauge::new("test", 4);
        assert_eq!(gauge.report().oldest_age, None);
        let mut oldest = gauge.admit_unbounded();
        let newer = gauge.admit_unbounded();
        let (with_both, newer_since) = (gauge.report().oldest_age, newer.since_nanos);
        assert!(with_both >= Some(Duration::from_nanos(newer_since - oldest.since_nanos)));
        oldest.open();
        let report = gauge.report();
        assert_eq!((report.depth, report.processed), (1, 1));
        assert!(report.oldest_age.is_some());
        drop((oldest, newer));
        assert_eq!(gauge.report().oldest_age, None);
        assert_eq!(gauge.kind().report().dwell.count, 1);
    }
}
