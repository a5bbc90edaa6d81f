//! The harness of the protocol tests: the real binary in a directory of its own, reached over raw sockets.
//!
//! With `WHARF_TEST_URL` set, the tests talk to that server instead and flags are not applied, which is how the
//! harness itself is tried against other servers.

#![allow(dead_code, unused_imports, reason = "each test file is a crate of its own and uses a part of the harness")]

pub(crate) mod admin;
mod bucket;
pub(crate) mod certificates;
mod client;
pub(crate) mod endpoint;
mod process;
mod response;
pub(crate) mod soak;
pub(crate) mod tokens;
mod transport;
mod way;

pub(crate) use bucket::Bucket;
pub(crate) use client::{Client, chunked, head};
use process::Listening;
pub(crate) use process::{Process, pause, wait_until};
pub(crate) use response::Response;
pub(crate) use rustix::process::Signal;
pub(crate) use wharf_s3_testbed::Bed;

use way::Way;

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// The content type that a body with upload data must have.
pub(crate) const OFFSET_TYPE: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

const CANARY: &str = "outside.txt";

/// Whether the tests of this harness store in S3: those of `tests/on_s3.rs` do, which has each chapter as a module.
pub(crate) const IN_S3: bool = matches!(module_path!().as_bytes(), [b'o', b'n', b'_', b's', b'3', b':', ..]);

fn control_file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("faults")
}

/// A running server, its storage directory and what it logged.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The path below which uploads are made, with a slash at both ends.
    pub(crate) base: String,
    admin: Option<SocketAddr>,
    process: Option<Process>,
    flags: Vec<String>,
    /// Holds the storage directory and a file that must stay as it is.
    outside: tempfile::TempDir,
    /// Holds the file that breaks the store.
    faults: Option<tempfile::TempDir>,
    /// Where in S3 it stores, if it doesn't on disk; and by which flags.
    bucket: Option<Bucket>,
    /// How it is reached.
    way: Way,
    /// The flags for both.
    own_flags: Vec<String>,
}

/// The variables that a server is started with.
fn environment(bucket: Option<&Bucket>, faults: Option<&tempfile::TempDir>) -> Vec<(&'static str, OsString)> {
    let keys = bucket.into_iter().flat_map(Bucket::environment).map(|(name, value)| (name, value.into()));
    let faults = faults.map(|directory| ("WHARF_FAULTS", control_file(directory).into_os_string()));
    keys.chain(faults).collect()
}

impl Server {
    /// Starts the binary with a strict S3 server as its store, reached through `endpoint` or directly.
    pub(crate) fn start_s3(bed: Bed, endpoint: Option<&str>, flags: &[&str]) -> Server {
        Server::start_in(Bucket::of(bed, ""), endpoint, flags)
    }

    /// Starts the binary with a bucket as its store, reached through `endpoint` or directly.
    pub(crate) fn start_in(bucket: Bucket, endpoint: Option<&str>, flags: &[&str]) -> Server {
        Server::launch(Some(bucket), endpoint, flags, None)
    }

    /// Whether the store still has something of an upload, seen past the server.
    pub(crate) fn keeps(&self, path: &str) -> bool {
        if self.is_on_disk() {
            return self.file_of(path).exists();
        }
        let name = self.id_of(path).split('+').next().expect("a name");
        self.names().iter().any(|key| key.starts_with(name))
    }

