//! The few calls of S3 that a store of uploads needs, and what may come of them. Knows nothing of uploads by tus.
//!
//! A call is one request. Nothing in here tries again: who asked knows better whether that makes sense, and
//! [`ClientError::may_retry`] and [`ClientError::may_have_been_applied`] tell what is known.

use std::{collections::BTreeMap, error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::Stream;

pub mod aws;
mod body;
mod config;
mod digest;
mod error;
pub(crate) mod metered;
#[cfg(feature = "rusoto")]
pub mod rusoto;
mod spelling;

pub use config::{Config, Keys};

/// A request under way. Dropping it gives it up, and leaves open whether S3 has acted on it.
pub type Call<T> = Pin<Box<dyn Future<Output = Result<T, ClientError>> + Send>>;

/// The bytes of an object as they come in. An object that ends early ends with an error.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

/// A client of one bucket. Keys are whole: a prefix is the caller's affair.
///
/// Its connections belong to the runtimes of the calls that opened them.
pub trait Client: Send + Sync + 'static {
    /// Stores an object in one piece, and gives its ETag. With `only_if_absent` it fails with
    /// [`ErrorKind::Precondition`] when the key is taken; services that know no conditions ignore that, or fail with
    /// [`ErrorKind::Invalid`] and the code `NotImplemented`.
    fn put_object(&self, key: &str, body: Vec<Bytes>, attributes: Attributes, only_if_absent: bool) -> Call<ETag>;

    /// Starts to read an object, or the bytes `first..=last` of it. `last` may lie behind the end; with `first` behind
    /// it the call fails with [`ErrorKind::Invalid`] and the code `InvalidRange`.
    fn get_object(&self, key: &str, range: Option<(u64, u64)>) -> Call<Object>;

    /// Describes an object.
    fn head_object(&self, key: &str) -> Call<ObjectHead>;

    /// Deletes up to 1,000 objects. Those that don't exist are no error. When it fails, any of them may be gone.
    fn delete_objects(&self, keys: Vec<String>) -> Call<()>;

    /// Lists up to `max` (at most 1,000) of the objects whose keys start with `prefix` and lie behind `after`, in the
    /// order of their keys' bytes. `after` need not be a key that exists.
    fn list_objects(&self, prefix: &str, after: Option<String>, max: u16) -> Call<Page<ListedObject, String>>;

    /// Begins a multipart upload, and gives its id. The attributes become those of the object.
    fn create_multipart(&self, key: &str, attributes: Attributes) -> Call<String>;

    /// Stores part `number` (from 1 to 10,000) in place of what was there, and gives its ETag.
    fn upload_part(&self, key: &str, id: &str, number: u16, body: Vec<Bytes>) -> Call<ETag>;

    /// Like [`Self::upload_part`], with the bytes `first..=last` of the object `source` in the same bucket.
    fn copy_part(&self, key: &str, id: &str, number: u16, source: &str, range: (u64, u64)) -> Call<ETag>;

    /// Lists up to 1,000 of the stored parts with numbers above `after`, by number. What was stored a moment ago may be
    /// missing.
    fn list_parts(&self, key: &str, id: &str, after: Option<u16>) -> Call<Page<ListedPart, u16>>;

    /// Makes the object out of these parts, in ascending order of their numbers, and gives its ETag. The upload is then
    /// gone: a second try of one that was applied fails with [`ErrorKind::NoSuchUpload`].
    fn complete(&self, key: &str, id: &str, parts: &[(u16, ETag)]) -> Call<ETag>;

    /// Drops a multipart upload with its parts. Fails with [`ErrorKind::NoSuchUpload`] when it is gone already. A part
    /// that is under way meanwhile may outlive it.
    fn abort(&self, key: &str, id: &str) -> Call<()>;

    /// Lists up to 1,000 of the multipart uploads under way whose keys start with `prefix`, by key.
    fn list_multiparts(
        &self,
        prefix: &str,
        after: Option<MultipartMarker>,
    ) -> Call<Page<ListedMultipart, MultipartMarker>>;
}

/// What S3 calls a version of an object or a part, without its quotes. Only good for comparing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ETag(String);

impl ETag {
    /// From a header or a listing, where it may stand in quotes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Self(bare.unwrap_or(text).to_owned())
    }

    /// Without quotes.
    #[must_use]
    pub fn bare(&self) -> &str {
        &self.0
    }

    /// As it stands in headers.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// What an object carries besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Values by name, without `x-amz-meta-`. S3 makes the names lower-case. A value must be fit for a header: printable
    /// ASCII without space at its ends, else the call fails with [`ErrorKind::Invalid`] before anything is sent.
    pub metadata: BTreeMap<String, String>,
    /// Its media type. S3 has a default for those without.
    pub content_type: Option<String>,
}

/// An object that is being read.
pub struct Object {
    /// What is known of the whole object, whatever the range.
    pub head: ObjectHead,
    /// The bytes that were asked for.
    pub body: Body,
}

impl fmt::Debug for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Object").field("head", &self.head).finish_non_exhaustive()
    }
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// The bytes of the whole object.
    pub size: u64,
    /// Its version.
    pub etag: ETag,
    /// When it was stored, to the second.
    pub modified: SystemTime,
    /// What it carries.
    pub attributes: Attributes,
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, M> {
    /// The entries, in the list's order. A page may be empty although more follow.
    pub entries: Vec<T>,
    /// What to go on with; `None` at the end.
    pub next: Option<M>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// When it was stored.
    pub modified: SystemTime,
}

/// A part in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: u16,
    /// Its bytes.
    pub size: u64,
    /// Its version.
    pub etag: ETag,
}

/// A multipart upload in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedMultipart {
    /// The key of the object that it would make.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub initiated: SystemTime,
}

/// Behind which multipart upload a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipartMarker {
    /// A key.
    pub key: String,
    /// An id of that key's.
    pub id: String,
}

/// What came of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such object. Also what HEAD says when the bucket is missing.
    NoSuchKey,
    /// No such multipart upload: completed, aborted, or never begun.
    NoSuchUpload,
    /// No such bucket.
    NoSuchBucket,
    /// S3 doesn't let us, or there are no credentials.
    Denied,
    /// The condition of the request does not hold.
    Precondition,
    /// S3 refused the request for now, and has not acted on it.
    Throttled,
    /// S3 refused the request for good, or it could not be formed; [`ClientError::code`] says why.
    Invalid,
    /// The request was not sent: no connection, or no credentials for now.
    Unreachable,
    /// S3 failed, or its answer did not come (a time-out, a reset). It may have acted on the request, or still do so.
    Unavailable,
    /// The request or the answer was damaged on its way.
    Corrupt,
}

/// A failed call: a kind to act upon, and the cause for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("S3 {operation} failed ({})", code.as_deref().unwrap_or("no code"))]
pub struct ClientError {
    /// What to act upon.
    pub kind: ErrorKind,
    /// The operation by S3's own name, `UploadPart` say.
    pub operation: &'static str,
    /// S3's code for what was wrong, when there was an answer with one.
    pub code: Option<String>,
    /// The cause. Shared, because several askers may get the same answer.
    #[source]
    pub source: Arc<dyn Error + Send + Sync>,
}

impl ClientError {
    /// An error of the given kind.
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        code: Option<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, operation, code, source: Arc::from(source.into()) }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        use ErrorKind::{Corrupt, Throttled, Unavailable, Unreachable};
        matches!(self.kind, Throttled | Unreachable | Unavailable | Corrupt)
    }

    /// Whether S3 may have acted on the request although it failed.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Corrupt)
    }
}
