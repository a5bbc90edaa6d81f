//! Tests of the disk pool: its lanes, its limits, and syncs that are shared.

use std::{
    fs::File,
    sync::mpsc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::*;
use crate::patience::until;

fn disk() -> Arc<Disk> {
    Disk::start(1, 1).unwrap()
}

/// A job that tells when it runs, and waits to be let on.
fn gate() -> (mpsc::Receiver<()>, mpsc::Sender<()>, impl FnOnce() -> Result<(), StorageError> + Send) {
    let ((running, is_running), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let job = move || {
        let _ = running.send(());
        let _ = wait.recv();
        Ok(())
    };
    (is_running, go, job)
}

fn poll_once<T>(op: &mut Op<T>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    op.as_mut().poll(&mut context).is_ready()
}

#[actix_rt::test]
async fn a_panicking_job_fails_alone() {
    let disk = disk();
    for lane in [Lane::Metadata, Lane::Write, Lane::Read] {
        let broken = disk.run(lane, Ticket::unwatched(), || -> Result<(), _> { panic!("on purpose") }).await;
        assert_eq!(broken.unwrap_err().kind, ErrorKind::Failed);
        assert_eq!(disk.run(lane, Ticket::unwatched(), || Ok(7)).await.unwrap(), 7);
    }
}

#[actix_rt::test]
async fn a_ticket_is_held_until_the_job_has_run_though_nobody_waits() {
    let disk = disk();
    let held = Arc::new(());
    let (running, go, job) = gate();
    let mut op = disk.run(Lane::Write, Ticket::new(Arc::clone(&held) as _), job);
    assert!(!poll_once(&mut op));
    running.recv().unwrap();
    drop(op);
    assert_eq!(Arc::strong_count(&held), 2);
    go.send(()).unwrap();
    // The one thread of the lane takes the next job after it has let go of the first.
    disk.run(Lane::Write, Ticket::unwatched(), || Ok(())).await.unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

#[actix_rt::test]
async fn a_full_lane_makes_its_askers_wait_and_no_other() {
    let disk = disk();
    let (running, go, job) = gate();
    let mut ops = vec![disk.run(Lane::Write, Ticket::unwatched(), job)];
    assert!(!poll_once(&mut ops[0]));
    running.recv().unwrap();
    for _ in 0..3 {
        let mut op = disk.run(Lane::Write, Ticket::unwatched(), || Ok(()));
        assert!(!poll_once(&mut op));
        ops.push(op);
    }
    assert_eq!(disk.gauges()[1].report().depth, 3);
    disk.run(Lane::Read, Ticket::unwatched(), || Ok(())).await.unwrap();
    go.send(()).unwrap();
    assert!(join_all(ops).await.into_iter().all(|result| result.is_ok()));
    assert_eq!(disk.gauges()[1].report().depth, 0);
}

#[actix_rt::test]
async fn those_who_wait_for_a_sync_together_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let volume: Volume = Arc::new(File::open(directory.path()).unwrap().into());
    let other: Volume = Arc::new(File::open(directory.path()).unwrap().into());
    let file = Arc::new(std::sync::OnceLock::from(File::create(directory.path().join("a")).unwrap()));
    let (replies, answers): (Vec<_>, Vec<_>) = (0..11).map(|_| oneshot::channel()).unzip();
    let (sender, requests) = crossbeam_channel::unbounded();
    let gauge = Gauge::new("test_commit", "sync", 11);
    for (place, reply) in replies.into_iter().enumerate() {
        // Five on the volume, three each on one of its own, one nobody knows where, and two of two syncs on one more.
        let volume = match place {
            0..5 => Some(Arc::clone(&volume)),
            5..8 => Some(Arc::new(volume.try_clone().unwrap())),
            8 => None,
            _ => Some(Arc::clone(&other)),
        };
        let syncs = if place < 9 { 1 } else { 2 };
        let target = Target { syncs, ..Target::file(Arc::clone(&file), volume) };
        let (stamp, ticket) = (gauge.admit_unbounded(0), Ticket::unwatched());
        sender.try_send(committer::Request { stamp, place: None, _coming: None, target, ticket, reply }).unwrap();
    }
    drop(sender);
    let syncs = committer::Syncs::default();
    committer::run(&requests, &syncs, Duration::ZERO);
    assert!(join_all(answers).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(syncs.calls.load(Ordering::Relaxed), 1 + 3 + 1 + 1);
}

#[actix_rt::test]
async fn the_threads_end_with_the_pool() {
    let disk = disk();
    let op = disk.run(Lane::Read, Ticket::unwatched(), || Ok(()));
    let staff = disk.read.staff();
    assert_eq!((disk.report()[2].workers, staff.strong_count() > 1), (1, true));
    drop(disk);
    op.await.unwrap();
    // Each thread holds it until its end.
    until("all threads have gone", async || staff.strong_count() == 0).await;
}

#[actix_rt::test]
async fn a_lane_gets_more_threads_and_fewer_and_drops_nothing() {
    let disk = disk();
    let (mut ops, mut jobs) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let (running, go, job) = gate();
        ops.push(actix_rt::spawn(disk.run(Lane::Write, Ticket::unwatched(), job)));
        jobs.push((running, go));
    }
    stands(&disk, (1, 1, 1, 5, 1)).await;
    disk.resize(4, 9).unwrap();
    stands(&disk, (4, 4, 4, 2, 9)).await;
    disk.resize(1, 2).unwrap();
    stands(&disk, (4, 1, 4, 2, 2)).await;
    // A thread that leaves first ends what it does. What waits is for the one that stays. Which jobs have begun is not said.
    let (mut begun, mut others) = (Vec::new(), jobs);
    while begun.len() < 3 {
        match others.iter().position(|(running, _)| running.try_recv().is_ok()) {
            Some(at) => begun.push(others.remove(at)),
            None => tokio::task::yield_now().await,
        }
    }
    begun.iter().for_each(|(_, go)| go.send(()).unwrap());
    stands(&disk, (1, 1, 1, 2, 2)).await;
    others.iter().for_each(|(_, go)| go.send(()).unwrap());
    for op in ops {
        op.await.unwrap().unwrap();
    }
    // Threads that are all asleep leave as well.
    disk.resize(3, 2).unwrap();
    disk.resize(2, 2).unwrap();
    stands(&disk, (2, 2, 0, 0, 2)).await;
    assert_eq!(disk.report()[1].queue.dropped, 0);
}

/// Threads fall asleep and are woken all the time, leave and are hired.
#[actix_rt::test]
async fn no_job_is_left_lying_while_threads_sleep() {
    const TASKS: usize = 3;
    const JOBS: usize = 1000;
    let disk = Disk::start(2, 8).unwrap();
    let done = std::rc::Rc::new(std::cell::Cell::new(0));
    for _ in 0..TASKS {
        let (disk, done) = (Arc::clone(&disk), std::rc::Rc::clone(&done));
        actix_rt::spawn(async move {
            for _ in 0..JOBS {
                disk.run(Lane::Write, Ticket::unwatched(), || Ok(())).await.unwrap();
                done.set(done.get() + 1);
            }
        });
    }
    let mut workers = 0;
    until("all jobs are done", async || {
        workers = workers % 4 + 1;
        disk.resize(workers, 8).unwrap();
        done.get() == TASKS * JOBS
    })
    .await;
    disk.resize(2, 8).unwrap();
    stands(&disk, (2, 2, 0, 0, 8)).await;
}

/// Waits until the write lane has so many threads, shall have so many, so many are busy, so many jobs wait, and so many
/// may.
async fn stands(disk: &Disk, expected: (usize, usize, usize, usize, usize)) {
    let now = || {
        let lane = &disk.report()[1];
        (lane.workers, lane.workers_wanted, lane.busy, lane.queue.depth, lane.queue.limit)
    };
    until("the lane stands so", async || now() == expected).await;
}

#[actix_rt::test]
async fn a_job_that_waits_shows_its_age_and_then_its_dwell() {
    const DELAY: Duration = Duration::from_millis(60);
    let disk = disk();
    let (running, go, job) = gate();
    let mut first = disk.run(Lane::Write, Ticket::unwatched(), job);
    assert!(!poll_once(&mut first));
    running.recv().unwrap();
    let mut second = disk.run(Lane::Write, Ticket::unwatched(), || Ok(()));
    assert!(!poll_once(&mut second));
    let began = Instant::now();
    while began.elapsed() <= DELAY {
        tokio::task::yield_now().await;
    }
    let queue = disk.report()[1].queue;
    assert_eq!((queue.depth, queue.received, queue.processed), (1, 2, 1));
    assert!(queue.oldest_age.is_some_and(|age| age >= DELAY), "{queue:?}");
    go.send(()).unwrap();
    first.await.unwrap();
    second.await.unwrap();
    let seen = disk.gauges()[1].kind().report();
    assert!(seen.dwell.last_minute.max >= DELAY, "{seen:?}");
    assert!(seen.processing.since_start.max >= DELAY, "{seen:?}");
    assert_eq!((seen.dwell.since_start.count, seen.processing.since_start.count, seen.depth), (2, 2, 0));
}

#[actix_rt::test]
async fn the_committer_waits_for_those_who_are_on_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let volume: Volume = Arc::new(File::open(directory.path()).unwrap().into());
    // So long that it is not waited for.
    let disk = Disk::start_lingering(1, 8, Duration::from_secs(600)).unwrap();
    let target = || Target { alone: Box::new(|| Ok(())), syncs: 1, volume: Some(Arc::clone(&volume)) };
    let coming: Vec<_> = (0..4).map(|_| disk.will_commit()).collect();
    let commits = coming.into_iter().map(|coming| disk.commit(Ticket::unwatched(), target(), coming));
    assert!(join_all(commits).await.into_iter().all(|commit| commit.is_ok()));
    assert_eq!(disk.syncs(), 1);
    // Nobody is on the way any more, and the next one is served at once.
    disk.commit(Ticket::unwatched(), target(), disk.will_commit()).await.unwrap();
    assert_eq!(disk.syncs(), 2);
    // Nor is one who has turned round.
    drop(disk.will_commit());
    disk.commit(Ticket::unwatched(), target(), disk.will_commit()).await.unwrap();
    assert_eq!(disk.syncs(), 3);
}
