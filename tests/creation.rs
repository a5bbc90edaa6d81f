//! Creation, creation-with-upload and creation-defer-length.

mod support;

use std::fs;

use support::{OFFSET_TYPE, Response, Server, chunked, head, wait_until};

const DEFERRED: (&str, &str) = ("Upload-Defer-Length", "1");

/// Creation, POST: 201 with the upload's URL, relative so that no proxy can make it wrong.
#[test]
fn creation_answers_with_a_relative_location() {
    let server = Server::start(&[]);
    let forwarded = [("Upload-Length", "5"), ("X-Forwarded-Host", "up.example"), ("X-Forwarded-Proto", "https")];
    for headers in [&forwarded[..1], &forwarded] {
        let response = server.post(headers, b"");
        assert_eq!((response.status, response.body.as_slice()), (201, b"".as_slice()));
        let id = response.the("Location").strip_prefix("/files/").expect("a path below the base path");
        let id = if server.is_on_disk() { id } else { id.split_once('+').expect("a multipart upload's id").0 };
        assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id:?}");
        assert_eq!(response.header("Upload-Offset"), None, "no body was taken");
        assert_eq!(server.offset(&response.path()), 0);
    }
}

/// Creation, POST: `Location` may be absolute; then it follows `Host`, and proxies only when told to trust them.
#[test]
fn an_absolute_location_follows_the_host() {
    let server = Server::start(&["--set", "server.absolute_location=true"]);
    let forwarded = [("Upload-Length", "5"), ("Host", "me.example:81"), ("X-Forwarded-Host", "evil.example")];
    let response = server.post(&forwarded, b"");
    assert!(response.the("Location").starts_with("http://me.example:81/files/"), "{response:?}");
    assert_eq!(server.offset(&response.path()), 0);
}

/// RFC 7239 4: what a trusted proxy says about host and scheme ends up in the URL, never a list.
#[test]
fn an_absolute_location_behind_a_proxy_follows_the_proxy() {
    let server = Server::start(&["--set", "server.absolute_location=true", "--set", "server.behind_proxy=true"]);
    let origin = |headers: &[(&str, &str)]| {
        let response = server.post(&[&[("Upload-Length", "5"), ("Host", "me.example")], headers].concat(), b"");
        let location = response.the("Location").to_owned();
        location.split_once("/files/").expect("an upload's URL").0.to_owned()
    };
    let (host, proto) = (("X-Forwarded-Host", "up.example"), ("X-Forwarded-Proto", "https"));
    assert_eq!(origin(&[]), "http://me.example");
    assert_eq!(origin(&[host]), "http://up.example");
    assert_eq!(origin(&[host, proto]), "https://up.example");
    assert_eq!(origin(&[host, ("X-Forwarded-Proto", "gopher")]), "http://up.example");
    assert_eq!(origin(&[("X-Forwarded-Host", "up.example:443"), proto]), "https://up.example");
    assert_eq!(origin(&[("X-Forwarded-Host", "up.example, inner.example"), proto]), "https://up.example");
    assert_eq!(origin(&[host, ("Forwarded", "for=1.2.3.4;host=f.example;proto=https")]), "https://f.example");
    assert_eq!(origin(&[("Forwarded", "host=\"f.example:8443\";proto=https")]), "https://f.example:8443");
}

