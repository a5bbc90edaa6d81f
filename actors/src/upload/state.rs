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
#[cfg(feature = "benched")]
pub mod benched;
mod completed;
#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
mod words;
#[cfg(test)]
mod world;

pub(crate) use words::{Announced, Answer, Begin, Effect, Ending, Event, Fault, Found, LeaseId, Piece, Policy};
pub use words::{LeaseEnd, Refusal};

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
    /// The length that was declared with tentative bytes, and counts no sooner than they do (tus 1.0.0, Checksum).
    declared: Option<u64>,
    closing: Closing<A>,
}

/// An operation on the store that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Busy<A> {
    Stage,
    Write { len: u64, askers: Vec<(A, u64)>, then_finish: bool },
    Keep,
    Discard,
    Sync,
    Cut { to: u64 },
    Declare { length: u64 },
    Save { asker: Option<A> },
    Announce(Ending),
    Consult,
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
    /// That it finishes has been noted down.
    finish_announced: bool,
    /// That it is deleted has been noted down.
    deletion_announced: bool,
    /// The application has been asked about the bytes as they are.
    consulted: bool,
    next_lease: LeaseId,
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
            finish_announced: false,
            deletion_announced: false,
            consulted: false,
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

    /// Whether it is being deleted, is gone, or must be found anew.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Deleting { .. } | Phase::Gone { .. } | Phase::Broken)
    }

    /// Whether it has been deleted.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone { .. })
    }

    /// The largest that the upload may become while its length is not known.
    pub(crate) fn max_size(&self) -> Option<u64> {
        self.policy.max_size
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
            Event::Interrupt(asker) => {
                let ended = self.end_lease(LeaseEnd::ByOperator, effects);
                effects.push(Effect::Answer(asker, Answer::Interrupted { ended }));
            }
            Event::Limit(max_size) => self.policy.max_size = max_size,
            Event::Terminate(asker) => self.waiters.push_back(Waiter::Terminate(asker)),
            Event::Stop(lease) => self.on_stop(lease, effects),
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
            Event::Durable(len) => self.durable = self.durable.max(len.min(self.stored)),
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

    fn on_stop(&mut self, lease: LeaseId, effects: &mut Effects<A, P>) {
        let is_open = self.lease.as_ref().is_some_and(|held| held.id == lease && matches!(held.closing, Closing::Open));
        if is_open && self.phase == Phase::Open {
            self.end_lease(LeaseEnd::Stopped, effects);
            self.phase = Phase::Deleting { expired: false };
        }
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
        let declared = self.lease.as_ref().and_then(|held| held.declared);
        self.length.or(declared).or(self.policy.max_size)
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

    /// Ends an open lease from this side; its bytes will still be settled. False when none is open.
    fn end_lease(&mut self, why: LeaseEnd, effects: &mut Effects<A, P>) -> bool {
        let open = self.lease.as_mut().filter(|held| matches!(held.closing, Closing::Open));
        let ended = open.is_some();
        if let Some(held) = open {
            held.closing = Closing::Ended;
            effects.push(Effect::EndLease { lease: held.id, why });
        }
        ended
    }
}
