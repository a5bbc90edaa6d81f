//! What the application is still to be told of, an object each under `.wharf/outbox/`.

use std::sync::Arc;

use bytes::Bytes;

use super::{Shared, client::Attributes, failed};
use crate::storage::{Op, OutboxStore};

/// What their keys start with, behind the prefix.
const OUTBOX: &str = ".wharf/outbox/";

/// S3 lists no more at once.
const LIST_MAX: usize = 1000;

/// The outbox of a bucket.
pub(super) struct S3Outbox(pub(super) Arc<Shared>);

impl S3Outbox {
    fn key(&self, name: &str) -> String {
        self.0.key(&format!("{OUTBOX}{name}"))
    }
}

impl OutboxStore for S3Outbox {
    fn put(&self, name: String, content: Bytes) -> Op<()> {
        let (shared, key) = (Arc::clone(&self.0), self.key(&name));
        Box::pin(async move {
            shared.put(&key, content, Attributes::default()).await.map(drop).map_err(failed("note an event"))
        })
    }

    fn read(&self, name: String) -> Op<Option<Bytes>> {
        let (shared, key) = (Arc::clone(&self.0), self.key(&name));
        Box::pin(async move { shared.get(&key).await.map_err(failed("read an event")) })
    }

    fn remove(&self, name: String) -> Op<()> {
        let (shared, key) = (Arc::clone(&self.0), self.key(&name));
        Box::pin(async move { shared.delete(vec![key]).await.map_err(failed("remove an event")) })
    }

    fn list(&self, after: String, limit: usize) -> Op<Vec<String>> {
        let (shared, prefix) = (Arc::clone(&self.0), self.key(""));
        let most = u16::try_from(limit.min(LIST_MAX)).unwrap_or(u16::MAX);
        Box::pin(async move {
            let after = (!after.is_empty()).then(|| format!("{prefix}{after}"));
            let list = || shared.client.list_objects(&prefix, after.clone(), most);
            let page = shared.call("list the outbox", list).await.map_err(failed("list the outbox"))?;
            let name = |key: &str| key.strip_prefix(&prefix).map(str::to_owned);
            Ok(page.entries.iter().filter_map(|object| name(&object.key)).collect())
        })
    }
}
