//! A store that fails, owners that panic and a disk that hangs: one request pays, no offset lies, and every upload can
//! be brought to its end.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
};

use support::{Client, OFFSET_TYPE, Response, Server, head, wait_until};

/// SHA-1 of `hello world`, in Base64.
const DIGEST: [(&str, &str); 1] = [("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")];

const ALWAYS: [&str; 2] = ["--set", "storage.durability=always"];

/// Asserts an error that tells the client nothing but that it was not its own.
#[track_caller]
fn failed(response: &Response) {
    response.refused(500, "ERR_INTERNAL_SERVER_ERROR");
    assert_eq!(response.text(), "ERR_INTERNAL_SERVER_ERROR: internal server error\n");
    assert_eq!(response.header("Upload-Offset"), None);
}

/// Sends what an upload lacks of these bytes, and asserts that it is right then.
#[track_caller]
fn completed(server: &Server, path: &str, bytes: &[u8]) {
    let offset = server.offset(path);
    server.patched(path, offset, &bytes[offset as usize..]);
    assert_eq!(server.content(path), bytes);
}

/// The head of a PATCH with `hello world` from its sixth byte on.
fn rest_head(path: &str) -> String {
    head("PATCH", path, &[OFFSET_TYPE, ("Upload-Offset", "5"), ("Content-Length", "6")])
}

/// The first tests would show nothing if the store of this build could not be broken.
#[test]
fn this_build_can_be_broken() {
    let server = Server::start_faulty(&[]);
    server.fault("fail create 1");
    let status = server.post(&[("Upload-Length", "5")], b"").status;
    assert_eq!(status, 500, "the binary of the tests was built without the feature `faults`");
}

#[test]
fn a_creation_that_fails_leaves_nothing_behind() {
    let server = Server::start_faulty(&[]);
    server.fault("fail create 1\nfail finish 1");
    for length in ["11", "0"] {
        let response = server.post(&[("Upload-Length", length)], b"");
        failed(&response);
        assert_eq!(response.header("Location"), None);
        assert!(server.names().is_empty(), "{:?}", server.names());
    }
    server.unharmed();
}

/// When all bytes come with the creation, they are stored together with what is known of the upload: all of it or nothing.
#[test]
fn a_creation_with_all_bytes_that_fails_leaves_nothing_behind() {
    let server = Server::start_faulty(&[]);
    for operation in ["create", "finish"] {
        server.fault(&format!("fail {operation} 1"));
        let response = server.post(&[OFFSET_TYPE, ("Upload-Length", "5")], b"hello");
        failed(&response);
        if support::IN_S3 && operation == "finish" {
            // There the bytes go their own way.
            completed(&server, &response.path(), b"hello");
        } else {
            assert_eq!(response.header("Location"), None);
            assert!(server.names().is_empty(), "{:?}", server.names());
        }
    }
    server.unharmed();
}

/// Whatever fails, HEAD tells an offset that the next PATCH may use, and the upload is right in the end.
#[test]
fn a_patch_that_fails_can_be_sent_again() {
    const UNCUT: u64 = if support::IN_S3 { 0 } else { 11 };
    let checked = DIGEST.as_slice();
    for (faults, flags, headers, offset) in [
        ("fail write 1", [].as_slice(), [].as_slice(), 0),
        ("fail sync 1", &[], &[], 0),
        ("fail finish 1", &[], &[], 11),
        ("fail sync 1", &ALWAYS, &[], 0),
        // The bytes that the sync has lost can't be cut off: a new owner looks what is there, which on disk is all.
        ("fail sync 1\nfail cut 1", &ALWAYS, &[], UNCUT),
        ("fail stage 1", &[], checked, 0),
        ("fail write 1", &[], checked, 0),
        ("fail keep 1", &[], checked, 0),
        ("fail write 1\nfail discard 1", &[], checked, 0),
        ("fail keep 1\nfail discard 1", &[], checked, 0),
        ("fail keep 1", &ALWAYS, checked, 0),
        ("fail finish 1", &[], checked, 11),
    ] {
        let server = Server::start_faulty(flags);
        let path = server.create(11);
        server.fault(faults);
        failed(&server.patch_with(&path, 0, headers, b"hello world"));
        assert_eq!(server.offset(&path), offset, "{faults}, {flags:?}, {headers:?}");
        if offset < 11 {
            server.patch_with(&path, offset, headers, b"hello world").appended(11);
        }
        assert_eq!(server.content(&path), b"hello world", "{faults}");
        server.unharmed();
    }
}

