//! Cross-origin requests (the Fetch standard's CORS protocol): which pages may use this server, and what they may see.

use regex_lite::Regex;

use super::{Header, is_plain, media::is_token_byte};

const METHODS: &str = "POST, HEAD, PATCH, OPTIONS, GET, DELETE";

const REQUEST_HEADERS: &str = "Authorization, Origin, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, \
    Content-Type, Upload-Length, Upload-Offset, Tus-Resumable, Upload-Metadata, Upload-Defer-Length, Upload-Concat, \
    Upload-Incomplete, Upload-Complete, Upload-Draft-Interop-Version, Upload-Checksum";

const EXPOSED_HEADERS: &str = "Upload-Offset, Location, Upload-Length, Tus-Version, Tus-Resumable, Tus-Max-Size, \
    Tus-Extension, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Incomplete, Upload-Complete, \
    Upload-Draft-Interop-Version, Upload-Expires, Tus-Checksum-Algorithm";

/// What the operator sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsConfig {
    /// Whether origins are looked at. While off, requests from pages are served like any other, but without the headers
    /// that let pages read the answers.
    pub enabled: bool,
    /// The origins that are let in: a regular expression that must match somewhere, so anchor it.
    pub allow_origin: String,
    /// Whether browsers may send cookies and other credentials.
    pub allow_credentials: bool,
    /// Methods beside the usual ones.
    pub allow_methods: Vec<String>,
    /// Request headers beside the usual ones.
    pub allow_headers: Vec<String>,
    /// Answer headers beside the usual ones.
    pub expose_headers: Vec<String>,
    /// How long a browser may remember a preflight's answer.
    pub max_age_secs: u64,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_origin: ".*".to_owned(),
            allow_credentials: false,
            allow_methods: Vec::new(),
            allow_headers: Vec::new(),
            expose_headers: Vec::new(),
            max_age_secs: 86_400,
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCors {
    /// The expression is none.
    #[error("the allowed origin is not a regular expression")]
    Origin(#[source] regex_lite::Error),
    /// A method or a header's name holds what can't be in one.
    #[error("{0:?} is not the name of a method or header")]
    Name(String),
}

/// The compiled configuration.
#[derive(Debug, Clone)]
pub struct Cors {
    /// `None` while switched off.
    allow_origin: Option<Regex>,
    allow_credentials: bool,
    methods: String,
    request_headers: String,
    exposed_headers: String,
    max_age: String,
}

/// What a request's origin gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsAnswer {
    /// Refused with [`super::Refusal::OriginNotAllowed`], and without any other header of the protocol.
    Refused,
    /// These headers, on errors too.
    Headers(Vec<Header>),
}

impl Cors {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// [`InvalidCors`], with which the server shouldn't start.
    pub fn new(config: &CorsConfig) -> Result<Self, InvalidCors> {
        let allow_origin = Regex::new(&config.allow_origin).map_err(InvalidCors::Origin)?;
        Ok(Self {
            allow_origin: config.enabled.then_some(allow_origin),
            allow_credentials: config.allow_credentials,
            methods: extended(METHODS, &config.allow_methods)?,
            request_headers: extended(REQUEST_HEADERS, &config.allow_headers)?,
            exposed_headers: extended(EXPOSED_HEADERS, &config.expose_headers)?,
            max_age: config.max_age_secs.to_string(),
        })
    }

    /// What a request with this `Origin` gets; `is_options` says whether it is (or may be) a preflight. A request
    /// without an origin doesn't come from a page, and gets nothing.
    #[must_use]
    pub fn answer(&self, origin: Option<&[u8]>, is_options: bool) -> CorsAnswer {
        let (Some(allow_origin), Some(origin)) = (&self.allow_origin, origin.filter(|origin| !origin.is_empty()))
        else {
            return CorsAnswer::Headers(Vec::new());
        };
        let text = std::str::from_utf8(origin).ok().filter(|text| is_plain(origin) && allow_origin.is_match(text));
        let Some(origin) = text else { return CorsAnswer::Refused };
        let mut headers = vec![("access-control-allow-origin", origin.to_owned().into()), ("vary", "Origin".into())];
        if self.allow_credentials {
            headers.push(("access-control-allow-credentials", "true".into()));
        }
        if is_options {
            headers.push(("access-control-allow-methods", self.methods.clone().into()));
            headers.push(("access-control-allow-headers", self.request_headers.clone().into()));
            headers.push(("access-control-max-age", self.max_age.clone().into()));
        } else {
            headers.push(("access-control-expose-headers", self.exposed_headers.clone().into()));
        }
        CorsAnswer::Headers(headers)
    }
}

