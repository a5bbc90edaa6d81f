//! Checksum and checksum-trailer. The digests are those of `hello world` and of its two halves.

mod support;

use support::{Client, OFFSET_TYPE, Server, chunked, head};

/// Of `hello world`.
const DIGESTS: [&str; 5] = [
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    "sha512 MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
    "md5 XrY7u+Ae7tCTyyK7j1rNww==",
    "crc32 DUoRhQ==",
];

/// Of `hello`.
const HELLO: [&str; 5] = [
    "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    "sha256 LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    "sha512 m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==",
    "md5 XUFAKrxLKna5cZ2REBfFkg==",
    "crc32 NhCmhg==",
];

const SHA1: &str = DIGESTS[0];
const SHA1_HELLO: &str = HELLO[0];
const SHA1_WORLD: &str = "sha1 P4InJqDJ+1VmGOnLl/tkL372LW8=";

/// Of 12 MiB that count from 0 to 250 over and over.
const SHA1_LARGE: &str = "sha1 tAeym8Uhyu5gyGex7Bfd+WWkNF8=";

fn checked(digest: &str) -> [(&str, &str); 1] {
    [("Upload-Checksum", digest)]
}

/// The head of a chunked PATCH at offset 0 whose checksum is to follow the body.
fn trailing_head(path: &str) -> String {
    let chunked = ("Transfer-Encoding", "chunked");
    head("PATCH", path, &[OFFSET_TYPE, ("Upload-Offset", "0"), chunked, ("Trailer", "Upload-Checksum")])
}

fn trailing(server: &Server, path: &str, bytes: &[u8], trailers: &[(&str, &str)]) -> Client {
    let mut client = server.connect();
    client.send(trailing_head(path));
    client.send(chunked(bytes, 4, trailers));
    client
}

/// Headers, Tus-Checksum-Algorithm: in OPTIONS, lower-case names, sha1 among them.
#[test]
fn options_tells_the_algorithms() {
    let server = Server::start(&[]);
    assert!(server.announces("checksum") && server.announces("checksum-trailer"));
    let options = server.options();
    let algorithms: Vec<&str> = options.the("Tus-Checksum-Algorithm").split(',').collect();
    let tested: Vec<&str> = DIGESTS.iter().filter_map(|digest| digest.split(' ').next()).collect();
    assert_eq!(algorithms, tested, "what is announced, and what the tests below try");
    for name in algorithms {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{name:?}");
    }
}

/// Checksum: 204 when it matches, with each algorithm, over one chunk of several.
#[test]
fn a_matching_checksum_is_stored() {
    let server = Server::start(&[]);
    for (whole, half) in DIGESTS.iter().zip(HELLO) {
        let path = server.create(11);
        server.patch_with(&path, 0, &checked(whole), b"hello world").appended(11);
        assert_eq!(server.content(&path), b"hello world");
        let path = server.create(11);
        server.patch_with(&path, 0, &checked(half), b"hello").appended(5);
        server.patched(&path, 5, b" world");
        assert_eq!(server.content(&path), b"hello world");
    }
}

/// Checksum: 460 when it does not match; the chunk is discarded and the offset stays.
#[test]
fn a_mismatch_discards_the_chunk() {
    let server = Server::start(&[]);
    for (whole, half) in DIGESTS.iter().zip(HELLO) {
        let path = server.create(11);
        assert_eq!(server.patch_with(&path, 0, &checked(half), b"hello world").status, 460);
        assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
        assert_eq!(server.patch_with(&path, 0, &checked(whole), b"hello").status, 460);
        assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
        server.patch_with(&path, 0, &checked(whole), b"hello world").appended(11);
        assert_eq!(server.content(&path), b"hello world");
    }
}

