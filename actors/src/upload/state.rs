//! The core of an upload: one event in, effects out. No I/O, no clock, no async, so that a test can drive every order
//! of messages and completions through it.
//!
//! What it promises, whatever the order:
//! - the offset never goes back, but by what a failed sync has lost, and never exceeds what the store has;
//! - each byte comes from exactly one lease, and at most one lease is open;
//! - at most one operation on the store is under way;
//! - each asker is answered exactly once;
//! - nothing is stored once the upload is being deleted.

use std::collections::VecDeque;

mod advance;
mod completed;
#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

/// A lease's number, unique in the process.
pub(crate) type LeaseId = u64;

/// Bytes, or what stands for them in a test.
pub(crate) trait Piece {
    /// How many bytes.
    fn len(&self) -> u64;
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
    /// What was to be read is not there.
    NotFound,
    /// Anything else.
    Failed,
}

impl Fault {
    fn refusal(self) -> Refusal {
        match self {
            Self::NoSpace => Refusal::NoSpace,
            Self::NotFound | Self::Failed => Refusal::StoreFailed,
        }
    }
}

/// Why a lease was ended from the owner's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseEnd {
    /// Another request wants the upload.
    Interrupted,
    /// The upload is being deleted.
    Terminated,
    /// The server ends.
    ShuttingDown,
    /// The store is full.
    NoSpace,
    /// The store failed.
    StoreFailed,
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
    /// The upload is to be deleted.
    Terminate(A),
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
    /// Completion of `Stage`, `Keep`, `Discard`, `Sync`, `Cut`, `Declare`, `Save`, `Finish` or `Delete`.
    Done(Result<(), Fault>),
    /// Completion of `Write`: how many bytes are stored, and why not all.
    Wrote(u64, Option<Fault>),
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
    /// Store the pieces from this offset on.
    Write { at: u64, pieces: Vec<P> },
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

/// How long bytes may be at risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    /// Sync before a finished upload is acknowledged.
    pub(crate) sync_finish: bool,
    /// Sync before any offset is acknowledged.
    pub(crate) sync_always: bool,
    /// The largest upload, in bytes.
    pub(crate) max_size: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Takes bytes.
    Open,
    /// A final upload that waits for its partial ones.
    Waiting,
    /// A final upload whose partial ones are all there.
    Joining,
    /// A final upload whose bytes are together.
    Joined,
    /// All done.
    Finished,
    /// Being deleted.
    Deleting { expired: bool },
    /// Deleted.
    Gone { expired: bool },
    /// The store left it in an unknown state: a new owner must look.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Closing<A> {
    /// Not closing.
    Open,
    /// All bytes are handed over; the asker waits until they are stored.
    Commit(A),
    /// No more bytes come; nobody waits.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lease<A> {
    id: LeaseId,
    base: u64,
    /// The offset after all bytes that its holder has handed over.
    handed: u64,
    tentative: bool,
    closing: Closing<A>,
}

/// An operation on the store that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Busy<A> {
    Stage,
    Write { len: u64, askers: Vec<(A, u64)> },
    Keep,
    Discard,
    Sync,
    Cut { to: u64 },
    Declare { length: u64 },
    Save { asker: Option<A> },
    Finish,
    Join,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Waiter<A> {
    Begin(A, Begin),
    Inspect(A),
    Terminate(A),
    Expire,
}

/// The state of one upload. `A` answers an asker, `P` is a piece of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State<A, P> {
    policy: Policy,
    phase: Phase,
    is_final: bool,
    length: Option<u64>,
    /// Bytes that count.
    stored: u64,
    /// Bytes in the store: more than `stored` only while some are tentative.
    written: u64,
    /// Bytes known to be on stable storage.
    durable: u64,
    staged: bool,
    lease: Option<Lease<A>>,
    pieces: VecDeque<(A, P)>,
    busy: Option<Busy<A>>,
    waiters: VecDeque<Waiter<A>>,
    peeks: Vec<A>,
    saves: VecDeque<Option<A>>,
    /// Finishing or joining has failed: try again when somebody asks, not by itself.
    stuck: Option<Fault>,
    closed: bool,
    /// Somebody has been told that the upload is deleted, as asked.
    told_terminated: bool,
    next_lease: LeaseId,
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

type Effects<A, P> = Vec<Effect<A, P>>;

impl<A, P: Piece> State<A, P> {
    /// The state of an upload as found in the store. `first_lease` is the number of its first lease.
    pub(crate) fn new(found: Found, policy: Policy, first_lease: LeaseId) -> Self {
        let phase = match found {
            Found { finished: true, .. } => Phase::Finished,
            Found { is_final: true, .. } => Phase::Waiting,
            _ => Phase::Open,
        };
        Self {
            policy,
            phase,
            is_final: found.is_final,
            length: found.length,
            stored: found.stored,
            written: found.stored,
            // What the store had when the owner started was acknowledged before, or is of a length that a client is yet
            // to be told; after a crash of the machine it is what has survived.
            durable: found.stored,
            staged: false,
            lease: None,
            pieces: VecDeque::new(),
            busy: None,
            waiters: VecDeque::new(),
            peeks: Vec::new(),
            saves: VecDeque::new(),
            stuck: None,
            closed: false,
            told_terminated: false,
            next_lease: first_lease,
        }
    }

