//! How much is taken, and what: unfinished uploads, creations, bytes per second, types and sizes.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use support::{OFFSET_TYPE, Response, Server, admin::ADMIN, wait_until};

const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");
const ONE: (&str, &str) = ("Upload-Length", "1");

/// Flags for these settings.
fn set<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|setting| ["--set", setting]).collect()
}

/// Upload-Metadata with these pairs.
fn metadata(pairs: &[(&str, &str)]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let pairs = pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn filetype(filetype: &str) -> String {
    metadata(&[("filetype", filetype), ("filename", "a.png")])
}

#[track_caller]
fn limited(response: &Response, code: &str) {
    response.refused(429, code);
    let after: u64 = response.the("Retry-After").parse().expect("seconds");
    assert!((1..=70).contains(&after), "{after}");
}

/// How many of 64 clients, who all try at once, get an upload.
fn created_by_64(create: impl Fn(usize) -> Response + Sync, code: &str) -> usize {
    let created = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..64 {
            let (create, created) = (&create, &created);
            scope.spawn(move || {
                let response = create(client);
                if response.status == 201 {
                    created.fetch_add(1, Ordering::Relaxed);
                } else {
                    limited(&response, code);
                }
            });
        }
    });
    created.into_inner()
}

/// How many unfinished uploads count.
fn counted(server: &Server) -> f64 {
    server.metric("wharf_uploads_counted")
}

#[test]
fn an_owner_has_so_many_unfinished_uploads_and_no_more() {
    let server = Server::start_guarded(&set(&["limits.open_per_owner=10"]));
    let (ann, bob) = (server.as_subject("ann"), server.as_subject("bob"));
    assert_eq!(created_by_64(|_| ann.post(&[ONE]), "ERR_TOO_MANY_UPLOADS"), 10);
    assert_eq!((server.count(), counted(&server)), (10, 10.0));
    assert_eq!(bob.post(&[ONE]).status, 201);
    assert_eq!(server.metric("wharf_check_refusals_total{cause=\"open_per_owner\"}"), 54.0);
}

#[test]
fn one_address_has_so_many_unfinished_uploads_and_no_more() {
    let server = Server::start_watched(&set(&["limits.open_per_address=10"]));
    assert_eq!(created_by_64(|_| server.post(&[ONE], b""), "ERR_TOO_MANY_UPLOADS"), 10);
    // What a client says of itself is nothing.
    let response = server.post(&[ONE, ("X-Forwarded-For", "192.0.2.1")], b"");
    limited(&response, "ERR_TOO_MANY_UPLOADS");
    assert_eq!(counted(&server), 10.0);
}

#[test]
fn behind_a_proxy_the_address_counts_that_it_tells() {
    let server = Server::start_watched(&set(&["limits.open_per_address=2", "server.behind_proxy=true"]));
    let from = |told: &str| server.post(&[ONE, ("X-Forwarded-For", told)], b"");
    for (told, is_taken) in [
        ("192.0.2.1", true),
        ("192.0.2.1", true),
        ("192.0.2.1", false),
        // A client says what it likes before what the proxy says.
        ("192.0.2.9, 192.0.2.1", false),
        ("192.0.2.2", true),
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("[2001:db8::3]:80", false),
        ("2001:db8:0:1::1", true),
    ] {
        let response = from(told);
        if is_taken {
            assert_eq!(response.status, 201, "{told}: {response:?}");
        } else {
            limited(&response, "ERR_TOO_MANY_UPLOADS");
        }
    }
}

#[test]
fn what_ends_makes_room_however_it_ends() {
    let mut server = Server::start_faulty(
        &[&ADMIN[..], &set(&["limits.open_per_address=1", "expiration.after_secs=1", "expiration.interval_secs=1"])]
            .concat(),
    );
    if !server.is_on_disk() {
        return;
    }
    let full = || limited(&server.post(&[("Upload-Length", "5")], b""), "ERR_TOO_MANY_UPLOADS");
    let free = || assert_eq!(counted(&server), 0.0);
    // Finished, by its last byte or because it has none.
    let path = server.create(5);
    full();
    server.patched(&path, 0, b"hello");
    free();
    server.create(0);
    free();
    assert_eq!(server.post(&[OFFSET_TYPE, ("Upload-Length", "5")], b"hello").status, 201);
    free();
    // Deleted.
    let path = server.create(5);
    full();
    assert_eq!(server.delete(&path).status, 204);
    free();
    // Expired.
    server.create(5);
    wait_until("the upload expires", || counted(&server) == 0.0);
    // Refused, by its head or by the store.
    server.post(&[("Upload-Length", "x")], b"").refused(400, "ERR_INVALID_UPLOAD_LENGTH");
    server.fault("nospace create 1");
    server.post(&[("Upload-Length", "5")], b"").refused(507, "ERR_INSUFFICIENT_STORAGE");
    free();
    // A restart, after which nothing is counted that was before.
    let path = server.create(5);
    full();
    server.stop();
    server.start_again();
    assert_eq!(counted(&server), 0.0);
    drop(path);
}

