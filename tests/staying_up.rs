//! Slow, silent and vanishing clients: they cost themselves, and what they sent is kept.

mod support;

use support::{OFFSET_TYPE, Server, chunked, head, pause, wait_until};

/// Asserts that the server gives up on a client that does not finish its head.
#[track_caller]
fn gives_up(client: &mut support::Client) {
    if let Some(response) = client.answer_or_close("GET") {
        assert_eq!(response.status, 408, "{response:?}");
        assert!(client.closed());
    }
}

/// RFC 9110 15.5.9: a head that never ends is given up, on new connections and on kept ones.
#[test]
fn a_head_that_stalls_is_given_up() {
    let server = Server::start(&["--set", "timeouts.head_secs=1"]);
    let half = head("POST", &server.base, &[("Upload-Length", "5")]);
    let half = &half[..half.len() - 2];
    let mut silent = server.connect();
    let mut fresh = server.connect();
    fresh.send(half);
    let mut kept = server.connect();
    assert_eq!(kept.request("POST", &server.base, &[("Upload-Length", "5")], b"").status, 201);
    kept.send(half);
    for client in [&mut silent, &mut fresh, &mut kept] {
        gives_up(client);
    }
    assert_eq!(server.count(), 1, "{:?}", server.names());
    server.unharmed();
}

/// A head that comes byte by byte is given up too: its time does not start again with each byte.
#[test]
fn a_head_that_trickles_is_given_up() {
    let server = Server::start(&["--set", "timeouts.head_secs=1"]);
    for requests_before in 0..2 {
        let mut client = server.connect();
        for _ in 0..requests_before {
            assert!(matches!(client.request("OPTIONS", &server.base, &[], b"").status, 200 | 204));
        }
        client.send("OPTIONS /files/ HTTP/1.1\r\nX: ");
        wait_until("the server gives up", || {
            client.send("x");
            pause();
            !client.silent()
        });
    }
    server.unharmed();
}

/// Requests, PATCH: a timeout is handled by closing the connection, and what was received is stored.
#[test]
fn a_body_that_stalls_is_given_up_with_its_bytes_kept() {
    let server = Server::start(&["--set", "timeouts.body_read_secs=1"]);
    let path = server.create(11);
    let mut client = server.stalled_patch(&path, 0, 11, b"hello");
    let response = client.answer();
    response.refused(500, "ERR_READ_TIMEOUT");
    assert!(response.closes() && client.closed());
    assert_eq!(server.offset(&path), 5);
    server.patched(&path, 5, b" world");
    assert_eq!(server.content(&path), b"hello world");
}

/// RFC 9112 9.6: a client may close its side behind its last request. What the store has no time for yet is not lost
/// over it, whether the body is whole or not.
#[test]
fn a_body_with_the_end_of_the_stream_behind_it_is_kept() {
    let server = Server::start(&["--set", "tus.append_window=1", "--set", "tus.append_message_bytes=65536"]);
    let bytes: Vec<u8> = (0..8_000_003_u32).map(|index| (index % 251) as u8).collect();
    for sent in [8_000_003, 8_000_002].repeat(6) {
        let path = server.create(8_000_003);
        let mut client = server.connect();
        let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "8000003")];
        client.send(head("PATCH", &path, &headers));
        client.send(&bytes[..sent]);
        client.finish();
        let response = client.answer();
        match sent {
            8_000_003 => response.appended(8_000_003),
            _ => response.refused(400, "ERR_UNEXPECTED_EOF"),
        }
        assert_eq!(server.offset(&path), sent as u64);
    }
}

/// The timeout is for silence: a body that keeps coming is taken, however slowly.
#[test]
fn a_body_that_trickles_is_taken() {
    let server = Server::start(&["--set", "timeouts.body_read_secs=3"]);
    let path = server.create(400);
    let mut client = server.connect();
    client.send(head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "400")]));
    for _ in 0..400 {
        client.send("x");
        pause();
    }
    client.answer().appended(400);
    assert_eq!(server.content(&path), [b'x'; 400]);
}

/// A connection without requests is closed after a while.
#[test]
fn an_idle_connection_is_closed() {
    let server = Server::start(&["--set", "timeouts.keep_alive_secs=1"]);
    let mut client = server.connect();
    let path = client.request("POST", &server.base, &[("Upload-Length", "5")], b"").path();
    client.request("HEAD", &path, &[], b"");
    assert!(client.closed());
    server.unharmed();
}

/// Connections above the limit wait for their turn.
#[test]
fn connections_above_the_limit_are_served_in_turn() {
    let server = Server::start(&["--set", "server.max_connections=4", "--set", "timeouts.keep_alive_secs=1"]);
    let mut clients: Vec<_> = (0..16).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(head("OPTIONS", &server.base, &[]));
    }
    for mut client in clients {
        assert_eq!(client.answer().the("Tus-Version"), "1.0.0");
    }
    server.unharmed();
}

