//! Logging: lines of text or JSON, written by a thread of their own. Nothing that logs ever waits.
//!
//! When lines come faster than they can be written, what does not fit into the buffer is dropped and counted, and a
//! line says so once there is room. Whatever a value holds, it stays on its line and within its quotes.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use slog::{BorrowedKV, Drain, Level, Logger, Never, OwnedKVList, Record, RecordLocation, RecordStatic, o};
use slog_async::{AsyncCore, AsyncGuard};
use time::{OffsetDateTime, macros::format_description};

use crate::settings::{Log, LogFormat};

mod escape;
mod json;
mod text;

pub use escape::{HOSTILE_MAX_BYTES, Hostile, escaped, hostile};

/// How long the end of the process waits for lines to be written: a log that nobody reads must not keep it.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Where log lines go.
pub struct Destination {
    writer: Box<dyn Write + Send>,
    terminal: bool,
}

impl Destination {
    /// Standard error. It takes colours when it is a terminal and nobody asked for none (no-color.org).
    #[must_use]
    pub fn standard_error() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { writer: Box::new(io::stderr()), terminal: io::stderr().is_terminal() && !plain }
    }

    /// Any writer. Each line comes in one write.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Box::new(writer), terminal: false }
    }
}

/// Writes what is still in the buffer when it is dropped; lines logged afterwards are dropped.
pub struct Guard(Option<AsyncGuard>);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(guard) = self.0.take() else { return };
        let (done, finished) = mpsc::channel();
        let flush = thread::Builder::new().name("wharf-log-end".to_owned()).spawn(move || {
            drop(guard);
            // Nobody may be waiting any more.
            let _ = done.send(());
        });
        if flush.is_ok() {
            let _ = finished.recv_timeout(FLUSH_LIMIT);
        }
    }
}

/// The log in the hands of who watches and sets it. Clones stand for the same log.
#[derive(Debug, Clone)]
pub struct Control(Arc<Meter>);

impl Control {
    /// Logs what is at least so severe from now on.
    pub fn set_level(&self, level: Level) {
        self.0.level.store(level.as_usize(), Ordering::Relaxed);
    }

    /// How many lines were dropped so far, because the buffer was full or the writer failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// How many lines wait to be written.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Meter {
    waiting: AtomicU64,
    dropped: AtomicU64,
    /// Those of `dropped` that no line has told of yet.
    untold: AtomicU64,
    /// The least severe level that is logged, as a number.
    level: AtomicUsize,
}

/// Starts the log. The guard must live as long as anything is to be logged.
pub fn logger(settings: &Log, destination: Destination) -> (Logger, Guard, Control) {
    let control = Control(Arc::default());
    control.set_level(settings.level);
    let Destination { writer, terminal } = destination;
    let lines: Lines = match settings.format {
        LogFormat::Json => Box::new(json::lines(writer)),
        LogFormat::Text => Box::new(text::lines(writer, false)),
        LogFormat::Auto => Box::new(text::lines(writer, terminal)),
    };
    let meter = Arc::clone(&control.0);
    let room = u64::try_from(settings.buffer_lines / 2).unwrap_or(u64::MAX);
    let (core, guard) = AsyncCore::custom(Back { lines, meter, room })
        .chan_size(settings.buffer_lines)
        .thread_name("wharf-log".to_owned())
        .build_with_guard();
    let front = Front { core, meter: Arc::clone(&control.0) };
    (Logger::root(front.fuse(), o!()), Guard(Some(guard)), control)
}

/// A drain that writes lines.
type Lines = Box<dyn Drain<Ok = (), Err = io::Error> + Send>;

/// Where a line enters, on the thread of whoever logs it.
struct Front {
    core: AsyncCore,
    meter: Arc<Meter>,
}

impl Drain for Front {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<(), Never> {
        if !self.is_enabled(record.level()) {
            return Ok(());
        }
        let Meter { waiting, dropped, untold, .. } = &*self.meter;
        waiting.fetch_add(1, Ordering::Relaxed);
        let stamped = with_time(record.level(), record.location(), |fixed| {
            self.core.log(&Record::new(fixed, record.msg(), BorrowedKV(&record.kv())), context)
        });
        if stamped.is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
            dropped.fetch_add(1, Ordering::Relaxed);
            untold.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        level.as_usize() <= self.meter.level.load(Ordering::Relaxed)
    }
}

/// Where a line leaves, on the log's own thread.
struct Back {
    lines: Lines,
    meter: Arc<Meter>,
    /// Drops are told of when no more lines than this wait, so that telling does not fill the log in its turn.
    room: u64,
}

impl Back {
    fn tell_of_drops(&self) {
        let count = self.meter.untold.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let location = RecordLocation { file: file!(), line: line!(), column: 0, function: "", module: module_path!() };
        with_time(Level::Warning, &location, |fixed| {
            let count = slog::b!("count" => count);
            self.write(&Record::new(fixed, &format_args!("log lines dropped"), count), &o!().into());
        });
    }

    fn write(&self, record: &Record<'_>, context: &OwnedKVList) {
        if self.lines.log(record, context).is_err() {
            // There is nowhere left to tell of this but the metrics.
            self.meter.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drain for Back {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<(), Never> {
        self.write(record, context);
        let waiting = self.meter.waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        if waiting <= self.room {
            self.tell_of_drops();
        }
        Ok(())
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.tell_of_drops();
    }
}

/// Runs with a record's fixed part whose tag is the present time. The tag is all of a record, besides what the caller
/// wrote, that comes through to the log's thread; and the time of an event is not the time when its line is written.
fn with_time<T>(level: Level, location: &RecordLocation, run: impl FnOnce(&RecordStatic<'_>) -> T) -> T {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let time = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    run(&RecordStatic { location, tag: &time, level })
}

/// A level by the name it has in the settings.
fn name_of(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Destination").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guard")
    }
}

#[cfg(test)]
mod tests;
