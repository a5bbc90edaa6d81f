//! What those who run the hooks tell one another.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    EventKind, Notice,
    docket::{Owed, OwedState},
    job::{Called, Job, Turn},
};

/// The two queues of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Requests wait for these calls.
    Ask,
    /// Nobody does.
    Tell,
}

/// Asks the dispatcher to have a hook called. Sent by [`Hooks`](super::Hooks) and the outbox.
pub(super) struct Submit {
    pub(super) class: Class,
    /// The calls of one upload come in their order.
    pub(super) upload: u64,
    pub(super) job: Job,
}

/// A runner asks the dispatcher for its next call, which comes as [`Carry`].
pub(super) struct Ready {
    pub(super) runner: u64,
}

/// A call is under way no more.
pub(super) struct Returned {
    pub(super) class: Class,
    pub(super) upload: u64,
}

/// A runner is no more.
pub(super) struct Left {
    pub(super) runner: u64,
}

/// Asks the dispatcher to have so many runners from now on.
pub(super) struct Resize {
    pub(super) workers: usize,
}

/// Asks the dispatcher to end once all calls that it has are done. Answered at its end.
pub(super) struct Close {
    pub(super) answer: Option<oneshot::Sender<()>>,
}

/// Asks a runner to call a hook.
pub(super) struct Carry {
    pub(super) job: Job,
    pub(super) turn: Turn,
}

/// Asks a runner to end, once the call in its hands is done.
pub(super) struct Leave;

/// Asks the outbox which name an event is to have that will be owed if the upload comes to this end: the one that it has
/// already, or a new one.
pub(super) struct Claim {
    pub(super) kind: EventKind,
    pub(super) upload: String,
    pub(super) fresh: String,
    pub(super) answer: oneshot::Sender<String>,
}

/// The end has come: the event is owed to the application from now on.
pub(super) struct Owe {
    pub(super) event_id: String,
    pub(super) notice: Option<Arc<Notice>>,
}

/// The end does not come, or is not to be told: the event is removed. Answered when it is.
pub(super) struct Withdraw {
    pub(super) event_id: String,
    pub(super) answer: Option<oneshot::Sender<()>>,
}

/// The upload is gone without having come to its end: what was noted for that is removed.
pub(super) struct Forget {
    pub(super) upload: String,
}

/// What has become of what an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It came to pass: the event is owed.
    Came,
    /// It may still come.
    Open,
    /// It did not, and if it does there will be another event.
    Failed,
}

/// What was found in the outbox at the start. Of no effect when it is of this run: whoever noted it knows more.
pub(super) struct Recovered {
    pub(super) event_id: String,
    pub(super) kind: EventKind,
    pub(super) upload: String,
    pub(super) fate: Fate,
}

/// What came of the delivery of an event.
pub(super) struct Delivered {
    pub(super) event_id: String,
    pub(super) called: Called,
}

/// Asks for the events in the outbox, the oldest first: those that wait for this, or all.
pub(super) struct List {
    pub(super) state: Option<OwedState>,
    pub(super) limit: usize,
    pub(super) answer: oneshot::Sender<Vec<Owed>>,
}

/// Asks to deliver an event now that waits for its next try; all that wait when it names none. Answered with how many.
pub(super) struct Retry {
    pub(super) event_id: Option<String>,
    pub(super) answer: oneshot::Sender<usize>,
}
