//! What every store promises, as one suite that each of them passes.
#![expect(clippy::missing_panics_doc, reason = "a test suite: a broken promise is a panic")]
#![allow(clippy::unwrap_used, reason = "a test suite: a broken promise is a panic")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{ErrorKind, Opened, Storage, StorageError, Ticket, Whole};
use crate::{Info, Kind, Own, Record, UploadId};

/// Puts fresh stores, as `make` makes them, to every test.
pub async fn run(make: impl Fn() -> Arc<dyn Storage>) {
    creates_and_finds(&*make()).await;
    refuses_a_taken_id(&*make()).await;
    creates_with_all_bytes(&*make()).await;
    writes_and_cuts(&*make()).await;
    keeps_and_discards_tentative_bytes(&*make()).await;
    cuts_off_what_a_crash_left_tentative(&*make()).await;
    remembers_what_is_saved(&*make()).await;
    finishes_and_reads(&*make()).await;
    finishes_with_a_write(&*make()).await;
    concatenates(&*make()).await;
    refuses_to_concatenate_what_is_not_there(&*make()).await;
    deletes_more_than_once(&*make()).await;
    lists_waiting_finals(&*make()).await;
    finds_candidates(&*make()).await;
    keeps_notes(&*make()).await;
    keeps_an_outbox(&*make()).await;
    lists_and_looks(&*make()).await;
}

/// An id that is known to be good.
#[must_use]
pub fn id(text: &str) -> UploadId {
    UploadId::parse(text).unwrap()
}

/// A new upload's info with wharf's own fields.
#[must_use]
pub fn info(text: &str, length: Option<u64>) -> Info {
    let own = Some(Own::default());
    Info { id: id(text), length, metadata: BTreeMap::new(), kind: Kind::Single, place: None, own }
}

/// The same info with the mark that finishing is complete.
#[must_use]
pub fn finished(info: Info, length: u64) -> Info {
    info.into_finished(length)
}

async fn create(store: &dyn Storage, info: Info) -> Opened {
    store.create(info, Ticket::unwatched()).await.unwrap()
}

async fn open(store: &dyn Storage, text: &str) -> Result<Opened, StorageError> {
    store.open(&id(text), Ticket::unwatched()).await
}

async fn write(opened: &mut Opened, at: u64, bytes: &'static [u8]) {
    let written = opened.blob.write(at, vec![Bytes::from_static(bytes)]).await.unwrap();
    assert_eq!((written.len, written.failure.is_none()), (bytes.len() as u64, true));
}

/// Makes a finished upload with these bytes.
pub async fn store_finished(store: &dyn Storage, text: &str, kind: Kind, bytes: &'static [u8]) -> Record {
    let length = bytes.len() as u64;
    let mut opened = create(store, Info { kind, ..info(text, Some(length)) }).await;
    write(&mut opened, 0, bytes).await;
    opened.blob.finish(finished(opened.info.clone(), length)).await.unwrap()
}

/// All bytes of a finished upload.
pub async fn read_all(store: &dyn Storage, record: &Record) -> Vec<u8> {
    let mut reader = store.reader(record).await.unwrap();
    let (mut bytes, mut at) = (Vec::new(), 0);
    loop {
        let some = reader.read(at, 7).await.unwrap();
        if some.is_empty() {
            return bytes;
        }
        at += some.len() as u64;
        bytes.extend_from_slice(&some);
    }
}

