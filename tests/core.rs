//! The core protocol of tus 1.0.0: HEAD, PATCH, OPTIONS and the headers that every answer carries.

mod support;

use support::{OFFSET_TYPE, Server, chunked, head};

const EXTENSIONS: [&str; 8] = [
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
];

/// Requests, OPTIONS; Headers, Tus-Version and Tus-Extension.
#[test]
fn options_tells_the_version_and_the_extensions() {
    let server = Server::start(&[]);
    let response = server.options();
    assert!(matches!(response.status, 200 | 204), "{response:?}");
    assert_eq!(response.the("Tus-Version"), "1.0.0");
    assert_eq!(response.the("Tus-Resumable"), "1.0.0");
    let mut expected = EXTENSIONS.to_vec();
    expected.sort_unstable();
    assert_eq!(response.elements("Tus-Extension"), expected);
    assert!(!response.the("Tus-Extension").contains(' '), "some clients do not trim");
    assert_eq!(response.body, b"");
}

/// Headers, Tus-Max-Size: a limit is announced, and only a limit. S3 has one of its own.
#[test]
fn options_tells_the_largest_size_only_when_there_is_one() {
    let unlimited = Server::start(&[]);
    assert_eq!(unlimited.options().header("Tus-Max-Size").is_none(), unlimited.is_on_disk());
    let limited = Server::start(&["--set", "tus.max_size_bytes=100"]);
    assert_eq!(limited.options().header("Tus-Max-Size"), Some("100"));
}

/// Requests, OPTIONS: the client's version is ignored.
#[test]
fn options_ignores_the_clients_version() {
    let server = Server::start(&[]);
    let upload = server.create(5);
    for path in [server.base.as_str(), &upload, &format!("{}unknown", server.base)] {
        let response = server.request("OPTIONS", path, &[("Tus-Resumable", "0.2.2")], b"");
        assert!(matches!(response.status, 200 | 204), "{path}: {response:?}");
        assert_eq!(response.the("Tus-Version"), "1.0.0");
    }
}

/// Headers, Tus-Resumable: another version is refused with 412 and `Tus-Version`, and nothing is done.
#[test]
fn a_request_of_another_version_is_refused_unprocessed() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let names = server.names();
    for version in ["0.2.2", "1.0", "1.0.1", "2.0.0", "1.0.0, 0.2.2"] {
        let version = ("Tus-Resumable", version);
        let append = [version, OFFSET_TYPE, ("Upload-Offset", "0")];
        for response in [
            server.post(&[version, ("Upload-Length", "5")], b""),
            server.request("PATCH", &path, &append, b"hello"),
            server.request("DELETE", &path, &[version], b""),
        ] {
            response.refused(412, "ERR_UNSUPPORTED_VERSION");
            assert_eq!(response.the("Tus-Version"), "1.0.0");
        }
        let response = server.request("HEAD", &path, &[version], b"");
        assert_eq!(response.status, 412, "{response:?}");
        assert_eq!(response.the("Tus-Version"), "1.0.0");
    }
    assert_eq!(server.offset(&path), 0);
    assert_eq!(server.names().len(), names.len(), "nothing was created");
}

/// Headers, Tus-Resumable: every request but OPTIONS must have it; HEAD without it is served as tusd does.
#[test]
fn a_request_without_a_version_is_refused_but_for_head() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let none = ("Tus-Resumable", "");
    server.post(&[none, ("Upload-Length", "5")], b"").refused(412, "ERR_UNSUPPORTED_VERSION");
    server.patch_with(&path, 0, &[none], b"hello").refused(412, "ERR_UNSUPPORTED_VERSION");
    server.request("DELETE", &path, &[none], b"").refused(412, "ERR_UNSUPPORTED_VERSION");
    let response = server.request("HEAD", &path, &[none], b"");
    assert_eq!((response.status, response.offset()), (200, 0));
}

