//! Performs what the state machine asks for: operations on the store, answers, the end of a lease, the log.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    Holder, Pieces, Upload,
    messages::{Asker, Committed, Consulted, Departure, Ended, PartialEnded, Release, Reply, StoreExpiry},
    observe::Begun,
    state::{Answer, Effect, Event, Fault, LeaseEnd, LeaseId},
};
use crate::{
    Info, Kind, Record, UploadId,
    history::Work,
    post::{Post, Receive},
    storage::{ErrorKind, LastWrite, Op, StorageError, Tap, Written, metered::Outcome},
};

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NoSpace => Self::NoSpace,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Exists | ErrorKind::Corrupt | ErrorKind::Failed => Self::Failed,
        }
    }
}

impl Upload {
    pub(super) fn perform(&mut self, effect: Effect<Asker, Pieces>, context: &mut Context<Self>) {
        match effect {
            Effect::Stage { base } => {
                let op = self.blob.stage(base);
                self.run(Work::Stage, op, context);
            }
            Effect::Write { at, pieces, then_finish } => self.write(at, pieces, then_finish, context),
            Effect::Keep => {
                let op = self.blob.keep();
                self.run(Work::Keep, op, context);
            }
            Effect::Discard { base } => {
                let op = self.blob.discard(base);
                self.run(Work::Discard, op, context);
            }
            Effect::Sync => {
                let op = self.blob.sync();
                self.run(Work::Sync, op, context);
            }
            Effect::Cut { to } => {
                let op = self.blob.cut(to);
                self.run(Work::Cut, op, context);
            }
            Effect::Declare { length } => {
                let mut info = self.info.clone();
                info.length = Some(length);
                let op = self.blob.save(info);
                self.run(Work::Save, op, context);
            }
            Effect::Save => {
                self.info.length = self.state.length();
                let op = self.blob.save(self.info.clone());
                self.run(Work::Save, op, context);
            }
            Effect::Announce(ending) => self.announce(ending, context),
            Effect::Consult => self.consult(context),
            Effect::Finish { length } => self.finish(length, context),
            Effect::Join => self.join(context),
            Effect::Delete { expired } => self.delete(expired, context),
            Effect::EndLease { lease, why } => {
                if let Some(holder) = self.holder.as_mut().filter(|holder| holder.lease == lease) {
                    holder.ended = Some(why);
                    if let Some(end) = holder.end.take() {
                        let stopped = self.told.as_mut().filter(|_| why == LeaseEnd::Stopped);
                        let response = stopped.and_then(|told| told.stopped.take());
                        // The holder may have gone; its release is on its way then.
                        let _ = end.send(Ended { why, response });
                    }
                }
            }
            Effect::Answer(asker, answer) => self.answer(asker, answer, context),
            Effect::Retire => {
                self.over = true;
                self.retire(context);
            }
        }
    }

