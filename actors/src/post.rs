//! Mailboxes that are bounded and metered by us: the only code that touches a raw actor address.
//!
//! actix bounds neither `send` nor tells how deep a mailbox is. Every message here travels as a [`Letter`] that holds a
//! [`Stamp`]; however the letter leaves the queue (opened, or dropped unread), the stamp takes it off the [`Gauge`].
//! Gauges are read without asking the actor, so a stuck actor is visible.
#![expect(clippy::disallowed_methods, reason = "the one place that may send without Post: it is Post")]

use std::{fmt, sync::Arc};

use actix::{Actor, Addr, Handler, Message, dev::MessageResponse, dev::OneshotSender};

mod gauge;
mod histogram;

pub use gauge::{Gauge, GaugeReport, KindMeter, KindReport, Stamp};
pub use histogram::{Distribution, Histogram};

/// Why a question got no answer, or which refusal it got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<E> {
    /// The mailbox is full; the message was not queued.
    #[error("the mailbox is full")]
    Overloaded,
    /// The actor ended before it answered. The message may have been handled.
    #[error("the actor ended before it answered")]
    Closed,
    /// The actor's own answer.
    #[error(transparent)]
    Refused(E),
}

/// A message on its way, with the stamp that meters it.
pub struct Letter<M> {
    /// The message.
    pub body: M,
    /// Taken off the gauge when the letter is opened or dropped.
    pub stamp: Stamp,
}

impl<M: Message> Message for Letter<M> {
    type Result = M::Result;
}

/// A reply to a letter: whatever replies to the message itself.
pub struct Reply<R>(pub R);

impl<A, M, R> MessageResponse<A, Letter<M>> for Reply<R>
where
    A: Actor,
    M: Message,
    R: MessageResponse<A, M>,
{
    fn handle(self, context: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        self.0.handle(context, sender);
    }
}

/// Lets an actor receive letters of every message that it handles.
#[macro_export]
macro_rules! receives_letters {
    ($actor:ty) => {
        impl<M> ::actix::Handler<$crate::post::Letter<M>> for $actor
        where
            M: ::actix::Message,
            $actor: ::actix::Handler<M>,
        {
            type Result = $crate::post::Reply<<$actor as ::actix::Handler<M>>::Result>;

            fn handle(&mut self, mut letter: $crate::post::Letter<M>, context: &mut Self::Context) -> Self::Result {
                letter.stamp.open();
                $crate::post::Reply(<$actor as ::actix::Handler<M>>::handle(self, letter.body, context))
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
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<Letter<M>>,
        A::Context: actix::dev::ToEnvelope<A, Letter<M>>,
    {
        self.address.do_send(Letter { body, stamp: self.gauge.admit_unbounded() });
    }

    /// Sends a message and awaits its answer. The mailbox stays addressed until then, so that an actor whose last
    /// address went away meanwhile can't end with the message unread.
    ///
    /// # Errors
    /// [`AskError::Overloaded`] when the mailbox is at its limit, [`AskError::Closed`] when the actor has ended.
    pub async fn ask<M, T, E>(&self, body: M) -> Result<T, AskError<E>>
    where
        M: Message<Result = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        A: Handler<Letter<M>>,
        A::Context: actix::dev::ToEnvelope<A, Letter<M>>,
    {
        let Some(stamp) = self.gauge.admit() else { return Err(AskError::Overloaded) };
        let held = self.address.clone();
        let answer = held.send(Letter { body, stamp }).await;
        match answer {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refusal)) => Err(AskError::Refused(refusal)),
            Err(_) => Err(AskError::Closed),
        }
    }
}
