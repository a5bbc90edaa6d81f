//! Hooks: what the application is told of uploads, and what it is asked.
//!
//! The names and the JSON are those of tusd's hooks, version 2, so that what answers them there answers here. A
//! [`Notice`] is one event on its way to the application, a [`Transport`] a way to bring it there, a [`Verdict`] what
//! comes back.

#[cfg(test)]
mod bed;
pub mod client;
mod dispatcher;
mod docket;
pub mod file;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod http;
mod job;
mod messages;
mod meters;
mod notice;
mod outbox;
mod pool;
pub(crate) mod recovery;
mod runner;
mod setup;
pub mod several;
mod verdict;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

pub use docket::{Owed, OwedState};
pub use notice::{Call, Caller, Event, EventKind, Notice, UploadFacts};
pub use pool::{Config, HooksReport};
pub(crate) use pool::{Hooks, Noted};
pub use setup::SetupError;
pub use verdict::{Changes, HookResponse, InvalidVerdict, Verdict};

/// A call of a hook under way. Dropping it gives it up: what it has started is ended.
pub type Calling = Pin<Box<dyn Future<Output = Result<Verdict, HookError>> + Send>>;

/// A way to bring events to the application. Knows neither owners nor pools: one call, with the retries that are set for
/// this way, within the time that is set for it.
pub trait Transport: Send + Sync + 'static {
    /// Its name, for the log and the metrics: `file`, `http`, `grpc`, or `several` for more than one of them.
    fn name(&self) -> &'static str;

    /// Brings one event there and takes the answer. An application that has no hook of this kind has nothing to say:
    /// that is the empty verdict.
    fn call(&self, notice: Arc<Notice>) -> Calling;
}

/// How a hook failed, as far as it matters to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookFailure {
    /// It took too long.
    TimedOut,
    /// It could not be reached, or started.
    Unreachable,
    /// It said itself that it failed: an exit code, a status.
    Failed,
    /// Its answer can't be understood.
    Nonsense,
    /// Its answer is longer than is taken.
    TooLong,
    /// Too many calls wait already.
    Overloaded,
    /// The server ends.
    Closed,
}

impl HookFailure {
    /// All of them, for metrics that begin at 0.
    pub const ALL: [Self; 7] = [
        Self::TimedOut,
        Self::Unreachable,
        Self::Failed,
        Self::Nonsense,
        Self::TooLong,
        Self::Overloaded,
        Self::Closed,
    ];

    /// A name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::Nonsense => "nonsense",
            Self::TooLong => "too_long",
            Self::Overloaded => "overloaded",
            Self::Closed => "closed",
        }
    }
}

/// A hook that failed. Two audiences: `said` may be shown to the client, `cause` is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    /// How.
    pub failure: HookFailure,
    /// What the hook itself had to say, when it could speak; at most [`SAID_BYTES`] of it.
    pub said: Option<String>,
    /// What happened, in words.
    pub cause: String,
}

/// How much of what a failing hook said is kept.
pub const SAID_BYTES: usize = 1024;

impl HookError {
    /// A failure without words of the hook's own.
    pub fn new(failure: HookFailure, cause: impl Into<String>) -> Self {
        Self { failure, said: None, cause: cause.into() }
    }

    /// With what the hook had to say.
    #[must_use]
    pub fn saying(mut self, said: impl Into<String>) -> Self {
        let mut said = said.into();
        let end = (0..=SAID_BYTES.min(said.len())).rev().find(|&end| said.is_char_boundary(end)).unwrap_or(0);
        said.truncate(end);
        self.said = Some(said).filter(|said| !said.is_empty());
        self
    }
}

impl fmt::Display for HookError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.cause)?;
        self.said.iter().try_for_each(|said| write!(formatter, ": {}", said.trim_end()))
    }
}

impl std::error::Error for HookError {}
