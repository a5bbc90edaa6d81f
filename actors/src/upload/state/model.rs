//! Long random histories, held against a plain vector of bytes. `PROPTEST_CASES` sets how many.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Announced, Answer, Begin, Effect, Ending, Event, Fault, Found, LeaseId, Piece, Policy, Refusal, State};

impl Piece for Vec<u8> {
    fn len(&self) -> u64 {
        self.len() as u64
    }
}

type Machine = State<u32, Vec<u8>>;
type Operation = Effect<u32, Vec<u8>>;

/// A step, drawn without regard to what is going on.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Begins at the right offset, moved by so much.
    Begin {
        off_by: i8,
        tentative: bool,
        declared: Option<u8>,
        announced: Option<u8>,
    },
    /// Appends under the newest lease, or under the one before.
    Append {
        len: u8,
        stale: bool,
    },
    Commit {
        stale: bool,
    },
    Release {
        stale: bool,
    },
    Inspect,
    Peek,
    Annotate,
    Terminate,
    Expire,
    Interrupt,
    /// The application stops the newest lease.
    Stop,
    Close,
    /// The operation under way ends well.
    Complete,
    /// It fails; of a write so many percent are stored.
    Fail {
        percent: u8,
        full: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let begin = (prop_oneof![9 => Just(0i8), 1 => -3..=3i8], prop::bool::weighted(0.3));
    let hints = (prop::option::weighted(0.1, 0..80u8), prop::option::weighted(0.2, 0..40u8));
    let stale = || prop::bool::weighted(0.1);
    prop_oneof![
        15 => (begin, hints).prop_map(|((off_by, tentative), (declared, announced))| {
            Step::Begin { off_by, tentative, declared, announced }
        }),
        40 => (0..20u8, stale()).prop_map(|(len, stale)| Step::Append { len, stale }),
        8 => stale().prop_map(|stale| Step::Commit { stale }),
        4 => stale().prop_map(|stale| Step::Release { stale }),
        6 => Just(Step::Inspect),
        3 => Just(Step::Peek),
        3 => Just(Step::Annotate),
        2 => Just(Step::Interrupt),
        1 => prop::bool::weighted(0.1).prop_map(|end| if end { Step::Stop } else { Step::Peek }),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Step::Terminate } else { Step::Expire }),
        1 => prop::bool::weighted(0.1).prop_map(|end| if end { Step::Close } else { Step::Peek }),
        40 => Just(Step::Complete),
        2 => (0..=100u8, any::<bool>()).prop_map(|(percent, full)| Step::Fail { percent, full }),
    ]
}

/// A lease as its holder sees it.
#[derive(Debug)]
struct Held {
    id: LeaseId,
    tentative: bool,
    /// The length that counts once its tentative bytes do.
    declared: Option<u64>,
    open: bool,
    committed: bool,
    /// All that was handed over while it was open.
    handed: Vec<u8>,
    /// How much of it must be there, whatever comes: acknowledged, or handed over and no fault since.
    sure: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Begin,
    /// The bytes of the newest lease up to here.
    Append {
        end: usize,
        accepted: bool,
    },
    Commit {
        accepted: bool,
    },
    Other,
}

/// The machine beside what a client may rely upon.
struct Model {
    machine: Machine,
    policy: Policy,
    length: Option<u64>,
    /// What must be in the store: all of it up to the newest lease.
    settled: Vec<u8>,
    leases: Vec<Held>,
    /// The store itself.
    file: Vec<u8>,
    durable: usize,
    operation: Option<Operation>,
    asked: BTreeMap<u32, Asked>,
    begins: BTreeMap<u32, Begin>,
    next_asker: u32,
    next_byte: u8,
    ending: bool,
    deleted: bool,
    broken: bool,
    finished: bool,
    /// The ends that the application will be told of, whatever comes.
    announced: (bool, bool),
    consulted: bool,
}

