//! The threads that touch the disk: a few for each lane, fed by bounded queues, and one that commits in groups.
//! Whoever asks while a queue is full waits for room, so that a slow disk slows its clients instead of filling memory.

use std::{
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use crossbeam_channel::Sender;
use tokio::sync::oneshot;

use crate::{
    post::{Gauge, PoolReport, Stamp},
    room::Room,
    storage::{ErrorKind, Op, StorageError, Ticket},
};

mod committer;
mod lane;

pub(crate) use committer::{Coming, Target, sync};
use lane::Queue;

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

/// The disk pool. Its threads end when it is dropped and their queues are empty.
pub struct Disk {
    metadata: Arc<Queue>,
    write: Arc<Queue>,
    read: Arc<Queue>,
    commits: Sender<committer::Request>,
    commit_room: Arc<Room>,
    commit_gauge: Arc<Gauge>,
    syncs: Arc<committer::Syncs>,
}

impl Disk {
    /// Starts `workers` threads for each lane and the committer. Each queue has room for `queue` jobs.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(workers: usize, queue: usize) -> io::Result<Arc<Self>> {
        Self::start_lingering(workers, queue, committer::LINGER)
    }

    fn start_lingering(workers: usize, queue: usize, linger: Duration) -> io::Result<Arc<Self>> {
        let room = queue.max(1);
        let syncs = Arc::<committer::Syncs>::default();
        let (commits, requests) = crossbeam_channel::unbounded();
        let counter = Arc::clone(&syncs);
        thread::Builder::new()
            .name("disk-commit".to_owned())
            .spawn(move || committer::run(&requests, &counter, linger))?;
        let lane = |name| Queue::start(name, workers, room).map(Arc::new);
        Ok(Arc::new(Self {
            metadata: lane("disk_metadata")?,
            write: lane("disk_write")?,
            read: lane("disk_read")?,
            commits,
            commit_room: Arc::new(Room::new(room)),
            commit_gauge: Gauge::new("committer", "sync", room),
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
        let queue = Arc::clone(self.queue(lane));
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let work = Box::new(move |stamp: Stamp| {
                let result = caught(job);
                // Whoever has the answer finds it counted.
                drop(stamp);
                drop(ticket);
                // The asker may have gone; the work is done all the same.
                let _ = reply.send(result);
            });
            let stamp = queue.gauge.admit_unbounded(0);
            if !queue.put(stamp, work).await {
                return Err(stopped());
            }
            answer.await.map_err(|_| stopped())?
        })
    }

    /// Tells the committer that [`Disk::commit`] will be asked for soon, until what comes back is handed over to it, or
    /// dropped.
    pub(crate) fn will_commit(&self) -> Coming {
        Coming::of(&self.syncs)
    }

    /// Makes `target` durable, together with whoever else waits for the same, or is on the way.
    pub(crate) fn commit(&self, ticket: Ticket, target: Target, coming: Coming) -> Op<()> {
        let (commits, gauge) = (self.commits.clone(), Arc::clone(&self.commit_gauge));
        let room = Arc::clone(&self.commit_room);
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let stamp = gauge.admit_unbounded(0);
            let place = room.take(1).await.map_err(|_| stopped())?;
            let (place, coming) = (Some(place), Some(coming));
            let request = committer::Request { stamp, place, _coming: coming, target, ticket, reply };
            commits.send(request).map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        })
    }

    /// How many sync calls the committer has made.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.calls.load(Ordering::Relaxed)
    }

    /// The meters of the queues: metadata, write, read, commit.
    #[must_use]
    pub fn gauges(&self) -> [Arc<Gauge>; 4] {
        [&self.metadata.gauge, &self.write.gauge, &self.read.gauge, &self.commit_gauge].map(Arc::clone)
    }

    /// Has so many threads for each lane, and room for so many jobs in each queue, from now on. Nothing that waits or is
    /// under way is dropped.
    ///
    /// # Errors
    /// When a thread can't be started; all else is as it was asked for.
    pub fn resize(&self, workers: usize, queue: usize) -> io::Result<()> {
        let room = queue.max(1);
        self.commit_room.resize(room);
        self.commit_gauge.kind().set_limit(room);
        // Each of them, whatever becomes of the others.
        let lanes = [&self.metadata, &self.write, &self.read].map(|lane| lane.resize(workers, room));
        lanes.into_iter().collect()
    }

    /// How the lanes and the committer stand.
    #[must_use]
    pub fn report(&self) -> Vec<PoolReport> {
        let queue = self.commit_gauge.report();
        let committer = PoolReport {
            pool: self.commit_gauge.kind().name(),
            workers: 1,
            workers_wanted: 1,
            busy: usize::from(self.syncs.busy.load(Ordering::Relaxed)),
            without_room: queue.depth.saturating_sub(queue.limit),
            queue,
            restarts: 0,
        };
        [&self.metadata, &self.write, &self.read].map(|lane| lane.report()).into_iter().chain([committer]).collect()
    }

    fn queue(&self, lane: Lane) -> &Arc<Queue> {
        match lane {
            Lane::Metadata => &self.metadata,
            Lane::Write => &self.write,
            Lane::Read => &self.read,
        }
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
