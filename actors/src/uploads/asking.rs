//! What the application is asked before a request gets what it wants.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use super::{
    Uploads,
    words::{AskFailure, Denial, Denied, NewUpload},
};
use crate::{
    Info, UploadId,
    hooks::{Call, Caller, Event, EventKind, HookError, HookFailure, HookResponse, UploadFacts, Verdict},
    post::{Unanswered, now_nanos},
    upload::{messages::Look, state::Refusal},
};

/// So many answers to pre-access are kept at most.
const ACCESSES: usize = 16_384;

/// No answer to pre-access is kept longer.
const ACCESS_MAX: Duration = Duration::from_hours(24);

/// Answers to pre-access that hold for a while, and whom they hold for.
pub(crate) struct Accesses {
    /// The fields of a request by which a client is known, as they stand in [`Caller`].
    identity: Vec<String>,
    secret: RandomState,
    kept: quick_cache::sync::Cache<(UploadId, u64), Access>,
}

#[derive(Clone)]
struct Access {
    until_nanos: u64,
    denial: Option<Denial>,
}

impl Accesses {
    pub(crate) fn new(identity: Vec<String>) -> Self {
        Self { identity, secret: RandomState::new(), kept: quick_cache::sync::Cache::new(ACCESSES) }
    }

    /// What a client is known by, together with what it wants to do. By a hash with a secret of this process: nobody can
    /// look for other credentials that come to the same.
    fn number(&self, caller: &Caller) -> u64 {
        let fields: Vec<_> = self.identity.iter().map(|name| caller.header.get(name)).collect();
        self.secret.hash_one((&caller.method, fields))
    }
}

fn denied(what: Denied, response: HookResponse) -> AskFailure {
    AskFailure::Denied(Denial { what, response: Arc::new(response) })
}

impl Uploads {
    /// Whether requests are to bring along what the application is told of them.
    #[must_use]
    pub fn wants_callers(&self) -> bool {
        self.directory.hooks().is_some()
    }

    /// Asks, if the application wants to be asked.
    async fn consult(
        &self,
        kind: EventKind,
        caller: Option<&Arc<Caller>>,
        facts: impl AsyncFnOnce() -> Result<UploadFacts, AskFailure>,
    ) -> Result<Option<Verdict>, AskFailure> {
        let Some(hooks) = self.directory.hooks().filter(|hooks| hooks.wants(kind)) else { return Ok(None) };
        let event = Event { upload: facts().await?, caller: caller.cloned().unwrap_or_default(), cause: None };
        let verdict = hooks.ask(Call { kind, event }).await;
        verdict.map(Some).map_err(|error| AskFailure::Hook(Arc::new(error)))
    }

    /// An upload as the application is told of it. Disturbs nobody.
    async fn facts(&self, id: &UploadId) -> Result<UploadFacts, AskFailure> {
        let facts =
            |info: &Info, offset: u64| UploadFacts::new(info, offset, Some(self.directory.storage().places(info)));
        if let Some(record) = self.published(id)? {
            return Ok(facts(&record.info, record.length));
        }
        self.within(async {
            let mut looked = self.find(id).await?.ask(|answer| Look { answer }).await;
            if looked.as_ref().is_err_and(|failure| *failure == Unanswered::Retired) {
                looked = self.find(id).await?.ask(|answer| Look { answer }).await;
            }
            let view = looked?.filter(|view| self.may_use(&view.snapshot.info));
            let view = view.ok_or(AskFailure::Refused(Refusal::NotFound))?;
            Ok(facts(&view.snapshot.info, view.snapshot.offset.unwrap_or(0)))
        })
        .await
    }

    /// pre-create: may refuse the upload, or change it.
    pub(super) async fn ask_to_create(&self, new: &mut NewUpload) -> Result<Option<Arc<HookResponse>>, AskFailure> {
        let caller = new.caller.clone();
        let facts = async || {
            let info = Info {
                id: new.id.clone(),
                length: new.length,
                metadata: new.metadata.clone(),
                kind: new.kind.clone(),
                place: None,
                own: None,
            };
            // It has no name yet, as far as the application is told.
            Ok(UploadFacts { id: String::new(), ..UploadFacts::new(&info, 0, None) })
        };
        let Some(verdict) = self.consult(EventKind::PreCreate, caller.as_ref(), facts).await? else { return Ok(None) };
        if verdict.reject_upload {
            return Err(denied(Denied::Creation, verdict.response));
        }
        if let Some(id) = verdict.changes.id.filter(|id| !id.is_empty()) {
            new.id = named(&id).ok_or_else(|| {
                let cause = format!("validation error in FileInfoChanges: {id:?} can't be an upload's id");
                AskFailure::Hook(Arc::new(HookError::new(HookFailure::Nonsense, cause)))
            })?;
        }
        if let Some(metadata) = verdict.changes.metadata {
            (new.metadata, new.raw_metadata) = (metadata, None);
        }
        new.place =
            verdict.changes.storage.and_then(|mut places| places.remove("Path")).filter(|path| !path.is_empty());
        Ok(Some(Arc::new(verdict.response)))
    }

