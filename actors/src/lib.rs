//! The owners of uploads, their directory, and the stores they write to. Knows nothing of HTTP.
//!
//! Every unfinished upload is owned by one actor; all that touches it is a message in that actor's mailbox. [`Uploads`]
//! is the facade: what it does not offer can't be done to an upload.

#![forbid(unsafe_code)]

mod budget;
mod claimant;
mod clock;
mod directory;
pub mod disk;
pub mod events;
mod history;
pub mod hooks;
mod id;
mod info;
mod lease;
mod live;
mod monitor;
#[cfg(feature = "s3")]
pub mod parts;
#[cfg(test)]
mod patience;
pub mod post;
mod reaper;
mod room;
pub mod storage;
mod tally;
mod turns;
mod upload;
mod uploads;

#[cfg(feature = "benched")]
#[doc(hidden)]
pub use upload::state::benched;

pub use budget::{Budget, BudgetReport, Share};
pub use claimant::{Claimant, Reach};
pub use history::{HistoryReport, LINES, Level, LogLine, MarkReport, TIMELINE_BYTES, Timeline};
pub use id::{InvalidId, MAX_ID_BYTES, UploadId};
pub use info::{Info, Kind, Own, Record};
pub use lease::{Lease, Stored};
pub use storage::Tap;
pub use tally::TallyReport;
pub use upload::{
    messages::{Committed, Consulted, Departure, Ended, Snapshot},
    state::{LeaseEnd, Refusal},
    view::{LeaseReport, UploadState},
};
pub use uploads::{
    Appended, Appending, AskFailure, Begun, Config, Created, CreatedWhole, Denial, Denied, ListCursor, ListPage,
    Listed, Mailboxes, NewUpload, Overview, OwnerReport, Tuning, Uploads,
};
