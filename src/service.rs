//! The service as a whole: builds each room's configuration from the settings, starts everything in order, and ends it
//! in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, web};
use slog::{Logger, info, warn};
#[cfg(feature = "s3")]
use wharf_actors::storage::Durability;
use wharf_actors::{
    Budget, Uploads,
    disk::Disk,
    storage::{
        Storage,
        file::{self, OpenError},
    },
};

use crate::{
    page::{self, Page},
    protocol::{
        Extensions, Rules,
        cors::{Cors, CorsConfig, InvalidCors},
        location::{BasePath, InvalidBasePath, LocationRules},
    },
    routes::{self, Site},
    server::{self, BindError, Drained, Running, wire::Limits},
    settings::{Settings, StorageKind},
};

#[cfg(feature = "s3")]
mod s3;

/// How long handlers get to answer once the leases have been ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How many finished uploads are kept in mind, so that reading them needs no owner. About half a KiB each.
const RECORDS_REMEMBERED: usize = 16_384;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The base path is none.
    #[error(transparent)]
    BasePath(#[from] InvalidBasePath),
    /// The rules for other origins can't be used.
    #[error(transparent)]
    Cors(#[from] InvalidCors),
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Threads(#[from] io::Error),
}

/// A service that runs.
pub struct Service {
    running: Running,
    uploads: Uploads,
    shutdown_grace: Duration,
    logger: Logger,
}

impl Service {
    /// Starts everything. Must be called within an actix system.
    ///
    /// # Errors
    /// When the address or the store is in use by another, or can't be used at all.
    pub async fn start(settings: &Settings, logger: Logger) -> Result<Self, StartError> {
        match server::raise_file_limit() {
            Ok((before, after)) => slog::debug!(logger, "open files"; "limit_before" => before, "limit" => after),
            Err(error) => warn!(logger, "the limit of open files could not be raised"; "error" => %error),
        }
        let site = Site { uploads: Self::start_uploads(settings, &logger).await?, config: config(settings)?, logger };
        let (uploads, logger) = (site.uploads.clone(), site.logger.clone());
        // The address comes last: whoever finds it open is served.
        let backlog = i32::try_from(settings.server.listen_backlog).unwrap_or(i32::MAX);
        let listener = server::bind(settings.server.bind, backlog)?;
        let site = Arc::new(site);
        let shared = Arc::clone(&site);
        let app = move || {
            let site = web::Data::new(Arc::clone(&shared));
            App::new().app_data(site).default_service(web::to(routes::serve))
        };
        let expect = move || routes::expect(Arc::clone(&site));
        let running = server::serve(server_config(settings), listener, logger.clone(), app, expect).await?;
        Ok(Self { running, uploads, shutdown_grace: settings.timeouts.shutdown, logger })
    }

    async fn start_uploads(settings: &Settings, logger: &Logger) -> Result<Uploads, StartError> {
        let budget = Arc::new(Budget::new(settings.storage.memory_budget_bytes));
        let (store, durability) = match settings.storage.kind {
            StorageKind::Disk => (Self::disk(settings)?, settings.storage.durability),
            // Nothing is acknowledged before S3 has it.
            #[cfg(feature = "s3")]
            StorageKind::S3 => (s3::open(settings, Arc::clone(&budget), logger).await?, Durability::Always),
        };
        let config = wharf_actors::Config {
            max_size: max_size(settings),
            durability,
            mailbox: settings.pools.uploads.mailbox,
            idle_owner: settings.timeouts.idle_owner,
            patience: settings.timeouts.store,
            expire_after: settings.expiration.after,
            expire_interval: settings.expiration.interval,
            concatenation_unfinished: settings.tus.concatenation_unfinished,
            budget,
            remembered: RECORDS_REMEMBERED,
        };
        Ok(Uploads::start(store, config, logger.clone()).await)
    }

    fn disk(settings: &Settings) -> Result<Arc<dyn Storage>, StartError> {
        let disk = Disk::start(settings.pools.disk.workers, settings.pools.disk.queue)?;
        let place = file::Config {
            dir: settings.storage.dir.clone(),
            durability: settings.storage.durability,
            file_mode: settings.storage.file_mode,
            dir_mode: settings.storage.dir_mode,
            roots: settings.storage.roots.clone(),
            scan_entries: settings.expiration.scan_entries,
        };
        Ok(file::open(place, disk)?)
    }

    /// Where the service listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// The uploads, to look at their mailboxes.
    #[must_use]
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Stops accepting, lets running requests go on for the grace time, then ends their leases with every received byte
    /// kept. Returns whether all went in order.
    pub async fn shutdown(self) -> bool {
        info!(self.logger, "shutting down"; "connections" => self.running.connections());
        let drained = self.running.drain(self.shutdown_grace).await;
        self.uploads.close();
        if drained != Drained::All {
            self.running.drain(LAST_WORDS).await;
        }
        self.running.cut().await;
        let settled = self.uploads.settle(LAST_WORDS.max(self.shutdown_grace)).await;
        if !settled {
            warn!(self.logger, "the store did not answer in time");
        }
        self.running.stop();
        info!(self.logger, "shut down");
        settled
    }
}

/// The longest upload that is taken: what is allowed, or what the store can take.
fn max_size(settings: &Settings) -> Option<u64> {
    let allowed = settings.tus.max_size_bytes;
    match settings.storage.kind {
        StorageKind::Disk => allowed,
        #[cfg(feature = "s3")]
        StorageKind::S3 => Some(allowed.unwrap_or(u64::MAX).min(s3::longest_upload(settings))),
    }
}

fn server_config(settings: &Settings) -> server::Config {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    server::Config {
        arbiters: settings.pools.uploads.arbiters.unwrap_or_else(cores),
        max_connections: settings.server.max_connections.map_or(0, |max| u32::try_from(max).unwrap_or(u32::MAX)),
        keep_alive: settings.timeouts.keep_alive,
        limits: Limits {
            head_max_bytes: settings.server.head_max_bytes,
            head_timeout: settings.timeouts.head,
            write_timeout: settings.timeouts.write,
            linger: settings.timeouts.linger,
        },
    }
}

fn config(settings: &Settings) -> Result<routes::Config, StartError> {
    let (tus, cors) = (&settings.tus, &settings.cors);
    let base = BasePath::parse(&settings.server.base_path.to_string())?;
    let extensions = Extensions {
        expiration: settings.expiration.after.is_some(),
        checksum: tus.checksum,
        checksum_trailer: tus.checksum_trailer,
        termination: tus.termination,
        concatenation: tus.concatenation,
        concatenation_unfinished: tus.concatenation_unfinished,
        download: tus.download,
        ..Extensions::all()
    };
    let cors = Cors::new(&CorsConfig {
        enabled: cors.enabled,
        allow_origin: cors.allow_origin.as_ref().map_or_else(|| ".*".to_owned(), |regex| regex.as_str().to_owned()),
        allow_credentials: cors.allow_credentials,
        allow_methods: cors.allow_methods.clone(),
        allow_headers: cors.allow_headers.clone(),
        expose_headers: cors.expose_headers.clone(),
        max_age_secs: cors.max_age.as_secs(),
    })?;
    let page = Page::new(&page::Config {
        origin: base.origin.clone(),
        path: base.path.clone(),
        max_size: tus.max_size_bytes,
        download: tus.download,
        termination: tus.termination,
    });
    Ok(routes::Config {
        rules: Rules {
            base_path: base.path.clone(),
            max_size: max_size(settings),
            extensions,
            metadata_max_bytes: tus.metadata_max_bytes,
            greeting: settings.server.greeting,
            page: settings.server.page,
        },
        cors,
        page,
        locations: LocationRules {
            base,
            absolute: settings.server.absolute_location,
            behind_proxy: settings.server.behind_proxy,
        },
        message_bytes: tus.append_message_bytes,
        window: tus.append_window,
        body_read: settings.timeouts.body_read,
        log_requests: settings.log.requests,
    })
}
