//! Signed tokens (RFC 7519): whether one is to be believed, and whose it is.

use jsonwebtoken::{
    Algorithm, Header, Validation, decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde_json::{Map, Value};
use wharf_actors::{Claimant, Reach};

use super::{
    Denied,
    keys::{Key, KeySet},
};
use crate::metrics::Cause;

/// The longest name of somebody that is taken: it is stored with each upload.
const SUBJECT_MAX_BYTES: usize = 255;

/// A claim and the value that it must have.
pub(crate) type Expected = (String, String);

/// What is asked of tokens beside their signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Who must have issued them: one of these. Empty: anybody.
    pub(crate) issuers: Vec<String>,
    /// Whom they must be meant for: one of these. Empty: they must be meant for nobody in particular.
    pub(crate) audiences: Vec<String>,
    /// Further claims.
    pub(crate) claims: Vec<Expected>,
    /// The claim that says whose they are.
    pub(crate) subject: String,
    /// The claim of those who may use all uploads.
    pub(crate) superuser: Option<Expected>,
    /// How far clocks may be apart.
    pub(crate) leeway_secs: u64,
    /// The longest that is looked at.
    pub(crate) max_bytes: usize,
    /// Whether uploads of nobody's are everybody's.
    pub(crate) unowned: bool,
}

/// A token whose head has been read, and nothing been believed of.
pub(super) struct Token<'a> {
    text: &'a str,
    header: Header,
}

impl Token<'_> {
    /// Whether it says by which key it was signed.
    pub(super) fn names_a_key(&self) -> bool {
        self.header.kid.is_some()
    }
}

impl Rules {
    /// Reads a token's head.
    pub(super) fn read<'a>(&self, text: &'a str) -> Result<Token<'a>, Denied> {
        if text.len() > self.max_bytes {
            let said = format!("it has {} bytes, of at most {}", text.len(), self.max_bytes);
            return Err(Denied::new(Cause::TokenTooLong, said));
        }
        // An algorithm that is not known, `none` among them, is an error here.
        let header = decode_header(text).map_err(|error| Denied::new(Cause::TokenMalformed, error.to_string()))?;
        // RFC 7515, 4.1.11: who does not understand what is critical must refuse.
        if header.crit.is_some() {
            return Err(Denied::new(Cause::TokenMalformed, "it has critical headers, and none is known here"));
        }
        Ok(Token { text, header })
    }

    /// Checks the signature and all that the token claims.
    pub(super) fn check(&self, token: &Token<'_>, keys: &[&KeySet]) -> Result<Claimant, Denied> {
        let Header { alg, kid, .. } = &token.header;
        let mut denied = Denied::new(Cause::TokenKey, format!("there is no key for {alg:?} by the name {kid:?}"));
        for key in keys.iter().flat_map(|keys| keys.candidates(kid.as_deref(), *alg)) {
            match self.verify(token, key) {
                Ok(claims) => return self.claimant(&claims),
                // Of a token that names no key any may be the one.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => denied = explained(&error),
                Err(error) => return Err(explained(&error)),
            }
        }
        Err(denied)
    }

    fn verify(&self, token: &Token<'_>, key: &Key) -> Result<Map<String, Value>, Error> {
        decode(token.text, &key.decoding, &self.validation(key.algorithm)).map(|decoded| decoded.claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway_secs;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn claimant(&self, claims: &Map<String, Value>) -> Result<Claimant, Denied> {
        if let Some((name, _)) = self.claims.iter().find(|expected| !has(claims, expected)) {
            return Err(Denied::new(Cause::TokenClaim, format!("the claim {name} is not as it must be")));
        }
        let subject = claims.get(&self.subject).and_then(Value::as_str).filter(|subject| is_subject(subject));
        let Some(subject) = subject else {
            return Err(Denied::new(Cause::TokenClaim, format!("the claim {} names nobody", self.subject)));
        };
        let is_superuser = self.superuser.as_ref().is_some_and(|expected| has(claims, expected));
        let reach = match (is_superuser, self.unowned) {
            (true, _) => Reach::All,
            (false, true) => Reach::OwnAndUnowned,
            (false, false) => Reach::Own,
        };
        Ok(Claimant { subject: subject.into(), reach })
    }
}

fn is_subject(text: &str) -> bool {
    (1..=SUBJECT_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether a claim is this value, or a list with it.
fn has(claims: &Map<String, Value>, (name, value): &Expected) -> bool {
    let is = |claim: &Value| match claim {
        Value::String(text) => text == value,
        Value::Bool(_) | Value::Number(_) => claim.to_string() == *value,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match claims.get(name) {
        Some(Value::Array(all)) => all.iter().any(is),
        Some(one) => is(one),
        None => false,
    }
}

fn explained(error: &Error) -> Denied {
    let cause = match error.kind() {
        ErrorKind::InvalidSignature => Cause::TokenSignature,
        ErrorKind::ExpiredSignature => Cause::TokenExpired,
        ErrorKind::ImmatureSignature => Cause::TokenNotYetValid,
        ErrorKind::InvalidIssuer => Cause::TokenIssuer,
        ErrorKind::InvalidAudience => Cause::TokenAudience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::InvalidSubject => {
            Cause::TokenClaim
        }
        _ => Cause::TokenMalformed,
    };
    Denied::new(cause, error.to_string())
}

#[cfg(test)]
mod tests;
