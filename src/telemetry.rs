//! Logging: lines of text or JSON, written by a thread of their own. Nothing that logs ever waits.
//!
//! A line is put together where it is logged, once and in one piece, so that its thread has nothing to do but to write.
//! When lines come faster than they can be written, what does not fit into the buffer is dropped and counted, and a
//! line says so once there is room. Whatever a value holds, it stays on its line and within its quotes.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record, RecordStatic, o};
use slog_async::{AsyncCore, AsyncGuard};

use crate::settings::{Log, LogFormat};

mod back;
mod escape;
mod json;
mod line;
mod stamp;
mod text;

use back::Back;
use line::Form;

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

    /// Any writer. What it is given at once are whole lines: one, or as many as wait and are few enough.
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
        self.0.waiting()
    }
}

#[derive(Debug, Default)]
struct Meter {
    /// Lines that were sent and are not written yet. Each is counted when it is on its way already, so what is counted does
    /// come; the other way round its writer may be the quicker one, and the number is below zero for a moment.
    waiting: AtomicI64,
    dropped: AtomicU64,
    /// Those of `dropped` that no line has told of yet.
    untold: AtomicU64,
    /// The least severe level that is logged, as a number.
    level: AtomicUsize,
}

impl Meter {
    fn waiting(&self) -> u64 {
        u64::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// Starts the log. The guard must live as long as anything is to be logged.
pub fn logger(settings: &Log, destination: Destination) -> (Logger, Guard, Control) {
    let control = Control(Arc::default());
    control.set_level(settings.level);
    let Destination { writer, terminal } = destination;
    let form = match settings.format {
        LogFormat::Json => Form::Json,
        LogFormat::Text => Form::Text { coloured: false },
        LogFormat::Auto => Form::Text { coloured: terminal },
    };
    let back = Back::new(writer, form, settings.buffer_lines, Arc::clone(&control.0));
    let (core, guard) =
        AsyncCore::custom(back).chan_size(settings.buffer_lines).thread_name("wharf-log".to_owned()).build_with_guard();
    let front = Front { core, form, meter: Arc::clone(&control.0), nothing: o!().into() };
    (Logger::root(front.fuse(), o!()), Guard(Some(guard)), control)
}

/// Where a line enters, on the thread of whoever logs it.
struct Front {
    core: AsyncCore,
    form: Form,
    meter: Arc<Meter>,
    /// A line has all of its logger's fields in it already.
    nothing: OwnedKVList,
}

impl Drain for Front {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<(), Never> {
        if !self.is_enabled(record.level()) {
            return Ok(());
        }
        let sent = line::with(self.form, record, context, |line| {
            let fixed = RecordStatic { location: record.location(), tag: "", level: record.level() };
            self.core.log(&Record::new(&fixed, &format_args!("{line}"), slog::b!()), &self.nothing)
        });
        let Meter { waiting, dropped, untold, .. } = &*self.meter;
        if sent.is_ok() {
            waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            dropped.fetch_add(1, Ordering::Relaxed);
            untold.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        level.as_usize() <= self.meter.level.load(Ordering::Relaxed)
    }
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
