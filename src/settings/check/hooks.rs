//! The checks of `[hooks]`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use wharf_actors::hooks::{
    EventKind,
    client::{Attempts, ClientCertificate, Endpoint, Tls},
    file,
};

use super::{
    super::{Hooks, HttpHooks, Settings, values::Secret},
    DAY_SECS, MEBIBYTE, Reader,
};

/// A shorter key could be found by trying.
const KEY_MIN: usize = 16;

pub(super) fn hooks(reader: &mut Reader<'_>) -> Hooks {
    let names = reader.texts("hooks.events");
    let mut events = Vec::new();
    for name in &names {
        match EventKind::of_name(name) {
            Some(kind) => events.push(kind),
            None => {
                let known = EventKind::ALL.map(EventKind::name).join(", ");
                reader.refuse("hooks.events", format!("{name:?} is no event; there are {known}"));
            }
        }
    }
    let progress_ms = reader.whole("hooks.progress_interval_ms", 1..=DAY_SECS * 1000).unsigned_abs();
    Hooks {
        events,
        progress_every: Duration::from_millis(progress_ms),
        identity: reader.tokens_of("hooks.identity_headers"),
        file: file_hooks(reader),
        http: http_hooks(reader),
        grpc: grpc_hooks(reader),
    }
}

fn file_hooks(reader: &mut Reader<'_>) -> Option<file::Config> {
    let directory = reader.parsed("hooks.file.directory", None, |text| Ok(path(text)));
    let timeout = reader.secs("hooks.file.timeout_secs", 1..=3600);
    let max_response_bytes = reader.count("hooks.file.max_response_bytes", 1..=16 * MEBIBYTE);
    directory.map(|directory| file::Config { directory, timeout, max_response_bytes })
}

fn http_hooks(reader: &mut Reader<'_>) -> Option<HttpHooks> {
    let signing_key = reader.parsed("hooks.http.signing_key", None, |text| match text.len() {
        0 => Ok(None),
        len if len >= KEY_MIN => Ok(Secret::of_text(text)),
        _ => Err(format!("must have {KEY_MIN} characters at least")),
    });
    endpoint(reader, "hooks.http").map(|endpoint| HttpHooks { endpoint, signing_key })
}

fn grpc_hooks(reader: &mut Reader<'_>) -> Option<Endpoint> {
    let endpoint = endpoint(reader, "hooks.grpc");
    if endpoint.is_some() && !cfg!(feature = "grpc") {
        reader.refuse("hooks.grpc.url", "needs a build with the feature grpc".to_owned());
    }
    endpoint
}

/// Where a hook over the network is; `None` when it has no URL.
fn endpoint(reader: &mut Reader<'_>, section: &str) -> Option<Endpoint> {
    let url = reader.parsed(&format!("{section}.url"), String::new(), |text| Ok(text.to_owned()));
    let forward_headers = reader.tokens_of(&format!("{section}.forward_headers"));
    let max_response_bytes = reader.count(&format!("{section}.max_response_bytes"), 1..=16 * MEBIBYTE);
    let (attempts, tls) = (attempts(reader, section), tls(reader, section));
    (!url.is_empty()).then_some(Endpoint { url, forward_headers, max_response_bytes, attempts, tls })
}

fn attempts(reader: &mut Reader<'_>, section: &str) -> Attempts {
    let most = reader.narrow::<u32>(&format!("{section}.attempts"), 1..=100);
    let backoff_ms = reader.whole(&format!("{section}.backoff_ms"), 0..=600_000).unsigned_abs();
    Attempts {
        most: NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN),
        backoff: Duration::from_millis(backoff_ms),
        timeout: reader.secs(&format!("{section}.timeout_secs"), 1..=3600),
    }
}

fn tls(reader: &mut Reader<'_>, section: &str) -> Tls {
    let [ca, certificate, key] =
        ["ca_file", "client_certificate", "client_key"].map(|name| format!("{section}.{name}"));
    let ca_file = reader.parsed(&ca, None, |text| Ok(path(text)));
    let [shown, its_key] = [&certificate, &key].map(|name| reader.parsed(name, None, |text| Ok(path(text))));
    reader.relate(
        &[&certificate, &key],
        shown.is_some() == its_key.is_some(),
        "a certificate and its key go together: set both, or none",
    );
    let client_certificate = shown.zip(its_key).map(|(certificate, key)| ClientCertificate { certificate, key });
    Tls { ca_file, client_certificate, verify: reader.switch(&format!("{section}.verify")) }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

pub(super) fn relations(settings: &Settings, reader: &mut Reader<'_>) {
    let hooks = &settings.hooks;
    reader.relate(
        &["hooks.events"],
        !hooks.is_used() || !hooks.events.is_empty(),
        "no event is named, so the hooks that are configured would never be called",
    );
}
