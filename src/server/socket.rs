//! A connected socket, TCP's or a Unix one. While others read from it nobody is told here what comes: each part that arrives
//! would wake this thread for nothing. It is watched again as soon as something is asked of it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::ioctl_fionread;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// See the module.
pub(super) struct Socket {
    state: State,
    /// How many bytes must lie in it before who waits is told.
    least: usize,
    /// Somebody waits for so many.
    is_awaited: bool,
}

enum State {
    Watched(Watched),
    /// Not watched, and perhaps in the hands of others.
    Apart(Arc<OwnedFd>, Kind),
    /// It could not be watched again.
    Lost,
}

enum Watched {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Unix,
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::new(Watched::Tcp(socket))
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self::new(Watched::Unix(socket))
    }
}

impl Socket {
    fn new(socket: Watched) -> Self {
        Self { state: State::Watched(socket), least: 1, is_awaited: false }
    }

    fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.state {
            State::Watched(Watched::Tcp(socket)) => Ok(socket.as_fd()),
            State::Watched(Watched::Unix(socket)) => Ok(socket.as_fd()),
            State::Apart(socket, _) => Ok(socket.as_fd()),
            State::Lost => Err(lost()),
        }
    }

    /// The socket, watched by this thread's reactor.
    fn watched(&mut self) -> io::Result<&mut Watched> {
        if let State::Apart(..) = self.state
            && let State::Apart(socket, kind) = std::mem::replace(&mut self.state, State::Lost)
        {
            // Those it was lent to may have it still, though nobody waits for them.
            let socket = Arc::try_unwrap(socket).or_else(|socket| socket.try_clone())?;
            self.state = State::Watched(Watched::new(socket, kind)?);
        }
        match &mut self.state {
            State::Watched(socket) => Ok(socket),
            _ => Err(lost()),
        }
    }

    /// As `watched`, for those who want to know of every byte.
    fn reader(&mut self) -> io::Result<&mut Watched> {
        self.tell_from(1);
        self.watched()
    }

    /// Ready when a read may have something to tell.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reader()?.poll_readable(context)
    }

    /// Ready when so many bytes lie in it, or fewer and no more come.
    pub(super) fn poll_lying(&mut self, least: usize, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell_from(least);
        let was_awaited = std::mem::take(&mut self.is_awaited);
        if self.lying() >= least {
            return Poll::Ready(Ok(()));
        }
        let socket = self.watched()?;
        if !was_awaited {
            // What was told before is of no use. What is true now is told again.
            socket.forget_readiness();
        }
        let told = socket.poll_readable(context);
        self.is_awaited = told.is_pending();
        told
    }

    /// How many bytes lie in it.
    pub(super) fn lying(&self) -> usize {
        // What is wrong is told by the next read.
        match &self.state {
            State::Watched(socket) => socket.lying(),
            State::Apart(socket, _) => lying(socket).unwrap_or(0),
            State::Lost => 0,
        }
    }

    /// From how many bytes on who waits is told of them. TCP tells earlier when the client has no window left.
    fn tell_from(&mut self, least: usize) {
        if self.least != least
            && let Ok(socket) = self.descriptor()
        {
            // Where it can't be, each byte is told of.
            let _ = set_least(socket, least);
            self.least = least;
            self.is_awaited = false;
        }
    }

    /// The socket, for others to read from it.
    pub(super) fn lend(&mut self) -> io::Result<Arc<OwnedFd>> {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Watched(Watched::Tcp(socket)) => State::Apart(Arc::new(socket.into_std()?.into()), Kind::Tcp),
            State::Watched(Watched::Unix(socket)) => State::Apart(Arc::new(socket.into_std()?.into()), Kind::Unix),
            state => state,
        };
        match &self.state {
            State::Apart(socket, _) => Ok(Arc::clone(socket)),
            _ => Err(lost()),
        }
    }

    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.descriptor()?.try_clone_to_owned()
    }

    /// Closing a socket with unread bytes in it resets the connection, and the client may lose what it was told last. So
    /// what still comes is thrown away until the client ends, or its time does.
    pub(super) async fn discard(mut self, at_most: Duration) {
        let discard = async {
            self.shutdown().await?;
            let mut scratch = vec![0; 8 * 1024];
            while self.read(&mut scratch).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the client ended, failed or took too long, the connection is over.
        let _ = timeout(at_most, discard).await;
    }
}

impl Watched {
    fn new(socket: OwnedFd, kind: Kind) -> io::Result<Self> {
        match kind {
            Kind::Tcp => TcpStream::from_std(socket.into()).map(Self::Tcp),
            Kind::Unix => UnixStream::from_std(socket.into()).map(Self::Unix),
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(context),
            Self::Unix(socket) => socket.poll_read_ready(context),
        }
    }

    fn lying(&self) -> usize {
        match self {
            Self::Tcp(socket) => lying(socket),
            Self::Unix(socket) => lying(socket),
        }
        .unwrap_or(0)
    }

    /// Whoever waits next waits for news.
    fn forget_readiness(&self) {
        let nothing = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        let _ = match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, nothing),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, nothing),
        };
    }
}

fn lying(socket: impl AsFd) -> io::Result<usize> {
    Ok(usize::try_from(ioctl_fionread(socket)?).unwrap_or(usize::MAX))
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// Sets SO_RCVLOWAT, which no library that is in use here knows.
fn set_least(socket: BorrowedFd<'_>, least: usize) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let least = libc::c_int::try_from(least).unwrap_or(libc::c_int::MAX);
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    #[expect(
        unsafe_code,
        reason = "the kernel reads `len` bytes from where `least` lies, and no more; the socket is open"
    )]
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const least).cast(), len)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().reader()? {
            Watched::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Watched::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().watched()? {
            Watched::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Watched::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut().watched()? {
            Watched::Tcp(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
            Watched::Unix(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().watched()? {
            Watched::Tcp(socket) => Pin::new(socket).poll_flush(context),
            Watched::Unix(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().watched()? {
            Watched::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Watched::Unix(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
