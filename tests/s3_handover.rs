//! A bucket in which tusd has begun uploads, and one that is handed back to it: keys, ids, parts, tails and the fields of
//! `.info`.

mod support;

use serde_json::Value;
use support::{Bed, Bucket, Server};
use wharf_s3_testbed::{Options, UploadIds, Visitor};

const MIB: usize = 1 << 20;
/// A name as tusd makes them.
const NAME: &str = "6f0e00000000000000000000000000c4";
const SINGLE: &str = r#""IsPartial":false,"IsFinal":false,"PartialUploads":null"#;
const PARTIAL: &str = r#""IsPartial":true,"IsFinal":false,"PartialUploads":null"#;

fn server() -> Server {
    Server::start_in(Bucket::start(), None, &[])
}

fn visitor(server: &Server) -> &Visitor {
    server.bucket().visitor()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at / 4099) as u8).collect()
}

/// What tusd has of an upload in the bucket.
struct Begun<'a> {
    name: &'a str,
    /// `None` while it is deferred.
    length: Option<usize>,
    /// Parts with their numbers.
    parts: Vec<(i32, &'a [u8])>,
    tail: &'a [u8],
    roles: &'a str,
}

/// An upload that has only been created.
const CREATED: Begun<'static> = Begun { name: NAME, length: Some(11), parts: Vec::new(), tail: b"", roles: SINGLE };

impl Begun<'_> {
    /// Lays it out as tusd does. Returns its path.
    fn lay_out(&self, server: &Server) -> String {
        let visitor = visitor(server);
        let id = visitor.begin(self.name, &[("filename", "men?.txt"), ("filetype", "text/plain")], Some("text/plain"));
        let id = format!("{}+{id}", self.name);
        visitor.put(&format!("{}.info", self.name), self.description(server, &id));
        for (number, bytes) in &self.parts {
            visitor.put_part(self.name, id.split_at(self.name.len() + 1).1, *number, bytes.to_vec());
        }
        if !self.tail.is_empty() {
            visitor.put(&format!("{}.part", self.name), self.tail.to_vec());
        }
        format!("{}{id}", server.base)
    }

    fn description(&self, server: &Server, id: &str) -> String {
        let place = visitor(server).place();
        format!(
            r#"{{"ID":"{id}","Size":{},"SizeIsDeferred":{},"Offset":0,"MetaData":{{"filename":"menü.txt","filetype":"text/plain"}},{},"Storage":{{"Bucket":"{}","Key":"{}{}","Type":"s3store"}}}}"#,
            self.length.unwrap_or(0),
            self.length.is_none(),
            self.roles,
            place.bucket,
            place.prefix,
            self.name,
        )
    }
}

/// Asserts that an upload with this name is whole, and that only what tusd leaves of a finished one is left.
#[track_caller]
fn is_whole(server: &Server, path: &str, name: &str, bytes: &[u8]) {
    let response = server.get(path, &[]);
    assert_eq!((response.status, response.the("Content-Type")), (200, "text/plain"));
    assert!(response.body == bytes);
    let object = visitor(server).object(name).expect("an object");
    assert!(object.bytes == bytes);
    assert_eq!(object.content_type.as_deref(), Some("text/plain"));
    assert_eq!(object.metadata.get("filename").map(String::as_str), Some("men?.txt"));
    assert_eq!(server.names(), [name.to_owned(), format!("{name}.info")]);
    assert!(visitor(server).multipart_uploads().is_empty());
}

