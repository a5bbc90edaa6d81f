//! The service as a whole: builds each room's configuration from the settings, starts everything in order, and ends it
//! in order.

use std::{io, sync::Arc, time::Duration};

use actix_web::{App, web};
use slog::{Logger, info, warn};
use tokio::sync::watch;
#[cfg(feature = "s3")]
use wharf_actors::storage::Durability;
use wharf_actors::{
    Budget, Uploads,
    disk::Disk,
    events::Watcher,
    storage::{
        Storage,
        file::{self, OpenError},
    },
};

pub use crate::server::Endpoint;
use crate::{
    admin::{self, Stage},
    auth::Auth,
    limits::{self, Limits},
    metrics::Metrics,
    page::{self, Page},
    protocol::{
        Extensions, Rules,
        cors::{Cors, CorsConfig, InvalidCors},
        location::{BasePath, InvalidBasePath, LocationRules},
        screening::{Screening, TypePattern},
    },
    reload::{By, Contents, Effects, Reloader, Source},
    routes::{self, Site},
    server::{self, BindError, Drained, Inherited, Listening, Patience, Place, Running},
    settings::{Bind, Loaded, Mistakes, Settings, SettingsError, StorageKind, Timeouts},
    telemetry::Control,
};
use certificates::Certificates;
use keyring::Keyring;
use live::Live;

mod certificates;
mod hooks;
mod keyring;
mod live;

#[cfg(feature = "s3")]
mod s3;

/// How long handlers get to answer once the leases have been ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How many connections of operators may wait to be accepted.
const ADMIN_BACKLOG: i32 = 64;

/// How many finished uploads are kept in mind, so that reading them needs no owner. About half a KiB each.
const RECORDS_REMEMBERED: usize = 16_384;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What the settings name can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
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
    admin: Option<Running>,
    uploads: Uploads,
    reloader: Reloader,
    stage: watch::Sender<Stage>,
    timeouts: watch::Receiver<Timeouts>,
    logger: Logger,
}

impl Service {
    /// Starts everything. Must be called within an actix system. `source` is where the settings came from, and will be
    /// read again.
    ///
    /// # Errors
    /// When the address or the store is in use by another, or can't be used at all.
    pub async fn start(loaded: Loaded, source: Source, logger: Logger, log: Control) -> Result<Self, StartError> {
        let mut inherited = Inherited::receive();
        match server::raise_file_limit() {
            Ok((before, after)) => slog::debug!(logger, "open files"; "limit_before" => before, "limit" => after),
            Err(error) => warn!(logger, "the limit of open files could not be raised"; "error" => %error),
        }
        let settings = &loaded.settings;
        let certificates = Certificates::load(settings).map_err(|mistakes| loaded.blame(mistakes))?;
        let hooks = hooks::config(settings, &logger).map_err(|mistakes| loaded.blame(mistakes))?;
        let keyring = Keyring::load(settings).map_err(|mistakes| loaded.blame(mistakes))?;
        let (limits, metrics) = (Limits::new(limits(settings)), Arc::<Metrics>::default());
        let uploads = Self::start_uploads(settings, hooks, Arc::clone(&limits), &logger).await?;
        let rooms = Rooms { uploads, limits, metrics, keyring, logger: logger.clone() };
        let site = rooms.site(settings)?;
        let (sites, seen_sites) = watch::channel(Arc::new(site));
        let (patience, seen_patience) = watch::channel(live::patience(settings));
        let (timeouts, seen_timeouts) = watch::channel(settings.timeouts.clone());
        // The addresses come last: whoever finds one open is served. Both, before anything is served at one of them.
        let (listening, desk) = listen(settings, &certificates, &mut inherited)?;
        for socket in inherited.left() {
            warn!(logger, "a socket was passed that is not listened on: no setting names it"; "socket" => socket);
        }
        let desk_config = |desk: &Listening| admin_config(settings, desk.endpoint());
        let (admin, seen_admin) = desk.as_ref().map(|desk| watch::channel(desk_config(desk))).unzip();
        let app = {
            let sites = seen_sites.clone();
            move || App::new().app_data(web::Data::new(sites.clone())).default_service(web::to(routes::serve))
        };
        let expect = move || routes::expect(seen_sites.clone());
        let config = server_config(settings, seen_patience);
        let running = server::serve(config, listening, logger.clone(), app, expect).await?;
        let Rooms { uploads, limits, metrics, keyring, .. } = rooms.clone();
        let live = Live {
            rooms,
            budget_at_start: settings.storage.memory_budget_bytes,
            log: log.clone(),
            sites,
            patience,
            timeouts,
            admin,
        };
        let effects = Effects {
            read: Arc::new(move |settings| both(certificates.read(settings), keyring.read(settings))),
            apply: Box::new(move |settings| live.apply(settings)),
        };
        let reloader = Reloader::start(source, loaded, effects, logger.clone());
        let (stage, seen_stage) = watch::channel(Stage::Serving);
        let admin = match desk.zip(seen_admin) {
            Some((desk, config)) => {
                let connections = Box::new(running.connection_count());
                let (uploads, reloader, logger) = (uploads.clone(), reloader.clone(), logger.clone());
                let stage = seen_stage;
                let site = admin::Site { uploads, limits, metrics, connections, log, reloader, stage, config, logger };
                Some(admin::serve(site, desk).await?)
            }
            None => None,
        };
        Ok(Self { running, admin, uploads, reloader, stage, timeouts: seen_timeouts, logger })
    }

