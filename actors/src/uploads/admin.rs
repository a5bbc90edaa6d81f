//! What the facade offers to operators. Nothing here ends a lease, starts an owner or keeps one alive, but what says so.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use slog::{error, info};

use super::{
    AskFailure, Mailboxes, Uploads,
    view::{ListCursor, ListPage, ListPlace, Listed, Overview, OwnerReport, Tuning},
};
use crate::{
    BudgetReport, UploadId,
    directory::Owner,
    events::{Event, Listener},
    hooks::{Hooks, HooksReport, Owed, OwedState},
    post::{KindReport, MailboxReport, PoolReport, Unanswered},
    reaper::Wake,
    storage::{Sighting, StorageError, StoreReport},
    tally::TallyReport,
    upload::{
        messages::{Interrupt, Look, Reply, View},
        sight::{Sight, unix_ms},
        state::Refusal,
        view::{LeaseReport, UploadState},
    },
};

/// How long an owner gets to answer an operator before its published numbers have to do.
const MOMENT: Duration = Duration::from_millis(25);

/// A budget is not made smaller than what one request takes at least.
const BUDGET_MIN: usize = 64 * 1024;

impl Uploads {
    /// What the mailboxes look like now. Asks no actor, so a stuck one is visible.
    #[must_use]
    pub fn mailboxes(&self) -> Mailboxes {
        let StoreReport { kinds, mailboxes: mut workers, .. } = self.directory.storage().report();
        let (kinds, reaper) = (self.with_own(kinds), self.reaper.gauge());
        workers.push(MailboxReport::of(reaper, String::new()));
        workers.extend(self.hooks_report().map(|hooks| hooks.actors.mailboxes).into_iter().flatten());
        let uploads = self.directory.owners_behind("").into_iter();
        let uploads = uploads.map(|(id, owner)| MailboxReport::of(owner.post.gauge(), id.as_str().to_owned()));
        Mailboxes {
            slow_after: self.directory.live().slow_after(),
            kinds,
            workers,
            uploads: uploads.collect(),
            died: self.directory.died(),
        }
    }

    /// What all mailboxes of each kind look like now, which takes as long however many there are.
    #[must_use]
    pub fn kinds(&self) -> Vec<KindReport> {
        self.with_own(self.directory.storage().report().kinds)
    }

    fn with_own(&self, mut kinds: Vec<KindReport>) -> Vec<KindReport> {
        kinds.splice(0..0, [self.directory.meter().report(), self.reaper.gauge().kind().report()]);
        kinds.extend(self.hooks_report().map(|hooks| hooks.actors.kinds).into_iter().flatten());
        kinds
    }

    /// What is metered below the store: its operations, the calls to what lies behind it, its pools.
    #[must_use]
    pub fn store_report(&self) -> StoreReport {
        self.directory.storage().report()
    }

