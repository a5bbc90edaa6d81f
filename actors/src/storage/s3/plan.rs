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

/// So many parts of an upload of unknown length may be as small as S3 takes them; from then on the smallest doubles after
/// every so many.
const SMALL_PARTS: u16 = 3000;
const PARTS_OF_A_SIZE: u16 = 300;

/// How large parts are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Unless more is needed.
    pub(super) preferred: u64,
    /// What fits into memory.
    pub(super) largest: u64,
}

impl Sizes {
    /// Sizes for a memory budget of so many bytes: a part must fit into half of it, so that others can be filled too.
    pub(super) fn within(preferred: u64, budget: u64) -> Self {
        let largest = (budget / 2).clamp(PART_MIN_BYTES, PART_MAX_BYTES);
        Self { preferred: preferred.clamp(PART_MIN_BYTES, largest), largest }
    }

    /// The longest upload that surely fits into the numbers: half of them may go to parts of the smallest size before
    /// a length is known.
    pub(super) fn longest(self) -> u64 {
        (self.largest * u64::from(PARTS_MAX / 2)).min(OBJECT_MAX_BYTES)
    }

    /// The size of the next part of an upload that has used so many numbers for so many bytes.
    pub(super) fn next(self, used: u16, bytes: u64, length: Option<u64>) -> u64 {
        self.preferred.max(self.least(used, bytes, length))
    }

    /// How small the next part may be without the numbers running out: with each at least as large as the rest needs on
    /// average, they never do.
    pub(super) fn least(self, used: u16, bytes: u64, length: Option<u64>) -> u64 {
        let numbers = u64::from(PARTS_MAX.saturating_sub(used)).max(1);
        let needed = match length {
            Some(length) => length.saturating_sub(bytes).div_ceil(numbers),
            None if used < SMALL_PARTS => PART_MIN_BYTES,
            None => PART_MIN_BYTES << (1 + (used - SMALL_PARTS) / PARTS_OF_A_SIZE),
        };
        needed.clamp(PART_MIN_BYTES, self.largest)
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
        // What is written in an info, or listed, need not be a number that S3 takes.
        listed.retain(|part| (1..=PARTS_MAX).contains(&part.number));
        listed.sort_by_key(|part| part.number);
        let mut plan = Self { used: dropped.iter().copied().max().unwrap_or(0).min(PARTS_MAX), ..Self::default() };
        let mut expected = 1;
        let mut stale = Vec::new();
        for part in listed.into_iter().filter(|part| !dropped.contains(&part.number)) {
            while expected <= PARTS_MAX && dropped.contains(&expected) {
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
    fn numbers_that_cannot_be_are_no_parts() {
        let (mut plan, stale) = Plan::found(listed(&[0, 1, 2, 10_001, u16::MAX]), &[2, 10_001, u16::MAX]);
        assert_eq!((plan.end(), plan.used(), &stale[..]), (1, PARTS_MAX, &[][..]));
        assert_eq!(Sizes::within(8 * MIB, 256 * MIB).least(plan.used(), plan.end(), None), 128 * MIB);
        assert_eq!(plan.add(5), None);
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

    const MIB: u64 = 1 << 20;

    /// All sizes that can be set, and budgets.
    fn all_sizes() -> Vec<Sizes> {
        let of_budget = |budget: u64| [5, 8, 50, 5000].map(|preferred| Sizes::within(preferred * MIB, budget * MIB));
        [10, 16, 100, 256, 1024, 1 << 20].into_iter().flat_map(of_budget).collect()
    }

    #[test]
    fn the_longest_upload_fits_into_the_numbers() {
        for sizes in all_sizes() {
            let longest = sizes.longest();
            // With parts as small as they may be, or as they are filled; the length known at first, later, or never.
            for size in [Sizes::least, Sizes::next] {
                for known_from in [0, 1, 2_999, 4_000, 5_000, 5_001, 9_000, PARTS_MAX] {
                    let mut plan = Plan::default();
                    while plan.end() < longest {
                        let length = (plan.used() >= known_from).then_some(longest);
                        let size = size(sizes, plan.used(), plan.end(), length);
                        assert!((PART_MIN_BYTES..=sizes.largest).contains(&size));
                        plan.add(size).unwrap_or_else(|| panic!("{sizes:?}, length known from part {known_from}"));
                    }
                }
            }
        }
    }

    #[test]
    fn parts_have_the_preferred_size_unless_more_is_needed() {
        let sizes = Sizes::within(8 * MIB, 256 * MIB);
        assert_eq!((sizes.largest, sizes.longest()), (128 * MIB, 625 << 30));
        assert_eq!((sizes.next(0, 0, Some(1 << 30)), sizes.least(0, 0, Some(1 << 30))), (8 * MIB, 5 * MIB));
        assert_eq!(sizes.next(0, 0, Some(100_000 * MIB)), 10 * MIB);
        assert_eq!((sizes.next(0, 0, None), sizes.next(3_300, 0, None)), (8 * MIB, 20 * MIB));
        assert_eq!(Sizes::within(8 * MIB, 1 << 40).longest(), OBJECT_MAX_BYTES);
    }

    /// What PATCHes of 1 MiB cost: each puts the tail anew, until that is large enough for a part.
    #[test]
    fn small_requests_write_at_most_four_bytes_for_each() {
        for sizes in all_sizes() {
            for length in [None, Some(64 * MIB), Some(40 << 30)] {
                let (mut plan, mut tail, mut written) = (Plan::default(), 0, 0);
                let total = length.unwrap_or(14 << 30);
                while plan.end() + tail < total {
                    tail += MIB;
                    written += tail;
                    if tail >= sizes.least(plan.used(), plan.end(), length) || plan.end() + tail == total {
                        plan.add(tail).expect("a number is left");
                        tail = 0;
                    }
                }
                assert!(written <= 4 * total, "{sizes:?}, {length:?}: {written} for {total}");
            }
        }
    }
}
