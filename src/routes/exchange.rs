//! One request and its reply: the request's id, its line in the log, and the headers that every reply carries.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, SocketAddrV4},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use actix_http::{
    ConnectionType, RequestHead, Response, StatusCode,
    body::{self, BodySize, BoxBody, MessageBody},
};
use bytes::Bytes;
use futures_util::Stream;
use slog::{Drain, Level, Logger, info, o};
use wharf_actors::post::now_nanos;

use super::{
    Site,
    fields::{self, Lines},
    request_id,
};
use crate::{
    metrics::{Ended, Method},
    problem::Told,
    protocol::{Fields, Header, Refusal, cors::CorsAnswer, reply, route},
    server::peer_name,
    telemetry::hostile,
};

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

/// A header that the application wants in an answer.
pub(super) struct Over {
    pub(super) name: String,
    pub(super) value: String,
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
    /// What goes over the headers of the same names.
    pub(super) over: Vec<Over>,
    code: Option<&'static str>,
}

impl Reply {
    pub(super) fn new(status: u16, headers: Vec<Header>) -> Self {
        Self {
            status,
            headers,
            body: Body::Empty,
            close: false,
            bare: false,
            received: 0,
            over: Vec::new(),
            code: None,
        }
    }

    pub(super) fn refusal(refusal: Refusal) -> Self {
        Self {
            status: refusal.status(),
            headers: reply::refused(refusal),
            body: Body::Text(refusal.body()),
            close: refusal.closes_connection(),
            bare: refusal == Refusal::OriginNotAllowed,
            received: 0,
            over: Vec::new(),
            code: Some(refusal.code()),
        }
    }

    /// Refused, with what the application wants laid over the answer.
    pub(super) fn told(told: Told) -> Self {
        Self::refusal(told.refusal).overlaid(told.over.as_deref())
    }

    pub(super) fn with(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
        self
    }
}

/// One request, from its head to the last byte of its reply. Its end is its line in the log, also when the client went
/// away in between and the handler was dropped.
pub(super) struct Exchange {
    is_options: bool,
    line: Line,
}

/// The line in the log, written when it is dropped.
struct Line {
    site: Arc<Site>,
    counted: Method,
    method: actix_http::Method,
    path: String,
    request_id: Arc<str>,
    peer: Option<SocketAddr>,
    started_nanos: u64,
    status: Cell<Option<u16>>,
    code: Cell<Option<&'static str>>,
    received: Cell<u64>,
    sent: Rc<Cell<u64>>,
}

impl Line {
    /// Names the request. Few requests need one before their end.
    fn logger(&self) -> Logger {
        self.site.logger.new(o!("request_id" => Arc::clone(&self.request_id)))
    }
}

/// A client's address, written out when a line is.
struct Peer(Option<SocketAddr>);

impl slog::Value for Peer {
    fn serialize(&self, _: &slog::Record<'_>, key: slog::Key, serializer: &mut dyn slog::Serializer) -> slog::Result {
        match self.0 {
            Some(SocketAddr::V4(address)) => serializer.emit_str(key, written(address, &mut [0; 21])),
            other => serializer.emit_str(key, &peer_name(other)),
        }
    }
}

/// The same as the standard library writes, which takes many times as long: each request has one. `text` has room for the
/// longest.
fn written(address: SocketAddrV4, text: &mut [u8; 21]) -> &str {
    let mut begin = text.len();
    let mut push = |mut number: u16, before: Option<u8>| {
        loop {
            begin -= 1;
            text[begin] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        if let Some(before) = before {
            begin -= 1;
            text[begin] = before;
        }
    };
    let [first, second, third, fourth] = address.ip().octets().map(u16::from);
    push(address.port(), Some(b':'));
    for octet in [fourth, third, second] {
        push(octet, Some(b'.'));
    }
    push(first, None);
    std::str::from_utf8(&text[begin..]).unwrap_or_default()
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
        let (at_nanos, status) = (now_nanos(), self.status.get().unwrap_or(0));
        let took_nanos = at_nanos.saturating_sub(self.started_nanos);
        let (code, sent_bytes) = (self.code.get(), self.sent.get());
        self.site.metrics.ended(Ended { method: self.counted, status, code, sent_bytes, took_nanos, at_nanos });
        if !self.site.config.log_requests || !self.site.logger.is_enabled(Level::Info) {
            return;
        }
        info!(self.logger(), "{}", if status == 0 { "request aborted" } else { "request" };
            "method" => hostile(self.method.as_str()), "path" => hostile(&self.path), "status" => status,
            Code(code), "received_bytes" => self.received.get(), "sent_bytes" => sent_bytes,
            "duration_us" => took_nanos / 1000, "peer" => Peer(self.peer));
    }
}

