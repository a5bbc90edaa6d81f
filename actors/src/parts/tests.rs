//! Tests of the pool: whose turn it is, what is tried again, and that nothing is lost or kept whatever dies.

use futures_util::FutureExt;

use super::*;
use crate::{Budget, storage::s3::client::ErrorKind};
use bed::{Answer, Bed, GONE, SECOND, Seen, config, etag, part, scripted, seen, until};

mod bed;

fn numbers(all: &[Seen]) -> Vec<(&str, u16)> {
    all.iter().map(|seen| (&*seen.key, seen.number)).collect()
}

fn kind(result: Result<ETag, PartError>) -> Result<ETag, ErrorKind> {
    result.map_err(|error| match error {
        PartError::S3(error) => error.kind,
        other => panic!("{other}"),
    })
}

#[actix_rt::test]
async fn a_part_is_stored_as_it_was_handed_over_and_its_memory_freed_before_the_answer() {
    let mut bed = Bed::new(config(1, 1, 1));
    let sending = bed.upload(7, 3);
    let held = bed.call().await;
    assert_eq!(held.seen, seen(7, 3));
    assert_eq!(bed.budget.report().used, 30);
    held.answer(Answer::Stored);
    assert_eq!(sending.await.unwrap().unwrap(), etag(&seen(7, 3)));
    let report = bed.parts.report();
    assert_eq!((bed.budget.report().used, report.under_way), (0, 0));
    assert_eq!((report.stored, report.stored_bytes, report.failed, report.deaths), (1, 30, 0, 0));
    bed.is_empty().await;
    bed.parts.close().await;
    // One free, a part, it is done, one free again; the end, and one has left.
    assert_eq!(bed.parts.report().dispatcher.received, 6);
    assert!(bed.has_ended().await);
}

#[actix_rt::test]
async fn nothing_happens_before_the_first_poll() {
    let bed = Bed::new(config(1, 1, 1));
    drop(bed.parts.upload(bed.part(1, 1)));
    assert_eq!(bed.parts.report().waiting.received, 0);
    bed.is_empty().await;
}

#[actix_rt::test]
async fn an_answer_can_be_awaited_on_any_arbiter() {
    let mut bed = Bed::new(config(1, 1, 1));
    let (arbiter, sending) = (actix_rt::Arbiter::new(), bed.parts.upload(bed.part(1, 1)));
    let (told, tells) = oneshot::channel();
    arbiter.spawn(async move { told.send(sending.await).unwrap() });
    bed.store(1).await;
    assert_eq!(tells.await.unwrap().unwrap(), etag(&seen(1, 1)));
    arbiter.stop();
}

#[actix_rt::test]
async fn a_newcomer_goes_next_though_a_thousand_parts_of_another_wait() {
    for workers in [1, 4] {
        let mut bed = Bed::new(config(workers, 4, 2_000));
        let huge: Vec<_> = (0..1_000).map(|_| bed.upload(1, 1)).collect();
        let mut held = Vec::new();
        for _ in 0..workers {
            held.push(bed.call().await);
        }
        bed.stands(1_000 - workers, workers).await;
        let newcomer = bed.upload(2, 9);
        bed.stands(1_001 - workers, workers).await;
        held.remove(0).answer(Answer::Stored);
        let next = bed.call().await;
        assert_eq!(next.seen, seen(2, 9));
        next.answer(Answer::Stored);
        newcomer.await.unwrap().unwrap();
        held.into_iter().for_each(|held| held.answer(Answer::Stored));
        assert!(bed.store(1_000 - workers).await.iter().all(|stored| *stored == seen(1, 1)));
        for sending in huge {
            sending.await.unwrap().unwrap();
        }
        bed.is_empty().await;
    }
}

