//! What S3's answers mean when they are no success, whichever client they came to.

use std::{error::Error, io, time::Duration};

use super::{ClientError, ErrorKind};

/// Maps S3's code for one object of many.
pub(super) fn entry(operation: &'static str, code: Option<&str>, message: Option<&str>) -> ClientError {
    let kind = answered(operation, 200, code);
    ClientError::new(kind, operation, code.map(str::to_owned), message.unwrap_or("no message"))
}

/// An answer that lacks what it must have.
pub(super) fn lacks(operation: &'static str, what: &'static str) -> ClientError {
    ClientError::new(ErrorKind::Corrupt, operation, None, format!("the answer has no proper {what}"))
}

/// What an answer with an error says.
pub(super) fn answered(operation: &'static str, status: u16, code: Option<&str>) -> ErrorKind {
    let kind = match code {
        Some(code) => named(code).or_else(|| numbered(operation, status)),
        None => numbered(operation, status),
    };
    match (kind, code) {
        // The work had begun when the 200 was sent.
        (Some(ErrorKind::Throttled), _) if status == 200 => ErrorKind::Unavailable,
        (Some(kind), _) => kind,
        (None, Some(_)) if status == 200 => ErrorKind::Unavailable,
        // Neither an error nor what the operation answers with.
        (None, None) if (200..300).contains(&status) => ErrorKind::Corrupt,
        (None, _) => ErrorKind::Invalid,
    }
}

fn named(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "NoSuchKey" => ErrorKind::NoSuchKey,
        "NoSuchUpload" => ErrorKind::NoSuchUpload,
        "NoSuchBucket" => ErrorKind::NoSuchBucket,
        "AccessDenied"
        | "AccountProblem"
        | "AllAccessDisabled"
        | "ExpiredToken"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired" => ErrorKind::Denied,
        "PreconditionFailed" => ErrorKind::Precondition,
        "ConditionalRequestConflict"
        | "OperationAborted"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "TooManyRequestsException" => ErrorKind::Throttled,
        "InternalError" | "RequestTimeout" | "ServiceUnavailable" => ErrorKind::Unavailable,
        "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" => ErrorKind::Corrupt,
        // These come with a 200 also, when a multipart upload is completed.
        "EntityTooLarge" | "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder" | "InvalidRequest"
        | "NotImplemented" => ErrorKind::Invalid,
        _ => return None,
    })
}

/// By the status, for answers without a code, as those to HEAD and those of proxies are.
fn numbered(operation: &'static str, status: u16) -> Option<ErrorKind> {
    Some(match status {
        404 if matches!(operation, "HeadObject" | "GetObject") => ErrorKind::NoSuchKey,
        401 | 403 => ErrorKind::Denied,
        412 => ErrorKind::Precondition,
        429 => ErrorKind::Throttled,
        501 => ErrorKind::Invalid,
        408 | 500..600 => ErrorKind::Unavailable,
        _ => return None,
    })
}

/// What an attempt without an answer is: certainly not sent when there was no connection to send it on.
pub(super) fn unanswered(error: &(dyn Error + 'static)) -> ErrorKind {
    let refused = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        })
    };
    if chain(error).any(refused) { ErrorKind::Unreachable } else { ErrorKind::Unavailable }
}

/// An answer that can't be read.
#[cfg(feature = "rusoto")]
pub(super) fn unreadable(operation: &'static str, error: &(dyn Error + 'static)) -> ClientError {
    ClientError::new(ErrorKind::Corrupt, operation, None, format!("the answer can't be read: {}", reasons(error)))
}

/// An answer that did not come in time.
pub(super) fn timed_out(operation: &'static str, patience: Duration) -> ClientError {
    ClientError::new(ErrorKind::Unavailable, operation, None, format!("no answer within {patience:?}"))
}

/// An error and its causes.
pub(super) fn chain<'error>(
    error: &'error (dyn Error + 'static),
) -> impl Iterator<Item = &'error (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The error with its causes in one line.
pub(super) fn reasons(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, answered};

    #[test]
    fn codes_come_before_statuses() {
        for (operation, status, code, kind) in [
            ("GetObject", 404, Some("NoSuchKey"), ErrorKind::NoSuchKey),
            ("HeadObject", 404, Some("NotFound"), ErrorKind::NoSuchKey),
            ("HeadObject", 404, None, ErrorKind::NoSuchKey),
            ("ListParts", 404, Some("NoSuchUpload"), ErrorKind::NoSuchUpload),
            ("GetObject", 404, Some("NoSuchBucket"), ErrorKind::NoSuchBucket),
            ("ListParts", 404, None, ErrorKind::Invalid),
            ("HeadObject", 403, None, ErrorKind::Denied),
            ("UploadPart", 400, Some("ExpiredToken"), ErrorKind::Denied),
            ("PutObject", 412, Some("PreconditionFailed"), ErrorKind::Precondition),
            ("PutObject", 409, Some("ConditionalRequestConflict"), ErrorKind::Throttled),
            ("UploadPart", 503, Some("SlowDown"), ErrorKind::Throttled),
            ("UploadPart", 429, None, ErrorKind::Throttled),
            ("UploadPart", 503, None, ErrorKind::Unavailable),
            ("UploadPart", 503, Some("ServiceUnavailable"), ErrorKind::Unavailable),
            ("UploadPart", 500, Some("SomethingNew"), ErrorKind::Unavailable),
            ("UploadPart", 400, Some("RequestTimeout"), ErrorKind::Unavailable),
            ("UploadPart", 400, Some("BadDigest"), ErrorKind::Corrupt),
            ("UploadPart", 400, Some("InvalidArgument"), ErrorKind::Invalid),
            ("PutObject", 501, Some("NotImplemented"), ErrorKind::Invalid),
            ("PutObject", 301, Some("PermanentRedirect"), ErrorKind::Invalid),
            ("CompleteMultipartUpload", 400, Some("EntityTooSmall"), ErrorKind::Invalid),
            ("CompleteMultipartUpload", 200, Some("EntityTooSmall"), ErrorKind::Invalid),
            ("CompleteMultipartUpload", 200, Some("NoSuchUpload"), ErrorKind::NoSuchUpload),
            ("CompleteMultipartUpload", 200, Some("InternalError"), ErrorKind::Unavailable),
            ("CompleteMultipartUpload", 200, Some("SlowDown"), ErrorKind::Unavailable),
            ("CompleteMultipartUpload", 200, Some("SomethingNew"), ErrorKind::Unavailable),
            ("CompleteMultipartUpload", 200, None, ErrorKind::Corrupt),
        ] {
            assert_eq!(answered(operation, status, code), kind, "{operation} {status} {code:?}");
        }
    }
}
