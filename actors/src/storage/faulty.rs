//! A store that fails on demand, for tests of the whole service: a control file says what goes wrong next.
//!
//! The file is read anew before each operation. Each line is one fault, used up after so many operations, or never:
//!
//! ```text
//! nospace write 3            the next 3 writes find the store full
//! fail sync 1                also: write, finish, save, delete, open, create, read,
//!                            look, list, reachable, note_event, read_event, remove_event
//! stall write 500 always     every write begins 500 ms late
//! hold write 1               the next write begins when the file is written again; `<file>.held` tells that it waits
//! panic append 1             [`Faults::trip`] tells the owner to panic
//! hold inspect 1             the same words make the owner itself stand still, and its whole arbiter with it
//! ```
//!
//! What is used up is kept in memory; a file that is written again starts anew.
#![expect(clippy::disallowed_types, reason = "test support: what is used up is shared by all that fail")]

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use dashmap::DashMap;

mod blob;
mod outbox;
mod reader;

use blob::FaultyBlob;
use outbox::FaultyOutbox;
use reader::FaultyReader;

use super::{
    ErrorKind, Op, Opened, OutboxStore, Reader, ScanCursor, ScanPage, Sighting, Storage, StorageError, StorePage,
    StoreReport, StoreTuning, Ticket, Wait, Whole,
};
use crate::{Info, Record, UploadId};

/// The environment variable that names the control file of the process.
pub const VARIABLE: &str = "WHARF_FAULTS";

/// How often a held operation looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A control file, and what of it is used up.
#[derive(Debug)]
pub struct Faults {
    path: PathBuf,
    /// At most one entry, the file as last read. A map only because its entries can be changed by many.
    read: DashMap<(), Script>,
}

/// The inode, the time and the text of a control file; nothing when there is none.
type Version = Option<(u64, i64, i64, String)>;

#[derive(Debug)]
struct Script {
    version: Version,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    fault: Fault,
    operation: String,
    /// How often it still happens; `None` for always.
    left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoSpace,
    Fail,
    Stall(Duration),
    Hold,
    Panic,
}

/// What an operation waits for before it begins.
enum Delay {
    Time(Duration),
    /// The control file is no longer this one.
    Rewrite(Arc<Faults>, Version),
}

impl Faults {
    /// Faults as the file at `path` tells them; none while it is missing.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), read: DashMap::new() })
    }

    /// The faults of this process: those that [`VARIABLE`] names, if it is set.
    pub fn of_process() -> Option<&'static Arc<Self>> {
        static FAULTS: OnceLock<Option<Arc<Faults>>> = OnceLock::new();
        FAULTS.get_or_init(|| std::env::var_os(VARIABLE).map(|path| Self::at(PathBuf::from(path)))).as_ref()
    }

    /// Whether the owner is to panic now, at what `kind` names (`inspect`, `append`, `read`). Uses up one count.
    #[must_use]
    pub fn trip(&self, kind: &str) -> bool {
        self.take(kind, |fault| fault == Fault::Panic).is_some()
    }

    /// Keeps the owner, whose thread this is, from going on, if a line says so.
    #[expect(clippy::disallowed_methods, reason = "a thread that stands still is what was asked for")]
    fn block(&self, kind: &str) {
        match self.take(kind, |fault| matches!(fault, Fault::Stall(_) | Fault::Hold)) {
            Some(Fault::Stall(time)) => thread::sleep(time),
            Some(Fault::Hold) => {
                let version = self.version();
                // A test that can't see it waits in vain, and says so.
                let _ = fs::write(held_file(&self.path), "");
                while self.version() == version {
                    thread::sleep(LOOK_EVERY);
                }
            }
            _ => {}
        }
    }

    /// Uses up one count of the first line that fits.
    fn take(&self, operation: &str, wanted: impl Fn(Fault) -> bool) -> Option<Fault> {
        let version = self.version();
        let mut script = self.read.entry(()).or_insert_with(|| Script::new(version.clone()));
        if script.version != version {
            *script = Script::new(version);
        }
        let fits = |line: &&mut Line| line.operation == operation && line.left != Some(0) && wanted(line.fault);
        let line = script.lines.iter_mut().find(fits)?;
        line.left = line.left.map(|left| left - 1);
        Some(line.fault)
    }

    /// The control file as it is now.
    fn version(&self) -> Version {
        let metadata = fs::metadata(&self.path).ok()?;
        let text = fs::read_to_string(&self.path).ok()?;
        Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), text))
    }

    /// How an operation goes wrong, if it does: first a delay, then a failure.
    fn plan(self: &Arc<Self>, operation: &'static str) -> Plan {
        let delay = match self.take(operation, |fault| matches!(fault, Fault::Stall(_) | Fault::Hold)) {
            Some(Fault::Stall(time)) => Some(Delay::Time(time)),
            Some(Fault::Hold) => Some(Delay::Rewrite(Arc::clone(self), self.version())),
            _ => None,
        };
        let failure = self.take(operation, |fault| matches!(fault, Fault::NoSpace | Fault::Fail)).map(|fault| {
            let kind = if fault == Fault::NoSpace { ErrorKind::NoSpace } else { ErrorKind::Failed };
            StorageError::new(kind, operation, "a fault was asked for")
        });
        Plan { delay, failure }
    }
}

