//! What askers are told, and what must hold.

use super::*;

impl World {
    pub(super) fn answered(&mut self, setup: &Setup, asker: u8, answer: Answer) -> Checked {
        let Some(asked) = self.unanswered.remove(&asker) else {
            return Err(format!("{asker} got {answer:?} and had not asked, or was answered before"));
        };
        if let Some(client) = self.clients.iter_mut().find(|client| client.waits_for == Some(asker)) {
            client.waits_for = None;
        }
        // What waits is refused before its deletion is announced, which comes before the deletion itself.
        let excused = self.faulted || self.store.deleting || self.state.is_ending();
        match (asked, answer) {
            (Asked::Begin(client, begin), answer) => self.begin_answered(setup, client, begin, answer),
            (Asked::Append { end, open: true, fits: true }, Answer::Appended { offset }) => {
                check!(offset == end && self.store.len() >= end, "appended {offset}, not {end}");
                Ok(())
            }
            (Asked::Append { open: true, fits: false, .. }, Answer::Refused(Refusal::SizeExceeded)) => Ok(()),
            (Asked::Append { open, fits, .. }, Answer::Refused(refusal)) => {
                check!(!open || (fits && excused), "append refused: {refusal:?}");
                Ok(())
            }
            (Asked::Commit { lease, open: true }, Answer::Committed { offset, finished }) => {
                let end = self.leases.iter().find(|seen| seen.id == lease).map(|seen| seen.base + seen.handed);
                check!(end == Some(offset), "committed {offset}, not {end:?}");
                check!(finished == self.store.finished, "committed with finished {finished}");
                self.tell(setup, offset)
            }
            (Asked::Inspect(client), Answer::Inspected { offset: Some(offset) }) => {
                self.clients[client].told = offset;
                self.try_offset = Some(offset);
                check!(self.open_lease().is_none(), "told an offset under an open lease");
                self.tell(setup, offset)
            }
            (Asked::Inspect(_), Answer::Inspected { offset: None }) => {
                check!(setup.found.is_final && !self.store.finished, "no offset");
                Ok(())
            }
            (Asked::Peek, Answer::Peeked { finished }) => {
                check!(finished == self.store.finished, "peeked {finished}");
                Ok(())
            }
            (Asked::Interrupt { open }, Answer::Interrupted { ended }) => {
                check!(ended == open, "interrupted: {ended}, and a lease was open: {open}");
                check!(self.open_lease().is_none(), "a lease is open after its interruption");
                Ok(())
            }
            (Asked::Terminate, Answer::Terminated | Answer::Refused(Refusal::NotFound)) if self.store.gone => Ok(()),
            (Asked::Annotate { stored: true }, Answer::Annotated) => Ok(()),
            (Asked::Commit { open: false, .. }, Answer::Refused(_)) => Ok(()),
            (Asked::Terminate, Answer::Refused(_)) if self.broken => Ok(()),
            (Asked::Peek, Answer::Refused(_)) if self.broken || self.store.gone => Ok(()),
            (Asked::Peek, Answer::Refused(Refusal::NoSpace | Refusal::StoreFailed)) => {
                let whole = setup.found.is_final || self.store.length == Some(self.store.visible());
                check!(self.faulted && whole && !self.store.finished, "peeked at a failure of nothing");
                Ok(())
            }
            (Asked::Commit { .. } | Asked::Inspect(_) | Asked::Annotate { .. }, Answer::Refused(_)) if excused => {
                Ok(())
            }
            (Asked::Probe, _) => self.probe_answered(answer),
            (asked, answer) => Err(format!("{asked:?} got {answer:?}")),
        }
    }

    fn begin_answered(&mut self, setup: &Setup, client: usize, begin: Begin, answer: Answer) -> Checked {
        let limit = self.limit();
        let right = self.open_lease().map_or(self.store.visible(), Seen::successor) == begin.offset;
        let refusal = match answer {
            Answer::Granted { lease, offset, room } => {
                check!(self.open_lease().is_none(), "granted a second lease");
                check!(right && !self.store.finished, "granted at {offset}");
                check!(!self.closed && !self.store.deleting, "granted by one that ends");
                let (id, tentative, handed) = (lease, begin.tentative, 0);
                let (open, committed, kept) = (true, false, false);
                let declared = begin.declared_length.filter(|_| tentative);
                check!(declared.is_none() || self.store.length.is_none(), "declared twice");
                self.leases.push(Seen { id, base: offset, handed, tentative, declared, open, committed, kept });
                let limit = self.limit();
                check!(room == limit.map(|limit| limit.saturating_sub(offset)), "room {room:?} of {limit:?}");
                check!(begin.declared_length.is_none_or(|length| limit == Some(length)), "declared to no effect");
                self.clients[client].lease = Some(lease);
                self.clients[client].told = offset;
                return self.tell(setup, offset);
            }
            Answer::Complete { offset } => {
                check!(self.store.finished && offset == begin.offset, "complete at {offset}");
                self.skip_to_next_request(setup, client);
                return self.tell(setup, offset);
            }
            Answer::Refused(refusal) => refusal,
            answer => return Err(format!("begin got {answer:?}")),
        };
        self.skip_to_next_request(setup, client);
        let end = begin.offset.saturating_add(begin.announced.unwrap_or_default());
        let because = match refusal {
            Refusal::MismatchedOffset => !right,
            Refusal::ModifyFinal => setup.found.is_final && !self.store.deleting,
            Refusal::ShuttingDown => self.closed && !self.store.deleting,
            Refusal::InvalidLength => {
                begin.declared_length.is_some_and(|length| self.store.length.is_some() || length < self.store.len())
            }
            Refusal::MaxSizeExceeded => begin.declared_length > self.max_size,
            Refusal::SizeExceeded => begin.declared_length.or(limit).is_some_and(|limit| end > limit),
            Refusal::NotFound | Refusal::Expired => self.store.gone,
            Refusal::NoSpace | Refusal::StoreFailed => self.faulted,
            _ => false,
        };
        check!(because, "begin refused: {refusal:?}");
        Ok(())
    }

