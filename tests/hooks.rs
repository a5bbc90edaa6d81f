//! The application's say by hooks: each event, and each kind of answer. tusd's hooks, version 2, are the reference.

mod support;

use serde_json::{Value, json};
use support::{
    OFFSET_TYPE, Server,
    endpoint::{Endpoint, Heard, Reaction},
    wait_until,
};

const ALL: &str = "hooks.events=pre-create,post-create,post-receive,pre-finish,post-finish,pre-terminate,post-terminate,\
                   pre-access,post-interrupt,post-expire";

/// `filename plan.pdf`, and a key without a value.
const METADATA: (&str, &str) = ("Upload-Metadata", "filename cGxhbi5wZGY=,empty");

fn started(endpoint: &Endpoint, flags: &[&str]) -> Server {
    let url = endpoint.url();
    let own = ["--set", &url, "--set", ALL, "--set", "hooks.http.attempts=1"];
    Server::start(&[&own[..], flags].concat())
}

fn offset(heard: &Heard) -> Value {
    heard.upload()["Offset"].clone()
}

/// An application that has nothing to say but to one kind of event.
fn to(kind: &'static str, verdict: Value) -> impl Fn(&Heard) -> Reaction + Send + Sync + 'static {
    move |heard| if heard.kind() == kind { verdict.clone().into() } else { json!({}).into() }
}

fn quiet(_: &Heard) -> Reaction {
    json!({}).into()
}

#[test]
fn an_application_hears_of_an_upload_from_its_wish_to_its_end() {
    let endpoint = Endpoint::start(quiet);
    let server = started(&endpoint, &["--set", "hooks.http.forward_headers=x-tenant,cookie"]);
    let path = server.create_with(&[("Upload-Length", "5"), METADATA, ("X-Tenant", "blue"), ("Cookie", "a=b")]);
    server.patched(&path, 0, b"hel");
    server.patched(&path, 3, b"lo");
    endpoint.hears("post-finish");
    assert_eq!(server.delete(&path).status, 204);
    endpoint.hears("post-terminate");
    let kinds: Vec<String> = endpoint.kinds().into_iter().filter(|kind| kind != "pre-access").collect();
    // Order holds among those that nobody waits for, and among those that a request waits for.
    let told: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| kind.starts_with("post")).collect();
    assert_eq!(told, ["post-create", "post-receive", "post-receive", "post-finish", "post-terminate"]);
    let asked: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| kind.starts_with("pre")).collect();
    assert_eq!(asked, ["pre-create", "pre-finish", "pre-terminate"]);

    let wish = endpoint.hears("pre-create");
    let (upload, request) = (wish.upload(), &wish.call["Event"]["HTTPRequest"]);
    assert_eq!((&upload["ID"], &upload["Storage"], &upload["Size"]), (&json!(""), &Value::Null, &json!(5)));
    assert_eq!(upload["MetaData"], json!({ "filename": "plan.pdf", "empty": "" }));
    assert_eq!((&request["Method"], &request["URI"]), (&json!("POST"), &json!(server.base)));
    assert_eq!(request["Header"]["X-Tenant"], json!(["blue"]));
    assert_eq!(request["Header"]["Tus-Resumable"], json!(["1.0.0"]));
    assert!(request["Header"]["Host"].is_array() && request["RemoteAddr"].as_str().unwrap().contains(':'));
    // Handed on as fields of the call itself, and these only.
    let forwarded = wish.head.to_ascii_lowercase();
    assert!(forwarded.contains("x-tenant: blue\r\n") && forwarded.contains("cookie: a=b\r\n"), "{forwarded}");
    assert!(!forwarded.contains("upload-length"), "{forwarded}");

    let finished = endpoint.hears("post-finish");
    let upload = finished.upload();
    assert_eq!((&upload["ID"], &upload["Offset"]), (&json!(server.id_of(&path)), &json!(5)));
    assert_eq!(finished.call["Event"]["HTTPRequest"]["Method"], "PATCH");
    if server.is_on_disk() {
        let data = server.dir().canonicalize().unwrap().join(server.id_of(&path));
        assert_eq!(upload["Storage"]["Path"], data.to_str().unwrap());
        assert_eq!(upload["Storage"]["Type"], "filestore");
    } else {
        assert_eq!(upload["Storage"]["Type"], "s3store");
    }
    let receives = endpoint.heard().into_iter().filter(|heard| heard.kind() == "post-receive");
    let receives: Vec<Value> = receives.map(|heard| offset(&heard)).collect();
    assert_eq!(receives, [json!(3), json!(5)]);
    assert_eq!(endpoint.hears("post-terminate").call["Event"]["HTTPRequest"]["Method"], "DELETE");
    let mut ids: Vec<String> = endpoint.heard().into_iter().map(|heard| heard.event_id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "each event has a name of its own");
}

