//! Names in the bucket, and what an object carries of its upload's metadata.

use std::fmt;

use super::client::Attributes;
use crate::Info;

/// The markers of final uploads that wait for their partial ones.
pub(super) const FINALS: &str = ".wharf/finals/";

/// The markers of finished partial uploads that may expire.
pub(super) const PARTIALS: &str = ".wharf/partials/";

/// The most bytes of metadata that S3 takes, names and values together.
const METADATA_MAX_BYTES: usize = 2048;

/// No media type is longer (RFC 6838 section 4.2 allows 127 letters on each side of the slash); S3 refuses long headers.
const MEDIA_TYPE_MAX_BYTES: usize = 255;

/// An upload's id, in its two halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    /// The object's name, without the prefix.
    pub(super) name: String,
    /// The id of its multipart upload.
    pub(super) multipart: String,
}

impl Id {
    /// Splits an id at its last `+`; but some services have `+` in the ids of their multipart uploads, so that a name of
    /// ours (32 hexadecimal digits) ends at the first.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_ours = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let first = text.split_once('+').filter(|(name, _)| is_ours(name));
        let (name, multipart) = first.or_else(|| text.rsplit_once('+'))?;
        let whole = !name.is_empty() && !multipart.is_empty();
        whole.then(|| Self { name: name.to_owned(), multipart: multipart.to_owned() })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}+{}", self.name, self.multipart)
    }
}

/// Where what is known of an upload lies.
pub(super) fn info(key: &str) -> String {
    format!("{key}.info")
}

/// Where the bytes lie that are too few for a part.
pub(super) fn tail(key: &str) -> String {
    format!("{key}.part")
}

/// The marker of a final upload that waits.
pub(super) fn waiting(name: &str) -> String {
    format!("{FINALS}{name}")
}

/// The marker of a finished partial upload that may expire.
pub(super) fn lapsing(name: &str, multipart: &str) -> String {
    format!("{PARTIALS}{name}+{multipart}")
}

/// What the object is to carry: the metadata, as far as it is fit for headers, and `filetype` as its media type.
pub(super) fn attributes(info: &Info) -> Attributes {
    let mut room = METADATA_MAX_BYTES;
    let mut attributes = Attributes::default();
    for (name, value) in &info.metadata {
        let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let value = printable(value);
        let size = name.len() + value.len();
        if !name.is_empty() && is_token && size <= room {
            room -= size;
            attributes.metadata.insert(name.to_ascii_lowercase(), value);
        }
    }
    let media_type = info.metadata.get("filetype").map(|kind| printable(kind));
    attributes.content_type = media_type.filter(|kind| (1..=MEDIA_TYPE_MAX_BYTES).contains(&kind.len()));
    attributes
}

fn printable(value: &str) -> String {
    let fit = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    value.chars().map(fit).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_split_where_its_name_ends() {
        let ours = "0123456789abcdef0123456789abcdef";
        for (text, expected) in [
            ("a+b", Some(("a", "b"))),
            ("dir/a+b", Some(("dir/a", "b"))),
            ("a+b+c", Some(("a+b", "c"))),
            ("a", None),
            ("+b", None),
            ("a+", None),
        ] {
            let id = Id::parse(text);
            assert_eq!(id.as_ref().map(|id| (id.name.as_str(), id.multipart.as_str())), expected, "{text}");
            assert!(id.is_none_or(|id| id.to_string() == text));
        }
        let id = Id::parse(&format!("{ours}+b+c/d")).unwrap();
        assert_eq!((id.name.as_str(), id.multipart.as_str()), (ours, "b+c/d"));
    }

    #[test]
    fn metadata_is_made_fit_for_headers() {
        assert_eq!(printable(" men\u{fc}\t\n"), "men???");
        assert_eq!(printable("a b"), "a b");
    }
}
