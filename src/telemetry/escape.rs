//! What keeps a hostile value on its line: characters that could end it, hide it or steer a terminal are written out.

use std::fmt::{self, Write};

use slog::{Key, Record, Serializer, Value};

/// How much of one hostile value is logged. Long enough for names and most headers; clients can send far more.
pub const HOSTILE_MAX_BYTES: usize = 1024;

/// Bytes from outside, made fit for a log line: see [`hostile`].
#[derive(Debug, Clone, Copy)]
pub struct Hostile<'a>(&'a [u8]);

/// Logs bytes from outside as text: at most [`HOSTILE_MAX_BYTES`] of them, and what isn't UTF-8 as `\xNN`. Text that is
/// logged without this is escaped too, by the log itself; this only adds the two things that the log can't know.
pub fn hostile(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Hostile<'_> {
    Hostile(bytes.as_ref())
}

impl fmt::Display for Hostile<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut end = self.0.len().min(HOSTILE_MAX_BYTES);
        // Never cuts a character in two: continuation bytes are 10xxxxxx, and there are three of them at most.
        let cut = |end: &usize| self.0.get(*end).is_some_and(|byte| byte & 0xc0 == 0x80);
        while end + 3 >= HOSTILE_MAX_BYTES && end > 0 && cut(&end) {
            end -= 1;
        }
        for chunk in self.0[..end].utf8_chunks() {
            formatter.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        if end < self.0.len() { write!(formatter, "... ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

impl Value for Hostile<'_> {
    fn serialize(&self, _: &Record<'_>, key: Key, serializer: &mut dyn Serializer) -> slog::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.len() <= HOSTILE_MAX_BYTES => serializer.emit_str(key, text),
            _ => serializer.emit_arguments(key, &format_args!("{self}")),
        }
    }
}

/// Whether a character must not be written as it is.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Line and paragraph separators; what turns the direction of text; what can't be seen.
            '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{200b}'..='\u{200f}' | '\u{61c}' | '\u{ad}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether there is nothing in it but what is printed as it is, and blanks: most of what is logged.
pub(super) fn is_plain_ascii(text: &str) -> bool {
    every_byte(text, |byte| matches!(byte, b' '..=b'~'))
}

/// Whether it is a value that most often is logged, and can't be taken for another part of the line.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && every_byte(text, |byte| matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b'[' | b']'..=b'~'))
}

/// Whether a string of JSON holds it as it is.
pub(super) fn is_json_as_it_is(text: &str) -> bool {
    every_byte(text, |byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'))
}

/// Looks at each byte to the end, which many at once can be, where a loop that may break goes from one to the next.
fn every_byte(text: &str, is: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & is(byte))
}

/// Text from outside, fit for a terminal.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    push_text(&mut line, text);
    line
}

/// Adds text that is no value: unsafe characters are escaped.
pub(super) fn push_text(line: &mut String, text: &str) {
    if is_plain_ascii(text) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            _ if is_unsafe(character) => line.extend(character.escape_unicode()),
            _ => line.push(character),
        }
    }
}

/// Adds a value: as it is when nothing in it could be taken for another part of the line, else quoted and escaped.
pub(super) fn push_value(line: &mut String, value: &str) {
    if is_word(value) {
        line.push_str(value);
        return;
    }
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\\' | ',') && !is_unsafe(c);
    if !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for (index, part) in value.split(['"', '\\']).enumerate() {
        if index > 0 {
            let at = part.as_ptr() as usize - value.as_ptr() as usize - 1;
            line.push('\\');
            line.push(char::from(value.as_bytes()[at]));
        }
        push_text(line, part);
    }
    line.push('"');
}

