//! Histories, by hand: events on the left, what comes of them on the right.

use super::{
    Announced,
    Answer::{self, Appended, Committed, Complete, Granted, Inspected, Peeked, Refused},
    Begin, Effect, Ending, Event, Fault, Found, LeaseEnd, Piece, Policy,
    Refusal::{self, *},
    State,
};

mod finishing;

impl Piece for &'static str {
    fn len(&self) -> u64 {
        str::len(self) as u64
    }

    fn stands_alone(&self) -> bool {
        self.starts_with('=')
    }
}

type Machine = State<char, &'static str>;
type Happening = Event<char, &'static str>;
type Effects = Vec<Effect<char, &'static str>>;

const PLAIN: Policy = Policy::PLAIN;
const FUSED: Policy = Policy { finish_with_write: true, ..PLAIN };
const COMPLETE: Policy = Policy { sync_finish: true, ..FUSED };
const ALWAYS: Policy = Policy { sync_always: true, ..COMPLETE };

const DONE: Happening = Event::Done(Ok(()));
const FAILED: Happening = Event::Done(Err(Fault::Failed));

fn found(length: impl Into<Option<u64>>, stored: u64) -> Found {
    Found { length: length.into(), stored, is_final: false, finished: false }
}

fn at(offset: u64) -> Begin {
    Begin { offset, declared_length: None, announced: None, tentative: false }
}

fn begin(asker: char, offset: u64) -> Happening {
    Event::Begin(asker, at(offset))
}

fn begin_tentative(asker: char, offset: u64) -> Happening {
    Event::Begin(asker, Begin { tentative: true, ..at(offset) })
}

fn declare(asker: char, offset: u64, length: u64) -> Happening {
    Event::Begin(asker, Begin { declared_length: Some(length), ..at(offset) })
}

fn granted(asker: char, lease: u64, offset: u64, room: impl Into<Option<u64>>) -> Effect<char, &'static str> {
    Effect::Answer(asker, Granted { lease, offset, room: room.into() })
}

fn appended(asker: char, offset: u64) -> Effect<char, &'static str> {
    Effect::Answer(asker, Appended { offset })
}

fn committed(asker: char, offset: u64) -> Effect<char, &'static str> {
    Effect::Answer(asker, Committed { offset, finished: false })
}

fn inspected(asker: char, offset: impl Into<Option<u64>>) -> Effect<char, &'static str> {
    Effect::Answer(asker, Inspected { offset: offset.into() })
}

fn refused(asker: char, refusal: Refusal) -> Effect<char, &'static str> {
    Effect::Answer(asker, Refused(refusal))
}

fn ends(lease: u64, why: LeaseEnd) -> Effect<char, &'static str> {
    Effect::EndLease { lease, why }
}

fn write(at: u64, pieces: &[&'static str]) -> Effect<char, &'static str> {
    Effect::Write { at, pieces: pieces.to_vec(), then_finish: false }
}

fn write_last(at: u64, pieces: &[&'static str]) -> Effect<char, &'static str> {
    Effect::Write { at, pieces: pieces.to_vec(), then_finish: true }
}

/// Requires that each event has exactly these effects. The first lease is number 1.
fn history(found: Found, policy: Policy, steps: impl IntoIterator<Item = (Happening, Effects)>) -> Machine {
    let mut machine = State::new(found, policy, 1);
    for (number, (event, expected)) in steps.into_iter().enumerate() {
        let mut effects = Vec::new();
        machine.on(event.clone(), &mut effects);
        assert_eq!(effects, expected, "step {number}: {event:?}");
    }
    machine
}

#[test]
fn what_stands_alone_is_written_alone_and_in_its_turn() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "=ab"), vec![write(0, &["=ab"])]),
        (Event::Append('2', 1, "c"), vec![]),
        (Event::Append('3', 1, "d"), vec![]),
        (Event::Append('4', 1, "=e"), vec![]),
        (Event::Append('5', 1, "=f"), vec![]),
        (Event::Wrote(3, None), vec![appended('1', 3), write(3, &["c", "d"])]),
        (Event::Wrote(2, None), vec![appended('2', 4), appended('3', 5), write(5, &["=e"])]),
        (Event::Wrote(2, None), vec![appended('4', 7), write(7, &["=f"])]),
        (Event::Commit('c', 1), vec![]),
        // Never together with the finish.
        (Event::Wrote(2, None), vec![appended('5', 9), Effect::Finish { length: 9 }]),
        (DONE, vec![Effect::Answer('c', Committed { offset: 9, finished: true })]),
    ];
    history(found(9, 0), FUSED, steps);
}

