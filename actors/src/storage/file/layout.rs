//! Where everything lies in the storage directory, and how it is found and replaced there. Blocking; runs on the disk
//! pool's threads.
//!
//! What is wharf's alone lies under `.wharf`: `lock`, the service's notes, `tmp` (files on their way to their name),
//! `staged` (a marker per upload with tentative bytes, holding the offset they begin at), `finals` (one empty file
//! per final upload that is not concatenated yet) and `outbox` (what the application is still to be told of).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat, fdatasync, fstat, fsync, ftruncate, unlinkat},
    io::Errno,
};

use super::{beneath::Beneath, marker};
use crate::{
    Info, Record, UploadId,
    storage::{
        Durability, ErrorKind, StorageError,
        info_json::{self, Places},
    },
};

/// The largest `.info` that is read. Metadata comes in a request's head, so a real one is far smaller.
const MAX_INFO_BYTES: u64 = 16 << 20;

/// A directory in which bytes may lie, by all names it is known by.
pub(super) struct Root {
    pub(super) names: Vec<PathBuf>,
    /// The first of them as it stands in `.info` files, with a slash behind it.
    pub(super) written: String,
    pub(super) beneath: Beneath,
}

impl Root {
    pub(super) fn new(names: Vec<PathBuf>, beneath: Beneath) -> Self {
        let mut written = names.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !written.ends_with('/') {
            written.push('/');
        }
        Self { names, written, beneath }
    }

    /// What `path` is called in `.info` files.
    fn written(&self, path: &str) -> String {
        [&self.written, path].concat()
    }
}

/// Where bytes lie: a path beneath the storage directory (root 0) or beneath another root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) root: usize,
    pub(super) path: String,
}

/// An upload that is there, with its bytes.
pub(super) struct Found {
    pub(super) info: Info,
    pub(super) spot: Spot,
    pub(super) stat: Stat,
}

/// A file that is written, and has no name yet that anybody knows.
pub(super) struct Draft {
    /// Its name in the workshop.
    name: String,
    /// What it is to be called.
    path: String,
    /// The workshop it lies in, unless that is the one which is held open.
    workshop: Option<Beneath>,
    pub(super) file: Arc<File>,
}

/// The storage directory.
pub(super) struct Layout {
    /// Its absolute name without links, as it stands in `.info` files.
    pub(super) directory: PathBuf,
    /// The storage directory first, then the other roots.
    pub(super) roots: Vec<Root>,
    pub(super) durability: Durability,
    pub(super) file_mode: Mode,
    pub(super) directory_mode: Mode,
    pub(super) temporaries: AtomicU64,
    /// `.wharf/tmp`, where files are written that then take a name at once.
    pub(super) workshop: Beneath,
    /// Whether `.wharf/staged` may hold a marker of an upload that is gone. Only a crash or a failed delete leaves one.
    pub(super) has_stale_markers: AtomicBool,
}

/// The name of the workshop.
pub(super) const WORKSHOP: &str = ".wharf/tmp";

impl Layout {
    /// The storage directory's own tree.
    pub(super) fn main(&self) -> &Beneath {
        &self.roots[0].beneath
    }

    /// The tree that a spot is in.
    pub(super) fn tree(&self, spot: &Spot) -> &Beneath {
        &self.roots[spot.root].beneath
    }

    /// Where bytes lie unless something else is said.
    pub(super) fn usual(id: &UploadId) -> Spot {
        Spot { root: 0, path: id.as_str().to_owned() }
    }

