//! The right to append to an upload, in the hands of one request.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    AskFailure, Committed, Denial, Denied, Departure, Share,
    post::{Pending, Post, Unanswered},
    storage::Tap,
    upload::{
        Pieces, Upload,
        messages::{Answered, Append, Commit, Ended, Release, Reply},
        state::{LeaseEnd, LeaseId, Refusal},
    },
};

/// The right to append to an upload from `offset` on. At most one is open for an upload. Dropping it gives it back:
/// what arrived is kept, unless the lease was tentative.
pub struct Lease {
    post: Post<Upload>,
    lease: LeaseId,
    offset: u64,
    room: Option<u64>,
    end: oneshot::Receiver<Ended>,
    /// What the owner is told when the lease is dropped; `None` when it knows already.
    departure: Option<Departure>,
}

/// Resolves when bytes that were handed over are stored.
pub struct Stored(Result<Pending<Upload, Answered>, Unanswered>);

impl Future for Stored {
    type Output = Result<(), AskFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = match &mut self.0 {
            Ok(pending) => ready!(Pin::new(pending).poll(context)),
            Err(unsent) => Err(*unsent),
        };
        Poll::Ready(match answered? {
            Ok(Reply::Appended) => Ok(()),
            Ok(_) => Err(AskFailure::Refused(Refusal::StoreFailed)),
            Err(refusal) => Err(AskFailure::Refused(refusal)),
        })
    }
}

impl Lease {
    pub(crate) fn new(
        post: Post<Upload>,
        lease: LeaseId,
        offset: u64,
        room: Option<u64>,
        end: oneshot::Receiver<Ended>,
    ) -> Self {
        Self { post, lease, offset, room, end, departure: Some(Departure::ConnectionLost) }
    }

    /// Where the first byte under this lease goes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes may be appended; `None` when there is no limit.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        self.room
    }

    /// Hands bytes over, and the share of the memory budget that they take; more may be handed over before they are stored. The owner keeps their order.
    pub fn append(&self, bytes: Vec<Bytes>, share: Share) -> Stored {
        self.hand_over(Pieces::Here(bytes, share))
    }

    /// Has the store take bytes that lie in a socket. Nobody else may read from it until they are stored, or the tap is
    /// dropped. Only where the store [`draws`](crate::Uploads::draws).
    pub fn draw(&self, tap: Tap) -> Stored {
        self.hand_over(Pieces::InSocket(tap))
    }

    fn hand_over(&self, pieces: Pieces) -> Stored {
        let lease = self.lease;
        // Sent now, not when the future is first polled: what was handed over must reach the owner.
        Stored(self.post.send(move |asker| Append { lease, pieces, asker: asker.into() }))
    }

    /// Resolves when the owner wants the lease back.
    pub async fn ended(&mut self) -> Ended {
        // The owner drops its side only when it dies.
        (&mut self.end).await.unwrap_or(Ended { why: LeaseEnd::StoreFailed, response: None })
    }

    /// All bytes are handed over: waits until they are stored, and the upload finished if they complete it.
    ///
    /// # Errors
    /// When the lease had been ended, the store failed, or the owner died.
    pub async fn commit(mut self) -> Result<Committed, AskFailure> {
        let lease = self.lease;
        let answer = self.post.ask(|asker| Commit { lease, asker: asker.into() }).await?;
        // Answered: the owner has done with the lease.
        self.departure = None;
        match answer {
            Ok(Reply::Committed(committed)) => Ok(committed),
            Ok(_) => Err(AskFailure::Refused(Refusal::StoreFailed)),
            // Why the lease had ended says more than that it had.
            Err(refusal) => Err(self.end.try_recv().map_or(AskFailure::Refused(refusal), AskFailure::from)),
        }
    }

    /// Gives the lease back and says why. What arrived is kept, unless the lease was tentative.
    pub fn release(mut self, why: Departure) {
        self.departure = Some(why);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(why) = self.departure {
            self.post.tell(Release { lease: self.lease, why });
        }
    }
}

impl From<Ended> for AskFailure {
    fn from(ended: Ended) -> Self {
        match ended.response {
            Some(response) => Self::Denied(Denial { what: Denied::Upload, response }),
            None => Self::Refused(ended.why.into()),
        }
    }
}

impl From<LeaseEnd> for Refusal {
    fn from(end: LeaseEnd) -> Self {
        match end {
            LeaseEnd::Interrupted | LeaseEnd::ByOperator => Self::Interrupted,
            LeaseEnd::Terminated => Self::Terminated,
            LeaseEnd::Stopped => Self::Stopped,
            LeaseEnd::ShuttingDown => Self::ShuttingDown,
            LeaseEnd::NoSpace => Self::NoSpace,
            LeaseEnd::StoreFailed => Self::StoreFailed,
            LeaseEnd::TooLarge => Self::SizeExceeded,
        }
    }
}
