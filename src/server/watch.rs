//! What a connection's framing reader tells the handlers of its requests, and the comparison of its view with actix's.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};

use actix_http::RequestHead;
use actix_http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use slog::Logger;

use super::framing::{BodyKind, Framing, Message, Trailers};

/// How many requests may wait for their handlers while more is read. actix itself holds 16, and the rest as bytes.
const WAITING_MAX: u64 = 64;

/// Why a request's body or trailers can't be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The client's bytes are not a well-formed request, or one that is not served here: 400, and the connection closes.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The two readers of this connection disagree about it. Nothing more is read from it.
    #[error("the readers of this connection disagree: {0}")]
    Disagreement(&'static str),
}

/// The state that a connection shares with the handlers of its requests.
pub(super) struct Watch {
    pub(super) framing: Framing,
    /// The number of the next request that actix will hand over.
    next: u64,
    /// How many requests have been answered to the last byte.
    answered: u64,
    poisoned: Option<&'static str>,
    /// A request that was answered before its body had come.
    abandoned: Option<u64>,
    /// How many bytes of the body that is being served its handler has taken.
    taken: u64,
    /// Set while the end of the stream is kept from actix.
    end_waits: bool,
    reader: Option<Waker>,
    unreadable_logged: bool,
    logger: Logger,
}

impl Watch {
    /// Whether nothing more may be read from the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.poisoned.is_some() || self.framing.malformed().is_some()
    }

    /// Whether so many requests wait that the next ones can stay in the socket.
    pub(super) fn is_full(&self) -> bool {
        self.framing.next_number() - self.next >= WAITING_MAX
    }

    /// The number of the first request that must wait for an answer to the one before it. actix keeps what it knows of
    /// one request only (whether it is HEAD, say), and answers the former one wrongly when it reads the next too soon.
    pub(super) fn first_to_wait(&self) -> u64 {
        self.answered + 1
    }

    /// Whether a body is still coming that no handler wants any more.
    pub(super) fn is_draining(&self) -> bool {
        self.abandoned.is_some() && self.abandoned == self.framing.open_body()
    }

    /// Whether actix has bytes of a body that its handler has not taken yet, and would throw away at the end of the stream.
    pub(super) fn must_keep_end(&mut self) -> bool {
        self.end_waits = self.framing.message(self.answered).is_some_and(|message| message.body_bytes > self.taken);
        self.end_waits
    }

    /// The end of the stream may go on to actix, if nothing else keeps it.
    fn reconsider_end(&mut self) {
        if self.end_waits && !self.must_keep_end() {
            self.wake();
        }
    }

    /// Remembers whom to wake when one of these answers changes.
    pub(super) fn park(&mut self, context: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.reader = Some(context.waker().clone());
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// A head that can't be read gets its 400 from actix itself, so no handler writes a line for it.
    pub(super) fn log_unreadable(&mut self) {
        if let Some(malformed) = self.framing.malformed().filter(|_| !self.unreadable_logged)
            && self.framing.message(malformed.number).is_none()
            && self.next <= malformed.number
        {
            self.unreadable_logged = true;
            slog::info!(self.logger, "unreadable request"; "reason" => malformed.reason);
        }
    }

    fn poison(&mut self, reason: &'static str) -> Fault {
        slog::error!(self.logger, "readers of a connection disagree"; "reason" => reason);
        self.poisoned = Some(reason);
        self.wake();
        Fault::Disagreement(reason)
    }

    /// Compares what actix made of a head with what the framing reader made of it.
    fn compare(&self, message: &Message, head: &RequestHead) -> Result<(), &'static str> {
        let is_malformed = self.framing.malformed().is_some_and(|malformed| malformed.number == message.number);
        if is_malformed && message.body == BodyKind::None {
            return Ok(()); // refused: it goes no further, so nothing hangs on the rest of its head
        }
        if !self.framing.is_same_request(message, head.method.as_str(), &head.uri) {
            return Err("another method or target");
        }
        let length = head.headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let body = match (head.headers.contains_key(TRANSFER_ENCODING), length) {
            (false, None) => BodyKind::None,
            (false, Some(Some(length))) => BodyKind::Length(length),
            (true, None) => BodyKind::Chunked,
            (_, Some(_)) => return Err("another body length"),
        };
        if body == message.body { Ok(()) } else { Err("another body length") }
    }
}

