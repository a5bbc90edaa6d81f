//! The admin endpoint's doors: who is let in, from where, and what everybody gets. Over real sockets.

mod support;

use std::{fs, net::SocketAddr};

use support::{
    Client, Response, Server, Signal,
    admin::{ADMIN, json},
    head, wait_until,
};

const TOKEN: &str = "0123456789abcdef-of-a-test";

/// A server that asks for a token.
fn guarded(flags: &[&str]) -> Server {
    let token = format!("admin.token={TOKEN}");
    Server::start_watched(&[&["--set", token.as_str()], flags].concat())
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

/// Asserts a refusal in the form that all have, with the headers that keep browsers safe.
#[track_caller]
fn refused(response: &Response, status: u16, error: &str) {
    assert_eq!(response.status, status, "{response:?}: {}", response.text());
    let told = json(response);
    assert_eq!(told["error"], error, "{told}");
    assert!(told["message"].as_str().is_some_and(|message| !message.is_empty()), "{told}");
    guarded_by_headers(response);
}

#[track_caller]
fn guarded_by_headers(response: &Response) {
    let policy = response.the("Content-Security-Policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(response.the("X-Content-Type-Options"), "nosniff");
    assert_eq!(response.the("Cache-Control"), "no-store");
    assert_eq!(response.the("X-Frame-Options"), "DENY");
    assert_eq!(response.the("Referrer-Policy"), "no-referrer");
    assert_eq!(response.the("Cross-Origin-Resource-Policy"), "same-origin");
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
}

#[test]
fn the_public_address_knows_nothing_of_it() {
    let server = Server::start_watched(&[]);
    for path in ["/metrics", "/mailboxes", "/healthz", "/readyz", "/openapi.json", "/uploads"] {
        let outside = server.request("GET", path, &[], b"");
        assert!(!outside.text().contains("wharf_") && !outside.text().contains("depth"), "{path}: {outside:?}");
        assert_ne!(outside.header("Content-Type"), Some("application/json"), "{path}");
        assert_eq!(server.ask("GET", path).status, 200, "{path}");
    }
    // And uploads aren't taken there.
    assert_eq!(server.ask_with("POST", &server.base, &[("Upload-Length", "1")], b"").status, 404);
}

#[test]
fn without_a_token_on_loopback_nobody_need_log_in() {
    let server = Server::start_watched(&[]);
    for path in ["/mailboxes", "/uploads", "/pools", "/hooks", "/recent", "/metrics"] {
        let response = server.ask("GET", path);
        assert_eq!(response.status, 200, "{path}");
        guarded_by_headers(&response);
    }
    assert_eq!(server.told("/session"), serde_json::json!({ "needs_token": false, "is_admitted": true }));
    // The page may try all the same; there is no session to be had.
    let response = log_in(&server, "anything");
    assert_eq!((response.status, response.header("Set-Cookie")), (204, None));
}

#[test]
fn elsewhere_it_does_not_start_without_a_token() {
    let server = Server::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let bind = format!("admin.bind={address}");
        let (status, said) = server.refused_start(directory.path(), &["--set", &bind]);
        assert!(!status.success());
        assert!(said.contains("admin.token or admin.tls.client_ca must be set"), "{said}");
    }
    let token = format!("admin.token={TOKEN}");
    let open = Server::start(&["--set", "admin.bind=0.0.0.0:0", "--set", &token]);
    let port = open.admin_address().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = Client::connect(address);
    let host = address.to_string();
    let response = client.request("GET", "/pools", &[("Host", &host), ("Authorization", &bearer())], b"");
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn two_on_one_address_are_refused_by_name() {
    let first = Server::start_watched(&[]);
    let bind = format!("admin.bind={}", first.admin_address());
    let directory = tempfile::tempdir().unwrap();
    let (status, said) = first.refused_start(directory.path(), &["--set", &bind]);
    assert!(!status.success());
    assert!(said.contains(&format!("cannot listen on {}", first.admin_address())), "{said}");
}

#[test]
fn a_token_must_be_shown_and_must_be_right() {
    let server = guarded(&[]);
    let with = |authorization: &str| server.ask_with("GET", "/pools", &[("Authorization", authorization)], b"");
    let nothing = server.ask("GET", "/pools");
    refused(&nothing, 401, "unauthorized");
    assert!(nothing.the("WWW-Authenticate").starts_with("Bearer"));
    let short = &bearer()[..bearer().len() - 1];
    for wrong in ["Bearer", "Bearer ", "Bearer x", "Basic dTpw", TOKEN, short, &format!("{}x", bearer())] {
        refused(&with(wrong), 401, "unauthorized");
    }
    assert_eq!(with(&bearer()).status, 200);
    // Not in the URL, where it would be logged.
    refused(&server.ask("GET", &format!("/pools?token={TOKEN}")), 401, "unauthorized");
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/mailboxes"),
        ("GET", "/uploads"),
        ("GET", "/uploads/x"),
        ("DELETE", "/uploads/x"),
        ("POST", "/uploads/x/interrupt"),
        ("POST", "/reload"),
        ("GET", "/hooks"),
        ("POST", "/hooks/retry"),
        ("POST", "/hooks/x/retry"),
        ("GET", "/recent"),
        ("GET", "/events"),
        ("GET", "/no/such/path"),
        ("PUT", "/pools"),
    ] {
        refused(&server.ask(method, path), 401, "unauthorized");
    }
    wait_until("it is in the log", || server.log().contains("admin request refused"));
    assert!(!server.log().contains(TOKEN), "{}", server.log());
}

#[test]
fn probes_and_the_page_need_no_token() {
    let server = guarded(&[]);
    for path in ["/healthz", "/readyz", "/", "/app.js", "/page/dom.js", "/page/icon.svg", "/style.css", "/openapi.json"]
    {
        let response = server.ask("GET", path);
        assert_eq!(response.status, 200, "{path}");
        guarded_by_headers(&response);
    }
    assert_eq!(server.ask("GET", "/page/dom.js").the("Content-Type"), "text/javascript; charset=utf-8");
    assert_eq!(server.told("/session"), serde_json::json!({ "needs_token": true, "is_admitted": false }));
    let shown = server.ask_with("GET", "/session", &[("Authorization", &bearer())], b"");
    assert_eq!(json(&shown), serde_json::json!({ "needs_token": true, "is_admitted": true }));
    assert!(!server.log().contains("admin request refused"), "{}", server.log());
    // A kubelet asks by the pod's address.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.ask_with("GET", path, &[("Host", "10.9.8.7:8081")], b"").status, 200, "{path}");
    }
    assert_eq!(server.told("/healthz"), serde_json::json!({ "status": "ok" }));
    assert_eq!(server.told("/readyz"), serde_json::json!({ "ready": true, "reason": null }));
}

