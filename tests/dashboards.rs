//! The Grafana dashboard and the alerts in `deploy/` ask for nothing that a running server does not tell.

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use support::{Server, admin::ADMIN, head, wait_until};

/// The names that the server's metrics have, and for each the names of its labels and of those that Prometheus adds.
fn exposed(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (family, kind) = of.split_once(' ').expect("a name and a type");
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                "gauge" => &[""],
                other => panic!("what is a {other}?"),
            };
            names.extend(endings.iter().map(|ending| format!("{family}{ending}")));
        }
    }
    names
}

/// All names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| ["wharf_", "process_"].iter().any(|start| word.starts_with(start))).collect()
}

fn deployed(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).expect("a file in deploy/")
}

/// Every text in which the dashboard asks Prometheus for something.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        found.push(text.to_owned())
                    }
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// The metrics of a server that has done a little of everything.
fn told() -> String {
    let server = Server::start_watched(&[]);
    let path = server.create(10);
    server.patched(&path, 0, b"hello");
    assert_eq!(server.request("HEAD", &format!("{}none", server.base), &[], b"").status, 404);
    // As Prometheus asks for it.
    server.ask_with("GET", "/metrics", &[("Accept", "application/openmetrics-text; version=1.0.0")], b"").text()
}

#[test]
fn they_name_only_metrics_that_there_are() {
    let text = told();
    let exposed = exposed(&text);
    let dashboard: Value = serde_json::from_str(&deployed("grafana.json")).expect("JSON");
    let mut asked = Vec::new();
    queries(&dashboard, &mut asked);
    assert!(asked.len() > 30, "{asked:?}");
    asked.push(deployed("alerts.yml"));
    let mut unknown = Vec::new();
    for query in &asked {
        unknown.extend(named(query).into_iter().filter(|name| !exposed.contains(*name)).map(str::to_owned));
    }
    assert_eq!(unknown, Vec::<String>::new(), "of {exposed:?}");
}

#[test]
fn the_labels_they_sort_by_are_there() {
    let text = told();
    let (mut asked, mut compared) = (Vec::new(), 0);
    queries(&serde_json::from_str(&deployed("grafana.json")).expect("JSON"), &mut asked);
    for query in asked {
        let Some((_, rest)) = query.split_once(" by (") else { continue };
        let (labels, rest) = rest.split_once(')').expect("the end of a list");
        let Some(metric) = named(rest).into_iter().next() else { panic!("no metric in {query}") };
        let samples: Vec<&str> =
            text.lines().filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{'))).collect();
        for label in labels.split(", ").filter(|label| !["instance", "le"].contains(label)) {
            // Of some, samples exist only once something has gone wrong.
            let is_there = samples.iter().any(|sample| sample.contains(&format!("{label}=\"")));
            assert!(samples.is_empty() || is_there, "{label} of {metric} in {query}");
            compared += usize::from(is_there);
        }
    }
    assert!(compared > 15, "{compared} labels were compared");
}

#[test]
fn what_clients_bring_about_alarms_nobody() {
    let server = Server::start_faulty(&ADMIN);
    let (finished, open) = (server.uploaded(b"hello"), server.create(10));
    server.stalled_patch(&open, 0, 10, b"hello").reset();
    assert_eq!(server.request("HEAD", &format!("{}none", server.base), &[], b"").status, 404);
    server.fault("hold read 1");
    let mut reader = server.connect();
    reader.send(head("GET", &finished, &[]));
    let metrics = || server.ask("GET", "/metrics").text();
    let reads = "wharf_store_operations_under_way{store=\"disk\",operation=\"read\"} 1\n";
    wait_until("the store is asked", || metrics().contains(reads));
    reader.reset();
    wait_until("nobody waits for it any more", || metrics().contains("reason=\"abandoned\""));
    server.fault("");
    wait_until("the reset is counted", || metrics().contains("wharf_requests_aborted_total 1\n"));

    let alerts = deployed("alerts.yml");
    let (_, rest) = alerts.split_once("wharf_store_failures_total{reason!~\"").expect("the reasons that are left out");
    let ordinary: Vec<&str> = rest.split('"').next().expect("their end").split('|').collect();
    let text = metrics();
    let reasons = text.lines().filter(|line| line.starts_with("wharf_store_failures_total{"));
    let reasons = reasons.filter_map(|line| line.split_once("reason=\"")?.1.split('"').next());
    let (_, alarming): (Vec<&str>, Vec<&str>) = reasons.partition(|reason| ordinary.contains(reason));
    assert_eq!(alarming, Vec::<&str>::new(), "{text}");
    assert!(!text.contains("wharf_errors_total{status=\"5"), "{text}");
}

#[test]
fn what_is_no_metric_is_found() {
    let exposed = exposed("# TYPE wharf_a counter\n# TYPE wharf_b histogram\n# TYPE wharf_c gauge\n");
    let asked = "sum(rate(wharf_a_total{x=\"y\"}[5m])) + wharf_a + wharf_b_bucket + wharf_b + wharf_c + wharf_d";
    let unknown: Vec<&str> = named(asked).into_iter().filter(|name| !exposed.contains(*name)).collect();
    assert_eq!(unknown, ["wharf_a", "wharf_b", "wharf_d"]);
}
