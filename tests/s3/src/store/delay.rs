//! CompleteMultipartUpload as S3 answers it when it takes long: 200 and white space at once, the outcome later.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request, Response, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, HttpError};

use super::state::Shared;

const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n ";

/// Serves one request; a completion is delayed if the bed says so. Here and not by the framework, which would put a
/// second XML declaration before an error.
pub(crate) async fn serve(
    service: S3Service,
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    let completes = *request.method() == Method::POST && request.uri().query().is_some_and(names_an_upload);
    let answer = service.call(request.map(Body::from)).await?;
    let delay = shared.state().complete_delay;
    // S3 looks at the signature before it says anything.
    let Some(delay) = delay.filter(|_| completes && answer.status() != StatusCode::FORBIDDEN) else {
        return Ok(answer);
    };
    let (mut head, body) = answer.into_parts();
    let outcome = BodyExt::collect(body).await.map_err(HttpError::new)?.to_bytes();
    head.status = StatusCode::OK;
    head.headers.remove(CONTENT_LENGTH);
    let later = async move {
        tokio::time::sleep(delay).await;
        undeclared(&outcome)
    };
    let pieces = stream::once(async { Bytes::from_static(DECLARATION) }).chain(stream::once(later));
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    Ok(Response::from_parts(head, Body::http_body_unsync(StreamBody::new(frames))))
}

fn names_an_upload(query: &str) -> bool {
    query.split('&').any(|pair| pair.starts_with("uploadId="))
}

/// What follows the XML declaration.
fn undeclared(document: &Bytes) -> Bytes {
    let end = document.windows(2).position(|pair| pair == b"?>").map_or(0, |at| at + 2);
    document.slice(end..)
}
