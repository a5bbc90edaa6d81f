//! One request and its reply: the request's id, its line in the log, and the headers that every reply carries.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use actix_http::{
    ConnectionType, RequestHead, Response, StatusCode,
    body::{self, BodySize, BoxBody, MessageBody},
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_util::Stream;
use slog::{Logger, info, o};
use wharf_actors::UploadId;

use super::Site;
use crate::{
    metrics::{Ended, Method, Metrics},
    protocol::{Fields, Header, Refusal, cors::CorsAnswer, reply, route},
    server::{BodyKind, peer_name},
    telemetry::hostile,
};

/// The longest `X-Request-ID` that is taken over.
const REQUEST_ID_MAX: usize = 128;

/// The fields of a request, read out of actix's map. That of its length is not in there: the server keeps it.
pub(super) struct Lines<'a> {
    map: &'a HeaderMap,
    content_length: Option<String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(map: &'a HeaderMap, body: Option<BodyKind>) -> Self {
        let content_length = match body {
            Some(BodyKind::Length(length)) => Some(length.to_string()),
            Some(BodyKind::None | BodyKind::Chunked) | None => None,
        };
        Self { map, content_length }
    }
}

impl Fields for Lines<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        match name {
            "content-length" => self.content_length.as_deref().map(str::as_bytes),
            _ => self.map.get(name).map(HeaderValue::as_bytes),
        }
    }

    fn count(&self, name: &str) -> usize {
        self.lines(name).len()
    }

    fn lines(&self, name: &str) -> Vec<&[u8]> {
        match name {
            "content-length" => self.first(name).into_iter().collect(),
            _ => self.map.get_all(name).map(HeaderValue::as_bytes).collect(),
        }
    }
}

/// What is sent of an upload.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>>>>;

/// The body of a reply.
pub(super) enum Body {
    /// None; `Content-Length`, if it is among the headers, tells what GET would bring.
    Empty,
    /// A few words.
    Text(String),
    /// Bytes that lie ready.
    Ready(Bytes),
    /// So many bytes.
    Stream(u64, Chunks),
    /// So many bytes as `content-length` tells, brought into the socket by this.
    Direct(Direct),
}

/// A body that goes to the socket by itself.
pub(super) struct Direct {
    /// Resolves when all of it is there.
    pub(super) sending: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    /// How many bytes have gone.
    pub(super) sent: Rc<Cell<u64>>,
}

/// What a method answers.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<Header>,
    pub(super) body: Body,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// Refused before anything of the protocol was looked at.
    bare: bool,
    /// How many bytes of the request's body were taken.
    pub(super) received: u64,
    code: Option<&'static str>,
}

impl Reply {
    pub(super) fn new(status: u16, headers: Vec<Header>) -> Self {
        Self { status, headers, body: Body::Empty, close: false, bare: false, received: 0, code: None }
    }

    pub(super) fn refusal(refusal: Refusal) -> Self {
        Self {
            status: refusal.status(),
            headers: reply::refused(refusal),
            body: Body::Text(refusal.body()),
            close: refusal.closes_connection(),
            bare: refusal == Refusal::OriginNotAllowed,
            received: 0,
            code: Some(refusal.code()),
        }
    }

    pub(super) fn with(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
        self
    }
}

/// One request, from its head to the last byte of its reply. Its end is its line in the log, also when the client went
/// away in between and the handler was dropped.
pub(super) struct Exchange {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_id: Arc<str>,
    is_options: bool,
    line: Line,
}

/// The line in the log, written when it is dropped.
struct Line {
    logger: Logger,
    metrics: Arc<Metrics>,
    counted: Method,
    on: bool,
    method: String,
    path: String,
    peer: Option<SocketAddr>,
    started: Instant,
    status: Cell<Option<u16>>,
    code: Cell<Option<&'static str>>,
    received: Cell<u64>,
    sent: Rc<Cell<u64>>,
}

