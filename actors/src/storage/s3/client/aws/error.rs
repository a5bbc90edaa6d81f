//! What the SDK's errors mean to those who know only [`ErrorKind`].

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::{
    ClientError, ErrorKind,
    error::{answered, chain, reasons, unanswered},
};

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

/// A request without an answer.
fn dispatch(error: &(dyn Error + 'static)) -> ErrorKind {
    credentials(error).unwrap_or_else(|| unanswered(error))
}

/// What an error of whoever provides the credentials means, if it is one.
fn credentials(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let found = chain(error).find_map(|cause| cause.downcast_ref::<CredentialsError>())?;
    Some(match found {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => ErrorKind::Unreachable,
        _ => ErrorKind::Denied,
    })
}
