//! The framing of one chunked body (RFC 9112 section 7.1): where its data lies, where it ends, and its trailer section.

use super::{Step, Trailers};

/// The most hexadecimal digits of a chunk's size: as many as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;
/// The most bytes of one chunk's extensions. Nobody here reads any, so this only has to be generous.
const EXTENSION_MAX_BYTES: usize = 1024;
/// The most bytes of a whole trailer section, and the most lines of it.
const TRAILER_MAX_BYTES: usize = 8 * 1024;
const TRAILER_MAX_LINES: usize = 32;

/// How far a chunked body has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Progress {
    /// The body goes on in bytes that are still to come.
    More,
    /// The body and its trailer section are over.
    End,
    /// The body is malformed; no byte from here on may be looked at.
    Fault(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SizeFirst,
    Size,
    /// White space between size and extension; no digit and no line end may follow.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or the CR that ends the section.
    LineStart,
    Line,
    LineLf,
    EndLf,
    End,
}

/// A reader of one chunked body's framing. It is never laxer than actix-http's own, to which the tests compare it.
#[derive(Debug)]
pub(in crate::server) struct Chunked {
    state: State,
    size: u64,
    digits: u8,
    extension_bytes: usize,
    declared: u64,
    section_bytes: usize,
    line: Vec<u8>,
    trailers: Trailers,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            state: State::SizeFirst,
            size: 0,
            digits: 0,
            extension_bytes: 0,
            declared: 0,
            section_bytes: 0,
            line: Vec::new(),
            trailers: Trailers::new(),
        }
    }

    /// Reads the framing up to the next data, and says how much of that is there.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let mut framing = 0;
        while self.state != State::Data {
            let Some(byte) = bytes.get(framing) else { return Step { framing, data: 0, progress: Progress::More } };
            match self.byte(*byte) {
                Ok(next) => self.state = next,
                Err(reason) => return Step { framing, data: 0, progress: Progress::Fault(reason) },
            }
            framing += 1;
            if self.state == State::End {
                return Step { framing, data: 0, progress: Progress::End };
            }
        }
        let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - framing);
        self.size -= data as u64;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        Step { framing, data, progress: Progress::More }
    }

    /// The trailer section's lines, once the body has ended.
    pub(super) fn take_trailers(&mut self) -> Trailers {
        std::mem::take(&mut self.trailers)
    }

    fn byte(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::SizeFirst | State::Size, _) => self.size_line(byte),
            (State::SizeSpace, b' ' | b'\t') => self.extension(State::SizeSpace),
            (State::SizeSpace, b';') => self.extension(State::Extension),
            (State::SizeSpace, _) => Err("white space after a chunk size"),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) if is_text(byte) => self.extension(State::Extension),
            (State::Extension, _) => Err("control character in a chunk extension"),
            (State::SizeLf, b'\n') if self.size == 0 => Ok(State::LineStart),
            (State::SizeLf, b'\n') => Ok(State::Data),
            (State::SizeLf, _) => Err("chunk size line without its line feed"),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeFirst),
            (State::DataCr | State::DataLf, _) => Err("chunk longer than its size"),
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::LineStart, b' ' | b'\t') => Err("folded trailer line"),
            (State::Line, b'\r') => self.end_line(),
            (State::LineStart | State::Line, _) if is_text(byte) => self.trailer(byte),
            (State::LineStart | State::Line, _) => Err("control character in the trailer section"),
            (State::LineLf, b'\n') => Ok(State::LineStart),
            (State::EndLf, b'\n') => Ok(State::End),
            (State::LineLf | State::EndLf, _) => Err("trailer line without its line feed"),
            (State::Data | State::End, _) => Err("byte outside of the framing"),
        }
    }

    fn size_line(&mut self, byte: u8) -> Result<State, &'static str> {
        let first = self.state == State::SizeFirst;
        if let Some(digit) = char::from(byte).to_digit(16) {
            if first {
                (self.size, self.digits, self.extension_bytes) = (0, 0, 0);
            }
            if self.digits == SIZE_DIGITS_MAX {
                return Err("chunk size too large");
            }
            self.digits += 1;
            self.size = self.size << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        if first || !matches!(byte, b'\r' | b' ' | b'\t' | b';') {
            return Err("invalid chunk size");
        }
        self.declared = self.declared.checked_add(self.size).ok_or("chunk size too large")?;
        match byte {
            b'\r' => Ok(State::SizeLf),
            b';' => self.extension(State::Extension),
            _ => self.extension(State::SizeSpace),
        }
    }

    fn extension(&mut self, next: State) -> Result<State, &'static str> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_MAX_BYTES {
            return Err("chunk extension too long");
        }
        Ok(next)
    }

    fn trailer(&mut self, byte: u8) -> Result<State, &'static str> {
        self.section_bytes += 1;
        if self.section_bytes > TRAILER_MAX_BYTES {
            return Err("trailer section too long");
        }
        self.line.push(byte);
        Ok(State::Line)
    }

    fn end_line(&mut self) -> Result<State, &'static str> {
        if self.trailers.len() == TRAILER_MAX_LINES {
            return Err("too many trailer lines");
        }
        let colon = self.line.iter().position(|byte| *byte == b':').ok_or("trailer line without a colon")?;
        let (name, value) = (&self.line[..colon], &self.line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err("invalid trailer name");
        }
        let name = name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();
        self.trailers.push((name, value.trim_ascii().to_vec()));
        self.line.clear();
        Ok(State::LineLf)
    }
}

