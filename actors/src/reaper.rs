//! Finds uploads whose time may have run out, a slice of the store at a time, and leaves the decision to their owners.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use slog::error;

use crate::{
    directory::Directory,
    storage::{ScanCursor, StorageError},
    upload::messages::Expire,
};

/// Between two slices of a round, so that a round over a million files leaves the disk to uploads.
const BREATH: Duration = Duration::from_millis(20);

/// Looks for expired uploads. One runs, on the arbiter that started the service; it ends with that. It gets no messages:
/// its timer drives it.
pub(crate) struct Reaper {
    directory: Arc<Directory>,
    interval: Duration,
}

impl Reaper {
    pub(crate) fn run(directory: Arc<Directory>, interval: Duration) {
        Self { directory, interval }.start();
    }

    fn slice(&self, cursor: Option<ScanCursor>, context: &mut Context<Self>) {
        let directory = Arc::clone(&self.directory);
        let work = async move {
            let now_secs = directory.clock().now_secs();
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_secs);
            let after = directory.clock().after().unwrap_or_default();
            let before = now.checked_sub(after).unwrap_or(SystemTime::UNIX_EPOCH);
            let page = directory.storage().scan(cursor, before, now).await?;
            for candidate in page.candidates {
                // One that can't be found or opened now may be next time.
                if let Ok(post) = directory.find(&candidate).await {
                    post.tell(Expire);
                }
            }
            if page.next.is_none() {
                directory.storage().note("last_seen", Some(now_secs.to_string())).await?;
            }
            Ok::<_, StorageError>(page.next)
        };
        context.spawn(work.into_actor(self).map(|next, reaper, context| {
            let next = next.unwrap_or_else(|error| {
                error!(reaper.directory.logger(), "store failed"; "error" => %error);
                None
            });
            let rest = if next.is_some() { BREATH } else { reaper.interval };
            context.run_later(rest, move |reaper, context| reaper.slice(next, context));
        }));
    }
}

impl Actor for Reaper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.slice(None, context);
    }
}