impl Model {
    fn new(length: Option<u64>, policy: Policy) -> Self {
        let found = Found { length, stored: 0, is_final: false, finished: false };
        Self {
            machine: State::new(found, policy, 7),
            policy,
            length,
            settled: Vec::new(),
            leases: Vec::new(),
            file: Vec::new(),
            durable: 0,
            operation: None,
            asked: BTreeMap::new(),
            begins: BTreeMap::new(),
            next_asker: 0,
            next_byte: 0,
            ending: false,
            deleted: false,
            broken: false,
            finished: false,
            announced: (false, false),
            consulted: false,
        }
    }

    fn ask(&mut self, asked: Asked) -> u32 {
        self.next_asker += 1;
        self.asked.insert(self.next_asker, asked);
        self.next_asker
    }

    fn held(&self, stale: bool) -> Option<usize> {
        self.leases.len().checked_sub(1 + usize::from(stale))
    }

    fn right_offset(&self) -> u64 {
        let open = self.leases.last().filter(|held| held.open && !held.tentative);
        let handed = open.map_or(0, |held| held.handed.len());
        (self.settled.len() + handed) as u64
    }

    fn step(&mut self, step: Step) {
        let event = match step {
            Step::Begin { off_by, tentative, declared, announced } => {
                let offset = self.right_offset().saturating_add_signed(off_by.into());
                let (declared_length, announced) = (declared.map(u64::from), announced.map(u64::from));
                let begin = Begin { offset, declared_length, announced, tentative };
                let asker = self.ask(Asked::Begin);
                self.begins.insert(asker, begin);
                Event::Begin(asker, begin)
            }
            Step::Append { len, stale } => match self.held(stale) {
                Some(index) => self.append(index, len),
                None => return,
            },
            Step::Commit { stale } | Step::Release { stale } => {
                let Some(held) = self.held(stale).map(|index| &mut self.leases[index]) else { return };
                let (id, accepted) = (held.id, std::mem::replace(&mut held.open, false));
                if matches!(step, Step::Release { .. }) {
                    held.declared = held.declared.filter(|_| !accepted);
                    Event::Release(id)
                } else {
                    held.committed |= accepted;
                    Event::Commit(self.ask(Asked::Commit { accepted }), id)
                }
            }
            Step::Inspect => Event::Inspect(self.ask(Asked::Other)),
            Step::Peek => Event::Peek(self.ask(Asked::Other)),
            Step::Annotate => Event::Annotate(Some(self.ask(Asked::Other))),
            Step::Interrupt => Event::Interrupt(self.ask(Asked::Other)),
            Step::Terminate => Event::Terminate(self.ask(Asked::Other)),
            Step::Stop => match self.held(false) {
                Some(index) => Event::Stop(self.leases[index].id),
                None => return,
            },
            Step::Expire => Event::Expire,
            Step::Close => Event::Close,
            Step::Complete | Step::Fail { .. } => match self.operation.take() {
                Some(operation) => self.complete(operation, step),
                None => return,
            },
        };
        self.feed(event);
    }

    fn append(&mut self, index: usize, len: u8) -> Event<u32, Vec<u8>> {
        let bytes: Vec<u8> = (0..len).map(|at| self.next_byte.wrapping_add(at)).collect();
        self.next_byte = self.next_byte.wrapping_add(len);
        let held = &mut self.leases[index];
        let limit = self.length.or(held.declared).or(self.policy.max_size);
        let room = limit.map(|limit| limit.saturating_sub(self.settled.len() as u64));
        let end = held.handed.len() + bytes.len();
        let accepted = held.open && room.is_none_or(|room| end as u64 <= room);
        if accepted {
            held.handed.extend(&bytes);
        }
        let id = held.id;
        Event::Append(self.ask(Asked::Append { end, accepted }), id, bytes)
    }

