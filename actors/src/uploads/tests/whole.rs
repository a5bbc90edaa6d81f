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