/// The refusal's code, on the lines of refused requests only.
struct Code(Option<&'static str>);

impl slog::KV for Code {
    fn serialize(&self, _: &slog::Record<'_>, serializer: &mut dyn slog::Serializer) -> slog::Result {
        self.0.map_or(Ok(()), |code| serializer.emit_str("code", code))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let (at, status) = (Instant::now(), self.status.get().unwrap_or(0));
        let took = at.duration_since(self.started);
        let (code, sent_bytes) = (self.code.get(), self.sent.get());
        self.metrics.ended(Ended { method: self.counted, status, code, sent_bytes, took, at });
        if !self.on {
            return;
        }
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let peer = peer_name(self.peer);
        info!(self.logger, "{}", if status == 0 { "request aborted" } else { "request" };
            "method" => hostile(&self.method), "path" => hostile(&self.path), "status" => status,
            Code(code), "received_bytes" => self.received.get(), "sent_bytes" => sent_bytes,
            "duration_us" => duration_us, "peer" => peer);
    }
}

impl Exchange {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.line.peer
    }

    pub(super) fn new(head: &RequestHead, peer: Option<SocketAddr>, site: &Site) -> Self {
        let given = head.headers.get("x-request-id").map(HeaderValue::as_bytes);
        let is_plain = |id: &&[u8]| (1..=REQUEST_ID_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        let given = given.filter(is_plain).and_then(|id| std::str::from_utf8(id).ok());
        let request_id: Arc<str> = given.map_or_else(|| UploadId::random().as_str().into(), Arc::from);
        let method = head.method.as_str().to_owned();
        let lines = Lines::new(&head.headers, None);
        let counted = Method::of(route::method(&method, &lines));
        site.metrics.began(counted);
        let is_options = counted == Method::Options;
        let path = head.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
        let line = Line {
            logger: site.logger.new(o!("request_id" => request_id.to_string())),
            metrics: Arc::clone(&site.metrics),
            counted,
            on: site.config.log_requests,
            method: method.clone(),
            path: path.clone(),
            peer,
            started: Instant::now(),
            status: Cell::new(None),
            code: Cell::new(None),
            received: Cell::new(0),
            sent: Rc::default(),
        };
        Self { method, path, request_id, is_options, line }
    }

    /// Whether it is, or may be, a browser's preflight.
    pub(super) fn is_options(&self) -> bool {
        self.is_options
    }

    pub(super) fn logger(&self) -> &Logger {
        &self.line.logger
    }

    /// Builds the response, with what belongs on each, and hands it the line in the log to be written at its end.
    pub(super) fn respond(mut self, reply: Reply, cors: CorsAnswer) -> Response<BoxBody> {
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Who has reset the connection hears no answer: it was not refused, it went away.
        let is_heard = reply.code != Some(Refusal::ConnectionReset.code());
        self.line.status.set(is_heard.then_some(status.as_u16()));
        self.line.code.set(reply.code);
        self.line.received.set(reply.received);
        let is_head = self.method == "HEAD";
        // actix writes this header by itself, from the size of the body.
        let told_length = reply.headers.iter().find(|(name, _)| *name == "content-length");
        let told_length = told_length.and_then(|(_, length)| length.parse().ok());
        let body = match reply.body {
            Body::Empty if is_head && told_length.is_some() => {
                BoxBody::new(Logged { body: BoxBody::new(Told(told_length.unwrap_or(0))), line: self.line })
            }
            Body::Empty if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || is_head => {
                BoxBody::new(Logged { body: BoxBody::new(body::None::new()), line: self.line })
            }
            Body::Empty => BoxBody::new(Logged { body: BoxBody::new(Bytes::new()), line: self.line }),
            // HEAD's errors have neither body nor length.
            Body::Text(_) | Body::Ready(_) if is_head => {
                BoxBody::new(Logged { body: BoxBody::new(body::None::new()), line: self.line })
            }
            Body::Text(text) => BoxBody::new(Logged { body: BoxBody::new(text), line: self.line }),
            Body::Ready(bytes) => BoxBody::new(Logged { body: BoxBody::new(bytes), line: self.line }),
            Body::Stream(len, chunks) => {
                BoxBody::new(Logged { body: BoxBody::new(body::SizedStream::new(len, chunks)), line: self.line })
            }
            Body::Direct(direct) => {
                self.line.sent = Rc::clone(&direct.sent);
                BoxBody::new(Logged { body: BoxBody::new(direct), line: self.line })
            }
        };
        let is_direct = body.size() == BodySize::Stream;
        let mut response = Response::with_body(status, body);
        // actix lets the length be told, and adds nothing of its own.
        response.head_mut().no_chunking(is_direct);
        let mut headers = if reply.bare { Vec::new() } else { reply::common() };
        headers.push(("x-request-id", self.request_id.to_string()));
        if let CorsAnswer::Headers(allowed) = cors {
            headers.extend(allowed);
        }
        headers.extend(reply.headers);
        for (name, value) in headers {
            // A value that can't be in a header at all was let through by nobody; leaving it out is the safe side.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        if reply.close {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        response
    }
}

/// The body of an answer to HEAD: none, but its length is told.
struct Told(u64);

impl MessageBody for Told {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// To actix it has no bytes.
impl MessageBody for Direct {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.sending.as_mut().poll(context).map(|sent| sent.err().map(Err))
    }
}

/// A body whose end is the end of the exchange.
struct Logged {
    body: BoxBody,
    line: Line,
}

impl MessageBody for Logged {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.line.sent.set(self.line.sent.get() + bytes.len() as u64);
        }
        next
    }
}
