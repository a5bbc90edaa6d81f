//! Expiration.

mod support;

use std::time::{Duration, SystemTime};

use support::{OFFSET_TYPE, Response, Server, wait_until};

const SHORT: [&str; 4] = ["--set", "expiration.after_secs=2", "--set", "expiration.interval_secs=1"];
const LONG: [&str; 4] = ["--set", "expiration.after_secs=3600", "--set", "expiration.interval_secs=3600"];
const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");

/// Asserts a date of RFC 9110's preferred form that lies ahead.
#[track_caller]
fn expires(response: &Response) {
    let text = response.the("Upload-Expires");
    let date = httpdate::parse_http_date(text).expect("an HTTP date");
    assert_eq!(httpdate::fmt_http_date(date), text, "the preferred form");
    assert!(date > SystemTime::now() && date < SystemTime::now() + Duration::from_secs(2 * 3600), "{text}");
}

fn wait_until_gone(server: &Server, path: &str) {
    wait_until("the upload has expired", || !server.keeps(path));
}

/// Expiration: off unless it is asked for, and then not announced.
#[test]
fn nothing_expires_by_default() {
    let server = Server::start(&[]);
    assert!(!server.announces("expiration"));
    let created = server.post(&[("Upload-Length", "5")], b"");
    assert_eq!(created.header("Upload-Expires"), None);
    assert_eq!(server.patch(&created.path(), 0, b"hel").header("Upload-Expires"), None);
}

/// Headers, Upload-Expires: on creation, and on every PATCH of an upload that will expire.
#[test]
fn answers_tell_when_an_upload_expires() {
    let server = Server::start(&LONG);
    assert!(server.announces("expiration"));
    let created = server.post(&[("Upload-Length", "11")], b"");
    expires(&created);
    let path = created.path();
    expires(&server.patch(&path, 0, b"hello"));
    expires(&server.patch(&path, 5, b""));
    expires(&server.patch(&path, 9, b"conflict"));
    expires(&server.post(&[OFFSET_TYPE, ("Upload-Length", "11")], b"hello"));
    expires(&server.post(&[("Upload-Defer-Length", "1")], b""));
}

/// Headers, Upload-Expires: in every answer to a PATCH, refused ones too, and in those of partial uploads that are
/// complete, because these expire as well.
#[test]
fn every_answer_to_a_patch_tells_when_the_upload_expires() {
    let server = Server::start(&LONG);
    let path = server.create(11);
    let text = ("Content-Type", "text/plain");
    let zero = ("Upload-Offset", "0");
    for (status, headers) in [
        (415, vec![text, zero]),
        (400, vec![OFFSET_TYPE, ("Upload-Offset", "five")]),
        (400, vec![OFFSET_TYPE, zero, ("Upload-Length", "five")]),
        (400, vec![OFFSET_TYPE, zero, ("Upload-Checksum", "sha3 AAAA")]),
        (460, vec![OFFSET_TYPE, zero, ("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]),
        (413, vec![OFFSET_TYPE, zero, ("Content-Length", "12")]),
        (204, vec![OFFSET_TYPE, zero]),
    ] {
        let response = server.request("PATCH", &path, &headers, b"hello");
        assert_eq!(response.status, status, "{response:?}");
        expires(&response);
    }
    let path = server.create_with(&[PARTIAL, ("Upload-Length", "5")]);
    for (offset, bytes) in [(0, b"hello".as_slice()), (5, b"")] {
        let response = server.patch(&path, offset, bytes);
        response.appended(5);
        expires(&response);
    }
    expires(&server.post(&[PARTIAL, ("Upload-Length", "0")], b""));
    expires(&server.post(&[PARTIAL, OFFSET_TYPE, ("Upload-Length", "0")], b""));
}

/// Expiration: it is unfinished uploads that expire.
#[test]
fn a_finished_upload_does_not_expire() {
    let server = Server::start(&SHORT);
    let created = server.post(&[OFFSET_TYPE, ("Upload-Length", "5")], b"hello");
    assert_eq!((created.status, created.header("Upload-Expires")), (201, None));
    let path = server.create(5);
    let completing = server.patch(&path, 0, b"hello");
    completing.appended(5);
    assert_eq!(completing.header("Upload-Expires"), None);
    wait_until_gone(&server, &server.create(5));
    assert_eq!((server.content(&created.path()), server.content(&path)), (b"hello".to_vec(), b"hello".to_vec()));
}

/// Headers, Upload-Expires: what was removed is 410 while it is remembered, and its space is free.
#[test]
fn an_expired_upload_is_gone() {
    let server = Server::start(&SHORT);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    wait_until_gone(&server, &path);
    assert_eq!(server.head(&path).status, 410, "it is known to have expired");
    server.head(&path).gone();
    server.patch(&path, 5, b" world").refused(410, "ERR_UPLOAD_EXPIRED");
    server.get(&path, &[]).refused(410, "ERR_UPLOAD_EXPIRED");
    server.delete(&path).refused(410, "ERR_UPLOAD_EXPIRED");
    assert_eq!(server.head(&format!("{}never", server.base)).status, 404);
    wait_until("its files are gone", || server.names().is_empty());
    server.unharmed();
}

/// Expiration: a partial upload that nobody concatenated is left over even when it is finished.
#[test]
fn a_partial_upload_expires_finished_or_not() {
    let server = Server::start(&SHORT);
    let (open, done) =
        (server.create_with(&[PARTIAL, ("Upload-Length", "5")]), server.uploaded_with(&[PARTIAL], b"hello"));
    wait_until_gone(&server, &open);
    wait_until_gone(&server, &done);
}

/// Expiration: an upload whose bytes are on their way is in use, however slow it is.
#[test]
fn an_upload_that_is_being_sent_does_not_expire() {
    let server = Server::start(&SHORT);
    let path = server.create(11);
    let mut client = server.stalled_patch(&path, 0, 11, b"hello");
    for _ in 0..2 {
        wait_until_gone(&server, &server.create(5));
    }
    client.send(" world");
    client.answer().appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Expiration: a final upload that waits for a partial one keeps it.
#[test]
fn a_partial_that_a_final_upload_waits_for_does_not_expire() {
    let server = Server::start(&SHORT);
    let hello = server.create_with(&[PARTIAL, ("Upload-Length", "5")]);
    let path = server.create_with(&[("Upload-Concat", &format!("final;{hello}"))]);
    let mut client = server.stalled_patch(&hello, 0, 5, b"hel");
    wait_until_gone(&server, &server.create(5));
    client.send("lo");
    client.answer().appended(5);
    wait_until("the final upload is complete", || server.head(&path).header("Upload-Offset") == Some("5"));
    assert_eq!(server.content(&path), b"hello");
}

/// Expiration: a restart forgets no date.
#[test]
fn an_upload_expires_across_a_restart() {
    let mut server = Server::start(&SHORT);
    let path = server.create(5);
    server.kill();
    server.start_again();
    wait_until_gone(&server, &path);
    server.head(&path).gone();
}

/// Expiration: past its date an upload is refused, even when nobody looks for expired ones.
#[test]
fn an_expired_upload_is_refused_before_it_is_removed() {
    let server = Server::start(&["--set", "expiration.after_secs=1", "--set", "expiration.interval_secs=0"]);
    let path = server.create(11);
    wait_until("the date has passed", || server.head(&path).status != 200);
    server.head(&path).gone();
    server.patch(&path, 0, b"hello").gone();
}