fn kind_of<T>(result: Result<T, StorageError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

async fn creates_and_finds(store: &dyn Storage) {
    let text = "<>&\"\\\u{2028}\u{2029}\u{1}\u{8}\u{c}\u{7f}ü\u{1f600}\n";
    let metadata: BTreeMap<_, _> = [("b", text), ("a", ""), (text, "x")].map(|(k, v)| (k.into(), v.into())).into();
    let own = Own {
        raw_metadata: Some("a ,b PD4m".to_owned()),
        raw_concat: Some("final;/files/p".to_owned()),
        finished: false,
        expires_at_secs: Some(4_102_444_800),
        finals: vec![id("f/1"), id("f2")],
        dropped_parts: vec![7],
        owner: Some(text.to_owned()),
        max_size: Some(u64::MAX >> 1),
    };
    let kinds = [Kind::Single, Kind::Partial, Kind::Final { partials: vec![id("p"), id("q/r"), id("p")] }];
    for (place, kind) in kinds.into_iter().enumerate() {
        for length in [None, Some(0), Some(u64::MAX >> 1)] {
            for own in [None, Some(own.clone())] {
                let name = format!("x/{place}/{length:?}/{}", own.is_some());
                let info =
                    Info { id: id(&name), length, metadata: metadata.clone(), kind: kind.clone(), place: None, own };
                let created = create(store, info.clone()).await;
                assert_eq!((&created.info, created.stored, created.record.is_none()), (&info, 0, true));
                let opened = open(store, &name).await.unwrap();
                assert_eq!((&opened.info, opened.stored), (&info, 0));
                assert_eq!(opened.record.is_some(), length == Some(0) && info.own.is_none());
            }
        }
    }
    for missing in ["nobody", "x", "x/9", "x/9/9"] {
        assert_eq!(kind_of(open(store, missing).await), Some(ErrorKind::NotFound), "{missing}");
        assert_eq!(kind_of(store.finished_length(&id(missing)).await), Some(ErrorKind::NotFound), "{missing}");
    }
}

async fn refuses_a_taken_id(store: &dyn Storage) {
    let mut first = create(store, info("a", Some(3))).await;
    write(&mut first, 0, b"abc").await;
    let second = store.create(info("a", Some(9)), Ticket::unwatched()).await;
    assert_eq!(kind_of(second), Some(ErrorKind::Exists));
    let opened = open(store, "a").await.unwrap();
    assert_eq!((opened.info, opened.stored), (info("a", Some(3)), 3));
}

async fn creates_with_all_bytes(store: &dyn Storage) {
    let kinds = [("whole/one", Kind::Single), ("whole/part", Kind::Partial)];
    for (name, kind) in kinds {
        let info = Info { kind, ..info(name, Some(11)) };
        let data = ["hello", "", " world"].map(|text| Bytes::from_static(text.as_bytes()));
        let create = |data: &[Bytes]| store.create_whole(info.clone(), data.to_vec(), Ticket::unwatched());
        let Whole::Finished(record) = create(&data).await.unwrap() else { panic!("not finished") };
        assert_eq!((&record.info, record.length), (&finished(info.clone(), 11), 11));
        assert_eq!(read_all(store, &record).await, b"hello world");
        assert_eq!(store.finished_length(&id(name)).await.unwrap(), Some(11));
        let opened = open(store, name).await.unwrap();
        assert_eq!((&opened.info, opened.stored, opened.record.as_ref()), (&record.info, 11, Some(&*record)));
        // Nothing is touched by one who comes too late.
        assert_eq!(kind_of(create(&[Bytes::from_static(b"HELLO WORLD")]).await), Some(ErrorKind::Exists));
        assert_eq!(kind_of(store.create(info, Ticket::unwatched()).await), Some(ErrorKind::Exists));
        assert_eq!(open(store, name).await.unwrap().record.as_ref(), Some(&*record));
        assert_eq!(read_all(store, &record).await, b"hello world");
    }
    create(store, info("whole/begun", Some(2))).await;
    let late = store.create_whole(info("whole/begun", Some(2)), vec![Bytes::from_static(b"ab")], Ticket::unwatched());
    assert_eq!(kind_of(late.await), Some(ErrorKind::Exists));
    assert_eq!(open(store, "whole/begun").await.unwrap().stored, 0);
}

async fn writes_and_cuts(store: &dyn Storage) {
    let mut opened = create(store, info("a", Some(10))).await;
    write(&mut opened, 0, b"").await;
    let pieces = vec![Bytes::from_static(b"01"), Bytes::new(), Bytes::from_static(b"234")];
    assert_eq!(opened.blob.write(0, pieces).await.unwrap().len, 5);
    opened.blob.rest();
    write(&mut opened, 5, b"5678").await;
    opened.blob.sync().await.unwrap();
    opened.blob.cut(7).await.unwrap();
    opened.blob.cut(9).await.unwrap();
    assert_eq!(open(store, "a").await.unwrap().stored, 7);
    write(&mut opened, 7, b"xyz").await;
    opened.blob.rest();
    opened.blob.sync().await.unwrap();
    let record = opened.blob.finish(finished(opened.info.clone(), 10)).await.unwrap();
    assert_eq!(read_all(store, &record).await, b"0123456xyz");
}

async fn keeps_and_discards_tentative_bytes(store: &dyn Storage) {
    let mut opened = create(store, info("a/b", Some(6))).await;
    write(&mut opened, 0, b"ab").await;
    opened.blob.stage(2).await.unwrap();
    write(&mut opened, 2, b"XY").await;
    opened.blob.discard(2).await.unwrap();
    opened.blob.stage(2).await.unwrap();
    write(&mut opened, 2, b"cd").await;
    write(&mut opened, 4, b"ef").await;
    assert_eq!(store.finished_length(&id("a/b")).await.unwrap(), None);
    opened.blob.keep().await.unwrap();
    drop(opened);
    let mut opened = open(store, "a/b").await.unwrap();
    assert_eq!(opened.stored, 6);
    let record = opened.blob.finish(finished(opened.info.clone(), 6)).await.unwrap();
    assert_eq!(read_all(store, &record).await, b"abcdef");
}

async fn cuts_off_what_a_crash_left_tentative(store: &dyn Storage) {
    let mut opened = create(store, Info { own: None, ..info("a", Some(4)) }).await;
    write(&mut opened, 0, b"a").await;
    opened.blob.stage(1).await.unwrap();
    write(&mut opened, 1, b"bcd").await;
    drop(opened);
    assert_eq!(store.finished_length(&id("a")).await.unwrap(), None);
    let mut opened = open(store, "a").await.unwrap();
    assert_eq!((opened.stored, opened.record), (1, None));
    write(&mut opened_blob(store, "a").await, 1, b"234").await;
    assert_eq!(store.finished_length(&id("a")).await.unwrap(), Some(4));
    opened.blob.delete().await.unwrap();
}

async fn opened_blob(store: &dyn Storage, text: &str) -> Opened {
    open(store, text).await.unwrap()
}

async fn remembers_what_is_saved(store: &dyn Storage) {
    let mut opened = create(store, info("a", None)).await;
    write(&mut opened, 0, b"abc").await;
    let mut declared = info("a", Some(8));
    declared.own.as_mut().unwrap().expires_at_secs = Some(7);
    declared.own.as_mut().unwrap().finals = vec![id("f")];
    opened.blob.save(declared.clone()).await.unwrap();
    let opened = open(store, "a").await.unwrap();
    assert_eq!((opened.info, opened.stored, opened.record), (declared, 3, None));
}

/// The last write and the finish as one operation, in stores that have it.
async fn finishes_with_a_write(store: &dyn Storage) {
    if !store.finishes_with_write() {
        return;
    }
    let mut opened = create(store, info("last", Some(11))).await;
    write(&mut opened, 0, b"hello").await;
    // Nothing is done before the operation is polled.
    drop(opened.blob.write_last(5, vec![Bytes::from_static(b" world")], finished(opened.info.clone(), 11)));
    assert_eq!(open(store, "last").await.unwrap().stored, 5);
    let data = vec![Bytes::from_static(b" wor"), Bytes::from_static(b"ld")];
    let last = opened.blob.write_last(5, data, finished(opened.info.clone(), 11)).await.unwrap();
    assert_eq!((last.written.len, last.written.failure.is_none()), (6, true));
    let record = last.record.unwrap().unwrap();
    assert_eq!((record.length, &record.info), (11, &finished(info("last", None), 11)));
    let found = open(store, "last").await.unwrap();
    assert_eq!((found.stored, found.record.as_ref()), (11, Some(&record)));
    assert_eq!(&read_all(store, &record).await[..], b"hello world");
}

async fn finishes_and_reads(store: &dyn Storage) {
    let record = store_finished(store, "deep/er/a", Kind::Single, b"hello world").await;
    assert_eq!(record.length, 11);
    assert_eq!(record.info, finished(info("deep/er/a", None), 11));
    assert!(record.etag.len() > 2 && record.etag.starts_with('"') && record.etag.ends_with('"'), "{}", record.etag);
    let opened = open(store, "deep/er/a").await.unwrap().record.unwrap();
    assert!(opened.modified.is_some());
    // When it was stored may have to be asked for.
    assert_eq!(store.date(&record).await.unwrap(), opened);
    assert_eq!(Record { modified: opened.modified, ..record.clone() }, opened);
    assert_eq!(store.finished_length(&id("deep/er/a")).await.unwrap(), Some(11));
    let mut reader = store.reader(&record).await.unwrap();
    assert_eq!(&reader.read(6, 100).await.unwrap()[..], b"world");
    assert_eq!(&reader.read(0, 1).await.unwrap()[..], b"h");
    assert!(reader.read(11, 5).await.unwrap().is_empty());
    assert!(reader.read(1_000, 5).await.unwrap().is_empty());
    open(store, "deep/er/a").await.unwrap().blob.delete().await.unwrap();
    assert_eq!(&reader.read(0, 5).await.unwrap()[..], b"hello");
    assert_eq!(kind_of(store.reader(&record).await), Some(ErrorKind::NotFound));
    let other = store_finished(store, "b", Kind::Single, b"hello world").await;
    assert_ne!(other.etag, record.etag);
}

async fn concatenates(store: &dyn Storage) {
    store_finished(store, "p/1", Kind::Partial, b"one").await;
    store_finished(store, "p/2", Kind::Partial, b"").await;
    store_finished(store, "p3", Kind::Partial, b"three").await;
    let partials = vec![id("p/1"), id("p/2"), id("p3"), id("p/1")];
    let kind = Kind::Final { partials: partials.clone() };
    let mut opened = create(store, Info { kind, ..info("all", None) }).await;
    assert_eq!(opened.blob.concatenate(vec![id("p3"), id("p3"), id("p3")]).await.unwrap(), 15);
    assert_eq!(opened.blob.concatenate(partials.clone()).await.unwrap(), 11);
    let record = opened.blob.finish(finished(opened.info.clone(), 11)).await.unwrap();
    assert_eq!(read_all(store, &record).await, b"onethreeone");
    let again = open(store, "all").await.unwrap();
    assert_eq!((again.info.kind, again.stored, again.record), (Kind::Final { partials }, 11, Some(record)));
    assert_eq!(store.finished_length(&id("p3")).await.unwrap(), Some(5));
}

async fn refuses_to_concatenate_what_is_not_there(store: &dyn Storage) {
    let mut unfinished = create(store, Info { kind: Kind::Partial, ..info("p", Some(2)) }).await;
    write(&mut unfinished, 0, b"x").await;
    let kind = Kind::Final { partials: vec![id("p"), id("gone")] };
    let mut opened = create(store, Info { kind, ..info("all", None) }).await;
    assert_eq!(kind_of(opened.blob.concatenate(vec![id("p")]).await), Some(ErrorKind::Failed));
    assert_eq!(kind_of(opened.blob.concatenate(vec![id("gone")]).await), Some(ErrorKind::NotFound));
}

async fn deletes_more_than_once(store: &dyn Storage) {
    let mut opened = create(store, info("a/b", Some(5))).await;
    write(&mut opened, 0, b"ab").await;
    opened.blob.stage(2).await.unwrap();
    write(&mut opened, 2, b"c").await;
    opened.blob.delete().await.unwrap();
    assert_eq!(kind_of(open(store, "a/b").await), Some(ErrorKind::NotFound));
    opened.blob.delete().await.unwrap();
    drop(opened);
    let mut opened = create(store, info("a/b", Some(5))).await;
    write(&mut opened, 0, b"12345").await;
    assert_eq!(open(store, "a/b").await.unwrap().stored, 5);
}

async fn lists_waiting_finals(store: &dyn Storage) {
    let long = "l".repeat(240);
    let long = format!("{long}/{long}/{long}/{long}");
    let partials = vec![id("p")];
    store_finished(store, "p", Kind::Partial, b"xy").await;
    let mut blobs = Vec::new();
    for name in ["f/1", "f2", "f3", &long] {
        let kind = Kind::Final { partials: partials.clone() };
        blobs.push(create(store, Info { kind, ..info(name, None) }).await);
    }
    create(store, info("single", None)).await;
    let mut waiting = store.waiting_finals().await.unwrap();
    waiting.sort();
    assert_eq!(waiting, [id("f/1"), id("f2"), id("f3"), id(&long)]);
    assert_eq!(blobs[1].blob.concatenate(partials).await.unwrap(), 2);
    let complete = finished(blobs[1].info.clone(), 2);
    blobs[1].blob.finish(complete).await.unwrap();
    blobs[2].blob.delete().await.unwrap();
    let mut waiting = store.waiting_finals().await.unwrap();
    waiting.sort();
    assert_eq!(waiting, [id("f/1"), id(&long)]);
}

async fn scan(store: &dyn Storage, before: SystemTime, now: SystemTime) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.scan(cursor, before, now).await.unwrap();
        names.extend(page.candidates.iter().map(UploadId::to_string));
        cursor = page.next;
        if cursor.is_none() {
            names.sort();
            return names;
        }
    }
}

