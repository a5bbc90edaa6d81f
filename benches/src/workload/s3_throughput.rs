//! The processor time that wharf takes to bring bytes to S3, beside that of a bare program which sends as many by the same
//! client, in parts of the same size, from memory: turn by turn, so that what the machine does besides meets both.

use std::{
    fmt, io,
    process::{Command, Stdio},
    time::Instant,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wharf_actors::storage::s3::client::{Attributes, Client, ClientError as S3Error, aws::Aws};

use super::for_each;
use crate::{
    bed::{self, Bed, Programs},
    client::{ClientError, Connection, Site},
    content::Content,
    figures::median,
    process::{self, Sample},
    report::{Failures, Outcome},
    target::TargetError,
};

const MIB: usize = 1 << 20;
const GIB: f64 = (1_u64 << 30) as f64;

/// How much is sent, or lies in memory, in one piece.
const PIECE_BYTES: usize = 256 * 1024;

/// How many parts the bare program sends at once: as many as wharf's pool.
const SENDERS: usize = 8;

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How much is uploaded in each round, in MiB
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(64..))]
    mib: u32,
    /// By how many uploads at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    uploads: u16,
    /// storage.s3.part_size_bytes, in MiB
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(5..))]
    part_mib: u16,
    /// How often each of the two is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Sign the SHA-256 of each part, as is usual over http; otherwise it is not computed
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    payload_hash: bool,
}

impl Options {
    fn length(&self) -> usize {
        self.mib as usize * MIB / usize::from(self.uploads)
    }

    fn bytes(&self) -> usize {
        self.length() * usize::from(self.uploads)
    }

    fn bare(&self, bed: &Bed) -> BareOptions {
        let (uploads, part_bytes) = (usize::from(self.uploads), usize::from(self.part_mib) * MIB);
        BareOptions {
            payload_hash: self.payload_hash,
            ..BareOptions::new(bed.endpoint(), uploads, self.length(), part_bytes)
        }
    }
}

/// Processor time for some bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) user_secs: f64,
    pub(crate) system_secs: f64,
    pub(crate) secs: f64,
}

impl Cost {
    fn between(before: Sample, after: Sample, began: Instant) -> Self {
        Self {
            user_secs: after.user_secs - before.user_secs,
            system_secs: after.system_secs - before.system_secs,
            secs: began.elapsed().as_secs_f64(),
        }
    }

    fn cpu_secs(&self) -> f64 {
        self.user_secs + self.system_secs
    }

