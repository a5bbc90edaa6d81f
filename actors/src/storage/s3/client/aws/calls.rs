//! Each call of the trait as a request of the SDK, and its answer without the SDK's types.

use std::{collections::HashMap, time::SystemTime};

use aws_sdk_s3::{
    primitives::{ByteStream, DateTime, SdkBody},
    types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier},
};
use bytes::Bytes;

use super::{
    super::{
        Attributes, Call, Client, ClientError, ETag, ErrorKind, ListedMultipart, ListedObject, ListedPart,
        MultipartMarker, Object, ObjectHead, Page,
    },
    Aws,
    body::{Chunks, incoming, length},
    error::{entry, lacks},
    signing::{ContentMd5, Payload, md5},
};

impl Client for Aws {
    fn put_object(&self, key: &str, body: Vec<Bytes>, attributes: Attributes, only_if_absent: bool) -> Call<ETag> {
        const OPERATION: &str = "PutObject";
        if let Some(error) = unfit(OPERATION, &attributes) {
            return Box::pin(async { Err(error) });
        }
        let length = length(&body);
        let payload = Payload::new(&body, self.config.payload_hash);
        let request = self
            .s3
            .put_object()
            .bucket(&self.config.bucket)
            .key(key)
            .content_length(signed(length))
            .set_content_md5(self.config.part_checksum.then(|| md5(&body)))
            .set_content_type(attributes.content_type)
            .set_metadata(some(attributes.metadata))
            .set_if_none_match(only_if_absent.then(|| "*".to_owned()))
            .body(outgoing(body));
        let answer = self.answer(OPERATION, length, request.customize().interceptor(payload).send());
        Box::pin(async move { e_tag(OPERATION, answer.await?.e_tag()) })
    }

    fn get_object(&self, key: &str, range: Option<(u64, u64)>) -> Call<Object> {
        const OPERATION: &str = "GetObject";
        let range = range.map(|(first, last)| format!("bytes={first}-{last}"));
        let is_part = range.is_some();
        let request = self.s3.get_object().bucket(&self.config.bucket).key(key).set_range(range);
        let answer = self.answer(OPERATION, 0, request.send());
        let patience = self.config.attempt_timeout;
        Box::pin(async move {
            let answer = answer.await?;
            let here = answer.content_length().and_then(|here| u64::try_from(here).ok());
            let here = here.ok_or_else(|| lacks(OPERATION, "length"))?;
            let size = match answer.content_range() {
                Some(range) => whole(range).ok_or_else(|| lacks(OPERATION, "range"))?,
                // The answer of a service that took no notice of the range.
                None if is_part => return Err(lacks(OPERATION, "range")),
                None => here,
            };
            let head = ObjectHead {
                size,
                etag: e_tag(OPERATION, answer.e_tag())?,
                modified: moment(OPERATION, answer.last_modified())?,
                attributes: attributes(answer.metadata(), answer.content_type()),
            };
            Ok(Object { head, body: incoming(answer.body, here, patience) })
        })
    }

    fn head_object(&self, key: &str) -> Call<ObjectHead> {
        const OPERATION: &str = "HeadObject";
        let request = self.s3.head_object().bucket(&self.config.bucket).key(key);
        let answer = self.answer(OPERATION, 0, request.send());
        Box::pin(async move {
            let answer = answer.await?;
            Ok(ObjectHead {
                size: size(OPERATION, answer.content_length())?,
                etag: e_tag(OPERATION, answer.e_tag())?,
                modified: moment(OPERATION, answer.last_modified())?,
                attributes: attributes(answer.metadata(), answer.content_type()),
            })
        })
    }

    fn delete_objects(&self, keys: Vec<String>) -> Call<()> {
        const OPERATION: &str = "DeleteObjects";
        if keys.is_empty() {
            return Box::pin(async { Ok(()) });
        }
        let objects = keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
        let delete = match objects {
            Ok(objects) => Delete::builder().set_objects(Some(objects)).quiet(true).build(),
            Err(error) => Err(error),
        };
        let delete = match delete {
            Ok(delete) => delete,
            Err(error) => {
                let error = ClientError::new(ErrorKind::Invalid, OPERATION, None, error);
                return Box::pin(async { Err(error) });
            }
        };
        let request = self.s3.delete_objects().bucket(&self.config.bucket).delete(delete);
        let answer = self.answer(OPERATION, 0, request.customize().interceptor(ContentMd5).send());
        Box::pin(async move {
            let answer = answer.await?;
            let refused = answer.errors().iter().find(|error| error.code() != Some("NoSuchKey"));
            refused.map_or(Ok(()), |error| Err(entry(OPERATION, error.code(), error.message())))
        })
    }

    fn list_objects(&self, prefix: &str, after: Option<String>, max: u16) -> Call<Page<ListedObject, String>> {
        self.objects(prefix, after, max)
    }

    fn create_multipart(&self, key: &str, attributes: Attributes) -> Call<String> {
        const OPERATION: &str = "CreateMultipartUpload";
        if let Some(error) = unfit(OPERATION, &attributes) {
            return Box::pin(async { Err(error) });
        }
        let request = self
            .s3
            .create_multipart_upload()
            .bucket(&self.config.bucket)
            .key(key)
            .set_content_type(attributes.content_type)
            .set_metadata(some(attributes.metadata));
        let answer = self.answer(OPERATION, 0, request.send());
        Box::pin(async move {
            let id = answer.await?.upload_id.filter(|id| !id.is_empty());
            id.ok_or_else(|| lacks(OPERATION, "upload id"))
        })
    }

