//! The settings: where they come from, and what they are once checked.
//!
//! Four layers (flags, environment, file, built in) are read with their places kept, merged, and checked as a whole.
//! Nothing else in the program sees an unchecked value.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use regex_lite::Regex;
use wharf_actors::storage::Durability;

mod access;
mod catalogue;
mod change;
mod check;
mod hooks;
mod layers;
mod listening;
mod problem;
mod report;
mod values;

pub use access::{Auth, Checks, Jwt, Limits};
pub use change::{Changes, adopt};
pub use hooks::{HookPool, Hooks, HttpHooks};
pub use listening::{Bind, Tls, TlsVersion};
pub use problem::{Origin, Place, Problem, SettingsError};
pub use report::check_report;
pub use values::{BasePath, Secret};

/// The settings file that is read when none is named.
pub const DEFAULT_FILE: &str = "settings.toml";

/// Everything that can be set, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The listener and its connections.
    pub server: Server,
    /// The protocol.
    pub tus: Tus,
    /// Who is let in.
    pub auth: Auth,
    /// What new uploads must say of themselves.
    pub checks: Checks,
    /// How much is allowed.
    pub limits: Limits,
    /// Browsers from other origins.
    pub cors: Cors,
    /// The store.
    pub storage: Storage,
    /// The end of unfinished uploads.
    pub expiration: Expiration,
    /// Threads and queues.
    pub pools: Pools,
    /// What the application hears of uploads, and how.
    pub hooks: Hooks,
    /// How long what may take.
    pub timeouts: Timeouts,
    /// What operators look at.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

impl Settings {
    /// The files that are read with the settings: certificates, keys and authorities, and the keys of tokens.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let admin = self.admin.tls.as_ref().filter(|_| self.admin.enabled);
        let of_tokens = self.auth.jwt.iter().flat_map(Jwt::files);
        self.server.tls.iter().chain(admin).flat_map(Tls::files).chain(of_tokens).collect()
    }
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen.
    pub bind: Bind,
    /// Permissions of a Unix socket.
    pub unix_mode: u32,
    /// The certificate; `None` when plain HTTP is spoken.
    pub tls: Option<Tls>,
    /// The path under which uploads live, and the URL before it when one is set.
    pub base_path: BasePath,
    /// Whether a proxy's headers are believed.
    pub behind_proxy: bool,
    /// Whether Location is a whole URL.
    pub absolute_location: bool,
    /// How many connections may be open; `None` for no limit.
    pub max_connections: Option<usize>,
    /// Whether `GET /` is answered.
    pub greeting: bool,
    /// Whether browsers get a page to upload with at `/`; never when uploads hide it.
    pub page: bool,
    /// The longest request head.
    pub head_max_bytes: usize,
    /// How many connections may wait to be accepted.
    pub listen_backlog: u32,
}

/// `[tus]`
#[derive(Debug, Clone)]
pub struct Tus {
    /// The largest upload; `None` for no limit.
    pub max_size_bytes: Option<u64>,
    /// Whether finished uploads can be read.
    pub download: bool,
    /// The termination extension.
    pub termination: bool,
    /// The concatenation extension.
    pub concatenation: bool,
    /// The concatenation-unfinished extension; never without `concatenation`.
    pub concatenation_unfinished: bool,
    /// The checksum extension.
    pub checksum: bool,
    /// The checksum-trailer extension; never without `checksum`.
    pub checksum_trailer: bool,
    /// The longest Upload-Metadata.
    pub metadata_max_bytes: usize,
    /// The largest piece of a body that one message carries.
    pub append_message_bytes: usize,
    /// How many such messages of one upload may be under way.
    pub append_window: usize,
}

/// `[cors]`
#[derive(Debug, Clone)]
pub struct Cors {
    /// Whether `Origin` is looked at at all.
    pub enabled: bool,
    /// Matches, anywhere in it, an origin that is let in; `None` when every origin is.
    pub allow_origin: Option<Regex>,
    /// Whether credentials are allowed.
    pub allow_credentials: bool,
    /// Further methods.
    pub allow_methods: Vec<String>,
    /// Further request headers.
    pub allow_headers: Vec<String>,
    /// Further readable response headers.
    pub expose_headers: Vec<String>,
    /// How long a preflight's answer holds.
    pub max_age: Duration,
}

