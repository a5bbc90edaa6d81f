//! The one thread that makes bytes durable for all: what has come to wait while a sync ran is synced together.

use std::{
    fs::File,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
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

/// So long the committer waits for those who will soon ask as well. It costs the one who waits no more than that, and the
/// disk a sync less for each that comes.
pub(super) const LINGER: Duration = Duration::from_millis(2);

/// One who is on the way to ask for a sync, until this is dropped.
pub(crate) struct Coming(Arc<Syncs>);

impl Coming {
    pub(super) fn of(syncs: &Arc<Syncs>) -> Self {
        syncs.coming.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(syncs))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

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
    /// That it is on the way, until it is taken out.
    pub(super) _coming: Option<Coming>,
    pub(super) target: Target,
    pub(super) ticket: Ticket,
    pub(super) reply: oneshot::Sender<Result<(), StorageError>>,
}

/// What the committer does, for whoever wants to look.
#[derive(Default)]
pub(super) struct Syncs {
    pub(super) calls: AtomicU64,
    pub(super) busy: AtomicBool,
    /// How many are on the way to ask for a sync.
    coming: AtomicUsize,
}

/// The committer's life: takes all that wait, and those who are on the way, serves them, and looks again.
pub(super) fn run(requests: &Receiver<Request>, syncs: &Syncs, linger: Duration) {
    while let Ok(first) = requests.recv() {
        let (mut batch, until) = (vec![arrived(first)], Instant::now() + linger);
        while let Some(next) = next(requests, syncs, until) {
            batch.push(arrived(next));
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

/// One who is on the way no more.
fn arrived(request: Request) -> Request {
    Request { _coming: None, ..request }
}

/// The next who asks: who is there already, or comes in time.
fn next(requests: &Receiver<Request>, syncs: &Syncs, until: Instant) -> Option<Request> {
    match requests.try_recv() {
        Ok(next) => Some(next),
        Err(_) if syncs.coming.load(Ordering::Relaxed) > 0 => requests.recv_deadline(until).ok(),
        Err(_) => None,
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
