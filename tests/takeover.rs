//! Requests that meet on one upload: the newcomer never waits for a stalled one, and no two writers mix.

mod support;

use std::sync::Barrier;

use support::{OFFSET_TYPE, Response, Server, head};

/// HEAD is answered while the stalled PATCH's socket is still open, and its offset is one to go on from.
#[test]
fn head_takes_over_from_a_stalled_patch() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut stalled = server.stalled_patch(&path, 0, 11, b"hello");
    assert_eq!(server.offset(&path), 5);
    server.patched(&path, 5, b" world");
    let response = stalled.answer();
    response.refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert!(response.closes() && stalled.closed());
    assert_eq!(server.content(&path), b"hello world");
}

/// A PATCH with the right offset does so without asking first.
#[test]
fn patch_takes_over_from_a_stalled_patch() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut stalled = server.stalled_patch(&path, 0, 11, b"hello");
    server.patched(&path, 5, b" world");
    stalled.answer().refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert!(stalled.closed());
    assert_eq!(server.content(&path), b"hello world");
}

/// Many times over: each newcomer ends the one before.
#[test]
fn a_take_over_can_be_taken_over() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut clients = Vec::new();
    for offset in 0..10 {
        clients.push(server.stalled_patch(
            &path,
            offset,
            11 - offset,
            &b"hello world"[offset as usize..=offset as usize],
        ));
    }
    server.patched(&path, 10, b"d");
    for client in &mut clients {
        client.answer().refused(400, "ERR_UPLOAD_INTERRUPTED");
    }
    assert_eq!(server.content(&path), b"hello world");
}

/// What a client sends after it was interrupted goes nowhere.
#[test]
fn bytes_that_come_after_the_interruption_are_not_stored() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut stalled = server.stalled_patch(&path, 0, 11, b"hello");
    assert_eq!(server.offset(&path), 5);
    stalled.send("WORLD!");
    stalled.answer().refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert!(stalled.closed());
    assert_eq!((server.offset(&path), server.stored(&path)), (5, 5));
    server.patched(&path, 5, b" world");
    assert_eq!(server.content(&path), b"hello world");
}

/// Requests, DELETE: it ends a stalled PATCH and the upload.
#[test]
fn delete_takes_over_from_a_stalled_patch() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut stalled = server.stalled_patch(&path, 0, 11, b"hello");
    assert_eq!(server.delete(&path).status, 204);
    let response = stalled.answer();
    assert!(matches!(response.status, 400 | 404 | 410), "{response:?}");
    assert!(stalled.closed());
    server.head(&path).gone();
    assert_eq!(server.names(), Vec::<String>::new());
}

/// The id of the one upload that there is, known to nobody yet.
fn created_id(server: &Server) -> Option<String> {
    let name = server.names().into_iter().find_map(|name| name.strip_suffix(".info").map(str::to_owned))?;
    if server.is_on_disk() {
        return Some(name);
    }
    let uploads = server.bucket().visitor().multipart_uploads();
    uploads.into_iter().find(|upload| upload.key == name).map(|upload| format!("{name}+{}", upload.upload_id))
}

/// A creation with a body that stalls is ended like a PATCH: its upload can be finished by another request.
#[test]
fn a_stalled_creation_is_taken_over() {
    let server = Server::start(&[]);
    let mut stalled = server.connect();
    let headers = [OFFSET_TYPE, ("Upload-Length", "11"), ("Content-Length", "11"), ("Expect", "100-continue")];
    stalled.send(head("POST", &server.base, &headers));
    assert_eq!(stalled.interim(), 100);
    // In S3 nothing shows of the bytes; but they are read from the socket when the upload is there to take them.
    stalled.send("hello");
    let mut id = String::new();
    support::wait_until("the upload is created", || {
        id = created_id(&server).unwrap_or_default();
        !id.is_empty()
    });
    let path = format!("{}{id}", server.base);
    support::wait_until("it has its bytes", || {
        if server.is_on_disk() { server.stored(&path) == 5 } else { stalled.is_read() }
    });
    assert_eq!(server.offset(&path), 5);
    server.patched(&path, 5, b" world");
    let response = stalled.answer();
    response.refused(400, "ERR_UPLOAD_INTERRUPTED");
    assert_eq!(response.path(), path);
    assert_eq!(server.content(&path), b"hello world");
}

/// Requests, PATCH: an offset already passed is 409, and the PATCH that runs goes on.
#[test]
fn a_stale_patch_leaves_a_running_one_unharmed() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut running = server.stalled_patch(&path, 0, 11, b"hello");
    for offset in [0, 4] {
        server.patch(&path, offset, b"X").refused(409, "ERR_MISMATCHED_OFFSET");
    }
    running.send(" world");
    running.answer().appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// A request that is refused by its head alone has no business with the running one.
