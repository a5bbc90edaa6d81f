//! What an owner tells an operator.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

/// What an upload is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadState {
    /// A request holds the right to append.
    Receiving,
    /// Bytes are missing, and nobody sends any.
    Idle,
    /// A final upload whose bytes are not together yet.
    Waiting,
    /// All is there.
    Finished,
    /// It is being deleted, or its owner must be started anew.
    Ending,
}

impl UploadState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Receiving, Self::Idle, Self::Waiting, Self::Finished, Self::Ending];

    /// A name for answers and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Finished => "finished",
            Self::Ending => "ending",
        }
    }
}

/// Who may append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseReport {
    /// The lease's number, unique in the process.
    pub number: u64,
    /// The request that holds it; `None` when the owner could not be asked.
    pub request_id: Option<Arc<str>>,
    /// Since when.
    pub since: SystemTime,
    /// Who sends.
    pub peer: Option<SocketAddr>,
}
