//! wharf: a resumable-upload web service.

pub mod server;
