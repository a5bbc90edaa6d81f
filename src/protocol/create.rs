//! POST: a new upload (the creation extensions), read in the order in which tusd reads it.

use wharf_actors::UploadId;

use super::{
    Fields, Refusal, Rules, carries_upload,
    checksum::{self, ChecksumRequest},
    concat::{self, Concat},
    content_length, filled,
    metadata::{self, Metadata},
    number,
};

/// A wish for a new upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Its role in a concatenation.
    pub kind: CreateKind,
    /// Its length in bytes; `None` while deferred, and for a final upload, whose partials make it.
    pub length: Option<u64>,
    /// What the client says about it.
    pub metadata: Metadata,
    /// The most bytes that it may have, where its type has a limit.
    pub max_size: Option<u64>,
    /// Its first bytes, if the request brings some (creation-with-upload).
    pub body: Option<BodyRequest>,
}

/// The role of a new upload in a concatenation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateKind {
    /// None.
    Single,
    /// A piece.
    Partial,
    /// Made of others.
    Final {
        /// The others, in the order of their bytes.
        partials: Vec<UploadId>,
        /// `Upload-Concat` as received.
        raw: String,
    },
}

/// The bytes that come with a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRequest {
    /// What they must hash to.
    pub checksum: Option<ChecksumRequest>,
    /// How many they are, if the head tells.
    pub content_length: Option<u64>,
}

/// Reads the head of a POST.
///
/// # Errors
/// Whatever is wrong with it first: concatenation, length, size, metadata and what it must say, then the body's size and
/// checksum.
pub fn parse(fields: &dyn Fields, rules: &Rules) -> Result<CreateRequest, Refusal> {
    let kind = kind(fields, rules)?;
    let is_final = matches!(kind, CreateKind::Final { .. });
    if is_final && carries_upload(fields) {
        return Err(Refusal::ModifyFinal);
    }
    // A final upload's Upload-Length is not looked at: its partials make its length.
    let length = if is_final { None } else { length(fields, rules)? };
    if exceeds(length, rules.max_size) {
        return Err(Refusal::MaxSizeExceeded);
    }
    let metadata = metadata::parse(fields.first("upload-metadata"), rules.metadata_max_bytes)?;
    let max_size = rules.screening.judge(&metadata.pairs, length, kind == CreateKind::Partial)?;
    let has_body = rules.extensions.creation_with_upload && carries_upload(fields);
    let body = if has_body { Some(body(fields, length, rules)?) } else { None };
    if exceeds(body.as_ref().and_then(|body| body.content_length), max_size) {
        return Err(Refusal::MaxSizeExceeded);
    }
    Ok(CreateRequest { kind, length, metadata, max_size, body })
}

fn kind(fields: &dyn Fields, rules: &Rules) -> Result<CreateKind, Refusal> {
    let Some(header) = filled(fields, "upload-concat") else { return Ok(CreateKind::Single) };
    if !rules.extensions.concatenation {
        return Err(Refusal::ConcatenationUnsupported);
    }
    Ok(match concat::parse(header, &rules.base_path)? {
        Concat::Partial => CreateKind::Partial,
        Concat::Final { partials, raw } => CreateKind::Final { partials, raw },
    })
}

/// The upload's length: told or deferred, but never both.
fn length(fields: &dyn Fields, rules: &Rules) -> Result<Option<u64>, Refusal> {
    match (filled(fields, "upload-length"), filled(fields, "upload-defer-length")) {
        (_, Some(b"1")) if !rules.extensions.creation_defer_length => Err(Refusal::NotImplemented),
        (Some(_), Some(_)) => Err(Refusal::AmbiguousUploadLength),
        (None, Some(b"1")) => Ok(None),
        (None, Some(_)) => Err(Refusal::InvalidUploadLengthDefer),
        (length, None) => length.and_then(number).map(Some).ok_or(Refusal::InvalidUploadLength),
    }
}

fn body(fields: &dyn Fields, length: Option<u64>, rules: &Rules) -> Result<BodyRequest, Refusal> {
    let content_length = content_length(fields)?;
    if exceeds(content_length, length) {
        return Err(Refusal::UploadSizeExceeded);
    }
    if exceeds(content_length, rules.max_size) {
        return Err(Refusal::MaxSizeExceeded);
    }
    Ok(BodyRequest { checksum: checksum::requested(fields, rules)?, content_length })
}

