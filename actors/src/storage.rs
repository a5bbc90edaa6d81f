//! The contract between an upload's owner and the place where its bytes are kept.
//!
//! An owner holds one [`Blob`] and has at most one operation on it in flight, so a blob need not order anything
//! itself. Every operation returns a future that owns all it needs: it goes on to its end when the owner dies, and holds
//! its [`Ticket`] until then, so that no successor is started while an old operation may still touch the store.

use std::{
    any::Any, collections::BTreeMap, fmt, future::Future, io, os::fd::OwnedFd, pin::Pin, sync::Arc, time::SystemTime,
};

use bytes::Bytes;

use crate::{Info, Record, Share, UploadId};

#[cfg(feature = "benched")]
#[doc(hidden)]
pub mod benched;
#[cfg(any(test, feature = "faults"))]
pub mod conformance;
#[cfg(feature = "faults")]
pub mod faulty;
pub mod file;
mod info_json;
#[cfg(any(test, feature = "faults"))]
pub mod memory;
pub(crate) mod metered;
mod outcome;
mod report;
#[cfg(feature = "s3")]
pub mod s3;
mod view;

pub use outcome::{LastWrite, Whole, Written};
pub(crate) use report::OperationMeter;
pub use report::{BOUNDS, OperationReport, StoreReport, Wait};
pub use view::{PartReport, PartState, Sighting, StorePage, StoreTuning};

/// An operation under way in the store. Dropping it does not undo it, and may not stop it.
pub type Op<T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send>>;

/// Proof that somebody may still touch an upload. The directory starts no second owner while one is left.
#[derive(Clone)]
pub struct Ticket(#[expect(dead_code, reason = "held for its drop")] Arc<dyn Any + Send + Sync>);

impl Ticket {
    /// Wraps the value whose drop tells that the last holder has gone.
    pub fn new(held: Arc<dyn Any + Send + Sync>) -> Self {
        Self(held)
    }

    /// A ticket that nobody waits for, for tests and for operations that belong to no upload.
    #[must_use]
    pub fn unwatched() -> Self {
        Self(Arc::new(()))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket")
    }
}

/// What went wrong, as far as an owner must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such upload.
    NotFound,
    /// The id is taken.
    Exists,
    /// The store is full (or over quota); later it may go on.
    NoSpace,
    /// More bytes at once than the store can take.
    TooLarge,
    /// What is stored can't be understood, a broken `.info` say.
    Corrupt,
    /// Anything else; the log has the cause.
    Failed,
}

/// A failed operation: a kind to act upon, and the cause for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{action}: {}", Chain(&**cause))]
pub struct StorageError {
    /// What an owner acts upon.
    pub kind: ErrorKind,
    /// What was tried, in words.
    pub action: &'static str,
    /// Why it failed. Shared, because several askers may get the same answer.
    pub cause: Arc<dyn std::error::Error + Send + Sync>,
}

/// An error with all that lies behind it.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StorageError {
    /// An error of the given kind.
    pub fn new(
        kind: ErrorKind,
        action: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, action, cause: Arc::from(cause.into()) }
    }

    /// Classifies an error of the operating system.
    #[must_use]
    pub fn from_io(action: &'static str, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::Exists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ErrorKind::NoSpace
            }
            _ => ErrorKind::Failed,
        };
        Self::new(kind, action, error)
    }
}

/// Bytes that have come and still lie in a socket, which nobody else reads from meanwhile.
#[derive(Debug, Clone)]
pub struct Tap {
    /// The socket. It never blocks.
    pub socket: Arc<OwnedFd>,
    /// So many bytes lie in it at least, and so many are meant.
    pub len: usize,
}

/// An upload as found in the store.
pub struct Opened {
    /// The owner's handle.
    pub blob: Box<dyn Blob>,
    /// What is known of it.
    pub info: Info,
    /// How many bytes count. Tentative bytes of a crashed predecessor have been cut off already.
    pub stored: u64,
    /// When its bytes last changed.
    pub changed: SystemTime,
    /// The published form, when the upload is finished.
    pub record: Option<Record>,
}

/// When an acknowledged byte must be on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The page cache decides.
    None,
    /// A finished upload is synced (bytes, info and directory) before it is acknowledged.
    Complete,
    /// Every acknowledged offset is synced.
    Always,
}

