//! What comes of creating an upload together with all its bytes.

use std::sync::Arc;

use super::{Opened, StorageError};
use crate::Record;

/// What came of creating an upload together with all its bytes.
pub enum Whole {
    /// It is there, and finished.
    Finished(Arc<Record>),
    /// It is there, but some of its bytes are not, for this reason. Those that [`Opened::stored`] counts are as durable as an
    /// acknowledged byte must be.
    Cut(Box<Opened>, StorageError),
}
