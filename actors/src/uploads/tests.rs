//! What operators see and do, against a store in memory that goes wrong when asked to.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use slog::o;

mod hooked;

use super::*;
use crate::{
    Departure, LeaseEnd, UploadState,
    events::{Event, Heard, Interruption},
    storage::{
        Durability, StoreTuning,
        faulty::{Faults, Faulty},
        memory::MemoryStore,
    },
};

mod owners;
mod whole;

/// A service of its own over a store, with a control file for its faults.
struct Bed {
    uploads: Uploads,
    store: MemoryStore,
    control: PathBuf,
    directory: tempfile::TempDir,
}

fn tuning() -> Tuning {
    Tuning {
        max_size: None,
        mailbox: 8,
        idle_owner: Duration::from_secs(30),
        patience: Duration::from_secs(20),
        expire_after: None,
        expire_interval: None,
        concatenation_unfinished: true,
        slow_after: Duration::from_millis(200),
        memory_budget: 1 << 20,
        hook_workers: 4,
        hook_queue: 64,
        store: StoreTuning {
            disk_workers: 1,
            disk_queue: 1,
            part_workers: 1,
            part_queue: 1,
            parts_per_upload: 1,
            retry_deadline: Duration::from_secs(1),
        },
    }
}

impl Bed {
    async fn new() -> Self {
        Self::over(MemoryStore::new(), tuning()).await
    }

    async fn over(store: MemoryStore, tuning: Tuning) -> Self {
        Self::with(store, tuning, None).await
    }

    async fn with(store: MemoryStore, tuning: Tuning, hooks: Option<crate::hooks::Config>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = directory.path().join("faults");
        let faulty = Arc::new(Faulty::new(store.clone(), Faults::at(&control)));
        let budget = Arc::new(Budget::new(tuning.memory_budget));
        let (durability, remembered, watcher) = (Durability::Complete, 16, None);
        let config = Config { durability, budget, tuning, remembered, hooks, watcher };
        let uploads = Uploads::start(faulty, config, Logger::root(slog::Discard, o!())).await.unwrap();
        Self { uploads, store, control, directory }
    }

    fn new_upload(name: &str, length: Option<u64>) -> NewUpload {
        let metadata = [("filename".to_owned(), format!("{name}.bin"))].into();
        let id = UploadId::parse(name).unwrap();
        let (raw_metadata, raw_concat, place, caller, max_size) = (None, None, None, None, None);
        NewUpload { id, length, metadata, raw_metadata, kind: Kind::Single, raw_concat, place, caller, max_size }
    }

    async fn create(&self, name: &str, length: Option<u64>) -> UploadId {
        self.uploads.create(Self::new_upload(name, length)).await.unwrap().snapshot.info.id
    }

    fn appending(offset: u64) -> Appending {
        Appending {
            offset,
            declared_length: None,
            announced: None,
            tentative: false,
            request_id: Arc::from("request-1"),
            peer: Some("192.0.2.7:4711".parse().unwrap()),
            caller: None,
        }
    }

    async fn begin(&self, id: &UploadId, offset: u64) -> Lease {
        match self.uploads.begin(id, Self::appending(offset)).await.unwrap() {
            Begun::Lease { lease, .. } => lease,
            Begun::Complete { offset } => panic!("complete at {offset}"),
        }
    }

    /// Has the store fail as the control file says.
    fn fail(&self, faults: &str) {
        std::fs::write(&self.control, faults).unwrap();
    }

    fn share(&self, bytes: usize) -> crate::Share {
        self.uploads.budget().try_take(bytes).unwrap()
    }

    async fn append(&self, lease: &Lease, bytes: &'static [u8]) {
        lease.append(vec![Bytes::from_static(bytes)], self.share(bytes.len())).await.unwrap();
    }

    /// The names of all uploads, with whether they have owners, in pages.
    async fn names(&self, limit: usize) -> Vec<(String, bool)> {
        let (mut names, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.uploads.list(cursor, limit).await.unwrap();
            assert!(page.uploads.len() <= limit);
            names.extend(page.uploads.into_iter().map(|seen| (seen.id.as_str().to_owned(), seen.is_live)));
            // By way of its text, as through a URL.
            let Some(next) = page.next else { return names };
            cursor = Some(ListCursor::parse(&next.to_string()).unwrap());
        }
    }
}

