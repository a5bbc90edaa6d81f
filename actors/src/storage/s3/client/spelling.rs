//! How S3 spells what it is told and what it tells, and what must not be missing in an answer.

use super::{Attributes, ClientError, ETag, ErrorKind, error::lacks};

/// Why these attributes can't be sent, if they can't.
pub(super) fn unfit(operation: &'static str, attributes: &Attributes) -> Option<ClientError> {
    // RFC 9110 section 5.6.2: what is no token is no name of a header.
    let is_token = |name: &str| {
        let marks = b"!#$%&'*+-.^_`|~";
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
    };
    let is_value =
        |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim_matches(' ') == value;
    let bad_pair = attributes.metadata.iter().find(|(name, value)| !is_token(name) || !is_value(value));
    let bad_name = bad_pair.map(|(name, _)| format!("the metadata {name:?} is not fit for a header"));
    let bad_type = attributes.content_type.as_ref().filter(|value| !is_value(value));
    let why = bad_name.or_else(|| bad_type.map(|_| "the media type is not fit for a header".to_owned()))?;
    Some(ClientError::new(ErrorKind::Invalid, operation, None, why))
}

/// The size of the whole from `bytes 0-4/10` (RFC 9110 section 14.4).
pub(super) fn whole(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

pub(super) fn e_tag(operation: &'static str, text: Option<&str>) -> Result<ETag, ClientError> {
    text.filter(|text| !text.is_empty()).map(ETag::new).ok_or_else(|| lacks(operation, "ETag"))
}

pub(super) fn size(operation: &'static str, size: Option<i64>) -> Result<u64, ClientError> {
    size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| lacks(operation, "size"))
}

/// As the header for the source of a copy wants it: all but unreserved characters (RFC 3986 section 2.3) and slashes in
/// percent-encoding.
pub(super) fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// What to go on with. A list that does not end, and says not where to go on, is no list.
pub(super) fn next<M>(
    operation: &'static str,
    is_truncated: Option<bool>,
    marker: Option<M>,
) -> Result<Option<M>, ClientError> {
    if is_truncated != Some(true) {
        return Ok(None);
    }
    marker.map(Some).ok_or_else(|| lacks(operation, "marker"))
}

/// A key in a list, where it may be encoded as in a URL, since XML can't spell all keys.
pub(super) fn key(operation: &'static str, key: Option<&str>, encoding: Option<&str>) -> Result<String, ClientError> {
    let key = key.ok_or_else(|| lacks(operation, "key"))?;
    match encoding {
        Some("url") => decoded(key).ok_or_else(|| lacks(operation, "key")),
        _ => Ok(key.to_owned()),
    }
}

/// Undoes the encoding of forms: percent signs, and `+` for a space.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? << 4 | digit()?).ok()?,
            b'+' => b' ',
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn keys_are_decoded_or_refused() {
        let cases = [("a/b", Some("a/b")), ("a%2Bb+c%c3%A4", Some("a+b cä")), ("%", None), ("%4", None), ("%zz", None)];
        for (text, key) in cases.into_iter().chain([("%ff", None)]) {
            assert_eq!(decoded(text).as_deref(), key, "{text}");
        }
    }
}
