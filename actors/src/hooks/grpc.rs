//! Hooks by gRPC: `proto.HookHandler/InvokeHook`, as it stands in `grpc/hooks.proto`.
//!
//! The event's id comes in the metadata `wharf-event-id`, together with those fields of the client's request that are
//! configured. Failures of the network and the codes that stand for them are followed by another try.

mod exchange;
mod messages;

use std::{fmt, sync::Arc};

use super::{
    Calling, Notice, SetupError, Transport,
    client::{Attempts, Forwarded, Target, Tls, connector},
};
use exchange::Exchange;

/// Where the hook is, and how it is called.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Its URL: `https` for TLS, `http` for a plain connection. A user and a password in it are sent as basic
    /// authorization, unless the client's own `Authorization` is handed on.
    pub url: String,
    /// Names of the fields of a client's request that are handed on.
    pub forward_headers: Vec<String>,
    /// How many bytes an answer may have.
    pub max_response_bytes: usize,
    /// How often the hook is called for an event, and within which time.
    pub attempts: Attempts,
    /// How the two know one another by `https`.
    pub tls: Tls,
}

/// Without what is secret.
impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("forward_headers", &self.forward_headers)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("attempts", &self.attempts)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Hooks by gRPC. Keeps its connection for later events.
#[derive(Clone)]
pub struct Grpc {
    exchange: Arc<Exchange>,
    attempts: Attempts,
}

impl Grpc {
    /// Hooks at a URL. Nobody is asked there yet.
    ///
    /// # Errors
    /// When the URL is none, a field can't be handed on, or a file can't be read.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        let target = Target::parse(&config.url)?;
        let connector = connector(&config.tls, target.is_secure, &[b"h2"])?;
        // Names that end so have bytes for values, in base64.
        let is_own = |name: &str| {
            name.starts_with("grpc-") || name.starts_with("wharf-") || name.ends_with("-bin") || name == "user-agent"
        };
        let forwarded = Forwarded::new(&config.forward_headers, is_own)?;
        let exchange = Exchange::new(target, connector, forwarded, config.max_response_bytes);
        Ok(Self { exchange: Arc::new(exchange), attempts: config.attempts })
    }
}

impl Transport for Grpc {
    fn name(&self) -> &'static str {
        "grpc"
    }

    fn call(&self, notice: Arc<Notice>) -> Calling {
        let Self { exchange, attempts } = self.clone();
        Box::pin(async move { attempts.make(|| exchange.invoke(&notice)).await })
    }
}

#[cfg(test)]
mod tests;
