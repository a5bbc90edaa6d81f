//! What a request's head says about its body, or why the request can't be served on this connection.

use std::ops::Range;

use actix_http::{Method, Uri, uri::Authority};

use super::{BodyKind, HEADERS_MAX};
use crate::server::Fault;

/// A complete head, judged.
#[derive(Debug)]
pub(in crate::server) struct Head {
    /// How many bytes it has.
    pub(in crate::server) len: usize,
    /// How long the body is, as far as that can be told.
    pub(in crate::server) body: BodyKind,
    /// What is asked, to be compared with actix's view of it; `None` only when the request is refused.
    pub(in crate::server) asked: Option<Asked>,
    /// Why the request is refused and nothing may be read after it.
    pub(in crate::server) refusal: Option<&'static str>,
    /// What in it speaks of a body: where that lies, and what hides it.
    masks: Vec<(Range<usize>, u8)>,
}

/// A request's method and target, as we have read them.
#[derive(Debug, Clone)]
pub(in crate::server) struct Asked {
    method: Method,
    target: Uri,
}

impl Asked {
    /// Whether this is what another has read, to the letter.
    pub(in crate::server) fn is(&self, method: &Method, target: &Uri) -> bool {
        // An authority is compared as text: equal in all but case is not the same.
        let text = Authority::as_str;
        self.method == *method
            && self.target.path() == target.path()
            && self.target.query() == target.query()
            && self.target.authority().map(text) == target.authority().map(text)
    }
}

/// Reads the head at the beginning of these bytes, if all of it is there.
pub(in crate::server) fn read_head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            let place = |part: &[u8]| {
                let start = part.as_ptr().addr() - bytes.as_ptr().addr();
                start..start + part.len()
            };
            // A length becomes 0, since HTTP/1.0 wants one with a POST; a coding gets a name that means nothing.
            let mask = |header: &httparse::Header<'_>| match header.name {
                name if name.eq_ignore_ascii_case("content-length") => Some((place(header.value), b'0')),
                name if name.eq_ignore_ascii_case("transfer-encoding") => Some((place(name.as_bytes()), b'x')),
                _ => None,
            };
            let masks = request.headers.iter().filter_map(mask).collect();
            Ok(Some(Head { len, masks, ..judge(&request) }))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Fault::HeadTooLarge("too many headers")),
        Err(_) => Err(Fault::Malformed("invalid request head")),
    }
}

/// Hides a body from whoever reads this head.
pub(in crate::server) fn mask(bytes: &mut [u8], head: &Head) {
    for (place, byte) in &head.masks {
        bytes[place.clone()].fill(*byte);
    }
}

/// Judges a head that httparse has accepted.
fn judge(request: &httparse::Request<'_, '_>) -> Head {
    let method = request.method.unwrap_or_default();
    let target = Uri::try_from(request.path.unwrap_or_default());
    let known_method = Method::from_bytes(method.as_bytes());
    let (body, refusal) = match framing(request) {
        _ if target.is_err() => (BodyKind::None, Some("invalid request target")),
        _ if known_method.is_err() => (BodyKind::None, Some("invalid method")),
        _ if method == "CONNECT" => (BodyKind::None, Some("CONNECT is not served")),
        Ok(body) => (body, None),
        Err(reason) => (BodyKind::None, Some(reason)),
    };
    let asked = known_method.ok().zip(target.ok()).map(|(method, target)| Asked { method, target });
    Head { len: 0, body, asked, refusal, masks: Vec::new() }
}

/// Body length by RFC 9112 section 6.3, with everything that a request smuggler could use refused.
fn framing(request: &httparse::Request<'_, '_>) -> Result<BodyKind, &'static str> {
    let http_10 = request.version == Some(0);
    let (mut length, mut chunked, mut host) = (None, false, false);
    for header in request.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            if length.replace(parse_length(header.value)?).is_some() {
                return Err("more than one Content-Length");
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if http_10 || chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err("invalid Transfer-Encoding");
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case("host") {
            if host || !is_host(header.value.trim_ascii()) {
                return Err("invalid Host");
            }
            host = true;
        } else if name.eq_ignore_ascii_case("upgrade") && has_option(header.value, b"websocket") {
            return Err("Upgrade: websocket is not served");
        }
    }
    match (length, chunked) {
        _ if !host && !http_10 => Err("missing Host"),
        (Some(_), true) => Err("both Content-Length and Transfer-Encoding"),
        (None, false) if http_10 && request.method == Some("POST") => Err("HTTP/1.0 POST without Content-Length"),
        (Some(length), false) => Ok(BodyKind::Length(length)),
        (None, true) => Ok(BodyKind::Chunked),
        (None, false) => Ok(BodyKind::None),
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

    #[test]
    fn a_method_or_target_that_differs_in_a_letter_is_another() {
        let asked = |line: &str| read(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).asked.unwrap();
        let first = asked("GET http://a/b?c");
        assert!(first.is(&first.method, &first.target));
        let others = [
            "GET http://A/b?c",
            "GET http://a/B?c",
            "GET http://a/b?C",
            "GET http://a/b",
            "GET /b?c",
            "Get http://a/b?c",
        ];
        for line in others {
            let other = asked(line);
            assert!(!first.is(&other.method, &other.target) && !other.is(&first.method, &first.target), "{line}");
        }
    }

    fn judged(head: &str) -> Result<BodyKind, &'static str> {
        let head = read(head);
        head.refusal.map_or(Ok(head.body), Err)
    }

    #[test]
    fn a_masked_head_speaks_of_no_body() {
        let head =
            "PATCH /content-length HTTP/1.1\r\nHost: a\r\nContent-Length: 51\r\nA: Transfer-Encoding: chunked\r\n\r\n";
        let mut bytes = head.as_bytes().to_vec();
        mask(&mut bytes, &read(head));
        let masked = head.replace("51", "00");
        assert_eq!(String::from_utf8(bytes).unwrap(), masked);
        assert_eq!(judged(&masked), Ok(BodyKind::Length(0)));
        let head = "PATCH / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\ncontent-LENGTH: 5\r\n\r\n";
        let mut bytes = head.as_bytes().to_vec();
        mask(&mut bytes, &read(head));
        let masked = head.replace("transfer-encoding", "xxxxxxxxxxxxxxxxx").replace('5', "0");
        assert_eq!(String::from_utf8(bytes).unwrap(), masked);
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
