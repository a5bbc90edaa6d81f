//! The two probes: does the process answer, and should it be sent uploads.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use actix_web::HttpResponse;
use serde::Serialize;
use slog::warn;

use super::{Desk, Stage, answer};

/// How long the store may take to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The store is asked no more often: anybody may probe.
const STORE_EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reason: Option<&'static str>,
}

/// What the store answered last, and when.
#[derive(Default)]
pub(super) struct Readiness(Cell<Option<(Instant, bool)>>);

pub(super) fn health() -> HttpResponse {
    answer::json(200, &Health { status: "ok" })
}

pub(super) async fn ready(desk: &Desk) -> HttpResponse {
    let is_ending = || *desk.site.stage.borrow() != Stage::Serving;
    let reason = if is_ending() {
        Some("shutting_down")
    } else if !is_reachable(desk).await {
        Some("store_unreachable")
    } else {
        // It may have begun meanwhile.
        is_ending().then_some("shutting_down")
    };
    answer::json(if reason.is_none() { 200 } else { 503 }, &Ready { ready: reason.is_none(), reason })
}

async fn is_reachable(desk: &Desk) -> bool {
    let known = desk.readiness.0.get().filter(|(at, _)| at.elapsed() < STORE_EVERY);
    if let Some((_, is_reachable)) = known {
        return is_reachable;
    }
    let asked = tokio::time::timeout(STORE_TIMEOUT, desk.site.uploads.reachable()).await;
    let is_reachable = matches!(asked, Ok(Ok(())));
    if !is_reachable {
        warn!(desk.site.logger, "store unreachable");
    }
    desk.readiness.0.set(Some((Instant::now(), is_reachable)));
    is_reachable
}
