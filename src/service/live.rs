//! What takes new settings while wharf runs, room by room.

use std::sync::Arc;

use slog::error;
use tokio::sync::watch;
use wharf_actors::{Tuning, storage::StoreTuning};

use super::{Rooms, limits, max_size};
use crate::{
    admin,
    routes::Site,
    server::{Patience, wire::Limits},
    settings::{Settings, Timeouts},
    telemetry,
};

/// The ends from which each room hears of its settings.
pub(super) struct Live {
    pub(super) rooms: Rooms,
    /// The memory budget at the start: how large the parts of an S3 store may become was settled then.
    pub(super) budget_at_start: usize,
    pub(super) log: telemetry::Control,
    pub(super) sites: watch::Sender<Arc<Site>>,
    pub(super) patience: watch::Sender<Patience>,
    pub(super) timeouts: watch::Sender<Timeouts>,
    pub(super) admin: Option<watch::Sender<admin::Config>>,
}

impl Live {
    /// Puts settings into effect. Only what may change meanwhile is looked at.
    pub(super) fn apply(&self, settings: &Settings) {
        self.log.set_level(settings.log.level);
        let mut bounded = settings.clone();
        let budget = &mut bounded.storage.memory_budget_bytes;
        *budget = self.budget_at_start.min(*budget);
        self.rooms.limits.set(limits(settings));
        match self.rooms.site(&bounded) {
            Ok(site) => drop(self.sites.send_replace(Arc::new(site))),
            // What the checks of the settings let pass can be served.
            Err(error) => error!(self.rooms.logger, "settings could not be applied"; "error" => %error),
        }
        self.patience.send_replace(patience(settings));
        self.timeouts.send_replace(settings.timeouts.clone());
        if let Some(admin) = &self.admin {
            admin.send_modify(|config| config.update(&settings.admin));
        }
        // What the store could not do is in the log already.
        let _ = self.rooms.uploads.reconfigure(&Tuning { max_size: max_size(&bounded), ..tuning(settings) });
    }
}

/// What connections are to put up with.
pub(super) fn patience(settings: &Settings) -> Patience {
    Patience {
        keep_alive: settings.timeouts.keep_alive,
        limits: Limits {
            head_max_bytes: settings.server.head_max_bytes,
            head_timeout: settings.timeouts.head,
            write_timeout: settings.timeouts.write,
            linger: settings.timeouts.linger,
        },
    }
}

/// What of the settings the uploads and their store take while all goes on.
pub(super) fn tuning(settings: &Settings) -> Tuning {
    let Settings { pools, .. } = settings;
    Tuning {
        max_size: max_size(settings),
        mailbox: pools.uploads.mailbox,
        idle_owner: settings.timeouts.idle_owner,
        patience: settings.timeouts.store,
        expire_after: settings.expiration.after,
        expire_interval: settings.expiration.interval,
        concatenation_unfinished: settings.tus.concatenation_unfinished,
        slow_after: settings.admin.mailbox_slow,
        memory_budget: settings.storage.memory_budget_bytes,
        hook_workers: pools.hooks.workers,
        hook_queue: pools.hooks.queue,
        store: StoreTuning {
            disk_workers: pools.disk.workers,
            disk_queue: pools.disk.queue,
            part_workers: pools.s3.workers,
            part_queue: pools.s3.queue,
            parts_per_upload: pools.s3.per_upload,
            retry_deadline: settings.storage.s3.deadline,
        },
    }
}
