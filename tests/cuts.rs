//! Interruption, over and over: clients whose requests break off at any byte and in any way, and who go on from what
//! HEAD says until the upload is whole. `WHARF_SOAK_CUTS` says how often, `WHARF_SOAK_SEED` repeats a run.

mod support;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use support::{
    Client, OFFSET_TYPE, Response, Server,
    soak::{Content, Message, Place, Random, Shape, check_directory, setting},
    wait_until,
};

const CALLERS: u64 = 4;

/// How a request breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// FIN, and the answer is read.
    HalfClose,
    /// FIN, and nobody is there any more.
    Close,
    /// RST.
    Reset,
}

/// A PATCH that broke off. It may still be on its way when the client has long gone on.
struct Loose {
    base: u64,
    /// The offset after the payload that was sent.
    reach: u64,
    checked: bool,
    whole: bool,
}

impl Loose {
    fn allows(&self, offset: u64) -> bool {
        match self.checked {
            true => offset == self.base || self.whole && offset == self.reach,
            false => (self.base..=self.reach).contains(&offset),
        }
    }
}

#[derive(Default)]
struct Tally {
    cuts: BTreeMap<(Ending, Place), u64>,
    uploads: u64,
    resumptions: u64,
    bytes: u64,
    /// Requests that met one that had broken off earlier.
    met: u64,
    /// Uploads whose URL the client never got.
    lost: u64,
}

/// An upload as its client knows it.
struct Upload {
    path: String,
    bytes: Vec<u8>,
    declared: bool,
    /// The offset that the server has told, or that was seen on disk.
    acknowledged: u64,
    loose: Vec<Loose>,
}

impl Upload {
    #[track_caller]
    fn reached(&mut self, offset: u64, exact: bool) {
        let known = self.acknowledged;
        let allowed = offset == known || self.loose.iter().any(|loose| loose.allows(offset));
        assert!(offset >= known && allowed, "{}: {offset} after {known}", self.path);
        if let Some(loose) = self.loose.last().filter(|loose| exact && !loose.checked) {
            assert_eq!(offset, loose.reach, "{}: not all that was sent before the FIN was kept", self.path);
        }
        self.acknowledged = offset;
    }
}

struct Caller<'server> {
    server: &'server Server,
    random: Random,
    cuts_left: &'server AtomicU64,
    connection: Option<Client>,
    tally: Tally,
}

