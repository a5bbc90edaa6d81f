//! GET /events: what happens, as it happens (server-sent events). Nobody waits for a slow reader: it loses events, and is
//! told how many.

use std::{
    cell::RefCell,
    convert::Infallible,
    fmt::Write,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::HttpResponse;
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::{
    sync::{broadcast, watch},
    time::{Interval, MissedTickBehavior, interval_at},
};
use wharf_actors::events::{Event, Heard, Listener};

use super::{
    Config, Desk, Stage,
    access::Pass,
    answer::{self, Problem},
    query::Query,
    reloading,
    session::Sessions,
    units,
};
use crate::reload::Outcome;

/// A comment comes when nothing else has for so long, so that proxies don't take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often it is seen to that who listens still may: the session may have ended, or the token be another one.
const CHECK: Duration = Duration::from_secs(1);

/// How many may listen at once.
const LISTENERS: usize = 64;

/// The longest list of names.
const ONLY_MAX: usize = 512;

/// Every name there is.
const NAMES: [&str; 12] = [
    "upload_created",
    "upload_progress",
    "upload_interrupted",
    "upload_taken_over",
    "upload_finished",
    "upload_terminated",
    "upload_expired",
    "pool_resized",
    "mailbox_slow",
    "settings_reloaded",
    "stats",
    "lost",
];

/// What one reader hears.
struct Ears {
    only: Vec<String>,
    uploads: Listener,
    outcomes: broadcast::Receiver<Outcome>,
    stats: watch::Receiver<Option<Arc<str>>>,
    stage: watch::Receiver<Stage>,
    keep_alive: Interval,
    guard: Guard,
    /// Counted as long as it listens.
    _seat: Arc<()>,
}

/// Sees to it that nobody listens on who would not be let in any more.
struct Guard {
    pass: Pass,
    config: watch::Receiver<Config>,
    sessions: Rc<RefCell<Sessions>>,
    ticks: Interval,
    checked: Instant,
}

impl Guard {
    fn new(desk: &Desk, pass: Pass) -> Self {
        let mut ticks = interval_at(tokio::time::Instant::now() + CHECK, CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (config, sessions) = (desk.site.config.clone(), Rc::clone(&desk.sessions));
        Self { pass, config, sessions, ticks, checked: Instant::now() }
    }

    /// Whether the stream may go on; looked into once in a while.
    fn lets_on(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.checked) < CHECK {
            return true;
        }
        self.checked = now;
        let config = self.config.borrow();
        let has_session = self.sessions.borrow_mut().knows(&self.pass.cookies, config.access.token(), now);
        config.access.still_admits(&self.pass, has_session)
    }
}

/// Starts to tell events.
pub(super) fn events(desk: &Desk, mut query: Query, pass: Pass) -> Result<HttpResponse, Problem> {
    let only = query.take("only").map(|text| names_in(&text)).transpose()?.unwrap_or_default();
    query.end()?;
    if Arc::strong_count(&desk.listeners) > LISTENERS {
        return Err(Problem::unavailable("too many listen already"));
    }
    let ears = Ears {
        only,
        uploads: desk.site.uploads.listen(),
        outcomes: desk.site.reloader.listen(),
        stats: desk.stats.listen(),
        stage: desk.site.stage.clone(),
        keep_alive: interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE),
        guard: Guard::new(desk, pass),
        _seat: Arc::clone(&desk.listeners),
    };
    let told = stream::unfold(ears, |mut ears| async {
        let piece = ears.next().await?;
        Some((Ok::<Bytes, Infallible>(piece), ears))
    });
    // The first line lets a proxy, and a browser, know that the stream has begun.
    let opened = stream::once(async { Ok(Bytes::from_static(b": open\n\n")) });
    let mut response = answer::build(200);
    response.content_type("text/event-stream").insert_header(("x-accel-buffering", "no"));
    Ok(response.streaming(futures_util::StreamExt::chain(opened, told)))
}

fn names_in(text: &str) -> Result<Vec<String>, Problem> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        _ if text.len() > ONLY_MAX => Err(Problem::bad_request("only: is too long")),
        Some(wrong) => Err(Problem::bad_request(format!("only: there is no event {wrong:.64?}"))),
        None => Ok(names),
    }
}