async fn finds_candidates(store: &dyn Storage) {
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    assert_eq!(scan(store, now + hour, now).await, Vec::<String>::new());
    for name in ["a", "b/c/d", "b/e", "f"] {
        create(store, info(name, Some(4))).await;
    }
    let mut short_lived = info("own/expiry", Some(1));
    short_lived.own.as_mut().unwrap().expires_at_secs = Some(1_000);
    create(store, short_lived).await;
    let kind = Kind::Final { partials: vec![id("a")] };
    create(store, Info { kind, ..info("final", None) }).await.blob.stage(0).await.unwrap();
    store_finished(store, "done", Kind::Single, b"x").await;
    store_finished(store, "part", Kind::Partial, b"x").await;
    let all = ["a", "b/c/d", "b/e", "f", "final", "own/expiry", "part"];
    assert_eq!(scan(store, now + hour, now).await, all);
    assert_eq!(scan(store, now - hour, now).await, ["own/expiry"]);
    assert_eq!(scan(store, now - hour, SystemTime::UNIX_EPOCH).await, Vec::<String>::new());
}

/// The names of all uploads, found in pages.
async fn list_all(store: &dyn Storage, limit: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after, limit).await.unwrap();
        assert!(page.uploads.len() <= limit);
        names.extend(page.uploads.into_iter().map(|seen| seen.info.id.as_str().to_owned()));
        match page.next {
            Some(next) => after = Some(next),
            None => return names,
        }
    }
}

