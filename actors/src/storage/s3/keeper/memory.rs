//! Who gives memory back when it is spent.
//!
//! Bytes of parts under way come back by themselves. Those in the buffers of many uploads, none of which can be filled to a
//! part, do not: then nobody could go on. So some uploads put what they have into S3 as tails, a few at a time and the silent
//! ones first, until the others can fill parts; and what was put there is read back into a small memory beside the budget, so
//! that it does not compete with those who are about to fill theirs.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{super::Shared, ErrorKind, Keeper, LOOK_AROUND, StorageError, failed, sending::unless_given_up, tail};
use crate::{Budget, Share, storage::s3::plan::PART_MIN_BYTES};

/// Room for some tails, which are hardly ever longer than the smallest part.
const SPARE_BYTES: usize = 4 * PART_MIN_BYTES as usize;

/// How many uploads put tails at once because others need memory.
const GIVING_WAY_MAX: usize = 4;

/// After so many looks it is the turn of one that is not silent as well: it may be sending a byte now and then.
const PATIENCE_LOOKS: u8 = 3;

/// What keepers share to get out of each other's way.
pub(in crate::storage::s3) struct Relief {
    /// Memory for tails that are read back while the budget is spent.
    spare: Budget,
    turns: Budget,
    in_parts: Arc<AtomicUsize>,
}

impl Default for Relief {
    fn default() -> Self {
        Self { spare: Budget::new(SPARE_BYTES), turns: Budget::new(GIVING_WAY_MAX), in_parts: Arc::default() }
    }
}

/// Bytes of a part under way; counted until it is dropped.
pub(super) struct InPart {
    of_all: Arc<AtomicUsize>,
    len: usize,
}

impl Drop for InPart {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.len, Ordering::Relaxed);
    }
}

impl Relief {
    pub(super) fn count(&self, len: u64) -> InPart {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.in_parts.fetch_add(len, Ordering::Relaxed);
        InPart { of_all: Arc::clone(&self.in_parts), len }
    }
}

impl Shared {
    /// Whether memory is spent, and little of it comes back by itself.
    pub(super) fn is_stuck(&self) -> bool {
        self.budget.is_scarce() && self.relief.in_parts.load(Ordering::Relaxed) < self.budget.report().total / 4
    }
}

/// How a keeper uses its memory.
#[derive(Default)]
pub(super) struct Habits {
    /// Whether bytes came since the last look.
    has_written: bool,
    /// How often it was seen to hold memory that others need, since it last sent a part or read its tail.
    looks: u8,
    holds_spare: bool,
}

impl Habits {
    pub(super) fn wrote(&mut self) {
        self.has_written = true;
    }

    pub(super) fn sent(&mut self) {
        *self = Self { has_written: self.has_written, ..Self::default() };
    }

    /// Whether it is this one's turn to give way.
    fn look(&mut self) -> bool {
        self.looks = self.looks.saturating_add(1);
        !std::mem::take(&mut self.has_written) || self.looks >= PATIENCE_LOOKS
    }
}

impl Keeper {
    /// Reads the tail back, so that something can be put behind it.
    pub(super) async fn load(&mut self) -> Result<(), StorageError> {
        if self.loaded {
            return Ok(());
        }
        // Others may hold what there is for as long as their clients may be silent: a DELETE does not wait for that.
        let share = unless_given_up(self.given_up.clone(), self.share_for_tail()).await?;
        let mut bytes = tail::load(&self.shared, &self.key).await.map_err(failed("read the tail"))?.unwrap_or_default();
        let expected = usize::try_from(self.tail.map_or(0, |tail| tail.len)).unwrap_or(usize::MAX);
        if bytes.len() < expected {
            return Err(StorageError::new(ErrorKind::Failed, "read the tail", "it is shorter than before"));
        }
        // One that was put without an answer begins with the same bytes; those behind them were never acknowledged.
        bytes.truncate(expected);
        self.buffer.push(vec![bytes], vec![share]);
        self.loaded = true;
        Ok(())
    }

    /// Memory for the tail: out of the budget when that has enough, else from beside it.
    async fn share_for_tail(&mut self) -> Share {
        let len = usize::try_from(self.tail.map_or(0, |tail| tail.len)).unwrap_or(usize::MAX);
        let shared = Arc::clone(&self.shared);
        let of_budget = async {
            loop {
                if !shared.budget.is_scarce()
                    && let Some(share) = shared.budget.try_take(len)
                {
                    return share;
                }
                // Not in the budget's queue, where so much at once would keep those from their shares who fill a part.
                tokio::time::sleep(LOOK_AROUND).await;
            }
        };
        let mut spare = pin!(shared.relief.spare.take(len));
        let (share, holds_spare) = tokio::select! {
            biased;
            share = of_budget => (share, false),
            share = &mut spare => (share, true),
        };
        self.habits = Habits { holds_spare, ..Habits::default() };
        share
    }

    /// Gives memory back that others wait for.
    pub(super) async fn relieve(&mut self) {
        let is_needed =
            self.shared.is_stuck() || (self.habits.holds_spare && self.shared.relief.spare.report().waiting > 0);
        if !is_needed || self.staged.is_some() || self.failure.is_some() || !self.habits.look() {
            return;
        }
        // What can be a part is sent as one at once; a tail costs more, and the next may make it needless.
        let shared = Arc::clone(&self.shared);
        let least = shared.sizes.least(self.plan.used(), self.plan.end(), self.info.length);
        let turn = shared.relief.turns.try_take(1);
        if turn.is_none() && self.buffer.len() < least {
            return;
        }
        // What fails here fails again when somebody waits for it.
        if self.sync().await.is_ok() {
            self.rest();
        }
    }

    /// Drops from memory what the tail has.
    pub(super) fn rest(&mut self) {
        if let Some(tail) = self.tail.filter(|tail| tail.start == self.plan.end() && tail.len == self.buffer.len()) {
            debug_assert!(tail.len > 0);
            self.buffer = super::Buffer::default();
            self.habits.sent();
            self.loaded = false;
        }
    }
}
