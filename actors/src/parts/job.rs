//! A part on its way through the pool. Whatever happens to those who hold it, its asker gets an answer and its memory
//! goes back.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::oneshot;

use super::{
    Part, PartError,
    dispatcher::Dispatcher,
    messages::{Left, Returned},
    meters::{Counted, Meters},
};
use crate::{
    post::{Post, Stamp},
    room::Places,
    storage::s3::client::ETag,
};

/// A part, and who waits for it.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) part: Part,
    pub(super) answer: oneshot::Sender<Result<ETag, PartError>>,
    /// How many uploaders died with it in their hands.
    pub(super) deaths: u32,
    pub(super) wait: Option<Wait>,
}

/// What a part holds while it waits: its mark among the waiting ones, and its room, when it had to have one.
pub(super) struct Wait {
    pub(super) stamp: Stamp,
    pub(super) _room: Option<Places>,
}

impl Job {
    /// Whether its asker has gone.
    pub(super) fn is_unwanted(&self) -> bool {
        self.answer.is_closed()
    }

    /// The end of it: its memory goes back first, then its asker learns what came of it.
    pub(super) fn finish(self, result: Result<ETag, PartError>) {
        let Self { part, answer, wait, .. } = self;
        drop((part, wait));
        // One who has gone needs no answer.
        let _ = answer.send(result);
    }
}

/// A job in an uploader's hands, or on its way there. Its drop tells the dispatcher, and gives back the job if it has
/// not come to its end: the uploader died of it or before it, or was gone already.
pub(super) struct Errand {
    job: Option<Job>,
    upload: u64,
    begun: bool,
    dispatcher: Post<Dispatcher>,
    meters: Arc<Meters>,
    /// Of the part's time in hand, from the moment in which it waits no more.
    stamp: Option<Stamp>,
    under_way: Option<Counted>,
}

impl Errand {
    pub(super) fn new(mut job: Job, dispatcher: Post<Dispatcher>, meters: &Arc<Meters>) -> Self {
        let stamp = job.wait.take().map(|Wait { mut stamp, .. }| {
            stamp.open();
            stamp
        });
        let under_way = Some(Counted::into(&meters.under_way));
        Self {
            upload: job.part.upload,
            job: Some(job),
            begun: false,
            dispatcher,
            meters: Arc::clone(meters),
            stamp,
            under_way,
        }
    }

    /// The part, which has begun from now on; `None` when its asker has gone meanwhile, and it is dropped.
    pub(super) fn begin(&mut self) -> Option<&Part> {
        if self.job.as_ref().is_some_and(Job::is_unwanted) {
            self.job = None;
        }
        self.begun = true;
        self.job.as_ref().map(|job| &job.part)
    }

    /// The end of it.
    pub(super) fn finish(mut self, result: Result<ETag, PartError>) {
        let Some(job) = self.job.take() else { return };
        match &result {
            Ok(_) => {
                self.meters.stored.fetch_add(1, Ordering::Relaxed);
                let bytes = job.part.body.iter().map(|bytes| bytes.len() as u64).sum();
                self.meters.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(_) => {
                self.meters.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(self);
        job.finish(result);
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.under_way = None;
        self.stamp = None;
        let returned = Returned { upload: self.upload, job: self.job.take(), begun: self.begun };
        self.dispatcher.tell(returned);
    }
}

/// Proof that an uploader is there. Its drop tells the dispatcher that it is no more, however it ended.
pub(super) struct Presence {
    pub(super) uploader: u64,
    pub(super) dispatcher: Post<Dispatcher>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.dispatcher.tell(Left { uploader: self.uploader });
    }
}