/// Whatever tusd has of an upload, it goes on from there, is finished, read and deleted; its metadata is unharmed.
#[test]
fn what_tusd_began_goes_on() {
    let bytes = bytes(12 * MIB);
    let (five, six) = (&bytes[..5 * MIB], &bytes[5 * MIB..11 * MIB]);
    for (parts, tail) in [
        (vec![], &b""[..]),
        (vec![], &bytes[..1]),
        (vec![(1, five)], b""),
        (vec![(1, five), (2, six)], &bytes[11 * MIB..11 * MIB + 77]),
        (vec![(1, five)], &bytes[5 * MIB..11 * MIB]),
    ] {
        for length in [Some(bytes.len()), None] {
            let server = server();
            let path = Begun { length, parts: parts.clone(), tail, ..CREATED }.lay_out(&server);
            let offset = parts.iter().map(|part| part.1.len()).sum::<usize>() + tail.len();
            let head = server.head(&path);
            assert_eq!((head.status, head.offset()), (200, offset as u64));
            assert_eq!(head.the("Upload-Metadata"), "filename bWVuw7wudHh0,filetype dGV4dC9wbGFpbg==");
            let (declared, whole) = (("Upload-Length", bytes.len().to_string()), bytes.len() as u64);
            let deferred = head.header("Upload-Defer-Length").map(|_| (declared.0, declared.1.as_str()));
            assert_eq!(deferred.is_some(), length.is_none());
            let headers: Vec<_> = deferred.into_iter().collect();
            server.patched(&path, offset as u64, &bytes[offset..offset + 3]);
            server.patch_with(&path, offset as u64 + 3, &headers, &bytes[offset + 3..]).appended(whole);
            is_whole(&server, &path, NAME, &bytes);
            assert_eq!(server.delete(&path).status, 204);
            assert!(server.names().is_empty(), "{:?}", server.names());
        }
    }
}

/// An upload that tusd began and did not get far with is deleted, with its parts and its tail.
#[test]
fn what_tusd_began_is_deleted() {
    let server = server();
    let part = bytes(5 * MIB);
    let path = Begun { length: Some(6 * MIB), parts: vec![(1, &part)], tail: b"tail", ..CREATED }.lay_out(&server);
    assert_eq!(server.delete(&path).status, 204);
    assert!(server.names().is_empty(), "{:?}", server.names());
    assert!(visitor(&server).multipart_uploads().is_empty());
    server.head(&path).gone();
}

/// An upload is finished when its multipart upload is gone and its object is there.
#[test]
fn what_tusd_finished_is_read_and_deleted() {
    let server = server();
    let path = Begun { parts: vec![(1, b"hello world")], ..CREATED }.lay_out(&server);
    visitor(&server).complete(NAME, server.id_of(&path).split_once('+').expect("an id").1);
    let head = server.head(&path);
    assert_eq!((head.offset(), head.the("Upload-Length")), (11, "11"));
    is_whole(&server, &path, NAME, b"hello world");
    server.patch(&path, 11, b"").appended(11);
    assert_eq!(server.delete(&path).status, 204);
    assert!(server.names().is_empty(), "{:?}", server.names());
}

/// Partial uploads of tusd's are put together with wharf's.
#[test]
fn partial_uploads_of_both_are_put_together() {
    let server = server();
    let large = bytes(5 * MIB + 1);
    let theirs = Begun { length: Some(large.len()), parts: vec![(1, &large[..5 * MIB])], roles: PARTIAL, ..CREATED };
    let theirs = theirs.lay_out(&server);
    let ours = server.uploaded_with(&[("Upload-Concat", "partial")], b"hello");
    let path = server.create_with(&[("Upload-Concat", &format!("final;{theirs} {ours}"))]);
    server.patched(&theirs, 5 * MIB as u64, &large[5 * MIB..]);
    support::wait_until("the final upload is complete", || server.head(&path).header("Upload-Offset").is_some());
    assert!(server.content(&path) == [&large[..], b"hello"].concat());
}

