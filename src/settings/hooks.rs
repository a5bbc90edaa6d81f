//! What the application hears of uploads, and how: `[hooks]`.

use std::time::Duration;

use wharf_actors::hooks::{EventKind, client::Endpoint, file};

use super::values::Secret;

/// `[hooks]`
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Which events the application is told of, or asked about.
    pub events: Vec<EventKind>,
    /// How often it is told that bytes come in, at most.
    pub progress_every: Duration,
    /// By which fields of a request a client is known, as hooks see them.
    pub identity: Vec<String>,
    /// Executable files.
    pub file: Option<file::Config>,
    /// An HTTP endpoint.
    pub http: Option<HttpHooks>,
    /// A gRPC server, in builds that can call one.
    pub grpc: Option<Endpoint>,
}

/// `[hooks.http]`
#[derive(Debug, Clone)]
pub struct HttpHooks {
    /// Where it is, and how it is called.
    pub endpoint: Endpoint,
    /// What is posted is signed with this.
    pub signing_key: Option<Secret>,
}

impl Hooks {
    /// Whether there is any way to the application.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.file.is_some() || self.http.is_some() || self.grpc.is_some()
    }
}

/// `[pools.hooks]`
#[derive(Debug, Clone)]
pub struct HookPool {
    /// How many calls may be under way at once.
    pub workers: usize,
    /// How many calls may wait.
    pub queue: usize,
}
