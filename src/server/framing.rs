//! Follows the framing of the requests on one connection, byte for byte as they are handed to actix-http: where each head
//! and body ends, and which trailers came with it. It is stricter than actix's reader and never laxer.

mod chunked;
mod head;

use std::collections::VecDeque;
use std::hash::RandomState;

use actix_http::Uri;
use chunked::{Chunked, Progress};

/// The most header lines of a request: actix-http's number.
const HEADERS_MAX: usize = 96;
/// actix-http panics on a header name of 65,536 bytes, and gives up on a head of 128 KiB.
const HEAD_LIMIT_BYTES: usize = 65_536;

/// A trailer section: names in lower case, values without the white space around them.
pub type Trailers = Vec<(String, Vec<u8>)>;

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    None,
    /// Content-Length says so many bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What is known of one request on the connection.
#[derive(Debug)]
pub struct Message {
    /// The request's number on this connection, from 0.
    pub number: u64,
    /// How its body is delimited.
    pub body: BodyKind,
    /// How many bytes of the body have come so far, without the framing.
    pub body_bytes: u64,
    /// Whether its last byte has come.
    pub finished: bool,
    /// The trailer section, once finished.
    pub trailers: Trailers,
    fingerprint: u64,
}

/// Why nothing more is read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The number of the request that is malformed.
    pub number: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Box<Chunked>),
}

/// The reader of a connection's framing.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// The beginning of a head that came in pieces.
    partial_head: Vec<u8>,
    head_max_bytes: usize,
    /// The requests that have begun and that nobody has removed; the last one may be unfinished.
    messages: VecDeque<Message>,
    next_number: u64,
    malformed: Option<Malformed>,
    head_was_cut: bool,
    hasher: RandomState,
}

impl Framing {
    /// A reader at the beginning of a connection. No head may be longer than the limit, nor than 64 KiB.
    pub fn new(head_max_bytes: usize) -> Self {
        Self {
            state: State::Head,
            partial_head: Vec::new(),
            head_max_bytes: head_max_bytes.min(HEAD_LIMIT_BYTES),
            messages: VecDeque::new(),
            next_number: 0,
            malformed: None,
            head_was_cut: false,
            hasher: RandomState::new(),
        }
    }

