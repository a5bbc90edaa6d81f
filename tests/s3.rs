//! What is peculiar to S3: the layout, parts and tails, other hands in the bucket, and a service that fails. The chapters
//! that hold for every store run on S3 in `on_s3`.

mod support;

use support::{Bed, Server, soak};
use wharf_s3_testbed::Proxy;

const MIB: usize = 1 << 20;

fn server() -> Server {
    Server::start_s3(Bed::start(), None, &[])
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at / 4099) as u8).collect()
}

/// The object's name.
fn name<'a>(server: &'a Server, path: &'a str) -> &'a str {
    server.id_of(path).split('+').next().expect("a name")
}

/// What is in the bucket, but for wharf's own notes.
fn keys(server: &Server) -> Vec<String> {
    server.bed().objects().into_keys().filter(|key| !key.starts_with(".wharf/")).collect()
}

/// An upload goes up in parts of the preferred size, its end is one of its own, and nothing is left but object and info.
#[test]
fn an_upload_becomes_one_object() {
    let server = server();
    let bytes = bytes(12 * MIB + 3);
    let metadata = ("Upload-Metadata", "filename bWVuw7wudHh0,filetype dGV4dC9wbGFpbg==");
    let path = server.create_with(&[("Upload-Length", &bytes.len().to_string()), metadata]);
    server.patched(&path, 0, &bytes);
    let name = name(&server, &path).to_owned();
    assert_eq!(keys(&server), [name.clone(), format!("{name}.info")]);
    let object = &server.bed().objects()[&name];
    assert_eq!(object.bytes, bytes);
    assert_eq!(object.content_type.as_deref(), Some("text/plain"));
    assert_eq!(object.metadata.get("filename").map(String::as_str), Some("men?.txt"));
    assert_eq!(server.bed().calls().count("UploadPart"), 3);
    assert!(server.bed().multipart_uploads().is_empty());
    assert_eq!(server.content(&path), bytes);
}

/// Each request costs about as much as a MiB of bytes does: nothing is asked for that wharf knows.
#[test]
fn an_upload_of_one_part_takes_five_requests() {
    let server = server();
    let bytes = bytes(MIB);
    let before = server.bed().calls().counts;
    let path = server.create(bytes.len() as u64);
    server.patched(&path, 0, &bytes);
    let after = server.bed().calls().counts;
    let made = |name: &str| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
    let made: Vec<_> = after.keys().map(|name| (&name[..], made(name))).filter(|(_, count)| *count > 0).collect();
    // The info is put twice: before the first byte, and to mark that the end is over.
    let expected = [("CompleteMultipartUpload", 1), ("CreateMultipartUpload", 1), ("PutObject", 2), ("UploadPart", 1)];
    assert_eq!(made, expected);
    // What S3 alone knows is asked for once somebody wants to know it.
    let date = server.get(&path, &[]).the("Last-Modified").to_owned();
    assert_eq!(server.get(&path, &[]).the("Last-Modified"), date);
    assert_eq!(server.bed().calls().count("HeadObject") - before.get("HeadObject").unwrap_or(&0), 1);
}

/// What is too little for a part is acknowledged as the tail, and found again after a restart.
#[test]
fn a_tail_is_kept_and_gone_on_with() {
    let mut server = server();
    let bytes = bytes(7 * MIB);
    let path = server.create(bytes.len() as u64);
    let tail = format!("{}.part", name(&server, &path));
    for (from, to) in [(0, 1), (1, MIB), (MIB, 6 * MIB), (6 * MIB, 7 * MIB)] {
        server.patched(&path, from as u64, &bytes[from..to]);
        if to < 7 * MIB {
            server.kill();
            server.start_again();
            assert_eq!(server.offset(&path), to as u64);
        }
    }
    assert!(!keys(&server).contains(&tail));
    assert_eq!(server.content(&path), bytes);
}

/// A length that is declared when all bytes are there completes the upload, tail and all.
#[test]
fn a_length_declared_last_keeps_the_tail() {
    let server = server();
    let path = server.create_with(&[("Upload-Defer-Length", "1")]);
    server.patched(&path, 0, b"hello");
    server.patch_with(&path, 5, &[("Upload-Length", "5")], b"").appended(5);
    assert_eq!(server.content(&path), b"hello");
}

