//! Requests whose bytes are all at hand: an upload is created with them, or they are appended, in one go.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Uploads, complete, of_record,
    words::{Appending, AskFailure, Begun, NewUpload},
};
use crate::{
    Info, Share, UploadId,
    directory::whole::Made,
    post::Unanswered,
    upload::{
        Pieces,
        messages::{Asker, Begin, Committed, Reply, Snapshot},
        state::{self, Refusal},
    },
};

/// What came of appending bytes that were all at hand.
#[derive(Debug, Clone)]
pub enum Appended {
    /// They are stored.
    Committed(Committed),
    /// The upload is finished; there is nothing to append.
    Complete {
        /// Its length.
        offset: u64,
    },
}

/// What came of creating an upload with all its bytes.
#[derive(Debug, Clone)]
pub struct CreatedWhole {
    /// The upload, which is finished if nothing failed.
    pub snapshot: Snapshot,
    /// Why some of its bytes are not stored.
    pub failure: Option<AskFailure>,
}

impl Uploads {
    /// Whether [`Self::create_whole`] costs less now than to create an upload and then append to it. Not where the application
    /// is asked and told of the steps.
    #[must_use]
    pub fn creates_whole(&self) -> bool {
        let directory = &self.directory;
        directory.storage().creates_whole() && directory.hooks().is_none() && !directory.is_closing()
    }

    /// Creates an upload with all its bytes, as many as it is long, which take `share` of the memory budget. It may be one of
    /// those that take bytes from clients. Only while [`Self::creates_whole`].
    ///
    /// # Errors
    /// [`Refusal::Exists`](crate::Refusal::Exists), or what the store says. Nothing is left of the upload then.
    pub async fn create_whole(
        &self,
        new: NewUpload,
        bytes: Vec<Bytes>,
        share: Share,
    ) -> Result<CreatedWhole, AskFailure> {
        let info = self.info_of(new);
        let created = Info::clone(&info);
        let making = async { self.directory.create_whole(info, bytes, share).await.map_err(AskFailure::from) };
        Ok(match self.within(making).await? {
            Made::Finished(record) => CreatedWhole { snapshot: of_record(&record), failure: None },
            Made::Cut(stored, kind) => {
                let expires_at_secs = created.own.as_ref().and_then(|own| own.expires_at_secs);
                let snapshot = Snapshot { info: created, offset: Some(stored), expires_at_secs, record: None };
                CreatedWhole { snapshot, failure: Some(kind.into()) }
            }
        })
    }

    /// Whether [`Self::append_whole`] does the same as its steps: the application hears of none.
    #[must_use]
    pub fn appends_whole(&self) -> bool {
        self.directory.hooks().is_none()
    }

    /// Appends bytes which take `share` of the memory budget: as [`Self::begin`], [`Lease::append`](crate::Lease::append) and
    /// [`Lease::commit`](crate::Lease::commit) do, but in one message when nobody else is at work on the upload. Not for
    /// tentative ones, and only while [`Self::appends_whole`].
    ///
    /// # Errors
    /// As those.
    pub async fn append_whole(
        &self,
        id: &UploadId,
        appending: Appending,
        bytes: Bytes,
        share: Share,
    ) -> Result<Appended, AskFailure> {
        if let Some(record) = self.published(id)? {
            return complete(&record, &appending).map(|_| Appended::Complete { offset: record.length });
        }
        let (bytes, share) = match self.bring(id, &appending, bytes.clone(), share).await {
            Ok(Reply::Committed(committed)) => return Ok(Appended::Committed(committed)),
            Ok(Reply::Complete { offset }) => return Ok(Appended::Complete { offset }),
            Ok(Reply::Busy(Pieces::Here(bytes, share))) => (bytes, share),
            Ok(_) => return Err(AskFailure::Refused(Refusal::StoreFailed)),
            // It never had them.
            Err(None) => (vec![bytes.clone()], self.budget.try_take(bytes.len()).ok_or(AskFailure::Overloaded)?),
            Err(Some(failure)) => return Err(failure),
        };
        match self.begin(id, appending).await? {
            Begun::Complete { offset } => Ok(Appended::Complete { offset }),
            Begun::Lease { lease, .. } => {
                // The commit tells how it went.
                let stored = lease.append(bytes, share);
                let committed = lease.commit().await;
                drop(stored);
                committed.map(Appended::Committed)
            }
        }
    }

    /// Brings the owner all there is to be appended. `None` when it had just retired.
    async fn bring(
        &self,
        id: &UploadId,
        appending: &Appending,
        bytes: Bytes,
        share: Share,
    ) -> Result<Reply, Option<AskFailure>> {
        let Appending { offset, declared_length, announced, tentative, ref request_id, peer, ref caller } = *appending;
        let begin = state::Begin { offset, declared_length, announced, tentative };
        let post = self.within(self.find(id)).await?;
        let sent = post.send(|asker| {
            let asker = Asker::of_request(asker, Arc::clone(request_id), peer, caller.clone());
            let asker = asker.on_behalf_of(self.on_behalf_of.clone());
            Begin { begin, asker: asker.bringing(Pieces::Here(vec![bytes], share)) }
        });
        let mut answer = sent.map_err(AskFailure::from)?;
        let answered = loop {
            match tokio::time::timeout(self.directory.live().patience(), &mut answer).await {
                Ok(answered) => break answered,
                // Who has read the message does nothing but store the bytes, for as long as the store takes.
                Err(_) if post.gauge().depth() == 0 => {}
                Err(_) => return Err(Some(AskFailure::TimedOut)),
            }
        };
        match answered {
            Err(Unanswered::Retired) => Err(None),
            Err(unanswered) => Err(Some(unanswered.into())),
            Ok(answered) => answered.map_err(|refusal| Some(AskFailure::Refused(refusal))),
        }
    }
}
