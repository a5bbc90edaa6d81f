//! Uploads with an application that hears of them.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{Bed, tuning};
use crate::{
    AskFailure, Begun, Consulted, Denied, Refusal, UploadId,
    hooks::{
        Calling, Changes, Config, EventKind, HookError, HookFailure, HookResponse, Notice, OwedState, Transport,
        Verdict,
    },
    patience::{PATIENCE, until},
    storage::{Storage, memory::MemoryStore},
};

/// How many calls may wait.
const QUEUE: usize = 64;

type Rule = dyn Fn(&Notice) -> Result<Verdict, HookError> + Send + Sync;

/// An application that answers by a rule, and remembers what it heard. It waits for a permit before it answers to a kind that
/// is held.
struct Application {
    heard: watch::Sender<Vec<(EventKind, u64, String)>>,
    rule: Box<Rule>,
    held: Option<(EventKind, Arc<Semaphore>)>,
}

impl Transport for Application {
    fn name(&self) -> &'static str {
        "test"
    }

    fn call(&self, notice: Arc<Notice>) -> Calling {
        let (kind, offset) = (notice.kind(), notice.call.event.upload.offset);
        let answer = (self.rule)(&notice);
        let heard = self.heard.clone();
        let held = self.held.clone().filter(|(held, _)| *held == kind);
        Box::pin(async move {
            if let Some((_, held)) = held {
                held.acquire().await.unwrap().forget();
            }
            heard.send_modify(|heard| heard.push((kind, offset, notice.event_id.clone())));
            answer
        })
    }
}

struct Hooked {
    bed: Bed,
    heard: watch::Receiver<Vec<(EventKind, u64, String)>>,
}

impl Hooked {
    async fn new(
        store: MemoryStore,
        rule: impl Fn(&Notice) -> Result<Verdict, HookError> + Send + Sync + 'static,
    ) -> Self {
        Self::held(store, rule, None).await
    }

    async fn held(
        store: MemoryStore,
        rule: impl Fn(&Notice) -> Result<Verdict, HookError> + Send + Sync + 'static,
        held: Option<(EventKind, Arc<Semaphore>)>,
    ) -> Self {
        Self::every(store, rule, held, Duration::ZERO).await
    }

    async fn every(
        store: MemoryStore,
        rule: impl Fn(&Notice) -> Result<Verdict, HookError> + Send + Sync + 'static,
        held: Option<(EventKind, Arc<Semaphore>)>,
        progress_every: Duration,
    ) -> Self {
        let (tell, heard) = watch::channel(Vec::new());
        let config = Config {
            events: EventKind::ALL.into(),
            transport: Arc::new(Application { heard: tell, rule: Box::new(rule), held }),
            workers: 4,
            queue: QUEUE,
            queue_wait: Duration::from_secs(20),
            progress_every,
            identity: Vec::new(),
        };
        Self { bed: Bed::with(store, tuning(), Some(config)).await, heard }
    }

    /// Waits until the application has heard of such an event.
    async fn hears(&mut self, kind: EventKind) {
        let heard = self.heard.wait_for(|heard| heard.iter().any(|(known, ..)| *known == kind));
        timeout(PATIENCE, heard).await.expect("heard in time").unwrap();
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.heard.borrow().iter().map(|(kind, ..)| *kind).collect()
    }

    /// Waits until nothing is owed.
    async fn owes_nothing(&self) {
        until("nothing is owed", async || {
            let owed = self.bed.uploads.owed_events(None, 9).await.unwrap();
            owed.iter().all(|owed| owed.state == OwedState::Noted)
        })
        .await;
    }
}

fn fine(_: &Notice) -> Result<Verdict, HookError> {
    Ok(Verdict::default())
}

fn failed() -> HookError {
    HookError::new(HookFailure::Failed, "as the test wants it")
}

