//! Digests of what is sent, as headers spell them.

use bytes::Bytes;
use md5::Md5;
use sha2::{Digest, Sha256};

/// The MD5 of all chunks, as `Content-MD5` wants it (RFC 1864).
pub(super) fn md5(chunks: &[Bytes]) -> String {
    base64(&digest::<Md5>(chunks))
}

/// The SHA-256 of all chunks, as signatures want it.
pub(super) fn sha256(chunks: &[Bytes]) -> String {
    hex(&digest::<Sha256>(chunks))
}

fn digest<D: Digest>(chunks: &[Bytes]) -> Vec<u8> {
    let mut digest = D::new();
    chunks.iter().for_each(|chunk| digest.update(chunk));
    digest.finalize().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
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
    use super::{Bytes, base64, hex, md5, sha256};

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
        // FIPS 180-2 appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&[Bytes::from("a"), Bytes::from("bc")]), abc);
    }
}
