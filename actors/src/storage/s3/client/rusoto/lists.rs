//! The three lists. Keys come in URL encoding where the service knows it, since XML can't spell all of them.

use rusoto_s3::{ListMultipartUploadsRequest, ListObjectsV2Request, ListPartsRequest, S3 as _};

use super::{
    super::{
        Call, ListedMultipart, ListedObject, ListedPart, MultipartMarker, Page,
        error::lacks,
        spelling::{e_tag, key, next, size},
    },
    Rusoto,
    calls::moment,
};

impl Rusoto {
    pub(super) fn objects(&self, prefix: &str, after: Option<String>, max: u16) -> Call<Page<ListedObject, String>> {
        const OPERATION: &str = "ListObjectsV2";
        let request = ListObjectsV2Request {
            bucket: self.bucket(),
            prefix: Some(prefix.to_owned()),
            start_after: after.filter(|after| !after.is_empty()),
            max_keys: Some(max.into()),
            encoding_type: Some("url".to_owned()),
            ..ListObjectsV2Request::default()
        };
        let answer = self.answer(self.exchange(OPERATION), 0, |s3| async move { s3.list_objects_v2(request).await });
        Box::pin(async move {
            let answer = answer.await?;
            let mut entries = Vec::new();
            for object in answer.contents.unwrap_or_default() {
                entries.push(ListedObject {
                    key: key(OPERATION, object.key.as_deref(), answer.encoding_type.as_deref())?,
                    size: size(OPERATION, object.size)?,
                    modified: moment(OPERATION, object.last_modified.as_deref())?,
                });
            }
            let last = entries.last().map(|entry: &ListedObject| entry.key.clone());
            Ok(Page { next: next(OPERATION, answer.is_truncated, last)?, entries })
        })
    }

    pub(super) fn parts(&self, key: &str, id: &str, after: Option<u16>) -> Call<Page<ListedPart, u16>> {
        const OPERATION: &str = "ListParts";
        let request = ListPartsRequest {
            bucket: self.bucket(),
            key: key.to_owned(),
            upload_id: id.to_owned(),
            part_number_marker: after.map(i64::from),
            ..ListPartsRequest::default()
        };
        let answer = self.answer(self.exchange(OPERATION), 0, |s3| async move { s3.list_parts(request).await });
        Box::pin(async move {
            let answer = answer.await?;
            let mut entries = Vec::new();
            for part in answer.parts.unwrap_or_default() {
                let number = part.part_number.and_then(|number| u16::try_from(number).ok());
                entries.push(ListedPart {
                    number: number.ok_or_else(|| lacks(OPERATION, "part number"))?,
                    size: size(OPERATION, part.size)?,
                    etag: e_tag(OPERATION, part.e_tag.as_deref())?,
                });
            }
            let marker = answer.next_part_number_marker.and_then(|marker| u16::try_from(marker).ok());
            let last = marker.filter(|marker| *marker > after.unwrap_or(0));
            let last = entries.iter().map(|part| part.number).max().max(last);
            // Some services list in another order.
            entries.sort_by_key(|part| part.number);
            Ok(Page { next: next(OPERATION, answer.is_truncated, last)?, entries })
        })
    }

    pub(super) fn multiparts(
        &self,
        prefix: &str,
        after: Option<MultipartMarker>,
    ) -> Call<Page<ListedMultipart, MultipartMarker>> {
        const OPERATION: &str = "ListMultipartUploads";
        let (key_marker, upload_id_marker) = after.map(|after| (after.key, after.id)).unzip();
        let request = ListMultipartUploadsRequest {
            bucket: self.bucket(),
            prefix: Some(prefix.to_owned()),
            key_marker,
            upload_id_marker,
            encoding_type: Some("url".to_owned()),
            ..ListMultipartUploadsRequest::default()
        };
        let exchange = self.exchange(OPERATION);
        let answer = self.answer(exchange, 0, |s3| async move { s3.list_multipart_uploads(request).await });
        Box::pin(async move {
            let answer = answer.await?;
            let encoding = answer.encoding_type.as_deref();
            let mut entries = Vec::new();
            for upload in answer.uploads.unwrap_or_default() {
                entries.push(ListedMultipart {
                    key: key(OPERATION, upload.key.as_deref(), encoding)?,
                    id: upload.upload_id.ok_or_else(|| lacks(OPERATION, "upload id"))?,
                    initiated: moment(OPERATION, upload.initiated.as_deref())?,
                });
            }
            let marker = match (answer.next_key_marker, answer.next_upload_id_marker) {
                (Some(key_marker), Some(id)) if !key_marker.is_empty() => {
                    Some(MultipartMarker { key: key(OPERATION, Some(&key_marker), encoding)?, id })
                }
                _ => entries
                    .last()
                    .map(|last: &ListedMultipart| MultipartMarker { key: last.key.clone(), id: last.id.clone() }),
            };
            Ok(Page { next: next(OPERATION, answer.is_truncated, marker)?, entries })
        })
    }
}
