//! A mailbox that fills is seen: its depth, how long messages wait in it, and that it is slow.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use support::{Client, Server, admin::ADMIN, head, pause, wait_until};

/// How long the messages are made to wait, at least.
const HELD: Duration = Duration::from_millis(600);

fn asks_where(address: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(head("HEAD", path, &[]));
    client
}

#[test]
fn a_mailbox_that_fills_is_seen_with_its_depth_its_age_and_its_dwell() {
    let flags =
        ["--set", "pools.uploads.arbiters=2", "--set", "pools.uploads.mailbox=5", "--set", "tus.append_window=2"];
    let server = Server::start_faulty(&[&ADMIN[..], &flags].concat());
    let mut events = server.events("?only=mailbox_slow");
    let path = server.create(10);
    let name = format!("/uploads/{}", server.id_of(&path));
    assert_eq!(server.kind_told("upload")["is_slow"], false);
    // The owner stands still in the midst of a message, and the arbiter that it lives on with it. So all that come later
    // are served by the other one.
    server.fault("hold inspect 1");
    let begun = Instant::now();
    let mut first = asks_where(server.address, &path);
    server.wait_until_held();
    let before = server.kind_told("upload");
    let earliest = Instant::now();
    let mut waiting: Vec<Client> = (0..5).map(|_| asks_where(server.address, &path)).collect();
    wait_until("the mailbox is full", || server.kind_told("upload")["depth"] == 5);
    let latest = Instant::now();
    // The next one is refused at once, though its owner does nothing.
    assert_eq!(server.head(&path).status, 423);

    while latest.elapsed() < HELD {
        pause();
    }
    let (least, told, most) = (latest.elapsed(), server.kind_told("upload"), earliest.elapsed());
    assert_eq!((&told["depth"], &told["capacity"], &told["live"]), (&5.into(), &5.into(), &1.into()), "{told}");
    assert_eq!((told["refused"].as_u64(), told["is_slow"].as_bool()), (Some(1), Some(true)), "{told}");
    within("the oldest's age", &told["oldest_age_ms"], least, most);
    let mailbox = &server.told("/mailboxes?sort=oldest&limit=1&kind=upload")["mailboxes"][0];
    assert_eq!((&mailbox["name"], &mailbox["depth"]), (&server.id_of(&path).into(), &5.into()), "{mailbox}");
    assert_eq!(server.metric("wharf_mailbox_depth{kind=\"upload\"}"), 5.0);
    assert_eq!(server.metric("wharf_mailbox_slow{kind=\"upload\"}"), 1.0);
    assert!(server.metric("wharf_mailbox_oldest_age_seconds{kind=\"upload\"}") >= least.as_secs_f64());
    // It does not answer, and is shown all the same.
    let stuck = server.told(&name);
    assert_eq!((&stuck["owner_answered"], &stuck["mailbox"]["depth"]), (&false.into(), &5.into()), "{stuck}");
    let event = events.next_that("mailbox_slow", |event| event["kind"] == "upload");
    assert_eq!(event["is_slow"], true);
    wait_until("the log has it", || {
        server.log().contains("mailbox is slow") || server.log().contains("mailboxes are slow")
    });

    let released = latest.elapsed();
    server.fault("");
    for client in waiting.iter_mut().chain([&mut first]) {
        assert_eq!(client.answer_to("HEAD").status, 200);
    }
    let (most, in_all) = (earliest.elapsed(), begun.elapsed());
    wait_until("the mailbox is empty", || server.kind_told("upload")["depth"] == 0);
    let told = server.kind_told("upload");
    let inspect = told["messages"].as_array().unwrap().iter().find(|of| of["message"] == "inspect").unwrap().clone();
    for span in ["since_start", "last_minute"] {
        assert_eq!(inspect["dwell"][span]["count"].as_u64(), Some(6), "{inspect}");
        within("the longest dwell", &inspect["dwell"][span]["max_ms"], released, most);
        // Five of six waited, so the median did; quantiles are told in steps.
        within("the median dwell", &inspect["dwell"][span]["p50_ms"], released * 3 / 4, most * 5 / 4);
        within("the longest processing", &inspect["processing"][span]["max_ms"], released, in_all);
    }
    assert_eq!(told["depth_peak"], 5, "{told}");
    let processed = |told: &serde_json::Value| told["processed"].as_u64().unwrap();
    assert!(processed(&told) >= processed(&before) + 5);
    assert!(server.metric("wharf_mailbox_dwell_seconds_sum{kind=\"upload\"}") >= 5.0 * released.as_secs_f64());
}

/// Asserts that a number of milliseconds lies between what the test has measured itself.
#[track_caller]
fn within(what: &str, told: &serde_json::Value, least: Duration, most: Duration) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{what} is {told}"));
    let (least, most) = (least.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3);
    assert!((least - 1.0..=most + 1.0).contains(&told), "{what} is {told} ms, of {least} to {most}");
}

#[test]
fn kinds_and_workers_are_told_of_by_name() {
    let server = Server::start_watched(&[]);
    server.uploaded(b"hello");
    let told = server.told("/mailboxes");
    let kinds: Vec<&str> =
        told["kinds"].as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    for kind in ["upload", "reaper", "disk_metadata", "disk_write", "disk_read", "committer"] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    assert!(server.kind_told("disk_write")["processed"].as_u64() > Some(0));
    assert_eq!(server.told("/mailboxes?kind=nosuch")["kinds"], serde_json::json!([]));
    let others: Vec<String> = (0..30).map(|_| server.create(5)).collect();
    let owners = |query: &str| {
        let told = server.told(&format!("/mailboxes?kind=upload{query}"));
        told["mailboxes"].as_array().unwrap().len()
    };
    assert_eq!((owners(""), owners("&limit=3"), owners("&limit=0")), (20, 3, 0));
    assert!(owners("&limit=1000") >= others.len());
}
