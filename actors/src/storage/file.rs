//! Uploads on local disk, in tusd's layout: `<id>` holds the bytes, `<id>.info` what is known of them.
//!
//! The offset of an upload is the size of its data file and nothing else. tusd's `.lock` and `.stop` files are ignored:
//! one lock on the whole directory keeps a second wharf away.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::SystemTime,
};

use bytes::Bytes;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, fstat},
    io::Errno,
};

use self::{
    beneath::Beneath,
    blob::FileBlob,
    layout::{Found, Layout, Root},
    outbox::FileOutbox,
    scan::Walk,
};
use super::{
    Durability, Op, Opened, OutboxStore, Reader, ScanCursor, ScanPage, Sent, Sighting, Storage, StorageError,
    StorePage, StoreReport, StoreTuning, Ticket, Wait, Whole,
};
use crate::{
    Info, Record, UploadId,
    disk::{Disk, Lane},
    post::MailboxReport,
};

mod beneath;
mod blob;
mod creating;
mod draw;
mod layout;
mod list;
mod marker;
mod outbox;
mod scan;
mod settling;
mod transfer;
mod whole;

/// The most final uploads that are taken up again after a start; more are found in later starts.
const MOST_WAITING_FINALS: usize = 100_000;

/// Where and how uploads are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// The storage directory. It is made if it is missing.
    pub dir: PathBuf,
    /// What must be on stable storage when.
    pub durability: Durability,
    /// The mode of new files, before the umask.
    pub file_mode: u32,
    /// The mode of new directories, before the umask.
    pub dir_mode: u32,
    /// Further directories in which an `.info`, or a hook, may place an upload's bytes.
    pub roots: Vec<PathBuf>,
    /// How many directory entries one slice of a scan looks at.
    pub scan_entries: usize,
}

/// Why a storage directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be made, opened or prepared.
    #[error("cannot use the storage directory {}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel, or the sandbox around this process, lacks the call that keeps paths inside the directory.
    #[error("cannot keep paths inside {}: openat2 (Linux 5.6) is missing or forbidden here", path.display())]
    Unguarded {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("another wharf uses {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// The disk store. Its lock on the directory is held until it and all its uploads' handles are gone.
pub struct FileStore {
    shared: Arc<Shared>,
}

/// What the store and the uploads' handles have in common.
struct Shared {
    layout: Layout,
    disk: Arc<Disk>,
    /// For syncs of the whole file system.
    volume: Arc<OwnedFd>,
    /// The number of that file system.
    device: u64,
    scan_entries: usize,
    _lock: OwnedFd,
}

/// The store as the service uses it. In builds for tests its operations can be made to fail, by a control file.
///
/// # Errors
/// As [`FileStore::open`].
pub fn open(config: Config, disk: Arc<Disk>) -> Result<Arc<dyn Storage>, OpenError> {
    Ok(super::in_service(FileStore::open(config, disk)?))
}

impl FileStore {
    /// Takes hold of a storage directory, and removes what an interrupted predecessor left half written.
    ///
    /// # Errors
    /// When the directory can't be used, or another process uses it.
    pub fn open(config: Config, disk: Arc<Disk>) -> Result<Self, OpenError> {
        let Config { dir, durability, file_mode, dir_mode, roots, scan_entries } = config;
        let unusable = |source| OpenError::Unusable { path: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(dir_mode).create(&dir).map_err(unusable)?;
        let mut opened = vec![open_root(&dir)?];
        for root in roots {
            opened.push(open_root(&root)?);
        }
        let lock = prepare(&opened[0].beneath, Mode::from_raw_mode(dir_mode)).map_err(unusable)?;
        let lock = lock.ok_or_else(|| OpenError::Locked { path: dir.clone() })?;
        let layout = Layout {
            workshop: opened[0].beneath.inner(layout::WORKSHOP).map_err(unusable)?,
            directory: opened[0].names[0].clone(),
            roots: opened,
            durability,
            file_mode: Mode::from_raw_mode(file_mode),
            directory_mode: Mode::from_raw_mode(dir_mode),
            temporaries: AtomicU64::new(0),
            has_stale_markers: AtomicBool::new(false),
        };
        layout.sweep().map_err(unusable)?;
        let volume = layout.main().directory(".").map_err(unusable)?;
        let device = fstat(&volume).map_err(|error| unusable(error.into()))?.st_dev;
        let volume = Arc::new(volume);
        Ok(Self { shared: Arc::new(Shared { layout, disk, volume, device, scan_entries, _lock: lock }) })
    }

    /// The disk pool it works on.
    #[must_use]
    pub fn disk(&self) -> &Arc<Disk> {
        &self.shared.disk
    }

    /// The storage directory's absolute name, without links.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.layout.directory
    }
}

/// Opens a directory and gathers the names under which paths may mention it, the true one first.
fn open_root(path: &Path) -> Result<Root, OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let mut names = vec![fs::canonicalize(path).map_err(unusable)?, std::path::absolute(path).map_err(unusable)?];
    names.dedup();
    let beneath = Beneath::open(path).map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::NOSYS | Errno::PERM) => OpenError::Unguarded { path: path.to_owned() },
        _ => unusable(source),
    })?;
    Ok(Root::new(names, beneath))
}

