//! `Upload-Metadata`: what a client says about a file, read leniently and given back as it came.

use std::collections::BTreeMap;

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};

use super::{Refusal, is_plain};

/// Standard, padded Base64. Bits beyond the last byte are not looked at: nothing is gained by losing a file's name.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A client's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The decoded pairs. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub pairs: BTreeMap<String, String>,
    /// The header to answer HEAD with, which MUST be what the client sent (tus 1.0.0, "Upload-Metadata"). `None` if
    /// there is no pair. Built anew if the client's own couldn't stand in a header.
    pub raw: Option<String>,
}

/// Reads `Upload-Metadata`. A header without pairs is legal, and some clients send it. Entries that are no `key base64`
/// are dropped, because no upload should fail for its decoration; of several with one key the last counts.
///
/// # Errors
/// [`Refusal::MetadataTooLarge`] if the header has more than `max_bytes`.
pub fn parse(header: Option<&[u8]>, max_bytes: usize) -> Result<Metadata, Refusal> {
    let header = header.unwrap_or_default();
    if header.len() > max_bytes {
        return Err(Refusal::MetadataTooLarge);
    }
    let pairs: BTreeMap<_, _> = header.split(|byte| *byte == b',').filter_map(entry).collect();
    let raw = match std::str::from_utf8(header) {
        _ if pairs.is_empty() => None,
        Ok(text) if is_plain(header) => Some(text.to_owned()),
        _ => Some(encode(&pairs)).filter(|text| !text.is_empty()),
    };
    Ok(Metadata { pairs, raw })
}

/// Writes pairs as `Upload-Metadata`, sorted by key. Keys that can't stand there are left out, and so is the space
/// before an empty value (both tus 1.0.0, "Upload-Metadata").
#[must_use]
pub fn encode(pairs: &BTreeMap<String, String>) -> String {
    let legal = pairs
        .iter()
        .filter(|(key, _)| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    let entries = legal.map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key} {}", STANDARD.encode(value)),
    });
    entries.collect::<Vec<_>>().join(",")
}

/// One `key base64`, or a key alone.
fn entry(text: &[u8]) -> Option<(String, String)> {
    let mut pieces = text.trim_ascii().split(|byte| *byte == b' ');
    let key = pieces.next().filter(|key| !key.is_empty())?;
    let value = LENIENT.decode(pieces.next().unwrap_or_default()).ok()?;
    let is_whole = pieces.next().is_none();
    is_whole.then(|| (String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(&value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn entries_are_read_leniently() {
        for (header, expected) in [
            ("", vec![]),
            (",", vec![]),
            ("filename cGxhbi5wZGY=", vec![("filename", "plan.pdf")]),
            ("a YQ==,b Yg==", vec![("a", "a"), ("b", "b")]),
            (" a YQ== ,\tb Yg==,", vec![("a", "a"), ("b", "b")]),
            ("empty,e ,f YQ==", vec![("empty", ""), ("e", ""), ("f", "a")]),
            ("a YQ==,a Yg==", vec![("a", "b")]),
            ("a YQ== extra,b Yg==", vec![("b", "b")]),
            ("a  YQ==,b Yg==", vec![("b", "b")]),
            ("a YQ,b Y@==,c Yg==", vec![("c", "b")]),
            ("a YR==", vec![("a", "a")]),
            ("name w7w=", vec![("name", "\u{fc}")]),
            ("name /w==", vec![("name", "\u{fffd}")]),
        ] {
            assert_eq!(parse(Some(header.as_bytes()), 100).unwrap().pairs, pairs(&expected), "{header:?}");
        }
        assert_eq!(parse(None, 0), Ok(Metadata::default()));
    }

    #[test]
    fn the_client_s_text_is_kept_if_it_may_stand_in_a_header() {
        for (header, raw) in [
            ("", None),
            ("no base 64", None),
            ("b Yg==, a YQ==,e", Some("b Yg==, a YQ==,e")),
            ("b Yg==,\ta YQ==", Some("a YQ==,b Yg==")),
            ("b Yg==,\u{fc} YQ==", Some("b Yg==")),
            ("\u{fc} YQ==", None),
        ] {
            assert_eq!(parse(Some(header.as_bytes()), 100).unwrap().raw.as_deref(), raw, "{header:?}");
        }
        assert_eq!(parse(Some(b"a YQ==,b\xff Yg=="), 100).unwrap().raw.as_deref(), Some("a YQ=="));
    }

    #[test]
    fn a_header_over_the_limit_is_refused() {
        assert!(parse(Some(b"a YQ=="), 6).is_ok());
        assert_eq!(parse(Some(b"a YQ=="), 5), Err(Refusal::MetadataTooLarge));
    }

    #[test]
    fn only_legal_keys_are_written() {
        let all = pairs(&[("b", "2"), ("a", "1"), ("", "x"), ("c d", "x"), ("e,f", "x"), ("\n", "x"), ("g", "")]);
        assert_eq!(encode(&all), "a MQ==,b Mg==,g");
        assert_eq!(encode(&BTreeMap::new()), "");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_the_same(all in proptest::collection::btree_map("[!-+\\--~]{1,8}", ".*", 0..8)) {
            let header = encode(&all);
            let metadata = parse(Some(header.as_bytes()), usize::MAX).unwrap();
            proptest::prop_assert_eq!(&metadata.pairs, &all);
            proptest::prop_assert_eq!(metadata.raw, (!all.is_empty()).then_some(header));
        }

        #[test]
        fn any_header_is_read_and_what_is_given_back_is_legal(header: Vec<u8>) {
            let metadata = parse(Some(&header), usize::MAX).unwrap();
            if let Some(raw) = metadata.raw {
                proptest::prop_assert!(is_plain(raw.as_bytes()));
            }
        }
    }
}
