//! Uploads in memory, for tests of those who own them. It keeps the promises of the disk store, but for the crash.
#![expect(clippy::disallowed_types, reason = "test support: a shared map stands in for the disk")]

use std::{
    collections::BTreeMap,
    future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use dashmap::DashMap;

use super::{
    Blob, ErrorKind, Op, Opened, OutboxStore, Reader, ScanCursor, ScanPage, Sighting, Storage, StorageError, StorePage,
    StoreReport, StoreTuning, Ticket, Written,
};
use crate::{Info, Kind, Record, UploadId};

/// A store that forgets everything when its last clone is dropped.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Shelves>);

#[derive(Default)]
struct Shelves {
    uploads: DashMap<UploadId, Stored>,
    notes: DashMap<&'static str, String>,
    outbox: DashMap<String, Bytes>,
    serial: AtomicU64,
}

struct Stored {
    info: Info,
    bytes: Vec<u8>,
    staged: Option<u64>,
    changed: SystemTime,
    serial: u64,
}

impl Stored {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn cut(&mut self, to: u64) {
        self.bytes.truncate(usize::try_from(to).unwrap_or(usize::MAX));
        self.changed = SystemTime::now();
    }

    fn record(&self) -> Record {
        let age = self.changed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let etag = format!("\"{:x}-{:x}-{:x}\"", self.len(), age.as_nanos(), self.serial);
        Record { info: self.info.clone(), length: self.len(), etag, modified: Some(self.changed) }
    }

    fn sighting(&self) -> Sighting {
        let (stored, info) = (self.counted(), self.info.clone());
        let is_finished = info.is_finished(stored);
        Sighting { info, stored: Some(stored), changed: self.changed, is_finished, parts: None }
    }

    /// The bytes that count, which is all of them unless some are tentative.
    fn counted(&self) -> u64 {
        self.staged.map_or(self.len(), |base| base.min(self.len()))
    }
}

/// Does `work` when the operation is first polled, and holds the ticket meanwhile.
fn later<T: Send + 'static>(ticket: Ticket, work: impl FnOnce() -> Result<T, StorageError> + Send + 'static) -> Op<T> {
    Box::pin(async move {
        let result = work();
        drop(ticket);
        result
    })
}

fn missing() -> StorageError {
    StorageError::new(ErrorKind::NotFound, "find the upload", "not in memory")
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T: Send + 'static>(
        &self,
        id: &UploadId,
        ticket: Ticket,
        work: impl FnOnce(&mut Stored) -> Result<T, StorageError> + Send + 'static,
    ) -> Op<T> {
        let (shelves, id) = (Arc::clone(&self.0), id.clone());
        later(ticket, move || work(&mut *shelves.uploads.get_mut(&id).ok_or_else(missing)?))
    }

    fn blob(&self, id: &UploadId, ticket: Ticket) -> Box<dyn Blob> {
        Box::new(MemoryBlob { store: self.clone(), id: id.clone(), ticket })
    }
}

impl OutboxStore for MemoryStore {
    fn put(&self, name: String, content: Bytes) -> Op<()> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            shelves.outbox.insert(name, content);
            Ok(())
        })
    }

    fn read(&self, name: String) -> Op<Option<Bytes>> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || Ok(shelves.outbox.get(&name).map(|content| content.clone())))
    }

    fn remove(&self, name: String) -> Op<()> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            shelves.outbox.remove(&name);
            Ok(())
        })
    }

    fn list(&self, after: String, limit: usize) -> Op<Vec<String>> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            let mut names: Vec<_> = shelves.outbox.iter().map(|content| content.key().clone()).collect();
            names.retain(|name| *name > after);
            names.sort_unstable();
            names.truncate(limit);
            Ok(names)
        })
    }
}

impl Storage for MemoryStore {
    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened> {
        let store = self.clone();
        later(ticket.clone(), move || {
            let dashmap::Entry::Vacant(vacant) = store.0.uploads.entry(info.id.clone()) else {
                return Err(StorageError::new(ErrorKind::Exists, "create", "the id is taken"));
            };
            let (serial, changed) = (store.0.serial.fetch_add(1, Ordering::Relaxed), SystemTime::now());
            drop(vacant.insert(Stored { info: info.clone(), bytes: Vec::new(), staged: None, changed, serial }));
            Ok(Opened { blob: store.blob(&info.id, ticket), info, stored: 0, changed, record: None })
        })
    }

    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened> {
        let blob = self.blob(id, ticket.clone());
        self.with(id, ticket, |stored| {
            if let Some(base) = stored.staged.take() {
                stored.cut(base);
            }
            let record = stored.info.is_finished(stored.len()).then(|| stored.record());
            Ok(Opened { blob, info: stored.info.clone(), stored: stored.len(), changed: stored.changed, record })
        })
    }

    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>> {
        self.with(id, Ticket::unwatched(), |stored| {
            let counted = stored.counted();
            Ok(stored.info.is_finished(counted).then_some(counted))
        })
    }

    fn reader(&self, record: &Record) -> Op<Box<dyn Reader>> {
        self.with(&record.info.id, Ticket::unwatched(), |stored| {
            Ok(Box::new(MemoryReader(stored.bytes.clone().into())) as Box<dyn Reader>)
        })
    }

