//! Who is let in, and to whom an upload is there: tokens, their keys, and owners.

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{
    OFFSET_TYPE, Response, Server, Signal,
    admin::ADMIN,
    head,
    tokens::{
        EC_PUBLIC, KeyServer, RSA_PUBLIC, SECRET, bearer, bearer_with, by_ec, by_rsa, by_secret, claims, key_set, now,
        part,
    },
    wait_until,
};

const TOKEN: &str = "a-token-for-everybody";
const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");

#[track_caller]
fn unauthorized(response: &Response, challenge: &str) {
    response.refused(401, "ERR_UNAUTHORIZED");
    assert_eq!(response.the("WWW-Authenticate"), challenge);
}

/// Whether a token creates an upload.
fn lets_in(server: &Server, authorization: &str) -> bool {
    let response = server.post(&[("Authorization", authorization), ("Upload-Length", "1")], b"");
    match response.status {
        201 => true,
        401 => false,
        _ => panic!("{response:?}: {}", response.text()),
    }
}

/// How many requests were refused for this cause.
fn refused(server: &Server, cause: &str) -> f64 {
    server.metric(&format!("wharf_check_refusals_total{{cause=\"{cause}\"}}"))
}

fn append_headers(offset: &str) -> [(&str, &str); 2] {
    [OFFSET_TYPE, ("Upload-Offset", offset)]
}

/// What an answer says, but for what differs between any two.
fn said(response: &Response) -> (u16, Vec<(String, String)>, String) {
    let differs = |name: &str| ["x-request-id", "date"].iter().any(|one| name.eq_ignore_ascii_case(one));
    // Their order is any.
    let mut headers: Vec<_> = response.headers.iter().filter(|(name, _)| !differs(name)).cloned().collect();
    headers.sort();
    (response.status, headers, response.text())
}

#[test]
fn the_token_that_is_set_is_needed_for_every_upload() {
    let server = Server::start_watched(&["--set", &format!("auth.token={TOKEN}")]);
    let authorization = format!("Bearer {TOKEN}");
    let with = |headers: &[(&str, &str)]| {
        server.create_with(&[&[("Authorization", authorization.as_str())], headers].concat())
    };
    let path = with(&[("Upload-Length", "5")]);
    for (method, path, headers) in [
        ("POST", server.base.as_str(), vec![("Upload-Length", "5")]),
        ("PATCH", &path, append_headers("0").to_vec()),
        ("GET", &path, vec![]),
        ("DELETE", &path, vec![]),
    ] {
        unauthorized(&server.request(method, path, &headers, b""), "Bearer");
        for wrong in ["Bearer another-token-of-somebody", "Bearer", "Bearer a, Bearer b"] {
            let headers = [&headers[..], &[("Authorization", wrong)]].concat();
            unauthorized(&server.request(method, path, &headers, b""), "Bearer error=\"invalid_token\"");
        }
    }
    let head = server.head(&path);
    assert_eq!((head.status, head.the("WWW-Authenticate"), head.header("Upload-Offset")), (401, "Bearer", None));
    // Where one is asked twice, both answers must be the same.
    let twice = [("Authorization", authorization.as_str()), ("Authorization", authorization.as_str())];
    assert_eq!(server.request("HEAD", &path, &twice, b"").status, 401);
    let own = [("Authorization", authorization.as_str())];
    let appended = server.request("PATCH", &path, &[&own[..], &append_headers("0")].concat(), b"hello");
    appended.appended(5);
    assert_eq!(server.get(&path, &own).body, b"hello");
    assert_eq!(server.request("DELETE", &path, &own, b"").status, 204);
    assert!(refused(&server, "token_missing") >= 5.0 && refused(&server, "token_wrong") == 4.0);
    assert!(!server.log().contains(TOKEN), "the token is in the log");
}

