//! The only mapping from what went wrong with an upload to what a client is told.

use wharf_actors::{AskFailure, LeaseEnd, Refusal as Denied};

use crate::protocol::Refusal;

/// What any request but HEAD is told.
pub(crate) fn of(failure: AskFailure) -> Refusal {
    match failure {
        AskFailure::Overloaded | AskFailure::TimedOut => Refusal::Overloaded,
        AskFailure::Died => Refusal::Internal,
        AskFailure::Refused(denied) => of_denial(denied),
    }
}

/// What HEAD is told: clients throw an upload away when HEAD fails, so a state that passes is "locked", never a 5xx.
pub(crate) fn of_inspection(failure: AskFailure) -> Refusal {
    match failure {
        AskFailure::Overloaded
        | AskFailure::TimedOut
        | AskFailure::Died
        | AskFailure::Refused(Denied::NoSpace | Denied::StoreFailed | Denied::ShuttingDown) => Refusal::UploadLocked,
        AskFailure::Refused(denied) => of_denial(denied),
    }
}

/// What the holder of a lease is told when the owner ends it.
pub(crate) fn of_end(end: LeaseEnd) -> Refusal {
    of_denial(end.into())
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
        Denied::Interrupted | Denied::Terminated => Refusal::UploadInterrupted,
        Denied::ShuttingDown => Refusal::ServerShutdown,
        Denied::NoSpace => Refusal::InsufficientStorage,
        Denied::StoreFailed => Refusal::Internal,
        Denied::NotFinished => Refusal::UploadNotFinished,
        Denied::Exists => Refusal::UploadExists,
    }
}
