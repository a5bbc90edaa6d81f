//! Large bodies in the clear: the store takes them from the socket by itself. What comes behind them, before them, or in
//! their stead must not be taken for them.

mod support;

use support::{Client, OFFSET_TYPE, Server, chunked, head, wait_until};

/// In the metrics as soon as something has been drawn.
const DRAWN: &str = "wharf_store_operation_duration_seconds_count{store=\"disk\",operation=\"draw\"}";

fn content(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect()
}

fn patch(path: &str, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let (offset, length) = (offset.to_string(), bytes.len().to_string());
    let head = head("PATCH", path, &[OFFSET_TYPE, ("Upload-Offset", &offset), ("Content-Length", &length)]);
    [head.as_bytes(), bytes].concat()
}

/// Sends from a thread of its own, so that all of it lies in the socket as soon as it can.
fn in_one_go(server: &Server, bytes: Vec<u8>) -> Client {
    let mut client = server.connect();
    client.send(bytes);
    client
}

/// A large body is drawn, to its last byte, and the requests behind it on the connection are not.
#[test]
fn a_large_body_is_drawn_and_what_follows_it_is_not() {
    let server = Server::start_watched(&[]);
    let bytes = content(3_000_001);
    let path = server.create(bytes.len() as u64);
    let (first, second) = bytes.split_at(1_500_000);
    let requests = [
        patch(&path, 0, first),
        head("HEAD", &path, &[]).into_bytes(),
        patch(&path, first.len(), second),
        head("GET", &path, &[]).into_bytes(),
    ];
    let mut client = in_one_go(&server, requests.concat());
    client.answer().appended(1_500_000);
    assert_eq!(client.answer_to("HEAD").offset(), 1_500_000);
    client.answer().appended(3_000_001);
    assert!(client.answer().body == bytes);
    assert!(server.ask("GET", "/metrics").text().contains(DRAWN));
    assert!(server.stored_bytes(&path) == bytes);
}

/// What is drawn comes in parts, and the last of them may be few bytes, which are not worth it. They count as well when they lie
/// there already while the part before them is drawn: nobody is told of them then.
#[test]
fn the_few_bytes_behind_what_is_drawn_are_not_forgotten() {
    const PART: usize = 32 * 1024;
    let part = format!("tus.append_message_bytes={PART}");
    let server = Server::start_faulty(&["--set", &part]);
    // A part comes with the head or is read behind it, one is drawn, and fewer than a part are left. What is not read fits into
    // the socket at once.
    for len in (2 * PART + 1024..2 * PART + 30 * 1024).step_by(4096) {
        let bytes = content(len);
        let path = server.create(len as u64);
        server.fault("hold write 1");
        let mut client = in_one_go(&server, patch(&path, 0, &bytes));
        server.wait_until_held();
        server.fault("");
        client.answer().appended(len as u64);
        assert!(server.stored_bytes(&path) == bytes);
    }
}

/// Bytes whose digest is to be checked, and chunks, come the other way, and count as ever.
#[test]
fn what_must_be_looked_at_is_not_drawn() {
    let server = Server::start_watched(&[]);
    let bytes = content(1_000_000);
    let path = server.create(bytes.len() as u64);
    let wrong = [("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
    assert_eq!(server.patch_with(&path, 0, &wrong, &bytes).status, 460);
    assert_eq!(server.offset(&path), 0);
    let head = head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked")]);
    let body = chunked(&bytes, 300_000, &[]);
    in_one_go(&server, [head.as_bytes(), &body].concat()).answer().appended(1_000_000);
    assert!(!server.ask("GET", "/metrics").text().contains(DRAWN));
    assert!(server.content(&path) == bytes);
}

/// A client that breaks off finds all that it has sent, also when the store was still at it.
#[test]
fn what_was_sent_before_the_end_is_kept() {
    let bytes = content(2_000_000);
    for is_reset in [false, true] {
        let server = Server::start_faulty(&[]);
        let path = server.create(4_000_000);
        server.fault("hold write 1");
        let request = patch(&path, 0, &[&bytes[..], &bytes[..]].concat());
        let mut client = in_one_go(&server, request[..request.len() - bytes.len()].to_vec());
        server.wait_until_held();
        if is_reset {
            client.reset();
        } else {
            client.hang_up();
        }
        server.fault("");
        // A reset throws away what has not come yet. Seen on disk: a HEAD would end the request.
        let at_least = if is_reset { 1 } else { bytes.len() as u64 };
        wait_until("what was sent is stored", || server.stored(&path) >= at_least);
        let offset = server.offset(&path) as usize;
        assert!(offset <= bytes.len(), "{offset}");
        assert!(server.stored_bytes(&path) == bytes[..offset]);
        server.patched(&path, offset as u64, &[&bytes[offset..], &bytes[..]].concat());
        assert!(server.content(&path) == [&bytes[..], &bytes[..]].concat());
    }
}

/// A disk that is full in the middle of what is drawn: what fitted counts, and the rest goes on from there.
#[test]
fn a_disk_that_is_full_meanwhile_keeps_what_fitted() {
    let server = Server::start_watched(&[]);
    let bytes = content(3_000_000);
    let path = server.create(bytes.len() as u64);
    server.limit_file_size(Some(1_000_000));
    let refused = in_one_go(&server, patch(&path, 0, &bytes)).answer();
    assert_eq!(refused.status, 507, "{refused:?}");
    assert!(server.ask("GET", "/metrics").text().contains(DRAWN));
    let offset = server.offset(&path);
    assert_eq!(offset, 1_000_000);
    server.limit_file_size(None);
    server.patched(&path, offset, &bytes[1_000_000..]);
    assert!(server.content(&path) == bytes);
}
