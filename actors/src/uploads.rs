//! The facade: all that the web side can ask of uploads.

mod admin;
mod asking;
mod claims;
mod starting;
mod view;
mod whole;
mod words;

use std::{io, sync::Arc, time::Duration};

use slog::Logger;
use tokio::sync::oneshot;

use crate::{
    Budget, Claimant, Info, Kind, Own, Record, UploadId,
    clock::{Clock, unix_secs},
    directory::{self, Directory},
    hooks::{Caller, EventKind, HookResponse, Hooks},
    lease::Lease,
    live::Live,
    monitor::Monitor,
    post::{Post, Receive, Unanswered},
    reaper::{Reaper, Wake},
    storage::{ErrorKind, Reader, Storage, StorageError},
    upload::{
        Upload, least,
        messages::{Answered, Asker, Begin, Consulted, Inspect, Join, Peek, Reply, Snapshot, Terminate},
        state::{self, Refusal},
    },
};
use asking::Accesses;
pub use view::{ListCursor, ListPage, Listed, Overview, OwnerReport, Tuning};
pub use whole::{Appended, CreatedWhole};
pub use words::{Appending, AskFailure, Begun, Config, Created, Denial, Denied, Mailboxes, NewUpload};

/// All uploads. Cheap to clone; used from the arbiters that serve requests, whose threads also run the owners that
/// these requests start.
#[derive(Clone)]
pub struct Uploads {
    directory: Arc<Directory>,
    budget: Arc<Budget>,
    reaper: Post<Reaper>,
    /// Answers to pre-access, when that is asked for.
    accesses: Option<Arc<Accesses>>,
    /// For whom all is asked; `None` when nobody's owner matters.
    on_behalf_of: Option<Claimant>,
    logger: Logger,
}

impl Uploads {
    /// Uploads in the given store. To be called on the arbiter that shall run the reaper and the final uploads that wait
    /// for partial ones from before the start.
    ///
    /// # Errors
    /// When no thread for hooks can be started.
    pub async fn start(storage: Arc<dyn Storage>, config: Config, logger: Logger) -> io::Result<Self> {
        let live = Live::new(&config.tuning.values());
        let (durability, mailbox, remembered) = (config.durability, config.tuning.mailbox, config.remembered);
        let identity = config.hooks.as_ref().map(|hooks| hooks.identity.clone());
        let hooks = match config.hooks {
            Some(config) => Some(Hooks::start(config, storage.outbox(), logger.clone())?),
            None => None,
        };
        let asks_access = hooks.as_ref().is_some_and(|hooks| hooks.wants(EventKind::PreAccess));
        let accesses = identity.filter(|_| asks_access).map(|identity| Arc::new(Accesses::new(identity)));
        let watcher = config.watcher;
        let owners = directory::Config { durability, live, mailbox, remembered, hooks, watcher };
        let clock = Clock::new(config.tuning.expire_after);
        let directory = Directory::new(storage, owners, clock, logger.clone());
        let reaper = Reaper::run(Arc::clone(&directory));
        let uploads = Self { directory, budget: config.budget, reaper, accesses, on_behalf_of: None, logger };
        if uploads.directory.clock().after().is_some() {
            uploads.remember_times().await;
        }
        uploads.reaper.tell(Wake);
        Monitor::run(&uploads.directory, uploads.reaper.gauge());
        uploads.wake_finals();
        uploads.take_up_events();
        Ok(uploads)
    }

    /// The memory for bytes on their way to the store.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether the store takes bytes from sockets by itself: see [`Lease::draw`].
    #[must_use]
    pub fn draws(&self) -> bool {
        self.directory.storage().draws()
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, AskFailure>>) -> Result<T, AskFailure> {
        tokio::time::timeout(self.directory.live().patience(), work).await.unwrap_or(Err(AskFailure::TimedOut))
    }

    async fn find(&self, id: &UploadId) -> Result<Post<Upload>, AskFailure> {
        self.directory.find(id).await.map_err(|kind| {
            if kind != ErrorKind::NotFound {
                return kind.into();
            }
            self.directory.note_end(id);
            let is_expired = self.directory.is_known_expired(id, self.on_behalf_of.as_ref());
            AskFailure::Refused(if is_expired { Refusal::Expired } else { Refusal::NotFound })
        })
    }

