//! Multipart uploads: their parts, what completing them demands, and their end.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
    CopyPartResult, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, Timestamp, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::conditions::{Conditions, check_write};
use super::objects::{metadata, source};
use super::receive::{Declared, MAXIMUM_BODY, Meter, receive};
use super::state::{Content, Headers, Object, Part, Shared, Upload, hex, no_such_upload};

const MAXIMUM_PART_NUMBER: i32 = 10_000;
const MAXIMUM_OBJECT: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// Only a source that is larger than this can be copied from in ranges.
const MAXIMUM_WHOLE_COPY: u64 = 5 * 1024 * 1024;

/// The limits that a test may move.
pub(crate) struct Limits {
    pub(crate) minimum_part: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { minimum_part: 5 * 1024 * 1024 }
    }
}

pub(crate) fn create(shared: &Arc<Shared>, input: CreateMultipartUploadInput) -> S3Result<CreateMultipartUploadOutput> {
    let headers = Headers {
        metadata: metadata(input.metadata)?,
        content_type: input.content_type,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        cache_control: input.cache_control,
    };
    let mut state = shared.state();
    let upload_id = state.new_upload_id(shared.upload_ids);
    let bucket = state.bucket(&input.bucket)?;
    bucket.uploads.insert((input.key.clone(), upload_id.clone()), Upload::new(headers));
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload_id),
        ..CreateMultipartUploadOutput::default()
    })
}

pub(crate) async fn put_part(shared: &Arc<Shared>, request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
    let input = request.input;
    check_number(input.part_number)?;
    shared.state().upload(&input.bucket, &input.key, &input.upload_id)?;
    let declared = Declared {
        length: input.content_length,
        content_md5: input.content_md5,
        headers: request.headers,
        trailers: request.trailing_headers,
    };
    let received = receive(input.body, &declared, &mut Meter::new(shared, "UploadPart"), !shared.sink).await?;
    let part = part(received.content, received.digest.unwrap_or_else(|| shared.state().new_digest()));
    let e_tag = store_part(shared, (&input.bucket, &input.key, &input.upload_id), input.part_number, part)?;
    Ok(UploadPartOutput {
        e_tag: Some(e_tag),
        checksum_crc32: received.checksums.checksum_crc32,
        checksum_crc32c: received.checksums.checksum_crc32c,
        checksum_crc64nvme: received.checksums.checksum_crc64nvme,
        checksum_sha1: received.checksums.checksum_sha1,
        checksum_sha256: received.checksums.checksum_sha256,
        ..UploadPartOutput::default()
    })
}

pub(crate) fn copy_part(shared: &Arc<Shared>, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
    check_number(input.part_number)?;
    let (source_bucket, source_key) = source(&input.copy_source)?;
    let mut state = shared.state();
    state.upload(&input.bucket, &input.key, &input.upload_id)?;
    let object = state.object(source_bucket, source_key)?.clone();
    drop(state);
    let conditions = Conditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    conditions.check_source(&object)?;
    let content = match input.copy_source_range {
        Some(range) => object.content.slice(copied_range(&range, object.content.len())?),
        None => object.content,
    };
    if content.len() > MAXIMUM_BODY {
        return Err(s3_error!(InvalidRequest, "The specified copy source is larger than the maximum allowable size"));
    }
    let digest = content.digest();
    let part = part(content, digest);
    let modified = part.modified;
    let e_tag = store_part(shared, (&input.bucket, &input.key, &input.upload_id), input.part_number, part)?;
    let result = CopyPartResult {
        e_tag: Some(e_tag),
        last_modified: Some(Timestamp::from(modified)),
        ..CopyPartResult::default()
    };
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
}

/// Of `bytes=FIRST-LAST`: a copy knows neither open nor suffix ranges, and none that ends behind the source.
fn copied_range(range: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    let invalid =
        || s3_error!(InvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last");
    let (first, last) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(invalid)?;
    let first: u64 = first.parse().map_err(|_| invalid())?;
    let last: u64 = last.parse().map_err(|_| invalid())?;
    if size <= MAXIMUM_WHOLE_COPY {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is not supported as a byte-range copy source"
        ));
    }
    if first > last || last >= size {
        return Err(s3_error!(InvalidArgument, "Range specified is not valid for source object of size: {size}"));
    }
    Ok(first..last + 1)
}

