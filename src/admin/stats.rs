//! What goes on in the server, once a second and once for all who listen.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{
    Site, hooks,
    mailboxes::Seen,
    pools::{self, Memory, Pool},
    units,
};
use crate::metrics::Recent;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Stats {
    at: String,
    version: &'static str,
    uptime_secs: u64,
    received_bytes_total: u64,
    received_bytes_per_sec: u64,
    requests_total: u64,
    requests_per_sec: f64,
    connections: usize,
    uploads_live: u64,
    leases_open: u64,
    memory: Memory,
    slow_after_ms: u64,
    kinds: Vec<Kind>,
    pools: Vec<Pool>,
    latency: Vec<Latency>,
    errors: Vec<Refused>,
    uploads: Totals,
    interruptions: Vec<Interrupted>,
    store_failures: Vec<Failed>,
    /// Nothing where there are no hooks.
    hooks: Option<hooks::Stats>,
    log_lines_dropped_total: u64,
}

#[derive(Serialize)]
struct Kind {
    kind: &'static str,
    live: u64,
    depth: usize,
    depth_peak: usize,
    capacity: usize,
    refused: u64,
    restarts: u64,
    oldest_age_ms: Option<f64>,
    dwell_p99_ms: f64,
    processing_p99_ms: f64,
    is_slow: bool,
}

#[derive(Serialize)]
struct Latency {
    method: &'static str,
    count: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

#[derive(Serialize)]
struct Refused {
    status: u16,
    code: &'static str,
    count: u64,
}

/// Uploads since the start.
#[derive(Serialize)]
struct Totals {
    created_total: u64,
    finished_total: u64,
    terminated_total: u64,
    expired_total: u64,
    take_overs_total: u64,
    owners_died_total: u64,
}

#[derive(Serialize)]
struct Interrupted {
    cause: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Failed {
    store: &'static str,
    operation: &'static str,
    reason: &'static str,
    count: u64,
}

/// What a rate is counted from.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    at: Instant,
    received_bytes: u64,
    requests: u64,
}

/// Gathers, as long as somebody listens.
pub(super) struct Feed {
    site: Arc<Site>,
    sender: watch::Sender<Option<Arc<str>>>,
    began: Instant,
    is_gathering: Rc<Cell<bool>>,
}

impl Feed {
    pub(super) fn new(site: Arc<Site>) -> Self {
        Self { site, sender: watch::Sender::new(None), began: Instant::now(), is_gathering: Rc::default() }
    }

    /// The latest from now on, as JSON. The first who listens sets the feed going, on the arbiter that it listens on.
    pub(super) fn listen(&self) -> watch::Receiver<Option<Arc<str>>> {
        let mut receiver = self.sender.subscribe();
        if !self.is_gathering.replace(true) {
            // What was gathered for earlier ones is old by now.
            self.sender.send_replace(None);
            let (sender, is_gathering) = (self.sender.clone(), Rc::clone(&self.is_gathering));
            actix_rt::spawn(gather(Arc::clone(&self.site), sender, self.began, is_gathering));
        }
        receiver.mark_changed();
        receiver
    }
}

async fn gather(
    site: Arc<Site>,
    sender: watch::Sender<Option<Arc<str>>>,
    began: Instant,
    is_gathering: Rc<Cell<bool>>,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    while sender.receiver_count() > 0 {
        ticks.tick().await;
        let (stats, mark) = Stats::gather(&site, before, began);
        before = Some(mark);
        // Only keys that are no text can't be written, and there are none.
        if let Ok(text) = serde_json::to_string(&stats) {
            sender.send_replace(Some(text.into()));
        }
    }
    is_gathering.set(false);
}

impl Stats {
    /// The stats of now; rates are those since `before`.
    fn gather(site: &Site, before: Option<Mark>, began: Instant) -> (Self, Mark) {
        let (tally, report) = (site.uploads.tally(), site.metrics.report());
        let mark = Mark::now(site);
        let (received_bytes_per_sec, requests_per_sec) = before.map_or((0, 0.0), |before| mark.rates(before));
        let seen = Seen::now(site);
        let kinds = seen.mailboxes.kinds.iter().map(|kind| Kind {
            kind: kind.kind,
            live: kind.live,
            depth: kind.depth,
            depth_peak: kind.depth_peak,
            capacity: kind.capacity,
            refused: kind.refused,
            restarts: kind.restarts,
            oldest_age_ms: seen.oldest(kind.kind).map(units::ms),
            dwell_p99_ms: units::ms(kind.dwell.last_minute.p99),
            processing_p99_ms: units::ms(kind.processing.last_minute.p99),
            is_slow: seen.is_slow(kind),
        });
        let latency = site.metrics.recent().into_iter().map(|(method, Recent { count, p50, p99, max })| Latency {
            method: method.name(),
            count,
            p50_ms: units::ms(p50),
            p99_ms: units::ms(p99),
            max_ms: units::ms(max),
        });
        let errors = report.refused.iter();
        let interruptions = tally.interruptions.into_iter().filter(|(_, count)| *count > 0);
        let operations = site.uploads.store_report().operations;
        let failures = operations.iter().flat_map(|of| {
            let (store, operation) = (of.store, of.operation);
            of.failures.iter().map(move |(reason, count)| Failed { store, operation, reason, count: *count })
        });
        let stats = Self {
            at: units::now(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_secs: began.elapsed().as_secs(),
            received_bytes_total: mark.received_bytes,
            received_bytes_per_sec,
            requests_total: mark.requests,
            requests_per_sec,
            connections: (site.connections)(),
            uploads_live: tally.owners_live,
            leases_open: tally.leases_open,
            memory: site.uploads.budget_report().into(),
            slow_after_ms: u64::try_from(seen.mailboxes.slow_after.as_millis()).unwrap_or(u64::MAX),
            kinds: kinds.collect(),
            pools: pools::all(site),
            latency: latency.collect(),
            errors: errors
                .map(|refused| Refused { status: refused.status, code: refused.code, count: refused.count })
                .collect(),
            uploads: Totals {
                created_total: tally.created,
                finished_total: tally.finished,
                terminated_total: tally.terminated,
                expired_total: tally.expired,
                take_overs_total: tally.take_overs,
                owners_died_total: tally.owners_died,
            },
            interruptions: interruptions.map(|(cause, count)| Interrupted { cause: cause.name(), count }).collect(),
            store_failures: failures.collect(),
            hooks: site.uploads.hooks_report().as_ref().map(hooks::Stats::from),
            log_lines_dropped_total: site.log.dropped(),
        };
        (stats, mark)
    }
}

impl Mark {
    pub(super) fn now(site: &Site) -> Self {
        let requests = site.metrics.report().begun.iter().map(|(_, count)| count).sum();
        Self { at: Instant::now(), received_bytes: site.uploads.tally().bytes_received, requests }
    }

    /// Bytes and requests a second since then.
    pub(super) fn rates(self, before: Self) -> (u64, f64) {
        let millis = u64::try_from((self.at - before.at).as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes = self.received_bytes.saturating_sub(before.received_bytes);
        let requests = self.requests.saturating_sub(before.requests);
        // To a tenth: more would be noise.
        let tenths = requests.saturating_mul(10_000) / millis;
        (bytes.saturating_mul(1000) / millis, f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0)
    }
}
