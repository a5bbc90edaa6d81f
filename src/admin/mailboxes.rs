//! GET /mailboxes: every kind of actor and queue, and the busiest mailboxes. Read from meters; no actor is asked.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use actix_web::HttpResponse;
use serde::Serialize;
use wharf_actors::{
    Mailboxes,
    post::{Distribution, GaugeReport, KindReport, MailboxReport, Spread},
};

use super::{
    Site,
    answer::{self, Problem},
    query::Query,
    units,
};

/// How many mailboxes of uploads are told of, unless it is said.
const LIMIT: usize = 20;

#[derive(Serialize)]
struct Listing<'a> {
    at: String,
    slow_after_ms: u64,
    kinds: Vec<Kind<'a>>,
    mailboxes: Vec<Mailbox>,
}

#[derive(Serialize)]
struct Kind<'a> {
    kind: &'a str,
    live: u64,
    restarts: u64,
    capacity: usize,
    depth: usize,
    depth_peak: usize,
    received: u64,
    processed: u64,
    refused: u64,
    dropped: u64,
    oldest_age_ms: Option<f64>,
    is_slow: bool,
    dwell: Spans,
    processing: Spans,
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
    dwell: Spans,
    processing: Spans,
}

#[derive(Serialize)]
struct Spans {
    since_start: Quantiles,
    last_minute: Quantiles,
}

#[derive(Serialize)]
struct Quantiles {
    count: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// One mailbox.
#[derive(Serialize)]
pub(super) struct Mailbox {
    kind: &'static str,
    name: String,
    depth: usize,
    capacity: usize,
    depth_peak: usize,
    received: u64,
    processed: u64,
    refused: u64,
    dropped: u64,
    oldest_age_ms: Option<f64>,
    dwell_max_ms: f64,
    processing_max_ms: f64,
}

impl From<Spread> for Spans {
    fn from(spread: Spread) -> Self {
        let quantiles = |of: Distribution| Quantiles {
            count: of.count,
            p50_ms: units::ms(of.p50),
            p99_ms: units::ms(of.p99),
            max_ms: units::ms(of.max),
        };
        Self { since_start: quantiles(spread.since_start), last_minute: quantiles(spread.last_minute) }
    }
}

impl Mailbox {
    pub(super) fn of(kind: &'static str, name: String, gauge: &GaugeReport) -> Self {
        Self {
            kind,
            name,
            depth: gauge.depth,
            capacity: gauge.limit,
            depth_peak: gauge.depth_peak,
            received: gauge.received,
            processed: gauge.processed,
            refused: gauge.refused,
            dropped: gauge.dropped,
            oldest_age_ms: gauge.oldest_age.map(units::ms),
            dwell_max_ms: units::ms(gauge.dwell_max),
            processing_max_ms: units::ms(gauge.processing_max),
        }
    }
}

/// All mailboxes at one moment, gone through once.
pub(super) struct Seen {
    pub(super) mailboxes: Mailboxes,
    oldest: BTreeMap<&'static str, Duration>,
}

impl Seen {
    pub(super) fn now(site: &Site) -> Self {
        let mailboxes = site.uploads.mailboxes();
        let mut oldest = BTreeMap::new();
        for mailbox in mailboxes.workers.iter().chain(&mailboxes.uploads) {
            if let Some(age) = mailbox.gauge.oldest_age {
                let known = oldest.entry(mailbox.kind).or_insert(age);
                *known = age.max(*known);
            }
        }
        Self { mailboxes, oldest }
    }

    /// How long the oldest message of a kind has waited.
    pub(super) fn oldest(&self, kind: &str) -> Option<Duration> {
        self.oldest.get(kind).copied()
    }

    /// Whether the messages of a kind wait too long, or one of them has begun to.
    pub(super) fn is_slow(&self, kind: &KindReport) -> bool {
        let slow_after = self.mailboxes.slow_after;
        kind.dwell.last_minute.p99 > slow_after || self.oldest(kind.kind) > Some(slow_after)
    }
}

fn kind_of<'a>(report: &'a KindReport, seen: &Seen) -> Kind<'a> {
    let messages = report.messages.iter().map(|message| Message {
        message: message.message,
        dwell: message.dwell.into(),
        processing: message.processing.into(),
    });
    Kind {
        kind: report.kind,
        live: report.live,
        restarts: report.restarts,
        capacity: report.capacity,
        depth: report.depth,
        depth_peak: report.depth_peak,
        received: report.received,
        processed: report.processed,
        refused: report.refused,
        dropped: report.dropped,
        oldest_age_ms: seen.oldest(report.kind).map(units::ms),
        is_slow: seen.is_slow(report),
        dwell: report.dwell.into(),
        processing: report.processing.into(),
        messages: messages.collect(),
    }
}

/// What is sorted by.
#[derive(Debug, Clone, Copy)]
enum Order {
    Depth,
    Oldest,
    Received,
    Dwell,
}

fn sort(mailboxes: &mut [MailboxReport], order: Order) {
    let number = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let key = |gauge: &GaugeReport| match order {
        Order::Depth => gauge.depth as u64,
        // One nanosecond more than none at all.
        Order::Oldest => gauge.oldest_age.map_or(0, |age| number(age).max(1)),
        Order::Received => gauge.received,
        Order::Dwell => number(gauge.dwell_max),
    };
    // Among equals, those that did the most.
    mailboxes.sort_by_cached_key(|mailbox| Reverse((key(&mailbox.gauge), mailbox.gauge.received)));
}

pub(super) fn mailboxes(site: &Site, mut query: Query) -> Result<HttpResponse, Problem> {
    let kind = query.take("kind");
    let is_name = |kind: &String| {
        (1..=64).contains(&kind.len()) && kind.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    if kind.as_ref().is_some_and(|kind| !is_name(kind)) {
        return Err(Problem::bad_request("kind: must be the name of one, in small letters"));
    }
    let orders =
        [("depth", Order::Depth), ("oldest", Order::Oldest), ("received", Order::Received), ("dwell", Order::Dwell)];
    let order = query.choice("sort", &orders)?.unwrap_or(Order::Depth);
    let limit = query.whole("limit", 0..=1000)?.unwrap_or(LIMIT);
    query.end()?;
    let mut seen = Seen::now(site);
    let wanted = |name: &str| kind.as_ref().is_none_or(|kind| kind == name);
    let kinds =
        seen.mailboxes.kinds.iter().filter(|report| wanted(report.kind)).map(|report| kind_of(report, &seen)).collect();
    let mut rows = std::mem::take(&mut seen.mailboxes.uploads);
    sort(&mut rows, order);
    rows.truncate(limit);
    rows.append(&mut seen.mailboxes.workers);
    rows.retain(|mailbox| wanted(mailbox.kind));
    sort(&mut rows, order);
    let mailboxes = rows.into_iter().map(|row| Mailbox::of(row.kind, row.name, &row.gauge)).collect();
    let slow_after_ms = u64::try_from(seen.mailboxes.slow_after.as_millis()).unwrap_or(u64::MAX);
    Ok(answer::json(200, &Listing { at: units::now(), slow_after_ms, kinds, mailboxes }))
}
