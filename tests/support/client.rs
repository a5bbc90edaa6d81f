//! A client that says exactly the bytes it is told to and hides nothing of what comes back.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use rustls::ClientConfig;

use super::{
    Response,
    process::is_read,
    transport::{Transport, is_gone},
};

/// The head of a request, with `Host` and `Tus-Resumable` unless these headers name them. An empty value leaves a
/// header out.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let named = |name: &str| headers.iter().any(|header| header.0.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let defaults = [("Host", "wharf.test"), ("Tus-Resumable", "1.0.0")];
    let defaults = defaults.iter().filter(|header| !named(header.0));
    for (name, value) in defaults.chain(headers).filter(|header| !header.1.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// A chunked body of pieces of at most `size` bytes, with these trailers.
pub(crate) fn chunked(bytes: &[u8], size: usize, trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in bytes.chunks(size) {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        body.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body
}

/// A connection to the server.
pub(crate) struct Client {
    stream: Transport,
    received: Vec<u8>,
    /// The server has ended TLS as it should.
    ended: bool,
}

impl Client {
    /// Opens a connection.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::over(Transport::tcp(address))
    }

    /// Opens a connection with TLS.
    pub(crate) fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Client {
        Client::over(Transport::tls(address, config))
    }

    /// Opens a connection to a Unix socket.
    pub(crate) fn connect_unix(path: &Path) -> Client {
        Client::over(Transport::unix(path))
    }

    fn over(stream: Transport) -> Client {
        Client { stream, received: Vec::new(), ended: false }
    }

    /// The certificate that the server has shown.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.stream.certificate().expect("a handshake that is done")
    }

    /// Whether the server has ended TLS before it closed.
    pub(crate) fn was_told_the_end(&self) -> bool {
        self.ended
    }

    /// Whether the server has read all that was sent.
    pub(crate) fn is_read(&self) -> bool {
        is_read(self.port())
    }

    /// The port it sends from.
    pub(crate) fn port(&self) -> u16 {
        self.stream.socket().expect("a socket of TCP").local_addr().expect("a connection").port()
    }

    /// Sends bytes as they are. A server that has closed is no error here: what it answered is still to be read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => panic!("the server takes no bytes: {error}"),
        }
    }

    /// Sends bytes one by one, each in a segment of its own.
    pub(crate) fn send_slowly(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send([*byte]);
        }
    }

    /// One request and its answer.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        let framed = headers.iter().any(|(name, _)| matches!(*name, "Content-Length" | "Transfer-Encoding"));
        if !framed && (!body.is_empty() || matches!(method, "POST" | "PATCH" | "PUT")) {
            headers.push(("Content-Length", &length));
        }
        let mut message = head(method, path, &headers).into_bytes();
        message.extend_from_slice(body);
        self.send(message);
        self.answer_to(method)
    }

    /// The next answer, to a request that was not HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Response {
        self.answer_to("GET")
    }

    /// The next answer to a request with this method.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Response {
        self.answer_or_close(method).expect("an answer, but the server closed the connection")
    }

    /// The next answer, or nothing when the server closes the connection without one.
    #[track_caller]
    pub(crate) fn answer_or_close(&mut self, method: &str) -> Option<Response> {
        let mut interims = Vec::new();
        loop {
            let mut response = Response::parse_head(&self.head_bytes()?);
            if response.status / 100 == 1 {
                interims.push(response.status);
                continue;
            }
            response.interims = interims;
            response.body = self.body_of(&response, method);
            return Some(response);
        }
    }

    /// The next interim answer's status, such as 100.
    #[track_caller]
    pub(crate) fn interim(&mut self) -> u16 {
        let bytes = self.head_bytes().expect("an interim answer, but the server closed the connection");
        Response::parse_head(&bytes).status
    }

    /// The head of the next answer, whose body has no end and comes by [`Client::chunk`].
    #[track_caller]
    pub(crate) fn head_only(&mut self) -> Response {
        let bytes = self.head_bytes().expect("an answer, but the server closed the connection");
        Response::parse_head(&bytes)
    }

    /// The next chunk of a body that comes in chunks; empty at its end.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let Some(end) = self.find(b"\r\n") else { return Vec::new() };
        let line = String::from_utf8(self.take(end + 2)).expect("a size in ASCII");
        let size = usize::from_str_radix(line.trim_end(), 16).expect("a size in hex");
        let mut chunk = self.exactly(size + 2);
        chunk.truncate(size);
        chunk
    }

    /// Waits for the server to close the connection: true when it does without sending anything more.
    pub(crate) fn closed(&mut self) -> bool {
        self.received.is_empty() && !self.receive()
    }

    /// Whether neither an answer nor the server's end has come so far. Does not wait.
    pub(crate) fn silent(&mut self) -> bool {
        if !self.received.is_empty() {
            return false;
        }
        self.stream.set_nonblocking(true);
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false);
        if let Ok(count) = read {
            self.received.extend_from_slice(&bytes[..count]);
        }
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends, and reads until the connection fails, which it must: what it fails with.
    pub(crate) fn failure(&mut self, bytes: &[u8]) -> String {
        if let Err(error) = self.stream.write_all(bytes) {
            return error.to_string();
        }
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("the server closed, and the connection did not fail"),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Ends the sending direction only (FIN): the answer can still be read.
    pub(crate) fn finish(&mut self) {
        self.stream.finish();
    }

    /// The same without a word to TLS.
    pub(crate) fn hang_up(&mut self) {
        self.stream.hang_up();
    }

    /// Sends half of what these bytes are under TLS.
    pub(crate) fn send_half_a_record(&mut self, bytes: &[u8]) {
        self.stream.send_half_a_record(bytes);
    }

    /// Drops the connection with a reset (RST).
    pub(crate) fn reset(self) {
        self.stream.reset();
    }

    /// Reads more; false when the server has closed or reset the connection.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.received.extend_from_slice(&bytes[..count]);
                self.ended |= count == 0;
                count > 0
            }
            // What TLS says of a server that closes without a word to it; a test that minds asks for that.
            Err(error) if is_gone(&error) || error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => panic!("waited in vain for the server to answer or close: {error}"),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.received.drain(..count).collect()
    }

    fn find(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            let found = self.received.windows(mark.len()).position(|window| window == mark);
            if found.is_some() || !self.receive() {
                return found;
            }
        }
    }

    fn head_bytes(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.find(b"\r\n\r\n") else {
            assert!(self.received.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.received));
            return None;
        };
        Some(self.take(end + 4))
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.receive(), "{} of {count} body bytes came", self.received.len());
        }
        self.take(count)
    }

    fn body_of(&mut self, response: &Response, method: &str) -> Vec<u8> {
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return Vec::new();
        }
        if response.header("Transfer-Encoding").is_some() {
            return self.chunks();
        }
        if let Some(length) = response.header("Content-Length") {
            return self.exactly(length.parse().expect("a number in Content-Length"));
        }
        while self.receive() {}
        self.take(self.received.len())
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n").expect("a chunk's size");
            let line = String::from_utf8(self.take(end + 2)).expect("a size in ASCII");
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a size in hex");
            let mut chunk = self.exactly(size + 2);
            chunk.truncate(size);
            body.extend_from_slice(&chunk);
            if size == 0 {
                return body;
            }
        }
    }
}
