//! Whole connections through the framing reader, in one piece, in pairs of pieces, and byte by byte.

use super::*;

const PATCH: &str = "PATCH /files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "POST /files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n";
const HEAD: &str = "HEAD /files/a HTTP/1.0\r\n\r\n";

/// What is left to compare of a connection: how much was passed on, the messages, and the fault.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    passed: usize,
    messages: Vec<(u64, BodyKind, u64, bool, Trailers)>,
    malformed: Option<(u64, &'static str)>,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut framing = Framing::new(1024);
    let mut passed = 0;
    for piece in pieces {
        let step = framing.feed(piece);
        passed += step;
        assert!(step == piece.len() || framing.malformed().is_some());
    }
    let messages = framing.messages.iter();
    Outcome {
        passed,
        messages: messages.map(|m| (m.number, m.body, m.body_bytes, m.finished, m.trailers.clone())).collect(),
        malformed: framing.malformed().map(|malformed| (malformed.number, malformed.reason)),
    }
}

#[test]
fn pipelined_requests_are_found_however_they_are_cut() {
    let stream = format!("{PATCH}{CHUNKED}\r\n{HEAD}{PATCH}");
    let trailers = vec![("a".to_owned(), b"b".to_vec())];
    let expected = Outcome {
        passed: stream.len(),
        messages: vec![
            (0, BodyKind::Length(5), 5, true, Trailers::new()),
            (1, BodyKind::Chunked, 5, true, trailers),
            (2, BodyKind::None, 0, true, Trailers::new()),
            (3, BodyKind::Length(5), 5, true, Trailers::new()),
        ],
        malformed: None,
    };
    let stream = stream.as_bytes();
    assert_eq!(read([stream]), expected);
    for size in 1..20 {
        assert_eq!(read(stream.chunks(size)), expected, "pieces of {size}");
    }
    for cut in 0..stream.len() {
        assert_eq!(read([&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
    }
}

#[test]
fn nothing_is_passed_on_after_a_refused_head() {
    let refused = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    let stream = format!("{PATCH}{refused}{PATCH}");
    for size in [1, 10, 1000] {
        let outcome = read(stream.as_bytes().chunks(size));
        assert_eq!(outcome.passed, PATCH.len() + refused.len());
        assert_eq!(outcome.malformed, Some((1, "CONNECT is not served")));
        assert_eq!(outcome.messages[1], (1, BodyKind::None, 0, false, Trailers::new()));
    }
}

#[test]
fn a_malformed_body_is_cut_at_the_fault_and_its_number_told() {
    let good = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc";
    let stream = format!("{HEAD}{good}X\r\n0\r\n\r\n{HEAD}");
    for size in [1, 10, 1000] {
        let outcome = read(stream.as_bytes().chunks(size));
        assert_eq!(outcome.passed, HEAD.len() + good.len());
        assert_eq!(outcome.malformed, Some((1, "chunk longer than its size")));
        assert_eq!(outcome.messages[1], (1, BodyKind::Chunked, 3, false, Trailers::new()));
    }
}

#[test]
fn a_head_that_does_not_parse_leaves_no_message() {
    for head in ["GET\0/ HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nA : b\r\n\r\n", "\r\rGET"] {
        let outcome = read(format!("{HEAD}{head}").as_bytes().chunks(1));
        assert_eq!(outcome.malformed, Some((1, "invalid request head")), "{head:?}");
        assert_eq!(outcome.messages.len(), 1);
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(HEADERS_MAX + 1));
    assert_eq!(read([many.as_bytes()]).malformed, Some((0, "too many headers")));
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let frame = "GET / HTTP/1.0\r\nA: \r\n\r\n".len();
    let fits = format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(1024 - frame));
    let longer = format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(1025 - frame));
    for size in [1, 100, 5000] {
        let outcome = read(fits.as_bytes().chunks(size));
        assert_eq!((outcome.passed, outcome.malformed), (1024, None));
        let outcome = read(longer.as_bytes().chunks(size));
        assert_eq!((outcome.passed, outcome.malformed), (1024, Some((0, "request head too long"))));
    }
    let mut framing = Framing::new(usize::MAX);
    assert_eq!(framing.feed(format!("GET / HTTP/1.0\r\n{}", "x".repeat(100_000)).as_bytes()), HEAD_LIMIT_BYTES);
    assert!(framing.head_was_cut());
}

#[test]
fn a_removed_message_is_followed_to_its_end() {
    let mut framing = Framing::new(1024);
    framing.feed(&PATCH.as_bytes()[..PATCH.len() - 2]);
    assert_eq!(framing.open_body(), Some(0));
    assert_eq!(framing.remove(0).unwrap().body_bytes, 3);
    framing.feed(format!("lo{HEAD}").as_bytes());
    assert_eq!(framing.open_body(), None);
    assert!(framing.message(0).is_none());
    assert!(framing.message(1).unwrap().finished);
}

#[test]
fn a_request_is_known_by_method_and_target() {
    let mut framing = Framing::new(1024);
    framing.feed(b"GET http://a/b?c HTTP/1.0\r\n\r\n");
    let message = framing.message(0).unwrap();
    assert!(framing.is_same_request(message, "GET", &Uri::from_static("http://a/b?c")));
    for (method, uri) in [("HEAD", "http://a/b?c"), ("GET", "http://a/b"), ("GET", "/b?c"), ("GET", "http://a/?c")] {
        assert!(!framing.is_same_request(message, method, &Uri::from_static(uri)), "{method} {uri}");
    }
}