fn log_in(server: &Server, token: &str) -> Response {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    server.ask_with("POST", "/login", &form, format!("token={token}").as_bytes())
}

#[test]
fn a_login_gives_a_cookie_that_is_not_the_token() {
    let server = guarded(&[]);
    refused(&log_in(&server, "wrong"), 401, "unauthorized");
    let response = log_in(&server, TOKEN);
    assert_eq!(response.status, 204, "{response:?}");
    let cookie = response.the("Set-Cookie").to_owned();
    for part in ["wharf_admin=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    assert!(!cookie.contains(TOKEN) && !cookie.contains("Domain"), "{cookie}");
    let pair = cookie.split(';').next().unwrap().to_owned();
    let other = log_in(&server, TOKEN).the("Set-Cookie").split(';').next().unwrap().to_owned();
    assert_ne!(pair, other, "each login has a session of its own");

    let origin = format!("http://{}", server.admin_address());
    let read = |cookie: &str| server.ask_with("GET", "/pools", &[("Cookie", cookie)], b"").status;
    assert_eq!(json(&server.ask_with("GET", "/session", &[("Cookie", &pair)], b""))["is_admitted"], true);
    assert_eq!((read(&pair), read(&format!("a=b; {pair}; c=d")), read("wharf_admin=x")), (200, 200, 401));
    let change = |headers: &[(&str, &str)]| server.ask_with("POST", "/reload", headers, b"");
    // What a browser sends by itself changes nothing unless the page is ours.
    refused(&change(&[("Cookie", &pair)]), 403, "forbidden");
    refused(&change(&[("Cookie", &pair), ("Origin", "http://evil.example")]), 403, "forbidden");
    refused(&change(&[("Cookie", &pair), ("Origin", "null")]), 403, "forbidden");
    let cross = [("Cookie", pair.as_str()), ("Origin", origin.as_str()), ("Sec-Fetch-Site", "cross-site")];
    refused(&change(&cross), 403, "forbidden");
    assert_eq!(change(&[("Cookie", &pair), ("Origin", &origin)]).status, 200);

    let mut streams = [&pair, &other].map(|cookie| server.events_with("?only=stats", &[("Cookie", cookie)]));
    let out = server.ask_with("POST", "/logout", &[("Cookie", &pair), ("Origin", &origin)], b"");
    assert_eq!(out.status, 204);
    assert!(out.the("Set-Cookie").contains("Max-Age=0"), "{out:?}");
    assert_eq!((read(&pair), read(&other)), (401, 200));
    // Nor does it hear any more.
    streams[0].ended();
    streams[1].next("stats");
}

#[test]
fn a_login_form_must_be_one() {
    let server = guarded(&[]);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let post = |headers: &[(&str, &str)], body: &[u8]| server.ask_with("POST", "/login", headers, body);
    refused(&post(&[("Content-Type", "application/json")], b"{}"), 415, "unsupported_type");
    refused(&post(&[], b"token=x"), 415, "unsupported_type");
    for body in [&b""[..], b"token=", b"tokn=x", b"token=x&token=y", b"token=%", b"token=%ff", b"\xff"] {
        refused(&post(&[form], body), 400, "bad_request");
    }
    refused(&post(&[form], &b"token=".repeat(1000)), 413, "too_large");
    assert_eq!(
        post(
            &[("Content-Type", "application/X-WWW-form-urlencoded; charset=UTF-8")],
            format!("token={TOKEN}").as_bytes()
        )
        .status,
        204
    );
    let escaped: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(log_in(&server, &escaped).status, 204);
    refused(&server.ask_with("GET", "/login", &[("Authorization", &bearer())], b""), 405, "method_not_allowed");
}

#[test]
fn another_host_or_origin_gets_nothing() {
    let server = Server::start_watched(&["--set", "admin.hosts=wharf.example"]);
    let port = server.admin_address().port();
    let with = |headers: &[(&str, &str)], method: &str, path: &str| server.ask_with(method, path, headers, b"");
    for host in ["localhost", &format!("localhost:{port}"), "127.0.0.1", "wharf.example", "WHARF.example:8443"] {
        assert_eq!(with(&[("Host", host)], "GET", "/pools").status, 200, "{host}");
    }
    // A name that was made to point here is what DNS rebinding is.
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.2", "xwharf.example", "wharf.example.evil"] {
        for (method, path) in [("GET", "/pools"), ("POST", "/reload"), ("GET", "/"), ("GET", "/no/such/path")] {
            refused(&with(&[("Host", host)], method, path), 403, "forbidden");
        }
    }
    for origin in ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "file://"] {
        for (method, path) in [
            ("GET", "/pools"),
            ("POST", "/reload"),
            ("DELETE", "/uploads/x"),
            ("POST", "/login"),
            ("POST", "/hooks/retry"),
            ("POST", "/hooks/x/retry"),
        ] {
            refused(&with(&[("Origin", origin)], method, path), 403, "forbidden");
        }
    }
    let own = format!("http://127.0.0.1:{port}");
    assert_eq!(with(&[("Origin", &own)], "POST", "/reload").status, 200);
    // TLS may end at a proxy.
    let proxied = [("Host", "wharf.example"), ("Origin", "https://wharf.example")];
    assert_eq!(with(&proxied, "POST", "/reload").status, 200);
}