#[actix_rt::test]
async fn uploads_take_turns() {
    let mut bed = Bed::new(config(1, 1, 100));
    let first = bed.upload(1, 1);
    let held = bed.call().await;
    let rest: Vec<_> =
        [(1, 2), (1, 3), (2, 1), (2, 2), (3, 1)].map(|(upload, number)| bed.upload(upload, number)).into();
    bed.stands(5, 1).await;
    held.answer(Answer::Stored);
    let stored = bed.store(5).await;
    let expected = [("object-2", 1), ("object-3", 1), ("object-1", 2), ("object-2", 2), ("object-1", 3)];
    assert_eq!(numbers(&stored), expected);
    for sending in rest.into_iter().chain([first]) {
        sending.await.unwrap().unwrap();
    }
}

#[actix_rt::test]
async fn parts_of_an_upload_go_in_parallel_up_to_their_limit() {
    let mut bed = Bed::new(config(4, 3, 100));
    let _sending: Vec<_> = (1..=6).map(|number| bed.upload(1, number)).collect();
    bed.stands(3, 3).await;
    let held = [bed.call().await, bed.call().await, bed.call().await];
    let mut together: Vec<u16> = held.iter().map(|held| held.seen.number).collect();
    together.sort_unstable();
    assert_eq!(together, [1, 2, 3]);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert_ne!(held[one].client, held[other].client);
        assert_ne!(held[one].thread, held[other].thread);
    }
    // The fourth uploader is for others.
    let _other = bed.upload(2, 1);
    let other = bed.call().await;
    assert_eq!(other.seen, seen(2, 1));
    bed.stands(3, 4).await;
    assert!(!bed.is_called());
    // One that ends makes way for one.
    held.into_iter().next().unwrap().answer(Answer::Stored);
    assert_eq!(bed.call().await.seen, seen(1, 4));
    bed.stands(2, 4).await;
    assert!(!bed.is_called());
}

