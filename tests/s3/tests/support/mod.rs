//! The client of these tests: the AWS SDK without retries, so that each answer is seen as it is.
#![allow(dead_code, clippy::unwrap_used, reason = "a helper of tests, of which each file uses some")]

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use wharf_s3_testbed::Bed;

pub(crate) const KEY: &str = "uploads/ä b+c";
pub(crate) const MIB: usize = 1024 * 1024;

/// The configuration of a client that signs as `bed` wants it, for any endpoint.
pub(crate) fn config(bed: &Bed, endpoint: &str) -> aws_sdk_s3::config::Builder {
    let ring = Provider::Rustls(CryptoMode::Ring);
    Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(ring).build_https())
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(Credentials::new(bed.access_key(), bed.secret_key(), None, None, "test"))
        .region(Region::new(bed.region().to_owned()))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .retry_config(RetryConfig::disabled())
}

pub(crate) fn client(bed: &Bed) -> Client {
    Client::from_conf(config(bed, &bed.endpoint()).build())
}

/// The error code and the status of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    outcome: Result<T, SdkError<E>>,
) -> (String, u16) {
    match outcome.expect_err("a refusal") {
        SdkError::ServiceError(error) => {
            (error.err().code().unwrap_or_default().to_owned(), error.raw().status().as_u16())
        }
        other => panic!("not an answer: {other:?}"),
    }
}

/// Whether the request ended without an answer.
pub(crate) fn unanswered<T, E>(outcome: &Result<T, SdkError<E>>) -> bool {
    matches!(outcome, Err(SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | SdkError::TimeoutError(_)))
}

/// Waits for a condition, half a minute at most.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize, seed: u64) -> Vec<u8> {
    (0..length as u64).map(|at| ((at + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

pub(crate) fn parts<'a>(parts: impl IntoIterator<Item = (i32, &'a str)>) -> CompletedMultipartUpload {
    let parts =
        parts.into_iter().map(|(number, e_tag)| CompletedPart::builder().part_number(number).e_tag(e_tag).build());
    CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build()
}

/// A multipart upload of `KEY`, and the calls that its tests make.
pub(crate) struct Multipart {
    pub(crate) client: Client,
    pub(crate) bucket: String,
    pub(crate) upload_id: String,
}

impl Multipart {
    pub(crate) async fn create(client: &Client, bed: &Bed) -> Self {
        let created = client.create_multipart_upload().bucket(bed.bucket()).key(KEY).send().await.unwrap();
        let upload_id = created.upload_id().unwrap().to_owned();
        Self { client: client.clone(), bucket: bed.bucket().to_owned(), upload_id }
    }

    pub(crate) fn part(
        &self,
        number: i32,
        bytes: Vec<u8>,
    ) -> aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder {
        let request = self.client.upload_part().bucket(&self.bucket).key(KEY).upload_id(&self.upload_id);
        request.part_number(number).body(ByteStream::from(bytes))
    }

    /// Sends a part and hands back its ETag.
    pub(crate) async fn put(&self, number: i32, bytes: Vec<u8>) -> String {
        self.part(number, bytes).send().await.unwrap().e_tag().unwrap().to_owned()
    }

    pub(crate) fn list(&self) -> aws_sdk_s3::operation::list_parts::builders::ListPartsFluentBuilder {
        self.client.list_parts().bucket(&self.bucket).key(KEY).upload_id(&self.upload_id)
    }

    /// The numbers of the parts that are listed.
    pub(crate) async fn listed(&self) -> Vec<i32> {
        let listed = self.list().send().await.unwrap();
        listed.parts().iter().map(|part| part.part_number().unwrap()).collect()
    }

    pub(crate) fn complete(
        &self,
        parts: CompletedMultipartUpload,
    ) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder {
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(KEY);
        request.upload_id(&self.upload_id).multipart_upload(parts)
    }

    pub(crate) fn abort(
        &self,
    ) -> aws_sdk_s3::operation::abort_multipart_upload::builders::AbortMultipartUploadFluentBuilder {
        self.client.abort_multipart_upload().bucket(&self.bucket).key(KEY).upload_id(&self.upload_id)
    }
}
