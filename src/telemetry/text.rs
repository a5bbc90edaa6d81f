//! Log lines as text: time, level, message and fields, coloured or not, in one write.

use std::{
    cell::RefCell,
    io::{self, Write},
};

use slog::{Level, OwnedKVList, Record};
use slog_term::{Decorator, FullFormat, RecordDecorator};

use super::escape::{push_text, push_value};

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

/// A drain that writes `time LEVEL message, key: value, key: value`: the logger's fields, then the record's.
pub(super) fn lines<W: Write>(writer: W, coloured: bool) -> FullFormat<Paint<W>> {
    FullFormat::new(Paint { writer: RefCell::new(writer), coloured })
        .use_original_order()
        .use_custom_header_print(|_, line, record, _| header(line, record))
        .build()
}

fn header(line: &mut dyn RecordDecorator, record: &Record<'_>) -> io::Result<bool> {
    line.start_timestamp()?;
    write!(line, "{}", record.tag())?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_level()?;
    write!(line, "{}", record.level().as_short_str())?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_msg()?;
    write!(line, "{}", record.msg())?;
    Ok(true)
}

/// Builds each line in memory. slog-term's own decorators write piece by piece, and escape nothing.
pub(super) struct Paint<W> {
    writer: RefCell<W>,
    coloured: bool,
}

impl<W: Write> Decorator for Paint<W> {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, format: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut line = Line {
            done: String::new(),
            piece: Vec::new(),
            part: Part::Plain,
            level: self.coloured.then_some(record.level()),
        };
        format(&mut line)?;
        line.begin(Part::Plain);
        line.done.push('\n');
        let mut writer = self.writer.borrow_mut();
        writer.write_all(line.done.as_bytes())?;
        writer.flush()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Plain,
    Time,
    Level,
    Message,
    Key,
    Value,
}

struct Line {
    done: String,
    piece: Vec<u8>,
    part: Part,
    /// The record's level, when there are to be colours.
    level: Option<Level>,
}

impl Line {
    /// Ends the present part, whose bytes are known now, and begins another.
    fn begin(&mut self, part: Part) {
        let piece = String::from_utf8_lossy(&self.piece);
        let colour = self.level.map_or("", |level| colour(self.part, level));
        self.done.push_str(colour);
        match self.part {
            Part::Value => push_value(&mut self.done, &piece),
            // The line's own newline is added at its end, and no other.
            Part::Plain => push_text(&mut self.done, piece.trim_end_matches('\n')),
            Part::Time | Part::Level | Part::Message | Part::Key => push_text(&mut self.done, &piece),
        }
        if !colour.is_empty() {
            self.done.push_str(RESET);
        }
        self.piece.clear();
        self.part = part;
    }
}

fn colour(part: Part, level: Level) -> &'static str {
    match (part, level) {
        (Part::Plain | Part::Value, _) => "",
        (Part::Time, _) => DIM,
        (Part::Message, _) => BOLD,
        (Part::Key, _) => CYAN,
        (Part::Level, Level::Critical | Level::Error) => RED,
        (Part::Level, Level::Warning) => YELLOW,
        (Part::Level, Level::Info) => GREEN,
        (Part::Level, Level::Debug | Level::Trace) => DIM,
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Line {
    fn reset(&mut self) -> io::Result<()> {
        self.begin(Part::Plain);
        Ok(())
    }

    fn start_timestamp(&mut self) -> io::Result<()> {
        self.begin(Part::Time);
        Ok(())
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.begin(Part::Level);
        Ok(())
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.begin(Part::Message);
        Ok(())
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.begin(Part::Key);
        Ok(())
    }

    fn start_value(&mut self) -> io::Result<()> {
        self.begin(Part::Value);
        Ok(())
    }
}