#[actix_rt::test]
async fn those_without_room_wait_in_order_and_may_go() {
    let mut bed = Bed::new(config(1, 1, 2));
    let mut sending = Vec::new();
    for number in 1..=6 {
        sending.push(bed.upload(1, number));
        tokio::task::yield_now().await;
    }
    bed.until(|report| (report.waiting.depth, report.under_way, report.without_room) == (2, 1, 3)).await;
    assert_eq!(bed.budget.report().used, 210);
    sending.remove(3).abort();
    bed.until(|report| report.without_room == 2).await;
    assert_eq!(bed.budget.report().used, 170);
    let stored = bed.store(5).await;
    assert_eq!(stored.iter().map(|seen| seen.number).collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    assert_eq!(bed.parts.report().waiting.depth_peak, 2);
    bed.is_empty().await;
}

#[actix_rt::test]
async fn a_full_mailbox_makes_askers_wait() {
    let mut bed = Bed::new(Config { mailbox: 1, ..config(1, 1, 100) });
    let sending: Vec<_> = (1..=20).map(|number| bed.upload(1, number)).collect();
    let stored = bed.store(20).await;
    assert_eq!(stored.iter().map(|seen| seen.number).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    // A part, and what an uploader tells: that one is done, and that it is free.
    let report = bed.parts.report().dispatcher;
    assert!(report.depth_peak <= 3, "{report:?}");
}

#[actix_rt::test]
async fn what_may_pass_is_tried_again_with_the_same_bytes() {
    use ErrorKind::{Corrupt, Throttled, Unavailable, Unreachable};
    let parts = scripted(config(1, 1, 1), |call, got| {
        assert_eq!(got, seen(1, 3));
        let failures = [Throttled, Unavailable, Unreachable, Corrupt, Unavailable];
        failures.get(call).map_or(Answer::Stored, |kind| Answer::Failed(*kind))
    });
    let budget = Budget::new(100);
    assert_eq!(parts.upload(part(&budget, 1, 3)).await.unwrap(), etag(&seen(1, 3)));
    let report = parts.report();
    let retries = [report.retries.throttled, report.retries.unavailable, report.retries.unreachable];
    assert_eq!((retries, report.retries.corrupt), ([1, 2, 1], 1));
    assert_eq!((report.stored, report.stored_bytes, report.failed), (1, 30, 0));
}

#[actix_rt::test]
async fn what_stays_so_fails_at_once_and_the_next_part_goes_on() {
    for refused in [ErrorKind::Invalid, ErrorKind::Denied, ErrorKind::NoSuchUpload] {
        let parts = scripted(config(1, 1, 1), move |call, _| match call {
            0 => Answer::Failed(refused),
            _ => Answer::Stored,
        });
        let budget = Budget::new(100);
        assert_eq!(kind(parts.upload(part(&budget, 1, 1)).await), Err(refused));
        let report = parts.report();
        assert_eq!((report.failed, report.retries, budget.report().used), (1, Default::default(), 0));
        assert_eq!(parts.upload(part(&budget, 1, 2)).await.unwrap(), etag(&seen(1, 2)));
    }
}

#[actix_rt::test]
async fn a_part_of_an_upload_that_is_gone_is_not_tried_on() {
    let parts = scripted(config(1, 1, 1), |_, _| Answer::Failed(ErrorKind::Unavailable));
    let budget = Budget::new(100);
    let part = Part { multipart: GONE.into(), ..part(&budget, 1, 1) };
    assert_eq!(kind(parts.upload(part).await), Err(ErrorKind::NoSuchUpload));
    assert_eq!(parts.report().retries, Default::default());
}

#[actix_rt::test]
async fn a_part_that_does_not_get_through_fails_at_its_deadline() {
    let slow = Config { backoff_first: SECOND, backoff_max: 8 * SECOND, ..config(1, 1, 1) };
    let parts = scripted(slow, |_, _| Answer::Failed(ErrorKind::Throttled));
    let budget = Budget::new(100);
    assert_eq!(kind(parts.upload(part(&budget, 1, 1)).await), Err(ErrorKind::Throttled));
    let report = parts.report();
    assert!((7..=15).contains(&report.retries.throttled), "{report:?}");
    assert_eq!((report.failed, report.under_way, budget.report().used), (1, 0, 0));
}

#[actix_rt::test]
async fn a_waiting_part_is_taken_back_by_dropping_it() {
    let mut bed = Bed::new(config(1, 1, 2));
    let first = bed.upload(1, 1);
    let held = bed.call().await;
    let (second, third) = (bed.upload(1, 2), bed.upload(1, 3));
    bed.stands(2, 1).await;
    assert_eq!(bed.budget.report().used, 60);
    second.abort();
    bed.stands(1, 1).await;
    assert_eq!(bed.budget.report().used, 40);
    // Its room is free again.
    let fourth = bed.upload(1, 4);
    bed.stands(2, 1).await;
    held.answer(Answer::Stored);
    assert_eq!(numbers(&bed.store(2).await), [("object-1", 3), ("object-1", 4)]);
    for sending in [first, third, fourth] {
        sending.await.unwrap().unwrap();
    }
    let report = bed.parts.report();
    assert_eq!((report.waiting.dropped, report.stored, report.failed), (1, 3, 0));
    bed.is_empty().await;
}

#[actix_rt::test]
async fn a_part_under_way_goes_on_without_its_asker() {
    let mut bed = Bed::new(config(1, 1, 2));
    let sending = bed.upload(1, 1);
    let held = bed.call().await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    bed.stands(0, 1).await;
    assert!(!held.is_given_up());
    assert_eq!(bed.budget.report().used, 10);
    held.answer(Answer::Stored);
    bed.until(|report| report.stored == 1).await;
    bed.is_empty().await;
}

#[actix_rt::test]
async fn a_part_is_given_to_another_uploader_when_the_first_dies() {
    for death in [|| Answer::Panic, || Answer::Stop] {
        let mut bed = Bed::new(config(1, 1, 2));
        let (sending, other) = (bed.upload(1, 1), bed.upload(1, 2));
        let held = bed.call().await;
        bed.stands(1, 1).await;
        assert_eq!((held.client, &held.seen), (0, &seen(1, 1)));
        held.answer(death());
        let again = bed.call().await;
        assert_eq!((again.client, &again.seen), (1, &seen(1, 1)));
        assert_eq!(bed.budget.report().used, 30);
        again.answer(Answer::Stored);
        assert_eq!(sending.await.unwrap().unwrap(), etag(&seen(1, 1)));
        assert_eq!(numbers(&bed.store(1).await), [("object-1", 2)]);
        other.await.unwrap().unwrap();
        let report = bed.parts.report();
        assert_eq!((report.deaths, report.stored, report.failed, report.uploaders.len()), (1, 2, 0, 1));
        bed.is_empty().await;
    }
}

#[actix_rt::test]
async fn a_part_that_kills_two_uploaders_fails_and_the_pool_goes_on() {
    let mut bed = Bed::new(config(2, 1, 2));
    let sending = bed.upload(1, 1);
    bed.call().await.answer(Answer::Panic);
    bed.call().await.answer(Answer::Panic);
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, PartError::Died) && error.may_have_been_applied(), "{error}");
    assert_eq!(bed.budget.report().used, 0);
    bed.until(|report| report.deaths == 2 && report.uploaders.len() == 2).await;
    let both = [bed.upload(2, 1), bed.upload(3, 1)];
    bed.stands(0, 2).await;
    bed.store(2).await;
    for sending in both {
        sending.await.unwrap().unwrap();
    }
    assert_eq!(bed.parts.report().failed, 1);
    bed.is_empty().await;
}