/// Keeps the thread busy, so that no actor on it gets a turn.
fn block(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[actix_rt::test]
async fn an_overview_shows_an_upload_and_leaves_it_alone() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(6)).await;
    let lease = bed.begin(&id, 0).await;
    bed.append(&lease, b"abc").await;
    let seen = bed.uploads.overview(&id).await.unwrap();
    let owner = seen.owner.unwrap();
    let held = owner.lease.as_ref().unwrap();
    assert_eq!((seen.state, seen.offset, seen.length, seen.parts), (UploadState::Receiving, Some(3), Some(6), None));
    assert!(owner.has_answered && owner.mailbox.depth == 0, "{owner:?}");
    assert_eq!((held.request_id.as_deref(), held.peer), (Some("request-1"), "192.0.2.7:4711".parse().ok()));
    assert_eq!(seen.info.unwrap().metadata["filename"], "a.bin");
    let history = seen.history.unwrap();
    assert_eq!(history.log.iter().map(|line| line.message).collect::<Vec<_>>(), ["upload created"]);
    assert_eq!(history.timeline.marks[0].kind, "lease");
    assert_eq!(history.timeline.points.last().unwrap().1, 3);
    // The lease goes on.
    bed.append(&lease, b"def").await;
    assert!(lease.commit().await.unwrap().finished);
    // Its owner has gone, or goes; its history is still there.
    let seen = bed.uploads.overview(&id).await.unwrap();
    assert_eq!((seen.state, seen.offset), (UploadState::Finished, Some(6)));
    let lines: Vec<_> = seen.history.unwrap().log.iter().map(|line| line.message).collect();
    assert_eq!(lines, ["upload created", "upload completed"]);
    let nobody = bed.uploads.overview(&UploadId::parse("b").unwrap()).await;
    assert_eq!(nobody.unwrap_err(), AskFailure::Refused(Refusal::NotFound));
}

#[actix_rt::test]
async fn an_upload_without_an_owner_is_looked_up_and_gets_none() {
    let first = Bed::new().await;
    let id = first.create("a", Some(6)).await;
    let lease = first.begin(&id, 0).await;
    first.append(&lease, b"abc").await;
    let second = Bed::over(first.store.clone(), tuning()).await;
    let seen = second.uploads.overview(&id).await.unwrap();
    assert_eq!((seen.state, seen.offset, seen.length), (UploadState::Idle, Some(3), Some(6)));
    assert!(seen.owner.is_none() && seen.history.is_none());
    assert_eq!(second.uploads.interrupt(&id, "me").await, Ok(false));
    assert_eq!(second.names(9).await, [("a".to_owned(), false)]);
    assert_eq!((second.uploads.tally().owners_live, second.uploads.mailboxes().uploads.len()), (0, 0));
    let missing = UploadId::parse("b").unwrap();
    assert_eq!(second.uploads.interrupt(&missing, "me").await, Err(AskFailure::Refused(Refusal::NotFound)));
}

