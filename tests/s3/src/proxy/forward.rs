//! One exchange: the request goes on to the server, on a connection of its own, and meets its fault on the way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::http::response::Parts;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Shared;
use super::answer::{self, AnswerBody};
use super::fault::Kind;
use super::socket::Doom;

type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Serves one request of a client. An error ends the client's connection, with a reset.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    doom: Doom,
    request: Request<Incoming>,
) -> io::Result<Response<AnswerBody>> {
    let fault = shared.plan().choose(&request);
    let outcome = meet(&shared, fault, request).await;
    if outcome.is_err() {
        doom.reset();
    }
    outcome
}

async fn meet(shared: &Shared, fault: Option<Kind>, request: Request<Incoming>) -> io::Result<Response<AnswerBody>> {
    let method = request.method().clone();
    match fault {
        None => pass(shared, request).await,
        Some(Kind::Answer(status, code)) => {
            drain(request).await?;
            Ok(answer::error(status, code))
        }
        Some(Kind::ResetBefore) => Err(reset()),
        Some(Kind::ResetAfter) => {
            whole(shared, whole_request(request)).await?;
            Err(reset())
        }
        Some(Kind::CutAnswer) => {
            let (head, bytes) = whole(shared, whole_request(request)).await?;
            if bytes.is_empty() || method == Method::HEAD { Err(reset()) } else { Ok(answer::halved(head, &bytes)) }
        }
        Some(Kind::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            pass(shared, request).await
        }
        Some(Kind::DelayAnswer(delay)) => {
            let (head, body) = send(shared, whole_request(request)).await?.into_parts();
            tokio::time::sleep(delay).await;
            Ok(Response::from_parts(head, body.map_err(io::Error::other).boxed_unsync()))
        }
        Some(Kind::TruncateRequest) => {
            send(shared, truncated_request(request)?).await?;
            Err(reset())
        }
        Some(Kind::ErrorInOk { applied: true }) => {
            whole(shared, whole_request(request)).await?;
            Ok(answer::error(200, "InternalError"))
        }
        Some(Kind::ErrorInOk { applied: false }) => {
            drain(request).await?;
            Ok(answer::error(200, "InternalError"))
        }
        Some(Kind::HideParts { all }) => {
            let (head, bytes) = whole(shared, whole_request(request)).await?;
            Ok(answer::without_parts(head, &bytes, all))
        }
        Some(Kind::Hold) => {
            hold(shared).await;
            pass(shared, request).await
        }
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

async fn pass(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<AnswerBody>> {
    let answer = send(shared, whole_request(request)).await?;
    Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
}

/// Forwards, and takes the whole answer.
async fn whole(shared: &Shared, request: Request<RequestBody>) -> io::Result<(Parts, Bytes)> {
    let (head, body) = send(shared, request).await?.into_parts();
    Ok((head, body.collect().await.map_err(io::Error::other)?.to_bytes()))
}

/// Forwards with target and headers as they are, `Host` too.
async fn send(shared: &Shared, request: Request<RequestBody>) -> io::Result<Response<Incoming>> {
    let stream = TcpStream::connect(shared.upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

async fn drain(request: Request<Incoming>) -> io::Result<()> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn hold(shared: &Shared) {
    let mut released = shared.released.subscribe();
    let _held = Held::new(shared);
    // It fails only when the proxy is gone, and its connections with it.
    let _ = released.changed().await;
}

/// Counts a held request, also one whose client gives up.
struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.plan().held += 1;
        Self(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.plan().held -= 1;
    }
}

fn whole_request(request: Request<Incoming>) -> Request<RequestBody> {
    // A body of nothing must stay one: without a length it would be sent in chunks.
    request.map(|body| match body.is_end_stream() {
        true => Full::default().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync(),
        false => body.map_err(io::Error::other).boxed_unsync(),
    })
}

/// A request that breaks off after half of its declared body.
fn truncated_request(request: Request<Incoming>) -> io::Result<Request<RequestBody>> {
    let length = request.body().size_hint().exact().filter(|length| *length > 0).ok_or_else(reset)?;
    Ok(request.map(|body| Truncated { body, left: length / 2, ended: false }.boxed_unsync()))
}

struct Truncated {
    body: Incoming,
    left: u64,
    ended: bool,
}

impl Body for Truncated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left > 0 {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            let data = frame.transpose().map_err(io::Error::other)?.and_then(|frame| frame.into_data().ok());
            let Some(data) = data else { return Poll::Ready(Some(Err(reset()))) };
            let taken = data.slice(..data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)));
            self.left -= taken.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(taken))));
        }
        if !self.ended {
            // One pause lets the half go out before the connection ends.
            self.ended = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(reset())))
    }
}
