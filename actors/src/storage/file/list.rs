//! A list of the uploads in the storage directory, a page at a time, in the order of their ids. A page is found by a walk
//! through all names, which are many but small; only what goes into the page is read. Nothing is kept between two pages.

use std::{collections::BTreeSet, io, sync::Arc};

use rustix::fs::Dir;

use super::{
    Shared,
    layout::{self, Layout},
    scan::{Entry, classify},
};
use crate::{
    UploadId,
    disk::Lane,
    storage::{Sighting, StorageError, StorePage, Ticket},
};

/// So many uploads of a page are read by one job.
const READ_AT_ONCE: usize = 32;

/// The search for the first ids behind a name.
struct Search {
    way: Vec<(Dir, String)>,
    after: String,
    limit: usize,
    /// The smallest so far, one more than wanted.
    found: BTreeSet<String>,
}

impl Search {
    fn start(layout: &Layout, after: String, limit: usize) -> io::Result<Self> {
        let top = Dir::new(layout.main().directory(".")?)?;
        Ok(Self { way: vec![(top, String::new())], after, limit, found: BTreeSet::new() })
    }

    /// Looks at up to `entries` entries. True when there may be more.
    fn go_on(&mut self, layout: &Layout, entries: usize) -> io::Result<bool> {
        for _ in 0..entries.max(1) {
            let Some((listing, path)) = self.way.last_mut() else { return Ok(false) };
            let Some(entry) = listing.read() else {
                self.way.pop();
                continue;
            };
            let entry = entry?;
            // Names that are no UTF-8 are nobody's id.
            let Ok(name) = entry.file_name().to_str() else { continue };
            match classify(layout, path, name, entry.file_type()) {
                Entry::Upload(id) => self.offer(id.as_str()),
                Entry::Directory(path) if self.may_hold_more(&path) => {
                    // Removed meanwhile, or not ours to read: nothing to be found there.
                    if let Ok(directory) = layout.main().directory(&path) {
                        self.way.push((Dir::new(directory)?, path + "/"));
                    }
                }
                Entry::Directory(_) | Entry::Other => {}
            }
        }
        Ok(!self.way.is_empty())
    }

    fn offer(&mut self, id: &str) {
        let is_late = self.found.len() > self.limit && self.found.last().is_some_and(|last| id >= last.as_str());
        if id <= self.after.as_str() || is_late {
            return;
        }
        self.found.insert(id.to_owned());
        if self.found.len() > self.limit + 1 {
            self.found.pop_last();
        }
    }

    /// Whether an id beneath this directory may be among those that are wanted.
    fn may_hold_more(&self, path: &str) -> bool {
        let start = format!("{path}/");
        let all_before = start.as_str() < self.after.as_str() && !self.after.starts_with(&start);
        let all_behind = self.found.len() > self.limit && self.found.last().is_some_and(|last| start > *last);
        !all_before && !all_behind
    }

    /// The ids of the page, and whether more follow.
    fn end(self) -> (Vec<UploadId>, bool) {
        let more = self.found.len() > self.limit;
        let ids = self.found.into_iter().take(self.limit).filter_map(|id| UploadId::parse(&id).ok());
        (ids.collect(), more)
    }
}

impl Shared {
    /// Looks at an upload, and changes nothing.
    pub(super) fn look(&self, id: &UploadId) -> Result<Sighting, StorageError> {
        let found = self.layout.find(id)?;
        let stored = self.counted(&found)?;
        let (is_finished, changed) = (found.info.is_finished(stored), layout::modified(&found.stat));
        Ok(Sighting { info: found.info, stored: Some(stored), changed, is_finished, parts: None })
    }

    /// A page of the list, found in slices so that others get in between.
    pub(super) async fn list(self: Arc<Self>, after: String, limit: usize) -> Result<StorePage, StorageError> {
        let failed = |error| StorageError::from_io("list", error);
        let start = move |shared: &Arc<Self>| Search::start(&shared.layout, after, limit).map_err(failed);
        let mut search = self.job(Lane::Metadata, Ticket::unwatched(), start).await?;
        let mut more = true;
        while more {
            let slice = move |shared: &Arc<Self>| {
                let more = search.go_on(&shared.layout, shared.scan_entries).map_err(failed)?;
                Ok((search, more))
            };
            (search, more) = self.job(Lane::Metadata, Ticket::unwatched(), slice).await?;
        }
        let (ids, more) = search.end();
        let next = ids.last().filter(|_| more).map(|last| last.as_str().to_owned());
        let mut uploads = Vec::with_capacity(ids.len());
        for ids in ids.chunks(READ_AT_ONCE) {
            let ids = ids.to_vec();
            // One that was deleted meanwhile, or can't be read, is none.
            let read =
                move |shared: &Arc<Self>| Ok(ids.iter().filter_map(|id| shared.look(id).ok()).collect::<Vec<_>>());
            uploads.extend(self.job(Lane::Metadata, Ticket::unwatched(), read).await?);
        }
        Ok(StorePage { uploads, next })
    }
}
