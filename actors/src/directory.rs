//! Who owns which upload: starts exactly one owner per upload however many requests come at once, and lets a successor
//! start only when nothing of the former owner can touch the store any more.
//!
//! An entry goes Starting -> Running -> Retiring -> absent. It becomes absent when the last [`Ticket`] of the upload is
//! dropped: the owner holds one, and so does each of its operations on the store. No guard of the map lives across an
//! await.
#![expect(clippy::disallowed_types, reason = "the one map that is shared")]

mod memory;
mod roster;
pub(crate) mod whole;

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use actix::{Actor, Context};
use dashmap::{DashMap, mapref::entry::Entry as Slot};
use slog::{Logger, error, info, o};
use tokio::sync::oneshot;

use crate::{
    Info, Record, UploadId,
    clock::Clock,
    events::{Event, Events, Watcher},
    history::Kept,
    hooks::{Caller, EventKind, Hooks},
    live::Live,
    post::{Gauge, KindMeter, METERED, Post, meter_of, now_nanos},
    storage::{
        Durability, ErrorKind, Opened, Storage, StorageError, Ticket,
        metered::{Metered, Meters, Name, Outcome},
    },
    tally::Tally,
    upload::{
        Upload,
        messages::Close,
        sight::Sight,
        state::{Announced, Policy},
    },
};

/// What a directory starts with.
pub(crate) struct Config {
    pub(crate) durability: Durability,
    pub(crate) live: Live,
    /// How many messages may wait in the mailbox of one owner.
    pub(crate) mailbox: usize,
    /// How many finished (and how many expired) uploads are kept in mind.
    pub(crate) remembered: usize,
    /// How the application hears of uploads, if it does.
    pub(crate) hooks: Option<Hooks>,
    /// Hears which uploads end.
    pub(crate) watcher: Option<Arc<dyn Watcher>>,
}

/// An owner that runs, as others see it.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) post: Post<Upload>,
    pub(crate) sight: Arc<Sight>,
}

/// What came of looking for an owner.
type Started = Result<Post<Upload>, ErrorKind>;

enum Entry {
    /// Storage is being looked at; those who wait are told what came of it.
    Starting {
        epoch: u64,
        waiting: Vec<oneshot::Sender<Started>>,
    },
    Running {
        epoch: u64,
        owner: Owner,
    },
    /// The owner has ended; those who wait are told, by the drop of these senders, that all of it has.
    Retiring {
        epoch: u64,
        waiting: Vec<oneshot::Sender<Started>>,
    },
}

/// What one finds at an upload's place in the map.
enum Seat {
    Running(Post<Upload>),
    /// Somebody else starts the owner, or a former one is not quite gone.
    Wait(oneshot::Receiver<Started>),
    /// The caller is to start it.
    Start(u64, oneshot::Receiver<Started>),
}

/// Of an upload that is just being created: the request that wants it.
type New = Option<Option<Arc<Caller>>>;

/// The map from uploads to their owners, and what owners share without changing it.
pub(crate) struct Directory {
    entries: DashMap<UploadId, Entry>,
    records: quick_cache::sync::Cache<UploadId, Arc<Record>>,
    /// With their owners.
    expired: quick_cache::sync::Cache<UploadId, Option<Arc<str>>>,
    storage: Arc<dyn Storage>,
    operations: Arc<Meters>,
    histories: Kept,
    durability: Durability,
    live: Live,
    hooks: Option<Hooks>,
    tally: Arc<Tally>,
    events: Events,
    watcher: Option<Arc<dyn Watcher>>,
    clock: Clock,
    meter: Arc<KindMeter>,
    logger: Logger,
    epochs: AtomicU64,
    leases: AtomicU64,
    died: AtomicU64,
    closing: AtomicBool,
}

/// The inside of a ticket.
struct Hold {
    directory: Weak<Directory>,
    id: UploadId,
    epoch: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.upgrade() {
            directory.entries.remove_if(&self.id, |_, entry| entry.epoch() == self.epoch);
        }
    }
}

impl Entry {
    fn epoch(&self) -> u64 {
        match self {
            Self::Starting { epoch, .. } | Self::Running { epoch, .. } | Self::Retiring { epoch, .. } => *epoch,
        }
    }

    fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Running { owner, .. } => Some(owner),
            Self::Starting { .. } | Self::Retiring { .. } => None,
        }
    }
}

/// Leases of one owner have numbers from here on; no two owners' overlap.
const LEASES_PER_OWNER: u64 = 1 << 32;

