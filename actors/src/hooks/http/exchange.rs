//! One request and its answer.

use std::{error::Error as _, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT},
};
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};

use super::signature::{Signer, now_secs};
use crate::hooks::{
    HookFailure, Notice, Verdict,
    client::{Connector, Forwarded, Missed, Target, chain},
};

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// How long the head of an answer may be.
const HEAD_BYTES: usize = 64 * 1024;

/// Who one says one is.
const AGENT: &str = concat!("wharf/", env!("CARGO_PKG_VERSION"));

/// What all requests have in common.
pub(super) struct Exchange {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    forwarded: Forwarded,
    signer: Option<Signer>,
    max_response_bytes: usize,
}

impl Exchange {
    pub(super) fn new(
        target: Target,
        connector: Connector,
        forwarded: Forwarded,
        signer: Option<Signer>,
        max_response_bytes: usize,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_title_case_headers(true)
            .http1_max_buf_size(HEAD_BYTES)
            .build(connector);
        let Target { uri, authorization, .. } = target;
        Self { client, uri, authorization, forwarded, signer, max_response_bytes }
    }

    /// Posts an event, once.
    pub(super) async fn post(&self, notice: &Notice) -> Result<Verdict, Missed> {
        let answer = self.client.request(self.request(notice)?).await.map_err(unanswered)?;
        let (status, fields) = (answer.status(), answer.headers().clone());
        let body = self.body(answer).await?;
        if !status.is_success() {
            return Err(refused(status, &body.bytes));
        }
        if !body.is_whole {
            let cause = format!("the answer has more than {} bytes", self.max_response_bytes);
            return Err(Missed::for_good(HookFailure::TooLong, cause));
        }
        if !is_json(&fields) {
            let found =
                fields.get(CONTENT_TYPE).map_or("none".into(), |value| String::from_utf8_lossy(value.as_bytes()));
            let cause = format!("the answer's Content-Type must be application/json, and is {found}");
            return Err(Missed::for_good(HookFailure::Nonsense, cause));
        }
        Verdict::from_json(&body.bytes).map_err(|error| {
            let cause = format!("the answer can't be understood: {error}");
            Missed::for_good(HookFailure::Nonsense, cause).saying(String::from_utf8_lossy(&body.bytes))
        })
    }

    fn request(&self, notice: &Notice) -> Result<Request<Full<Bytes>>, Missed> {
        let mut request = Request::post(self.uri.clone());
        if let Some(fields) = request.headers_mut() {
            fields.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
            // Wins over the URL's user.
            fields.extend(self.forwarded.of(&notice.call.event.caller));
            fields.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request = request.header("x-wharf-event-id", &notice.event_id);
        if let Some(signer) = &self.signer {
            let timestamp = now_secs();
            let signature = signer.sign(&notice.event_id, timestamp, &notice.json);
            request = request.header("x-wharf-timestamp", timestamp).header("x-wharf-signature", signature);
        }
        let unfit = |error| Missed::for_good(HookFailure::Failed, format!("the event can't be posted: {error}"));
        request.body(Full::new(notice.json.clone())).map_err(unfit)
    }

    /// Reads no more of a body than may be.
    async fn body(&self, answer: Response<Incoming>) -> Result<Body, Missed> {
        let (mut incoming, mut bytes) = (answer.into_body(), BytesMut::new());
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            let room = self.max_response_bytes - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok(Body { bytes: bytes.freeze(), is_whole: false });
            }
        }
        Ok(Body { bytes: bytes.freeze(), is_whole: true })
    }
}

/// As much of a body as is wanted.
struct Body {
    bytes: Bytes,
    is_whole: bool,
}

/// `application/json`, with any parameters.
fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn refused(status: StatusCode, body: &[u8]) -> Missed {
    let missed = if status.is_server_error() {
        Missed::for_now(HookFailure::Failed, format!("the answer was {status}"))
    } else if status.is_redirection() {
        Missed::for_good(HookFailure::Failed, format!("the answer was {status}, and redirects are not followed"))
    } else {
        Missed::for_good(HookFailure::Failed, format!("the answer was {status}"))
    };
    missed.saying(String::from_utf8_lossy(body))
}

fn unanswered(error: legacy::Error) -> Missed {
    let inner = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    inner.map_or_else(|| Missed::for_now(HookFailure::Unreachable, chain(&error)), broken)
}

/// What is wrong on a connection: another try may have more luck, unless the other end speaks no HTTP.
fn broken(error: &hyper::Error) -> Missed {
    if error.is_parse() {
        return Missed::for_good(HookFailure::Nonsense, format!("the answer is no HTTP: {}", chain(error)));
    }
    Missed::for_now(HookFailure::Unreachable, chain(error))
}
