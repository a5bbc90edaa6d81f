//! What operators see of hooks, and what they can do about events that the application was not told: over a real endpoint
//! that is out of order at first.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};
use support::{
    Server,
    admin::json as json_of,
    endpoint::{Endpoint, Reaction},
    wait_until,
};

/// After so many tries in vain the pause is longer than any test lasts.
const TRIES: u64 = 6;

/// All kinds of events, tusd's first.
const HOOKS: [&str; 10] = [
    "pre-create",
    "post-create",
    "post-receive",
    "pre-finish",
    "post-finish",
    "pre-terminate",
    "post-terminate",
    "pre-access",
    "post-interrupt",
    "post-expire",
];

/// An application that answers each call with an error, until it is mended.
struct Application {
    endpoint: Endpoint,
    is_mended: Arc<AtomicBool>,
}

impl Application {
    fn broken() -> Self {
        let is_mended = Arc::<AtomicBool>::default();
        let mended = Arc::clone(&is_mended);
        let endpoint = Endpoint::start(move |_| {
            if mended.load(Ordering::SeqCst) { json!({}).into() } else { Reaction::Answer(500, json!("out of order")) }
        });
        Self { endpoint, is_mended }
    }

    fn mend(&self) {
        self.is_mended.store(true, Ordering::SeqCst);
    }

    fn server(&self) -> Server {
        let (url, events, attempts) = (self.endpoint.url(), "hooks.events=post-finish", "hooks.http.attempts=1");
        Server::start_watched(&["--set", &url, "--set", events, "--set", attempts])
    }

    /// The names of the events that it was told, in order.
    fn told(&self) -> Vec<String> {
        self.endpoint.heard().into_iter().map(|heard| heard.event_id).collect()
    }
}

/// The events that are listed.
#[track_caller]
fn events(server: &Server, query: &str) -> Vec<Value> {
    server.told(&format!("/hooks{query}"))["events"].as_array().expect("a list").clone()
}

/// What is told of the calls for one kind of event.
#[track_caller]
fn calls(server: &Server, hook: &str) -> Value {
    let told = server.told("/hooks?limit=0");
    let calls = told["calls"].as_array().expect("a list");
    calls.iter().find(|calls| calls["hook"] == hook).unwrap_or_else(|| panic!("no {hook} in {told}")).clone()
}

/// Has so many events tried again, by hand, until all wait for long.
#[track_caller]
fn try_in_vain(server: &Server, count: usize) -> Vec<Value> {
    let mut waiting = Vec::new();
    wait_until("all were tried often enough", || {
        waiting = events(server, "?state=waiting");
        let is_enough = |event: &Value| event["tries"].as_u64() >= Some(TRIES);
        if waiting.len() == count && waiting.iter().all(is_enough) {
            return true;
        }
        for event in waiting.iter().filter(|event| !is_enough(event)) {
            let path = format!("/hooks/{}/retry", event["event_id"].as_str().expect("a name"));
            // It may be on its way already, because its time had come.
            assert!(matches!(server.ask("POST", &path).status, 200 | 404));
        }
        false
    });
    waiting
}

fn failed(server: &Server) -> f64 {
    server.metric("wharf_hook_errors_total{hook=\"post-finish\",cause=\"failed\"}")
}

