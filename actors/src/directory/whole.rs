//! Uploads that are created with all their bytes: finished at once, they need no owner.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use slog::{error, info, o, warn};
use tokio::sync::oneshot;

use super::Directory;
use crate::{
    Info, Record, Share,
    events::Event,
    history::{Course, Step},
    post::{METERED, now_nanos},
    storage::{
        ErrorKind, Opened, StorageError, Ticket, Whole,
        metered::{Name, Outcome},
    },
    upload::sight::unix_ms,
};

/// What came of it.
pub(crate) enum Made {
    /// The upload is finished, and published.
    Finished(Arc<Record>),
    /// It has so many of its bytes, for this reason no more, and an owner.
    Cut(u64, ErrorKind),
}

impl Directory {
    /// Creates an upload with all its bytes, which take `share` of the memory. Nobody can be in its way meanwhile: whoever asks
    /// for it waits until it is there.
    ///
    /// # Errors
    /// As [`Storage::create_whole`](crate::storage::Storage::create_whole); an id that is in use is [`ErrorKind::Exists`].
    pub(crate) async fn create_whole(
        self: &Arc<Self>,
        info: Info,
        bytes: Vec<Bytes>,
        share: Share,
    ) -> Result<Made, ErrorKind> {
        let (epoch, _) = self.free_seat(&info.id).await?;
        let ticket = self.ticket(&info.id, epoch);
        let creating = self.storage().create_whole(info, bytes, ticket.clone());
        let (directory, (sender, made)) = (Arc::clone(self), oneshot::channel());
        // A task of its own: the request may end at any await, and what it wanted is to be told of all the same.
        actix_rt::spawn(async move {
            let (began_nanos, began_unix_ms) = (now_nanos(), unix_ms(SystemTime::now()));
            let run = METERED.then(|| directory.operations().begin(Name::CreateWhole, began_nanos));
            let whole = creating.await;
            drop(share);
            let now_nanos = now_nanos();
            if let Some(run) = run {
                run.end(now_nanos, whole.failure());
            }
            let made = match whole {
                Ok(Whole::Finished(record)) => {
                    Ok(directory.take_finished(record, (began_nanos, began_unix_ms), now_nanos))
                }
                Ok(Whole::Cut(opened, error)) => Ok(directory.take_cut(*opened, &error, epoch, &ticket)),
                Err(error) => Err(directory.take_failed(&error)),
            };
            // With the last ticket the entry goes, unless there is an owner; whoever waits for one looks again.
            drop(ticket);
            // Who has gone needs no answer.
            let _ = sender.send(made);
        });
        made.await.unwrap_or(Err(ErrorKind::Failed))
    }

    fn take_finished(&self, record: Arc<Record>, (began_nanos, began_unix_ms): (u64, u64), now_nanos: u64) -> Made {
        let (id, length) = (&record.info.id, record.length);
        self.publish(Arc::clone(&record));
        self.note_created(&record.info);
        info!(self.logger(), "upload completed"; o!("upload_id" => id.as_str().to_owned()), "length" => length);
        self.note_end(id);
        self.tally().bytes_received.add(length);
        self.tally().finished.add(1);
        if METERED {
            let mut course = Course::new(began_nanos, began_unix_ms);
            course.note(Step::Created, began_nanos);
            course.note(Step::Moved(length), now_nanos);
            course.note(Step::Finished(length), now_nanos);
            self.histories().keep(id, course);
        }
        self.events().tell(|| Event::UploadFinished { id: id.clone(), length });
        Made::Finished(record)
    }

    fn take_cut(self: &Arc<Self>, opened: Opened, error: &StorageError, epoch: u64, ticket: &Ticket) -> Made {
        let (id, stored) = (opened.info.id.clone(), opened.stored);
        self.note_created(&opened.info);
        if error.kind == ErrorKind::NoSpace {
            warn!(self.logger(), "store is full"; "upload_id" => %id, "error" => %error);
        } else {
            error!(self.logger(), "store failed"; "upload_id" => %id, "error" => %error);
        }
        self.tally().bytes_received.add(stored);
        let owner = self.run(opened, Some(None), ticket.clone());
        self.settle(&id, epoch, Ok(owner));
        Made::Cut(stored, error.kind)
    }

    fn take_failed(&self, error: &StorageError) -> ErrorKind {
        if error.kind != ErrorKind::Exists {
            error!(self.logger(), "store failed"; "error" => %error);
        }
        error.kind
    }
}
