//! Concatenation and concatenation-unfinished.

mod support;

use support::{OFFSET_TYPE, Server, wait_until};

const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");

/// A finished partial upload with these bytes.
fn partial(server: &Server, bytes: &[u8]) -> String {
    server.uploaded_with(&[PARTIAL], bytes)
}

/// A partial upload of this length without bytes.
fn empty_partial(server: &Server, length: u64) -> String {
    server.create_with(&[PARTIAL, ("Upload-Length", &length.to_string())])
}

fn list(partials: &[&str]) -> String {
    format!("final;{}", partials.join(" "))
}

fn concatenated(server: &Server, partials: &[&str]) -> String {
    server.create_with(&[("Upload-Concat", &list(partials))])
}

/// Waits until a final upload has all its bytes.
fn completed(server: &Server, path: &str, bytes: &[u8]) {
    wait_until("the final upload is complete", || server.head(path).header("Upload-Offset").is_some());
    let response = server.head(path);
    assert_eq!((response.offset(), response.the("Upload-Length")), (bytes.len() as u64, &*bytes.len().to_string()));
    assert!(server.content(path) == bytes);
}

/// Concatenation: the final upload is the partial ones in their order; HEAD tells what it is made of.
#[test]
fn a_final_upload_is_its_partials_in_order() {
    let server = Server::start(&[]);
    assert!(server.announces("concatenation") && server.announces("concatenation-unfinished"));
    let (hello, world) = (partial(&server, b"hello"), partial(&server, b" world"));
    for (parts, expected) in [
        ([&hello, &world], b"hello world".as_slice()),
        ([&world, &hello], b" worldhello"),
        ([&hello, &hello], b"hellohello"),
    ] {
        let parts = parts.map(String::as_str);
        let path = concatenated(&server, &parts);
        completed(&server, &path, expected);
        assert_eq!(server.head(&path).the("Upload-Concat"), list(&parts));
    }
    assert_eq!(server.content(&hello), b"hello", "the partial uploads stay");
}

/// Concatenation: HEAD of a partial upload tells its offset and that it is one.
#[test]
fn head_tells_that_an_upload_is_partial() {
    let server = Server::start(&[]);
    let path = empty_partial(&server, 5);
    for (offset, bytes) in [(0, b"hel".as_slice()), (3, b"lo"), (5, b"")] {
        let response = server.head(&path);
        assert_eq!((response.offset(), response.the("Upload-Concat")), (offset, "partial"));
        server.patched(&path, offset, bytes);
    }
    assert_eq!(server.head(&server.create(5)).header("Upload-Concat"), None);
}

/// Headers, Upload-Concat: URLs may be absolute or relative, and come back as they were sent.
#[test]
fn partial_urls_may_be_absolute() {
    let mut server = Server::start(&[]);
    let (hello, world) = (partial(&server, b"hello"), partial(&server, b" world"));
    let sent = format!("final;http://{}{hello} https://elsewhere.example{world}", server.address);
    let path = server.create_with(&[("Upload-Concat", &sent)]);
    completed(&server, &path, b"hello world");
    assert_eq!(server.head(&path).the("Upload-Concat"), sent);
    server.restart();
    assert_eq!(server.head(&path).the("Upload-Concat"), sent);
}

/// Headers, Upload-Concat: `partial`, or `final;` with URLs, and nothing else.
#[test]
fn a_malformed_concat_is_refused() {
    let server = Server::start(&[]);
    let hello = partial(&server, b"hello");
    for value in
        ["final", "final;", "final; ", "Partial", "partial;", "part", "finally;/files/x", &format!("FINAL;{hello}")]
    {
        let response = server.post(&[("Upload-Concat", value), ("Upload-Length", "5")], b"");
        response.refused(400, "ERR_INVALID_CONCAT");
    }
}

