//! The URL of a new upload: relative unless the operator wants it otherwise, so that no proxy can make it wrong.

use wharf_actors::UploadId;

use super::{Fields, percent};

/// Where uploads live, from the one setting that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath {
    /// The path of the creation URL, for [`super::Rules::base_path`]. Starts and ends with a slash.
    pub path: String,
    /// Scheme and host, if the setting names them: then locations begin with them, whatever a request says.
    pub origin: Option<String>,
}

/// The setting can't be a base path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path or http(s) URL of plain segments, without query and fragment")]
pub struct InvalidBasePath;

impl BasePath {
    /// Reads `files`, `/files/` or `https://cdn.example/files`. Missing slashes are added.
    ///
    /// # Errors
    /// [`InvalidBasePath`]
    pub fn parse(text: &str) -> Result<Self, InvalidBasePath> {
        let schemes = ["http", "https"];
        let (origin, path) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => {
                let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                if !schemes.contains(&scheme) || !is_host(host) {
                    return Err(InvalidBasePath);
                }
                (Some(format!("{scheme}://{host}")), path)
            }
        };
        let inner = path.strip_prefix('/').unwrap_or(path);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let path = if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") };
        let is_legal = inner.is_empty() || inner.split('/').all(is_segment);
        if is_legal { Ok(Self { path, origin }) } else { Err(InvalidBasePath) }
    }
}

/// How locations are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationRules {
    /// Where uploads live.
    pub base: BasePath,
    /// Whether locations name scheme and host.
    pub absolute: bool,
    /// Whether `X-Forwarded-Host`, `X-Forwarded-Proto` and `Forwarded` are believed.
    pub behind_proxy: bool,
}

/// The URL of an upload, for a request with these fields that came over TLS or not. Relative if it should be absolute
/// but the request names no host that could be in a URL.
#[must_use]
pub fn location(id: &UploadId, rules: &LocationRules, fields: &dyn Fields, tls: bool) -> String {
    let origin = match &rules.base.origin {
        Some(origin) => Some(origin.clone()),
        None if rules.absolute => origin(rules, fields, tls),
        None => None,
    };
    [origin.as_deref().unwrap_or_default(), &rules.base.path, &percent::encode(id.as_str())].concat()
}

/// Scheme and host as the client sees them. `Forwarded` (RFC 7239) wins over the older headers; of a list, the first
/// element is the proxy next to the client.
fn origin(rules: &LocationRules, fields: &dyn Fields, tls: bool) -> Option<String> {
    let own = if tls { "https" } else { "http" };
    if !rules.behind_proxy {
        let host = text(fields, "host").filter(|host| is_host(host))?;
        return Some(format!("{own}://{host}"));
    }
    let (forwarded_host, forwarded_scheme) = text(fields, "forwarded").map(forwarded).unwrap_or_default();
    let first = |name| text(fields, name).and_then(|list| list.split(',').next()).map(|item| item.trim().to_owned());
    let scheme = [forwarded_scheme, first("x-forwarded-proto")]
        .into_iter()
        .flatten()
        .find_map(|scheme| ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known)));
    let scheme = scheme.unwrap_or(own);
    let named = forwarded_host.or_else(|| first("x-forwarded-host")).or_else(|| first("host"));
    let host = named.filter(|host| is_host(host))?;
    let usual_port = if scheme == "http" { ":80" } else { ":443" };
    Some(format!("{scheme}://{}", host.strip_suffix(usual_port).unwrap_or(&host)))
}

/// The host and the scheme in the first element of `Forwarded`.
fn forwarded(value: &str) -> (Option<String>, Option<String>) {
    let (mut host, mut scheme) = (None, None);
    let mut rest = value;
    loop {
        let end = rest.find(['=', ';', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix('=') else {
            match after.strip_prefix(';') {
                Some(after) => rest = after,
                None => return (host, scheme),
            }
            continue;
        };
        let (value, after) = value_of(after);
        match name.trim() {
            name if name.eq_ignore_ascii_case("host") => host = Some(value),
            name if name.eq_ignore_ascii_case("proto") => scheme = Some(value),
            _ => {}
        }
        rest = after;
    }
}

/// A token or quoted string at the start of `text`, and what follows it, beginning with a separator.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([';', ',']).unwrap_or(text.len()));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => {
                let rest = &quoted[place + 1..];
                return (value, &rest[rest.find([';', ',']).unwrap_or(rest.len())..]);
            }
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    // A string that never ends names nothing.
    (String::new(), "")
}

