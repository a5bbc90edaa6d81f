//! Tests of the disk pool: its lanes, its limits, and syncs that are shared.

use std::{fs::File, sync::mpsc};

use futures_util::future::join_all;

use super::*;

fn disk() -> Arc<Disk> {
    Disk::start(1, 1).unwrap()
}

/// A job that tells when it runs, and waits to be let on.
fn gate() -> (mpsc::Receiver<()>, mpsc::Sender<()>, impl FnOnce() -> Result<(), StorageError> + Send) {
    let ((running, is_running), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let job = move || {
        running.send(()).unwrap();
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
    let file = Arc::new(std::sync::OnceLock::from(File::create(directory.path().join("a")).unwrap()));
    let (replies, answers): (Vec<_>, Vec<_>) = (0..9).map(|_| oneshot::channel()).unzip();
    let (sender, requests) = async_channel::unbounded();
    let gauge = Gauge::new("test_commit", 9);
    for (place, reply) in replies.into_iter().enumerate() {
        // Five on the volume, three on another one, one nobody knows where.
        let volume = match place {
            0..5 => Some(Arc::clone(&volume)),
            5..8 => Some(Arc::new(volume.try_clone().unwrap())),
            _ => None,
        };
        let target = Target { file: Arc::clone(&file), volume };
        let (stamp, ticket) = (gauge.admit_unbounded(), Ticket::unwatched());
        sender.try_send(committer::Request { stamp, target, ticket, reply }).unwrap();
    }
    drop(sender);
    let syncs = AtomicU64::new(0);
    committer::run(&requests, &syncs);
    assert!(join_all(answers).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(syncs.load(Ordering::Relaxed), 1 + 3 + 1);
}

#[actix_rt::test]
async fn the_threads_end_with_the_pool() {
    let disk = disk();
    let op = disk.run(Lane::Read, Ticket::unwatched(), || Ok(()));
    let waiting = disk.read.jobs.clone().downgrade();
    drop(disk);
    op.await.unwrap();
    assert!(waiting.upgrade().is_none());
}
