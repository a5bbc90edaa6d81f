//! What the transports over the network have in common.

mod attempts;
mod endpoint;
mod forward;
mod tls;
mod url;

pub use attempts::Attempts;
pub(crate) use attempts::Missed;
pub use endpoint::Endpoint;
pub(crate) use forward::Forwarded;
pub use tls::{ClientCertificate, Tls};
pub(crate) use tls::{Connector, connector};
pub(crate) use url::Target;

/// Chains of errors in a line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
