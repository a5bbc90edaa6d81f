//! A pool over a client that does what the test says, call by call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use actix_rt::task::JoinHandle;
use bytes::Bytes;
use slog::{Discard, Logger, o};
use tokio::sync::{mpsc, oneshot};

use super::super::{Config, Part, PartError, Parts};
use crate::{
    Budget,
    patience::PATIENCE,
    storage::s3::client::{
        Attributes, Call, Client, ClientError, ETag, ErrorKind, ListedMultipart, ListedObject, ListedPart,
        MultipartMarker, Object, ObjectHead, Page,
    },
};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// What a part looks like when it gets to S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key: String,
    pub(super) multipart: String,
    pub(super) number: u16,
    pub(super) bytes: Vec<u8>,
}

/// What becomes of a call.
pub(super) enum Answer {
    Stored,
    Failed(ErrorKind),
    Panic,
    /// None comes any more, because the arbiter stops.
    Stop,
}

/// A call under way, in the test's hands.
pub(super) struct Held {
    pub(super) seen: Seen,
    /// Which client was called, in the order in which they were made, and on which thread.
    pub(super) client: usize,
    pub(super) thread: ThreadId,
    answer: oneshot::Sender<Answer>,
}

impl Held {
    pub(super) fn answer(self, answer: Answer) {
        self.answer.send(answer).ok().expect("the call is still under way");
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

pub(super) fn etag(seen: &Seen) -> ETag {
    ETag::new(&format!("{}-{}-{}", seen.key, seen.number, seen.bytes.len()))
}

fn failed(kind: ErrorKind) -> ClientError {
    ClientError::new(kind, "UploadPart", None, "on purpose")
}

/// The multipart upload that is not there.
pub(super) const GONE: &str = "gone";

type Act = dyn Fn(usize, Seen) -> Call<ETag> + Send + Sync;

/// A client that stores parts only.
struct Fake {
    number: usize,
    act: Arc<Act>,
}

fn come_to(answer: Answer, seen: &Seen) -> Option<Result<ETag, ClientError>> {
    match answer {
        Answer::Stored => Some(Ok(etag(seen))),
        Answer::Failed(kind) => Some(Err(failed(kind))),
        Answer::Panic => panic!("on purpose"),
        Answer::Stop => {
            actix_rt::Arbiter::current().stop();
            None
        }
    }
}

fn never<T>() -> Call<T> {
    Box::pin(async { Err(failed(ErrorKind::Invalid)) })
}

impl Client for Fake {
    fn upload_part(&self, key: &str, id: &str, number: u16, body: Vec<Bytes>) -> Call<ETag> {
        let seen = Seen { key: key.to_owned(), multipart: id.to_owned(), number, bytes: body.concat() };
        (self.act)(self.number, seen)
    }

    fn put_object(&self, _: &str, _: Vec<Bytes>, _: Attributes, _: bool) -> Call<ETag> {
        never()
    }

    fn get_object(&self, _: &str, _: Option<(u64, u64)>) -> Call<Object> {
        never()
    }

    fn head_object(&self, _: &str) -> Call<ObjectHead> {
        never()
    }

    fn delete_objects(&self, _: Vec<String>) -> Call<()> {
        never()
    }

    fn list_objects(&self, _: &str, _: Option<String>, _: u16) -> Call<Page<ListedObject, String>> {
        never()
    }

    fn create_multipart(&self, _: &str, _: Attributes) -> Call<String> {
        never()
    }

    fn copy_part(&self, _: &str, _: &str, _: u16, _: &str, _: (u64, u64)) -> Call<ETag> {
        never()
    }

    fn list_parts(&self, _: &str, id: &str, _: Option<u16>) -> Call<Page<ListedPart, u16>> {
        let kind = if id == GONE { ErrorKind::NoSuchUpload } else { ErrorKind::Invalid };
        Box::pin(async move { Err(failed(kind)) })
    }

    fn complete(&self, _: &str, _: &str, _: &[(u16, ETag)]) -> Call<ETag> {
        never()
    }

    fn abort(&self, _: &str, _: &str) -> Call<()> {
        never()
    }

    fn list_multiparts(&self, _: &str, _: Option<MultipartMarker>) -> Call<Page<ListedMultipart, MultipartMarker>> {
        never()
    }
}

/// A pool of so many uploaders, each upload with up to `per_upload` parts under way, and room for `queue` parts.
pub(super) fn config(workers: usize, per_upload: usize, queue: usize) -> Config {
    let (backoff_first, backoff_max) = (Duration::from_millis(1), Duration::from_millis(8));
    Config { workers, per_upload, queue, deadline: 60 * SECOND, backoff_first, backoff_max, mailbox: 16 }
}

pub(super) fn start(config: Config, connect: impl Fn() -> Arc<dyn Client> + Send + Sync + 'static) -> Parts {
    Parts::start(config, connect, Logger::root(Discard, o!())).unwrap()
}

/// A pool whose calls are answered at once, by the number of the call (from 0). Its uploaders' time flies when they rest.
pub(super) fn scripted(config: Config, script: impl Fn(usize, Seen) -> Answer + Send + Sync + 'static) -> Parts {
    let calls = AtomicUsize::new(0);
    let act: Arc<Act> = Arc::new(move |_, seen: Seen| {
        let answer = script(calls.fetch_add(1, Ordering::SeqCst), seen.clone());
        Box::pin(async move {
            match come_to(answer, &seen) {
                Some(result) => result,
                None => std::future::pending().await,
            }
        })
    });
    start(config, move || {
        tokio::time::pause();
        Arc::new(Fake { number: 0, act: Arc::clone(&act) })
    })
}

/// A pool whose calls come to the test, which answers them.
pub(super) struct Bed {
    pub(super) parts: Parts,
    pub(super) budget: Budget,
    calls: mpsc::UnboundedReceiver<Held>,
}

impl Bed {
    pub(super) fn new(config: Config) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let act: Arc<Act> = Arc::new(move |client, seen: Seen| {
            let (answer, answered) = oneshot::channel();
            let held = Held { seen: seen.clone(), client, thread: thread::current().id(), answer };
            sender.send(held).expect("the test is there");
            Box::pin(async move {
                match answered.await.map(|answer| come_to(answer, &seen)) {
                    Ok(Some(result)) => result,
                    _ => std::future::pending().await,
                }
            })
        });
        let clients = AtomicUsize::new(0);
        let parts = start(config, move || {
            let number = clients.fetch_add(1, Ordering::SeqCst);
            Arc::new(Fake { number, act: Arc::clone(&act) })
        });
        Self { parts, budget: Budget::new(1 << 20), calls }
    }

    /// Hands a part over, with memory for its bytes.
    pub(super) fn upload(&self, upload: u64, number: u16) -> JoinHandle<Result<ETag, PartError>> {
        actix_rt::spawn(self.parts.upload(self.part(upload, number)))
    }

    pub(super) fn part(&self, upload: u64, number: u16) -> Part {
        part(&self.budget, upload, number)
    }

    /// The next call. Panics when none comes.
    pub(super) async fn call(&mut self) -> Held {
        let call = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        call.expect("a call comes").expect("the pool is there")
    }

    /// A call that has come already.
    pub(super) fn is_called(&mut self) -> bool {
        self.calls.try_recv().is_ok()
    }

    /// Answers all calls that come, one after the other, with success, until so many are answered.
    pub(super) async fn store(&mut self, count: usize) -> Vec<Seen> {
        let mut all = Vec::new();
        for _ in 0..count {
            let held = self.call().await;
            all.push(held.seen.clone());
            held.answer(Answer::Stored);
        }
        all
    }

    /// Waits until so many parts wait and so many are under way, and the dispatcher has nothing more to do.
    pub(super) async fn stands(&self, waiting: usize, under_way: usize) {
        self.until(|report| {
            let settled = report.dispatcher.depth == 0;
            settled && (report.waiting.depth, report.under_way) == (waiting, under_way)
        })
        .await;
    }

    pub(super) async fn until(&self, condition: impl Fn(&super::super::PartsReport) -> bool) {
        until(&self.parts, condition).await;
    }

    /// All memory is back and nothing waits anywhere.
    pub(super) async fn is_empty(&self) {
        self.stands(0, 0).await;
        // Of a part whose asker has gone, nobody is told that its memory is back: it comes a moment after it was counted.
        self.until(|_| self.budget.report().used == 0).await;
        let report = self.parts.report();
        assert_eq!(report.without_room, 0);
        assert!(report.uploaders.iter().all(|uploader| uploader.depth == 0), "{report:?}");
    }

    /// Whether the pool has ended with all its actors: then nobody is left who could call.
    pub(super) async fn has_ended(mut self) -> bool {
        drop(self.parts);
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.is_ok_and(|call| call.is_none())
    }
}

/// Part `number` of an upload, of ten times as many bytes as its number.
pub(super) fn part(budget: &Budget, upload: u64, number: u16) -> Part {
    let half = Bytes::from(vec![number.to_be_bytes()[1]; usize::from(number) * 5]);
    let share = budget.try_take(half.len() * 2).unwrap();
    let (key, multipart) = (format!("object-{upload}"), format!("multipart-{upload}"));
    Part { upload, key, multipart, number, body: vec![half.clone(), half], shares: vec![share] }
}

/// As it should be seen.
pub(super) fn seen(upload: u64, number: u16) -> Seen {
    let bytes = vec![number.to_be_bytes()[1]; usize::from(number) * 10];
    Seen { key: format!("object-{upload}"), multipart: format!("multipart-{upload}"), number, bytes }
}

pub(super) async fn until(parts: &Parts, condition: impl Fn(&super::super::PartsReport) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition(&parts.report()) {
        assert!(Instant::now() < end, "waited in vain: {:?}", parts.report());
        tokio::task::yield_now().await;
    }
}

/// A client that stores every part at once.
pub(super) fn storing() -> Arc<dyn Client> {
    let act: Arc<Act> = Arc::new(|_, seen: Seen| Box::pin(async move { Ok(etag(&seen)) }));
    Arc::new(Fake { number: 0, act })
}