    /// How the pools stand.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolReport> {
        let mut pools = self.store_report().pools;
        pools.extend(self.hooks_report().map(|hooks| hooks.actors.pools).into_iter().flatten());
        pools
    }

    /// How the hooks stand; `None` when there are none. Asks nobody.
    #[must_use]
    pub fn hooks_report(&self) -> Option<HooksReport> {
        self.directory.hooks().map(Hooks::report)
    }

    /// The events that the application is still to be told of, or will be if their upload comes to its end, the oldest first:
    /// those that wait for this, or all. None when there are no hooks.
    ///
    /// # Errors
    /// When the outbox does not answer.
    pub async fn owed_events(&self, state: Option<OwedState>, limit: usize) -> Result<Vec<Owed>, AskFailure> {
        let Some(hooks) = self.directory.hooks() else { return Ok(Vec::new()) };
        self.within(async { Ok(hooks.list(state, limit).await?) }).await
    }

    /// Tries now what waits for its next try: one event, or all. Returns how many; none when there are no hooks.
    ///
    /// # Errors
    /// When the outbox does not answer.
    pub async fn retry_events(&self, event_id: Option<String>) -> Result<usize, AskFailure> {
        let Some(hooks) = self.directory.hooks() else { return Ok(0) };
        self.within(async { Ok(hooks.retry(event_id).await?) }).await
    }

    /// How the memory for bytes on their way to the store stands.
    #[must_use]
    pub fn budget_report(&self) -> BudgetReport {
        self.budget.report()
    }

    /// Counters over all uploads.
    #[must_use]
    pub fn tally(&self) -> TallyReport {
        self.directory.tally().report(self.directory.meter().live(), self.directory.died())
    }

    /// Hears of what happens from now on. See [`Event`].
    #[must_use]
    pub fn listen(&self) -> Listener {
        self.directory.events().listen()
    }

    /// Whether the store can be reached: one cheap question, to be asked again no sooner than after some seconds.
    ///
    /// # Errors
    /// When it can't, or does not answer in time.
    pub async fn reachable(&self) -> Result<(), AskFailure> {
        self.within(async { self.directory.storage().reachable().await.map_err(|error| error.kind.into()) }).await
    }

    /// All that is known of one upload. One without an owner is looked up in the store; of one whose owner does not answer
    /// at once, there is what it has published.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or what the store says.
    pub async fn overview(&self, id: &UploadId) -> Result<Overview, AskFailure> {
        if let Some(owner) = self.directory.owner(id) {
            let asked = tokio::time::timeout(MOMENT, owner.post.ask(|answer| Look { answer })).await;
            match asked {
                Ok(Ok(Some(view))) => return Ok(of_view(id, view, &owner)),
                // Deleted: the store says so too.
                Ok(Ok(None)) => {}
                // It has just gone in good order: the store knows all of it.
                Ok(Err(Unanswered::Retired)) => {}
                Err(_) | Ok(Err(_)) => return Ok(of_sight(id, &owner)),
            }
        }
        let looked = self.within(async { self.directory.storage().look(id).await.map_err(|error| self.blame(&error)) });
        let history = self.directory.histories().recall(id).and_then(|course| course.report());
        let sighting = looked.await?;
        Ok(Overview { history, ..of_sighting(sighting) })
    }

    /// A page of all uploads: first those that have owners, then the others, as they lie in the store. `limit` is how many
    /// there may be at most.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, cursor: Option<ListCursor>, limit: usize) -> Result<ListPage, AskFailure> {
        let now = SystemTime::now();
        let start = || ListCursor { began_ms: unix_ms(now), place: ListPlace::Live(String::new()) };
        let ListCursor { began_ms, place } = cursor.unwrap_or_else(start);
        let limit = limit.max(1);
        let next = |place| Some(ListCursor { began_ms, place });
        match place {
            ListPlace::Live(after) => {
                let mut owners = self.directory.owners_behind(&after);
                owners.sort_unstable_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
                let more = owners.len() > limit;
                owners.truncate(limit);
                let last = owners.last().filter(|_| more).map(|(id, _)| id.as_str().to_owned());
                let place = last.map_or(ListPlace::Store(String::new()), ListPlace::Live);
                let uploads = owners.into_iter().map(|(id, owner)| listed_live(id, &owner.sight, now));
                Ok(ListPage { uploads: uploads.collect(), next: next(place) })
            }
            ListPlace::Store(after) => {
                let after = Some(after).filter(|after| !after.is_empty());
                let storage = self.directory.storage();
                let page = self.within(async { storage.list(after, limit).await.map_err(|error| self.blame(&error)) });
                let page = page.await?;
                let uploads =
                    page.uploads.into_iter().filter_map(|sighting| self.listed_stored(sighting, began_ms, now));
                Ok(ListPage {
                    uploads: uploads.collect(),
                    next: page.next.and_then(|name| next(ListPlace::Store(name))),
                })
            }
        }
    }

    /// One of the store's uploads, unless it had an owner when the list was begun, and so stood in it already.
    fn listed_stored(&self, sighting: Sighting, began_ms: u64, now: SystemTime) -> Option<Listed> {
        if let Some(owner) = self.directory.owner(&sighting.info.id) {
            let is_new = owner.sight.started_ms > began_ms;
            return is_new.then(|| listed_live(sighting.info.id, &owner.sight, now));
        }
        let Sighting { info, stored, changed, is_finished, .. } = sighting;
        let filename = ["filename", "name"].iter().find_map(|key| info.metadata.get(*key)).cloned();
        Some(Listed {
            state: state_of(info.is_final(), is_finished),
            offset: stored.filter(|_| is_finished || !info.is_final()),
            length: info.length,
            id: info.id,
            filename,
            is_live: false,
            rate_bytes_per_sec: None,
            peer: None,
            changed,
        })
    }

    /// Ends the open lease of an upload on an operator's behalf: its holder is told that it was interrupted, and what
    /// arrived is kept. False when none is open. Starts no owner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or what the owner or the store says.
    pub async fn interrupt(&self, id: &UploadId, by: &str) -> Result<bool, AskFailure> {
        let Some(owner) = self.directory.owner(id) else {
            // Nobody appends. Whether it is there at all, the store knows.
            let storage = self.directory.storage();
            let looked = self.within(async { storage.look(id).await.map_err(|error| self.blame(&error)) });
            return looked.await.map(|_| false);
        };
        let by: Arc<str> = by.into();
        let ask = owner.post.ask(|asker| Interrupt { by, asker: asker.into() });
        match self.within(async { ask.await?.map_err(AskFailure::Refused) }).await? {
            Reply::Interrupted { ended } => Ok(ended),
            _ => Err(AskFailure::Refused(Refusal::StoreFailed)),
        }
    }

    /// Takes new settings while all goes on: nothing is restarted, no message dropped. Pools that get smaller let their
    /// workers end what they have in hand, queues and budgets what is in them.
    ///
    /// # Errors
    /// When the store could not do all of it, a thread could not be started say; everything else is done.
    pub fn reconfigure(&self, tuning: &Tuning) -> Result<(), StorageError> {
        let directory = &self.directory;
        let expiry = || (directory.clock().after(), directory.live().expire_interval());
        let expiry_before = expiry();
        directory.live().set(&tuning.values());
        directory.meter().set_limit(tuning.mailbox);
        directory.clock().set_after(tuning.expire_after);
        self.budget.resize(tuning.memory_budget.max(BUDGET_MIN));
        let before = self.pools();
        let tuned = directory.storage().tune(&tuning.store);
        if let Some(hooks) = directory.hooks() {
            hooks.resize(tuning.hook_workers, tuning.hook_queue);
        }
        for pool in before {
            let to = match pool.pool {
                "s3" => tuning.store.part_workers,
                "hooks" => tuning.hook_workers,
                _ => tuning.store.disk_workers,
            };
            let (from, to) = (pool.workers_wanted, to.max(1));
            if from != to && pool.pool != "committer" {
                info!(self.logger, "pool resized"; "pool" => pool.pool, "from" => from, "to" => to);
                directory.events().tell(|| Event::PoolResized { pool: pool.pool, from, to });
            }
        }
        if expiry() != expiry_before {
            self.reaper.tell(Wake);
        }
        if let Err(error) = &tuned {
            error!(self.logger, "settings could not be applied"; "error" => %error);
        }
        tuned
    }
}

