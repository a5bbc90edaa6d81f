//! GET of uploads: conditions and ranges of RFC 9110, types and names by metadata, and safety against stored scripts.

mod support;

use support::{Response, Server, head};

const BYTES: &[u8] = b"hello world";

fn finished(server: &Server) -> String {
    server.uploaded(BYTES)
}

/// Base64 with padding, for metadata values.
fn encoded(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks(3).map(|group| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | u32::from(group.get(index).copied().unwrap_or(0)));
        let digit = |index: usize| DIGITS[(bits >> (18 - 6 * index) & 63) as usize] as char;
        (0..4).map(|index| if index <= group.len() { digit(index) } else { '=' }).collect::<String>()
    });
    groups.collect()
}

/// GET of a finished upload with this metadata.
fn with_metadata(server: &Server, entries: &[(&str, &str)]) -> Response {
    let metadata: Vec<String> = entries.iter().map(|(key, value)| format!("{key} {}", encoded(value))).collect();
    let path = server.uploaded_with(&[("Upload-Metadata", &metadata.join(","))], BYTES);
    server.get(&path, &[])
}

/// A finished upload is served whole, to clients that know nothing of tus too.
#[test]
fn a_finished_upload_is_served() {
    let server = Server::start(&[]);
    let response = server.get(&finished(&server), &[("Tus-Resumable", "")]);
    assert_eq!((response.status, response.body.as_slice()), (200, BYTES));
    assert_eq!((response.the("Content-Length"), response.the("Accept-Ranges")), ("11", "bytes"));
    let tag = response.the("ETag");
    assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
    assert!(httpdate::parse_http_date(response.the("Last-Modified")).is_ok());
    assert_eq!(response.the("X-Content-Type-Options"), "nosniff");
    assert_eq!(response.the("Content-Type"), "application/octet-stream");
    assert_eq!(response.the("Content-Disposition"), "attachment");
}

/// What is unfinished cannot be read, whatever is asked of it.
#[test]
fn an_unfinished_upload_is_not_served() {
    let server = Server::start(&[]);
    let (path, deferred) = (server.create(11), server.create_with(&[("Upload-Defer-Length", "1")]));
    for offset in [0, 5] {
        server.get(&path, &[]).refused(400, "ERR_INCOMPLETE_UPLOAD");
        server.get(&path, &[("Range", "bytes=0-1")]).refused(400, "ERR_INCOMPLETE_UPLOAD");
        server.get(&deferred, &[]).refused(400, "ERR_INCOMPLETE_UPLOAD");
        if offset == 0 {
            server.patched(&path, 0, b"hello");
            server.patched(&deferred, 0, b"hello");
        }
    }
    server.get(&format!("{}unknown", server.base), &[]).refused(404, "ERR_UPLOAD_NOT_FOUND");
}

/// Requests, HEAD: of a finished upload it has the length, and no byte of the body follows.
#[test]
fn head_of_a_finished_upload_tells_the_length() {
    let server = Server::start(&[]);
    let path = finished(&server);
    let tag = server.get(&path, &[]).the("ETag").to_owned();
    let mut client = server.connect();
    for headers in [&[] as &[(&str, &str)], &[("Range", "bytes=0-4")]] {
        let response = client.request("HEAD", &path, headers, b"");
        assert_eq!((response.status, response.offset()), (200, 11));
        assert_eq!((response.the("Upload-Length"), response.the("Content-Length")), ("11", "11"));
        assert_eq!(response.the("Cache-Control"), "no-store");
    }
    let response = client.request("HEAD", &path, &[("If-None-Match", &tag)], b"");
    assert_eq!(response.offset(), 11, "the offset is always told");
    assert_eq!(client.request("GET", &path, &[], b"").body, BYTES);
}

/// RFC 9110 14: one range of bytes.
#[test]
fn a_range_is_served() {
    let server = Server::start(&[]);
    let path = finished(&server);
    for (range, first, last) in [
        ("bytes=0-4", 0, 4),
        ("bytes=6-", 6, 10),
        ("bytes=-5", 6, 10),
        ("bytes=0-0", 0, 0),
        ("bytes=10-10", 10, 10),
        ("bytes=3-999", 3, 10),
        ("bytes=-999", 0, 10),
        ("bytes=0-99999999999999999999999", 0, 10),
        ("BYTES=0-4", 0, 4),
    ] {
        let response = server.get(&path, &[("Range", range)]);
        assert_eq!(response.status, 206, "{range}: {response:?}");
        assert_eq!(response.the("Content-Range"), format!("bytes {first}-{last}/11"));
        assert_eq!(response.body, &BYTES[first..=last], "{range}");
    }
}