impl Script {
    fn new(version: Version) -> Self {
        let lines = version.iter().flat_map(|version| version.3.lines()).filter_map(parse).collect();
        Self { version, lines }
    }
}

/// A line of the control file; lines that are none are ignored, a half-written one among them.
fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (fault, operation, count) = match words[..] {
        ["nospace", operation, count] => (Fault::NoSpace, operation, count),
        ["fail", operation, count] => (Fault::Fail, operation, count),
        ["hold", operation, count] => (Fault::Hold, operation, count),
        ["panic", operation, count] => (Fault::Panic, operation, count),
        ["stall", operation, millis, count] => {
            (Fault::Stall(Duration::from_millis(millis.parse().ok()?)), operation, count)
        }
        _ => return None,
    };
    let left = if count == "always" { None } else { Some(count.parse().ok()?) };
    Some(Line { fault, operation: operation.to_owned(), left })
}

/// Whether the owner is to panic now, by the faults of this process. See [`Faults::trip`].
#[must_use]
pub fn trip(kind: &str) -> bool {
    Faults::of_process().is_some_and(|faults| {
        faults.block(kind);
        faults.trip(kind)
    })
}

/// What befalls one operation.
struct Plan {
    delay: Option<Delay>,
    failure: Option<StorageError>,
}

impl Plan {
    /// The operation as planned. A stalled one goes on to its end though nobody waits for it any more.
    fn carry_out<T: Send + 'static>(
        self,
        op: Op<T>,
        failed: impl FnOnce(StorageError) -> Result<T, StorageError> + Send + 'static,
    ) -> Op<T> {
        let Self { delay, failure } = self;
        let outcome: Op<T> = match failure {
            // The operation is never polled, so nothing is done; what it holds is held for as long as it waits.
            Some(error) => Box::pin(async move {
                drop(op);
                failed(error)
            }),
            None => op,
        };
        match delay {
            None => outcome,
            Some(delay) => Box::pin(async move { delayed(delay, outcome).await }),
        }
    }
}

