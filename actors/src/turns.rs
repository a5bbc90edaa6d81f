//! Whose turn comes next, in a pool: parts of uploads, or hooks about them. Pure: a dispatcher acts on it.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// The parts that wait, in a queue for each upload.
///
/// The next part comes from the upload with the fewest under way, among equals from the one whose last turn began or
/// ended longest ago. So a newcomer goes before those who have parts under way already, and nobody is passed over for ever: without a
/// part under way, only those who waited longer come first.
pub(crate) struct Turns<T> {
    per_upload: usize,
    lines: HashMap<u64, Line<T>>,
    /// The uploads that may have a part started now, the next one first.
    order: BTreeSet<Rank>,
    turn: u64,
}

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    under_way: usize,
    turn: u64,
    upload: u64,
}

/// One upload's parts. It is there as long as one waits or is under way.
struct Line<T> {
    waiting: VecDeque<(u64, T)>,
    under_way: usize,
    /// When its last turn began or ended, or it came in.
    turn: u64,
}

impl<T> Turns<T> {
    /// Nobody waits yet. At most `per_upload` parts of an upload are under way at once.
    pub(crate) fn new(per_upload: usize) -> Self {
        Self { per_upload: per_upload.max(1), lines: HashMap::new(), order: BTreeSet::new(), turn: 0 }
    }

    /// So many parts of an upload may be under way at once from now on. Those that are stay so.
    pub(crate) fn allow(&mut self, per_upload: usize) {
        self.per_upload = per_upload.max(1);
        let uploads: Vec<u64> = self.lines.keys().copied().collect();
        uploads.into_iter().for_each(|upload| self.change(upload, |_| ()));
    }

    /// A part waits behind the others of its upload.
    pub(crate) fn push(&mut self, upload: u64, id: u64, part: T) {
        self.change(upload, |line| line.waiting.push_back((id, part)));
    }

    /// A part that had its turn in vain waits again, before the others of its upload.
    pub(crate) fn push_front(&mut self, upload: u64, id: u64, part: T) {
        self.change(upload, |line| line.waiting.push_front((id, part)));
    }

    /// The next part, which is under way from now on.
    pub(crate) fn next(&mut self) -> Option<(u64, T)> {
        let upload = self.order.first()?.upload;
        self.turn += 1;
        let turn = self.turn;
        let (_, part) = self.change(upload, |line| {
            line.under_way += 1;
            line.turn = turn;
            line.waiting.pop_front()
        })?;
        Some((upload, part))
    }

    /// A part of the upload is under way no more. Whoever came meanwhile goes before the upload's next one.
    pub(crate) fn done(&mut self, upload: u64) {
        self.turn += 1;
        let turn = self.turn;
        self.change(upload, |line| {
            line.turn = turn;
            debug_assert!(line.under_way > 0, "a part ends that was not under way");
            line.under_way = line.under_way.saturating_sub(1);
        });
    }

    /// Takes a part out, if it still waits.
    pub(crate) fn cancel(&mut self, upload: u64, id: u64) -> Option<T> {
        self.change(upload, |line| {
            let at = line.waiting.iter().position(|(waiting, _)| *waiting == id)?;
            line.waiting.remove(at).map(|(_, part)| part)
        })
    }

    /// Whether none waits and none is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// Changes a line, and sets right what follows from it: its place, its rank, and that none is kept without need.
    fn change<R>(&mut self, upload: u64, change: impl FnOnce(&mut Line<T>) -> R) -> R {
        let turn = &mut self.turn;
        let line = self.lines.entry(upload).or_insert_with(|| {
            *turn += 1;
            Line { waiting: VecDeque::new(), under_way: 0, turn: *turn }
        });
        self.order.remove(&line.rank(upload));
        let result = change(line);
        if line.waiting.is_empty() && line.under_way == 0 {
            self.lines.remove(&upload);
        } else if !line.waiting.is_empty() && line.under_way < self.per_upload {
            self.order.insert(line.rank(upload));
        }
        result
    }
}

