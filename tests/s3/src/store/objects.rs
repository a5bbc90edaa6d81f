//! PutObject, GetObject, HeadObject, CopyObject and the deletes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use hyper::HeaderMap;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, Metadata, MetadataDirective, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
};
use s3s::{S3Request, S3Result, s3_error};

use super::conditions::{Conditions, check_write, whole_seconds};
use super::receive::{Declared, MAXIMUM_BODY, Meter, receive};
use super::state::{Headers, Object, Shared, hex};

/// User metadata, names and values together, may have so many bytes.
const MAXIMUM_METADATA: usize = 2 * 1024;
/// What AWS says of an object that was given no type.
const DEFAULT_TYPE: &str = "binary/octet-stream";
/// The most that one DeleteObjects may name.
const MAXIMUM_DELETES: usize = 1000;

pub(crate) async fn put(shared: &Arc<Shared>, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let input = request.input;
    let headers = Headers {
        metadata: metadata(input.metadata)?,
        content_type: input.content_type,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        cache_control: input.cache_control,
    };
    let check = |state: &mut super::state::State| -> S3Result<()> {
        let present = state.bucket(&input.bucket)?.objects.get(&input.key);
        check_write(input.if_match.as_ref(), input.if_none_match.as_ref(), present)
    };
    check(&mut shared.state())?;
    let declared = Declared {
        length: input.content_length,
        content_md5: input.content_md5,
        headers: request.headers,
        trailers: request.trailing_headers,
    };
    let received = receive(input.body, &declared, &mut Meter::new(shared, "PutObject"), true).await?;
    let mut state = shared.state();
    // Again: of two that begin together only one may win.
    check(&mut state)?;
    let e_tag = hex(&received.digest.unwrap_or_else(|| received.content.digest()));
    let object = Object { content: received.content, headers, e_tag: e_tag.clone(), modified: SystemTime::now() };
    state.bucket(&input.bucket)?.objects.insert(input.key, object);
    Ok(PutObjectOutput {
        e_tag: Some(ETag::Strong(e_tag)),
        checksum_crc32: received.checksums.checksum_crc32,
        checksum_crc32c: received.checksums.checksum_crc32c,
        checksum_crc64nvme: received.checksums.checksum_crc64nvme,
        checksum_sha1: received.checksums.checksum_sha1,
        checksum_sha256: received.checksums.checksum_sha256,
        ..PutObjectOutput::default()
    })
}

/// The metadata of an object, if S3 would take so much of it.
pub(crate) fn metadata(metadata: Option<Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<_, _> = metadata.into_iter().flatten().collect();
    if metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAXIMUM_METADATA {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(metadata)
}

pub(crate) fn get(shared: &Arc<Shared>, input: GetObjectInput) -> S3Result<GetObjectOutput> {
    if input.part_number.is_some() || input.version_id.is_some() {
        return Err(s3_error!(NotImplemented));
    }
    let mut state = shared.state();
    let object = state.object(&input.bucket, &input.key)?.clone();
    let conditions = Conditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check_read(&object)?;
    let size = object.content.len();
    let range = input.range.map(|range| range.check(size)).transpose()?;
    let content_range = range.as_ref().map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1));
    let content = match range {
        Some(range) => object.content.slice(range),
        None => object.content,
    };
    let length = content.len();
    state.calls.sent += length;
    let pieces = content.into_pieces().map(Ok::<Bytes, io::Error>);
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::wrap(stream::iter(pieces))),
        content_length: i64::try_from(length).ok(),
        content_range,
        content_type: Some(object.headers.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        content_disposition: object.headers.content_disposition,
        content_encoding: object.headers.content_encoding,
        cache_control: object.headers.cache_control,
        e_tag: Some(ETag::Strong(object.e_tag)),
        last_modified: Some(whole_seconds(object.modified)),
        metadata: Some(object.headers.metadata.into_iter().collect()),
        ..GetObjectOutput::default()
    })
}

pub(crate) fn head(shared: &Arc<Shared>, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
    if input.part_number.is_some() || input.version_id.is_some() || input.range.is_some() {
        return Err(s3_error!(NotImplemented));
    }
    let mut state = shared.state();
    let object = state.object(&input.bucket, &input.key)?.clone();
    let conditions = Conditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    conditions.check_read(&object)?;
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: i64::try_from(object.content.len()).ok(),
        content_type: Some(object.headers.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        content_disposition: object.headers.content_disposition,
        content_encoding: object.headers.content_encoding,
        cache_control: object.headers.cache_control,
        e_tag: Some(ETag::Strong(object.e_tag)),
        last_modified: Some(whole_seconds(object.modified)),
        metadata: Some(object.headers.metadata.into_iter().collect()),
        ..HeadObjectOutput::default()
    })
}

pub(crate) fn copy(shared: &Arc<Shared>, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
    let (bucket, key) = source(&input.copy_source)?;
    let mut state = shared.state();
    let mut object = state.object(bucket, key)?.clone();
    let conditions = Conditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    conditions.check_source(&object)?;
    if object.content.len() > MAXIMUM_BODY {
        return Err(s3_error!(InvalidRequest, "The specified copy source is larger than the maximum allowable size"));
    }
    let replaces =
        input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    if replaces {
        object.headers = Headers {
            metadata: metadata(input.metadata)?,
            content_type: input.content_type,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            cache_control: input.cache_control,
        };
    } else if (bucket, key) == (input.bucket.as_str(), input.key.as_str()) {
        return Err(s3_error!(InvalidRequest, "A copy onto itself must change the object's metadata."));
    }
    // The parts that it was made of are not those of the copy.
    object.e_tag = hex(&object.content.digest());
    object.modified = SystemTime::now();
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(object.e_tag.clone())),
        last_modified: Some(Timestamp::from(object.modified)),
        ..CopyObjectResult::default()
    };
    state.bucket(&input.bucket)?.objects.insert(input.key, object);
    Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
}

/// The bucket and the key that a copy reads.
pub(crate) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "only a bucket and a key can be copied from")),
    }
}

pub(crate) fn delete(shared: &Arc<Shared>, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
    if input.version_id.is_some() || input.if_match.is_some() {
        return Err(s3_error!(NotImplemented));
    }
    shared.state().bucket(&input.bucket)?.objects.remove(&input.key);
    Ok(DeleteObjectOutput::default())
}

pub(crate) fn delete_all(
    shared: &Arc<Shared>,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let input = request.input;
    if !has_digest(&request.headers) {
        return Err(s3_error!(InvalidRequest, "Missing required header for this request: Content-MD5"));
    }
    if input.delete.objects.is_empty() || input.delete.objects.len() > MAXIMUM_DELETES {
        return Err(s3_error!(MalformedXML));
    }
    if input.delete.objects.iter().any(|object| object.version_id.is_some()) {
        return Err(s3_error!(NotImplemented));
    }
    let mut state = shared.state();
    let bucket = state.bucket(&input.bucket)?;
    let mut deleted = Vec::new();
    for object in input.delete.objects {
        bucket.objects.remove(&object.key);
        deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    Ok(DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), ..DeleteObjectsOutput::default() })
}

/// S3 wants the list of what to delete protected. That it is there is all that is checked.
fn has_digest(headers: &HeaderMap) -> bool {
    headers.contains_key("content-md5")
        || headers.contains_key("x-amz-trailer")
        || headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-"))
}
