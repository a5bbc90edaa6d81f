//! What the server holds, behind one lock: buckets, objects, multipart uploads, counts and switches.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use s3s::{S3Result, s3_error};

use super::uploads::Limits;
use crate::bed::{Calls, Lag, Options, StoredObject, StoredPart, StoredUpload, UploadIds};

/// What the connections and the [`crate::Bed`] share.
pub(crate) struct Shared {
    pub(crate) sink: bool,
    pub(crate) upload_ids: UploadIds,
    bytes_per_second: Option<u64>,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Self {
        let Options { sink, upload_ids, bytes_per_second, .. } = *options;
        Self { sink, upload_ids, bytes_per_second, state: Mutex::default() }
    }

    /// Never held across an await: each request reads its body first and then acts at one instant.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many bytes more may have come, where that is limited.
    pub(crate) async fn pace(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let until = {
            let mut state = self.state();
            let begins = state.busy_until.unwrap_or_else(Instant::now).max(Instant::now());
            *state.busy_until.insert(begins + takes)
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    pub(crate) calls: Calls,
    pub(crate) parts_in_flight: u64,
    pub(crate) lag: Lag,
    pub(crate) complete_delay: Option<Duration>,
    pub(crate) limits: Limits,
    /// When the bytes that have come so far would have come at the limited rate.
    busy_until: Option<Instant>,
    uploads_made: u64,
    digests_made: u128,
}

impl Default for State {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            calls: Calls::default(),
            parts_in_flight: 0,
            lag: Lag::None,
            complete_delay: None,
            limits: Limits::default(),
            busy_until: None,
            uploads_made: 0,
            digests_made: 0,
        }
    }
}

impl State {
    pub(crate) fn bucket(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    pub(crate) fn object(&mut self, bucket: &str, key: &str) -> S3Result<&Object> {
        let object = self.bucket(bucket)?.objects.get(key);
        object.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    pub(crate) fn upload(&mut self, bucket: &str, key: &str, upload_id: &str) -> S3Result<&mut Upload> {
        let upload = self.bucket(bucket)?.uploads.get_mut(&(key.to_owned(), upload_id.to_owned()));
        upload.ok_or_else(no_such_upload)
    }

    /// Stands for the digest of bytes that a sink has dropped: no two parts share one.
    pub(crate) fn new_digest(&mut self) -> [u8; 16] {
        self.digests_made += 1;
        self.digests_made.to_be_bytes()
    }

    /// Ids sort by age, so that a listing's markers, which compare ids, also go by age.
    pub(crate) fn new_upload_id(&mut self, style: UploadIds) -> String {
        self.uploads_made += 1;
        let number = self.uploads_made;
        match style {
            UploadIds::Plain => format!("{number:08x}.Wharf_Test-{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            UploadIds::Reserved => format!("{number:08x}+a/b+{:x}==", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }
}

pub(crate) fn no_such_upload() -> s3s::S3Error {
    s3_error!(NoSuchUpload, "The specified upload does not exist. It may have been aborted or completed.")
}

#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<String, Object>,
    /// By key, then upload id.
    pub(crate) uploads: BTreeMap<(String, String), Upload>,
}

/// The headers that an object keeps from the request that began it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) content_type: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) cache_control: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) content: Content,
    pub(crate) headers: Headers,
    pub(crate) e_tag: String,
    pub(crate) modified: SystemTime,
}

impl Object {
    pub(crate) fn plain(content: Content) -> Self {
        let e_tag = hex(&content.digest());
        Self { content, headers: Headers::default(), e_tag, modified: SystemTime::now() }
    }

    pub(crate) fn view(&self) -> StoredObject {
        StoredObject {
            bytes: self.content.joined(),
            size: self.content.len(),
            metadata: self.headers.metadata.clone(),
            content_type: self.headers.content_type.clone(),
            e_tag: self.e_tag.clone(),
        }
    }
}

pub(crate) struct Upload {
    pub(crate) headers: Headers,
    pub(crate) initiated: SystemTime,
    pub(crate) parts: BTreeMap<i32, Part>,
    /// How often it was listed, for [`Lag::Calls`].
    pub(crate) listings: u64,
}

impl Upload {
    pub(crate) fn new(headers: Headers) -> Self {
        Self { headers, initiated: SystemTime::now(), parts: BTreeMap::new(), listings: 0 }
    }

    pub(crate) fn view(&self, key: &str, upload_id: &str) -> StoredUpload {
        StoredUpload {
            key: key.to_owned(),
            upload_id: upload_id.to_owned(),
            metadata: self.headers.metadata.clone(),
            content_type: self.headers.content_type.clone(),
            parts: self.parts.iter().map(|(number, part)| (*number, part.view())).collect(),
        }
    }
}

pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) digest: [u8; 16],
    pub(crate) modified: SystemTime,
    pub(crate) stored: Instant,
    /// The upload's count of listings when the part was stored.
    pub(crate) listings: u64,
}

impl Part {
    pub(crate) fn e_tag(&self) -> String {
        hex(&self.digest)
    }

