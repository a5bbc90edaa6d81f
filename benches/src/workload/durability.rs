//! What each level of durability costs on a disk: small uploads on many connections at once, and a large one, turn by turn.
//! And how many syncs the small ones need with `always`, as strace counts those of the whole process, by how many there would
//! be with one for each answer that acknowledges bytes or an upload.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::in_turns;
use crate::{
    client::PATIENCE,
    compare::{Bench, BenchError, Kind, Load, Recipe, Sizes, wharf},
    content::Content,
    figures::{Quantiles, median},
    report::Outcome,
    target::program,
};

const GIB: f64 = (1_u64 << 30) as f64;
const LEVELS: [&str; 3] = ["none", "complete", "always"];
const SYNCS: [&str; 3] = ["fsync", "fdatasync", "syncfs"];
const SMALL_BYTES: usize = 16 * 1024;
/// POST and PATCH.
const ACKNOWLEDGEMENTS: usize = 2;
/// There may be a quarter of one sync for each.
const SHARE: f64 = 0.25;
const OPEN_FILES: u64 = 2000;

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
    /// How many small uploads are made
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u32).range(1..))]
    small: u32,
    /// By how many connections at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// The size of the large upload, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    large_mib: u32,
    /// How often each level has its turn; what is told is the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Do not count syncs, for which strace is needed
    #[arg(long)]
    no_syncs: bool,
    /// Where uploads are stored; a disk, or there is nothing to be measured
    #[arg(long, default_value = "target", value_name = "DIRECTORY")]
    place: PathBuf,
}

/// One turn of one level.
#[derive(Debug, Clone, Copy, Serialize)]
struct Turn {
    small_cpu_us: f64,
    small: Quantiles,
    large_cpu_secs_of_gib: f64,
    large_secs_of_gib: f64,
}

/// The syncs of small uploads.
#[derive(Debug, Serialize)]
struct Syncs {
    level: &'static str,
    acknowledgements: usize,
    /// Of each call.
    calls: [u64; SYNCS.len()],
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    small: u32,
    connections: u32,
    large_mib: u32,
    /// Of each round, the turn of each level.
    rounds: Vec<[Turn; LEVELS.len()]>,
    syncs: Vec<Syncs>,
    failures: Vec<String>,
}

/// Runs all rounds.
///
/// # Errors
/// When a server can't be started or measured, or an answer is not right.
pub(crate) async fn run(options: &Options) -> Result<Report, BenchError> {
    let server = program(options.server.as_deref(), "wharf")?;
    let recipes = LEVELS.map(|level| wharf("wharf", &server, level));
    let (mut rounds, mut syncs, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let mut turns = Vec::new();
        for recipe in &recipes {
            turns.push(turn(recipe, options, &mut failures).await?);
        }
        rounds.extend(<[Turn; LEVELS.len()]>::try_from(turns).ok());
    }
    if !options.no_syncs {
        for (level, recipe) in LEVELS.into_iter().zip(&recipes) {
            syncs.push(count(level, recipe, options, &mut failures).await?);
        }
    }
    let Options { small, connections, large_mib, .. } = *options;
    Ok(Report { workload: "durability", small, connections, large_mib, rounds, syncs, failures })
}

async fn turn(recipe: &Recipe, options: &Options, failures: &mut Vec<String>) -> Result<Turn, BenchError> {
    let sizes = Sizes::quick();
    let target = recipe.start(&options.place, OPEN_FILES).await?;
    let mut bench = Bench::new(&target, Kind::Wharf, &sizes);
    bench.warm_up().await?;
    small(&mut bench, options).await?;
    let measured = bench.measured.take();
    let small = measured.as_ref().and_then(|measured| measured.latency).unwrap_or_default();
    let small_cpu_secs = measured.map_or(0.0, |measured| measured.user_secs + measured.system_secs);
    large(&mut bench, options).await?;
    failures.append(&mut bench.failures);
    let (cpu_secs, secs) =
        bench.measured.take().map_or((0.0, 0.0), |measured| (measured.user_secs + measured.system_secs, measured.secs));
    recipe.stop(target).await?;
    let gib = (f64::from(options.large_mib) * f64::from(1 << 20)) / GIB;
    Ok(Turn {
        small_cpu_us: small_cpu_secs * 1e6 / f64::from(options.small),
        small,
        large_cpu_secs_of_gib: cpu_secs / gib,
        large_secs_of_gib: secs / gib,
    })
}

/// Small uploads, by POST and PATCH; their latency is that of both.
async fn small(bench: &mut Bench<'_>, options: &Options) -> Result<(), BenchError> {
    // What others have written would be written with it.
    rustix::fs::sync();
    bench.begin(0).await?;
    let turns = in_turns(bench.site(), options.connections, options.small, async |connection, number| {
        let content = Content { seed: u64::from(number), length: SMALL_BYTES };
        let path = connection.create(SMALL_BYTES).await?;
        connection.append(&path, content, 0, SMALL_BYTES).await?;
        Ok((path, content))
    });
    let (uploads, latencies) = turns.await?;
    bench.end(Load { bytes: uploads.len() * SMALL_BYTES, units: uploads.len(), latencies }).await?;
    bench.verify(&uploads).await
}

