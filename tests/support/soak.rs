//! What the soaks share: seeded chance, contents that can be told from their name, requests that may end at any byte,
//! a look at what a server left in its directory, and an S3 service that fails.

use std::{env, fs, ops::Range, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Digest;
use wharf_s3_testbed::{Fault, Kind, Operation, Proxy};

use super::head;

/// Chance that can be repeated (SplitMix64).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in the range, which is not empty.
    pub(crate) fn among(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.among(0..count as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.among(0..count) == 0
    }

    /// A length: nothing now and then, small mostly, megabytes rarely.
    pub(crate) fn length(&mut self) -> u64 {
        match self.among(0..32) {
            0 => 0,
            1..12 => self.among(1..300),
            12..29 => self.among(300..150_000),
            _ => self.among(1 << 20..3 << 20),
        }
    }
}

/// A number from the environment, or this one.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")))
}

/// Faults at random, for so many requests of a hundred. A list of parts that hides stored ones for as long as it likes
/// is left out: where no tail tells of them nothing does, and S3 promises that they are listed.
pub(crate) fn disturb(proxy: &Proxy, seed: u64, percent: u64) {
    let list = |kind: Kind| Fault::new(Operation::ListParts, kind);
    let kinds = [Kind::SLOW_DOWN, Kind::UNAVAILABLE, Kind::ResetBefore, Kind::ResetAfter, Kind::CutAnswer];
    let mut faults: Vec<Fault> = kinds.into_iter().map(|kind| list(kind).after(2).times(3)).collect();
    faults.push(list(Kind::Delay(Duration::ZERO)).always());
    proxy.script(faults);
    proxy.random(seed, percent as f64 / 100.0);
}

/// Bytes that follow from numbers: pieces, each with the seed of its bytes and their count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content(Vec<(u64, u64)>);

impl Content {
    pub(crate) fn new(random: &mut Random) -> Content {
        Content(vec![(random.next(), random.length())])
    }

    /// So many bytes.
    pub(crate) fn of(random: &mut Random, length: u64) -> Content {
        Content(vec![(random.next(), length)])
    }

    pub(crate) fn joined(parts: &[Content]) -> Content {
        Content(parts.iter().flat_map(|part| part.0.clone()).collect())
    }

    pub(crate) fn length(&self) -> u64 {
        self.0.iter().map(|piece| piece.1).sum()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length() as usize + 8);
        for (seed, length) in &self.0 {
            let (mut random, end) = (Random::new(*seed), bytes.len() + *length as usize);
            while bytes.len() < end {
                bytes.extend_from_slice(&random.next().to_le_bytes());
            }
            bytes.truncate(end);
        }
        bytes
    }

    /// The metadata by which the upload is known again, whoever lost its URL.
    pub(crate) fn metadata(&self) -> String {
        let pieces: Vec<String> = self.0.iter().map(|(seed, length)| format!("{seed}:{length}")).collect();
        format!("content {}", STANDARD.encode(pieces.join(",")))
    }

    fn parse(text: &str) -> Option<Content> {
        let pieces = text.split(',').map(|piece| {
            let (seed, length) = piece.split_once(':')?;
            Some((seed.parse().ok()?, length.parse().ok()?))
        });
        pieces.collect::<Option<_>>().map(Content)
    }
}

/// Where in a request a byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Head,
    HeadEnd,
    Payload,
    /// A chunk's size, its line or the end of its line.
    Framing,
    /// Behind the last chunk's size.
    Trailer,
    /// Behind the last byte: only the answer is missed.
    End,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) chunked: bool,
    pub(crate) check: Check,
}

/// Where the checksum stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    None,
    Head,
    Trailer,
}

impl Shape {
    pub(crate) fn new(random: &mut Random) -> Shape {
        let chunked = random.one_in(2);
        let check = match random.among(0..6) {
            0..3 => Check::None,
            3 if chunked => Check::Trailer,
            _ => Check::Head,
        };
        Shape { chunked, check }
    }

    pub(crate) fn is_checked(self) -> bool {
        self.check != Check::None
    }
}

/// A request of which it is known how much payload its first bytes hold.
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: usize,
    payload: Vec<Range<usize>>,
    /// Where the last chunk begins; the end, when there are no chunks.
    last: usize,
}

impl Message {
    /// A request without a body.
    pub(crate) fn bare(method: &str, path: &str, headers: &[(&str, &str)]) -> Message {
        let framing = [("Content-Length", "0")];
        let framing = if matches!(method, "POST" | "PATCH") { framing.as_slice() } else { &[] };
        let bytes = head(method, path, &[headers, framing].concat()).into_bytes();
        Message { head: bytes.len(), last: bytes.len(), payload: Vec::new(), bytes }
    }