fn text<'a>(fields: &'a dyn Fields, name: &str) -> Option<&'a str> {
    fields.first(name).and_then(|value| std::str::from_utf8(value).ok()).filter(|value| !value.is_empty())
}

/// Whether `text` is a name or address, perhaps with a port (RFC 3986, 3.2.2), and nothing that could end the host in a
/// URL or a header.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, "0"),
    };
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    is_port
        && match address {
            Some(address) => {
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
            }
            None => is_name(host),
        }
}

/// Whether `text` may be a segment of the base path: escaped as in a URL, neither empty nor made of dots.
fn is_segment(text: &str) -> bool {
    let is_legal = text.bytes().all(|byte| byte == b'%' || percent::is_segment(byte));
    let decoded = percent::decode(text);
    is_legal
        && decoded.is_some_and(|segment| !["", ".", ".."].contains(&segment.as_ref()))
        && !text.to_ascii_lowercase().contains("%2f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::fields;

    fn rules(base: &str, absolute: bool, behind_proxy: bool) -> LocationRules {
        LocationRules { base: BasePath::parse(base).unwrap(), absolute, behind_proxy }
    }

    fn located(rules: &LocationRules, lines: &[(&str, &str)], tls: bool) -> String {
        location(&UploadId::parse("a").unwrap(), rules, &fields(lines), tls)
    }

    #[test]
    fn base_paths_are_normalised() {
        for (text, path, origin) in [
            ("/files/", "/files/", None),
            ("files", "/files/", None),
            ("/", "/", None),
            ("", "/", None),
            ("a/b%20c", "/a/b%20c/", None),
            ("https://cdn.example", "/", Some("https://cdn.example")),
            ("http://cdn.example:8080/files", "/files/", Some("http://cdn.example:8080")),
            ("https://[::1]:1/a/b/", "/a/b/", Some("https://[::1]:1")),
        ] {
            let expected = BasePath { path: path.to_owned(), origin: origin.map(str::to_owned) };
            assert_eq!(BasePath::parse(text), Ok(expected), "{text:?}");
        }
        for text in [
            "//a/",
            "a//b",
            "a/../b",
            "./",
            "%2e%2e/",
            "a%2Fb",
            "a?b",
            "a#b",
            "a b",
            "a%",
            "\u{fc}",
            "a\\b",
            "ftp://a/",
            "https://",
            "https:///files",
            "https://a b/",
            "https://user@a/",
            "a\r\nb",
        ] {
            assert_eq!(BasePath::parse(text), Err(InvalidBasePath), "{text:?}");
        }
    }

    #[test]
    fn a_location_is_relative_whatever_the_request_says() {
        let lines = [("host", "up.example"), ("x-forwarded-host", "evil"), ("forwarded", "host=evil")];
        assert_eq!(located(&rules("/files", false, true), &lines, true), "/files/a");
        let id = UploadId::parse("x/y z%\u{fc}+").unwrap();
        assert_eq!(location(&id, &rules("/", false, false), &fields(&[]), false), "/x/y%20z%25%C3%BC+");
    }

    #[test]
    fn a_base_url_is_believed_more_than_the_request() {
        let lines = [("host", "up.example"), ("x-forwarded-host", "evil")];
        for absolute in [false, true] {
            let rules = rules("https://cdn.example/files", absolute, true);
            assert_eq!(located(&rules, &lines, false), "https://cdn.example/files/a");
        }
    }

    #[test]
    fn an_absolute_location_names_the_host_of_the_request() {
        let rules = rules("/files/", true, false);
        for (host, tls, expected) in [
            ("up.example", false, "http://up.example/files/a"),
            ("up.example", true, "https://up.example/files/a"),
            ("up_1.example:443", true, "https://up_1.example:443/files/a"),
            ("[2001:db8::1]:8080", false, "http://[2001:db8::1]:8080/files/a"),
            ("[::1]", false, "http://[::1]/files/a"),
        ] {
            let lines = [("host", host), ("x-forwarded-host", "evil"), ("x-forwarded-proto", "https")];
            assert_eq!(located(&rules, &lines, tls), expected, "{host}");
        }
        for host in [
            "", "a b", "a/b", "a?b", "a#b", "user@a", "a:b", "a:", "a:123456", "[a", "a]", "[]", "[x]", "::1",
            "\u{fc}", "a,b", "a\"b", ":80", "[::1]x",
        ] {
            assert_eq!(located(&rules, &[("host", host)], false), "/files/a", "{host:?}");
        }
        assert_eq!(located(&rules, &[], false), "/files/a");
    }

    #[test]
    fn a_proxy_is_believed_when_there_should_be_one() {
        let rules = rules("/files/", true, true);
        for (lines, expected) in [
            (vec![], "http://up.example/files/a"),
            (vec![("x-forwarded-host", "one.example")], "http://one.example/files/a"),
            (vec![("x-forwarded-host", "one.example , two.example")], "http://one.example/files/a"),
            (vec![("x-forwarded-proto", "https")], "https://up.example/files/a"),
            (vec![("x-forwarded-proto", "HTTPS,http")], "https://up.example/files/a"),
            (vec![("x-forwarded-proto", "javascript")], "http://up.example/files/a"),
            (vec![("x-forwarded-host", "a.example:80")], "http://a.example/files/a"),
            (vec![("x-forwarded-host", "a.example:443")], "http://a.example:443/files/a"),
            (vec![("x-forwarded-host", "a.example:443"), ("x-forwarded-proto", "https")], "https://a.example/files/a"),
            (vec![("x-forwarded-host", "a/b")], "/files/a"),
            (vec![("x-forwarded-host", "")], "http://up.example/files/a"),
            (vec![("forwarded", "host=f.example;proto=https")], "https://f.example/files/a"),
            (
                vec![("forwarded", "for=1.2.3.4; HOST=\"f.example:8443\" ;Proto=https")],
                "https://f.example:8443/files/a",
            ),
            (vec![("forwarded", "for=\"[::1],host=x\";by=_a, host=second.example")], "http://up.example/files/a"),
            (vec![("forwarded", "host=f.example, host=second.example")], "http://f.example/files/a"),
            (vec![("forwarded", "host=\"f.\\example\"")], "http://f.example/files/a"),
            (vec![("forwarded", ";;secret;host=f.example")], "http://f.example/files/a"),
            (vec![("forwarded", "host=\"f.example")], "/files/a"),
            (vec![("forwarded", "host=f.example"), ("x-forwarded-host", "x.example")], "http://f.example/files/a"),
            (vec![("forwarded", "proto=https"), ("x-forwarded-host", "x.example")], "https://x.example/files/a"),
        ] {
            let mut all = vec![("host", "up.example")];
            all.extend(&lines);
            assert_eq!(located(&rules, &all, false), expected, "{lines:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_request_breaks_a_location(host: Vec<u8>, proto: String, value: String, list in "[a-z=;,\" \\\\]{0,20}") {
            let rules = rules("/files/", true, true);
            for forwarded in [value, list] {
                let mut lines = fields(&[("x-forwarded-proto", &proto), ("forwarded", &forwarded)]);
                lines.push(("x-forwarded-host".to_owned(), host.clone()));
                let url = location(&UploadId::parse("a").unwrap(), &rules, &lines, false);
                proptest::prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()));
                proptest::prop_assert!(url.ends_with("/files/a"));
            }
        }

        /// RFC 7239, 4: quoted or not, in any case and order, the first element counts.
        #[test]
        fn what_a_proxy_writes_is_what_is_read(
            host in "[a-z]{1,5}(\\.[a-z]{1,3})?(:[0-9]{1,5})?", scheme in "https?", extra in "(for=\"\\[::1\\]:4,;\\\\\"x\";)?",
            upper: bool, quoted: bool, more: bool,
        ) {
            let (host_name, proto_name) = if upper { ("Host", "PROTO") } else { ("host", "proto") };
            let mark = if quoted { "\"" } else { "" };
            let list = if more { ", host=evil.example;proto=ftp" } else { "" };
            let value = format!("{extra}{host_name}={mark}{host}{mark};{proto_name}={scheme}{list}");
            proptest::prop_assert_eq!(forwarded(&value), (Some(host), Some(scheme)), "{}", value);
        }

        #[test]
        fn a_normalised_base_path_stays_as_it_is(text in "(https?://[a-z.:0-9]{1,8})?[a-z/.%2]{0,12}") {
            if let Ok(base) = BasePath::parse(&text) {
                let again = format!("{}{}", base.origin.clone().unwrap_or_default(), base.path);
                proptest::prop_assert_eq!(BasePath::parse(&again), Ok(base));
            }
        }
    }
}
