//! A world around the machine, for tests: a store that may fail, clients that follow scripts, and checks of what the
//! machine promises after each step.

use std::collections::BTreeMap;

use super::{Answer, Begin, Effect, Ending, Event, Fault, Found, LeaseEnd, LeaseId, Piece, Policy, Refusal, State};

/// Fails the step when the condition does not hold.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

mod answers;
mod failures;
mod store;

/// What a step found wrong.
pub(super) type Checked = Result<(), String>;

/// Some bytes of a lease, counted from its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    lease: LeaseId,
    from: u64,
    len: u64,
}

impl Piece for Run {
    fn len(&self) -> u64 {
        self.len
    }

    fn stands_alone(&self) -> bool {
        self.from % 2 == 1
    }
}

/// Where a byte in the store comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Byte {
    /// It was there at the start.
    Found,
    /// Of a lease; the how manieth.
    Of(LeaseId, u64),
    /// Of the partial uploads.
    Joined,
    /// A failed sync has lost it.
    Lost,
}

/// Where a client begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Exactly(u64),
    /// The offset that it was told last.
    Told,
    /// The one that will be right once an open lease has ended.
    End,
}

/// What a client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Begin {
        at: At,
        tentative: bool,
        declared: Option<u64>,
        announced: Option<u64>,
    },
    Append(u64),
    Commit,
    Inspect,
    Peek,
    Terminate,
    Annotate,
    AnnotateUnheard,
    Expire,
    Interrupt,
    /// The application wants no more of the lease that is open, or was last.
    Stop,
    /// The largest upload is another.
    Limit(Option<u64>),
    Close,
    PartialsReady(u64),
    PartialLost,
}

/// A plain request for a lease.
pub(super) const fn begin(at: At) -> Act {
    Act::Begin { at, tentative: false, declared: None, announced: None }
}

/// A request for a lease whose bytes count only with the commit.
pub(super) const fn tentative(at: At) -> Act {
    Act::Begin { at, tentative: true, declared: None, announced: None }
}

/// What stays the same in a world.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) found: Found,
    pub(super) policy: Policy,
    pub(super) scripts: Vec<Vec<Act>>,
    /// How many operations may fail.
    pub(super) faults: u8,
    /// Whether a holder of a lease may go away at any time.
    pub(super) vanish: bool,
}

impl Setup {
    fn sync_always(&self) -> bool {
        self.policy.sync_always
    }
}

/// How an operation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Failed(Fault),
    /// The effect is there, and yet a failure is reported.
    DoneButFailed,
    /// A write that stored so many bytes.
    Short(u64, Fault),
}

/// A step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// The next thing in a client's script.
    Act(usize),
    /// A client goes away.
    Vanish(usize),
    /// The operation under way ends.
    Complete(Outcome),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Client {
    /// How far it is in its script.
    next: usize,
    lease: Option<LeaseId>,
    /// The offset that it was told last.
    told: u64,
    /// It goes on after the answer to this.
    waits_for: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Store {
    bytes: Vec<Byte>,
    staged: Option<u64>,
    durable: u64,
    length: Option<u64>,
    finished: bool,
    /// That it finishes, and that it is deleted, has been noted down.
    announced: (bool, bool),
    consulted: bool,
    /// Deletion has begun.
    deleting: bool,
    gone: bool,
}

impl Store {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes that count.
    fn visible(&self) -> u64 {
        self.staged.unwrap_or(self.len())
    }

    fn cut(&mut self, to: u64) {
        self.bytes.truncate(to as usize);
    }
}

/// What was seen of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    id: LeaseId,
    base: u64,
    /// Bytes handed over while it was open.
    handed: u64,
    tentative: bool,
    /// The length that counts once its tentative bytes do.
    declared: Option<u64>,
    open: bool,
    committed: bool,
    kept: bool,
}

impl Seen {
    /// Where a take-over would begin.
    fn successor(&self) -> u64 {
        if self.tentative { self.base } else { self.base + self.handed }
    }
}

/// What an unanswered asker may be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asked {
    Begin(usize, Begin),
    Append {
        end: u64,
        open: bool,
        fits: bool,
    },
    Commit {
        lease: LeaseId,
        open: bool,
    },
    Inspect(usize),
    Peek,
    Terminate,
    /// Whether it has been stored since.
    Annotate {
        stored: bool,
    },
    Interrupt {
        open: bool,
    },
    Probe,
}