async fn lists_and_looks(store: &dyn Storage) {
    store.reachable().await.unwrap();
    assert_eq!(list_all(store, 3).await, [""; 0]);
    assert_eq!(kind_of(store.look(&id("a")).await), Some(ErrorKind::NotFound));
    let names = ["d.e", "d/e/2", "d/1", "a", "z", "d0", "d-"];
    let mut held = Vec::new();
    for name in names {
        held.push(create(store, info(name, Some(3))).await);
    }
    store_finished(store, "q", Kind::Single, b"abcd").await;
    let all = ["a", "d-", "d.e", "d/1", "d/e/2", "d0", "q", "z"];
    for limit in [1, 2, 3, 8, 100] {
        assert_eq!(list_all(store, limit).await, all, "{limit} at once");
    }
    for (after, first) in
        [("d", Some("d-")), ("d.e", Some("d/1")), ("d/", Some("d/1")), ("\u{1}", Some("a")), ("zz", None)]
    {
        let page = store.list(Some(after.to_owned()), 1).await.unwrap();
        assert_eq!(page.uploads.first().map(|seen| seen.info.id.as_str()), first, "behind {after}");
    }
    write(&mut held[1], 0, b"ab").await;
    held[1].blob.stage(2).await.unwrap();
    write(&mut held[1], 2, b"c").await;
    // Looking neither counts what is tentative nor cuts it off.
    for _ in 0..2 {
        let seen = store.look(&id("d/e/2")).await.unwrap();
        assert_eq!((seen.stored, seen.is_finished, seen.info.length), (Some(2), false, Some(3)));
    }
    held[1].blob.keep().await.unwrap();
    assert_eq!(store.look(&id("d/e/2")).await.unwrap().stored, Some(3));
    let seen = store.look(&id("q")).await.unwrap();
    let record = open(store, "q").await.unwrap().record.unwrap();
    let seen_to = (seen.info, seen.stored, seen.is_finished, Some(seen.changed));
    assert_eq!(seen_to, (record.info, Some(4), true, record.modified));
    held[0].blob.delete().await.unwrap();
    assert_eq!(list_all(store, 2).await.len(), 7);
}

