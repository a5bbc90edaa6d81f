//! Crashes, over and over: SIGKILL in the midst of whatever several clients have just asked for, a start on the same
//! directory, and the comparison of what is there with what was promised. `WHARF_SOAK_KILLS` says how often,
//! `WHARF_SOAK_SEED` repeats the clients' choices. With `WHARF_SOAK_FAULTS` the store is S3, and fails for so many
//! requests of a hundred.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use support::{
    Bed, OFFSET_TYPE, Response, Server, Signal,
    soak::{Content, Message, Random, Shape, check_directory, disturb, setting},
    wait_until,
};
use wharf_s3_testbed::Proxy;

const CALLERS: u64 = 6;
const DURABILITIES: [&str; 3] = ["storage.durability=none", "storage.durability=complete", "storage.durability=always"];

/// What the time of the kill is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    BytesSent,
    RequestsSent,
    Answers,
}

struct Killed;

/// The clients' side of a server that will be killed by one of them.
struct Load<'server> {
    server: &'server Server,
    measure: Measure,
    left: AtomicI64,
    killed: AtomicBool,
}

impl Load<'_> {
    fn new<'server>(server: &'server Server, random: &mut Random) -> Load<'server> {
        let (measure, left) = match random.among(0..3) {
            0 => (Measure::BytesSent, random.among(1..4 << 20)),
            1 => (Measure::RequestsSent, random.among(1..200)),
            _ => (Measure::Answers, random.among(1..200)),
        };
        Load { server, measure, left: AtomicI64::new(left as i64), killed: AtomicBool::new(false) }
    }

    fn count(&self, measure: Measure, count: usize) {
        let count = if measure == self.measure { count as i64 } else { 0 };
        let before = self.left.fetch_sub(count, Ordering::SeqCst);
        if before > 0 && before <= count {
            self.killed.store(true, Ordering::SeqCst);
            self.server.signal(Signal::KILL);
        }
    }

    /// The answer to a request, or how many of its bytes were sent when the server went.
    fn exchange(&self, caller: &mut Caller, method: &str, message: &Message) -> Result<Response, usize> {
        let mut sent = 0;
        let answer = self.try_exchange(caller, method, message, &mut sent);
        if answer.is_none() {
            caller.connection = None;
            assert!(self.killed.load(Ordering::SeqCst), "the server left a {method} without an answer");
        }
        answer.ok_or(sent)
    }

    fn try_exchange(&self, caller: &mut Caller, method: &str, message: &Message, sent: &mut usize) -> Option<Response> {
        let mut stream = match caller.connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.server.address).ok()?,
        };
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let portion = caller.random.among(1..65_536) as usize;
        for bytes in message.bytes.chunks(portion.max(message.bytes.len() / 64)) {
            // Some of what could not be sent may have been.
            *sent += bytes.len();
            stream.write_all(bytes).ok()?;
            self.count(Measure::BytesSent, bytes.len());
        }
        self.count(Measure::RequestsSent, 1);
        let response = read_answer(&mut stream, method)?;
        caller.connection = Some(stream).filter(|_| !response.closes());
        caller.tally.answers += 1;
        caller.tally.bytes += message.payload_before(message.bytes.len());
        self.count(Measure::Answers, 1);
        Some(response)
    }
}

/// One answer, if it comes to its end.
fn read_answer(stream: &mut TcpStream, method: &str) -> Option<Response> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let mut response = Response::parse_head(&head);
    let length = response.header("Content-Length").map_or(0, |length| length.parse().expect("a length"));
    if method != "HEAD" {
        response.body = vec![0; length];
        stream.read_exact(&mut response.body).ok()?;
    }
    Some(response)
}

/// A PATCH that the kill left without an answer.
struct Pending {
    reach: u64,
    checked: bool,
    whole: bool,
    declares: bool,
}

struct Upload {
    path: String,
    content: Content,
    is_partial: bool,
    declared: bool,
    acknowledged: u64,
    pending: Option<Pending>,
    /// A DELETE was sent, and not answered.
    deleting: bool,
}

