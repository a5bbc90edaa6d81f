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
        let mut acknowledged = 0;
        while acknowledged < bytes.len() as u64 {
            acknowledged = self.append(&path, &bytes, acknowledged);
        }
        if is_deferred {
            let mut status = 0;
            wait_until("the length is declared", || {
                status = self.server.patch_with(&path, acknowledged, &[("Upload-Length", &length)], b"").status;
                let length_is_known = self.server.head(&path).header("Upload-Length").is_some();
                status == 204 || length_is_known
            });
        }
        self.arrives(&path, &bytes);
        (path, bytes)
    }

    /// One PATCH, whole or not; the offset that the server tells after it.
    fn append(&mut self, path: &str, bytes: &[u8], from: u64) -> u64 {
        let rest = bytes.len() as u64 - from;
        let length = if self.random.one_in(2) { rest } else { self.random.among(1..rest + 1) };
        let body = &bytes[from as usize..(from + length) as usize];
        if self.random.one_in(2) {
            let response = self.server.patch(path, from, body);
            if response.status == 204 {
                assert_eq!(response.offset(), from + length, "{path}");
                return from + length;
            }
            // What S3 could not be made to take within its time is sent again.
            assert!([409, 500, 503].contains(&response.status), "{path}: {response:?}");
            return self.told(path, from, bytes.len() as u64);
        }
        self.cuts += 1;
        let sent = &body[..self.random.index(body.len() + 1)];
        let (offset, announced) = (from.to_string(), length.to_string());
        let headers = [OFFSET_TYPE, ("Upload-Offset", offset.as_str()), ("Content-Length", &announced)];
        let mut client = self.server.connect();
        client.send(head("PATCH", path, &headers));
        client.send(sent);
        let stalled = match [Cut::Close, Cut::Reset, Cut::Stall][self.random.index(3)] {
            Cut::Close => None,
            Cut::Reset => {
                client.reset();
                return self.told(path, from, from + sent.len() as u64);
            }
            Cut::Stall => Some(client),
        };
        let told = self.told(path, from, from + sent.len() as u64);
        drop(stalled);
        told
    }

    /// The offset that HEAD tells: no byte of what was acknowledged is missing, and none was made up.
    fn told(&self, path: &str, least: u64, most: u64) -> u64 {
        let offset = self.server.offset(path);
        assert!((least..=most).contains(&offset), "{path}: {offset} is not between {least} and {most}");
        offset
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
