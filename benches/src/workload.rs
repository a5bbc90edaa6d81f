//! The workloads, each a file, and what they share.

mod creation;
pub(crate) mod disk_stall;
mod download;
mod downloads;
pub(crate) mod durability;
pub(crate) mod finished_store;
mod heads;
mod large;
mod medium;
pub(crate) mod paced;
mod pieces;
pub(crate) mod s3_memory;
pub(crate) mod s3_throughput;
pub(crate) mod scaling;
mod slow;
mod small;
pub(crate) mod stalled;
mod stalls;
mod take_over;

use std::{future::Future, time::Duration};

use clap::ValueEnum;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use crate::{
    client::{ClientError, Connection, Site},
    compare::{Bench, BenchError, Extent, Kind, Measure, Sizes},
    content::Content,
};

/// A load that any server can be put under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// One large upload in one PATCH.
    Large,
    /// Uploads of some MiB over 16 connections.
    Medium,
    /// Small uploads by POST, PATCH and HEAD.
    Small,
    /// Smaller ones by one POST each.
    Creation,
    /// HEAD alone.
    Heads,
    /// GET of a large file.
    Download,
    /// GET of many small ones.
    Downloads,
    /// One upload in PATCHes of 1 MiB.
    Pieces,
    /// Many uploads that stall at once.
    Stalled,
    /// PATCHes that take an upload from one that stalls.
    TakeOver,
    /// Many slow clients beside a fast one.
    Slow,
    /// One large upload into S3.
    S3Large,
    /// Uploads of some MiB into S3.
    S3Medium,
}

/// What is known of a workload, whatever its size.
struct Profile {
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    /// What servers are compared by.
    measure: Measure,
    /// Whether it makes many files.
    is_of_small_files: bool,
}

impl Workload {
    fn profile(self) -> Profile {
        use Measure::{CpuOfGib, CpuOfUnit, Latency, Memory};
        let (name, unit, measure, is_of_small_files) = match self {
            Self::Large => ("large", "upload", CpuOfGib, false),
            Self::Medium => ("medium", "upload", CpuOfGib, false),
            Self::Small => ("small", "upload", CpuOfUnit, true),
            Self::Creation => ("creation", "upload", CpuOfUnit, true),
            Self::Heads => ("heads", "HEAD", CpuOfUnit, true),
            Self::Download => ("download", "GET", CpuOfGib, false),
            Self::Downloads => ("downloads", "GET", CpuOfUnit, true),
            Self::Pieces => ("pieces", "PATCH", CpuOfGib, false),
            Self::Stalled => ("stalled", "upload", Memory, true),
            Self::TakeOver => ("take-over", "take-over", Latency, true),
            Self::Slow => ("slow", "PATCH", CpuOfGib, false),
            Self::S3Large => ("s3-large", "upload", CpuOfGib, true),
            Self::S3Medium => ("s3-medium", "upload", CpuOfGib, true),
        };
        Profile { name, unit, measure, is_of_small_files }
    }

    pub(crate) fn name(self) -> &'static str {
        self.profile().name
    }

    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        self.profile().unit
    }

    /// What servers are compared by.
    pub(crate) fn measure(self) -> Measure {
        self.profile().measure
    }

    /// Whether it makes many files.
    pub(crate) fn is_of_small_files(self) -> bool {
        self.profile().is_of_small_files
    }

    /// Whether servers of this kind can take it.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        kind != Kind::Files || matches!(self, Self::Download | Self::Downloads)
    }

    /// What is done, for a heading.
    pub(crate) fn title(self, sizes: &Sizes) -> String {
        let Sizes { large_mib, medium, medium_mib, small, heads, download_mib, downloads, pieces_mib, .. } = sizes;
        let Sizes { stalled, take_overs, slow, .. } = sizes;
        match self {
            Self::Large => format!("{large_mib} MiB in one PATCH"),
            Self::Medium => format!("{medium} uploads of {medium_mib} MiB, 16 connections"),
            Self::Small => format!("{small} uploads of 16 KiB by POST, PATCH and HEAD"),
            Self::Creation => format!("{small} uploads of 4 KiB by one POST each"),
            Self::Heads => format!("{heads} HEADs"),
            Self::Download => format!("GET of {download_mib} MiB, {} times", download::TIMES),
            Self::Downloads => format!("{downloads} GETs of 16 KiB"),
            Self::Pieces => format!("{pieces_mib} MiB in PATCHes of 1 MiB"),
            Self::Stalled => format!("{stalled} uploads that stall at once"),
            Self::S3Large => format!("{large_mib} MiB in one PATCH, into S3; floor: receiver + client"),
            Self::S3Medium => {
                format!("{medium} uploads of {medium_mib} MiB, 16 connections, into S3; floor: receiver + client")
            }
            Self::TakeOver => format!("{take_overs} uploads taken from a PATCH that stalls, under load"),
            Self::Slow => {
                format!("{} MiB in PATCHes of 1 MiB beside {slow} slow clients", slow::FAST_TIMES * pieces_mib)
            }
        }
    }

    pub(crate) async fn run(self, bench: &mut Bench<'_>) -> Result<(), BenchError> {
        match self {
            Self::Large => large::run(bench).await,
            Self::Medium => medium::run(bench).await,
            Self::Small => small::run(bench).await,
            Self::Creation => creation::run(bench).await,
            Self::Heads => heads::run(bench).await,
            Self::Download => download::run(bench).await,
            Self::Downloads => downloads::run(bench).await,
            Self::Pieces => pieces::run(bench).await,
            Self::Stalled => stalls::run(bench).await,
            Self::TakeOver => take_over::run(bench).await,
            Self::Slow => slow::run(bench).await,
            // These have servers of their own.
            Self::S3Large | Self::S3Medium => Ok(()),
        }
    }

    /// What is brought into S3, if anything is.
    pub(crate) fn s3_extent(self, sizes: &Sizes) -> Option<Extent> {
        let bytes = |mib: u32| (mib as usize) << 20;
        match self {
            Self::S3Large => Some(Extent { count: 1, length: bytes(sizes.large_mib), connections: 1 }),
            Self::S3Medium => {
                Some(Extent { count: sizes.medium, length: bytes(sizes.medium_mib), connections: medium::CONNECTIONS })
            }
            _ => None,
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

/// What was uploaded, and where it is.
pub(crate) type Uploaded = (String, Content);

/// Connections that are kept, each of which does the same for its share of the numbers, one after the other. Each number's
/// outcome comes with how long it took.
pub(crate) async fn in_turns<Out>(
    site: &Site,
    connections: u32,
    count: u32,
    work: impl AsyncFn(&mut Connection<'_>, u32) -> Result<Out, ClientError>,
) -> Result<(Vec<Out>, Vec<Duration>), ClientError> {
    let work = &work;
    let turns = for_each(0..connections, connections as usize, |first| async move {
        let mut connection = Connection::open(site).await?;
        let mut done = Vec::new();
        for number in (first..count).step_by(connections as usize) {
            let began = std::time::Instant::now();
            let out = work(&mut connection, number).await?;
            done.push((out, began.elapsed()));
        }
        Ok::<_, ClientError>(done)
    });
    let turns = turns.await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(turns.into_iter().flatten().unzip())
}
