//! The IO under actix's connection: shows the framing reader every byte that actix gets, and ends connections whose
//! clients neither send nor read. Interim responses (1xx) would be queued here and written in `poll_flush`, which actix
//! calls at message boundaries only.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use slog::Logger;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::watch::WatchHandle;

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

/// A connection.
pub struct Wire<IO> {
    /// Bytes of requests that must wait for the answer to the one before them.
    held: BytesMut,
    io: Rc<RefCell<IO>>,
    watch: WatchHandle,
    limits: Limits,
    head_timer: Timer,
    drain_timer: Timer,
    write_timer: Timer,
    /// Set when a time-out has ended the reading.
    timed_out: bool,
    /// Set when the head that was cut has been made unreadable for actix.
    head_was_spoilt: bool,
}

impl<IO> Wire<IO> {
    /// Watches the connection from its first byte.
    pub fn new(io: IO, limits: Limits, logger: Logger) -> Self {
        Self {
            held: BytesMut::new(),
            io: Rc::new(RefCell::new(io)),
            watch: WatchHandle::new(limits.head_max_bytes, logger),
            limits,
            head_timer: Timer::default(),
            drain_timer: Timer::default(),
            write_timer: Timer::default(),
            timed_out: false,
            head_was_spoilt: false,
        }
    }

    /// What the handlers of this connection's requests are given.
    pub fn watch(&self) -> WatchHandle {
        self.watch.clone()
    }

    /// What will be left when the wire is gone.
    pub fn remains(&self) -> Remains<IO> {
        Remains { io: Rc::clone(&self.io), watch: self.watch.clone(), linger: self.limits.linger }
    }

    /// Sets the timers of reading by what is being read.
    fn set_timers(&mut self) {
        let watch = self.watch.0.borrow();
        if watch.framing.is_mid_head() {
            self.head_timer.set(self.limits.head_timeout);
        } else {
            self.head_timer.clear();
        }
        if watch.is_draining() {
            self.drain_timer.set(self.limits.linger);
        } else {
            self.drain_timer.clear();
        }
    }

    /// Whether reading has ended for good. actix holds the beginning of a head that was cut, and would close without an
    /// answer at its end; a NUL can stand nowhere in a head, so with one it answers 400.
    fn is_closed_to_reading(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> bool {
        let watch = self.watch.0.borrow();
        if watch.framing.head_was_cut() && !self.head_was_spoilt && buffer.remaining() > 0 {
            self.head_was_spoilt = true;
            buffer.put_slice(b"\0");
            return true;
        }
        self.timed_out |= watch.is_draining() && self.drain_timer.has_expired(context);
        self.timed_out || watch.is_closed()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        wire.set_timers();
        if wire.is_closed_to_reading(context, buffer) {
            return Poll::Ready(Ok(()));
        }
        if wire.watch.0.borrow().is_full() || wire.must_wait() {
            wire.watch.0.borrow_mut().park(context);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if wire.held.is_empty() {
            if Pin::new(&mut *wire.io.borrow_mut()).poll_read(context, buffer)?.is_pending() {
                wire.watch.0.borrow_mut().park(context);
                wire.timed_out = wire.head_timer.has_expired(context);
                return if wire.timed_out { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        } else {
            let ready = wire.held.len().min(buffer.remaining());
            buffer.put_slice(&wire.held.split_to(ready));
        }
        let came = buffer.filled().len() - before;
        if came == 0 && buffer.remaining() > 0 && wire.watch.0.borrow_mut().must_keep_end() {
            // At the end actix drops what its handler has had no time to take: a whole body would be cut.
            wire.watch.0.borrow_mut().park(context);
            return Poll::Pending;
        }
        let passed = wire.pass(&buffer.filled()[before..]);
        buffer.set_filled(before + passed);
        if passed == 0 && came > 0 && !wire.watch.0.borrow().is_closed() {
            wire.watch.0.borrow_mut().park(context);
            return Poll::Pending;
        }
        if passed == 0 {
            // Nothing at all may be passed on: to actix this would be the end of the stream, so it must not come too soon.
            wire.is_closed_to_reading(context, buffer);
        }
        wire.set_timers();
        Poll::Ready(Ok(()))
    }
}

impl<IO> Wire<IO> {
    /// Whether there are bytes of a request that must wait for the answer to the one before it.
    fn must_wait(&self) -> bool {
        let watch = self.watch.0.borrow();
        !self.held.is_empty() && watch.framing.is_at(watch.first_to_wait())
    }

    /// How many of these bytes go on to actix now; those of a request that must wait are held.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut watch = self.watch.0.borrow_mut();
        let first_to_wait = watch.first_to_wait();
        let passed = watch.framing.feed_below(bytes, first_to_wait);
        watch.log_unreadable();
        if passed < bytes.len() && watch.framing.malformed().is_none() {
            let later = self.held.split();
            self.held.extend_from_slice(&bytes[passed..]);
            self.held.unsplit(later);
        }
        passed
    }

    fn bound_write<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write_timer.clear();
            return poll;
        }
        self.write_timer.set(self.limits.write_timeout);
        if self.write_timer.has_expired(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        Poll::Pending
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut *wire.io.borrow_mut()).poll_write(context, bytes);
        wire.bound_write(context, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut *wire.io.borrow_mut()).poll_flush(context);
        wire.bound_write(context, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut *wire.io.borrow_mut()).poll_shutdown(context);
        wire.bound_write(context, poll)
    }
}

/// What is left of a connection when actix has done with it.
pub struct Remains<IO> {
    io: Rc<RefCell<IO>>,
    watch: WatchHandle,
    linger: Duration,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Remains<IO> {
    /// Closing a socket with unread bytes in it resets the connection, and the client may lose the answer over it. So after
    /// a fault its bytes are thrown away until it ends, or its time does.
    pub async fn linger(self) {
        let Ok(io) = Rc::try_unwrap(self.io) else { return };
        if !self.watch.0.borrow().is_closed() {
            return;
        }
        let mut io = io.into_inner();
        let discard = async {
            io.shutdown().await?;
            let mut scratch = vec![0; 8 * 1024];
            while io.read(&mut scratch).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the client ended, failed or took too long, the connection is over.
        let _ = timeout(self.linger, discard).await;
    }
}