    fn complete(&mut self, operation: Operation, step: Step) -> Event<u32, Vec<u8>> {
        let fault = match step {
            Step::Fail { full: true, .. } => Some(Fault::NoSpace),
            Step::Fail { full: false, .. } => Some(Fault::Failed),
            _ => None,
        };
        if let Effect::Write { pieces, then_finish, .. } = operation {
            let mut data = pieces.concat();
            if let Step::Fail { percent, .. } = step {
                data.truncate(data.len() * usize::from(percent) / 100);
            }
            self.file.extend(&data);
            if then_finish && fault.is_none() {
                self.operation = Some(Effect::Finish { length: self.file.len() as u64 });
            }
            return Event::Wrote(data.len() as u64, fault);
        }
        match (&operation, fault) {
            (Effect::Discard { base: to } | Effect::Cut { to }, None) => self.file.truncate(*to as usize),
            (Effect::Sync, None) => self.durable = self.file.len(),
            (Effect::Sync, Some(_)) => {
                // What a failed sync loses is not what it was.
                let durable = self.durable;
                self.file[durable..].fill(0);
                assert!(!self.policy.sync_always || self.settled.len() <= durable, "an acknowledged byte is lost");
                let spared = durable.saturating_sub(self.settled.len());
                self.settled.truncate(durable);
                if let Some(held) = self.leases.last_mut() {
                    held.sure = held.sure.min(spared);
                }
            }
            (Effect::Keep, None) if self.policy.sync_always => self.durable = self.file.len(),
            (Effect::Declare { length }, None) => {
                let unchecked = self.leases.last().is_some_and(|held| held.declared.is_some() && !held.committed);
                assert!(!unchecked, "declares {length} before the bytes count");
                self.length = Some(*length);
            }
            (Effect::Announce(Ending::Finished { .. }), None) => self.announced.0 = true,
            (Effect::Announce(Ending::Deleted { .. }), None) => self.announced.1 = true,
            (Effect::Announce(Ending::Deleted { .. }), Some(_)) => self.broken = true,
            (Effect::Consult, None) => self.consulted = true,
            (Effect::Finish { .. }, None) => self.finished = true,
            (Effect::Delete { .. }, None) => self.deleted = true,
            (Effect::Delete { .. } | Effect::Discard { .. } | Effect::Cut { .. }, Some(_)) => self.broken = true,
            _ => {}
        }
        Event::Done(fault.map_or(Ok(()), Err))
    }