/// Checksum: it covers the current body only, and a mismatch leaves the chunks before it.
#[test]
fn a_mismatch_leaves_the_earlier_chunks() {
    let server = Server::start(&[]);
    let path = server.create(11);
    server.patch_with(&path, 0, &checked(SHA1_HELLO), b"hello").appended(5);
    let response = server.patch_with(&path, 5, &checked(SHA1), b" world");
    assert_eq!(response.status, 460, "{response:?}");
    assert!(response.text().starts_with("ERR_"), "{}", response.text());
    assert_eq!((server.offset(&path), server.stored(&path)), (5, 5));
    server.patch_with(&path, 5, &checked(SHA1_WORLD), b" world").appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Checksum: an algorithm that the server lacks is 400, and so is what is no checksum.
#[test]
fn an_unknown_algorithm_is_refused() {
    let server = Server::start(&[]);
    let path = server.create(11);
    for digest in
        ["sha3 qvTGHdzF6KLavt4PO0gs2a6pQ00=", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1", "sha1 not*base64", "=", ","]
    {
        let response = server.patch_with(&path, 0, &checked(digest), b"hello world");
        assert_eq!(response.status, 400, "{digest:?}: {response:?}");
        assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    }
    let short = server.patch_with(&path, 0, &checked("sha1 Kq5s"), b"hello world");
    assert!(matches!(short.status, 400 | 460), "{short:?}");
    assert_eq!(server.offset(&path), 0);
}

/// Checksum: the chunk may be larger than what a server likes to hold in memory.
#[test]
fn a_large_chunk_is_verified_whole() {
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..12 << 20).map(|index: u32| (index % 251) as u8).collect();
    let path = server.create(bytes.len() as u64);
    assert_eq!(server.patch_with(&path, 0, &checked(SHA1), &bytes).status, 460);
    assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    server.patch_with(&path, 0, &checked(SHA1_LARGE), &bytes).appended(bytes.len() as u64);
    assert!(server.content(&path) == bytes);
}

/// Checksum with Creation With Upload: similar rules as for PATCH; the upload is there, empty, when it mismatches.
#[test]
fn a_checksum_on_creation_covers_the_body() {
    let server = Server::start(&[]);
    let length = ("Upload-Length", "11");
    let response = server.post(&[OFFSET_TYPE, length, ("Upload-Checksum", SHA1)], b"hello world");
    assert_eq!((response.status, response.offset()), (201, 11));
    assert_eq!(server.content(&response.path()), b"hello world");
    let response = server.post(&[OFFSET_TYPE, length, ("Upload-Checksum", SHA1_HELLO)], b"hello world");
    assert_eq!(response.status, 460, "{response:?}");
    let path = response.path();
    assert_eq!(server.offset(&path), 0);
    server.patch_with(&path, 0, &checked(SHA1), b"hello world").appended(11);
    let response = server.post(&[OFFSET_TYPE, length, ("Upload-Checksum", "sha3 AAAA")], b"hello world");
    assert_eq!(response.status, 400, "{response:?}");
}

/// Checksum, trailer: the digest may follow the body; it counts like a header.
#[test]
fn a_trailer_is_verified() {
    let server = Server::start(&[]);
    for digest in DIGESTS {
        let path = server.create(11);
        trailing(&server, &path, b"hello world", &[("Upload-Checksum", digest)]).answer().appended(11);
        assert_eq!(server.content(&path), b"hello world");
    }
    for digest in HELLO {
        let path = server.create(11);
        let response = trailing(&server, &path, b"hello world", &[("Upload-Checksum", digest)]).answer();
        assert_eq!(response.status, 460, "{response:?}");
        assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    }
}

/// RFC 9110 5.1 and 6.5: field names have no case, and other trailers may stand beside it.
#[test]
fn a_trailer_is_found_among_others_in_any_case() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let trailers = [("X-Trace", "1"), ("UPLOAD-checksum", SHA1), ("X-End", "2")];
    trailing(&server, &path, b"hello world", &trailers).answer().appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Checksum, trailer: announced but absent or unreadable means that nothing can be verified, so nothing is stored.
#[test]
fn a_trailer_that_is_missing_or_malformed_discards_the_chunk() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let wrong = [("Upload-Checksum", "sha1")];
    let unknown = [("Upload-Checksum", "sha3 AAAA")];
    let other = [("X-Trace", "1")];
    for trailers in [&[] as &[_], &other, &wrong, &unknown] {
        let response = trailing(&server, &path, b"hello world", trailers).answer();
        assert_eq!(response.status, 400, "{trailers:?}: {response:?}");
        assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    }
    trailing(&server, &path, b"hello world", &[("Upload-Checksum", SHA1)]).answer().appended(11);
}

/// RFC 9112 7.1: however the bytes are cut into segments, and with extensions, the framing is the same.
#[test]
fn a_trailer_is_found_however_the_bytes_arrive() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut client = server.connect();
    client.send_slowly(trailing_head(&path).as_bytes());
    client.send_slowly(b"5;name=value\r\nhello\r\n006\r\n world\r\n0\r\nUpload-Checksum: ");
    client.send_slowly(format!("{SHA1}\r\n\r\n").as_bytes());
    client.answer().appended(11);
    assert_eq!(server.content(&path), b"hello world");
    assert_eq!(client.request("HEAD", &path, &[], b"").offset(), 11, "the connection goes on");
}

