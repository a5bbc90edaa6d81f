//! What comes next once nothing is under way in the store.

use std::collections::VecDeque;

use super::{
    Answer, Begin, Busy, Closing, Effect, Effects, Ending, Lease, LeaseEnd, Phase, Piece, Refusal, State, Waiter,
};

impl<A, P: Piece> State<A, P> {
    /// Goes on until an operation of the store is under way, or nothing is left to do.
    pub(super) fn advance(&mut self, effects: &mut Effects<A, P>) {
        self.yield_lease(effects);
        while self.busy.is_none() && self.step(effects) {
            self.yield_lease(effects);
        }
        self.answer_peeks(effects);
    }

    /// An open lease gives way to whoever waits.
    fn yield_lease(&mut self, effects: &mut Effects<A, P>) {
        let why = match self.waiters.front() {
            Some(Waiter::Terminate(_) | Waiter::Expire) => LeaseEnd::Terminated,
            Some(Waiter::Begin(..) | Waiter::Inspect(_)) => LeaseEnd::Interrupted,
            None => return,
        };
        self.end_lease(why, effects);
    }

    /// One step; false when there is nothing to do.
    fn step(&mut self, effects: &mut Effects<A, P>) -> bool {
        match self.phase {
            Phase::Gone { .. } | Phase::Broken => return self.turn_away(effects),
            Phase::Deleting { expired } => return self.delete(expired, effects),
            Phase::Joining if self.stuck.is_none() => return self.start(Busy::Join, Effect::Join, effects),
            _ => {}
        }
        if let Some(asker) = self.saves.pop_front() {
            return self.start(Busy::Save { asker }, Effect::Save, effects);
        }
        if !self.pieces.is_empty() {
            return self.write(effects);
        }
        if self.lease.as_ref().is_some_and(|held| !matches!(held.closing, Closing::Open)) {
            return self.settle_lease(effects);
        }
        if self.lease.is_some() {
            return false;
        }
        if self.is_complete() && self.stuck.is_none() {
            return self.finish(effects);
        }
        !self.waiters.is_empty() && self.serve_waiter(effects)
    }

