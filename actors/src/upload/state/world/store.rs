//! What the store does.

use super::*;

impl World {
    pub(super) fn begin_operation(&mut self, setup: &Setup, operation: Effect<u8, Run>) -> Checked {
        check!(self.operation.is_none(), "{operation:?} while {:?} is under way", self.operation);
        check!(!self.store.deleting, "{operation:?} after deletion began");
        check!(!self.broken, "{operation:?} on a broken upload");
        let (len, staged) = (self.store.len(), self.store.staged);
        match &operation {
            Effect::Stage { base } => check!(*base == len && staged.is_none(), "stages at {base} of {len}"),
            Effect::Write { at, pieces, then_finish } => {
                check!(*at == len && !self.store.finished, "writes at {at} of {len}");
                let end = at + pieces.iter().map(Piece::len).sum::<u64>();
                check!(!then_finish || self.store.length == Some(end), "finishes with a write that is not the last");
                let completes = self.store.length == Some(end) && staged.is_none();
                check!(!completes || self.is_announced(setup), "the last write comes unannounced");
                for piece in pieces {
                    let Some(seen) = self.leases.iter().find(|seen| seen.id == piece.lease) else {
                        return Err("writes without a lease".into());
                    };
                    let expected = seen.tentative.then_some(seen.base);
                    check!(staged == expected, "staged {staged:?}, not {expected:?}");
                }
            }
            Effect::Keep => {
                let committed = self.leases.last().is_some_and(|seen| seen.tentative && seen.committed);
                check!(staged.is_some() && committed, "keeps what was not committed");
                let completes = self.store.length == Some(len);
                check!(!completes || self.is_announced(setup), "keeps the last bytes unannounced");
            }
            Effect::Discard { base } => {
                let open = self.leases.last().is_none_or(|seen| seen.base != *base || seen.open);
                check!(!open, "discards {base} under an open lease");
            }
            Effect::Sync => check!(staged.is_none(), "syncs what is tentative"),
            Effect::Cut { to } => check!(*to == self.store.durable, "cuts at {to}, not at what is durable"),
            Effect::Declare { length } => {
                check!(self.store.length.is_none() && *length >= len, "declares {length}");
                let unchecked = self.leases.last().is_some_and(|seen| seen.declared.is_some() && !seen.committed);
                check!(!unchecked, "declares {length} before the bytes count");
            }
            Effect::Finish { length } => {
                let whole = *length == len && staged.is_none() && !self.store.finished;
                check!(whole && self.store.length == Some(len), "finishes at {length} of {len}");
                check!(!self.store.bytes.contains(&Byte::Lost), "finishes with lost bytes");
                check!(!setup.policy.sync_finish || self.store.durable == len, "finishes what is not durable");
                check!(self.is_announced(setup), "finishes unannounced");
                check!(self.store.consulted == setup.policy.consult, "finishes unasked");
            }
            Effect::Save => {
                for asked in self.unanswered.values_mut() {
                    if let Asked::Annotate { stored } = asked {
                        *stored = true;
                    }
                }
            }
            Effect::Delete { expired } => {
                check!(!expired || self.may_expire, "expires what somebody needs");
                let announced = if *expired { setup.policy.announced.expire } else { setup.policy.announced.terminate };
                check!(!announced || self.store.announced.1, "deletes unannounced");
                self.store.deleting = true;
            }
            Effect::Announce(_) | Effect::Consult => self.check_words(setup, &operation)?,
            _ => {}
        }
        self.operation = Some(operation);
        Ok(())
    }