/// Makes wharf's own directories and takes the lock; `None` when another process has it.
fn prepare(main: &Beneath, mode: Mode) -> io::Result<Option<OwnedFd>> {
    for directory in [layout::WORKSHOP, marker::STAGED, marker::FINALS, outbox::OUTBOX] {
        main.make_directory(directory, mode)?;
    }
    let flags = OFlags::RDWR | OFlags::CREATE;
    let lock = main.file(".wharf/lock", flags, Mode::RUSR | Mode::WUSR)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Shared {
    /// Runs a job on the disk pool that has the store.
    fn job<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        ticket: Ticket,
        job: impl FnOnce(&Arc<Self>) -> Result<T, StorageError> + Send + 'static,
    ) -> Op<T> {
        let shared = Arc::clone(self);
        self.disk.run(lane, ticket, move || job(&shared))
    }

    /// The length of an upload if it is finished. Tentative bytes don't count.
    fn finished(&self, found: &Found) -> Result<Option<u64>, StorageError> {
        let stored = self.counted(found)?;
        Ok(found.info.is_finished(stored).then_some(stored))
    }

    /// How many bytes of an upload count.
    fn counted(&self, found: &Found) -> Result<u64, StorageError> {
        let base = self.layout.staged_base(&found.info.id);
        let base = base.map_err(|error| StorageError::from_io("look for tentative bytes", error))?;
        let size = layout::size(&found.stat);
        Ok(base.map_or(size, |base| size.min(base)))
    }

    fn open(self: &Arc<Self>, id: &UploadId, ticket: Ticket) -> Result<Opened, StorageError> {
        let mut found = self.layout.find(id)?;
        self.layout.recover(&mut found)?;
        let Found { info, spot, stat } = found;
        let stored = layout::size(&stat);
        let record = info.is_finished(stored).then(|| layout::record(info.clone(), &stat));
        let file = Arc::new(OnceLock::new());
        let blob = Box::new(FileBlob { shared: Arc::clone(self), id: id.clone(), spot: Arc::new(spot), file, ticket });
        Ok(Opened { blob, info, stored, changed: layout::modified(&stat), record })
    }
}

impl Storage for FileStore {
    fn create(&self, info: Info, ticket: Ticket) -> Op<Opened> {
        Arc::clone(&self.shared).create(info, ticket)
    }

    fn create_whole(&self, info: Info, data: Vec<Bytes>, ticket: Ticket) -> Op<Whole> {
        Arc::clone(&self.shared).create_whole(info, data, ticket)
    }

    fn creates_whole(&self) -> bool {
        true
    }

    fn open(&self, id: &UploadId, ticket: Ticket) -> Op<Opened> {
        let (id, held) = (id.clone(), ticket.clone());
        let found = self.shared.job(Lane::Metadata, ticket, move |shared| shared.open(&id, held));
        if self.shared.layout.durability == Durability::None {
            return found;
        }
        // What a predecessor wrote and did not sync must not be acknowledged, or count for a finished upload, before it
        // is as durable as what this run writes.
        Box::pin(async move {
            let mut opened = found.await?;
            if opened.record.is_none() && opened.stored > 0 {
                opened.blob.sync().await?;
            }
            Ok(opened)
        })
    }