    fn waiting_finals(&self) -> Op<Vec<UploadId>> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            let waiting = |stored: &Stored| stored.info.is_final() && !stored.info.is_finished(stored.len());
            Ok(shelves.uploads.iter().filter(|stored| waiting(stored)).map(|stored| stored.key().clone()).collect())
        })
    }

    fn scan(&self, _: Option<ScanCursor>, before: SystemTime, now: SystemTime) -> Op<ScanPage> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            let now_secs = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let own_expiry = |stored: &Stored| stored.info.own.as_ref().and_then(|own| own.expires_at_secs);
            let stays = |stored: &Stored| stored.info.kind != Kind::Partial && stored.info.is_finished(stored.len());
            let is_late = |stored: &Stored| own_expiry(stored).is_some_and(|expiry| expiry < now_secs);
            let expired = |stored: &Stored| !stays(stored) && (stored.changed < before || is_late(stored));
            let candidates = shelves.uploads.iter().filter(|stored| expired(stored));
            Ok(ScanPage { candidates: candidates.map(|stored| stored.key().clone()).collect(), next: None })
        })
    }

    fn note(&self, name: &'static str, value: Option<String>) -> Op<Option<String>> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            Ok(match value {
                Some(value) => shelves.notes.insert(name, value),
                None => shelves.notes.get(name).map(|value| value.clone()),
            })
        })
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.clone())
    }

    fn places(&self, _: &Info) -> BTreeMap<String, String> {
        [("Type".to_owned(), "memory".to_owned())].into()
    }

    fn finishes_with_write(&self) -> bool {
        true
    }

    fn creates_whole(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn look(&self, id: &UploadId) -> Op<Sighting> {
        self.with(id, Ticket::unwatched(), |stored| Ok(stored.sighting()))
    }

    fn list(&self, after: Option<String>, limit: usize) -> Op<StorePage> {
        let shelves = Arc::clone(&self.0);
        later(Ticket::unwatched(), move || {
            let is_behind = |id: &UploadId| after.as_ref().is_none_or(|after| id.as_str() > after.as_str());
            let behind = shelves.uploads.iter().filter(|stored| is_behind(stored.key()));
            let mut uploads: Vec<_> = behind.map(|stored| stored.sighting()).collect();
            uploads.sort_by(|one, other| one.info.id.as_str().cmp(other.info.id.as_str()));
            let more = uploads.len() > limit;
            uploads.truncate(limit);
            let next = uploads.last().filter(|_| more).map(|last| last.info.id.as_str().to_owned());
            Ok(StorePage { uploads, next })
        })
    }

    fn reachable(&self) -> Op<()> {
        Box::pin(future::ready(Ok(())))
    }

    fn report(&self) -> StoreReport {
        StoreReport::default()
    }

    fn tune(&self, _: &StoreTuning) -> Result<(), StorageError> {
        Ok(())
    }
}

struct MemoryBlob {
    store: MemoryStore,
    id: UploadId,
    ticket: Ticket,
}

impl MemoryBlob {
    fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Stored) -> Result<T, StorageError> + Send + 'static,
    ) -> Op<T> {
        self.store.with(&self.id, self.ticket.clone(), work)
    }
}

impl Blob for MemoryBlob {
    fn write(&mut self, at: u64, data: Vec<Bytes>) -> Op<Written> {
        self.with(move |stored| {
            assert_eq!(at, stored.len(), "a write begins where the bytes end");
            let before = stored.len();
            data.iter().for_each(|bytes| stored.bytes.extend_from_slice(bytes));
            stored.changed = SystemTime::now();
            Ok(Written { len: stored.len() - before, failure: None })
        })
    }

    fn sync(&mut self) -> Op<()> {
        self.with(|_| Ok(()))
    }

    fn cut(&mut self, to: u64) -> Op<()> {
        self.with(move |stored| {
            stored.cut(to);
            Ok(())
        })
    }

    fn stage(&mut self, base: u64) -> Op<()> {
        self.with(move |stored| {
            stored.staged = Some(base);
            Ok(())
        })
    }

    fn keep(&mut self) -> Op<()> {
        self.with(|stored| {
            stored.staged = None;
            Ok(())
        })
    }

    fn discard(&mut self, base: u64) -> Op<()> {
        self.with(move |stored| {
            stored.cut(base);
            stored.staged = None;
            Ok(())
        })
    }

    fn save(&mut self, info: Info) -> Op<()> {
        self.with(|stored| {
            stored.info = info;
            Ok(())
        })
    }

    fn finish(&mut self, info: Info) -> Op<Record> {
        self.with(|stored| {
            stored.info = info;
            Ok(stored.record())
        })
    }

    fn concatenate(&mut self, partials: Vec<UploadId>) -> Op<u64> {
        let (shelves, id) = (Arc::clone(&self.store.0), self.id.clone());
        later(self.ticket.clone(), move || {
            let mut bytes = Vec::new();
            for partial in partials {
                let partial = shelves.uploads.get(&partial).ok_or_else(missing)?;
                if !partial.info.is_finished(partial.counted()) {
                    let cause = "a partial upload is not finished";
                    return Err(StorageError::new(ErrorKind::Failed, "concatenate", cause));
                }
                bytes.extend_from_slice(&partial.bytes);
            }
            let mut own = shelves.uploads.get_mut(&id).ok_or_else(missing)?;
            own.bytes = bytes;
            own.changed = SystemTime::now();
            Ok(own.len())
        })
    }

    // Nothing of it takes long.
    fn give_up(&mut self) {}

    fn delete(&mut self) -> Op<()> {
        let (shelves, id) = (Arc::clone(&self.store.0), self.id.clone());
        later(self.ticket.clone(), move || {
            shelves.uploads.remove(&id);
            Ok(())
        })
    }

    fn rest(&mut self) {}
}

struct MemoryReader(Bytes);

impl Reader for MemoryReader {
    fn read(&mut self, at: u64, len: usize) -> Op<Bytes> {
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let bytes = self.0.slice(start..start.saturating_add(len).min(self.0.len()));
        Box::pin(future::ready(Ok(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;

    #[actix_rt::test]
    async fn memory_keeps_the_promises() {
        conformance::run(|| Arc::new(MemoryStore::new())).await;
    }
}
