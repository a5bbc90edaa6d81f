//! Uploads in S3 and in what speaks S3, in tusd's layout: a multipart upload makes the object, `<key>.info` holds what is
//! known of it, and `<key>.part` the bytes behind the last part that are too few for one.
//!
//! An upload's id is its object's name, `+`, and the id of the multipart upload. One bucket and prefix belongs to one
//! wharf: nothing in S3 keeps a second one away.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use quick_cache::sync::Cache;
use slog::Logger;

use super::{
    ErrorKind, Op, Opened, OutboxStore, Reader, ScanCursor, ScanPage, Sighting, Storage, StorageError, StorePage,
    StoreReport, StoreTuning, Ticket,
};
use crate::{Budget, Info, Record, UploadId, parts::Parts, storage::info_json};
use client::{Attributes, Call, Client, ClientError, ETag, ErrorKind as S3Error};
use keeper::Relief;
use outbox::S3Outbox;
use plan::Sizes;
use reader::S3Reader;
use retry::{RetryPolicy, retried};

mod blob;
pub mod client;
mod create;
mod keeper;
mod keys;
mod open;
mod outbox;
mod plan;
mod reader;
pub mod retry;
mod scan;
mod show;
mod tail;

/// The most final uploads that are taken up again after a start; more are found in later starts.
const MOST_WAITING_FINALS: usize = 100_000;

/// How many uploads whose keepers have ended are remembered; some hundred bytes each.
const REMEMBERED: usize = 16_384;

/// No creation takes longer: a multipart upload without an info that is older is left over.
const CREATION_TAKES_AT_MOST: Duration = Duration::from_secs(3600);

/// Where and how uploads are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bucket, as it stands in `.info`.
    pub bucket: String,
    /// What all keys start with; empty, or with a slash at its end.
    pub prefix: String,
    /// How large a part is, unless more is needed.
    pub part_bytes: u64,
    /// How many bytes of a checked request are kept until the check.
    pub tentative_max_bytes: u64,
    /// How calls are tried again.
    pub retry: RetryPolicy,
}

/// The store.
pub struct S3Store {
    shared: Arc<Shared>,
}

/// What the store and the uploads' keepers have in common.
pub(crate) struct Shared {
    client: Arc<dyn Client>,
    parts: Parts,
    budget: Arc<Budget>,
    relief: Relief,
    config: Config,
    sizes: Sizes,
    logger: Logger,
    keepers: AtomicU64,
    /// How many bytes an upload had when its keeper ended, by its key: a list of parts may not know that yet.
    left_with: Cache<String, u64>,
}

/// The store as the service uses it; see [`S3Store::new`]. In builds for tests its operations can be made to fail, by a
/// control file.
pub fn open(
    config: Config,
    client: Arc<dyn Client>,
    parts: Parts,
    budget: Arc<Budget>,
    logger: Logger,
) -> Arc<dyn Storage> {
    super::in_service(S3Store::new(config, client, parts, budget, logger))
}

/// The longest upload that a store with this preferred size of parts and this memory budget can take: S3 takes 10,000
/// parts, and each must fit into memory.
#[must_use]
pub fn longest_upload(part_bytes: u64, budget_bytes: u64) -> u64 {
    Sizes::within(part_bytes, budget_bytes).longest()
}

impl S3Store {
    /// A store in a client's bucket, which brings parts there by the pool.
    #[must_use]
    pub fn new(config: Config, client: Arc<dyn Client>, parts: Parts, budget: Arc<Budget>, logger: Logger) -> Self {
        let sizes = Sizes::within(config.part_bytes, u64::try_from(budget.report().total).unwrap_or(u64::MAX));
        let keepers = AtomicU64::new(0);
        let left_with = Cache::new(REMEMBERED);
        let client = parts.meters_of_calls().over(client);
        let relief = Relief::default();
        Self { shared: Arc::new(Shared { client, parts, budget, relief, config, sizes, logger, keepers, left_with }) }
    }

    fn op<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Op<T>
    where
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        Box::pin(work(Arc::clone(&self.shared)))
    }
}

/// A call that failed, as a failure of the store.
fn failed(action: &'static str) -> impl Fn(ClientError) -> StorageError {
    move |error| {
        let kind = match error.kind {
            S3Error::NoSuchKey | S3Error::NoSuchUpload => ErrorKind::NotFound,
            S3Error::Precondition => ErrorKind::Exists,
            _ => ErrorKind::Failed,
        };
        StorageError::new(kind, action, error)
    }
}