/// Headers, Upload-Length: a non-negative integer; one of the two length headers must be there.
#[test]
fn a_length_that_is_no_number_is_refused() {
    let server = Server::start(&[]);
    for length in
        ["", "-1", "-0", "+5", "five", "5.0", "0x5", "5,5", "1 2", "9223372036854775808", "99999999999999999999"]
    {
        server.post(&[("Upload-Length", length)], b"").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    }
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Creation, POST: `Upload-Length: 0` is complete at once.
#[test]
fn an_empty_upload_is_complete_at_once() {
    let server = Server::start(&[]);
    let path = server.create(0);
    let response = server.head(&path);
    assert_eq!((response.offset(), response.the("Upload-Length")), (0, "0"));
    assert_eq!(server.content(&path), b"");
    server.patch(&path, 0, b"").appended(0);
}

/// Creation, POST: above `Tus-Max-Size` it is 413.
#[test]
fn a_length_above_the_largest_size_is_refused() {
    let server = Server::start(&["--set", "tus.max_size_bytes=100"]);
    for length in ["101", "9223372036854775807"] {
        server.post(&[("Upload-Length", length)], b"").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    }
    assert_eq!(server.names(), Vec::<String>::new());
    let path = server.create(100);
    server.patched(&path, 0, &[7; 100]);
}

/// Headers, Upload-Defer-Length: it stays until the length is known, and goes then.
#[test]
fn a_deferred_length_is_declared_later_and_only_once() {
    let server = Server::start(&[]);
    let path = server.create_with(&[DEFERRED]);
    for (offset, bytes) in [(0, b"hel".as_slice()), (3, b"lo")] {
        let response = server.head(&path);
        assert_eq!((response.offset(), response.the("Upload-Defer-Length")), (offset, "1"));
        assert_eq!(response.header("Upload-Length"), None);
        server.patched(&path, offset, bytes);
    }
    server.patch_with(&path, 5, &[("Upload-Length", "11")], b" wor").appended(9);
    let response = server.head(&path);
    assert_eq!((response.the("Upload-Length"), response.header("Upload-Defer-Length")), ("11", None));
    server.patch_with(&path, 9, &[("Upload-Length", "12")], b"ld").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    assert_eq!(server.offset(&path), 9);
    server.patched(&path, 9, b"ld");
    assert_eq!(server.content(&path), b"hello world");
}

/// Creation, POST: the length may come with the last bytes or after them.
#[test]
fn a_length_declared_without_bytes_completes_the_upload() {
    let server = Server::start(&[]);
    let path = server.create_with(&[DEFERRED]);
    server.patched(&path, 0, b"hello");
    server.get(&path, &[]).refused(400, "ERR_INCOMPLETE_UPLOAD");
    server.patch_with(&path, 5, &[("Upload-Length", "5")], b"").appended(5);
    assert_eq!(server.content(&path), b"hello");
}

/// Creation, POST: a length that cannot be is not taken, and may be declared right afterwards.
#[test]
fn a_declared_length_that_cannot_be_is_refused() {
    let server = Server::start(&["--set", "tus.max_size_bytes=100"]);
    let path = server.create_with(&[DEFERRED]);
    server.patched(&path, 0, b"hello");
    for (length, status) in [("4", 400), ("-1", 400), ("five", 400), ("+6", 400)] {
        let response = server.patch_with(&path, 5, &[("Upload-Length", length)], b"!");
        response.refused(status, "ERR_INVALID_UPLOAD_LENGTH");
    }
    let beyond = server.patch_with(&path, 5, &[("Upload-Length", "101")], b"!");
    assert!(matches!(beyond.status, 400 | 413), "{beyond:?}");
    assert_eq!(server.head(&path).the("Upload-Defer-Length"), "1");
    server.patch_with(&path, 5, &[("Upload-Length", "6")], b"!").appended(6);
    assert_eq!(server.content(&path), b"hello!");
}

/// Headers, Tus-Max-Size: a hard limit, for uploads of unknown length too.
#[test]
fn a_deferred_upload_cannot_pass_the_largest_size() {
    let server = Server::start(&["--set", "tus.max_size_bytes=10"]);
    let path = server.create_with(&[DEFERRED]);
    assert_eq!(server.patch(&path, 0, b"hello world").status, 413);
    assert_eq!(server.offset(&path), 0);
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked")];
    let response = server.request("PATCH", &path, &headers, &chunked(b"hello world", 4, &[]));
    assert_eq!(response.status, 413, "{response:?}");
    assert!(server.offset(&path) <= 10);
}

/// Headers, Upload-Defer-Length: its value is 1, and it excludes `Upload-Length`.
#[test]
fn a_deferral_other_than_1_or_beside_a_length_is_refused() {
    let server = Server::start(&[]);
    for value in ["0", "2", "true", "1 1", "01"] {
        server.post(&[("Upload-Defer-Length", value)], b"").refused(400, "ERR_INVALID_UPLOAD_LENGTH_DEFER");
    }
    server.post(&[DEFERRED, ("Upload-Length", "5")], b"").refused(400, "ERR_AMBIGUOUS_UPLOAD_LENGTH");
    assert_eq!(server.names(), Vec::<String>::new());
}

fn metadata(response: &Response) -> Vec<String> {
    let mut entries: Vec<String> =
        response.the("Upload-Metadata").split(',').map(|entry| entry.trim().to_owned()).collect();
    entries.sort();
    entries
}

/// Headers, Upload-Metadata: HEAD gives back what the client sent, through restarts, binary values too.
#[test]
fn metadata_comes_back_as_it_was_sent() {
    let mut server = Server::start(&[]);
    let sent = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential,binary //79AAo=";
    let path = server.create_with(&[("Upload-Length", "5"), ("Upload-Metadata", sent)]);
    let expected = ["binary //79AAo=", "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==", "is_confidential"];
    assert_eq!(metadata(&server.head(&path)), expected);
    server.restart();
    server.patched(&path, 0, b"hello");
    assert_eq!(metadata(&server.head(&path)), expected);
}

/// Headers, Upload-Metadata: malformed entries do no harm to the others, and none at all is no header.
#[test]
fn malformed_metadata_is_no_error() {
    let server = Server::start(&[]);
    for sent in ["a YQ==,b not*base64", "a YQ==,,", "a YQ==, c d e", " a  YQ==,a YQ==", "x YQ==x,a YQ=="] {
        let path = server.create_with(&[("Upload-Length", "5"), ("Upload-Metadata", sent)]);
        assert_eq!(server.head(&path).status, 200, "{sent:?}");
    }
    let path = server.create_with(&[("Upload-Length", "5"), ("Upload-Metadata", "a YQ==,b not*base64")]);
    assert!(metadata(&server.head(&path)).contains(&"a YQ==".to_owned()));
    let mut client = server.connect();
    client.send(
        head("POST", &server.base, &[("Upload-Length", "5")]).replace("\r\n\r\n", "\r\nUpload-Metadata:\r\n\r\n"),
    );
    let response = client.answer();
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(server.head(&response.path()).header("Upload-Metadata"), None);
}

/// Creation With Upload: the answer tells how many of the bytes were taken.
#[test]
fn creation_with_upload_takes_a_part_or_all() {
    let server = Server::start(&[]);
    for bytes in [b"hello".as_slice(), b"hello world"] {
        let response = server.post(&[OFFSET_TYPE, ("Upload-Length", "11")], bytes);
        assert_eq!((response.status, response.offset()), (201, bytes.len() as u64));
        let path = response.path();
        assert_eq!(server.offset(&path), bytes.len() as u64);
        server.patched(&path, bytes.len() as u64, &b"hello world"[bytes.len()..]);
        assert_eq!(server.content(&path), b"hello world");
    }
}

/// Creation With Upload: bytes that come with the head are stored in one go with what is known of the upload, those that come
/// later after it. Nobody can tell which of it was done.
#[test]
fn creation_with_all_bytes_makes_the_same_upload_when_they_come_later() {
    for durability in ["none", "complete", "always"] {
        let server = Server::start(&["--set", &format!("storage.durability={durability}")]);
        for concat in [[].as_slice(), &[("Upload-Concat", "partial")]] {
            let headers = [
                [OFFSET_TYPE, ("Upload-Length", "11"), ("Content-Length", "11"), ("Upload-Metadata", "a YQ==")]
                    .as_slice(),
                concat,
            ];
            let head = head("POST", &server.base, &headers.concat());
            let mut client = server.connect();
            client.send([head.as_bytes(), b"hello world"].concat());
            let at_once = client.answer();
            let before = server.count();
            client.send(&head);
            wait_until("the upload is there", || server.count() > before);
            client.send(b"hello world");
            let later = client.answer();
            for response in [&at_once, &later] {
                assert_eq!((response.status, response.offset()), (201, 11));
                assert_eq!(server.content(&response.path()), b"hello world");
            }
            let seen = |response: &Response| {
                let path = response.path();
                let head = server.head(&path);
                let told = ["Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Concat", "Upload-Expires"];
                let told = told.map(|name| head.header(name).map(str::to_owned));
                let info = server.is_on_disk().then(|| {
                    let info = server.file_of(&format!("{path}.info"));
                    fs::read_to_string(info).unwrap().replace(server.id_of(&path), "")
                });
                (told, info)
            };
            assert_eq!(seen(&at_once), seen(&later));
        }
    }
}

/// Creation With Upload: chunked, of unknown length, after 100 Continue.
#[test]
fn creation_with_upload_takes_a_stream() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let stream = [OFFSET_TYPE, DEFERRED, ("Transfer-Encoding", "chunked"), ("Expect", "100-continue")];
    client.send(head("POST", &server.base, &stream));
    assert_eq!(client.interim(), 100);
    client.send(chunked(b"hello world", 2, &[]));
    let response = client.answer();
    assert_eq!((response.status, response.offset()), (201, 11));
    let response = server.head(&response.path());
    assert_eq!((response.offset(), response.the("Upload-Defer-Length")), (11, "1"));
}