#[actix_rt::test]
async fn events_come_in_their_order() {
    use EventKind::{PostCreate, PostFinish, PostReceive, PostTerminate, PreCreate, PreFinish, PreTerminate};
    let mut hooked = Hooked::new(MemoryStore::new(), fine).await;
    let id = hooked.bed.create("a", Some(4)).await;
    let lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    hooked.bed.append(&lease, b"cd").await;
    let committed = lease.commit().await.unwrap();
    assert!(committed.finished);
    assert_eq!(committed.consulted.as_deref(), Some(&Consulted::Answered(HookResponse::default())));
    hooked.hears(PostFinish).await;
    hooked.bed.uploads.terminate(&id, None).await.unwrap();
    hooked.hears(PostTerminate).await;
    let told: Vec<_> = hooked.kinds().into_iter().filter(|kind| !kind.blocks()).collect();
    let count = told.len();
    assert_eq!(told[0], PostCreate);
    assert!((1..=2).contains(&(count - 3)) && told[1..count - 2].iter().all(|kind| *kind == PostReceive), "{told:?}");
    assert_eq!(told[count - 2..], [PostFinish, PostTerminate]);
    let asked: Vec<_> = hooked.kinds().into_iter().filter(|kind| kind.blocks()).collect();
    assert_eq!(asked, [PreCreate, PreFinish, PreTerminate]);
    // The last that was heard of its bytes is all of them.
    let last = hooked.heard.borrow().iter().rev().find(|(kind, ..)| *kind == PostReceive).map(|(_, offset, _)| *offset);
    assert_eq!(last, Some(4));
    hooked.owes_nothing().await;
    assert_eq!(hooked.bed.store.outbox().list(String::new(), 9).await.unwrap(), [""; 0]);
}

#[actix_rt::test]
async fn the_application_names_and_refuses() {
    let rule = |notice: &Notice| {
        let reject = notice.call.event.upload.meta_data.get("filename").is_some_and(|name| name == "bad.bin");
        let changes = Changes {
            id: Some("given/by+it".to_owned()),
            metadata: Some([("k".to_owned(), "v".to_owned())].into()),
            storage: None,
        };
        let reject_termination = notice.kind() == EventKind::PreTerminate;
        Ok(Verdict { reject_upload: reject, changes, reject_termination, ..Verdict::default() })
    };
    let hooked = Hooked::new(MemoryStore::new(), rule).await;
    hooked.bed.create("a", Some(4)).await;
    let id = UploadId::parse("given/by+it").unwrap();
    let snapshot = hooked.bed.uploads.inspect(&id).await.unwrap();
    assert_eq!((snapshot.info.metadata["k"].as_str(), snapshot.info.metadata.len()), ("v", 1));
    assert_eq!(snapshot.info.own.unwrap().raw_metadata, None);
    let refused = hooked.bed.uploads.create(Bed::new_upload("bad", Some(4))).await.unwrap_err();
    assert!(matches!(refused, AskFailure::Denied(denial) if denial.what == Denied::Creation));
    let refused = hooked.bed.uploads.terminate(&id, None).await.unwrap_err();
    assert!(matches!(refused, AskFailure::Denied(denial) if denial.what == Denied::Termination));
    hooked.bed.uploads.terminate_unasked(&id).await.unwrap();
    let missing = UploadId::parse("missing").unwrap();
    let refused = hooked.bed.uploads.terminate(&missing, None).await.unwrap_err();
    assert_eq!(refused, AskFailure::Refused(Refusal::NotFound));
}

#[actix_rt::test]
async fn the_application_stops_a_body() {
    let rule = |notice: &Notice| {
        let response = HookResponse { status: 418, ..HookResponse::default() };
        Ok(Verdict { stop_upload: notice.kind() == EventKind::PostReceive, response, ..Verdict::default() })
    };
    let mut hooked = Hooked::new(MemoryStore::new(), rule).await;
    let id = hooked.bed.create("a", Some(9)).await;
    let mut lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    let ended = lease.ended().await;
    assert_eq!(ended.response.unwrap().status, 418);
    drop(lease);
    hooked.hears(EventKind::PostTerminate).await;
    assert_eq!(hooked.bed.uploads.inspect(&id).await.unwrap_err(), AskFailure::Refused(Refusal::NotFound));
}

