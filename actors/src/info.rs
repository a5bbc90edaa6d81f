//! What is known of an upload beside its bytes. Plain values; the store decides how they are written down.

use std::{collections::BTreeMap, time::SystemTime};

use crate::UploadId;

/// What role an upload plays in a concatenation (tus 1.0.0, "Concatenation").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An upload of its own.
    Single,
    /// A piece that final uploads are made of.
    Partial,
    /// Made of the named partial uploads, in this order. It takes no bytes from clients.
    Final {
        /// The partial uploads, in the order of their bytes; one may stand here more than once.
        partials: Vec<UploadId>,
    },
}

/// Everything about one upload that is kept beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The upload's name.
    pub id: UploadId,
    /// The length of the whole upload in bytes; `None` while it is deferred, or while a final upload waits for partials.
    pub length: Option<u64>,
    /// The client's metadata, decoded. Values that are not UTF-8 are damaged here as tusd damages them; see
    /// [`Own::raw_metadata`].
    pub metadata: BTreeMap<String, String>,
    /// Its role in a concatenation.
    pub kind: Kind,
    /// Where another server, or a hook, has placed the bytes: tusd's `Storage` map, `None` for the usual place.
    pub place: Option<String>,
    /// wharf's own knowledge; `None` for an upload that tusd made, or rewrote.
    pub own: Option<Own>,
}

/// The fields that wharf keeps beside tusd's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// `Upload-Metadata` as the client sent it, which HEAD must give back.
    pub raw_metadata: Option<String>,
    /// A final upload's `Upload-Concat` as the client sent it, which HEAD must give back.
    pub raw_concat: Option<String>,
    /// True once finishing is complete. A length that equals the offset without it means that finishing is still to do.
    pub finished: bool,
    /// When the upload expires, in seconds since the Unix epoch.
    pub expires_at_secs: Option<u64>,
    /// The final uploads that wait for this partial one.
    pub finals: Vec<UploadId>,
    /// Parts in S3 that don't count, whatever a list of parts says: they failed, or lay behind one that did.
    pub dropped_parts: Vec<u16>,
    /// Whose it is; `None` for an upload of nobody's, or of everybody's.
    pub owner: Option<String>,
    /// The most bytes that this upload may have, where that is less than any upload may.
    pub max_size: Option<u64>,
}

impl Info {
    /// Whether the upload is one whose bytes are all there and whose finishing has been done, given how many bytes the
    /// store has. An upload without wharf's fields is finished by its size alone.
    #[must_use]
    pub fn is_finished(&self, stored: u64) -> bool {
        self.length == Some(stored) && self.own.as_ref().is_none_or(|own| own.finished)
    }

    /// The same with the mark that finishing is complete, of an upload of so many bytes.
    #[must_use]
    pub fn into_finished(mut self, length: u64) -> Self {
        self.length = Some(length);
        self.own.get_or_insert_default().finished = true;
        self
    }

    /// Whether the upload is a final one.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.kind, Kind::Final { .. })
    }
}

/// A finished upload: it changes no more, so anybody may read it without asking its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What is known of it. `info.length` is its true length.
    pub info: Info,
    /// The length of its bytes.
    pub length: u64,
    /// A strong validator, quoted as it goes into the ETag header (RFC 9110, 8.8.3).
    pub etag: String,
    /// When its bytes last changed; `None` while the store has not told it.
    pub modified: Option<SystemTime>,
}
