//! Where a hook over the network is, and how it is called.

use std::fmt;

use super::{Attempts, Tls};

/// Where a hook is, and how it is called.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL, by `http` or `https`. A user and a password in it are sent as basic authorization, unless the client's
    /// own `Authorization` is handed on.
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
impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("forward_headers", &self.forward_headers)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("attempts", &self.attempts)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
