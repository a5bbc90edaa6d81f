//! The way of an answer's body into the socket by other means than the connection's, whose bytes lie in this process: who
//! goes it is told when the head is out, and when the socket takes more.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::connection::Shared;

/// The socket of a connection whose answer's body goes there by itself.
pub struct Outgoing {
    connection: Shared,
    /// The same socket, watched apart from the connection: what is noted here of its being full concerns nobody else.
    socket: AsyncFd<Arc<OwnedFd>>,
    patience: Duration,
}

impl Outgoing {
    /// None where bytes can't go into the socket as they are.
    pub(super) fn of(connection: &Shared) -> Option<Self> {
        let (socket, patience) = {
            let mut connection = connection.borrow_mut();
            (connection.stream.plain()?.duplicate().ok()?, connection.write_timeout())
        };
        #[expect(
            deprecated,
            reason = "its successor is unsafe: who calls it vouches for the descriptor, which is ours here"
        )]
        let socket = AsyncFd::with_interest(Arc::new(socket), Interest::WRITABLE).ok()?;
        Some(Self { connection: connection.clone(), socket, patience })
    }

    /// To be awaited first by the body of an answer: resolves when the head is written, to its last byte.
    pub async fn head_is_out(&mut self) {
        self.connection.borrow_mut().await_flush();
        poll_fn(|context| self.connection.borrow_mut().poll_flushed(context)).await;
    }

    /// The socket, once it takes bytes; to be asked again when it was found full, and only then.
    ///
    /// # Errors
    /// When it took none for too long.
    pub async fn writable(&mut self) -> io::Result<Arc<OwnedFd>> {
        let writable = timeout(self.patience, self.socket.writable()).await;
        let mut writable =
            writable.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))??;
        // Forgotten before anybody writes: that there is room again is news then, however soon it is.
        writable.clear_ready();
        Ok(Arc::clone(self.socket.get_ref()))
    }
}
