//! Header fields, between the words of the protocol and the maps of actix.

use std::borrow::Cow;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::{
    protocol::{Fields, Header},
    server::BodyKind,
};

/// The fields of a request, read out of actix's map once: to compare a name with the few that came takes less than to hash
/// it, and each request is asked for a dozen. That of its length is not in there: the server keeps it.
pub(super) struct Lines<'a> {
    lines: Vec<(&'a str, &'a [u8])>,
    content_length: Option<String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(map: &'a HeaderMap, body: Option<BodyKind>) -> Self {
        let content_length = match body {
            Some(BodyKind::Length(length)) => Some(length.to_string()),
            Some(BodyKind::None | BodyKind::Chunked) | None => None,
        };
        let mut lines = Vec::with_capacity(map.len());
        lines.extend(map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        Self { lines, content_length }
    }

    /// All of them, with that of the length.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let length = self.content_length.iter().map(|length| ("content-length", length.as_bytes()));
        self.lines.iter().copied().chain(length)
    }
}

impl Fields for Lines<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        match name {
            "content-length" => self.content_length.as_deref().map(str::as_bytes),
            _ => self.lines.iter().find(|(known, _)| *known == name).map(|(_, value)| *value),
        }
    }

    fn count(&self, name: &str) -> usize {
        match name {
            "content-length" => self.content_length.iter().count(),
            _ => self.lines.iter().filter(|(known, _)| *known == name).count(),
        }
    }

    fn lines(&self, name: &str) -> Vec<&[u8]> {
        match name {
            "content-length" => self.first(name).into_iter().collect(),
            _ => self.lines.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value).collect(),
        }
    }
}

/// Adds a header to an answer.
pub(super) fn append(map: &mut HeaderMap, (name, value): Header) {
    let value = match value {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    // A value that can't be in a header at all was let through by nobody; leaving it out is the safe side.
    if let Ok(value) = HeaderValue::from_maybe_shared(value) {
        map.append(known(name), value);
    }
}

/// The names of what most answers carry are made by the compiler, all others when they are needed.
fn known(name: &'static str) -> HeaderName {
    macro_rules! names {
        ($($name:literal),*) => {
            match name {
                "cache-control" => header::CACHE_CONTROL,
                "content-length" => header::CONTENT_LENGTH,
                "content-type" => header::CONTENT_TYPE,
                "etag" => header::ETAG,
                "location" => header::LOCATION,
                "x-content-type-options" => header::X_CONTENT_TYPE_OPTIONS,
                $($name => const { HeaderName::from_static($name) },)*
                other => HeaderName::from_static(other),
            }
        };
    }
    names!("tus-resumable", "upload-expires", "upload-length", "upload-offset", "x-request-id")
}

/// Puts a header into an answer in place of all of its name. What can't be in a header is left out.
pub(super) fn replace(map: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        map.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[Header]) -> HeaderMap {
        let mut map = HeaderMap::new();
        lines.iter().cloned().for_each(|header| append(&mut map, header));
        map
    }

    #[test]
    fn names_go_out_as_they_are() {
        for name in [
            "cache-control",
            "content-length",
            "content-type",
            "etag",
            "location",
            "x-content-type-options",
            "tus-resumable",
            "upload-expires",
            "upload-length",
            "upload-offset",
            "x-request-id",
            "vary",
            "upload-metadata",
        ] {
            assert_eq!(known(name).as_str(), name);
        }
    }

    #[test]
    fn what_can_not_be_in_a_header_is_left_out() {
        let map = map(&[
            ("location", "/a\nb".into()),
            ("etag", String::from("a\rb").into()),
            ("upload-metadata", String::from("\u{fc} b").into()),
            ("upload-offset", "7".into()),
        ]);
        assert_eq!(map.len(), 2);
        assert_eq!(map.get("upload-metadata").unwrap().as_bytes(), "\u{fc} b".as_bytes());
        assert_eq!(map.get("upload-offset").unwrap(), "7");
    }

    #[test]
    fn lines_of_one_name_stay_in_their_order() {
        let map = map(&[
            ("trailer", "a".into()),
            ("content-length", "1".into()),
            ("x-request-id", "r".into()),
            ("trailer", "b".into()),
        ]);
        let lines = Lines::new(&map, Some(BodyKind::Length(5)));
        assert_eq!((lines.first("trailer"), lines.count("trailer")), (Some(&b"a"[..]), 2));
        assert_eq!(lines.lines("trailer"), [b"a", b"b"]);
        assert_eq!((lines.first("content-length"), lines.count("content-length")), (Some(&b"5"[..]), 1));
        assert_eq!((lines.first("x-request-i"), lines.count("x"), lines.lines("y")), (None, 0, vec![]));
        let lines = Lines::new(&map, Some(BodyKind::Chunked));
        assert_eq!((lines.first("content-length"), lines.count("content-length")), (None, 0));
    }
}