#[test]
fn browsers_may_ask_first_and_get_the_page() {
    let server = Server::start(&["--set", &format!("auth.token={TOKEN}")]);
    let preflight =
        [("Origin", "https://example.com"), ("Access-Control-Request-Method", "POST"), ("Tus-Resumable", "")];
    let response = server.request("OPTIONS", &server.base, &preflight, b"");
    assert_eq!((response.status, response.the("Access-Control-Allow-Origin")), (200, "https://example.com"));
    assert!(response.elements("Access-Control-Allow-Headers").contains(&"authorization".to_owned()));
    for path in ["/", "/page/app.js"] {
        assert_eq!(server.get(path, &[("Accept", "text/html"), ("Tus-Resumable", "")]).status, 200, "{path}");
    }
    // A page may read why it was not let in.
    let response = server.post(&[("Origin", "https://example.com"), ("Upload-Length", "1")], b"");
    unauthorized(&response, "Bearer");
    assert_eq!(response.the("Access-Control-Allow-Origin"), "https://example.com");
}

#[test]
fn who_waits_for_leave_to_send_is_told_before() {
    let server = Server::start_guarded(&[]);
    let ann = server.as_subject("ann");
    let path = ann.create(5);
    let expecting = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "5"), ("Expect", "100-continue")];
    let mut client = server.connect();
    client.send(head("PATCH", &path, &expecting));
    let response = client.answer();
    unauthorized(&response, "Bearer");
    assert_eq!(response.interims, Vec::<u16>::new());
    let bob = server.as_subject("bob").authorization;
    let mut client = server.connect();
    client.send(head("PATCH", &path, &[&expecting[..], &[("Authorization", &bob)]].concat()));
    let response = client.answer();
    response.refused(404, "ERR_UPLOAD_NOT_FOUND");
    assert_eq!(response.interims, Vec::<u16>::new());
    let mut client = server.connect();
    client.send(head("PATCH", &path, &[&expecting[..], &[("Authorization", &ann.authorization)]].concat()));
    assert_eq!(client.interim(), 100);
    client.send(b"hello");
    client.answer_to("PATCH").appended(5);
}

#[test]
fn each_algorithm_is_taken_with_a_key_of_its_own() {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(keys.path().join(name), bytes).unwrap();
        keys.path().join(name).display().to_string()
    };
    let public = file("public.pem", [RSA_PUBLIC, EC_PUBLIC].concat().as_bytes());
    let secret = file("secret", SECRET);
    let flags = [format!("auth.jwt.public_key_file={public}"), format!("auth.jwt.secret_file={secret}")];
    let server = Server::start(&["--set", &flags[0], "--set", &flags[1]]);
    assert!(lets_in(&server, &bearer(&claims("ann"))));
    assert!(lets_in(&server, &bearer_with(&json!({"alg": "RS256", "kid": "any"}), &claims("ann"), by_rsa)));
    assert!(lets_in(&server, &bearer_with(&json!({"alg": "ES256"}), &claims("ann"), by_ec)));
    // The right signature under a wrong name.
    for (algorithm, sign) in [("ES256", by_rsa as fn(&[u8]) -> Vec<u8>), ("RS256", by_ec), ("HS256", by_ec)] {
        assert!(!lets_in(&server, &bearer_with(&json!({"alg": algorithm}), &claims("ann"), sign)), "{algorithm}");
    }
}