/// Creation With Upload: the content type says that the body is upload data; of another type it is ignored.
#[test]
fn a_body_of_another_type_is_ignored() {
    let server = Server::start(&[]);
    let response = server.post(&[("Content-Type", "text/plain"), ("Upload-Length", "5")], b"hello");
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(server.offset(&response.path()), 0);
}

/// Creation With Upload: PATCH's rules hold for the body: more than fits is refused.
#[test]
fn creation_with_more_than_fits_is_refused() {
    let server = Server::start(&[]);
    let response = server.post(&[OFFSET_TYPE, ("Upload-Length", "5")], b"hello world");
    response.refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    if response.header("Location").is_some() {
        assert_eq!(server.offset(&response.path()), 0);
    }
}

/// Creation With Upload: as many bytes as possible are kept, and the client learns where to go on.
#[test]
fn creation_with_a_body_that_breaks_off_keeps_what_came() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client
        .send(head("POST", &server.base, &[OFFSET_TYPE, ("Upload-Length", "11"), ("Content-Length", "11")]) + "hello");
    client.finish();
    let response = client.answer();
    response.refused(400, "ERR_UNEXPECTED_EOF");
    let path = response.path();
    assert_eq!(server.offset(&path), 5);
    server.patched(&path, 5, b" world");
    assert_eq!(server.content(&path), b"hello world");
}

