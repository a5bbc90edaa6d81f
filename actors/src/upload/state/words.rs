//! The words of the state machine: what it is told, what it answers, and what it asks to be done.

/// A lease's number, unique in the process.
pub(crate) type LeaseId = u64;

/// Bytes, or what stands for them in a test.
pub(crate) trait Piece {
    /// How many bytes.
    fn len(&self) -> u64;

    /// Whether it goes to the store by itself, not together with others.
    fn stands_alone(&self) -> bool {
        false
    }
}

/// Why a request got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no such upload (any more).
    NotFound,
    /// It was there, and expired.
    Expired,
    /// The offset is not where the upload stands.
    MismatchedOffset,
    /// A final upload takes no bytes (tus 1.0.0, Concatenation).
    ModifyFinal,
    /// A length was declared that is known already, or lies below the offset.
    InvalidLength,
    /// The declared length is above the limit of the server.
    MaxSizeExceeded,
    /// The bytes would go beyond the upload's length, or beyond the limit of the server.
    SizeExceeded,
    /// The lease has ended: another request wanted the upload.
    Interrupted,
    /// The lease has ended: the upload is gone.
    Terminated,
    /// The lease has ended: the application wants no more of the upload, which is deleted.
    Stopped,
    /// The server ends.
    ShuttingDown,
    /// The store is full.
    NoSpace,
    /// The store failed; the log has the cause.
    StoreFailed,
    /// An unfinished upload can't be part of this final one.
    NotFinished,
    /// The id is taken.
    Exists,
}

/// How the store failed, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// It is full.
    NoSpace,
    /// It can't take so much at once.
    TooLarge,
    /// What was to be read is not there.
    NotFound,
    /// Anything else.
    Failed,
}

impl Fault {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::NoSpace => Refusal::NoSpace,
            Self::TooLarge => Refusal::SizeExceeded,
            Self::NotFound | Self::Failed => Refusal::StoreFailed,
        }
    }
}

/// Why a lease was ended from the owner's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseEnd {
    /// Another request wants the upload.
    Interrupted,
    /// An operator wants it so.
    ByOperator,
    /// The upload is being deleted.
    Terminated,
    /// The application wants no more of it: the upload is being deleted.
    Stopped,
    /// The server ends.
    ShuttingDown,
    /// The store is full.
    NoSpace,
    /// The store failed.
    StoreFailed,
    /// More bytes at once than the store can take.
    TooLarge,
}

/// Asks for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Begin {
    /// Where the client means to go on.
    pub(crate) offset: u64,
    /// The length, declared for an upload whose length was deferred.
    pub(crate) declared_length: Option<u64>,
    /// How many bytes will come, when the client said so.
    pub(crate) announced: Option<u64>,
    /// The bytes count only when the lease is committed (a checksum is to be checked).
    pub(crate) tentative: bool,
}

/// What happens to an upload: messages, and completions of the store's operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Event<A, P> {
    /// Someone wants to append.
    Begin(A, Begin),
    /// Bytes under a lease.
    Append(A, LeaseId, P),
    /// All bytes of the lease have been handed over.
    Commit(A, LeaseId),
    /// The holder of the lease has gone, or gives up. What arrived is kept, unless it was tentative.
    Release(LeaseId),
    /// Someone wants an offset that the next append may use: ends an open lease.
    Inspect(A),
    /// Someone wants to know whether the upload is finished; disturbs nobody.
    Peek(A),
    /// An operator wants an open lease to end.
    Interrupt(A),
    /// The largest upload is another from now on.
    Limit(Option<u64>),
    /// The upload is to be deleted.
    Terminate(A),
    /// The application wants no more of the bytes that come under this lease, and the upload deleted. Of no effect once that
    /// lease has ended.
    Stop(LeaseId),
    /// The upload's time has run out; refused without a word while somebody needs it.
    Expire,
    /// What is kept beside the bytes has changed and is to be stored; the asker, if any, waits for that.
    Annotate(Option<A>),
    /// All partial uploads of this final one are finished; so many bytes.
    PartialsReady(u64),
    /// A partial upload of this final one is gone.
    PartialLost,
    /// The server ends: no lease any more.
    Close,
    /// Completion of `Stage`, `Keep`, `Discard`, `Sync`, `Cut`, `Declare`, `Save`, `Announce`, `Consult`, `Finish` or
    /// `Delete`.
    Done(Result<(), Fault>),
    /// Completion of `Write`: how many bytes are stored, and why not all.
    Wrote(u64, Option<Fault>),
    /// So many of the bytes that count are durable by now.
    Durable(u64),
    /// Completion of `Join`: how many bytes the final upload has.
    Joined(Result<u64, Fault>),
}

