//! The connections: listens, accepts on arbiters of our own, and runs actix-http over an IO that gives it heads. Bodies go
//! from the socket to their handlers.

#[cfg(feature = "benched")]
#[doc(hidden)]
pub mod benched;
mod connection;
mod framing;
mod incoming;
mod inherited;
mod listener;
mod stream;
mod tls;
mod unix;
pub mod wire;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::DispatchError;
use actix_http::{ConnectionType, HttpMessage as _, HttpService, Request, Response};
use actix_rt::Arbiter;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory, map_config};
use actix_web::dev::AppConfig;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use slog::Logger;
use tokio::sync::oneshot;
use tokio::sync::watch::{Receiver, Sender};

pub use connection::Fault;
use connection::Shared;
pub use framing::{BodyKind, Trailers};
pub use incoming::{BodyError, Incoming};
pub use inherited::Inherited;
use inherited::Listener;
use listener::{Acceptor, Seat, Seats};
pub use listener::{BindError, Endpoint, Listening, Place, bind, listen, raise_file_limit};
use stream::{Socket, Stream};
pub use tls::{Fresh, TlsError, TlsFiles, TlsHandle};
use wire::{Limits, Wire};

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
/// in its extensions, already when the expect hook sees it (actix's own payload is empty), and is answered with
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
    mut config: Config,
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
    let expect = Rc::new(expect);
    let make = |patience: Patience| {
        let factory = http(app(), Rc::clone(&expect), patience, phases.clone());
        async move {
            let service = factory.new_service(()).await;
            service.map_err(|()| io::Error::other("the app does not start")).map(|service| Rc::new((service, patience)))
        }
    };
    let first = *config.patience.borrow_and_update();
    let started = async { Ok((Acceptor::new(listener)?, make(first).await?)) };
    let (listener, service) = match started.await {
        Ok(started) => started,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(())).is_err() {
        return;
    }
    let current = RefCell::new(service);
    let root = logger.clone();
    let connect = |socket: Socket, peer: Option<SocketAddr>, seat: Seat| {
        let (serving, tls, phases) = (Rc::clone(&current.borrow()), tls.clone(), phases.clone());
        let cut = reached(phases.clone(), Phase::Cut);
        let logger = root.new(slog::o!("peer" => peer_name(peer)));
        actix_rt::spawn(async move {
            let _seat = seat;
            let (service, Patience { limits, .. }) = &*serving;
            let whole = async {
                let Some(stream) = open(socket, tls, *limits, phases, &logger).await else { return };
                let wire = Wire::new(stream, *limits, logger.clone());
                let remains = wire.remains();
                if let Err(error) = service.call((wire, peer)).await {
                    slog::debug!(logger, "connection ended"; "error" => %error);
                }
                remains.linger().await;
            };
            tokio::select! {
                () = whole => {}
                () = cut => {}
            }
        });
    };
    let renew = async {
        while config.patience.changed().await.is_ok() {
            let patience = *config.patience.borrow_and_update();
            if let Ok(service) = make(patience).await {
                current.replace(service);
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = listener::accept(listener, seats, phases.clone(), logger, connect) => {}
        () = renew => {}
    }
}

/// What serves connections with this patience.
fn http<I, S, B>(
    app: I,
    expect: Rc<Expect>,
    patience: Patience,
    phases: Receiver<Phase>,
) -> impl ServiceFactory<
    (Wire, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
    Service: Service<(Wire, Option<SocketAddr>), Response = (), Error = DispatchError, Future: 'static> + 'static,
>
where
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = apply_fn_factory(map_config(app, |()| AppConfig::default()), |request, app: &S::Service| {
        admit(&request);
        // No upgrade is served, so that its offer (of h2c, say) is ignored; actix would answer as if it had been taken up.
        let offers_upgrade = request.upgrade();
        let connection = connection_of(&request);
        let answer = app.call(request);
        async move {
            let mut response: Response<B> = answer.await?.into();
            if connection.as_ref().is_some_and(|shared| shared.borrow_mut().settle()) || offers_upgrade {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(response.map_body(|_, body| Answer { body: BoxBody::new(body), connection }))
        }
    });
    HttpService::build()
        .client_request_timeout(patience.limits.head_timeout)
        .client_disconnect_timeout(patience.limits.linger)
        .keep_alive(patience.keep_alive)
        .h1_allow_half_closed(true)
        .graceful_shutdown_signal(move || reached(phases.clone(), Phase::Draining))
        .on_connect_ext(|wire: &Wire, data| drop(data.insert(wire.connection())))
        .expect(move |request: Request| admit_expecting(request, Rc::clone(&expect)))
        .h1(app)
}

/// A connection with its handshake done, if it has one. None when that failed, or the end came before.
async fn open(
    socket: Socket,
    tls: Option<TlsHandle>,
    limits: Limits,
    phases: Receiver<Phase>,
    logger: &Logger,
) -> Option<Stream> {
    let Some(tls) = tls else { return Some(Stream::Plain(socket)) };
    tokio::select! {
        stream = tls::accept(&tls, socket, limits) => stream
            .inspect_err(|error| slog::debug!(logger, "TLS handshake failed"; "error" => %error))
            .ok(),
        () = reached(phases, Phase::Draining) => None,
    }
}

/// A peer, as the log names it. Those at a Unix socket have no address.
pub fn peer_name(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())
}

/// The body of an answer. actix drops it when its last byte has been encoded: then the next request may be read.
struct Answer {
    body: BoxBody,
    connection: Option<Shared>,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.borrow_mut().answered();
        }
    }
}

async fn reached(mut phases: Receiver<Phase>, phase: Phase) {
    // The sender is gone when the server is; then there is nothing to wait for.
    let _ = phases.wait_for(|current| *current >= phase).await;
}

fn connection_of(request: &Request) -> Option<Shared> {
    request.conn_data::<Shared>().cloned()
}

/// Gives the request its body, unless it has one.
fn admit(request: &Request) {
    let mut extensions = request.extensions_mut();
    if let Some(connection) = connection_of(request).filter(|_| !extensions.contains::<Incoming>()) {
        extensions.insert(Incoming::claim(connection, request.head()));
    }
}

async fn admit_expecting(request: Request, expect: Rc<Expect>) -> Result<Request, Response<BoxBody>> {
    admit(&request);
    let fault = request.extensions().get::<Incoming>().and_then(Incoming::fault);
    let connection = connection_of(&request);
    let outcome = match fault {
        Some(_) => Err(Response::bad_request().map_body(|_, body| BoxBody::new(body))),
        None => expect(request).await,
    };
    outcome.map_err(|mut response| {
        if connection.as_ref().is_some_and(|shared| shared.borrow_mut().settle()) {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        response.map_body(|_, body| BoxBody::new(Answer { body, connection }))
    })
}
