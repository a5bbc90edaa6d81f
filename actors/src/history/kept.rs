//! What is remembered of uploads whose owners have gone. Those to which nothing happened have a place of their own, so that
//! a thousand quick ones don't push out the one that somebody will ask about.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use quick_cache::sync::Cache;

use super::Course;
use crate::UploadId;

/// So many uploads of either sort are remembered; those to which something happened with up to 10 KiB each.
const HISTORIES: usize = 512;

/// A course, and whose it is.
type Entry = (UploadId, Course);

/// See the module.
pub(crate) struct Kept {
    eventful: Cache<UploadId, Arc<Course>>,
    plain: Cache<UploadId, Arc<Course>>,
    /// Plain ones as they came. There are many, and hardly ever does somebody look: only then they are put where they are
    /// found. Until then the newest push out the oldest.
    latest: (Sender<Entry>, Receiver<Entry>),
}

impl Default for Kept {
    fn default() -> Self {
        let latest = crossbeam_channel::bounded(HISTORIES);
        Self { eventful: Cache::new(HISTORIES), plain: Cache::new(HISTORIES), latest }
    }
}

impl Kept {
    /// Remembers an upload's course for a while. Its owner gives it away at its end.
    pub(crate) fn keep(&self, id: &UploadId, course: Course) {
        if !course.is_plain() {
            self.eventful.insert(id.clone(), Arc::new(course));
            return;
        }
        let (newest, oldest) = &self.latest;
        let mut entry = (id.clone(), course);
        while let Err(TrySendError::Full(again)) = newest.try_send(entry) {
            // Another may have made room meanwhile.
            let _ = oldest.try_recv();
            entry = again;
        }
    }

    /// What is remembered of an upload that has no owner.
    pub(crate) fn recall(&self, id: &UploadId) -> Option<Arc<Course>> {
        self.sort();
        self.eventful.get(id).or_else(|| self.plain.get(id))
    }

    /// Takes that, for its new owner.
    pub(crate) fn take(&self, id: &UploadId) -> Option<Course> {
        self.sort();
        let (_, course) = self.eventful.remove(id).or_else(|| self.plain.remove(id))?;
        Some(Arc::unwrap_or_clone(course))
    }

    fn sort(&self) {
        for (id, course) in self.latest.1.try_iter().take(HISTORIES) {
            self.plain.insert(id, Arc::new(course));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Step, *};

    fn id(number: usize) -> UploadId {
        UploadId::parse(&format!("{number:08}")).unwrap()
    }

    fn course(steps: &[Step]) -> Course {
        let mut course = Course::new(1, 1);
        steps.iter().for_each(|step| course.note(*step, 1));
        course
    }

    fn plain() -> Course {
        course(&[Step::Created, Step::Finished(1)])
    }

    fn eventful() -> Course {
        let mut course = plain();
        course.in_full();
        course
    }

    #[test]
    fn the_latest_plain_ones_are_found_and_push_out_no_eventful_one() {
        let kept = Kept::default();
        kept.keep(&id(0), eventful());
        // It was never finished, so somebody will ask why.
        kept.keep(&id(1), course(&[Step::Created]));
        let last = 3 * HISTORIES;
        (2..=last).for_each(|number| kept.keep(&id(number), plain()));
        for number in [0, 1, last - HISTORIES + 1, last] {
            assert!(kept.recall(&id(number)).is_some(), "{number}");
        }
        assert!(kept.recall(&id(last - HISTORIES)).is_none());
    }

    #[test]
    fn what_is_taken_is_found_no_more() {
        let kept = Kept::default();
        kept.keep(&id(1), plain());
        kept.keep(&id(2), eventful());
        assert!(kept.recall(&id(1)).is_some());
        for number in [1, 2] {
            assert!(kept.take(&id(number)).unwrap().report().is_some());
            assert!(kept.recall(&id(number)).is_none() && kept.take(&id(number)).is_none());
        }
    }
}
