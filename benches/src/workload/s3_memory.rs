//! More uploads into a slow S3 than the memory budget has room for: how much memory wharf takes at most, whether all of
//! them go on, and whether those whose clients stall keep the others from it.

use std::{cell::Cell, fmt, rc::Rc, time::Instant};

use serde::Serialize;

use super::for_each;
use crate::{
    bed::{Bed, Programs},
    client::{ClientError, Connection, PATIENCE, Site},
    report::{Failures, Outcome},
    target::{LOOK_INTERVAL, Target, TargetError},
};

const MIB: usize = 1 << 20;

/// How much memory wharf may take beside the budget.
const OVERHEAD_MIB: u64 = 150;

/// How much is sent at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many uploads run at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(5..))]
    uploads: u16,
    /// How long each of them is, in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(8..))]
    length_mib: u16,
    /// storage.memory_budget_bytes, in MiB
    #[arg(long, default_value_t = 256)]
    budget_mib: u64,
    /// How much S3 takes each second, in MiB: less than wharf could bring there
    #[arg(long, default_value_t = 192)]
    s3_mib_per_second: u64,
    /// How many clients do not stall in the second half
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    running: u16,
}

impl Options {
    fn length(&self) -> usize {
        usize::from(self.length_mib) * MIB
    }
}

/// One half of the run, on a server of its own.
#[derive(Debug, Serialize)]
struct Half {
    name: &'static str,
    secs: f64,
    cpu_secs: f64,
    idle_kib: u64,
    peak_kib: u64,
    /// Uploads that were to come to their end, and did.
    completed: usize,
    expected: usize,
    /// How much of each stalled upload, or of each other when the first was complete, had been sent at least.
    least_sent_bytes: usize,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    uploads: u16,
    length_bytes: usize,
    budget_mib: u64,
    bound_mib: u64,
    halves: Vec<Half>,
    failures: Failures,
}

/// Runs both halves.
///
/// # Errors
/// When the servers can't be started or measured. Uploads that fail are in the report.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Report, TargetError> {
    let mut failures = Failures::default();
    let bed = Bed::start(programs, Some(options.s3_mib_per_second << 20), true)?;
    let mut halves = Vec::new();
    for (name, stalled) in [("all run", 0), ("most stall", options.uploads.saturating_sub(options.running))] {
        let connections = u64::from(options.uploads) * 2 + 1000;
        let settings = [format!("storage.memory_budget_bytes={}", options.budget_mib << 20)];
        let target = bed.wharf(programs, connections, &settings)?;
        let half = half(&target, options, name, usize::from(stalled), &mut failures).await;
        let stopped = target.stop().await;
        halves.push(half?);
        stopped?;
    }
    Ok(Report {
        workload: "s3-memory",
        uploads: options.uploads,
        length_bytes: options.length(),
        budget_mib: options.budget_mib,
        bound_mib: options.budget_mib + OVERHEAD_MIB,
        halves,
        failures,
    })
}

/// So many clients stall, the others bring their uploads to the end.
async fn half(
    target: &Target,
    options: &Options,
    name: &'static str,
    stalled: usize,
    failures: &mut Failures,
) -> Result<Half, TargetError> {
    let (began, before) = (Instant::now(), target.sample()?);
    let uploads = usize::from(options.uploads);
    let outcomes = for_each(0..stalled, stalled.max(1), |number| stall(&target.site, number, options.length()));
    let held = failures.sort_out("stall", outcomes.await);
    let sent: Vec<Rc<Cell<usize>>> = (stalled..uploads).map(|_| Rc::default()).collect();
    let least_at_first_end = Cell::new(None);
    let outcomes = for_each(&sent, uploads, |progress| async {
        let outcome = upload(&target.site, options.length(), progress).await;
        let least = sent.iter().map(|sent| sent.get()).min().unwrap_or(0);
        least_at_first_end.set(least_at_first_end.get().or(Some(least)));
        outcome
    });
    let completed = failures.sort_out("upload", outcomes.await).len();
    let mut least_sent_bytes = least_at_first_end.get().unwrap_or(0);
    if stalled > 0 {
        least_sent_bytes = held.iter().map(|held| held.sent).min().unwrap_or(0);
        wait_until_read(target).await?;
        let outcomes = for_each(held, uploads, |held| look(&target.site, held));
        failures.sort_out("look at a stalled upload", outcomes.await);
    }
    let after = target.sample()?;
    Ok(Half {
        name,
        secs: began.elapsed().as_secs_f64(),
        cpu_secs: after.cpu_secs() - before.cpu_secs(),
        idle_kib: before.resident_kib,
        peak_kib: after.peak_kib,
        completed,
        expected: uploads - stalled,
        least_sent_bytes,
    })
}

