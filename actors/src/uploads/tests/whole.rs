//! Uploads that are created with all their bytes.

use super::*;

impl Bed {
    async fn create_whole(&self, name: &str, bytes: &'static [u8]) -> Result<CreatedWhole, AskFailure> {
        let new = Self::new_upload(name, Some(bytes.len() as u64));
        self.uploads.create_whole(new, vec![Bytes::from_static(bytes)], self.share(bytes.len())).await
    }

    /// Whether an operation is held.
    fn is_held(&self) -> bool {
        self.directory.path().join("faults.held").exists()
    }
}

#[actix_rt::test]
async fn it_is_finished_at_once_and_has_no_owner() {
    let bed = Bed::new().await;
    let mut listener = bed.uploads.listen();
    assert!(bed.uploads.creates_whole());
    let CreatedWhole { snapshot, failure } = bed.create_whole("a", b"hello").await.unwrap();
    assert_eq!((snapshot.offset, failure, bed.uploads.budget().report().used), (Some(5), None, 0));
    let record = snapshot.record.unwrap();
    let id = record.info.id.clone();
    assert_eq!(bed.uploads.record(&id).await.unwrap().as_deref(), Some(&*record));
    assert_eq!(bed.names(9).await, [("a".to_owned(), false)]);
    assert_eq!(&bed.uploads.read(&record).await.unwrap().read(0, 9).await.unwrap()[..], b"hello");
    let tally = bed.uploads.tally();
    assert_eq!((tally.created, tally.finished, tally.bytes_received), (1, 1, 5));
    assert_eq!(listener.next().await, Some(Heard::Event(Event::UploadCreated { id: id.clone(), length: Some(5) })));
    assert_eq!(listener.next().await, Some(Heard::Event(Event::UploadFinished { id: id.clone(), length: 5 })));
    let history = bed.uploads.overview(&id).await.unwrap().history.unwrap();
    assert_eq!(history.timeline.points.last().map(|point| point.1), Some(5));
    let log: Vec<_> = history.log.iter().map(|line| line.message).collect();
    assert_eq!(log, ["upload created", "upload completed"]);
}

#[actix_rt::test]
async fn a_taken_id_is_refused_whatever_it_is_taken_by() {
    let bed = Bed::new().await;
    bed.create("begun", Some(2)).await;
    bed.create_whole("whole", b"ab").await.unwrap();
    for name in ["begun", "whole"] {
        let late = bed.create_whole(name, b"cd").await;
        assert_eq!(late.err(), Some(AskFailure::Refused(Refusal::Exists)), "{name}");
    }
    let late = bed.uploads.create(Bed::new_upload("whole", Some(2))).await;
    assert_eq!(late.err(), Some(AskFailure::Refused(Refusal::Exists)));
}

/// Two who want the same id at once: one gets it, and the other learns that it is taken.
#[actix_rt::test]
async fn whoever_asks_meanwhile_waits_until_it_is_there() {
    let bed = Bed::new().await;
    bed.fail("hold write 1");
    let asking = async {
        crate::patience::until("it is held", async || bed.is_held()).await;
        let id = UploadId::parse("a").unwrap();
        let mut asked = Box::pin(bed.uploads.inspect(&id));
        assert!((&mut asked).now_or_never().is_none());
        bed.fail("");
        asked.await
    };
    let (first, second, seen) =
        futures_util::future::join3(bed.create_whole("a", b"hello"), bed.create_whole("a", b"HELLO"), asking).await;
    assert_eq!(first.unwrap().snapshot.offset, Some(5));
    assert_eq!(second.err(), Some(AskFailure::Refused(Refusal::Exists)));
    assert_eq!(seen.unwrap().offset, Some(5));
}

#[actix_rt::test]
async fn when_its_bytes_do_not_fit_it_goes_on_as_any_other() {
    let bed = Bed::new().await;
    bed.fail("nospace write 1");
    let CreatedWhole { snapshot, failure } = bed.create_whole("a", b"hello").await.unwrap();
    assert_eq!((snapshot.offset, failure), (Some(0), Some(AskFailure::Refused(Refusal::NoSpace))));
    assert_eq!(bed.names(9).await, [("a".to_owned(), true)]);
    let lease = bed.begin(&snapshot.info.id, 0).await;
    bed.append(&lease, b"hello").await;
    assert!(lease.commit().await.unwrap().finished);
}

#[actix_rt::test]
async fn when_it_fails_the_id_is_free_again() {
    let bed = Bed::new().await;
    for operation in ["create", "finish"] {
        bed.fail(&format!("fail {operation} 1"));
        let failed = bed.create_whole("a", b"hello").await;
        assert_eq!(failed.err(), Some(AskFailure::Refused(Refusal::StoreFailed)), "{operation}");
        assert_eq!(bed.names(9).await, []);
    }
    bed.create_whole("a", b"hello").await.unwrap();
}

