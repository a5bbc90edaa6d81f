//! What becomes of bytes that are to be stored.

use std::sync::Arc;

use super::{Opened, StorageError};
use crate::Record;

/// What became of a write: a prefix of the data may be stored although the rest failed.
#[derive(Debug, Clone)]
pub struct Written {
    /// How many bytes from the start of the data are stored.
    pub len: u64,
    /// Why the rest is not.
    pub failure: Option<StorageError>,
}

/// What became of the last write of an upload, and of finishing it.
#[derive(Debug, Clone)]
pub struct LastWrite {
    /// The write.
    pub written: Written,
    /// How finishing went, which was tried when all was written.
    pub record: Option<Result<Record, StorageError>>,
}

/// What came of creating an upload together with all its bytes.
pub enum Whole {
    /// It is there, and finished.
    Finished(Arc<Record>),
    /// It is there, but some of its bytes are not, for this reason. Those that [`Opened::stored`] counts are as durable as an
    /// acknowledged byte must be.
    Cut(Box<Opened>, StorageError),
}
