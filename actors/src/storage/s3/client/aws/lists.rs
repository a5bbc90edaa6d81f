//! The three lists. Keys come in URL encoding where the service knows it, since XML can't spell all of them.

use aws_sdk_s3::types::EncodingType;

use super::{
    super::{
        Call, ListedMultipart, ListedObject, ListedPart, MultipartMarker, Page,
        error::lacks,
        spelling::{e_tag, key, next, size},
    },
    Aws,
    calls::moment,
};

impl Aws {
    pub(super) fn objects(&self, prefix: &str, after: Option<String>, max: u16) -> Call<Page<ListedObject, String>> {
        const OPERATION: &str = "ListObjectsV2";
        let request = self
            .s3
            .list_objects_v2()
            .bucket(&self.config.bucket)
            .prefix(prefix)
            .set_start_after(after.filter(|after| !after.is_empty()))
            .max_keys(max.into())
            .encoding_type(EncodingType::Url);
        let answer = self.answer(OPERATION, 0, request.send());
        Box::pin(async move {
            let answer = answer.await?;
            let mut entries = Vec::with_capacity(answer.contents().len());
            for object in answer.contents() {
                entries.push(ListedObject {
                    key: key(OPERATION, object.key(), answer.encoding_type().map(EncodingType::as_str))?,
                    size: size(OPERATION, object.size())?,
                    modified: moment(OPERATION, object.last_modified())?,
                });
            }
            let last = entries.last().map(|entry: &ListedObject| entry.key.clone());
            Ok(Page { next: next(OPERATION, answer.is_truncated(), last)?, entries })
        })
    }

    pub(super) fn parts(&self, key: &str, id: &str, after: Option<u16>) -> Call<Page<ListedPart, u16>> {
        const OPERATION: &str = "ListParts";
        let marker = after.map(|number| number.to_string());
        let request = self.s3.list_parts().bucket(&self.config.bucket).key(key).upload_id(id);
        let answer = self.answer(OPERATION, 0, request.set_part_number_marker(marker).send());
        Box::pin(async move {
            let answer = answer.await?;
            let mut entries = Vec::with_capacity(answer.parts().len());
            for part in answer.parts() {
                let number = part.part_number().and_then(|number| u16::try_from(number).ok());
                entries.push(ListedPart {
                    number: number.ok_or_else(|| lacks(OPERATION, "part number"))?,
                    size: size(OPERATION, part.size())?,
                    etag: e_tag(OPERATION, part.e_tag())?,
                });
            }
            let marker = answer.next_part_number_marker().and_then(|marker| marker.parse().ok());
            let last = marker.filter(|marker| *marker > after.unwrap_or(0));
            let last = entries.iter().map(|part| part.number).max().max(last);
            // Some services list in another order.
            entries.sort_by_key(|part| part.number);
            Ok(Page { next: next(OPERATION, answer.is_truncated(), last)?, entries })
        })
    }

    pub(super) fn multiparts(
        &self,
        prefix: &str,
        after: Option<MultipartMarker>,
    ) -> Call<Page<ListedMultipart, MultipartMarker>> {
        const OPERATION: &str = "ListMultipartUploads";
        let (key_marker, id_marker) = after.map(|after| (after.key, after.id)).unzip();
        let request = self
            .s3
            .list_multipart_uploads()
            .bucket(&self.config.bucket)
            .prefix(prefix)
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .encoding_type(EncodingType::Url);
        let answer = self.answer(OPERATION, 0, request.send());
        Box::pin(async move {
            let answer = answer.await?;
            let mut entries = Vec::with_capacity(answer.uploads().len());
            for upload in answer.uploads() {
                entries.push(ListedMultipart {
                    key: key(OPERATION, upload.key(), answer.encoding_type().map(EncodingType::as_str))?,
                    id: upload.upload_id().ok_or_else(|| lacks(OPERATION, "upload id"))?.to_owned(),
                    initiated: moment(OPERATION, upload.initiated())?,
                });
            }
            let marker = match (answer.next_key_marker(), answer.next_upload_id_marker()) {
                (Some(key_marker), Some(id)) if !key_marker.is_empty() => Some(MultipartMarker {
                    key: key(OPERATION, Some(key_marker), answer.encoding_type().map(EncodingType::as_str))?,
                    id: id.to_owned(),
                }),
                _ => entries.last().map(|last| MultipartMarker { key: last.key.clone(), id: last.id.clone() }),
            };
            Ok(Page { next: next(OPERATION, answer.is_truncated(), marker)?, entries })
        })
    }
}