/// What a field's value or a quoted string may hold: no control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// A byte of a field's name (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of the given size; returns what was accepted, the data in it, and the verdict.
    fn feed(bytes: &[u8], piece: usize) -> (usize, u64, Progress, Trailers) {
        let mut chunked = Chunked::new();
        let (mut accepted, mut data) = (0, 0);
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() {
                let step = chunked.step(piece);
                accepted += step.framing + step.data;
                data += step.data as u64;
                piece = &piece[step.framing + step.data..];
                if step.progress != Progress::More {
                    return (accepted, data, step.progress, chunked.take_trailers());
                }
            }
        }
        (accepted, data, Progress::More, chunked.take_trailers())
    }

    #[test]
    fn well_formed_bodies_end_where_they_end() {
        for (body, data) in [
            ("0\r\n\r\n", 0),
            ("000\r\n\r\n", 0),
            ("5\r\nhello\r\n0\r\n\r\n", 5),
            ("A;x=\"y\tz\"\r\n0123456789\r\n0\r\n\r\n", 10),
            ("1;a=b;c\r\nx\r\n0;last\r\n\r\n", 1),
            ("1 \t;a\r\nx\r\n0\r\n\r\n", 1),
            ("2\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n", 3),
            ("0\r\nA: b\r\n\r\n", 0),
        ] {
            for piece in [1, 2, 3, 100] {
                let next = format!("{body}GET");
                let (accepted, seen, progress, _) = feed(next.as_bytes(), piece);
                assert_eq!((progress, seen), (Progress::End, data), "{body:?}");
                assert_eq!(accepted, body.len(), "{body:?}");
            }
        }
    }

    #[test]
    fn trailers_come_with_lower_case_names_and_trimmed_values() {
        let (.., progress, trailers) = feed(b"0\r\nUpload-Checksum:  sha1 Zm9v \r\nX:\r\n\r\n", 1);
        assert_eq!(progress, Progress::End);
        assert_eq!(trailers, [("upload-checksum".into(), b"sha1 Zm9v".to_vec()), ("x".into(), Vec::new())]);
    }

    #[test]
    fn malformed_bodies_stop_before_the_first_wrong_byte() {
        let long_extension = format!("1;{}\r\n", "x".repeat(EXTENSION_MAX_BYTES));
        let long_trailer = format!("0\r\nA: {}\r\n\r\n", "x".repeat(TRAILER_MAX_BYTES));
        let many_trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(TRAILER_MAX_LINES + 1));
        for (body, accepted, reason) in [
            ("\r\n", 0, "invalid chunk size"),
            ("+5\r\n", 0, "invalid chunk size"),
            (" 5\r\n", 0, "invalid chunk size"),
            (";a\r\n", 0, "invalid chunk size"),
            ("0x5\r\n", 1, "invalid chunk size"),
            ("5\nhello", 1, "invalid chunk size"),
            ("-1\r\n", 0, "invalid chunk size"),
            ("00000000000000005\r\n", 16, "chunk size too large"),
            ("10000000000000000\r\n", 16, "chunk size too large"),
            ("5 \r\n", 2, "white space after a chunk size"),
            ("5 5\r\n", 2, "white space after a chunk size"),
            ("5;a\nb", 3, "control character in a chunk extension"),
            ("5;a\0b", 3, "control character in a chunk extension"),
            ("5\rhello", 2, "chunk size line without its line feed"),
            ("1\r\nxy\r\n", 4, "chunk longer than its size"),
            ("1\r\nx\n0", 4, "chunk longer than its size"),
            ("1\r\nx\r0", 5, "chunk longer than its size"),
            ("0\r\n\n", 3, "control character in the trailer section"),
            ("0\r\nA: b\n\r\n", 7, "control character in the trailer section"),
            ("0\r\nA: b\r\r\n", 8, "trailer line without its line feed"),
            ("0\r\nA: b\r\n c\r\n", 9, "folded trailer line"),
            ("0\r\n\rX", 4, "trailer line without its line feed"),
            ("0\r\nA b\r\n", 6, "trailer line without a colon"),
            ("0\r\nA : b\r\n", 8, "invalid trailer name"),
            ("0\r\n: b\r\n", 6, "invalid trailer name"),
            (&long_extension, 1 + EXTENSION_MAX_BYTES, "chunk extension too long"),
            (&long_trailer, 3 + TRAILER_MAX_BYTES, "trailer section too long"),
            (&many_trailers, 3 + TRAILER_MAX_LINES * 6 + 4, "too many trailer lines"),
        ] {
            for piece in [1, 7, 1_000_000] {
                let (seen, _, progress, _) = feed(body.as_bytes(), piece);
                assert_eq!((seen, progress), (accepted, Progress::Fault(reason)), "{body:?}");
            }
        }
    }

    #[test]
    fn sizes_that_overflow_together_are_a_fault() {
        let mut chunked = Chunked::new();
        chunked.declared = u64::MAX - 1;
        let progress = Progress::Fault("chunk size too large");
        assert_eq!(chunked.step(b"2\r\n"), Step { framing: 1, data: 0, progress });
    }
}