/// RFC 9110 14.1.2 and 15.5.17: a range that begins behind the end is 416 with the length.
#[test]
fn a_range_behind_the_end_is_refused() {
    let server = Server::start(&[]);
    let path = finished(&server);
    for range in ["bytes=11-", "bytes=11-20", "bytes=999-", "bytes=-0"] {
        let response = server.get(&path, &[("Range", range)]);
        assert_eq!(response.status, 416, "{range}: {response:?}");
        assert_eq!(response.the("Content-Range"), "bytes */11");
    }
    let empty = server.get(&server.create(0), &[("Range", "bytes=0-")]);
    assert!(matches!(empty.status, 200 | 416), "{empty:?}");
}

/// RFC 9110 14.2: what is not understood is ignored, and several ranges are answered whole.
#[test]
fn a_malformed_range_is_ignored() {
    let server = Server::start(&[]);
    let path = finished(&server);
    for range in [
        "bytes=",
        "bytes",
        "bytes=-",
        "bytes=a-b",
        "bytes=4-2",
        "bytes=+1-2",
        "bytes=1",
        "bytes=--1",
        "items=0-4",
        "=0-4",
        "bytes=0-1,3-4",
        "bytes=0-1,junk",
        "bytes 0-4",
    ] {
        let response = server.get(&path, &[("Range", range)]);
        assert_eq!((response.status, response.body.as_slice()), (200, BYTES), "{range}");
        assert_eq!(response.header("Content-Range"), None);
    }
    let post = server.request("OPTIONS", &path, &[("Range", "bytes=0-1")], b"");
    assert_ne!(post.status, 206, "ranges are for GET");
}

/// RFC 9110 13.1.5: If-Range gives the part when the file is the same, else the whole.
#[test]
fn if_range_guards_a_range() {
    let server = Server::start(&[]);
    let path = finished(&server);
    let tag = server.get(&path, &[]).the("ETag").to_owned();
    let range = ("Range", "bytes=0-4");
    let weak = format!("W/{tag}");
    for (validator, status) in
        [(tag.as_str(), 206), (&weak, 200), ("\"other\"", 200), ("Thu, 01 Jan 1970 00:00:00 GMT", 200), ("junk", 200)]
    {
        assert_eq!(server.get(&path, &[range, ("If-Range", validator)]).status, status, "{validator}");
    }
    assert_eq!(server.get(&path, &[("If-Range", &tag)]).status, 200, "without a range it means nothing");
}

/// RFC 9110 13.1.2 and 15.4.5: a client that has the file is told so.
#[test]
fn if_none_match_spares_the_bytes() {
    let server = Server::start(&[]);
    let path = finished(&server);
    let tag = server.get(&path, &[]).the("ETag").to_owned();
    let mut client = server.connect();
    for condition in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let response = client.request("GET", &path, &[("If-None-Match", &condition), ("Range", "bytes=0-4")], b"");
        assert_eq!((response.status, response.the("ETag")), (304, tag.as_str()), "{condition}");
    }
    for condition in ["\"other\"", "junk"] {
        assert_eq!(client.request("GET", &path, &[("If-None-Match", condition)], b"").body, BYTES);
    }
}

fn since(date: &str) -> (&str, &str) {
    ("If-Modified-Since", date)
}

/// RFC 9110 13.1.3: dates work as tags do, unless there is a tag.
#[test]
fn if_modified_since_spares_the_bytes() {
    let server = Server::start(&[]);
    let path = finished(&server);
    let date = server.get(&path, &[]).the("Last-Modified").to_owned();
    assert_eq!(server.get(&path, &[since(&date)]).status, 304);
    assert_eq!(server.get(&path, &[since("Thu, 01 Jan 1970 00:00:00 GMT")]).status, 200);
    assert_eq!(server.get(&path, &[since("yesterday")]).status, 200);
    assert_eq!(server.get(&path, &[since(&date), ("If-None-Match", "\"other\"")]).status, 200, "the tag counts");
}

/// RFC 9110 8.8.3: tags tell files apart, and outlive a restart so that a download can go on.
#[test]
fn a_tag_outlives_a_restart() {
    let mut server = Server::start(&[]);
    let path = finished(&server);
    let tag = server.get(&path, &[]).the("ETag").to_owned();
    let other = server.get(&finished(&server), &[]).the("ETag").to_owned();
    // S3's tags are digests, and these are the same bytes.
    assert!(!server.is_on_disk() || other != tag);
    server.restart();
    let response = server.get(&path, &[("Range", "bytes=6-"), ("If-Range", &tag)]);
    assert_eq!((response.status, response.body.as_slice()), (206, &BYTES[6..]));
}

