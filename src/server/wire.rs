//! The IO under actix's connection: gives actix the heads of requests, and ends connections whose clients neither send nor
//! read. What is known of the connection lies in `Connection`, which handlers share.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use slog::Logger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::connection::{Connection, Shared};
use super::stream::Stream;

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

/// A timer that costs nothing until it is first set.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    /// Starts the timer, unless it runs already.
    fn set(&mut self, duration: Duration) {
        if !std::mem::replace(&mut self.is_set, true) {
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(Instant::now() + duration),
                None => self.sleep = Some(Box::pin(sleep(duration))),
            }
        }
    }

    fn clear(&mut self) {
        self.is_set = false;
    }

    fn has_expired(&mut self, context: &mut Context<'_>) -> bool {
        self.is_set && self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready())
    }
}

/// A connection as actix sees it.
pub struct Wire {
    connection: Shared,
    limits: Limits,
    head_timer: Timer,
    write_timer: Timer,
    /// How much the socket had taken when a write last waited.
    sent: u64,
    /// Set when a time-out has ended the reading.
    timed_out: bool,
}

impl Wire {
    /// A connection at its beginning.
    pub(super) fn new(stream: Stream, limits: Limits, logger: Logger) -> Self {
        Self {
            connection: Rc::new(RefCell::new(Connection::new(stream, limits, logger))),
            limits,
            head_timer: Timer::default(),
            write_timer: Timer::default(),
            sent: 0,
            timed_out: false,
        }
    }

    /// What the handlers of this connection's requests share.
    pub(super) fn connection(&self) -> Shared {
        Rc::clone(&self.connection)
    }

    /// What will be left when actix has done with it.
    pub fn remains(&self) -> Remains {
        Remains { connection: Rc::clone(&self.connection), linger: self.limits.linger }
    }

    fn bound_write<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write_timer.clear();
            return poll;
        }
        // Under TLS a write may go on for long before it is done.
        let sent = self.connection.borrow().stream.sent();
        if std::mem::replace(&mut self.sent, sent) != sent {
            self.write_timer.clear();
        }
        self.write_timer.set(self.limits.write_timeout);
        if self.write_timer.has_expired(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        Poll::Pending
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.timed_out {
            return Poll::Ready(Ok(()));
        }
        let mut connection = wire.connection.borrow_mut();
        let poll = connection.poll_heads(context, buffer);
        if connection.is_mid_head() {
            wire.head_timer.set(wire.limits.head_timeout);
        } else {
            wire.head_timer.clear();
        }
        if poll.is_pending() && wire.head_timer.has_expired(context) {
            wire.timed_out = true;
            return Poll::Ready(Ok(()));
        }
        poll
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut wire.connection.borrow_mut().stream).poll_write(context, bytes);
        wire.bound_write(context, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let mut connection = wire.connection.borrow_mut();
        let poll = Pin::new(&mut connection.stream).poll_flush(context);
        if matches!(poll, Poll::Ready(Ok(()))) {
            connection.note_flush();
        }
        drop(connection);
        wire.bound_write(context, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut wire.connection.borrow_mut().stream).poll_shutdown(context);
        wire.bound_write(context, poll)
    }
}

/// What is left of a connection when actix has done with it.
pub struct Remains {
    connection: Shared,
    linger: Duration,
}

impl Remains {
    /// Ends the connection so that the client gets to see what it was told last.
    pub async fn linger(self) {
        let Ok(connection) = Rc::try_unwrap(self.connection) else { return };
        let connection = connection.into_inner();
        // A socket that is lent is no longer ours to read from.
        let has_unread = connection.has_unread() && !connection.is_lent();
        connection.stream.end(has_unread, self.linger).await;
    }
}