/// The stores that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKind {
    /// A directory on a local disk.
    Disk,
    /// A bucket.
    #[cfg(feature = "s3")]
    S3,
}

/// `[storage]`
#[derive(Debug, Clone)]
pub struct Storage {
    /// Which store.
    pub kind: StorageKind,
    /// The directory for uploads, as it was written.
    pub dir: PathBuf,
    /// When bytes must be on stable storage.
    pub durability: Durability,
    /// Memory for bytes on their way to the store.
    pub memory_budget_bytes: usize,
    /// Permissions of new files.
    pub file_mode: u32,
    /// Permissions of new directories.
    pub dir_mode: u32,
    /// Other directories in which a tusd upload's file may lie.
    pub roots: Vec<PathBuf>,
    /// The bucket, and how it is used.
    pub s3: S3,
}

/// Which client speaks to S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Client {
    /// The AWS SDK.
    Aws,
    /// rusoto.
    #[cfg(feature = "rusoto")]
    Rusoto,
}

/// `[storage.s3]`
#[derive(Debug, Clone)]
pub struct S3 {
    /// The client.
    pub client: S3Client,
    /// The bucket.
    pub bucket: String,
    /// What keys start with; empty, or with a slash at its end.
    pub prefix: String,
    /// The service's URL; `None` for AWS.
    pub endpoint: Option<String>,
    /// The region; `None` to be found out.
    pub region: Option<String>,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// How large parts are.
    pub part_size_bytes: u64,
    /// Whether payloads are hashed and signed.
    pub payload_hash: bool,
    /// Whether parts come with their MD5.
    pub part_checksum: bool,
    /// How many bytes are kept until a checksum is checked.
    pub tentative_max_bytes: u64,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long one try may take.
    pub attempt: Duration,
    /// How long all tries may take.
    pub deadline: Duration,
}

/// `[expiration]`
#[derive(Debug, Clone)]
pub struct Expiration {
    /// How long after its last byte an unfinished upload expires; `None` for never.
    pub after: Option<Duration>,
    /// How often to look for expired uploads; `None` for never.
    pub interval: Option<Duration>,
    /// How many entries are looked at in one go.
    pub scan_entries: usize,
}

/// `[pools]`
#[derive(Debug, Clone)]
pub struct Pools {
    /// The owners of uploads.
    pub uploads: UploadPool,
    /// Disk work.
    pub disk: DiskPool,
    /// Senders of parts.
    pub s3: S3Pool,
    /// Callers of hooks.
    pub hooks: HookPool,
}

/// `[pools.s3]`
#[derive(Debug, Clone)]
pub struct S3Pool {
    /// How many parts are sent at once.
    pub workers: usize,
    /// How many of them may be of one upload.
    pub per_upload: usize,
    /// How many parts may wait.
    pub queue: usize,
}

/// `[pools.uploads]`
#[derive(Debug, Clone)]
pub struct UploadPool {
    /// How many threads; `None` for one per core.
    pub arbiters: Option<usize>,
    /// How many messages may wait for one owner.
    pub mailbox: usize,
}

/// `[pools.disk]`
#[derive(Debug, Clone)]
pub struct DiskPool {
    /// Threads per kind of work.
    pub workers: usize,
    /// How many operations may wait per kind of work.
    pub queue: usize,
}

