//! A directory and what lies beneath it. No path given here leaves it or goes through a symbolic link, whatever the
//! path says and whoever changes the tree meanwhile: the kernel resolves it so.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, fsync, mkdirat, openat, openat2, renameat, statat, unlinkat},
    io::{Errno, retry_on_intr},
};

/// How often an open is tried again that the kernel gave up because of renames going on.
const OPEN_ATTEMPTS: usize = 16;

/// An opened directory that paths are relative to.
pub(super) struct Beneath(OwnedFd);

/// The directory that a path's last name is in.
enum Parent<'a> {
    Top(BorrowedFd<'a>),
    Inner(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Top(directory) => *directory,
            Self::Inner(directory) => directory.as_fd(),
        }
    }
}

impl Beneath {
    /// Opens the directory itself. Links in the path to it are the operator's own and are followed.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = Self(retry_on_intr(|| openat(CWD, directory, flags, Mode::empty()))?);
        // Tells at the start whether the kernel, or a sandbox, has what all else depends on.
        beneath.file(".", OFlags::PATH, Mode::empty())?;
        Ok(beneath)
    }

    /// A directory of this one, to be used again and again without a search for it.
    pub(super) fn inner(&self, path: &str) -> io::Result<Self> {
        Ok(Self(descend(self.0.as_fd(), path, None)?))
    }

    /// Opens what is at `path`.
    pub(super) fn file(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        Ok(resolve(self.0.as_fd(), path, flags, mode)?)
    }

    /// Opens what is at `path` with `O_CREAT | O_EXCL`, and makes the directories above it.
    pub(super) fn create(&self, path: &str, mode: Mode, directories: Mode) -> io::Result<OwnedFd> {
        let (parent, name) = self.made_parent(path, directories)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Ok(resolve(parent.as_fd(), name, flags, mode)?)
    }

    /// What is at `path`, a link itself if it is one.
    pub(super) fn stat(&self, path: &str) -> io::Result<Stat> {
        let (parent, name) = self.parent(path)?;
        Ok(statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Removes a name that isn't a directory; false when it is missing.
    pub(super) fn remove(&self, path: &str) -> io::Result<bool> {
        let removed = self.parent(path).and_then(|(parent, name)| unlinkat(parent, name, AtFlags::empty()));
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives what is at `from` beneath `other` the name `to` here, in place of what had it, and makes the directories
    /// above it.
    pub(super) fn adopt(&self, other: &Self, from: &str, to: &str, directories: Mode) -> io::Result<()> {
        let (old_parent, old_name) = other.parent(from)?;
        let (new_parent, new_name) = self.made_parent(to, directories)?;
        Ok(renameat(old_parent, old_name, new_parent, new_name)?)
    }

    /// Makes a directory and those above it, unless they are there.
    pub(super) fn make_directory(&self, path: &str, mode: Mode) -> io::Result<()> {
        let (parent, name) = self.made_parent(path, mode)?;
        descend(parent.as_fd(), name, Some(mode))?;
        Ok(())
    }

    /// Opens a directory to be listed or synced.
    pub(super) fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.file(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Makes the names on the way to `path` durable: every directory from its own up to this one.
    pub(super) fn sync_names(&self, path: &str) -> io::Result<()> {
        let mut rest = path;
        while let Some((above, _)) = rest.rsplit_once('/') {
            fsync(self.directory(above)?)?;
            rest = above;
        }
        Ok(fsync(self.directory(".")?)?)
    }

    fn parent<'p>(&self, path: &'p str) -> Result<(Parent<'_>, &'p str), Errno> {
        match path.rsplit_once('/') {
            None => Ok((Parent::Top(self.0.as_fd()), path)),
            Some((above, name)) => Ok((Parent::Inner(descend(self.0.as_fd(), above, None)?), name)),
        }
    }

    fn made_parent<'p>(&self, path: &'p str, mode: Mode) -> Result<(Parent<'_>, &'p str), Errno> {
        match self.parent(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let mut names = path.split('/');
        let name = names.next_back().unwrap_or(path);
        let mut parent = Parent::Top(self.0.as_fd());
        for segment in names {
            parent = Parent::Inner(descend(parent.as_fd(), segment, Some(mode))?);
        }
        Ok((parent, name))
    }
}

/// Opens a directory as a start for paths; makes it first if it is missing and `make` is given.
fn descend(from: BorrowedFd<'_>, path: &str, make: Option<Mode>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match (resolve(from, path, flags, Mode::empty()), make) {
        (Err(Errno::NOENT), Some(mode)) => {
            match mkdirat(from, path, mode) {
                // Another upload's owner may have been faster.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            resolve(from, path, flags, Mode::empty())
        }
        (result, _) => result,
    }
}

fn resolve(from: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // Without NONBLOCK an open of a pipe that lies in the tree would hang its thread.
    let calm = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    let flags = flags | calm | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..OPEN_ATTEMPTS {
        result = retry_on_intr(|| openat2(from, path, flags, mode, rules));
        if !matches!(result, Err(Errno::AGAIN)) {
            break;
        }
    }
    result
}