/// All of it is refused alike, whatever was wrong; only the log and the metrics tell.
#[test]
fn no_forged_token_lets_in() {
    let keys = tempfile::tempdir().unwrap();
    let public = keys.path().join("public.pem");
    fs::write(&public, [RSA_PUBLIC, EC_PUBLIC].concat()).unwrap();
    let server = Server::start_guarded(&[
        "--set",
        &format!("auth.jwt.public_key_file={}", public.display()),
        "--set",
        "auth.jwt.issuer=https://id.example",
        "--set",
        "auth.jwt.audience=wharf",
        "--set",
        "auth.jwt.required_claims=scope=upload",
        "--set",
        "auth.jwt.leeway_secs=0",
    ]);
    let good =
        json!({"sub": "ann", "exp": now() + 600, "iss": "https://id.example", "aud": ["wharf"], "scope": "upload"});
    assert!(lets_in(&server, &bearer(&good)));
    let but = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        bearer(&claims)
    };
    let none = |name: &str| format!("Bearer {}.{}.", part(&json!({"alg": name})), part(&good));
    let by = |secret: &'static [u8]| bearer_with(&json!({"alg": "HS256"}), &good, by_secret(secret));
    let good_token = bearer(&good);
    let (signed, signature) = good_token.rsplit_once('.').unwrap();
    let swapped = format!("{}.{}.{signature}", signed.split_once('.').unwrap().0, part(&claims("bob")));
    let attacks = [
        ("unsigned", none("none"), "token_malformed"),
        ("unsigned, in other letters", none("nOnE"), "token_malformed"),
        ("without its signature", format!("{signed}."), "token_signature"),
        ("another's claims", swapped, "token_signature"),
        ("a public key as the secret", by(RSA_PUBLIC.as_bytes()), "token_signature"),
        (
            "a public key as the secret, without its last line's end",
            by(RSA_PUBLIC.trim_ascii_end().as_bytes()),
            "token_signature",
        ),
        ("the other public key as the secret", by(EC_PUBLIC.as_bytes()), "token_signature"),
        ("an empty secret", by(b""), "token_signature"),
        ("an algorithm of no key", bearer_with(&json!({"alg": "HS512"}), &good, by_secret(SECRET)), "token_key"),
        ("expired", but("exp", json!(now() - 60)), "token_expired"),
        ("for ever", but("exp", Value::Null), "token_claim"),
        ("not yet valid", but("nbf", json!(now() + 600)), "token_not_yet_valid"),
        ("of another issuer", but("iss", json!("https://id.example.evil")), "token_issuer"),
        ("for others", but("aud", json!(["others"])), "token_audience"),
        ("for another use", but("scope", json!("download")), "token_claim"),
        ("of nobody", but("sub", json!("")), "token_claim"),
        ("too long", but("pad", json!("x".repeat(9000))), "token_too_long"),
        ("no token", "Bearer a.b.c".to_owned(), "token_malformed"),
    ];
    let mut answers = Vec::new();
    for (what, authorization, cause) in attacks {
        let before = refused(&server, cause);
        let response = server.post(&[("Authorization", &authorization), ("Upload-Length", "1")], b"");
        unauthorized(&response, "Bearer error=\"invalid_token\"");
        assert_eq!(refused(&server, cause), before + 1.0, "{what}");
        answers.push(said(&response));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "an answer says what was wrong");
    let log = server.log();
    assert!(log.contains("token_not_yet_valid") && log.contains("ExpiredSignature"), "{log}");
    assert_eq!(server.count(), 1);
}

#[test]
fn to_a_stranger_an_upload_is_not_there() {
    let server = Server::start_guarded(&["--set", "expiration.after_secs=3600"]);
    let (ann, bob) = (server.as_subject("ann"), server.as_subject("bob"));
    let missing = format!("{}0123456789abcdef0123456789abcdef", server.base);
    let [open, finished] = [ann.create(10), ann.uploaded_with(&[], b"hello")];
    let wrong_type = [("Content-Type", "text/plain"), ("Upload-Offset", "0")];
    for path in [&open, &finished] {
        for (method, headers, body) in [
            ("HEAD", vec![], &b""[..]),
            ("PATCH", append_headers("0").to_vec(), b"hello"),
            ("PATCH", append_headers("3").to_vec(), b"hello"),
            ("PATCH", [&append_headers("0")[..], &[("Upload-Length", "3")]].concat(), b"hello"),
            ("PATCH", wrong_type.to_vec(), b"hello"),
            ("GET", vec![], b""),
            ("GET", vec![("Range", "bytes=0-1")], b""),
            ("DELETE", vec![], b""),
        ] {
            let [asked, unknown] = [path, &missing].map(|path| said(&bob.request(method, path, &headers, body)));
            assert_eq!(asked, unknown, "{method} {path}");
        }
    }
    assert_eq!(ann.request("HEAD", &open, &[], b"").offset(), 0);
    assert_eq!(ann.request("GET", &finished, &[], b"").body, b"hello");
    // Whose it is outlives the process, and what it had in mind.
    let (ann, bob) = (ann.authorization.clone(), bob.authorization.clone());
    let mut server = server;
    let secret = server.beside("secret");
    fs::write(&secret, SECRET).unwrap();
    server.stop();
    server.start_again_with(&[&ADMIN[..], &["--set", &format!("auth.jwt.secret_file={}", secret.display())]].concat());
    for path in [&open, &finished] {
        assert_eq!(server.request("HEAD", path, &[("Authorization", &bob)], b"").status, 404);
        assert_eq!(server.request("HEAD", path, &[("Authorization", &ann)], b"").status, 200);
        assert_eq!(server.request("DELETE", path, &[("Authorization", &bob)], b"").status, 404);
        assert_eq!(server.request("DELETE", path, &[("Authorization", &ann)], b"").status, 204);
    }
}