    fn upload_part(&self, key: &str, id: &str, number: u16, body: Vec<Bytes>) -> Call<ETag> {
        const OPERATION: &str = "UploadPart";
        let length = length(&body);
        let payload = Payload::new(&body, self.config.payload_hash);
        let request = self
            .s3
            .upload_part()
            .bucket(&self.config.bucket)
            .key(key)
            .upload_id(id)
            .part_number(number.into())
            .content_length(signed(length))
            .set_content_md5(self.config.part_checksum.then(|| md5(&body)))
            .body(outgoing(body));
        let answer = self.answer(OPERATION, length, request.customize().interceptor(payload).send());
        Box::pin(async move { e_tag(OPERATION, answer.await?.e_tag()) })
    }

    fn copy_part(&self, key: &str, id: &str, number: u16, source: &str, (first, last): (u64, u64)) -> Call<ETag> {
        const OPERATION: &str = "UploadPartCopy";
        let request = self
            .s3
            .upload_part_copy()
            .bucket(&self.config.bucket)
            .key(key)
            .upload_id(id)
            .part_number(number.into())
            .copy_source(escaped(&format!("{}/{source}", self.config.bucket)))
            .copy_source_range(format!("bytes={first}-{last}"));
        // S3 moves the bytes before it answers.
        let answer = self.answer(OPERATION, last.saturating_sub(first), request.send());
        Box::pin(async move {
            let answer = answer.await?;
            e_tag(OPERATION, answer.copy_part_result().and_then(|result| result.e_tag()))
        })
    }

    fn list_parts(&self, key: &str, id: &str, after: Option<u16>) -> Call<Page<ListedPart, u16>> {
        self.parts(key, id, after)
    }

    fn complete(&self, key: &str, id: &str, parts: &[(u16, ETag)]) -> Call<ETag> {
        const OPERATION: &str = "CompleteMultipartUpload";
        let part = |(number, tag): &(u16, ETag)| {
            CompletedPart::builder().part_number((*number).into()).e_tag(tag.quoted()).build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect())).build();
        let request = self.s3.complete_multipart_upload().bucket(&self.config.bucket).key(key).upload_id(id);
        let answer = self.answer(OPERATION, 0, request.multipart_upload(parts).send());
        Box::pin(async move { e_tag(OPERATION, answer.await?.e_tag()) })
    }

    fn abort(&self, key: &str, id: &str) -> Call<()> {
        let request = self.s3.abort_multipart_upload().bucket(&self.config.bucket).key(key).upload_id(id);
        let answer = self.answer("AbortMultipartUpload", 0, request.send());
        Box::pin(async move { answer.await.map(drop) })
    }

    fn list_multiparts(
        &self,
        prefix: &str,
        after: Option<MultipartMarker>,
    ) -> Call<Page<ListedMultipart, MultipartMarker>> {
        self.multiparts(prefix, after)
    }
}

fn outgoing(body: Vec<Bytes>) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(Chunks::new(body)))
}

fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn some(metadata: impl IntoIterator<Item = (String, String)>) -> Option<HashMap<String, String>> {
    Some(metadata.into_iter().collect())
}

fn attributes(metadata: Option<&HashMap<String, String>>, content_type: Option<&str>) -> Attributes {
    let metadata = metadata.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    Attributes { metadata: metadata.collect(), content_type: content_type.map(str::to_owned) }
}

/// Why these attributes can't be sent, if they can't.
fn unfit(operation: &'static str, attributes: &Attributes) -> Option<ClientError> {
    // RFC 9110 section 5.6.2: what is no token is no name of a header.
    let is_token = |name: &str| {
        let marks = b"!#$%&'*+-.^_`|~";
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
    };
    let is_value =
        |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim_matches(' ') == value;
    let bad_pair = attributes.metadata.iter().find(|(name, value)| !is_token(name) || !is_value(value));
    let bad_name = bad_pair.map(|(name, _)| format!("the metadata {name:?} is not fit for a header"));
    let bad_type = attributes.content_type.as_ref().filter(|value| !is_value(value));
    let why = bad_name.or_else(|| bad_type.map(|_| "the media type is not fit for a header".to_owned()))?;
    Some(ClientError::new(ErrorKind::Invalid, operation, None, why))
}

/// The size of the whole from `bytes 0-4/10` (RFC 9110 section 14.4).
fn whole(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

pub(super) fn e_tag(operation: &'static str, text: Option<&str>) -> Result<ETag, ClientError> {
    text.filter(|text| !text.is_empty()).map(ETag::new).ok_or_else(|| lacks(operation, "ETag"))
}

pub(super) fn size(operation: &'static str, size: Option<i64>) -> Result<u64, ClientError> {
    size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| lacks(operation, "size"))
}

pub(super) fn moment(operation: &'static str, moment: Option<&DateTime>) -> Result<SystemTime, ClientError> {
    moment.and_then(|moment| SystemTime::try_from(*moment).ok()).ok_or_else(|| lacks(operation, "time"))
}

/// As the header for the source of a copy wants it: all but unreserved characters (RFC 3986 section 2.3) and slashes in
/// percent-encoding.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