#[test]
fn a_creation_is_refused_as_the_application_says() {
    let response = json!({ "StatusCode": 451, "Body": "not here", "Header": { "X-Reason": "law" } });
    let endpoint = Endpoint::start(to("pre-create", json!({ "RejectUpload": true, "HTTPResponse": response })));
    let server = started(&endpoint, &[]);
    let response = server.post(&[("Upload-Length", "5")], b"");
    assert_eq!((response.status, response.text().as_str(), response.the("X-Reason")), (451, "not here", "law"));
    assert_eq!((response.header("Location"), server.names().len()), (None, 0));
    // What it leaves out is tusd's.
    let endpoint = Endpoint::start(to("pre-create", json!({ "rejectupload": true })));
    started(&endpoint, &[]).post(&[("Upload-Length", "5")], b"").refused(400, "ERR_UPLOAD_REJECTED");
    assert_eq!(endpoint.kinds(), ["pre-create"]);
}

#[test]
fn an_application_names_an_upload_and_what_is_known_of_it() {
    let changes = json!({ "ID": "2026/plan+1", "MetaData": { "owner": "ü" }, "Storage": { "Path": "shelf/seven" } });
    let response =
        json!({ "StatusCode": 299, "Header": { "X-Made": "yes", "Location": "/elsewhere", "upload-offset": "9" } });
    let endpoint = Endpoint::start(to("pre-create", json!({ "ChangeFileInfo": changes, "HTTPResponse": response })));
    let server = started(&endpoint, &[]);
    if !server.is_on_disk() {
        return;
    }
    let response = server.post(&[("Upload-Length", "5"), METADATA], b"");
    assert_eq!((response.status, response.the("X-Made")), (299, "yes"));
    let path = response.path();
    assert_eq!(path, format!("{}2026/plan+1", server.base));
    assert_eq!(response.header("Upload-Offset"), None);
    assert_eq!(server.head(&path).header("Upload-Metadata"), Some("owner w7w="));
    server.patched(&path, 0, b"hello");
    assert_eq!(std::fs::read(server.dir().join("shelf/seven")).unwrap(), b"hello");
    assert_eq!(server.content(&path), b"hello");
    let place = endpoint.hears("post-finish").upload()["Storage"]["Path"].as_str().unwrap().to_owned();
    assert!(place.ends_with("/data/shelf/seven"), "{place}");
    // Nothing is overwritten, and nothing gets out of the directory.
    assert_eq!(server.post(&[("Upload-Length", "5")], b"").status, 409);
    assert_eq!(server.content(&path), b"hello");
    for (id, place) in [("a b", ""), ("../x", ""), ("/x", ""), ("b", "../outside.txt"), ("c", "/etc/passwd")] {
        let verdict = json!({ "ChangeFileInfo": { "ID": id, "Storage": { "Path": place } } });
        let endpoint = Endpoint::start(to("pre-create", verdict));
        let server = started(&endpoint, &[]);
        assert_eq!(server.post(&[("Upload-Length", "5")], b"").status, 500, "{id} {place}");
        assert_eq!(server.count(), 0);
    }
}

#[test]
fn metadata_can_be_cleared() {
    let endpoint = Endpoint::start(to("pre-create", json!({ "ChangeFileInfo": { "MetaData": {}, "ID": null } })));
    let server = started(&endpoint, &[]);
    let path = server.create_with(&[("Upload-Length", "5"), METADATA]);
    assert_eq!(server.head(&path).header("Upload-Metadata"), None);
}

