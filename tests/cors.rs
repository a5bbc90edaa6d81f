//! CORS as browsers need it (the Fetch standard, CORS protocol), and as it can be configured.

mod support;

use support::{Response, Server};

const ORIGIN: (&str, &str) = ("Origin", "https://app.example");

fn preflight(server: &Server, origin: &str) -> Response {
    let headers = [
        ("Tus-Resumable", ""),
        ("Origin", origin),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "tus-resumable,upload-offset,content-type"),
    ];
    server.request("OPTIONS", &server.base, &headers, b"")
}

#[track_caller]
fn no_cors(response: &Response) {
    let headers = response.headers.iter().map(|header| header.0.to_ascii_lowercase());
    let named: Vec<_> = headers.filter(|name| name.starts_with("access-control-")).collect();
    assert_eq!(named, Vec::<String>::new());
}

#[track_caller]
fn lists(response: &Response, header: &str, names: &[&str]) {
    let elements = response.elements(header);
    for name in names {
        assert!(elements.contains(&name.to_ascii_lowercase()), "{header} lacks {name}: {elements:?}");
    }
}

/// A preflight allows the methods and the headers that tus needs.
#[test]
fn a_preflight_allows_what_tus_needs() {
    let server = Server::start(&[]);
    let response = preflight(&server, ORIGIN.1);
    assert!(matches!(response.status, 200 | 204), "{response:?}");
    assert_eq!(response.the("Access-Control-Allow-Origin"), ORIGIN.1);
    lists(&response, "Vary", &["Origin"]);
    assert_eq!(response.the("Access-Control-Max-Age"), "86400");
    assert_eq!(response.header("Access-Control-Allow-Credentials"), None);
    lists(&response, "Access-Control-Allow-Methods", &["POST", "HEAD", "PATCH", "OPTIONS", "GET", "DELETE"]);
    let headers = [
        "Authorization",
        "Origin",
        "X-Requested-With",
        "X-Request-ID",
        "X-HTTP-Method-Override",
        "Content-Type",
        "Upload-Length",
        "Upload-Offset",
        "Tus-Resumable",
        "Upload-Metadata",
        "Upload-Defer-Length",
        "Upload-Concat",
        "Upload-Checksum",
    ];
    lists(&response, "Access-Control-Allow-Headers", &headers);
    assert_eq!(response.the("Tus-Version"), "1.0.0", "it is an ordinary OPTIONS too");
}

/// Every other answer, errors too, lets scripts read what tus tells.
#[test]
fn answers_expose_what_tus_tells() {
    let server = Server::start(&[]);
    let path = server.uploaded(b"hello");
    let unknown = format!("{}unknown", server.base);
    for response in [
        server.post(&[ORIGIN, ("Upload-Length", "5")], b""),
        server.post(&[ORIGIN], b""),
        server.request("HEAD", &path, &[ORIGIN], b""),
        server.request("HEAD", &unknown, &[ORIGIN], b""),
        server.patch_with(&path, 5, &[ORIGIN], b""),
        server.patch_with(&path, 3, &[ORIGIN], b""),
        server.get(&path, &[ORIGIN]),
        server.request("PUT", &path, &[ORIGIN], b""),
        server.request("DELETE", &path, &[ORIGIN, ("Tus-Resumable", "0.2.2")], b""),
        server.request("DELETE", &path, &[ORIGIN], b""),
    ] {
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some(ORIGIN.1), "{response:?}");
        lists(&response, "Vary", &["Origin"]);
        let exposed = [
            "Upload-Offset",
            "Location",
            "Upload-Length",
            "Tus-Version",
            "Tus-Resumable",
            "Tus-Max-Size",
            "Tus-Extension",
            "Upload-Metadata",
            "Upload-Defer-Length",
            "Upload-Concat",
            "Upload-Expires",
            "Tus-Checksum-Algorithm",
        ];
        lists(&response, "Access-Control-Expose-Headers", &exposed);
    }
}

/// Without an origin there is nothing to allow.
#[test]
fn a_request_without_an_origin_gets_no_cors() {
    let server = Server::start(&[]);
    no_cors(&server.options());
    no_cors(&server.post(&[("Upload-Length", "5")], b""));
}

/// An origin that is not allowed is refused before anything else is looked at, preflights too.
#[test]
fn an_origin_that_is_not_allowed_is_refused() {
    let server = Server::start(&["--set", r"cors.allow_origin=^https://app\.example$"]);
    let path = server.create(5);
    assert_eq!(preflight(&server, ORIGIN.1).the("Access-Control-Allow-Origin"), ORIGIN.1);
    server.patch_with(&path, 0, &[ORIGIN], b"hel").appended(3);
    let other = ("Origin", "https://app.example.evil");
    for response in [
        preflight(&server, other.1),
        server.post(&[other, ("Upload-Length", "5")], b""),
        server.patch_with(&path, 3, &[other], b"lo"),
        server.get(&path, &[other]),
    ] {
        assert_eq!(response.status, 403, "{response:?}");
        assert_eq!(response.text(), "ERR_ORIGIN_NOT_ALLOWED: request origin is not allowed\n");
        no_cors(&response);
    }
    assert_eq!(server.offset(&path), 3, "and without an origin it is served");
}

