//! A connection's state, shared by what actix reads (heads only, through `Wire`) and what the handler of the current
//! request reads (the body, through `Incoming`). Both run in the connection's one task. One request is served at a time:
//! the next head is read when the answer to the one before it is out.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_http::RequestHead;
use bytes::{Bytes, BytesMut};
use slog::Logger;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::framing::{self, BodyKind, HEAD_LIMIT_BYTES, Trailers};
use super::stream::Stream;
use super::wire::Limits;

/// How many bytes are read at once while a head is awaited: a head and 16 KiB, which many clients send behind it. What
/// follows the head is copied once.
const HEAD_READ_BYTES: usize = 20 * 1024;
/// How much of later requests is taken from the socket while one is being answered.
const AHEAD_MAX_BYTES: usize = 4 * 1024;

/// What stands for a head that can't be read.
const UNREADABLE: &[u8] = b"UNREADABLE / HTTP/1.1\r\nHost: unreadable\r\nConnection: close\r\n\r\n";

thread_local! {
    /// Where heads are read to first, so that a connection that waits for one holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEAD_READ_BYTES].into_boxed_slice());
}

/// Why a request can't be served, or its body not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The client broke the rules of HTTP.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The head is longer than the server reads.
    #[error("request head too long: {0}")]
    HeadTooLarge(&'static str),
    /// actix and this server read the same head in two ways.
    #[error("the readers of this connection disagree: {0}")]
    Disagreement(&'static str),
}

/// The request that is being served.
#[derive(Debug)]
pub(super) struct Current {
    /// What it asks, until actix has been found to have read the same.
    asked: Option<framing::Asked>,
    kind: BodyKind,
    body: framing::Body,
}

/// See the module.
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// What has come and is not used yet.
    inbox: BytesMut,
    /// How much of the inbox has been searched for the end of a head.
    searched: usize,
    /// What actix is to be given: a head without its body.
    for_actix: Bytes,
    current: Option<Current>,
    /// Nothing is read any more, and why.
    fault: Option<Fault>,
    /// The client has ended its side.
    ended: bool,
    /// What is left of a request's body is not wanted.
    abandoned: bool,
    /// Whether all is out that actix had when `await_flush` was called.
    flushed: bool,
    /// Who waits for that.
    writer: Option<Waker>,
    limits: Limits,
    /// The socket, while others read from it.
    lent: Weak<OwnedFd>,
    /// actix, when it waits for what no byte from the socket tells.
    reader: Option<Waker>,
    logger: Logger,
}

/// The connection, as actix's connection data.
pub(super) type Shared = Rc<RefCell<Connection>>;

impl Connection {
    pub(super) fn new(stream: Stream, limits: Limits, logger: Logger) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            searched: 0,
            for_actix: Bytes::new(),
            current: None,
            fault: None,
            ended: false,
            abandoned: false,
            flushed: true,
            writer: None,
            limits: Limits { head_max_bytes: limits.head_max_bytes.min(HEAD_LIMIT_BYTES), ..limits },
            lent: Weak::new(),
            reader: None,
            logger,
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn is_mid_head(&self) -> bool {
        self.current.is_none() && !self.inbox.is_empty() && self.fault.is_none()
    }

    /// Whether the client may still be sending what nobody will read.
    pub(super) fn has_unread(&self) -> bool {
        self.fault.is_some() || self.abandoned || self.current.as_ref().is_some_and(|current| !current.body.is_over())
    }

