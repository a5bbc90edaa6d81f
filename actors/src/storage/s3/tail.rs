//! The object that holds what is too little for a part. It says where its bytes begin: when the parts have come to another
//! place meanwhile, it does not count. tusd's doesn't say, and begins where its parts end.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    Shared,
    client::{Attributes, ClientError},
    if_there, keys,
};

/// The metadata that holds the first byte's place.
const START: &str = "wharf-start";

/// A tail in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where its bytes begin.
    pub(super) start: u64,
    /// How many they are.
    pub(super) len: u64,
    /// When it was stored.
    pub(super) stored_at: SystemTime,
}

/// What was found where a tail may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// None.
    Nothing,
    /// One whose bytes are in parts by now.
    Stale,
    /// One of which that isn't known, and that does not count.
    Unclear,
    /// One that begins where the parts end.
    Counting(Tail),
    /// One that begins behind that: parts that were there when it was stored are missing.
    Ahead,
}

impl Found {
    /// The tail that counts.
    pub(super) fn counting(self) -> Option<Tail> {
        match self {
            Self::Counting(tail) => Some(tail),
            Self::Nothing | Self::Stale | Self::Unclear | Self::Ahead => None,
        }
    }
}

/// Looks for the tail of an upload whose parts end at `end`.
pub(super) async fn find(shared: &Shared, key: &str, end: u64) -> Result<Found, ClientError> {
    let key = keys::tail(key);
    let head = if_there(shared.call("look at the tail", || shared.client.head_object(&key)).await)?;
    let Some(head) = head else { return Ok(Found::Nothing) };
    if head.size == 0 {
        return Ok(Found::Stale);
    }
    let start = head.attributes.metadata.get(START).map_or(Some(end), |start| start.parse().ok());
    Ok(match start {
        Some(start) if start == end => Found::Counting(Tail { start, len: head.size, stored_at: head.modified }),
        Some(start) if start > end => Found::Ahead,
        Some(start) if start.saturating_add(head.size) <= end => Found::Stale,
        _ => Found::Unclear,
    })
}

/// The bytes of a tail.
pub(super) async fn load(shared: &Shared, key: &str) -> Result<Option<Bytes>, ClientError> {
    shared.get(&keys::tail(key)).await
}

/// Stores a tail in the place of the one before.
pub(super) async fn store(shared: &Shared, key: &str, start: u64, bytes: Vec<Bytes>) -> Result<Tail, ClientError> {
    let len = bytes.iter().map(|bytes| bytes.len() as u64).sum();
    let mut attributes = Attributes::default();
    attributes.metadata.insert(START.to_owned(), start.to_string());
    let key = keys::tail(key);
    let put = || shared.client.put_object(&key, bytes.clone(), attributes.clone(), false);
    shared.call("put the tail", put).await?;
    Ok(Tail { start, len, stored_at: SystemTime::now() })
}
