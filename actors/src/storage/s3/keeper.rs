//! The keeper of one upload in S3: a task that takes one command after the other, brings parts on their way as they fill,
//! and takes what comes back of them. All of the upload's state in S3 is its own.
//!
//! The bytes lie as `[ parts | buffer ]`. The buffer's beginning may be in S3 as the tail; it is read back before
//! anything is put behind it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Shared,
    client::ETag,
    failed, keys,
    plan::Plan,
    tail::{self, Tail},
};
use crate::{
    Info, Record, Share, UploadId,
    storage::{ErrorKind, PartReport, StorageError, Ticket, Written},
};
use buffer::Buffer;
use memory::Habits;
pub(super) use memory::Relief;
use sending::{GivenUp, Sending};

mod buffer;
mod ending;
mod memory;
mod sending;

/// How often a keeper with bytes in memory looks whether others need that.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// What the owner's handle can order.
pub(super) enum Command {
    Write { data: Vec<Bytes>, shares: Vec<Share>, reply: Reply<Written> },
    Sync(Reply<()>),
    Cut { to: u64, reply: Reply<()> },
    Stage { base: u64, reply: Reply<()> },
    Keep(Reply<()>),
    Discard { base: u64, reply: Reply<()> },
    Save { info: Box<Info>, reply: Reply<()> },
    Finish { info: Box<Info>, reply: Reply<Record> },
    Concatenate { partials: Vec<UploadId>, reply: Reply<u64> },
    Delete(Reply<()>),
    Rest,
}

/// See the module.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    number: u64,
    name: String,
    key: String,
    multipart: String,
    info: Info,
    plan: Plan,
    buffer: Buffer,
    /// The tail in S3, while its bytes are the buffer's first.
    tail: Option<Tail>,
    /// Whether an object of that name may be there, counting or not.
    tail_exists: bool,
    /// Whether the tail's bytes are in the buffer too.
    loaded: bool,
    /// From here on bytes are tentative.
    staged: Option<u64>,
    /// Since when it holds memory, by what was seen.
    habits: Habits,
    under_way: FuturesUnordered<Sending>,
    failure: Option<StorageError>,
    /// Whether S3 has said that there is no such multipart upload.
    is_aborted: bool,
    /// Whether nothing of the upload is to be left; and whether parts were under way when it was deleted.
    is_deleted: bool,
    has_stray_parts: bool,
    /// Whether the parts have been made one object, and which, if the answer to that has come.
    is_completed: bool,
    object: Option<ETag>,
    given_up: GivenUp,
    durable: Arc<AtomicU64>,
    /// The parts, for those who want to look.
    published: watch::Sender<Vec<PartReport>>,
    /// Held until nothing of the upload is under way any more, or nothing is left of it that could be found.
    ticket: Option<Ticket>,
}

impl Keeper {
    /// A keeper of what was created or found.
    pub(super) fn new(
        shared: Arc<Shared>,
        id: &keys::Id,
        info: Info,
        plan: Plan,
        found: tail::Found,
        ticket: Ticket,
    ) -> Self {
        let tail = found.counting();
        let durable = plan.durable() + tail.map_or(0, |tail| tail.len);
        let published = watch::Sender::new(plan.report());
        Self {
            number: shared.keepers.fetch_add(1, Ordering::Relaxed),
            key: shared.key(&id.name),
            shared,
            name: id.name.clone(),
            multipart: id.multipart.clone(),
            info,
            plan,
            buffer: Buffer::default(),
            tail,
            tail_exists: found != tail::Found::Nothing,
            loaded: tail.is_none(),
            staged: None,
            habits: Habits::default(),
            under_way: FuturesUnordered::new(),
            failure: None,
            is_aborted: false,
            is_deleted: false,
            has_stray_parts: false,
            is_completed: false,
            object: None,
            given_up: watch::channel(None).1,
            durable: Arc::new(AtomicU64::new(durable)),
            published,
            ticket: Some(ticket),
        }
    }