impl Directory {
    pub(crate) fn new(storage: Arc<dyn Storage>, config: Config, clock: Clock, logger: Logger) -> Arc<Self> {
        let Config { durability, live, mailbox, remembered, hooks, watcher } = config;
        let operations = Meters::new();
        Arc::new(Self {
            entries: DashMap::new(),
            records: quick_cache::sync::Cache::new(remembered),
            expired: quick_cache::sync::Cache::new(remembered),
            histories: Kept::default(),
            storage: Metered::over(storage, &operations),
            operations,
            durability,
            live,
            hooks,
            tally: Arc::default(),
            events: Events::default(),
            watcher,
            clock,
            meter: meter_of::<Upload>(mailbox),
            logger,
            epochs: AtomicU64::new(1),
            leases: AtomicU64::new(0),
            died: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        })
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The settings that may change.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// How the application hears of uploads, if it does.
    pub(crate) fn hooks(&self) -> Option<&Hooks> {
        self.hooks.as_ref()
    }

    /// How owners treat bytes, as it is now.
    pub(crate) fn policy(&self) -> Policy {
        let wants = |kind| self.hooks.as_ref().is_some_and(|hooks| hooks.wants(kind));
        Policy {
            sync_finish: self.durability != Durability::None,
            sync_always: self.durability == Durability::Always,
            finish_with_write: self.storage.finishes_with_write(),
            max_size: self.live.max_size(),
            consult: wants(EventKind::PreFinish),
            announced: Announced {
                finish: wants(EventKind::PostFinish),
                terminate: wants(EventKind::PostTerminate),
                expire: wants(EventKind::PostExpire),
            },
        }
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// An upload takes no more bytes: it is finished, or not there any more.
    pub(crate) fn note_end(&self, id: &UploadId) {
        if let Some(watcher) = &self.watcher {
            watcher.ended(id);
        }
    }

    /// An upload has been created.
    pub(crate) fn note_created(&self, info: &Info) {
        let (id, length) = (&info.id, info.length);
        info!(self.logger, "upload created"; o!("upload_id" => id.as_str().to_owned()), "length" => length);
        self.tally.created.add(1);
        self.events.tell(|| Event::UploadCreated { id: id.clone(), length });
    }

    /// The meters of the store's operations.
    pub(crate) fn operations(&self) -> &Arc<Meters> {
        &self.operations
    }

    /// What is remembered of uploads that have no owners.
    pub(crate) fn histories(&self) -> &Kept {
        &self.histories
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// The meter over the mailboxes of all owners.
    pub(crate) fn meter(&self) -> &Arc<KindMeter> {
        &self.meter
    }

    /// How many owners have died of a panic.
    pub(crate) fn died(&self) -> u64 {
        self.died.load(Ordering::Relaxed)
    }

    /// An owner has ended without having retired.
    pub(crate) fn note_death(&self, id: &UploadId) {
        // At the end of the service its arbiters drop what is still on them.
        if !self.is_closing() {
            self.died.fetch_add(1, Ordering::Relaxed);
            self.meter.note_restart();
            error!(self.logger, "owner died"; "upload_id" => %id);
        }
    }

    pub(crate) fn first_lease(&self) -> u64 {
        self.leases.fetch_add(1, Ordering::Relaxed) * LEASES_PER_OWNER
    }

    /// The owner of an upload, started if need be.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub(crate) async fn find(self: &Arc<Self>, id: &UploadId) -> Started {
        loop {
            let waiting = match self.seat(id) {
                Seat::Running(post) => return Ok(post),
                Seat::Wait(waiting) => waiting,
                Seat::Start(epoch, waiting) => {
                    let ticket = self.ticket(id, epoch);
                    let opening = self.storage.open(id, ticket.clone());
                    self.start(id.clone(), None, epoch, ticket, opening);
                    waiting
                }
            };
            // A dropped sender tells that the former owner is gone, or that its start broke off: look again.
            if let Ok(started) = waiting.await {
                return started;
            }
        }
    }

    /// Creates an upload and starts its owner. `caller` tells of the request that wants it.
    ///
    /// # Errors
    /// As [`Storage::create`]; an id that is in use is [`ErrorKind::Exists`].
    pub(crate) async fn create(self: &Arc<Self>, info: Info, caller: Option<Arc<Caller>>) -> Started {
        let (epoch, waiting) = self.free_seat(&info.id).await?;
        let (id, ticket) = (info.id.clone(), self.ticket(&info.id, epoch));
        let creating = self.storage.create(info, ticket.clone());
        self.start(id, Some(caller), epoch, ticket, creating);
        waiting.await.unwrap_or(Err(ErrorKind::Failed))
    }

    /// The seat of an upload that is to be created.
    async fn free_seat(&self, id: &UploadId) -> Result<(u64, oneshot::Receiver<Started>), ErrorKind> {
        loop {
            match self.seat(id) {
                Seat::Running(_) => return Err(ErrorKind::Exists),
                Seat::Wait(waiting) => {
                    if let Ok(Ok(_)) = waiting.await {
                        return Err(ErrorKind::Exists);
                    }
                }
                Seat::Start(epoch, waiting) => return Ok((epoch, waiting)),
            }
        }
    }

    fn ticket(self: &Arc<Self>, id: &UploadId, epoch: u64) -> Ticket {
        Ticket::new(Arc::new(Hold { directory: Arc::downgrade(self), id: id.clone(), epoch }))
    }

    fn seat(&self, id: &UploadId) -> Seat {
        let (sender, receiver) = oneshot::channel();
        match self.entries.entry(id.clone()) {
            Slot::Vacant(slot) => {
                let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
                slot.insert(Entry::Starting { epoch, waiting: vec![sender] });
                Seat::Start(epoch, receiver)
            }
            Slot::Occupied(mut slot) => match slot.get_mut() {
                Entry::Running { owner, .. } if owner.post.is_open() => Seat::Running(owner.post.clone()),
                Entry::Running { epoch, .. } => {
                    // Closed without having retired: it died. Its last operations may still be under way.
                    let epoch = *epoch;
                    slot.insert(Entry::Retiring { epoch, waiting: vec![sender] });
                    Seat::Wait(receiver)
                }
                Entry::Starting { waiting, .. } | Entry::Retiring { waiting, .. } => {
                    waiting.push(sender);
                    Seat::Wait(receiver)
                }
            },
        }
    }

    /// Starts an owner once the store has answered. A task of its own: the request that needs the owner may end at any
    /// await, and others wait for the outcome too.
    fn start(
        self: &Arc<Self>,
        id: UploadId,
        new: New,
        epoch: u64,
        ticket: Ticket,
        opening: impl Future<Output = Result<Opened, StorageError>> + 'static,
    ) {
        let directory = Arc::clone(self);
        actix_rt::spawn(async move {
            let run = METERED.then(|| {
                let name = if new.is_some() { Name::Create } else { Name::Open };
                directory.operations.begin(name, now_nanos())
            });
            let opened = opening.await;
            if let Some(run) = run {
                run.end(now_nanos(), opened.failure());
            }
            let started = match opened {
                Ok(opened) => Ok(directory.run(opened, new, ticket.clone())),
                Err(error) => {
                    if !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Exists) {
                        error!(directory.logger, "owner could not be started"; "upload_id" => %id, "error" => %error);
                    }
                    Err(error.kind)
                }
            };
            directory.settle(&id, epoch, started);
            // Only now: with the last ticket the entry goes.
            drop(ticket);
        });
    }

    fn run(self: &Arc<Self>, opened: Opened, new: New, ticket: Ticket) -> Owner {
        let filename = ["filename", "name"].iter().find_map(|key| opened.info.metadata.get(*key));
        let sight = Arc::new(Sight::new(filename.map(String::as_str), opened.changed));
        let gauge = Gauge::of(&self.meter);
        let published = (Arc::clone(&gauge), Arc::clone(&sight));
        let (is_new, caller) = (new.is_some(), new.flatten());
        let owner = Upload::new(opened, is_new, caller, Arc::clone(self), published, ticket);
        Owner { post: Post::new(Upload::create(|_: &mut Context<Upload>| owner), gauge), sight }
    }

    fn settle(&self, id: &UploadId, epoch: u64, started: Result<Owner, ErrorKind>) {
        let Some(mut entry) = self.entries.get_mut(id).filter(|entry| entry.epoch() == epoch) else { return };
        let (next, started) = match started {
            Ok(owner) => (Entry::Running { epoch, owner: owner.clone() }, Ok(owner.post)),
            Err(kind) => (Entry::Retiring { epoch, waiting: Vec::new() }, Err(kind)),
        };
        let before = std::mem::replace(&mut *entry, next);
        drop(entry);
        if let Entry::Starting { waiting, .. } = before {
            for waiter in waiting {
                // One who has gone needs no answer.
                let _ = waiter.send(started.clone());
            }
        }
    }

    /// Lets an owner end; false when messages have just come in for it.
    pub(crate) fn retire(&self, id: &UploadId, gauge: &Arc<Gauge>) -> bool {
        let Some(mut entry) = self.entries.get_mut(id) else {
            gauge.retire();
            return true;
        };
        let epoch = match &*entry {
            Entry::Running { epoch, owner } if Arc::ptr_eq(owner.post.gauge(), gauge) => *epoch,
            _ => {
                gauge.retire();
                return true;
            }
        };
        if gauge.depth() > 0 {
            return false;
        }
        gauge.retire();
        *entry = Entry::Retiring { epoch, waiting: Vec::new() };
        true
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Ends all leases, now and from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for post in self.owners() {
            post.tell(Close);
        }
    }
}
