//! The owner of one upload: an actor around the pure state machine.
//!
//! It owns everything that changes about the upload. The directory starts it, on the arbiter of the request that needed
//! it; it retires when idle, when the upload is finished or gone, or when the store left it in doubt. Its mailbox is
//! bounded by `pools.uploads.mailbox`: an open lease has at most its window of appends in it, every other request one
//! message.

mod handlers;
pub(crate) mod messages;
mod observe;
mod perform;
pub(crate) mod sight;
pub(crate) mod state;
mod told;
pub(crate) mod view;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix::{Actor, ActorContext, AsyncContext, Context};
use bytes::Bytes;
use slog::{Logger, o};
use tokio::sync::oneshot;

use crate::{
    Info, Kind, Own, Record, Share, UploadId,
    directory::Directory,
    history::Course,
    hooks::Caller,
    post::{Gauge, METERED, now_nanos},
    receives_letters,
    storage::{Blob, Opened, Tap, Ticket},
    tally::OpenLease,
};
use messages::{Asker, Departure, Ended, Snapshot};
use sight::Sight;
use state::{Event, Found, LeaseEnd, LeaseId, Piece, State};
use told::Told;

/// An idle owner closes its file after this long.
const REST_AFTER: Duration = Duration::from_secs(1);

/// The lower of two limits, each of which may be missing.
pub(crate) fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// What one message brought.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// Bytes, and the memory that they take until they are stored.
    Here(Vec<Bytes>, Share),
    /// Bytes that take none, for they are yet to be drawn from a socket.
    InSocket(Tap),
}

impl Piece for Pieces {
    fn len(&self) -> u64 {
        match self {
            Self::Here(bytes, _) => bytes.iter().map(|bytes| bytes.len() as u64).sum(),
            Self::InSocket(tap) => tap.len as u64,
        }
    }

    fn stands_alone(&self) -> bool {
        matches!(self, Self::InSocket(_))
    }
}

/// Who holds the lease, as far as the log and the end of the lease need to know.
struct Holder {
    lease: LeaseId,
    request_id: Arc<str>,
    end: Option<oneshot::Sender<Ended>>,
    departure: Option<Departure>,
    ended: Option<LeaseEnd>,
    /// The operator who wanted it to end.
    by: Option<Arc<str>>,
    /// Counts it as open.
    _open: OpenLease,
}

/// The owner of one upload. See the module.
pub(crate) struct Upload {
    id: UploadId,
    state: State<Asker, Pieces>,
    blob: Box<dyn Blob>,
    info: Info,
    /// When the bytes last changed, as far as the store knew at the start, or this owner since.
    changed: SystemTime,
    record: Option<Arc<Record>>,
    holder: Option<Holder>,
    /// What is known of the partial uploads of a final one: their lengths once finished.
    partials: BTreeMap<UploadId, Option<u64>>,
    /// Those who want to know whether a final upload is finished while its partial ones are being looked up.
    early_peeks: Option<Vec<Asker>>,
    directory: Arc<Directory>,
    gauge: Arc<Gauge>,
    sight: Arc<Sight>,
    course: Course,
    /// When listeners were last told of the upload's progress; 0 before.
    progress_told_nanos: u64,
    /// For the application, when it wants to hear of uploads.
    told: Option<Box<Told>>,
    /// What has been brought by the asker of the lease that was just granted.
    brought: Option<(LeaseId, Pieces, Asker)>,
    /// The last lease ended because another request wanted the upload.
    overtaken: bool,
    logger: Logger,
    /// When it last did something, which is now while it does. The clock is read once for each event.
    last_active_nanos: u64,
    timer_armed: bool,
    /// About to retire.
    leaving: bool,
    retired: bool,
    /// Nothing more can be had from this owner.
    over: bool,
    /// Held for its drop: while it lives the directory starts no successor.
    _ticket: Ticket,
}

impl Upload {
    /// An owner for an upload that was just created, by the request that `caller` tells of, or found.
    pub(crate) fn new(
        opened: Opened,
        is_new: bool,
        caller: Option<Arc<Caller>>,
        directory: Arc<Directory>,
        (gauge, sight): (Arc<Gauge>, Arc<Sight>),
        ticket: Ticket,
    ) -> Self {
        let Opened { blob, info, stored, changed, record } = opened;
        let found = Found { length: info.length, stored, is_final: info.is_final(), finished: record.is_some() };
        let mut policy = directory.policy();
        policy.max_size = least(policy.max_size, info.own.as_ref().and_then(|own| own.max_size));
        let partials = match &info.kind {
            Kind::Final { partials } => partials.iter().map(|partial| (partial.clone(), None)).collect(),
            Kind::Single | Kind::Partial => BTreeMap::new(),
        };
        let told = directory.hooks().map(|hooks| Told::new(hooks.clone(), caller, stored));
        let now_nanos = now_nanos();
        let mut upload = Self {
            id: info.id.clone(),
            state: State::new(found, policy, directory.first_lease()),
            blob,
            changed,
            record: record.map(Arc::new),
            holder: None,
            partials,
            early_peeks: None,
            logger: directory.logger().new(o!("upload_id" => info.id.as_str().to_owned())),
            info,
            directory,
            gauge,
            course: Course::new(now_nanos, sight.started_ms),
            sight,
            progress_told_nanos: 0,
            told,
            brought: None,
            overtaken: false,
            last_active_nanos: now_nanos,
            timer_armed: false,
            leaving: false,
            retired: false,
            over: false,
            _ticket: ticket,
        };
        upload.on_started(is_new);
        upload
    }

