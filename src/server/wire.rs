//! The loop of one connection: heads come in, the handlers are called, answers go out, one request at a time. Ends
//! connections whose clients neither send nor read.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::{ConnectionType, HttpMessage as _, Request, Response, StatusCode, Version};
use bytes::Bytes;

use super::answer::{Answer, Output};
use super::connection::{Connection, Fault, Shared};
use super::encode::Frame;
use super::framing::Head;
use super::incoming::Incoming;
use super::stream::Stream;
use super::timer::Timer;
use super::{Expect, Patience};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a connection puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest request head; never more than 64 KiB.
    pub head_max_bytes: usize,
    /// How long a head may take from its first byte to its last.
    pub head_timeout: Duration,
    /// How long a write may make no progress at all.
    pub write_timeout: Duration,
    /// How long a client may go on sending what is no longer wanted, so that it finds the answer before the connection ends.
    pub linger: Duration,
}

/// Who answers requests, on one arbiter.
pub(super) struct Handlers<F> {
    pub(super) respond: F,
    pub(super) expect: Expect,
}

/// A connection that is served.
pub(super) struct Wire<'a, F> {
    handlers: &'a Handlers<F>,
    patience: Patience,
    peer: Option<SocketAddr>,
    /// Set when the current request is to be the last.
    is_draining: &'a Cell<bool>,
}

/// Why there is no next head.
enum NoHead {
    /// The client has ended, or the server does.
    End,
    TimedOut,
}

impl<'a, F, R> Wire<'a, F>
where
    F: Fn(Request) -> R,
    R: Future<Output = Response<BoxBody>>,
{
    pub(super) fn new(
        handlers: &'a Handlers<F>,
        patience: Patience,
        peer: Option<SocketAddr>,
        is_draining: &'a Cell<bool>,
    ) -> Self {
        Self { handlers, patience, peer, is_draining }
    }

    /// Serves the connection to its end. What is unreadable of it is told to `refused`.
    pub(super) async fn serve(&self, stream: Stream, refused: impl Fn(Fault)) -> io::Result<()> {
        let limits = self.patience.limits;
        let connection = Rc::new(RefCell::new(Connection::new(stream, limits)));
        let served = self.requests(&connection, refused).await;
        // A handler that was dropped has let go of it.
        if let Ok(connection) = Rc::try_unwrap(connection) {
            let connection = connection.into_inner();
            // A socket that is lent is no longer ours to read from.
            let has_unread = connection.has_unread() && !connection.is_lent();
            Box::pin(connection.stream.end(has_unread, limits.linger)).await;
        }
        served
    }

    async fn requests(&self, connection: &Shared, refused: impl Fn(Fault)) -> io::Result<()> {
        let mut timer = Timer::default();
        let mut is_first = true;
        loop {
            let head = match self.next_head(connection, &mut timer, is_first).await? {
                Ok(head) => head,
                Err(NoHead::TimedOut) if is_first => return send(&mut too_late(), connection, &mut timer).await,
                Err(_) => return Ok(()),
            };
            is_first = false;
            if let Some(fault) = connection.borrow().fault() {
                refused(fault);
            }
            let Head { request, body, expects, closes, .. } = head;
            let closes = closes || self.patience.keep_alive.is_zero();
            let frame = Frame::new(request.method(), request.version(), closes);
            let request = self.complete(request, Incoming::new(Rc::clone(connection), body));
            let response = self.response(request, expects, connection, &mut timer).await?;
            let asked_to_close = response.head().connection_type() == ConnectionType::Close;
            let must_close = connection.borrow_mut().settle() || asked_to_close || self.is_draining.get();
            let mut answer = Answer::new(response, Frame { closes: frame.closes || must_close, ..frame });
            let closes = answer.closes();
            send(&mut answer, connection, &mut timer).await?;
            if closes {
                return Ok(());
            }
            connection.borrow_mut().answered();
        }
    }

    /// Waits for a head. The first may take so long from the beginning, others from their first byte.
    async fn next_head(
        &self,
        connection: &Shared,
        timer: &mut Timer,
        is_first: bool,
    ) -> io::Result<Result<Head, NoHead>> {
        let mut is_bounded = false;
        timer.clear();
        let found = poll_fn(|context| {
            if self.is_draining.get() {
                return Poll::Ready(Ok(Err(NoHead::End)));
            }
            let mut connection = connection.borrow_mut();
            if let Poll::Ready(found) = connection.poll_head(context) {
                return Poll::Ready(found.map(|head| head.ok_or(NoHead::End)));
            }
            if !is_bounded && (is_first || connection.is_mid_head()) {
                is_bounded = true;
                timer.set(self.patience.limits.head_timeout);
            } else if !timer.is_set() {
                timer.set(self.patience.keep_alive);
            }
            timer.poll(context).map(|()| Ok(Err(NoHead::TimedOut)))
        });
        let found = found.await;
        timer.clear();
        found
    }

    /// What the handlers answer. Those of a client that has gone are dropped.
    async fn response(
        &self,
        mut request: Request,
        expects: bool,
        connection: &Shared,
        timer: &mut Timer,
    ) -> io::Result<Response<BoxBody>> {
        if expects {
            request = match while_there(connection, (self.handlers.expect)(request)).await? {
                Ok(request) => request,
                Err(response) => return Ok(response),
            };
            let mut output = Output::new(Bytes::from_static(CONTINUE));
            poll_fn(|context| output.poll(context, connection, timer)).await?;
        }
        while_there(connection, (self.handlers.respond)(request)).await
    }

    /// Gives a request what is not in its head.
    fn complete(&self, mut request: Request, incoming: Incoming) -> Request {
        request.head_mut().peer_addr = self.peer;
        request.extensions_mut().insert(incoming);
        request
    }
}

/// What one gets who has not sent a head in time.
fn too_late() -> Answer {
    let frame = Frame { version: Version::HTTP_11, is_head: false, closes: true };
    Answer::new(Response::with_body(StatusCode::REQUEST_TIMEOUT, BoxBody::new(Bytes::new())), frame)
}

/// Sends all of an answer, unless the client has gone.
fn send(answer: &mut Answer, connection: &Shared, timer: &mut Timer) -> impl Future<Output = io::Result<()>> {
    poll_fn(|context| match answer.poll(context, connection, timer) {
        Poll::Pending => connection.borrow_mut().poll_gone(context).map(Err),
        sent => sent,
    })
}

/// What comes of a future that matters to nobody but the client.
async fn while_there<F: Future>(connection: &Shared, future: F) -> io::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending => connection.borrow_mut().poll_gone(context).map(Err),
        Poll::Ready(output) => Poll::Ready(Ok(output)),
    })
    .await
}