impl Upload {
    fn is_finished(&self) -> bool {
        self.declared && self.acknowledged == self.content.length()
    }

    /// Compares what HEAD says after a crash with what was promised, and takes it over.
    #[track_caller]
    fn compare(&mut self, response: &Response) {
        let (path, offset, known) = (&self.path, response.offset(), self.acknowledged);
        let pending = self.pending.take();
        let allowed = offset == known
            || pending.as_ref().is_some_and(|pending| match pending.checked {
                true => pending.whole && offset == pending.reach,
                false => (known..=pending.reach).contains(&offset),
            });
        assert!(allowed, "{path}: {offset} after {known}");
        let length = response.header("Upload-Length").map(|length| length.parse::<u64>().expect("a length"));
        assert!(length.is_none_or(|length| length == self.content.length()), "{response:?}");
        match (self.declared, length) {
            (true, None) => panic!("{path} has lost its length"),
            (false, Some(_)) => assert!(pending.is_some_and(|pending| pending.declares), "{path} has a length"),
            _ => {}
        }
        (self.acknowledged, self.declared) = (offset, length.is_some());
    }
}

struct Final {
    path: String,
    content: Content,
    partials: Vec<String>,
    complete: bool,
    deleting: bool,
}

#[derive(Default)]
struct Tally {
    answers: u64,
    bytes: u64,
    unanswered: u64,
    resumptions: u64,
    contents: u64,
    finals: u64,
}

/// A client, all that it was promised, and all that it may find.
struct Caller {
    random: Random,
    connection: Option<TcpStream>,
    uploads: Vec<Upload>,
    finals: Vec<Final>,
    /// Paths of uploads that were deleted, and stay so.
    gone: Vec<String>,
    tally: Tally,
}

impl Caller {
    fn new(seed: u64) -> Caller {
        let (random, tally) = (Random::new(seed), Tally::default());
        Caller { random, connection: None, uploads: Vec::new(), finals: Vec::new(), gone: Vec::new(), tally }
    }

    /// Asks for one thing after the other until the server is killed.
    fn run(&mut self, load: &Load) {
        loop {
            let unfinished = self.uploads.iter().filter(|upload| !upload.is_finished()).count();
            let done = match self.random.among(0..16) {
                0..5 if unfinished < 5 => self.create(load),
                5..7 => self.join(load),
                7 => self.delete(load),
                8 => self.read(load),
                _ => self.append(load),
            };
            if let Err(Killed) = done {
                self.connection = None;
                self.tally.unanswered += 1;
                return;
            }
        }
    }

    fn create(&mut self, load: &Load) -> Result<(), Killed> {
        let content = Content::new(&mut self.random);
        let (length, metadata) = (content.length().to_string(), content.metadata());
        let (declared, is_partial) = (!self.random.one_in(5), self.random.one_in(2));
        let mut headers = vec![("Upload-Metadata", metadata.as_str())];
        headers.push(if declared { ("Upload-Length", &length) } else { ("Upload-Defer-Length", "1") });
        if is_partial {
            headers.push(("Upload-Concat", "partial"));
        }
        let first = if self.random.one_in(2) { self.piece(content.length()) } else { 0 };
        let base = &load.server.base;
        let message = if first > 0 {
            headers.push(OFFSET_TYPE);
            let shape = Shape::new(&mut self.random);
            let bytes = content.bytes();
            Message::new(&mut self.random, "POST", base, &headers, shape, &bytes[..first as usize])
        } else {
            Message::bare("POST", base, &headers)
        };
        let response = load.exchange(self, "POST", &message).map_err(|_| Killed)?;
        assert_eq!(response.status, 201, "{response:?}: {}", response.text());
        assert!(first == 0 || response.offset() == first, "{response:?}");
        let (path, acknowledged) = (response.path(), first);
        self.uploads.push(Upload { path, content, is_partial, declared, acknowledged, pending: None, deleting: false });
        Ok(())
    }