/// A media type in `filetype` is served as it stands; the types that cannot hold scripts may be shown in place.
#[test]
fn the_type_decides_what_a_browser_may_show() {
    let server = Server::start(&[]);
    for (filetype, disposition) in [
        ("text/plain", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("image/png", "inline"),
        ("IMAGE/JPEG", "inline"),
        ("image/gif", "inline"),
        ("image/bmp", "inline"),
        ("image/webp", "inline"),
        ("audio/x-pn-wav", "inline"),
        ("video/mp4", "inline"),
        ("application/ogg", "inline"),
        ("text/html", "attachment"),
        ("text/html; charset=utf-8", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/xhtml+xml", "attachment"),
        ("text/xml", "attachment"),
        ("application/pdf", "attachment"),
        ("application/javascript", "attachment"),
        ("video/quicktime", "attachment"),
        ("foo", "attachment"),
    ] {
        let response = with_metadata(&server, &[("filetype", filetype)]);
        assert_eq!((response.the("Content-Type"), response.the("Content-Disposition")), (filetype, disposition));
        assert_eq!(response.the("X-Content-Type-Options"), "nosniff");
        assert_eq!(response.body, BYTES);
    }
}

/// Upload-Metadata, header smuggling: what is no media type is not served as one, nor does it make a header.
#[test]
fn a_type_that_is_none_is_replaced() {
    let server = Server::start(&[]);
    for filetype in [
        "",
        "/",
        "text/",
        "text/html text/plain",
        "text/plain; charset=a; charset=b",
        "text/plain; charset",
        "text/plain\r\nX-Evil: 1",
        "text/plain\nX-Evil: 1",
        "text/pl\u{0}ain",
        "<script>",
        "text/плейн",
    ] {
        let response = with_metadata(&server, &[("filetype", filetype)]);
        assert_eq!(response.status, 200, "{filetype:?}: {response:?}");
        assert_eq!(response.the("Content-Type"), "application/octet-stream", "{filetype:?}");
        assert_eq!(response.the("Content-Disposition"), "attachment");
        assert_eq!(response.header("X-Evil"), None);
    }
}

/// Upload-Metadata, header smuggling: a name is quoted and stays inside its quotes.
#[test]
fn a_file_name_is_quoted() {
    let server = Server::start(&[]);
    for (name, quoted) in [
        ("plan.pdf", r#""plan.pdf""#),
        ("two words.txt", r#""two words.txt""#),
        (r#"a"b.txt"#, r#""a\"b.txt""#),
        (r"a\b.txt", r#""a\\b.txt""#),
        ("a\nb\r\nX-Evil: 1", r#""a\nb\r\nX-Evil: 1""#),
        ("a\tb\u{0}", r#""a\tb\x00""#),
        ("zero\u{200b}width", r#""zero\u200bwidth""#),
        ("übergröße.txt", r#""übergröße.txt""#),
        ("../../etc/passwd", r#""../../etc/passwd""#),
    ] {
        let response = with_metadata(&server, &[("filename", name), ("filetype", "text/plain")]);
        assert_eq!(response.the("Content-Disposition"), format!("inline;filename={quoted}"), "{name:?}");
        assert_eq!(response.header("X-Evil"), None);
        let response = with_metadata(&server, &[("filename", name)]);
        assert_eq!(response.the("Content-Disposition"), format!("attachment;filename={quoted}"), "{name:?}");
    }
}

/// A file larger than any buffer comes whole, and in parts from its middle.
#[test]
fn a_large_file_is_served_byte_for_byte() {
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..5_000_011_u32).map(|index| (index % 251) as u8).collect();
    let path = server.uploaded(&bytes);
    assert!(server.content(&path) == bytes);
    let response = server.get(&path, &[("Range", "bytes=1000001-4000000")]);
    assert_eq!((response.status, response.the("Content-Range")), (206, "bytes 1000001-4000000/5000011"));
    assert!(response.body == bytes[1_000_001..=4_000_000]);
}

/// A file larger than the sockets' buffers comes whole, however often they are full, and the connection serves on after it.
#[test]
fn a_connection_serves_on_after_a_large_file() {
    let server = Server::start(&[]);
    let bytes: Vec<u8> = (0..20_000_003_u32).map(|index| (index % 251) as u8).collect();
    let path = server.uploaded(&bytes);
    let mut client = server.connect();
    for _ in 0..3 {
        let response = client.request("GET", &path, &[], b"");
        assert_eq!((response.status, response.the("Content-Length")), (200, "20000003"));
        assert_eq!(response.header("Transfer-Encoding"), None);
        assert!(response.body == bytes);
    }
    assert_eq!(client.request("HEAD", &path, &[], b"").offset(), bytes.len() as u64);
    let small = client.request("GET", &path, &[("Range", "bytes=1-3")], b"");
    assert_eq!((small.status, small.body.as_slice()), (206, &bytes[1..4]));
}

/// A reader that goes away in the middle of a download leaves the file to the others.
#[test]
fn a_download_that_is_cut_harms_nobody() {
    let server = Server::start(&[]);
    let bytes = vec![7; 8 << 20];
    let path = server.uploaded(&bytes);
    for _ in 0..4 {
        let mut client = server.connect();
        client.send(head("GET", &path, &[]));
        client.reset();
    }
    assert!(server.content(&path) == bytes);
    assert_eq!(server.delete(&path).status, 204);
    server.unharmed();
}

/// Reading can be switched off; HEAD and everything else stay.
#[test]
fn downloads_can_be_switched_off() {
    let server = Server::start(&["--set", "tus.download=false"]);
    let path = finished(&server);
    let response = server.get(&path, &[]);
    assert_eq!(response.status, 405, "{response:?}");
    assert_eq!(server.offset(&path), 11);
}

/// RFC 9110 13.1.1 and 13.1.4: a client that means another version of the file gets nothing of it.
#[test]
fn a_precondition_that_fails_is_told() {
    let server = Server::start(&[]);
    let path = finished(&server);
    let response = server.get(&path, &[]);
    let (tag, date) = (response.the("ETag").to_owned(), response.the("Last-Modified").to_owned());
    let old = "Thu, 01 Jan 1970 00:00:00 GMT";
    for (name, value, status) in [
        ("If-Match", tag.as_str(), 200),
        ("If-Match", "*", 200),
        ("If-Match", "\"other\"", 412),
        ("If-Match", &format!("W/{tag}"), 412),
        ("If-Unmodified-Since", &date, 200),
        ("If-Unmodified-Since", old, 412),
        ("If-Unmodified-Since", "junk", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let response = server.request(method, &path, &[(name, value)], b"");
            assert_eq!((response.status, response.the("ETag")), (status, tag.as_str()), "{method} {name}: {value}");
            if status == 412 {
                assert_eq!((response.body.len(), response.header("Content-Type")), (0, None));
            }
        }
    }
}

/// RFC 9110 13.1.5: If-Range may be the date that was told, exactly.
#[test]
fn if_range_may_be_the_date() {
    let server = Server::start(&[]);
    let path = finished(&server);
    let date = server.get(&path, &[]).the("Last-Modified").to_owned();
    let response = server.get(&path, &[("Range", "bytes=-5"), ("If-Range", &date)]);
    assert_eq!((response.status, response.body.as_slice()), (206, b"world".as_slice()));
}

/// Conditions and ranges are about files: on an unfinished upload they say nothing, and HEAD tells its offset.
#[test]
fn conditions_on_an_unfinished_upload_say_nothing() {
    let server = Server::start(&[]);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    for header in
        [("If-None-Match", "*"), ("If-Match", "\"x\""), ("If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 GMT")]
    {
        let response = server.request("HEAD", &path, &[header], b"");
        assert_eq!((response.status, response.offset(), response.header("ETag")), (200, 5, None), "{header:?}");
        server.get(&path, &[header]).refused(400, "ERR_INCOMPLETE_UPLOAD");
    }
}

/// HEAD of a finished upload has GET's headers, so that both agree about type, name and version.
#[test]
fn head_has_the_headers_of_get() {
    let server = Server::start(&[]);
    let metadata = format!("filename {},filetype {}", encoded("a.txt"), encoded("text/plain"));
    let path = server.uploaded_with(&[("Upload-Metadata", &metadata)], BYTES);
    let (get, head) = (server.get(&path, &[]), server.head(&path));
    for name in [
        "Content-Type",
        "Content-Disposition",
        "Content-Length",
        "ETag",
        "Last-Modified",
        "Accept-Ranges",
        "Content-Security-Policy",
    ] {
        assert_eq!(head.the(name), get.the(name));
    }
    assert_eq!(get.the("Content-Security-Policy"), "sandbox; default-src 'none'");
}