/// An answer to an asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// A lease, from this offset on, for at most `room` bytes.
    Granted { lease: LeaseId, offset: u64, room: Option<u64> },
    /// There is nothing left to append: the upload is finished.
    Complete { offset: u64 },
    /// The bytes are stored.
    Appended { offset: u64 },
    /// All bytes of the lease are stored.
    Committed { offset: u64, finished: bool },
    /// Where the upload stands; no offset for a final one that is not concatenated yet.
    Inspected { offset: Option<u64> },
    /// Whether it is finished.
    Peeked { finished: bool },
    /// Whether there was an open lease, which has been ended.
    Interrupted { ended: bool },
    /// It is deleted.
    Terminated,
    /// The change is stored.
    Annotated,
    /// No.
    Refused(Refusal),
}

/// What is to be done. At most one of the store's operations (the first group) is under way at any time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Effect<A, P> {
    /// Mark what follows as tentative.
    Stage { base: u64 },
    /// Store the pieces from this offset on. `then_finish`: they are the last ones; when all of them are stored, finish
    /// in the same operation, whose end is then told by `Wrote` and, after it, by `Done`.
    Write { at: u64, pieces: Vec<P>, then_finish: bool },
    /// Make the tentative bytes count.
    Keep,
    /// Cut the tentative bytes off.
    Discard { base: u64 },
    /// Make all bytes durable.
    Sync,
    /// Cut the bytes to this length.
    Cut { to: u64 },
    /// Store the length that is known now.
    Declare { length: u64 },
    /// Store what is known of the upload.
    Save,
    /// Note that the application will be told of this end, so that no crash can keep it from being told.
    Announce(Ending),
    /// Ask the application what it has to say before the upload is finished. What it says changes nothing here.
    Consult,
    /// Mark the upload as finished in the store; then tell the world.
    Finish { length: u64 },
    /// Put the partial uploads together.
    Join,
    /// Remove the upload from the store.
    Delete { expired: bool },

    /// Tell the lease's holder to stop.
    EndLease { lease: LeaseId, why: LeaseEnd },
    /// Answer.
    Answer(A, Answer),
    /// The owner has nothing more to do, ever: the upload is gone, or must be found anew in the store.
    Retire,
}

/// How an upload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// All its bytes are there.
    Finished {
        /// How many.
        length: u64,
    },
    /// It is deleted.
    Deleted {
        /// Because its time has run out.
        expired: bool,
    },
}

/// Which ends of an upload are announced before they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Announced {
    /// That it is finished.
    pub(crate) finish: bool,
    /// That it is deleted as somebody wished.
    pub(crate) terminate: bool,
    /// That it is deleted because its time has run out.
    pub(crate) expire: bool,
}

/// How long bytes may be at risk, and whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    /// Sync before a finished upload is acknowledged.
    pub(crate) sync_finish: bool,
    /// Sync before any offset is acknowledged.
    pub(crate) sync_always: bool,
    /// Finish in the same operation as the last write, when nothing has to come between the two.
    pub(crate) finish_with_write: bool,
    /// The largest upload, in bytes.
    pub(crate) max_size: Option<u64>,
    /// Ask the application before an upload is finished.
    pub(crate) consult: bool,
    /// Note down before it comes which end the application will be told of.
    pub(crate) announced: Announced,
}

impl Policy {
    /// Nothing is synced, limited, asked or announced.
    #[cfg(any(test, feature = "benched"))]
    pub(crate) const PLAIN: Self = Self {
        sync_finish: false,
        sync_always: false,
        finish_with_write: false,
        max_size: None,
        consult: false,
        announced: Announced { finish: false, terminate: false, expire: false },
    };
}

/// What an owner finds when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    /// The length, when it is known.
    pub(crate) length: Option<u64>,
    /// How many bytes the store has.
    pub(crate) stored: u64,
    /// Whether it is a final upload.
    pub(crate) is_final: bool,
    /// Whether finishing has been done.
    pub(crate) finished: bool,
}
