//! On whose behalf all is asked.

use std::sync::Arc;

use super::{AskFailure, Uploads};
use crate::{Claimant, Info, Record, UploadId, upload::state::Refusal};

impl Uploads {
    /// The same uploads as one sees them who asks: what they may not use is not there, and what they create is theirs.
    #[must_use]
    pub fn on_behalf_of(&self, claimant: Claimant) -> Self {
        Self { on_behalf_of: Some(claimant), ..self.clone() }
    }

    /// Whether the one may use an upload who asks.
    pub(super) fn may_use(&self, info: &Info) -> bool {
        self.on_behalf_of.as_ref().is_none_or(|claimant| claimant.may_use(info))
    }

    /// What is published of a finished upload. To strangers there is no such upload.
    pub(super) fn published(&self, id: &UploadId) -> Result<Option<Arc<Record>>, AskFailure> {
        match self.directory.record(id) {
            Some(record) if !self.may_use(&record.info) => Err(AskFailure::Refused(Refusal::NotFound)),
            record => Ok(record),
        }
    }
}
