//! What can be said to the owner of an upload.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use tokio::sync::oneshot;

use super::{
    Pieces,
    state::{LeaseEnd, LeaseId, Refusal},
    view::{LeaseReport, UploadState},
};
use crate::{
    Claimant, Info, Record, UploadId,
    history::HistoryReport,
    hooks::{Caller, HookError, HookResponse},
    storage::PartReport,
};

/// What an asker gets.
pub(crate) type Answered = Result<Reply, Refusal>;

/// One who waits for an answer.
#[derive(Debug)]
pub(crate) struct Asker {
    /// `None` for one who needs no answer.
    answer: Option<oneshot::Sender<Answered>>,
    /// All that the lease is asked for: with it the lease is committed at once.
    pub(super) brings: Option<Pieces>,
    /// The request that asks for a lease, for the log.
    pub(crate) request_id: Option<Arc<str>>,
    /// Who sends that request, for operators.
    pub(crate) peer: Option<SocketAddr>,
    /// That request, as the application is told of it.
    pub(crate) caller: Option<Arc<Caller>>,
    /// On whose behalf; `None` when the upload's owner does not matter.
    pub(crate) on_behalf_of: Option<Claimant>,
}

impl From<oneshot::Sender<Answered>> for Asker {
    fn from(answer: oneshot::Sender<Answered>) -> Self {
        Self { answer: Some(answer), ..Self::nobody() }
    }
}

impl Asker {
    /// One who does not wait.
    pub(super) fn nobody() -> Self {
        Self { answer: None, brings: None, request_id: None, peer: None, caller: None, on_behalf_of: None }
    }

    /// One who asks for a lease, and has all that is to be appended.
    pub(crate) fn bringing(self, pieces: Pieces) -> Self {
        Self { brings: Some(pieces), ..self }
    }

    /// What was brought, unless nobody waits for its answer any more.
    pub(super) fn take_brought(&mut self) -> Option<Pieces> {
        let is_gone = self.answer.as_ref().is_none_or(oneshot::Sender::is_closed);
        self.brings.take().filter(|_| !is_gone)
    }

    /// One who asks on behalf of a request.
    pub(crate) fn of_request(
        answer: oneshot::Sender<Answered>,
        request_id: Arc<str>,
        peer: Option<SocketAddr>,
        caller: Option<Arc<Caller>>,
    ) -> Self {
        Self { request_id: Some(request_id), peer, caller, ..Self::from(answer) }
    }

    /// The same, for a request that the application may be told of.
    pub(crate) fn called_by(self, caller: Option<Arc<Caller>>) -> Self {
        Self { caller, ..self }
    }

    /// The same, for somebody.
    pub(crate) fn on_behalf_of(self, claimant: Option<Claimant>) -> Self {
        Self { on_behalf_of: claimant, ..self }
    }

    /// Answers; false when the asker has gone.
    pub(crate) fn answer(self, answer: Answered) -> bool {
        self.answer.is_none_or(|asker| asker.send(answer).is_ok())
    }
}

/// What an owner answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A lease from `offset` on for at most `room` bytes; `end` tells when the owner wants it back.
    Granted {
        lease: LeaseId,
        offset: u64,
        room: Option<u64>,
        end: oneshot::Receiver<Ended>,
        expires_at_secs: Option<u64>,
    },
    /// The upload is finished: nothing is left to append.
    Complete { offset: u64 },
    /// Others are at work on the upload: what was brought comes back.
    Busy(Pieces),
    /// The bytes are stored.
    Appended,
    /// All bytes of the lease are stored.
    Committed(Committed),
    /// Where the upload stands.
    Inspected(Box<Snapshot>),
    /// The published form, when the upload is finished.
    Peeked { record: Option<Arc<Record>>, expires_at_secs: Option<u64>, consulted: Option<Arc<Consulted>> },
    /// The final upload is noted. The partial one's length, when it is known.
    Joined(Option<u64>),
    /// Whether there was an open lease, which has been ended.
    Interrupted { ended: bool },
    /// It is deleted.
    Terminated,
}

/// What became of a lease that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the upload.
    pub offset: u64,
    /// Whether this finished it.
    pub finished: bool,
    /// When the upload expires, in seconds since the Unix epoch.
    pub expires_at_secs: Option<u64>,
    /// What came of asking the application before the finish.
    pub consulted: Option<Arc<Consulted>>,
}

/// What came of asking the application before an upload was finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consulted {
    /// This is to be laid over the answer.
    Answered(HookResponse),
    /// The hook failed. The upload is finished all the same.
    Failed(HookError),
}

