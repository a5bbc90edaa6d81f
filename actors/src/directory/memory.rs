//! What is kept in mind of uploads that have no owner: their published forms, their histories, that they have expired.

use std::sync::Arc;

use super::Directory;
use crate::{Claimant, Record, UploadId};

impl Directory {
    /// The published form of a finished upload, when it is at hand.
    pub(crate) fn record(&self, id: &UploadId) -> Option<Arc<Record>> {
        self.records.get(id)
    }

    /// Publishes a finished upload. Only its owner does, or who has created it whole.
    pub(crate) fn publish(&self, record: Arc<Record>) {
        self.records.insert(record.info.id.clone(), record);
    }

    /// What was published without its date is known with it now. What was withdrawn meanwhile stays so.
    pub(crate) fn date(&self, record: &Arc<Record>) {
        let _ = self.records.replace(record.info.id.clone(), Arc::clone(record), false);
    }

    /// Withdraws what was published, before the upload is deleted.
    pub(crate) fn withdraw(&self, id: &UploadId) {
        self.records.remove(id);
    }

    /// Keeps in mind that an upload has expired, as long as there is room.
    pub(crate) fn remember_expired(&self, id: &UploadId, owner: Option<&str>) {
        self.expired.insert(id.clone(), owner.map(Arc::from));
    }

    /// Whether one who asks may know that an upload has expired.
    pub(crate) fn is_known_expired(&self, id: &UploadId, on_behalf_of: Option<&Claimant>) -> bool {
        let may_know = |owner: Option<Arc<str>>| on_behalf_of.is_none_or(|claimant| claimant.reaches(owner.as_deref()));
        self.expired.get(id).is_some_and(may_know)
    }
}
