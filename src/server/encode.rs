//! How an answer is written: its head, and what of a body goes out. Pure.

use actix_http::body::BodySize;
use actix_http::header::{self, HeaderName};
use actix_http::{Method, ResponseHead, StatusCode, Version};
use bytes::Bytes;

/// What the request, and the connection, make of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// The version that the client speaks.
    pub(super) version: Version,
    /// Whether HEAD was asked: then there is no body, whatever is said of one.
    pub(super) is_head: bool,
    /// Whether the connection ends with this answer.
    pub(super) closes: bool,
}

/// What still goes out of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Bytes(u64),
    /// Chunks.
    Chunks,
    /// Whatever comes: the length stands in the head, or the connection ends with it.
    Raw,
}

/// What the head says of the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing, whatever the handler says.
    Nothing,
    /// What the handler says.
    AsGiven,
    Bytes(u64),
    Chunked,
}

impl Frame {
    pub(super) fn new(method: &Method, version: Version, closes: bool) -> Self {
        Self { version, is_head: method == Method::HEAD, closes }
    }

    fn may_chunk(&self, answer: &ResponseHead) -> bool {
        answer.chunked() && self.version >= Version::HTTP_11
    }

    /// What goes out of a body of this size.
    pub(super) fn rest(&self, answer: &ResponseHead, size: BodySize) -> Rest {
        match size {
            _ if self.is_head || is_bare(answer.status) => Rest::Nothing,
            BodySize::None | BodySize::Sized(0) => Rest::Nothing,
            BodySize::Sized(len) => Rest::Bytes(len),
            BodySize::Stream if self.may_chunk(answer) => Rest::Chunks,
            BodySize::Stream => Rest::Raw,
        }
    }

    fn told(&self, answer: &ResponseHead, size: BodySize) -> Told {
        match size {
            // The length is that of what GET would bring.
            _ if answer.status == StatusCode::NOT_MODIFIED => Told::AsGiven,
            _ if is_bare(answer.status) => Told::Nothing,
            BodySize::None => Told::Nothing,
            BodySize::Sized(len) => Told::Bytes(len),
            BodySize::Stream if self.may_chunk(answer) => Told::Chunked,
            BodySize::Stream => Told::AsGiven,
        }
    }

    /// The same for this answer: where only the end of the connection tells the end of the body, it has to come.
    pub(super) fn fit(self, answer: &ResponseHead, size: BodySize) -> Self {
        let is_endless = self.rest(answer, size) == Rest::Raw && !answer.headers.contains_key(header::CONTENT_LENGTH);
        Self { closes: self.closes || is_endless, ..self }
    }

