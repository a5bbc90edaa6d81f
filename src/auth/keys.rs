//! The keys that tokens may be signed with. Each is for one algorithm, which is settled here and never by a token.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::{
    crypto,
    spki::{self, PublicKey},
};

/// RFC 7518, 3.2: as long as the hash at least.
const SECRET_MIN_BYTES: usize = 32;
/// RFC 7518, 3.3: 2048 bits at least; ring takes 8192 at most.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// More keys than anybody has: each is tried where a token names none.
const MOST_KEYS: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Its name, if it has one.
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// Keys that belong together. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeySet(Arc<[Key]>);

/// Whether a set of keys may hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    Taken,
    /// They were not fetched from where they are secret.
    Ignored,
}

impl KeySet {
    /// The content of a file with a secret, for HS256. A line's end behind it is not part of it.
    pub(crate) fn of_secret(file: &[u8]) -> Result<Self, String> {
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        // Who knows the public key could sign with it.
        if secret.windows(10).any(|bytes| bytes == b"-----BEGIN") {
            return Err("holds a key in PEM, which is no secret".to_owned());
        }
        if secret.len() < SECRET_MIN_BYTES {
            return Err(format!("must hold a secret of at least {SECRET_MIN_BYTES} bytes"));
        }
        Ok(Self::with(vec![hs256(None, secret)]))
    }

    /// The content of a PEM file with public keys, for RS256 or ES256 as they are.
    pub(crate) fn of_pem(file: &[u8]) -> Result<Self, String> {
        let keys = spki::read_all(file)?.into_iter().map(|key| match key {
            PublicKey::Rsa { modulus, exponent } => rs256(None, &modulus, &exponent),
            PublicKey::P256(point) => es256(None, point),
        });
        keys.collect::<Result<_, _>>().map(Self::with)
    }

    /// A set of keys in JSON (RFC 7517). Keys for other ends and other algorithms are passed over.
    pub(crate) fn of_jwks(json: &[u8], secrets: Secrets) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(json).map_err(|error| format!("is no JSON: {error}"))?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or("is no set of keys: it has no list `keys`")?;
        let keys: Vec<Key> = keys.iter().take(MOST_KEYS).filter_map(|jwk| of_jwk(jwk, secrets)).collect();
        if keys.is_empty() {
            return Err("has no key for RS256, ES256 or HS256".to_owned());
        }
        Ok(Self::with(keys))
    }

    /// All of both.
    pub(crate) fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&*others.0).cloned().collect())
    }

    fn with(keys: Vec<Key>) -> Self {
        crypto::install();
        Self(keys.into())
    }

    /// The keys that may have signed what names this key and this algorithm.
    pub(super) fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        let is_named = move |key: &&Key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
        self.0.iter().filter(is_named).filter(move |key| key.algorithm == algorithm)
    }
}

fn hs256(kid: Option<String>, secret: &[u8]) -> Key {
    Key { kid, algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(secret) }
}

fn rs256(kid: Option<String>, modulus: &[u8], exponent: &[u8]) -> Result<Key, String> {
    if !MODULUS_BYTES.contains(&modulus.len()) || modulus[0] < 0x80 && modulus.len() == *MODULUS_BYTES.start() {
        return Err("the RSA key must have 2048 to 8192 bits".to_owned());
    }
    let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
    Ok(Key { kid, algorithm: Algorithm::RS256, decoding })
}

fn es256(kid: Option<String>, point: Vec<u8>) -> Result<Key, String> {
    if point.len() != 65 || point[0] != 4 {
        return Err("the ECDSA key must be a whole point of P-256".to_owned());
    }
    Ok(Key { kid, algorithm: Algorithm::ES256, decoding: DecodingKey::from_ec_der(&point) })
}