    /// Whoever got no lease does not append.
    fn skip_to_next_request(&mut self, setup: &Setup, client: usize) {
        let script = &setup.scripts[client];
        let client = &mut self.clients[client];
        while matches!(script.get(client.next), Some(Act::Append(_) | Act::Commit)) {
            client.next += 1;
        }
    }

    /// Somebody is told an offset.
    pub(super) fn tell(&mut self, setup: &Setup, offset: u64) -> Checked {
        check!(offset == self.store.visible(), "told {offset} of {}", self.store.visible());
        check!(offset >= self.told, "told {offset} after {}", self.told);
        check!(!setup.sync_always() || self.store.durable >= offset, "told {offset} that is not durable");
        self.told = offset;
        Ok(())
    }

    /// Each byte comes from one lease and lies where that lease handed it over.
    pub(super) fn check_layout(&self) -> Checked {
        let stored = self.state.stored();
        check!(stored <= self.store.len() || self.broken, "{stored} exceeds what is stored");
        let mut last = 0;
        for (at, byte) in (0..).zip(&self.store.bytes) {
            let Byte::Of(lease, index) = *byte else {
                check!(
                    *byte != Byte::Lost
                        || at >= stored
                        || matches!(self.operation, Some(Effect::Cut { .. }))
                        || self.broken,
                    "a lost byte counts"
                );
                continue;
            };
            let Some(seen) = self.leases.iter().find(|seen| seen.id == lease) else { continue };
            check!(lease >= last && seen.base + index == at, "byte {at} is the {index}th of lease {lease}");
            check!(!seen.tentative || at < seen.base || at >= stored || seen.kept, "a tentative byte counts");
            last = lease;
        }
        let open = self.leases.iter().filter(|seen| seen.open).count();
        check!(open <= 1 && (open == 0 || self.state.has_lease()), "{open} leases are open");
        Ok(())
    }

    /// Nothing can happen any more.
    pub(in crate::upload::state) fn check_quiet(&self) -> Checked {
        check!(self.unanswered.is_empty(), "left without an answer: {:?}", self.unanswered);
        check!(self.state.is_idle(), "not idle");
        check!(self.state.is_finished() == (self.store.finished && !self.store.deleting && !self.broken), "finished?");
        check!(self.retired == (self.store.gone || self.broken), "retired: {}", self.retired);
        if self.faulted || self.store.gone {
            return Ok(());
        }
        check!(self.state.stored() == self.store.len() && self.store.staged.is_none(), "something is not settled");
        let ready = !self.state.is_waiting();
        let whole = self.store.length == Some(self.store.len());
        check!(!ready || whole == self.store.finished || self.leases_unused(), "not finished");
        for seen in &self.leases {
            let handed = if seen.tentative && !seen.committed { 0 } else { seen.handed };
            let kept = self.store.bytes.iter().filter(|byte| matches!(byte, Byte::Of(id, _) if *id == seen.id)).count();
            check!(kept as u64 == handed, "of {handed} bytes of lease {} there are {kept}", seen.id);
        }
        Ok(())
    }

    /// Nothing was ever asked of it.
    fn leases_unused(&self) -> bool {
        self.clients.iter().all(|client| client.next == 0)
    }

    /// An offset that was told is one where the next request may begin.
    pub(super) fn probe(&self, setup: &Setup, offset: u64) -> Checked {
        let mut world = self.clone();
        world.probing = true;
        let begin = Begin { offset, declared_length: None, announced: None, tentative: false };
        world.unanswered.insert(PROBE, Asked::Probe);
        // Of the world's bookkeeping the probe needs only that its answer is looked at.
        world.feed(setup, Event::Begin(PROBE, begin))?;
        while world.unanswered.contains_key(&PROBE) {
            check!(world.operation.is_some(), "nobody answers");
            world.step(setup, Move::Complete(Outcome::Ok))?;
        }
        Ok(())
    }

    fn probe_answered(&self, answer: Answer) -> Checked {
        let fine = match answer {
            Answer::Granted { .. } | Answer::Complete { .. } => true,
            Answer::Refused(Refusal::ShuttingDown) => self.closed,
            Answer::Refused(Refusal::NotFound | Refusal::Expired) => self.store.gone,
            Answer::Refused(Refusal::ModifyFinal) => self.store.finished,
            _ => false,
        };
        check!(fine, "an offset that was told got {answer:?}");
        Ok(())
    }
}