#[actix_rt::test]
async fn a_full_mailbox_is_seen_with_its_depth_age_and_dwell() {
    const DELAY: Duration = Duration::from_millis(80);
    let bed = Bed::new().await;
    let id = bed.create("a", Some(6)).await;
    let lease = bed.begin(&id, 0).await;
    // Sent, and the owner has no turn: it shares this thread, as an owner shares its arbiter's.
    let waiting: Vec<_> = (0..8).map(|_| lease.append(vec![Bytes::new()], bed.share(1))).collect();
    let mut refused = lease.append(vec![Bytes::new()], bed.share(1));
    block(DELAY);
    let seen = bed.uploads.mailboxes();
    let mailbox = seen.uploads[0].gauge;
    assert_eq!((&seen.uploads[0].name[..], mailbox.depth, mailbox.limit, mailbox.refused), ("a", 8, 8, 1));
    assert!(mailbox.oldest_age.unwrap() >= DELAY, "{mailbox:?}");
    assert_eq!((&mut refused).now_or_never(), Some(Err(AskFailure::Overloaded)));
    assert_eq!((seen.kinds[0].kind, seen.kinds[0].depth, seen.kinds[0].depth_peak), ("upload", 8, 8));
    // The one who looks is told what is published, since nobody answers.
    let overview = bed.uploads.overview(&id).now_or_never().unwrap().unwrap();
    let owner = overview.owner.unwrap();
    assert!(!owner.has_answered && overview.info.is_none() && overview.history.is_none());
    assert_eq!((overview.offset, overview.length, owner.mailbox.depth), (Some(0), Some(6), 8));
    assert_eq!(owner.lease.unwrap().peer, "192.0.2.7:4711".parse().ok());
    for append in waiting {
        append.await.unwrap();
    }
    let seen = bed.uploads.mailboxes();
    assert_eq!((seen.uploads[0].gauge.depth, seen.uploads[0].gauge.oldest_age), (0, None));
    assert!(seen.uploads[0].gauge.dwell_max >= DELAY);
    let kind = &seen.kinds[0];
    let append = kind.messages.iter().find(|seen| seen.message == "append").unwrap();
    assert_eq!((append.dwell.last_minute.count, append.processing.since_start.count), (8, 8));
    assert!(append.dwell.last_minute.p50 >= DELAY && kind.dwell.since_start.max >= DELAY, "{kind:?}");
}

#[actix_rt::test]
async fn an_operator_interrupts_an_upload() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(6)).await;
    assert_eq!(bed.uploads.interrupt(&id, "ops").await, Ok(false));
    let mut lease = bed.begin(&id, 0).await;
    bed.append(&lease, b"abc").await;
    assert_eq!(bed.uploads.tally().leases_open, 1);
    assert_eq!(bed.uploads.interrupt(&id, "ops").await, Ok(true));
    assert_eq!(lease.ended().await.why, LeaseEnd::ByOperator);
    assert_eq!(Refusal::from(LeaseEnd::ByOperator), Refusal::Interrupted);
    assert_eq!(bed.uploads.interrupt(&id, "ops").await, Ok(false));
    drop(lease);
    let seen = bed.uploads.overview(&id).await.unwrap();
    assert_eq!((seen.state, seen.offset), (UploadState::Idle, Some(3)));
    let history = seen.history.unwrap();
    let line = history.log.last().unwrap();
    assert_eq!((line.message, &line.fields[0].1[..]), ("upload interrupted", "interrupted by an operator: ops"));
    assert_eq!(history.timeline.marks.last().unwrap().kind, "cut");
    let tally = bed.uploads.tally();
    assert_eq!((tally.leases_open, tally.take_overs), (0, 0));
    assert_eq!(tally.interruptions[1], (Interruption::ByOperator, 1));
    assert_eq!(tally.interruptions.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[actix_rt::test]
async fn take_overs_and_departures_are_counted_by_cause() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(6)).await;
    let first = bed.begin(&id, 0).await;
    bed.append(&first, b"ab").await;
    let second = bed.begin(&id, 2).await;
    drop(first);
    bed.append(&second, b"c").await;
    second.release(Departure::ReadTimeout);
    let third = bed.begin(&id, 3).await;
    bed.append(&third, b"def").await;
    assert!(third.commit().await.unwrap().finished);
    let tally = bed.uploads.tally();
    let counted: Vec<_> = tally.interruptions.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [&(Interruption::TakenOver, 1), &(Interruption::ReadTimeout, 1)]);
    assert_eq!((tally.created, tally.finished, tally.take_overs, tally.bytes_received), (1, 1, 1, 6));
    assert_eq!((tally.leases_open, tally.owners_died), (0, 0));
    let marks = bed.uploads.overview(&id).await.unwrap().history.unwrap().timeline.marks;
    let kinds: Vec<_> = marks.iter().map(|mark| mark.kind).collect();
    assert_eq!(kinds, ["lease", "cut", "take_over", "lease", "cut", "lease", "finished"]);
}

