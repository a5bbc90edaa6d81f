//! Who has logged in: a bounded number of sessions, each of which ends by itself. They live on the admin endpoint's one
//! arbiter and in no file.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use wharf_actors::UploadId;

use super::access::Fingerprint;

/// The cookie's name.
pub(super) const COOKIE: &str = "wharf_admin";

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// When more log in, the oldest session ends.
const SESSIONS: usize = 64;

/// The sessions that are open, the oldest first.
#[derive(Default)]
pub(super) struct Sessions(VecDeque<Session>);

struct Session {
    /// Of the cookie's value, which is kept nowhere.
    cookie: Fingerprint,
    /// The token that was shown for it: another one ends the session.
    token: Fingerprint,
    ends: Instant,
}

impl Sessions {
    /// Opens a session: the cookie's value, 256 random bits.
    pub(super) fn open(&mut self, token: Fingerprint, now: Instant) -> String {
        let value = format!("{}{}", UploadId::random(), UploadId::random());
        while self.0.len() >= SESSIONS {
            self.0.pop_front();
        }
        self.0.push_back(Session { cookie: Fingerprint::of(value.as_bytes()), token, ends: now + LIFETIME });
        value
    }

    /// Whether one of these cookies' values belongs to a session that was opened with this token.
    pub(super) fn holds(&mut self, values: &[&str], token: Option<Fingerprint>, now: Instant) -> bool {
        self.knows(&fingerprints(values), token, now)
    }

    /// The same, of what stands for their values.
    pub(super) fn knows(&mut self, cookies: &[Fingerprint], token: Option<Fingerprint>, now: Instant) -> bool {
        self.0.retain(|session| session.ends > now && Some(session.token) == token);
        self.0.iter().any(|session| cookies.contains(&session.cookie))
    }

    /// Ends the session.
    pub(super) fn close(&mut self, values: &[&str]) {
        let closed = fingerprints(values);
        self.0.retain(|session| !closed.contains(&session.cookie));
    }
}

/// What stands for cookies' values.
pub(super) fn fingerprints(values: &[&str]) -> Vec<Fingerprint> {
    values.iter().map(|value| Fingerprint::of(value.as_bytes())).collect()
}

/// The values of our cookie in `Cookie` headers. There may be several: anybody on the host can set one.
pub(super) fn values<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Vec<&'a str> {
    let texts = headers.filter_map(|header| std::str::from_utf8(header).ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).take(8).collect()
}

/// `Set-Cookie` for a session.
pub(super) fn set(value: &str, is_tls: bool) -> String {
    let secure = if is_tls { "; Secure" } else { "" };
    format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}", LIFETIME.as_secs())
}

/// `Set-Cookie` that takes the cookie back.
pub(super) fn unset() -> String {
    format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Fingerprint {
        Fingerprint::of(text.as_bytes())
    }

    #[test]
    fn a_session_ends_by_time_by_logout_and_with_its_token() {
        let (mut sessions, now, token_one) = (Sessions::default(), Instant::now(), token("one"));
        let value = sessions.open(token_one, now);
        assert_eq!(value.len(), 64);
        assert!(sessions.holds(&["x", &value], Some(token_one), now));
        assert!(!sessions.holds(&["x"], Some(token_one), now));
        let last = now + LIFETIME - Duration::from_millis(1);
        assert!(sessions.holds(&[&value], Some(token_one), last));
        sessions.close(&[&value]);
        assert!(!sessions.holds(&[&value], Some(token_one), now));
        let value = sessions.open(token_one, now);
        assert!(!sessions.holds(&[&value], Some(token("two")), now));
        assert!(!sessions.holds(&[&value], Some(token_one), now), "what another token has ended stays so");
        let value = sessions.open(token_one, now);
        assert!(!sessions.holds(&[&value], Some(token_one), now + LIFETIME));
    }

    #[test]
    fn there_are_never_too_many() {
        let (mut sessions, now, token) = (Sessions::default(), Instant::now(), token("one"));
        let values: Vec<String> = (0..=SESSIONS).map(|_| sessions.open(token, now)).collect();
        assert!(!sessions.holds(&[&values[0]], Some(token), now));
        assert!(values[1..].iter().all(|value| sessions.holds(&[value], Some(token), now)));
    }

    #[test]
    fn cookies_are_found_among_others() {
        let headers: [&[u8]; 3] = [b"a=b; wharf_admin=1;wharf_admin=2", b"\xff", b"xwharf_admin=3; wharf_admin=4=5"];
        assert_eq!(values(headers.into_iter()), ["1", "2", "4=5"]);
        assert!(set("v", true).ends_with("; Secure") && !set("v", false).contains("Secure"));
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set("v", false).contains(part) && unset().contains(part));
        }
    }
}
