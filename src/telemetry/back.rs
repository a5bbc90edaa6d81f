//! Where lines leave, on the log's own thread: as many in one write as wait already.

use std::{
    cell::RefCell,
    fmt::Write as _,
    io::{self, Write},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use slog::{Drain, Level, Never, OwnedKVList, Record, RecordLocation, RecordStatic, o};

use super::{
    Meter,
    line::{self, Form},
};

/// Lines are written together up to so many bytes: what a pipe takes in one piece, also when others write into it.
const BATCH_BYTES: usize = 4096;

/// How long the thread rests when it has written. Who logs meanwhile need not wake it, which costs more than the line.
const REST: Duration = Duration::from_millis(1);

/// With less room than for so many lines there is no rest: they might not fit.
const ROOM_TO_REST: usize = 1024;

/// Writes lines, and tells of those that were dropped.
pub(super) struct Back {
    batch: RefCell<Batch>,
    form: Form,
    meter: Arc<Meter>,
    /// Drops are told of when no more lines than this wait, so that telling does not fill the log in its turn.
    room: i64,
    rest: Option<Duration>,
}

/// Lines that will be written at once.
struct Batch {
    writer: Box<dyn Write + Send>,
    text: String,
    /// How many of them came from the queue.
    lines: i64,
}

impl Back {
    pub(super) fn new(writer: Box<dyn Write + Send>, form: Form, buffer_lines: usize, meter: Arc<Meter>) -> Self {
        let batch = Batch { writer, text: String::with_capacity(BATCH_BYTES), lines: 0 };
        let room = i64::try_from(buffer_lines / 2).unwrap_or(i64::MAX);
        let rest = (buffer_lines >= ROOM_TO_REST).then_some(REST);
        Self { batch: RefCell::new(batch), form, meter, room, rest }
    }

    fn add(&self, batch: &mut Batch, line: impl FnOnce(&mut String)) {
        let begin = batch.text.len();
        line(&mut batch.text);
        if batch.text.len() > BATCH_BYTES && begin > 0 {
            let last = batch.text.split_off(begin);
            self.write(batch);
            batch.text.push_str(&last);
        }
    }

    fn write(&self, batch: &mut Batch) {
        let lost = write_lines(&mut batch.writer, batch.text.as_bytes());
        if lost > 0 {
            // There is nowhere left to tell of this but the metrics.
            self.meter.dropped.fetch_add(lost, Ordering::Relaxed);
        }
        batch.text.clear();
        batch.text.shrink_to(4 * BATCH_BYTES);
        self.meter.waiting.fetch_sub(std::mem::take(&mut batch.lines), Ordering::Relaxed);
    }

    #[expect(clippy::disallowed_methods, reason = "there is nothing to wait for: this is to let lines come together")]
    fn rest(&self) {
        if let Some(rest) = self.rest {
            thread::sleep(rest);
        }
    }

    fn tell_of_drops(&self, batch: &mut Batch) {
        let count = self.meter.untold.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let location = RecordLocation { file: file!(), line: line!(), column: 0, function: "", module: module_path!() };
        let fixed = RecordStatic { location: &location, tag: "", level: Level::Warning };
        let message = format_args!("log lines dropped");
        let count = slog::b!("count" => count);
        line::with(self.form, &Record::new(&fixed, &message, count), &o!().into(), |line| {
            self.add(batch, |text| text.push_str(line));
        });
    }
}

impl Drain for Back {
    type Ok = ();
    type Err = Never;

    /// Takes a line that `line::with` has made, as the message.
    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let batch = &mut *self.batch.borrow_mut();
        self.add(batch, |text| {
            // Writing to a String can't fail.
            let _ = write!(text, "{}", record.msg());
        });
        batch.lines += 1;
        let behind = self.meter.waiting.load(Ordering::Relaxed) - batch.lines;
        if behind <= self.room {
            self.tell_of_drops(batch);
        }
        // What waits behind this line will be here at once; else this was the last for now.
        if behind <= 0 {
            self.write(batch);
            self.rest();
        }
        Ok(())
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        let batch = &mut *self.batch.borrow_mut();
        self.tell_of_drops(batch);
        self.write(batch);
    }
}

/// Writes whole lines, and says how many could not be. A line that fails takes none of the next with it.
fn write_lines(writer: &mut dyn Write, mut lines: &[u8]) -> u64 {
    let mut lost = 0;
    while !lines.is_empty() {
        match writer.write(lines) {
            Ok(written @ 1..) => lines = lines.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                let end = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
                lines = &lines[end..];
                lost += 1;
            }
        }
    }
    if writer.flush().is_err() && lost == 0 { 1 } else { lost }
}