    /// Whether a ListParts that `lag`s shows it, the upload having been listed `listings` times.
    pub(crate) fn listed(&self, lag: Lag, listings: u64) -> bool {
        match lag {
            Lag::None => true,
            Lag::Calls(calls) => listings - self.listings > calls,
            Lag::Time(age) => self.stored.elapsed() >= age,
        }
    }

    fn view(&self) -> StoredPart {
        StoredPart { bytes: self.content.joined(), size: self.content.len(), e_tag: self.e_tag() }
    }
}

/// The bytes of an object or a part.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// In pieces, so that completing an upload copies nothing.
    Kept(Vec<Bytes>),
    /// A sink's: only the length is known.
    Dropped(u64),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Kept(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::Dropped(length) => *length,
        }
    }

    /// Without the bytes that were dropped.
    pub(crate) fn joined(&self) -> Bytes {
        match self {
            Self::Kept(pieces) if pieces.len() == 1 => pieces[0].clone(),
            Self::Kept(pieces) => pieces.concat().into(),
            Self::Dropped(_) => Bytes::new(),
        }
    }

    pub(crate) fn digest(&self) -> [u8; 16] {
        use md5::Digest as _;
        let mut digest = md5::Md5::new();
        if let Self::Kept(pieces) = self {
            pieces.iter().for_each(|piece| digest.update(piece));
        }
        digest.finalize().into()
    }

    /// All of `contents` in a row; dropped when one of them is.
    pub(crate) fn concatenated<'a>(contents: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut pieces = Vec::new();
        for content in contents.clone() {
            match content {
                Self::Kept(more) => pieces.extend(more.iter().cloned()),
                Self::Dropped(_) => return Self::Dropped(contents.map(Self::len).sum()),
            }
        }
        Self::Kept(pieces)
    }

    pub(crate) fn slice(&self, range: std::ops::Range<u64>) -> Self {
        let Self::Kept(pieces) = self else { return Self::Dropped(range.end - range.start) };
        let mut sliced = Vec::new();
        let mut start = 0;
        for piece in pieces {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                sliced.push(piece.slice((from - start) as usize..(to - start) as usize));
            }
            start = end;
        }
        Self::Kept(sliced)
    }

    /// In the pieces that it is kept in; dropped bytes as zeros.
    pub(crate) fn into_pieces(self) -> Box<dyn Iterator<Item = Bytes> + Send + Sync> {
        static ZEROS: [u8; 65_536] = [0; 65_536];
        match self {
            Self::Kept(pieces) => Box::new(pieces.into_iter()),
            Self::Dropped(length) => {
                let piece = ZEROS.len() as u64;
                let starts = (0..length.div_ceil(piece)).map(move |index| index * piece);
                Box::new(starts.map(move |start| Bytes::from_static(&ZEROS[..piece.min(length - start) as usize])))
            }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
