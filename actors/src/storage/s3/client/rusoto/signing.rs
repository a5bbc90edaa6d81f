//! Signature version 4. rusoto has one, but it knows no digest of a payload in pieces, and takes three spaces in a header
//! for two, where S3 takes them for one.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rusoto_core::{credential::AwsCredentials, signature::SignedRequest};
use sha2::Sha256;

use super::super::digest::{hex, sha256};

/// Signs a request that is complete but for this. `payload` is the SHA-256 of its body, or says that there is none.
pub(super) fn sign(request: &mut SignedRequest, credentials: &AwsCredentials, payload: &str, now: DateTime<Utc>) {
    let (date, time) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ").to_string());
    request.add_header("x-amz-date", &time);
    request.add_header("x-amz-content-sha256", payload);
    request.add_optional_header("x-amz-security-token", credentials.token().as_ref());
    let (mut headers, mut names) = (String::new(), Vec::new());
    // Proxies may change these.
    let kept = |name: &str| !["content-length", "user-agent"].contains(&name);
    for (name, values) in request.headers.iter().filter(|(name, _)| kept(name)) {
        let values: Vec<_> = values.iter().map(|value| plain(value)).collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
        names.push(name.as_str());
    }
    let names = names.join(";");
    let (uri, query) = (request.canonical_uri(), request.canonical_query_string());
    let canonical = format!("{}\n{uri}\n{query}\n{headers}\n{names}\n{payload}", request.method());
    let (region, service) = (request.region_for_service(), request.service.clone());
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(&[canonical.into()]));
    let secret = format!("AWS4{}", credentials.aws_secret_access_key());
    let steps = [&date, &region, &service, "aws4_request", &to_sign];
    let signature = steps.iter().fold(secret.into_bytes(), |key, text| hmac(&key, text));
    let id = credentials.aws_access_key_id();
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={}", hex(&signature));
    request.add_header("authorization", &authorization);
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    hmac.update(text.as_bytes());
    hmac.finalize().into_bytes().to_vec()
}

/// A value without space at its ends, and with one space in place of many.
fn plain(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use rusoto_core::Region;

    use super::{AwsCredentials, DateTime, SignedRequest, Utc, plain, sha256, sign};

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signature(request: &mut SignedRequest, payload: &str, token: Option<&str>) -> (String, String) {
        // The keys and the time of the examples in "Signature Calculations for the Authorization Header" of S3's manual.
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let credentials = AwsCredentials::new("AKIAIOSFODNN7EXAMPLE", secret, token.map(str::to_owned), None);
        let now = "2013-05-24T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        request.hostname = Some("examplebucket.s3.amazonaws.com".to_owned());
        request.complement();
        request.remove_header("content-type");
        sign(request, &credentials, payload, now);
        let header = String::from_utf8(request.headers["authorization"][0].clone()).unwrap();
        let (rest, signature) = header.split_once(", Signature=").unwrap();
        (rest.split_once("SignedHeaders=").unwrap().1.to_owned(), signature.to_owned())
    }

    #[test]
    fn signatures_are_those_of_the_manual() {
        let mut get = SignedRequest::new("GET", "s3", &Region::UsEast1, "/test.txt");
        get.add_header("Range", "bytes=0-9");
        let (signed, of_get) = signature(&mut get, EMPTY, None);
        assert_eq!(signed, "host;range;x-amz-content-sha256;x-amz-date");
        assert_eq!(of_get, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

        let mut put = SignedRequest::new("PUT", "s3", &Region::UsEast1, "/test$file.text");
        put.add_header("Date", "Fri, 24 May 2013 00:00:00 GMT");
        put.add_header("x-amz-storage-class", "REDUCED_REDUNDANCY");
        let payload = sha256(&["Welcome to ".into(), "Amazon S3.".into()]);
        let (_, of_put) = signature(&mut put, &payload, None);
        assert_eq!(of_put, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");

        let mut list = SignedRequest::new("GET", "s3", &Region::UsEast1, "/");
        list.add_param("max-keys", "2");
        list.add_param("prefix", "J");
        let (_, of_list) = signature(&mut list, EMPTY, None);
        assert_eq!(of_list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let mut get = SignedRequest::new("GET", "s3", &Region::UsEast1, "/test.txt");
        let (signed, _) = signature(&mut get, EMPTY, Some("a token"));
        assert_eq!(signed, "host;x-amz-content-sha256;x-amz-date;x-amz-security-token");
        assert_eq!(get.headers["x-amz-security-token"], [b"a token".to_vec()]);
    }

    #[test]
    fn spaces_are_signed_as_one() {
        for (value, signed) in [(" a ", "a"), ("a  b   c", "a b c"), ("\"a   b\"", "\"a b\""), ("", "")] {
            assert_eq!(plain(value.as_bytes()), signed);
        }
    }
}
