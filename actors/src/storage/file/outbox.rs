//! What the application is still to be told of, a file each in `.wharf/outbox`, which nobody but wharf's own user may
//! read: requests stand in it as they came.

use std::{io, sync::Arc};

use bytes::Bytes;
use rustix::{
    fs::{Dir, fsync},
    io::Errno,
};

use super::{Shared, layout::Layout};
use crate::{
    disk::{Lane, Target},
    storage::{Op, OutboxStore, StorageError, Ticket},
};

/// Where they lie.
pub(super) const OUTBOX: &str = ".wharf/outbox";

/// The outbox of a storage directory.
pub(super) struct FileOutbox(pub(super) Arc<Shared>);

fn path(name: &str) -> String {
    format!("{OUTBOX}/{name}")
}

/// A file that is none of ours, or that an editor left.
fn is_event(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |error| StorageError::from_io(action, error)
}

impl OutboxStore for FileOutbox {
    fn put(&self, name: String, content: Bytes) -> Op<()> {
        let shared = Arc::clone(&self.0);
        if !shared.is_durable() {
            return shared.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
                let draft = shared.layout.draft_private(path(&name), &content).map_err(failed("note an event"))?;
                shared.layout.place(&draft).map_err(failed("note an event"))
            });
        }
        Box::pin(shared.put_durably(name, content))
    }

    fn read(&self, name: String) -> Op<Option<Bytes>> {
        self.0.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            let content = shared.layout.read_own(&path(&name)).map_err(failed("read an event"))?;
            Ok(content.map(Bytes::from))
        })
    }

    fn remove(&self, name: String) -> Op<()> {
        self.0.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            // Not durably: what comes back after a power cut is delivered once more, and known by its name.
            shared.layout.main().remove(&path(&name)).map(drop).map_err(failed("remove an event"))
        })
    }

    fn list(&self, after: String, limit: usize) -> Op<Vec<String>> {
        self.0.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            names(&shared.layout, &after, limit).map_err(failed("list the outbox"))
        })
    }
}

fn names(layout: &Layout, after: &str, limit: usize) -> io::Result<Vec<String>> {
    let listing = match layout.main().directory(OUTBOX) {
        Ok(opened) => Dir::new(opened)?,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_str().ok().filter(|name| is_event(name) && *name > after);
        names.extend(name.map(str::to_owned));
    }
    names.sort_unstable();
    names.truncate(limit);
    Ok(names)
}

impl Shared {
    /// The bytes first, then the name: each sync is shared with whoever waits for the same.
    async fn put_durably(self: Arc<Self>, name: String, content: Bytes) -> Result<(), StorageError> {
        let place = path(&name);
        let coming = self.disk.will_commit();
        let draft = self.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            shared.layout.draft_private(place, &content).map_err(failed("note an event"))
        });
        let draft = draft.await?;
        let written = Arc::clone(&draft.file);
        let volume = Some(Arc::clone(&self.volume));
        let alone = Box::new(move || Ok(fsync(&*written)?));
        let target = Target { alone, syncs: 1, volume: volume.clone() };
        let durable = self.disk.commit(Ticket::unwatched(), target, coming).await;
        let coming = self.disk.will_commit();
        let placing = self.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            durable.inspect_err(|_| shared.layout.discard(&draft))?;
            shared.layout.place(&draft).map_err(failed("note an event"))
        });
        placing.await?;
        let shared = Arc::clone(&self);
        let alone = Box::new(move || shared.layout.main().sync_names(&path(&name)));
        self.disk.commit(Ticket::unwatched(), Target { alone, syncs: 1, volume }, coming).await
    }
}
