//! The answers that the proxy makes up or spoils.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

/// The body of any answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is at hand.
pub(super) fn full(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// An error as S3 spells it, under any status.
pub(super) fn error(status: u16, code: &str) -> Response<AnswerBody> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message>\
         <RequestId>PROXY</RequestId></Error>"
    );
    let mut answer = Response::new(full(text.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// The first half of `whole` under its old head, then the end of the connection.
pub(super) fn halved(head: hyper::http::response::Parts, whole: &Bytes) -> Response<AnswerBody> {
    Response::from_parts(head, Halved { half: Some(whole.slice(..whole.len() / 2)), flushed: false }.boxed_unsync())
}

struct Halved {
    half: Option<Bytes>,
    flushed: bool,
}

impl Body for Halved {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.flushed {
            // One pause lets what there is go out before the connection ends.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// An answer to ListParts without its last part, or without any.
pub(super) fn without_parts(mut head: hyper::http::response::Parts, whole: &Bytes, all: bool) -> Response<AnswerBody> {
    let mut text = String::from_utf8_lossy(whole).into_owned();
    while let Some((start, end)) = last_part(&text) {
        text.replace_range(start..end, "");
        if !all {
            break;
        }
    }
    set_length(&mut head.headers, text.len());
    Response::from_parts(head, full(text.into()))
}

fn last_part(text: &str) -> Option<(usize, usize)> {
    const CLOSE: &str = "</Part>";
    Some((text.rfind("<Part>")?, text.rfind(CLOSE)? + CLOSE.len()))
}

fn set_length(headers: &mut HeaderMap, length: usize) {
    if headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}