#[actix_rt::test]
async fn a_failing_pre_finish_leaves_the_upload_finished_and_untold() {
    let rule = |notice: &Notice| if notice.kind() == EventKind::PreFinish { Err(failed()) } else { fine(notice) };
    let mut hooked = Hooked::new(MemoryStore::new(), rule).await;
    let id = hooked.bed.create("a", Some(2)).await;
    let lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    let committed = lease.commit().await.unwrap();
    assert_eq!(committed.consulted.as_deref(), Some(&Consulted::Failed(failed())));
    assert!(hooked.bed.uploads.record(&id).await.unwrap().is_some());
    hooked.bed.uploads.terminate(&id, None).await.unwrap();
    hooked.hears(EventKind::PostTerminate).await;
    assert!(!hooked.kinds().contains(&EventKind::PostFinish));
    assert!(matches!(
        hooked.bed.uploads.begin(&id, Bed::appending(0)).await,
        Err(AskFailure::Refused(Refusal::NotFound))
    ));
}

#[actix_rt::test]
async fn what_could_not_be_told_is_told_by_the_next_run() {
    let store = MemoryStore::new();
    let first = Hooked::new(store.clone(), |notice| if notice.kind().blocks() { fine(notice) } else { Err(failed()) });
    let first = first.await;
    let id = first.bed.create("a", Some(2)).await;
    let lease = first.bed.begin(&id, 0).await;
    first.bed.append(&lease, b"ab").await;
    assert!(lease.commit().await.unwrap().finished);
    let mut failures = Vec::new();
    until("it was tried once", async || {
        failures = first.bed.uploads.owed_events(None, 9).await.unwrap();
        failures.retain(|owed| owed.tries == 1);
        !failures.is_empty()
    })
    .await;
    assert_eq!((failures[0].kind, failures[0].upload.as_str()), (EventKind::PostFinish, "a"));
    let report = first.bed.uploads.hooks_report().unwrap();
    assert_eq!((report.owed, report.oldest_owed.is_some(), report.transport), (1, true, "test"));
    let event_id = failures[0].event_id.clone();
    // It is tried again when somebody wants it.
    assert_eq!(first.bed.uploads.retry_events(Some("none".to_owned())).await, Ok(0));
    assert_eq!(first.bed.uploads.retry_events(Some(event_id.clone())).await, Ok(1));
    // Another run finds it, under the same name, and what is asked for once more is not.
    let mut second = Hooked::new(store.clone(), fine).await;
    second.hears(EventKind::PostFinish).await;
    assert_eq!(second.heard.borrow()[0].2, event_id);
    second.owes_nothing().await;
    assert_eq!(second.kinds(), [EventKind::PostFinish]);
}

#[actix_rt::test]
async fn an_upload_that_lacks_only_its_finish_is_finished_and_told_after_a_crash() {
    let store = MemoryStore::new();
    let faulty = Hooked::new(store.clone(), fine).await;
    let id = faulty.bed.create("a", Some(2)).await;
    faulty.bed.fail("fail finish always\nfail write_last always");
    let lease = faulty.bed.begin(&id, 0).await;
    faulty.bed.append(&lease, b"ab").await;
    assert_eq!(lease.commit().await.unwrap_err(), AskFailure::Refused(Refusal::StoreFailed));
    let noted = faulty.bed.uploads.owed_events(None, 9).await.unwrap();
    assert_eq!((noted.len(), noted[0].state), (1, OwedState::Noted));
    assert!(!faulty.kinds().contains(&EventKind::PostFinish));
    // Nobody asks for it in the next run.
    let mut next = Hooked::new(store, fine).await;
    next.hears(EventKind::PostFinish).await;
    let heard = next.heard.borrow().iter().find(|(kind, ..)| *kind == EventKind::PostFinish).cloned();
    assert_eq!(heard.unwrap().2, noted[0].event_id);
    assert!(next.bed.uploads.record(&id).await.unwrap().is_some());
}

#[actix_rt::test]
async fn what_is_deleted_unfinished_takes_its_note_along() {
    let hooked = Hooked::new(MemoryStore::new(), fine).await;
    let id = hooked.bed.create("a", Some(2)).await;
    hooked.bed.fail("fail write 1");
    let lease = hooked.bed.begin(&id, 0).await;
    lease.append(vec![bytes::Bytes::from_static(b"ab")], hooked.bed.share(2)).await.unwrap_err();
    drop(lease);
    assert_eq!(hooked.bed.uploads.owed_events(None, 9).await.unwrap().len(), 1);
    hooked.bed.uploads.terminate(&id, None).await.unwrap();
    hooked.owes_nothing().await;
    until("the outbox is empty", async || hooked.bed.store.outbox().list(String::new(), 9).await.unwrap().is_empty())
        .await;
    assert!(!hooked.kinds().contains(&EventKind::PostFinish));
}