/// Whoever asked may have gone; the upload is there, and told of, all the same.
#[actix_rt::test]
async fn it_is_created_though_nobody_waits_for_it() {
    let bed = Bed::new().await;
    bed.fail("hold write 1");
    {
        let mut creating = Box::pin(bed.create_whole("a", b"hello"));
        assert!((&mut creating).now_or_never().is_none());
        crate::patience::until("it is held", async || bed.is_held()).await;
    }
    bed.fail("");
    crate::patience::until("it is finished", async || bed.uploads.tally().finished == 1).await;
    assert_eq!(bed.names(9).await, [("a".to_owned(), false)]);
}

#[actix_rt::test]
async fn not_while_the_service_ends() {
    let bed = Bed::new().await;
    bed.uploads.close();
    assert!(!bed.uploads.creates_whole());
}

impl Bed {
    async fn append_whole(&self, id: &UploadId, offset: u64, bytes: &'static [u8]) -> Result<Appended, AskFailure> {
        let appending = Appending { announced: Some(bytes.len() as u64), ..Self::appending(offset) };
        self.uploads.append_whole(id, appending, Bytes::from_static(bytes), self.share(bytes.len())).await
    }
}

fn committed(appended: Result<Appended, AskFailure>) -> (u64, bool) {
    match appended.unwrap() {
        Appended::Committed(committed) => (committed.offset, committed.finished),
        Appended::Complete { offset } => panic!("complete at {offset}"),
    }
}

#[actix_rt::test]
async fn bytes_that_are_brought_are_stored_and_the_last_ones_finish() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(11)).await;
    assert_eq!(committed(bed.append_whole(&id, 0, b"hello").await), (5, false));
    assert_eq!(bed.uploads.tally().leases_open, 0);
    let wrong = bed.append_whole(&id, 0, b"hello").await;
    assert_eq!(wrong.err(), Some(AskFailure::Refused(Refusal::MismatchedOffset)));
    let too_long = bed.append_whole(&id, 5, b" world!").await;
    assert_eq!(too_long.err(), Some(AskFailure::Refused(Refusal::SizeExceeded)));
    assert_eq!(committed(bed.append_whole(&id, 5, b" world").await), (11, true));
    let again = bed.append_whole(&id, 11, b"!").await;
    assert!(matches!(again, Ok(Appended::Complete { offset: 11 })));
    let record = bed.uploads.record(&id).await.unwrap().unwrap();
    assert_eq!(&bed.uploads.read(&record).await.unwrap().read(0, 99).await.unwrap()[..], b"hello world");
    assert_eq!((bed.uploads.tally().bytes_received, bed.uploads.budget().report().used), (11, 0));
}

#[actix_rt::test]
async fn a_length_can_be_declared_with_bytes_that_are_brought() {
    let bed = Bed::new().await;
    let id = bed.create("a", None).await;
    let appending = Appending { declared_length: Some(5), announced: Some(5), ..Bed::appending(0) };
    let appended = bed.uploads.append_whole(&id, appending, Bytes::from_static(b"hello"), bed.share(5)).await;
    assert_eq!(committed(appended), (5, true));
}

/// Whoever has the lease gives way, and the bytes come after its own.
#[actix_rt::test]
async fn bytes_that_are_brought_to_an_upload_at_work_take_the_steps() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(11)).await;
    let mut lease = bed.begin(&id, 0).await;
    bed.append(&lease, b"hello").await;
    let taking_over = bed.append_whole(&id, 5, b" world");
    let leaving = async {
        assert_eq!(lease.ended().await.why, LeaseEnd::Interrupted);
        drop(lease);
    };
    let (appended, ()) = futures_util::future::join(taking_over, leaving).await;
    assert_eq!(committed(appended), (11, true));
    assert_eq!(bed.uploads.tally().take_overs, 1);
}

#[actix_rt::test]
async fn what_is_brought_and_cannot_be_stored_can_be_brought_again() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(5)).await;
    for (faults, refusal, offset) in [
        ("nospace write 1", Refusal::NoSpace, 0),
        ("fail sync 1", Refusal::StoreFailed, 0),
        ("fail finish 1", Refusal::StoreFailed, 5),
    ] {
        bed.fail(faults);
        let failed = bed.append_whole(&id, 0, b"hello").await;
        assert_eq!(failed.err(), Some(AskFailure::Refused(refusal)), "{faults}");
        assert_eq!(bed.uploads.inspect(&id).await.unwrap().offset, Some(offset), "{faults}");
    }
    assert!(bed.uploads.record(&id).await.unwrap().is_some());
}

/// The store may take as long as it likes, once the owner has the bytes.
#[actix_rt::test]
async fn whoever_has_brought_bytes_waits_for_the_store() {
    let patience = Duration::from_millis(20);
    let bed = Bed::over(MemoryStore::new(), Tuning { patience, ..tuning() }).await;
    let id = bed.create("a", Some(5)).await;
    bed.fail("hold write 1");
    let releasing = async {
        crate::patience::until("it is held", async || bed.is_held()).await;
        // Somebody who only waits for the owner does not wait so long.
        assert_eq!(bed.uploads.inspect(&id).await.err(), Some(AskFailure::TimedOut));
        bed.fail("");
    };
    let (appended, ()) = futures_util::future::join(bed.append_whole(&id, 0, b"hello"), releasing).await;
    assert_eq!(committed(appended), (5, true));
}
