//! A store whose operations are timed, each by its name, as their askers see them: with the wait for a thread or a worker.
//! Whoever waits for an operation in a way of its own (the directory for an upload to be opened, an owner for its blob) times
//! it there, by a [`Run`]; all others are timed by [`Metered`], in a future around theirs.

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
    ErrorKind, LastWrite, Op, Opened, OperationMeter, OutboxStore, Reader, ScanCursor, ScanPage, Sent, Sighting,
    Storage, StorageError, StorePage, StoreReport, StoreTuning, Ticket, Wait, Whole, Written,
};
use crate::{
    Info, Record, UploadId,
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
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    Reserve,
    Release,
    Create,
    CreateWhole,
    Open,
    FinishedLength,
    Date,
    OpenReader,
    WaitingFinals,
    Scan,
    Note,
    Look,
    List,
    Reachable,
    Write,
    WriteLast,
    Draw,
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

const NAMES: [&str; 27] = [
    "reserve",
    "release",
    "create",
    "create_whole",
    "open",
    "finished_length",
    "date",
    "open_reader",
    "waiting_finals",
    "scan",
    "note",
    "look",
    "list",
    "reachable",
    "write",
    "write_last",
    "draw",
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
pub(crate) struct Meters([Meter; NAMES.len()]);

/// One operation under way. Dropped before its end, nobody waits for that any more.
pub(crate) struct Run {
    meters: Arc<Meters>,
    name: Name,
    began_nanos: u64,
    ended: bool,
}

impl Meters {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(NAMES.map(Meter::new)))
    }

    /// An operation begins, at this moment.
    pub(crate) fn begin(self: &Arc<Self>, name: Name, now_nanos: u64) -> Run {
        self.0[name as usize].begin();
        Run { meters: Arc::clone(self), name, began_nanos: now_nanos, ended: false }
    }

    fn time<T: Send + 'static>(self: &Arc<Self>, name: Name, op: Op<T>) -> Op<T> {
        Box::pin(Timed { op, meters: Arc::clone(self), name, run: None })
    }
}

impl Run {
    /// It has come to its end, at this moment, and failed in this way. Returns how many nanoseconds it has taken.
    pub(crate) fn end(mut self, now_nanos: u64, failure: Option<ErrorKind>) -> u64 {
        self.ended = true;
        let took_nanos = now_nanos.saturating_sub(self.began_nanos);
        let meter = &self.meters.0[self.name as usize];
        meter.leave();
        meter.end(took_nanos, failure.map(place_of));
        took_nanos
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            let meter = &self.meters.0[self.name as usize];
            meter.leave();
            meter.end(now_nanos().saturating_sub(self.began_nanos), Some(FAILURES.len() - 1));
        }
    }
}

/// What an operation brings, which may speak of a failure although it is a result.
pub(crate) trait Outcome {
    /// How it has failed.
    fn failure(&self) -> Option<ErrorKind> {
        None
    }
}

impl Outcome for () {}

impl Outcome for u64 {}

impl Outcome for Record {}

impl Outcome for Opened {}

impl Outcome for Whole {
    fn failure(&self) -> Option<ErrorKind> {
        match self {
            Self::Finished(_) => None,
            Self::Cut(_, error) => Some(error.kind),
        }
    }
}

impl Outcome for Written {
    fn failure(&self) -> Option<ErrorKind> {
        self.failure.as_ref().map(|error| error.kind)
    }
}

impl Outcome for LastWrite {
    fn failure(&self) -> Option<ErrorKind> {
        match (&self.written.failure, &self.record) {
            (Some(error), _) | (None, Some(Err(error))) => Some(error.kind),
            (None, _) => None,
        }
    }
}

impl<T: Outcome> Outcome for Result<T, StorageError> {
    fn failure(&self) -> Option<ErrorKind> {
        self.as_ref().map_or_else(|error| Some(error.kind), Outcome::failure)
    }
}

/// An operation that is timed from its first poll on.
struct Timed<T> {
    op: Op<T>,
    meters: Arc<Meters>,
    name: Name,
    run: Option<Run>,
}

impl<T> Unpin for Timed<T> {}

impl<T> Future for Timed<T> {
    type Output = Result<T, StorageError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { op, meters, name, run } = &mut *self;
        run.get_or_insert_with(|| meters.begin(*name, now_nanos()));
        let result = ready!(op.as_mut().poll(context));
        if let Some(run) = run.take() {
            run.end(now_nanos(), result.as_ref().err().map(|error| error.kind));
        }
        Poll::Ready(result)
    }
}

/// See the module.
pub(crate) struct Metered {
    store: Arc<dyn Storage>,
    meters: Arc<Meters>,
}

