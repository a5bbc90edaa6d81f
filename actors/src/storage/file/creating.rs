//! Creating an upload on disk.

use std::{
    fs::File,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use super::{
    Shared,
    blob::FileBlob,
    layout::{self, Layout, Spot},
    marker,
};
use crate::{
    Info,
    disk::Lane,
    storage::{Durability, ErrorKind, Op, Opened, StorageError, Ticket},
};

/// An upload that is being created.
pub(super) struct Begun {
    pub(super) spot: Spot,
    pub(super) data: File,
    changed: SystemTime,
}

impl Shared {
    /// Creates an upload without bytes, as durably as the settings ask.
    pub(super) fn create(self: Arc<Self>, mut info: Info, ticket: Ticket) -> Op<Opened> {
        if self.is_durable() {
            return Box::pin(self.create_durably(info, ticket));
        }
        let held = ticket.clone();
        self.job(Lane::Metadata, ticket, move |shared| {
            let begun = shared.begin(&mut info)?;
            let written = shared.layout.write_first_info(&info, &begun.spot);
            written.inspect_err(|_| shared.give_up(&info, &begun.spot))?;
            Ok(shared.created(info, begun, held))
        })
    }

    /// Makes an upload's data file, and what else must be there before its `.info`.
    pub(super) fn begin(&self, info: &mut Info) -> Result<Begun, StorageError> {
        let layout = &self.layout;
        let failed = |error| StorageError::from_io("create", error);
        let spot = layout.choose(info)?;
        let place = info.place.take().filter(|_| spot != Layout::usual(&info.id));
        info.place = place.map(|place| layout.absolute(&place));
        // Otherwise it turns out when the `.info` is written, and nothing has come of it until then.
        let must_be_known = self.is_durable() || info.is_final();
        if must_be_known && layout.main().stat(&layout::info_path(&info.id)).is_ok() {
            return Err(StorageError::new(ErrorKind::Exists, "create", "the id has an info already"));
        }
        let data = layout.tree(&spot).create(&spot.path, layout.file_mode, layout.directory_mode).map_err(failed)?;
        let prepare = || {
            layout.unmark_stale(&info.id)?;
            if info.is_final() {
                let marker = marker::waiting(&info.id);
                layout.replace(&marker, b"", false)?;
                if self.is_durable() {
                    layout.main().sync_names(&marker)?;
                }
            }
            Ok(())
        };
        prepare().map_err(failed).inspect_err(|_| self.give_up(info, &spot))?;
        Ok(Begun { spot, data: data.into(), changed: SystemTime::now() })
    }

    /// The id must not stay taken by an upload that nobody got. What can't be removed now stays unseen.
    pub(super) fn undo(&self, info: &Info, spot: &Spot) {
        let _ = self.layout.main().remove(&layout::info_path(&info.id));
        self.give_up(info, spot);
    }

    /// The same before there is an `.info`: one of that name would be another's.
    pub(super) fn give_up(&self, info: &Info, spot: &Spot) {
        if info.is_final() {
            let _ = self.layout.main().remove(&marker::waiting(&info.id));
        }
        let _ = self.layout.tree(spot).remove(&spot.path);
    }

    fn created(self: &Arc<Self>, info: Info, begun: Begun, ticket: Ticket) -> Opened {
        let Begun { spot, data, changed } = begun;
        let file = Arc::new(OnceLock::from(data));
        let blob = FileBlob { shared: Arc::clone(self), id: info.id.clone(), spot: Arc::new(spot), file, ticket };
        Opened { blob: Box::new(blob), info, stored: 0, changed, record: None }
    }

    /// Creates an upload that is there after a crash as well, as the settings ask.
    async fn create_durably(self: Arc<Self>, mut info: Info, ticket: Ticket) -> Result<Opened, StorageError> {
        let beginning = self.job(Lane::Metadata, ticket.clone(), move |shared| {
            let begun = shared.begin(&mut info)?;
            Ok((info, begun))
        });
        let (info, begun) = beginning.await?;
        let what = (info.clone(), begun.spot.clone());
        let with_names = self.layout.durability == Durability::Always;
        let settling = Arc::clone(&self).settle_info(Lane::Metadata, ticket.clone(), what, None, with_names);
        if let Err(error) = settling.await {
            let undoing = self.job(Lane::Metadata, ticket, move |shared| {
                shared.undo(&info, &begun.spot);
                Ok(())
            });
            // What is told is why it had to be undone.
            let _ = undoing.await;
            return Err(error);
        }
        Ok(self.created(info, begun, ticket))
    }
}