    /// Asks the owner; once more when it had just retired. Only for messages that may be handled twice.
    async fn ask<M>(&self, id: &UploadId, make: impl Fn(Asker) -> M) -> Result<Reply, AskFailure>
    where
        M: Send + 'static,
        Upload: Receive<M>,
    {
        let make =
            |answer: oneshot::Sender<Answered>| make(Asker::from(answer).on_behalf_of(self.on_behalf_of.clone()));
        self.within(async {
            let mut answered = self.find(id).await?.ask(&make).await;
            if answered.as_ref().is_err_and(|failure| *failure == Unanswered::Retired) {
                answered = self.find(id).await?.ask(&make).await;
            }
            answered.map_err(AskFailure::from)?.map_err(AskFailure::Refused)
        })
        .await
    }

    /// Creates an upload; a final one is answered when it is complete, or waits for partial ones that are not.
    ///
    /// # Errors
    /// [`Refusal::Exists`]; for a final upload [`Refusal::NotFound`], [`Refusal::NotFinished`] and
    /// [`Refusal::MaxSizeExceeded`] by its partial ones; or what the store says.
    pub async fn create(&self, mut new: NewUpload) -> Result<Created, AskFailure> {
        if let Kind::Final { partials } = &new.kind {
            for partial in partials {
                self.ask_for_access(partial, new.caller.as_ref()).await?;
            }
        }
        let random = new.id.clone();
        let response = self.ask_to_create(&mut new).await?;
        let is_chosen = new.id != random;
        let (snapshot, consulted) = self.make(new, is_chosen).await?;
        Ok(Created { snapshot, response, consulted })
    }

    /// What is known of an upload that is to be created.
    fn info_of(&self, new: NewUpload) -> Info {
        let expires_at_secs =
            if matches!(new.kind, Kind::Final { .. }) { None } else { self.directory.clock().expiry_secs() };
        Info {
            id: new.id,
            length: new.length,
            metadata: new.metadata,
            kind: new.kind,
            place: new.place,
            own: Some(Own {
                raw_metadata: new.raw_metadata,
                raw_concat: new.raw_concat,
                finished: false,
                expires_at_secs,
                finals: Vec::new(),
                dropped_parts: Vec::new(),
                owner: self.on_behalf_of.as_ref().map(|claimant| claimant.subject.to_string()),
                max_size: new.max_size,
            }),
        }
    }

    async fn make(
        &self,
        mut new: NewUpload,
        is_chosen: bool,
    ) -> Result<(Snapshot, Option<Arc<Consulted>>), AskFailure> {
        let (max_size, caller) = (new.max_size, new.caller.take());
        let mut info = self.info_of(new);
        let expires_at_secs = info.own.as_ref().and_then(|own| own.expires_at_secs);
        let storage = self.directory.storage();
        if storage.reserves() {
            let reserved = async { storage.reserve(&info, is_chosen).await.map_err(|error| self.blame(&error)) };
            info.id = self.within(reserved).await?;
        }
        if let Kind::Final { partials } = &info.kind {
            match self.join_partials(&info.id, partials, max_size).await {
                Ok(length) => info.length = length,
                Err(failure) => {
                    if storage.reserves() {
                        // What can't be given up now is found by the reaper.
                        let _ = storage.release(&info.id).await;
                    }
                    return Err(failure);
                }
            }
        }
        let (id, is_final, is_empty) = (info.id.clone(), info.is_final(), info.length == Some(0));
        let created = Snapshot { info: info.clone(), offset: Some(0), expires_at_secs, record: None };
        self.within(async { self.directory.create(info, caller).await.map_err(AskFailure::from) }).await?;
        self.directory.note_created(&created.info);
        if !is_final && !is_empty {
            return Ok((created, None));
        }
        // An empty upload finishes by itself; a final one, when it can. A peek is answered after that.
        match self.ask(&id, |asker| Peek { asker }).await {
            Ok(Reply::Peeked { record: Some(record), consulted, .. }) => Ok((of_record(&record), consulted)),
            Ok(_) => Ok((Snapshot { offset: if is_final { None } else { Some(0) }, ..created }, None)),
            // A long concatenation goes on by itself.
            Err(AskFailure::TimedOut) if is_final => Ok((Snapshot { offset: None, ..created }, None)),
            Err(AskFailure::TimedOut) => Err(AskFailure::TimedOut),
            Err(failure) => {
                // Whoever asked is told that there is no such upload, and knows no name to delete it by.
                let _ = self.ask(&id, |asker| Terminate { asker }).await;
                Err(failure)
            }
        }
    }

