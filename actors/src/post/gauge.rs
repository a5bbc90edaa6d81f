//! What is counted of one mailbox, or of one queue of a pool.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{KindMeter, METERED, histogram::raise, now_nanos};

/// The meter of one mailbox. It also bounds it: [`Gauge::admit`] refuses at the limit.
pub struct Gauge {
    kind: Arc<KindMeter>,
    depth: AtomicUsize,
    depth_peak: AtomicUsize,
    received: AtomicU64,
    processed: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    dwell_max_nanos: AtomicU64,
    processing_max_nanos: AtomicU64,
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
    /// The longest that the actor was busy with one.
    pub processing_max: Duration,
    /// How long the oldest waiting message has waited; `None` when none waits.
    pub oldest_age: Option<Duration>,
}

/// More slots than this are not kept for one mailbox; deeper ones show the age of the oldest message among the newest
/// so many.
const SLOTS_MAX: usize = 1024;

impl Gauge {
    /// A gauge of its own kind, for a queue of which there is one only and whose messages are all of one kind.
    #[must_use]
    pub fn new(kind: &'static str, message: &'static str, limit: usize) -> Arc<Self> {
        Self::of(&KindMeter::new(kind, limit, &[message]))
    }

    /// A gauge that also counts into its kind, and has its limit.
    #[must_use]
    pub fn of(kind: &Arc<KindMeter>) -> Arc<Self> {
        kind.enter();
        Arc::new(Self {
            kind: Arc::clone(kind),
            depth: AtomicUsize::new(0),
            depth_peak: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dwell_max_nanos: AtomicU64::new(0),
            processing_max_nanos: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            waiting: (0..kind.limit().clamp(1, SLOTS_MAX)).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// The meter of this gauge's kind.
    #[must_use]
    pub fn kind(&self) -> &Arc<KindMeter> {
        &self.kind
    }

    /// Takes a message of the kind of this number in, or refuses it at the limit.
    pub fn admit(self: &Arc<Self>, message: u16) -> Option<Stamp> {
        let limit = self.kind.limit();
        let admitted =
            self.depth.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |depth| (depth < limit).then_some(depth + 1));
        match admitted {
            Ok(depth) => Some(self.stamp(depth + 1, message)),
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.kind.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Takes a message in whatever the depth.
    pub fn admit_unbounded(self: &Arc<Self>, message: u16) -> Stamp {
        let depth = self.depth.fetch_add(1, Ordering::AcqRel) + 1;
        self.stamp(depth, message)
    }

    fn stamp(self: &Arc<Self>, depth: usize, message: u16) -> Stamp {
        if !METERED {
            return Stamp { gauge: Arc::clone(self), slot: 0, message, since_nanos: 0, opened_nanos: 0 };
        }
        raise_count(&self.depth_peak, depth);
        self.kind.depth.fetch_add(1, Ordering::Relaxed);
        raise_count(&self.kind.depth_peak, depth);
        self.kind.received.fetch_add(1, Ordering::Relaxed);
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of at most SLOTS_MAX")]
        let slot = (number % self.waiting.len() as u64) as u32;
        let since_nanos = now_nanos();
        self.waiting[slot as usize].store(since_nanos, Ordering::Relaxed);
        Stamp { gauge: Arc::clone(self), slot, message, since_nanos, opened_nanos: 0 }
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
        GaugeReport {
            depth: self.depth(),
            limit: self.kind.limit(),
            depth_peak: self.depth_peak.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            processed: self.processed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dwell_max: Duration::from_nanos(self.dwell_max_nanos.load(Ordering::Relaxed)),
            processing_max: Duration::from_nanos(self.processing_max_nanos.load(Ordering::Relaxed)),
            oldest_age: self.oldest_age(),
        }
    }

    /// How many messages wait now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Acquire)
    }

    /// How long the oldest waiting message has waited; `None` when none waits.
    #[must_use]
    pub fn oldest_age(&self) -> Option<Duration> {
        if self.depth() == 0 {
            return None;
        }
        let oldest = self.waiting.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|since| *since > 0).min();
        oldest.map(|since| Duration::from_nanos(now_nanos().saturating_sub(since)))
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.kind.name(), self.report())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.kind.leave();
    }
}

/// As [`raise`].
fn raise_count(max: &AtomicUsize, value: usize) {
    if max.load(Ordering::Relaxed) < value {
        max.fetch_max(value, Ordering::Relaxed);
    }
}

/// Goes with one message: from its coming in to its opening it waits, from then on to the drop of this the actor is busy
/// with it. Dropped without having been opened, the message has been dropped itself.
#[derive(Debug)]
pub struct Stamp {
    gauge: Arc<Gauge>,
    slot: u32,
    message: u16,
    since_nanos: u64,
    /// 0 until it is opened.
    opened_nanos: u64,
}

impl Stamp {
    /// The actor has begun with the message: it waits no more.
    pub fn open(&mut self) {
        if self.opened_nanos > 0 {
            return;
        }
        if !METERED {
            self.opened_nanos = 1;
            self.gauge.depth.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        self.opened_nanos = now_nanos();
        let dwell_nanos = self.opened_nanos.saturating_sub(self.since_nanos);
        self.leave();
        self.gauge.processed.fetch_add(1, Ordering::Relaxed);
        raise(&self.gauge.dwell_max_nanos, dwell_nanos);
        self.gauge.kind.note_dwell(self.message, dwell_nanos, self.opened_nanos);
    }

    fn leave(&self) {
        self.gauge.depth.fetch_sub(1, Ordering::AcqRel);
        if !METERED {
            return;
        }
        self.gauge.kind.depth.fetch_sub(1, Ordering::Relaxed);
        // Another message may have taken the slot in a mailbox deeper than its slots; then it is that one's now.
        let slot = &self.gauge.waiting[self.slot as usize];
        let _ = slot.compare_exchange(self.since_nanos, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        if self.opened_nanos == 0 {
            self.leave();
            self.gauge.dropped.fetch_add(1, Ordering::Relaxed);
            self.gauge.kind.dropped.fetch_add(1, Ordering::Relaxed);
        } else if METERED {
            let now = now_nanos();
            let busy_nanos = now.saturating_sub(self.opened_nanos);
            raise(&self.gauge.processing_max_nanos, busy_nanos);
            self.gauge.kind.note_processing(self.message, busy_nanos, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_refuses_at_its_limit_and_takes_again_when_one_left() {
        let gauge = Gauge::new("test", "message", 2);
        let (first, second) = (gauge.admit(0), gauge.admit(0));
        assert!(first.is_some() && second.is_some() && gauge.admit(0).is_none());
        drop(first);
        assert!(gauge.admit(0).is_some());
        let report = gauge.report();
        assert_eq!((report.depth, report.depth_peak, report.refused, report.dropped), (1, 2, 1, 2));
    }

    #[test]
    fn the_limit_holds_among_threads() {
        let gauge = Gauge::new("test", "message", 10);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let held: Vec<_> = (0..1000).filter_map(|_| gauge.admit(0)).collect();
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
        let gauge = Gauge::new("test", "message", 4);
        assert_eq!(gauge.report().oldest_age, None);
        let mut oldest = gauge.admit_unbounded(0);
        let newer = gauge.admit_unbounded(0);
        let (with_both, newer_since) = (gauge.report().oldest_age, newer.since_nanos);
        assert!(with_both >= Some(Duration::from_nanos(newer_since - oldest.since_nanos)));
        oldest.open();
        let report = gauge.report();
        assert_eq!((report.depth, report.processed), (1, 1));
        assert!(report.oldest_age.is_some());
        drop((oldest, newer));
        assert_eq!(gauge.report().oldest_age, None);
        assert_eq!(gauge.kind().report().dwell.since_start.count, 1);
    }
    #[test]
    fn a_limit_that_is_changed_counts_for_mailboxes_that_exist() {
        let kind = KindMeter::new("test", 1, &["message"]);
        let gauges = [Gauge::of(&kind), Gauge::of(&kind)];
        let held: Vec<_> = gauges.iter().map(|gauge| gauge.admit(0).unwrap()).collect();
        assert!(gauges[0].admit(0).is_none());
        kind.set_limit(3);
        let more: Vec<_> = gauges.iter().flat_map(|gauge| [gauge.admit(0), gauge.admit(0), gauge.admit(0)]).collect();
        assert_eq!(more.iter().flatten().count(), 4);
        kind.set_limit(1);
        drop(held);
        assert!(gauges[1].admit(0).is_none());
        assert_eq!((gauges[1].report().depth, gauges[1].report().limit), (2, 1));
    }

    #[test]
    fn an_actor_is_busy_from_opening_a_message_to_its_end() {
        let kind = KindMeter::new("test", 4, &["short", "long"]);
        let gauge = Gauge::of(&kind);
        let (mut short, mut long) = (gauge.admit_unbounded(0), gauge.admit_unbounded(1));
        drop(gauge.admit_unbounded(1));
        long.open();
        short.open();
        drop(short);
        drop(long);
        let report = kind.report();
        let [first, second] = &report.messages[..] else { panic!("{report:?}") };
        assert_eq!((first.message, second.message), ("short", "long"));
        // The long one was begun before the short one and ended after it.
        assert!(second.processing.since_start.max > first.processing.since_start.max, "{report:?}");
        assert_eq!(gauge.report().processing_max, second.processing.since_start.max);
        assert_eq!((report.processing.last_minute.count, report.dwell.last_minute.count, report.dropped), (2, 2, 1));
        assert_eq!(report.processing.since_start.max, second.processing.since_start.max);
    }
}
