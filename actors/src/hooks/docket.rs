//! What is owed to the application, and when it is tried next. Pure: the outbox acts on it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use super::{EventKind, notice::happened};

/// How long one waits after a first failed delivery; it doubles with each one more.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// How long one waits at most.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// An event in the outbox, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The event's name.
    pub event_id: String,
    /// Its kind.
    pub kind: EventKind,
    /// The upload's id.
    pub upload: String,
    /// When it happened.
    pub happened: Option<SystemTime>,
    /// What it waits for.
    pub state: OwedState,
    /// How long it still waits for its next try; for nothing, when it is time and others go before it.
    pub next_try: Option<Duration>,
    /// How often it was tried in vain.
    pub tries: u32,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// What an event waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwedState {
    /// The upload has not come to this end yet.
    Noted,
    /// Its next try.
    Waiting,
    /// The answer of the application.
    UnderWay,
}

impl OwedState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Noted, Self::Waiting, Self::UnderWay];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Waiting => "waiting",
            Self::UnderWay => "under_way",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Noted,
    Waiting { due_nanos: u64 },
    UnderWay,
}

impl State {
    fn told(self) -> OwedState {
        match self {
            Self::Noted => OwedState::Noted,
            Self::Waiting { .. } => OwedState::Waiting,
            Self::UnderWay => OwedState::UnderWay,
        }
    }
}

#[derive(Debug)]
struct Entry {
    kind: EventKind,
    upload: String,
    state: State,
    tries: u32,
    last_error: Option<String>,
}

/// All events in the outbox. The names of later events come later in order.
#[derive(Debug, Default)]
pub(super) struct Docket {
    entries: BTreeMap<String, Entry>,
    /// Of each upload, in order.
    uploads: HashMap<String, BTreeSet<String>>,
    /// Those that wait, the next one first.
    waiting: BTreeSet<(u64, String)>,
    /// All but those that are noted only, the oldest first.
    owed: BTreeSet<String>,
}

