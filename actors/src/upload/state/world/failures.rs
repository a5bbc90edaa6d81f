//! How operations of the store may go wrong.

use super::{Effect, Fault, Outcome, Piece, Run};

/// The ways in which an operation may fail.
pub(super) fn failures(operation: &Effect<u8, Run>) -> Vec<Outcome> {
    match operation {
        Effect::Write { pieces, .. } => {
            let len: u64 = pieces.iter().map(Piece::len).sum();
            let mut failures: Vec<_> = (0..len).map(|len| Outcome::Short(len, Fault::Failed)).collect();
            failures.push(Outcome::Short(len / 2, Fault::NoSpace));
            failures
        }
        Effect::Stage { .. } | Effect::Keep => vec![Outcome::Failed(Fault::Failed), Outcome::DoneButFailed],
        Effect::Join | Effect::Finish { .. } => vec![Outcome::Failed(Fault::Failed), Outcome::Failed(Fault::NotFound)],
        _ => vec![Outcome::Failed(Fault::Failed)],
    }
}
