//! A client of any S3 server for tests that block: it sees a bucket, or a part of one, as another program would, and
//! lays out or takes away what that would.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::{Bed, StoredObject, StoredPart, StoredUpload};

/// A part of a bucket on some S3 server, and who may go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server's URL, without a slash at its end; the bucket is named in the path.
    pub endpoint: String,
    /// The region that signatures must name.
    pub region: String,
    /// The key id.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// The bucket.
    pub bucket: String,
    /// What all keys start with.
    pub prefix: String,
}

impl Place {
    /// All of a bed's bucket.
    #[must_use]
    pub fn of(bed: &Bed) -> Self {
        Self {
            endpoint: bed.endpoint(),
            region: bed.region().to_owned(),
            access_key: bed.access_key().to_owned(),
            secret_key: bed.secret_key().to_owned(),
            bucket: bed.bucket().to_owned(),
            prefix: String::new(),
        }
    }
}

/// The client. Keys are told and taken without the place's prefix. A call that fails without good reason panics.
pub struct Visitor {
    place: Place,
    client: Client,
    runtime: Runtime,
}

impl Visitor {
    /// Goes there.
    ///
    /// # Panics
    /// When there is no thread or socket to be had.
    #[must_use]
    pub fn new(place: Place) -> Self {
        let transport = aws_smithy_http_client::Builder::new();
        let transport = match place.endpoint.starts_with("https:") {
            true => transport.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
            false => transport.build_http(),
        };
        let config = Config::builder()
            .http_client(transport)
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(&place.access_key, &place.secret_key, None, None, "visitor"))
            .region(Region::new(place.region.clone()))
            .endpoint_url(&place.endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { place, client: Client::from_conf(config.build()), runtime }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.place.prefix)
    }

    fn own<'key>(&self, key: &'key str) -> &'key str {
        key.strip_prefix(&self.place.prefix).expect("a key with the prefix")
    }

    /// The keys of all objects, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let (mut keys, mut after) = (Vec::new(), None);
            loop {
                let list = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(&self.place.prefix);
                let page = done(list.set_continuation_token(after).send().await);
                keys.extend(page.contents().iter().map(|object| self.own(object.key().expect("a key")).to_owned()));
                after = page.next_continuation_token().map(str::to_owned);
                if after.is_none() {
                    return keys;
                }
            }
        })
    }

    /// All objects, by key.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        let keys = self.keys().into_iter();
        keys.filter_map(|key| self.object(&key).map(|object| (key, object))).collect()
    }

    /// An object, if it is there.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<StoredObject> {
        self.runtime.block_on(async {
            let get = self.client.get_object().bucket(&self.place.bucket).key(self.key(key));
            let object = if_there(get.send().await)?;
            let metadata = object.metadata().into_iter().flatten();
            Some(StoredObject {
                size: size(object.content_length()),
                metadata: metadata.map(|(name, value)| (name.clone(), value.clone())).collect(),
                content_type: object.content_type().map(str::to_owned),
                e_tag: bare(object.e_tag()),
                bytes: object.body.collect().await.expect("its bytes").into_bytes(),
            })
        })
    }

    /// The multipart uploads that are neither completed nor aborted, by key. The bytes of their parts can't be seen.
    #[must_use]
    pub fn multipart_uploads(&self) -> Vec<StoredUpload> {
        self.runtime.block_on(async {
            let (mut uploads, mut after) = (Vec::new(), (None, None));
            loop {
                let list = self.client.list_multipart_uploads().bucket(&self.place.bucket);
                let list = list.prefix(&self.place.prefix).set_key_marker(after.0).set_upload_id_marker(after.1);
                let page = done(list.send().await);
                for upload in page.uploads() {
                    let (key, id) = (upload.key().expect("a key"), upload.upload_id().expect("an id"));
                    if let Some(parts) = self.listed(key, id).await {
                        uploads.push(StoredUpload {
                            key: self.own(key).to_owned(),
                            upload_id: id.to_owned(),
                            metadata: BTreeMap::new(),
                            content_type: None,
                            parts,
                        });
                    }
                }
                if page.is_truncated() != Some(true) {
                    return uploads;
                }
                after = (page.next_key_marker().map(str::to_owned), page.next_upload_id_marker().map(str::to_owned));
            }
        })
    }

    /// The parts of a multipart upload, if that is there. Their bytes can't be seen.
    #[must_use]
    pub fn parts(&self, key: &str, id: &str) -> Option<BTreeMap<i32, StoredPart>> {
        self.runtime.block_on(self.listed(&self.key(key), id))
    }

    async fn listed(&self, key: &str, id: &str) -> Option<BTreeMap<i32, StoredPart>> {
        let (mut parts, mut after) = (BTreeMap::new(), None);
        loop {
            let list = self.client.list_parts().bucket(&self.place.bucket).key(key).upload_id(id);
            let page = if_there(list.set_part_number_marker(after).send().await)?;
            for part in page.parts() {
                let found = StoredPart { bytes: Bytes::new(), size: size(part.size()), e_tag: bare(part.e_tag()) };
                parts.insert(part.part_number().expect("a number"), found);
            }
            if page.is_truncated() != Some(true) {
                return Some(parts);
            }
            after = page.next_part_number_marker().map(str::to_owned);
        }
    }

    /// Puts an object there.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.put_with(key, bytes, &[]);
    }

    /// Puts an object there, with metadata.
    pub fn put_with(&self, key: &str, bytes: impl Into<Bytes>, metadata: &[(&str, &str)]) {
        let mut put = self.client.put_object().bucket(&self.place.bucket).key(self.key(key));
        for (name, value) in metadata {
            put = put.metadata(*name, *value);
        }
        let _ = done(self.runtime.block_on(put.body(ByteStream::from(bytes.into())).send()));
    }

    /// Takes an object away.
    pub fn remove(&self, key: &str) {
        let delete = self.client.delete_object().bucket(&self.place.bucket).key(self.key(key));
        let _ = done(self.runtime.block_on(delete.send()));
    }

    /// Begins a multipart upload: its id.
    #[must_use]
    pub fn begin(&self, key: &str, metadata: &[(&str, &str)], content_type: Option<&str>) -> String {
        let mut create = self.client.create_multipart_upload().bucket(&self.place.bucket).key(self.key(key));
        for (name, value) in metadata {
            create = create.metadata(*name, *value);
        }
        let created = self.runtime.block_on(create.set_content_type(content_type.map(str::to_owned)).send());
        done(created).upload_id().expect("an id").to_owned()
    }

    /// Uploads a part.
    pub fn put_part(&self, key: &str, id: &str, number: i32, bytes: impl Into<Bytes>) {
        let part = self.client.upload_part().bucket(&self.place.bucket).key(self.key(key)).upload_id(id);
        let part = part.part_number(number).body(ByteStream::from(bytes.into()));
        let _ = done(self.runtime.block_on(part.send()));
    }

    /// Completes a multipart upload with all its parts.
    pub fn complete(&self, key: &str, id: &str) {
        self.runtime.block_on(async {
            let key = self.key(key);
            let parts = self.listed(&key, id).await.expect("the multipart upload");
            let parts = parts.into_iter().map(|(number, part)| {
                CompletedPart::builder().part_number(number).e_tag(format!("\"{}\"", part.e_tag)).build()
            });
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
            let complete = self.client.complete_multipart_upload().bucket(&self.place.bucket).key(key).upload_id(id);
            let _ = done(complete.multipart_upload(parts).send().await);
        });
    }

    /// Aborts a multipart upload, as a lifecycle rule would.
    pub fn abort(&self, key: &str, id: &str) {
        let abort = self.client.abort_multipart_upload().bucket(&self.place.bucket).key(self.key(key));
        let _ = if_there(self.runtime.block_on(abort.upload_id(id).send()));
    }

    /// Leaves nothing behind, multipart uploads neither.
    pub fn clear(&self) {
        self.keys().iter().for_each(|key| self.remove(key));
        self.multipart_uploads().iter().for_each(|upload| self.abort(&upload.key, &upload.upload_id));
    }
}

fn done<T, E: ProvideErrorMetadata + std::fmt::Debug>(outcome: Result<T, SdkError<E>>) -> T {
    outcome.unwrap_or_else(|error| panic!("the S3 server refused a test's own call: {error:?}"))
}

/// `None` for what is not there.
fn if_there<T, E: ProvideErrorMetadata + std::fmt::Debug>(outcome: Result<T, SdkError<E>>) -> Option<T> {
    match outcome {
        Err(SdkError::ServiceError(error)) if matches!(error.err().code(), Some("NoSuchKey" | "NoSuchUpload")) => None,
        other => Some(done(other)),
    }
}

fn size(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).expect("a size")
}

/// An ETag without its quotes.
fn bare(e_tag: Option<&str>) -> String {
    e_tag.unwrap_or_default().trim_matches('"').to_owned()
}
