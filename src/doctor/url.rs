//! URLs as far as an examination needs them: of http and https, with what a `Location` may look like.

/// The longest URL that is followed.
const MAX_BYTES: usize = 8192;

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_https: bool,
    /// In lower case; IPv6 addresses without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// With the query, if there is one.
    pub(super) path: String,
}

impl Url {
    /// Reads a whole URL. None for one of another scheme, with a name or password in it, or with what can't stand in the
    /// head of a request.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, port) = authority(&rest[..end])?;
        let port = port.unwrap_or(if is_https { 443 } else { 80 });
        Some(Self { is_https, host, port, path: path(&rest[end..])? })
    }

    /// What a `Location` names, seen from here.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        if location.contains("://") && !location.starts_with(['/', '?', '.']) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme()));
        }
        if location.starts_with('/') {
            return Some(Self { path: without_dots(&path(location)?), ..self.clone() });
        }
        let own = self.path.split('?').next().unwrap_or_default();
        let directory = own.rfind('/').map_or("/", |slash| &own[..=slash]);
        Some(Self { path: without_dots(&path(&format!("{directory}{location}"))?), ..self.clone() })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// Host and port, as they stand in `Host` and `Origin`.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_https, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }
}

fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(Some(port).filter(|port| port.is_empty()))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | ':');
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    (!host.is_empty() && host.chars().all(is_name)).then(|| (host.to_ascii_lowercase(), port))
}

/// Path and query as a request has them, if each letter of them may stand there.
fn path(text: &str) -> Option<String> {
    let text = text.split('#').next().unwrap_or_default();
    let is_fit = text.len() <= MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let slash = if text.starts_with('/') { "" } else { "/" };
    is_fit.then(|| format!("{slash}{text}"))
}

fn without_dots(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn urls_are_read() {
        let seen = url("https://Example.com/files/?a=b#c");
        assert_eq!((seen.is_https, seen.host.as_str(), seen.port), (true, "example.com", 443));
        assert_eq!((seen.path.as_str(), seen.authority()), ("/files/?a=b", "example.com".to_owned()));
        assert_eq!(url("http://a:81").origin(), "http://a:81");
        assert_eq!(url("http://a:80").path, "/");
        let six = url("http://[::1]:8080/files/");
        assert_eq!((six.host.as_str(), six.authority()), ("::1", "[::1]:8080".to_owned()));
        assert_eq!(url("http://[::1]/").authority(), "[::1]");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for wrong in [
            "",
            "example.com/files/",
            "ftp://a/",
            "http://",
            "http:///a",
            "http://u:p@a/",
            "http://a:x/",
            "http://a:70000/",
            "http://[::1",
            "http://[x]/",
            "http://[::1]x/",
            "http://a/b c",
            "http://a/\r\nx",
            "http://a/\u{e9}",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(Url::parse(&format!("http://a/{}", "x".repeat(MAX_BYTES))), None);
    }

    #[test]
    fn locations_are_resolved() {
        let base = url("https://a/up/files/?x");
        for (location, expected) in [
            ("/files/1", "https://a/files/1"),
            ("1+2", "https://a/up/files/1+2"),
            ("./1", "https://a/up/files/1"),
            ("../1?q", "https://a/up/1?q"),
            ("/../..", "https://a/"),
            ("//b/1", "https://b/1"),
            ("http://b:8080/1", "http://b:8080/1"),
        ] {
            assert_eq!(base.join(location), Some(url(expected)), "{location}");
        }
        for wrong in ["http://b:x/1", "/a b", "javascript://a/", "\u{1b}[2J"] {
            assert_eq!(base.join(wrong), None, "{wrong:?}");
        }
    }
}
