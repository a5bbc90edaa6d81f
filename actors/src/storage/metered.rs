//! A store whose operations are timed, each by its name, as their askers see them: with the wait for a thread or a worker.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    Blob, ErrorKind, LastWrite, Op, Opened, OperationMeter, OutboxStore, PartReport, Reader, ScanCursor, ScanPage,
    Sent, Sighting, Storage, StorageError, StorePage, StoreReport, StoreTuning, Ticket, Wait, Written,
};
use crate::{
    Info, Record, Share, UploadId,
    post::{METERED, now_nanos},
};

/// How an operation may fail; the last: nobody waited for its end.
const FAILURES: [&str; 7] = ["not_found", "exists", "no_space", "too_large", "corrupt", "failed", "abandoned"];

type Meter = OperationMeter<{ FAILURES.len() }>;

fn place_of(kind: ErrorKind) -> usize {
    match kind {
        ErrorKind::NotFound => 0,
        ErrorKind::Exists => 1,
        ErrorKind::NoSpace => 2,
        ErrorKind::TooLarge => 3,
        ErrorKind::Corrupt => 4,
        ErrorKind::Failed => 5,
    }
}

/// The operations of stores, blobs and readers.
#[derive(Clone, Copy)]
enum Name {
    Reserve,
    Release,
    Create,
    Open,
    FinishedLength,
    OpenReader,
    WaitingFinals,
    Scan,
    Note,
    Look,
    List,
    Reachable,
    Write,
    WriteLast,
    Sync,
    Cut,
    Stage,
    Keep,
    Discard,
    Save,
    Finish,
    Concatenate,
    Delete,
    Read,
}

const NAMES: [&str; 24] = [
    "reserve",
    "release",
    "create",
    "open",
    "finished_length",
    "open_reader",
    "waiting_finals",
    "scan",
    "note",
    "look",
    "list",
    "reachable",
    "write",
    "write_last",
    "sync",
    "cut",
    "stage",
    "keep",
    "discard",
    "save",
    "finish",
    "concatenate",
    "delete",
    "read",
];

/// A meter for each operation.
struct Meters([Meter; NAMES.len()]);

/// One operation under way.
struct Run {
    meters: Arc<Meters>,
    name: Name,
    began_nanos: u64,
    ended: bool,
}

impl Run {
    fn of(meters: &Arc<Meters>, name: Name) -> Self {
        meters.0[name as usize].begin();
        Self { meters: Arc::clone(meters), name, began_nanos: now_nanos(), ended: false }
    }

    fn took_nanos(&self) -> u64 {
        now_nanos().saturating_sub(self.began_nanos)
    }

    fn end(mut self, failure: Option<ErrorKind>) {
        self.ended = true;
        self.meters.0[self.name as usize].end(self.took_nanos(), failure.map(place_of));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let meter = &self.meters.0[self.name as usize];
        meter.leave();
        if !self.ended {
            meter.end(self.took_nanos(), Some(FAILURES.len() - 1));
        }
    }
}

/// An operation that is timed from its first poll on.
struct Timed<T> {
    op: Op<T>,
    meters: Arc<Meters>,
    name: Name,
    /// How it has failed although it has a result.
    failure: fn(&T) -> Option<ErrorKind>,
    run: Option<Run>,
}

impl<T> Unpin for Timed<T> {}

impl<T> Future for Timed<T> {
    type Output = Result<T, StorageError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, meters, name, failure, run } = &mut *self;
        run.get_or_insert_with(|| Run::of(meters, *name));
        let result = ready!(op.as_mut().poll(context));
        if let Some(run) = run.take() {
            run.end(result.as_ref().map_or_else(|error| Some(error.kind), failure));
        }
        Poll::Ready(result)
    }
}

impl Meters {
    fn time<T: Send + 'static>(self: &Arc<Self>, name: Name, op: Op<T>) -> Op<T> {
        self.judge(name, op, |_| None)
    }

    /// The same, for one that may fail although it has a result.
    fn judge<T: Send + 'static>(
        self: &Arc<Self>,
        name: Name,
        op: Op<T>,
        failure: fn(&T) -> Option<ErrorKind>,
    ) -> Op<T> {
        if METERED { Box::pin(self.timed(name, op, failure)) } else { op }
    }

    fn timed<T>(self: &Arc<Self>, name: Name, op: Op<T>, failure: fn(&T) -> Option<ErrorKind>) -> Timed<T> {
        Timed { op, meters: Arc::clone(self), name, failure, run: None }
    }

    /// A blob that comes of it is metered as well.
    fn opened(self: &Arc<Self>, name: Name, op: Op<Opened>) -> Op<Opened> {
        let (op, meters) = (self.timed(name, op, |_| None), Arc::clone(self));
        Box::pin(async move {
            let opened = op.await?;
            Ok(Opened { blob: Box::new(MeteredBlob { blob: opened.blob, meters }), ..opened })
        })
    }
}

