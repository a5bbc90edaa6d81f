//! An S3 service that fails in one place at a time: what was acknowledged stays, what was not is sent again.

mod support;

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, Ordering},
};

use support::{Bed, Server, pause, wait_until};
use wharf_s3_testbed::{Fault, Kind, Operation, Proxy};

const MIB: usize = 1 << 20;

/// A failure that trying again does not mend.
const DENIED: Kind = Kind::Answer(403, "AccessDenied");

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at / 4099) as u8).collect()
}

/// A server with a proxy before its bed; parts have 5 MiB.
fn server(flags: &[&str]) -> (Server, Proxy) {
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    let endpoint = proxy.endpoint();
    (Server::start_s3(bed, Some(&endpoint), flags), proxy)
}

/// A part that fails while others are on their way costs what lies behind it, and no owner.
#[test]
fn a_part_that_fails_costs_what_lies_behind_it() {
    for failing in 1..=5 {
        let (server, proxy) = server(&[]);
        let bytes = bytes(26 * MIB);
        let path = server.create(bytes.len() as u64);
        proxy.script(vec![Fault::new(Operation::UploadPart, DENIED).part(failing)]);
        assert_eq!(server.patch(&path, 0, &bytes).status, 500, "part {failing}");
        let offset = server.offset(&path);
        assert_eq!(offset, (u64::from(failing) - 1) * 5 * MIB as u64, "part {failing}");
        server.patched(&path, offset, &bytes[offset as usize..]);
        assert!(server.content(&path) == bytes, "part {failing}");
        assert!(!server.log().contains("\"cut:"), "{}", server.log());
    }
}

/// A list of parts that lags behind what was stored takes no acknowledged byte away: the tail tells that parts are missing.
#[test]
fn a_list_that_lags_loses_nothing() {
    let (mut server, proxy) = server(&[]);
    let bytes = bytes(13 * MIB);
    let path = server.create(bytes.len() as u64);
    server.patched(&path, 0, &bytes[..11 * MIB]);
    for (all, times) in [(false, 2), (true, 3)] {
        server.kill();
        proxy.script(vec![Fault::new(Operation::ListParts, Kind::HideParts { all }).times(times)]);
        server.start_again();
        assert_eq!(server.offset(&path), 11 * MIB as u64);
    }
    server.kill();
    proxy.script(vec![Fault::new(Operation::ListParts, Kind::HideParts { all: false }).always()]);
    server.start_again();
    // Told as something that passes, so that no client throws the upload away.
    assert_eq!(server.head(&path).status, 423);
    proxy.calm();
    assert_eq!(server.offset(&path), 11 * MIB as u64);
    server.patched(&path, 11 * MIB as u64, &bytes[11 * MIB..]);
    assert!(server.content(&path) == bytes);
}

/// Parts behind one that was not stored when the server died never count, and shift nothing.
#[test]
fn a_gap_shifts_no_bytes() {
    let (mut server, proxy) = server(&[]);
    let bytes = bytes(21 * MIB);
    let path = server.create(bytes.len() as u64);
    proxy.script(vec![Fault::new(Operation::UploadPart, Kind::Hold).part(2)]);
    let _running = server.stalled_patch(&path, 0, bytes.len() as u64, &bytes[..16 * MIB]);
    wait_until("the parts around it are stored", || server.bed().multipart_uploads()[0].parts.len() == 2);
    server.kill();
    server.start_again();
    assert_eq!(server.offset(&path), 5 * MIB as u64);
    server.patched(&path, 5 * MIB as u64, &bytes[5 * MIB..12 * MIB]);
    server.kill();
    server.start_again();
    assert_eq!(server.offset(&path), 12 * MIB as u64);
    server.patched(&path, 12 * MIB as u64, &bytes[12 * MIB..]);
    assert!(server.content(&path) == bytes);
    assert!(server.bed().multipart_uploads().is_empty());
}

/// A DELETE does not wait for a part that hangs, and what comes of that part is cleared away.
#[test]
fn a_delete_does_not_wait_for_a_part_that_hangs() {
    let (server, proxy) = server(&[]);
    let bytes = bytes(6 * MIB);
    let path = server.create(100 * MIB as u64);
    proxy.script(vec![Fault::new(Operation::UploadPart, Kind::Hold)]);
    let _running = server.stalled_patch(&path, 0, 50 * MIB as u64, &bytes);
    wait_until("the part hangs", || proxy.held() == 1);
    assert_eq!(server.delete(&path).status, 204);
    assert!(server.names().is_empty() && server.bed().multipart_uploads().is_empty());
    let aborts = server.bed().calls().count("AbortMultipartUpload");
    proxy.release();
    wait_until("what came late is aborted", || server.bed().calls().count("AbortMultipartUpload") > aborts);
    server.head(&path).gone();
    server.unharmed();
}

