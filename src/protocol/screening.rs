//! Which uploads are taken, by what their metadata says: keys that must be there, types, endings of names, and how large a
//! file of each type may be. The client's word counts; nobody looks into the bytes.

use std::collections::BTreeMap;

use super::Refusal;

/// A type, or all types of a kind, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern {
    /// `None` for any.
    main: Option<String>,
    /// `None` for any.
    sub: Option<String>,
}

impl TypePattern {
    /// Reads `image/png`, `image/*` or `*/*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (main, sub) = text.trim().split_once('/')?;
        let part = |part: &str| match part {
            "*" => Some(None),
            _ if is_part(part) => Some(Some(part.to_ascii_lowercase())),
            _ => None,
        };
        let pattern = Self { main: part(main)?, sub: part(sub)? };
        (pattern.main.is_some() || pattern.sub.is_none()).then_some(pattern)
    }

    /// Whether a type as a client writes it is one of these. Its parameters don't count. `*/*` is also whatever is no type.
    fn matches(&self, text: &str) -> bool {
        if self.main.is_none() {
            return true;
        }
        let essence = text.split(';').next().unwrap_or_default().trim();
        let Some((main, sub)) = essence.split_once('/').filter(|(main, sub)| is_part(main) && is_part(sub)) else {
            return false;
        };
        let fits = |wanted: &Option<String>, part: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(part))
        };
        fits(&self.main, main) && fits(&self.sub, sub)
    }
}

/// A half of a type's name (RFC 6838, 4.2).
fn is_part(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    (1..=127).contains(&text.len()) && text.bytes().all(legal)
}

/// What the operator asks of metadata. Empty lists ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Screening {
    /// Keys that must be there, with a value.
    pub required: Vec<String>,
    /// The types of which one must be in `filetype`.
    pub types: Vec<TypePattern>,
    /// How `filename` must end, in small letters and without the dot.
    pub extensions: Vec<String>,
    /// How many bytes files of a type may have; the first that fits counts.
    pub max_sizes: Vec<(TypePattern, u64)>,
}

impl Screening {
    /// Judges a new upload; returns the most bytes that it may have, where its type has such a limit.
    ///
    /// A partial upload may lack what is asked for: clients send metadata with the final one, which is judged by it. What it
    /// does say must be allowed.
    ///
    /// # Errors
    /// [`Refusal::MetadataRequired`], [`Refusal::FileTypeNotAllowed`], or [`Refusal::MaxSizeExceeded`].
    pub fn judge(
        &self,
        metadata: &BTreeMap<String, String>,
        length: Option<u64>,
        is_partial: bool,
    ) -> Result<Option<u64>, Refusal> {
        let value = |key: &str| metadata.get(key).map(String::as_str).filter(|value| !value.is_empty());
        if !is_partial && self.required.iter().any(|key| value(key).is_none()) {
            return Err(Refusal::MetadataRequired);
        }
        let (filetype, filename) = (value("filetype"), value("filename"));
        let may_lack = |said: Option<&str>, may: bool| may || (said.is_none() && is_partial);
        let is_of = |pattern: &TypePattern| pattern.matches(filetype.unwrap_or_default());
        let type_fits = self.types.is_empty() || self.types.iter().any(is_of);
        let ends = |extension: &String| filename.is_some_and(|name| ends_with(name, extension));
        let name_fits = self.extensions.is_empty() || self.extensions.iter().any(ends);
        if !may_lack(filetype, type_fits) || !may_lack(filename, name_fits) {
            return Err(Refusal::FileTypeNotAllowed);
        }
        let max = self.max_sizes.iter().find(|(pattern, _)| is_of(pattern)).map(|(_, max)| *max);
        if length.zip(max).is_some_and(|(length, max)| length > max) {
            return Err(Refusal::MaxSizeExceeded);
        }
        Ok(max)
    }
}

