//! A request's head: who asks for what, what it says about its body, or why it can't be served on this connection.

use std::mem::MaybeUninit;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_http::{Method, Request, RequestHead, Uri, Version};
use bytes::Bytes;

use super::{BodyKind, HEADERS_MAX};
use crate::server::Fault;

/// What stands for the method of a head that can't be read.
const UNREADABLE: &[u8] = b"UNREADABLE";

/// A complete head, judged.
#[derive(Debug)]
pub(in crate::server) struct Head {
    /// How many bytes it has.
    pub(in crate::server) len: usize,
    /// Method, target, version and lines, as handlers get them.
    pub(in crate::server) request: Request,
    /// How long the body is.
    pub(in crate::server) body: BodyKind,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(in crate::server) expects: bool,
    /// Whether the connection ends with the answer, as far as the client has a say in it.
    pub(in crate::server) closes: bool,
    /// Why the request is refused and nothing may be read after it.
    pub(in crate::server) refusal: Option<&'static str>,
}

impl Head {
    /// What stands for a head that can't be read, so that it is refused and logged as all others are.
    pub(in crate::server) fn unreadable() -> Self {
        let mut request = Request::new();
        let asked = request.head_mut();
        asked.method = Method::from_bytes(UNREADABLE).unwrap_or_default();
        (asked.uri, asked.version) = (Uri::default(), Version::HTTP_11);
        for (name, value) in [(header::HOST, "unreadable"), (header::CONNECTION, "close")] {
            asked.headers.append(name, HeaderValue::from_static(value));
        }
        Self { len: 0, request, body: BodyKind::None, expects: false, closes: true, refusal: None }
    }

    /// The same head, refused.
    fn refused(self, reason: &'static str) -> Self {
        Self { body: BodyKind::None, expects: false, closes: true, refusal: Some(reason), ..self }
    }
}

/// A table for so many header lines is never replaced: most requests fit into it.
const HEADER_LINES: usize = 14;

/// A request whose table of header lines has room for so many and not for many more: it keeps that for as long as a body takes,
/// and actix-http begins with one of nearly 7 KiB. It comes from actix-http's pool, with the table that it had last.
fn with_room(lines: usize) -> Request {
    let mut request = Request::new();
    let RequestHead { headers, .. } = request.head_mut();
    if headers.capacity() < lines || headers.capacity() >= 2 * lines.max(HEADER_LINES) {
        *headers = HeaderMap::with_capacity(lines);
    }
    request
}

/// Reads the head at the beginning of these bytes, if all of it is there.
pub(in crate::server) fn read_head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete(len)) => Ok(Some(judge(&request, &bytes[..len]))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Fault::HeadTooLarge("too many headers")),
        Err(_) => Err(Fault::Malformed("invalid request head")),
    }
}

/// Judges a head that httparse has accepted.
fn judge(read: &httparse::Request<'_, '_>, bytes: &[u8]) -> Head {
    // The request keeps its head for as long as it takes. What came with it in the same read is not kept with it.
    let text = Bytes::copy_from_slice(bytes);
    let part = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        text.slice(start..start + part.len())
    };
    let len = bytes.len();
    let method = Method::from_bytes(read.method.unwrap_or_default().as_bytes());
    let target = Uri::from_maybe_shared(part(read.path.unwrap_or_default().as_bytes()));
    let (Ok(method), Ok(target)) = (method, target) else {
        return Head { len, ..Head::unreadable() }.refused("invalid request target");
    };
    let version = if read.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let (mut said, mut wrong) = (Said::default(), None);
    let mut request = with_room(read.headers.len());
    let asked = request.head_mut();
    for line in read.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(part(line.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            wrong = wrong.or(Some("invalid header line"));
            continue;
        };
        wrong = wrong.or(said.line(&name, value.as_bytes(), version).err());
        asked.headers.append(name, value);
    }
    let judged = match wrong {
        _ if method == Method::CONNECT => Err("CONNECT is not served"),
        Some(reason) => Err(reason),
        None => said.body(&method, version),
    };
    (asked.method, asked.uri, asked.version) = (method, target, version);
    let head = Head {
        len,
        request,
        body: BodyKind::None,
        expects: said.expects && version == Version::HTTP_11,
        closes: said.closes || version == Version::HTTP_10 && !said.keeps,
        refusal: None,
    };
    match judged {
        Ok(body) => Head { body, ..head },
        Err(reason) => head.refused(reason),
    }
}