    fn append(&mut self, load: &Load) -> Result<(), Killed> {
        let unfinished: Vec<usize> =
            (0..self.uploads.len()).filter(|index| !self.uploads[*index].is_finished()).collect();
        if unfinished.is_empty() {
            return Ok(());
        }
        let index = unfinished[self.random.index(unfinished.len())];
        let (base, length) = (self.uploads[index].acknowledged, self.uploads[index].content.length());
        let end = base + self.piece(length - base);
        let declares = !self.uploads[index].declared && (end == length || self.random.one_in(3));
        let (offset, length) = (base.to_string(), length.to_string());
        let mut headers = vec![OFFSET_TYPE, ("Upload-Offset", offset.as_str())];
        if declares {
            headers.push(("Upload-Length", &length));
        }
        let shape = Shape::new(&mut self.random);
        let bytes = self.uploads[index].content.bytes();
        let (path, bytes) = (self.uploads[index].path.clone(), &bytes[base as usize..end as usize]);
        let message = Message::new(&mut self.random, "PATCH", &path, &headers, shape, bytes);
        let answer = load.exchange(self, "PATCH", &message);
        let upload = &mut self.uploads[index];
        match answer {
            Ok(response) => {
                response.appended(end);
                (upload.acknowledged, upload.declared) = (end, upload.declared || declares);
                Ok(())
            }
            Err(sent) => {
                let (whole, reach) = (sent == message.bytes.len(), base + message.payload_before(sent));
                upload.pending = Some(Pending { reach, checked: shape.is_checked(), whole, declares });
                Err(Killed)
            }
        }
    }

    /// Makes a final upload of some partial ones, finished or not.
    fn join(&mut self, load: &Load) -> Result<(), Killed> {
        let partials: Vec<&Upload> = self.uploads.iter().filter(|upload| upload.is_partial).collect();
        if partials.is_empty() {
            return Ok(());
        }
        let count = self.random.among(1..4);
        let chosen: Vec<&Upload> = (0..count).map(|_| partials[self.random.index(partials.len())]).collect();
        let partials: Vec<String> = chosen.iter().map(|upload| upload.path.clone()).collect();
        let content = Content::joined(&chosen.iter().map(|upload| upload.content.clone()).collect::<Vec<_>>());
        let (concat, metadata) = (format!("final;{}", partials.join(" ")), content.metadata());
        let headers = [("Upload-Concat", concat.as_str()), ("Upload-Metadata", &metadata)];
        let message = Message::bare("POST", &load.server.base, &headers);
        let response = load.exchange(self, "POST", &message).map_err(|_| Killed)?;
        assert_eq!(response.status, 201, "{response:?}: {}", response.text());
        self.finals.push(Final { path: response.path(), content, partials, complete: false, deleting: false });
        Ok(())
    }

    /// Deletes a final upload, or one that is part of none.
    fn delete(&mut self, load: &Load) -> Result<(), Killed> {
        if self.random.one_in(2) && !self.finals.is_empty() {
            let index = self.random.index(self.finals.len());
            let message = Message::bare("DELETE", &self.finals[index].path, &[]);
            let Ok(response) = load.exchange(self, "DELETE", &message) else {
                self.finals[index].deleting = true;
                return Err(Killed);
            };
            assert_eq!(response.status, 204, "{response:?}: {}", response.text());
            self.gone.push(self.finals.swap_remove(index).path);
        } else if let Some(index) = self.unused() {
            let message = Message::bare("DELETE", &self.uploads[index].path, &[]);
            let Ok(response) = load.exchange(self, "DELETE", &message) else {
                self.uploads[index].deleting = true;
                return Err(Killed);
            };
            assert_eq!(response.status, 204, "{response:?}: {}", response.text());
            self.gone.push(self.uploads.swap_remove(index).path);
        }
        Ok(())
    }

    /// An upload that no final one needs.
    fn unused(&mut self) -> Option<usize> {
        let is_needed = |upload: &Upload| self.finals.iter().any(|joined| joined.partials.contains(&upload.path));
        let unused: Vec<usize> = (0..self.uploads.len()).filter(|index| !is_needed(&self.uploads[*index])).collect();
        if unused.is_empty() { None } else { Some(unused[self.random.index(unused.len())]) }
    }

