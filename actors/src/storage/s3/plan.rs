//! Which parts an upload has, and how large the next is. Pure.
//!
//! A number is used once: what became of a part that failed isn't known for certain, so it never counts, and neither do
//! those behind it. `.info` keeps these numbers, because a list of parts does not tell.

use super::client::{ETag, ListedPart};
use crate::storage::{PartReport, PartState};

/// S3's limits.
pub(super) const PART_MIN_BYTES: u64 = 5 << 20;
pub(super) const PART_MAX_BYTES: u64 = 5 << 30;
pub(super) const OBJECT_MAX_BYTES: u64 = 5 << 40;
pub(super) const PARTS_MAX: u16 = 10_000;

/// After so many parts of an upload of unknown length they get twice as large.
const PARTS_OF_A_SIZE: u16 = 1000;

/// How large parts are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Unless more is needed.
    pub(super) preferred: u64,
}

impl Sizes {
    /// The size of the next part of an upload that has used so many numbers for so many bytes.
    pub(super) fn next(self, used: u16, bytes: u64, length: Option<u64>) -> u64 {
        let numbers = u64::from(PARTS_MAX.saturating_sub(used)).max(1);
        let needed = match length {
            Some(length) => length.saturating_sub(bytes).div_ceil(numbers),
            None => self.preferred << (used / PARTS_OF_A_SIZE),
        };
        needed.max(self.preferred).clamp(PART_MIN_BYTES, PART_MAX_BYTES)
    }

    /// Whether a part may be smaller than that, and the numbers that are left still do.
    pub(super) fn may_be_short(self, used: u16, bytes: u64, length: Option<u64>) -> bool {
        let left = length.map_or(OBJECT_MAX_BYTES, |length| length.saturating_sub(bytes));
        let few = used < PARTS_MAX / 2;
        let enough = left.div_ceil(self.preferred.max(PART_MIN_BYTES)) < u64::from(PARTS_MAX.saturating_sub(used)) / 2;
        few || enough && length.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Planned {
    number: u16,
    len: u64,
    etag: Option<ETag>,
}

/// The parts of an upload in the order of their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    parts: Vec<Planned>,
    /// The highest number that was ever used.
    used: u16,
    end: u64,
}

impl Plan {
    /// The plan of an upload that was found, and the numbers that don't count from now on: those from the first gap on.
    pub(super) fn found(mut listed: Vec<ListedPart>, dropped: &[u16]) -> (Self, Vec<u16>) {
        listed.sort_by_key(|part| part.number);
        let mut plan = Self { used: dropped.iter().copied().max().unwrap_or(0), ..Self::default() };
        let mut expected = 1;
        let mut stale = Vec::new();
        for part in listed.into_iter().filter(|part| !dropped.contains(&part.number)) {
            while dropped.contains(&expected) {
                expected += 1;
            }
            plan.used = plan.used.max(part.number);
            if part.number == expected && stale.is_empty() {
                plan.end += part.size;
                plan.parts.push(Planned { number: part.number, len: part.size, etag: Some(part.etag) });
                expected += 1;
            } else {
                stale.extend((expected..=part.number).filter(|number| !dropped.contains(number)));
                expected = part.number + 1;
            }
        }
        (plan, stale)
    }

    /// How many numbers are used.
    pub(super) fn used(&self) -> u16 {
        self.used
    }

    /// Where the next part begins.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Plans the next part; `None` when no number is left.
    pub(super) fn add(&mut self, len: u64) -> Option<u16> {
        if self.used >= PARTS_MAX {
            return None;
        }
        self.used += 1;
        self.end += len;
        self.parts.push(Planned { number: self.used, len, etag: None });
        Some(self.used)
    }