    /// The spots that a path may mean; none when it leads outside, or to what isn't an upload's bytes.
    fn spots(&self, place: &str) -> Vec<Spot> {
        let place = PathBuf::from(self.absolute(place));
        let mut spots = Vec::new();
        for (root, name) in
            self.roots.iter().enumerate().flat_map(|(at, root)| root.names.iter().map(move |name| (at, name)))
        {
            let Some(path) = place.strip_prefix(name).ok().and_then(Path::to_str) else { continue };
            let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            let kept = path.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(".wharf"));
            let spot = Spot { root, path: path.to_owned() };
            if plain && !kept && !path.is_empty() && !path.ends_with(".info") && !spots.contains(&spot) {
                spots.push(spot);
            }
        }
        spots
    }

    /// A place as it stands in `.info` files: a relative one is meant from the storage directory on.
    pub(super) fn absolute(&self, place: &str) -> String {
        self.directory.join(place).to_string_lossy().into_owned()
    }

    /// Where an upload lies, as its `.info` says. `Info::place` is what `find` or `create` made of it.
    pub(super) fn places(&self, info: &Info) -> BTreeMap<String, String> {
        let path = self.absolute(info.place.as_deref().unwrap_or(info.id.as_str()));
        let places =
            [("InfoPath", self.absolute(&info_path(&info.id))), ("Path", path), ("Type", "filestore".to_owned())];
        places.map(|(key, place)| (key.to_owned(), place)).into()
    }

    /// Where the bytes of a new upload go.
    pub(super) fn choose(&self, info: &Info) -> Result<Spot, StorageError> {
        let Some(place) = &info.place else { return Ok(Self::usual(&info.id)) };
        let outside = || StorageError::new(ErrorKind::Failed, "place the upload", "outside the storage directory");
        self.spots(place).into_iter().next().ok_or_else(outside)
    }

    /// Finds an upload: its `.info`, and its bytes where that says, or else at the usual place.
    pub(super) fn find(&self, id: &UploadId) -> Result<Found, StorageError> {
        let mut info = self.read_info(id)?;
        let place = info.place.take();
        let mut spots = place.as_deref().map(|place| self.spots(place)).unwrap_or_default();
        spots.push(Self::usual(id));
        let last = spots.len() - 1;
        for (at, spot) in spots.into_iter().enumerate() {
            let stat = self.tree(&spot).file(&spot.path, OFlags::PATH, Mode::empty()).and_then(|file| Ok(fstat(file)?));
            match stat {
                Ok(stat) if is_regular(&stat) => {
                    info.place = place.filter(|_| spot != Self::usual(id));
                    return Ok(Found { info, spot, stat });
                }
                Ok(_) => {}
                Err(error) if at == last => return Err(lookup("find the data", error)),
                Err(_) => {}
            }
        }
        Err(StorageError::new(ErrorKind::NotFound, "find the data", "not a regular file"))
    }

    /// Reads what is known of an upload. Its place is still as it stands in the file.
    pub(super) fn read_info(&self, id: &UploadId) -> Result<Info, StorageError> {
        let read = || {
            let file = File::from(self.main().file(&info_path(id), OFlags::RDONLY, Mode::empty())?);
            if !is_regular(&fstat(&file)?) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mut json = Vec::new();
            file.take(MAX_INFO_BYTES).read_to_end(&mut json)?;
            Ok(json)
        };
        let json = read().map_err(|error| lookup("read the info", error))?;
        info_json::decode(&json, id).map_err(|error| StorageError::new(ErrorKind::Corrupt, "read the info", error))
    }

    /// Replaces what is known of an upload whose bytes are at `spot`. Durable is it by [`Shared::settle_info`] only.
    ///
    /// [`Shared::settle_info`]: super::Shared::settle_info
    pub(super) fn write_info(&self, info: &Info, spot: &Spot) -> Result<(), StorageError> {
        let draft = self.draft_info(info, spot)?;
        self.place(&draft).map_err(|error| StorageError::from_io("write the info", error))
    }

    /// Writes down what is known of an upload that nobody has heard of yet, unless there is something of its name:
    /// [`ErrorKind::Exists`]. At its place at once: a process that is killed meanwhile leaves it without content, under a
    /// name that it has told to nobody.
    pub(super) fn write_first_info(&self, info: &Info, spot: &Spot) -> Result<(), StorageError> {
        let (json, path) = (self.encoded(info, spot)?, info_path(&info.id));
        let write = || {
            let mut file = File::from(self.main().create(&path, self.file_mode, self.directory_mode)?);
            file.write_all(&json).inspect_err(|_| {
                // What can't be removed now is as good as not there.
                let _ = self.main().remove(&path);
            })
        };
        write().map_err(|error| StorageError::from_io("write the info", error))
    }

    /// Writes down what is known of an upload whose bytes are at `spot`, without giving it its name.
    pub(super) fn draft_info(&self, info: &Info, spot: &Spot) -> Result<Draft, StorageError> {
        let json = self.encoded(info, spot)?;
        self.draft(info_path(&info.id), &json).map_err(|error| StorageError::from_io("write the info", error))
    }

    fn encoded(&self, info: &Info, spot: &Spot) -> Result<Vec<u8>, StorageError> {
        let path = self.roots[spot.root].written(&spot.path);
        let document = self.roots[0].written(&info_path(&info.id));
        info_json::encode(info, &Places::file(&path, &document))
            .map_err(|error| StorageError::new(ErrorKind::Failed, "write the info", error))
    }

    /// Puts a file in the place of another, or of none, in one step.
    pub(super) fn replace(&self, path: &str, content: &[u8], durable: bool) -> io::Result<()> {
        let draft = self.draft(path.to_owned(), content)?;
        if durable {
            fsync(&*draft.file).inspect_err(|_| self.discard(&draft))?;
        }
        self.place(&draft)
    }

    /// Writes a file that is to be put in a place.
    fn draft(&self, path: String, content: &[u8]) -> io::Result<Draft> {
        self.draft_for(path, content, self.file_mode)
    }

    /// The same, with what nobody else may read: requests with their credentials.
    pub(super) fn draft_private(&self, path: String, content: &[u8]) -> io::Result<Draft> {
        self.draft_for(path, content, Mode::RUSR | Mode::WUSR)
    }

    fn draft_for(&self, path: String, content: &[u8], mode: Mode) -> io::Result<Draft> {
        let name = self.temporaries.fetch_add(1, Ordering::Relaxed).to_string();
        let create = |workshop: &Beneath| workshop.create(&name, mode, self.directory_mode);
        let (workshop, file) = match create(&self.workshop) {
            // Somebody has tidied up: the directory that is held open has no name any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.main().make_directory(WORKSHOP, self.directory_mode)?;
                let workshop = self.main().inner(WORKSHOP)?;
                let file = create(&workshop)?;
                (Some(workshop), file)
            }
            created => (None, created?),
        };
        let draft = Draft { name, path, workshop, file: Arc::new(file.into()) };
        (&*draft.file).write_all(content).inspect_err(|_| self.discard(&draft))?;
        Ok(draft)
    }

    /// Gives a draft its name, in place of what had it.
    pub(super) fn place(&self, draft: &Draft) -> io::Result<()> {
        let workshop = draft.workshop.as_ref().unwrap_or(&self.workshop);
        let placed = self.main().adopt(workshop, &draft.name, &draft.path, self.directory_mode);
        placed.inspect_err(|_| self.discard(draft))
    }

    /// Removes a draft that gets no name. What is left is removed at the next start.
    pub(super) fn discard(&self, draft: &Draft) {
        let _ = draft.workshop.as_ref().unwrap_or(&self.workshop).remove(&draft.name);
    }

    /// Reads a small file of wharf's own.
    pub(super) fn read_own(&self, path: &str) -> io::Result<Option<String>> {
        match self.main().file(path, OFlags::RDONLY, Mode::empty()) {
            Ok(file) => {
                let mut content = String::new();
                File::from(file).take(MAX_INFO_BYTES).read_to_string(&mut content)?;
                Ok(Some(content))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The offset at which an upload's tentative bytes begin, if it has any. A marker without a number, which only a
    /// power cut under relaxed durability leaves behind, makes all bytes tentative.
    pub(super) fn staged_base(&self, id: &UploadId) -> io::Result<Option<u64>> {
        let content = self.read_own(&marker::staged(id))?;
        Ok(content.map(|base| base.parse().unwrap_or(0)))
    }

    /// Takes the marker of tentative bytes away, durably if every step is to be.
    pub(super) fn unmark(&self, id: &UploadId) -> io::Result<()> {
        let marker = marker::staged(id);
        if self.main().remove(&marker)? && self.durability == Durability::Always {
            self.main().sync_names(&marker)?;
        }
        Ok(())
    }

    /// Takes a marker away that an earlier upload of this id may have left, which would cut the new one's bytes.
    pub(super) fn unmark_stale(&self, id: &UploadId) -> io::Result<()> {
        if self.has_stale_markers.load(Ordering::Acquire) { self.unmark(id) } else { Ok(()) }
    }

    /// Cuts off the tentative bytes of a write that never came to its end.
    pub(super) fn recover(&self, found: &mut Found) -> Result<(), StorageError> {
        let id = &found.info.id;
        let failed = |error| StorageError::from_io("cut off tentative bytes", error);
        let Some(base) = self.staged_base(id).map_err(failed)? else { return Ok(()) };
        let restore = || {
            let file = self.open_data(&found.spot)?;
            shorten(&file, base)?;
            if self.durability == Durability::Always {
                fdatasync(&file)?;
            }
            self.unmark(id)?;
            Ok(fstat(&file)?)
        };
        found.stat = restore().map_err(failed)?;
        Ok(())
    }

    /// Opens the bytes for reading and writing.
    pub(super) fn open_data(&self, spot: &Spot) -> io::Result<File> {
        self.open_regular(spot, OFlags::RDWR)
    }

    /// Opens the bytes; what is no regular file counts as missing.
    pub(super) fn open_regular(&self, spot: &Spot, flags: OFlags) -> io::Result<File> {
        let file = File::from(self.tree(spot).file(&spot.path, flags, Mode::empty())?);
        if is_regular(&fstat(&file)?) { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Opens the bytes of an upload for reading that [`Self::find`] has found at `place`, or at the usual one.
    pub(super) fn open_placed(&self, id: &UploadId, place: Option<&str>) -> io::Result<File> {
        let spots = place.map(|place| self.spots(place)).unwrap_or_default();
        let placed = spots.iter().find_map(|spot| self.open_regular(spot, OFlags::RDONLY).ok());
        placed.map_or_else(|| self.open_regular(&Self::usual(id), OFlags::RDONLY), Ok)
    }

    /// Makes the names of an upload's files durable.
    pub(super) fn sync_names(&self, id: &UploadId, spot: &Spot) -> io::Result<()> {
        self.main().sync_names(id.as_str())?;
        if *spot == Self::usual(id) { Ok(()) } else { self.tree(spot).sync_names(&spot.path) }
    }

    /// Empties the workshop of files that never got to their name, and looks whether there are markers.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let directory = self.main().directory(WORKSHOP)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !is_dots(&entry) {
                unlinkat(&directory, entry.file_name(), AtFlags::empty())?;
            }
        }
        for entry in Dir::read_from(self.main().directory(marker::STAGED)?)? {
            if !is_dots(&entry?) {
                self.has_stale_markers.store(true, Ordering::Release);
                break;
            }
        }
        Ok(())
    }
}

fn is_dots(entry: &DirEntry) -> bool {
    matches!(entry.file_name().to_bytes(), b"." | b"..")
}

/// The `.info` of an upload.
pub(super) fn info_path(id: &UploadId) -> String {
    [id.as_str(), ".info"].concat()
}

/// Cuts a file, and never lengthens it.
pub(super) fn shorten(file: &File, to: u64) -> io::Result<()> {
    if size(&fstat(file)?) > to { Ok(ftruncate(file, to)?) } else { Ok(()) }
}

pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

pub(super) fn modified(stat: &Stat) -> SystemTime {
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    let secs = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let whole = if stat.st_mtime < 0 { SystemTime::UNIX_EPOCH - secs } else { SystemTime::UNIX_EPOCH + secs };
    whole + nanos
}

/// A finished upload as readers see it.
pub(super) fn record(info: Info, stat: &Stat) -> Record {
    let modified = modified(stat);
    let age = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut etag = String::with_capacity(40);
    for (before, number) in [('"', size(stat).into()), ('-', age.as_nanos()), ('-', stat.st_ino.into())] {
        etag.push(before);
        push_hex(&mut etag, number);
    }
    etag.push('"');
    Record { info, length: size(stat), etag, modified: Some(modified) }
}

/// The same as `{:x}`, in a fraction of its time.
fn push_hex(text: &mut String, number: u128) {
    let digits = (u128::BITS - number.leading_zeros()).div_ceil(4).max(1);
    text.extend((0..digits).rev().map(|place| char::from(b"0123456789abcdef"[(number >> (4 * place) & 15) as usize])));
}

/// Classifies an error on the way to a file: what can't be reached under the rules isn't there.
pub(super) fn lookup(action: &'static str, error: io::Error) -> StorageError {
    let unreachable = [Errno::LOOP, Errno::NOTDIR, Errno::XDEV, Errno::NXIO, Errno::ISDIR, Errno::NAMETOOLONG];
    if Errno::from_io_error(&error).is_some_and(|errno| unreachable.contains(&errno)) {
        return StorageError::new(ErrorKind::NotFound, action, error);
    }
    StorageError::from_io(action, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_number_is_written_as_the_standard_library_does(number: u128, fewer in 0_u32..128) {
            for number in [number, number >> fewer, 0] {
                let mut text = String::new();
                push_hex(&mut text, number);
                proptest::prop_assert_eq!(text, format!("{number:x}"));
            }
        }
    }
}
