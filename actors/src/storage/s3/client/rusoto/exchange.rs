//! One request and its answer, between rusoto's words and the wire. What goes wrong is told here, where all of it is seen.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::Utc;
use futures_util::stream;
use hyper::{Response, body::Incoming};
use rusoto_core::{
    ByteStream, DispatchSignedRequest, HttpDispatchError,
    proto::xml::error::XmlError,
    request::{DispatchSignedRequestFuture, HttpResponse},
    signature::{SignedRequest, SignedRequestPayload, UNSIGNED_PAYLOAD},
};

use super::{
    super::{
        ClientError, ErrorKind,
        body::length,
        digest::sha256,
        error::{answered, reasons, unanswered},
    },
    Shared,
    signing::sign,
    transport::{Failure, Transport, chunks, collected, fit},
    words::{is_whole, of, refusal},
};

/// The longest answer that is no object: some times a list of 1,000 of the longest keys.
const MOST_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// What there is to a request besides what rusoto knows of it.
#[derive(Clone)]
pub(super) struct Exchange {
    operation: &'static str,
    shared: Arc<Shared>,
    transport: Transport,
    payload: Option<Payload>,
    only_if_absent: bool,
    has_type: bool,
    failure: Arc<OnceLock<ClientError>>,
}

/// A body in pieces, and what the signature says of it.
#[derive(Clone)]
struct Payload {
    pieces: Vec<Bytes>,
    digest: String,
}

impl Exchange {
    pub(super) fn new(operation: &'static str, shared: Arc<Shared>, transport: Transport) -> Self {
        let failure = Arc::default();
        Self { operation, shared, transport, payload: None, only_if_absent: false, has_type: false, failure }
    }

    /// With bytes to store, which rusoto has not seen.
    pub(super) fn with_payload(mut self, pieces: Vec<Bytes>) -> Self {
        let is_hashed = self.shared.config.payload_hash;
        let digest = if is_hashed { sha256(&pieces) } else { UNSIGNED_PAYLOAD.to_owned() };
        self.payload = Some(Payload { pieces, digest });
        self
    }

    /// For a key that is not taken, if so wished. rusoto is older than this condition.
    pub(super) fn only_if_absent(mut self, is_wished: bool) -> Self {
        self.only_if_absent = is_wished;
        self
    }

    /// With the object's media type, if it has one. rusoto makes one up.
    pub(super) fn has_type(mut self, has_type: bool) -> Self {
        self.has_type = has_type;
        self
    }

    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }

    /// Where a failure is found when the call has come back.
    pub(super) fn failure(&self) -> Arc<OnceLock<ClientError>> {
        Arc::clone(&self.failure)
    }

    async fn exchange(&self, request: SignedRequest) -> Result<HttpResponse, ClientError> {
        let credentials = self.shared.credentials.get(self.operation).await?;
        let (mut request, body, digest) = self.complete(request);
        sign(&mut request, &credentials, &digest, Utc::now());
        let answer = self.transport.send(&request, body);
        drop(request);
        let answer = answer.await.map_err(|failure| match failure {
            Failure::Unfit(error) => ClientError::new(ErrorKind::Invalid, self.operation, None, error),
            Failure::Unanswered(error) => ClientError::new(unanswered(&*error), self.operation, None, reasons(&*error)),
        })?;
        self.judge(answer).await
    }

    /// The request as it is signed, with its body and the digest of that.
    fn complete(&self, mut request: SignedRequest) -> (SignedRequest, Vec<Bytes>, String) {
        let (body, digest) = match (self.payload.clone(), request.payload.take()) {
            (Some(payload), _) => (payload.pieces, payload.digest),
            (None, Some(SignedRequestPayload::Buffer(words))) => {
                let body = vec![words];
                let digest = sha256(&body);
                (body, digest)
            }
            (None, _) => (Vec::new(), sha256(&[])),
        };
        self.shared.place.address(&mut request);
        request.complement();
        request.remove_header("content-length");
        if ["PUT", "POST"].contains(&request.method()) {
            request.add_header("content-length", &length(&body).to_string());
        }
        if !self.has_type {
            request.remove_header("content-type");
        }
        if self.only_if_absent {
            request.add_header("if-none-match", "*");
        }
        (request, body, digest)
    }

    /// An answer as rusoto may read it, or what is wrong.
    async fn judge(&self, answer: Response<Incoming>) -> Result<HttpResponse, ClientError> {
        let (head, body) = answer.into_parts();
        let status = head.status.as_u16();
        let is_success = head.status.is_success();
        let mut answer = HttpResponse {
            status: status.try_into().map_err(|_| self.failed(status, None))?,
            headers: fit(&head.headers),
            body: ByteStream::new(stream::empty()),
        };
        if is_success && self.operation == "GetObject" {
            answer.body = ByteStream::new(chunks(body));
            return Ok(answer);
        }
        let words = collected(body, MOST_ANSWER_BYTES).await.map_err(|error| {
            let kind = if is_success { unanswered(&error) } else { answered(self.operation, status, None) };
            ClientError::new(kind, self.operation, None, format!("status {status}: {}", reasons(&error)))
        })?;
        // S3 sends white space to keep a connection alive while it completes an upload.
        let words = words.slice_ref(words.trim_ascii_start());
        let refusal = refusal(words.clone()).await;
        if !is_success || refusal.is_some() {
            return Err(self.failed(status, refusal));
        }
        if !words.is_empty() && !is_whole(&words) {
            return Err(ClientError::new(ErrorKind::Corrupt, self.operation, None, "the answer is no whole XML"));
        }
        answer.body = of(words);
        Ok(answer)
    }

    fn failed(&self, status: u16, refusal: Option<XmlError>) -> ClientError {
        let (code, message) = refusal.map(|refusal| (refusal.code, refusal.message)).unwrap_or_default();
        let code = Some(code).filter(|code| !code.is_empty());
        let kind = answered(self.operation, status, code.as_deref());
        ClientError::new(kind, self.operation, code, format!("status {status}: {message}"))
    }
}

impl DispatchSignedRequest for Exchange {
    fn dispatch(&self, request: SignedRequest, _timeout: Option<std::time::Duration>) -> DispatchSignedRequestFuture {
        let exchange = self.clone();
        Box::pin(async move {
            exchange.exchange(request).await.map_err(|error| {
                let told = HttpDispatchError::new(error.to_string());
                // There is one exchange of each call.
                let _ = exchange.failure.set(error);
                told
            })
        })
    }
}