/// Out of descriptors, the server goes on as soon as there are some again.
#[test]
fn a_server_out_of_descriptors_recovers() {
    let server = Server::start(&[]);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    server.limit_open_files(64);
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(head("POST", &server.base, &[("Upload-Length", "5"), ("Content-Length", "0")]));
    }
    drop(clients);
    // As a client does: an answer that was an error tells nothing of what is stored; HEAD does.
    wait_until("the upload goes on", || {
        let found = server.head(&path);
        let rest = |offset: &str| &b"hello world"[offset.parse::<usize>().unwrap()..];
        found.status == 200
            && found
                .header("upload-offset")
                .is_some_and(|offset| server.patch(&path, offset.parse().unwrap(), rest(offset)).status == 204)
    });
    assert_eq!(server.content(&path), b"hello world");
    server.unharmed();
}

/// Requests, PATCH: of a body that ends too early, what came is stored.
#[test]
fn a_body_that_ends_too_early_is_kept() {
    let server = Server::start(&[]);
    let fixed = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "11")];
    let streamed = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked")];
    for (headers, body) in [(fixed, "hello"), (streamed, "3\r\nhel\r\n8\r\nlo"), (streamed, "5\r\nhello\r\n")] {
        let path = server.create(11);
        let mut client = server.connect();
        client.send(head("PATCH", &path, &headers) + body);
        client.finish();
        client.answer().refused(400, "ERR_UNEXPECTED_EOF");
        assert!(client.closed());
        assert_eq!(server.offset(&path), 5);
        server.patched(&path, 5, b" world");
        assert_eq!(server.content(&path), b"hello world");
    }
}

/// A body that reaches the length completes the upload, even if the message around it breaks off.
#[test]
fn a_stream_that_breaks_off_after_the_last_byte_completes_the_upload() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let mut client = server.connect();
    let streamed = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked")];
    client.send(head("PATCH", &path, &streamed) + "5\r\nhello\r\n");
    client.finish();
    client.answer_or_close("PATCH");
    assert_eq!(server.offset(&path), 5);
    assert_eq!(server.content(&path), b"hello");
}

/// Requests, PATCH: of a connection that is reset, what came is stored.
#[test]
fn a_body_whose_connection_is_reset_is_kept() {
    let server = Server::start(&[]);
    let path = server.create(11);
    server.stalled_patch(&path, 0, 11, b"hello").reset();
    assert_eq!(server.offset(&path), 5);
    server.stalled_patch(&path, 5, 6, b" wor").reset();
    server.patched(&path, 9, b"ld");
    assert_eq!(server.content(&path), b"hello world");
}

/// A kill leaves every byte that was stored, and the upload goes on after it.
#[test]
fn a_kill_leaves_what_was_stored() {
    let mut server = Server::start(&[]);
    // In S3 bytes are stored when they are acknowledged, which those of a stalled request are not; see `kills`.
    if !server.is_on_disk() {
        return;
    }
    let (path, deferred) = (server.create(11), server.create_with(&[("Upload-Defer-Length", "1")]));
    let _first = server.stalled_patch(&path, 0, 11, b"hello");
    let _second = server.stalled_patch(&deferred, 0, 11, b"hel");
    server.kill();
    server.start_again();
    assert_eq!((server.offset(&path), server.offset(&deferred)), (5, 3));
    server.patched(&path, 5, b" world");
    server.patch_with(&deferred, 3, &[("Upload-Length", "5")], b"lo").appended(5);
    assert_eq!(server.content(&path), b"hello world");
    assert_eq!(server.content(&deferred), b"hello");
}

/// Cut anywhere, in the head too, by FIN or RST, with a length or chunked: resumed, the file is right.
#[test]
fn an_upload_that_is_cut_again_and_again_is_right_in_the_end() {
    const LENGTH: usize = 400_000;
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..LENGTH).map(|index| (index % 251) as u8).collect();
    let path = server.create(LENGTH as u64);
    let mut random = 0x9e37_79b9_u64;
    for round in 0..24 {
        let offset = server.offset(&path);
        let rest = &bytes[offset as usize..];
        let (offset_text, length) = (offset.to_string(), rest.len().to_string());
        let framing =
            if round % 3 == 0 { ("Transfer-Encoding", "chunked") } else { ("Content-Length", length.as_str()) };
        let mut message = head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", &offset_text), framing]).into_bytes();
        let head_length = message.len();
        message.extend(if round % 3 == 0 { chunked(rest, 7001, &[]) } else { rest.to_vec() });
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let cut = (random >> 33) as usize % (if round % 4 == 0 { head_length } else { 30_000.min(message.len()) });
        let mut client = server.connect();
        client.send(&message[..cut]);
        if round % 2 == 0 {
            client.reset();
        } else {
            client.finish();
            client.answer_or_close("PATCH");
            assert!(round % 3 == 0 || server.offset(&path) == offset + cut.saturating_sub(head_length) as u64);
        }
        let reached = server.offset(&path);
        assert!(
            reached >= offset && reached <= offset + cut.saturating_sub(head_length) as u64,
            "{offset} to {reached}"
        );
    }
    let offset = server.offset(&path);
    server.patched(&path, offset, &bytes[offset as usize..]);
    assert!(server.content(&path) == bytes);
}
