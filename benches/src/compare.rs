//! Wharf, a floor and other tus servers under the same loads in one run, turn by turn: what each costs, and the ratios of
//! each round.

mod bench;
mod markdown;
mod plot;
mod recipe;
mod results;
mod s3;
mod servers;
mod sizes;
mod table;

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use bench::{Bench, BenchError, Load};
pub(crate) use recipe::{Kind, Recipe};
pub(crate) use results::Measure;
use results::{Measured, Results, Rounds, Section};
pub(crate) use s3::Extent;
pub(crate) use servers::{crowd, wharf};
pub(crate) use sizes::Sizes;

use crate::{
    bed::Programs,
    report::{Failures, Outcome},
    target::{Target, TargetError},
    workload::Workload,
};

/// How many files and sockets a server may need at once, besides those of stalled uploads.
const OPEN_FILES: u64 = 2000;

/// What is compared.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    servers: servers::Options,
    #[command(flatten)]
    sizes: Sizes,
    /// How often each server has its turn; what is told is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// One round of small loads for the floor and wharf: whether all of it works
    #[arg(long)]
    quick: bool,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Workload>,
    /// Where large uploads are stored
    #[arg(long, default_value = "target", value_name = "DIRECTORY")]
    large_dir: PathBuf,
    /// Where many small ones are; a directory in memory, because a disk is slow to create files after others were removed
    #[arg(long, default_value = "/dev/shm", value_name = "DIRECTORY")]
    small_dir: PathBuf,
    /// Where the report, its plots and the raw figures go
    #[arg(long, default_value = "target/bench-report", value_name = "DIRECTORY")]
    report: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error("the servers can't be found")]
    Servers(#[from] servers::ServersError),
    #[error("{} can't be written", .0.display())]
    Report(PathBuf, #[source] std::io::Error),
    #[error("the servers can't be measured")]
    Target(#[from] TargetError),
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    results: Results,
    #[serde(skip)]
    place: PathBuf,
}

/// Runs all rounds of all workloads, and writes the report.
///
/// # Errors
/// When a server is not there, or the report can't be written. What goes wrong under load is in the report.
pub(crate) async fn run(options: &Options) -> Result<Report, CompareError> {
    let sizes = if options.quick { Sizes::quick() } else { options.sizes.clone() };
    let rounds = if options.quick { 1 } else { options.rounds };
    let servers = servers::find(&options.servers, options.quick)?;
    let programs = Programs::with_wharf(&options.servers.wharf()?);
    let has_bed = programs.bed().is_ok_and(|bed| bed.is_file());
    crate::target::raise_file_limit(open_files(&sizes))?;
    let mut results = Results::new(rounds, servers.iter().map(|server| server.about.clone()).collect());
    for workload in Workload::value_variants().iter().copied() {
        let extent = workload.s3_extent(&sizes);
        let is_chosen = options.only.contains(&workload);
        if !is_chosen && (!options.only.is_empty() || extent.is_some() && (options.quick || !has_bed)) {
            continue;
        }
        let mut failures = Vec::new();
        let section = if let Some(extent) = extent {
            let from = (&programs, &*options.small_dir);
            s3::section(workload, extent, from, (&sizes, rounds), &mut failures).await
        } else {
            let place = if workload.is_of_small_files() { &options.small_dir } else { &options.large_dir };
            section(workload, &servers, place, (&sizes, rounds), &mut failures).await
        };
        results.failures.add_all(failures.into_iter());
        results.sections.push(section);
    }
    write(&options.report, &results).map_err(|error| CompareError::Report(options.report.clone(), error))?;
    Ok(Report { results, place: options.report.clone() })
}

fn open_files(sizes: &Sizes) -> u64 {
    OPEN_FILES + 2 * u64::from(sizes.stalled)
}

/// All rounds of one workload, in which each server has its turn.
async fn section(
    workload: Workload,
    servers: &[Recipe],
    place: &Path,
    (sizes, rounds): (&Sizes, u16),
    failures: &mut Vec<String>,
) -> Section {
    let mut section = Section::new(workload, sizes);
    let fit: Vec<&Recipe> =
        servers.iter().filter(|server| workload.is_for(server.kind) && !server.without.contains(&workload)).collect();
    section.servers = fit.iter().map(|server| Rounds::new(&server.about.name)).collect();
    if rounds > 1 && !workload.is_of_small_files() {
        // Whoever is the first to write much finds the machine otherwise than all others do, so this turn does not count.
        tell(&format!("{} {}", workload.name(), fit[0].about.name));
        failures.extend(measure(workload, fit[0], place, sizes).await.1);
    }
    for round in 0..rounds {
        for (server, kept) in fit.iter().zip(&mut section.servers) {
            tell(&format!("{} {}/{rounds} {}", workload.name(), round + 1, server.about.name));
            let (measured, wrong) = measure(workload, server, place, sizes).await;
            let step = format!("{}, {}, round {}", workload.name(), server.about.name, round + 1);
            failures.extend(wrong.into_iter().map(|failure| format!("{step}: {failure}")));
            kept.rounds.push(measured);
        }
    }
    section
}

/// One turn: a server of its own, in a directory of its own.
async fn measure(workload: Workload, server: &Recipe, place: &Path, sizes: &Sizes) -> (Option<Measured>, Vec<String>) {
    let mut failures = Vec::new();
    let target = match server.start(place, open_files(sizes)).await {
        Ok(target) => target,
        Err(error) => return (None, vec![told(&error)]),
    };
    let measured = under_load(workload, server.kind, &target, sizes, &mut failures).await;
    if let Err(error) = server.stop(target).await {
        failures.push(told(&error));
    }
    match measured {
        // What was not answered as it must be has no figures.
        Ok(measured) => (measured.filter(|_| failures.is_empty()), failures),
        Err(error) => {
            failures.push(told(&error));
            (None, failures)
        }
    }
}

async fn under_load(
    workload: Workload,
    kind: Kind,
    target: &Target,
    sizes: &Sizes,
    failures: &mut Vec<String>,
) -> Result<Option<Measured>, BenchError> {
    let mut bench = Bench::new(target, kind, sizes);
    let outcome = workload.run(&mut bench).await;
    failures.append(&mut bench.failures);
    outcome.map(|()| bench.measured)
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What is under way, for whoever waits.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn write(place: &Path, results: &Results) -> std::io::Result<()> {
    fs::create_dir_all(place)?;
    fs::write(place.join("report.md"), markdown::report(results))?;
    fs::write(place.join("figures.json"), serde_json::to_vec_pretty(results)?)?;
    for section in &results.sections {
        fs::write(place.join(plot::file_of(section)), plot::of_section(section))?;
    }
    Ok(())
}

impl Outcome for Report {
    fn is_right(&self) -> bool {
        self.results.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { results, place } = self;
        let failures: &Failures = &results.failures;
        write!(formatter, "{}\n{failures}\nthe report: {}", table::of(results), place.join("report.md").display())
    }
}
