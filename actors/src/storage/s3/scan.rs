//! The search for what may have expired: the multipart uploads under way, then the finished partial uploads, which have a
//! marker each, because nothing else tells them from uploads that stay. A page at a time.

use std::time::SystemTime;

use super::{CREATION_TAKES_AT_MOST, Shared, client::MultipartMarker, failed, if_there, keys};
use crate::{
    UploadId,
    storage::{ScanCursor, ScanPage, StorageError},
};

/// How many markers are looked at in one go.
const MARKERS_AT_ONCE: u16 = 1000;

/// Where a scan goes on.
enum Place {
    Multiparts(MultipartMarker),
    /// Behind this marker's key.
    Partials(Option<String>),
}

impl Shared {
    pub(super) async fn scan(
        &self,
        cursor: Option<ScanCursor>,
        before: SystemTime,
        now: SystemTime,
    ) -> Result<ScanPage, StorageError> {
        let place = cursor.and_then(|ScanCursor(place)| place.downcast::<Place>().ok()).map(|place| *place);
        let (candidates, next) = match place {
            None => self.scan_multiparts(None, before, now).await?,
            Some(Place::Multiparts(after)) => self.scan_multiparts(Some(after), before, now).await?,
            Some(Place::Partials(after)) => self.scan_partials(after, before).await?,
        };
        Ok(ScanPage { candidates, next: next.map(|place| ScanCursor(Box::new(place))) })
    }

    async fn scan_multiparts(
        &self,
        after: Option<MultipartMarker>,
        before: SystemTime,
        now: SystemTime,
    ) -> Result<(Vec<UploadId>, Option<Place>), StorageError> {
        let prefix = self.config.prefix.clone();
        let page = self.call("list multipart uploads", || self.client.list_multiparts(&prefix, after.clone())).await;
        let page = page.map_err(failed("scan"))?;
        let left_over = now.checked_sub(CREATION_TAKES_AT_MOST).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut candidates = Vec::new();
        for found in page.entries.into_iter().filter(|found| found.initiated < before) {
            let Some(name) = found.key.strip_prefix(&self.config.prefix) else { continue };
            let id = keys::Id { name: name.to_owned(), multipart: found.id.clone() }.to_string();
            match (self.is_there(&keys::info(&found.key)).await?, UploadId::parse(&id)) {
                (true, Ok(id)) => candidates.push(id),
                // Begun by a creation that never came to its end.
                (false, _) if found.initiated < left_over => {
                    self.abort(&found.key, &found.id).await.map_err(failed("scan"))?;
                }
                _ => {}
            }
        }
        let next = page.next.map_or(Place::Partials(None), Place::Multiparts);
        Ok((candidates, Some(next)))
    }

    async fn scan_partials(
        &self,
        after: Option<String>,
        before: SystemTime,
    ) -> Result<(Vec<UploadId>, Option<Place>), StorageError> {
        let prefix = self.key(keys::PARTIALS);
        let list = || self.client.list_objects(&prefix, after.clone(), MARKERS_AT_ONCE);
        let page = self.call("list finished partials", list).await.map_err(failed("scan"))?;
        let mut candidates = Vec::new();
        for marker in page.entries.into_iter().filter(|marker| marker.modified < before) {
            let id = marker.key.strip_prefix(&prefix).and_then(|id| UploadId::parse(id).ok());
            let name = id.as_ref().and_then(|id| keys::Id::parse(id.as_str()));
            let Some((id, name)) = id.zip(name) else { continue };
            if self.is_there(&keys::info(&self.key(&name.name))).await? {
                candidates.push(id);
            } else {
                // Its upload is gone.
                self.delete(vec![marker.key]).await.map_err(failed("scan"))?;
            }
        }
        Ok((candidates, page.next.map(|key| Place::Partials(Some(key)))))
    }

    async fn is_there(&self, key: &str) -> Result<bool, StorageError> {
        let head = if_there(self.call("look for the info", || self.client.head_object(key)).await);
        Ok(head.map_err(failed("scan"))?.is_some())
    }
}
