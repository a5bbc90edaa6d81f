//! Bodies and heads as they come: whole, in pieces, and with what follows them.

use super::*;
use crate::server::Fault;

/// Reads a body in pieces: its data, how much of the stream belonged to it, and how it ended.
fn read(kind: BodyKind, stream: &[u8], piece: usize) -> (Vec<u8>, usize, Progress, Trailers) {
    let mut body = Body::new(kind);
    let (mut data, mut taken) = (Vec::new(), 0);
    for mut bytes in stream.chunks(piece) {
        while !bytes.is_empty() && !body.is_over() {
            let step = body.step(bytes);
            data.extend_from_slice(&bytes[step.framing..step.framing + step.data]);
            taken += step.framing + step.data;
            bytes = &bytes[step.framing + step.data..];
            if let Progress::Fault(_) = step.progress {
                return (data, taken, step.progress, Trailers::new());
            }
        }
    }
    match body {
        Body::Over(trailers) => (data, taken, Progress::End, trailers),
        Body::Length(_) | Body::Chunked(_) => (data, taken, Progress::More, Trailers::new()),
    }
}

#[test]
fn a_body_ends_where_it_ends_however_it_is_cut() {
    let chunked = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\nGET";
    let trailers = vec![("a".to_owned(), b"b".to_vec())];
    for piece in 1..chunked.len() {
        assert_eq!(
            read(BodyKind::Chunked, chunked, piece),
            (b"abcde".to_vec(), chunked.len() - 3, Progress::End, trailers.clone())
        );
        assert_eq!(
            read(BodyKind::Length(5), b"helloGET", piece),
            (b"hello".to_vec(), 5, Progress::End, Trailers::new())
        );
        assert_eq!(read(BodyKind::Length(5), b"hell", piece), (b"hell".to_vec(), 4, Progress::More, Trailers::new()));
    }
    for kind in [BodyKind::None, BodyKind::Length(0)] {
        assert_eq!(read(kind, b"GET", 3), (Vec::new(), 0, Progress::End, Trailers::new()));
    }
}

#[test]
fn a_malformed_body_is_read_up_to_the_fault() {
    for piece in [1, 10, 1000] {
        let fault = Progress::Fault("chunk longer than its size");
        assert_eq!(
            read(BodyKind::Chunked, b"3\r\nabcX\r\n0\r\n\r\n", piece),
            (b"abc".to_vec(), 6, fault, Trailers::new())
        );
    }
}

#[test]
fn a_head_that_does_not_parse_is_an_error() {
    for head in ["GET\0/ HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nA : b\r\n\r\n", "\r\rGET"] {
        assert_eq!(read_head(head.as_bytes()).unwrap_err(), Fault::Malformed("invalid request head"), "{head:?}");
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(HEADERS_MAX + 1));
    assert_eq!(read_head(many.as_bytes()).unwrap_err(), Fault::HeadTooLarge("too many headers"));
    assert!(read_head(b"GET / HTTP/1.1\r\n").unwrap().is_none());
}
