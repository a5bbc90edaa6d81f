//! Keys at a URL: fetched at the start and now and then, and when a token names one that is not known. While they can't be
//! fetched, those that were fetched last go on counting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, crypto::ring};
use slog::{Logger, info, warn};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};

use super::keys::{KeySet, Secrets};

/// How long one fetch may take, and how long a request waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any set of keys has.
const MOST_BYTES: usize = 512 * 1024;

/// What is known of the keys.
#[derive(Default)]
struct Fetched {
    /// `None` before they were fetched for the first time.
    keys: Option<KeySet>,
    /// How many fetches have ended, one way or the other.
    tries: u64,
}

/// How often keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Often {
    /// At least so often.
    pub(crate) every: Duration,
    /// Tokens with unknown keys make it fetch no more often than so.
    pub(crate) pause: Duration,
}

/// Keys at a URL. They are fetched while one of these is there.
#[derive(Clone)]
pub(crate) struct Remote {
    shared: Arc<Shared>,
    fetched: watch::Receiver<Fetched>,
}

struct Shared {
    url: Uri,
    every_secs: AtomicU64,
    pause_secs: AtomicU64,
    /// Somebody wants them to be fetched.
    wanted: Arc<Notify>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Remote({})", self.shared.url)
    }
}

impl Remote {
    /// Begins to fetch. Must be called within an actix system.
    pub(crate) fn start(url: Uri, often: Often, logger: Logger) -> Self {
        let (sender, fetched) = watch::channel(Fetched::default());
        let wanted = Arc::<Notify>::default();
        let (every_secs, pause_secs) = [often.every, often.pause].map(|often| AtomicU64::new(often.as_secs())).into();
        let shared = Arc::new(Shared { url: url.clone(), every_secs, pause_secs, wanted: Arc::clone(&wanted) });
        let fetcher = Fetcher { url, shared: Arc::downgrade(&shared), wanted, sender, logger, was_well: true };
        actix_rt::spawn(fetcher.run());
        Self { shared, fetched }
    }

    /// Where they are fetched from.
    pub(crate) fn url(&self) -> &Uri {
        &self.shared.url
    }

    /// From now on they are fetched so often.
    pub(crate) fn set(&self, often: Often) {
        self.shared.every_secs.store(often.every.as_secs(), Ordering::Relaxed);
        self.shared.pause_secs.store(often.pause.as_secs(), Ordering::Relaxed);
    }

    /// The keys as they are known; `None` before they were fetched for the first time.
    pub(crate) fn keys(&self) -> Option<KeySet> {
        self.fetched.borrow().keys.clone()
    }

    /// Has them fetched, if that was not done just now, and waits for the outcome. However many wait, it is one fetch.
    pub(crate) async fn refresh(&self) {
        let mut fetched = self.fetched.clone();
        let tries = fetched.borrow_and_update().tries;
        self.shared.wanted.notify_one();
        // Whatever comes of it: the keys that are known then count.
        let _ = timeout(PATIENCE, fetched.wait_for(|fetched| fetched.tries != tries)).await;
    }
}

struct Fetcher {
    url: Uri,
    shared: std::sync::Weak<Shared>,
    wanted: Arc<Notify>,
    sender: watch::Sender<Fetched>,
    logger: Logger,
    was_well: bool,
}

impl Fetcher {
    async fn run(mut self) {
        let client = match client() {
            Ok(client) => client,
            Err(error) => return warn!(self.logger, "keys can't be fetched"; "error" => error),
        };
        loop {
            let outcome = timeout(PATIENCE, fetch(&client, &self.url)).await;
            self.take(outcome.unwrap_or_else(|_| Err("it took too long".to_owned())));
            let ended = Instant::now();
            loop {
                let Some(shared) = self.shared.upgrade() else { return };
                let [every, pause] = [&shared.every_secs, &shared.pause_secs]
                    .map(|secs| Duration::from_secs(secs.load(Ordering::Relaxed)));
                drop(shared);
                tokio::select! {
                    () = sleep_until(ended + every) => break,
                    // Whoever holds the keys has gone.
                    () = self.sender.closed() => return,
                    () = self.wanted.notified() => {
                        if ended.elapsed() >= pause {
                            break;
                        }
                        // They were fetched just now: whoever waits is told to look.
                        self.sender.send_modify(|fetched| fetched.tries += 1);
                    }
                }
            }
        }
    }

    fn take(&mut self, outcome: Result<KeySet, String>) {
        match &outcome {
            Ok(_) if self.was_well && self.sender.borrow().keys.is_some() => {}
            Ok(_) => info!(self.logger, "keys fetched"; "url" => %self.url),
            Err(error) => {
                let is_stale = self.sender.borrow().keys.is_some();
                warn!(self.logger, "keys not fetched"; "url" => %self.url, "error" => error, "old_ones_count" => is_stale);
            }
        }
        self.was_well = outcome.is_ok();
        self.sender.send_modify(|fetched| {
            fetched.tries += 1;
            fetched.keys = outcome.ok().or(fetched.keys.take());
        });
    }
}

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

fn client() -> Result<Https, String> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_native_roots()
        .map_err(|error| format!("the system's authorities can't be read: {error}"))?
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

/// One try. Nothing is followed elsewhere: who answers must be who was asked.
async fn fetch(client: &Https, url: &Uri) -> Result<KeySet, String> {
    let request = Request::get(url).header(header::ACCEPT, "application/jwk-set+json, application/json");
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| chain(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|error| chain(&*error))?;
    KeySet::of_jwks(&body.to_bytes(), Secrets::Ignored)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
