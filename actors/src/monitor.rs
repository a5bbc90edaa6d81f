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
    post::{Gauge, METERED},
    storage::Wait,
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A task of its own, on the arbiter that started the service; it ends with the directory.
pub(crate) struct Monitor {
    directory: Weak<Directory>,
    reaper: Arc<Gauge>,
    slow: BTreeMap<&'static str, bool>,
}

impl Monitor {
    pub(crate) fn run(directory: &Arc<Directory>, reaper: &Arc<Gauge>) {
        if !METERED {
            return;
        }
        let (directory, reaper) = (Arc::downgrade(directory), Arc::clone(reaper));
        let mut monitor = Self { directory, reaper, slow: BTreeMap::new() };
        actix_rt::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(directory) = monitor.directory.upgrade() else { return };
                monitor.look(&directory);
            }
        });
    }

    fn look(&mut self, directory: &Directory) {
        let meter = directory.meter();
        let owners = Wait { kind: meter.name(), dwell_p99: meter.dwell_p99(), oldest_age: directory.oldest_wait() };
        let below = directory.storage().waits();
        let hooks = directory.hooks().map(|hooks| hooks.waits()).unwrap_or_default();
        [owners, Wait::of(&self.reaper)]
            .iter()
            .chain(&below)
            .chain(&hooks)
            .for_each(|wait| self.judge(wait, directory));
    }

    fn judge(&mut self, wait: &Wait, directory: &Directory) {
        let slow_after = directory.live().slow_after();
        let Wait { kind, dwell_p99, oldest_age } = *wait;
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
