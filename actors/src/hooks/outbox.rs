//! Keeps what is owed to the application until it has been told, across crashes and restarts.
//!
//! Before an upload comes to an end that the application is to hear of, the event is written into the store's outbox;
//! once the end has come it is owed, and it is removed when it has been delivered. A start reads what an earlier run has
//! left, and nothing else, to know what is still to be told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use slog::{Logger, error, info};

use super::{
    HookError, HookFailure, Notice,
    dispatcher::Dispatcher,
    docket::Docket,
    job::{Called, Hearer, Job},
    messages::{Claim, Class, Delivered, Fate, Forget, List, Owe, Recovered, Retry, Submit, Withdraw},
    meters::Meters,
    pool::key_of,
};
use crate::{
    post::{Gauge, Post, Receive, now_nanos},
    receives_letters,
    storage::OutboxStore,
};

/// So many deliveries may be under way or wait for a runner; the others stay in the store.
const DELIVERIES_MAX: usize = 64;

/// So many events that are owed are kept in memory as well; the others are read again.
const FRESH_MAX: usize = 256;

/// Owns the docket. One runs beside the dispatcher, until the service ends. Its mailbox holds at most one message for each
/// owner that ends an upload, and one for each delivery.
pub(super) struct Outbox {
    docket: Docket,
    /// What need not be read.
    fresh: HashMap<String, Arc<Notice>>,
    under_way: usize,
    timer_due_nanos: Option<u64>,
    store: Arc<dyn OutboxStore>,
    dispatcher: Post<Dispatcher>,
    meters: Arc<Meters>,
    gauge: Arc<Gauge>,
    logger: Logger,
}

/// Tells the outbox what came of a delivery, also when nobody says so.
struct Delivery {
    outbox: Post<Outbox>,
    event_id: String,
    told: bool,
}

impl Delivery {
    fn tell(mut self, called: Called) {
        self.told = true;
        self.outbox.tell(Delivered { event_id: std::mem::take(&mut self.event_id), called });
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.told {
            let called = Err(HookError::new(HookFailure::Closed, "given up on the way"));
            self.outbox.tell(Delivered { event_id: std::mem::take(&mut self.event_id), called });
        }
    }
}

impl Outbox {
    pub(super) fn new(
        store: Arc<dyn OutboxStore>,
        dispatcher: Post<Dispatcher>,
        meters: Arc<Meters>,
        gauge: Arc<Gauge>,
        logger: Logger,
    ) -> Self {
        Self {
            docket: Docket::default(),
            fresh: HashMap::new(),
            under_way: 0,
            timer_due_nanos: None,
            store,
            dispatcher,
            meters,
            gauge,
            logger,
        }
    }

    /// Delivers what is due, as much as may be under way, and comes back when more is.
    fn go_on(&mut self, context: &mut Context<Self>) {
        let now = now_nanos();
        while self.under_way < DELIVERIES_MAX {
            let Some(event_id) = self.docket.next(now) else { break };
            self.under_way += 1;
            match self.fresh.remove(&event_id) {
                Some(notice) => self.deliver(notice, context),
                None => self.fetch(event_id, context),
            }
        }
        self.publish();
        if self.under_way < DELIVERIES_MAX
            && let Some(due_nanos) = self.docket.next_due_nanos()
            && self.timer_due_nanos.is_none_or(|timer| due_nanos < timer)
        {
            self.timer_due_nanos = Some(due_nanos);
            context.run_later(Duration::from_nanos(due_nanos.saturating_sub(now)), |outbox, context| {
                outbox.timer_due_nanos = None;
                outbox.go_on(context);
            });
        }
    }

    fn publish(&self) {
        let (noted, owed) = self.docket.counts();
        self.meters.noted.store(noted, std::sync::atomic::Ordering::Relaxed);
        self.meters.owed.store(owed, std::sync::atomic::Ordering::Relaxed);
        self.meters.note_oldest(self.docket.oldest_owed());
    }

    fn fetch(&mut self, event_id: String, context: &mut Context<Self>) {
        let reading = self.store.read(event_id.clone());
        context.spawn(reading.into_actor(self).map(move |content, outbox, context| {
            let notice = match content {
                Ok(Some(json)) => Notice::restore(event_id.clone(), json).map_err(|error| error.to_string()),
                Ok(None) => {
                    // Somebody has taken it away: nothing is owed.
                    outbox.under_way -= 1;
                    outbox.docket.remove(&event_id);
                    return outbox.go_on(context);
                }
                Err(error) => Err(error.to_string()),
            };
            match notice {
                Ok(notice) => outbox.deliver(Arc::new(notice), context),
                Err(error) => {
                    error!(outbox.logger, "an event can't be read"; "event_id" => &event_id, "error" => &error);
                    outbox.under_way -= 1;
                    outbox.docket.failed(&event_id, error, now_nanos());
                    outbox.go_on(context);
                }
            }
        }));
    }

