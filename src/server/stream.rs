//! What the bytes of a connection come through: a TCP or a Unix socket, in the clear or under TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;

/// A connection, once its handshake is done if it has one.
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Records>>),
}

/// A socket under TLS: knows what it began with, and how much went out.
pub(super) struct Records {
    socket: Socket,
    first: Option<u8>,
    sent: u64,
}

impl Stream {
    /// Ready when a read may have something to tell. Takes nothing out of a plain socket; under TLS, no more than a record.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_readable(context),
            // What went wrong is told by the read.
            Self::Tls(stream) => Pin::new(&mut **stream).poll_fill_buf(context).map(|_| Ok(())),
        }
    }

    /// The socket, if bytes go through it as they are.
    pub(super) fn plain(&mut self) -> Option<&mut Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(_) => None,
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// How many bytes the socket has taken, as far as a write may have gone on without being done.
    pub(super) fn sent(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.get_ref().0.sent,
        }
    }

    /// Ends the connection: tells the client so, and reads on when the client may still be sending.
    pub(super) async fn end(mut self, has_unread: bool, linger: Duration) {
        let _ = timeout(linger, self.shutdown()).await;
        if has_unread {
            self.into_socket().discard(linger).await;
        }
    }

    fn into_socket(self) -> Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.into_inner().0.socket,
        }
    }
}

/// What the first byte of every TLS connection says: a handshake.
const HANDSHAKE: u8 = 22;

impl Records {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, first: None, sent: 0 }
    }

    /// Whether the client has not even tried to speak TLS, but something that begins with a letter: HTTP, most likely.
    pub(super) fn is_text(&self) -> bool {
        self.first.is_some_and(|first| first.is_ascii_alphabetic())
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

impl AsyncRead for Records {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let records = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut records.socket).poll_read(context, buffer))?;
        if records.first.is_none() {
            records.first = buffer.filled().get(before).copied();
            if records.first.is_some_and(|first| first != HANDSHAKE) {
                // rustls must not see it: it would send an alert, which the client can't read.
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Records {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let records = self.get_mut();
        let sent = ready!(Pin::new(&mut records.socket).poll_write(context, bytes))?;
        records.sent += sent as u64;
        Poll::Ready(Ok(sent))
    }

    /// Records go out together: an alert behind other records is written once, or never.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let records = self.get_mut();
        let sent = ready!(Pin::new(&mut records.socket).poll_write_vectored(context, pieces))?;
        records.sent += sent as u64;
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => match ready!(Pin::new(&mut **stream).poll_read(context, buffer)) {
                // A client that hangs up without a word to TLS. Nobody can cut a request short by that: each says where
                // it ends, and what came before was the client's own.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => Poll::Ready(read),
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
