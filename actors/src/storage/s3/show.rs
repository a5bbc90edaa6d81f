//! What an operator sees of the store: single uploads, lists of them, and the meters. Nothing here changes an upload.

use futures_util::{StreamExt, stream};

use super::{Shared, client::ListedObject, failed, if_there, keys, plan, tail};
use crate::{
    UploadId,
    storage::{ErrorKind, Sighting, StorageError, StorePage, StoreReport, info_json},
};

/// So many `.info` objects of a page are read at once.
const READ_AT_ONCE: usize = 8;

/// An upload has an object, its `.info` and perhaps its `.part`.
const OBJECTS_EACH: usize = 3;

/// S3 lists no more at once.
const LIST_MAX: usize = 1000;

impl Shared {
    /// What lies in the bucket of one upload.
    pub(super) async fn sight(&self, id: &UploadId) -> Result<Sighting, StorageError> {
        let (info, parsed, stored_at) = self.dated_info(id).await?;
        let key = self.key(&parsed.name);
        let is_marked = info.own.as_ref().is_some_and(|own| own.finished);
        let listed = if is_marked { None } else { self.list_parts(&key, &parsed.multipart).await? };
        let Some(listed) = listed else {
            let gone = || StorageError::new(ErrorKind::NotFound, "look", "its multipart upload was aborted");
            let record = self.finished(&info, &parsed.name).await?.ok_or_else(gone)?;
            let (stored, changed) = (Some(record.length), record.modified.unwrap_or(stored_at));
            return Ok(Sighting { info: record.info, stored, changed, is_finished: true, parts: None });
        };
        let dropped = info.own.as_ref().map(|own| own.dropped_parts.clone()).unwrap_or_default();
        let (plan, _) = plan::Plan::found(listed, &dropped);
        let tail = tail::find(self, &key, plan.end()).await.map_err(failed("look at the tail"))?.counting();
        let stored = if info.is_final() { None } else { Some(plan.end() + tail.as_ref().map_or(0, |tail| tail.len)) };
        let changed = tail.map_or(stored_at, |tail| stored_at.max(tail.stored_at));
        Ok(Sighting { info, stored, changed, is_finished: false, parts: Some(plan.report()) })
    }

    /// A page of the uploads in the order of their keys, by their `.info`. How far an unfinished one has come is not
    /// looked up.
    pub(super) async fn page(&self, after: Option<String>, limit: usize) -> Result<StorePage, StorageError> {
        let limit = limit.clamp(1, LIST_MAX);
        let most = u16::try_from((limit * OBJECTS_EACH).min(LIST_MAX)).unwrap_or(u16::MAX);
        let (prefix, after) = (self.config.prefix.clone(), after.map(|name| self.key(&name)));
        let list = || self.client.list_objects(&prefix, after.clone(), most);
        let listed = self.call("list objects", list).await.map_err(failed("list"))?;
        let mut infos: Vec<ListedObject> = Vec::new();
        let mut next = listed.next;
        for object in listed.entries {
            if infos.len() == limit {
                next = infos.last().map(|last| last.key.clone());
                break;
            }
            let name = object.key.strip_prefix(&self.config.prefix).unwrap_or_default();
            if name.ends_with(".info") && !name.starts_with(".wharf/") {
                infos.push(object);
            }
        }
        let read = infos.into_iter().map(|object| self.listed(object));
        let uploads: Vec<_> = stream::iter(read).buffered(READ_AT_ONCE).collect().await;
        let next = next.and_then(|key| key.strip_prefix(&self.config.prefix).map(str::to_owned));
        Ok(StorePage { uploads: uploads.into_iter().flatten().collect(), next })
    }

    /// An upload by its `.info`; `None` when that is gone meanwhile, can't be read, or is not of an upload.
    async fn listed(&self, object: ListedObject) -> Option<Sighting> {
        let ListedObject { key, modified: changed, .. } = object;
        let json = self.get(&key).await.ok().flatten()?;
        let id = UploadId::parse(&info_json::stated_id(&json)?).ok()?;
        let name = keys::Id::parse(id.as_str())?.name;
        let mut info = info_json::decode(&json, &id).ok().filter(|_| keys::info(&self.key(&name)) == key)?;
        info.place = None;
        let is_finished = info.own.as_ref().is_some_and(|own| own.finished);
        let stored = info.length.filter(|_| is_finished);
        Some(Sighting { info, stored, changed, is_finished, parts: None })
    }

    /// One question, once. That there is no such object is an answer too.
    pub(super) async fn reach(&self) -> Result<(), StorageError> {
        let answer = if_there(self.client.head_object(&self.key(".wharf/first_seen")).await);
        answer.map(|_| ()).map_err(failed("reach S3"))
    }

    pub(super) fn report(&self) -> StoreReport {
        let mut report = self.parts.store_report();
        for (cause, count) in self.config.retry.report().by_cause() {
            match report.retries.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += count,
                None => report.retries.push((cause, count)),
            }
        }
        report
    }
}
