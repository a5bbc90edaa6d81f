//! A call of a hook on its way through the pool. Whatever happens to those who have it in hand, the dispatcher hears that
//! it is under way no more.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    HookError, Notice, Verdict,
    dispatcher::Dispatcher,
    messages::{Class, Returned},
};
use crate::{
    post::{Post, Stamp},
    room::Places,
};

/// What came of a call.
pub(crate) type Called = Result<Verdict, HookError>;

/// Who hears what came of it.
pub(super) enum Hearer {
    /// A request waits for it: first for its beginning, then for what comes of it.
    Asker { begun: Option<oneshot::Sender<()>>, answer: oneshot::Sender<Called> },
    /// It is told to somebody who did not wait.
    Told(Box<dyn FnOnce(Called) + Send>),
}

/// A call, and who hears of it.
pub(super) struct Job {
    pub(super) notice: Arc<Notice>,
    pub(super) hearer: Hearer,
    /// Of its time in the queue, and then of its time in hand.
    pub(super) stamp: Stamp,
    /// Its place in the queue.
    pub(super) place: Option<Places>,
}

impl Job {
    /// Whether nobody wants to know any more.
    pub(super) fn is_unwanted(&self) -> bool {
        matches!(&self.hearer, Hearer::Asker { answer, .. } if answer.is_closed())
    }
}

impl Hearer {
    /// The call is in a runner's hands.
    pub(super) fn hear_of_beginning(&mut self) {
        if let Self::Asker { begun, .. } = self {
            // One who has gone needs no answer.
            let _ = begun.take().map(|begun| begun.send(()));
        }
    }

    pub(super) fn hear(self, called: Called) {
        match self {
            // One who has gone needs no answer.
            Self::Asker { answer, .. } => drop(answer.send(called)),
            Self::Told(then) => then(called),
        }
    }
}

/// A call's turn. Its drop tells the dispatcher that it is over.
pub(super) struct Turn {
    pub(super) dispatcher: Post<Dispatcher>,
    pub(super) class: Class,
    pub(super) upload: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.dispatcher.tell(Returned { class: self.class, upload: self.upload });
    }
}
