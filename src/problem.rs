//! The only mapping from what went wrong with an upload to what a client is told.

use std::sync::Arc;

use wharf_actors::{
    AskFailure, Denial, Denied as Unwanted, Ended, Refusal as Denied,
    hooks::{HookError, HookFailure, HookResponse},
};

use crate::protocol::Refusal;

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The refusal.
    pub(crate) refusal: Refusal,
    /// What the application wants laid over the answer.
    pub(crate) over: Option<Arc<HookResponse>>,
}

impl From<Refusal> for Told {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, over: None }
    }
}

/// What any request but HEAD is told.
pub(crate) fn of(failure: AskFailure) -> Told {
    match failure {
        AskFailure::Overloaded | AskFailure::TimedOut => Refusal::Overloaded.into(),
        AskFailure::Died => Refusal::Internal.into(),
        AskFailure::Refused(denied) => of_denial(denied).into(),
        AskFailure::Denied(Denial { what, response }) => Told { refusal: unwanted(what), over: Some(response) },
        AskFailure::Hook(error) if matches!(error.failure, HookFailure::Overloaded | HookFailure::Closed) => {
            Refusal::Overloaded.into()
        }
        AskFailure::Hook(error) => Told { refusal: Refusal::Internal, over: Some(Arc::new(hook_failed(&error))) },
    }
}

/// How a client is told that a hook failed: what it said itself, if it could speak, and else how it failed. The cause is for
/// the log.
pub(crate) fn hook_failed(error: &HookError) -> HookResponse {
    let how = match error.failure {
        HookFailure::TimedOut => "it took too long",
        HookFailure::Unreachable => "it could not be reached",
        HookFailure::Failed => "it failed",
        HookFailure::Nonsense => "its answer makes no sense",
        HookFailure::TooLong => "its answer is too long",
        HookFailure::Overloaded | HookFailure::Closed => "it could not be called",
    };
    let said = error.said.as_deref().map(|said| format!(": {}", said.trim_end())).unwrap_or_default();
    HookResponse { body: format!("{}: hook: {how}{said}\n", Refusal::Internal.code()), ..HookResponse::default() }
}

fn unwanted(what: Unwanted) -> Refusal {
    match what {
        Unwanted::Creation => Refusal::UploadRejected,
        Unwanted::Upload => Refusal::UploadStopped,
        Unwanted::Termination => Refusal::UploadTerminationRejected,
        Unwanted::Access => Refusal::AccessRejected,
    }
}

/// What HEAD is told: clients throw an upload away when HEAD fails, so a state that passes is "locked", never a 5xx.
pub(crate) fn of_inspection(failure: AskFailure) -> Told {
    match failure {
        AskFailure::Overloaded
        | AskFailure::TimedOut
        | AskFailure::Died
        | AskFailure::Hook(_)
        | AskFailure::Refused(Denied::NoSpace | Denied::StoreFailed | Denied::ShuttingDown) => {
            Refusal::UploadLocked.into()
        }
        failure => of(failure),
    }
}

/// What the holder of a lease is told when the owner ends it.
pub(crate) fn of_end(end: Ended) -> Told {
    of(end.into())
}

fn of_denial(denied: Denied) -> Refusal {
    match denied {
        Denied::NotFound => Refusal::UploadNotFound,
        Denied::Expired => Refusal::UploadExpired,
        Denied::MismatchedOffset => Refusal::MismatchedOffset,
        Denied::ModifyFinal => Refusal::ModifyFinal,
        Denied::InvalidLength => Refusal::InvalidUploadLength,
        Denied::MaxSizeExceeded => Refusal::MaxSizeExceeded,
        Denied::SizeExceeded => Refusal::UploadSizeExceeded,
        Denied::Stopped => Refusal::UploadStopped,
        Denied::Interrupted | Denied::Terminated => Refusal::UploadInterrupted,
        Denied::ShuttingDown => Refusal::ServerShutdown,
        Denied::NoSpace => Refusal::InsufficientStorage,
        Denied::StoreFailed => Refusal::Internal,
        Denied::NotFinished => Refusal::UploadNotFinished,
        Denied::Exists => Refusal::UploadExists,
    }
}