#[test]
fn an_application_stops_a_body_while_it_comes() {
    let response = json!({ "StatusCode": 403, "Body": "enough", "Header": { "X-Stop": "1" } });
    let endpoint = Endpoint::start(to("post-receive", json!({ "StopUpload": true, "HTTPResponse": response })));
    let server = started(&endpoint, &["--set", "hooks.progress_interval_ms=1"]);
    let path = server.create(1_000_000);
    let mut client = server.connect();
    client.send(support::head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "1000000")]));
    client.send(vec![b'x'; 400_000]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str(), answer.the("X-Stop")), (403, "enough", "1"));
    assert!(answer.closes());
    endpoint.hears("post-terminate");
    server.head(&path).gone();
    assert!(!server.keeps(&path));
}

#[test]
fn the_answer_to_the_last_bytes_is_the_applications() {
    let response = json!({ "StatusCode": 200, "Body": "{\"id\":7}", "Header": { "Content-Type": "application/json" } });
    let endpoint = Endpoint::start(to("pre-finish", json!({ "HTTPResponse": response })));
    let server = started(&endpoint, &[]);
    let path = server.create(5);
    server.patched(&path, 0, b"hel");
    let last = server.patch(&path, 3, b"lo");
    assert_eq!((last.status, last.text().as_str()), (200, "{\"id\":7}"));
    assert_eq!((last.the("Content-Type"), last.the("Upload-Offset")), ("application/json", "5"));
    // Whoever asks again is told what a finished upload is told.
    server.patch(&path, 5, b"").appended(5);
    // In one request, an empty one, and one that is put together.
    let whole = server.post(&[("Upload-Length", "5"), OFFSET_TYPE], b"hello");
    assert_eq!((whole.status, whole.text().as_str(), whole.the("Upload-Offset")), (200, "{\"id\":7}", "5"));
    assert_eq!(server.post(&[("Upload-Length", "0")], b"").text(), "{\"id\":7}");
    let part = server.post(&[("Upload-Length", "5"), ("Upload-Concat", "partial"), OFFSET_TYPE], b"hello").path();
    let joined = server.post(&[("Upload-Concat", &format!("final;{part} {part}"))], b"");
    assert_eq!((joined.status, joined.text().as_str()), (200, "{\"id\":7}"));
}

#[test]
fn a_failing_pre_finish_undoes_nothing_and_is_told() {
    let endpoint = Endpoint::start(|heard| match heard.kind() {
        "pre-finish" => Reaction::Answer(500, json!({})),
        _ => json!({}).into(),
    });
    let server = started(&endpoint, &[]);
    let path = server.create(5);
    let last = server.patch(&path, 0, b"hello");
    last.refused(500, "ERR_INTERNAL_SERVER_ERROR");
    assert!(last.text().contains("hook"), "{}", last.text());
    assert_eq!((server.offset(&path), server.content(&path).as_slice()), (5, &b"hello"[..]));
    assert_eq!(server.delete(&path).status, 204);
    endpoint.hears("post-terminate");
    assert!(!endpoint.kinds().contains(&"post-finish".to_owned()));
    assert_eq!(endpoint.kinds().iter().filter(|kind| *kind == "pre-finish").count(), 1);
    // One that came in one request is there all the same, and its client is told where.
    let whole = server.post(&[("Upload-Length", "5"), OFFSET_TYPE], b"hello");
    whole.refused(500, "ERR_INTERNAL_SERVER_ERROR");
    assert_eq!(server.content(&whole.path()), b"hello");
}

#[test]
fn a_refusal_of_pre_finish_undoes_nothing_either() {
    let response = json!({ "StatusCode": 403, "Body": "no" });
    let endpoint = Endpoint::start(to("pre-finish", json!({ "HTTPResponse": response })));
    let server = started(&endpoint, &[]);
    let path = server.create(5);
    let last = server.patch(&path, 0, b"hello");
    assert_eq!((last.status, last.text().as_str()), (403, "no"));
    endpoint.hears("post-finish");
    assert_eq!(server.content(&path), b"hello");
}

#[test]
fn a_deletion_is_refused_as_the_application_says() {
    let endpoint = Endpoint::start(to("pre-terminate", json!({ "RejectTermination": true })));
    let server = started(&endpoint, &[]);
    let path = server.create(5);
    server.delete(&path).refused(400, "ERR_UPLOAD_TERMINATION_REJECTED");
    assert_eq!(server.offset(&path), 0);
    let asked = endpoint.hears("pre-terminate");
    assert_eq!(asked.upload()["ID"], server.id_of(&path));
    let unknown = format!("{}0123456789abcdef0123456789abcdef", server.base);
    server.delete(&unknown).refused(404, "ERR_UPLOAD_NOT_FOUND");
}

