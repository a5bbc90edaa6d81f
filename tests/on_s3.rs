//! The chapters of the black-box suite once more, with S3 as the store: a strict server in memory, in this process, or
//! the real one that `WHARF_TEST_S3` names. The harness sees by its own path which store a test is for. What speaks of
//! files and nothing else is not here: `disk_full`, `handover`, `descriptors`.
#![expect(clippy::duplicate_mod, reason = "each chapter is a crate of its own besides, with the harness in it")]

#[path = "checksum.rs"]
mod checksum;
#[path = "concatenation.rs"]
mod concatenation;
#[path = "core.rs"]
mod core_protocol;
#[path = "cors.rs"]
mod cors;
#[path = "creation.rs"]
mod creation;
#[path = "cuts.rs"]
mod cuts;
#[path = "download.rs"]
mod download;
#[path = "expiration.rs"]
mod expiration;
#[path = "faults.rs"]
mod faults;
#[path = "hooks.rs"]
mod hooks;
#[path = "hostile.rs"]
mod hostile;
#[path = "hostile_ids.rs"]
mod hostile_ids;
#[path = "kills.rs"]
mod kills;
#[path = "limits.rs"]
mod limits;
#[path = "messages.rs"]
mod messages;
#[path = "shutdown.rs"]
mod shutdown;
#[path = "staying_up.rs"]
mod staying_up;
#[path = "takeover.rs"]
mod takeover;
#[path = "termination.rs"]
mod termination;
