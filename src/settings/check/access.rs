//! The checks of `[auth]`, `[checks]` and `[limits]`.

use std::path::PathBuf;

use super::{
    super::{Auth, Checks, Jwt, Limits, Settings, values::is_type},
    Reader, admin,
};

/// Longer texts are no claims.
const TEXT_MAX: usize = 1024;

pub(super) fn auth(reader: &mut Reader<'_>) -> Auth {
    let token = admin::token(reader, "auth.token");
    Auth { token, unowned: reader.switch("auth.unowned"), jwt: jwt(reader) }
}

fn jwt(reader: &mut Reader<'_>) -> Option<Jwt> {
    let mut file = |key: &str| {
        reader.parsed(key, None, |text| match text {
            "" => Ok(None),
            _ if text.contains('\0') => Err("must be the path of a file".to_owned()),
            _ => Ok(Some(PathBuf::from(text))),
        })
    };
    let [secret_file, public_key_file, jwks_file] =
        ["auth.jwt.secret_file", "auth.jwt.public_key_file", "auth.jwt.jwks_file"].map(&mut file);
    let jwks_url = reader.parsed("auth.jwt.jwks_url", None, |text| match text {
        "" => Ok(None),
        _ if is_safe_url(text) => Ok(Some(text.to_owned())),
        _ => Err("must be a URL that starts with https://, or with http:// and a loopback address".to_owned()),
    });
    let claim = |text: &str| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("must be NAME=VALUE, not {text:?}")),
    };
    let required_claims = reader.each("auth.jwt.required_claims", claim);
    let superuser_claim = reader.parsed("auth.jwt.superuser_claim", None, |text| match text {
        "" => Ok(None),
        _ => claim(text).map(Some),
    });
    let text = |text: &str| match text.len() {
        1..=TEXT_MAX => Ok(text.to_owned()),
        _ => Err(format!("must have 1 to {TEXT_MAX} characters each")),
    };
    let jwt = Jwt {
        secret_file,
        public_key_file,
        jwks_file,
        jwks_url,
        jwks_refresh: reader.secs("auth.jwt.jwks_refresh_secs", 1..=86_400),
        jwks_pause: reader.secs("auth.jwt.jwks_pause_secs", 1..=86_400),
        issuer: reader.each("auth.jwt.issuer", text),
        audience: reader.each("auth.jwt.audience", text),
        required_claims,
        subject_claim: reader.parsed("auth.jwt.subject_claim", "sub".to_owned(), text),
        superuser_claim,
        leeway: reader.secs("auth.jwt.leeway_secs", 0..=3600),
        token_max_bytes: reader.count("auth.jwt.token_max_bytes", 256..=65_535),
    };
    let has_keys = jwt.jwks_url.is_some() || jwt.files().next().is_some();
    let asks = !jwt.issuer.is_empty()
        || !jwt.audience.is_empty()
        || !jwt.required_claims.is_empty()
        || jwt.superuser_claim.is_some();
    reader.relate(
        &["auth.jwt.issuer", "auth.jwt.audience", "auth.jwt.required_claims", "auth.jwt.superuser_claim"],
        has_keys || !asks,
        "counts for nothing without keys: auth.jwt.secret_file, public_key_file, jwks_file or jwks_url must be set",
    );
    has_keys.then_some(jwt)
}

/// Keys that come by plain HTTP could be anybody's.
fn is_safe_url(text: &str) -> bool {
    let (is_secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_whole =
        !authority.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) && !authority.contains('@');
    let name =
        authority.strip_suffix(']').unwrap_or_else(|| authority.rsplit_once(':').map_or(authority, |(name, _)| name));
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    is_whole && (is_secure || name == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

pub(super) fn checks(reader: &mut Reader<'_>) -> Checks {
    let key = |text: &str| {
        let is_key = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if is_key { Ok(text.to_owned()) } else { Err(format!("must be keys of metadata; {text:?} is none")) }
    };
    let kind = |text: &str| {
        if is_type(text) {
            Ok(text.to_owned())
        } else {
            Err(format!("must be types such as image/png or image/*; {text:?} is none"))
        }
    };
    let extension = |text: &str| {
        let text = text.trim_start_matches('.');
        let is_one = !text.is_empty() && !text.contains(['.', '/']);
        if is_one {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(format!("must be endings such as pdf; {text:?} is none"))
        }
    };
    let size = |text: &str| {
        let pair = text.split_once('=').filter(|(pattern, _)| is_type(pattern));
        let pair = pair.and_then(|(pattern, size)| Some((pattern.to_owned(), size.trim().parse().ok()?)));
        pair.ok_or_else(|| format!("must be TYPE=BYTES such as image/*=1048576, not {text:?}"))
    };
    Checks {
        required_metadata: reader.each("checks.required_metadata", key),
        allowed_types: reader.each("checks.allowed_types", kind),
        allowed_extensions: reader.each("checks.allowed_extensions", extension),
        max_size_by_type: reader.each("checks.max_size_by_type", size),
    }
}

pub(super) fn limits(reader: &mut Reader<'_>) -> Limits {
    let mut count = |key: &str| reader.narrow(key, 0..=1_000_000);
    let [open_per_owner, open_per_address] = ["limits.open_per_owner", "limits.open_per_address"].map(&mut count);
    let per_owner = count("limits.creations_per_minute_per_owner");
    let per_address = count("limits.creations_per_minute_per_address");
    let mut rate = |key: &str| reader.whole(key, 0..=1 << 50).unsigned_abs();
    Limits {
        open_per_owner,
        open_per_address,
        creations_per_minute_per_owner: per_owner,
        creations_per_minute_per_address: per_address,
        bytes_per_sec_per_upload: rate("limits.bytes_per_sec_per_upload"),
        bytes_per_sec_in_all: rate("limits.bytes_per_sec_in_all"),
    }
}

pub(super) fn relations(settings: &Settings, reader: &mut Reader<'_>) {
    let longest = settings.auth.jwt.as_ref().map_or(0, |jwt| jwt.token_max_bytes);
    reader.relate(
        &["auth.jwt.token_max_bytes", "server.head_max_bytes"],
        longest < settings.server.head_max_bytes,
        "auth.jwt.token_max_bytes must be less than server.head_max_bytes: tokens come in the head",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for url in [
            "https://id.example/keys",
            "https://id.example:8443/keys?x=1",
            "http://127.0.0.1:80/keys",
            "http://[::1]:80/keys",
            "http://[::1]",
            "http://localhost/keys",
            "http://localhost:81",
        ] {
            assert!(is_safe_url(url), "{url}");
        }
        for url in [
            "",
            "https://",
            "https:///keys",
            "ftp://id.example/keys",
            "http://id.example/keys",
            "http://127.0.0.1.example/keys",
            "http://localhost.example/",
            "http://127.0.0.1@id.example/",
            "http://id.example/@127.0.0.1",
            "https://id.example/a b",
        ] {
            assert!(!is_safe_url(url), "{url}");
        }
    }
}