#[test]
fn a_malformed_patch_leaves_a_running_one_unharmed() {
    let server = Server::start(&[]);
    let path = server.create(11);
    let mut running = server.stalled_patch(&path, 0, 11, b"hello");
    server.patch_with(&path, 5, &[("Tus-Resumable", "0.2.2")], b"X").refused(412, "ERR_UNSUPPORTED_VERSION");
    let headers = [("Content-Type", "text/plain"), ("Upload-Offset", "5")];
    server.request("PATCH", &path, &headers, b"X").refused(415, "ERR_INVALID_CONTENT_TYPE");
    server.request("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "five")], b"X").refused(400, "ERR_INVALID_OFFSET");
    assert_eq!(server.request("PUT", &path, &[], b"").status, 405);
    running.send(" world");
    running.answer().appended(11);
    assert_eq!(server.content(&path), b"hello world");
}

/// Sixteen writers at one offset: the file holds the bytes of one, and the others know that theirs are not in it.
#[test]
fn of_patches_at_once_one_wins() {
    const LENGTH: usize = 300_000;
    let server = Server::start(&[]);
    for _ in 0..3 {
        let path = server.create(LENGTH as u64);
        let barrier = Barrier::new(16);
        let responses: Vec<Response> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16_u8)
                .map(|writer| {
                    let (server, path, barrier) = (&server, &path, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        server.patch(path, 0, &vec![b'a' + writer; LENGTH])
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        for response in &responses {
            match response.status {
                204 => assert_eq!(response.offset(), LENGTH as u64),
                409 => response.refused(409, "ERR_MISMATCHED_OFFSET"),
                _ => response.refused(400, "ERR_UPLOAD_INTERRUPTED"),
            }
        }
        let winners: Vec<usize> = (0..16).filter(|writer| responses[*writer].status == 204).collect();
        let [winner] = winners[..] else { panic!("{winners:?} say that the upload holds their bytes") };
        let stored = server.content(&path);
        assert!(stored == vec![b'a' + winner as u8; LENGTH], "the bytes are not those of the writer that got the 204");
        assert_eq!(server.offset(&path), LENGTH as u64);
    }
}

/// HEADs, many at once, between the chunks of an upload: each offset is one that was reached, none goes back.
#[test]
fn heads_between_patches_tell_offsets_that_were_reached() {
    let server = Server::start(&[]);
    let path = server.create(40);
    for step in 0..8 {
        server.patched(&path, step * 5, b"hello");
        let offsets: Vec<u64> = std::thread::scope(|scope| {
            let heads: Vec<_> = (0..4).map(|_| scope.spawn(|| server.offset(&path))).collect();
            heads.into_iter().map(|head| head.join().unwrap()).collect()
        });
        assert_eq!(offsets, [(step + 1) * 5; 4]);
    }
    assert_eq!(server.content(&path), b"hello".repeat(8));
}

/// Reading a finished upload needs nobody's leave: a reader that stalls keeps no other waiting.
#[test]
fn finished_uploads_are_read_in_parallel() {
    let server = Server::start(&[]);
    let bytes = vec![42; 8 << 20];
    let path = server.uploaded(&bytes);
    let mut stalled: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.connect();
            client.send(head("GET", &path, &[]));
            client
        })
        .collect();
    assert!(server.content(&path) == bytes);
    assert_eq!(server.offset(&path), bytes.len() as u64);
    server.patch(&path, 0, b"X").refused(409, "ERR_MISMATCHED_OFFSET");
    for client in &mut stalled {
        assert!(client.answer().body == bytes, "a stalled reader gets its bytes in the end");
    }
}

/// An owner that retired with nothing to do is started again by the next request.
#[test]
fn an_upload_goes_on_after_its_owner_retired() {
    let server = Server::start(&["--set", "timeouts.idle_owner_secs=1"]);
    // That an owner has retired shows by the file it closes only.
    if !server.is_on_disk() {
        return;
    }
    let path = server.create(10);
    for step in 0..5 {
        server.patched(&path, step * 2, b"ab");
        let file = server.file_of(&path);
        support::wait_until("the server has closed the file", || !open_in_any_process(&file));
        assert_eq!(server.offset(&path), step * 2 + 2);
    }
    assert_eq!(server.content(&path), b"ab".repeat(5));
}

/// Whether any process that may be looked at, the server among them, has this file open.
fn open_in_any_process(file: &std::path::Path) -> bool {
    let links = std::fs::read_dir("/proc")
        .expect("the list of processes")
        .flatten()
        .filter_map(|process| std::fs::read_dir(process.path().join("fd")).ok());
    links.flatten().flatten().any(|link| std::fs::read_link(link.path()).is_ok_and(|target| target == file))
}
