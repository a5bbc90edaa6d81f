//! The application's hooks: the ways to it that are configured, as one.

use std::sync::Arc;

use slog::Logger;
#[cfg(feature = "grpc")]
use wharf_actors::hooks::grpc::Grpc;
use wharf_actors::hooks::{Config, SetupError, Transport, file::Executables, http::Http, several::Several};

use crate::{
    protocol::field_name_in_go,
    settings::{Hooks, HttpHooks, Mistakes, Settings},
};

/// How the application hears of uploads; `None` when nothing is configured.
///
/// # Errors
/// With the key that names what can't be used.
pub(super) fn config(settings: &Settings, logger: &Logger) -> Result<Option<Config>, Mistakes> {
    let (hooks, pool) = (&settings.hooks, &settings.pools.hooks);
    let mut transports = transports(hooks, logger)?;
    let transport: Arc<dyn Transport> = match transports.len() {
        0 => return Ok(None),
        1 => Arc::from(transports.remove(0)),
        _ => Arc::new(Several::new(transports, logger.clone())),
    };
    Ok(Some(Config {
        events: hooks.events.clone(),
        transport,
        workers: pool.workers,
        queue: pool.queue,
        queue_wait: settings.timeouts.store,
        progress_every: hooks.progress_every,
        identity: hooks.identity.iter().map(|name| field_name_in_go(name)).collect(),
    }))
}

fn transports(hooks: &Hooks, logger: &Logger) -> Result<Vec<Box<dyn Transport>>, Mistakes> {
    let in_section =
        |section: &'static str| move |error: SetupError| vec![(format!("{section}.{}", error.field), error.problem)];
    let mut transports: Vec<Box<dyn Transport>> = Vec::new();
    if let Some(file) = hooks.file.clone() {
        transports.push(Box::new(Executables::new(file, logger.clone()).map_err(in_section("hooks.file"))?));
    }
    if let Some(HttpHooks { endpoint, signing_key }) = hooks.http.clone() {
        let key = signing_key.as_ref().map(|key| key.reveal().as_bytes());
        transports.push(Box::new(Http::new(endpoint, key).map_err(in_section("hooks.http"))?));
    }
    #[cfg(feature = "grpc")]
    if let Some(endpoint) = hooks.grpc.clone() {
        transports.push(Box::new(Grpc::new(endpoint).map_err(in_section("hooks.grpc"))?));
    }
    Ok(transports)
}
