//! The memory that bytes on their way to the store may take in the whole process. When it is spent, sockets are not
//! read; nothing is dropped. It is held for as long as the store works, never while a client makes up its mind.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::room::{Places, Room};

/// The budget. Those who wait are served in the order in which they came.
#[derive(Debug)]
pub struct Budget {
    room: Room,
    waiting: AtomicUsize,
}

/// The budget at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetReport {
    /// How many bytes there are in all.
    pub total: usize,
    /// How many of them are taken; more than all while a budget that was made smaller waits for some to come back.
    pub used: usize,
    /// How many wait for some.
    pub waiting: usize,
}

/// Bytes out of the budget; back in it when dropped.
#[derive(Debug)]
pub struct Share {
    places: Places,
    waited: Duration,
}

impl Budget {
    /// A budget of so many bytes; at least one.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { room: Room::new(total), waiting: AtomicUsize::new(0) }
    }

    /// So many bytes (or the whole budget, if that is less), if they are free now.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Share> {
        let places = self.room.try_take(self.permits(bytes)).ok()?;
        Some(Share { places, waited: Duration::ZERO })
    }

    /// So many bytes (or the whole budget, if that is less), as soon as they are free.
    ///
    /// # Panics
    /// Never: a budget is not closed.
    pub async fn take(&self, bytes: usize) -> Share {
        let (_waiting, began) = (Waiting::on(&self.waiting), Instant::now());
        let places = self.room.take(self.permits(bytes)).await;
        Share { places: places.expect("a budget is not closed"), waited: began.elapsed() }
    }

    /// Whether somebody waits for bytes, or less than an eighth is left.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || self.room.free() < self.room.total() / 8
    }

    /// Has so many bytes from now on. A smaller budget takes effect as bytes come back; nothing is taken from anybody.
    /// It must not be smaller than what one takes at once, or those who wait meanwhile wait in vain.
    pub fn resize(&self, total: usize) {
        self.room.resize(total);
    }

    /// How it stands.
    #[must_use]
    pub fn report(&self) -> BudgetReport {
        let waiting = self.waiting.load(Ordering::Relaxed);
        BudgetReport { total: self.room.total(), used: self.room.taken(), waiting }
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.room.total())).unwrap_or(u32::MAX)
    }
}

impl Share {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.places.count()
    }

    /// How long its taker waited for it.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Parts so many bytes off; `None` when there are not as many.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        self.places.split(bytes).map(|places| Self { places, waited: Duration::ZERO })
    }

    /// Gives back all but so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(excess) = self.bytes().checked_sub(bytes) {
            drop(self.places.split(excess));
        }
    }
}

/// Counts one who waits, also when it is dropped while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn on(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_is_dropped_or_given_back_can_be_taken_again() {
        let budget = Budget::new(100);
        let mut first = budget.try_take(80).unwrap();
        assert!(budget.try_take(21).is_none());
        first.shrink(30);
        assert_eq!((first.bytes(), budget.report().used), (30, 30));
        first.shrink(50);
        assert_eq!(first.bytes(), 30);
        let second = budget.try_take(70).unwrap();
        drop((first, second));
        assert_eq!(budget.report(), BudgetReport { total: 100, used: 0, waiting: 0 });
    }

    #[test]
    fn more_than_there_is_means_all_of_it() {
        let budget = Budget::new(100);
        assert_eq!(budget.try_take(1_000).unwrap().bytes(), 100);
    }

    #[test]
    fn those_who_wait_are_served_in_turn() {
        let budget = Budget::new(100);
        let held = budget.try_take(60).unwrap();
        let (mut large, mut small) = (Box::pin(budget.take(90)), Box::pin(budget.take(10)));
        assert!((&mut large).now_or_never().is_none());
        assert!((&mut small).now_or_never().is_none());
        assert_eq!(budget.report().waiting, 2);
        drop(held);
        let large = large.now_or_never().unwrap();
        assert_eq!((large.bytes(), small.now_or_never().unwrap().bytes()), (90, 10));
        drop(budget.take(100));
        assert_eq!(budget.report().waiting, 0);
    }

    #[test]
    fn a_smaller_budget_waits_for_what_is_out() {
        let budget = Budget::new(100);
        let held = budget.try_take(80).unwrap();
        budget.resize(50);
        assert_eq!(budget.report(), BudgetReport { total: 50, used: 80, waiting: 0 });
        assert!(budget.is_scarce() && budget.try_take(1).is_none());
        drop(held);
        assert_eq!(budget.try_take(1_000).unwrap().bytes(), 50);
        budget.resize(200);
        assert_eq!(budget.try_take(1_000).unwrap().bytes(), 200);
    }
}
