//! wharf: a resumable-upload web service.

pub mod flags;
pub mod settings;
pub mod telemetry;
