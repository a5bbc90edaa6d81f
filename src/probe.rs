//! `wharf probe`: asks a server whether it is well, for containers that have no other program in them.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

/// Why a server counts as unwell.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Only `http://host:port/path` can be asked.
    #[error("{0} is no URL that begins with http:// and a host")]
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
pub fn probe(url: &str, at_most: Duration) -> Result<(), ProbeError> {
    let (host, path) = split(url).ok_or_else(|| ProbeError::Url(url.to_owned()))?;
    let answer =
        ask(host, path, at_most).map_err(|source| ProbeError::Unreachable { host: host.to_owned(), source })?;
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    if status.is_some_and(|status| status.starts_with('2')) {
        return Ok(());
    }
    Err(ProbeError::Unwell { url: url.to_owned(), answer: answer.trim_end().escape_debug().to_string() })
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let is_plain = !host.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some((host, path))
}

fn ask(host: &str, path: &str, at_most: Duration) -> io::Result<String> {
    const LINE_MAX: usize = 1024;
    let deadline = Instant::now() + at_most;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
    let named = if has_port { host.to_owned() } else { format!("{host}:80") };
    let mut result = Err(io::Error::from(io::ErrorKind::NotFound));
    for address in named.to_socket_addrs()? {
        result = TcpStream::connect_timeout(&address, left()?);
        if result.is_ok() {
            break;
        }
    }
    let mut stream = result?;
    stream.set_write_timeout(Some(left()?))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // Read by read, since one that trickles would put off a time-out for ever.
    while !line.contains(&b'\n') && line.len() < LINE_MAX {
        reader.get_ref().set_read_timeout(Some(left()?))?;
        let some = reader.fill_buf()?;
        if some.is_empty() {
            break;
        }
        line.extend_from_slice(some);
        let count = some.len();
        reader.consume(count);
    }
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    Ok(String::from_utf8_lossy(&line[..end]).into_owned())
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
        let result = probe(&url, Duration::from_secs(30));
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
    fn what_can_t_be_asked_is_an_error() {
        for wrong in ["https://a/", "a:80", "http://", "http:///x", "http://a b/", "http://a/\r\nX: y"] {
            assert!(matches!(probe(wrong, Duration::from_secs(1)), Err(ProbeError::Url(_))), "{wrong}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // It accepts, in the kernel, and says nothing.
        assert!(matches!(probe(&url, Duration::from_millis(50)), Err(ProbeError::Unreachable { .. })));
        drop(listener);
        assert!(matches!(probe(&url, Duration::from_secs(30)), Err(ProbeError::Unreachable { .. })));
    }
}