    /// HEAD, and GET when it is finished.
    fn read(&mut self, load: &Load) -> Result<(), Killed> {
        if self.uploads.is_empty() {
            return Ok(());
        }
        let index = self.random.index(self.uploads.len());
        let path = self.uploads[index].path.clone();
        let response = load.exchange(self, "HEAD", &Message::bare("HEAD", &path, &[])).map_err(|_| Killed)?;
        assert_eq!((response.status, response.offset()), (200, self.uploads[index].acknowledged), "{path}");
        if self.uploads[index].is_finished() {
            let response = load.exchange(self, "GET", &Message::bare("GET", &path, &[])).map_err(|_| Killed)?;
            assert!(response.status == 200 && response.body == self.uploads[index].content.bytes(), "{path}");
        }
        Ok(())
    }

    fn piece(&mut self, rest: u64) -> u64 {
        if self.random.one_in(2) { rest } else { self.random.among(0..rest + 1) }
    }
}

/// After a start: compares all that there is with all that was promised.
impl Caller {
    fn verify(&mut self, server: &Server, to_the_end: bool) {
        for mut upload in std::mem::take(&mut self.uploads) {
            let response = asked(server, &upload.path);
            if upload.deleting && response.status != 200 {
                response.gone();
                self.gone.push(upload.path);
                continue;
            }
            upload.deleting = false;
            assert_eq!(response.status, 200, "{} is missing: {response:?}", upload.path);
            upload.compare(&response);
            if to_the_end || self.random.one_in(2) {
                self.complete(server, &mut upload);
            }
            self.uploads.push(upload);
        }
        for mut joined in std::mem::take(&mut self.finals) {
            let response = asked(server, &joined.path);
            if joined.deleting && response.status != 200 {
                response.gone();
                self.gone.push(joined.path);
                continue;
            }
            joined.deleting = false;
            assert_eq!(response.status, 200, "{} is missing: {response:?}", joined.path);
            self.compare_final(server, &mut joined, &response);
            self.finals.push(joined);
        }
        for path in &self.gone {
            asked(server, path).gone();
            assert!(!server.is_on_disk() || !server.file_of(path).exists(), "{path} was deleted");
        }
        self.trim(server);
    }

    /// Goes on from where the crash left the upload.
    fn complete(&mut self, server: &Server, upload: &mut Upload) {
        let (bytes, base) = (upload.content.bytes(), upload.acknowledged);
        if !upload.is_finished() {
            let length = ("Upload-Length", bytes.len().to_string());
            let headers = [(length.0, length.1.as_str())];
            let headers = if upload.declared { &[] } else { headers.as_slice() };
            let response = server.patch_with(&upload.path, base, headers, &bytes[base as usize..]);
            response.appended(bytes.len() as u64);
            (upload.acknowledged, upload.declared) = (bytes.len() as u64, true);
            self.tally.resumptions += 1;
        }
        assert!(server.content(&upload.path) == bytes, "{} holds other bytes than were sent", upload.path);
        self.tally.contents += 1;
    }

    fn compare_final(&mut self, server: &Server, joined: &mut Final, response: &Response) {
        let is_finished =
            |path: &String| self.uploads.iter().any(|upload| upload.path == *path && upload.is_finished());
        if joined.complete {
            assert_eq!(response.offset(), joined.content.length(), "{} was complete", joined.path);
        } else if joined.partials.iter().all(is_finished) {
            wait_until("the final upload is complete", || {
                asked(server, &joined.path).header("Upload-Offset").is_some()
            });
            joined.complete = true;
            self.tally.finals += 1;
        }
        if joined.complete {
            let content = server.content(&joined.path);
            assert!(content == joined.content.bytes(), "{} is not its partial uploads", joined.path);
            self.tally.contents += 1;
        }
    }

