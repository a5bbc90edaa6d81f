//! The two probes: does the process answer, and should it be sent uploads.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::HttpResponse;
use serde::Serialize;
use slog::warn;
use tokio::sync::watch;

use super::{Desk, Site, Stage, answer};

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
type Reached = Option<(Instant, bool)>;

/// However many probe at once, the store is asked by one, and all hear its answer.
#[derive(Default)]
pub(super) struct Readiness {
    reached: watch::Sender<Reached>,
    is_asking: Rc<Cell<bool>>,
}

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
    let Readiness { reached, is_asking } = &desk.readiness;
    let known = reached.borrow().filter(|(at, _)| at.elapsed() < STORE_EVERY);
    if let Some((_, is_reachable)) = known {
        return is_reachable;
    }
    let mut answer = reached.subscribe();
    if !is_asking.replace(true) {
        // A task of its own: who probes may go away before there is an answer.
        actix_rt::spawn(ask(Arc::clone(&desk.site), reached.clone(), Rc::clone(is_asking)));
    }
    answer.changed().await.is_ok() && answer.borrow().is_some_and(|(_, is_reachable)| is_reachable)
}

async fn ask(site: Arc<Site>, reached: watch::Sender<Reached>, is_asking: Rc<Cell<bool>>) {
    let mut question = Question { reached, is_asking, is_reachable: false };
    let asked = tokio::time::timeout(STORE_TIMEOUT, site.uploads.reachable()).await;
    question.is_reachable = matches!(asked, Ok(Ok(())));
    if !question.is_reachable {
        warn!(site.logger, "store unreachable");
    }
}

/// A question to the store that is under way. Whatever becomes of it, those who wait hear of its end, and others may ask.
struct Question {
    reached: watch::Sender<Reached>,
    is_asking: Rc<Cell<bool>>,
    is_reachable: bool,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.is_asking.set(false);
        self.reached.send_replace(Some((Instant::now(), self.is_reachable)));
    }
}