/// A part that tusd failed to store leaves a gap, which shifts nothing: what counts ends before it.
#[test]
fn a_gap_of_tusds_shifts_no_bytes() {
    let mut server = server();
    let bytes = bytes(16 * MIB);
    let parts = vec![(1, &bytes[..5 * MIB]), (3, &bytes[10 * MIB..15 * MIB])];
    let path = Begun { length: Some(bytes.len()), parts, ..CREATED }.lay_out(&server);
    assert_eq!(server.offset(&path), 5 * MIB as u64);
    server.patched(&path, 5 * MIB as u64, &bytes[5 * MIB..11 * MIB]);
    server.restart();
    assert_eq!(server.offset(&path), 11 * MIB as u64);
    server.patched(&path, 11 * MIB as u64, &bytes[11 * MIB..]);
    is_whole(&server, &path, NAME, &bytes);
}

/// Ids that hooks have chosen: the object's name may have slashes, and a `+`; the last one ends it.
#[test]
fn ids_that_hooks_have_chosen_are_known() {
    for name in ["cat.jpg", "photos/2024/cat.jpg", "one+one", "with space"] {
        let server = server();
        let path = Begun { name, tail: b"hello", ..CREATED }.lay_out(&server).replace(' ', "%20");
        assert_eq!(server.offset(&path), 5, "{name}");
        server.patched(&path, 5, b" world");
        is_whole(&server, &path, name, b"hello world");
    }
}

/// Some services have `+`, `/` and `=` in the ids of multipart uploads: a name of 32 hexadecimal digits ends at the first.
#[test]
fn any_id_of_a_multipart_upload_will_do() {
    // Only a bed makes them on demand.
    let options = Options { upload_ids: UploadIds::Reserved, ..Options::default() };
    let bed = Bed::start_with(options).expect("the bed listens");
    let mut server = Server::start_in(Bucket::of(bed, "with/prefix/"), None, &[]);
    let theirs = Begun { tail: b"hello", ..CREATED }.lay_out(&server);
    let ours = server.create(11);
    server.patched(&ours, 0, b"hello");
    for path in [&theirs, &ours] {
        let multipart = server.id_of(path).split_once('+').expect("an id").1;
        assert!(multipart.contains('+') && multipart.contains('/'), "{multipart}");
    }
    server.restart();
    for path in [&theirs, &ours] {
        assert_eq!(server.offset(path), 5);
        server.patched(path, 5, b" world");
        assert_eq!(server.content(path), b"hello world");
        let partial = server.uploaded_with(&[("Upload-Concat", "partial")], b"partial");
        let path = server.create_with(&[("Upload-Concat", &format!("final;{partial}"))]);
        assert_eq!(server.content(&path), b"partial");
        assert_eq!(server.delete(&path).status, 204);
    }
}

/// An id whose multipart half is not the one in `.info` is nobody's, and what is done with it harms nothing.
#[test]
fn half_an_id_is_none() {
    let server = server();
    let path = Begun { tail: b"hello", ..CREATED }.lay_out(&server);
    let (name, multipart) = path.split_once('+').expect("an id");
    let other = visitor(&server).begin(NAME, &[], None);
    let wrong = [
        name.to_owned(),
        format!("{name}+"),
        format!("{name}+{other}"),
        format!("{path}x"),
        format!("{name}+{}", &multipart[1..]),
        format!("{name}+{}", multipart.to_uppercase()),
        format!("{name}.info+{multipart}"),
        format!("{name}.part+{multipart}"),
        format!("{}+{multipart}", server.base),
    ];
    for wrong in wrong.iter().filter(|wrong| **wrong != path) {
        for response in [server.head(wrong), server.get(wrong, &[]), server.patch(wrong, 5, b" world")] {
            assert_eq!(response.status, 404, "{wrong}");
            response.gone();
        }
        assert_eq!(server.delete(wrong).status, 404, "{wrong}");
    }
    assert_eq!(visitor(&server).multipart_uploads().len(), 2);
    visitor(&server).abort(NAME, &other);
    server.patched(&path, 5, b" world");
    is_whole(&server, &path, NAME, b"hello world");
}

