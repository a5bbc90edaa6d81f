//! From the settings that run to those of a file that was read again: which keys take effect, and which wait for a
//! restart.

use config::ValueKind;

use super::{
    Loaded, Origin, SettingsError,
    check::check,
    layers::{Layer, merge},
};

/// What takes effect only at the start. All other keys take effect while wharf runs; those of connections (head, write,
/// keep-alive, linger) for connections that are opened afterwards.
const AT_THE_START: &[&str] = &[
    "server.bind",
    "server.unix_mode",
    "server.base_path",
    "server.max_connections",
    "server.listen_backlog",
    "storage.kind",
    "storage.dir",
    "storage.durability",
    "storage.file_mode",
    "storage.dir_mode",
    "storage.roots",
    "storage.s3.client",
    "storage.s3.bucket",
    "storage.s3.prefix",
    "storage.s3.endpoint",
    "storage.s3.region",
    "storage.s3.path_style",
    "storage.s3.part_size_bytes",
    "storage.s3.payload_hash",
    "storage.s3.part_checksum",
    "storage.s3.tentative_max_bytes",
    "storage.s3.connect_secs",
    "storage.s3.attempt_secs",
    "expiration.scan_entries",
    "pools.uploads.arbiters",
    "hooks.events",
    "hooks.progress_interval_ms",
    "hooks.identity_headers",
    "hooks.file.directory",
    "hooks.file.timeout_secs",
    "hooks.file.max_response_bytes",
    "hooks.http.url",
    "hooks.http.forward_headers",
    "hooks.http.signing_key",
    "hooks.http.max_response_bytes",
    "hooks.http.attempts",
    "hooks.http.backoff_ms",
    "hooks.http.timeout_secs",
    "hooks.http.ca_file",
    "hooks.http.client_certificate",
    "hooks.http.client_key",
    "hooks.http.verify",
    "hooks.grpc.url",
    "hooks.grpc.forward_headers",
    "hooks.grpc.max_response_bytes",
    "hooks.grpc.attempts",
    "hooks.grpc.backoff_ms",
    "hooks.grpc.timeout_secs",
    "hooks.grpc.ca_file",
    "hooks.grpc.client_certificate",
    "hooks.grpc.client_key",
    "hooks.grpc.verify",
    "admin.enabled",
    "admin.bind",
    "admin.unix_mode",
    "log.format",
    "log.buffer_lines",
];

/// Sections of which all waits when they begin or cease to count: a listener speaks TLS from its start on, or never.
const TLS: &[&str] = &["server.tls", "admin.tls"];

/// What becomes of the keys whose values differ from those that run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// They take effect.
    pub applied: Vec<String>,
    /// They wait for a restart.
    pub needs_restart: Vec<String>,
    /// Keys of the file that count for nothing, and what says something else.
    pub overridden: Vec<(String, Origin)>,
}

impl Changes {
    /// Whether the file asks for nothing that isn't so already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }
}

/// Joins what was read with what runs: the settings that are to run now, and what has changed. Keys that wait for a
/// restart keep the values they run with.
///
/// # Errors
/// When new values don't go together with old ones that stay.
pub fn adopt(running: &Loaded, read: Loaded) -> Result<(Loaded, Changes), SettingsError> {
    let mut changes = Changes { overridden: read.overridden.clone(), ..Changes::default() };
    for (key, value) in &read.effective {
        if running.effective.get(key) != Some(value) {
            let list = if waits(key, running, &read) { &mut changes.needs_restart } else { &mut changes.applied };
            list.push(key.clone());
        }
    }
    if changes.needs_restart.is_empty() {
        return Ok((read, changes));
    }
    // The values that will apply are checked as a whole once more, old and new ones together.
    let entry = |key: &String| {
        let from = if waits(key, running, &read) { running } else { &read };
        let origin = from.origins.get(key).cloned().unwrap_or(Origin::BuiltIn);
        Some((key.clone(), (kind_of(from.effective.get(key)?), origin)))
    };
    let layer = Layer::of(read.effective.keys().filter_map(entry));
    let merged = merge([layer]).map_err(|error| SettingsError::at_all(error.to_string()))?;
    let (settings, effective) = check(&merged).map_err(|error| explain(error, &changes.needs_restart))?;
    let mixed = Loaded { settings, effective, origins: merged.origins, ..read };
    Ok((mixed, changes))
}

/// Whether a key waits for a restart.
fn waits(key: &str, running: &Loaded, read: &Loaded) -> bool {
    let counts = |loaded: &Loaded, section: &str| {
        let certificate = loaded.effective.get(&format!("{section}.certificate"));
        certificate.and_then(toml::Value::as_str).is_some_and(|path| !path.is_empty())
    };
    let is_of = |section: &str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    AT_THE_START.contains(&key)
        || TLS.iter().any(|section| is_of(section) && counts(running, section) != counts(read, section))
}