/// A place where uploads are kept.
pub trait Storage: Send + Sync + 'static {
    /// Whether ids are more than names to it, and must be had by [`Self::reserve`].
    fn reserves(&self) -> bool {
        false
    }

    /// Settles the id of an upload that is about to be created, in a store that [`reserves`](Self::reserves) ids. Ends
    /// with `create`, or with [`Self::release`]. Only one that somebody has chosen, and is not random, may be taken.
    fn reserve(&self, info: &Info, _is_chosen: bool) -> Op<UploadId> {
        let id = info.id.clone();
        Box::pin(async move { Ok(id) })
    }

    /// Gives up an id that was reserved for an upload that is not created after all.
    fn release(&self, _id: &UploadId) -> Op<()> {
        Box::pin(async { Ok(()) })
    }

    /// Creates an upload without bytes. Fails with [`ErrorKind::Exists`] and touches nothing when the id is taken.
    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened>;

    /// Creates an upload with all its bytes, of which there are as many as it is long, and finishes it: as [`Self::create`],
    /// [`Blob::write`] and [`Blob::finish`] do, one after the other. When it fails nothing is left of it.
    fn create_whole(&self, info: Info, data: Vec<Bytes>, ticket: Ticket) -> Op<Whole> {
        let creating = self.create(info, ticket);
        Box::pin(async move {
            let mut opened = creating.await?;
            let Written { len, failure } = opened.blob.write(0, data).await?;
            if let Some(error) = failure {
                return Ok(Whole::Cut(Box::new(Opened { stored: len, ..opened }), error));
            }
            let finishing = opened.blob.finish(opened.info.into_finished(len));
            finishing.await.map(|record| Whole::Finished(Arc::new(record)))
        })
    }

    /// Whether it gains by [`Self::create_whole`].
    fn creates_whole(&self) -> bool {
        false
    }

    /// Finds an upload; [`ErrorKind::NotFound`] when it, or a part of it, is missing. Brings an interrupted tentative
    /// write to its end first (see [`Blob::stage`]).
    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened>;

    /// How many bytes of a finished upload are readable, looked up without its owner: `Some(length)` when the upload is
    /// finished, `None` when it is not. For a final upload's owner after a restart; [`ErrorKind::NotFound`] as `open`.
    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>>;

    /// A record with its date. Only one that [`Blob::finish`] has given may lack it, in a store that has to ask for it.
    fn date(&self, record: &Record) -> Op<Record> {
        let record = record.clone();
        Box::pin(async move { Ok(record) })
    }

    /// Opens the bytes of a finished upload for reading. They stay readable after a later `delete`.
    fn reader(&self, record: &Record) -> Op<Box<dyn Reader>>;

    /// The final uploads that are noted as not yet concatenated, up to a bound.
    fn waiting_finals(&self) -> Op<Vec<UploadId>>;

    /// Looks at the next few entries of the store (`cursor` starts as `None`; `next` is `None` at the end of a round),
    /// and names those that have not changed since `before`, or whose own expiry has passed. Candidates only; finished
    /// uploads are left out, but for partial ones, since the others don't expire.
    fn scan(&self, cursor: Option<ScanCursor>, before: SystemTime, now: SystemTime) -> Op<ScanPage>;

    /// Ends what the store has running, once no upload needs it any more; waits for what is under way.
    fn close(&self) -> Op<()> {
        Box::pin(async { Ok(()) })
    }

    /// Keeps a small named value for the service itself, and gives back what was there before. `None` only reads.
    fn note(&self, name: &'static str, value: Option<String>) -> Op<Option<String>>;

    /// Where events are kept that the application is still to be told of.
    fn outbox(&self) -> Arc<dyn OutboxStore>;

    /// Where an upload lies, in tusd's words (`Path`, `Key`), as hooks are told.
    fn places(&self, info: &Info) -> BTreeMap<String, String>;

    /// Whether it gains by [`Blob::write_last`], and has it.
    fn finishes_with_write(&self) -> bool {
        false
    }

    /// Whether [`Blob::draw`] can be had.
    fn draws(&self) -> bool {
        false
    }

    /// What it is called among other stores.
    fn name(&self) -> &'static str;

    /// Looks at an upload without an owner and without changing anything; [`ErrorKind::NotFound`] as `open`.
    fn look(&self, id: &UploadId) -> Op<Sighting>;

    /// Lists up to about `limit` uploads behind a name that an earlier page gave (`None`: from the first on). Any text
    /// will do as a name. What can't be read is left out.
    fn list(&self, after: Option<String>, limit: usize) -> Op<StorePage>;

    /// Finds out, cheaply and without trying twice, whether the store can be reached.
    fn reachable(&self) -> Op<()>;

    /// What is metered below the store. Asks nobody.
    fn report(&self) -> StoreReport;

    /// How long messages and jobs wait below the store: as [`Storage::report`] tells, for who looks every second.
    fn waits(&self) -> Vec<Wait> {
        Wait::in_report(&self.report())
    }

    /// Takes new sizes and limits while all goes on. Nothing that waits or is under way is dropped.
    ///
    /// # Errors
    /// When some of it could not be done; all else is.
    fn tune(&self, tuning: &StoreTuning) -> Result<(), StorageError>;
}

/// Small documents by their names, which are hexadecimal: the events that the application is still to be told of.
pub trait OutboxStore: Send + Sync {
    /// Stores a document, as durably as what an upload's end takes, and in place of one of that name.
    fn put(&self, name: String, content: Bytes) -> Op<()>;

    /// The document of that name, if there is one.
    fn read(&self, name: String) -> Op<Option<Bytes>>;

    /// Removes a document; one that is missing is no error.
    fn remove(&self, name: String) -> Op<()>;

    /// Up to `limit` names behind `after`, in order.
    fn list(&self, after: String, limit: usize) -> Op<Vec<String>>;
}

/// Where a scan goes on. Opaque to all but the store that made it.
pub struct ScanCursor(pub Box<dyn Any + Send>);