/// What the lines of a head say that counts for the connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    expects: bool,
    closes: bool,
    keeps: bool,
}

impl Said {
    /// Everything that a request smuggler could use is refused.
    fn line(&mut self, name: &HeaderName, value: &[u8], version: Version) -> Result<(), &'static str> {
        let wrong = match *name {
            header::CONTENT_LENGTH => {
                self.length.replace(parse_length(value)?).is_some().then_some("more than one Content-Length")
            }
            header::TRANSFER_ENCODING => {
                let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                let is_second = std::mem::replace(&mut self.chunked, true);
                (version == Version::HTTP_10 || !is_chunked || is_second).then_some("invalid Transfer-Encoding")
            }
            header::HOST => {
                let is_second = std::mem::replace(&mut self.host, true);
                (is_second || !is_host(value.trim_ascii())).then_some("invalid Host")
            }
            header::UPGRADE => has_option(value, b"websocket").then_some("Upgrade: websocket is not served"),
            header::EXPECT => {
                self.expects |= has_option(value, b"100-continue");
                None
            }
            // An upgrade that is offered is ignored, and the connection not used for anything else.
            header::CONNECTION => {
                self.closes |= has_option(value, b"close") || has_option(value, b"upgrade");
                self.keeps |= has_option(value, b"keep-alive");
                None
            }
            _ => None,
        };
        wrong.map_or(Ok(()), Err)
    }

    /// Body length by RFC 9112 section 6.3.
    fn body(&self, method: &Method, version: Version) -> Result<BodyKind, &'static str> {
        let http_10 = version == Version::HTTP_10;
        match (self.length, self.chunked) {
            _ if !self.host && !http_10 => Err("missing Host"),
            (Some(_), true) => Err("both Content-Length and Transfer-Encoding"),
            (None, false) if http_10 && method == Method::POST => Err("HTTP/1.0 POST without Content-Length"),
            (Some(length), false) => Ok(BodyKind::Length(length)),
            (None, true) => Ok(BodyKind::Chunked),
            (None, false) => Ok(BodyKind::None),
        }
    }
}

/// Digits only: no sign, no list, nothing beyond 64 bits.
fn parse_length(value: &[u8]) -> Result<u64, &'static str> {
    let value = value.trim_ascii();
    let digits = std::str::from_utf8(value).ok().filter(|_| value.iter().all(u8::is_ascii_digit));
    digits.and_then(|digits| digits.parse().ok()).ok_or("invalid Content-Length")
}

fn has_option(value: &[u8], option: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(option))
}

