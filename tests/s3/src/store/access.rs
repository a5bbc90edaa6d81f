//! Who may ask: the one pair of keys, the region of the signature, and buckets named by the host. Requests are counted
//! here, before anything else can refuse them.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::state::Shared;

/// The one pair of keys.
pub(crate) struct Keys {
    access_key: String,
    secret_key: SecretKey,
}

impl Keys {
    pub(crate) fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: SecretKey::from(secret_key) }
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            return Ok(self.secret_key.clone());
        }
        Err(s3_error!(InvalidAccessKeyId, "The access key id does not exist in our records."))
    }
}

/// Lets in what is signed for the right region.
pub(crate) struct Access {
    shared: Arc<Shared>,
    region: String,
}

impl Access {
    pub(crate) fn new(shared: Arc<Shared>, region: String) -> Self {
        Self { shared, region }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let authorization = context.headers().get("authorization").and_then(|value| value.to_str().ok());
        if let Some(region) = authorization.and_then(signed_region)
            && region != self.region
        {
            let code = S3ErrorCode::AuthorizationHeaderMalformed;
            let message = format!("the region '{region}' is wrong; expecting '{}'", self.region);
            return Err(s3s::S3Error::with_message(code, message));
        }
        let name = context.s3_op().name().to_owned();
        *self.shared.state().calls.counts.entry(name).or_default() += 1;
        Ok(())
    }
}

/// The third member of `Credential=KEY/DATE/REGION/s3/aws4_request`. A key id holds no slash.
fn signed_region(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').nth(2)
}

/// Takes the bucket from `BUCKET.localhost` on any port. Addresses are path style, which s3s sees to.
pub(crate) struct LocalHost;

impl S3Host for LocalHost {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        if name == "localhost" {
            return Ok(VirtualHost::new(name));
        }
        match name.strip_suffix(".localhost") {
            Some(bucket) if !bucket.is_empty() => Ok(VirtualHost::new("localhost").with_bucket(bucket)),
            _ => Err(s3_error!(InvalidRequest, "Invalid host header")),
        }
    }
}
