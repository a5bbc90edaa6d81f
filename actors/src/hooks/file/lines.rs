//! What a file writes to its standard error, on its way to the log: line by line, and not without end.

use slog::{Logger, info, warn};

use crate::hooks::Notice;

/// So much of a line is logged.
const LINE_BYTES: usize = 1024;

/// So many lines of a run are logged.
const LINES: u32 = 100;

/// The lines of one run.
pub(super) struct Lines<'run> {
    logger: &'run Logger,
    notice: &'run Notice,
    line: Vec<u8>,
    count: u32,
}

impl<'run> Lines<'run> {
    pub(super) fn new(logger: &'run Logger, notice: &'run Notice) -> Self {
        Self { logger, notice, line: Vec::new(), count: 0 }
    }

    /// Takes what comes next. Always `true`: what is too much is thrown away, for a file that nobody reads stands still.
    pub(super) fn add(&mut self, piece: &[u8]) -> bool {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES - self.line.len();
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if part.ends_with(b"\n") {
                self.log();
            }
        }
        true
    }

    /// Logs what came after the last end of a line.
    pub(super) fn end(mut self) {
        if !self.line.is_empty() {
            self.log();
        }
    }

    fn log(&mut self) {
        self.count = self.count.saturating_add(1);
        let (hook, event) = (self.notice.kind().name(), &*self.notice.event_id);
        if self.count <= LINES {
            info!(self.logger, "a hook says"; "hook" => hook, "event" => event, "line" => %String::from_utf8_lossy(&self.line));
        } else if self.count == LINES + 1 {
            warn!(self.logger, "a hook says too much: the rest is left out"; "hook" => hook, "event" => event);
        }
        self.line.clear();
    }
}