    /// Writes a head to its end.
    pub(super) fn head(&self, answer: &ResponseHead, size: BodySize, date: &[u8], out: &mut Vec<u8>) {
        let is_http_11 = self.version >= Version::HTTP_11;
        out.extend_from_slice(if is_http_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        out.extend_from_slice(answer.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(answer.reason().as_bytes());
        out.extend_from_slice(b"\r\n");
        let told = self.told(answer, size);
        match told {
            Told::Bytes(len) => {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Told::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Told::Nothing | Told::AsGiven => {}
        }
        if self.closes {
            out.extend_from_slice(b"connection: close\r\n");
        } else if !is_http_11 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        let mut has_date = false;
        for (name, value) in answer.headers.iter() {
            has_date |= *name == header::DATE;
            if is_ours(name) || told != Told::AsGiven && is_length(name) {
                continue;
            }
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if !has_date {
            out.extend_from_slice(b"date: ");
            out.extend_from_slice(date);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Rest {
    /// Whether nothing is to come.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Nothing | Self::Bytes(0))
    }

    /// What of a piece goes out. No more does than the head has said.
    pub(super) fn take(&mut self, mut piece: Bytes) -> Bytes {
        match self {
            Self::Nothing => piece.clear(),
            Self::Bytes(left) => {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
            }
            Self::Chunks | Self::Raw => {}
        }
        piece
    }

    /// The body has ended. False when it is shorter than the head has said.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> bool {
        match std::mem::replace(self, Self::Nothing) {
            Self::Bytes(left) => left == 0,
            Self::Chunks => {
                out.extend_from_slice(b"0\r\n\r\n");
                true
            }
            Self::Nothing | Self::Raw => true,
        }
    }
}

/// Writes a chunk. There is none without bytes, since that would be the last.
pub(super) fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:X}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// Answers that never have a body (RFC 9110, sections 15.2, 15.3.5 and 15.4.5).
fn is_bare(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// What speaks of the connection is written here only.
fn is_ours(name: &HeaderName) -> bool {
    *name == header::CONNECTION || *name == header::UPGRADE
}

fn is_length(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    const DATE: &[u8] = b"Thu, 01 Jan 1970 00:00:00 GMT";

    fn answer(status: u16, lines: &[(&'static str, &'static str)]) -> ResponseHead {
        let mut answer = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in lines {
            answer.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        answer
    }

    fn frame(method: &str, version: Version, closes: bool) -> Frame {
        Frame::new(&Method::from_bytes(method.as_bytes()).unwrap(), version, closes)
    }

    /// The head's lines but for the date, those of the handler in order.
    fn written(frame: Frame, answer: &ResponseHead, size: BodySize) -> Vec<String> {
        let mut out = Vec::new();
        frame.head(answer, size, DATE, &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines = text.strip_suffix("\r\n\r\n").unwrap();
        let mut lines: Vec<String> = lines.split("\r\n").map(str::to_owned).collect();
        let date = lines.iter().position(|line| *line == "date: Thu, 01 Jan 1970 00:00:00 GMT");
        lines.remove(date.unwrap());
        lines[1..].sort();
        lines
    }

    #[test]
    fn a_head_says_how_long_the_body_is() {
        use BodySize::{None, Sized, Stream};
        let (get, head) = (frame("GET", Version::HTTP_11, false), frame("HEAD", Version::HTTP_11, false));
        let given = [("content-length", "7")];
        for (frame, status, lines, size, expected, rest) in [
            (get, 200, &[][..], Sized(5), &["content-length: 5"][..], Rest::Bytes(5)),
            (get, 200, &given, Sized(u64::MAX), &["content-length: 18446744073709551615"], Rest::Bytes(u64::MAX)),
            (get, 200, &[], Sized(0), &["content-length: 0"], Rest::Nothing),
            (get, 200, &given, None, &[], Rest::Nothing),
            (get, 200, &given, Stream, &["transfer-encoding: chunked"], Rest::Chunks),
            (get, 204, &given, Sized(5), &[], Rest::Nothing),
            (get, 304, &given, None, &["content-length: 7"], Rest::Nothing),
            (get, 304, &given, Sized(5), &["content-length: 7"], Rest::Nothing),
            (head, 200, &[], Sized(5), &["content-length: 5"], Rest::Nothing),
            (head, 200, &[], Stream, &["transfer-encoding: chunked"], Rest::Nothing),
            (head, 404, &[], None, &[], Rest::Nothing),
        ] {
            let answer = answer(status, lines);
            let lines = written(frame.fit(&answer, size), &answer, size);
            assert_eq!(lines[1..], *expected, "{frame:?} {status} {size:?}");
            assert_eq!(frame.rest(&answer, size), rest, "{frame:?} {status} {size:?}");
        }
    }

    #[test]
    fn a_length_that_the_handler_tells_stands_where_nothing_is_chunked() {
        let frame = frame("GET", Version::HTTP_11, false);
        let mut answer = answer(200, &[("content-length", "7")]);
        answer.no_chunking(true);
        let fitted = frame.fit(&answer, BodySize::Stream);
        assert_eq!(written(fitted, &answer, BodySize::Stream)[1..], ["content-length: 7"]);
        assert_eq!(frame.rest(&answer, BodySize::Stream), Rest::Raw);
        answer.headers.clear();
        let fitted = frame.fit(&answer, BodySize::Stream);
        assert_eq!(written(fitted, &answer, BodySize::Stream)[1..], ["connection: close"]);
    }

    #[test]
    fn a_head_says_whether_the_connection_goes_on() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        for (version, closes, first, line) in [
            (new, false, "HTTP/1.1 200 OK", None),
            (new, true, "HTTP/1.1 200 OK", Some("connection: close")),
            (old, false, "HTTP/1.0 200 OK", Some("connection: keep-alive")),
            (old, true, "HTTP/1.0 200 OK", Some("connection: close")),
        ] {
            // What the handler says of the connection is not its business.
            let answer = answer(200, &[("connection", "x"), ("upgrade", "y"), ("a", "b"), ("a", "c")]);
            let lines = written(frame("GET", version, closes), &answer, BodySize::None);
            let expected: Vec<&str> = [first, "a: b", "a: c"].into_iter().chain(line).collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn nobody_of_1_0_gets_chunks() {
        let frame = frame("GET", Version::HTTP_10, false);
        let answer = answer(200, &[]);
        let fitted = frame.fit(&answer, BodySize::Stream);
        assert!(fitted.closes);
        assert_eq!(frame.rest(&answer, BodySize::Stream), Rest::Raw);
        assert_eq!(written(fitted, &answer, BodySize::Stream), ["HTTP/1.0 200 OK", "connection: close"]);
    }

    #[test]
    fn a_handlers_own_date_and_reason_stand() {
        let mut out = Vec::new();
        let mut answer = answer(299, &[("date", "today")]);
        answer.reason = Some("Fine");
        frame("GET", Version::HTTP_11, false).head(&answer, BodySize::None, DATE, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 299 Fine\r\ndate: today\r\n\r\n");
    }

    #[test]
    fn no_more_goes_out_than_was_said() {
        let mut rest = Rest::Bytes(5);
        assert_eq!(rest.take(Bytes::from_static(b"abc")), "abc");
        assert!(!rest.is_over() && !rest.clone().end(&mut Vec::new()), "shorter than it was said");
        assert_eq!(rest.take(Bytes::from_static(b"defg")), "de");
        assert!(rest.is_over() && rest.end(&mut Vec::new()));
        assert_eq!(Rest::Nothing.take(Bytes::from_static(b"a")), "");
    }

    #[test]
    fn chunks_are_written_with_their_size() {
        let (mut out, mut rest) = (Vec::new(), Rest::Chunks);
        for piece in ["hello world, hello", "", "x"] {
            chunk(&rest.take(Bytes::from_static(piece.as_bytes())), &mut out);
        }
        assert!(rest.end(&mut out) && rest.is_over());
        assert_eq!(String::from_utf8(out).unwrap(), "12\r\nhello world, hello\r\n1\r\nx\r\n0\r\n\r\n");
    }
}