/// See the module.
pub struct Metered {
    store: Arc<dyn Storage>,
    meters: Arc<Meters>,
}

impl Metered {
    /// Meters what is asked of `store`.
    pub fn over(store: Arc<dyn Storage>) -> Arc<dyn Storage> {
        if !METERED {
            return store;
        }
        let meters = Arc::new(Meters(NAMES.map(Meter::new)));
        Arc::new(Self { store, meters })
    }
}

impl Storage for Metered {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn finishes_with_write(&self) -> bool {
        self.store.finishes_with_write()
    }

    fn reserve(&self, info: &Info) -> Op<UploadId> {
        self.meters.time(Name::Reserve, self.store.reserve(info))
    }

    fn release(&self, id: &UploadId) -> Op<()> {
        self.meters.time(Name::Release, self.store.release(id))
    }

    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened> {
        self.meters.opened(Name::Create, self.store.create(info, ticket))
    }

    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened> {
        self.meters.opened(Name::Open, self.store.open(id, ticket))
    }

    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>> {
        self.meters.time(Name::FinishedLength, self.store.finished_length(id))
    }

    fn reader(&self, record: &Record) -> Op<Box<dyn Reader>> {
        let (op, meters) = (self.meters.time(Name::OpenReader, self.store.reader(record)), Arc::clone(&self.meters));
        Box::pin(async move { Ok(Box::new(MeteredReader { reader: op.await?, meters }) as Box<dyn Reader>) })
    }

    fn waiting_finals(&self) -> Op<Vec<UploadId>> {
        self.meters.time(Name::WaitingFinals, self.store.waiting_finals())
    }

    fn scan(&self, cursor: Option<ScanCursor>, before: SystemTime, now: SystemTime) -> Op<ScanPage> {
        self.meters.time(Name::Scan, self.store.scan(cursor, before, now))
    }

    fn close(&self) -> Op<()> {
        self.store.close()
    }

    fn note(&self, name: &'static str, value: Option<String>) -> Op<Option<String>> {
        self.meters.time(Name::Note, self.store.note(name, value))
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        self.store.outbox()
    }

    fn places(&self, info: &Info) -> BTreeMap<String, String> {
        self.store.places(info)
    }

    fn look(&self, id: &UploadId) -> Op<Sighting> {
        self.meters.time(Name::Look, self.store.look(id))
    }

    fn list(&self, after: Option<String>, limit: usize) -> Op<StorePage> {
        self.meters.time(Name::List, self.store.list(after, limit))
    }

    fn reachable(&self) -> Op<()> {
        self.meters.time(Name::Reachable, self.store.reachable())
    }

    fn report(&self) -> StoreReport {
        let mut report = self.store.report();
        let operations = self.meters.0.iter().map(|meter| meter.report(self.name(), &FAILURES));
        let mut used: Vec<_> = operations.filter(|operation| operation.count + operation.under_way > 0).collect();
        used.append(&mut report.operations);
        report.operations = used;
        report
    }

    fn waits(&self) -> Vec<Wait> {
        self.store.waits()
    }

    fn tune(&self, tuning: &StoreTuning) -> Result<(), StorageError> {
        self.store.tune(tuning)
    }
}

struct MeteredBlob {
    blob: Box<dyn Blob>,
    meters: Arc<Meters>,
}

impl Blob for MeteredBlob {
    fn write(&mut self, at: u64, data: Vec<Bytes>) -> Op<Written> {
        let written = self.blob.write(at, data);
        self.meters.judge(Name::Write, written, |written| written.failure.as_ref().map(|error| error.kind))
    }

    fn write_last(&mut self, at: u64, data: Vec<Bytes>, info: Info) -> Op<LastWrite> {
        let op = self.blob.write_last(at, data, info);
        self.meters.judge(Name::WriteLast, op, |last| match (&last.written.failure, &last.record) {
            (Some(error), _) | (None, Some(Err(error))) => Some(error.kind),
            (None, _) => None,
        })
    }