impl Ears {
    /// The next piece of the stream; `None` when the server ends, or who listens may not any more.
    async fn next(&mut self) -> Option<Bytes> {
        let hears_stats = self.wants("stats");
        loop {
            if !self.guard.lets_on() {
                return None;
            }
            let told = tokio::select! {
                // In this order: what has happened is told before the end.
                biased;
                heard = self.uploads.next() => match heard? {
                    Heard::Event(event) => self.event(&event),
                    Heard::Lost(count) => Some(lost(count)),
                },
                outcome = self.outcomes.recv() => match outcome {
                    Ok(outcome) => self.wants("settings_reloaded").then(|| reloaded(&outcome)),
                    Err(broadcast::error::RecvError::Lagged(count)) => Some(lost(count)),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = ended(&mut self.stage) => return None,
                changed = self.stats.changed(), if hears_stats => {
                    changed.ok()?;
                    self.stats.borrow_and_update().as_ref().map(|stats| line("stats", stats))
                },
                _ = self.guard.ticks.tick() => None,
                _ = self.keep_alive.tick() => Some(Bytes::from_static(b": here\n\n")),
            };
            if let Some(told) = told {
                self.keep_alive.reset();
                return Some(told);
            }
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }

    fn event(&self, event: &Event) -> Option<Bytes> {
        let name = name_of(event);
        self.wants(name).then(|| line(name, &data_of(event).to_string()))
    }
}

/// Waits for the end, which has also come when nobody can tell of it any more.
async fn ended(stage: &mut watch::Receiver<Stage>) {
    let _ = stage.wait_for(|stage| *stage == Stage::Ended).await;
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::UploadCreated { .. } => "upload_created",
        Event::UploadProgress { .. } => "upload_progress",
        Event::UploadInterrupted { .. } => "upload_interrupted",
        Event::UploadTakenOver { .. } => "upload_taken_over",
        Event::UploadFinished { .. } => "upload_finished",
        Event::UploadTerminated { .. } => "upload_terminated",
        Event::UploadExpired { .. } => "upload_expired",
        Event::PoolResized { .. } => "pool_resized",
        Event::MailboxSlow { .. } => "mailbox_slow",
    }
}

fn data_of(event: &Event) -> serde_json::Value {
    let at = units::now();
    match event {
        Event::UploadCreated { id, length } => json!({ "at": at, "id": id.as_str(), "length_bytes": length }),
        Event::UploadProgress { id, offset, length, rate_bytes_per_sec } => json!({
            "at": at, "id": id.as_str(), "offset_bytes": offset, "length_bytes": length,
            "rate_bytes_per_sec": rate_bytes_per_sec,
        }),
        Event::UploadInterrupted { id, offset, cause } => {
            json!({ "at": at, "id": id.as_str(), "offset_bytes": offset, "cause": cause.name() })
        }
        Event::UploadFinished { id, length } => json!({ "at": at, "id": id.as_str(), "length_bytes": length }),
        Event::UploadTakenOver { id, offset }
        | Event::UploadTerminated { id, offset }
        | Event::UploadExpired { id, offset } => json!({ "at": at, "id": id.as_str(), "offset_bytes": offset }),
        Event::PoolResized { pool, from, to } => json!({ "at": at, "pool": pool, "from": from, "to": to }),
        Event::MailboxSlow { kind, is_slow, dwell_p99, oldest_age } => json!({
            "at": at, "kind": kind, "is_slow": is_slow, "dwell_p99_ms": units::ms(*dwell_p99),
            "oldest_age_ms": oldest_age.map(units::ms),
        }),
    }
}

fn reloaded(outcome: &Outcome) -> Bytes {
    let (changes, problems) = match &outcome.result {
        Ok(changes) => (changes.clone(), Vec::new()),
        Err(error) => (crate::settings::Changes::default(), reloading::mistakes(error)),
    };
    let mut data = json!(reloading::Reloaded::from(&changes));
    data["at"] = json!(units::moment(outcome.at));
    data["by"] = json!(outcome.by.name());
    data["problems"] = json!(problems);
    line("settings_reloaded", &data.to_string())
}

fn lost(count: u64) -> Bytes {
    line("lost", &json!({ "at": units::now(), "count": count }).to_string())
}

/// One event. JSON has no line breaks of its own.
fn line(name: &str, data: &str) -> Bytes {
    let mut text = String::with_capacity(name.len() + data.len() + 16);
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use wharf_actors::{UploadId, events::Interruption};

    use super::*;

    #[test]
    fn an_event_is_two_lines_and_an_empty_one() {
        let id = UploadId::parse("a\"b").unwrap();
        let event = Event::UploadInterrupted { id, offset: 5, cause: Interruption::TakenOver };
        let text = line(name_of(&event), &data_of(&event).to_string());
        let lines: Vec<&str> = std::str::from_utf8(&text).unwrap().split('\n').collect();
        assert_eq!((lines.len(), lines[0], lines[2], lines[3]), (4, "event: upload_interrupted", "", ""));
        let data: serde_json::Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["id"], &data["offset_bytes"]), (&json!("a\"b"), &json!(5)));
        assert_eq!(data["cause"], "taken_over");
    }

    #[test]
    fn only_known_names_are_taken() {
        assert_eq!(names_in("stats,lost").unwrap(), ["stats", "lost"]);
        for wrong in ["", ",", "stats,", "Stats", "upload", "stats lost"] {
            assert_eq!(names_in(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
