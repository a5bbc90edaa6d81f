//! Who runs, for those who look at all owners or tell them all something.

use std::time::Duration;

use super::{Directory, Entry, Owner};
use crate::{UploadId, post::Post, upload::Upload};

impl Directory {
    /// All owners that run.
    pub(crate) fn owners(&self) -> Vec<Post<Upload>> {
        self.entries
            .iter()
            .filter_map(|entry| match entry.value() {
                Entry::Running { owner, .. } => Some(owner.post.clone()),
                _ => None,
            })
            .collect()
    }

    /// How long the message has waited that has waited longest for any of them. With none, as nearly always, no owner is
    /// looked at: there may be thousands, and nothing of them lies in the processor's cache.
    pub(crate) fn oldest_wait(&self) -> Option<Duration> {
        if self.meter.depth() == 0 {
            return None;
        }
        self.entries.iter().filter_map(|entry| entry.owner()?.post.gauge().oldest_age()).max()
    }

    /// What runs, without a look at its upload.
    pub(crate) fn owner(&self, id: &UploadId) -> Option<Owner> {
        self.entries.get(id).and_then(|entry| entry.owner().cloned())
    }

    /// All owners that run, with their uploads: those whose ids lie behind `after`, in no order.
    pub(crate) fn owners_behind(&self, after: &str) -> Vec<(UploadId, Owner)> {
        self.entries
            .iter()
            .filter(|entry| entry.key().as_str() > after)
            .filter_map(|entry| Some((entry.key().clone(), entry.owner()?.clone())))
            .collect()
    }
}
