//! The client on the AWS SDK: how it is set up, and what is left out of what the SDK does by itself.

mod body;
mod calls;
mod error;
mod lists;
mod signing;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::{
    config::{
        Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{ClientError, ErrorKind};

/// Where services that know no regions expect to be.
const DEFAULT_REGION: &str = "us-east-1";

/// Which bucket, where, and how it is talked to.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for; else that of the environment, the profile or the machine, else
    /// `us-east-1`.
    pub region: Option<String>,
    /// The service's URL; else AWS, or what the environment names.
    pub endpoint: Option<String>,
    /// Names the bucket in the path instead of the host.
    pub path_style: bool,
    /// Keys to use instead of those from the environment, the profile, a web identity, the container or the machine.
    pub keys: Option<Keys>,
    /// Signs the SHA-256 of what is put. Over TLS that costs much and proves little; without TLS it is what keeps bytes
    /// from being changed on the way.
    pub payload_hash: bool,
    /// Sends the MD5 of what is put, for the service to check.
    pub part_checksum: bool,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take, or the next bytes of an object, beside the time that its own bytes need.
    pub attempt_timeout: Duration,
    /// What a request that carries bytes is given time for.
    pub slowest_bytes_per_second: u64,
}

/// An access key.
#[derive(Clone)]
pub struct Keys {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

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
        let sending = Duration::from_secs(length / self.config.slowest_bytes_per_second.max(1));
        let patience = self.config.attempt_timeout.saturating_add(sending);
        async move {
            match tokio::time::timeout(patience, request).await {
                Ok(answer) => answer.map_err(|error| error::failed(operation, &error)),
                Err(_) => Err(ClientError::new(
                    ErrorKind::Unavailable,
                    operation,
                    None,
                    format!("no answer within {patience:?}"),
                )),
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