fn explain(mut error: SettingsError, waiting: &[String]) -> SettingsError {
    for problem in &mut error.problems {
        let waiting = waiting.join(", ");
        problem.message = format!("{} (until a restart the old value of {waiting} counts)", problem.message);
    }
    error
}

fn kind_of(value: &toml::Value) -> ValueKind {
    match value {
        toml::Value::Boolean(on) => ValueKind::Boolean(*on),
        toml::Value::Integer(whole) => ValueKind::I64(*whole),
        toml::Value::Array(items) => {
            ValueKind::Array(items.iter().map(|item| config::Value::new(None, kind_of(item))).collect())
        }
        toml::Value::String(text) => ValueKind::String(text.clone()),
        // No key takes such a value.
        other => ValueKind::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Bind, Overrides, catalogue::CATALOGUE, load};

    /// What takes effect at once, in full: a new key must be put into this list, or into the one above.
    const AT_ONCE: &[&str] = &[
        "server.behind_proxy",
        "server.absolute_location",
        "server.greeting",
        "server.page",
        "server.head_max_bytes",
        "server.tls.certificate",
        "server.tls.key",
        "server.tls.min_version",
        "server.tls.client_ca",
        "tus.max_size_bytes",
        "tus.download",
        "tus.termination",
        "tus.concatenation",
        "tus.concatenation_unfinished",
        "tus.checksum",
        "tus.checksum_trailer",
        "tus.metadata_max_bytes",
        "tus.append_message_bytes",
        "tus.append_window",
        "auth.token",
        "auth.unowned",
        "auth.jwt.secret_file",
        "auth.jwt.public_key_file",
        "auth.jwt.jwks_file",
        "auth.jwt.jwks_url",
        "auth.jwt.jwks_refresh_secs",
        "auth.jwt.jwks_pause_secs",
        "auth.jwt.issuer",
        "auth.jwt.audience",
        "auth.jwt.required_claims",
        "auth.jwt.subject_claim",
        "auth.jwt.superuser_claim",
        "auth.jwt.leeway_secs",
        "auth.jwt.token_max_bytes",
        "checks.required_metadata",
        "checks.allowed_types",
        "checks.allowed_extensions",
        "checks.max_size_by_type",
        "limits.open_per_owner",
        "limits.open_per_address",
        "limits.creations_per_minute_per_owner",
        "limits.creations_per_minute_per_address",
        "limits.bytes_per_sec_per_upload",
        "limits.bytes_per_sec_in_all",
        "cors.enabled",
        "cors.allow_origin",
        "cors.allow_credentials",
        "cors.allow_methods",
        "cors.allow_headers",
        "cors.expose_headers",
        "cors.max_age_secs",
        "storage.memory_budget_bytes",
        "storage.s3.deadline_secs",
        "expiration.after_secs",
        "expiration.interval_secs",
        "pools.uploads.mailbox",
        "pools.disk.workers",
        "pools.disk.queue",
        "pools.s3.workers",
        "pools.s3.per_upload",
        "pools.hooks.workers",
        "pools.hooks.queue",
        "pools.s3.queue",
        "timeouts.head_secs",
        "timeouts.body_read_secs",
        "timeouts.write_secs",
        "timeouts.keep_alive_secs",
        "timeouts.idle_owner_secs",
        "timeouts.store_secs",
        "timeouts.shutdown_secs",
        "timeouts.linger_secs",
        "timeouts.drain_delay_secs",
        "admin.token",
        "admin.hosts",
        "admin.mailbox_slow_ms",
        "admin.tls.certificate",
        "admin.tls.key",
        "admin.tls.min_version",
        "admin.tls.client_ca",
        "log.level",
        "log.requests",
    ];

    #[test]
    fn every_key_is_in_one_of_the_lists() {
        let mut listed: Vec<&str> = [AT_ONCE, AT_THE_START].concat();
        let mut keys: Vec<&str> = CATALOGUE.keys().iter().map(String::as_str).collect();
        listed.sort_unstable();
        keys.sort_unstable();
        assert_eq!(listed, keys);
    }

    fn read(directory: &tempfile::TempDir, text: &str, flags: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
        std::fs::write(directory.path().join("settings.toml"), text).unwrap();
        let flag = |(key, value): &(&str, &str)| super::super::Override {
            flag: "--set".to_owned(),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        load(&Overrides { file: None, values: flags.iter().map(flag).collect() }, [], directory.path())
    }

    #[test]
    fn what_can_take_effect_does_and_the_rest_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let running = read(&directory, "", &[("log.level", "debug")]).unwrap();
        let text = "server.bind = \"127.0.0.1:1\"\npools.s3.workers = 2\nlog.level = \"error\"\n";
        let (now, changes) = adopt(&running, read(&directory, text, &[("log.level", "debug")]).unwrap()).unwrap();
        assert_eq!(changes.applied, ["pools.s3.workers"]);
        assert_eq!(changes.needs_restart, ["server.bind"]);
        assert_eq!(changes.overridden, [("log.level".to_owned(), Origin::Flag { flag: "--set".to_owned() })]);
        assert_eq!(now.settings.pools.s3.workers, 2);
        assert_eq!(now.settings.server.bind, Bind::Address(([127, 0, 0, 1], 8080).into()));
        // It is still to be told the next time, and the rest is not.
        let (again, changes) = adopt(&now, read(&directory, text, &[("log.level", "debug")]).unwrap()).unwrap();
        assert_eq!((changes.applied, changes.needs_restart), (vec![], vec!["server.bind".to_owned()]));
        let (_, changes) = adopt(&again, read(&directory, "pools.s3.workers = 2", &[]).unwrap()).unwrap();
        assert_eq!((changes.applied, changes.needs_restart.len()), (vec!["log.level".to_owned()], 0));
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let shipped = include_str!("../../settings.toml");
        let running = read(&directory, shipped, &[]).unwrap();
        let (now, changes) = adopt(&running, read(&directory, shipped, &[]).unwrap()).unwrap();
        assert!(changes.is_empty() && changes.overridden.is_empty(), "{changes:?}");
        assert_eq!(format!("{:?}", now.settings), format!("{:?}", running.settings));
    }

    #[test]
    fn what_waits_for_a_restart_keeps_every_value_that_it_runs_with() {
        let directory = tempfile::tempdir().unwrap();
        let running = read(&directory, "[storage]\nroots = [\"/a\", \"/b\"]\nfile_mode = 0o600\n", &[]).unwrap();
        let (now, changes) = adopt(&running, read(&directory, "tus.download = false", &[]).unwrap()).unwrap();
        assert_eq!(changes.needs_restart, ["storage.file_mode", "storage.roots"]);
        assert_eq!(changes.applied, ["tus.download"]);
        assert_eq!((now.settings.storage.roots.len(), now.settings.storage.file_mode), (2, 0o600));
    }

    #[test]
    fn new_values_that_old_ones_forbid_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let running = read(&directory, "", &[]).unwrap();
        let file = "admin.enabled = false\nadmin.bind = \"0.0.0.0:1\"\n";
        let (running, _) = adopt(&running, read(&directory, file, &[]).unwrap()).unwrap();
        assert!(running.settings.admin.enabled && running.settings.admin.bind.is_local());
        let served = read(&directory, "admin.bind = \"0.0.0.0:1\"\nadmin.token = \"0123456789abcdef\"", &[]).unwrap();
        let error = adopt(&served, read(&directory, "", &[]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("admin.token or admin.tls.client_ca must be set"), "{error}");
        assert!(error.to_string().contains("until a restart the old value of admin.bind counts"), "{error}");
    }

    #[test]
    fn tls_as_a_whole_waits_when_it_begins_and_its_files_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let plain = read(&directory, "", &[]).unwrap();
        let with = |names: &str| format!("server.tls = {{ {names} }}\ntus.download = false");
        let first = with("certificate = \"a.pem\", key = \"a.key\", client_ca = \"c.pem\"");
        let (now, changes) = adopt(&plain, read(&directory, &first, &[]).unwrap()).unwrap();
        assert_eq!(changes.needs_restart, ["server.tls.certificate", "server.tls.client_ca", "server.tls.key"]);
        assert_eq!((changes.applied, &now.settings.server.tls), (vec!["tus.download".to_owned()], &None));
        let secure = read(&directory, &first, &[]).unwrap();
        let second = with("certificate = \"b.pem\", key = \"b.key\", min_version = \"1.3\"");
        let (now, changes) = adopt(&secure, read(&directory, &second, &[]).unwrap()).unwrap();
        assert_eq!((changes.needs_restart.len(), changes.applied.len()), (0, 4), "{:?}", changes.applied);
        let files: Vec<_> = now.settings.files().iter().map(|path| path.display().to_string()).collect();
        assert_eq!(files, ["b.pem", "b.key"]);
        let (now, changes) = adopt(&secure, read(&directory, "tus.download = false", &[]).unwrap()).unwrap();
        assert_eq!((changes.needs_restart.len(), changes.applied.len()), (3, 0), "{changes:?}");
        assert_eq!(format!("{:?}", now.settings), format!("{:?}", secure.settings));
    }
}