/// Headers, Tus-Resumable: every answer names the version; none may be sniffed for scripts.
#[test]
fn every_answer_names_the_version() {
    let server = Server::start(&["--set", "tus.max_size_bytes=100"]);
    let path = server.create(5);
    let unknown = format!("{}00000000000000000000000000000000", server.base);
    for (response, status) in [
        (server.post(&[("Upload-Length", "5")], b""), 201),
        (server.post(&[], b""), 400),
        (server.post(&[("Upload-Length", "101")], b""), 413),
        (server.head(&path), 200),
        (server.head(&unknown), 404),
        (server.patch(&unknown, 0, b"x"), 404),
        (server.patch(&path, 3, b"x"), 409),
        (server.request("PUT", &path, &[], b""), 405),
        (server.patch(&path, 0, b"hello"), 204),
        (server.get(&path, &[]), 200),
        (server.get(&unknown, &[]), 404),
        (server.delete(&path), 204),
        (server.options(), 200),
    ] {
        assert!(response.status == status || (status == 200 && response.status == 204), "{status}: {response:?}");
        assert_eq!(response.header("Tus-Resumable"), Some("1.0.0"), "{response:?}");
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"), "{response:?}");
    }
}

/// Requests, HEAD: offset and length always, also at 0 and at the end, and never from a cache.
#[test]
fn head_tells_offset_and_length_and_is_never_cached() {
    let server = Server::start(&[]);
    let path = server.create(11);
    for (offset, bytes) in [(0, b"hello".as_slice()), (5, b" world"), (11, b"")] {
        let response = server.head(&path);
        assert!(matches!(response.status, 200 | 204), "{response:?}");
        assert_eq!(response.offset(), offset);
        assert_eq!(response.the("Upload-Length"), "11");
        assert_eq!(response.the("Cache-Control"), "no-store");
        assert_eq!(response.header("Upload-Defer-Length"), None);
        server.patched(&path, offset, bytes);
    }
}

/// Requests, HEAD: not found comes without `Upload-Offset`.
#[test]
fn head_of_an_unknown_upload_has_no_offset() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for id in ["00000000000000000000000000000000", "no-such-id", "a/b"] {
        let response = client.request("HEAD", &format!("{}{id}", server.base), &[], b"");
        assert_eq!(response.status, 404, "{response:?}");
        assert_eq!(response.header("Upload-Offset"), None);
    }
    assert_eq!(client.request("OPTIONS", &server.base, &[], b"").the("Tus-Version"), "1.0.0", "HEAD had no body");
}