    fn take_over(&mut self, shares: Vec<Share>) -> Vec<Share> {
        self.blob.take_over(shares)
    }

    fn durable(&self) -> Option<u64> {
        self.blob.durable()
    }

    fn parts(&self) -> Option<Vec<PartReport>> {
        self.blob.parts()
    }

    fn sync(&mut self) -> Op<()> {
        self.meters.time(Name::Sync, self.blob.sync())
    }

    fn cut(&mut self, to: u64) -> Op<()> {
        self.meters.time(Name::Cut, self.blob.cut(to))
    }

    fn stage(&mut self, base: u64) -> Op<()> {
        self.meters.time(Name::Stage, self.blob.stage(base))
    }

    fn keep(&mut self) -> Op<()> {
        self.meters.time(Name::Keep, self.blob.keep())
    }

    fn discard(&mut self, base: u64) -> Op<()> {
        self.meters.time(Name::Discard, self.blob.discard(base))
    }

    fn save(&mut self, info: Info) -> Op<()> {
        self.meters.time(Name::Save, self.blob.save(info))
    }

    fn finish(&mut self, info: Info) -> Op<Record> {
        self.meters.time(Name::Finish, self.blob.finish(info))
    }

    fn concatenate(&mut self, partials: Vec<UploadId>) -> Op<u64> {
        self.meters.time(Name::Concatenate, self.blob.concatenate(partials))
    }

    fn give_up(&mut self) {
        self.blob.give_up();
    }

    fn delete(&mut self) -> Op<()> {
        self.meters.time(Name::Delete, self.blob.delete())
    }

    fn rest(&mut self) {
        self.blob.rest();
    }
}

struct MeteredReader {
    reader: Box<dyn Reader>,
    meters: Arc<Meters>,
}

impl Reader for MeteredReader {
    fn read(&mut self, at: u64, len: usize) -> Op<Bytes> {
        self.meters.time(Name::Read, self.reader.read(at, len))
    }

    fn can_send(&self) -> bool {
        self.reader.can_send()
    }

    fn send(&mut self, socket: Arc<OwnedFd>, at: u64, len: usize) -> Op<Sent> {
        self.meters.time(Name::Read, self.reader.send(socket, at, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{
        conformance::{self, finished, id, info},
        memory::MemoryStore,
    };

    #[actix_rt::test]
    async fn a_metered_store_keeps_the_promises() {
        conformance::run(|| Metered::over(Arc::new(MemoryStore::new()))).await;
    }

    #[actix_rt::test]
    async fn operations_are_counted_by_name_and_failures_by_kind() {
        assert_eq!(NAMES[Name::Read as usize], "read");
        assert_eq!(NAMES[Name::Write as usize], "write");
        assert_eq!(NAMES[Name::WriteLast as usize], "write_last");
        let store = Metered::over(Arc::new(MemoryStore::new()));
        assert_eq!(store.report().operations, []);
        let mut blob = store.create(info("a", Some(4)), Ticket::unwatched()).await.unwrap().blob;
        for at in [0, 2] {
            blob.write(at, vec![Bytes::from_static(b"ab")]).await.unwrap();
        }
        let record = blob.finish(finished(info("a", None), 4)).await.unwrap();
        store.reader(&record).await.unwrap().read(0, 9).await.unwrap();
        assert!(store.open(&id("b"), Ticket::unwatched()).await.is_err());
        drop(blob.sync());
        let mut abandoned = blob.sync();
        // A blob whose operation never ends by itself is not at hand, so the run is dropped by hand.
        let meters = Arc::new(Meters(NAMES.map(Meter::new)));
        drop(Run::of(&meters, Name::Sync));
        let left = meters.0[Name::Sync as usize].report("memory", &FAILURES);
        assert_eq!((left.count, left.under_way, left.failures), (1, 0, vec![("abandoned", 1)]));
        abandoned.as_mut().await.unwrap();
        let seen: Vec<_> =
            store.report().operations.into_iter().map(|seen| (seen.operation, seen.count, seen.failures)).collect();
        let none = Vec::new;
        assert_eq!(
            seen,
            [
                ("create", 1, none()),
                ("open", 1, vec![("not_found", 1)]),
                ("open_reader", 1, none()),
                ("write", 2, none()),
                ("sync", 1, none()),
                ("finish", 1, none()),
                ("read", 1, none()),
            ]
        );
    }
}
