//! One request, one connection: so that a connection can be cut, and no request sees what became of another. Written out
//! here, since an HTTP client's business is to hide what an examination is about: interim answers, answers that come
//! before the body has been sent, headers that came twice, and how a connection ended.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    answer::{Answer, excerpt},
    tls,
    url::Url,
};

/// Longer heads are not read.
const HEAD_MAX: usize = 64 << 10;
/// Nor are heads with more lines.
const HEADERS_MAX: usize = 128;
/// More of a body is not kept.
pub(super) const BODY_MAX: usize = 1 << 20;
/// More interim answers are nonsense.
const INTERIMS_MAX: usize = 16;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The server's certificate is not trusted.
    #[error("{0}")]
    Certificate(String),
    /// The connection ended.
    #[error("the connection ended without an answer: {0}")]
    Ended(String),
    /// Nothing came.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// What came is no answer.
    #[error("what came back is not HTTP: {0}")]
    Nonsense(String),
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection, with one request on it.
pub(super) struct Exchange {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    is_head: bool,
    within: Duration,
}

impl Exchange {
    /// Connects; that, each write and each body may take so long.
    pub(super) async fn open(url: &Url, tls: Option<&TlsConnector>, within: Duration) -> Result<Self, Failure> {
        let stream = timeout(within, connect(url, tls)).await.map_err(|_| Failure::Silent(within))??;
        Ok(Self { stream, received: Vec::new(), is_head: false, within })
    }