/// `uri-host [ ":" port ]` of RFC 9110 section 7.2; empty is allowed.
fn is_host(value: &[u8]) -> bool {
    let literal = value.starts_with(b"[").then(|| value.iter().position(|byte| *byte == b']'));
    let end = match literal {
        Some(None) => return false,
        Some(Some(close)) => close + 1,
        None => value.iter().position(|byte| *byte == b':').unwrap_or(value.len()),
    };
    let (name, port) = value.split_at(end);
    let name_is_valid = match literal {
        Some(_) => name[1..end - 1].iter().all(|byte| byte.is_ascii_hexdigit() || b":.v".contains(byte)),
        None => name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)),
    };
    name_is_valid && (port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Head {
        let read = read_head(head.as_bytes()).unwrap().unwrap();
        assert_eq!(read.len, head.len(), "{head:?}");
        read
    }

    fn judged(head: &str) -> Result<BodyKind, &'static str> {
        let head = read(head);
        head.refusal.map_or(Ok(head.body), Err)
    }

    #[test]
    fn a_head_is_what_was_written() {
        let text = "PATCH http://A/b?C HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nTwo:\t\u{e4} \r\nx-one: 2\r\n\r\n";
        let head = read(text);
        let asked = head.request.head();
        assert_eq!((asked.method.as_str(), asked.uri.to_string().as_str()), ("PATCH", "http://A/b?C"));
        assert_eq!((asked.version, asked.headers.len()), (Version::HTTP_11, 4));
        let values: Vec<&[u8]> = asked.headers.get_all("x-one").map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [b"1", b"2"]);
        assert_eq!(asked.headers.get("two").unwrap().as_bytes(), "\u{e4}".as_bytes());
        assert_eq!((head.expects, head.closes), (false, false));
    }

    #[test]
    fn a_head_says_whether_the_connection_goes_on() {
        for (lines, closes) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: te, Close\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nConnection: close\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n", false),
            ("GET / HTTP/1.0\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", true),
            // What is refused ends the connection, whatever the client would like.
            ("GET / HTTP/1.1\r\nConnection: keep-alive\r\n", true),
        ] {
            assert_eq!(read(&format!("{lines}\r\n")).closes, closes, "{lines:?}");
        }
    }

    #[test]
    fn only_1_1_waits_for_100_continue() {
        for (lines, expects) in [
            ("PATCH / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n", true),
            ("PATCH / HTTP/1.1\r\nHost: a\r\nExpect: other, 100-continue\r\n", true),
            ("PATCH / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue-not\r\n", false),
            ("PATCH / HTTP/1.0\r\nExpect: 100-continue\r\n", false),
            ("PATCH / HTTP/1.1\r\nHost: a b\r\nExpect: 100-continue\r\n", false),
        ] {
            assert_eq!(read(&format!("{lines}\r\n")).expects, expects, "{lines:?}");
        }
    }

    #[test]
    fn a_refused_head_is_shown_as_it_is_where_it_can_be() {
        let head = read("PUT /x HTTP/1.1\r\nX-Request-Id: 7\r\n\r\n");
        let asked = head.request.head();
        assert_eq!((asked.method.as_str(), asked.uri.path(), head.refusal), ("PUT", "/x", Some("missing Host")));
        assert!(asked.headers.contains_key("x-request-id"));
        let head = read("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.request.method().as_str(), head.request.path()), ("UNREADABLE", "/"));
    }

    #[test]
    fn a_table_of_lines_is_hardly_larger_than_they_are() {
        for lines in [1, 7, 8, HEADER_LINES, 3 * HEADER_LINES, 1, 0] {
            let lines_text = (0..lines).map(|number| format!("x-{number}: {number}\r\n")).collect::<String>();
            // What came before leaves its table to those that come behind it.
            let head = read(&format!("GET / HTTP/1.0\r\n{lines_text}\r\n"));
            let headers = &head.request.head().headers;
            assert_eq!(headers.len(), lines);
            assert!(headers.capacity() < 2 * HEADER_LINES.max(lines), "{} for {lines}", headers.capacity());
        }
    }

    #[test]
    fn bodies_have_the_length_that_their_heads_say() {
        for (head, body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", BodyKind::None),
            ("GET / HTTP/1.0\r\n\r\n", BodyKind::None),
            ("\r\n\nGET / HTTP/1.1\nHost: a:80\n\n", BodyKind::None),
            ("GET http://a/b HTTP/1.1\r\nHost:\r\n\r\n", BodyKind::None),
            ("OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", BodyKind::None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", BodyKind::Length(0)),
            ("POST / HTTP/1.0\r\ncontent-length:007\r\n\r\n", BodyKind::Length(7)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", BodyKind::Length(u64::MAX)),
            ("PATCH / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", BodyKind::Chunked),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n", BodyKind::None),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n",
                BodyKind::Length(5),
            ),
        ] {
            assert_eq!(judged(head), Ok(body), "{head:?}");
        }
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_refused() {
        for (lines, reason) in [
            ("GET / HTTP/1.1\r\n", "missing Host"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "invalid Host"),
            ("GET / HTTP/1.1\r\nHost: a b\r\n", "invalid Host"),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n", "invalid Host"),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n", "invalid Host"),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n", "invalid Host"),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n", "invalid Host"),
            ("GET / HTTP/1.1\r\nHost: [::1]x\r\n", "invalid Host"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n", "invalid Content-Length"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n", "invalid Content-Length"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n", "invalid Content-Length"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n", "invalid Content-Length"),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
                "more than one Content-Length",
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                "both Content-Length and Transfer-Encoding",
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n", "invalid Transfer-Encoding"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n", "invalid Transfer-Encoding"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n", "invalid Transfer-Encoding"),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "invalid Transfer-Encoding",
            ),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", "invalid Transfer-Encoding"),
            ("POST / HTTP/1.0\r\n", "HTTP/1.0 POST without Content-Length"),
            ("POST / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n", "Upgrade: websocket is not served"),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n", "CONNECT is not served"),
            ("GET a/b HTTP/1.1\r\nHost: a\r\n", "invalid request target"),
        ] {
            assert_eq!(judged(&format!("{lines}\r\n")), Err(reason), "{lines:?}");
        }
    }
}
