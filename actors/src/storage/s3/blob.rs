//! The owner's handle of an upload in S3: each operation is a command to the upload's keeper, which ends when the handle
//! is gone and no part is under way any more.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::keeper::{Command, Keeper, Reply};
use crate::{
    Info, Record, Share, UploadId,
    storage::{Blob, ErrorKind, Op, PartReport, StorageError, Written},
};

/// See the module.
pub(super) struct S3Blob {
    commands: mpsc::UnboundedSender<Command>,
    given_up: watch::Sender<Option<Instant>>,
    durable: Arc<AtomicU64>,
    parts: watch::Receiver<Vec<PartReport>>,
    shares: Vec<Share>,
}

impl S3Blob {
    /// Starts the keeper as a task of the calling runtime.
    pub(super) fn start(keeper: Keeper) -> Self {
        // At most one operation is under way, so this holds one command, and perhaps a rest behind it.
        let (commands, orders) = mpsc::unbounded_channel();
        let (durable, parts) = (keeper.durable(), keeper.parts());
        let (given_up, signal) = watch::channel(None);
        tokio::spawn(keeper.until(signal).run(orders));
        Self { commands, given_up, durable, parts, shares: Vec::new() }
    }

    fn order<T: Send + 'static>(&self, make: impl FnOnce(Reply<T>) -> Command + Send + 'static) -> Op<T> {
        let commands = self.commands.clone();
        Box::pin(async move {
            let ended = || StorageError::new(ErrorKind::Failed, "ask the upload's keeper", "it has ended");
            let (reply, answer) = oneshot::channel();
            commands.send(make(reply)).map_err(|_| ended())?;
            answer.await.unwrap_or_else(|_| Err(ended()))
        })
    }
}

impl Blob for S3Blob {
    fn take_over(&mut self, shares: Vec<Share>) -> Vec<Share> {
        self.shares.extend(shares);
        Vec::new()
    }

    fn durable(&self) -> Option<u64> {
        Some(self.durable.load(Ordering::Acquire))
    }

    fn parts(&self) -> Option<Vec<PartReport>> {
        Some(self.parts.borrow().clone())
    }

    fn write(&mut self, _at: u64, data: Vec<Bytes>) -> Op<Written> {
        let shares = std::mem::take(&mut self.shares);
        self.order(move |reply| Command::Write { data, shares, reply })
    }

    fn sync(&mut self) -> Op<()> {
        self.order(Command::Sync)
    }

    fn cut(&mut self, to: u64) -> Op<()> {
        self.order(move |reply| Command::Cut { to, reply })
    }

    fn stage(&mut self, base: u64) -> Op<()> {
        self.order(move |reply| Command::Stage { base, reply })
    }

    fn keep(&mut self) -> Op<()> {
        self.order(Command::Keep)
    }

    fn discard(&mut self, base: u64) -> Op<()> {
        self.order(move |reply| Command::Discard { base, reply })
    }

    fn save(&mut self, info: Info) -> Op<()> {
        self.order(move |reply| Command::Save { info: Box::new(info), reply })
    }

    fn finish(&mut self, info: Info) -> Op<Record> {
        self.order(move |reply| Command::Finish { info: Box::new(info), reply })
    }

    fn concatenate(&mut self, partials: Vec<UploadId>) -> Op<u64> {
        self.order(move |reply| Command::Concatenate { partials, reply })
    }

    fn give_up(&mut self) {
        self.given_up.send_modify(|since| *since = since.or_else(|| Some(Instant::now())));
    }

    fn delete(&mut self) -> Op<()> {
        self.order(Command::Delete)
    }

    fn rest(&mut self) {
        // A keeper that has ended holds nothing.
        let _ = self.commands.send(Command::Rest);
    }
}
