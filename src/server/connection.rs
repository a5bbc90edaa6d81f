//! A connection's state, shared by the loop that serves it (`wire`: heads in, answers out) and the handler of the current
//! request (the body, through `Incoming`). Both run in the connection's one task. One request is served at a time: the next
//! head is looked for when the answer to the one before it is out.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::framing::{self, BodyKind, HEAD_LIMIT_BYTES, Head, Trailers};
use super::stream::Stream;
use super::wire::Limits;

/// How many bytes are read at once while a head is awaited: a head and 16 KiB, which many clients send behind it. What
/// follows the head is copied once.
const HEAD_READ_BYTES: usize = 20 * 1024;
/// How much of later requests is taken from the socket while one is being answered.
const AHEAD_MAX_BYTES: usize = 4 * 1024;

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
}

/// See the module.
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// What has come and is not used yet.
    inbox: BytesMut,
    /// How much of the inbox has been searched for the end of a head.
    searched: usize,
    /// The body of the request that is being served.
    body: Option<framing::Body>,
    /// Nothing is read any more, and why.
    fault: Option<Fault>,
    /// The client has ended its side.
    ended: bool,
    /// Whether all is out that there was to send when `await_flush` was called.
    flushed: bool,
    /// Who waits for that.
    writer: Option<Waker>,
    limits: Limits,
    /// The socket, while others read from it.
    lent: Weak<OwnedFd>,
}

/// The connection, as the loop and the handlers have it.
pub(super) type Shared = Rc<RefCell<Connection>>;

impl Connection {
    pub(super) fn new(stream: Stream, limits: Limits) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            searched: 0,
            body: None,
            fault: None,
            ended: false,
            flushed: true,
            writer: None,
            limits: Limits { head_max_bytes: limits.head_max_bytes.min(HEAD_LIMIT_BYTES), ..limits },
            lent: Weak::new(),
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn is_mid_head(&self) -> bool {
        self.body.is_none() && !self.inbox.is_empty() && self.fault.is_none()
    }

    /// Whether the client may still be sending what nobody will read.
    pub(super) fn has_unread(&self) -> bool {
        self.fault.is_some() || !self.is_over()
    }

    /// The next head; `None` at the end of the stream. The bytes of a cut head go with it.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Head>>> {
        loop {
            if let Some(head) = self.find_head() {
                return Poll::Ready(Ok(Some(head)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_fill(context))?;
        }
    }

    /// To be asked while a request is served: whether the client has reset the connection. A client that has ended its
    /// side may still read. Nothing is noticed as long as the body is not over: then only its reader looks at the socket.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        while self.is_over() && !self.ended && self.fault.is_none() && self.inbox.len() < AHEAD_MAX_BYTES {
            if let Err(error) = ready!(self.poll_fill(context)) {
                return Poll::Ready(error);
            }
        }
        Poll::Pending
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

    /// Looks for a head in the inbox.
    fn find_head(&mut self) -> Option<Head> {
        // The last byte of a head is a line feed. Without this test a head that trickles would be read over and over.
        let news = &self.inbox[self.searched..];
        let may_be_whole = !news.is_empty() && (self.searched == 0 || news.contains(&b'\n'));
        let len = self.inbox.len().min(self.limits.head_max_bytes);
        self.searched = self.inbox.len();
        if may_be_whole {
            match framing::read_head(&self.inbox[..len]) {
                Ok(Some(head)) => return Some(self.begin(head)),
                Ok(None) => {}
                Err(fault) => return Some(self.refuse(fault)),
            }
        }
        let is_full = self.inbox.len() >= self.limits.head_max_bytes;
        is_full.then(|| self.refuse(Fault::HeadTooLarge("too many bytes")))
    }

    fn refuse(&mut self, fault: Fault) -> Head {
        self.fault = Some(fault);
        self.body = Some(framing::Body::new(BodyKind::None));
        Head::unreadable()
    }

    fn begin(&mut self, head: Head) -> Head {
        drop(self.take_inbox(head.len));
        self.searched = 0;
        self.fault = head.refusal.map(Fault::Malformed);
        self.body = Some(framing::Body::new(head.body));
        head
    }

    /// Takes bytes from the front of the inbox. An inbox that gets empty holds no memory.
    fn take_inbox(&mut self, len: usize) -> BytesMut {
        if len == self.inbox.len() { std::mem::take(&mut self.inbox) } else { self.inbox.split_to(len) }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// More of the current request's body, of what is in the inbox. `None` when that has none.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        while let Some(body) = &mut self.body
            && !body.is_over()
            && !self.inbox.is_empty()
            && self.fault.is_none()
        {
            let step = body.step(&self.inbox);
            let is_over = body.is_over();
            if let framing::Progress::Fault(reason) = step.progress {
                self.fault = Some(Fault::Malformed(reason));
            }
            drop(self.take_inbox(step.framing));
            let piece = self.take_inbox(step.data);
            if is_over {
                self.inbox = BytesMut::from(&self.inbox[..]);
            }
            if !piece.is_empty() {
                return Some(piece.freeze());
            }
        }
        None
    }

    /// All that is left of the current request's body, if that is so many bytes and all of them are in the inbox.
    pub(super) fn take_whole(&mut self, len: u64) -> Option<Bytes> {
        let is_here = self.left() == Some(len) && self.inbox.len() as u64 >= len;
        if is_here { self.next_piece() } else { None }
    }

    /// Whether there is something to be said of the body without looking at the socket.
    pub(super) fn has_news(&self) -> bool {
        !self.inbox.is_empty() || self.fault.is_some() || self.ended || self.is_over()
    }

    /// Whether the current request's body is over.
    pub(super) fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(framing::Body::is_over)
    }

    /// How many bytes of the body are still to come at most; `None` when nobody knows.
    pub(super) fn left(&self) -> Option<u64> {
        self.body.as_ref().and_then(framing::Body::left)
    }

    /// How many bytes of the body lie in the socket, as nothing but bytes of that body: `None` where they can't be told from
    /// what else comes, or something is to be said of the body first.
    pub(super) fn lying(&mut self) -> Option<usize> {
        let left = self.left().filter(|_| !self.has_news())?;
        let lying = self.stream.plain()?.lying();
        Some(lying.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Others read from the socket for as long as they hold this.
    pub(super) fn lend(&mut self) -> Option<Arc<OwnedFd>> {
        let socket = self.stream.plain()?.lend().ok()?;
        self.lent = Arc::downgrade(&socket);
        Some(socket)
    }

    /// They have read so many bytes of the body.
    pub(super) fn pass(&mut self, len: usize) {
        if let Some(body) = &mut self.body {
            body.pass(len as u64);
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
        match &mut self.body {
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

    /// From now on it is to be told when all is out that there is to send.
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

    /// All is out that there was to send.
    pub(super) fn note_flush(&mut self) {
        if !std::mem::replace(&mut self.flushed, true)
            && let Some(waker) = self.writer.take()
        {
            waker.wake();
        }
    }

    /// The answer is out, to its last byte, and the next request may come.
    pub(super) fn answered(&mut self) {
        self.body = None;
    }
}