    fn feed(&mut self, event: Event<u32, Vec<u8>>) {
        let mut effects = Vec::new();
        self.machine.on(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::EndLease { lease, .. } => {
                    let held = self.leases.last_mut().unwrap();
                    assert!(held.id == lease && held.open);
                    (held.open, held.declared) = (false, None);
                }
                Effect::Answer(asker, answer) => {
                    let asked = self.asked.remove(&asker).expect("asked, and not answered yet");
                    self.answered(asker, asked, answer);
                }
                Effect::Retire => assert!(self.deleted || self.broken),
                operation => {
                    assert_eq!(self.operation, None);
                    assert!(!self.ending && !self.broken, "{operation:?} after the end");
                    self.ending = matches!(operation, Effect::Delete { .. });
                    match &operation {
                        Effect::Write { at, pieces, then_finish } => {
                            assert_eq!(*at, self.file.len() as u64);
                            let end = *at + pieces.iter().map(Piece::len).sum::<u64>();
                            assert!(!then_finish || self.length == Some(end));
                            let tentative = self.leases.last().is_some_and(|held| held.tentative);
                            let completes = self.length == Some(end) && !tentative;
                            assert!(!completes || self.is_announced(), "the last write comes unannounced");
                        }
                        Effect::Delete { .. } => {
                            assert!(!self.policy.announced.terminate || self.announced.1, "deletes unannounced");
                        }
                        Effect::Consult => assert!(!self.consulted, "asks twice"),
                        Effect::Finish { length } => {
                            assert!(self.is_announced() && self.consulted == self.policy.consult);
                            assert_eq!((Some(*length), *length), (self.length, self.file.len() as u64));
                        }
                        _ => {}
                    }
                    self.operation = Some(operation);
                }
            }
        }
        assert!(self.broken || self.machine.stored() <= self.file.len() as u64);
    }

    fn is_announced(&self) -> bool {
        !self.policy.announced.finish || self.announced.0
    }

    /// An offset is told: all before it is what was handed over, in order, and nothing that was sure is missing.
    fn settle(&mut self, offset: u64) {
        let offset = offset as usize;
        assert_eq!(offset, self.file.len());
        assert!(offset >= self.settled.len(), "the offset went back");
        if let Some(held) = self.leases.last_mut() {
            assert!(!held.open);
            let fresh = offset - self.settled.len();
            if held.tentative && !held.committed {
                assert_eq!(fresh, 0, "tentative bytes count");
            } else if !held.tentative {
                assert!(fresh >= held.sure, "acknowledged bytes are lost");
            } else {
                assert!(fresh == 0 || fresh == held.handed.len(), "tentative bytes count in part");
            }
            self.settled.extend(&held.handed[..fresh]);
            held.handed.clear();
            held.sure = 0;
        }
        assert_eq!(self.file, self.settled);
        assert!(!self.policy.sync_always || self.durable >= offset, "told before it is durable");
    }

    fn answered(&mut self, asker: u32, asked: Asked, answer: Answer) {
        match (asked, answer) {
            (Asked::Begin, Answer::Granted { lease, offset, room }) => {
                self.settle(offset);
                let begin = self.begins[&asker];
                assert_eq!(begin.offset, offset);
                let tentative = begin.tentative;
                let declared = begin.declared_length.filter(|_| tentative);
                assert_eq!(room, self.length.or(declared).or(self.policy.max_size).map(|limit| limit - offset));
                let (open, committed, handed, sure) = (true, false, Vec::new(), 0);
                self.leases.push(Held { id: lease, tentative, declared, open, committed, handed, sure });
            }
            (Asked::Append { end, accepted: true }, Answer::Appended { .. }) => {
                let held = self.leases.last_mut().unwrap();
                held.sure = held.sure.max(end);
            }
            (Asked::Commit { accepted: true }, Answer::Committed { offset, finished }) => {
                let whole = self.settled.len() + self.leases.last().unwrap().handed.len();
                assert_eq!(whole as u64, offset);
                self.settle(offset);
                assert_eq!(finished, self.finished);
            }
            (Asked::Other, Answer::Inspected { offset: Some(offset) }) => self.settle(offset),
            (Asked::Begin, Answer::Complete { offset }) => {
                self.settle(offset);
                assert!(self.finished);
            }
            (Asked::Other, Answer::Terminated) => assert!(self.deleted),
            (Asked::Other, Answer::Peeked { finished }) => assert_eq!(finished, self.finished),
            (Asked::Other, Answer::Annotated | Answer::Interrupted { .. }) => {}
            (_, Answer::Refused(Refusal::NotFound | Refusal::Expired)) => assert!(self.deleted),
            (_, Answer::Refused(_)) => {}
            unexpected => panic!("{unexpected:?}"),
        }
    }

    /// Holders let go, and what is under way ends well.
    fn come_to_rest(&mut self) {
        while self.operation.is_some() || self.leases.last().is_some_and(|held| held.open) {
            self.step(Step::Release { stale: false });
            self.step(Step::Complete);
        }
        assert_eq!(self.asked, BTreeMap::new(), "left without an answer");
        assert!(self.machine.is_idle());
        if !self.deleted && !self.broken {
            self.step(Step::Inspect);
            while self.operation.is_some() {
                self.step(Step::Complete);
            }
            assert_eq!(self.file, self.settled);
            assert_eq!(self.finished, self.length == Some(self.file.len() as u64));
        }
    }
}

/// Without a wish from outside some thousand histories, and no file that remembers the failed ones.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases: 3000, ..config } }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_histories_agree_with_a_vector(
        length in prop::option::weighted(0.7, 0..200u64),
        max_size in prop::option::weighted(0.3, 200..300u64),
        (sync_finish, sync_always, finish_with_write) in (any::<bool>(), any::<bool>(), any::<bool>()),
        (consult, announced) in (any::<bool>(), any::<bool>()),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let announced = Announced { finish: announced, terminate: announced, expire: announced };
        let policy = Policy { sync_finish, sync_always, finish_with_write, max_size, consult, announced };
        let mut model = Model::new(length, policy);
        for step in steps {
            model.step(step);
        }
        model.come_to_rest();
    }
}
