//! What an owner remembers while it lives. To most uploads nothing happens but that they are made, filled and finished: of
//! those the few steps are kept as they came, and made a history of when somebody looks, or when there is more to tell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::{History, HistoryReport, Level, Mark, Said};

/// So many steps are kept as they came.
const STEPS: usize = 6;

/// What happens to every upload.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// It was created.
    Created,
    /// A request may append, by this lease.
    CameBack(u64),
    /// The offset has moved.
    Moved(u64),
    /// No request may append any more.
    Left,
    /// All of so many bytes are there.
    Finished(u64),
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    began_nanos: u64,
    began_unix_ms: u64,
    /// With the moments at which they came.
    steps: SmallVec<[(u64, Step); STEPS]>,
    /// These and all that came later, once there was more.
    history: Option<Box<History>>,
}

impl Course {
    /// It begins at this moment, by both clocks.
    pub(crate) fn new(now_nanos: u64, now_unix_ms: u64) -> Self {
        Self { began_nanos: now_nanos, began_unix_ms: now_unix_ms, ..Self::default() }
    }

    pub(crate) fn note(&mut self, step: Step, now_nanos: u64) {
        if self.history.is_none() && self.steps.len() < STEPS {
            self.steps.push((now_nanos, step));
        } else {
            self.in_full().take(step, now_nanos);
        }
    }

    /// For what is more than a step.
    pub(crate) fn in_full(&mut self) -> &mut History {
        let (began_nanos, began_unix_ms, steps) = (self.began_nanos, self.began_unix_ms, &mut self.steps);
        self.history
            .get_or_insert_with(|| Box::new(History::of_steps(began_nanos, began_unix_ms, std::mem::take(steps))))
    }

    /// Whether nothing happened but that it was finished, after a few steps.
    pub(super) fn is_plain(&self) -> bool {
        self.history.is_none() && self.steps.iter().any(|(_, step)| matches!(step, Step::Finished(_)))
    }

    /// What is remembered, in full words; nothing if there is nothing.
    pub(crate) fn report(&self) -> Option<HistoryReport> {
        match &self.history {
            Some(history) => Some(history.report()),
            None if self.steps.is_empty() => None,
            None => Some(History::of_steps(self.began_nanos, self.began_unix_ms, self.steps.iter().copied()).report()),
        }
    }
}

impl History {
    fn of_steps(began_nanos: u64, began_unix_ms: u64, steps: impl IntoIterator<Item = (u64, Step)>) -> Self {
        let mut history = Self::new(began_nanos, of_unix_ms(began_unix_ms));
        steps.into_iter().for_each(|(at_nanos, step)| history.take(step, at_nanos));
        history
    }

    fn take(&mut self, step: Step, now_nanos: u64) {
        match step {
            Step::Created => self.say(Level::Info, Said { message: "upload created", ..Said::default() }, now_nanos),
            Step::CameBack(lease) => self.came_back(lease, now_nanos),
            Step::Moved(offset) => self.moved(offset, now_nanos),
            Step::Left => self.left(now_nanos),
            Step::Finished(length) => {
                self.mark(Mark::Finished, now_nanos);
                let said = Said { message: "upload completed", offset: Some(length), ..Said::default() };
                self.say(Level::Info, said, now_nanos);
            }
        }
    }
}

fn of_unix_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The history of a small upload, in the order in which its owner tells it.
    const PLAIN: [(u64, Step); 5] = [
        (5 * MS, Step::Created),
        (6 * MS, Step::CameBack(7)),
        (8 * MS, Step::Moved(16)),
        (8 * MS, Step::Finished(16)),
        (9 * MS, Step::Left),
    ];

    fn plain() -> Course {
        let mut course = Course::new(5 * MS, 1000);
        PLAIN.into_iter().for_each(|(at_nanos, step)| course.note(step, at_nanos));
        course
    }

    #[test]
    fn a_plain_course_tells_the_same_as_the_history_made_of_it() {
        assert_eq!(Course::new(5, 1000).report(), None);
        let mut course = plain();
        assert!(course.is_plain());
        let seen = course.report().unwrap();
        assert_eq!(seen.since, of_unix_ms(1000));
        let ms = Duration::from_millis;
        assert_eq!(seen.timeline.points, [(ms(3), 16)]);
        let marks: Vec<_> = seen.timeline.marks.iter().map(|mark| (mark.at, mark.kind, &mark.detail[..])).collect();
        assert_eq!(marks, [(ms(1), "lease", "7"), (ms(3), "finished", "")]);
        let log: Vec<_> = seen.log.iter().map(|line| (line.at, line.message)).collect();
        assert_eq!(log, [(of_unix_ms(1000), "upload created"), (of_unix_ms(1003), "upload completed")]);
        course.in_full();
        assert!(!course.is_plain());
        assert_eq!(course.report(), Some(seen));
    }

    #[test]
    fn steps_beyond_the_first_few_are_not_lost() {
        let mut course = Course::new(0, 0);
        for number in 0..100 {
            course.note(Step::CameBack(number), number * MS);
            let marks = course.report().unwrap().timeline.marks;
            let told: Vec<_> = marks.into_iter().map(|mark| mark.detail).collect();
            assert_eq!(told, (0..=number).map(|lease| lease.to_string()).collect::<Vec<_>>());
        }
        course.note(Step::Finished(3), 100 * MS);
        assert!(!course.is_plain());
    }
}
