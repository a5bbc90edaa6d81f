//! Many uploads that stall half-way, all at once: what each of them costs the server, whether others are still answered,
//! and whether every one of them can be completed.

use std::{path::Path, time::Instant};

use serde::Serialize;

use super::{
    for_each,
    paced::{self, Known, Pace, Paced},
};
use crate::{
    client::{ClientError, Connection, PATIENCE, Site},
    content::Content,
    process,
    report::{Failures, Phase, Phases},
    target::{LOOK_INTERVAL, Target, TargetError, name_of},
};

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many uploads stall at once
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    uploads: u32,
    /// How much of each upload is sent before it stalls, in KiB
    #[arg(long, default_value_t = 48)]
    part_kib: usize,
    /// How much each of them goes on to send, in KiB
    #[arg(long, default_value_t = 16)]
    rest_kib: usize,
    /// How many HEADs are sent for other uploads: as many before as while the uploads stall
    #[arg(long, default_value_t = 2000)]
    heads: usize,
    /// How many HEADs are sent each second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    heads_per_second: u32,
    /// From how many connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    head_connections: u16,
    /// For how many uploads; half of them are complete, half have not been begun
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..))]
    others: u16,
    /// How many uploads are begun, and later verified, at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
}

impl Options {
    /// So many uploads and HEADs, the rest as by default.
    pub(crate) fn of(uploads: u32, heads: usize) -> Self {
        Self {
            uploads,
            part_kib: 48,
            rest_kib: 16,
            heads,
            heads_per_second: 200,
            head_connections: 8,
            others: 200,
            parallel: 64,
        }
    }

    /// How much all of them send.
    pub(crate) fn bytes(&self) -> usize {
        self.uploads as usize * self.content(0).length
    }

    /// How many files and sockets the server may need at once: two for each upload, and some for the rest.
    pub(crate) fn open_files(&self) -> u64 {
        u64::from(self.uploads) * 2 + u64::from(self.others) + 1000
    }

    fn content(&self, number: u32) -> Content {
        Content { seed: u64::from(number), length: (self.part_kib + self.rest_kib) * 1024 }
    }

