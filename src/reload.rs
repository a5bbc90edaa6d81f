//! The settings while wharf runs: reads their file, and those that they name, again when somebody asks or when one has
//! changed, and hands what can take effect to the service. Files are read only after they lay still for a second; one with
//! a mistake changes nothing.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use slog::{Logger, debug, error, info};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::settings::{self, Changes, Loaded, Mistakes, Overrides, Settings, SettingsError};

mod fingerprint;

use fingerprint::Fingerprint;

/// How long a file must have lain still: an editor's half-saved file may be valid.
const STILL: Duration = Duration::from_secs(1);
/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long one who asks is kept waiting while the file goes on changing.
const UNSETTLED_AFTER: Duration = Duration::from_secs(10);
/// How many may ask at once; they are served one after the other.
const ASKERS: usize = 16;
/// How many outcomes wait for a slow listener.
const OUTCOMES: usize = 16;

/// Reads the files that settings name, on a thread where that may take its time. Nothing has changed after that.
pub type ReadFiles = dyn Fn(&Settings) -> Result<Contents, Mistakes> + Send + Sync;

/// How settings take effect.
pub struct Effects {
    /// Reads what they name.
    pub read: Arc<ReadFiles>,
    /// Puts the settings themselves into effect.
    pub apply: Box<dyn Fn(&Settings)>,
}

/// What was read of the files that settings name.
pub struct Contents {
    /// The keys whose files hold something new.
    pub changed: Vec<String>,
    /// Puts that into effect.
    pub adopt: Box<dyn FnOnce() + Send>,
}

/// Where settings are read from.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the command line says.
    pub overrides: Overrides,
    /// Where relative names of files start.
    pub directory: PathBuf,
}

/// Who wants the settings to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// SIGHUP.
    Signal,
    /// Somebody at the admin endpoint.
    Request {
        /// Where from; no address by a Unix socket.
        peer: Option<SocketAddr>,
    },
    /// The file has changed.
    File,
}

impl By {
    /// A name for events and the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Request { .. } => "request",
            Self::File => "file",
        }
    }
}

/// Why the settings that ran go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// They are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file did not lie still.
    #[error("the file goes on changing")]
    Unsettled,
    /// Too many ask at once, or the server ends.
    #[error("settings can't be read now")]
    Unavailable,
}

/// A reading of the settings that is over.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When.
    pub at: SystemTime,
    /// Who wanted it.
    pub by: By,
    /// What became of it.
    pub result: Result<Changes, SettingsError>,
}

struct Ask {
    by: By,
    answer: oneshot::Sender<Result<Changes, Failure>>,
}

/// Asks for the settings to be read again, and tells when they were.
#[derive(Clone)]
pub struct Reloader {
    asks: mpsc::Sender<Ask>,
    outcomes: broadcast::Sender<Outcome>,
    counts: Arc<Counts>,
}

/// How often settings were read since the start.
#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Reloader {
    /// Starts to watch the file from which `running` was read, and those that it names. Must be called within an actix system, on whose arbiter
    /// settings are then applied.
    #[must_use]
    pub fn start(source: Source, running: Loaded, effects: Effects, logger: Logger) -> Self {
        let (asks, asked) = mpsc::channel(ASKERS);
        let (outcomes, _) = broadcast::channel(OUTCOMES);
        let counts = Arc::<Counts>::default();
        let reloader = Self { asks, outcomes, counts };
        let (outcomes, counts) = (reloader.outcomes.clone(), Arc::clone(&reloader.counts));
        let (named, seen, read) = (running.settings.files().iter().map(PathBuf::from).collect(), None, None);
        let watch = Watch { source, running, named, effects, outcomes, counts, logger, seen, read };
        actix_rt::spawn(watch.run(asked));
        reloader
    }

    /// Reads the settings again, now.
    ///
    /// # Errors
    /// When they can't be used; then nothing has changed.
    pub async fn reload(&self, by: By) -> Result<Changes, Failure> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask { by, answer }).map_err(|_| Failure::Unavailable)?;
        answered.await.unwrap_or(Err(Failure::Unavailable))
    }

    /// How often settings were taken, and refused.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.taken.load(Ordering::Relaxed), self.counts.refused.load(Ordering::Relaxed))
    }

    /// Outcomes from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Outcome> {
        self.outcomes.subscribe()
    }
}

/// How each file looks; `None` for one that can't be looked at.
type Looks = BTreeMap<PathBuf, Option<Fingerprint>>;

/// How the files looked, and since when.
struct Sighting {
    looks: Looks,
    since: Instant,
}

struct Watch {
    source: Source,
    running: Loaded,
    /// The files that the settings name which were read last, whatever became of them.
    named: Vec<PathBuf>,
    effects: Effects,
    outcomes: broadcast::Sender<Outcome>,
    counts: Arc<Counts>,
    logger: Logger,
    seen: Option<Sighting>,
    /// How the files looked when they were read last. At first that isn't known: one may have changed since the start.
    read: Option<Looks>,
}