/// A slice of a scan.
pub struct ScanPage {
    /// Uploads that may have expired.
    pub candidates: Vec<UploadId>,
    /// Where to go on; `None` when all has been looked at.
    pub next: Option<ScanCursor>,
}

/// One upload in the store, in the hands of its owner.
pub trait Blob: Send {
    /// Stores `data` at offset `at`, which equals the number of bytes stored so far. Short writes are continued.
    /// The future's error is never used for a failed write: that is [`Written::failure`].
    fn write(&mut self, at: u64, data: Vec<Bytes>) -> Op<Written>;

    /// Stores `data` as [`Self::write`] does and, when all of it could be stored, finishes as [`Self::finish`] does. Only
    /// for stores that say [`Storage::finishes_with_write`], whose operations do nothing before they are polled.
    fn write_last(&mut self, at: u64, data: Vec<Bytes>, info: Info) -> Op<LastWrite> {
        let (write, finish) = (self.write(at, data), self.finish(info));
        Box::pin(async move {
            let written = write.await?;
            let record = if written.failure.is_none() { Some(finish.await) } else { None };
            Ok(LastWrite { written, record })
        })
    }

    /// Stores at offset `at` what lies in a socket, as [`Self::write`] does, without its coming into this process's memory
    /// on the way. For stores that say [`Storage::draws`].
    fn draw(&mut self, _at: u64, _tap: Tap) -> Op<Written> {
        Box::pin(async { Err(StorageError::new(ErrorKind::Failed, "draw", "this store can only be written to")) })
    }

    /// The memory that the bytes of the next write take. A store that keeps bytes beyond a write takes it over; what is
    /// given back is to be held until the write is done.
    fn take_over(&mut self, shares: Vec<Share>) -> Vec<Share> {
        shares
    }

    /// How many bytes are known to be durable by now, in a store that makes them so without being told to.
    fn durable(&self) -> Option<u64> {
        None
    }

    /// The parts that the bytes lie in, in a store that has parts, as they were a moment ago. Asks nobody.
    fn parts(&self) -> Option<Vec<PartReport>> {
        None
    }

    /// Makes all bytes written so far durable. After a failure the bytes since the last success must be taken for lost.
    fn sync(&mut self) -> Op<()>;

    /// Cuts the bytes to `to`.
    fn cut(&mut self, to: u64) -> Op<()>;

    /// What is written from now on at `base` and behind it is tentative: after a crash `open` cuts it off again.
    fn stage(&mut self, base: u64) -> Op<()>;

    /// The tentative bytes count from now on, as one step that a crash can't divide. With [`Durability::Always`] they
    /// are durable when this returns.
    fn keep(&mut self) -> Op<()>;

    /// The tentative bytes are cut off again.
    fn discard(&mut self, base: u64) -> Op<()>;

    /// Replaces what is known of the upload, atomically.
    fn save(&mut self, info: Info) -> Op<()>;

    /// Stores `info`, which is marked as finished, after the bytes are as durable as the settings ask, and describes
    /// what readers get.
    fn finish(&mut self, info: Info) -> Op<Record>;

    /// Replaces the bytes by those of the finished uploads, in order, and returns how many they are. A call after a
    /// crash or failure starts again from nothing.
    fn concatenate(&mut self, partials: Vec<UploadId>) -> Op<u64>;

    /// Says that the upload will be deleted next, whatever comes of an operation that is under way: it need not be waited
    /// for, where that could take long.
    fn give_up(&mut self);

    /// Removes the upload; what is missing already is no error.
    fn delete(&mut self) -> Op<()>;

    /// Gives back what an idle owner need not hold (a file descriptor); the next operation takes it again.
    fn rest(&mut self);
}

/// The store as the service uses it. In builds for tests its operations can be made to fail, by a control file.
fn in_service(store: impl Storage) -> Arc<dyn Storage> {
    #[cfg(feature = "faults")]
    if let Some(faults) = faulty::Faults::of_process() {
        return Arc::new(faulty::Faulty::new(store, Arc::clone(faults)));
    }
    Arc::new(store)
}

/// The bytes of a finished upload.
pub trait Reader: Send {
    /// Reads up to `len` bytes from `at`; empty only at the end.
    fn read(&mut self, at: u64, len: usize) -> Op<Bytes>;

    /// Whether [`Reader::send`] can be had.
    fn can_send(&self) -> bool {
        false
    }

    /// Brings up to `len` bytes from `at` into a socket that never blocks, as far as it takes them now, without a copy in
    /// this process. For a store that can.
    fn send(&mut self, _socket: Arc<OwnedFd>, _at: u64, _len: usize) -> Op<Sent> {
        Box::pin(async { Err(StorageError::new(ErrorKind::Failed, "send", "this store can only be read")) })
    }
}

/// How far [`Reader::send`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// How many bytes the socket has taken.
    pub len: usize,
    /// Why they are no more.
    pub stop: Stop,
}

/// Why it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// That was all.
    Done,
    /// The socket takes no more for now.
    Full,
    /// The upload has no more, though it should.
    Short,
    /// Whoever was at the other end has gone.
    Gone,
}