/// RFC 9112 9.3: what is pipelined behind the trailer is the next request.
#[test]
fn requests_behind_a_trailer_are_served() {
    let server = Server::start(&[]);
    let (first, second) = (server.create(11), server.create(11));
    let mut message = Vec::new();
    for (path, digest) in [(&first, SHA1), (&second, SHA1_HELLO)] {
        message.extend_from_slice(trailing_head(path).as_bytes());
        message.extend_from_slice(&chunked(b"hello world", 6, &[("Upload-Checksum", digest)]));
        message.extend_from_slice(head("HEAD", path, &[]).as_bytes());
    }
    let mut client = server.connect();
    client.send(message);
    client.answer().appended(11);
    assert_eq!(client.answer_to("HEAD").offset(), 11);
    assert_eq!(client.answer().status, 460);
    assert_eq!(client.answer_to("HEAD").offset(), 0);
}

/// Checksum, trailer, with Creation With Upload.
#[test]
fn a_trailer_on_creation_is_verified() {
    let server = Server::start(&[]);
    let headers =
        [OFFSET_TYPE, ("Upload-Length", "11"), ("Transfer-Encoding", "chunked"), ("Trailer", "Upload-Checksum")];
    for (digest, status, offset) in [(SHA1, 201, 11), (SHA1_HELLO, 460, 0)] {
        let mut client = server.connect();
        client.send(head("POST", &server.base, &headers));
        client.send(chunked(b"hello world", 5, &[("Upload-Checksum", digest)]));
        let response = client.answer();
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(server.offset(&response.path()), offset);
    }
}

/// Checksum: a body that breaks off cannot be verified, so none of it counts.
#[test]
fn a_checked_body_that_breaks_off_leaves_nothing() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let message = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "11"), ("Upload-Checksum", SHA1)];
    let message = head("PATCH", &path, &message) + "hello";
    let mut client = server.connect();
    client.send(&message);
    client.finish();
    client.answer().refused(400, "ERR_UNEXPECTED_EOF");
    assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    let mut client = server.connect();
    client.send(&message);
    client.reset();
    assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    let mut client = server.connect();
    client.send(trailing_head(&path) + "5\r\nhello\r\n");
    client.finish();
    assert_eq!(client.answer().status, 400);
    assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    server.patch_with(&path, 0, &checked(SHA1), b"hello world").appended(11);
}

/// Checksum: the next request for the upload ends one that stalls, and gets an offset without its bytes.
#[test]
fn a_checked_body_that_is_taken_over_leaves_nothing() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let message = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "11"), ("Upload-Checksum", SHA1)];
    let mut stalled = server.connect();
    stalled.send(head("PATCH", &path, &[&message[..], &[("Expect", "100-continue")]].concat()));
    assert_eq!(stalled.interim(), 100);
    stalled.send("hello");
    server.patch_with(&path, 0, &checked(SHA1), b"hello world").appended(11);
    stalled.answer().refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert_eq!(server.content(&path), b"hello world");
}

/// Checksum: a crash in the middle of a body leaves the offset where it was.
#[test]
fn a_crash_in_a_checked_body_leaves_nothing() {
    let mut server = Server::start(&[]);
    let path = server.create(11);
    let message = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "11"), ("Upload-Checksum", SHA1)];
    let mut client = server.connect();
    client.send(head("PATCH", &path, &message) + "hello worl");
    server.kill();
    server.start_again();
    assert_eq!((server.offset(&path), server.stored(&path)), (0, 0));
    server.patch_with(&path, 0, &checked(SHA1), b"hello world").appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Checksum: a chunk that is discarded leaves the upload as it was, its deferred length too, so that the same request
/// may come again.
#[test]
fn a_length_declared_with_a_discarded_chunk_is_not_taken() {
    let server = Server::start(&[]);
    let path = server.create_with(&[("Upload-Defer-Length", "1")]);
    server.patched(&path, 0, b"hello");
    let declared = |digest| [("Upload-Length", "11"), ("Upload-Checksum", digest)];
    for (digest, status) in [(SHA1, 460), ("sha3 AAAA", 400)] {
        assert_eq!(server.patch_with(&path, 5, &declared(digest), b" world").status, status);
        let response = server.head(&path);
        assert_eq!((response.offset(), response.the("Upload-Defer-Length")), (5, "1"));
        assert_eq!(response.header("Upload-Length"), None);
    }
    server.patch_with(&path, 5, &declared(SHA1_WORLD), b" world!").refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    server.patch_with(&path, 5, &declared(SHA1_WORLD), b" world").appended(11);
    let response = server.head(&path);
    assert_eq!((response.the("Upload-Length"), response.header("Upload-Defer-Length")), ("11", None));
    assert_eq!(server.content(&path), b"hello world");
}
