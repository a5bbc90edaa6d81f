//! Who may use the public listener: whoever shows the token that is set, or a signed one (JWT) that says who they are.

mod bearer;
mod crypto;
mod files;
mod jwt;
mod keys;
mod remote;
mod spki;

use sha2::{Digest, Sha256};
use wharf_actors::Claimant;

pub(crate) use files::{FileKeys, KeyFiles, Kind};
pub(crate) use jwt::Rules;
use keys::KeySet;
pub(crate) use remote::{Often, Remote};

use crate::metrics::Cause;

/// Why one is not let in. The cause is counted; what it says is for the log, and may hold what a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) cause: Cause,
    pub(crate) said: String,
}

impl Denied {
    fn new(cause: Cause, said: impl Into<String>) -> Self {
        Self { cause, said: said.into() }
    }
}

/// Signed tokens: what is asked of them, and the keys.
#[derive(Debug, Clone)]
pub(crate) struct Jwt {
    pub(crate) rules: Rules,
    /// From files.
    pub(crate) keys: KeySet,
    /// From a URL.
    pub(crate) remote: Option<Remote>,
}

/// What is asked of requests. Nothing, by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auth {
    /// The digest of the token that is set.
    token: Option<[u8; 32]>,
    jwt: Option<Jwt>,
}

impl Auth {
    pub(crate) fn new(token: Option<&str>, jwt: Option<Jwt>) -> Self {
        Self { token: token.map(digest), jwt }
    }

    /// Whether everybody may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.token.is_none() && self.jwt.is_none()
    }

    /// Whether one who shows this may go on, and on whose behalf. `authorization` are the lines of that name. Who has the
    /// token that is set acts for nobody in particular, and may use all uploads.
    pub(crate) async fn admit(&self, authorization: &[&[u8]]) -> Result<Option<Claimant>, Denied> {
        let token = bearer::token(authorization)?;
        // The digests of two texts tell nothing of the texts, so it doesn't matter how long they take to compare.
        if self.token.is_some_and(|known| known == digest(token)) {
            return Ok(None);
        }
        match &self.jwt {
            Some(jwt) => jwt.check(token).await.map(Some),
            None => Err(Denied::new(Cause::TokenWrong, "it is not the token that is set")),
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Jwt {
    async fn check(&self, token: &str) -> Result<Claimant, Denied> {
        let token = self.rules.read(token)?;
        let Some(remote) = &self.remote else { return self.rules.check(&token, &[&self.keys]) };
        let checked = self.rules.check(&token, &[&self.keys, &remote.keys().unwrap_or_default()]);
        // The keys may have changed since they were fetched.
        let may_be_of_another_key = checked.as_ref().is_err_and(|denied| match denied.cause {
            Cause::TokenKey => true,
            Cause::TokenSignature => !token.names_a_key(),
            _ => false,
        });
        if !may_be_of_another_key {
            return checked;
        }
        remote.refresh().await;
        match remote.keys() {
            Some(keys) => self.rules.check(&token, &[&self.keys, &keys]),
            None => Err(Denied::new(Cause::KeysUnavailable, "the keys could not be fetched yet")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn the_token_that_is_set_opens_and_no_other_does() {
        let auth = Auth::new(Some("0123456789abcdef"), None);
        assert!(!auth.is_open() && Auth::new(None, None).is_open());
        assert_eq!(auth.admit(&[b"Bearer 0123456789abcdef"]).await, Ok(None));
        for (lines, cause) in [
            (&[][..], Cause::TokenMissing),
            (&[&b"Bearer 0123456789abcdeF"[..]], Cause::TokenWrong),
            (&[b"Bearer 0123456789abcdef0"], Cause::TokenWrong),
            (&[b"Basic 0123456789abcdef"], Cause::TokenMissing),
            (&[b"Bearer a", b"Bearer 0123456789abcdef"], Cause::TokenMalformed),
        ] {
            assert_eq!(auth.admit(lines).await.map_err(|denied| denied.cause), Err(cause), "{lines:?}");
        }
    }
}
