//! Finds uploads whose time may have run out, a slice of the store at a time, and leaves the decision to their owners.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use slog::error;

use crate::{
    directory::Directory,
    post::{Gauge, Post, Receive, meter_of},
    receives_letters,
    storage::{ScanCursor, StorageError},
    upload::messages::Expire,
};

/// Between two slices of a round, so that a round over a million files leaves the disk to uploads.
const BREATH: Duration = Duration::from_millis(20);

/// Its messages are few, and none is refused.
const MAILBOX: usize = 16;

/// Looks for expired uploads. One runs, on the arbiter that started the service; it ends with that. It looks when its
/// rest is over, or when it is told that the settings may have changed; with expiry switched off it does nothing.
pub(crate) struct Reaper {
    directory: Arc<Directory>,
    rest: Option<SpawnHandle>,
    /// A round goes on.
    busy: bool,
}

/// Tells the reaper to look at the settings anew, and to begin a round. Sent by the facade, never answered.
pub(crate) struct Wake;

impl Reaper {
    pub(crate) fn run(directory: Arc<Directory>) -> Post<Self> {
        let gauge = Gauge::of(&meter_of::<Self>(MAILBOX));
        Post::new(Self { directory, rest: None, busy: false }.start(), gauge)
    }

    /// Begins a round, unless one goes on or none is wanted.
    fn begin(&mut self, context: &mut Context<Self>) {
        if let Some(rest) = self.rest.take() {
            context.cancel_future(rest);
        }
        if !self.busy && self.interval().is_some() {
            self.slice(None, context);
        }
    }

    /// How long to rest between two rounds; `None` while nothing expires, or nobody wants to look.
    fn interval(&self) -> Option<Duration> {
        self.directory.live().expire_interval().filter(|_| self.directory.clock().after().is_some())
    }

    fn slice(&mut self, cursor: Option<ScanCursor>, context: &mut Context<Self>) {
        self.busy = true;
        let directory = Arc::clone(&self.directory);
        let work = async move {
            let now_secs = directory.clock().now_secs();
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_secs);
            let Some(after) = directory.clock().after() else { return Ok(None) };
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
            reaper.go_on(next, context);
        }));
    }

    fn go_on(&mut self, next: Option<ScanCursor>, context: &mut Context<Self>) {
        if next.is_some() {
            context.run_later(BREATH, move |reaper, context| reaper.slice(next, context));
            return;
        }
        self.busy = false;
        if let Some(interval) = self.interval() {
            self.rest = Some(context.run_later(interval, |reaper, context| {
                reaper.rest = None;
                reaper.begin(context);
            }));
        }
    }
}

impl Actor for Reaper {
    type Context = Context<Self>;
}

receives_letters!(Reaper, "reaper", ["wake"]);

impl Receive<Wake> for Reaper {
    const MESSAGE: &'static str = "wake";

    fn receive(&mut self, _: Wake, context: &mut Self::Context) {
        self.begin(context);
    }
}