/// The machine, the store, the clients, and what has been seen so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    state: State<u8, Run>,
    store: Store,
    operation: Option<Effect<u8, Run>>,
    clients: Vec<Client>,
    leases: Vec<Seen>,
    unanswered: BTreeMap<u8, Asked>,
    faults_left: u8,
    faulted: bool,
    /// The store is in a state that only a new owner can find out.
    broken: bool,
    closed: bool,
    retired: bool,
    /// An expiry came while nobody needed the upload.
    may_expire: bool,
    /// The largest offset that somebody was told.
    told: u64,
    stored_before: u64,
    /// An offset told in this step, to be tried out.
    try_offset: Option<u64>,
    probing: bool,
    max_size: Option<u64>,
}

const PROBE: u8 = u8::MAX;

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let Found { length, stored, finished, .. } = setup.found;
        Self {
            state: State::new(setup.found, setup.policy, 1),
            store: Store {
                bytes: vec![Byte::Found; stored as usize],
                staged: None,
                durable: stored,
                length,
                finished,
                announced: (false, false),
                consulted: false,
                deleting: false,
                gone: false,
            },
            operation: None,
            clients: vec![Client::default(); setup.scripts.len()],
            leases: Vec::new(),
            unanswered: BTreeMap::new(),
            faults_left: setup.faults,
            faulted: false,
            broken: false,
            closed: false,
            retired: false,
            may_expire: false,
            told: if setup.found.is_final { 0 } else { stored },
            stored_before: stored,
            try_offset: None,
            probing: false,
            max_size: setup.policy.max_size,
        }
    }

    /// All that can happen now.
    pub(super) fn moves(&self, setup: &Setup) -> Vec<Move> {
        let mut moves = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            let more = client.next < setup.scripts[index].len() || client.lease.is_some();
            if more && client.waits_for.is_none() {
                moves.push(Move::Act(index));
            }
            if setup.vanish && client.lease.is_some() && client.next < setup.scripts[index].len() {
                moves.push(Move::Vanish(index));
            }
        }
        if let Some(operation) = &self.operation {
            moves.push(Move::Complete(Outcome::Ok));
            if self.faults_left > 0 {
                moves.extend(failures::failures(operation).into_iter().map(Move::Complete));
            }
        }
        moves
    }

    /// Takes one step, and checks what the machine promises.
    pub(super) fn step(&mut self, setup: &Setup, step: Move) -> Checked {
        let mut went_back = false;
        let event = match step {
            Move::Act(client) => match setup.scripts[client].get(self.clients[client].next) {
                Some(act) => self.act(client, *act),
                None => self.release(client),
            },
            Move::Vanish(client) => {
                self.clients[client].next = setup.scripts[client].len();
                self.release(client)
            }
            Move::Complete(outcome) => {
                let Some(operation) = self.operation.take() else { return Err("nothing to complete".into()) };
                went_back = matches!(operation, Effect::Cut { .. } | Effect::Join);
                self.complete(setup, operation, outcome)?
            }
        };
        self.feed(setup, event)?;
        let stored = self.state.stored();
        check!(went_back || stored >= self.stored_before, "the offset went back to {stored}");
        self.stored_before = stored;
        self.check_layout()?;
        match self.try_offset.take() {
            Some(offset) if !self.probing => self.probe(setup, offset),
            _ => Ok(()),
        }
    }

    /// Gives the machine an event, and does what it asks for.
    fn feed(&mut self, setup: &Setup, event: Event<u8, Run>) -> Checked {
        let mut effects = Vec::new();
        let must_not_end = match &event {
            Event::Begin(_, begin) => self.open_lease().is_some_and(|seen| seen.successor() != begin.offset),
            _ => false,
        };
        let is_interrupt = matches!(event, Event::Interrupt(_));
        let is_stop = matches!(event, Event::Stop(_));
        self.state.on(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::EndLease { lease, why } => {
                    check!(is_interrupt || why != LeaseEnd::ByOperator, "blamed on an operator");
                    check!(is_stop || why != LeaseEnd::Stopped, "blamed on the application");
                    check!(!must_not_end, "a stale request has ended a lease");
                    let seen = self.leases.iter_mut().find(|seen| seen.id == lease && seen.open);
                    let Some(seen) = seen else { return Err(format!("lease {lease} is not open")) };
                    (seen.open, seen.declared) = (false, None);
                }
                Effect::Answer(asker, answer) => self.answered(setup, asker, answer)?,
                Effect::Retire => {
                    check!(self.store.gone || self.broken, "retires without need");
                    self.retired = true;
                }
                operation => self.begin_operation(setup, operation)?,
            }
        }
        Ok(())
    }

    fn open_lease(&self) -> Option<&Seen> {
        self.leases.iter().find(|seen| seen.open)
    }

    fn limit(&self) -> Option<u64> {
        let declared = self.open_lease().and_then(|seen| seen.declared);
        self.store.length.or(declared).or(self.max_size)
    }

    fn release(&mut self, client: usize) -> Event<u8, Run> {
        let lease = self.clients[client].lease.take().unwrap_or_default();
        self.end_by_holder(lease, false);
        Event::Release(lease)
    }

    /// Whether the lease was open until now.
    fn end_by_holder(&mut self, lease: LeaseId, committed: bool) -> bool {
        let Some(seen) = self.leases.iter_mut().find(|seen| seen.id == lease) else { return false };
        let open = std::mem::replace(&mut seen.open, false);
        seen.committed |= open && committed;
        if open && !committed {
            seen.declared = None;
        }
        open
    }

    fn act(&mut self, client: usize, act: Act) -> Event<u8, Run> {
        let asker = (client * 16 + self.clients[client].next) as u8;
        self.clients[client].next += 1;
        let lease = self.clients[client].lease;
        match act {
            Act::Append(len) => return self.append(asker, lease.unwrap_or_default(), len),
            Act::Expire => {
                let idle = self.unanswered.is_empty() && self.open_lease().is_none() && self.operation.is_none();
                self.may_expire |= idle;
                return Event::Expire;
            }
            Act::Close => {
                self.closed = true;
                return Event::Close;
            }
            Act::Stop => return Event::Stop(self.leases.last().map_or(0, |seen| seen.id)),
            Act::Limit(max_size) => {
                self.max_size = max_size;
                return Event::Limit(max_size);
            }
            Act::AnnotateUnheard => return Event::Annotate(None),
            Act::PartialsReady(length) => {
                self.store.length.get_or_insert(length);
                return Event::PartialsReady(length);
            }
            Act::PartialLost => return Event::PartialLost,
            _ => self.clients[client].waits_for = Some(asker),
        }
        let (asked, event) = match act {
            Act::Begin { at, tentative, declared, announced } => {
                let offset = self.offset(client, at);
                let begin = Begin { offset, declared_length: declared, announced, tentative };
                (Asked::Begin(client, begin), Event::Begin(asker, begin))
            }
            Act::Commit => {
                let lease = lease.unwrap_or_default();
                self.clients[client].lease = None;
                let open = self.end_by_holder(lease, true);
                (Asked::Commit { lease, open }, Event::Commit(asker, lease))
            }
            Act::Inspect => (Asked::Inspect(client), Event::Inspect(asker)),
            Act::Interrupt => {
                let open = self.open_lease().is_some();
                (Asked::Interrupt { open }, Event::Interrupt(asker))
            }
            Act::Terminate => (Asked::Terminate, Event::Terminate(asker)),
            Act::Annotate => (Asked::Annotate { stored: false }, Event::Annotate(Some(asker))),
            _ => (Asked::Peek, Event::Peek(asker)),
        };
        self.unanswered.insert(asker, asked);
        event
    }

    fn offset(&self, client: usize, at: At) -> u64 {
        match at {
            At::Exactly(offset) => offset,
            At::Told => self.clients[client].told,
            At::End => self.open_lease().map_or(self.store.visible(), Seen::successor),
        }
    }

    fn append(&mut self, asker: u8, lease: LeaseId, len: u64) -> Event<u8, Run> {
        let limit = self.limit();
        let mut run = Run { lease, from: 0, len };
        let mut asked = Asked::Append { end: 0, open: false, fits: true };
        if let Some(seen) = self.leases.iter_mut().find(|seen| seen.id == lease && seen.open) {
            let end = seen.base + seen.handed + len;
            let fits = limit.is_none_or(|limit| end <= limit);
            run.from = seen.handed;
            if fits {
                seen.handed += len;
            }
            asked = Asked::Append { end, open: true, fits };
        }
        self.unanswered.insert(asker, asked);
        Event::Append(asker, lease, run)
    }
}