/// One key of a set, if it is one that is used here.
fn of_jwk(jwk: &Value, secrets: Secrets) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(decoded);
    let is_for_signatures = text("use").is_none_or(|purpose| purpose == "sig");
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    let may_verify = operations.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    let is_for = |algorithm: &str| text("alg").is_none_or(|said| said == algorithm);
    let kid = text("kid").map(str::to_owned);
    if !is_for_signatures || !may_verify {
        return None;
    }
    match text("kty")? {
        "RSA" if is_for("RS256") => rs256(kid, &without_zeros(bytes("n")?), &bytes("e")?).ok(),
        "EC" if is_for("ES256") && text("crv") == Some("P-256") => {
            es256(kid, [&[4], bytes("x")?.as_slice(), bytes("y")?.as_slice()].concat()).ok()
        }
        "oct" if is_for("HS256") && secrets == Secrets::Taken => {
            bytes("k").filter(|secret| secret.len() >= SECRET_MIN_BYTES).map(|secret| hs256(kid, &secret))
        }
        _ => None,
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::auth) const RSA_PEM: &str = include_str!("../../tests/support/keys/rsa.pub.pem");
    pub(in crate::auth) const EC_PEM: &str = include_str!("../../tests/support/keys/ec.pub.pem");

    fn names(keys: &KeySet) -> Vec<(Option<&str>, Algorithm)> {
        keys.0.iter().map(|key| (key.kid.as_deref(), key.algorithm)).collect()
    }

    #[test]
    fn a_secret_is_long_and_no_public_key() {
        let secret = [b'x'; 32];
        for end in ["", "\n", "\r\n"] {
            let keys = KeySet::of_secret(&[&secret[..], end.as_bytes()].concat()).unwrap();
            assert_eq!(keys.0[0].decoding.as_bytes(), secret);
        }
        assert!(KeySet::of_secret(&secret[1..]).unwrap_err().contains("at least 32 bytes"));
        for pem in [RSA_PEM, EC_PEM] {
            assert!(KeySet::of_secret(pem.as_bytes()).unwrap_err().contains("no secret"));
        }
    }

    #[test]
    fn the_algorithm_is_that_of_the_key() {
        let keys = KeySet::of_pem([RSA_PEM, EC_PEM].concat().as_bytes()).unwrap();
        assert_eq!(names(&keys), [(None, Algorithm::RS256), (None, Algorithm::ES256)]);
        assert_eq!(keys.candidates(Some("any"), Algorithm::ES256).count(), 1);
        assert_eq!(keys.candidates(None, Algorithm::HS256).count(), 0);
        assert!(KeySet::of_pem(b"secret").is_err());
    }

    #[test]
    fn of_a_set_the_keys_for_signatures_are_taken() {
        let (x, k) = ("A".repeat(43), "c".repeat(43));
        let n = format!("gA{}", "A".repeat(340));
        let set = format!(
            r#"{{"keys":[
              {{"kty":"EC","crv":"P-256","kid":"ec","x":"{x}","y":"{x}","alg":"ES256"}},
              {{"kty":"RSA","kid":"rsa","n":"{n}","e":"AQAB","use":"sig","key_ops":["verify"]}},
              {{"kty":"oct","kid":"oct","k":"{k}"}},
              {{"kty":"oct","kid":"short","k":"AAAA"}},
              {{"kty":"RSA","kid":"small","n":"gAAA","e":"AQAB"}},
              {{"kty":"RSA","kid":"enc","n":"{n}","e":"AQAB","use":"enc"}},
              {{"kty":"RSA","kid":"pss","n":"{n}","e":"AQAB","alg":"PS256"}},
              {{"kty":"RSA","kid":"wrap","n":"{n}","e":"AQAB","key_ops":["wrapKey"]}},
              {{"kty":"EC","crv":"P-384","kid":"384","x":"{x}","y":"{x}"}},
              {{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{x}"}}, {{}}, 7]}}"#
        );
        let keys = KeySet::of_jwks(set.as_bytes(), Secrets::Taken).unwrap();
        let [ec, rsa, oct] = [("ec", Algorithm::ES256), ("rsa", Algorithm::RS256), ("oct", Algorithm::HS256)]
            .map(|(kid, algorithm)| (Some(kid), algorithm));
        assert_eq!(names(&keys), [ec, rsa, oct]);
        assert_eq!(names(&KeySet::of_jwks(set.as_bytes(), Secrets::Ignored).unwrap()), [ec, rsa]);
        assert_eq!(keys.candidates(Some("ec"), Algorithm::ES256).count(), 1);
        assert_eq!(keys.candidates(Some("ec"), Algorithm::RS256).count(), 0);
        assert_eq!(keys.candidates(None, Algorithm::RS256).count(), 1);
        for wrong in ["", "[]", "{}", r#"{"keys":7}"#, r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
            assert!(KeySet::of_jwks(wrong.as_bytes(), Secrets::Taken).is_err(), "{wrong}");
        }
    }
}
