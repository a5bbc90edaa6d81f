//! The words of the facade: what it is configured with and asked for, and what comes back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::view::Tuning;
use crate::{
    Kind, UploadId,
    hooks::{self, Caller, HookError, HookResponse},
    lease::Lease,
    post::{KindReport, MailboxReport, Unanswered},
    storage::{Durability, ErrorKind},
    upload::{
        messages::{Consulted, Snapshot},
        state::Refusal,
    },
};

/// What the owners of uploads need to know of the settings.
#[derive(Clone)]
pub struct Config {
    /// When an acknowledged byte must be on stable storage.
    pub durability: Durability,
    /// The memory for bytes that are on their way to the store. It has the size that `tuning` says.
    pub budget: Arc<crate::Budget>,
    /// What may be changed later.
    pub tuning: Tuning,
    /// How many finished (and how many expired) uploads are kept in mind.
    pub remembered: usize,
    /// How the application hears of uploads, if it does.
    pub hooks: Option<hooks::Config>,
    /// Hears which uploads end.
    pub watcher: Option<Arc<dyn crate::events::Watcher>>,
}

/// Why a request got nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    /// The owner's mailbox is full.
    #[error("the mailbox is full")]
    Overloaded,
    /// The owner did not answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The owner died, or could not be started.
    #[error("the owner died")]
    Died,
    /// The owner's own answer.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The application said no.
    #[error("denied by the application: {0:?}")]
    Denied(Denial),
    /// The application could not be asked.
    #[error("a hook failed: {0}")]
    Hook(Arc<HookError>),
}

/// What the application does not want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// That the upload is created.
    Creation,
    /// That more bytes of it come.
    Upload,
    /// That it is deleted.
    Termination,
    /// That this request gets at it.
    Access,
}

/// The application's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What it does not want.
    pub what: Denied,
    /// Laid over the answer that the client gets.
    pub response: Arc<HookResponse>,
}

impl From<Unanswered> for AskFailure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Overloaded => Self::Overloaded,
            // An owner that retired has been asked twice then, or the message must not go to another.
            Unanswered::Retired | Unanswered::Died => Self::Died,
        }
    }
}

impl From<ErrorKind> for AskFailure {
    fn from(kind: ErrorKind) -> Self {
        Self::Refused(match kind {
            ErrorKind::NotFound => Refusal::NotFound,
            ErrorKind::Exists => Refusal::Exists,
            ErrorKind::NoSpace => Refusal::NoSpace,
            ErrorKind::TooLarge => Refusal::SizeExceeded,
            ErrorKind::Corrupt | ErrorKind::Failed => Refusal::StoreFailed,
        })
    }
}

/// An upload to be created.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Its name, a random one: whether it is taken is asked only of one that a hook gives it instead.
    pub id: UploadId,
    /// Its length; `None` to be declared later.
    pub length: Option<u64>,
    /// Its metadata, decoded.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// `Upload-Metadata` as it was sent.
    pub raw_metadata: Option<String>,
    /// Its role in a concatenation.
    pub kind: Kind,
    /// `Upload-Concat` as it was sent, for a final upload.
    pub raw_concat: Option<String>,
    /// Where its bytes are to lie, if the application has said so.
    pub place: Option<String>,
    /// The request, as the application is told of it; see [`Uploads::wants_callers`](super::Uploads::wants_callers).
    pub caller: Option<Arc<Caller>>,
    /// The most bytes that it may have, where that is less than any upload may.
    pub max_size: Option<u64>,
}

/// What came of creating an upload.
#[derive(Debug, Clone)]
pub struct Created {
    /// The upload.
    pub snapshot: Snapshot,
    /// What the application wants laid over the answer, from before the creation.
    pub response: Option<Arc<HookResponse>>,
    /// What came of asking it before the finish, of an upload that is finished already.
    pub consulted: Option<Arc<Consulted>>,
}

/// Asks to append to an upload.
#[derive(Debug, Clone)]
pub struct Appending {
    /// Where the client means to go on.
    pub offset: u64,
    /// The upload's length, when it is declared only now.
    pub declared_length: Option<u64>,
    /// How many bytes will come, when that is known.
    pub announced: Option<u64>,
    /// The bytes count only when the lease is committed.
    pub tentative: bool,
    /// The request's id, for the log.
    pub request_id: Arc<str>,
    /// Who sends it, for operators.
    pub peer: Option<SocketAddr>,
    /// The request, as the application is told of it; see [`Uploads::wants_callers`](super::Uploads::wants_callers).
    pub caller: Option<Arc<Caller>>,
}

/// What came of asking to append.
pub enum Begun {
    /// Go on.
    Lease {
        /// The right to append.
        lease: Lease,
        /// When the upload expires, in seconds since the Unix epoch.
        expires_at_secs: Option<u64>,
    },
    /// The upload is finished; there is nothing to append.
    Complete {
        /// Its length.
        offset: u64,
    },
}

/// The mailboxes at one moment.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    /// Mailboxes whose messages wait longer than this (at the 99th percentile of a minute) are called slow.
    pub slow_after: Duration,
    /// Sums over all mailboxes of a kind, and over the queues of pools.
    pub kinds: Vec<KindReport>,
    /// Those of actors other than owners, and the queues of pools.
    pub workers: Vec<MailboxReport>,
    /// One for each owner that runs.
    pub uploads: Vec<MailboxReport>,
    /// How many owners have died of a panic.
    pub died: u64,
}

impl Mailboxes {
    /// Whether the messages of a kind wait too long, or one of them has begun to.
    #[must_use]
    pub fn is_slow(&self, kind: &KindReport) -> bool {
        let oldest = self.workers.iter().chain(&self.uploads).filter(|mailbox| mailbox.kind == kind.kind);
        let oldest = oldest.filter_map(|mailbox| mailbox.gauge.oldest_age).max();
        kind.dwell.last_minute.p99 > self.slow_after || oldest > Some(self.slow_after)
    }
}
