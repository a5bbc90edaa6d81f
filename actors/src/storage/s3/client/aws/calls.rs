//! Each call of the trait as a request of the SDK, and its answer without the SDK's types.

use std::{collections::HashMap, time::SystemTime};

use aws_sdk_s3::{
    primitives::{ByteStream, ByteStreamError, DateTime, SdkBody},
    types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier},
};
use bytes::Bytes;
use futures_util::{Stream, stream};

use super::{
    super::{
        Attributes, Call, Client, ClientError, ETag, ErrorKind, ListedMultipart, ListedObject, ListedPart,
        MultipartMarker, Object, ObjectHead, Page,
        body::{Chunks, incoming, length},
        digest::md5,
        error::{entry, lacks},
        spelling::{e_tag, escaped, size, unfit, whole},
    },
    Aws,
    signing::{ContentMd5, Payload},
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
            Ok(Object { head, body: incoming(chunks(answer.body), here, patience) })
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

fn chunks(body: ByteStream) -> impl Stream<Item = Result<Bytes, ByteStreamError>> + Send + Unpin {
    Box::pin(stream::unfold(body, |mut body| async { body.next().await.map(|chunk| (chunk, body)) }))
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

pub(super) fn moment(operation: &'static str, moment: Option<&DateTime>) -> Result<SystemTime, ClientError> {
    moment.and_then(|moment| SystemTime::try_from(*moment).ok()).ok_or_else(|| lacks(operation, "time"))
}