#[actix_rt::test]
async fn a_list_has_each_upload_once_those_with_owners_first() {
    let old = Bed::new().await;
    for name in ["b", "c/1", "d"] {
        old.create(name, Some(9)).await;
    }
    let bed = Bed::over(old.store.clone(), tuning()).await;
    for name in ["a", "c", "e"] {
        bed.create(name, Some(9)).await;
    }
    let expected = [("a", true), ("c", true), ("e", true), ("b", false), ("c/1", false), ("d", false)];
    for limit in [1, 2, 3, 100] {
        let names = bed.names(limit).await;
        let names: Vec<_> = names.iter().map(|(name, live)| (name.as_str(), *live)).collect();
        assert_eq!(names, expected, "{limit} at once");
    }
    // One that gets its owner when those have been listed is not lost.
    let live = bed.uploads.list(None, 100).await.unwrap();
    while std::time::SystemTime::now()
        <= std::time::UNIX_EPOCH + Duration::from_millis(live.next.as_ref().unwrap().began_ms)
    {
        tokio::task::yield_now().await;
    }
    block(Duration::from_millis(2));
    let lease = bed.begin(&UploadId::parse("d").unwrap(), 0).await;
    let stored = bed.uploads.list(live.next, 100).await.unwrap();
    let seen: Vec<_> = stored.uploads.iter().map(|seen| (seen.id.as_str(), seen.is_live)).collect();
    assert_eq!((seen, stored.next), (vec![("b", false), ("c/1", false), ("d", true)], None));
    assert_eq!(stored.uploads[2].peer, "192.0.2.7:4711".parse().ok());
    assert_eq!(stored.uploads[2].filename.as_deref(), Some("d.bin"));
    drop(lease);
}

#[actix_rt::test]
async fn events_tell_of_an_upload_s_life() {
    let bed = Bed::new().await;
    let mut listener = bed.uploads.listen();
    let id = bed.create("a", Some(4)).await;
    let lease = bed.begin(&id, 0).await;
    for bytes in [b"a", b"b", b"c"] {
        bed.append(&lease, bytes).await;
    }
    drop(lease);
    let lease = bed.begin(&id, 3).await;
    bed.append(&lease, b"d").await;
    lease.commit().await.unwrap();
    bed.uploads.terminate(&id, None).await.unwrap();
    let mut told = Vec::new();
    while let Some(Some(heard)) = listener.next().now_or_never() {
        let Heard::Event(event) = heard else { panic!("{heard:?}") };
        told.push(match event {
            Event::UploadCreated { length: Some(4), .. } => "created",
            // At most twice a second, so most steps are told only by a server that is slow.
            Event::UploadProgress { length: Some(4), .. } => "progress",
            Event::UploadInterrupted { offset: 3, cause: Interruption::ConnectionLost, .. } => "interrupted",
            Event::UploadFinished { length: 4, .. } => "finished",
            Event::UploadTerminated { offset: 4, .. } => "terminated",
            other => panic!("{other:?}"),
        });
    }
    let progress = told.iter().filter(|told| **told == "progress").count();
    assert!((1..=4).contains(&progress), "{told:?}");
    told.retain(|told| *told != "progress");
    assert_eq!(told, ["created", "interrupted", "finished", "terminated"]);
}

#[actix_rt::test]
async fn a_store_that_is_slow_or_fails_shows_in_the_history() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(9)).await;
    let lease = bed.begin(&id, 0).await;
    fs::write(&bed.control, "stall write 150 1\n").unwrap();
    bed.append(&lease, b"abc").await;
    fs::write(&bed.control, "fail write 1\n").unwrap();
    assert!(lease.append(vec![Bytes::from_static(b"def")], bed.share(3)).await.is_err());
    drop(lease);
    let history = bed.uploads.overview(&id).await.unwrap().history.unwrap();
    let wait = history.timeline.marks.iter().find(|mark| mark.kind == "store_wait").unwrap();
    let took = wait.detail.strip_prefix("write ").and_then(|rest| rest.strip_suffix(" ms")).unwrap();
    assert!(took.parse::<u64>().unwrap() >= 150, "{wait:?}");
    let lines: Vec<_> = history.log.iter().map(|line| line.message).collect();
    assert_eq!(lines, ["upload created", "store failed", "upload interrupted"]);
    let writes = bed.uploads.store_report().operations;
    let writes = writes.iter().find(|seen| seen.operation == "write").unwrap();
    assert_eq!((writes.count, &writes.failures[..], writes.store), (2, &[("failed", 1)][..], "memory"));
    assert!(writes.sum >= Duration::from_millis(150), "{writes:?}");
    assert!(bed.directory.path().exists());
}

