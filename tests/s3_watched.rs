//! What operators see of uploads in S3: parts, pages of the bucket, and the calls that were made.

mod support;

use support::{Bed, Server, admin::ADMIN};

const MIB: usize = 1 << 20;

fn watched() -> Server {
    Server::start_s3(Bed::start(), None, &ADMIN)
}

/// The parts of an upload, as (number, bytes, state).
fn parts(server: &Server, path: &str) -> Vec<(u64, u64, String)> {
    let told = server.upload_told(path);
    let parts = told["parts"].as_array().unwrap_or_else(|| panic!("no parts in {told}"));
    let number = |part: &serde_json::Value, name: &str| part[name].as_u64().expect("a number");
    let part = |part| (number(part, "number"), number(part, "size_bytes"), part["state"].as_str().unwrap().to_owned());
    parts.iter().map(part).collect()
}

/// The owner tells of its parts while it lives; without one they are looked up, and the bucket stays as it is.
#[test]
fn parts_are_shown_with_an_owner_and_without() {
    let mut server = watched();
    let path = server.create(30 * MIB as u64);
    let bytes = vec![7; 17 * MIB];
    let sender = server.stalled_patch(&path, 0, 30 * MIB as u64, &bytes);
    let stored = |number| (number, 8 * MIB as u64, "stored".to_owned());
    support::wait_until("two parts are stored", || parts(&server, &path) == [stored(1), stored(2)]);
    assert_eq!(server.upload_told(&path)["state"], "receiving");
    sender.reset();
    support::wait_until("the reset is noticed", || server.upload_told(&path)["state"] == "idle");
    assert_eq!(server.offset(&path), 17 * MIB as u64);
    server.restart();
    let before = server.bed().objects();
    let told = server.upload_told(&path);
    assert_eq!((&told["is_live"], &told["state"]), (&false.into(), &"idle".into()));
    assert_eq!(told["offset_bytes"], 17 * MIB);
    assert_eq!(parts(&server, &path), [stored(1), stored(2)]);
    assert_eq!(server.told("/uploads")["uploads"][0]["is_live"], false, "looking has started no owner");
    assert_eq!(server.bed().objects(), before);
    let finished = server.uploaded(b"all of it");
    server.restart();
    let told = server.upload_told(&finished);
    assert_eq!(
        (&told["state"], &told["offset_bytes"], &told["is_live"]),
        (&"finished".into(), &9.into(), &false.into())
    );
}

/// Each upload is in the list once, whatever lies between the infos, and whatever page ends where.
#[test]
fn a_bucket_is_listed_in_pages() {
    let mut server = watched();
    let mut expected: Vec<String> = (0..9).map(|_| server.id_of(&server.create(100)).to_owned()).collect();
    // Some have an object, or a tail.
    expected.extend((0..3).map(|_| server.id_of(&server.uploaded(b"done")).to_owned()));
    let begun = server.create(100);
    server.patched(&begun, 0, b"begun");
    expected.push(server.id_of(&begun).to_owned());
    server.restart();
    expected.sort();
    for limit in [1, 2, 5, 1000] {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.told(&format!("/uploads?limit={limit}{cursor}"));
            let uploads = page["uploads"].as_array().expect("a list");
            ids.extend(uploads.iter().map(|upload| upload["id"].as_str().expect("an id").to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        ids.sort();
        assert_eq!(ids, expected, "{limit} a page");
    }
    assert_eq!(server.ask("GET", "/readyz").status, 200);
}

/// Calls are timed by S3's own names, operations by those of the store.
#[test]
fn calls_of_s3_are_counted() {
    let server = watched();
    server.uploaded(&vec![1; 9 * MIB]);
    let sample = |operation: &str, store: &str| {
        server.metric(&format!(
            "wharf_store_operation_duration_seconds_count{{store=\"{store}\",operation=\"{operation}\"}}"
        ))
    };
    let calls = server.bed().calls();
    for operation in ["UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload"] {
        assert_eq!(sample(operation, "s3_api") as u64, calls.count(operation), "{operation}");
    }
    assert_eq!((sample("create", "s3"), sample("finish", "s3")), (1.0, 1.0));
}
