//! Listening at a path: who may connect is the file's mode, and a name that a dead server has left behind is taken over.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

/// The name of a socket that listens. It goes when this is dropped, if it is still that socket's.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    device_and_inode: (u64, u64),
    is_gone: AtomicBool,
}

impl Name {
    /// Takes the name away, once: with the socket closed, a successor's may have the same number. Before it is closed, so
    /// that a successor never finds it dead.
    pub(super) fn remove(&self) {
        if self.is_gone.swap(true, Ordering::Relaxed) {
            return;
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.device_and_inode) {
            // What can't be removed is taken over by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Listens at the path. The socket gets its mode, and listens, under another name first: nobody finds it too open or deaf.
pub(super) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<(UnixListener, Name)> {
    refuse_if_taken(path)?;
    let mut sibling = OsString::from(".wharf-");
    sibling.push(std::process::id().to_string());
    let sibling = path.with_file_name(sibling);
    // Left by one with our number that was killed just here.
    let _ = fs::remove_file(&sibling);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&sibling)?)?;
    let named = || {
        fs::set_permissions(&sibling, fs::Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(&sibling)?;
        fs::rename(&sibling, path)?;
        let device_and_inode = (metadata.dev(), metadata.ino());
        Ok(Name { path: path.to_owned(), device_and_inode, is_gone: AtomicBool::new(false) })
    };
    match named() {
        Ok(name) => Ok((socket.into(), name)),
        Err(error) => {
            let _ = fs::remove_file(&sibling);
            Err(error)
        }
    }
}

/// Whoever answers at the path keeps it; only asking tells.
fn refuse_if_taken(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something is there that is no socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that has no room for us now lives, and is not waited for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_living_server_keeps_its_name_and_a_dead_one_loses_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let (living, name) = bind(&path, 0o600, 16).unwrap();
        assert_eq!(bind(&path, 0o600, 16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        // As after `kill -9`: the socket is closed, and the name stays.
        drop(living);
        std::mem::forget(name);
        let (_successor, name) = bind(&path, 0o640, 16).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        drop(name);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_is_too_busy_to_answer_lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let (_busy, _name) = bind(&path, 0o600, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(bind(&path, 0o600, 16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// A file system gives the number of a socket that is closed to the next one that is made.
    #[test]
    fn a_successor_with_the_same_number_keeps_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let (path, spare) = (directory.path().join("a.sock"), directory.path().join("spare"));
        let (_first, name) = bind(&path, 0o600, 16).unwrap();
        fs::hard_link(&path, &spare).unwrap();
        name.remove();
        assert!(!path.exists());
        fs::rename(&spare, &path).unwrap();
        name.remove();
        drop(name);
        assert!(path.exists());
    }

    #[test]
    fn only_ones_own_name_is_removed_and_only_a_socket_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let (_first, name) = bind(&path, 0o600, 16).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(name);
        assert_eq!(bind(&path, 0o600, 16).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(bind(&directory.path().join("no/a.sock"), 0o600, 16).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
