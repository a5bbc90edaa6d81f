//! Tokens that are right, and every way in which one may be wrong.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;
use crate::auth::keys::{
    Secrets,
    tests::{EC_PEM, RSA_PEM},
};

#[path = "../../../tests/support/tokens/sign.rs"]
mod sign;

use sign::{SECRET, by_ec, by_rsa, by_secret, part, token};

fn rules() -> Rules {
    Rules {
        issuers: Vec::new(),
        audiences: Vec::new(),
        claims: Vec::new(),
        subject: "sub".to_owned(),
        superuser: None,
        leeway_secs: 60,
        max_bytes: 8192,
        unowned: false,
    }
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn ann() -> Value {
    json!({"sub": "ann", "exp": now() + 600})
}

fn hs256(claims: &Value) -> String {
    token(&json!({"alg": "HS256"}), claims, by_secret(SECRET))
}

fn check(rules: &Rules, keys: &KeySet, text: &str) -> Result<Claimant, Cause> {
    rules.read(text).and_then(|token| rules.check(&token, &[keys])).map_err(|denied| denied.cause)
}

fn secret() -> KeySet {
    KeySet::of_secret(SECRET).unwrap()
}

fn public() -> KeySet {
    KeySet::of_pem([RSA_PEM, EC_PEM].concat().as_bytes()).unwrap()
}

#[test]
fn each_algorithm_is_verified_with_its_key() {
    let all = secret().and(&public());
    let subject = |text: &str, keys: &KeySet| check(&rules(), keys, text).map(|claimant| claimant.subject.to_string());
    let of_rsa = token(&json!({"alg": "RS256", "typ": "JWT"}), &ann(), by_rsa);
    let of_ec = token(&json!({"alg": "ES256"}), &ann(), by_ec);
    for text in [hs256(&ann()), of_rsa, of_ec] {
        assert_eq!(subject(&text, &all).as_deref(), Ok("ann"));
        assert_eq!(subject(&text, &KeySet::default()), Err(Cause::TokenKey));
        // Not one bit may be another: not of the head, nor of the claims, nor of the signature.
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(subject(&forged, &all), Err(Cause::TokenSignature));
        let (header, _) = signed.split_once('.').unwrap();
        let forged = format!("{header}.{}.{signature}", part(&json!({"sub": "bob", "exp": now() + 600})));
        assert_eq!(subject(&forged, &all), Err(Cause::TokenSignature));
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_checked() {
    let keys = public();
    // Who knows the public key signs with it as if it were a secret.
    for pem in [RSA_PEM, EC_PEM] {
        for secret in [pem, pem.trim_end()] {
            let forged = token(&json!({"alg": "HS256"}), &ann(), by_secret(secret.as_bytes()));
            assert_eq!(check(&rules(), &keys, &forged), Err(Cause::TokenKey));
        }
    }
    for (algorithm, expected) in [
        ("none", Cause::TokenMalformed),
        ("None", Cause::TokenMalformed),
        ("NONE", Cause::TokenMalformed),
        ("", Cause::TokenMalformed),
        ("HS384", Cause::TokenKey),
        ("RS512", Cause::TokenKey),
        ("PS256", Cause::TokenKey),
        ("ES384", Cause::TokenKey),
        ("EdDSA", Cause::TokenKey),
        ("ES256", Cause::TokenSignature),
        ("RS256", Cause::TokenSignature),
    ] {
        let header = json!({"alg": algorithm});
        for signature in [Vec::new(), vec![0; 64], vec![0; 256]] {
            let forged = token(&header, &ann(), |_| signature);
            assert_eq!(check(&rules(), &keys, &forged), Err(expected), "{algorithm}");
        }
        let unsigned = format!("{}.{}.", part(&header), part(&ann()));
        assert_eq!(check(&rules(), &keys, &unsigned), Err(expected), "{algorithm}");
    }
    // Keys that a token brings along, or says where to find, are nobody's.
    let own =
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}, "jku": "http://127.0.0.1/"});
    assert_eq!(check(&rules(), &keys, &token(&own, &ann(), by_secret(SECRET))), Err(Cause::TokenKey));
    let critical = json!({"alg": "HS256", "crit": ["exp"]});
    assert_eq!(check(&rules(), &secret(), &token(&critical, &ann(), by_secret(SECRET))), Err(Cause::TokenMalformed));
}

#[test]
fn a_key_that_is_named_is_the_one_that_counts() {
    let set = |kid: &str, secret: &[u8]| {
        let k = URL_SAFE_NO_PAD.encode(secret);
        KeySet::of_jwks(json!({"keys": [{"kty": "oct", "kid": kid, "k": k}]}).to_string().as_bytes(), Secrets::Taken)
    };
    let keys = set("one", SECRET).unwrap().and(&set("two", &[7; 32]).unwrap());
    let named = |kid: &str, secret| token(&json!({"alg": "HS256", "kid": kid}), &ann(), by_secret(secret));
    assert!(check(&rules(), &keys, &named("one", SECRET)).is_ok());
    assert!(check(&rules(), &keys, &named("two", &[7; 32])).is_ok());
    assert_eq!(check(&rules(), &keys, &named("two", SECRET)), Err(Cause::TokenSignature));
    assert_eq!(check(&rules(), &keys, &named("three", SECRET)), Err(Cause::TokenKey));
    // One that names none may be of any.
    assert!(check(&rules(), &keys, &token(&json!({"alg": "HS256"}), &ann(), by_secret(&[7; 32]))).is_ok());
}

