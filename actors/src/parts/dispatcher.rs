//! The one who knows which parts wait and which uploaders are free, and brings them together.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context};
use actix_rt::Arbiter;
use slog::{Logger, error, o};
use tokio::sync::{oneshot, watch};

use super::{
    PartError,
    job::{Errand, Job, Presence, Wait},
    messages::{Cancel, Carry, Close, Leave, Left, Ready, Resize, Returned, Submit},
    meters::Meters,
    uploader::Uploader,
};
use crate::{
    post::{Gauge, KindMeter, Post, Receive},
    receives_letters,
    storage::s3::{
        client::{Client, metered::CallMeters},
        retry::RetryPolicy,
    },
    turns::Turns,
};

/// So many uploaders may die of a part before it fails.
const DEATHS_MAX: u32 = 2;

/// Makes an uploader's client, on its arbiter.
pub(super) type Connect = Arc<dyn Fn() -> Arc<dyn Client> + Send + Sync>;

/// The mailboxes of the uploaders, for whoever wants to look.
pub(super) type Roll = Vec<(u64, Arc<Gauge>)>;

/// An arbiter that stops when it is dropped.
pub(super) struct Quarters(Arbiter);

impl Quarters {
    pub(super) fn new() -> io::Result<Self> {
        Arbiter::try_new().map(Self)
    }
}

impl Drop for Quarters {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// An uploader as the dispatcher sees it.
struct Seat {
    post: Post<Uploader>,
    leaving: bool,
    _quarters: Quarters,
}

/// How uploaders are started.
pub(super) struct Hiring {
    pub(super) connect: Connect,
    /// The meters of what their clients call.
    pub(super) calls: CallMeters,
    pub(super) policy: RetryPolicy,
    pub(super) meter: Arc<KindMeter>,
}

/// Owns the parts that wait, and hires uploaders. One runs in each pool, on the arbiter that started the pool, until the
/// pool is closed. Its mailbox holds at most `mailbox` parts (their askers wait for a place), and of messages that are
/// never refused one for each part that is given up and three for each uploader.
pub(super) struct Dispatcher {
    turns: Turns<Job>,
    seats: BTreeMap<u64, Seat>,
    free: VecDeque<u64>,
    /// How many uploaders there ought to be.
    wanted: usize,
    /// How many have ever been hired.
    hired: u64,
    /// Arbiters for the next ones.
    quarters: Vec<Quarters>,
    /// How many died since one was last done with a part.
    deaths_in_row: u32,
    /// Who waits for the end, once it has been asked for.
    closing: Option<Vec<oneshot::Sender<()>>>,
    hiring: Hiring,
    roll: watch::Sender<Roll>,
    meters: Arc<Meters>,
    gauge: Arc<Gauge>,
    logger: Logger,
}

impl Dispatcher {
    /// A dispatcher that will have an uploader on each of these arbiters.
    pub(super) fn new(
        turns: Turns<Job>,
        quarters: Vec<Quarters>,
        hiring: Hiring,
        roll: watch::Sender<Roll>,
        meters: Arc<Meters>,
        gauge: Arc<Gauge>,
        logger: Logger,
    ) -> Self {
        Self {
            turns,
            seats: BTreeMap::new(),
            free: VecDeque::new(),
            wanted: quarters.len(),
            hired: 0,
            quarters,
            deaths_in_row: 0,
            closing: None,
            hiring,
            roll,
            meters,
            gauge,
            logger,
        }
    }

    fn post(&self, context: &Context<Self>) -> Post<Self> {
        Post::new(context.address(), Arc::clone(&self.gauge))
    }

    /// Hands parts to free uploaders as long as there are both.
    fn dispatch(&mut self, context: &mut Context<Self>) {
        while let Some(uploader) = self.free.front() {
            let Some(seat) = self.seats.get(uploader) else {
                self.free.pop_front();
                continue;
            };
            let Some((upload, job)) = self.turns.next() else { break };
            if job.is_unwanted() {
                self.turns.done(upload);
                continue;
            }
            seat.post.tell(Carry(Errand::new(job, self.post(context), &self.meters)));
            self.free.pop_front();
        }
        self.end_if_done(context);
    }

    /// Sees to it that there are as many uploaders as there ought to be.
    fn staff(&mut self, context: &mut Context<Self>) {
        let staying = self.seats.values().filter(|seat| !seat.leaving).count();
        for _ in staying..self.wanted {
            if let Err(error) = self.hire(context) {
                error!(self.logger, "part uploader could not be started"; "error" => %error);
                self.staff_later(self.hiring.policy.backoff_ceiling(1), context);
                break;
            }
        }
        for _ in self.wanted..staying {
            self.dismiss();
        }
        self.publish();
    }

    fn publish(&self) {
        self.meters.wanted.store(self.wanted, Ordering::Relaxed);
        let roll = self.seats.iter().map(|(uploader, seat)| (*uploader, Arc::clone(seat.post.gauge())));
        self.roll.send_replace(roll.collect());
    }

    fn staff_later(&self, after: Duration, context: &mut Context<Self>) {
        context.run_later(after, Self::staff);
    }