/// How a lease was ended from the owner's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub why: LeaseEnd,
    /// What the application wants the client to be told, when it was the one who ended it.
    pub response: Option<Arc<HookResponse>>,
}

/// An upload at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What is known beside the bytes.
    pub info: Info,
    /// How many bytes count; `None` for a final upload that is not concatenated yet.
    pub offset: Option<u64>,
    /// When it expires, in seconds since the Unix epoch.
    pub expires_at_secs: Option<u64>,
    /// Its published form, once it is finished.
    pub record: Option<Arc<Record>>,
}

/// Why the holder of a lease gives it back without having committed it. For the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The request was dropped: the connection was reset.
    ConnectionLost,
    /// The body ended too early.
    UnexpectedEof,
    /// No byte came for too long.
    ReadTimeout,
    /// The body was broken in form.
    Malformed,
    /// The digest of the bytes is not the one that was given.
    ChecksumMismatch,
    /// The body was longer than the upload has room for.
    TooLong,
    /// The owner wanted the lease back.
    Yielded,
}

/// Asks for a lease. Sent by a request that wants to append; answered with [`Reply::Granted`] or [`Reply::Complete`].
pub(crate) struct Begin {
    pub(crate) begin: super::state::Begin,
    pub(crate) asker: Asker,
}

/// Hands bytes over. Sent by the holder of the lease; answered with [`Reply::Appended`] when they are stored.
pub(crate) struct Append {
    pub(crate) lease: LeaseId,
    pub(crate) pieces: Pieces,
    pub(crate) asker: Asker,
}

/// Says that all bytes of the lease have been handed over. Answered with [`Reply::Committed`] when all are stored.
pub(crate) struct Commit {
    pub(crate) lease: LeaseId,
    pub(crate) asker: Asker,
}

/// Gives a lease back. Sent from a drop guard, so it is never answered.
pub(crate) struct Release {
    pub(crate) lease: LeaseId,
    pub(crate) why: Departure,
}

/// Asks for an offset that the next append may use. Ends an open lease; answered with [`Reply::Inspected`].
pub(crate) struct Inspect {
    pub(crate) asker: Asker,
}

/// Asks for the published form of a finished upload. Disturbs nobody; answered with [`Reply::Peeked`].
pub(crate) struct Peek {
    pub(crate) asker: Asker,
}

/// Asks to delete the upload; answered with [`Reply::Terminated`].
pub(crate) struct Terminate {
    pub(crate) asker: Asker,
}

/// Asks to delete the upload if its time has run out and nobody needs it. Sent by the reaper, never answered.
pub(crate) struct Expire;

/// Asks a partial upload to note a final one that it is part of; answered with [`Reply::Joined`] when that is stored.
pub(crate) struct Join {
    pub(crate) final_id: UploadId,
    pub(crate) asker: Asker,
}

/// Tells a final upload that a partial one has finished with this length, or is gone.
pub(crate) struct PartialEnded {
    pub(crate) partial: UploadId,
    pub(crate) length: Option<u64>,
}

/// Says that the application has heard that bytes come in under a lease, and whether it wants no more of them. Sent when its
/// hook has answered, or failed.
pub(crate) struct Received {
    pub(crate) lease: LeaseId,
    pub(crate) stop: Option<HookResponse>,
}

/// The server ends: no lease any more.
pub(crate) struct Close;

/// Asks the owner to store its upload's new expiry date. Sent by the owner to itself.
pub(crate) struct StoreExpiry;

/// Asks to end an open lease on an operator's behalf. Answered with [`Reply::Interrupted`], whether there was one or not.
pub(crate) struct Interrupt {
    /// Who wants it, for the log.
    pub(crate) by: Arc<str>,
    pub(crate) asker: Asker,
}

/// Asks for all that an operator may see; `None` when the upload has been deleted, which its owner outlives for a moment.
/// Disturbs nobody: it neither ends a lease nor keeps an idle owner alive.
pub(crate) struct Look {
    pub(crate) answer: oneshot::Sender<Option<View>>,
}

/// What an operator may see.
pub(crate) struct View {
    pub(crate) state: UploadState,
    pub(crate) snapshot: Snapshot,
    pub(crate) changed: SystemTime,
    pub(crate) lease: Option<LeaseReport>,
    pub(crate) parts: Option<Vec<PartReport>>,
    pub(crate) history: Option<HistoryReport>,
}
