//! Messages that are malformed, ambiguous or meant to harm: 4xx or a closed connection, and the next request is served.

mod support;

use support::{OFFSET_TYPE, Response, Server, head};

const CREATE: &str = "POST /files/ HTTP/1.1\r\nHost: wharf.test\r\nTus-Resumable: 1.0.0\r\n";

/// Sends a message and the end of the stream, and reads all answers up to the server's end.
fn answers(server: &Server, message: impl AsRef<[u8]>) -> Vec<Response> {
    let mut client = server.connect();
    client.send(message);
    client.finish();
    std::iter::from_fn(|| client.answer_or_close("GET")).collect()
}

/// Asserts that nothing in the message is served: at most one answer comes, and it is a refusal.
#[track_caller]
fn refused(server: &Server, message: impl AsRef<[u8]>) {
    let shown = String::from_utf8_lossy(message.as_ref()).chars().take(300).collect::<String>();
    let answers = answers(server, message);
    let refusals = answers.iter().all(|answer| matches!(answer.status, 400..=499 | 501 | 505));
    assert!(answers.len() <= 1 && refusals, "{shown:?}: {answers:?}");
}

/// The head of a PATCH at offset 0 with these framing headers, and no others that frame.
fn patch_head(path: &str, framing: &str) -> String {
    let head = head("PATCH", path, &[OFFSET_TYPE, ("Upload-Offset", "0")]);
    head.trim_end().to_owned() + "\r\n" + framing + "\r\n\r\n"
}

/// RFC 9112 3: request lines that are none.
#[test]
fn a_malformed_request_line_is_refused() {
    let server = Server::start(&[]);
    for line in [
        "GET\r\n\r\n",
        "GET /files/\r\n\r\n",
        "POST /files/ HTTP/9.9\r\nHost: a\r\n\r\n",
        "POST /files/ HTTX/1.1\r\nHost: a\r\n\r\n",
        "POST /files/ HTTP/1.1 \r\nHost: a\r\n\r\n",
        "PO ST /files/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "P\u{0}ST /files/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /fi les/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST  HTTP/1.1\r\nHost: a\r\n\r\n",
        " POST /files/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "\r\n\r\n\r\n",
        "{}\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    ] {
        refused(&server, line);
    }
    refused(&server, [0xff; 5000]);
    refused(&server, format!("POST /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20)));
    refused(&server, "A".repeat(1 << 20));
    server.unharmed();
}

/// RFC 9112 5 and RFC 9110 5.5: header lines that are none.
#[test]
fn a_malformed_header_is_refused() {
    let server = Server::start(&[]);
    for header in [
        "Upload-Length : 5",
        "Upload-Length: 5\r\nX: a\r\n folded",
        ": value",
        "Na me: v",
        "Name",
        "N\u{0}: v",
        "X: a\u{0}b",
        "X: a\rb",
        "(X): 1",
    ] {
        refused(&server, format!("{CREATE}{header}\r\nUpload-Length: 5\r\nContent-Length: 0\r\n\r\n"));
    }
    let many = "X: y\r\n".repeat(5000);
    refused(&server, format!("{CREATE}{many}Upload-Length: 5\r\n\r\n"));
    let long = "y".repeat(1 << 20);
    refused(&server, format!("{CREATE}X: {long}\r\nUpload-Length: 5\r\n\r\n"));
    refused(&server, format!("{CREATE}{long}: x\r\nUpload-Length: 5\r\n\r\n"));
    assert_eq!(server.names(), Vec::<String>::new(), "nothing was created");
    server.unharmed();
}

/// RFC 9112 3.2: exactly one valid Host in HTTP/1.1.
#[test]
fn a_host_that_is_missing_double_or_invalid_is_refused() {
    let server = Server::start(&[]);
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: a:b\r\n",
        "Host: <a>\r\n",
    ] {
        let rest = "Tus-Resumable: 1.0.0\r\nUpload-Length: 5\r\nContent-Length: 0\r\n\r\n";
        refused(&server, format!("POST /files/ HTTP/1.1\r\n{hosts}{rest}"));
    }
    assert_eq!(server.names(), Vec::<String>::new(), "nothing was created");
    for host in ["a", "a:80", "127.0.0.1:8080", "[::1]:8080", "a.b-c.example"] {
        assert_eq!(server.post(&[("Host", host), ("Upload-Length", "5")], b"").status, 201, "{host}");
    }
}

/// RFC 9112 6.3: lengths that are none, or several.
#[test]
fn a_malformed_content_length_is_refused() {
    let server = Server::start(&[]);
    let path = server.create(11);
    for length in [
        "-5",
        "+5",
        "0x5",
        "five",
        "5 5",
        "5, 6",
        "5;",
        "5.0",
        "",
        "99999999999999999999",
        "18446744073709551621",
        "5\r\nContent-Length: 6",
        "6\r\nContent-Length: 5",
        "5\r\nContent-Length: five",
    ] {
        refused(&server, patch_head(&path, &format!("Content-Length: {length}")) + "hello");
        assert_eq!(server.offset(&path), 0, "{length:?}");
    }
    server.unharmed();
}

/// RFC 9112 6.1: codings that the server lacks or that do not end the message.
#[test]
fn a_transfer_coding_other_than_chunked_is_refused() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "\u{b}chunked",
        "chunk",
        "identity, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: gzip",
    ] {
        refused(&server, patch_head(&path, &format!("Transfer-Encoding: {coding}")) + body);
        assert_eq!(server.offset(&path), 0, "{coding:?}");
    }
    let old = patch_head(&path, "Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0");
    refused(&server, old + body);
    assert_eq!(server.offset(&path), 0, "HTTP/1.0 has no codings");
    server.unharmed();
}