    fn hire(&mut self, context: &mut Context<Self>) -> io::Result<()> {
        let quarters = self.quarters.pop().map_or_else(Quarters::new, Ok)?;
        self.hired += 1;
        let uploader = self.hired;
        let presence = Presence { uploader, dispatcher: self.post(context) };
        let Hiring { connect, calls, policy, .. } = &self.hiring;
        let (connect, calls, policy) = (Arc::clone(connect), calls.clone(), policy.clone());
        let logger = self.logger.new(o!("uploader" => uploader));
        let address = Uploader::start_in_arbiter(&quarters.0.handle(), move |_| {
            Uploader::new(calls.over(connect()), policy, presence, logger)
        });
        let post = Post::new(address, Gauge::of(&self.hiring.meter));
        self.seats.insert(uploader, Seat { post, leaving: false, _quarters: quarters });
        Ok(())
    }

    /// Lets an uploader go: a free one, if there is one.
    fn dismiss(&mut self) {
        let free = self.free.pop_back();
        let busy = || self.seats.iter().rev().find(|(_, seat)| !seat.leaving).map(|(uploader, _)| *uploader);
        if let Some(seat) = free.or_else(busy).and_then(|uploader| self.seats.get_mut(&uploader)) {
            seat.leaving = true;
            seat.post.tell(Leave);
        }
    }

    /// One has died. The first is replaced at once; if they go on dying without storing a part, ever later.
    fn replace(&mut self, uploader: u64, context: &mut Context<Self>) {
        self.meters.deaths.fetch_add(1, Ordering::Relaxed);
        self.hiring.meter.note_restart();
        error!(self.logger, "part uploader died"; "uploader" => uploader);
        self.deaths_in_row = self.deaths_in_row.saturating_add(1);
        match self.deaths_in_row {
            1 => self.staff(context),
            more => self.staff_later(self.hiring.policy.backoff_ceiling(more - 1), context),
        }
    }

    fn end_if_done(&mut self, context: &mut Context<Self>) {
        if self.closing.is_none() || !self.turns.is_idle() {
            return;
        }
        if self.wanted > 0 {
            self.wanted = 0;
            self.staff(context);
        }
        if self.seats.is_empty() {
            self.gauge.retire();
            for asker in self.closing.take().into_iter().flatten() {
                // One who has gone needs no answer.
                let _ = asker.send(());
            }
            context.stop();
        }
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.staff(context);
    }
}

receives_letters!(Dispatcher, "part_dispatcher", ["submit", "cancel", "ready", "returned", "left", "resize", "close"]);

impl Receive<Submit> for Dispatcher {
    const MESSAGE: &'static str = "submit";

    fn receive(&mut self, Submit { job, place }: Submit, context: &mut Self::Context) {
        drop(place);
        if self.closing.is_some() {
            job.finish(Err(PartError::Closed));
            return;
        }
        self.turns.push(job.part.upload, job.id, job);
        self.dispatch(context);
    }
}

impl Receive<Cancel> for Dispatcher {
    const MESSAGE: &'static str = "cancel";

    fn receive(&mut self, Cancel { upload, id }: Cancel, context: &mut Self::Context) {
        drop(self.turns.cancel(upload, id));
        self.end_if_done(context);
    }
}

impl Receive<Ready> for Dispatcher {
    const MESSAGE: &'static str = "ready";

    fn receive(&mut self, Ready { uploader }: Ready, context: &mut Self::Context) {
        if self.seats.get(&uploader).is_some_and(|seat| !seat.leaving) {
            self.free.push_back(uploader);
        }
        self.dispatch(context);
    }
}

impl Receive<Returned> for Dispatcher {
    const MESSAGE: &'static str = "returned";

    fn receive(&mut self, Returned { upload, job, begun }: Returned, context: &mut Self::Context) {
        match job {
            None => self.deaths_in_row = 0,
            Some(job) if job.is_unwanted() => drop(job),
            Some(mut job) => {
                job.deaths += u32::from(begun);
                if job.deaths >= DEATHS_MAX {
                    self.meters.failed.fetch_add(1, Ordering::Relaxed);
                    job.finish(Err(PartError::Died));
                } else {
                    job.wait = Some(Wait { stamp: self.meters.waiting.admit_unbounded(0), _room: None });
                    self.turns.push_front(upload, job.id, job);
                }
            }
        }
        self.turns.done(upload);
        self.dispatch(context);
    }
}

impl Receive<Left> for Dispatcher {
    const MESSAGE: &'static str = "left";

    fn receive(&mut self, Left { uploader }: Left, context: &mut Self::Context) {
        self.free.retain(|free| *free != uploader);
        match self.seats.remove(&uploader) {
            Some(seat) if !seat.leaving => self.replace(uploader, context),
            _ => {}
        }
        self.publish();
        self.end_if_done(context);
    }
}

impl Receive<Resize> for Dispatcher {
    const MESSAGE: &'static str = "resize";

    fn receive(&mut self, Resize { workers, per_upload }: Resize, context: &mut Self::Context) {
        if let Some(per_upload) = per_upload {
            self.turns.allow(per_upload);
        }
        if self.closing.is_none() {
            self.wanted = workers.max(1);
            self.staff(context);
            self.dispatch(context);
        }
    }
}

impl Receive<Close> for Dispatcher {
    const MESSAGE: &'static str = "close";

    fn receive(&mut self, Close { answer }: Close, context: &mut Self::Context) {
        self.closing.get_or_insert_default().extend(answer);
        self.end_if_done(context);
    }
}