/// `[timeouts]`
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a request's head.
    pub head: Duration,
    /// Between two reads of a body.
    pub body_read: Duration,
    /// Between two writes of an answer.
    pub write: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// For an owner without work.
    pub idle_owner: Duration,
    /// For a request that waits for an owner or the store.
    pub store: Duration,
    /// For requests that run when the end comes.
    pub shutdown: Duration,
    /// For reading on after an early refusal.
    pub linger: Duration,
    /// For others to notice the end before it begins.
    pub drain_delay: Duration,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Whether it is served at all.
    pub enabled: bool,
    /// Where to listen.
    pub bind: Bind,
    /// Permissions of a Unix socket.
    pub unix_mode: u32,
    /// The certificate; `None` when plain HTTP is spoken.
    pub tls: Option<Tls>,
    /// What must be shown; `None` for nothing.
    pub token: Option<Secret>,
    /// Names of its host, in small letters, besides `localhost` and the address.
    pub hosts: Vec<String>,
    /// The dwell from which on a mailbox counts as slow.
    pub mailbox_slow: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Auto,
    /// Text without colour.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// The least severe level that is logged.
    pub level: slog::Level,
    /// Whether every request gets a line.
    pub requests: bool,
    /// How many lines may wait to be written.
    pub buffer_lines: usize,
}

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The flag it came with, dashes included, for messages.
    pub flag: String,
    /// The dotted key.
    pub key: String,
    /// The value, as text.
    pub value: String,
}

/// What the command line says about settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The settings file to read instead of [`DEFAULT_FILE`]; it must be there.
    pub file: Option<PathBuf>,
    /// Single values.
    pub values: Vec<Override>,
}

/// Checked settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each dotted key got its value.
    pub origins: BTreeMap<String, Origin>,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// Keys of the file that count for nothing, and what says something else.
    pub overridden: Vec<(String, Origin)>,
    effective: BTreeMap<String, toml::Value>,
}

/// Keys, and what is wrong with what they name.
pub type Mistakes = Vec<(String, String)>;

impl Loaded {
    /// What is wrong with what these settings name, each with the place that says so.
    #[must_use]
    pub fn blame(&self, mistakes: Mistakes) -> SettingsError {
        let problem = |(key, message): (String, String)| {
            let origin = self.origins.get(&key).cloned().unwrap_or(Origin::BuiltIn);
            Problem { origin, key: Some(key), message }
        };
        SettingsError { problems: mistakes.into_iter().map(problem).collect() }
    }
}

/// Reads, merges and checks all layers. `directory` is where relative names of settings files start.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
    directory: &Path,
) -> Result<Loaded, SettingsError> {
    let mut problems = Vec::new();
    let mut stack = vec![layers::built_in(&mut problems)];
    let file = read_file(overrides.file.as_deref(), directory, &mut problems);
    let mut in_file = layers::Layer::default();
    if let Some((path, text)) = &file {
        in_file = layers::file(path, text, &mut problems);
        stack.push(in_file.clone());
    }
    stack.push(layers::environment(environment, &mut problems));
    stack.push(layers::flags(&overrides.values, &mut problems));
    // A layer that can't be read would make the checks below complain about what is not there.
    if !problems.is_empty() {
        return Err(SettingsError { problems });
    }
    let merged = layers::merge(stack).map_err(|error| SettingsError::at_all(error.to_string()))?;
    let (settings, effective) = check::check(&merged)?;
    let overridden = in_file.overridden(&merged);
    Ok(Loaded { settings, origins: merged.origins, file: file.map(|(path, _)| path), overridden, effective })
}

/// The variables of the process that are meant for wharf.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    // Never fails: a foreign variable that isn't Unicode is no business of ours.
    std::env::vars_os()
        .map(|(variable, value)| (variable.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(variable, _)| variable.starts_with(layers::VARIABLE_PREFIX))
}

fn read_file(named: Option<&Path>, directory: &Path, problems: &mut Vec<Problem>) -> Option<(PathBuf, String)> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    let mut refuse = |place, message| {
        problems.push(Problem { origin: Origin::File { path: path.clone(), place }, key: None, message });
    };
    match fs::read(directory.join(&path)) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => return Some((path, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let place = Place::of(&String::from_utf8_lossy(&error.as_bytes()[..valid]), valid);
                refuse(Some(place), "is not UTF-8 text".to_owned());
            }
        },
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => refuse(None, format!("can't be read: {error}")),
    }
    None
}
