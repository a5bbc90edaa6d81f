//! The checks: merged values in, typed settings out, or everything that is wrong with them.

use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf, time::Duration};

use config::Config;
use regex_lite::Regex;
use slog::Level;
use wharf_actors::storage::Durability;

use super::{
    Cors, DiskPool, Expiration, HookPool, Log, LogFormat, Pools, S3, S3Client, S3Pool, Settings, SettingsError,
    Storage, StorageKind, Timeouts, Tus, UploadPool,
    catalogue::names_in,
    layers::Merged,
    problem::{Origin, Problem},
    values::is_token,
};

mod access;
mod admin;
mod hooks;
mod server;

const DAY_SECS: i64 = 24 * 60 * 60;
const MEBIBYTE: i64 = 1 << 20;

/// Values by dotted key, as they apply.
pub(super) type Effective = BTreeMap<String, toml::Value>;

/// Checks every value, then the relations between them.
pub(super) fn check(merged: &Merged) -> Result<(Settings, Effective), SettingsError> {
    let mut reader = Reader { merged, problems: Vec::new(), effective: BTreeMap::new() };
    let settings = Settings {
        server: server::server(&mut reader),
        tus: tus(&mut reader),
        auth: access::auth(&mut reader),
        checks: access::checks(&mut reader),
        limits: access::limits(&mut reader),
        cors: cors(&mut reader),
        storage: storage(&mut reader),
        expiration: Expiration {
            after: reader.optional_secs("expiration.after_secs", 3650 * DAY_SECS),
            interval: reader.optional_secs("expiration.interval_secs", DAY_SECS),
            scan_entries: reader.count("expiration.scan_entries", 1..=1_000_000),
        },
        pools: pools(&mut reader),
        hooks: hooks::hooks(&mut reader),
        timeouts: timeouts(&mut reader),
        admin: admin::admin(&mut reader),
        log: log(&mut reader),
    };
    relations(&settings, &mut reader);
    if reader.problems.is_empty() {
        Ok((settings, reader.effective))
    } else {
        Err(SettingsError { problems: reader.problems })
    }
}

fn tus(reader: &mut Reader<'_>) -> Tus {
    let concatenation = reader.switch("tus.concatenation");
    let checksum = reader.switch("tus.checksum");
    let concatenation_unfinished = reader.switch("tus.concatenation_unfinished") && concatenation;
    let checksum_trailer = reader.switch("tus.checksum_trailer") && checksum;
    reader.apply("tus.concatenation_unfinished", concatenation_unfinished);
    reader.apply("tus.checksum_trailer", checksum_trailer);
    Tus {
        max_size_bytes: Some(reader.whole("tus.max_size_bytes", 0..=i64::MAX).unsigned_abs()).filter(|size| *size > 0),
        download: reader.switch("tus.download"),
        termination: reader.switch("tus.termination"),
        concatenation,
        concatenation_unfinished,
        checksum,
        checksum_trailer,
        metadata_max_bytes: reader.count("tus.metadata_max_bytes", 256..=MEBIBYTE),
        append_message_bytes: reader.count("tus.append_message_bytes", 4096..=64 * MEBIBYTE),
        append_window: reader.count("tus.append_window", 1..=64),
    }
}

fn cors(reader: &mut Reader<'_>) -> Cors {
    let allow_origin = reader.parsed("cors.allow_origin", None, |text| match text {
        "" | ".*" => Ok(None),
        _ => Regex::new(text).map(Some).map_err(|error| format!("must be a regular expression: {error}")),
    });
    Cors {
        enabled: reader.switch("cors.enabled"),
        allow_origin,
        allow_credentials: reader.switch("cors.allow_credentials"),
        allow_methods: reader.tokens("cors.allow_methods"),
        allow_headers: reader.tokens("cors.allow_headers"),
        expose_headers: reader.tokens("cors.expose_headers"),
        max_age: reader.secs("cors.max_age_secs", 0..=365 * DAY_SECS),
    }
}

