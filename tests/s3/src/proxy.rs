//! A proxy between a client and an S3 server that breaks requests on purpose: by script, or at random from a seed.
//! What it forwards keeps its `Host` and every other signed header, so the client signs for the proxy's own address.

mod answer;
mod fault;
mod forward;
mod operation;
mod plan;
mod socket;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

pub use self::fault::{Fault, Kind};
pub use self::operation::Operation;

use self::plan::Plan;
use self::socket::Socket;
use crate::server::Server;

/// What went through a proxy since the start or the last [`Proxy::clear`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that came in.
    pub requests: BTreeMap<Operation, u64>,
    /// Those of them that met a fault, by its [`Kind::name`].
    pub faults: BTreeMap<(Operation, &'static str), u64>,
}

impl Counts {
    /// How many requests for `operation` came in.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> u64 {
        self.requests.get(&operation).copied().unwrap_or(0)
    }

    /// How many requests met a fault.
    #[must_use]
    pub fn faulty(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// What the connections and the [`Proxy`] share.
struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Plan>,
    /// Changes when held requests may go on.
    released: watch::Sender<u64>,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault-injecting HTTP proxy on 127.0.0.1 that ends when it is dropped. Without a script it changes nothing.
pub struct Proxy {
    shared: Arc<Shared>,
    server: Server,
}

impl Proxy {
    /// Starts one in front of `endpoint`, an `http://` URL without a path.
    ///
    /// # Panics
    /// When the endpoint has no address, or when it can't listen.
    #[must_use]
    pub fn start(endpoint: &str) -> Self {
        let authority = endpoint.trim_start_matches("http://").trim_end_matches('/');
        let mut addresses = authority.to_socket_addrs().expect("the endpoint is a host and a port");
        let upstream = addresses.next().expect("the endpoint's host has an address");
        let shared = Arc::new(Shared { upstream, plan: Mutex::default(), released: watch::Sender::new(0) });
        let serving = Arc::clone(&shared);
        let server = Server::start(0, move |stream| {
            let (socket, doom) = Socket::new(stream);
            let shared = Arc::clone(&serving);
            let service = service_fn(move |request| forward::exchange(Arc::clone(&shared), doom.clone(), request));
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
            async move {
                // It ends badly on purpose, or because the client left.
                let _ = connection.await;
            }
        });
        Self { shared, server: server.expect("the proxy listens on a free port") }
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Adds faults. A request meets the first that fits it and isn't used up.
    pub fn script(&self, faults: Vec<Fault>) {
        self.shared.plan().script(faults);
    }

    /// Lets a request that no script fits fail with the probability `rate` (0 to 1), in a way drawn from `seed`.
    pub fn random(&self, seed: u64, rate: f64) {
        self.shared.plan().random(seed, rate);
    }

    /// Lets all requests that a [`Kind::Hold`] keeps go on.
    pub fn release(&self) {
        self.shared.released.send_modify(|generation| *generation += 1);
    }

    /// How many requests a [`Kind::Hold`] keeps now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.shared.plan().held
    }

    /// Ends all faults, scripted and random, and lets held requests go on.
    pub fn calm(&self) {
        self.shared.plan().calm();
        self.release();
    }

    /// What went through.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.plan().counts.clone()
    }

    /// Forgets what went through; faults stay.
    pub fn clear(&self) {
        self.shared.plan().counts = Counts::default();
    }
}