#[actix_rt::test]
async fn a_part_whose_asker_has_gone_is_not_given_to_another() {
    let mut bed = Bed::new(config(1, 1, 2));
    let sending = bed.upload(1, 1);
    let held = bed.call().await;
    sending.abort();
    assert!(sending.await.is_err());
    held.answer(Answer::Panic);
    bed.until(|report| report.deaths == 1 && report.uploaders.len() == 1).await;
    bed.is_empty().await;
    let next = bed.upload(1, 2);
    assert_eq!(numbers(&bed.store(1).await), [("object-1", 2)]);
    next.await.unwrap().unwrap();
}

#[actix_rt::test]
async fn who_goes_on_dying_is_replaced_later_and_memory_does_not_wait_for_it() {
    let hour = 3_600 * SECOND;
    let mut bed = Bed::new(Config { backoff_first: hour, backoff_max: hour, ..config(2, 1, 2) });
    let deadly = bed.upload(1, 1);
    bed.call().await.answer(Answer::Panic);
    bed.call().await.answer(Answer::Panic);
    assert!(matches!(deadly.await.unwrap(), Err(PartError::Died)));
    bed.until(|report| report.deaths == 2 && report.uploaders.len() == 1).await;
    let sending = bed.upload(1, 2);
    let held = bed.call().await;
    sending.abort();
    assert!(sending.await.is_err());
    held.answer(Answer::Panic);
    bed.until(|report| report.deaths == 3 && report.uploaders.is_empty()).await;
    bed.is_empty().await;
}

#[actix_rt::test]
async fn uploaders_whose_client_can_not_be_made_are_started_again() {
    let made = std::sync::atomic::AtomicUsize::new(0);
    let budget = Budget::new(100);
    let (calls, mut called) = tokio::sync::mpsc::unbounded_channel();
    let parts = bed::start(config(1, 1, 1), move || {
        let number = made.fetch_add(1, Ordering::SeqCst);
        calls.send(number).unwrap();
        assert!(number >= 5, "on purpose");
        bed::storing()
    });
    assert_eq!(parts.upload(part(&budget, 1, 1)).await.unwrap(), etag(&seen(1, 1)));
    assert_eq!(parts.report().deaths, 5);
    parts.close().await;
    drop(parts);
    assert_eq!(std::iter::from_fn(|| called.recv().now_or_never().flatten()).count(), 6);
}