    /// A keeper of an upload whose object is there, but what follows that is still to be done.
    pub(super) fn of_completed(shared: Arc<Shared>, id: &keys::Id, info: Info, ticket: Ticket) -> Self {
        // Its tail may not have been removed yet.
        let keeper = Self::new(shared, id, info, Plan::default(), tail::Found::Stale, ticket);
        Self { is_completed: true, ..keeper }
    }

    /// It waits for nothing long any more once this tells that the upload is to be deleted.
    pub(super) fn until(self, given_up: GivenUp) -> Self {
        Self { given_up, ..self }
    }

    /// Where it tells how many bytes are durable.
    pub(super) fn durable(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.durable)
    }

    /// Where it shows its parts.
    pub(super) fn parts(&self) -> watch::Receiver<Vec<PartReport>> {
        self.published.subscribe()
    }

    /// Serves until the handle is gone, and then until no part is under way.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Command>) {
        // Not begun anew by each command: a client that sends a byte now and then would keep its memory for ever.
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let holds_memory = self.buffer.len() > 0;
            tokio::select! {
                Some((number, result)) = self.under_way.next() => self.on_part(number, result),
                command = orders.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                _ = look_around.tick(), if holds_memory => self.relieve().await,
            }
        }
        while let Some((number, result)) = self.under_way.next().await {
            self.on_part(number, result);
        }
        if self.is_deleted {
            self.clear_up().await;
        } else {
            self.shared.left_with.insert(self.key.clone(), self.durable.load(Ordering::Acquire));
        }
    }

    async fn obey(&mut self, command: Command) {
        // An owner that has died awaits no answer; the work is done all the same.
        match command {
            Command::Write { data, shares, reply } => drop(reply.send(Ok(self.write(data, shares).await))),
            Command::Sync(reply) => drop(reply.send(self.sync().await)),
            Command::Cut { to, reply } => drop(reply.send(self.cut(to).await)),
            Command::Stage { base, reply } => {
                self.staged = Some(base);
                drop(reply.send(Ok(())));
            }
            Command::Keep(reply) => {
                self.staged = None;
                drop(reply.send(self.sync().await));
            }
            Command::Discard { base, reply } => drop(reply.send(self.discard(base).await)),
            Command::Save { info, reply } => drop(reply.send(self.save(*info).await)),
            Command::Finish { info, reply } => drop(reply.send(self.finish(*info).await)),
            Command::Concatenate { partials, reply } => drop(reply.send(self.concatenate(partials).await)),
            Command::Delete(reply) => drop(reply.send(self.delete().await)),
            Command::Rest => self.rest(),
        }
    }

    /// Takes bytes. They are durable when a part or the tail has them; `sync` waits for that.
    async fn write(&mut self, data: Vec<Bytes>, shares: Vec<Share>) -> Written {
        let len: u64 = data.iter().map(|bytes| bytes.len() as u64).sum();
        if let Err(error) = self.make_ready(len).await {
            return Written { len: 0, failure: Some(error) };
        }
        self.buffer.push(data, shares);
        self.habits.wrote();
        self.send_full_parts().await;
        // They are taken, whatever has become of parts: some may be durable already, so the owner must count them.
        Written { len, failure: self.failure.clone() }
    }

    /// Whether so many bytes more can be taken.
    async fn make_ready(&mut self, len: u64) -> Result<(), StorageError> {
        self.failure.clone().map_or(Ok(()), Err)?;
        self.load().await?;
        if let Some(base) = self.staged {
            let tentative = self.plan.end() + self.buffer.len() - base + len;
            if tentative > self.shared.config.tentative_max_bytes {
                let cause = "more bytes with a checksum than are kept until they are checked";
                return Err(StorageError::new(ErrorKind::TooLarge, "write", cause));
            }
        }
        Ok(())
    }

    fn tell_durable(&self) {
        let parts = self.plan.durable();
        let tail = self.tail.filter(|tail| tail.start == parts);
        self.durable.store(parts + tail.map_or(0, |tail| tail.len), Ordering::Release);
        self.published.send_replace(self.plan.report());
    }

    /// Makes all bytes durable: as parts, or the rest as the tail.
    async fn sync(&mut self) -> Result<(), StorageError> {
        self.send_full_parts().await;
        self.parts_done().await?;
        let rest = if self.loaded { self.buffer.len() } else { self.tail.map_or(0, |tail| tail.len) };
        let is_all = self.info.length == Some(self.plan.end() + rest);
        let least = self.shared.sizes.least(self.plan.used(), self.plan.end(), self.info.length);
        if rest > 0 && (is_all || rest >= least) {
            self.load().await?;
            self.send_part(rest).await;
            self.parts_done().await?;
        } else if rest > 0 && !self.tail.is_some_and(|tail| tail.start == self.plan.end() && tail.len == rest) {
            self.put_tail().await?;
        }
        self.drop_stale_tail().await;
        Ok(())
    }

    async fn put_tail(&mut self) -> Result<(), StorageError> {
        self.tail_exists = true;
        let stored = tail::store(&self.shared, &self.key, self.plan.end(), self.buffer.bytes()).await;
        self.tail = Some(stored.map_err(failed("put the tail"))?);
        self.tell_durable();
        Ok(())
    }

    /// A tail whose bytes are in parts by now does not count; tusd would count it all the same.
    async fn drop_stale_tail(&mut self) {
        let is_stale = self.tail.is_none_or(|tail| tail.start < self.plan.durable());
        if self.tail_exists && is_stale && self.failure.is_none() {
            self.tail = None;
            // It can stay: the next look at it is as good.
            self.tail_exists = self.shared.delete(vec![keys::tail(&self.key)]).await.is_err();
        }
    }

    /// Forgets all that is not durable.
    async fn cut(&mut self, to: u64) -> Result<(), StorageError> {
        if !self.none_under_way().await {
            // The upload is about to be deleted, with what still comes.
            return Ok(());
        }
        if self.is_aborted {
            // None of the bytes is left, so there is nothing to cut to.
            return Err(StorageError::new(ErrorKind::NotFound, "cut", "its multipart upload was aborted"));
        }
        self.failure = None;
        let dropped = self.plan.cut();
        self.tail = self.tail.filter(|tail| tail.start == self.plan.end());
        self.loaded = self.tail.is_none();
        self.buffer = Buffer::default();
        self.tell_durable();
        if !dropped.is_empty() {
            let mut info = self.info.clone();
            info.own.get_or_insert_default().dropped_parts.extend(dropped);
            self.save(info).await?;
        }
        if self.durable.load(Ordering::Acquire) == to {
            return Ok(());
        }
        Err(StorageError::new(ErrorKind::Failed, "cut", "another number of bytes is durable"))
    }

    async fn discard(&mut self, base: u64) -> Result<(), StorageError> {
        self.staged = None;
        if self.failure.is_none() && self.plan.end() <= base && self.loaded {
            self.buffer.truncate(base - self.plan.end());
            return Ok(());
        }
        if self.failure.is_none() && !self.loaded && self.buffer.len() == 0 {
            return Ok(());
        }
        self.cut(base).await
    }

    async fn save(&mut self, mut info: Info) -> Result<(), StorageError> {
        // The owner knows nothing of these numbers.
        let dropped = self.info.own.as_ref().map(|own| own.dropped_parts.clone()).unwrap_or_default();
        if !dropped.is_empty() {
            let own = info.own.get_or_insert_default();
            own.dropped_parts.extend(dropped);
            own.dropped_parts.sort_unstable();
            own.dropped_parts.dedup();
        }
        self.shared.save(&info, &self.name).await?;
        self.info = info;
        Ok(())
    }
}
