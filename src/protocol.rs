//! The tus 1.0.0 protocol, pure: request heads become typed requests or refusals, and replies become headers.
//!
//! Nothing in here waits, reads a clock or knows a web framework. What a request means is decided once, here; the rooms
//! below never see a header. Where the specification and tusd differ, its MUSTs come first, its SHOULDs next, tusd last.

pub mod accept;
pub mod append;
pub mod checksum;
pub mod concat;
pub mod cors;
pub mod create;
pub mod download;
pub mod expiration;
pub mod location;
pub mod media;
pub mod metadata;
pub(crate) mod percent;
pub mod refusal;
pub mod reply;
pub mod route;
pub mod screening;

pub use refusal::Refusal;

use std::borrow::Cow;

use wharf_actors::UploadId;

/// The protocol version that is spoken, for `Tus-Resumable` and `Tus-Version`.
pub const VERSION: &str = "1.0.0";

/// The content type of a body whose bytes belong to an upload (tus 1.0.0, "PATCH"). It takes no parameters.
pub const UPLOAD_CONTENT_TYPE: &str = "application/offset+octet-stream";

/// A header of a reply. The name is in lower case; the value may hold UTF-8 beyond ASCII (a file name), but no control
/// character.
pub type Header = (&'static str, Cow<'static, str>);

/// The header fields of a request, whatever holds them.
pub trait Fields {
    /// The value of the first line with this name, which is given in lower case.
    fn first(&self, name: &str) -> Option<&[u8]>;

    /// How many lines have this name.
    fn count(&self, name: &str) -> usize;

    /// The values of all lines with this name, in order; read where a field is a list that may span lines (RFC 9110,
    /// 5.3). The default sees the first line only: implementers should do better.
    fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.first(name).into_iter().collect()
    }
}

/// A field's name as Go writes it, and as those who read tusd's hooks look for it: a capital at its beginning and behind
/// each hyphen.
#[must_use]
pub fn field_name_in_go(name: &str) -> String {
    let mut is_first = true;
    let written = name.chars().map(|letter| {
        let letter = if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = letter == '-';
        letter
    });
    written.collect()
}

/// What the operator allows, as far as it changes what requests mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The path of the creation URL. Starts and ends with a slash; see [`location::BasePath`].
    pub base_path: String,
    /// The most bytes that an upload may have; `None` for no limit.
    pub max_size: Option<u64>,
    /// The features that are on.
    pub extensions: Extensions,
    /// The longest `Upload-Metadata` that is accepted.
    pub metadata_max_bytes: usize,
    /// Whether paths outside the base path show a greeting instead of 404.
    pub greeting: bool,
    /// Whether the root is a page to upload with.
    pub page: bool,
    /// What is asked of a new upload's metadata.
    pub screening: screening::Screening,
}

/// The protocol's extensions (and the download of finished uploads, which is none), each on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the extension's name, written with underscores")]
pub struct Extensions {
    pub creation: bool,
    pub creation_with_upload: bool,
    pub creation_defer_length: bool,
    pub expiration: bool,
    pub checksum: bool,
    pub checksum_trailer: bool,
    pub termination: bool,
    pub concatenation: bool,
    pub concatenation_unfinished: bool,
    /// GET of finished uploads. Not an extension of tus, so `Tus-Extension` doesn't name it.
    pub download: bool,
}

/// Reads one switch out of [`Extensions`].
type Switch = fn(&Extensions) -> bool;

/// Every extension by its name in `Tus-Extension`.
pub const EXTENSIONS: [(&str, Switch); 9] = [
    ("creation", |extensions| extensions.creation),
    ("creation-with-upload", |extensions| extensions.creation_with_upload),
    ("creation-defer-length", |extensions| extensions.creation_defer_length),
    ("expiration", |extensions| extensions.expiration),
    ("checksum", |extensions| extensions.checksum),
    ("checksum-trailer", |extensions| extensions.checksum_trailer),
    ("termination", |extensions| extensions.termination),
    ("concatenation", |extensions| extensions.concatenation),
    ("concatenation-unfinished", |extensions| extensions.concatenation_unfinished),
];

impl Extensions {
    /// Everything on.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            creation: true,
            creation_with_upload: true,
            creation_defer_length: true,
            expiration: true,
            checksum: true,
            checksum_trailer: true,
            termination: true,
            concatenation: true,
            concatenation_unfinished: true,
            download: true,
        }
    }

    /// The value of `Tus-Extension`: the names of what is on, without spaces, which some clients don't trim.
    #[must_use]
    pub fn header(&self) -> String {
        let on = EXTENSIONS.iter().filter(|(_, is_on)| is_on(self)).map(|(name, _)| *name);
        on.collect::<Vec<_>>().join(",")
    }
}

