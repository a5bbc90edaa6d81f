//! The settings that owners and the facade look up each time, because they may change while all goes on. Plain numbers:
//! each is right by itself at any moment.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// Stands for "none".
const NONE: u64 = u64::MAX;

/// See the module.
pub(crate) struct Live {
    max_size: AtomicU64,
    idle_owner_nanos: AtomicU64,
    patience_nanos: AtomicU64,
    expire_interval_nanos: AtomicU64,
    slow_after_nanos: AtomicU64,
    concatenation_unfinished: AtomicBool,
}

/// The same as plain values.
pub(crate) struct Values {
    pub(crate) max_size: Option<u64>,
    pub(crate) idle_owner: Duration,
    pub(crate) patience: Duration,
    pub(crate) expire_interval: Option<Duration>,
    pub(crate) slow_after: Duration,
    pub(crate) concatenation_unfinished: bool,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NONE - 1).min(NONE - 1)
}

impl Live {
    pub(crate) fn new(values: &Values) -> Self {
        let live = Self {
            max_size: AtomicU64::new(NONE),
            idle_owner_nanos: AtomicU64::new(0),
            patience_nanos: AtomicU64::new(0),
            expire_interval_nanos: AtomicU64::new(NONE),
            slow_after_nanos: AtomicU64::new(0),
            concatenation_unfinished: AtomicBool::new(false),
        };
        live.set(values);
        live
    }

    pub(crate) fn set(&self, values: &Values) {
        self.max_size.store(values.max_size.unwrap_or(NONE), Ordering::Relaxed);
        self.idle_owner_nanos.store(nanos(values.idle_owner), Ordering::Relaxed);
        self.patience_nanos.store(nanos(values.patience), Ordering::Relaxed);
        self.expire_interval_nanos.store(values.expire_interval.map_or(NONE, nanos), Ordering::Relaxed);
        self.slow_after_nanos.store(nanos(values.slow_after), Ordering::Relaxed);
        self.concatenation_unfinished.store(values.concatenation_unfinished, Ordering::Relaxed);
    }

    pub(crate) fn max_size(&self) -> Option<u64> {
        Some(self.max_size.load(Ordering::Relaxed)).filter(|size| *size != NONE)
    }

    pub(crate) fn idle_owner(&self) -> Duration {
        Duration::from_nanos(self.idle_owner_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_nanos(self.patience_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn expire_interval(&self) -> Option<Duration> {
        let nanos = self.expire_interval_nanos.load(Ordering::Relaxed);
        (nanos != NONE).then(|| Duration::from_nanos(nanos))
    }

    pub(crate) fn slow_after(&self) -> Duration {
        Duration::from_nanos(self.slow_after_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn concatenation_unfinished(&self) -> bool {
        self.concatenation_unfinished.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_they_were_set() {
        let mut values = Values {
            max_size: None,
            idle_owner: Duration::from_millis(1500),
            patience: Duration::MAX,
            expire_interval: None,
            slow_after: Duration::ZERO,
            concatenation_unfinished: false,
        };
        let live = Live::new(&values);
        assert_eq!((live.max_size(), live.expire_interval(), live.idle_owner()), (None, None, values.idle_owner));
        assert!(live.patience() > Duration::from_secs(500 * 365 * 86_400) && !live.concatenation_unfinished());
        (values.max_size, values.expire_interval) = (Some(0), Some(Duration::MAX));
        (values.patience, values.concatenation_unfinished) = (Duration::from_nanos(3), true);
        live.set(&values);
        assert_eq!((live.max_size(), live.patience()), (Some(0), values.patience));
        assert!(live.expire_interval().is_some() && live.concatenation_unfinished() && live.slow_after().is_zero());
    }
}
