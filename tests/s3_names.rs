//! Names that are chosen for uploads in S3, by way of the facade: nothing that speaks HTTP chooses one yet.
#![cfg(feature = "s3")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use slog::{Discard, Logger, o};
use wharf_actors::{
    AskFailure, Budget, Config, Kind, NewUpload, Refusal, Tuning, UploadId, Uploads,
    parts::{self, Parts},
    storage::{
        Durability, StoreTuning,
        s3::{
            self,
            client::{self, Client, Keys, aws::Aws},
            retry::RetryPolicy,
        },
    },
};
use wharf_s3_testbed::Bed;

const SECOND: Duration = Duration::from_secs(1);
const BUDGET_BYTES: usize = 64 << 20;

async fn connected(bed: &Bed) -> Aws {
    Aws::connect(client::Config {
        bucket: bed.bucket().to_owned(),
        region: Some(bed.region().to_owned()),
        endpoint: Some(bed.endpoint()),
        path_style: true,
        keys: Some(Keys { id: bed.access_key().to_owned(), secret: bed.secret_key().to_owned() }),
        payload_hash: true,
        part_checksum: true,
        connect_timeout: 30 * SECOND,
        attempt_timeout: 60 * SECOND,
        slowest_bytes_per_second: 1024,
    })
    .await
}

async fn uploads(bed: &Bed) -> Uploads {
    let (client, logger) = (connected(bed).await, Logger::root(Discard, o!()));
    let uploader = client.clone();
    let connect = move || -> Arc<dyn Client> { Arc::new(uploader.sibling()) };
    let pool = parts::Config {
        workers: 1,
        per_upload: 1,
        queue: 1,
        deadline: 60 * SECOND,
        backoff_first: SECOND / 10,
        backoff_max: SECOND,
        mailbox: 16,
    };
    let parts = Parts::start(pool, connect, logger.clone()).expect("a thread");
    let place = s3::Config {
        bucket: bed.bucket().to_owned(),
        prefix: "in/".to_owned(),
        part_bytes: 5 << 20,
        tentative_max_bytes: 1 << 20,
        retry: RetryPolicy::new(60 * SECOND, SECOND / 10, SECOND),
    };
    let budget = Arc::new(Budget::new(BUDGET_BYTES));
    let store = s3::open(place, Arc::new(client), parts, Arc::clone(&budget), logger.clone());
    let config = Config {
        durability: Durability::Always,
        tuning: Tuning {
            max_size: None,
            mailbox: 16,
            idle_owner: 60 * SECOND,
            patience: 60 * SECOND,
            expire_after: None,
            expire_interval: None,
            concatenation_unfinished: true,
            slow_after: SECOND,
            memory_budget: BUDGET_BYTES,
            hook_workers: 1,
            hook_queue: 1,
            store: StoreTuning {
                disk_workers: 1,
                disk_queue: 1,
                part_workers: 1,
                part_queue: 1,
                parts_per_upload: 1,
                retry_deadline: 60 * SECOND,
            },
        },
        budget,
        remembered: 16,
        hooks: None,
        watcher: None,
    };
    Uploads::start(store, config, logger).await.expect("uploads")
}

fn named(name: &str, length: u64) -> NewUpload {
    NewUpload {
        id: UploadId::parse(name).expect("an id"),
        length: Some(length),
        metadata: BTreeMap::new(),
        raw_metadata: None,
        kind: Kind::Single,
        raw_concat: None,
        place: None,
        caller: None,
        max_size: None,
    }
}

/// A name that an upload has, finished or not, is refused, and what is in the bucket stays as it was.
#[actix_rt::test]
async fn a_name_that_is_taken_is_refused_and_touches_nothing() {
    let bed = Bed::start();
    let uploads = uploads(&bed).await;
    for (name, length) in [("open", 5), ("deep/in/finished", 0)] {
        let created = uploads.create(named(name, length)).await.expect("an upload").snapshot;
        assert!(created.info.id.as_str().starts_with(&format!("{name}+")), "{}", created.info.id);
        let before = (bed.objects(), bed.multipart_uploads());
        for length in [length, 7, 0] {
            let refused = uploads.create(named(name, length)).await.map(|created| created.snapshot.info.id);
            assert_eq!(refused, Err(AskFailure::Refused(Refusal::Exists)), "{name}");
        }
        assert_eq!((bed.objects(), bed.multipart_uploads()), before, "{name}");
        assert_eq!(uploads.inspect(&created.info.id).await.expect("the upload").offset, Some(0));
    }
    // What holds a plus could not be told from its multipart upload's id.
    let refused = uploads.create(named("one+one", 5)).await.map(|created| created.snapshot.info.id);
    assert_eq!(refused, Err(AskFailure::Refused(Refusal::StoreFailed)));
    assert_eq!(bed.multipart_uploads().len(), 1);
}
