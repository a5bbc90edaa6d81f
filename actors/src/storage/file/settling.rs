//! Making what is known of an upload durable, together with whoever else waits for the same: what an `.info` takes by itself
//! (a sync before its name, so that no crash leaves the name of something half written, and one behind) is shared by all
//! who wait.

use std::{
    fs::File,
    sync::{Arc, OnceLock},
};

use rustix::fs::fsync;

use super::{
    Shared,
    layout::{Layout, Spot},
};
use crate::{
    Info, UploadId,
    disk::{Coming, Lane, Target, sync},
    storage::{Durability, StorageError, Ticket},
};

impl Shared {
    /// Replaces what is known of an upload whose bytes are at `spot`, after `bytes` are durable, as durably as the settings
    /// ask. Whoever drops this leaves a file in the workshop, which goes at the next start.
    pub(super) async fn settle_info(
        self: Arc<Self>,
        lane: Lane,
        ticket: Ticket,
        (info, spot): (Info, Spot),
        bytes: Option<Arc<OnceLock<File>>>,
        with_names: bool,
    ) -> Result<(), StorageError> {
        let (id, place) = (info.id.clone(), spot.clone());
        let coming = self.disk.will_commit();
        let draft = self.job(lane, ticket.clone(), move |shared| shared.layout.draft_info(&info, &spot)).await?;
        let written = Arc::clone(&draft.file);
        let syncs = 1 + u64::from(bytes.is_some());
        let alone = move || {
            bytes.as_ref().and_then(|bytes| bytes.get()).map_or(Ok(()), sync)?;
            Ok(fsync(&*written)?)
        };
        let volume = Some(Arc::clone(&self.volume)).filter(|_| Layout::usual(&id) == place);
        let durable = self.disk.commit(ticket.clone(), Target { alone: Box::new(alone), syncs, volume }, coming).await;
        let coming = with_names.then(|| self.disk.will_commit());
        let placing = self.job(lane, ticket.clone(), move |shared| {
            durable.inspect_err(|_| shared.layout.discard(&draft))?;
            shared.layout.place(&draft).map_err(|error| StorageError::from_io("write the info", error))
        });
        placing.await?;
        match coming {
            Some(coming) => self.settle_names(ticket, id, place, coming).await,
            None => Ok(()),
        }
    }

    /// Makes the names of an upload's files durable.
    pub(super) async fn settle_names(
        self: Arc<Self>,
        ticket: Ticket,
        id: UploadId,
        spot: Spot,
        coming: Coming,
    ) -> Result<(), StorageError> {
        let volume = Some(Arc::clone(&self.volume)).filter(|_| Layout::usual(&id) == spot);
        // A directory each, from the file's own up.
        let syncs = 1 + id.as_str().matches('/').count() as u64;
        let shared = Arc::clone(&self);
        let alone = move || shared.layout.sync_names(&id, &spot);
        self.disk.commit(ticket, Target { alone: Box::new(alone), syncs, volume }, coming).await
    }

    pub(super) fn is_durable(&self) -> bool {
        self.layout.durability != Durability::None
    }
}
