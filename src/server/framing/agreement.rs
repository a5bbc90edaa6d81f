//! The reader of the framing against actix-http's own: generated, mutated and cut streams of requests must never be read in
//! two ways.

use actix_http::h1::{Codec, Message as Decoded};
use actix_http::{HttpMessage as _, ServiceConfig};
use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::Decoder as _;

use super::*;

const HEAD_MAX_BYTES: usize = 2048;

/// A request as one of the readers saw it; the ends are positions in the stream.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    body: BodyKind,
    body_bytes: u64,
    end: Option<usize>,
}

/// Reads as actix does, from exactly what was passed on. Returns the requests, and whether it gave up.
fn read_with_actix(config: &ServiceConfig, passed: &[u8], pieces: &[usize], framing: &Framing) -> (Vec<Seen>, bool) {
    let mut codec = Codec::new(config.clone());
    let mut buffer = BytesMut::new();
    let mut requests: Vec<Seen> = Vec::new();
    let mut fed = 0;
    for piece in cut(passed, pieces) {
        buffer.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match codec.decode(&mut buffer) {
                Ok(None) => break,
                Err(_) => return (requests, true),
                Ok(Some(Decoded::Item(request))) => {
                    let number = requests.len() as u64;
                    let message = framing.message(number).expect("actix saw a request that was not there");
                    let malformed = framing.malformed().is_some_and(|malformed| malformed.number == number);
                    let uri_is_valid = framing.malformed().is_none_or(|it| it.reason != "invalid request target");
                    assert!(
                        !uri_is_valid || framing.is_same_request(message, request.method().as_str(), request.uri())
                    );
                    let has_body = codec.message_type() != actix_http::h1::MessageType::None;
                    let length = request.headers().get("content-length");
                    let length = length.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                    let body = match (request.chunked().unwrap_or(false), length) {
                        _ if malformed && message.body == BodyKind::None => BodyKind::None,
                        (true, _) => BodyKind::Chunked,
                        (false, Some(length)) => BodyKind::Length(length),
                        (false, None) => BodyKind::None,
                    };
                    requests.push(Seen { body, body_bytes: 0, end: (!has_body).then(|| fed - buffer.len()) });
                }
                Ok(Some(Decoded::Chunk(Some(chunk)))) => requests.last_mut().unwrap().body_bytes += chunk.len() as u64,
                Ok(Some(Decoded::Chunk(None))) => requests.last_mut().unwrap().end = Some(fed - buffer.len()),
            }
        }
    }
    (requests, false)
}

/// Reads with `Framing`, byte by byte in order to learn where each request ends.
fn read_with_framing(stream: &[u8]) -> (usize, Vec<Seen>, Framing) {
    let mut framing = Framing::new(HEAD_MAX_BYTES);
    let mut ends: Vec<Option<usize>> = Vec::new();
    let mut passed = 0;
    for byte in stream {
        passed += framing.feed(std::slice::from_ref(byte));
        for (at, message) in framing.messages.iter().enumerate() {
            ends.resize(ends.len().max(at + 1), None);
            if message.finished && ends[at].is_none() {
                ends[at] = Some(passed);
            }
        }
        if framing.malformed().is_some() {
            break;
        }
    }
    let seen = framing.messages.iter().zip(ends);
    let seen = seen.map(|(message, end)| Seen { body: message.body, body_bytes: message.body_bytes, end }).collect();
    (passed, seen, framing)
}

fn cut<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = (*sizes.next()?).min(bytes.len());
        let (piece, rest) = bytes.split_at(size);
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Compares the two readers on one stream; returns how many requests both read to their end.
fn compare(config: &ServiceConfig, stream: &[u8], our_pieces: &[usize], actix_pieces: &[usize]) -> usize {
    let (passed, seen, framing) = read_with_framing(stream);

    let mut in_pieces = Framing::new(HEAD_MAX_BYTES);
    let mut passed_in_pieces = 0;
    for piece in cut(stream, our_pieces) {
        passed_in_pieces += in_pieces.feed(piece);
    }
    assert_eq!(in_pieces.malformed(), framing.malformed());
    assert_eq!(format!("{:?}", strip(&in_pieces)), format!("{:?}", strip(&framing)));
    assert!(passed_in_pieces >= passed);

    let (theirs, gave_up) = read_with_actix(config, &stream[..passed_in_pieces], actix_pieces, &framing);
    let sound = framing.malformed().map_or(seen.len(), |malformed| malformed.number as usize);
    assert!(theirs.len() <= seen.len(), "actix saw more requests");
    assert!(sound <= theirs.len(), "actix saw fewer requests");
    assert_eq!(theirs[..sound], seen[..sound]);
    assert!(!gave_up || framing.malformed().is_some(), "actix refused what was accepted");
    if let Some(malformed) = seen.get(sound) {
        assert_eq!(malformed.end, None, "a malformed request is never finished");
    }
    if let (Some(ours), Some(theirs), Some(_)) = (seen.get(sound), theirs.get(sound), framing.open_body()) {
        assert_eq!((ours, ours.end), (theirs, None), "actix ended a malformed body");
    }
    seen.iter().filter(|seen| seen.end.is_some()).count()
}

