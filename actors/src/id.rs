//! The name of an upload: what stands behind the base path in its URL and names its file in the store.

use std::{cell::Cell, fmt, sync::Arc};

/// The longest id that is accepted, in bytes. A key of S3 holds as many, and what it calls a multipart upload, which is
/// part of an id there, may be hundreds of bytes long. File systems take less: to them, a longer name is one of nothing.
pub const MAX_ID_BYTES: usize = 1024;

/// An upload's id that is safe to use as a relative path: not empty, no empty, `.` or `..` segment, no backslash,
/// no control character, nothing that wharf keeps for itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Arc<str>);

/// Why a text is no upload id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid upload id")]
pub struct InvalidId;

impl UploadId {
    /// Checks `text`, which must be percent-decoded already.
    ///
    /// # Errors
    /// [`InvalidId`] for any text that could name something outside the storage directory, or one of the files that
    /// belong to another upload (`<id>.info`, and tusd's `.lock`, `.stop` and `.part`).
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > MAX_ID_BYTES {
            return Err(InvalidId);
        }
        if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(text.into()));
        }
        let reserved = [".info", ".lock", ".stop", ".part"];
        if text.chars().any(|character| character.is_control() || character == '\\')
            || reserved.iter().any(|suffix| text.ends_with(suffix))
        {
            return Err(InvalidId);
        }
        for (place, segment) in text.split('/').enumerate() {
            if segment.is_empty()
                || segment == "."
                || segment == ".."
                || (place == 0 && segment.eq_ignore_ascii_case(".wharf"))
            {
                return Err(InvalidId);
            }
        }
        Ok(Self(text.into()))
    }

    /// A new id: 16 random bytes as 32 lower-case hexadecimal digits, as tusd makes them.
    ///
    /// # Panics
    /// If the system's random source fails, which Linux rules out after boot.
    #[must_use]
    pub fn random() -> Self {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(Supply::take()) {
            pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        Self(std::str::from_utf8(&digits).unwrap_or_default().into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Random bytes for ids to come: the system is asked for many at once.
#[derive(Default)]
struct Supply {
    bytes: [[u8; 16]; IDS_AT_ONCE],
    left: usize,
}

/// For so many ids the system is asked at once. It gives up to 256 bytes in one go, whatever happens meanwhile.
const IDS_AT_ONCE: usize = 16;

thread_local! {
    /// Of this thread; none before its first, and while one is taken.
    static SUPPLY: Cell<Option<Box<Supply>>> = const { Cell::new(None) };
}

impl Supply {
    /// The bytes of one id, which are not kept.
    fn take() -> [u8; 16] {
        let mut supply = SUPPLY.take().unwrap_or_default();
        let next = supply.next();
        SUPPLY.set(Some(supply));
        next
    }

    fn next(&mut self) -> [u8; 16] {
        if self.left == 0 {
            #[expect(clippy::expect_used, reason = "no upload may be created with a guessable id")]
            getrandom::fill(self.bytes.as_flattened_mut()).expect("the system's random source answers");
            self.left = self.bytes.len();
        }
        self.left -= 1;
        std::mem::take(&mut self.bytes[self.left])
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_that_leaves_the_directory_is_an_id() {
        for text in [
            "",
            ".",
            "..",
            "a/..",
            "../a",
            "/a",
            "a/",
            "a//b",
            "a\\b",
            "a\0",
            "a\nb",
            "a/./b",
            ".wharf/lock",
            ".WHARF/x",
            "a.info",
            "a.lock",
            "b/c.stop",
            "x.part",
            "a\u{85}b",
            "\u{7f}",
        ] {
            assert_eq!(UploadId::parse(text), Err(InvalidId), "{text:?}");
        }
        assert!(UploadId::parse(&"x".repeat(MAX_ID_BYTES)).is_ok());
        assert_eq!(UploadId::parse(&"x".repeat(MAX_ID_BYTES + 1)), Err(InvalidId));
        assert_eq!(UploadId::parse(&"x/".repeat(600)), Err(InvalidId));
    }

    #[test]
    fn hook_chosen_ids_may_have_segments() {
        for text in ["a", "a/b/c", "...", "a.b", "ü/ä", "a+b", "%2e%2e", "x.wharf/y", ".wharfish"] {
            assert_eq!(UploadId::parse(text).map(|id| id.as_str().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn random_ids_are_32_hex_digits_and_differ() {
        let ids: BTreeSet<_> = (0..10 * IDS_AT_ONCE).map(|_| UploadId::random()).collect();
        assert_eq!(ids.len(), 10 * IDS_AT_ONCE);
        let (one, two) = (UploadId::random(), UploadId::random());
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 32);
        assert!(one.as_str().bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    }

    /// The rule in other words: a text whose path, laid under a directory, is that directory, then its own segments.
    fn is_safe(text: &str) -> bool {
        use std::path::{Component, Path};
        let path = Path::new("/dir").join(text);
        let below: Option<Vec<&str>> = path
            .components()
            .skip(2)
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        let same = below.is_some_and(|below| path.starts_with("/dir") && below.join("/") == text);
        let reserved = [".info", ".lock", ".stop", ".part"].iter().any(|end| text.ends_with(end));
        let kept = text.split('/').next().is_some_and(|first| first.to_lowercase() == ".wharf");
        let short = text.len() <= 1024;
        same && short && !text.is_empty() && !reserved && !kept && !text.chars().any(|c| c.is_control() || c == '\\')
    }

    proptest::proptest! {
        #[test]
        fn an_id_is_a_safe_path_and_every_safe_path_is_an_id(
            text in r"(\.{0,2}|[a-z]{1,3}|\.wharf|\.WHARF|x\.info|a\.lock|\\|\x00|\u{85}|ü| |[a-z]{1018,1026})(/{0,2}(\.{1,3}|[a-z]{1,2}|\.stop|b\.part|\n)?){0,4}",
            any: String,
        ) {
            for text in [text, any] {
                let id = UploadId::parse(&text);
                proptest::prop_assert_eq!(id.is_ok(), is_safe(&text), "{:?}", text);
                if let Ok(id) = id {
                    proptest::prop_assert_eq!(id.as_str(), text);
                }
            }
        }
    }
}