fn ends_with(name: &str, extension: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn patterns(texts: &[&str]) -> Vec<TypePattern> {
        texts.iter().map(|text| TypePattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn patterns_are_types_or_all_of_a_kind() {
        for text in ["image/png", "image/*", "*/*", "application/vnd.oasis+xml", " text/plain "] {
            assert!(TypePattern::parse(text).is_some(), "{text:?}");
        }
        for text in ["", "image", "image/", "/png", "*/png", "image/p*", "a/b/c", "image/png;q=1", "im age/png", "é/x"]
        {
            assert_eq!(TypePattern::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn types_are_compared_without_case_and_parameters() {
        let screening = Screening { types: patterns(&["image/*", "Text/Plain"]), ..Screening::default() };
        for (filetype, is_allowed) in [
            ("image/png", true),
            ("IMAGE/PNG", true),
            ("text/plain; charset=utf-8", true),
            ("text/html", false),
            ("image", false),
            ("image/", false),
            ("image/png/x", false),
            ("x, image/png", false),
            ("text/html; image/png", false),
            ("", false),
        ] {
            let judged = screening.judge(&metadata(&[("filetype", filetype)]), None, false);
            assert_eq!(judged.is_ok(), is_allowed, "{filetype:?}");
        }
        assert_eq!(screening.judge(&metadata(&[]), None, false), Err(Refusal::FileTypeNotAllowed));
    }

    #[test]
    fn names_end_as_they_must() {
        let screening = Screening { extensions: vec!["pdf".to_owned(), "gz".to_owned()], ..Screening::default() };
        for (name, is_allowed) in [
            ("a.pdf", true),
            ("a.b.PDF", true),
            ("a.tar.gz", true),
            ("pdf", false),
            ("a.pdf.exe", false),
            ("a.", false),
        ] {
            assert_eq!(screening.judge(&metadata(&[("filename", name)]), None, false).is_ok(), is_allowed, "{name:?}");
        }
    }

    #[test]
    fn keys_that_must_be_there_have_a_value() {
        let screening = Screening { required: vec!["filename".to_owned(), "case".to_owned()], ..Screening::default() };
        for (pairs, is_allowed) in [
            (&[("filename", "a"), ("case", "7")][..], true),
            (&[("filename", "a"), ("case", "")], false),
            (&[("case", "7")], false),
            (&[], false),
        ] {
            let expected = if is_allowed { Ok(None) } else { Err(Refusal::MetadataRequired) };
            assert_eq!(screening.judge(&metadata(pairs), None, false), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_limits_the_size() {
        let sizes = patterns(&["image/gif", "image/*"]).into_iter().zip([10, 100]).collect();
        let screening = Screening { max_sizes: sizes, ..Screening::default() };
        for (filetype, length, expected) in [
            ("image/gif", Some(10), Ok(Some(10))),
            ("image/gif", Some(11), Err(Refusal::MaxSizeExceeded)),
            ("image/png", Some(100), Ok(Some(100))),
            ("image/png", Some(101), Err(Refusal::MaxSizeExceeded)),
            ("image/gif", None, Ok(Some(10))),
            ("video/mp4", Some(1 << 40), Ok(None)),
            ("", Some(1 << 40), Ok(None)),
        ] {
            assert_eq!(screening.judge(&metadata(&[("filetype", filetype)]), length, false), expected, "{filetype}");
        }
    }

    #[test]
    fn what_is_for_all_types_is_for_those_without_one_too() {
        let sizes = patterns(&["image/*", "*/*"]).into_iter().zip([100, 10]).collect();
        let screening = Screening { types: patterns(&["*/*"]), max_sizes: sizes, ..Screening::default() };
        for pairs in [&[][..], &[("filetype", "nonsense")], &[("filetype", "text/plain")]] {
            assert_eq!(screening.judge(&metadata(pairs), None, false), Ok(Some(10)), "{pairs:?}");
        }
        assert_eq!(screening.judge(&metadata(&[]), Some(11), true), Err(Refusal::MaxSizeExceeded));
    }

    #[test]
    fn a_partial_upload_may_lack_metadata_but_not_say_what_is_not_allowed() {
        let screening = Screening {
            required: vec!["filename".to_owned()],
            types: patterns(&["image/*"]),
            extensions: vec!["png".to_owned()],
            max_sizes: patterns(&["image/*"]).into_iter().zip([10]).collect(),
        };
        assert_eq!(screening.judge(&metadata(&[]), Some(99), true), Ok(None));
        for (pairs, expected) in [
            ([("filetype", "text/html"), ("filename", "a.png")], Err(Refusal::FileTypeNotAllowed)),
            ([("filetype", "image/png"), ("filename", "a.html")], Err(Refusal::FileTypeNotAllowed)),
            ([("filetype", "image/png"), ("filename", "a.png")], Err(Refusal::MaxSizeExceeded)),
        ] {
            assert_eq!(screening.judge(&metadata(&pairs), Some(99), true), expected, "{pairs:?}");
        }
    }
}
