//! The offset over time, and what befell an upload, within a fixed room.

use std::time::Duration;

use smallvec::{Array, SmallVec};

use crate::events::Interruption;

/// The most bytes that the timeline of one upload takes.
pub const TIMELINE_BYTES: usize = 4096;

const POINTS: usize = 170;
const MARKS: usize = 120;

/// Points lie at least so far apart at first.
const STEP_MS: u32 = 100;

const _: () = assert!(size_of::<Track>() + POINTS * size_of::<Point>() + MARKS * size_of::<Marked>() <= TIMELINE_BYTES);

/// How an upload's offset moved, and what befell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Moments since the beginning, and the offsets at them.
    pub points: Vec<(Duration, u64)>,
    /// What befell the upload.
    pub marks: Vec<MarkReport>,
    /// Points lie about so far apart.
    pub resolution: Duration,
    /// Marks that had to make room for later ones.
    pub marks_lost: u64,
}

/// Something that befell an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkReport {
    /// When, since the beginning.
    pub at: Duration,
    /// What: `lease`, `take_over`, `cut`, `away`, `store_wait`, `memory_wait`, `finished`, `owner`. Waits are told when they
    /// end, with how long they took.
    pub kind: &'static str,
    /// More of it, in words.
    pub detail: String,
}

/// Something that befalls an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A request may append; the number in two halves, which take less room.
    Lease { high: u32, low: u32 },
    /// It may because another had to go.
    TakeOver,
    /// A request ended before its time.
    Cut(Interruption),
    /// Nobody was sending for a while, and somebody is again.
    Away { ms: u32 },
    /// The store took long for something.
    StoreWait { work: Work, ms: u32 },
    /// There was no memory for bytes that had come.
    MemoryWait { ms: u32 },
    /// All bytes are there.
    Finished,
    /// A new owner.
    Owner,
}

impl Mark {
    pub(crate) fn lease(number: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
        let (high, low) = ((number >> 32) as u32, number as u32);
        Self::Lease { high, low }
    }

    fn words(self) -> (&'static str, String) {
        match self {
            Self::Lease { high, low } => ("lease", (u64::from(high) << 32 | u64::from(low)).to_string()),
            Self::TakeOver => ("take_over", String::new()),
            Self::Cut(cause) => ("cut", cause.words().to_owned()),
            Self::Away { ms } => ("away", format!("{ms} ms")),
            Self::MemoryWait { ms } => ("memory_wait", format!("{ms} ms")),
            Self::StoreWait { work, ms } => ("store_wait", format!("{} {ms} ms", work.name())),
            Self::Finished => ("finished", String::new()),
            Self::Owner => ("owner", String::new()),
        }
    }
}

/// What the store was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Stage,
    Write,
    /// The write that also finishes the upload.
    WriteLast,
    /// A write of what lies in a socket.
    Draw,
    Keep,
    Discard,
    Sync,
    Cut,
    Save,
    Finish,
    Join,
    Delete,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Write | Self::WriteLast | Self::Draw => "write",
            Self::Keep => "keep",
            Self::Discard => "discard",
            Self::Sync => "sync",
            Self::Cut => "cut",
            Self::Save => "save",
            Self::Finish => "finish",
            Self::Join => "join",
            Self::Delete => "delete",
        }
    }
}

/// A moment, and the offset's two halves.
#[derive(Debug, Clone, Copy)]
struct Point([u32; 3]);

#[derive(Debug, Clone, Copy)]
struct Marked {
    at_ms: u32,
    mark: Mark,
}

/// The timeline while it grows.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// The first few have their place here: to most uploads little happens.
    points: SmallVec<[Point; 2]>,
    marks: SmallVec<[Marked; 3]>,
    /// The last movement, which may not be a point.
    tip: Option<Point>,
    step_ms: u32,
    marks_lost: u64,
}

impl Default for Track {
    fn default() -> Self {
        Self { points: SmallVec::new(), marks: SmallVec::new(), tip: None, step_ms: STEP_MS, marks_lost: 0 }
    }
}

impl Point {
    fn new(at_ms: u32, offset: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
        let (high, low) = ((offset >> 32) as u32, offset as u32);
        Self([at_ms, high, low])
    }

    fn at_ms(self) -> u32 {
        self.0[0]
    }

    fn offset(self) -> u64 {
        u64::from(self.0[1]) << 32 | u64::from(self.0[2])
    }
}

