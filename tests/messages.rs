//! Unusual but legal HTTP/1: targets, headers and bodies as RFC 9110 and RFC 9112 allow them.

mod support;

use support::{OFFSET_TYPE, Server, chunked, head};

/// RFC 9110 5.5: a header without a value; it says no more than one that is not there.
#[test]
fn headers_without_a_value_say_nothing() {
    let server = Server::start(&[]);
    let empty = |method: &str, path: &str, headers: &[(&str, &str)], names: &str| {
        let lines: String = names.split(' ').map(|name| format!("{name}:\r\n")).collect();
        let mut client = server.connect();
        client.send(head(method, path, headers).replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1));
        client.answer_to(method)
    };
    let none = ("Content-Length", "0");
    let names = "Upload-Defer-Length Upload-Concat Upload-Metadata Origin X-HTTP-Method-Override X-Request-ID Range";
    let created = empty("POST", &server.base, &[none, ("Upload-Length", "5")], names);
    assert_eq!(created.status, 201, "{created:?}");
    let path = created.path();
    let patch = [none, OFFSET_TYPE, ("Upload-Offset", "0")];
    empty("PATCH", &path, &patch, "Upload-Length Upload-Metadata Upload-Concat X-HTTP-Method-Override").appended(0);
    empty("PATCH", &path, &patch, "Upload-Checksum").refused(400, "ERR_INVALID_CHECKSUM");
    empty("PATCH", &path, &[none, OFFSET_TYPE], "Upload-Offset").refused(400, "ERR_INVALID_OFFSET");
    empty("PATCH", &path, &[none, patch[2]], "Content-Type").refused(415, "ERR_INVALID_CONTENT_TYPE");
    empty("POST", &server.base, &[none], "Upload-Length").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    let deferred = empty("POST", &server.base, &[none, ("Upload-Defer-Length", "1")], "Upload-Length");
    assert_eq!(server.head(&deferred.path()).the("Upload-Defer-Length"), "1");
    assert_eq!(empty("HEAD", &path, &[("Tus-Resumable", "")], "Tus-Resumable").offset(), 0);
}

/// RFC 9112 3.2.2 and RFC 3986 6.2.2: one upload, however its URL is written.
#[test]
fn an_upload_is_found_however_its_url_is_written() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let id = server.id_of(&path);
    let escaped: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for target in [
        format!("{path}/"),
        format!("{path}?token=%2F..&x=/"),
        format!("/files//{id}//"),
        format!("/%66il%65s/{id}"),
        format!("/files/{escaped}"),
        format!("/files%2F{id}"),
        format!("http://other.example:99{path}"),
        format!("HTTPS://wharf.test{path}?x"),
    ] {
        assert_eq!(server.head(&target).status, 200, "{target}");
    }
    for target in [format!("/FILES/{id}"), format!("/files/{}x", id), format!("/files/{}", &id[1..])] {
        assert_ne!(server.head(&target).header("Upload-Offset"), Some("0"), "{target}");
    }
}

/// RFC 9110 9.3.7: OPTIONS about the server as a whole, and with a body that nobody asked for.
#[test]
fn options_is_answered_for_any_target() {
    let server = Server::start(&[]);
    for target in ["*", "/", "/elsewhere", "/files", "/files/..", "http://wharf.test", "http://wharf.test/files/"] {
        let response = server.request("OPTIONS", target, &[("Tus-Resumable", "")], b"");
        assert_eq!((response.status, response.the("Tus-Version")), (200, "1.0.0"), "{target}");
    }
    assert_eq!(server.request("OPTIONS", &server.base, &[], b"body").status, 200);
    server.unharmed();
}

/// RFC 9110 9.3.1 and 9.3.2: bodies of methods that need none do no harm, and are never read as requests.
#[test]
fn a_body_that_means_nothing_is_passed_over() {
    let server = Server::start(&[]);
    let (path, victim) = (server.uploaded(b"hello"), server.create(5));
    let inner = head("DELETE", &victim, &[]);
    for method in ["HEAD", "GET", "OPTIONS", "DELETE"] {
        let mut client = server.connect();
        let response = client.request(method, &path, &[], inner.as_bytes());
        assert!(matches!(response.status, 200 | 204), "{method}: {response:?}");
        assert_eq!(server.offset(&victim), 0, "{method}");
        if !response.closes() {
            assert_eq!(client.request("HEAD", &victim, &[], b"").offset(), 0, "{method}");
        }
    }
}

/// RFC 9112 6.3: a PATCH without a length has no bytes; one in HTTP/1.0 neither, and it cannot be chunked.
#[test]
fn a_patch_without_a_length_has_no_bytes() {
    let server = Server::start(&[]);
    let path = server.create(5);
    let patch = head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0")]);
    let mut client = server.connect();
    client.send(patch.clone() + &head("HEAD", &path, &[]));
    client.answer().appended(0);
    assert_eq!(client.answer_to("HEAD").offset(), 0);
    let mut client = server.connect();
    client.send(patch.replace("HTTP/1.1", "HTTP/1.0") + "hello");
    client.answer().appended(0);
    assert!(client.closed());
    let mut client = server.connect();
    client.send(patch.replace("HTTP/1.1", "HTTP/1.0").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"));
    client.send(chunked(b"hello", 5, &[]));
    assert_eq!(client.answer().status, 400);
    assert!(client.closed());
    assert_eq!(server.offset(&path), 0);
}

/// RFC 9112 9.3: an HTTP/1.0 client may ask to keep the connection; it never gets an interim answer (RFC 9110 15.2).
#[test]
fn http_1_0_may_keep_its_connection() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut client = server.connect();
    for (offset, bytes) in [(0, "hello"), (5, " world")] {
        let (offset_text, length) = (offset.to_string(), bytes.len().to_string());
        let headers = [
            OFFSET_TYPE,
            ("Connection", "keep-alive"),
            ("Upload-Offset", offset_text.as_str()),
            ("Content-Length", length.as_str()),
            ("Expect", "100-continue"),
        ];
        client.send(head("PATCH", &path, &headers).replace("HTTP/1.1", "HTTP/1.0") + bytes);
        let response = client.answer();
        response.appended(offset + bytes.len() as u64);
        assert_eq!(response.interims, Vec::<u16>::new());
    }
    client.send(head("GET", &path, &[]).replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(client.answer().body, b"hello world");
    assert!(client.closed());
}