    /// The cause of a failure goes into the log; the asker is told its kind.
    fn blame(&self, error: &StorageError) -> AskFailure {
        if !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Exists) {
            slog::error!(self.logger, "store failed"; "error" => %error);
        }
        error.kind.into()
    }

    /// Notes a final upload with each partial one that is not finished, before it exists: none can end unheard. Returns
    /// the sum of their lengths, when all are known.
    async fn join_partials(
        &self,
        final_id: &UploadId,
        partials: &[UploadId],
        max_size: Option<u64>,
    ) -> Result<Option<u64>, AskFailure> {
        let mut known_length = Some(0_u64);
        for partial in partials {
            let length = match self.published(partial)? {
                Some(record) => Some(record.length),
                None if self.directory.live().concatenation_unfinished() => {
                    match self.ask(partial, |asker| Join { final_id: final_id.clone(), asker }).await? {
                        Reply::Joined(length) => length,
                        _ => None,
                    }
                }
                None => Some(self.record(partial).await?.ok_or(AskFailure::Refused(Refusal::NotFinished))?.length),
            };
            known_length = known_length.zip(length).map(|(sum, length)| sum.saturating_add(length));
        }
        if known_length.zip(least(self.directory.live().max_size(), max_size)).is_some_and(|(length, max)| length > max)
        {
            return Err(AskFailure::Refused(Refusal::MaxSizeExceeded));
        }
        Ok(known_length)
    }

    /// Asks for the right to append. An open lease of another request ends, if this one can be right.
    ///
    /// # Errors
    /// [`Refusal::MismatchedOffset`] and the other refusals of an append; or what the store says.
    pub async fn begin(&self, id: &UploadId, appending: Appending) -> Result<Begun, AskFailure> {
        if let Some(record) = self.published(id)? {
            return complete(&record, &appending);
        }
        let Appending { offset, declared_length, announced, tentative, request_id, peer, caller } = appending;
        let begin = state::Begin { offset, declared_length, announced, tentative };
        self.within(async {
            let make = |asker| {
                let asker = Asker::of_request(asker, Arc::clone(&request_id), peer, caller.clone());
                Begin { begin, asker: asker.on_behalf_of(self.on_behalf_of.clone()) }
            };
            let mut post = self.find(id).await?;
            let mut answered = post.ask(make).await;
            if answered.as_ref().is_err_and(|failure| *failure == Unanswered::Retired) {
                post = self.find(id).await?;
                answered = post.ask(make).await;
            }
            match answered.map_err(AskFailure::from)?.map_err(AskFailure::Refused)? {
                Reply::Granted { lease, offset, room, end, expires_at_secs } => {
                    Ok(Begun::Lease { lease: Lease::new(post, lease, offset, room, end), expires_at_secs })
                }
                Reply::Complete { offset } => Ok(Begun::Complete { offset }),
                _ => Err(AskFailure::Refused(Refusal::StoreFailed)),
            }
        })
        .await
    }

    /// Where an upload stands: an offset that the next append may use. Ends an open lease.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Expired`], or what the store says.
    pub async fn inspect(&self, id: &UploadId) -> Result<Snapshot, AskFailure> {
        if let Some(record) = self.published(id)? {
            return Ok(of_record(&self.dated(record).await?));
        }
        let Reply::Inspected(mut snapshot) = self.ask(id, |asker| Inspect { asker }).await? else {
            return Err(AskFailure::Refused(Refusal::StoreFailed));
        };
        if let Some(record) = snapshot.record.take() {
            snapshot.record = Some(self.dated(record).await?);
        }
        Ok(*snapshot)
    }

    /// A record with the date that the store may not have told yet.
    async fn dated(&self, record: Arc<Record>) -> Result<Arc<Record>, AskFailure> {
        if record.modified.is_some() {
            return Ok(record);
        }
        let dating = async { self.directory.storage().date(&record).await.map_err(|error| self.blame(&error)) };
        let record = Arc::new(self.within(dating).await?);
        self.directory.date(&record);
        Ok(record)
    }

    /// The published form of an upload, when it is finished. Disturbs nobody.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Expired`], or what the store says.
    pub async fn record(&self, id: &UploadId) -> Result<Option<Arc<Record>>, AskFailure> {
        if let Some(record) = self.published(id)? {
            return self.dated(record).await.map(Some);
        }
        match self.ask(id, |asker| Peek { asker }).await? {
            Reply::Peeked { record: Some(record), .. } => self.dated(record).await.map(Some),
            Reply::Peeked { record: None, .. } => Ok(None),
            _ => Err(AskFailure::Refused(Refusal::StoreFailed)),
        }
    }

    /// When an upload expires, in seconds since the Unix epoch. Disturbs nobody; nothing when it can't be said.
    pub async fn expires_at_secs(&self, id: &UploadId) -> Option<u64> {
        self.directory.clock().after()?;
        if let Some(record) = self.published(id).ok()? {
            return of_record(&record).expires_at_secs;
        }
        match self.ask(id, |asker| Peek { asker }).await {
            Ok(Reply::Peeked { expires_at_secs, .. }) => expires_at_secs,
            _ => None,
        }
    }

    /// Opens the bytes of a finished upload.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it was deleted meanwhile, or what the store says.
    pub async fn read(&self, record: &Record) -> Result<Box<dyn Reader>, AskFailure> {
        self.within(async {
            self.directory.storage().reader(record).await.map_err(|error| {
                if error.kind != ErrorKind::NotFound {
                    slog::error!(self.logger, "store failed"; "upload_id" => %record.info.id, "error" => %error);
                }
                error.kind.into()
            })
        })
        .await
    }

    /// Deletes an upload, finished or not, for the request that `caller` tells of. What the application wants laid over the
    /// answer comes back.
    ///
    /// # Errors
    /// [`AskFailure::Denied`] when the application wants it to stay;
    /// [`Refusal::NotFound`], [`Refusal::Expired`], or what the store says.
    pub async fn terminate(
        &self,
        id: &UploadId,
        caller: Option<Arc<Caller>>,
    ) -> Result<Option<Arc<HookResponse>>, AskFailure> {
        let response = self.ask_to_terminate(id, caller.as_ref()).await?;
        self.end(id, caller).await?;
        Ok(response)
    }

    /// Deletes an upload on an operator's behalf: the application is told of it, not asked.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Expired`], or what the store says.
    pub async fn terminate_unasked(&self, id: &UploadId) -> Result<(), AskFailure> {
        self.end(id, None).await
    }

    async fn end(&self, id: &UploadId, caller: Option<Arc<Caller>>) -> Result<(), AskFailure> {
        match self.ask(id, |asker| Terminate { asker: asker.called_by(caller.clone()) }).await? {
            Reply::Terminated => Ok(()),
            _ => Err(AskFailure::Refused(Refusal::StoreFailed)),
        }
    }

    /// Ends all leases, now and from now on; their holders are told that the server ends. What arrived is kept.
    pub fn close(&self) {
        self.directory.close();
    }

    /// Waits until all that arrived is stored, but no longer than the given time. True when it is.
    pub async fn settle(&self, at_most: Duration) -> bool {
        let inspections = self.directory.owners().into_iter().map(|post| async move {
            // Answered when the lease has been settled; an owner that ended has nothing left to settle.
            let _ = post.ask(|asker| Inspect { asker: asker.into() }).await;
        });
        let settled = tokio::time::timeout(at_most, futures_util::future::join_all(inspections)).await.is_ok();
        if self.directory.clock().after().is_some() {
            let now = unix_secs(std::time::SystemTime::now());
            // Only sharpens the guard against wrong clocks.
            let _ =
                tokio::time::timeout(at_most, self.directory.storage().note("last_seen", Some(now.to_string()))).await;
        }
        if let Some(hooks) = self.directory.hooks() {
            hooks.close(at_most).await;
        }
        let closed = tokio::time::timeout(at_most, self.directory.storage().close()).await;
        settled && closed.is_ok()
    }
}

fn of_record(record: &Arc<Record>) -> Snapshot {
    let expires_at_secs = match record.info.kind {
        Kind::Partial => record.info.own.as_ref().and_then(|own| own.expires_at_secs),
        Kind::Single | Kind::Final { .. } => None,
    };
    Snapshot {
        info: Info { length: Some(record.length), ..record.info.clone() },
        offset: Some(record.length),
        expires_at_secs,
        record: Some(Arc::clone(record)),
    }
}

/// A finished upload needs no owner to refuse an append.
fn complete(record: &Record, appending: &Appending) -> Result<Begun, AskFailure> {
    let refusal = if record.info.is_final() {
        Refusal::ModifyFinal
    } else if appending.offset != record.length {
        Refusal::MismatchedOffset
    } else {
        return Ok(Begun::Complete { offset: record.length });
    };
    Err(AskFailure::Refused(refusal))
}

#[cfg(feature = "faults")]
#[cfg(test)]
mod tests;