impl<T> Line<T> {
    fn rank(&self, upload: u64) -> Rank {
        Rank { under_way: self.under_way, turn: self.turn, upload }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(per_upload: usize, parts: &[(u64, u64)]) -> Turns<u64> {
        let mut turns = Turns::new(per_upload);
        parts.iter().for_each(|(upload, id)| turns.push(*upload, *id, *id));
        turns
    }

    fn all_of(turns: &mut Turns<u64>) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn uploads_take_turns_and_each_keeps_its_order() {
        let mut turns = turns(2, &[(1, 10), (1, 11), (1, 12), (2, 20), (2, 21), (3, 30)]);
        assert_eq!(all_of(&mut turns), [(1, 10), (2, 20), (3, 30), (1, 11), (2, 21)]);
        turns.done(1);
        assert_eq!(all_of(&mut turns), [(1, 12)]);
        [1, 1, 2, 2, 3].into_iter().for_each(|upload| turns.done(upload));
        assert!(turns.is_idle());
    }

    #[test]
    fn more_or_fewer_parts_of_an_upload_may_be_allowed_meanwhile() {
        let mut turns = turns(1, &[(1, 10), (1, 11), (1, 12), (2, 20), (1, 13)]);
        assert_eq!(all_of(&mut turns), [(1, 10), (2, 20)]);
        turns.allow(3);
        assert_eq!(all_of(&mut turns), [(1, 11), (1, 12)]);
        turns.allow(0);
        turns.done(1);
        turns.done(1);
        assert_eq!(turns.next(), None);
        turns.done(1);
        assert_eq!(all_of(&mut turns), [(1, 13)]);
    }

    #[test]
    fn a_newcomer_goes_before_those_with_parts_under_way() {
        let mut turns = turns(8, &[(1, 10), (1, 11), (1, 12)]);
        assert_eq!(turns.next(), Some((1, 10)));
        turns.push(2, 20, 20);
        assert_eq!(all_of(&mut turns), [(2, 20), (1, 11), (1, 12)]);
    }

    #[test]
    fn a_newcomer_goes_before_one_that_had_the_last_turn() {
        let mut turns = turns(8, &[(1, 10), (1, 11)]);
        assert_eq!(turns.next(), Some((1, 10)));
        turns.push(2, 20, 20);
        turns.done(1);
        assert_eq!(all_of(&mut turns), [(2, 20), (1, 11)]);
    }

    #[test]
    fn newcomers_do_not_pass_one_who_waits() {
        let mut turns = turns(8, &[(1, 10), (1, 11)]);
        for newcomer in 2..100 {
            turns.push(newcomer, 0, 0);
        }
        assert_eq!(turns.next(), Some((1, 10)));
        turns.done(1);
        for newcomer in 2..100 {
            assert_eq!(turns.next(), Some((newcomer, 0)));
            turns.done(newcomer);
            turns.push(newcomer, 0, 0);
        }
        assert_eq!(turns.next(), Some((1, 11)));
    }

    #[test]
    fn one_that_comes_back_goes_first() {
        let mut turns = turns(1, &[(1, 10), (1, 11)]);
        let (upload, part) = turns.next().unwrap();
        assert_eq!(turns.next(), None);
        turns.push_front(upload, part, part);
        turns.done(upload);
        assert_eq!(turns.next(), Some((1, 10)));
    }

    #[test]
    fn what_waits_can_be_taken_out_and_what_does_not_is_left_alone() {
        let mut turns = turns(2, &[(1, 10), (1, 11), (2, 20)]);
        assert_eq!((turns.cancel(1, 11), turns.cancel(1, 11), turns.cancel(9, 1)), (Some(11), None, None));
        assert_eq!(turns.next(), Some((1, 10)));
        assert_eq!(turns.cancel(1, 10), None);
        assert_eq!(turns.cancel(2, 20), Some(20));
        assert_eq!(turns.next(), None);
        turns.done(1);
        assert!(turns.is_idle());
    }

    proptest! {
        /// Whatever happens in whatever order, each part comes once or is taken out once, in its upload's order and
        /// within the limit, and a turn is given whenever one may be.
        #[test]
        fn each_part_comes_once(per_upload in 1_usize..4, steps in prop::collection::vec((0_u8..4, 0_u64..5), 0..300)) {
            let mut turns = Turns::new(per_upload);
            let mut waiting: HashMap<u64, VecDeque<u64>> = HashMap::new();
            let mut under_way: HashMap<u64, usize> = HashMap::new();
            for (id, (step, upload)) in (0_u64..).zip(steps) {
                let mine = waiting.entry(upload).or_default();
                match step {
                    0 => {
                        mine.push_back(id);
                        turns.push(upload, id, id);
                    }
                    1 => if let Some(last) = mine.pop_back() {
                        prop_assert_eq!(turns.cancel(upload, last), Some(last));
                    },
                    2 => if under_way.get(&upload).is_some_and(|count| *count > 0) {
                        *under_way.entry(upload).or_default() -= 1;
                        turns.done(upload);
                    },
                    _ => {
                        let count = |upload: &u64| under_way.get(upload).copied().unwrap_or(0);
                        let may = |upload: &u64| count(upload) < per_upload;
                        let fewest = waiting.iter().filter(|(_, line)| !line.is_empty()).map(|(upload, _)| upload);
                        let fewest = fewest.filter(|upload| may(upload)).map(count).min();
                        match turns.next() {
                            None => prop_assert_eq!(fewest, None),
                            Some((upload, id)) => {
                                prop_assert_eq!(Some(count(&upload)), fewest);
                                prop_assert_eq!(waiting.entry(upload).or_default().pop_front(), Some(id));
                                *under_way.entry(upload).or_default() += 1;
                            }
                        }
                    }
                }
            }
            let idle = waiting.values().all(VecDeque::is_empty) && under_way.values().all(|count| *count == 0);
            prop_assert_eq!(turns.is_idle(), idle);
        }
    }
}
