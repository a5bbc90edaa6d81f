//! As many bytes in all, sent by few or by many uploads, each of which sends a piece now and then over a connection of its
//! own: what a byte costs while 100, 1,000 and 10,000 uploads are active, beside what it costs while one is.
//!
//! Two servers of a kind run side by side, one with few uploads and one with many, and are sent to by turns, half a second each,
//! so that whatever else the machine does counts alike for both. The pieces, their size and their pace are the same, and so is
//! how many bytes come to lie in files, and each connection has sent some pieces before, as those of active uploads have. So what
//! a byte costs more with many is what it costs that each piece meets another connection, another file and another upload. How
//! much of that is the kernel's, and the processor's whose caches hold no 10,000 of anything, the floor tells: one thread that
//! only reads and writes, under the same load.

use std::{fmt, path::PathBuf, time::Duration, time::Instant};

use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::for_each;
use crate::{
    client::{ClientError, Connection, PATIENCE, Site},
    compare::{Bench, BenchError, Recipe, Sizes, crowd, wharf},
    content::Content,
    figures::median,
    report::Outcome,
    target::{LOOK_INTERVAL, Target, TargetError, program, raise_file_limit},
};

const GIB: f64 = (1_u64 << 30) as f64;
/// How many uploads are begun, and ended, at a time.
const PARALLEL: usize = 64;
/// How long the server has at the end of its turn to write what it has read.
const SETTLED: Duration = Duration::from_millis(20);
const SPARE_FILES: u64 = 200;
/// How many pieces are sent before it is the other server's turn.
const SLICE_PIECES: usize = 500;
/// By how much the cost of a byte may grow from the fewest uploads to any more.
const BOUND: f64 = 1.15;

/// What is done.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
    /// How many uploads are few
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    few: u32,
    /// How many are active at once beside these, each number in its turn
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000", value_parser = clap::value_parser!(u32).range(1..))]
    many: Vec<u32>,
    /// How much few, and how much many, send while they are measured, in MiB
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u32).range(1..))]
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
    /// How many pieces each has sent before all are measured, so that connections are no longer new
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    warm_up: u32,
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

    /// Each upload has a few pieces more at its beginning, and one at its end.
    fn content(&self, number: u32, uploads: u32) -> Content {
        let pieces = self.warm_up as usize + self.pieces().div_ceil(uploads as usize) + 1;
        Content { seed: u64::from(number), length: pieces * self.piece() }
    }

    /// The server's: a socket and a file for each, and some for the rest. This program has half of that.
    fn open_files(&self) -> u64 {
        2 * u64::from(self.many.iter().copied().fold(self.few, u32::max)) + SPARE_FILES
    }
}

/// What uploads of one number cost.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    user_secs_of_gib: f64,
    system_secs_of_gib: f64,
    /// How long it took to send; longer than planned when this program did not keep its pace.
    secs: f64,
    upload_kib: f64,
}

impl Cost {
    fn cpu_secs_of_gib(&self) -> f64 {
        self.user_secs_of_gib + self.system_secs_of_gib
    }
}

/// One turn of one server.
#[derive(Debug, Clone, Copy, Serialize)]
struct Turn {
    few: Cost,
    many: Cost,
}

impl Turn {
    fn growth(&self) -> f64 {
        self.many.cpu_secs_of_gib() / self.few.cpu_secs_of_gib()
    }
}

/// The turns of one server under one number of uploads.
#[derive(Debug, Serialize)]
struct Row {
    server: String,
    uploads: u32,
    turns: Vec<Turn>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    piece_bytes: usize,
    pieces: usize,
    planned_secs: f64,
    few: u32,
    rows: Vec<Row>,
    failures: Vec<String>,
}

/// An upload that is active.
struct Active<'a> {
    connection: Connection<'a>,
    path: String,
    content: Content,
    sent: usize,
}

/// A server with its uploads.
struct Side<'a> {
    target: &'a Target,
    active: Vec<Active<'a>>,
    /// How many pieces have been sent while it was measured.
    sent: usize,
    user_secs: f64,
    system_secs: f64,
    secs: f64,
    upload_kib: f64,
}

/// Runs all rounds.
///
/// # Errors
/// When a server can't be started or measured, or an answer is not right.
pub(crate) async fn run(options: &Options) -> Result<Report, BenchError> {
    raise_file_limit(options.open_files())?;
    let recipes = [crowd()?, wharf("wharf", &program(options.server.as_deref(), "wharf")?, "none")];
    let of_number = |uploads: &u32| recipes.each_ref().map(|recipe| (recipe, *uploads));
    let mut rows: Vec<_> =
        options.many.iter().flat_map(of_number).map(|(recipe, uploads)| (recipe, Row::new(recipe, uploads))).collect();
    let mut failures = Vec::new();
    for _ in 0..options.rounds {
        for (recipe, row) in &mut rows {
            row.turns.push(turn(recipe, row.uploads, options, &mut failures).await?);
        }
    }
    Ok(Report {
        workload: "scaling",
        piece_bytes: options.piece(),
        pieces: options.pieces(),
        planned_secs: options.pieces() as f64 / f64::from(options.pieces_per_second),
        few: options.few,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        failures,
    })
}

