//! Hooks that hang, die, answer nonsense or too much, or are not there: the client is told in time, the upload keeps its
//! bytes, other uploads go on, and the metrics and the log say what happened.

mod support;

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use support::{
    Server,
    endpoint::{Endpoint, Heard, Reaction},
    wait_until,
};

const EVENTS: &str = "hooks.events=pre-create,post-create,post-receive,pre-finish,post-finish,pre-terminate";

/// `mood bad`
const BAD: (&str, &str) = ("Upload-Metadata", "mood YmFk");

fn is_bad(heard: &Heard) -> bool {
    heard.upload()["MetaData"]["mood"] == "bad"
}

/// An application that behaves badly for some uploads, at one kind of event.
fn moody(kind: &'static str, bad: impl Fn() -> Reaction + Send + Sync + 'static) -> Endpoint {
    Endpoint::start(move |heard| if heard.kind() == kind && is_bad(heard) { bad() } else { json!({}).into() })
}

fn started(endpoint: &Endpoint) -> Server {
    let url = endpoint.url();
    let quick = ["--set", "hooks.http.attempts=1", "--set", "hooks.http.timeout_secs=1"];
    Server::start_watched(&[&["--set", &url, "--set", EVENTS][..], &quick].concat())
}

fn raw(response: &str) -> Reaction {
    Reaction::Raw(response.replace('\n', "\r\n").into_bytes())
}

fn ten_megabytes() -> Reaction {
    let body = format!("{{\"Body\":\"{}\"}}", "x".repeat(10_000_000));
    raw(&format!("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: {}\n\n{body}", body.len()))
}

