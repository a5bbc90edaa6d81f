//! Bodies on their way to S3 and back, chunk by chunk, without a copy.

use std::{
    convert::Infallible,
    fmt::Display,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec::IntoIter,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::timeout;

use super::{Body, ClientError, ErrorKind};

/// The bytes in all chunks.
pub(super) fn length(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

/// A body of known length that is sent chunk by chunk.
pub(super) struct Chunks {
    rest: IntoIter<Bytes>,
    left: u64,
}

impl Chunks {
    pub(super) fn new(chunks: Vec<Bytes>) -> Self {
        let left = length(&chunks);
        Self { rest: chunks.into_iter(), left }
    }
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(chunk) = self.rest.find(|chunk| !chunk.is_empty()) else { return Poll::Ready(None) };
        self.left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

struct Incoming<S> {
    stream: S,
    left: u64,
    patience: Duration,
}

/// Reads `length` bytes, and waits for each chunk as long as `patience` allows.
pub(super) fn incoming<S, E>(stream: S, length: u64, patience: Duration) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Display,
{
    let first = Incoming { stream, left: length, patience };
    // An error is the last item.
    Box::pin(stream::unfold(Some(first), |incoming| async {
        let mut incoming = incoming?;
        match next(&mut incoming).await {
            Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(incoming))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

async fn next<S, E>(incoming: &mut Incoming<S>) -> Result<Option<Bytes>, ClientError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Display,
{
    let broken = |kind, cause: String| Err(ClientError::new(kind, "GetObject", None, cause));
    match timeout(incoming.patience, incoming.stream.next()).await {
        Err(_) => broken(ErrorKind::Unavailable, "the body came to a halt".to_owned()),
        Ok(Some(Err(error))) => broken(ErrorKind::Unavailable, error.to_string()),
        Ok(None) if incoming.left == 0 => Ok(None),
        Ok(None) => broken(ErrorKind::Corrupt, format!("the body ended {} bytes early", incoming.left)),
        Ok(Some(Ok(chunk))) => match incoming.left.checked_sub(chunk.len() as u64) {
            Some(left) => {
                incoming.left = left;
                Ok(Some(chunk))
            }
            None => broken(ErrorKind::Corrupt, "the body is longer than was said".to_owned()),
        },
    }
}
