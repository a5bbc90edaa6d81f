//! The connections: listens, accepts on arbiters of our own, and calls an app of actix for each request. Bodies go from the
//! socket to their handlers.

mod answer;
#[cfg(feature = "benched")]
#[doc(hidden)]
pub mod benched;
mod connection;
mod encode;
mod framing;
mod incoming;
mod inherited;
mod listener;
mod outgoing;
mod socket;
mod stream;
mod timer;
mod tls;
mod unix;
pub mod wire;

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{Request, Response};
use actix_rt::Arbiter;
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
use actix_web::dev::AppConfig;
use futures_util::future::LocalBoxFuture;
use slog::Logger;
use tokio::sync::oneshot;
use tokio::sync::watch::{Receiver, Sender};

pub use connection::Fault;
pub use framing::{BodyKind, Trailers};
pub use incoming::{BodyError, Incoming};
pub use inherited::Inherited;
use inherited::Listener;
use listener::{Acceptor, Seat, Seats};
pub use listener::{BindError, Endpoint, Listening, Place, bind, listen, raise_file_limit};
pub use outgoing::Outgoing;
use socket::Socket;
use stream::Stream;
pub use timer::Timer;
pub use tls::{Fresh, TlsError, TlsFiles, TlsHandle};
use wire::{Handlers, Limits, Wire};

/// What the server is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many threads serve connections.
    pub arbiters: usize,
    /// How many connections may be open at once; 0 for no limit. Those beyond wait to be accepted.
    pub max_connections: u32,
    /// What may change while the server runs.
    pub patience: Receiver<Patience>,
}

/// What counts for each connection as it was when it began.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// What a connection puts up with.
    pub limits: Limits,
}

/// Asked before `100 Continue` is sent: gives the request back, or refuses it. One is made on each arbiter.
pub type Expect = Box<dyn Fn(Request) -> LocalBoxFuture<'static, Result<Request, Response<BoxBody>>>>;

/// What the connections are to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// No new connections; the current request of each is the last.
    Draining,
    /// All connections end.
    Cut,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// No connection is open any more.
    All,
    /// So many still are.
    Remaining(usize),
}

/// A server that runs. Ends with the process, or by `drain`, `cut` and `stop` in that order.
pub struct Running {
    endpoint: Endpoint,
    name: Option<unix::Name>,
    phase: Sender<Phase>,
    seats: Seats,
    arbiters: Vec<Arbiter>,
}

impl Running {
    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address that is listened on, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoint.address()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.seats.taken()
    }

    /// The same, to be asked from anywhere and at any time.
    pub fn connection_count(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let seats = self.seats.clone();
        move || seats.taken()
    }

    /// Closes the listener at once, and idle connections too; waits for the running requests. May be called again, with
    /// more time, once those have been told to end.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.enter(Phase::Draining);
        if self.seats.all_free(grace).await { Drained::All } else { Drained::Remaining(self.seats.taken().max(1)) }
    }

    /// Drops the connections that are still open, and with them their handlers.
    pub async fn cut(&self) {
        const TAKES_AT_MOST: Duration = Duration::from_secs(5);
        self.enter(Phase::Cut);
        self.seats.all_free(TAKES_AT_MOST).await;
    }

    /// Stops the arbiters and waits for their threads. Whatever else lives on them ends here as well.
    pub fn stop(self) {
        self.enter(Phase::Cut);
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        for arbiter in self.arbiters {
            // An arbiter's thread that panicked has ended too.
            let _ = arbiter.join();
        }
    }

    fn enter(&self, phase: Phase) {
        if let Some(name) = &self.name {
            name.remove();
        }
        self.phase.send_if_modified(|current| {
            let is_later = *current < phase;
            *current = phase.max(*current);
            is_later
        });
    }
}

/// Serves an app on arbiters of its own; must be called within an actix system. Each request carries its body as `Incoming`
/// in its extensions, already when the expect hook sees it (its own payload is empty), and is answered with
/// `Connection: close` when something of it is left that nobody has read.
pub async fn serve<F, I, S, B, E>(
    config: Config,
    listening: Listening,
    logger: Logger,
    app: F,
    expect: E,
) -> io::Result<Running>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    E: Fn() -> Expect + Send + Clone + 'static,
{
    let Listening { listener, endpoint, name, tls } = listening;
    let (phase, phases) = tokio::sync::watch::channel(Phase::Serving);
    let seats = Seats::new(config.max_connections);
    let mut running = Running { endpoint, name, phase, seats, arbiters: Vec::new() };
    for _ in 0..config.arbiters.max(1) {
        let arbiter = Arbiter::try_new()?;
        let (ready, is_ready) = oneshot::channel();
        let (config, logger, listener) = (config.clone(), logger.clone(), (listener.try_clone()?, tls.clone()));
        let (seats, phases, app, expect) = (running.seats.clone(), phases.clone(), app.clone(), expect.clone());
        arbiter.spawn_fn(move || {
            let serving = serve_here(config, listener, logger, (seats, phases), app, expect(), ready);
            actix_rt::spawn(serving);
        });
        running.arbiters.push(arbiter);
        is_ready.await.unwrap_or_else(|_| Err(io::Error::other("an arbiter ended while it started")))?;
    }
    Ok(running)
}

