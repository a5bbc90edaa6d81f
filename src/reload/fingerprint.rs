//! How a file looks from outside: enough to notice that it was written to, replaced, or that a link leads elsewhere now.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What changes when a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Where it is in truth: a Kubernetes ConfigMap is changed by a link above the file.
    target: PathBuf,
    device_and_inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of the file that this path leads to; `None` when there is none that can be looked at.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let target = fs::canonicalize(path).ok()?;
        let metadata = fs::metadata(&target).ok()?;
        Some(Self {
            target,
            device_and_inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let path = at("settings.toml");
        assert_eq!(Fingerprint::of(&path), None);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("settings.toml"), "same").unwrap();
        }
        // As the kubelet does it: the file is a link into a link, which is replaced.
        symlink("v1", at("..data")).unwrap();
        symlink("..data/settings.toml", &path).unwrap();
        let first = Fingerprint::of(&path).unwrap();
        assert_eq!(Fingerprint::of(&path).as_ref(), Some(&first));
        symlink("v2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        let second = Fingerprint::of(&path).unwrap();
        assert_ne!(first, second);
        fs::write(at("v2").join("settings.toml"), "longer").unwrap();
        let third = Fingerprint::of(&path).unwrap();
        assert_ne!(second, third);
        fs::write(at("v2").join("other"), "longer").unwrap();
        fs::rename(at("v2").join("other"), at("v2").join("settings.toml")).unwrap();
        assert_ne!(Fingerprint::of(&path).unwrap(), third);
    }
}
