//! The running S3 server as a test sees it: where it listens, its keys, what it holds and what was asked of it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::server::Server;
use crate::store::access::{Access, Keys, LocalHost};
use crate::store::state::{Content, Object, Shared};
use crate::store::{Store, delay, uploads};

/// How a [`Bed`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The bucket that exists from the start.
    pub bucket: String,
    /// The key id that requests must be signed with.
    pub access_key: String,
    /// The secret that requests must be signed with.
    pub secret_key: String,
    /// The region that signatures must name.
    pub region: String,
    /// Keeps no bytes of parts and doesn't digest them; what is read back of them is zeros.
    pub sink: bool,
    /// How many bytes of bodies it takes each second, over all connections; as many as come when there is no limit.
    pub bytes_per_second: Option<u64>,
    /// What upload ids look like.
    pub upload_ids: UploadIds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            bucket: "wharf-test".to_owned(),
            access_key: "AKIDTESTBED".to_owned(),
            secret_key: "secret/of+the-testbed".to_owned(),
            region: "test-region-1".to_owned(),
            sink: false,
            bytes_per_second: None,
            upload_ids: UploadIds::Plain,
        }
    }
}

/// The characters of multipart upload ids: S3 promises nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadIds {
    /// Letters, digits, `.`, `_` and `-`, as AWS makes them.
    Plain,
    /// Also `+`, `/` and `=`, as base64 makes them.
    Reserved,
}

/// How far ListParts is behind what UploadPart has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// A part is listed at once.
    None,
    /// A part is listed after so many ListParts of its upload have not shown it.
    Calls(u64),
    /// A part is listed when it is so old.
    Time(Duration),
}

/// What was asked of the bed since the start or the last [`Bed::clear`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// Requests with a good signature by operation, as S3 names it, whatever came of them.
    pub counts: BTreeMap<String, u64>,
    /// Body bytes taken by PutObject and UploadPart, those of refused and broken requests too.
    pub received: BTreeMap<String, u64>,
    /// Body bytes that GetObject set out to send.
    pub sent: u64,
    /// How many UploadPart were under way at once, at most.
    pub peak_parts: u64,
}

impl Calls {
    /// How often `operation` was asked for.
    #[must_use]
    pub fn count(&self, operation: &str) -> u64 {
        self.counts.get(operation).copied().unwrap_or(0)
    }
}

/// An object as the bed holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its bytes; those of parts that a sink has dropped are missing.
    pub bytes: Bytes,
    /// Its length, also in a sink.
    pub size: u64,
    /// The values of its `x-amz-meta-` headers.
    pub metadata: BTreeMap<String, String>,
    /// Its `Content-Type`, if it was given one.
    pub content_type: Option<String>,
    /// Its ETag, without quotes.
    pub e_tag: String,
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpload {
    /// The key of the object it will be.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// The values of its `x-amz-meta-` headers.
    pub metadata: BTreeMap<String, String>,
    /// Its `Content-Type`, if it was given one.
    pub content_type: Option<String>,
    /// Its parts by number.
    pub parts: BTreeMap<i32, StoredPart>,
}

/// A part of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Its bytes; none in a sink.
    pub bytes: Bytes,
    /// Its length, also in a sink.
    pub size: u64,
    /// Its ETag, without quotes.
    pub e_tag: String,
}

/// A strict S3 server in memory, on 127.0.0.1, that ends when it is dropped.
pub struct Bed {
    options: Options,
    shared: Arc<Shared>,
    server: Server,
}

impl Bed {
    /// Starts one with the default [`Options`].
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Options::default()).expect("the S3 bed listens on a free port")
    }

    /// Starts one; fails when the port can't be had.
    pub fn start_with(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&options));
        shared.state().buckets.entry(options.bucket.clone()).or_default();
        let service = service(&options, &shared);
        let serving = Arc::clone(&shared);
        let server = Server::start(options.port, move |stream| {
            let (service, shared) = (service.clone(), Arc::clone(&serving));
            let answer = service_fn(move |request| delay::serve(service.clone(), Arc::clone(&shared), request));
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
            async move {
                // A client that goes away is its own affair.
                let _ = connection.await;
            }
        })?;
        Ok(Self { options, shared, server })
    }

    /// Its URL, without a slash at the end; requests must be path style, or name `BUCKET.localhost` as their host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The bucket that exists from the start.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.options.bucket
    }

    /// The key id that requests must be signed with.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.options.access_key
    }

    /// The secret that requests must be signed with.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.options.secret_key
    }

    /// The region that signatures must name.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.options.region
    }

    /// Everything in [`Self::bucket`], by key.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        let state = self.shared.state();
        let bucket = state.buckets.get(self.bucket());
        bucket
            .into_iter()
            .flat_map(|bucket| &bucket.objects)
            .map(|(key, object)| (key.clone(), object.view()))
            .collect()
    }

    /// The multipart uploads of [`Self::bucket`] that are neither completed nor aborted, by key, then age.
    #[must_use]
    pub fn multipart_uploads(&self) -> Vec<StoredUpload> {
        let state = self.shared.state();
        let bucket = state.buckets.get(self.bucket());
        let uploads = bucket.into_iter().flat_map(|bucket| &bucket.uploads);
        uploads.map(|((key, upload_id), upload)| upload.view(key, upload_id)).collect()
    }

    /// What was asked of it.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.shared.state().calls.clone()
    }

    /// Forgets all objects, uploads and counts; the buckets, and the switches below, stay.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.buckets.values_mut().for_each(|bucket| *bucket = Default::default());
        state.calls = Calls::default();
    }

    /// Puts an object into [`Self::bucket`] past all checks, without metadata.
    pub fn put_object(&self, key: &str, bytes: impl Into<Bytes>) {
        let object = Object::plain(Content::Kept(vec![bytes.into()]));
        let mut state = self.shared.state();
        state.buckets.entry(self.options.bucket.clone()).or_default().objects.insert(key.to_owned(), object);
    }

    /// Takes an object away, as somebody else would; says whether it was there.
    pub fn remove_object(&self, key: &str) -> bool {
        let mut state = self.shared.state();
        state.buckets.get_mut(self.bucket()).is_some_and(|bucket| bucket.objects.remove(key).is_some())
    }

    /// Aborts a multipart upload, as a lifecycle rule would; says whether it was there.
    pub fn abort_upload(&self, upload_id: &str) -> bool {
        let mut state = self.shared.state();
        let Some(bucket) = state.buckets.get_mut(self.bucket()) else { return false };
        let before = bucket.uploads.len();
        bucket.uploads.retain(|(_, id), _| id != upload_id);
        bucket.uploads.len() < before
    }

    /// Makes ListParts fall behind from now on.
    pub fn lag_list_parts(&self, lag: Lag) {
        self.shared.state().lag = lag;
    }

    /// Answers CompleteMultipartUpload with 200 at once and with the outcome, be it an error, so much later. It takes
    /// effect at once. Without a delay an error has its own status.
    pub fn delay_complete(&self, delay: Option<Duration>) {
        self.shared.state().complete_delay = delay;
    }

    /// How large a part must be unless it is the last: 5 MiB until this is called.
    pub fn minimum_part_size(&self, bytes: u64) {
        self.shared.state().limits = uploads::Limits { minimum_part: bytes };
    }
}

fn service(options: &Options, shared: &Arc<Shared>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Store::new(Arc::clone(shared)));
    builder.set_auth(Keys::new(&options.access_key, &options.secret_key));
    builder.set_access(Access::new(Arc::clone(shared), options.region.clone()));
    builder.set_host(LocalHost);
    builder.build()
}