#[test]
fn an_upload_from_first_byte_to_last() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 5)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        // What comes while a write is under way joins the next.
        (Event::Append('2', 1, "c"), vec![]),
        (Event::Append('3', 1, "de"), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), write(2, &["c", "de"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(3, None), vec![appended('2', 3), appended('3', 5), Effect::Sync]),
        (DONE, vec![Effect::Finish { length: 5 }]),
        (DONE, vec![Effect::Answer('c', Committed { offset: 5, finished: true })]),
        (begin('l', 5), vec![Effect::Answer('l', Complete { offset: 5 })]),
        (begin('m', 4), vec![refused('m', MismatchedOffset)]),
        (Event::Peek('p'), vec![Effect::Answer('p', Peeked { finished: true })]),
        (Event::Inspect('i'), vec![inspected('i', 5)]),
    ];
    assert!(history(found(5, 0), COMPLETE, steps).is_finished());
}

#[test]
fn a_take_over_keeps_what_was_handed_over() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Append('2', 1, "c"), vec![]),
        (begin('t', 3), vec![ends(1, LeaseEnd::Interrupted)]),
        (Event::Append('3', 1, "late"), vec![refused('3', Interrupted)]),
        (Event::Wrote(2, None), vec![appended('1', 2), write(2, &["c"])]),
        (Event::Wrote(1, None), vec![appended('2', 3), granted('t', 2, 3, 6)]),
        (Event::Commit('c', 1), vec![refused('c', Interrupted)]),
        (Event::Release(1), vec![]),
        (Event::Append('4', 2, "d"), vec![write(3, &["d"])]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn a_stale_request_leaves_the_lease_alone() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (begin('s', 0), vec![refused('s', MismatchedOffset)]),
        (begin('t', 3), vec![refused('t', MismatchedOffset)]),
        (Event::Wrote(2, None), vec![appended('1', 2)]),
        (Event::Append('2', 1, "c"), vec![write(2, &["c"])]),
    ];
    assert!(history(found(9, 0), PLAIN, steps).has_lease());
}

#[test]
fn inspecting_ends_the_lease_and_waits_for_its_bytes() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Inspect('i'), vec![ends(1, LeaseEnd::Interrupted)]),
        (Event::Wrote(2, None), vec![appended('1', 2), Effect::Sync]),
        (DONE, vec![inspected('i', 2)]),
        (begin('g', 2), vec![granted('g', 2, 2, 7)]),
    ];
    history(found(9, 0), ALWAYS, steps);
}

