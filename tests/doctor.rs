//! `wharf doctor`: it finds each mistake in the configuration of a real nginx and nothing else, is silent on the shipped
//! one, and neither hangs nor falls for what a hostile server says.
//!
//! nginx comes from Debian (`apt-get install nginx-light`); without it these tests fail.

#![cfg(feature = "doctor")]

#[path = "doctor/doctor.rs"]
mod doctor;
#[path = "doctor/fake.rs"]
mod fake;
#[path = "doctor/front.rs"]
mod front;
#[path = "doctor/nginx.rs"]
mod nginx;
mod support;

use doctor::Run;
use fake::Fake;
use front::{Front, Mistake};
use nginx::{Edit, Nginx};
use support::Server;

/// A line that edits can put others behind.
const LAST: &str = "proxy_set_header X-Request-ID $request_id;";

/// Asserts what is found behind an nginx with these edits, and that nothing stays behind.
#[track_caller]
fn finds(edits: &[Edit<'_>], expected: &[&str]) {
    finds_with(edits, &[], expected);
}

#[track_caller]
fn finds_with(edits: &[Edit<'_>], flags: &[&str], expected: &[&str]) {
    let server = Server::start(&[]);
    let nginx = Nginx::start(server.address, edits);
    let run = Run::of(&format!("http://{}/files/", nginx.address), &[&["--json"], flags].concat());
    assert_found(&run, expected);
    assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
}

#[track_caller]
fn assert_found(run: &Run, expected: &[&str]) {
    assert_eq!(run.findings(), expected, "{}", run.stdout);
    assert_eq!(run.status, i32::from(!expected.is_empty()), "{}", run.stdout);
    for finding in run.json()["findings"].as_array().expect("findings") {
        for proxy in ["nginx", "caddy", "traefik", "ingress"] {
            assert!(finding["remedies"][proxy].as_str().is_some_and(|line| !line.is_empty()), "{finding}");
        }
        assert!(finding["sent"].as_str().is_some_and(|sent| !sent.is_empty()), "{finding}");
        assert!(finding["got"].as_str().is_some_and(|got| !got.is_empty()), "{finding}");
    }
}

/// Asserts what is found when these lines stand in the location, too.
#[track_caller]
fn finds_lines(lines: &str, expected: &[&str]) {
    finds(&[(LAST, &format!("{LAST}\n{lines}"))], expected);
}

#[test]
fn wharf_itself_is_sound() {
    let server = Server::start(&[]);
    let run = Run::of(&format!("http://{}/files/", server.address), &["--json", "--origin", "https://app.example"]);
    assert_found(&run, &[]);
    let nothing = serde_json::json!([]);
    for list in ["not_examined", "left", "notes"] {
        assert_eq!(run.json()[list], nothing, "{}", run.stdout);
    }
    assert_eq!(server.names(), [""; 0]);
}

#[test]
fn the_shipped_example_is_sound() {
    let server = Server::start(&[]);
    let nginx = Nginx::start_tls(server.address, &[]);
    let url = format!("https://{}/files/", nginx.address);
    let run = Run::of(&url, &["--json", "--ca", &nginx.certificate()]);
    assert_found(&run, &[]);
    assert_eq!(run.json()["not_examined"], serde_json::json!([]), "{}", run.stdout);
    assert_eq!(run.json()["looked_at"].as_array().map(Vec::len), Some(15), "{}", run.stdout);
    assert_eq!(server.names(), [""; 0]);
    let text = Run::of(&url, &["--ca", &nginx.certificate()]);
    assert!(text.stdout.ends_with("nothing is in the way of uploads\n"), "{}", text.stdout);
}

#[test]
fn a_certificate_that_nobody_trusts() {
    let server = Server::start(&[]);
    let nginx = Nginx::start_tls(server.address, &[]);
    let run = Run::of(&format!("https://{}/files/", nginx.address), &["--json"]);
    assert_found(&run, &["certificate"]);
}

#[test]
fn a_buffered_body() {
    finds(&[("proxy_request_buffering off;", "")], &["request-buffered"]);
}

#[test]
fn chunks_that_are_buffered_for_http_1_0() {
    finds(&[("proxy_http_version 1.1;", "")], &["chunks-buffered"]);
}

#[test]
fn chunks_that_are_refused() {
    finds_lines("if ($http_transfer_encoding) { return 411; }", &["chunks-refused"]);
}

#[test]
fn a_cap_on_bodies() {
    finds(&[("client_max_body_size 0;", "")], &["body-capped"]);
}

#[test]
fn an_impatient_body_timeout() {
    let edits = [("client_body_timeout 60s;", "client_body_timeout 1s;")];
    finds_with(&edits, &["--pause=8"], &["slow-body-ended"]);
}

/// Who is impatient can be told by its answer, and no proxy's lines mend a server.
#[test]
fn a_server_that_is_impatient_itself_is_no_finding() {
    let server = Server::start(&["--set", "timeouts.body_read_secs=1"]);
    let run = Run::of(&format!("http://{}/files/", server.address), &["--json", "--pause=5"]);
    assert_found(&run, &[]);
    let note = run.json()["notes"][0].to_string();
    assert!(note.contains("silent for 5 s") && note.contains("the server itself says 500: ERR_READ_TIMEOUT"), "{note}");
}

/// Nothing is lost of a body that is cut; how far an upload has come nobody can know meanwhile.
#[test]
fn a_buffered_body_that_is_handed_on_when_it_is_cut() {
    let server = Server::start(&[]);
    let front = Front::start(server.address, Mistake::Buffers);
    let run = Run::of(&format!("http://{}/files/", front.address), &["--json"]);
    assert_found(&run, &[]);
    let note = run.json()["notes"][0].to_string();
    assert!(note.contains("is refused with 409 only when all of it was sent"), "{note}");
    assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
}

/// An early refusal comes late through Caddy and Traefik, though they buffer nothing.
#[test]
fn answers_that_are_held_back_are_no_buffering() {
    let server = Server::start(&[]);
    let front = Front::start(server.address, Mistake::HoldsAnswers);
    let run = Run::of(&format!("http://{}/files/", front.address), &["--json"]);
    assert_found(&run, &[]);
    assert_eq!(run.json()["notes"], serde_json::json!([]), "{}", run.stdout);
    assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
}

/// Behind something that does not notice that its client has gone.
#[test]
fn an_upload_that_stays_locked() {
    let server = Server::start(&[]);
    let front = Front::start(server.address, Mistake::Locks);
    let run = Run::of(&format!("http://{}/files/", front.address), &["--json", "--timeout=5"]);
    assert_found(&run, &["stays-locked"]);
    let finding = &run.json()["findings"][0];
    let (sent, got) = (finding["sent"].to_string(), finding["got"].to_string());
    assert!(sent.contains("of 131072 bytes, cut after 65536"), "{sent}");
    assert!(got.contains("HEAD still gets 423 after 5 s"), "{got}");
    assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
}

#[test]
fn expectations_that_are_refused() {
    finds_lines("if ($http_expect) { return 417; }", &["expect-refused"]);
}

#[test]
fn methods_that_are_refused() {
    finds_lines("limit_except GET POST DELETE OPTIONS { deny all; }", &["method-refused PATCH"]);
    finds_lines("if ($request_method = HEAD) { return 405; }", &["method-refused HEAD"]);
    finds_lines("if ($request_method = POST) { return 405; }", &["method-refused POST"]);
    finds_lines("if ($request_method = PATCH) { return 444; }", &["method-refused PATCH"]);
    finds_lines("if ($request_method = GET) { return 403; }", &["method-refused GET"]);
}

#[test]
fn deletions_that_are_refused_leave_uploads_behind() {
    let server = Server::start(&[]);
    let lines = format!("{LAST}\nif ($request_method = DELETE) {{ return 405; }}");
    let nginx = Nginx::start(server.address, &[(LAST, &lines)]);
    let run = Run::of(&format!("http://{}/files/", nginx.address), &["--json"]);
    assert_found(&run, &["method-refused DELETE"]);
    let left = run.json()["left"].as_array().expect("a list").len();
    assert!(left > 0 && left == server.count(), "{left} of {}: {}", server.count(), run.stdout);
}

#[test]
fn options_that_nginx_answers() {
    finds_lines("if ($request_method = OPTIONS) { return 204; }", &["options-answered"]);
    finds_lines("if ($request_method = OPTIONS) { return 405; }", &["method-refused OPTIONS"]);
}

#[test]
fn a_preflight_that_needs_a_password() {
    let lines = format!("{LAST}\nif ($http_authorization = '') {{ return 401; }}");
    let token = ["--header", "Authorization: Bearer abc"];
    finds_with(&[(LAST, &lines)], &token, &["preflight-refused"]);
}

#[test]
fn a_preflight_that_allows_too_little() {
    let lines = "proxy_hide_header Access-Control-Allow-Methods; add_header Access-Control-Allow-Methods 'GET, POST';";
    finds_lines(lines, &["preflight-narrow"]);
}

#[test]
fn an_origin_that_is_said_twice() {
    finds_lines("add_header Access-Control-Allow-Origin $http_origin always;", &["cors-twice"]);
}

#[test]
fn an_origin_that_is_not_let_in() {
    let server = Server::start(&["--set", "cors.allow_origin=^https://app\\.example$"]);
    let nginx = Nginx::start(server.address, &[]);
    let url = format!("http://{}/files/", nginx.address);
    assert_found(&Run::of(&url, &["--json", "--origin", "https://app.example"]), &[]);
    assert_found(&Run::of(&url, &["--json", "--origin", "https://other.example"]), &["origin-refused"]);
    // What was not asked for is no fault.
    assert_found(&Run::of(&url, &["--json"]), &[]);
}

#[test]
fn errors_that_pages_cannot_read() {
    let lines = "proxy_hide_header Access-Control-Allow-Origin; add_header Access-Control-Allow-Origin $http_origin;";
    finds_lines(lines, &["cors-not-on-errors"]);
}

#[test]
fn headers_that_are_hidden_from_pages() {
    let expected = ["header-hidden Location", "header-hidden Upload-Offset", "header-hidden Upload-Length"];
    finds_lines("proxy_hide_header Access-Control-Expose-Headers;", &expected);
}

#[test]
fn headers_that_are_stripped_from_answers() {
    for name in ["Tus-Resumable", "Upload-Offset", "Upload-Length", "Cache-Control"] {
        finds_lines(&format!("proxy_hide_header {name};"), &[&format!("response-header-stripped {name}")]);
    }
}

#[test]
fn headers_that_are_stripped_from_requests() {
    for (name, code) in [
        ("Upload-Metadata", "header-lost"),
        ("Upload-Concat", "header-lost"),
        ("Tus-Resumable", "request-header-stripped"),
        ("Upload-Length", "request-header-stripped"),
        ("Upload-Offset", "request-header-stripped"),
        ("Upload-Checksum", "request-header-stripped"),
        ("Upload-Defer-Length", "request-header-stripped"),
        ("X-HTTP-Method-Override", "request-header-stripped"),
    ] {
        finds_lines(&format!("proxy_set_header {name} '';"), &[&format!("{code} {name}")]);
    }
}

#[test]
fn a_content_type_that_is_replaced() {
    finds_lines("proxy_set_header Content-Type text/plain;", &["request-header-stripped Content-Type"]);
}

#[test]
fn a_location_that_is_stripped_leaves_an_upload_behind() {
    let server = Server::start(&[]);
    let nginx = Nginx::start(server.address, &[(LAST, &format!("{LAST}\nproxy_hide_header Location;"))]);
    let run = Run::of(&format!("http://{}/files/", nginx.address), &["--json"]);
    assert_found(&run, &["response-header-stripped Location"]);
    assert_eq!(run.json()["not_examined"].as_array().map(Vec::len), Some(1), "{}", run.stdout);
}

#[test]
fn a_cache() {
    // Nothing is cached without buffering.
    let lines = "proxy_cache cache; proxy_cache_convert_head off; proxy_cache_key $request_method$uri;\n\
                 proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1m;";
    finds(&[("proxy_buffering off;", lines)], &["head-cached"]);
}

#[test]
fn a_cache_that_makes_head_a_get() {
    finds_lines("proxy_cache cache;", &["head-rewritten"]);
}

#[test]
fn compressed_downloads() {
    finds_lines("gzip_types text/plain;", &["compressed"]);
}

#[test]
fn downloads_that_are_edited() {
    finds_lines("sub_filter_types text/plain; sub_filter fox cat;", &["download-changed"]);
}

#[test]
fn ranges_that_are_ignored() {
    finds_lines("proxy_set_header Range '';", &["range-ignored"]);
}

#[test]
fn errors_that_are_replaced() {
    finds_lines("proxy_intercept_errors on; error_page 404 409 /oops.html;", &["errors-replaced"]);
}

#[test]
fn little_room_for_headers() {
    finds(&[("server_name uploads.example.com;", "large_client_header_buffers 4 2k;")], &["head-capped"]);
}

#[test]
fn connections_for_one_request_each() {
    finds_lines("keepalive_timeout 0;", &["no-keep-alive"]);
}

#[test]
fn a_url_that_is_redirected() {
    let server = Server::start(&[]);
    let nginx = Nginx::start(server.address, &[]);
    let run = Run::of(&format!("http://{}/files", nginx.address), &["--json"]);
    assert_found(&run, &["redirected"]);
    assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
}

/// As a proxy does that has people log in: what is there is no tus server, and the redirection is why.
#[test]
fn a_url_that_is_redirected_to_something_else() {
    let fake = Fake::start(|head| {
        let found = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
        if head.contains(" /files/ ") { found.into() } else { page.into() }
    });
    let run = Run::of(&fake.url(), &["--json"]);
    assert_found(&run, &["redirected"]);
    let gap = run.json()["not_examined"][0].to_string();
    assert!(gap.contains("no tus server answers at") && gap.contains("/login: OPTIONS gets 200"), "{gap}");
}

/// Without an authority to trust nothing is said to a port of https, least of all in the clear.
#[test]
fn a_redirection_to_https_without_anybody_to_trust() {
    let (heard, hears) = std::sync::mpsc::channel();
    let secure = Fake::start(move |head| {
        let _ = heard.send(head.to_owned());
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let location = secure.url().replacen("http", "https", 1);
    let fake = Fake::start(move |_| {
        format!("HTTP/1.1 308 Permanent Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let run = Run::of(&fake.url(), &["--json", "--header", "Authorization: Bearer secret", "--ca", "/nowhere.pem"]);
    assert_found(&run, &["redirected"]);
    let gap = run.json()["not_examined"][0].to_string();
    assert!(gap.contains("no connection: /nowhere.pem: "), "{gap}");
    assert_eq!(hears.try_recv().ok(), None);
}

#[test]
fn a_path_that_is_rewritten() {
    let server = Server::start(&[]);
    let edits = [
        ("location /files/ {", "location /up/ {"),
        ("        proxy_pass http://wharf;", "proxy_pass http://wharf/files/;"),
    ];
    let nginx = Nginx::start(server.address, &edits);
    let run = Run::of(&format!("http://{}/up/", nginx.address), &["--json"]);
    assert_found(&run, &["location-path"]);
    assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
}

#[test]
fn a_location_with_an_inner_host_or_another_scheme() {
    let absolute = ["--behind-proxy", "--set", "server.absolute_location=true"];
    let server = Server::start(&absolute);
    let forwarded = "proxy_set_header X-Forwarded-Host $http_host;";
    let inner = (forwarded, "proxy_set_header X-Forwarded-Host inner.example:8080;");
    let without_port = (forwarded, "proxy_set_header X-Forwarded-Host $host;");
    let unsaid = ("proxy_set_header X-Forwarded-Proto $scheme;", "proxy_set_header X-Forwarded-Proto '';");
    for (edits, expected) in [
        (vec![], None),
        (vec![inner], Some("location-host")),
        (vec![without_port], Some("location-host")),
        (vec![unsaid], Some("location-scheme")),
    ] {
        let nginx = Nginx::start_tls(server.address, &edits);
        let url = format!("https://{}/files/", nginx.address);
        let run = Run::of(&url, &["--json", "--ca", &nginx.certificate()]);
        assert_found(&run, expected.as_slice());
        assert_eq!(server.names(), [""; 0], "uploads stayed: {}", run.stdout);
    }
}

#[test]
fn a_limit_on_requests() {
    let server = Server::start(&[]);
    let lines = format!("{LAST}\nlimit_req zone=slow burst=6 nodelay;");
    let nginx = Nginx::start(server.address, &[(LAST, &lines)]);
    assert_found(&Run::of(&format!("http://{}/files/", nginx.address), &["--json"]), &["rate-limited"]);
}

#[test]
fn several_mistakes_at_once() {
    let edits = [
        ("proxy_request_buffering off;", ""),
        ("client_max_body_size 0;", ""),
        (LAST, "add_header Access-Control-Allow-Origin * always; gzip_types text/plain;"),
    ];
    finds(&edits, &["cors-twice", "body-capped", "request-buffered", "compressed"]);
}

#[test]
fn people_read_what_was_sent_what_came_and_what_mends_it() {
    let server = Server::start(&[]);
    let nginx = Nginx::start(server.address, &[("client_max_body_size 0;", "")]);
    let run = Run::of(&format!("http://{}/files/", nginx.address), &["--for", "nginx"]);
    assert_eq!(run.status, 1, "{}", run.stdout);
    for part in [
        "* request bodies are capped (body-capped)\n    sent: PATCH /files/",
        "with Content-Length: 10485760\n    got:  413 from nginx",
        "at once; 1048576 bytes are taken\n",
        "    nginx    client_max_body_size 0;\n",
        "\n1 thing is in the way of uploads\n",
    ] {
        assert!(run.stdout.contains(part), "{part:?} is missing from\n{}", run.stdout);
    }
    assert!(!run.stdout.contains("traefik"), "{}", run.stdout);
}

#[test]
fn what_cannot_be_examined_ends_with_2() {
    let server = Server::start(&[]);
    let nginx = Nginx::start(server.address, &[(LAST, &format!("{LAST}\nreturn 403;"))]);
    let url = |path: &str| format!("http://{}{path}", nginx.address);
    for (url, text) in [
        (url("/files/"), "--header"),
        (url("/other/"), "no tus server"),
        ("ftp://127.0.0.1/".to_owned(), "is not a URL"),
        ("http://127.0.0.1:1/files/".to_owned(), "nobody answers"),
        (format!("https://{}/files/", nginx.address), "no TLS"),
    ] {
        let run = Run::of(&url, &[]);
        assert_eq!(run.status, 2, "{url}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains(text), "{url}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_server_that_is_down_behind_its_proxy() {
    let mut server = Server::start(&[]);
    let nginx = Nginx::start(server.address, &[]);
    server.kill();
    let run = Run::of(&format!("http://{}/files/", nginx.address), &[]);
    assert_eq!(run.status, 2, "{}", run.stdout);
    assert!(run.stderr.contains("502 from nginx"), "{}", run.stderr);
}

#[test]
fn what_speaks_no_http_is_no_server() {
    for answer in
        [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"", b"HTTP/1.1 ", b"\x00\xff\x1b[2J\n\n", b"HTTP/1.1 999999 x\r\n\r\n"]
    {
        let fake = Fake::start(move |_| answer.to_vec());
        let run = Run::of(&fake.url(), &["--timeout", "2"]);
        assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
        assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
    }
}

#[test]
fn endless_answers_end() {
    let head = "HTTP/1.1 200 OK\r\nTus-Version: 1.0.0\r\n";
    for (begin, forever, status) in [
        (head.to_owned(), "X-More: more\r\n", 2),
        (head.to_owned(), "x", 2),
        // Of a body that is too long the beginning is enough; what it lacks is found.
        (format!("{head}\r\n"), "x", 1),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), "1\r\nx\r\n", 1),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), "0", 2),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n", 2),
    ] {
        let fake = Fake::start_endless(move |_| (begin.clone().into_bytes(), forever.as_bytes().to_vec()));
        let run = Run::of(&fake.url(), &["--timeout", "5"]);
        assert_eq!(run.status, status, "{forever:?}: {}{}", run.stdout, run.stderr);
    }
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let fake = Fake::start(|head| {
        if head.starts_with("OPTIONS") {
            return b"HTTP/1.1 200 OK\r\nTus-Version: 1.0.0\r\nContent-Length: 0\r\n\r\n".to_vec();
        }
        fake::SILENCE.to_vec()
    });
    let run = Run::of(&fake.url(), &["--timeout", "1"]);
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("no answer within 1 s"), "{}", run.stderr);
}

/// An answer without an end, on a connection that stays open, is one all the same.
#[test]
fn an_answer_whose_body_never_ends_counts() {
    let fake = Fake::start_endless(|head| {
        let options = "HTTP/1.1 200 OK\r\nTus-Version: 1.0.0\r\nContent-Length: 0\r\n\r\n";
        let refusal = "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/html\r\n\r\n<html>";
        if head.starts_with("OPTIONS") { (options.into(), Vec::new()) } else { (refusal.into(), fake::SILENCE.into()) }
    });
    let run = Run::of(&fake.url(), &["--timeout", "1", "--json"]);
    assert_found(&run, &["method-refused POST"]);
}

#[test]
fn hostile_words_stay_words() {
    let steers = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
    let named = "HTTP/1.1 201 Created\r\nTus-Resumable: 1.0.0\r\nTus-Version: 1.0.0\r\nServer: \u{9b}2J\u{202e}\r\n\
                 Location: /files/a b\u{202e}\u{9b}2J\r\nContent-Length: 0\r\n\r\n";
    let fake = Fake::start(move |_| named.as_bytes().to_vec());
    for flags in [&["--timeout", "5"][..], &["--timeout", "5", "--json"]] {
        let run = Run::of(&fake.url(), flags);
        assert_eq!(run.status, 1, "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("location-path") && run.stdout.contains("u{202e}"), "{}", run.stdout);
        assert!(!run.stdout.chars().any(steers), "{:?}", run.stdout);
    }
    let fake = Fake::start(|_| b"HTTP/1.1 400 No\r\nServer: x\r\n\r\n\x1b[2J\x07\xe2\x80\xae\r\nmore".to_vec());
    let run = Run::of(&fake.url(), &["--timeout", "5"]);
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("\\u{1b}[2J"), "{}", run.stderr);
    assert!(!run.stderr.chars().any(steers), "{:?}", run.stderr);
}

/// A server that says the same to everything: all checks run against nonsense, and end.
#[test]
fn a_server_of_one_answer_is_examined_to_the_end() {
    for status in ["200 OK", "404 Not Found", "500 Internal Server Error", "423 Locked"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nTus-Resumable: 1.0.0\r\nTus-Version: 1.0.0\r\nLocation: /files/1\r\n\
             Tus-Extension: creation,termination,checksum,concatenation,creation-defer-length\r\n\
             Tus-Checksum-Algorithm: sha1\r\nUpload-Offset: 99999999999999999999999\r\nContent-Length: 0\r\n\r\n"
        );
        let fake = Fake::start(move |_| answer.clone().into_bytes());
        let run = Run::of(&fake.url(), &["--timeout", "1", "--json"]);
        assert_eq!(run.status, if status.starts_with('2') { 1 } else { 2 }, "{status}: {}{}", run.stdout, run.stderr);
    }
}
