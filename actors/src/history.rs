//! What an owner remembers of its upload, in memory only: how the offset moved, what befell it, its last log lines. It
//! answers "why was mine slow?", also for a while after the upload was finished.
//!
//! Bounded: the timeline takes at most 4 KiB and halves its resolution when it is full; the log keeps the last 50 lines
//! within 6 KiB. An upload to which little happens takes a few hundred bytes.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use smallvec::SmallVec;

mod course;
mod kept;
mod timeline;

pub(crate) use course::{Course, Step};
pub(crate) use kept::Kept;
pub(crate) use timeline::{Mark, Work};
pub use timeline::{MarkReport, TIMELINE_BYTES, Timeline};

/// So many lines are kept of each upload's log.
pub const LINES: usize = 50;

/// The most bytes of texts that lines keep together.
const TEXTS_BYTES: usize = 2048;

/// Nobody having sent is told of when it lasted so long.
const AWAY: Duration = Duration::from_secs(1);

const NO_OFFSET: u64 = u64::MAX;

/// The most of them in one line.
const TEXT_BYTES: usize = 200;

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something went as it may.
    Info,
    /// Something went wrong, and is dealt with.
    Warning,
    /// Something went wrong.
    Error,
}

/// One line of an upload's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: SystemTime,
    /// How serious it is.
    pub level: Level,
    /// What happened.
    pub message: &'static str,
    /// More of it, by name.
    pub fields: Vec<(&'static str, String)>,
}

/// What is remembered of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryReport {
    /// Since when; what was before is forgotten.
    pub since: SystemTime,
    /// The last lines, the oldest first.
    pub log: Vec<LogLine>,
    /// How its offset moved, and what befell it.
    pub timeline: Timeline,
}

/// What a line says, before it is kept.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) message: &'static str,
    pub(crate) offset: Option<u64>,
    pub(crate) why: Option<Cow<'static, str>>,
    pub(crate) request_id: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Line {
    at_ms: u32,
    level: Level,
    message: &'static str,
    /// `NO_OFFSET` when it says nothing of one; an option would take twice the room.
    offset: u64,
    why: Option<Cow<'static, str>>,
    request_id: Option<Arc<str>>,
}