fn strip(framing: &Framing) -> Vec<(u64, BodyKind, u64, bool, &Trailers)> {
    framing.messages.iter().map(|m| (m.number, m.body, m.body_bytes, m.finished, &m.trailers)).collect()
}

fn pick(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(choices).prop_map(str::to_owned)
}

/// Mostly the first of the choices, which is what a good client sends.
fn mostly(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![12 => Just(choices[0].to_owned()), 1 => pick(choices)]
}

fn header() -> impl Strategy<Value = String> {
    pick(&[
        "Accept: */*",
        "Connection: keep-alive",
        "Connection: close",
        "Expect: 100-continue",
        "X: \tpadded \t",
        "Trailer: Upload-Checksum",
        "TE: trailers",
        "Upgrade: h2c",
        "X:",
        "Content-Length : 3",
        "Content-Length: 0",
        "content-length: 2",
        "Content-Length: +2",
        "Content-Length: 2, 2",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding:\tCHUNKED ",
        "Transfer_Encoding: chunked",
        " folded: line",
        "Connection: Upgrade",
        "Connection: close, upgrade",
        "Upgrade: websocket",
        "Host: b",
        "X: \u{e4}",
        "X: \0",
        "no colon",
    ])
}

fn head(framing_headers: &'static [&'static str]) -> impl Strategy<Value = String> {
    let method = mostly(&["PATCH", "GET", "POST", "HEAD", "CONNECT", "patch", "M-SEARCH", ""]);
    let target = mostly(&["/a", "*", "/a?b#c", "http://h/a", "h:1", "/%zz", "/\u{e4}", "/a b", "a", "http://", "//"]);
    let version = mostly(&["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"]);
    let host = mostly(&["Host: h", "Host:", "Host: h:80", "Host: h h", "Accept: x", "host: [::1]"]);
    let odd = prop_oneof![8 => Just(Vec::new()), 2 => prop::collection::vec(header(), 1..4)];
    let end = mostly(&["\r\n", "\n", "\r", "\r\n\r\n"]);
    let lead = mostly(&["", "\r\n", "\n", "\r\n\r\n", " "]);
    (lead, method, target, version, host, mostly(framing_headers), odd, end).prop_map(
        |(lead, method, target, version, host, framing, odd, end)| {
            let mut lines = vec![format!("{method} {target} {version}"), host];
            lines.extend((!framing.is_empty()).then_some(framing));
            lines.extend(odd);
            format!("{lead}{}{end}{end}", lines.join(&end))
        },
    )
}

fn chunk() -> impl Strategy<Value = String> {
    let size =
        prop_oneof![8 => Just(None), 1 => pick(&["0x", "", "-", "+", " ", "00000000000000000", "g"]).prop_map(Some)];
    let extension = mostly(&["", ";a", ";a=\"b\"", " ;a", " ", "\t", ";\u{e4}", ";\n", ";\0", ";\""]);
    let line_end = || mostly(&["\r\n", "\n", "\r", "", "\r\r\n"]);
    (1..20_usize, size, extension, line_end(), line_end()).prop_map(|(length, prefix, extension, first, second)| {
        format!(
            "{}{length:x}{extension}{first}{}{second}",
            prefix.unwrap_or_default(),
            "0\r\n".repeat(7).split_at(length).0
        )
    })
}

