//! One upload in full.

use std::net::SocketAddr;

use serde::Serialize;
use wharf_actors::{HistoryReport, Kind, Level, LogLine, Overview, TIMELINE_BYTES};

use super::Metadata;
use crate::admin::{mailboxes::Mailbox, units};

/// All that is told of an upload.
#[derive(Serialize)]
pub(super) struct Upload {
    id: String,
    state: &'static str,
    offset_bytes: Option<u64>,
    length_bytes: Option<u64>,
    filename: Option<String>,
    is_live: bool,
    rate_bytes_per_sec: Option<u64>,
    peer: Option<SocketAddr>,
    changed_at: String,
    metadata: Option<Metadata>,
    kind: Option<&'static str>,
    partials: Vec<String>,
    expires_at: Option<String>,
    lease: Option<Lease>,
    parts: Option<Vec<Part>>,
    mailbox: Option<Mailbox>,
    owner_answered: Option<bool>,
    log: Vec<Said>,
    timeline: Option<Timeline>,
}

#[derive(Serialize)]
struct Lease {
    number: u64,
    request_id: Option<String>,
    since: String,
    peer: Option<SocketAddr>,
}

#[derive(Serialize)]
struct Part {
    number: u16,
    size_bytes: u64,
    state: &'static str,
}

#[derive(Serialize)]
struct Said {
    at: String,
    level: &'static str,
    message: &'static str,
    fields: std::collections::BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Timeline {
    note: String,
    since: String,
    resolution_ms: f64,
    marks_lost: u64,
    points: Vec<Point>,
    marks: Vec<Mark>,
}

#[derive(Serialize)]
struct Point {
    at_ms: f64,
    offset_bytes: u64,
}

#[derive(Serialize)]
struct Mark {
    at_ms: f64,
    kind: &'static str,
    detail: String,
}

impl From<Overview> for Upload {
    fn from(seen: Overview) -> Self {
        let (log, timeline) = seen.history.map(told).unzip();
        let owner = seen.owner;
        let lease = owner.as_ref().and_then(|owner| owner.lease.as_ref());
        let metadata = seen.info.as_ref().map(|info| info.metadata.clone());
        let filename = metadata.as_ref().and_then(|known| ["filename", "name"].iter().find_map(|key| known.get(*key)));
        let parts = seen.parts.map(|parts| {
            let part = |part: wharf_actors::storage::PartReport| Part {
                number: part.number,
                size_bytes: part.size,
                state: part.state.name(),
            };
            parts.into_iter().map(part).collect()
        });
        Self {
            state: seen.state.name(),
            offset_bytes: seen.offset,
            length_bytes: seen.length,
            filename: filename.cloned(),
            is_live: owner.is_some(),
            rate_bytes_per_sec: owner.as_ref().map(|owner| owner.rate_bytes_per_sec),
            peer: lease.and_then(|lease| lease.peer),
            changed_at: units::moment(seen.changed),
            kind: seen.info.as_ref().map(|info| name_of(&info.kind)),
            partials: seen.info.as_ref().map_or_else(Vec::new, |info| partials_of(&info.kind)),
            expires_at: seen.expires_at_secs.map(units::moment_of_secs),
            lease: lease.map(|lease| Lease {
                number: lease.number,
                request_id: lease.request_id.as_ref().map(|id| id.to_string()),
                since: units::moment(lease.since),
                peer: lease.peer,
            }),
            mailbox: owner.as_ref().map(|owner| Mailbox::of("upload", seen.id.as_str().to_owned(), &owner.mailbox)),
            owner_answered: owner.as_ref().map(|owner| owner.has_answered),
            id: seen.id.as_str().to_owned(),
            metadata,
            parts,
            log: log.unwrap_or_default(),
            timeline,
        }
    }
}

fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Single => "single",
        Kind::Partial => "partial",
        Kind::Final { .. } => "final",
    }
}

fn partials_of(kind: &Kind) -> Vec<String> {
    match kind {
        Kind::Final { partials } => partials.iter().map(|id| id.as_str().to_owned()).collect(),
        Kind::Single | Kind::Partial => Vec::new(),
    }
}

fn told(history: HistoryReport) -> (Vec<Said>, Timeline) {
    let HistoryReport { since, log, timeline } = history;
    let said = |line: LogLine| Said {
        at: units::moment(line.at),
        level: match line.level {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        },
        message: line.message,
        fields: line.fields.into_iter().collect(),
    };
    let points = timeline.points.into_iter();
    let marks = timeline.marks.into_iter();
    let since = units::moment(since);
    let timeline = Timeline {
        note: format!("kept in memory, at most {} KiB, since {since}", TIMELINE_BYTES / 1024),
        since,
        resolution_ms: units::ms(timeline.resolution),
        marks_lost: timeline.marks_lost,
        points: points.map(|(at, offset_bytes)| Point { at_ms: units::ms(at), offset_bytes }).collect(),
        marks: marks.map(|mark| Mark { at_ms: units::ms(mark.at), kind: mark.kind, detail: mark.detail }).collect(),
    };
    (log.into_iter().map(said).collect(), timeline)
}
