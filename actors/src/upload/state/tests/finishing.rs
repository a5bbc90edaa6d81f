//! How an upload is finished, and what becomes of it when that fails.

use super::*;

#[test]
fn the_last_write_finishes_where_nothing_comes_between() {
    let finished = vec![Effect::Answer('c', Committed { offset: 3, finished: true })];
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Append('2', 1, "c"), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), write_last(2, &["c"])]),
        (Event::Wrote(1, None), vec![appended('2', 3)]),
        // The operation goes on: there is no second one, and nobody is told that the upload is not finished.
        (Event::Commit('c', 1), vec![]),
        (Event::Peek('p'), vec![]),
        (DONE, [finished.clone(), vec![Effect::Answer('p', Peeked { finished: true })]].concat()),
    ];
    assert!(history(found(3, 0), FUSED, steps).is_finished());
    // All bytes are written, and finishing fails: the commit is refused, and the next to ask gives it another try.
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "abc"), vec![write_last(0, &["abc"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(3, None), vec![appended('1', 3)]),
        (FAILED, vec![refused('c', StoreFailed)]),
        (Event::Inspect('i'), vec![Effect::Finish { length: 3 }]),
        (DONE, vec![inspected('i', 3)]),
    ];
    assert!(history(found(3, 0), FUSED, steps).is_finished());
    // A write that ends short has not finished anything.
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "abc"), vec![write_last(0, &["abc"])]),
        (Event::Wrote(2, Some(Fault::NoSpace)), vec![refused('1', NoSpace), ends(1, LeaseEnd::NoSpace)]),
        (Event::Inspect('i'), vec![inspected('i', 2)]),
    ];
    assert!(!history(found(3, 0), FUSED, steps).is_finished());
    // Bytes that may not count, or must be durable first, are not finished with the write.
    for (policy, tentative) in [(FUSED, true), (COMPLETE, false), (ALWAYS, false)] {
        let mut machine = history(found(3, 0), policy, []);
        let mut effects = Vec::new();
        machine.on(Event::Begin('b', Begin { tentative, ..at(0) }), &mut effects);
        machine.on(Event::Append('1', 1, "abc"), &mut effects);
        if tentative {
            machine.on(DONE, &mut effects);
        }
        assert_eq!(effects.last(), Some(&write(0, &["abc"])), "{policy:?}");
    }
}

