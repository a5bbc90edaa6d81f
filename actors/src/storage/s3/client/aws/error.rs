//! What the SDK's errors mean to those who know only [`ErrorKind`].

use std::{error::Error, io};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::{ClientError, ErrorKind};

/// Maps an error of the SDK.
pub(super) fn failed<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> ClientError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let (kind, code) = match error {
        SdkError::ServiceError(refused) => {
            let code = refused.err().code();
            (answered(operation, status.unwrap_or(0), code), code)
        }
        SdkError::ConstructionFailure(_) => (credentials(error).unwrap_or(ErrorKind::Invalid), None),
        SdkError::DispatchFailure(_) => (dispatch(error), None),
        // Time-outs, answers that broke off, and what is to come.
        _ => (ErrorKind::Unavailable, None),
    };
    let status = status.map_or_else(String::new, |status| format!("status {status}: "));
    ClientError::new(kind, operation, code.map(str::to_owned), format!("{status}{}", reasons(error)))
}

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
fn answered(operation: &'static str, status: u16, code: Option<&str>) -> ErrorKind {
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

/// A request without an answer. It was certainly not sent when there was no connection to send it on.
fn dispatch(error: &(dyn Error + 'static)) -> ErrorKind {
    let refused = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        })
    };
    match credentials(error) {
        Some(kind) => kind,
        None if chain(error).any(refused) => ErrorKind::Unreachable,
        None => ErrorKind::Unavailable,
    }
}

/// What an error of whoever provides the credentials means, if it is one.
fn credentials(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let found = chain(error).find_map(|cause| cause.downcast_ref::<CredentialsError>())?;
    Some(match found {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => ErrorKind::Unreachable,
        _ => ErrorKind::Denied,
    })
}

fn chain<'error>(error: &'error (dyn Error + 'static)) -> impl Iterator<Item = &'error (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The error with its causes in one line.
fn reasons(error: &(dyn Error + 'static)) -> String {
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