    /// The upload's length, when it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How many bytes count.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether a lease is open or closing.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// Whether all is done that there is to do for the upload.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether the bytes (of a final upload) are not together yet.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Joining | Phase::Joined)
    }

    /// Whether nothing is under way and nobody waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.lease.is_none()
            && self.busy.is_none()
            && self.waiters.is_empty()
            && self.saves.is_empty()
            && self.peeks.is_empty()
    }

    /// Takes one event, appends what is to be done to `effects`.
    pub(crate) fn on(&mut self, event: Event<A, P>, effects: &mut Effects<A, P>) {
        match event {
            Event::Begin(asker, begin) => self.on_begin(asker, begin, effects),
            Event::Append(asker, lease, piece) => self.on_append(asker, lease, piece, effects),
            Event::Commit(asker, lease) => match &mut self.lease {
                Some(held) if held.id == lease && matches!(held.closing, Closing::Open) => {
                    held.closing = Closing::Commit(asker)
                }
                _ => effects.push(Effect::Answer(asker, Answer::Refused(self.lost_lease()))),
            },
            Event::Release(lease) => {
                if let Some(held) =
                    self.lease.as_mut().filter(|held| held.id == lease && matches!(held.closing, Closing::Open))
                {
                    held.closing = Closing::Ended;
                }
            }
            Event::Inspect(asker) if self.is_waiting() => {
                self.stuck = None;
                effects.push(Effect::Answer(asker, Answer::Inspected { offset: None }));
            }
            Event::Inspect(asker) => self.waiters.push_back(Waiter::Inspect(asker)),
            Event::Peek(asker) => self.peeks.push(asker),
            Event::Terminate(asker) => self.waiters.push_back(Waiter::Terminate(asker)),
            Event::Expire => {
                if self.is_idle() && !self.is_waiting() {
                    self.waiters.push_back(Waiter::Expire);
                }
            }
            Event::Annotate(asker) => self.saves.push_back(asker),
            Event::PartialsReady(length) => self.on_partials_ready(length),
            Event::PartialLost => {
                if self.phase == Phase::Waiting {
                    self.phase = Phase::Deleting { expired: false };
                }
            }
            Event::Close => {
                self.closed = true;
                self.end_lease(LeaseEnd::ShuttingDown, effects);
            }
            Event::Done(result) => self.on_done(result, effects),
            Event::Wrote(len, fault) => self.on_wrote(len, fault, effects),
            Event::Joined(result) => self.on_joined(result),
        }
        self.advance(effects);
    }

    fn on_begin(&mut self, asker: A, begin: Begin, effects: &mut Effects<A, P>) {
        // A request that can't be right must not end a healthy lease.
        let impossible = self.lease.as_ref().is_some_and(|held| {
            let expected = if held.tentative { held.base } else { held.handed };
            matches!(held.closing, Closing::Open) && begin.offset != expected
        });
        if matches!(self.phase, Phase::Deleting { .. } | Phase::Gone { .. } | Phase::Broken) {
            // Answered with all others, whatever it asks for.
            self.waiters.push_back(Waiter::Begin(asker, begin));
        } else if self.is_final {
            effects.push(Effect::Answer(asker, Answer::Refused(Refusal::ModifyFinal)));
        } else if self.closed {
            effects.push(Effect::Answer(asker, Answer::Refused(Refusal::ShuttingDown)));
        } else if impossible {
            effects.push(Effect::Answer(asker, Answer::Refused(Refusal::MismatchedOffset)));
        } else {
            self.waiters.push_back(Waiter::Begin(asker, begin));
        }
    }

    fn on_append(&mut self, asker: A, lease: LeaseId, piece: P, effects: &mut Effects<A, P>) {
        let limit = self.limit();
        let refusal = match &mut self.lease {
            Some(held) if held.id == lease && matches!(held.closing, Closing::Open) => {
                if limit.is_some_and(|limit| held.handed + piece.len() > limit) {
                    Refusal::SizeExceeded
                } else {
                    held.handed += piece.len();
                    self.pieces.push_back((asker, piece));
                    return;
                }
            }
            _ => self.lost_lease(),
        };
        effects.push(Effect::Answer(asker, Answer::Refused(refusal)));
    }

    fn on_partials_ready(&mut self, length: u64) {
        if self.phase != Phase::Waiting {
            return;
        }
        if self.policy.max_size.is_some_and(|max| length > max) {
            self.phase = Phase::Deleting { expired: false };
        } else {
            self.phase = Phase::Joining;
            self.length = Some(length);
        }
    }

    /// The offset that no byte may go beyond.
    fn limit(&self) -> Option<u64> {
        self.length.or(self.policy.max_size)
    }

    /// What the former holder of a lease is told.
    fn lost_lease(&self) -> Refusal {
        match self.phase {
            Phase::Deleting { .. } | Phase::Gone { .. } => Refusal::Terminated,
            Phase::Broken => Refusal::StoreFailed,
            _ if self.closed => Refusal::ShuttingDown,
            _ => Refusal::Interrupted,
        }
    }

    /// The store has failed under the lease: whoever holds it, or waits for its end, is told.
    fn fail_lease(&mut self, fault: Fault, effects: &mut Effects<A, P>) {
        for (asker, _) in std::mem::take(&mut self.pieces) {
            effects.push(Effect::Answer(asker, Answer::Refused(fault.refusal())));
        }
        self.end_lease(fault.into(), effects);
        if let Some(held) = &mut self.lease
            && let Closing::Commit(asker) = std::mem::replace(&mut held.closing, Closing::Ended)
        {
            effects.push(Effect::Answer(asker, Answer::Refused(fault.refusal())));
        }
    }

    /// Ends an open lease from this side; its bytes will still be settled.
    fn end_lease(&mut self, why: LeaseEnd, effects: &mut Effects<A, P>) {
        if let Some(held) = self.lease.as_mut().filter(|held| matches!(held.closing, Closing::Open)) {
            held.closing = Closing::Ended;
            effects.push(Effect::EndLease { lease: held.id, why });
        }
    }
}