/// A multipart upload that a lifecycle rule has aborted is not taken for a finished one: without its object, with one of
/// another length, and while its owner is at work.
#[test]
fn an_aborted_upload_is_not_finished() {
    let mut server = server();
    let abort = |server: &Server, path: &str| {
        let (name, multipart) = server.id_of(path).split_once('+').expect("an id");
        visitor(server).abort(name, multipart);
    };
    let part = bytes(5 * MIB);
    let theirs = Begun { length: Some(5 * MIB), parts: vec![(1, &part)], ..CREATED }.lay_out(&server);
    abort(&server, &theirs);
    assert_eq!(server.head(&theirs).status, 404);
    visitor(&server).put(NAME, "of another length");
    assert_eq!(server.head(&theirs).status, 404);
    assert_eq!(server.get(&theirs, &[]).status, 404);

    let ours = server.create(11 * MIB as u64);
    server.patched(&ours, 0, &bytes(6 * MIB));
    abort(&server, &ours);
    let response = server.patch(&ours, 6 * MIB as u64, &bytes(11 * MIB)[6 * MIB..]);
    assert!(response.status >= 400, "{response:?}");
    support::wait_until("a new owner has looked", || server.head(&ours).status == 404);
    assert_eq!(server.get(&ours, &[]).status, 404);

    // All bytes are there, and only the end is missing.
    let deferred = server.create_with(&[("Upload-Defer-Length", "1")]);
    server.patched(&deferred, 0, &part);
    abort(&server, &deferred);
    let response = server.patch_with(&deferred, part.len() as u64, &[("Upload-Length", "5242880")], b"");
    assert!(response.status >= 400, "{response:?}");
    support::wait_until("a new owner has looked", || server.head(&deferred).status == 404);
    server.restart();
    for path in [&theirs, &ours, &deferred] {
        assert_eq!(server.head(path).status, 404);
    }
    server.unharmed();
}

/// Where a description says that an upload lies does not count: nothing else in the bucket is read or deleted by it.
#[test]
fn a_described_place_is_not_believed() {
    let server = server();
    visitor(&server).put("secret", "hello world");
    let path = Begun { tail: b"hello", ..CREATED }.lay_out(&server);
    let json =
        CREATED.description(&server, server.id_of(&path)).replace(&format!("{NAME}\",\"Type"), "secret\",\"Type");
    assert!(json.contains("secret"));
    visitor(&server).put(&format!("{NAME}.info"), json);
    assert_eq!(server.offset(&path), 5);
    server.patched(&path, 5, b" earth");
    assert_eq!(server.content(&path), b"hello earth");
    assert_eq!(server.delete(&path).status, 204);
    assert_eq!(server.names(), ["secret"]);
}

/// What a crash may leave: a tail whose bytes are in a part. It is not counted, and gone when the upload is finished.
#[test]
fn a_stale_tail_does_not_count() {
    let server = server();
    let bytes = bytes(6 * MIB);
    let path = Begun { length: Some(bytes.len()), parts: vec![(1, &bytes[..5 * MIB])], ..CREATED }.lay_out(&server);
    visitor(&server).put_with(&format!("{NAME}.part"), bytes[..3].to_vec(), &[("wharf-start", "0")]);
    assert_eq!(server.offset(&path), 5 * MIB as u64);
    server.patched(&path, 5 * MIB as u64, &bytes[5 * MIB..]);
    is_whole(&server, &path, NAME, &bytes);
}

/// What tusd makes of an upload that it finds in the bucket.
struct Seen {
    offset: u64,
    info: Value,
    parts: Vec<i32>,
}

/// Looks at an upload as tusd does, which sums up the parts and the tail and takes the count of parts for the last number.
fn seen(server: &Server, path: &str) -> Seen {
    let visitor = visitor(server);
    let (name, multipart) = server.id_of(path).split_once('+').expect("an id");
    let parts = visitor.parts(name, multipart).expect("a multipart upload");
    let tail = visitor.object(&format!("{name}.part")).map_or(0, |tail| tail.size);
    let json = visitor.object(&format!("{name}.info")).expect("an info").bytes;
    Seen {
        offset: parts.values().map(|part| part.size).sum::<u64>() + tail,
        info: serde_json::from_slice(&json).expect("JSON"),
        parts: parts.into_keys().collect(),
    }
}

