//! As many bytes in all, sent by few or by many uploads, each of which sends a piece now and then over a connection of its
//! own: what a byte costs while 1, 100, 1,000 and 10,000 uploads are active, turn by turn.

use std::{fmt, path::PathBuf, time::Duration, time::Instant};

use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::for_each;
use crate::{
    client::{ClientError, Connection, PATIENCE, Site},
    compare::{Bench, BenchError, Kind, Load, Recipe, Sizes, wharf},
    content::Content,
    figures::median,
    report::Outcome,
    target::{LOOK_INTERVAL, Target, TargetError, program, raise_file_limit},
};

const GIB: f64 = (1_u64 << 30) as f64;
/// How many uploads are begun, and ended, at a time.
const PARALLEL: usize = 64;
const SPARE_FILES: u64 = 200;
/// By how much the cost of a byte may grow from the fewest uploads to any more.
const BOUND: f64 = 1.15;

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
    /// How many uploads are active at once, each number in its turn
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000", value_parser = clap::value_parser!(u32).range(1..))]
    uploads: Vec<u32>,
    /// How much all of them send while they are measured, in MiB
    #[arg(long, default_value_t = 320, value_parser = clap::value_parser!(u32).range(1..))]
    mib: u32,
    /// How much each sends at a time, in KiB
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    piece_kib: u32,
    /// How many such pieces all of them send each second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pieces_per_second: u32,
    /// How often each number has its turn; what is told is the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Where uploads are stored: in memory, so that no disk is measured
    #[arg(long, default_value = "/dev/shm", value_name = "DIRECTORY")]
    place: PathBuf,
}

impl Options {
    fn piece(&self) -> usize {
        self.piece_kib as usize * 1024
    }

    fn pieces(&self) -> usize {
        ((self.mib as usize) << 20) / self.piece()
    }

    /// Each upload has a piece more at its beginning and at its end.
    fn content(&self, number: u32, uploads: u32) -> Content {
        let pieces = self.pieces().div_ceil(uploads as usize) + 2;
        Content { seed: u64::from(number), length: pieces * self.piece() }
    }

    /// The server's: a socket and a file for each, and some for the rest. This program has half of that.
    fn open_files(&self) -> u64 {
        2 * u64::from(self.uploads.iter().copied().max().unwrap_or(0)) + SPARE_FILES
    }
}

/// One turn.
#[derive(Debug, Clone, Copy, Serialize)]
struct Turn {
    cpu_secs_of_gib: f64,
    /// How long it took to send; longer than planned when this program did not keep its pace.
    secs: f64,
    upload_kib: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    piece_bytes: usize,
    pieces: usize,
    planned_secs: f64,
    uploads: Vec<u32>,
    /// Of each round, the turn of each number.
    rounds: Vec<Vec<Turn>>,
    failures: Vec<String>,
}

/// An upload that is active.
struct Active<'a> {
    connection: Connection<'a>,
    path: String,
    content: Content,
    sent: usize,
}

/// Runs all rounds.
///
/// # Errors
/// When a server can't be started or measured, or an answer is not right.
pub(crate) async fn run(options: &Options) -> Result<Report, BenchError> {
    raise_file_limit(options.open_files())?;
    let recipe = wharf("wharf", &program(options.server.as_deref(), "wharf")?, "none");
    let (mut rounds, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let mut turns = Vec::new();
        for uploads in options.uploads.iter().copied() {
            turns.push(turn(&recipe, uploads, options, &mut failures).await?);
        }
        rounds.push(turns);
    }
    Ok(Report {
        workload: "scaling",
        piece_bytes: options.piece(),
        pieces: options.pieces(),
        planned_secs: options.pieces() as f64 / f64::from(options.pieces_per_second),
        uploads: options.uploads.clone(),
        rounds,
        failures,
    })
}

