//! Binding the place, and accepting there: as many connections as there are seats, with a pause when the system has no
//! descriptor or memory left.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::Logger;
use socket2::{Domain, Protocol, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Phase;
use super::inherited::{Inherited, Listener};
use super::socket::Socket;
use super::tls::TlsHandle;
use super::unix;

/// How long accepting pauses when it fails for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);
/// How often such a pause is told in the log, by each arbiter.
const PAUSE_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The place can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}")]
pub struct BindError {
    /// The place that was asked for.
    pub place: Place,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At an address; with port 0 the system chooses one.
    Tcp(SocketAddr),
    /// At a path.
    Unix {
        /// The path.
        path: PathBuf,
        /// Who may connect, as permissions of a file.
        mode: u32,
    },
    /// Where the service manager does already.
    Inherited {
        /// The socket's name; `None` when there is only one.
        name: Option<String>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix { path, .. } => write!(formatter, "unix:{}", path.display()),
            Self::Inherited { name: Some(name) } => write!(formatter, "systemd:{name}"),
            Self::Inherited { name: None } => formatter.write_str("systemd"),
        }
    }
}

/// Where somebody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At an address.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

impl Endpoint {
    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens, and what is spoken there.
pub struct Listening {
    pub(super) listener: Listener,
    pub(super) endpoint: Endpoint,
    pub(super) name: Option<unix::Name>,
    pub(super) tls: Option<TlsHandle>,
}

impl Listening {
    /// The same with TLS, if there is a handle.
    #[must_use]
    pub fn with_tls(self, tls: Option<TlsHandle>) -> Self {
        Self { tls, ..self }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn of(listener: Listener, name: Option<unix::Name>, path: Option<&Path>) -> io::Result<Self> {
        let endpoint = match &listener {
            Listener::Tcp(socket) => Endpoint::Tcp(socket.local_addr()?),
            Listener::Unix(socket) => {
                let address = socket.local_addr()?;
                Endpoint::Unix(path.or(address.as_pathname()).unwrap_or(Path::new("")).to_owned())
            }
        };
        Ok(Self { listener, endpoint, name, tls: None })
    }
}

/// Listens at an address; see `listen`.
pub fn bind(address: SocketAddr, backlog: i32) -> Result<Listening, BindError> {
    tcp(address, backlog).map_err(|source| BindError { place: Place::Tcp(address), source })
}

/// Listens at the place, so that a second server there gets an error instead of half of the connections: SO_REUSEPORT is
/// not set, and a path is taken from the dead only.
pub fn listen(place: Place, backlog: i32, inherited: &mut Inherited) -> Result<Listening, BindError> {
    let listening = match &place {
        Place::Tcp(address) => tcp(*address, backlog),
        Place::Unix { path, mode } => unix::bind(path, *mode, backlog)
            .and_then(|(socket, name)| Listening::of(Listener::Unix(socket), Some(name), Some(path))),
        Place::Inherited { name } => {
            inherited.take(name.as_deref()).and_then(|listener| Listening::of(listener, None, None))
        }
    };
    listening.map_err(|source| BindError { place, source })
}

fn tcp(address: SocketAddr, backlog: i32) -> io::Result<Listening> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // for the connections of a predecessor that are in TIME_WAIT
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Listening::of(Listener::Tcp(socket.into()), None, None)
}

/// Raises the soft limit of open files to the hard limit; returns the limit before and after, `None` for no limit.
pub fn raise_file_limit() -> io::Result<(Option<u64>, Option<u64>)> {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })?;
    Ok((before.current, getrlimit(Resource::Nofile).current))
}

/// The connections that may be open at once, over all arbiters.
#[derive(Clone)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    total: u32,
    taken: Arc<AtomicUsize>,
}

/// One open connection; its seat is free again when this is dropped, however the connection ends.
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
    taken: Arc<AtomicUsize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Seats {
    /// So many seats; 0 for no limit.
    pub(super) fn new(max_connections: u32) -> Self {
        let total = if max_connections == 0 { u32::MAX } else { max_connections };
        Self { free: Arc::new(Semaphore::new(total as usize)), total, taken: Arc::new(AtomicUsize::new(0)) }
    }

    /// How many connections are open.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Waits until no connection is open and nobody accepts; false if that takes too long.
    pub(super) async fn all_free(&self, grace: Duration) -> bool {
        matches!(timeout(grace, self.free.acquire_many(self.total)).await, Ok(Ok(_)))
    }

    fn occupy(&self, permit: OwnedSemaphorePermit) -> Seat {
        self.taken.fetch_add(1, Ordering::AcqRel);
        Seat { _permit: permit, taken: Arc::clone(&self.taken) }
    }
}

/// A listener on the arbiter that accepts from it.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Listener::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
        })
    }

    /// The next connection; its peer has an address if it came by TCP.
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // A connection that is gone already fails here, and at its first read.
                let _ = socket.set_nodelay(true);
                Ok((socket.into(), Some(peer)))
            }
            Self::Unix(listener) => Ok((listener.accept().await?.0.into(), None)),
        }
    }
}

/// Accepts until the phase changes, and closes the listener then. Each of the arbiters does this with a listener of the
/// same socket, one connection at a time, so that connections spread over those which are not busy.
pub(super) async fn accept(
    listener: Acceptor,
    seats: Seats,
    mut phase: watch::Receiver<Phase>,
    logger: Logger,
    mut connect: impl FnMut(Socket, Option<SocketAddr>, Seat),
) {
    let mut pauses = Pauses { logger, last_told: None };
    let accept_all = async {
        loop {
            let Ok(permit) = Arc::clone(&seats.free).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, peer)) => connect(socket, peer, seats.occupy(permit)),
                Err(error) => pauses.after(&error).await,
            }
            actix_rt::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
        () = accept_all => {}
    }
}

struct Pauses {
    logger: Logger,
    last_told: Option<Instant>,
}

impl Pauses {
    /// A connection that failed before it was accepted is no reason to wait. Anything else would fail again at once.
    async fn after(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
            || Errno::from_io_error(error) == Some(Errno::PROTO)
        {
            return;
        }
        if self.last_told.is_none_or(|at| at.elapsed() >= PAUSE_LOG_INTERVAL) {
            self.last_told = Some(Instant::now());
            slog::warn!(self.logger, "accepting connections paused"; "error" => %error);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_second_listener_on_the_address_is_refused_by_name() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let address = listener.endpoint().address().unwrap();
        assert_ne!(address.port(), 0);
        let error = bind(address, 16).err().unwrap();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_file_limit_is_raised_to_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let (before, after) = raise_file_limit().unwrap();
        assert_eq!(after, hard);
        assert!(after.is_none_or(|after| before.is_some_and(|before| before <= after)));
    }

    #[tokio::test]
    async fn a_seat_is_free_again_when_its_connection_panics() {
        let seats = Seats::new(1);
        let seat = seats.occupy(Arc::clone(&seats.free).acquire_owned().await.unwrap());
        assert_eq!(seats.taken(), 1);
        assert!(!seats.all_free(Duration::ZERO).await);
        let task = tokio::spawn(async move {
            let _seat = seat;
            panic!("a handler's panic");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(seats.taken(), 0);
        assert!(seats.all_free(Duration::ZERO).await);
    }
}