impl Line {
    /// What it takes beyond its own size.
    fn text_bytes(&self) -> usize {
        let why = self.why.as_ref().map_or(0, |why| if matches!(why, Cow::Owned(_)) { why.len() } else { 0 });
        why + self.request_id.as_ref().map_or(0, |id| id.len() + 2 * size_of::<usize>())
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct History {
    began_nanos: u64,
    since: SystemTime,
    timeline: timeline::Track,
    /// The first few have their place here: most uploads say little.
    lines: SmallVec<[Line; 3]>,
    texts: usize,
    /// When the last request that might append ended; `None` while there is one.
    left_ms: Option<u32>,
}

impl History {
    fn new(now_nanos: u64, since: SystemTime) -> Self {
        Self {
            began_nanos: now_nanos,
            since,
            timeline: timeline::Track::default(),
            lines: SmallVec::new(),
            texts: 0,
            left_ms: Some(0),
        }
    }

    fn ms(&self, now_nanos: u64) -> u32 {
        u32::try_from(now_nanos.saturating_sub(self.began_nanos) / 1_000_000).unwrap_or(u32::MAX)
    }

    /// The offset has moved.
    fn moved(&mut self, offset: u64, now_nanos: u64) {
        self.timeline.moved(self.ms(now_nanos), offset);
    }

    /// Something befell the upload.
    pub(crate) fn mark(&mut self, mark: Mark, now_nanos: u64) {
        self.timeline.mark(self.ms(now_nanos), mark);
    }

    /// A request may append, by this lease.
    fn came_back(&mut self, lease: u64, now_nanos: u64) {
        let away_ms = self.left_ms.take().map_or(0, |left| self.ms(now_nanos).saturating_sub(left));
        if Duration::from_millis(away_ms.into()) >= AWAY {
            self.mark(Mark::Away { ms: away_ms }, now_nanos);
        }
        self.mark(Mark::lease(lease), now_nanos);
    }

    /// No request may append any more.
    fn left(&mut self, now_nanos: u64) {
        self.left_ms = Some(self.ms(now_nanos));
    }

    /// A line was written into the log.
    pub(crate) fn say(&mut self, level: Level, said: Said, now_nanos: u64) {
        let Said { message, offset, why, request_id } = said;
        let why = why.map(|why| match why {
            Cow::Owned(text) if text.len() > TEXT_BYTES => {
                let end = (0..=TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                Cow::Owned(text[..end].to_owned())
            }
            short => short,
        });
        let request_id = request_id.filter(|id| !id.is_empty() && id.len() <= TEXT_BYTES);
        let offset = offset.unwrap_or(NO_OFFSET);
        let line = Line { at_ms: self.ms(now_nanos), level, message, offset, why, request_id };
        self.texts += line.text_bytes();
        while self.lines.len() >= LINES || (self.texts > TEXTS_BYTES && !self.lines.is_empty()) {
            self.texts -= self.lines.remove(0).text_bytes();
        }
        if self.lines.len() == self.lines.capacity() {
            self.lines.reserve_exact(self.lines.len().min(LINES - self.lines.len()));
        }
        self.lines.push(line);
    }

    /// What is remembered, in full words.
    fn report(&self) -> HistoryReport {
        let at = |ms: u32| self.since + Duration::from_millis(ms.into());
        let log = self.lines.iter().map(|line| {
            let offset = Some(line.offset).filter(|offset| *offset != NO_OFFSET);
            let mut fields = Vec::new();
            fields.extend(line.why.as_ref().map(|why| ("why", why.clone().into_owned())));
            fields.extend(offset.map(|offset| ("offset", offset.to_string())));
            fields.extend(line.request_id.as_ref().map(|id| ("request_id", id.to_string())));
            LogLine { at: at(line.at_ms), level: line.level, message: line.message, fields }
        });
        HistoryReport { since: self.since, log: log.collect(), timeline: self.timeline.report() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &'static str, why: String) -> Said {
        Said { message, offset: Some(7), why: Some(why.into()), request_id: Some(Arc::from("0123456789abcdef")) }
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut history = History::new(7, SystemTime::UNIX_EPOCH);
        let now_nanos = 7;
        for number in 0..LINES + 10 {
            history.say(Level::Info, Said { why: Some(number.to_string().into()), ..Said::default() }, now_nanos);
        }
        let log = history.report().log;
        assert_eq!((log.len(), &log[0].fields[0].1[..], &log[49].fields[0].1[..]), (50, "10", "59"));
        assert!(history.lines.capacity() <= LINES);
    }

    #[test]
    fn absences_are_told_when_they_end() {
        let mut history = History::new(7, SystemTime::UNIX_EPOCH);
        let at = |secs: u64| history.began_nanos + secs * 1_000_000_000;
        let moments = [at(0), at(3), at(3), at(13), at(20)];
        history.came_back(1, moments[0]);
        history.left(moments[1]);
        history.came_back(2, moments[2]);
        history.left(moments[2]);
        history.came_back(3, moments[3]);
        // Its successor came while it was there.
        history.came_back(4, moments[4]);
        let marks = history.report().timeline.marks;
        let told: Vec<_> = marks.iter().map(|mark| (mark.kind, &mark.detail[..])).collect();
        assert_eq!(told, [("lease", "1"), ("lease", "2"), ("away", "10000 ms"), ("lease", "3"), ("lease", "4")]);
    }

    #[test]
    fn texts_have_a_bound_of_their_own() {
        let mut history = History::new(7, SystemTime::UNIX_EPOCH);
        for number in 0..1000 {
            history.say(Level::Error, said("store failed", "ü".repeat(number)), 7);
            assert!(history.texts <= TEXTS_BYTES + TEXT_BYTES, "{}", history.texts);
            let bytes: usize = history.lines.iter().map(Line::text_bytes).sum();
            assert_eq!(bytes, history.texts);
        }
        let line = history.report().log.pop().unwrap();
        assert_eq!((line.fields[0].1.len(), &line.fields[1].1[..]), (TEXT_BYTES, "7"));
        assert_eq!(line.fields[2], ("request_id", "0123456789abcdef".to_owned()));
        let most = LINES * size_of::<Line>() + TEXTS_BYTES + TEXT_BYTES;
        assert!(most <= 6 * 1024, "{most}");
    }
}
