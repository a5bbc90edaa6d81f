//! What a store shows to an operator, and what an operator may change of it while it works.

use std::time::{Duration, SystemTime};

use crate::Info;

/// An upload as it lies in the store. Looking changes nothing, and needs no owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What is known of it.
    pub info: Info,
    /// How many bytes count, when that is known without much ado.
    pub stored: Option<u64>,
    /// When it last changed.
    pub changed: SystemTime,
    /// Whether it is finished.
    pub is_finished: bool,
    /// Its parts, in a store that has parts, and has looked for them.
    pub parts: Option<Vec<PartReport>>,
}

/// A slice of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorePage {
    /// Uploads, in the order of the store's names for them. There may be none although more follow.
    pub uploads: Vec<Sighting>,
    /// Behind which name to go on; `None` at the end.
    pub next: Option<String>,
}

/// A part of an upload in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartReport {
    /// Its number.
    pub number: u16,
    /// Its bytes.
    pub size: u64,
    /// What has become of it.
    pub state: PartState,
}

/// What has become of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// S3 has it.
    Stored,
    /// It waits for an uploader, or is in the hands of one.
    UnderWay,
}

impl PartState {
    /// A name for answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::UnderWay => "under_way",
        }
    }
}

/// What of a store can be changed while it works. Each store takes what concerns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTuning {
    /// Threads for each lane of the disk pool.
    pub disk_workers: usize,
    /// How many jobs may wait in each lane of the disk pool.
    pub disk_queue: usize,
    /// Part uploaders.
    pub part_workers: usize,
    /// How many parts may wait for an uploader.
    pub part_queue: usize,
    /// How many parts of one upload may be under way at once.
    pub parts_per_upload: usize,
    /// How long a call of S3 may take with all its tries.
    pub retry_deadline: Duration,
}