/// An id is an object's name and the right multipart upload's; one that was aborted by somebody is no finished one.
#[test]
fn other_hands_are_noticed() {
    let server = server();
    let path = server.create(5);
    assert_eq!(server.head(&format!("{path}x")).status, 404);
    assert_eq!(server.head(path.split('+').next().expect("a name")).status, 404);
    let aborted = server.bed().multipart_uploads().remove(0);
    server.bed().abort_upload(&aborted.upload_id);
    let mut server = server;
    server.restart();
    assert_eq!(server.head(&path).status, 404);
    server.unharmed();
}

/// Large partial uploads are put together by S3, small ones by reading them; the others are not touched.
#[test]
fn partials_become_one_object() {
    let server = server();
    let (large, small) = (bytes(5 * MIB + 1), bytes(100));
    let partial = |bytes: &[u8]| server.uploaded_with(&[("Upload-Concat", "partial")], bytes);
    let (large_path, small_path) = (partial(&large), partial(&small));
    for (order, copies) in [([&large_path, &small_path], 1), ([&small_path, &large_path], 0)] {
        let copied = server.bed().calls().count("UploadPartCopy");
        let concat = format!("final;{} {}", order[0], order[1]);
        let path = server.create_with(&[("Upload-Concat", &concat)]);
        let expected = order.map(|path| if path == &large_path { large.clone() } else { small.clone() }).concat();
        assert_eq!(server.content(&path), expected);
        assert_eq!(server.bed().calls().count("UploadPartCopy") - copied, copies);
    }
    assert!(server.bed().multipart_uploads().is_empty());
}

/// A delete in the middle leaves nothing: no part, no tail, no info.
#[test]
fn a_delete_leaves_nothing() {
    let server = server();
    let bytes = bytes(6 * MIB);
    let path = server.create(100 * MIB as u64);
    server.patched(&path, 0, &bytes);
    let _stalled = server.stalled_patch(&path, bytes.len() as u64, 50 * MIB as u64, &bytes);
    assert_eq!(server.delete(&path).status, 204);
    assert_eq!(keys(&server), Vec::<String>::new());
    assert!(server.bed().multipart_uploads().is_empty());
}

/// More bytes with a checksum than are kept until they are checked are refused, and nothing of them stays.
#[test]
fn a_checked_body_has_a_largest_size() {
    let server = Server::start_s3(Bed::start(), None, &["--set", "storage.s3.tentative_max_bytes=1048576"]);
    let path = server.create(3 * MIB as u64);
    let digest = ("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let response = server.patch_with(&path, 0, &[digest], &bytes(3 * MIB));
    assert_eq!(response.status, 413, "{response:?}");
    assert_eq!(server.offset(&path), 0);
}

/// However S3 fails (it refuses, breaks off, loses answers), every upload arrives whole, and nothing else is left.
#[test]
fn a_service_that_fails_costs_time_only() {
    let uploads = soak::setting("WHARF_SOAK_UPLOADS", 12);
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    let endpoint = proxy.endpoint();
    let server = Server::start_s3(bed, Some(&endpoint), &["--set", "timeouts.store_secs=120"]);
    proxy.random(soak::setting("WHARF_SOAK_SEED", 1), 0.1);
    for number in 0..uploads {
        let bytes = bytes(1 + (number as usize * 3 * MIB + number as usize * 77) % (13 * MIB));
        let path = server.create(bytes.len() as u64);
        let mut offset = 0;
        while offset < bytes.len() {
            let end = (offset + 4 * MIB).min(bytes.len());
            let response = server.patch_with(&path, offset as u64, &[], &bytes[offset..end]);
            assert!([204, 500, 503].contains(&response.status), "{response:?}");
            offset = usize::try_from(server.offset(&path)).expect("an offset");
        }
        assert_eq!(server.content(&path), bytes);
    }
    proxy.calm();
    let left = keys(&server);
    assert!(left.iter().all(|key| !key.ends_with(".part")), "{left:?}");
    assert_eq!(left.len(), 2 * uploads as usize, "an object and an info each: {left:?}");
    assert!(server.bed().multipart_uploads().is_empty(), "{:?}", server.bed().multipart_uploads());
}