/// Escapes what JSON allows as it is but a reader of lines or a terminal may not. Outside of strings JSON is all ASCII,
/// so every such character lies in a string.
pub(super) fn push_json(line: &mut String, json: &str) {
    let mut units = [0; 2];
    for character in json.chars() {
        if is_unsafe(character) && character != '\n' {
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String can't fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let mut line = String::new();
        push_value(&mut line, text);
        line
    }

    #[test]
    fn plain_values_stay_plain() {
        for text in ["PATCH", "/files/abc", "127.0.0.1:80", "na\u{ef}ve", "a=b;c"] {
            assert_eq!(value(text), text);
        }
    }

    #[test]
    fn anything_else_is_quoted_and_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a, status: 200", r#""a, status: 200""#),
            ("a\"b", r#""a\"b""#),
            ("a\\", r#""a\\""#),
            ("\\\"", r#""\\\"""#),
            ("a\nb\r\t", r#""a\nb\r\t""#),
            ("\u{1b}[2J\0\u{7f}\u{9b}", r#""\u{1b}[2J\u{0}\u{7f}\u{9b}""#),
            ("\u{2028}\u{2029}\u{85}", r#""\u{2028}\u{2029}\u{85}""#),
            ("\u{202e}exe\u{feff}", r#""\u{202e}exe\u{feff}""#),
            ("\u{a0}", "\"\u{a0}\""),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn hostile_bytes_are_cut_between_characters() {
        assert_eq!(hostile("a\u{e9}").to_string(), "a\u{e9}");
        assert_eq!(hostile(b"a\xff\xfeb").to_string(), "a\\xff\\xfeb");
        assert_eq!(hostile(&[b'a'; HOSTILE_MAX_BYTES]).to_string(), "a".repeat(HOSTILE_MAX_BYTES));
        let long = format!("{}\u{20ac}b", "a".repeat(HOSTILE_MAX_BYTES - 1));
        assert_eq!(hostile(&long).to_string(), format!("{}... (1027 bytes)", "a".repeat(HOSTILE_MAX_BYTES - 1)));
        // Bytes that only look like the middle of a character are not worth looking for its start.
        let broken = vec![0x80; HOSTILE_MAX_BYTES * 2];
        assert!(hostile(&broken).to_string().ends_with("\\x80... (2048 bytes)"));
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = "a\u{2028}\u{7f}\u{e0041}\u{e9}\u{1b}\\\u{2029}";
        let json = serde_json::to_string(text).unwrap();
        let mut line = String::new();
        push_json(&mut line, &json);
        assert_eq!(line, "\"a\\u2028\\u007f\\udb40\\udc41\u{e9}\\u001b\\\\\\u2029\"");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    /// The value that a reader of the log finds behind the escapes.
    fn unescaped(text: &str) -> String {
        let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
            return text.to_owned();
        };
        let mut read = String::new();
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            let escaped = if character == '\\' { characters.next() } else { None };
            match escaped {
                None => read.push(character),
                Some('n') => read.push('\n'),
                Some('r') => read.push('\r'),
                Some('t') => read.push('\t'),
                Some('u') => {
                    let digits: String = characters.by_ref().skip(1).take_while(|digit| *digit != '}').collect();
                    read.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                Some(other) => read.push(other),
            }
        }
        read
    }

    proptest::proptest! {
        #[test]
        fn any_value_stays_on_its_line_and_can_be_read_again(text in "(?s).*", odd in "[\"\\\\a, \n\u{1b}\u{202e}]{0,9}") {
            for text in [text, odd] {
                let written = value(&text);
                proptest::prop_assert!(!written.contains(is_unsafe), "{:?}", written);
                proptest::prop_assert_eq!(unescaped(&written), text);
            }
        }

        #[test]
        fn any_bytes_are_shown_in_bounds(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2100)) {
            let shown = hostile(&bytes).to_string();
            proptest::prop_assert!(shown.len() <= HOSTILE_MAX_BYTES * 4 + 20);
            proptest::prop_assert_eq!(shown.ends_with(" bytes)") , bytes.len() > HOSTILE_MAX_BYTES || bytes.ends_with(b" bytes)"));
        }

        #[test]
        fn any_json_stays_the_same_value(text in "(?s).*") {
            let mut line = String::new();
            push_json(&mut line, &serde_json::to_string(&text).unwrap());
            proptest::prop_assert!(!line.contains(is_unsafe));
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