impl Delay {
    async fn pass(self) {
        match self {
            Self::Time(time) => tokio::time::sleep(time).await,
            Self::Rewrite(faults, version) => {
                // A test that can't see it waits in vain, and says so.
                let _ = fs::write(held_file(&faults.path), "");
                while faults.version() == version {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }
}

/// Waits and then does `op`, in a task of its own.
async fn delayed<T: Send + 'static>(delay: Delay, op: Op<T>) -> Result<T, StorageError> {
    let task = tokio::spawn(async move {
        delay.pass().await;
        op.await
    });
    task.await.unwrap_or_else(|error| Err(broken(error)))
}

/// What tells that an operation is held: `<file>.held`.
fn held_file(path: &Path) -> PathBuf {
    path.with_added_extension("held")
}

fn broken(error: impl Display) -> StorageError {
    StorageError::new(ErrorKind::Failed, "stall", error.to_string())
}

/// What a faulty store hands out.
fn handed(opened: Opened, faults: Arc<Faults>) -> Opened {
    Opened { blob: Box::new(FaultyBlob { blob: opened.blob, faults }), ..opened }
}

/// A store whose operations go wrong as the control file says.
pub struct Faulty<S> {
    store: S,
    faults: Arc<Faults>,
}

impl<S: Storage> Faulty<S> {
    /// Wraps `store`.
    pub fn new(store: S, faults: Arc<Faults>) -> Self {
        Self { store, faults }
    }

    fn plan<T: Send + 'static>(&self, operation: &'static str, op: Op<T>) -> Op<T> {
        self.faults.plan(operation).carry_out(op, Err)
    }

    /// The same, and the handle that comes of it is faulty, too.
    fn plan_opened(&self, operation: &'static str, op: Op<Opened>) -> Op<Opened> {
        let (op, faults) = (self.plan(operation, op), Arc::clone(&self.faults));
        Box::pin(async move { Ok(handed(op.await?, faults)) })
    }
}

impl<S: Storage> Storage for Faulty<S> {
    fn reserves(&self) -> bool {
        self.store.reserves()
    }

    fn reserve(&self, info: &Info, is_chosen: bool) -> Op<UploadId> {
        self.store.reserve(info, is_chosen)
    }

    fn release(&self, id: &UploadId) -> Op<()> {
        self.store.release(id)
    }

    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened> {
        self.plan_opened("create", self.store.create(info, ticket))
    }

    /// Its parts go wrong by the names of those that it stands for.
    fn create_whole(&self, info: Info, data: Vec<Bytes>, ticket: Ticket) -> Op<Whole> {
        let [create, mut write, finish] = ["create", "write", "finish"].map(|operation| self.faults.plan(operation));
        let op = match write.failure.take() {
            Some(error) => {
                let creating = self.store.create(info, ticket);
                Box::pin(async move { Ok(Whole::Cut(Box::new(creating.await?), error)) })
            }
            None => self.store.create_whole(info, data, ticket),
        };
        let op = create.carry_out(write.carry_out(finish.carry_out(op, Err), Err), Err);
        let faults = Arc::clone(&self.faults);
        Box::pin(async move {
            Ok(match op.await? {
                Whole::Cut(opened, error) => Whole::Cut(Box::new(handed(*opened, faults)), error),
                finished @ Whole::Finished(_) => finished,
            })
        })
    }

    fn creates_whole(&self) -> bool {
        self.store.creates_whole()
    }

    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened> {
        self.plan_opened("open", self.store.open(id, ticket))
    }

    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>> {
        self.store.finished_length(id)
    }

    fn date(&self, record: &Record) -> Op<Record> {
        self.store.date(record)
    }

    fn reader(&self, record: &Record) -> Op<Box<dyn Reader>> {
        let (op, faults) = (self.store.reader(record), Arc::clone(&self.faults));
        Box::pin(async move { Ok(Box::new(FaultyReader { reader: op.await?, faults }) as Box<dyn Reader>) })
    }

    fn waiting_finals(&self) -> Op<Vec<UploadId>> {
        self.store.waiting_finals()
    }

    fn scan(&self, cursor: Option<ScanCursor>, before: SystemTime, now: SystemTime) -> Op<ScanPage> {
        self.store.scan(cursor, before, now)
    }

    fn close(&self) -> Op<()> {
        self.store.close()
    }

    fn note(&self, name: &'static str, value: Option<String>) -> Op<Option<String>> {
        self.store.note(name, value)
    }

    fn finishes_with_write(&self) -> bool {
        self.store.finishes_with_write()
    }

    fn draws(&self) -> bool {
        self.store.draws()
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(FaultyOutbox { outbox: self.store.outbox(), faults: Arc::clone(&self.faults) })
    }

    fn places(&self, info: &Info) -> BTreeMap<String, String> {
        self.store.places(info)
    }

    fn look(&self, id: &UploadId) -> Op<Sighting> {
        self.plan("look", self.store.look(id))
    }

