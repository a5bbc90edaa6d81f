//! The one who knows which calls wait and which runners are free, and brings them together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
};

use actix::{Actor, ActorContext, AsyncContext, Context};
use slog::{Logger, error, o};
use tokio::sync::oneshot;

use super::{
    Transport,
    job::{Job, Turn},
    messages::{Carry, Class, Close, Leave, Left, Ready, Resize, Returned, Submit},
    meters::Meters,
    runner::{Presence, Runner},
};
use crate::{
    post::{Gauge, KindMeter, Post, Receive},
    receives_letters,
    turns::Turns,
};

/// So many questions about one upload may be under way at once.
const ASKS_PER_UPLOAD: usize = 2;

/// A runner as the dispatcher sees it.
struct Seat {
    post: Post<Runner>,
    leaving: bool,
}

/// Owns the calls that wait, and hires runners. One runs in each pool, on the arbiter of all hooks, until the pool is
/// closed. Calls come only with a place in the pool's queue, but for those of the outbox, which bounds its own.
pub(super) struct Dispatcher {
    /// Calls that requests wait for go first.
    asks: Turns<Job>,
    /// One at a time for each upload: so they keep their order.
    tells: Turns<Job>,
    /// How many of these are under way.
    telling: usize,
    seats: BTreeMap<u64, Seat>,
    free: VecDeque<u64>,
    wanted: usize,
    hired: u64,
    submitted: u64,
    /// Who waits for the end, once it has been asked for.
    closing: Option<Vec<oneshot::Sender<()>>>,
    transport: Arc<dyn Transport>,
    meter: Arc<KindMeter>,
    meters: Arc<Meters>,
    gauge: Arc<Gauge>,
    logger: Logger,
}

impl Dispatcher {
    pub(super) fn new(
        workers: usize,
        transport: Arc<dyn Transport>,
        meter: Arc<KindMeter>,
        meters: Arc<Meters>,
        gauge: Arc<Gauge>,
        logger: Logger,
    ) -> Self {
        Self {
            asks: Turns::new(ASKS_PER_UPLOAD),
            tells: Turns::new(1),
            telling: 0,
            seats: BTreeMap::new(),
            free: VecDeque::new(),
            wanted: workers.max(1),
            hired: 0,
            submitted: 0,
            closing: None,
            transport,
            meter,
            meters,
            gauge,
            logger,
        }
    }

    fn post(&self, context: &Context<Self>) -> Post<Self> {
        Post::new(context.address(), Arc::clone(&self.gauge))
    }

    /// A quarter of the runners is kept for calls that requests wait for: an application that is slow to hear what has
    /// happened must not keep it from being asked.
    fn may_tell(&self) -> bool {
        self.telling < (self.wanted - self.wanted / 4).max(1)
    }

    fn next(&mut self) -> Option<(Class, u64, Job)> {
        while let Some((upload, job)) = self.asks.next() {
            if !job.is_unwanted() {
                return Some((Class::Ask, upload, job));
            }
            self.asks.done(upload);
        }
        let (upload, job) = self.may_tell().then(|| self.tells.next()).flatten()?;
        self.telling += 1;
        Some((Class::Tell, upload, job))
    }

    /// Hands calls to free runners as long as there are both.
    fn dispatch(&mut self, context: &mut Context<Self>) {
        while let Some(runner) = self.free.front().copied() {
            if !self.seats.contains_key(&runner) {
                self.free.pop_front();
                continue;
            }
            let Some((class, upload, job)) = self.next() else { break };
            let turn = Turn { dispatcher: self.post(context), class, upload };
            self.free.pop_front();
            if let Some(seat) = self.seats.get(&runner) {
                seat.post.tell(Carry { job, turn });
            }
        }
        self.end_if_done(context);
    }

    /// Sees to it that there are as many runners as there ought to be.
    fn staff(&mut self, context: &mut Context<Self>) {
        let staying = self.seats.values().filter(|seat| !seat.leaving).count();
        for _ in staying..self.wanted {
            self.hire(context);
        }
        for _ in self.wanted..staying {
            self.dismiss();
        }
        self.publish();
    }

