//! The workloads, each a file, and what they share.

pub(crate) mod paced;
pub(crate) mod s3_memory;
pub(crate) mod s3_throughput;
pub(crate) mod stalled;

use std::future::Future;

use futures_util::{StreamExt, stream};

/// Does the same for each item, so many at a time; the outcomes come in any order.
pub(crate) async fn for_each<Item, Work: Future>(
    items: impl IntoIterator<Item = Item>,
    parallel: usize,
    work: impl FnMut(Item) -> Work,
) -> Vec<Work::Output> {
    stream::iter(items).map(work).buffer_unordered(parallel).collect().await
}