async fn keeps_an_outbox(store: &dyn Storage) {
    let outbox = store.outbox();
    assert_eq!(outbox.list(String::new(), 9).await.unwrap(), [""; 0]);
    for (name, content) in [("0b", "two"), ("0a", "one"), ("0c", "three"), ("0a", "first")] {
        outbox.put(name.to_owned(), content.into()).await.unwrap();
    }
    assert_eq!(outbox.list(String::new(), 2).await.unwrap(), ["0a", "0b"]);
    assert_eq!(outbox.list("0b".to_owned(), 2).await.unwrap(), ["0c"]);
    assert_eq!(outbox.read("0a".to_owned()).await.unwrap().as_deref(), Some(&b"first"[..]));
    assert_eq!(outbox.read("0d".to_owned()).await.unwrap(), None);
    for _ in 0..2 {
        outbox.remove("0a".to_owned()).await.unwrap();
    }
    assert_eq!(outbox.list(String::new(), 9).await.unwrap(), ["0b", "0c"]);
    assert_eq!(outbox.read("0a".to_owned()).await.unwrap(), None);
}

async fn keeps_notes(store: &dyn Storage) {
    assert_eq!(store.note("clock", None).await.unwrap(), None);
    assert_eq!(store.note("clock", Some("12".to_owned())).await.unwrap(), None);
    assert_eq!(store.note("clock", Some("3".to_owned())).await.unwrap().as_deref(), Some("12"));
    assert_eq!(store.note("clock", None).await.unwrap().as_deref(), Some("3"));
    assert_eq!(store.note("other", None).await.unwrap(), None);
}
