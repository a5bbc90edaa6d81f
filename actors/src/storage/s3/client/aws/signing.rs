//! What vouches for the bytes of a request besides its signature: digests that the SDK would not send by itself.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
};
use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};

/// The MD5 of all chunks, as `Content-MD5` wants it (RFC 1864).
pub(super) fn md5(chunks: &[Bytes]) -> String {
    let mut digest = Md5::new();
    chunks.iter().for_each(|chunk| digest.update(chunk));
    base64(&digest.finalize())
}

/// Signs a payload by its SHA-256, or doesn't sign it.
#[derive(Debug)]
pub(super) struct Payload(PayloadSigningOverride);

impl Payload {
    pub(super) fn new(chunks: &[Bytes], is_hashed: bool) -> Self {
        if !is_hashed {
            return Self(PayloadSigningOverride::UnsignedPayload);
        }
        let mut digest = Sha256::new();
        chunks.iter().for_each(|chunk| digest.update(chunk));
        Self(PayloadSigningOverride::Precomputed(hex(&digest.finalize())))
    }
}

impl Intercept for Payload {
    fn name(&self) -> &'static str {
        "Payload"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        settings.interceptor_state().store_put(self.0.clone());
        Ok(())
    }
}

/// Adds the `Content-MD5` that S3 once demanded of DeleteObjects, and some services still do.
#[derive(Debug)]
pub(super) struct ContentMd5;

impl Intercept for ContentMd5 {
    fn name(&self) -> &'static str {
        "ContentMd5"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if let Some(digest) = request.body().bytes().map(Md5::digest) {
            request.headers_mut().try_insert("content-md5", base64(&digest))?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |index: usize| match index <= group.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * index) & 63) as usize]),
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::{Bytes, base64, hex, md5};

    #[test]
    fn digests_are_spelt_as_headers_want_them() {
        // RFC 4648 section 10.
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
        assert_eq!(hex(&[0x00, 0x9a, 0xf0]), "009af0");
        // RFC 1321 section A.5: MD5 ("abc") = 900150983cd24fb0d6963f7d28e17f72.
        assert_eq!(md5(&[Bytes::from("a"), Bytes::from("bc")]), "kAFQmDzST7DWlj99KOF/cg==");
    }
}