#[test]
fn finishing_that_failed_is_tried_again_for_each_who_asks() {
    let finish = || vec![Effect::Finish { length: 2 }];
    let steps = [
        (begin('b', 1), vec![granted('b', 1, 1, 1)]),
        (Event::Append('1', 1, "b"), vec![write(1, &["b"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(1, None), vec![appended('1', 2), Effect::Finish { length: 2 }]),
        (FAILED, vec![refused('c', StoreFailed)]),
        (Event::Peek('p'), vec![refused('p', StoreFailed)]),
        (Event::Inspect('i'), finish()),
        (begin('g', 2), vec![]),
        (FAILED, vec![refused('i', StoreFailed), Effect::Finish { length: 2 }]),
        (DONE, vec![Effect::Answer('g', Complete { offset: 2 })]),
        (Event::Peek('q'), vec![Effect::Answer('q', Peeked { finished: true })]),
    ];
    history(found(2, 1), PLAIN, steps);
}

/// What was taken away by others is nothing to try again with: a new owner looks.
#[test]
fn finishing_what_is_gone_ends_the_owner() {
    let steps = [
        (Event::Inspect('i'), vec![Effect::Finish { length: 2 }]),
        (begin('g', 2), vec![]),
        (Event::Done(Err(Fault::NotFound)), vec![refused('i', StoreFailed), refused('g', StoreFailed), Effect::Retire]),
    ];
    history(found(2, 2), PLAIN, steps);
}

#[test]
fn an_upload_whose_finishing_failed_can_be_deleted() {
    let steps = [
        (Event::Inspect('i'), vec![Effect::Finish { length: 2 }]),
        (FAILED, vec![refused('i', StoreFailed)]),
        (Event::Terminate('t'), vec![Effect::Delete { expired: false }]),
    ];
    history(found(2, 2), PLAIN, steps);
}

const ENDS: Announced = Announced { finish: true, terminate: true, expire: true };
const FINISHED: Effect<char, &str> = Effect::Announce(Ending::Finished { length: 3 });

#[test]
fn an_end_is_announced_before_the_write_that_brings_it() {
    let policy = Policy { announced: ENDS, ..FUSED };
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "ab"), vec![write(0, &["ab"])]),
        (Event::Append('2', 1, "c"), vec![]),
        (Event::Wrote(2, None), vec![appended('1', 2), FINISHED]),
        (Event::Commit('c', 1), vec![]),
        (DONE, vec![write_last(2, &["c"])]),
        (Event::Wrote(1, None), vec![appended('2', 3)]),
        (DONE, vec![Effect::Answer('c', Committed { offset: 3, finished: true })]),
        (Event::Terminate('t'), vec![Effect::Announce(Ending::Deleted { expired: false })]),
        (DONE, vec![Effect::Delete { expired: false }]),
    ];
    history(found(3, 0), policy, steps);
    // What can't be announced does not happen: the last bytes are refused, and the next to come tries again.
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "abc"), vec![FINISHED]),
        (FAILED, vec![refused('1', StoreFailed), ends(1, LeaseEnd::StoreFailed)]),
        (begin('n', 0), vec![granted('n', 2, 0, 3)]),
        (Event::Append('2', 2, "abc"), vec![FINISHED]),
        (DONE, vec![write_last(0, &["abc"])]),
    ];
    history(found(3, 0), policy, steps);
    // Tentative bytes: before they count.
    let steps = [
        (begin_tentative('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "abc"), vec![Effect::Stage { base: 0 }]),
        (DONE, vec![write(0, &["abc"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(3, None), vec![appended('1', 3), FINISHED]),
        (DONE, vec![Effect::Keep]),
        (DONE, vec![Effect::Finish { length: 3 }]),
    ];
    history(found(3, 0), policy, steps);
}

#[test]
fn the_application_is_asked_once_all_is_stored_and_before_it_is_finished() {
    let policy = Policy { consult: true, announced: ENDS, ..COMPLETE };
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Append('1', 1, "abc"), vec![FINISHED]),
        (DONE, vec![write(0, &["abc"])]),
        (Event::Commit('c', 1), vec![]),
        (Event::Wrote(3, None), vec![appended('1', 3), Effect::Sync]),
        (DONE, vec![Effect::Consult]),
        (Event::Peek('p'), vec![]),
        (DONE, vec![Effect::Finish { length: 3 }]),
        // A finish that failed is tried again without asking again.
        (FAILED, vec![refused('c', StoreFailed), refused('p', StoreFailed)]),
        (Event::Inspect('i'), vec![Effect::Finish { length: 3 }]),
        (DONE, vec![inspected('i', 3)]),
    ];
    assert!(history(found(3, 0), policy, steps).is_finished());
    // Of a length that is declared behind the last byte nobody knew before: it is announced as late as that.
    let steps = [
        (declare('d', 3, 3), vec![Effect::Declare { length: 3 }]),
        (DONE, vec![Effect::Consult]),
        (DONE, vec![FINISHED]),
        (DONE, vec![Effect::Finish { length: 3 }]),
        (DONE, vec![Effect::Answer('d', Complete { offset: 3 })]),
    ];
    history(found(None, 3), policy, steps);
}

#[test]
fn the_application_stops_only_the_request_that_it_means() {
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Stop(7), vec![]),
        (Event::Append('1', 1, "a"), vec![write(0, &["a"])]),
        (Event::Append('2', 1, "b"), vec![]),
        (Event::Stop(1), vec![ends(1, LeaseEnd::Stopped)]),
        (Event::Wrote(1, None), vec![appended('1', 1), refused('2', Terminated), Effect::Delete { expired: false }]),
    ];
    history(found(3, 0), PLAIN, steps);
    let steps = [
        (begin('b', 0), vec![granted('b', 1, 0, 3)]),
        (Event::Release(1), vec![]),
        (Event::Stop(1), vec![]),
        (begin('n', 0), vec![granted('n', 2, 0, 3)]),
    ];
    history(found(3, 0), PLAIN, steps);
}
