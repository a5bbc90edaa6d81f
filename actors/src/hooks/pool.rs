//! The handle of the hooks: what owners and the facade may ask of them.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix::{Actor, Context};
use actix_rt::Arbiter;
use slog::{Logger, warn};
use tokio::sync::oneshot;

use super::{
    Call, EventKind, HookError, HookFailure, Notice, Transport,
    dispatcher::Dispatcher,
    docket::{Owed, OwedState},
    job::{Called, Hearer, Job},
    messages::{Claim, Class, Close, Fate, Forget, List, Owe, Recovered, Resize, Retry, Submit, Withdraw},
    meters::Meters,
    outbox::Outbox,
    runner::Runner,
};
use crate::{
    post::{Gauge, KindMeter, MailboxReport, PoolReport, Post, Unanswered, meter_of},
    room::{Places, Room},
    storage::{ErrorKind, OutboxStore, StorageError, StoreReport, Wait},
};

/// How many messages may wait in a mailbox of the hooks' own actors, beside those that are never refused.
const MAILBOX: usize = 1024;

/// What hooks start with.
#[derive(Clone)]
pub struct Config {
    /// Which events the application is told of, or asked about.
    pub events: Vec<EventKind>,
    /// How they are brought to it.
    pub transport: Arc<dyn Transport>,
    /// How many calls may be under way at once.
    pub workers: usize,
    /// How many calls may wait.
    pub queue: usize,
    /// How long a request waits for a call to begin.
    pub queue_wait: Duration,
    /// How often the application is told that bytes come in, at most.
    pub progress_every: Duration,
    /// The fields of a request by which a client is known, as they stand in [`Caller`](super::Caller): whom an answer to
    /// pre-access holds for.
    pub identity: Vec<String>,
}

/// The pool of those who call hooks, and the outbox. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct Hooks {
    inner: Arc<Inner>,
}

struct Inner {
    transport: &'static str,
    wanted: [bool; EventKind::ALL.len()],
    queue_wait: Duration,
    progress_every: Duration,
    dispatcher: Post<Dispatcher>,
    outbox: Post<Outbox>,
    store: Arc<dyn OutboxStore>,
    /// Room for calls that wait.
    room: Room,
    runners: Arc<KindMeter>,
    meters: Arc<Meters>,
    /// Keys for events of uploads that have no name yet.
    nameless: AtomicU64,
    logger: Logger,
    arbiter: Arbiter,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

/// An event that has been noted: it is owed once the end has come.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    event_id: String,
    notice: Arc<Notice>,
}

/// The number by which the events of an upload are kept in order.
pub(super) fn key_of(upload: &str) -> u64 {
    // Two uploads of one number wait for one another, now and then: no more comes of it.
    BuildHasherDefault::<DefaultHasher>::default().hash_one(upload)
}

