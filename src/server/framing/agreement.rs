//! Our reading of requests against actix-http's own, on generated, mutated and cut streams: whatever we accept it must
//! accept as well, and see in it the same request with the same lines and the same body. No proxy in front should be able
//! to read otherwise what two independent readers agree on.

use actix_http::h1::{Codec, Message as Decoded, MessageType};
use actix_http::header::{HeaderMap, HeaderValue};
use actix_http::{ConnectionType, Request, ServiceConfig};
use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::Decoder as _;

use super::*;

const HEAD_MAX_BYTES: usize = 2048;

/// A request as actix sees it.
#[derive(Debug)]
struct Seen {
    request: Request,
    body_bytes: u64,
    /// How many bytes of the stream it took, if it has ended.
    end: Option<usize>,
}

/// The first request of a stream and how many there are, by actix; `None` when it refuses the stream before.
fn read_with_actix(config: &ServiceConfig, bytes: &[u8], pieces: &[usize]) -> Option<Seen> {
    let mut codec = Codec::new(config.clone());
    let mut buffer = BytesMut::new();
    let mut seen = None;
    let mut fed = 0;
    for piece in cut(bytes, pieces) {
        buffer.extend_from_slice(piece);
        fed += piece.len();
        loop {
            let begun = match codec.decode(&mut buffer) {
                Ok(None) => break,
                Err(_) => return seen,
                Ok(Some(Decoded::Item(request))) => {
                    assert!(seen.is_none(), "actix saw another request");
                    seen.insert(Seen { request, body_bytes: 0, end: None })
                }
                Ok(Some(Decoded::Chunk(Some(chunk)))) => {
                    let seen = seen.as_mut().unwrap();
                    seen.body_bytes += chunk.len() as u64;
                    continue;
                }
                Ok(Some(Decoded::Chunk(None))) => {
                    seen.as_mut().unwrap().end = Some(fed - buffer.len());
                    return seen;
                }
            };
            if codec.message_type() == MessageType::None {
                begun.end = Some(fed - buffer.len());
                return seen;
            }
        }
    }
    seen
}

/// Reads a body in pieces; how many bytes of data it has, how many bytes of the stream it took, and how it stands.
fn read_body(kind: BodyKind, bytes: &[u8], pieces: &[usize]) -> (u64, usize, Progress) {
    let mut body = Body::new(kind);
    let (mut data, mut taken) = (0, 0);
    for mut piece in cut(bytes, pieces) {
        while !piece.is_empty() && !body.is_over() {
            let step = body.step(piece);
            data += step.data as u64;
            taken += step.framing + step.data;
            piece = &piece[step.framing + step.data..];
            if let Progress::Fault(_) = step.progress {
                return (data, taken, step.progress);
            }
        }
    }
    (data, taken, if body.is_over() { Progress::End } else { Progress::More })
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

fn lines(headers: &HeaderMap) -> Vec<(String, &HeaderValue)> {
    let mut lines: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value)).collect();
    // Lines of one name stay in their order.
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines
}

/// What actix has seen is what we have: the head, and so many bytes of a body, which ends there.
fn assert_same(head: &Head, theirs: Option<Seen>, ours: (u64, Option<usize>), bytes: &[u8]) {
    let bytes = String::from_utf8_lossy(bytes);
    let Seen { request, body_bytes, end } = theirs.unwrap_or_else(|| panic!("actix refuses {bytes:?}"));
    let (seen, theirs) = (head.request.head(), request.head());
    assert_eq!((&seen.method, seen.version), (&theirs.method, theirs.version), "{bytes:?}");
    // An authority is compared as text: equal in all but case is not the same.
    assert_eq!(seen.uri.to_string(), theirs.uri.to_string(), "{bytes:?}");
    assert_eq!(lines(&seen.headers), lines(&theirs.headers), "{bytes:?}");
    // actix overlooks options in lines that aren't ASCII, or between quotes.
    assert!(head.expects || !theirs.expect(), "{bytes:?}");
    assert!(head.closes || theirs.connection_type() == ConnectionType::KeepAlive, "{bytes:?}");
    assert_eq!((body_bytes, end), ours, "of {bytes:?}");
}

/// Compares the readings of one stream. Returns how many requests were read to their end, and whether the stream is
/// refused somewhere.
fn compare(config: &ServiceConfig, mut stream: &[u8], our_pieces: &[usize], actix_pieces: &[usize]) -> (usize, bool) {
    let mut finished = 0;
    loop {
        let head = match read_head(&stream[..stream.len().min(HEAD_MAX_BYTES)]) {
            Ok(Some(head)) => head,
            Ok(None) => return (finished, false),
            Err(_) => return (finished, true),
        };
        if head.refusal.is_some() {
            return (finished, true);
        }
        let (body_bytes, taken, progress) = read_body(head.body, &stream[head.len..], our_pieces);
        assert_eq!(read_body(head.body, &stream[head.len..], actix_pieces), (body_bytes, taken, progress));
        let end = (progress == Progress::End).then_some(head.len + taken);
        let theirs = read_with_actix(config, &stream[..head.len + taken], actix_pieces);
        assert_same(&head, theirs, (body_bytes, end), &stream[..head.len + taken]);
        match progress {
            Progress::End => stream = &stream[head.len + taken..],
            Progress::More => return (finished, false),
            Progress::Fault(_) => return (finished, true),
        }
        finished += 1;
    }
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
    let (finished, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    actix_rt::System::new().block_on(async {
        let config = ServiceConfig::default();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: cases(),
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        runner
            .run(&(stream(), pieces(), pieces()), |(stream, our_pieces, actix_pieces)| {
                let (ended, is_refused) = compare(&config, &stream, &our_pieces, &actix_pieces);
                finished.set(finished.get() + ended);
                refused.set(refused.get() + u32::from(is_refused));
                Ok(())
            })
            .unwrap();
    });
    // A comparison of nothing but refusals, or of none, would say little.
    assert!(finished.get() > cases() as usize / 4, "only {} requests were read to their end", finished.get());
    assert!(refused.get() > cases() / 8, "only {} streams were refused", refused.get());
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
                assert_eq!(compare(&config, stream.as_bytes(), &[size], &[3]).0, finished, "{stream:?}");
                assert_eq!(compare(&config, stream.as_bytes(), &[3], &[size]).0, finished, "{stream:?}");
            }
        }
    });
}
