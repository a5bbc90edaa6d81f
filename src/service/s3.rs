//! The bucket as the store: its client, the pool of part uploaders, and how calls are tried again.

use std::{sync::Arc, time::Duration};

use slog::Logger;
use wharf_actors::{
    Budget,
    parts::{self, Parts},
    storage::{
        Storage,
        s3::{
            Config, S3Store,
            client::{
                Client,
                aws::{self, Aws},
            },
            retry::RetryPolicy,
        },
    },
};

use super::StartError;
use crate::settings::Settings;

/// Pauses between tries.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What a request that carries bytes is given time for.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// How many messages a mailbox of the pool may hold.
const MAILBOX: usize = 256;

/// Prepares everything; whether the bucket can be used is seen when it is.
pub(super) async fn open(
    settings: &Settings,
    budget: Arc<Budget>,
    logger: &Logger,
) -> Result<Arc<dyn Storage>, StartError> {
    let (s3, pool) = (&settings.storage.s3, &settings.pools.s3);
    let client = Aws::connect(aws::Config {
        bucket: s3.bucket.clone(),
        region: s3.region.clone(),
        endpoint: s3.endpoint.clone(),
        path_style: s3.path_style,
        keys: None,
        payload_hash: s3.payload_hash,
        part_checksum: s3.part_checksum,
        connect_timeout: s3.connect,
        attempt_timeout: s3.attempt,
        slowest_bytes_per_second: SLOWEST_BYTES_PER_SECOND,
    })
    .await;
    let sizes = parts::Config {
        workers: pool.workers,
        per_upload: pool.per_upload,
        queue: pool.queue,
        deadline: s3.deadline,
        backoff_first: BACKOFF_FIRST,
        backoff_max: BACKOFF_MAX,
        mailbox: MAILBOX,
    };
    let uploader = client.clone();
    let connect = move || -> Arc<dyn Client> { Arc::new(uploader.sibling()) };
    let parts = Parts::start(sizes, connect, logger.clone())?;
    let config = Config {
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        part_bytes: s3.part_size_bytes,
        tentative_max_bytes: s3.tentative_max_bytes,
        retry: RetryPolicy::new(s3.deadline, BACKOFF_FIRST, BACKOFF_MAX),
    };
    Ok(Arc::new(S3Store::new(config, Arc::new(client), parts, budget, logger.clone())))
}