/// Sends all of an upload in one request. `progress` says how far it has come.
async fn upload(site: &Site, length: usize, progress: &Cell<usize>) -> Result<(), ClientError> {
    let piece = vec![0x5a; PIECE_BYTES];
    let mut connection = Connection::open(site).await?;
    let path = connection.create(length).await?;
    connection.begin_append(&path, 0, length, &[]).await?;
    while progress.get() < length {
        let next = &piece[..PIECE_BYTES.min(length - progress.get())];
        connection.send(next).await?;
        progress.set(progress.get() + next.len());
    }
    connection.end_append(length).await
}

/// An upload whose request waits for the rest of its body.
struct Held<'a> {
    connection: Connection<'a>,
    path: String,
    sent: usize,
}

/// Sends some MiB and an odd rest: of some uploads less than a part, of others more.
async fn stall(site: &Site, number: usize, length: usize) -> Result<Held<'_>, ClientError> {
    let sent = (1 + number % 7) * MIB + number * 997;
    let mut connection = Connection::open(site).await?;
    let path = connection.create(length).await?;
    connection.begin_append(&path, 0, length, &vec![0x5a; sent]).await?;
    Ok(Held { connection, path, sent })
}

/// Nothing may be left in a socket: a client that holds still keeps no other's bytes out.
async fn wait_until_read(target: &Target) -> Result<(), TargetError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let transit = target.transit()?;
        if transit.unread + transit.unsent == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(TargetError::Unread { left: format!("{transit:?}") });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// All that a stalled client has sent is kept, and it has not been answered.
async fn look(site: &Site, held: Held<'_>) -> Result<(), String> {
    let told = |error: ClientError| format!("{}: {error}", held.path);
    if held.connection.has_been_answered() {
        return Err(format!("{} was answered while it stalled", held.path));
    }
    Connection::open(site).await.map_err(told)?.inspect(&held.path, held.sent).await.map_err(told)
}

impl Outcome for Report {
    fn is_right(&self) -> bool {
        let within = |half: &Half| half.peak_kib <= self.bound_mib << 10 && half.completed == half.expected;
        self.failures.is_empty() && self.halves.iter().all(within)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length_mib = self.length_bytes / MIB;
        writeln!(
            formatter,
            "{} uploads of {length_mib} MiB at once, a budget of {} MiB",
            self.uploads, self.budget_mib
        )?;
        writeln!(formatter, "  peak RSS of wharf may be {} MiB\n", self.bound_mib)?;
        let columns = ["s", "CPU s", "idle MiB", "peak MiB", "completed", "least sent"];
        write!(formatter, "{:<12}", "half")?;
        columns.iter().try_for_each(|column| write!(formatter, "{column:>12}"))?;
        writeln!(formatter)?;
        for half in &self.halves {
            let Half { name, secs, cpu_secs, idle_kib, peak_kib, completed, expected, least_sent_bytes } = half;
            let [idle, peak] = [idle_kib, peak_kib].map(|kib| *kib as f64 / 1024.0);
            let (completed, least) = (format!("{completed}/{expected}"), *least_sent_bytes as f64 / MIB as f64);
            write!(formatter, "{name:<12}{secs:>12.1}{cpu_secs:>12.1}{idle:>12.1}{peak:>12.1}")?;
            writeln!(formatter, "{completed:>12}{least:>12.1}")?;
        }
        write!(formatter, "{}", self.failures)
    }
}
