//! GET /pools: the workers, what waits for them, and the memory for bytes on their way.

use actix_web::HttpResponse;
use serde::Serialize;
use wharf_actors::{BudgetReport, post::PoolReport};

use super::{Site, answer, units};

#[derive(Serialize)]
struct Pools {
    at: String,
    pools: Vec<Pool>,
    memory: Memory,
}

/// One pool.
#[derive(Serialize)]
pub(super) struct Pool {
    pool: &'static str,
    workers: usize,
    workers_wanted: usize,
    busy: Option<usize>,
    queue: Option<Queue>,
    without_room: usize,
    restarts: u64,
}

#[derive(Serialize)]
struct Queue {
    depth: usize,
    capacity: usize,
    oldest_age_ms: Option<f64>,
}

/// The memory budget.
#[derive(Serialize)]
pub(super) struct Memory {
    budget_bytes: usize,
    used_bytes: usize,
    waiting: usize,
}

impl From<BudgetReport> for Memory {
    fn from(report: BudgetReport) -> Self {
        Self { budget_bytes: report.total, used_bytes: report.used, waiting: report.waiting }
    }
}

impl From<PoolReport> for Pool {
    fn from(report: PoolReport) -> Self {
        let PoolReport { pool, workers, workers_wanted, busy, queue, without_room, restarts } = report;
        let queue = Queue { depth: queue.depth, capacity: queue.limit, oldest_age_ms: queue.oldest_age.map(units::ms) };
        Self { pool, workers, workers_wanted, busy: Some(busy), queue: Some(queue), without_room, restarts }
    }
}

/// All pools: the threads for connections and owners first, which have no queue of their own.
pub(super) fn all(site: &Site) -> Vec<Pool> {
    let arbiters = site.config.borrow().arbiters;
    let arbiters = Pool {
        pool: "uploads",
        workers: arbiters,
        workers_wanted: arbiters,
        busy: None,
        queue: None,
        without_room: 0,
        restarts: 0,
    };
    std::iter::once(arbiters).chain(site.uploads.pools().into_iter().map(Pool::from)).collect()
}

pub(super) fn pools(site: &Site) -> HttpResponse {
    let pools = Pools { at: units::now(), pools: all(site), memory: site.uploads.budget_report().into() };
    answer::json(200, &pools)
}
