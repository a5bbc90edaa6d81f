//! What the transports over the network have in common.

mod attempts;
mod forward;
mod tls;
mod url;

pub use attempts::Attempts;
pub(in crate::hooks) use attempts::Missed;
pub(in crate::hooks) use forward::Forwarded;
pub use tls::{ClientCertificate, Tls};
pub(in crate::hooks) use tls::{Connector, connector};
pub(in crate::hooks) use url::Target;

/// Chains of errors in a line.
pub(in crate::hooks) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
