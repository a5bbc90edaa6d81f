//! Binding the address, and accepting from it: as many connections as there are seats, with a pause when the system has no
//! descriptor or memory left.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::Logger;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Phase;

/// How long accepting pauses when it fails for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);
/// How often such a pause is told in the log, by each arbiter.
const PAUSE_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Listens on the address; with port 0 the system chooses one, and `local_addr` tells which. SO_REUSEPORT is not set, so a
/// second server on the same address gets an error instead of half of the connections.
pub fn bind(address: SocketAddr, backlog: i32) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?; // for the connections of a predecessor that are in TIME_WAIT
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    listen().map_err(|source| BindError { address, source })
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

/// Accepts until the phase changes, and closes the listener then. Each of the arbiters does this with a listener of the
/// same socket, one connection at a time, so that connections spread over those which are not busy.
pub(super) async fn accept(
    listener: tokio::net::TcpListener,
    seats: Seats,
    mut phase: watch::Receiver<Phase>,
    logger: Logger,
    mut connect: impl FnMut(TcpStream, SocketAddr, Seat),
) {
    let mut pauses = Pauses { logger, last_told: None };
    let accept_all = async {
        loop {
            let Ok(permit) = Arc::clone(&seats.free).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => connect(stream, peer, seats.occupy(permit)),
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
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let error = bind(address, 16).unwrap_err();
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
