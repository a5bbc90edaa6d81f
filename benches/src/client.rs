//! A tus client on one connection: requests are written by hand, so that a body can stop anywhere, and every answer is
//! checked for what tus 1.0.0 says it must be.

use std::{io, net::SocketAddr, time::Duration};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    ballast,
    content::{Content, PIECE_BYTES},
};

/// How long the server may take for anything. Generous: it is a failure, not a measurement, to reach it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The most headers that are read.
const HEADERS_MAX: usize = 64;
/// Bodies up to this size leave together with their heads, in one segment.
const TOGETHER_BYTES: usize = 64 * 1024;
/// How much room there is for what is read next.
const HEAD_ROOM: usize = 2048;
const BODY_ROOM: usize = PIECE_BYTES;

/// What a server did that it should not have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("no answer in {} s", PATIENCE.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("an answer that can't be read: {0}")]
    Malformed(&'static str),
    #[error("{request} was answered with {status}: {text}")]
    Refused { request: &'static str, status: u16, text: String },
    #[error("{request} tells of {got:?} where {expected} was expected")]
    Wrong { request: &'static str, got: Option<u64>, expected: u64 },
    #[error("the {sent} bytes that were sent for {path} are not on disk in {} s", PATIENCE.as_secs())]
    Unread { path: String, sent: usize },
}

/// Where uploads are created.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// What came before an answer's body.
struct Answer {
    status: u16,
    offset: Option<u64>,
    content_length: Option<u64>,
    is_chunked: bool,
    /// The server ends the connection behind it.
    is_last: bool,
    location: Option<String>,
}

/// A connection that is kept from one request to the next, where the server keeps it: rustus ends each one.
pub(crate) struct Connection<'a> {
    site: &'a Site,
    stream: TcpStream,
    /// What was read beyond the last answer's head.
    held: Vec<u8>,
    /// The server has said that it ends this connection.
    is_over: bool,
}

impl<'a> Connection<'a> {
    pub(crate) async fn open(site: &'a Site) -> Result<Self, ClientError> {
        let stream = timeout(PATIENCE, TcpStream::connect(site.address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { site, stream, held: Vec::new(), is_over: false })
    }

    /// POST: creates an upload, and returns its path.
    pub(crate) async fn create(&mut self, length: usize) -> Result<String, ClientError> {
        let fields = format!("Upload-Length: {length}\r\nContent-Length: 0\r\n");
        self.send_head("POST", &self.site.path, &fields).await?;
        let answer = self.answer("POST", 201).await?;
        let location = answer.location.ok_or(ClientError::Malformed("a 201 without Location"))?;
        Ok(path_of(&location).to_owned())
    }

    /// POST: creates an upload with all its bytes, and returns its path.
    pub(crate) async fn create_whole(&mut self, bytes: &[u8]) -> Result<String, ClientError> {
        let length = bytes.len();
        let fields = format!(
            "Content-Type: application/offset+octet-stream\r\nUpload-Length: {length}\r\nContent-Length: {length}\r\n"
        );
        let mut message = self.head("POST", &self.site.path, &fields);
        message.extend_from_slice(bytes);
        self.send(&message).await?;
        let answer = self.answer("POST", 201).await?;
        expect("POST", answer.offset, length as u64)?;
        let location = answer.location.ok_or(ClientError::Malformed("a 201 without Location"))?;
        Ok(path_of(&location).to_owned())
    }

    /// PATCH: sends the bytes from one offset to another, and waits for the answer.
    pub(crate) async fn append(
        &mut self,
        path: &str,
        content: Content,
        from: usize,
        to: usize,
    ) -> Result<(), ClientError> {
        let mut piece = vec![0; PIECE_BYTES.min(to - from)];
        let mut at = from;
        while at < to {
            let next = &mut piece[..PIECE_BYTES.min(to - at)];
            content.fill(at, next);
            if at == from {
                self.begin_append(path, from, to - from, next).await?;
            } else {
                self.send(next).await?;
            }
            at += next.len();
        }
        self.end_append(to).await
    }

    /// PATCH: sends the head, and the first bytes of a body of this length.
    pub(crate) async fn begin_append(
        &mut self,
        path: &str,
        offset: usize,
        length: usize,
        first: &[u8],
    ) -> Result<(), ClientError> {
        let fields = format!(
            "Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\nContent-Length: {length}\r\n"
        );
        let mut message = self.head("PATCH", path, &fields);
        if first.len() <= TOGETHER_BYTES {
            message.extend_from_slice(first);
            return self.send(&message).await;
        }
        self.send(&message).await?;
        self.send(first).await
    }

    /// Sends more of a body.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.is_over {
            *self = Self::open(self.site).await?;
        }
        timeout(PATIENCE, self.stream.write_all(bytes)).await??;
        ballast::sent(bytes.len());
        Ok(())
    }

    /// The answer to a PATCH whose body has been sent.
    pub(crate) async fn end_append(&mut self, expected_offset: usize) -> Result<(), ClientError> {
        let answer = self.answer("PATCH", 204).await?;
        expect("PATCH", answer.offset, expected_offset as u64)
    }

    /// Whether the server has said something, or closed, while it should wait for the rest of a body.
    pub(crate) fn has_been_answered(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// HEAD: the upload must be at this offset.
    pub(crate) async fn inspect(&mut self, path: &str, expected_offset: usize) -> Result<(), ClientError> {
        self.send_head("HEAD", path, "").await?;
        let answer = self.answer("HEAD", 200).await?;
        expect("HEAD", answer.offset, expected_offset as u64)
    }

    /// HEAD: the offset that the upload has come to.
    pub(crate) async fn offset(&mut self, path: &str) -> Result<usize, ClientError> {
        self.send_head("HEAD", path, "").await?;
        let offset = self.answer("HEAD", 200).await?.offset.and_then(|offset| usize::try_from(offset).ok());
        offset.ok_or(ClientError::Malformed("no Upload-Offset"))
    }

    /// GET: the SHA-256 of the content, which must have this length.
    pub(crate) async fn download(&mut self, path: &str, expected_length: usize) -> Result<[u8; 32], ClientError> {
        let mut hasher = Sha256::new();
        self.read_whole(path, expected_length, |bytes| hasher.update(bytes)).await?;
        Ok(hasher.finalize().into())
    }

    /// GET: passes on the content, which must have this length.
    pub(crate) async fn read_whole(
        &mut self,
        path: &str,
        expected_length: usize,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), ClientError> {
        self.send_head("GET", path, "").await?;
        let answer = self.answer("GET", 200).await?;
        expect("GET", answer.content_length, expected_length as u64)?;
        let mut left = expected_length;
        while left > 0 {
            if self.held.is_empty() {
                self.read(BODY_ROOM.min(left)).await?;
            }
            let ready = left.min(self.held.len());
            sink(&self.held[..ready]);
            self.held.drain(..ready);
            left -= ready;
        }
        Ok(())
    }

    async fn send_head(&mut self, method: &str, path: &str, fields: &str) -> Result<(), ClientError> {
        let head = self.head(method, path, fields);
        self.send(&head).await
    }

    fn head(&self, method: &str, path: &str, fields: &str) -> Vec<u8> {
        let authority = &self.site.authority;
        format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nTus-Resumable: 1.0.0\r\n{fields}\r\n").into_bytes()
    }

    async fn read(&mut self, room: usize) -> Result<(), ClientError> {
        self.held.reserve(room);
        match timeout(PATIENCE, self.stream.read_buf(&mut self.held)).await?? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// Reads an answer's head, which must have this status; of a body only GET's is left to be read.
    async fn answer(&mut self, request: &'static str, expected_status: u16) -> Result<Answer, ClientError> {
        let answer = loop {
            if let Some((answer, end)) = parse(&self.held)? {
                self.held.drain(..end);
                if answer.status >= 200 {
                    self.is_over = answer.is_last;
                    break answer;
                }
            } else {
                self.read(HEAD_ROOM).await?;
            }
        };
        let is_right = answer.status == expected_status;
        if request == "HEAD" || answer.status == 204 || (is_right && request == "GET") {
            if !is_right {
                return Err(ClientError::Refused { request, status: answer.status, text: String::new() });
            }
            return Ok(answer);
        }
        let body = self.text(&answer).await?;
        if is_right {
            return Ok(answer);
        }
        Err(ClientError::Refused {
            request,
            status: answer.status,
            text: String::from_utf8_lossy(&body).trim().to_owned(),
        })
    }

    /// A body that is no upload: short, or in chunks.
    async fn text(&mut self, answer: &Answer) -> Result<Vec<u8>, ClientError> {
        if !answer.is_chunked {
            let length = answer.content_length.ok_or(ClientError::Malformed("a body of unknown length"))?;
            return self.take(length).await;
        }
        let mut body = Vec::new();
        loop {
            let size = match httparse::parse_chunk_size(&self.held) {
                Ok(httparse::Status::Complete((end, size))) => {
                    self.held.drain(..end);
                    size
                }
                Ok(httparse::Status::Partial) => {
                    self.read(HEAD_ROOM).await?;
                    continue;
                }
                Err(_) => return Err(ClientError::Malformed("a chunk")),
            };
            let mut chunk = self.take(size.saturating_add(2)).await?;
            if !chunk.ends_with(b"\r\n") {
                return Err(ClientError::Malformed("a chunk without an end, or a trailer"));
            }
            chunk.truncate(chunk.len() - 2);
            if size == 0 {
                return Ok(body);
            }
            body.append(&mut chunk);
        }
    }

    async fn take(&mut self, count: u64) -> Result<Vec<u8>, ClientError> {
        let count = usize::try_from(count).map_err(|_| ClientError::Malformed("an endless body"))?;
        while self.held.len() < count {
            self.read(HEAD_ROOM).await?;
        }
        Ok(self.held.drain(..count).collect())
    }
}

fn expect(request: &'static str, got: Option<u64>, expected: u64) -> Result<(), ClientError> {
    if got == Some(expected) { Ok(()) } else { Err(ClientError::Wrong { request, got, expected }) }
}

/// A head and where it ends, once it is there.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, ClientError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|_| ClientError::Malformed("its head"))?;
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let text = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    let answer = Answer {
        status: response.code.unwrap_or(0),
        offset: number("Upload-Offset"),
        content_length: number("Content-Length"),
        is_chunked: text("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")),
        is_last: text("Connection").is_some_and(|connection| connection.eq_ignore_ascii_case("close")),
        location: text("Location").map(str::to_owned),
    };
    Ok(Some((answer, end)))
}

/// The path of a URL, which may be no more than that.
pub(crate) fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let head =
            b"HTTP/1.1 204 No Content\r\nUpload-Offset: 17\r\nconnection: close\r\nlocation: /files/a\r\n\r\nrest";
        for cut in 0..head.len() - 4 {
            assert!(parse(&head[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        let (answer, end) = parse(head).unwrap().unwrap();
        assert_eq!((answer.status, answer.offset, answer.content_length), (204, Some(17), None));
        assert!(answer.is_last);
        assert_eq!((answer.location.as_deref(), &head[end..]), (Some("/files/a"), &b"rest"[..]));
    }

    #[test]
    fn a_location_may_be_a_url_or_a_path() {
        assert_eq!(path_of("http://127.0.0.1:8080/files/a"), "/files/a");
        assert_eq!(path_of("/files/a"), "/files/a");
        assert_eq!(path_of("http://127.0.0.1"), "/");
    }
}
