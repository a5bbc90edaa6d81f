//! wharf: a resumable-upload web service.

pub mod flags;
pub mod protocol;
pub mod server;
pub mod settings;
pub mod telemetry;