    fn publish(&self) {
        self.meters.wanted.store(self.wanted, Ordering::Relaxed);
        self.meters.runners.store(self.seats.len(), Ordering::Relaxed);
    }

    fn hire(&mut self, context: &mut Context<Self>) {
        self.hired += 1;
        let runner = self.hired;
        let presence = Presence { runner, dispatcher: self.post(context) };
        let logger = self.logger.new(o!("runner" => runner));
        let actor = Runner::new(Arc::clone(&self.transport), Arc::clone(&self.meters), presence, logger);
        let post = Post::new(actor.start(), Gauge::of(&self.meter));
        self.seats.insert(runner, Seat { post, leaving: false });
    }

    /// Lets a runner go: a free one, if there is one.
    fn dismiss(&mut self) {
        let free = self.free.pop_back();
        let busy = || self.seats.iter().rev().find(|(_, seat)| !seat.leaving).map(|(runner, _)| *runner);
        if let Some(seat) = free.or_else(busy).and_then(|runner| self.seats.get_mut(&runner)) {
            seat.leaving = true;
            seat.post.tell(Leave);
        }
    }

    fn end_if_done(&mut self, context: &mut Context<Self>) {
        if self.closing.is_none() || !self.asks.is_idle() || !self.tells.is_idle() {
            return;
        }
        for seat in self.seats.values_mut().filter(|seat| !seat.leaving) {
            seat.leaving = true;
            seat.post.tell(Leave);
        }
        if self.seats.is_empty() {
            self.gauge.retire();
            for asker in self.closing.take().unwrap_or_default() {
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

receives_letters!(Dispatcher, "hook_dispatcher", ["submit", "ready", "returned", "left", "resize", "close"]);

impl Receive<Submit> for Dispatcher {
    const MESSAGE: &'static str = "submit";

    fn receive(&mut self, Submit { class, upload, job }: Submit, context: &mut Self::Context) {
        if self.closing.is_some() {
            // Dropped: who asked is told that it is closed.
            return;
        }
        self.submitted += 1;
        let turns = match class {
            Class::Ask => &mut self.asks,
            Class::Tell => &mut self.tells,
        };
        turns.push(upload, self.submitted, job);
        self.dispatch(context);
    }
}

impl Receive<Ready> for Dispatcher {
    const MESSAGE: &'static str = "ready";

    fn receive(&mut self, Ready { runner }: Ready, context: &mut Self::Context) {
        if self.seats.get(&runner).is_some_and(|seat| !seat.leaving) {
            self.free.push_back(runner);
        }
        self.dispatch(context);
    }
}

impl Receive<Returned> for Dispatcher {
    const MESSAGE: &'static str = "returned";

    fn receive(&mut self, Returned { class, upload }: Returned, context: &mut Self::Context) {
        match class {
            Class::Ask => self.asks.done(upload),
            Class::Tell => {
                self.telling = self.telling.saturating_sub(1);
                self.tells.done(upload);
            }
        }
        self.dispatch(context);
    }
}

impl Receive<Left> for Dispatcher {
    const MESSAGE: &'static str = "left";

    fn receive(&mut self, Left { runner }: Left, context: &mut Self::Context) {
        self.free.retain(|free| *free != runner);
        if self.seats.remove(&runner).is_some_and(|seat| !seat.leaving) {
            error!(self.logger, "hook runner died"; "runner" => runner);
            self.meters.deaths.fetch_add(1, Ordering::Relaxed);
            self.meter.note_restart();
            self.staff(context);
        }
        self.publish();
        self.end_if_done(context);
    }
}

impl Receive<Resize> for Dispatcher {
    const MESSAGE: &'static str = "resize";

    fn receive(&mut self, Resize { workers }: Resize, context: &mut Self::Context) {
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
