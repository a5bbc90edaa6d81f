//! One worker of the pool that calls hooks.

use std::{panic::AssertUnwindSafe, sync::Arc};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::FutureExt;
use slog::{Logger, warn};

use super::{
    HookError, HookFailure, Transport,
    dispatcher::Dispatcher,
    job::{Called, Job, Turn},
    messages::{Carry, Leave, Left, Ready},
    meters::Meters,
};
use crate::{
    post::{Post, Receive, now_nanos},
    receives_letters,
};

/// Calls one hook after the other. The dispatcher starts it, on the arbiter of all hooks, and tells it to leave. Its
/// mailbox holds at most a call that it has asked for, and the word to leave.
pub(super) struct Runner {
    transport: Arc<dyn Transport>,
    meters: Arc<Meters>,
    presence: Presence,
    busy: bool,
    leaving: bool,
    logger: Logger,
}

/// Proof that a runner is there. Its drop tells the dispatcher that it is no more, however it ended.
pub(super) struct Presence {
    pub(super) runner: u64,
    pub(super) dispatcher: Post<Dispatcher>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.dispatcher.tell(Left { runner: self.runner });
    }
}

impl Runner {
    pub(super) fn new(transport: Arc<dyn Transport>, meters: Arc<Meters>, presence: Presence, logger: Logger) -> Self {
        Self { transport, meters, presence, busy: false, leaving: false, logger }
    }

    fn go_on(&mut self, context: &mut Context<Self>) {
        self.busy = false;
        if self.leaving {
            context.stop();
        } else {
            self.presence.dispatcher.tell(Ready { runner: self.presence.runner });
        }
    }
}

impl Actor for Runner {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.go_on(context);
    }
}

receives_letters!(Runner, "hook_runner", ["carry", "leave"]);

impl Receive<Carry> for Runner {
    const MESSAGE: &'static str = "carry";

    fn receive(&mut self, Carry { job, turn }: Carry, context: &mut Self::Context) {
        self.busy = true;
        let (transport, meters) = (Arc::clone(&self.transport), Arc::clone(&self.meters));
        let work = carry(job, turn, transport, meters, self.logger.clone());
        context.spawn(work.into_actor(self).map(|(), runner, context| runner.go_on(context)));
    }
}

impl Receive<Leave> for Runner {
    const MESSAGE: &'static str = "leave";

    fn receive(&mut self, _: Leave, context: &mut Self::Context) {
        self.leaving = true;
        if !self.busy {
            context.stop();
        }
    }
}

async fn carry(job: Job, turn: Turn, transport: Arc<dyn Transport>, meters: Arc<Meters>, logger: Logger) {
    let Job { notice, mut hearer, mut stamp, place } = job;
    stamp.open();
    hearer.hear_of_beginning();
    drop(place);
    let run = meters.begin(notice.kind());
    let began = now_nanos();
    let call = Arc::clone(&notice);
    // A transport that panics has failed, and nothing else has.
    let calling = AssertUnwindSafe(async move { transport.call(call).await }).catch_unwind();
    let called: Called =
        calling.await.unwrap_or_else(|_| Err(HookError::new(HookFailure::Failed, "the transport panicked")));
    let took_nanos = now_nanos().saturating_sub(began);
    run.end(took_nanos, called.as_ref().err().map(|error| error.failure));
    if let Err(error) = &called {
        warn!(logger, "hook failed"; "hook" => notice.kind().name(), "why" => error.failure.name(), "error" => %error,
            "upload_id" => &notice.call.event.upload.id, "event_id" => &notice.event_id,
            "duration_ms" => took_nanos / 1_000_000);
    }
    drop(stamp);
    hearer.hear(called);
    drop(turn);
}