    /// Whether it stores on disk, so that a test can look there.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.bucket.is_none()
    }

    /// The bucket that it stores in.
    pub(crate) fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("a server that stores in S3")
    }

    /// The strict S3 server that it stores in.
    pub(crate) fn bed(&self) -> &Bed {
        self.bucket().bed().expect("a server that stores in a bed")
    }

    /// Starts the binary on a free port with an empty storage directory.
    pub(crate) fn start(flags: &[&str]) -> Server {
        Server::start_with(flags, None)
    }

    /// The same with a store that breaks when `fault` says so.
    pub(crate) fn start_faulty(flags: &[&str]) -> Server {
        Server::start_with(flags, Some(tempfile::tempdir().expect("a temporary directory")))
    }

    fn start_with(flags: &[&str], faults: Option<tempfile::TempDir>) -> Server {
        Server::launch(IN_S3.then(Bucket::start), None, flags, faults)
    }

    fn launch(
        bucket: Option<Bucket>,
        endpoint: Option<&str>,
        flags: &[&str],
        faults: Option<tempfile::TempDir>,
    ) -> Server {
        let outside = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(outside.path().join("data")).expect("a storage directory");
        fs::write(outside.path().join(CANARY), CANARY).expect("a file beside the storage directory");
        let way = Way::of_this_suite();
        let mut own_flags = bucket.as_ref().map(|bucket| bucket.flags(endpoint)).unwrap_or_default();
        own_flags.extend(way.flags());
        let flags: Vec<String> = own_flags.iter().cloned().chain(flags.iter().map(|flag| (*flag).to_owned())).collect();
        if let Ok(url) = std::env::var("WHARF_TEST_URL") {
            let (address, base) = process::split_url(&url).expect("WHARF_TEST_URL like http://127.0.0.1:1080/files/");
            return Server {
                address,
                base,
                admin: None,
                process: None,
                flags,
                outside,
                faults,
                bucket,
                way,
                own_flags,
            };
        }
        let environment = environment(bucket.as_ref(), faults.as_ref());
        let (process, Listening { address, base, admin }) =
            Process::serve(outside.path(), &outside.path().join("data"), &flags, &environment);
        Server { address, base, admin, process: Some(process), flags, outside, faults, bucket, way, own_flags }
    }

    /// From now on the store breaks as these lines say and no longer as the earlier ones did: see
    /// `wharf_actors::storage::faulty`.
    pub(crate) fn fault(&self, lines: &str) {
        let control = control_file(self.faults.as_ref().expect("a server that was started faulty"));
        let next = control.with_extension("next");
        fs::write(&next, lines).expect("a control file");
        fs::rename(&next, &control).expect("a control file in its place");
    }

    /// Waits until an operation is held, by a line that asks for it.
    #[track_caller]
    pub(crate) fn wait_until_held(&self) {
        let held = control_file(self.faults.as_ref().expect("a server that was started faulty")).with_extension("held");
        wait_until("an operation is held", || held.exists());
    }

    /// Starts the binary again on the same directory, after `stop` or `kill`.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server still runs");
        let environment = environment(self.bucket.as_ref(), self.faults.as_ref());
        let (process, Listening { address, base, admin }) =
            Process::serve(self.outside.path(), &self.dir(), &self.flags, &environment);
        (self.process, self.address, self.base, self.admin) = (Some(process), address, base, admin);
    }

    /// Starts the binary again on the same directory with other flags, after `stop`, `kill` or its end.
    pub(crate) fn start_again_with(&mut self, flags: &[&str]) {
        self.flags = self.own_flags.iter().cloned().chain(flags.iter().map(|flag| (*flag).to_owned())).collect();
        self.start_again();
    }

    /// Ends the server with SIGTERM and starts it again.
    pub(crate) fn restart(&mut self) {
        let status = self.stop();
        assert!(status.success(), "SIGTERM ended the server with {status}");
        self.start_again();
    }

    /// Sends a signal without waiting for what it does.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running server").signal(signal);
    }

    /// Lets the server have no more than this many files and sockets open.
    pub(crate) fn limit_open_files(&self, count: u64) {
        self.process.as_ref().expect("a running server").limit_open_files(count);
    }

    /// Lets no file of the server grow beyond this many bytes; `None` lifts the limit.
    pub(crate) fn limit_file_size(&self, bytes: Option<u64>) {
        self.process.as_ref().expect("a running server").limit_file_size(bytes);
    }

    /// The most memory that the server has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.as_ref().expect("a running server").peak_memory()
    }

    /// Waits for the process to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.process.take().expect("a running server").ended()
    }

    /// Ends the server with SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Ends the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("a running server").kill();
    }

    /// Runs a second server on the given directory to its end: its status, and all that it wrote.
    pub(crate) fn refused_start(&self, directory: &Path, flags: &[&str]) -> (ExitStatus, String) {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Process::refused(self.outside.path(), directory, &flags)
    }

    /// The storage directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.outside.path().join("data")
    }

    /// A path beside the storage directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// What the server wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The file that holds an upload's bytes.
    pub(crate) fn file_of(&self, path: &str) -> PathBuf {
        self.dir().join(self.id_of(path))
    }

    /// The id in an upload's path.
    pub(crate) fn id_of<'path>(&self, path: &'path str) -> &'path str {
        path.strip_prefix(self.base.as_str()).expect("a path below the base path")
    }

    /// How many bytes of an upload have reached the store, seen past the server.
    pub(crate) fn stored(&self, path: &str) -> u64 {
        match &self.bucket {
            Some(bucket) => bucket.stored(self.id_of(path)),
            None => fs::metadata(self.file_of(path)).map_or(0, |metadata| metadata.len()),
        }
    }

    /// The bytes of an upload in the store, seen past the server; those in parts only in a bed.
    pub(crate) fn stored_bytes(&self, path: &str) -> Vec<u8> {
        let Some(bucket) = &self.bucket else { return fs::read(self.file_of(path)).expect("the upload's file") };
        // Until somebody asks, bytes may lie in memory only.
        self.offset(path);
        bucket.stored_bytes(self.id_of(path))
    }

    /// Puts a file into the storage directory, or an object into the bucket, as other hands might.
    pub(crate) fn lay_out(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        match &self.bucket {
            Some(bucket) => bucket.visitor().put(name, bytes.into()),
            None => fs::write(self.dir().join(name), bytes.into()).expect("a file in the storage directory"),
        }
    }

    /// The names in the storage directory, or the keys in the bucket, but for the server's own folder.
    pub(crate) fn names(&self) -> Vec<String> {
        if let Some(bucket) = &self.bucket {
            return bucket.visitor().keys().into_iter().filter(|key| !key.starts_with('.')).collect();
        }
        let entries = fs::read_dir(self.dir()).expect("the storage directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// How many uploads there are, finished or not.
    pub(crate) fn count(&self) -> usize {
        self.names().iter().filter(|name| name.ends_with(".info")).count()
    }

    /// Asserts that a whole upload still works and that nothing outside the storage directory came or changed.
    #[track_caller]
    pub(crate) fn unharmed(&self) {
        let path = self.uploaded(b"still here");
        assert_eq!(self.content(&path), b"still here");
        let mut names: Vec<_> = fs::read_dir(self.outside.path())
            .expect("the directory above")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["data", CANARY], "beside the storage directory");
        assert_eq!(fs::read_to_string(self.beside(CANARY)).expect("the canary"), CANARY);
    }

    /// One request on a connection of its own, with `Host` and `Tus-Resumable`.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.connect().request(method, path, headers, body)
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        self.way.connect(self.address)
    }

    /// POST to the base path.
    #[track_caller]
    pub(crate) fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.request("POST", &self.base, headers, body)
    }

    /// Creates an upload of this length: its path.
    #[track_caller]
    pub(crate) fn create(&self, length: u64) -> String {
        self.create_with(&[("Upload-Length", &length.to_string())])
    }

    /// Creates an upload with these headers: its path.
    #[track_caller]
    pub(crate) fn create_with(&self, headers: &[(&str, &str)]) -> String {
        let response = self.post(headers, b"");
        assert_eq!(response.status, 201, "{response:?}");
        response.path()
    }

    /// Creates an upload and sends all its bytes.
    #[track_caller]
    pub(crate) fn uploaded(&self, bytes: &[u8]) -> String {
        self.uploaded_with(&[], bytes)
    }

    /// Creates an upload with further headers and sends all its bytes.
    #[track_caller]
    pub(crate) fn uploaded_with(&self, headers: &[(&str, &str)], bytes: &[u8]) -> String {
        let length = bytes.len().to_string();
        let path = self.create_with(&[headers, &[("Upload-Length", length.as_str())]].concat());
        self.patched(&path, 0, bytes);
        path
    }

    /// PATCH at an offset.
    #[track_caller]
    pub(crate) fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> Response {
        self.patch_with(path, offset, &[], bytes)
    }

    /// PATCH at an offset with further headers.
    #[track_caller]
    pub(crate) fn patch_with(&self, path: &str, offset: u64, headers: &[(&str, &str)], bytes: &[u8]) -> Response {
        let offset = offset.to_string();
        let headers = [headers, &[OFFSET_TYPE, ("Upload-Offset", offset.as_str())]].concat();
        self.request("PATCH", path, &headers, bytes)
    }

    /// PATCH that must succeed and report the new offset.
    #[track_caller]
    pub(crate) fn patched(&self, path: &str, offset: u64, bytes: &[u8]) {
        self.patch(path, offset, bytes).appended(offset + bytes.len() as u64);
    }

    /// Sends a PATCH that announces `length` bytes and gives only these, and waits until they are in the file, or in S3,
    /// where nothing shows of them, until the server has taken them.
    #[track_caller]
    pub(crate) fn stalled_patch(&self, path: &str, offset: u64, length: u64, bytes: &[u8]) -> Client {
        self.stalled_patch_with(path, offset, &[], length, bytes)
    }

    /// The same with further headers.
    #[track_caller]
    pub(crate) fn stalled_patch_with(
        &self,
        path: &str,
        offset: u64,
        headers: &[(&str, &str)],
        length: u64,
        bytes: &[u8],
    ) -> Client {
        let mut client = self.connect();
        let (offset_text, length) = (offset.to_string(), length.to_string());
        let own = [OFFSET_TYPE, ("Upload-Offset", &offset_text), ("Content-Length", &length)];
        let headers = [headers, &own].concat();
        if self.is_on_disk() {
            client.send(head("PATCH", path, &headers));
            client.send(bytes);
            wait_until("the bytes are stored", || self.stored(path) == offset + bytes.len() as u64);
        } else {
            client.send(head("PATCH", path, &[&headers[..], &[("Expect", "100-continue")]].concat()));
            assert_eq!(client.interim(), 100);
            client.send(bytes);
            wait_until("the bytes are read", || client.is_read());
        }
        client
    }

    /// HEAD on an upload.
    #[track_caller]
    pub(crate) fn head(&self, path: &str) -> Response {
        self.request("HEAD", path, &[], b"")
    }

    /// The offset that HEAD reports; a busy upload (423) is asked again, as clients do.
    #[track_caller]
    pub(crate) fn offset(&self, path: &str) -> u64 {
        let mut response = self.head(path);
        wait_until("the upload is not busy", || {
            if response.status == 423 {
                response = self.head(path);
            }
            response.status != 423
        });
        response.offset()
    }

    /// GET of an upload.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.request("GET", path, headers, b"")
    }

    /// All bytes of a finished upload.
    #[track_caller]
    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        let response = self.get(path, &[]);
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    /// DELETE of an upload.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path, &[], b"")
    }

    /// What an OPTIONS request to the base path gets, sent without a protocol version.
    #[track_caller]
    pub(crate) fn options(&self) -> Response {
        self.request("OPTIONS", &self.base, &[("Tus-Resumable", "")], b"")
    }

    /// Whether `Tus-Extension` has this element.
    pub(crate) fn announces(&self, extension: &str) -> bool {
        let options = self.options();
        options.header("Tus-Extension").is_some_and(|list| list.split(',').any(|element| element == extension))
    }
}