/// RFC 9112 6.1 and 11.2: a message framed twice is not followed by another on its connection.
#[test]
fn nothing_is_smuggled_behind_a_message_framed_twice() {
    let server = Server::start(&[]);
    let victim = server.create(5);
    let smuggled = head("DELETE", &victim, &[]);
    let body = format!("5\r\nhello\r\n0\r\n\r\n{smuggled}");
    for (framing, name) in [
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()), "length, coding"),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {}", body.len()), "coding, length"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked".to_owned(), "short length"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0".to_owned(), "no length"),
        (format!("Transfer-Encoding : chunked\r\nContent-Length: {}", body.len()), "space before the colon"),
    ] {
        let path = server.create(11);
        let answers = answers(&server, patch_head(&path, &framing) + &body);
        assert!(answers.len() <= 1, "{name}: {answers:?}");
        let stored = server.stored_bytes(&path);
        assert!(stored.is_empty() || stored == b"hello", "{name}: {}", String::from_utf8_lossy(&stored));
        assert_eq!(server.offset(&victim), 0, "{name}");
    }
    server.unharmed();
}

/// RFC 9112 7.1: chunks that are none. What came before them is kept, what comes behind them is not read.
#[test]
fn a_malformed_chunk_ends_the_message() {
    let server = Server::start(&[]);
    let victim = server.create(5);
    let smuggled = head("DELETE", &victim, &[]);
    for (body, kept) in [
        ("g\r\nhello\r\n0\r\n\r\n", 0),
        ("-5\r\nhello\r\n0\r\n\r\n", 0),
        ("+5\r\nhello\r\n0\r\n\r\n", 0),
        ("0x5\r\nhello\r\n0\r\n\r\n", 0),
        ("\r\nhello\r\n0\r\n\r\n", 0),
        (";x=y\r\nhello\r\n0\r\n\r\n", 0),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", 0),
        ("FFFFFFFFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", 0),
        ("5\rhello\r\n0\r\n\r\n", 0),
        ("5\r\nhello0\r\n\r\n", 5),
        ("5\r\nhelloXX0\r\n\r\n", 5),
        ("5\r\nhello\rX0\r\n\r\n", 5),
        ("5\r\nhello\r\nz\r\n world\r\n0\r\n\r\n", 5),
        ("5\r\nhello\r\n-1\r\n\r\n", 5),
    ] {
        let path = server.create(11);
        refused(&server, patch_head(&path, "Transfer-Encoding: chunked") + body + &smuggled);
        let stored = server.stored_bytes(&path);
        assert!(stored.len() <= kept && stored == b"hello"[..stored.len()], "{body:?}: {stored:?}");
        assert_eq!(server.offset(&path), stored.len() as u64);
        assert_eq!(server.offset(&victim), 0, "{body:?}");
    }
    server.unharmed();
}