/// HEAD and PATCH end the request that appends, and DELETE the upload: not a stranger's.
#[test]
fn a_stranger_disturbs_nobody() {
    let server = Server::start_guarded(&[]);
    let (ann, bob) = (server.as_subject("ann"), server.as_subject("bob"));
    let path = ann.create(10);
    let own = [("Authorization", ann.authorization.as_str())];
    let mut sending = server.stalled_patch_with(&path, 0, &own, 10, b"hello");
    assert_eq!(bob.request("HEAD", &path, &[], b"").status, 404);
    bob.patch(&path, 5, b"x").refused(404, "ERR_UPLOAD_NOT_FOUND");
    bob.request("DELETE", &path, &[], b"").refused(404, "ERR_UPLOAD_NOT_FOUND");
    bob.request("GET", &path, &[], b"").refused(404, "ERR_UPLOAD_NOT_FOUND");
    sending.send(b"world");
    sending.answer_to("PATCH").appended(10);
    assert_eq!(ann.request("GET", &path, &[], b"").body, b"helloworld");
}

#[test]
fn partial_uploads_of_others_can_not_be_joined() {
    for unfinished in [true, false] {
        let server = Server::start_guarded(&["--set", &format!("tus.concatenation_unfinished={unfinished}")]);
        let (ann, bob) = (server.as_subject("ann"), server.as_subject("bob"));
        let (mine, theirs) = (ann.uploaded_with(&[PARTIAL], b"hello"), bob.uploaded_with(&[PARTIAL], b"world"));
        let open = bob.create_with(&[PARTIAL, ("Upload-Length", "5")]);
        let join = |partials: &[&str]| ann.post(&[("Upload-Concat", &format!("final;{}", partials.join(" ")))]);
        let missing = format!("{}0123456789abcdef0123456789abcdef", server.base);
        let unknown = said(&join(&[&mine, &missing]));
        assert_eq!(unknown.0, 404);
        for partials in [[mine.as_str(), &theirs], [&theirs, &mine], [&mine, &open]] {
            assert_eq!(said(&join(&partials)), unknown);
        }
        let joined = join(&[&mine, &mine]);
        assert_eq!(joined.status, 201, "{}", joined.text());
        assert_eq!(ann.request("GET", &joined.path(), &[], b"").body, b"hellohello");
        assert_eq!(bob.request("GET", &joined.path(), &[], b"").status, 404);
        // The unfinished one waits for nobody, and ends as it likes.
        bob.patch(&open, 0, b"apart").appended(5);
    }
}