#[actix_rt::test]
async fn settings_take_effect_while_all_goes_on() {
    let bed = Bed::new().await;
    let deferred = bed.create("a", None).await;
    let lease = bed.begin(&deferred, 0).await;
    bed.append(&lease, b"abcd").await;
    let held = bed.share(700_000);
    bed.uploads.reconfigure(&Tuning { mailbox: 2, max_size: Some(6), memory_budget: 100_000, ..tuning() }).unwrap();
    // The owner that lives has a smaller mailbox; the lease that is open goes on as it was granted.
    let waiting: Vec<_> = (0..2).map(|_| lease.append(vec![Bytes::new()], held_share(&bed))).collect();
    let refused = lease.append(vec![Bytes::new()], held_share(&bed)).now_or_never();
    assert_eq!(refused, Some(Err(AskFailure::Overloaded)));
    for append in waiting {
        append.await.unwrap();
    }
    assert_eq!(lease.room(), None);
    drop(lease);
    let lease = bed.begin(&deferred, 4).await;
    assert_eq!(lease.room(), Some(2));
    drop(lease);
    let report = bed.uploads.budget_report();
    assert_eq!((report.total, report.used), (100_000, 700_000));
    drop(held);
    assert_eq!(bed.uploads.budget_report().used, 0);
    assert_eq!(bed.share(100_000).bytes(), 100_000);
    assert!(bed.uploads.budget().try_take(100_000).is_some());
    let seen = bed.uploads.mailboxes();
    assert_eq!((seen.kinds[0].capacity, seen.uploads[0].gauge.refused, seen.uploads[0].gauge.dropped), (2, 1, 0));
}

/// A share that takes nothing from the budget that is being made smaller.
fn held_share(_: &Bed) -> crate::Share {
    Budget::new(1).try_take(1).unwrap()
}

#[actix_rt::test]
async fn a_slow_mailbox_is_an_event_once() {
    let bed = Bed::over(MemoryStore::new(), Tuning { slow_after: Duration::from_millis(30), ..tuning() }).await;
    let id = bed.create("a", Some(9)).await;
    let lease = bed.begin(&id, 0).await;
    let mut listener = bed.uploads.listen();
    let slow = lease.append(vec![Bytes::new()], bed.share(1));
    block(Duration::from_millis(60));
    slow.await.unwrap();
    let p99 = uploads_are_slow(&mut listener, true).await;
    assert!(p99 >= Duration::from_millis(60));
    let seen = bed.uploads.mailboxes();
    assert!(seen.is_slow(&seen.kinds[0]));
    // Bearable again, by another measure.
    bed.uploads.reconfigure(&Tuning { slow_after: Duration::from_secs(9), ..tuning() }).unwrap();
    uploads_are_slow(&mut listener, false).await;
    let seen = bed.uploads.mailboxes();
    assert!(!seen.is_slow(&seen.kinds[0]));
}

/// Waits for the word that the owners' mailboxes are slow, or are not. On a busy machine others may be as well.
async fn uploads_are_slow(listener: &mut crate::events::Listener, expected: bool) -> Duration {
    loop {
        match listener.next().await {
            Some(Heard::Event(Event::MailboxSlow { kind: "upload", is_slow, dwell_p99, .. })) => {
                assert_eq!(is_slow, expected, "told twice");
                return dwell_p99;
            }
            Some(_) => {}
            None => panic!("nothing more is told"),
        }
    }
}

#[actix_rt::test]
async fn what_can_not_be_reached_says_so() {
    let bed = Bed::new().await;
    assert_eq!(bed.uploads.reachable().await, Ok(()));
    fs::write(&bed.control, "fail reachable 1\n").unwrap();
    assert_eq!(bed.uploads.reachable().await, Err(AskFailure::Refused(Refusal::StoreFailed)));
}