    /// Reads on. Returns how many of the bytes may be passed on; if that is not all of them, the connection is malformed,
    /// and nothing may be passed on ever after.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        self.feed_below(bytes, u64::MAX)
    }

    /// Whether the next byte would begin a request of this number or a later one.
    pub fn is_at(&self, number: u64) -> bool {
        matches!(self.state, State::Head) && self.partial_head.is_empty() && self.next_number >= number
    }

    /// Reads on as `feed`, but begins no request of this number or a later one: what is left then, with nothing
    /// malformed, may be passed on later.
    pub fn feed_below(&mut self, bytes: &[u8], number: u64) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.malformed.is_none() && !self.is_at(number) {
            at += match &self.state {
                State::Head => self.feed_head(&bytes[at..]),
                State::Length(_) | State::Chunked(_) => self.feed_body(&bytes[at..]),
            };
        }
        at
    }

    /// What is wrong with the connection, if anything is.
    pub fn malformed(&self) -> Option<Malformed> {
        self.malformed
    }

    /// Whether a head has begun and not ended.
    pub fn is_mid_head(&self) -> bool {
        !self.partial_head.is_empty()
    }

    /// The number of the request whose body is still coming.
    pub fn open_body(&self) -> Option<u64> {
        (!matches!(self.state, State::Head)).then(|| self.next_number - 1)
    }

    /// The number that the next request will have.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether a head was cut off because of its length. Then actix holds a part of it and would never answer.
    pub fn head_was_cut(&self) -> bool {
        self.head_was_cut
    }

    /// The request of this number, if it has begun and was not removed.
    pub fn message(&self, number: u64) -> Option<&Message> {
        self.messages.iter().find(|message| message.number == number)
    }

    /// Takes the request of this number out. Its body, if that is still coming, is followed all the same.
    pub fn remove(&mut self, number: u64) -> Option<Message> {
        let at = self.messages.iter().position(|message| message.number == number)?;
        self.messages.remove(at)
    }

    /// Whether the request has this method and target.
    pub fn is_same_request(&self, message: &Message, method: &str, uri: &Uri) -> bool {
        message.fingerprint == head::fingerprint(&self.hasher, method, uri)
    }

    fn feed_head(&mut self, bytes: &[u8]) -> usize {
        let held = self.partial_head.len();
        let taken = bytes.len().min(self.head_max_bytes - held);
        if held == 0 {
            return match parse_head(&bytes[..taken], &self.hasher) {
                Ok(Some((end, head))) => self.begin(head, end),
                Ok(None) => self.hold(&bytes[..taken]),
                Err(reason) => self.pass_to_refusal(reason, bytes.len()),
            };
        }
        let mut partial_head = std::mem::take(&mut self.partial_head);
        partial_head.extend_from_slice(&bytes[..taken]);
        match parse_head(&partial_head, &self.hasher) {
            Ok(Some((end, head))) => self.begin(head, end - held),
            Ok(None) => {
                self.partial_head = partial_head;
                self.hold(&[]);
                taken
            }
            Err(reason) => self.pass_to_refusal(reason, bytes.len()),
        }
    }

    /// Keeps the beginning of a head until the rest of it comes.
    fn hold(&mut self, bytes: &[u8]) -> usize {
        self.partial_head.extend_from_slice(bytes);
        if self.partial_head.len() >= self.head_max_bytes {
            self.head_was_cut = true;
            self.fail(self.next_number, "request head too long");
        }
        bytes.len()
    }

    /// actix reads heads with the same parser, so it refuses this one by itself, with a 400, when it is handed the bytes.
    /// Should it ever see a request in them, no message stands against it.
    fn pass_to_refusal(&mut self, reason: &'static str, length: usize) -> usize {
        self.fail(self.next_number, reason);
        length
    }

    fn begin(&mut self, head: head::Head, length: usize) -> usize {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(reason) = head.refusal {
            self.fail(number, reason);
        }
        self.state = match head.body {
            BodyKind::None | BodyKind::Length(0) => State::Head,
            BodyKind::Length(length) => State::Length(length),
            BodyKind::Chunked => State::Chunked(Box::new(Chunked::new())),
        };
        self.messages.push_back(Message {
            number,
            body: head.body,
            body_bytes: 0,
            finished: head.refusal.is_none() && matches!(self.state, State::Head),
            trailers: Trailers::new(),
            fingerprint: head.fingerprint,
        });
        length
    }

    fn feed_body(&mut self, bytes: &[u8]) -> usize {
        let number = self.next_number - 1;
        let (taken, data, progress) = match &mut self.state {
            State::Head => return 0,
            State::Length(left) => {
                let step = (*left).min(bytes.len() as u64);
                *left -= step;
                (step as usize, step, if *left == 0 { Progress::End } else { Progress::More })
            }
            State::Chunked(chunked) => chunked.feed(bytes),
        };
        if let Progress::Fault(reason) = progress {
            self.fail(number, reason);
        }
        let ended = (progress == Progress::End).then(|| std::mem::replace(&mut self.state, State::Head));
        if let Some(message) = self.messages.back_mut().filter(|message| message.number == number) {
            message.body_bytes += data;
            message.finished = ended.is_some();
            if let Some(State::Chunked(chunked)) = ended {
                message.trailers = chunked.into_trailers();
            }
        }
        taken
    }

    fn fail(&mut self, number: u64, reason: &'static str) {
        self.malformed = Some(Malformed { number, reason });
    }
}

fn parse_head(bytes: &[u8], hasher: &RandomState) -> Result<Option<(usize, head::Head)>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => Ok(Some((end, head::judge(&request, hasher)))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err("too many headers"),
        Err(_) => Err("invalid request head"),
    }
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