/// A connection's watch, as actix's connection data: `request.conn_data::<WatchHandle>()`.
#[derive(Clone)]
pub struct WatchHandle(pub(super) Rc<RefCell<Watch>>);

impl WatchHandle {
    pub(super) fn new(head_max_bytes: usize, logger: Logger) -> Self {
        Self(Rc::new(RefCell::new(Watch {
            framing: Framing::new(head_max_bytes),
            next: 0,
            answered: 0,
            poisoned: None,
            abandoned: None,
            taken: 0,
            end_waits: false,
            reader: None,
            unreadable_logged: false,
            logger,
        })))
    }

    /// The next request, in the order in which actix hands them over, each exactly once. `serve` does this, before the
    /// expect hook and the app see the request, and leaves the handle in the request's extensions.
    pub(super) fn next_request(&self, head: &RequestHead) -> MessageHandle {
        let mut watch = self.0.borrow_mut();
        let number = watch.next;
        if watch.is_full() {
            watch.wake();
        }
        watch.next += 1;
        let compared = watch.framing.message(number).map(|message| watch.compare(message, head));
        let disagreement = compared.unwrap_or(Err("a request that was not there")).err();
        let disagreement = disagreement.map(|reason| watch.poison(reason));
        MessageHandle { watch: Rc::clone(&self.0), number, disagreement }
    }

    /// A request has been answered to the last byte: the next one may be read.
    pub(super) fn answered(&self) {
        let mut watch = self.0.borrow_mut();
        watch.answered += 1;
        watch.taken = 0;
        watch.wake();
    }

    /// Whether the connection must close once the request of this number is answered.
    pub(super) fn must_close_after(&self, number: u64) -> bool {
        let watch = self.0.borrow();
        watch.poisoned.is_some() || watch.framing.malformed().is_some_and(|malformed| malformed.number <= number)
    }
}

/// One request's side of the watch. Take it out of the request's extensions:
/// `request.extensions_mut().remove::<MessageHandle>()`, and keep it for as long as the body is wanted: once it is dropped,
/// the client has the linger time to bring its body to an end.
pub struct MessageHandle {
    watch: Rc<RefCell<Watch>>,
    number: u64,
    disagreement: Option<Fault>,
}

impl MessageHandle {
    /// What is wrong with this request. Ask at its beginning, when it may be one that is not to be served (the answer is
    /// 400), and when its body breaks off: with no fault it was the client that went away.
    pub fn fault(&self) -> Option<Fault> {
        let malformed = self.watch.borrow().framing.malformed();
        let malformed = malformed.filter(|malformed| malformed.number == self.number);
        self.disagreement.or(malformed.map(|malformed| Fault::Malformed(malformed.reason)))
    }

    /// The handler has taken this many more bytes of the body.
    pub fn took(&self, bytes: usize) {
        let mut watch = self.watch.borrow_mut();
        watch.taken += bytes as u64;
        watch.reconsider_end();
    }

