//! Uploads in S3 and in what speaks S3, in tusd's layout: a multipart upload makes the object, `<key>.info` holds what is
//! known of it, and `<key>.part` the bytes behind the last part that are too few for one.
//!
//! An upload's id is its object's name, `+`, and the id of the multipart upload. One bucket and prefix belongs to one
//! wharf: nothing in S3 keeps a second one away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use slog::Logger;

use super::{
    ErrorKind, Op, Opened, Reader, ScanCursor, ScanPage, Sighting, Storage, StorageError, StorePage, StoreReport,
    StoreTuning, Ticket,
};
use crate::{Budget, Info, Record, UploadId, parts::Parts, storage::info_json};
use client::{Attributes, Call, Client, ClientError, ErrorKind as S3Error, ListedPart, MultipartMarker};
use keeper::Keeper;
use plan::Sizes;
use reader::S3Reader;
use retry::{RetryPolicy, retried};

mod blob;
pub mod client;
mod keeper;
mod keys;
mod plan;
mod reader;
pub mod retry;
mod show;
mod tail;

/// The most final uploads that are taken up again after a start; more are found in later starts.
const MOST_WAITING_FINALS: usize = 100_000;

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
    config: Config,
    sizes: Sizes,
    logger: Logger,
    keepers: AtomicU64,
}

