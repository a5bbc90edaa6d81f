//! The values of settings that have a form of their own.

use std::fmt;

/// The path under which uploads live: it begins and ends with a slash. Perhaps with a URL's scheme and host before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath {
    site: Option<String>,
    path: String,
}

impl Default for BasePath {
    fn default() -> Self {
        Self { site: None, path: "/".to_owned() }
    }
}

impl BasePath {
    /// Reads `files`, `/files/` or `https://example.com/files/`; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (site, path) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(site(scheme, host)?), path)
            }
            None => (None, text),
        };
        let segments = path.strip_prefix('/').filter(|_| site.is_none()).unwrap_or(path);
        let segments = segments.strip_suffix('/').unwrap_or(segments);
        if segments.is_empty() {
            return Ok(Self { site, ..Self::default() });
        }
        for segment in segments.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err("must not hold empty segments, '.' or '..'".to_owned());
            }
            // RFC 3986, section 3.3, without escapes: an escaped path could be compared in two forms.
            if let Some(wrong) =
                segment.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=:@".contains(*c))
            {
                return Err(format!("must not hold {wrong:?}"));
            }
        }
        Ok(Self { site, path: format!("/{segments}/") })
    }

    /// Scheme and host, `https://example.com`, when they are set.
    #[must_use]
    pub fn site(&self) -> Option<&str> {
        self.site.as_deref()
    }

    /// The path, with a slash at both ends.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.site().unwrap_or_default(), self.path)
    }
}

fn site(scheme: &str, host: &str) -> Result<String, String> {
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err("must be a path, or a URL that begins with http:// or https://".to_owned());
    }
    if is_authority(host) {
        Ok(format!("{scheme}://{host}"))
    } else {
        Err(format!("must have a host and perhaps a port after {scheme}://"))
    }
}

/// A host and perhaps a port (RFC 3986, section 3.2), without a user's name: what may stand in every `Location`.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let all = |text: &str, legal: fn(u8) -> bool| !text.is_empty() && text.bytes().all(legal);
    port.is_none_or(is_port)
        && match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => all(address, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
            None => all(host, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is none when it is empty.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::new(text))
    }

    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, for who must compare it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Whether a text is a host's name or address, without a port; IPv6 in brackets.
pub(super) fn is_host_name(text: &str) -> bool {
    is_authority(text) && (text.ends_with(']') || !text.contains(':'))
}

/// Whether a text is a type of content, or all of a kind, or all, with `*` for what may be anything.
pub(super) fn is_type(text: &str) -> bool {
    let Some((main, sub)) = text.split_once('/') else { return false };
    // RFC 6838, 4.2; as the protocol reads them.
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let is_name = |part: &str| (1..=127).contains(&part.len()) && part.bytes().all(is_legal);
    let is_part = |part: &str| part == "*" || is_name(part);
    is_part(main) && is_part(sub) && (main != "*" || sub == "*")
}

/// Whether a text is a token, which is what names of methods and headers are (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_get_their_slashes() {
        for (written, expected) in [
            ("files", "/files/"),
            ("/files", "/files/"),
            ("files/", "/files/"),
            ("/a/b:c/", "/a/b:c/"),
            ("/", "/"),
            ("", "/"),
            ("https://example.com/files", "https://example.com/files/"),
            ("HTTP://[::1]:8080", "http://[::1]:8080/"),
            ("https://example.com/", "https://example.com/"),
        ] {
            assert_eq!(BasePath::parse(written).map(|base| base.to_string()), Ok(expected.to_owned()), "{written}");
        }
        let base = BasePath::parse("https://example.com/up").unwrap();
        assert_eq!((base.site(), base.path()), (Some("https://example.com"), "/up/"));
    }

    #[test]
    fn base_paths_that_could_not_be_matched_are_refused() {
        for wrong in [
            "//files",
            "/files//",
            "/a//b",
            "/../x",
            "/a/./b",
            "/a b/",
            "/a?b",
            "/a#b",
            "/%41/",
            "/\u{e9}/",
            "/a\nb/",
            "ftp://example.com/",
            "https:///files/",
            "https://me@example.com/",
            "https://exa mple.com/",
            "https://example.com//files/",
            "https://example.com:x/",
            "https://example.com:/",
            "https://:80/",
        ] {
            assert!(BasePath::parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn hosts_have_no_port() {
        for (text, is_one) in [
            ("wharf.example", true),
            ("[::1]", true),
            ("10.0.0.1", true),
            ("", false),
            ("a:1", false),
            ("[::1]:1", false),
        ] {
            assert_eq!(is_host_name(text), is_one, "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new("open sesame"))), "Some(Secret)");
    }

    #[test]
    fn types() {
        for text in ["image/png", "image/*", "*/*"] {
            assert!(is_type(text), "{text}");
        }
        for text in ["", "image", "*", "*/png", "image/p*", "a/b/c", "a b/c", "a/", "a/b%c", "a/b|c"] {
            assert!(!is_type(text), "{text}");
        }
    }

    #[test]
    fn tokens() {
        assert!(is_token("X-My_Header") && is_token("PURGE"));
        assert!(!is_token("") && !is_token("a b") && !is_token("a:b") && !is_token("a\r"));
    }
}