impl Hooks {
    /// Starts those who call hooks, on an arbiter of their own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(config: Config, store: Arc<dyn OutboxStore>, logger: Logger) -> io::Result<Self> {
        let arbiter = Arbiter::try_new()?;
        let Config { events, transport, workers, queue, queue_wait, progress_every, .. } = config;
        let way = transport.name();
        let (queue, meters) = (queue.max(1), Meters::new(queue.max(1)));
        let runners = meter_of::<Runner>(2);
        let dispatcher_gauge = Gauge::of(&meter_of::<Dispatcher>(MAILBOX));
        let outbox_gauge = Gauge::of(&meter_of::<Outbox>(MAILBOX));
        let dispatcher = {
            let (meter, meters, gauge, logger) =
                (Arc::clone(&runners), Arc::clone(&meters), Arc::clone(&dispatcher_gauge), logger.clone());
            Dispatcher::start_in_arbiter(&arbiter.handle(), move |_: &mut Context<Dispatcher>| {
                Dispatcher::new(workers, transport, meter, meters, gauge, logger)
            })
        };
        let dispatcher = Post::new(dispatcher, dispatcher_gauge);
        let outbox = {
            let (dispatcher, meters, gauge) = (dispatcher.clone(), Arc::clone(&meters), Arc::clone(&outbox_gauge));
            let (store, logger) = (Arc::clone(&store), logger.clone());
            Outbox::start_in_arbiter(&arbiter.handle(), move |_: &mut Context<Outbox>| {
                Outbox::new(store, dispatcher, meters, gauge, logger)
            })
        };
        let outbox = Post::new(outbox, outbox_gauge);
        let wanted = EventKind::ALL.map(|kind| events.contains(&kind));
        let room = Room::new(queue);
        let nameless = AtomicU64::new(0);
        Ok(Self {
            inner: Arc::new(Inner {
                transport: way,
                wanted,
                queue_wait,
                progress_every,
                dispatcher,
                outbox,
                store,
                room,
                runners,
                meters,
                nameless,
                logger,
                arbiter,
            }),
        })
    }

    /// Whether the application is to hear of such events.
    pub(crate) fn wants(&self, kind: EventKind) -> bool {
        self.inner.wanted[kind as usize]
    }

    /// How often the application is told that bytes come in, at most.
    pub(crate) fn progress_every(&self) -> Duration {
        self.inner.progress_every
    }

    /// Asks the application, and waits for its verdict.
    ///
    /// # Errors
    /// When the hook fails, or too many calls wait already.
    pub(crate) async fn ask(&self, call: Call) -> Called {
        let (inner, kind) = (&*self.inner, call.kind);
        let upload = match call.event.upload.id.as_str() {
            "" => inner.nameless.fetch_add(1, Ordering::Relaxed),
            id => key_of(id),
        };
        let notice = self.notice(call)?;
        let Some(place) = self.place() else {
            inner.meters.refused(kind, HookFailure::Overloaded);
            return Err(HookError::new(HookFailure::Overloaded, "too many calls of hooks wait"));
        };
        let ((begin, begun), (asker, answer)) = (oneshot::channel(), oneshot::channel());
        let hearer = Hearer::Asker { begun: Some(begin), answer: asker };
        self.submit(Class::Ask, upload, notice, hearer, Some(place));
        if tokio::time::timeout(inner.queue_wait, begun).await.is_err() {
            inner.meters.refused(kind, HookFailure::Overloaded);
            return Err(HookError::new(HookFailure::Overloaded, "no runner was free in time"));
        }
        answer.await.unwrap_or_else(|_| Err(HookError::new(HookFailure::Closed, "the hooks are closed")))
    }

    /// Tells the application, and goes on. The events of one upload reach it in the order in which they are told here.
    /// When too many calls wait already it is dropped, and `then` not called: false.
    pub(crate) fn tell(&self, call: Call, then: impl FnOnce(Called) + Send + 'static) -> bool {
        let (kind, upload) = (call.kind, key_of(&call.event.upload.id));
        let (Ok(notice), Some(place)) = (self.notice(call), self.place()) else {
            self.drop_one(kind);
            return false;
        };
        self.submit(Class::Tell, upload, notice, Hearer::Told(Box::new(then)), Some(place));
        true
    }

    fn notice(&self, call: Call) -> Result<Arc<Notice>, HookError> {
        Notice::new(call).map(Arc::new).map_err(|error| HookError::new(HookFailure::Failed, error.to_string()))
    }

    fn place(&self) -> Option<Places> {
        let place = self.inner.room.try_take(1).ok()?;
        self.inner.meters.is_dropping.store(false, Ordering::Relaxed);
        Some(place)
    }

    fn drop_one(&self, kind: EventKind) {
        let meters = &self.inner.meters;
        meters.refused(kind, HookFailure::Overloaded);
        meters.dropped.fetch_add(1, Ordering::Relaxed);
        if !meters.is_dropping.swap(true, Ordering::Relaxed) {
            warn!(self.inner.logger, "events are dropped: too many calls of hooks wait"; "hook" => kind.name());
        }
    }

    fn submit(&self, class: Class, upload: u64, notice: Arc<Notice>, hearer: Hearer, place: Option<Places>) {
        let job = Job { notice, hearer, stamp: self.inner.meters.waiting.admit_unbounded(0), place };
        self.inner.dispatcher.tell(Submit { class, upload, job });
    }

    /// Notes in the store that the application will be told of this event, if what it tells of comes to pass. The event of
    /// an earlier owner that did not come so far is taken up again.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn note(self, call: Call) -> Result<Noted, StorageError> {
        let failed = |cause: String| StorageError::new(ErrorKind::Failed, "note an event", cause);
        let notice = Notice::new(call).map_err(|error| failed(error.to_string()))?;
        let (kind, upload) = (notice.kind(), notice.call.event.upload.id.clone());
        let fresh = notice.event_id.clone();
        let claimed = self.inner.outbox.ask(|answer| Claim { kind, upload, fresh, answer }).await;
        let event_id = claimed.map_err(|error| failed(error.to_string()))?;
        let notice = Arc::new(Notice { event_id: event_id.clone(), ..notice });
        if let Err(error) = self.inner.store.put(event_id.clone(), notice.json.clone()).await {
            self.inner.outbox.tell(Withdraw { event_id, answer: None });
            return Err(error);
        }
        Ok(Noted { event_id, notice })
    }

    /// What was noted has come to pass: the application is told of it, now or as soon as that can be done.
    pub(crate) fn owe(&self, noted: Noted) {
        let Noted { event_id, notice } = noted;
        self.inner.outbox.tell(Owe { event_id, notice: Some(notice) });
    }

    /// What was noted is not to be told. Resolves when it is noted no more.
    pub(crate) async fn withdraw(self, noted: Noted) {
        let Noted { event_id, .. } = noted;
        // An outbox that has ended has nothing to tell any more.
        let _ = self.inner.outbox.ask(|answer| Withdraw { event_id, answer: Some(answer) }).await;
    }

    /// The upload is gone: what was noted of it and did not come to pass is dropped.
    pub(crate) fn forget(&self, upload: String) {
        self.inner.outbox.tell(Forget { upload });
    }

    /// An event that was found at the start.
    pub(super) fn recovered(&self, notice: &Notice, fate: Fate) {
        let (event_id, kind, upload) = (notice.event_id.clone(), notice.kind(), notice.call.event.upload.id.clone());
        self.inner.outbox.tell(Recovered { event_id, kind, upload, fate });
    }

    pub(super) fn store(&self) -> &Arc<dyn OutboxStore> {
        &self.inner.store
    }

    pub(super) fn logger(&self) -> &Logger {
        &self.inner.logger
    }

    /// The events in the outbox, the oldest first: those that wait for this, or all.
    ///
    /// # Errors
    /// When the outbox does not answer.
    pub(crate) async fn list(&self, state: Option<OwedState>, limit: usize) -> Result<Vec<Owed>, Unanswered> {
        self.inner.outbox.ask(|answer| List { state, limit, answer }).await
    }

    /// Delivers now what waits for its next try: one event, or all. Returns how many.
    ///
    /// # Errors
    /// When the outbox does not answer.
    pub(crate) async fn retry(&self, event_id: Option<String>) -> Result<usize, Unanswered> {
        self.inner.outbox.ask(|answer| Retry { event_id, answer }).await
    }

    /// Takes new sizes. Runners that leave first end the call in their hands.
    pub(crate) fn resize(&self, workers: usize, queue: usize) {
        self.inner.room.resize(queue.max(1));
        self.inner.meters.waiting.kind().set_limit(queue.max(1));
        self.inner.dispatcher.tell(Resize { workers });
    }

    /// Takes no calls from now on, and waits until those that it has are done, but no longer than the given time. What is
    /// owed stays in the store.
    pub(crate) async fn close(&self, at_most: Duration) {
        let (asker, answer) = oneshot::channel();
        self.inner.dispatcher.tell(Close { answer: Some(asker) });
        // One that has ended already answers nobody.
        let _ = tokio::time::timeout(at_most, answer).await;
    }

    /// How long messages and calls wait, for who looks every second.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let Inner { dispatcher, outbox, meters, .. } = &*self.inner;
        [dispatcher.gauge(), outbox.gauge(), &meters.waiting].map(|gauge| Wait::of(gauge)).into()
    }

    /// How the pool, its mailboxes and its calls stand, without asking anybody in it.
    pub(crate) fn report(&self) -> HooksReport {
        let Inner { dispatcher, outbox, runners, meters, .. } = &*self.inner;
        let gauges = [dispatcher.gauge(), outbox.gauge(), &meters.waiting];
        let count = |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::Relaxed);
        let pool = PoolReport {
            pool: "hooks",
            workers: count(&meters.runners),
            workers_wanted: count(&meters.wanted),
            busy: count(&meters.under_way),
            queue: meters.waiting.report(),
            without_room: 0,
            restarts: meters.deaths.load(Ordering::Relaxed),
        };
        let mut kinds: Vec<_> = gauges.iter().map(|gauge| gauge.kind().report()).collect();
        kinds.push(runners.report());
        HooksReport {
            actors: StoreReport {
                kinds,
                mailboxes: gauges.iter().map(|gauge| MailboxReport::of(gauge, String::new())).collect(),
                pools: vec![pool],
                operations: Vec::new(),
                retries: Vec::new(),
            },
            transport: self.inner.transport,
            calls: meters.calls(),
            noted: count(&meters.noted),
            owed: count(&meters.owed),
            oldest_owed: meters.oldest_age(SystemTime::now()),
            dropped: meters.dropped.load(Ordering::Relaxed),
        }
    }
}

/// The hooks at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HooksReport {
    /// The mailboxes of those who call hooks, and their pool.
    pub actors: StoreReport,
    /// How events are brought to the application.
    pub transport: &'static str,
    /// The calls of each kind of event.
    pub calls: Vec<crate::storage::OperationReport>,
    /// Events in the outbox whose upload has not come to that end.
    pub noted: usize,
    /// Events in the outbox that the application is still to be told of.
    pub owed: usize,
    /// How long ago the oldest of these happened.
    pub oldest_owed: Option<Duration>,
    /// Events that were dropped because there was no room for them.
    pub dropped: u64,
}
