//! An answer on its way out: head and body from the handler to the socket, no faster than the client reads.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use actix_http::Response;
use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite as _;

use super::connection::Shared;
use super::encode::{self, Frame, Rest};
use super::timer::Timer;

/// So much is put together before it is written.
const FULL_BYTES: usize = 32 * 1024;
/// What is longer is not copied behind what comes before it, but written by itself.
const COPIED_MAX_BYTES: usize = 16 * 1024;
/// A buffer that has grown larger is not kept.
const KEPT_MAX_BYTES: usize = 128 * 1024;

thread_local! {
    /// Where answers are put together. It is taken from here while it is used.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The second, and how a date says it.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// What is to be written next.
#[derive(Default)]
pub(super) struct Output {
    bytes: Bytes,
    /// Something was written since the last flush.
    is_dirty: bool,
    /// How much the socket had taken when a write last waited.
    sent: u64,
}

impl Output {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Writes all of it. A client that takes nothing for too long is given up.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &Shared,
        timer: &mut Timer,
    ) -> Poll<io::Result<()>> {
        let mut connection = connection.borrow_mut();
        let stream = &mut connection.stream;
        let mut flushed = Poll::Ready(Ok(()));
        while !self.bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, &self.bytes) {
                Poll::Ready(written) => self.bytes.advance(some(written?)?),
                Poll::Pending => {
                    flushed = Poll::Pending;
                    break;
                }
            }
            self.is_dirty = true;
            timer.clear();
        }
        if self.bytes.is_empty() && self.is_dirty {
            flushed = Pin::new(&mut *stream).poll_flush(context);
        }
        // Under TLS a write may go on for long before it is done.
        let sent = stream.sent();
        if std::mem::replace(&mut self.sent, sent) != sent {
            timer.clear();
        }
        if flushed.is_pending() {
            if !timer.is_set() {
                timer.set(connection.write_timeout());
            }
            ready!(timer.poll(context));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        timer.clear();
        if std::mem::take(&mut self.is_dirty) {
            connection.note_flush();
        }
        flushed
    }

    /// Begins with these. What the socket does not take at once is kept.
    fn begin(&mut self, context: &mut Context<'_>, connection: &Shared, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let mut connection = connection.borrow_mut();
            let Poll::Ready(more) = Pin::new(&mut connection.stream).poll_write(context, &bytes[written..]) else {
                break;
            };
            written += some(more?)?;
            self.is_dirty = true;
        }
        self.bytes = Bytes::copy_from_slice(&bytes[written..]);
        Ok(())
    }
}

fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// See the module.
pub(super) struct Answer {
    frame: Frame,
    size: BodySize,
    /// The head, until it is written.
    head: Option<Response<()>>,
    /// The body, until its last byte is on its way. Its end is the end of the exchange, for the log.
    body: Option<BoxBody>,
    rest: Rest,
    output: Output,
    /// Behind `output`.
    next: Bytes,
}

impl Answer {
    pub(super) fn new(response: Response<BoxBody>, frame: Frame) -> Self {
        let (head, body) = response.into_parts();
        let size = body.size();
        let frame = frame.fit(head.head(), size);
        let rest = frame.rest(head.head(), size);
        let (output, next) = (Output::default(), Bytes::new());
        Self { frame, size, head: Some(head), body: Some(body), rest, output, next }
    }

    /// Whether the connection ends with it.
    pub(super) fn closes(&self) -> bool {
        self.frame.closes
    }

    /// Sends all of it.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &Shared,
        timer: &mut Timer,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.output.poll(context, connection, timer))?;
            if !self.next.is_empty() {
                self.output.bytes = std::mem::take(&mut self.next);
                continue;
            }
            if self.head.is_none() && self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            let mut scratch = SCRATCH.take();
            scratch.clear();
            let filled = self.fill(context, &mut scratch);
            let begun = filled.and_then(|()| self.output.begin(context, connection, &scratch));
            let is_idle = scratch.is_empty() && self.next.is_empty() && self.body.is_some();
            if scratch.capacity() <= KEPT_MAX_BYTES {
                SCRATCH.set(scratch);
            }
            begun?;
            if is_idle {
                return Poll::Pending;
            }
        }
    }

    /// Puts together what there is to write, as far as it is known by now.
    fn fill(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(head) = self.head.take() {
            with_date(|date| self.frame.head(head.head(), self.size, date, out));
        }
        while out.len() < FULL_BYTES && self.next.is_empty() {
            if self.rest.is_over() {
                self.body = None;
            }
            let Some(body) = &mut self.body else { break };
            match Pin::new(body).poll_next(context) {
                Poll::Ready(Some(piece)) => {
                    let piece = self.rest.take(piece.map_err(|error| io::Error::other(error.to_string()))?);
                    if self.rest == Rest::Chunks {
                        encode::chunk(&piece, out);
                    } else if piece.len() > COPIED_MAX_BYTES {
                        self.next = piece;
                    } else {
                        out.extend_from_slice(&piece);
                    }
                }
                Poll::Ready(None) => {
                    if !self.rest.end(out) {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the body is shorter than it was said",
                        ));
                    }
                }
                Poll::Pending => break,
            }
        }
        if self.rest.is_over() {
            self.body = None;
        }
        Ok(())
    }
}

/// Hands over the date, which is written once a second.
fn with_date<T>(use_it: impl FnOnce(&[u8]) -> T) -> T {
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    DATE.with_borrow_mut(|(known, text)| {
        if std::mem::replace(known, second) != second {
            *text = httpdate::fmt_http_date(now);
        }
        use_it(text.as_bytes())
    })
}
