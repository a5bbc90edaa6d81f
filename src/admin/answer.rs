//! Answers: their headers, their JSON, and what is said when something is refused.

use std::{convert::Infallible, pin::Pin, task};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    http::{StatusCode, header},
};
use bytes::Bytes;
use serde::Serialize;

/// Nothing from elsewhere, nothing inline, in no frame; and no script can make elements out of text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// For programs.
    pub(super) error: &'static str,
    /// For people.
    pub(super) message: String,
    /// The methods that the path knows.
    pub(super) allow: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: u16, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), allow: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(401, "unauthorized", message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(403, "forbidden", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(404, "not_found", message)
    }

    pub(super) fn no_upload() -> Self {
        Self::not_found("no such upload")
    }

    pub(super) fn no_event() -> Self {
        Self::not_found("no such event waits for its next try")
    }

    pub(super) fn method(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(405, "method_not_allowed", format!("the methods here are {allow}")) }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "unavailable", message)
    }
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
    message: &'a str,
}

impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> Self {
        let Problem { status, error, message, allow } = problem;
        let mut response = json(status, &Error { error, message: &message });
        let headers = response.headers_mut();
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, header::HeaderValue::from_static(allow));
        }
        if status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer realm=\"wharf\""));
        }
        response
    }
}

/// An answer with what belongs on each.
pub(super) fn build(status: u16) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("content-security-policy", POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        builder.insert_header((name, value));
    }
    builder
}

/// An answer of JSON.
pub(super) fn json(status: u16, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(text) => build(status).content_type("application/json").body(text),
        // Nothing that is served has keys that aren't text.
        Err(_) => build(500).finish(),
    }
}

/// An answer without a body.
pub(super) fn empty() -> HttpResponse {
    build(204).finish()
}

/// A text of this type.
pub(super) fn text(media_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    build(200).content_type(media_type).body(body.into())
}

/// The same answer, to HEAD: it tells the length of a body that it hasn't.
pub(super) fn without_body(response: HttpResponse) -> HttpResponse {
    response.map_body(|_, body| actix_web::body::BoxBody::new(Told(body.size())))
}

struct Told(BodySize);

impl MessageBody for Told {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<Option<Result<Bytes, Infallible>>> {
        task::Poll::Ready(None)
    }
}
