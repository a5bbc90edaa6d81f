//! What a hook answers.

use std::collections::BTreeMap;

/// Laid over the answer that the client gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookResponse {
    /// The status; 0 leaves it as it is.
    pub status: u16,
    /// The body; empty leaves it as it is.
    pub body: String,
    /// Fields, which win over those of the same name.
    pub headers: BTreeMap<String, String>,
}

/// What pre-create changes about an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Its id.
    pub id: Option<String>,
    /// All of its metadata; an empty map clears it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Where it is to lie: `Path`, in a store of files.
    pub storage: Option<BTreeMap<String, String>>,
}

/// What the application has to say. The empty one changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Laid over the answer.
    pub response: HookResponse,
    /// The upload is not to be created (pre-create).
    pub reject_upload: bool,
    /// The upload is to stay (pre-terminate).
    pub reject_termination: bool,
    /// The request is not to be served (pre-access).
    pub reject_access: bool,
    /// The body is to end, and the upload to be deleted (post-receive).
    pub stop_upload: bool,
    /// Changes to the upload (pre-create).
    pub changes: Changes,
    /// For how many seconds the answer holds for other requests of the same client on the same upload (pre-access).
    pub cache_secs: u64,
}