impl S3Store {
    /// A store in a client's bucket, which brings parts there by the pool.
    #[must_use]
    pub fn new(config: Config, client: Arc<dyn Client>, parts: Parts, budget: Arc<Budget>, logger: Logger) -> Self {
        let sizes = Sizes { preferred: config.part_bytes };
        let keepers = AtomicU64::new(0);
        let client = parts.meters_of_calls().over(client);
        Self { shared: Arc::new(Shared { client, parts, budget, config, sizes, logger, keepers }) }
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
            let object = self.client.get_object(key, None);
            Box::pin(async move {
                let object = object.await?;
                let bytes = object.body.try_fold(BytesMut::new(), |mut all, piece| async move {
                    all.extend_from_slice(&piece);
                    Ok(all)
                });
                Ok((bytes.await?.freeze(), object.head.modified))
            })
        };
        if_there(self.call("read an object", read).await)
    }

    async fn put(&self, key: &str, bytes: Bytes, attributes: Attributes) -> Result<(), ClientError> {
        let put = || self.client.put_object(key, vec![bytes.clone()], attributes.clone(), false);
        self.call("put an object", put).await.map(|_| ())
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
        self.put(&keys::info(&self.key(name)), json, Attributes::default()).await.map_err(failed("write the info"))
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

    /// The finished object of an upload, if it is there and of the right length.
    async fn finished(&self, info: &Info, name: &str) -> Result<Option<Record>, StorageError> {
        let key = self.key(name);
        let head = if_there(self.call("look at the object", || self.client.head_object(&key)).await);
        let head = head.map_err(failed("look at the object"))?;
        Ok(head.filter(|head| info.length.is_none_or(|length| length == head.size)).map(|head| {
            let info = Info { length: Some(head.size), ..info.clone() };
            Record { info, length: head.size, etag: head.etag.quoted(), modified: head.modified }
        }))
    }

    async fn reserve(&self, info: Info) -> Result<UploadId, StorageError> {
        let (name, attributes) = (info.id.as_str().to_owned(), keys::attributes(&info));
        if name.contains('+') {
            return Err(StorageError::new(ErrorKind::Failed, "name the upload", "a + stands in the id"));
        }
        let key = self.key(&name);
        let taken = if_there(self.call("look for the id", || self.client.head_object(&keys::info(&key))).await);
        if taken.map_err(failed("look for the id"))?.is_some() {
            return Err(StorageError::new(ErrorKind::Exists, "create", "the id has an info already"));
        }
        let tries = AtomicU64::new(0);
        let create = || {
            tries.fetch_add(1, Ordering::Relaxed);
            self.client.create_multipart(&key, attributes.clone())
        };
        let multipart = self.call("begin a multipart upload", create).await.map_err(failed("create"))?;
        if tries.load(Ordering::Relaxed) > 1 {
            self.abort_others(&key, &multipart).await;
        }
        let id = keys::Id { name, multipart }.to_string();
        UploadId::parse(&id).map_err(|error| StorageError::new(ErrorKind::Failed, "name the upload", error))
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

    async fn abort(&self, key: &str, multipart: &str) -> Result<(), ClientError> {
        if_there(self.call("abort a multipart upload", || self.client.abort(key, multipart)).await).map(|_| ())
    }

    async fn release(&self, id: UploadId) -> Result<(), StorageError> {
        let Some(id) = keys::Id::parse(id.as_str()) else { return Ok(()) };
        self.abort(&self.key(&id.name), &id.multipart).await.map_err(failed("abort"))
    }

    async fn create(self: Arc<Self>, info: Info, ticket: Ticket) -> Result<Opened, StorageError> {
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
                    self.put(&key, json, Attributes::default()).await.map_err(failed("create"))
                }
                other => other.map(|_| ()).map_err(failed("create")),
            }
        };
        if let Err(error) = named.await {
            // Nobody got this upload: what can't be removed now is found by the reaper.
            let _ = self.abort(&self.key(&id.name), &id.multipart).await;
            if info.is_final() {
                let _ = self.delete(vec![self.key(&keys::waiting(&id.name))]).await;
            }
            return Err(error);
        }
        let keeper = Keeper::new(Arc::clone(&self), &id, info.clone(), plan::Plan::default(), None, ticket);
        let blob = Box::new(blob::S3Blob::start(keeper));
        Ok(Opened { blob, info, stored: 0, changed: SystemTime::now(), record: None })
    }

    async fn open(self: Arc<Self>, id: UploadId, ticket: Ticket) -> Result<Opened, StorageError> {
        let (mut info, parsed, stored_at) = self.dated_info(&id).await?;
        let is_marked = info.own.as_ref().is_some_and(|own| own.finished);
        let found = if is_marked { None } else { self.look(&mut info, &parsed).await? };
        let Some((plan, tail)) = found else {
            // Completed, or aborted by somebody: the object tells.
            let record = self.finished(&info, &parsed.name).await?;
            let gone = || StorageError::new(ErrorKind::NotFound, "open", "its multipart upload was aborted");
            let record = record.ok_or_else(gone)?;
            let keeper = Keeper::new(Arc::clone(&self), &parsed, info, plan::Plan::default(), None, ticket);
            let (info, stored, changed) = (record.info.clone(), record.length, record.modified);
            return Ok(Opened {
                blob: Box::new(blob::S3Blob::start(keeper)),
                info,
                stored,
                changed,
                record: Some(record),
            });
        };
        // Parts have no dates here; an upload that goes on for long has its expiry put off, in the info.
        let changed = tail.as_ref().map_or(stored_at, |tail| stored_at.max(tail.stored_at));
        let stored = if info.is_final() { 0 } else { plan.end() + tail.as_ref().map_or(0, |tail| tail.len) };
        let keeper = Keeper::new(Arc::clone(&self), &parsed, info.clone(), plan, tail, ticket);
        let blob = Box::new(blob::S3Blob::start(keeper));
        Ok(Opened { blob, info, stored, changed, record: None })
    }

    /// What S3 has of an unfinished upload: its parts and its tail. `None` when its multipart upload is gone.
    async fn look(
        &self,
        info: &mut Info,
        id: &keys::Id,
    ) -> Result<Option<(plan::Plan, Option<tail::Tail>)>, StorageError> {
        let key = self.key(&id.name);
        let Some(listed) = self.list_parts(&key, &id.multipart).await? else { return Ok(None) };
        let dropped = info.own.as_ref().map(|own| own.dropped_parts.clone()).unwrap_or_default();
        let (plan, stale) = plan::Plan::found(listed, &dropped);
        if !stale.is_empty() && !info.is_final() {
            // They lie behind a gap. Before a part can fill it, the others must be known not to count.
            info.own.get_or_insert_default().dropped_parts.extend(stale);
            self.save(info, &id.name).await?;
        }
        let tail = tail::find(self, &key, plan.end()).await.map_err(failed("look at the tail"))?;
        Ok(Some((plan, tail)))
    }

    /// All parts of a multipart upload; `None` when that is gone.
    async fn list_parts(&self, key: &str, multipart: &str) -> Result<Option<Vec<ListedPart>>, StorageError> {
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

    async fn scan(&self, after: Option<MultipartMarker>, before: SystemTime) -> Result<ScanPage, StorageError> {
        let prefix = self.config.prefix.clone();
        let page = self.call("list multipart uploads", || self.client.list_multiparts(&prefix, after.clone())).await;
        let page = page.map_err(failed("scan"))?;
        let mut candidates = Vec::new();
        for found in page.entries.into_iter().filter(|found| found.initiated < before) {
            let Some(name) = found.key.strip_prefix(&self.config.prefix) else { continue };
            let id = keys::Id { name: name.to_owned(), multipart: found.id.clone() }.to_string();
            let info =
                if_there(self.call("look for the info", || self.client.head_object(&keys::info(&found.key))).await);
            match (info.map_err(failed("scan"))?, UploadId::parse(&id)) {
                (Some(_), Ok(id)) => candidates.push(id),
                // Begun by a creation that never came to its end.
                (None, Ok(_)) => self.abort(&found.key, &found.id).await.map_err(failed("scan"))?,
                (_, Err(_)) => {}
            }
        }
        Ok(ScanPage { candidates, next: page.next.map(|next| ScanCursor(Box::new(next))) })
    }
}

impl Storage for S3Store {
    fn reserve(&self, info: &Info) -> Op<UploadId> {
        let info = info.clone();
        self.op(|shared| async move { shared.reserve(info).await })
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
                    let content = shared.get(&marker.key).await.map_err(failed("list waiting finals"))?;
                    let id = content.and_then(|text| UploadId::parse(std::str::from_utf8(&text).ok()?).ok());
                    found.extend(id);
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            Ok(found)
        })
    }

    fn scan(&self, cursor: Option<ScanCursor>, before: SystemTime, _now: SystemTime) -> Op<ScanPage> {
        let after =
            cursor.and_then(|ScanCursor(marker)| marker.downcast::<MultipartMarker>().ok()).map(|marker| *marker);
        self.op(|shared| async move { shared.scan(after, before).await })
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
