//! What vouches for the bytes of a request besides its signature: digests that the SDK would not send by itself.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
};
use bytes::Bytes;

use super::super::digest::{md5, sha256};

/// Signs a payload by its SHA-256, or doesn't sign it.
#[derive(Debug)]
pub(super) struct Payload(PayloadSigningOverride);

impl Payload {
    pub(super) fn new(chunks: &[Bytes], is_hashed: bool) -> Self {
        if !is_hashed {
            return Self(PayloadSigningOverride::UnsignedPayload);
        }
        Self(PayloadSigningOverride::Precomputed(sha256(chunks)))
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
        if let Some(body) = request.body().bytes() {
            let digest = md5(&[Bytes::copy_from_slice(body)]);
            request.headers_mut().try_insert("content-md5", digest)?;
        }
        Ok(())
    }
}