    async fn start_uploads(
        settings: &Settings,
        hooks: Option<wharf_actors::hooks::Config>,
        limits: Arc<Limits>,
        logger: &Logger,
    ) -> Result<Uploads, StartError> {
        let budget = Arc::new(Budget::new(settings.storage.memory_budget_bytes));
        let (store, durability) = match settings.storage.kind {
            StorageKind::Disk => (Self::disk(settings)?, settings.storage.durability),
            // Nothing is acknowledged before S3 has it.
            #[cfg(feature = "s3")]
            StorageKind::S3 => (s3::open(settings, Arc::clone(&budget), logger).await?, Durability::Always),
        };
        let (tuning, remembered) = (live::tuning(settings), RECORDS_REMEMBERED);
        let watcher: Option<Arc<dyn Watcher>> = Some(limits);
        let config = wharf_actors::Config { durability, budget, tuning, remembered, hooks, watcher };
        Ok(Uploads::start(store, config, logger.clone()).await?)
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
    pub fn endpoint(&self) -> &Endpoint {
        self.running.endpoint()
    }

    /// Where operators look, if anywhere.
    #[must_use]
    pub fn admin_endpoint(&self) -> Option<&Endpoint> {
        self.admin.as_ref().map(Running::endpoint)
    }

    /// Reads the settings again; the log says what became of it.
    pub fn reload(&self) -> impl Future<Output = ()> + 'static {
        let reloader = self.reloader.clone();
        // When so many have asked already that it is refused, one of them will read what this one means.
        async move { drop(reloader.reload(By::Signal).await) }
    }

    /// Says first that it ends, and waits as long as is set. Then stops accepting, lets running requests go on for the grace
    /// time, and ends their leases with every received byte kept. Returns whether all went in order. Operators can look
    /// on until the end.
    pub async fn shutdown(self) -> bool {
        let Timeouts { shutdown: grace, drain_delay, .. } = self.timeouts.borrow().clone();
        self.stage.send_replace(Stage::Ending);
        info!(self.logger, "shutting down"; "connections" => self.running.connections());
        if !drain_delay.is_zero() {
            tokio::time::sleep(drain_delay).await;
        }
        let drained = self.running.drain(grace).await;
        self.uploads.close();
        if drained != Drained::All {
            self.running.drain(LAST_WORDS).await;
        }
        self.running.cut().await;
        let settled = self.uploads.settle(LAST_WORDS.max(grace)).await;
        if !settled {
            warn!(self.logger, "the store did not answer in time");
        }
        self.running.stop();
        self.stage.send_replace(Stage::Ended);
        if let Some(admin) = self.admin {
            admin.drain(LAST_WORDS).await;
            admin.cut().await;
            admin.stop();
        }
        info!(self.logger, "shut down");
        settled
    }
}

fn admin_config(settings: &Settings, endpoint: &Endpoint) -> admin::Config {
    admin::Config::new(&settings.admin, endpoint.address(), arbiters(settings))
}