#[test]
fn what_was_not_told_is_seen_with_its_error_and_told_when_an_operator_wants_it() {
    let application = Application::broken();
    let server = application.server();
    let path = server.uploaded(b"hello");
    let event = try_in_vain(&server, 1).remove(0);

    assert_eq!((&event["hook"], &event["upload_id"]), (&json!("post-finish"), &json!(server.id_of(&path))), "{event}");
    let error = event["last_error"].as_str().expect("an error");
    assert!(error.contains("500") && error.contains("out of order"), "{error}");
    assert!(event["next_try_secs"].as_f64() > Some(60.0), "{event}");
    assert!(event["happened_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{event}");
    assert_eq!((events(&server, "?state=noted"), events(&server, "?limit=0")), (Vec::new(), Vec::new()));
    let told = server.told("/hooks");
    assert_eq!(
        (&told["has_hooks"], &told["transport"], &told["outbox"]["owed"]),
        (&json!(true), &json!("http"), &json!(1))
    );
    assert!(told["outbox"]["oldest_age_ms"].as_f64() > Some(0.0), "{told}");
    let tries = event["tries"].as_u64().expect("a count");
    let before = calls(&server, "post-finish");
    assert_eq!(before["count"].as_u64(), Some(tries), "{before}");
    assert!(before["failures"].as_array().unwrap().contains(&json!({ "cause": "failed", "count": tries })), "{before}");
    assert_eq!((failed(&server), server.metric("wharf_hook_events_owed")), (tries as f64, 1.0));
    assert!(server.metric("wharf_hook_events_oldest_age_seconds") > 0.0);

    let event_id = event["event_id"].as_str().expect("a name").to_owned();
    application.mend();
    let retried = server.ask("POST", &format!("/hooks/{event_id}/retry"));
    assert_eq!((retried.status, json_of(&retried)), (200, json!({ "retried": 1 })));
    wait_until("nothing is owed", || server.told("/hooks")["outbox"]["owed"] == 0);
    assert_eq!(events(&server, ""), Vec::<Value>::new());
    assert_eq!(application.told(), vec![event_id.clone(); usize::try_from(tries + 1).unwrap()]);
    assert_eq!(server.metric("wharf_hook_calls_total{hook=\"post-finish\"}"), (tries + 1) as f64);
    assert_eq!(server.metric("wharf_hook_duration_seconds_count{hook=\"post-finish\"}"), (tries + 1) as f64);
    assert_eq!((failed(&server), server.metric("wharf_hook_events_owed")), (tries as f64, 0.0));
    assert_eq!(server.metric("wharf_hook_events_oldest_age_seconds"), 0.0);
    // It waits no more.
    assert_eq!(server.ask("POST", &format!("/hooks/{event_id}/retry")).status, 404);
    wait_until("it is in the log", || {
        let log = server.log();
        log.lines().any(|line| {
            ["event retried by request", &event_id, "\"peer\":\"127.0.0.1:"].iter().all(|part| line.contains(part))
        })
    });
}

#[test]
fn all_that_wait_are_told_at_once() {
    let application = Application::broken();
    let server = application.server();
    let paths = [server.uploaded(b"hello"), server.uploaded(b"world")];
    let waiting = try_in_vain(&server, 2);
    let of_all = |field: &str| -> Vec<&str> { waiting.iter().map(|event| event[field].as_str().unwrap()).collect() };
    let uploads = of_all("upload_id");
    assert!(paths.iter().all(|path| uploads.contains(&server.id_of(path))), "{waiting:?}");
    assert!(of_all("event_id").is_sorted(), "the oldest first: {waiting:?}");
    assert_eq!(events(&server, "?limit=1")[0]["event_id"], waiting[0]["event_id"]);

    application.mend();
    let told_before = application.told().len();
    assert_eq!(json_of(&server.ask("POST", "/hooks/retry")), json!({ "retried": 2 }));
    wait_until("nothing is owed", || server.told("/hooks")["outbox"]["owed"] == 0);
    assert_eq!(application.told().len(), told_before + 2);
    assert_eq!(json_of(&server.ask("POST", "/hooks/retry")), json!({ "retried": 0 }));
    wait_until("it is in the log", || server.log().contains("events retried by request"));
}

#[test]
fn every_kind_is_counted_from_zero_and_the_pool_is_seen() {
    let application = Application::broken();
    let server = application.server();
    let told = server.told("/hooks");
    let kinds: Vec<&str> = told["calls"].as_array().unwrap().iter().map(|of| of["hook"].as_str().unwrap()).collect();
    assert_eq!(kinds, HOOKS);
    for hook in HOOKS {
        let of = calls(&server, hook);
        assert_eq!(
            (&of["count"], &of["under_way"], &of["took"]["mean_ms"]),
            (&json!(0), &json!(0), &json!(null)),
            "{of}"
        );
        assert_eq!(server.metric(&format!("wharf_hook_calls_total{{hook=\"{hook}\"}}")), 0.0);
        for cause in ["timed_out", "unreachable", "failed", "nonsense", "too_long", "overloaded", "closed"] {
            assert!(of["failures"].as_array().unwrap().contains(&json!({ "cause": cause, "count": 0 })), "{of}");
            let sample = format!("wharf_hook_errors_total{{hook=\"{hook}\",cause=\"{cause}\"}}");
            assert_eq!(server.metric(&sample), 0.0);
        }
    }
    for sample in ["wharf_hook_events_noted", "wharf_hook_events_owed", "wharf_hook_events_dropped_total"] {
        assert_eq!(server.metric(sample), 0.0, "{sample}");
    }
    let pools = server.told("/pools")["pools"].clone();
    let pool = pools.as_array().unwrap().iter().find(|pool| pool["pool"] == "hooks").expect("the pool of hooks");
    assert_eq!(server.metric("wharf_pool_workers_wanted{pool=\"hooks\"}"), pool["workers_wanted"].as_f64().unwrap());
    for kind in ["hook_dispatcher", "hook_outbox", "hook_runner", "hook"] {
        assert_eq!(server.kind_told(kind)["kind"], kind);
        assert_eq!(server.metric(&format!("wharf_mailbox_refused_total{{kind=\"{kind}\"}}")), 0.0);
    }
    let stats = server.events("?only=stats").next("stats");
    assert_eq!(stats["hooks"]["outbox"], told["outbox"], "{stats}");
    assert_eq!((&stats["hooks"]["transport"], &stats["hooks"]["failures"]), (&json!("http"), &json!([])), "{stats}");
}

#[test]
fn where_there_are_no_hooks_that_is_what_is_told() {
    let server = Server::start_watched(&[]);
    let told = server.told("/hooks");
    assert_eq!(
        (&told["has_hooks"], &told["transport"], &told["calls"], &told["events"]),
        (&json!(false), &json!(null), &json!([]), &json!([]))
    );
    assert_eq!(json_of(&server.ask("POST", "/hooks/retry")), json!({ "retried": 0 }));
    assert_eq!(server.ask("POST", "/hooks/01935fa3b2c04f1e5a6b7c8d9e0f1a2b/retry").status, 404);
    let metrics = server.ask("GET", "/metrics").text();
    assert!(metrics.contains("# TYPE wharf_hook_calls counter"), "{metrics}");
    assert!(!metrics.lines().any(|line| line.starts_with("wharf_hook_") || line.contains("\"hooks\"")), "{metrics}");
    assert_eq!(server.events("?only=stats").next("stats")["hooks"], json!(null));
}
