//! The token that a request shows (RFC 6750, 2.1).

use super::Denied;
use crate::metrics::Cause;

/// Reads the only `Authorization` line. Two could be read in two ways.
pub(super) fn token<'a>(authorization: &[&'a [u8]]) -> Result<&'a str, Denied> {
    let missing = || Denied::new(Cause::TokenMissing, "there is no bearer token");
    let malformed = |said: &str| Denied::new(Cause::TokenMalformed, said);
    let line = match authorization {
        [] => return Err(missing()),
        [line] => std::str::from_utf8(line).map_err(|_| malformed("the Authorization is not text"))?,
        _ => return Err(malformed("there is more than one Authorization")),
    };
    let (scheme, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let token = rest.trim_start_matches(' ');
    let is_legal = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    if token.is_empty() || !token.bytes().all(is_legal) {
        return Err(malformed("what follows Bearer is no token"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_the_scheme() {
        for (lines, expected) in [
            (&[&b"Bearer abc"[..]][..], Ok("abc")),
            (&[b"bEARER   a.b-c_d~e+f/g=="], Ok("a.b-c_d~e+f/g==")),
            (&[], Err(Cause::TokenMissing)),
            (&[b""], Err(Cause::TokenMissing)),
            (&[b"Basic abc"], Err(Cause::TokenMissing)),
            (&[b"Bearerabc"], Err(Cause::TokenMissing)),
            (&[b"Bearer"], Err(Cause::TokenMalformed)),
            (&[b"Bearer "], Err(Cause::TokenMalformed)),
            (&[b"Bearer a b"], Err(Cause::TokenMalformed)),
            (&[b"Bearer a,Bearer b"], Err(Cause::TokenMalformed)),
            (&[b"Bearer \xff"], Err(Cause::TokenMalformed)),
            (&[b"Bearer a", b"Bearer a"], Err(Cause::TokenMalformed)),
        ] {
            assert_eq!(token(lines).map_err(|denied| denied.cause), expected, "{lines:?}");
        }
    }
}
