//! Bytes from a socket into a file, past this process's memory. Blocking, but for the socket; runs on the disk pool's threads.
//!
//! The kernel hands the pages that have come from the network to a pipe, and copies them from there into the file's: one copy
//! where a read and a write take two.

use std::{
    cell::Cell,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::{Errno, pwrite, read, retry_on_intr},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};

use crate::storage::{StorageError, Tap, Written};

/// What a pipe may hold. With more, what is moved has left the processor's cache before it is written.
const PIPE_BYTES: usize = 256 << 10;

/// The buffer for bytes that the kernel can't move by itself.
const BUFFER_BYTES: usize = 64 << 10;

/// A pipe; empty whenever nobody has it in hand.
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

thread_local! {
    /// The thread's pipe, once it has needed one.
    static PIPE: Cell<Option<Pipe>> = const { Cell::new(None) };
}

/// How far something came, and why no further.
type Moved = (usize, Option<Errno>);

/// Writes what lies in a socket from offset `at` on, or as much as can be. What was received and can't be written is lost.
pub(super) fn draw(file: &File, at: u64, tap: &Tap) -> Written {
    let (len, failure) = match PIPE.take().map_or_else(Pipe::new, Ok) {
        Ok(pipe) => {
            let (len, failure) = pipe.draw(file, at, tap);
            if failure.is_none() {
                PIPE.set(Some(pipe));
            }
            (len, failure)
        }
        // No descriptor is left for it, say.
        Err(_) => by_hand(&tap.socket, file, at, tap.len),
    };
    let failure = failure.map(|error| StorageError::from_io("draw", told(error)));
    Written { len: len as u64, failure }
}

/// A socket that has less than was said.
fn told(error: Errno) -> io::Error {
    if error == Errno::AGAIN { io::ErrorKind::UnexpectedEof.into() } else { error.into() }
}

/// Whether the kernel moves no bytes between these two: not from such a socket, not on this file system, or not allowed by a
/// sandbox.
fn is_unable(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
}

impl Pipe {
    fn new() -> rustix::io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller one does it too, in more calls.
        let _ = fcntl_setpipe_size(&into, PIPE_BYTES);
        Ok(Self { out, into })
    }

    fn draw(&self, file: &File, at: u64, tap: &Tap) -> Moved {
        let mut len = 0;
        while len < tap.len {
            let room = (tap.len - len).min(PIPE_BYTES);
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let (count, failure) = match retry_on_intr(|| splice(&tap.socket, None, &self.into, None, room, flags)) {
                Ok(0) => (0, Some(Errno::AGAIN)),
                Ok(count) => self.empty(file, at + len as u64, count),
                Err(error) if is_unable(error) => by_hand(&tap.socket, file, at + len as u64, tap.len - len),
                Err(error) => (0, Some(error)),
            };
            len += count;
            if failure.is_some() {
                return (len, failure);
            }
        }
        (len, None)
    }

    /// Writes the `count` bytes in it.
    fn empty(&self, file: &File, at: u64, count: usize) -> Moved {
        let mut len = 0;
        while len < count {
            let mut place = at + len as u64;
            let moved = splice(&self.out, None, file, Some(&mut place), count - len, SpliceFlags::MOVE);
            match moved {
                Ok(0) => return (len, Some(Errno::IO)),
                Ok(moved) => len += moved,
                Err(Errno::INTR) => {}
                Err(error) if is_unable(error) => {
                    let (rest, failure) = by_hand(&self.out, file, at + len as u64, count - len);
                    return (len + rest, failure);
                }
                Err(error) => return (len, Some(error)),
            }
        }
        (len, None)
    }
}

/// Moves `count` bytes by way of a buffer.
fn by_hand(from: impl AsFd, file: &File, at: u64, count: usize) -> Moved {
    let mut buffer = vec![0; count.min(BUFFER_BYTES)];
    let mut len = 0;
    while len < count {
        let room = buffer.len().min(count - len);
        let (written, failure) = match retry_on_intr(|| read(&from, &mut buffer[..room])) {
            Ok(0) => (0, Some(Errno::AGAIN)),
            Ok(some) => write_all(file, at + len as u64, &buffer[..some]),
            Err(error) => (0, Some(error)),
        };
        len += written;
        if failure.is_some() {
            return (len, failure);
        }
    }
    (len, None)
}

fn write_all(file: &File, at: u64, bytes: &[u8]) -> Moved {
    let mut len = 0;
    while len < bytes.len() {
        match retry_on_intr(|| pwrite(file, &bytes[len..], at + len as u64)) {
            Ok(0) => return (len, Some(Errno::IO)),
            Ok(count) => len += count,
            Err(error) => return (len, Some(error)),
        }
    }
    (len, None)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::OpenOptions,
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
        sync::Arc,
    };

    use super::*;

    fn some(len: u32) -> Vec<u8> {
        (0..len).map(|number| (number % 251) as u8).collect()
    }

    fn seen(file: &File, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let count = std::os::unix::fs::FileExt::read_at(file, &mut bytes, at).unwrap();
        bytes.truncate(count);
        bytes
    }

    fn pair() -> (Arc<OwnedFd>, UnixStream) {
        let (socket, peer) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        (Arc::new(socket.into()), peer)
    }

    #[test]
    fn what_lies_in_a_socket_is_drawn_and_no_more() {
        let bytes = some(150_000);
        let (socket, mut peer) = pair();
        let tap = |len| Tap { socket: Arc::clone(&socket), len };
        let file = tempfile::tempfile().unwrap();
        peer.write_all(&bytes).unwrap();
        let first = draw(&file, 3, &tap(100_000));
        let second = draw(&file, 100_003, &tap(49_999));
        assert_eq!((first.len, first.failure.is_none()), (100_000, true));
        assert_eq!((second.len, second.failure.is_none()), (49_999, true));
        assert!(seen(&file, 3, 200_000) == bytes[..149_999]);
        // Less than was said to be there, and then nothing at all: what could be had is kept.
        let short = draw(&file, 150_002, &tap(2));
        assert_eq!((short.len, short.failure.is_some()), (1, true));
        peer.write_all(b"ab").unwrap();
        drop(peer);
        let ended = draw(&file, 150_003, &tap(3));
        assert_eq!((ended.len, ended.failure.is_some()), (2, true));
        assert_eq!(seen(&file, 150_002, 9), [bytes[149_999], b'a', b'b']);
    }

    #[test]
    fn what_is_drawn_and_cannot_be_written_is_told_and_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "").unwrap();
        let (socket, mut peer) = pair();
        peer.write_all(b"ab").unwrap();
        let tap = Tap { socket, len: 2 };
        let written = draw(&File::open(&path).unwrap(), 0, &tap);
        assert_eq!((written.len, written.failure.is_some()), (0, true));
        // Nobody else gets it.
        peer.write_all(b"cd").unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(draw(&file, 0, &tap).len, 2);
        assert_eq!(seen(&file, 0, 9), b"cd");
    }

    /// A file that only takes bytes at its end is one that the kernel moves none into, at a place of ours.
    #[test]
    fn what_the_kernel_does_not_move_is_moved_by_hand() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let (socket, mut peer) = pair();
        let bytes = some(150_000);
        peer.write_all(&bytes).unwrap();
        let written = draw(&file, 0, &Tap { socket: Arc::clone(&socket), len: 100_000 });
        assert_eq!((written.len, written.failure.is_none()), (100_000, true));
        assert_eq!(by_hand(&socket, &file, 100_000, 50_000), (50_000, None));
        let mut read = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(by_hand(&socket, &file, 0, 1), (0, Some(Errno::AGAIN)));
    }
}
