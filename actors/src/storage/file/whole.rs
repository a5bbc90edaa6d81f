//! Creating an upload on disk together with all its bytes: one trip to the disk's threads where nothing need be durable, and
//! one round of syncs where it must be.

use std::{
    fs::File,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use rustix::fs::{Stat, fstat};

use super::{
    Shared,
    blob::FileBlob,
    layout::{self, Spot},
    transfer,
};
use crate::{
    Info,
    disk::Lane,
    storage::{Op, Opened, StorageError, Ticket, Whole, Written},
};

/// An upload whose bytes are there, as far as they could be stored, and whose `.info` is not.
struct Filled {
    /// What is to stand in it.
    info: Info,
    spot: Spot,
    data: File,
    stat: Stat,
    /// Why not all bytes are there.
    failure: Option<StorageError>,
}

impl Shared {
    /// Creates an upload with all its bytes, as durably as the settings ask.
    pub(super) fn create_whole(self: Arc<Self>, info: Info, data: Vec<Bytes>, ticket: Ticket) -> Op<Whole> {
        if self.is_durable() {
            return Box::pin(self.create_whole_durably(info, data, ticket));
        }
        let held = ticket.clone();
        self.job(Lane::Write, ticket, move |shared| {
            let filled = shared.fill(info, data)?;
            let written = shared.layout.write_first_info(&filled.info, &filled.spot);
            written.inspect_err(|_| shared.give_up(&filled.info, &filled.spot))?;
            let Filled { info, spot, data, stat, failure } = filled;
            Ok(shared.whole(info, spot, Arc::new(OnceLock::from(data)), &stat, failure, held))
        })
    }

    /// Makes the data file and writes the bytes. What an `.info` says of them is true from then on.
    fn fill(&self, mut info: Info, data: Vec<Bytes>) -> Result<Filled, StorageError> {
        let begun = self.begin(&mut info)?;
        let Written { len, failure } = transfer::write(&begun.data, 0, &data);
        // Given back before the rest is done, for others to use.
        drop(data);
        let stat = fstat(&begun.data).map_err(|error| StorageError::from_io("create", error.into()));
        let stat = stat.inspect_err(|_| self.give_up(&info, &begun.spot))?;
        let info = if failure.is_none() { info.into_finished(len) } else { info };
        Ok(Filled { info, spot: begun.spot, data: begun.data, stat, failure })
    }

    fn whole(
        self: &Arc<Self>,
        info: Info,
        spot: Spot,
        file: Arc<OnceLock<File>>,
        stat: &Stat,
        failure: Option<StorageError>,
        ticket: Ticket,
    ) -> Whole {
        let Some(error) = failure else { return Whole::Finished(Arc::new(layout::record(info, stat))) };
        let blob =
            Box::new(FileBlob { shared: Arc::clone(self), id: info.id.clone(), spot: Arc::new(spot), file, ticket });
        let (stored, changed) = (layout::size(stat), layout::modified(stat));
        Whole::Cut(Box::new(Opened { blob, info, stored, changed, record: None }), error)
    }

    /// The bytes become durable together with the `.info`, before that has its name.
    async fn create_whole_durably(
        self: Arc<Self>,
        info: Info,
        data: Vec<Bytes>,
        ticket: Ticket,
    ) -> Result<Whole, StorageError> {
        let filling = self.job(Lane::Write, ticket.clone(), move |shared| shared.fill(info, data));
        let Filled { info, spot, data, stat, failure } = filling.await?;
        let (file, what) = (Arc::new(OnceLock::from(data)), (info.clone(), spot.clone()));
        let (shared, bytes) = (Arc::clone(&self), Some(Arc::clone(&file)));
        if let Err(error) = shared.settle_info(Lane::Write, ticket.clone(), what, bytes, true).await {
            let undoing = self.job(Lane::Metadata, ticket, move |shared| {
                shared.undo(&info, &spot);
                Ok(())
            });
            // What is told is why it had to be undone.
            let _ = undoing.await;
            return Err(error);
        }
        Ok(self.whole(info, spot, file, &stat, failure, ticket))
    }
}
