//! Places of which there is a number that may change while some are taken. Those who wait are served in the order in
//! which they came.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The places.
#[derive(Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    total: AtomicUsize,
    owed: Arc<AtomicUsize>,
}

/// Some places; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Places {
    permit: OwnedSemaphorePermit,
    /// Places that are to go as they come back.
    owed: Arc<AtomicUsize>,
}

impl Room {
    /// So many places, at least one.
    pub(crate) fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total: AtomicUsize::new(total), owed: Arc::default() }
    }

    /// How many there are, or will be once enough came back.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        (self.total() + self.owed.load(Ordering::Relaxed)).saturating_sub(self.free())
    }

    pub(crate) fn try_take(&self, count: u32) -> Result<Places, TryAcquireError> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(count)?;
        Ok(Places { permit, owed: Arc::clone(&self.owed) })
    }

    /// Waits for so many; fails once the room is closed. Whoever waits for more than there will ever be waits in vain.
    pub(crate) async fn take(&self, count: u32) -> Result<Places, AcquireError> {
        let permit = Arc::clone(&self.free).acquire_many_owned(count).await?;
        Ok(Places { permit, owed: Arc::clone(&self.owed) })
    }

    /// Nobody gets a place any more.
    #[cfg(any(test, feature = "s3"))]
    pub(crate) fn close(&self) {
        self.free.close();
    }

    /// Has so many places from now on, at least one. Of too many, the free ones go at once, the others as they come back.
    pub(crate) fn resize(&self, total: usize) {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        let before = self.total.swap(total, Ordering::AcqRel);
        if let Some(more) = total.checked_sub(before) {
            let kept = pay(&self.owed, more);
            self.free.add_permits(more - kept);
            return;
        }
        self.owed.fetch_add(before - total, Ordering::AcqRel);
        let owed = self.owed.swap(0, Ordering::AcqRel);
        let gone = self.free.forget_permits(owed);
        self.owed.fetch_add(owed - gone, Ordering::AcqRel);
    }
}

/// Takes off what is owed, up to so much, and returns how much that was.
fn pay(owed: &AtomicUsize, most: usize) -> usize {
    let paid = owed.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |owed| {
        (owed > 0 && most > 0).then(|| owed.saturating_sub(most))
    });
    paid.map_or(0, |owed| owed.min(most))
}

impl Places {
    pub(crate) fn count(&self) -> usize {
        self.permit.num_permits()
    }

    /// Parts so many off; `None` when there are not as many.
    pub(crate) fn split(&mut self, count: usize) -> Option<Self> {
        let permit = self.permit.split(count)?;
        Some(Self { permit, owed: Arc::clone(&self.owed) })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if self.owed.load(Ordering::Relaxed) > 0 {
            let paid = pay(&self.owed, self.count());
            if let Some(gone) = self.permit.split(paid) {
                gone.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_room_that_shrinks_loses_its_free_places_at_once_and_the_others_as_they_come_back() {
        let room = Room::new(10);
        let mut held = room.try_take(7).unwrap();
        room.resize(4);
        assert_eq!((room.free(), room.taken(), room.total()), (0, 7, 4));
        drop(held.split(2));
        assert_eq!((room.free(), room.taken()), (0, 5));
        drop(held.split(2));
        assert_eq!((room.free(), room.taken()), (1, 3));
        drop(held);
        assert_eq!((room.free(), room.taken()), (4, 0));
    }

    #[test]
    fn what_is_owed_is_not_added_again_when_it_grows() {
        let room = Room::new(10);
        let held = room.try_take(10).unwrap();
        room.resize(2);
        room.resize(5);
        assert_eq!((room.free(), room.taken()), (0, 10));
        room.resize(12);
        assert_eq!((room.free(), room.taken()), (2, 10));
        drop(held);
        assert_eq!((room.free(), room.taken()), (12, 0));
    }

    #[test]
    fn those_who_wait_get_what_is_left() {
        let room = Room::new(3);
        let held = room.try_take(3).unwrap();
        let mut waiting = Box::pin(room.take(1));
        assert!((&mut waiting).now_or_never().is_none());
        room.resize(1);
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        let one = waiting.now_or_never().unwrap().unwrap();
        assert_eq!((room.free(), one.count()), (0, 1));
        room.close();
        assert!(room.take(1).now_or_never().unwrap().is_err());
    }

    proptest::proptest! {
        /// Whatever is taken, given back and resized in whatever order: at rest there are as many as there should be.
        #[test]
        fn at_rest_all_are_there(steps in proptest::collection::vec((0_u8..3, 1_usize..20), 0..60)) {
            let room = Room::new(8);
            let mut held = Vec::new();
            for (step, number) in steps {
                match step {
                    0 => held.extend(room.try_take(u32::try_from(number).unwrap())),
                    1 => drop((!held.is_empty()).then(|| held.remove(number % held.len()))),
                    _ => room.resize(number),
                }
                let taken: usize = held.iter().map(Places::count).sum();
                proptest::prop_assert_eq!(room.taken(), taken);
                proptest::prop_assert!(taken + room.free() >= room.total());
            }
            held.clear();
            proptest::prop_assert_eq!((room.free(), room.taken()), (room.total(), 0));
        }
    }
}