#[test]
fn peeking_and_annotating_disturb_nobody() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Peek('p'), vec![Effect::Answer('p', Peeked { finished: false })]),
        (Event::Annotate(Some('a')), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), Effect::Save]),
        (Event::Annotate(None), vec![]),
        (FAILED, vec![refused('a', StoreFailed), Effect::Save]),
        (DONE, vec![]),
        (Event::Commit('c', 1), vec![committed('c', 2)]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn a_peek_waits_while_the_upload_is_finishing() {
    let steps = [
        (Event::Inspect('i'), vec![Effect::Finish { length: 2 }]),
        (Event::Peek('p'), vec![]),
        (DONE, vec![inspected('i', 2), Effect::Answer('p', Peeked { finished: true })]),
    ];
    history(found(2, 2), PLAIN, steps);
}

#[test]
fn deletion_waits_for_the_write_and_answers_everyone() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Terminate('t'), vec![ends(1, LeaseEnd::Terminated)]),
        (begin('g', 2), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), Effect::Delete { expired: false }]),
        (Event::Append('2', 1, "c"), vec![refused('2', Terminated)]),
        (Event::Commit('c', 1), vec![refused('c', Terminated)]),
        (Event::Inspect('i'), vec![]),
        (Event::Annotate(Some('a')), vec![]),
        (Event::Peek('p'), vec![]),
        (
            DONE,
            vec![
                Effect::Answer('t', Answer::Terminated),
                refused('g', NotFound),
                refused('i', NotFound),
                refused('a', NotFound),
                refused('p', NotFound),
                Effect::Retire,
            ],
        ),
        (begin('h', 2), vec![refused('h', NotFound), Effect::Retire]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn a_failed_deletion_leaves_nothing_to_be_had() {
    let steps = [
        (Event::Terminate('t'), vec![Effect::Delete { expired: false }]),
        (FAILED, vec![refused('t', StoreFailed), Effect::Retire]),
        (Event::Inspect('i'), vec![refused('i', StoreFailed), Effect::Retire]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn tentative_bytes_count_from_the_commit_on() {
    let steps = [
        (begin_tentative('b', 1), vec![granted('b', 1, 1, 8)]),
        (Event::Append('1', 1, "ab"), vec![Effect::Stage { base: 1 }]),
        (DONE, vec![write(1, &["ab"])]),
        (Event::Append('2', 1, "c"), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 3), write(3, &["c"])]),
        (Event::Wrote(1, None), vec![appended('2', 4)]),
        (Event::Commit('c', 1), vec![Effect::Keep]),
        (DONE, vec![committed('c', 4)]),
    ];
    assert_eq!(history(found(9, 1), PLAIN, steps).stored(), 4);
}

/// A lease from 1 on whose two tentative bytes are in the store.
fn with_tentative_bytes() -> Vec<(Happening, Effects)> {
    vec![
        (begin_tentative('b', 1), vec![granted('b', 1, 1, 8)]),
        (Event::Append('1', 1, "ab"), vec![Effect::Stage { base: 1 }]),
        (DONE, vec![write(1, &["ab"])]),
        (Event::Wrote(2, None), vec![appended('1', 3)]),
    ]
}

#[test]
fn tentative_bytes_are_discarded_without_the_commit() {
    let discard = || vec![Effect::Discard { base: 1 }];
    let ended = |why| vec![ends(1, why), Effect::Discard { base: 1 }];
    let endings = [
        (Event::Release(1), discard(), vec![]),
        (Event::Inspect('i'), ended(LeaseEnd::Interrupted), vec![inspected('i', 1)]),
        (begin('t', 1), ended(LeaseEnd::Interrupted), vec![granted('t', 2, 1, 8)]),
        (Event::Terminate('t'), ended(LeaseEnd::Terminated), vec![Effect::Delete { expired: false }]),
        (Event::Close, ended(LeaseEnd::ShuttingDown), vec![]),
    ];
    for (event, effects, afterwards) in endings {
        let mut steps = with_tentative_bytes();
        steps.extend([(event, effects), (DONE, afterwards)]);
        assert_eq!(history(found(9, 1), PLAIN, steps).stored(), 1);
    }
}

#[test]
fn tentative_bytes_that_cant_be_kept_are_discarded() {
    let mut steps = with_tentative_bytes();
    steps.extend([
        (Event::Commit('c', 1), vec![Effect::Keep]),
        (FAILED, vec![refused('c', StoreFailed), Effect::Discard { base: 1 }]),
        (begin('g', 1), vec![]),
        (DONE, vec![granted('g', 2, 1, 8)]),
    ]);
    history(found(9, 1), PLAIN, steps);
}

#[test]
fn a_failed_discard_needs_a_new_owner() {
    let mut steps = with_tentative_bytes();
    steps.extend([
        (Event::Inspect('i'), vec![ends(1, LeaseEnd::Interrupted), Effect::Discard { base: 1 }]),
        (FAILED, vec![refused('i', StoreFailed), Effect::Retire]),
    ]);
    history(found(9, 1), PLAIN, steps);
}

#[test]
fn a_mark_that_failed_is_taken_away_again() {
    let steps = [
        (begin_tentative('b', 1), vec![granted('b', 1, 1, 8)]),
        (Event::Append('1', 1, "ab"), vec![Effect::Stage { base: 1 }]),
        (FAILED, vec![refused('1', StoreFailed), ends(1, LeaseEnd::StoreFailed), Effect::Discard { base: 1 }]),
        (begin('g', 1), vec![]),
        (DONE, vec![granted('g', 2, 1, 8)]),
        (Event::Append('2', 2, "c"), vec![write(1, &["c"])]),
    ];
    history(found(9, 1), PLAIN, steps);
}

#[test]
fn bytes_beyond_the_length_are_refused() {
    let announcing = Event::Begin('a', Begin { announced: Some(3), ..at(0) });
    let endless = Event::Begin('e', Begin { announced: Some(u64::MAX), ..at(0) });
    let steps = [
        (announcing, vec![refused('a', SizeExceeded)]),
        (endless, vec![refused('e', SizeExceeded)]),
        (begin('b', 0), vec![granted('b', 1, 0, 2)]),
        (Event::Append('1', 1, "abc"), vec![refused('1', SizeExceeded)]),
        (Event::Append('2', 1, "a"), vec![write(0, &["a"])]),
        (Event::Append('3', 1, "bc"), vec![refused('3', SizeExceeded)]),
    ];
    history(found(2, 0), PLAIN, steps);
}

#[test]
fn the_largest_size_limits_an_upload_without_a_length() {
    let policy = Policy { max_size: Some(2), ..PLAIN };
    let steps = [
        (declare('a', 0, 3), vec![refused('a', MaxSizeExceeded)]),
        (begin('b', 0), vec![granted('b', 1, 0, 2)]),
        (Event::Append('1', 1, "abc"), vec![refused('1', SizeExceeded)]),
    ];
    history(found(None, 0), policy, steps);
}

#[test]
fn a_length_is_declared_once() {
    let steps = [
        (declare('a', 2, 1), vec![refused('a', InvalidLength)]),
        (declare('b', 2, 4), vec![Effect::Declare { length: 4 }]),
        (FAILED, vec![refused('b', StoreFailed)]),
        (declare('c', 2, 4), vec![Effect::Declare { length: 4 }]),
        (DONE, vec![granted('c', 1, 2, 2)]),
        (Event::Release(1), vec![]),
        (declare('d', 2, 4), vec![refused('d', InvalidLength)]),
    ];
    assert_eq!(history(found(None, 2), PLAIN, steps).length(), Some(4));
}

#[test]
fn a_length_declared_with_tentative_bytes_counts_with_them() {
    let declare =
        |asker, length| Event::Begin(asker, Begin { declared_length: Some(length), tentative: true, ..at(2) });
    let steps = [
        (declare('a', 4), vec![granted('a', 1, 2, 2)]),
        (Event::Append('1', 1, "abc"), vec![refused('1', SizeExceeded)]),
        (Event::Append('2', 1, "ab"), vec![Effect::Stage { base: 2 }]),
        (DONE, vec![write(2, &["ab"])]),
        (Event::Wrote(2, None), vec![appended('2', 4)]),
        // The checksum does not match: neither the bytes nor the length were ever there.
        (Event::Release(1), vec![Effect::Discard { base: 2 }]),
        (DONE, vec![]),
        (declare('b', 3), vec![granted('b', 2, 2, 1)]),
        (Event::Append('3', 2, "c"), vec![Effect::Stage { base: 2 }]),
        (DONE, vec![write(2, &["c"])]),
        (Event::Wrote(1, None), vec![appended('3', 3)]),
        (Event::Commit('c', 2), vec![Effect::Keep]),
        (DONE, vec![Effect::Declare { length: 3 }]),
        (FAILED, vec![refused('c', StoreFailed)]),
        (begin_tentative('d', 3), vec![granted('d', 3, 3, None)]),
        (Event::Release(3), vec![]),
        (Event::Begin('e', Begin { declared_length: Some(3), tentative: true, ..at(3) }), vec![granted('e', 4, 3, 0)]),
        (Event::Commit('f', 4), vec![Effect::Declare { length: 3 }]),
        (DONE, vec![Effect::Finish { length: 3 }]),
        (DONE, vec![Effect::Answer('f', Committed { offset: 3, finished: true })]),
    ];
    assert_eq!(history(found(None, 2), PLAIN, steps).length(), Some(3));
}

#[test]
fn declaring_what_is_there_already_finishes() {
    let steps = [
        (declare('b', 2, 2), vec![Effect::Declare { length: 2 }]),
        (DONE, vec![Effect::Finish { length: 2 }]),
        (DONE, vec![Effect::Answer('b', Complete { offset: 2 })]),
    ];
    history(found(None, 2), PLAIN, steps);
}

#[test]
fn an_upload_of_length_0_is_finished_by_the_first_to_come() {
    let steps = [
        (begin('b', 0), vec![Effect::Finish { length: 0 }]),
        (DONE, vec![Effect::Answer('b', Complete { offset: 0 })]),
    ];
    history(found(0, 0), ALWAYS, steps);
}

#[test]
fn a_failed_write_keeps_its_prefix() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Append('2', 1, "cd"), vec![]),
        (Event::Append('3', 1, "ef"), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), write(2, &["cd", "ef"])]),
        (Event::Append('4', 1, "gh"), vec![]),
        (
            Event::Wrote(3, Some(Fault::Failed)),
            vec![
                appended('2', 4),
                refused('3', StoreFailed),
                refused('4', StoreFailed),
                ends(1, LeaseEnd::StoreFailed),
            ],
        ),
        (Event::Inspect('i'), vec![inspected('i', 5)]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn a_full_store_keeps_the_offset_and_the_upload_goes_on_later() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "abc"), vec![write(0, &["abc"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(1, Some(Fault::NoSpace)), vec![refused('1', NoSpace), refused('c', NoSpace)]),
        (begin('g', 1), vec![granted('g', 2, 1, 8)]),
        (Event::Append('2', 2, "bc"), vec![write(1, &["bc"])]),
        (Event::Wrote(2, None), vec![appended('2', 3)]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn a_failed_sync_cuts_to_what_is_durable() {
    let steps = [
        (begin('b', 1), vec![granted('b', 1, 1, 8)]),
        (Event::Append('1', 1, "ab"), vec![write(1, &["ab"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 3), Effect::Sync]),
        (Event::Inspect('i'), vec![]),
        (FAILED, vec![refused('c', StoreFailed), Effect::Cut { to: 1 }]),
        (DONE, vec![inspected('i', 1)]),
    ];
    history(found(9, 1), ALWAYS, steps);
}

#[test]
fn a_failed_cut_needs_a_new_owner() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Wrote(2, None), vec![appended('1', 2)]),
        (Event::Inspect('i'), vec![ends(1, LeaseEnd::Interrupted), Effect::Sync]),
        (FAILED, vec![Effect::Cut { to: 0 }]),
        (FAILED, vec![refused('i', StoreFailed), Effect::Retire]),
    ];
    history(found(9, 0), ALWAYS, steps);
}

#[test]
fn a_final_upload_waits_joins_and_finishes() {
    let is_final = Found { is_final: true, ..found(None, 0) };
    let steps = [
        (Event::Inspect('i'), vec![inspected('i', None)]),
        (begin('b', 0), vec![refused('b', ModifyFinal)]),
        (Event::Expire, vec![]),
        (Event::PartialsReady(4), vec![Effect::Join]),
        (Event::PartialLost, vec![]),
        (Event::Joined(Err(Fault::Failed)), vec![]),
        (Event::Inspect('j'), vec![inspected('j', None), Effect::Join]),
        (Event::Joined(Ok(4)), vec![Effect::Sync]),
        (FAILED, vec![Effect::Cut { to: 0 }]),
        (DONE, vec![]),
        (Event::Inspect('k'), vec![inspected('k', None), Effect::Join]),
        (Event::Joined(Ok(4)), vec![Effect::Sync]),
        (DONE, vec![Effect::Finish { length: 4 }]),
        (Event::Peek('p'), vec![]),
        (DONE, vec![Effect::Answer('p', Peeked { finished: true })]),
        (Event::Inspect('l'), vec![inspected('l', 4)]),
    ];
    history(is_final, COMPLETE, steps);
}

#[test]
fn joining_again_after_a_restart_is_synced_again() {
    let begun = Found { is_final: true, ..found(4, 4) };
    let steps =
        [(Event::PartialsReady(4), vec![Effect::Join]), (Event::Joined(Ok(4)), vec![Effect::Sync]), (DONE, finish(4))];
    history(begun, COMPLETE, steps);
}

fn finish(length: u64) -> Effects {
    vec![Effect::Finish { length }]
}

#[test]
fn a_final_upload_without_its_partial_ones_is_gone() {
    let is_final = Found { is_final: true, ..found(None, 0) };
    let delete = || vec![Effect::Delete { expired: false }];
    let ready = || (Event::PartialsReady(4), vec![Effect::Join]);
    let gone = || (DONE, vec![Effect::Retire]);
    let later = || (begin('b', 0), vec![refused('b', NotFound), Effect::Retire]);
    history(is_final, PLAIN, [(Event::PartialLost, delete()), gone(), later()]);
    history(is_final, PLAIN, [ready(), (Event::Joined(Err(Fault::NotFound)), delete()), gone(), later()]);
    let policy = Policy { max_size: Some(3), ..PLAIN };
    history(is_final, policy, [(Event::PartialsReady(4), delete()), gone(), later()]);
}

#[test]
fn nothing_more_is_stored_once_a_partial_upload_is_lost() {
    let is_final = Found { is_final: true, ..found(None, 0) };
    let steps = [
        (Event::Annotate(Some('a')), vec![Effect::Save]),
        (Event::Annotate(Some('z')), vec![]),
        (Event::PartialLost, vec![]),
        (DONE, vec![Effect::Answer('a', Answer::Annotated), Effect::Delete { expired: false }]),
        (DONE, vec![refused('z', NotFound), Effect::Retire]),
    ];
    history(is_final, PLAIN, steps);
}

#[test]
fn expiry_is_refused_while_somebody_needs_the_upload() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Expire, vec![]),
        (Event::Release(1), vec![]),
        (Event::Annotate(None), vec![Effect::Save]),
        (Event::Expire, vec![]),
        (DONE, vec![]),
        (Event::Expire, vec![Effect::Delete { expired: true }]),
        (Event::Inspect('i'), vec![]),
        (DONE, vec![refused('i', Expired), Effect::Retire]),
    ];
    history(found(9, 0), PLAIN, steps);
}

#[test]
fn shutdown_keeps_what_was_handed_over() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Append('2', 1, "c"), vec![]),
        (Event::Close, vec![ends(1, LeaseEnd::ShuttingDown)]),
        (begin('g', 3), vec![refused('g', ShuttingDown)]),
        (Event::Append('3', 1, "d"), vec![refused('3', ShuttingDown)]),
        (Event::Wrote(2, None), vec![appended('1', 2), write(2, &["c"])]),
        (Event::Wrote(1, None), vec![appended('2', 3)]),
        (Event::Inspect('i'), vec![inspected('i', 3)]),
    ];
    assert!(history(found(9, 0), PLAIN, steps).is_idle());
}

#[test]
fn a_commit_goes_on_through_a_shutdown_and_a_take_over() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 9)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Commit('c', 1), vec![]),
        (begin('g', 2), vec![]),
        (Event::Close, vec![]),
        // The handler goes away after it has committed.
        (Event::Release(1), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), committed('c', 2), refused('g', ShuttingDown)]),
    ];
    history(found(9, 0), PLAIN, steps);
}
