//! Percent-encoding of paths (RFC 3986, 2.1), both ways.

use std::borrow::Cow;

/// Decodes a path. `None` if an escape is incomplete, or if the result isn't UTF-8: no upload has such a name.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Encodes a text as a path: everything but slashes and what may stand in a segment as it is.
pub(crate) fn encode(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        // As an id that is made here.
        return text.to_owned();
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte == b'/' || is_segment(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for nibble in [byte >> 4, byte & 15] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    encoded
}

/// Whether a byte may stand unescaped in a path's segment: RFC 3986's `pchar` (3.3) without its escapes.
pub(super) fn is_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_escapes_of_utf8_decode() {
        for (text, decoded) in [
            ("a+b", Some("a+b")),
            ("a%20b%2Fc%2fd", Some("a b/c/d")),
            ("%C3%bc", Some("\u{fc}")),
            ("%25%32%30", Some("%20")),
            ("%00", Some("\0")),
            ("%", None),
            ("%4", None),
            ("%g0", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(text).as_deref(), decoded, "{text:?}");
        }
    }

    #[test]
    fn what_a_segment_may_hold_stays_readable() {
        assert_eq!(encode("a/b c%?#\u{fc}+~\"<"), "a/b%20c%25%3F%23%C3%BC+~%22%3C");
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text: String, raw: String) {
            let encoded = encode(&text);
            proptest::prop_assert!(encoded.is_ascii());
            proptest::prop_assert_eq!(decode(&encoded), Some(text.into()));
            let _ = decode(&raw);
        }
    }
}
