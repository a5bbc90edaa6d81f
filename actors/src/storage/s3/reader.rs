//! Reads a finished object.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::oneshot;

use super::{Shared, client::Body, failed};
use crate::storage::{ErrorKind, Op, Reader, StorageError};

/// How often a body may break off in a row without a byte.
pub(super) const BREAKS_MAX: u32 = 5;

/// A body that is being read, at the place where it has come to.
struct OpenBody {
    at: u64,
    body: Body,
    rest: Bytes,
}

/// A finished upload's bytes: one request as long as they are read in order.
pub(super) struct S3Reader {
    shared: Arc<Shared>,
    key: String,
    length: u64,
    /// Where the read before leaves the body.
    open: Option<oneshot::Receiver<OpenBody>>,
}

impl S3Reader {
    pub(super) fn new(shared: Arc<Shared>, key: String, length: u64) -> Self {
        Self { shared, key, length, open: None }
    }
}

impl Reader for S3Reader {
    fn read(&mut self, at: u64, len: usize) -> Op<Bytes> {
        let (give_back, next) = oneshot::channel();
        let previous = self.open.replace(next);
        let (shared, key, length) = (Arc::clone(&self.shared), self.key.clone(), self.length);
        Box::pin(async move {
            if at >= length || len == 0 {
                return Ok(Bytes::new());
            }
            let left = match previous {
                Some(previous) => previous.await.ok().filter(|open| open.at == at),
                None => None,
            };
            let mut open = match left {
                Some(open) => open,
                None => OpenBody { at, body: read_from(&shared, &key, at, length).await?, rest: Bytes::new() },
            };
            let mut breaks = 0;
            while open.rest.is_empty() {
                open.rest = match open.body.try_next().await {
                    Ok(Some(piece)) => piece,
                    // It is gone on with from here; what is read must come to its end, or say that it can't.
                    Ok(None) | Err(_) if breaks < BREAKS_MAX => {
                        breaks += 1;
                        open.body = read_from(&shared, &key, at, length).await?;
                        Bytes::new()
                    }
                    Ok(None) => return Err(StorageError::new(ErrorKind::Failed, "read", "the object ended early")),
                    Err(error) => return Err(failed("read")(error)),
                };
            }
            let piece = open.rest.split_to(len.min(open.rest.len()));
            open.at += piece.len() as u64;
            // A reader that is gone reads no more.
            let _ = give_back.send(open);
            Ok(piece)
        })
    }
}

async fn read_from(shared: &Shared, key: &str, at: u64, length: u64) -> Result<Body, StorageError> {
    let get = || shared.client.get_object(key, Some((at, length - 1)));
    Ok(shared.call("read an object", get).await.map_err(failed("read"))?.body)
}