/// A failure that stays is told as one that passes: clients that get more than 423 from HEAD throw an upload away.
#[test]
fn head_of_an_upload_in_trouble_is_locked() {
    let server = Server::start_faulty(&[]);
    let path = server.create(5);
    server.fault("fail finish always");
    failed(&server.patch(&path, 0, b"hello"));
    for _ in 0..3 {
        let response = server.head(&path);
        assert_eq!((response.status, response.header("Upload-Offset")), (423, None), "{response:?}");
        failed(&server.get(&path, &[]));
        failed(&server.patch(&path, 5, b""));
    }
    server.fault("");
    completed(&server, &path, b"hello");
}

#[test]
fn an_upload_that_cannot_be_opened_is_not_lost() {
    let mut server = Server::start_faulty(&[]);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    server.restart();
    server.fault("fail open always");
    let response = server.head(&path);
    assert_eq!((response.status, response.header("Upload-Offset")), (423, None), "{response:?}");
    failed(&server.patch(&path, 5, b" world"));
    failed(&server.get(&path, &[]));
    failed(&server.delete(&path));
    server.fault("");
    completed(&server, &path, b"hello world");
}

#[test]
fn a_length_that_could_not_be_stored_was_not_declared() {
    let server = Server::start_faulty(&[]);
    let path = server.create_with(&[("Upload-Defer-Length", "1")]);
    server.fault("fail save 1");
    failed(&server.patch_with(&path, 0, &[("Upload-Length", "5")], b"hello"));
    assert_eq!(server.head(&path).the("Upload-Defer-Length"), "1");
    server.patch_with(&path, 0, &[("Upload-Length", "5")], b"hello").appended(5);
    assert_eq!(server.content(&path), b"hello");
}

/// A DELETE that fails has deleted nothing, or all.
#[test]
fn a_delete_that_fails_can_be_sent_again() {
    let server = Server::start_faulty(&[]);
    let (unfinished, finished) = (server.create(11), server.uploaded(b"hello"));
    server.patched(&unfinished, 0, b"hello");
    server.fault("fail delete 2");
    for path in [&unfinished, &finished] {
        failed(&server.delete(path));
        assert_eq!(server.offset(path), 5);
    }
    assert_eq!(server.content(&finished), b"hello");
    for path in [&unfinished, &finished] {
        assert_eq!(server.delete(path).status, 204);
        server.head(path).gone();
    }
    assert!(server.names().is_empty(), "{:?}", server.names());
}

/// What can't be read is cut short, so that no client takes it for the whole.
#[test]
fn a_download_that_fails_is_cut_short() {
    let server = Server::start_faulty(&[]);
    let content: Vec<u8> = (0..2_000_000_u32).map(|index| (index % 251) as u8).collect();
    let path = server.uploaded(&content);
    server.fault("fail read 1");
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(head("GET", &path, &[]).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut received);
    let text = String::from_utf8_lossy(&received);
    assert!(received.is_empty() || text.contains("content-length: 2000000"), "{} bytes", received.len());
    assert!(received.len() < content.len());
    assert!(server.content(&path) == content);
}

#[test]
fn a_final_upload_that_fails_leaves_nothing_behind() {
    let server = Server::start_faulty(&[]);
    let partial = server.uploaded_with(&[("Upload-Concat", "partial")], b"hello");
    let concat = format!("final;{partial} {partial}");
    for step in ["create", "concatenate", "sync", "finish"] {
        server.fault(&format!("fail {step} 1"));
        failed(&server.post(&[("Upload-Concat", &concat)], b""));
        assert_eq!(server.names().len(), 2, "{step}: {:?}", server.names());
    }
    let path = server.create_with(&[("Upload-Concat", &concat)]);
    assert_eq!(server.content(&path), b"hellohello");
}

/// What a final upload could not note with its partial one must not be waited for.
#[test]
fn a_final_upload_that_cannot_be_noted_is_refused() {
    let server = Server::start_faulty(&[]);
    let partial = server.create_with(&[("Upload-Concat", "partial"), ("Upload-Length", "5")]);
    server.fault("fail save 1");
    failed(&server.post(&[("Upload-Concat", &format!("final;{partial}"))], b""));
    assert_eq!(server.count(), 1, "{:?}", server.names());
    completed(&server, &partial, b"hello");
}