fn storage(reader: &mut Reader<'_>) -> Storage {
    Storage {
        kind: reader.parsed("storage.kind", StorageKind::Disk, |text| match text {
            "disk" => Ok(StorageKind::Disk),
            #[cfg(feature = "s3")]
            "s3" => Ok(StorageKind::S3),
            #[cfg(not(feature = "s3"))]
            "s3" => Err("\"s3\" is not built into this wharf (it was built without the feature `s3`)".to_owned()),
            _ => Err("must be \"disk\" or \"s3\"".to_owned()),
        }),
        dir: reader.parsed("storage.dir", PathBuf::new(), directory),
        durability: reader.choice(
            "storage.durability",
            &[("none", Durability::None), ("complete", Durability::Complete), ("always", Durability::Always)],
        ),
        memory_budget_bytes: reader.count("storage.memory_budget_bytes", MEBIBYTE..=1 << 40),
        file_mode: reader.mode("storage.file_mode", 0o600),
        dir_mode: reader.mode("storage.dir_mode", 0o700),
        roots: reader.directories("storage.roots"),
        s3: s3(reader),
    }
}

fn s3(reader: &mut Reader<'_>) -> S3 {
    let word = |text: &str| Ok(Some(text.to_owned()).filter(|text| !text.is_empty()));
    let endpoint = reader.parsed("storage.s3.endpoint", None, |text| match text {
        "" => Ok(None),
        _ if text.starts_with("http://") || text.starts_with("https://") => Ok(Some(text.to_owned())),
        _ => Err("must be a URL that starts with http:// or https://".to_owned()),
    });
    let over_http = endpoint.as_ref().is_some_and(|endpoint: &String| endpoint.starts_with("http://"));
    S3 {
        client: reader.parsed("storage.s3.client", S3Client::Aws, |text| match text {
            "aws" => Ok(S3Client::Aws),
            #[cfg(feature = "rusoto")]
            "rusoto" => Ok(S3Client::Rusoto),
            #[cfg(not(feature = "rusoto"))]
            "rusoto" => {
                Err("\"rusoto\" is not built into this wharf (it was built without the feature `rusoto`)".to_owned())
            }
            _ => Err("must be \"aws\" or \"rusoto\"".to_owned()),
        }),
        bucket: reader.parsed("storage.s3.bucket", None, word).unwrap_or_default(),
        prefix: reader.parsed("storage.s3.prefix", String::new(), |text| match text.trim_end_matches('/') {
            "" => Ok(String::new()),
            prefix => Ok(format!("{prefix}/")),
        }),
        region: reader.parsed("storage.s3.region", None, word),
        path_style: reader.switch("storage.s3.path_style"),
        part_size_bytes: reader.whole("storage.s3.part_size_bytes", 5 * MEBIBYTE..=5 << 30).unsigned_abs(),
        payload_hash: reader
            .choice("storage.s3.payload_hash", &[("auto", over_http), ("always", true), ("never", false)]),
        part_checksum: reader.switch("storage.s3.part_checksum"),
        tentative_max_bytes: reader.whole("storage.s3.tentative_max_bytes", MEBIBYTE..=1 << 40).unsigned_abs(),
        connect: reader.secs("storage.s3.connect_secs", 1..=600),
        attempt: reader.secs("storage.s3.attempt_secs", 1..=3600),
        deadline: reader.secs("storage.s3.deadline_secs", 1..=DAY_SECS),
        endpoint,
    }
}

fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("must be the path of a directory".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn pools(reader: &mut Reader<'_>) -> Pools {
    Pools {
        uploads: UploadPool {
            arbiters: Some(reader.count("pools.uploads.arbiters", 0..=1024)).filter(|count| *count > 0),
            mailbox: reader.count("pools.uploads.mailbox", 2..=65_536),
        },
        disk: DiskPool {
            workers: reader.count("pools.disk.workers", 1..=1024),
            queue: reader.count("pools.disk.queue", 1..=65_536),
        },
        s3: S3Pool {
            workers: reader.count("pools.s3.workers", 1..=1024),
            per_upload: reader.count("pools.s3.per_upload", 1..=64),
            queue: reader.count("pools.s3.queue", 1..=65_536),
        },
        hooks: HookPool {
            workers: reader.count("pools.hooks.workers", 1..=1024),
            queue: reader.count("pools.hooks.queue", 1..=1_000_000),
        },
    }
}

fn timeouts(reader: &mut Reader<'_>) -> Timeouts {
    Timeouts {
        head: reader.secs("timeouts.head_secs", 1..=3600),
        body_read: reader.secs("timeouts.body_read_secs", 1..=DAY_SECS),
        write: reader.secs("timeouts.write_secs", 1..=DAY_SECS),
        keep_alive: reader.secs("timeouts.keep_alive_secs", 1..=DAY_SECS),
        idle_owner: reader.secs("timeouts.idle_owner_secs", 1..=DAY_SECS),
        store: reader.secs("timeouts.store_secs", 1..=3600),
        shutdown: reader.secs("timeouts.shutdown_secs", 0..=DAY_SECS),
        linger: reader.secs("timeouts.linger_secs", 0..=60),
        drain_delay: reader.secs("timeouts.drain_delay_secs", 0..=3600),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    Log {
        format: reader
            .choice("log.format", &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]),
        level: reader.choice(
            "log.level",
            &[
                ("critical", Level::Critical),
                ("error", Level::Error),
                ("warning", Level::Warning),
                ("info", Level::Info),
                ("debug", Level::Debug),
                ("trace", Level::Trace),
            ],
        ),
        requests: reader.switch("log.requests"),
        buffer_lines: reader.count("log.buffer_lines", 16..=1_048_576),
    }
}

fn is_s3(kind: StorageKind) -> bool {
    kind != StorageKind::Disk
}

fn relations(settings: &Settings, reader: &mut Reader<'_>) {
    let Settings { server, tus, storage, pools, .. } = settings;
    reader.relate(
        &["tus.metadata_max_bytes", "server.head_max_bytes"],
        tus.metadata_max_bytes < server.head_max_bytes,
        "tus.metadata_max_bytes must be less than server.head_max_bytes: metadata comes in the head",
    );
    reader.relate(
        &["tus.append_window", "tus.append_message_bytes", "storage.memory_budget_bytes"],
        tus.append_window.saturating_mul(tus.append_message_bytes) <= storage.memory_budget_bytes,
        "tus.append_window times tus.append_message_bytes must fit into storage.memory_budget_bytes: one upload needs it",
    );
    let budget = u64::try_from(storage.memory_budget_bytes).unwrap_or(u64::MAX);
    reader.relate(
        &["storage.s3.part_size_bytes", "storage.s3.tentative_max_bytes", "storage.memory_budget_bytes"],
        storage.s3.part_size_bytes.max(storage.s3.tentative_max_bytes) <= budget / 2 || !is_s3(storage.kind),
        "a part, and what is kept until it is checked, must fit twice into storage.memory_budget_bytes",
    );
    reader.relate(
        &["storage.kind", "storage.s3.bucket"],
        !storage.s3.bucket.is_empty() || !is_s3(storage.kind),
        "storage.s3.bucket must be set when storage.kind is \"s3\"",
    );
    reader.relate(
        &["pools.uploads.mailbox", "tus.append_window"],
        pools.uploads.mailbox > tus.append_window,
        "pools.uploads.mailbox must be more than tus.append_window: others must reach an owner whose window is full",
    );
    access::relations(settings, reader);
    admin::relations(settings, reader);
    hooks::relations(settings, reader);
}

/// Reads values by key, notes them as they apply, and collects what is wrong. A refused value is replaced by any other
/// of its type, so that the rest is checked too.
struct Reader<'a> {
    merged: &'a Merged,
    problems: Vec<Problem>,
    effective: Effective,
}

