//! Files with keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::keys::{KeySet, Secrets};

/// Files with keys, as they are set.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFiles {
    /// A secret.
    pub(crate) secret: Option<PathBuf>,
    /// Public keys in PEM.
    pub(crate) public_key: Option<PathBuf>,
    /// A set of keys.
    pub(crate) jwks: Option<PathBuf>,
}

/// What one file held.
#[derive(Clone, PartialEq, Eq)]
struct Held {
    kind: Kind,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Secret,
    PublicKey,
    Jwks,
}

/// What files with keys held when they were read, and what was made of it.
#[derive(Default, Clone)]
pub(crate) struct FileKeys {
    held: Vec<Held>,
    keys: KeySet,
}

impl FileKeys {
    /// Reads the files.
    ///
    /// # Errors
    /// With what is wrong, and with which of them.
    pub(crate) fn read(files: &KeyFiles) -> Result<Self, Vec<(Kind, String)>> {
        let (mut all, mut wrong) = (Self::default(), Vec::new());
        let named = [(Kind::Secret, &files.secret), (Kind::PublicKey, &files.public_key), (Kind::Jwks, &files.jwks)];
        for (kind, path) in named {
            let Some(path) = path else { continue };
            match read(kind, path) {
                Ok((bytes, keys)) => {
                    all.keys = all.keys.and(&keys);
                    all.held.push(Held { kind, path: path.clone(), bytes });
                }
                Err(what) => wrong.push((kind, what)),
            }
        }
        if wrong.is_empty() { Ok(all) } else { Err(wrong) }
    }

    /// All their keys.
    pub(crate) fn keys(&self) -> KeySet {
        self.keys.clone()
    }

    /// Which of them hold something that these don't.
    pub(crate) fn news(&self, known: &Self) -> Vec<Kind> {
        self.held.iter().filter(|held| !known.held.contains(held)).map(|held| held.kind).collect()
    }
}

fn read(kind: Kind, path: &Path) -> Result<(Vec<u8>, KeySet), String> {
    let bytes = fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let keys = match kind {
        Kind::Secret => KeySet::of_secret(&bytes),
        Kind::PublicKey => KeySet::of_pem(&bytes),
        Kind::Jwks => KeySet::of_jwks(&bytes, Secrets::Taken),
    };
    let keys = keys.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((bytes, keys))
}