/// Reads a length or an offset: decimal digits only, and no more than a signed 64-bit integer holds, because that is
/// what other tus servers and clients keep them in.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let value = text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    i64::try_from(value).is_ok().then_some(value)
}

/// The length of the request's body, `None` when the head doesn't tell it (a chunked body, or none at all).
fn content_length(fields: &dyn Fields) -> Result<Option<u64>, Refusal> {
    if fields.count("transfer-encoding") > 0 {
        return Ok(None);
    }
    fields.first("content-length").map(|text| number(text).ok_or(Refusal::BadRequest)).transpose()
}

/// The value of a header that says something. One without a value is as good as none: tusd takes it so, and some clients
/// send what they have nothing to put into.
fn filled<'a>(fields: &'a dyn Fields, name: &str) -> Option<&'a [u8]> {
    fields.first(name).filter(|value| !value.is_empty())
}

/// Whether the request's body is bytes of an upload.
fn carries_upload(fields: &dyn Fields) -> bool {
    fields.first("content-type") == Some(UPLOAD_CONTENT_TYPE.as_bytes())
}

/// The part of a decoded `path` below `base`, which starts and ends with a slash; `base` without its last slash counts
/// as `base`.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    match path.strip_prefix(base) {
        Some(rest) => Some(rest),
        None if base.strip_suffix('/') == Some(path) => Some(""),
        None => None,
    }
}

/// The upload that the decoded rest of a path names.
fn upload_id(rest: &str) -> Result<UploadId, Refusal> {
    UploadId::parse(rest.trim_matches('/')).map_err(|_| Refusal::UploadNotFound)
}

/// Whether every byte may stand in a header value that is sent back: visible ASCII and the space.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte))
}

/// What the tables of the tests below are written with.
#[cfg(test)]
mod testing {
    use super::{Extensions, Fields, Rules};

    impl Fields for Vec<(String, Vec<u8>)> {
        fn first(&self, name: &str) -> Option<&[u8]> {
            self.lines(name).first().copied()
        }

        fn count(&self, name: &str) -> usize {
            self.lines(name).len()
        }

        fn lines(&self, name: &str) -> Vec<&[u8]> {
            self.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice()).collect()
        }
    }

    pub(crate) fn fields(lines: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    pub(crate) fn rules() -> Rules {
        Rules {
            base_path: "/files/".to_owned(),
            max_size: Some(1000),
            extensions: Extensions::all(),
            metadata_max_bytes: 200,
            greeting: true,
            page: true,
            screening: super::screening::Screening::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::fields, *};

    #[test]
    fn names_are_written_as_go_writes_them() {
        for (name, expected) in [
            ("host", "Host"),
            ("x-http-method-override", "X-Http-Method-Override"),
            ("TUS-RESUMABLE", "Tus-Resumable"),
            ("etag", "Etag"),
            ("x--y-", "X--Y-"),
        ] {
            assert_eq!(field_name_in_go(name), expected);
        }
    }

    #[test]
    fn only_what_is_on_is_announced() {
        assert_eq!(
            Extensions::all().header(),
            "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,\
             concatenation,concatenation-unfinished"
        );
        let some = Extensions { expiration: false, checksum_trailer: false, download: false, ..Extensions::all() };
        assert_eq!(
            some.header(),
            "creation,creation-with-upload,creation-defer-length,checksum,termination,concatenation,\
             concatenation-unfinished"
        );
    }

    #[test]
    fn numbers_are_plain_decimal_digits() {
        for (text, value) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("00000000000000000000000000000000001", Some(1)),
            ("9223372036854775808", None),
            ("18446744073709551616", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("+5", None),
            ("-0", None),
            ("-1", None),
            (" 5", None),
            ("5 ", None),
            ("5,5", None),
            ("0x5", None),
            ("5.0", None),
            ("5_0", None),
            ("\u{665}", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn a_body_without_a_told_length_has_none() {
        assert_eq!(content_length(&fields(&[])), Ok(None));
        assert_eq!(content_length(&fields(&[("content-length", "12")])), Ok(Some(12)));
        assert_eq!(content_length(&fields(&[("content-length", "+12")])), Err(Refusal::BadRequest));
        let both = fields(&[("transfer-encoding", "chunked"), ("content-length", "12")]);
        assert_eq!(content_length(&both), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn a_number_that_is_accepted_is_the_one_that_was_written(value: u64, text: Vec<u8>) {
            let accepted = number(value.to_string().as_bytes());
            proptest::prop_assert_eq!(accepted, i64::try_from(value).is_ok().then_some(value));
            if let Some(value) = number(&text) {
                let digits = String::from_utf8(text).unwrap();
                proptest::prop_assert_eq!(digits.parse::<u64>(), Ok(value));
            }
        }
    }
}