/// Requests, PATCH: 204, the new offset is the sum, and the bytes lie where they belong.
#[test]
fn patch_appends_and_tells_the_sum() {
    let server = Server::start(&[]);
    let path = server.create(11);
    server.patch(&path, 0, b"hel").appended(3);
    server.patch(&path, 3, b"").appended(3);
    server.patch(&path, 3, b"lo wo").appended(8);
    assert_eq!(server.offset(&path), 8);
    server.patch(&path, 8, b"rld").appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Requests, PATCH: the bytes may come chunked, without a length.
#[test]
fn a_chunked_patch_without_a_length_is_taken() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked")];
    server.request("PATCH", &path, &headers, &chunked(b"hello world", 3, &[])).appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Requests, PATCH: any other content type is 415.
#[test]
fn another_content_type_is_refused() {
    let server = Server::start(&[]);
    let path = server.create(5);
    for content_type in ["", "application/octet-stream", "text/plain", "application/offset+octet-stream-2"] {
        let headers = [("Content-Type", content_type), ("Upload-Offset", "0")];
        server.request("PATCH", &path, &headers, b"hello").refused(415, "ERR_INVALID_CONTENT_TYPE");
    }
    assert_eq!(server.offset(&path), 0);
}

/// Requests, PATCH: an offset that is not the current one is 409, and the upload stays as it is.
#[test]
fn an_offset_that_does_not_match_is_a_conflict() {
    let server = Server::start(&[]);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    for offset in [0, 4, 6, 11, 12, i64::MAX as u64] {
        server.patch(&path, offset, b"X").refused(409, "ERR_MISMATCHED_OFFSET");
        assert_eq!(server.offset(&path), 5);
    }
    server.patched(&path, 5, b" world");
    assert_eq!(server.content(&path), b"hello world");
}

/// Headers, Upload-Offset: a non-negative integer, nothing else.
#[test]
fn an_offset_that_is_no_number_is_refused() {
    let server = Server::start(&[]);
    let path = server.create(5);
    for offset in
        ["", "-1", "-0", "+0", "zero", "0x0", "0.0", "0,0", "1e0", "0 0", "9223372036854775808", "99999999999999999999"]
    {
        let headers = [OFFSET_TYPE, ("Upload-Offset", offset)];
        server.request("PATCH", &path, &headers, b"hello").refused(400, "ERR_INVALID_OFFSET");
    }
    assert_eq!(server.offset(&path), 0);
}

/// Requests, PATCH: an upload that does not exist is 404.
#[test]
fn patch_of_an_unknown_upload_is_not_found() {
    let server = Server::start(&[]);
    let path = format!("{}00000000000000000000000000000000", server.base);
    server.patch(&path, 0, b"hello").refused(404, "ERR_UPLOAD_NOT_FOUND");
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Requests, PATCH: more than the upload has room for is refused before a byte is taken.
#[test]
fn a_length_beyond_the_room_is_refused_whole() {
    let server = Server::start(&[]);
    let path = server.create(5);
    server.patch(&path, 0, b"hello!").refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert_eq!(server.offset(&path), 0);
    server.patched(&path, 0, b"hel");
    server.patch(&path, 3, b"lo!").refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert_eq!(server.offset(&path), 3);
}

/// Requests, PATCH: of a body without a length, what fits is stored; the rest is refused.
#[test]
fn a_chunked_body_beyond_the_room_is_stored_up_to_the_length() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked")];
    let mut client = server.connect();
    let response = client.request("PATCH", &path, &headers, &chunked(b"hello world", 4, &[]));
    response.refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert!(response.closes() && client.closed());
    assert_eq!(server.offset(&path), 5);
    assert_eq!(server.content(&path), b"hello");
}

/// Requests, PATCH: the end of a complete upload is an offset like any other.
#[test]
fn a_complete_upload_takes_an_empty_patch_at_its_end_and_no_byte_more() {
    let server = Server::start(&[]);
    let path = server.uploaded(b"hello");
    server.patch(&path, 5, b"").appended(5);
    server.patch(&path, 0, b"HELLO").refused(409, "ERR_MISMATCHED_OFFSET");
    let response = server.patch(&path, 5, b"!");
    assert!(matches!(response.status, 204 | 413), "{response:?}");
    assert_eq!(server.content(&path), b"hello");
    assert_eq!(server.offset(&path), 5);
}

/// Headers, X-HTTP-Method-Override: it is the method, whatever the request line says.
#[test]
fn the_overriding_method_counts() {
    let server = Server::start(&[]);
    let path = server.create(11);
    for (method, offset, bytes) in [("POST", "0", b"hello".as_slice()), ("PUT", "5", b" world")] {
        let headers = [("X-HTTP-Method-Override", "PATCH"), OFFSET_TYPE, ("Upload-Offset", offset)];
        assert_eq!(server.request(method, &path, &headers, bytes).status, 204);
    }
    assert_eq!(server.content(&path), b"hello world");
    let response = server.request("PATCH", &path, &[("X-HTTP-Method-Override", "BREW")], b"");
    assert_eq!(response.status, 405, "{response:?}");
    let response = server.request("GET", &path, &[("X-HTTP-Method-Override", "DELETE")], b"");
    assert_eq!(response.status, 204, "{response:?}");
    server.head(&path).gone();
}

/// A method that a path does not have is 405 with those that it has.
#[test]
fn an_unknown_method_is_told_the_known_ones() {
    let server = Server::start(&[]);
    let path = server.create(5);
    for method in ["PUT", "POST", "TRACE", "BREW", "patch"] {
        let response = server.request(method, &path, &[], b"");
        assert_eq!((response.status, response.text().as_str()), (405, "method not allowed"), "{method}");
        assert_eq!(response.the("Allow"), "GET, HEAD, PATCH, DELETE");
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "BREW"] {
        let response = server.request(method, &server.base, &[], b"");
        assert_eq!((response.status, response.the("Allow")), (405, "POST"), "{method}");
    }
    assert_eq!(server.request("HEAD", &server.base, &[], b"").status, 405);
    assert_eq!(server.offset(&path), 0);
}

/// RFC 9110 10.1.1: the body is asked for once the head is found good, and never after a refusal.
#[test]
fn a_client_that_waits_for_100_continue_is_answered_first() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let expecting = |offset| {
        head(
            "PATCH",
            &path,
            &[OFFSET_TYPE, ("Upload-Offset", offset), ("Content-Length", "5"), ("Expect", "100-continue")],
        )
    };
    let mut client = server.connect();
    client.send(expecting("3"));
    let response = client.answer();
    response.refused(409, "ERR_MISMATCHED_OFFSET");
    assert_eq!(response.interims, Vec::<u16>::new(), "refused without asking for the body");
    let mut client = server.connect();
    client.send(expecting("0"));
    assert_eq!(client.interim(), 100);
    client.send("hello");
    client.answer().appended(5);
}

