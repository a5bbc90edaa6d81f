//! The workloads, each a file, and what they share.

pub(crate) mod paced;
pub(crate) mod s3_memory;
pub(crate) mod s3_throughput;
pub(crate) mod small;
pub(crate) mod stalled;

use std::future::Future;

use clap::ValueEnum;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use crate::compare::{Bench, BenchError, Kind, Measure, Sizes};

/// A load that any server can be put under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Small uploads by POST, PATCH and HEAD.
    Small,
}

impl Workload {
    pub(crate) const ALL: &[Self] = &[Self::Small];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
        }
    }

    /// What is done, for a heading.
    pub(crate) fn title(self, sizes: &Sizes) -> String {
        match self {
            Self::Small => format!("{} uploads of 16 KiB by POST, PATCH and HEAD", sizes.small),
        }
    }

    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Small => "upload",
        }
    }

    /// What servers are compared by.
    pub(crate) fn measure(self) -> Measure {
        match self {
            Self::Small => Measure::CpuOfUnit,
        }
    }

    /// Whether it makes many files.
    pub(crate) fn is_of_small_files(self) -> bool {
        match self {
            Self::Small => true,
        }
    }

    /// Whether servers of this kind can take it.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        match self {
            Self::Small => kind != Kind::Files,
        }
    }

    pub(crate) async fn run(self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        match self {
            Self::Small => small::run(bench).await,
        }
    }
}

/// Does the same for each item, so many at a time; the outcomes come in any order.
pub(crate) async fn for_each<Item, Work: Future>(
    items: impl IntoIterator<Item = Item>,
    parallel: usize,
    work: impl FnMut(Item) -> Work,
) -> Vec<Work::Output> {
    stream::iter(items).map(work).buffer_unordered(parallel).collect().await
}
