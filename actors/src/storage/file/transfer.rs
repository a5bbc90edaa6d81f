//! Moving bytes into, out of and between files. Blocking; runs on the disk pool's threads.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::{fd::AsFd, unix::fs::FileExt},
};

use bytes::Bytes;
use rustix::{
    buffer::spare_capacity,
    fs::{copy_file_range, sendfile},
    io::{Errno, pread, pwritev, retry_on_intr},
};

use crate::storage::{Sent, Stop, StorageError, Written};

/// The most buffers the kernel takes in one call (`IOV_MAX`).
const MOST_BUFFERS: usize = 1024;

/// The buffer for a copy that the kernel can't make by itself.
const COPY_BUFFER: usize = 1 << 20;

/// The buffer for bytes that the kernel can't send by itself.
const SEND_BUFFER: usize = 256 << 10;

/// Writes all of `data` from offset `at` on, or as much as can be.
pub(super) fn write(file: &File, at: u64, data: &[Bytes]) -> Written {
    let mut buffers: Vec<IoSlice<'_>> =
        data.iter().filter(|bytes| !bytes.is_empty()).map(|bytes| IoSlice::new(bytes)).collect();
    let mut rest = buffers.as_mut_slice();
    let mut len = 0_u64;
    while !rest.is_empty() {
        let some = &rest[..rest.len().min(MOST_BUFFERS)];
        let failure = match retry_on_intr(|| pwritev(file, some, at + len)) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(count) => {
                len += count as u64;
                IoSlice::advance_slices(&mut rest, count);
                continue;
            }
            Err(error) => error.into(),
        };
        return Written { len, failure: Some(StorageError::from_io("write", failure)) };
    }
    Written { len, failure: None }
}

/// Reads up to `len` bytes; less only at the end of the file.
pub(super) fn read(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let place = at + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), place) {
            Ok(0) => break,
            // The allocator may have given more room than was asked for.
            Ok(_) => bytes.truncate(len),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes.into())
}

/// Brings up to `len` bytes into a socket that does not block, as far as it takes them now.
pub(super) fn send(file: &File, at: u64, socket: impl AsFd, len: usize) -> io::Result<Sent> {
    let mut sent = 0;
    let stop = loop {
        let (mut place, rest) = (at + sent as u64, len - sent);
        if rest == 0 {
            break Stop::Done;
        }
        let moved = match sendfile(&socket, file, Some(&mut place), rest) {
            // Not from this file system, not into such a socket, or not allowed by a sandbox.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                send_by_hand(file, place, &socket, rest)?
            }
            moved => moved,
        };
        match moved {
            Ok(0) => break Stop::Short,
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break Stop::Full,
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::TIMEDOUT) => break Stop::Gone,
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Sent { len: sent, stop })
}

/// Sends by way of a buffer. The inner result is the socket's.
fn send_by_hand(file: &File, at: u64, socket: impl AsFd, len: usize) -> io::Result<Result<usize, Errno>> {
    let bytes = read(file, at, len.min(SEND_BUFFER))?;
    Ok(if bytes.is_empty() { Ok(0) } else { rustix::io::write(socket, &bytes) })
}

/// Copies `len` bytes between files, within the kernel where it can.
pub(super) fn copy(from: &File, mut from_at: u64, to: &File, mut to_at: u64, len: u64) -> io::Result<()> {
    let end = to_at + len;
    while to_at < end {
        let rest = usize::try_from(end - to_at).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            // Not between these file systems, not on this one, or not allowed by a sandbox.
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(from, from_at, to, to_at, end - to_at);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies by way of a buffer.
fn copy_by_hand(from: &File, from_at: u64, to: &File, to_at: u64, len: u64) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        let room = usize::try_from(len - done).unwrap_or(usize::MAX).min(COPY_BUFFER);
        let bytes = read(from, from_at + done, room)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(&bytes, to_at + done)?;
        done += bytes.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn more_buffers_than_the_kernel_takes_at_once_are_all_written() {
        let file = tempfile::tempfile().unwrap();
        let data: Vec<Bytes> = (0..3000_u32).map(|number| Bytes::from(format!("{number:04}"))).collect();
        let written = write(&file, 3, &data);
        assert_eq!((written.len, written.failure.is_none()), (12_000, true));
        let bytes = read(&file, 0, 20_000).unwrap();
        assert_eq!(bytes.len(), 12_003);
        assert_eq!(&bytes[..7], b"\0\0\x000000");
        assert_eq!(&bytes[11_999..], b"2999");
        assert_eq!(&read(&file, 12_001, 1).unwrap()[..], b"9");
        assert!(read(&file, 12_003, 1).unwrap().is_empty());
    }

    #[test]
    fn a_failed_write_tells_its_cause() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "").unwrap();
        let written = write(&File::open(&path).unwrap(), 0, &[Bytes::from_static(b"x")]);
        assert_eq!((written.len, written.failure.is_some()), (0, true));
    }

    #[test]
    fn both_ways_of_sending_go_as_far_as_the_socket_takes_it() {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|number| (number % 251) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        for by_hand in [false, true] {
            let (socket, mut peer) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            let (mut at, mut got, mut waits) = (1, Vec::new(), 0);
            while at < bytes.len() {
                let rest = bytes.len() - at;
                let sent = if by_hand {
                    match send_by_hand(&file, at as u64, &socket, rest).unwrap() {
                        Ok(len) => Sent { len, stop: Stop::Done },
                        Err(error) => {
                            assert_eq!(error, Errno::AGAIN);
                            Sent { len: 0, stop: Stop::Full }
                        }
                    }
                } else {
                    send(&file, at as u64, &socket, rest).unwrap()
                };
                at += sent.len;
                if sent.stop == Stop::Full {
                    waits += 1;
                    let seen = got.len();
                    got.resize(at - 1, 0);
                    peer.read_exact(&mut got[seen..]).unwrap();
                }
            }
            let seen = got.len();
            got.resize(bytes.len() - 1, 0);
            peer.read_exact(&mut got[seen..]).unwrap();
            assert!(got == bytes[1..] && waits > 0);
            assert_eq!(send(&file, 2_499_999, &socket, 2).unwrap(), Sent { len: 1, stop: Stop::Short });
            drop(peer);
            assert_eq!(send(&file, 0, &socket, 2).unwrap(), Sent { len: 0, stop: Stop::Gone });
        }
    }

    #[test]
    fn both_ways_of_copying_move_the_same_bytes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|number| (number % 251) as u8).collect();
        from.write_all_at(&bytes, 0).unwrap();
        copy(&from, 1, &to, 0, 2_000_000).unwrap();
        copy_by_hand(&from, 2_000_001, &to, 2_000_000, 499_999).unwrap();
        assert!(read(&to, 0, 3_000_000).unwrap() == bytes[1..]);
        assert!(copy(&from, 2_499_999, &to, 0, 2).is_err());
        assert!(copy_by_hand(&from, 2_499_999, &to, 0, 2).is_err());
    }
}