/// RFC 9112 9.3: one connection serves many requests, pipelined ones in their order.
#[test]
fn a_connection_serves_many_requests_in_order() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let patch = |offset, bytes: &str| {
        let length = bytes.len().to_string();
        head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", offset), ("Content-Length", &length)]) + bytes
    };
    let mut client = server.connect();
    client.send(patch("0", "hello") + &head("HEAD", &path, &[]) + &patch("5", " world") + &head("GET", &path, &[]));
    client.answer().appended(5);
    assert_eq!(client.answer_to("HEAD").offset(), 5);
    client.answer().appended(11);
    assert_eq!(client.answer().body, b"hello world");
    assert_eq!(client.request("DELETE", &path, &[], b"").status, 204);
}

/// Core Protocol: the structure of URLs is the server's; here it is a setting, with or without the last slash.
#[test]
fn uploads_live_below_the_base_path() {
    let server = Server::start(&["--set", "server.base_path=/up/loads/"]);
    assert_eq!(server.base, "/up/loads/");
    for path in ["/up/loads", "/up/loads/"] {
        let response = server.request("POST", path, &[("Upload-Length", "5")], b"");
        assert_eq!(response.status, 201, "{response:?}");
        assert!(response.path().starts_with("/up/loads/"), "{response:?}");
        server.patched(&response.path(), 0, b"hello");
    }
    let elsewhere = server.request("POST", "/up/loadsmore/", &[("Upload-Length", "5")], b"");
    assert_ne!(elsewhere.status, 201, "{elsewhere:?}");
}

/// A request's id is the client's, or a new one, and comes back.
#[test]
fn a_request_has_an_id() {
    let server = Server::start(&[]);
    let given = server.request("OPTIONS", &server.base, &[("X-Request-ID", "trace-42")], b"");
    assert_eq!(given.the("X-Request-ID"), "trace-42");
    let made = [server.options(), server.options()];
    assert!(!made[0].the("X-Request-ID").is_empty());
    assert_ne!(made[0].the("X-Request-ID"), made[1].the("X-Request-ID"));
}

/// Headers, Tus-Resumable: a wrong version is the first thing to be told, whatever else is wrong with the request.
#[test]
fn the_version_is_looked_at_before_method_and_path() {
    let server = Server::start(&[]);
    let path = server.create(5);
    for (method, target) in [
        ("PUT", path.clone()),
        ("PUT", server.base.clone()),
        ("GET", server.base.clone()),
        ("DELETE", format!("{}..", server.base)),
        ("PATCH", format!("{}%ff", server.base)),
        ("GET", format!("{}unknown", server.base)),
        ("GET", path.clone()),
    ] {
        let response = server.request(method, &target, &[("Tus-Resumable", "0.2.2")], b"");
        response.refused(412, "ERR_UNSUPPORTED_VERSION");
        assert_eq!(response.the("Tus-Version"), "1.0.0", "{method} {target}");
    }
    server.request("PUT", &path, &[("Tus-Resumable", "")], b"").refused(412, "ERR_UNSUPPORTED_VERSION");
    assert_eq!(server.get(&format!("{}unknown", server.base), &[("Tus-Resumable", "")]).status, 404);
}

/// Headers, X-HTTP-Method-Override: the actual method counts for the framing of the answer only (RFC 9110 9.3.2).
#[test]
fn an_overridden_method_frames_its_answer_still() {
    let server = Server::start(&[]);
    let path = server.uploaded(b"hello");
    let over = |method| ("X-HTTP-Method-Override", method);
    let mut client = server.connect();
    let response = client.request("POST", &path, &[over("HEAD")], b"");
    assert_eq!((response.status, response.offset(), response.body.len()), (200, 5, 0));
    let response = client.request("HEAD", &path, &[over("GET")], b"");
    assert_eq!((response.status, response.the("Content-Length")), (200, "5"));
    let response = client.request("HEAD", &path, &[over("BREW")], b"");
    assert_eq!((response.status, response.header("Content-Length")), (405, None));
    let response = client.request("GET", "/files/unknown", &[over("HEAD")], b"");
    response.refused(404, "ERR_UPLOAD_NOT_FOUND");
    assert_eq!(client.request("POST", &path, &[over("GET")], b"").body, b"hello");

    let created = client.request("HEAD", &server.base, &[over("POST"), ("Upload-Length", "5")], b"");
    assert_eq!((created.status, server.offset(&created.path())), (201, 0));
    assert_eq!(client.request("POST", &server.base, &[over("OPTIONS")], b"").the("Tus-Version"), "1.0.0");
    assert_eq!(client.request("OPTIONS", &path, &[over("DELETE")], b"").status, 204);
    server.head(&path).gone();
}

