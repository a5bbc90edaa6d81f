//! Uploads whose bytes are all at hand when they are created.

use bytes::Bytes;

use super::{
    Uploads, of_record,
    words::{AskFailure, NewUpload},
};
use crate::{Info, Share, directory::whole::Made, upload::messages::Snapshot};

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
}