    /// pre-terminate: may refuse the deletion. What it wants laid over the answer comes back.
    pub(super) async fn ask_to_terminate(
        &self,
        id: &UploadId,
        caller: Option<&Arc<Caller>>,
    ) -> Result<Option<Arc<HookResponse>>, AskFailure> {
        let verdict = self.consult(EventKind::PreTerminate, caller, async || self.facts(id).await).await?;
        match verdict {
            Some(verdict) if verdict.reject_termination => Err(denied(Denied::Termination, verdict.response)),
            verdict => Ok(verdict.map(|verdict| Arc::new(verdict.response))),
        }
    }

    /// pre-access: whether a request may look at, go on with, read or delete an upload, or make it part of another. To be
    /// asked before anything else is done with the upload.
    ///
    /// # Errors
    /// [`AskFailure::Denied`]; [`Refusal::NotFound`]; or how the hook failed.
    pub async fn ask_for_access(&self, id: &UploadId, caller: Option<&Arc<Caller>>) -> Result<(), AskFailure> {
        let Some(accesses) = self.accesses.as_deref() else { return Ok(()) };
        let key = (id.clone(), caller.map_or(0, |caller| accesses.number(caller)));
        if let Some(access) = accesses.kept.get(&key).filter(|access| access.until_nanos > now_nanos()) {
            return access.denial.map_or(Ok(()), |denial| Err(AskFailure::Denied(denial)));
        }
        let verdict = self.consult(EventKind::PreAccess, caller, async || self.facts(id).await).await?;
        let Some(Verdict { reject_access, response, cache_secs, .. }) = verdict else { return Ok(()) };
        let denial = reject_access.then(|| Denial { what: Denied::Access, response: Arc::new(response) });
        let kept_for = Duration::from_secs(cache_secs).min(ACCESS_MAX);
        if !kept_for.is_zero() {
            let kept_nanos = u64::try_from(kept_for.as_nanos()).unwrap_or(u64::MAX / 2);
            accesses.kept.insert(key, Access { until_nanos: now_nanos() + kept_nanos, denial: denial.clone() });
        }
        denial.map_or(Ok(()), |denial| Err(AskFailure::Denied(denial)))
    }
}

/// The id that a hook names, of the characters that need no escape in a URL's path.
fn named(id: &str) -> Option<UploadId> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$'()*+,;=/:@".contains(&byte);
    if !id.bytes().all(is_plain) || id.starts_with('/') || id.ends_with('/') {
        return None;
    }
    UploadId::parse(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_may_give_ids_that_need_no_escape() {
        for id in ["a", "2026/11/plan.pdf", "a+b", "x~!$'()*,;=:@-_"] {
            assert!(named(id).is_some(), "{id}");
        }
        for id in ["", "/a", "a/", "a b", "a&b", "ü", "a?b", "..", "a/../b", "a//b", ".wharf/x"] {
            assert!(named(id).is_none(), "{id}");
        }
    }

    #[test]
    fn clients_are_told_apart_by_their_credentials_and_what_they_do() {
        let accesses = Accesses::new(vec!["Authorization".to_owned(), "Cookie".to_owned()]);
        let caller = |method: &str, fields: &[(&str, &str)]| Caller {
            method: method.to_owned(),
            header: fields.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect(),
            ..Caller::default()
        };
        let numbers = [
            caller("HEAD", &[]),
            caller("PATCH", &[]),
            caller("HEAD", &[("Authorization", "a")]),
            caller("HEAD", &[("Cookie", "a")]),
            caller("HEAD", &[("Authorization", "a"), ("Cookie", "a")]),
        ]
        .map(|caller| accesses.number(&caller));
        assert_eq!(numbers.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
        let same = caller("HEAD", &[("Authorization", "a"), ("Upload-Offset", "7")]);
        assert_eq!(accesses.number(&same), numbers[2]);
    }
}