/// Serves on this arbiter until the phase changes.
async fn serve_here<F, I, S, B>(
    config: Config,
    (listener, tls): (Listener, Option<TlsHandle>),
    logger: Logger,
    (seats, phases): (Seats, Receiver<Phase>),
    app: F,
    expect: Expect,
    ready: oneshot::Sender<io::Result<()>>,
) where
    F: Fn() -> I,
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let started = async {
        let service = app().into_factory().new_service(AppConfig::default()).await;
        let service = service.map_err(|error| io::Error::other(format!("the app does not start: {error:?}")))?;
        let respond = move |request| {
            let answer = service.call(request);
            async {
                match answer.await {
                    Ok(response) => response.into().map_body(|_, body: B| body.boxed()),
                    Err(error) => error.into(),
                }
            }
        };
        Ok((Acceptor::new(listener)?, Rc::new(Handlers { respond, expect })))
    };
    let (listener, handlers) = match started.await {
        Ok(started) => started,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(())).is_err() {
        return;
    }
    let root = logger.clone();
    let connect = |socket: Socket, peer: Option<SocketAddr>, seat: Seat| {
        let patience = *config.patience.borrow();
        let (handlers, tls, phases, logger) = (Rc::clone(&handlers), tls.clone(), phases.clone(), root.clone());
        actix_rt::spawn(async move {
            let _seat = seat;
            let is_draining = Cell::new(false);
            let log = Log { logger, peer };
            // The phases come first: what is served looks at what they say. Futures that had names here before they get to
            // this place would have it twice, in each connection.
            tokio::select! {
                biased;
                () = note(phases, &is_draining) => {}
                () = async {
                    let stream = match tls {
                        None => Stream::Plain(socket),
                        // In a box of its own: a handshake takes many times as much memory as what comes after it.
                        Some(tls) => match Box::pin(secured(socket, tls, patience.limits, &is_draining, &log)).await {
                            Some(stream) => stream,
                            None => return,
                        },
                    };
                    let wire = Wire::new(&*handlers, patience, peer, &is_draining);
                    if let Err(error) = wire.serve(stream, |fault| log.refused(fault)).await {
                        slog::debug!(log.logger, "connection ended"; "error" => %error, "peer" => peer_name(peer));
                    }
                } => {}
            }
        });
    };
    listener::accept(listener, seats, phases.clone(), logger, connect).await;
}

/// Who tells of a connection.
struct Log {
    logger: Logger,
    peer: Option<SocketAddr>,
}

impl Log {
    fn refused(&self, fault: Fault) {
        slog::info!(self.logger, "unreadable request"; "reason" => %fault, "peer" => peer_name(self.peer));
    }
}

/// A connection with its handshake done. None when that failed, or the end came before.
async fn secured(
    socket: Socket,
    tls: TlsHandle,
    limits: Limits,
    is_draining: &Cell<bool>,
    log: &Log,
) -> Option<Stream> {
    let draining = poll_fn(|_| if is_draining.get() { Poll::Ready(()) } else { Poll::Pending });
    tokio::select! {
        biased;
        () = draining => None,
        stream = tls::accept(&tls, socket, limits) => stream
            .inspect_err(|error| {
                slog::debug!(log.logger, "TLS handshake failed"; "error" => %error, "peer" => peer_name(log.peer));
            })
            .ok(),
    }
}

/// A peer, as the log names it. Those at a Unix socket have no address.
pub fn peer_name(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())
}

/// Notes when the current request is to be the last; resolves when the connection ends at once.
async fn note(mut phases: Receiver<Phase>, is_draining: &Cell<bool>) {
    for phase in [Phase::Draining, Phase::Cut] {
        // The sender is gone when the server is; then there is nothing to wait for.
        let _ = phases.wait_for(|current| *current >= phase).await;
        is_draining.set(true);
    }
}
