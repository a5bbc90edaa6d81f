//! The owners of uploads, their directory, and the stores they write to. Knows nothing of HTTP.
//!
//! Every unfinished upload is owned by one actor; all that touches it is a message in that actor's mailbox. [`Uploads`]
//! is the facade: what it does not offer can't be done to an upload.

#![forbid(unsafe_code)]

mod budget;
mod clock;
mod directory;
pub mod disk;
mod id;
mod info;
mod lease;
#[cfg(feature = "s3")]
pub mod parts;
pub mod post;
mod reaper;
pub mod storage;
mod upload;
mod uploads;

pub use budget::{Budget, BudgetReport, Share};
pub use id::{InvalidId, MAX_ID_BYTES, UploadId};
pub use info::{Info, Kind, Own, Record};
pub use lease::{Lease, Stored};
pub use upload::{
    messages::{Committed, Departure, Snapshot},
    state::{LeaseEnd, Refusal},
};
pub use uploads::{Appending, AskFailure, Begun, Config, Mailboxes, NewUpload, Uploads};
