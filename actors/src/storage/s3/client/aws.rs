//! The client on the AWS SDK: how it is set up, and what is left out of what the SDK does by itself.

mod calls;
mod error;
mod lists;
mod signing;

use std::{fmt, future::Future, sync::Arc};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::{
    config::{
        Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{ClientError, Config, config::DEFAULT_REGION, error::timed_out};

/// A client on the AWS SDK. Clones share their connections.
#[derive(Clone)]
pub struct Aws {
    s3: aws_sdk_s3::Client,
    config: Arc<Config>,
}

impl Aws {
    /// Looks for a region and for credentials in the usual places. Asks S3 nothing, and finds nothing wrong: a setting
    /// that does not fit lets the first call fail.
    pub async fn connect(config: Config) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https());
        if let Some(keys) = &config.keys {
            loader = loader.credentials_provider(Credentials::new(&keys.id, &keys.secret, None, None, "settings"));
        }
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let shared = loader.load().await;
        let region = shared.region().cloned().unwrap_or(Region::from_static(DEFAULT_REGION));
        let mut builder = Builder::from(&shared)
            .region(region)
            .force_path_style(config.path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(config.connect_timeout).build())
            // The time-outs of a request and of its body are enough.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &config.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { s3: aws_sdk_s3::Client::from_conf(builder.build()), config: Arc::new(config) }
    }

    /// A client with connections of its own and the same credentials, for another runtime.
    #[must_use]
    pub fn sibling(&self) -> Self {
        let settings = self.s3.config().to_builder().http_client(https()).build();
        Self { s3: aws_sdk_s3::Client::from_conf(settings), config: Arc::clone(&self.config) }
    }

    /// Waits for an answer, for as long as a request with a body of `length` bytes may take.
    fn answer<T, E>(
        &self,
        operation: &'static str,
        length: u64,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'static,
    ) -> impl Future<Output = Result<T, ClientError>> + Send + 'static
    where
        T: Send + 'static,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let patience = self.config.patience(length);
        async move {
            match tokio::time::timeout(patience, request).await {
                Ok(answer) => answer.map_err(|error| error::failed(operation, &error)),
                Err(_) => Err(timed_out(operation, patience)),
            }
        }
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Aws").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A pool of connections.
fn https() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
