//! Mailboxes that are bounded and metered by us: the only code that touches a raw actor address.
//!
//! actix bounds neither `send` nor tells how deep a mailbox is. Every message here travels as a [`Letter`] that holds a
//! [`Stamp`]; however the letter leaves the queue (opened, or dropped unread), the stamp takes it off the [`Gauge`].
//! Gauges are read without asking the actor, so a stuck actor is visible.
#![expect(clippy::disallowed_methods, reason = "the one place that may send without Post: it is Post")]

use std::{fmt, pin::Pin, sync::Arc, task::Poll};

use actix::{Actor, Addr, Handler, Message, dev::ToEnvelope};
use tokio::sync::oneshot;

mod gauge;
mod histogram;

pub use gauge::{Gauge, GaugeReport, KindMeter, KindReport, Stamp};
pub use histogram::{Distribution, Histogram};

/// Why a question got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The mailbox is full; the message was not queued.
    #[error("the mailbox is full")]
    Overloaded,
    /// The actor had come to its orderly end. It may have handled the message, if it ended in between.
    #[error("the actor has retired")]
    Retired,
    /// The actor died while the message was waiting for it, or in its hands.
    #[error("the actor has died")]
    Died,
}

/// A message on its way, with the stamp that meters it.
pub struct Letter<M> {
    /// The message.
    pub body: M,
    /// Taken off the gauge when the letter is opened or dropped.
    pub stamp: Stamp,
}

impl<M> Message for Letter<M> {
    type Result = ();
}

/// What an actor does with a message. Not actix's `Handler`, so that no message can reach an actor but in a letter,
/// bounded and metered. Messages that want an answer carry the sender for it: an actor may answer when it is time, and
/// not only from here.
pub trait Receive<M>: Actor {
    /// Takes the message.
    fn receive(&mut self, message: M, context: &mut Self::Context);
}

/// Lets an actor be sent letters of every message that it receives.
#[macro_export]
macro_rules! receives_letters {
    ($actor:ty) => {
        impl<M> ::actix::Handler<$crate::post::Letter<M>> for $actor
        where
            $actor: $crate::post::Receive<M>,
        {
            type Result = ();

            fn handle(&mut self, mut letter: $crate::post::Letter<M>, context: &mut Self::Context) {
                letter.stamp.open();
                $crate::post::Receive::receive(self, letter.body, context);
            }
        }
    };
}

/// The address of an actor, and the gauge of its mailbox.
pub struct Post<A: Actor> {
    address: Addr<A>,
    gauge: Arc<Gauge>,
}

impl<A: Actor> Clone for Post<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), gauge: Arc::clone(&self.gauge) }
    }
}

impl<A: Actor> fmt::Debug for Post<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Post({:?})", self.gauge)
    }
}

impl<A: Actor> Post<A> {
    /// Joins an address with the gauge of its mailbox.
    pub fn new(address: Addr<A>, gauge: Arc<Gauge>) -> Self {
        Self { address, gauge }
    }

    /// The gauge of this mailbox.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// Whether the actor still takes messages.
    pub fn is_open(&self) -> bool {
        self.address.connected()
    }

    /// Sends a message that must arrive whatever the depth: a release, the end of something. Never refused, never
    /// awaited; lost only with the actor itself.
    pub fn tell<M>(&self, body: M)
    where
        M: Send + 'static,
        A: Handler<Letter<M>>,
        A::Context: ToEnvelope<A, Letter<M>>,
    {
        self.address.do_send(Letter { body, stamp: self.gauge.admit_unbounded() });
    }

    /// Sends the message that `make` builds around the sender for its answer, at once, and awaits the answer.
    ///
    /// # Errors
    /// [`Unanswered::Overloaded`] when the mailbox is at its limit, otherwise how the actor ended.
    pub async fn ask<M, R>(&self, make: impl FnOnce(oneshot::Sender<R>) -> M) -> Result<R, Unanswered>
    where
        M: Send + 'static,
        A: Handler<Letter<M>>,
        A::Context: ToEnvelope<A, Letter<M>>,
    {
        self.send(make)?.await
    }

    /// Sends the message that `make` builds around the sender for its answer. The mailbox stays addressed until the
    /// answer is there, so that an actor whose last address went away meanwhile can't end with the message unread.
    ///
    /// # Errors
    /// [`Unanswered::Overloaded`] when the mailbox is at its limit; the future's error is how the actor ended.
    pub fn send<M, R>(&self, make: impl FnOnce(oneshot::Sender<R>) -> M) -> Result<Pending<A, R>, Unanswered>
    where
        M: Send + 'static,
        A: Handler<Letter<M>>,
        A::Context: ToEnvelope<A, Letter<M>>,
    {
        let Some(stamp) = self.gauge.admit() else { return Err(Unanswered::Overloaded) };
        let held = self.clone();
        let (asker, answer) = oneshot::channel();
        held.address.do_send(Letter { body: make(asker), stamp });
        Ok(Pending { post: held, answer })
    }
}

/// An answer that is awaited. Keeps the mailbox addressed.
pub struct Pending<A: Actor, R> {
    post: Post<A>,
    answer: oneshot::Receiver<R>,
}

impl<A: Actor, R> Unpin for Pending<A, R> {}

impl<A: Actor, R> Future for Pending<A, R> {
    type Output = Result<R, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map_err(|_| if self.post.gauge.is_retired() { Unanswered::Retired } else { Unanswered::Died })
    }
}
