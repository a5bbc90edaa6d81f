//! Takes a request's body: its declared length, its Content-MD5 and its checksums, in headers or trailers, must hold.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use super::state::{Content, Shared};

/// The most that one PutObject or UploadPart may carry.
pub(crate) const MAXIMUM_BODY: u64 = 5 * 1024 * 1024 * 1024;

const CRC32: &str = "x-amz-checksum-crc32";
const CRC32C: &str = "x-amz-checksum-crc32c";
const CRC64NVME: &str = "x-amz-checksum-crc64nvme";
const SHA1: &str = "x-amz-checksum-sha1";
const SHA256: &str = "x-amz-checksum-sha256";

/// A body that is what its headers say.
pub(crate) struct Received {
    pub(crate) content: Content,
    /// The MD5, unless the bytes were dropped.
    pub(crate) digest: Option<[u8; 16]>,
    /// Those that were asked for.
    pub(crate) checksums: Checksum,
}

/// What the headers of a request with a body declare.
pub(crate) struct Declared {
    pub(crate) length: Option<i64>,
    pub(crate) content_md5: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// Counts the bytes of one request, whatever becomes of it.
pub(crate) struct Meter {
    shared: Arc<Shared>,
    operation: &'static str,
    bytes: u64,
}

impl Meter {
    pub(crate) fn new(shared: &Arc<Shared>, operation: &'static str) -> Self {
        if operation == "UploadPart" {
            let mut state = shared.state();
            state.parts_in_flight += 1;
            state.calls.peak_parts = state.calls.peak_parts.max(state.parts_in_flight);
        }
        Self { shared: Arc::clone(shared), operation, bytes: 0 }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        *state.calls.received.entry(self.operation.to_owned()).or_default() += self.bytes;
        if self.operation == "UploadPart" {
            state.parts_in_flight -= 1;
        }
    }
}

/// Reads `body` to its end; with `keep` off only its length and what the signature covers are checked.
pub(crate) async fn receive(
    body: Option<StreamingBlob>,
    declared: &Declared,
    meter: &mut Meter,
    keep: bool,
) -> S3Result<Received> {
    let length = declared_length(declared)?;
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let mut hasher = hasher(&declared.headers);
    let mut md5 = Md5::new();
    // A declared length is not yet a received one.
    let mut bytes = BytesMut::with_capacity(if keep { length.min(64 << 20) as usize } else { 0 });
    let before = meter.bytes;
    while let Some(chunk) = body.next().await {
        let chunk: Bytes = chunk.map_err(broken_body)?;
        meter.bytes += chunk.len() as u64;
        meter.shared.pace(chunk.len()).await;
        if keep {
            md5.update(&chunk);
            hasher.update(&chunk);
            bytes.extend_from_slice(&chunk);
        }
    }
    let received = meter.bytes - before;
    if received != length {
        return Err(s3_error!(IncompleteBody, "{received} bytes came of {length}"));
    }
    if !keep {
        return Ok(Received { content: Content::Dropped(length), digest: None, checksums: Checksum::default() });
    }
    let digest = md5.finalize();
    let checksums = hasher.finalize();
    check_md5(declared.content_md5.as_deref(), &digest)?;
    check_sums(declared, &checksums)?;
    Ok(Received { content: Content::Kept(vec![bytes.freeze()]), digest: Some(digest), checksums })
}

fn declared_length(declared: &Declared) -> S3Result<u64> {
    let missing = || s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header.");
    let length = declared.length.and_then(|length| u64::try_from(length).ok()).ok_or_else(missing)?;
    if length > MAXIMUM_BODY {
        return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"));
    }
    Ok(length)
}

/// The one error of a body with a code of its own is a payload that isn't the one signed.
fn broken_body(error: s3s::StdError) -> S3Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(inner) = cause {
        if inner.to_string().contains("Sha256Mismatch") {
            // A code that the framework doesn't list, so that it can't know its status.
            let mut error = S3Error::new(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()));
            error.set_message("The provided 'x-amz-content-sha256' header does not match what was computed.");
            error.set_status_code(hyper::StatusCode::BAD_REQUEST);
            return error;
        }
        cause = inner.source();
    }
    S3Error::with_source(S3ErrorCode::IncompleteBody, error)
}

/// Computes what the headers carry and what they announce as trailers.
fn hasher(headers: &HeaderMap) -> ChecksumHasher {
    let announced = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = |name: &str| {
        headers.contains_key(name) || announced.split(',').any(|other| other.trim().eq_ignore_ascii_case(name))
    };
    ChecksumHasher {
        crc32: wanted(CRC32).then(Crc32::new),
        crc32c: wanted(CRC32C).then(Crc32c::new),
        sha1: wanted(SHA1).then(Sha1::new),
        sha256: wanted(SHA256).then(Sha256::new),
        crc64nvme: wanted(CRC64NVME).then(Crc64Nvme::new),
    }
}

fn check_md5(declared: Option<&str>, digest: &[u8; 16]) -> S3Result<()> {
    let Some(declared) = declared else { return Ok(()) };
    if declared.len() != 24 {
        return Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."));
    }
    if declared != base64(digest) {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
    }
    Ok(())
}

fn check_sums(declared: &Declared, sums: &Checksum) -> S3Result<()> {
    let trailers = declared.trailers.as_ref().and_then(TrailingHeaders::take).unwrap_or_default();
    let computed = [
        (CRC32, &sums.checksum_crc32),
        (CRC32C, &sums.checksum_crc32c),
        (CRC64NVME, &sums.checksum_crc64nvme),
        (SHA1, &sums.checksum_sha1),
        (SHA256, &sums.checksum_sha256),
    ];
    for (name, computed) in computed {
        let Some(computed) = computed else { continue };
        let stated = declared.headers.get(name).or_else(|| trailers.get(name));
        if stated.is_none_or(|stated| stated.as_bytes() != computed.as_bytes()) {
            return Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum."));
        }
    }
    Ok(())
}

/// Of an MD5: RFC 4648 section 4, with padding.
fn base64(bytes: &[u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(24);
    for group in bytes.chunks(3) {
        let mut word = 0_u32;
        for index in 0..3 {
            word = word << 8 | u32::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * index) & 63) as usize];
            encoded.push(if index <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn an_md5_is_encoded_with_its_padding() {
        assert_eq!(base64(b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg==");
        assert_eq!(base64(&[255; 16]), "/////////////////////w==");
    }
}
