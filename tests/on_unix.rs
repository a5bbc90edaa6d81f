//! Chapters of the black-box suite once more, by a Unix socket. The harness sees by its own path how a server is to be
//! reached.
#![expect(clippy::duplicate_mod, reason = "each chapter is a crate of its own besides, with the harness in it")]

#[path = "core.rs"]
mod core_protocol;
#[path = "cuts.rs"]
mod cuts;
#[path = "takeover.rs"]
mod takeover;
