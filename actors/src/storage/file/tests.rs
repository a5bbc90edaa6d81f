//! Tests of the disk store beyond the suite that all stores share: files, modes, links, and what a crash leaves.

use std::{cell::Cell, fs};

use tempfile::TempDir;

use super::*;
use crate::storage::{ErrorKind, conformance};

fn config(dir: &Path, durability: Durability) -> Config {
    Config { dir: dir.to_owned(), durability, file_mode: 0o664, dir_mode: 0o775, roots: Vec::new(), scan_entries: 3 }
}

fn store(dir: &Path) -> FileStore {
    FileStore::open(config(dir, Durability::Complete), Disk::start(2, 4).unwrap()).unwrap()
}

#[actix_rt::test]
async fn disk_keeps_the_promises_with_every_durability() {
    for durability in [Durability::None, Durability::Complete, Durability::Always] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::start(2, 4).unwrap();
        let count = Cell::new(0);
        conformance::run(|| {
            count.set(count.get() + 1);
            let dir = dir.path().join(count.get().to_string());
            Arc::new(FileStore::open(config(&dir, durability), Arc::clone(&disk)).unwrap())
        })
        .await;
        assert_eq!(count.get(), 17);
    }
}

/// Nothing is left in the workshop, and what another has left under the name of an `.info` is neither taken nor touched.
#[actix_rt::test]
async fn what_is_created_whole_leaves_no_traces_beside_it() {
    for durability in [Durability::None, Durability::Complete, Durability::Always] {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(config(dir.path(), durability), Disk::start(1, 4).unwrap()).unwrap();
        let create = |name| {
            let info = conformance::info(name, Some(5));
            store.create_whole(info, vec![Bytes::from_static(b"hello")], Ticket::unwatched())
        };
        let whole = create("a/b").await.unwrap();
        assert!(matches!(whole, Whole::Finished(record) if record.length == 5));
        assert_eq!(fs::read(dir.path().join("a/b")).unwrap(), b"hello");
        fs::write(dir.path().join("c.info"), "another's").unwrap();
        assert_eq!(create("c").await.err().map(|error| error.kind), Some(ErrorKind::Exists));
        assert_eq!(names(dir.path()), [".wharf", "a", "c.info"]);
        assert_eq!(names(&dir.path().join("a")), ["b", "b.info"]);
        assert_eq!(fs::read(dir.path().join("c.info")).unwrap(), b"another's");
        assert_eq!(names(&dir.path().join(layout::WORKSHOP)), Vec::<String>::new());
    }
}

/// One round of syncs makes bytes and `.info` durable together, one their names.
#[actix_rt::test]
async fn what_is_created_whole_is_synced_once() {
    for (durability, syncs) in [(Durability::None, 0), (Durability::Complete, 3), (Durability::Always, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(config(dir.path(), durability), Disk::start(1, 4).unwrap()).unwrap();
        let info = conformance::info("a", Some(5));
        store.create_whole(info, vec![Bytes::from_static(b"hello")], Ticket::unwatched()).await.unwrap();
        assert_eq!(store.disk().syncs(), syncs, "{durability:?}");
    }
}

fn id(text: &str) -> UploadId {
    UploadId::parse(text).unwrap()
}

/// A data file and its `.info`, as another server leaves them.
fn fixture(dir: &TempDir, name: &str, bytes: &str, json: &str) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::write(dir.path().join(format!("{name}.info")), json).unwrap();
}