/// Concatenation: partial uploads that do not exist cannot be concatenated, wherever their URL leads.
#[test]
fn unknown_partials_are_not_found() {
    let server = Server::start(&[]);
    let hello = partial(&server, b"hello");
    let unknown = format!("{}00000000000000000000000000000000", server.base);
    for url in [unknown.as_str(), "/elsewhere/x", "/files/../outside.txt", "/files/%2e%2e/outside.txt", "/files/"] {
        let response = server.post(&[("Upload-Concat", &list(&[&hello, url]))], b"");
        assert!(matches!(response.status, 400 | 404), "{url}: {response:?}");
    }
    server.post(&[("Upload-Concat", &list(&[&unknown]))], b"").refused(404, "ERR_UPLOAD_NOT_FOUND");
    server.unharmed();
}

/// Concatenation: PATCH on a final upload is 403 and changes neither it nor its partial uploads.
#[test]
fn a_final_upload_cannot_be_patched() {
    let server = Server::start(&[]);
    let hello = partial(&server, b"hello");
    let open = empty_partial(&server, 6);
    let (done, waiting) = (concatenated(&server, &[&hello]), concatenated(&server, &[&hello, &open]));
    completed(&server, &done, b"hello");
    for path in [&done, &waiting] {
        for offset in [0, 5, 11] {
            server.patch(path, offset, b"X").refused(403, "ERR_MODIFY_FINAL");
        }
    }
    assert_eq!((server.content(&done), server.content(&hello)), (b"hello".to_vec(), b"hello".to_vec()));
    server.patched(&open, 0, b" world");
    completed(&server, &waiting, b"hello world");
}

/// Concatenation: the length is the sum, whatever the client says, and a final upload is created without bytes.
#[test]
fn the_length_of_a_final_upload_is_the_sum() {
    let server = Server::start(&["--set", "tus.max_size_bytes=10"]);
    let (hello, world) = (partial(&server, b"hello"), partial(&server, b" worl"));
    let path = server.create_with(&[("Upload-Concat", &list(&[&hello, &world])), ("Upload-Length", "3")]);
    completed(&server, &path, b"hello worl");
    server.post(&[("Upload-Concat", &list(&[&hello, &hello, &world]))], b"").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    let response = server.post(&[("Upload-Concat", &list(&[&hello])), OFFSET_TYPE], b"more");
    assert_eq!(response.status, 403, "{response:?}");
    let nothing = partial(&server, b"");
    completed(&server, &concatenated(&server, &[&nothing, &nothing]), b"");
}

/// Concatenation: metadata of the partial uploads is not the final upload's.
#[test]
fn metadata_is_not_inherited() {
    let server = Server::start(&[]);
    let hello = server.uploaded_with(&[PARTIAL, ("Upload-Metadata", "filename aGVsbG8=")], b"hello");
    assert_eq!(server.head(&concatenated(&server, &[&hello])).header("Upload-Metadata"), None);
    let own = ("Upload-Metadata", "name ZmluYWw=");
    let path = server.create_with(&[("Upload-Concat", &list(&[&hello])), own]);
    assert_eq!(server.head(&path).the("Upload-Metadata"), own.1);
}

/// Concatenation: a finished upload of any kind may be used, and used again.
#[test]
fn any_finished_upload_may_be_a_partial() {
    let server = Server::start(&[]);
    let plain = server.uploaded(b"hello");
    let first = concatenated(&server, &[&plain, &plain]);
    completed(&server, &first, b"hellohello");
    completed(&server, &concatenated(&server, &[&first, &plain]), b"hellohellohello");
}

/// Concatenation: partial uploads of megabytes come together without a byte lost or moved.
#[test]
fn large_partials_are_joined_byte_for_byte() {
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..5_000_011_u32).map(|index| (index % 251) as u8).collect();
    let parts: Vec<String> = bytes.chunks(1_250_003).map(|chunk| partial(&server, chunk)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    completed(&server, &concatenated(&server, &parts), &bytes);
}

/// Concatenation, unfinished partials: the final upload has a length but no offset, and completes by itself.
#[test]
fn a_final_upload_completes_with_its_last_partial() {
    let server = Server::start(&[]);
    let (hello, world) = (empty_partial(&server, 5), empty_partial(&server, 6));
    let path = concatenated(&server, &[&hello, &world]);
    server.patched(&world, 0, b" wo");
    let waiting = || {
        let response = server.head(&path);
        assert!(matches!(response.status, 200 | 204), "{response:?}");
        assert_eq!((response.header("Upload-Offset"), response.the("Upload-Length")), (None, "11"));
        assert_eq!(response.the("Upload-Concat"), list(&[&hello, &world]));
        server.get(&path, &[]).refused(400, "ERR_INCOMPLETE_UPLOAD");
    };
    waiting();
    server.patched(&hello, 0, b"hello");
    waiting();
    server.patched(&world, 3, b"rld");
    completed(&server, &path, b"hello world");
}

