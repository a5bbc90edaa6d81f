//! A full store: the client is told, no offset lies, and the upload goes on once there is room.

mod support;

use std::{path::PathBuf, process::Command};

use support::{OFFSET_TYPE, Response, Server, wait_until};

const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");

/// SHA-1 of `hello world`, in Base64.
const DIGEST: [(&str, &str); 1] = [("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")];

/// Asserts that a client is told that there is no room, in words that name no path and no cause.
#[track_caller]
fn no_room(response: &Response) {
    response.refused(507, "ERR_INSUFFICIENT_STORAGE");
    assert_eq!(response.text(), "ERR_INSUFFICIENT_STORAGE: not enough space to store the upload\n");
    assert_eq!(response.header("Upload-Offset"), None);
}

/// Bytes of which no two neighbours are the same.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_patch_that_finds_no_room_can_be_sent_again() {
    let server = Server::start_faulty(&[]);
    let path = server.create(11);
    for (offset, bytes) in [(0, b"hello".as_slice()), (5, b" world")] {
        server.fault("nospace write 2");
        no_room(&server.patch(&path, offset, bytes));
        no_room(&server.patch(&path, offset, bytes));
        assert_eq!(server.offset(&path), offset);
        server.patched(&path, offset, bytes);
    }
    assert_eq!(server.content(&path), b"hello world");
}

/// The answer does not wait for the rest of a body that nobody can store.
#[test]
fn a_body_is_refused_while_it_still_comes() {
    let server = Server::start_faulty(&[]);
    let path = server.create(1000);
    let mut client = server.stalled_patch(&path, 0, 1000, b"hello");
    server.fault("nospace write always");
    client.send(b"more");
    let response = client.answer();
    no_room(&response);
    assert!(response.closes());
    assert_eq!(server.offset(&path), 5);
    server.fault("");
    server.patched(&path, 5, &bytes(995));
}

#[test]
fn a_creation_that_finds_no_room_leaves_nothing_behind() {
    let server = Server::start_faulty(&[]);
    server.fault("nospace create 2");
    for length in ["11", "0"] {
        let response = server.post(&[("Upload-Length", length)], b"");
        no_room(&response);
        assert_eq!(response.header("Location"), None);
    }
    assert!(server.names().is_empty(), "{:?}", server.names());
    server.unharmed();
}

/// The upload is there although its first bytes are not, and the client is told where: also when they are all bytes there are,
/// and are to be stored together with what is known of the upload.
#[test]
fn first_bytes_that_find_no_room_can_be_sent_again() {
    let server = Server::start_faulty(&[]);
    for content in ["hello world", "hello"] {
        server.fault("nospace write 1");
        let length = content.len().to_string();
        let response = server.post(&[("Upload-Length", &length), OFFSET_TYPE], b"hello");
        no_room(&response);
        let path = response.path();
        assert_eq!(server.offset(&path), 0);
        server.patched(&path, 0, content.as_bytes());
        assert_eq!(server.content(&path), content.as_bytes());
    }
}

/// Of bytes that come with their creation what fits is stored and counts, also when that is not all.
#[test]
fn what_fits_of_all_bytes_counts() {
    const LIMIT: u64 = 5000;
    for durability in ["none", "complete", "always"] {
        let server = Server::start(&["--set", &format!("storage.durability={durability}")]);
        let content = bytes(10_000);
        server.limit_file_size(Some(LIMIT));
        let response = server.post(&[("Upload-Length", "10000"), OFFSET_TYPE], &content);
        no_room(&response);
        let path = response.path();
        assert_eq!((server.offset(&path), server.stored(&path)), (LIMIT, LIMIT), "{durability}");
        server.limit_file_size(None);
        server.patched(&path, LIMIT, &content[LIMIT as usize..]);
        assert!(server.content(&path) == content);
    }
}

/// An empty upload is finished with its creation. When that fails, nobody has an upload.
#[test]
fn an_empty_upload_that_finds_no_room_leaves_nothing_behind() {
    let server = Server::start_faulty(&[]);
    server.fault("nospace finish 1");
    let response = server.post(&[("Upload-Length", "0")], b"");
    no_room(&response);
    assert_eq!(response.header("Location"), None);
    assert!(server.names().is_empty(), "{:?}", server.names());
}

#[test]
fn checked_bytes_that_find_no_room_do_not_count() {
    let server = Server::start_faulty(&["--set", "storage.durability=always"]);
    for step in ["stage", "write", "keep"] {
        let path = server.create(11);
        server.fault(&format!("nospace {step} 1"));
        no_room(&server.patch_with(&path, 0, &DIGEST, b"hello world"));
        assert_eq!(server.offset(&path), 0, "{step}");
        server.patch_with(&path, 0, &DIGEST, b"hello world").appended(11);
        assert_eq!(server.content(&path), b"hello world", "{step}");
    }
}

/// A length that could not be stored was not declared.
#[test]
fn a_length_that_finds_no_room_can_be_declared_again() {
    let server = Server::start_faulty(&[]);
    let path = server.create_with(&[("Upload-Defer-Length", "1")]);
    server.fault("nospace save 1");
    no_room(&server.patch_with(&path, 0, &[("Upload-Length", "5")], b"hello"));
    let response = server.head(&path);
    assert_eq!((response.offset(), response.the("Upload-Defer-Length")), (0, "1"));
    assert_eq!(response.header("Upload-Length"), None);
    server.patch_with(&path, 0, &[("Upload-Length", "5")], b"hello").appended(5);
    assert_eq!(server.content(&path), b"hello");
}

