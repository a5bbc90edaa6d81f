//! What a handler has of its request's body, and of what the framing said about it.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::connection::{Fault, Shared};
use super::framing::{BodyKind, Trailers};
use super::outgoing::Outgoing;

/// The most and the least bytes that are read at once.
const READ_MAX_BYTES: usize = 256 * 1024;
const READ_MIN_BYTES: usize = 8 * 1024;
/// How many are read first: who sends little has sent it with the head.
const READ_FIRST_BYTES: usize = 64 * 1024;
/// Fewer are not lent: to read them here takes less than to tell others of them.
const LEND_LEAST_BYTES: usize = 32 * 1024;

/// So many are waited for, and no longer than that: to have a piece drawn takes a message and several wakes, however small it is.
const GATHER_BYTES: usize = 512 * 1024;
const GATHER_TIME: Duration = Duration::from_millis(5);

/// Why a body can't be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client's framing is wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The client ended its side in the middle of the body.
    #[error("the body is cut")]
    Cut,
    /// The connection is lost.
    #[error("the connection is lost")]
    Lost(#[source] io::Error),
}

/// A request's body on its way in. `serve` puts it into the request's extensions. While nobody reads, nothing is taken
/// from the socket, and no memory is held for it.
pub struct Incoming {
    connection: Shared,
    kind: BodyKind,
    /// How much is read next: as much as the last reads have shown to be there.
    read_bytes: usize,
    /// How much was drawn last; 0 when it has been read here since.
    drawn_last: usize,
}

impl Incoming {
    /// The body of the connection's current request.
    pub(super) fn new(connection: Shared, kind: BodyKind) -> Self {
        Self { connection, kind, read_bytes: READ_FIRST_BYTES, drawn_last: 0 }
    }

    /// How the body is delimited.
    pub fn kind(&self) -> BodyKind {
        self.kind
    }

    /// Whether it comes over TLS.
    pub fn is_secure(&self) -> bool {
        self.connection.borrow().stream.is_secure()
    }

    /// A way for the answer's body past the connection's own; `None` under TLS.
    pub fn outgoing(&self) -> Option<Outgoing> {
        Outgoing::of(&self.connection)
    }

    /// What is wrong with this request, as far as that is known yet. Ask before the request is served: the answer is 400.
    pub fn fault(&self) -> Option<Fault> {
        self.connection.borrow().fault()
    }

    /// Waits until `read` may have something to tell, and a moment longer for more where much comes at once. Takes nothing
    /// from it yet.
    pub async fn readable(&mut self) {
        if let Some(least) = self.gathers()
            && timeout(GATHER_TIME, self.gathered(least)).await.is_ok()
        {
            return;
        }
        poll_fn(|context| {
            let mut connection = self.connection.borrow_mut();
            if connection.has_news() {
                return Poll::Ready(());
            }
            // What went wrong is told by the read.
            connection.stream.poll_readable(context).map(|_| ())
        })
        .await;
    }

    /// How many bytes are worth to be waited for a moment. None where none are.
    fn gathers(&self) -> Option<usize> {
        let least = GATHER_BYTES.min(self.drawn_last.saturating_mul(2));
        let left = self.connection.borrow().left().filter(|_| self.drawn_last > 0)?;
        Some(least.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// Waits until so many lie in the socket, or something else is to be said.
    async fn gathered(&self, least: usize) {
        poll_fn(|context| {
            let mut connection = self.connection.borrow_mut();
            if connection.has_news() {
                return Poll::Ready(());
            }
            match connection.stream.plain() {
                Some(socket) => socket.poll_lying(least, context).map(|_| ()),
                None => Poll::Ready(()),
            }
        })
        .await;
    }

    /// The next bytes of the body; `None` at its end. Takes up to `most` from the socket at once; what had come with the
    /// head may be some KiB more. May be dropped and called again.
    ///
    /// # Errors
    /// When the body can't be had whole. It is over then.
    pub async fn read(&mut self, most: usize) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|context| self.poll_read(most, context)).await
    }

    fn poll_read(&mut self, most: usize, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let mut connection = self.connection.borrow_mut();
        loop {
            if let Some(piece) = connection.next_piece() {
                return Poll::Ready(Ok(Some(piece)));
            }
            if let Some(fault) = connection.fault() {
                return Poll::Ready(Err(fault.into()));
            }
            if connection.is_over() {
                return Poll::Ready(Ok(None));
            }
            if connection.has_ended() {
                return Poll::Ready(Err(BodyError::Cut));
            }
            // No buffer before there is something to put into it.
            ready!(connection.stream.poll_readable(context)).map_err(BodyError::Lost)?;
            let left = connection.left().map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let room = self.read_bytes.min(left).min(most).max(1);
            let mut buffer = BytesMut::with_capacity(room);
            let read = pin!((&mut connection.stream).take(room as u64).read_buf(&mut buffer)).poll(context);
            let read = ready!(read).map_err(BodyError::Lost)?;
            self.read_bytes = next_read(room, read);
            self.drawn_last = 0;
            connection.refill(fitting(buffer));
        }
    }

    /// The whole body, if it is one of so many bytes and all of them have come already, with the head. Nothing is taken of it
    /// if not.
    pub fn take_whole(&mut self, len: u64) -> Option<Bytes> {
        self.connection.borrow_mut().take_whole(len)
    }

    /// So many bytes of the body, `most` at most, that lie in the socket and that others are to read there: nothing may be
    /// asked of the body until [`drawn`](Self::drawn) tells that they have. `None` when these are few, or must come through here.
    pub fn lend(&mut self, most: usize) -> Option<(Arc<OwnedFd>, usize)> {
        let mut connection = self.connection.borrow_mut();
        let len = connection.lying()?.min(most);
        if len < LEND_LEAST_BYTES {
            // They are to be waited for as others are: who was told of them by `lying` alone can't read them yet.
            self.drawn_last = 0;
            return None;
        }
        Some((connection.lend()?, len))
    }

    /// Others have read all that was lent to them.
    pub fn drawn(&mut self, len: usize) {
        self.drawn_last = len;
        self.connection.borrow_mut().pass(len);
    }

    /// The trailers, once the body is over.
    pub fn into_trailers(self) -> Trailers {
        self.connection.borrow_mut().trailers()
    }
}

/// What was read, in a buffer that is hardly larger: it may lie in memory for as long as a store is slow, and is counted by
/// its length there.
fn fitting(buffer: BytesMut) -> BytesMut {
    let is_full = buffer.len() >= buffer.capacity() - buffer.capacity() / 8;
    if is_full { buffer } else { BytesMut::from(&buffer[..]) }
}

/// Twice as much after a read that found more than enough, half after one that found little: a fast client is served in
/// few calls, and a slow one holds little memory.
fn next_read(room: usize, read: usize) -> usize {
    let next = if read == room {
        room * 2
    } else if read < room / 4 {
        room / 2
    } else {
        room
    };
    next.clamp(READ_MIN_BYTES, READ_MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_hardly_larger_than_what_was_read() {
        for (room, len) in [(262_144, 262_144), (262_144, 65_536), (8192, 1), (8192, 7168), (8192, 7167), (8192, 0)] {
            let mut buffer = BytesMut::with_capacity(room);
            buffer.extend_from_slice(&vec![7; len]);
            let kept = fitting(buffer);
            assert_eq!(kept, vec![7; len]);
            assert!(kept.capacity() <= len + len / 7 + 64, "{} for {len} in {room}", kept.capacity());
        }
    }
}