/// Concatenation, unfinished partials: while a partial's length is deferred, the sum cannot be told.
#[test]
fn a_final_upload_of_unknown_length_completes_too() {
    let server = Server::start(&[]);
    let hello = server.create_with(&[PARTIAL, ("Upload-Defer-Length", "1")]);
    let world = partial(&server, b" world");
    let path = concatenated(&server, &[&hello, &world]);
    server.patched(&hello, 0, b"hello");
    let response = server.head(&path);
    assert_eq!((response.header("Upload-Offset"), response.header("Upload-Length")), (None, None));
    server.patch_with(&hello, 5, &[("Upload-Length", "5")], b"").appended(5);
    completed(&server, &path, b"hello world");
}

/// Concatenation, unfinished partials: without one of them it can never be; it is not found from then on.
#[test]
fn a_final_upload_ends_with_a_partial_that_is_deleted() {
    let server = Server::start(&[]);
    let (hello, world) = (partial(&server, b"hello"), empty_partial(&server, 6));
    let path = concatenated(&server, &[&hello, &world]);
    assert_eq!(server.delete(&world).status, 204);
    wait_until("the final upload is gone", || server.head(&path).status != 200);
    server.head(&path).gone();
    server.get(&path, &[]).gone();
    assert_eq!(server.content(&hello), b"hello");
}

/// Concatenation, unfinished partials: deleting the waiting final upload leaves the partial ones to be finished.
#[test]
fn partials_outlive_a_final_upload_that_is_deleted() {
    let server = Server::start(&[]);
    let (hello, world) = (partial(&server, b"hello"), empty_partial(&server, 6));
    let path = concatenated(&server, &[&hello, &world]);
    assert_eq!(server.delete(&path).status, 204);
    server.head(&path).gone();
    server.patched(&world, 0, b" world");
    completed(&server, &concatenated(&server, &[&hello, &world]), b"hello world");
    server.head(&path).gone();
}

/// Concatenation, unfinished partials: the final upload still waits after the server ended, in order or not.
#[test]
fn a_waiting_final_upload_survives_restarts() {
    let mut server = Server::start(&[]);
    let (hello, world) = (empty_partial(&server, 5), empty_partial(&server, 6));
    let path = concatenated(&server, &[&hello, &world]);
    server.restart();
    let response = server.head(&path);
    assert_eq!((response.header("Upload-Offset"), response.the("Upload-Length")), (None, "11"));
    server.patched(&hello, 0, b"hello");
    server.kill();
    server.start_again();
    assert_eq!(server.head(&path).the("Upload-Concat"), list(&[&hello, &world]));
    server.patched(&world, 0, b" world");
    completed(&server, &path, b"hello world");
    server.restart();
    completed(&server, &path, b"hello world");
}

/// Concatenation: not announced means not done.
#[test]
fn concatenation_can_be_switched_off() {
    let server = Server::start(&["--set", "tus.concatenation=false"]);
    assert!(!server.announces("concatenation") && !server.announces("concatenation-unfinished"));
    let response = server.post(&[PARTIAL, ("Upload-Length", "5")], b"");
    response.refused(400, "ERR_CONCATENATION_UNSUPPORTED");
}

/// Concatenation, unfinished partials: not announced means that they must be finished first.
#[test]
fn unfinished_partials_can_be_switched_off() {
    let server = Server::start(&["--set", "tus.concatenation_unfinished=false"]);
    assert!(server.announces("concatenation") && !server.announces("concatenation-unfinished"));
    let (hello, world) = (partial(&server, b"hello"), empty_partial(&server, 6));
    server.post(&[("Upload-Concat", &list(&[&hello, &world]))], b"").refused(400, "ERR_UPLOAD_NOT_FINISHED");
    server.patched(&world, 0, b" world");
    completed(&server, &concatenated(&server, &[&hello, &world]), b"hello world");
}