/// tusd's `.info` for an upload in `dir`; `middle` stands between the id and the storage map.
fn tusd_json(dir: &Path, name: &str, middle: &str) -> String {
    let path = dir.join(name).display().to_string();
    let places = format!(r#"{{"InfoPath":"{path}.info","Path":"{path}","Type":"filestore"}}"#);
    format!(r#"{{"ID":"{name}",{middle},"Storage":{places}}}"#)
}

fn tusd_fields(size: &str, roles: &str) -> String {
    format!(r#"{size},"Offset":0,"MetaData":{{"filename":"a \u0026 b"}},{roles}"#)
}

const SINGLE: &str = r#""IsPartial":false,"IsFinal":false,"PartialUploads":null"#;

async fn opened(store: &FileStore, name: &str) -> Opened {
    store.open(&id(name), Ticket::unwatched()).await.unwrap()
}

async fn error(store: &FileStore, name: &str) -> Option<ErrorKind> {
    store.open(&id(name), Ticket::unwatched()).await.err().map(|error| error.kind)
}

async fn append(blob: &mut Box<dyn super::super::Blob>, at: u64, bytes: &'static [u8]) {
    let written = blob.write(at, vec![Bytes::from_static(bytes)]).await.unwrap();
    assert_eq!((written.len, written.failure.is_none()), (bytes.len() as u64, true));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[actix_rt::test]
async fn a_tusd_directory_is_taken_over_and_handed_back() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let json = |name: &str, size: &str, roles: &str| tusd_json(at, name, &tusd_fields(size, roles));
    let half_json = json("half", r#""Size":10,"SizeIsDeferred":false"#, SINGLE);
    fixture(&dir, "half", "hello", &half_json);
    fixture(&dir, "done", "hello", &json("done", r#""Size":5,"SizeIsDeferred":false"#, SINGLE));
    fixture(&dir, "open", "hel", &json("open", r#""Size":0,"SizeIsDeferred":true"#, SINGLE));
    let partial = r#""IsPartial":true,"IsFinal":false,"PartialUploads":null"#;
    fixture(&dir, "part", "ab", &json("part", r#""Size":2,"SizeIsDeferred":false"#, partial));
    let whole = r#""IsPartial":false,"IsFinal":true,"PartialUploads":["part","part"]"#;
    fixture(&dir, "whole", "abab", &json("whole", r#""Size":4,"SizeIsDeferred":false"#, whole));
    fs::write(at.join("half.lock"), "1\n").unwrap();
    fs::write(at.join("half.stop"), "").unwrap();
    let store = store(at);

    let mut half = opened(&store, "half").await;
    assert_eq!((half.info.length, half.stored, half.record.is_none()), (Some(10), 5, true));
    assert_eq!((half.info.metadata["filename"].as_str(), &half.info.own, &half.info.place), ("a & b", &None, &None));
    half.blob.save(half.info.clone()).await.unwrap();
    assert_eq!(fs::read_to_string(at.join("half.info")).unwrap(), half_json);
    append(&mut half.blob, 5, b" wide").await;
    assert_eq!(half.blob.finish(half.info.clone()).await.unwrap().length, 10);
    assert_eq!(fs::read_to_string(at.join("half.info")).unwrap(), half_json);
    assert_eq!(fs::read(at.join("half")).unwrap(), b"hello wide");

    let done = opened(&store, "done").await.record.unwrap();
    assert_eq!((done.length, conformance::read_all(&store, &done).await), (5, b"hello".to_vec()));
    let open = opened(&store, "open").await;
    assert_eq!((open.info.length, open.stored), (None, 3));
    assert_eq!(opened(&store, "part").await.info.kind, crate::Kind::Partial);
    let whole = opened(&store, "whole").await;
    assert_eq!(whole.info.kind, crate::Kind::Final { partials: vec![id("part"), id("part")] });
    assert_eq!(whole.record.unwrap().length, 4);
    let mut old = store.scan(None, SystemTime::now() + std::time::Duration::from_secs(9), SystemTime::UNIX_EPOCH);
    let mut found = Vec::new();
    loop {
        let page = old.await.unwrap();
        found.extend(page.candidates);
        let Some(cursor) = page.next else { break };
        old = store.scan(Some(cursor), SystemTime::now() + std::time::Duration::from_secs(9), SystemTime::UNIX_EPOCH);
    }
    found.sort();
    assert_eq!(found, [id("open"), id("part")]);
}

#[actix_rt::test]
async fn odd_infos_are_understood_and_broken_ones_are_told() {
    let dir = tempfile::tempdir().unwrap();
    fixture(&dir, "bare", "abc", r#"{"ID":"bare","Size":7}"#);
    fixture(&dir, "odd", "abc", r#"{"storage":{"path":"/moved/away/odd"},"size":3,"id":"odd"}"#);
    fixture(&dir, "torn", "abc", r#"{"ID":"torn","Si"#);
    fixture(&dir, "empty", "abc", "");
    fs::write(dir.path().join("data-only"), "x").unwrap();
    fs::write(dir.path().join("info-only.info"), r#"{"Size":1}"#).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::write(dir.path().join("folder.info"), r#"{"Size":1}"#).unwrap();
    fs::write(dir.path().join("no-info"), "x").unwrap();
    fs::create_dir(dir.path().join("no-info.info")).unwrap();
    let store = store(dir.path());
    let bare = opened(&store, "bare").await;
    assert_eq!((bare.info.length, bare.stored, bare.info.place), (Some(7), 3, None));
    let odd = opened(&store, "odd").await;
    assert_eq!((odd.info.place, odd.record.unwrap().length), (None, 3));
    for (name, kind) in [("torn", ErrorKind::Corrupt), ("empty", ErrorKind::Corrupt)] {
        assert_eq!(error(&store, name).await, Some(kind), "{name}");
    }
    for name in ["data-only", "info-only", "folder", "no-info", "folder/inner", "bare/inner", "no-info.info/x"] {
        assert_eq!(error(&store, name).await, Some(ErrorKind::NotFound), "{name}");
    }
}

#[actix_rt::test]
async fn what_has_the_name_of_a_new_upload_stays_as_it_is() {
    for durability in [Durability::None, Durability::Complete, Durability::Always] {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(config(dir.path(), durability), Disk::start(1, 1).unwrap()).unwrap();
        fs::write(dir.path().join("info-only.info"), r#"{"Size":1}"#).unwrap();
        fs::write(dir.path().join("data-only"), "x").unwrap();
        for name in ["info-only", "data-only"] {
            let kind = crate::Kind::Single;
            let info = Info { id: id(name), length: Some(1), metadata: BTreeMap::new(), kind, place: None, own: None };
            let created = store.create(info, Ticket::unwatched()).await;
            assert_eq!(created.err().map(|error| error.kind), Some(ErrorKind::Exists), "{name}, {durability:?}");
        }
        assert_eq!(names(dir.path()), [".wharf", "data-only", "info-only.info"], "{durability:?}");
        assert_eq!(fs::read_to_string(dir.path().join("info-only.info")).unwrap(), r#"{"Size":1}"#);
        assert!(names(&dir.path().join(".wharf/tmp")).is_empty());
    }
}

#[actix_rt::test]
async fn a_place_is_honoured_beneath_the_roots_only() {
    let (dir, root, outside) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for place in [dir.path().join("inside"), root.path().join("a"), outside.path().join("b")] {
        fs::write(place, "xyz").unwrap();
    }
    fs::write(dir.path().join(".secret"), "s").unwrap();
    let json = |path: &Path| format!(r#"{{"Size":9,"Storage":{{"Path":"{}"}}}}"#, path.display());
    let up = dir.path().join("..").join(outside.path().file_name().unwrap()).join("b");
    for (name, path) in [
        ("in", dir.path().join("inside")),
        ("root", root.path().join("a")),
        ("out", outside.path().join("b")),
        ("up", up),
        ("own", dir.path().join(".wharf/lock")),
        ("info", dir.path().join("in.info")),
    ] {
        fs::write(dir.path().join(format!("{name}.info")), json(&path)).unwrap();
    }
    let config = Config { roots: vec![root.path().to_owned()], ..config(dir.path(), Durability::Always) };
    let store = FileStore::open(config, Disk::start(1, 1).unwrap()).unwrap();
    for (name, path) in [("in", dir.path().join("inside")), ("root", root.path().join("a"))] {
        let mut found = opened(&store, name).await;
        assert_eq!(found.info.place.as_deref().map(Path::new), Some(&*path));
        append(&mut found.blob, 3, b"abcdef").await;
        found.blob.sync().await.unwrap();
        let record = found.blob.finish(found.info.clone()).await.unwrap();
        assert_eq!(conformance::read_all(&store, &record).await, b"xyzabcdef");
        assert_eq!(opened(&store, name).await.info.place.as_deref().map(Path::new), Some(&*path));
        found.blob.delete().await.unwrap();
        assert!(!path.exists() && !dir.path().join(format!("{name}.info")).exists());
    }
    for name in ["out", "up", "own", "info"] {
        assert_eq!(error(&store, name).await, Some(ErrorKind::NotFound), "{name}");
    }
    assert_eq!(fs::read(outside.path().join("b")).unwrap(), b"xyz");
    let mut placed = conformance::info("placed", Some(1));
    placed.place = Some("by/hook".to_owned());
    store.create(placed.clone(), Ticket::unwatched()).await.unwrap();
    assert_eq!(fs::read(dir.path().join("by/hook")).unwrap(), b"");
    assert!(opened(&store, "placed").await.info.place.unwrap().ends_with("/by/hook"));
    for place in ["/etc/wharf", "../x", "a/../../x", ".wharf/x", "x.info"] {
        let info = Info { id: id("evil"), place: Some(place.to_owned()), ..placed.clone() };
        let refused = store.create(info, Ticket::unwatched()).await.err().map(|error| error.kind);
        assert_eq!(refused, Some(ErrorKind::Failed), "{place}");
    }
}

#[actix_rt::test]
async fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let json = r#"{"Size":9}"#;
    fs::write(outside.path().join("x"), "target").unwrap();
    fs::write(outside.path().join("x.info"), json).unwrap();
    symlink(outside.path().join("x"), dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data.info"), json).unwrap();
    fs::write(dir.path().join("info"), "bytes").unwrap();
    symlink(outside.path().join("x.info"), dir.path().join("info.info")).unwrap();
    symlink(outside.path(), dir.path().join("parent")).unwrap();
    symlink(dir.path().join("nowhere"), dir.path().join("dangling")).unwrap();
    let store = store(dir.path());
    for name in ["data", "info", "parent/x", "dangling"] {
        assert_eq!(error(&store, name).await, Some(ErrorKind::NotFound), "{name}");
    }
    for name in ["data", "info", "parent/new", "dangling"] {
        let created = store.create(conformance::info(name, Some(1)), Ticket::unwatched()).await;
        assert!(created.is_err(), "{name}");
    }
    // A link that comes between opening and deleting leads a delete nowhere.
    let mut real = store.create(conformance::info("up/x", Some(9)), Ticket::unwatched()).await.unwrap();
    fs::rename(dir.path().join("up"), dir.path().join("moved")).unwrap();
    symlink(outside.path(), dir.path().join("up")).unwrap();
    real.blob.rest();
    assert_eq!(real.blob.write(0, vec![Bytes::from_static(b"evil")]).await.unwrap().len, 0);
    assert!(real.blob.save(real.info.clone()).await.is_err());
    real.blob.delete().await.unwrap();
    assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"target");
    assert_eq!(fs::read_to_string(outside.path().join("x.info")).unwrap(), json);
    assert_eq!(names(outside.path()), ["x", "x.info"]);
}

#[test]
fn a_second_store_on_the_same_directory_is_refused_until_the_first_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::start(1, 1).unwrap();
    let first = FileStore::open(config(dir.path(), Durability::None), Arc::clone(&disk)).unwrap();
    let second = FileStore::open(config(dir.path(), Durability::None), Arc::clone(&disk));
    let error = second.err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert_eq!(error.to_string(), format!("another wharf uses {}", dir.path().display()));
    drop(first);
    FileStore::open(config(dir.path(), Durability::None), disk).unwrap();
}

#[actix_rt::test]
async fn half_written_files_are_swept_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".wharf/tmp")).unwrap();
    fs::write(dir.path().join(".wharf/tmp/0"), "{\"ID\"").unwrap();
    fs::write(dir.path().join(".wharf/tmp/77"), "").unwrap();
    let store = store(dir.path());
    assert_eq!(names(&dir.path().join(".wharf/tmp")), Vec::<String>::new());
    store.create(conformance::info("a", Some(1)), Ticket::unwatched()).await.unwrap();
    assert_eq!(names(&dir.path().join(".wharf/tmp")), Vec::<String>::new());
    assert_eq!(names(dir.path()), [".wharf", "a", "a.info"]);
    assert_eq!(names(&dir.path().join(".wharf")), ["finals", "lock", "outbox", "staged", "tmp"]);
}

#[actix_rt::test]
async fn a_workshop_that_was_tidied_away_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    fs::remove_dir(dir.path().join(".wharf/tmp")).unwrap();
    for name in ["a", "b"] {
        store.create(conformance::info(name, Some(1)), Ticket::unwatched()).await.unwrap();
    }
    assert_eq!(names(dir.path()), [".wharf", "a", "a.info", "b", "b.info"]);
    assert_eq!(names(&dir.path().join(".wharf/tmp")), Vec::<String>::new());
}

#[actix_rt::test]
async fn a_marker_that_a_crash_left_does_not_cut_a_new_upload() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".wharf/staged")).unwrap();
    fs::write(dir.path().join(".wharf/staged/61"), "0").unwrap();
    let store = store(dir.path());
    let mut first = store.create(conformance::info("a", Some(6)), Ticket::unwatched()).await.unwrap();
    append(&mut first.blob, 0, b"ab").await;
    drop(first);
    assert_eq!(opened(&store, "a").await.stored, 2);
}

#[actix_rt::test]
async fn who_looks_often_is_told_the_same_waits_as_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for name in ["a", "b"] {
        store.create(conformance::info(name, Some(1)), Ticket::unwatched()).await.unwrap();
    }
    let waits = store.waits();
    assert_eq!(waits, Wait::in_report(&store.report()));
    let metadata = waits.iter().find(|wait| wait.kind == "disk_metadata").unwrap();
    assert!(!metadata.dwell_p99.is_zero(), "{waits:?}");
}

#[actix_rt::test]
async fn tentative_bytes_are_cut_off_after_a_restart() {
    for durability in [Durability::None, Durability::Always] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::start(1, 1).unwrap();
        let store = FileStore::open(config(dir.path(), durability), Arc::clone(&disk)).unwrap();
        let mut first = store.create(conformance::info("a/b", Some(6)), Ticket::unwatched()).await.unwrap();
        append(&mut first.blob, 0, b"ab").await;
        first.blob.stage(2).await.unwrap();
        append(&mut first.blob, 2, b"cdef").await;
        assert_eq!(names(&dir.path().join(".wharf/staged")), ["612f62"]);
        assert_eq!(fs::read(dir.path().join(".wharf/staged/612f62")).unwrap(), b"2");
        drop((first, store));
        let store = FileStore::open(config(dir.path(), durability), disk).unwrap();
        assert_eq!(store.finished_length(&id("a/b")).await.unwrap(), None);
        assert_eq!(opened(&store, "a/b").await.stored, 2);
        assert_eq!(fs::read(dir.path().join("a/b")).unwrap(), b"ab");
        assert_eq!(names(&dir.path().join(".wharf/staged")), Vec::<String>::new());
        // A marker that reaches past the end lengthens nothing.
        fs::write(dir.path().join(".wharf/staged/612f62"), "5").unwrap();
        assert_eq!(opened(&store, "a/b").await.stored, 2);
    }
}

#[actix_rt::test]
async fn each_acknowledged_offset_is_synced_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::start(1, 1).unwrap();
    let store = FileStore::open(config(dir.path(), Durability::Always), Arc::clone(&disk)).unwrap();
    let mut first = store.create(conformance::info("a", Some(6)), Ticket::unwatched()).await.unwrap();
    // The `.info` before it has its name, and the name.
    assert_eq!(disk.syncs(), 2);
    append(&mut first.blob, 0, b"ab").await;
    assert_eq!(disk.syncs(), 2);
    first.blob.sync().await.unwrap();
    assert_eq!(disk.syncs(), 3);
    first.blob.rest();
    first.blob.sync().await.unwrap();
    assert_eq!(disk.syncs(), 4);
    first.blob.stage(2).await.unwrap();
    append(&mut first.blob, 2, b"cd").await;
    first.blob.keep().await.unwrap();
    assert_eq!(disk.syncs(), 5);
    // The bytes, the `.info`, the name.
    first.blob.finish(conformance::finished(first.info.clone(), 4)).await.unwrap();
    assert_eq!(disk.syncs(), 8);
}

#[actix_rt::test]
async fn a_creation_that_cant_be_made_durable_leaves_its_id_free() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // The longest name that a file may have: its `.info` can be written, and can't be named.
    let long = "x".repeat(255);
    assert!(store.create(conformance::info(&long, Some(6)), Ticket::unwatched()).await.is_err());
    assert!(!dir.path().join(&long).exists());
    assert_eq!(fs::read_dir(dir.path().join(".wharf/tmp")).unwrap().count(), 0);
}

#[actix_rt::test]
async fn modes_are_as_configured() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let config = Config { file_mode: 0o600, dir_mode: 0o700, ..config(&dir.path().join("new"), Durability::None) };
    let store = FileStore::open(config, Disk::start(1, 1).unwrap()).unwrap();
    store.create(conformance::info("a/b", Some(6)), Ticket::unwatched()).await.unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join("new").join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["", "a", "a/b", "a/b.info", ".wharf"].map(mode), [0o700, 0o700, 0o600, 0o600, 0o700]);
}