impl Exchange {
    pub(super) fn new(head: &RequestHead, fields: &Lines<'_>, peer: Option<SocketAddr>, site: &Arc<Site>) -> Self {
        let request_id = request_id::given(fields.first("x-request-id")).unwrap_or_else(request_id::fresh);
        let counted = Method::of(route::method(head.method.as_str(), fields));
        site.metrics.began(counted);
        let line = Line {
            site: Arc::clone(site),
            counted,
            method: head.method.clone(),
            path: head.uri.path_and_query().map_or("", |path| path.as_str()).to_owned(),
            request_id,
            peer,
            started_nanos: now_nanos(),
            status: Cell::new(None),
            code: Cell::new(None),
            received: Cell::new(0),
            sent: Rc::default(),
        };
        Self { is_options: counted == Method::Options, line }
    }

    pub(super) fn method(&self) -> &str {
        self.line.method.as_str()
    }

    pub(super) fn path(&self) -> &str {
        &self.line.path
    }

    pub(super) fn request_id(&self) -> &Arc<str> {
        &self.line.request_id
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.line.peer
    }

    /// Whether it is, or may be, a browser's preflight.
    pub(super) fn is_options(&self) -> bool {
        self.is_options
    }

    pub(super) fn logger(&self) -> Logger {
        self.line.logger()
    }

    /// Builds the response, with what belongs on each, and hands it the line in the log to be written at its end.
    pub(super) fn respond(mut self, reply: Reply, cors: CorsAnswer) -> Response<BoxBody> {
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Who has reset the connection hears no answer: it was not refused, it went away.
        let is_heard = reply.code != Some(Refusal::ConnectionReset.code());
        self.line.status.set(is_heard.then_some(status.as_u16()));
        self.line.code.set(reply.code);
        self.line.received.set(reply.received);
        let is_head = self.method() == "HEAD";
        // actix writes this header by itself, from the size of the body.
        let told_length = reply.headers.iter().find(|(name, _)| *name == "content-length");
        let told_length = told_length.and_then(|(_, length)| length.parse().ok());
        let request_id = Arc::clone(&self.line.request_id);
        let body = match reply.body {
            Body::Empty if is_head && told_length.is_some() => {
                BoxBody::new(Logged { body: BoxBody::new(Announced(told_length.unwrap_or(0))), line: self.line })
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
        let headers = response.headers_mut();
        if !reply.bare {
            reply::common().into_iter().for_each(|header| fields::append(headers, header));
        }
        fields::append(headers, ("x-request-id", String::from(&*request_id).into()));
        if let CorsAnswer::Headers(allowed) = cors {
            allowed.into_iter().for_each(|header| fields::append(headers, header));
        }
        reply.headers.into_iter().for_each(|header| fields::append(headers, header));
        reply.over.iter().for_each(|over| fields::replace(headers, &over.name, &over.value));
        if reply.close {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        response
    }
}

/// The body of an answer to HEAD: none, but its length is told.
struct Announced(u64);

impl MessageBody for Announced {
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_address_is_written_as_the_standard_library_does(ip: [u8; 4], port: u16) {
            let address = SocketAddrV4::new(ip.into(), port);
            let mut text = [0; 21];
            proptest::prop_assert_eq!(written(address, &mut text), address.to_string());
        }
    }

    #[test]
    fn the_shortest_and_the_longest_address_have_room() {
        for text in ["0.0.0.0:0", "255.255.255.255:65535", "127.0.0.1:80"] {
            let mut room = [0; 21];
            assert_eq!(written(text.parse().unwrap(), &mut room), text);
        }
    }
}
