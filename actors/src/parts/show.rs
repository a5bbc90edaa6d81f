//! The pool as part of a store: what it tells, and what of it may change while it works.

use std::sync::atomic::Ordering;

use super::{Parts, messages::Resize};
use crate::{
    post::{MailboxReport, PoolReport},
    storage::{StoreReport, StoreTuning, s3::client::metered::CallMeters},
};

impl Parts {
    /// The meters of the calls that the pool's clients make, for other clients of the same bucket to join in.
    pub(crate) fn meters_of_calls(&self) -> &CallMeters {
        &self.inner.calls
    }

    /// How the pool, its mailboxes and its calls stand, without asking anybody in it.
    pub(crate) fn store_report(&self) -> StoreReport {
        let inner = &*self.inner;
        let (meters, dispatcher) = (&inner.meters, inner.dispatcher.gauge());
        let roll = inner.roll.borrow().clone();
        let pool = PoolReport {
            pool: "s3",
            workers: roll.len(),
            workers_wanted: meters.wanted.load(Ordering::Relaxed),
            busy: meters.under_way.load(Ordering::Relaxed),
            queue: meters.waiting.report(),
            without_room: meters.without_room.load(Ordering::Relaxed),
            restarts: meters.deaths.load(Ordering::Relaxed),
        };
        let mut mailboxes =
            vec![MailboxReport::of(dispatcher, String::new()), MailboxReport::of(&meters.waiting, String::new())];
        mailboxes.extend(roll.iter().map(|(uploader, gauge)| MailboxReport::of(gauge, uploader.to_string())));
        StoreReport {
            kinds: vec![dispatcher.kind().report(), inner.meter.report(), meters.waiting.kind().report()],
            mailboxes,
            pools: vec![pool],
            operations: inner.calls.report(),
            retries: inner.policy.report().by_cause().to_vec(),
        }
    }

    /// Takes new sizes. Uploaders that leave first end the part in their hands; what waits stays.
    pub(crate) fn tune(&self, tuning: &StoreTuning) {
        let queue = tuning.part_queue.max(1);
        self.inner.room.resize(queue);
        self.inner.meters.waiting.kind().set_limit(queue);
        self.inner.policy.set_deadline(tuning.retry_deadline);
        let per_upload = Some(tuning.parts_per_upload);
        self.inner.dispatcher.tell(Resize { workers: tuning.part_workers, per_upload });
    }
}