fn trailer() -> impl Strategy<Value = String> {
    mostly(&[
        "Upload-Checksum: sha1 Zm9v\r\n",
        "a:b\r\n",
        "a: b\n",
        " a: b\r\n",
        "a\r\n",
        ":\r\n",
        "a:\0\r\n",
        "\n",
        "a: b\r\r\n",
    ])
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let bare = head(&[""]).prop_map(String::into_bytes);
    let with_length =
        (head(&["Content-Length: 7", "Content-Length: 6", "Content-Length: 8"]), pick(&["1234567", "GET / H"]))
            .prop_map(|(head, body)| (head + &body).into_bytes());
    let last = mostly(&["0\r\n", "00;x\r\n", "0\n", "", "0 \r\n", "0\r\n0\r\n"]);
    let end = mostly(&["\r\n", "\n", "", "\r"]);
    let chunked = (
        head(&["Transfer-Encoding: chunked", "transfer-encoding:chunked"]),
        prop::collection::vec(chunk(), 0..4),
        last,
        prop::collection::vec(trailer(), 0..3),
        end,
    )
        .prop_map(|(head, chunks, last, trailers, end)| {
            format!("{head}{}{last}{}{end}", chunks.concat(), trailers.concat()).into_bytes()
        });
    prop_oneof![1 => bare, 2 => with_length, 4 => chunked]
}

/// Bytes that mean something to a parser, and any others.
fn odd_byte() -> impl Strategy<Value = u8> {
    prop_oneof![3 => proptest::sample::select(&b"\r\n:; \t0aF\0\x7f\xff\"HP/"[..]), 1 => any::<u8>()]
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), odd_byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (at(), odd_byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        at().prop_map(Mutation::Remove),
        (at(), at()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let mutations = prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(mutation(), 1..4)];
    (prop::collection::vec(request(), 1..5), mutations).prop_map(|(requests, mutations)| {
        let mut stream = requests.concat();
        for mutation in &mutations {
            match mutation {
                Mutation::Replace(at, byte) if !stream.is_empty() => *at.get_mut(&mut stream) = *byte,
                Mutation::Insert(at, byte) => stream.insert(at.index(stream.len() + 1), *byte),
                Mutation::Remove(at) if !stream.is_empty() => drop(stream.remove(at.index(stream.len()))),
                Mutation::Repeat(from, to) if !stream.is_empty() => {
                    let from = from.index(stream.len());
                    let repeated = stream[from..(from + 40).min(stream.len())].to_vec();
                    let to = to.index(stream.len() + 1);
                    stream.splice(to..to, repeated);
                }
                Mutation::Replace(..) | Mutation::Remove(_) | Mutation::Repeat(..) => {}
            }
        }
        stream
    })
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![usize::MAX]),
        Just(vec![1]),
        prop::collection::vec(1..60_usize, 1..12),
        prop::collection::vec(1..4_usize, 1..12),
    ]
}

/// `PROPTEST_CASES` sets how many streams are tried.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(512)
}

#[test]
fn no_stream_is_read_in_two_ways() {
    let finished = std::cell::Cell::new(0);
    let streams_malformed = std::cell::Cell::new(0);
    actix_rt::System::new().block_on(async {
        let config = ServiceConfig::default();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: cases(),
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        runner
            .run(&(stream(), pieces(), pieces()), |(stream, our_pieces, actix_pieces)| {
                finished.set(finished.get() + compare(&config, &stream, &our_pieces, &actix_pieces));
                let (_, _, framing) = read_with_framing(&stream);
                streams_malformed.set(streams_malformed.get() + u32::from(framing.malformed().is_some()));
                Ok(())
            })
            .unwrap();
    });
    // A comparison of nothing but refusals, or of none, would say little.
    assert!(finished.get() > cases() as usize / 4, "only {} requests were read to their end", finished.get());
    assert!(streams_malformed.get() > cases() / 8, "only {} streams were malformed", streams_malformed.get());
}

#[test]
fn known_shapes_are_read_alike() {
    actix_rt::System::new().block_on(async {
        let config = ServiceConfig::default();
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (body, finished) in [
            ("0\r\n\r\nGET / HTTP/1.0\r\n\r\n", 2),
            ("3;a=\"b\"\r\nabc\r\n000\r\nA: b\r\nC: d\r\n\r\nGET / HTTP/1.0\r\n\r\n", 2),
            // actix-http takes a line feed as the first byte of a trailer, so bare line ends would move the end.
            ("0\r\n\nGET / HTTP/1.0\r\n\r\n\r\n", 0),
            ("0\r\nA: b\n\r\nGET / HTTP/1.0\r\n\r\n", 0),
            ("0\r\nA: b\r\n c\r\n\r\nGET / HTTP/1.0\r\n\r\n", 0),
            ("00000000000000000\r\n\r\nGET / HTTP/1.0\r\n\r\n", 0),
        ] {
            let stream = format!("{chunked}{body}");
            for size in [1, 2, 5, 1000] {
                assert_eq!(compare(&config, stream.as_bytes(), &[size], &[3]), finished, "{stream:?}");
                assert_eq!(compare(&config, stream.as_bytes(), &[3], &[size]), finished, "{stream:?}");
            }
        }
    });
}