    /// Deletes the oldest, so that the directory does not grow for ever.
    fn trim(&mut self, server: &Server) {
        while self.finals.len() > 6 {
            self.gone.push(self.finals.remove(0).path);
            assert_eq!(server.delete(self.gone.last().expect("a path")).status, 204);
        }
        while self.uploads.len() > 16 {
            let Some(index) = self.unused() else { return };
            self.gone.push(self.uploads.remove(index).path);
            assert_eq!(server.delete(self.gone.last().expect("a path")).status, 204);
        }
    }
}

/// HEAD; a busy upload is asked again.
fn asked(server: &Server, path: &str) -> Response {
    let mut response = server.head(path);
    wait_until("the upload is not busy", || {
        if response.status == 423 {
            response = server.head(path);
        }
        response.status != 423
    });
    response
}

/// A server, and the proxy before its store if that is to fail.
fn start(seed: u64, faults_percent: u64) -> (Option<Proxy>, Server) {
    let flags = ["--set", DURABILITIES[0]];
    if faults_percent == 0 {
        return (None, Server::start(&flags));
    }
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    let endpoint = proxy.endpoint();
    let server = Server::start_s3(bed, Some(&endpoint), &flags);
    disturb(&proxy, seed, faults_percent);
    (Some(proxy), server)
}

/// Whenever the server is killed: what it promised is there, what is there is right, and clients can go on.
#[test]
fn what_was_acknowledged_survives_kills() {
    let (kills, seed) = (setting("WHARF_SOAK_KILLS", 8), setting("WHARF_SOAK_SEED", 1));
    let faults = setting("WHARF_SOAK_FAULTS", 0);
    say(&format!("kills: WHARF_SOAK_SEED={seed} WHARF_SOAK_KILLS={kills} WHARF_SOAK_FAULTS={faults}"));
    let mut random = Random::new(seed);
    let mut callers: Vec<Caller> = (0..CALLERS).map(|_| Caller::new(random.next())).collect();
    let (proxy, mut server) = start(seed, faults);
    let mut looked_at = 0;
    for kill in 0..kills as usize {
        let load = Load::new(&server, &mut random);
        say(&format!("kills: {kill} after {} {:?}", load.left.load(Ordering::Relaxed), load.measure));
        std::thread::scope(|scope| {
            for caller in &mut callers {
                scope.spawn(|| caller.run(&load));
            }
        });
        server.ended();
        looked_at += if server.is_on_disk() { check_directory(&server.dir()) } else { 0 };
        server.start_again_with(&["--set", DURABILITIES[(kill + 1) % 3]]);
        if random.one_in(6) {
            // In the midst of what a start leaves to be done.
            server.kill();
            looked_at += if server.is_on_disk() { check_directory(&server.dir()) } else { 0 };
            server.start_again();
        }
        for caller in &mut callers {
            caller.verify(&server, kill + 1 == kills as usize);
        }
    }
    assert!(server.stop().success());
    looked_at += if server.is_on_disk() { check_directory(&server.dir()) } else { 0 };
    report(kills, &callers, looked_at);
    let met = proxy.map_or(0, |proxy| proxy.counts().faulty());
    say(&format!("kills: {met} requests to S3 met a fault, or were a list of parts"));
}

fn report(kills: u64, callers: &[Caller], looked_at: u64) {
    let sum = |count: fn(&Tally) -> u64| callers.iter().map(|caller| count(&caller.tally)).sum::<u64>();
    say(&format!(
        "kills: {kills} kills, {} requests answered and {} not, {} bytes, {} resumptions, {} finals completed, {} \
         deleted, {} contents compared, {looked_at} times an upload on disk looked at, mismatches 0",
        sum(|tally| tally.answers),
        sum(|tally| tally.unanswered),
        sum(|tally| tally.bytes),
        sum(|tally| tally.resumptions),
        sum(|tally| tally.finals),
        callers.iter().map(|caller| caller.gone.len()).sum::<usize>(),
        sum(|tally| tally.contents),
    ));
}

#[expect(clippy::print_stdout, reason = "the figures of a soak; the test runner shows them beside a failure")]
fn say(line: &str) {
    println!("{line}");
}
