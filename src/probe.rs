//! `wharf probe`: asks a server whether it is well, for containers that have no other program in them.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustls::StreamOwned;

mod secure;

/// What a server is shown that asks for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate's file (PEM).
    pub certificate: PathBuf,
    /// Its key's file (PEM).
    pub key: PathBuf,
}

/// Why a server counts as unwell.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Only `http://host:port/path`, or the same with https, can be asked.
    #[error("{0} is no URL that begins with http:// or https:// and a host")]
    Url(String),
    /// Nobody answered, or not in time.
    #[error("no answer from {host}: {source}")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// It answered, and not with a 2xx.
    #[error("{url} answers {answer}")]
    Unwell {
        /// What was asked.
        url: String,
        /// Its first line.
        answer: String,
    },
}

/// Asks once; success is an answer with a status of 2xx within that time.
pub fn probe(url: &str, identity: Option<&Identity>, at_most: Duration) -> Result<(), ProbeError> {
    let target = Target::of(url).ok_or_else(|| ProbeError::Url(url.to_owned()))?;
    let answer = ask(&target, identity, at_most)
        .map_err(|source| ProbeError::Unreachable { host: target.host.to_owned(), source })?;
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    if status.is_some_and(|status| status.starts_with('2')) {
        return Ok(());
    }
    Err(ProbeError::Unwell { url: url.to_owned(), answer: answer.trim_end().escape_debug().to_string() })
}

/// What a URL says.
struct Target<'a> {
    is_secure: bool,
    /// With the port, if there is one.
    host: &'a str,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (is_secure, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let (host, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let is_plain = !host.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then_some(Self { is_secure, host, path })
    }

    /// The name or address alone.
    fn name(&self) -> &'a str {
        let name = self.split().map_or(self.host, |(name, _)| name);
        name.trim_start_matches('[').trim_end_matches(']')
    }

    fn split(&self) -> Option<(&'a str, &'a str)> {
        self.host.rsplit_once(':').filter(|(_, port)| !port.is_empty() && !port.contains(']'))
    }
}

/// A socket that waits no longer than until then. For each read and write anew: one that trickles would put off a single
/// time-out for ever.
struct Bounded {
    socket: TcpStream,
    deadline: Instant,
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    }
}

impl Read for Bounded {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(bytes)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn ask(target: &Target<'_>, identity: Option<&Identity>, at_most: Duration) -> io::Result<String> {
    let deadline = Instant::now() + at_most;
    let named = match target.split() {
        Some(_) => target.host.to_owned(),
        None => format!("{}:{}", target.host, if target.is_secure { 443 } else { 80 }),
    };
    let mut socket = Err(io::Error::from(io::ErrorKind::NotFound));
    for address in named.to_socket_addrs()? {
        socket = TcpStream::connect_timeout(&address, left(deadline)?);
        if socket.is_ok() {
            break;
        }
    }
    let stream = Bounded { socket: socket?, deadline };
    if target.is_secure {
        first_line(target, StreamOwned::new(secure::connection(target.name(), identity)?, stream))
    } else {
        first_line(target, stream)
    }
}

/// The first line of the answer.
fn first_line(target: &Target<'_>, mut stream: impl Read + Write) -> io::Result<String> {
    const LINE_MAX: usize = 1024;
    // In one piece: a server may answer, and close, before a second one comes.
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.path, target.host);
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut line = Vec::new();
    BufReader::new(stream).take(LINE_MAX as u64).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener, thread};

    use super::*;

    /// What a probe says of a server that answers so.
    fn told(answer: &'static str) -> (Result<(), ProbeError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/healthz?x", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 1024];
            let count = stream.read(&mut asked).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            asked.truncate(count);
            String::from_utf8(asked).unwrap()
        });
        let result = probe(&url, None, Duration::from_secs(30));
        (result, server.join().unwrap())
    }

    #[test]
    fn only_a_2xx_is_well() {
        let (result, asked) = told("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        result.unwrap();
        assert!(asked.starts_with("GET /healthz?x HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
        told("HTTP/1.0 204 No Content\r\n\r\n").0.unwrap();
        for wrong in
            ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 301 Moved\r\n\r\n", "220 smtp\r\n", "", "HTTP/1."]
        {
            assert!(matches!(told(wrong).0, Err(ProbeError::Unwell { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, is_secure, name, path) in [
            ("http://a", false, "a", "/"),
            ("https://a:1/b?c", true, "a", "/b?c"),
            ("https://[::1]:8081/", true, "::1", "/"),
            ("https://[::1]/", true, "::1", "/"),
        ] {
            let target = Target::of(url).unwrap();
            assert_eq!((target.is_secure, target.name(), target.path), (is_secure, name, path), "{url}");
        }
    }

    #[test]
    fn what_can_t_be_asked_is_an_error() {
        for wrong in ["ftp://a/", "https:///", "a:80", "http://", "http:///x", "http://a b/", "http://a/\r\nX: y"] {
            assert!(matches!(probe(wrong, None, Duration::from_secs(1)), Err(ProbeError::Url(_))), "{wrong}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // It accepts, in the kernel, and says nothing.
        assert!(matches!(probe(&url, None, Duration::from_millis(50)), Err(ProbeError::Unreachable { .. })));
        drop(listener);
        assert!(matches!(probe(&url, None, Duration::from_secs(30)), Err(ProbeError::Unreachable { .. })));
    }
}
