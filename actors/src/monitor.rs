//! Watches how long messages wait, and says when a kind of mailbox has become slow, or is quick again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use slog::{info, warn};

use crate::{
    directory::Directory,
    events::Event,
    post::{Gauge, KindMeter, KindReport},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was found of a kind.
struct Finding {
    kind: &'static str,
    dwell_p99: Duration,
    oldest_age: Option<Duration>,
}

/// A task of its own, on the arbiter that started the service; it ends with the directory.
pub(crate) struct Monitor {
    directory: Weak<Directory>,
    reaper: Arc<KindMeter>,
    slow: BTreeMap<&'static str, bool>,
}

impl Monitor {
    pub(crate) fn run(directory: &Arc<Directory>, reaper: &Arc<Gauge>) {
        let reaper = Arc::clone(reaper.kind());
        let mut monitor = Self { directory: Arc::downgrade(directory), reaper, slow: BTreeMap::new() };
        actix_rt::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(directory) = monitor.directory.upgrade() else { return };
                monitor.look(&directory);
            }
        });
    }

    fn look(&mut self, directory: &Directory) {
        let oldest = directory.owners().iter().filter_map(|owner| owner.gauge().oldest_age()).max();
        let of = |report: &KindReport| Finding {
            kind: report.kind,
            dwell_p99: report.dwell.last_minute.p99,
            oldest_age: None,
        };
        let owners = directory.meter();
        let mut findings =
            vec![Finding { kind: owners.name(), dwell_p99: owners.dwell().last_minute.p99, oldest_age: oldest }];
        findings.push(of(&self.reaper.report()));
        let store = directory.storage().report();
        findings.extend(store.kinds.iter().map(of));
        for finding in &mut findings {
            let mailboxes = store.mailboxes.iter().map(|mailbox| (mailbox.kind, mailbox.gauge.oldest_age));
            let queues = store.pools.iter().map(|pool| (pool.pool, pool.queue.oldest_age));
            let oldest =
                mailboxes.chain(queues).filter(|(kind, _)| *kind == finding.kind).filter_map(|(_, age)| age).max();
            finding.oldest_age = finding.oldest_age.max(oldest);
        }
        findings.into_iter().for_each(|finding| self.judge(&finding, directory));
    }

    fn judge(&mut self, finding: &Finding, directory: &Directory) {
        let slow_after = directory.live().slow_after();
        let Finding { kind, dwell_p99, oldest_age } = *finding;
        let is_slow = dwell_p99 > slow_after || oldest_age > Some(slow_after);
        let was_slow = self.slow.insert(kind, is_slow).unwrap_or(false);
        if is_slow == was_slow {
            return;
        }
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (p99_ms, oldest_ms) = (ms(dwell_p99), oldest_age.map(ms));
        if is_slow {
            warn!(directory.logger(), "mailbox is slow"; "kind" => kind, "dwell_p99_ms" => p99_ms, "oldest_ms" => oldest_ms);
        } else {
            info!(directory.logger(), "mailbox is quick again"; "kind" => kind, "dwell_p99_ms" => p99_ms);
        }
        directory.events().tell(|| Event::MailboxSlow { kind, is_slow, dwell_p99, oldest_age });
    }
}
