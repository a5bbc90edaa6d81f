//! One lane of the disk pool: its queue, and its threads, of which there may be more or fewer while it runs.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    thread::{self, Thread},
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

/// A lane as its senders see it.
pub(super) struct Queue {
    jobs: Sender<Job>,
    room: Room,
    pub(super) gauge: Arc<Gauge>,
    staff: Arc<Staff>,
}

/// The threads of a lane, and what they share.
pub(super) struct Staff {
    waiting: Receiver<Job>,
    live: AtomicUsize,
    wanted: AtomicUsize,
    busy: AtomicUsize,
    /// Those that have no job and don't sleep yet. Each takes one without being woken.
    looking: AtomicUsize,
    /// No job comes any more.
    is_closed: AtomicBool,
    /// Those that have gone to sleep, each once, and some that have been up again since.
    asleep: (Sender<Arc<Sleeper>>, Receiver<Arc<Sleeper>>),
}

/// So often a thread without a job gives the processor to others before it sleeps. Who is busy hands it the next one
/// meanwhile, and need not wake it. Where nobody else wants the processor it takes a microsecond; to wait in a loop as well, as
/// channels do, took several and brought no more.
const YIELDS: usize = 3;

/// A thread that may sleep.
struct Sleeper {
    thread: Thread,
    /// Until somebody has woken it, or it has found something to do by itself.
    sleeps: AtomicBool,
    /// Whether it is among those that have gone to sleep.
    is_listed: AtomicBool,
}

impl Sleeper {
    /// It sleeps no more. False when it didn't.
    fn rouse(&self) -> bool {
        self.sleeps.swap(false, Ordering::AcqRel)
    }
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

    /// Wakes a thread that sleeps. False when all are up.
    fn wake(&self) -> bool {
        // Behind whatever it is woken for: whoever goes to sleep looks for that once more, and is seen here, or sees it.
        fence(Ordering::SeqCst);
        while let Ok(sleeper) = self.asleep.1.try_recv() {
            // Before it is roused: if it goes to sleep just now and finds itself listed still, it is seen to sleep.
            sleeper.is_listed.swap(false, Ordering::AcqRel);
            if sleeper.rouse() {
                sleeper.thread.unpark();
                return true;
            }
        }
        false
    }

    fn wake_all(&self) {
        while self.wake() {}
    }

    /// The next job. The thread sleeps until there is one. `None` when it is to end.
    fn next(&self, sleeper: &Arc<Sleeper>) -> Option<Job> {
        loop {
            if self.may_leave() {
                // It may have been woken for a job.
                if !self.waiting.is_empty() {
                    self.wake();
                }
                return None;
            }
            // Looked at first: what has come before the end is done.
            let is_over = self.is_closed.load(Ordering::Acquire);
            if let Some(job) = self.waiting.try_recv().ok().or_else(|| self.look_again()) {
                return Some(job);
            }
            if is_over {
                self.live.fetch_sub(1, Ordering::AcqRel);
                return None;
            }
            sleeper.sleeps.store(true, Ordering::Release);
            if !sleeper.is_listed.swap(true, Ordering::AcqRel) {
                // We hold the receiver of this channel ourselves: it takes it.
                let _ = self.asleep.0.send(Arc::clone(sleeper));
            }
            fence(Ordering::SeqCst);
            if self.waiting.is_empty() && !self.is_closed.load(Ordering::Acquire) && !self.has_too_many() {
                while sleeper.sleeps.load(Ordering::Acquire) {
                    thread::park();
                }
            } else {
                sleeper.rouse();
            }
        }
    }

    /// A job that has come while others had the processor.
    fn look_again(&self) -> Option<Job> {
        self.looking.fetch_add(1, Ordering::Relaxed);
        let job = (0..YIELDS).find_map(|_| {
            thread::yield_now();
            self.waiting.try_recv().ok()
        });
        self.looking.fetch_sub(1, Ordering::Relaxed);
        // Behind that: whoever has put a job there looks for us, and sees that we don't look any more, or we see the job.
        fence(Ordering::SeqCst);
        if job.is_some() && !self.waiting.is_empty() {
            self.wake();
        }
        job
    }

    /// A job has been put there.
    fn note_job(&self) {
        // See `look_again`.
        fence(Ordering::SeqCst);
        if self.waiting.len() > self.looking.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn has_too_many(&self) -> bool {
        self.live.load(Ordering::Acquire) > self.wanted.load(Ordering::Acquire)
    }
}

impl Queue {
    pub(super) fn start(name: &'static str, workers: usize, room: usize) -> io::Result<Self> {
        // Bounded by the room, which can change.
        let (jobs, waiting) = crossbeam_channel::unbounded();
        let staff = Staff {
            waiting,
            live: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            looking: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            asleep: crossbeam_channel::unbounded(),
        };
        let gauge = Gauge::new(name, "job", room);
        let queue = Self { jobs, room: Room::new(room), gauge, staff: Arc::new(staff) };
        queue.hire(workers)?;
        Ok(queue)
    }

    fn name(&self) -> &'static str {
        self.gauge.kind().name()
    }

    /// Puts a job into the queue once there is room. False when there is nobody any more to do it.
    pub(super) async fn put(&self, stamp: Stamp, work: Box<dyn FnOnce(Stamp) + Send>) -> bool {
        let Ok(place) = self.room.take(1).await else { return false };
        let is_sent = self.jobs.send(Job { stamp, place, work }).is_ok();
        self.staff.note_job();
        is_sent
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
            let staff = Arc::clone(&self.staff);
            let thread = thread::Builder::new().name(self.name().replace('_', "-"));
            if let Err(error) = thread.spawn(move || work(&staff)) {
                self.staff.live.fetch_sub(1, Ordering::AcqRel);
                return Err(error);
            }
        }
        // They look whether there are too many of them.
        if self.staff.has_too_many() {
            self.staff.wake_all();
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

impl Drop for Queue {
    fn drop(&mut self) {
        self.staff.is_closed.store(true, Ordering::Release);
        self.staff.wake_all();
    }
}

/// A worker's life: one job after the other, until there are too many workers, or no job comes any more and none waits.
fn work(staff: &Staff) {
    let sleeper = Arc::new(Sleeper {
        thread: thread::current(),
        sleeps: AtomicBool::new(false),
        is_listed: AtomicBool::new(false),
    });
    while let Some(Job { mut stamp, place, work }) = staff.next(&sleeper) {
        drop(place);
        stamp.open();
        staff.busy.fetch_add(1, Ordering::Relaxed);
        // The work catches its own panic; what is caught here is a panic in dropping what it held.
        let _ = catch_unwind(AssertUnwindSafe(|| work(stamp)));
        staff.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
