//! Log lines as JSON: one object a line, in one write.

use std::io::{self, Write};

use slog::{FnValue, PushFnValue, Record, o};
use slog_json::Json;

use super::{escape::push_json, name_of};

/// A drain that writes `{"time":...,"level":...,"message":...,...}`: the logger's fields, then the record's. slog
/// hands them over from the last to the first.
pub(super) fn lines<W: Write>(writer: W) -> Json<Line<W>> {
    // For the same reason these are written in reverse.
    let fixed = o!(
        "message" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.msg())),
        "level" => FnValue(|record: &Record<'_>| name_of(record.level())),
        "time" => FnValue(|record: &Record<'_>| record.tag().to_owned()),
    );
    Json::new(Line { bytes: Vec::new(), writer }).add_key_value(fixed).set_flush(true).build()
}

/// Gathers a line, and writes it when it is flushed.
pub(super) struct Line<W> {
    bytes: Vec<u8>,
    writer: W,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut line = String::with_capacity(self.bytes.len());
        push_json(&mut line, &String::from_utf8_lossy(&self.bytes));
        self.bytes.clear();
        self.writer.write_all(line.as_bytes())?;
        self.writer.flush()
    }
}