/// Credentials, further methods and headers, and the age are settings.
#[test]
fn cors_can_be_extended() {
    let server = Server::start(&[
        "--set",
        "cors.allow_credentials=true",
        "--set",
        "cors.allow_methods=PUT",
        "--set",
        "cors.allow_headers=X-Token",
        "--set",
        "cors.expose_headers=X-Trace",
        "--set",
        "cors.max_age_secs=60",
    ]);
    let response = preflight(&server, ORIGIN.1);
    assert_eq!(response.the("Access-Control-Allow-Credentials"), "true");
    assert_eq!(response.the("Access-Control-Max-Age"), "60");
    lists(&response, "Access-Control-Allow-Methods", &["PUT", "PATCH"]);
    lists(&response, "Access-Control-Allow-Headers", &["X-Token", "Upload-Offset"]);
    let response = server.post(&[ORIGIN, ("Upload-Length", "5")], b"");
    assert_eq!(response.the("Access-Control-Allow-Credentials"), "true");
    lists(&response, "Access-Control-Expose-Headers", &["X-Trace", "Location"]);
}

/// CORS can be left to a proxy.
#[test]
fn cors_can_be_switched_off() {
    let server = Server::start(&["--set", "cors.enabled=false", "--set", "cors.allow_origin=^https://nobody$"]);
    let response = preflight(&server, ORIGIN.1);
    assert!(matches!(response.status, 200 | 204), "{response:?}");
    no_cors(&response);
    let response = server.post(&[ORIGIN, ("Upload-Length", "5")], b"");
    assert_eq!(response.status, 201, "{response:?}");
    no_cors(&response);
}

/// A hostile origin is not echoed into something else.
#[test]
fn an_origin_is_echoed_as_it_is_or_not_at_all() {
    let server = Server::start(&[]);
    for origin in ["null", "https://a.example:8443", "\"><script>", "https://ex.example, https://two.example"] {
        let response = preflight(&server, origin);
        assert!(response.header("Access-Control-Allow-Origin").is_none_or(|echo| echo == origin), "{response:?}");
    }
    server.unharmed();
}

/// The lists that tusd's users know, in full: what is added stands behind.
#[test]
fn the_lists_are_those_of_tusd_and_more() {
    let server = Server::start(&[]);
    let response = preflight(&server, ORIGIN.1);
    assert_eq!(response.the("Access-Control-Allow-Methods"), "POST, HEAD, PATCH, OPTIONS, GET, DELETE");
    let headers = "Authorization, Origin, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, Content-Type, \
        Upload-Length, Upload-Offset, Tus-Resumable, Upload-Metadata, Upload-Defer-Length, Upload-Concat, \
        Upload-Incomplete, Upload-Complete, Upload-Draft-Interop-Version";
    assert!(response.the("Access-Control-Allow-Headers").starts_with(headers), "{response:?}");
    assert_eq!(response.header("Access-Control-Expose-Headers"), None);
    let response = server.post(&[ORIGIN, ("Upload-Length", "5")], b"");
    let exposed = "Upload-Offset, Location, Upload-Length, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, \
        Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Incomplete, Upload-Complete, \
        Upload-Draft-Interop-Version";
    assert!(response.the("Access-Control-Expose-Headers").starts_with(exposed), "{response:?}");
    assert_eq!(response.header("Access-Control-Allow-Methods"), None);
}

/// A preflight is what the method that counts makes it, overridden or not.
#[test]
fn an_overridden_method_decides_what_is_a_preflight() {
    let server = Server::start(&[]);
    let over = |method, value| server.request(method, &server.base, &[ORIGIN, ("X-HTTP-Method-Override", value)], b"");
    assert_eq!(over("POST", "OPTIONS").the("Access-Control-Max-Age"), "86400");
    let response = over("OPTIONS", "GET");
    assert_eq!((response.status, response.header("Access-Control-Max-Age")), (405, None));
}

/// A refused origin gets none of the protocol's headers.
#[test]
fn a_refused_origin_learns_nothing() {
    let server = Server::start(&["--set", r"cors.allow_origin=^https://app\.example$"]);
    let path = server.uploaded(b"hello");
    for method in ["OPTIONS", "HEAD", "GET", "POST", "DELETE"] {
        let response = server.request(method, &path, &[("Origin", "https://evil")], b"");
        assert_eq!(response.status, 403, "{method}: {response:?}");
        for name in ["Tus-Resumable", "Tus-Version", "X-Content-Type-Options", "Upload-Offset", "Vary"] {
            assert_eq!(response.header(name), None, "{method}");
        }
    }
    assert_eq!(server.content(&path), b"hello");
}