    /// What the application is told and asked, and when.
    fn check_words(&self, setup: &Setup, operation: &Effect<u8, Run>) -> Checked {
        match operation {
            Effect::Announce(Ending::Finished { length }) => {
                check!(setup.policy.announced.finish && !self.store.announced.0, "announces the finish again");
                check!(!self.store.finished && self.store.length == Some(*length), "announces {length}");
            }
            Effect::Announce(Ending::Deleted { .. }) => {
                check!(!self.store.announced.1, "announces the deletion again");
            }
            Effect::Consult => {
                check!(setup.policy.consult && !self.store.consulted, "asks the application again");
                check!(
                    self.store.length == Some(self.store.len()) && self.store.staged.is_none(),
                    "asks before all is there"
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn is_announced(&self, setup: &Setup) -> bool {
        !setup.policy.announced.finish || self.store.announced.0
    }

    pub(super) fn complete(
        &mut self,
        setup: &Setup,
        operation: Effect<u8, Run>,
        outcome: Outcome,
    ) -> Result<Event<u8, Run>, String> {
        if outcome != Outcome::Ok {
            self.faults_left -= 1;
            self.faulted = true;
        }
        let done = matches!(outcome, Outcome::Ok | Outcome::DoneButFailed);
        if let Effect::Write { pieces, then_finish, .. } = operation {
            let event = self.write(&pieces, outcome);
            if then_finish && matches!(event, Event::Wrote(_, None)) {
                // It goes on to finish, which may end in any way that finishing may.
                self.begin_operation(setup, Effect::Finish { length: self.store.len() })?;
            }
            return Ok(event);
        }
        if done {
            self.done(setup, &operation);
        } else {
            self.failed(&operation, outcome);
        }
        let result = match outcome {
            Outcome::Ok => Ok(()),
            Outcome::Failed(fault) => Err(fault),
            _ => Err(Fault::Failed),
        };
        Ok(match operation {
            Effect::Join => Event::Joined(result.map(|()| self.store.len())),
            _ => Event::Done(result),
        })
    }

    fn write(&mut self, pieces: &[Run], outcome: Outcome) -> Event<u8, Run> {
        let data = pieces.iter().flat_map(|run| (run.from..run.from + run.len).map(|at| Byte::Of(run.lease, at)));
        let (len, fault) = match outcome {
            Outcome::Short(len, fault) => (len, Some(fault)),
            _ => (pieces.iter().map(Piece::len).sum(), None),
        };
        self.store.bytes.extend(data.take(len as usize));
        Event::Wrote(len, fault)
    }

    fn done(&mut self, setup: &Setup, operation: &Effect<u8, Run>) {
        let store = &mut self.store;
        match *operation {
            Effect::Stage { base } => store.staged = Some(base),
            Effect::Keep => {
                store.staged = None;
                if setup.policy.sync_always {
                    store.durable = store.len();
                }
                if let Some(seen) = self.leases.last_mut() {
                    seen.kept = true;
                }
            }
            Effect::Discard { base } => {
                store.staged = None;
                store.cut(base);
            }
            Effect::Sync => store.durable = store.len(),
            Effect::Cut { to } => {
                store.cut(to);
                store.consulted = false;
            }
            Effect::Announce(Ending::Finished { .. }) => store.announced.0 = true,
            Effect::Announce(Ending::Deleted { .. }) => store.announced.1 = true,
            Effect::Consult => store.consulted = true,
            Effect::Declare { length } => store.length = Some(length),
            Effect::Finish { .. } => store.finished = true,
            Effect::Join => {
                store.bytes = vec![Byte::Joined; store.length.unwrap_or_default() as usize];
                store.durable = 0;
            }
            Effect::Delete { .. } => store.gone = true,
            _ => {}
        }
    }

    fn failed(&mut self, operation: &Effect<u8, Run>, outcome: Outcome) {
        match operation {
            Effect::Sync => {
                for byte in self.store.bytes.iter_mut().skip(self.store.durable as usize) {
                    *byte = Byte::Lost;
                }
                self.told = self.told.min(self.store.durable);
            }
            Effect::Discard { .. } | Effect::Cut { .. } | Effect::Delete { .. } => self.broken = true,
            Effect::Announce(Ending::Deleted { .. }) => self.broken = true,
            Effect::Finish { .. } => self.broken |= outcome == Outcome::Failed(Fault::NotFound),
            _ => {}
        }
    }
}
