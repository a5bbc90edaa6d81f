//! The three lists in pages: objects, the parts of an upload, and the uploads of a bucket.

use std::sync::Arc;

use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, MultipartUpload, Object as ListedObject, Part as ListedPart,
    Timestamp,
};
use s3s::{S3Result, s3_error};

use super::listing::{After, Entry, encoded, page};
use super::state::{Bucket, Part, Shared};

/// What a page holds unless it is asked to hold less.
const PAGE: i32 = 1000;

pub(crate) fn objects(shared: &Arc<Shared>, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let url = asks_for_url(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys)?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => After::parse(token)
            .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?,
        (None, Some(key)) => After::Key(key.clone()),
        (None, None) => After::Start,
    };
    let mut state = shared.state();
    let bucket = state.bucket(&input.bucket)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let (entries, truncated) = page(bucket.objects.keys(), prefix, delimiter, &after, limit);
    let next = entries.last().filter(|_| truncated).map(|entry| After::entry(entry).token());
    let contents: Vec<_> = entries.iter().filter_map(|entry| listed_object(bucket, entry, url)).collect();
    let common_prefixes = entries.iter().filter_map(|entry| match entry {
        Entry::Prefix(prefix) => Some(CommonPrefix { prefix: Some(encoded(prefix, url)) }),
        Entry::Key(_) => None,
    });
    let common_prefixes: Vec<_> = common_prefixes.collect();
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoded(prefix, url)),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(entries.len()).ok(),
        is_truncated: Some(truncated),
        next_continuation_token: next,
        contents: (!contents.is_empty()).then_some(contents),
        common_prefixes: (!common_prefixes.is_empty()).then_some(common_prefixes),
        continuation_token: input.continuation_token,
        start_after: input.start_after.map(|key| encoded(&key, url)),
        delimiter: input.delimiter.map(|delimiter| encoded(&delimiter, url)),
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    })
}

fn listed_object(bucket: &Bucket, entry: &Entry, url: bool) -> Option<ListedObject> {
    let Entry::Key(key) = entry else { return None };
    let object = bucket.objects.get(key)?;
    Some(ListedObject {
        key: Some(encoded(key, url)),
        size: i64::try_from(object.content.len()).ok(),
        e_tag: Some(ETag::Strong(object.e_tag.clone())),
        last_modified: Some(Timestamp::from(object.modified)),
        ..ListedObject::default()
    })
}

pub(crate) fn parts(shared: &Arc<Shared>, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let limit = limit(input.max_parts)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let mut state = shared.state();
    let lag = state.lag;
    let upload = state.upload(&input.bucket, &input.key, &input.upload_id)?;
    // The pages of one listing count once.
    upload.listings += u64::from(marker == 0);
    let listings = upload.listings;
    let after = upload.parts.range(marker.saturating_add(1)..);
    let mut visible = after.filter(|(_, part)| part.listed(lag, listings));
    let parts: Vec<_> = visible.by_ref().take(limit).map(|(number, part)| listed_part(*number, part)).collect();
    let truncated = limit > 0 && visible.next().is_some();
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        max_parts: i32::try_from(limit).ok(),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(parts.last().and_then(|part| part.part_number).unwrap_or(0)),
        is_truncated: Some(truncated),
        parts: (!parts.is_empty()).then_some(parts),
        ..ListPartsOutput::default()
    })
}

fn listed_part(number: i32, part: &Part) -> ListedPart {
    ListedPart {
        part_number: Some(number),
        size: i64::try_from(part.content.len()).ok(),
        e_tag: Some(ETag::Strong(part.e_tag())),
        last_modified: Some(Timestamp::from(part.modified)),
        ..ListedPart::default()
    }
}

pub(crate) fn uploads(shared: &Arc<Shared>, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "uploads are listed without a delimiter only"));
    }
    let url = asks_for_url(input.encoding_type.as_ref())?;
    let limit = limit(input.max_uploads)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let key_marker = input.key_marker.as_deref().unwrap_or_default();
    // Without a key marker the other one is ignored; without an upload id marker a key's uploads come together.
    let upload_id_marker = input.upload_id_marker.as_deref().filter(|marker| !marker.is_empty());
    let follows = |key: &str, upload_id: &str| {
        key > key_marker || (key == key_marker && upload_id_marker.is_some_and(|marker| upload_id > marker))
    };
    let mut state = shared.state();
    let all = state.bucket(&input.bucket)?.uploads.iter();
    let mut matching = all.filter(|((key, upload_id), _)| key.starts_with(prefix) && follows(key, upload_id));
    let mut uploads = Vec::new();
    let mut last = None;
    for ((key, upload_id), upload) in matching.by_ref().take(limit) {
        last = Some((key.clone(), upload_id.clone()));
        uploads.push(MultipartUpload {
            key: Some(encoded(key, url)),
            upload_id: Some(upload_id.clone()),
            initiated: Some(Timestamp::from(upload.initiated)),
            ..MultipartUpload::default()
        });
    }
    let truncated = limit > 0 && matching.next().is_some();
    let (next_key, next_upload_id) = last.filter(|_| truncated).unzip();
    Ok(ListMultipartUploadsOutput {
        prefix: Some(encoded(prefix, url)),
        max_uploads: i32::try_from(limit).ok(),
        is_truncated: Some(truncated),
        next_key_marker: next_key.map(|key| encoded(&key, url)),
        next_upload_id_marker: next_upload_id,
        uploads: (!uploads.is_empty()).then_some(uploads),
        bucket: Some(input.bucket),
        key_marker: input.key_marker.map(|key| encoded(&key, url)),
        upload_id_marker: input.upload_id_marker,
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    })
}

fn limit(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(PAGE).min(PAGE);
    usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "The size of a page is not negative"))
}

fn asks_for_url(encoding: Option<&EncodingType>) -> S3Result<bool> {
    match encoding.map(EncodingType::as_str) {
        None => Ok(false),
        Some(EncodingType::URL) => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
    }
}