/// Concatenation: what the client says about length or deferral of a final upload is not looked at, nor is a body of
/// another type.
#[test]
fn a_final_upload_needs_nothing_but_its_partials() {
    let server = Server::start(&[]);
    let (hello, world) = (partial(&server, b"hello"), partial(&server, b" world"));
    let sent = format!("final; {hello}   {world}");
    let headers = [("Upload-Concat", sent.as_str()), ("Upload-Length", "x"), ("Upload-Defer-Length", "7")];
    let path = server.create_with(&headers);
    completed(&server, &path, b"hello world");
    assert_eq!(server.head(&path).the("Upload-Concat"), sent, "as received, its spaces too");
    let response = server.post(&[("Upload-Concat", &list(&[&hello])), ("Content-Type", "text/plain")], b"ignored");
    assert_eq!(response.status, 201, "{response:?}");
    completed(&server, &response.path(), b"hello");
}

/// Concatenation: `Upload-Concat: partial` has its rules of creation like any upload, and other requests ignore it.
#[test]
fn a_partial_upload_is_created_and_filled_like_any_other() {
    let server = Server::start(&[]);
    server.post(&[PARTIAL], b"").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    let both = [PARTIAL, ("Upload-Length", "5"), ("Upload-Defer-Length", "1")];
    server.post(&both, b"").refused(400, "ERR_AMBIGUOUS_UPLOAD_LENGTH");
    let response = server.post(&[PARTIAL, OFFSET_TYPE, ("Upload-Length", "5")], b"hel");
    assert_eq!((response.status, response.offset()), (201, 3));
    let path = response.path();
    assert_eq!(server.request("HEAD", &path, &[PARTIAL], b"").offset(), 3);
    server.patch_with(&path, 3, &[PARTIAL], b"lo").appended(5);
    assert_eq!(server.request("HEAD", &server.create(5), &[PARTIAL], b"").header("Upload-Concat"), None);
    completed(&server, &concatenated(&server, &[&path]), b"hello");
}

/// Headers, Upload-Concat: URLs as clients know them: escaped, without a scheme, relative, behind a proxy's prefix.
#[test]
fn partial_urls_are_understood_however_they_are_written() {
    let server = Server::start(&[]);
    let hello = partial(&server, b"hello");
    let id = server.id_of(&hello);
    for url in [
        format!("https://up.example:8443{hello}"),
        format!("HTTP://up.example{hello}"),
        format!("//up.example{hello}"),
        format!("https://up.example/proxied{hello}"),
        format!("{hello}/"),
        format!("{hello}?token=a"),
        format!("/%66iles/{id}"),
        id.to_owned(),
        format!("./{id}"),
    ] {
        let path = concatenated(&server, &[&url]);
        completed(&server, &path, b"hello");
        assert_eq!(server.head(&path).the("Upload-Concat"), list(&[&url]));
    }
}

/// Concatenation: with uploads right below the root, absolute URLs work as well.
#[test]
fn partial_urls_work_below_the_root() {
    let server = Server::start(&["--set", "server.base_path=/"]);
    let hello = partial(&server, b"hello");
    for url in [hello.clone(), format!("http://{}{hello}", server.address)] {
        completed(&server, &concatenated(&server, &[&url]), b"hello");
    }
}

/// Concatenation: a final upload is ended like any other, and leaves its partial uploads as they are.
#[test]
fn a_concatenated_upload_can_be_deleted() {
    let server = Server::start(&[]);
    let hello = partial(&server, b"hello");
    let path = concatenated(&server, &[&hello, &hello]);
    completed(&server, &path, b"hellohello");
    assert_eq!(server.delete(&path).status, 204);
    server.head(&path).gone();
    assert_eq!(server.content(&hello), b"hello");
    let path = concatenated(&server, &[&hello]);
    assert_eq!(server.delete(&hello).status, 204);
    assert_eq!(server.content(&path), b"hello", "it has bytes of its own");
    assert_eq!(server.head(&path).the("Upload-Concat"), list(&[&hello]));
}