    /// Runs an operation to its end, and takes the result as an event of this actor.
    fn when_done<T: Outcome + 'static>(
        &self,
        work: Work,
        op: Op<T>,
        context: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<T, StorageError>, &mut Context<Self>) + 'static,
    ) {
        let begun = Begun::now(work, self);
        context.spawn(op.into_actor(self).map(move |result, upload, context| {
            upload.on_ended(begun, &result);
            then(upload, result, context);
        }));
    }

    /// The same for what is no operation of the store on the upload.
    pub(super) fn when_ready<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
        context: &mut Context<Self>,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        context.spawn(work.into_actor(self).map(move |result, upload, context| then(upload, result, context)));
    }

    fn run(&self, work: Work, op: Op<()>, context: &mut Context<Self>) {
        self.when_done(work, op, context, |upload, result, context| {
            let result = result.map_err(|error| upload.blame(&error));
            upload.note_durable(context);
            upload.on(Event::Done(result), context);
        });
    }

    /// What the store has made durable meanwhile is not lost by a failure.
    fn note_durable(&mut self, context: &mut Context<Self>) {
        if let Some(durable) = self.blob.durable() {
            self.on(Event::Durable(durable), context);
        }
    }

    /// The cause of a failure goes into the log; the askers are told its kind.
    pub(super) fn blame(&mut self, error: &StorageError) -> Fault {
        self.on_store_failed(error, error.kind == ErrorKind::NoSpace);
        error.kind.into()
    }

    fn write(&mut self, at: u64, pieces: Vec<Pieces>, then_finish: bool, context: &mut Context<Self>) {
        let (mut bytes, mut shares) = (Vec::new(), Vec::with_capacity(pieces.len()));
        for piece in pieces {
            match piece {
                Pieces::Here(some, share) => {
                    bytes.extend(some);
                    shares.push(share);
                }
                // It comes alone.
                Pieces::InSocket(tap) => return self.draw(at, tap, context),
            }
        }
        let held = self.blob.take_over(shares);
        if let Some(length) = self.state.length().filter(|_| then_finish) {
            let op = self.blob.write_last(at, bytes, self.finished_info(length));
            return self.when_done(Work::WriteLast, op, context, |upload, result, context| {
                drop(held);
                upload.on_last_written(result, context);
            });
        }
        let op = self.blob.write(at, bytes);
        self.when_done(Work::Write, op, context, |upload, result, context| {
            drop(held);
            upload.on_written(result, context);
        });
    }

    fn draw(&mut self, at: u64, tap: Tap, context: &mut Context<Self>) {
        let op = self.blob.draw(at, tap);
        self.when_done(Work::Draw, op, context, Self::on_written);
    }

    fn on_last_written(&mut self, result: Result<LastWrite, StorageError>, context: &mut Context<Self>) {
        let (written, record) = match result {
            Ok(LastWrite { written, record }) => (Ok(written), record),
            Err(error) => (Err(error), None),
        };
        self.on_written(written, context);
        if let Some(record) = record {
            self.on_record(record, context);
        }
    }

    fn on_written(&mut self, result: Result<Written, StorageError>, context: &mut Context<Self>) {
        let (len, failure) = match result {
            Ok(Written { len, failure }) => (len, failure),
            Err(error) => (0, Some(error)),
        };
        self.on_stored(len);
        let fault = failure.map(|error| self.blame(&error));
        self.on(Event::Wrote(len, fault), context);
        self.note_durable(context);
    }

    fn finish(&mut self, length: u64, context: &mut Context<Self>) {
        let op = self.blob.finish(self.finished_info(length));
        self.when_done(Work::Finish, op, context, Self::on_record);
    }

    fn finished_info(&self, length: u64) -> Info {
        self.info.clone().into_finished(length)
    }

    fn on_record(&mut self, result: Result<Record, StorageError>, context: &mut Context<Self>) {
        let result = match result {
            Ok(record) => {
                self.publish(record, context);
                Ok(())
            }
            Err(error) => Err(self.blame(&error)),
        };
        self.on(Event::Done(result), context);
    }

    fn publish(&mut self, record: Record, context: &mut Context<Self>) {
        self.on_finished(record.length);
        self.info = record.info.clone();
        let record = Arc::new(record);
        self.record = Some(Arc::clone(&record));
        let length = record.length;
        self.directory.publish(record);
        self.tell_finals(Some(length), context);
    }

    /// Tells the final uploads that wait for this partial one how it ended.
    fn tell_finals(&mut self, length: Option<u64>, _context: &mut Context<Self>) {
        let finals = self.info.own.as_ref().map(|own| own.finals.clone()).unwrap_or_default();
        for final_id in finals {
            let (directory, partial) = (Arc::clone(&self.directory), self.id.clone());
            // A task of its own: this owner may retire before the final's one has been found.
            actix_rt::spawn(async move {
                if let Ok(post) = directory.find(&final_id).await {
                    post.tell(PartialEnded { partial, length });
                }
            });
        }
    }

    fn join(&mut self, context: &mut Context<Self>) {
        let Kind::Final { partials } = self.info.kind.clone() else { return };
        let op = self.blob.concatenate(partials);
        self.when_done(Work::Join, op, context, |upload, result, context| {
            let result = result.map_err(|error| upload.blame(&error));
            upload.on(Event::Joined(result), context);
        });
    }

    fn delete(&mut self, expired: bool, context: &mut Context<Self>) {
        self.directory.withdraw(&self.id);
        let op = self.blob.delete();
        self.when_done(Work::Delete, op, context, move |upload, result, context| {
            let result = match result {
                Ok(()) => {
                    upload.on_deleted(expired);
                    if expired {
                        let owner = upload.info.own.as_ref().and_then(|own| own.owner.as_deref());
                        upload.directory.remember_expired(&upload.id, owner);
                    }
                    upload.tell_finals(None, context);
                    Ok(())
                }
                Err(error) => Err(upload.blame(&error)),
            };
            upload.on(Event::Done(result), context);
        });
    }

    fn answer(&mut self, asker: Asker, answer: Answer, context: &mut Context<Self>) {
        let reply = match answer {
            Answer::Granted { lease, offset, room } => return self.grant(asker, lease, offset, room, context),
            Answer::Complete { offset } => Ok(Reply::Complete { offset }),
            Answer::Appended { .. } => Ok(Reply::Appended),
            Answer::Committed { offset, finished } => {
                self.on_committed();
                if self.put_off_expiry() {
                    self.tell_self(StoreExpiry, context);
                }
                let consulted = self.consulted().filter(|_| finished);
                let expires_at_secs = self.expires_at_secs();
                Ok(Reply::Committed(Committed { offset, finished, expires_at_secs, consulted }))
            }
            Answer::Inspected { .. } => Ok(Reply::Inspected(Box::new(self.snapshot()))),
            Answer::Peeked { finished } => Ok(Reply::Peeked {
                record: self.record.clone().filter(|_| finished),
                expires_at_secs: self.expires_at_secs(),
                consulted: self.consulted().filter(|_| finished),
            }),
            Answer::Interrupted { ended } => Ok(Reply::Interrupted { ended }),
            Answer::Terminated => Ok(Reply::Terminated),
            Answer::Annotated => Ok(Reply::Joined(self.state.length())),
            Answer::Refused(refusal) => Err(refusal),
        };
        // An asker that has gone needs no answer.
        asker.answer(reply);
    }

    /// What came of asking the application before the finish, if it was asked.
    fn consulted(&self) -> Option<Arc<Consulted>> {
        self.told.as_ref().and_then(|told| told.consulted.clone())
    }

    /// Sends itself a message, for what can't be done while the effects of an event are being performed.
    fn tell_self<M>(&self, message: M, context: &Context<Self>)
    where
        M: Send + 'static,
        Self: Receive<M>,
    {
        Post::new(context.address(), Arc::clone(&self.gauge)).tell(message);
    }

    fn grant(&mut self, mut asker: Asker, lease: LeaseId, offset: u64, room: Option<u64>, context: &mut Context<Self>) {
        self.on_granted(lease, offset, &asker);
        let request_id = asker.request_id.clone().unwrap_or_default();
        let brought = asker.take_brought();
        let (end, ended) = brought.is_none().then(oneshot::channel).unzip();
        self.holder = Some(Holder {
            lease,
            request_id,
            end,
            departure: None,
            ended: None,
            by: None,
            _open: self.directory.tally().lease_opened(),
        });
        let Some(ended) = ended else {
            self.brought = brought.map(|pieces| (lease, pieces, asker));
            return;
        };
        let reply = Reply::Granted { lease, offset, room, end: ended, expires_at_secs: self.expires_at_secs() };
        if !asker.answer(Ok(reply)) {
            // Whoever asked has gone meanwhile, and can't give back what it never got. As an event of its own, because
            // the effects of the present one are still being performed.
            self.tell_self(Release { lease, why: Departure::ConnectionLost }, context);
        }
    }

    /// Looks up what has become of the partial uploads. Whatever ends later is told by their owners, who know of this
    /// final upload before it exists.
    pub(super) fn look_for_partials(&mut self, context: &mut Context<Self>) {
        let lookups: Vec<_> = self
            .partials
            .keys()
            .map(|partial| {
                let (partial, lookup): (UploadId, _) =
                    (partial.clone(), self.directory.storage().finished_length(partial));
                async move { (partial, lookup.await) }
            })
            .collect();
        self.early_peeks = Some(Vec::new());
        context.spawn(join_all(lookups).into_actor(self).map(|found, upload, context| {
            for (partial, length) in found {
                match length {
                    Ok(Some(length)) => upload.on_partial_ended(partial, Some(length), context),
                    Ok(None) => {}
                    Err(error) if error.kind == ErrorKind::NotFound => upload.on_partial_ended(partial, None, context),
                    Err(error) => {
                        upload.blame(&error);
                    }
                }
            }
            for asker in upload.early_peeks.take().unwrap_or_default() {
                upload.on(Event::Peek(asker), context);
            }
        }));
    }

    pub(super) fn on_partial_ended(&mut self, partial: UploadId, length: Option<u64>, context: &mut Context<Self>) {
        if !self.state.is_waiting() || !self.partials.contains_key(&partial) {
            return;
        }
        if length.is_none() {
            self.on_partial_lost(&partial);
            self.on(Event::PartialLost, context);
            return;
        }
        self.partials.insert(partial, length);
        let Kind::Final { partials } = &self.info.kind else { return };
        let lengths: Option<Vec<u64>> =
            partials.iter().map(|partial| self.partials.get(partial).copied().flatten()).collect();
        if let Some(lengths) = lengths {
            self.on(Event::PartialsReady(lengths.into_iter().fold(0, u64::saturating_add)), context);
        }
    }
}