async fn large(bench: &mut Bench<'_>, options: &Options) -> Result<(), BenchError> {
    let content = Content { seed: 1 << 32, length: (options.large_mib as usize) << 20 };
    bench.begin(content.length).await?;
    let turns = in_turns(bench.site(), 1, 1, async |connection, _| {
        let path = connection.create(content.length).await?;
        connection.append(&path, content, 0, content.length).await?;
        Ok((path, content))
    });
    let (uploads, latencies) = turns.await?;
    bench.end(Load { bytes: content.length, units: 1, latencies }).await?;
    bench.verify(&uploads).await
}

/// The syncs of a server that takes small uploads, less those of one that takes none.
async fn count(
    level: &'static str,
    recipe: &Recipe,
    options: &Options,
    failures: &mut Vec<String>,
) -> Result<Syncs, BenchError> {
    let none = calls(recipe, options, false, failures).await?;
    let all = calls(recipe, options, true, failures).await?;
    let calls = std::array::from_fn(|at| all[at].saturating_sub(none[at]));
    Ok(Syncs { level, acknowledgements: options.small as usize * ACKNOWLEDGEMENTS, calls })
}

async fn calls(
    recipe: &Recipe,
    options: &Options,
    is_loaded: bool,
    failures: &mut Vec<String>,
) -> Result<[u64; SYNCS.len()], BenchError> {
    let (home, sizes) = (tempfile::tempdir()?, Sizes::quick());
    let (counts, trace) = (home.path().join("counts"), format!("trace=execve,{}", SYNCS.join(",")));
    // It follows as a grandchild, so that the server is the process that is started here. There is no table when nothing was
    // called: hence execve, which always is.
    let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-c", "-o", &counts.to_string_lossy(), "-e", &trace];
    let recipe = recipe.clone().under(&strace);
    let target = recipe.start(&options.place, OPEN_FILES).await?;
    let mut bench = Bench::new(&target, Kind::Wharf, &sizes);
    bench.warm_up().await?;
    if is_loaded {
        small(&mut bench, options).await?;
        failures.append(&mut bench.failures);
    }
    recipe.stop(target).await?;
    Ok(read(&counts).await?)
}

/// strace writes once the server has ended.
async fn read(counts: &Path) -> io::Result<[u64; SYNCS.len()]> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(counts).unwrap_or_default();
        if text.lines().any(|line| line.ends_with(" total")) {
            return Ok(parse(&text));
        }
        if Instant::now() > deadline {
            return Err(io::Error::other("strace has counted nothing"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The fourth column is the number of calls, the last the name.
fn parse(text: &str) -> [u64; SYNCS.len()] {
    let calls = |name: &str| {
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let words = lines.find(|words| words.last() == Some(&name))?;
        words.get(3)?.parse().ok()
    };
    SYNCS.map(|name| calls(name).unwrap_or(0))
}

impl Report {
    fn median(&self, level: usize, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.rounds.iter().map(|turns| of(&turns[level]))).unwrap_or(0.0)
    }

    fn ratio(&self, level: usize, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.rounds.iter().map(|turns| of(&turns[level]) / of(&turns[0]))).unwrap_or(0.0)
    }
}

impl Outcome for Report {
    fn is_right(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { small, connections, large_mib, rounds, .. } = self;
        writeln!(
            formatter,
            "{small} uploads of 16 KiB by POST and PATCH, {connections} at once; {large_mib} MiB in one PATCH; medians of {} \
             rounds, and in brackets of the ratios to none",
            rounds.len()
        )?;
        writeln!(
            formatter,
            "{:<10}{:>22}{:>20}{:>20}{:>20}{:>20}",
            "", "CPU us by upload", "p50 ms", "p99 ms", "CPU s by GiB", "s by GiB"
        )?;
        for (level, name) in LEVELS.iter().enumerate() {
            let cell = |of: fn(&Turn) -> f64| format!("{:.2} ({:.2})", self.median(level, of), self.ratio(level, of));
            let cpu = cell(|turn| turn.small_cpu_us);
            let (p50, p99) = (cell(|turn| turn.small.p50_ms), cell(|turn| turn.small.p99_ms));
            let (large_cpu, large) = (cell(|turn| turn.large_cpu_secs_of_gib), cell(|turn| turn.large_secs_of_gib));
            writeln!(formatter, "{name:<10}{cpu:>22}{p50:>20}{p99:>20}{large_cpu:>20}{large:>20}")?;
        }
        for Syncs { level, acknowledgements, calls } in &self.syncs {
            let (all, [fsync, fdatasync, syncfs]) = (calls.iter().sum::<u64>(), calls);
            let share = all as f64 / *acknowledgements as f64;
            let kept = if share <= SHARE { "at most" } else { "MORE than" };
            writeln!(
                formatter,
                "{level}: {all} syncs ({fsync} fsync, {fdatasync} fdatasync, {syncfs} syncfs) for {acknowledgements} \
                 acknowledgements: {share:.3} each, {kept} {SHARE}"
            )?;
        }
        self.failures.iter().try_for_each(|failure| writeln!(formatter, "  {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_their_names() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n \
             98.61    0.010000         100       123           fdatasync\n  \
             1.39    0.000141         141         1         1 syncfs\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.010141          10       124         1 total\n";
        assert_eq!(parse(text), [0, 123, 1]);
    }
}
