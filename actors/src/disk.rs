//! The threads that touch the disk: a few for each lane, fed by bounded queues, and one that commits in groups.
//! Whoever asks while a queue is full waits for room, so that a slow disk slows its clients instead of filling memory.

use std::{
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use async_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use crate::{
    post::{Gauge, Stamp},
    storage::{ErrorKind, Op, StorageError, Ticket},
};

mod committer;

pub(crate) use committer::Target;

/// Work of one kind, with threads of its own, so that long reads can't hold up writes, nor either of them lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Short work on names and `.info` files.
    Metadata,
    /// Bytes on their way to the disk.
    Write,
    /// Bytes on their way to a reader.
    Read,
}

/// What a worker does next, and the mark by which the wait for it is measured.
struct Job {
    stamp: Stamp,
    work: Box<dyn FnOnce() + Send>,
}

/// One lane's queue as its senders see it.
struct Queue {
    jobs: Sender<Job>,
    gauge: Arc<Gauge>,
}

/// The disk pool. Its threads end when it is dropped and their queues are empty.
pub struct Disk {
    metadata: Queue,
    write: Queue,
    read: Queue,
    commits: Sender<committer::Request>,
    commit_gauge: Arc<Gauge>,
    syncs: Arc<AtomicU64>,
}

impl Disk {
    /// Starts `workers` threads for each lane and the committer. Each queue has room for `queue` jobs.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(workers: usize, queue: usize) -> io::Result<Arc<Self>> {
        let room = queue.max(1);
        let syncs = Arc::new(AtomicU64::new(0));
        let (commits, requests) = async_channel::bounded(room);
        let counter = Arc::clone(&syncs);
        thread::Builder::new().name("disk-commit".to_owned()).spawn(move || committer::run(&requests, &counter))?;
        Ok(Arc::new(Self {
            metadata: start_lane("disk_metadata", workers, room)?,
            write: start_lane("disk_write", workers, room)?,
            read: start_lane("disk_read", workers, room)?,
            commits,
            commit_gauge: Gauge::new("disk_commit", room),
            syncs,
        }))
    }

    /// Runs `job` on a thread of `lane`, once the returned future is first polled. `ticket` is held until the job has
    /// run, also when the future is dropped meanwhile. A job that panics fails alone.
    pub fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        ticket: Ticket,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Op<T> {
        let queue = self.queue(lane);
        let (jobs, gauge) = (queue.jobs.clone(), Arc::clone(&queue.gauge));
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let work = Box::new(move || {
                let result = caught(job);
                drop(ticket);
                // The asker may have gone; the work is done all the same.
                let _ = reply.send(result);
            });
            let stamp = gauge.admit_unbounded();
            jobs.send(Job { stamp, work }).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        })
    }

    /// Makes `target` durable, together with whoever else waits for the same.
    pub(crate) fn commit(&self, ticket: Ticket, target: Target) -> Op<()> {
        let (commits, gauge) = (self.commits.clone(), Arc::clone(&self.commit_gauge));
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let stamp = gauge.admit_unbounded();
            let request = committer::Request { stamp, target, ticket, reply };
            commits.send(request).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        })
    }

    /// How many sync calls the committer has made.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// The meters of the queues: metadata, write, read, commit.
    #[must_use]
    pub fn gauges(&self) -> [Arc<Gauge>; 4] {
        [&self.metadata.gauge, &self.write.gauge, &self.read.gauge, &self.commit_gauge].map(Arc::clone)
    }

    fn queue(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Metadata => &self.metadata,
            Lane::Write => &self.write,
            Lane::Read => &self.read,
        }
    }
}

fn start_lane(name: &'static str, workers: usize, room: usize) -> io::Result<Queue> {
    let (jobs, waiting) = async_channel::bounded(room);
    for _ in 0..workers.max(1) {
        let waiting: Receiver<Job> = waiting.clone();
        thread::Builder::new().name(name.replace('_', "-")).spawn(move || work(&waiting))?;
    }
    Ok(Queue { jobs, gauge: Gauge::new(name, room) })
}

/// A worker's life: one job after the other, until all senders are gone.
fn work(waiting: &Receiver<Job>) {
    while let Ok(Job { mut stamp, work }) = waiting.recv_blocking() {
        stamp.open();
        // The work catches its own panic; what is caught here is a panic in dropping what it held.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

/// Runs a job so that its panic becomes its failure. What the job had borrowed mutably is its own and dies with it.
fn caught<T>(job: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(job))
        .unwrap_or_else(|_| Err(StorageError::new(ErrorKind::Failed, "run a disk job", "the job panicked")))
}

fn stopped() -> StorageError {
    StorageError::new(ErrorKind::Failed, "ask the disk pool", "the disk pool has stopped")
}

/// A descriptor of a directory, by which its whole file system can be synced.
pub(crate) type Volume = Arc<OwnedFd>;

#[cfg(test)]
mod tests;
