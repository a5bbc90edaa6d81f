//! Where a hook is: a URL, and who one is there.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    Uri,
    header::HeaderValue,
    http::uri::{Authority, Parts, PathAndQuery},
};

use crate::hooks::SetupError;

/// A URL taken apart.
pub(in crate::hooks) struct Target {
    /// Without a user.
    pub(in crate::hooks) uri: Uri,
    /// The user and the password, ready to be sent.
    pub(in crate::hooks) authorization: Option<HeaderValue>,
    /// Whether it is asked over TLS.
    pub(in crate::hooks) is_secure: bool,
}

impl Target {
    /// Takes apart a whole URL by `http` or `https`. What is wrong is said without the URL: it may have a password.
    pub(in crate::hooks) fn parse(url: &str) -> Result<Self, SetupError> {
        let wrong = |problem: &str| SetupError::new("url", problem);
        let mut parts: Parts = url.parse::<Uri>().map_err(|_| wrong("is no URL"))?.into_parts();
        let scheme = parts.scheme.as_ref().map(|scheme| scheme.as_str().to_owned());
        let is_secure = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        let authority = parts.authority.take().ok_or_else(|| wrong("has no host"))?;
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        let host = host.parse::<Authority>().map_err(|_| wrong("has no host that can be reached"))?;
        if host.host().is_empty() {
            return Err(wrong("has no host"));
        }
        let authorization = user.map(basic).transpose().map_err(|()| wrong("has a user that can't be read"))?;
        parts.authority = Some(host);
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(parts).map_err(|_| wrong("is no URL"))?;
        Ok(Self { uri, authorization, is_secure })
    }
}

/// What a user and a password are sent as.
fn basic(user: &str) -> Result<HeaderValue, ()> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let pair = [decoded(name)?, b":".to_vec(), decoded(password)?].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Bytes that may be written as `%` and two digits.
fn decoded(text: &str) -> Result<Vec<u8>, ()> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or(())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ())?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, uri, authorization, is_secure) in [
            ("http://localhost", "http://localhost/", None, false),
            ("https://h.example:8443/a/b?c=d", "https://h.example:8443/a/b?c=d", None, true),
            ("http://[::1]:80/x", "http://[::1]:80/x", None, false),
            ("http://a:b@h/x", "http://h/x", Some("Basic YTpi"), false),
            ("http://a@h/x", "http://h/x", Some("Basic YTo="), false),
            ("https://us%40er:p%3Aw%c3%bc@h", "https://h/", Some("Basic dXNAZXI6cDp3w7w="), true),
        ] {
            let target = Target::parse(url).unwrap();
            let sent = target.authorization.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!((&*target.uri.to_string(), sent, target.is_secure), (uri, authorization, is_secure), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_repeated() {
        for url in
            ["", "hook", "/hook", "h.example/hook", "ftp://h/", "http://", "http://secret%4@h/", "http://secret:%@h"]
        {
            let error = Target::parse(url).map(|target| target.uri).expect_err(url);
            assert_eq!(error.field, "url");
            assert!(!error.problem.contains("secret"), "{error}");
        }
    }
}