#[test]
fn a_final_upload_counts_until_it_is_whole() {
    let server = Server::start_watched(&set(&["limits.open_per_address=3"]));
    let [first, second] = [(); 2].map(|()| server.create_with(&[PARTIAL, ("Upload-Length", "5")]));
    server.create_with(&[("Upload-Concat", &format!("final;{first} {second}"))]);
    assert_eq!(counted(&server), 3.0);
    limited(&server.post(&[ONE], b""), "ERR_TOO_MANY_UPLOADS");
    server.patched(&first, 0, b"hello");
    server.patched(&second, 0, b"world");
    wait_until("all are whole", || counted(&server) == 0.0);
}

#[test]
fn so_many_uploads_are_created_in_a_minute_and_no_more() {
    let server = Server::start_guarded(&set(&["limits.creations_per_minute_per_owner=10"]));
    let (ann, bob) = (server.as_subject("ann"), server.as_subject("bob"));
    let create = |_| {
        // Finished at once: what has been created counts, whatever became of it.
        ann.post(&[("Upload-Length", "0")])
    };
    assert_eq!(created_by_64(create, "ERR_TOO_MANY_CREATIONS"), 10);
    assert_eq!(bob.post(&[ONE]).status, 201);
    let server = Server::start(&set(&["limits.creations_per_minute_per_address=10"]));
    assert_eq!(created_by_64(|_| server.post(&[ONE], b""), "ERR_TOO_MANY_CREATIONS"), 10);
}

#[test]
fn limits_change_while_all_goes_on() {
    let server = Server::start_watched(&[]);
    let mut events = server.events("?only=settings_reloaded");
    let save = |text: &str| std::fs::write(server.beside("settings.toml"), text).unwrap();
    server.create(1);
    save("[limits]\nopen_per_address = 1\n");
    assert_eq!(events.next("settings_reloaded")["applied"], json!(["limits.open_per_address"]));
    assert_eq!(server.post(&[ONE], b"").status, 201);
    limited(&server.post(&[ONE], b""), "ERR_TOO_MANY_UPLOADS");
    save("[checks]\nrequired_metadata = [\"filename\"]\n");
    events.next("settings_reloaded");
    server.post(&[ONE], b"").refused(400, "ERR_METADATA_REQUIRED");
    save("");
    events.next("settings_reloaded");
    assert_eq!(server.post(&[ONE], b"").status, 201);
}

