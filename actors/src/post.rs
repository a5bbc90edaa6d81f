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
mod kind;
mod moment;
mod pool;

pub use gauge::{Gauge, GaugeReport, Stamp};
pub use histogram::{Distribution, Spread};
pub use kind::{KindMeter, KindReport, MessageReport};
pub use moment::now_nanos;
pub use pool::{MailboxReport, PoolReport};

/// False in builds that leave out all that only counts, to see what counting costs. The bound of mailboxes stays.
pub(crate) const METERED: bool = !cfg!(feature = "unmetered");

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

/// An actor that gets letters, with what its meters are called. Written by [`receives_letters!`](crate::receives_letters).
pub trait Mailbox: Actor {
    /// The kind of actor.
    const KIND: &'static str;
    /// The kinds of messages that it receives.
    const MESSAGES: &'static [&'static str];
}

/// What an actor does with a message. Not actix's `Handler`, so that no message can reach an actor but in a letter,
/// bounded and metered. Messages that want an answer carry the sender for it: an actor may answer when it is time, and
/// not only from here.
pub trait Receive<M>: Mailbox {
    /// The name of the message, one of [`Mailbox::MESSAGES`].
    const MESSAGE: &'static str;

    /// Takes the message.
    fn receive(&mut self, message: M, context: &mut Self::Context);
}

/// The number of a message among those of its actor. Evaluated by the compiler, which also says when it has no name.
const fn number_of(messages: &[&str], message: &str) -> u16 {
    let mut number = 0;
    while number < messages.len() {
        if is_same(messages[number].as_bytes(), message.as_bytes()) {
            #[expect(clippy::cast_possible_truncation, reason = "no actor knows 65,536 messages")]
            return number as u16;
        }
        number += 1;
    }
    panic!("the message is not among those that its actor receives")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

const fn number<A: Receive<M>, M>() -> u16 {
    const { number_of(A::MESSAGES, A::MESSAGE) }
}

/// A meter for the mailboxes of an actor's kind, with room for `limit` messages each.
#[must_use]
pub fn meter_of<A: Mailbox>(limit: usize) -> Arc<KindMeter> {
    KindMeter::new(A::KIND, limit, A::MESSAGES)
}

/// Lets an actor be sent letters of every message that it receives. Names its kind, and its messages.
#[macro_export]
macro_rules! receives_letters {
    ($actor:ty, $kind:literal, [$($message:literal),+ $(,)?]) => {
        impl $crate::post::Mailbox for $actor {
            const KIND: &'static str = $kind;
            const MESSAGES: &'static [&'static str] = &[$($message),+];
        }

        impl<M> ::actix::Handler<$crate::post::Letter<M>> for $actor
        where
            $actor: $crate::post::Receive<M>,
        {
            type Result = ();

            fn handle(&mut self, letter: $crate::post::Letter<M>, context: &mut Self::Context) {
                let $crate::post::Letter { body, mut stamp } = letter;
                stamp.open();
                $crate::post::Receive::receive(self, body, context);
            }
        }
    };
}

/// The address of an actor, and the gauge of its mailbox. All clones have one address in common: actix allocates for each.
pub struct Post<A: Actor>(Arc<Letterbox<A>>);

struct Letterbox<A: Actor> {
    address: Addr<A>,
    gauge: Arc<Gauge>,
}

impl<A: Actor> Clone for Post<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> fmt::Debug for Post<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Post({:?})", self.0.gauge)
    }
}

impl<A: Actor> Post<A> {
    /// Joins an address with the gauge of its mailbox.
    pub fn new(address: Addr<A>, gauge: Arc<Gauge>) -> Self {
        Self(Arc::new(Letterbox { address, gauge }))
    }

    /// The gauge of this mailbox.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.0.gauge
    }

    /// Whether the actor still takes messages.
    pub fn is_open(&self) -> bool {
        self.0.address.connected()
    }

    /// Sends a message that must arrive whatever the depth: a release, the end of something. Never refused, never
    /// awaited; lost only with the actor itself.
    pub fn tell<M>(&self, body: M)
    where
        M: Send + 'static,
        A: Receive<M> + Handler<Letter<M>>,
        A::Context: ToEnvelope<A, Letter<M>>,
    {
        self.0.address.do_send(Letter { body, stamp: self.0.gauge.admit_unbounded(number::<A, M>()) });
    }

    /// Sends the message that `make` builds around the sender for its answer, at once, and awaits the answer.
    ///
    /// # Errors
    /// [`Unanswered::Overloaded`] when the mailbox is at its limit, otherwise how the actor ended.
    pub async fn ask<M, R>(&self, make: impl FnOnce(oneshot::Sender<R>) -> M) -> Result<R, Unanswered>
    where
        M: Send + 'static,
        A: Receive<M> + Handler<Letter<M>>,
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
        A: Receive<M> + Handler<Letter<M>>,
        A::Context: ToEnvelope<A, Letter<M>>,
    {
        let Some(stamp) = self.0.gauge.admit(number::<A, M>()) else { return Err(Unanswered::Overloaded) };
        let (asker, answer) = oneshot::channel();
        self.0.address.do_send(Letter { body: make(asker), stamp });
        Ok(Pending { post: self.clone(), answer })
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
        answer.map_err(|_| if self.post.0.gauge.is_retired() { Unanswered::Retired } else { Unanswered::Died })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_number_of_its_name() {
        const NAMES: [&str; 3] = ["append", "appended", "app"];
        assert_eq!(["append", "appended", "app"].map(|name| number_of(&NAMES, name)), [0, 1, 2]);
        assert!(!is_same(b"", b"a") && is_same(b"", b"") && !is_same(b"ab", b"ac"));
    }
}
