//! The owners of uploads, their directory, and the stores they write to. Knows nothing of HTTP.
//!
//! Every unfinished upload is owned by one actor; all that touches it is a message in that actor's mailbox.

#![forbid(unsafe_code)]

pub mod disk;
mod id;
mod info;
pub mod post;
pub mod storage;

pub use id::{InvalidId, MAX_ID_BYTES, UploadId};
pub use info::{Info, Kind, Own, Record};
