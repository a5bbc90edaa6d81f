//! PATCH: more bytes for an upload. What depends on the upload's state is left to its owner.

use super::{
    Fields, Refusal, Rules, carries_upload,
    checksum::{self, ChecksumRequest},
    content_length, filled, number,
};

/// A wish to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    /// Where the bytes begin, in the client's opinion.
    pub offset: u64,
    /// The length of an upload that had none until now. The owner accepts it only while the length is deferred.
    pub declared_length: Option<u64>,
    /// How many bytes come, if the head tells.
    pub content_length: Option<u64>,
    /// What they must hash to.
    pub checksum: Option<ChecksumRequest>,
}

/// Reads the head of a PATCH.
///
/// # Errors
/// Whatever is wrong with it first: content type, offset, declared length, body's size, checksum.
pub fn parse(fields: &dyn Fields, rules: &Rules) -> Result<AppendRequest, Refusal> {
    if !carries_upload(fields) {
        return Err(Refusal::InvalidContentType);
    }
    let offset = fields.first("upload-offset").and_then(number).ok_or(Refusal::InvalidOffset)?;
    let declared_length = filled(fields, "upload-length").map(|text| declared(text, offset, rules)).transpose()?;
    let content_length = content_length(fields)?;
    let end = offset.saturating_add(content_length.unwrap_or(0));
    // Without a declared length the limit is a matter of the upload's own length, which only its owner knows.
    // An offset so high that the end overflows can't be the upload's: its owner says so (409).
    if declared_length.is_some_and(|length| end > length) {
        return Err(Refusal::UploadSizeExceeded);
    }
    Ok(AppendRequest { offset, declared_length, content_length, checksum: checksum::requested(fields, rules)? })
}

fn declared(text: &[u8], offset: u64, rules: &Rules) -> Result<u64, Refusal> {
    let length = number(text).filter(|length| *length >= offset).ok_or(Refusal::InvalidUploadLength)?;
    // tus 1.0.0, "Tus-Max-Size": what is longer MUST be a 413 (tusd answers 400 here).
    if rules.max_size.is_some_and(|limit| length > limit) { Err(Refusal::MaxSizeExceeded) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        UPLOAD_CONTENT_TYPE,
        testing::{fields, rules},
    };

    const UPLOAD: (&str, &str) = ("content-type", UPLOAD_CONTENT_TYPE);

    #[test]
    fn a_patch_is_read_whole() {
        let lines = [
            UPLOAD,
            ("upload-offset", "70"),
            ("upload-length", "100"),
            ("content-length", "30"),
            ("upload-checksum", "crc32 DUoRhQ=="),
        ];
        let checksum = ChecksumRequest::Given(checksum::parse_checksum(b"crc32 DUoRhQ==").unwrap());
        let expected = AppendRequest {
            offset: 70,
            declared_length: Some(100),
            content_length: Some(30),
            checksum: Some(checksum),
        };
        assert_eq!(parse(&fields(&lines), &rules()), Ok(expected));
        let least = AppendRequest { offset: 0, declared_length: None, content_length: None, checksum: None };
        // A client with parallel uploads sends Upload-Concat with everything.
        let lines = [UPLOAD, ("upload-offset", "0"), ("upload-concat", "partial"), ("upload-metadata", "x")];
        assert_eq!(parse(&fields(&lines), &rules()).as_ref(), Ok(&least));
        let lines = [UPLOAD, ("upload-offset", "0"), ("upload-length", "")];
        assert_eq!(parse(&fields(&lines), &rules()), Ok(least));
    }

    #[test]
    fn the_first_fault_is_named() {
        let zero = ("upload-offset", "0");
        for (lines, expected) in [
            (vec![], Refusal::InvalidContentType),
            (vec![("content-type", "application/octet-stream"), ("upload-offset", "x")], Refusal::InvalidContentType),
            (vec![("content-type", "application/offset+octet-stream;a=b"), zero], Refusal::InvalidContentType),
            (vec![("content-type", "Application/Offset+Octet-Stream"), zero], Refusal::InvalidContentType),
            (vec![UPLOAD, ("upload-length", "x")], Refusal::InvalidOffset),
            (vec![UPLOAD, ("upload-offset", "")], Refusal::InvalidOffset),
            (vec![UPLOAD, ("upload-offset", "-0")], Refusal::InvalidOffset),
            (vec![UPLOAD, ("upload-offset", "+1")], Refusal::InvalidOffset),
            (vec![UPLOAD, ("upload-offset", "9223372036854775808")], Refusal::InvalidOffset),
            (vec![UPLOAD, zero, ("upload-length", "x"), ("content-length", "x")], Refusal::InvalidUploadLength),
            (vec![UPLOAD, ("upload-offset", "5"), ("upload-length", "4")], Refusal::InvalidUploadLength),
            (vec![UPLOAD, zero, ("upload-length", "1001")], Refusal::MaxSizeExceeded),
            (vec![UPLOAD, zero, ("content-length", "x"), ("upload-checksum", "x")], Refusal::BadRequest),
            (vec![UPLOAD, zero, ("upload-length", "4"), ("content-length", "5")], Refusal::UploadSizeExceeded),
            (vec![UPLOAD, zero, ("upload-checksum", "sha3 AA==")], Refusal::InvalidChecksum),
        ] {
            assert_eq!(parse(&fields(&lines), &rules()), Err(expected), "{lines:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_head_is_read_or_refused(
            offset in ".{0,4}|[0-9]{1,20}", length in ".{0,4}|[0-9]{1,4}", told in ".{0,4}|[0-9]{1,20}",
        ) {
            let lines = [UPLOAD, ("upload-offset", &offset), ("upload-length", &length), ("content-length", &told)];
            if let Ok(request) = parse(&fields(&lines), &rules()) {
                proptest::prop_assert_eq!(Ok(request.offset), offset.parse());
                proptest::prop_assert_eq!(request.declared_length, length.parse().ok());
                proptest::prop_assert_eq!(request.declared_length.is_none(), length.is_empty());
                proptest::prop_assert_eq!(request.content_length.map(Ok), Some(told.parse()));
                let end = request.offset.saturating_add(request.content_length.unwrap());
                proptest::prop_assert!(request.declared_length.is_none_or(|length| end <= length && length <= 1000));
            }
        }
    }
}
