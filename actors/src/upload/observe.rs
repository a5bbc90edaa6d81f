//! What an owner lets others know of its upload: log lines, its history, events, counters, and what it publishes. None of
//! it decides anything.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use slog::{error, info, warn};

use super::{
    Asker, Holder, Upload,
    messages::{Departure, View},
    state::LeaseEnd,
    view::{LeaseReport, UploadState},
};
use crate::{
    UploadId,
    events::{Event, Interruption},
    history::{Level, Mark, Said, Step, Work},
    post::{METERED, now_nanos},
    storage::{
        StorageError,
        metered::{Name, Outcome, Run},
    },
};

/// Listeners are told of an upload's progress no more often.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// A store that takes longer shows in the timeline.
const LONG_WAIT: Duration = Duration::from_millis(100);

impl From<LeaseEnd> for Interruption {
    fn from(end: LeaseEnd) -> Self {
        match end {
            LeaseEnd::Interrupted => Self::TakenOver,
            LeaseEnd::ByOperator => Self::ByOperator,
            LeaseEnd::Terminated => Self::Terminated,
            LeaseEnd::Stopped => Self::Stopped,
            LeaseEnd::ShuttingDown => Self::ShuttingDown,
            LeaseEnd::NoSpace => Self::NoSpace,
            LeaseEnd::StoreFailed => Self::StoreFailed,
            LeaseEnd::TooLarge => Self::TooLarge,
        }
    }
}

impl From<Departure> for Interruption {
    fn from(departure: Departure) -> Self {
        match departure {
            Departure::ConnectionLost => Self::ConnectionLost,
            Departure::UnexpectedEof => Self::UnexpectedEof,
            Departure::ReadTimeout => Self::ReadTimeout,
            Departure::Malformed => Self::Malformed,
            Departure::ChecksumMismatch => Self::ChecksumMismatch,
            Departure::TooLong => Self::TooLong,
            Departure::Yielded => Self::TakenOver,
        }
    }
}

/// An operation of the store that its owner waits for.
pub(super) struct Begun(Option<(Work, Run)>);

impl Begun {
    pub(super) fn now(work: Work, upload: &Upload) -> Self {
        let begin = || upload.directory.operations().begin(name_of(work), upload.last_active_nanos);
        Self(METERED.then(|| (work, begin())))
    }
}

/// What the store calls it.
fn name_of(work: Work) -> Name {
    match work {
        Work::Stage => Name::Stage,
        Work::Write => Name::Write,
        Work::WriteLast => Name::WriteLast,
        Work::Draw => Name::Draw,
        Work::Keep => Name::Keep,
        Work::Discard => Name::Discard,
        Work::Sync => Name::Sync,
        Work::Cut => Name::Cut,
        Work::Save => Name::Save,
        Work::Finish => Name::Finish,
        Work::Join => Name::Concatenate,
        Work::Delete => Name::Delete,
    }
}

impl Upload {
    /// Notes what happens now.
    fn note(&mut self, step: Step) {
        if METERED {
            self.course.note(step, self.last_active_nanos);
        }
    }

    fn mark(&mut self, mark: Mark) {
        if METERED {
            self.course.in_full().mark(mark, self.last_active_nanos);
        }
    }

    fn remember(&mut self, level: Level, said: Said) {
        if METERED {
            self.course.in_full().say(level, said, self.last_active_nanos);
        }
    }

    /// The owner begins: with what is remembered of the upload, or with its creation.
    pub(super) fn on_started(&mut self, is_new: bool) {
        if is_new {
            self.note(Step::Created);
            self.tell_created();
        } else {
            if let Some(course) = self.directory.histories().take(&self.id) {
                self.course = course;
            }
            self.mark(Mark::Owner);
        }
        self.publish_sight();
    }

    /// What there is to be told after each event.
    pub(super) fn observe(&mut self) {
        if !self.state.has_lease() && self.holder.is_some() {
            self.end_of_lease();
        }
        if !METERED {
            return;
        }
        let offset = self.state.stored();
        if self.sight.offset() != Some(offset) && !self.state.is_waiting() {
            self.note(Step::Moved(offset));
            self.tell_progress(offset);
        }
        self.publish_sight();
    }

    fn publish_sight(&self) {
        let state = if self.over || self.state.is_ending() {
            UploadState::Ending
        } else if self.state.is_finished() {
            UploadState::Finished
        } else if self.state.is_waiting() {
            UploadState::Waiting
        } else if self.state.has_lease() {
            UploadState::Receiving
        } else {
            UploadState::Idle
        };
        let offset = (!self.state.is_waiting()).then(|| self.state.stored());
        self.sight.stands(state, offset, self.state.length());
    }

    fn tell_progress(&mut self, offset: u64) {
        let (events, now) = (self.directory.events(), self.last_active_nanos);
        if !events.is_heard() || Duration::from_nanos(now - self.progress_told_nanos) < PROGRESS_EVERY {
            return;
        }
        self.progress_told_nanos = now;
        let rate_bytes_per_sec = self.sight.rate(SystemTime::now());
        let length = self.state.length();
        events.tell(|| Event::UploadProgress { id: self.id.clone(), offset, length, rate_bytes_per_sec });
    }

    /// So many bytes more are in the store.
    pub(super) fn on_stored(&self, bytes: u64) {
        self.directory.tally().bytes_received.add(bytes);
        if bytes > 0 {
            self.sight.grew(bytes, SystemTime::now());
        }
    }

