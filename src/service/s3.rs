//! The bucket as the store: its client, the pool of part uploaders, and how calls are tried again.

use std::{sync::Arc, time::Duration};

use slog::Logger;
use wharf_actors::{
    Budget,
    parts::{self, Parts},
    storage::{
        Storage,
        s3::{
            self, Config,
            client::{self, Client, aws::Aws},
            retry::RetryPolicy,
        },
    },
};

use super::StartError;
use crate::settings::{S3Client, Settings};

/// Pauses between tries.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What a request that carries bytes is given time for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// How many messages a mailbox of the pool may hold.
const MAILBOX: usize = 256;

/// The longest upload that fits into S3's 10,000 parts and this server's memory.
pub(super) fn longest_upload(settings: &Settings) -> u64 {
    let budget = u64::try_from(settings.storage.memory_budget_bytes).unwrap_or(u64::MAX);
    s3::longest_upload(settings.storage.s3.part_size_bytes, budget)
}

/// Prepares everything; whether the bucket can be used is seen when it is.
pub(super) async fn open(
    settings: &Settings,
    budget: Arc<Budget>,
    logger: &Logger,
) -> Result<Arc<dyn Storage>, StartError> {
    let (place, pool) = (&settings.storage.s3, &settings.pools.s3);
    let (client, connect) = connected(
        place.client,
        client::Config {
            bucket: place.bucket.clone(),
            region: place.region.clone(),
            endpoint: place.endpoint.clone(),
            path_style: place.path_style,
            keys: None,
            payload_hash: place.payload_hash,
            part_checksum: place.part_checksum,
            connect_timeout: place.connect,
            attempt_timeout: place.attempt,
            slowest_bytes_per_second: SLOWEST_BYTES_PER_SECOND,
        },
    )
    .await;
    let sizes = parts::Config {
        workers: pool.workers,
        per_upload: pool.per_upload,
        queue: pool.queue,
        deadline: place.deadline,
        backoff_first: BACKOFF_FIRST,
        backoff_max: BACKOFF_MAX,
        mailbox: MAILBOX,
    };
    let parts = Parts::start(sizes, connect, logger.clone())?;
    let config = Config {
        bucket: place.bucket.clone(),
        prefix: place.prefix.clone(),
        part_bytes: place.part_size_bytes,
        tentative_max_bytes: place.tentative_max_bytes,
        retry: RetryPolicy::new(place.deadline, BACKOFF_FIRST, BACKOFF_MAX),
    };
    Ok(s3::open(config, client, parts, budget, logger.clone()))
}

/// Makes clients with connections of their own.
type Siblings = Box<dyn Fn() -> Arc<dyn Client> + Send + Sync>;

/// The client that the settings choose, and what makes others like it.
async fn connected(which: S3Client, config: client::Config) -> (Arc<dyn Client>, Siblings) {
    match which {
        S3Client::Aws => {
            let (client, parent) = twice(Aws::connect(config).await);
            (Arc::new(client), Box::new(move || Arc::new(parent.sibling())))
        }
        #[cfg(feature = "rusoto")]
        S3Client::Rusoto => {
            let (client, parent) = twice(client::rusoto::Rusoto::connect(config));
            (Arc::new(client), Box::new(move || Arc::new(parent.sibling())))
        }
    }
}

fn twice<T: Clone>(client: T) -> (T, T) {
    (client.clone(), client)
}