#[test]
fn access_is_the_applications_to_give() {
    let response = json!({ "StatusCode": 401, "Body": "who?", "Header": { "WWW-Authenticate": "Bearer" } });
    let endpoint = Endpoint::start(move |heard| {
        let allowed = heard.call["Event"]["HTTPRequest"]["Header"]["Authorization"] == json!(["Bearer good"]);
        if heard.kind() == "pre-access" && !allowed {
            return json!({ "RejectAccess": true, "CacheSeconds": 60, "HTTPResponse": response }).into();
        }
        json!({ "CacheSeconds": 60 }).into()
    });
    let server = started(&endpoint, &[]);
    let good = ("Authorization", "Bearer good");
    let part = server.create_with(&[("Upload-Length", "5"), ("Upload-Concat", "partial")]);
    let patch = |headers: &[(&str, &str)]| server.patch_with(&part, 0, headers, b"hello");
    for response in [patch(&[]), server.get(&part, &[]), server.delete(&part)] {
        assert_eq!(
            (response.status, response.text().as_str(), response.the("WWW-Authenticate")),
            (401, "who?", "Bearer")
        );
    }
    assert_eq!(server.head(&part).status, 401);
    patch(&[good]).appended(5);
    // For each partial one, and by the answers that hold for a while.
    let concat = ("Upload-Concat", format!("final;{part}"));
    let joined =
        |headers: &[(&str, &str)]| server.post(&[&[(concat.0, concat.1.as_str())], headers].concat(), b"").status;
    assert_eq!((joined(&[]), joined(&[good])), (401, 201));
    let asked = || endpoint.kinds().iter().filter(|kind| *kind == "pre-access").count();
    let before = asked();
    for _ in 0..3 {
        assert_eq!((server.get(&part, &[]).status, server.get(&part, &[good]).status), (401, 200));
    }
    assert!(asked() <= before + 1, "asked again while the answer held");
}

#[test]
fn a_body_that_breaks_off_and_a_time_that_runs_out_are_told() {
    let endpoint = Endpoint::start(quiet);
    let mut server = started(&endpoint, &[]);
    let path = server.create(10);
    server.stalled_patch(&path, 0, 10, b"hello").reset();
    let told = endpoint.hears("post-interrupt");
    assert_eq!((&told.call["Event"]["Cause"], &told.upload()["Offset"]), (&json!("connection_lost"), &json!(5)));
    // Only now, or it could run out before the body has begun.
    assert!(server.stop().success());
    let (url, after, every) = (endpoint.url(), "expiration.after_secs=1", "expiration.interval_secs=1");
    server.start_again_with(&["--set", &url, "--set", ALL, "--set", after, "--set", every]);
    let told = endpoint.hears("post-expire");
    assert_eq!((&told.upload()["ID"], &told.upload()["Offset"]), (&json!(server.id_of(&path)), &json!(5)));
    wait_until("it is gone", || !server.keeps(&path));
    assert!(!endpoint.kinds().contains(&"post-terminate".to_owned()));
}

#[test]
fn events_that_are_off_are_not_told_and_hooks_that_are_none_stop_the_start() {
    let endpoint = Endpoint::start(quiet);
    let url = endpoint.url();
    let server = Server::start(&["--set", &url, "--set", "hooks.events=post-finish"]);
    server.uploaded(b"hello");
    endpoint.hears("post-finish");
    assert_eq!(endpoint.kinds(), ["post-finish"]);
    for (wrong, key) in [
        ("hooks.events=post-done", "hooks.events"),
        ("hooks.http.url=ftp://a", "hooks.http.url"),
        ("hooks.file.directory=/none/such", "hooks.file.directory"),
        ("hooks.http.signing_key=short", "hooks.http.signing_key"),
    ] {
        let (status, said) = server.refused_start(&server.beside("other"), &["--set", wrong]);
        assert!(!status.success() && said.contains(key), "{said}");
    }
}