fn extended(usual: &str, more: &[String]) -> Result<String, InvalidCors> {
    more.iter().try_fold(usual.to_owned(), |list, name| {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(InvalidCors::Name(name.clone()));
        }
        Ok(list + ", " + name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(allow_origin: &str) -> Cors {
        Cors::new(&CorsConfig { allow_origin: allow_origin.to_owned(), ..CorsConfig::default() }).unwrap()
    }

    fn headers(list: &[(&'static str, &str)]) -> CorsAnswer {
        CorsAnswer::Headers(list.iter().map(|(name, value)| (*name, (*value).to_owned().into())).collect())
    }

    #[test]
    fn a_preflight_learns_what_may_be_sent() {
        let expected = headers(&[
            ("access-control-allow-origin", "https://app.example"),
            ("vary", "Origin"),
            ("access-control-allow-methods", "POST, HEAD, PATCH, OPTIONS, GET, DELETE"),
            (
                "access-control-allow-headers",
                "Authorization, Origin, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, Content-Type, \
                 Upload-Length, Upload-Offset, Tus-Resumable, Upload-Metadata, Upload-Defer-Length, Upload-Concat, \
                 Upload-Incomplete, Upload-Complete, Upload-Draft-Interop-Version, Upload-Checksum",
            ),
            ("access-control-max-age", "86400"),
        ]);
        assert_eq!(cors(".*").answer(Some(b"https://app.example"), true), expected);
    }

    #[test]
    fn a_page_learns_what_it_may_read() {
        let config = CorsConfig {
            allow_credentials: true,
            expose_headers: vec!["X-One".to_owned(), "X-Two".to_owned()],
            ..CorsConfig::default()
        };
        let expected = headers(&[
            ("access-control-allow-origin", "null"),
            ("vary", "Origin"),
            ("access-control-allow-credentials", "true"),
            (
                "access-control-expose-headers",
                "Upload-Offset, Location, Upload-Length, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, \
                 Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Incomplete, Upload-Complete, \
                 Upload-Draft-Interop-Version, Upload-Expires, Tus-Checksum-Algorithm, X-One, X-Two",
            ),
        ]);
        assert_eq!(Cors::new(&config).unwrap().answer(Some(b"null"), false), expected);
    }

    #[test]
    fn an_origin_is_let_in_if_the_expression_is_found_in_it() {
        for (expression, origin, is_allowed) in [
            ("example", "https://app.example.evil", true),
            (r"^https://\w+\.example$", "https://app.example", true),
            (r"^https://\w+\.example$", "https://app.example.evil", false),
            (r"(?i)^HTTPS://(a|b)\.example(:\d+)?$", "https://b.example:8443", true),
            ("^$", "https://app.example", false),
            (".*", "https://\u{fc}.example", false),
            (".*", "a\tb", false),
        ] {
            let answer = cors(expression).answer(Some(origin.as_bytes()), false);
            assert_eq!(answer != CorsAnswer::Refused, is_allowed, "{expression} {origin}");
        }
        assert_eq!(cors(".*").answer(Some(b"\xff"), true), CorsAnswer::Refused);
    }

    #[test]
    fn without_an_origin_or_while_off_nothing_is_said() {
        let off = Cors::new(&CorsConfig { enabled: false, allow_origin: "^$".to_owned(), ..CorsConfig::default() });
        assert_eq!(off.unwrap().answer(Some(b"https://app.example"), true), headers(&[]));
        assert_eq!(cors("^x$").answer(None, true), headers(&[]));
        assert_eq!(cors("^x$").answer(Some(b""), true), headers(&[]));
    }

    #[test]
    fn a_bad_configuration_is_an_error() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for config in [
            CorsConfig { allow_origin: "(".to_owned(), ..CorsConfig::default() },
            CorsConfig { allow_methods: names(&["PUT", ""]), ..CorsConfig::default() },
            CorsConfig { allow_headers: names(&["X-A, X-B"]), ..CorsConfig::default() },
            CorsConfig { expose_headers: names(&["X\r\nY"]), ..CorsConfig::default() },
        ] {
            assert!(Cors::new(&config).is_err(), "{config:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_origin_is_refused_or_given_back(origin: Vec<u8>, text in "[ -~]{1,20}") {
            let _ = cors("a+b").answer(Some(&origin), true);
            match cors("").answer(Some(text.as_bytes()), false) {
                CorsAnswer::Headers(headers) => proptest::prop_assert_eq!(&headers[0].1, &text),
                CorsAnswer::Refused => panic!("{text:?} is refused"),
            }
        }
    }
}