/// RFC 9112 7.1.1 and 7.1.2: a megabyte of chunk extension or of trailers is refused, not gathered.
#[test]
fn endless_extensions_and_trailers_are_refused() {
    let server = Server::start(&[]);
    let long = "x".repeat(1 << 20);
    let many = "X: y\r\n".repeat(1 << 18);
    for (body, name) in [
        (format!("5;x={long}\r\nhello\r\n0\r\n\r\n"), "a chunk extension"),
        (format!("5\r\nhello\r\n0;{long}\r\n\r\n"), "the last chunk's extension"),
        (format!("5\r\nhello\r\n0\r\nX: {long}\r\n\r\n"), "a trailer's value"),
        (format!("5\r\nhello\r\n0\r\n{long}: x\r\n\r\n"), "a trailer's name"),
        (format!("5\r\nhello\r\n0\r\n{many}\r\n"), "trailers"),
    ] {
        for framing in ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTrailer: Upload-Checksum"] {
            let path = server.create(11);
            let answers = answers(&server, patch_head(&path, framing) + &body);
            assert!(answers.iter().all(|answer| answer.status / 100 == 4), "{name}: {answers:?}");
            assert!(server.offset(&path) <= 5, "{name}");
        }
    }
    server.unharmed();
}

/// RFC 9110 6.5: trailers that are no fields do not confuse the framing or the digest.
#[test]
fn malformed_trailers_are_not_taken_for_a_digest() {
    let server = Server::start(&[]);
    let victim = server.create(5);
    for trailer in [
        "Upload-Checksum",
        "Upload-Checksum : sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        ": x",
        "\u{0}: x",
        " folded",
        "Upload-Checksum: sha1\u{0}",
        "X: y\r\n Upload-Checksum: sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "Upload-Checksum: sha1 AAAA\r\nUpload-Checksum: md5 AAAA",
    ] {
        let path = server.create(5);
        let body =
            format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n{}", head("DELETE", &victim, &[("Tus-Resumable", "0.0.0")]));
        let answers =
            answers(&server, patch_head(&path, "Transfer-Encoding: chunked\r\nTrailer: Upload-Checksum") + &body);
        let refused = answers.iter().all(|answer| matches!(answer.status, 400 | 412 | 460));
        assert!(refused, "{trailer:?}: {answers:?}");
        assert_eq!(server.offset(&path), 0, "{trailer:?}");
    }
    server.unharmed();
}

/// RFC 9110 7.8: an upgrade is declined or refused; the body ends where its length says.
#[test]
fn an_upgrade_takes_no_bytes_beyond_the_body() {
    let server = Server::start(&[]);
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        let path = server.create(100);
        let head = patch_head(&path, &format!("Content-Length: 5\r\nConnection: Upgrade\r\nUpgrade: {upgrade}"));
        let answers = answers(&server, head + "hello and more");
        let (status, stored) = if upgrade == "websocket" { (400, "") } else { (204, "hello") };
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [status], "{upgrade}");
        assert_eq!(server.stored_bytes(&path), stored.as_bytes(), "{upgrade}");
    }
    refused(&server, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    let answers = answers(&server, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answers.iter().all(|answer| answer.status < 500), "{answers:?}");
    server.unharmed();
}

/// RFC 9112 9.6: the body of a refused request is never read as the next request.
#[test]
fn the_body_of_a_refused_request_is_no_request() {
    let server = Server::start(&[]);
    let (path, victim) = (server.create(1000), server.create(5));
    let smuggled = head("DELETE", &victim, &[]);
    for headers in [[OFFSET_TYPE, ("Upload-Offset", "7")], [("Content-Type", "text/plain"), ("Upload-Offset", "0")]] {
        let length = smuggled.len().to_string();
        let mut framed = headers.to_vec();
        framed.extend([("Content-Length", length.as_str())]);
        let answers = answers(&server, head("PATCH", &path, &framed) + &smuggled);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(matches!(statuses[..], [409 | 415]), "{answers:?}");
        assert_eq!(server.offset(&victim), 0);
    }
    server.unharmed();
}

