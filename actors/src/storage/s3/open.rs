//! How an upload is found in S3: its `.info`, and its parts and its tail, or its finished object.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    ErrorKind, Opened, Shared, StorageError, Ticket, blob, client::ListedPart, failed, if_there, keeper::Keeper, keys,
    plan, tail,
};
use crate::{Info, Record, UploadId};

/// How often the parts are listed again when a list can't be all, and how long one waits before the first time; it
/// doubles with each one more.
const LIST_AGAIN: u32 = 4;
const LIST_PAUSE: Duration = Duration::from_millis(150);

impl Shared {
    pub(super) async fn open(self: Arc<Self>, id: UploadId, ticket: Ticket) -> Result<Opened, StorageError> {
        let (mut info, parsed, stored_at) = self.dated_info(&id).await?;
        let is_marked = info.own.as_ref().is_some_and(|own| own.finished);
        let found = if is_marked { None } else { self.look(&mut info, &parsed).await? };
        let Some((plan, found)) = found else {
            // Completed, or aborted by somebody: the object tells.
            let record = self.finished(&info, &parsed.name).await?;
            let gone = || StorageError::new(ErrorKind::NotFound, "open", "its multipart upload was aborted");
            let record = record.ok_or_else(gone)?;
            if !is_marked && record.info.own.is_some() {
                return Ok(self.completed(&parsed, record, stored_at, ticket).await);
            }
            let keeper =
                Keeper::new(Arc::clone(&self), &parsed, info, plan::Plan::default(), tail::Found::Nothing, ticket);
            let (info, stored, changed) = (record.info.clone(), record.length, record.modified.unwrap_or(stored_at));
            return Ok(Opened {
                blob: Box::new(blob::S3Blob::start(keeper)),
                info,
                stored,
                changed,
                record: Some(record),
            });
        };
        // Parts have no dates here; an upload that goes on for long has its expiry put off, in the info.
        let tail = found.counting();
        let changed = tail.map_or(stored_at, |tail| stored_at.max(tail.stored_at));
        let stored = if info.is_final() { 0 } else { plan.end() + tail.map_or(0, |tail| tail.len) };
        let keeper = Keeper::new(Arc::clone(&self), &parsed, info.clone(), plan, found, ticket);
        let blob = Box::new(blob::S3Blob::start(keeper));
        Ok(Opened { blob, info, stored, changed, record: None })
    }

    /// An upload of ours that was completed, and not marked as finished: its owner goes on with that. A final one is no
    /// longer to be put together, so it is marked here.
    async fn completed(
        self: Arc<Self>,
        id: &keys::Id,
        record: Record,
        stored_at: SystemTime,
        ticket: Ticket,
    ) -> Opened {
        let (mut info, stored, changed) = (record.info.clone(), record.length, record.modified.unwrap_or(stored_at));
        if !info.is_final() {
            let keeper = Keeper::of_completed(Arc::clone(&self), id, info.clone(), ticket);
            let blob = Box::new(blob::S3Blob::start(keeper));
            return Opened { blob, info, stored, changed, record: None };
        }
        info.own.get_or_insert_default().finished = true;
        if self.save(&info, &id.name).await.is_ok() {
            // What is left of it is looked at again after the next start.
            let _ = self.delete(vec![self.key(&keys::waiting(&id.name))]).await;
        }
        let record = Record { info: info.clone(), ..record };
        let keeper =
            Keeper::new(Arc::clone(&self), id, info.clone(), plan::Plan::default(), tail::Found::Nothing, ticket);
        Opened { blob: Box::new(blob::S3Blob::start(keeper)), info, stored, changed, record: Some(record) }
    }

    /// What S3 has of an unfinished upload: its parts and its tail. `None` when its multipart upload is gone.
    async fn look(&self, info: &mut Info, id: &keys::Id) -> Result<Option<(plan::Plan, tail::Found)>, StorageError> {
        let key = self.key(&id.name);
        let dropped = info.own.as_ref().map(|own| own.dropped_parts.clone()).unwrap_or_default();
        let left_with = self.left_with.get(&key).unwrap_or(0);
        for again in 0.. {
            let Some(listed) = self.list_parts(&key, &id.multipart).await? else { return Ok(None) };
            let (plan, stale) = plan::Plan::found(listed, &dropped);
            let tail = tail::find(self, &key, plan.end()).await.map_err(failed("look at the tail"))?;
            let end = plan.end() + tail.counting().map_or(0, |tail| tail.len);
            let is_behind = matches!(tail, tail::Found::Ahead) || (end < left_with && !info.is_final());
            // A list may lag behind what was stored. When it ends before what is known to be there it does, and with a gap in
            // it, or a part has failed: one more look costs little, and dropping acknowledged bytes would cost all.
            if (is_behind || !stale.is_empty()) && again < LIST_AGAIN {
                tokio::time::sleep(LIST_PAUSE * 2_u32.pow(again)).await;
                continue;
            }
            if is_behind {
                let cause = "the list of parts lacks some that were acknowledged";
                return Err(StorageError::new(ErrorKind::Failed, "list parts", cause));
            }
            if !stale.is_empty() && !info.is_final() {
                // They lie behind a gap. Before a part can fill it, the others must be known not to count.
                info.own.get_or_insert_default().dropped_parts.extend(stale);
                self.save(info, &id.name).await?;
            }
            if matches!(tail, tail::Found::Stale) {
                // A crash has left it. It can stay, but tusd would count it.
                let _ = self.delete(vec![keys::tail(&key)]).await;
            }
            return Ok(Some((plan, tail)));
        }
        Ok(None)
    }

    /// All parts; `None` when the multipart upload is gone.
    pub(super) async fn list_parts(&self, key: &str, multipart: &str) -> Result<Option<Vec<ListedPart>>, StorageError> {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = self.call("list parts", || self.client.list_parts(key, multipart, after)).await;
            let Some(page) = if_there(page).map_err(failed("list parts"))? else { return Ok(None) };
            listed.extend(page.entries);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Some(listed)),
            }
        }
    }
}