#[test]
fn a_token_has_its_time() {
    let (keys, mut rules) = (secret(), rules());
    let timed = |exp: i64, nbf: i64| {
        let at = |offset: i64| now().saturating_add_signed(offset);
        hs256(&json!({"sub": "ann", "exp": at(exp), "nbf": at(nbf)}))
    };
    for (exp, nbf, expected) in [
        (600, -600, None),
        (-30, -600, None),
        (-3600, -7200, Some(Cause::TokenExpired)),
        (7200, 30, None),
        (7200, 3600, Some(Cause::TokenNotYetValid)),
    ] {
        assert_eq!(check(&rules, &keys, &timed(exp, nbf)).err(), expected, "{exp} {nbf}");
    }
    rules.leeway_secs = 0;
    assert_eq!(check(&rules, &keys, &timed(-30, -600)).err(), Some(Cause::TokenExpired));
    assert_eq!(check(&rules, &keys, &timed(7200, 3600)).err(), Some(Cause::TokenNotYetValid));
    // What is no time is none.
    for claims in [
        json!({"sub": "ann"}),
        json!({"sub": "ann", "exp": null}),
        json!({"sub": "ann", "exp": "9999999999"}),
        json!({"sub": "ann", "exp": -1}),
        json!({"sub": "ann", "exp": now() + 600, "nbf": "0"}),
    ] {
        assert!(check(&rules, &keys, &hs256(&claims)).is_err(), "{claims}");
    }
}

#[test]
fn claims_are_as_they_must_be() {
    let mut rules = rules();
    rules.issuers = vec!["https://id.example".to_owned(), "other".to_owned()];
    rules.audiences = vec!["wharf".to_owned()];
    rules.claims = vec![("role".to_owned(), "up".to_owned()), ("level".to_owned(), "3".to_owned())];
    let right = json!({"sub": "ann", "exp": now() + 600, "iss": "other", "aud": ["x", "wharf"], "role": ["up", "down"], "level": 3});
    assert!(check(&rules, &secret(), &hs256(&right)).is_ok());
    for (name, value, expected) in [
        ("iss", json!("https://id.example.evil"), Cause::TokenIssuer),
        ("iss", Value::Null, Cause::TokenClaim),
        ("iss", json!(7), Cause::TokenClaim),
        ("aud", json!("wharf2"), Cause::TokenAudience),
        ("aud", json!([]), Cause::TokenAudience),
        ("aud", Value::Null, Cause::TokenClaim),
        ("role", json!("down"), Cause::TokenClaim),
        ("role", json!({"up": true}), Cause::TokenClaim),
        ("role", Value::Null, Cause::TokenClaim),
        ("level", json!("4"), Cause::TokenClaim),
        ("sub", json!(""), Cause::TokenClaim),
        ("sub", json!(7), Cause::TokenClaim),
        ("sub", json!("a\nb"), Cause::TokenClaim),
        ("sub", json!("x".repeat(256)), Cause::TokenClaim),
    ] {
        let mut claims = right.clone();
        claims[name] = value;
        assert_eq!(check(&rules, &secret(), &hs256(&claims)), Err(expected), "{name} in {claims}");
    }
    // A token for somebody is none for everybody.
    rules.audiences = Vec::new();
    assert_eq!(check(&rules, &secret(), &hs256(&right)), Err(Cause::TokenAudience));
}

#[test]
fn who_one_is_and_how_far_one_reaches_stands_in_the_token() {
    let mut rules = rules();
    rules.superuser = Some(("role".to_owned(), "admin".to_owned()));
    rules.subject = "email".to_owned();
    let of = |rules: &Rules, role: &str| {
        let claims = json!({"sub": "x", "email": "ann@example.com", "exp": now() + 600, "role": role});
        check(rules, &secret(), &hs256(&claims)).unwrap()
    };
    let claimant = |reach| Claimant { subject: "ann@example.com".into(), reach };
    assert_eq!(of(&rules, "user"), claimant(Reach::Own));
    assert_eq!(of(&rules, "admin"), claimant(Reach::All));
    rules.unowned = true;
    assert_eq!(of(&rules, "user"), claimant(Reach::OwnAndUnowned));
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let mut long = ann();
    long["pad"] = json!("x".repeat(9000));
    assert_eq!(check(&rules(), &secret(), &hs256(&long)), Err(Cause::TokenTooLong));
    for text in ["", ".", "..", "...", "a.b", "a.b.c", "e30.e30.", "e30.e30.e30", "\u{fc}.\u{fc}.\u{fc}"] {
        assert_eq!(check(&rules(), &secret(), text), Err(Cause::TokenMalformed), "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_let_in_by_chance(text in "[A-Za-z0-9_.-]{0,200}|[A-Za-z0-9_-]{1,60}\\.[A-Za-z0-9_-]{1,60}\\.[A-Za-z0-9_-]{1,60}") {
        proptest::prop_assert!(check(&rules(), &secret(), &text).is_err());
    }

    /// One letter of a good token is another.
    #[test]
    fn no_other_spelling_of_a_token_is_let_in(place: proptest::sample::Index, letter in "[A-Za-z0-9_.-]") {
        let good = hs256(&ann());
        let place = place.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(place..=place, &letter);
        // The last letter of the signature has bits that count for nothing.
        if changed != good && place + 1 < good.len() {
            proptest::prop_assert!(check(&rules(), &secret(), &changed).is_err(), "{changed}");
        }
    }
}