impl Reader<'_> {
    fn get<T: Into<toml::Value> + Clone + Default>(
        &mut self,
        key: &str,
        get: impl FnOnce(&Config, &str) -> Result<T, config::ConfigError>,
    ) -> T {
        match get(&self.merged.values, key) {
            Ok(value) => {
                self.apply(key, value.clone());
                value
            }
            Err(error) => {
                self.refuse(key, error.to_string());
                T::default()
            }
        }
    }

    fn apply(&mut self, key: &str, value: impl Into<toml::Value>) {
        self.effective.insert(key.to_owned(), value.into());
    }

    fn refuse(&mut self, key: &str, message: String) {
        let origin = self.merged.origins.get(key).cloned().unwrap_or(Origin::BuiltIn);
        self.problems.push(Problem { origin, key: Some(key.to_owned()), message });
    }

    /// Blames the first of the keys that somebody set.
    fn relate(&mut self, keys: &[&str], holds: bool, message: &str) {
        let origins = &self.merged.origins;
        let set = keys.iter().find(|key| origins.get(**key).is_some_and(|origin| *origin != Origin::BuiltIn));
        // A refused value was reported already, and what stands in for it says nothing.
        let sound = keys.iter().all(|key| self.problems.iter().all(|problem| problem.key.as_deref() != Some(*key)));
        if let (false, true, Some(key)) = (holds, sound, set.or(keys.first())) {
            self.refuse(key, message.to_owned());
        }
    }

    fn switch(&mut self, key: &str) -> bool {
        self.get(key, Config::get_bool)
    }

    fn whole(&mut self, key: &str, range: RangeInclusive<i64>) -> i64 {
        let value = self.get(key, Config::get_int);
        if range.contains(&value) {
            return value;
        }
        self.refuse(key, format!("must be from {} to {}, not {value}", range.start(), range.end()));
        *range.start()
    }

    fn narrow<T: TryFrom<i64> + Default>(&mut self, key: &str, range: RangeInclusive<i64>) -> T {
        let value = self.whole(key, range);
        T::try_from(value).unwrap_or_else(|_| {
            self.refuse(key, format!("{value} is too large for this machine"));
            T::default()
        })
    }

    fn count(&mut self, key: &str, range: RangeInclusive<i64>) -> usize {
        self.narrow(key, range)
    }

    fn secs(&mut self, key: &str, range: RangeInclusive<i64>) -> Duration {
        Duration::from_secs(self.whole(key, range).unsigned_abs())
    }

    fn optional_secs(&mut self, key: &str, most: i64) -> Option<Duration> {
        Some(self.secs(key, 0..=most)).filter(|duration| !duration.is_zero())
    }

    fn mode(&mut self, key: &str, needed: u32) -> u32 {
        let mode = u32::try_from(self.get(key, Config::get_int)).unwrap_or(u32::MAX);
        if mode > 0o777 || mode & needed != needed {
            self.refuse(key, format!("must be from 0o{needed:o} to 0o777, with 0o in front, and let the owner in"));
        }
        mode
    }

    fn parsed<T>(&mut self, key: &str, otherwise: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        let text = self.get(key, Config::get_string);
        parse(&text).unwrap_or_else(|message| {
            self.refuse(key, message);
            otherwise
        })
    }

    fn choice<T: Copy, const N: usize>(&mut self, key: &str, choices: &[(&str, T); N]) -> T {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.parsed(key, choices[0].1, |text| {
            let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
            found.ok_or_else(|| format!("must be one of {}, not {text:?}", names.join(", ")))
        })
    }

    fn tokens(&mut self, key: &str) -> Vec<String> {
        self.parsed(key, Vec::new(), |text| match names_in(text).find(|name| !is_token(name)) {
            Some(wrong) => Err(format!("must be names with commas between them; {wrong:?} is none")),
            None => Ok(names_in(text).map(str::to_owned).collect()),
        })
    }

    /// Names of fields, as Go writes them: each word with a capital.
    fn tokens_of(&mut self, key: &str) -> Vec<String> {
        let names = self.texts(key);
        for wrong in names.iter().filter(|name| !is_token(name)) {
            self.refuse(key, format!("must be names of header fields; {wrong:?} is none"));
        }
        names
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        self.get(key, |values, key| values.get::<Vec<String>>(key))
    }

    /// Each text of a list, read.
    fn each<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let texts = self.texts(key);
        texts.iter().filter_map(|text| parse(text).map_err(|message| self.refuse(key, message)).ok()).collect()
    }

    fn directories(&mut self, key: &str) -> Vec<PathBuf> {
        self.each(key, |text| directory(text).map_err(|message| format!("each {message}")))
    }
}
