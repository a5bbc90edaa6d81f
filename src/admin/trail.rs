//! GET /recent: what the last minutes were like, for whoever looks only now. A few numbers are noted every two seconds,
//! whether somebody looks or not.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use actix_web::HttpResponse;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::{Site, Stage, answer, stats::Mark, units};

const EVERY: Duration = Duration::from_secs(2);

/// Ten minutes.
const KEPT: usize = 300;

/// What is noted, the oldest first.
#[derive(Clone, Default)]
pub(super) struct Trail(Rc<RefCell<VecDeque<Sample>>>);

#[derive(Clone, Serialize)]
struct Sample {
    at: String,
    received_bytes_per_sec: u64,
    requests_per_sec: f64,
    leases_open: u64,
    uploads_live: u64,
    dwell_p99_ms: f64,
    latency: Vec<Late>,
}

#[derive(Clone, Serialize)]
struct Late {
    method: &'static str,
    p99_ms: f64,
}

#[derive(Serialize)]
struct Recent<'a> {
    every_secs: u64,
    samples: &'a VecDeque<Sample>,
}

impl Trail {
    /// Notes from now on, on this arbiter, until the server ends.
    pub(super) fn begin(site: Arc<Site>) -> Self {
        let trail = Self::default();
        let notes = trail.clone();
        actix_rt::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut stage = site.stage.clone();
            let mut before = None;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = stage.wait_for(|stage| *stage == Stage::Ended) => return,
                }
                let mark = Mark::now(&site);
                if let Some(before) = before.replace(mark) {
                    notes.note(Sample::of(&site, mark.rates(before)));
                }
            }
        });
        trail
    }

    fn note(&self, sample: Sample) {
        let mut samples = self.0.borrow_mut();
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    pub(super) fn recent(&self) -> HttpResponse {
        answer::json(200, &Recent { every_secs: EVERY.as_secs(), samples: &self.0.borrow() })
    }
}

impl Sample {
    fn of(site: &Site, (received_bytes_per_sec, requests_per_sec): (u64, f64)) -> Self {
        let tally = site.uploads.tally();
        let kinds = site.uploads.kinds();
        let longest = kinds.iter().map(|kind| kind.dwell.last_minute.p99).max().unwrap_or_default();
        let latency = site.metrics.recent();
        Self {
            at: units::now(),
            received_bytes_per_sec,
            requests_per_sec,
            leases_open: tally.leases_open,
            uploads_live: tally.owners_live,
            dwell_p99_ms: units::ms(longest),
            latency: latency
                .iter()
                .map(|(method, recent)| Late { method: method.name(), p99_ms: units::ms(recent.p99) })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(leases_open: u64) -> Sample {
        Sample {
            at: String::new(),
            received_bytes_per_sec: 0,
            requests_per_sec: 0.0,
            leases_open,
            uploads_live: 0,
            dwell_p99_ms: 0.0,
            latency: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_makes_room() {
        let trail = Trail::default();
        for number in 0..KEPT as u64 + 5 {
            trail.note(sample(number));
        }
        let samples = trail.0.borrow();
        let ends = (samples.front().unwrap().leases_open, samples.back().unwrap().leases_open);
        assert_eq!((samples.len(), ends), (KEPT, (5, KEPT as u64 + 4)));
    }
}
