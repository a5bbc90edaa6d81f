//! What the end of a store's operation means.

use super::{Answer, Busy, Effect, Effects, Ending, Fault, LeaseEnd, Phase, Piece, State, Waiter};

impl<A, P: Piece> State<A, P> {
    /// Takes the completion of anything but a write or a join.
    pub(super) fn on_done(&mut self, result: Result<(), Fault>, effects: &mut Effects<A, P>) {
        let Some(busy) = self.busy.take() else { return };
        match (busy, result) {
            (Busy::Stage, Ok(())) => self.staged = true,
            (Busy::Stage, Err(fault)) => {
                // The mark may be there all the same, and would take later bytes with it: it is taken away.
                self.staged = true;
                self.fail_lease(fault, effects);
            }
            (Busy::Keep, Err(fault)) => self.fail_lease(fault, effects),
            (Busy::Keep, Ok(())) => {
                self.staged = false;
                self.stored = self.written;
                if self.policy.sync_always {
                    self.durable = self.stored;
                }
            }
            (Busy::Discard, Ok(())) => {
                self.staged = false;
                self.written = self.stored;
            }
            (Busy::Sync, Ok(())) => self.durable = self.stored,
            (Busy::Sync, Err(fault)) => self.on_sync_failed(fault, effects),
            (Busy::Cut { to }, Ok(())) => {
                (self.stored, self.written) = (to, to);
                self.consulted = false;
            }
            (Busy::Declare { length }, Ok(())) => self.length = Some(length),
            (Busy::Declare { .. }, Err(fault)) if self.lease.is_some() => self.fail_lease(fault, effects),
            (Busy::Declare { .. }, Err(fault)) => self.refuse_waiter(fault, effects),
            (Busy::Save { asker: Some(asker) }, result) => {
                let answer = result.map_or_else(|fault| Answer::Refused(fault.refusal()), |()| Answer::Annotated);
                effects.push(Effect::Answer(asker, answer));
            }
            (Busy::Save { asker: None }, _) => {}
            (Busy::Announce(Ending::Finished { .. }), Ok(())) => self.finish_announced = true,
            (Busy::Announce(Ending::Deleted { .. }), Ok(())) => self.deletion_announced = true,
            // Who can't be promised to be told of it must not miss it: it does not happen.
            (Busy::Announce(Ending::Finished { .. }), Err(fault)) if self.is_complete() => {
                self.on_finish_failed(fault, effects);
            }
            (Busy::Announce(Ending::Finished { .. }), Err(fault)) => self.fail_lease(fault, effects),
            (Busy::Consult, Ok(())) => self.consulted = true,
            (Busy::Consult, Err(fault)) => self.on_finish_failed(fault, effects),
            (Busy::Finish, Ok(())) => {
                self.phase = Phase::Finished;
                self.durable = self.stored;
            }
            // Somebody else has taken it away; a new owner will find that out.
            (Busy::Finish, Err(Fault::NotFound)) => self.phase = Phase::Broken,
            (Busy::Finish, Err(fault)) => self.on_finish_failed(fault, effects),
            (Busy::Delete, Ok(())) => {
                let expired = matches!(self.phase, Phase::Deleting { expired: true });
                self.phase = Phase::Gone { expired };
            }
            // What the store holds now is not known here; a new owner will look.
            (Busy::Discard | Busy::Cut { .. } | Busy::Announce(Ending::Deleted { .. }) | Busy::Delete, Err(_)) => {
                self.phase = Phase::Broken;
            }
            // Their completions are events of their own.
            (Busy::Write { .. } | Busy::Join, _) => self.phase = Phase::Broken,
        }
    }

    /// A failed sync is never tried again as if nothing had happened: the kernel may have dropped the pages.
    fn on_sync_failed(&mut self, fault: Fault, effects: &mut Effects<A, P>) {
        self.fail_lease(fault, effects);
        if self.phase == Phase::Joined {
            self.phase = Phase::Joining;
            self.stuck = Some(fault);
        }
        let to = self.durable;
        self.busy = Some(Busy::Cut { to });
        effects.push(Effect::Cut { to });
    }

    fn on_finish_failed(&mut self, fault: Fault, effects: &mut Effects<A, P>) {
        self.stuck = Some(fault);
        if self.lease.is_some() {
            self.fail_lease(fault, effects);
        } else if matches!(self.waiters.front(), Some(Waiter::Begin(..) | Waiter::Inspect(_))) {
            self.refuse_waiter(fault, effects);
        }
    }

    /// The one who waits longest is told of the fault.
    fn refuse_waiter(&mut self, fault: Fault, effects: &mut Effects<A, P>) {
        match self.waiters.pop_front() {
            Some(Waiter::Begin(asker, _) | Waiter::Inspect(asker)) => {
                effects.push(Effect::Answer(asker, Answer::Refused(fault.refusal())));
            }
            Some(other) => self.waiters.push_front(other),
            None => {}
        }
    }

    /// Takes the completion of a write, of which a prefix may be stored.
    pub(super) fn on_wrote(&mut self, stored_len: u64, fault: Option<Fault>, effects: &mut Effects<A, P>) {
        let Some(Busy::Write { len, askers, then_finish }) = self.busy.take() else {
            self.phase = Phase::Broken;
            return;
        };
        let fault = fault.or((stored_len != len).then_some(Fault::Failed));
        self.written += stored_len.min(len);
        if !self.staged {
            self.stored = self.written;
        }
        for (asker, end) in askers {
            let answer = match fault {
                Some(fault) if end > self.written => Answer::Refused(fault.refusal()),
                _ => Answer::Appended { offset: end },
            };
            effects.push(Effect::Answer(asker, answer));
        }
        match fault {
            Some(fault) => self.fail_lease(fault, effects),
            // The operation goes on: how it ends is told next.
            None if then_finish => self.busy = Some(Busy::Finish),
            None => {}
        }
    }

    /// Takes the completion of a join.
    pub(super) fn on_joined(&mut self, result: Result<u64, Fault>) {
        if !matches!(self.busy.take(), Some(Busy::Join)) {
            self.phase = Phase::Broken;
            return;
        }
        match result {
            Ok(length) => {
                (self.stored, self.written, self.length) = (length, length, Some(length));
                // Joining replaces what was there, synced or not.
                self.durable = 0;
                self.phase = Phase::Joined;
            }
            // A final upload whose partial one is gone can never be had.
            Err(Fault::NotFound) => self.phase = Phase::Deleting { expired: false },
            Err(fault) => self.stuck = Some(fault),
        }
    }
}

impl From<Fault> for LeaseEnd {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSpace => Self::NoSpace,
            Fault::TooLarge => Self::TooLarge,
            Fault::NotFound | Fault::Failed => Self::StoreFailed,
        }
    }
}
