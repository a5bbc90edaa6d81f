//! Hooks by gRPC: `proto.HookHandler/InvokeHook`, as it stands in `grpc/hooks.proto`.
//!
//! The event's id comes in the metadata `wharf-event-id`, together with those fields of the client's request that are
//! configured. Failures of the network and the codes that stand for them are followed by another try.

mod exchange;
mod messages;

use std::sync::Arc;

use super::{
    Calling, Notice, SetupError, Transport,
    client::{Attempts, Endpoint, Forwarded, Target, connector},
};
use exchange::Exchange;

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
    pub fn new(endpoint: Endpoint) -> Result<Self, SetupError> {
        let target = Target::parse(&endpoint.url)?;
        let connector = connector(&endpoint.tls, target.is_secure, &[b"h2"])?;
        // Names that end so have bytes for values, in base64.
        let is_own = |name: &str| {
            name.starts_with("grpc-") || name.starts_with("wharf-") || name.ends_with("-bin") || name == "user-agent"
        };
        let forwarded = Forwarded::new(&endpoint.forward_headers, is_own)?;
        let exchange = Exchange::new(target, connector, forwarded, endpoint.max_response_bytes);
        Ok(Self { exchange: Arc::new(exchange), attempts: endpoint.attempts })
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