#[test]
fn uploads_of_nobody_are_everybodys_only_when_that_is_set() {
    for (unowned, status) in [(false, 404), (true, 200)] {
        let (token, unowned) = (format!("auth.token={TOKEN}"), format!("auth.unowned={unowned}"));
        let server = Server::start_guarded(&["--set", &token, "--set", &unowned]);
        let all = format!("Bearer {TOKEN}");
        let ann = server.as_subject("ann");
        let (of_ann, of_nobody) =
            (ann.create(5), server.create_with(&[("Authorization", &all), ("Upload-Length", "5")]));
        server.lay_out("tusds", "");
        let info = json!({"ID": "tusds", "Size": 5, "SizeIsDeferred": false, "Offset": 0, "MetaData": {}, "IsPartial": false,
            "IsFinal": false, "PartialUploads": null, "Storage": {"Type": "filestore"}});
        server.lay_out("tusds.info", info.to_string());
        let of_tusd = format!("{}tusds", server.base);
        for path in [&of_nobody, &of_tusd] {
            assert_eq!(ann.request("HEAD", path, &[], b"").status, status, "{path}");
        }
        // Who has the token that is set may use all.
        for path in [&of_nobody, &of_tusd, &of_ann] {
            assert_eq!(server.request("HEAD", path, &[("Authorization", &all)], b"").status, 200, "{path}");
        }
        assert_eq!(server.as_subject("bob").request("HEAD", &of_ann, &[], b"").status, 404);
    }
}

#[test]
fn one_with_the_superusers_claim_reaches_all() {
    let server = Server::start_guarded(&["--set", "auth.jwt.superuser_claim=role=admin"]);
    let path = server.as_subject("ann").create(5);
    let with = |role: &str| server.with_claims(&json!({"sub": "bob", "exp": now() + 600, "role": role}));
    assert_eq!(with("user").request("HEAD", &path, &[], b"").status, 404);
    assert_eq!(with("admin").request("HEAD", &path, &[], b"").status, 200);
    assert_eq!(with("admin").request("DELETE", &path, &[], b"").status, 204);
}

#[test]
fn keys_at_a_url_are_fetched_anew_when_a_token_names_an_unknown_one() {
    let keys = KeyServer::start(Some(key_set(&["first"])));
    let url = format!("auth.jwt.jwks_url={}", keys.url());
    let server = Server::start_watched(&["--set", &url, "--set", "auth.jwt.jwks_pause_secs=1"]);
    let named = |kid: &str| bearer_with(&json!({"alg": "ES256", "kid": kid}), &claims("ann"), by_ec);
    assert!(lets_in(&server, &named("first")));
    assert!(!lets_in(&server, &named("second")));
    keys.show(Some(key_set(&["second"])));
    wait_until("the new key is known", || lets_in(&server, &named("second")));
    assert!(!lets_in(&server, &named("first")), "the old key is gone");
    // While they can't be had, those that are known go on counting.
    keys.show(None);
    let before = keys.asked();
    wait_until("they are asked for in vain", || !lets_in(&server, &named("third")) && keys.asked() > before);
    assert!(lets_in(&server, &named("second")));
    wait_until("the log says so", || server.log().contains("\"old_ones_count\":true"));
    keys.show(Some(json!("nonsense")));
    let before = keys.asked();
    wait_until("nonsense is fetched", || !lets_in(&server, &named("third")) && keys.asked() > before);
    assert!(lets_in(&server, &named("second")));
}

#[test]
fn unknown_keys_make_it_ask_no_more_often_than_is_set() {
    let keys = KeyServer::start(Some(key_set(&["first"])));
    let url = format!("auth.jwt.jwks_url={}", keys.url());
    let server = Server::start_watched(&["--set", &url, "--set", "auth.jwt.jwks_pause_secs=3600"]);
    assert!(lets_in(&server, &bearer_with(&json!({"alg": "ES256", "kid": "first"}), &claims("ann"), by_ec)));
    std::thread::scope(|scope| {
        for client in 0..16 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..8 {
                    let header = json!({"alg": "ES256", "kid": format!("{client}-{number}")});
                    assert!(!lets_in(server, &bearer_with(&header, &claims("ann"), by_ec)));
                }
            });
        }
    });
    assert_eq!((keys.asked(), refused(&server, "token_key")), (1, 128.0));
}