impl Docket {
    /// How many are noted, and how many owed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.entries.len() - self.owed.len(), self.owed.len())
    }

    /// When the oldest of those that are owed happened.
    pub(super) fn oldest_owed(&self) -> Option<SystemTime> {
        self.owed.first().and_then(|event_id| happened(event_id))
    }

    /// The name of the event of this kind that is noted for an upload: `fresh`, if there is none yet.
    pub(super) fn claim(&mut self, kind: EventKind, upload: String, fresh: String) -> String {
        let of_upload = self.uploads.get(&upload).into_iter().flatten();
        let is_noted =
            |id: &&String| self.entries.get(*id).is_some_and(|entry| entry.kind == kind && entry.state == State::Noted);
        if let Some(id) = of_upload.into_iter().find(is_noted) {
            return id.clone();
        }
        self.note(kind, upload, fresh.clone());
        fresh
    }

    /// An event that will be owed if the upload comes to this end.
    pub(super) fn note(&mut self, kind: EventKind, upload: String, event_id: String) {
        self.uploads.entry(upload.clone()).or_default().insert(event_id.clone());
        let entry = Entry { kind, upload, state: State::Noted, tries: 0, last_error: None };
        debug_assert!(!self.entries.contains_key(&event_id), "a name is given twice");
        self.entries.insert(event_id, entry);
    }

    /// Whether there is such an event.
    pub(super) fn knows(&self, event_id: &str) -> bool {
        self.entries.contains_key(event_id)
    }

    /// The event is owed.
    pub(super) fn owe(&mut self, event_id: &str, now_nanos: u64) {
        if let Some(entry) = self.entries.get_mut(event_id).filter(|entry| entry.state == State::Noted) {
            entry.state = State::Waiting { due_nanos: now_nanos };
            self.owed.insert(event_id.to_owned());
            self.waiting.insert((now_nanos, event_id.to_owned()));
        }
    }

    /// The event is there no more. False when it was not.
    pub(super) fn remove(&mut self, event_id: &str) -> bool {
        let Some(entry) = self.entries.remove(event_id) else { return false };
        self.owed.remove(event_id);
        if let State::Waiting { due_nanos } = entry.state {
            self.waiting.remove(&(due_nanos, event_id.to_owned()));
        }
        if let Some(ids) = self.uploads.get_mut(&entry.upload) {
            ids.remove(event_id);
            if ids.is_empty() {
                self.uploads.remove(&entry.upload);
            }
        }
        true
    }

    /// The events that were noted for an upload, and are not owed.
    pub(super) fn noted(&self, upload: &str) -> Vec<String> {
        let ids = self.uploads.get(upload).into_iter().flatten();
        ids.filter(|id| self.entries.get(*id).is_some_and(|entry| entry.state == State::Noted)).cloned().collect()
    }

    /// The next event whose time has come, which is under way from now on. Of one upload the earlier ones go first, and
    /// keep the later ones waiting.
    pub(super) fn next(&mut self, now_nanos: u64) -> Option<String> {
        let come = self.waiting.iter().take_while(|(due, _)| *due <= now_nanos);
        let (due_nanos, event_id) = come.into_iter().find(|(_, id)| self.is_first(id))?.clone();
        self.waiting.remove(&(due_nanos, event_id.clone()));
        self.entries.get_mut(&event_id)?.state = State::UnderWay;
        Some(event_id)
    }

    fn is_first(&self, event_id: &str) -> bool {
        let Some(entry) = self.entries.get(event_id) else { return false };
        let owed = |id: &&String| self.entries.get(*id).is_some_and(|entry| entry.state != State::Noted);
        self.uploads.get(&entry.upload).and_then(|ids| ids.iter().find(owed)).is_some_and(|first| first == event_id)
    }

    /// When the next event is due.
    pub(super) fn next_due_nanos(&self) -> Option<u64> {
        self.waiting.iter().find(|(_, id)| self.is_first(id)).map(|(due_nanos, _)| *due_nanos)
    }

    /// A try has failed: there will be another.
    pub(super) fn failed(&mut self, event_id: &str, error: String, now_nanos: u64) {
        let Some(entry) = self.entries.get_mut(event_id) else { return };
        let wait = FIRST_WAIT.saturating_mul(1 << entry.tries.min(16)).min(LONGEST_WAIT);
        entry.tries = entry.tries.saturating_add(1);
        entry.last_error = Some(error);
        self.wait_until(event_id, now_nanos + u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 2));
    }

    fn wait_until(&mut self, event_id: &str, due_nanos: u64) {
        let Some(entry) = self.entries.get_mut(event_id) else { return };
        if let State::Waiting { due_nanos } = entry.state {
            self.waiting.remove(&(due_nanos, event_id.to_owned()));
        }
        entry.state = State::Waiting { due_nanos };
        self.waiting.insert((due_nanos, event_id.to_owned()));
    }

    /// Those that wait for their next try need not wait longer: the one of this name, or all. Returns how many.
    pub(super) fn retry(&mut self, event_id: Option<&str>, now_nanos: u64) -> usize {
        let late = self.waiting.iter().filter(|(_, id)| event_id.is_none_or(|wanted| wanted == id));
        let late: Vec<String> = late.map(|(_, id)| id.clone()).collect();
        late.iter().for_each(|id| self.wait_until(id, now_nanos));
        late.len()
    }

    /// The events, the oldest first: those that wait for this, or all.
    pub(super) fn list(&self, state: Option<OwedState>, limit: usize, now_nanos: u64) -> Vec<Owed> {
        let is_wanted = |entry: &Entry| state.is_none_or(|state| state == entry.state.told());
        let owed = |(event_id, entry): (&String, &Entry)| Owed {
            event_id: event_id.clone(),
            kind: entry.kind,
            upload: entry.upload.clone(),
            happened: happened(event_id),
            state: entry.state.told(),
            next_try: match entry.state {
                State::Waiting { due_nanos } => Some(Duration::from_nanos(due_nanos.saturating_sub(now_nanos))),
                State::Noted | State::UnderWay => None,
            },
            tries: entry.tries,
            last_error: entry.last_error.clone(),
        };
        self.entries.iter().filter(|(_, entry)| is_wanted(entry)).map(owed).take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn docket(events: &[(&str, &str)]) -> Docket {
        let mut docket = Docket::default();
        for (id, upload) in events {
            docket.note(EventKind::PostFinish, (*upload).to_owned(), (*id).to_owned());
        }
        docket
    }

    #[test]
    fn an_event_is_owed_only_when_its_end_has_come() {
        let mut docket = docket(&[("1", "a")]);
        assert_eq!((docket.next(9), docket.counts()), (None, (1, 0)));
        assert_eq!(docket.claim(EventKind::PostFinish, "a".into(), "2".into()), "1");
        assert_eq!(docket.claim(EventKind::PostTerminate, "a".into(), "3".into()), "3");
        docket.owe("1", 5);
        assert_eq!((docket.next(4), docket.next_due_nanos()), (None, Some(5)));
        assert_eq!(docket.next(5).as_deref(), Some("1"));
        assert_eq!((docket.next(9), docket.counts()), (None, (1, 1)));
        assert!(docket.remove("1") && !docket.remove("1"));
        // What is owed already is no note any more: the next end gets a name of its own.
        docket.owe("3", 6);
        assert_eq!(docket.claim(EventKind::PostTerminate, "a".into(), "4".into()), "4");
        assert_eq!(docket.noted("a"), ["4"]);
    }

    #[test]
    fn the_events_of_one_upload_keep_their_order_and_hold_up_no_other() {
        let mut docket = docket(&[("1", "a"), ("2", "a"), ("3", "b")]);
        ["2", "1", "3"].iter().for_each(|id| docket.owe(id, 0));
        assert_eq!(docket.next(0).as_deref(), Some("1"));
        assert_eq!(docket.next(0).as_deref(), Some("3"));
        assert_eq!(docket.next(0), None);
        docket.failed("1", "down".into(), 0);
        assert_eq!((docket.next(0), docket.next_due_nanos()), (None, Some(5 * SECOND)));
        assert_eq!(docket.next(5 * SECOND).as_deref(), Some("1"));
        assert!(docket.remove("1"));
        assert_eq!(docket.next(5 * SECOND).as_deref(), Some("2"));
    }

    #[test]
    fn what_fails_is_tried_ever_later_and_for_ever() {
        let mut docket = docket(&[("1", "a")]);
        docket.owe("1", 0);
        let mut now = 0;
        for wait in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!(docket.next(now).as_deref(), Some("1"));
            docket.failed("1", "down".into(), now);
            assert_eq!(docket.next_due_nanos(), Some(now + wait * SECOND));
            now += wait * SECOND;
        }
        let listed = docket.list(None, 9, now - SECOND);
        assert_eq!((listed[0].tries, listed[0].last_error.as_deref()), (9, Some("down")));
        assert_eq!((listed[0].state, listed[0].next_try), (OwedState::Waiting, Some(Duration::from_secs(1))));
        assert_eq!((docket.retry(Some("2"), 7), docket.retry(None, 7)), (0, 1));
        assert_eq!(docket.next(7).as_deref(), Some("1"));
        let listed = docket.list(None, 9, 8);
        assert_eq!((docket.next_due_nanos(), listed[0].state, listed[0].next_try), (None, OwedState::UnderWay, None));
    }

    #[test]
    fn the_list_has_the_oldest_of_the_state_that_is_asked_for() {
        let mut docket = docket(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]);
        ["4", "2", "3"].iter().for_each(|id| docket.owe(id, 0));
        assert_eq!(docket.next(0).as_deref(), Some("2"));
        let ids = |state, limit| -> Vec<String> {
            docket.list(state, limit, 0).into_iter().map(|owed| owed.event_id).collect()
        };
        assert_eq!((ids(None, 9), ids(None, 2)), (vec_of(&["1", "2", "3", "4"]), vec_of(&["1", "2"])));
        assert_eq!(
            (ids(Some(OwedState::Waiting), 9), ids(Some(OwedState::Waiting), 1)),
            (vec_of(&["3", "4"]), vec_of(&["3"]))
        );
        assert_eq!(
            (ids(Some(OwedState::Noted), 9), ids(Some(OwedState::UnderWay), 9)),
            (vec_of(&["1"]), vec_of(&["2"]))
        );
        let names = OwedState::ALL.map(OwedState::name);
        assert_eq!(names, ["noted", "waiting", "under_way"]);
    }

    #[test]
    fn the_oldest_that_is_owed_is_known_whatever_is_noted() {
        let [first, second] = ["000000000005aa", "000000000009aa"];
        let mut docket = docket(&[("000000000001aa", "a"), (first, "b"), (second, "c")]);
        assert_eq!(docket.oldest_owed(), None);
        [second, first].iter().for_each(|id| docket.owe(id, 0));
        let at = |millis| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!((docket.oldest_owed(), docket.counts()), (at(5), (1, 2)));
        // Also while it is on its way.
        assert_eq!((docket.next(0).as_deref(), docket.oldest_owed()), (Some(first), at(5)));
        docket.remove(first);
        assert_eq!((docket.oldest_owed(), docket.counts()), (at(9), (1, 1)));
        docket.remove(second);
        assert_eq!((docket.oldest_owed(), docket.counts()), (None, (1, 0)));
    }

    fn vec_of(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }
}
