//! What an earlier run has left behind, taken up at the start.

use std::sync::Arc;

use super::Uploads;
use crate::hooks::recovery::recover;

impl Uploads {
    /// What the store remembers of earlier runs guards against a clock that was set wrong meanwhile.
    pub(super) async fn remember_times(&self) {
        let (storage, clock) = (self.directory.storage(), self.directory.clock());
        let now = clock.now_secs();
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
        let first_seen = match number(storage.note("first_seen", None).await.unwrap_or_default()) {
            Some(first_seen) => first_seen,
            None => {
                if let Err(error) = storage.note("first_seen", Some(now.to_string())).await {
                    slog::error!(self.logger, "store failed"; "error" => %error);
                }
                now
            }
        };
        let last_seen = number(storage.note("last_seen", Some(now.to_string())).await.unwrap_or_default());
        clock.remember(first_seen, last_seen);
    }

    /// Final uploads that were not concatenated when the server ended go on by themselves.
    pub(super) fn wake_finals(&self) {
        let directory = Arc::clone(&self.directory);
        actix_rt::spawn(async move {
            match directory.storage().waiting_finals().await {
                Ok(finals) => {
                    for id in finals {
                        // One that is gone, or can't be read, is no reason to leave the others.
                        let _ = directory.find(&id).await;
                    }
                }
                Err(error) => slog::error!(directory.logger(), "store failed"; "error" => %error),
            }
        });
    }

    /// What an earlier run had still to tell is told, and what it had almost finished is finished.
    pub(super) fn take_up_events(&self) {
        let uploads = self.clone();
        actix_rt::spawn(async move {
            let Some(hooks) = uploads.directory.hooks().cloned() else { return };
            for id in recover(&hooks, uploads.directory.storage()).await {
                // Its owner finishes it when all its bytes are there. One that can't be had is no reason to leave the others.
                let _ = uploads.record(&id).await;
            }
        });
    }
}
