//! The one thread that makes bytes durable for all: what has come to wait while a sync ran is synced together.

use std::{
    fs::File,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crossbeam_channel::Receiver;
use rustix::{
    fs::{fdatasync, syncfs},
    io::retry_on_intr,
};
use tokio::sync::oneshot;

use super::Volume;
use crate::{
    post::Stamp,
    room::Places,
    storage::{StorageError, Ticket},
};

/// From so many syncs on, which those who wait would take by themselves, one sync of the file system replaces them. A sync of
/// one file costs a flush of the disk's cache, and so does one of the file system: it pays as soon as it replaces a few.
const GROUP: u64 = 4;

/// What must become durable.
pub(crate) struct Target {
    /// Makes it durable by itself.
    pub(crate) alone: Box<dyn FnOnce() -> io::Result<()> + Send>,
    /// By how many syncs.
    pub(crate) syncs: u64,
    /// A descriptor of the file system it lies on, if that may be synced as a whole.
    pub(crate) volume: Option<Volume>,
}

impl Target {
    /// The bytes and the size of a file; opened, or there is nothing to be done.
    pub(crate) fn file(file: Arc<OnceLock<File>>, volume: Option<Volume>) -> Self {
        let alone = move || file.get().map_or(Ok(()), sync);
        Self { alone: Box::new(alone), syncs: 1, volume }
    }
}

/// Makes the bytes and the size of a file durable.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    Ok(retry_on_intr(|| fdatasync(file))?)
}

/// One who waits for a sync.
pub(super) struct Request {
    pub(super) stamp: Stamp,
    /// Its place in the queue, given back when it is taken out.
    pub(super) place: Option<Places>,
    pub(super) target: Target,
    pub(super) ticket: Ticket,
    pub(super) reply: oneshot::Sender<Result<(), StorageError>>,
}

/// What the committer does, for whoever wants to look.
#[derive(Default)]
pub(super) struct Syncs {
    pub(super) calls: AtomicU64,
    pub(super) busy: AtomicBool,
}

/// The committer's life: takes all that wait, serves them, and looks again.
pub(super) fn run(requests: &Receiver<Request>, syncs: &Syncs) {
    while let Ok(first) = requests.recv() {
        let mut batch = vec![first];
        while let Ok(next) = requests.try_recv() {
            batch.push(next);
        }
        for request in &mut batch {
            request.place = None;
            request.stamp.open();
        }
        syncs.busy.store(true, Ordering::Relaxed);
        serve(batch, &syncs.calls);
        syncs.busy.store(false, Ordering::Relaxed);
    }
}

fn serve(mut batch: Vec<Request>, syncs: &AtomicU64) {
    while let Some(first) = batch.pop() {
        let volume = first.target.volume.clone();
        let mut group = vec![first];
        if let Some(volume) = &volume {
            group.extend(
                batch.extract_if(.., |other| other.target.volume.as_ref().is_some_and(|own| Arc::ptr_eq(own, volume))),
            );
        }
        match volume {
            Some(volume) if group.iter().map(|request| request.target.syncs).sum::<u64>() >= GROUP => {
                syncs.fetch_add(1, Ordering::Relaxed);
                let outcome = retry_on_intr(|| syncfs(&*volume));
                group.into_iter().for_each(|request| request.answer(|_| outcome.map_err(io::Error::from)));
            }
            _ => {
                for request in group {
                    syncs.fetch_add(request.target.syncs, Ordering::Relaxed);
                    request.answer(|target| (target.alone)());
                }
            }
        }
    }
}

impl Request {
    fn answer(self, settle: impl FnOnce(Target) -> io::Result<()>) {
        let Self { stamp, target, ticket, reply, .. } = self;
        let outcome = settle(target);
        drop((stamp, ticket));
        // The asker may have gone.
        let _ = reply.send(outcome.map_err(|error| StorageError::from_io("sync", error)));
    }
}