fn check_number(number: i32) -> S3Result<()> {
    if (1..=MAXIMUM_PART_NUMBER).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

fn part(content: Content, digest: [u8; 16]) -> Part {
    Part { content, digest, modified: SystemTime::now(), stored: Instant::now(), listings: 0 }
}

/// In place of an earlier part of this number, if the upload is still there.
fn store_part(
    shared: &Arc<Shared>,
    (bucket, key, upload_id): (&str, &str, &str),
    number: i32,
    mut part: Part,
) -> S3Result<ETag> {
    let mut state = shared.state();
    let upload = state.upload(bucket, key, upload_id)?;
    part.listings = upload.listings;
    let e_tag = ETag::Strong(part.e_tag());
    upload.parts.insert(number, part);
    Ok(e_tag)
}

pub(crate) fn complete(
    shared: &Arc<Shared>,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let mut state = shared.state();
    let minimum_part = state.limits.minimum_part;
    let upload = state.upload(&input.bucket, &input.key, &input.upload_id)?;
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let parts = chosen(upload, &named, minimum_part)?;
    let object = assemble(upload, &parts)?;
    let size = object.content.len();
    if input.mpu_object_size.is_some_and(|stated| u64::try_from(stated) != Ok(size)) {
        return Err(s3_error!(InvalidRequest, "The provided 'x-amz-mp-object-size' header does not match {size}"));
    }
    let bucket = state.bucket(&input.bucket)?;
    check_write(input.if_match.as_ref(), input.if_none_match.as_ref(), bucket.objects.get(&input.key))?;
    bucket.uploads.remove(&(input.key.clone(), input.upload_id)).ok_or_else(no_such_upload)?;
    let e_tag = ETag::Strong(object.e_tag.clone());
    bucket.objects.insert(input.key.clone(), object);
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(e_tag),
        ..CompleteMultipartUploadOutput::default()
    })
}

/// The parts that a client named, if they are there, in order, unchanged, and large enough.
fn chosen<'a>(upload: &'a Upload, named: &[CompletedPart], minimum_part: u64) -> S3Result<Vec<&'a Part>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut numbers = Vec::new();
    for part in named {
        numbers.push((part.part_number.ok_or_else(malformed)?, part.e_tag.as_ref().ok_or_else(malformed)?));
    }
    if !numbers.is_sorted_by(|(earlier, _), (later, _)| earlier < later) {
        return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
    }
    let mut parts = Vec::new();
    for (number, e_tag) in numbers {
        let part = upload.parts.get(&number).filter(|part| part.e_tag() == e_tag.value());
        parts.push(
            part.ok_or_else(|| s3_error!(InvalidPart, "Part {number} could not be found, or its ETag differs."))?,
        );
    }
    let (_, all_but_last) = parts.split_last().ok_or_else(malformed)?;
    if all_but_last.iter().any(|part| part.content.len() < minimum_part) {
        return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
    }
    Ok(parts)
}

fn malformed() -> s3s::S3Error {
    s3_error!(MalformedXML, "The XML you provided was not well-formed or did not validate")
}

fn assemble(upload: &Upload, parts: &[&Part]) -> S3Result<Object> {
    use md5::Digest as _;
    let content = Content::concatenated(parts.iter().map(|part| &part.content));
    if content.len() > MAXIMUM_OBJECT {
        return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed object size."));
    }
    let mut digest = md5::Md5::new();
    parts.iter().for_each(|part| digest.update(part.digest));
    let e_tag = format!("{}-{}", hex(&digest.finalize()), parts.len());
    Ok(Object { content, headers: upload.headers.clone(), e_tag, modified: SystemTime::now() })
}

pub(crate) fn abort(shared: &Arc<Shared>, input: AbortMultipartUploadInput) -> S3Result<()> {
    let mut state = shared.state();
    let removed = state.bucket(&input.bucket)?.uploads.remove(&(input.key, input.upload_id));
    removed.map(drop).ok_or_else(no_such_upload)
}
