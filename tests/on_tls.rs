//! Chapters of the black-box suite once more, over TLS. The harness sees by its own path how a server is to be reached.
#![expect(clippy::duplicate_mod, reason = "each chapter is a crate of its own besides, with the harness in it")]

#[path = "checksum.rs"]
mod checksum;
#[path = "core.rs"]
mod core_protocol;
#[path = "cuts.rs"]
mod cuts;
#[path = "download.rs"]
mod download;
#[path = "messages.rs"]
mod messages;
#[path = "shutdown.rs"]
mod shutdown;
#[path = "takeover.rs"]
mod takeover;