    fn pace(&self) -> Pace {
        let connections = usize::from(self.head_connections);
        Pace { count: self.heads, per_second: self.heads_per_second, connections }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    pub(crate) uploads: u32,
    pub(crate) part_bytes: usize,
    pub(crate) length_bytes: usize,
    /// How many had all their bytes read by the server, and no answer, when they stalled.
    pub(crate) stalled: usize,
    /// How many were completed and verified.
    pub(crate) completed: usize,
    pub(crate) memory_per_upload_kib: f64,
    pub(crate) peak_memory_per_upload_kib: f64,
    /// Of both ends, and not in the figures above.
    pub(crate) socket_memory_per_upload_kib: f64,
    pub(crate) heads_before: Paced,
    pub(crate) heads_while_stalled: Paced,
    pub(crate) phases: Vec<Phase>,
    pub(crate) failures: Failures,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StalledError {
    #[error("the server can't be measured")]
    Target(#[from] TargetError),
    #[error("a HEAD for another upload, or what leads to it, failed")]
    Other(#[from] ClientError),
    #[error("not all that was sent has been read by the server in {} s: {left}", PATIENCE.as_secs())]
    Unread { left: String },
}

/// An upload whose PATCH waits for the rest of its body.
struct Stalled<'a> {
    connection: Connection<'a>,
    path: String,
    content: Content,
}

/// Runs the workload.
///
/// # Errors
/// When the server can't be measured. Uploads that fail are in the report.
pub(crate) async fn run(target: &Target, options: &Options) -> Result<Report, StalledError> {
    let site = &target.site;
    let mut failures = Failures::default();
    let mut phases = Phases::begin(target)?;
    let others = create_others(site, options).await?;
    phases.end("create others")?;
    let heads_before = paced::inspect(site, &others, options.pace()).await?;
    let (idle, idle_sockets_kib) = (phases.end("HEAD, idle")?, socket_memory_kib()?);

    let part = options.part_kib * 1024;
    let begun = begin(site, options, &mut failures).await;
    wait_until_read(target, &begun, part).await?;
    let (stalled, sockets_kib) = (phases.end("begin, stall")?, socket_memory_kib()?);
    let heads_while_stalled = paced::inspect(site, &others, options.pace()).await?;
    phases.end("HEAD, stalled")?;

    let (begun, answered) = begun.into_iter().partition::<Vec<_>, _>(|upload| !upload.connection.has_been_answered());
    failures.add_all(answered.iter().map(|upload| format!("{} was answered while it stalled", upload.path)));
    let stalled_count = begun.len();
    let finished = complete(begun, part, &mut failures).await;
    phases.end("complete")?;
    let completed = verify(target, finished, options, &mut failures).await;
    phases.end("verify")?;
    Ok(Report {
        workload: "stalled",
        uploads: options.uploads,
        part_bytes: part,
        length_bytes: options.content(0).length,
        stalled: stalled_count,
        completed,
        memory_per_upload_kib: each_kib(idle.resident_kib, stalled.resident_kib, options),
        peak_memory_per_upload_kib: each_kib(idle.resident_kib, stalled.peak_kib, options),
        socket_memory_per_upload_kib: each_kib(idle_sockets_kib, sockets_kib, options),
        heads_before,
        heads_while_stalled,
        phases: phases.into_all(),
        failures,
    })
}

fn each_kib(before: u64, after: u64, options: &Options) -> f64 {
    (after as f64 - before as f64) / f64::from(options.uploads)
}

fn socket_memory_kib() -> Result<u64, TargetError> {
    Ok(process::socket_memory_kib()?)
}

/// The uploads that HEAD asks for: complete ones, and ones without a byte.
async fn create_others(site: &Site, options: &Options) -> Result<Vec<Known>, ClientError> {
    let mut connection = Connection::open(site).await?;
    let mut others = Vec::new();
    for number in 0..u32::from(options.others) {
        // Their numbers follow those of the uploads that stall.
        let content = options.content(options.uploads + number);
        let path = connection.create(content.length).await?;
        let mut offset = 0;
        if number % 2 == 0 {
            connection.begin_append(&path, 0, content.length, &content.bytes(0, content.length)).await?;
            connection.end_append(content.length).await?;
            offset = content.length;
        }
        others.push(Known { path, offset });
    }
    Ok(others)
}

async fn begin<'a>(site: &'a Site, options: &Options, failures: &mut Failures) -> Vec<Stalled<'a>> {
    let part = options.part_kib * 1024;
    let outcomes = for_each(0..options.uploads, usize::from(options.parallel), |number| async move {
        let content = options.content(number);
        let mut connection = Connection::open(site).await?;
        let path = connection.create(content.length).await?;
        connection.begin_append(&path, 0, content.length, &content.bytes(0, part)).await?;
        Ok::<_, ClientError>(Stalled { connection, path, content })
    });
    failures.sort_out("begin", outcomes.await)
}

/// A HEAD would take the upload from its PATCH, so the kernel is asked: nothing may be left in any socket between the two
/// processes. Where the server's files are known, they must have grown to what was sent as well.
async fn wait_until_read(target: &Target, begun: &[Stalled<'_>], part: usize) -> Result<(), StalledError> {
    let deadline = Instant::now() + PATIENCE;
    let mut files = begun.iter().map(|upload| upload.path.as_str()).collect::<Vec<_>>();
    loop {
        let transit = target.transit()?;
        if let Some(dir) = &target.dir {
            files.retain(|path| !has_size(dir, path, part as u64));
        } else {
            files.clear();
        }
        if transit.connections >= begun.len() && transit.unread + transit.unsent == 0 && files.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(StalledError::Unread { left: format!("{transit:?}, {} files too short", files.len()) });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Whether an upload's file has come to this size.
pub(super) fn has_size(dir: &Path, path: &str, size: u64) -> bool {
    std::fs::metadata(dir.join(name_of(path))).is_ok_and(|metadata| metadata.len() == size)
}

/// All of them go on at once.
async fn complete(begun: Vec<Stalled<'_>>, part: usize, failures: &mut Failures) -> Vec<(String, Content)> {
    let count = begun.len().max(1);
    let outcomes = for_each(begun, count, |mut upload| async move {
        let content = upload.content;
        upload.connection.send(&content.bytes(part, content.length)).await?;
        upload.connection.end_append(content.length).await?;
        Ok::<_, ClientError>((upload.path, content))
    });
    failures.sort_out("complete", outcomes.await)
}

/// Each upload must be at its end, and hold what was sent. Returns how many do.
async fn verify(
    target: &Target,
    finished: Vec<(String, Content)>,
    options: &Options,
    failures: &mut Failures,
) -> usize {
    let site = &target.site;
    let parallel = usize::from(options.parallel);
    let share = finished.len().div_ceil(parallel).max(1);
    let outcomes = for_each(finished.chunks(share), parallel, |uploads| async move {
        let mut verified = Vec::new();
        let mut connection = Connection::open(site).await;
        for (path, content) in uploads {
            let outcome = match &mut connection {
                Ok(connection) => verify_one(target, connection, path, *content).await,
                Err(error) => Err(format!("no connection: {error}")),
            };
            if outcome.is_err() {
                // What is left of an answer that was not understood must not be taken for the next one.
                connection = Connection::open(site).await;
            }
            verified.push(outcome);
        }
        verified
    });
    failures.sort_out("verify", outcomes.await.into_iter().flatten().collect()).len()
}

async fn verify_one(
    target: &Target,
    connection: &mut Connection<'_>,
    path: &str,
    content: Content,
) -> Result<(), String> {
    let told = |error: ClientError| format!("{path}: {error}");
    connection.inspect(path, content.length).await.map_err(told)?;
    let digest = target.digest(connection, path, content.length).await.map_err(told)?;
    if digest == content.digest() { Ok(()) } else { Err(format!("{path} has another content than was sent")) }
}
