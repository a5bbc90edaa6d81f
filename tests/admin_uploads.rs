//! What the admin endpoint shows of uploads, and what it does to them; its events.

mod support;

use serde_json::Value;
use support::{
    Server,
    admin::{ADMIN, json, segment},
    wait_until,
};

/// All pages of a list: the uploads, and how many pages there were.
#[track_caller]
fn listed(server: &Server, query: &str) -> (Vec<Value>, usize) {
    let (mut uploads, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = server.told(&format!("/uploads?{query}{cursor}"));
        uploads.extend(page["uploads"].as_array().expect("a list").iter().cloned());
        pages += 1;
        assert!(pages < 1000, "a list without an end");
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (uploads, pages),
        }
    }
}

fn ids(uploads: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = uploads.iter().map(|upload| upload["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_list_may_be_of_live_uploads_only_and_is_searched() {
    let mut server = Server::start_watched(&[]);
    let names: Vec<String> = (0..5)
        .map(|_| server.create_with(&[("Upload-Length", "10"), ("Upload-Metadata", "filename QmnDpHRlLnR4dA==")]))
        .collect();
    // Nobody has an owner afterwards.
    server.restart();
    let _senders: Vec<_> = names[..2].iter().map(|path| server.stalled_patch(path, 0, 10, b"hello")).collect();
    let (live, pages) = listed(&server, "live=true&limit=1");
    let mut expected: Vec<&str> = names[..2].iter().map(|path| server.id_of(path)).collect();
    expected.sort_unstable();
    assert_eq!((ids(&live), pages), (expected, 2));
    assert_eq!(listed(&server, "live=false").0.len(), 5);
    // A cursor that leads into the store leads nowhere among the live ones.
    let next = server.told("/uploads?limit=1000")["next"].as_str().expect("the store comes next").to_owned();
    assert_eq!(
        server.told(&format!("/uploads?live=true&cursor={next}")),
        serde_json::json!({ "uploads": [], "next": null })
    );
    for (query, count) in [
        ("text=bI%C3%84TE", 5),
        ("text=Bi%C3%A4te", 5),
        ("text=BI%C3%84.", 0),
        ("text=bi%C3%A4+te", 0),
        ("text=TE.txt", 5),
        ("text=B%C3%A4", 0),
    ] {
        let found = listed(&server, query).0.len();
        assert_eq!(found, count, "{query}");
    }
    assert_eq!(listed(&server, &format!("text={}", server.id_of(&names[4]).to_uppercase())).0.len(), 1);
    for wrong in ["text=", "live=yes", "live", &format!("text={}", "x".repeat(65))] {
        assert_eq!(server.ask("GET", &format!("/uploads?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn the_last_minutes_are_remembered_whether_or_not_somebody_looked() {
    let server = Server::start_watched(&[]);
    let path = server.create(10);
    let _sender = server.stalled_patch(&path, 0, 10, b"hello");
    wait_until("something was noted", || {
        let told = server.told("/recent");
        let samples = told["samples"].as_array().expect("samples");
        samples.last().is_some_and(|last| last["leases_open"] == 1 && last["latency"][0]["method"] == "POST")
    });
}

#[test]
fn absences_are_in_the_timeline() {
    let server = Server::start_watched(&[]);
    let path = server.create(10);
    server.patched(&path, 0, b"hello");
    let left = std::time::Instant::now();
    wait_until("a second has gone by", || left.elapsed() > std::time::Duration::from_millis(1100));
    server.patched(&path, 5, b"world");
    let told = server.upload_told(&path);
    let marks = told["timeline"]["marks"].as_array().expect("marks");
    let away: Vec<&str> =
        marks.iter().filter(|mark| mark["kind"] == "away").filter_map(|mark| mark["detail"].as_str()).collect();
    assert_eq!(away.len(), 1, "{marks:?}");
    let ms: u64 = away[0].strip_suffix(" ms").expect("milliseconds").parse().expect("a number");
    assert!((1000..60_000).contains(&ms), "{ms}");
}

#[test]
fn looking_disturbs_no_upload() {
    let server = Server::start_watched(&[]);
    let path = server.create_with(&[("Upload-Length", "10"), ("Upload-Metadata", "filename aGVsbG8udHh0")]);
    let mut sender = server.stalled_patch(&path, 0, 10, b"hello");
    let number = server.upload_told(&path)["lease"]["number"].clone();
    for _ in 0..20 {
        let told = server.upload_told(&path);
        assert_eq!(
            (&told["state"], &told["is_live"], &told["kind"]),
            (&"receiving".into(), &true.into(), &"single".into())
        );
        assert_eq!((&told["offset_bytes"], &told["length_bytes"]), (&5.into(), &10.into()));
        assert_eq!((&told["filename"], &told["metadata"]["filename"]), (&"hello.txt".into(), &"hello.txt".into()));
        assert_eq!(told["lease"]["number"], number, "the lease stays open");
        assert_eq!(told["peer"], format!("127.0.0.1:{}", sender.port()));
        assert_eq!(told["lease"]["peer"], told["peer"]);
        assert_eq!(told["owner_answered"], true);
        assert_eq!((&told["parts"], told["mailbox"]["name"].as_str()), (&Value::Null, Some(server.id_of(&path))));
        server.told("/uploads");
        server.told("/mailboxes");
        server.ask("GET", "/metrics");
    }
    assert!(sender.silent(), "nothing happened to the one who sends");
    sender.send(b"world");
    sender.answer().appended(10);
    let told = server.upload_told(&path);
    assert_eq!((&told["state"], &told["lease"], &told["offset_bytes"]), (&"finished".into(), &Value::Null, &10.into()));
    assert_eq!(server.metric("wharf_take_overs_total"), 0.0);
}

#[test]
fn the_log_and_the_timeline_tell_what_befell_an_upload() {
    let server = Server::start_watched(&[]);
    let path = server.create(10);
    let mut cut = server.stalled_patch(&path, 0, 10, b"abc");
    let taken_over = server.stalled_patch(&path, 3, 7, b"de");
    assert_eq!(cut.answer().status, 400);
    taken_over.reset();
    wait_until("the reset is noticed", || server.upload_told(&path)["state"] == "idle");
    server.patched(&path, 5, b"fghij");
    let told = server.upload_told(&path);
    let timeline = &told["timeline"];
    assert!(timeline["note"].as_str().unwrap().starts_with("kept in memory, at most 4 KiB, since 20"), "{timeline}");
    let kinds: Vec<&str> =
        timeline["marks"].as_array().unwrap().iter().map(|mark| mark["kind"].as_str().unwrap()).collect();
    for kind in ["lease", "cut", "take_over", "finished"] {
        assert!(kinds.contains(&kind), "no {kind} in {timeline}");
    }
    let offsets: Vec<u64> =
        timeline["points"].as_array().unwrap().iter().map(|point| point["offset_bytes"].as_u64().unwrap()).collect();
    assert!(offsets.is_sorted() && offsets.last() == Some(&10), "{offsets:?}");
    let log = told["log"].as_array().unwrap();
    assert!(!log.is_empty() && log.len() <= 50, "{log:?}");
    assert!(log.iter().all(|line| line["at"].as_str().is_some_and(|at| at.ends_with('Z'))), "{log:?}");
    assert_eq!(server.metric("wharf_take_overs_total"), 1.0);
    assert_eq!(server.metric("wharf_interruptions_total{cause=\"taken_over\"}"), 1.0);
    assert_eq!(server.metric("wharf_interruptions_total{cause=\"connection_lost\"}"), 1.0);
}

#[test]
fn an_operator_ends_a_request_and_the_client_may_come_back() {
    let server = Server::start_watched(&[]);
    let path = server.create(10);
    let interrupt = format!("/uploads/{}/interrupt", server.id_of(&path));
    assert_eq!(json(&server.ask("POST", &interrupt))["interrupted"], false, "nobody sends");
    let mut sender = server.stalled_patch(&path, 0, 10, b"hello");
    assert_eq!(json(&server.ask("POST", &interrupt))["interrupted"], true);
    sender.answer().refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert!(sender.closed());
    assert_eq!(server.upload_told(&path)["state"], "idle");
    assert_eq!(server.metric("wharf_interruptions_total{cause=\"by_operator\"}"), 1.0);
    server.patched(&path, 5, b"world");
    assert_eq!(server.content(&path), b"helloworld");
    wait_until("it is in the log", || {
        server.log().lines().any(|line| line.contains("upload interrupted by request") && line.contains("\"peer\""))
    });
    assert_eq!(server.ask("GET", &interrupt).status, 405);
    assert_eq!(server.ask("POST", "/uploads/nosuch/interrupt").status, 404);
}

#[test]
fn an_operator_deletes_whatever_clients_may_do() {
    let server = Server::start_watched(&["--set", "tus.termination=false"]);
    let (open, finished) = (server.create(10), server.uploaded(b"done"));
    let mut sender = server.stalled_patch(&open, 0, 10, b"hello");
    for path in [&open, &finished] {
        assert_eq!(server.request("DELETE", path, &[], b"").status, 405);
        let name = format!("/uploads/{}", server.id_of(path));
        assert_eq!(server.ask("DELETE", &name).status, 204);
        for (method, path) in [("GET", &name), ("DELETE", &name)] {
            let response = server.ask(method, path);
            assert!(matches!(response.status, 404 | 410), "{response:?}");
        }
        server.head(path).gone();
        wait_until("nothing is left of it", || !server.keeps(path));
    }
    assert_eq!(sender.answer().status, 400);
    assert_eq!(server.metric("wharf_uploads_terminated_total"), 2.0);
    wait_until("it is in the log", || server.log().contains("upload deleted by request"));
}

#[test]
fn a_list_has_every_upload_once_live_ones_first() {
    let mut server = Server::start_watched(&[]);
    let stored: Vec<String> = (0..25).map(|_| server.create(100)).collect();
    server.restart();
    let live: Vec<String> = (0..5).map(|_| server.create(1 << 20)).collect();
    for limit in [1, 7, 1000] {
        let (uploads, pages) = listed(&server, &format!("limit={limit}"));
        let mut expected: Vec<&str> = stored.iter().chain(&live).map(|path| server.id_of(path)).collect();
        expected.sort_unstable();
        assert_eq!(ids(&uploads), expected, "with {limit} a page");
        assert!(pages >= 30 / limit, "{pages} pages of {limit}");
        let is_live: Vec<bool> = uploads.iter().map(|upload| upload["is_live"].as_bool().unwrap()).collect();
        assert_eq!(is_live, [vec![true; 5], vec![false; 25]].concat());
    }
    assert_eq!(listed(&server, "max_bytes=100&limit=7").0.len(), 25);
    assert_eq!(listed(&server, "min_bytes=101&limit=7").0.len(), 5);
    assert_eq!(listed(&server, "min_bytes=101&max_bytes=102").0.len(), 0);
}

#[test]
fn a_list_shows_only_what_is_asked_for() {
    let server = Server::start_watched(&[]);
    let (idle, finished) = (server.create(10), server.uploaded(b"all of it"));
    let sending = server.create(20);
    let _sender = server.stalled_patch(&sending, 0, 20, b"some");
    for (query, expected) in [
        ("state=idle", vec![&idle]),
        ("state=finished", vec![&finished]),
        ("state=receiving", vec![&sending]),
        ("state=waiting", vec![]),
        ("min_bytes=10", vec![&idle, &sending]),
        ("state=receiving&max_bytes=19", vec![]),
        ("older_than_secs=3600", vec![]),
        ("younger_than_secs=3600", vec![&idle, &finished, &sending]),
    ] {
        let mut expected: Vec<&str> = expected.into_iter().map(|path| server.id_of(path)).collect();
        expected.sort_unstable();
        assert_eq!(ids(&listed(&server, query).0), expected, "{query}");
    }
}

#[test]
fn ids_with_slashes_are_one_segment() {
    let server = Server::start_watched(&[]);
    // As tusd's hooks may name them.
    std::fs::create_dir_all(server.dir().join("a/b")).unwrap();
    std::fs::write(server.dir().join("a/b/c d"), b"").unwrap();
    let info = r#"{"ID":"a/b/c d","Size":5,"SizeIsDeferred":false,"Offset":0,"MetaData":{"filename":"x"},"IsPartial":false,"IsFinal":false,"PartialUploads":null,"Storage":{"Type":"filestore"}}"#;
    std::fs::write(server.dir().join("a/b/c d.info"), info).unwrap();
    let name = format!("/uploads/{}", segment("a/b/c d").replace(' ', "%20"));
    assert_eq!(server.told(&name)["id"], "a/b/c d");
    assert_eq!(server.ask("GET", "/uploads/a/b/c%20d").status, 404);
    assert_eq!(json(&server.ask("POST", &format!("{name}/interrupt")))["interrupted"], false);
    assert_eq!(server.ask("DELETE", &name).status, 204);
    assert!(!server.dir().join("a/b/c d").exists());
    for wrong in ["/uploads/..%2f..%2fetc%2fpasswd", "/uploads/.wharf%2Flock", "/uploads/%00", "/uploads/x.info"] {
        assert_eq!(server.ask("GET", wrong).status, 404, "{wrong}");
        assert_eq!(server.ask("DELETE", wrong).status, 404, "{wrong}");
    }
}

#[test]
fn events_tell_the_life_of_an_upload() {
    let server = Server::start_watched(&[]);
    let mut events = server.events("");
    let stats = events.next("stats");
    assert_eq!((&stats["connections"], &stats["uploads_live"]), (&0.into(), &0.into()));
    let path = server.create(10);
    let id = server.id_of(&path).to_owned();
    let created = events.next("upload_created");
    assert_eq!((&created["id"], &created["length_bytes"]), (&id.clone().into(), &10.into()));
    let mut one = server.stalled_patch(&path, 0, 10, b"abc");
    let two = server.stalled_patch(&path, 3, 7, b"de");
    assert_eq!(one.answer().status, 400);
    let interrupted = events.next("upload_interrupted");
    assert_eq!((&interrupted["id"], &interrupted["cause"]), (&id.clone().into(), &"taken_over".into()));
    let stats = events.next_that("stats", |stats| stats["leases_open"] == 1);
    assert_eq!(stats["uploads_live"], 1);
    two.reset();
    assert_eq!(events.next("upload_interrupted")["cause"], "connection_lost");
    server.patched(&path, 5, b"fghij");
    let finished = events.next("upload_finished");
    assert_eq!((&finished["id"], &finished["length_bytes"]), (&id.clone().into(), &10.into()));
    assert_eq!(server.request("DELETE", &path, &[], b"").status, 204);
    assert_eq!(events.next("upload_terminated")["id"], id);
    assert_eq!(server.patch(&path, 0, b"x").status, 404);
    let stats = events.next_that("stats", |stats| !stats["errors"].as_array().unwrap().is_empty());
    let errors = stats["errors"].as_array().unwrap();
    assert!(
        errors.iter().any(|error| error["code"] == "ERR_UPLOAD_INTERRUPTED" && error["status"] == 400),
        "{errors:?}"
    );
    let latency = stats["latency"].as_array().unwrap();
    assert!(latency.iter().any(|of| of["method"] == "PATCH" && of["count"].as_u64() >= Some(3)), "{latency:?}");
}

#[test]
fn a_client_that_resets_its_connection_is_no_error_of_the_server() {
    let server = Server::start_watched(&[]);
    let path = server.create(10);
    server.stalled_patch(&path, 0, 10, b"hello").reset();
    wait_until("its end is counted", || server.metric("wharf_requests_aborted_total") == 1.0);
    let text = server.ask("GET", "/metrics").text();
    assert!(!text.contains("wharf_errors_total{"), "{text}");
    wait_until("its end is in the log", || server.log().contains("request aborted"));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("request aborted")).unwrap();
    assert!(line.contains("ERR_CONNECTION_RESET") && line.contains("\"status\":0"), "{line}");
    assert_eq!(server.metric("wharf_interruptions_total{cause=\"connection_lost\"}"), 1.0);
}

#[test]
fn only_the_events_that_are_wanted_come() {
    let server = Server::start_watched(&[]);
    let mut finished = server.events("?only=upload_finished");
    let mut expired = server.events("?only=upload_expired,stats");
    let path = server.uploaded(b"hello");
    assert_eq!(finished.next("upload_finished")["id"], server.id_of(&path));
    expired.next("stats");
    assert!(!finished.seen().contains("stats") && !expired.seen().contains("upload_finished"));
}

#[test]
fn an_owner_that_is_busy_is_told_of_without_its_word() {
    let server = Server::start_faulty(&ADMIN);
    let path = server.create(10);
    server.fault("hold write 1");
    let mut client = server.connect();
    client.send(support::head(
        "PATCH",
        &path,
        &[support::OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "10")],
    ));
    client.send(b"0123456789");
    server.wait_until_held();
    // The store holds a write; the owner itself still answers.
    let told = server.upload_told(&path);
    assert_eq!((&told["state"], &told["offset_bytes"]), (&"receiving".into(), &0.into()));
    server.fault("");
    client.answer().appended(10);
}
