//! Who may ask: the request's Host and Origin, and what it shows for itself.
//!
//! A page of any site can make its visitor's browser send requests to 127.0.0.1. It can't choose their `Host` (unless its
//! name is made to point here, which is why names are checked) nor hide their `Origin`.

use std::{
    hint::black_box,
    net::{IpAddr, SocketAddr},
};

use sha2::{Digest, Sha256};

use super::answer::Problem;

/// Who may ask, as it is set now.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The digest of the token; `None` when none is needed.
    token: Option<Fingerprint>,
    /// Names besides `localhost` and the address, in small letters.
    hosts: Vec<String>,
    /// Where the listener is, if it has an address.
    address: Option<SocketAddr>,
}

/// Stands for a secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint([u8; 32]);

/// Takes as long whatever is equal.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |differing, (one, two)| black_box(differing | (one ^ two)));
        differing == 0
    }
}

impl Fingerprint {
    pub(super) fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

/// What a request says of where it comes from and who sends it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claims<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) origin: Option<&'a [u8]>,
    /// What a browser says of the page behind the request.
    pub(super) fetch_site: Option<&'a [u8]>,
    pub(super) authorization: Option<&'a [u8]>,
    /// Whether its cookie is one of ours.
    pub(super) has_session: bool,
}

/// What a request showed for itself, kept as long as its answer goes on.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    /// Of the token in the `Authorization`, if there was one.
    token: Option<Fingerprint>,
    /// Of the cookies that may be sessions.
    pub(super) cookies: Vec<Fingerprint>,
}

impl Pass {
    pub(super) fn new(authorization: Option<&[u8]>, cookies: Vec<Fingerprint>) -> Self {
        Self { token: authorization.and_then(bearer).map(Fingerprint::of), cookies }
    }
}

impl Access {
    pub(crate) fn new(token: Option<&str>, hosts: Vec<String>, address: Option<SocketAddr>) -> Self {
        Self { token: token.map(|token| Fingerprint::of(token.as_bytes())), hosts, address }
    }

    /// Where the listener is, if it has an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The digest of the token that is set.
    pub(super) fn token(&self) -> Option<Fingerprint> {
        self.token
    }

    /// Whether this is the token; anything is where none is set.
    pub(super) fn is_token(&self, given: &[u8]) -> bool {
        self.token.is_none_or(|token| token == Fingerprint::of(given))
    }

    /// Whether the request means this server, and comes from no page of another.
    pub(super) fn check_place(&self, claims: &Claims<'_>, is_change: bool) -> Result<(), Problem> {
        let host = claims.host.and_then(|host| std::str::from_utf8(host).ok()).map(str::to_ascii_lowercase);
        let Some(host) = host.filter(|host| self.is_ours(host)) else {
            return Err(Problem::forbidden("the Host is none of ours: see admin.hosts"));
        };
        if let Some(origin) = claims.origin {
            let origin = std::str::from_utf8(origin).unwrap_or_default().to_ascii_lowercase();
            // TLS may end before us, so the scheme says nothing; the rest must be the Host, port and all.
            let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if site != Some(host.as_str()) {
                return Err(Problem::forbidden("the Origin is another site"));
            }
        }
        let is_foreign = |site: &[u8]| !matches!(site, b"same-origin" | b"none");
        if is_change && claims.fetch_site.is_some_and(is_foreign) {
            return Err(Problem::forbidden("the request comes from another site"));
        }
        Ok(())
    }

    /// Whether the request shows what must be shown.
    pub(super) fn check_right(&self, claims: &Claims<'_>, is_change: bool) -> Result<(), Problem> {
        let Some(token) = self.token else { return Ok(()) };
        match claims.authorization.map(bearer) {
            Some(Some(given)) if Fingerprint::of(given) == token => Ok(()),
            Some(_) => Err(Problem::unauthorized("the token is wrong")),
            None if !claims.has_session => Err(Problem::unauthorized("a token is needed")),
            // Browsers send the cookie along by themselves, and an Origin with every change.
            None if is_change && claims.origin.is_none() => {
                Err(Problem::forbidden("a change by cookie needs an Origin"))
            }
            None => Ok(()),
        }
    }