/// As long as nobody can say whether a token is right, its client is asked to wait, and throws nothing away.
#[test]
fn before_keys_could_be_fetched_clients_are_asked_to_wait() {
    let keys = KeyServer::start(None);
    let url = format!("auth.jwt.jwks_url={}", keys.url());
    let server = Server::start_watched(&["--set", &url, "--set", "auth.jwt.jwks_pause_secs=1"]);
    let authorization = bearer_with(&json!({"alg": "ES256", "kid": "first"}), &claims("ann"), by_ec);
    let own = [("Authorization", authorization.as_str())];
    let response = server.post(&[own[0], ("Upload-Length", "1")], b"");
    response.refused(503, "ERR_OVERLOADED");
    assert!(response.header("Retry-After").is_some());
    assert_eq!(server.request("HEAD", &format!("{}some", server.base), &own, b"").status, 423);
    assert_eq!(refused(&server, "keys_unavailable"), 2.0);
    keys.show(Some(key_set(&["first"])));
    wait_until("it is let in", || server.post(&[own[0], ("Upload-Length", "1")], b"").status == 201);
}

#[test]
fn files_with_keys_are_read_again_when_they_change() {
    let server = Server::start_watched(&[]);
    assert_eq!(server.post(&[("Upload-Length", "1")], b"").status, 201);
    let (secret, settings) = (server.beside("secret"), server.beside("settings.toml"));
    let mut events = server.events("?only=settings_reloaded");
    fs::write(&secret, SECRET).unwrap();
    fs::write(&settings, format!("[auth.jwt]\nsecret_file = \"{}\"\n", secret.display())).unwrap();
    assert_eq!(events.next("settings_reloaded")["applied"], json!(["auth.jwt.secret_file"]));
    unauthorized(&server.post(&[("Upload-Length", "1")], b""), "Bearer");
    let (old, new) =
        (bearer(&claims("ann")), bearer_with(&json!({"alg": "HS256"}), &claims("ann"), by_secret(&[7; 40])));
    assert!(lets_in(&server, &old) && !lets_in(&server, &new));
    fs::write(&secret, [7; 40]).unwrap();
    assert_eq!(events.next("settings_reloaded")["applied"], json!(["auth.jwt.secret_file"]));
    assert!(!lets_in(&server, &old) && lets_in(&server, &new));
    // What can't be used changes nothing.
    fs::write(&secret, b"short").unwrap();
    let told = events.next("settings_reloaded");
    assert!(told["problems"].to_string().contains("at least 32 bytes"), "{told}");
    assert!(lets_in(&server, &new));
    fs::write(&settings, format!("[auth]\ntoken = \"{TOKEN}\"\n")).unwrap();
    server.signal(Signal::HUP);
    events.next("settings_reloaded");
    assert!(!lets_in(&server, &new) && lets_in(&server, &format!("Bearer {TOKEN}")));
}

#[test]
fn keys_that_can_not_be_used_stop_the_start() {
    let server = Server::start(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = |settings: &[&str]| {
        let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let (status, said) = server.refused_start(elsewhere.path(), &flags);
        assert!(!status.success(), "{settings:?}");
        said
    };
    let file = |name: &str, text: &str| {
        fs::write(server.beside(name), text).unwrap();
        server.beside(name).display().to_string()
    };
    let set = |key: &str, path: &str| format!("auth.jwt.{key}={path}");
    let public = file("public.pem", RSA_PUBLIC);
    for (setting, expected) in [
        (set("secret_file", &public), "which is no secret"),
        (set("secret_file", &file("short", "secret")), "at least 32 bytes"),
        (set("public_key_file", &file("none.pem", "none")), "no public key"),
        (set("jwks_file", &file("keys.json", "{}")), "no set of keys"),
        (set("jwks_file", Path::new("/nowhere/keys.json").to_str().unwrap()), "can't be read"),
        (set("jwks_url", "http://id.example/keys"), "must be a URL that starts with https://"),
        (set("issuer", "https://id.example"), "counts for nothing without keys"),
        (set("required_claims", "role"), "must be NAME=VALUE"),
        ("auth.token=short".to_owned(), "must be 16 to 1024"),
    ] {
        let said = refused(&[&setting]);
        assert!(said.contains(expected), "{setting}: {said}");
    }
}