    /// The store has done with something.
    pub(super) fn on_ended(&mut self, begun: Begun, result: &impl Outcome) {
        let Some((work, run)) = begun.0 else { return };
        self.last_active_nanos = now_nanos();
        let took = Duration::from_nanos(run.end(self.last_active_nanos, result.failure()));
        if took >= LONG_WAIT {
            self.mark(Mark::StoreWait { work, ms: millis(took) });
        }
    }

    /// Bytes were read only when there was memory for them.
    pub(super) fn note_memory_wait(&mut self, waited: Duration) {
        if waited >= LONG_WAIT {
            self.mark(Mark::MemoryWait { ms: millis(waited) });
        }
    }

    /// A request may append.
    pub(super) fn on_granted(&mut self, lease: u64, offset: u64, asker: &Asker) {
        self.end_of_lease();
        self.told_of_grant(asker.caller.clone());
        if std::mem::take(&mut self.overtaken) {
            self.directory.tally().take_overs.add(1);
            self.mark(Mark::TakeOver);
            self.directory.events().tell(|| Event::UploadTakenOver { id: self.id.clone(), offset });
        }
        self.note(Step::CameBack(lease));
        if METERED {
            self.sight.lease_opened(lease, asker.peer, SystemTime::now());
        }
        if offset > 0 {
            let request_id = asker.request_id.clone().unwrap_or_default();
            info!(self.logger, "upload resumed"; "offset" => offset, "request_id" => &*request_id);
            let said =
                Said { message: "upload resumed", offset: Some(offset), why: None, request_id: Some(request_id) };
            self.remember(Level::Info, said);
        }
    }

    /// The lease was committed: its holder has all it wanted.
    pub(super) fn on_committed(&mut self) {
        self.tell_received(None);
        self.holder = None;
        self.on_left();
    }

    /// Nobody may append any more, until somebody comes.
    fn on_left(&mut self) {
        self.sight.lease_ended();
        self.note(Step::Left);
    }

    /// The lease is over: one line in the log, when it did not end as its holder wanted.
    fn end_of_lease(&mut self) {
        let Some(holder) = self.holder.take() else { return };
        self.tell_received(None);
        self.on_left();
        if self.state.is_finished() {
            // With its last bytes, before its holder could say that these were all: nothing was interrupted.
            return;
        }
        let Holder { request_id, departure, ended, by, .. } = holder;
        let cause: Interruption = match (ended, departure) {
            (Some(end), _) => end.into(),
            (None, Some(departure)) => departure.into(),
            // It was being committed.
            (None, None) if self.state.is_ending() => Interruption::Terminated,
            (None, None) => Interruption::StoreFailed,
        };
        self.overtaken |= cause == Interruption::TakenOver;
        let (offset, by) = (self.state.stored(), by.filter(|_| cause == Interruption::ByOperator));
        let why: Cow<'static, str> = by.map_or(cause.words().into(), |by| format!("{}: {by}", cause.words()).into());
        info!(self.logger, "upload interrupted"; "why" => &*why, "offset" => offset, "request_id" => &*request_id);
        self.directory.tally().interrupted(cause);
        self.tell_interrupted(cause);
        self.mark(Mark::Cut(cause));
        let said =
            Said { message: "upload interrupted", offset: Some(offset), why: Some(why), request_id: Some(request_id) };
        self.remember(Level::Info, said);
        self.directory.events().tell(|| Event::UploadInterrupted { id: self.id.clone(), offset, cause });
    }

    pub(super) fn on_finished(&mut self, length: u64) {
        info!(self.logger, "upload completed"; "length" => length);
        self.tell_finished();
        self.directory.note_end(&self.id);
        self.directory.tally().finished.add(1);
        self.note(Step::Finished(length));
        self.directory.events().tell(|| Event::UploadFinished { id: self.id.clone(), length });
    }

    pub(super) fn on_deleted(&mut self, expired: bool) {
        self.tell_deleted();
        self.directory.note_end(&self.id);
        let (offset, id, tally) = (self.state.stored(), self.id.clone(), self.directory.tally());
        let (message, event) = if expired {
            tally.expired.add(1);
            ("upload expired", Event::UploadExpired { id, offset })
        } else {
            tally.terminated.add(1);
            ("upload terminated", Event::UploadTerminated { id, offset })
        };
        info!(self.logger, "{}", message; "offset" => offset);
        self.remember(Level::Info, Said { message, offset: Some(offset), ..Said::default() });
        self.directory.events().tell(|| event);
    }

    pub(super) fn on_store_failed(&mut self, error: &StorageError, is_full: bool) {
        let (level, message) = if is_full {
            warn!(self.logger, "store is full"; "error" => %error);
            (Level::Warning, "store is full")
        } else {
            error!(self.logger, "store failed"; "error" => %error);
            (Level::Error, "store failed")
        };
        self.remember(level, Said { message, why: Some(error.to_string().into()), ..Said::default() });
    }

    pub(super) fn on_partial_lost(&mut self, partial: &UploadId) {
        warn!(self.logger, "a partial upload is gone"; "partial" => %partial);
        let why = Some(partial.to_string().into());
        self.remember(Level::Warning, Said { message: "a partial upload is gone", why, ..Said::default() });
    }

    /// All that an operator may see, as it is now.
    pub(super) fn view(&self) -> View {
        let lease = self.sight.lease().map(|(number, since, peer)| LeaseReport {
            number,
            request_id: self.holder.as_ref().map(|holder| Arc::clone(&holder.request_id)),
            since,
            peer,
        });
        View {
            state: self.sight.state(),
            snapshot: self.snapshot(),
            changed: self.changed,
            lease,
            parts: self.blob.parts(),
            history: self.course.report(),
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