/// Makes room for one more, in steps that end at `most`.
fn grow<A: Array>(list: &mut SmallVec<A>, most: usize) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().min(most - list.len()));
    }
}

/// Drops every second one, the first stays.
fn halve<A: Array>(list: &mut SmallVec<A>) {
    let mut stays = false;
    list.retain(|_| {
        stays = !stays;
        stays
    });
}

impl Track {
    pub(super) fn moved(&mut self, at_ms: u32, offset: u64) {
        let point = Point::new(at_ms, offset);
        self.tip = Some(point);
        let is_due = match self.points.last() {
            None => true,
            Some(last) => at_ms.saturating_sub(last.at_ms()) >= self.step_ms || offset < last.offset(),
        };
        if !is_due {
            return;
        }
        if self.points.len() == POINTS {
            halve(&mut self.points);
            self.step_ms = self.step_ms.saturating_mul(2);
        }
        grow(&mut self.points, POINTS);
        self.points.push(point);
    }

    pub(super) fn mark(&mut self, at_ms: u32, mark: Mark) {
        if self.marks.len() == MARKS {
            halve(&mut self.marks);
            self.marks_lost += (MARKS - self.marks.len()) as u64;
        }
        grow(&mut self.marks, MARKS);
        self.marks.push(Marked { at_ms, mark });
    }

    pub(super) fn report(&self) -> Timeline {
        let at = |ms: u32| Duration::from_millis(ms.into());
        let is_new = |tip: &Point| self.points.last().is_none_or(|last| last.0 != tip.0);
        let points = self.points.iter().copied().chain(self.tip.filter(is_new));
        let marks = self.marks.iter().map(|marked| {
            let (kind, detail) = marked.mark.words();
            MarkReport { at: at(marked.at_ms), kind, detail }
        });
        Timeline {
            points: points.map(|point| (at(point.at_ms()), point.offset())).collect(),
            marks: marks.collect(),
            resolution: at(self.step_ms),
            marks_lost: self.marks_lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(track: &Track) -> usize {
        size_of::<Track>() + track.points.capacity() * size_of::<Point>() + track.marks.capacity() * size_of::<Marked>()
    }

    #[test]
    fn a_long_upload_keeps_its_whole_course_within_its_room() {
        let mut track = Track::default();
        let day_ms = 86_400_000;
        for at_ms in (0..day_ms).step_by(250) {
            track.moved(at_ms, u64::from(at_ms) << 12);
            if at_ms % 10_000 == 0 {
                track.mark(at_ms, Mark::StoreWait { work: Work::Write, ms: at_ms });
            }
            assert!(bytes(&track) <= TIMELINE_BYTES, "{}", bytes(&track));
        }
        let seen = track.report();
        assert!(seen.points.len() > POINTS / 2 && seen.points.is_sorted(), "{}", seen.points.len());
        assert_eq!(seen.points[0], (Duration::ZERO, 0));
        let last = day_ms - 250;
        assert_eq!(*seen.points.last().unwrap(), (Duration::from_millis(last.into()), u64::from(last) << 12));
        let widest = seen.points.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!(widest <= 2 * seen.resolution, "{widest:?} of {:?}", seen.resolution);
        assert_eq!((seen.marks.len() as u64 + seen.marks_lost, seen.marks[0].at), (8640, Duration::ZERO));
    }

    #[test]
    fn a_short_upload_takes_little_and_shows_its_last_movement() {
        let mut track = Track::default();
        track.mark(0, Mark::lease((7 << 32) + 5));
        track.moved(1, 10);
        track.moved(2, 1 << 40);
        assert!(bytes(&track) < 256, "{}", bytes(&track));
        let seen = track.report();
        assert_eq!(seen.points, [(Duration::from_millis(1), 10), (Duration::from_millis(2), 1 << 40)]);
        assert_eq!((seen.marks[0].kind, &seen.marks[0].detail[..]), ("lease", "30064771077"));
    }

    #[test]
    fn an_offset_that_goes_back_is_always_a_point() {
        let mut track = Track::default();
        for (at_ms, offset) in [(0, 5), (1, 9), (2, 3), (3, 4)] {
            track.moved(at_ms, offset);
        }
        let offsets: Vec<_> = track.report().points.into_iter().map(|(_, offset)| offset).collect();
        assert_eq!(offsets, [5, 3, 4]);
    }
}
