//! The time that expiry goes by. A clock that jumps must delete nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The wall clock may run ahead of the monotonic one by so much before that counts as a jump: leap seconds, slewing and
/// a suspended machine's small gaps stay below it.
const TOLERANCE_SECS: u64 = 60;

/// Stands for "nothing expires".
const NEVER: u64 = u64::MAX;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER - 1).min(NEVER - 1)
}

/// Seconds since the Unix epoch.
#[must_use]
pub(crate) fn unix_secs(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Decides whether something has expired.
pub(crate) struct Clock {
    started: Instant,
    /// In nanoseconds; `NEVER` when nothing expires.
    after_nanos: AtomicU64,
    /// Wall time minus monotonic time, in seconds, when last looked at.
    lead_secs: AtomicU64,
    /// Nothing expires before this wall time.
    not_before_secs: AtomicU64,
    /// Uploads that carry no date of their own do not expire before this.
    undated_not_before_secs: AtomicU64,
}

impl Clock {
    pub(crate) fn new(after: Option<Duration>) -> Self {
        Self {
            started: Instant::now(),
            after_nanos: AtomicU64::new(after.map_or(NEVER, nanos)),
            lead_secs: AtomicU64::new(unix_secs(SystemTime::now())),
            not_before_secs: AtomicU64::new(0),
            undated_not_before_secs: AtomicU64::new(0),
        }
    }

    /// How long an upload lives after its last change; `None` when nothing expires.
    pub(crate) fn after(&self) -> Option<Duration> {
        let nanos = self.after_nanos.load(Ordering::Acquire);
        (nanos != NEVER).then(|| Duration::from_nanos(nanos))
    }

    /// Changes that. Uploads that carry a date of their own keep it until their next change; those that carry none live
    /// for a whole period from now on, and so do all when nothing expired until now.
    pub(crate) fn set_after(&self, after: Option<Duration>) {
        let before = self.after();
        if let Some(after) = after.filter(|after| before != Some(*after)) {
            let not_before_secs = self.now_secs().saturating_add(after.as_secs());
            self.undated_not_before_secs.fetch_max(not_before_secs, Ordering::Relaxed);
            if before.is_none() {
                self.not_before_secs.fetch_max(not_before_secs, Ordering::Relaxed);
            }
        }
        // Last, so that nobody sees the new period without what it spares.
        self.after_nanos.store(after.map_or(NEVER, nanos), Ordering::Release);
    }

    /// Tells what the store remembers: when wharf first saw it, and when a wharf last ran on it.
    pub(crate) fn remember(&self, first_seen_secs: u64, last_seen_secs: Option<u64>) {
        let Some(after) = self.after() else { return };
        self.undated_not_before_secs.store(first_seen_secs.saturating_add(after.as_secs()), Ordering::Relaxed);
        let now = unix_secs(SystemTime::now());
        // Much longer than an upload's life: a long stop and a wrong clock look alike, so every upload gets one more life.
        let gap_max_secs = after.as_secs().saturating_add(3600);
        if last_seen_secs.is_some_and(|last| now > last.saturating_add(gap_max_secs)) {
            self.not_before_secs.fetch_max(now.saturating_add(after.as_secs()), Ordering::Relaxed);
        }
    }

    /// Seconds since the Unix epoch; notices jumps on the way.
    pub(crate) fn now_secs(&self) -> u64 {
        self.look(unix_secs(SystemTime::now()), self.started.elapsed().as_secs())
    }

    fn look(&self, wall_secs: u64, elapsed_secs: u64) -> u64 {
        let lead = wall_secs.saturating_sub(elapsed_secs);
        let before = self.lead_secs.swap(lead, Ordering::Relaxed);
        if lead > before.saturating_add(TOLERANCE_SECS) {
            let grace_secs = self.after().unwrap_or_default().as_secs();
            self.not_before_secs.fetch_max(wall_secs.saturating_add(grace_secs), Ordering::Relaxed);
        }
        wall_secs
    }

    /// When an upload that changes now expires.
    pub(crate) fn expiry_secs(&self) -> Option<u64> {
        self.after().map(|after| self.now_secs().saturating_add(after.as_secs()))
    }

    /// Whether an upload has expired, by its own date, or by its last change when it carries none.
    pub(crate) fn is_due(&self, expires_at_secs: Option<u64>, changed: SystemTime) -> bool {
        let Some(after) = self.after() else { return false };
        let now = self.now_secs();
        let due_secs = expires_at_secs.unwrap_or_else(|| {
            let by_change = unix_secs(changed).saturating_add(after.as_secs());
            by_change.max(self.undated_not_before_secs.load(Ordering::Relaxed))
        });
        now >= due_secs.max(self.not_before_secs.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn nothing_expires_when_expiry_is_off() {
        let clock = Clock::new(None);
        assert!(!clock.is_due(Some(1), UNIX_EPOCH));
        assert_eq!(clock.expiry_secs(), None);
    }

    #[test]
    fn a_date_that_has_passed_is_due_and_a_later_one_is_not() {
        let clock = Clock::new(Some(HOUR));
        let now = clock.now_secs();
        assert!(clock.is_due(Some(now - 1), SystemTime::now()));
        assert!(!clock.is_due(Some(now + 100), UNIX_EPOCH));
        assert!(clock.is_due(None, UNIX_EPOCH));
    }

    #[test]
    fn a_forward_jump_expires_nothing_for_one_life() {
        let clock = Clock::new(Some(HOUR));
        let now = clock.now_secs();
        clock.look(now + 400 * 86_400, 0);
        assert!(!clock.is_due(Some(now - 1), UNIX_EPOCH));
    }

    #[test]
    fn an_undated_upload_lives_one_life_from_the_first_sight_of_the_store() {
        let clock = Clock::new(Some(HOUR));
        let now = clock.now_secs();
        clock.remember(now - 10, None);
        assert!(!clock.is_due(None, UNIX_EPOCH));
        clock.remember(now - 3601, None);
        assert!(clock.is_due(None, UNIX_EPOCH));
    }

    #[test]
    fn expiry_that_is_switched_on_meanwhile_expires_nothing_for_one_life() {
        let clock = Clock::new(None);
        let now = clock.now_secs();
        clock.set_after(Some(HOUR));
        assert!(!clock.is_due(Some(now - 1), UNIX_EPOCH) && !clock.is_due(None, UNIX_EPOCH));
        assert_eq!(clock.expiry_secs().map(|expiry| expiry >= now + 3600), Some(true));
        clock.set_after(None);
        assert_eq!((clock.expiry_secs(), clock.is_due(Some(1), UNIX_EPOCH)), (None, false));
    }

    #[test]
    fn a_shorter_life_counts_from_its_setting_for_what_carries_no_date() {
        let clock = Clock::new(Some(24 * HOUR));
        let now = clock.now_secs();
        assert!(clock.is_due(None, UNIX_EPOCH));
        clock.set_after(Some(HOUR));
        assert!(!clock.is_due(None, UNIX_EPOCH));
        assert!(clock.is_due(Some(now - 1), UNIX_EPOCH), "its own date has passed");
        clock.set_after(Some(HOUR));
        assert_eq!(clock.after(), Some(HOUR));
    }

    #[test]
    fn a_long_stop_gives_every_upload_one_more_life() {
        let clock = Clock::new(Some(HOUR));
        let now = clock.now_secs();
        clock.remember(1, Some(now - 7000));
        assert!(clock.is_due(Some(now - 1), UNIX_EPOCH));
        clock.remember(1, Some(now - 7300));
        assert!(!clock.is_due(Some(now - 1), UNIX_EPOCH));
    }
}
