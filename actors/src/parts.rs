//! The pool that brings parts to S3: uploaders on arbiters of their own, and a dispatcher that gives each free one the
//! next part, in turn among the uploads that wait.
//!
//! Parts in all and parts of one upload are limited; whoever hands over a part when there is no room waits for some, in
//! the order of coming. An uploader that dies is replaced, and its part given to another, once.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Context};
use bytes::Bytes;
use slog::Logger;
use tokio::sync::{oneshot, watch};

use crate::{
    Share,
    post::{Gauge, KindMeter, Post, meter_of},
    room::Room,
    storage::s3::{
        client::{Client, ClientError, ETag, metered::CallMeters},
        retry::RetryPolicy,
    },
    turns::Turns,
};
use dispatcher::{Dispatcher, Hiring, Quarters, Roll};
use job::{Job, Wait};
use messages::{Cancel, Close, Resize, Submit};
use meters::{Counted, Meters};

use uploader::Uploader;

mod dispatcher;
mod job;
mod messages;
mod meters;
mod show;
mod uploader;

pub use meters::PartsReport;

/// A part on its way. Dropping it takes the part back, if it has not begun; else that goes on.
pub type Sending = Pin<Box<dyn Future<Output = Result<ETag, PartError>> + Send>>;

/// The sizes of a pool. Zeros count as ones.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Uploaders: how many parts may be under way at once.
    pub workers: usize,
    /// How many parts of one upload may be under way at once.
    pub per_upload: usize,
    /// How many parts may wait in all.
    pub queue: usize,
    /// How long a part may take with all its tries, once it has begun.
    pub deadline: Duration,
    /// How long one waits at most after a first failure; it doubles with each one more.
    pub backoff_first: Duration,
    /// How long one waits at most, ever.
    pub backoff_max: Duration,
    /// How many messages a mailbox may hold.
    pub mailbox: usize,
}

/// A part to be stored.
#[derive(Debug)]
pub struct Part {
    /// Whose it is. The parts of one owner wait in a queue of their own.
    pub upload: u64,
    /// The object's key.
    pub key: String,
    /// The id of its multipart upload.
    pub multipart: String,
    /// The part's number.
    pub number: u16,
    /// Its bytes.
    pub body: Vec<Bytes>,
    /// The memory they take, given back before the answer.
    pub shares: Vec<Share>,
}

/// Why a part is not known to be stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PartError {
    /// S3 refused it, or it could not be brought there within the deadline.
    #[error(transparent)]
    S3(#[from] ClientError),
    /// The pool was closed before it took the part.
    #[error("the pool of part uploaders is closed")]
    Closed,
    /// Those who had it in hand died.
    #[error("the part's uploaders died")]
    Died,
}

impl PartError {
    /// Whether the part may be stored all the same, now or later.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::S3(error) => error.may_have_been_applied(),
            Self::Closed => false,
            Self::Died => true,
        }
    }
}

/// The pool. Clones are handles of the same one; when the last is gone, it ends as if it were closed.
#[derive(Clone)]
pub struct Parts {
    inner: Arc<Inner>,
}

struct Inner {
    dispatcher: Post<Dispatcher>,
    /// Room for parts that wait.
    room: Room,
    /// Places in the dispatcher's mailbox.
    places: Room,
    next: AtomicU64,
    roll: watch::Receiver<Roll>,
    policy: RetryPolicy,
    meter: Arc<KindMeter>,
    calls: CallMeters,
    meters: Arc<Meters>,
}