    /// For one GiB.
    fn for_each_gib(self, bytes: usize) -> Self {
        let gib = bytes as f64 / GIB;
        Self { user_secs: self.user_secs / gib, system_secs: self.system_secs / gib, secs: self.secs / gib }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    bytes: usize,
    part_mib: u16,
    payload_hash: bool,
    wharf: Vec<Cost>,
    bare: Vec<Cost>,
    /// Of each round: wharf's processor time by the bare program's.
    ratios: Vec<f64>,
    failures: Failures,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThroughputError {
    #[error("the servers can't be measured")]
    Target(#[from] TargetError),
    #[error("the bare program failed")]
    Bare(#[from] io::Error),
}

/// Runs all rounds.
///
/// # Errors
/// When the servers or the bare program can't be run. Uploads that fail are in the report.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Report, ThroughputError> {
    let mut failures = Failures::default();
    let (mut wharf, mut bare) = (Vec::new(), Vec::new());
    let bed = Bed::start(programs, None, true)?;
    let hash = if options.payload_hash { "always" } else { "never" };
    let part = usize::from(options.part_mib) * MIB;
    let settings = [format!("storage.s3.part_size_bytes={part}"), format!("storage.s3.payload_hash={hash}")];
    let target = bed.wharf(programs, 1000, &settings)?;
    for _ in 0..options.rounds {
        let (began, before) = (Instant::now(), target.sample()?);
        let outcomes = for_each(0..options.uploads, usize::from(options.uploads), |_| upload(&target.site, options));
        failures.sort_out("upload", outcomes.await);
        wharf.push(Cost::between(before, target.sample()?, began).for_each_gib(options.bytes()));
        bare.push(run_bare(&options.bare(&bed))?.for_each_gib(options.bytes()));
    }
    target.stop().await?;
    let pairs = wharf.iter().zip(&bare);
    let ratios = pairs.map(|(wharf, bare): (&Cost, &Cost)| wharf.cpu_secs() / bare.cpu_secs()).collect();
    Ok(Report {
        workload: "s3-throughput",
        bytes: options.bytes(),
        part_mib: options.part_mib,
        payload_hash: options.payload_hash,
        wharf,
        bare,
        ratios,
        failures,
    })
}

async fn upload(site: &Site, options: &Options) -> Result<(), ClientError> {
    let (piece, length) = (vec![0x5a; PIECE_BYTES], options.length());
    let mut connection = Connection::open(site).await?;
    let path = connection.create(length).await?;
    connection.begin_append(&path, 0, length, &[]).await?;
    let mut left = length;
    while left > 0 {
        let next = &piece[..PIECE_BYTES.min(left)];
        connection.send(next).await?;
        left -= next.len();
    }
    connection.end_append(length).await
}

/// Runs this program once more as the bare one, to its end.
pub(crate) fn run_bare(options: &BareOptions) -> io::Result<Cost> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["s3-bare", "--endpoint", &options.endpoint]);
    for (name, value) in
        [("--uploads", options.uploads), ("--length-bytes", options.length_bytes), ("--part-bytes", options.part_bytes)]
    {
        command.arg(format!("{name}={value}"));
    }
    command.arg(format!("--payload-hash={}", options.payload_hash));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("it ended with {}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the bare program is told.
#[derive(Debug, clap::Args)]
pub(crate) struct BareOptions {
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    uploads: usize,
    #[arg(long)]
    length_bytes: usize,
    #[arg(long)]
    part_bytes: usize,
    #[arg(long, action = clap::ArgAction::Set)]
    payload_hash: bool,
}

impl BareOptions {
    /// So many uploads of one length, with the SHA-256 of each part.
    pub(crate) fn new(endpoint: &str, uploads: usize, length_bytes: usize, part_bytes: usize) -> Self {
        Self { endpoint: endpoint.to_owned(), uploads, length_bytes, part_bytes, payload_hash: true }
    }
}

/// What the bare program has used; it is asked for by [`run`].
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Bare(Cost);

/// Sends the uploads, one after the other, each as parts of a multipart upload.
///
/// # Errors
/// The first call that fails ends it.
pub(crate) async fn send(options: &BareOptions) -> Result<Bare, Box<dyn std::error::Error>> {
    let client = Aws::connect(bed::client_config(&options.endpoint, options.payload_hash)).await;
    let memory = memory(options.part_bytes);
    let pid = std::process::id();
    let (began, before) = (Instant::now(), process::sample(pid)?);
    for number in 0..options.uploads {
        send_one(&client, &format!("bare-{pid}-{number}"), &memory, options).await?;
    }
    Ok(Bare(Cost::between(before, process::sample(pid)?, began)))
}

/// The bytes of as many parts as are sent at once, in pieces. One piece for all of them would stay in a processor's cache, where
/// the parts of no client lie that has some to send.
fn memory(part_bytes: usize) -> Vec<Vec<Bytes>> {
    let piece = |content: Content, from: usize| content.bytes(from, part_bytes.min(from + PIECE_BYTES)).into();
    let part = |seed| {
        let content = Content { seed, length: part_bytes };
        (0..part_bytes).step_by(PIECE_BYTES).map(|from| piece(content, from)).collect()
    };
    (0..SENDERS as u64).map(part).collect()
}

async fn send_one(client: &Aws, key: &str, memory: &[Vec<Bytes>], options: &BareOptions) -> Result<(), S3Error> {
    let id = client.create_multipart(key, Attributes::default()).await?;
    let starts = (0..options.length_bytes).step_by(options.part_bytes).zip(1..);
    let parts = for_each(starts, SENDERS, |(start, number): (usize, u16)| {
        let mut left = options.part_bytes.min(options.length_bytes - start);
        let mut body = Vec::new();
        for piece in &memory[usize::from(number) % memory.len()] {
            let next = piece.slice(..left.min(piece.len()));
            left -= next.len();
            body.push(next);
        }
        let sending = client.upload_part(key, &id, number, body);
        async move { sending.await.map(|etag| (number, etag)) }
    });
    let mut parts = parts.await.into_iter().collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|(number, _)| *number);
    client.complete(key, &id, &parts).await.map(drop)
}

impl Outcome for Report {
    fn is_right(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Outcome for Bare {
    fn is_right(&self) -> bool {
        true
    }
}

impl fmt::Display for Bare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.to_json())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mib, hash) = (self.bytes / MIB, if self.payload_hash { "with" } else { "without" });
        writeln!(formatter, "{mib} MiB a round, parts of {} MiB, {hash} the SHA-256 of each\n", self.part_mib)?;
        writeln!(
            formatter,
            "{:<22}{:>10}{:>10}{:>10}{:>10}",
            "for one GiB, medians", "user s", "system s", "CPU s", "s"
        )?;
        for (name, costs) in [("wharf", &self.wharf), ("bare client", &self.bare)] {
            let of = |value: fn(&Cost) -> f64| median(costs.iter().map(value)).unwrap_or(f64::NAN);
            let (user, system) = (of(|cost| cost.user_secs), of(|cost| cost.system_secs));
            let (cpu, secs) = (of(Cost::cpu_secs), of(|cost| cost.secs));
            writeln!(formatter, "{name:<22}{user:>10.2}{system:>10.2}{cpu:>10.2}{secs:>10.2}")?;
        }
        let rounds: Vec<String> = self.ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let ratio = median(self.ratios.iter().copied()).unwrap_or(f64::NAN);
        writeln!(formatter, "\nwharf / bare client     {ratio:.2}, by round {}", rounds.join(" "))?;
        write!(formatter, "{}", self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_for_one_gib() {
        let cost = Cost { user_secs: 3.0, system_secs: 1.0, secs: 2.0 }.for_each_gib(2 << 30);
        assert!((cost.cpu_secs() - 2.0).abs() < f64::EPSILON && (cost.secs - 1.0).abs() < f64::EPSILON);
    }
}