/// Whole numbers as large as they get neither wrap nor take the server's memory or disk.
#[test]
fn the_largest_numbers_do_no_harm() {
    let server = Server::start(&[]);
    let response = server.post(&[("Upload-Length", &i64::MAX.to_string())], b"");
    if response.status == 201 {
        let path = response.path();
        let framing = format!("Content-Length: {}", i64::MAX);
        answers(&server, patch_head(&path, &framing) + "hello");
        assert_eq!(server.offset(&path), 5);
        server.patch(&path, i64::MAX as u64, b"x").refused(409, "ERR_MISMATCHED_OFFSET");
        let response = server.get(&path, &[("Range", &format!("bytes={0}-{0}", u64::MAX))]);
        response.refused(400, "ERR_INCOMPLETE_UPLOAD");
    } else {
        assert!(matches!(response.status, 413 | 507), "{response:?}");
    }
    server.unharmed();
}

/// A header that must come once and comes twice, differently, is not a reason to fail.
#[test]
fn repeated_headers_do_no_harm() {
    let server = Server::start(&[]);
    let path = server.create(5);
    for (method, headers) in [
        ("POST", "Upload-Length: 5\r\nUpload-Length: 6"),
        ("POST", "Upload-Length: 5\r\nTus-Resumable: 2.0.0"),
        ("PATCH", "Upload-Offset: 1\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream"),
        ("PATCH", "Upload-Offset: 1\r\nContent-Type: text/plain\r\nContent-Type: application/offset+octet-stream"),
    ] {
        let target = if method == "POST" { &server.base } else { &path };
        let message =
            head(method, target, &[]).trim_end().to_owned() + "\r\n" + headers + "\r\nContent-Length: 0\r\n\r\n";
        let answers = answers(&server, message);
        assert!(answers.iter().all(|answer| answer.status < 500), "{headers:?}: {answers:?}");
    }
    assert_eq!(server.offset(&path), 0);
    server.unharmed();
}

/// A message that is cut at any byte, by FIN or RST, leaves an offset that was reached and nothing else.
#[test]
fn a_message_cut_at_any_byte_does_no_harm() {
    let server = Server::start(&[]);
    let length = patch_head(&server.create(11), "Content-Length: 11").len();
    for cut in (0..length + 11).step_by(5).chain(length - 5..length + 11) {
        let path = server.create(11);
        let message = patch_head(&path, "Content-Length: 11") + "hello world";
        let mut client = server.connect();
        client.send(&message[..cut]);
        if cut % 2 == 0 {
            client.finish();
            let answer = client.answer_or_close("PATCH");
            assert!(answer.is_none_or(|answer| answer.status / 100 == 4));
            assert_eq!(server.offset(&path), cut.saturating_sub(length) as u64);
        } else {
            client.reset();
            assert!(server.offset(&path) <= cut.saturating_sub(length) as u64);
        }
    }
    server.unharmed();
}

/// What is unusual but legal is served.
#[test]
fn odd_but_legal_messages_are_served() {
    let server = Server::start(&[]);
    for message in [
        format!("\r\n{CREATE}Upload-Length: 5\r\nContent-Length: 0\r\n\r\n"),
        "POST http://wharf.test/files/ HTTP/1.1\r\nhost: wharf.test\r\ntus-resumable:1.0.0\r\nUPLOAD-LENGTH:\t 5 \t\r\n\r\n".to_owned(),
        format!("{CREATE}Upload-Length: 5\r\nX-Empty:\r\nConnection: close\r\n\r\n"),
        "POST /files/?a=b HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n\r\n".to_owned(),
        "POST /files/ HTTP/1.0\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n".to_owned(),
    ] {
        let answers = answers(&server, &message);
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201], "{message:?}");
        assert_eq!(answers[0].interims, Vec::<u16>::new());
    }
    let path = server.create(26);
    let body = "00001A;a;b=\"c;d\"\r\nabcdefghijklmnopqrstuvwxyz\r\n000\r\nX-Trailer: 1\r\n\r\n";
    let mut client = server.connect();
    client.send(patch_head(&path, "Transfer-Encoding: Chunked") + body);
    client.answer().appended(26);
    assert_eq!(client.request("GET", &path, &[], b"").body, b"abcdefghijklmnopqrstuvwxyz");
    let path = server.create(11);
    let old = patch_head(&path, "Content-Length: 11").replace("HTTP/1.1", "HTTP/1.0") + "hello world";
    let mut client = server.connect();
    client.send(old);
    client.answer().appended(11);
    assert!(client.closed(), "HTTP/1.0 keeps no connection unless it is asked to");
    assert_eq!(server.content(&path), b"hello world");
}
