//! Uploads to S3 over a service that fails in all ways at random, by clients that break off at random: each arrives whole, and
//! nothing else is left. `WHARF_SOAK_UPLOADS` says how many, `WHARF_SOAK_SEED` repeats a run.

mod support;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};
use support::{
    Bed, OFFSET_TYPE, Server, head,
    soak::{Random, setting},
    wait_until,
};
use wharf_s3_testbed::{Lag, Proxy};

const CALLERS: u64 = 8;
const MIB: u64 = 1 << 20;

/// How a request ends before its body does.
#[derive(Clone, Copy)]
enum Cut {
    Close,
    Reset,
    /// Stays open, and silent, while its client goes on elsewhere.
    Stall,
}

/// An upload as its client knows it.
struct Upload {
    path: String,
    bytes: Vec<u8>,
    /// The offset that the server has told.
    acknowledged: u64,
    /// The offset after all that was ever sent: a request that broke off may still be on its way.
    reach: u64,
}

struct Caller<'run> {
    server: &'run Server,
    random: Random,
    left: &'run AtomicU64,
    /// What has arrived: path and digest.
    arrived: &'run Mutex<Vec<(String, Vec<u8>)>>,
    cuts: u64,
}

impl Caller<'_> {
    fn run(mut self) -> u64 {
        let take = |left: u64| left.checked_sub(1);
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            if self.random.one_in(6) {
                self.joined();
            } else {
                self.single(&[]);
            }
        }
        self.cuts
    }

    fn content(&mut self) -> Vec<u8> {
        let length = match self.random.among(0..10) {
            0 => 0,
            1..4 => self.random.among(1..100_000),
            4..8 => self.random.among(100_000..7 * MIB),
            _ => self.random.among(7 * MIB..20 * MIB),
        };
        let mut bytes = Vec::with_capacity(length as usize + 8);
        while (bytes.len() as u64) < length {
            bytes.extend_from_slice(&self.random.next().to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes
    }

    /// Two partial uploads, and the one that they make.
    fn joined(&mut self) {
        let partial = [("Upload-Concat", "partial")];
        let parts = [self.single(&partial), self.single(&partial)];
        let concat = format!("final;{} {}", parts[0].0, parts[1].0);
        let path = self.server.create_with(&[("Upload-Concat", &concat)]);
        self.arrives(&path, &[parts[0].1.as_slice(), &parts[1].1].concat());
    }

    fn single(&mut self, headers: &[(&str, &str)]) -> (String, Vec<u8>) {
        let bytes = self.content();
        let length = bytes.len().to_string();
        let is_deferred = self.random.one_in(4);
        let declared = if is_deferred { ("Upload-Defer-Length", "1") } else { ("Upload-Length", length.as_str()) };
        let path = self.server.create_with(&[&[declared], headers].concat());
        let mut upload = Upload { path, bytes, acknowledged: 0, reach: 0 };
        while upload.acknowledged < upload.bytes.len() as u64 {
            self.append(&mut upload);
        }
        if is_deferred {
            wait_until("the length is declared", || {
                let offset = upload.acknowledged;
                let status = self.server.patch_with(&upload.path, offset, &[("Upload-Length", &length)], b"").status;
                // The answer may be lost, and the length declared.
                status == 204 || self.server.head(&upload.path).header("Upload-Length").is_some()
            });
        }
        self.arrives(&upload.path, &upload.bytes);
        (upload.path, upload.bytes)
    }

    /// One PATCH, whole or not.
    fn append(&mut self, upload: &mut Upload) {
        let from = upload.acknowledged;
        let rest = upload.bytes.len() as u64 - from;
        let length = if self.random.one_in(2) { rest } else { self.random.among(1..rest + 1) };
        let body = &upload.bytes[from as usize..(from + length) as usize];
        if self.random.one_in(2) {
            let response = self.server.patch(&upload.path, from, body);
            upload.reach = upload.reach.max(from + length);
            if response.status == 204 {
                assert_eq!(response.offset(), from + length, "{}", upload.path);
                upload.acknowledged = from + length;
                return;
            }
            // What S3 could not be made to take within its time is sent again; and a request that had broken off may come in
            // between, late but valid.
            assert!([400, 409, 500, 503].contains(&response.status), "{}: {response:?}", upload.path);
            return self.ask(upload);
        }
        self.cuts += 1;
        let sent = &body[..self.random.index(body.len() + 1)];
        let (offset, announced) = (from.to_string(), length.to_string());
        let headers = [OFFSET_TYPE, ("Upload-Offset", offset.as_str()), ("Content-Length", &announced)];
        let mut client = self.server.connect();
        client.send(head("PATCH", &upload.path, &headers));
        client.send(sent);
        upload.reach = upload.reach.max(from + sent.len() as u64);
        let _stalled = match [Cut::Close, Cut::Reset, Cut::Stall][self.random.index(3)] {
            Cut::Close => None,
            Cut::Reset => {
                client.reset();
                None
            }
            Cut::Stall => Some(client),
        };
        self.ask(upload);
    }

    /// The offset that HEAD tells: no byte of what was acknowledged is missing, and none was made up.
    fn ask(&self, upload: &mut Upload) {
        let offset = self.server.offset(&upload.path);
        let possible = upload.acknowledged..=upload.reach;
        assert!(possible.contains(&offset), "{}: {offset} is not in {possible:?}", upload.path);
        upload.acknowledged = offset;
    }

    fn arrives(&self, path: &str, bytes: &[u8]) {
        let mut response = self.server.get(path, &[]);
        wait_until("it can be read", || {
            if response.status != 200 {
                response = self.server.get(path, &[]);
            }
            response.status == 200
        });
        let digest = Sha256::digest(bytes).to_vec();
        assert_eq!(Sha256::digest(&response.body).to_vec(), digest, "{path} came back changed");
        self.arrived.lock().expect("no caller has failed").push((path.to_owned(), digest));
    }
}

#[test]
fn uploads_arrive_whole_over_a_service_that_fails() {
    let (uploads, seed) = (setting("WHARF_SOAK_UPLOADS", 24), setting("WHARF_SOAK_SEED", 1));
    say(&format!("s3 soak: WHARF_SOAK_SEED={seed} WHARF_SOAK_UPLOADS={uploads}"));
    let bed = Bed::start();
    bed.lag_list_parts(Lag::Calls(1));
    let proxy = Proxy::start(&bed.endpoint());
    let endpoint = proxy.endpoint();
    // Owners that go soon have to find out again and again what S3 has.
    let flags = ["--set", "timeouts.store_secs=120", "--set", "timeouts.idle_owner_secs=1"];
    let mut server = Server::start_s3(bed, Some(&endpoint), &flags);
    proxy.random(seed, 0.08);
    let (left, arrived) = (AtomicU64::new(uploads), Mutex::new(Vec::new()));
    let cuts: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let random = Random::new(seed.wrapping_mul(CALLERS).wrapping_add(number));
                let caller = Caller { server: &server, random, left: &left, arrived: &arrived, cuts: 0 };
                scope.spawn(move || caller.run())
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller without complaints")).sum()
    });
    proxy.calm();
    assert!(server.stop().success());
    let arrived = arrived.into_inner().expect("no caller has failed");
    let mut expected: Vec<String> = Vec::new();
    for (path, digest) in &arrived {
        let name = server.id_of(path).split('+').next().expect("a name").to_owned();
        assert_eq!(Sha256::digest(&server.bed().objects()[&name].bytes).to_vec(), *digest, "{path} in the bucket");
        expected.extend([name.clone(), format!("{name}.info")]);
    }
    expected.sort();
    assert_eq!(server.names(), expected, "no object but the finished ones and their infos");
    let orphans = server.bed().multipart_uploads();
    assert!(orphans.is_empty(), "{orphans:?}");
    let counts = proxy.counts();
    let requests: u64 = counts.requests.values().sum();
    say(&format!(
        "s3 soak: {} uploads whole, {cuts} requests cut, {requests} requests of S3, {} of them broken, mismatches 0",
        arrived.len(),
        counts.faulty()
    ));
    assert!(counts.faulty() > 0 && cuts > 0, "nothing went wrong on the way");
}

#[expect(clippy::print_stdout, reason = "the figures of a soak; the test runner shows them beside a failure")]
fn say(line: &str) {
    println!("{line}");
}