    /// Gives actix what is next for it: a head, or the end of the stream.
    pub(super) fn poll_heads(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.for_actix.is_empty() {
                let ready = self.for_actix.len().min(buffer.remaining());
                buffer.put_slice(&self.for_actix.split_to(ready));
                return Poll::Ready(Ok(()));
            }
            if self.fault.is_some() || self.abandoned {
                return Poll::Ready(Ok(()));
            }
            if self.current.is_some() && (!self.is_over() || self.inbox.len() >= AHEAD_MAX_BYTES) {
                return self.park(context);
            }
            if self.current.is_none() && self.find_head() {
                continue;
            }
            if self.ended {
                // The bytes of a cut head go with it.
                return Poll::Ready(Ok(()));
            }
            if self.poll_fill(context)?.is_pending() {
                return self.park(context);
            }
        }
    }

    fn park(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if !self.reader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.reader = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Reads what is there into the inbox, and notes the end of the stream.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(pin!(&mut self.stream).poll_read(context, &mut read))?;
            self.ended = read.filled().is_empty();
            self.inbox.extend_from_slice(read.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// Looks for a head in the inbox; true when there is something for actix now.
    fn find_head(&mut self) -> bool {
        // The last byte of a head is a line feed. Without this test a head that trickles would be read over and over.
        let news = &self.inbox[self.searched..];
        let may_be_whole = !news.is_empty() && (self.searched == 0 || news.contains(&b'\n'));
        let len = self.inbox.len().min(self.limits.head_max_bytes);
        self.searched = self.inbox.len();
        if may_be_whole {
            match framing::read_head(&self.inbox[..len]) {
                Ok(Some(head)) => {
                    self.begin(head);
                    return true;
                }
                Ok(None) => {}
                Err(fault) => return self.refuse_head(fault),
            }
        }
        self.inbox.len() >= self.limits.head_max_bytes && self.refuse_head(Fault::HeadTooLarge("too many bytes"))
    }

    /// What can't be read as a head is not shown to actix. In its place it gets one that says so, which comes to the handler
    /// with the fault, to be refused and logged as all others are.
    fn refuse_head(&mut self, fault: Fault) -> bool {
        slog::info!(self.logger, "unreadable request"; "reason" => %fault);
        self.fault = Some(fault);
        self.for_actix = Bytes::from_static(UNREADABLE);
        let body = framing::Body::new(BodyKind::None);
        self.current = Some(Current { asked: None, kind: BodyKind::None, body });
        true
    }

    fn begin(&mut self, head: framing::Head) {
        let mut bytes = self.take_inbox(head.len);
        self.searched = 0;
        framing::mask(&mut bytes, &head);
        self.for_actix = bytes.freeze();
        self.fault = head.refusal.map(Fault::Malformed);
        let body = framing::Body::new(head.body);
        self.current = Some(Current { asked: head.asked, kind: head.body, body });
    }

    /// Takes bytes from the front of the inbox. An inbox that gets empty holds no memory.
    fn take_inbox(&mut self, len: usize) -> BytesMut {
        if len == self.inbox.len() { std::mem::take(&mut self.inbox) } else { self.inbox.split_to(len) }
    }

    /// The current request as actix has read it. Each is claimed once, when its handler is about to be called.
    pub(super) fn claim(&mut self, head: &RequestHead) -> BodyKind {
        let Some(current) = &mut self.current else { return self.disagree("a request that was not there") };
        let (asked, kind) = (current.asked.take(), current.kind);
        if self.fault.is_none() && !asked.is_some_and(|asked| asked.is(&head.method, &head.uri)) {
            return self.disagree("another method or target");
        }
        kind
    }

    fn disagree(&mut self, reason: &'static str) -> BodyKind {
        slog::error!(self.logger, "readers of a connection disagree"; "reason" => reason);
        self.fault = Some(Fault::Disagreement(reason));
        BodyKind::None
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// More of the current request's body, of what is in the inbox. `None` when that has none.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        while let Some(current) = &mut self.current
            && !current.body.is_over()
            && !self.inbox.is_empty()
            && self.fault.is_none()
        {
            let step = current.body.step(&self.inbox);
            let is_over = current.body.is_over();
            if let framing::Progress::Fault(reason) = step.progress {
                self.fault = Some(Fault::Malformed(reason));
            }
            drop(self.take_inbox(step.framing));
            let piece = self.take_inbox(step.data);
            if is_over {
                self.inbox = BytesMut::from(&self.inbox[..]);
                self.wake();
            }
            if !piece.is_empty() {
                return Some(piece.freeze());
            }
        }
        None
    }

    /// Whether there is something to be said of the body without looking at the socket.
    pub(super) fn has_news(&self) -> bool {
        !self.inbox.is_empty() || self.fault.is_some() || self.ended || self.is_over()
    }

    /// Whether the current request's body is over.
    pub(super) fn is_over(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.body.is_over())
    }

    /// How many bytes of the body are still to come at most; `None` when nobody knows.
    pub(super) fn left(&self) -> Option<u64> {
        self.current.as_ref().and_then(|current| current.body.left())
    }

    /// How many bytes of the body lie in the socket, as nothing but bytes of that body: `None` where they can't be told from
    /// what else comes, or something is to be said of the body first.
    pub(super) fn lying(&self) -> Option<usize> {
        let left = self.left().filter(|_| !self.has_news())?;
        let lying = self.stream.plain()?.lying();
        Some(lying.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Others read from the socket for as long as they hold this.
    pub(super) fn lend(&mut self, socket: &Arc<OwnedFd>) {
        self.lent = Arc::downgrade(socket);
    }

    /// They have read so many bytes of the body.
    pub(super) fn pass(&mut self, len: usize) {
        if let Some(current) = &mut self.current {
            current.body.pass(len as u64);
            if current.body.is_over() {
                self.wake();
            }
        }
    }

    /// Whether others may still be reading from the socket, though nobody waits for them any more.
    pub(super) fn is_lent(&self) -> bool {
        self.lent.strong_count() > 0
    }

    /// Puts what has come from the socket into the empty inbox.
    pub(super) fn refill(&mut self, bytes: BytesMut) {
        self.ended = bytes.is_empty();
        self.inbox = bytes;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn trailers(&mut self) -> Trailers {
        match self.current.as_mut().map(|current| &mut current.body) {
            Some(framing::Body::Over(trailers)) => std::mem::take(trailers),
            _ => Trailers::new(),
        }
    }

    /// The handler has answered and wants no more of the body. Returns whether the connection must close after the answer:
    /// unless what is left of the body has come already.
    pub(super) fn settle(&mut self) -> bool {
        while self.next_piece().is_some() {}
        self.fault.is_some() || !self.is_over()
    }

    pub(super) fn write_timeout(&self) -> Duration {
        self.limits.write_timeout
    }

    /// From now on it is to be told when actix has written all that it has.
    pub(super) fn await_flush(&mut self) {
        self.flushed = false;
    }

    pub(super) fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.flushed {
            return Poll::Ready(());
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// actix has written all that it has: it flushes only then.
    pub(super) fn note_flush(&mut self) {
        if !std::mem::replace(&mut self.flushed, true)
            && let Some(waker) = self.writer.take()
        {
            waker.wake();
        }
    }

    /// The answer is out, to its last byte.
    pub(super) fn answered(&mut self) {
        self.abandoned |= !self.is_over();
        self.current = None;
        self.wake();
    }
}
