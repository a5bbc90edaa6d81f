//! A client whose calls are timed, by S3's own names for them. Each try is a call of its own.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Attributes, Call, Client, ETag, ErrorKind, ListedMultipart, ListedObject, ListedPart, MultipartMarker, Object,
    ObjectHead, Page,
};
use crate::{
    post::{METERED, now_nanos},
    storage::{OperationMeter, OperationReport},
};

/// How a call may fail; the last: it was given up.
const FAILURES: [&str; 11] = [
    "no_such_key",
    "no_such_upload",
    "no_such_bucket",
    "denied",
    "precondition",
    "throttled",
    "invalid",
    "unreachable",
    "unavailable",
    "corrupt",
    "abandoned",
];

type Meter = OperationMeter<{ FAILURES.len() }>;

fn place_of(kind: ErrorKind) -> usize {
    match kind {
        ErrorKind::NoSuchKey => 0,
        ErrorKind::NoSuchUpload => 1,
        ErrorKind::NoSuchBucket => 2,
        ErrorKind::Denied => 3,
        ErrorKind::Precondition => 4,
        ErrorKind::Throttled => 5,
        ErrorKind::Invalid => 6,
        ErrorKind::Unreachable => 7,
        ErrorKind::Unavailable => 8,
        ErrorKind::Corrupt => 9,
    }
}

/// The calls, in the order of their meters.
#[derive(Clone, Copy)]
enum Name {
    PutObject,
    GetObject,
    HeadObject,
    DeleteObjects,
    ListObjects,
    CreateMultipart,
    UploadPart,
    CopyPart,
    ListParts,
    Complete,
    Abort,
    ListMultiparts,
}

const NAMES: [&str; 12] = [
    "PutObject",
    "GetObject",
    "HeadObject",
    "DeleteObjects",
    "ListObjectsV2",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "ListParts",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListMultipartUploads",
];

/// The meters of all clients of a bucket.
#[derive(Clone)]
pub(crate) struct CallMeters(Arc<[Meter; NAMES.len()]>);

impl Default for CallMeters {
    fn default() -> Self {
        Self(Arc::new(NAMES.map(Meter::new)))
    }
}

impl CallMeters {
    /// Meters the calls of `client`.
    pub(crate) fn over(&self, client: Arc<dyn Client>) -> Arc<dyn Client> {
        if METERED { Arc::new(Metered { client, meters: self.clone() }) } else { client }
    }

    /// What has been counted so far of the calls that were made.
    pub(crate) fn report(&self) -> Vec<OperationReport> {
        let reports = self.0.iter().map(|meter| meter.report("s3_api", &FAILURES));
        reports.filter(|report| report.count + report.under_way > 0).collect()
    }

    fn time<T: Send + 'static>(&self, name: Name, call: Call<T>) -> Call<T> {
        let meters = self.clone();
        Box::pin(async move {
            let run = Run::of(meters, name);
            let result = call.await;
            run.end(result.as_ref().err().map(|error| error.kind));
            result
        })
    }
}

/// A call under way.
struct Run {
    meters: CallMeters,
    name: Name,
    began_nanos: u64,
    ended: bool,
}

impl Run {
    fn of(meters: CallMeters, name: Name) -> Self {
        meters.0[name as usize].begin();
        Self { meters, name, began_nanos: now_nanos(), ended: false }
    }

    fn took_nanos(&self) -> u64 {
        now_nanos().saturating_sub(self.began_nanos)
    }

    fn end(mut self, failure: Option<ErrorKind>) {
        self.ended = true;
        self.meters.0[self.name as usize].end(self.took_nanos(), failure.map(place_of));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let meter = &self.meters.0[self.name as usize];
        meter.leave();
        if !self.ended {
            meter.end(self.took_nanos(), Some(FAILURES.len() - 1));
        }
    }
}

struct Metered {
    client: Arc<dyn Client>,
    meters: CallMeters,
}

impl Client for Metered {
    fn put_object(&self, key: &str, body: Vec<Bytes>, attributes: Attributes, only_if_absent: bool) -> Call<ETag> {
        self.meters.time(Name::PutObject, self.client.put_object(key, body, attributes, only_if_absent))
    }

    fn get_object(&self, key: &str, range: Option<(u64, u64)>) -> Call<Object> {
        self.meters.time(Name::GetObject, self.client.get_object(key, range))
    }

    fn head_object(&self, key: &str) -> Call<ObjectHead> {
        self.meters.time(Name::HeadObject, self.client.head_object(key))
    }

    fn delete_objects(&self, keys: Vec<String>) -> Call<()> {
        self.meters.time(Name::DeleteObjects, self.client.delete_objects(keys))
    }

    fn list_objects(&self, prefix: &str, after: Option<String>, max: u16) -> Call<Page<ListedObject, String>> {
        self.meters.time(Name::ListObjects, self.client.list_objects(prefix, after, max))
    }

    fn create_multipart(&self, key: &str, attributes: Attributes) -> Call<String> {
        self.meters.time(Name::CreateMultipart, self.client.create_multipart(key, attributes))
    }

    fn upload_part(&self, key: &str, id: &str, number: u16, body: Vec<Bytes>) -> Call<ETag> {
        self.meters.time(Name::UploadPart, self.client.upload_part(key, id, number, body))
    }

    fn copy_part(&self, key: &str, id: &str, number: u16, source: &str, range: (u64, u64)) -> Call<ETag> {
        self.meters.time(Name::CopyPart, self.client.copy_part(key, id, number, source, range))
    }

    fn list_parts(&self, key: &str, id: &str, after: Option<u16>) -> Call<Page<ListedPart, u16>> {
        self.meters.time(Name::ListParts, self.client.list_parts(key, id, after))
    }

    fn complete(&self, key: &str, id: &str, parts: &[(u16, ETag)]) -> Call<ETag> {
        self.meters.time(Name::Complete, self.client.complete(key, id, parts))
    }

    fn abort(&self, key: &str, id: &str) -> Call<()> {
        self.meters.time(Name::Abort, self.client.abort(key, id))
    }

    fn list_multiparts(
        &self,
        prefix: &str,
        after: Option<MultipartMarker>,
    ) -> Call<Page<ListedMultipart, MultipartMarker>> {
        self.meters.time(Name::ListMultiparts, self.client.list_multiparts(prefix, after))
    }
}