impl Parts {
    /// Starts a pool. Each uploader makes its client on its own arbiter. Must be called within an actix system; the
    /// dispatcher runs where it is called.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(
        config: Config,
        connect: impl Fn() -> Arc<dyn Client> + Send + Sync + 'static,
        logger: Logger,
    ) -> io::Result<Self> {
        let quarters = (0..config.workers.max(1)).map(|_| Quarters::new()).collect::<io::Result<Vec<_>>>()?;
        let (queue, mailbox) = (config.queue.max(1), config.mailbox.max(1));
        let policy = RetryPolicy::new(config.deadline, config.backoff_first, config.backoff_max);
        let meters = Meters::new(queue);
        let gauge = Gauge::of(&meter_of::<Dispatcher>(mailbox));
        let meter = meter_of::<Uploader>(mailbox);
        let (connect, calls) = (Arc::new(connect), CallMeters::default());
        let hiring = Hiring { connect, calls: calls.clone(), policy: policy.clone(), meter: Arc::clone(&meter) };
        let (roll_out, roll) = watch::channel(Roll::new());
        let turns = Turns::new(config.per_upload);
        let dispatcher =
            Dispatcher::new(turns, quarters, hiring, roll_out, Arc::clone(&meters), Arc::clone(&gauge), logger);
        let dispatcher = Post::new(Dispatcher::create(|_: &mut Context<Dispatcher>| dispatcher), gauge);
        let [room, places] = [queue, mailbox].map(Room::new);
        let next = AtomicU64::new(0);
        Ok(Self { inner: Arc::new(Inner { dispatcher, room, places, next, roll, policy, meter, calls, meters }) })
    }

    /// Hands over a part, once the returned future is first polled, and tells what came of it: at its end, when its
    /// memory is free again. It can be awaited on any arbiter.
    #[must_use]
    pub fn upload(&self, part: Part) -> Sending {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let counted = Counted::into(&inner.meters.without_room);
            let room = inner.room.take(1).await.map_err(|_| PartError::Closed)?;
            let place = inner.places.take(1).await.map_err(|_| PartError::Closed)?;
            drop(counted);
            let id = inner.next.fetch_add(1, Ordering::Relaxed);
            let mut hold = Hold { dispatcher: &inner.dispatcher, upload: part.upload, id, answered: false };
            let (answer, answered) = oneshot::channel();
            let wait = Some(Wait { stamp: inner.meters.waiting.admit_unbounded(0), _room: Some(room) });
            inner.dispatcher.tell(Submit { job: Job { id, part, answer, deaths: 0, wait }, place });
            let result = answered.await;
            hold.answered = true;
            result.unwrap_or_else(|_| Err(inner.unanswered()))
        })
    }

    /// How the pool stands, without asking anybody in it.
    #[must_use]
    pub fn report(&self) -> PartsReport {
        let Inner { dispatcher, roll, policy, meters, .. } = &*self.inner;
        PartsReport {
            waiting: meters.waiting.report(),
            without_room: meters.without_room.load(Ordering::Relaxed),
            under_way: meters.under_way.load(Ordering::Relaxed),
            stored: meters.stored.load(Ordering::Relaxed),
            stored_bytes: meters.stored_bytes.load(Ordering::Relaxed),
            failed: meters.failed.load(Ordering::Relaxed),
            retries: policy.report(),
            deaths: meters.deaths.load(Ordering::Relaxed),
            dispatcher: dispatcher.gauge().report(),
            uploaders: roll.borrow().iter().map(|(_, gauge)| gauge.report()).collect(),
        }
    }

    /// Has this many uploaders from now on. Those that leave first end the part in their hands.
    pub fn resize(&self, workers: usize) {
        self.inner.dispatcher.tell(Resize { workers, per_upload: None });
    }

    /// Takes no parts from now on, and waits until all that were handed over are done and the uploaders gone. Parts that
    /// still wait for room fail with [`PartError::Closed`].
    pub async fn close(&self) {
        self.inner.refuse();
        let (asker, answer) = oneshot::channel();
        self.inner.dispatcher.tell(Close { answer: Some(asker) });
        // A dispatcher that has ended already answers nobody, and has nothing left to wait for.
        let _ = answer.await;
    }
}

impl Inner {
    fn refuse(&self) {
        self.room.close();
        self.places.close();
    }

    /// Why the dispatcher has dropped an asker.
    fn unanswered(&self) -> PartError {
        if self.dispatcher.gauge().is_retired() { PartError::Closed } else { PartError::Died }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.refuse();
        self.dispatcher.tell(Close { answer: None });
    }
}

/// Takes a part back when its asker goes without an answer.
struct Hold<'a> {
    dispatcher: &'a Post<Dispatcher>,
    upload: u64,
    id: u64,
    answered: bool,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.dispatcher.tell(Cancel { upload: self.upload, id: self.id });
        }
    }
}

#[cfg(test)]
mod tests;