/// Creation, POST: one of the two length headers must be there, and a refused creation leaves nothing behind.
#[test]
fn a_creation_without_a_length_is_refused() {
    let server = Server::start(&["--set", "tus.max_size_bytes=100"]);
    server.post(&[], b"").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    server.post(&[OFFSET_TYPE], b"hello").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    server.post(&[OFFSET_TYPE, ("Upload-Length", "101")], b"hello").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    let deferred = server.post(&[OFFSET_TYPE, DEFERRED], &[7; 101]);
    deferred.refused(413, "ERR_MAX_SIZE_EXCEEDED");
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Creation With Upload: the content type alone says that bytes come, be they none; the answer tells the offset.
#[test]
fn creation_with_no_bytes_tells_the_offset() {
    let server = Server::start(&[]);
    for headers in [("Upload-Length", "5"), ("Upload-Length", "0"), DEFERRED] {
        let response = server.post(&[OFFSET_TYPE, headers], b"");
        assert_eq!((response.status, response.offset()), (201, 0), "{headers:?}");
        assert_eq!(server.offset(&response.path()), 0);
    }
}

/// Creation With Upload: of a chunked body, what fits is stored; the client learns where.
#[test]
fn creation_with_a_chunked_body_beyond_the_length_keeps_what_fits() {
    let server = Server::start(&[]);
    let stream = [OFFSET_TYPE, ("Upload-Length", "5"), ("Transfer-Encoding", "chunked")];
    let response = server.request("POST", &server.base, &stream, &chunked(b"hello world", 4, &[]));
    response.refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert!(response.closes());
    assert_eq!(server.content(&response.path()), b"hello");
}

/// RFC 9110 10.1.1: a creation that is refused is refused before its body is sent.
#[test]
fn a_refused_creation_does_not_ask_for_the_body() {
    let server = Server::start(&["--set", "tus.max_size_bytes=100"]);
    let expect = ("Expect", "100-continue");
    for (header, status) in [
        (("Upload-Length", "101"), 413),
        (("Upload-Length", "x"), 400),
        (("Upload-Concat", "x"), 400),
        (("Tus-Resumable", "0.1"), 412),
    ] {
        let mut client = server.connect();
        client.send(head("POST", &server.base, &[OFFSET_TYPE, header, expect, ("Content-Length", "5")]));
        let response = client.answer();
        assert_eq!((response.status, response.interims.len()), (status, 0), "{response:?}");
        assert!(response.closes() && client.closed());
    }
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Headers, Upload-Metadata: HEAD's value is the client's, byte for byte.
#[test]
fn metadata_comes_back_byte_for_byte() {
    let server = Server::start(&[]);
    for sent in ["a YQ==,b,c ZA==", "b Yg==,a YQ==", "a YQ==, b Yg==,,c", "e ,f Zg==", "a YQ==,a Yg=="] {
        let path = server.create_with(&[("Upload-Length", "5"), ("Upload-Metadata", sent)]);
        assert_eq!(server.head(&path).the("Upload-Metadata"), sent);
        server.patched(&path, 0, b"hello");
        assert_eq!(server.head(&path).the("Upload-Metadata"), sent, "finished");
    }
}

/// Headers, Location: a base path that is a URL begins every location, whatever the request says.
#[test]
fn a_base_url_begins_every_location() {
    let server = Server::start(&["--base-path", "https://cdn.example/up"]);
    let response = server.request("POST", "/up/", &[("Upload-Length", "5"), ("Host", "evil.example")], b"");
    assert!(response.the("Location").starts_with("https://cdn.example/up/"), "{response:?}");
    assert_eq!(server.offset(&response.path()), 0);
}