impl Caller<'_> {
    fn run(mut self) -> Tally {
        while self.cuts_left.load(Ordering::Relaxed) > 0 {
            let content = Content::new(&mut self.random);
            let mut upload = self.create(&content);
            while !self.is_whole(&upload) {
                self.append(&mut upload);
            }
            assert!(self.server.content(&upload.path) == upload.bytes, "{} came back changed", upload.path);
            self.tally.uploads += 1;
            self.tally.bytes += content.length();
        }
        self.tally
    }

    fn is_whole(&self, upload: &Upload) -> bool {
        upload.declared && upload.acknowledged == upload.bytes.len() as u64
    }

    /// Creates the upload, again and again until the client has its URL.
    fn create(&mut self, content: &Content) -> Upload {
        let (bytes, metadata) = (content.bytes(), content.metadata());
        loop {
            let length = bytes.len().to_string();
            let declared = !self.random.one_in(4);
            let length = if declared { ("Upload-Length", length.as_str()) } else { ("Upload-Defer-Length", "1") };
            let headers = [length, ("Upload-Metadata", &metadata)];
            let first = if self.random.one_in(2) { self.piece(&bytes) } else { 0 };
            let shape = Shape::new(&mut self.random);
            let message = if first > 0 {
                let headers = [headers.as_slice(), &[OFFSET_TYPE]].concat();
                Message::new(&mut self.random, "POST", &self.server.base, &headers, shape, &bytes[..first])
            } else {
                Message::bare("POST", &self.server.base, &headers)
            };
            let (path, bytes, acknowledged) = (String::new(), bytes.clone(), 0);
            let mut upload = Upload { path, bytes, declared, acknowledged, loose: Vec::new() };
            if self.must_cut() {
                if self.cut_creation(&message, shape, &mut upload) {
                    return upload;
                }
                self.tally.lost += 1;
                continue;
            }
            let response = self.whole("POST", &message);
            assert_eq!(response.status, 201, "{response:?}: {}", response.text());
            upload.path = response.path();
            if first > 0 {
                assert_eq!(response.offset(), first as u64);
                upload.acknowledged = first as u64;
            }
            return upload;
        }
    }

    /// A creation that breaks off: whether the client has got a URL nevertheless.
    fn cut_creation(&mut self, message: &Message, shape: Shape, upload: &mut Upload) -> bool {
        let end = message.cut(&mut self.random);
        let (whole, reach) = (end == message.bytes.len(), message.payload_before(end));
        let Some(response) = self.cut(message, end, None) else { return false };
        assert!(whole || response.status >= 400, "half a POST: {response:?}");
        if response.header("Location").is_none() {
            return false;
        }
        upload.path = response.path();
        upload.loose.push(Loose { base: 0, reach, checked: shape.is_checked(), whole });
        self.ask(upload, true);
        upload.loose.clear();
        true
    }

    /// One PATCH, whole or not.
    fn append(&mut self, upload: &mut Upload) {
        let base = upload.acknowledged;
        let rest = &upload.bytes[base as usize..];
        let length = self.piece(rest);
        let declares = !upload.declared && (length == rest.len() || self.random.one_in(3));
        let shape = Shape::new(&mut self.random);
        let (offset, total) = (base.to_string(), upload.bytes.len().to_string());
        let mut headers = vec![OFFSET_TYPE, ("Upload-Offset", offset.as_str())];
        if declares {
            headers.push(("Upload-Length", &total));
        }
        let message = Message::new(&mut self.random, "PATCH", &upload.path, &headers, shape, &rest[..length]);
        if self.must_cut() {
            let end = message.cut(&mut self.random);
            let (whole, reach) = (end == message.bytes.len(), base + message.payload_before(end));
            upload.loose.push(Loose { base, reach, checked: shape.is_checked(), whole });
            let head_sent = end >= message.head;
            // A declared length can complete the upload; then there is nothing in the body to wait for.
            let alone = upload.loose.len() == 1 && !rest.is_empty();
            let response = self.cut(&message, end, Some((&mut *upload, shape)));
            if let Some(response) = response.as_ref().filter(|_| alone) {
                let place = message.place(end);
                assert_eq!(
                    response.status == 204,
                    whole,
                    "{shape:?} up to {place:?} ({end} of {}): {response:?}: {}",
                    message.bytes.len(),
                    response.text()
                );
            }
            self.tally.resumptions += 1;
            self.ask(upload, response.is_some() && head_sent && alone);
            if response.is_some() {
                // It has been answered, so nothing of it can still come.
                upload.loose.pop();
            }
            return;
        }
        let response = self.whole("PATCH", &message);
        if response.status == 204 {
            assert_eq!(response.offset(), base + length as u64);
            upload.acknowledged = base + length as u64;
            upload.declared |= declares;
        } else {
            // A request that had broken off has come in between, late but valid.
            let late = matches!(response.status, 400 | 409) && !upload.loose.is_empty();
            assert!(late, "{}: {response:?}: {}", upload.path, response.text());
            self.tally.met += 1;
            self.ask(upload, false);
        }
    }

    /// HEAD, as a client does before it goes on.
    fn ask(&mut self, upload: &mut Upload, exact: bool) {
        let mut response = self.server.head(&upload.path);
        wait_until("the upload is not busy", || {
            if response.status == 423 {
                response = self.server.head(&upload.path);
            }
            response.status != 423
        });
        assert_eq!(response.status, 200, "{}: {response:?}", upload.path);
        upload.reached(response.offset(), exact);
        let length = response.header("Upload-Length").map(|length| length.parse::<usize>().expect("a length"));
        assert!(length.is_none_or(|length| length == upload.bytes.len()), "{response:?}");
        assert!(length.is_some() || !upload.declared, "{response:?}");
        upload.declared = length.is_some();
    }

    fn piece(&mut self, rest: &[u8]) -> usize {
        if self.random.one_in(2) { rest.len() } else { self.random.index(rest.len() + 1) }
    }

    /// Whether the next request is to break off; most are, while any are left.
    fn must_cut(&mut self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        !self.random.one_in(3) && self.cuts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn connection(&mut self) -> Client {
        // Now and then on a connection that has served before.
        self.connection.take().filter(|_| self.random.one_in(2)).unwrap_or_else(|| self.server.connect())
    }

    fn whole(&mut self, method: &str, message: &Message) -> Response {
        let mut client = self.connection();
        client.send(&message.bytes);
        let response = client.answer_to(method);
        self.connection = Some(client).filter(|_| !response.closes());
        response
    }

    /// Sends a request as far as `end`, and what came back if somebody still listened.
    fn cut(&mut self, message: &Message, end: usize, upload: Option<(&mut Upload, Shape)>) -> Option<Response> {
        let ending = [Ending::HalfClose, Ending::Close, Ending::Reset][self.random.index(3)];
        *self.tally.cuts.entry((ending, message.place(end))).or_default() += 1;
        let mut client = self.connection();
        let pause = self.random.index(end + 1);
        client.send(&message.bytes[..pause]);
        client.send(&message.bytes[pause..end]);
        if let Some((upload, shape)) = upload
            && !shape.is_checked()
            && self.random.one_in(3)
        {
            self.arrived(upload);
        }
        match ending {
            Ending::HalfClose => {
                client.finish();
                return client.answer_or_close("PATCH");
            }
            Ending::Close => drop(client),
            Ending::Reset => client.reset(),
        }
        None
    }

    /// Waits until all that was sent is in the file: from then on it may not be lost.
    fn arrived(&self, upload: &mut Upload) {
        let [only] = &upload.loose[..] else { return };
        if !self.server.is_on_disk() {
            return;
        }
        let reach = only.reach;
        wait_until("the bytes are stored", || self.server.stored(&upload.path) == reach);
        upload.acknowledged = reach;
    }
}