#[actix_rt::test]
async fn a_hook_that_hangs_holds_up_its_own_upload_only() {
    let held = Arc::new(Semaphore::new(0));
    let mut hooked = Hooked::held(MemoryStore::new(), fine, Some((EventKind::PreFinish, Arc::clone(&held)))).await;
    let slow = hooked.bed.create("slow", Some(2)).await;
    let lease = hooked.bed.begin(&slow, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    let (tell, told) = mpsc::channel();
    actix_rt::spawn(async move { tell.send(lease.commit().await).unwrap() });
    for name in ["b", "c", "d", "e", "f"] {
        let id = hooked.bed.create(name, Some(9)).await;
        let lease = hooked.bed.begin(&id, 0).await;
        hooked.bed.append(&lease, b"ab").await;
        assert_eq!(lease.commit().await.unwrap().offset, 2);
    }
    assert!(told.try_recv().is_err(), "it goes on without the application's word");
    held.add_permits(1);
    hooked.hears(EventKind::PostFinish).await;
    assert!(told.recv().unwrap().unwrap().finished);
}

#[actix_rt::test]
async fn access_is_asked_for_once_while_the_answer_holds() {
    let rule = |notice: &Notice| {
        let reject_access = notice.call.event.upload.id == "b";
        Ok(Verdict { reject_access, cache_secs: 60, ..Verdict::default() })
    };
    let hooked = Hooked::new(MemoryStore::new(), rule).await;
    let [allowed, refused] = [hooked.bed.create("a", Some(9)).await, hooked.bed.create("b", Some(9)).await];
    for _ in 0..3 {
        hooked.bed.uploads.ask_for_access(&allowed, None).await.unwrap();
        let denied = hooked.bed.uploads.ask_for_access(&refused, None).await.unwrap_err();
        assert!(matches!(denied, AskFailure::Denied(denial) if denial.what == Denied::Access));
    }
    assert_eq!(hooked.kinds().iter().filter(|kind| **kind == EventKind::PreAccess).count(), 2);
    assert!(matches!(hooked.bed.uploads.begin(&allowed, Bed::appending(0)).await, Ok(Begun::Lease { .. })));
}

#[actix_rt::test]
async fn what_has_come_is_told_though_the_client_is_silent() {
    let mut hooked = Hooked::every(MemoryStore::new(), fine, None, Duration::from_millis(20)).await;
    let id = hooked.bed.create("a", Some(9)).await;
    let lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    // Nothing more happens to the upload.
    hooked.hears(EventKind::PostReceive).await;
    let offset = hooked.heard.borrow().iter().find(|(kind, ..)| *kind == EventKind::PostReceive).map(|heard| heard.1);
    assert_eq!(offset, Some(2));
    drop(lease);
}

#[actix_rt::test]
async fn an_end_that_can_not_be_noted_does_not_come() {
    let mut hooked = Hooked::new(MemoryStore::new(), fine).await;
    let id = hooked.bed.create("a", Some(2)).await;
    hooked.bed.fail("nospace note_event 2");
    let lease = hooked.bed.begin(&id, 0).await;
    let refused = lease.append(vec![bytes::Bytes::from_static(b"ab")], hooked.bed.share(2)).await;
    assert_eq!(refused.unwrap_err(), AskFailure::Refused(Refusal::NoSpace));
    drop(lease);
    // Nor is it deleted, and its owner goes: the next one looks.
    let refused = hooked.bed.uploads.terminate(&id, None).await.unwrap_err();
    assert_eq!(refused, AskFailure::Refused(Refusal::StoreFailed));
    assert!(hooked.bed.store.outbox().list(String::new(), 9).await.unwrap().is_empty());
    let lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    assert!(lease.commit().await.unwrap().finished);
    hooked.hears(EventKind::PostFinish).await;
    assert_eq!(hooked.kinds().iter().filter(|kind| **kind == EventKind::PostTerminate).count(), 0);
}

#[actix_rt::test]
async fn an_event_that_can_not_be_removed_is_told_once_by_this_run() {
    let store = MemoryStore::new();
    let mut hooked = Hooked::new(store.clone(), fine).await;
    let id = hooked.bed.create("a", Some(2)).await;
    hooked.bed.fail("fail remove_event always");
    let lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    assert!(lease.commit().await.unwrap().finished);
    hooked.hears(EventKind::PostFinish).await;
    hooked.owes_nothing().await;
    assert_eq!(hooked.bed.uploads.retry_events(None).await.unwrap(), 0);
    // It lies there still, so the next run tells it once more, by the same name.
    let told = hooked.heard.borrow().last().unwrap().2.clone();
    let mut next = Hooked::new(store, fine).await;
    next.hears(EventKind::PostFinish).await;
    assert_eq!(next.heard.borrow()[0].2, told);
}

#[actix_rt::test]
async fn an_upload_whose_client_vanished_before_its_last_hook_answered_is_finished_and_told() {
    let held = Arc::new(Semaphore::new(0));
    let mut hooked = Hooked::held(MemoryStore::new(), fine, Some((EventKind::PreFinish, Arc::clone(&held)))).await;
    let id = hooked.bed.create("a", Some(2)).await;
    let lease = hooked.bed.begin(&id, 0).await;
    hooked.bed.append(&lease, b"ab").await;
    let commit = actix_rt::spawn(lease.commit());
    until("pre-finish is under way", async || {
        hooked.bed.uploads.hooks_report().unwrap().calls[EventKind::PreFinish as usize].under_way > 0
    })
    .await;
    commit.abort();
    assert!(commit.await.is_err());
    held.add_permits(1);
    hooked.hears(EventKind::PostFinish).await;
    assert!(hooked.bed.uploads.record(&id).await.unwrap().is_some());
}

#[actix_rt::test]
async fn a_transport_that_panics_fails_one_call() {
    let rule = |notice: &Notice| {
        assert!(notice.call.event.upload.meta_data["filename"] != "bad.bin", "on purpose");
        fine(notice)
    };
    let hooked = Hooked::new(MemoryStore::new(), rule).await;
    for _ in 0..9 {
        let refused = hooked.bed.uploads.create(Bed::new_upload("bad", Some(2))).await.unwrap_err();
        assert!(matches!(refused, AskFailure::Hook(error) if error.failure == HookFailure::Failed));
    }
    hooked.bed.create("good", Some(2)).await;
    let report = hooked.bed.uploads.hooks_report().unwrap();
    assert_eq!((report.calls[0].failures.as_slice(), report.actors.pools[0].workers), (&[("failed", 9)][..], 4));
}

#[actix_rt::test]
async fn when_too_many_wait_who_asks_is_refused_at_once() {
    let held = Arc::new(Semaphore::new(0));
    let hooked = Hooked::held(MemoryStore::new(), fine, Some((EventKind::PreCreate, Arc::clone(&held)))).await;
    let report = || hooked.bed.uploads.hooks_report().unwrap();
    let uploads = hooked.bed.uploads.clone();
    let ask = |name: String| {
        let uploads = uploads.clone();
        actix_rt::spawn(async move { uploads.create(Bed::new_upload(&name, Some(2))).await.map(drop) })
    };
    let stand = || (report().actors.pools[0].busy, report().actors.pools[0].queue.depth);
    // Four are under way; only then is the whole queue free for so many as may wait.
    let mut asked: Vec<_> = (0..4).map(|number| ask(format!("u{number}"))).collect();
    until("four are under way", async || stand() == (4, 0)).await;
    asked.extend((4..4 + QUEUE).map(|number| ask(format!("u{number}"))));
    until("the queue is full", async || stand() == (4, QUEUE)).await;
    let refused = ask("late".to_owned()).await.unwrap().unwrap_err();
    assert!(matches!(refused, AskFailure::Hook(error) if error.failure == HookFailure::Overloaded));
    // One who gives up is not called for.
    let gone = asked.pop().unwrap();
    gone.abort();
    assert!(gone.await.is_err());
    held.add_permits(4 + QUEUE);
    for ask in asked {
        ask.await.unwrap().unwrap();
    }
    // Without the one who gave up, and with the one who was refused.
    let calls = &report().calls[0];
    assert_eq!((calls.count, calls.failures.as_slice()), (4 + QUEUE as u64, &[("overloaded", 1)][..]));
}
