//! What benches/ measures by itself of owners: the events of a PATCH, and what comes of them. In builds for benches only.

use super::{Begin, Effect, Event, Found, Piece, Policy, State};

const PIECE_BYTES: u64 = 16 * 1024;
const POLICY: Policy = Policy { sync_finish: true, ..Policy::PLAIN };

/// As many bytes as one message brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Bytes;

impl Piece for Bytes {
    fn len(&self) -> u64 {
        PIECE_BYTES
    }
}

/// Brings an upload to its end in one PATCH of so many pieces, each of which is stored before the next one comes. Returns
/// how many effects that has.
///
/// # Panics
/// When the upload does not come to its end.
#[must_use]
pub fn patch(pieces: u64) -> usize {
    let length = pieces * PIECE_BYTES;
    let found = Found { length: Some(length), stored: 0, is_final: false, finished: false };
    let (mut state, mut effects, lease) = (State::new(found, POLICY, 1), Vec::new(), 1);
    let begin = Begin { offset: 0, declared_length: None, announced: Some(length), tentative: false };
    let mut count = settle(&mut state, &mut effects, Event::Begin(0, begin));
    for number in 1..=pieces {
        count += settle(&mut state, &mut effects, Event::Append(number, lease, Bytes));
    }
    count += settle(&mut state, &mut effects, Event::Commit(pieces + 1, lease));
    assert!(state.is_finished() && state.is_idle(), "the PATCH has not ended");
    count
}

/// Tells the machine what has happened, and of each operation on the store that it is done.
fn settle(state: &mut State<u64, Bytes>, effects: &mut Vec<Effect<u64, Bytes>>, event: Event<u64, Bytes>) -> usize {
    let (mut next, mut count) = (Some(event), 0);
    while let Some(event) = next.take() {
        state.on(event, effects);
        for effect in effects.drain(..) {
            count += 1;
            match effect {
                Effect::Write { pieces, .. } => next = Some(Event::Wrote(pieces.len() as u64 * PIECE_BYTES, None)),
                Effect::EndLease { .. } | Effect::Answer(..) | Effect::Retire => {}
                _ => next = Some(Event::Done(Ok(()))),
            }
        }
    }
    count
}
