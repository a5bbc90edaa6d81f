//! Conditional requests: RFC 9110 section 13.2.2 for reads, and what S3 makes of them for writes.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{ETAG, HeaderValue};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use super::state::Object;

/// The conditions of a read; those on the source of a copy are the same.
#[derive(Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// Refuses with 304 or 412 when `object` isn't as asked for.
    pub(crate) fn check_read(&self, object: &Object) -> S3Result<()> {
        let modified = whole_seconds(object.modified);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, &object.e_tag) => return Err(failed()),
            (None, Some(since)) if modified > *since => return Err(failed()),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches(condition, &object.e_tag) => Err(not_modified(object)),
            (None, Some(since)) if modified <= *since => Err(not_modified(object)),
            _ => Ok(()),
        }
    }

    /// The same for a copy's source, which knows no 304.
    pub(crate) fn check_source(&self, object: &Object) -> S3Result<()> {
        self.check_read(object).map_err(|_| failed())
    }
}

/// Refuses a write when what is at the key isn't as asked for.
pub(crate) fn check_write(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    present: Option<&Object>,
) -> S3Result<()> {
    match (if_match, present) {
        (Some(_), None) => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        (Some(condition), Some(object)) if !matches(condition, &object.e_tag) => return Err(failed()),
        _ => {}
    }
    match (if_none_match, present) {
        (Some(ETagCondition::Any), Some(_)) => Err(failed()),
        (Some(ETagCondition::ETag(_)), _) => {
            Err(s3_error!(NotImplemented, "If-None-Match of a write takes nothing but *"))
        }
        _ => Ok(()),
    }
}

fn matches(condition: &ETagCondition, e_tag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(value) | ETag::Weak(value)) => value == e_tag,
    }
}

/// As Last-Modified shows it: a fraction of a second would make an object newer than its own date.
pub(crate) fn whole_seconds(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from(UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs()))
}

fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

fn not_modified(object: &Object) -> S3Error {
    let mut error = s3_error!(NotModified);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("\"{}\"", object.e_tag)) {
        headers.insert(ETAG, value);
    }
    error.set_headers(headers);
    error
}
