//! The client on rusoto: rusoto_s3 spells the requests and reads the answers. What lies between is here, since rusoto was
//! archived by its authors: a signature that covers more than theirs, and the HTTP and TLS of today.

mod calls;
mod credentials;
mod exchange;
mod lists;
mod place;
mod signing;
mod transport;
mod words;

use std::{error::Error, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use rusoto_core::{Region, RusotoError};
use rusoto_s3::S3Client;
use tokio::time::timeout;

use super::{
    ClientError, Config,
    error::{timed_out, unreadable},
};
use credentials::Credentials;
use exchange::Exchange;
use place::Place;
use transport::Transport;

/// A client on rusoto. Clones share their connections.
#[derive(Clone)]
pub struct Rusoto {
    shared: Arc<Shared>,
    transport: Transport,
}

/// What siblings share.
struct Shared {
    config: Config,
    place: Place,
    credentials: Credentials,
    region: Region,
}

impl Rusoto {
    /// Looks for a region in the usual places, and for credentials when they are needed. Asks S3 nothing, and finds
    /// nothing wrong: a setting that does not fit lets the first call fail.
    #[must_use]
    pub fn connect(config: Config) -> Self {
        let transport = Transport::new(config.connect_timeout);
        let place = Place::new(&config);
        let credentials = Credentials::new(config.keys.as_ref(), place.region(), &transport);
        let region = place.as_rusoto();
        Self { shared: Arc::new(Shared { config, place, credentials, region }), transport }
    }

    /// A client with connections of its own and the same credentials, for another runtime.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), transport: self.transport.sibling() }
    }

    fn exchange(&self, operation: &'static str) -> Exchange {
        Exchange::new(operation, Arc::clone(&self.shared), self.transport.clone())
    }

    /// Waits for an answer, for as long as a request with a body of `length` bytes may take.
    fn answer<T, E, F>(
        &self,
        exchange: Exchange,
        length: u64,
        ask: impl FnOnce(S3Client) -> F,
    ) -> impl Future<Output = Result<T, ClientError>> + Send + 'static
    where
        F: Future<Output = Result<T, RusotoError<E>>> + Send + 'static,
        T: Send + 'static,
        E: Error + Send + 'static,
    {
        let (operation, failure) = (exchange.operation(), exchange.failure());
        // It does not sign: the exchange does.
        let through = rusoto_core::Client::new_not_signing(exchange);
        let request = ask(S3Client::new_with_client(through, self.shared.region.clone()));
        let patience = self.shared.config.patience(length);
        async move {
            // rusoto panics when a number in an answer is none.
            match timeout(patience, AssertUnwindSafe(request).catch_unwind()).await {
                Ok(Ok(Ok(answer))) => Ok(answer),
                Ok(Ok(Err(error))) => Err(failure.get().cloned().unwrap_or_else(|| unreadable(operation, &error))),
                Ok(Err(_)) => Err(unreadable(operation, &fmt::Error)),
                Err(_) => Err(timed_out(operation, patience)),
            }
        }
    }
}

impl fmt::Debug for Rusoto {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rusoto").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