    /// Drives one event through the state machine and performs what it asks for.
    fn on(&mut self, event: Event<Asker, Pieces>, context: &mut Context<Self>) {
        self.last_active_nanos = now_nanos();
        self.take(event, context);
        if let Some((lease, pieces, asker)) = self.brought.take() {
            self.take(Event::Append(Asker::nobody(), lease, pieces), context);
            self.take(Event::Commit(asker, lease), context);
        }
        self.observe();
        self.tell_of_progress(context);
        if self.state.is_idle() && !self.retired {
            // What a hook has said of the finish may still be asked for.
            if self.state.is_finished() && self.told.is_none() {
                self.leave(context);
            } else if !self.timer_armed {
                self.arm_timer(
                    if self.over || self.state.is_finished() { Duration::ZERO } else { REST_AFTER },
                    context,
                );
            }
        }
    }

    fn take(&mut self, event: Event<Asker, Pieces>, context: &mut Context<Self>) {
        let mut effects = Vec::new();
        self.state.on(event, &mut effects);
        for effect in effects {
            self.perform(effect, context);
        }
    }

    /// Ends the owner of a finished upload behind the messages that are there, whenever its timer would: the next one
    /// gets its memory while that is still in the processor's cache.
    fn leave(&mut self, context: &mut Context<Self>) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.when_ready(std::future::ready(()), context, |upload, (), context| {
                upload.leaving = false;
                if upload.state.is_idle() && !upload.retired {
                    upload.retire(context);
                }
            });
        }
    }

    fn arm_timer(&mut self, after: Duration, context: &mut Context<Self>) {
        self.timer_armed = true;
        context.run_later(after, |upload, context| {
            upload.timer_armed = false;
            upload.on_timer(context);
        });
    }

    /// An owner without work first closes its file, then goes. The one of a finished upload goes at once.
    fn on_timer(&mut self, context: &mut Context<Self>) {
        if !self.state.is_idle() || self.retired {
            return;
        }
        let idle = Duration::from_nanos(now_nanos().saturating_sub(self.last_active_nanos));
        let idle_max = self.directory.live().idle_owner();
        if self.over || self.state.is_finished() || idle >= idle_max {
            self.retire(context);
        } else {
            if idle >= REST_AFTER {
                self.blob.rest();
            }
            let next = if idle < REST_AFTER { REST_AFTER } else { idle_max };
            self.arm_timer(next.saturating_sub(idle), context);
        }
    }

    /// Ends this owner, unless messages have just come in. Whoever sends one later waits for the successor.
    fn retire(&mut self, context: &mut Context<Self>) {
        if !self.directory.retire(&self.id, &self.gauge) {
            if !self.timer_armed {
                self.arm_timer(REST_AFTER, context);
            }
            return;
        }
        self.retired = true;
        context.stop();
    }

    /// The most bytes that it may have, as it is set now.
    fn max_size(&self) -> Option<u64> {
        least(self.directory.live().max_size(), self.info.own.as_ref().and_then(|own| own.max_size))
    }

    fn own(&mut self) -> &mut Own {
        self.info.own.get_or_insert_with(Own::default)
    }

    fn expires_at_secs(&self) -> Option<u64> {
        self.directory.clock().after()?;
        let may_expire = !self.state.is_finished() || self.info.kind == Kind::Partial;
        self.info.own.as_ref().and_then(|own| own.expires_at_secs).filter(|_| may_expire && !self.info.is_final())
    }

    /// Puts the expiry off after a change; stored only when it moves by a tenth of the upload's life or more.
    /// Returns whether there is something to store.
    fn put_off_expiry(&mut self) -> bool {
        self.changed = SystemTime::now();
        let clock = self.directory.clock();
        let (Some(after), Some(new)) = (clock.after(), clock.expiry_secs()) else { return false };
        if self.info.is_final() || (self.state.is_finished() && self.info.kind != Kind::Partial) {
            return false;
        }
        let least_secs = (after.as_secs() / 10).max(1);
        let moved = self
            .info
            .own
            .as_ref()
            .and_then(|own| own.expires_at_secs)
            .is_none_or(|old| new >= old.saturating_add(least_secs));
        if moved {
            self.own().expires_at_secs = Some(new);
        }
        moved
    }

    /// Whether its time has run out and no final upload waits for it.
    fn is_due(&self) -> bool {
        let awaited = self.info.own.as_ref().is_some_and(|own| !own.finals.is_empty()) && !self.state.is_finished();
        let lasting = self.info.is_final() || (self.state.is_finished() && self.info.kind != Kind::Partial);
        let expires_at_secs = self.info.own.as_ref().and_then(|own| own.expires_at_secs);
        !awaited && !lasting && self.directory.clock().is_due(expires_at_secs, self.changed)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            info: Info { length: self.state.length(), ..self.info.clone() },
            offset: (!self.state.is_waiting()).then(|| self.state.stored()),
            expires_at_secs: self.expires_at_secs(),
            record: self.record.clone().filter(|_| self.state.is_finished()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if METERED {
            self.directory.histories().keep(&self.id, std::mem::take(&mut self.course));
        }
        if !self.retired {
            self.directory.note_death(&self.id);
        }
    }
}

impl Actor for Upload {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.is_due() {
            self.on(Event::Expire, context);
        } else if self.directory.is_closing() {
            self.on(Event::Close, context);
        } else if self.state.is_waiting() {
            self.look_for_partials(context);
        }
        // Nobody may ever write to an owner that was started for somebody who has gone.
        if !self.timer_armed && !self.retired {
            self.arm_timer(REST_AFTER, context);
        }
    }
}

receives_letters!(
    Upload,
    "upload",
    [
        "begin",
        "append",
        "commit",
        "release",
        "inspect",
        "peek",
        "terminate",
        "expire",
        "join",
        "partial_ended",
        "close",
        "store_expiry",
        "interrupt",
        "look",
        "received",
    ]
);
