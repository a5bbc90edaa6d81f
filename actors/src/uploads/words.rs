//! The words of the facade: what it is configured with and asked for, and what comes back.

use std::{sync::Arc, time::Duration};

use crate::{
    Kind, UploadId,
    lease::Lease,
    post::{GaugeReport, KindReport, Unanswered},
    storage::{Durability, ErrorKind},
    upload::state::Refusal,
};

/// What the owners of uploads need to know of the settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest upload, in bytes; `None` for no limit.
    pub max_size: Option<u64>,
    /// When an acknowledged byte must be on stable storage.
    pub durability: Durability,
    /// How many messages may wait in the mailbox of one owner.
    pub mailbox: usize,
    /// An owner without work ends after this long.
    pub idle_owner: Duration,
    /// How long a request waits for an owner or the store.
    pub patience: Duration,
    /// How long an upload lives after its last change; `None` for ever.
    pub expire_after: Option<Duration>,
    /// How long the reaper rests between two rounds; `None` switches it off.
    pub expire_interval: Option<Duration>,
    /// Whether a final upload may be made of unfinished partial ones.
    pub concatenation_unfinished: bool,
    /// The memory for bytes that are on their way to the store.
    pub budget: std::sync::Arc<crate::Budget>,
    /// How many finished (and how many expired) uploads are kept in mind.
    pub remembered: usize,
}

/// Why a request got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
    /// Its name.
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
    /// Sums over all mailboxes of a kind.
    pub kinds: Vec<KindReport>,
    /// One for each owner that runs.
    pub uploads: Vec<(UploadId, GaugeReport)>,
    /// How many owners have died of a panic.
    pub died: u64,
}
