//! How an upload comes to be in S3: its multipart upload first, because that gives it half of its id, then its `.info`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    ErrorKind, Opened, Shared, StorageError, Ticket, blob,
    client::{Attributes, ClientError, ErrorKind as S3Error},
    failed, if_there,
    keeper::Keeper,
    keys, plan, tail,
};
use crate::{Info, UploadId};

/// How often another multipart upload is begun because the id of the one before can't be part of an upload's.
const NAMING_TRIES: usize = 4;

impl Shared {
    pub(super) async fn reserve(&self, info: Info, is_chosen: bool) -> Result<UploadId, StorageError> {
        let (name, attributes) = (info.id.as_str().to_owned(), keys::attributes(&info));
        if name.contains('+') {
            return Err(StorageError::new(ErrorKind::Failed, "name the upload", "a + stands in the id"));
        }
        let key = self.key(&name);
        if is_chosen {
            // Not every service refuses to put an info where one is.
            let taken = if_there(self.call("look for the id", || self.client.head_object(&keys::info(&key))).await);
            if taken.map_err(failed("look for the id"))?.is_some() {
                return Err(StorageError::new(ErrorKind::Exists, "create", "the id has an info already"));
            }
        }
        for _ in 0..NAMING_TRIES {
            let multipart = self.begin(&key, &attributes).await.map_err(failed("create"))?;
            let id = keys::Id { name: name.clone(), multipart };
            if let Ok(id) = UploadId::parse(&id.to_string()) {
                return Ok(id);
            }
            // Nothing says what these ids look like: one in thousands may hold what a path can't, `//` say.
            let _ = self.abort(&key, &id.multipart).await;
        }
        Err(StorageError::new(ErrorKind::Failed, "name the upload", "S3 gives ids that can't stand in a URL's path"))
    }

    async fn begin(&self, key: &str, attributes: &Attributes) -> Result<String, ClientError> {
        let tries = AtomicU64::new(0);
        let create = || {
            tries.fetch_add(1, Ordering::Relaxed);
            self.client.create_multipart(key, attributes.clone())
        };
        let multipart = self.call("begin a multipart upload", create).await?;
        if tries.load(Ordering::Relaxed) > 1 {
            self.abort_others(key, &multipart).await;
        }
        Ok(multipart)
    }

    /// A first try whose answer was lost may have begun a multipart upload that nobody knows.
    async fn abort_others(&self, key: &str, ours: &str) {
        let Ok(page) = self.call("list multipart uploads", || self.client.list_multiparts(key, None)).await else {
            return;
        };
        for other in page.entries.into_iter().filter(|other| other.key == key && other.id != ours) {
            // What is left is found by the reaper, or by the bucket's own rule.
            let _ = self.abort(key, &other.id).await;
        }
    }

    pub(super) async fn abort(&self, key: &str, multipart: &str) -> Result<(), ClientError> {
        if_there(self.call("abort a multipart upload", || self.client.abort(key, multipart)).await).map(|_| ())
    }

    pub(super) async fn release(&self, id: UploadId) -> Result<(), StorageError> {
        let Some(id) = keys::Id::parse(id.as_str()) else { return Ok(()) };
        self.abort(&self.key(&id.name), &id.multipart).await.map_err(failed("abort"))
    }

    pub(super) async fn create(self: Arc<Self>, info: Info, ticket: Ticket) -> Result<Opened, StorageError> {
        let id = keys::Id::parse(info.id.as_str())
            .ok_or_else(|| StorageError::new(ErrorKind::Failed, "create", "the id was not reserved"))?;
        let named = async {
            if info.is_final() {
                let marker = self.key(&keys::waiting(&id.name));
                let content = Bytes::copy_from_slice(info.id.as_str().as_bytes());
                self.put(&marker, content, Attributes::default()).await.map_err(failed("create"))?;
            }
            let (key, json) = (keys::info(&self.key(&id.name)), self.encode(&info, &id.name)?);
            let put = || self.client.put_object(&key, vec![json.clone()], Attributes::default(), true);
            match self.call("write the info", put).await {
                // The first try of a retried one may have been ours.
                Err(error) if error.kind == S3Error::Precondition => {
                    let stored = self.get(&key).await.map_err(failed("create"))?;
                    if stored.as_ref() == Some(&json) { Ok(()) } else { Err(failed("create")(error)) }
                }
                Err(error) if error.code.as_deref() == Some("NotImplemented") => {
                    self.put(&key, json, Attributes::default()).await.map(drop).map_err(failed("create"))
                }
                other => other.map(|_| ()).map_err(failed("create")),
            }
        };
        if let Err(error) = named.await {
            self.undo(&info, &id, &error).await;
            return Err(error);
        }
        let keeper =
            Keeper::new(Arc::clone(&self), &id, info.clone(), plan::Plan::default(), tail::Found::Nothing, ticket);
        let blob = Box::new(blob::S3Blob::start(keeper));
        Ok(Opened { blob, info, stored: 0, changed: SystemTime::now(), record: None })
    }

    /// Nobody got this upload. What can't be removed now is found by the reaper; but for the info, which may have been
    /// written although no answer came, and would stay for ever.
    async fn undo(&self, info: &Info, id: &keys::Id, error: &StorageError) {
        let key = self.key(&id.name);
        let mut written = Vec::new();
        if info.is_final() {
            written.push(self.key(&keys::waiting(&id.name)));
        }
        // One that was there before belongs to another upload.
        if error.kind != ErrorKind::Exists && self.info(&info.id).await.is_ok() {
            written.push(keys::info(&key));
        }
        let _ = self.abort(&key, &id.multipart).await;
        if !written.is_empty() {
            let _ = self.delete(written).await;
        }
    }
}