/// All bytes are there but the mark of the finished upload is not: the next question makes up for it.
#[test]
fn an_upload_that_finds_no_room_to_finish_is_finished_later() {
    let mut server = Server::start_faulty(&[]);
    for restarted in [false, true] {
        let path = server.create(5);
        server.fault("nospace finish always");
        no_room(&server.patch(&path, 0, b"hello"));
        assert_eq!(server.head(&path).status, 423);
        no_room(&server.get(&path, &[]));
        server.fault("");
        if restarted {
            server.restart();
        }
        assert_eq!(server.offset(&path), 5);
        assert_eq!(server.content(&path), b"hello");
    }
}

#[test]
fn a_final_upload_that_finds_no_room_leaves_nothing_behind() {
    let server = Server::start_faulty(&[]);
    let (hello, world) = (server.uploaded_with(&[PARTIAL], b"hello"), server.uploaded_with(&[PARTIAL], b" world"));
    let concat = format!("final;{hello} {world}");
    let before = server.names().len();
    for step in ["create", "concatenate", "finish"] {
        server.fault(&format!("nospace {step} 1"));
        let response = server.post(&[("Upload-Concat", &concat)], b"");
        no_room(&response);
        assert_eq!(response.header("Location"), None, "{step}");
        assert_eq!(server.names().len(), before, "{step}: {:?}", server.names());
    }
    let path = server.create_with(&[("Upload-Concat", &concat)]);
    assert_eq!(server.content(&path), b"hello world");
    assert_eq!((server.content(&hello), server.content(&world)), (b"hello".to_vec(), b" world".to_vec()));
}

/// A final upload that was acknowledged before its partial ones were finished stays, and is made when there is room.
#[test]
fn a_waiting_final_upload_that_finds_no_room_is_made_later() {
    let mut server = Server::start_faulty(&[]);
    for restarted in [false, true] {
        let partial = server.create_with(&[PARTIAL, ("Upload-Length", "5")]);
        let path = server.create_with(&[("Upload-Concat", &format!("final;{partial}"))]);
        server.fault("nospace concatenate always");
        server.patched(&partial, 0, b"hello");
        wait_until("the final upload fails", || server.get(&path, &[]).status == 507);
        assert_eq!(server.head(&path).header("Upload-Offset"), None);
        server.fault("");
        if restarted {
            server.restart();
        }
        wait_until("the final upload is complete", || server.head(&path).header("Upload-Offset").is_some());
        assert_eq!(server.content(&path), b"hello");
    }
}

/// A file can't grow beyond the process's limit, and the signal that says so does not end the server: what fits is
/// stored and counts.
#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    const LIMIT: u64 = 100_000;
    let server = Server::start(&[]);
    let content = bytes(300_000);
    let path = server.create(300_000);
    server.limit_file_size(Some(LIMIT));
    no_room(&server.patch(&path, 0, &content));
    assert_eq!(server.offset(&path), LIMIT);
    no_room(&server.patch(&path, LIMIT, &content[LIMIT as usize..]));
    assert_eq!((server.offset(&path), server.stored(&path)), (LIMIT, LIMIT));
    server.limit_file_size(Some(0));
    let before = server.names().len();
    no_room(&server.post(&[("Upload-Length", "5")], b""));
    assert_eq!(server.names().len(), before);
    server.limit_file_size(None);
    server.patched(&path, LIMIT, &content[LIMIT as usize..]);
    assert!(server.content(&path) == content);
    server.unharmed();
}

/// A copy that does not fit is not made in part.
#[test]
fn a_concatenation_beyond_the_limit_of_file_sizes_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let content = bytes(60_000);
    let partial = server.uploaded_with(&[PARTIAL], &content);
    let concat = format!("final;{partial} {partial}");
    server.limit_file_size(Some(100_000));
    no_room(&server.post(&[("Upload-Concat", &concat)], b""));
    assert_eq!(server.names().len(), 2, "{:?}", server.names());
    server.limit_file_size(None);
    let path = server.create_with(&[("Upload-Concat", &concat)]);
    assert!(server.content(&path) == [content.as_slice(), &content].concat());
}

/// A file system of its own, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// A small file system in memory at this place; `None` where that is not allowed.
    #[expect(clippy::print_stderr, reason = "a test that was not made is to say why")]
    fn at(place: PathBuf, size: &str) -> Option<Mounted> {
        let option = format!("size={size}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "none"]).arg(&place).output().ok();
        if output.as_ref().is_some_and(|output| output.status.success()) {
            return Some(Mounted(place));
        }
        let why = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        eprintln!("skipped: no file system can be mounted here: {why:?}");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.0).status().expect("umount");
        assert!(status.success(), "{} stays mounted", self.0.display());
    }
}

#[test]
fn a_real_full_disk_is_survived() {
    let mut server = Server::start(&[]);
    server.stop();
    let Some(_mounted) = Mounted::at(server.dir(), "512k") else { return };
    server.start_again();
    let content = bytes(300_000);
    let (partial, path) = (server.uploaded_with(&[PARTIAL], &content), server.create(300_000));
    no_room(&server.patch(&path, 0, &content));
    let offset = server.offset(&path);
    assert!(offset > 0 && offset < 300_000 && offset == server.stored(&path), "{offset}");
    let before = server.names().len();
    no_room(&server.post(&[("Upload-Length", "5")], b""));
    no_room(&server.post(&[("Upload-Concat", &format!("final;{partial}"))], b""));
    assert_eq!(server.names().len(), before, "{:?}", server.names());
    assert!(server.content(&partial) == content);
    assert_eq!(server.delete(&partial).status, 204);
    assert_eq!(server.offset(&path), offset);
    server.patched(&path, offset, &content[offset as usize..]);
    assert!(server.content(&path) == content);
    server.restart();
    assert!(server.content(&path) == content);
}
