//! One upload on disk, in the hands of its owner.

use std::{
    fs::File,
    io, mem,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use bytes::Bytes;
use rustix::fs::{fdatasync, fstat, ftruncate};

use super::{
    Shared, draw,
    layout::{self, Spot},
    marker, transfer,
};
use crate::{
    Info, Record, UploadId,
    disk::{Lane, Target},
    storage::{Blob, Durability, ErrorKind, LastWrite, Op, StorageError, Tap, Ticket, Written},
};

/// How much of a concatenation is one job: a long one must not keep a thread from those who write.
const SLICE: u64 = 128 << 20;

/// The bytes and the `.info` of one upload.
#[derive(Clone)]
pub(super) struct FileBlob {
    pub(super) shared: Arc<Shared>,
    pub(super) id: UploadId,
    pub(super) spot: Arc<Spot>,
    /// The data file, opened by the first operation that needs it.
    pub(super) file: Arc<OnceLock<File>>,
    pub(super) ticket: Ticket,
}

impl FileBlob {
    /// The data file, opened now unless it is open.
    fn data(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.shared.layout.open_data(&self.spot)?;
        Ok(self.file.get_or_init(|| file))
    }

    /// Runs a job on the disk pool that has this upload.
    fn job<T: Send + 'static>(
        &self,
        lane: Lane,
        job: impl FnOnce(&Self) -> Result<T, StorageError> + Send + 'static,
    ) -> Op<T> {
        let blob = self.clone();
        self.shared.disk.run(lane, self.ticket.clone(), move || job(&blob))
    }

    /// A job that can only fail by an error of the system.
    fn system_job<T: Send + 'static>(
        &self,
        lane: Lane,
        action: &'static str,
        job: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Op<T> {
        self.job(lane, move |blob| job(blob).map_err(|error| StorageError::from_io(action, error)))
    }

    fn is_synced_always(&self) -> bool {
        self.shared.layout.durability == Durability::Always
    }

    fn remove(&self) -> io::Result<()> {
        let layout = &self.shared.layout;
        layout.tree(&self.spot).remove(&self.spot.path)?;
        layout.main().remove(&layout::info_path(&self.id))?;
        layout.main().remove(&marker::staged(&self.id)).inspect_err(|_| {
            layout.has_stale_markers.store(true, Ordering::Release);
        })?;
        layout.main().remove(&marker::waiting(&self.id))?;
        if self.is_synced_always() { layout.sync_names(&self.id, &self.spot) } else { Ok(()) }
    }

    fn store(&self, at: u64, data: &[Bytes]) -> Written {
        match self.data() {
            Ok(file) => transfer::write(file, at, data),
            Err(error) => Written { len: 0, failure: Some(StorageError::from_io("open to write", error)) },
        }
    }

    /// Finishes where nothing need be durable.
    fn complete(&self, info: Info) -> Result<Record, StorageError> {
        self.shared.layout.write_info(&info, &self.spot)?;
        self.describe(info)
    }

    /// What readers get of an upload whose `.info` says that it is finished.
    fn describe(&self, info: Info) -> Result<Record, StorageError> {
        let layout = &self.shared.layout;
        let failed = |error: io::Error| StorageError::from_io("finish", error);
        let file = self.data().map_err(failed)?;
        if info.is_final() {
            layout.main().remove(&marker::waiting(&self.id)).map_err(failed)?;
        }
        let stat = fstat(file).map_err(|error| failed(error.into()))?;
        Ok(layout::record(info, &stat))
    }

    /// Opens a finished upload to be copied from.
    fn open_partial(&self, partial: &UploadId) -> Result<(File, u64), StorageError> {
        let layout = &self.shared.layout;
        let found = layout.find(partial)?;
        let Some(length) = self.shared.finished(&found)? else {
            return Err(StorageError::new(ErrorKind::Failed, "concatenate", "a partial upload is not finished"));
        };
        let file = layout
            .open_regular(&found.spot, rustix::fs::OFlags::RDONLY)
            .map_err(|error| layout::lookup("open a partial upload", error))?;
        Ok((file, length))
    }

    /// Appends the bytes of the finished uploads to the empty data file.
    async fn copy_all(&self, partials: Vec<UploadId>) -> Result<u64, StorageError> {
        let mut total = 0;
        for partial in partials {
            let (file, length) = self.job(Lane::Write, move |blob| blob.open_partial(&partial)).await?;
            let file = Arc::new(file);
            let mut done = 0;
            while done < length {
                let slice = SLICE.min(length - done);
                let (from, at, to_at) = (Arc::clone(&file), done, total + done);
                let copy = move |blob: &Self| transfer::copy(&from, at, blob.data()?, to_at, slice);
                self.system_job(Lane::Write, "concatenate", copy).await?;
                done += slice;
            }
            total += length;
        }
        Ok(total)
    }
}

impl Blob for FileBlob {
    fn write(&mut self, at: u64, data: Vec<Bytes>) -> Op<Written> {
        // What is written is synced next, when each offset must be durable.
        let coming = self.is_synced_always().then(|| self.shared.disk.will_commit());
        self.job(Lane::Write, move |blob| {
            let written = blob.store(at, &data);
            drop(coming);
            Ok(written)
        })
    }