/// The ways in which an application behaves badly, and what they are called in the metrics.
type Badness = (&'static str, fn() -> Reaction);

const BADNESSES: [Badness; 6] = [
    ("timed_out", || Reaction::Hang),
    ("unreachable", || Reaction::Raw(Vec::new())),
    ("nonsense", || raw("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 5\n\n{\"a\":")),
    ("nonsense", || raw("HTTP/1.1 200 OK\nContent-Length: 0\n\n")),
    ("failed", || Reaction::Answer(418, json!({}))),
    ("too_long", ten_megabytes),
];

#[test]
fn a_creation_that_can_not_be_asked_for_is_an_error_in_time() {
    for (cause, bad) in BADNESSES {
        let endpoint = moody("pre-create", bad);
        let server = started(&endpoint);
        let refused = server.post(&[("Upload-Length", "5"), BAD], b"");
        refused.refused(500, "ERR_INTERNAL_SERVER_ERROR");
        assert!(refused.text().contains("hook"), "{cause}: {}", refused.text());
        assert_eq!(server.count(), 0, "{cause}");
        let why = format!("\"why\":\"{cause}\"");
        wait_until("the log says so", || {
            server.log().lines().any(|line| line.contains("hook failed") && line.contains(&why))
        });
        server.uploaded(b"hello");
    }
}

#[test]
fn an_upload_keeps_its_bytes_whatever_becomes_of_its_last_hook() {
    for (cause, bad) in BADNESSES {
        let endpoint = moody("pre-finish", bad);
        let server = started(&endpoint);
        let path = server.create_with(&[("Upload-Length", "5"), BAD]);
        server.patch(&path, 0, b"hello").refused(500, "ERR_INTERNAL_SERVER_ERROR");
        assert_eq!((server.offset(&path), server.content(&path).as_slice()), (5, &b"hello"[..]), "{cause}");
    }
}

#[test]
fn a_deletion_that_can_not_be_asked_for_leaves_the_upload() {
    for (cause, bad) in BADNESSES {
        let endpoint = moody("pre-terminate", bad);
        let server = started(&endpoint);
        let path = server.uploaded_with(&[BAD], b"hello");
        server.delete(&path).refused(500, "ERR_INTERNAL_SERVER_ERROR");
        assert_eq!(server.content(&path), b"hello", "{cause}");
    }
}

#[test]
fn hooks_that_hang_hold_up_their_own_uploads_only() {
    let endpoint = moody("pre-finish", || Reaction::Hang);
    let url = endpoint.url();
    let patient = ["--set", "hooks.http.attempts=1", "--set", "hooks.http.timeout_secs=600"];
    let server = Server::start_watched(&[&["--set", &url, "--set", EVENTS][..], &patient].concat());
    let bad: Vec<_> = (0..8)
        .map(|_| {
            let path = server.create_with(&[("Upload-Length", "5"), BAD]);
            (server.stalled_patch(&path, 0, 5, b"hell"), path)
        })
        .map(|(mut client, path)| {
            client.send(b"o");
            (client, path)
        })
        .collect();
    wait_until("all of them hang", || {
        endpoint.heard().iter().filter(|heard| heard.kind() == "pre-finish" && is_bad(heard)).count() == 8
    });
    // Each of these calls pre-create, pre-finish and more, with half of the workers taken.
    for _ in 0..20 {
        let path = server.uploaded(b"hello");
        assert_eq!(server.content(&path), b"hello");
    }
    for (mut client, _) in bad {
        assert!(client.silent(), "it goes on without the application's word");
    }
}

#[test]
fn what_could_not_be_told_is_told_when_the_application_is_back() {
    let is_up = std::sync::Arc::new(AtomicBool::new(false));
    let switch = std::sync::Arc::clone(&is_up);
    let endpoint = Endpoint::start(move |heard| {
        let is_down = heard.kind().starts_with("post") && !switch.load(Ordering::Relaxed);
        if is_down { Reaction::Answer(503, json!({})) } else { json!({}).into() }
    });
    let mut server = started(&endpoint);
    let path = server.uploaded(b"hello");
    let first = endpoint.hears("post-finish");
    wait_until("it has failed", || server.log().matches("hook failed").count() >= 3);
    is_up.store(true, Ordering::Relaxed);
    server.restart();
    wait_until("it is told again", || endpoint.count(&first.event_id) > 1);
    assert_eq!(first.upload()["ID"], server.id_of(&path));
    wait_until("the outbox is empty", || {
        std::fs::read_dir(server.dir().join(".wharf/outbox")).unwrap().next().is_none()
    });
}

#[test]
fn an_application_that_is_not_there_is_an_error_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("hooks.http.url=http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::start_watched(&["--set", &url, "--set", "hooks.http.backoff_ms=1"]);
    server.post(&[("Upload-Length", "5")], b"").refused(500, "ERR_INTERNAL_SERVER_ERROR");
    assert_eq!(server.count(), 0);
}

fn script(server_directory: &std::path::Path, name: &str, text: &str) {
    let path = server_directory.join(name);
    std::fs::write(&path, text).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a script");
}

#[test]
fn executable_files_have_their_say() {
    let hooks = tempfile::tempdir().unwrap();
    let directory = hooks.path();
    script(
        directory,
        "pre-create",
        "#!/bin/sh\ncat > \"$TUS_SIZE.json\"\necho '{\"ChangeFileInfo\":{\"ID\":\"by-file\"}}'\n",
    );
    script(
        directory,
        "post-finish",
        "#!/bin/sh\necho \"$TUS_ID $TUS_OFFSET $WHARF_EVENT_ID\" > told.new; mv told.new told\n",
    );
    script(directory, "pre-terminate", "#!/bin/sh\necho 'not today'; exit 3\n");
    let setting = format!("hooks.file.directory={}", directory.display());
    let server = Server::start_watched(&["--set", &setting, "--set", EVENTS]);
    let path = server.uploaded(b"hello");
    assert_eq!(server.id_of(&path), "by-file");
    let call: Value = serde_json::from_slice(&std::fs::read(directory.join("5.json")).unwrap()).unwrap();
    assert_eq!((&call["Type"], &call["Event"]["Upload"]["Size"]), (&json!("pre-create"), &json!(5)));
    wait_until("it is told", || directory.join("told").exists());
    let told = std::fs::read_to_string(directory.join("told")).unwrap();
    assert!(told.starts_with("by-file 5 ") && told.trim().len() == 10 + 32, "{told}");
    let refused = server.delete(&path);
    refused.refused(500, "ERR_INTERNAL_SERVER_ERROR");
    assert!(refused.text().contains("not today"), "{}", refused.text());
    assert_eq!(server.content(&path), b"hello");
}

#[test]
fn a_file_that_hangs_is_ended_with_all_that_it_has_started() {
    let hooks = tempfile::tempdir().unwrap();
    let directory = hooks.path();
    script(directory, "pre-create", "#!/bin/sh\nsleep 600 &\necho $! > child.new; mv child.new child\nwait\n");
    let setting = format!("hooks.file.directory={}", directory.display());
    let server = Server::start_watched(&["--set", &setting, "--set", "hooks.file.timeout_secs=1"]);
    server.post(&[("Upload-Length", "5")], b"").refused(500, "ERR_INTERNAL_SERVER_ERROR");
    let child = std::fs::read_to_string(directory.join("child")).unwrap();
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    wait_until("what it has started is gone", is_gone);
}