/// RFC 9110 10.1.1 with an overridden method: the PATCH is checked before its body is asked for.
#[test]
fn an_overridden_patch_may_wait_for_100_continue() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let post = |offset| {
        let length = ("Content-Length", "5");
        let over = ("X-HTTP-Method-Override", "PATCH");
        head("POST", &path, &[over, OFFSET_TYPE, ("Upload-Offset", offset), length, ("Expect", "100-Continue")])
    };
    let mut client = server.connect();
    client.send(post("1"));
    let response = client.answer();
    response.refused(409, "ERR_MISMATCHED_OFFSET");
    assert_eq!(response.interims, Vec::<u16>::new());
    let mut client = server.connect();
    client.send(post("0"));
    assert_eq!(client.interim(), 100);
    client.send("hello");
    client.answer().appended(5);
}

/// Requests, HEAD: an error has neither body nor length, and is not cached either.
#[test]
fn a_refused_head_has_no_body() {
    let server = Server::start(&["--set", "cors.allow_origin=^https://app$"]);
    let path = server.create(5);
    let mut client = server.connect();
    for (target, header, status) in [
        ("/files/unknown", ("X-Some", "1"), 404),
        (server.base.as_str(), ("X-Some", "1"), 405),
        (&path, ("Tus-Resumable", "0.1"), 412),
        (&path, ("Origin", "https://evil"), 403),
    ] {
        let response = client.request("HEAD", target, &[header], b"");
        assert_eq!((response.status, response.header("Content-Length")), (status, None), "{response:?}");
        assert_eq!(response.header("Upload-Offset"), None);
        assert_eq!(response.the("Cache-Control"), "no-store");
    }
    assert_eq!(client.request("HEAD", &path, &[], b"").offset(), 0);
}

/// Requests, HEAD: the length of the body that GET would bring, unless nobody knows it.
#[test]
fn head_has_the_content_length_of_the_upload() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (headers, length) in [
        (("Upload-Length", "11"), Some("11")),
        (("Upload-Length", "0"), Some("0")),
        (("Upload-Defer-Length", "1"), None),
    ] {
        let path = server.create_with(&[headers]);
        let response = client.request("HEAD", &path, &[], b"");
        assert_eq!((response.status, response.header("Content-Length")), (200, length));
    }
}

/// Requests, PATCH: the last PATCH of an upload comes again when its answer was lost; nothing changes.
#[test]
fn a_repeated_last_patch_is_taken_for_done() {
    let mut server = Server::start(&[]);
    let path = server.create_with(&[("Upload-Defer-Length", "1")]);
    server.patched(&path, 0, b"hello");
    for _ in 0..2 {
        server.patch_with(&path, 5, &[("Upload-Length", "5")], b"").appended(5);
    }
    server.restart();
    server.patch_with(&path, 5, &[("Upload-Length", "5")], b"").appended(5);
    server.patch_with(&path, 5, &[("Upload-Length", "9")], b"more").appended(5);
    assert_eq!(server.head(&path).the("Upload-Length"), "5");
    assert_eq!(server.content(&path), b"hello");
    let path = server.create(5);
    server.patch_with(&path, 0, &[("Upload-Length", "5")], b"").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
}

/// Outside of the base path there are no uploads: a greeting, or nothing.
#[test]
fn the_greeting_can_be_switched_off() {
    let server = Server::start(&[]);
    let response = server.request("GET", "/", &[("Tus-Resumable", "")], b"");
    assert_eq!((response.status, response.the("Content-Type")), (200, "text/plain; charset=utf-8"));
    assert_eq!(server.request("POST", "/upload", &[("Upload-Length", "5")], b"").status, 405);
    let silent = Server::start(&["--set", "server.greeting=false", "--set", "server.page=false"]);
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        assert_eq!(silent.request(method, "/", &[], b"").status, 404, "{method}");
    }
}
