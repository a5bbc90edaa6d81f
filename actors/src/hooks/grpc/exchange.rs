//! One call of `InvokeHook`.

use std::{error::Error as _, panic::AssertUnwindSafe};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::FutureExt as _;
use hyper::{
    Uri,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use prost::Message as _;
use tonic::{
    Code, Request, Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};

use super::messages::{Answer, HookRequest};
use crate::hooks::{
    HookFailure, Notice, Verdict,
    client::{Connector, Forwarded, Missed, Target, chain},
};

const METHOD: &str = "/proto.HookHandler/InvokeHook";

/// Names the event.
const EVENT_ID: HeaderName = HeaderName::from_static("wharf-event-id");

/// What all calls have in common.
pub(super) struct Exchange {
    client: Client<Connector, Body>,
    origin: Uri,
    authorization: Option<HeaderValue>,
    forwarded: Forwarded,
    max_response_bytes: usize,
}

impl Exchange {
    pub(super) fn new(target: Target, connector: Connector, forwarded: Forwarded, max_response_bytes: usize) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).http2_only(true).build(connector);
        Self { client, origin: target.uri, authorization: target.authorization, forwarded, max_response_bytes }
    }

    /// Calls the hook, once.
    pub(super) async fn invoke(&self, notice: &Notice) -> Result<Verdict, Missed> {
        let client = Grpc::with_origin(self.client.clone(), self.origin.clone());
        let mut client = client.max_decoding_message_size(self.max_response_bytes);
        let call = async {
            client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            client.unary(self.request(notice), PathAndQuery::from_static(METHOD), Raw).await
        };
        // tonic panics over details of an error that are not what they should be.
        let answer = AssertUnwindSafe(call)
            .catch_unwind()
            .await
            .map_err(|_| Missed::for_good(HookFailure::Nonsense, "the answer is no gRPC".to_owned()))?;
        let answer = answer.map_err(|status| self.missed(&status))?.into_inner();
        let nonsense = |error: &dyn std::error::Error| {
            Missed::for_good(HookFailure::Nonsense, format!("the answer can't be understood: {error}"))
        };
        Answer::decode(answer).map_err(|error| nonsense(&error))?.verdict().map_err(|error| nonsense(&error))
    }

    fn request(&self, notice: &Notice) -> Request<Bytes> {
        let mut fields = HeaderMap::new();
        fields.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        fields.extend(self.forwarded.of(&notice.call.event.caller));
        // What has no name that can be sent can't be told by it.
        fields.extend(HeaderValue::from_str(&notice.event_id).ok().map(|id| (EVENT_ID, id)));
        let mut request = Request::new(HookRequest::of(&notice.call).encode_to_vec().into());
        *request.metadata_mut() = MetadataMap::from_headers(fields);
        request
    }

    /// What a status means. One with a source is made up here, of what went wrong on the way.
    fn missed(&self, status: &Status) -> Missed {
        if let Some(source) = status.source() {
            return Missed::for_now(HookFailure::Unreachable, chain(source));
        }
        let cause = format!("the hook failed with {:?}", status.code());
        match status.code() {
            Code::Unavailable | Code::ResourceExhausted => Missed::for_now(HookFailure::Failed, cause),
            Code::OutOfRange if status.message().contains("message length too large") => {
                let cause = format!("the answer has more than {} bytes", self.max_response_bytes);
                return Missed::for_good(HookFailure::TooLong, cause);
            }
            _ => Missed::for_good(HookFailure::Failed, cause),
        }
        .saying(status.message())
    }
}

/// Messages as they are: what is wrong in one is found out, and told, by who reads it.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
