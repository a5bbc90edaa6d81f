//! One lane of the disk pool: its queue, and its threads, of which there may be more or fewer while it runs.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crossbeam_channel::{Receiver, Sender};

use crate::{
    post::{Gauge, PoolReport, Stamp},
    room::{Places, Room},
};

/// What a worker does next. The stamp is opened by the worker; the work ends the stamp before it answers.
pub(super) struct Job {
    pub(super) stamp: Stamp,
    pub(super) place: Places,
    pub(super) work: Box<dyn FnOnce(Stamp) + Send>,
}

/// What lies in the queue.
enum Task {
    Do(Job),
    /// Looks whether there are too many threads, in case all are asleep.
    Wake,
}

/// A lane as its senders see it.
pub(super) struct Queue {
    tasks: Sender<Task>,
    waiting: Receiver<Task>,
    room: Room,
    pub(super) gauge: Arc<Gauge>,
    staff: Arc<Staff>,
}

/// The threads of a lane.
#[derive(Default)]
pub(super) struct Staff {
    live: AtomicUsize,
    wanted: AtomicUsize,
    busy: AtomicUsize,
}

impl Staff {
    /// A thread looks whether it is one too many, and is counted no more if so.
    fn may_leave(&self) -> bool {
        let fewer = |live| (live > self.wanted.load(Ordering::Acquire)).then(|| live - 1);
        self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).is_ok()
    }

    /// Counts one more, if there are too few.
    fn may_join(&self) -> bool {
        let more = |live| (live < self.wanted.load(Ordering::Acquire)).then(|| live + 1);
        self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

impl Queue {
    pub(super) fn start(name: &'static str, workers: usize, room: usize) -> io::Result<Self> {
        // Bounded by the room, which can change.
        let (tasks, waiting) = crossbeam_channel::unbounded();
        let gauge = Gauge::new(name, "job", room);
        let queue = Self { tasks, waiting, room: Room::new(room), gauge, staff: Arc::default() };
        queue.hire(workers)?;
        Ok(queue)
    }

    fn name(&self) -> &'static str {
        self.gauge.kind().name()
    }

    /// Puts a job into the queue once there is room. False when there is nobody any more to do it.
    pub(super) async fn put(&self, stamp: Stamp, work: Box<dyn FnOnce(Stamp) + Send>) -> bool {
        let Ok(place) = self.room.take(1).await else { return false };
        self.tasks.send(Task::Do(Job { stamp, place, work })).is_ok()
    }

    /// Has so many threads, and room for so many jobs, from now on. Threads that leave end what they do; what waits
    /// stays.
    ///
    /// # Errors
    /// When a thread can't be started; those that could be work.
    pub(super) fn resize(&self, workers: usize, room: usize) -> io::Result<()> {
        self.room.resize(room);
        self.gauge.kind().set_limit(room);
        self.hire(workers)
    }

    /// The threads' common state, which each holds until its end.
    #[cfg(test)]
    pub(super) fn staff(&self) -> std::sync::Weak<Staff> {
        Arc::downgrade(&self.staff)
    }

    fn hire(&self, workers: usize) -> io::Result<()> {
        let wanted = workers.max(1);
        self.staff.wanted.store(wanted, Ordering::Release);
        while self.staff.may_join() {
            let (waiting, staff) = (self.waiting.clone(), Arc::clone(&self.staff));
            let thread = thread::Builder::new().name(self.name().replace('_', "-"));
            if let Err(error) = thread.spawn(move || work(&waiting, &staff)) {
                self.staff.live.fetch_sub(1, Ordering::AcqRel);
                return Err(error);
            }
        }
        for _ in wanted..self.staff.live.load(Ordering::Acquire) {
            // An unbounded queue whose receiver we hold takes it.
            let _ = self.tasks.send(Task::Wake);
        }
        Ok(())
    }

    pub(super) fn report(&self) -> PoolReport {
        let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        let queue = self.gauge.report();
        PoolReport {
            pool: self.name(),
            workers: count(&self.staff.live),
            workers_wanted: count(&self.staff.wanted),
            busy: count(&self.staff.busy),
            without_room: queue.depth.saturating_sub(queue.limit),
            queue,
            restarts: 0,
        }
    }
}

/// A worker's life: one job after the other, until there are too many workers, or the queue's only sender is gone and
/// nothing waits.
fn work(waiting: &Receiver<Task>, staff: &Staff) {
    while let Ok(task) = waiting.recv() {
        if let Task::Do(Job { mut stamp, place, work }) = task {
            drop(place);
            stamp.open();
            staff.busy.fetch_add(1, Ordering::Relaxed);
            // The work catches its own panic; what is caught here is a panic in dropping what it held.
            let _ = catch_unwind(AssertUnwindSafe(|| work(stamp)));
            staff.busy.fetch_sub(1, Ordering::Relaxed);
        }
        if staff.may_leave() {
            return;
        }
    }
    staff.live.fetch_sub(1, Ordering::AcqRel);
}