    fn deliver(&mut self, notice: Arc<Notice>, context: &Context<Self>) {
        let outbox = Post::new(context.address(), Arc::clone(&self.gauge));
        let delivery = Delivery { outbox, event_id: notice.event_id.clone(), told: false };
        let upload = key_of(&notice.call.event.upload.id);
        let hearer = Hearer::Told(Box::new(move |called| delivery.tell(called)));
        let job = Job { notice, hearer, stamp: self.meters.waiting.admit_unbounded(0), place: None };
        self.dispatcher.tell(Submit { class: Class::Tell, upload, job });
    }

    /// Removes an event from the store; then whoever waits for that is told.
    fn remove(&mut self, event_id: String, then: impl FnOnce() + 'static, context: &mut Context<Self>) {
        self.docket.remove(&event_id);
        self.fresh.remove(&event_id);
        let removing = self.store.remove(event_id.clone());
        context.spawn(removing.into_actor(self).map(move |removed, outbox, _| {
            if let Err(error) = removed {
                // It will be delivered once more, by the next run.
                error!(outbox.logger, "an event can't be removed"; "event_id" => event_id, "error" => %error);
            }
            then();
        }));
    }
}

impl Actor for Outbox {
    type Context = Context<Self>;
}

receives_letters!(
    Outbox,
    "hook_outbox",
    ["claim", "owe", "withdraw", "forget", "recovered", "delivered", "list", "retry"]
);

impl Receive<Claim> for Outbox {
    const MESSAGE: &'static str = "claim";

    fn receive(&mut self, Claim { kind, upload, fresh, answer }: Claim, _: &mut Context<Self>) {
        let event_id = self.docket.claim(kind, upload, fresh);
        self.publish();
        // Who asked may have gone. What is noted then goes with the upload, or is used when it ends.
        let _ = answer.send(event_id);
    }
}

impl Receive<Owe> for Outbox {
    const MESSAGE: &'static str = "owe";

    fn receive(&mut self, Owe { event_id, notice }: Owe, context: &mut Context<Self>) {
        self.docket.owe(&event_id, now_nanos());
        if let Some(notice) = notice.filter(|_| self.fresh.len() < FRESH_MAX) {
            self.fresh.insert(event_id, notice);
        }
        self.go_on(context);
    }
}

impl Receive<Withdraw> for Outbox {
    const MESSAGE: &'static str = "withdraw";

    fn receive(&mut self, Withdraw { event_id, answer }: Withdraw, context: &mut Context<Self>) {
        let then = move || {
            answer.map(|answer| answer.send(()));
        };
        self.remove(event_id, then, context);
        self.publish();
    }
}

impl Receive<Forget> for Outbox {
    const MESSAGE: &'static str = "forget";

    fn receive(&mut self, Forget { upload }: Forget, context: &mut Context<Self>) {
        for event_id in self.docket.noted(&upload) {
            self.remove(event_id, || (), context);
        }
        self.publish();
    }
}

impl Receive<Recovered> for Outbox {
    const MESSAGE: &'static str = "recovered";

    fn receive(&mut self, message: Recovered, context: &mut Context<Self>) {
        let Recovered { event_id, kind, upload, fate } = message;
        if self.docket.knows(&event_id) {
            return;
        }
        info!(self.logger, "an event of an earlier run"; "event_id" => &event_id, "hook" => kind.name(),
            "upload_id" => &upload, "is_owed" => fate == Fate::Came);
        self.docket.note(kind, upload, event_id.clone());
        match fate {
            Fate::Came => self.docket.owe(&event_id, now_nanos()),
            Fate::Open => {}
            Fate::Failed => self.remove(event_id, || (), context),
        }
        self.go_on(context);
    }
}

impl Receive<Delivered> for Outbox {
    const MESSAGE: &'static str = "delivered";

    fn receive(&mut self, Delivered { event_id, called }: Delivered, context: &mut Context<Self>) {
        self.under_way = self.under_way.saturating_sub(1);
        match called {
            Ok(_) => self.remove(event_id, || (), context),
            Err(error) => self.docket.failed(&event_id, error.to_string(), now_nanos()),
        }
        self.go_on(context);
    }
}

impl Receive<List> for Outbox {
    const MESSAGE: &'static str = "list";

    fn receive(&mut self, List { state, limit, answer }: List, _: &mut Context<Self>) {
        // Who asked may have gone.
        let _ = answer.send(self.docket.list(state, limit, now_nanos()));
    }
}

impl Receive<Retry> for Outbox {
    const MESSAGE: &'static str = "retry";

    fn receive(&mut self, Retry { event_id, answer }: Retry, context: &mut Context<Self>) {
        let count = self.docket.retry(event_id.as_deref(), now_nanos());
        // Who asked may have gone.
        let _ = answer.send(count);
        self.go_on(context);
    }
}