/// What S3 can't take in 10,000 parts that fit into memory is refused when it is announced.
#[test]
fn an_upload_that_s3_cannot_take_is_refused() {
    let (server, _proxy) = server(&[]);
    let longest: u64 = server.options().the("Tus-Max-Size").parse().expect("a number");
    assert_eq!(longest, 625 << 30, "5,000 parts of half of the memory budget");
    server.create(longest);
    server.post(&[("Upload-Length", &(longest + 1).to_string())], b"").refused(413, "ERR_MAX_SIZE_EXCEEDED");
}

/// A download that S3 breaks off is gone on with.
#[test]
fn a_download_that_breaks_off_is_gone_on_with() {
    let (server, proxy) = server(&[]);
    let bytes = bytes(9 * MIB);
    let path = server.create(bytes.len() as u64);
    server.patched(&path, 0, &bytes);
    proxy.script(vec![Fault::new(Operation::GetObject, Kind::CutAnswer).times(3)]);
    assert!(server.content(&path) == bytes);
    assert!(proxy.counts().faulty() == 3);
}

/// On the way down a server brings what it has to S3 and ends, also with a part in the air.
#[test]
fn a_shutdown_waits_for_the_parts() {
    let (mut server, proxy) = server(&["--set", "timeouts.shutdown_secs=2"]);
    let bytes = bytes(6 * MIB);
    let path = server.create(20 * MIB as u64);
    proxy.script(vec![Fault::new(Operation::UploadPart, Kind::Hold)]);
    let mut client = server.stalled_patch(&path, 0, 20 * MIB as u64, &bytes);
    wait_until("the part hangs", || proxy.held() == 1);
    server.signal(support::Signal::TERM);
    client.answer().refused(503, "ERR_SERVER_SHUTDOWN");
    proxy.release();
    assert!(server.ended().success());
    server.start_again();
    assert_eq!(server.offset(&path), bytes.len() as u64);
}

/// When memory is scarce, clients that send a byte now and then keep no more of it than those that stall.
#[test]
fn a_trickle_keeps_no_memory() {
    let settings = ["storage.memory_budget_bytes=10485760", "storage.s3.tentative_max_bytes=1048576"];
    let (server, _proxy) = server(&["--set", settings[0], "--set", settings[1]]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let path = server.create(100 * MIB as u64);
            let mut client = server.stalled_patch(&path, 0, 50 * MIB as u64, &bytes(9 * MIB / 2));
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    client.send(b"x");
                    pause();
                }
            });
        }
        // The first to give way ends the need of the other. Both threads end, also when this is in vain.
        let found = std::panic::catch_unwind(AssertUnwindSafe(|| {
            wait_until("the bytes of one are in S3", || server.names().iter().any(|name| name.ends_with(".part")));
        }));
        is_over.store(true, Ordering::Relaxed);
        assert!(found.is_ok(), "both keep their memory");
    });
}

/// With requests of 1 MiB no more than four bytes go to S3 for each that came in, whatever parts are like.
#[test]
fn small_requests_cost_at_most_four_times_their_bytes() {
    const SENT: usize = 22 * MIB;
    for part_mib in [5, 8, 50] {
        let part = format!("storage.s3.part_size_bytes={}", part_mib * MIB);
        let (server, _proxy) = server(&["--set", &part]);
        for length in [("Upload-Length", SENT.to_string()), ("Upload-Defer-Length", "1".to_owned())] {
            server.bed().clear();
            let (bytes, path) = (bytes(SENT), server.create_with(&[(length.0, &length.1)]));
            for (at, piece) in bytes.chunks(MIB).enumerate() {
                server.patched(&path, (at * MIB) as u64, piece);
            }
            let received: u64 = server.bed().calls().received.values().sum();
            let ratio = received as f64 / bytes.len() as f64;
            assert!(ratio <= 4.0, "{ratio:.2} bytes for each, {} with parts of {part_mib} MiB", length.0);
            if length.0 == "Upload-Defer-Length" {
                server.patch_with(&path, bytes.len() as u64, &[("Upload-Length", &bytes.len().to_string())], b"");
            }
            assert!(server.content(&path) == bytes);
        }
    }
}
