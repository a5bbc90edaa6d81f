//! The concatenation extension: `Upload-Concat`, and the uploads that its URLs name.

use wharf_actors::UploadId;

use super::{Refusal, below, is_plain, percent, upload_id};

/// What `Upload-Concat` says of a new upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concat {
    /// It is a piece for final uploads.
    Partial,
    /// It is made of others.
    Final {
        /// The others, in the order of their bytes.
        partials: Vec<UploadId>,
        /// The header as received, which HEAD must give back (tus 1.0.0, "Upload-Concat").
        raw: String,
    },
}

/// The value of `Upload-Concat` in the answer to HEAD on a partial upload.
pub const PARTIAL: &str = "partial";

const FINAL: &str = "final;";

/// Reads `Upload-Concat`: `partial`, or `final;` and the partial uploads' URLs with spaces between them.
///
/// # Errors
/// [`Refusal::InvalidConcat`] for anything else, [`Refusal::UploadNotFound`] for a URL that can't be an upload's.
pub fn parse(header: &[u8], base_path: &str) -> Result<Concat, Refusal> {
    let text = std::str::from_utf8(header).ok().filter(|_| is_plain(header)).ok_or(Refusal::InvalidConcat)?;
    if text == PARTIAL {
        return Ok(Concat::Partial);
    }
    let urls = text.strip_prefix(FINAL).ok_or(Refusal::InvalidConcat)?;
    let urls = urls.split(' ').filter(|url| !url.is_empty());
    let partials = urls.map(|url| partial(url, base_path)).collect::<Result<Vec<_>, _>>()?;
    if partials.is_empty() {
        return Err(Refusal::InvalidConcat);
    }
    Ok(Concat::Final { partials, raw: text.to_owned() })
}

/// The `Upload-Concat` of a final upload whose client's own text isn't known.
#[must_use]
pub fn rebuild(partials: &[UploadId], base_path: &str) -> String {
    let urls = partials.iter().map(|id| format!("{base_path}{}", percent::encode(id.as_str())));
    format!("{FINAL}{}", urls.collect::<Vec<_>>().join(" "))
}

/// The upload that a URL names, whatever its host: proxies change hosts. A path may have something before the base
/// path, because proxies cut prefixes off; one without a leading slash is relative to the creation URL.
fn partial(url: &str, base_path: &str) -> Result<UploadId, Refusal> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let path = percent::decode(path_of(url)).ok_or(Refusal::UploadNotFound)?;
    let base = percent::decode(base_path).ok_or(Refusal::UploadNotFound)?;
    if !path.starts_with('/') {
        return upload_id(path.strip_prefix("./").unwrap_or(&path));
    }
    let rest = below(&path, &base).or_else(|| path.split_once(base.as_ref()).map(|(_, rest)| rest));
    upload_id(rest.ok_or(Refusal::UploadNotFound)?)
}

/// A URL without its scheme and authority (RFC 3986, 4.2 and 4.3).
fn path_of(url: &str) -> &str {
    let authority = match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => rest.strip_prefix("//"),
        _ => url.strip_prefix("//"),
    };
    match authority {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => url,
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(header: &str, base_path: &str) -> Result<Vec<String>, Refusal> {
        match parse(header.as_bytes(), base_path)? {
            Concat::Final { partials, raw } => {
                assert_eq!(raw, header);
                Ok(partials.iter().map(|id| id.as_str().to_owned()).collect())
            }
            Concat::Partial => panic!("{header:?} is final"),
        }
    }

    #[test]
    fn partial_is_one_word() {
        assert_eq!(parse(b"partial", "/files/"), Ok(Concat::Partial));
        for header in [
            "",
            " ",
            "Partial",
            "partial ",
            " partial",
            "partial;",
            "final",
            "final;",
            "final; ",
            "Final;/files/a",
            "final ;/files/a",
            "final;/files/a\t/files/b",
            "final;/files/\u{fc}",
        ] {
            assert_eq!(parse(header.as_bytes(), "/files/"), Err(Refusal::InvalidConcat), "{header:?}");
        }
        assert_eq!(parse(b"final;/files/\xff", "/files/"), Err(Refusal::InvalidConcat));
    }

    #[test]
    fn partials_are_found_by_any_url() {
        for (header, base, expected) in [
            ("final;/files/a /files/b", "/files/", vec!["a", "b"]),
            ("final;  /files/a   /files/a ", "/files/", vec!["a", "a"]),
            ("final;http://up.example/files/a", "/files/", vec!["a"]),
            ("final;HTTPS://up.example:8443/files/a/?x=/files/b#/files/c", "/files/", vec!["a"]),
            ("final;//up.example/files/a", "/files/", vec!["a"]),
            ("final;http://files/files/a", "/files/", vec!["a"]),
            ("final;https://up.example/api/files/a", "/files/", vec!["a"]),
            ("final;/files/a%2Fb%20c /files/%C3%BC", "/files/", vec!["a/b c", "\u{fc}"]),
            ("final;/files/a:b", "/files/", vec!["a:b"]),
            ("final;a ./b c/d e:f", "/files/", vec!["a", "b", "c/d", "e:f"]),
            ("final;http://up.example/a /b c", "/", vec!["a", "b", "c"]),
            ("final;http://up.example/x/a", "/", vec!["x/a"]),
            ("final;http://up.example/my%20files/a", "/my%20files/", vec!["a"]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(finished(header, base), Ok(expected), "{header:?}");
        }
    }

    #[test]
    fn a_url_that_names_no_upload_is_not_found() {
        for (header, base) in [
            ("final;/files/a /other/b", "/files/"),
            ("final;/files/", "/files/"),
            ("final;/files", "/files/"),
            ("final;http://up.example", "/files/"),
            ("final;http://up.example", "/"),
            ("final;/", "/"),
            ("final;?", "/files/"),
            ("final;/files/%2e%2e/a", "/files/"),
            ("final;../files/a", "/files/"),
            ("final;/files/%zz", "/files/"),
            ("final;/files/%ff", "/files/"),
        ] {
            assert_eq!(finished(header, base), Err(Refusal::UploadNotFound), "{header:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(header: Vec<u8>, urls: String) {
            let _ = parse(&header, "/files/");
            let _ = parse(format!("final;{urls}").as_bytes(), "/");
        }

        #[test]
        fn what_is_rebuilt_names_the_same_uploads(
            names in proptest::collection::vec("[a-z%?#: \u{fc}]{1,9}(/[a-z]{1,3})?", 1..5),
            base in "/|/files/|/a/b/",
        ) {
            let ids: Vec<_> = names.iter().map(|name| UploadId::parse(name).unwrap()).collect();
            let header = rebuild(&ids, &base);
            let read = parse(header.as_bytes(), &base);
            proptest::prop_assert_eq!(read, Ok(Concat::Final { partials: ids, raw: header }));
        }
    }
}
