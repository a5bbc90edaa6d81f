//! What the owner does with each message: a line or two, then the state machine decides.

use actix::Context;

use super::{
    Pieces, Upload,
    messages::{
        Append, Asker, Begin, Close, Commit, Departure, Expire, Inspect, Interrupt, Join, Look, PartialEnded, Peek,
        Received, Release, Reply, StoreExpiry, Terminate,
    },
    state::{Event, Refusal},
};
use crate::{Kind, post::Receive};

impl Receive<Begin> for Upload {
    const MESSAGE: &'static str = "begin";

    fn receive(&mut self, message: Begin, context: &mut Context<Self>) {
        trip("begin");
        let Some(mut asker) = self.admit(message.asker) else { return };
        self.expire_if_due(context);
        let max_size = self.max_size();
        if self.state.max_size() != max_size {
            self.on(Event::Limit(max_size), context);
        }
        if asker.brings.is_some() {
            trip("append");
            if !self.state.is_idle() {
                let pieces = asker.brings.take();
                asker.answer(pieces.map(Reply::Busy).ok_or(Refusal::StoreFailed));
                return;
            }
        }
        self.on(Event::Begin(asker, message.begin), context);
    }
}

impl Receive<Append> for Upload {
    const MESSAGE: &'static str = "append";

    fn receive(&mut self, message: Append, context: &mut Context<Self>) {
        trip("append");
        if let Pieces::Here(_, share) = &message.pieces {
            self.note_memory_wait(share.waited());
        }
        self.on(Event::Append(message.asker, message.lease, message.pieces), context);
    }
}

impl Receive<Commit> for Upload {
    const MESSAGE: &'static str = "commit";

    fn receive(&mut self, message: Commit, context: &mut Context<Self>) {
        self.on(Event::Commit(message.asker, message.lease), context);
    }
}

impl Receive<Release> for Upload {
    const MESSAGE: &'static str = "release";

    fn receive(&mut self, message: Release, context: &mut Context<Self>) {
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.lease == message.lease) {
            holder.departure = Some(message.why).filter(|why| *why != Departure::Yielded);
        }
        self.on(Event::Release(message.lease), context);
        if self.put_off_expiry() {
            self.on(Event::Annotate(None), context);
        }
    }
}

impl Receive<Inspect> for Upload {
    const MESSAGE: &'static str = "inspect";

    fn receive(&mut self, message: Inspect, context: &mut Context<Self>) {
        trip("inspect");
        let Some(asker) = self.admit(message.asker) else { return };
        self.expire_if_due(context);
        self.on(Event::Inspect(asker), context);
    }
}

impl Receive<Peek> for Upload {
    const MESSAGE: &'static str = "peek";

    fn receive(&mut self, message: Peek, context: &mut Context<Self>) {
        trip("read");
        let Some(asker) = self.admit(message.asker) else { return };
        self.expire_if_due(context);
        match &mut self.early_peeks {
            Some(early) => early.push(asker),
            None => self.on(Event::Peek(asker), context),
        }
    }
}

impl Receive<Terminate> for Upload {
    const MESSAGE: &'static str = "terminate";

    fn receive(&mut self, message: Terminate, context: &mut Context<Self>) {
        trip("terminate");
        let Some(asker) = self.admit(message.asker) else { return };
        if let Some(told) = &mut self.told {
            told.ended_by(asker.caller.clone());
        }
        self.blob.give_up();
        self.on(Event::Terminate(asker), context);
    }
}

impl Receive<Expire> for Upload {
    const MESSAGE: &'static str = "expire";

    fn receive(&mut self, _: Expire, context: &mut Context<Self>) {
        self.expire_if_due(context);
    }
}

impl Receive<Join> for Upload {
    const MESSAGE: &'static str = "join";

    fn receive(&mut self, message: Join, context: &mut Context<Self>) {
        let Some(asker) = self.admit(message.asker) else { return };
        if let Some(record) = &self.record {
            // An asker that has gone needs no answer.
            asker.answer(Ok(Reply::Joined(Some(record.length))));
        } else if self.info.kind == Kind::Partial {
            let finals = &mut self.own().finals;
            if !finals.contains(&message.final_id) {
                finals.push(message.final_id);
            }
            self.on(Event::Annotate(Some(asker)), context);
        } else {
            asker.answer(Err(Refusal::NotFinished));
        }
    }
}

impl Receive<PartialEnded> for Upload {
    const MESSAGE: &'static str = "partial_ended";

    fn receive(&mut self, message: PartialEnded, context: &mut Context<Self>) {
        self.on_partial_ended(message.partial, message.length, context);
    }
}

impl Receive<Received> for Upload {
    const MESSAGE: &'static str = "received";

    fn receive(&mut self, message: Received, context: &mut Context<Self>) {
        self.on_heard(message.lease, message.stop, context);
    }
}

impl Receive<Close> for Upload {
    const MESSAGE: &'static str = "close";

    fn receive(&mut self, _: Close, context: &mut Context<Self>) {
        self.on(Event::Close, context);
    }
}

impl Receive<StoreExpiry> for Upload {
    const MESSAGE: &'static str = "store_expiry";

    fn receive(&mut self, _: StoreExpiry, context: &mut Context<Self>) {
        self.on(Event::Annotate(None), context);
    }
}

impl Receive<Interrupt> for Upload {
    const MESSAGE: &'static str = "interrupt";

    fn receive(&mut self, message: Interrupt, context: &mut Context<Self>) {
        if let Some(holder) = &mut self.holder {
            holder.by = Some(message.by);
        }
        self.on(Event::Interrupt(message.asker), context);
    }
}

impl Receive<Look> for Upload {
    const MESSAGE: &'static str = "look";

    fn receive(&mut self, message: Look, _: &mut Context<Self>) {
        // An asker that has gone needs no answer.
        let _ = message.answer.send((!self.state.is_gone()).then(|| self.view()));
    }
}

impl Upload {
    /// One who may ask. To a stranger there is no such upload, and nothing of it is disturbed.
    fn admit(&self, asker: Asker) -> Option<Asker> {
        if asker.on_behalf_of.as_ref().is_none_or(|claimant| claimant.may_use(&self.info)) {
            return Some(asker);
        }
        // An asker that has gone needs no answer.
        asker.answer(Err(Refusal::NotFound));
        None
    }

    /// Nobody gets anything from an upload whose time has run out, whether the reaper came by or not.
    fn expire_if_due(&mut self, context: &mut Context<Self>) {
        if !self.state.has_lease() && self.is_due() {
            self.on(Event::Expire, context);
        }
    }
}

/// Panics when a test asks for it.
#[cfg(feature = "faults")]
fn trip(kind: &str) {
    assert!(!crate::storage::faulty::trip(kind), "injected panic: {kind}");
}

#[cfg(not(feature = "faults"))]
fn trip(_: &str) {}