    /// Sends the head of a request. Names and values were checked by whoever took them in.
    pub(super) async fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), Failure> {
        self.is_head = method == "HEAD";
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(format!("{head}\r\n").as_bytes()).await
    }

    /// Sends bytes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let sent = timeout(self.within, sent).await.map_err(|_| Failure::Silent(self.within))?;
        sent.map_err(|error| Failure::Ended(error.to_string()))
    }

    /// The final answer: its head must come within that time.
    pub(super) async fn answer(&mut self, within: Duration) -> Result<Answer, Failure> {
        let final_head = async {
            for _ in 0..INTERIMS_MAX {
                let head = self.read_head().await?;
                if head.status >= 200 {
                    return Ok(head);
                }
            }
            Err(Failure::Nonsense(format!("more than {INTERIMS_MAX} interim answers")))
        };
        let head = timeout(within, final_head).await.map_err(|_| Failure::Silent(within))??;
        self.complete(head).await
    }

    /// The next answer, which may be an interim one.
    pub(super) async fn next(&mut self, within: Duration) -> Result<Answer, Failure> {
        let head = timeout(within, self.read_head()).await.map_err(|_| Failure::Silent(within))??;
        self.complete(head).await
    }

    /// An answer with its body, or with what of it comes in time: an answer it is by its head.
    async fn complete(&mut self, mut answer: Answer) -> Result<Answer, Failure> {
        let has_body = answer.status >= 200 && !matches!(answer.status, 204 | 304) && !self.is_head;
        if has_body {
            answer.is_whole = false;
            if let Ok(read) = timeout(self.within, self.read_body(&mut answer)).await {
                read?;
            }
        }
        Ok(answer)
    }

    async fn read_head(&mut self) -> Result<Answer, Failure> {
        loop {
            if let Some((answer, length)) = parse_head(&self.received)? {
                self.received.drain(..length);
                return Ok(answer);
            }
            if self.received.len() >= HEAD_MAX {
                return Err(Failure::Nonsense(format!("a head of more than {HEAD_MAX} bytes")));
            }
            if !self.receive().await? {
                return Err(Failure::Ended(if self.received.is_empty() {
                    "it was closed".to_owned()
                } else {
                    format!("after {} bytes", self.received.len())
                }));
            }
        }
    }

    async fn read_body(&mut self, answer: &mut Answer) -> Result<(), Failure> {
        let mut codings = answer.list("transfer-encoding");
        if codings.pop().is_some_and(|coding| coding == "chunked") {
            return self.read_chunks(answer).await;
        }
        let announced = answer.text("content-length").map(str::parse::<usize>);
        let length = match announced {
            Some(Err(_)) => {
                return Err(Failure::Nonsense(answer.shown("content-length")));
            }
            Some(Ok(length)) => length,
            None => usize::MAX,
        };
        let wanted = length.min(BODY_MAX);
        loop {
            let more = self.received.len().min(wanted - answer.body.len());
            answer.body.extend(self.received.drain(..more));
            // A connection that breaks off is no failure of the exchange: what of the body came is told.
            if answer.body.len() == wanted || !self.receive().await.unwrap_or(false) {
                break;
            }
        }
        let came = answer.body.len();
        answer.is_whole = came == length || length == usize::MAX && came < BODY_MAX;
        Ok(())
    }

    async fn read_chunks(&mut self, answer: &mut Answer) -> Result<(), Failure> {
        loop {
            let wrong = || Failure::Nonsense("a chunk without a size".to_owned());
            match httparse::parse_chunk_size(&self.received).map_err(|_| wrong())? {
                httparse::Status::Complete((start, size)) => {
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    let end = start.saturating_add(size).saturating_add(2);
                    if size == 0 {
                        answer.is_whole = true;
                        return Ok(());
                    }
                    let is_too_large = size > BODY_MAX - answer.body.len();
                    let wanted = if is_too_large { start + BODY_MAX - answer.body.len() } else { end };
                    while self.received.len() < wanted {
                        if !self.receive().await.unwrap_or(false) {
                            return Ok(());
                        }
                    }
                    if is_too_large {
                        return Ok(());
                    }
                    answer.body.extend_from_slice(&self.received[start..end - 2]);
                    self.received.drain(..end);
                }
                // A size with its extensions fits into a line.
                httparse::Status::Partial if self.received.len() > HEAD_MAX => return Err(wrong()),
                httparse::Status::Partial => {
                    if !self.receive().await.unwrap_or(false) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reads more; false at the end.
    async fn receive(&mut self) -> Result<bool, Failure> {
        let read = self.stream.read_buf(&mut self.received).await;
        read.map(|count| count > 0).map_err(|error| Failure::Ended(error.to_string()))
    }
}

async fn connect(url: &Url, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>, Failure> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = stream.map_err(|error| Failure::Connect(error.to_string()))?;
    // A small piece must not wait for a larger one; without this it is only late.
    let _ = stream.set_nodelay(true);
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(tls::greet(tls, &url.host, stream).await?)),
    }
}

/// The head that these bytes begin with, and its length; nothing while it is not whole.
fn parse_head(bytes: &[u8]) -> Result<Option<(Answer, usize)>, Failure> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut lines);
    let parsed = head.parse(bytes);
    let nonsense = |why: &str| Failure::Nonsense(format!("{why} in {}", excerpt(&String::from_utf8_lossy(bytes))));
    let length = match parsed.map_err(|error| nonsense(&error.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let headers = head
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned()));
    let answer = Answer {
        status: head.code.unwrap_or_default(),
        is_current: head.version == Some(1),
        headers: headers.collect(),
        body: Vec::new(),
        is_whole: true,
    };
    Ok(Some((answer, length)))
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// What is made of an answer that is these bytes, after which the connection ends.
    fn read(method: &str, bytes: &[u8]) -> Result<Answer, Failure> {
        actix_rt::System::new().block_on(async {
            let (near, mut far) = duplex(4 << 20);
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            let is_head = method == "HEAD";
            Exchange { stream: Box::new(near), received: Vec::new(), is_head, within: SOON }.answer(SOON).await
        })
    }

    #[test]
    fn answers_are_read_in_every_framing() {
        for (bytes, body, is_whole) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcdef"[..], "abc", true),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "abc", false),
            (b"HTTP/1.1 200 OK\r\n\r\nabc", "abc", true),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n", "abc", true),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nff\r\nc", "ab", false),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\nabc", "", true),
        ] {
            let answer = read("GET", bytes).unwrap();
            assert_eq!((answer.body.as_slice(), answer.is_whole), (body.as_bytes(), is_whole), "{bytes:?}");
        }
        assert_eq!(read("HEAD", b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\n").unwrap().body, b"");
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
            &[&b"HTTP/1.1 200 OK\r\n"[..], &b"a: b\r\n".repeat(1000), b"\r\n"].concat(),
            &[&b"HTTP/1.1 200 OK\r\na: "[..], &b"x".repeat(1 << 20)].concat(),
        ] {
            assert!(matches!(read("GET", bytes), Err(Failure::Nonsense(_))), "{:?}", read("GET", bytes));
        }
        for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\na: b\r\n"] {
            assert!(matches!(read("GET", bytes), Err(Failure::Ended(_))));
        }
    }

    #[test]
    fn of_a_huge_body_only_the_beginning_is_kept() {
        let huge = vec![b'x'; BODY_MAX + (64 << 10)];
        let framed = [
            format!("content-length: {}\r\n\r\n", u32::MAX).into_bytes(),
            b"\r\n".to_vec(),
            b"transfer-encoding: chunked\r\n\r\nfffffffff\r\n".to_vec(),
        ];
        for head in framed {
            let bytes = [&b"HTTP/1.1 200 OK\r\n"[..], &head, &huge].concat();
            let answer = read("GET", &bytes).unwrap();
            assert!(!answer.is_whole && answer.body.len() <= BODY_MAX);
        }
        let small_chunks = b"10\r\nxxxxxxxxxxxxxxxx\r\n".repeat(100_000);
        let bytes = [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..], &small_chunks].concat();
        let answer = read("GET", &bytes).unwrap();
        assert!(!answer.is_whole && answer.body.len() <= BODY_MAX);
    }
}
