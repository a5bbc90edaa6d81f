//! The hooks: how often the application was called and what came of it, and what it is still to be told of.

use std::{net::SocketAddr, time::Duration};

use actix_web::HttpResponse;
use serde::Serialize;
use slog::info;
use wharf_actors::{
    AskFailure,
    hooks::{HookFailure, HooksReport, Owed, OwedState},
    storage::{BOUNDS, OperationReport},
};

use super::{
    Site,
    answer::{self, Problem},
    query::Query,
    units,
};
use crate::{server::peer_name, telemetry::hostile};

/// How many events are listed, unless it is said.
const LIMIT: usize = 100;

#[derive(Serialize)]
struct Hooks {
    at: String,
    has_hooks: bool,
    /// How events are brought to the application.
    transport: Option<&'static str>,
    calls: Vec<Calls>,
    outbox: Outbox,
    events: Vec<Event>,
}

/// The calls for one kind of event.
#[derive(Serialize)]
struct Calls {
    hook: &'static str,
    count: u64,
    under_way: u64,
    failures: Vec<Failures>,
    took: Took,
}

#[derive(Serialize)]
struct Failures {
    cause: &'static str,
    count: u64,
}

/// How long calls took.
#[derive(Serialize)]
struct Took {
    mean_ms: Option<f64>,
    sum_ms: f64,
    buckets: Vec<Bucket>,
}

#[derive(Serialize)]
struct Bucket {
    at_most_ms: f64,
    count: u64,
}

/// The outbox, in numbers.
#[derive(Serialize)]
pub(super) struct Outbox {
    noted: usize,
    owed: usize,
    oldest_age_ms: Option<f64>,
    dropped_total: u64,
}

#[derive(Serialize)]
struct Event {
    event_id: String,
    hook: &'static str,
    upload_id: String,
    happened_at: Option<String>,
    state: &'static str,
    next_try_secs: Option<f64>,
    tries: u32,
    last_error: Option<String>,
}

#[derive(Serialize)]
struct Retried {
    retried: usize,
}

/// What is told of hooks each second.
#[derive(Serialize)]
pub(super) struct Stats {
    transport: &'static str,
    under_way: u64,
    outbox: Outbox,
    failures: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    hook: &'static str,
    cause: &'static str,
    count: u64,
}

impl From<&HooksReport> for Outbox {
    fn from(report: &HooksReport) -> Self {
        let HooksReport { noted, owed, oldest_owed, dropped, .. } = *report;
        Self { noted, owed, oldest_age_ms: oldest_owed.map(units::ms), dropped_total: dropped }
    }
}

impl From<&HooksReport> for Stats {
    fn from(report: &HooksReport) -> Self {
        let failures = report.calls.iter().flat_map(|of| {
            of.failures.iter().map(|(cause, count)| Failed { hook: of.operation, cause, count: *count })
        });
        Self {
            transport: report.transport,
            under_way: report.calls.iter().map(|of| of.under_way).sum(),
            outbox: report.into(),
            failures: failures.collect(),
        }
    }
}

/// How often calls failed for each cause there is, also for those that never came.
pub(super) fn failures(of: &OperationReport) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    HookFailure::ALL.into_iter().map(|failure| {
        let known = of.failures.iter().find(|(name, _)| *name == failure.name());
        (failure.name(), known.map_or(0, |(_, count)| *count))
    })
}

impl From<&OperationReport> for Calls {
    fn from(of: &OperationReport) -> Self {
        let mean = u32::try_from(of.count).ok().filter(|count| *count > 0).map(|count| of.sum / count);
        let buckets = BOUNDS.iter().zip(of.buckets);
        Self {
            hook: of.operation,
            count: of.count,
            under_way: of.under_way,
            failures: failures(of).map(|(cause, count)| Failures { cause, count }).collect(),
            took: Took {
                mean_ms: mean.map(units::ms),
                sum_ms: units::ms(of.sum),
                buckets: buckets.map(|(bound, count)| Bucket { at_most_ms: units::ms(*bound), count }).collect(),
            },
        }
    }
}

impl From<Owed> for Event {
    fn from(owed: Owed) -> Self {
        let Owed { event_id, kind, upload, happened, state, next_try, tries, last_error } = owed;
        Self {
            event_id,
            hook: kind.name(),
            upload_id: upload,
            happened_at: happened.map(units::moment),
            state: state.name(),
            next_try_secs: next_try.map(secs),
            tries,
            last_error,
        }
    }
}