    pub(crate) fn new(
        random: &mut Random,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        shape: Shape,
        payload: &[u8],
    ) -> Message {
        let digest = digest(random, payload);
        let length = payload.len().to_string();
        let mut headers = headers.to_vec();
        headers.push(if shape.chunked { ("Transfer-Encoding", "chunked") } else { ("Content-Length", &length) });
        match shape.check {
            Check::None => {}
            Check::Head => headers.push(("Upload-Checksum", &digest)),
            Check::Trailer => headers.push(("Trailer", "Upload-Checksum")),
        }
        let bytes = head(method, path, &headers).into_bytes();
        let mut message = Message { head: bytes.len(), last: bytes.len(), payload: Vec::new(), bytes };
        if shape.chunked {
            message.add_chunks(random, payload);
            message.last = message.bytes.len();
            message.bytes.extend_from_slice(b"0\r\n");
            if shape.check == Check::Trailer {
                message.bytes.extend_from_slice(format!("Upload-Checksum: {digest}\r\n").as_bytes());
            }
            message.bytes.extend_from_slice(b"\r\n");
        } else {
            message.add(payload);
            message.last = message.bytes.len();
        }
        message
    }

    fn add(&mut self, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.payload.push(start..self.bytes.len());
    }

    fn add_chunks(&mut self, random: &mut Random, mut payload: &[u8]) {
        let most = if payload.len() < 2000 { 64 } else { 65_536 };
        while !payload.is_empty() {
            let (chunk, rest) = payload.split_at(payload.len().min(random.among(1..most) as usize));
            self.bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            self.add(chunk);
            self.bytes.extend_from_slice(b"\r\n");
            payload = rest;
        }
    }

    /// How many bytes of the payload are among the first bytes of the message.
    pub(crate) fn payload_before(&self, end: usize) -> u64 {
        let runs = self.payload.iter().take_while(|run| run.start < end);
        runs.map(|run| (run.end.min(end) - run.start) as u64).sum()
    }

    /// What the message breaks off in when it ends here.
    pub(crate) fn place(&self, end: usize) -> Place {
        match end {
            _ if end == self.bytes.len() => Place::End,
            _ if end < self.head => Place::Head,
            _ if end == self.head => Place::HeadEnd,
            _ if end > self.last => Place::Trailer,
            _ if self.payload.iter().any(|run| run.start < end && end < run.end) => Place::Payload,
            _ if self.last == self.bytes.len() => Place::Payload,
            _ => Place::Framing,
        }
    }

    /// A place to break off at, of each kind about as often.
    pub(crate) fn cut(&self, random: &mut Random) -> usize {
        match random.among(0..8) {
            0 => random.index(self.head),
            1 => self.head,
            2 if self.last < self.bytes.len() => self.last + random.index(self.bytes.len() - self.last),
            3 | 4 if !self.payload.is_empty() => {
                let run = self.payload[random.index(self.payload.len())].clone();
                (run.end + random.index(6)).min(self.bytes.len())
            }
            5 => self.bytes.len(),
            _ => self.head + random.index(self.bytes.len() - self.head + 1),
        }
    }
}

fn digest(random: &mut Random, bytes: &[u8]) -> String {
    let (name, digest) = match random.among(0..4) {
        0 => ("sha1", sha1::Sha1::digest(bytes).to_vec()),
        1 => ("sha256", sha2::Sha256::digest(bytes).to_vec()),
        2 => ("md5", md5::Md5::digest(bytes).to_vec()),
        _ => ("crc32", crc32fast::hash(bytes).to_be_bytes().to_vec()),
    };
    format!("{name} {}", STANDARD.encode(digest))
}

/// Looks at all that a server which has ended left: each `.info` is whole, and each upload, whether a client still
/// knows of it or not, holds the first bytes of its content and no others. Returns how many there are.
#[track_caller]
pub(crate) fn check_directory(directory: &Path) -> u64 {
    let mut count = 0;
    for entry in fs::read_dir(directory).expect("the storage directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Some(id) = name.strip_suffix(".info") {
            check_upload(&path, fs::read(directory.join(id)).ok());
            count += 1;
        } else if !name.starts_with('.') && !directory.join(format!("{name}.info")).exists() {
            let length = fs::metadata(&path).expect("a file").len();
            assert_eq!(length, 0, "{name} has bytes and no .info");
        }
    }
    count
}

/// Without a data file it is one that was being deleted.
#[track_caller]
fn check_upload(path: &Path, data: Option<Vec<u8>>) {
    let json = fs::read_to_string(path).expect("an .info");
    let info: serde_json::Value = serde_json::from_str(&json)
        .unwrap_or_else(|error| panic!("{}: {error} in {:?}", path.display(), json.get(..400).unwrap_or(&json)));
    let Some(data) = data else { return };
    let content = info["MetaData"]["content"].as_str().and_then(Content::parse);
    let content = content.unwrap_or_else(|| panic!("{}: no content in {json}", path.display()));
    assert!(content.bytes().starts_with(&data), "{} holds other bytes than were sent: {json}", path.display());
    if info["Wharf"]["Finished"].as_bool().expect("a mark in the .info") {
        assert_eq!(data.len() as u64, content.length(), "{} is marked as finished: {json}", path.display());
    }
}