#[test]
fn odd_requests_are_answered_as_json() {
    let server = Server::start_watched(&[]);
    refused(&server.ask("GET", "/nothing"), 404, "not_found");
    let response = server.ask("PUT", "/pools");
    refused(&response, 405, "method_not_allowed");
    assert_eq!(response.the("Allow"), "GET, HEAD");
    assert_eq!(server.ask("OPTIONS", "/reload").the("Allow"), "POST");
    for query in
        ["?limit=x", "?limit=1&limit=2", "?limt=5", "?sort=size", "?kind=", "?kind=Upload", "?limit=%", "?limit=1001"]
    {
        refused(&server.ask("GET", &format!("/mailboxes{query}")), 400, "bad_request");
    }
    for query in ["?state=all", "?limit=0", "?min_bytes=-1", "?older_than_secs=1.5", "?x"] {
        refused(&server.ask("GET", &format!("/uploads{query}")), 400, "bad_request");
    }
    for query in ["?state=owed", "?state=", "?limit=1001", "?limit=-1", "?kind=post-finish"] {
        refused(&server.ask("GET", &format!("/hooks{query}")), 400, "bad_request");
    }
    refused(&server.ask("POST", "/hooks/retry?all=1"), 400, "bad_request");
    refused(&server.ask("POST", "/hooks/%ff/retry"), 404, "not_found");
    assert_eq!(server.ask("GET", "/hooks/x/retry").the("Allow"), "POST");
    refused(&server.ask("GET", "/uploads?cursor=x"), 404, "not_found");
    for path in ["/healthz?x=1", "/metrics?x", "/events?only=nothing", "/pools?a=b"] {
        refused(&server.ask("GET", path), 400, "bad_request");
    }
    // No body is wanted here, and one that comes does no harm.
    let mut client = Client::connect(server.admin_address());
    let host = server.admin_address().to_string();
    for _ in 0..2 {
        let response = client.request("GET", "/pools", &[("Host", &host), ("Tus-Resumable", "")], b"");
        assert_eq!(response.status, 200);
    }
    client.send(head("GET", "/pools", &[("Host", &host), ("Content-Length", "5"), ("Transfer-Encoding", "chunked")]));
    assert_eq!(client.answer().status, 400);
}