/// A panic in an owner costs the request that met it, and no byte.
#[test]
fn a_panic_costs_one_request() {
    type Request = fn(&Server, &str) -> Response;
    let requests: [(&str, u16, Request); 5] = [
        ("inspect", 423, |server, path| server.head(path)),
        ("read", 500, |server, path| server.get(path, &[])),
        ("begin", 500, |server, path| server.patch(path, 5, b" world")),
        ("append", 500, |server, path| server.patch(path, 5, b" world")),
        ("terminate", 500, |server, path| server.delete(path)),
    ];
    let server = Server::start_faulty(&[]);
    let bystander = server.create(11);
    let mut untouched = server.stalled_patch(&bystander, 0, 11, b"hello ");
    for (letter, (kind, status, request)) in (7_u64..).zip(requests) {
        let path = server.create(11);
        server.patched(&path, 0, b"hello");
        server.fault(&format!("panic {kind} 1"));
        let response = request(&server, &path);
        assert_eq!(response.status, status, "{kind}: {response:?}");
        assert_eq!(response.header("Upload-Offset"), None, "{kind}");
        if status == 500 {
            failed(&response);
        }
        assert_eq!(server.offset(&path), 5, "{kind}");
        completed(&server, &path, b"hello world");
        // An owner that runs beside the one that died has not noticed.
        untouched.send(&b"hello world"[letter as usize - 1..letter as usize]);
        if server.is_on_disk() {
            wait_until("the byte is stored", || server.stored(&bystander) == letter);
        } else {
            wait_until("the byte is read", || untouched.is_read());
        }
    }
    untouched.answer().appended(11);
    assert_eq!(server.content(&bystander), b"hello world");
    wait_until("all are in the log", || server.log().matches("injected panic: ").count() == 5);
    server.unharmed();
}

/// The request that holds the lease when the owner dies is told, and what was stored counts.
#[test]
fn a_panic_ends_the_patch_that_runs() {
    let server = Server::start_faulty(&[]);
    for kind in ["inspect", "read", "begin"] {
        let path = server.create(11);
        let mut running = server.stalled_patch(&path, 0, 11, b"hello");
        server.fault(&format!("panic {kind} 1"));
        match kind {
            "inspect" => assert_eq!(server.head(&path).status, 423),
            "read" => failed(&server.get(&path, &[])),
            _ => failed(&server.patch(&path, 5, b" world")),
        }
        let response = running.answer();
        failed(&response);
        running.finish();
        assert!(response.closes() && running.closed());
        // In S3 what was not acknowledged is lost with the owner.
        assert_eq!(server.offset(&path), if server.is_on_disk() { 5 } else { 0 });
        completed(&server, &path, b"hello world");
    }
}

