//! A store with very many finished uploads, made as files: how soon wharf starts over it, and what HEAD costs, beside a store
//! that has just the uploads that are asked for.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;

use super::in_turns;
use crate::{
    client::Connection,
    compare::{Bench, BenchError, Kind, Load, Recipe, Sizes, wharf},
    content::Content,
    figures::median,
    report::Outcome,
    target::{name_of, program},
};

const OPEN_FILES: u64 = 1000;
const CONNECTIONS: u32 = 4;
/// The uploads that are asked for again and again.
const OFTEN: u32 = 200;
const CONTENT: Content = Content { seed: 1, length: 16 };

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
    /// How many uploads the large store has, of two files each
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    uploads: u32,
    /// How many the small store has, and how many of either are asked for
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    heads: u32,
    /// How often each of the two is measured; what is told is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Where both are made
    #[arg(long, default_value = "target", value_name = "DIRECTORY")]
    place: PathBuf,
}

/// One store.
#[derive(Debug, Clone, Copy, Serialize)]
struct Store {
    /// From the start of the process until it can be connected to.
    start_secs: f64,
    start_cpu_secs: f64,
    resident_kib: u64,
    /// Processor time of a HEAD, when each is of another upload, and when few uploads are asked for.
    each_head_us: f64,
    often_head_us: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    uploads: [u32; 2],
    /// Of each round, the small store and the large one.
    rounds: Vec<[Store; 2]>,
}

/// Makes both stores, and measures them in turn.
///
/// # Errors
/// When the stores can't be made, or the server can't be started or measured, or an answer is not right.
pub(crate) async fn run(options: &Options) -> Result<Report, BenchError> {
    let recipe = wharf("wharf", &program(options.server.as_deref(), "wharf")?, "none");
    fs::create_dir_all(&options.place)?;
    let place = fs::canonicalize(&options.place)?;
    let uploads = [options.heads.min(options.uploads), options.uploads];
    let (mut homes, mut rounds) = (Vec::new(), Vec::new());
    for uploads in uploads {
        // Deleted again when all is done.
        let home = tempfile::Builder::new().prefix("wharf-bench-").tempdir_in(&place)?;
        let recipe = recipe.clone().over(home.path());
        fill(&recipe, home.path(), uploads, &place).await?;
        homes.push((home, recipe, uploads));
    }
    // So that the disk is not busy with them while they are asked for.
    rustix::fs::sync();
    for _ in 0..options.rounds {
        let mut stores = Vec::new();
        for (_, recipe, uploads) in &homes {
            stores.push(store(recipe, *uploads, options.heads.min(*uploads), &place).await?);
        }
        rounds.extend(<[Store; 2]>::try_from(stores).ok());
    }
    Ok(Report { workload: "finished-store", uploads, rounds })
}

/// One turn of one store.
async fn store(recipe: &Recipe, uploads: u32, heads: u32, place: &Path) -> Result<Store, BenchError> {
    let began = Instant::now();
    let target = recipe.start(place, OPEN_FILES).await?;
    let (start_secs, started) = (began.elapsed().as_secs_f64(), target.sample()?);
    let sizes = Sizes::quick();
    let mut bench = Bench::new(&target, Kind::Wharf, &sizes);
    bench.warm_up().await?;
    // Spread over the whole store.
    let each_head_us = ask(&mut bench, heads, |number| number * (uploads / heads)).await?;
    let often_head_us = ask(&mut bench, heads, |number| number % OFTEN.min(uploads)).await?;
    let resident_kib = target.sample()?.resident_kib;
    recipe.stop(target).await?;
    Ok(Store { start_secs, start_cpu_secs: started.cpu_secs(), resident_kib, each_head_us, often_head_us })
}

/// The processor time of a HEAD in microseconds.
async fn ask(bench: &mut Bench<'_>, heads: u32, which: impl Fn(u32) -> u32) -> Result<f64, BenchError> {
    bench.begin(0).await?;
    let base = bench.site().path.clone();
    let turns = in_turns(bench.site(), CONNECTIONS, heads, async |connection, number| {
        connection.inspect(&format!("{base}{}", name(which(number))), CONTENT.length).await
    });
    let (done, latencies) = turns.await?;
    bench.end(Load { bytes: 0, units: done.len(), latencies }).await?;
    let cpu_secs = bench.measured.take().map_or(0.0, |measured| measured.user_secs + measured.system_secs);
    Ok(cpu_secs * 1e6 / f64::from(heads))
}

/// Has wharf make one upload, and makes all others like it.
async fn fill(recipe: &Recipe, dir: &Path, uploads: u32, place: &Path) -> Result<(), BenchError> {
    let target = recipe.start(place, OPEN_FILES).await?;
    let bytes = CONTENT.bytes(0, CONTENT.length);
    let path = Connection::open(&target.site).await?.create_whole(&bytes).await?;
    recipe.stop(target).await?;
    let model = name_of(&path);
    let info = fs::read_to_string(dir.join(format!("{model}.info")))?;
    if fs::read(dir.join(model))? != bytes || !info.contains(model) {
        return Err(io::Error::other("a finished upload is not in two files of its name").into());
    }
    for number in 0..uploads {
        let name = name(number);
        fs::write(dir.join(&name), &bytes)?;
        fs::write(dir.join(format!("{name}.info")), info.replace(model, &name))?;
    }
    Ok(())
}

/// As long as the names that wharf gives, and in no order.
fn name(number: u32) -> String {
    let mixed = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}{number:016x}")
}

impl Outcome for Report {
    /// Whatever was not right has been an error.
    fn is_right(&self) -> bool {
        true
    }
}

impl Report {
    fn median(&self, of: impl Fn(&[Store; 2]) -> f64) -> f64 {
        median(self.rounds.iter().map(of)).unwrap_or(0.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [few, many] = &self.uploads;
        let title = format!("finished uploads; medians of {} rounds", self.rounds.len());
        writeln!(formatter, "{title:<44}{few:>14}{many:>14}{:>10}", "ratio")?;
        let mut line = |name: &str, of: fn(&Store) -> f64| {
            let (few, many) = (self.median(|[few, _]| of(few)), self.median(|[_, many]| of(many)));
            // What takes no tick of the clock has no ratio.
            let ratio = self.median(|[few, many]| of(many) / of(few));
            let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() };
            writeln!(formatter, "{name:<44}{few:>14.2}{many:>14.2}{ratio:>10}")
        };
        line("s from the start to the first connection", |store| store.start_secs)?;
        line("CPU s until then", |store| store.start_cpu_secs)?;
        line("CPU us of a HEAD, each of another upload", |store| store.each_head_us)?;
        line("CPU us of a HEAD, of the same 200 uploads", |store| store.often_head_us)?;
        line("resident MiB", |store| store.resident_kib as f64 / 1024.0)
    }
}
