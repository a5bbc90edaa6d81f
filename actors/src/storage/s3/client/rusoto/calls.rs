//! Each call of the trait as a request of rusoto, and its answer without rusoto's types.

use std::{collections::HashMap, time::SystemTime};

use bytes::Bytes;
use chrono::DateTime;
use rusoto_s3::{
    AbortMultipartUploadRequest, CompleteMultipartUploadRequest, CompletedMultipartUpload, CompletedPart,
    CreateMultipartUploadRequest, Delete, DeleteObjectsRequest, GetObjectRequest, HeadObjectRequest, ObjectIdentifier,
    PutObjectRequest, S3 as _, UploadPartCopyRequest, UploadPartRequest,
};

use super::{
    super::{
        Attributes, Call, Client, ClientError, ETag, ListedMultipart, ListedObject, ListedPart, MultipartMarker,
        Object, ObjectHead, Page,
        body::{incoming, length},
        digest::md5,
        error::{entry, lacks},
        spelling::{e_tag, escaped, size, unfit, whole},
    },
    Rusoto,
};

impl Client for Rusoto {
    fn put_object(&self, key: &str, body: Vec<Bytes>, attributes: Attributes, only_if_absent: bool) -> Call<ETag> {
        const OPERATION: &str = "PutObject";
        if let Some(error) = unfit(OPERATION, &attributes) {
            return Box::pin(async { Err(error) });
        }
        let request = PutObjectRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            content_md5: self.shared.config.part_checksum.then(|| md5(&body)),
            metadata: Some(attributes.metadata.into_iter().collect()),
            content_type: attributes.content_type,
            ..PutObjectRequest::default()
        };
        let (has_type, length) = (request.content_type.is_some(), length(&body));
        let exchange = self.exchange(OPERATION).with_payload(body).has_type(has_type).only_if_absent(only_if_absent);
        let answer = self.answer(exchange, length, |s3| async move { s3.put_object(request).await });
        Box::pin(async move { e_tag(OPERATION, answer.await?.e_tag.as_deref()) })
    }

    fn get_object(&self, key: &str, range: Option<(u64, u64)>) -> Call<Object> {
        const OPERATION: &str = "GetObject";
        let request = GetObjectRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            range: range.map(|(first, last)| format!("bytes={first}-{last}")),
            ..GetObjectRequest::default()
        };
        let answer = self.answer(self.exchange(OPERATION), 0, |s3| async move { s3.get_object(request).await });
        let patience = self.shared.config.attempt_timeout;
        Box::pin(async move {
            let answer = answer.await?;
            let here = answer.content_length.and_then(|here| u64::try_from(here).ok());
            let here = here.ok_or_else(|| lacks(OPERATION, "length"))?;
            let size = match answer.content_range {
                Some(range) => whole(&range).ok_or_else(|| lacks(OPERATION, "range"))?,
                // The answer of a service that took no notice of the range.
                None if range.is_some() => return Err(lacks(OPERATION, "range")),
                None => here,
            };
            let head = ObjectHead {
                size,
                etag: e_tag(OPERATION, answer.e_tag.as_deref())?,
                modified: date(OPERATION, answer.last_modified.as_deref())?,
                attributes: attributes(answer.metadata, answer.content_type),
            };
            let body = answer.body.ok_or_else(|| lacks(OPERATION, "body"))?;
            Ok(Object { head, body: incoming(body, here, patience) })
        })
    }

    fn head_object(&self, key: &str) -> Call<ObjectHead> {
        const OPERATION: &str = "HeadObject";
        let request = HeadObjectRequest { bucket: self.bucket(), key: key.to_owned(), ..HeadObjectRequest::default() };
        let answer = self.answer(self.exchange(OPERATION), 0, |s3| async move { s3.head_object(request).await });
        Box::pin(async move {
            let answer = answer.await?;
            Ok(ObjectHead {
                size: size(OPERATION, answer.content_length)?,
                etag: e_tag(OPERATION, answer.e_tag.as_deref())?,
                modified: date(OPERATION, answer.last_modified.as_deref())?,
                attributes: attributes(answer.metadata, answer.content_type),
            })
        })
    }

    fn delete_objects(&self, keys: Vec<String>) -> Call<()> {
        const OPERATION: &str = "DeleteObjects";
        if keys.is_empty() {
            return Box::pin(async { Ok(()) });
        }
        let objects = keys.into_iter().map(|key| ObjectIdentifier { key, version_id: None }).collect();
        let request = DeleteObjectsRequest {
            bucket: self.bucket(),
            delete: Delete { objects, quiet: Some(true) },
            ..DeleteObjectsRequest::default()
        };
        let answer = self.answer(self.exchange(OPERATION), 0, |s3| async move { s3.delete_objects(request).await });
        Box::pin(async move {
            let refused = answer.await?.errors.unwrap_or_default();
            let refused = refused.iter().find(|error| error.code.as_deref() != Some("NoSuchKey"));
            refused.map_or(Ok(()), |error| Err(entry(OPERATION, error.code.as_deref(), error.message.as_deref())))
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
        let request = CreateMultipartUploadRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            metadata: Some(attributes.metadata.into_iter().collect()),
            content_type: attributes.content_type,
            ..CreateMultipartUploadRequest::default()
        };
        let exchange = self.exchange(OPERATION).has_type(request.content_type.is_some());
        let answer = self.answer(exchange, 0, |s3| async move { s3.create_multipart_upload(request).await });
        Box::pin(async move {
            let id = answer.await?.upload_id.filter(|id| !id.is_empty());
            id.ok_or_else(|| lacks(OPERATION, "upload id"))
        })
    }

    fn upload_part(&self, key: &str, id: &str, number: u16, body: Vec<Bytes>) -> Call<ETag> {
        const OPERATION: &str = "UploadPart";
        let request = UploadPartRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            upload_id: id.to_owned(),
            part_number: number.into(),
            content_md5: self.shared.config.part_checksum.then(|| md5(&body)),
            ..UploadPartRequest::default()
        };
        let length = length(&body);
        let exchange = self.exchange(OPERATION).with_payload(body);
        let answer = self.answer(exchange, length, |s3| async move { s3.upload_part(request).await });
        Box::pin(async move { e_tag(OPERATION, answer.await?.e_tag.as_deref()) })
    }

    fn copy_part(&self, key: &str, id: &str, number: u16, source: &str, (first, last): (u64, u64)) -> Call<ETag> {
        const OPERATION: &str = "UploadPartCopy";
        let request = UploadPartCopyRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            upload_id: id.to_owned(),
            part_number: number.into(),
            copy_source: escaped(&format!("{}/{source}", self.bucket())),
            copy_source_range: Some(format!("bytes={first}-{last}")),
            ..UploadPartCopyRequest::default()
        };
        // S3 moves the bytes before it answers.
        let length = last.saturating_sub(first);
        let exchange = self.exchange(OPERATION);
        let answer = self.answer(exchange, length, |s3| async move { s3.upload_part_copy(request).await });
        Box::pin(async move {
            let copied = answer.await?.copy_part_result;
            e_tag(OPERATION, copied.as_ref().and_then(|copied| copied.e_tag.as_deref()))
        })
    }

    fn list_parts(&self, key: &str, id: &str, after: Option<u16>) -> Call<Page<ListedPart, u16>> {
        self.parts(key, id, after)
    }

    fn complete(&self, key: &str, id: &str, parts: &[(u16, ETag)]) -> Call<ETag> {
        const OPERATION: &str = "CompleteMultipartUpload";
        let part = |(number, tag): &(u16, ETag)| CompletedPart {
            part_number: Some((*number).into()),
            e_tag: Some(tag.quoted()),
        };
        let request = CompleteMultipartUploadRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            upload_id: id.to_owned(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts.iter().map(part).collect()) }),
            ..CompleteMultipartUploadRequest::default()
        };
        let exchange = self.exchange(OPERATION);
        let answer = self.answer(exchange, 0, |s3| async move { s3.complete_multipart_upload(request).await });
        Box::pin(async move { e_tag(OPERATION, answer.await?.e_tag.as_deref()) })
    }

    fn abort(&self, key: &str, id: &str) -> Call<()> {
        let request = AbortMultipartUploadRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            upload_id: id.to_owned(),
            ..AbortMultipartUploadRequest::default()
        };
        let exchange = self.exchange("AbortMultipartUpload");
        let answer = self.answer(exchange, 0, |s3| async move { s3.abort_multipart_upload(request).await });
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

impl Rusoto {
    pub(super) fn bucket(&self) -> String {
        self.shared.config.bucket.clone()
    }
}

fn attributes(metadata: Option<HashMap<String, String>>, content_type: Option<String>) -> Attributes {
    Attributes { metadata: metadata.into_iter().flatten().collect(), content_type }
}

/// A time as headers spell it (RFC 9110 section 5.6.7).
fn date(operation: &'static str, text: Option<&str>) -> Result<SystemTime, ClientError> {
    let date = text.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    date.map(SystemTime::from).ok_or_else(|| lacks(operation, "time"))
}

/// A time as lists spell it.
pub(super) fn moment(operation: &'static str, text: Option<&str>) -> Result<SystemTime, ClientError> {
    let moment = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    moment.map(SystemTime::from).ok_or_else(|| lacks(operation, "time"))
}
