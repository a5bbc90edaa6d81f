//! What the dispatcher and the uploaders tell one another.

use tokio::sync::oneshot;

use super::job::{Errand, Job};
use crate::room::Places;

/// Asks the dispatcher to have a part stored. Sent by [`Parts::upload`](super::Parts::upload); the answer goes to the
/// job's asker.
pub(super) struct Submit {
    pub(super) job: Job,
    /// The place in the mailbox, given back when the message is opened.
    pub(super) place: Places,
}

/// The asker of a part has gone: it is dropped, if it has not begun.
pub(super) struct Cancel {
    pub(super) upload: u64,
    pub(super) id: u64,
}

/// An uploader asks the dispatcher for its next part, which comes as [`Carry`].
pub(super) struct Ready {
    pub(super) uploader: u64,
}

/// A part is under way no more: it came to its end, or `job` has to be done again.
pub(super) struct Returned {
    pub(super) upload: u64,
    pub(super) job: Option<Job>,
    /// Whether an uploader had begun with it.
    pub(super) begun: bool,
}

/// An uploader is no more.
pub(super) struct Left {
    pub(super) uploader: u64,
}

/// Asks the dispatcher to have this many uploaders from now on.
pub(super) struct Resize {
    pub(super) workers: usize,
    /// How many parts of one upload may be under way at once, if that changes.
    pub(super) per_upload: Option<usize>,
}

/// Asks the dispatcher to end once all parts that it has are done. Answered at its end.
pub(super) struct Close {
    pub(super) answer: Option<oneshot::Sender<()>>,
}

/// Asks an uploader to store a part.
pub(super) struct Carry(pub(super) Errand);

/// Asks an uploader to end, once the part in its hands is done.
pub(super) struct Leave;