    /// A part is stored.
    pub(super) fn stored(&mut self, number: u16, etag: ETag) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.number == number) {
            part.etag = Some(etag);
        }
    }

    /// The parts, for those who want to look.
    pub(super) fn report(&self) -> Vec<PartReport> {
        let state = |part: &Planned| if part.etag.is_some() { PartState::Stored } else { PartState::UnderWay };
        self.parts.iter().map(|part| PartReport { number: part.number, size: part.len, state: state(part) }).collect()
    }

    /// How many bytes are stored without a gap.
    pub(super) fn durable(&self) -> u64 {
        self.parts.iter().take_while(|part| part.etag.is_some()).map(|part| part.len).sum()
    }

    /// Forgets all parts from the first on that is not stored, and returns their numbers, which never count again.
    pub(super) fn cut(&mut self) -> Vec<u16> {
        let sound = self.parts.iter().take_while(|part| part.etag.is_some()).count();
        let dropped = self.parts.split_off(sound);
        self.end = self.parts.iter().map(|part| part.len).sum();
        dropped.into_iter().map(|part| part.number).collect()
    }

    /// All parts, to be put together; `None` while one is not stored.
    pub(super) fn whole(&self) -> Option<Vec<(u16, ETag)>> {
        self.parts.iter().map(|part| Some((part.number, part.etag.clone()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(numbers: &[u16]) -> Vec<ListedPart> {
        let part = |number: &u16| ListedPart { number: *number, size: u64::from(*number), etag: ETag::new("e") };
        numbers.iter().map(part).collect()
    }

    #[test]
    fn parts_count_up_to_the_first_gap() {
        for (numbers, dropped, end, stale) in [
            (&[][..], &[][..], 0, &[][..]),
            (&[1, 2, 3], &[], 6, &[]),
            (&[2, 1], &[], 3, &[]),
            (&[1, 3, 6], &[], 1, &[2, 3, 4, 5, 6]),
            (&[2], &[], 0, &[1, 2]),
            (&[1, 2, 3, 4], &[2, 3], 5, &[]),
            (&[1, 4], &[2, 3], 5, &[]),
            (&[1, 3, 5], &[2, 3], 1, &[4, 5]),
        ] {
            let (plan, found) = Plan::found(listed(numbers), dropped);
            assert_eq!((plan.end(), &found[..]), (end, stale), "{numbers:?} without {dropped:?}");
            assert_eq!(plan.durable(), end);
            let mut all: Vec<u16> = dropped.iter().chain(&found).copied().collect();
            all.sort_unstable();
            assert_eq!(Plan::found(listed(numbers), &all), (plan, Vec::new()), "found again");
        }
    }

    #[test]
    fn a_number_is_used_once() {
        let mut plan = Plan::default();
        assert_eq!([plan.add(5), plan.add(6), plan.add(7)], [Some(1), Some(2), Some(3)]);
        plan.stored(3, ETag::new("c"));
        plan.stored(1, ETag::new("a"));
        assert_eq!((plan.durable(), plan.whole()), (5, None));
        assert_eq!(plan.cut(), [2, 3]);
        assert_eq!((plan.end(), plan.add(8)), (5, Some(4)));
        plan.stored(4, ETag::new("d"));
        assert_eq!(plan.whole(), Some(vec![(1, ETag::new("a")), (4, ETag::new("d"))]));
    }

    #[test]
    fn the_largest_object_fits_into_the_numbers() {
        let sizes = Sizes { preferred: 8 << 20 };
        for length in [None, Some(OBJECT_MAX_BYTES), Some(100 << 30), Some(1)] {
            let mut plan = Plan::default();
            while plan.end() < length.unwrap_or(OBJECT_MAX_BYTES) {
                let size = sizes.next(plan.used(), plan.end(), length);
                assert!((PART_MIN_BYTES..=PART_MAX_BYTES).contains(&size));
                plan.add(size).expect("a number is left");
            }
        }
        assert_eq!(sizes.next(0, 0, Some(1 << 30)), 8 << 20);
    }

    #[test]
    fn short_parts_leave_enough_numbers() {
        let sizes = Sizes { preferred: 8 << 20 };
        assert!(sizes.may_be_short(0, 0, None));
        assert!(!sizes.may_be_short(6_000, 0, None));
        assert!(sizes.may_be_short(6_000, 0, Some(1 << 30)));
        assert!(!sizes.may_be_short(6_000, 0, Some(1 << 40)));
    }
}