/// A client that is too fast is slowed down by what stays in the socket: nothing is refused, and nothing is held for it.
#[test]
fn bytes_that_come_too_fast_wait_in_the_socket() {
    for limit in ["limits.bytes_per_sec_per_upload=2048", "limits.bytes_per_sec_in_all=2048"] {
        let server = Server::start_watched(&set(&[limit]));
        let (path, bytes) = (server.create(4096), vec![b'x'; 4096]);
        let mut client = server.connect();
        client.send(support::head("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "4096")]));
        client.send(&bytes);
        let waits = || server.metric("wharf_throttle_waits_total");
        wait_until("it has to wait", || waits() >= 1.0);
        wait_until("nothing is held while it waits", || {
            let used = server.metric("wharf_memory_used_bytes");
            assert!(used <= 1024.0, "{used}");
            used == 0.0
        });
        // HEAD ends the request, whether it waits or not, and what was taken is kept.
        let offset = server.offset(&path);
        assert!(offset.is_multiple_of(1024), "{offset}");
        if offset < 4096 {
            client.answer_to("PATCH").refused(400, "ERR_UPLOAD_INTERRUPTED");
            server.patched(&path, offset, &bytes[usize::try_from(offset).unwrap()..]);
        }
        assert_eq!(server.content(&path), bytes, "{limit}");
    }
    let server = Server::start_watched(&[]);
    server.uploaded(&[7; 100_000]);
    assert_eq!(server.metric("wharf_throttle_waits_total"), 0.0);
}

#[test]
fn types_names_and_metadata_are_as_they_must_be() {
    let server = Server::start(&set(&[
        "checks.required_metadata=filename,case",
        "checks.allowed_types=image/*,application/pdf",
        "checks.allowed_extensions=png,.PDF",
    ]));
    let post = |pairs: &[(&str, &str)]| server.post(&[ONE, ("Upload-Metadata", &metadata(pairs))], b"");
    let full = |filetype, filename| [("case", "7"), ("filetype", filetype), ("filename", filename)];
    assert_eq!(post(&full("image/png", "a.png")).status, 201);
    assert_eq!(post(&full("Application/PDF; x=y", "A.PDF")).status, 201);
    post(&full("text/html", "a.png")).refused(415, "ERR_FILE_TYPE_NOT_ALLOWED");
    post(&full("image/png", "a.html")).refused(415, "ERR_FILE_TYPE_NOT_ALLOWED");
    post(&full("", "a.png")).refused(415, "ERR_FILE_TYPE_NOT_ALLOWED");
    post(&[("filetype", "image/png"), ("filename", "a.png")]).refused(400, "ERR_METADATA_REQUIRED");
    server.post(&[ONE], b"").refused(400, "ERR_METADATA_REQUIRED");
    assert_eq!(server.count(), 2);
    // Who waits for leave to send is told before.
    let metadata = metadata(&full("text/html", "a.png"));
    let mut client = server.connect();
    let headers =
        [OFFSET_TYPE, ONE, ("Upload-Metadata", &metadata), ("Content-Length", "1"), ("Expect", "100-continue")];
    client.send(support::head("POST", &server.base, &headers));
    let response = client.answer();
    response.refused(415, "ERR_FILE_TYPE_NOT_ALLOWED");
    assert_eq!(response.interims, Vec::<u16>::new());
    // Partial uploads leave it to the final one, which is judged.
    let [first, second] = [(); 2].map(|()| server.uploaded_with(&[PARTIAL], b"hello"));
    let concat = format!("final;{first} {second}");
    server
        .post(&[("Upload-Concat", &concat), ("Upload-Metadata", &metadata)], b"")
        .refused(415, "ERR_FILE_TYPE_NOT_ALLOWED");
    server.post(&[PARTIAL, ONE, ("Upload-Metadata", &metadata)], b"").refused(415, "ERR_FILE_TYPE_NOT_ALLOWED");
}

#[test]
fn a_size_by_type_holds_whenever_the_length_is_known() {
    let mut server = Server::start(&set(&["checks.max_size_by_type=image/gif=5,image/*=8"]));
    let gif = filetype("image/gif");
    let with = |length: (&'static str, &'static str)| [length, ("Upload-Metadata", gif.as_str())];
    server.post(&with(("Upload-Length", "6")), b"").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    assert_eq!(server.post(&with(("Upload-Length", "5")), b"").status, 201);
    assert_eq!(server.post(&[("Upload-Length", "9"), ("Upload-Metadata", &filetype("text/plain"))], b"").status, 201);
    server
        .post(&[("Upload-Length", "9"), ("Upload-Metadata", &filetype("image/png"))], b"")
        .refused(413, "ERR_MAX_SIZE_EXCEEDED");
    const DEFERRED: (&str, &str) = ("Upload-Defer-Length", "1");
    // With the creation's own bytes.
    server.post(&[&with(DEFERRED)[..], &[OFFSET_TYPE]].concat(), b"too long").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    // When the length is declared.
    let path = server.create_with(&with(DEFERRED));
    server.patch_with(&path, 0, &[("Upload-Length", "6")], b"hello").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    server.patch_with(&path, 0, &[("Upload-Length", "5")], b"hello").appended(5);
    // When more bytes come, with their number and without, and after a restart as well.
    let path = server.create_with(&with(DEFERRED));
    server.patch(&path, 0, b"hel").appended(3);
    if server.is_on_disk() {
        server.restart();
    }
    server.patch(&path, 3, b"lo!").refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert_eq!(server.offset(&path), 3);
    let (offset, body) = ("3", support::chunked(b"lo!!!", 2, &[]));
    let headers = [OFFSET_TYPE, ("Upload-Offset", offset), ("Transfer-Encoding", "chunked")];
    server.request("PATCH", &path, &headers, &body).refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    assert_eq!(server.offset(&path), 5);
    // A final upload, by the sum.
    let [first, open] = [Some(b"hello"), None].map(|bytes: Option<&[u8; 5]>| match bytes {
        Some(bytes) => server.uploaded_with(&[PARTIAL], bytes),
        None => server.create_with(&[PARTIAL, DEFERRED]),
    });
    let join = |partials: [&str; 2]| {
        server.post(&[("Upload-Concat", &format!("final;{}", partials.join(" "))), ("Upload-Metadata", &gif)], b"")
    };
    join([&first, &first]).refused(413, "ERR_MAX_SIZE_EXCEEDED");
    // One whose sum shows late is given up.
    let late = join([&first, &open]);
    assert_eq!(late.status, 201, "{late:?}");
    server.patch_with(&open, 0, &[("Upload-Length", "1")], b"x").appended(1);
    wait_until("it is given up", || server.head(&late.path()).status == 404);
}