    /// The trailers, once actix has said that the body is over. Both readers must have seen the same body.
    pub fn finish(self, seen_bytes: u64) -> Result<Trailers, Fault> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let mut watch = self.watch.borrow_mut();
        match watch.framing.remove(self.number) {
            Some(message) if message.finished && message.body_bytes == seen_bytes => Ok(message.trailers),
            Some(message) if message.finished => Err(watch.poison("another number of body bytes")),
            _ => Err(watch.poison("another end of the body")),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for MessageHandle {
    fn drop(&mut self) {
        let mut watch = self.watch.borrow_mut();
        watch.framing.remove(self.number);
        watch.reconsider_end();
        if watch.framing.open_body() == Some(self.number) {
            watch.abandoned = Some(self.number);
            watch.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::Method;
    use actix_http::header::HeaderValue;
    use slog::o;

    use super::*;

    const PATCH: &[u8] = b"PATCH /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

    fn watch(bytes: &[u8]) -> WatchHandle {
        let watch = WatchHandle::new(1024, Logger::root(slog::Discard, o!()));
        watch.0.borrow_mut().framing.feed(bytes);
        watch
    }

    fn head(method: Method, target: &'static str, length: Option<&'static str>) -> RequestHead {
        let mut head = RequestHead::default();
        (head.method, head.uri) = (method, actix_http::Uri::from_static(target));
        if let Some(length) = length {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        head
    }

    #[test]
    fn the_same_view_of_two_requests_is_no_fault() {
        let watch = watch(&PATCH.repeat(2));
        for _ in 0..2 {
            let message = watch.next_request(&head(Method::PATCH, "/a", Some("5")));
            assert_eq!(message.fault(), None);
            assert_eq!(message.finish(5), Ok(Trailers::new()));
        }
        assert!(!watch.0.borrow().is_closed());
    }

    #[test]
    fn another_view_of_the_head_closes_the_connection() {
        let chunked = |mut head: RequestHead| {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            head
        };
        for (head, reason) in [
            (head(Method::PUT, "/a", Some("5")), "another method or target"),
            (head(Method::PATCH, "/b", Some("5")), "another method or target"),
            (head(Method::PATCH, "/a", Some("6")), "another body length"),
            (head(Method::PATCH, "/a", None), "another body length"),
            (chunked(head(Method::PATCH, "/a", None)), "another body length"),
            (chunked(head(Method::PATCH, "/a", Some("5"))), "another body length"),
        ] {
            let watch = watch(PATCH);
            let message = watch.next_request(&head);
            assert_eq!(message.fault(), Some(Fault::Disagreement(reason)));
            assert!(watch.0.borrow().is_closed());
            assert!(watch.must_close_after(0));
            assert_eq!(message.finish(5), Err(Fault::Disagreement(reason)));
        }
    }

    #[test]
    fn another_view_of_the_body_closes_the_connection() {
        for (bytes, seen, reason) in [
            (PATCH, 4, "another number of body bytes"),
            (PATCH, 6, "another number of body bytes"),
            (&PATCH[..PATCH.len() - 1], 4, "another end of the body"),
        ] {
            let watch = watch(bytes);
            let message = watch.next_request(&head(Method::PATCH, "/a", Some("5")));
            assert_eq!(message.finish(seen), Err(Fault::Disagreement(reason)));
            assert!(watch.0.borrow().is_closed());
        }
    }

    #[test]
    fn a_request_that_only_actix_saw_closes_the_connection() {
        let watch = watch(b"GET /a HT");
        let message = watch.next_request(&head(Method::GET, "/a", None));
        assert_eq!(message.fault(), Some(Fault::Disagreement("a request that was not there")));
        assert!(watch.0.borrow().is_closed());
    }

    #[test]
    fn a_malformed_request_is_no_fault_of_those_before_it() {
        let watch = watch(&[PATCH, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        let first = watch.next_request(&head(Method::PATCH, "/a", Some("5")));
        assert_eq!(first.fault(), None);
        assert!(!watch.must_close_after(0));
        assert_eq!(first.finish(5), Ok(Trailers::new()));
        let second = watch.next_request(&head(Method::CONNECT, "a:1", None));
        assert_eq!(second.fault(), Some(Fault::Malformed("CONNECT is not served")));
        assert!(watch.must_close_after(1));
    }

    #[test]
    fn the_end_is_kept_until_the_body_is_taken_or_nobody_wants_it() {
        let watch = watch(&PATCH[..PATCH.len() - 1]);
        assert!(watch.0.borrow_mut().must_keep_end());
        let message = watch.next_request(&head(Method::PATCH, "/a", Some("5")));
        message.took(3);
        assert!(watch.0.borrow_mut().must_keep_end());
        message.took(1);
        assert!(!watch.0.borrow_mut().must_keep_end());
        watch.0.borrow_mut().framing.feed(b"o");
        assert!(watch.0.borrow_mut().must_keep_end());
        drop(message);
        assert!(!watch.0.borrow_mut().must_keep_end());
    }

    #[test]
    fn a_handle_dropped_before_the_body_has_come_leaves_it_draining() {
        let watch = watch(&PATCH[..PATCH.len() - 1]);
        drop(watch.next_request(&head(Method::PATCH, "/a", Some("5"))));
        assert!(watch.0.borrow().is_draining());
        watch.0.borrow_mut().framing.feed(b"o");
        assert!(!watch.0.borrow().is_draining());
    }
}