/// One number of uploads beside few.
async fn turn(recipe: &Recipe, many: u32, options: &Options, failures: &mut Vec<String>) -> Result<Turn, BenchError> {
    let first = recipe.start(&options.place, options.open_files()).await?;
    let second = recipe.start(&options.place, options.open_files()).await?;
    let mut few = Side::begin(&first, recipe, options.few, options).await?;
    let mut many = Side::begin(&second, recipe, many, options).await?;
    while few.sent < options.pieces() {
        few.send(options).await?;
        many.send(options).await?;
    }
    let turn = Turn { few: few.cost(options), many: many.cost(options) };
    for side in [few, many] {
        side.end(recipe, failures).await?;
    }
    recipe.stop(first).await?;
    recipe.stop(second).await?;
    Ok(turn)
}

impl<'a> Side<'a> {
    async fn begin(target: &'a Target, recipe: &Recipe, uploads: u32, options: &Options) -> Result<Self, BenchError> {
        let sizes = Sizes::quick();
        Bench::new(target, recipe.kind, &sizes).warm_up().await?;
        let idle_kib = target.sample()?.resident_kib;
        let begun = for_each(0..uploads, PARALLEL, |number| Active::begin(&target.site, number, uploads, options));
        let mut active = begun.await.into_iter().collect::<Result<Vec<_>, _>>()?;
        wait_until_read(target, active.len()).await?;
        for _ in 1..options.warm_up {
            for upload in &mut active {
                upload.send(options.piece()).await?;
            }
            wait_until_read(target, active.len()).await?;
        }
        let upload_kib = (target.sample()?.resident_kib as f64 - idle_kib as f64) / f64::from(uploads);
        Ok(Self { target, active, sent: 0, user_secs: 0.0, system_secs: 0.0, secs: 0.0, upload_kib })
    }

    /// Has each of them send a piece in turn, at the pace that was asked for, for as long as it is this server's turn.
    async fn send(&mut self, options: &Options) -> Result<(), BenchError> {
        let mut interval = tokio::time::interval(Duration::from_secs(1) / options.pieces_per_second);
        // Pieces that are late must not come all at once.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (before, began, count) = (self.target.sample()?, Instant::now(), self.active.len());
        for _ in 0..SLICE_PIECES.min(options.pieces() - self.sent) {
            interval.tick().await;
            self.active[self.sent % count].send(options.piece()).await?;
            self.sent += 1;
        }
        self.secs += began.elapsed().as_secs_f64();
        wait_until_read(self.target, count).await?;
        tokio::time::sleep(SETTLED).await;
        let after = self.target.sample()?;
        self.user_secs += after.user_secs - before.user_secs;
        self.system_secs += after.system_secs - before.system_secs;
        Ok(())
    }

    fn cost(&self, options: &Options) -> Cost {
        let gib = (self.sent * options.piece()) as f64 / GIB;
        let (user_secs_of_gib, system_secs_of_gib) = (self.user_secs / gib, self.system_secs / gib);
        Cost { user_secs_of_gib, system_secs_of_gib, secs: self.secs, upload_kib: self.upload_kib }
    }

    /// Ends the uploads, and looks whether all is there that was sent.
    async fn end(self, recipe: &Recipe, failures: &mut Vec<String>) -> Result<(), BenchError> {
        let ended = for_each(self.active, PARALLEL, Active::end).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let sizes = Sizes::quick();
        let mut bench = Bench::new(self.target, recipe.kind, &sizes);
        bench.verify(&ended).await?;
        failures.append(&mut bench.failures);
        Ok(())
    }
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

impl Row {
    fn new(recipe: &Recipe, uploads: u32) -> Self {
        Self { server: recipe.about.name.clone(), uploads, turns: Vec::new() }
    }

    /// The median of what each turn says.
    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of)).unwrap_or(0.0)
    }

    fn line(&self) -> String {
        let Self { server, uploads, .. } = self;
        let few = |of: fn(&Cost) -> f64| self.median(|turn| of(&turn.few));
        let many = |of: fn(&Cost) -> f64| self.median(|turn| of(&turn.many));
        let [user, system] = [|cost: &Cost| cost.user_secs_of_gib, |cost: &Cost| cost.system_secs_of_gib];
        let (secs, kib) = (many(|cost| cost.secs), many(|cost| cost.upload_kib));
        format!(
            "{uploads:>10}{server:>8}{:>10.3}{:>8.3}{:>12.3}{:>8.3}{:>10.3}{secs:>8.1}{kib:>9.1}",
            few(user),
            few(system),
            many(user),
            many(system),
            self.median(Turn::growth)
        )
    }
}

impl Outcome for Report {
    fn is_right(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { piece_bytes, pieces, planned_secs, few, rows, .. } = self;
        let rounds = rows.first().map_or(0, |row| row.turns.len());
        writeln!(
            formatter,
            "{pieces} pieces of {piece_bytes} bytes in {planned_secs:.1} s; medians of {rounds} rounds"
        )?;
        writeln!(formatter, "CPU seconds a GiB, with {few} and with more uploads")?;
        writeln!(
            formatter,
            "{:>10}{:>8}{:>10}{:>8}{:>12}{:>8}{:>10}{:>8}{:>9}",
            "uploads", "server", "few: user", "kernel", "many: user", "kernel", "by few", "s", "KiB each"
        )?;
        rows.iter().try_for_each(|row| writeln!(formatter, "{}", row.line()))?;
        let most =
            rows.iter().filter(|row| row.server == "wharf").map(|row| row.median(Turn::growth)).fold(0.0, f64::max);
        let kept = if most < BOUND { "less" } else { "NOT less" };
        writeln!(formatter, "the cost of a byte grows by {kept} than {:.0} %", (BOUND - 1.0) * 100.0)?;
        self.failures.iter().try_for_each(|failure| writeln!(formatter, "  {failure}"))
    }
}