    /// Whether what was let in once still would be, with a session if it is one that is open.
    pub(super) fn still_admits(&self, pass: &Pass, has_session: bool) -> bool {
        let Some(token) = self.token else { return true };
        pass.token.map_or(has_session, |given| given == token)
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        if name == "localhost" || self.hosts.iter().any(|known| known == name) {
            return true;
        }
        // No browser gets to a Unix socket but through a proxy, whose names are set.
        let Some(bound) = self.address else { return false };
        let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return false };
        // A name can be made to point here, an address can't: where all are bound, any will do.
        let (bound, address) = (bound.ip().to_canonical(), address.to_canonical());
        bound == address || bound.is_unspecified()
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The token in an `Authorization` (RFC 6750, 2.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-some-length";

    fn access(token: Option<&str>, address: &str) -> Access {
        Access::new(token, vec!["wharf.example".to_owned()], address.parse().ok())
    }

    fn place<'a>(host: &'a str, origin: Option<&'a str>) -> Claims<'a> {
        Claims { host: Some(host.as_bytes()), origin: origin.map(str::as_bytes), ..Claims::default() }
    }

    #[test]
    fn only_our_own_hosts_are_served() {
        let bound = access(None, "127.0.0.1:8081");
        for host in ["127.0.0.1:8081", "127.0.0.1", "localhost:9000", "LOCALHOST", "wharf.example", "Wharf.Example:443"]
        {
            assert_eq!(bound.check_place(&place(host, None), true), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8081",
            "localhost.evil.example",
            "127.0.0.2:8081",
            "[::1]:8081",
            "wharf.example.",
            "localhost:8081@evil.example",
            "127.0.0.1.evil.example",
            "x:",
        ] {
            assert_eq!(bound.check_place(&place(host, None), false).unwrap_err().status, 403, "{host}");
        }
        assert_eq!(bound.check_place(&Claims::default(), false).unwrap_err().status, 403);
        let anywhere = access(None, "[::]:8081");
        for host in ["10.1.2.3:8081", "[2001:db8::1]", "localhost"] {
            assert_eq!(anywhere.check_place(&place(host, None), false), Ok(()), "{host}");
        }
        assert!(anywhere.check_place(&place("evil.example", None), false).is_err());
        let at_a_path = access(None, "");
        for (host, is_ours) in [("localhost", true), ("wharf.example", true), ("127.0.0.1", false), ("[::]", false)] {
            assert_eq!(at_a_path.check_place(&place(host, None), true).is_ok(), is_ours, "{host}");
        }
        assert!(access(None, "[::1]:8081").check_place(&place("[::1]:8081", None), false).is_ok());
    }

    #[test]
    fn another_sites_pages_get_nothing() {
        let bound = access(None, "127.0.0.1:8081");
        let host = "127.0.0.1:8081";
        for origin in ["http://127.0.0.1:8081", "https://127.0.0.1:8081", "HTTP://127.0.0.1:8081"] {
            assert_eq!(bound.check_place(&place(host, Some(origin)), true), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:3000",
            "http://localhost:8081",
            "http://evil.example",
            "127.0.0.1:8081",
            "ftp://127.0.0.1:8081",
            "http://127.0.0.1:8081/",
        ] {
            for is_change in [false, true] {
                let refused = bound.check_place(&place(host, Some(origin)), is_change);
                assert_eq!(refused.unwrap_err().status, 403, "{origin}");
            }
        }
        for (site, may) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
        {
            let claims = Claims { fetch_site: Some(site.as_bytes()), ..place(host, None) };
            assert_eq!(bound.check_place(&claims, true).is_ok(), may, "{site}");
            assert!(bound.check_place(&claims, false).is_ok(), "a link from elsewhere may be followed");
        }
    }

    #[test]
    fn the_token_must_be_the_token() {
        let access = access(Some(TOKEN), "0.0.0.0:8081");
        let with = |authorization: &str, has_session| {
            let claims = Claims { authorization: Some(authorization.as_bytes()), has_session, ..Claims::default() };
            access.check_right(&claims, true).map_err(|problem| problem.status)
        };
        assert_eq!(with(&format!("Bearer {TOKEN}"), false), Ok(()));
        assert_eq!(with(&format!("bearer   {TOKEN}"), false), Ok(()));
        for wrong in ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", TOKEN, "Bearer a-token-of-some-lengt"] {
            // A wrong one is not made good by a cookie.
            assert_eq!((with(wrong, false), with(wrong, true)), (Err(401), Err(401)), "{wrong}");
        }
        assert!(access.is_token(TOKEN.as_bytes()) && !access.is_token(b""));
    }

    #[test]
    fn a_cookie_changes_nothing_without_an_origin() {
        let access = access(Some(TOKEN), "0.0.0.0:8081");
        let cookie = Claims { has_session: true, ..Claims::default() };
        let with_origin = Claims { origin: Some(b"http://x"), ..cookie };
        let status =
            |claims: &Claims<'_>, is_change| access.check_right(claims, is_change).map_err(|problem| problem.status);
        assert_eq!(
            (status(&cookie, false), status(&cookie, true), status(&with_origin, true)),
            (Ok(()), Err(403), Ok(()))
        );
        assert_eq!(status(&Claims::default(), false), Err(401));
    }
}