    /// All bytes are there, and finishing is still to do.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Joined) && self.length == Some(self.stored)
    }

    fn start(&mut self, busy: Busy<A>, effect: Effect<A, P>, effects: &mut Effects<A, P>) -> bool {
        self.busy = Some(busy);
        effects.push(effect);
        true
    }

    /// Everything that waits goes to the store in one write, as far as it may go together.
    fn write(&mut self, effects: &mut Effects<A, P>) -> bool {
        let tentative_base = self.lease.as_ref().filter(|held| held.tentative).map(|held| held.base);
        if let Some(base) = tentative_base.filter(|_| !self.staged) {
            return self.start(Busy::Stage, Effect::Stage { base }, effects);
        }
        let at = self.written;
        let (count, is_alone) = self.next_pieces();
        let end = at + self.pieces.iter().take(count).map(|(_, piece)| piece.len()).sum::<u64>();
        if self.length == Some(end) && tentative_base.is_none() && self.must_announce_finish() {
            return self.announce(Ending::Finished { length: end }, effects);
        }
        let mut len = 0;
        let (mut askers, mut pieces) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (asker, piece) in self.pieces.drain(..count) {
            len += piece.len();
            askers.push((asker, self.written + len));
            pieces.push(piece);
        }
        if self.pieces.is_empty() {
            // An upload whose client is silent holds no room for pieces, and the next ones get some that lies in a cache.
            self.pieces = VecDeque::new();
        }
        let then_finish = self.may_finish_with_write() && self.length == Some(end) && !is_alone;
        self.start(Busy::Write { len, askers, then_finish }, Effect::Write { at, pieces, then_finish }, effects)
    }

    /// How many of the pieces that wait go to the store next, and whether that is one which goes alone.
    fn next_pieces(&self) -> (usize, bool) {
        let together = self.pieces.iter().take_while(|(_, piece)| !piece.stands_alone()).count();
        if together == 0 { (1, true) } else { (together, false) }
    }

    /// Whether the store must be told first that the upload is about to be finished: before the write that completes it,
    /// so that no crash can fall between the two.
    fn must_announce_finish(&self) -> bool {
        self.policy.announced.finish && !self.finish_announced && self.phase != Phase::Finished
    }

    fn announce(&mut self, ending: Ending, effects: &mut Effects<A, P>) -> bool {
        self.start(Busy::Announce(ending), Effect::Announce(ending), effects)
    }

    /// Whether nothing has to happen between the last write and the finish: no sync, no question to the application, and
    /// no bytes that may not count.
    fn may_finish_with_write(&self) -> bool {
        let between = self.policy.sync_finish || self.policy.sync_always || self.policy.consult;
        self.policy.finish_with_write && !between && self.phase == Phase::Open && !self.staged && self.stuck.is_none()
    }

    /// The lease takes no more bytes and all of them are written: make them count, or not, and let it go.
    fn settle_lease(&mut self, effects: &mut Effects<A, P>) -> bool {
        let Some(held) = &self.lease else { return false };
        let committed = matches!(held.closing, Closing::Commit(_));
        let base = held.base;
        if self.staged {
            if committed && self.length == Some(self.written) && self.must_announce_finish() {
                return self.announce(Ending::Finished { length: self.written }, effects);
            }
            return if committed {
                self.start(Busy::Keep, Effect::Keep, effects)
            } else {
                self.start(Busy::Discard, Effect::Discard { base }, effects)
            };
        }
        if let Some(length) = self.lease.as_mut().filter(|_| committed).and_then(|held| held.declared.take()) {
            return self.start(Busy::Declare { length }, Effect::Declare { length }, effects);
        }
        if committed && self.policy.sync_always && self.durable < self.stored {
            return self.start(Busy::Sync, Effect::Sync, effects);
        }
        if committed && self.is_complete() {
            // The commit asks for finishing, whatever became of an earlier try.
            self.stuck = None;
            return self.finish(effects);
        }
        if let Some(Lease { closing: Closing::Commit(asker), .. }) = self.lease.take() {
            let answer = Answer::Committed { offset: self.stored, finished: self.is_finished() };
            effects.push(Effect::Answer(asker, answer));
        }
        true
    }

    fn finish(&mut self, effects: &mut Effects<A, P>) -> bool {
        let sync = self.policy.sync_finish || self.policy.sync_always;
        if sync && self.durable < self.stored {
            return self.start(Busy::Sync, Effect::Sync, effects);
        }
        if self.policy.consult && !self.consulted {
            return self.start(Busy::Consult, Effect::Consult, effects);
        }
        let length = self.stored;
        if self.must_announce_finish() {
            return self.announce(Ending::Finished { length }, effects);
        }
        self.start(Busy::Finish, Effect::Finish { length }, effects)
    }

    fn serve_waiter(&mut self, effects: &mut Effects<A, P>) -> bool {
        let wants_bytes = matches!(self.waiters.front(), Some(Waiter::Begin(..) | Waiter::Inspect(_)));
        // Whoever asks gives a failed finishing another try, and is told when it fails again.
        if wants_bytes && self.is_complete() {
            self.stuck = None;
            return self.finish(effects);
        }
        if wants_bytes && self.policy.sync_always && self.durable < self.stored {
            return self.start(Busy::Sync, Effect::Sync, effects);
        }
        match self.waiters.pop_front() {
            Some(Waiter::Begin(asker, begin)) => self.grant(asker, begin, effects),
            Some(Waiter::Inspect(asker)) => {
                effects.push(Effect::Answer(asker, Answer::Inspected { offset: Some(self.stored) }));
            }
            Some(Waiter::Terminate(asker)) => {
                // It stays in the queue, to be answered with all others when the upload is gone.
                self.waiters.push_front(Waiter::Terminate(asker));
                self.phase = Phase::Deleting { expired: false };
            }
            Some(Waiter::Expire) => self.phase = Phase::Deleting { expired: true },
            None => return false,
        }
        true
    }

    fn grant(&mut self, asker: A, begin: Begin, effects: &mut Effects<A, P>) {
        let answer = match self.check(begin) {
            Err(refusal) => Answer::Refused(refusal),
            Ok(()) if self.is_finished() => Answer::Complete { offset: self.stored },
            Ok(()) => {
                let declared = begin.declared_length.filter(|_| begin.tentative);
                if let Some(length) = begin.declared_length.filter(|_| !begin.tentative) {
                    let begin = Begin { declared_length: None, ..begin };
                    self.waiters.push_front(Waiter::Begin(asker, begin));
                    self.start(Busy::Declare { length }, Effect::Declare { length }, effects);
                    return;
                }
                let (lease, offset) = (self.next_lease, self.stored);
                self.next_lease += 1;
                self.lease = Some(Lease {
                    id: lease,
                    base: offset,
                    handed: offset,
                    tentative: begin.tentative,
                    declared,
                    closing: Closing::Open,
                });
                Answer::Granted { lease, offset, room: self.limit().map(|limit| limit.saturating_sub(offset)) }
            }
        };
        effects.push(Effect::Answer(asker, answer));
    }

    /// Whether a lease may be granted now.
    fn check(&self, begin: Begin) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::ShuttingDown);
        }
        if begin.offset != self.stored {
            return Err(Refusal::MismatchedOffset);
        }
        // A request on a finished upload changes nothing, so neither its length nor that of its body matters.
        if self.is_finished() {
            return Ok(());
        }
        if let Some(length) = begin.declared_length {
            if self.length.is_some() || length < self.stored {
                return Err(Refusal::InvalidLength);
            }
            if self.policy.max_size.is_some_and(|max| length > max) {
                return Err(Refusal::MaxSizeExceeded);
            }
        }
        let limit = begin.declared_length.or(self.limit());
        let end = begin.announced.map(|announced| self.stored.saturating_add(announced));
        if limit.zip(end).is_some_and(|(limit, end)| end > limit) {
            return Err(Refusal::SizeExceeded);
        }
        Ok(())
    }

    /// Drops what waits for the store and deletes.
    fn delete(&mut self, expired: bool, effects: &mut Effects<A, P>) -> bool {
        for (asker, _) in std::mem::take(&mut self.pieces) {
            effects.push(Effect::Answer(asker, Answer::Refused(Refusal::Terminated)));
        }
        self.end_lease(LeaseEnd::Terminated, effects);
        if let Some(Lease { closing: Closing::Commit(asker), .. }) = self.lease.take() {
            effects.push(Effect::Answer(asker, Answer::Refused(Refusal::Terminated)));
        }
        let announced = self.policy.announced;
        let must_announce = if expired { announced.expire } else { announced.terminate };
        if must_announce && !self.deletion_announced {
            return self.announce(Ending::Deleted { expired }, effects);
        }
        self.start(Busy::Delete, Effect::Delete { expired }, effects)
    }

    /// Nothing can be had here any more: answers all who wait.
    fn turn_away(&mut self, effects: &mut Effects<A, P>) -> bool {
        let refusal = match self.phase {
            Phase::Gone { expired: true } => Refusal::Expired,
            Phase::Gone { expired: false } => Refusal::NotFound,
            _ => Refusal::StoreFailed,
        };
        self.end_lease(LeaseEnd::StoreFailed, effects);
        let committing = match self.lease.take() {
            Some(Lease { closing: Closing::Commit(asker), .. }) => Some(asker),
            _ => None,
        };
        let gone = matches!(self.phase, Phase::Gone { .. });
        let mut refused: Vec<A> = committing.into_iter().collect();
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter {
                // One request has ended the upload; whoever asked as well comes too late.
                Waiter::Terminate(asker) if gone && !std::mem::replace(&mut self.told_terminated, true) => {
                    effects.push(Effect::Answer(asker, Answer::Terminated));
                }
                Waiter::Begin(asker, _) | Waiter::Inspect(asker) | Waiter::Terminate(asker) => refused.push(asker),
                Waiter::Expire => {}
            }
        }
        refused.extend(std::mem::take(&mut self.pieces).into_iter().map(|(asker, _)| asker));
        refused.extend(std::mem::take(&mut self.saves).into_iter().flatten());
        refused.append(&mut self.peeks);
        effects.extend(refused.into_iter().map(|asker| Effect::Answer(asker, Answer::Refused(refusal))));
        effects.push(Effect::Retire);
        false
    }

    /// A peek is answered at once, but for the moment in which its answer is just being made.
    fn answer_peeks(&mut self, effects: &mut Effects<A, P>) {
        let undecided = matches!(
            self.busy,
            Some(
                Busy::Announce(_)
                    | Busy::Consult
                    | Busy::Finish
                    | Busy::Join
                    | Busy::Delete
                    | Busy::Sync
                    | Busy::Cut { .. }
            )
        );
        if undecided {
            return;
        }
        // "Not finished" would be a lie about bytes that are all there, or could be.
        let stuck = self.stuck.filter(|_| self.is_complete() || matches!(self.phase, Phase::Joining | Phase::Joined));
        let finished = self.is_finished();
        let answer = stuck.map_or(Answer::Peeked { finished }, |fault| Answer::Refused(fault.refusal()));
        for asker in std::mem::take(&mut self.peeks) {
            effects.push(Effect::Answer(asker, answer));
        }
    }
}
