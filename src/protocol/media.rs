//! `Content-Type` and `Content-Disposition` of a download, made from a client's metadata so that a stored file never
//! becomes a script of the site that serves it.

use std::fmt::Write as _;

use super::is_plain;

/// The type of anything that doesn't say what it is.
const UNKNOWN: &str = "application/octet-stream";

/// The types that a browser shows without running anything in them.
const HARMLESS: [&str; 16] = [
    "text/plain",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/bmp",
    "image/webp",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/webm",
    "audio/ogg",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "application/ogg",
];

/// The content type for metadata `filetype`: as it stands if it is a media type (RFC 9110, 8.3.1; a bare word passes).
#[must_use]
pub fn content_type(filetype: Option<&str>) -> String {
    match filetype {
        Some(filetype) if is_media_type(filetype) => filetype.to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// The disposition for a content type and metadata `filename`: only what is harmless is shown in place.
#[must_use]
pub fn content_disposition(content_type: &str, filename: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut disposition = if HARMLESS.contains(&essence.as_str()) { "inline" } else { "attachment" }.to_owned();
    if let Some(filename) = filename {
        disposition.push_str(";filename=");
        quote(&mut disposition, filename);
    }
    disposition
}

/// Writes `text` as a string literal of the Go language, which is how tusd writes file names: quotes and backslashes
/// escaped, what can't be seen as `\x`, `\u` or `\U`, all else as it is.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            visible if is_visible(visible) => out.push(visible),
            hidden => {
                let number = u32::from(hidden);
                // Writing to a String can't fail.
                let _ = match number {
                    0..0x20 | 0x7f => write!(out, "\\x{number:02x}"),
                    0x20..0x1_0000 => write!(out, "\\u{number:04x}"),
                    _ => write!(out, "\\U{number:08x}"),
                };
            }
        }
    }
    out.push('"');
}

/// Whether a character has a glyph (or is the plain space), by the standard library's tables: it escapes the others.
fn is_visible(character: char) -> bool {
    if character.is_ascii() {
        return character == ' ' || character.is_ascii_graphic();
    }
    // A combining mark at the start of a string is escaped for want of a letter to stand on, so one is given to it.
    let mut text = [b'a'; 5];
    let length = character.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..=length]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(character)
}

/// Whether `text` is a media type with legal parameters, none of them given twice with different values.
fn is_media_type(text: &str) -> bool {
    if !is_plain(text.as_bytes()) {
        return false;
    }
    let (essence, mut rest) = text.find(';').map_or((text, ""), |place| text.split_at(place));
    let essence = essence.trim();
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, "x"));
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    let mut known: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.trim_end() == ";" {
            return true;
        }
        let Some((name, value, after)) = parameter(rest) else { return false };
        if known.iter().any(|(other, held)| *other == name && *held != value) {
            return false;
        }
        known.push((name, value));
        rest = after;
    }
}

/// One `; name=value`, and what follows it. Only a quoted value may be empty.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_start())?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => token(rest).map(|(value, rest)| (value.to_owned(), rest))?,
    };
    Some((name.to_ascii_lowercase(), value, rest))
}

/// The text up to the closing quote, without escapes, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// The token at the start of `text`, and what follows it (RFC 9110, 5.6.2).
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a byte may stand in a token: what is visible and no delimiter.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_media_type_is_passed_on() {
        for filetype in [
            "text/plain",
            "TEXT/Plain; charset=utf-8",
            "foo",
            "image/svg+xml",
            "a/b;",
            "a/b ; ",
            " a/b ;x=y ; z=\"q;\\\"q\"",
            "a/b;x=\"\"",
            "a/b;x=1;X=1",
            "multipart/form-data; boundary=--x",
        ] {
            assert_eq!(content_type(Some(filetype)), filetype);
        }
        for filetype in [
            "",
            " ",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b",
            "a/b c",
            "a/b;x",
            "a/b;x=",
            "a/b;=y",
            "a/b;x=\"y",
            "a/b;x=\"y\\",
            "a/b;x=1;x=2",
            "a/b;;",
            "a/b;x=1 y=2",
            "a/b\r\nset-cookie: x=y",
            "a/b\n",
            "a/b;x=\"\u{fc}\"",
            "\u{fc}/b",
        ] {
            assert_eq!(content_type(Some(filetype)), "application/octet-stream", "{filetype:?}");
        }
        assert_eq!(content_type(None), "application/octet-stream");
    }

    #[test]
    fn only_harmless_types_are_shown_in_place() {
        for harmless in ["text/plain", "Image/PNG ; a=b", "video/mp4;codecs=x", "application/ogg", "audio/x-pn-wav"] {
            assert_eq!(content_disposition(harmless, None), "inline", "{harmless}");
        }
        for other in ["text/html", "image/svg+xml", "text/plain2", "application/pdf", "text", "", "text/xml;text/plain"]
        {
            assert_eq!(content_disposition(other, None), "attachment", "{other}");
        }
    }

    #[test]
    fn file_names_are_escaped_as_go_strings() {
        for (filename, quoted) in [
            ("", r#""""#),
            ("plan a.pdf", r#""plan a.pdf""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\0\u{1f}\u{7f}", r#""\x00\x1f\x7f""#),
            ("\u{80}\u{a0}\u{ad}\u{200b}\u{2028}\u{feff}", r#""\u0080\u00a0\u00ad\u200b\u2028\ufeff""#),
            ("\u{e0001}\u{10ffff}\u{e000}", r#""\U000e0001\U0010ffff\ue000""#),
            ("gr\u{fc}n \u{65e5}\u{672c} \u{1f600}", "\"gr\u{fc}n \u{65e5}\u{672c} \u{1f600}\""),
            ("e\u{301}\u{fffd}", "\"e\u{301}\u{fffd}\""),
            ("it's; x=y", "\"it's; x=y\""),
        ] {
            let expected = format!("attachment;filename={quoted}");
            assert_eq!(content_disposition("text/html", Some(filename)), expected, "{filename:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_metadata_breaks_a_header(filetype: String, filename in "(?s).*") {
            let content_type = content_type(Some(&filetype));
            let disposition = content_disposition(&content_type, Some(&filename));
            proptest::prop_assert!(is_plain(content_type.as_bytes()));
            proptest::prop_assert!(!disposition.chars().any(char::is_control));
            let quoted = disposition.split_once('=').unwrap().1;
            let (inner, rest) = quoted_string(&quoted[1..]).unwrap();
            proptest::prop_assert_eq!(rest, "");
            proptest::prop_assert!(filename.chars().any(|character| !is_visible(character)) || inner == filename);
        }

        #[test]
        fn media_types_with_parameters_pass(
            kind in "[a-z]{1,5}/[a-z+.-]{1,5}",
            names in proptest::collection::btree_set("[a-z]{1,5}", 0..4),
            value in "[ -!#-\\[\\]-~]*",
        ) {
            let parameters: String = names.iter().map(|name| format!("; {name}=\"{value}\"")).collect();
            let text = format!("{kind}{parameters}");
            proptest::prop_assert_eq!(content_type(Some(&text)), text);
        }
    }
}
