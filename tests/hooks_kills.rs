//! Whatever a crash falls between: an upload that was told to be finished is told to the application.

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;
use support::{
    OFFSET_TYPE, Server,
    endpoint::{Endpoint, Reaction},
    head, wait_until,
};

const ROUNDS: usize = 30;
const CLIENTS: usize = 4;

#[test]
fn no_end_goes_untold_through_thirty_crashes() {
    let is_deaf = Arc::new(AtomicBool::new(true));
    let deaf = Arc::clone(&is_deaf);
    let endpoint = Endpoint::start(move |heard| {
        let fails = heard.kind() == "post-finish" && deaf.load(Ordering::Relaxed);
        if fails { Reaction::Answer(503, json!({})) } else { json!({}).into() }
    });
    let url = endpoint.url();
    let flags = ["--set", &url, "--set", "hooks.http.attempts=1", "--set", "hooks.events=post-finish,post-terminate"];
    let mut server = Server::start(&flags);
    let (mut finished, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        // In every third round what could not be told gets through at once.
        is_deaf.store(round % 3 != 0, Ordering::Relaxed);
        let (acknowledged, until) = (AtomicUsize::new(0), 1 + round % CLIENTS);
        let told: Vec<String> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn({
                        let (server, acknowledged) = (&server, &acknowledged);
                        move || one_client(server, client, acknowledged)
                    })
                })
                .collect();
            while acknowledged.load(Ordering::Acquire) < until {
                thread::yield_now();
            }
            server.signal(support::Signal::KILL);
            clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
        });
        server.kill();
        assert!(told.len() >= until);
        finished.extend(told.iter().map(|path| server.id_of(path).to_owned()));
        server.start_again();
        if round % 5 == 4 {
            let path = &told[0];
            assert_eq!(server.delete(path).status, 204);
            deleted.insert(server.id_of(path).to_owned());
            server.signal(support::Signal::KILL);
            server.kill();
            server.start_again();
        }
    }
    is_deaf.store(false, Ordering::Relaxed);
    server.restart();
    let heard =
        |kind: &str, id: &str| endpoint.heard().iter().any(|heard| heard.kind() == kind && heard.upload()["ID"] == id);
    for id in &finished {
        endpoint.wait(|heard| heard.kind() == "post-finish" && heard.upload()["ID"] == id.as_str());
    }
    for id in &deleted {
        wait_until("its end is told", || heard("post-terminate", id));
    }
    wait_until("nothing is owed", || std::fs::read_dir(server.dir().join(".wharf/outbox")).unwrap().next().is_none());
    assert!(finished.len() >= ROUNDS, "{} uploads", finished.len());
    // And nothing was told that is not so: whatever was named is whole.
    for heard in endpoint.heard().iter().filter(|heard| heard.kind() == "post-finish") {
        let id = heard.upload()["ID"].as_str().unwrap();
        if !deleted.contains(id) {
            assert_eq!(server.content(&format!("{}{id}", server.base)), b"hello");
        }
    }
}

/// Sends one upload; its path, when the server has said that it is finished. Any step may find the server gone.
fn one_client(server: &Server, client: usize, acknowledged: &AtomicUsize) -> Option<String> {
    let created = thread::scope(|_| {
        let mut connection = server.connect();
        connection.send(head("POST", &server.base, &[("Upload-Length", "5"), ("Content-Length", "0")]));
        connection.answer_or_close("POST")
    })?;
    let path = created.path();
    let mut connection = server.connect();
    connection.send(head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "5")]));
    // Whole, or in two pieces.
    let (first, rest) = b"hello".split_at(client % 2 * 3);
    connection.send(first);
    connection.send(rest);
    let answer = connection.answer_or_close("PATCH")?;
    assert_eq!(answer.status, 204);
    acknowledged.fetch_add(1, Ordering::Release);
    Some(path)
}