/// However uploads break off, clients that go on where HEAD says get them whole.
#[test]
fn uploads_that_break_off_again_and_again_arrive_whole() {
    let (cuts, seed) = (setting("WHARF_SOAK_CUTS", 80), setting("WHARF_SOAK_SEED", 1));
    say(&format!("cuts: WHARF_SOAK_SEED={seed} WHARF_SOAK_CUTS={cuts}"));
    let mut server = Server::start(&[]);
    let cuts_left = AtomicU64::new(cuts);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let random = Random::new(seed.wrapping_mul(CALLERS).wrapping_add(number));
                let (server, tally) = (&server, Tally::default());
                let caller = Caller { server, random, cuts_left: &cuts_left, connection: None, tally };
                scope.spawn(move || caller.run())
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller without complaints")).collect()
    });
    assert!(server.stop().success());
    let left = if server.is_on_disk() { check_directory(&server.dir()) } else { 0 };
    report(&tallies, left);
    assert_eq!(tallies.iter().flat_map(|tally| tally.cuts.values()).sum::<u64>(), cuts);
}

fn report(tallies: &[Tally], left: u64) {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let mut cuts = BTreeMap::<_, u64>::new();
    for (kind, count) in tallies.iter().flat_map(|tally| &tally.cuts) {
        *cuts.entry(kind).or_default() += count;
    }
    for ((ending, place), count) in &cuts {
        say(&format!("cuts: {count:5} by {ending:?} in {place:?}"));
    }
    say(&format!(
        "cuts: {} in all, {} resumptions, {} uploads whole, {} bytes, {} met a late one, {} URLs lost, {left} uploads \
         on disk looked at, mismatches 0",
        cuts.values().sum::<u64>(),
        sum(|tally| tally.resumptions),
        sum(|tally| tally.uploads),
        sum(|tally| tally.bytes),
        sum(|tally| tally.met),
        sum(|tally| tally.lost),
    ));
}

#[expect(clippy::print_stdout, reason = "the figures of a soak; the test runner shows them beside a failure")]
fn say(line: &str) {
    println!("{line}");
}