    fn list(&self, after: Option<String>, limit: usize) -> Op<StorePage> {
        self.plan("list", self.store.list(after, limit))
    }

    fn reachable(&self) -> Op<()> {
        self.plan("reachable", self.store.reachable())
    }

    fn report(&self) -> StoreReport {
        self.store.report()
    }

    fn waits(&self) -> Vec<Wait> {
        self.store.waits()
    }

    fn tune(&self, tuning: &StoreTuning) -> Result<(), StorageError> {
        self.store.tune(tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        patience::until,
        storage::{
            conformance::{self, finished, id, info},
            memory::MemoryStore,
        },
    };

    #[actix_rt::test]
    async fn without_a_control_file_all_goes_well() {
        conformance::run(|| Arc::new(Faulty::new(MemoryStore::new(), Faults::at("/nonexistent")))).await;
    }

    #[actix_rt::test]
    async fn faults_happen_as_often_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("faults");
        let store = Faulty::new(MemoryStore::new(), Faults::at(&control));
        let mut blob = store.create(info("a", Some(4)), Ticket::unwatched()).await.unwrap().blob;
        fs::write(&control, "nospace write 2\nbroken line\nfail sync 1\nfail finish always\n").unwrap();
        for _ in 0..2 {
            let written = blob.write(0, vec![Bytes::from_static(b"abcd")]).await.unwrap();
            assert_eq!((written.len, written.failure.unwrap().kind), (0, ErrorKind::NoSpace));
        }
        let written = blob.write(0, vec![Bytes::from_static(b"abcd")]).await.unwrap();
        assert_eq!((written.len, written.failure.is_none()), (4, true));
        assert_eq!(blob.sync().await.unwrap_err().kind, ErrorKind::Failed);
        blob.sync().await.unwrap();
        for _ in 0..5 {
            assert!(blob.finish(finished(info("a", None), 4)).await.is_err());
        }
        fs::remove_file(&control).unwrap();
        blob.finish(finished(info("a", None), 4)).await.unwrap();
    }

    #[actix_rt::test]
    async fn a_stalled_write_goes_on_though_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("faults");
        let store = Faulty::new(MemoryStore::new(), Faults::at(&control));
        let held = Arc::new(());
        let ticket = Ticket::new(Arc::clone(&held) as _);
        let mut blob = store.create(info("a", Some(4)), ticket).await.unwrap().blob;
        fs::write(&control, "stall write 20 1").unwrap();
        let mut write = blob.write(0, vec![Bytes::from_static(b"abcd")]);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
        drop(write);
        drop(blob);
        until("nobody else holds it", async || Arc::strong_count(&held) == 1).await;
        assert_eq!(store.open(&id("a"), Ticket::unwatched()).await.unwrap().stored, 4);
    }

    #[actix_rt::test]
    async fn a_held_write_waits_until_the_file_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("faults");
        let store = Faulty::new(MemoryStore::new(), Faults::at(&control));
        let mut blob = store.create(info("a", Some(8)), Ticket::unwatched()).await.unwrap().blob;
        fs::write(&control, "hold write 1").unwrap();
        let mut held = tokio::task::spawn_local(blob.write(0, vec![Bytes::from_static(b"abcd")]));
        until("it is held", async || dir.path().join("faults.held").exists()).await;
        assert!(futures_util::FutureExt::now_or_never(&mut held).is_none());
        fs::remove_file(&control).unwrap();
        assert_eq!(held.await.unwrap().unwrap().len, 4);
        assert_eq!(blob.write(4, vec![Bytes::from_static(b"efgh")]).await.unwrap().len, 4);
    }

    #[test]
    fn an_owner_is_tripped_once_and_again_when_the_file_is_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("faults");
        let faults = Faults::at(&control);
        assert!(!faults.trip("append"));
        for text in ["panic append 1", "panic append 1 \n"] {
            fs::write(&control, text).unwrap();
            assert!(!faults.trip("inspect"));
            assert!(faults.trip("append"));
            assert!(!faults.trip("append"));
        }
    }
}