#[test]
fn head_is_get_without_its_body() {
    let server = Server::start_watched(&[]);
    for path in ["/healthz", "/openapi.json", "/pools"] {
        let (get, head) = (server.ask("GET", path), server.ask("HEAD", path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"));
        if path == "/openapi.json" {
            assert_eq!(head.the("Content-Length"), get.body.len().to_string());
        }
    }
}

#[test]
fn readiness_turns_before_anything_else_does_and_the_endpoint_ends_last() {
    let mut server =
        Server::start_watched(&["--set", "timeouts.drain_delay_secs=3600", "--set", "timeouts.shutdown_secs=3600"]);
    let path = server.create(10);
    let mut events = server.events("?only=stats");
    server.signal(Signal::TERM);
    wait_until("it is not ready any more", || server.ask("GET", "/readyz").status == 503);
    assert_eq!(json(&server.ask("GET", "/readyz"))["reason"], "shutting_down");
    assert_eq!(server.ask("GET", "/healthz").status, 200);
    // All goes on until the balancers have looked elsewhere.
    server.patched(&path, 0, b"hello");
    events.next("stats");
    server.signal(Signal::TERM);
    assert!(!server.ended().success(), "who asks twice does not want to wait");
}

#[test]
fn operators_can_look_on_while_requests_end() {
    let mut server = Server::start_watched(&["--set", "timeouts.shutdown_secs=3600"]);
    let path = server.create(10);
    let mut sender = server.stalled_patch(&path, 0, 10, b"hello");
    let mut events = server.events("?only=upload_finished");
    server.signal(Signal::TERM);
    wait_until("it is not ready any more", || server.ask("GET", "/readyz").status == 503);
    assert_eq!(server.upload_told(&path)["state"], "receiving");
    sender.send(b"world");
    sender.answer().appended(10);
    assert_eq!(events.next("upload_finished")["length_bytes"], 10);
    events.ended();
    assert!(server.ended().success());
}

#[test]
fn a_store_that_is_gone_is_not_ready() {
    let server = Server::start_faulty(&ADMIN);
    assert_eq!(server.ask("GET", "/readyz").status, 200);
    server.fault("fail reachable always");
    wait_until("the store is unreachable", || server.ask("GET", "/readyz").status == 503);
    assert_eq!(json(&server.ask("GET", "/readyz"))["reason"], "store_unreachable");
    assert_eq!(server.ask("GET", "/healthz").status, 200);
    server.fault("");
    wait_until("the store is back", || server.ask("GET", "/readyz").status == 200);
}

#[test]
fn however_many_probe_the_store_is_asked_once() {
    let server = Server::start_faulty(&ADMIN);
    let host = server.admin_address().to_string();
    let mut probes: Vec<Client> = (0..16).map(|_| Client::connect(server.admin_address())).collect();
    for probe in &mut probes {
        assert_eq!(probe.request("GET", "/healthz", &[("Host", &host), ("Tus-Resumable", "")], b"").status, 200);
    }
    // What was never asked has no metrics yet.
    let counted = |metric: &str| {
        let text = server.ask("GET", "/metrics").text();
        let sample = format!("wharf_store_operation{metric}{{store=\"disk\",operation=\"reachable\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&sample)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let asked = || counted("s_under_way") + counted("_duration_seconds_count");
    let before = asked();
    server.fault("hold reachable 1");
    for probe in &mut probes {
        probe.send(head("GET", "/readyz", &[("Host", &host), ("Tus-Resumable", "")]));
    }
    wait_until("the store is asked", || counted("s_under_way") >= 1);
    server.fault("");
    for probe in &mut probes {
        assert_eq!(probe.answer().status, 200);
    }
    // Twice if the last ones came a second late.
    let times = asked() - before;
    assert!((1..=2).contains(&times), "{times}");
}

#[test]
fn the_settings_report_does_not_show_the_token() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("settings.toml"), format!("[admin]\ntoken = \"{TOKEN}\"\n")).unwrap();
    let run =
        std::process::Command::new(env!("CARGO_BIN_EXE_wharf")).arg("check").current_dir(&directory).output().unwrap();
    let report = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success() && report.contains("# token is set"), "{report}");
    assert!(!report.contains(TOKEN), "{report}");
    fs::write(directory.path().join("settings.toml"), "[admin]\ntoken = \"sesame-sesame-ä\"\n").unwrap();
    let run =
        std::process::Command::new(env!("CARGO_BIN_EXE_wharf")).arg("check").current_dir(&directory).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(said.contains("admin.token: must be 16 to 1024") && !said.contains("sesame"), "{said}");
}
