//! A walk through the storage directory in slices, in search of uploads that may have expired.
//!
//! Each upload costs one small read of its `.info`. That is far cheaper than to bother an owner with what can't expire:
//! most uploads in a store that has been in use are finished, and of the finished ones only partial ones expire.

use std::{io, time::SystemTime};

use rustix::{
    fs::{Dir, FileType},
    io::Errno,
};

use super::layout::{self, Found, Layout};
use crate::{Kind, UploadId};

/// The way down to where a walk stands: each directory's open listing and its path with a slash behind it.
#[derive(Default)]
pub(super) struct Walk(Vec<(Dir, String)>);

/// What an entry of a directory is to a walk.
pub(super) enum Entry {
    Upload(UploadId),
    Directory(String),
    Other,
}

impl Walk {
    /// Starts at the top.
    pub(super) fn start(layout: &Layout) -> io::Result<Self> {
        Ok(Self(vec![(Dir::new(layout.main().directory(".")?)?, String::new())]))
    }

    /// Looks at up to `entries` entries. True when there may be more.
    pub(super) fn go_on(
        &mut self,
        layout: &Layout,
        entries: usize,
        before: SystemTime,
        now: SystemTime,
        candidates: &mut Vec<UploadId>,
    ) -> io::Result<bool> {
        for _ in 0..entries.max(1) {
            let Some((listing, path)) = self.0.last_mut() else { return Ok(false) };
            let Some(entry) = listing.read() else {
                self.0.pop();
                continue;
            };
            let entry = entry?;
            // Names that are no UTF-8 are nobody's id.
            let Ok(name) = entry.file_name().to_str() else { continue };
            match classify(layout, path, name, entry.file_type()) {
                Entry::Upload(id) if may_have_expired(layout, &id, before, now) => candidates.push(id),
                Entry::Directory(path) => {
                    // Removed meanwhile, or not ours to read: nothing to be found there.
                    if let Ok(directory) = layout.main().directory(&path) {
                        self.0.push((Dir::new(directory)?, path + "/"));
                    }
                }
                Entry::Upload(_) | Entry::Other => {}
            }
        }
        Ok(!self.0.is_empty())
    }
}

pub(super) fn classify(layout: &Layout, path: &str, name: &str, kind: FileType) -> Entry {
    if matches!(name, "." | "..") || (path.is_empty() && name.eq_ignore_ascii_case(".wharf")) {
        return Entry::Other;
    }
    let full = format!("{path}{name}");
    let kind = match kind {
        // Some file systems don't tell it with the name.
        FileType::Unknown => layout.main().stat(&full).map_or(kind, |stat| FileType::from_raw_mode(stat.st_mode)),
        known => known,
    };
    // A directory whose name is no beginning of an id has no uploads in it, however deep.
    if kind.is_dir() && UploadId::parse(&format!("{full}/x")).is_ok() {
        return Entry::Directory(full);
    }
    let id = full.strip_suffix(".info").and_then(|id| UploadId::parse(id).ok());
    id.filter(|_| kind.is_file()).map_or(Entry::Other, Entry::Upload)
}

fn may_have_expired(layout: &Layout, id: &UploadId, before: SystemTime, now: SystemTime) -> bool {
    let Ok(Found { info, stat, .. }) = layout.find(id) else { return false };
    if info.kind != Kind::Partial && info.is_finished(layout::size(&stat)) {
        return false;
    }
    let own_expiry = info.own.and_then(|own| own.expires_at_secs);
    let now_secs = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    layout::modified(&stat) < before || own_expiry.is_some_and(|expiry| expiry < now_secs)
}

/// The final uploads that are noted as waiting, at most `most` of them.
pub(super) fn waiting_finals(layout: &Layout, most: usize) -> io::Result<Vec<UploadId>> {
    let mut ids = Vec::new();
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let directory = format!("{}/{path}", super::marker::FINALS);
        let listing = match layout.main().directory(directory.trim_end_matches('/')) {
            Ok(opened) => Dir::new(opened)?,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        for entry in listing {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if ids.len() == most {
                return Ok(ids);
            }
            if name.ends_with('+') {
                paths.push(format!("{path}{name}/"));
            } else {
                ids.extend(super::marker::id(&format!("{path}{name}")));
            }
        }
    }
    Ok(ids)
}