    fn finished_length(&self, id: &UploadId) -> Op<Option<u64>> {
        let id = id.clone();
        self.shared.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            let found = shared.layout.find(&id)?;
            shared.finished(&found)
        })
    }

    fn reader(&self, record: &Record) -> Op<Box<dyn Reader>> {
        let (id, place) = (record.info.id.clone(), record.info.place.clone());
        self.shared.job(Lane::Read, Ticket::unwatched(), move |shared| {
            let file = shared
                .layout
                .open_placed(&id, place.as_deref())
                .map_err(|error| layout::lookup("open to read", error))?;
            Ok(Box::new(FileReader { disk: Arc::clone(&shared.disk), file: Arc::new(file) }) as Box<dyn Reader>)
        })
    }

    fn waiting_finals(&self) -> Op<Vec<UploadId>> {
        self.shared.job(Lane::Metadata, Ticket::unwatched(), |shared| {
            scan::waiting_finals(&shared.layout, MOST_WAITING_FINALS)
                .map_err(|error| StorageError::from_io("list waiting finals", error))
        })
    }

    fn scan(&self, cursor: Option<ScanCursor>, before: SystemTime, now: SystemTime) -> Op<ScanPage> {
        self.shared.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            let failed = |error| StorageError::from_io("scan", error);
            let mut walk = match cursor.and_then(|ScanCursor(walk)| walk.downcast::<Walk>().ok()) {
                Some(walk) => walk,
                None => Box::new(Walk::start(&shared.layout).map_err(failed)?),
            };
            let mut candidates = Vec::new();
            let more = walk.go_on(&shared.layout, shared.scan_entries, before, now, &mut candidates).map_err(failed)?;
            Ok(ScanPage { candidates, next: more.then_some(ScanCursor(walk)) })
        })
    }

    fn note(&self, name: &'static str, value: Option<String>) -> Op<Option<String>> {
        self.shared.job(Lane::Metadata, Ticket::unwatched(), move |shared| {
            let path = format!(".wharf/{name}");
            let note = || {
                let previous = shared.layout.read_own(&path)?;
                if let Some(value) = value {
                    let durable = shared.layout.durability != Durability::None;
                    shared.layout.replace(&path, value.as_bytes(), durable)?;
                }
                Ok(previous)
            };
            note().map_err(|error| StorageError::from_io("keep a note", error))
        })
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(FileOutbox(Arc::clone(&self.shared)))
    }

    fn places(&self, info: &Info) -> BTreeMap<String, String> {
        self.shared.layout.places(info)
    }

    fn look(&self, id: &UploadId) -> Op<Sighting> {
        let id = id.clone();
        self.shared.job(Lane::Metadata, Ticket::unwatched(), move |shared| shared.look(&id))
    }

    fn list(&self, after: Option<String>, limit: usize) -> Op<StorePage> {
        Box::pin(Arc::clone(&self.shared).list(after.unwrap_or_default(), limit))
    }

    fn reachable(&self) -> Op<()> {
        // In the lane that every new upload needs: a disk that hangs is not reachable.
        self.shared.job(Lane::Metadata, Ticket::unwatched(), |shared| {
            let looked = shared.layout.main().stat(".wharf/lock").map(|_| ());
            looked.map_err(|error| StorageError::from_io("look at the storage directory", error))
        })
    }

    fn finishes_with_write(&self) -> bool {
        // What must be durable takes more than one trip.
        !self.shared.is_durable()
    }

    fn draws(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "disk"
    }

    fn report(&self) -> StoreReport {
        let disk = &self.shared.disk;
        let gauges = disk.gauges();
        StoreReport {
            kinds: gauges.iter().map(|gauge| gauge.kind().report()).collect(),
            mailboxes: gauges.iter().map(|gauge| MailboxReport::of(gauge, String::new())).collect(),
            pools: disk.report(),
            ..StoreReport::default()
        }
    }

    fn waits(&self) -> Vec<Wait> {
        self.shared.disk.gauges().iter().map(|gauge| Wait::of(gauge)).collect()
    }

    fn tune(&self, tuning: &StoreTuning) -> Result<(), StorageError> {
        let resized = self.shared.disk.resize(tuning.disk_workers, tuning.disk_queue);
        resized.map_err(|error| StorageError::from_io("start a disk thread", error))
    }
}

/// A finished upload's bytes. The open file keeps them readable after a delete.
struct FileReader {
    disk: Arc<Disk>,
    file: Arc<fs::File>,
}

impl Reader for FileReader {
    fn read(&mut self, at: u64, len: usize) -> Op<Bytes> {
        let file = Arc::clone(&self.file);
        self.disk.run(Lane::Read, Ticket::unwatched(), move || {
            transfer::read(&file, at, len).map_err(|error| StorageError::from_io("read", error))
        })
    }

    fn can_send(&self) -> bool {
        true
    }

    fn send(&mut self, socket: Arc<OwnedFd>, at: u64, len: usize) -> Op<Sent> {
        let file = Arc::clone(&self.file);
        self.disk.run(Lane::Read, Ticket::unwatched(), move || {
            transfer::send(&file, at, &socket, len).map_err(|error| StorageError::from_io("send", error))
        })
    }
}

#[cfg(test)]
mod tests;