/// Whether the service could start with what these settings name.
///
/// # Errors
/// With what is wrong, and where that was set.
pub fn check(loaded: &Loaded) -> Result<(), SettingsError> {
    let silent = Logger::root(slog::Discard, slog::o!());
    let found = [
        Certificates::load(&loaded.settings).map(drop),
        Keyring::load(&loaded.settings).map(drop),
        hooks::config(&loaded.settings, &silent).map(drop),
    ];
    let mistakes: Mistakes = found.into_iter().filter_map(Result::err).flatten().collect();
    if mistakes.is_empty() { Ok(()) } else { Err(loaded.blame(mistakes)) }
}

/// Listens at both places, or only for uploads.
fn listen(
    settings: &Settings,
    certificates: &Certificates,
    inherited: &mut Inherited,
) -> Result<(Listening, Option<Listening>), BindError> {
    let Settings { server, admin, .. } = settings;
    let backlog = i32::try_from(server.listen_backlog).unwrap_or(i32::MAX);
    let public = server::listen(place(&server.bind, server.unix_mode), backlog, inherited)?;
    let desk = admin.enabled.then(|| server::listen(place(&admin.bind, admin.unix_mode), ADMIN_BACKLOG, inherited));
    let desk = desk.transpose()?.map(|desk| desk.with_tls(certificates.admin.clone()));
    Ok((public.with_tls(certificates.server.clone()), desk))
}

/// Where a setting says to listen.
fn place(bind: &Bind, unix_mode: u32) -> Place {
    match bind {
        Bind::Address(address) => Place::Tcp(*address),
        Bind::Unix(path) => Place::Unix { path: path.clone(), mode: unix_mode },
        Bind::Systemd(name) => Place::Inherited { name: name.clone() },
    }
}

/// How many threads serve uploads.
fn arbiters(settings: &Settings) -> usize {
    settings.pools.uploads.arbiters.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// What sites are made of, whatever the settings become.
#[derive(Clone)]
struct Rooms {
    uploads: Uploads,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    keyring: Keyring,
    logger: Logger,
}

impl Rooms {
    /// The site with these settings.
    fn site(&self, settings: &Settings) -> Result<Site, StartError> {
        let Self { uploads, limits, metrics, keyring, logger } = self.clone();
        let config = Arc::new(config(settings, keyring.auth(&settings.auth, &logger))?);
        Ok(Site { uploads, owner: None, config, limits, logger, metrics })
    }
}

/// What was read of the files of both, or all that is wrong with them.
fn both(one: Result<Contents, Mistakes>, other: Result<Contents, Mistakes>) -> Result<Contents, Mistakes> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(Contents {
            changed: [one.changed, other.changed].concat(),
            adopt: Box::new(move || {
                (one.adopt)();
                (other.adopt)();
            }),
        }),
        (one, other) => Err(one.err().into_iter().chain(other.err()).flatten().collect()),
    }
}

fn limits(settings: &Settings) -> limits::Config {
    let limits = &settings.limits;
    limits::Config {
        open_per_owner: limits.open_per_owner,
        open_per_address: limits.open_per_address,
        creations_per_minute_per_owner: limits.creations_per_minute_per_owner,
        creations_per_minute_per_address: limits.creations_per_minute_per_address,
        bytes_per_sec_per_upload: limits.bytes_per_sec_per_upload,
        bytes_per_sec_in_all: limits.bytes_per_sec_in_all,
    }
}

fn screening(settings: &Settings) -> Screening {
    let checks = &settings.checks;
    // The checks of the settings let no others pass: one that was lost here would let in more than is meant.
    let pattern = |text: &String| TypePattern::parse(text);
    Screening {
        required: checks.required_metadata.clone(),
        types: checks.allowed_types.iter().filter_map(pattern).collect(),
        extensions: checks.allowed_extensions.clone(),
        max_sizes: checks.max_size_by_type.iter().filter_map(|(text, size)| Some((pattern(text)?, *size))).collect(),
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

fn server_config(settings: &Settings, patience: watch::Receiver<Patience>) -> server::Config {
    server::Config {
        arbiters: arbiters(settings),
        max_connections: settings.server.max_connections.map_or(0, |max| u32::try_from(max).unwrap_or(u32::MAX)),
        patience,
    }
}

fn config(settings: &Settings, auth: Auth) -> Result<routes::Config, StartError> {
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
        max_size: max_size(settings),
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
            screening: screening(settings),
        },
        auth,
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