impl Watch {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ask = asked.recv() => {
                    let Some(Ask { by, answer }) = ask else { return };
                    let result = self.reload(by).await;
                    // Who asked may have gone.
                    let _ = answer.send(result);
                }
                _ = ticks.tick() => {
                    let still_for = self.look().await;
                    if still_for >= STILL && self.has_news() {
                        let _ = self.reload(By::File).await;
                    }
                }
            }
        }
    }

    /// Whether the files look otherwise than when they were read. One that is gone changes nothing: it may be on its way
    /// back.
    fn has_news(&self) -> bool {
        let Some(Sighting { looks, .. }) = &self.seen else { return false };
        let Some(read) = &self.read else { return looks.values().any(Option::is_some) };
        let is_lost = |(path, look): (&PathBuf, &Option<Fingerprint>)| look.is_none() && read.get(path) != Some(look);
        looks != read && !looks.iter().any(is_lost)
    }

    /// Looks at the files: for how long they have been as they are.
    async fn look(&mut self) -> Duration {
        let looks = looks_of(self.named.iter().cloned().chain([self.source.path()]).collect()).await;
        match &self.seen {
            Some(seen) if seen.looks == looks => seen.since.elapsed(),
            _ => {
                self.seen = Some(Sighting { looks, since: Instant::now() });
                Duration::ZERO
            }
        }
    }

    async fn reload(&mut self, by: By) -> Result<Changes, Failure> {
        let read = match self.read_still().await {
            Ok(read) => read,
            Err(failure) => {
                error!(self.logger, "settings not reloaded"; "by" => by.name(), "error" => %failure);
                return Err(failure);
            }
        };
        let result = match read.and_then(|read| settings::adopt(&self.running, read)) {
            Ok((now, changes)) => self.take_up(now, changes).await,
            Err(wrong) => Err(wrong),
        };
        self.tell(by, &result);
        Ok(result?)
    }

    /// Puts settings into effect, with what the files hold that they name; or nothing, when one can't be used.
    async fn take_up(&mut self, now: Loaded, mut changes: Changes) -> Result<Changes, SettingsError> {
        self.watch_for(now.settings.files().iter().map(PathBuf::from).collect()).await;
        let (read, settings) = (Arc::clone(&self.effects.read), now.settings.clone());
        let contents = match actix_rt::task::spawn_blocking(move || read(&settings)).await {
            Ok(Ok(contents)) => contents,
            Ok(Err(mistakes)) => return Err(now.blame(mistakes)),
            Err(_) => return Err(SettingsError::at_all("what the settings name can't be read now".to_owned())),
        };
        self.running = now;
        (contents.adopt)();
        changes.applied.extend(contents.changed);
        changes.applied.sort();
        changes.applied.dedup();
        if !changes.applied.is_empty() {
            (self.effects.apply)(&self.running.settings);
        }
        Ok(changes)
    }

    /// From now on watches these, besides the settings' own file. How new ones look now counts as read: they will be.
    async fn watch_for(&mut self, named: Vec<PathBuf>) {
        self.named = named;
        let own = self.source.path();
        let looks = looks_of(self.named.clone()).await;
        if let Some(read) = &mut self.read {
            read.retain(|path, _| *path == own || looks.contains_key(path));
            for (path, look) in looks {
                read.entry(path).or_insert(look);
            }
        }
    }

    /// Reads the settings once the files lie still, and again if it changed meanwhile.
    async fn read_still(&mut self) -> Result<Result<Loaded, SettingsError>, Failure> {
        let deadline = Instant::now() + UNSETTLED_AFTER;
        loop {
            let still_for = self.look().await;
            if still_for < STILL {
                if Instant::now() >= deadline {
                    return Err(Failure::Unsettled);
                }
                sleep(STILL - still_for).await;
                continue;
            }
            let (source, file) = (self.source.clone(), self.running.file.clone());
            let read = actix_rt::task::spawn_blocking(move || source.load(file)).await;
            if self.look().await < still_for {
                continue;
            }
            self.read = self.seen.as_ref().map(|seen| seen.looks.clone());
            return read.map_err(|_| Failure::Unavailable);
        }
    }

    fn tell(&self, by: By, result: &Result<Changes, SettingsError>) {
        let peer = match by {
            By::Request { peer } => Some(peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())),
            By::Signal | By::File => None,
        };
        match result {
            // The file was touched, or this is the first look at it.
            Ok(changes) if changes.is_empty() && by == By::File => {
                debug!(self.logger, "settings reloaded"; "by" => by.name());
                return;
            }
            Ok(changes) => {
                let overridden: Vec<&str> = changes.overridden.iter().map(|(key, _)| key.as_str()).collect();
                info!(self.logger, "settings reloaded"; "by" => by.name(), "peer" => peer,
                    "applied" => changes.applied.join(" "), "needs_restart" => changes.needs_restart.join(" "),
                    "overridden" => overridden.join(" "));
            }
            Err(wrong) => {
                for problem in &wrong.problems {
                    error!(self.logger, "settings refused"; "by" => by.name(), "peer" => &peer, "problem" => %problem);
                }
            }
        }
        let count = if result.is_ok() { &self.counts.taken } else { &self.counts.refused };
        count.fetch_add(1, Ordering::Relaxed);
        // Nobody need listen.
        let _ = self.outcomes.send(Outcome { at: SystemTime::now(), by, result: result.clone() });
    }
}

async fn looks_of(paths: Vec<PathBuf>) -> Looks {
    let look = |path: PathBuf| {
        let fingerprint = Fingerprint::of(&path);
        (path, fingerprint)
    };
    actix_rt::task::spawn_blocking(move || paths.into_iter().map(look).collect()).await.unwrap_or_default()
}

impl Source {
    fn path(&self) -> PathBuf {
        let name = self.overrides.file.as_deref().unwrap_or(Path::new(settings::DEFAULT_FILE));
        self.directory.join(name)
    }

    /// Reads all layers. A file that was read before must be there: settings don't fall back to what is built in because
    /// somebody moves it.
    fn load(&self, file: Option<PathBuf>) -> Result<Loaded, SettingsError> {
        let overrides = Overrides { file: file.or_else(|| self.overrides.file.clone()), ..self.overrides.clone() };
        settings::load(&overrides, settings::process_environment(), &self.directory)
    }
}