/// Goes on as tusd does: takes the tail away, puts it before the rest, which becomes the next part, and completes.
fn finish_as_tusd(server: &Server, path: &str, rest: &[u8]) {
    let visitor = visitor(server);
    let (name, multipart) = server.id_of(path).split_once('+').expect("an id");
    let tail = visitor.object(&format!("{name}.part")).map(|tail| tail.bytes).unwrap_or_default();
    visitor.remove(&format!("{name}.part"));
    let number = seen(server, path).parts.len() as i32 + 1;
    visitor.put_part(name, multipart, number, [&tail[..], rest].concat());
    visitor.complete(name, multipart);
}

/// Whatever wharf has done with an upload, as long as no part has failed: tusd sees the offset that was told, parts that
/// are numbered from 1 on without a gap, and its own fields in `.info`. What it does then, wharf understands.
#[test]
fn what_is_handed_back_is_what_tusd_expects() {
    let bytes = bytes(18 * MIB);
    let metadata = ("Upload-Metadata", "filename bWVuw7wudHh0,filetype dGV4dC9wbGFpbg==");
    for length in [("Upload-Length", bytes.len().to_string()), ("Upload-Defer-Length", "1".to_owned())] {
        let mut server = server();
        let path = server.create_with(&[(length.0, &length.1), metadata]);
        let (mut at, is_deferred) = (0, length.0 == "Upload-Defer-Length");
        for step in [0, 1, 100, 5 * MIB, 3, 6 * MIB, MIB, MIB] {
            server.patched(&path, at as u64, &bytes[at..at + step]);
            at += step;
            let seen = seen(&server, &path);
            assert_eq!(seen.offset, at as u64, "after {step} bytes");
            assert!(seen.parts.iter().copied().eq(1..=seen.parts.len() as i32), "{:?}", seen.parts);
        }
        // A request that breaks off, and an end in order.
        let _stalled = server.stalled_patch(&path, at as u64, 3 * MIB as u64, &bytes[at..at + 77]);
        assert!(server.stop().success());
        at += 77;
        let seen = seen(&server, &path);
        assert_eq!(seen.offset, at as u64);
        let (id, place) = (server.id_of(&path).to_owned(), visitor(&server).place());
        let expected = serde_json::json!({
            "ID": id, "Size": if is_deferred { 0 } else { bytes.len() }, "SizeIsDeferred": is_deferred, "Offset": 0,
            "MetaData": {"filename": "menü.txt", "filetype": "text/plain"},
            "IsPartial": false, "IsFinal": false, "PartialUploads": null,
            "Storage": {
                "Bucket": place.bucket, "Type": "s3store",
                "Key": format!("{}{}", place.prefix, id.split('+').next().expect("a name")),
            },
        });
        let mut info = seen.info;
        info.as_object_mut().expect("an object").remove("Wharf").expect("wharf's own fields");
        assert_eq!(info, expected);
        // tusd writes it anew when it declares a length, and drops what it does not know.
        let declared = serde_json::to_vec(&expected).expect("JSON");
        let declared =
            String::from_utf8(declared).expect("text").replace("\"SizeIsDeferred\":true", "\"SizeIsDeferred\":false");
        if is_deferred {
            let name = id.split('+').next().expect("a name");
            let size = format!("\"Size\":{}", bytes.len());
            visitor(&server).put(&format!("{name}.info"), declared.replace("\"Size\":0", &size));
        }
        finish_as_tusd(&server, &path, &bytes[at..]);
        server.start_again();
        let head = server.head(&path);
        assert_eq!((head.offset(), head.the("Upload-Length")), (bytes.len() as u64, bytes.len().to_string().as_str()));
        is_whole(&server, &path, id.split('+').next().expect("a name"), &bytes);
    }
}
