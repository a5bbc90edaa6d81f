//! Who we are to S3: rusoto's providers, asked in the usual order. rusoto's own chain keeps a failure for good, asks the
//! instance's metadata in a way that is no longer answered, and knows no web identity.

use std::{
    fs, io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use quick_cache::sync::Cache;
use rusoto_core::{
    DispatchSignedRequest, HttpDispatchError, Region,
    credential::{
        AwsCredentials, ContainerProvider, CredentialsError, EnvironmentProvider, ProfileProvider,
        ProvideAwsCredentials as _,
    },
    request::{DispatchSignedRequestFuture, HttpResponse},
    signature::{SignedRequest, SignedRequestPayload},
};
use rusoto_sts::{AssumeRoleWithWebIdentityRequest, NewAwsCredsForStsCreds as _, Sts as _, StsClient};

use super::{
    super::{ClientError, ErrorKind, Keys, error::reasons},
    place::{service, variable},
    transport::{Failure, Transport, collected, fit},
    words::{is_whole, of},
};

/// How long before they expire credentials are asked for anew.
const EARLY: Duration = Duration::from_secs(300);

/// How long those are used that do not say when they expire: a file may get new ones.
const FRESH: Duration = Duration::from_secs(900);

/// The longest answer with credentials.
const MOST_ANSWER_BYTES: usize = 1024 * 1024;

/// Where credentials come from, and those that came last.
pub(super) struct Credentials {
    fixed: Option<AwsCredentials>,
    sts: StsClient,
    latest: Cache<(), Dated>,
}

#[derive(Clone)]
struct Dated {
    credentials: AwsCredentials,
    stale_at: Instant,
}

impl Dated {
    /// Stale some minutes before they expire, or halfway when they don't last that long.
    fn new(credentials: AwsCredentials) -> Self {
        let left = credentials.expires_at().map(|at| {
            let at = UNIX_EPOCH + Duration::from_secs(at.timestamp().try_into().unwrap_or(0));
            at.duration_since(SystemTime::now()).unwrap_or_default()
        });
        let fresh = left.map_or(FRESH, |left| left - EARLY.min(left / 2));
        Self { credentials, stale_at: Instant::now() + fresh }
    }

    fn is_stale(&self) -> bool {
        Instant::now() >= self.stale_at
    }
}

impl Credentials {
    pub(super) fn new(keys: Option<&Keys>, region: &str, transport: &Transport) -> Self {
        let endpoint = variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| service("sts", region));
        let region = Region::Custom { name: region.to_owned(), endpoint };
        let sts = StsClient::new_with_client(rusoto_core::Client::new_not_signing(Plain(transport.clone())), region);
        let fixed = keys.map(|keys| AwsCredentials::new(&*keys.id, &*keys.secret, None, None));
        Self { fixed, sts, latest: Cache::new(1) }
    }

    /// Credentials that are good for now. Of several that ask at once one looks, and a failure is not kept.
    pub(super) async fn get(&self, operation: &'static str) -> Result<AwsCredentials, ClientError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        self.latest.remove_if(&(), Dated::is_stale);
        let look = async { self.look().await.map(Dated::new) };
        let found = self.latest.get_or_insert_async(&(), look).await;
        found
            .map(|dated| dated.credentials)
            .map_err(|(kind, why): (ErrorKind, String)| ClientError::new(kind, operation, None, why))
    }

    async fn look(&self) -> Result<AwsCredentials, (ErrorKind, String)> {
        let for_now = |error: CredentialsError| (ErrorKind::Unreachable, error.message);
        if variable("AWS_ACCESS_KEY_ID").is_some() {
            let found = EnvironmentProvider::default().credentials().await;
            return found.map_err(|error| (ErrorKind::Denied, error.message));
        }
        let profile = match ProfileProvider::new() {
            Ok(profile) => profile.credentials().await,
            Err(error) => Err(error),
        };
        let unprofiled = match profile {
            Ok(found) => return Ok(found),
            Err(error) => error.message,
        };
        if let (Some(file), Some(role)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) {
            return self.by_web_identity(&file, role).await.map_err(for_now);
        }
        let is_container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        if is_container.iter().any(|name| variable(name).is_some()) {
            return ContainerProvider::new().credentials().await.map_err(for_now);
        }
        let places = "environment, web identity or container, and rusoto can't ask the machine's metadata";
        Err((ErrorKind::Denied, format!("no credentials in the {places}; in the profile: {unprofiled}")))
    }

    async fn by_web_identity(&self, file: &str, role: String) -> Result<AwsCredentials, CredentialsError> {
        let token = fs::read_to_string(file)?;
        let request = AssumeRoleWithWebIdentityRequest {
            role_arn: role,
            role_session_name: variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "wharf".to_owned()),
            web_identity_token: token.trim().to_owned(),
            ..AssumeRoleWithWebIdentityRequest::default()
        };
        let answer = self.sts.assume_role_with_web_identity(request).await.map_err(CredentialsError::new)?;
        let found = answer.credentials.ok_or_else(|| CredentialsError::new("STS gave no credentials"))?;
        AwsCredentials::new_for_credentials(found)
    }
}

/// Sends what needs no signature.
struct Plain(Transport);

impl DispatchSignedRequest for Plain {
    fn dispatch(&self, request: SignedRequest, _timeout: Option<Duration>) -> DispatchSignedRequestFuture {
        let transport = self.0.clone();
        Box::pin(async move { plain(&transport, request).await.map_err(HttpDispatchError::new) })
    }
}

async fn plain(transport: &Transport, mut request: SignedRequest) -> Result<HttpResponse, String> {
    let body = match request.payload.take() {
        Some(SignedRequestPayload::Buffer(words)) => vec![words],
        _ => Vec::new(),
    };
    let answer = transport.send(&request, body);
    drop(request);
    let answer = answer.await.map_err(|failure| match failure {
        Failure::Unfit(error) => reasons(&error),
        Failure::Unanswered(error) => reasons(&*error),
    })?;
    let (head, body) = answer.into_parts();
    let words = collected(body, MOST_ANSWER_BYTES).await.map_err(|error: io::Error| reasons(&error))?;
    if !is_whole(&words) {
        return Err(format!("status {}, and no XML", head.status.as_u16()));
    }
    let status = head.status.as_u16().try_into().map_err(|_| "the answer's status is none".to_owned())?;
    Ok(HttpResponse { status, headers: fit(&head.headers), body: of(words) })
}