fn state_of(is_final: bool, is_finished: bool) -> UploadState {
    match (is_finished, is_final) {
        (true, _) => UploadState::Finished,
        (false, true) => UploadState::Waiting,
        (false, false) => UploadState::Idle,
    }
}

fn listed_live(id: UploadId, sight: &Sight, now: SystemTime) -> Listed {
    Listed {
        id,
        state: sight.state(),
        offset: sight.offset(),
        length: sight.length(),
        filename: sight.filename.as_deref().map(str::to_owned),
        is_live: true,
        rate_bytes_per_sec: Some(sight.rate(now)),
        peer: sight.lease().and_then(|(_, _, peer)| peer),
        changed: sight.changed(),
    }
}

fn of_view(id: &UploadId, view: View, owner: &Owner) -> Overview {
    let View { state, snapshot, changed, lease, parts, history } = view;
    let rate_bytes_per_sec = owner.sight.rate(SystemTime::now());
    Overview {
        id: id.clone(),
        state,
        offset: snapshot.offset,
        length: snapshot.info.length,
        info: Some(snapshot.info),
        expires_at_secs: snapshot.expires_at_secs,
        changed,
        owner: Some(OwnerReport {
            has_answered: true,
            lease,
            rate_bytes_per_sec,
            mailbox: owner.post.gauge().report(),
        }),
        parts,
        history,
    }
}

fn of_sight(id: &UploadId, owner: &Owner) -> Overview {
    let sight = &owner.sight;
    let lease = sight.lease().map(|(number, since, peer)| LeaseReport { number, request_id: None, since, peer });
    let rate_bytes_per_sec = sight.rate(SystemTime::now());
    Overview {
        id: id.clone(),
        state: sight.state(),
        offset: sight.offset(),
        length: sight.length(),
        info: None,
        expires_at_secs: None,
        changed: sight.changed(),
        owner: Some(OwnerReport {
            has_answered: false,
            lease,
            rate_bytes_per_sec,
            mailbox: owner.post.gauge().report(),
        }),
        parts: None,
        history: None,
    }
}

fn of_sighting(sighting: Sighting) -> Overview {
    let Sighting { info, stored, changed, is_finished, parts } = sighting;
    Overview {
        id: info.id.clone(),
        state: state_of(info.is_final(), is_finished),
        offset: stored.filter(|_| is_finished || !info.is_final()),
        length: info.length,
        expires_at_secs: info.own.as_ref().and_then(|own| own.expires_at_secs),
        info: Some(info),
        changed,
        owner: None,
        parts,
        history: None,
    }
}