impl Metered {
    /// Meters what is asked of `store`, but for creating and opening uploads.
    pub(crate) fn over(store: Arc<dyn Storage>, meters: &Arc<Meters>) -> Arc<dyn Storage> {
        if METERED { Arc::new(Self { store, meters: Arc::clone(meters) }) } else { store }
    }
}

impl Storage for Metered {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn finishes_with_write(&self) -> bool {
        self.store.finishes_with_write()
    }

    fn draws(&self) -> bool {
        self.store.draws()
    }

    fn reserves(&self) -> bool {
        self.store.reserves()
    }

    fn reserve(&self, info: &Info, is_chosen: bool) -> Op<UploadId> {
        self.meters.time(Name::Reserve, self.store.reserve(info, is_chosen))
    }

    fn release(&self, id: &UploadId) -> Op<()> {
        self.meters.time(Name::Release, self.store.release(id))
    }

    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened> {
        self.store.create(info, ticket)
    }

    fn create_whole(&self, info: Info, data: Vec<Bytes>, ticket: Ticket) -> Op<Whole> {
        self.store.create_whole(info, data, ticket)
    }

    fn creates_whole(&self) -> bool {
        self.store.creates_whole()
    }

    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened> {
        self.store.open(id, ticket)
    }

    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>> {
        self.meters.time(Name::FinishedLength, self.store.finished_length(id))
    }

    fn date(&self, record: &Record) -> Op<Record> {
        self.meters.time(Name::Date, self.store.date(record))
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

    fn metered(meters: &Arc<Meters>) -> Arc<dyn Storage> {
        Metered::over(Arc::new(MemoryStore::new()), meters)
    }

    #[actix_rt::test]
    async fn a_metered_store_keeps_the_promises() {
        conformance::run(|| metered(&Meters::new())).await;
    }

    #[actix_rt::test]
    async fn operations_are_counted_by_name_and_failures_by_kind() {
        for (name, text) in [
            (Name::Read, "read"),
            (Name::CreateWhole, "create_whole"),
            (Name::WriteLast, "write_last"),
            (Name::Draw, "draw"),
        ] {
            assert_eq!(NAMES[name as usize], text);
        }
        let meters = Meters::new();
        let store = metered(&meters);
        assert_eq!(store.report().operations, []);
        let mut blob = store.create(info("a", Some(2)), Ticket::unwatched()).await.unwrap().blob;
        blob.write(0, vec![Bytes::from_static(b"ab")]).await.unwrap();
        let record = blob.finish(finished(info("a", None), 2)).await.unwrap();
        for _ in 0..2 {
            store.reader(&record).await.unwrap().read(0, 9).await.unwrap();
        }
        assert!(store.look(&id("b")).await.is_err());
        drop(store.reachable());
        let seen: Vec<_> =
            store.report().operations.into_iter().map(|seen| (seen.operation, seen.count, seen.failures)).collect();
        assert_eq!(seen, [("open_reader", 2, vec![]), ("look", 1, vec![("not_found", 1)]), ("read", 2, vec![])]);
    }

    #[test]
    fn one_that_is_left_is_abandoned_and_one_that_ends_has_its_time() {
        let meters = Meters::new();
        let seen = || meters.0[Name::Sync as usize].report("memory", &FAILURES);
        let (left, ended) = (meters.begin(Name::Sync, 5), meters.begin(Name::Sync, 7));
        assert_eq!((seen().count, seen().under_way), (0, 2));
        assert_eq!(ended.end(10, Some(ErrorKind::NoSpace)), 3);
        assert_eq!((seen().count, seen().under_way, seen().sum.as_nanos()), (1, 1, 3));
        drop(left);
        assert_eq!((seen().count, seen().under_way), (2, 0));
        assert_eq!(seen().failures, [("no_space", 1), ("abandoned", 1)]);
    }

    #[test]
    fn a_write_may_have_failed_although_it_has_a_result() {
        let error = |kind| StorageError::new(kind, "write", "no");
        let written = |failure| Written { len: 1, failure };
        let (stored, full) = (written(None), written(Some(error(ErrorKind::NoSpace))));
        assert_eq!((stored.failure(), full.failure()), (None, Some(ErrorKind::NoSpace)));
        let last = |written: &Written, record| LastWrite { written: written.clone(), record };
        assert_eq!(last(&full, None).failure(), Some(ErrorKind::NoSpace));
        assert_eq!(last(&stored, Some(Err(error(ErrorKind::Corrupt)))).failure(), Some(ErrorKind::Corrupt));
        assert_eq!(Err::<Written, _>(error(ErrorKind::Failed)).failure(), Some(ErrorKind::Failed));
        assert_eq!(Ok::<_, StorageError>(stored).failure(), None);
    }
}