/// Of tentative bytes nothing counts when the owner dies amid them.
#[test]
fn a_panic_amid_a_checked_body_leaves_nothing() {
    let server = Server::start_faulty(&[]);
    let path = server.create(11);
    let mut running = server.stalled_patch_with(&path, 0, &DIGEST, 11, b"hello");
    server.fault("panic append 1");
    running.send(b" world");
    failed(&running.answer());
    assert_eq!(server.offset(&path), 0);
    server.patch_with(&path, 0, &DIGEST, b"hello world").appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// While the disk hangs under one upload, all others go on.
#[test]
fn a_write_that_hangs_holds_up_nobody_else() {
    let server = Server::start_faulty(&[]);
    let (slow, path) = (server.create(11), server.create(11));
    server.patched(&slow, 0, b"hello");
    server.fault("hold write 1");
    let mut hanging = server.connect();
    hanging.send(rest_head(&slow) + " world");
    server.wait_until_held();
    assert_eq!(server.get(&slow, &[]).status, 400, "GET asks the owner, which is not held up");
    assert_eq!(server.offset(&path), 0);
    server.patched(&path, 0, b"hello world");
    assert_eq!(server.content(&path), b"hello world");
    server.patch_with(&server.create(11), 0, &DIGEST, b"hello world").appended(11);
    assert_eq!(server.delete(&path).status, 204);
    assert_eq!(server.stored(&slow), 5);
    assert!(hanging.silent(), "the write was to hang");
    server.fault("");
    hanging.answer().appended(11);
    assert_eq!(server.content(&slow), b"hello world");
}

/// `storage.memory_budget_bytes`: while the disk hangs, bodies stay in their sockets; nothing is lost.
#[test]
fn bodies_wait_when_the_memory_for_them_is_spent() {
    const UPLOADS: usize = 40;
    // The memory for S3 must hold two parts at least, and no disk's thread can be held there.
    if support::IN_S3 {
        return;
    }
    let server =
        Server::start_faulty(&["--set", "storage.memory_budget_bytes=2097152", "--set", "pools.disk.workers=1"]);
    let bytes: Vec<u8> = (0..4_u32 << 20).map(|at| (at >> 8) as u8).collect();
    let paths: Vec<String> = (0..UPLOADS).map(|_| server.create(bytes.len() as u64)).collect();
    server.fault("hold write 1");
    let (sent, idle) = (AtomicU64::new(0), server.peak_memory());
    std::thread::scope(|scope| {
        for path in &paths {
            let (bytes, sent, address) = (&bytes, &sent, server.address);
            scope.spawn(move || {
                let length = bytes.len().to_string();
                let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", &length)];
                let mut client = Client::connect(address);
                client.send(head("PATCH", path, &headers));
                for piece in bytes.chunks(64 << 10) {
                    client.send(piece);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                client.answer().appended(bytes.len() as u64);
            });
        }
        server.wait_until_held();
        // Until the clients get no further. Too early a look would only make the test see less.
        let (mut before, mut looks) = (0, 0);
        wait_until("the clients are held up", || {
            let now = sent.load(Ordering::Relaxed);
            looks = if std::mem::replace(&mut before, now) == now { looks + 1 } else { 0 };
            looks > 30
        });
        // With two messages of 1 MiB for each upload it would be 80 MiB more.
        let taken_mib = (server.peak_memory() - idle) >> 20;
        assert!(taken_mib < 40, "the server has taken {taken_mib} MiB");
        assert_eq!(server.options().status, 200, "whoever needs no memory is served");
        server.fault("");
    });
    for path in &paths {
        assert_eq!(server.content(path), bytes);
    }
    server.unharmed();
}

/// `timeouts.store_secs`: whoever waits for an upload whose disk hangs is sent away, and told to come again.
#[test]
fn whoever_waits_for_a_disk_that_hangs_is_sent_away() {
    let server = Server::start_faulty(&["--set", "timeouts.store_secs=1"]);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    server.fault("hold write 1");
    let mut hanging = server.connect();
    hanging.send(rest_head(&path) + " wo");
    server.wait_until_held();
    let response = server.head(&path);
    assert_eq!((response.status, response.header("Upload-Offset")), (423, None), "{response:?}");
    let response = server.patch(&path, 5, b" world");
    response.refused(503, "ERR_OVERLOADED");
    assert_eq!(response.the("Retry-After"), "1");
    server.fault("");
    // HEAD had asked for the upload, so the request in whose way the disk stood is ended with its bytes kept.
    hanging.answer().refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert_eq!(server.offset(&path), 8);
    completed(&server, &path, b"hello world");
}

/// The same for a store that does not come back with an upload, or with a new one.
#[test]
fn whoever_waits_for_an_upload_to_be_opened_is_sent_away() {
    let mut server = Server::start_faulty(&["--set", "timeouts.store_secs=1"]);
    let path = server.create(11);
    server.patched(&path, 0, b"hello");
    server.restart();
    server.fault("hold open 1\nhold create 1");
    assert_eq!(server.head(&path).status, 423);
    server.patch(&path, 5, b" world").refused(503, "ERR_OVERLOADED");
    server.get(&path, &[]).refused(503, "ERR_OVERLOADED");
    server.delete(&path).refused(503, "ERR_OVERLOADED");
    server.post(&[("Upload-Length", "5")], b"").refused(503, "ERR_OVERLOADED");
    server.fault("");
    completed(&server, &path, b"hello world");
    server.unharmed();
}

/// `timeouts.write_secs`: a client that does not read its download loses its connection, and others theirs not.
#[test]
fn a_client_that_does_not_read_is_given_up() {
    let server = Server::start(&["--set", "timeouts.write_secs=1"]);
    let content: Vec<u8> = (0..32_000_000_u32).map(|index| (index % 251) as u8).collect();
    let path = server.uploaded(&content);
    let mut deaf: Client = server.connect();
    deaf.send(head("GET", &path, &[("X-Request-ID", "deaf")]));
    let line = || server.log().lines().any(|line| line.contains("\"deaf\"") && line.contains("sent_bytes"));
    wait_until("the request has ended", line);
    assert!(server.content(&path) == content);
}