/// `None` for what is not there.
fn if_there<T>(result: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind, S3Error::NoSuchKey | S3Error::NoSuchUpload) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Shared {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    async fn call<T>(&self, what: &'static str, call: impl FnMut() -> Call<T>) -> Result<T, ClientError> {
        retried(&self.config.retry, what, &self.logger, call).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, ClientError> {
        Ok(self.get_dated(key).await?.map(|(bytes, _)| bytes))
    }

    /// An object's bytes, and when it was stored.
    async fn get_dated(&self, key: &str) -> Result<Option<(Bytes, SystemTime)>, ClientError> {
        let read = || -> Call<(Bytes, SystemTime)> {
            let (object, largest) = (self.client.get_object(key, None), self.sizes.largest);
            Box::pin(async move {
                let object = object.await?;
                // Growing by doubling would take up to twice its length, and a tail stays in memory.
                let room = usize::try_from(object.head.size.min(largest)).unwrap_or(0);
                let bytes = object.body.try_fold(BytesMut::with_capacity(room), |mut all, piece| async move {
                    all.extend_from_slice(&piece);
                    Ok(all)
                });
                Ok((bytes.await?.freeze(), object.head.modified))
            })
        };
        if_there(self.call("read an object", read).await)
    }

    async fn put(&self, key: &str, bytes: Bytes, attributes: Attributes) -> Result<ETag, ClientError> {
        let put = || self.client.put_object(key, vec![bytes.clone()], attributes.clone(), false);
        self.call("put an object", put).await
    }

    async fn delete(&self, keys: Vec<String>) -> Result<(), ClientError> {
        self.call("delete objects", || self.client.delete_objects(keys.clone())).await
    }

    fn encode(&self, info: &Info, name: &str) -> Result<Bytes, StorageError> {
        let places_key = self.key(name);
        let json = info_json::encode(info, &info_json::Places::s3(&self.config.bucket, &places_key));
        json.map(Bytes::from).map_err(|error| StorageError::new(ErrorKind::Failed, "write the info", error))
    }

    async fn save(&self, info: &Info, name: &str) -> Result<(), StorageError> {
        let json = self.encode(info, name)?;
        let put = self.put(&keys::info(&self.key(name)), json, Attributes::default()).await;
        put.map(drop).map_err(failed("write the info"))
    }

    /// What is known of an upload; not found unless all of its id is right.
    async fn info(&self, id: &UploadId) -> Result<(Info, keys::Id), StorageError> {
        self.dated_info(id).await.map(|(info, parsed, _)| (info, parsed))
    }

    /// The same, and when it was stored.
    async fn dated_info(&self, id: &UploadId) -> Result<(Info, keys::Id, SystemTime), StorageError> {
        let missing = || StorageError::new(ErrorKind::NotFound, "read the info", "no such upload");
        let parsed = keys::Id::parse(id.as_str()).ok_or_else(missing)?;
        let json = self.get_dated(&keys::info(&self.key(&parsed.name))).await.map_err(failed("read the info"))?;
        let (json, stored_at) = json.ok_or_else(missing)?;
        if info_json::stated_id(&json).as_deref() != Some(id.as_str()) {
            return Err(missing());
        }
        let mut info = info_json::decode(&json, id)
            .map_err(|error| StorageError::new(ErrorKind::Corrupt, "read the info", error))?;
        info.place = None;
        Ok((info, parsed, stored_at))
    }

    /// The final upload that a marker speaks of. One that is finished was only not removed.
    async fn waiting_final(&self, marker: &str) -> Result<Option<UploadId>, StorageError> {
        let content = self.get(marker).await.map_err(failed("list waiting finals"))?;
        let id = content.and_then(|text| UploadId::parse(std::str::from_utf8(&text).ok()?).ok());
        let Some(id) = id else { return Ok(None) };
        // One without an info may just be being created.
        let is_finished = |(info, _): (Info, keys::Id)| info.own.is_some_and(|own| own.finished);
        if !self.info(&id).await.is_ok_and(is_finished) {
            return Ok(Some(id));
        }
        let _ = self.delete(vec![marker.to_owned()]).await;
        Ok(None)
    }

    /// The finished object of an upload, if it is there and of the right length.
    async fn finished(&self, info: &Info, name: &str) -> Result<Option<Record>, StorageError> {
        let key = self.key(name);
        let head = if_there(self.call("look at the object", || self.client.head_object(&key)).await);
        let head = head.map_err(failed("look at the object"))?;
        Ok(head.filter(|head| info.length.is_none_or(|length| length == head.size)).map(|head| {
            let info = Info { length: Some(head.size), ..info.clone() };
            Record { info, length: head.size, etag: head.etag.quoted(), modified: Some(head.modified) }
        }))
    }
}

impl Storage for S3Store {
    fn reserves(&self) -> bool {
        true
    }

    fn reserve(&self, info: &Info, is_chosen: bool) -> Op<UploadId> {
        let info = info.clone();
        self.op(move |shared| async move { shared.reserve(info, is_chosen).await })
    }

    fn release(&self, id: &UploadId) -> Op<()> {
        let id = id.clone();
        self.op(|shared| async move { shared.release(id).await })
    }

    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened> {
        self.op(|shared| shared.create(info, ticket))
    }

    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened> {
        let id = id.clone();
        self.op(|shared| shared.open(id, ticket))
    }

    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>> {
        let id = id.clone();
        self.op(|shared| async move {
            let (info, parsed) = shared.info(&id).await?;
            Ok(shared.finished(&info, &parsed.name).await?.map(|record| record.length))
        })
    }

    fn date(&self, record: &Record) -> Op<Record> {
        let info = record.info.clone();
        self.op(|shared| async move {
            let gone = || StorageError::new(ErrorKind::NotFound, "look at the object", "it is gone");
            let id = keys::Id::parse(info.id.as_str()).ok_or_else(gone)?;
            shared.finished(&info, &id.name).await?.ok_or_else(gone)
        })
    }

    fn reader(&self, record: &Record) -> Op<Box<dyn Reader>> {
        let (id, length) = (record.info.id.clone(), record.length);
        self.op(|shared| async move {
            let id = keys::Id::parse(id.as_str())
                .ok_or_else(|| StorageError::new(ErrorKind::NotFound, "open to read", "no such upload"))?;
            let key = shared.key(&id.name);
            Ok(Box::new(S3Reader::new(shared, key, length)) as Box<dyn Reader>)
        })
    }

    fn waiting_finals(&self) -> Op<Vec<UploadId>> {
        self.op(|shared| async move {
            let (mut found, mut after) = (Vec::new(), None);
            let prefix = shared.key(keys::FINALS);
            while found.len() < MOST_WAITING_FINALS {
                let list = || shared.client.list_objects(&prefix, after.clone(), 1000);
                let page = shared.call("list waiting finals", list).await.map_err(failed("list waiting finals"))?;
                for marker in page.entries {
                    found.extend(shared.waiting_final(&marker.key).await?);
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            Ok(found)
        })
    }

    fn scan(&self, cursor: Option<ScanCursor>, before: SystemTime, now: SystemTime) -> Op<ScanPage> {
        self.op(move |shared| async move { shared.scan(cursor, before, now).await })
    }

    fn close(&self) -> Op<()> {
        self.op(|shared| async move {
            shared.parts.close().await;
            Ok(())
        })
    }

    fn note(&self, name: &'static str, value: Option<String>) -> Op<Option<String>> {
        self.op(|shared| async move {
            let key = shared.key(&format!(".wharf/{name}"));
            let previous = shared.get(&key).await.map_err(failed("keep a note"))?;
            if let Some(value) = value {
                shared.put(&key, value.into(), Attributes::default()).await.map_err(failed("keep a note"))?;
            }
            Ok(previous.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        })
    }

    fn name(&self) -> &'static str {
        "s3"
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(S3Outbox(Arc::clone(&self.shared)))
    }

    fn places(&self, info: &Info) -> BTreeMap<String, String> {
        let name = keys::Id::parse(info.id.as_str()).map_or_else(|| info.id.to_string(), |id| id.name);
        let (bucket, key) = (self.shared.config.bucket.clone(), self.shared.key(&name));
        [("Bucket", bucket), ("Key", key), ("Type", "s3store".to_owned())]
            .map(|(key, place)| (key.to_owned(), place))
            .into()
    }

    fn look(&self, id: &UploadId) -> Op<Sighting> {
        let id = id.clone();
        self.op(|shared| async move { shared.sight(&id).await })
    }

    fn list(&self, after: Option<String>, limit: usize) -> Op<StorePage> {
        self.op(|shared| async move { shared.page(after, limit).await })
    }

    fn reachable(&self) -> Op<()> {
        self.op(|shared| async move { shared.reach().await })
    }

    fn report(&self) -> StoreReport {
        self.shared.report()
    }

    fn tune(&self, tuning: &StoreTuning) -> Result<(), StorageError> {
        self.shared.config.retry.set_deadline(tuning.retry_deadline);
        self.shared.parts.tune(tuning);
        Ok(())
    }
}