/// Whether a known number is above a known limit.
fn exceeds(number: Option<u64>, limit: Option<u64>) -> bool {
    matches!((number, limit), (Some(number), Some(limit)) if number > limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        Extensions, UPLOAD_CONTENT_TYPE,
        testing::{fields, rules},
    };

    const UPLOAD: (&str, &str) = ("content-type", UPLOAD_CONTENT_TYPE);
    const CRC32: (&str, &str) = ("upload-checksum", "crc32 DUoRhQ==");

    fn refusal(lines: &[(&str, &str)], rules: &Rules) -> Option<Refusal> {
        parse(&fields(lines), rules).err()
    }

    #[test]
    fn an_upload_has_a_length_or_defers_it() {
        for (lines, expected) in [
            (vec![("upload-length", "5")], Ok(Some(5))),
            (vec![("upload-length", "0")], Ok(Some(0))),
            (vec![("upload-length", "1000")], Ok(Some(1000))),
            (vec![("upload-length", "5"), ("upload-length", "6")], Ok(Some(5))),
            (vec![("upload-defer-length", "1")], Ok(None)),
            (vec![], Err(Refusal::InvalidUploadLength)),
            (vec![("upload-length", "")], Err(Refusal::InvalidUploadLength)),
            (vec![("upload-length", "+5")], Err(Refusal::InvalidUploadLength)),
            (vec![("upload-length", "-1")], Err(Refusal::InvalidUploadLength)),
            (vec![("upload-length", "9223372036854775808")], Err(Refusal::InvalidUploadLength)),
            (vec![("upload-length", "1001")], Err(Refusal::MaxSizeExceeded)),
            (vec![("upload-defer-length", "2")], Err(Refusal::InvalidUploadLengthDefer)),
            (vec![("upload-defer-length", "")], Err(Refusal::InvalidUploadLength)),
            (vec![("upload-length", "5"), ("upload-defer-length", "")], Ok(Some(5))),
            (vec![("upload-length", ""), ("upload-defer-length", "1")], Ok(None)),
            (vec![("upload-length", "5"), ("upload-concat", "")], Ok(Some(5))),
            (vec![("upload-length", "5"), ("upload-defer-length", "1")], Err(Refusal::AmbiguousUploadLength)),
            (vec![("upload-length", "5"), ("upload-defer-length", "x")], Err(Refusal::AmbiguousUploadLength)),
        ] {
            assert_eq!(parse(&fields(&lines), &rules()).map(|request| request.length), expected, "{lines:?}");
        }
        let unlimited = Rules { max_size: None, ..rules() };
        let request = parse(&fields(&[("upload-length", "9223372036854775807")]), &unlimited);
        assert_eq!(request.map(|request| request.length), Ok(Some(9_223_372_036_854_775_807)));
    }

    #[test]
    fn a_plain_creation_is_read_whole() {
        let request = parse(&fields(&[("upload-length", "5"), ("upload-metadata", "a YQ==")]), &rules()).unwrap();
        let pairs = [("a".to_owned(), "a".to_owned())].into();
        let metadata = Metadata { pairs, raw: Some("a YQ==".to_owned()) };
        assert_eq!(
            request,
            CreateRequest { kind: CreateKind::Single, length: Some(5), metadata, max_size: None, body: None }
        );
    }

    #[test]
    fn a_final_upload_needs_no_length_and_takes_no_bytes() {
        let raw = "final;/files/a b";
        let partials = vec![UploadId::parse("a").unwrap(), UploadId::parse("b").unwrap()];
        let kind = CreateKind::Final { partials, raw: raw.to_owned() };
        let expected = CreateRequest { kind, length: None, metadata: Metadata::default(), max_size: None, body: None };
        for lines in [
            vec![("upload-concat", raw)],
            vec![("upload-concat", raw), ("upload-length", "x"), ("upload-defer-length", "1")],
            vec![("upload-concat", raw), ("upload-metadata", ""), ("content-type", "text/plain")],
        ] {
            assert_eq!(parse(&fields(&lines), &rules()), Ok(expected.clone()), "{lines:?}");
        }
        assert_eq!(refusal(&[("upload-concat", raw), UPLOAD], &rules()), Some(Refusal::ModifyFinal));
    }

    #[test]
    fn a_partial_upload_is_like_any_other() {
        let request =
            parse(&fields(&[("upload-concat", "partial"), ("upload-length", "5"), UPLOAD]), &rules()).unwrap();
        assert_eq!((request.kind, request.length), (CreateKind::Partial, Some(5)));
        assert_eq!(request.body, Some(BodyRequest { checksum: None, content_length: None }));
        assert_eq!(refusal(&[("upload-concat", "partial")], &rules()), Some(Refusal::InvalidUploadLength));
    }

    #[test]
    fn the_first_bytes_may_come_along() {
        let given = ChecksumRequest::Given(checksum::parse_checksum(CRC32.1.as_bytes()).unwrap());
        let (length, told) = (("upload-length", "11"), ("content-length", "11"));
        let body = |checksum, content_length| Some(BodyRequest { checksum, content_length });
        for (lines, expected) in [
            (vec![length, UPLOAD, told], Ok(body(None, Some(11)))),
            (vec![length, UPLOAD, told, CRC32], Ok(body(Some(given), Some(11)))),
            (
                vec![length, UPLOAD, ("transfer-encoding", "chunked"), ("trailer", "Upload-Checksum")],
                Ok(body(Some(ChecksumRequest::Trailer), None)),
            ),
            (vec![length, told, ("upload-checksum", "x")], Ok(None)),
            (vec![length, told, ("content-type", "application/offset+octet-stream; charset=x")], Ok(None)),
            (vec![length, UPLOAD, ("content-length", "12")], Err(Refusal::UploadSizeExceeded)),
            (vec![length, UPLOAD, ("content-length", "x")], Err(Refusal::BadRequest)),
            (vec![length, UPLOAD, ("upload-checksum", "x")], Err(Refusal::InvalidChecksum)),
            (vec![("upload-defer-length", "1"), UPLOAD, ("content-length", "1000")], Ok(body(None, Some(1000)))),
            (vec![("upload-defer-length", "1"), UPLOAD, ("content-length", "1001")], Err(Refusal::MaxSizeExceeded)),
        ] {
            assert_eq!(parse(&fields(&lines), &rules()).map(|request| request.body), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_first_fault_in_tusd_s_order_is_named() {
        let metadata = ("upload-metadata", "a ".repeat(101));
        let metadata = (metadata.0, metadata.1.as_str());
        for (lines, expected) in [
            (vec![("upload-concat", "x"), ("upload-length", "x")], Refusal::InvalidConcat),
            (vec![("upload-concat", "final;/x"), UPLOAD], Refusal::UploadNotFound),
            (vec![("upload-length", "x"), metadata], Refusal::InvalidUploadLength),
            (vec![("upload-length", "1001"), metadata], Refusal::MaxSizeExceeded),
            (vec![("upload-length", "1"), metadata, UPLOAD, ("content-length", "2")], Refusal::MetadataTooLarge),
            (
                vec![("upload-length", "1"), UPLOAD, ("content-length", "2"), ("upload-checksum", "x")],
                Refusal::UploadSizeExceeded,
            ),
        ] {
            assert_eq!(refusal(&lines, &rules()), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn extensions_that_are_off_are_refused_or_not_heard() {
        let off = |extensions| Rules { extensions, ..rules() };
        let concatenation = off(Extensions { concatenation: false, ..Extensions::all() });
        for concat in ["partial", "final;/files/a", "x"] {
            let refused = refusal(&[("upload-concat", concat), ("upload-length", "1")], &concatenation);
            assert_eq!(refused, Some(Refusal::ConcatenationUnsupported), "{concat:?}");
        }
        let deferring = off(Extensions { creation_defer_length: false, ..Extensions::all() });
        assert_eq!(refusal(&[("upload-defer-length", "1")], &deferring), Some(Refusal::NotImplemented));
        let body = off(Extensions { creation_with_upload: false, ..Extensions::all() });
        let request = parse(&fields(&[("upload-length", "1"), UPLOAD, ("content-length", "2")]), &body).unwrap();
        assert_eq!(request.body, None);
    }

    proptest::proptest! {
        #[test]
        fn any_head_is_read_or_refused(
            values in proptest::array::uniform7(proptest::option::of(".{0,12}|[0-9]{1,4}")),
        ) {
            let names = [
                "upload-length", "upload-defer-length", "upload-concat", "upload-metadata", "content-type",
                "content-length", "upload-checksum",
            ];
            let lines = names.into_iter().zip(&values).filter_map(|(name, value)| Some((name, value.as_deref()?)));
            let lines: Vec<_> = lines.collect();
            if let Ok(request) = parse(&fields(&lines), &rules()) {
                proptest::prop_assert!(request.length.is_none_or(|length| length <= 1000));
            }
        }

        #[test]
        fn an_accepted_length_is_the_one_that_was_written(length in 0_u64..=1000) {
            let request = parse(&fields(&[("upload-length", &length.to_string())]), &rules());
            proptest::prop_assert_eq!(request.map(|request| request.length), Ok(Some(length)));
        }
    }
}
