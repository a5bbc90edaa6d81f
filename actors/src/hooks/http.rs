//! Hooks by HTTP: an event is posted to a URL, and the answer says what the application has to say.
//!
//! The body is the event in JSON. `X-Wharf-Event-Id` names the event, and is the same in every try; fields of the
//! client's request come along if they are configured. The answer must be 2xx, `application/json`, and hold a verdict:
//! `{}` at least. Failures of the network and answers of 500 and above are followed by another try; redirects are not
//! followed.
//!
//! # Signatures
//!
//! With a signing key, `X-Wharf-Timestamp` has the seconds since 1970, and `X-Wharf-Signature` is `sha256=` and, in
//! hexadecimal digits, the HMAC-SHA256 with that key over the event's id, a dot, the timestamp, a dot and the body:
//!
//! ```text
//! HMAC-SHA256(key, X-Wharf-Event-Id + "." + X-Wharf-Timestamp + "." + body)
//! ```
//!
//! Whoever receives it computes the same over the raw body, compares both in constant time, refuses timestamps that are
//! off by more than some minutes, and remembers ids for as long: so nobody else can call the hook, and nobody can repeat
//! a call that they have seen. The fields of the client's request are not signed.

mod exchange;
mod signature;

use std::sync::Arc;

use super::{
    Calling, Notice, SetupError, Transport,
    client::{Attempts, Endpoint, Forwarded, Target, connector},
};
use exchange::Exchange;
use signature::Signer;

/// Hooks by HTTP. Keeps connections for later events.
#[derive(Clone)]
pub struct Http {
    exchange: Arc<Exchange>,
    attempts: Attempts,
}

impl Http {
    /// Hooks at a URL, whose requests are signed with a key if there is one. Nobody is asked there yet.
    ///
    /// # Errors
    /// When the URL is none, a field can't be handed on, or a file can't be read.
    pub fn new(endpoint: Endpoint, signing_key: Option<&[u8]>) -> Result<Self, SetupError> {
        let target = Target::parse(&endpoint.url)?;
        let connector = connector(&endpoint.tls, target.is_secure, &[b"http/1.1"])?;
        let is_own = |name: &str| name.starts_with("x-wharf-");
        let forwarded = Forwarded::new(&endpoint.forward_headers, is_own)?;
        let signer = signing_key.map(Signer::new).transpose()?;
        let exchange = Exchange::new(target, connector, forwarded, signer, endpoint.max_response_bytes);
        Ok(Self { exchange: Arc::new(exchange), attempts: endpoint.attempts })
    }
}

impl Transport for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn call(&self, notice: Arc<Notice>) -> Calling {
        let Self { exchange, attempts } = self.clone();
        Box::pin(async move { attempts.make(|| exchange.post(&notice)).await })
    }
}

#[cfg(test)]
mod tests;