/// One number of uploads, on a server of its own.
async fn turn(
    recipe: &Recipe,
    uploads: u32,
    options: &Options,
    failures: &mut Vec<String>,
) -> Result<Turn, BenchError> {
    let target = recipe.start(&options.place, options.open_files()).await?;
    let sizes = Sizes::quick();
    let mut bench = Bench::new(&target, Kind::Wharf, &sizes);
    bench.warm_up().await?;
    let idle_kib = target.sample()?.resident_kib;
    let begun = for_each(0..uploads, PARALLEL, |number| Active::begin(&target.site, number, uploads, options)).await;
    let mut active = begun.into_iter().collect::<Result<Vec<_>, _>>()?;
    wait_until_read(&target, active.len()).await?;
    let upload_kib = (target.sample()?.resident_kib as f64 - idle_kib as f64) / f64::from(uploads);
    bench.begin(0).await?;
    let began = Instant::now();
    send(&mut active, options).await?;
    let secs = began.elapsed().as_secs_f64();
    bench
        .end(Load { bytes: options.pieces() * options.piece(), units: options.pieces(), latencies: Vec::new() })
        .await?;
    let ended = for_each(active, PARALLEL, Active::end).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    bench.verify(&ended).await?;
    failures.append(&mut bench.failures);
    let cpu_secs = bench.measured.take().map_or(0.0, |measured| measured.user_secs + measured.system_secs);
    recipe.stop(target).await?;
    let gib = (options.pieces() * options.piece()) as f64 / GIB;
    Ok(Turn { cpu_secs_of_gib: cpu_secs / gib, secs, upload_kib })
}

/// Has each of them send a piece in turn, at the pace that was asked for.
async fn send(active: &mut [Active<'_>], options: &Options) -> Result<(), ClientError> {
    let mut interval = tokio::time::interval(Duration::from_secs(1) / options.pieces_per_second);
    // Pieces that are late must not come all at once.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let count = active.len();
    for number in 0..options.pieces() {
        interval.tick().await;
        active[number % count].send(options.piece()).await?;
    }
    Ok(())
}

async fn wait_until_read(target: &Target, connections: usize) -> Result<(), TargetError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let transit = target.transit()?;
        if transit.connections >= connections && transit.unread + transit.unsent == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(TargetError::Unread { left: format!("{transit:?}") });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl<'a> Active<'a> {
    async fn begin(site: &'a Site, number: u32, uploads: u32, options: &Options) -> Result<Self, ClientError> {
        let (mut connection, content) = (Connection::open(site).await?, options.content(number, uploads));
        let path = connection.create(content.length).await?;
        let sent = options.piece();
        connection.begin_append(&path, 0, content.length, &content.bytes(0, sent)).await?;
        Ok(Self { connection, path, content, sent })
    }

    async fn send(&mut self, bytes: usize) -> Result<(), ClientError> {
        let to = self.sent + bytes;
        self.connection.send(&self.content.bytes(self.sent, to)).await?;
        self.sent = to;
        Ok(())
    }

    /// Sends what is left.
    async fn end(mut self) -> Result<(String, Content), ClientError> {
        self.send(self.content.length - self.sent).await?;
        self.connection.end_append(self.content.length).await?;
        Ok((self.path, self.content))
    }
}

impl Report {
    /// The median of what each round says of a number of uploads.
    fn median(&self, place: usize, of: impl Fn(&[Turn], &Turn) -> f64) -> f64 {
        median(self.rounds.iter().map(|turns| of(turns, &turns[place]))).unwrap_or(0.0)
    }

    /// What a byte costs, by what it costs with the number that comes first.
    fn ratio(&self, place: usize) -> f64 {
        self.median(place, |turns, turn| turn.cpu_secs_of_gib / turns[0].cpu_secs_of_gib)
    }
}

impl Outcome for Report {
    fn is_right(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { piece_bytes, pieces, planned_secs, .. } = self;
        writeln!(
            formatter,
            "{pieces} pieces of {piece_bytes} bytes in {planned_secs:.1} s; medians of {} rounds",
            self.rounds.len()
        )?;
        writeln!(
            formatter,
            "{:>10}{:>14}{:>12}{:>10}{:>18}",
            "uploads", "CPU s by GiB", "by first", "s", "KiB an upload"
        )?;
        for (place, uploads) in self.uploads.iter().enumerate() {
            let cpu = self.median(place, |_, turn| turn.cpu_secs_of_gib);
            let (secs, kib) = (self.median(place, |_, turn| turn.secs), self.median(place, |_, turn| turn.upload_kib));
            writeln!(formatter, "{uploads:>10}{cpu:>14.3}{:>12.3}{secs:>10.1}{kib:>18.1}", self.ratio(place))?;
        }
        let most = (0..self.uploads.len()).map(|place| self.ratio(place)).fold(0.0, f64::max);
        let kept = if most < BOUND { "less" } else { "NOT less" };
        writeln!(formatter, "the cost of a byte grows by {kept} than {:.0} %", (BOUND - 1.0) * 100.0)?;
        self.failures.iter().try_for_each(|failure| writeln!(formatter, "  {failure}"))
    }
}
