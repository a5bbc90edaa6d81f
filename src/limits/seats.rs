//! How many uploads each has open, and how many each has created of late. In memory, since the start.
//!
//! Both tables are bounded. When one is full it forgets somebody, who then may have a little more than is allowed; it
//! refuses nobody for what others do.

use std::{sync::Arc, time::Duration};

use dashmap::{DashMap, mapref::entry::Entry};
use wharf_actors::UploadId;

use super::{Client, window::Window};

/// How many open uploads are kept in mind; some 200 bytes each.
const UPLOADS: usize = 131_072;
/// How many owners and clients; some 150 bytes each.
const HOLDERS: usize = 131_072;
/// How many are looked at for one that can be forgotten.
const LOOKS: usize = 64;

/// One for whom uploads are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Owner(Arc<str>),
    Client(Client),
}

/// What one may have; 0 for any number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Most {
    pub(super) open: u32,
    pub(super) per_minute: u32,
}

impl Most {
    fn counts(self) -> bool {
        self.open > 0 || self.per_minute > 0
    }
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// So many are open.
    Open,
    /// So many were created of late; in so long there will be room.
    Minute(Duration),
}

#[derive(Debug, Default)]
struct Holder {
    open: u32,
    created: Window,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seats {
    holders: DashMap<Key, Holder>,
    uploads: DashMap<UploadId, Vec<Key>>,
}

impl Seats {
    /// Takes a seat for one more upload.
    pub(super) fn take(&self, key: &Key, most: Most, now: Duration) -> Result<(), Full> {
        if !most.counts() {
            return Ok(());
        }
        if self.holders.len() >= HOLDERS && !self.holders.contains_key(key) {
            self.forget_a_holder(now);
        }
        let mut holder = self.holders.entry(key.clone()).or_default();
        if most.open > 0 && holder.open >= most.open {
            return Err(Full::Open);
        }
        if most.per_minute > 0 {
            holder.created.take(now, most.per_minute).map_err(Full::Minute)?;
        }
        holder.open += 1;
        Ok(())
    }

    /// Gives a seat back.
    pub(super) fn leave(&self, key: &Key, now: Duration) {
        if let Entry::Occupied(mut entry) = self.holders.entry(key.clone()) {
            let holder = entry.get_mut();
            holder.open = holder.open.saturating_sub(1);
            if holder.open == 0 && holder.created.is_empty(now) {
                entry.remove();
            }
        }
    }

    /// The seats belong to this upload now, until it ends.
    pub(super) fn assign(&self, id: &UploadId, keys: Vec<Key>, now: Duration) {
        if self.uploads.len() >= UPLOADS {
            let some = self.uploads.iter().next().map(|entry| entry.key().clone());
            some.iter().for_each(|id| self.end(id, now));
        }
        self.uploads.insert(id.clone(), keys);
    }

    /// An upload has ended.
    pub(super) fn end(&self, id: &UploadId, now: Duration) {
        if let Some((_, keys)) = self.uploads.remove(id) {
            keys.iter().for_each(|key| self.leave(key, now));
        }
    }

    /// How many uploads are open, of those that are counted.
    pub(super) fn open(&self) -> usize {
        self.uploads.len()
    }

    fn forget_a_holder(&self, now: Duration) {
        let mut some = None;
        for mut entry in self.holders.iter_mut().take(LOOKS) {
            if entry.open == 0 {
                some = Some(entry.key().clone());
                if entry.created.is_empty(now) {
                    break;
                }
            }
        }
        // No guard is held here any more.
        if let Some(key) = some {
            self.holders.remove_if(&key, |_, holder| holder.open == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn ann() -> Key {
        Key::Owner("ann".into())
    }

    fn id(number: usize) -> UploadId {
        UploadId::parse(&format!("upload-{number}")).unwrap()
    }

    #[test]
    fn seats_come_back_when_uploads_end_and_nothing_is_left() {
        let (seats, most) = (Seats::default(), Most { open: 2, per_minute: 0 });
        for number in 0..2 {
            seats.take(&ann(), most, NOW).unwrap();
            seats.assign(&id(number), vec![ann()], NOW);
        }
        assert_eq!(seats.take(&ann(), most, NOW), Err(Full::Open));
        assert_eq!(seats.take(&Key::Owner("bob".into()), most, NOW), Ok(()));
        seats.leave(&Key::Owner("bob".into()), NOW);
        seats.end(&id(0), NOW);
        seats.end(&id(0), NOW);
        seats.end(&id(7), NOW);
        assert_eq!(seats.take(&ann(), most, NOW), Ok(()));
        assert_eq!(seats.take(&ann(), most, NOW), Err(Full::Open));
        seats.leave(&ann(), NOW);
        seats.end(&id(1), NOW);
        assert_eq!((seats.holders.len(), seats.open()), (0, 0));
    }

    #[test]
    fn a_minute_has_so_many_whatever_became_of_them() {
        let (seats, most) = (Seats::default(), Most { open: 0, per_minute: 2 });
        for _ in 0..2 {
            seats.take(&ann(), most, NOW).unwrap();
            seats.leave(&ann(), NOW);
        }
        assert_eq!(seats.take(&ann(), most, NOW), Err(Full::Minute(Duration::from_secs(65))));
        let later = NOW + Duration::from_secs(65);
        assert_eq!(seats.take(&ann(), most, later), Ok(()));
        seats.leave(&ann(), later + Duration::from_secs(65));
        assert_eq!(seats.holders.len(), 0);
    }

    #[test]
    fn what_is_not_limited_is_not_kept() {
        let seats = Seats::default();
        seats.take(&ann(), Most::default(), NOW).unwrap();
        assert_eq!(seats.holders.len(), 0);
    }

    #[test]
    fn many_threads_get_exactly_as_many_seats_as_there_are() {
        let (seats, most) = (Seats::default(), Most { open: 100, per_minute: 0 });
        let taken: usize = std::thread::scope(|scope| {
            let thread = |_| scope.spawn(|| (0..50).filter(|_| seats.take(&ann(), most, NOW).is_ok()).count());
            let threads: Vec<_> = (0..8).map(thread).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }

    #[test]
    fn tables_that_are_full_forget_and_go_on() {
        let (seats, most) = (Seats::default(), Most { open: 1, per_minute: 1 });
        for number in 0..HOLDERS + 100 {
            let key = Key::Client(Client::V6(number as u64));
            seats.take(&key, most, NOW).unwrap();
            seats.leave(&key, NOW);
        }
        assert_eq!(seats.holders.len(), HOLDERS);
        let seats = Seats::default();
        for number in 0..UPLOADS + 100 {
            seats.assign(&id(number), Vec::new(), NOW);
        }
        assert_eq!(seats.open(), UPLOADS);
    }
}