    fn write_last(&mut self, at: u64, data: Vec<Bytes>, info: Info) -> Op<LastWrite> {
        self.job(Lane::Write, move |blob| {
            let written = blob.store(at, &data);
            // Given back before the rest is done, for others to use.
            drop(data);
            let record = written.failure.is_none().then(|| blob.complete(info));
            Ok(LastWrite { written, record })
        })
    }

    fn draw(&mut self, at: u64, tap: Tap) -> Op<Written> {
        let coming = self.is_synced_always().then(|| self.shared.disk.will_commit());
        self.job(Lane::Write, move |blob| {
            let written = match blob.data() {
                Ok(file) => draw::draw(file, at, &tap),
                Err(error) => Written { len: 0, failure: Some(StorageError::from_io("open to write", error)) },
            };
            // Nobody else may read from the socket while this is held.
            drop(tap);
            drop(coming);
            Ok(written)
        })
    }

    fn sync(&mut self) -> Op<()> {
        let (blob, coming) = (self.clone(), self.shared.disk.will_commit());
        Box::pin(async move {
            if blob.file.get().is_none() {
                // Bytes written before a rest belong to the file, whoever syncs it.
                blob.system_job(Lane::Metadata, "open to sync", |blob| blob.data().map(|_| ())).await?;
            }
            // Another file system may be mounted beneath the directory; a sync of this one would not reach it.
            let device = blob.file.get().and_then(|file| fstat(file).ok()).map(|stat| stat.st_dev);
            let volume = (device == Some(blob.shared.device)).then(|| Arc::clone(&blob.shared.volume));
            let target = Target::file(Arc::clone(&blob.file), volume);
            blob.shared.disk.commit(blob.ticket.clone(), target, coming).await
        })
    }

    fn cut(&mut self, to: u64) -> Op<()> {
        self.system_job(Lane::Write, "cut", move |blob| layout::shorten(blob.data()?, to))
    }

    fn stage(&mut self, base: u64) -> Op<()> {
        self.system_job(Lane::Metadata, "mark tentative bytes", move |blob| {
            let marker = marker::staged(&blob.id);
            blob.shared.layout.replace(&marker, base.to_string().as_bytes(), blob.is_synced_always())?;
            if blob.is_synced_always() { blob.shared.layout.main().sync_names(&marker) } else { Ok(()) }
        })
    }

    fn keep(&mut self) -> Op<()> {
        let durable = self.is_synced_always().then(|| self.sync());
        let unmark =
            self.system_job(Lane::Metadata, "keep tentative bytes", |blob| blob.shared.layout.unmark(&blob.id));
        Box::pin(async move {
            if let Some(durable) = durable {
                durable.await?;
            }
            unmark.await
        })
    }

    fn discard(&mut self, base: u64) -> Op<()> {
        self.system_job(Lane::Write, "discard tentative bytes", move |blob| {
            let file = blob.data()?;
            layout::shorten(file, base)?;
            if blob.is_synced_always() {
                fdatasync(file)?;
            }
            blob.shared.layout.unmark(&blob.id)
        })
    }

    fn save(&mut self, info: Info) -> Op<()> {
        if !self.shared.is_durable() {
            return self.job(Lane::Metadata, move |blob| blob.shared.layout.write_info(&info, &blob.spot));
        }
        let (shared, ticket, with_names) = (Arc::clone(&self.shared), self.ticket.clone(), self.is_synced_always());
        Box::pin(shared.settle_info(Lane::Metadata, ticket, (info, Spot::clone(&self.spot)), None, with_names))
    }

    fn finish(&mut self, info: Info) -> Op<Record> {
        if !self.shared.is_durable() {
            return self.job(Lane::Write, move |blob| blob.complete(info));
        }
        let blob = self.clone();
        Box::pin(async move {
            blob.system_job(Lane::Write, "finish", |blob| blob.data().map(|_| ())).await?;
            let (shared, ticket, bytes) = (Arc::clone(&blob.shared), blob.ticket.clone(), Arc::clone(&blob.file));
            let what = (info.clone(), Spot::clone(&blob.spot));
            shared.settle_info(Lane::Write, ticket, what, Some(bytes), true).await?;
            blob.job(Lane::Write, move |blob| blob.describe(info)).await
        })
    }

    fn concatenate(&mut self, partials: Vec<UploadId>) -> Op<u64> {
        let blob = self.clone();
        let clear = |blob: &Self| Ok(ftruncate(blob.data()?, 0)?);
        Box::pin(async move {
            blob.system_job(Lane::Write, "concatenate", clear).await?;
            let copied = blob.copy_all(partials).await;
            if copied.is_err() {
                // A full disk would stay full of a copy that nobody can use. The next call clears it anyway.
                let _ = blob.system_job(Lane::Write, "concatenate", clear).await;
            }
            copied
        })
    }

    // Nothing of it takes long.
    fn give_up(&mut self) {}

    fn delete(&mut self) -> Op<()> {
        self.rest();
        self.system_job(Lane::Metadata, "delete", Self::remove)
    }

    fn rest(&mut self) {
        // Operations under way keep the old cell, and close the file with their end.
        drop(mem::take(&mut self.file));
    }
}
