//! One upload whose write stalls, as on a disk that does not answer, and what the others feel of it: the latency of HEAD and
//! of PATCH, beside that of as many requests without a stall. Needs a wharf with the feature `faults`, which holds the
//! write in front of the threads that touch the disk.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::paced::{self, Known, Pace};
use crate::{
    client::{ClientError, Connection, PATIENCE, Site},
    content::Content,
    figures::Quantiles,
    report::Outcome,
    target::{Target, TargetError, program},
};

/// wharf's name for the file that says what goes wrong.
const VARIABLE: &str = "WHARF_FAULTS";
const OPEN_FILES: u64 = 1000;
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
const UPLOADS: usize = 100;
const CONNECTIONS: usize = 8;
const PIECE_BYTES: usize = 16 * 1024;
/// What others may feel at most, once in a hundred times.
const BOUND_MS: f64 = 20.0;

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The wharf that is started, built with the feature `faults` [otherwise: the wharf-faults beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
    /// How often an upload stalls
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    stalls: u16,
    /// How long each time, in seconds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    secs: u16,
    /// How many HEADs are sent each second meanwhile
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    heads_per_second: u32,
    /// How many PATCHes of 16 KiB
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    patches_per_second: u32,
}

impl Options {
    fn pace(&self, per_second: u32) -> Pace {
        Pace { count: per_second as usize * usize::from(self.secs), per_second, connections: CONNECTIONS }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    stalls: u16,
    /// How long the stalled PATCHes took.
    stalled: Quantiles,
    heads: [Quantiles; 2],
    patches: [Quantiles; 2],
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskStallError {
    #[error("the server can't be measured")]
    Target(#[from] TargetError),
    #[error("a request failed")]
    Client(#[from] ClientError),
    #[error("the file that says what goes wrong")]
    Faults(#[from] io::Error),
    #[error("no write is held: was this wharf built with the feature faults?")]
    NotHeld,
    #[error("a PATCH was answered while its write was held")]
    Answered,
}

/// An upload that goes on in one PATCH after the other.
struct Running<'a> {
    connection: Connection<'a>,
    path: String,
    content: Content,
    at: usize,
}

/// What is asked of the server while an upload stalls, or while none does.
struct Others<'a> {
    site: &'a Site,
    known: Vec<Known>,
    running: Vec<Running<'a>>,
}

/// Runs the workload.
///
/// # Errors
/// When the server can't be measured, or an answer is not right.
pub(crate) async fn run(options: &Options) -> Result<Report, DiskStallError> {
    let server = program(options.server.as_deref(), "wharf-faults")?;
    let home = tempfile::tempdir()?;
    let faults = home.path().join("faults");
    let told = faults.to_string_lossy().into_owned();
    let target = Target::start_wharf(Some(&server), OPEN_FILES, &[], &[(VARIABLE, &told)])?;
    let outcome = measure(&target.site, &faults, options).await;
    let stopped = target.stop().await;
    let report = outcome?;
    stopped?;
    Ok(report)
}

async fn measure(site: &Site, faults: &Path, options: &Options) -> Result<Report, DiskStallError> {
    let mut others = Others::begin(site, options).await?;
    let (mut stalled, mut idle, mut meanwhile) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..options.stalls {
        idle.push(others.ask(options).await?);
        let content = Content { seed: u64::from(number), length: PIECE_BYTES };
        let mut connection = Connection::open(site).await?;
        let path = connection.create(content.length).await?;
        let began = Instant::now();
        hold(faults)?;
        connection.begin_append(&path, 0, content.length, &content.bytes(0, content.length)).await?;
        wait_until_held(faults).await?;
        meanwhile.push(others.ask(options).await?);
        if connection.has_been_answered() {
            return Err(DiskStallError::Answered);
        }
        fs::write(faults, "")?;
        connection.end_append(content.length).await?;
        stalled.push(began.elapsed());
    }
    let of = |rounds: &[[Vec<Duration>; 2]], which: usize| {
        Quantiles::of(rounds.iter().flat_map(|round| round[which].iter().copied()).collect())
    };
    Ok(Report {
        workload: "disk-stall",
        stalls: options.stalls,
        stalled: Quantiles::of(stalled),
        heads: [of(&idle, 0), of(&meanwhile, 0)],
        patches: [of(&idle, 1), of(&meanwhile, 1)],
    })
}

impl<'a> Others<'a> {
    async fn begin(site: &'a Site, options: &Options) -> Result<Self, ClientError> {
        let mut connection = Connection::open(site).await?;
        let (mut known, mut running) = (Vec::new(), Vec::new());
        for number in 0..UPLOADS {
            let content = Content { seed: (1 << 32) + number as u64, length: PIECE_BYTES };
            let path = connection.create(content.length).await?;
            let offset = if number % 2 == 0 { content.length } else { 0 };
            if offset > 0 {
                connection.append(&path, content, 0, offset).await?;
            }
            known.push(Known { path, offset });
        }
        // Twice for each stall, and never to the end.
        let requests =
            options.pace(options.patches_per_second).count.div_ceil(CONNECTIONS) * usize::from(options.stalls);
        for number in 0..CONNECTIONS {
            let content = Content { seed: (2 << 32) + number as u64, length: (2 * requests + 1) * PIECE_BYTES };
            let mut connection = Connection::open(site).await?;
            let path = connection.create(content.length).await?;
            running.push(Running { connection, path, content, at: 0 });
        }
        Ok(Self { site, known, running })
    }

    /// HEADs and PATCHes, as long as a stall takes.
    async fn ask(&mut self, options: &Options) -> Result<[Vec<Duration>; 2], ClientError> {
        let heads = paced::inspect_all(self.site, &self.known, options.pace(options.heads_per_second));
        let patches =
            paced::each(&mut self.running, options.pace(options.patches_per_second), async |one, _| one.append().await);
        let (heads, patches) = tokio::join!(heads, patches);
        Ok([heads?, patches?].map(|times| times.into_iter().map(|(latency, _)| latency).collect()))
    }
}

impl Running<'_> {
    async fn append(&mut self) -> Result<(), ClientError> {
        let to = self.at + PIECE_BYTES;
        self.connection.append(&self.path, self.content, self.at, to).await?;
        self.at = to;
        Ok(())
    }
}

/// The next write does not begin until the file is written again.
fn hold(faults: &Path) -> io::Result<()> {
    match fs::remove_file(held(faults)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(faults, "hold write 1\n")
}

async fn wait_until_held(faults: &Path) -> Result<(), DiskStallError> {
    let deadline = Instant::now() + PATIENCE;
    while !held(faults).exists() {
        if Instant::now() > deadline {
            return Err(DiskStallError::NotHeld);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// What tells that a write is held.
fn held(faults: &Path) -> PathBuf {
    faults.with_extension("held")
}

impl Outcome for Report {
    /// Whatever was not right has been an error.
    fn is_right(&self) -> bool {
        true
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} times the write of one upload stalls, {:.0} ms each",
            self.stalls, self.stalled.p50_ms
        )?;
        writeln!(formatter, "{:<28}{:>10}{:>10}{:>10}{:>10}", "ms", "count", "p50", "p99", "max")?;
        for (name, [idle, stalled]) in [("HEAD", self.heads), ("PATCH of 16 KiB", self.patches)] {
            for (state, figures) in [("no stall", idle), ("stall", stalled)] {
                let Quantiles { count, p50_ms, p99_ms, max_ms } = figures;
                let name = format!("{name}, {state}");
                writeln!(formatter, "{name:<28}{count:>10}{p50_ms:>10.2}{p99_ms:>10.2}{max_ms:>10.2}")?;
            }
        }
        let is_kept = [self.heads[1], self.patches[1]].iter().all(|figures| figures.p99_ms < BOUND_MS);
        let kept = if is_kept { "below" } else { "NOT below" };
        writeln!(formatter, "while an upload stalls, p99 of the others is {kept} {BOUND_MS} ms")
    }
}