#[actix_rt::test]
async fn closing_lets_what_was_handed_over_end_and_takes_nothing_more() {
    let mut bed = Bed::new(config(1, 1, 1));
    let first = bed.upload(1, 1);
    let held = bed.call().await;
    let second = bed.upload(1, 2);
    bed.stands(1, 1).await;
    let third = bed.upload(1, 3);
    bed.until(|report| report.without_room == 1).await;
    let mut closing = Box::pin(bed.parts.close());
    assert!((&mut closing).now_or_never().is_none());
    assert!(matches!(third.await.unwrap(), Err(PartError::Closed)));
    assert!(matches!(bed.parts.upload(bed.part(1, 4)).await, Err(PartError::Closed)));
    bed.stands(1, 1).await;
    assert!((&mut closing).now_or_never().is_none());
    drop(closing);
    held.answer(Answer::Stored);
    // One that dies while the pool closes is replaced as long as parts are left.
    bed.call().await.answer(Answer::Panic);
    let last = bed.call().await;
    assert_eq!(last.seen, seen(1, 2));
    last.answer(Answer::Stored);
    bed.parts.close().await;
    for sending in [first, second] {
        sending.await.unwrap().unwrap();
    }
    assert!(bed.parts.report().uploaders.is_empty());
    bed.is_empty().await;
    bed.parts.close().await;
    let late = bed.parts.upload(bed.part(1, 5)).await;
    assert!(matches!(&late, Err(PartError::Closed)) && !late.unwrap_err().may_have_been_applied());
    bed.parts.resize(4);
    assert!(bed.has_ended().await);
}

#[actix_rt::test]
async fn a_part_that_comes_after_the_word_to_close_is_refused() {
    let mut bed = Bed::new(config(1, 1, 4));
    let first = bed.upload(1, 1);
    let held = bed.call().await;
    bed.parts.inner.dispatcher.tell(Close { answer: None });
    assert!(matches!(bed.upload(1, 2).await.unwrap(), Err(PartError::Closed)));
    assert_eq!(bed.budget.report().used, 10);
    held.answer(Answer::Stored);
    first.await.unwrap().unwrap();
}

#[actix_rt::test]
async fn the_pool_ends_with_its_last_handle() {
    let mut bed = Bed::new(config(2, 2, 2));
    let sending = bed.upload(1, 1);
    bed.store(1).await;
    sending.await.unwrap().unwrap();
    assert!(bed.has_ended().await);
}

#[actix_rt::test]
async fn a_pool_grows_and_shrinks_without_losing_a_part() {
    let mut bed = Bed::new(config(1, 8, 100));
    let sending: Vec<_> = (1..=6).map(|number| bed.upload(1, number)).collect();
    bed.stands(5, 1).await;
    bed.parts.resize(3);
    bed.stands(3, 3).await;
    let held = [bed.call().await, bed.call().await, bed.call().await];
    bed.parts.resize(1);
    bed.stands(3, 3).await;
    assert!(held.iter().all(|held| !held.is_given_up()));
    held.into_iter().for_each(|held| held.answer(Answer::Stored));
    bed.until(|report| report.uploaders.len() == 1).await;
    // From now on one goes at a time.
    for waiting in [2, 1, 0] {
        bed.stands(waiting, 1).await;
        bed.store(1).await;
    }
    for sending in sending {
        sending.await.unwrap().unwrap();
    }
    bed.parts.resize(0);
    bed.parts.resize(2);
    bed.until(|report| report.uploaders.len() == 2).await;
    let report = bed.parts.report();
    assert_eq!((report.stored, report.failed, report.deaths), (6, 0, 0));
    bed.is_empty().await;
    bed.parts.close().await;
    until(&bed.parts, |report| report.uploaders.is_empty()).await;
    assert!(bed.has_ended().await);
}