/// Seconds, to three places.
fn secs(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

pub(super) async fn hooks(site: &Site, mut query: Query) -> Result<HttpResponse, Problem> {
    let states = OwedState::ALL.map(|state| (state.name(), state));
    let state = query.choice("state", &states)?;
    let limit = query.whole("limit", 0..=1000)?.unwrap_or(LIMIT);
    query.end()?;
    let events = match limit {
        0 => Vec::new(),
        _ => site.uploads.owed_events(state, limit).await.map_err(refused)?,
    };
    let report = site.uploads.hooks_report();
    let has_hooks = report.is_some();
    let transport = report.as_ref().map(|report| report.transport);
    let report = report.unwrap_or_default();
    let told = Hooks {
        at: units::now(),
        has_hooks,
        transport,
        calls: report.calls.iter().map(Calls::from).collect(),
        outbox: Outbox::from(&report),
        events: events.into_iter().map(Event::from).collect(),
    };
    Ok(answer::json(200, &told))
}

pub(super) async fn retry(site: &Site, peer: Option<SocketAddr>) -> Result<HttpResponse, Problem> {
    let retried = site.uploads.retry_events(None).await.map_err(refused)?;
    let peer = peer_name(peer);
    info!(site.logger, "events retried by request"; "count" => retried, "peer" => peer);
    Ok(answer::json(200, &Retried { retried }))
}

pub(super) async fn retry_one(site: &Site, event_id: &str, peer: Option<SocketAddr>) -> Result<HttpResponse, Problem> {
    let retried = site.uploads.retry_events(Some(event_id.to_owned())).await.map_err(refused)?;
    if retried == 0 {
        return Err(Problem::no_event());
    }
    let peer = peer_name(peer);
    info!(site.logger, "event retried by request"; "event_id" => hostile(event_id), "peer" => peer);
    Ok(answer::json(200, &Retried { retried }))
}

/// Why the outbox gave nothing.
fn refused(failure: AskFailure) -> Problem {
    match failure {
        AskFailure::Died => Problem::unavailable("the outbox has ended"),
        other => Problem::unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use wharf_actors::hooks::EventKind;

    use super::*;

    fn called(failures: Vec<(&'static str, u64)>) -> OperationReport {
        let mut buckets = [3; BOUNDS.len()];
        buckets[0] = 1;
        let sum = Duration::from_millis(6);
        OperationReport { store: "hooks", operation: "post-finish", count: 3, failures, buckets, sum, under_way: 1 }
    }

    #[test]
    fn every_cause_is_counted_from_zero() {
        let told = Calls::from(&called(vec![("unreachable", 2)]));
        assert_eq!((told.hook, told.count, told.under_way), ("post-finish", 3, 1));
        let counted: Vec<(&str, u64)> = told.failures.iter().map(|of| (of.cause, of.count)).collect();
        let names: Vec<&str> = HookFailure::ALL.iter().map(|failure| failure.name()).collect();
        assert_eq!(counted.iter().map(|(cause, _)| *cause).collect::<Vec<_>>(), names);
        assert_eq!(counted.iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), [&("unreachable", 2)]);
    }

    #[test]
    fn times_are_told_with_their_mean() {
        let told = serde_json::to_value(Calls::from(&called(Vec::new())).took).unwrap();
        assert_eq!((&told["mean_ms"], &told["sum_ms"]), (&2.0.into(), &6.0.into()));
        let buckets = told["buckets"].as_array().unwrap();
        assert_eq!(
            (buckets.len(), &buckets[0]["at_most_ms"], &buckets[0]["count"]),
            (BOUNDS.len(), &0.1.into(), &1.into())
        );
        let none = Calls::from(&OperationReport { count: 0, sum: Duration::ZERO, ..called(Vec::new()) });
        assert_eq!(none.took.mean_ms, None);
    }

    #[test]
    fn an_event_is_told_in_full() {
        let owed = Owed {
            event_id: "e1".to_owned(),
            kind: EventKind::PostFinish,
            upload: "a/b".to_owned(),
            happened: Some(UNIX_EPOCH + Duration::from_millis(1_764_205_323_004)),
            state: OwedState::Waiting,
            next_try: Some(Duration::from_micros(4_567_890)),
            tries: 2,
            last_error: Some("refused: \"no\"".to_owned()),
        };
        let expected = serde_json::json!({
            "event_id": "e1", "hook": "post-finish", "upload_id": "a/b", "happened_at": "2025-11-27T01:02:03.004Z",
            "state": "waiting", "next_try_secs": 4.568, "tries": 2, "last_error": "refused: \"no\"",
        });
        assert_eq!(serde_json::to_value(Event::from(owed)).unwrap(), expected);
    }

    #[test]
    fn each_second_only_what_has_failed_is_told() {
        let report = HooksReport {
            transport: "http",
            calls: vec![called(vec![("unreachable", 2)]), called(Vec::new())],
            noted: 1,
            owed: 4,
            oldest_owed: Some(Duration::from_secs(9)),
            dropped: 5,
            ..HooksReport::default()
        };
        let expected = serde_json::json!({
            "transport": "http", "under_way": 2,
            "outbox": { "noted": 1, "owed": 4, "oldest_age_ms": 9000.0, "dropped_total": 5 },
            "failures": [{ "hook": "post-finish", "cause": "unreachable", "count": 2 }],
        });
        assert_eq!(serde_json::to_value(Stats::from(&report)).unwrap(), expected);
    }
}
